//! What became of a line, how many became what, and how a command that takes lines ends.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::errors::Exit;

/// What became of a line.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Became {
    Fresh,
    Replayed,
    Joined,
    Conflict,
    Refused,
    Invalid,
    /// A write or sync failed under it: it may be recorded or not.
    InDoubt,
}

/// How many lines became what.
#[derive(Debug)]
pub(crate) struct Tally {
    fresh: u64,
    replayed: u64,
    joined: u64,
    conflict: u64,
    refused: u64,
    invalid: u64,
    in_doubt: u64,
    unusable: bool,
    /// What to say when the ledger takes no more.
    stopped: &'static str,
}

impl Tally {
    pub(crate) fn new(stopped: &'static str) -> Tally {
        Tally {
            fresh: 0,
            replayed: 0,
            joined: 0,
            conflict: 0,
            refused: 0,
            invalid: 0,
            in_doubt: 0,
            unusable: false,
            stopped,
        }
    }

    /// `unusable`: the ledger as a whole takes no more.
    pub(crate) fn count(&mut self, outcome: Became, unusable: bool) {
        *match outcome {
            Became::Fresh => &mut self.fresh,
            Became::Replayed => &mut self.replayed,
            Became::Joined => &mut self.joined,
            Became::Conflict => &mut self.conflict,
            Became::Refused => &mut self.refused,
            Became::Invalid => &mut self.invalid,
            Became::InDoubt => &mut self.in_doubt,
        } += 1;
        self.unusable |= unusable;
    }

    /// How the command ends.
    pub(crate) fn exit(&self) -> Exit {
        if self.unusable || self.in_doubt > 0 {
            Exit::Unusable
        } else if self.conflict + self.refused + self.invalid > 0 {
            Exit::SomeLines
        } else {
            Exit::Done
        }
    }

    /// A sentence on standard error when some lines were not taken, or when somebody watches.
    pub(crate) fn summary(&self, from_pipe: bool) {
        let watched = io::stderr().is_terminal() && !from_pipe;
        if self.exit() != Exit::Done || watched {
            // Standard error may be closed; the exit code says the same.
            drop(writeln!(anstream::stderr().lock(), "{self}"));
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            ("fresh", self.fresh),
            ("replayed", self.replayed),
            ("joined", self.joined),
            ("conflict", self.conflict),
            ("refused", self.refused),
            ("invalid", self.invalid),
            ("in doubt", self.in_doubt),
        ];
        let lines: u64 = counts.iter().map(|(_, count)| count).sum();
        write!(f, "{lines} {}:", if lines == 1 { "line" } else { "lines" })?;
        let mut separator = " ";
        for (name, count) in counts.iter().filter(|(_, count)| *count > 0) {
            write!(f, "{separator}{count} {name}")?;
            separator = ", ";
        }
        if self.exit() == Exit::Unusable {
            write!(f, "; {}", self.stopped)?;
        }
        Ok(())
    }
}
