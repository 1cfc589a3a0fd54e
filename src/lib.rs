//! An embedded order store: an order that was acknowledged is never lost and never taken twice.

mod admission;
mod bytes;
mod care;
mod commit;
pub mod disk;
mod error;
mod ledger;
mod order;
mod recovery;
mod sync;
mod tables;
mod views;
mod wal;

pub use admission::validator::{Committed, Validator, Verdict};
pub use care::{Finding, Severity, Soundness, VerifyReport, verify, verify_on, verify_with};
pub use commit::ticket::Ticket;
pub use error::{Certainty, Damage, Error, ErrorKind, Result};
pub use ledger::{
    GroupPadding, Ledger, Options, OrderIter, Orders, Page, PageToken, Query, Reader,
    Stats, Views, ViewsStats,
};
pub use order::limits;
pub use order::{
    Durability, Event, EventBody, Field, Fingerprint, How, LedgerId, Order, OrderId, Outcome,
    Present, Receipt, ReceiptError, Refusal, Seq, State, Submission, Timestamp,
};
pub use recovery::report::RecoveryReport;
