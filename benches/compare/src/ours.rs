//! The ledger, opened as anyone opens it: default options, every outcome looked at.

use std::collections::VecDeque;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use order_ledger::{Ledger, Result, Submission, Ticket};

use crate::sample::Latencies;

/// `submit`, one after the other from one thread.
pub(crate) fn lone(
    ledger: &Ledger,
    orders: &[Submission],
    latencies: &mut Latencies,
) -> Result<()> {
    for order in orders {
        let started = Instant::now();
        ledger.submit(order)?;
        latencies.push(started.elapsed());
    }
    Ok(())
}

/// `submit` from `threads` threads at once, each its share of the orders.
pub(crate) fn threads(ledger: &Ledger, orders: &[Submission], threads: usize) -> Result<Duration> {
    let start = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        let running: Vec<_> = orders
            .chunks(orders.len().div_ceil(threads))
            .map(|share| {
                scope.spawn(|| {
                    start.wait();
                    share.iter().try_for_each(|order| ledger.submit(order).map(drop))
                })
            })
            .collect();
        start.wait();
        let started = Instant::now();
        for thread in running {
            // A panic of a thread goes on here.
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(started.elapsed())
    })
}

/// `submit_many` of `batch` orders at a time.
pub(crate) fn batches(ledger: &Ledger, orders: &[Submission], batch: usize) -> Result<Duration> {
    let started = Instant::now();
    for orders in orders.chunks(batch) {
        for result in ledger.submit_many(orders) {
            result?;
        }
    }
    Ok(started.elapsed())
}

/// `submit_deferred` from one thread that keeps `in_flight` tickets.
pub(crate) fn deferred(
    ledger: &Ledger,
    orders: &[Submission],
    in_flight: usize,
) -> Result<Duration> {
    let started = Instant::now();
    let mut tickets = VecDeque::with_capacity(in_flight);
    for order in orders {
        if tickets.len() == in_flight
            && let Some(mut oldest) = tickets.pop_front()
        {
            Ticket::wait(&mut oldest, None)?;
        }
        tickets.push_back(ledger.submit_deferred(order));
    }
    for mut ticket in tickets {
        ticket.wait(None)?;
    }
    Ok(started.elapsed())
}
