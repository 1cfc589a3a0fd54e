//! From a note about an order, or from what resolves one, to its answer.
//!
//! Always true: notes of an order are in flight under the key of its steps, so that at most one command of an order
//! is on its way and the command keys, which all of them share, are decided by what is committed
//! ([`super::existing`]).

use super::existing::{Decided, Done, encode};
use super::queue::{ScopedKey, What};
use super::round::Committed;
use super::{Committer, Counters};
use crate::admission::limits;
use crate::admission::note::{Decision, Wanted, decide};
use crate::error::Result;
use crate::order::{How, Noted, OrderId};
use crate::tables::hash::KeyHash;
use crate::wal::record;

impl Committer {
    /// Records one note, or what resolves one: returns when it is on disk.
    pub(crate) fn note(&self, wanted: Wanted<'_>) -> Result<Noted> {
        let (key, decisive) = self.command_of_note(wanted)?;
        let done = self.carry_out(&key, &decisive, || self.decide_note(wanted, &key))?;
        Ok(self.noted(done))
    }

    /// Records many, in the order of the input.
    pub(crate) fn note_many(&self, many: &[Wanted<'_>]) -> Vec<Result<Noted>> {
        let mut answers = Vec::with_capacity(many.len());
        for wanted in many {
            answers.push(self.command_of_note(*wanted).and_then(|(key, decisive)| {
                self.enter_of_many(&answers, || {
                    self.enter_existing(&key, &decisive, || self.decide_note(*wanted, &key))
                })
            }));
        }
        self.lead_if_idle();
        let noted = |answer| self.finish(answer?).map(|done| self.noted(done));
        answers.into_iter().map(noted).collect()
    }

    /// What a note is in flight under, and what decides about it.
    fn command_of_note(&self, wanted: Wanted<'_>) -> Result<(ScopedKey, [Option<KeyHash>; 2])> {
        let remark = wanted.remark();
        limits::check_remark(remark.author, remark.command_key, remark.text)?;
        let order = wanted.order().seq();
        let hasher = self.lookup.tables.hasher();
        // A note without a key depends on nothing but that its order exists.
        let command =
            (!remark.command_key.is_empty()).then(|| hasher.command(order, remark.command_key));
        let resolved = remark.resolves().map(|note| hasher.resolution_of(note));
        Ok((ScopedKey::of_order(hasher.steps_of(order), order), [command, resolved]))
    }

    fn decide_note(&self, wanted: Wanted<'_>, key: &ScopedKey) -> Result<Decided<Noted, OrderId>> {
        match decide(&self.lookup, wanted)? {
            Decision::Known(answer) => Ok(Decided::Known(answer)),
            Decision::Take => {
                let remark = wanted.remark();
                let record = encode(record::encode_remark(&remark))?;
                let keys = self.lookup.tables.hasher().keys_of_remark(&remark);
                Ok(Decided::record(key, record, keys, What::Remark, wanted.order()))
            }
        }
    }

    fn noted(&self, done: Done<Noted, OrderId>) -> Noted {
        match done {
            Done::Known(answer) => {
                Counters::add(&self.counters.replayed);
                answer
            }
            Done::Recorded(Committed { seq, at }, order) => {
                Noted { order, seq, at, how: How::Fresh }
            }
        }
    }
}
