//! The life of an order on the handle: steps, waiting for them, and those who read what happens.

use std::time::Duration;

use super::Ledger;
use super::read::EventIter;
use crate::error::{Error, ErrorKind, Result};
use crate::feed::{Consumer, ParkedEvent};
use crate::order::{Lifecycle, OrderId, Present, Seq, State, Transition, Transitioned};
use crate::spans;

impl Ledger {
    /// Has an order take a step: returns when it is on disk.
    ///
    /// **Durability**: on `Ok` the step is there after a process kill and after a power cut, once.
    ///
    /// **Idempotency**: with a command key the step is taken once, and a repeat is answered with the first
    /// result ([`Transitioned::now`] says where the order stands since). Without one, and without a version
    /// that is expected, asking for the state that the order is in already succeeds and writes nothing.
    ///
    /// **Order of the checks**: command key, terminal or expired, expected version or state, step, evidence.
    /// That an order has expired is recorded before it is answered.
    ///
    /// **Limits**: see [`limits`](crate::limits). Steps are let in when new orders are not: their part of
    /// the queue is their own, and the space that is kept free on the disk is kept for them.
    ///
    /// **Cost**: one write and one sync, shared with everything else that is written at the same time. Steps
    /// of one order are written one after the other.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`], [`ErrorKind::NoSuchOrder`], [`ErrorKind::CommandConflict`],
    ///   [`ErrorKind::AlreadyTerminal`], [`ErrorKind::VersionMismatch`], [`ErrorKind::NoSuchStep`],
    ///   [`ErrorKind::MissingEvidence`]: nothing was recorded, and the same call will say the same until the
    ///   order changes;
    /// - [`ErrorKind::Overloaded`], [`ErrorKind::DiskLow`], [`ErrorKind::Poisoned`], [`ErrorKind::Closed`]:
    ///   not recorded;
    /// - [`ErrorKind::InDoubt`]: unknown; after opening again send the same command, or look at the order;
    /// - [`ErrorKind::Io`], [`ErrorKind::Corrupt`]: where the order stands could not be read; this step was not
    ///   written. That the order has expired may have been: that is recorded before it is told.
    ///
    /// An example is at [`Transition`].
    pub fn transition(&self, transition: &Transition) -> Result<Transitioned> {
        let span = spans::transition(transition);
        let moved = self.inner.committer.step(transition);
        span.moved(&moved);
        moved
    }

    /// Has many orders take a step with one sync, or a few: independent results, in the order of the input.
    /// Steps of the same order are taken in the order in which they stand, with a sync each.
    ///
    /// **Durability, idempotency, errors**: of each result as for [`Ledger::transition`].
    #[must_use = "each step has a result of its own"]
    pub fn transition_many(&self, transitions: &[Transition]) -> Vec<Result<Transitioned>> {
        let span = spans::transition_many(transitions.len());
        let moved = self.inner.committer.step_many(transitions);
        span.taken(&moved);
        moved
    }

    /// Cancels an order: at once where the lifecycle allows it; where work is in flight, the order goes to
    /// [`State::Cancelling`] and the answer of whoever works on it decides ([`Transitioned::to`] says which).
    ///
    /// **Durability**: on `Ok` it is on disk. **A repeat** succeeds: without a command key it is answered
    /// from where the order stands.
    ///
    /// # Errors
    /// Those of [`Ledger::transition`].
    pub fn cancel(&self, order: OrderId, reason: impl Into<String>) -> Result<Transitioned> {
        let committer = &self.inner.committer;
        let reason = reason.into();
        loop {
            let to = committer.cancel_step(order)?;
            let step = Transition::new(order, to).reason(reason.as_str());
            match committer.step(&step) {
                // It went on while we looked, and may have to be cancelled otherwise now.
                Err(error) if matches!(error.kind(), ErrorKind::NoSuchStep { .. }) => {
                    if committer.cancel_step(order)? == to {
                        return Err(error);
                    }
                }
                answer => return answer,
            }
        }
    }

    /// The orders that correct this one ([`Submission::corrects`](crate::Submission::corrects)), oldest first.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn corrections_of(&self, order: OrderId) -> Result<Vec<OrderId>> {
        self.inner.reads.lookup.corrections_of(order)
    }

    /// Waits until the order is in one of these states, for so long at most, and answers where it stands:
    /// look at [`Present::state`] to see whether it got there.
    ///
    /// Returns early when it can't get there any more, in a terminal state. The order is seen there from the
    /// sync on, as everywhere. One that expires is [`State::Expired`] when that is recorded, which without views is
    /// not before somebody asks for a step of it.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchOrder`]; [`ErrorKind::Closed`], [`ErrorKind::Poisoned`] when nothing is written any
    /// more; [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn wait_for(&self, order: OrderId, states: &[State], timeout: Duration) -> Result<Present> {
        let committer = &self.inner.committer;
        let started_ns = committer.host.monotonic_ns();
        let mut watch = committer.announcer.watch(order.seq());
        loop {
            let Some(Present { state, version }) = self.inner.reads.present(order)? else {
                return Err(Error::new(ErrorKind::NoSuchOrder { order }));
            };
            let spent_ns = committer.host.monotonic_ns().saturating_sub(started_ns);
            let left = timeout.saturating_sub(Duration::from_nanos(spent_ns));
            let is_over = states.contains(&state) || self.lifecycle().is_terminal(state);
            if is_over || left.is_zero() {
                return Ok(Present { state, version });
            }
            committer.check_goes_on()?;
            watch.wait(left);
        }
    }

    /// Opens a consumer: a named reader of what happens to orders, with a durable place in the log. One that
    /// was never opened begins at the first record.
    ///
    /// Any handle of the name that was opened before is fenced: its commits fail from now on.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a name that is not 1 to 64 visible ASCII characters; those of
    /// [`Consumer::commit`].
    pub fn consumer(&self, name: &str) -> Result<Consumer> {
        Consumer::open(&self.inner.committer, name)
    }

    /// How far a consumer is: the first seq that it has not committed. [`Seq::FIRST`] for one that never was.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn consumer_next(&self, consumer: &str) -> Result<Seq> {
        Ok(self.inner.reads.lookup.cursor(consumer)?.next)
    }

    /// The events that a consumer has set aside, by seq.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`].
    pub fn parked(&self, consumer: &str) -> Result<Vec<ParkedEvent>> {
        self.inner.reads.parked(consumer)
    }

    /// Everything that happened to orders, from this seq on, in the order of the log, as far as it is
    /// durable. For a place that survives a crash: [`Ledger::consumer`].
    #[must_use]
    pub fn events(&self, from: Seq) -> EventIter {
        self.inner.reads.events(from)
    }

    /// Which state of an order may follow which, in this ledger.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.inner.committer.settings.lifecycle
    }
}
