//! Orders by how long they have been in a state: from the views for as far as they cover, and behind them from the
//! log.
//!
//! There is a list for each state, of the orders that are watched by its thresholds, by when they entered it; and one
//! for each level, of the orders that have thresholds of their own, by when they reach it: [`own`] reads the log for
//! those.
//!
//! Always true: an order is named only if the log says that it is in the state, and since when, and which thresholds
//! count for it. One is passed over only if it was looked at, or if the views cover the record by which it entered the
//! state and do not have it on the list. What the views lack, or get wrong, costs time and never an answer.

use std::sync::Arc;

use crate::admission::alert::{Stands, StateEntry};
use crate::admission::dedupe::Lookup;
use crate::error::{Error, ErrorKind, Result};
use crate::order::{AlertLevel, Lifecycle, Seq, State, Timestamp};
use crate::views::{View, Views};
use crate::wal::log::{Cursor, Record};
use crate::wal::record::{has_own_thresholds, is_accepted, is_step};
use crate::wal::segment::Segment;

mod own;

/// Most hints that are asked of the views at once.
const HINTS_MAX: usize = 256;

/// A place in a list: the instant that the list sorts by, and the order.
pub(crate) type Place = (Timestamp, Seq);

/// Which list is looked through.
#[derive(Clone, Copy, Debug)]
pub(crate) enum List<'a> {
    /// Who is in this state, and has no thresholds of its own: by when it entered it. That is the order of the log.
    State(State),
    /// Who has thresholds of its own: by when it is so bad, or worse, if it does not go on. The lifecycle says who
    /// can't.
    Own(AlertLevel, &'a Lifecycle),
}

impl List<'_> {
    /// The instant by which an order is on the list that stands so, if it is.
    fn instant_of(self, stands: &Stands) -> Option<Timestamp> {
        let Stands { entry: StateEntry { state, since }, own } = *stands;
        match self {
            List::State(wanted) => (state == wanted && own.is_none()).then_some(since),
            List::Own(_, lifecycle) if lifecycle.is_terminal(state) => None,
            List::Own(level, _) => own.due_at(level, since),
        }
    }

    fn hints(self, views: &Views, after: Option<Place>, limit: usize) -> Option<Vec<Place>> {
        match self {
            List::State(state) => views.entered((state, false), after, limit),
            List::Own(level, _) => views.due(level, after, limit),
        }
    }

    fn view(self, at: Timestamp) -> View<'static> {
        match self {
            List::State(state) => View::Entered { state, own: false, at },
            List::Own(level, _) => View::Due { level, at },
        }
    }
}

/// Who is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) list: List<'a>,
    /// Only those behind it.
    pub(crate) after: Option<Place>,
    /// Only those of this instant, or of one before.
    pub(crate) until: Timestamp,
    /// At most so many.
    pub(crate) limit: usize,
    /// An order that can't be read is passed over: it must not hold up the others.
    pub(crate) passes_damage: bool,
}

/// An order on the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Listed {
    pub(crate) place: Place,
    pub(crate) stands: Stands,
}

/// Some orders that are on the list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Found {
    pub(crate) orders: Vec<Listed>,
    /// Everything up to here was looked at; `None` when there was nothing.
    pub(crate) looked: Option<Place>,
    /// It ended because there are enough: more may follow.
    pub(crate) more: bool,
    /// Hints and records that were looked at.
    pub(crate) cost: u64,
}

/// Finds them.
///
/// # Errors
/// `Io`, `Corrupt`.
pub(crate) fn find(lookup: &Lookup, views: Option<&Views>, wanted: Wanted<'_>) -> Result<Found> {
    // A ledger without such orders does not pay for them.
    if matches!(wanted.list, List::Own(..)) && !lookup.log.has_own_thresholds() {
        return Ok(Found { looked: wanted.after, ..Found::default() });
    }
    let begin = |cost| {
        let found = Found { looked: wanted.after, cost, ..Found::default() };
        Search { lookup, wanted, end: lookup.log.readable_next(), found }
    };
    let mut search = begin(0);
    let mut from = Seq::FIRST;
    if let Some(views) = views {
        // Before the first hint is read: what the views take in meanwhile is on both lists.
        let fed = views.covered().min(search.end);
        match search.ask_views(views, fed)? {
            Hints::Right => from = fed,
            Hints::Wrong(at, order) => {
                views.report_mismatch(wanted.list.view(at), order);
                // Orders that they should have named may be missing as well: once more, without them.
                search = begin(search.found.cost);
            }
            Hints::Silent => {}
        }
    }
    match wanted.list {
        List::State(state) => search.scan(state, from)?,
        List::Own(..) => search.scan_own(from)?,
    }
    Ok(search.found)
}

/// Hints of a list that are looked at for the one order that is in a state for longest: those before it have gone on since they
/// were fed.
const FIRST_HINTS_MAX: usize = 8;

/// Since when an order is in a state that is in it for longest, as far as the views were fed; `None` when they can't
/// tell. Reads nothing but the orders that they name.
pub(crate) fn longest_since(lookup: &Lookup, views: &Views, state: State) -> Option<Timestamp> {
    let stands = |(since, order): &Place| {
        let entry = lookup.state_entry(*order).ok().flatten();
        entry == Some(StateEntry { state, since: *since })
    };
    let mut longest = None;
    for own in [false, true] {
        let hints = views.entered((state, own), None, FIRST_HINTS_MAX)?;
        longest = longest.into_iter().chain(hints.into_iter().find(stands)).min();
    }
    longest.map(|(since, _)| since)
}

/// Whether it is about one order, now and later.
pub(crate) fn is_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt(_))
}

/// Whether the views were right in what they said.
enum Hints {
    Right,
    Wrong(Timestamp, Seq),
    /// They could not be asked to the end.
    Silent,
}

struct Search<'a> {
    lookup: &'a Lookup,
    wanted: Wanted<'a>,
    /// Where the log ended when it was begun.
    end: Seq,
    found: Found,
}

impl Search<'_> {
    fn is_over(&self) -> bool {
        self.found.more
    }

    /// Follows the hints of the views.
    fn ask_views(&mut self, views: &Views, fed: Seq) -> Result<Hints> {
        if fed <= Seq::FIRST {
            return Ok(Hints::Silent);
        }
        // What is later was written by records that the views need not have known.
        let last_fed = match self.lookup.log.read(Seq(fed.0 - 1)) {
            Ok(Some(last_fed)) => last_fed,
            Ok(None) => return Ok(Hints::Silent),
            Err(error) if is_damage(&error) => return Ok(Hints::Silent),
            Err(error) => return Err(error),
        };
        let Wanted { list, until, .. } = self.wanted;
        while !self.is_over() {
            let room = self.wanted.limit.saturating_sub(self.found.orders.len());
            let limit = room.saturating_add(1).min(HINTS_MAX);
            let Some(hints) = list.hints(views, self.found.looked, limit) else {
                return Ok(Hints::Silent);
            };
            for place @ (at, order) in hints.iter().copied() {
                if at > until {
                    return Ok(Hints::Right);
                }
                if self.is_full() {
                    return Ok(Hints::Right);
                }
                self.found.cost += 1;
                let Some(stands) = self.stands(order)? else {
                    self.take(place, None);
                    continue;
                };
                let is_there = stands.and_then(|it| self.wanted.list.instant_of(&it)) == Some(at);
                let is_known = stands.is_none_or(|stands| stands.entry.since <= last_fed.at);
                if !is_there && is_known && !self.has_lost_steps(order)? {
                    return Ok(Hints::Wrong(at, order));
                }
                self.take(place, stands.filter(|_| is_there));
            }
            if hints.len() < limit {
                return Ok(Hints::Right);
            }
        }
        Ok(Hints::Right)
    }

    /// Whether there are enough; then another one is not looked at.
    fn is_full(&mut self) -> bool {
        self.found.more = self.found.orders.len() >= self.wanted.limit;
        self.found.more
    }

    /// Where an order stands; `None` when that can't be read, and it is to be passed over.
    fn stands(&self, order: Seq) -> Result<Option<Option<Stands>>> {
        match self.lookup.stands(order) {
            Err(error) if self.wanted.passes_damage && is_damage(&error) => Ok(None),
            stands => stands.map(Some),
        }
    }

    /// Whether a step of an order can't be read: then its key may be left behind, which is nobody's mistake.
    fn has_lost_steps(&self, order: Seq) -> Result<bool> {
        match self.lookup.left_at(order, Timestamp::from_unix_ns(0)) {
            Err(error) if is_damage(&error) => Ok(true),
            read => read.map(|_| false),
        }
    }

    fn take(&mut self, place: Place, stands: Option<Stands>) {
        self.found.looked = Some(place);
        self.found.orders.extend(stands.map(|stands| Listed { place, stands }));
    }

    /// Reads the log from here on, but for the files that nobody enters the state in.
    fn scan(&mut self, state: State, from: Seq) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        let log = &self.lookup.log;
        let mut position = from;
        if let Some((at, _)) = self.found.looked {
            let behind = Timestamp::from_unix_ns(at.as_unix_ns().saturating_add(1));
            match log.seq_at(behind) {
                Ok(seq) => position = position.max(seq),
                // The search met what rotted: then from further in front, past what was looked at.
                Err(error) if self.wanted.passes_damage && is_damage(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let enters = |kind: u8| match state {
            State::Accepted => is_accepted(kind) && !has_own_thresholds(kind),
            _ => is_step(kind),
        };
        for (from, to) in self.files(position, enters) {
            if !self.scan_to(state, from, to)? {
                break;
            }
        }
        Ok(())
    }

    /// The parts of the log, from here to where it ended, that lie in files with a record of such a kind.
    fn files(&self, from: Seq, is_wanted: impl Fn(u8) -> bool) -> Vec<(Seq, Seq)> {
        let segments = self.lookup.log.segments();
        let part = |(index, segment): (usize, &Arc<Segment>)| {
            let next = segments.get(index + 1).map_or(self.end, |next| next.header.first_seq);
            // The last one grows.
            let (from, to) = (from.max(segment.header.first_seq), next.min(self.end));
            (from < to && segment.counts().iter().any(|(kind, _)| is_wanted(*kind)))
                .then_some((from, to))
        };
        segments.iter().enumerate().filter_map(part).collect()
    }

    /// The next record, if there is one; past those that can't be read, when that is wanted.
    fn next(&self, cursor: &mut Cursor) -> Result<Option<Record>> {
        loop {
            match cursor.next() {
                Err(error) if self.wanted.passes_damage && is_damage(&error) => {
                    *cursor = self.lookup.log.cursor(cursor.position().next());
                }
                read => return read,
            }
        }
    }

    /// Whether it goes on behind that.
    fn scan_to(&mut self, state: State, from: Seq, to: Seq) -> Result<bool> {
        let Wanted { list, until, .. } = self.wanted;
        let mut cursor = self.lookup.log.cursor(from);
        while cursor.position() < to {
            let Some(record) = self.next(&mut cursor)? else { break };
            if record.at > until {
                return Ok(false);
            }
            let body = record.body()?;
            let entered = match (body.submitted(), body.moved()) {
                (Some(_), _) => Some((record.seq, body.first_state())),
                (None, moved) => moved.map(|moved| (moved.order(), moved.to())),
            };
            self.found.cost += 1;
            let Some((order, _)) = entered.filter(|(_, entered)| *entered == state) else {
                continue;
            };
            let place = (record.at, order);
            if self.found.looked.is_some_and(|looked| place <= looked) {
                continue;
            }
            if self.is_full() {
                return Ok(false);
            }
            let stands = self.stands(order)?.flatten();
            self.take(place, stands.filter(|it| list.instant_of(it) == Some(record.at)));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
