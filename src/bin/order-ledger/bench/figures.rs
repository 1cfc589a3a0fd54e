//! Figures of several rounds: rates as medians, times as percentiles, ratios round by round.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::errors::Failure;

/// Longest time that is told apart: one hour.
const TIME_NS_MAX: u64 = 3_600_000_000_000;

/// Times of single calls.
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Result<Times, Failure> {
        // Three digits: nobody needs a fourth.
        Histogram::new_with_bounds(1, TIME_NS_MAX, 3).map(Times).map_err(impossible)
    }

    pub(crate) fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn add(&mut self, more: &Times) -> Result<(), Failure> {
        self.0.add(&more.0).map_err(impossible)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// What this part of the calls did not exceed, in microseconds. 1 is the longest call.
    pub(crate) fn us(&self, part: f64) -> f64 {
        Duration::from_nanos(self.0.value_at_quantile(part)).as_secs_f64() * 1e6
    }
}

/// All histograms have the same bounds.
fn impossible(error: impl std::fmt::Debug) -> Failure {
    Failure::io("counting times", std::io::Error::other(format!("{error:?}")))
}

/// What one row did in one round.
pub(crate) struct Sample {
    /// Orders, or raw writes.
    pub(crate) count: u64,
    pub(crate) time: Duration,
    pub(crate) calls: Times,
    /// Groups that the ledger wrote for it.
    pub(crate) groups: u64,
}

impl Sample {
    pub(crate) fn new() -> Result<Sample, Failure> {
        Ok(Sample { count: 0, time: Duration::ZERO, calls: Times::new()?, groups: 0 })
    }

    /// Adds what was done at the same time.
    pub(crate) fn beside(&mut self, that: &Sample) -> Result<(), Failure> {
        self.time = self.time.max(that.time);
        self.add_counts(that)
    }

    /// Adds what was done after it.
    fn then(&mut self, that: &Sample) -> Result<(), Failure> {
        self.time += that.time;
        self.add_counts(that)
    }

    fn add_counts(&mut self, that: &Sample) -> Result<(), Failure> {
        self.count += that.count;
        self.groups += that.groups;
        self.calls.add(&that.calls)
    }

    pub(crate) fn per_s(&self) -> f64 {
        self.count as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

/// One row, in all rounds.
#[derive(Default)]
pub(crate) struct Row {
    rounds: Vec<Sample>,
}

impl Row {
    /// Adds to the round with this number, from 0; rounds come in their order.
    pub(crate) fn push(&mut self, round: usize, sample: Sample) -> Result<(), Failure> {
        match self.rounds.get_mut(round) {
            Some(begun) => begun.then(&sample),
            None => {
                self.rounds.push(sample);
                Ok(())
            }
        }
    }

    /// Everything together.
    pub(crate) fn all(&self) -> Result<Sample, Failure> {
        let mut all = Sample::new()?;
        self.rounds.iter().try_for_each(|round| all.then(round))?;
        Ok(all)
    }

    /// Median, least and most of the rounds.
    pub(crate) fn per_s(&self) -> [f64; 3] {
        median_least_most(self.rounds.iter().map(Sample::per_s))
    }

    /// The median of the rounds' ratios of the middle times. What disturbs a whole round touches both.
    pub(crate) fn p50_over(&self, that: &Row) -> f64 {
        let p50 = |sample: &Sample| sample.calls.us(0.5);
        let pairs = self.rounds.iter().zip(&that.rounds);
        let [median, ..] =
            median_least_most(pairs.map(|(this, that)| p50(this) / p50(that).max(1e-3)));
        median
    }
}

fn median_least_most(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
    let last = sorted.len().saturating_sub(1);
    [f64::midpoint(at(last / 2), at(sorted.len() / 2)), at(0), at(last)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(count: u64, us: u64) -> Sample {
        let mut sample = Sample::new().unwrap();
        (0..count).for_each(|_| sample.calls.record(Duration::from_micros(us)));
        Sample { count, time: Duration::from_micros(us * count), ..sample }
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median_least_most([4.0, 1.0].into_iter()), [2.5, 1.0, 4.0]);
        assert_eq!(median_least_most([9.0, 1.0, 2.0].into_iter()), [2.0, 1.0, 9.0]);
        assert_eq!(median_least_most(std::iter::empty()), [0.0; 3]);
    }

    #[test]
    fn a_ratio_is_taken_inside_each_round() {
        let (mut this, mut that) = (Row::default(), Row::default());
        for (round, us) in [100, 900, 100].into_iter().enumerate() {
            this.push(round, sample(10, us * 2)).unwrap();
            that.push(round, sample(5, us)).unwrap();
            that.push(round, sample(5, us)).unwrap();
        }
        assert!((this.p50_over(&that) - 2.0).abs() < 0.01);
        assert_eq!((this.all().unwrap().count, that.all().unwrap().count), (30, 30));
        assert!((that.per_s()[0] - 10_000.0).abs() < 1.0);
    }

    #[test]
    fn threads_share_the_time_and_rounds_do_not() {
        let (mut beside, mut then) = (sample(10, 100), sample(10, 100));
        beside.beside(&sample(10, 100)).unwrap();
        then.then(&sample(10, 100)).unwrap();
        assert_eq!((beside.count, then.count), (20, 20));
        assert_eq!((beside.time.as_micros(), then.time.as_micros()), (1000, 2000));
        assert_eq!(beside.calls.count(), 20);
    }
}
