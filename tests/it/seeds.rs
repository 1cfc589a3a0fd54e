//! Runs seeds piece by piece, on all cores, and adds up what they came to; a failed piece is named with the
//! command that runs it again.
//!
//! `ORDER_LEDGER_SEED_FIRST` is the first seed (default 0), `ORDER_LEDGER_SEEDS` says how many.

use std::ops::Range;
use std::time::Instant;

use crate::layers::{Counts, number, on_all_cores};

/// Seeds of a piece. A scheduler learns from the schedules before how long one is, so that a seed's
/// schedule is the same again only together with those before it in its piece.
pub(crate) const PIECE: u64 = 64;

/// Figures of a piece, by name.
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
) -> Counts {
    let first = number("ORDER_LEDGER_SEED_FIRST").unwrap_or(0) / PIECE;
    let count = number("ORDER_LEDGER_SEEDS").unwrap_or(count).div_ceil(PIECE);
    let began = Instant::now();
    let work = |(): &mut (), number: u64, counts: &mut Counts| {
        for (name, count) in piece(number * PIECE..(number + 1) * PIECE) {
            counts.add(name, count);
        }
    };
    let again = |number: u64| {
        let from = number * PIECE;
        format!("ORDER_LEDGER_SEED_FIRST={from} ORDER_LEDGER_SEEDS={PIECE} {again}")
    };
    let mut total = on_all_cores(first..first + count, 1, || (), work, again);
    let failed = total.take("panics");
    total.add("seeds", count * PIECE);
    total.add("violations", failed);
    total.add("seconds_max", began.elapsed().as_secs());
    total.print_result(layer);
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
pub(crate) fn assert_happened(counts: &Counts, names: &[&str]) {
    for name in names {
        assert!(counts.get(name) > 0, "no {name} in {counts:?}");
    }
}
