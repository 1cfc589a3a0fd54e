//! One round of group commit, shared by everyone who waits for it: the answers of all its entries
//! arrive together, with one wake-up for all.

use std::task::Waker;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, ErrorKind, Result};
use crate::order::{Seq, Timestamp};

/// What became of one entry.
pub(crate) type EntryResult = Result<Committed>;

/// Where an entry was committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Committed {
    pub(crate) seq: Seq,
    pub(crate) at: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct Round {
    state: Mutex<RoundState>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct RoundState {
    results: Option<Vec<EntryResult>>,
    wakers: Vec<Waker>,
}

impl Round {
    /// Gives everyone the answers. Only the first call counts.
    pub(crate) fn finish(&self, results: Vec<EntryResult>) {
        let wakers = {
            let mut state = self.state.lock();
            if state.results.is_some() {
                return;
            }
            state.results = Some(results);
            self.done.notify_all();
            std::mem::take(&mut state.wakers)
        };
        for waker in wakers {
            waker.wake();
        }
    }

    /// Waits for the answer of entry `index`; `None` when `timeout` passes first.
    pub(crate) fn wait(&self, index: usize, timeout: Option<Duration>) -> Option<EntryResult> {
        let mut state = self.state.lock();
        match timeout {
            None => self.done.wait_while(&mut state, |state| state.results.is_none()),
            Some(timeout) => {
                let missing = |state: &mut RoundState| state.results.is_none();
                self.done.wait_while_for(&mut state, missing, timeout);
            }
        }
        state.results.as_ref().map(|results| pick(results, index))
    }

    /// The answer of entry `index` if it is there; else `waker` is woken when it is.
    pub(crate) fn poll(&self, index: usize, waker: &Waker) -> Option<EntryResult> {
        let mut state = self.state.lock();
        if let Some(results) = &state.results {
            return Some(pick(results, index));
        }
        if !state.wakers.iter().any(|known| known.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        None
    }
}

fn pick(results: &[EntryResult], index: usize) -> EntryResult {
    results.get(index).cloned().unwrap_or_else(|| {
        let why = "the thread that wrote the group ended before it said what became of it".into();
        Err(Error::new(ErrorKind::InDoubt { why }))
    })
}
