//! Pages of alerts: what is asked for, and how it is found in the views and the log.
//!
//! Always true: the alerts of a page come in the order in which they were raised, each read from the log, with what
//! happened to it looked for in the tables; only those that were readable when the page was begun are looked at. Of
//! open ones, one is passed over only if it was read, or if the views cover its seq and do not have it on the list:
//! one that was cleared is never open again. What the views lack, or get wrong, costs time and never an answer.

use std::sync::Arc;

use super::dwell::is_damage;
use crate::admission::dedupe::Lookup;
use crate::error::{Error, ErrorKind, Result};
use crate::order::{Alert, AlertChange, AlertLevel, Seq};
use crate::views::{View, Views};
use crate::wal::log::{Log, Record};
use crate::wal::record::is_alarm;

/// Which alerts, and how many of them at a time.
///
/// The answer comes in pages, in the order in which the alerts were raised; give the seq that one page ended with to
/// the query for the next.
///
/// **Cost**: some reads of the log and looks into the tables per open alert, as far as the views have caught up;
/// behind that, without them, and for those that are over, a pass over the files of the log that tell of alerts.
///
/// An example is at [`Ledger::alerts`](crate::Ledger::alerts).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlertQuery {
    is_open: bool,
    kind: Option<&'static str>,
    level: AlertLevel,
    after: Option<Seq>,
    limit: usize,
}

impl AlertQuery {
    /// Alerts on a page unless [`AlertQuery::limit`] says otherwise.
    pub const LIMIT_DEFAULT: usize = 100;
    /// Most alerts on one page.
    pub const LIMIT_MAX: usize = 10_000;

    /// Every alert that is not over.
    #[must_use]
    pub fn open() -> AlertQuery {
        let (level, limit) = (AlertLevel::Warn, AlertQuery::LIMIT_DEFAULT);
        AlertQuery { is_open: true, kind: None, level, after: None, limit }
    }

    /// Every alert that ever was.
    #[must_use]
    pub fn all() -> AlertQuery {
        AlertQuery { is_open: false, ..AlertQuery::open() }
    }

    /// Only alerts of the kind with this name ([`AlertKind::name`](crate::AlertKind::name)).
    #[must_use]
    pub fn kind(mut self, kind: &'static str) -> AlertQuery {
        self.kind = Some(kind);
        self
    }

    /// Only alerts that are so bad, or worse.
    #[must_use]
    pub fn level(mut self, level: AlertLevel) -> AlertQuery {
        self.level = level;
        self
    }

    /// Only alerts that were raised behind this seq: [`AlertPage::next`].
    #[must_use]
    pub fn after(mut self, after: Seq) -> AlertQuery {
        self.after = Some(after);
        self
    }

    /// At most this many alerts on the page: 1 to [`AlertQuery::LIMIT_MAX`].
    #[must_use]
    pub fn limit(mut self, limit: usize) -> AlertQuery {
        self.limit = limit;
        self
    }
}

impl Default for AlertQuery {
    fn default() -> AlertQuery {
        AlertQuery::open()
    }
}

/// Some alerts, and where to go on.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AlertPage {
    /// The alerts, in the order in which they were raised, as they are now.
    pub alerts: Vec<Alert>,
    /// Where the next page begins, if more alerts may follow: it may turn out to be empty.
    pub next: Option<Seq>,
}

/// Most seqs that are asked of the views at once.
const HINTS_MAX: usize = 1_024;

/// What counts as open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum As {
    /// What is open now: what is about an order that has left the state is not.
    Now,
    /// What is not recorded as cleared: for the watch itself, which passes over what can't be read.
    Recorded,
}

/// Answers a query.
///
/// # Errors
/// `BadQuery`; those of reading the log.
pub(crate) fn page(
    lookup: &Lookup,
    views: Option<&Views>,
    query: &AlertQuery,
    counts_as: As,
) -> Result<AlertPage> {
    if !(1..=AlertQuery::LIMIT_MAX).contains(&query.limit) {
        let what = format!("the limit is {}, not 1 to {}", query.limit, AlertQuery::LIMIT_MAX);
        return Err(Error::new(ErrorKind::BadQuery { what }));
    }
    if let Some(views) = views {
        views.catch_up();
    }
    // A ledger without alerts does not pay for them.
    if !lookup.log.has_alerts() {
        return Ok(AlertPage { alerts: Vec::new(), next: None });
    }
    let mut search = Search::begin(lookup, query, counts_as);
    if let Some(views) = views.filter(|_| query.is_open)
        && let Some(wrong) = search.ask_views(views)?
    {
        views.report_mismatch(View::OpenAlerts, wrong);
        // Seqs that they should have named may be missing as well: once more, without them.
        search = Search::begin(lookup, query, counts_as);
    }
    search.scan()?;
    Ok(search.page())
}

struct Search<'a> {
    lookup: &'a Lookup,
    log: &'a Arc<Log>,
    query: &'a AlertQuery,
    counts_as: As,
    /// Every record before it was considered.
    position: Seq,
    /// Where the log ended when the page was begun.
    end: Seq,
    alerts: Vec<Alert>,
}

impl<'a> Search<'a> {
    fn begin(lookup: &'a Lookup, query: &'a AlertQuery, counts_as: As) -> Search<'a> {
        let (log, alerts) = (&lookup.log, Vec::new());
        let position = query.after.map_or(Seq::FIRST, Seq::next);
        Search { lookup, log, query, counts_as, position, end: log.readable_next(), alerts }
    }

    fn is_over(&self) -> bool {
        self.alerts.len() >= self.query.limit || self.position >= self.end
    }

    /// Follows the hints of the views, for as far as they cover; answers the one that is no open alert, if there is
    /// one.
    fn ask_views(&mut self, views: &Views) -> Result<Option<Seq>> {
        // Before the first hint is read: what is cleared below it is on no list any more.
        let fed = views.covered().min(self.end);
        while !self.is_over() {
            let after = Seq(self.position.0 - 1);
            let wanted = (self.query.limit - self.alerts.len()).min(HINTS_MAX);
            let (seqs, covered) = views.page(View::OpenAlerts, after, wanted);
            if covered <= self.position {
                break;
            }
            for seq in seqs {
                if seq >= self.end || self.is_over() {
                    break;
                }
                let Some(record) = self.log.read(seq)? else { return Ok(Some(seq)) };
                if !self.lookup.may_be_open(&record, fed)? {
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

    /// Reads the rest of the log, but for the files that tell of no alerts.
    fn scan(&mut self) -> Result<()> {
        let segments = self.log.segments();
        for (index, segment) in segments.iter().enumerate() {
            let next = segments.get(index + 1).map_or(self.end, |next| next.header.first_seq);
            if self.is_over() || next <= self.position {
                continue;
            }
            if segment.counts().iter().any(|(kind, _)| is_alarm(*kind)) {
                self.scan_to(next.min(self.end))?;
            } else {
                self.position = next.min(self.end);
            }
        }
        Ok(())
    }

    fn scan_to(&mut self, to: Seq) -> Result<()> {
        let mut cursor = self.log.cursor(self.position);
        while !self.is_over() && self.position < to {
            match cursor.next() {
                Ok(Some(record)) => self.consider(&record)?,
                Ok(None) => break,
                // What rotted must not hold up the watch; whoever asks for a page is told.
                Err(error) if self.counts_as == As::Recorded && is_damage(&error) => {
                    self.position = self.position.next();
                    cursor = self.log.cursor(self.position);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn consider(&mut self, record: &Record) -> Result<()> {
        self.position = record.seq.next();
        if !is_alarm(record.kind) {
            return Ok(());
        }
        let body = record.body()?;
        let Some(alarm) = body.alarm().filter(|it| it.change() == AlertChange::Raised) else {
            return Ok(());
        };
        let is_kind = alarm
            .kind()
            .is_some_and(|kind| self.query.kind.is_none_or(|wanted| wanted == kind.name()));
        if !is_kind {
            return Ok(());
        }
        let alert = match self.counts_as {
            As::Now => self.lookup.alert_now(record.seq)?,
            As::Recorded => self.lookup.alert(record.seq)?,
        };
        self.alerts.extend(alert.filter(|alert| {
            alert.level >= self.query.level && (alert.is_open() || !self.query.is_open)
        }));
        Ok(())
    }

    fn page(self) -> AlertPage {
        let more = self.position < self.end;
        AlertPage { alerts: self.alerts, next: more.then(|| Seq(self.position.0 - 1)) }
    }
}
