//! order-ledger
mod bytes;
pub mod disk;
mod error;
mod order;
mod views;
mod wal;
pub use error::*;
pub use order::*;
