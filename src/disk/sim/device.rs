//! The handle that a test holds on the simulated disk: mount it, cut its power, schedule its faults.
//!
//! Always true: nothing here is counted as a call of the program under test.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::crash::{Crash, CrashReport};
use super::faults::{Fault, Lie};
use super::host::SimHost;
use super::mount::Mount;
use super::state::State;
use crate::disk::Disk;

/// A simulated disk with one ledger directory on it. Clones are handles on the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the content: it is megabytes.
        let state = self.lock_state();
        f.debug_struct("SimDisk")
            .field("seed", &state.seed)
            .field("life", &state.life)
            .field("io_calls", &state.plan.calls)
            .field("is_off", &state.is_off)
            .finish_non_exhaustive()
    }
}

/// A disk at one moment: content on both sides of the cache, pending changes, scheduled faults, counters.
///
/// Taking one costs little, whatever the size of the files: copies share what they have in common.
#[derive(Clone)]
pub struct Snapshot {
    state: State,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("seed", &self.state.seed).finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk. The seed decides how much of a failing write is left.
    #[must_use]
    pub fn new(seed: u64) -> SimDisk {
        SimDisk { state: Arc::new(Mutex::new(State::new(seed))) }
    }

    /// The disk as the program under test sees it, until the next power cut, kill or restore: a thread
    /// that outlives its simulated process can do nothing any more. Mount again for the next process.
    #[must_use]
    pub fn as_disk(&self) -> Arc<dyn Disk> {
        let life = self.lock_state().life;
        Arc::new(Mount::new(self.clone(), life))
    }

    /// Locks the state for one call of the program. A real call takes long, so that others may do much
    /// before it: under a scheduler, threads may change here.
    pub(super) fn call(&self) -> MutexGuard<'_, State> {
        crate::sync::step();
        self.lock_state()
    }

    pub(super) fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    // The ends of a process.

    /// Cuts the power, decides what has reached the platter, and brings the power back. All handles and
    /// mounts of before are dead, all locks are free. Scheduled errors stay scheduled, a scheduled power
    /// cut does not.
    pub fn crash(&self, crash: Crash) -> CrashReport {
        self.lock_state().crash(crash)
    }

    /// Kills the process: all handles and mounts are dead and all locks are free, and nothing that was
    /// written is lost, synced or not. Pending changes stay pending. Brings the power back if it was off.
    pub fn kill(&self) {
        self.lock_state().start_life();
    }

    /// Lets the power go off at the `n`-th call from now; 1 is the next one, 0 is at once. That call fails
    /// (a write may leave some of its first sectors in the cache), and so does every one after it until
    /// [`SimDisk::crash`] or [`SimDisk::kill`].
    pub fn power_off_after(&self, n: u64) {
        let mut state = self.lock_state();
        if n == 0 {
            state.is_off = true;
        } else {
            state.plan.power_off_at = Some(state.plan.calls.saturating_add(n));
        }
    }

    /// Whether the power went off and nobody brought it back.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.lock_state().is_off
    }

    /// How many calls the program has made: every call of [`Disk`], [`DiskFile`](crate::disk::DiskFile)
    /// and [`DiskLock`](crate::disk::DiskLock) but `display_path`, failed ones included. Calls of the
    /// dead, and those without power, do not count.
    #[must_use]
    pub fn io_calls(&self) -> u64 {
        self.lock_state().plan.calls
    }

    /// How many units the next power cut would decide about, in this order: for each file (in the order
    /// of their creation) its sectors that pending writes would change, then its size if that is pending;
    /// then the pending changes of names, one by one. See [`CrashMode::Subset`](super::CrashMode::Subset).
    #[must_use]
    pub fn pending_units(&self) -> usize {
        self.lock_state().pending_units()
    }

    /// How many files and locks the living process holds.
    #[must_use]
    pub fn open_handles(&self) -> u64 {
        self.lock_state().files.values().map(|node| node.open).sum()
    }

    /// The disk at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { state: self.lock_state().clone() }
    }

    /// Puts the disk back to an earlier moment, or makes it a copy of another disk. The process of then is
    /// not brought back: handles, mounts and locks end as at a [`SimDisk::kill`], and power is on.
    pub fn restore(&self, snapshot: &Snapshot) {
        let mut state = self.lock_state();
        let life = state.life.max(snapshot.state.life);
        *state = snapshot.state.clone();
        state.life = life;
        state.start_life();
    }

    // Scheduled faults.

    /// Lets the `n`-th call from now fail; 1 is the next one. Several calls may be scheduled.
    pub fn fail_call(&self, n: u64, fault: Fault) {
        let mut state = self.lock_state();
        let at = state.plan.calls.saturating_add(n.max(1));
        state.plan.fail_at.insert(at, fault);
    }

    /// Lets the `n`-th call from now and all calls after it fail; 1 is the next one.
    pub fn fail_from(&self, n: u64, fault: Fault) {
        let mut state = self.lock_state();
        state.plan.fail_from = Some((state.plan.calls.saturating_add(n.max(1)), fault));
    }

    /// Loses a write: the next sync of a file with at least `nth` pending writes (1 is the first) answers
    /// Ok, and the bytes of that write never arrive. The cache shows them until it is dropped. Several may
    /// be scheduled: each sync takes the first that is left.
    pub fn lose_write(&self, nth: u64) {
        self.lock_state().plan.lies.push(Lie { nth, instead: None });
    }

    /// Misdirects a write: as [`SimDisk::lose_write`], but the bytes arrive at `offset` of the file
    /// `path`, behind the cache. What would lie past the end of that file is lost.
    pub fn misdirect_write(&self, nth: u64, path: &str, offset: u64) {
        self.lock_state().plan.lies.push(Lie { nth, instead: Some((path.to_owned(), offset)) });
    }

    /// Lets the `n`-th call from now take `duration` on the clock of `host`; 1 is the next one. What is due
    /// by time (a seal, a file for the next segment) then falls between other orders, and groups begin
    /// elsewhere.
    pub fn slow_call(&self, n: u64, duration: Duration, host: &SimHost) {
        let mut state = self.lock_state();
        let at = state.plan.calls.saturating_add(n.max(1));
        state.plan.slow_at.insert(at, (duration, host.clone()));
    }

    /// Takes back all scheduled faults, lies and power cuts, and makes everything readable again.
    pub fn clear_faults(&self) {
        let mut state = self.lock_state();
        state.plan.power_off_at = None;
        state.plan.fail_at.clear();
        state.plan.fail_from = None;
        state.plan.lies.clear();
        state.plan.slow_at.clear();
        for node in state.files.values_mut() {
            node.unreadable.clear();
        }
    }

    /// How many scheduled errors and lies have come true. An error scheduled at a call that cannot have it
    /// does not: a test that counts on a fault looks here.
    #[must_use]
    pub fn faults_hit(&self) -> u64 {
        self.lock_state().plan.hits
    }

    /// Sets the size of the disk, in whole sectors; names take no space. Without this call it is 1 TiB.
    /// Files already there stay, also when they are larger.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock_state().capacity_bytes = Some(bytes);
    }

    /// Lets files take writes past the page cache, which are durable in the call that writes them, as ext4
    /// has them; without this call they are written and synced.
    pub fn set_past_cache(&self, takes_past_cache: bool) {
        self.lock_state().takes_past_cache = takes_past_cache;
    }

    /// Lets [`Disk::is_in_place`] answer this, as if somebody renamed the directory under the ledger.
    pub fn set_in_place(&self, is_in_place: bool) {
        self.lock_state().is_in_place = is_in_place;
    }
}
