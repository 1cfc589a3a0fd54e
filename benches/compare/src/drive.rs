//! How a store is driven: from one thread, from many, in batches. The clock runs only here, and every
//! order has to be taken as a new one.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use order_ledger::Submission;

use crate::sample::Latencies;
use crate::store::{How, Result, Store};

/// One after the other from one thread.
pub(crate) fn lone(
    store: &dyn Store,
    orders: &[Submission],
    latencies: &mut Latencies,
) -> Result<Duration> {
    let begun = Instant::now();
    for order in orders {
        let started = Instant::now();
        fresh(store.submit(order)?)?;
        latencies.push(started.elapsed());
    }
    Ok(begun.elapsed())
}

/// From `threads` threads at once, each its share of the orders.
pub(crate) fn threads(
    store: &dyn Store,
    orders: &[Submission],
    threads: usize,
) -> Result<Duration> {
    let shares: Vec<_> = orders.chunks(orders.len().div_ceil(threads)).collect();
    at_once(shares.len(), |index| {
        let share = shares.get(index).copied().unwrap_or_default();
        share.iter().try_for_each(|order| fresh(store.submit(order)?))
    })
}

/// `batch` orders at a time, from one thread. Tells how long each batch took.
pub(crate) fn batches(
    store: &dyn Store,
    orders: &[Submission],
    batch: usize,
    latencies: &mut Latencies,
) -> Result<Duration> {
    let begun = Instant::now();
    for orders in orders.chunks(batch) {
        let started = Instant::now();
        store.submit_many(orders)?.into_iter().try_for_each(fresh)?;
        latencies.push(started.elapsed());
    }
    Ok(begun.elapsed())
}

/// Does `work` on `threads` threads, which begin together.
pub(crate) fn at_once(
    threads: usize,
    work: impl Fn(usize) -> Result<()> + Sync,
) -> Result<Duration> {
    let start = Barrier::new(threads + 1);
    let (start, work) = (&start, &work);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|index| {
                scope.spawn(move || {
                    start.wait();
                    work(index)
                })
            })
            .collect();
        start.wait();
        let begun = Instant::now();
        for thread in running {
            // A panic of a thread goes on here.
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(begun.elapsed())
    })
}

fn fresh(how: How) -> Result<()> {
    match how {
        How::Fresh => Ok(()),
        _ => Err(format!("a new order was answered with {how:?}").into()),
    }
}
