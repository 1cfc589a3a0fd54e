//! order-ledger beside the raw disk and beside SQLite, on one disk, in one interleaved run.
//!
//! Prints one table: medians over the rounds, with the least and the most. Every round runs every row of
//! its part once, and ratios are taken inside a round, so that a noisy machine disturbs both sides alike.

use std::error::Error;
use std::io::Write;

use order_ledger::{Ledger, Options, Submission, Views};

mod machine;
mod opening;
mod ours;
mod raw;
mod sample;
mod sqlite;
#[path = "../../support/mod.rs"]
mod support;

use raw::Raw;
use sample::{Latencies, Rounds, rate};
use sqlite::Sqlite;
use support::Dir;

/// Rounds that count, behind one that warms up.
const ROUNDS: usize = 7;
/// Single durable operations per round and kind, in blocks that alternate.
const LONE_BLOCKS: usize = 6;
const LONE_PER_BLOCK: usize = 50;
const THREADED_ORDERS: usize = 12_800;
const BATCHES: usize = 40;
const BATCH: usize = 1_000;
const IN_FLIGHT: usize = 64;

/// One figure per round of everything that is measured.
#[derive(Default)]
struct Figures {
    raw_p50_us: Rounds,
    raw_p99_us: Rounds,
    lone_p50_us: Rounds,
    lone_p99_us: Rounds,
    sqlite_lone_p50_us: Rounds,
    threads_8: Rounds,
    threads_8_per_sync: Rounds,
    threads_64: Rounds,
    threads_64_per_sync: Rounds,
    deferred: Rounds,
    batches: Rounds,
    batches_no_views: Rounds,
    sqlite_batches: Rounds,
}

/// What is measured, each open for the whole run.
struct Engines {
    raw: Raw,
    /// With the default options.
    ledger: Ledger,
    /// Without the views, which are fed in the background and take a core while they catch up.
    no_views: Ledger,
    sqlite: Sqlite,
}

fn main() -> Result<(), Box<dyn Error>> {
    support::fill_if_asked();
    let dir = Dir::new("compare")?;
    let mut engines = Engines {
        raw: Raw::new(&dir.join("raw"))?,
        ledger: Ledger::open(dir.join("orders.ledger"))?,
        no_views: Options::new().views(Views::Off).open(dir.join("no-views.ledger"))?,
        sqlite: Sqlite::new(&dir.join("orders.sqlite"))?,
    };
    let mut figures = Figures::default();
    // Two parts, so that what the second leaves to do in the background does not run under the first.
    for part in [lone_round, throughput_round] {
        part(&mut engines, &mut Figures::default())?;
        for _ in 0..ROUNDS {
            part(&mut engines, &mut figures)?;
        }
    }
    engines.ledger.close()?;
    engines.no_views.close()?;
    let mut out = std::io::stdout().lock();
    machine::print(&mut out, &dir.file_system()?)?;
    print(&mut out, &figures)?;
    out.flush()?;
    print_openings(&mut out, &dir)?;
    Ok(())
}

/// Single durable operations, in blocks that alternate.
fn lone_round(engines: &mut Engines, figures: &mut Figures) -> Result<(), Box<dyn Error>> {
    let Engines { raw, ledger, sqlite, .. } = engines;
    let (mut raw_us, mut ours_us, mut sqlite_us) =
        (Latencies::default(), Latencies::default(), Latencies::default());
    for _ in 0..LONE_BLOCKS {
        raw.write(LONE_PER_BLOCK, &mut raw_us)?;
        ours::lone(ledger, &support::orders(LONE_PER_BLOCK), &mut ours_us)?;
        for order in support::orders(LONE_PER_BLOCK) {
            let started = std::time::Instant::now();
            submit_sqlite(sqlite, &[order])?;
            sqlite_us.push(started.elapsed());
        }
    }
    figures.raw_p50_us.push(raw_us.percentile_us(50));
    figures.raw_p99_us.push(raw_us.percentile_us(99));
    figures.lone_p50_us.push(ours_us.percentile_us(50));
    figures.lone_p99_us.push(ours_us.percentile_us(99));
    figures.sqlite_lone_p50_us.push(sqlite_us.percentile_us(50));
    Ok(())
}

/// Many orders at once.
fn throughput_round(engines: &mut Engines, figures: &mut Figures) -> Result<(), Box<dyn Error>> {
    let Engines { ledger, no_views, sqlite, .. } = engines;
    let Figures { threads_8, threads_8_per_sync, threads_64, threads_64_per_sync, .. } = figures;
    for (threads, rates, per_sync) in
        [(8, threads_8, threads_8_per_sync), (64, threads_64, threads_64_per_sync)]
    {
        let orders = support::orders(THREADED_ORDERS);
        let before = ledger.stats()?.groups;
        let elapsed = ours::threads(ledger, &orders, threads)?;
        let groups = usize::try_from(ledger.stats()?.groups - before)?;
        rates.push(rate(orders.len(), elapsed));
        per_sync.push(rate(orders.len(), elapsed) / rate(groups, elapsed));
    }
    let orders = support::orders(THREADED_ORDERS);
    figures.deferred.push(rate(orders.len(), ours::deferred(ledger, &orders, IN_FLIGHT)?));

    let orders = support::orders(BATCH * BATCHES);
    figures.batches.push(rate(orders.len(), ours::batches(ledger, &orders, BATCH)?));
    figures.batches_no_views.push(rate(orders.len(), ours::batches(no_views, &orders, BATCH)?));
    let started = std::time::Instant::now();
    for batch in orders.chunks(BATCH) {
        submit_sqlite(sqlite, batch)?;
    }
    figures.sqlite_batches.push(rate(orders.len(), started.elapsed()));
    Ok(())
}

fn submit_sqlite(sqlite: &mut Sqlite, orders: &[Submission]) -> Result<(), Box<dyn Error>> {
    match sqlite.submit(orders)?.iter().all(Option::is_some) {
        true => Ok(()),
        false => Err("SQLite found a key with other content".into()),
    }
}

/// A submit contains a durable write: a ratio below this says that the raw row was disturbed (waiting
/// for a core, a tick of the scheduler at a time), not that the ledger is quicker than the disk.
const LONE_RATIO_VALID_MIN: f64 = 0.8;

/// A target and whether it was met.
enum Target {
    /// The second: below it the figure is not valid.
    AtMost(f64, f64),
    AtLeast(f64),
    None,
}

fn print(out: &mut impl Write, figures: &Figures) -> std::io::Result<()> {
    writeln!(out, "| what | median | least..most of {ROUNDS} rounds | target | |")?;
    writeln!(out, "|---|---|---|---|---|")?;
    let Figures { raw_p50_us, raw_p99_us, lone_p50_us, lone_p99_us, .. } = figures;
    let sqlite_lone = &figures.sqlite_lone_p50_us;
    let (batches, sqlite_batches) = (&figures.batches, &figures.sqlite_batches);
    let none = Target::None;
    let rows: [(&str, &Rounds, &str, Target); 18] = [
        ("raw durable 4 KiB write, p50", raw_p50_us, "us", Target::None),
        ("raw durable 4 KiB write, p99", raw_p99_us, "us", Target::None),
        ("lone submit, p50", lone_p50_us, "us", Target::None),
        ("lone submit, p99", lone_p99_us, "us", Target::None),
        (
            "lone submit / raw, p50",
            &lone_p50_us.over(raw_p50_us),
            "x",
            Target::AtMost(1.4, LONE_RATIO_VALID_MIN),
        ),
        ("lone submit / raw, p99", &lone_p99_us.over(raw_p99_us), "x", Target::None),
        ("SQLite, one order per transaction, p50", sqlite_lone, "us", Target::None),
        ("SQLite / lone submit, p50", &sqlite_lone.over(lone_p50_us), "x", Target::None),
        ("8 threads", &figures.threads_8, "orders/s", Target::None),
        ("8 threads, orders per sync", &figures.threads_8_per_sync, "", Target::None),
        ("64 threads", &figures.threads_64, "orders/s", Target::None),
        ("64 threads, orders per sync", &figures.threads_64_per_sync, "", Target::AtLeast(8.0)),
        ("64 deferred in flight, one thread", &figures.deferred, "orders/s", Target::None),
        ("deferred / 64 threads", &figures.deferred.over(&figures.threads_64), "x", Target::None),
        ("submit_many of 1,000", batches, "orders/s", Target::None),
        ("submit_many of 1,000, views off", &figures.batches_no_views, "orders/s", Target::None),
        ("SQLite, 1,000 orders per transaction", sqlite_batches, "orders/s", none),
        ("submit_many / SQLite", &batches.over(sqlite_batches), "x", Target::AtLeast(3.0)),
    ];
    for (what, rounds, unit, target) in rows {
        let (median, least, most) = (rounds.median(), rounds.least(), rounds.most());
        let (wanted, met) = match target {
            Target::AtMost(most, valid) if median >= valid => {
                (format!("<= {most}"), Some(median <= most))
            }
            Target::AtMost(most, _) => (format!("<= {most}"), None),
            Target::AtLeast(least) => (format!(">= {least}"), Some(median >= least)),
            Target::None => (String::new(), None),
        };
        let verdict = match (wanted.is_empty(), met) {
            (true, _) => "",
            (false, Some(true)) => "met",
            (false, Some(false)) => "missed",
            (false, None) => "not valid: raw disturbed, run again",
        };
        let (median, least, most) = (number(median), number(least), number(most));
        writeln!(out, "| {what} | {median} {unit} | {least}..{most} | {wanted} | {verdict} |")?;
    }
    Ok(())
}

fn print_openings(out: &mut impl Write, dir: &Dir) -> Result<(), Box<dyn Error>> {
    let mib = opening::SEGMENT_BYTES / 1024 / 1024;
    writeln!(out)?;
    writeln!(out, "Opening after kill -9, segments of {mib} MiB, the last one half full:")?;
    writeln!(out)?;
    writeln!(
        out,
        "| segments | orders | log | segments scanned | bytes read | open | least..most of {ROUNDS} |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for segments in [1, 4, 16] {
        let work = dir.join("opening");
        std::fs::create_dir_all(&work)?;
        let all = opening::after_kill(&work, segments, ROUNDS)?;
        let (mut elapsed_ms, mut read_mib) = (Rounds::default(), Rounds::default());
        for opened in &all {
            elapsed_ms.push(opened.elapsed.as_secs_f64() * 1e3);
            read_mib.push(f64::from(u32::try_from(opened.bytes_read / 1024)?) / 1024.0);
        }
        let Some(last) = all.last() else { continue };
        let report = &last.report;
        writeln!(
            out,
            "| {} | {} | {} MiB | {} | {} MiB | {} ms | {}..{} |",
            report.segments,
            report.records,
            report.segments * mib,
            report.segments_scanned,
            number(read_mib.median()),
            number(elapsed_ms.median()),
            number(elapsed_ms.least()),
            number(elapsed_ms.most()),
        )?;
    }
    Ok(())
}

/// Three digits that count, or whole numbers.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => {
            let digits = format!("{value:.0}");
            let mut text = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index) % 3 == 0 {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
