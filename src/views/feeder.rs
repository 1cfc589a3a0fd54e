//! The thread that keeps the views: opens the store off the open path, feeds it, and replaces it when it
//! is in doubt.
//!
//! Always true: at most one store is offered to queries, and only between [`Feed::begin`] and its first
//! doubt; a store that is ahead of the log is left as it is and nothing follows it; after
//! [`REBUILDS_MAX`] rebuilds in a row the views are off; once it was told to stop, it begins nothing in
//! the directory any more.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex, SetOnce};

use super::feed::{Feed, FeedError, Handle, Unusable};
use super::guard::{Guarded, Open};
use super::home::{self, Home};
use super::store::Doubt;
use super::tally::Tally;
use super::{Deadlines, OnAhead, OnExpiring, Phase};
use crate::order::{Lifecycle, Seq};
use crate::tables::Tables;
use crate::wal::log::Log;

/// A store that is in doubt so soon after it was built is not built for ever.
pub(super) const REBUILDS_MAX: u32 = 3;
/// A store that was up this long was sound: the next rebuild counts as the first.
const REBUILDS_FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// Pause before opening is tried again.
const OPEN_TRY_PAUSE: Duration = Duration::from_millis(100);
/// What arrives within this time goes into one batch. Whoever publishes after it pays for waking the feeder, which
/// at 2 ms was one lone order in 20 and showed at their p99. Queries lose nothing: they read the log behind the
/// views.
const GATHER_PAUSE: Duration = Duration::from_millis(20);
/// Pause before a record of the log that can't be read is read again.
const LOG_ERROR_PAUSE: Duration = Duration::from_secs(1);

/// Makes the opening of a store at a path.
pub(super) type Opener = Box<dyn Fn(PathBuf) -> Open + Send>;

/// What the feeder and the handle share.
pub(super) struct Shared {
    pub(super) log: Arc<Log>,
    pub(super) tables: Arc<Tables>,
    /// Set while the feeder sleeps: what a notification costs when it does not is one load.
    asleep: AtomicBool,
    pub(super) status: Mutex<Status>,
    changed: Condvar,
    pub(super) on_expiring: SetOnce<OnExpiring>,
}

pub(super) struct Status {
    pub(super) phase: Phase,
    /// The store that queries may ask, and the seq that it is fed up to.
    pub(super) store: Option<(Handle, Seq)>,
    /// How many orders of it are in which state.
    pub(super) tally: Tally,
    /// Queries do not ask until the store has answered the feeder: it was silent.
    pub(super) suspended: bool,
    /// Found by a query; the feeder acts on it.
    doubt: Option<Doubt>,
    pub(super) set_aside: u64,
    pub(super) last_doubt: Option<String>,
    pub(super) log_error: Option<String>,
    stop: bool,
    ended: bool,
}

impl Shared {
    pub(super) fn new(log: Arc<Log>, tables: Arc<Tables>, phase: Phase) -> Shared {
        let status = Status {
            phase,
            store: None,
            tally: Tally::default(),
            suspended: false,
            doubt: None,
            set_aside: 0,
            last_doubt: None,
            log_error: None,
            stop: false,
            ended: false,
        };
        let (asleep, changed) = (AtomicBool::new(false), Condvar::new());
        let on_expiring = SetOnce::new();
        Shared { log, tables, asleep, status: Mutex::new(status), changed, on_expiring }
    }

    /// Something was published.
    pub(super) fn notify(&self) {
        // The fence stands between the publication before it and the load behind it, and so does the one
        // in `sleep`, the other way round: either the feeder sees the records or we see it asleep.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            // Held by the feeder from before it says that it is asleep until it really is.
            drop(self.status.lock());
            self.changed.notify_all();
        }
    }

    /// Takes note of a doubt that a query has about the store it asked.
    pub(super) fn report(&self, asked: &Handle, doubt: Doubt) {
        let mut status = self.status.lock();
        // It may have been replaced while the query waited for it; its successor is not to blame.
        if !status.store.as_ref().is_some_and(|(current, _)| current.is_same(asked)) {
            return;
        }
        match doubt {
            Doubt::Silent { .. } => status.suspended = true,
            doubt => {
                status.store = None;
                status.doubt = Some(doubt);
            }
        }
        self.changed.notify_all();
    }

    /// Asks the feeder to end, and waits for that for at most `deadline`. Answers whether it has.
    pub(super) fn stop(&self, deadline: Duration) -> bool {
        let mut status = self.status.lock();
        status.stop = true;
        self.changed.notify_all();
        self.changed.wait_while_for(&mut status, |status| !status.ended, deadline);
        status.ended
    }

    /// The feeder is over, or was never begun.
    pub(super) fn end(&self, phase: Option<Phase>) {
        let mut status = self.status.lock();
        status.store = None;
        status.ended = true;
        if let Some(phase) = phase {
            status.phase = phase;
        }
        self.changed.notify_all();
    }

    fn wanted(&self) -> bool {
        !self.status.lock().stop
    }

    /// Waits until more than what is below `next` is readable, or somebody asks for something.
    fn sleep(&self, next: Seq) {
        let mut status = self.status.lock();
        while !status.is_urgent() {
            // A notification clears the flag: whoever wakes without having been meant sets it again.
            self.asleep.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if self.log.readable_next() > next {
                break;
            }
            self.changed.wait(&mut status);
        }
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Waits for `time`, or until somebody asks for something.
    fn pause(&self, time: Duration) {
        let mut status = self.status.lock();
        self.changed.wait_while_for(&mut status, |status| !status.is_urgent(), time);
    }
}

impl Status {
    fn is_urgent(&self) -> bool {
        self.stop || self.doubt.is_some() || self.suspended
    }
}

/// How the life of one store ended.
enum End {
    Stopped,
    Ahead(Seq),
    Doubt(Doubt),
}

impl From<Unusable> for End {
    fn from(unusable: Unusable) -> End {
        match unusable {
            Unusable::Doubt(doubt) => End::Doubt(doubt),
            Unusable::Ahead(seq) => End::Ahead(seq),
            Unusable::Stopped => End::Stopped,
        }
    }
}

/// Says that the feeder is over, however it ends.
struct Ending {
    shared: Arc<Shared>,
    phase: Option<Phase>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.shared.end(self.phase.take());
    }
}

/// What the feeder's thread owns.
pub(super) struct Feeder {
    pub(super) shared: Arc<Shared>,
    pub(super) home: Home,
    pub(super) opener: Opener,
    pub(super) deadlines: Deadlines,
    pub(super) lifecycle: Lifecycle,
    pub(super) opened_next: Seq,
    pub(super) on_ahead: OnAhead,
}

impl Feeder {
    /// The thread's whole life.
    pub(super) fn run(mut self) {
        let reason = "the feeder panicked".to_owned();
        let mut ending =
            Ending { shared: Arc::clone(&self.shared), phase: Some(Phase::Off { reason }) };
        self.shared.status.lock().set_aside = self.home.set_aside_count();
        ending.phase = self.keep_stores();
    }

    /// One store after the other, until there shall be none; answers why the views are off, if they are.
    fn keep_stores(&mut self) -> Option<Phase> {
        let mut rebuilds = 0;
        loop {
            let begun = Instant::now();
            let doubt = match self.keep_store() {
                End::Stopped => return None,
                End::Ahead(seq) => {
                    let witness = home::witness();
                    let reason = format!("the log lost data: {witness} has seen seq {seq}");
                    (self.on_ahead)(seq, witness);
                    return Some(Phase::Off { reason });
                }
                End::Doubt(doubt) => doubt.to_string(),
            };
            if !self.shared.wanted() {
                // The ledger may be closed by now, if this store hung for long, and the directory belong
                // to the next opening. That one comes to its own judgement.
                self.shared.status.lock().last_doubt = Some(doubt);
                return None;
            }
            if begun.elapsed() >= REBUILDS_FORGOTTEN_AFTER {
                rebuilds = 0;
            }
            // Set aside before giving up as well: the next open then begins afresh.
            let aside = self.home.set_aside();
            {
                let mut status = self.shared.status.lock();
                status.last_doubt = Some(doubt.clone());
                status.phase = Phase::Opening;
                status.set_aside = self.home.set_aside_count();
            }
            if let Err(error) = aside {
                let reason = format!("{doubt}; and it can't be set aside: {error}");
                return Some(Phase::Off { reason });
            }
            if rebuilds == REBUILDS_MAX {
                let reason = format!("given up after {rebuilds} rebuilds; the last: {doubt}");
                return Some(Phase::Off { reason });
            }
            rebuilds += 1;
        }
    }

    /// Opens a store, feeds it, and closes it. Queries see it in between.
    fn keep_store(&mut self) -> End {
        let guarded = match self.home.store_path() {
            Ok(path) => self.open(&path),
            Err(error) => Err(doubt_of(&error)),
        };
        let guarded = match guarded {
            Ok(guarded) => Arc::new(guarded),
            // Not the store's fault that it was not waited for.
            Err(_) if !self.shared.wanted() => return End::Stopped,
            Err(doubt) => return End::Doubt(doubt),
        };
        let end = self.begin_and_feed(Handle::Guarded(Arc::clone(&guarded)));
        {
            let mut status = self.shared.status.lock();
            (status.store, status.suspended, status.doubt) = (None, false, None);
        }
        // One that hangs is left behind: it has a path of its own.
        guarded.close(self.deadlines.close);
        end
    }

    fn open(&self, path: &Path) -> Result<Guarded, Doubt> {
        let begun = Instant::now();
        loop {
            let open = (self.opener)(path.to_owned());
            let Deadlines { open: deadline, close, .. } = self.deadlines;
            match Guarded::open(open, deadline, close, &|| self.shared.wanted()) {
                Err(Doubt::Io(_))
                    if begun.elapsed() < self.deadlines.lock && self.shared.wanted() =>
                {
                    self.shared.pause(OPEN_TRY_PAUSE);
                }
                result => return result,
            }
        }
    }

    fn begin_and_feed(&self, handle: Handle) -> End {
        self.shared.status.lock().phase = Phase::Auditing;
        let wanted = || self.shared.wanted();
        let log = (Arc::clone(&self.shared.log), Arc::clone(&self.shared.tables));
        let lifecycle = self.lifecycle.clone();
        let (opened_next, deadline) = (self.opened_next, self.deadlines.call);
        let begun = Feed::begin(handle, log, lifecycle, opened_next, deadline, &wanted);
        match begun {
            Ok(feed) => self.feed(feed),
            Err(unusable) => unusable.into(),
        }
    }

    fn feed(&self, mut feed: Feed) -> End {
        self.offer(&mut feed);
        loop {
            if let Some(end) = self.answer_requests(&feed) {
                return end;
            }
            let (begun, end_before) = (Instant::now(), self.shared.log.readable_next());
            match feed.step() {
                Ok(0) => {
                    self.shared.sleep(feed.next());
                    self.shared.pause(GATHER_PAUSE);
                }
                Ok(_) => {
                    self.offer(&mut feed);
                    // While somebody writes, work for half of the time: the other half of this core,
                    // and of the disk, is theirs.
                    if self.shared.log.readable_next() != end_before {
                        self.shared.pause(begun.elapsed());
                    }
                }
                Err(FeedError::Doubt(doubt)) => return End::Doubt(doubt),
                Err(FeedError::Log(error)) => {
                    self.shared.status.lock().log_error = Some(error.to_string());
                    self.shared.pause(LOG_ERROR_PAUSE);
                }
            }
        }
    }

    /// Tells queries how far the store is. A store that one of them doubts is not offered again.
    fn offer(&self, feed: &mut Feed) {
        let earliest = {
            let mut status = self.shared.status.lock();
            if status.doubt.is_some() {
                return;
            }
            status.phase = Phase::Feeding;
            status.store = Some((feed.handle().clone(), feed.next()));
            status.tally.clone_from(feed.tally());
            status.log_error = None;
            feed.take_earliest()
        };
        // Told when it can be found.
        if let (Some(earliest), Some(on_expiring)) = (earliest, self.shared.on_expiring.get()) {
            on_expiring(earliest);
        }
    }

    /// Does what somebody asked for; answers the end of this store, if that is what it comes to.
    fn answer_requests(&self, feed: &Feed) -> Option<End> {
        let suspended = {
            let mut status = self.shared.status.lock();
            if status.stop {
                return Some(End::Stopped);
            }
            if let Some(doubt) = status.doubt.take() {
                return Some(End::Doubt(doubt));
            }
            status.suspended
        };
        if suspended {
            match feed.handle().ping(self.deadlines.call) {
                Ok(()) => self.shared.status.lock().suspended = false,
                Err(doubt) => return Some(End::Doubt(doubt)),
            }
        }
        None
    }
}

fn doubt_of(error: &io::Error) -> Doubt {
    Doubt::Io(error.to_string())
}
