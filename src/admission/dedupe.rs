//! Has this key been committed, and what is the answer then?
//!
//! The tables only give hints: the record is read from the log and its (client, key) bytes are compared.
//! Equality of content is decided field by field (or by the callers' own fingerprints), never by a
//! checksum.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::order::{How, Order, Outcome, Seq, Submission};
use crate::tables::Tables;
use crate::tables::hash::KeyHash;
use crate::tables::lookup::Hint;
use crate::wal::frame::Frame;
use crate::wal::log::{Log, body_of};
use crate::wal::record::Body;
use crate::wal::together::Together;

/// Finds committed orders by key.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    pub(crate) log: Arc<Log>,
    pub(crate) tables: Arc<Tables>,
}

impl Lookup {
    pub(crate) fn hash(&self, client: &[u8], key: &[u8]) -> KeyHash {
        self.tables.hasher().hash(client, key)
    }

    /// What `answer` makes of the record that began the order with this key; `None` (there is no such
    /// record) is certain.
    ///
    /// # Errors
    /// `Io` or `Corrupt`: then it is not known, and nothing may be answered. Those of `answer`.
    pub(crate) fn committed<T>(
        &self,
        hash: KeyHash,
        client: &[u8],
        key: &[u8],
        answer: impl FnOnce(&Frame<'_>, &Body<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        for seq in self.tables.candidates(&self.log, hash)? {
            // A seq that is not readable yet is still in flight: not committed (I3).
            let Some(record) = self.log.read(seq)? else { continue };
            let (frame, body) = (record.frame(), record.body()?);
            if is_of(&body, client, key) {
                return answer(&frame, &body).map(Some);
            }
        }
        Ok(None)
    }

    /// Looks for the keys of a whole batch: the tables are asked once, and neighbours in the log are read
    /// together. What it finds stays true; what is committed later has a seq at or above [`Ahead::seen`].
    pub(crate) fn ahead(&self, submissions: &[Submission]) -> Ahead {
        // Before the tables are asked: whatever they do not have yet is not below it.
        let seen = self.log.readable_next();
        let hashes: Vec<_> = submissions.iter().map(|it| self.hash(&it.client, &it.key)).collect();
        let hints = self.tables.hints(&hashes);
        let mut seqs: Vec<_> = (hints.iter())
            .filter_map(|hint| match hint {
                Hint::At(seq) => Some(*seq),
                Hint::Absent | Hint::Unclear => None,
            })
            .collect();
        seqs.sort_unstable();
        seqs.dedup();
        Ahead { seen, hashes, hints, records: self.log.read_together(&seqs) }
    }

    /// The order that was taken under this key; `None` is certain.
    ///
    /// # Errors
    /// `Io` or `Corrupt`.
    pub(crate) fn by_key(&self, client: &[u8], key: &[u8]) -> Result<Option<Order>> {
        // Put where it stays: an order is large, and is not handed from call to call.
        let mut found = None;
        self.committed(self.hash(client, key), client, key, |frame, body| {
            found = self.order_at(frame, body)?;
            Ok(())
        })?;
        Ok(found)
    }

    /// The answer for a submission whose key the record at `frame` holds.
    ///
    /// # Errors
    /// `Conflict`, or `Refused` when the order was refused for good.
    pub(crate) fn answer(
        &self,
        frame: &Frame<'_>,
        body: &Body<'_>,
        submission: &Submission,
        how: How,
    ) -> Result<Outcome> {
        let (Some(submitted), Some(receipt)) =
            (body.submitted(), self.log.issuer.receipt(frame, body))
        else {
            let what = "the record of a key holds no order".to_owned();
            return Err(Error::new(ErrorKind::Invalid { what }));
        };
        let differs = submitted.content().differs(&submission.content());
        if !differs.is_empty() {
            return Err(Error::new(ErrorKind::Conflict { receipt, differs }));
        }
        if let Some(refusal) = body.refusal() {
            return Err(Error::new(ErrorKind::Refused { receipt, refusal }));
        }
        let now = self.standing_of(frame.seq, receipt.first_state)?.now;
        Ok(Outcome { receipt, how, now })
    }
}

/// What was found out about the keys of a batch before its orders were looked at one by one.
#[derive(Debug)]
pub(crate) struct Ahead {
    pub(crate) seen: Seq,
    hashes: Vec<KeyHash>,
    hints: Vec<Hint>,
    records: Together,
}

impl Ahead {
    /// The hash of a submission's key, by its place in the batch.
    pub(crate) fn hash(&self, index: usize) -> Option<KeyHash> {
        self.hashes.get(index).copied()
    }

    /// As [`Lookup::committed`], for the submission at this place of the batch. `None`: ask there.
    pub(crate) fn committed<T>(
        &self,
        index: usize,
        submission: &Submission,
        answer: impl FnOnce(&Frame<'_>, &Body<'_>) -> Result<T>,
    ) -> Option<Result<Option<T>>> {
        let seq = match self.hints.get(index)? {
            Hint::Absent => return Some(Ok(None)),
            Hint::At(seq) => *seq,
            Hint::Unclear => return None,
        };
        let frame = self.records.get(seq)?;
        let body = body_of(&frame).ok()?;
        // Another key with the same hash: rare enough to be looked at once more.
        is_of(&body, &submission.client, &submission.key).then(|| answer(&frame, &body).map(Some))
    }
}

/// Whether the record began the order with this key: a hash may be that of several.
fn is_of(body: &Body<'_>, client: &[u8], key: &[u8]) -> bool {
    body.submitted().is_some_and(|submitted| submitted.client == client && submitted.key == key)
}
