//! `stuck`: lists orders that have been in their state for too long.

use order_ledger::{AlertLevel, Reader, StuckPage, StuckQuery};
use serde_json::{Value, json};

use crate::args::Stuck;
use crate::errors::{Exit, Failure};
use crate::names::{argument, name_of};
use crate::output::{Out, RED, YELLOW, table, time};

pub(crate) fn run(args: &Stuck, out: &mut Out) -> Result<Exit, Failure> {
    let reader = Reader::open(&args.dir.path)?;
    let lifecycle = reader.lifecycle()?;
    let mut query = StuckQuery::all().level(args.level).limit(usize::from(args.limit));
    if let Some(state) = &args.state {
        query = query.state(argument(&lifecycle, state)?);
    }
    if let Some(after) = args.after {
        query = query.after(after);
    }
    let StuckPage { orders, next, .. } = reader.stuck(&query)?;
    let next = next.map(|next| next.to_string());
    if out.json {
        let line = |it: &order_ledger::StuckOrder| -> Value {
            json!({
                "order_id": it.order.as_u64(),
                "state": name_of(&lifecycle, it.state),
                "since": time(it.since),
                "seconds": it.dwell.as_secs(),
                "level": it.level.name(),
            })
        };
        let orders: Vec<_> = orders.iter().map(line).collect();
        out.json_line(&json!({"orders": orders, "next": next}))?;
        return Ok(Exit::Done);
    }
    let mut rows = table(&["order", "state", "since", "for", "level"]);
    for it in &orders {
        rows.add_row([
            it.order.to_string(),
            name_of(&lifecycle, it.state).into_owned(),
            time(it.since),
            span(it.dwell.as_secs()),
            level(it.level),
        ]);
    }
    out.line(rows)?;
    if let Some(next) = next {
        out.line(format!("more: --after {next}"))?;
    }
    Ok(Exit::Done)
}

/// A level, in its colour.
pub(crate) fn level(level: AlertLevel) -> String {
    let style = if level == AlertLevel::Critical { RED } else { YELLOW };
    format!("{style}{level}{style:#}")
}

/// A time for people, in its two largest units.
pub(crate) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}
