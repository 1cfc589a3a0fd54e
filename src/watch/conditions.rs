//! What may be wrong beside orders that stand still: each condition says, in each pass, which of its subjects it is
//! true of, and how bad it is.
//!
//! Always true: a condition decides by what is now and keeps no alert itself; what it can't tell, it leaves as it is.
//! A subject that was bad enough for an alert and is only a little better is kept open, so that one near a limit
//! does not come and go.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::options::{Limits, WatchOptions, Watched};
use super::unreturned::Unreturned;
use crate::commit::Committer;
use crate::error::Result;
use crate::metrics::Histogram;
use crate::order::{AlertKind, AlertLevel, AlertSubject, Timestamp};
use crate::sync::Mutex;

/// A subject of which a condition is true, or almost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    pub(crate) subject: AlertSubject,
    /// `None`: not bad enough for an alert, and too bad for one that is open to be over.
    pub(crate) level: Option<AlertLevel>,
    /// In words, for people.
    pub(crate) detail: String,
}

/// Something that may be wrong.
pub(crate) trait Condition: Send + Sync {
    /// The kind of its alerts. No other condition has it.
    fn kind(&self) -> AlertKind;

    /// Of whom it is true now; open alerts about all others are over. `None`: that can't be told.
    fn look(&self, committer: &Committer, now: Timestamp) -> Option<Vec<Found>>;
}

/// The conditions that are asked for.
pub(super) fn of(options: &WatchOptions) -> Vec<Box<dyn Condition>> {
    let mut conditions: Vec<Box<dyn Condition>> =
        vec![Box::new(DiskLow { warn_bytes: options.disk_warn_bytes })];
    if !options.consumers.is_empty() {
        conditions.push(Box::new(ConsumerLag { consumers: options.consumers.clone() }));
    }
    if let Some(limits) = options.sync_ns {
        conditions.push(Box::new(SyncLatency { limits, earlier: Mutex::default() }));
    }
    if let Some(limits) = options.unreturned_percent {
        conditions.push(Box::new(Unreturned { limits }));
    }
    conditions
}

/// What a number comes to: `None` when it is not worth a word.
pub(crate) fn judge(value: u64, limits: Limits) -> Option<Option<AlertLevel>> {
    let first = limits.warn.min(limits.critical);
    if value >= limits.critical {
        Some(Some(AlertLevel::Critical))
    } else if value >= limits.warn {
        Some(Some(AlertLevel::Warn))
    } else if value > first / 2 {
        Some(None)
    } else {
        None
    }
}

/// The disk has little room left.
struct DiskLow {
    warn_bytes: u64,
}

impl Condition for DiskLow {
    fn kind(&self) -> AlertKind {
        AlertKind::DiskLow
    }

    fn look(&self, committer: &Committer, _: Timestamp) -> Option<Vec<Found>> {
        let free_bytes = committer.disk.free_bytes().ok()?;
        let is_refused = committer.disk_low.load(Ordering::Relaxed);
        let level = match () {
            () if is_refused => Some(AlertLevel::Critical),
            () if free_bytes < self.warn_bytes => Some(AlertLevel::Warn),
            () if free_bytes / 5 * 4 < self.warn_bytes => None,
            () => return Some(Vec::new()),
        };
        let what = if is_refused { "no room for new orders" } else { "little room for the log" };
        let detail = format!("{what}: {free_bytes} bytes are free");
        Some(vec![Found { subject: AlertSubject::Ledger, level, detail }])
    }
}

/// Consumers that are too far behind.
struct ConsumerLag {
    consumers: Vec<Watched>,
}

/// Records that are passed over in the search for the oldest event that a consumer has not dealt with.
const PASSED_OVER_MAX: u64 = 10_000;

impl Condition for ConsumerLag {
    fn kind(&self) -> AlertKind {
        AlertKind::ConsumerLag
    }

    fn look(&self, committer: &Committer, now: Timestamp) -> Option<Vec<Found>> {
        let look = |watched: &Watched| look_at_consumer(committer, watched, now);
        let found: Result<Vec<_>> = self.consumers.iter().map(look).collect();
        Some(found.ok()?.into_iter().flatten().collect())
    }
}

fn look_at_consumer(
    committer: &Committer,
    watched: &Watched,
    now: Timestamp,
) -> Result<Option<Found>> {
    let log = &committer.lookup.log;
    let end = log.readable_next();
    let next = committer.lookup.cursor(&watched.name)?.next;
    let records = end.0.saturating_sub(next.0);
    let by_records = watched.records.and_then(|limits| judge(records, limits));
    let mut by_age = None;
    let mut waits = Duration::ZERO;
    if let Some(limits) = watched.age_ns {
        let mut cursor = log.cursor(next);
        while cursor.position() < end && cursor.position().0 - next.0 < PASSED_OVER_MAX {
            let Some(record) = cursor.next()? else { break };
            if log.issuer.event(&record.frame(), &record.body()?).is_none() {
                continue;
            }
            let age_ns = now.as_unix_ns().saturating_sub(record.at.as_unix_ns());
            (by_age, waits) = (judge(age_ns, limits), Duration::from_nanos(age_ns));
            break;
        }
    }
    let Some(level) = by_records.max(by_age) else { return Ok(None) };
    let name = &watched.name;
    let detail = match by_age {
        Some(_) => format!("{name} is {records} records behind, the oldest event waits {waits:?}"),
        None => format!("{name} is {records} records behind"),
    };
    Ok(Some(Found { subject: AlertSubject::Consumer(name.clone()), level, detail }))
}

/// Writing and syncing takes too long.
struct SyncLatency {
    limits: Limits,
    /// What was counted before the groups that are judged now.
    earlier: Mutex<Histogram>,
}

/// From so many groups on, the next ones are judged afresh.
const GROUPS_JUDGED: u64 = 100;

impl SyncLatency {
    /// How long writing and syncing takes in the slowest hundredth of the last groups, or a quarter more; `None`
    /// while no group was seen.
    fn p99_ns(&self, committer: &Committer) -> Option<u64> {
        let now = committer.counters.sync_ns.snapshot();
        let mut earlier = self.earlier.lock();
        let seen = now.since(&earlier);
        if seen.count() >= GROUPS_JUDGED {
            *earlier = now;
        }
        seen.quantile(0.99)
    }
}

impl Condition for SyncLatency {
    fn kind(&self) -> AlertKind {
        AlertKind::SyncLatency
    }

    fn look(&self, committer: &Committer, _: Timestamp) -> Option<Vec<Found>> {
        let p99_ns = self.p99_ns(committer)?;
        let level = judge(p99_ns, self.limits);
        let detail = format!("one group in 100 takes {:?} or more", Duration::from_nanos(p99_ns));
        let found = |level| Found { subject: AlertSubject::Ledger, level, detail };
        Some(level.map(found).into_iter().collect())
    }
}
