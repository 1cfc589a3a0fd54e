//! From a submission to its answer, or to a place in the queue.
//!
//! Always true: whoever finds a key neither committed nor in flight, and queues it, has looked at both
//! in a way that nothing can slip between: commits since the first look are looked for again under the
//! lock that every entry must pass to leave the in-flight map. The first look may be that of a whole batch: then
//! "since" is since before it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::queue::{InFlight, Mark, Named, NewOrder, Pending, Place, Queue, ScopedKey, What};
use super::{Committer, tally};
use crate::admission::dedupe::Ahead;
use crate::admission::validator::{self, Validator, Verdict};
use crate::admission::{hold, limits, transition};
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::Counters;
use crate::order::{How, OrderId, Outcome, Refusal, Submission};
use crate::sync::MutexGuard;
use crate::wal::format::{FRAME_BYTES, GROUP_HEADER_BYTES};
use crate::wal::frame::Frame;
use crate::wal::record::{self, Body};

/// What a submission comes to at once.
#[derive(Debug)]
pub(crate) enum Entry {
    /// It was committed before.
    Answered(Outcome),
    /// It is queued.
    Fresh(Place),
    /// The same submission is queued, or is being written.
    Joined(Place),
    /// Another submission with its key is queued, or is being written: its fate decides.
    Behind(Place),
}

impl Committer {
    /// A submission came to nothing.
    pub(crate) fn count_failure(&self, error: &Error) {
        tally::count_failures(&self.counters, error, 1);
    }

    /// Admits a submission. Waits at most `admission_wait` for room, and for a validator that looks at
    /// the same key.
    ///
    /// `ahead`: what was found out about a batch, and the place of this submission in it. `called_ns`: when its
    /// caller began to wait, where somebody looked at the clock. What comes to nothing is for the caller to count.
    pub(crate) fn enter(
        &self,
        submission: &Submission,
        mut ahead: Option<(&Ahead, usize)>,
        called_ns: Option<u64>,
    ) -> Result<Entry> {
        limits::check(submission)?;
        let (client, key) = (&submission.client, &submission.key);
        let hash = ahead.and_then(|(ahead, index)| ahead.hash(index));
        let hash = hash.unwrap_or_else(|| self.lookup.hash(client, key));
        // Made only for an order that is not committed yet: a replay needs neither.
        let mut named = None;
        let mut draft = None;
        let mut waited = Duration::ZERO;
        loop {
            let replay = |frame: &Frame<'_>, body: &Body<'_>| self.replay(frame, body, submission);
            // What was found ahead counts for the first look; a second one is made afresh.
            let found_ahead = ahead.take().and_then(|(ahead, index)| {
                Some((ahead.seen, ahead.committed(index, submission, replay)?))
            });
            let (seen, committed) = match found_ahead {
                Some((seen, committed)) => (seen, committed?),
                None => {
                    let seen = self.lookup.log.readable_next();
                    (seen, self.lookup.committed(hash, client, key, replay)?)
                }
            };
            if let Some(outcome) = committed {
                return Ok(Entry::Answered(outcome));
            }
            transition::check_corrected(&self.lookup, submission)?;
            let named: &Named<'_> = named.get_or_insert_with(|| Named {
                submission,
                key: ScopedKey::new(hash, client, key),
            });
            // Read outside the lock; asked below, where its turn is.
            let held = self.lookup.hold_on(client, &submission.account);
            if draft.is_none() {
                let is_free = self.settings.validator.is_none();
                draft = match &held {
                    Ok(Some(held)) => {
                        let refusal = hold::refusal(held.clone());
                        Some(self.draft(named, Some(refusal))?)
                    }
                    Ok(None) if is_free => Some(self.draft(named, None)?),
                    _ => None,
                };
            }
            let mut queue = self.queue.lock();
            match queue.in_flight.get(&named.key) {
                Some(InFlight::Queued(place)) => {
                    let (place, mark) = (place.clone(), queue.mark_at(place));
                    drop(queue);
                    // The hash is computed outside the lock.
                    if !mark.is_some_and(|mark| mark.is_of(&submission.content())) {
                        return Ok(Entry::Behind(place));
                    }
                    if let Some(by_client) = self.by_client.get() {
                        by_client.repeated(client);
                    }
                    return Ok(Entry::Joined(place));
                }
                Some(InFlight::Validating) => {
                    self.validated.wait(&mut queue);
                    continue;
                }
                None => {}
            }
            if self.lookup.tables.may_have_since(seen, hash) {
                continue;
            }
            check_doubt(&queue, &named.key)?;
            // Who can't be looked for is not let in; the key is free, and nothing was written.
            if let Err(error) = held {
                return Err(error.not_recorded());
            }
            if queue.closing {
                return Err(Error::new(ErrorKind::Closed));
            }
            self.check_poison()?;
            let pending = match (draft.take(), &self.settings.validator) {
                (Some(pending), _) => pending,
                (None, Some(validator)) => {
                    // The key is reserved while its order is looked at, so that the same order from
                    // another thread waits instead of being looked at as well (rule 15).
                    queue.in_flight.insert(named.key.clone(), InFlight::Validating);
                    drop(queue);
                    let reserved = Reserved { committer: self, key: &named.key };
                    let made = self.validate(named, &**validator);
                    queue = reserved.give_back();
                    made?
                }
                (None, None) => continue,
            };
            self.check_disk(queue.gate.bytes(), pending.bytes())?;
            if queue.gate.enter(pending.key.client(), pending.bytes()) {
                tally::note_waiting(&self.counters, called_ns);
                return Ok(Entry::Fresh(queue.push(pending)));
            }
            draft = Some(pending);
            waited = self.wait_for_room(queue, waited)?;
        }
    }

    /// Waits until somebody leaves the queue, and answers how long the caller has waited by now.
    ///
    /// # Errors
    /// `Overloaded`, when he has waited as long as anybody does.
    pub(super) fn wait_for_room(
        &self,
        mut queue: MutexGuard<'_, Queue>,
        waited: Duration,
    ) -> Result<Duration> {
        let left = self.settings.admission_wait.saturating_sub(waited);
        if left.is_zero() {
            return Err(self.overloaded(queue.gate.orders()));
        }
        // What fills the queue may be the caller's own batch, which nobody writes yet.
        queue.hurried = true;
        if !queue.leading && self.settings.threads {
            self.work.notify_one();
        }
        let before_ns = self.host.monotonic_ns();
        self.room.wait_for(&mut queue, left);
        drop(queue);
        let spent_ns = self.host.monotonic_ns().saturating_sub(before_ns);
        Ok(waited.saturating_add(Duration::from_nanos(spent_ns.max(1))))
    }

    /// Refuses to call a key free whose order is in doubt.
    ///
    /// # Errors
    /// `InDoubt`.
    pub(crate) fn check_doubt(&self, client: &[u8], key: &[u8]) -> Result<()> {
        let key = ScopedKey::new(self.lookup.hash(client, key), client, key);
        check_doubt(&self.queue.lock(), &key)
    }

    /// The answer for a key that the record at `frame` holds.
    fn replay(
        &self,
        frame: &Frame<'_>,
        body: &Body<'_>,
        submission: &Submission,
    ) -> Result<Outcome> {
        let answer = self.lookup.answer(frame, body, submission, How::Replayed);
        match &answer {
            Err(error) if matches!(error.kind(), ErrorKind::Conflict { .. }) => {
                Counters::add(&self.counters.conflicts);
            }
            _ => {
                Counters::add(&self.counters.replayed);
                if let Some(by_client) = self.by_client.get() {
                    by_client.repeated(&submission.client);
                }
            }
        }
        answer
    }

    /// Asks the validator, and encodes what it says.
    fn validate(&self, named: &Named<'_>, validator: &dyn Validator) -> Result<Pending> {
        match validator::run(validator, named.submission, &self.lookup) {
            Verdict::Accept => self.draft(named, None),
            Verdict::RefuseFinal(refusal) => self.draft(named, Some(refusal)),
            Verdict::RefuseForNow { reason } => {
                Err(Error::new(ErrorKind::RefusedForNow { reason }))
            }
        }
    }

    /// The record of a submission, encoded and checked, outside all locks.
    pub(super) fn draft(&self, named: &Named<'_>, refusal: Option<Refusal>) -> Result<Pending> {
        let submission = named.submission;
        let mut salt = [0; 16];
        self.host.fill_random(&mut salt);
        let record = record::encode(submission, salt, refusal.as_ref()).map_err(|error| {
            Error::new(ErrorKind::Invalid { what: "the order can't be stored".into() })
                .caused_by(error)
        })?;
        let mark = Mark {
            salt,
            fingerprint: submission.content().fingerprint(&salt),
            own_fingerprint: submission.own_fingerprint.is_some(),
        };
        let corrects = submission.corrects.map(OrderId::as_u64);
        let keys = self.lookup.tables.hasher().keys_of_order(named.key.hash, corrects);
        Ok(Pending::single(
            named.key.clone(),
            record,
            keys,
            What::Order(NewOrder { mark, refusal }),
        ))
    }

    /// Refuses new orders before a byte is written, when the disk has no space for the next segment and
    /// this one has little left.
    pub(super) fn check_disk(&self, queued_bytes: usize, record_bytes: usize) -> Result<()> {
        let overhead = GROUP_HEADER_BYTES + FRAME_BYTES;
        let wanted = (queued_bytes + record_bytes + overhead) as u64;
        let room = self.room_bytes.load(Ordering::Relaxed);
        if room >= wanted.saturating_add(self.settings.disk_reserve_bytes) {
            return Ok(());
        }
        // It would touch the reserve, and the next segment is not there yet. There may be room for it
        // again: have it looked at, and let the caller's retry find out.
        self.upkeep.wake();
        let free_bytes = self.disk.free_bytes().unwrap_or(0);
        if !self.disk_low.load(Ordering::Relaxed) && free_bytes >= self.next_segment_wants() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::DiskLow { free_bytes }))
    }

    pub(super) fn overloaded(&self, orders: usize) -> Error {
        // A guess: the time of a durable write, once per thousand orders that wait.
        let group = Duration::from_nanos(self.counters.sync_ns.mean());
        let rounds = u32::try_from(orders / 1000 + 1).unwrap_or(u32::MAX);
        let retry_after = group.saturating_mul(rounds).max(Duration::from_millis(1));
        Error::new(ErrorKind::Overloaded { retry_after })
    }
}

/// A key whose order the validator looks at. Free again when this goes, also by a panic: whoever waits
/// for the verdict would else wait for ever.
struct Reserved<'a> {
    committer: &'a Committer,
    key: &'a ScopedKey,
}

impl<'a> Reserved<'a> {
    /// Gives the key back, and answers the lock under which that was done.
    fn give_back(self) -> MutexGuard<'a, Queue> {
        let queue = self.release();
        std::mem::forget(self);
        queue
    }

    fn release(&self) -> MutexGuard<'a, Queue> {
        let mut queue = self.committer.queue.lock();
        queue.in_flight.remove(self.key);
        self.committer.validated.notify_all();
        queue
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        drop(self.release());
    }
}

pub(super) fn check_doubt(queue: &Queue, key: &ScopedKey) -> Result<()> {
    if queue.in_doubt.contains(key) {
        let why = "an earlier call with this key failed while it was written; only opening the ledger \
                   again tells";
        return Err(Error::new(ErrorKind::InDoubt { why: why.to_owned() }));
    }
    Ok(())
}
