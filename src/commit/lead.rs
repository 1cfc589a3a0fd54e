//! Whoever leads writes the queue out, group by group.
//!
//! What happens when a line fails: before a group's first byte (no room): its callers get a NotRecorded
//! error and the ledger goes on. From its first byte on: poison, its callers are in doubt. A panic:
//! poison, and everyone who waits is woken (rule 17).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use smallvec::SmallVec;

use super::queue::{Pending, Place, Queue, Taken, What};
use super::round::{Answers, Committed, EntryResult, Round};
use super::{Committer, Core, expiry, tally};
use crate::disk::{disk_low, is_full};
use crate::error::{Certainty, Error, ErrorKind, Result};
use crate::order::{Seq, Timestamp};
use crate::spans;
use crate::tables::hash::RecordKeys;
use crate::wal::writer::{AppendError, Appended};

/// Bytes of records after which a group is closed and the next begun. A group is in memory as a whole,
/// and one of this size costs the disk more than its sync does.
const GROUP_BYTES_TARGET: usize = 4 * 1024 * 1024;

/// Closed segments that may wait for the upkeep; beyond that the leader seals them itself, so that the
/// keys in memory stay bounded when the upkeep can't keep up.
const CLOSED_MAX: usize = 2;

/// How long the commit thread leaves orders alone that nobody waits for. Longer than it takes to hand in as many
/// as a sync is worth, and so short that nobody notices who comes back to his ticket later. Checked schedules
/// have no clock, and wait for ever: there whoever waits must be written for without it.
const LINGER: Duration = Duration::from_micros(500);

impl Committer {
    /// Writes what waits, unless somebody else does: for a caller that has just queued something and is
    /// going to wait for it.
    pub(crate) fn lead_if_idle(&self) {
        {
            let mut queue = self.queue.lock();
            if queue.leading || queue.entries.is_empty() {
                queue.hurried |= queue.leading;
                return;
            }
            queue.leading = true;
        }
        self.lead_round();
        if !self.settings.threads {
            return self.lead();
        }
        // The answer is there; what queued up meanwhile is not this caller's to wait for.
        let mut queue = self.queue.lock();
        if queue.entries.is_empty() {
            queue.leading = false;
            self.idle.notify_all();
        } else {
            queue.handed_over = true;
            self.work.notify_one();
        }
    }

    /// The same for a caller that waits for one place: it may be written already, and then what is queued
    /// now is not its own.
    pub(crate) fn lead_for(&self, place: &Place) {
        if self.is_queued(place) {
            self.lead_if_idle();
        }
    }

    /// Has the commit thread write what is queued if this place is among it: for a caller that waits for it, but
    /// not here, or not for ever.
    pub(crate) fn hurry(&self, place: &Place) {
        let mut queue = self.queue.lock();
        if self.settings.threads && Arc::ptr_eq(&queue.round, &place.round) && !queue.hurried {
            queue.hurried = true;
            if !queue.leading {
                self.work.notify_one();
            }
        }
    }

    fn is_queued(&self, place: &Place) -> bool {
        Arc::ptr_eq(&self.queue.lock().round, &place.round)
    }

    /// Whether there is something to write now. What nobody waits for has time.
    fn is_due(&self, queue: &Queue) -> bool {
        let now = queue.hurried || queue.closing || !self.settings.threads;
        now && !queue.entries.is_empty()
    }

    /// Writes until nothing waits, then stops leading. The caller leads.
    pub(crate) fn lead(&self) {
        loop {
            {
                let mut queue = self.queue.lock();
                if !self.is_due(&queue) {
                    queue.leading = false;
                    self.idle.notify_all();
                    if !queue.entries.is_empty() {
                        // It has not looked at them while somebody led.
                        self.work.notify_one();
                    }
                    return;
                }
            }
            self.lead_round();
        }
    }

    /// Has the queue written by the commit thread: for callers that do not wait here.
    pub(crate) fn nudge(&self) {
        if self.settings.threads {
            let queue = self.queue.lock();
            if !queue.leading && !queue.lingers && !queue.entries.is_empty() {
                self.work.notify_one();
            }
        }
    }

    /// Closes the write path: waits for what is queued, proves the last group, stops the threads.
    ///
    /// # Errors
    /// `Poisoned` when a write had failed, or fails now. Nothing acknowledged depends on it.
    pub(crate) fn close(&self) -> Result<()> {
        {
            let mut queue = self.queue.lock();
            queue.closing = true;
            while self.settings.threads && (queue.leading || !queue.entries.is_empty()) {
                if !queue.leading {
                    self.work.notify_one();
                }
                self.idle.wait(&mut queue);
            }
        }
        // Without threads, what was deferred and never pumped is written now.
        self.lead_if_idle();
        let closed = self.check_poison().and_then(|()| self.check_owner()).and_then(|()| {
            self.seal_last_group();
            self.seal_closed(&mut self.core.lock());
            self.sync_relaxed()?;
            self.write_manifest();
            self.check_poison()
        });
        self.queue.lock().closed = true;
        self.work.notify_all();
        self.announcer.end();
        self.upkeep.stop();
        self.merging.stop();
        closed
    }

    /// What a relaxed ledger has only written is synced when it is closed.
    fn sync_relaxed(&self) -> Result<()> {
        self.core.lock().writer.sync_relaxed().map_err(|error| {
            let why = format!("syncing at close: {error}");
            self.poison(why.clone());
            Error::new(ErrorKind::Poisoned { why }).caused_by(error)
        })
    }

    /// The commit thread: writes what is handed over or deferred, until the ledger is closed.
    pub(crate) fn run_commit_thread(&self) {
        loop {
            {
                let mut queue = self.queue.lock();
                while !queue.handed_over && (queue.leading || !self.is_due(&queue)) {
                    if queue.closed {
                        return;
                    }
                    if queue.leading || queue.entries.is_empty() {
                        self.work.wait(&mut queue);
                        continue;
                    }
                    // Whoever comes to wait for one of them writes them himself.
                    let rounds = queue.rounds;
                    queue.lingers = true;
                    self.work.wait_for(&mut queue, LINGER);
                    queue.lingers = false;
                    queue.hurried |= queue.rounds == rounds;
                }
                queue.handed_over = false;
                queue.leading = true;
            }
            self.lead();
        }
    }

    /// Writes one round and gives its answers.
    fn lead_round(&self) {
        let (Taken { mut entries, round }, waiting_since_ns) = {
            let mut queue = self.queue.lock();
            let Some(taken) = queue.take() else { return };
            (taken, self.counters.waiting_since_ns.swap(0, Ordering::Relaxed))
        };
        let mut guard =
            Unwinding { committer: self, entries: &entries, round: &round, armed: true };
        let results = self.write_round(&entries, waiting_since_ns);
        guard.armed = false;
        {
            let mut queue = self.queue.lock();
            for (pending, result) in entries.iter().zip(&results) {
                if result.as_ref().is_err_and(|error| error.certainty() == Certainty::Unknown) {
                    queue.in_doubt.extend(pending.all().map(|part| part.key.clone()));
                }
            }
            queue.leave(&entries);
        }
        self.room.notify_all();
        drop(guard);
        // Nobody else has them any more.
        if let Some(entries) = Arc::get_mut(&mut entries) {
            entries.iter_mut().for_each(Pending::let_go_of_records);
        }
        round.finish(Answers { results, entries });
    }

    /// Writes entries in one or more groups. They have waited since then, where that is known (else 0).
    fn write_round(&self, entries: &[Pending], waiting_since_ns: u64) -> Vec<EntryResult> {
        let mut results = Vec::with_capacity(entries.len());
        let entries: SmallVec<[&Pending; 8]> = entries.iter().collect();
        let mut core = self.core.lock();
        let mut rest = entries.as_slice();
        while !rest.is_empty() {
            let (group, behind) = rest.split_at(group_length(rest));
            rest = behind;
            if let Err(error) = self.check_poison().and_then(|()| self.check_owner()) {
                tally::count_failures(&self.counters, &error, orders_in(group));
                results.extend(group.iter().map(|_| Err(error.clone())));
                continue;
            }
            self.write_group(&mut core, group, waiting_since_ns, &mut results);
        }
        results
    }

    /// Writes a group, but for those of its entries whose time does not fit.
    fn write_group(
        &self,
        core: &mut Core,
        group: &[&Pending],
        waiting_since_ns: u64,
        results: &mut Vec<EntryResult>,
    ) {
        let wall = Timestamp::from_unix_ns(self.host.wall_ns());
        let Some(fits) = expiry::in_time(group, || core.writer.time_of_next(wall)) else {
            return self.write_records(core, group, wall, waiting_since_ns, results);
        };
        let kept = group.iter().zip(&fits).filter(|(_, fits)| **fits);
        let kept: Vec<_> = kept.map(|(pending, _)| *pending).collect();
        let mut written = Vec::with_capacity(kept.len());
        // A group without records would be a seal.
        if !kept.is_empty() {
            self.write_records(core, &kept, wall, waiting_since_ns, &mut written);
        }
        let mut written = written.into_iter();
        let result = |fits: &bool| fits.then(|| written.next()).flatten().unwrap_or(Ok(None));
        results.extend(fits.iter().map(result));
    }

    fn write_records(
        &self,
        core: &mut Core,
        group: &[&Pending],
        wall: Timestamp,
        waiting_since_ns: u64,
        results: &mut Vec<EntryResult>,
    ) {
        let mut records = Vec::with_capacity(group.len());
        for pending in group {
            records.extend(pending.all().map(|part| &part.record));
        }
        let span = spans::group(records.len());
        match core.writer.append(&records, wall) {
            Ok(appended) => {
                let sync_ns = appended.write_ended_ns.saturating_sub(appended.write_began_ns);
                span.written(appended.first_seq, appended.bytes, sync_ns);
                let ended_ns = appended.write_ended_ns;
                tally::count_group(&self.counters, group, &appended, waiting_since_ns);
                self.publish(core, group, appended, results);
                if let Some(by_client) = self.by_client.get() {
                    let parts = group.iter().flat_map(|pending| pending.all());
                    let orders = parts.filter(|part| matches!(part.what, What::Order(_)));
                    by_client.taken(orders.map(|part| part.key.client()));
                }
                self.upkeep.note_group(ended_ns);
            }
            Err(error) => {
                let error = self.append_failed(error);
                tally::count_failures(&self.counters, &error, orders_in(group));
                results.extend(group.iter().map(|_| Err(error.clone())));
            }
        }
        self.note_room(&core.writer);
    }

    /// The group is on disk: applies it to the tables, and lets readers see it.
    fn publish(
        &self,
        core: &mut Core,
        group: &[&Pending],
        appended: Appended,
        results: &mut Vec<EntryResult>,
    ) {
        let Appended { first_seq, first_at, closed, .. } = appended;
        let parts = group.iter().flat_map(|pending| pending.all());
        let keys = (first_seq.0..).zip(parts).map(|(seq, part)| self.keys_at(Seq(seq), part));
        self.lookup.tables.apply(core.writer.active_number(), first_seq, keys);
        self.note_time(core.writer.position().last_at);
        self.lookup.log.publish(core.writer.position().next_seq);
        self.announcer.published(group);
        if let Some(on_publish) = self.on_publish.get() {
            on_publish();
        }
        let mut index = 0;
        results.extend(group.iter().map(|pending| {
            let seq = Seq(first_seq.0 + index);
            let at = Timestamp::from_unix_ns(first_at.as_unix_ns() + index);
            index += 1 + pending.members.len() as u64;
            Ok(Some(Committed { seq, at }))
        }));
        if let Some(closed) = closed {
            core.closed.push(closed);
            if core.closed.len() > CLOSED_MAX {
                self.seal_closed(core);
            }
            self.upkeep.wake();
        } else if self.wants_next_segment(&core.writer) {
            self.upkeep.wake();
        }
    }

    /// The keys of a record, now that its place is known.
    fn keys_at(&self, seq: Seq, part: &Pending) -> RecordKeys {
        match part.what {
            What::Dispatch { back } if back > 0 => {
                let order = Seq(seq.0.saturating_sub(back.into()));
                RecordKeys::one(self.lookup.tables.hasher().dispatches_of(order))
            }
            _ => part.keys,
        }
    }

    /// What a failed append means for its callers; poisons unless the log is untouched.
    pub(crate) fn append_failed(&self, error: AppendError) -> Error {
        match error {
            AppendError::NoRoom(error) if is_full(&error) => {
                self.disk_low.store(true, Ordering::Relaxed);
                disk_low(&*self.disk, error)
            }
            AppendError::NoRoom(error) => {
                Error::io("making the next segment", error).not_recorded()
            }
            AppendError::NotWritten(error) => {
                let why = format!("beginning a new segment: {error}");
                self.poison(why.clone());
                Error::new(ErrorKind::Poisoned { why }).caused_by(error)
            }
            AppendError::InDoubt(error) => {
                let why = format!("writing or syncing a group: {error}");
                self.poison(why.clone());
                Error::new(ErrorKind::InDoubt { why }).caused_by(error)
            }
        }
    }
}

/// How many orders a group begins.
fn orders_in(group: &[&Pending]) -> u64 {
    let parts = group.iter().flat_map(|pending| pending.all());
    parts.filter(|part| matches!(part.what, What::Order(_))).count() as u64
}

/// How many entries from the front make one group.
fn group_length(entries: &[&Pending]) -> usize {
    let mut bytes = 0;
    let within = entries.iter().take_while(|pending| {
        bytes += pending.group_bytes();
        bytes <= GROUP_BYTES_TARGET
    });
    within.count().max(1)
}

/// Stands by while somebody leads: a panic poisons the ledger and wakes everyone who waits.
pub(crate) struct Unwinding<'a> {
    pub(crate) committer: &'a Committer,
    /// What is being written; nothing, when it is a seal.
    pub(crate) entries: &'a [Pending],
    pub(crate) round: &'a Round,
    pub(crate) armed: bool,
}

impl Drop for Unwinding<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        self.committer.poison("a panic while a group was written");
        let mut queue = self.committer.queue.lock();
        let parts = self.entries.iter().flat_map(Pending::all);
        queue.in_doubt.extend(parts.map(|part| part.key.clone()));
        queue.leave(self.entries);
        // What waits behind would have nobody to write it; a poisoned queue takes in nothing more.
        let behind = queue.take();
        if let Some(behind) = &behind {
            queue.leave(&behind.entries);
        }
        queue.leading = false;
        drop(queue);
        if let (Some(Taken { entries, round }), Err(error)) =
            (behind, self.committer.check_poison())
        {
            let results = entries.iter().map(|_| Err(error.clone())).collect();
            round.finish(Answers { results, entries: Arc::default() });
        }
        self.committer.idle.notify_all();
        self.committer.room.notify_all();
        self.committer.work.notify_one();
        // No results: everyone is told that the outcome is in doubt.
        self.round.finish(Answers::default());
    }
}
