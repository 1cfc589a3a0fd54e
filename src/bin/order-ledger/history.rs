//! `history`: everything that happened to an order, first to last.

use order_ledger::{EventBody, Reader};
use serde_json::json;

use crate::args::History;
use crate::errors::{Exit, Failure};
use crate::get::{not_found, wanted};
use crate::output::{Out, shown, table, time};

pub(crate) fn run(args: &History, out: &mut Out) -> Result<Exit, Failure> {
    let reader = Reader::open(&args.dir.path)?;
    let order = match wanted(&reader, &args.order)? {
        Ok(order) => order,
        Err(why) => return not_found(&why, out),
    };
    let mut rows = table(&["seq", "at", "state", "what"]);
    for event in reader.history(order.id())? {
        let state = event.body.state();
        let (fingerprint, refusal) = match &event.body {
            EventBody::Accepted { fingerprint } => (Some(fingerprint), None),
            EventBody::Refused { fingerprint, refusal } => (Some(fingerprint), Some(refusal)),
            // A kind of event that this program does not know yet: its state says enough.
            _ => (None, None),
        };
        if out.json {
            let mut line = json!({
                "seq": event.seq.0,
                "at": time(event.at),
                "order_id": event.order.as_u64(),
                "state": state.name(),
            });
            if let Some(fields) = line.as_object_mut() {
                if let Some(fingerprint) = fingerprint {
                    fields.insert("fingerprint".into(), fingerprint.to_string().into());
                }
                if let Some(refusal) = refusal {
                    let refusal = json!({"code": refusal.code, "reason": refusal.reason});
                    fields.insert("refusal".into(), refusal);
                }
            }
            out.json_line(&line)?;
        } else {
            let what = match refusal {
                Some(refusal) => {
                    format!("{} (code {})", shown(refusal.reason.as_bytes()), refusal.code)
                }
                None => fingerprint.map(|it| format!("fingerprint {it}")).unwrap_or_default(),
            };
            rows.add_row([event.seq.to_string(), time(event.at), state.to_string(), what]);
        }
    }
    if !out.json {
        out.line(rows)?;
    }
    Ok(Exit::Done)
}
