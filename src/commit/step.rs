//! From a step that an order is to take to its answer, or to a place in the queue.
//!
//! Always true: at most one step or note of an order is in flight, so that the next one is decided by what is
//! committed ([`super::existing`]), and two that expect the same version never both succeed.

use super::existing::{Answer, Decided, encode};
use super::queue::{Pending, Place, ScopedKey, What};
use super::round::{Committed, EntryResult};
use super::{Committer, Counters};
use crate::admission::limits;
use crate::admission::transition::{Decision, Step, decide};
use crate::error::{Error, ErrorKind, Result};
use crate::order::{How, Lifecycle, OrderId, Present, State, Transition, Transitioned};
use crate::tables::hash::RecordKeys;
use crate::wal::record;

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
        let hasher = self.lookup.tables.hasher();
        let hash = hasher.steps_of(order);
        // A note may have taken the command key, and is no step.
        let command = (!transition.command_key.is_empty())
            .then(|| hasher.command(order, &transition.command_key));
        let key = ScopedKey::of_order(hash, order);
        let entry = self.enter_existing(&key, &[Some(hash), command], || {
            let now = || self.ledger_now();
            let (step, record, command_key, expires): (_, _, &[u8], _) =
                match decide(&self.lookup, &self.settings.lifecycle, transition, now)? {
                    Decision::Known(answer) => return Ok(Decided::Known(answer)),
                    Decision::Take(step) => {
                        let record = record::encode_moved(&step.record(transition));
                        (step, record, &transition.command_key, false)
                    }
                    Decision::Expire(step) => {
                        let record = record::encode_moved(&step.record_of_expiry());
                        (step, record, &[], true)
                    }
                };
            let keys = hasher.keys_of_step(step.order, command_key);
            Ok(Decided::record(&key, encode(record)?, keys, What::Step(step), expires))
        })?;
        Ok(match entry {
            Ok(Answer::Known(answer)) => {
                Counters::add(&self.counters.replayed);
                StepEntry::Answered(answer)
            }
            Ok(Answer::Waits(place, false)) => StepEntry::Queued(place),
            Ok(Answer::Waits(place, true)) => StepEntry::Expiring(place),
            Err(place) => StepEntry::Behind(place),
        })
    }

    /// The answer for a step that was queued at `place`; `None` when it was left out, and is to be decided
    /// afresh.
    pub(crate) fn step_outcome(
        &self,
        place: &Place,
        arrived: EntryResult,
    ) -> Result<Option<Transitioned>> {
        let Some(Committed { seq, at }) = arrived? else { return Ok(None) };
        let Some(&What::Step(Step { order, from, to, version, .. })) =
            place.round.what(place.index)
        else {
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
        let mut answers: Vec<Result<Answer<_, ()>>> = Vec::with_capacity(transitions.len());
        for transition in transitions {
            let answer = loop {
                match self.enter_step(transition) {
                    Err(error) => {
                        if let Err(error) = self.make_room(error, &answers) {
                            break Err(error);
                        }
                    }
                    Ok(StepEntry::Answered(answer)) => break Ok(Answer::Known(answer)),
                    Ok(StepEntry::Queued(place)) => break Ok(Answer::Waits(place, ())),
                    Ok(StepEntry::Expiring(place)) => {
                        if let Err(error) = self.record_expiry(&place) {
                            break Err(error);
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
        let outcome = |(answer, transition)| match answer? {
            Answer::Known(answer) => Ok(answer),
            Answer::Waits(place, ()) => {
                let arrived = self.settle_step(&place);
                let outcome = self.step_outcome(&place, arrived).transpose();
                outcome.unwrap_or_else(|| self.step(transition))
            }
        };
        answers.into_iter().zip(transitions).map(outcome).collect()
    }

    /// A step was left out, because its order expires. If it is one of this batch, it is decided about before the
    /// next step of the order: in the order in which they stand.
    fn finish_left_out(
        &self,
        place: &Place,
        answers: &mut [Result<Answer<Transitioned, ()>>],
        transitions: &[Transition],
    ) {
        for (answer, transition) in answers.iter_mut().zip(transitions) {
            if matches!(answer, Ok(Answer::Waits(own, ())) if own == place) {
                *answer = self.step(transition).map(Answer::Known);
            }
        }
    }

    /// The state that [`Committer::step`] is to be asked for to cancel the order.
    pub(crate) fn cancel_step(&self, order: OrderId) -> Result<State> {
        crate::admission::transition::cancel_step(&self.lookup, &self.settings.lifecycle, order)
    }
}
