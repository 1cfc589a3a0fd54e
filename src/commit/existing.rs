//! How a command about something that exists comes into the queue: decided by what is committed, recorded once.
//! Linked batches ([`super::linked`]) do the same for many keys at once.
//!
//! Always true: a command that is queued was decided by records to which nothing decisive was added since, which is
//! asked under the lock that every entry must pass to leave the in-flight map; and nothing else with its key is in
//! flight. So of two commands that exclude each other one is decided by what became of the other.

use super::queue::{InFlight, Pending, Place, Queue, ScopedKey, What};
use super::round::{Committed, EntryResult};
use super::{Committer, enter};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::MutexGuard;
use crate::tables::hash::{KeyHash, RecordKeys};
use crate::wal::record::{BodyError, Encoded};

/// What a command comes to by what is committed.
#[expect(
    clippy::large_enum_variant,
    reason = "it goes to the queue at once: no allocation for each command"
)]
pub(super) enum Decided<A, Q> {
    /// Nothing is to be recorded; this is the answer.
    Known(A),
    /// This is to be recorded, and that is what its answer needs besides.
    Record(Pending, Q),
}

impl<A, Q> Decided<A, Q> {
    /// One record is to be written, which is found by `keys`.
    pub(super) fn record(
        key: &ScopedKey,
        record: Encoded,
        keys: RecordKeys,
        what: What,
        about: Q,
    ) -> Decided<A, Q> {
        Decided::Record(Pending::single(key.clone(), record, keys, what), about)
    }
}

/// The answer for a command, or the place that it is waited for at.
pub(super) enum Answer<A, Q> {
    Known(A),
    Waits(Place, Q),
}

/// What a command has come to.
pub(super) enum Done<A, Q> {
    /// Nothing was recorded.
    Known(A),
    /// It is on disk.
    Recorded(Committed, Q),
}

impl Committer {
    /// Decides about a command, and queues it if it is to be recorded. `Err` within: something with its key is on
    /// its way, and what becomes of that decides.
    ///
    /// `key`: what it is in flight under. `decisive`: a record that is found by one of these may decide otherwise.
    /// `decide` looks and encodes outside of all locks, and is asked again when there is such a record since.
    ///
    /// # Errors
    /// Those of `decide`; `InDoubt`, when what is in doubt may decide otherwise; `Closed`, `Poisoned`, `Overloaded`.
    pub(super) fn enter_existing<A, Q>(
        &self,
        key: &ScopedKey,
        decisive: &[Option<KeyHash>],
        mut decide: impl FnMut() -> Result<Decided<A, Q>>,
    ) -> Result<std::result::Result<Answer<A, Q>, Place>> {
        loop {
            let seen = self.lookup.log.readable_next();
            let decided = decide();
            let queue = self.queue.lock();
            if let Some(InFlight::Queued(place)) = queue.in_flight.get(key) {
                return Ok(Err(place.clone()));
            }
            let mut decisive = decisive.iter().flatten();
            if decisive.any(|hash| self.lookup.tables.may_have_since(seen, *hash)) {
                continue;
            }
            // Also for what was decided against: what is in doubt may be what decides otherwise.
            enter::check_doubt(&queue, key)?;
            return Ok(Ok(match decided? {
                Decided::Known(answer) => Answer::Known(answer),
                Decided::Record(pending, about) => {
                    Answer::Waits(self.push_existing(queue, pending)?, about)
                }
            }));
        }
    }

    /// The same for a caller with one command: returns when it is on disk.
    ///
    /// # Errors
    /// The same, and those of writing.
    pub(super) fn carry_out<A, Q>(
        &self,
        key: &ScopedKey,
        decisive: &[Option<KeyHash>],
        mut decide: impl FnMut() -> Result<Decided<A, Q>>,
    ) -> Result<Done<A, Q>> {
        loop {
            match self.enter_existing(key, decisive, &mut decide)? {
                Ok(answer) => {
                    self.lead_if_idle();
                    return self.finish(answer);
                }
                // Whatever became of it: the next look decides.
                Err(place) => self.wait_out(&place),
            }
        }
    }

    /// The same for one command of many, which are written together: waits for what is in its way, and where the
    /// batch itself fills the queue, for what of it is queued.
    ///
    /// # Errors
    /// Those of `enter`.
    pub(super) fn enter_of_many<A, Q>(
        &self,
        before: &[Result<Answer<A, Q>>],
        mut enter: impl FnMut() -> Result<std::result::Result<Answer<A, Q>, Place>>,
    ) -> Result<Answer<A, Q>> {
        loop {
            match enter() {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(place)) => self.wait_out(&place),
                Err(error) => self.make_room(error, before)?,
            }
        }
    }

    /// The queue is full: where the batch itself fills it, has what is there written.
    ///
    /// # Errors
    /// The same error, where it does not, and any other one.
    pub(super) fn make_room<A, Q>(
        &self,
        error: Error,
        before: &[Result<Answer<A, Q>>],
    ) -> Result<()> {
        let mut places = before.iter().rev().filter_map(|answer| match answer {
            Ok(Answer::Waits(place, _)) => Some(place),
            _ => None,
        });
        let is_full = matches!(error.kind(), ErrorKind::Overloaded { .. });
        match places.next().filter(|place| is_full && !place.round.is_finished()) {
            Some(place) => {
                self.wait_out(place);
                Ok(())
            }
            None => Err(error),
        }
    }

    /// Waits for what was queued, unless the answer is known.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn finish<A, Q>(&self, answer: Answer<A, Q>) -> Result<Done<A, Q>> {
        Ok(match answer {
            Answer::Known(answer) => Done::Known(answer),
            Answer::Waits(place, about) => Done::Recorded(self.settle(&place)?, about),
        })
    }

    /// Waits for what is queued at `place` and has no time by which it is to be written.
    pub(super) fn settle(&self, place: &Place) -> Result<Committed> {
        self.settle_step(place)?.ok_or_else(|| {
            let why = "what may be written at any time was left out".to_owned();
            Error::new(ErrorKind::InDoubt { why })
        })
    }

    /// Waits for what is queued at `place`, also where it may be left out.
    pub(super) fn settle_step(&self, place: &Place) -> EntryResult {
        match place.round.wait(place.index, None) {
            Some(arrived) => arrived,
            None => {
                let why = "the wait ended before the answer was there".to_owned();
                Err(Error::new(ErrorKind::InDoubt { why }))
            }
        }
    }

    /// Has what is queued at `place` written, and waits for it; what became of it is asked elsewhere.
    pub(super) fn wait_out(&self, place: &Place) {
        self.lead_if_idle();
        drop(self.settle_step(place));
    }

    /// Queues what does not begin an order, if it may still be written.
    pub(super) fn push_existing(
        &self,
        mut queue: MutexGuard<'_, Queue>,
        pending: Pending,
    ) -> Result<Place> {
        if queue.closing {
            return Err(Error::new(ErrorKind::Closed));
        }
        self.check_poison()?;
        // No look at the disk: what is kept free on it is kept for this.
        if !queue.existing.enter(&[], pending.bytes()) {
            return Err(self.overloaded(queue.existing.orders()));
        }
        Ok(queue.push(pending))
    }
}

/// The record of a command, or why there can't be one.
///
/// # Errors
/// `Invalid`.
pub(super) fn encode(encoded: std::result::Result<Encoded, BodyError>) -> Result<Encoded> {
    encoded.map_err(|error| {
        Error::new(ErrorKind::Invalid { what: "the command can't be stored".into() })
            .caused_by(error)
    })
}
