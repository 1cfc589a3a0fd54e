//! Linked batches on the handles: recording one, and finding it again.

use super::Ledger;
use super::read::Reads;
use super::reader::Reader;
use crate::error::Result;
use crate::order::{Batch, Linked, LinkedBatch, Seq};

impl Ledger {
    /// Records a batch, all of it or nothing: returns when it is on disk.
    ///
    /// **Durability**: on `Ok` every member is there after a process kill and after a power cut, once; after
    /// any crash before that, all are or none is.
    ///
    /// **Idempotency**: the same members under the same key are answered as the first time, whatever
    /// happened since ([`How::Replayed`](crate::How::Replayed)); [`Outcome::now`](crate::Outcome::now) and
    /// [`Transitioned::now`](crate::Transitioned::now) say where the orders stand since.
    ///
    /// **Order of the checks**: limits, the key of the batch, members that are recorded outside of it, each
    /// member as if it came alone, the validator, room.
    ///
    /// **Limits**: see [`LinkedBatch`] and [`limits`](crate::limits). A validator is asked about each order
    /// once for a call, and what it would refuse for good is refused with the batch, for now: nothing of it
    /// is recorded.
    ///
    /// **Cost**: one record more than there are members; one write and one sync, shared with everything that
    /// is written at the same time.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`](crate::ErrorKind::Invalid): no such batch can be; nothing was recorded;
    /// - [`ErrorKind::BatchMember`](crate::ErrorKind::BatchMember): nothing was recorded; names the first
    ///   member that can't be taken, and why: the errors of [`Ledger::submit`] and [`Ledger::transition`];
    /// - [`ErrorKind::BatchConflict`](crate::ErrorKind::BatchConflict): nothing was recorded, as some members
    ///   are already, outside of this batch;
    /// - [`ErrorKind::BatchKeyConflict`](crate::ErrorKind::BatchKeyConflict): the key belongs to another batch;
    /// - [`ErrorKind::Overloaded`](crate::ErrorKind::Overloaded), [`ErrorKind::DiskLow`](crate::ErrorKind::DiskLow),
    ///   [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned), [`ErrorKind::Closed`](crate::ErrorKind::Closed):
    ///   not recorded (`Overloaded` also in the last moment before an order of the batch expires, when its step
    ///   would be written too late);
    /// - [`ErrorKind::InDoubt`](crate::ErrorKind::InDoubt): unknown; after opening again send the same batch;
    /// - [`ErrorKind::Io`](crate::ErrorKind::Io), [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt): it could
    ///   not be looked up; this call wrote nothing, but an earlier one may have: unknown.
    ///
    /// An example is at [`LinkedBatch`].
    pub fn linked(&self, batch: &LinkedBatch) -> Result<Linked> {
        self.inner.committer.linked(batch)
    }

    /// The batch that was recorded under this key; `None` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::InDoubt`](crate::ErrorKind::InDoubt) when a write of this key has failed: only opening
    /// again tells; [`ErrorKind::Io`](crate::ErrorKind::Io), [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt).
    pub fn batch(&self, key: impl AsRef<[u8]>) -> Result<Option<Batch>> {
        let found = self.inner.reads.batch(key.as_ref())?;
        if found.is_none() {
            self.inner.committer.check_doubt_of_linked(key.as_ref())?;
        }
        Ok(found)
    }

    /// The batch of this name, as [`Order::batch`](crate::Order::batch) and
    /// [`Event::batch`](crate::Event::batch) give it; `None` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io), [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt).
    pub fn batch_at(&self, batch: Seq) -> Result<Option<Batch>> {
        self.inner.reads.batch_at(batch)
    }
}

impl Reader {
    /// The batch that was recorded under this key; `None` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io), [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt).
    pub fn batch(&self, key: impl AsRef<[u8]>) -> Result<Option<Batch>> {
        self.reads.batch(key.as_ref())
    }

    /// The batch of this name; `None` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io), [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt).
    pub fn batch_at(&self, batch: Seq) -> Result<Option<Batch>> {
        self.reads.batch_at(batch)
    }
}

impl Reads {
    fn batch(&self, key: &[u8]) -> Result<Option<Batch>> {
        match self.lookup.batch_head(key)? {
            Some(head) => self.lookup.batch(&head),
            None => Ok(None),
        }
    }

    fn batch_at(&self, batch: Seq) -> Result<Option<Batch>> {
        match self.lookup.log.read(batch)? {
            Some(record) => self.lookup.batch(&record),
            None => Ok(None),
        }
    }
}
