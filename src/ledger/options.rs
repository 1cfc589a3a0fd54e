//! How a ledger is opened: every setting with its unit, default and bounds.

use std::sync::Arc;
use std::time::Duration;

use crate::admission::validator::Validator;
use crate::error::{Error, ErrorKind, Result};
use crate::order::{Durability, Lifecycle};
use crate::wal::blocks::KEY_MEMORY_BYTES_DEFAULT;
use crate::watch::WatchOptions;

const MIB: u64 = 1024 * 1024;

/// Where groups begin in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum GroupPadding {
    /// Right behind each other (at multiples of 8 bytes). The block in which a group ends is written
    /// again, with the same leading bytes, when the next one follows. Safe on every device that keeps
    /// bytes outside a write untouched when the power fails ("power-safe overwrite"): practically all.
    #[default]
    PowerSafeOverwrite,
    /// Each at a block of 4,096 bytes of its own: for devices that may damage a whole block when the
    /// power fails during a write to a part of it. Costs up to 4 KiB per group.
    Block,
}

/// How groups are written to the log of a durable ledger. Either way they are on disk before anybody is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum LogWrites {
    /// Past the page cache and durable in one call (`O_DIRECT` and `RWF_DSYNC`), where the file system takes
    /// it and is one whose power was cut in our tests: ext4, XFS, btrfs. Elsewhere as [`LogWrites::Cached`].
    /// Takes less CPU and none of the memory of others. The ledger keeps the newest 8 MiB itself, for what is
    /// read again soon; behind that the first read of an order goes to the disk.
    #[default]
    PastCache,
    /// Into the page cache, and fdatasync. Orders that were just taken are read from memory.
    Cached,
}

/// Whether the views (lists by account, reference and state) are kept in sled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Views {
    /// Kept in `derived/views`, fed in the background. Queries are answered from them, and completed
    /// from the log. On Linux their threads run 10 nicer than the thread that opens the ledger, so that where cores are
    /// short orders come first and the views fall behind. The same holds for threads that sled starts for the whole
    /// process when it is used for the first time: a program that has a database of its own in sled and wants it
    /// otherwise opens that one first.
    /// A [`Durability::Relaxed`] ledger keeps none: a power cut may leave its log behind
    /// them, which for a durable one is the proof that the log lost data.
    #[default]
    On,
    /// Not kept: the same queries answer the same from the log alone, by reading all of it. Nobody looks for
    /// orders that have expired: each still does at its instant for whoever asks for a step of it, and is recorded
    /// as expired then ([`guide::life`](crate::guide::life)).
    Off,
}

/// How to open a ledger. Each setting has a default that is right for most.
///
/// ```
/// use std::time::Duration;
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("orders.ledger");
/// let ledger = order_ledger::Options::new()
///     .segment_bytes(16 * 1024 * 1024)
///     .admission_wait(Duration::from_millis(50))
///     .open(&path)?;
/// # ledger.close()?;
/// # Ok::<(), order_ledger::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Options {
    pub(super) segment_bytes: u64,
    pub(super) segment_bytes_min: u64,
    pub(super) group_padding: GroupPadding,
    pub(super) durability: Durability,
    pub(super) log_writes: LogWrites,
    pub(super) queue_orders_max: usize,
    pub(super) queue_bytes_max: usize,
    pub(super) client_share_percent: usize,
    pub(super) admission_wait: Duration,
    pub(super) seal_after: Duration,
    pub(super) disk_reserve_bytes: u64,
    pub(super) disk_free_min_bytes: u64,
    pub(super) key_memory_bytes: u64,
    pub(super) views: Views,
    pub(super) views_open_deadline: Duration,
    pub(super) validator: Option<Arc<dyn Validator>>,
    pub(super) lifecycle: Option<Lifecycle>,
    pub(super) watch: Option<WatchOptions>,
    pub(super) threads: bool,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("segment_bytes", &self.segment_bytes)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Options {
        Options {
            segment_bytes: 64 * MIB,
            segment_bytes_min: MIB,
            group_padding: GroupPadding::default(),
            durability: Durability::Durable,
            log_writes: LogWrites::default(),
            queue_orders_max: 65_536,
            queue_bytes_max: 64 * 1024 * 1024,
            client_share_percent: 50,
            admission_wait: Duration::ZERO,
            seal_after: Duration::from_millis(500),
            disk_reserve_bytes: MIB,
            disk_free_min_bytes: 16 * MIB,
            key_memory_bytes: KEY_MEMORY_BYTES_DEFAULT,
            views: Views::On,
            views_open_deadline: Duration::from_secs(120),
            validator: None,
            lifecycle: None,
            watch: None,
            threads: true,
        }
    }

    /// Size of a file of the log, in bytes. Default 64 MiB; 1 MiB to 4 GiB minus 64 KiB.
    ///
    /// Too small: a file is made and sealed often. Too large: opening after a crash reads more (it
    /// reads the last file), and a new ledger takes this much of the disk at once. A single order that
    /// does not fit gets a file made to measure.
    pub fn segment_bytes(mut self, bytes: u64) -> Options {
        self.segment_bytes = bytes;
        self
    }

    /// Where groups begin. Default [`GroupPadding::PowerSafeOverwrite`].
    pub fn group_padding(mut self, padding: GroupPadding) -> Options {
        self.group_padding = padding;
        self
    }

    /// What an acknowledgement promises. Default [`Durability::Durable`]. Fixed when the ledger is
    /// made: opening it as anything else is refused.
    pub fn durability(mut self, durability: Durability) -> Options {
        self.durability = durability;
        self
    }

    /// How groups are written. Default [`LogWrites::PastCache`]; [`Stats::log_writes`](crate::Stats::log_writes)
    /// says what came of it.
    pub fn log_writes(mut self, writes: LogWrites) -> Options {
        self.log_writes = writes;
        self
    }

    /// How many orders may wait to be written. Default 65,536; 1 to 16,777,216. Beyond it `submit`
    /// answers [`ErrorKind::Overloaded`](crate::ErrorKind::Overloaded).
    pub fn queue_orders_max(mut self, orders: usize) -> Options {
        self.queue_orders_max = orders;
        self
    }

    /// How many bytes of orders may wait to be written: memory that the queue may take. Default 64 MiB;
    /// 64 KiB to 4 GiB.
    pub fn queue_bytes_max(mut self, bytes: usize) -> Options {
        self.queue_bytes_max = bytes;
        self
    }

    /// How much of the queue one client may fill, in percent. Default 50; 1 to 100. At 100 one client
    /// can shut out all others.
    pub fn client_share_percent(mut self, percent: usize) -> Options {
        self.client_share_percent = percent;
        self
    }

    /// How long `submit` waits for room in the queue before it answers `Overloaded`. Default 0; up to
    /// one hour.
    pub fn admission_wait(mut self, wait: Duration) -> Options {
        self.admission_wait = wait;
        self
    }

    /// After how long without orders the last group is proven by a seal. Default 500 ms; 1 ms to one
    /// hour. Until then damage to the last group can't be told from a crash while it was written.
    pub fn seal_after(mut self, after: Duration) -> Options {
        self.seal_after = after;
        self
    }

    /// Bytes of the log that are kept for orders that exist already, when the disk has no room for the
    /// next segment. Default 1 MiB; less than a segment.
    pub fn disk_reserve_bytes(mut self, bytes: u64) -> Options {
        self.disk_reserve_bytes = bytes;
        self
    }

    /// Bytes that are left free on the file system: no segment is made that would leave less. Default
    /// 16 MiB.
    pub fn disk_free_min_bytes(mut self, bytes: u64) -> Options {
        self.disk_free_min_bytes = bytes;
        self
    }

    /// Bytes of sealed segments that stay in memory once they were read: of key tables, and of orders and their steps
    /// that were asked for one by one. Default 192 MiB, the tables of about 12 million keys; 0 to 1 TiB.
    ///
    /// Nothing is taken before it is needed, and what is not asked for again goes first. Orders, states, notes and
    /// whatever else is found by a key are found in the same tables, so this bounds the memory for all of them.
    /// A lookup by key that finds its blocks here makes no call of the system; with 0 it makes three or four. A
    /// [`Reader`](crate::Reader) keeps as much as the default. Beside it the ledger keeps a filter of 10 bits for each
    /// key, and the keys of the segments that are not sealed yet, in a hash table.
    pub fn key_memory_bytes(mut self, bytes: u64) -> Options {
        self.key_memory_bytes = bytes;
        self
    }

    /// Whether the views are kept. Default [`Views::On`].
    pub fn views(mut self, views: Views) -> Options {
        self.views = views;
        self
    }

    /// How long the views may take to open before they are set aside and rebuilt. Default 2 minutes
    /// (sled reads all of its files when it opens: 2 s for 5 million keys); 1 ms to one hour. Opening the
    /// ledger itself never waits for them.
    pub fn views_open_deadline(mut self, deadline: Duration) -> Options {
        self.views_open_deadline = deadline;
        self
    }

    /// Looks at new orders before they are taken. Default none.
    pub fn validator(mut self, validator: impl Validator + 'static) -> Options {
        self.validator = Some(Arc::new(validator));
        self
    }

    /// Which state of an order may follow which. Default: the one that the ledger was last opened with, and
    /// [`Lifecycle::default`] for one that never was.
    ///
    /// Another one than is stored is recorded in the log when the ledger is opened, and followed from then
    /// on. It must have every state of the stored one, terminal where that is: else opening answers
    /// [`ErrorKind::LifecycleMismatch`](crate::ErrorKind::LifecycleMismatch) and writes no record.
    pub fn lifecycle(mut self, lifecycle: Lifecycle) -> Options {
        self.lifecycle = Some(lifecycle);
        self
    }

    /// Watches orders and the ledger, and raises alerts. Default: nobody watches, and nothing is raised; what is
    /// stuck is told all the same ([`Ledger::stuck`](crate::Ledger::stuck)).
    ///
    /// **Cost**: a thread that looks every few seconds ([`WatchOptions::look_every`]); a record for each thing that
    /// happens to an alert.
    pub fn watch(mut self, watch: WatchOptions) -> Options {
        self.watch = Some(watch);
        self
    }

    /// Holds every setting against its bounds.
    pub(super) fn check(&self) -> Result<()> {
        let hour_ms = 3_600_000;
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let count = |value: usize| value as u64;
        for (name, value, min, max) in [
            ("segment_bytes", self.segment_bytes, self.segment_bytes_min, 4096 * MIB - 64 * 1024),
            ("queue_orders_max", count(self.queue_orders_max), 1, 16 * MIB),
            ("queue_bytes_max", count(self.queue_bytes_max), 64 * 1024, 4096 * MIB),
            ("client_share_percent", count(self.client_share_percent), 1, 100),
            ("admission_wait in ms", ms(self.admission_wait), 0, hour_ms),
            ("seal_after in ms", ms(self.seal_after), 1, hour_ms),
            ("disk_reserve_bytes", self.disk_reserve_bytes, 0, self.segment_bytes),
            ("key_memory_bytes", self.key_memory_bytes, 0, MIB * MIB),
            ("views_open_deadline in ms", ms(self.views_open_deadline), 1, hour_ms),
        ] {
            if !(min..=max).contains(&value) {
                let what = format!("option {name} is {value}; allowed are {min} to {max}");
                return Err(Error::new(ErrorKind::Invalid { what }));
            }
        }
        self.watch.as_ref().map_or(Ok(()), WatchOptions::check)
    }
}
