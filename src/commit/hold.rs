//! Holds on clients and accounts, and their end.
//!
//! Always true: at most one change of a scope is in flight, so that each is decided by what is committed; whoever
//! was told that it is held finds it held from then on.

use super::queue::{InFlight, Pending, ScopedKey, What};
use super::round::Committed;
use super::{Committer, enter, step};
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
        loop {
            let seen = self.lookup.log.readable_next();
            let before = self.lookup.hold_of(client, account)?;
            let record = step::encode(record::encode_held(&held))?;
            let queue = self.queue.lock();
            if let Some(InFlight::Queued(place)) = queue.in_flight.get(&key) {
                let place = place.clone();
                drop(queue);
                self.wait_out(&place);
                continue;
            }
            if self.lookup.tables.may_have_since(seen, hash) {
                continue;
            }
            enter::check_doubt(&queue, &key)?;
            if let Some(known) = known(before, holds, reason) {
                return Ok(known);
            }
            let keys = hasher.keys_of_hold(client, account);
            let pending = Pending::single(key, record, keys, What::Hold);
            let place = self.push_existing(queue, pending)?;
            self.lead_if_idle();
            let Committed { seq, at } = self.settle(&place)?;
            return Ok(HoldChange { seq: Some(seq), at: Some(at), how: How::Fresh });
        }
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
