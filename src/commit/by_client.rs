//! How many orders of a client were taken lately, and how many were submitted again that were taken already.
//!
//! Always true: memory is bounded, whatever names clients give themselves; of too many, the busiest are kept.
//! What is counted is for people and alerts: no answer rests on it.

use std::collections::HashMap;

use crate::sync::Mutex;

/// Most clients that are counted in each of the two windows. When there are more, the half that did least is
/// forgotten, so that the next one costs as little as all others, on average.
const CLIENTS_MAX: usize = 1_024;

/// What was counted of a client.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Tallied {
    pub(crate) orders: u64,
    /// Answered with an earlier receipt, or joined to one that was on its way.
    pub(crate) repeats: u64,
}

impl Tallied {
    fn sum(self) -> u64 {
        self.orders.saturating_add(self.repeats)
    }
}

type Window = HashMap<Box<[u8]>, Tallied>;

#[derive(Debug)]
pub(crate) struct Tally {
    window_ns: u64,
    windows: Mutex<Windows>,
}

#[derive(Debug)]
struct Windows {
    now: Window,
    before: Window,
    /// When `now` was begun.
    begun_ns: u64,
}

impl Tally {
    /// Counts at least the last `window_ns`, and at most twice as much.
    pub(crate) fn new(window_ns: u64, now_ns: u64) -> Tally {
        let windows = Windows { now: Window::new(), before: Window::new(), begun_ns: now_ns };
        Tally { window_ns, windows: Mutex::new(windows) }
    }

    /// An order of each of these was taken.
    pub(crate) fn taken<'a>(&self, clients: impl Iterator<Item = &'a [u8]>) {
        let mut windows = self.windows.lock();
        for client in clients {
            if let Some(tallied) = windows.of(client) {
                tallied.orders += 1;
            }
        }
    }

    /// This one has submitted what was taken already.
    pub(crate) fn repeated(&self, client: &[u8]) {
        if let Some(tallied) = self.windows.lock().of(client) {
            tallied.repeats += 1;
        }
    }

    /// What was counted, by client.
    pub(crate) fn busiest(&self, now_ns: u64) -> Vec<(Vec<u8>, Tallied)> {
        let mut windows = self.windows.lock();
        if now_ns.saturating_sub(windows.begun_ns) >= self.window_ns {
            windows.before = std::mem::take(&mut windows.now);
            windows.begun_ns = now_ns;
        }
        let mut sums = windows.before.clone();
        for (client, tallied) in &windows.now {
            let sum = sums.entry(client.clone()).or_default();
            sum.orders = sum.orders.saturating_add(tallied.orders);
            sum.repeats = sum.repeats.saturating_add(tallied.repeats);
        }
        drop(windows);
        let mut sums: Vec<_> = sums.into_iter().map(|(name, sum)| (name.into_vec(), sum)).collect();
        sums.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        sums
    }
}

impl Windows {
    fn of(&mut self, client: &[u8]) -> Option<&mut Tallied> {
        if !self.now.contains_key(client) {
            if self.now.len() >= CLIENTS_MAX {
                self.forget_half();
            }
            self.now.insert(client.into(), Tallied::default());
        }
        self.now.get_mut(client)
    }

    fn forget_half(&mut self) {
        let mut sums: Vec<u64> = self.now.values().map(|tallied| tallied.sum()).collect();
        let middle = sums.len() / 2;
        let (_, median, _) = sums.select_nth_unstable(middle);
        let median = *median;
        self.now.retain(|_, tallied| tallied.sum() > median);
    }
}

#[cfg(all(test, not(any(order_ledger_shuttle, order_ledger_loom))))]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_are_kept_and_memory_is_bounded_whatever_clients_call_themselves() {
        let tally = Tally::new(100, 0);
        for _ in 0..50 {
            tally.taken([&b"web"[..], b"web"].into_iter());
            tally.repeated(b"web");
        }
        for n in 0..100_000_u32 {
            tally.repeated(&n.to_le_bytes());
        }
        let found = tally.busiest(1);
        assert!(found.len() <= CLIENTS_MAX, "{}", found.len());
        let web = found.iter().find(|(client, _)| client == b"web").unwrap();
        assert_eq!(web.1, Tallied { orders: 100, repeats: 50 });
        // What is older than two windows is forgotten.
        let of_web = |now_ns| tally.busiest(now_ns).iter().any(|(client, _)| client == b"web");
        assert!(of_web(99) && of_web(100) && of_web(199));
        assert!(!of_web(200));
    }
}
