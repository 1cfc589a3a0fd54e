//! How a rig ends when it is neither passed nor failed: skipped, or broken itself.

use std::fmt;

/// Why a rig could not do its work. Never a verdict on the ledger.
#[derive(Debug)]
pub enum Failure {
    /// Something that the rig needs is not on this machine.
    Skipped(String),
    /// A step of the rig failed.
    Broken(String),
}

pub type Result<T> = std::result::Result<T, Failure>;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Skipped(why) | Failure::Broken(why) => f.write_str(why),
        }
    }
}

pub fn broken(what: impl fmt::Display) -> Failure {
    Failure::Broken(what.to_string())
}

/// Adds what was being done to an error of the rig's own steps.
pub trait Doing<T> {
    fn doing(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure::Broken(format!("{what}: {error}")))
    }
}
