//! From a note about an order, or from what resolves one, to its answer.
//!
//! Always true: notes of an order are in flight under the key of its steps, so that at most one command of an order
//! is on its way and the command keys, which all of them share, are decided by what is committed; whoever decides
//! and queues has made sure, under the lock of the queue, that nothing that would decide otherwise was committed
//! in between.

use super::queue::{InFlight, Pending, Place, ScopedKey, What};
use super::round::Committed;
use super::{Committer, Counters, enter, step};
use crate::admission::limits;
use crate::admission::note::{Decision, Wanted, decide};
use crate::error::{ErrorKind, Result};
use crate::order::{How, Noted, OrderId};
use crate::wal::record;

/// What a note comes to at once.
enum NoteEntry {
    /// It was recorded before.
    Answered(Noted),
    /// It is queued.
    Queued(Place),
    /// Another command of the order is on its way: what becomes of it decides.
    Behind(Place),
}

/// The answer for one note of a batch.
enum Answer {
    Known(Result<Noted>),
    Waits(OrderId, Place),
}

impl Committer {
    /// Records one note, or what resolves one: returns when it is on disk.
    pub(crate) fn note(&self, wanted: Wanted<'_>) -> Result<Noted> {
        loop {
            match self.enter_note(wanted)? {
                NoteEntry::Answered(answer) => return Ok(answer),
                NoteEntry::Queued(place) => {
                    self.lead_if_idle();
                    return noted(wanted.order(), self.settle(&place));
                }
                // Whatever became of it: the next look decides.
                NoteEntry::Behind(place) => self.wait_out(&place),
            }
        }
    }

    /// Records many, in the order of the input.
    pub(crate) fn note_many(&self, many: &[Wanted<'_>]) -> Vec<Result<Noted>> {
        let mut answers = Vec::with_capacity(many.len());
        for wanted in many {
            answers.push(loop {
                match self.enter_note(*wanted) {
                    Err(error) if matches!(error.kind(), ErrorKind::Overloaded { .. }) => {
                        // The batch itself may fill the queue: write what is there, and go on.
                        match newest(&answers) {
                            Some(place) => self.wait_out(&place),
                            None => break Answer::Known(Err(error)),
                        }
                    }
                    Err(error) => break Answer::Known(Err(error)),
                    Ok(NoteEntry::Answered(answer)) => break Answer::Known(Ok(answer)),
                    Ok(NoteEntry::Queued(place)) => break Answer::Waits(wanted.order(), place),
                    Ok(NoteEntry::Behind(place)) => self.wait_out(&place),
                }
            });
        }
        self.lead_if_idle();
        let outcome = |answer| match answer {
            Answer::Known(outcome) => outcome,
            Answer::Waits(order, place) => noted(order, self.settle(&place)),
        };
        answers.into_iter().map(outcome).collect()
    }

    fn enter_note(&self, wanted: Wanted<'_>) -> Result<NoteEntry> {
        let remark = wanted.remark();
        limits::check_remark(remark.author, remark.command_key, remark.text)?;
        let order = wanted.order().seq();
        let tables = &self.lookup.tables;
        let key = ScopedKey::of_order(tables.hasher().steps_of(order), order);
        // A note without a key depends on nothing but that its order exists.
        let command = (!remark.command_key.is_empty())
            .then(|| tables.hasher().command(order, remark.command_key));
        let resolved = remark.resolves().map(|note| tables.hasher().resolution_of(note));
        loop {
            let seen = self.lookup.log.readable_next();
            let decided = decide(&self.lookup, wanted);
            // Encoded outside the lock.
            let record = match &decided {
                Ok(Decision::Take) => Some(step::encode(record::encode_remark(&remark))?),
                _ => None,
            };
            let queue = self.queue.lock();
            if let Some(InFlight::Queued(place)) = queue.in_flight.get(&key) {
                return Ok(NoteEntry::Behind(place.clone()));
            }
            let mut changed = [command, resolved].into_iter().flatten();
            if changed.any(|hash| tables.may_have_since(seen, hash)) {
                continue;
            }
            // Also for what was decided against: the command that is in doubt may be what decides otherwise.
            enter::check_doubt(&queue, &key)?;
            if let Decision::Known(answer) = decided? {
                Counters::add(&self.counters.replayed);
                return Ok(NoteEntry::Answered(answer));
            }
            let Some(record) = record else { continue };
            let keys = tables.hasher().keys_of_remark(&remark);
            let pending = Pending::single(key, record, keys, What::Remark);
            return self.push_existing(queue, pending).map(NoteEntry::Queued);
        }
    }
}

/// The answer for what was queued.
fn noted(order: OrderId, arrived: Result<Committed>) -> Result<Noted> {
    let Committed { seq, at } = arrived?;
    Ok(Noted { order, seq, at, how: How::Fresh })
}

/// The newest place of a batch, unless its answer is there.
fn newest(answers: &[Answer]) -> Option<Place> {
    let place = answers.iter().rev().find_map(|answer| match answer {
        Answer::Waits(_, place) => Some(place),
        Answer::Known(_) => None,
    })?;
    (!place.round.is_finished()).then(|| place.clone())
}
