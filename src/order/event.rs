//! What a record of the log says, and an order as the records tell it.

use std::time::Duration;

use super::alert::{AlertChange, AlertKind, AlertLevel};
use super::dispatch::{Sent, Witness};
use super::fingerprint::Fingerprint;
use super::id::{OrderId, Seq, Timestamp};
use super::note::NoteKind;
use super::receipt::{Present, Receipt};
use super::state::State;
use super::transition::Evidence;

/// An order as the log tells it: what was submitted, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Order {
    /// The receipt that was given for it.
    pub receipt: Receipt,
    /// Where it stands now.
    pub now: Present,
    /// The submitting system. Source: the caller.
    pub client: Vec<u8>,
    /// The idempotency key. Source: the caller.
    pub key: Vec<u8>,
    /// What sort of order it is. Source: the caller.
    pub kind: Vec<u8>,
    /// The version of the payload's shape. Source: the caller.
    pub schema: u32,
    /// The account. Source: the caller.
    pub account: Vec<u8>,
    /// The order's number elsewhere. Source: the caller.
    pub external_ref: Vec<u8>,
    /// The content. Source: the caller, byte for byte.
    pub payload: Vec<u8>,
    /// When it expires, or has expired, if it has not come to an end before: accepted_at and
    /// [`Submission::expires_in`](crate::Submission::expires_in), added up. `None`: never.
    pub expires_at: Option<Timestamp>,
    /// After how long in a state it is worth a look, if it has a threshold of its own
    /// ([`Submission::warn_after`](crate::Submission::warn_after)). Source: the caller.
    pub warn_after: Option<Duration>,
    /// After how long in a state it needs somebody, the same way
    /// ([`Submission::critical_after`](crate::Submission::critical_after)). Source: the caller.
    pub critical_after: Option<Duration>,
    /// Why, when the order was refused for good.
    pub refusal: Option<Refusal>,
    /// The order that this one corrects, if it does. Source: the caller.
    pub corrects: Option<OrderId>,
    /// The linked batch that the order was taken with ([`Linked::batch`](crate::Linked::batch)), if it was.
    pub batch: Option<Seq>,
}

impl Order {
    /// The order's name.
    #[must_use]
    pub fn id(&self) -> OrderId {
        self.receipt.order
    }
}

/// Why an order was refused for good: by a validator, or because its client or account is held.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Refusal {
    /// A number that a program can act on. Source: the validator, or [`Refusal::HELD`].
    pub code: u32,
    /// A sentence for people, at most [`Refusal::REASON_BYTES_MAX`] bytes. Source: the validator,
    /// or whoever set the hold.
    pub reason: String,
}

impl Refusal {
    /// The code of an order whose client or account was held ([`Hold`](crate::Hold)). The codes from
    /// `0xFFFF_0000` on are the ledger's own: a validator takes smaller ones.
    pub const HELD: u32 = 0xFFFF_0001;
    /// Longest reason that is stored; a longer one is cut at a character boundary.
    pub const REASON_BYTES_MAX: usize = 512;
}

/// One record of the log, as history and the change feed show it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Event {
    /// Its position.
    pub seq: Seq,
    /// When it was committed, in ledger time.
    pub at: Timestamp,
    /// The order it is about.
    pub order: OrderId,
    /// The linked batch that it is a part of ([`Linked::batch`](crate::Linked::batch)), if it is.
    pub batch: Option<Seq>,
    /// What happened.
    pub body: EventBody,
}

/// What happened to an order.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EventBody {
    /// The order was taken.
    Accepted {
        /// What stands for its content.
        fingerprint: Fingerprint,
        /// After how long in a state it is worth a look, if it says so itself.
        warn_after: Option<Duration>,
        /// After how long in a state it needs somebody, if it says so itself.
        critical_after: Option<Duration>,
    },
    /// The order was refused for good; it will never be anything else.
    Refused {
        /// What stands for its content.
        fingerprint: Fingerprint,
        /// Why.
        refusal: Refusal,
    },
    /// The order went from one state to another.
    Moved {
        /// The state before.
        from: State,
        /// The state after.
        to: State,
        /// The order's version after it.
        version: u64,
        /// The key of the command; empty when it had none. Source: the caller.
        command_key: Vec<u8>,
        /// What spoke for it. Source: the caller.
        evidence: Vec<Evidence>,
        /// Why, in words. Source: the caller; the ledger, when the order has expired.
        reason: String,
    },
    /// Something was noted about the order.
    Noted {
        /// What sort of note it is.
        kind: NoteKind,
        /// Whether it waits to be resolved.
        asks: bool,
        /// The key of the command; empty when it had none. Source: the caller.
        command_key: Vec<u8>,
        /// Who says it. Source: the caller.
        author: Vec<u8>,
        /// What it says. Source: the caller.
        text: Vec<u8>,
    },
    /// An open note was resolved.
    Resolved {
        /// The seq of the note.
        note: Seq,
        /// The key of the command; empty when it had none. Source: the caller.
        command_key: Vec<u8>,
        /// Who says it. Source: the caller.
        author: Vec<u8>,
        /// What it says. Source: the caller.
        text: Vec<u8>,
    },
    /// The order stands still for too long, or something else is wrong with it: an alert was raised, changed, or
    /// cleared. Neither the state nor the version of the order changes.
    Alerted {
        /// The name of the alert: the seq of the record that raised it.
        alert: Seq,
        /// What happened to it.
        change: AlertChange,
        /// What is wrong.
        kind: AlertKind,
        /// How bad it is.
        level: AlertLevel,
        /// When it began: when the order entered the state.
        since: Timestamp,
        /// Who acknowledged it; empty for other changes. Source: the caller.
        by: Vec<u8>,
        /// In words, for people; of an acknowledgement, those of the caller.
        detail: Vec<u8>,
    },
    /// A third party is to be told something about the order.
    Dispatched {
        /// The name of the route. Source: the caller.
        route: String,
        /// The key of the command; empty when it had none. Source: the caller.
        command_key: Vec<u8>,
        /// What is to be told. Source: the caller.
        body: Vec<u8>,
    },
    /// A provider was about to be told: recorded before.
    Attempted {
        /// The seq of the dispatch.
        dispatch: Seq,
        /// The provider.
        provider: String,
        /// How often a provider was told, with this time.
        attempt: u32,
    },
    /// What became of an attempt.
    Reported {
        /// The seq of the dispatch.
        dispatch: Seq,
        /// The provider.
        provider: String,
        /// The attempt.
        attempt: u32,
        /// What became of it.
        report: Sent,
        /// Who says so.
        by: Witness,
    },
    /// A dispatch was given up, and waits for a person: a dead letter.
    GivenUp {
        /// The seq of the dispatch.
        dispatch: Seq,
        /// Why.
        why: String,
    },
    /// A dispatch that was given up was sent on its way again.
    Redriven {
        /// The seq of the dispatch.
        dispatch: Seq,
        /// Why, in words. Source: the caller.
        why: String,
    },
}

/// What sort of thing happened: an [`EventBody`] without what it says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// [`EventBody::Accepted`]
    Accepted,
    /// [`EventBody::Refused`]
    Refused,
    /// [`EventBody::Moved`]
    Moved,
    /// [`EventBody::Noted`]
    Noted,
    /// [`EventBody::Resolved`]
    Resolved,
    /// [`EventBody::Alerted`]
    Alerted,
    /// [`EventBody::Dispatched`]
    Dispatched,
    /// [`EventBody::Attempted`]
    Attempted,
    /// [`EventBody::Reported`]
    Reported,
    /// [`EventBody::GivenUp`]
    GivenUp,
    /// [`EventBody::Redriven`]
    Redriven,
}

impl EventBody {
    /// The state that this event brings the order into; `None` when it leaves the state as it is, like a note.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        match self {
            EventBody::Accepted { .. } => Some(State::Accepted),
            EventBody::Refused { .. } => Some(State::Refused),
            EventBody::Moved { to, .. } => Some(*to),
            EventBody::Alerted { .. }
            | EventBody::Noted { .. }
            | EventBody::Resolved { .. }
            | EventBody::Dispatched { .. }
            | EventBody::Attempted { .. }
            | EventBody::Reported { .. }
            | EventBody::GivenUp { .. }
            | EventBody::Redriven { .. } => None,
        }
    }

    /// What sort of thing happened.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            EventBody::Accepted { .. } => EventKind::Accepted,
            EventBody::Refused { .. } => EventKind::Refused,
            EventBody::Moved { .. } => EventKind::Moved,
            EventBody::Noted { .. } => EventKind::Noted,
            EventBody::Resolved { .. } => EventKind::Resolved,
            EventBody::Alerted { .. } => EventKind::Alerted,
            EventBody::Dispatched { .. } => EventKind::Dispatched,
            EventBody::Attempted { .. } => EventKind::Attempted,
            EventBody::Reported { .. } => EventKind::Reported,
            EventBody::GivenUp { .. } => EventKind::GivenUp,
            EventBody::Redriven { .. } => EventKind::Redriven,
        }
    }
}
