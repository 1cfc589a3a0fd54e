//! What a thread of the ledger sleeps by: until there is something to do, or it shall end.
//!
//! Always true: a ring is not lost when it comes before the sleep, and many are as good as one.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::sync::{AtomicBool, Condvar, Mutex};

#[derive(Debug)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    wake: Condvar,
    stopped: AtomicBool,
}

impl Bell {
    /// `rung`: there is something to do from the beginning.
    pub(crate) fn new(rung: bool) -> Bell {
        Bell { rung: Mutex::new(rung), wake: Condvar::new(), stopped: AtomicBool::new(false) }
    }

    /// There is something to do.
    pub(crate) fn ring(&self) {
        let mut rung = self.rung.lock();
        if !*rung {
            *rung = true;
            self.wake.notify_one();
        }
    }

    /// The thread shall end.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.ring();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Sleeps until it rings, or for so long at most.
    pub(crate) fn wait(&self, longest: Option<Duration>) {
        let mut rung = self.rung.lock();
        match longest {
            None => self.wake.wait_while(&mut rung, |rung| !*rung),
            Some(longest) if !*rung => {
                self.wake.wait_for(&mut rung, longest);
            }
            Some(_) => {}
        }
        *rung = false;
    }

    #[cfg(test)]
    pub(crate) fn was_rung(&self) -> bool {
        std::mem::take(&mut *self.rung.lock())
    }
}
