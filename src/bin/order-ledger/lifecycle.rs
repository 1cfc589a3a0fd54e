//! `lifecycle`: the states of a ledger's orders, and the steps between them.
//!
//! - [`file`]: the same as JSON, out and in

pub(crate) mod file;

use std::time::Duration;

use order_ledger::Reader;

use crate::args::Lifecycle;
use crate::errors::{Exit, Failure};
use crate::names::name_of;
use crate::output::{Out, table};

pub(crate) fn run(args: &Lifecycle, out: &mut Out) -> Result<Exit, Failure> {
    let lifecycle = Reader::open(&args.dir.path)?.lifecycle()?;
    if out.json {
        out.json_line(&file::Table::of(&lifecycle))?;
        return Ok(Exit::Done);
    }
    let mut states = table(&["state", "number", "terminal", "warn after", "critical after"]);
    for state in lifecycle.states() {
        let (warn, critical) = lifecycle.thresholds(state);
        let terminal = if lifecycle.is_terminal(state) { "terminal" } else { "" };
        states.add_row([
            name_of(&lifecycle, state).into_owned(),
            state.number().to_string(),
            terminal.to_owned(),
            seconds(warn),
            seconds(critical),
        ]);
    }
    out.line(states)?;
    let mut steps = table(&["from", "to", "evidence"]);
    for (from, to, evidence) in file::steps(&lifecycle) {
        let [from, to] = [from, to].map(|state| name_of(&lifecycle, state).into_owned());
        steps.add_row([from, to, evidence.join(", ")]);
    }
    out.line(steps)?;
    Ok(Exit::Done)
}

fn seconds(after: Option<Duration>) -> String {
    after.map(|after| format!("{} s", after.as_secs_f64())).unwrap_or_default()
}
