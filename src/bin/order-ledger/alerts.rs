//! `alerts`: lists alerts, or says that somebody knows of one.

use order_ledger::{
    Alert, AlertEvent, AlertPage, AlertQuery, AlertSubject, ErrorKind, Lifecycle, Reader, Seq,
};
use serde_json::{Map, Value, json};

use crate::args::Alerts;
use crate::errors::{Exit, Failure};
use crate::history::said;
use crate::names::name_of;
use crate::opening;
use crate::output::{Out, shown, table, time};
use crate::stuck::level;

pub(crate) fn run(args: &Alerts, out: &mut Out) -> Result<Exit, Failure> {
    if let Some(id) = args.ack {
        return acknowledge(args, Seq(id), out);
    }
    let reader = Reader::open(&args.dir.path)?;
    let lifecycle = reader.lifecycle()?;
    let query = if args.open { AlertQuery::open() } else { AlertQuery::all() };
    let mut query = query.level(args.level).limit(usize::from(args.limit));
    if let Some(after) = args.after {
        query = query.after(Seq(after));
    }
    let AlertPage { alerts, next, .. } = reader.alerts(&query)?;
    let next = next.map(|next| next.0);
    if out.json {
        let alerts: Vec<_> = alerts.iter().map(|alert| fields(alert, &lifecycle)).collect();
        out.json_line(&json!({"alerts": alerts, "next": next}))?;
        return Ok(Exit::Done);
    }
    let mut rows =
        table(&["alert", "raised at", "about", "what", "level", "known to", "over at", "detail"]);
    for alert in &alerts {
        rows.add_row([
            alert.id.to_string(),
            time(alert.raised_at),
            about(&alert.subject),
            alert.kind.to_string(),
            level(alert.level),
            alert.acknowledged.as_ref().map(|known| shown(&known.by)).unwrap_or_default(),
            alert.cleared_at.map(time).unwrap_or_default(),
            shown(alert.detail.as_bytes()),
        ]);
    }
    out.line(rows)?;
    if let Some(next) = next {
        out.line(format!("more: --after {next}"))?;
    }
    Ok(Exit::Done)
}

fn acknowledge(args: &Alerts, id: Seq, out: &mut Out) -> Result<Exit, Failure> {
    let bytes = |given: &Option<crate::args::Bytes>| {
        given.as_ref().map(|given| given.0.clone()).unwrap_or_default()
    };
    let settings = opening::settings(&args.opening)?;
    // A mistyped path must not make a ledger.
    let (_, lifecycle) = settings.look(&args.dir.path)?;
    let ledger = settings.options().open(&args.dir.path)?;
    let known = ledger.acknowledge_alert(id, bytes(&args.by), bytes(&args.note));
    let answered = match known {
        Ok(alert) => answer(&alert, &lifecycle, out).map(|()| Exit::Done),
        Err(error) if matches!(error.kind(), ErrorKind::NoOpenAlert { .. }) => match out.json {
            true => out.json_line(&json!({"error": "no_open_alert", "why": error.to_string()})),
            false => out.line(error.to_string()),
        }
        .map(|()| Exit::No),
        Err(error) => Err(error.into()),
    };
    // Also when it failed, or the output is gone.
    let closed = ledger.close();
    let exit = answered?;
    out.flush()?;
    closed?;
    Ok(exit)
}

fn answer(alert: &Alert, lifecycle: &Lifecycle, out: &mut Out) -> Result<(), Failure> {
    if out.json {
        return out.json_line(&fields(alert, lifecycle));
    }
    match &alert.acknowledged {
        Some(known) => {
            let (at, by) = (time(known.at), shown(&known.by));
            out.line(format!("alert {} is known to {by} since {at}", alert.id))
        }
        None => out.line(format!("alert {} is known", alert.id)),
    }
}

/// What an alert is about, for people.
pub(crate) fn about(subject: &AlertSubject) -> String {
    match subject {
        AlertSubject::Client(client) => format!("client {}", shown(client)),
        other => shown(other.to_string().as_bytes()),
    }
}

/// An alert as JSON.
pub(crate) fn fields(alert: &Alert, lifecycle: &Lifecycle) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |field: &str, value: Value| fields.insert(field.to_owned(), value);
    put("alert", alert.id.0.into());
    put("subject", about(&alert.subject).into());
    if let Some(order) = alert.subject.order() {
        put("order_id", order.as_u64().into());
    }
    if let AlertSubject::Client(client) = &alert.subject {
        put("client", said(client));
    }
    put("kind", alert.kind.name().into());
    if let order_ledger::AlertKind::StuckOrder { state } = alert.kind {
        put("state", name_of(lifecycle, state).into());
    }
    put("level", alert.level.name().into());
    put("since", time(alert.since).into());
    put("raised_at", time(alert.raised_at).into());
    if let Some(at) = alert.escalated_at {
        put("escalated_at", time(at).into());
    }
    put("reminded", alert.reminded.into());
    if let Some(at) = alert.reminded_at {
        put("reminded_at", time(at).into());
    }
    if let Some(known) = &alert.acknowledged {
        let (by, note) = (said(&known.by), said(&known.note));
        put("acknowledged", json!({"at": time(known.at), "by": by, "note": note}));
    }
    if let Some(at) = alert.cleared_at {
        put("cleared_at", time(at).into());
    }
    put("detail", alert.detail.as_str().into());
    fields
}

/// What happened to an alert, as JSON.
pub(crate) fn event_fields(event: &AlertEvent, lifecycle: &Lifecycle) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("seq".into(), event.seq.0.into());
    line.insert("at".into(), time(event.at).into());
    line.insert("change".into(), event.change.name().into());
    line.extend(fields(&event.alert, lifecycle));
    line
}
