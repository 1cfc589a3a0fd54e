//! The bodies of dispatches, kinds 7 and 71, and of what becomes of one, kind 11.
//!
//! Always true of one that was decoded: a dispatch names a route and either an order or, as a member of a linked batch,
//! how far in front of it the record of its order lies; what becomes of a dispatch says by itself all that is needed to
//! go on, so that the newest one tells where the dispatch stands.

use bincode::{BorrowDecode, Encode};

use super::submitted::cut_reason;
use super::{
    Body, BodyError, Encoded, KIND_DISPATCH, KIND_DISPATCH_BY_KEY, KIND_PURSUED, encode_checked,
};
use crate::order::consumer::is_consumer_name;
use crate::order::dispatch::{Course, Lane, Progress, Sent, Witness};
use crate::order::limits::{
    BATCH_MEMBERS_MAX, COMMAND_KEY_BYTES_MAX, DISPATCH_BYTES_MAX, REASON_BYTES_MAX,
    REFERENCE_BYTES_MAX,
};
use crate::order::{Seq, Timestamp};

/// Something that a third party is to be told. Version 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub(crate) struct Dispatched<'a> {
    /// The seq of the record that began the order. 0 on disk when `back` says where that is, and then filled in when
    /// the record is read ([`Body::placed_at`]).
    pub(crate) order: u64,
    /// So many records in front of this one the order began, in the same linked batch; 0: `order` says.
    pub(crate) back: u16,
    pub(crate) route: &'a str,
    /// Empty: the command has none.
    pub(crate) command_key: &'a [u8],
    pub(crate) body: &'a [u8],
}

/// What becomes of a dispatch. Version 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub(crate) struct Pursued<'a> {
    pub(crate) order: u64,
    pub(crate) dispatch: u64,
    /// One of the numbers below.
    pub(crate) what: u8,
    /// The number of a [`Witness`].
    pub(crate) by: u8,
    /// The provider that is, or was, told last; empty: none.
    pub(crate) provider: &'a str,
    /// The provider that may have done it; empty: none.
    pub(crate) doubt: &'a str,
    /// How often a provider was told, ever, with this time.
    pub(crate) attempts: u32,
    /// How often in a row this provider was.
    pub(crate) of_provider: u32,
    /// From when on the age is counted.
    pub(crate) since_ns: u64,
    pub(crate) again_at_ns: Option<u64>,
    /// It was a dead letter before.
    pub(crate) was_dead: bool,
    /// Of a refusal.
    pub(crate) code: u32,
    /// Of what is done.
    pub(crate) reference: &'a [u8],
    pub(crate) why: &'a str,
}

// Numbers on disk: never given to anything else.
/// A provider is about to be told.
pub(crate) const ATTEMPT: u8 = 1;
/// It is done.
pub(crate) const DONE: u8 = 2;
/// The provider said no.
pub(crate) const REFUSED: u8 = 3;
/// Surely nothing happened.
pub(crate) const NOT_SENT: u8 = 4;
/// It may have happened.
pub(crate) const UNKNOWN: u8 = 5;
/// It is given up.
pub(crate) const DEAD: u8 = 6;
/// It is to be tried again.
pub(crate) const REDRIVEN: u8 = 7;

/// The body that records a dispatch. Decoded again before it is handed out.
pub(crate) fn encode_dispatched(dispatched: &Dispatched<'_>) -> Result<Encoded, BodyError> {
    let kind = match dispatched.command_key {
        [] => KIND_DISPATCH,
        _ => KIND_DISPATCH_BY_KEY,
    };
    let bytes_about = dispatched.body.len() + dispatched.command_key.len() + 96;
    let is_same = |body: &Body<'_>| matches!(body, Body::Dispatched(it) if it == dispatched);
    encode_checked(kind, dispatched, bytes_about, is_same)
}

/// The body that records what becomes of one, with the same check.
pub(crate) fn encode_pursued(pursued: &Pursued<'_>) -> Result<Encoded, BodyError> {
    let is_same = |body: &Body<'_>| matches!(body, Body::Pursued(it) if it == pursued);
    encode_checked(KIND_PURSUED, pursued, 256, is_same)
}

impl Dispatched<'_> {
    pub(super) fn check(&self, kind: u8) -> Result<(), BodyError> {
        let malformed = |what: &str| Err(BodyError::Malformed(what.to_owned()));
        if (kind == KIND_DISPATCH_BY_KEY) == self.command_key.is_empty() {
            return malformed(
                "a command key that its kind does not speak of, or the other way round",
            );
        }
        let within = is_consumer_name(self.route)
            && self.command_key.len() <= COMMAND_KEY_BYTES_MAX
            && self.body.len() <= DISPATCH_BYTES_MAX
            && usize::from(self.back) < BATCH_MEMBERS_MAX;
        if !within {
            return malformed("a field breaks its limit");
        }
        match (self.order, self.back) {
            (0, 0) => malformed("a dispatch of no order"),
            // The key of the command would be of an order that is not there yet.
            (0, _) if !self.command_key.is_empty() => malformed("a command key before the order"),
            (0, _) | (_, 0) => Ok(()),
            _ => malformed("a dispatch of two orders"),
        }
    }

    /// The order that it is about.
    pub(crate) fn order(&self) -> Seq {
        Seq(self.order)
    }
}

impl<'a> Pursued<'a> {
    /// The body that brings a dispatch of `order` from `before` to where `after` says it stands, on the word of `by`.
    pub(crate) fn of(
        order: Seq,
        dispatch: Seq,
        before: &Course,
        after: &'a Course,
        by: Witness,
    ) -> Pursued<'a> {
        let (mut code, mut reference, mut said) = (0, &[][..], "");
        let what = match &after.progress {
            // Never recorded: the dispatch itself says so.
            Progress::None => 0,
            Progress::Attempt => ATTEMPT,
            Progress::Sent(Sent::Done { reference: told }) => {
                reference = told.get(..REFERENCE_BYTES_MAX).unwrap_or(told);
                DONE
            }
            Progress::Sent(Sent::Refused { code: told, why }) => {
                (code, said) = (*told, why);
                REFUSED
            }
            Progress::Sent(Sent::NotSent { why }) => {
                said = why;
                NOT_SENT
            }
            Progress::Sent(Sent::Unknown { why }) => {
                said = why;
                UNKNOWN
            }
            Progress::Dead { why } => {
                said = why;
                DEAD
            }
            Progress::Redriven { why } => {
                said = why;
                REDRIVEN
            }
        };
        Pursued {
            order: order.0,
            dispatch: dispatch.0,
            what,
            by: by.number(),
            provider: &after.provider,
            doubt: &after.doubt,
            attempts: after.attempts,
            of_provider: after.of_provider,
            since_ns: after.since.as_unix_ns(),
            again_at_ns: after.again_at.map(Timestamp::as_unix_ns),
            was_dead: before.lane() == Some(Lane::Dead),
            code,
            reference,
            why: cut_reason(said),
        }
    }

    pub(super) fn check(&self) -> Result<(), BodyError> {
        let malformed = |what: &str| Err(BodyError::Malformed(what.to_owned()));
        let is_name = |name: &str| name.is_empty() || is_consumer_name(name);
        let within = is_name(self.provider)
            && is_name(self.doubt)
            && self.why.len() <= REASON_BYTES_MAX
            && self.reference.len() <= REFERENCE_BYTES_MAX;
        if !within {
            return malformed("a field breaks its limit");
        }
        // An order comes before its dispatches.
        if self.order == 0 || self.dispatch <= self.order || self.of_provider > self.attempts {
            return malformed("of no dispatch, or more attempts than there were");
        }
        let Some(by) = Witness::from_number(self.by) else {
            return malformed("an unknown witness");
        };
        let is_named = !self.provider.is_empty();
        let is_told = is_named && (self.of_provider > 0 || by != Witness::Provider);
        let is_sound = match self.what {
            ATTEMPT => is_told && by == Witness::Provider,
            DONE => is_told,
            REFUSED | NOT_SENT => is_told && self.doubt != self.provider,
            UNKNOWN => is_told && self.doubt == self.provider && by == Witness::Provider,
            DEAD | REDRIVEN => by == Witness::Provider && self.again_at_ns.is_none(),
            _ => false,
        };
        // A dead letter goes on when it is sent on its way again, or when a list proves what became of it.
        let may_be_dead = match self.what {
            REDRIVEN => self.was_dead,
            DONE => !self.was_dead || by == Witness::TheirList,
            _ => !self.was_dead,
        };
        let belongs = (self.code == 0 || self.what == REFUSED)
            && (self.reference.is_empty() || self.what == DONE);
        match is_sound && may_be_dead && belongs {
            true => Ok(()),
            false => malformed("not what can become of a dispatch"),
        }
    }

    pub(crate) fn dispatch(&self) -> Seq {
        Seq(self.dispatch)
    }

    pub(crate) fn order(&self) -> Seq {
        Seq(self.order)
    }

    /// Who says so.
    pub(crate) fn by(&self) -> Witness {
        // The number was checked when the body was decoded.
        Witness::from_number(self.by).unwrap_or(Witness::Provider)
    }

    /// The list that the dispatch was on before; `None`: it says nothing about that.
    pub(crate) fn lane_before(&self) -> Lane {
        if self.was_dead { Lane::Dead } else { Lane::Open }
    }

    /// The list that it is on from now on; `None`: it is done.
    pub(crate) fn lane(&self) -> Option<Lane> {
        match self.what {
            DONE => None,
            DEAD => Some(Lane::Dead),
            _ => Some(Lane::Open),
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        let why = self.why.to_owned();
        match self.what {
            ATTEMPT => Progress::Attempt,
            DONE => Progress::Sent(Sent::Done { reference: self.reference.to_vec() }),
            REFUSED => Progress::Sent(Sent::Refused { code: self.code, why }),
            NOT_SENT => Progress::Sent(Sent::NotSent { why }),
            UNKNOWN => Progress::Sent(Sent::Unknown { why }),
            DEAD => Progress::Dead { why },
            // The number was checked when the body was decoded.
            _ => Progress::Redriven { why },
        }
    }

    /// Where the dispatch stands by this record.
    pub(crate) fn course(&self, newest: Seq, at: Timestamp) -> Course {
        Course {
            newest,
            at,
            progress: self.progress(),
            provider: self.provider.to_owned(),
            doubt: self.doubt.to_owned(),
            attempts: self.attempts,
            of_provider: self.of_provider,
            since: Timestamp::from_unix_ns(self.since_ns),
            again_at: self.again_at_ns.map(Timestamp::from_unix_ns),
        }
    }
}
