//! Holds on clients and accounts, on the handle.

use super::Ledger;
use crate::error::Result;
use crate::order::{Hold, HoldChange, HoldEntry};

#[cfg(doc)]
use crate::error::ErrorKind;

impl Ledger {
    /// Takes no new orders of a client or an account any more: returns when that is on disk.
    ///
    /// Every submission that begins after it has returned is refused; one that is on its way may go either way.
    /// Orders that are there are answered as ever and go their way.
    ///
    /// **Durability**: on `Ok` the hold is there after a process kill and after a power cut, until it is released.
    ///
    /// **Idempotency**: holding again for the same reason succeeds and writes nothing; for another reason, the new
    /// one counts.
    ///
    /// **Cost**: one write and one sync, shared with everything else that is written at the same time. From the
    /// first hold on, each new order looks for holds: three looks into the key tables.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: a field breaks a limit, or nobody is named; nothing was recorded;
    /// - [`ErrorKind::Overloaded`], [`ErrorKind::DiskLow`], [`ErrorKind::Poisoned`], [`ErrorKind::Closed`]:
    ///   not recorded;
    /// - [`ErrorKind::InDoubt`]: unknown; after opening again hold again, or look at [`Ledger::holds`];
    /// - [`ErrorKind::Io`], [`ErrorKind::Corrupt`]: what is held could not be read; nothing was written.
    ///
    /// An example is at [`Hold`].
    pub fn hold(&self, hold: &Hold) -> Result<HoldChange> {
        self.inner.committer.set_hold(hold, true)
    }

    /// Takes new orders of exactly this client, account, or both, again. Orders that were refused meanwhile stay
    /// refused: a new key is a new order.
    ///
    /// The release of an account of a client does not release the client, nor the other way round.
    ///
    /// **Durability, cost, errors**: those of [`Ledger::hold`]. **A repeat**, and the release of what was never
    /// held, succeeds and writes nothing.
    ///
    /// # Errors
    /// Those of [`Ledger::hold`].
    pub fn release(&self, hold: &Hold) -> Result<HoldChange> {
        self.inner.committer.set_hold(hold, false)
    }

    /// The holds that are in force, in the order in which they were set.
    ///
    /// **Cost**: a read of the log for each hold and each release that there ever was.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn holds(&self) -> Result<Vec<HoldEntry>> {
        self.inner.reads.lookup.holds()
    }
}
