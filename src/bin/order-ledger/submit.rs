//! `submit`: JSON lines in, durable receipts out, in the order of the input.
//!
//! - [`input`]: what a line says
//! - [`answer`]: the line that goes out
//!
//! Always true: a line is printed when its order is durable, or has failed, and not before; the lines go
//! out in the order in which they came in. Groups are formed from what is waiting: everything that has
//! arrived is handed to the ledger before any answer is waited for, so a file fills groups and a pipe
//! that waits gets its answer after one sync. A line with dispatches is a batch of its own: its write takes along
//! what is waiting, and the next line is handed over behind it.

mod answer;
pub(crate) mod input;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::task::{Context, Poll, Waker};

use order_ledger::{Dispatch, ErrorKind, Ledger, Linked, LinkedBatch, Outcome, Submission, Ticket};

use crate::ahead::{self, Budget, Item};
use crate::args::Submit;
use crate::errors::{Exit, Failure};
use crate::lines::LINE_BYTES_MAX;
use crate::opening;
use crate::outcome::Tally;
use crate::output::Out;
use crate::progress::{Progress, Unit};
use crate::told::{self, Told};
use answer::Answer;
use input::{Heard, Said};

/// Orders, and bytes of them, that may be on their way. Below the ledger's own limits for one client
/// (half of 65,536 orders and of 64 MiB), so that the queue is never filled by this program alone.
const IN_FLIGHT_ORDERS_MAX: usize = 8192;
const IN_FLIGHT_BYTES_MAX: usize = 16 * 1024 * 1024;

const STOPPED: &str = "the ledger stopped taking orders: run the command again, which is safe";

pub(crate) fn run(args: &Submit, out: &mut Out) -> Result<Exit, Failure> {
    // The input first: a mistyped name must not make a ledger.
    let (input, total) = ahead::open(&args.from)?;
    let ledger = opening::settings(&args.opening)?.options().open(&args.dir.path)?;
    let budget = Arc::new(Budget::default());
    let client = args.client.0.clone();
    let hear = move |line: Result<&[u8], String>| input::hear(&client, line);
    let items = ahead::read(input, LINE_BYTES_MAX, Arc::clone(&budget), hear)?;
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
    /// An order that came with dispatches.
    With(Box<Submission>, order_ledger::Result<Linked>),
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
        let (in_flight, tally) = (VecDeque::new(), Tally::new(STOPPED));
        Pipeline { ledger, budget, in_flight, in_flight_bytes: 0, tally, progress, out }
    }

    /// Works until the input ends; answers the error that it ended with, if it did.
    fn run(&mut self, items: &Receiver<Item<Heard>>) -> Result<Option<io::Error>, Failure> {
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
    fn take_in(&mut self, line: ahead::Line<Heard>) -> Result<(), Failure> {
        let ahead::Line { number, bytes, end, said: Heard { key, said } } = line;
        let stand = match said {
            Said::Invalid(why) => Stand::Invalid(why),
            Said::Order(submission) => self.submit(&submission)?,
            Said::With(submission, told) => self.submit_with(submission, &told)?,
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

    /// One write for the order and all that third parties are to be told about it.
    fn submit_with(&mut self, order: Box<Submission>, told: &[Told]) -> Result<Stand, Failure> {
        let batch = LinkedBatch::of_order((*order).clone());
        let batch = told::with(batch, told, |told| {
            Dispatch::of_member(0, told.route.as_str(), told.body.as_slice())
        });
        loop {
            let result = self.ledger.linked(&batch);
            let is_overloaded = matches!(&result, Err(error)
                if matches!(error.kind(), ErrorKind::Overloaded { .. }));
            if !is_overloaded || self.in_flight.is_empty() {
                return Ok(Stand::With(order, result));
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
            Stand::OnItsWay(mut ticket) => {
                Answer::of(line, key, &ticket.wait(None), self.ledger.lifecycle())
            }
            Stand::Answered(result) => Answer::of(line, key, &result, self.ledger.lifecycle()),
            Stand::With(order, result) => Answer::with(line, key, &order, &result, self.ledger),
        };
        self.tally.count(answer.outcome, answer.unusable);
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

#[cfg(test)]
mod tests {
    use order_ledger::Options;

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
        let hear = |line: Result<&[u8], String>| input::hear(b"web", line);
        let items = ahead::read(input, LINE_BYTES_MAX, Arc::clone(&budget), hear).unwrap();
        let mut out = Out::to(true, Box::new(io::sink()));
        let progress = Progress::new(0, Unit::Bytes, true);
        let mut pipeline = Pipeline::new(&ledger, &budget, progress, &mut out);
        assert!(pipeline.run(&items).unwrap().is_none());
        assert_eq!(pipeline.tally.to_string(), "1000 lines: 1000 fresh");
        assert_eq!(ledger.orders().count(), 1000);
    }
}
