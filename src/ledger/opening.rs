//! Puts an open ledger together: lock, recovery, the write path, its threads.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Ledger;
use super::handle::Inner;
use super::options::{GroupPadding, LogWrites, Options, Views};
use super::read::Reads;
use super::third_parties::{self, Window};
use crate::admission::dedupe::Lookup;
use crate::admission::gate::GateLimits;
use crate::bytes::to_u32;
use crate::commit::by_client::Tally;
use crate::commit::{Committer, Settings};
use crate::disk::os::{OsDisk, OsHost};
use crate::disk::{Disk, DiskLock, Host, disk_low, is_full};
use crate::error::{Error, ErrorKind, Result};
use crate::order::thresholds::ns;
use crate::order::{Durability, Lifecycle, Seq};
use crate::recovery::segments::LOCK_NAME;
use crate::recovery::{self, Recovered};
use crate::views::{self, Deadlines, Place, ViewsConfig};
use crate::wal::blocks::Blocks;
use crate::wal::format::{BLOCK_BYTES, BLOCK_LEN, GROUP_ALIGN_MIN};
use crate::wal::prepare::Preparer;
use crate::wal::writer::{Layout, Writer};
use crate::watch::Watch;

/// Tries for the lock: the kernel may free the lock of a process that has just died a moment late.
/// Source: TigerBeetle retries 5 times with pauses of 50 ms; "at once" is kept by pausing less.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

impl Ledger {
    /// Opens the ledger in `path` with the default [`Options`], and makes it when the directory is
    /// missing or empty.
    ///
    /// # Errors
    /// Those of [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Ledger> {
        Options::new().open(path)
    }
}

impl Options {
    /// Opens the ledger in `path` for writing, and makes it when the directory is missing or empty.
    ///
    /// **Durability**: when this returns, the directory, its entry in its parent and everything found
    /// in the log are durable.
    ///
    /// **Cost**: reads the last segment, not the sealed ones; a new ledger writes one segment of zeros.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a setting out of bounds; [`ErrorKind::Locked`] at once when another
    /// process has it; [`ErrorKind::NotALedger`]; [`ErrorKind::NewerFormat`];
    /// [`ErrorKind::DurabilityMismatch`]; [`ErrorKind::LifecycleMismatch`]; [`ErrorKind::Corrupt`] and [`ErrorKind::LogLostData`] with
    /// nothing changed; [`ErrorKind::DiskLow`]; [`ErrorKind::Io`].
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Ledger> {
        let path = path.as_ref();
        self.check()?;
        let disk = OsDisk::create_dir(path).map_err(|error| match is_full(&error) {
            // Not even room for the directory.
            true => Error::new(ErrorKind::DiskLow { free_bytes: 0 }).caused_by(error).at(path),
            false => Error::io("opening the directory", error).at(path),
        })?;
        // sled opens by path, and later than this: the working directory may be another by then.
        let views_at = std::path::absolute(path)
            .map_err(|error| Error::io("finding the directory", error).at(path))?;
        let views_at = Some(views_at);
        self.open_parts(Arc::new(disk), Arc::new(OsHost::new()), views_at)
            .map_err(|error| error.at(path))
    }

    /// Opens the ledger on a simulated disk. No thread is started: what is deferred is written by
    /// [`Ledger::pump`], and the upkeep is done by [`Ledger::tick`].
    ///
    /// # Errors
    /// Those of [`Options::open`].
    #[cfg(feature = "sim")]
    pub fn open_simulated(&self, disk: Arc<dyn Disk>, host: Arc<dyn Host>) -> Result<Ledger> {
        let options = Options { threads: false, segment_bytes_min: 16 * 1024, ..self.clone() };
        options.check()?;
        options.open_parts(disk, host, None)
    }

    /// Opens the ledger on a simulated disk as one that has threads, and leaves it to the caller to run
    /// them: [`Ledger::run_commit_thread`] in a thread of a scheduler's.
    ///
    /// # Errors
    /// Those of [`Options::open`].
    #[cfg(any(order_ledger_shuttle, order_ledger_loom))]
    pub fn open_scheduled(&self, disk: Arc<dyn Disk>, host: Arc<dyn Host>) -> Result<Ledger> {
        let options = Options { segment_bytes_min: 16 * 1024, ..self.clone() };
        options.check()?;
        options.open_parts(disk, host, None)
    }

    /// Opens the ledger on `disk`. `views_at` is its real directory, which sled needs; without one the
    /// views are in memory.
    fn open_parts(
        &self,
        disk: Arc<dyn Disk>,
        host: Arc<dyn Host>,
        views_at: Option<PathBuf>,
    ) -> Result<Ledger> {
        let locks = lock(&*disk, &*host)?;
        let preparer = Arc::new(Preparer::new(Arc::clone(&disk)));
        let settings = self.settings();
        let layout = Layout {
            segment_bytes: settings.segment_bytes,
            group_align: match self.group_padding {
                GroupPadding::PowerSafeOverwrite => GROUP_ALIGN_MIN,
                GroupPadding::Block => to_u32(BLOCK_LEN),
            },
            past_cache: self.durability == Durability::Durable
                && self.log_writes == LogWrites::PastCache,
        };
        let blocks = Blocks::new(self.key_memory_bytes);
        let recovered = recovery::open(&disk, &*host, &preparer, layout, self.durability, &blocks)?;
        let Recovered { log, tables, active, position, unsealed, mut report } = recovered;
        let writer = Writer::new(
            Arc::clone(&disk),
            Arc::clone(&host),
            Arc::clone(&log),
            Arc::clone(&preparer),
            layout,
            active,
            position,
        )
        .map_err(|error| Error::io("reading the end of the log", error))?;
        report.past_cache = log.is_written_past_cache();
        // Derived, for people: a failure is none of opening.
        drop(recovery::keep_report(&*disk, &report));
        let lookup = Lookup { log, tables };
        let (lifecycle, is_new) = self.choose_lifecycle(&lookup)?;
        let settings = Settings { lifecycle, ..settings };
        let views_disk = Arc::clone(&disk);
        let committer = Arc::new(Committer::new(
            disk,
            host,
            lookup.clone(),
            settings,
            preparer,
            writer,
            unsealed,
        ));
        let opened_next = lookup.log.readable_next();
        let views = self.start_views(views_disk, views_at, &committer);
        let reads = Reads { lookup, views: Some(views), opened_next };
        // From here on an error closes what is open: a thread that was left behind would write into a
        // ledger whose lock is free.
        let window = Arc::default();
        let watch = self.start_watch(&committer, &reads, &window);
        let inner = Inner::new(Arc::clone(&committer), reads, report, locks, watch, window);
        start_threads(&committer, &inner)?;
        if is_new {
            committer.record_lifecycle(&committer.settings.lifecycle)?;
        }
        Ok(Ledger::from_inner(inner))
    }

    /// Starts the views behind the write path, before anything is written.
    fn start_views(
        &self,
        disk: Arc<dyn Disk>,
        views_at: Option<PathBuf>,
        committer: &Arc<Committer>,
    ) -> Arc<views::Views> {
        let place = match (self.views, self.durability, views_at) {
            (Views::Off, _, _) | (_, Durability::Relaxed, _) => Place::Off,
            (Views::On, Durability::Durable, Some(path)) => Place::Sled(path),
            (Views::On, Durability::Durable, None) => Place::Memory,
        };
        let log = Arc::clone(&committer.lookup.log);
        let (open, defaults) = (self.views_open_deadline, Deadlines::default());
        // Waiting for a lock is part of opening.
        let deadlines = Deadlines { open, lock: defaults.lock.min(open), ..defaults };
        // The views must not keep the ledger alive that they belong to.
        let ledger = Arc::downgrade(committer);
        let on_ahead = Box::new(move |witness_seq: Seq, witness: String| {
            if let Some(committer) = ledger.upgrade() {
                let log_next = committer.lookup.log.readable_next();
                let lost = recovery::log_lost_data(witness_seq.next(), log_next, &witness);
                committer.poison(lost.to_string());
            }
        });
        let lifecycle = committer.settings.lifecycle.clone();
        let tables = Arc::clone(&committer.lookup.tables);
        let config = ViewsConfig { place, disk, log, tables, lifecycle, deadlines };
        let views = views::Views::start(config, on_ahead);
        let told = Arc::clone(&views);
        // Set once: nobody else has the committer yet.
        drop(committer.on_publish.set(Box::new(move || told.notify())));
        views
    }

    /// What watches, if it is asked for. Before anybody else has the committer.
    fn start_watch(
        &self,
        committer: &Committer,
        reads: &Reads,
        window: &Arc<Window>,
    ) -> Option<Arc<Watch>> {
        let options = self.watch.clone()?;
        if options.unreturned_percent.is_some() {
            let window_ns = ns(options.unreturned_window);
            let tally = Tally::new(window_ns, committer.host.monotonic_ns());
            // Set once: nobody else has the committer yet.
            drop(committer.by_client.set(tally));
        }
        let more = third_parties::conditions(&options, reads, window);
        Some(Arc::new(Watch::new(options, more)))
    }

    /// The lifecycle that is to be followed, and whether the log does not know it yet.
    fn choose_lifecycle(&self, lookup: &Lookup) -> Result<(Lifecycle, bool)> {
        let stored = lookup.stored_lifecycle()?;
        // A ledger in which no order ever took a step was not used with the default one either.
        let is_bound = stored.is_some() || lookup.log.has_steps();
        let stored = stored.unwrap_or_default();
        let Some(wanted) = self.lifecycle.clone().filter(|wanted| *wanted != stored) else {
            return Ok((stored, false));
        };
        match wanted.misses_of(&stored).filter(|_| is_bound) {
            None => Ok((wanted, true)),
            Some(state) => Err(Error::new(ErrorKind::LifecycleMismatch { state })),
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            segment_bytes: self.segment_bytes / BLOCK_BYTES * BLOCK_BYTES,
            gate: GateLimits {
                orders_max: self.queue_orders_max,
                bytes_max: self.queue_bytes_max,
                client_share_percent: self.client_share_percent,
            },
            admission_wait: self.admission_wait,
            seal_after: self.seal_after,
            disk_reserve_bytes: self.disk_reserve_bytes,
            disk_free_min_bytes: self.disk_free_min_bytes,
            validator: self.validator.clone(),
            // Until it is known what the log says.
            lifecycle: Lifecycle::default(),
            threads: self.threads,
        }
    }
}

/// Takes the lock of the file `LOCK`, which says who holds it, and that of the directory: people remove
/// lock files that they think are stale, and a second writer would find a new one free.
fn lock(disk: &dyn Disk, host: &dyn Host) -> Result<Vec<Box<dyn DiskLock>>> {
    let mut tries = 1;
    loop {
        match disk.lock(LOCK_NAME).and_then(|lock| Ok((lock, disk.lock_dir()?))) {
            Ok((lock, of_dir)) => {
                // For the message that another opener gets; the lock itself is the kernel's.
                drop(lock.write_content(host.process_id().to_string().as_bytes()));
                return Ok(std::iter::once(lock).chain(of_dir).collect());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if tries == LOCK_TRIES {
                    let content = crate::disk::read_file(disk, LOCK_NAME, 64).unwrap_or_default();
                    let pid = String::from_utf8_lossy(&content).trim().parse().ok();
                    return Err(Error::new(ErrorKind::Locked { pid }));
                }
                tries += 1;
                host.sleep(LOCK_PAUSE);
            }
            Err(error) if is_full(&error) => return Err(disk_low(disk, error)),
            Err(error) => return Err(Error::io("taking the lock", error)),
        }
    }
}

/// Starts the threads of the ledger, and gives each to `inner`, which ends it.
fn start_threads(committer: &Arc<Committer>, inner: &Inner) -> Result<()> {
    if !committer.settings.threads || cfg!(any(order_ledger_shuttle, order_ledger_loom)) {
        return Ok(());
    }
    let start = |name: &str, run: fn(&Committer)| {
        let committer = Arc::clone(committer);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&committer))
            .map_err(|error| Error::io("starting a thread", error))?;
        inner.keep_thread(thread);
        Ok(())
    };
    start("ledger-commit", Committer::run_commit_thread)?;
    start("ledger-upkeep", Committer::run_upkeep_thread)?;
    start("ledger-merge", Committer::run_merge_thread)?;
    if let Some(watch) = &inner.watch {
        let (watch, committer) = (Arc::clone(watch), Arc::clone(committer));
        let views = inner.reads.views.clone();
        let thread = std::thread::Builder::new()
            .name("ledger-watch".to_owned())
            .spawn(move || watch.run(&committer, views.as_deref()))
            .map_err(|error| Error::io("starting a thread", error))?;
        inner.keep_thread(thread);
    }
    // Without views nobody knows what is due.
    let Some(views) = inner.reads.views.as_ref().filter(|views| views.may_be_asked()) else {
        return Ok(());
    };
    let timer = Arc::clone(&inner.timer);
    views.on_expiring(Box::new(move |instant| timer.hear_of(instant)));
    let (committer, views) = (Arc::clone(committer), Arc::clone(views));
    let timer = Arc::clone(&inner.timer);
    let thread = std::thread::Builder::new()
        .name("ledger-expiry".to_owned())
        .spawn(move || timer.run(&committer, &views))
        .map_err(|error| Error::io("starting a thread", error))?;
    inner.keep_thread(thread);
    Ok(())
}

#[cfg(all(test, not(any(order_ledger_shuttle, order_ledger_loom))))]
#[allow(clippy::unwrap_used, reason = "a test fails by it, in its helpers as well")]
mod tests {
    use std::pin::Pin;
    use std::sync::{Mutex, mpsc};
    use std::task::{Context, Wake};

    use super::*;
    use crate::disk::sim::{Fault, SimDisk, SimHost};
    use crate::order::{State, Submission};
    use crate::wal::format::{GROUP_MAGIC, segment_path};

    /// The upkeep looks at the directory when it is woken and once a second, and sleeps in between.
    #[test]
    fn an_idle_ledger_leaves_the_disk_alone() {
        let (disk, host) = (SimDisk::new(1), SimHost::new(2));
        let options = Options { views: Views::Off, ..Options::default() };
        let ledger = options.open_parts(disk.as_disk(), host.as_host(), None).unwrap();
        let calls = disk.io_calls();
        let (_open, closed) = mpsc::channel::<()>();
        closed.recv_timeout(Duration::from_millis(500)).unwrap_err();
        let calls = disk.io_calls() - calls;
        assert!(calls < 100, "{calls} calls in half a second");
        ledger.close().unwrap();
    }

    /// Effect to prevent: opening fails, and the threads that it had started go on writing into a ledger
    /// that the next opener has.
    #[test]
    fn an_opening_that_fails_leaves_no_thread_behind() {
        let table = Lifecycle::builder().edge(State::Accepted, State::Failed).build().unwrap();
        let (mut failed, mut calls) = (0, 0);
        loop {
            let (disk, host) = (SimDisk::new(1), SimHost::new(2));
            let options = Options { views: Views::Off, ..Options::default() };
            options.open_parts(disk.as_disk(), host.as_host(), None).unwrap().close().unwrap();
            calls += 1;
            // For ever: neither the table nor anything behind it can be written.
            disk.fail_from(calls, Fault::Eio);
            let options = options.lifecycle(table.clone());
            match options.open_parts(disk.as_disk(), host.as_host(), None) {
                Ok(ledger) => {
                    drop(ledger);
                    break;
                }
                Err(_) => {
                    failed += 1;
                    assert_eq!(disk.open_handles(), 0, "call {calls}");
                }
            }
        }
        assert!(failed > 5, "{failed}");
    }

    #[test]
    fn what_is_deferred_is_written_though_nobody_waits() {
        let (disk, host) = (SimDisk::new(1), SimHost::new(2));
        let options = Options { views: Views::Off, ..Options::default() };
        let ledger = options.open_parts(disk.as_disk(), host.as_host(), None).unwrap();
        let (_open, closed) = mpsc::channel::<()>();
        for key in 0..10 {
            let key = format!("k{key}");
            let ticket = ledger.submit_deferred(&Submission::new("web", key.as_str(), "x"));
            let is_written = (0..1000).any(|_| {
                closed.recv_timeout(Duration::from_millis(10)).unwrap_err();
                ledger.by_key("web", &key).unwrap().is_some()
            });
            assert!(is_written, "{key}");
            drop(ticket);
        }
    }

    /// The idle seal leads without an order; what is deferred meanwhile is nobody's to wait for.
    #[test]
    fn what_is_deferred_while_a_seal_is_written_is_written_behind_it() {
        let (disk, host) = (SimDisk::new(1), SimHost::new(2));
        let options = Options { views: Views::Off, ..Options::default() };
        let ledger = options.open_parts(disk.as_disk(), host.as_host(), None).unwrap();
        let (_open, closed) = mpsc::channel::<()>();
        let committer = &ledger.inner.committer;
        committer.queue.lock().leading = true;
        let ticket = ledger.submit_deferred(&Submission::new("web", "k1", "x"));
        // Time for the commit thread to go back to sleep.
        closed.recv_timeout(Duration::from_millis(20)).unwrap_err();
        committer.lead();
        let is_written = (0..1000).any(|_| {
            closed.recv_timeout(Duration::from_millis(10)).unwrap_err();
            ledger.by_key("web", "k1").unwrap().is_some()
        });
        assert!(is_written);
        drop(ticket);
    }

    /// Blocks whoever wakes it, which is the thread that leads, until it is let go.
    struct Blocking {
        began: Mutex<mpsc::Sender<()>>,
        may_end: Mutex<mpsc::Receiver<()>>,
    }

    impl Wake for Blocking {
        fn wake(self: Arc<Self>) {
            self.began.lock().unwrap().send(()).unwrap();
            self.may_end.lock().unwrap().recv().unwrap();
        }
    }

    #[test]
    fn closing_waits_for_the_one_who_writes_and_seals_behind_him() {
        let (disk, host) = (SimDisk::new(1), SimHost::new(2));
        let options = Options { views: Views::Off, ..Options::default() };
        let ledger = options.open_parts(disk.as_disk(), host.as_host(), None).unwrap();
        let (began, has_begun) = mpsc::channel();
        let (end, may_end) = mpsc::channel();
        let blocking = Blocking { began: Mutex::new(began), may_end: Mutex::new(may_end) };
        let waker = Arc::new(blocking).into();
        let mut orders = 0;
        // Kept, as whoever waits would. An order that is written before it is asked about wakes nobody.
        let _ticket = loop {
            orders += 1;
            let order = Submission::new("web", format!("k{orders}"), "x");
            let mut ticket = ledger.submit_deferred(&order);
            if Pin::new(&mut ticket).poll(&mut Context::from_waker(&waker)).is_pending() {
                break ticket;
            }
        };
        // Written and answered; its writer still leads.
        has_begun.recv().unwrap();
        let groups = || {
            let content = disk.read_durable(&segment_path(1)).unwrap();
            content.chunks(8).filter(|it| it.starts_with(&GROUP_MAGIC)).count()
        };
        host.advance(Duration::from_secs(60));
        ledger.tick();
        assert_eq!(groups(), orders, "the upkeep leaves the log to the one who leads");
        std::thread::scope(|scope| {
            let ((closed, is_closed), ledger) = (mpsc::channel(), ledger.clone());
            scope.spawn(move || closed.send(ledger.close()).unwrap());
            is_closed.recv_timeout(Duration::from_millis(200)).unwrap_err();
            end.send(()).unwrap();
            is_closed.recv().unwrap().unwrap();
        });
        assert_eq!(groups(), orders + 1, "the orders and the seal");
    }
}
