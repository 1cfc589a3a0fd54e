//! The front door.
//!
//! - [`query`]: pages of orders

pub(crate) mod query;
