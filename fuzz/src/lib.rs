//! What the fuzz targets share, and what each of them does. The files in `fuzz_targets/` are only doors.
//!
//! - [`model`]: what a ledger owes its callers, kept outside the ledger; the oracle of all targets
//! - [`lives`]: the same about the steps of an order; [`model::batches`], [`model::cursors`]: about what is recorded
//!   together, and about those who follow along; [`model::stuck`], [`model::alerts`]: about what stands still;
//!   [`model::dispatches`], [`model::outbox`]: about third parties; [`model::notes`], [`model::holds`]
//! - [`shown`]: what a ledger shows of its log
//! - [`format`]: the checksums of the log a second time, to get damaged bytes past them
//! - [`watch`]: a disk that holds what the log does to its files against the rules
//! - [`program`]: a ledger that lives through operations, errors and crashes
//! - [`ledgers`], [`damage`]: ledgers that were built well, and what happens to their files
//! - [`real`]: directories on a real disk, for the target that needs one
//! - the targets: [`decode_segment`], [`open_dir`], [`ops_crash`], [`ops_io_errors`],
//!   [`derived_divergence`], [`limits`], [`verify`], [`views_replaced`]
//!
//! A violation is a panic; everything follows from the input, so a crash file is a complete report.

pub mod damage;
pub mod decode_segment;
pub mod derived_divergence;
pub mod format;
pub mod ledgers;
pub mod limits;
pub mod lives;
pub mod model;
pub mod open_dir;
pub mod ops_crash;
pub mod ops_io_errors;
pub mod program;
pub mod real;
pub mod shown;
pub mod verify;
pub mod views_replaced;
pub mod watch;

use order_ledger::{Options, Views};

/// The smallest segment that the simulated disk allows: rotation comes soon.
pub const SEGMENT_BYTES: u64 = 16 * 1024;

/// The options of every ledger here: small files, nothing kept free, no views.
pub fn small() -> Options {
    Options::new()
        .segment_bytes(SEGMENT_BYTES)
        .disk_reserve_bytes(0)
        .disk_free_min_bytes(0)
        .views(Views::Off)
}
