//! The proof that an order was taken, and what a call to submit answers.
//!
//! A [`Receipt`] never changes: a replay returns the very same bytes. How this particular call came by
//! it ([`How`]) and where the order stands now ([`Present`]) stand beside it in [`Outcome`].
//!
//! The byte form, little-endian, [`Receipt::BYTES`] long:
//!
//! | offset | bytes | meaning |
//! |---|---|---|
//! | 0 | 1 | version, 1 |
//! | 1 | 1 | durability: 1 durable, 2 relaxed |
//! | 2 | 1 | number of the first state |
//! | 3 | 1 | reserved, 0 |
//! | 4 | 16 | ledger id |
//! | 20 | 8 | order id |
//! | 28 | 8 | accepted_at, nanoseconds since 1970 |
//! | 36 | 32 | fingerprint |
//! | 68 | 4 | CRC-32 of the 68 bytes before |
//!
//! The printed form is `olr1-` and these bytes in Crockford's base 32 (source: the alphabet that leaves
//! out I, L, O and U so that it survives a telephone), read back without regard to case, and with O
//! taken for 0 and I and L for 1. Hyphens and white space inside it are ignored.

use std::fmt;
use std::str::FromStr;

use crate::bytes::Fields;

use super::fingerprint::Fingerprint;
use super::id::{LedgerId, OrderId, Timestamp};
use super::state::State;

/// What is promised for what a ledger has acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Acknowledged means on disk: it is there after a process kill and after a power cut.
    #[default]
    Durable,
    /// Acknowledged means handed to the operating system: it survives a process kill and **may be lost
    /// in a power cut**. For tests and bulk imports that can be repeated. The ledger and every receipt
    /// are stamped with it, and a ledger can never change from one to the other.
    Relaxed,
}

impl Durability {
    /// The number that is stored on disk and in receipts.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Durability::Durable => 1,
            Durability::Relaxed => 2,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Option<Durability> {
        match number {
            1 => Some(Durability::Durable),
            2 => Some(Durability::Relaxed),
            _ => None,
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Durability::Durable => "durable",
            Durability::Relaxed => "relaxed",
        })
    }
}

/// The proof that an order was taken (or finally refused): immutable, the same bytes at every replay.
///
/// **Source**: every field is assigned by the ledger when the order is committed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Receipt {
    /// The ledger that took the order.
    pub ledger: LedgerId,
    /// The order.
    pub order: OrderId,
    /// When it was committed, in ledger time.
    pub accepted_at: Timestamp,
    /// What stands for its content.
    pub fingerprint: Fingerprint,
    /// [`State::Accepted`], or [`State::Refused`] for a final refusal.
    pub first_state: State,
    /// What was promised: a relaxed receipt says so for ever.
    pub durability: Durability,
}

const VERSION: u8 = 1;
const PREFIX: &str = "olr1-";
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const BODY_BYTES: usize = 68;

impl Receipt {
    /// Length of the byte form.
    pub const BYTES: usize = BODY_BYTES + 4;

    /// The byte form: versioned and checksummed. The layout is in the description of the module.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Receipt::BYTES] {
        let mut bytes = Vec::with_capacity(Receipt::BYTES);
        bytes.extend([VERSION, self.durability.number(), self.first_state.number(), 0]);
        bytes.extend(self.ledger.0);
        bytes.extend(self.order.as_u64().to_le_bytes());
        bytes.extend(self.accepted_at.as_unix_ns().to_le_bytes());
        bytes.extend(self.fingerprint.0);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        let mut out = [0; Receipt::BYTES];
        out.copy_from_slice(&bytes);
        out
    }

    /// The receipt that [`Receipt::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`ReceiptError`] says which part is wrong. Nothing about the order follows from it: look the
    /// order up by its key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Receipt, ReceiptError> {
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or(ReceiptError::Length)?;
        let body: &[u8; BODY_BYTES] = body.try_into().map_err(|_| ReceiptError::Length)?;
        if u32::from_le_bytes(*crc) != crc32fast::hash(body) {
            return Err(ReceiptError::Checksum);
        }
        let mut fields = Fields(body);
        let [version, durability, state, reserved] =
            fields.array::<4>().ok_or(ReceiptError::Length)?;
        if version != VERSION || reserved != 0 {
            return Err(ReceiptError::Version);
        }
        Ok(Receipt {
            durability: Durability::from_number(durability).ok_or(ReceiptError::Version)?,
            first_state: State::from_number(state).ok_or(ReceiptError::Version)?,
            ledger: LedgerId(fields.array().ok_or(ReceiptError::Length)?),
            order: OrderId::from_u64(fields.u64().ok_or(ReceiptError::Length)?),
            accepted_at: Timestamp::from_unix_ns(fields.u64().ok_or(ReceiptError::Length)?),
            fingerprint: Fingerprint(fields.array().ok_or(ReceiptError::Length)?),
        })
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        let (mut pending, mut pending_bits) = (0u32, 0u32);
        let mut digit = |value: u32| {
            let index = usize::try_from(value & 31).unwrap_or(0);
            fmt::Write::write_char(f, ALPHABET.get(index).map_or('0', |byte| char::from(*byte)))
        };
        for byte in self.to_bytes() {
            pending = (pending << 8) | u32::from(byte);
            pending_bits += 8;
            while pending_bits >= 5 {
                pending_bits -= 5;
                digit(pending >> pending_bits)?;
            }
        }
        if pending_bits > 0 {
            digit(pending << (5 - pending_bits))?;
        }
        Ok(())
    }
}

impl FromStr for Receipt {
    type Err = ReceiptError;

    fn from_str(text: &str) -> Result<Receipt, ReceiptError> {
        let clean: String =
            text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_uppercase();
        // The prefix goes through the same confusions as the rest: OLR1 may arrive as 01RI.
        let (prefix, digits) = clean.split_once('-').ok_or(ReceiptError::NotAReceipt)?;
        if digits_of(prefix)? != digits_of(PREFIX.trim_end_matches('-'))? {
            return Err(ReceiptError::NotAReceipt);
        }
        let (mut bytes, mut pending, mut pending_bits) = (Vec::new(), 0u32, 0u32);
        for value in digits_of(digits)? {
            pending = (pending << 5) | value;
            pending_bits += 5;
            if pending_bits >= 8 {
                pending_bits -= 8;
                bytes.push(u8::try_from((pending >> pending_bits) & 0xff).unwrap_or(0));
            }
        }
        if pending & ((1 << pending_bits) - 1) != 0 {
            return Err(ReceiptError::Checksum);
        }
        Receipt::from_bytes(&bytes)
    }
}

/// The values of base 32 digits, with the look-alikes folded and hyphens left out.
fn digits_of(text: &str) -> Result<Vec<u32>, ReceiptError> {
    text.bytes()
        .filter(|byte| *byte != b'-')
        .map(|byte| match byte.to_ascii_uppercase() {
            b'O' => Ok(0),
            b'I' | b'L' => Ok(1),
            other => ALPHABET
                .iter()
                .position(|digit| *digit == other)
                .and_then(|position| u32::try_from(position).ok())
                .ok_or(ReceiptError::NotAReceipt),
        })
        .collect()
}

/// Why bytes or a line of text are not a receipt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// It does not begin like a receipt or holds characters that no receipt has.
    #[error("not a receipt: a receipt begins with olr1- and holds digits and letters only")]
    NotAReceipt,
    /// It is too short or too long: something was cut off or added.
    #[error("not a whole receipt: a part was cut off or added")]
    Length,
    /// A character or byte was changed on the way.
    #[error("the receipt was changed on its way: its checksum does not hold")]
    Checksum,
    /// It was made by a version that this one does not know.
    #[error("a receipt of a version that this program does not know")]
    Version,
}

/// How a call came by its receipt.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum How {
    /// This call took the order.
    Fresh,
    /// The order had been taken before; this is its receipt again.
    Replayed,
    /// Another call with the same key and content was on its way to disk; both have the same receipt.
    Joined,
}

impl How {
    /// The name, as the command line prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            How::Fresh => "fresh",
            How::Replayed => "replayed",
            How::Joined => "joined",
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where an order stands at the moment of the answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Present {
    /// Its state.
    pub state: State,
    /// 1 when it was accepted, one more for each step. Notes do not count.
    pub version: u64,
}

/// What a successful submit answers.
///
/// **Durability**: when you hold one, the order is on disk (unless the ledger is
/// [`Durability::Relaxed`], which the receipt says).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The receipt: the same for every call with this key and content.
    pub receipt: Receipt,
    /// How this call came by it.
    pub how: How,
    /// Where the order stands now.
    pub now: Present,
}
