//! What happens between orders: the next segment's file, sealing of full segments, the idle seal that
//! proves the last group, the witness, and a look whether the directory is still ours.
//!
//! One thread in production; the simulator calls [`Committer::tick`] itself. Always true: nothing here
//! is needed for an acknowledgement, so all of it may be late; whatever writes to the log leads first.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::sync::{AtomicBool, AtomicU64};

use super::bell::Bell;
use super::lead::Unwinding;
use super::round::Round;
use super::{Committer, Core, Settings};
use crate::disk::{Open, is_full, is_missing, is_out_of_descriptors};
use crate::tables::manifest::Manifest;
use crate::wal::writer::{Closed, Writer};

/// Pause between two pieces of zeros. Source: DESIGN, "paced (256 KiB direct writes with pauses of 2 ms
/// kept the foreground p99.9 at 0.7-2.4 ms)".
const PAUSE_BETWEEN_ZEROS: Duration = Duration::from_millis(2);

/// The longest that the thread sleeps: a full disk is looked at again, and the directory, this often.
const TICK_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Upkeep {
    bell: Bell,
    /// There is a group that nothing proves yet.
    needs_seal: AtomicBool,
    last_group_ns: AtomicU64,
}

impl Upkeep {
    pub(crate) fn new(needs_seal: bool, now_ns: u64) -> Upkeep {
        Upkeep {
            bell: Bell::new(false),
            needs_seal: AtomicBool::new(needs_seal),
            last_group_ns: AtomicU64::new(now_ns),
        }
    }

    /// There is something to do.
    pub(crate) fn wake(&self) {
        self.bell.ring();
    }

    /// A group was written.
    pub(crate) fn note_group(&self, now_ns: u64) {
        self.last_group_ns.store(now_ns, Ordering::Relaxed);
        // From proven to unproven: the thread may be asleep for long, and must count from now.
        if !self.needs_seal.swap(true, Ordering::Relaxed) {
            self.wake();
        }
    }

    pub(crate) fn stop(&self) {
        self.bell.stop();
    }
}

impl Committer {
    /// The upkeep thread: one round of upkeep whenever there is something to do, until stopped.
    pub(crate) fn run_upkeep_thread(&self) {
        while !self.upkeep.bell.is_stopped() {
            self.tick();
            let pause = match self.upkeep.needs_seal.load(Ordering::Relaxed) {
                true => self.settings.seal_after.min(TICK_MAX),
                false => TICK_MAX,
            };
            self.upkeep.bell.wait(Some(pause.max(Duration::from_millis(1))));
        }
    }

    /// Does what there is to do. A panic poisons: without upkeep nothing is proven and no space reserved.
    pub(crate) fn tick(&self) {
        let mut guard = PoisonOnPanic { committer: self, armed: true };
        self.tick_once();
        self.counters.upkeep_at_ns.store(self.host.monotonic_ns(), Ordering::Relaxed);
        guard.armed = false;
    }

    fn tick_once(&self) {
        if self.poisoned().is_some() || self.check_owner().is_err() {
            return;
        }
        if let Ok(false) = self.disk.is_in_place() {
            self.poison("the ledger's directory was moved or removed while it was open");
            return;
        }
        // The descriptors would go on working, and orders would go into files without a name.
        let active = self.core.lock().writer.active_path();
        if self.disk.open(&active, Open::Read).is_err_and(|error| is_missing(&error)) {
            self.poison(format!("{active} was moved or removed while the ledger was open"));
            return;
        }
        let sealed = self.seal_closed_in_background();
        self.prepare_next();
        let idle_ns = self
            .host
            .monotonic_ns()
            .saturating_sub(self.upkeep.last_group_ns.load(Ordering::Relaxed));
        let idle = Duration::from_nanos(idle_ns) >= self.settings.seal_after;
        let proven = idle && self.seal_last_group();
        if sealed || proven {
            self.write_manifest();
        }
        // Elsewhere a thread does it.
        while !self.settings.threads && self.merge_once() {}
    }

    /// Whether the next segment's file should be made now: when this one is half full down to the
    /// reserve, so that it is there in time, and a small ledger never pays for it.
    pub(crate) fn wants_next_segment(&self, writer: &Writer) -> bool {
        let Settings { segment_bytes, disk_reserve_bytes, .. } = self.settings;
        let enough = (segment_bytes / 2).saturating_add(disk_reserve_bytes);
        self.preparer.ready_bytes() == 0 && writer.room_bytes() < enough
    }

    /// Bytes that the file system must have free for the next segment to be made.
    pub(crate) fn next_segment_wants(&self) -> u64 {
        self.settings.segment_bytes.saturating_add(self.settings.disk_free_min_bytes)
    }

    /// Makes the next segment's file when it is wanted, and learns whether the disk has room for it.
    fn prepare_next(&self) {
        // A large order may have found the disk full while this segment still has much room: then the
        // disk has to be looked at again as well, or nothing would ever say that it has room.
        let low = self.disk_low.load(Ordering::Relaxed);
        if !low && !self.wants_next_segment(&self.core.lock().writer) {
            return;
        }
        let wanted = self.next_segment_wants();
        let enough = self.disk.free_bytes().is_ok_and(|free| free >= wanted);
        let pause = || {
            if self.settings.threads {
                self.host.sleep(PAUSE_BETWEEN_ZEROS);
            }
        };
        let low = !enough
            || match self.preparer.prepare(self.settings.segment_bytes, &pause) {
                Ok(()) => false,
                // Another error is not "low": the leader makes the file itself and says what is wrong.
                Err(error) => is_full(&error),
            };
        self.disk_low.store(low, Ordering::Relaxed);
        self.note_room(&self.core.lock().writer);
    }

    /// Seals full segments without keeping the writer waiting. Answers whether one was sealed.
    fn seal_closed_in_background(&self) -> bool {
        let mut any = false;
        loop {
            let Some(closed) = self.core.lock().closed.first().cloned() else { return any };
            if !self.seal(&closed) {
                return any;
            }
            any = true;
            self.core.lock().closed.retain(|other| *other != closed);
        }
    }

    /// Seals full segments on the leader's time, when too many wait.
    pub(crate) fn seal_closed(&self, core: &mut Core) {
        core.closed.retain(|closed| !self.seal(closed));
    }

    /// Seals one segment. Answers false when it has to be tried again: the disk is full, or no
    /// descriptor is left to open it. Its keys then stay in memory, and after a crash the next open seals it.
    fn seal(&self, closed: &Closed) -> bool {
        let header = &closed.segment.header;
        let Some(sections) = self.lookup.tables.sections(header.number, header.first_seq) else {
            // The upkeep and the leader met at the same segment; the other one was first.
            return true;
        };
        match closed.segment.seal(&self.lookup.log.files, &closed.end, &sections) {
            Ok(()) => {
                self.lookup.tables.sealed(&closed.segment);
                self.merging.ring();
                true
            }
            Err(error) if is_full(&error) || is_out_of_descriptors(&error) => false,
            Err(error) => {
                self.poison(format!("sealing {}: {error}", closed.segment.path()));
                false
            }
        }
    }

    /// Writes a seal behind the last group, so that it is proven as well. Answers whether the witness has
    /// something new to say: also when there was no room for a seal, for then it is the only proof.
    pub(crate) fn seal_last_group(&self) -> bool {
        if !self.upkeep.needs_seal.load(Ordering::Relaxed) {
            return false;
        }
        {
            let mut queue = self.queue.lock();
            if queue.leading || !queue.entries.is_empty() {
                return false;
            }
            queue.leading = true;
        }
        let round = Round::default();
        let mut guard = Unwinding { committer: self, entries: &[], round: &round, armed: true };
        let written = {
            let mut core = self.core.lock();
            // Now that nobody else writes: a group may have failed since the caller looked (rule 11).
            match self.check_poison() {
                Ok(()) => {
                    let appended = core.writer.append_seal();
                    self.note_room(&core.writer);
                    Some(appended)
                }
                Err(_) => None,
            }
        };
        guard.armed = false;
        let Some(written) = written else {
            self.lead();
            return false;
        };
        // Cleared also when there was no room for it: the witness proves the group, and later the header
        // of the next segment.
        self.upkeep.needs_seal.store(false, Ordering::Relaxed);
        let durable = match written {
            Ok(_) => true,
            Err(error) => {
                // The error goes nowhere: nobody waits. The poison stays.
                drop(self.append_failed(error));
                false
            }
        };
        self.lead();
        durable
    }

    /// Writes how far the log is durable, for a later open to hold against it. A failure costs a
    /// witness, nothing else.
    pub(crate) fn write_manifest(&self) {
        let position = {
            let core = self.core.lock();
            // A witness may only say what a power cut can't take back.
            if let Err(error) = core.writer.sync_relaxed() {
                self.poison(format!("syncing a relaxed log: {error}"));
                return;
            }
            *core.writer.position()
        };
        let manifest = Manifest {
            ledger: self.lookup.log.issuer.ledger,
            next_seq: position.next_seq,
            next_group: position.next_group,
        };
        drop(manifest.write(&*self.disk));
    }
}

struct PoisonOnPanic<'a> {
    committer: &'a Committer,
    armed: bool,
}

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.committer.poison("a panic during the upkeep");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The thread may be asleep for a second: it is woken to stop, and when a group is the first that
    /// nothing proves, and not by every group.
    #[test]
    fn who_has_something_to_do_is_woken() {
        let upkeep = Upkeep::new(false, 0);
        let was_woken = || upkeep.bell.was_rung();
        assert!(!was_woken());
        upkeep.note_group(1);
        assert!(was_woken());
        upkeep.note_group(2);
        assert!(!was_woken());
        upkeep.stop();
        assert!(was_woken() && upkeep.bell.is_stopped());
    }
}
