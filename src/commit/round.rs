//! One round of group commit, shared by everyone who waits for it: the answers of all its entries
//! arrive together, with one wake-up for all.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::sync::{Condvar, Mutex, OnceLock};

use super::queue::{Pending, What};
use crate::error::{Error, ErrorKind, Result};
use crate::order::{Seq, Timestamp};

/// What became of one entry. `None`: it was left out, because its time was over (or had not come), and whoever
/// waits decides afresh. That happens to steps only.
pub(crate) type EntryResult = Result<Option<Committed>>;

/// Where an entry was committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Committed {
    pub(crate) seq: Seq,
    pub(crate) at: Timestamp,
}

/// The answers lie in a cell that is filled once: those who wait sleep on its one futex word, are woken
/// with one call, and read without a lock. A condition variable would wake them one by one, each into
/// the mutex that the one before it still holds.
#[derive(Debug, Default)]
pub(crate) struct Round {
    answers: OnceLock<Answers>,
    /// Futures that wait. Locked after `answers` is filled and before it is found empty.
    wakers: Mutex<Vec<Waker>>,
    /// For those who wait only for a time, which the cell can't do; goes with `wakers`.
    done: Condvar,
}

/// What became of the entries of a round, in the order in which they were queued: of an entry without a result the
/// outcome is in doubt.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) results: Vec<EntryResult>,
    /// Without their records, so that whoever keeps a ticket and does not ask it keeps little; none, where none was
    /// recorded.
    pub(crate) entries: Arc<Vec<Pending>>,
}

impl Round {
    /// Gives everyone the answers. Only the first call counts.
    pub(crate) fn finish(&self, answers: Answers) {
        if self.answers.set(answers).is_err() {
            return;
        }
        let wakers = {
            let mut wakers = self.wakers.lock();
            self.done.notify_all();
            std::mem::take(&mut *wakers)
        };
        for waker in wakers {
            // An executor's code: its panic is not the ledger's, and the next one is to be woken as well.
            // Unwind safe because nothing of ours is in its hands.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                forget_panic(payload);
            }
        }
    }

    /// Whether the answers are there.
    pub(crate) fn is_finished(&self) -> bool {
        self.answers.get().is_some()
    }

    /// What entry `index` was, when that was recorded.
    pub(crate) fn what(&self, index: usize) -> Option<&What> {
        self.answers.get()?.entries.get(index).map(|pending| &pending.what)
    }

    /// Waits for the answer of entry `index`; `None` when `timeout` passes first.
    pub(crate) fn wait(&self, index: usize, timeout: Option<Duration>) -> Option<EntryResult> {
        let Some(timeout) = timeout else { return Some(pick(self.answers.wait(), index)) };
        let mut wakers = self.wakers.lock();
        self.done.wait_while_for(&mut wakers, |_| self.answers.get().is_none(), timeout);
        self.answers.get().map(|answers| pick(answers, index))
    }

    /// The answer of entry `index` if it is there; else `waker` is woken when it is.
    pub(crate) fn poll(&self, index: usize, waker: &Waker) -> Option<EntryResult> {
        if let Some(answers) = self.answers.get() {
            return Some(pick(answers, index));
        }
        let mut wakers = self.wakers.lock();
        if let Some(answers) = self.answers.get() {
            return Some(pick(answers, index));
        }
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
        None
    }
}

/// Lets go of what a panic carried, which the panic hook has printed. Dropping it is foreign code again,
/// and may panic for a second time.
fn forget_panic(payload: Box<dyn Any + Send>) {
    std::mem::forget(payload);
}

fn pick(answers: &Answers, index: usize) -> EntryResult {
    answers.results.get(index).cloned().unwrap_or_else(|| {
        let why = "the thread that wrote the group ended before it said what became of it".into();
        Err(Error::new(ErrorKind::InDoubt { why }))
    })
}

#[cfg(all(test, not(any(order_ledger_shuttle, order_ledger_loom))))]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by it, in its helpers as well")]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Woken>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn committed(seqs: &[u64]) -> Answers {
        let committed = |seq: &u64| Committed { seq: Seq(*seq), at: Timestamp::from_unix_ns(*seq) };
        let results = seqs.iter().map(|seq| Ok(Some(committed(seq)))).collect();
        Answers { results, entries: Arc::default() }
    }

    /// The seq of an answer that is there.
    fn seq(answer: Option<EntryResult>) -> Option<u64> {
        answer.map(|result| result.unwrap().unwrap().seq.0)
    }

    #[test]
    fn everyone_is_told_once_however_they_wait() {
        let round = Round::default();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert_eq!(seq(round.poll(0, &waker)), None);
        assert_eq!(seq(round.poll(0, &waker)), None, "the same waker is kept once");
        assert_eq!(seq(round.wait(0, Some(Duration::from_millis(1)))), None);
        std::thread::scope(|scope| {
            let for_ever = scope.spawn(|| round.wait(0, None));
            let for_long = scope.spawn(|| round.wait(1, Some(Duration::from_secs(60))));
            round.finish(committed(&[7, 8]));
            round.finish(Answers::default());
            assert_eq!(seq(for_ever.join().unwrap()), Some(7));
            assert_eq!(seq(for_long.join().unwrap()), Some(8));
        });
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(seq(round.poll(1, &waker)), Some(8));
        let missing = round.wait(2, None).unwrap().unwrap_err();
        assert!(matches!(missing.kind(), ErrorKind::InDoubt { .. }));
    }

    /// Panics, and what it panics with panics again when it is dropped.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the payload of a panic");
        }
    }

    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Panics>) {
            std::panic::panic_any(Bomb);
        }
    }

    #[test]
    fn a_waker_that_panics_in_every_way_keeps_nobody_asleep() {
        let round = Round::default();
        let woken = Arc::new(Woken::default());
        assert_eq!(seq(round.poll(0, &Waker::from(Arc::new(Panics)))), None);
        assert_eq!(seq(round.poll(0, &Waker::from(Arc::clone(&woken)))), None);
        round.finish(committed(&[7]));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }
}
