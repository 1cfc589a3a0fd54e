//! How this program fails. What a shard finds is no failure of this kind.

use std::fmt;
use std::io;

pub(crate) type Result<T> = std::result::Result<T, Failure>;

#[derive(Debug)]
pub(crate) enum Failure {
    /// Called in a way that makes no sense.
    Usage(String),
    /// Could not be carried out.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Failure::Usage(what) | Failure::Broken(what)) = self;
        f.write_str(what)
    }
}

pub(crate) fn broken(what: impl Into<String>) -> Failure {
    Failure::Broken(what.into())
}

/// What was being done when an error came.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl fmt::Display) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| broken(format!("{what}: {error}")))
    }
}
