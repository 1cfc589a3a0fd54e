//! The bodies of holds: kind 73.
//!
//! Always true of one that was decoded: it names a client, an account, or both, within their limits.

use bincode::{BorrowDecode, Encode};

use super::{Body, BodyError, Encoded, KIND_HOLD, encode_checked};
use crate::order::limits::{
    ACCOUNT_BYTES_MAX, AUTHOR_BYTES_MAX, CLIENT_BYTES_MAX, REASON_BYTES_MAX,
};

/// New orders of a client or an account are taken no more, or again. The newest one of a scope counts. Version 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub(crate) struct Held<'a> {
    /// Empty: any.
    pub(crate) client: &'a [u8],
    /// Empty: any.
    pub(crate) account: &'a [u8],
    /// Or it is released.
    pub(crate) holds: bool,
    pub(crate) reason: &'a str,
    pub(crate) by: &'a [u8],
}

/// The body that records a hold, or its end. Decoded again before it is handed out.
pub(crate) fn encode_held(held: &Held<'_>) -> Result<Encoded, BodyError> {
    let is_same = |body: &Body<'_>| matches!(body, Body::Held(it) if it == held);
    encode_checked(KIND_HOLD, held, 256, is_same)
}

impl Held<'_> {
    pub(super) fn check(&self) -> Result<(), BodyError> {
        let malformed = |what: &str| Err(BodyError::Malformed(what.to_owned()));
        let within = self.client.len() <= CLIENT_BYTES_MAX
            && self.account.len() <= ACCOUNT_BYTES_MAX
            && self.reason.len() <= REASON_BYTES_MAX
            && self.by.len() <= AUTHOR_BYTES_MAX;
        if !within {
            return malformed("a field breaks its limit");
        }
        if self.client.is_empty() && self.account.is_empty() {
            return malformed("a hold on nobody");
        }
        Ok(())
    }
}
