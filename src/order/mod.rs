//! The words of the ledger, as pure values: no I/O, no clock, no locks.
//!
//! - [`id`]: [`Seq`], [`OrderId`], [`LedgerId`], [`Timestamp`]
//! - [`limits`]: how large each field may be, in one place
//! - [`submission`]: what a caller hands in
//! - [`fingerprint`]: what makes two submissions "the same content"
//! - [`state`]: the states of an order; [`lifecycle`]: which may follow which
//! - [`states`]: the same written as an enum; [`thresholds`]: after how long in one an order is worth a look
//! - [`receipt`]: the proof of acceptance
//! - [`transition`]: what is to be done with an order that exists
//! - [`note`]: what is noted about an order, and what resolves it
//! - [`dispatch`]: what third parties are to be told about an order, and what became of that
//! - [`hold`]: who may give no new orders for now
//! - [`linked`]: several things that are done together, or not at all
//! - [`alert`]: what the ledger raises when something stands still or fails
//! - [`event`]: what a record of the log says; [`consumer`]: the names of those who read it
//!
//! Every other module may use these; these use nobody.

pub(crate) mod alert;
pub(crate) mod consumer;
pub(crate) mod dispatch;
pub(crate) mod event;
pub(crate) mod fingerprint;
pub(crate) mod hold;
pub(crate) mod id;
pub(crate) mod lifecycle;
pub mod limits;
pub(crate) mod linked;
pub(crate) mod note;
pub(crate) mod receipt;
pub(crate) mod state;
pub(crate) mod states;
pub(crate) mod submission;
pub(crate) mod thresholds;
pub(crate) mod transition;

pub use alert::{
    Acknowledgement, Alert, AlertChange, AlertEvent, AlertKind, AlertLevel, AlertSubject,
    UnknownAlertLevel,
};
pub use dispatch::{Dispatch, DispatchEntry, DispatchState, Dispatched, Sent, Token, Witness};
pub use event::{Event, EventBody, EventKind, Order, Refusal};
pub use fingerprint::{Field, Fingerprint};
pub use hold::{Hold, HoldChange, HoldEntry};
pub use id::{LedgerId, OrderId, Seq, Timestamp};
pub use lifecycle::{Lifecycle, LifecycleBuilder, LifecycleError, StateRule};
pub use linked::{Batch, Linked, LinkedBatch, LinkedResult};
pub use note::{Note, NoteEntry, NoteKind, Noted, Resolution, ResolutionEntry, UnknownNoteKind};
pub use receipt::{Durability, How, Outcome, Present, Receipt, ReceiptError};
pub use state::{OwnState, State, UnknownState};
pub use states::OrderStates;
pub use submission::Submission;
pub use transition::{Evidence, Expect, Transition, Transitioned};
