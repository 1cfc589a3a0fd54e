//! After how long in a state an order is worth a look, and needs somebody.
//!
//! A state has thresholds by the lifecycle, and an order may have its own, which replace those of whatever state it
//! is in. Both are counted in the same way, from the instant at which the order entered the state.

use std::time::Duration;

use super::alert::AlertLevel;
use super::id::Timestamp;

/// In nanoseconds; `None`: never.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Thresholds {
    pub(crate) warn_ns: Option<u64>,
    pub(crate) critical_ns: Option<u64>,
}

impl Thresholds {
    pub(crate) fn of((warn, critical): (Option<Duration>, Option<Duration>)) -> Thresholds {
        Thresholds { warn_ns: warn.map(ns), critical_ns: critical.map(ns) }
    }

    /// The same as durations: warn, critical.
    pub(crate) fn durations(self) -> (Option<Duration>, Option<Duration>) {
        (self.warn_ns.map(Duration::from_nanos), self.critical_ns.map(Duration::from_nanos))
    }

    /// Whether there is neither: of an order, that it is watched by those of its state.
    pub(crate) fn is_none(self) -> bool {
        self.warn_ns.is_none() && self.critical_ns.is_none()
    }

    /// After how long an order is so bad, or worse.
    pub(crate) fn first_ns(self, level: AlertLevel) -> Option<u64> {
        match level {
            AlertLevel::Warn => self.warn_ns.into_iter().chain(self.critical_ns).min(),
            AlertLevel::Critical => self.critical_ns,
        }
    }

    /// When an order is so bad, or worse, that entered its state at `since`. `None`: never, or behind the end of
    /// ledger time.
    pub(crate) fn due_at(self, level: AlertLevel, since: Timestamp) -> Option<Timestamp> {
        let due_ns = since.as_unix_ns().checked_add(self.first_ns(level)?)?;
        Some(Timestamp::from_unix_ns(due_ns))
    }

    /// How bad it is after so long, if it is.
    pub(crate) fn level(self, dwell_ns: u64) -> Option<AlertLevel> {
        let is_over = |level: &AlertLevel| self.first_ns(*level).is_some_and(|it| it <= dwell_ns);
        AlertLevel::ALL.into_iter().rev().find(is_over)
    }
}

/// As nanoseconds; the longest is for ever.
pub(crate) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(warn_ns: Option<u64>, critical_ns: Option<u64>) -> Thresholds {
        Thresholds { warn_ns, critical_ns }
    }

    #[test]
    fn the_worst_threshold_that_has_passed_says_how_bad_it_is() {
        let both = of(Some(10), Some(20));
        assert_eq!([9, 10, 19, 20].map(|ns| both.level(ns)), {
            use AlertLevel::{Critical, Warn};
            [None, Some(Warn), Some(Warn), Some(Critical)]
        });
        assert_eq!(of(None, Some(20)).level(19), None);
        assert_eq!(of(Some(20), Some(10)).level(10), Some(AlertLevel::Critical));
        assert_eq!(of(Some(20), Some(10)).first_ns(AlertLevel::Warn), Some(10));
        assert_eq!(of(None, None).level(u64::MAX), None);
    }

    #[test]
    fn an_order_is_due_at_the_instant_at_which_its_level_is_reached() {
        let since = Timestamp::from_unix_ns(1_000);
        let due = |thresholds: Thresholds| {
            AlertLevel::ALL.map(|level| thresholds.due_at(level, since).map(|at| at.as_unix_ns()))
        };
        assert_eq!(due(of(Some(10), Some(20))), [Some(1_010), Some(1_020)]);
        assert_eq!(due(of(None, Some(0))), [Some(1_000), Some(1_000)]);
        assert_eq!(due(of(Some(10), None)), [Some(1_010), None]);
        assert_eq!(due(of(Some(u64::MAX), Some(u64::MAX - 1_000))), [Some(u64::MAX); 2]);
        assert_eq!(due(of(Some(u64::MAX), None)), [None; 2], "behind the end of time");
        assert_eq!(ns(Duration::MAX), u64::MAX);
    }
}
