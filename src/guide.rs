//! Guides, for reading: no code.
//!
//! - [`cost`]: what an order costs, how to choose batches and threads, what the disk must promise

pub mod cost;
