//! How the ledger is driven in each row. Every order has to be taken as a new one.
//!
//! Always true: a time is that of one call, but in [`paced`], where it begins when the order was due.

use std::collections::VecDeque;
use std::io;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use order_ledger::{How, Ledger, Outcome, Submission};

use super::figures::Sample;
use super::orders::Orders;
use crate::errors::Failure;

/// One after the other from one thread.
pub(crate) fn lone(ledger: &Ledger, orders: &Orders, time: Duration) -> Result<Sample, Failure> {
    batches(ledger, orders, 1, time)
}

/// `batch` orders at a time, from one thread. The clock stands while they are made.
pub(crate) fn batches(
    ledger: &Ledger,
    orders: &Orders,
    batch: usize,
    time: Duration,
) -> Result<Sample, Failure> {
    let (mut source, mut sample) = (orders.source(), Sample::new()?);
    while sample.count == 0 || sample.time < time {
        let made: Vec<Submission> = (0..batch).map(|_| source.take()).collect();
        let started = Instant::now();
        let taken = match &made[..] {
            [order] => fresh(ledger.submit(order)),
            made => ledger.submit_many(made).into_iter().try_for_each(fresh),
        };
        let took = started.elapsed();
        taken?;
        sample.calls.record(took);
        sample.time += took;
        sample.count += made.len() as u64;
    }
    Ok(sample)
}

/// From `threads` threads at once, each as quickly as it can.
pub(crate) fn threads(
    ledger: &Ledger,
    orders: &Orders,
    threads: u16,
    time: Duration,
) -> Result<Sample, Failure> {
    let start = Barrier::new(usize::from(threads));
    at_once(threads, || {
        let (mut source, mut sample) = (orders.source(), Sample::new()?);
        start.wait();
        let begun = Instant::now();
        while sample.count == 0 || sample.time < time {
            let order = source.take();
            let started = Instant::now();
            fresh(ledger.submit(&order))?;
            sample.calls.record(started.elapsed());
            sample.count += 1;
            sample.time = begun.elapsed();
        }
        Ok(sample)
    })
}

/// `rate` orders a second, from whichever of `threads` threads is free, for as long as `time`. What is
/// overdue is sent late; after twice the time the rest is given up.
pub(crate) fn paced(
    ledger: &Ledger,
    orders: &Orders,
    threads: u16,
    rate: u32,
    time: Duration,
) -> Result<Sample, Failure> {
    // By then the threads wait for the first orders to be due.
    let begin = Instant::now() + Duration::from_millis(10);
    let (end, next) = (begin + 2 * time, AtomicU64::new(0));
    at_once(threads, || {
        let (mut source, mut sample) = (orders.source(), Sample::new()?);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let after =
                Duration::from_nanos(number.saturating_mul(1_000_000_000) / u64::from(rate));
            // The first one always, however short the time is.
            if (after >= time && number > 0) || Instant::now() > end {
                return Ok(sample);
            }
            let (due, order) = (begin + after, source.take());
            sleep(due.saturating_duration_since(Instant::now()));
            fresh(ledger.submit(&order))?;
            sample.calls.record(due.elapsed());
            sample.count += 1;
            sample.time = begin.elapsed().max(time);
        }
    })
}

/// From one thread that keeps `in_flight` tickets and waits for the oldest.
pub(crate) fn deferred(
    ledger: &Ledger,
    orders: &Orders,
    in_flight: usize,
    time: Duration,
) -> Result<Sample, Failure> {
    let (mut source, mut sample) = (orders.source(), Sample::new()?);
    let (mut tickets, begun) = (VecDeque::with_capacity(in_flight), Instant::now());
    loop {
        let is_over = begun.elapsed() >= time && !(tickets.is_empty() && sample.count == 0);
        if !is_over {
            let order = source.take();
            tickets.push_back((Instant::now(), ledger.submit_deferred(&order)));
        }
        if is_over || tickets.len() >= in_flight {
            let Some((started, mut ticket)) = tickets.pop_front() else { break };
            fresh(ticket.wait(None))?;
            sample.calls.record(Instant::now() - started);
            sample.count += 1;
        }
    }
    sample.time = begun.elapsed();
    Ok(sample)
}

/// Does `work` on each of these threads, and adds up what they did.
fn at_once(
    threads: u16,
    work: impl Fn() -> Result<Sample, Failure> + Sync,
) -> Result<Sample, Failure> {
    let work = &work;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = Sample::new()?;
        for thread in running {
            // A panic of a thread goes on here.
            let sample = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            all.beside(&sample)?;
        }
        Ok(all)
    })
}

fn fresh(result: order_ledger::Result<Outcome>) -> Result<(), Failure> {
    let how = result?.how;
    match how {
        How::Fresh => Ok(()),
        _ => {
            let error = io::Error::other(format!("it was answered with {how}"));
            Err(Failure::io("submitting a new order", error))
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a pause of the bench, on the real clock")]
pub(crate) fn sleep(time: Duration) {
    std::thread::sleep(time);
}
