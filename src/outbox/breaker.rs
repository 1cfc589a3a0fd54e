//! A breaker for each provider: one that does not answer is left alone for a while, and then tried with one call.
//!
//! Always true: it is told the time and knows no clock; while it is half open, one call is on its way at most. It is in
//! memory: a restart closes it, and finds out again. What it goes by is on disk: [`sla`](super::sla) and
//! [`census`](super::census) tell one again what came of attempts, and so know how long it was open.

use std::time::Duration;

use super::route::behind;
use crate::order::Timestamp;

/// When a provider is left alone, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerPolicy {
    /// After so many calls in a row without an answer (not sent, or unknown). 1 or more; default 5.
    pub failures_max: u32,
    /// So long, then one call finds out whether it answers again. Default 30 seconds.
    pub open_for: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> BreakerPolicy {
        BreakerPolicy { failures_max: 5, open_for: Duration::from_secs(30) }
    }
}

/// Whether a provider is called.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum BreakerState {
    /// It is called.
    Closed,
    /// It is left alone.
    Open,
    /// One call finds out whether it answers again.
    HalfOpen,
}

impl BreakerState {
    /// The name, as the command line prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Timestamp,
    },
    /// One call is on its way, and is given up for lost then.
    HalfOpen {
        until: Timestamp,
    },
}

/// The breaker of one provider.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Breaker {
    policy: BreakerPolicy,
    state: State,
    /// When it opened, if it is not closed since.
    opened_at: Option<Timestamp>,
    /// How long it was open, without this time.
    open_ns: u64,
    /// How often it opened.
    pub(crate) opened: u64,
}

impl Breaker {
    pub(crate) fn new(policy: BreakerPolicy) -> Breaker {
        let state = State::Closed { failures: 0 };
        Breaker { policy, state, opened_at: None, open_ns: 0, opened: 0 }
    }

    /// Whether a call may pass now; `Err`: not before that time.
    pub(crate) fn pass(&self, now: Timestamp) -> Result<(), Timestamp> {
        match self.state {
            State::Open { until } | State::HalfOpen { until } if now < until => Err(until),
            _ => Ok(()),
        }
    }

    /// A call begins, if it may pass now; `Err`: not before that time.
    pub(crate) fn begin(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        self.pass(now)?;
        if !matches!(self.state, State::Closed { .. }) {
            self.state = State::HalfOpen { until: behind(now, self.policy.open_for) };
        }
        Ok(())
    }

    /// A call was answered, or not.
    pub(crate) fn end(&mut self, answered: bool, now: Timestamp) {
        if answered {
            self.open_ns = self.open_total_ns(now);
            (self.opened_at, self.state) = (None, State::Closed { failures: 0 });
            return;
        }
        let failures = match self.state {
            State::Closed { failures } => failures.saturating_add(1),
            _ => self.policy.failures_max,
        };
        if failures < self.policy.failures_max {
            self.state = State::Closed { failures };
            return;
        }
        self.state = State::Open { until: behind(now, self.policy.open_for) };
        if self.opened_at.is_none() {
            self.opened_at = Some(now);
            self.opened += 1;
        }
    }

    pub(crate) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// When it opened, if it is not closed since.
    pub(crate) fn opened_at(&self) -> Option<Timestamp> {
        self.opened_at
    }

    /// How long it was not closed, up to now.
    pub(crate) fn open_total_ns(&self, now: Timestamp) -> u64 {
        let since = |at: Timestamp| now.as_unix_ns().saturating_sub(at.as_unix_ns());
        self.open_ns.saturating_add(self.opened_at.map_or(0, since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ns: u64) -> Timestamp {
        Timestamp::from_unix_ns(ns)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_call_find_out() {
        let policy = BreakerPolicy { failures_max: 3, open_for: Duration::from_nanos(100) };
        let mut breaker = Breaker::new(policy);
        for answered in [false, false, true, false, false] {
            assert_eq!(breaker.begin(at(0)), Ok(()));
            breaker.end(answered, at(0));
        }
        assert_eq!(breaker.state(), BreakerState::Closed, "not in a row");
        breaker.end(false, at(10));
        assert_eq!((breaker.state(), breaker.opened), (BreakerState::Open, 1));
        assert_eq!(breaker.pass(at(109)), Err(at(110)));
        assert_eq!(breaker.pass(at(110)), Ok(()));
        assert_eq!(breaker.begin(at(110)), Ok(()));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(breaker.begin(at(111)), Err(at(210)), "one at a time");
        assert_eq!(breaker.pass(at(210)), Ok(()), "the one was lost");
        breaker.end(false, at(120));
        assert_eq!((breaker.pass(at(219)), breaker.opened), (Err(at(220)), 1), "still the same");
        assert_eq!(breaker.begin(at(220)), Ok(()));
        breaker.end(true, at(230));
        assert_eq!((breaker.state(), breaker.open_total_ns(at(999))), (BreakerState::Closed, 220));
        assert_eq!(breaker.pass(at(0)), Ok(()));
    }
}
