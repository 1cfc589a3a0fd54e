//! `history`: everything that happened to an order, first to last.

use order_ledger::{Event, EventBody, Evidence, Lifecycle, NoteKind, Reader, Sent, Witness};
use serde_json::{Map, Value, json};

use crate::args::History;
use crate::errors::{Exit, Failure};
use crate::get::{not_found, wanted};
use crate::json::Seconds;
use crate::names::name_of;
use crate::output::{Out, hex, shown, table, time};

pub(crate) fn run(args: &History, out: &mut Out) -> Result<Exit, Failure> {
    let reader = Reader::open(&args.dir.path)?;
    let order = match wanted(&reader, &args.order)? {
        Ok(order) => order,
        Err(why) => return not_found(&why, out),
    };
    let lifecycle = reader.lifecycle()?;
    let events = reader.history(order.id())?;
    if out.json {
        for event in &events {
            out.json_line(&line(event, &lifecycle))?;
        }
        return Ok(Exit::Done);
    }
    let mut rows = table(&["seq", "at", "from", "state", "version", "what"]);
    for event in &events {
        let name = |state| name_of(&lifecycle, state).into_owned();
        let (from, version) = match &event.body {
            EventBody::Moved { from, version, .. } => (name(*from), version.to_string()),
            EventBody::Accepted { .. } | EventBody::Refused { .. } => (String::new(), "1".into()),
            _ => (String::new(), String::new()),
        };
        // A note leaves the order where it is.
        let state = event.body.state().map(name).unwrap_or_default();
        let seq = event.seq.to_string();
        rows.add_row([seq, time(event.at), from, state, version, what(&event.body)]);
    }
    out.line(rows)?;
    Ok(Exit::Done)
}

/// An event as JSON.
pub(crate) fn line(event: &Event, lifecycle: &Lifecycle) -> Map<String, Value> {
    let name = |state| Value::from(name_of(lifecycle, state));
    let mut fields = Map::new();
    let mut put = |field: &str, value: Value| fields.insert(field.to_owned(), value);
    put("seq", event.seq.0.into());
    put("at", time(event.at).into());
    put("order_id", event.order.as_u64().into());
    if let Some(state) = event.body.state() {
        put("state", name(state));
    }
    if let Some(batch) = event.batch {
        put("batch", batch.0.into());
    }
    match &event.body {
        EventBody::Accepted { fingerprint, warn_after, critical_after } => {
            put("version", 1.into());
            put("fingerprint", fingerprint.to_string().into());
            for (name, after) in [("warn_after", warn_after), ("critical_after", critical_after)] {
                if let Some(after) = after {
                    put(name, json!(Seconds(*after)));
                }
            }
        }
        EventBody::Refused { fingerprint, refusal } => {
            put("version", 1.into());
            put("fingerprint", fingerprint.to_string().into());
            put("refusal", json!({"code": refusal.code, "reason": refusal.reason}));
        }
        EventBody::Moved { from, to, version, command_key, evidence, reason } => {
            put("version", (*version).into());
            put("from", name(*from));
            put("to", name(*to));
            put_bytes(&mut put, "command_key", command_key);
            if !evidence.is_empty() {
                put("evidence", evidence.iter().map(piece).collect::<Map<_, _>>().into());
            }
            if !reason.is_empty() {
                put("reason", reason.as_str().into());
            }
        }
        EventBody::Noted { kind, asks, command_key, author, text } => {
            put("note", kind.name().into());
            put("open", (*asks).into());
            put_bytes(&mut put, "command_key", command_key);
            put_bytes(&mut put, "author", author);
            put("text", said(text));
        }
        EventBody::Resolved { note, command_key, author, text } => {
            put("resolves", note.0.into());
            put_bytes(&mut put, "command_key", command_key);
            put_bytes(&mut put, "author", author);
            put("text", said(text));
        }
        EventBody::Alerted { alert, change, kind, level, since, by, detail } => {
            put("alert", alert.0.into());
            put("change", change.name().into());
            put("kind", kind.name().into());
            put("level", level.name().into());
            put("since", time(*since).into());
            put_bytes(&mut put, "by", by);
            put("detail", said(detail));
        }
        EventBody::Dispatched { route, command_key, body } => {
            put("route", route.as_str().into());
            put_bytes(&mut put, "command_key", command_key);
            put("body", said(body));
        }
        EventBody::Attempted { dispatch, provider, attempt } => {
            put("dispatch", dispatch.0.into());
            put("outbox", "attempted".into());
            put("provider", provider.as_str().into());
            put("attempt", (*attempt).into());
        }
        EventBody::Reported { dispatch, provider, attempt, report, by } => {
            put("dispatch", dispatch.0.into());
            put("provider", provider.as_str().into());
            put("attempt", (*attempt).into());
            put("by", by.name().into());
            let (outcome, why) = match report {
                Sent::Done { reference } => {
                    put("reference", said(reference));
                    ("done", None)
                }
                Sent::Refused { code, why } => {
                    put("code", (*code).into());
                    ("refused", Some(why))
                }
                Sent::NotSent { why } => ("not_sent", Some(why)),
                Sent::Unknown { why } => ("unknown", Some(why)),
            };
            put("outbox", outcome.into());
            if let Some(why) = why {
                put("why", why.as_str().into());
            }
        }
        EventBody::GivenUp { dispatch, why } => {
            put("dispatch", dispatch.0.into());
            put("outbox", "dead".into());
            put("why", why.as_str().into());
        }
        EventBody::Redriven { dispatch, why } => {
            put("dispatch", dispatch.0.into());
            put("outbox", "redriven".into());
            put("why", why.as_str().into());
        }
        // A kind of event that this program does not know yet: its state says enough.
        _ => {}
    }
    fields
}

/// Text as it is, or other bytes as hex digits under the name with `_hex` behind it; nothing when there is nothing.
fn put_bytes(put: &mut impl FnMut(&str, Value) -> Option<Value>, field: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok("") => None,
        Ok(text) => put(field, text.into()),
        Err(_) => put(&format!("{field}_hex"), hex(bytes).into()),
    };
}

/// Bytes as `transition` and `note` take them: text, or an object with the bytes as hex digits, which no text can
/// be taken for.
pub(crate) fn said(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({"hex": hex(bytes)}),
    }
}

fn piece(evidence: &Evidence) -> (String, Value) {
    (evidence.name.clone(), said(&evidence.value))
}

/// Who says it, if that is known.
fn by(author: &[u8]) -> String {
    match author {
        [] => String::new(),
        author => format!(" by {}", shown(author)),
    }
}

/// What an event says beside its states, for people.
pub(crate) fn what(body: &EventBody) -> String {
    match body {
        EventBody::Accepted { fingerprint, .. } => format!("fingerprint {fingerprint}"),
        EventBody::Refused { refusal, .. } => {
            format!("{} (code {})", shown(refusal.reason.as_bytes()), refusal.code)
        }
        EventBody::Moved { command_key, evidence, reason, .. } => {
            let mut parts = Vec::new();
            if !command_key.is_empty() {
                parts.push(format!("command {}", shown(command_key)));
            }
            parts.extend(evidence.iter().map(|it| format!("{}={}", it.name, shown(&it.value))));
            if !reason.is_empty() {
                parts.push(shown(reason.as_bytes()));
            }
            parts.join("; ")
        }
        EventBody::Noted { kind, asks, author, text, .. } => {
            let waits = if *asks && *kind != NoteKind::Dispute { " (to be resolved)" } else { "" };
            format!("{kind}{waits}{}: {}", by(author), shown(text))
        }
        EventBody::Resolved { note, author, text, .. } => {
            format!("resolves {note}{}: {}", by(author), shown(text))
        }
        EventBody::Alerted { alert, change, kind, level, by: known_to, detail, .. } => {
            format!("alert {alert} {change} ({kind}, {level}){}: {}", by(known_to), shown(detail))
        }
        EventBody::Dispatched { route, body, .. } => format!("to {route}: {}", shown(body)),
        EventBody::Attempted { dispatch, provider, attempt } => {
            format!("dispatch {dispatch}: attempt {attempt}, {provider}")
        }
        EventBody::Reported { dispatch, provider, report, by, .. } => {
            let said = told(report);
            let by = match by {
                Witness::Provider => String::new(),
                by => format!(" (by {})", by.name()),
            };
            format!("dispatch {dispatch}: {provider}{by}: {said}")
        }
        EventBody::GivenUp { dispatch, why } => {
            format!("dispatch {dispatch} was given up: {}", shown(why.as_bytes()))
        }
        EventBody::Redriven { dispatch, why } => {
            format!("dispatch {dispatch} is on its way again: {}", shown(why.as_bytes()))
        }
        _ => String::new(),
    }
}

/// What an attempt came to, for people.
pub(crate) fn told(report: &Sent) -> String {
    match report {
        Sent::Done { reference } => format!("done, {}", shown(reference)),
        Sent::Refused { code, why } => format!("refused (code {code}): {}", shown(why.as_bytes())),
        Sent::NotSent { why } => format!("not sent: {}", shown(why.as_bytes())),
        Sent::Unknown { why } => format!("unknown: {}", shown(why.as_bytes())),
    }
}
