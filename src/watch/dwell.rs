//! Orders by how long they have been in a state: from the views for as far as they cover, and behind them from the
//! log.
//!
//! Always true: an order is named only if the log says that it is in the state, and since when; orders come by the
//! instant at which they entered it, which is the order of the log as well. One is passed over only if it was looked
//! at, or if the views cover the record by which it entered the state and do not have it on the list. What the views
//! lack, or get wrong, costs time and never an answer.

use crate::admission::alert::StateEntry;
use crate::admission::dedupe::Lookup;
use crate::error::{Error, ErrorKind, Result};
use crate::order::{Seq, State, Timestamp};
use crate::views::{View, Views};
use crate::wal::record::{KIND_ACCEPTED, KIND_ACCEPTED_CORRECTING, is_step};

/// Most hints that are asked of the views at once.
const HINTS_MAX: usize = 256;

/// A place in the list of orders that are in a state: when the order entered it, and the order.
pub(crate) type Place = (Timestamp, Seq);

/// Who is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) state: State,
    /// Only those behind it.
    pub(crate) after: Option<Place>,
    /// Only those that entered the state then, or before.
    pub(crate) until: Timestamp,
    /// At most so many.
    pub(crate) limit: usize,
    /// An order that can't be read is passed over: it must not hold up the others.
    pub(crate) passes_damage: bool,
}

/// Some orders that are in a state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Found {
    pub(crate) orders: Vec<Place>,
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
pub(crate) fn find(lookup: &Lookup, views: Option<&Views>, wanted: Wanted) -> Result<Found> {
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
                let state = wanted.state;
                views.report_mismatch(View::Entered { state, at }, order);
                // Orders that they should have named may be missing as well: once more, without them.
                search = begin(search.found.cost);
            }
            Hints::Silent => {}
        }
    }
    search.scan(from)?;
    Ok(search.found)
}

/// Hints that are looked at for the one order that is in a state for longest: those before it have gone on since they
/// were fed.
const FIRST_HINTS_MAX: usize = 8;

/// Since when an order is in a state that is in it for longest, as far as the views were fed; `None` when they can't
/// tell. Reads nothing but the orders that they name.
pub(crate) fn longest_since(lookup: &Lookup, views: &Views, state: State) -> Option<Timestamp> {
    let hints = views.entered(state, None, FIRST_HINTS_MAX)?;
    let stands = |(since, order): &Place| {
        let entry = lookup.state_entry(*order).ok().flatten();
        entry == Some(StateEntry { state, since: *since })
    };
    hints.into_iter().find(stands).map(|(since, _)| since)
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
    wanted: Wanted,
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
        let Wanted { state, until, .. } = self.wanted;
        while !self.is_over() {
            let room = self.wanted.limit.saturating_sub(self.found.orders.len());
            let limit = room.saturating_add(1).min(HINTS_MAX);
            let Some(hints) = views.entered(state, self.found.looked, limit) else {
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
                    self.take(place, false);
                    continue;
                };
                let is_there = stands == Some(StateEntry { state, since: at });
                let is_known = stands.is_none_or(|stands| stands.since <= last_fed.at);
                if !is_there && is_known && !self.has_lost_steps(order)? {
                    return Ok(Hints::Wrong(at, order));
                }
                self.take(place, is_there);
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
    fn stands(&self, order: Seq) -> Result<Option<Option<StateEntry>>> {
        match self.lookup.state_entry(order) {
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

    fn take(&mut self, place: Place, is_there: bool) {
        self.found.looked = Some(place);
        if is_there {
            self.found.orders.push(place);
        }
    }

    /// Reads the log from here on, but for the files that nobody enters the state in.
    fn scan(&mut self, from: Seq) -> Result<()> {
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
        let state = self.wanted.state;
        let enters = |kind: u8| match state {
            State::Accepted => matches!(kind, KIND_ACCEPTED | KIND_ACCEPTED_CORRECTING),
            _ => is_step(kind),
        };
        let segments = log.segments();
        for (index, segment) in segments.iter().enumerate() {
            let next = segments.get(index + 1).map_or(self.end, |next| next.header.first_seq);
            if next <= position {
                continue;
            }
            // The last one grows.
            let to = next.min(self.end);
            if !segment.counts().iter().any(|(kind, _)| enters(*kind)) {
                position = to;
                continue;
            }
            if !self.scan_to(position, to)? {
                break;
            }
            position = to;
        }
        Ok(())
    }

    /// Whether it goes on behind that.
    fn scan_to(&mut self, from: Seq, to: Seq) -> Result<bool> {
        let Wanted { state, until, .. } = self.wanted;
        let mut cursor = self.lookup.log.cursor(from);
        while cursor.position() < to {
            let record = match cursor.next() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) if self.wanted.passes_damage && is_damage(&error) => {
                    cursor = self.lookup.log.cursor(cursor.position().next());
                    continue;
                }
                Err(error) => return Err(error),
            };
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
            if self.found.looked.is_some_and(|looked| (record.at, order) <= looked) {
                continue;
            }
            if self.is_full() {
                return Ok(false);
            }
            let entry = StateEntry { state, since: record.at };
            let is_there = self.stands(order)? == Some(Some(entry));
            self.take((record.at, order), is_there);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
