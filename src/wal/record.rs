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
//! | 3 to 7 | kept for transitions, notes, cursors, alerts, dispatches |
//! | 128 and up | may be skipped by a reader that does not know them |

use bincode::enc::EncoderImpl;
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use bincode::{BorrowDecode, Encode};

use super::frame::Frame;
use crate::bytes::same;
use crate::order::fingerprint::{Content, Salt};
use crate::order::limits::{
    ACCOUNT_BYTES_MAX, CLIENT_BYTES_MAX, EXTERNAL_REF_BYTES_MAX, KEY_BYTES_MAX, KIND_BYTES_MAX,
    PAYLOAD_BYTES_MAX, RECORD_BODY_BYTES_MAX,
};
use crate::order::{
    Durability, Event, EventBody, Fingerprint, LedgerId, Order, OrderId, Present, Receipt, Refusal,
    State, Submission,
};

/// An order was accepted.
pub(crate) const KIND_ACCEPTED: u8 = 1;
/// An order was refused for good.
pub(crate) const KIND_REFUSED: u8 = 2;
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

/// What a record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Body<'a> {
    Accepted(Submitted<'a>),
    Refused(Refused<'a>),
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
        && body.payload.len() <= PAYLOAD_BYTES_MAX;
    if within { Ok(()) } else { Err(BodyError::Malformed("a field breaks its limit".into())) }
}

impl<'a> Body<'a> {
    /// What was submitted, when this record began an order.
    pub(crate) fn submitted(&self) -> Option<&Submitted<'a>> {
        match self {
            Body::Accepted(submitted) => Some(submitted),
            Body::Refused(refused) => Some(&refused.submitted),
            Body::Skippable => None,
        }
    }

    pub(crate) fn first_state(&self) -> State {
        match self {
            Body::Refused(_) => State::Refused,
            _ => State::Accepted,
        }
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

/// The ledger that a record belongs to: what a receipt needs and a record does not repeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Issuer {
    pub(crate) ledger: LedgerId,
    pub(crate) durability: Durability,
    pub(crate) partition: u16,
}

impl Issuer {
    /// The receipt for the order that the record at `frame` began; `None` when it began none.
    pub(crate) fn receipt(&self, frame: &Frame<'_>, body: &Body<'_>) -> Option<Receipt> {
        Some(Receipt {
            ledger: self.ledger,
            order: OrderId::new(self.partition, frame.seq),
            accepted_at: frame.at,
            fingerprint: body.submitted()?.fingerprint(),
            first_state: body.first_state(),
            durability: self.durability,
        })
    }

    /// The order that the record at `frame` began, as it was then.
    pub(crate) fn order(&self, frame: &Frame<'_>, body: &Body<'_>) -> Option<Order> {
        let submitted = body.submitted()?;
        Some(Order {
            receipt: self.receipt(frame, body)?,
            now: Present { state: body.first_state(), version: 1 },
            client: submitted.client.to_vec(),
            key: submitted.key.to_vec(),
            kind: submitted.kind.to_vec(),
            schema: submitted.schema,
            account: submitted.account.to_vec(),
            external_ref: submitted.external_ref.to_vec(),
            payload: submitted.payload.to_vec(),
            refusal: body.refusal(),
        })
    }

    /// What the record says, as history shows it.
    pub(crate) fn event(&self, frame: &Frame<'_>, body: &Body<'_>) -> Option<Event> {
        let fingerprint = body.submitted()?.fingerprint();
        Some(Event {
            seq: frame.seq,
            at: frame.at,
            order: OrderId::new(self.partition, frame.seq),
            body: match body.refusal() {
                None => EventBody::Accepted { fingerprint },
                Some(refusal) => EventBody::Refused { fingerprint, refusal },
            },
        })
    }
}

#[cfg(test)]
mod tests;
