//! The oracle for who is stuck: a plain reading of all orders and their histories.
//!
//! Always true: an order is held against thresholds of its own if it has any, and else against those of its state,
//! from the instant at which it entered that; who has come to an end is never stuck.

use order_ledger::{
    AlertLevel, Lifecycle, OrderId, Result, Seq, State, StuckOrder, StuckPage, StuckQuery,
    Submission, Timestamp,
};

use super::plan::Patience;
use super::steps::Told;

/// The same order with these thresholds.
pub(super) fn with_patience(order: Submission, patience: Patience) -> Submission {
    let (warn, critical) = patience.durations();
    let order = match warn {
        Some(duration) => order.warn_after(duration),
        None => order,
    };
    match critical {
        Some(duration) => order.critical_after(duration),
        None => order,
    }
}

/// What was answered to who asked for all orders that are stuck, and what the wall clock said before.
#[derive(Clone, Debug)]
pub(super) struct Stuck {
    page: StuckPage,
    wall: Timestamp,
}

/// Asks for them.
pub(super) fn ask(
    wall: Timestamp,
    stuck: impl FnOnce(&StuckQuery) -> Result<StuckPage>,
) -> Result<Stuck> {
    let page = stuck(&StuckQuery::all().limit(StuckQuery::LIMIT_MAX))?;
    Ok(Stuck { page, wall })
}

/// A time that an order spent in a state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stay {
    pub(super) state: State,
    /// When it was entered, and by which record.
    pub(super) since: Timestamp,
    pub(super) entered: Seq,
    /// When it was left, and by which record.
    pub(super) left: Option<(Timestamp, Seq)>,
}

/// All of them, in their order: the order is in the last one.
pub(super) fn stays(told: &Told) -> Vec<Stay> {
    let mut stays: Vec<Stay> = Vec::new();
    for event in &told.history {
        let Some(state) = event.body.state() else { continue };
        if let Some(last) = stays.last_mut() {
            last.left = Some((event.at, event.seq));
        }
        stays.push(Stay { state, since: event.at, entered: event.seq, left: None });
    }
    stays
}

/// After how long an order is so bad, or worse, in this state.
pub(super) fn first_ns(
    told: &Told,
    state: State,
    lifecycle: &Lifecycle,
    level: AlertLevel,
) -> Option<u64> {
    let own = (told.order.warn_after, told.order.critical_after);
    let (warn, critical) = if own == (None, None) { lifecycle.thresholds(state) } else { own };
    let ns = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap();
    match level {
        AlertLevel::Warn => warn.into_iter().chain(critical).map(ns).min(),
        AlertLevel::Critical => critical.map(ns),
    }
}

/// How bad it is with an order now, if it is.
pub(super) fn level_of(
    told: &Told,
    stay: &Stay,
    lifecycle: &Lifecycle,
    now: Timestamp,
) -> Option<AlertLevel> {
    if lifecycle.is_terminal(stay.state) {
        return None;
    }
    // It may have been entered since.
    let dwell_ns = now.as_unix_ns().checked_sub(stay.since.as_unix_ns())?;
    let is_over = |level: &AlertLevel| {
        first_ns(told, stay.state, lifecycle, *level).is_some_and(|first| first <= dwell_ns)
    };
    AlertLevel::ALL.into_iter().rev().find(is_over)
}

/// When the last of these events was recorded.
pub(super) fn last_at(all: &[Told]) -> Timestamp {
    let events = all.iter().flat_map(|told| &told.history);
    events.map(|event| event.at).max().unwrap_or(Timestamp::from_unix_ns(0))
}

impl Stuck {
    /// Holds the answer against a plain reading; answers how many are stuck by their state and by their own.
    pub(super) fn check(&self, all: &[Told], lifecycle: &Lifecycle) -> (u64, u64) {
        let instant = |it: &StuckOrder| {
            let dwell_ns = u64::try_from(it.dwell.as_nanos()).unwrap();
            Timestamp::from_unix_ns(it.since.as_unix_ns() + dwell_ns)
        };
        let begun = self.wall.max(last_at(all));
        // Whoever is listed says what time it was.
        let now = self.page.orders.first().map_or(begun, instant);
        assert!(now >= begun, "it was asked for at {begun:?} and answered as of {now:?}");
        assert_eq!(self.page.next, None);
        let mut expected: Vec<((bool, u8, Timestamp), OrderId, AlertLevel)> = Vec::new();
        for told in all {
            let stay = *stays(told).last().unwrap();
            let Some(level) = level_of(told, &stay, lifecycle, now) else { continue };
            let is_own = (told.order.warn_after, told.order.critical_after) != (None, None);
            let first = first_ns(told, stay.state, lifecycle, AlertLevel::Warn).unwrap();
            let place = match is_own {
                true => (true, 0, Timestamp::from_unix_ns(stay.since.as_unix_ns() + first)),
                false => (false, stay.state.number(), stay.since),
            };
            expected.push((place, told.order.id(), level));
        }
        expected.sort();
        let own = expected.iter().filter(|((is_own, ..), ..)| *is_own).count() as u64;
        let found: Vec<_> = self.page.orders.iter().map(|it| (it.order, it.level)).collect();
        let counts = (expected.len() as u64 - own, own);
        let expected: Vec<_> =
            expected.into_iter().map(|(_, order, level)| (order, level)).collect();
        assert_eq!(found, expected, "who is stuck at {now:?}");
        for it in &self.page.orders {
            let told = all.iter().find(|told| told.order.id() == it.order).unwrap();
            let stay = *stays(told).last().unwrap();
            assert_eq!((it.state, it.since, instant(it)), (stay.state, stay.since, now));
        }
        counts
    }
}
