//! What stands still or fails, and who knows of it, on the handle.

use super::Ledger;
use super::read::Reads;
use super::reader::Reader;
use crate::admission::alert::Wish;
use crate::care::{Soundness, VerifyReport};
use crate::commit::alert::Wished;
use crate::error::Result;
use crate::order::{Alert, AlertEvent, AlertKind, AlertLevel, AlertSubject, Seq};
use crate::wal::log::Cursor;
use crate::wal::record::is_alarm;
use crate::watch::alerts::{self, As};
#[cfg(feature = "sim")]
use crate::watch::pass::WatchPass;
use crate::watch::stuck;
use crate::watch::{AlertPage, AlertQuery, StuckPage, StuckQuery};

#[cfg(doc)]
use crate::error::ErrorKind;

impl Ledger {
    /// A page of orders that have been in their state for longer than the lifecycle says is worth a look
    /// ([`StateRule::warn_after`](crate::StateRule::warn_after),
    /// [`Lifecycle::with_thresholds`](crate::Lifecycle::with_thresholds)): counted in ledger time since the order
    /// entered the state. A step into another state and back begins anew; notes and holds change nothing. An order that
    /// was submitted with thresholds of its own ([`Submission::warn_after`](crate::Submission::warn_after)) is held
    /// against those instead.
    ///
    /// Answered from where orders stand now, also when nobody watches, and while the views lag, are rebuilt, or are
    /// off: what they do not cover is read from the log.
    ///
    /// ```
    /// use std::time::Duration;
    /// use order_ledger::{Lifecycle, Options, State, StuckQuery, Submission};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("orders.ledger");
    /// const AT_ONCE: Duration = Duration::ZERO;
    /// let lifecycle = Lifecycle::default().with_thresholds(State::Accepted, Some(AT_ONCE), None);
    /// let ledger = Options::new().lifecycle(lifecycle).open(&path)?;
    /// let order = ledger.submit(&Submission::new("web-shop", "cart-17", "2 x tea"))?.receipt.order;
    /// assert_eq!(ledger.stuck(&StuckQuery::all())?.orders[0].order, order);
    /// ledger.cancel(order, "out of tea")?;
    /// assert!(ledger.stuck(&StuckQuery::all())?.orders.is_empty());
    /// # Ok::<(), order_ledger::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::BadQuery`] for a limit out of bounds; [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn stuck(&self, query: &StuckQuery) -> Result<StuckPage> {
        let (committer, reads) = (&self.inner.committer, &self.inner.reads);
        let (lifecycle, now) = (&committer.settings.lifecycle, committer.ledger_now());
        stuck::page(&reads.lookup, reads.views.as_deref(), lifecycle, now, query)
    }

    /// A page of alerts, in the order in which they were raised, as they are now: one about an order that has left
    /// the state is over at once, whether that is recorded yet or not.
    ///
    /// ```
    /// use order_ledger::{AlertQuery, Ledger};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
    /// let mut query = AlertQuery::open().limit(50);
    /// loop {
    ///     let page = ledger.alerts(&query)?;
    ///     for alert in &page.alerts {
    ///         println!("{}: {} ({}): {}", alert.id, alert.subject, alert.level, alert.detail);
    ///     }
    ///     let Some(next) = page.next else { break };
    ///     query = query.after(next);
    /// }
    /// # Ok::<(), order_ledger::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::BadQuery`] for a limit out of bounds; [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn alerts(&self, query: &AlertQuery) -> Result<AlertPage> {
        self.inner.reads.alerts(query)
    }

    /// The alert with this name, as it is now; `None` when none was raised there.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn alert(&self, id: Seq) -> Result<Option<Alert>> {
        self.inner.reads.lookup.alert_now(id)
    }

    /// Says that somebody knows of an alert: returns when it is on disk, with the alert. It is not reminded of any
    /// more; should it become critical, that is said again.
    ///
    /// **Durability**: on `Ok` it is there after a process kill and after a power cut.
    ///
    /// **Idempotency**: acknowledging what is acknowledged succeeds, writes nothing, and is answered with what is
    /// there: whoever came first is who knows.
    ///
    /// **Limits**: `by` has at most [`AUTHOR_BYTES_MAX`](crate::limits::AUTHOR_BYTES_MAX) bytes, `note` at most
    /// [`NOTE_BYTES_MAX`](crate::limits::NOTE_BYTES_MAX).
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`] beyond a limit; [`ErrorKind::NoOpenAlert`] when there is none, or it is over:
    ///   nothing was recorded;
    /// - [`ErrorKind::Overloaded`], [`ErrorKind::DiskLow`], [`ErrorKind::Poisoned`], [`ErrorKind::Closed`]:
    ///   not recorded;
    /// - [`ErrorKind::InDoubt`]: unknown; after opening again do it again;
    /// - [`ErrorKind::Io`], [`ErrorKind::Corrupt`]: the alert could not be read; nothing was written.
    pub fn acknowledge_alert(
        &self,
        id: Seq,
        by: impl AsRef<[u8]>,
        note: impl AsRef<[u8]>,
    ) -> Result<Alert> {
        match self.inner.committer.acknowledge(id, by.as_ref(), note.as_ref())? {
            Wished::Recorded(event) => {
                self.tell(&event);
                Ok(event.alert)
            }
            Wished::Kept(Some(alert)) => Ok(alert),
            // It is decided about one that was raised there, or with an error.
            Wished::Kept(None) | Wished::NotYet => {
                Err(crate::error::Error::new(crate::error::ErrorKind::NoOpenAlert {
                    alert: id,
                    cleared_at: None,
                }))
            }
        }
    }

    /// Tells the ledger what a verification has found: damage is an alert that needs somebody, what could not be
    /// read is worth a look, and a sound report is the end of either.
    ///
    /// **Durability**: on `Ok` it is on disk. **Idempotency**: reporting the same again writes nothing.
    ///
    /// # Errors
    /// Those of writing and reading, as for [`Ledger::acknowledge_alert`].
    pub fn report_verify(&self, report: &VerifyReport) -> Result<()> {
        let committer = &self.inner.committer;
        let (subject, kind) = (AlertSubject::Ledger, AlertKind::VerifyFailed);
        let level = match report.soundness() {
            Soundness::Sound => None,
            Soundness::CantTell => Some(AlertLevel::Warn),
            _ => Some(AlertLevel::Critical),
        };
        let wish = match level {
            Some(level) => {
                let worst = report.findings.iter().max_by_key(|finding| finding.severity);
                let detail = worst.map(ToString::to_string).unwrap_or_default();
                Wish::Raise { subject, kind, level, since: committer.ledger_now(), detail }
            }
            None => {
                let open = self.inner.reads.lookup.alert_on(&subject, kind)?;
                let Some(open) = open.filter(Alert::is_open) else { return Ok(()) };
                Wish::Clear { id: open.id }
            }
        };
        for outcome in committer.alert_many(&[wish]) {
            if let Wished::Recorded(event) = outcome? {
                self.tell(&event);
            }
        }
        Ok(())
    }

    fn tell(&self, event: &AlertEvent) {
        if let Some(watch) = &self.inner.watch {
            watch.sinks.tell(event);
        }
    }

    /// Everything that happened to alerts, about orders and about all else, from this seq on, in the order of the
    /// log, as far as it is durable.
    #[must_use]
    pub fn alert_events(&self, from: Seq) -> AlertIter {
        self.inner.reads.alert_events(from)
    }

    /// Looks once at everything that is watched, as the thread of the watch does every few seconds: for a ledger on
    /// a simulated disk, which has no threads. Nothing, without [`Options::watch`](crate::Options::watch).
    #[cfg(feature = "sim")]
    pub fn watch_once(&self) -> WatchPass {
        let (committer, views) = (&self.inner.committer, self.inner.reads.views.as_deref());
        let watch = self.inner.watch.as_ref();
        watch.map(|watch| watch.look(committer, views)).unwrap_or_default()
    }
}

impl Reader {
    /// A page of orders that had been in their state for too long when this was opened, from the log alone
    /// ([`Ledger::stuck`]).
    ///
    /// **Cost**: reads the files of the log in which an order enters a state that is watched.
    ///
    /// # Errors
    /// [`ErrorKind::BadQuery`] for a limit out of bounds; [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn stuck(&self, query: &StuckQuery) -> Result<StuckPage> {
        stuck::page(&self.reads.lookup, None, &self.reads.lifecycle()?, self.opened_at, query)
    }

    /// A page of alerts, in the order in which they were raised, from the log alone ([`Ledger::alerts`]).
    ///
    /// **Cost**: reads the files of the log that tell of alerts, from the page's beginning until the page is full.
    ///
    /// # Errors
    /// [`ErrorKind::BadQuery`] for a limit out of bounds; [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn alerts(&self, query: &AlertQuery) -> Result<AlertPage> {
        self.reads.alerts(query)
    }

    /// The alert with this name; `None` when none was raised there.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn alert(&self, id: Seq) -> Result<Option<Alert>> {
        self.reads.lookup.alert_now(id)
    }

    /// Everything that happened to alerts, from this seq on, in the order of the log.
    #[must_use]
    pub fn alert_events(&self, from: Seq) -> AlertIter {
        self.reads.alert_events(from)
    }
}

impl Reads {
    pub(crate) fn alerts(&self, query: &AlertQuery) -> Result<AlertPage> {
        alerts::page(&self.lookup, self.views.as_deref(), query, As::Now)
    }

    pub(crate) fn alert_events(&self, from: Seq) -> AlertIter {
        AlertIter { cursor: self.lookup.log.cursor(from), reads: self.clone(), failed: false }
    }
}

/// Everything that happened to alerts, in the order of the log.
///
/// Ends at the last record that was durable when it got there, and goes on from there when it is asked again; ends
/// for good after the first error.
pub struct AlertIter {
    reads: Reads,
    cursor: Cursor,
    failed: bool,
}

impl std::fmt::Debug for AlertIter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlertIter").field("next", &self.cursor.position()).finish_non_exhaustive()
    }
}

impl AlertIter {
    /// The first seq that was not looked at.
    #[must_use]
    pub fn position(&self) -> Seq {
        self.cursor.position()
    }
}

impl Iterator for AlertIter {
    type Item = Result<AlertEvent>;

    fn next(&mut self) -> Option<Result<AlertEvent>> {
        while !self.failed {
            let log = &self.reads.lookup.log;
            let event = match self.cursor.next() {
                Ok(None) => return None,
                Ok(Some(record)) if !is_alarm(record.kind) => continue,
                Ok(Some(record)) => record
                    .body()
                    .map(|body| log.issuer.alert_event(&record.frame(), &body))
                    .transpose(),
                Err(error) => Some(Err(error)),
            };
            if let Some(event) = event {
                self.failed = event.is_err();
                return Some(event);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::step::StepEntry;
    use crate::disk::sim::{SimDisk, SimHost};
    use crate::ledger::Options;
    use crate::order::{AlertChange, OrderId, State, Submission, Transition};

    /// What a look has found may not hold any more when it is to be recorded: then nothing is.
    #[test]
    fn what_does_not_hold_any_more_is_not_recorded() {
        let (disk, host) = (SimDisk::new(1), SimHost::new(2));
        let options = Options::new().segment_bytes(64 * 1024).disk_reserve_bytes(4096);
        let options = options.disk_free_min_bytes(0);
        let ledger = options.open_simulated(disk.as_disk(), host.as_host()).unwrap();
        let order = ledger.submit(&Submission::new("web", "1", "tea")).unwrap().receipt.order;
        let go = |to| ledger.transition(&Transition::new(order, to)).unwrap().at;
        let taken_at = ledger.get(order).unwrap().unwrap().receipt.accepted_at;
        let raise = |order: OrderId, state, since| Wish::Raise {
            subject: AlertSubject::Order(order),
            kind: AlertKind::StuckOrder { state },
            level: AlertLevel::Warn,
            since,
            detail: "stands still".into(),
        };
        let committer = &ledger.inner.committer;
        let wish = |wish| committer.alert_many(&[wish]).remove(0).unwrap();
        let since = go(State::InProgress);
        // It has gone on; it entered at another time; there is no such order.
        assert_eq!(wish(raise(order, State::Accepted, taken_at)), Wished::Kept(None));
        assert_eq!(wish(raise(order, State::InProgress, taken_at)), Wished::Kept(None));
        let nobody = OrderId::new(0, Seq(99));
        assert_eq!(wish(raise(nobody, State::Accepted, taken_at)), Wished::Kept(None));
        // Of two who find the same, one raises it.
        let both = [raise(order, State::InProgress, since), raise(order, State::InProgress, since)];
        let mut both: Vec<_> =
            committer.alert_many(&both).into_iter().map(Result::unwrap).collect();
        let (second, first) = (both.remove(1), both.remove(0));
        let Wished::Recorded(event) = first else { unreachable!("{first:?}") };
        assert_eq!((event.change, event.alert.id), (AlertChange::Raised, event.seq));
        let alert = event.alert;
        assert_eq!(second, Wished::Kept(Some(alert.clone())));
        assert_eq!(ledger.alert(alert.id).unwrap(), Some(alert.clone()), "as it was told");
        // It is not over while the order is there.
        let clear = || Wish::Clear { id: alert.id };
        assert_eq!(wish(clear()), Wished::Kept(Some(alert.clone())));
        // Another stay waits until the alert about this one is recorded as over.
        go(State::Cancelling);
        let again = go(State::InProgress);
        assert_eq!(wish(raise(order, State::InProgress, again)), Wished::NotYet);
        let told_before = committer.ledger_now();
        let remind = Wish::Remind { id: alert.id, told_before };
        assert_eq!(wish(remind), Wished::Kept(None), "it is over");
        assert!(matches!(wish(clear()), Wished::Recorded(_)));
        assert_eq!(wish(clear()), Wished::Kept(None));
        assert!(matches!(wish(raise(order, State::InProgress, again)), Wished::Recorded(_)));
        // A step is on its way when the look comes: what becomes of it decides.
        let other = ledger.submit(&Submission::new("web", "2", "tea")).unwrap().receipt;
        let step = Transition::new(other.order, State::InProgress);
        assert!(matches!(committer.enter_step(&step).unwrap(), StepEntry::Queued(_)));
        assert_eq!(
            wish(raise(other.order, State::Accepted, other.accepted_at)),
            Wished::Kept(None)
        );
        assert_eq!(ledger.get(other.order).unwrap().unwrap().now.state, State::InProgress);
        // There is no alert by the name of an order.
        assert_eq!(wish(Wish::Clear { id: order.seq() }), Wished::Kept(None));
    }
}
