//! Identifiers and time: the numbers that name things in a ledger.
//!
//! Always true: a [`Seq`] is dense from 1 and never reused; an [`OrderId`] is the seq of the order's
//! acceptance record with a partition number above it; a [`Timestamp`] counts nanoseconds.

use std::fmt;
use std::str::FromStr;

/// The position of a record in the log: dense, from 1, assigned in commit order.
///
/// **Source**: assigned by the ledger when the record is committed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Seq(pub u64);

impl Seq {
    /// The first record of every ledger.
    pub const FIRST: Seq = Seq(1);

    /// The seq that follows this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How many bits of an [`OrderId`] hold the seq; the 16 above them hold the partition.
const SEQ_BITS: u32 = 48;

/// The name of an order: the [`Seq`] of its acceptance record, below a 16-bit partition number.
///
/// The partition is 0 in a single ledger; it keeps ids unique when a ledger is one of many.
///
/// **Source**: assigned by the ledger when the order is committed.
///
/// ```
/// # use order_ledger::{OrderId, Seq};
/// let order = OrderId::new(0, Seq(42));
/// assert_eq!(order.to_string(), "42");
/// assert_eq!("42".parse::<OrderId>().unwrap(), order);
/// assert_eq!((order.partition(), order.seq()), (0, Seq(42)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OrderId(u64);

impl OrderId {
    /// An id from its parts. Bits of `seq` above the 48th are cut off: a ledger that has written
    /// 2^48 records at a million a second is nine years old.
    #[must_use]
    pub const fn new(partition: u16, seq: Seq) -> OrderId {
        OrderId(((partition as u64) << SEQ_BITS) | (seq.0 & ((1 << SEQ_BITS) - 1)))
    }

    /// An id from the number that [`OrderId::as_u64`] gave.
    #[must_use]
    pub const fn from_u64(id: u64) -> OrderId {
        OrderId(id)
    }

    /// The id as one number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The partition: 0 in a single ledger.
    #[must_use]
    pub const fn partition(self) -> u16 {
        (self.0 >> SEQ_BITS) as u16
    }

    /// The seq of the record that accepted (or finally refused) the order.
    #[must_use]
    pub const fn seq(self) -> Seq {
        Seq(self.0 & ((1 << SEQ_BITS) - 1))
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for OrderId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<OrderId, Self::Err> {
        text.parse().map(OrderId)
    }
}

/// The identity of a ledger: 16 random bytes made when it is created, printed as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerId(pub [u8; 16]);

impl fmt::Display for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LedgerId({self})")
    }
}

/// An instant of ledger time: nanoseconds since 1970-01-01T00:00:00Z.
///
/// **Source**: the ledger's clock, moved forward where needed so that it is strictly increasing from
/// record to record. It orders nothing: [`Seq`] does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The instant `ns` nanoseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_unix_ns(ns: u64) -> Timestamp {
        Timestamp(ns)
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_unix_ns(self) -> u64 {
        self.0
    }
}

/// Writes `bytes` as lower-case hex digits.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}
