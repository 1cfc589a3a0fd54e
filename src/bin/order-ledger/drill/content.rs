//! What a drill submits: one order for each key.
//!
//! Always true: the content follows from the key, so that whoever knows the key knows what must be there.
//! This is the one place that knows the life of an order. Today an order has one state, accepted; once it
//! has more, what happens to it next is decided here, and both kinds of drill go through it.

use std::path::Path;

use order_ledger::Submission;

use crate::errors::Failure;
use crate::own;
use crate::submit::input::parse_under;

/// The client of every order of a drill.
pub(crate) const CLIENT: &str = "drill";

/// Made-up orders, or the caller's own.
pub(crate) struct Content {
    /// Lines that are orders; none: made-up ones.
    own: Vec<Vec<u8>>,
}

impl Content {
    /// Reads the caller's own orders, if there are any.
    pub(crate) fn new(from: Option<&Path>) -> Result<Content, Failure> {
        let Some(path) = from else { return Ok(Content { own: Vec::new() }) };
        let advice = "give JSON lines as `submit` takes them; no drill was begun";
        let own =
            own::lines(path, advice, |line| parse_under(CLIENT.as_bytes(), b"x", line).map(drop))?;
        Ok(Content { own })
    }

    /// How many orders of the caller's own there are.
    pub(crate) fn own(&self) -> usize {
        self.own.len()
    }

    /// The order of this key.
    pub(crate) fn submission(&self, key: &str) -> Submission {
        let sum =
            key.bytes().fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let chosen = usize::try_from(sum).unwrap_or(0).checked_rem(self.own.len());
        let own = chosen.and_then(|index| self.own.get(index));
        own.and_then(|line| parse_under(CLIENT.as_bytes(), key.as_bytes(), line).ok())
            .unwrap_or_else(|| Submission::new(CLIENT, key, made_up(key, sum)))
    }
}

/// 60 to 3,000 bytes that follow from the key.
fn made_up(key: &str, sum: u32) -> Vec<u8> {
    let padding = "x".repeat(usize::try_from(sum % 2940).unwrap_or(0));
    format!(r#"{{"drill":"{key}","quantity":{sum},"note":"{padding}"}}"#).into_bytes()
}
