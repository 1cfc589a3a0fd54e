//! Who is told in which order, and how patiently.

use std::time::Duration;

use crate::order::Timestamp;
use crate::order::consumer::is_consumer_name;

/// How long and how often something is tried.
///
/// Before the n-th try of one provider the outbox waits a random time between nothing and `base` doubled n-1 times, at
/// most `cap` (full jitter: whoever failed together does not come back together).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryPolicy {
    /// The longest wait before the second try. 1 ns or more; default 500 ms.
    pub base: Duration,
    /// No wait is longer. At least `base`; default 5 minutes.
    pub cap: Duration,
    /// How often one provider is told in a row before the next one of the route is. 1 or more; default 8.
    pub attempts_max: u32,
    /// A dispatch that is neither done nor refused after this time is given up: a dead letter. Default 24 hours. It is
    /// counted from the first attempt, also while no outbox runs: what waits behind something else does not grow old.
    pub age_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            base: Duration::from_millis(500),
            cap: Duration::from_secs(300),
            attempts_max: 8,
            age_max: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl RetryPolicy {
    /// How long to wait behind the `tries`-th try.
    pub(crate) fn pause(&self, tries: u32, random: u64) -> Duration {
        let doubled = 1u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
        let longest = self.base.saturating_mul(doubled).min(self.cap);
        let longest_ns = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(random % longest_ns.saturating_add(1).max(1))
    }

    fn wrong(&self) -> Option<&'static str> {
        match () {
            () if self.base.is_zero() || self.cap < self.base => {
                Some("its retries have no base, or a cap below it")
            }
            () if self.attempts_max == 0 => Some("it allows no attempt"),
            () if self.age_max.is_zero() => Some("it gives up at once"),
            () => None,
        }
    }
}

/// What happens while it is not known whether a provider has done something.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum OnUnknown {
    /// Nobody else is told. It is found out: by a lookup, by the same provider with the same token where it knows
    /// repeats ([`Provider::retry_unknown_with_same_token`](crate::Provider::retry_unknown_with_same_token)), or by a
    /// reconciliation; else it becomes a dead letter for a person.
    #[default]
    Hold,
    /// The next provider is told, once the one in question could not be asked. **This can do it twice**: charge a card
    /// at two providers. Only for what does no harm when it is done twice, like a mail.
    FallBack,
}

/// What happens when a provider says no.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum OnRefused {
    /// The next provider of the route is told; behind the last one it becomes a dead letter.
    #[default]
    NextProvider,
    /// It becomes a dead letter at once.
    GiveUp,
}

/// What happens to later dispatches of an order when one of this route was given up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum AfterDead {
    /// They wait until a person has dealt with it: nothing is shipped that was not paid.
    #[default]
    Wait,
    /// They go on: nobody waits for a mail.
    GoOn,
}

/// A named way to have something done: a primary provider, and others in the order in which they stand in for it.
///
/// ```
/// use std::time::Duration;
/// use order_ledger::{OnRefused, RetryPolicy, Route};
///
/// let payment = Route::new("payment", "acme-pay")
///     .fallback("other-pay")
///     .on_refused(OnRefused::GiveUp)
///     .retry(RetryPolicy { attempts_max: 3, ..RetryPolicy::default() })
///     .settle(Duration::from_secs(120));
/// assert_eq!(payment.name(), "payment");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    pub(crate) name: String,
    /// The primary first.
    pub(crate) providers: Vec<String>,
    pub(crate) retry: RetryPolicy,
    pub(crate) on_unknown: OnUnknown,
    pub(crate) on_refused: OnRefused,
    pub(crate) after_dead: AfterDead,
    pub(crate) settle: Duration,
}

impl Route {
    /// A route of this name by one provider, by name.
    pub fn new(name: impl Into<String>, primary: impl Into<String>) -> Route {
        Route {
            name: name.into(),
            providers: vec![primary.into()],
            retry: RetryPolicy::default(),
            on_unknown: OnUnknown::default(),
            on_refused: OnRefused::default(),
            after_dead: AfterDead::default(),
            settle: Duration::from_secs(60),
        }
    }

    /// Another provider, told when those before it surely did nothing: they refused, were tried often enough, or are
    /// left alone by their breakers.
    #[must_use]
    pub fn fallback(mut self, provider: impl Into<String>) -> Route {
        self.providers.push(provider.into());
        self
    }

    /// How long and how often. Default: [`RetryPolicy::default`].
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Route {
        self.retry = retry;
        self
    }

    /// What happens while it is not known whether it was done. Default: [`OnUnknown::Hold`].
    #[must_use]
    pub fn on_unknown(mut self, on_unknown: OnUnknown) -> Route {
        self.on_unknown = on_unknown;
        self
    }

    /// What happens when a provider says no. Default: [`OnRefused::NextProvider`].
    #[must_use]
    pub fn on_refused(mut self, on_refused: OnRefused) -> Route {
        self.on_refused = on_refused;
        self
    }

    /// What happens to later dispatches of the order behind a dead letter. Default: [`AfterDead::Wait`].
    #[must_use]
    pub fn after_dead(mut self, after_dead: AfterDead) -> Route {
        self.after_dead = after_dead;
        self
    }

    /// How old an attempt must be before [`Found::Absent`](crate::Found::Absent) is believed: longer than a request can
    /// be on its way. Default: one minute. Too short, and a request that arrives late is a second charge; too long, and
    /// a fallback waits.
    #[must_use]
    pub fn settle(mut self, settle: Duration) -> Route {
        self.settle = settle;
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The providers by name, the primary first.
    #[must_use]
    pub fn providers(&self) -> &[String] {
        &self.providers
    }

    /// What can't be, in words.
    pub(crate) fn wrong(&self) -> Option<String> {
        let name = &self.name;
        if !is_consumer_name(name) {
            return Some(format!("the route {name:?} has no valid name"));
        }
        let twice = |(index, one): (usize, &String)| {
            self.providers.iter().take(index).any(|other| other == one)
        };
        if self.providers.iter().enumerate().any(twice) {
            return Some(format!("the route {name} has a provider twice"));
        }
        self.retry.wrong().map(|what| format!("the route {name}: {what}"))
    }

    /// The place of a provider.
    pub(crate) fn place_of(&self, provider: &str) -> Option<usize> {
        self.providers.iter().position(|name| name == provider)
    }
}

/// So long behind this time.
pub(crate) fn behind(at: Timestamp, pause: Duration) -> Timestamp {
    let pause_ns = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
    Timestamp::from_unix_ns(at.as_unix_ns().saturating_add(pause_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_between_nothing_and_the_doubled_base_and_never_beyond_the_cap() {
        let policy = RetryPolicy {
            base: Duration::from_secs(1),
            cap: Duration::from_secs(10),
            ..RetryPolicy::default()
        };
        for (tries, longest) in [(0, 1), (1, 1), (2, 2), (4, 8), (5, 10), (40, 10), (u32::MAX, 10)]
        {
            let longest = Duration::from_secs(longest);
            let longest_ns = u64::try_from(longest.as_nanos()).unwrap();
            assert_eq!(policy.pause(tries, longest_ns), longest, "{tries}");
            assert_eq!(policy.pause(tries, 0), Duration::ZERO);
            for random in [1, u64::MAX, 0x9e37_79b9_7f4a_7c15] {
                assert!(policy.pause(tries, random) <= longest);
            }
        }
    }

    #[test]
    fn a_route_that_can_not_be_is_named() {
        let with = |retry| Route::new("a", "b").retry(retry);
        let policy = RetryPolicy::default();
        assert_eq!(with(policy).wrong(), None);
        for broken in [
            Route::new("two words", "b"),
            Route::new("a", "b").fallback("c").fallback("b"),
            with(RetryPolicy { base: Duration::ZERO, ..policy }),
            with(RetryPolicy { cap: Duration::ZERO, ..policy }),
            with(RetryPolicy { attempts_max: 0, ..policy }),
            with(RetryPolicy { age_max: Duration::ZERO, ..policy }),
        ] {
            assert!(broken.wrong().is_some(), "{broken:?}");
        }
    }
}
