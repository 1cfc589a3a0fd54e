//! Counters and histograms of what the ledger does. A leaf.
//!
//! - [`Counters`]: what was answered and written since the ledger was opened; one for each ledger
//! - [`Buckets`]: a histogram that many threads fill; [`Histogram`]: a copy of one, to look at
//!
//! Always true: everything here is for people and for guesses, and no answer rests on it; to count takes no
//! lock, makes no allocation and can't fail; a snapshot is no moment of all counters together, but each one
//! only ever rises.

use std::sync::atomic::Ordering;

use crate::sync::Count;

/// Parts of each power of two. Source of the error that [`Histogram::quantile`] states.
const PARTS: usize = 4;
/// Its logarithm.
const PARTS_BITS: u32 = 2;
/// Values up to 4 have a bucket each; then there are four for each power of two, up to all 64 bits.
const BUCKETS: usize = (64 - PARTS_BITS as usize) * PARTS + PARTS;

/// What has been answered and written since the ledger was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    // What submissions came to.
    /// Orders that were recorded, the finally refused ones among them.
    pub(crate) fresh: Count,
    /// Of those, the ones that were finally refused.
    pub(crate) refused: Count,
    pub(crate) replayed: Count,
    pub(crate) joined: Count,
    pub(crate) conflicts: Count,
    pub(crate) refused_for_now: Count,
    pub(crate) invalid: Count,
    pub(crate) overloaded: Count,
    pub(crate) disk_low: Count,
    /// Everything else: a poisoned or closed ledger, a failed read, what is in doubt.
    pub(crate) failed: Count,
    // What was recorded beside orders.
    pub(crate) steps: Count,
    /// Of those, the ones that say that the time of an order is over.
    pub(crate) expired: Count,
    pub(crate) notes: Count,
    pub(crate) holds: Count,
    /// Cursors of consumers.
    pub(crate) cursors: Count,
    /// Heads of linked batches, alerts, dispatches and what becomes of them, lifecycles.
    pub(crate) others: Count,
    // How it was written.
    pub(crate) written_bytes: Count,
    /// When what waits in the queue began to: since then nobody has begun to write it. 0: nothing waits, or
    /// nobody looked at the clock for it.
    pub(crate) waiting_since_ns: Count,
    /// When the upkeep was done the last time.
    pub(crate) upkeep_at_ns: Count,
    pub(crate) receipt_ns: Buckets,
    pub(crate) queue_wait_ns: Buckets,
    pub(crate) sync_ns: Buckets,
    pub(crate) group_records: Buckets,
}

impl Counters {
    #[inline]
    pub(crate) fn add(counter: &Count) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds many at once, and touches nothing for none.
    #[inline]
    pub(crate) fn add_many(counter: &Count, many: u64) {
        if many > 0 {
            counter.fetch_add(many, Ordering::Relaxed);
        }
    }
}

/// A histogram that threads fill at the same time: fixed buckets, one addition each.
#[derive(Debug)]
pub(crate) struct Buckets {
    counts: Box<[Count; BUCKETS]>,
    sum: Count,
}

impl Default for Buckets {
    fn default() -> Buckets {
        Buckets { counts: none_seen(), sum: Count::new(0) }
    }
}

/// By itself, so that the stack of whoever opens a ledger never holds more than one of these.
#[inline(never)]
fn none_seen() -> Box<[Count; BUCKETS]> {
    Box::new([const { Count::new(0) }; BUCKETS])
}

impl Buckets {
    /// Counts one value.
    #[inline]
    pub(crate) fn record(&self, value: u64) {
        self.record_many(value, 1);
    }

    /// Counts the same value so many times.
    #[inline]
    pub(crate) fn record_many(&self, value: u64, times: u64) {
        if times == 0 {
            return;
        }
        if let Some(count) = self.counts.get(bucket(value)) {
            count.fetch_add(times, Ordering::Relaxed);
        }
        self.sum.fetch_add(value.wrapping_mul(times), Ordering::Relaxed);
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Their mean; 0 without one.
    pub(crate) fn mean(&self) -> u64 {
        self.sum.load(Ordering::Relaxed) / self.count().max(1)
    }

    pub(crate) fn snapshot(&self) -> Histogram {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Histogram { counts, sum: self.sum.load(Ordering::Relaxed) }
    }
}

/// The bucket of a value. Each bucket has its upper end and not its lower one, as Prometheus has it. Without a branch:
/// it is a good part of what counting costs.
#[inline]
fn bucket(value: u64) -> usize {
    let below = value.saturating_sub(1);
    // The last bits are set, so that the first row is for all values up to 4.
    let bits = u64::BITS - (below | (PARTS as u64 - 1)).leading_zeros();
    let row = bits - PARTS_BITS;
    let part = usize::try_from(below >> row.saturating_sub(1)).unwrap_or(0) % PARTS;
    row as usize * PARTS + part
}

/// The largest value of a bucket.
fn upper_end(bucket: usize) -> u64 {
    let (row, part) = (bucket / PARTS, (bucket % PARTS) as u64);
    if row == 0 {
        return part + 1;
    }
    let shift = u32::try_from(row - 1).unwrap_or(u32::MAX);
    let end = (PARTS as u128 + u128::from(part) + 1).checked_shl(shift).unwrap_or(u128::MAX);
    u64::try_from(end).unwrap_or(u64::MAX)
}

/// How often which value was seen since the ledger was opened, in buckets of four for each power of two.
///
/// **Cost**: 2 KiB each, whatever was seen. **Error**: what [`quantile`](Histogram::quantile) answers is never
/// below the true value and at most 25 % above it; [`sum`](Histogram::sum) and [`count`](Histogram::count) are
/// exact.
///
/// ```
/// # use order_ledger::{Ledger, Submission};
/// # let dir = tempfile::tempdir().unwrap();
/// let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
/// ledger.submit(&Submission::new("web-shop", "cart-17", "2 x tea"))?;
/// let activity = ledger.metrics().activity.unwrap();
/// assert_eq!(activity.receipt_ns.count(), 1);
/// assert!(activity.receipt_ns.quantile(0.99).unwrap() > 0);
/// # Ok::<(), order_ledger::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Histogram {
    /// One for each bucket.
    counts: Vec<u64>,
    sum: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], sum: 0 }
    }
}

impl Histogram {
    /// How many values were seen.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum; it begins again at 0 behind 2^64, which is 584 years of nanoseconds.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The value that so large a part of all (0 to 1) does not exceed; `None` when nothing was seen. Never below
    /// the true one, and at most 25 % above it.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let mut seen = 0;
        for (index, here) in self.counts.iter().enumerate() {
            seen += here;
            // Exact up to 2^53 values, and by one of so many behind it.
            if seen as f64 >= part.clamp(0.0, 1.0) * count as f64 && seen > 0 {
                return Some(upper_end(index));
            }
        }
        None
    }

    /// How many values were seen that are not larger than `2^power`: exact.
    #[must_use]
    pub fn count_up_to_power(&self, power: u32) -> u64 {
        let end = 1u64.checked_shl(power).unwrap_or(u64::MAX);
        let within =
            self.counts.iter().enumerate().take_while(|(index, _)| upper_end(*index) <= end);
        within.map(|(_, count)| count).sum()
    }

    /// Takes in what another one has seen: of another ledger, or of another process.
    pub fn merge(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// What was seen since this earlier copy of the same histogram was made.
    #[must_use]
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let counts = self.counts.iter().zip(&earlier.counts);
        let counts = counts.map(|(now, before)| now.saturating_sub(*before)).collect();
        Histogram { counts, sum: self.sum.wrapping_sub(earlier.sum) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn histogram(values: &[u64]) -> Histogram {
        let buckets = Buckets::default();
        values.iter().for_each(|value| buckets.record(*value));
        buckets.snapshot()
    }

    #[test]
    fn every_value_has_the_bucket_whose_end_it_does_not_exceed() {
        for (value, end) in
            [(0, 1), (1, 1), (2, 2), (4, 4), (5, 5), (8, 8), (9, 10), (16, 16), (17, 20)]
        {
            assert_eq!(upper_end(bucket(value)), end, "{value}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(upper_end(BUCKETS - 1), u64::MAX);
        let ends: Vec<_> = (0..BUCKETS).map(upper_end).collect();
        assert!(ends.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn an_empty_histogram_says_nothing() {
        let empty = histogram(&[]);
        assert_eq!((empty.count(), empty.sum(), empty.quantile(0.5)), (0, 0, None));
        assert_eq!(empty, Histogram::default());
    }

    #[test]
    fn many_equal_values_count_as_often() {
        let buckets = Buckets::default();
        buckets.record_many(7, 1000);
        buckets.record_many(7, 0);
        let seen = buckets.snapshot();
        assert_eq!((seen.count(), seen.sum(), seen.quantile(0.0)), (1000, 7000, Some(7)));
    }

    proptest! {
        #[test]
        fn a_quantile_is_never_below_the_true_one_and_at_most_a_quarter_above(
            mut values in proptest::collection::vec(prop_oneof![0..40u64, 0..u64::MAX / 256], 1..200),
            part in 0.0..=1.0f64,
        ) {
            let seen = histogram(&values);
            values.sort_unstable();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            let rank = ((part * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let (truth, said) = (values[rank - 1], seen.quantile(part).unwrap());
            prop_assert!(said >= truth, "{said} < {truth}");
            prop_assert!(said <= truth.max(1) + truth / 4, "{said} is far above {truth}");
            prop_assert_eq!(seen.count(), values.len() as u64);
            prop_assert_eq!(seen.sum(), values.iter().sum::<u64>());
        }

        #[test]
        fn what_is_up_to_a_power_of_two_is_counted_exactly(
            values in proptest::collection::vec(0..5000u64, 0..100), power in 0..14u32,
        ) {
            let truth = values.iter().filter(|value| **value <= 1 << power).count() as u64;
            prop_assert_eq!(histogram(&values).count_up_to_power(power), truth);
        }

        #[test]
        fn two_together_are_one_over_both_and_the_difference_gives_one_back(
            one in proptest::collection::vec(0..u64::MAX / 256, 0..50),
            other in proptest::collection::vec(0..u64::MAX / 256, 0..50),
        ) {
            let mut both = histogram(&one);
            both.merge(&histogram(&other));
            prop_assert_eq!(&both, &histogram(&[one.clone(), other.clone()].concat()));
            prop_assert_eq!(both.since(&histogram(&one)), histogram(&other));
        }
    }
}
