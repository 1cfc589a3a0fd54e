//! How far the consumers of the feed are: durable, in the log, one handle at a time.
//!
//! Always true: a cursor never goes back; it is moved only by the handle that was opened last (the others
//! are fenced by the epoch); at most one cursor of a consumer is in flight, so that each is decided by what
//! is committed.

use super::Committer;
use super::existing::{Decided, Done, encode};
use super::queue::{ScopedKey, What};
use crate::admission::dedupe::Lookup;
use crate::error::{Error, ErrorKind, Result};
use crate::order::Seq;
use crate::order::consumer::is_consumer_name;
use crate::order::limits::{CONSUMER_BYTES_MAX, REASON_BYTES_MAX};
use crate::wal::record::{self, Body, Cursor, Parked};

/// How far a consumer is, as the log says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CursorAt {
    /// 0: it was never opened.
    pub(crate) epoch: u64,
    /// The first seq that it is not done with.
    pub(crate) next: Seq,
}

/// What is to be recorded about a consumer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Advance<'a> {
    /// Another handle takes over.
    Open,
    /// This handle is done with everything below `next`.
    To { epoch: u64, next: Seq },
    /// This handle sets an event aside, or has dealt with it after all.
    Park { epoch: u64, parked: Parked<'a> },
}

impl Lookup {
    /// How far a consumer is; one that was never opened is before the first record.
    pub(crate) fn cursor(&self, consumer: &str) -> Result<CursorAt> {
        let hash = self.tables.hasher().consumer(consumer);
        let found = self.newest_of(Seq::FIRST, hash, |body| match body {
            Body::Cursor(cursor) if cursor.consumer == consumer => {
                Some(CursorAt { epoch: cursor.epoch, next: Seq(cursor.next) })
            }
            _ => None,
        })?;
        Ok(found.map_or(CursorAt { epoch: 0, next: Seq::FIRST }, |(_, at)| at))
    }

    /// The events that a consumer has set aside and not dealt with, by seq, and why.
    pub(crate) fn parked(&self, consumer: &str) -> Result<Vec<(Seq, String)>> {
        let hash = self.tables.hasher().parked(consumer);
        let mut parked = std::collections::BTreeMap::new();
        // Newest first: what is said last counts.
        for seq in self.tables.candidates(&self.log, hash)? {
            let Some(record) = self.log.read(seq)? else { continue };
            let body = record.body()?;
            let Body::Cursor(cursor) = &body else { continue };
            if let (true, Some(said)) = (cursor.consumer == consumer, cursor.parked) {
                parked.entry(Seq(said.seq)).or_insert(said.why.map(str::to_owned));
            }
        }
        Ok(parked.into_iter().filter_map(|(seq, why)| Some((seq, why?))).collect())
    }
}

impl Committer {
    /// Records something about a consumer: returns when it is on disk, with where it is then.
    ///
    /// # Errors
    /// `Invalid` for a name or reason beyond its limit; `Fenced`; those of writing.
    pub(crate) fn advance(&self, consumer: &str, advance: Advance<'_>) -> Result<CursorAt> {
        let invalid = |what| Err(Error::new(ErrorKind::Invalid { what }));
        if !is_consumer_name(consumer) {
            let bytes_max = CONSUMER_BYTES_MAX;
            return invalid(format!(
                "a consumer's name is 1 to {bytes_max} visible ASCII characters"
            ));
        }
        if let Advance::Park { parked: Parked { why: Some(why), .. }, .. } = advance
            && why.len() > REASON_BYTES_MAX
        {
            return invalid(format!("a reason has at most {REASON_BYTES_MAX} bytes"));
        }
        let hasher = self.lookup.tables.hasher();
        let hash = hasher.consumer(consumer);
        let key = ScopedKey::of_consumer(hash, consumer);
        let done = self.carry_out(&key, &[Some(hash)], || {
            let at = self.lookup.cursor(consumer)?;
            let (then, parked) = match advance {
                Advance::Open => (CursorAt { epoch: at.epoch + 1, ..at }, None),
                Advance::To { epoch, .. } | Advance::Park { epoch, .. } if epoch != at.epoch => {
                    let consumer = consumer.to_owned();
                    return Err(Error::new(ErrorKind::Fenced { consumer }));
                }
                // Nothing to record: it never goes back.
                Advance::To { next, .. } if next <= at.next => return Ok(Decided::Known(at)),
                Advance::To { next, .. } => (CursorAt { next, ..at }, None),
                Advance::Park { parked, .. } => (at, Some(parked)),
            };
            let cursor = Cursor { consumer, epoch: then.epoch, next: then.next.0, parked };
            let record = encode(record::encode_cursor(&cursor))?;
            let keys = hasher.keys_of_cursor(consumer, parked.is_some());
            Ok(Decided::record(&key, record, keys, What::Cursor, then))
        })?;
        Ok(match done {
            Done::Known(at) | Done::Recorded(_, at) => at,
        })
    }
}
