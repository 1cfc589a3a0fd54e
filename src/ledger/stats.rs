//! Counts and sizes of a ledger.

use crate::admission::dedupe::Lookup;
use crate::error::{Error, Result};
use crate::order::{LedgerId, Seq, State};
use crate::recovery::report::RecoveryReport;
use crate::views::{Phase, ViewsState};
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
    /// Key tables: in so many places a key is looked for. Those of full segments are merged in the background;
    /// when that has caught up there are one for each 256 segments, at most three for each smaller power of four
    /// (64, 16, 4, 1), and one or two for segments that are not sealed. How far the merging is after `derived/` was lost shows here.
    pub key_tables: u64,
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
    /// How the views are; `None` for a reader, which has none.
    pub views: Option<ViewsStats>,
    /// What the last opening for writing found and did.
    pub last_open: Option<RecoveryReport>,
}

/// How the views (lists by account, reference and state) are. Whatever they are, queries answer the
/// same; only the time differs.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ViewsStats {
    /// `opening`, `auditing`, `feeding` or `off`.
    pub phase: &'static str,
    /// Why they are off, or why the last ones were set aside.
    pub reason: Option<String>,
    /// Records that they do not cover yet.
    pub behind: u64,
    /// Views that were set aside under `derived/` and still take up space there.
    pub set_aside: u64,
}

impl ViewsStats {
    pub(crate) fn of(state: &ViewsState) -> ViewsStats {
        let (phase, reason) = match &state.phase {
            Phase::Opening => ("opening", None),
            Phase::Auditing => ("auditing", None),
            Phase::Feeding => ("feeding", None),
            Phase::Off { reason } => ("off", Some(reason.clone())),
        };
        let reason =
            reason.or_else(|| state.log_error.clone()).or_else(|| state.last_doubt.clone());
        ViewsStats { phase, reason, behind: state.behind, set_aside: state.set_aside }
    }
}

impl Stats {
    pub(crate) fn of(lookup: &Lookup) -> Result<Stats> {
        let log = &lookup.log;
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
                .file()
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
            key_tables: lookup.tables.parts(),
            fresh: 0,
            replayed: 0,
            joined: 0,
            conflicts: 0,
            groups: 0,
            views: None,
            last_open: None,
        })
    }
}
