//! The bodies of records: the only file in which bincode meets the log.
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
//! | 3 | an order went from one state to another: [`Moved`], without a command key |
//! | 67 | the same with a command key |
//! | 5 | how far a consumer of the feed is: [`Cursor`] |
//! | 69 | the same, and an event that it has set aside |
//! | 4, 6, 7 | kept for notes, alerts, dispatches |
//! | 8 | the lifecycle that the records behind it follow: [`Table`] |
//! | 128 and up | may be skipped by a reader that does not know them |
//!
//! The bit of 64 says that the record is found by a second key as well: how many entries a record has in
//! the key tables follows from its kind alone ([`keys_of_kind`]), so that a table can be held against the
//! counts in the footer.

use std::time::Duration;

use bincode::enc::EncoderImpl;
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use bincode::{BorrowDecode, Encode};

use crate::bytes::same;
use crate::order::consumer::is_consumer_name;
use crate::order::fingerprint::{Content, Salt};
use crate::order::lifecycle::{Edge, Lifecycle};
use crate::order::limits::{
    ACCOUNT_BYTES_MAX, CLIENT_BYTES_MAX, COMMAND_KEY_BYTES_MAX, EVIDENCE_BYTES_MAX, EVIDENCE_MAX,
    EXTERNAL_REF_BYTES_MAX, KEY_BYTES_MAX, KIND_BYTES_MAX, PAYLOAD_BYTES_MAX, REASON_BYTES_MAX,
    RECORD_BODY_BYTES_MAX,
};
use crate::order::{Fingerprint, Refusal, Seq, State, StateRule, Submission, Timestamp};

/// An order was accepted.
pub(crate) const KIND_ACCEPTED: u8 = 1;
/// An order was refused for good.
pub(crate) const KIND_REFUSED: u8 = 2;
/// An order went from one state to another.
pub(crate) const KIND_MOVED: u8 = 3;
/// The same, by a command that has a key.
pub(crate) const KIND_MOVED_BY_KEY: u8 = KIND_MOVED | KIND_BIT_SECOND_KEY;
/// How far a consumer is.
pub(crate) const KIND_CURSOR: u8 = 5;
/// The same, and what it has set aside.
pub(crate) const KIND_CURSOR_PARKED: u8 = KIND_CURSOR | KIND_BIT_SECOND_KEY;
/// A lifecycle was set.
pub(crate) const KIND_LIFECYCLE: u8 = 8;
/// In the kind of records that are found by two keys.
const KIND_BIT_SECOND_KEY: u8 = 64;
/// Kinds from here may be skipped by a reader that does not know them.
const KIND_SKIPPABLE: u8 = 128;
/// The version of the bodies written by this program.
pub(crate) const BODY_VERSION: u8 = 1;

type Config = bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<RECORD_BODY_BYTES_MAX>,
>;

const CONFIG: Config = bincode::config::standard().with_limit::<RECORD_BODY_BYTES_MAX>();

/// What was submitted, as it is stored. Version 1.
#[derive(Clone, Copy, Debug, Encode, BorrowDecode)]
pub(crate) struct Submitted<'a> {
    pub(crate) client: &'a [u8],
    pub(crate) key: &'a [u8],
    pub(crate) kind: &'a [u8],
    pub(crate) schema: u32,
    pub(crate) account: &'a [u8],
    pub(crate) external_ref: &'a [u8],
    pub(crate) expires_in_ns: Option<u64>,
    /// The caller's own fingerprint; the ledger's own is computed from `salt` and the fields.
    pub(crate) own_fingerprint: Option<[u8; 32]>,
    pub(crate) salt: Salt,
    pub(crate) payload: &'a [u8],
}

impl PartialEq for Submitted<'_> {
    fn eq(&self, other: &Self) -> bool {
        // Every field is named, so that a new one is not forgotten.
        let Submitted {
            client,
            key,
            kind,
            schema,
            account,
            external_ref,
            expires_in_ns,
            own_fingerprint,
            salt,
            payload,
        } = *other;
        same(self.client, client)
            && same(self.key, key)
            && same(self.kind, kind)
            && self.schema == schema
            && same(self.account, account)
            && same(self.external_ref, external_ref)
            && self.expires_in_ns == expires_in_ns
            && self.own_fingerprint == own_fingerprint
            && self.salt == salt
            && same(self.payload, payload)
    }
}

impl Eq for Submitted<'_> {}

/// What was submitted and refused, and why. Version 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub(crate) struct Refused<'a> {
    pub(crate) submitted: Submitted<'a>,
    pub(crate) code: u32,
    pub(crate) reason: &'a str,
}

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

/// How far a consumer of the feed is. Version 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub(crate) struct Cursor<'a> {
    pub(crate) consumer: &'a str,
    /// One more each time that the consumer is opened: who has an older one is fenced.
    pub(crate) epoch: u64,
    /// The first seq that it is not done with.
    pub(crate) next: u64,
    pub(crate) parked: Option<Parked<'a>>,
}

/// An event that a consumer has set aside, or has dealt with after all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub(crate) struct Parked<'a> {
    pub(crate) seq: u64,
    /// `None`: it is dealt with.
    pub(crate) why: Option<&'a str>,
}

/// A lifecycle. Version 1.
#[derive(Clone, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub(crate) struct Table<'a> {
    states: Vec<TableState<'a>>,
    edges: Vec<TableEdge<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
struct TableState<'a> {
    number: u8,
    name: &'a str,
    terminal: bool,
    warn_after_ns: Option<u64>,
    critical_after_ns: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Encode, BorrowDecode)]
struct TableEdge<'a> {
    from: u8,
    to: u8,
    evidence: Vec<&'a str>,
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Body<'a> {
    Accepted(Submitted<'a>),
    Refused(Refused<'a>),
    Moved(Moved<'a>),
    Cursor(Cursor<'a>),
    Lifecycle(Table<'a>),
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
    };
    let malformed = |error: EncodeError| BodyError::Malformed(error.to_string());
    let (kind, bytes, said) = match refusal {
        None => (
            KIND_ACCEPTED,
            encode_sized(submitted, bytes_about(&submitted)).map_err(malformed)?,
            Body::Accepted(submitted),
        ),
        Some(refusal) => {
            let refused =
                Refused { submitted, code: refusal.code, reason: cut_reason(&refusal.reason) };
            let bytes_about = bytes_about(&submitted) + refused.reason.len();
            let bytes = encode_sized(refused, bytes_about).map_err(malformed)?;
            (KIND_REFUSED, bytes, Body::Refused(refused))
        }
    };
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

/// The body that records how far a consumer is, with the same check.
pub(crate) fn encode_cursor(cursor: &Cursor<'_>) -> Result<Encoded, BodyError> {
    let kind = match cursor.parked {
        None => KIND_CURSOR,
        Some(_) => KIND_CURSOR_PARKED,
    };
    encode_checked(kind, cursor, 128, |body| matches!(body, Body::Cursor(it) if it == cursor))
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

/// How many keys a record of this kind is found by in the key tables.
pub(crate) const fn keys_of_kind(kind: u8) -> u64 {
    match kind {
        KIND_ACCEPTED | KIND_REFUSED | KIND_MOVED | KIND_CURSOR | KIND_LIFECYCLE => 1,
        KIND_MOVED_BY_KEY | KIND_CURSOR_PARKED => 2,
        _ => 0,
    }
}

/// About how many bytes a body takes: never too few for one with fields within their limits.
fn bytes_about(submitted: &Submitted<'_>) -> usize {
    // At most five bytes for each length and number, nine for the expiry.
    const NUMBERS_BYTES: usize = 64;
    let fields = [
        submitted.client,
        submitted.key,
        submitted.kind,
        submitted.account,
        submitted.external_ref,
        submitted.payload,
        &submitted.salt,
        submitted.own_fingerprint.as_ref().map_or(&[], |own| &own[..]),
    ];
    fields.iter().map(|field| field.len()).sum::<usize>() + NUMBERS_BYTES
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

/// The reason as it is stored: at most its limit, cut at a character boundary.
fn cut_reason(reason: &str) -> &str {
    let mut end = reason.len().min(Refusal::REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default()
}

/// What a body says.
pub(crate) fn decode(kind: u8, version: u8, bytes: &[u8]) -> Result<Body<'_>, BodyError> {
    match (kind, version) {
        (KIND_ACCEPTED, BODY_VERSION) => whole(bytes).and_then(|body| {
            check_limits(&body)?;
            Ok(Body::Accepted(body))
        }),
        (KIND_REFUSED, BODY_VERSION) => whole::<Refused<'_>>(bytes).and_then(|body| {
            check_limits(&body.submitted)?;
            Ok(Body::Refused(body))
        }),
        (KIND_MOVED | KIND_MOVED_BY_KEY, BODY_VERSION) => {
            whole::<Moved<'_>>(bytes).and_then(|body| {
                body.check(kind)?;
                Ok(Body::Moved(body))
            })
        }
        (KIND_CURSOR | KIND_CURSOR_PARKED, BODY_VERSION) => {
            whole::<Cursor<'_>>(bytes).and_then(|body| {
                body.check(kind)?;
                Ok(Body::Cursor(body))
            })
        }
        (KIND_LIFECYCLE, BODY_VERSION) => whole::<Table<'_>>(bytes).and_then(|body| {
            body.lifecycle()?;
            Ok(Body::Lifecycle(body))
        }),
        (kind, _) if kind >= KIND_SKIPPABLE => Ok(Body::Skippable),
        (kind, version) => Err(BodyError::UnknownKind { kind, version }),
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

fn check_limits(body: &Submitted<'_>) -> Result<(), BodyError> {
    let within = (1..=CLIENT_BYTES_MAX).contains(&body.client.len())
        && (1..=KEY_BYTES_MAX).contains(&body.key.len())
        && body.kind.len() <= KIND_BYTES_MAX
        && body.account.len() <= ACCOUNT_BYTES_MAX
        && body.external_ref.len() <= EXTERNAL_REF_BYTES_MAX
        && body.payload.len() <= PAYLOAD_BYTES_MAX
        && body.expires_in_ns != Some(0);
    if within { Ok(()) } else { Err(BodyError::Malformed("a field breaks its limit".into())) }
}

impl<'a> Body<'a> {
    /// What was submitted, when this record began an order.
    pub(crate) fn submitted(&self) -> Option<&Submitted<'a>> {
        match self {
            Body::Accepted(submitted) => Some(submitted),
            Body::Refused(refused) => Some(&refused.submitted),
            Body::Moved(_) | Body::Cursor(_) | Body::Lifecycle(_) | Body::Skippable => None,
        }
    }

    /// The step, when this record is one.
    pub(crate) fn moved(&self) -> Option<&Moved<'a>> {
        match self {
            Body::Moved(moved) => Some(moved),
            _ => None,
        }
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

impl<'a> Submitted<'a> {
    /// The fields that decide whether two submissions are the same.
    pub(crate) fn content(&self) -> Content<'a> {
        Content {
            client: self.client,
            kind: self.kind,
            schema: self.schema,
            account: self.account,
            external_ref: self.external_ref,
            expires_in_ns: self.expires_in_ns,
            payload: self.payload,
            own_fingerprint: self.own_fingerprint.map(Fingerprint),
        }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.content().fingerprint(&self.salt)
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

impl Cursor<'_> {
    fn check(&self, kind: u8) -> Result<(), BodyError> {
        let malformed = |what: &str| Err(BodyError::Malformed(what.to_owned()));
        if (kind == KIND_CURSOR_PARKED) != self.parked.is_some() {
            return malformed(
                "a parked event that its kind does not speak of, or the other way round",
            );
        }
        let why = self.parked.and_then(|parked| parked.why).unwrap_or_default();
        if !is_consumer_name(self.consumer) || why.len() > REASON_BYTES_MAX {
            return malformed("a field breaks its limit");
        }
        if self.epoch == 0 || self.next == 0 {
            return malformed("a consumer that was never opened, or is before the first record");
        }
        Ok(())
    }
}

impl<'a> Table<'a> {
    fn of(lifecycle: &'a Lifecycle) -> Table<'a> {
        let ns = |after: Option<Duration>| {
            after.map(|after| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX))
        };
        let states = lifecycle.rules().iter().map(|rule| TableState {
            number: rule.state.number(),
            name: &rule.name,
            terminal: rule.terminal,
            warn_after_ns: ns(rule.warn_after),
            critical_after_ns: ns(rule.critical_after),
        });
        let edges = lifecycle.edges().iter().map(|edge| TableEdge {
            from: edge.from,
            to: edge.to,
            evidence: edge.evidence.iter().map(String::as_str).collect(),
        });
        Table { states: states.collect(), edges: edges.collect() }
    }

    /// The lifecycle that was stored, checked as when it was built.
    pub(crate) fn lifecycle(&self) -> Result<Lifecycle, BodyError> {
        let malformed = |what: String| BodyError::Malformed(what);
        let mut states = Vec::with_capacity(self.states.len());
        for row in &self.states {
            let state = State::from_number(row.number)
                .ok_or_else(|| malformed(format!("there is no state {}", row.number)))?;
            states.push(StateRule {
                state,
                name: row.name.to_owned(),
                terminal: row.terminal,
                warn_after: row.warn_after_ns.map(Duration::from_nanos),
                critical_after: row.critical_after_ns.map(Duration::from_nanos),
            });
        }
        let edges = self.edges.iter().map(|row| Edge {
            from: row.from,
            to: row.to,
            evidence: row.evidence.iter().map(|name| (*name).to_owned()).collect(),
        });
        Lifecycle::from_parts(states, edges.collect()).map_err(|error| malformed(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
