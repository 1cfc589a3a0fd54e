//! How a command fails: what happened, what is on disk, what to do next; and the exit codes.
//!
//! Always true: the numbers never change their meaning; scripts trust them.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::builder::styling::Reset;
use order_ledger::{Certainty, Error, ErrorKind};
use serde_json::json;

/// How a command ends. `check` answers with the numbers of Nagios: what is called No, Usage and SomeLines here is
/// warn, critical and unknown there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Exit {
    /// Done, and the answer is yes.
    Done,
    /// Done, and the answer is no: no such order, damage found, orders lost.
    No,
    /// Wrong usage, as clap ends it; of `verify`: can't tell.
    Usage,
    /// Some lines were not taken; all others are done.
    SomeLines,
    /// The ledger (or the input or output) can't be used.
    Unusable,
    /// Whoever read the output has closed it: 128 + SIGPIPE, as a shell reports it.
    OutputClosed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::No => 1,
            Exit::Usage => 2,
            Exit::SomeLines => 3,
            Exit::Unusable => 4,
            Exit::OutputClosed => 141,
        })
    }
}

/// Why a command could not go on.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The ledger said no.
    Ledger(Error),
    /// The arguments are wrong in a way that only the disk could show.
    Usage { what: String, advice: String },
    /// Something that is not the ledger can't be read or written.
    Io { doing: String, error: io::Error },
    /// The reader of the output is gone.
    OutputClosed,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Ledger(error)
    }
}

/// Only the output is written with `?`; every other failure names what was being done.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Io { doing: "writing the output".into(), error },
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        io::Error::from(error).into()
    }
}

impl Failure {
    pub(crate) fn io(doing: impl Into<String>, error: io::Error) -> Failure {
        Failure::Io { doing: doing.into(), error }
    }

    fn exit(&self) -> Exit {
        match self {
            Failure::Usage { .. } => Exit::Usage,
            Failure::Ledger(_) | Failure::Io { .. } => Exit::Unusable,
            Failure::OutputClosed => Exit::OutputClosed,
        }
    }

    pub(crate) fn what(&self) -> String {
        match self {
            Failure::Ledger(error) => error.to_string(),
            Failure::Usage { what, .. } => what.clone(),
            Failure::Io { doing, error } => format!("{doing}: {error}"),
            Failure::OutputClosed => "the output was closed".into(),
        }
    }

    pub(crate) fn advice(&self) -> &str {
        match self {
            Failure::Ledger(error) => error.advice(),
            Failure::Usage { advice, .. } => advice,
            Failure::Io { .. } => "see the system's message; running the command again is safe",
            Failure::OutputClosed => "",
        }
    }

    fn certainty(&self) -> &'static str {
        match self {
            Failure::Ledger(error) => certainty_name(error.certainty()),
            _ => "not_recorded",
        }
    }

    /// Says on standard error what happened, and answers the exit code.
    ///
    /// `is_verify`: what can't be looked at is an answer there, and has its own code.
    pub(crate) fn report(&self, json: bool, is_verify: bool) -> Exit {
        // Nobody reads on: nothing to say, and no place to say it.
        if matches!(self, Failure::OutputClosed) {
            return self.exit();
        }
        let mut text = anstream::stderr().lock();
        let written = match json {
            true => {
                let line = json!({
                    "error": self.what(),
                    "certainty": self.certainty(),
                    "on_disk": self.on_disk(),
                    "advice": self.advice(),
                });
                writeln!(text, "{line}")
            }
            false => {
                let (red, reset) = (crate::output::RED, Reset);
                writeln!(
                    text,
                    "{red}error:{reset} {}\non disk: {}\nnext: {}",
                    self.what(),
                    self.on_disk(),
                    self.advice()
                )
            }
        };
        // With standard error closed as well there is only the exit code left.
        drop(written);
        if is_verify { Exit::Usage } else { self.exit() }
    }

    fn on_disk(&self) -> &'static str {
        match self {
            Failure::Ledger(error) => certainty_words(error.certainty()),
            Failure::Usage { .. } => "nothing was changed",
            _ => "what was acknowledged before this stays recorded; nothing else was",
        }
    }
}

/// What is on disk, as one word for programs.
pub(crate) fn certainty_name(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::NotRecorded => "not_recorded",
        Certainty::Recorded(_) => "recorded",
        Certainty::Unknown => "unknown",
    }
}

/// What is on disk, as a sentence for people.
fn certainty_words(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::NotRecorded => {
            "nothing was recorded by this; what was answered before it stays recorded"
        }
        Certainty::Recorded(_) => "an order is recorded under this key",
        Certainty::Unknown => "not known; the same key will tell",
    }
}

/// Whether an order or a step failed because the ledger as a whole takes no more.
pub(crate) fn is_unusable(error: &Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::Invalid { .. }
            | ErrorKind::Conflict { .. }
            | ErrorKind::Refused { .. }
            | ErrorKind::RefusedForNow { .. }
            | ErrorKind::Overloaded { .. }
            | ErrorKind::DiskLow { .. }
            | ErrorKind::NoSuchOrder { .. }
            | ErrorKind::VersionMismatch { .. }
            | ErrorKind::AlreadyTerminal { .. }
            | ErrorKind::NoSuchStep { .. }
            | ErrorKind::MissingEvidence { .. }
            | ErrorKind::CommandConflict { .. }
            | ErrorKind::NoOpenNote { .. }
            | ErrorKind::NoOpenAlert { .. }
            | ErrorKind::NoSuchDispatch { .. }
            | ErrorKind::NotDead { .. }
            | ErrorKind::OutboxRuns
            | ErrorKind::BatchMember { .. }
            | ErrorKind::BatchConflict { .. }
            | ErrorKind::BatchKeyConflict { .. }
    )
}
