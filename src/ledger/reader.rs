//! Looking at a ledger without the right to change it: beside a writer, on a copy, on a read-only mount.

use std::path::Path;
use std::sync::Arc;

use super::open_notes::{NotePage, NoteQuery};
use super::query::{Page, Query};
use super::read::{EventIter, OrderIter, Reads};
use super::stats::Stats;
use crate::admission::dedupe::Lookup;
use crate::disk::os::{OsDisk, OsHost};
use crate::disk::{Disk, Host};
use crate::error::{Error, ErrorKind, Result};
use crate::feed::ParkedEvent;
use crate::order::{
    Event, HoldEntry, LedgerId, Lifecycle, NoteEntry, Order, OrderId, Seq, Timestamp,
};
use crate::recovery::{self, Recovered};
use crate::wal::writer::ledger_time;

/// A ledger that is open for reading only: takes no lock and changes no byte.
///
/// Shows what was durable when it was opened; open again to see more. A group at the end that nothing
/// later proves is shown only after this process has itself synced the file and read the group again
/// past the page cache, so that nothing is ever shown that a power cut can take back (I3).
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) reads: Reads,
    /// When it was opened, in ledger time.
    pub(super) opened_at: Timestamp,
}

impl Reader {
    /// Opens the ledger in `path` for reading.
    ///
    /// **Cost**: as for [`Options::open`](crate::Options::open), without writing.
    ///
    /// # Errors
    /// [`ErrorKind::NotALedger`], [`ErrorKind::NewerFormat`], [`ErrorKind::Corrupt`],
    /// [`ErrorKind::LogLostData`], [`ErrorKind::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<Reader> {
        let path = path.as_ref();
        Reader::open_on(open_dir(path)?, &OsHost::new()).map_err(|error| error.at(path))
    }

    /// Opens the ledger on `disk` for reading.
    ///
    /// # Errors
    /// Those of [`Reader::open`].
    pub fn open_on(disk: Arc<dyn Disk>, host: &dyn Host) -> Result<Reader> {
        let Recovered { log, tables, position, .. } = recovery::open_read_only(&disk, host)?;
        let reads = Reads { lookup: Lookup { log, tables }, views: None, opened_next: Seq::FIRST };
        let opened_at = ledger_now(host, position.last_at);
        Ok(Reader { disk, reads, opened_at })
    }

    /// The order with this id; `None` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn get(&self, order: OrderId) -> Result<Option<Order>> {
        self.reads.get(order)
    }

    /// The order that was taken (or finally refused) under this key; `None` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn by_key(&self, client: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Option<Order>> {
        self.reads.by_key(client.as_ref(), key.as_ref())
    }

    /// Everything that happened to an order, first to last; empty when there is no such order.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn history(&self, order: OrderId) -> Result<Vec<Event>> {
        self.reads.history(order)
    }

    /// Which state of an order may follow which.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn lifecycle(&self) -> Result<Lifecycle> {
        self.reads.lifecycle()
    }

    /// A page of orders by account, reference, state or time, in the order of acceptance, from the log
    /// alone (sled has no read-only mode).
    ///
    /// **Cost**: reads the log from the page's beginning until the page is full.
    ///
    /// # Errors
    /// [`ErrorKind::BadQuery`] for a limit out of bounds; [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn page(&self, query: &Query) -> Result<Page> {
        self.reads.page(query)
    }

    /// The holds on clients and accounts that are in force, in the order in which they were set.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn holds(&self) -> Result<Vec<HoldEntry>> {
        self.reads.lookup.holds()
    }

    /// What was noted about an order, first to last, with what resolved it; empty when there is no such order.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn notes(&self, order: OrderId) -> Result<Vec<NoteEntry>> {
        self.reads.notes(order)
    }

    /// A page of notes that wait to be resolved, in the order in which they were made, from the log alone.
    ///
    /// **Cost**: reads the files of the log that hold notes, from the page's beginning until the page is full.
    ///
    /// # Errors
    /// [`ErrorKind::BadQuery`] for a limit out of bounds; [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn open_notes(&self, query: &NoteQuery) -> Result<NotePage> {
        self.reads.open_notes(query)
    }

    /// Every order, in the order of acceptance, read from the log alone.
    #[must_use]
    pub fn orders(&self) -> OrderIter {
        self.reads.orders()
    }

    /// Everything that happened to orders, from this seq on, in the order of the log.
    #[must_use]
    pub fn events(&self, from: Seq) -> EventIter {
        self.reads.events(from)
    }

    /// How far a consumer is: the first seq that it has not committed. [`Seq::FIRST`] for one that never was.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn consumer_next(&self, consumer: &str) -> Result<Seq> {
        Ok(self.reads.lookup.cursor(consumer)?.next)
    }

    /// The events that a consumer has set aside.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn parked(&self, consumer: &str) -> Result<Vec<ParkedEvent>> {
        self.reads.parked(consumer)
    }

    /// The orders that correct this one, oldest first.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn corrections_of(&self, order: OrderId) -> Result<Vec<OrderId>> {
        self.reads.lookup.corrections_of(order)
    }

    /// The identity of the ledger.
    #[must_use]
    pub fn id(&self) -> LedgerId {
        self.reads.lookup.log.issuer.ledger
    }

    /// Counts and sizes, with the report of the last opening for writing.
    ///
    /// **Cost**: reads the files of the log that hold steps, for the states.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::of(&self.reads.lookup)?;
        stats.last_open = recovery::last_report(&*self.disk);
        Ok(stats)
    }
}

/// What time it is in a ledger whose last record has this time.
pub(super) fn ledger_now(host: &dyn Host, last_at: Timestamp) -> Timestamp {
    ledger_time(Timestamp::from_unix_ns(host.wall_ns()), last_at)
}

/// The directory of a ledger that must be there.
pub(super) fn open_dir(path: &Path) -> Result<Arc<dyn Disk>> {
    let disk = OsDisk::open_dir(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            Error::new(ErrorKind::NotALedger { what: "there is no such directory".into() }).at(path)
        }
        _ => Error::io("opening the directory", error).at(path),
    })?;
    Ok(Arc::new(disk))
}
