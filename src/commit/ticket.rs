//! The place of a caller whose order is on its way: a future, and a wait.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Committer;
use super::enter::Entry;
use super::queue::{Place, What};
use super::round::{Committed, EntryResult};
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::Counters;
use crate::order::{How, OrderId, Outcome, Present, Receipt, State, Submission};

/// An order that was handed in and is on its way to disk.
///
/// A plain [`Future`] for any executor, and [`wait`](Ticket::wait) for threads. Needs no runtime.
///
/// **Durability**: nothing is promised before the outcome is `Ok`. Dropping a ticket cancels nothing:
/// the order is written all the same, and the same key replays its receipt.
///
/// **Memory**: a ticket that is kept and not asked keeps what the answers of its round need, some 250 bytes for each
/// of the orders that were written with it, and not their payloads.
#[must_use = "the order is on its way, but whether it arrived is only known from the outcome"]
pub struct Ticket {
    committer: Arc<Committer>,
    state: Stand,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}

/// Where a ticket stands.
enum Stand {
    /// The outcome is known; given out once, then again as a copy.
    Ready(Result<Outcome>),
    /// The entry is queued, or is being written.
    Waiting(Place, How),
    /// Another order with the key is on its way: its fate decides about this one.
    Behind(Place, Box<Submission>),
}

impl Ticket {
    pub(crate) fn new(
        committer: &Arc<Committer>,
        entry: Result<Entry>,
        submission: &Submission,
    ) -> Ticket {
        let state = match entry {
            Err(error) => Stand::Ready(Err(error)),
            Ok(Entry::Answered(outcome)) => Stand::Ready(Ok(outcome)),
            Ok(Entry::Fresh(place)) => Stand::Waiting(place, How::Fresh),
            Ok(Entry::Joined(place)) => Stand::Waiting(place, How::Joined),
            Ok(Entry::Behind(place)) => Stand::Behind(place, Box::new(submission.clone())),
        };
        Ticket { committer: Arc::clone(committer), state }
    }

    /// Waits for the outcome.
    ///
    /// **Durability**: on `Ok` the order is on disk.
    ///
    /// # Errors
    /// [`ErrorKind::InDoubt`], certainty Unknown, when `timeout` passes first: the order goes on its
    /// way, the ticket can be waited for again, and the same key may be submitted again. Else those of
    /// [`Ledger::submit`](crate::Ledger::submit).
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Outcome> {
        match &self.state {
            // It waits in any case, so it writes as well, and nobody has to be woken.
            Stand::Waiting(place, _) | Stand::Behind(place, _) if timeout.is_none() => {
                self.committer.lead_for(place);
            }
            _ => self.hurry(),
        }
        self.settle(timeout)?;
        match &self.state {
            Stand::Ready(result) => result.clone(),
            Stand::Waiting(..) | Stand::Behind(..) => Err(still_on_its_way()),
        }
    }

    /// Waits for the outcome as long as it takes, and gives it away.
    pub(crate) fn into_outcome(mut self) -> Result<Outcome> {
        self.settle(None)?;
        match self.state {
            Stand::Ready(result) => result,
            Stand::Waiting(..) | Stand::Behind(..) => Err(still_on_its_way()),
        }
    }

    /// Waits until the outcome is there.
    fn settle(&mut self, timeout: Option<Duration>) -> Result<()> {
        let timeout = timeout.map(|timeout| (timeout, self.committer.host.monotonic_ns()));
        if !self.committer.settings.threads {
            self.committer.lead_if_idle();
        }
        loop {
            let left = timeout.map(|(timeout, started_ns)| {
                let spent_ns = self.committer.host.monotonic_ns().saturating_sub(started_ns);
                timeout.saturating_sub(Duration::from_nanos(spent_ns))
            });
            let arrived = match &self.state {
                Stand::Ready(_) => return Ok(()),
                Stand::Waiting(place, _) | Stand::Behind(place, _) => {
                    place.round.wait(place.index, left)
                }
            };
            let Some(arrived) = arrived else { return Err(still_on_its_way()) };
            self.arrive(arrived);
        }
    }

    /// Somebody waits for the outcome: it is to be written now, by whomever.
    fn hurry(&self) {
        if let Stand::Waiting(place, _) | Stand::Behind(place, _) = &self.state {
            self.committer.hurry(place);
        }
    }

    /// Whether the outcome depends on a group that is not known to be written.
    pub(crate) fn is_waiting(&self) -> bool {
        !matches!(self.state, Stand::Ready(_))
    }

    /// Takes in what became of the entry that is waited for.
    fn arrive(&mut self, arrived: EntryResult) {
        let next = match &self.state {
            Stand::Ready(_) => return,
            Stand::Waiting(place, how) => Stand::Ready(self.outcome(place, *how, arrived)),
            Stand::Behind(_, submission) => {
                // Committed: the next look finds it and answers the conflict. Failed: this order goes
                // on as a new one.
                let submission = submission.clone();
                let entry = self.committer.enter(&submission, None, None);
                if let Err(error) = &entry {
                    self.committer.count_failure(error);
                }
                let next = Ticket::new(&self.committer, entry, &submission);
                next.hurry();
                if !self.committer.settings.threads {
                    self.committer.lead_if_idle();
                }
                next.state
            }
        };
        self.state = next;
    }

    /// The outcome of an entry that was committed, or has failed.
    fn outcome(&self, place: &Place, how: How, arrived: EntryResult) -> Result<Outcome> {
        let Some(Committed { seq, at }) = arrived? else {
            // An order may be taken at any time.
            return Err(still_on_its_way());
        };
        if how == How::Joined {
            Counters::add(&self.committer.counters.joined);
        }
        let issuer = self.committer.lookup.log.issuer;
        let Some(What::Order(order)) = place.round.what(place.index) else {
            // No step is in flight under the key of a submission.
            return Err(still_on_its_way());
        };
        let first_state = match order.refusal {
            None => State::Accepted,
            Some(_) => State::Refused,
        };
        let receipt = Receipt {
            ledger: issuer.ledger,
            order: OrderId::new(issuer.partition, seq),
            accepted_at: at,
            fingerprint: order.mark.fingerprint,
            first_state,
            durability: issuer.durability,
        };
        match &order.refusal {
            Some(refusal) => {
                Err(Error::new(ErrorKind::Refused { receipt, refusal: refusal.clone() }))
            }
            None => Ok(Outcome { receipt, how, now: Present { state: first_state, version: 1 } }),
        }
    }
}

fn still_on_its_way() -> Error {
    let why = "the time to wait ran out; the order is still on its way".to_owned();
    Error::new(ErrorKind::InDoubt { why })
}

impl Future for Ticket {
    type Output = Result<Outcome>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Outcome>> {
        loop {
            let arrived = match &self.state {
                Stand::Ready(result) => return Poll::Ready(result.clone()),
                Stand::Waiting(place, _) | Stand::Behind(place, _) => {
                    place.round.poll(place.index, context.waker())
                }
            };
            match arrived {
                Some(arrived) => self.arrive(arrived),
                None => {
                    self.hurry();
                    return Poll::Pending;
                }
            }
        }
    }
}
