//! Has this key been committed, and what is the answer then?
//!
//! The tables only give hints: the record is read from the log and its (client, key) bytes are compared.
//! Equality of content is decided field by field (or by the callers' own fingerprints), never by a
//! checksum.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::order::{How, Outcome, Submission};
use crate::tables::Tables;
use crate::tables::hash::KeyHash;
use crate::wal::log::{Log, Record};

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

    /// The record that began the order with this key; `None` is certain.
    ///
    /// # Errors
    /// `Io` or `Corrupt`: then it is not known, and nothing may be answered.
    pub(crate) fn committed(
        &self,
        hash: KeyHash,
        client: &[u8],
        key: &[u8],
    ) -> Result<Option<Record>> {
        for seq in self.tables.candidates(&self.log, hash)? {
            // A seq that is not readable yet is still in flight: not committed (I3).
            let Some(record) = self.log.read(seq)? else { continue };
            let same = record
                .body()?
                .submitted()
                .is_some_and(|submitted| submitted.client == client && submitted.key == key);
            if same {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// The answer for a submission whose key `record` holds.
    ///
    /// # Errors
    /// `Conflict`, or `Refused` when the order was refused for good.
    pub(crate) fn answer(
        &self,
        record: &Record,
        submission: &Submission,
        how: How,
    ) -> Result<Outcome> {
        let (frame, body) = (record.frame(), record.body()?);
        let (Some(submitted), Some(receipt)) =
            (body.submitted(), self.log.issuer.receipt(&frame, &body))
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
        let now = self.standing_of(record.seq, receipt.first_state)?.now;
        Ok(Outcome { receipt, how, now })
    }
}
