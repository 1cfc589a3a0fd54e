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

    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn least(&self) -> f64 {
        self.sorted().first().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn most(&self) -> f64 {
        self.sorted().last().copied().unwrap_or(f64::NAN)
    }

    /// Round by round: this over that. A disturbance of a whole round touches both and cancels out.
    pub(crate) fn over(&self, that: &Rounds) -> Rounds {
        let values = self.values.iter().zip(&that.values).map(|(this, that)| this / that);
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
