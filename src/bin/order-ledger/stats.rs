//! `stats`: counts and sizes, and what the last opening for writing found.

use order_ledger::{Reader, RecoveryReport};
use serde_json::json;

use crate::args::Stats;
use crate::errors::{Exit, Failure};
use crate::names::name_of;
use crate::output::{Out, facts};

pub(crate) fn run(args: &Stats, out: &mut Out) -> Result<Exit, Failure> {
    let reader = Reader::open(&args.dir.path)?;
    let (stats, lifecycle) = (reader.stats()?, reader.lifecycle()?);
    let states = stats.states.iter().map(|(state, count)| (name_of(&lifecycle, *state), *count));
    if out.json {
        let states: serde_json::Map<_, _> =
            states.map(|(state, count)| (state.into_owned(), json!(count))).collect();
        out.json_line(&json!({
            "ledger": stats.ledger.to_string(),
            "orders": stats.orders,
            "states": states,
            "records": stats.records,
            "last_seq": stats.last_seq.map(|seq| seq.0),
            "segments": stats.segments,
            "log_bytes": stats.log_bytes,
            "key_tables": stats.key_tables,
            "last_open": stats.last_open.as_ref().map(opened_json),
        }))?;
        return Ok(Exit::Done);
    }
    let mut rows = vec![("ledger", stats.ledger.to_string()), ("orders", stats.orders.to_string())];
    let states: Vec<_> = states.map(|(state, count)| format!("{count} {state}")).collect();
    rows.extend([
        ("by state", states.join(", ")),
        ("records", stats.records.to_string()),
        ("last seq", stats.last_seq.map_or("none".into(), |seq| seq.to_string())),
        ("segments", stats.segments.to_string()),
        ("bytes of the log", stats.log_bytes.to_string()),
        ("key tables", stats.key_tables.to_string()),
    ]);
    if let Some(opened) = &stats.last_open {
        rows.extend([
            ("last opening took", format!("{:.1} ms", ms(opened.elapsed_ns))),
            ("records read by it", opened.records_scanned.to_string()),
            ("torn bytes cut by it", torn(opened)),
            ("segments sealed by it", opened.segments_resealed.to_string()),
            ("key tables rebuilt by it", opened.tables_rebuilt.to_string()),
            ("groups are written", way(opened).to_owned()),
            ("clock behind by", format!("{:.1} ms", ms(opened.clock_behind_ns))),
        ]);
    }
    out.line(facts(rows))?;
    Ok(Exit::Done)
}

fn opened_json(opened: &RecoveryReport) -> serde_json::Value {
    json!({
        "created": opened.created,
        "segments": opened.segments,
        "segments_scanned": opened.segments_scanned,
        "records": opened.records,
        "records_scanned": opened.records_scanned,
        "torn_bytes": opened.torn_bytes,
        "torn_why": opened.torn_why,
        "segments_resealed": opened.segments_resealed,
        "tables_rebuilt": opened.tables_rebuilt,
        "leftovers_removed": opened.leftovers_removed,
        "clock_behind_ns": opened.clock_behind_ns,
        "past_cache": opened.past_cache,
        "elapsed_ns": opened.elapsed_ns,
    })
}

fn torn(opened: &RecoveryReport) -> String {
    match &opened.torn_why {
        Some(why) => format!("{} ({why})", opened.torn_bytes),
        None => opened.torn_bytes.to_string(),
    }
}

fn way(opened: &RecoveryReport) -> &'static str {
    if opened.past_cache { "past the page cache" } else { "into the page cache, and synced" }
}

/// For people: tenths of a millisecond are enough.
fn ms(ns: u64) -> f64 {
    std::time::Duration::from_nanos(ns).as_secs_f64() * 1000.0
}
