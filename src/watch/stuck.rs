//! Pages of orders that have been in their state for longer than the lifecycle allows, or they themselves.
//!
//! Always true: who is on a page is told by where orders stand, by the thresholds, and by the clock, and by nothing
//! that anybody recorded about it: with or without a watch, and whatever the views are like, the answer is the same.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::dwell::{self, List, Listed, Place, Wanted};
use crate::admission::alert::StateEntry;
use crate::admission::dedupe::Lookup;
use crate::error::{Error, ErrorKind, Result};
use crate::order::thresholds::Thresholds;
use crate::order::{AlertLevel, Lifecycle, OrderId, OwnState, Seq, State, Timestamp};
use crate::views::Views;

/// Which orders that stand still, and how many of them at a time.
///
/// The answer comes in pages: by the number of the state, and in each by when the order entered it, so that those
/// that stand longest come first; behind all states the orders that have thresholds of their own
/// ([`Submission::warn_after`](crate::Submission::warn_after)), in whatever state, by when they passed the first of
/// them. Give the token of one page to the query for the next.
///
/// **Cost**: some reads of the log for each order found, as far as the views have caught up; behind that, and without
/// them, a pass over the files of the log in which an order enters the state. Orders with thresholds of their own are
/// found at the cost of those that are due, whatever state is asked for; without the views each page reads the files
/// in which such an order begins.
///
/// An example is at [`Ledger::stuck`](crate::Ledger::stuck).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StuckQuery {
    state: Option<State>,
    level: AlertLevel,
    after: Option<StuckToken>,
    limit: usize,
}

impl StuckQuery {
    /// Orders on a page unless [`StuckQuery::limit`] says otherwise.
    pub const LIMIT_DEFAULT: usize = 100;
    /// Most orders on one page.
    pub const LIMIT_MAX: usize = 10_000;

    /// Every order that is worth a look.
    #[must_use]
    pub fn all() -> StuckQuery {
        let (level, limit) = (AlertLevel::Warn, StuckQuery::LIMIT_DEFAULT);
        StuckQuery { state: None, level, after: None, limit }
    }

    /// Only orders in this state.
    #[must_use]
    pub fn state(mut self, state: State) -> StuckQuery {
        self.state = Some(state);
        self
    }

    /// Only orders that are so bad, or worse.
    #[must_use]
    pub fn level(mut self, level: AlertLevel) -> StuckQuery {
        self.level = level;
        self
    }

    /// Goes on where the page that gave this token ended.
    #[must_use]
    pub fn after(mut self, after: StuckToken) -> StuckQuery {
        self.after = Some(after);
        self
    }

    /// At most this many orders on the page: 1 to [`StuckQuery::LIMIT_MAX`].
    #[must_use]
    pub fn limit(mut self, limit: usize) -> StuckQuery {
        self.limit = limit;
        self
    }
}

impl Default for StuckQuery {
    fn default() -> StuckQuery {
        StuckQuery::all()
    }
}

/// An order that stands still.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct StuckOrder {
    /// Its name.
    pub order: OrderId,
    /// Where it stands.
    pub state: State,
    /// When it entered the state, in ledger time.
    pub since: Timestamp,
    /// How long ago that was.
    pub dwell: Duration,
    /// How bad that is.
    pub level: AlertLevel,
    /// How long it may be in the state before it is so bad: by the lifecycle, or as it says itself.
    pub threshold: Duration,
}

impl StuckOrder {
    /// How an order stands that is held against these thresholds; `None`: it is not stuck.
    pub(crate) fn of(
        order: OrderId,
        StateEntry { state, since }: StateEntry,
        thresholds: Thresholds,
        now: Timestamp,
    ) -> Option<StuckOrder> {
        let dwell_ns = now.as_unix_ns().saturating_sub(since.as_unix_ns());
        let level = thresholds.level(dwell_ns)?;
        let threshold = Duration::from_nanos(thresholds.first_ns(level)?);
        let dwell = Duration::from_nanos(dwell_ns);
        Some(StuckOrder { order, state, since, dwell, level, threshold })
    }
}

/// Some orders that stand still, and where to go on.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct StuckPage {
    /// The orders, by state and by when they entered it; then those with thresholds of their own.
    pub orders: Vec<StuckOrder>,
    /// Where the next page begins, if more orders may follow: it may turn out to be empty.
    pub next: Option<StuckToken>,
}

/// Where a page of orders that stand still ended: the next one begins behind it. Its printed form
/// (`after-1-1767225600000000000-42`; `after-own-..` among those with thresholds of their own) reads back.
///
/// **Source**: [`StuckPage::next`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StuckToken {
    /// The number of the state, or [`OWN`].
    state: u8,
    /// What the list sorts by.
    at: Timestamp,
    order: Seq,
}

const TOKEN_PREFIX: &str = "after-";
/// In the place of a state: among the orders that have thresholds of their own, which come behind all states.
const OWN: u8 = u8::MAX;
const OWN_WORD: &str = "own";

const _: () = assert!(OWN > OwnState::MAX, "no state has this number");

impl fmt::Display for StuckToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StuckToken { state, at, order } = self;
        match *state {
            OWN => write!(f, "{TOKEN_PREFIX}{OWN_WORD}-{}-{order}", at.as_unix_ns()),
            state => write!(f, "{TOKEN_PREFIX}{state}-{}-{order}", at.as_unix_ns()),
        }
    }
}

impl FromStr for StuckToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<StuckToken> {
        let token = text.strip_prefix(TOKEN_PREFIX).and_then(|rest| {
            let mut parts = rest.split('-');
            let (state, at, order) = (parts.next()?, parts.next()?, parts.next()?);
            let state = if state == OWN_WORD { OWN } else { state.parse().ok()? };
            let at = Timestamp::from_unix_ns(at.parse().ok()?);
            Some(StuckToken { state, at, order: Seq(order.parse().ok()?) })
        });
        // Printed again, so that no second spelling of a token is taken.
        token.filter(|token| token.to_string() == text).ok_or_else(|| {
            let what =
                format!("not a token of a page (one looks like {TOKEN_PREFIX}1-1767225600-42)");
            Error::new(ErrorKind::BadQuery { what })
        })
    }
}

/// The states that orders may be in for too long, by number, with their thresholds.
pub(crate) fn watched(lifecycle: &Lifecycle) -> impl Iterator<Item = (State, Thresholds)> + '_ {
    let passing = lifecycle.states().filter(|state| !lifecycle.is_terminal(*state));
    passing.map(|state| (state, Thresholds::of(lifecycle.thresholds(state))))
}

/// The instant so long before this one; `None`: before the beginning of ledger time.
pub(crate) fn before(now: Timestamp, ns: u64) -> Option<Timestamp> {
    now.as_unix_ns().checked_sub(ns).map(Timestamp::from_unix_ns)
}

/// Answers a query.
///
/// # Errors
/// `BadQuery`; those of reading the log.
pub(crate) fn page(
    lookup: &Lookup,
    views: Option<&Views>,
    lifecycle: &Lifecycle,
    now: Timestamp,
    query: &StuckQuery,
) -> Result<StuckPage> {
    if !(1..=StuckQuery::LIMIT_MAX).contains(&query.limit) {
        let what = format!("the limit is {}, not 1 to {}", query.limit, StuckQuery::LIMIT_MAX);
        return Err(Error::new(ErrorKind::BadQuery { what }));
    }
    if let Some(views) = views {
        views.catch_up();
    }
    let mut page = StuckPage { orders: Vec::new(), next: None };
    let states = watched(lifecycle)
        .filter(|(state, _)| query.state.is_none_or(|only| only == *state))
        .filter_map(|(state, thresholds)| {
            let until = before(now, thresholds.first_ns(query.level)?)?;
            Some((state.number(), List::State(state), until, thresholds))
        });
    let own = (OWN, List::Own(query.level, lifecycle), now, Thresholds::default());
    let begin = query.after.map_or(0, |after| after.state);
    for (number, list, until, of_state) in states.chain([own]).filter(|it| it.0 >= begin) {
        let after = query.after.filter(|after| after.state == number);
        let after: Option<Place> = after.map(|after| (after.at, after.order));
        // One that is full is ended by the first order that does not fit.
        let limit = query.limit - page.orders.len();
        let wanted = Wanted { list, after, until, limit, passes_damage: false };
        let found = dwell::find(lookup, views, wanted)?;
        for Listed { place: (_, order), stands } in found.orders {
            if query.state.is_some_and(|only| only != stands.entry.state) {
                continue;
            }
            let thresholds = if stands.own.is_none() { of_state } else { stands.own };
            let order = lookup.order_id(order);
            page.orders.extend(StuckOrder::of(order, stands.entry, thresholds, now));
        }
        if found.more {
            // Full already when this list was begun with: then it ends in the one before, which is that of a state.
            let last = page.orders.last().map(|it| (it.state.number(), it.since, it.order.seq()));
            let looked = found.looked.map(|(at, order)| (number, at, order)).or(last);
            page.next = looked.map(|(state, at, order)| StuckToken { state, at, order });
            break;
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_from_its_text_and_no_second_spelling_does() {
        let at = Timestamp::from_unix_ns(1_767_225_600_000_000_000);
        for state in [100, OWN] {
            let token = StuckToken { state, at, order: Seq(42) };
            assert_eq!(token.to_string().parse::<StuckToken>().unwrap(), token);
        }
        for text in [
            "",
            "after-1-2",
            "after-01-2-3",
            "after-1-2-3-4",
            "after-256-2-3",
            "after-255-2-3",
            "1-2-3",
        ] {
            assert!(text.parse::<StuckToken>().is_err(), "{text}");
        }
    }
}
