//! The bodies of cursors: kinds 5 and 69.
//!
//! Always true of one that was decoded: it is of a consumer that was opened, and names a seq.

use bincode::{BorrowDecode, Encode};

use super::{Body, BodyError, Encoded, KIND_CURSOR, KIND_CURSOR_PARKED, encode_checked};
use crate::order::consumer::is_consumer_name;
use crate::order::limits::REASON_BYTES_MAX;

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

/// The body that records how far a consumer is. Decoded again before it is handed out.
pub(crate) fn encode_cursor(cursor: &Cursor<'_>) -> Result<Encoded, BodyError> {
    let kind = match cursor.parked {
        None => KIND_CURSOR,
        Some(_) => KIND_CURSOR_PARKED,
    };
    encode_checked(kind, cursor, 128, |body| matches!(body, Body::Cursor(it) if it == cursor))
}

impl Cursor<'_> {
    pub(super) fn check(&self, kind: u8) -> Result<(), BodyError> {
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
