//! The oracle for a follower in another process: what it has shown, and up to where.
//!
//! Always true: it has shown every event up to its place, once and in order, and each of them stays as it was shown.

use order_ledger::{Event, Seq};

use super::steps::Told;

#[derive(Debug)]
pub(super) struct Followed {
    shown: Vec<Event>,
    /// The first seq that it has not looked at.
    next: Seq,
}

impl Default for Followed {
    fn default() -> Followed {
        Followed { shown: Vec::new(), next: Seq::FIRST }
    }
}

impl Followed {
    /// It has read on.
    pub(super) fn reads(&mut self, events: Vec<Event>, next: Seq) {
        for event in events {
            assert!(event.seq >= self.next, "shown before, or not in order: {event:?}");
            self.next = event.seq.next();
            self.shown.push(event);
        }
        assert!(next >= self.next, "it went back from {} to {next}", self.next);
        self.next = next;
    }

    pub(super) fn next(&self) -> Seq {
        self.next
    }

    /// Somebody sees all of a log.
    pub(super) fn check(&self, all: &[Told]) {
        let events = all.iter().flat_map(|told| &told.history);
        let mut events: Vec<&Event> = events.filter(|event| event.seq < self.next).collect();
        events.sort_by_key(|event| event.seq);
        for (there, shown) in events.iter().zip(&self.shown) {
            assert_eq!(*there, shown, "shown otherwise, or passed over");
        }
        let missing = self.shown.get(events.len()..).unwrap_or_default();
        assert!(missing.is_empty(), "shown, and gone: {missing:?}");
        let unseen = events.get(self.shown.len()..).unwrap_or_default();
        assert!(unseen.is_empty(), "passed over: {unseen:?}");
    }
}
