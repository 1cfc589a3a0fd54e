//! Asked-for answers: lists of orders by account, by external ref, by state and by how long they have been in it, by
//! when they are due by thresholds of their own, of open notes, of open alerts and of dispatches, kept in sled.
//!
//! - [`layout`]: the bytes of keys and watermark; start here
//! - [`store`]: what the views need of a store, why one is doubted, and the store in memory
//! - [`sled_store`]: the store in sled, the only file that knows sled
//! - [`guard`]: a store on a thread of its own, under deadlines
//! - [`feed`]: what a store is worth when opened, and how it is filled from the log
//! - [`entries`]: since when orders are in their states, and when those are due that have thresholds of their own
//! - [`tally`]: how many orders of a store are in which state
//! - [`feeder`]: the thread that opens, feeds and replaces the store
//! - [`home`]: where it lives on disk, and where doubtful ones go
//!
//! Always true: the views are derived and disposable. They are fed from published records only, behind
//! the log and never in its way; they are never asked whether something is absent beyond the seq that
//! they cover; whatever is wrong with them costs time and never an answer. What they answer is a hint:
//! the record is read from the log. One thing they can say for certain: a sound watermark beyond the end
//! of the log proves that the log lost data, and then they are left exactly as they are.

mod entries;
mod feed;
mod feeder;
mod guard;
mod home;
mod layout;
mod sled_store;
mod store;
mod tally;
#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::Mutex;

use crate::disk::Disk;
use crate::disk::os::give_way;
use crate::order::{AlertLevel, Lifecycle, Seq, State, Timestamp};
use crate::tables::Tables;
use crate::wal::log::Log;

use feed::{Feed, FeedError, Handle, Unusable};
use feeder::{Feeder, Opener, Shared};
use home::Home;
pub(crate) use layout::View;
use sled_store::SledStore;
use store::{Doubt, MemStore, Store};

/// Why the views are off when nobody wanted them.
pub(crate) const OFF_BY_CHOICE: &str = "the options say so";

/// Where the views are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// In sled, under this real path of the ledger's directory.
    Sled(PathBuf),
    /// In memory, without a thread; fed by [`Views::catch_up`].
    Memory,
    /// Nowhere: every query is answered from the log.
    Off,
}

/// How long the views wait for their store. None of it is waited for by a caller, but for `page`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Deadlines {
    /// For opening it. sled reads all of its files then (2 s for 5 million keys), so be patient: one
    /// that is given up is built again from the log, which takes far longer.
    pub(crate) open: Duration,
    /// For a lock that an earlier handle is about to release (it may still be closing sled).
    pub(crate) lock: Duration,
    /// For a batch, or for an answer after a page was late.
    pub(crate) call: Duration,
    /// For a page: then the query is answered from the log.
    pub(crate) page: Duration,
    /// For closing it, also when the ledger is closed while it is being opened. sled writes and syncs
    /// then. [`Views::stop`] waits no longer.
    pub(crate) close: Duration,
}

/// Ten seconds, which [`Ledger::close`](crate::Ledger::close) states: what waits for a slow disk is
/// worth waiting for, and what takes longer hangs.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(10);

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            open: Duration::from_secs(120),
            lock: Duration::from_secs(5),
            call: Duration::from_secs(30),
            page: Duration::from_millis(500),
            close: CLOSE_WAIT_MAX,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ViewsConfig {
    pub(crate) place: Place,
    /// The ledger's directory: doubtful stores are renamed through it.
    pub(crate) disk: Arc<dyn Disk>,
    /// The log as it was opened, before anything is written to it.
    pub(crate) log: Arc<Log>,
    /// What the steps of an order are found by.
    pub(crate) tables: Arc<Tables>,
    /// Has every state that an order of the log is in, or was.
    pub(crate) lifecycle: Lifecycle,
    pub(crate) deadlines: Deadlines,
}

/// Called once, when the views prove that the log lost data, with the last seq that they have seen
/// durable and the name of the witness. Runs on the feeder's thread.
pub(crate) type OnAhead = Box<dyn Fn(Seq, String) + Send + Sync>;

/// Called when orders were fed that expire, with the first instant. Runs on the feeder's thread.
pub(crate) type OnExpiring = Box<dyn Fn(Timestamp) + Send + Sync>;

/// What the views are doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// The store is being opened.
    Opening,
    /// The store's entries are being held against its watermark.
    Auditing,
    /// The store answers, for what it covers.
    Feeding,
    /// There is no store and there will be none before the ledger is opened again.
    Off { reason: String },
}

/// How the views are, for statistics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ViewsState {
    pub(crate) phase: Phase,
    /// Every record below it is covered.
    pub(crate) covered: Seq,
    /// Records that are readable and not covered yet: 0 means up to date.
    pub(crate) behind: u64,
    /// How many of the orders that are covered are in which state; `None` while there is no store to ask.
    pub(crate) states: Option<Vec<(State, u64)>>,
    /// Stores that were set aside and still take up space under `derived/`.
    pub(crate) set_aside: u64,
    /// Why the last one was.
    pub(crate) last_doubt: Option<String>,
    /// The record of the log that can't be read and holds the views up, as an error.
    pub(crate) log_error: Option<String>,
}

/// The views of one open ledger.
pub(crate) struct Views {
    shared: Arc<Shared>,
    deadlines: Deadlines,
    lifecycle: Lifecycle,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// The store's feed when there is no thread.
    memory: Option<Mutex<Feed>>,
}

impl Views {
    /// Starts the views. Never fails and never waits: a store that can't be used is a state.
    ///
    /// To be called while the ledger is being opened, before the first write.
    pub(crate) fn start(config: ViewsConfig, on_ahead: OnAhead) -> Arc<Views> {
        let opener: Opener = Box::new(|path| {
            Box::new(move || SledStore::open(&path).map(|store| Box::new(store) as Box<dyn Store>))
        });
        Views::start_with(config, on_ahead, opener)
    }

    /// [`Views::start`] with another way to open a store.
    fn start_with(config: ViewsConfig, on_ahead: OnAhead, opener: Opener) -> Arc<Views> {
        let ViewsConfig { place, disk, log, tables, lifecycle, deadlines } = config;
        let opened_next = log.readable_next();
        let phase = match place {
            Place::Sled(_) => Phase::Opening,
            Place::Memory => Phase::Feeding,
            Place::Off => Phase::Off { reason: OFF_BY_CHOICE.into() },
        };
        let shared = Arc::new(Shared::new(log, tables, phase));
        let (mut thread, mut memory) = (None, None);
        match place {
            Place::Off => shared.end(None),
            Place::Memory => {
                memory = memory_feed(&shared, &lifecycle, deadlines).map(Mutex::new);
                shared.end(None);
            }
            Place::Sled(ledger_dir) => {
                let home = Home::new(disk, &ledger_dir);
                thread = spawn(Feeder {
                    shared: Arc::clone(&shared),
                    home,
                    opener,
                    deadlines,
                    lifecycle: lifecycle.clone(),
                    opened_next,
                    on_ahead,
                });
            }
        }
        Arc::new(Views { shared, deadlines, lifecycle, thread: Mutex::new(thread), memory })
    }

    /// Says that records were published. For `commit`, after each group: costs a fence and a load,
    /// unless the feeder sleeps.
    pub(crate) fn notify(&self) {
        self.shared.notify();
    }

    /// Feeds everything that is readable now. Only for views in memory; no effect on others.
    pub(crate) fn catch_up(&self) {
        let Some(memory) = &self.memory else { return };
        let mut feed = memory.lock();
        loop {
            match feed.step() {
                Ok(0) => break self.shared.status.lock().log_error = None,
                Ok(_) => {}
                Err(FeedError::Log(error)) => {
                    break self.shared.status.lock().log_error = Some(error.to_string());
                }
                // The store in memory has no doubts.
                Err(FeedError::Doubt(_)) => break,
            }
        }
    }

    /// At most `limit` seqs of a list, in order, all after `after`; and the seq up to which every record
    /// was considered: one that is after `after`, below it and not among the seqs is not on the list.
    ///
    /// It may be `after.next()`, with no seqs: then the views have nothing to say. The seqs are hints: the
    /// caller reads the records, and calls [`Views::report_mismatch`] when one says otherwise.
    pub(crate) fn page(&self, view: View<'_>, after: Seq, limit: usize) -> (Vec<Seq>, Seq) {
        let nothing = (Vec::new(), after.next());
        // A value that has no keys is never covered.
        let offered = if view.prefix().is_some() { self.offered() } else { None };
        let Some((handle, covered)) = offered.filter(|(_, covered)| *covered > after.next()) else {
            return nothing;
        };
        match handle.page(view, after, limit, self.deadlines.page) {
            Ok(seqs) if seqs.len() < limit => {
                // Batches are whole: a seq from a batch that was applied meanwhile covers what is before.
                let last = seqs.last().map_or(covered, |last| last.next());
                (seqs, covered.max(last))
            }
            Ok(seqs) => {
                let covered = seqs.last().map_or(nothing.1, |last| last.next());
                (seqs, covered)
            }
            Err(doubt) => {
                self.report(&handle, doubt);
                nothing
            }
        }
    }

    /// Whether there is, or will be, a store to ask.
    pub(crate) fn may_be_asked(&self) -> bool {
        self.memory.is_some() || !matches!(self.shared.status.lock().phase, Phase::Off { .. })
    }

    /// Whether there will be a store to ask, and is none yet.
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.shared.status.lock().phase, Phase::Opening | Phase::Auditing)
    }

    /// Has this called from now on whenever orders come into the views that expire. Only the first call counts.
    pub(crate) fn on_expiring(&self, on_expiring: OnExpiring) {
        drop(self.shared.on_expiring.set(on_expiring));
    }

    /// At most `limit` orders that expire and have not come to an end, by instant and seq, after this one; `None`
    /// when the views can't be asked. Hints: whoever acts on one reads the record.
    pub(crate) fn expiring(
        &self,
        after: Option<(Timestamp, Seq)>,
        limit: usize,
    ) -> Option<Vec<(Timestamp, Seq)>> {
        self.ask(|handle| handle.expiring(after, limit, self.deadlines.page))
    }

    /// At most `limit` orders that are in this state, of those that have thresholds of their own (true) or of the
    /// others, by when they entered it and seq, after this one; `None` when the views can't be asked. Hints: whoever acts on one looks where the order
    /// stands.
    pub(crate) fn entered(
        &self,
        list: (State, bool),
        after: Option<(Timestamp, Seq)>,
        limit: usize,
    ) -> Option<Vec<(Timestamp, Seq)>> {
        self.ask(|handle| handle.entered(list, after, limit, self.deadlines.page))
    }

    /// The same of orders that have thresholds of their own, by when they reach this level by them.
    pub(crate) fn due(
        &self,
        level: AlertLevel,
        after: Option<(Timestamp, Seq)>,
        limit: usize,
    ) -> Option<Vec<(Timestamp, Seq)>> {
        self.ask(|handle| handle.due(level, after, limit, self.deadlines.page))
    }

    /// What the store answers; `None` when it can't be asked, or is in doubt from now on.
    fn ask<T>(&self, question: impl FnOnce(&Handle) -> Result<T, Doubt>) -> Option<T> {
        let (handle, _) = self.offered()?;
        question(&handle).map_err(|doubt| self.report(&handle, doubt)).ok()
    }

    /// Every record below it is in the views; the first seq when they can't be asked.
    pub(crate) fn covered(&self) -> Seq {
        self.offered().map_or(Seq::FIRST, |(_, covered)| covered)
    }

    /// Says that the record at `seq` does not belong on this list, on which the views had it. If they
    /// still have, they are rebuilt.
    pub(crate) fn report_mismatch(&self, view: View<'_>, seq: Seq) {
        let Some((handle, _)) = self.offered() else { return };
        let before = Seq(seq.0.saturating_sub(1));
        match handle.page(view, before, 1, self.deadlines.page) {
            Ok(seqs) if seqs.first() == Some(&seq) => self.report(&handle, Doubt::Mismatch(seq)),
            // Another store by now, and a better one.
            Ok(_) => {}
            Err(doubt) => self.report(&handle, doubt),
        }
    }

    /// How the views are.
    pub(crate) fn state(&self) -> ViewsState {
        let memory = self.memory.as_ref().map(|memory| {
            let feed = memory.lock();
            (feed.next(), feed.tally().states())
        });
        let end = self.shared.log.readable_next();
        let status = self.shared.status.lock();
        let store = || status.store.as_ref().map(|(_, next)| (*next, status.tally.states()));
        let (covered, states) = memory.or_else(store).unzip();
        let covered = covered.unwrap_or(Seq::FIRST);
        ViewsState {
            phase: status.phase.clone(),
            covered,
            behind: end.0.saturating_sub(covered.0),
            states,
            set_aside: status.set_aside,
            last_doubt: status.last_doubt.clone(),
            log_error: status.log_error.clone(),
        }
    }

    /// Ends the threads and closes the store, also one that is still being opened, and waits for that,
    /// but no longer than [`Deadlines::close`]: then nothing here touches the directory any more. What is
    /// left behind because it hangs ends with the process; [`home`] says why the next opening need not
    /// fear it. May be called more than once.
    pub(crate) fn stop(&self) {
        let ended = self.shared.stop(self.deadlines.close);
        let thread = self.thread.lock().take();
        if let Some(thread) = thread.filter(|_| ended) {
            // It has said that it is over: this waits for a few instructions. A panic in it was printed.
            drop(thread.join());
        }
    }

    /// The store that may be asked, and what it covers.
    fn offered(&self) -> Option<(Handle, Seq)> {
        match &self.memory {
            Some(memory) => {
                let feed = memory.lock();
                Some((feed.handle().clone(), feed.next()))
            }
            None => {
                let status = self.shared.status.lock();
                status.store.clone().filter(|_| !status.suspended)
            }
        }
    }

    fn report(&self, asked: &Handle, doubt: Doubt) {
        match &self.memory {
            None => self.shared.report(asked, doubt),
            Some(memory) => {
                {
                    let mut status = self.shared.status.lock();
                    status.set_aside += 1;
                    status.last_doubt = Some(doubt.to_string());
                }
                let lifecycle = &self.lifecycle;
                if let Some(fresh) = memory_feed(&self.shared, lifecycle, self.deadlines) {
                    *memory.lock() = fresh;
                }
            }
        }
    }
}

impl Drop for Views {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A feed into an empty store in memory: there is nothing in it to object to.
fn memory_feed(shared: &Shared, lifecycle: &Lifecycle, deadlines: Deadlines) -> Option<Feed> {
    let handle = Handle::Direct(Arc::new(Mutex::new(MemStore::default())));
    let (lifecycle, deadline) = (lifecycle.clone(), deadlines.call);
    let opened_next = shared.log.readable_next();
    let log = (Arc::clone(&shared.log), Arc::clone(&shared.tables));
    let begun = Feed::begin(handle, log, lifecycle, opened_next, deadline, &|| true);
    begun.map_err(|_: Unusable| ()).ok()
}

/// Starts the feeder's thread; without one the views are off.
fn spawn(feeder: Feeder) -> Option<std::thread::JoinHandle<()>> {
    let shared = Arc::clone(&feeder.shared);
    let spawned = std::thread::Builder::new().name("ledger-views".into()).spawn(move || {
        // The store's thread is started by this one, and sled's by that.
        give_way();
        feeder.run();
    });
    match spawned {
        Ok(thread) => Some(thread),
        Err(error) => {
            let reason = format!("no thread to keep them: {error}");
            shared.end(Some(Phase::Off { reason }));
            None
        }
    }
}
