//! Counts and sizes of a ledger.

use crate::error::{Error, Result};
use crate::order::{LedgerId, Seq, State};
use crate::recovery::report::RecoveryReport;
use crate::wal::log::Log;
use crate::wal::record::{KIND_ACCEPTED, KIND_REFUSED};

/// Counts and sizes of a ledger at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Its identity.
    pub ledger: LedgerId,
    /// Orders, accepted and finally refused.
    pub orders: u64,
    /// Records of the log.
    pub records: u64,
    /// The last seq; `None` while there is no record.
    pub last_seq: Option<Seq>,
    /// Orders by their present state; states without orders are left out.
    pub states: Vec<(State, u64)>,
    /// Files of the log.
    pub segments: u64,
    /// Bytes of the files of the log, prepared zeros included.
    pub log_bytes: u64,
    /// Orders taken since the ledger was opened.
    pub fresh: u64,
    /// Submissions answered with an earlier receipt since the ledger was opened.
    pub replayed: u64,
    /// Submissions that joined another one since the ledger was opened.
    pub joined: u64,
    /// Conflicts since the ledger was opened.
    pub conflicts: u64,
    /// Groups written since the ledger was opened: syncs that orders shared.
    pub groups: u64,
    /// What the last opening for writing found and did.
    pub last_open: Option<RecoveryReport>,
}

impl Stats {
    pub(crate) fn of_log(log: &Log) -> Result<Stats> {
        let records = log.readable_next().0 - 1;
        let mut states = Vec::new();
        let mut orders = 0;
        for (kind, count) in log.counts() {
            let state = match kind {
                KIND_ACCEPTED => State::Accepted,
                KIND_REFUSED => State::Refused,
                _ => continue,
            };
            orders += count;
            states.push((state, count));
        }
        let (mut segments, mut log_bytes) = (0, 0);
        for segment in log.segments() {
            segments += 1;
            log_bytes += segment
                .file
                .bytes()
                .map_err(|error| Error::io(format!("measuring {}", segment.path()), error))?;
        }
        Ok(Stats {
            ledger: log.issuer.ledger,
            orders,
            records,
            last_seq: (records > 0).then_some(Seq(records)),
            states,
            segments,
            log_bytes,
            fresh: 0,
            replayed: 0,
            joined: 0,
            conflicts: 0,
            groups: 0,
            last_open: None,
        })
    }
}
