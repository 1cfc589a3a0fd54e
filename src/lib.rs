//! order-ledger
mod error;
mod order;
pub mod disk;
pub use error::*;
pub use order::*;
