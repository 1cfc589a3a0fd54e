//! The calls of parking_lot and std that we use, on the locks of shuttle or of loom: both have those of std.
//!
//! Always true: what std and parking_lot promise holds here as well, and nothing more. Neither scheduler
//! has a clock: a wait for a time ends when it is notified.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[cfg(order_ledger_loom)]
use loom::sync as under;
#[cfg(order_ledger_shuttle)]
use shuttle::sync as under;

pub(crate) use under::atomic::{AtomicBool, AtomicU64};

/// Not `yield_now`: that tells the scheduler that this thread has nothing to do, which is not so.
#[cfg(order_ledger_shuttle)]
pub(super) fn step() {
    AtomicBool::new(false).load(Ordering::SeqCst);
}

#[derive(Debug, Default)]
pub(crate) struct Mutex<T: ?Sized>(under::Mutex<T>);

/// `None` only while a wait has given the lock away.
#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T: ?Sized>(Option<under::MutexGuard<'a, T>>);

#[derive(Debug, Default)]
pub(crate) struct Condvar(under::Condvar);

#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(under::RwLock<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(under::Mutex::new(value))
    }
}

impl<T: ?Sized> Mutex<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[expect(clippy::expect_used, reason = "only empty inside a wait, which has the guard")]
    fn deref(&self) -> &T {
        self.0.as_ref().expect("a guard outside a wait holds its lock")
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[expect(clippy::expect_used, reason = "only empty inside a wait, which has the guard")]
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("a guard outside a wait holds its lock")
    }
}

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar(under::Condvar::new())
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        if let Some(held) = guard.0.take() {
            guard.0 = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub(crate) fn wait_while<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) {
        while condition(&mut **guard) {
            self.wait(guard);
        }
    }

    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _: Duration) {
        self.wait(guard);
    }

    pub(crate) fn wait_while_for<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        condition: impl FnMut(&mut T) -> bool,
        _: Duration,
    ) {
        self.wait_while(guard, condition);
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// The value lies in std's cell, and a flag of the scheduler's says that it does: a look at the cell is a
/// step, and shows what Release and Acquire promise, as with std's own.
#[derive(Debug)]
pub(crate) struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    is_filled: AtomicBool,
    filling: Mutex<()>,
    filled: Condvar,
}

impl<T> Default for OnceLock<T> {
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> OnceLock<T> {
        OnceLock {
            value: std::sync::OnceLock::new(),
            is_filled: AtomicBool::new(false),
            filling: Mutex::new(()),
            filled: Condvar::new(),
        }
    }

    /// Err: somebody was first, and what he put there is seen from now on.
    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        let _filling = self.filling.lock();
        self.value.set(value)?;
        self.is_filled.store(true, Ordering::Release);
        self.filled.notify_all();
        Ok(())
    }

    pub(crate) fn get(&self) -> Option<&T> {
        if self.is_filled.load(Ordering::Acquire) { self.value.get() } else { None }
    }

    pub(crate) fn wait(&self) -> &T {
        let mut filling = self.filling.lock();
        loop {
            match self.value.get() {
                Some(value) => return value,
                None => self.filled.wait(&mut filling),
            }
        }
    }
}

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> RwLock<T> {
        RwLock(under::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> under::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> under::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
