//! What the views need of a store of keys, why one is given up, and the store in memory.
//!
//! Always true: `apply` is all or nothing (keys and watermark together); a store that has answered one
//! [`Doubt`] is not asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::layout::Change;
use crate::order::{LedgerId, Seq};

/// An ordered set of keys, and a watermark that changes with them.
pub(super) trait Store: Send {
    /// The watermark as it was last applied; `None` when none ever was.
    fn watermark(&mut self) -> Result<Option<Vec<u8>>, Doubt>;

    /// At most `limit` keys that begin with `prefix` and come after `after`, in order. The watermark's
    /// key may be among them.
    fn keys(&mut self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, Doubt>;

    /// Adds and removes keys and replaces the watermark: after a kill at any moment all of it is done or
    /// nothing.
    fn apply(&mut self, batch: Batch, watermark: Vec<u8>) -> Result<(), Doubt>;
}

/// What is done to keys, once to each: what was said last.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Batch(BTreeMap<Vec<u8>, Change>);

impl Batch {
    pub(super) fn put(&mut self, key: Vec<u8>, change: Change) {
        self.0.insert(key, change);
    }

    pub(super) fn into_changes(self) -> impl Iterator<Item = (Vec<u8>, Change)> {
        self.0.into_iter()
    }
}

/// A batch that adds these keys.
#[cfg(test)]
impl FromIterator<Vec<u8>> for Batch {
    fn from_iter<T: IntoIterator<Item = Vec<u8>>>(keys: T) -> Batch {
        Batch(keys.into_iter().map(|key| (key, Change::Add)).collect())
    }
}

/// Why a store is not believed any more. Each is a reason to set it aside and to build it again from
/// the log; none is ever shown to a caller as an error.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Doubt {
    /// Kept apart from [`Doubt::Refused`] because it may pass: a lock that is not released yet.
    #[error("the operating system refused it: {0}")]
    Io(String),
    #[error("the store answered with an error: {0}")]
    Refused(String),
    #[error("the store panicked: {0}")]
    Panicked(String),
    #[error("the store did not answer for {waited:?} ({doing})")]
    Silent { doing: &'static str, waited: Duration },
    #[error("the store's thread has ended")]
    Gone,
    #[error("the watermark is not usable: {0}")]
    BadWatermark(&'static str),
    #[error("there are entries but no watermark")]
    NoWatermark,
    #[error("it belongs to ledger {0}")]
    Foreign(LedgerId),
    /// In a ledger that promises no more than to survive a process kill, this proves nothing.
    #[error("it is ahead of the log of a relaxed ledger (it has seen seq {0})")]
    AheadOfRelaxed(Seq),
    #[error("a key that is none of ours")]
    BadKey,
    #[error("its entries do not add up: {found} there, {expected} were written")]
    Incomplete { found: u64, expected: u64 },
    #[error("an entry names seq {0}, whose record says otherwise")]
    Mismatch(Seq),
}

/// The store in memory: for the simulated disk, under which nothing may touch real files.
#[derive(Default, Debug)]
pub(super) struct MemStore {
    keys: BTreeSet<Vec<u8>>,
    watermark: Option<Vec<u8>>,
}

impl Store for MemStore {
    fn watermark(&mut self) -> Result<Option<Vec<u8>>, Doubt> {
        Ok(self.watermark.clone())
    }

    fn keys(&mut self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, Doubt> {
        use std::ops::Bound::{Excluded, Unbounded};
        let keys = self.keys.range::<[u8], _>((Excluded(after), Unbounded));
        Ok(keys.take_while(|key| key.starts_with(prefix)).take(limit).cloned().collect())
    }

    fn apply(&mut self, batch: Batch, watermark: Vec<u8>) -> Result<(), Doubt> {
        for (key, change) in batch.into_changes() {
            match change {
                Change::Add => self.keys.insert(key),
                Change::Remove => self.keys.remove(&key),
            };
        }
        self.watermark = Some(watermark);
        Ok(())
    }
}
