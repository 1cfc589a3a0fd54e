//! Locks and waiting: parking_lot (and one cell of std) in every build but one. A leaf.
//!
//! Under `--cfg order_ledger_shuttle` the same names stand for locks whose every step is a point at
//! which a scheduler may change threads, so that tests can run thousands of schedules of the same code
//! (tests/it/schedules.rs). Nothing else differs between the two builds.

#[cfg(not(order_ledger_shuttle))]
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
/// Of std: a cell whose waiters sleep on one futex word; parking_lot has none to wait for.
#[cfg(not(order_ledger_shuttle))]
pub(crate) use std::sync::OnceLock;

#[cfg(order_ledger_shuttle)]
pub(crate) use scheduled::{Condvar, Mutex, MutexGuard, OnceLock, RwLock};

/// The calls of parking_lot and std that we use, on the scheduler's locks.
#[cfg(order_ledger_shuttle)]
mod scheduled {
    use std::ops::{Deref, DerefMut};
    use std::sync::PoisonError;
    use std::time::Duration;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T: ?Sized>(shuttle::sync::Mutex<T>);

    /// `None` only while a wait has given the lock away.
    #[derive(Debug)]
    pub(crate) struct MutexGuard<'a, T: ?Sized>(Option<shuttle::sync::MutexGuard<'a, T>>);

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(shuttle::sync::Condvar);

    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(shuttle::sync::Mutex::new(value))
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
            Condvar(shuttle::sync::Condvar::new())
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

        /// The scheduler has no time: a wait ends when it is notified.
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

    /// The value lies in std's cell; a lock makes every look at it a step of the scheduler.
    #[derive(Debug)]
    pub(crate) struct OnceLock<T> {
        value: std::sync::OnceLock<T>,
        step: Mutex<()>,
        filled: Condvar,
    }

    impl<T> Default for OnceLock<T> {
        fn default() -> OnceLock<T> {
            let (value, step) = (std::sync::OnceLock::new(), Mutex::default());
            OnceLock { value, step, filled: Condvar::new() }
        }
    }

    impl<T> OnceLock<T> {
        pub(crate) fn set(&self, value: T) -> Result<(), T> {
            let _step = self.step.lock();
            self.value.set(value)?;
            self.filled.notify_all();
            Ok(())
        }

        pub(crate) fn get(&self) -> Option<&T> {
            let _step = self.step.lock();
            self.value.get()
        }

        pub(crate) fn wait(&self) -> &T {
            let mut step = self.step.lock();
            loop {
                match self.value.get() {
                    Some(value) => return value,
                    None => self.filled.wait(&mut step),
                }
            }
        }
    }

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> RwLock<T> {
            RwLock(shuttle::sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> shuttle::sync::RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn write(&self) -> shuttle::sync::RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
