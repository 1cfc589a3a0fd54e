//! What third parties are to be told about an order, and what became of that.
//!
//! Always true: a dispatch changes neither the state nor the version of its order; the [`Token`] that a third party
//! is given depends on the ledger, the order, the dispatch and the third party, and on nothing else: it is the same
//! at every attempt and after every restart.

use std::fmt;

use sha2::{Digest, Sha256};

use super::id::{LedgerId, OrderId, Seq, Timestamp};
use super::receipt::How;

/// Separates these hashes from every other use of SHA-256.
const TOKEN_DOMAIN: &[u8] = b"order-ledger/token";
/// Part of what is hashed. Third parties remember tokens: it never changes.
const TOKEN_VERSION: u32 = 1;

/// Something that a third party is to be told about an order: to charge a card, to book a parcel.
///
/// It is recorded in one write with the order or the step that causes it, as a member of a [`LinkedBatch`]; then there
/// is no order that is never paid for because a process died in between, and no payment without an order. The
/// [`Outbox`] tells the third parties of its route, and records what came of it.
///
/// **Idempotency**: in a batch, that of the batch. Alone ([`Ledger::dispatch`]) it needs a
/// [command key](Dispatch::command_key): what is sent twice by mistake is a second charge.
///
/// **Limits**: see [`limits`](crate::limits).
///
/// [`LinkedBatch`]: crate::LinkedBatch
/// [`Outbox`]: crate::Outbox
/// [`Ledger::dispatch`]: crate::Ledger::dispatch
///
/// ```
/// use order_ledger::{Dispatch, DispatchState, Ledger, LinkedBatch, LinkedResult, Submission};
/// # let dir = tempfile::tempdir().unwrap();
/// let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
/// let order = Submission::new("web-shop", "cart-17", "2 x tea");
/// let batch = LinkedBatch::of_order(order).dispatch(Dispatch::of_member(0, "payment", "8.40 EUR"));
/// let LinkedResult::Submitted(taken) = &ledger.linked(&batch)?.results[0] else { unreachable!() };
/// let told = &ledger.dispatches(taken.receipt.order)?[0];
/// assert_eq!((&told.route[..], &told.state), ("payment", &DispatchState::Waiting));
/// # Ok::<(), order_ledger::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dispatch {
    pub(crate) about: About,
    pub(crate) route: String,
    /// Empty: none.
    pub(crate) command_key: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// The order that a dispatch is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum About {
    Order(OrderId),
    /// The one that this member of the batch takes, counted from 0.
    Member(usize),
}

impl Dispatch {
    /// To be told about `order`, which exists, by the route of this name: 1 to
    /// [`ROUTE_BYTES_MAX`](crate::limits::ROUTE_BYTES_MAX) visible ASCII characters. The body is opaque bytes, at most
    /// [`DISPATCH_BYTES_MAX`](crate::limits::DISPATCH_BYTES_MAX).
    pub fn new(order: OrderId, route: impl Into<String>, body: impl Into<Vec<u8>>) -> Dispatch {
        let (about, command_key) = (About::Order(order), Vec::new());
        Dispatch { about, route: route.into(), command_key, body: body.into() }
    }

    /// To be told about the order that the member at `index` of the same batch takes, counted from 0.
    pub fn of_member(index: usize, route: impl Into<String>, body: impl Into<Vec<u8>>) -> Dispatch {
        let (about, command_key) = (About::Member(index), Vec::new());
        Dispatch { about, route: route.into(), command_key, body: body.into() }
    }

    /// The name of this command (of a dispatch about an order that exists), made before the first attempt: 1 to 255 bytes, in the scope of the order. Steps,
    /// notes and dispatches of an order share that scope.
    #[must_use]
    pub fn command_key(mut self, key: impl Into<Vec<u8>>) -> Dispatch {
        self.command_key = key.into();
        self
    }

    /// The name of the route.
    #[must_use]
    pub fn route(&self) -> &str {
        &self.route
    }
}

/// A dispatch that is recorded.
///
/// **Durability**: when you hold one, it is on disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Dispatched {
    /// The order that it is about.
    pub order: OrderId,
    /// The record that says so: the name of the dispatch.
    pub dispatch: Seq,
    /// When it was committed, in ledger time.
    pub at: Timestamp,
    /// Whether this call recorded it.
    pub how: How,
}

/// What a third party is given to know a repeat by: 32 lower-case hexadecimal digits.
///
/// A function of the ledger, the order, the dispatch and the provider: the same at every attempt, after every restart,
/// and after [`Ledger::redrive`](crate::Ledger::redrive). Two providers get different ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token([u8; 16]);

impl Token {
    /// The token of a dispatch for this provider.
    #[must_use]
    pub fn of(ledger: LedgerId, order: OrderId, dispatch: Seq, provider: &str) -> Token {
        let mut hash = Sha256::new();
        hash.update(TOKEN_DOMAIN);
        hash.update(TOKEN_VERSION.to_le_bytes());
        hash.update(ledger.0);
        hash.update(order.as_u64().to_le_bytes());
        hash.update(dispatch.0.to_le_bytes());
        hash.update(provider.as_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        // Half of it: 128 bits, which nobody meets twice by chance.
        let mut token = [0; 16];
        token.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Token(token)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({self})")
    }
}

/// What a provider says, or does not say, about an attempt.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Sent {
    /// It is done.
    Done {
        /// What the provider calls it: at most [`REFERENCE_BYTES_MAX`](crate::limits::REFERENCE_BYTES_MAX) bytes; a
        /// longer one is cut.
        reference: Vec<u8>,
    },
    /// The provider says no, and will say so again: nothing happened, and nothing will.
    Refused {
        /// A number that a program can act on. Source: the provider.
        code: u32,
        /// Why, in words; what is longer than [`REASON_BYTES_MAX`](crate::limits::REASON_BYTES_MAX) is cut.
        why: String,
    },
    /// **Surely nothing happened**: the connection was refused, the name not found, the request turned away before it
    /// was looked at. It is tried again, there or elsewhere. When in doubt, it is [`Sent::Unknown`].
    NotSent {
        /// Why, in words.
        why: String,
    },
    /// It may have happened: no answer came in time, or one that can't be read. Nobody else is asked to do it before
    /// that is known.
    Unknown {
        /// Why, in words.
        why: String,
    },
}

impl Sent {
    /// Whether the provider has answered: done, or refused.
    pub(crate) const fn is_answer(&self) -> bool {
        matches!(self, Sent::Done { .. } | Sent::Refused { .. })
    }
}

/// Who says what became of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Witness {
    /// The provider, in answer to the attempt; or nobody, when no answer came.
    Provider,
    /// The provider, when it was asked about the token later.
    Lookup,
    /// The list of the provider, in a reconciliation.
    TheirList,
}

impl Witness {
    /// The number that is stored on disk.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Witness::Provider => 0,
            Witness::Lookup => 1,
            Witness::TheirList => 2,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Option<Witness> {
        match number {
            0 => Some(Witness::Provider),
            1 => Some(Witness::Lookup),
            2 => Some(Witness::TheirList),
            _ => None,
        }
    }

    /// The name, as the command line prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Witness::Provider => "provider",
            Witness::Lookup => "lookup",
            Witness::TheirList => "their_list",
        }
    }
}

/// Where a dispatch stands.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DispatchState {
    /// Nobody was told yet, or it was sent on its way again.
    Waiting,
    /// A provider is being told now. In another process than the one that does it, this may also be an attempt that
    /// was cut off.
    Attempting {
        /// The provider.
        provider: String,
    },
    /// Surely nothing happened so far; it is tried again.
    Retrying {
        /// The provider that was tried last.
        provider: String,
        /// Not before this time.
        at: Timestamp,
        /// Why nothing happened.
        why: String,
    },
    /// It may have happened, and that is being found out. An attempt that was cut off by a crash is here as well.
    Unknown {
        /// The provider that may have done it.
        provider: String,
        /// Why it is not known.
        why: String,
    },
    /// A provider said no; the next one of the route is asked, if there is one.
    Refused {
        /// The provider.
        provider: String,
        /// Its code.
        code: u32,
        /// Its words.
        why: String,
    },
    /// It is done.
    Done {
        /// By this provider.
        provider: String,
        /// What it calls it.
        reference: Vec<u8>,
    },
    /// It was given up, and waits for a person: a dead letter.
    Dead {
        /// Why.
        why: String,
    },
}

impl DispatchState {
    /// The name of the state, as the command line prints it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            DispatchState::Waiting => "waiting",
            DispatchState::Attempting { .. } => "attempting",
            DispatchState::Retrying { .. } => "retrying",
            DispatchState::Unknown { .. } => "unknown",
            DispatchState::Refused { .. } => "refused",
            DispatchState::Done { .. } => "done",
            DispatchState::Dead { .. } => "dead",
        }
    }
}

/// A dispatch as the log tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DispatchEntry {
    /// Its position: the name of the dispatch.
    pub dispatch: Seq,
    /// When it was committed, in ledger time.
    pub at: Timestamp,
    /// The order that it is about.
    pub order: OrderId,
    /// The linked batch that it is a part of, if it is.
    pub batch: Option<Seq>,
    /// The name of the route. Source: the caller.
    pub route: String,
    /// What is to be told. Source: the caller, byte for byte.
    pub body: Vec<u8>,
    /// Where it stands.
    pub state: DispatchState,
    /// How often a provider was told so far.
    pub attempts: u32,
    /// The provider of which it is not known whether it has done it, also when the dispatch was given up, or was
    /// done elsewhere since ([`OnUnknown::FallBack`](crate::OnUnknown::FallBack)).
    pub in_doubt: Option<String>,
    /// When that was recorded, in ledger time.
    pub changed_at: Timestamp,
}

impl DispatchEntry {
    /// Whether it waits for the outbox: neither done nor given up.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.state, DispatchState::Done { .. } | DispatchState::Dead { .. })
    }
}

/// The list that a dispatch is on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Lane {
    /// The outbox has something to do.
    Open,
    /// A person has.
    Dead,
}

impl Lane {
    /// Every one.
    pub(crate) const ALL: [Lane; 2] = [Lane::Open, Lane::Dead];

    /// The number that is stored on disk.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Lane::Open => 1,
            Lane::Dead => 2,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Option<Lane> {
        match number {
            1 => Some(Lane::Open),
            2 => Some(Lane::Dead),
            _ => None,
        }
    }
}

/// What a record says about a dispatch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// Nothing yet.
    None,
    /// A provider is about to be told.
    Attempt,
    /// What came of it.
    Sent(Sent),
    /// It is given up.
    Dead { why: String },
    /// It is to be tried again.
    Redriven { why: String },
}

/// Where a dispatch stands, by its newest record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Course {
    /// The newest record; the dispatch itself when there is no other.
    pub(crate) newest: Seq,
    /// Its time.
    pub(crate) at: Timestamp,
    pub(crate) progress: Progress,
    /// The provider that is, or was, told last; empty when it is to begin with the first one of the route.
    pub(crate) provider: String,
    /// The provider of which it is not known whether it has done it; empty: none.
    pub(crate) doubt: String,
    /// How often a provider was told, ever.
    pub(crate) attempts: u32,
    /// How often in a row this one was.
    pub(crate) of_provider: u32,
    /// From when on its age is counted.
    pub(crate) since: Timestamp,
    /// Not before this time.
    pub(crate) again_at: Option<Timestamp>,
}

impl Course {
    /// Of a dispatch that was recorded then, and nothing else.
    pub(crate) fn begin(dispatch: Seq, at: Timestamp) -> Course {
        Course {
            newest: dispatch,
            at,
            progress: Progress::None,
            provider: String::new(),
            doubt: String::new(),
            attempts: 0,
            of_provider: 0,
            since: at,
            again_at: None,
        }
    }

    /// The list that it is on; `None` when it is done.
    pub(crate) fn lane(&self) -> Option<Lane> {
        match self.progress {
            Progress::Sent(Sent::Done { .. }) => None,
            Progress::Dead { .. } => Some(Lane::Dead),
            _ => Some(Lane::Open),
        }
    }

    /// An attempt that nobody makes any more was cut off: it may have happened.
    pub(crate) fn cut_off(mut self) -> Course {
        if self.progress == Progress::Attempt {
            let why = "the attempt was cut off before its outcome was recorded".to_owned();
            self.doubt.clone_from(&self.provider);
            self.progress = Progress::Sent(Sent::Unknown { why });
        }
        self
    }

    /// As callers see it.
    pub(crate) fn state(&self) -> DispatchState {
        let provider = self.provider.clone();
        match self.progress.clone() {
            Progress::None | Progress::Redriven { .. } if self.doubt.is_empty() => {
                DispatchState::Waiting
            }
            Progress::None | Progress::Redriven { .. } => {
                let why = "it was not known when it was given up".to_owned();
                DispatchState::Unknown { provider: self.doubt.clone(), why }
            }
            Progress::Attempt => DispatchState::Attempting { provider },
            Progress::Sent(Sent::Done { reference }) => DispatchState::Done { provider, reference },
            Progress::Sent(Sent::Refused { code, why }) => {
                DispatchState::Refused { provider, code, why }
            }
            Progress::Sent(Sent::NotSent { why }) => {
                let at = self.again_at.unwrap_or(self.at);
                DispatchState::Retrying { provider, at, why }
            }
            Progress::Sent(Sent::Unknown { why }) => DispatchState::Unknown { provider, why },
            Progress::Dead { why } => DispatchState::Dead { why },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Third parties remember them: these digits may never change. Checked against another SHA-256.
    #[test]
    fn a_token_is_32_ascii_characters_that_never_change() {
        let order = OrderId::new(0, Seq(42));
        let token = Token::of(LedgerId([7; 16]), order, Seq(43), "acme").to_string();
        assert_eq!(token.len(), 32);
        assert!(token.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(token, "1afb1d9e0f464dc3877e1dbf68caa20b");
        let others = [
            Token::of(LedgerId([8; 16]), order, Seq(43), "acme"),
            Token::of(LedgerId([7; 16]), OrderId::new(1, Seq(42)), Seq(43), "acme"),
            Token::of(LedgerId([7; 16]), order, Seq(44), "acme"),
            Token::of(LedgerId([7; 16]), order, Seq(43), "acme2"),
        ];
        assert!(others.iter().all(|other| other.to_string() != token));
    }

    #[test]
    fn numbers_on_disk_come_back() {
        for lane in Lane::ALL {
            assert_eq!(Lane::from_number(lane.number()), Some(lane));
        }
        for number in 0..=255 {
            let witness = Witness::from_number(number);
            assert!(witness.is_none_or(|witness| witness.number() == number));
            assert_eq!(witness.is_some(), number < 3);
        }
    }
}
