//! Pages of dispatches that wait, for the outbox or for a person: what is asked for, and how it is found in the views
//! and the log.
//!
//! Always true: the dispatches of a page come in seq order, each read from the log, with the newest record about it
//! looked for in the tables; one is passed over only if it was read, or if the views cover its seq and do not have it on
//! the list, and no record behind what they cover is about it. What the views lack, or get wrong, costs time and never
//! an answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::query::{PageToken, Query};
use super::read::Reads;
use crate::admission::dispatch::Found;
use crate::error::{Error, ErrorKind, Result};
use crate::order::dispatch::Lane;
use crate::order::{DispatchEntry, Seq};
use crate::views::{View, Views};
use crate::wal::log::{Log, Record};
use crate::wal::record::is_dispatch;

/// Which dispatches that wait, and how many of them at a time.
///
/// The answer comes in pages, in the order in which the dispatches were made; give the token of one page to the query
/// for the next. What is dispatched meanwhile comes last.
///
/// **Cost**: two reads of the log per dispatch on the list, as far as the views have caught up; behind that, and
/// without them, a pass over the files of the log that hold dispatches.
///
/// An example is at [`Ledger::open_dispatches`](crate::Ledger::open_dispatches).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DispatchQuery {
    route: Option<String>,
    after: Option<PageToken>,
    limit: usize,
}

impl DispatchQuery {
    /// Every one, [`Query::LIMIT_DEFAULT`] on a page.
    #[must_use]
    pub fn all() -> DispatchQuery {
        DispatchQuery { route: None, after: None, limit: Query::LIMIT_DEFAULT }
    }

    /// Only those of this route.
    #[must_use]
    pub fn route(mut self, route: impl Into<String>) -> DispatchQuery {
        self.route = Some(route.into());
        self
    }

    /// Goes on where the page that gave this token ended.
    #[must_use]
    pub fn after(mut self, after: PageToken) -> DispatchQuery {
        self.after = Some(after);
        self
    }

    /// At most this many on the page: 1 to [`Query::LIMIT_MAX`].
    #[must_use]
    pub fn limit(mut self, limit: usize) -> DispatchQuery {
        self.limit = limit;
        self
    }
}

impl Default for DispatchQuery {
    fn default() -> DispatchQuery {
        DispatchQuery::all()
    }
}

/// Some dispatches, and where to go on.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DispatchPage {
    /// The dispatches, in the order in which they were made.
    pub dispatches: Vec<DispatchEntry>,
    /// Where the next page begins, if more may follow: it may turn out to be empty. `None`: there were no more when
    /// this page was read.
    pub next: Option<PageToken>,
}

/// Most seqs that are asked of the views at once.
const HINTS_MAX: usize = 1_024;

/// Answers a query about one of the lists.
///
/// # Errors
/// `BadQuery`; those of reading the log.
pub(crate) fn page(reads: &Reads, lane: Lane, query: &DispatchQuery) -> Result<DispatchPage> {
    if !(1..=Query::LIMIT_MAX).contains(&query.limit) {
        let what = format!("the limit is {}, not 1 to {}", query.limit, Query::LIMIT_MAX);
        return Err(Error::new(ErrorKind::BadQuery { what }));
    }
    // A ledger without dispatches does not pay for them.
    if !reads.lookup.log.has_dispatches() {
        return Ok(DispatchPage { dispatches: Vec::new(), next: None });
    }
    let mut search = Search::begin(reads, lane, query);
    if let Some(views) = &reads.views {
        views.catch_up();
        if let Some(wrong) = search.ask_views(views)? {
            views.report_mismatch(View::Dispatches(lane), wrong);
            // Seqs that they should have named may be missing as well: once more, without them.
            search = Search::begin(reads, lane, query);
        }
    }
    search.scan()?;
    Ok(search.page())
}

struct Search<'a> {
    reads: &'a Reads,
    log: &'a Arc<Log>,
    lane: Lane,
    query: &'a DispatchQuery,
    /// Every record before it was considered.
    position: Seq,
    /// Where the log ended when the page was begun.
    end: Seq,
    found: Vec<DispatchEntry>,
}

impl<'a> Search<'a> {
    fn begin(reads: &'a Reads, lane: Lane, query: &'a DispatchQuery) -> Search<'a> {
        let (log, found) = (&reads.lookup.log, Vec::new());
        let position = query.after.map_or(Seq::FIRST, |after| after.0.next());
        Search { reads, log, lane, query, position, end: log.readable_next(), found }
    }

    fn is_over(&self) -> bool {
        self.found.len() >= self.query.limit || self.position >= self.end
    }

    /// Follows the hints of the views, for as far as they cover; answers the one that is wrong, if there is one.
    fn ask_views(&mut self, views: &Views) -> Result<Option<Seq>> {
        // Before the first hint is read.
        let fed = views.covered().min(self.end);
        if fed <= self.position {
            return Ok(None);
        }
        // A dispatch may come back to a list: those that the views can't know of yet are looked at as well.
        let mut late = self.changed_since(fed)?;
        while !self.is_over() && self.position < fed {
            let after = Seq(self.position.0 - 1);
            let wanted = (self.query.limit - self.found.len()).min(HINTS_MAX);
            let (seqs, covered) = views.page(View::Dispatches(self.lane), after, wanted);
            let covered = covered.min(fed);
            if covered <= self.position {
                break;
            }
            let hints: BTreeSet<Seq> = seqs.iter().copied().filter(|seq| *seq < covered).collect();
            let behind = late.split_off(&covered);
            let both: BTreeSet<Seq> = late.union(&hints).copied().collect();
            late = behind;
            for seq in both.range(self.position..) {
                if self.is_over() {
                    break;
                }
                let found = match self.log.read(*seq)? {
                    Some(record) => self.reads.lookup.dispatch_of(record)?,
                    None => None,
                };
                let Some(found) = found else { return Ok(Some(*seq)) };
                let is_settled = found.course.newest < fed;
                if hints.contains(seq) && is_settled && found.course.lane() != Some(self.lane) {
                    return Ok(Some(*seq));
                }
                self.consider(found)?;
            }
            if !self.is_over() {
                self.position = self.position.max(covered);
            }
        }
        Ok(None)
    }

    /// The dispatches of which something was recorded at or behind `fed`.
    fn changed_since(&self, fed: Seq) -> Result<BTreeSet<Seq>> {
        let mut changed = BTreeSet::new();
        let mut cursor = self.log.cursor(fed);
        while cursor.position() < self.end
            && let Some(record) = cursor.next()?
        {
            changed.extend(record.body()?.pursued().map(|pursued| pursued.dispatch()));
        }
        Ok(changed)
    }

    /// Reads the rest of the log, but for the files that hold no dispatches.
    fn scan(&mut self) -> Result<()> {
        let segments = self.log.segments();
        for (index, segment) in segments.iter().enumerate() {
            let next = segments.get(index + 1).map_or(self.end, |next| next.header.first_seq);
            if self.is_over() || next <= self.position {
                continue;
            }
            if segment.counts().iter().any(|(kind, _)| is_dispatch(*kind)) {
                self.scan_to(next.min(self.end))?;
            } else {
                self.position = next;
            }
        }
        Ok(())
    }

    fn scan_to(&mut self, to: Seq) -> Result<()> {
        let mut cursor = self.log.cursor(self.position);
        while !self.is_over() && self.position < to {
            let Some(record) = cursor.next()? else { break };
            self.position = record.seq.next();
            if is_dispatch(record.kind)
                && let Some(found) = self.found_at(record)?
            {
                self.consider(found)?;
            }
        }
        Ok(())
    }

    fn found_at(&self, record: Record) -> Result<Option<Found>> {
        self.reads.lookup.dispatch_of(record)
    }

    fn consider(&mut self, found: Found) -> Result<()> {
        self.position = found.record.seq.next();
        if found.course.lane() != Some(self.lane) {
            return Ok(());
        }
        let entry = self.reads.lookup.dispatch_entry(found, self.reads.opened_next)?;
        if self.query.route.as_ref().is_none_or(|route| *route == entry.route) {
            self.found.push(entry);
        }
        Ok(())
    }

    fn page(self) -> DispatchPage {
        let more = self.position < self.end;
        let next = more.then(|| PageToken(Seq(self.position.0 - 1)));
        DispatchPage { dispatches: self.found, next }
    }
}

#[cfg(test)]
mod tests;
