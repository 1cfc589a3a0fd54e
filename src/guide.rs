//! Guides, for reading: no code.
//!
//! - [`life`]: what happens to an order after it was taken, and how others hear of it
//! - [`metrics`]: what is counted and measured, every name; what can be wrong, and the cure
//! - [`watch`]: what stands still or fails, who is told, and what to do
//! - [`outbox`]: telling third parties: what "unknown" means, and why nobody else is asked then
//! - [`cost`]: what an order costs, how to choose batches and threads, what the disk must promise

pub mod cost;
pub mod life;
pub mod metrics;
pub mod outbox;
pub mod watch;
