//! From a step that an order is to take to its answer, or to a place in the queue.
//!
//! Always true: at most one step or note of an order is in flight, so that the next one is decided by what is
//! committed, and two that expect the same version never both succeed; whoever decides and queues has made
//! sure, under the lock of the queue, that nothing was committed in between.

use std::sync::Arc;

use super::queue::{InFlight, Pending, Place, ScopedKey, What};
use super::round::{Committed, EntryResult};
use super::{Committer, Counters, enter};
use crate::admission::limits;
use crate::admission::transition::{Decision, Step, decide};
use crate::error::{Error, ErrorKind, Result};
use crate::order::{How, Lifecycle, OrderId, Present, State, Transition, Transitioned};
use crate::tables::hash::RecordKeys;
use crate::wal::record::{self, Encoded};

/// What a step comes to at once.
#[derive(Debug)]
pub(crate) enum StepEntry {
    /// It was taken before.
    Answered(Transitioned),
    /// It is queued.
    Queued(Place),
    /// The order has expired, and that is queued: when it is recorded, it decides.
    Expiring(Place),
    /// Another step of the order, or a note about it, is on its way: what becomes of it decides.
    Behind(Place),
}

impl Committer {
    /// Admits a step.
    pub(crate) fn enter_step(&self, transition: &Transition) -> Result<StepEntry> {
        limits::check_transition(transition)?;
        let order = transition.order.seq();
        let hash = self.lookup.tables.hasher().steps_of(order);
        let command_key = &transition.command_key;
        let command = (!command_key.is_empty())
            .then(|| self.lookup.tables.hasher().command(order, command_key));
        let key = ScopedKey::of_order(hash, order);
        loop {
            let seen = self.lookup.log.readable_next();
            let now = || self.ledger_now();
            let decided = decide(&self.lookup, &self.settings.lifecycle, transition, now);
            // Encoded outside the lock.
            let record = match &decided {
                Ok(Decision::Take(step)) => {
                    Some(encode(record::encode_moved(&step.record(transition)))?)
                }
                Ok(Decision::Expire(step)) => {
                    Some(encode(record::encode_moved(&step.record_of_expiry()))?)
                }
                _ => None,
            };
            let queue = self.queue.lock();
            if let Some(InFlight::Queued(place)) = queue.in_flight.get(&key) {
                return Ok(StepEntry::Behind(place.clone()));
            }
            // A note may have taken the command key, and is no step.
            let mut changed = [Some(hash), command].into_iter().flatten();
            if changed.any(|hash| self.lookup.tables.may_have_since(seen, hash)) {
                continue;
            }
            // Also for what was decided against: the step that is in doubt may be what decides otherwise.
            enter::check_doubt(&queue, &key)?;
            let (step, command_key, entry): (_, &[u8], fn(Place) -> StepEntry) = match decided? {
                Decision::Known(answer) => {
                    Counters::add(&self.counters.replayed);
                    return Ok(StepEntry::Answered(answer));
                }
                Decision::Take(step) => (step, &transition.command_key, StepEntry::Queued),
                Decision::Expire(step) => (step, &[], StepEntry::Expiring),
            };
            let Some(record) = record else { continue };
            let keys = self.lookup.tables.hasher().keys_of_step(step.order, command_key);
            let pending = Pending::single(key, record, keys, What::Step(step));
            return self.push_existing(queue, pending).map(entry);
        }
    }

    /// Queues what does not begin an order, if it may still be written.
    pub(super) fn push_existing(
        &self,
        mut queue: crate::sync::MutexGuard<'_, super::queue::Queue>,
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
        Ok(queue.push(Arc::new(pending)))
    }

    /// The answer for a step that was queued at `place`; `None` when it was left out, and is to be decided
    /// afresh.
    pub(crate) fn step_outcome(
        &self,
        place: &Place,
        arrived: EntryResult,
    ) -> Result<Option<Transitioned>> {
        let Some(Committed { seq, at }) = arrived? else { return Ok(None) };
        let What::Step(Step { order, from, to, version, .. }) = place.pending.what else {
            let what = "what was queued is no step".to_owned();
            return Err(Error::new(ErrorKind::Invalid { what }));
        };
        let now = Present { state: to, version };
        let order = OrderId::new(self.lookup.log.issuer.partition, order);
        Ok(Some(Transitioned { order, seq, at, from, to, version, how: How::Fresh, now }))
    }

    /// Records the lifecycle that is followed from now on.
    pub(crate) fn record_lifecycle(&self, lifecycle: &Lifecycle) -> Result<()> {
        let record = encode(record::encode_lifecycle(lifecycle))?;
        let hash = self.lookup.tables.hasher().lifecycle();
        let key = ScopedKey::of_lifecycle(hash);
        let pending = Pending::single(key, record, RecordKeys::one(hash), What::Lifecycle);
        let place = self.push_existing(self.queue.lock(), pending)?;
        self.lead_if_idle();
        self.settle(&place).map(|_| ())
    }

    /// Waits for what is queued at `place` and has no time by which it is to be written.
    pub(crate) fn settle(&self, place: &Place) -> Result<Committed> {
        self.settle_step(place)?.ok_or_else(|| {
            let why = "what may be written at any time was left out".to_owned();
            Error::new(ErrorKind::InDoubt { why })
        })
    }

    /// Waits for what is queued at `place`, also where it may be left out.
    pub(crate) fn settle_step(&self, place: &Place) -> EntryResult {
        match place.round.wait(place.index, None) {
            Some(arrived) => arrived,
            None => {
                let why = "the wait ended before the answer was there".to_owned();
                Err(Error::new(ErrorKind::InDoubt { why }))
            }
        }
    }

    /// Takes one step: returns when it is on disk.
    pub(crate) fn step(&self, transition: &Transition) -> Result<Transitioned> {
        loop {
            match self.enter_step(transition)? {
                StepEntry::Answered(answer) => return Ok(answer),
                StepEntry::Queued(place) => {
                    self.lead_if_idle();
                    let arrived = self.settle_step(&place);
                    if let Some(answer) = self.step_outcome(&place, arrived)? {
                        return Ok(answer);
                    }
                }
                // Answered by what is on disk, so that a clock that goes back changes no answer.
                StepEntry::Expiring(place) => self.record_expiry(&place)?,
                // Whatever became of it: the next look decides.
                StepEntry::Behind(place) => self.wait_out(&place),
            }
        }
    }

    /// Takes many steps, in the order of the input.
    pub(crate) fn step_many(&self, transitions: &[Transition]) -> Vec<Result<Transitioned>> {
        let mut answers = Vec::with_capacity(transitions.len());
        for transition in transitions {
            let answer = loop {
                match self.enter_step(transition) {
                    Err(error) if matches!(error.kind(), ErrorKind::Overloaded { .. }) => {
                        // The batch itself may fill the queue: write what is there, and go on.
                        match self.newest(&answers) {
                            Some(place) => self.wait_out(&place),
                            None => break Answer::Known(Err(error)),
                        }
                    }
                    Err(error) => break Answer::Known(Err(error)),
                    Ok(StepEntry::Answered(answer)) => break Answer::Known(Ok(answer)),
                    Ok(StepEntry::Queued(place)) => break Answer::Waits(place),
                    Ok(StepEntry::Expiring(place)) => {
                        if let Err(error) = self.record_expiry(&place) {
                            break Answer::Known(Err(error));
                        }
                    }
                    Ok(StepEntry::Behind(place)) => {
                        self.lead_if_idle();
                        if matches!(self.settle_step(&place), Ok(None)) {
                            self.finish_left_out(&place, &mut answers, transitions);
                        }
                    }
                }
            };
            answers.push(answer);
        }
        self.lead_if_idle();
        let outcome = |(answer, transition)| match answer {
            Answer::Known(outcome) => outcome,
            Answer::Waits(place) => {
                let arrived = self.settle_step(&place);
                let outcome = self.step_outcome(&place, arrived).transpose();
                outcome.unwrap_or_else(|| self.step(transition))
            }
        };
        answers.into_iter().zip(transitions).map(outcome).collect()
    }

    /// A step was left out, because its order expires. If it is one of this batch, it is decided about before the
    /// next step of the order: in the order in which they stand.
    fn finish_left_out(&self, place: &Place, answers: &mut [Answer], transitions: &[Transition]) {
        for (answer, transition) in answers.iter_mut().zip(transitions) {
            let is_it = |own: &Place| Arc::ptr_eq(&own.pending, &place.pending);
            if matches!(answer, Answer::Waits(own) if is_it(own)) {
                *answer = Answer::Known(self.step(transition));
            }
        }
    }

    /// The newest place of a batch, unless its answer is there.
    fn newest(&self, answers: &[Answer]) -> Option<Place> {
        let place = answers.iter().rev().find_map(|answer| match answer {
            Answer::Waits(place) => Some(place),
            Answer::Known(_) => None,
        })?;
        (!place.round.is_finished()).then(|| place.clone())
    }

    /// Has what is queued at `place` written, and waits for it; what became of it is asked elsewhere.
    pub(super) fn wait_out(&self, place: &Place) {
        self.lead_if_idle();
        drop(self.settle_step(place));
    }

    /// The state that [`Committer::step`] is to be asked for to cancel the order.
    pub(crate) fn cancel_step(&self, order: OrderId) -> Result<State> {
        crate::admission::transition::cancel_step(&self.lookup, &self.settings.lifecycle, order)
    }
}

/// The answer for one step of a batch.
enum Answer {
    Known(Result<Transitioned>),
    Waits(Place),
}

pub(super) fn encode(encoded: std::result::Result<Encoded, record::BodyError>) -> Result<Encoded> {
    encoded.map_err(|error| {
        Error::new(ErrorKind::Invalid { what: "the command can't be stored".into() })
            .caused_by(error)
    })
}
