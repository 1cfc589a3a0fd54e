//! What the threads of one group sleep on: one futex word, so that waking all of them is one system call.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::futex;

/// The group takes records or is being written.
const WAITING: u32 = 0;
/// The disk is free: one of the group's threads has to write it.
const LEADER_WANTED: u32 = 1;
const WRITTEN: u32 = 2;
const FAILED: u32 = 3;

/// Why a thread no longer waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wake {
    /// It is this thread that leads: nobody else was told.
    Lead,
    /// The group is on disk.
    Written,
    /// It may be on disk or not.
    Failed,
}

#[derive(Default, Debug)]
pub(super) struct Word(AtomicU32);

impl Word {
    pub(super) fn wait(&self) -> io::Result<Wake> {
        loop {
            match self.0.load(Ordering::Acquire) {
                WRITTEN => return Ok(Wake::Written),
                FAILED => return Ok(Wake::Failed),
                LEADER_WANTED if self.is_taken() => return Ok(Wake::Lead),
                // Returns at once if the word is no longer what it was.
                _ => match futex::wait(&self.0, futex::Flags::PRIVATE, WAITING, None) {
                    Ok(()) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                },
            }
        }
    }

    /// One thread takes the lead, and one only.
    fn is_taken(&self) -> bool {
        let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
        self.0.compare_exchange(LEADER_WANTED, WAITING, acquire, relaxed).is_ok()
    }

    /// Makes one of the waiting threads the leader.
    pub(super) fn hand_over(&self) -> io::Result<()> {
        self.0.store(LEADER_WANTED, Ordering::Release);
        futex::wake(&self.0, futex::Flags::PRIVATE, 1)?;
        Ok(())
    }

    /// Wakes all of them.
    pub(super) fn finish(&self, written: bool) -> io::Result<()> {
        self.0.store(if written { WRITTEN } else { FAILED }, Ordering::Release);
        futex::wake(&self.0, futex::Flags::PRIVATE, i32::MAX.unsigned_abs())?;
        Ok(())
    }
}
