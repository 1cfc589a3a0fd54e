//! The write path: admit, append, apply, announce, answer. The only caller of the log's writer.
//!
//! - [`queue`]: what waits, and which keys are in flight, under one lock
//! - [`round`]: the answers of one group, shared by all who wait for it
//! - [`enter`]: from a submission to a place in the queue (or an answer without one)
//! - [`existing`]: the same for a command about something that exists
//! - [`step`]: what is done with an order that exists
//! - [`note`]: what is noted about one
//! - [`dispatch`]: what third parties are to be told, and what becomes of that
//! - [`linked`]: what is recorded together, or not at all
//! - [`lead`]: whoever leads writes the queue out, group by group
//! - [`announce`]: who waits for what happens, and is told after it is durable
//! - [`cursor`]: how far consumers of the feed are
//! - [`expiry`]: what may be written when, and what is recorded of orders whose time is over
//! - [`hold`]: which clients and accounts give no new orders for now
//! - [`alert`]: what is wrong, and what becomes of it
//! - [`tally`]: what is counted of it
//! - [`bell`]: what a thread of the ledger sleeps by
//! - [`merging`]: key tables of several segments become one, behind everything
//! - [`by_client`]: orders and repeats by client, for alerts
//! - [`ticket`]: the place of a caller: a future, and a wait
//! - [`upkeep`]: what happens between orders: next segment, sealing, the idle seal, the witness
//!
//! Who leads: a blocking submit that finds nobody writing writes the queue itself, without a hand-over
//! to another thread; so does whoever waits for a ticket as long as it takes. What queued up behind it, and
//! what is deferred, is written by the commit thread: at once when somebody waits for it, and else a little
//! later, so that one thread with many tickets gets few large groups. At any time at most one thread holds
//! `Queue::leading`.
//!
//! The order of things for one group: append and sync (the log), apply (the tables), publish (the
//! border of what may be read), announce (to those who wait for events), then leave the in-flight map, then
//! the answers. Nothing is told before
//! the sync (I3), and a key is always in the map or in the tables, never in neither (I2).
//!
//! The first failed write or sync poisons: the group's callers are told `InDoubt`, later ones
//! `Poisoned`; reads go on; only opening again, which reads the disk afresh, clears it (rule 35).

pub(crate) mod alert;
pub(crate) mod announce;
pub(crate) mod bell;
pub(crate) mod by_client;
pub(crate) mod cursor;
pub(crate) mod dispatch;
pub(crate) mod enter;
mod existing;
pub(crate) mod expiry;
pub(crate) mod hold;
pub(crate) mod lead;
pub(crate) mod linked;
pub(crate) mod merging;
pub(crate) mod note;
pub(crate) mod queue;
pub(crate) mod round;
pub(crate) mod step;
pub(crate) mod tally;
pub(crate) mod ticket;
pub(crate) mod upkeep;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::sync::{AtomicBool, AtomicU64, Condvar, Count, Mutex, OnceLock, SetOnce};

use crate::admission::dedupe::Lookup;
use crate::admission::gate::GateLimits;
use crate::admission::validator::Validator;
use crate::disk::{Disk, Host};
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::Counters;
use crate::order::Lifecycle;
use crate::wal::prepare::Preparer;
use crate::wal::writer::{Closed, Writer};
use announce::Announcer;
use bell::Bell;
use queue::Queue;

/// How the write path behaves; fixed while the ledger is open.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) segment_bytes: u64,
    pub(crate) gate: GateLimits,
    pub(crate) admission_wait: Duration,
    /// After how long without a group the last one is proven by a seal.
    pub(crate) seal_after: Duration,
    /// Bytes of the log that are kept for orders that exist, when the disk is low.
    pub(crate) disk_reserve_bytes: u64,
    /// Bytes that must stay free on the file system when the next segment is made.
    pub(crate) disk_free_min_bytes: u64,
    pub(crate) validator: Option<Arc<dyn Validator>>,
    /// Which state of an order may follow which.
    pub(crate) lifecycle: Lifecycle,
    /// Whether threads of the ledger write what is deferred and do the upkeep. Without them the caller
    /// does both, step by step: that is how the simulator runs.
    pub(crate) threads: bool,
}

/// What only the leader touches.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) writer: Writer,
    /// Segments that are full and wait to be sealed.
    pub(crate) closed: Vec<Closed>,
}

/// Told after each publish that there is more to read. Must be quick and must not panic.
pub(crate) type OnPublish = Box<dyn Fn() + Send + Sync>;

/// The write path of one open ledger.
pub(crate) struct Committer {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) lookup: Lookup,
    pub(crate) settings: Settings,
    pub(crate) preparer: Arc<Preparer>,
    pub(crate) queue: Mutex<Queue>,
    /// The commit thread: there is something to write and nobody does.
    pub(crate) work: Condvar,
    /// A validator has said its word about a key in flight.
    pub(crate) validated: Condvar,
    /// Somebody left the queue.
    pub(crate) room: Condvar,
    /// Nobody leads any more.
    pub(crate) idle: Condvar,
    pub(crate) core: Mutex<Core>,
    poison: OnceLock<String>,
    pub(crate) upkeep: upkeep::Upkeep,
    /// Rung when a segment was sealed: there may be key tables to merge.
    pub(crate) merging: Bell,
    pub(crate) announcer: Announcer,
    /// Set before anybody else has the committer.
    pub(crate) on_publish: SetOnce<OnPublish>,
    pub(crate) counters: Counters,
    /// Set before anybody else has the committer, if anybody wants to know.
    pub(crate) by_client: SetOnce<by_client::Tally>,
    /// The last attempt to get space for the next segment failed.
    pub(crate) disk_low: AtomicBool,
    /// Bytes that the log can take without asking the disk for more.
    pub(crate) room_bytes: AtomicU64,
    /// The time of the last record that may be read, for a guess at what time it is: the leader knows.
    last_at_ns: Count,
    owner_pid: u32,
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer").field("poison", &self.poison).finish_non_exhaustive()
    }
}

impl Committer {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        host: Arc<dyn Host>,
        lookup: Lookup,
        settings: Settings,
        preparer: Arc<Preparer>,
        writer: Writer,
        closed: Vec<Closed>,
    ) -> Committer {
        let room_bytes = writer.room_bytes();
        let last_at_ns = Count::new(writer.position().last_at.as_unix_ns());
        let needs_seal = !writer.position().sealed;
        let now_ns = host.monotonic_ns();
        let counters = Counters::default();
        counters.upkeep_at_ns.store(now_ns, Ordering::Relaxed);
        Committer {
            queue: Mutex::new(Queue::new(settings.gate)),
            work: Condvar::new(),
            validated: Condvar::new(),
            room: Condvar::new(),
            idle: Condvar::new(),
            core: Mutex::new(Core { writer, closed }),
            poison: OnceLock::new(),
            upkeep: upkeep::Upkeep::new(needs_seal, now_ns),
            // Something may have been left to do by the process before.
            merging: Bell::new(true),
            announcer: Announcer::default(),
            on_publish: SetOnce::new(),
            counters,
            by_client: SetOnce::new(),
            disk_low: AtomicBool::new(false),
            room_bytes: AtomicU64::new(room_bytes),
            last_at_ns,
            owner_pid: host.process_id(),
            disk,
            host,
            lookup,
            settings,
            preparer,
        }
    }

    /// Stops all writing for good. Only the first reason is kept.
    pub(crate) fn poison(&self, why: impl Into<String>) {
        // A reason that is already there stays: it came first.
        drop(self.poison.set(why.into()));
        self.announcer.end();
    }

    /// Why nothing is written any more, if so.
    pub(crate) fn poisoned(&self) -> Option<&str> {
        self.poison.get().map(String::as_str)
    }

    /// The error for writing to a poisoned ledger.
    pub(crate) fn check_poison(&self) -> Result<()> {
        match self.poisoned() {
            Some(why) => Err(Error::new(ErrorKind::Poisoned { why: why.to_owned() })),
            None => Ok(()),
        }
    }

    /// Whether anything can still be published.
    ///
    /// # Errors
    /// `Poisoned`, `Closed`.
    pub(crate) fn check_goes_on(&self) -> Result<()> {
        self.check_poison()?;
        match self.announcer.is_over() {
            true => Err(Error::new(ErrorKind::Closed)),
            false => Ok(()),
        }
    }

    /// A forked child has the handle but not the threads, and a lock that is its parent's.
    pub(crate) fn check_owner(&self) -> Result<()> {
        if self.host.process_id() == self.owner_pid {
            return Ok(());
        }
        let why = format!("the ledger was opened by process {}, before a fork", self.owner_pid);
        Err(Error::new(ErrorKind::Poisoned { why }))
    }

    /// So many orders have their receipts, which were asked for then.
    #[inline]
    pub(crate) fn note_receipts(&self, called_ns: u64, receipts: u64) {
        let spent_ns = self.host.monotonic_ns().saturating_sub(called_ns);
        self.counters.receipt_ns.record_many(spent_ns, receipts);
    }

    /// Whether it is known since when something waits in the queue.
    pub(crate) fn is_clocked(&self) -> bool {
        self.counters.waiting_since_ns.load(Ordering::Relaxed) != 0
    }

    /// Notes how much the log can still take.
    pub(crate) fn note_room(&self, writer: &Writer) {
        let room = writer.room_bytes().saturating_add(self.preparer.ready_bytes());
        self.room_bytes.store(room, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
