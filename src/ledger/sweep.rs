//! The sweeper: one thread that sleeps until an order expires, and then records that it has.
//!
//! Always true: nothing depends on it, for an order expires at its instant, to the nanosecond, for whoever asks
//! for a step of it; what the sweeper adds is that it is recorded also when nobody asks. What is due is told by
//! the views, so that a look costs what is due and memory is that of one page; each hit is held against the log
//! before anything is written. What fails is tried again after a pause, and never in a circle without one.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::commit::Committer;
use crate::commit::bell::Bell;
use crate::commit::expiry::Expired;
use crate::order::{Seq, Timestamp};
use crate::sync::Count;
use crate::views::Views;

/// Most orders that are asked of the views, and recorded, at once.
const PAGE_ORDERS: usize = 256;
/// Pause before what failed is tried again: a full queue or disk, views that do not answer.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// The longest that the thread sleeps while an order is to expire: the wall clock may be set forward meanwhile. It
/// is only read then.
const SLEEP_MAX: Duration = Duration::from_secs(1);
const SLEEP_MIN: Duration = Duration::from_millis(1);
/// The timer is not set.
const NEVER: u64 = u64::MAX;

/// What the sweeper sleeps by: the first instant at which an order expires.
#[derive(Debug)]
pub(crate) struct Timer {
    bell: Bell,
    next_ns: Count,
}

impl Default for Timer {
    fn default() -> Timer {
        Timer { bell: Bell::new(false), next_ns: Count::new(NEVER) }
    }
}

impl Timer {
    /// The views have an order that expires then. Wakes the sweeper only if it would sleep longer.
    pub(crate) fn hear_of(&self, instant: Timestamp) {
        let instant_ns = instant.as_unix_ns();
        if self.next_ns.fetch_min(instant_ns, Ordering::SeqCst) > instant_ns {
            self.bell.ring();
        }
    }

    pub(crate) fn stop(&self) {
        self.bell.stop();
    }

    /// The sweeper's thread, until stopped.
    pub(crate) fn run(&self, committer: &Committer, views: &Views) {
        while !self.bell.is_stopped() && committer.check_goes_on().is_ok() {
            // Before the views are asked: what comes into them from now on sets it again.
            self.next_ns.store(NEVER, Ordering::SeqCst);
            let swept = sweep(committer, views, self);
            if swept.again {
                self.bell.wait(Some(RETRY_PAUSE));
                continue;
            }
            if let Some(instant) = swept.next {
                self.next_ns.fetch_min(instant.as_unix_ns(), Ordering::SeqCst);
            }
            self.sleep(committer);
        }
    }

    /// Sleeps until an order is due, or until stopped.
    fn sleep(&self, committer: &Committer) {
        while !self.bell.is_stopped() {
            let pause = match self.next_ns.load(Ordering::SeqCst) {
                NEVER => None,
                next_ns => match next_ns.saturating_sub(committer.ledger_now().as_unix_ns()) {
                    0 => return,
                    left_ns => Some(Duration::from_nanos(left_ns).clamp(SLEEP_MIN, SLEEP_MAX)),
                },
            };
            self.bell.wait(pause);
        }
    }
}

/// What came of a sweep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Swept {
    /// How many orders were recorded as expired.
    pub(crate) orders: u64,
    /// When the next one is due, as far as is known.
    next: Option<Timestamp>,
    /// Something is left that is due, or may be.
    again: bool,
}

/// Records which orders have expired.
pub(crate) fn sweep(committer: &Committer, views: &Views, timer: &Timer) -> Swept {
    let mut swept = Swept { orders: 0, next: None, again: false };
    let now = committer.ledger_now();
    let mut after = None;
    while !timer.bell.is_stopped() {
        let Some(page) = views.expiring(after, PAGE_ORDERS) else {
            swept.again = true;
            break;
        };
        let due: Vec<Seq> =
            page.iter().take_while(|(instant, _)| *instant <= now).map(|(_, seq)| *seq).collect();
        let Expired { orders, some_left } = committer.expire(&due);
        swept.orders += orders;
        swept.again |= some_left;
        swept.next = page.get(due.len()).map(|(instant, _)| *instant);
        if due.len() < PAGE_ORDERS {
            break;
        }
        after = page.last().copied();
    }
    swept
}

#[cfg(all(test, not(any(order_ledger_shuttle, order_ledger_loom))))]
mod tests {
    use super::*;

    #[test]
    fn only_what_expires_earlier_wakes_the_sweeper() {
        let timer = Timer::default();
        let hear = |ns| {
            timer.hear_of(Timestamp::from_unix_ns(ns));
            timer.bell.was_rung()
        };
        assert!(hear(100));
        assert!(!hear(100) && !hear(200));
        assert!(hear(99));
        assert!(!hear(u64::MAX));
        timer.stop();
        assert!(timer.bell.is_stopped() && timer.bell.was_rung());
    }
}
