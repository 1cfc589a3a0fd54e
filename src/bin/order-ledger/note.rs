//! `note`: notes about orders, and what resolves them; one by arguments, or JSON lines in and an answer for each
//! out.
//!
//! - [`input`]: what a line says
//! - [`answer`]: what goes out for it
//!
//! Always true: an answer is printed when its note is durable, or has failed, and not before; answers go out in the
//! order in which the lines came in. Groups are formed from what is waiting, as in `transition`.

mod answer;
mod input;

use std::path::Path;
use std::sync::Arc;

use order_ledger::{Ledger, NoteKind, Noted, Seq};

use crate::ahead::{self, Budget, Line};
use crate::args::{Note, Wanted};
use crate::errors::{Exit, Failure};
use crate::get;
use crate::opening;
use crate::outcome::Tally;
use crate::output::Out;
use crate::progress::{Progress, Unit};
use answer::{About, Answer};
use input::{Ask, Asked};

/// Longest line: every field at its limit, all of it written as `\u` escapes.
const LINE_BYTES_MAX: usize = 1024 * 1024;

const STOPPED: &str = "the ledger stopped taking notes: run the command again, which is safe for notes \
                       with a command key";

pub(crate) fn run(args: &Note, out: &mut Out) -> Result<Exit, Failure> {
    match &args.order {
        Some(order) => one(args, order, out),
        None => lines(args, out),
    }
}

/// One note, or what resolves one, by arguments.
fn one(args: &Note, order: &Wanted, out: &mut Out) -> Result<Exit, Failure> {
    let settings = opening::settings(&args.opening)?;
    let (reader, _) = settings.look(&args.dir.path)?;
    let key = args.command_key.as_ref().map(|key| key.0.as_slice());
    let about = About::argument(order, key, args.resolve.map(Seq));
    let order = match get::wanted(&reader, order)? {
        Ok(order) => order.id(),
        Err(why) => return show(&Answer::no_such_order(about, why), out),
    };
    drop(reader);
    let text = args.text.as_ref().map(|text| text.0.as_slice()).unwrap_or_default();
    let author = args.author.as_ref().map(|author| author.0.as_slice()).unwrap_or_default();
    let ask = match args.resolve {
        Some(note) => Ask::Resolution(
            order_ledger::Resolution::new(order, Seq(note), text)
                .author(author)
                .command_key(key.unwrap_or_default()),
        ),
        None => {
            let kind = args.kind.unwrap_or(NoteKind::Note);
            let note = order_ledger::Note::new(order, kind, text)
                .author(author)
                .command_key(key.unwrap_or_default());
            Ask::Note(if args.open { note.open() } else { note })
        }
    };
    let ledger = settings.options().open(&args.dir.path)?;
    let answer = Answer::of(about, &say(&ledger, &ask));
    let shown = show(&answer, out);
    // Also when the output is gone.
    let closed = ledger.close();
    let exit = shown?;
    match closed {
        Err(error) if exit != Exit::Unusable => Err(error.into()),
        _ => Ok(exit),
    }
}

fn say(ledger: &Ledger, ask: &Ask) -> order_ledger::Result<Noted> {
    match ask {
        Ask::Note(note) => ledger.note(note),
        Ask::Resolution(resolution) => ledger.resolve_note(resolution),
    }
}

/// Shows the answer of a command that asked for one thing.
fn show(answer: &Answer, out: &mut Out) -> Result<Exit, Failure> {
    let mut tally = Tally::new(STOPPED);
    tally.count(answer.outcome, answer.unusable);
    match out.json {
        true => out.json_line(answer)?,
        false => out.line(answer)?,
    }
    out.flush()?;
    Ok(tally.exit())
}

/// Many, from lines.
fn lines(args: &Note, out: &mut Out) -> Result<Exit, Failure> {
    let from = args.from.as_deref().unwrap_or(Path::new("-"));
    let (input, total) = ahead::open(from)?;
    let settings = opening::settings(&args.opening)?;
    drop(settings.look(&args.dir.path)?);
    let ledger = settings.options().open(&args.dir.path)?;
    let budget = Arc::new(Budget::default());
    let items = ahead::read(input, LINE_BYTES_MAX, Arc::clone(&budget), input::hear)?;
    let mut tally = Tally::new(STOPPED);
    let progress = Progress::new(total, Unit::Bytes, true);
    let mut desk = Desk {
        ledger: &ledger,
        tally: &mut tally,
        progress: &progress,
        out,
        notes: Vec::new(),
        abouts: Vec::new(),
    };
    let ended = ahead::in_batches(&items, &budget, |batch| desk.take(batch));
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

/// Says what lines ask for, and prints the answers.
struct Desk<'a> {
    ledger: &'a Ledger,
    tally: &'a mut Tally,
    progress: &'a Progress,
    out: &'a mut Out,
    /// Notes that stand side by side, and what they are about: they share their syncs.
    notes: Vec<order_ledger::Note>,
    abouts: Vec<(About, u64)>,
}

impl Desk<'_> {
    /// Hands a batch to the ledger. What resolves a note is said by itself, so that it finds what stands before it.
    fn take(&mut self, batch: Vec<Line<Asked>>) -> Result<(), Failure> {
        for Line { number, end, said: Asked { order, command_key, resolves, ask }, .. } in batch {
            let about = About { line: Some(number), order, command_key, resolves };
            match ask {
                Ok(Ask::Note(note)) => {
                    self.notes.push(note);
                    self.abouts.push((about, end));
                }
                Ok(ask) => {
                    self.write()?;
                    self.tell(&Answer::of(about, &say(self.ledger, &ask)), end)?;
                }
                Err(why) => {
                    self.write()?;
                    self.tell(&Answer::invalid(about, why), end)?;
                }
            }
        }
        self.write()?;
        self.out.flush()
    }

    /// Writes the notes that stand side by side.
    fn write(&mut self) -> Result<(), Failure> {
        let results = self.ledger.note_many(&std::mem::take(&mut self.notes));
        for ((about, end), result) in std::mem::take(&mut self.abouts).into_iter().zip(results) {
            self.tell(&Answer::of(about, &result), end)?;
        }
        Ok(())
    }

    fn tell(&mut self, answer: &Answer, end: u64) -> Result<(), Failure> {
        self.tally.count(answer.outcome, answer.unusable);
        self.progress.set(end);
        self.out.json_line(answer)
    }
}
