//! Locks, waiting, and the atomics that carry an ordering: parking_lot and std in every build but two.
//! A leaf.
//!
//! - `--cfg order_ledger_shuttle`: each step of these names is a point at which shuttle may change threads,
//!   so that tests run many thousands of schedules of the same code (`tests/it/schedules/`).
//! - `--cfg order_ledger_loom`: the same for loom, which tries all schedules of a small case, and for
//!   atomics all values that their orderings allow (`tests/models/`).
//!
//! Nothing else differs between the builds. Counters that only people read are plain atomics of std in all
//! of them: no decision rests on them, and each would multiply the schedules.

#[cfg(any(order_ledger_shuttle, order_ledger_loom))]
mod checked;

#[cfg(not(any(order_ledger_shuttle, order_ledger_loom)))]
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
/// Of std: a cell whose waiters sleep on one futex word; parking_lot has none to wait for.
#[cfg(not(any(order_ledger_shuttle, order_ledger_loom)))]
pub(crate) use std::sync::OnceLock;
#[cfg(not(any(order_ledger_shuttle, order_ledger_loom)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64};

/// Set before anybody else can look: no step of a schedule.
pub(crate) use std::sync::OnceLock as SetOnce;
/// For people, and for guesses: no step of a schedule.
pub(crate) use std::sync::atomic::AtomicU64 as Count;

#[cfg(any(order_ledger_shuttle, order_ledger_loom))]
pub(crate) use checked::{AtomicBool, AtomicU64, Condvar, Mutex, MutexGuard, OnceLock, RwLock};

/// A point at which a scheduler may change threads although no lock is near: what is behind it takes
/// long in the real world. Nothing in other builds.
#[cfg(any(test, feature = "sim"))]
pub(crate) fn step() {
    #[cfg(order_ledger_shuttle)]
    checked::step();
}
