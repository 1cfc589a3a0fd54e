//! What is going to go wrong: errors of calls by their number, the moment of the power cut, syncs that lie.
//!
//! Always true: a plan changes nothing by itself; calls ask it once each, in order.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::host::SimHost;

/// An error of one call. A call that cannot have it (a short write of a read) goes well, see
/// [`faults_hit`](super::SimDisk::faults_hit).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The device fails. Any call; a write has changed any part of what it was to write, a sync has lost
    /// what was pending, other calls have done nothing.
    Eio,
    /// The device fails after the call did all of its work: the answer is an error and the effect is there.
    EioLate,
    /// No space. Calls that write or change names; a write has changed a part; a sync has lost what was
    /// pending (delayed allocation: the space was never there).
    Enospc,
    /// Over quota. As [`Fault::Enospc`].
    Edquot,
    /// The file system went read-only under us. Calls that write or change names, and opening a file to
    /// write, with no effect; a sync has lost what was pending.
    Erofs,
    /// A write of two bytes or more writes fewer than it was given, and says so.
    ShortWrite,
    /// A read of two bytes or more reads fewer than it could have, and says so.
    ShortRead,
    /// A signal broke off a read, a write or a file sync before it did anything.
    Interrupted,
}

impl Fault {
    pub(super) fn error(self) -> io::Error {
        // The numbers of Linux, so that the error is the one the kernel would give.
        match self {
            Fault::Eio | Fault::EioLate => io::Error::from_raw_os_error(5),
            Fault::Enospc => io::Error::from_raw_os_error(28),
            Fault::Edquot => io::Error::from_raw_os_error(122),
            Fault::Erofs => io::Error::from_raw_os_error(30),
            Fault::Interrupted => io::Error::from_raw_os_error(4),
            Fault::ShortWrite | Fault::ShortRead => io::ErrorKind::WriteZero.into(),
        }
    }

    fn can_hit(self, call: Call) -> bool {
        match self {
            Fault::Eio | Fault::EioLate => true,
            Fault::Enospc | Fault::Edquot => {
                matches!(call, Call::Change | Call::Write { .. } | Call::Sync)
            }
            Fault::Erofs => !matches!(call, Call::Ask | Call::Read { .. }),
            Fault::ShortWrite => matches!(call, Call::Write { bytes } if bytes > 1),
            Fault::ShortRead => matches!(call, Call::Read { bytes } if bytes > 1),
            Fault::Interrupted => {
                matches!(call, Call::Write { .. } | Call::Read { .. } | Call::Sync)
            }
        }
    }
}

/// What kind of call asks, as far as the faults differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Call {
    /// Changes nothing: list, size, free space, opening to read.
    Ask,
    /// Opens a file that exists, to write.
    OpenToWrite,
    /// Changes a name or a size, or syncs names.
    Change,
    /// Reads so many bytes.
    Read { bytes: usize },
    /// Writes so many bytes.
    Write { bytes: usize },
    /// Syncs a file.
    Sync,
}

/// A sync that answers Ok and has not done all of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Lie {
    /// The write that does not arrive: 1 is the first of those pending in the file.
    pub(super) nth: u64,
    /// Where it arrives instead, if anywhere: path and offset.
    pub(super) instead: Option<(String, u64)>,
}

/// What happens to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It goes well.
    Pass,
    /// The power goes off under it.
    PowerOff,
    /// It fails.
    Fail(Fault),
}

/// Everything that is scheduled to go wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// The calls so far.
    pub(super) calls: u64,
    /// The number of the call that the power goes off at.
    pub(super) power_off_at: Option<u64>,
    /// Errors by the number of the call.
    pub(super) fail_at: BTreeMap<u64, Fault>,
    /// The error of every call from this number on.
    pub(super) fail_from: Option<(u64, Fault)>,
    /// Calls that take long, by their number: how long, and on whose clock.
    pub(super) slow_at: BTreeMap<u64, (Duration, SimHost)>,
    /// The next syncs that lie, in order.
    pub(super) lies: Vec<Lie>,
    /// Faults and lies that have come true.
    pub(super) hits: u64,
}

impl Plan {
    pub(super) fn next_call(&mut self, call: Call) -> Verdict {
        self.calls += 1;
        if let Some((duration, host)) = self.slow_at.remove(&self.calls) {
            host.advance(duration);
        }
        if self.power_off_at.is_some_and(|at| self.calls >= at) {
            return Verdict::PowerOff;
        }
        let once = self.fail_at.remove(&self.calls);
        let always = self.fail_from.filter(|(from, _)| self.calls >= *from).map(|(_, fault)| fault);
        match once.or(always).filter(|fault| fault.can_hit(call)) {
            Some(fault) => {
                self.hits += 1;
                Verdict::Fail(fault)
            }
            None => Verdict::Pass,
        }
    }
}
