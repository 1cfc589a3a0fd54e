//! `submit`: JSON lines in, durable receipts out, in the order of the input.
//!
//! - [`lines`]: the bytes of the input as lines of bounded length
//! - [`input`]: what a line says; a thread that reads ahead, within a budget of memory
//! - [`answer`]: the line that goes out
//!
//! Always true: a line is printed when its order is durable, or has failed, and not before; the lines go
//! out in the order in which they came in. Groups are formed from what is waiting: everything that has
//! arrived is handed to the ledger before any answer is waited for, so a file fills groups and a pipe
//! that waits gets its answer after one sync.

mod answer;
pub(crate) mod input;
pub(crate) mod lines;

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io::{self, Write};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::task::{Context, Poll, Waker};

use order_ledger::{ErrorKind, Ledger, Options, Outcome, Submission, Ticket};

use crate::args::Submit;
use crate::errors::{Exit, Failure};
use crate::output::Out;
use crate::progress::{Progress, Unit};
use answer::{Answer, Tally};
use input::{Budget, Item, Said};

/// Orders, and bytes of them, that may be on their way. Below the ledger's own limits for one client
/// (half of 65,536 orders and of 64 MiB), so that the queue is never filled by this program alone.
const IN_FLIGHT_ORDERS_MAX: usize = 8192;
const IN_FLIGHT_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(crate) fn run(args: &Submit, out: &mut Out) -> Result<Exit, Failure> {
    // The input first: a mistyped name must not make a ledger.
    let (input, total) = open_input(&args.from)?;
    let ledger =
        Options::new().segment_bytes(segment_bytes(args.segment_mib)).open(&args.dir.path)?;
    let budget = Arc::new(Budget::default());
    let items = input::read_ahead(input, args.client.0.clone(), Arc::clone(&budget))
        .map_err(|error| Failure::io("starting a thread", error))?;
    let mut pipeline =
        Pipeline::new(&ledger, &budget, Progress::new(total, Unit::Bytes, true), out);
    let ended = pipeline.run(&items);
    let Pipeline { tally, progress, .. } = pipeline;
    drop(progress);
    // Also when the output is gone: what is on its way is written before the ledger is closed.
    let closed = ledger.close();
    let input_error = ended?;
    tally.summary(args.from == Path::new("-"));
    if let Some(error) = input_error {
        return Err(Failure::io("reading the input", error));
    }
    // A poisoned ledger has told so line by line; one whose closing failed tells it now.
    match closed {
        Err(error) if tally.exit() != Exit::Unusable => Err(error.into()),
        _ => Ok(tally.exit()),
    }
}

/// The largest is 64 KiB less than 4 GiB: what the option allows.
fn segment_bytes(mib: u64) -> u64 {
    mib.saturating_mul(1024 * 1024)
}

fn open_input(path: &Path) -> Result<(Box<dyn io::Read + Send>, u64), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), 0));
    }
    let opened = File::open(path).and_then(|file| {
        let about = file.metadata()?;
        match about.is_dir() {
            true => Err(io::ErrorKind::IsADirectory.into()),
            false => Ok((file, about.len())),
        }
    });
    match opened {
        Ok((file, bytes)) => Ok((Box::new(file), bytes)),
        Err(error) => Err(Failure::Usage {
            what: format!("{}: {error}", path.display()),
            advice: "check the path of the input; no ledger was opened".into(),
        }),
    }
}

/// A line of the input whose answer has not been printed.
struct Slot {
    line: u64,
    key: Option<String>,
    /// Bytes that it counts for while it is on its way.
    bytes: usize,
    /// Where its line ended in the input.
    end: u64,
    stand: Stand,
}

enum Stand {
    /// Not an order.
    Invalid(String),
    OnItsWay(Ticket),
    Answered(order_ledger::Result<Outcome>),
}

struct Pipeline<'a> {
    ledger: &'a Ledger,
    budget: &'a Budget,
    /// In the order of the input.
    in_flight: VecDeque<Slot>,
    in_flight_bytes: usize,
    tally: Tally,
    progress: Progress,
    out: &'a mut Out,
}

impl<'a> Pipeline<'a> {
    fn new(
        ledger: &'a Ledger,
        budget: &'a Budget,
        progress: Progress,
        out: &'a mut Out,
    ) -> Pipeline<'a> {
        let (in_flight, tally) = (VecDeque::new(), Tally::default());
        Pipeline { ledger, budget, in_flight, in_flight_bytes: 0, tally, progress, out }
    }

    /// Works until the input ends; answers the error that it ended with, if it did.
    fn run(&mut self, items: &Receiver<Item>) -> Result<Option<io::Error>, Failure> {
        let mut input_error = None;
        let mut ended = false;
        loop {
            // Whatever has arrived goes to the ledger first; only with nothing on its way is it waited
            // for.
            while !ended && self.has_room() {
                let item = match self.in_flight.is_empty() {
                    true => items.recv().map_err(|_| TryRecvError::Disconnected),
                    false => items.try_recv(),
                };
                match item {
                    Ok(Item::Line(line)) => self.take_in(line)?,
                    Ok(Item::Failed(error)) => input_error = Some(error),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => ended = true,
                }
            }
            if self.in_flight.is_empty() {
                if ended {
                    return Ok(input_error);
                }
                continue;
            }
            self.answer_first()?;
            while self.in_flight.front_mut().is_some_and(Slot::is_answered) {
                self.answer_first()?;
            }
            self.out.flush()?;
        }
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < IN_FLIGHT_ORDERS_MAX && self.in_flight_bytes < IN_FLIGHT_BYTES_MAX
    }

    /// Hands a line to the ledger.
    fn take_in(&mut self, line: input::Line) -> Result<(), Failure> {
        let input::Line { number, key, bytes, end, said } = line;
        let stand = match said {
            Said::Invalid(why) => Stand::Invalid(why),
            Said::Order(submission) => self.submit(&submission)?,
        };
        self.budget.give_back(bytes);
        self.in_flight_bytes += bytes;
        self.in_flight.push_back(Slot { line: number, key, bytes, end, stand });
        Ok(())
    }

    /// An overloaded queue is full of our own orders: waits until one of them is written.
    fn submit(&mut self, submission: &Submission) -> Result<Stand, Failure> {
        loop {
            let mut stand = Stand::OnItsWay(self.ledger.submit_deferred(submission));
            stand.look();
            let overloaded = matches!(&stand, Stand::Answered(Err(error))
                if matches!(error.kind(), ErrorKind::Overloaded { .. }));
            if !overloaded || self.in_flight.is_empty() {
                return Ok(stand);
            }
            self.answer_first()?;
            self.out.flush()?;
        }
    }

    /// Waits for the oldest order, and prints its answer.
    fn answer_first(&mut self) -> Result<(), Failure> {
        let Some(slot) = self.in_flight.pop_front() else { return Ok(()) };
        self.in_flight_bytes -= slot.bytes;
        let Slot { line, key, end, stand, .. } = slot;
        let answer = match stand {
            Stand::Invalid(why) => Answer::invalid(line, key, why),
            Stand::OnItsWay(mut ticket) => Answer::of(line, key, &ticket.wait(None)),
            Stand::Answered(result) => Answer::of(line, key, &result),
        };
        self.tally.count(&answer);
        self.out.json_line(&answer)?;
        self.progress.set(end);
        Ok(())
    }
}

impl Slot {
    fn is_answered(&mut self) -> bool {
        self.stand.look();
        !matches!(self.stand, Stand::OnItsWay(_))
    }
}

impl Stand {
    /// Takes in the answer if it is there, without waiting.
    fn look(&mut self) {
        if let Stand::OnItsWay(ticket) = self {
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(result) = Pin::new(ticket).poll(&mut context) {
                *self = Stand::Answered(result);
            }
        }
    }
}

impl Tally {
    /// A sentence on standard error when some lines were not taken, or when somebody watches.
    fn summary(&self, from_pipe: bool) {
        use std::io::IsTerminal;
        let watched = io::stderr().is_terminal() && !from_pipe;
        if self.exit() != Exit::Done || watched {
            // Standard error may be closed; the exit code says the same.
            drop(writeln!(anstream::stderr().lock(), "{self}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue of eight orders, and a thousand lines: a full queue is waited for and never shown.
    #[test]
    fn a_queue_that_is_full_of_our_own_orders_is_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new().segment_bytes(1024 * 1024).client_share_percent(100);
        let ledger = options.queue_orders_max(8).open(dir.path().join("orders.ledger")).unwrap();
        let input: String =
            (0..1000).map(|n| format!("{{\"key\":\"k{n}\",\"order\":{n}}}\n")).collect();
        let budget = Arc::new(Budget::default());
        let input = Box::new(io::Cursor::new(input));
        let items = input::read_ahead(input, b"web".to_vec(), Arc::clone(&budget)).unwrap();
        let mut out = Out::to(true, Box::new(io::sink()));
        let progress = Progress::new(0, Unit::Bytes, true);
        let mut pipeline = Pipeline::new(&ledger, &budget, progress, &mut out);
        assert!(pipeline.run(&items).unwrap().is_none());
        assert_eq!(pipeline.tally.to_string(), "1000 lines: 1000 fresh");
        assert_eq!(ledger.orders().count(), 1000);
    }
}
