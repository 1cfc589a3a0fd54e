//! The words of the ledger, as pure values: no I/O, no clock, no locks.
//!
//! - [`id`]: [`Seq`], [`OrderId`], [`LedgerId`], [`Timestamp`]
//! - [`limits`]: how large each field may be, in one place
//! - [`submission`]: what a caller hands in
//! - [`fingerprint`]: what makes two submissions "the same content"
//! - [`lifecycle`]: the states of an order
//! - [`receipt`]: the proof of acceptance
//! - [`event`]: what a record of the log says
//!
//! Every other module may use these; these use nobody.

pub(crate) mod event;
pub(crate) mod fingerprint;
pub(crate) mod id;
pub(crate) mod lifecycle;
pub mod limits;
pub(crate) mod receipt;
pub(crate) mod submission;

pub use event::{Event, EventBody, Order, Refusal};
pub use fingerprint::{Field, Fingerprint};
pub use id::{LedgerId, OrderId, Seq, Timestamp};
pub use lifecycle::State;
pub use receipt::{Durability, How, Outcome, Present, Receipt, ReceiptError};
pub use submission::Submission;
