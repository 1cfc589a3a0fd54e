//! The bodies of the records that begin an order.
//!
//! One that corrects another begins with the id of that one, and has a kind of its own, because it is found by it
//! as well; then come the thresholds of an order that has its own, which has a kind of its own as well, because the
//! watch looks for it in the files that hold one, and in no others. What follows is the same for all.

use bincode::de::BorrowDecoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{BorrowDecode, Encode};

use super::{
    Body, BodyError, CONFIG, KIND_ACCEPTED, KIND_BIT_OWN_THRESHOLDS, KIND_BIT_SECOND_KEY,
    KIND_REFUSED, whole,
};
use crate::bytes::same;
use crate::order::fingerprint::{Content, Salt};
use crate::order::limits::{
    ACCOUNT_BYTES_MAX, CLIENT_BYTES_MAX, EXTERNAL_REF_BYTES_MAX, KEY_BYTES_MAX, KIND_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
};
use crate::order::thresholds::Thresholds;
use crate::order::{Fingerprint, OrderId, Refusal, Seq};

/// What was submitted, as it is stored. Version 1.
#[derive(Clone, Copy, Debug)]
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
    /// The id of the order that this one corrects. In front of the body, in records of a kind that has it.
    pub(crate) corrects: Option<u64>,
    /// Behind that, in records of a kind that has them.
    pub(crate) thresholds: Thresholds,
}

impl Encode for Submitted<'_> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        // In this order for ever; `corrects` and `thresholds` are not among them.
        self.client.encode(encoder)?;
        self.key.encode(encoder)?;
        self.kind.encode(encoder)?;
        self.schema.encode(encoder)?;
        self.account.encode(encoder)?;
        self.external_ref.encode(encoder)?;
        self.expires_in_ns.encode(encoder)?;
        self.own_fingerprint.encode(encoder)?;
        self.salt.encode(encoder)?;
        self.payload.encode(encoder)
    }
}

impl<'de, Context> BorrowDecode<'de, Context> for Submitted<'de> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(
        decoder: &mut D,
    ) -> Result<Submitted<'de>, DecodeError> {
        Ok(Submitted {
            client: BorrowDecode::borrow_decode(decoder)?,
            key: BorrowDecode::borrow_decode(decoder)?,
            kind: BorrowDecode::borrow_decode(decoder)?,
            schema: BorrowDecode::borrow_decode(decoder)?,
            account: BorrowDecode::borrow_decode(decoder)?,
            external_ref: BorrowDecode::borrow_decode(decoder)?,
            expires_in_ns: BorrowDecode::borrow_decode(decoder)?,
            own_fingerprint: BorrowDecode::borrow_decode(decoder)?,
            salt: BorrowDecode::borrow_decode(decoder)?,
            payload: BorrowDecode::borrow_decode(decoder)?,
            corrects: None,
            thresholds: Thresholds::default(),
        })
    }
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
            corrects,
            thresholds,
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
            && self.corrects == corrects
            && self.thresholds == thresholds
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

/// A body that begins an order, with what stands in front of it.
pub(super) struct Fronted<'a, T>(pub(super) &'a Submitted<'a>, pub(super) &'a T);

impl<T: Encode> Encode for Fronted<'_, T> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let Submitted { corrects, thresholds, .. } = *self.0;
        if let Some(old) = corrects {
            old.encode(encoder)?;
        }
        if !thresholds.is_none() {
            thresholds.warn_ns.encode(encoder)?;
            thresholds.critical_ns.encode(encoder)?;
        }
        self.1.encode(encoder)
    }
}

/// What the body of a record says that begins an order, by its kind.
pub(super) fn decode(kind: u8, bytes: &[u8]) -> Result<Body<'_>, BodyError> {
    let mut rest = bytes;
    let corrects = match kind & KIND_BIT_SECOND_KEY {
        0 => None,
        _ => Some(front(&mut rest)?),
    };
    let thresholds = if has_own_thresholds(kind) {
        let (warn_ns, critical_ns) = front(&mut rest)?;
        Thresholds { warn_ns, critical_ns }
    } else {
        Thresholds::default()
    };
    if has_own_thresholds(kind) && thresholds.is_none() {
        return Err(BodyError::Malformed("no thresholds, of which its kind speaks".into()));
    }
    let put_in_front = |submitted: &mut Submitted<'_>| {
        (submitted.corrects, submitted.thresholds) = (corrects, thresholds);
        check_limits(submitted)
    };
    if is_accepted(kind) {
        let mut submitted = whole(rest)?;
        put_in_front(&mut submitted)?;
        return Ok(Body::Accepted(submitted));
    }
    let mut refused: Refused<'_> = whole(rest)?;
    put_in_front(&mut refused.submitted)?;
    Ok(Body::Refused(refused))
}

/// Takes what stands in front of the rest.
fn front<'a, T: BorrowDecode<'a, ()>>(rest: &mut &'a [u8]) -> Result<T, BodyError> {
    let (value, used) = bincode::borrow_decode_from_slice(rest, CONFIG)
        .map_err(|error| BodyError::Malformed(error.to_string()))?;
    *rest = rest.get(used..).unwrap_or_default();
    Ok(value)
}

/// The kind without what it says about what stands in front.
const fn bare(kind: u8) -> u8 {
    kind & !(KIND_BIT_SECOND_KEY | KIND_BIT_OWN_THRESHOLDS)
}

/// Whether a record of this kind says that an order was accepted.
pub(crate) const fn is_accepted(kind: u8) -> bool {
    bare(kind) == KIND_ACCEPTED
}

/// Whether a record of this kind says that an order was refused for good.
pub(crate) const fn is_refused(kind: u8) -> bool {
    bare(kind) == KIND_REFUSED
}

/// Whether a record of this kind begins an order.
pub(super) const fn begins_order(kind: u8) -> bool {
    is_accepted(kind) || is_refused(kind)
}

/// Whether a record of this kind begins an order with thresholds of its own.
pub(crate) const fn has_own_thresholds(kind: u8) -> bool {
    begins_order(kind) && kind & KIND_BIT_OWN_THRESHOLDS != 0
}

/// About how many bytes a body takes: never too few for one with fields within their limits.
pub(super) fn bytes_about(submitted: &Submitted<'_>) -> usize {
    // At most five bytes for each length and number, nine for the expiry.
    const NUMBERS_BYTES: usize = 64;
    // What few orders have: nine for the one that it corrects, ten for each threshold.
    const FRONT_BYTES: usize = 29;
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
    let front_bytes = if submitted.kind_bits() == 0 { 0 } else { FRONT_BYTES };
    fields.iter().map(|field| field.len()).sum::<usize>() + NUMBERS_BYTES + front_bytes
}

/// The reason as it is stored: at most its limit, cut at a character boundary.
pub(super) fn cut_reason(reason: &str) -> &str {
    let mut end = reason.len().min(Refusal::REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default()
}

pub(super) fn check_limits(body: &Submitted<'_>) -> Result<(), BodyError> {
    let within = (1..=CLIENT_BYTES_MAX).contains(&body.client.len())
        && (1..=KEY_BYTES_MAX).contains(&body.key.len())
        && body.kind.len() <= KIND_BYTES_MAX
        && body.account.len() <= ACCOUNT_BYTES_MAX
        && body.external_ref.len() <= EXTERNAL_REF_BYTES_MAX
        && body.payload.len() <= PAYLOAD_BYTES_MAX
        && body.expires_in_ns != Some(0)
        && body.corrects.is_none_or(|old| OrderId::from_u64(old).seq() >= Seq::FIRST);
    if within { Ok(()) } else { Err(BodyError::Malformed("a field breaks its limit".into())) }
}

impl<'a> Submitted<'a> {
    /// What the kind of its record says about what stands in front.
    pub(super) fn kind_bits(&self) -> u8 {
        let second = if self.corrects.is_some() { KIND_BIT_SECOND_KEY } else { 0 };
        let own = if self.thresholds.is_none() { 0 } else { KIND_BIT_OWN_THRESHOLDS };
        second | own
    }

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
            corrects: self.corrects,
            thresholds: self.thresholds,
        }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.content().fingerprint(&self.salt)
    }
}
