//! From a linked batch to its answer: one entry of the queue, and one record for each member behind it.
//!
//! Always true: a batch is one entry, so that its records are in one group, under one checksum, with one
//! fate; while it is in flight, so is every key that a member has; whoever queues it has made sure, under the
//! lock of the queue, that nothing a member touches was committed since he looked, or is in flight.

use std::time::Duration;

use super::existing::encode;
use super::queue::{InFlight, Named, Pending, Place, Queue, ScopedKey, What};
use super::{Committer, Counters, enter};
use crate::admission::dispatch;
use crate::admission::limits;
use crate::admission::linked::{self, Decided, Taken};
use crate::admission::note::Wanted;
use crate::admission::validator::{self, Verdict};
use crate::error::{Error, ErrorKind, Result};
use crate::order::dispatch::About;
use crate::order::limits::BATCH_BYTES_MAX;
use crate::order::linked::{CursorMove, Member};
use crate::order::{Dispatch, How, Linked, LinkedBatch, OrderId, Seq};
use crate::tables::hash::{KeyHash, RecordKeys};
use crate::wal::log::Record;
use crate::wal::record::{self, Cursor, LinkedHead};

/// What stands in the way of queueing a batch.
enum InTheWay {
    Nothing,
    /// Something it touches is on its way; `true`: the batch itself.
    Entry(Place, bool),
    /// A validator looks at one of its orders.
    Validator,
    /// Something it touches was committed since it was looked at.
    News,
}

impl Committer {
    /// Records a batch: returns when it is on disk.
    pub(crate) fn linked(&self, batch: &LinkedBatch) -> Result<Linked> {
        limits::check_linked(batch)?;
        for (index, member) in batch.members.iter().enumerate() {
            let checked = match member {
                Member::Submission(order) => limits::check(order),
                Member::Transition(step) => limits::check_transition(step),
                Member::Note(note) => check_remark(Wanted::Note(note)),
                Member::Resolution(resolution) => check_remark(Wanted::Resolution(resolution)),
                Member::Dispatch(wanted) => dispatch::check(wanted),
            };
            checked.map_err(|error| linked::member_error(index, error))?;
        }
        let hash = self.lookup.tables.hasher().linked(&batch.key);
        let key = ScopedKey::of_linked(hash, &batch.key);
        let decisive = self.decisive_of_linked(batch);
        let (mut joined, mut validated, mut waited) = (false, false, Duration::ZERO);
        let mut left_out = false;
        loop {
            let seen = self.lookup.log.readable_next();
            if let Some(head) = self.lookup.batch_head(&batch.key)? {
                return self.repeat_linked(&head, batch, joined);
            }
            // Encoded outside the lock. An error counts only if nothing is on its way that may change it.
            let drafted = match self.draft_linked(batch, &key, &mut validated) {
                Ok(Ok(pending)) => Ok(pending),
                // Then the next look answers by what is on disk.
                Ok(Err(late)) => {
                    self.expire_one(late)?;
                    continue;
                }
                Err(error) => Err(error),
            };
            let touched = match &drafted {
                Ok(pending) => pending.all().map(|part| part.key.clone()).collect(),
                Err(_) => self.keys_of_linked(batch, &key),
            };
            let mut queue = self.queue.lock();
            match self.in_the_way(&queue, &key, &touched, &decisive, seen) {
                InTheWay::Nothing => {}
                InTheWay::News => continue,
                InTheWay::Entry(place, is_itself) => {
                    drop(queue);
                    joined |= is_itself;
                    self.wait_out(&place);
                    continue;
                }
                InTheWay::Validator => {
                    self.validated.wait(&mut queue);
                    continue;
                }
            }
            for key in &touched {
                enter::check_doubt(&queue, key)?;
            }
            let pending = drafted?;
            if queue.closing {
                return Err(Error::new(ErrorKind::Closed));
            }
            self.check_poison()?;
            let Some(place) = self.push_linked(&mut queue, pending)? else {
                waited = self.wait_for_room(queue, waited)?;
                continue;
            };
            drop(queue);
            self.lead_if_idle();
            if self.settle_step(&place)?.is_some() {
                return self.read_linked(batch);
            }
            // Left out: one of its orders expires before the record of its step has its turn. Mostly it has by the
            // next look, which decides; where the wall clock is behind, time passes only with what is recorded.
            if std::mem::replace(&mut left_out, true) {
                return Err(self.overloaded(0));
            }
        }
    }

    /// Refuses to call the key of a batch free that is in doubt.
    ///
    /// # Errors
    /// `InDoubt`.
    pub(crate) fn check_doubt_of_linked(&self, key: &[u8]) -> Result<()> {
        let key = ScopedKey::of_linked(self.lookup.tables.hasher().linked(key), key);
        enter::check_doubt(&self.queue.lock(), &key)
    }

    /// Queues a batch; `None` when there is no room for it.
    fn push_linked(&self, queue: &mut Queue, pending: Pending) -> Result<Option<Place>> {
        let (records, bytes) = (pending.all().count(), pending.bytes());
        let client = pending.charged_to();
        let is_let_in = match pending.is_of_existing() {
            // No look at the disk: what is kept free on it is kept for this.
            true => queue.existing.enter_together(client, records, bytes),
            false => {
                self.check_disk(queue.gate.bytes(), pending.group_bytes())?;
                queue.gate.enter_together(client, records, bytes)
            }
        };
        Ok(is_let_in.then(|| queue.push(pending)))
    }

    /// The answer for a batch that was recorded by an earlier call.
    fn repeat_linked(&self, head: &Record, batch: &LinkedBatch, joined: bool) -> Result<Linked> {
        let how = if joined { How::Joined } else { How::Replayed };
        let same = self.lookup.check_same_batch(head, batch);
        let answer = same.and_then(|()| self.lookup.batch_answer(head, batch, how));
        match &answer {
            Ok(_) if joined => Counters::add(&self.counters.joined),
            Ok(_) => Counters::add(&self.counters.replayed),
            Err(_) => Counters::add(&self.counters.conflicts),
        }
        answer
    }

    /// The answer for a batch that this call has recorded.
    fn read_linked(&self, batch: &LinkedBatch) -> Result<Linked> {
        let read = self.lookup.batch_head(&batch.key);
        match read.and_then(|head| {
            head.map(|it| self.lookup.batch_answer(&it, batch, How::Fresh)).transpose()
        }) {
            Ok(Some(linked)) => Ok(linked),
            // It is on disk, but what came of it can't be told.
            Ok(None) => Err(Error::new(ErrorKind::InDoubt {
                why: "the batch is recorded and was not found again".to_owned(),
            })),
            Err(error) => Err(Error::new(ErrorKind::InDoubt {
                why: "the batch is recorded, but its answer could not be read".to_owned(),
            })
            .caused_by(error)),
        }
    }

    /// What stands in the way of a batch with these keys, looked at with the queue's lock.
    fn in_the_way(
        &self,
        queue: &Queue,
        own: &ScopedKey,
        touched: &[ScopedKey],
        decisive: &[KeyHash],
        seen: Seq,
    ) -> InTheWay {
        for key in touched {
            match queue.in_flight.get(key) {
                Some(InFlight::Queued(place)) => {
                    return InTheWay::Entry(place.clone(), key == own);
                }
                Some(InFlight::Validating) => return InTheWay::Validator,
                None => {}
            }
        }
        let mut hashes = touched.iter().map(|key| key.hash).chain(decisive.iter().copied());
        match hashes.any(|hash| self.lookup.tables.may_have_since(seen, hash)) {
            true => InTheWay::News,
            false => InTheWay::Nothing,
        }
    }

    /// Every key that the batch has while it is in flight: its own first.
    fn keys_of_linked(&self, batch: &LinkedBatch, own: &ScopedKey) -> Vec<ScopedKey> {
        let members = batch.members.iter().map(|member| match member {
            Member::Submission(order) => {
                let hash = self.lookup.hash(&order.client, &order.key);
                ScopedKey::new(hash, &order.client, &order.key)
            }
            Member::Transition(step) => self.key_of_order(step.order),
            Member::Note(note) => self.key_of_order(note.order),
            Member::Resolution(resolution) => self.key_of_order(resolution.order),
            Member::Dispatch(Dispatch { about: About::Order(order), .. }) => {
                self.key_of_order(*order)
            }
            // Of an order that the batch takes: nobody else knows it yet.
            Member::Dispatch(_) => own.clone(),
        });
        let cursor = batch.cursor.as_ref().map(|cursor| self.key_of_cursor(cursor));
        std::iter::once(own.clone()).chain(members).chain(cursor).collect()
    }

    /// What else decides about a member beside the key that it is in flight under: command keys, which steps and
    /// notes of an order share, and what resolves a note.
    fn decisive_of_linked(&self, batch: &LinkedBatch) -> Vec<KeyHash> {
        let hasher = self.lookup.tables.hasher();
        let mut decisive = Vec::new();
        for member in &batch.members {
            let (order, command_key) = match member {
                Member::Submission(_) => continue,
                Member::Transition(step) => (step.order, &step.command_key),
                Member::Dispatch(Dispatch { about: About::Order(order), command_key, .. }) => {
                    (*order, command_key)
                }
                Member::Dispatch(_) => continue,
                Member::Note(note) => (note.order, &note.command_key),
                Member::Resolution(resolution) => {
                    decisive.push(hasher.resolution_of(resolution.note));
                    (resolution.order, &resolution.command_key)
                }
            };
            if !command_key.is_empty() {
                decisive.push(hasher.command(order.seq(), command_key));
            }
        }
        decisive
    }

    fn key_of_order(&self, order: OrderId) -> ScopedKey {
        let hash = self.lookup.tables.hasher().steps_of(order.seq());
        ScopedKey::of_order(hash, order.seq())
    }

    fn key_of_cursor(&self, cursor: &CursorMove) -> ScopedKey {
        let hash = self.lookup.tables.hasher().consumer(&cursor.consumer);
        ScopedKey::of_consumer(hash, &cursor.consumer)
    }

    /// The records of a batch, by what is committed; `Err` within: an order that it wants to take a step has
    /// expired, and that is to be recorded first.
    fn draft_linked(
        &self,
        batch: &LinkedBatch,
        key: &ScopedKey,
        validated: &mut bool,
    ) -> Result<std::result::Result<Pending, Seq>> {
        let now = || self.ledger_now();
        let taken = match linked::decide(&self.lookup, &self.settings.lifecycle, batch, now)? {
            Decided::Take(taken) => taken,
            Decided::Expire(order) => return Ok(Err(order)),
        };
        if !std::mem::replace(validated, true) {
            self.validate_linked(batch).inspect_err(|_| *validated = false)?;
        }
        let mut members = Vec::with_capacity(batch.members.len() + 1);
        for (member, taken) in batch.members.iter().zip(taken) {
            members.push(match (member, taken) {
                (_, Taken::Order(submission)) => {
                    let hash = self.lookup.hash(&submission.client, &submission.key);
                    let key = ScopedKey::new(hash, &submission.client, &submission.key);
                    self.draft(&Named { submission, key }, None)?
                }
                (Member::Transition(transition), Taken::Step(step)) => {
                    let record = encode(record::encode_moved(&step.record(transition)))?;
                    let hasher = self.lookup.tables.hasher();
                    let keys = hasher.keys_of_step(step.order, &transition.command_key);
                    let key = self.key_of_order(transition.order);
                    Pending::single(key, record, keys, What::Step(step))
                }
                (_, Taken::Remark(wanted)) => {
                    let remark = wanted.remark();
                    let record = encode(record::encode_remark(&remark))?;
                    let keys = self.lookup.tables.hasher().keys_of_remark(&remark);
                    let key = self.key_of_order(wanted.order());
                    Pending::single(key, record, keys, What::Remark)
                }
                (_, Taken::Dispatch(wanted)) => self.draft_dispatch(key, wanted, members.len())?,
                (_, Taken::Step(_)) => continue,
            });
        }
        if let Some(cursor) = &batch.cursor {
            members.push(self.draft_cursor(cursor, batch.len())?);
        }
        for (distance, member) in (1u16..).zip(&mut members) {
            member.record.put_behind_head(distance);
        }
        let bytes: usize = members.iter().map(Pending::bytes).sum();
        if bytes > BATCH_BYTES_MAX {
            let what = format!("the batch takes {bytes} bytes; allowed are {BATCH_BYTES_MAX}");
            return Err(Error::new(ErrorKind::Invalid { what }));
        }
        let mut salt = [0; 16];
        self.host.fill_random(&mut salt);
        let fingerprint = batch.fingerprint(&salt);
        // Within its bound: that was checked first.
        let count = u16::try_from(members.len()).unwrap_or(u16::MAX);
        let head = LinkedHead { key: &batch.key, members: count, salt, fingerprint };
        let record = encode(record::encode_linked(&head))?;
        let clients = batch.members.iter().filter_map(|member| match member {
            Member::Submission(order) => Some(order.client.clone()),
            _ => None,
        });
        let client = clients.take(1).next().unwrap_or_default();
        let keys = RecordKeys::one(key.hash);
        Ok(Ok(Pending { key: key.clone(), record, keys, what: What::Linked { client }, members }))
    }

    /// The record of a dispatch that is the member at `index`.
    fn draft_dispatch(&self, own: &ScopedKey, wanted: &Dispatch, index: usize) -> Result<Pending> {
        let hasher = self.lookup.tables.hasher();
        let (key, order, back) = match wanted.about {
            About::Order(order) => (self.key_of_order(order), order.seq(), 0),
            // Members stand in the order of their seqs; the batch is within its bounds.
            About::Member(of) => {
                let back = u16::try_from(index.saturating_sub(of)).unwrap_or(u16::MAX);
                (own.clone(), Seq(0), back)
            }
        };
        let body = dispatch::body_of(wanted, order, back);
        let record = encode(record::encode_dispatched(&body))?;
        let keys = hasher.keys_of_dispatch(order, &wanted.command_key);
        Ok(Pending::single(key, record, keys, What::Dispatch { back }))
    }

    /// The record of the cursor that moves with a batch, behind its last member: the member at `index`. A fence is that
    /// member's; a cursor that can't be read is nobody's, and tells nothing about what is recorded.
    fn draft_cursor(&self, cursor: &CursorMove, index: usize) -> Result<Pending> {
        let CursorMove { consumer, epoch, next, .. } = cursor;
        let at = self.lookup.cursor(consumer)?;
        if at.epoch != *epoch {
            let fenced = Error::new(ErrorKind::Fenced { consumer: consumer.clone() });
            return Err(linked::member_error(index, fenced));
        }
        // It never goes back, and is recorded in any case: a batch has one record for each member.
        let next = at.next.max(*next).0;
        let said = Cursor { consumer, epoch: *epoch, next, parked: None };
        let record = encode(record::encode_cursor(&said))?;
        let keys = self.lookup.tables.hasher().keys_of_cursor(consumer, false);
        Ok(Pending::single(self.key_of_cursor(cursor), record, keys, What::Cursor))
    }

    /// Has the validator look at the orders of a batch, once for a call.
    fn validate_linked(&self, batch: &LinkedBatch) -> Result<()> {
        let Some(validator) = &self.settings.validator else { return Ok(()) };
        for (index, member) in batch.members.iter().enumerate() {
            let Member::Submission(order) = member else { continue };
            // Also what it would refuse for good is refused with the batch, of which nothing is recorded.
            let reason = match validator::run(&**validator, order, &self.lookup) {
                Verdict::Accept => continue,
                Verdict::RefuseForNow { reason } => reason,
                Verdict::RefuseFinal(refusal) => refusal.reason,
            };
            let refused = Error::new(ErrorKind::RefusedForNow { reason });
            return Err(linked::member_error(index, refused));
        }
        Ok(())
    }
}

fn check_remark(wanted: Wanted<'_>) -> Result<()> {
    let remark = wanted.remark();
    limits::check_remark(remark.author, remark.command_key, remark.text)
}
