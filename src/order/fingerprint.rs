//! What makes two submissions the same content: a salted SHA-256 over the fields.
//!
//! The pre-image is injective: every field is preceded by its length, so different fields never run
//! together into the same bytes. (Hashing unseparated fields takes `{"amount":"10"}` and
//! `{"amoun":"t10"}` for the same order.) The checksum of the log protects bytes and never decides
//! equality.
//!
//! ```text
//! SHA-256( salt[16] || "order-ledger/fingerprint" || version u32 LE
//!          || for client, kind, schema, account, external_ref, expiry, payload:
//!                 length u64 LE || bytes )
//! version 2: an order that corrects another, whose id follows the payload: 8 bytes LE behind their length
//! version 3: an order with thresholds of its own: behind the payload the id of the order that it corrects,
//!            warn_after and critical_after, each behind its length: 8 bytes LE, or empty when there is none
//! schema is 4 bytes LE; expiry is empty when there is none, else 8 bytes LE of nanoseconds
//! ```
//!
//! Not in it: the key, times, trace ids. Source: SEMANTICS rules 9 to 11.

use std::fmt;

use sha2::{Digest, Sha256};

use super::id::write_hex;
use super::thresholds::Thresholds;
use crate::bytes::same;

/// Separates these hashes from every other use of SHA-256.
const DOMAIN: &[u8] = b"order-ledger/fingerprint";
/// Stored implicitly by the version of the record body that holds the salt.
const VERSION: u32 = 1;
/// Of an order that corrects another.
const VERSION_CORRECTING: u32 = 2;
/// Of an order with thresholds of its own, whether it corrects another or not.
const VERSION_OWN_THRESHOLDS: u32 = 3;

/// The salt of one record: random, so that a fingerprint alone can't be used to guess the content.
pub(crate) type Salt = [u8; 16];

/// 32 bytes that stand for the content of a submission, printed as 64 hex digits.
///
/// **Source**: computed by the ledger with a salt of its own per order, or given by the caller with
/// [`Submission::fingerprint`](crate::Submission::fingerprint). The same content under two keys has two fingerprints.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// A field of a submission, or of a command, that takes part in the comparison of content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Field {
    /// [`Submission::kind`](crate::Submission::kind)
    Kind,
    /// [`Submission::schema`](crate::Submission::schema)
    Schema,
    /// [`Submission::account`](crate::Submission::account)
    Account,
    /// [`Submission::external_ref`](crate::Submission::external_ref)
    ExternalRef,
    /// [`Submission::expires_in`](crate::Submission::expires_in)
    Expiry,
    /// The payload of [`Submission::new`](crate::Submission::new)
    Payload,
    /// The caller's own fingerprint, given with [`Submission::fingerprint`](crate::Submission::fingerprint).
    Fingerprint,
    /// [`Submission::corrects`](crate::Submission::corrects)
    Corrects,
    /// [`Submission::warn_after`](crate::Submission::warn_after) and
    /// [`Submission::critical_after`](crate::Submission::critical_after)
    Thresholds,
    /// Of a command: the state that was asked for.
    State,
    /// Of a command: the evidence that was brought along.
    Evidence,
    /// Of a command: its reason.
    Reason,
    /// Of a command: what it is. A step, a note of which kind, open or not, or what resolves which note.
    Command,
    /// Of a note or a resolution: who says it.
    Author,
    /// Of a note or a resolution: what it says.
    Text,
}

impl Field {
    /// The name, as the command line prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Field::Kind => "kind",
            Field::Schema => "schema",
            Field::Account => "account",
            Field::ExternalRef => "external_ref",
            Field::Expiry => "expiry",
            Field::Payload => "payload",
            Field::Fingerprint => "fingerprint",
            Field::Corrects => "corrects",
            Field::Thresholds => "thresholds",
            Field::State => "state",
            Field::Evidence => "evidence",
            Field::Reason => "reason",
            Field::Command => "command",
            Field::Author => "author",
            Field::Text => "text",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The content of a submission or of a stored record, borrowed: exactly the fields that count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Content<'a> {
    pub(crate) client: &'a [u8],
    pub(crate) kind: &'a [u8],
    pub(crate) schema: u32,
    pub(crate) account: &'a [u8],
    pub(crate) external_ref: &'a [u8],
    pub(crate) expires_in_ns: Option<u64>,
    pub(crate) payload: &'a [u8],
    pub(crate) own_fingerprint: Option<Fingerprint>,
    pub(crate) corrects: Option<u64>,
    pub(crate) thresholds: Thresholds,
}

impl Content<'_> {
    /// The fingerprint under `salt`, or the caller's own.
    pub(crate) fn fingerprint(&self, salt: &Salt) -> Fingerprint {
        if let Some(own) = self.own_fingerprint {
            return own;
        }
        let expiry = self.expires_in_ns.map(u64::to_le_bytes);
        let mut hash = Sha256::new();
        hash.update(salt);
        hash.update(DOMAIN);
        let version = match self.corrects {
            _ if !self.thresholds.is_none() => VERSION_OWN_THRESHOLDS,
            Some(_) => VERSION_CORRECTING,
            None => VERSION,
        };
        hash.update(version.to_le_bytes());
        for field in [
            self.client,
            self.kind,
            &self.schema.to_le_bytes(),
            self.account,
            self.external_ref,
            expiry.as_ref().map_or(&[][..], |bytes| &bytes[..]),
            self.payload,
        ] {
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field);
        }
        let Thresholds { warn_ns, critical_ns } = self.thresholds;
        let behind = match version {
            VERSION => &[][..],
            VERSION_CORRECTING => &[self.corrects][..],
            _ => &[self.corrects, warn_ns, critical_ns],
        };
        for number in behind {
            hash.update(number.map_or(0u64, |_| 8).to_le_bytes());
            hash.update(number.map(u64::to_le_bytes).as_ref().map_or(&[][..], |bytes| &bytes[..]));
        }
        Fingerprint(hash.finalize().into())
    }

    /// The fields in which `self` and `other` differ; empty means the same content.
    ///
    /// Two callers' own fingerprints decide alone; one against none differs in
    /// [`Field::Fingerprint`] and in whatever else differs.
    pub(crate) fn differs(&self, other: &Content<'_>) -> Vec<Field> {
        let same_own = self.own_fingerprint == other.own_fingerprint;
        if self.own_fingerprint.is_some() && same_own {
            return Vec::new();
        }
        let mut differs = Vec::new();
        let mut compare = |field, same: bool| {
            if !same {
                differs.push(field);
            }
        };
        compare(Field::Fingerprint, same_own);
        compare(Field::Kind, same(self.kind, other.kind));
        compare(Field::Schema, self.schema == other.schema);
        compare(Field::Account, same(self.account, other.account));
        compare(Field::ExternalRef, same(self.external_ref, other.external_ref));
        compare(Field::Expiry, self.expires_in_ns == other.expires_in_ns);
        compare(Field::Payload, same(self.payload, other.payload));
        compare(Field::Corrects, self.corrects == other.corrects);
        compare(Field::Thresholds, self.thresholds == other.thresholds);
        differs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = [3; 16];

    fn content() -> Content<'static> {
        Content {
            client: b"web",
            kind: b"sale",
            schema: 7,
            account: b"A",
            external_ref: b"",
            expires_in_ns: Some(9),
            payload: b"tea",
            own_fingerprint: None,
            corrects: None,
            thresholds: Thresholds::default(),
        }
    }

    /// The hash of what is said at the top of this file, put together by hand.
    fn by_hand(version: u8, behind: &[&[u8]]) -> Fingerprint {
        let expiry = [9, 0, 0, 0, 0, 0, 0, 0];
        let fields: [&[u8]; 7] = [b"web", b"sale", &[7, 0, 0, 0], b"A", b"", &expiry, b"tea"];
        let mut bytes = [&SALT[..], b"order-ledger/fingerprint", &[version, 0, 0, 0]].concat();
        for field in fields.iter().chain(behind) {
            bytes.extend((field.len() as u64).to_le_bytes());
            bytes.extend(*field);
        }
        Fingerprint(Sha256::digest(&bytes).into())
    }

    /// What was hashed once is hashed so for ever: fingerprints are in receipts that callers keep.
    #[test]
    fn rule_9_each_version_hashes_what_it_says() {
        let old = 258u64.to_le_bytes();
        let of = |corrects, warn_ns, critical_ns| {
            let thresholds = Thresholds { warn_ns, critical_ns };
            Content { corrects, thresholds, ..content() }.fingerprint(&SALT)
        };
        assert_eq!(of(None, None, None), by_hand(1, &[]));
        assert_eq!(of(Some(258), None, None), by_hand(2, &[&old]));
        assert_eq!(of(None, Some(258), None), by_hand(3, &[b"", &old, b""]));
        assert_eq!(of(None, None, Some(258)), by_hand(3, &[b"", b"", &old]));
        assert_eq!(of(Some(258), Some(258), Some(258)), by_hand(3, &[&old, &old, &old]));
    }
}
