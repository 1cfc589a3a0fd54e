//! The command line of order-ledger: reads the arguments, runs one command, and ends with its exit code.
//!
//! Built on the public API of the library only. A file per command; what they share is in [`args`] (what
//! can be said), [`ahead`], [`lines`], [`json`] and [`told`] (lines of input), [`opening`] (ledgers that are written),
//! [`names`] (of states), [`output`] and [`outcome`] (how it is answered) and [`errors`] (how it fails, and
//! the exit codes).
//!
//! Always true: standard output carries answers only, standard error everything else.

mod ahead;
mod alerts;
mod args;
mod bench;
mod cancel;
mod check;
mod drill;
mod dump;
mod errors;
mod find;
mod get;
mod history;
mod hold;
mod json;
mod lifecycle;
mod lines;
mod list;
mod machine;
mod manual;
mod names;
mod note;
mod opening;
mod outbox;
mod outcome;
mod output;
mod own;
mod progress;
mod reconcile;
#[cfg(feature = "serve")]
mod serve;
mod stats;
mod stuck;
mod submit;
mod tail;
mod told;
#[cfg(feature = "top")]
mod top;
mod transition;
mod verify;
mod wait;
mod watch;
#[cfg(any(feature = "serve", feature = "top"))]
mod watched;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use errors::{Exit, Failure};
use output::Out;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(args.json, args.command.is_verify()).into(),
    }
}

fn run(args: &Args) -> Result<Exit, Failure> {
    let mut out = Out::new(args.json);
    let exit = match &args.command {
        Command::Submit(submit) => submit::run(submit, &mut out),
        Command::Transition(transition) => transition::run(transition, &mut out),
        Command::Cancel(cancel) => cancel::run(cancel, &mut out),
        Command::Note(note) => note::run(note, &mut out),
        Command::Hold(hold) => hold::run(hold, &mut out),
        Command::Outbox(outbox) => outbox::run(outbox, &mut out),
        Command::Reconcile(reconcile) => reconcile::run(reconcile, &mut out),
        Command::Get(get) => get::run(get, &mut out),
        Command::Find(find) => find::run(find, &mut out),
        Command::History(history) => history::run(history, &mut out),
        Command::Tail(tail) => tail::run(tail, &mut out),
        Command::Wait(wait) => wait::run(wait, &mut out),
        Command::List(list) => list::run(list, &mut out),
        Command::Stuck(stuck) => stuck::run(stuck, &mut out),
        Command::Alerts(alerts) => alerts::run(alerts, &mut out),
        Command::Watch(watch) => watch::run(watch, &mut out),
        Command::Lifecycle(lifecycle) => lifecycle::run(lifecycle, &mut out),
        Command::Dump(dump) => dump::run(dump, &mut out),
        Command::Verify(verify) => verify::run(verify, &mut out),
        Command::Stats(stats) => stats::run(stats, &mut out),
        Command::Check(check) => check::run(check, &mut out),
        #[cfg(feature = "top")]
        Command::Top(top) => top::run(top),
        #[cfg(feature = "serve")]
        Command::Serve(serve) => serve::run(serve, &mut out),
        Command::Bench(bench) => bench::run(bench, &mut out),
        Command::Drill(drill) => drill::run(drill, &mut out),
        Command::DrillWriter(writer) => drill::writer::run(writer, &mut out),
        Command::Completions(completions) => manual::completions(completions, &mut out),
        Command::Man(man) => manual::man(man, &mut out),
    }?;
    out.flush()?;
    Ok(exit)
}
