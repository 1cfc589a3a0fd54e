//! A store behind glass: it lives on a thread of its own, and every question has a deadline.
//!
//! Why a thread and not just `catch_unwind`: sled may also hang: in open, in a batch that never finds its
//! place in a damaged tree (holding a lock that is global to the process), and in drop, where it waits
//! for a flusher that died. A thread that hangs can be left behind; a caller that hangs can't.
//!
//! Always true: no panic and no error of a store leaves this module other than as a [`Doubt`]; after the
//! first panic the store is not called again; a caller waits at most as long as it said.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex};

use super::store::{Doubt, Store};

/// Makes a store. Runs on the store's thread.
pub(super) type Open = Box<dyn FnOnce() -> Result<Box<dyn Store>, Doubt> + Send>;

/// Answers whether the store may be called again.
type Job = Box<dyn FnOnce(&mut dyn Store) -> bool + Send>;

/// How often a wait for the opening looks whether it is still wanted.
const OPEN_LOOK_EVERY: Duration = Duration::from_millis(50);

/// A store that is asked under a deadline.
pub(super) struct Guarded {
    /// `None` ends the thread.
    jobs: mpsc::Sender<Option<Job>>,
    ended: Arc<Ended>,
}

#[derive(Default)]
struct Ended {
    flag: Mutex<bool>,
    changed: Condvar,
}

impl Ended {
    /// Waits at most `deadline` for the thread to be over, and answers whether it is.
    fn wait(&self, deadline: Duration) -> bool {
        let mut ended = self.flag.lock();
        self.changed.wait_while_for(&mut ended, |ended| !*ended, deadline);
        *ended
    }
}

/// Set when the thread is over, however it ends.
struct SetEnded(Arc<Ended>);

impl Drop for SetEnded {
    fn drop(&mut self) {
        *self.0.flag.lock() = true;
        self.0.changed.notify_all();
    }
}

impl Guarded {
    /// Opens a store on a thread of its own; gives up after `deadline`. When `wanted` says no, it waits for
    /// the thread to be over, as [`Guarded::close`] does, for at most `close`. A store that is opened
    /// after all, too late, is dropped by its thread.
    pub(super) fn open(
        open: Open,
        deadline: Duration,
        close: Duration,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Guarded, Doubt> {
        let (jobs, receiver) = mpsc::channel();
        let (opened_sender, opened) = mpsc::sync_channel(0);
        let ended = Arc::new(Ended::default());
        let set_ended = SetEnded(Arc::clone(&ended));
        std::thread::Builder::new()
            .name("ledger-views-store".into())
            .spawn(move || {
                let _set_ended = set_ended;
                run(open, &opened_sender, &receiver);
            })
            .map_err(|error| Doubt::Io(error.to_string()))?;
        let begin = Instant::now();
        loop {
            match opened.recv_timeout(OPEN_LOOK_EVERY.min(deadline)) {
                Ok(result) => return result.map(|()| Guarded { jobs, ended }),
                Err(RecvTimeoutError::Disconnected) => return Err(Doubt::Gone),
                Err(RecvTimeoutError::Timeout) if !wanted() => {
                    // sled makes files while it opens, and again when it is dropped: whoever is told that
                    // the views are over shall find neither. Without a receiver the thread drops it.
                    drop(opened);
                    ended.wait(close);
                    return Err(Doubt::Silent { doing: "opening", waited: begin.elapsed() });
                }
                Err(RecvTimeoutError::Timeout) if begin.elapsed() >= deadline => {
                    return Err(Doubt::Silent { doing: "opening", waited: begin.elapsed() });
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Lets the store's thread do `job`, and waits at most `deadline` for the answer.
    pub(super) fn call<T: Send + 'static>(
        &self,
        doing: &'static str,
        deadline: Duration,
        job: impl FnOnce(&mut dyn Store) -> Result<T, Doubt> + Send + 'static,
    ) -> Result<T, Doubt> {
        let (answer_sender, answer) = mpsc::sync_channel(1);
        let job: Job = Box::new(move |store| {
            let result = caught(|| job(store));
            let usable = result.is_ok();
            // Nobody may be waiting any more; then the answer is not wanted.
            drop(answer_sender.send(result));
            usable
        });
        self.jobs.send(Some(job)).map_err(|_| Doubt::Gone)?;
        match answer.recv_timeout(deadline) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(Doubt::Silent { doing, waited: deadline }),
            Err(RecvTimeoutError::Disconnected) => Err(Doubt::Gone),
        }
    }

    /// Drops the store, and waits at most `deadline` for that. Answers whether it is gone; a thread that
    /// hangs is left behind.
    pub(super) fn close(&self, deadline: Duration) -> bool {
        // An error says that the thread has ended already.
        drop(self.jobs.send(None));
        self.ended.wait(deadline)
    }
}

/// The store's thread.
fn run(open: Open, opened: &SyncSender<Result<(), Doubt>>, jobs: &Receiver<Option<Job>>) {
    let (mut store, report) = match caught(open) {
        Ok(store) => (Some(store), Ok(())),
        Err(doubt) => (None, Err(doubt)),
    };
    // A rendezvous: it fails exactly when nobody waits for the store any more.
    if opened.send(report).is_ok() {
        while let (Some(store), Ok(Some(job))) = (store.as_deref_mut(), jobs.recv()) {
            if !job(store) {
                break;
            }
        }
    }
    // Dropping sled does I/O, and may panic as well. There is nobody left to tell.
    drop(caught(move || {
        drop(store);
        Ok(())
    }));
}

/// Runs something of the store's; a panic in it becomes a doubt. The panic hook has printed it.
fn caught<T>(run: impl FnOnce() -> Result<T, Doubt>) -> Result<T, Doubt> {
    // Unwind safe because the store is never used again after a panic.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        Err(Doubt::Panicked(text.unwrap_or_else(|| "without a message".to_owned())))
    })
}
