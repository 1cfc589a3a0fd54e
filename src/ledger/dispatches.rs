//! What third parties are to be told, on the handles: recording it, looking at it, and sending dead letters on their
//! way again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Ledger;
use super::open_dispatches::{self, DispatchPage, DispatchQuery};
use super::read::Reads;
use super::reader::Reader;
use super::third_parties::Shown;
use crate::commit::Committer;
use crate::error::{Error, ErrorKind, Result};
use crate::order::dispatch::{Course, Lane, Progress};
use crate::order::{Dispatch, DispatchEntry, Dispatched, OrderId, Seq, Timestamp, Witness};
use crate::wal::log::Log;

impl Ledger {
    /// Records something that third parties are to be told about an order that exists: returns when it is on disk. The
    /// [`Outbox`](crate::Outbox) tells them.
    ///
    /// What follows from an order or from a step of one belongs into one write with it: as a member of a
    /// [`LinkedBatch`](crate::LinkedBatch).
    ///
    /// **Durability**: on `Ok` it is there after a process kill and after a power cut, once.
    ///
    /// **Idempotency**: it is recorded once under its command key, without which it is refused: what stands twice is told
    /// twice.
    ///
    /// **Cost**: one write and one sync, shared with everything else that is written at the same time.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`], [`ErrorKind::NoSuchOrder`], [`ErrorKind::CommandConflict`]: nothing was recorded, and
    ///   the same call will say the same;
    /// - [`ErrorKind::Overloaded`], [`ErrorKind::DiskLow`], [`ErrorKind::Poisoned`], [`ErrorKind::Closed`]:
    ///   not recorded;
    /// - [`ErrorKind::InDoubt`]: unknown; after opening again send the same command;
    /// - [`ErrorKind::Io`], [`ErrorKind::Corrupt`]: the order could not be read; nothing was written.
    ///
    /// ```
    /// use order_ledger::{Dispatch, Ledger, Submission};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
    /// let order = ledger.submit(&Submission::new("web-shop", "cart-17", "2 x tea"))?.receipt.order;
    /// let gift = Dispatch::new(order, "parcel", "wrap it up").command_key("gift");
    /// let first = ledger.dispatch(&gift)?;
    /// assert_eq!(ledger.dispatch(&gift)?.dispatch, first.dispatch, "once");
    /// # Ok::<(), order_ledger::Error>(())
    /// ```
    pub fn dispatch(&self, dispatch: &Dispatch) -> Result<Dispatched> {
        self.inner.committer.dispatch(dispatch)
    }

    /// What third parties are to be told about an order, first to last, and where each of it stands; empty when there
    /// is no such order.
    ///
    /// Shows only what is durable; a caller finds what it was acknowledged at once.
    ///
    /// **Cost**: two reads of the log for each dispatch.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn dispatches(&self, order: OrderId) -> Result<Vec<DispatchEntry>> {
        self.inner.reads.dispatches(order)
    }

    /// A page of dispatches that are neither done nor given up, in the order in which they were made: what the outbox
    /// has to do.
    ///
    /// Shows only what is durable; right also while the views lag, are rebuilt, or are off: what they do not cover is
    /// read from the log.
    ///
    /// ```
    /// use order_ledger::{Dispatch, DispatchQuery, Ledger, LinkedBatch, Submission};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
    /// let order = Submission::new("web", "1", "tea");
    /// let batch = LinkedBatch::of_order(order).dispatch(Dispatch::of_member(0, "payment", "8.40"));
    /// ledger.linked(&batch)?;
    /// assert_eq!(ledger.open_dispatches(&DispatchQuery::all().route("payment"))?.dispatches.len(), 1);
    /// assert!(ledger.dead_letters(&DispatchQuery::all())?.dispatches.is_empty());
    /// # Ok::<(), order_ledger::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::BadQuery`] for a limit out of bounds; [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn open_dispatches(&self, query: &DispatchQuery) -> Result<DispatchPage> {
        open_dispatches::page(&self.inner.reads, Lane::Open, query)
    }

    /// A page of dispatches that were given up and wait for a person, in the order in which they were made.
    ///
    /// # Errors
    /// Those of [`Ledger::open_dispatches`].
    pub fn dead_letters(&self, query: &DispatchQuery) -> Result<DispatchPage> {
        open_dispatches::page(&self.inner.reads, Lane::Dead, query)
    }

    /// Sends a dead letter on its way again, with the same tokens: returns when that is on disk. Its attempts and its age
    /// are counted anew. Where it was not known whether a provider has done it, that is found out first.
    ///
    /// **Idempotency**: whoever repeats it after an answer in doubt is told `NotDead` if it was recorded.
    ///
    /// **Durability, cost**: those of [`Ledger::dispatch`].
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchDispatch`]; [`ErrorKind::NotDead`] when it is done, or on its way; [`ErrorKind::Invalid`] for
    /// a reason of more than [`REASON_BYTES_MAX`](crate::limits::REASON_BYTES_MAX) bytes; those of
    /// [`Ledger::dispatch`].
    pub fn redrive(&self, dispatch: Seq, why: impl Into<String>) -> Result<()> {
        let (committer, why) = (&self.inner.committer, why.into());
        let bytes_max = crate::order::limits::REASON_BYTES_MAX;
        if why.len() > bytes_max {
            let what = format!("a reason has at most {bytes_max} bytes");
            return Err(Error::new(ErrorKind::Invalid { what }));
        }
        loop {
            let found = committer.find_dispatch(dispatch)?;
            if found.course.lane() != Some(Lane::Dead) {
                return Err(Error::new(ErrorKind::NotDead { dispatch }));
            }
            let after = Course {
                progress: Progress::Redriven { why: why.clone() },
                // From the first provider on, but for one that may have done it.
                provider: found.course.doubt.clone(),
                of_provider: 0,
                since: committer.ledger_now(),
                again_at: None,
                ..found.course.clone()
            };
            if committer.pursue(&found, &after, Witness::Provider)?.is_some() {
                return Ok(());
            }
        }
    }

    /// For the outbox, which works on the write path and reads what is committed.
    pub(crate) fn committer(&self) -> &Arc<Committer> {
        &self.inner.committer
    }

    /// Where the log ended when the ledger was opened.
    pub(crate) fn opened_next(&self) -> Seq {
        self.inner.reads.opened_next
    }

    /// Takes the place of the one outbox of this ledger; `false`: it is taken.
    pub(crate) fn take_outbox(&self) -> bool {
        !self.inner.outbox_runs.swap(true, Ordering::AcqRel)
    }

    /// The one outbox shows from now on how it is.
    pub(crate) fn show_outbox(&self, outbox: Arc<dyn Shown>) {
        self.inner.window.show(outbox);
    }

    pub(crate) fn give_outbox_back(&self) {
        self.inner.outbox_runs.store(false, Ordering::Release);
    }
}

impl Reader {
    pub(crate) fn log(&self) -> &Arc<Log> {
        &self.reads.lookup.log
    }

    /// When it was opened, in ledger time.
    pub(crate) fn opened_at(&self) -> Timestamp {
        self.opened_at
    }

    /// What third parties are to be told about an order, first to last, and where each of it stands.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn dispatches(&self, order: OrderId) -> Result<Vec<DispatchEntry>> {
        self.reads.dispatches(order)
    }

    /// A page of dispatches that are neither done nor given up, from the log alone.
    ///
    /// # Errors
    /// [`ErrorKind::BadQuery`] for a limit out of bounds; [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn open_dispatches(&self, query: &DispatchQuery) -> Result<DispatchPage> {
        open_dispatches::page(&self.reads, Lane::Open, query)
    }

    /// A page of dispatches that were given up and wait for a person, from the log alone.
    ///
    /// # Errors
    /// Those of [`Reader::open_dispatches`].
    pub fn dead_letters(&self, query: &DispatchQuery) -> Result<DispatchPage> {
        open_dispatches::page(&self.reads, Lane::Dead, query)
    }
}

impl Reads {
    fn dispatches(&self, order: OrderId) -> Result<Vec<DispatchEntry>> {
        if order.partition() != self.lookup.log.issuer.partition {
            return Ok(Vec::new());
        }
        let found = self.lookup.dispatches(order.seq())?;
        let entries = found.into_iter();
        entries.map(|found| self.lookup.dispatch_entry(found, self.opened_next)).collect()
    }
}
