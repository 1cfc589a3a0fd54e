//! The floors: what the disk takes alone, and what the least possible engine takes on top.
//!
//! - `block`: bytes at an address that direct writes accept
//! - `segment`: a file that was filled with zeros, written durably
//! - `raw`: the disk without any engine
//! - `core`: checksums, keys in memory and group commit, and nothing else
//! - `word`: what waiting threads sleep on

mod block;
pub(crate) mod core;
pub(crate) mod raw;
pub(crate) mod segment;
mod word;
