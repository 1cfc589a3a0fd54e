//! Fills a store from the log, batch by batch, and reads lists from it.
//!
//! Always true: only published records are fed (I3); a batch holds the keys of at most
//! [`BATCH_RECORDS_MAX`] records and the watermark that covers them, and is applied whole; a store is not
//! read before [`Feed::begin`] has found it sound.
//!
//! What a store is worth when it is opened, first row that fits:
//!
//! | watermark | its ledger | its next seq | entries | decision |
//! |---|---|---|---|---|
//! | none | - | - | none | empty: feed from seq 1 |
//! | none | - | - | some | doubt |
//! | does not hold | - | - | - | doubt |
//! | holds | another | - | - | doubt |
//! | holds | ours, durable | beyond the log | - | **ahead**: the log lost data |
//! | holds | ours, relaxed | beyond the log | - | doubt (a power cut may do that) |
//! | holds | ours | within the log | do not add up | doubt |
//! | holds | ours | within the log | add up | sound: feed from there |

use std::sync::Arc;
use std::time::Duration;

use crate::sync::Mutex;

use super::entries::Entries;
use super::guard::Guarded;
use super::layout::{
    Change, EXPIRING_PREFIX, View, WATERMARK_KEY, Watermark, changes_of, due_prefix, entered_prefix,
};
use super::store::{Batch, Doubt, Store};
use super::tally::Tally;
use crate::error::{Error, ErrorKind, Result as LogResult};
use crate::order::{AlertLevel, Durability, Lifecycle, Seq, State, Timestamp};
use crate::tables::Tables;
use crate::wal::log::{Cursor, Log};
use crate::wal::record::Body;

/// Most records in one batch. Source: sled took 12 GB of memory for batches of 10,000 (DESIGN).
pub(super) const BATCH_RECORDS_MAX: usize = 100;
/// Keys per step of the audit: some 10 ms of work, after which others get their turn.
const AUDIT_KEYS: usize = 10_000;

/// Where a store is.
#[derive(Clone)]
pub(super) enum Handle {
    /// On a thread of its own, under deadlines.
    Guarded(Arc<Guarded>),
    /// In memory, called directly: nothing in it can hang or panic.
    Direct(Arc<Mutex<dyn Store>>),
}

impl Handle {
    fn call<T: Send + 'static>(
        &self,
        doing: &'static str,
        deadline: Duration,
        job: impl FnOnce(&mut dyn Store) -> Result<T, Doubt> + Send + 'static,
    ) -> Result<T, Doubt> {
        match self {
            Handle::Guarded(guarded) => guarded.call(doing, deadline, job),
            Handle::Direct(store) => job(&mut *store.lock()),
        }
    }

    /// Whether both are the same store.
    pub(super) fn is_same(&self, other: &Handle) -> bool {
        match (self, other) {
            (Handle::Guarded(one), Handle::Guarded(other)) => Arc::ptr_eq(one, other),
            (Handle::Direct(one), Handle::Direct(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// At most `limit` seqs of a list, after `after`, in order.
    pub(super) fn page(
        &self,
        view: View<'_>,
        after: Seq,
        limit: usize,
        deadline: Duration,
    ) -> Result<Vec<Seq>, Doubt> {
        let (Some(prefix), Some(after)) = (view.prefix(), view.key(after)) else {
            return Ok(Vec::new());
        };
        self.call("reading a page", deadline, move |store| {
            let keys = store.keys(&prefix, &after, limit)?;
            let seqs = keys.iter().map(|key| match View::parse(key) {
                Some((_, seq)) if key.starts_with(&prefix) && *key > after => Ok(seq),
                _ => Err(Doubt::BadKey),
            });
            let seqs: Vec<Seq> = seqs.collect::<Result<_, _>>()?;
            if !seqs.is_sorted_by(|one, next| one < next) {
                return Err(Doubt::BadKey);
            }
            Ok(seqs)
        })
    }

    /// At most `limit` orders that expire, by instant and seq, after this one.
    pub(super) fn expiring(
        &self,
        after: Option<(Timestamp, Seq)>,
        limit: usize,
        deadline: Duration,
    ) -> Result<Vec<(Timestamp, Seq)>, Doubt> {
        let after = after.and_then(|(instant, seq)| View::ExpiresAt(instant).key(seq));
        let after = after.unwrap_or_else(|| EXPIRING_PREFIX.to_vec());
        self.call("reading what expires", deadline, move |store| {
            let keys = store.keys(EXPIRING_PREFIX, &after, limit)?;
            if !keys.is_sorted_by(|one, next| one < next) {
                return Err(Doubt::BadKey);
            }
            let expiring = keys.iter().map(|key| match View::parse(key) {
                Some((View::ExpiresAt(instant), seq)) if *key > after => Ok((instant, seq)),
                _ => Err(Doubt::BadKey),
            });
            expiring.collect()
        })
    }

    /// At most `limit` orders that are in a state, of those with thresholds of their own or of the others, by when they
    /// entered it and seq, after this one.
    pub(super) fn entered(
        &self,
        (state, own): (State, bool),
        after: Option<(Timestamp, Seq)>,
        limit: usize,
        deadline: Duration,
    ) -> Result<Vec<(Timestamp, Seq)>, Doubt> {
        let key = |(at, seq): (Timestamp, Seq)| View::Entered { state, own, at }.key(seq);
        self.timed(entered_prefix(state, own), after.and_then(key), limit, deadline)
    }

    /// At most `limit` orders that have thresholds of their own, by when they reach this level and seq, after this one.
    pub(super) fn due(
        &self,
        level: AlertLevel,
        after: Option<(Timestamp, Seq)>,
        limit: usize,
        deadline: Duration,
    ) -> Result<Vec<(Timestamp, Seq)>, Doubt> {
        let key = |(at, seq): (Timestamp, Seq)| View::Due { level, at }.key(seq);
        self.timed(due_prefix(level), after.and_then(key), limit, deadline)
    }

    /// At most `limit` instants and seqs of the keys that begin so, after this key.
    fn timed(
        &self,
        prefix: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: usize,
        deadline: Duration,
    ) -> Result<Vec<(Timestamp, Seq)>, Doubt> {
        let after = after.unwrap_or_else(|| prefix.clone());
        self.call("reading how long orders stand", deadline, move |store| {
            let keys = store.keys(&prefix, &after, limit)?;
            if !keys.is_sorted_by(|one, next| one < next) {
                return Err(Doubt::BadKey);
            }
            let places = keys.iter().map(|key| match View::parse(key) {
                Some((View::Entered { at, .. } | View::Due { at, .. }, seq))
                    if key.starts_with(&prefix) && *key > after =>
                {
                    Ok((at, seq))
                }
                _ => Err(Doubt::BadKey),
            });
            places.collect()
        })
    }

    /// Asks for something small, to see that the store still answers.
    pub(super) fn ping(&self, deadline: Duration) -> Result<(), Doubt> {
        self.call("answering at all", deadline, |store| store.watermark().map(|_| ()))
    }
}

/// Why a store is not used.
#[derive(Debug)]
pub(super) enum Unusable {
    Doubt(Doubt),
    /// It has durably seen this seq, which the log does not have.
    Ahead(Seq),
    /// Nobody wants it any more.
    Stopped,
}

impl From<Doubt> for Unusable {
    fn from(doubt: Doubt) -> Unusable {
        Unusable::Doubt(doubt)
    }
}

/// Why a batch was not fed.
#[derive(Debug)]
pub(super) enum FeedError {
    Doubt(Doubt),
    /// The log can't be read there: not the store's fault.
    Log(Error),
}

/// A store that was found sound, and the place in the log up to which it was fed.
pub(super) struct Feed {
    handle: Handle,
    deadline: Duration,
    log: Arc<Log>,
    cursor: Cursor,
    mark: Watermark,
    /// Knows in which states an order stays.
    lifecycle: Lifecycle,
    entries: Entries,
    /// Whether any order in the store may expire: else no step asks when its order does.
    has_expiring: bool,
    /// The first instant at which an order expires that was fed since it was asked last.
    earliest: Option<Timestamp>,
    tally: Tally,
}

impl Feed {
    /// Decides what the store is worth. `opened_next` is where the log ended when the ledger was opened,
    /// before anything new was written: what is written since must not hide that something is missing.
    pub(super) fn begin(
        handle: Handle,
        (log, tables): (Arc<Log>, Arc<Tables>),
        lifecycle: Lifecycle,
        opened_next: Seq,
        deadline: Duration,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Feed, Unusable> {
        let ledger = log.issuer.ledger;
        let found = handle.call("reading the watermark", deadline, |store| store.watermark())?;
        let (mark, earliest, tally) = match found {
            None => (Watermark::start(ledger), None, Tally::default()),
            Some(bytes) => {
                let mark = Watermark::decode(&bytes).map_err(Doubt::BadWatermark)?;
                if mark.ledger != ledger {
                    return Err(Doubt::Foreign(mark.ledger).into());
                }
                if mark.next > opened_next {
                    let last = Seq(mark.next.0 - 1);
                    return Err(match log.issuer.durability {
                        Durability::Durable => Unusable::Ahead(last),
                        Durability::Relaxed => Doubt::AheadOfRelaxed(last).into(),
                    });
                }
                let (earliest, tally) = audit(&handle, &mark, deadline, wanted)?;
                (mark, earliest, tally)
            }
        };
        if mark == Watermark::start(ledger) {
            let keys = handle
                .call("looking for entries", deadline, |store| store.keys(&[], WATERMARK_KEY, 1))?;
            if !keys.is_empty() {
                return Err(Doubt::NoWatermark.into());
            }
        }
        let has_expiring = earliest.is_some();
        let cursor = log.cursor(mark.next);
        let entries = Entries::new(Arc::clone(&log), tables);
        Ok(Feed {
            handle,
            deadline,
            log,
            cursor,
            mark,
            lifecycle,
            entries,
            has_expiring,
            earliest,
            tally,
        })
    }

    /// The first instant at which an order expires that came into the store since this was asked last.
    pub(super) fn take_earliest(&mut self) -> Option<Timestamp> {
        self.earliest.take()
    }

    /// Every record below it is in the store.
    pub(super) fn next(&self) -> Seq {
        self.mark.next
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// How many of its orders are in which state.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Feeds one batch; answers how many records it had, 0 when there are none to feed.
    pub(super) fn step(&mut self) -> Result<usize, FeedError> {
        let (mut mark, mut batch, mut records) = (self.mark, Batch::default(), 0);
        let (mut earliest, mut tally) = (self.earliest, self.tally.clone());
        while records < BATCH_RECORDS_MAX {
            match self.cursor.next().and_then(|record| {
                let Some(record) = record else { return Ok(false) };
                let body = record.body()?;
                if let Some(instant) = body.expires_at(record.at) {
                    self.has_expiring = true;
                    earliest = Some(earliest.map_or(instant, |known| known.min(instant)));
                }
                let ended = expiry_ended_by(&self.log, &self.lifecycle, &body, self.has_expiring)?;
                let ended = ended.map(|key| (key, Change::Remove));
                let entered = self.entries.changes(&self.lifecycle, &record, &body)?;
                let changes = changes_of(record.seq, record.at, &body).chain(ended).chain(entered);
                for (key, change) in changes {
                    match change {
                        Change::Add => mark.count(&key),
                        Change::Remove => mark.uncount(&key),
                    }
                    tally.note(&key, change);
                    batch.put(key, change);
                }
                mark.next = record.seq.next();
                Ok(true)
            }) {
                Ok(true) => records += 1,
                Ok(false) => break,
                // What comes before a record that can't be read is fed; the next step meets it again.
                Err(_) if records > 0 => break,
                Err(error) => {
                    self.rewind();
                    return Err(FeedError::Log(error));
                }
            }
        }
        if records == 0 {
            return Ok(0);
        }
        let bytes = mark.encode();
        self.handle
            .call("applying a batch", self.deadline, move |store| store.apply(batch, bytes))
            .map_err(FeedError::Doubt)?;
        (self.mark, self.earliest, self.tally) = (mark, earliest, tally);
        if self.cursor.position() != mark.next {
            self.rewind();
        }
        Ok(records)
    }

    /// Puts the cursor back to what was not fed yet.
    fn rewind(&mut self) {
        self.cursor = self.log.cursor(self.mark.next);
    }
}

/// The key that says when the order expires which comes to an end by this step, if it does.
fn expiry_ended_by(
    log: &Log,
    lifecycle: &Lifecycle,
    body: &Body<'_>,
    has_expiring: bool,
) -> LogResult<Option<Vec<u8>>> {
    let Some(moved) = body.moved().filter(|moved| {
        has_expiring && lifecycle.is_terminal(moved.to()) && !lifecycle.is_terminal(moved.from())
    }) else {
        return Ok(None);
    };
    let order = moved.order();
    let began = match log.read(order) {
        Ok(Some(began)) => began,
        Ok(None) => return Ok(None),
        // The key stays, and is a hint that comes to nothing. One order that rotted must not hold up the rest.
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let expires_at = began.body().ok().and_then(|body| body.expires_at(began.at));
    Ok(expires_at.and_then(|instant| View::ExpiresAt(instant).key(order)))
}

/// Holds every key of the store against what the watermark says was written. Answers the first instant at which
/// an order expires, and how many orders are in which state.
fn audit(
    handle: &Handle,
    mark: &Watermark,
    deadline: Duration,
    wanted: &dyn Fn() -> bool,
) -> Result<(Option<Timestamp>, Tally), Unusable> {
    let (mut earliest, mut tally) = (None, Tally::default());
    let mut counted = Watermark { entries: 0, sum: 0, ..*mark };
    let mut after = WATERMARK_KEY.to_vec();
    loop {
        if !wanted() {
            return Err(Unusable::Stopped);
        }
        let from = after.clone();
        let keys =
            handle.call("auditing", deadline, move |store| store.keys(&[], &from, AUDIT_KEYS))?;
        let Some(last) = keys.last() else { break };
        for key in &keys {
            let Some((view, _)) = View::parse(key).filter(|(_, seq)| *seq < mark.next) else {
                return Err(Doubt::BadKey.into());
            };
            if let View::ExpiresAt(instant) = view {
                earliest.get_or_insert(instant);
            }
            counted.count(key);
            tally.note(key, Change::Add);
        }
        after.clone_from(last);
    }
    if counted == *mark {
        Ok((earliest, tally))
    } else {
        let (found, expected) = (counted.entries, mark.entries);
        Err(Doubt::Incomplete { found, expected }.into())
    }
}
