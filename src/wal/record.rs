//! The bodies of records: the only place in which bincode meets the log.
//!
//! bincode 2, standard configuration (little-endian, variable-length integers), with a byte limit, and
//! trailing bytes refused (bincode itself accepts them). The bytes are pinned by `tests/fixtures/v1` and
//! decoded there by a second crate as well, which is the way out should bincode have to go.
//!
//! Kinds are numbers on disk and never change their meaning. A body that grows gets a new version, and
//! every version stays readable.
//!
//! | kind | body |
//! |---|---|
//! | 1 | an order was accepted: [`Submitted`] |
//! | 2 | an order was refused for good: [`Refused`] |
//! | 65, 66 | the same of an order that corrects another, whose id stands in front |
//! | 33, 34, 97, 98 | the same four of an order with thresholds of its own, which stand in front of its body |
//! | 3 | an order went from one state to another: [`Moved`], without a command key |
//! | 67 | the same with a command key |
//! | 5 | how far a consumer of the feed is: [`Cursor`] |
//! | 69 | the same, and an event that it has set aside |
//! | 4 | a note about an order, or what resolves one: [`Remark`], without a command key |
//! | 68 | the same with a command key |
//! | 6 | something that happened to an alert: [`Alarm`] |
//! | 70 | the same of an alert about an order; found by the order as well |
//! | 7, 71 | something that a third party is to be told about an order: [`Dispatched`], without and with a command key |
//! | 11 | what becomes of that: [`Pursued`] |
//! | 73 | a client or an account is held, or released: [`Held`]; found by that, and with all others |
//! | 8 | the lifecycle that the records behind it follow: [`Table`] |
//! | 10 | the head of a linked batch, which so many members follow: [`LinkedHead`] |
//! | 128 and up | may be skipped by a reader that does not know them |
//!
//! A version with the bit of 128 is that of a member of a linked batch: two bytes in front of the body say how many
//! records in front of it the head lies ([`distance_of`]).
//!
//! The bit of 64 of a kind says that the record is found by a second key as well: how many entries a record has in
//! the key tables follows from its kind alone ([`keys_of_kind`]), so that a table can be held against the
//! counts in the footer. The bit of 32 is that of an order with thresholds of its own: those counts say which files
//! tell of one.

use bincode::enc::EncoderImpl;
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use bincode::{BorrowDecode, Encode};

use crate::order::fingerprint::Salt;
use crate::order::lifecycle::Lifecycle;
use crate::order::limits::{
    BATCH_MEMBERS_MAX, COMMAND_KEY_BYTES_MAX, EVIDENCE_BYTES_MAX, EVIDENCE_MAX, KEY_BYTES_MAX,
    REASON_BYTES_MAX, RECORD_BODY_BYTES_MAX,
};
use crate::order::thresholds::Thresholds;
use crate::order::{OrderId, Refusal, Seq, State, Submission, Timestamp};

mod alert;
mod cursor;
mod dispatch;
mod hold;
mod note;
mod submitted;
mod table;

pub(crate) use alert::{Alarm, UNWRITTEN, encode_alarm};
pub(crate) use cursor::{Cursor, Parked, encode_cursor};
pub(crate) use dispatch::{
    ATTEMPT, DEAD, DONE, Dispatched, Pursued, REDRIVEN, encode_dispatched, encode_pursued,
};
#[cfg(test)]
pub(crate) use dispatch::{NOT_SENT, REFUSED, UNKNOWN};
pub(crate) use hold::{Held, encode_held};
pub(crate) use note::{RESOLUTION, Remark, encode_remark};
use submitted::{Fronted, begins_order, bytes_about, cut_reason};
pub(crate) use submitted::{Refused, Submitted, has_own_thresholds, is_accepted, is_refused};
pub(crate) use table::Table;

/// An order was accepted.
pub(crate) const KIND_ACCEPTED: u8 = 1;
/// An order was refused for good.
pub(crate) const KIND_REFUSED: u8 = 2;
/// An order went from one state to another.
pub(crate) const KIND_MOVED: u8 = 3;
/// The same, by a command that has a key.
pub(crate) const KIND_MOVED_BY_KEY: u8 = KIND_MOVED | KIND_BIT_SECOND_KEY;
/// A note about an order, or what resolves one.
pub(crate) const KIND_NOTE: u8 = 4;
/// The same, by a command that has a key.
pub(crate) const KIND_NOTE_BY_KEY: u8 = KIND_NOTE | KIND_BIT_SECOND_KEY;
/// How far a consumer is.
pub(crate) const KIND_CURSOR: u8 = 5;
/// The same, and what it has set aside.
pub(crate) const KIND_CURSOR_PARKED: u8 = KIND_CURSOR | KIND_BIT_SECOND_KEY;
/// Something happened to an alert.
pub(crate) const KIND_ALERT: u8 = 6;
/// The same, of an alert about an order.
pub(crate) const KIND_ALERT_OF_ORDER: u8 = KIND_ALERT | KIND_BIT_SECOND_KEY;
/// Something that a third party is to be told.
pub(crate) const KIND_DISPATCH: u8 = 7;
/// The same, by a command that has a key.
pub(crate) const KIND_DISPATCH_BY_KEY: u8 = KIND_DISPATCH | KIND_BIT_SECOND_KEY;
/// What becomes of that.
pub(crate) const KIND_PURSUED: u8 = 11;
/// A lifecycle was set.
pub(crate) const KIND_LIFECYCLE: u8 = 8;
/// A client or an account is held, or released.
pub(crate) const KIND_HOLD: u8 = 9 | KIND_BIT_SECOND_KEY;
/// The head of a linked batch.
pub(crate) const KIND_LINKED: u8 = 10;
/// In the kind of records that are found by two keys.
const KIND_BIT_SECOND_KEY: u8 = 64;
/// In the kind of records that begin an order with thresholds of its own.
const KIND_BIT_OWN_THRESHOLDS: u8 = 32;
/// Kinds from here may be skipped by a reader that does not know them.
const KIND_SKIPPABLE: u8 = 128;
/// The version of the bodies written by this program.
pub(crate) const BODY_VERSION: u8 = 1;
/// In the version of members of a linked batch.
const VERSION_BIT_MEMBER: u8 = 128;

type Config = bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<RECORD_BODY_BYTES_MAX>,
>;

const CONFIG: Config = bincode::config::standard().with_limit::<RECORD_BODY_BYTES_MAX>();

/// A step that an order took. Version 1.
#[derive(Clone, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub(crate) struct Moved<'a> {
    /// The seq of the record that began the order.
    pub(crate) order: u64,
    /// Of the order, after this step: 2 for the first one.
    pub(crate) version: u64,
    pub(crate) from: u8,
    pub(crate) to: u8,
    /// Empty: the command has none.
    pub(crate) command_key: &'a [u8],
    pub(crate) evidence: Vec<Proof<'a>>,
    pub(crate) reason: &'a str,
}

/// A piece of evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub(crate) struct Proof<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a [u8],
}

/// The head of a linked batch: its members are the records behind it, in the same group. Version 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub(crate) struct LinkedHead<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) members: u16,
    pub(crate) salt: Salt,
    pub(crate) fingerprint: [u8; 32],
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Body<'a> {
    Accepted(Submitted<'a>),
    Refused(Refused<'a>),
    Moved(Moved<'a>),
    Remark(Remark<'a>),
    Cursor(Cursor<'a>),
    Alarm(Alarm<'a>),
    Lifecycle(Table<'a>),
    Held(Held<'a>),
    Linked(LinkedHead<'a>),
    Dispatched(Dispatched<'a>),
    Pursued(Pursued<'a>),
    /// Of a newer version, and marked as one that may be skipped.
    Skippable,
}

/// Why a body can't be read. The frame's checksum held, so this is not rot: it is another program's
/// record, or a newer one's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("a record of kind {kind}, version {version}, which this program does not know")]
    UnknownKind { kind: u8, version: u8 },
    #[error("a record body that does not decode: {0}")]
    Malformed(String),
}

/// A body that is ready to be framed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Encoded {
    pub(crate) kind: u8,
    pub(crate) version: u8,
    pub(crate) bytes: Vec<u8>,
}

/// The body that records `submission` as accepted, or as refused for good.
///
/// It is decoded again before it is handed out: nothing that can't be read is ever acknowledged.
pub(crate) fn encode(
    submission: &Submission,
    salt: Salt,
    refusal: Option<&Refusal>,
) -> Result<Encoded, BodyError> {
    let submitted = Submitted {
        client: &submission.client,
        key: &submission.key,
        kind: &submission.kind,
        schema: submission.schema,
        account: &submission.account,
        external_ref: &submission.external_ref,
        expires_in_ns: submission.expires_in_ns,
        own_fingerprint: submission.own_fingerprint.map(|own| own.0),
        salt,
        payload: &submission.payload,
        corrects: submission.corrects.map(OrderId::as_u64),
        thresholds: submission.thresholds,
    };
    let (kind, said) = match refusal {
        None => (KIND_ACCEPTED, Body::Accepted(submitted)),
        Some(refusal) => {
            let reason = cut_reason(&refusal.reason);
            (KIND_REFUSED, Body::Refused(Refused { submitted, code: refusal.code, reason }))
        }
    };
    let bytes_about = bytes_about(&submitted) + refusal.map_or(0, |it| it.reason.len());
    let kind = kind | submitted.kind_bits();
    let encoded = match &said {
        Body::Refused(refused) => encode_sized(Fronted(&submitted, refused), bytes_about),
        _ => encode_sized(Fronted(&submitted, &submitted), bytes_about),
    };
    let bytes = encoded.map_err(|error| BodyError::Malformed(error.to_string()))?;
    if decode(kind, BODY_VERSION, &bytes)? != said {
        return Err(BodyError::Malformed("the body does not decode to what was encoded".into()));
    }
    Ok(Encoded { kind, version: BODY_VERSION, bytes })
}

/// The body that records a step, with the same check.
pub(crate) fn encode_moved(moved: &Moved<'_>) -> Result<Encoded, BodyError> {
    let kind = match moved.command_key {
        [] => KIND_MOVED,
        _ => KIND_MOVED_BY_KEY,
    };
    let evidence = moved.evidence.iter().map(|proof| proof.name.len() + proof.value.len() + 10);
    let bytes_about = moved.command_key.len() + moved.reason.len() + evidence.sum::<usize>() + 64;
    encode_checked(kind, moved, bytes_about, |body| matches!(body, Body::Moved(it) if it == moved))
}

/// The body that records a lifecycle, with the same check.
pub(crate) fn encode_lifecycle(lifecycle: &Lifecycle) -> Result<Encoded, BodyError> {
    let table = Table::of(lifecycle);
    let same = |body: &Body<'_>| match body {
        Body::Lifecycle(table) => table.lifecycle().is_ok_and(|read| read == *lifecycle),
        _ => false,
    };
    encode_checked(KIND_LIFECYCLE, &table, 4096, same)
}

/// The body that is at the head of a linked batch, with the same check.
pub(crate) fn encode_linked(head: &LinkedHead<'_>) -> Result<Encoded, BodyError> {
    encode_checked(KIND_LINKED, head, 512, |body| matches!(body, Body::Linked(it) if it == head))
}

impl Encoded {
    /// Makes it a member of a linked batch, so many records behind its head.
    pub(crate) fn put_behind_head(&mut self, distance: u16) {
        self.version |= VERSION_BIT_MEMBER;
        self.bytes.splice(..0, distance.to_le_bytes());
    }
}

/// How many records in front of this one the head of its linked batch lies; `None` when it is no member of one.
pub(crate) fn distance_of(version: u8, bytes: &[u8]) -> Option<u16> {
    let distance = bytes.first_chunk().map(|bytes| u16::from_le_bytes(*bytes));
    distance.filter(|_| version & VERSION_BIT_MEMBER != 0)
}

/// Encodes, decodes again, and asks whether that is what was meant.
fn encode_checked(
    kind: u8,
    body: impl Encode,
    bytes_about: usize,
    is_same: impl Fn(&Body<'_>) -> bool,
) -> Result<Encoded, BodyError> {
    let bytes =
        encode_sized(body, bytes_about).map_err(|error| BodyError::Malformed(error.to_string()))?;
    if !is_same(&decode(kind, BODY_VERSION, &bytes)?) {
        return Err(BodyError::Malformed("the body does not decode to what was encoded".into()));
    }
    Ok(Encoded { kind, version: BODY_VERSION, bytes })
}

/// Whether a record of this kind is a step of an order.
pub(crate) const fn is_step(kind: u8) -> bool {
    matches!(kind, KIND_MOVED | KIND_MOVED_BY_KEY)
}

/// Whether a record of this kind is a note, or resolves one.
pub(crate) const fn is_remark(kind: u8) -> bool {
    matches!(kind, KIND_NOTE | KIND_NOTE_BY_KEY)
}

/// Whether a record of this kind is about an alert.
pub(crate) const fn is_alarm(kind: u8) -> bool {
    matches!(kind, KIND_ALERT | KIND_ALERT_OF_ORDER)
}

/// Whether a record of this kind is a dispatch.
pub(crate) const fn is_dispatch(kind: u8) -> bool {
    matches!(kind, KIND_DISPATCH | KIND_DISPATCH_BY_KEY)
}

/// How many keys a record of this kind is found by in the key tables.
pub(crate) const fn keys_of_kind(kind: u8) -> u64 {
    match kind {
        kind if begins_order(kind) && kind & KIND_BIT_SECOND_KEY == 0 => 1,
        kind if begins_order(kind) => 2,
        KIND_MOVED | KIND_NOTE | KIND_CURSOR | KIND_LIFECYCLE | KIND_ALERT | KIND_LINKED
        | KIND_DISPATCH | KIND_PURSUED => 1,
        KIND_MOVED_BY_KEY | KIND_NOTE_BY_KEY | KIND_CURSOR_PARKED | KIND_ALERT_OF_ORDER
        | KIND_DISPATCH_BY_KEY | KIND_HOLD => 2,
        _ => 0,
    }
}

/// Encodes into a buffer of this size, which grows when it has to. bincode's own function goes over the value
/// twice, to find the size first.
fn encode_sized(body: impl Encode, bytes: usize) -> Result<Vec<u8>, EncodeError> {
    struct Row(Vec<u8>);

    impl Writer for Row {
        fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }

    let mut encoder = EncoderImpl::new(Row(Vec::with_capacity(bytes)), CONFIG);
    body.encode(&mut encoder)?;
    Ok(encoder.into_writer().0)
}

/// What a body says.
pub(crate) fn decode(kind: u8, version: u8, bytes: &[u8]) -> Result<Body<'_>, BodyError> {
    if version & VERSION_BIT_MEMBER != 0 && kind < KIND_SKIPPABLE {
        return decode_member(kind, version, bytes);
    }
    match (kind, version) {
        (kind, BODY_VERSION) if begins_order(kind) => submitted::decode(kind, bytes),
        (KIND_MOVED | KIND_MOVED_BY_KEY, BODY_VERSION) => {
            whole::<Moved<'_>>(bytes).and_then(|body| {
                body.check(kind)?;
                Ok(Body::Moved(body))
            })
        }
        (KIND_NOTE | KIND_NOTE_BY_KEY, BODY_VERSION) => {
            whole::<Remark<'_>>(bytes).and_then(|body| {
                body.check(kind)?;
                Ok(Body::Remark(body))
            })
        }
        (KIND_CURSOR | KIND_CURSOR_PARKED, BODY_VERSION) => {
            whole::<Cursor<'_>>(bytes).and_then(|body| {
                body.check(kind)?;
                Ok(Body::Cursor(body))
            })
        }
        (KIND_ALERT | KIND_ALERT_OF_ORDER, BODY_VERSION) => {
            whole::<Alarm<'_>>(bytes).and_then(|body| {
                body.check(kind)?;
                Ok(Body::Alarm(body))
            })
        }
        (KIND_LIFECYCLE, BODY_VERSION) => whole::<Table<'_>>(bytes).and_then(|body| {
            body.lifecycle()?;
            Ok(Body::Lifecycle(body))
        }),
        (KIND_HOLD, BODY_VERSION) => whole::<Held<'_>>(bytes).and_then(|body| {
            body.check()?;
            Ok(Body::Held(body))
        }),
        (KIND_LINKED, BODY_VERSION) => whole::<LinkedHead<'_>>(bytes).and_then(|body| {
            body.check()?;
            Ok(Body::Linked(body))
        }),
        (KIND_DISPATCH | KIND_DISPATCH_BY_KEY, BODY_VERSION) => whole::<Dispatched<'_>>(bytes)
            .and_then(|body| {
                body.check(kind)?;
                Ok(Body::Dispatched(body))
            }),
        (KIND_PURSUED, BODY_VERSION) => whole::<Pursued<'_>>(bytes).and_then(|body| {
            body.check()?;
            Ok(Body::Pursued(body))
        }),
        (kind, _) if kind >= KIND_SKIPPABLE => Ok(Body::Skippable),
        (kind, version) => Err(BodyError::UnknownKind { kind, version }),
    }
}

/// What the body of a member of a linked batch says.
fn decode_member(kind: u8, version: u8, bytes: &[u8]) -> Result<Body<'_>, BodyError> {
    let within = |distance: &u16| (1..=BATCH_MEMBERS_MAX).contains(&usize::from(*distance));
    match distance_of(version, bytes).filter(within) {
        Some(_) if !matches!(kind, KIND_LINKED | KIND_LIFECYCLE) => {
            let body = bytes.get(2..).unwrap_or_default();
            decode(kind, version & !VERSION_BIT_MEMBER, body)
        }
        _ => Err(BodyError::Malformed("a member of no batch that can be".into())),
    }
}

/// Decodes all of `bytes`; bytes left over are refused.
fn whole<'a, T: BorrowDecode<'a, ()>>(bytes: &'a [u8]) -> Result<T, BodyError> {
    let (body, used) = bincode::borrow_decode_from_slice(bytes, CONFIG)
        .map_err(|error| BodyError::Malformed(error.to_string()))?;
    if used != bytes.len() {
        return Err(BodyError::Malformed(format!("{} bytes left over", bytes.len() - used)));
    }
    Ok(body)
}

impl<'a> Body<'a> {
    /// The body of the record at this seq: what it says relative to that is filled in.
    pub(crate) fn placed_at(mut self, seq: Seq) -> Body<'a> {
        if let Body::Dispatched(dispatched) = &mut self
            && dispatched.back > 0
        {
            // A distance that leads out of the log is damage, and leads to no order.
            dispatched.order = seq.0.saturating_sub(dispatched.back.into());
        }
        self
    }

    /// What was submitted, when this record began an order.
    pub(crate) fn submitted(&self) -> Option<&Submitted<'a>> {
        match self {
            Body::Accepted(submitted) => Some(submitted),
            Body::Refused(refused) => Some(&refused.submitted),
            Body::Moved(_)
            | Body::Remark(_)
            | Body::Cursor(_)
            | Body::Alarm(_)
            | Body::Lifecycle(_)
            | Body::Held(_)
            | Body::Linked(_)
            | Body::Dispatched(_)
            | Body::Pursued(_)
            | Body::Skippable => None,
        }
    }

    /// The step, when this record is one.
    pub(crate) fn moved(&self) -> Option<&Moved<'a>> {
        match self {
            Body::Moved(moved) => Some(moved),
            _ => None,
        }
    }

    /// The note, or what resolves one, when this record is that.
    pub(crate) fn remark(&self) -> Option<&Remark<'a>> {
        match self {
            Body::Remark(remark) => Some(remark),
            _ => None,
        }
    }

    /// What happened to an alert, when this record says that.
    pub(crate) fn alarm(&self) -> Option<&Alarm<'a>> {
        match self {
            Body::Alarm(alarm) => Some(alarm),
            _ => None,
        }
    }

    /// The dispatch, when this record is one.
    pub(crate) fn dispatched(&self) -> Option<&Dispatched<'a>> {
        match self {
            Body::Dispatched(dispatched) => Some(dispatched),
            _ => None,
        }
    }

    /// What becomes of a dispatch, when this record is that.
    pub(crate) fn pursued(&self) -> Option<&Pursued<'a>> {
        match self {
            Body::Pursued(pursued) => Some(pursued),
            _ => None,
        }
    }

    /// The order that was given a command, and the key of it, when this record is of one that has a key.
    pub(crate) fn command(&self) -> Option<(Seq, &'a [u8])> {
        let (order, key) = match self {
            Body::Moved(moved) => (moved.order(), moved.command_key),
            Body::Remark(remark) => (remark.order(), remark.command_key),
            Body::Dispatched(dispatched) => (dispatched.order(), dispatched.command_key),
            _ => return None,
        };
        (!key.is_empty()).then_some((order, key))
    }

    /// The thresholds of its own of the order that this record began; neither, when it has none or began none.
    pub(crate) fn own_thresholds(&self) -> Thresholds {
        self.submitted().map_or(Thresholds::default(), |submitted| submitted.thresholds)
    }

    /// The state of an order that this record began.
    pub(crate) fn first_state(&self) -> State {
        match self {
            Body::Refused(_) => State::Refused,
            _ => State::Accepted,
        }
    }

    /// When the order expires that this record began at `at`. `None`: it never does, or the record began none
    /// that goes on.
    pub(crate) fn expires_at(&self, at: Timestamp) -> Option<Timestamp> {
        let Body::Accepted(submitted) = self else { return None };
        // An instant that is too late for ledger time is never reached.
        let instant = |after_ns| at.as_unix_ns().saturating_add(after_ns);
        submitted.expires_in_ns.map(|after_ns| Timestamp::from_unix_ns(instant(after_ns)))
    }

    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Body::Refused(refused) => {
                Some(Refusal { code: refused.code, reason: refused.reason.to_owned() })
            }
            _ => None,
        }
    }
}

impl Moved<'_> {
    fn check(&self, kind: u8) -> Result<(), BodyError> {
        let malformed = |what: &str| Err(BodyError::Malformed(what.to_owned()));
        if (kind == KIND_MOVED_BY_KEY) == self.command_key.is_empty() {
            return malformed(
                "a command key that its kind does not speak of, or the other way round",
            );
        }
        let within = self.command_key.len() <= COMMAND_KEY_BYTES_MAX
            && self.reason.len() <= REASON_BYTES_MAX
            && self.evidence.len() <= EVIDENCE_MAX
            && self.evidence.iter().all(|proof| proof.value.len() <= EVIDENCE_BYTES_MAX);
        if !within {
            return malformed("a field breaks its limit");
        }
        if self.order == 0 || self.version < 2 {
            return malformed("a step of no order, or the first version of one");
        }
        match (State::from_number(self.from), State::from_number(self.to)) {
            (Some(_), Some(_)) => Ok(()),
            _ => malformed("a state that no lifecycle has"),
        }
    }

    /// The order that took the step.
    pub(crate) fn order(&self) -> Seq {
        Seq(self.order)
    }

    // The numbers were checked when the body was decoded.
    pub(crate) fn from(&self) -> State {
        State::from_number(self.from).unwrap_or(State::Accepted)
    }

    pub(crate) fn to(&self) -> State {
        State::from_number(self.to).unwrap_or(State::Accepted)
    }
}

impl LinkedHead<'_> {
    fn check(&self) -> Result<(), BodyError> {
        let within = (1..=KEY_BYTES_MAX).contains(&self.key.len())
            && (1..=BATCH_MEMBERS_MAX).contains(&self.members.into());
        if within { Ok(()) } else { Err(BodyError::Malformed("a field breaks its limit".into())) }
    }
}

#[cfg(test)]
mod tests;
