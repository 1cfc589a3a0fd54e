//! The handle on an open ledger: what callers hold.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use crate::sync::{AtomicBool, Count, Mutex};

use super::options::LogWrites;
use super::query::{Page, Query};
use super::read::{OrderIter, Reads};
use super::stats::{Stats, ViewsStats};
use super::sweep::Timer;
use super::third_parties::Window;
use crate::commit::Committer;
use crate::commit::enter::Entry;
use crate::commit::ticket::Ticket;
use crate::disk::DiskLock;
use crate::error::{Error, ErrorKind, Result};
use crate::order::{Event, LedgerId, Order, OrderId, Outcome, Submission};
use crate::recovery::report::RecoveryReport;
use crate::spans;
use crate::watch::Watch;

/// A ledger that is open for writing.
///
/// Cheap to clone; all clones are the same ledger. Any number of threads may use it at the same time.
/// The ledger is closed by [`Ledger::close`], or when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(super) inner: Arc<Inner>,
}

/// What the clones of a handle share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(super) committer: Arc<Committer>,
    pub(super) reads: Reads,
    pub(super) report: RecoveryReport,
    /// Given back when the ledger is closed.
    locks: Mutex<Option<Vec<Box<dyn DiskLock>>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// What the sweeper sleeps by.
    pub(super) timer: Arc<Timer>,
    /// Looks for what is stuck or fails, if that is asked for.
    pub(super) watch: Option<Arc<Watch>>,
    /// There is one outbox at a time.
    pub(super) outbox_runs: AtomicBool,
    /// Where it shows how it is.
    pub(crate) window: Arc<Window>,
}

impl Inner {
    pub(crate) fn new(
        committer: Arc<Committer>,
        reads: Reads,
        report: RecoveryReport,
        locks: Vec<Box<dyn DiskLock>>,
        watch: Option<Arc<Watch>>,
        window: Arc<Window>,
    ) -> Inner {
        let (locks, threads) = (Mutex::new(Some(locks)), Mutex::new(Vec::new()));
        let (timer, outbox_runs) = (Arc::default(), AtomicBool::new(false));
        Inner { committer, reads, report, locks, threads, timer, watch, outbox_runs, window }
    }

    /// A thread that works for the ledger: closing waits for its end.
    pub(crate) fn keep_thread(&self, thread: JoinHandle<()>) {
        self.threads.lock().push(thread);
    }

    /// Closes once; later calls find nothing left to do.
    fn close(&self) -> Result<()> {
        let Some(locks) = self.locks.lock().take() else { return Ok(()) };
        self.timer.stop();
        if let Some(watch) = &self.watch {
            watch.stop();
        }
        let closed = self.committer.close();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // A thread that panicked has poisoned the ledger, which `closed` tells.
            drop(thread.join());
        }
        if let Some(views) = &self.reads.views {
            views.stop();
        }
        // Last: whoever takes the lock finds a directory that nobody writes in.
        drop(locks);
        closed
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Nothing acknowledged depends on closing; whoever wants to know calls `close`.
        drop(self.close());
    }
}

impl Ledger {
    pub(crate) fn from_inner(inner: Inner) -> Ledger {
        Ledger { inner: Arc::new(inner) }
    }

    /// Takes an order: returns when it is on disk.
    ///
    /// **Durability**: on `Ok` the order is there after a process kill and after a power cut, once.
    ///
    /// **Idempotency**: the same key and content give the same receipt, whenever and however often;
    /// [`Outcome::how`] says whether this call took the order. Several threads with one key make one
    /// order.
    ///
    /// **Limits**: see [`limits`](crate::limits).
    ///
    /// **Cost**: one write and one sync, shared with everything that is submitted at the same time; a
    /// replay costs neither.
    ///
    /// # Errors
    /// [`Error::certainty`] says what is on disk, [`Error::kind`] what to do:
    /// - [`ErrorKind::Invalid`], [`ErrorKind::RefusedForNow`], [`ErrorKind::Overloaded`],
    ///   [`ErrorKind::DiskLow`], [`ErrorKind::Poisoned`], [`ErrorKind::Closed`]: not recorded;
    /// - [`ErrorKind::Conflict`], [`ErrorKind::Refused`]: recorded before, or now for good;
    /// - [`ErrorKind::InDoubt`]: unknown; submit the same key again after opening again;
    /// - [`ErrorKind::Io`], [`ErrorKind::Corrupt`]: the key could not be looked up; this call wrote
    ///   nothing, but an earlier one may have: unknown.
    ///
    /// ```
    /// use order_ledger::{How, Ledger, Submission};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
    /// let order = Submission::new("web-shop", "cart-17", "2 x tea").account("ALFKI");
    /// let first = ledger.submit(&order)?;
    /// let again = ledger.submit(&order)?;
    /// assert_eq!((first.how, again.how), (How::Fresh, How::Replayed));
    /// assert_eq!(first.receipt, again.receipt);
    /// # Ok::<(), order_ledger::Error>(())
    /// ```
    pub fn submit(&self, submission: &Submission) -> Result<Outcome> {
        let span = spans::submit(submission);
        let outcome = self.submit_and_wait(submission);
        span.submitted(&outcome);
        outcome
    }

    #[inline]
    fn submit_and_wait(&self, submission: &Submission) -> Result<Outcome> {
        let committer = &self.inner.committer;
        let called_ns = committer.host.monotonic_ns();
        let entry = match committer.enter(submission, None, Some(called_ns)) {
            // A replay is as quick as a read: a ticket, or another look at the clock, would be a good part of it.
            Ok(Entry::Answered(outcome)) => return Ok(outcome),
            Ok(entry) => entry,
            Err(error) => {
                committer.count_failure(&error);
                return Err(error);
            }
        };
        match &entry {
            // It may have been deferred by somebody who does not wait for it.
            Entry::Joined(place) | Entry::Behind(place) => committer.lead_for(place),
            Entry::Fresh(_) | Entry::Answered(_) => committer.lead_if_idle(),
        }
        let outcome = Ticket::new(committer, Ok(entry), submission).into_outcome();
        if outcome.is_ok() {
            committer.note_receipts(called_ns, 1);
        }
        outcome
    }

    /// Hands in an order and returns at once with a [`Ticket`] for its outcome.
    ///
    /// **Durability**: none yet; [`Ticket::wait`] or awaiting the ticket tells. Keep many tickets in
    /// flight to share syncs from one thread. It is written when somebody waits for it, and half a millisecond
    /// later if nobody does; dropping the ticket cancels nothing.
    ///
    /// Errors arrive through the ticket as well: they are those of [`Ledger::submit`].
    pub fn submit_deferred(&self, submission: &Submission) -> Ticket {
        let committer = &self.inner.committer;
        // The clock is asked for the first one of a round only.
        let called_ns = (!committer.is_clocked()).then(|| committer.host.monotonic_ns());
        let entry = committer.enter(submission, None, called_ns);
        if let Err(error) = &entry {
            committer.count_failure(error);
        }
        let queued = matches!(entry, Ok(Entry::Fresh(_)));
        let ticket = Ticket::new(committer, entry, submission);
        if queued {
            committer.nudge();
        }
        ticket
    }

    /// Takes many orders with one sync, or a few: independent results, in the order of the input.
    ///
    /// **Durability, idempotency**: of each result as for [`Ledger::submit`]. An order that stands
    /// twice in the batch gets one receipt; a bad one fails alone.
    ///
    /// **Cost**: a batch larger than the queue is written in parts. Orders that are there already are read
    /// together where they lie side by side.
    #[must_use = "each order has a result of its own"]
    pub fn submit_many(&self, submissions: &[Submission]) -> Vec<Result<Outcome>> {
        let span = spans::submit_many(submissions.len());
        let committer = &self.inner.committer;
        let called_ns = committer.host.monotonic_ns();
        let mut waiting_since_ns = called_ns;
        let mut answers = Vec::with_capacity(submissions.len());
        let mut unwritten = false;
        for part in submissions.chunks(AHEAD_ORDERS) {
            let ahead = committer.lookup.ahead(part);
            for (index, submission) in part.iter().enumerate() {
                let mut entry =
                    committer.enter(submission, Some((&ahead, index)), Some(waiting_since_ns));
                if unwritten && is_overloaded(&entry) {
                    // The batch itself fills the queue: write what is there, and go on.
                    committer.lead_if_idle();
                    wait_for_written(&mut answers);
                    waiting_since_ns = committer.host.monotonic_ns();
                    entry = committer.enter(submission, None, Some(waiting_since_ns));
                }
                if let Err(error) = &entry {
                    committer.count_failure(error);
                }
                unwritten |= matches!(entry, Ok(Entry::Fresh(_)));
                answers.push(match entry {
                    Ok(Entry::Answered(outcome)) => Answer::Known(Ok(outcome)),
                    Err(error) => Answer::Known(Err(error)),
                    waits => Answer::Waits(Ticket::new(committer, waits, submission)),
                });
            }
        }
        committer.lead_if_idle();
        let mut receipts = 0;
        let outcome = |answer| match answer {
            Answer::Known(outcome) => outcome,
            Answer::Waits(ticket) => {
                let outcome = ticket.into_outcome();
                receipts += u64::from(outcome.is_ok());
                outcome
            }
        };
        let outcomes: Vec<_> = answers.into_iter().map(outcome).collect();
        if receipts > 0 {
            committer.note_receipts(called_ns, receipts);
        }
        span.taken(&outcomes);
        outcomes
    }

    /// The order with this id; `None` when there is none.
    ///
    /// Shows only what is durable; a caller finds what it was acknowledged at once.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn get(&self, order: OrderId) -> Result<Option<Order>> {
        self.inner.reads.get(order)
    }

    /// The order that was taken (or finally refused) under this key; `None` when there is none: then
    /// submitting under it is safe. This is how an unknown outcome is resolved without submitting.
    ///
    /// # Errors
    /// [`ErrorKind::InDoubt`] when a write of this key has failed: only opening again tells;
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn by_key(&self, client: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Option<Order>> {
        let (client, key) = (client.as_ref(), key.as_ref());
        let found = self.inner.reads.by_key(client, key)?;
        if found.is_none() {
            self.inner.committer.check_doubt(client, key)?;
        }
        Ok(found)
    }

    /// Everything that happened to an order, first to last; empty when there is no such order.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn history(&self, order: OrderId) -> Result<Vec<Event>> {
        self.inner.reads.history(order)
    }

    /// A page of orders by account, reference, state or time, in the order of acceptance.
    ///
    /// Shows only what is durable; a caller finds what it was acknowledged at once, also while the views
    /// lag, are rebuilt, or are off: what they do not cover is read from the log.
    ///
    /// ```
    /// use order_ledger::{Ledger, Query, Submission};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
    /// # for n in 0..3 {
    /// #     ledger.submit(&Submission::new("web", format!("{n}"), "tea").account("ALFKI"))?;
    /// # }
    /// let mut query = Query::all().account("ALFKI").limit(2);
    /// let first = ledger.page(&query)?;
    /// assert_eq!(first.orders.len(), 2);
    /// query = query.after(first.next.unwrap());
    /// assert_eq!(ledger.page(&query)?.orders.len(), 1);
    /// # Ok::<(), order_ledger::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::BadQuery`] for a limit out of bounds; [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn page(&self, query: &Query) -> Result<Page> {
        self.inner.reads.page(query)
    }

    /// Every order, in the order of acceptance, read from the log alone.
    #[must_use]
    pub fn orders(&self) -> OrderIter {
        self.inner.reads.orders()
    }

    /// The identity of this ledger.
    #[must_use]
    pub fn id(&self) -> LedgerId {
        self.inner.reads.lookup.log.issuer.ledger
    }

    /// What opening found and did.
    #[must_use]
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.inner.report
    }

    /// Why nothing is written any more, if a write or sync failed.
    #[must_use]
    pub fn poisoned(&self) -> Option<&str> {
        self.inner.committer.poisoned()
    }

    /// Counts and sizes.
    ///
    /// **Cost**: reads the files of the log that hold steps, for the states.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::of(&self.inner.reads.lookup)?;
        let counters = &self.inner.committer.counters;
        let value = |counter: &Count| counter.load(Ordering::Relaxed);
        stats.fresh = value(&counters.fresh);
        stats.replayed = value(&counters.replayed);
        stats.joined = value(&counters.joined);
        stats.conflicts = value(&counters.conflicts);
        stats.steps = value(&counters.steps);
        stats.expired = value(&counters.expired);
        stats.groups = counters.sync_ns.count();
        stats.alert_panics = self.inner.watch.as_ref().map_or(0, |watch| watch.sinks.panics());
        // As noted by the writer: asking the file would wait for whoever writes.
        stats.log_writes = Some(match self.inner.reads.lookup.log.is_written_past_cache() {
            true => LogWrites::PastCache,
            false => LogWrites::Cached,
        });
        stats.views = self.inner.reads.views.as_ref().map(|views| ViewsStats::of(&views.state()));
        stats.last_open = Some(self.inner.report.clone());
        Ok(stats)
    }

    /// Closes the ledger: waits for what is queued, proves the last group, closes the views, gives the
    /// lock back.
    ///
    /// Nothing acknowledged depends on it; it makes the next opening quick and its report clean. Other
    /// clones of the handle answer [`ErrorKind::Closed`] from now on.
    ///
    /// When it returns, nothing of this handle makes or changes a file in the directory any more: it may
    /// be opened again, moved, or removed. There is one exception. sled, which keeps the views, may hang,
    /// and it is waited for no longer than ten seconds. Then it is left behind, and ends with the process
    /// at the latest; the next opening, in this process or another, is safe from it: while it still holds
    /// the files of the views, new ones are built.
    ///
    /// # Errors
    /// [`ErrorKind::Poisoned`] when an earlier write had failed, or this one's did.
    pub fn close(self) -> Result<()> {
        self.inner.close()
    }

    /// Writes what is deferred: for a ledger on a simulated disk, which has no threads.
    #[cfg(feature = "sim")]
    pub fn pump(&self) {
        self.inner.committer.lead_if_idle();
    }

    /// Writes what is deferred until the ledger is closed: the body of the commit thread.
    #[cfg(any(order_ledger_shuttle, order_ledger_loom))]
    pub fn run_commit_thread(&self) {
        self.inner.committer.run_commit_thread();
    }

    /// Records which orders have expired, as far as the views know, and answers how many: for a ledger on a
    /// simulated disk, which has no threads.
    #[cfg(feature = "sim")]
    pub fn sweep(&self) -> u64 {
        let Some(views) = &self.inner.reads.views else { return 0 };
        views.catch_up();
        super::sweep::sweep(&self.inner.committer, views, &self.inner.timer).orders
    }

    /// Does the upkeep that is due: for a ledger on a simulated disk, which has no threads.
    #[cfg(feature = "sim")]
    pub fn tick(&self) {
        self.inner.committer.tick();
    }
}

/// Orders of a batch whose keys are looked for together: enough for few reads, and few enough to stay in the
/// caches of the CPU and to hold the lock of the tables for some microseconds only.
const AHEAD_ORDERS: usize = 128;

/// The answer for one order of a batch.
enum Answer {
    Known(Result<Outcome>),
    Waits(Ticket),
}

/// Waits until the newest of these orders has its answer: then so have all before it.
fn wait_for_written(answers: &mut [Answer]) {
    for answer in answers.iter_mut().rev() {
        if let Answer::Waits(ticket) = answer
            && ticket.is_waiting()
        {
            // The answer is asked for again at the end; here only the time counts.
            drop(ticket.wait(None));
            return;
        }
    }
}

fn is_overloaded(entry: &Result<Entry>) -> bool {
    entry.as_ref().is_err_and(|error: &Error| matches!(error.kind(), ErrorKind::Overloaded { .. }))
}
