//! One snapshot of everything that is counted: what the ledger did, how full it is, how it is.
//!
//! - [`Metrics`] and its parts; [`exposition`](super::exposition) names them for Prometheus, and
//!   [`health`](super::health) judges them
//!
//! Always true: taking one writes nothing, waits for nobody who writes, and never fails; what can't be told is
//! `None` and never a guess. The counters of a snapshot are read one after the other, so that two of them may
//! be apart by what happened in between.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Ledger;
use super::health::{self, Health};
use super::read::Reads;
use super::reader::Reader;
use super::stats::ViewsStats;
use super::third_parties::{self, OutboxMetrics};
use crate::commit::Committer;
use crate::metrics::{Counters, Histogram};
use crate::order::{AlertLevel, LedgerId, Lifecycle, Seq, State, Timestamp};
use crate::recovery;
use crate::recovery::report::RecoveryReport;
use crate::sync::Count;
use crate::views::{View, Views, ViewsState};
use crate::wal::log::Log;
use crate::watch::{AlertQuery, dwell};

/// Bytes that a reader takes to be left free beside the next segment: the default of the option.
const DISK_FREE_MIN_BYTES: u64 = 16 * 1024 * 1024;
/// Most open alerts that are counted.
const ALERTS_COUNTED_MAX: usize = 1_000;

/// What a ledger has counted, and how it is, at one moment.
///
/// **Source**: [`Ledger::metrics`] knows all of it; [`Reader::metrics`] what the files say.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// Whose they are.
    pub ledger: LedgerId,
    /// When they were taken, in ledger time: ages count up to here.
    pub at: Timestamp,
    /// The last seq that may be read; `None` while there is no record.
    pub last_seq: Option<Seq>,
    /// Files of the log.
    pub segments: u64,
    /// Bytes of the files of the log, prepared zeros included, as their headers say.
    pub log_bytes: u64,
    /// Places in which a key is looked for: see [`Stats::key_tables`](crate::Stats::key_tables).
    pub key_tables: u64,
    /// Bytes that are free on the file system; `None` when it does not say.
    pub disk_free_bytes: Option<u64>,
    /// Bytes that must be free for the next file of the log.
    pub disk_wanted_bytes: u64,
    /// The last attempt to get room for the next file has failed. False for a reader, which makes none.
    pub disk_low: bool,
    /// Why nothing is written any more, if so. `None` for a reader, which can't know.
    pub poisoned: Option<String>,
    /// Orders by state, for as many records as the views cover ([`ViewsStats::behind`] says how many are
    /// missing); `None` while the views can't be asked, and for a reader, whose caller may fill it with what a
    /// [`Census`](crate::Census) counted.
    pub states: Option<Vec<StateMetrics>>,
    /// Alerts that are open; `None` when they could not be read, while the views can't be asked, and for a reader
    /// that was not asked for them.
    pub alerts: Option<AlertMetrics>,
    /// What waits for third parties, and how they do; `None` as for [`Metrics::alerts`].
    pub outbox: Option<OutboxMetrics>,
    /// What this process did since it opened the ledger; `None` for a reader.
    pub activity: Option<Activity>,
    /// How the views are; `None` for a reader, which has none.
    pub views: Option<ViewsStats>,
    /// What the last opening for writing found; `None` when a reader finds no report.
    pub last_open: Option<RecoveryReport>,
    /// What follows from all that.
    pub health: Health,
}

/// Alerts that are open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct AlertMetrics {
    /// Worth a look.
    pub warn: u64,
    /// They need somebody now.
    pub critical: u64,
    /// Of those, the ones that nobody has said to know of.
    pub critical_unacknowledged: u64,
    /// The same of all.
    pub unacknowledged: u64,
    /// When the oldest of them was raised.
    pub oldest_raised_at: Option<Timestamp>,
    /// There are more: counting ends at a thousand.
    pub more: bool,
}

/// Orders that are in one state.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct StateMetrics {
    /// The state.
    pub state: State,
    /// Its name, by the lifecycle of the ledger.
    pub name: String,
    /// How many orders are in it.
    pub orders: u64,
    /// When the one of them was accepted that was accepted first; `None` for a state that orders stay in, and
    /// when it is not known.
    pub oldest_accepted_at: Option<Timestamp>,
    /// Since when one of them is in it that is in it for longest; `None` for a state that orders stay in, and
    /// when it is not known.
    pub longest_since: Option<Timestamp>,
}

impl StateMetrics {
    pub(crate) fn new(lifecycle: &Lifecycle, state: State, orders: u64) -> StateMetrics {
        let name = lifecycle.name_of(state).map_or_else(|| state.to_string(), str::to_owned);
        StateMetrics { state, name, orders, oldest_accepted_at: None, longest_since: None }
    }
}

/// What a process did since it opened the ledger for writing.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Activity {
    /// What submissions came to.
    pub submissions: Submissions,
    /// Steps that orders took.
    pub steps: u64,
    /// Of those, the ones that say that an order has expired.
    pub expired: u64,
    /// Notes that were made or resolved.
    pub notes: u64,
    /// Holds that were set or released.
    pub holds: u64,
    /// Cursors of consumers that were committed.
    pub cursors: u64,
    /// Groups that were written: durable writes of the log that records shared.
    pub groups: u64,
    /// Bytes of those groups.
    pub written_bytes: u64,
    /// Nanoseconds from the call to the receipt, for each order that [`Ledger::submit`] or
    /// [`Ledger::submit_many`] took or joined; an order of a batch counts with the time of the whole call.
    /// Replays are not in it, and neither is what was deferred, which its caller may pick up when he likes.
    pub receipt_ns: Histogram,
    /// Nanoseconds that the oldest entry of a round waited before its write began: one value for each group
    /// that began with an order.
    pub queue_wait_ns: Histogram,
    /// Nanoseconds of the durable write of a group.
    pub sync_ns: Histogram,
    /// Records of a group.
    pub group_records: Histogram,
    /// What waits right now.
    pub queue: QueueMetrics,
    /// How long ago the upkeep finished a round; `None` for a ledger without threads, and a closed one.
    pub upkeep_idle: Option<Duration>,
}

/// What submissions came to: each counts once, in one of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Submissions {
    /// Orders that were taken.
    pub fresh: u64,
    /// Answered with an earlier receipt, or with an earlier final refusal. Steps, notes and batches that were
    /// repeated are in it as well.
    pub replayed: u64,
    /// Joined another one that was on its way.
    pub joined: u64,
    /// Other content under a key that has an order.
    pub conflicts: u64,
    /// Orders that were refused for good, and recorded.
    pub refused: u64,
    /// Refused by the validator for now.
    pub refused_for_now: u64,
    /// Over a limit, or not to be stored.
    pub invalid: u64,
    /// The queue was full.
    pub overloaded: u64,
    /// The disk was.
    pub disk_low: u64,
    /// Anything else: closed, poisoned, in doubt, a read that failed.
    pub failed: u64,
}

impl Submissions {
    /// Each with its name.
    pub(crate) fn rows(&self) -> [(&'static str, u64); 10] {
        [
            ("fresh", self.fresh),
            ("replayed", self.replayed),
            ("joined", self.joined),
            ("conflict", self.conflicts),
            ("refused", self.refused),
            ("refused_for_now", self.refused_for_now),
            ("invalid", self.invalid),
            ("overloaded", self.overloaded),
            ("disk_low", self.disk_low),
            ("failed", self.failed),
        ]
    }
}

/// What waits to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct QueueMetrics {
    /// New orders, those that are being written among them.
    pub orders: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Steps, notes and the like, which have a lane of their own.
    pub others: u64,
    /// [`Options::queue_orders_max`](crate::Options::queue_orders_max).
    pub orders_max: u64,
    /// [`Options::queue_bytes_max`](crate::Options::queue_bytes_max).
    pub bytes_max: u64,
    /// Since when the oldest of what nobody has begun to write waits; `None` when there is nothing.
    pub oldest_wait: Option<Duration>,
}

impl Ledger {
    /// Everything that is counted, and how the ledger is.
    ///
    /// **Cost**: some microseconds: 8 KiB of counters are copied, the lock of the queue is held for five loads,
    /// the file system is asked once for its free bytes. The counts by state come from the views, as they were
    /// fed; the oldest order of each state that has orders and is not terminal, and the one that is in it for
    /// longest, cost a look or two into the views and some reads each. A store of the views that hangs is waited for
    /// once, for half a second, and then not asked again.
    /// Open alerts and dead letters are read, up to a thousand of each: some reads of the log for each.
    /// To count costs the submit path less than 2 % ([`guide::metrics`](crate::guide::metrics)).
    ///
    /// ```
    /// # use order_ledger::{Ledger, Submission};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
    /// ledger.submit(&Submission::new("web-shop", "cart-17", "2 x tea"))?;
    /// let metrics = ledger.metrics();
    /// assert_eq!(metrics.activity.unwrap().submissions.fresh, 1);
    /// # Ok::<(), order_ledger::Error>(())
    /// ```
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let (mut metrics, views) = self.gauges();
        metrics.states = views.and_then(|views| self.states(&views));
        metrics.health = health::judge(&metrics);
        metrics
    }

    /// What is wrong with the ledger right now, and what to do about it.
    ///
    /// **Cost**: as [`Ledger::metrics`], without the look at the oldest orders.
    #[must_use]
    pub fn health(&self) -> Health {
        health::judge(&self.gauges().0)
    }

    /// Everything but the states and what follows.
    fn gauges(&self) -> (Metrics, Option<ViewsState>) {
        let inner = &self.inner;
        let committer = &inner.committer;
        let views = inner.reads.views.as_ref().map(|views| {
            views.catch_up();
            views.state()
        });
        // Without views all of the log would be read for them.
        let is_asked = |views: &&Arc<Views>| views.may_be_asked();
        let lists = inner.reads.views.as_ref().filter(is_asked).map(|_| &inner.reads);
        let metrics = Metrics {
            at: committer.ledger_now(),
            disk_free_bytes: committer.disk.free_bytes().ok(),
            disk_wanted_bytes: committer.next_segment_wants(),
            disk_low: committer.disk_low.load(Ordering::Relaxed),
            poisoned: committer.poisoned().map(str::to_owned),
            activity: Some(activity(committer)),
            views: views.as_ref().map(ViewsStats::of),
            last_open: Some(inner.report.clone()),
            alerts: lists.and_then(alerts),
            outbox: lists.and_then(|reads| {
                third_parties::metrics(reads, Some(&inner.window), committer.ledger_now())
            }),
            ..of_log(&inner.reads)
        };
        (metrics, views)
    }

    /// The states as the views know them.
    fn states(&self, views: &ViewsState) -> Option<Vec<StateMetrics>> {
        let lifecycle = &self.inner.committer.settings.lifecycle;
        let states = views.states.as_ref()?.iter();
        let states = states.map(|(state, orders)| {
            let row = StateMetrics::new(lifecycle, *state, *orders);
            match lifecycle.is_terminal(*state) {
                true => row,
                false => StateMetrics {
                    oldest_accepted_at: self.first_accepted(*state),
                    longest_since: self.longest_since(*state),
                    ..row
                },
            }
        });
        Some(states.collect())
    }

    /// Since when the order is in a state that the views have there for longest.
    fn longest_since(&self, state: State) -> Option<Timestamp> {
        let reads = &self.inner.reads;
        dwell::longest_since(&reads.lookup, reads.views.as_ref()?, state)
    }

    /// When the order was accepted that stands first on the list of a state.
    fn first_accepted(&self, state: State) -> Option<Timestamp> {
        let reads = &self.inner.reads;
        let (first, _) = reads.views.as_ref()?.page(View::State(state), Seq(0), 1);
        let record = reads.lookup.log.read(*first.first()?).ok()??;
        Some(record.at)
    }
}

impl Reader {
    /// What the files say of the ledger: what a reader of another process can know.
    ///
    /// `now`: the wall clock; ages count up to it, or to the last record where that is later. What only the
    /// writer knows is `None`; [`Metrics::states`] is for the caller to fill.
    ///
    /// **Cost**: asks the file system once for its free bytes, and reads the report of the last opening. Lists of
    /// what is open would be read from the log: they are left out here ([`Reader::metrics_with_lists`]).
    #[must_use]
    pub fn metrics(&self, now: Timestamp) -> Metrics {
        let mut metrics = self.figures(now);
        metrics.health = health::judge(&metrics);
        metrics
    }

    /// The same with open alerts and with what waits for third parties.
    ///
    /// **Cost**: reads the files of the log that tell of alerts and of dispatches: once in a while, not for every
    /// request.
    #[must_use]
    pub fn metrics_with_lists(&self, now: Timestamp) -> Metrics {
        let (alerts, outbox) =
            (alerts(&self.reads), third_parties::metrics(&self.reads, None, now));
        let mut metrics = Metrics { alerts, outbox, ..self.figures(now) };
        metrics.health = health::judge(&metrics);
        metrics
    }

    fn figures(&self, now: Timestamp) -> Metrics {
        let log = &self.reads.lookup.log;
        let segments = log.segments();
        let segment_bytes = segments.last().map_or(0, |segment| segment.header.file_bytes);
        let last_at = self.last_at();
        Metrics {
            at: now.max(last_at.unwrap_or(now)),
            disk_free_bytes: self.disk.free_bytes().ok(),
            disk_wanted_bytes: segment_bytes.saturating_add(DISK_FREE_MIN_BYTES),
            last_open: recovery::last_report(&*self.disk),
            ..of_log(&self.reads)
        }
    }

    /// The time of the last record.
    fn last_at(&self) -> Option<Timestamp> {
        let log = &self.reads.lookup.log;
        let last = Seq(log.readable_next().0.checked_sub(1)?);
        Some(log.read(last).ok()??.at)
    }
}

/// What the log says; the rest is empty.
fn of_log(reads: &Reads) -> Metrics {
    let log: &Log = &reads.lookup.log;
    let segments = log.segments();
    let records = log.readable_next().0 - 1;
    Metrics {
        ledger: log.issuer.ledger,
        at: Timestamp::from_unix_ns(0),
        last_seq: (records > 0).then_some(Seq(records)),
        segments: segments.len() as u64,
        log_bytes: segments.iter().map(|segment| segment.header.file_bytes).sum(),
        key_tables: reads.lookup.tables.parts(),
        disk_free_bytes: None,
        disk_wanted_bytes: 0,
        disk_low: false,
        poisoned: None,
        states: None,
        alerts: None,
        outbox: None,
        activity: None,
        views: None,
        last_open: None,
        health: Health::default(),
    }
}

fn alerts(reads: &Reads) -> Option<AlertMetrics> {
    let page = reads.alerts(&AlertQuery::open().limit(ALERTS_COUNTED_MAX)).ok()?;
    let mut open = AlertMetrics { more: page.next.is_some(), ..AlertMetrics::default() };
    open.oldest_raised_at = page.alerts.first().map(|alert| alert.raised_at);
    for alert in &page.alerts {
        let unknown = u64::from(alert.acknowledged.is_none());
        open.unacknowledged += unknown;
        match alert.level {
            AlertLevel::Warn => open.warn += 1,
            AlertLevel::Critical => {
                open.critical += 1;
                open.critical_unacknowledged += unknown;
            }
        }
    }
    Some(open)
}

fn activity(committer: &Committer) -> Activity {
    let counters: &Counters = &committer.counters;
    let value = |counter: &Count| counter.load(Ordering::Relaxed);
    let since =
        |at_ns: u64| Duration::from_nanos(committer.host.monotonic_ns().saturating_sub(at_ns));
    let refused = value(&counters.refused);
    let (queue, closed) = queue(committer);
    let waits = value(&counters.waiting_since_ns);
    Activity {
        submissions: Submissions {
            // Read after `refused`, so that it is never the smaller one.
            fresh: value(&counters.fresh).saturating_sub(refused),
            replayed: value(&counters.replayed),
            joined: value(&counters.joined),
            conflicts: value(&counters.conflicts),
            refused,
            refused_for_now: value(&counters.refused_for_now),
            invalid: value(&counters.invalid),
            overloaded: value(&counters.overloaded),
            disk_low: value(&counters.disk_low),
            failed: value(&counters.failed),
        },
        steps: value(&counters.steps),
        expired: value(&counters.expired),
        notes: value(&counters.notes),
        holds: value(&counters.holds),
        cursors: value(&counters.cursors),
        groups: counters.sync_ns.count(),
        written_bytes: value(&counters.written_bytes),
        receipt_ns: counters.receipt_ns.snapshot(),
        queue_wait_ns: counters.queue_wait_ns.snapshot(),
        sync_ns: counters.sync_ns.snapshot(),
        group_records: counters.group_records.snapshot(),
        queue: QueueMetrics { oldest_wait: (waits > 0).then(|| since(waits)), ..queue },
        upkeep_idle: (committer.settings.threads && !closed)
            .then(|| since(value(&counters.upkeep_at_ns))),
    }
}

/// What waits, and whether nothing more is taken in.
fn queue(committer: &Committer) -> (QueueMetrics, bool) {
    let limits = committer.settings.gate;
    let queue = committer.queue.lock();
    let waiting = QueueMetrics {
        orders: queue.gate.orders() as u64,
        bytes: queue.gate.bytes() as u64,
        others: queue.existing.orders() as u64,
        orders_max: limits.orders_max as u64,
        bytes_max: limits.bytes_max as u64,
        oldest_wait: None,
    };
    (waiting, queue.closing)
}
