//! Pages of open notes: what is asked for, and how it is found in the views and the log.
//!
//! Always true: the notes of a page come in seq order, each read from the log, with what resolves it looked for in
//! the tables; only notes that were readable when the page was begun are looked at; one is passed over only if it
//! was read, or if the views cover its seq and do not have it on the list. A note that was resolved is never open
//! again, so what the views do not list any more needs no second look. What the views lack, or get wrong, costs
//! time and never an answer.

use std::sync::Arc;

use super::query::{PageToken, Query};
use crate::admission::dedupe::Lookup;
use crate::error::{Error, ErrorKind, Result};
use crate::order::{NoteEntry, NoteKind, Seq};
use crate::views::{View, Views};
use crate::wal::log::{Log, Record};
use crate::wal::record::is_remark;

/// Which open notes, and how many of them at a time.
///
/// The answer comes in pages, in the order in which the notes were made; give the token of one page to the query
/// for the next. Notes that are made meanwhile come last, so nothing is skipped and nothing comes twice.
///
/// **Cost**: a read of the log and a look into the tables per open note, as far as the views have caught up;
/// behind that, and without them, a pass over the files of the log that hold notes.
///
/// An example is at [`Ledger::open_notes`](crate::Ledger::open_notes).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoteQuery {
    kind: Option<NoteKind>,
    after: Option<PageToken>,
    limit: usize,
}

impl NoteQuery {
    /// Every open note, [`Query::LIMIT_DEFAULT`] on a page.
    #[must_use]
    pub fn open() -> NoteQuery {
        NoteQuery { kind: None, after: None, limit: Query::LIMIT_DEFAULT }
    }

    /// Only notes of this kind.
    #[must_use]
    pub fn kind(mut self, kind: NoteKind) -> NoteQuery {
        self.kind = Some(kind);
        self
    }

    /// Goes on where the page that gave this token ended.
    #[must_use]
    pub fn after(mut self, after: PageToken) -> NoteQuery {
        self.after = Some(after);
        self
    }

    /// At most this many notes on the page: 1 to [`Query::LIMIT_MAX`].
    #[must_use]
    pub fn limit(mut self, limit: usize) -> NoteQuery {
        self.limit = limit;
        self
    }
}

impl Default for NoteQuery {
    fn default() -> NoteQuery {
        NoteQuery::open()
    }
}

/// Some open notes, and where to go on.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NotePage {
    /// The notes, in the order in which they were made.
    pub notes: Vec<NoteEntry>,
    /// Where the next page begins, if more notes may follow: it may turn out to be empty. `None`: there were no
    /// more when this page was read.
    pub next: Option<PageToken>,
}

/// Most seqs that are asked of the views at once.
const HINTS_MAX: usize = 1_024;

/// Answers a query.
///
/// # Errors
/// `BadQuery`; those of reading the log.
pub(crate) fn page(lookup: &Lookup, views: Option<&Views>, query: &NoteQuery) -> Result<NotePage> {
    if !(1..=Query::LIMIT_MAX).contains(&query.limit) {
        let what = format!("the limit is {}, not 1 to {}", query.limit, Query::LIMIT_MAX);
        return Err(Error::new(ErrorKind::BadQuery { what }));
    }
    if let Some(views) = views {
        views.catch_up();
    }
    let mut search = Search::begin(lookup, query);
    // A ledger without notes does not pay for them.
    if !lookup.log.has_notes() {
        return Ok(NotePage { notes: Vec::new(), next: None });
    }
    if let Some(views) = views
        && let Some(wrong) = search.ask_views(views)?
    {
        views.report_mismatch(View::OpenNotes, wrong);
        // Seqs that they should have named may be missing as well: once more, without them.
        search = Search::begin(lookup, query);
    }
    search.scan()?;
    Ok(search.page())
}

struct Search<'a> {
    lookup: &'a Lookup,
    log: &'a Arc<Log>,
    query: &'a NoteQuery,
    /// Every record before it was considered.
    position: Seq,
    /// Where the log ended when the page was begun.
    end: Seq,
    notes: Vec<NoteEntry>,
}

impl<'a> Search<'a> {
    fn begin(lookup: &'a Lookup, query: &'a NoteQuery) -> Search<'a> {
        let (log, notes) = (&lookup.log, Vec::new());
        let position = query.after.map_or(Seq::FIRST, |after| after.0.next());
        Search { lookup, log, query, position, end: log.readable_next(), notes }
    }

    fn is_over(&self) -> bool {
        self.notes.len() >= self.query.limit || self.position >= self.end
    }

    /// Follows the hints of the views, for as far as they cover; answers the one that is no open note, if there
    /// is one.
    fn ask_views(&mut self, views: &Views) -> Result<Option<Seq>> {
        // Before the first hint is read: what is resolved below it is on no list any more.
        let fed = views.covered().min(self.end);
        while !self.is_over() {
            let after = Seq(self.position.0 - 1);
            let wanted = (self.query.limit - self.notes.len()).min(HINTS_MAX);
            let (seqs, covered) = views.page(View::OpenNotes, after, wanted);
            if covered <= self.position {
                break;
            }
            for seq in seqs {
                if seq >= self.end || self.is_over() {
                    break;
                }
                let Some(record) = self.log.read(seq)? else { return Ok(Some(seq)) };
                if !self.is_on_list(&record, fed)? {
                    return Ok(Some(seq));
                }
                self.consider(&record)?;
            }
            if !self.is_over() {
                self.position = self.position.max(covered.min(self.end));
            }
        }
        Ok(None)
    }

    /// Whether the views, which cover every record below `fed` and perhaps later ones, may list this record.
    fn is_on_list(&self, record: &Record, fed: Seq) -> Result<bool> {
        if !record.body()?.remark().is_some_and(|remark| remark.asks) {
            return Ok(false);
        }
        let resolution = self.lookup.resolution_of(record.seq)?;
        Ok(resolution.is_none_or(|resolution| resolution.seq >= fed))
    }

    /// Reads the rest of the log, but for the files that hold no notes.
    fn scan(&mut self) -> Result<()> {
        let segments = self.log.segments();
        for (index, segment) in segments.iter().enumerate() {
            let next = segments.get(index + 1).map_or(self.end, |next| next.header.first_seq);
            if self.is_over() || next <= self.position {
                continue;
            }
            if segment.counts().iter().any(|(kind, _)| is_remark(*kind)) {
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
            match cursor.next()? {
                Some(record) => self.consider(&record)?,
                None => break,
            }
        }
        Ok(())
    }

    fn consider(&mut self, record: &Record) -> Result<()> {
        self.position = record.seq.next();
        let body = record.body()?;
        let is_wanted = |kind| self.query.kind.is_none_or(|wanted| Some(wanted) == kind);
        if body.remark().is_none_or(|remark| !remark.asks || !is_wanted(remark.kind())) {
            return Ok(());
        }
        self.notes.extend(self.lookup.note_entry(record)?.filter(NoteEntry::is_open));
        Ok(())
    }

    fn page(self) -> NotePage {
        let more = self.position < self.end;
        let next = more.then(|| PageToken(Seq(self.position.0 - 1)));
        NotePage { notes: self.notes, next }
    }
}

#[cfg(test)]
mod tests;
