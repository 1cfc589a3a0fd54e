//! `transition`: orders take steps; one by arguments, or JSON lines in and an answer for each out.
//!
//! - [`input`]: what a line says
//! - [`answer`]: what goes out for a step
//!
//! Always true: an answer is printed when its step is durable, or has failed, and not before; answers go
//! out in the order in which the lines came in. Groups are formed from what is waiting: everything that has
//! arrived while a group was written is the next one, so a file fills groups and a pipe that waits gets its
//! answer after one sync.

pub(crate) mod answer;
pub(crate) mod input;

use std::path::Path;
use std::sync::Arc;

use order_ledger::{Dispatch, Ledger, LinkedBatch};

use crate::ahead::{self, Budget, Line};
use crate::args::{Transition, Wanted};
use crate::errors::{Exit, Failure};
use crate::get;
use crate::names;
use crate::opening::{self, Settings};
use crate::outcome::Tally;
use crate::output::Out;
use crate::progress::{Progress, Unit};
use crate::told;
use answer::{About, Answer};
use input::{Asked, Said};

/// Longest line: every field at its limit, all of it written as `\u` escapes.
const LINE_BYTES_MAX: usize = 1024 * 1024;

const STOPPED: &str = "the ledger stopped taking steps: run the command again, which is safe for steps \
                       with a command key";

pub(crate) fn run(args: &Transition, out: &mut Out) -> Result<Exit, Failure> {
    match (&args.order, &args.to) {
        (Some(order), Some(to)) => one(args, order, to, out),
        _ => lines(args, out),
    }
}

/// One step, by arguments.
fn one(args: &Transition, order: &Wanted, to: &str, out: &mut Out) -> Result<Exit, Failure> {
    let settings = opening::settings(&args.opening)?;
    let (reader, lifecycle) = settings.look(&args.dir.path)?;
    let to = names::argument(&lifecycle, to)?;
    let expected =
        args.expect_state.as_deref().map(|state| names::argument(&lifecycle, state)).transpose()?;
    let key = args.command_key.as_ref().map(|key| key.0.as_slice());
    let about = About::argument(order, key);
    let order = match get::wanted(&reader, order)? {
        Ok(order) => order.id(),
        Err(why) => return show(&Answer::no_such_order(about, why), out),
    };
    drop(reader);
    let mut step = order_ledger::Transition::new(order, to);
    if let Some(key) = key {
        step = step.command_key(key);
    }
    if let Some(version) = args.expect_version {
        step = step.expect_version(version);
    }
    if let Some(state) = expected {
        step = step.expect_state(state);
    }
    for proof in &args.evidence {
        step = step.evidence(proof.name.as_str(), proof.value.as_slice());
    }
    if let Some(reason) = &args.reason {
        step = step.reason(reason.as_str());
    }
    take(&settings, &args.dir.path, about, out, |ledger| ledger.transition(&step))
}

/// Opens the ledger, has one order take a step, and shows what became of it.
pub(crate) fn take(
    settings: &Settings,
    dir: &Path,
    about: About,
    out: &mut Out,
    step: impl FnOnce(&Ledger) -> order_ledger::Result<order_ledger::Transitioned>,
) -> Result<Exit, Failure> {
    let ledger = settings.options().open(dir)?;
    let answer = Answer::of(about, &step(&ledger), &ledger);
    let shown = show(&answer, out);
    // Also when the output is gone.
    let closed = ledger.close();
    let exit = shown?;
    match closed {
        Err(error) if exit != Exit::Unusable => Err(error.into()),
        _ => Ok(exit),
    }
}

/// Shows the answer of a command that asked for one step.
pub(crate) fn show(answer: &Answer, out: &mut Out) -> Result<Exit, Failure> {
    let mut tally = Tally::new(STOPPED);
    tally.count(answer.outcome, answer.unusable);
    match out.json {
        true => out.json_line(answer)?,
        false => out.line(answer)?,
    }
    out.flush()?;
    Ok(tally.exit())
}

/// Many steps, from lines.
fn lines(args: &Transition, out: &mut Out) -> Result<Exit, Failure> {
    let from = args.from.as_deref().unwrap_or(Path::new("-"));
    let (input, total) = ahead::open(from)?;
    let settings = opening::settings(&args.opening)?;
    let (_, lifecycle) = settings.look(&args.dir.path)?;
    let ledger = settings.options().open(&args.dir.path)?;
    let budget = Arc::new(Budget::default());
    let hear = move |line: Result<&[u8], String>| input::hear(&lifecycle, line);
    let items = ahead::read(input, LINE_BYTES_MAX, Arc::clone(&budget), hear)?;
    let mut tally = Tally::new(STOPPED);
    let progress = Progress::new(total, Unit::Bytes, true);
    let ended = ahead::in_batches(&items, &budget, |batch| {
        answer_all(&ledger, batch, &mut tally, &progress, out)?;
        out.flush()
    });
    drop(progress);
    // Also when the output is gone: what was handed over is written before the ledger is closed.
    let closed = ledger.close();
    let input_error = ended?;
    tally.summary(from == Path::new("-"));
    if let Some(error) = input_error {
        return Err(Failure::io("reading the input", error));
    }
    match closed {
        Err(error) if tally.exit() != Exit::Unusable => Err(error.into()),
        _ => Ok(tally.exit()),
    }
}

/// Hands a batch to the ledger, and prints its answers. Steps in a row are handed over together; one with dispatches is
/// a linked batch of its own, in its place.
fn answer_all(
    ledger: &Ledger,
    batch: Vec<Line<Asked>>,
    tally: &mut Tally,
    progress: &Progress,
    out: &mut Out,
) -> Result<(), Failure> {
    let mut show = |answer: &Answer, end: u64| {
        tally.count(answer.outcome, answer.unusable);
        out.json_line(answer)?;
        progress.set(end);
        Ok(())
    };
    let mut row = Row::default();
    for Line { number, end, said: Asked { order, command_key, said }, .. } in batch {
        let about = About { line: Some(number), order, command_key };
        match said {
            Said::Invalid(why) => row.asked.push((about, end, Some(why))),
            Said::Step(step, told) if told.is_empty() => {
                row.steps.push(*step);
                row.asked.push((about, end, None));
            }
            Said::Step(step, told) => {
                std::mem::take(&mut row).answer(ledger, &mut show)?;
                let order = step.order();
                let batch = told::with(LinkedBatch::of_step(*step), &told, |told| {
                    Dispatch::new(order, told.route.as_str(), told.body.as_slice())
                });
                show(&Answer::with(about, &ledger.linked(&batch), ledger), end)?;
            }
        }
    }
    row.answer(ledger, &mut show)
}

/// Lines in a row that are handed over together: where each ended, and why it asks for no step, if so.
#[derive(Default)]
struct Row {
    steps: Vec<order_ledger::Transition>,
    asked: Vec<(About, u64, Option<String>)>,
}

impl Row {
    fn answer(
        self,
        ledger: &Ledger,
        show: &mut impl FnMut(&Answer, u64) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut results = ledger.transition_many(&self.steps).into_iter();
        for (about, end, invalid) in self.asked {
            let answer = match invalid {
                Some(why) => Answer::invalid(about, why),
                None => match results.next() {
                    Some(result) => Answer::of(about, &result, ledger),
                    // There is a result for each step.
                    None => break,
                },
            };
            show(&answer, end)?;
        }
        Ok(())
    }
}
