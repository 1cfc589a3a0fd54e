//! The simulated surroundings of a process: a clock that only moves when it is told or read, sleep that
//! takes no time, randomness from a seed.
//!
//! Always true: equal seeds and equal calls give equal answers; the monotonic clock never goes back,
//! whatever is done to the wall clock.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::prng::Prng;
use crate::disk::Host;

/// The wall clock of a new host: 2026-01-01T00:00:00Z.
const WALL_NS_START: u64 = 1_767_225_600_000_000_000;

/// What each reading of a clock moves both clocks by: two readings differ, as real ones do.
const READING_NS: u64 = 1_000;

/// A simulated process's surroundings. Clones are handles on the same ones.
#[derive(Clone, Debug)]
pub struct SimHost {
    state: Arc<Mutex<HostState>>,
}

#[derive(Debug)]
struct HostState {
    wall_ns: u64,
    monotonic_ns: u64,
    process_id: u32,
    random: Prng,
}

impl HostState {
    fn advance(&mut self, ns: u64) {
        self.wall_ns = self.wall_ns.saturating_add(ns);
        self.monotonic_ns = self.monotonic_ns.saturating_add(ns);
    }
}

impl SimHost {
    /// A host at the start of 2026, with process id 1000.
    #[must_use]
    pub fn new(seed: u64) -> SimHost {
        let random = Prng::new(seed);
        let state = HostState { wall_ns: WALL_NS_START, monotonic_ns: 0, process_id: 1000, random };
        SimHost { state: Arc::new(Mutex::new(state)) }
    }

    /// The host as the program under test sees it.
    #[must_use]
    pub fn as_host(&self) -> Arc<dyn Host> {
        Arc::new(self.clone())
    }

    /// Sets the wall clock, back too; the monotonic one is not touched.
    pub fn set_wall_ns(&self, wall_ns: u64) {
        self.state.lock().wall_ns = wall_ns;
    }

    /// Lets time pass, on both clocks.
    pub fn advance(&self, duration: Duration) {
        self.state.lock().advance(to_ns(duration));
    }

    /// Makes this another process, as fork(2) does under the feet of the program.
    pub fn set_process_id(&self, process_id: u32) {
        self.state.lock().process_id = process_id;
    }
}

impl Host for SimHost {
    fn wall_ns(&self) -> u64 {
        let mut state = self.state.lock();
        state.advance(READING_NS);
        state.wall_ns
    }

    fn monotonic_ns(&self) -> u64 {
        let mut state = self.state.lock();
        state.advance(READING_NS);
        state.monotonic_ns
    }

    /// Random, repeatable, and fit for no secret.
    fn fill_random(&self, buffer: &mut [u8]) {
        self.state.lock().random.fill(buffer);
    }

    /// Advances both clocks and returns at once. Lets other threads run first, so that one that sleeps in
    /// a loop does not keep the others from what it waits for.
    fn sleep(&self, duration: Duration) {
        self.advance(duration);
        std::thread::yield_now();
    }

    fn process_id(&self) -> u32 {
        self.state.lock().process_id
    }
}

fn to_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
