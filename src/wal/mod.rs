//! The truth: an append-only log of records in segments. Knows seqs, times and bytes, not orders
//! (but for [`record`] and [`issuer`], which turn bodies into values of `order`).
//!
//! - [`format`]: the bytes of the log, described once; start here
//! - [`frame`], [`record`]: one record, its frame and its body; [`issuer`]: what it means to a caller
//! - [`scan`]: the groups of a segment from front to back, and how they end
//! - [`blocks`]: what was read of the tables of sealed segments, kept in memory
//! - [`section`], [`segment`]: a segment open for reading, and how it is sealed
//! - [`recent`]: the newest groups, kept in memory
//! - [`log`]: all segments, and the border up to which records may be seen
//! - [`together`]: records that are asked for together, with few reads
//! - [`buffer`], [`prepare`], [`writer`]: aligned bytes; the next file ahead of need; the one door for writing
//! - [`rules`]: what a log gets wrong, and which test goes red when this one does
//!
//! Whether a log may be used at all is decided in `recovery`.

pub(crate) mod blocks;
pub(crate) mod buffer;
pub(crate) mod format;
pub(crate) mod frame;
pub(crate) mod issuer;
pub(crate) mod log;
pub(crate) mod prepare;
pub(crate) mod recent;
pub(crate) mod record;
pub(crate) mod rules;
pub(crate) mod scan;
pub(crate) mod section;
pub(crate) mod segment;
pub(crate) mod together;
pub(crate) mod writer;
