//! How many orders a row takes in a round: as many as took about the wanted time in the round before.
//!
//! Orders are made before the clock runs, so their number has to be known; and an engine that is a
//! hundred times as quick as another needs a hundred times as many for figures that are as steady.

use std::collections::HashMap;
use std::time::Duration;

use crate::contender::Who;
use crate::figures::What;

/// Orders of one row and round: 400 MB of them.
const COUNT_MAX: usize = 500_000;

pub(crate) struct Pace {
    wanted: Duration,
    counts: HashMap<(What, &'static str), usize>,
}

impl Pace {
    pub(crate) fn new(wanted: Duration) -> Pace {
        Pace { wanted, counts: HashMap::new() }
    }

    /// Whole multiples of `step`; `first` in the first round, which does not count.
    pub(crate) fn count(&self, what: What, who: Who, first: usize, step: usize) -> usize {
        let count = self.counts.get(&(what, who.name)).copied().unwrap_or(first);
        count.clamp(1, COUNT_MAX).next_multiple_of(step)
    }

    /// What the round came to.
    pub(crate) fn took(&mut self, what: What, who: Who, count: usize, elapsed: Duration) {
        let scaled = count as u128 * self.wanted.as_nanos() / elapsed.as_nanos().max(1);
        self.counts.insert((what, who.name), usize::try_from(scaled).unwrap_or(COUNT_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::OURS;

    #[test]
    fn a_row_takes_as_long_as_wanted_in_the_next_round() {
        let mut pace = Pace::new(Duration::from_secs(2));
        assert_eq!(pace.count(What::Lone, OURS, 250, 100), 300);
        pace.took(What::Lone, OURS, 300, Duration::from_millis(100));
        assert_eq!(pace.count(What::Lone, OURS, 250, 100), 6000);
        pace.took(What::Lone, OURS, 6000, Duration::ZERO);
        assert_eq!(pace.count(What::Lone, OURS, 250, 100), COUNT_MAX);
    }
}
