//! How a bench is shown: a table and the verdict for people, one JSON value for programs.
//!
//! Always true: both say the same; every figure was measured in this run.

use clap::builder::styling::Style;
use serde_json::{Map, Value, json};

use super::figures::Sample;
use super::orders::Orders;
use super::verdict::{Disk, Seen, count, time};
use super::{KINDS, Kind, Measured};
use crate::args::Bench;
use crate::errors::Failure;
use crate::machine;
use crate::output::{GREEN, Out, RED, YELLOW, shown, table};

pub(crate) struct Report<'a> {
    args: &'a Bench,
    orders: &'a Orders,
    at: jiff::Timestamp,
    measured: &'a Measured,
    machine: Vec<(&'static str, String)>,
    /// Each row, all rounds together.
    rows: Vec<(Kind, Sample)>,
    seen: Seen,
}

impl<'a> Report<'a> {
    pub(crate) fn new(
        args: &'a Bench,
        orders: &'a Orders,
        at: jiff::Timestamp,
        measured: &'a Measured,
    ) -> Result<Report<'a>, Failure> {
        let machine = machine::facts(&args.dir);
        let all = KINDS.into_iter().map(|kind| Ok((kind, measured.row(kind).all()?)));
        let rows = all.collect::<Result<Vec<_>, Failure>>()?;
        let seen = seen(measured, &machine, &rows);
        Ok(Report { args, orders, at, measured, machine, rows, seen })
    }

    pub(crate) fn show(&self, out: &mut Out) -> Result<(), Failure> {
        if out.json {
            return out.json_line(&self.to_json());
        }
        out.line(format!(
            "{}, {}, {} rounds of {:.2} s a row; orders: {}",
            shown(self.args.dir.display().to_string().as_bytes()),
            self.seen.file_system,
            self.args.rounds,
            (self.args.seconds / self.args.rounds).as_secs_f64(),
            self.orders.words()
        ))?;
        let mut rows = table(&[
            "what",
            "per second",
            "rounds",
            "orders per write",
            "p50",
            "p99",
            "p99.9",
            "longest",
        ]);
        for (kind, all) in &self.rows {
            let [median, least, most] = self.measured.row(*kind).per_s();
            let [p50, p99, p999, longest] = PARTS.map(|(_, part)| time(all.calls.us(part)));
            rows.add_row([
                self.name(*kind),
                count(median),
                format!("{} to {}", count(least), count(most)),
                per_write(all).map_or("-".into(), |orders| format!("{orders:.1}")),
                p50,
                p99,
                p999,
                longest,
            ]);
        }
        out.line(rows)?;
        let colour = match self.seen.disk() {
            Disk::Plausible => GREEN,
            Disk::SuspiciouslyFast => YELLOW,
            Disk::Memory => RED,
        };
        let colours = std::iter::once(colour).chain(std::iter::repeat(Style::new()));
        for (words, style) in self.seen.words().iter().zip(colours) {
            out.line(format!("{style}{words}{style:#}"))?;
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        let facts =
            self.machine.iter().map(|(name, fact)| ((*name).to_owned(), fact.as_str().into()));
        let rows: Vec<_> = self.rows.iter().map(|(kind, all)| self.row_json(*kind, all)).collect();
        json!({
            "report": "order-ledger bench",
            "at": format!("{:.0}", self.at),
            "program": format!("order-ledger {}", env!("CARGO_PKG_VERSION")),
            "build": if self.seen.is_debug_build { "debug" } else { "release" },
            "disk": self.seen.disk().name(),
            "lone_over_raw_p50": rounded(self.seen.lone_over_raw),
            "batch_over_raw_p50": rounded(self.seen.batch_over_raw),
            "verdict": self.seen.words(),
            "rows": rows,
            "threads": self.measured.threads,
            "rate": self.measured.rate,
            "rate_is_given": self.measured.rate_is_given,
            "rounds": self.args.rounds,
            "seconds": self.args.seconds.as_secs_f64(),
            "orders": self.orders.words(),
            "unsettled": self.measured.unsettled,
            "machine": Map::from_iter(facts),
        })
    }

    fn row_json(&self, kind: Kind, all: &Sample) -> Value {
        let [median, least, most] = self.measured.row(kind).per_s().map(rounded);
        let times = PARTS.map(|(name, part)| (name.to_owned(), rounded(all.calls.us(part)).into()));
        json!({
            "row": match kind {
                Kind::Raw => "raw",
                Kind::Lone => "lone",
                Kind::Threads => "threads",
                Kind::Paced => "paced",
                Kind::RawBatch => "raw_batch",
                Kind::Batches => "batches",
                Kind::Deferred => "deferred",
            },
            "what": self.name(kind),
            "count": all.count,
            "per_s": median,
            "per_s_least": least,
            "per_s_most": most,
            "calls": all.calls.count(),
            "call_us": Map::from_iter(times),
            "orders_per_write": per_write(all).map(rounded),
        })
    }

    fn name(&self, kind: Kind) -> String {
        let Measured { threads, rate, batch, in_flight, raw_bytes, raw_batch_bytes, .. } =
            self.measured;
        let threads = match threads {
            1 => "1 thread".to_owned(),
            threads => format!("{threads} threads"),
        };
        match kind {
            Kind::Raw => format!("raw durable writes of {} KiB", raw_bytes / 1024),
            Kind::Lone => "one by one".into(),
            Kind::Threads => threads,
            Kind::Paced => format!("{threads}, at {} a second", count(f64::from(*rate))),
            Kind::RawBatch => format!("raw durable writes of {} KiB", raw_batch_bytes / 1024),
            Kind::Batches => format!("batches of {batch}"),
            Kind::Deferred => format!("{in_flight} in flight, 1 thread"),
        }
    }
}

/// Parts of the calls whose times are shown, and their names for programs.
const PARTS: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)];

fn seen(measured: &Measured, machine: &[(&str, String)], rows: &[(Kind, Sample)]) -> Seen {
    let fact = |name: &str| {
        let found = machine.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let all = |kind: Kind| rows.iter().find(|(known, _)| *known == kind).map(|(_, all)| all);
    let us = |kind: Kind, part: f64| all(kind).map_or(0.0, |all| all.calls.us(part));
    let per_s = |kind: Kind| {
        let [median, ..] = measured.row(kind).per_s();
        median
    };
    let over = |this: Kind, that: Kind| measured.row(this).p50_over(measured.row(that));
    Seen {
        file_system: fact("file_system"),
        // Virtual disks have no model, and call themselves rotating whatever is behind them.
        is_rotating: fact("disk_is_rotational") == "1" && fact("disk_model") != machine::UNKNOWN,
        is_debug_build: cfg!(debug_assertions),
        raw_kib: measured.raw_bytes / 1024,
        raw_us: us(Kind::Raw, 0.5),
        lone_us: us(Kind::Lone, 0.5),
        lone_over_raw: over(Kind::Lone, Kind::Raw),
        lone_per_s: per_s(Kind::Lone),
        threads: measured.threads,
        threads_per_s: per_s(Kind::Threads),
        threads_per_write: all(Kind::Threads).and_then(per_write).unwrap_or(0.0),
        batch: measured.batch,
        batches_per_s: per_s(Kind::Batches),
        batch_over_raw: over(Kind::Batches, Kind::RawBatch),
        in_flight: measured.in_flight,
        deferred_per_s: per_s(Kind::Deferred),
        rate: measured.rate,
        paced_per_s: per_s(Kind::Paced),
        paced_p99_us: us(Kind::Paced, 0.99),
        paced_max_us: us(Kind::Paced, 1.0),
        unsettled: measured.unsettled,
    }
}

/// Orders that shared a write of the ledger; raw writes have none.
fn per_write(all: &Sample) -> Option<f64> {
    (all.groups > 0).then(|| all.count as f64 / all.groups as f64)
}

/// Three digits behind the point: what is behind them was not measured.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
