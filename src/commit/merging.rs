//! The merging of key tables: behind everything else, on a thread of its own, piece by piece.
//!
//! In the simulator the upkeep does it, all at once. Always true: nothing waits for it, and nothing but time
//! depends on it: a merge that fails, or is cut off, leaves the tables as they were.

use std::time::Duration;

use super::Committer;
use crate::disk::random_u64;
use crate::tables::merged::{Merge, Span};
use crate::wal::section::SectionError;

/// Pause between two pieces of 256 KiB, so that a merge takes a part of the disk and not all of it: 128 MB/s
/// at most.
const PAUSE: Duration = Duration::from_millis(2);

impl Committer {
    /// The merge thread: merges whatever there is to merge whenever a segment was sealed, until stopped.
    pub(crate) fn run_merge_thread(&self) {
        while !self.merging.is_stopped() {
            self.merging.wait(None);
            while self.merge_once() {}
        }
    }

    /// Merges the runs that are next. Answers whether there may be more to do.
    pub(crate) fn merge_once(&self) -> bool {
        let may_go_on = || !self.merging.is_stopped() && self.poisoned().is_none();
        if !may_go_on() || self.check_owner().is_err() {
            return false;
        }
        let (log, tables) = (&self.lookup.log, &self.lookup.tables);
        for name in tables.take_spoiled() {
            drop(self.disk.remove(&name.path()));
        }
        let Some(wanted) = tables.wanted() else { return false };
        let segments = log.segments();
        let start = segments.partition_point(|it| it.header.number < wanted.first);
        let end = segments.partition_point(|it| it.header.number <= wanted.last);
        let Some(segments) = segments.get(start..end) else { return false };
        let (Some(span), Some(segment)) = (Span::of(segments), segments.first()) else {
            return false;
        };
        // Orders go first: never the space of the next segment.
        let wants = span.file_bytes().saturating_add(self.next_segment_wants());
        if self.disk.free_bytes().is_ok_and(|free| free < wants) {
            return false;
        }
        let go_on = || {
            if self.settings.threads {
                self.host.sleep(PAUSE);
            }
            may_go_on()
        };
        let merge = Merge {
            disk: &*self.disk,
            files: &log.files,
            blocks: segment.blocks(),
            ledger: log.issuer.ledger,
            nonce: random_u64(&*self.host),
            go_on: &go_on,
        };
        let runs: Vec<_> = wanted.runs.iter().map(|(_, run)| run.clone()).collect();
        match merge.run(&span, &runs) {
            Ok(run) => {
                let made = run.file.clone();
                let done = tables.merged(&span, run);
                let surplus = match done {
                    true => runs.iter().filter_map(|run| run.file.as_ref()).collect(),
                    // A part was found damaged meanwhile, and replaced: the run is of no use.
                    false => made.iter().collect::<Vec<_>>(),
                };
                for name in surplus {
                    // What stays costs space, and goes at the next opening.
                    drop(self.disk.remove(&name.path()));
                }
                done
            }
            Err(SectionError::Damaged { .. }) => {
                // Found before anybody asked: what is damaged is replaced, and not tried again as it is.
                wanted.runs.iter().any(|(numbers, run)| {
                    run.entries().any(|entry| entry.is_err())
                        && tables.distrust(log, numbers, run).is_ok()
                })
            }
            Err(SectionError::Io(_)) => false,
        }
    }
}
