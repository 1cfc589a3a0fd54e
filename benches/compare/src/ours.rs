//! The ledger, opened as anyone opens it, every outcome looked at; and what only the ledger is asked.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use order_ledger::{ErrorKind, How as Taken, Ledger, Options, OrderId, Outcome, Submission, Views};

use crate::drive;
use crate::orders::Source;
use crate::store::{How, Result, Store};

/// Orders that replays, conflicts and reads go round in.
const KNOWN: usize = 50_000;

/// A handle on an open ledger.
#[derive(Clone, Debug)]
pub(crate) struct Ours(pub(crate) Ledger);

impl Ours {
    pub(crate) fn open(path: &Path, views: Views) -> Result<Ours> {
        Ok(Ours(Options::new().views(views).open(path)?))
    }
}

impl Store for Ours {
    fn submit(&self, order: &Submission) -> Result<How> {
        answer(self.0.submit(order))
    }

    fn submit_many(&self, orders: &[Submission]) -> Result<Vec<How>> {
        self.0.submit_many(orders).into_iter().map(answer).collect()
    }
}

fn answer(result: order_ledger::Result<Outcome>) -> Result<How> {
    match result {
        Ok(outcome) if outcome.how == Taken::Fresh => Ok(How::Fresh),
        Ok(_) => Ok(How::Replayed),
        Err(error) if matches!(error.kind(), ErrorKind::Conflict { .. }) => Ok(How::Conflict),
        Err(error) => Err(error.into()),
    }
}

/// `submit_deferred` from one thread that keeps `in_flight` tickets.
pub(crate) fn deferred(
    ledger: &Ledger,
    orders: &[Submission],
    in_flight: usize,
) -> Result<Duration> {
    let begun = Instant::now();
    let mut tickets = VecDeque::with_capacity(in_flight);
    for order in orders {
        if tickets.len() == in_flight
            && let Some(mut oldest) = tickets.pop_front()
        {
            order_ledger::Ticket::wait(&mut oldest, None)?;
        }
        tickets.push_back(ledger.submit_deferred(order));
    }
    for mut ticket in tickets {
        ticket.wait(None)?;
    }
    Ok(begun.elapsed())
}

/// Orders that the ledger has, and others under the same keys.
pub(crate) struct Known {
    orders: Vec<Submission>,
    others: Vec<Submission>,
    ids: Vec<OrderId>,
}

impl Known {
    pub(crate) fn new(ledger: &Ledger, source: &mut Source) -> Result<Known> {
        let orders = source.take(KNOWN)?;
        let others = source
            .take(KNOWN)?
            .iter()
            .zip(&orders)
            .map(|(other, order)| Submission::new("bench", order.key(), other.payload()))
            .collect();
        let mut ids = Vec::with_capacity(KNOWN);
        for batch in orders.chunks(1_000) {
            for result in ledger.submit_many(batch) {
                ids.push(result?.receipt.order);
            }
        }
        Ok(Known { orders, others, ids })
    }

    /// What is submitted again, and the answer that is due.
    fn repeats(&self, due: How) -> &[Submission] {
        if due == How::Replayed { &self.orders } else { &self.others }
    }

    /// `count` repeats from one thread, one by one.
    pub(crate) fn one_by_one(&self, store: &Ours, count: usize, due: How) -> Result<Duration> {
        let begun = Instant::now();
        for order in self.repeats(due).iter().cycle().take(count) {
            expect(store.submit(order)?, due)?;
        }
        Ok(begun.elapsed())
    }

    /// `count` repeats in batches.
    pub(crate) fn in_batches(
        &self,
        store: &Ours,
        count: usize,
        batch: usize,
        due: How,
    ) -> Result<Duration> {
        let begun = Instant::now();
        for orders in self.repeats(due).chunks(batch).cycle().take(count / batch) {
            store.submit_many(orders)?.into_iter().try_for_each(|how| expect(how, due))?;
        }
        Ok(begun.elapsed())
    }

    /// `count` reads by order id, on each of `threads` threads.
    pub(crate) fn get(&self, ledger: &Ledger, count: usize, threads: usize) -> Result<Duration> {
        self.read(count, threads, |index| {
            let id = self.ids.get(index).ok_or("no such id")?;
            Ok(ledger.get(*id)?.is_some())
        })
    }

    /// `count` reads by key, on each of `threads` threads.
    pub(crate) fn by_key(&self, ledger: &Ledger, count: usize, threads: usize) -> Result<Duration> {
        self.read(count, threads, |index| {
            let order = self.orders.get(index).ok_or("no such order")?;
            Ok(ledger.by_key("bench", order.key())?.is_some())
        })
    }

    fn read(
        &self,
        count: usize,
        threads: usize,
        read: impl Fn(usize) -> Result<bool> + Sync,
    ) -> Result<Duration> {
        // Prime, and more than a page of orders: neighbours in time are not neighbours in the log.
        const STEP: usize = 7_919;
        drive::at_once(threads, |thread| {
            let mut index = thread * KNOWN / threads;
            for _ in 0..count {
                if !read(index)? {
                    return Err("an order that was taken is not there".into());
                }
                index = (index + STEP) % KNOWN;
            }
            Ok(())
        })
    }
}

fn expect(how: How, due: How) -> Result<()> {
    if how == due { Ok(()) } else { Err(format!("{how:?} instead of {due:?}").into()) }
}
