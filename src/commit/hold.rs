//! Holds on clients and accounts, and their end.
//!
//! Always true: at most one change of a scope is in flight, so that each is decided by what is committed; whoever
//! was told that it is held finds it held from then on.

use super::Committer;
use super::existing::{Decided, Done, encode};
use super::queue::{ScopedKey, What};
use super::round::Committed;
use crate::admission::hold::{self, HoldSaid};
use crate::error::Result;
use crate::order::{Hold, HoldChange, How};
use crate::wal::record::{self, Held};

impl Committer {
    /// Holds a scope, or releases it: returns when it is on disk.
    ///
    /// # Errors
    /// `Invalid` beyond a limit; those of writing.
    pub(crate) fn set_hold(&self, hold: &Hold, holds: bool) -> Result<HoldChange> {
        hold::check(hold)?;
        let Hold { client, account, reason, by } = hold;
        let held = Held { client, account, holds, reason, by };
        let hasher = self.lookup.tables.hasher();
        let hash = hasher.hold(client, account);
        let key = ScopedKey::of_hold(hash, client, account);
        let done = self.carry_out(&key, &[Some(hash)], || {
            if let Some(known) = known(self.lookup.hold_of(client, account)?, holds, reason) {
                return Ok(Decided::Known(known));
            }
            let record = encode(record::encode_held(&held))?;
            let keys = hasher.keys_of_hold(client, account);
            Ok(Decided::record(&key, record, keys, What::Hold, ()))
        })?;
        Ok(match done {
            Done::Known(known) => known,
            Done::Recorded(Committed { seq, at }, ()) => {
                HoldChange { seq: Some(seq), at: Some(at), how: How::Fresh }
            }
        })
    }
}

/// The answer when there is nothing to be changed.
fn known(before: Option<HoldSaid>, holds: bool, reason: &str) -> Option<HoldChange> {
    let Some(HoldSaid { holds: held, entry }) = before else {
        let nothing = HoldChange { seq: None, at: None, how: How::Replayed };
        return (!holds).then_some(nothing);
    };
    // A release has nothing to say to what is released; another reason to hold is worth a record.
    let is_same = held == holds && (!holds || entry.reason == reason);
    is_same.then_some(HoldChange { seq: Some(entry.seq), at: Some(entry.at), how: How::Replayed })
}
