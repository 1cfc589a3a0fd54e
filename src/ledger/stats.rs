//! Counts and sizes of a ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::options::LogWrites;
use crate::admission::dedupe::Lookup;
use crate::error::{Error, Result};
use crate::order::{LedgerId, Seq, State};
use crate::recovery::report::RecoveryReport;
use crate::views::{OFF_BY_CHOICE, Phase, ViewsState};
use crate::wal::log::Log;
use crate::wal::record::{is_accepted, is_refused, is_step};

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
    /// Steps that orders took since the ledger was opened.
    pub steps: u64,
    /// Of those, the ones that say that an order has expired: recorded by the sweeper, or when somebody asked
    /// for a step behind the instant.
    pub expired: u64,
    /// Groups written since the ledger was opened: syncs that orders shared.
    pub groups: u64,
    /// How often a callback for alerts has panicked since the ledger was opened
    /// ([`WatchOptions::on_alert`](crate::WatchOptions::on_alert)).
    pub alert_panics: u64,
    /// How groups are written now: chosen when a file of the log is opened. `None` for a reader, which
    /// writes none; there [`RecoveryReport::past_cache`] says what the last opening chose.
    pub log_writes: Option<LogWrites>,
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
    /// They are off because nobody wanted them: by the options, or in a relaxed ledger.
    pub off_by_choice: bool,
    /// Records that they do not cover yet.
    pub behind: u64,
    /// Views that were set aside under `derived/` and still take up space there.
    pub set_aside: u64,
}

impl ViewsStats {
    pub(crate) fn of(state: &ViewsState) -> ViewsStats {
        let off_by_choice =
            matches!(&state.phase, Phase::Off { reason } if reason == OFF_BY_CHOICE);
        let (phase, reason) = match &state.phase {
            Phase::Opening => ("opening", None),
            Phase::Auditing => ("auditing", None),
            Phase::Feeding => ("feeding", None),
            Phase::Off { reason } => ("off", Some(reason.clone())),
        };
        let reason =
            reason.or_else(|| state.log_error.clone()).or_else(|| state.last_doubt.clone());
        ViewsStats {
            phase,
            reason,
            off_by_choice,
            behind: state.behind,
            set_aside: state.set_aside,
        }
    }
}

impl Stats {
    pub(crate) fn of(lookup: &Lookup) -> Result<Stats> {
        let log = &lookup.log;
        let records = log.readable_next().0 - 1;
        let states = states(log)?;
        let orders = states.iter().map(|(_, count)| count).sum();
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
            steps: 0,
            expired: 0,
            groups: 0,
            alert_panics: 0,
            log_writes: None,
            views: None,
            last_open: None,
        })
    }
}

/// Orders by their present state, by its number.
fn states(log: &Arc<Log>) -> Result<Vec<(State, u64)>> {
    let mut states: BTreeMap<u8, u64> = BTreeMap::new();
    let mut add = |state: State, count: u64| {
        let sum = states.entry(state.number()).or_default();
        *sum = sum.wrapping_add(count);
    };
    for segment in log.segments() {
        let mut steps = 0;
        for (kind, count) in segment.counts() {
            match kind {
                kind if is_accepted(kind) => add(State::Accepted, count),
                kind if is_refused(kind) => add(State::Refused, count),
                kind if is_step(kind) => steps += count,
                _ => {}
            }
        }
        let mut cursor = log.cursor(segment.header.first_seq);
        while steps > 0 {
            let Some(record) = cursor.next()? else { break };
            let body = record.body()?;
            let Some(moved) = body.moved() else { continue };
            // What leaves a state came into it before; the sum is right at the end.
            add(moved.from(), 1u64.wrapping_neg());
            add(moved.to(), 1);
            steps -= 1;
        }
    }
    let there = states.into_iter().filter(|(_, count)| *count > 0);
    Ok(there.filter_map(|(number, count)| Some((State::from_number(number)?, count))).collect())
}
