//! Runs seeds on all cores, piece by piece, and adds up what they came to; a failed piece is named with the
//! command that runs it again.
//!
//! `ORDER_LEDGER_SEED_FIRST` is the first seed (default 0), `ORDER_LEDGER_SEEDS` says how many.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a run came to is for whoever started it"
)]

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::layers::{number, print_result};

/// Seeds of a piece. A scheduler learns from the schedules before how long one is, so that a seed's
/// schedule is the same again only together with those before it in its piece.
pub(crate) const PIECE: u64 = 64;

/// Figures of a run, by name, in the order in which they are printed.
pub(crate) type Figures = Vec<(&'static str, u64)>;

/// Runs the pieces of `count` seeds, or of as many as the environment asks for, and prints the line that a
/// release adds up. `again` is the rest of the command for a piece that failed.
///
/// Answers the figures, for the test to see that there was something to fail.
pub(crate) fn run(
    layer: &str,
    count: u64,
    again: &str,
    piece: impl Fn(Range<u64>) -> Figures + Sync,
) -> Figures {
    let first = number("ORDER_LEDGER_SEED_FIRST").unwrap_or(0) / PIECE * PIECE;
    let count = number("ORDER_LEDGER_SEEDS").unwrap_or(count).next_multiple_of(PIECE);
    let (next, failed) = (AtomicU64::new(first), AtomicU64::new(0));
    let total: Mutex<Figures> = Mutex::default();
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // Enough failures to see whether there is one cause or many.
                while failed.load(Ordering::Relaxed) < 8 {
                    let from = next.fetch_add(PIECE, Ordering::Relaxed);
                    if from >= first + count {
                        break;
                    }
                    match catch_unwind(AssertUnwindSafe(|| piece(from..from + PIECE))) {
                        Ok(figures) => add(&mut total.lock().unwrap(), &figures),
                        Err(_) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            eprintln!(
                                "seeds {from} to {} failed; again: ORDER_LEDGER_SEED_FIRST={from} \
                                 ORDER_LEDGER_SEEDS={PIECE} {again}",
                                from + PIECE - 1
                            );
                        }
                    }
                }
            });
        }
    });
    let (total, failed) = (total.into_inner().unwrap(), failed.into_inner());
    let own = [("violations", failed), ("seconds_max", began.elapsed().as_secs())];
    print_result(layer, [("seeds", count)].into_iter().chain(total.iter().copied()).chain(own));
    assert_eq!(failed, 0, "a piece failed, see above");
    total
}

pub(crate) fn add(total: &mut Figures, more: &[(&'static str, u64)]) {
    for (name, count) in more {
        match total.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += count,
            None => total.push((name, *count)),
        }
    }
}

/// Each of these has happened: a run in which it never does proves nothing about it.
pub(crate) fn assert_happened(figures: &[(&'static str, u64)], names: &[&str]) {
    for name in names {
        let count = figures.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count);
        assert!(count > 0, "no {name} in {figures:?}");
    }
}
