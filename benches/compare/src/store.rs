//! What every contender has to do: take an order under its key once, durably.
//!
//! Always true: when `submit` or `submit_many` returns, every order it answered for is on disk. An order
//! whose key was there before changes nothing and is told apart by its content.

use std::error::Error;

use order_ledger::Submission;

/// Whatever went wrong: a comparison that can't do its work ends.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How an order was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    /// By this call.
    Fresh,
    /// Before, with the same content.
    Replayed,
    /// Not at all: its key belongs to other content.
    Conflict,
}

/// A contender, open.
pub(crate) trait Store: Send + Sync {
    /// Takes one order.
    fn submit(&self, order: &Submission) -> Result<How>;

    /// Takes many orders, in one transaction if there is such a thing.
    fn submit_many(&self, orders: &[Submission]) -> Result<Vec<How>>;
}

/// The answer for a key that is there, by its content.
pub(crate) fn repeated(stored: &[u8], order: &Submission) -> How {
    if stored == order.payload() { How::Replayed } else { How::Conflict }
}
