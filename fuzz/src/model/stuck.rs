//! Who stands still for too long: said a second time, from the histories of the orders and from the thresholds, and
//! from nothing that anybody recorded about it.
//!
//! Always true: an order that has thresholds of its own is held against those and no others, in whatever state; what
//! is said at an instant follows from that instant.

use std::collections::BTreeSet;
use std::time::Duration;

use order_ledger::{AlertLevel, Lifecycle, Order, OrderId, State, StuckOrder};

use crate::lives::Told;

/// In nanoseconds; `None`: never.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thresholds {
    pub warn_ns: Option<u64>,
    pub critical_ns: Option<u64>,
}

const MS: u64 = 1_000_000;

impl Thresholds {
    const fn new(warn_ns: Option<u64>, critical_ns: Option<u64>) -> Thresholds {
        Thresholds { warn_ns, critical_ns }
    }

    /// Those that an order may have of its own; number 0 is that it has none.
    const OWN: [Thresholds; 8] = [
        Thresholds::new(None, None),
        Thresholds::new(Some(20_000), None),
        Thresholds::new(None, Some(3 * MS)),
        Thresholds::new(Some(MS), Some(4 * MS)),
        Thresholds::new(Some(0), None),
        Thresholds::new(Some(u64::MAX), None),
        Thresholds::new(Some(9_000 * MS), Some(2 * MS)),
        Thresholds::new(Some(1_000 * MS), Some(30_000 * MS)),
    ];

    pub fn own(number: u8) -> Thresholds {
        Thresholds::OWN[usize::from(number) % Thresholds::OWN.len()]
    }

    /// Those that count for an order in this state.
    pub fn that_count(order: &Order, state: State, lifecycle: &Lifecycle) -> Thresholds {
        let own = Thresholds::of((order.warn_after, order.critical_after));
        let has_none = own == Thresholds::own(0);
        if has_none { Thresholds::of(lifecycle.thresholds(state)) } else { own }
    }

    fn of((warn, critical): (Option<Duration>, Option<Duration>)) -> Thresholds {
        let ns = |it: Duration| it.as_nanos() as u64;
        Thresholds { warn_ns: warn.map(ns), critical_ns: critical.map(ns) }
    }

    /// As durations; for ever is the longest that there is.
    pub fn durations(self) -> [Option<Duration>; 2] {
        [self.warn_ns, self.critical_ns].map(|ns| ns.map(Duration::from_nanos))
    }

    /// After how long it is so bad, or worse.
    pub fn first_ns(self, level: AlertLevel) -> Option<u64> {
        match level {
            AlertLevel::Warn => self.warn_ns.into_iter().chain(self.critical_ns).min(),
            AlertLevel::Critical => self.critical_ns,
        }
    }

    /// How bad it is after so long, if it is.
    pub fn level(self, dwell_ns: u64) -> Option<AlertLevel> {
        let is_over = |level: &AlertLevel| self.first_ns(*level).is_some_and(|it| it <= dwell_ns);
        [AlertLevel::Critical, AlertLevel::Warn].into_iter().find(is_over)
    }
}

/// The lifecycle of all programs: the default one, watched.
pub fn lifecycle() -> Lifecycle {
    let ms = |ms| Some(Duration::from_millis(ms));
    Lifecycle::default()
        .with_thresholds(State::Accepted, ms(5), ms(50))
        .with_thresholds(State::InProgress, ms(10), None)
        .with_thresholds(State::Cancelling, None, ms(30))
}

/// Where an order stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stands {
    pub order: OrderId,
    pub state: State,
    pub since_ns: u64,
    /// Those that count for it.
    pub thresholds: Thresholds,
    has_own: bool,
}

impl Stands {
    /// `None`: at its end.
    pub fn of(told: &Told, lifecycle: &Lifecycle) -> Option<Stands> {
        let order = &told.order;
        let entered = told.history.iter().rev().find(|event| event.body.state().is_some());
        let since_ns = entered.expect("it began").at.as_unix_ns();
        let state = order.now.state;
        let thresholds = Thresholds::that_count(order, state, lifecycle);
        let has_own = order.warn_after.is_some() || order.critical_after.is_some();
        let stands = Stands { order: order.id(), state, since_ns, thresholds, has_own };
        (!lifecycle.is_terminal(state)).then_some(stands)
    }

    /// How bad that is at an instant; `None` also before it stands so.
    pub fn level(&self, now_ns: u64) -> Option<AlertLevel> {
        self.thresholds.level(now_ns.checked_sub(self.since_ns)?)
    }

    /// Where it comes in a list of what is so bad, or worse: by state and by when it entered it; behind all of those,
    /// with thresholds of its own, by when it came so far.
    fn place(&self, level: AlertLevel) -> (u16, u64, OrderId) {
        match self.has_own {
            false => (self.state.number().into(), self.since_ns, self.order),
            true => {
                let first_ns = self.thresholds.first_ns(level).expect("it is so bad");
                (u16::MAX, self.since_ns + first_ns, self.order)
            }
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub state: Option<State>,
    pub level: AlertLevel,
}

impl Asked {
    /// Who is stuck at an instant, in the order of the list.
    fn expected(&self, all: &[Stands], now_ns: u64) -> Vec<Stands> {
        let is_wanted = |stands: &&Stands| {
            self.state.is_none_or(|only| only == stands.state)
                && stands.level(now_ns).is_some_and(|level| level >= self.level)
        };
        let mut expected: Vec<Stands> = all.iter().filter(is_wanted).copied().collect();
        expected.sort_by_key(|stands| stands.place(self.level));
        expected
    }

    /// Holds pages against where all orders stand. Each was made at an instant of its own, which is told by whoever is
    /// on it, and all within `span`.
    pub fn check(
        &self,
        all: &[Told],
        lifecycle: &Lifecycle,
        pages: &[Vec<StuckOrder>],
        span: [u64; 2],
    ) {
        let all: Vec<_> = all.iter().filter_map(|told| Stands::of(told, lifecycle)).collect();
        let mut seen = BTreeSet::new();
        let mut last = None;
        for page in pages {
            let Some(now_ns) = page.first().map(instant) else { continue };
            assert!((span[0]..=span[1]).contains(&now_ns), "at {now_ns}, and it is {span:?}");
            let expected = self.expected(&all, now_ns);
            for found in page {
                assert_eq!(instant(found), now_ns, "a page is made at one instant");
                let stands = expected.iter().find(|stands| stands.order == found.order);
                let stands = stands.unwrap_or_else(|| panic!("it is not stuck: {found:?}"));
                let level = stands.level(now_ns).expect("it is stuck");
                let threshold_ns = stands.thresholds.first_ns(level).expect("it has one");
                let told = (found.state, found.since.as_unix_ns(), found.level, found.threshold);
                let owed =
                    (stands.state, stands.since_ns, level, Duration::from_nanos(threshold_ns));
                assert_eq!(told, owed, "{found:?}");
                assert!(seen.insert(found.order), "it comes twice: {found:?}");
                let place = stands.place(self.level);
                assert!(last < Some(place), "out of its place: {found:?}");
                last = Some(place);
            }
            if pages.len() == 1 {
                assert_eq!(page.len(), expected.len(), "some are missing: {expected:?}");
            }
        }
        let owed = self.expected(&all, span[0]);
        let missing = owed.iter().find(|stands| !seen.contains(&stands.order));
        assert!(missing.is_none(), "it is not told of: {missing:?}, {self:?}");
    }
}

fn instant(found: &StuckOrder) -> u64 {
    found.since.as_unix_ns() + found.dwell.as_nanos() as u64
}
