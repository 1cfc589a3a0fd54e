//! What happened to orders, in order, at least once: read from the log, and how far each reader is kept in it.
//!
//! - [`filter`]: what a consumer wants to hear of
//! - [`consumer`]: a named reader with a durable cursor
//!
//! Reads the log; writes only by way of `commit`. Always true: only what is durable is delivered, in the order
//! of the log and without a gap; a consumer that is slow, or gone, costs those who submit nothing.

pub(crate) mod consumer;
pub(crate) mod filter;

pub use consumer::{Consumer, ParkedEvent};
pub use filter::EventFilter;
