//! The caller's own check of new orders, before they are queued.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::dedupe::Lookup;
use crate::error::Result;
use crate::order::{Order, OrderId, Refusal, Submission};

/// What a [`Validator`] says about a new order.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// Take it.
    Accept,
    /// Not now: nothing is recorded, and the key stays free.
    RefuseForNow {
        /// A sentence for the caller.
        reason: String,
    },
    /// Never: the refusal is recorded under the key, durable, and replayed for ever. Codes from `0xFFFF_0000` on are
    /// the ledger's own ([`Refusal::HELD`]).
    RefuseFinal(Refusal),
}

/// Looks at new orders before they are taken.
///
/// Runs on the submitting thread, outside all locks, once per new order: not for replays, joins or
/// conflicts. A panic in it counts as [`Verdict::RefuseForNow`]. It sees committed orders only, so two
/// orders that are submitted at the same moment do not see each other.
pub trait Validator: Send + Sync {
    /// Says what is to become of `order`.
    fn validate(&self, order: &Submission, committed: &Committed<'_>) -> Verdict;
}

/// The committed orders, as a validator may look at them.
#[derive(Debug)]
pub struct Committed<'a> {
    lookup: &'a Lookup,
}

impl Committed<'_> {
    /// The order with this id, if there is one.
    ///
    /// # Errors
    /// `Io` or `Corrupt`.
    pub fn get(&self, order: OrderId) -> Result<Option<Order>> {
        match self.lookup.log.read(order.seq())? {
            Some(record) => self.lookup.order(&record),
            None => Ok(None),
        }
    }

    /// The order that was taken under this key, if there is one.
    ///
    /// # Errors
    /// `Io` or `Corrupt`.
    pub fn by_key(&self, client: &[u8], key: &[u8]) -> Result<Option<Order>> {
        self.lookup.by_key(client, key)
    }
}

/// Runs the validator; a panic in it refuses the order for now.
pub(crate) fn run(validator: &dyn Validator, order: &Submission, lookup: &Lookup) -> Verdict {
    let committed = Committed { lookup };
    catch_unwind(AssertUnwindSafe(|| validator.validate(order, &committed))).unwrap_or_else(
        |payload| {
            // Dropping what it threw is its code again, and may panic for a second time.
            std::mem::forget(payload);
            Verdict::RefuseForNow { reason: "the validator panicked".to_owned() }
        },
    )
}
