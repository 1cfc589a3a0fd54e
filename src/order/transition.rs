//! What a caller asks to be done with an order that exists, and the answer.

use super::id::{OrderId, Seq, Timestamp};
use super::receipt::{How, Present};
use super::state::State;

/// A step that an order is to take, once.
///
/// **Idempotency**: with a [command key](Transition::command_key) the step is taken once, however often it
/// is asked for; a repeat is answered with the first result. Without one, asking for the state that the
/// order is in already is a success that writes nothing, unless a version is expected.
///
/// **Limits**: see [`limits`](crate::limits).
///
/// ```
/// use order_ledger::{Ledger, State, Submission, Transition};
/// # let dir = tempfile::tempdir().unwrap();
/// let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
/// let order = ledger.submit(&Submission::new("web-shop", "cart-17", "2 x tea"))?.receipt.order;
/// let shipped = Transition::new(order, State::Completed)
///     .command_key("parcel-9")
///     .evidence("tracking_number", "1Z999")
///     .expect_version(1);
/// let done = ledger.transition(&shipped)?;
/// assert_eq!((done.from, done.to, done.version), (State::Accepted, State::Completed, 2));
/// assert_eq!(ledger.get(order)?.unwrap().now.state, State::Completed);
/// # Ok::<(), order_ledger::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition {
    pub(crate) order: OrderId,
    pub(crate) to: State,
    pub(crate) expect: Expect,
    /// Empty: none.
    pub(crate) command_key: Vec<u8>,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) reason: String,
}

/// What must be true of an order for a step to be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Expect {
    /// Nothing: the step is taken from wherever the lifecycle allows it.
    #[default]
    Anything,
    /// The order has this version: nobody changed it since it was looked at.
    Version(u64),
    /// The order is in this state.
    State(State),
}

/// Something that speaks for a step: a tracking number, who signed, what the bank said.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Evidence {
    /// What it is: 1 to 32 of a to z, 0 to 9 and `_`. Source: the caller.
    pub name: String,
    /// What it says. Source: the caller, byte for byte.
    pub value: Vec<u8>,
}

impl Transition {
    /// `order` is to go to the state `to`.
    #[must_use]
    pub fn new(order: OrderId, to: State) -> Transition {
        Transition {
            order,
            to,
            expect: Expect::Anything,
            command_key: Vec::new(),
            evidence: Vec::new(),
            reason: String::new(),
        }
    }

    /// Only if the order has this version (as [`Present::version`] told).
    #[must_use]
    pub fn expect_version(mut self, version: u64) -> Transition {
        self.expect = Expect::Version(version);
        self
    }

    /// Only if the order is in this state.
    #[must_use]
    pub fn expect_state(mut self, state: State) -> Transition {
        self.expect = Expect::State(state);
        self
    }

    /// The name of this command, made before the first attempt: 1 to 255 bytes, in the scope of the order.
    #[must_use]
    pub fn command_key(mut self, key: impl Into<Vec<u8>>) -> Transition {
        self.command_key = key.into();
        self
    }

    /// Brings along a piece of evidence. The lifecycle may demand some; any may be brought.
    #[must_use]
    pub fn evidence(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Transition {
        self.evidence.push(Evidence { name: name.into(), value: value.into() });
        self
    }

    /// Why, in words for people: at most [`REASON_BYTES_MAX`](crate::limits::REASON_BYTES_MAX) bytes.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Transition {
        self.reason = reason.into();
        self
    }

    /// The order that is to be changed.
    #[must_use]
    pub fn order(&self) -> OrderId {
        self.order
    }
}

/// A step that was taken.
///
/// **Durability**: when you hold one, the step is on disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Transitioned {
    /// The order.
    pub order: OrderId,
    /// The record that says so; for a state that was reached already, the one that reached it.
    pub seq: Seq,
    /// When it was committed, in ledger time.
    pub at: Timestamp,
    /// The state before.
    pub from: State,
    /// The state that was asked for.
    pub to: State,
    /// The order's version after this step.
    pub version: u64,
    /// Whether this call took the step.
    pub how: How,
    /// Where the order stands now: behind `to`, when it went on since.
    pub now: Present,
}
