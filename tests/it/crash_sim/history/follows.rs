//! Reads on in another process that follows the ledger, and holds what it shows against the book.

use order_ledger::{ErrorKind, Event, Result, Seq};

use super::History;
use crate::crash_sim::plan::ALL;

impl History<'_> {
    /// The follower reads on by so many events at most, or to the end; it is opened at its place when there is none.
    pub(super) fn follow(&mut self, max: usize) {
        if self.disk.is_off() {
            return;
        }
        self.listen();
        // Whoever wants a lot wants all of it.
        let mut all = false;
        for _ in 0..if max < ALL { 1 } else { usize::MAX } {
            let read = self.beside.follow(max);
            let is_over = read.as_ref().map_or(true, |(events, _)| events.is_empty());
            all = is_over && read.is_ok();
            self.followed(read);
            if is_over {
                break;
            }
        }
        let Some(ledger) = &self.ledger else { return };
        // Looking costs calls of the disk, of which one may be to fail.
        if all && !self.armed && ledger.poisoned().is_none() {
            let records = ledger.stats().unwrap().records;
            assert_eq!(
                self.book.followed.next(),
                Seq(records + 1),
                "what is acknowledged is shown"
            );
        }
    }

    pub(super) fn followed(&mut self, read: Result<(Vec<Event>, Seq)>) {
        match read {
            Ok((events, next)) => {
                self.figures.followed += events.len() as u64;
                self.book.followed.reads(events, next);
            }
            Err(error) => {
                let unmade = matches!(error.kind(), ErrorKind::NotALedger { .. }) && !self.made;
                assert!(self.is_troubled() || unmade, "a follower was told {error}");
            }
        }
    }
}
