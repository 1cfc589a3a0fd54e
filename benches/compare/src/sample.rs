//! Figures of several rounds: the median, and how far the rounds lie apart.

use std::time::Duration;

/// One figure per round.
#[derive(Clone, Default, Debug)]
pub(crate) struct Rounds {
    values: Vec<f64>,
}

impl Rounds {
    pub(crate) fn push(&mut self, value: f64) {
        self.values.push(value);
    }

    /// Between the two in the middle if there are two.
    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        f64::midpoint(at(sorted.len().saturating_sub(1) / 2), at(sorted.len() / 2))
    }

    pub(crate) fn least(&self) -> f64 {
        self.sorted().first().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn most(&self) -> f64 {
        self.sorted().last().copied().unwrap_or(f64::NAN)
    }

    /// Round by round: this over that. A disturbance of a whole round touches both and cancels out.
    pub(crate) fn over(&self, that: &Rounds) -> Rounds {
        self.with(that, |this, that| this / that)
    }

    /// Round by round, what `both` makes of this and that.
    pub(crate) fn with(&self, that: &Rounds, both: impl Fn(f64, f64) -> f64) -> Rounds {
        let values = self.values.iter().zip(&that.values).map(|(this, that)| both(*this, *that));
        Rounds { values: values.collect() }
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// How long single operations took, in one round.
#[derive(Default, Debug)]
pub(crate) struct Latencies {
    values: Vec<Duration>,
}

impl Latencies {
    pub(crate) fn push(&mut self, value: Duration) {
        self.values.push(value);
    }

    pub(crate) fn append(&mut self, mut more: Latencies) {
        self.values.append(&mut more.values);
    }

    pub(crate) fn count(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn longest(&self) -> Duration {
        self.values.iter().max().copied().unwrap_or_default()
    }

    /// The value that `percent` of the operations did not exceed, in microseconds.
    pub(crate) fn percentile_us(&mut self, percent: usize) -> f64 {
        self.values.sort_unstable();
        let index = (self.values.len() * percent / 100).min(self.values.len().saturating_sub(1));
        self.values.get(index).map_or(f64::NAN, |value| value.as_secs_f64() * 1e6)
    }
}

/// Per second.
pub(crate) fn rate(count: usize, elapsed: Duration) -> f64 {
    // Counts of a bench are far below 2^32.
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / elapsed.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(values: &[f64]) -> Rounds {
        Rounds { values: values.to_vec() }
    }

    #[test]
    fn a_ratio_is_taken_inside_each_round() {
        let ratios = rounds(&[1.0, 20.0, 3.0]).over(&rounds(&[2.0, 10.0, 1.0]));
        assert_eq!(ratios.values, [0.5, 2.0, 3.0]);
        assert_eq!((ratios.median(), ratios.least(), ratios.most()), (2.0, 0.5, 3.0));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(rounds(&[4.0, 1.0]).median(), 2.5);
        assert!(rounds(&[]).median().is_nan());
    }

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let mut latencies = Latencies::default();
        for us in (1..=200).rev() {
            latencies.push(Duration::from_micros(us));
        }
        assert!((latencies.percentile_us(50) - 101.0).abs() < 1e-6);
        assert!((latencies.percentile_us(99) - 199.0).abs() < 1e-6);
        assert_eq!(latencies.longest(), Duration::from_micros(200));
    }
}
