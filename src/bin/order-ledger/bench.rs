//! `bench`: what a durable write costs on the user's disk, and durable orders beside it.
//!
//! - [`room`]: the directory that is made and removed; [`orders`]: what is submitted
//! - [`raw`]: the disk alone; [`drive`]: the ledger, row by row; [`figures`]: what is kept of both
//! - [`verdict`]: what the figures mean, in plain words; [`report`]: how all of it is shown
//!
//! Always true: raw writes come before each row of orders in each round, so that both see the same disk;
//! background work of one row is over before the next begins, or the report says that it was not; a ledger
//! that was there before is not touched.

mod drive;
mod figures;
mod orders;
mod raw;
mod report;
mod room;
mod verdict;

use std::time::{Duration, Instant};

use order_ledger::{Ledger, Options};

use crate::args::Bench;
use crate::errors::{Exit, Failure};
use crate::output::Out;
use crate::progress::{Progress, Unit};
use figures::{Row, Sample};
use orders::Orders;
use raw::{BLOCK_BYTES, Raw};
use report::Report;
use room::Room;

const BATCH_ORDERS: usize = 1000;
const IN_FLIGHT_ORDERS: usize = 64;
/// What a batch or the tickets in flight may hold: large orders of the caller's own make both smaller.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes that a record has beside the order: raw writes as large as a batch need no more precision.
const RECORD_BYTES: usize = 80;
/// How long a row waits for the background work of the one before it.
const SETTLE_MAX: Duration = Duration::from_secs(30);
const SETTLE_PAUSE: Duration = Duration::from_millis(5);

/// The rows, in the order in which a round runs them and the report shows them.
const KINDS: [Kind; 7] = [
    Kind::Raw,
    Kind::Lone,
    Kind::Threads,
    Kind::Paced,
    Kind::RawBatch,
    Kind::Batches,
    Kind::Deferred,
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Raw,
    Lone,
    Threads,
    Paced,
    RawBatch,
    Batches,
    Deferred,
}

/// What was measured, and how.
pub(crate) struct Measured {
    pub(crate) threads: u16,
    /// Orders a second of [`Kind::Paced`].
    pub(crate) rate: u32,
    /// Whether the caller named it.
    pub(crate) rate_is_given: bool,
    pub(crate) batch: usize,
    pub(crate) in_flight: usize,
    /// What one order takes, and a batch.
    pub(crate) raw_bytes: usize,
    pub(crate) raw_batch_bytes: usize,
    /// Rows that began while the ledger still had background work of an earlier one.
    pub(crate) unsettled: u32,
    rows: [Row; 7],
}

impl Measured {
    pub(crate) fn row(&self, kind: Kind) -> &Row {
        let [raw, lone, threads, paced, raw_batch, batches, deferred] = &self.rows;
        match kind {
            Kind::Raw => raw,
            Kind::Lone => lone,
            Kind::Threads => threads,
            Kind::Paced => paced,
            Kind::RawBatch => raw_batch,
            Kind::Batches => batches,
            Kind::Deferred => deferred,
        }
    }
}

pub(crate) fn run(args: &Bench, out: &mut Out) -> Result<Exit, Failure> {
    let orders = Orders::new(args.payload.as_deref())?;
    let room = Room::new(&args.dir)?;
    let at = jiff::Timestamp::now();
    let measured = measure(args, &orders, &room)?;
    Report::new(args, &orders, at, &measured)?.show(out)?;
    room.remove()?;
    Ok(Exit::Done)
}

fn measure(args: &Bench, orders: &Orders, room: &Room) -> Result<Measured, Failure> {
    let fitting = BATCH_BYTES_MAX / orders.bytes_mean().max(1);
    let batch = fitting.clamp(1, BATCH_ORDERS);
    let blocks =
        |count: usize| (count * (orders.bytes_mean() + RECORD_BYTES)).next_multiple_of(BLOCK_BYTES);
    let (raw_bytes, raw_batch_bytes) = (blocks(1), blocks(batch));
    let mut bench = Running {
        orders,
        raw: Raw::new(&room.join("raw"), raw_batch_bytes)?,
        // The defaults, but that one client is alone here, and waits where orders of 16 MiB fill the queue.
        ledger: Options::new()
            .client_share_percent(100)
            .admission_wait(Duration::from_secs(60))
            .open(room.join("orders.ledger"))?,
        time: (args.seconds / args.rounds).max(Duration::from_millis(1)),
        measured: Measured {
            threads: args.threads,
            rate: args.rate.unwrap_or(0),
            rate_is_given: args.rate.is_some(),
            batch,
            in_flight: fitting.clamp(1, IN_FLIGHT_ORDERS),
            raw_bytes,
            raw_batch_bytes,
            unsettled: 0,
            rows: Default::default(),
        },
    };
    let progress = Progress::new(u64::from(args.rounds), Unit::Things, false);
    bench.warm_up()?;
    for round in 0..args.rounds {
        bench.round(usize::try_from(round).unwrap_or(usize::MAX))?;
        progress.set(u64::from(round) + 1);
    }
    drop(progress);
    let Running { ledger, measured, .. } = bench;
    ledger.close()?;
    Ok(measured)
}

struct Running<'a> {
    orders: &'a Orders,
    raw: Raw,
    ledger: Ledger,
    /// Of one row in one round.
    time: Duration,
    measured: Measured,
}

impl Running<'_> {
    /// First writes find cold caches; they are not counted.
    fn warm_up(&mut self) -> Result<(), Failure> {
        self.raw.write_for(self.measured.raw_bytes, self.time / 10)?;
        drive::lone(&self.ledger, self.orders, self.time / 10)?;
        Ok(())
    }

    fn round(&mut self, round: usize) -> Result<(), Failure> {
        for (index, kind) in KINDS.into_iter().enumerate() {
            if kind == Kind::Raw {
                continue;
            }
            self.settle()?;
            // A share before each row.
            let share = self.time / (KINDS.len() - 1).try_into().unwrap_or(1);
            let raw = self.raw.write_for(self.measured.raw_bytes, share)?;
            self.push(0, round, raw)?;
            let groups = self.ledger.stats()?.groups;
            let mut sample = self.sample(kind)?;
            sample.groups = self.ledger.stats()?.groups.saturating_sub(groups);
            if kind == Kind::Threads && self.measured.rate == 0 {
                self.measured.rate = half_of(sample.per_s());
            }
            self.push(index, round, sample)?;
        }
        Ok(())
    }

    fn push(&mut self, index: usize, round: usize, sample: Sample) -> Result<(), Failure> {
        self.measured.rows.get_mut(index).map_or(Ok(()), |row| row.push(round, sample))
    }

    fn sample(&mut self, kind: Kind) -> Result<Sample, Failure> {
        let (ledger, orders, time) = (&self.ledger, self.orders, self.time);
        let Measured { threads, rate, batch, in_flight, raw_bytes, raw_batch_bytes, .. } =
            self.measured;
        match kind {
            Kind::Raw => self.raw.write_for(raw_bytes, time),
            Kind::RawBatch => self.raw.write_for(raw_batch_bytes, time),
            Kind::Lone => drive::lone(ledger, orders, time),
            Kind::Threads => drive::threads(ledger, orders, threads, time),
            Kind::Paced => drive::paced(ledger, orders, threads, rate, time),
            Kind::Batches => drive::batches(ledger, orders, batch, time),
            Kind::Deferred => drive::deferred(ledger, orders, in_flight, time),
        }
    }

    /// Waits until the lists of the ledger have caught up: else the next row, and the raw writes before all,
    /// would pay for the orders of the last one.
    fn settle(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let views = self.ledger.stats()?.views;
            if views.is_none_or(|views| views.behind == 0 || views.phase == "off") {
                return Ok(());
            }
            if begun.elapsed() > SETTLE_MAX {
                self.measured.unsettled += 1;
                return Ok(());
            }
            drive::sleep(SETTLE_PAUSE);
        }
    }
}

/// Half of a rate, as a number that people can remember: two digits.
fn half_of(per_s: f64) -> u32 {
    let half = (per_s / 2.0).clamp(1.0, 10_000_000.0);
    let unit = 10f64.powf((half.log10().floor() - 1.0).max(0.0));
    format!("{:.0}", (half / unit).floor() * unit).parse().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_rate_has_two_digits() {
        let halves = [0.1, 3.0, 250.0, 8_765.0, 1e12].map(half_of);
        assert_eq!(halves, [1, 1, 120, 4_300, 10_000_000]);
    }
}
