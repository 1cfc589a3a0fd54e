//! Care for a ledger that is there: looking after what is on disk, apart from using it.
//!
//! - [`mod@verify`]: reads every byte and says what is wrong; [`report`]: how it says it
//! - [`opened`]: a segment's file; [`groups`], [`tail`]: its two halves, judged
//! - [`lives`]: steps of orders, each held against the one before it; [`linked`]: linked batches
//! - [`runs`]: the key tables that stand for several segments
//!
//! Uses recovery, tables, the log and the disk; nobody uses it but callers. Never writes.

pub(crate) mod dispatches;
mod groups;
mod linked;
mod lives;
pub(crate) mod opened;
pub(crate) mod report;
mod runs;
pub(crate) mod tail;
#[cfg(test)]
mod tests;
pub(crate) mod verify;

pub use report::{Finding, Severity, Soundness, VerifyReport};
pub use verify::{verify, verify_on, verify_with};
