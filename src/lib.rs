//! order-ledger
mod bytes;
pub mod disk;
mod error;
mod ledger;
mod order;
mod views;
mod wal;
pub use error::*;
pub use order::*;
pub use ledger::query::{Page, PageToken, Query};
