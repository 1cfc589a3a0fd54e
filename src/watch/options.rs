//! What is watched, how often, and who is told.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::order::AlertEvent;
use crate::order::consumer::is_consumer_name;
use crate::order::thresholds::ns;

const HOUR: Duration = Duration::from_secs(3600);
const MIB: u64 = 1024 * 1024;

/// Told of alerts.
pub(crate) type OnAlert = Arc<dyn Fn(&AlertEvent) + Send + Sync>;

/// When a number is worth a look, and when somebody is needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    pub(crate) warn: u64,
    pub(crate) critical: u64,
}

/// A consumer that has to keep up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Watched {
    pub(crate) name: String,
    pub(crate) records: Option<Limits>,
    pub(crate) age_ns: Option<Limits>,
}

/// What the watch of a ledger looks at, how often, and who is told: for [`Options::watch`](crate::Options::watch).
///
/// Orders are watched by the thresholds of the [`Lifecycle`](crate::Lifecycle)
/// ([`StateRule::warn_after`](crate::StateRule::warn_after),
/// [`Lifecycle::with_thresholds`](crate::Lifecycle::with_thresholds)), or by their own
/// ([`Submission::warn_after`](crate::Submission::warn_after)); the disk, what was given up of
/// third parties, and providers that are left alone are always looked at; the rest is as is asked for here. What to do when an alert comes: [`guide::watch`](crate::guide::watch).
///
/// ```
/// use std::time::Duration;
/// use order_ledger::{Lifecycle, Options, State, WatchOptions};
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("orders.ledger");
/// const HOUR: Duration = Duration::from_secs(3600);
/// let lifecycle = Lifecycle::default().with_thresholds(State::Accepted, Some(HOUR), Some(24 * HOUR));
/// let watch = WatchOptions::new()
///     .remind_every(4 * HOUR)
///     .consumer_lag("billing", 1_000, 100_000)
///     .on_alert(|event| eprintln!("{}: {}", event.change, event.alert.detail));
/// let ledger = Options::new().lifecycle(lifecycle).watch(watch).open(&path)?;
/// # ledger.close()?;
/// # Ok::<(), order_ledger::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct WatchOptions {
    pub(crate) look_every: Duration,
    pub(crate) remind_every: Duration,
    pub(crate) consumers: Vec<Watched>,
    pub(crate) disk_warn_bytes: u64,
    pub(crate) sync_ns: Option<Limits>,
    pub(crate) unreturned_percent: Option<Limits>,
    pub(crate) unreturned_window: Duration,
    pub(crate) outbox_ns: Option<Limits>,
    pub(crate) on_alert: Option<OnAlert>,
}

impl std::fmt::Debug for WatchOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchOptions")
            .field("look_every", &self.look_every)
            .field("remind_every", &self.remind_every)
            .finish_non_exhaustive()
    }
}

impl Default for WatchOptions {
    fn default() -> WatchOptions {
        WatchOptions::new()
    }
}

impl WatchOptions {
    /// The defaults: orders by the thresholds of the lifecycle, and the disk.
    pub fn new() -> WatchOptions {
        WatchOptions {
            look_every: Duration::from_secs(5),
            remind_every: HOUR,
            consumers: Vec::new(),
            disk_warn_bytes: 1024 * MIB,
            sync_ns: None,
            unreturned_percent: None,
            unreturned_window: HOUR,
            outbox_ns: None,
            on_alert: None,
        }
    }

    /// How often everything is looked at. Default 5 s; 10 ms to one hour. So late an alert may be raised, and
    /// recorded as over.
    ///
    /// **Cost**: a look costs what became due since the one before, and some reads of the log for each open alert.
    pub fn look_every(mut self, every: Duration) -> WatchOptions {
        self.look_every = every;
        self
    }

    /// How long after an alert was raised, or reminded of, it is reminded of again, until it is acknowledged or
    /// over. Default one hour; 1 ms or more. Each reminder is a record in the log.
    pub fn remind_every(mut self, every: Duration) -> WatchOptions {
        self.remind_every = every;
        self
    }

    /// The consumer with this name has to keep up: so many records of the log behind its cursor are worth a look,
    /// and need somebody. Default: no consumer is watched. One that was never opened is behind from the first
    /// record on.
    pub fn consumer_lag(
        mut self,
        name: impl Into<String>,
        warn_records: u64,
        critical_records: u64,
    ) -> WatchOptions {
        let records = Some(Limits { warn: warn_records, critical: critical_records });
        self.watch_consumer(name.into(), |watched| watched.records = records);
        self
    }

    /// The same by the age of the oldest event that it has not dealt with.
    pub fn consumer_age(
        mut self,
        name: impl Into<String>,
        warn_after: Duration,
        critical_after: Duration,
    ) -> WatchOptions {
        let age_ns = Some(limits(warn_after, critical_after));
        self.watch_consumer(name.into(), |watched| watched.age_ns = age_ns);
        self
    }

    /// So few free bytes on the disk are worth a look. Default 1 GiB; 0: none are. Too few for new orders need
    /// somebody in any case.
    pub fn disk_warn_bytes(mut self, bytes: u64) -> WatchOptions {
        self.disk_warn_bytes = bytes;
        self
    }

    /// So long a time for the durable write of a group, in the slowest hundredth of the last hundred or more, is worth
    /// a look, and needs somebody. What is held against it is at most a quarter too high. Default: not watched.
    pub fn sync_latency(mut self, warn_after: Duration, critical_after: Duration) -> WatchOptions {
        self.sync_ns = Some(limits(warn_after, critical_after));
        self
    }

    /// Submissions of a client that were taken already, per hundred orders that are taken of it: so many are worth a
    /// look, and need somebody. They measure clients that do not hear their answers. Default: not watched.
    ///
    /// Counted are the last one to two hours ([`WatchOptions::unreturned_window`]), since the ledger was opened;
    /// fewer than 20 of a client are let pass. Of many clients, the busiest 1,024 are counted.
    pub fn unreturned(mut self, warn_percent: u64, critical_percent: u64) -> WatchOptions {
        self.unreturned_percent = Some(Limits { warn: warn_percent, critical: critical_percent });
        self
    }

    /// Over how long [`WatchOptions::unreturned`] counts: at least so long, and at most twice. Default one hour;
    /// 1 s or more.
    pub fn unreturned_window(mut self, window: Duration) -> WatchOptions {
        self.unreturned_window = window;
        self
    }

    /// So long a wait of the oldest dispatch that is neither done nor given up is worth a look, and needs somebody.
    /// Default: not watched. What was given up, and providers that are left alone, are watched in any case.
    pub fn outbox_age(mut self, warn_after: Duration, critical_after: Duration) -> WatchOptions {
        self.outbox_ns = Some(limits(warn_after, critical_after));
        self
    }

    /// Calls this for everything that happens to an alert, behind the record that says so.
    ///
    /// Called by the thread of the watch, or of whoever acknowledges, outside of all locks: what takes long there
    /// delays the next look, and closing. It must not close the ledger. A panic in it is caught and counted. At most once: a crash between the record and the
    /// call loses the call; the feed ([`Ledger::consumer`](crate::Ledger::consumer)) has alerts of orders at least
    /// once, and [`Ledger::alerts`](crate::Ledger::alerts) knows all of them.
    pub fn on_alert(mut self, call: impl Fn(&AlertEvent) + Send + Sync + 'static) -> WatchOptions {
        self.on_alert = Some(Arc::new(call));
        self
    }

    fn watch_consumer(&mut self, name: String, set: impl FnOnce(&mut Watched)) {
        if let Some(watched) = self.consumers.iter_mut().find(|it| it.name == name) {
            return set(watched);
        }
        let mut watched = Watched { name, records: None, age_ns: None };
        set(&mut watched);
        self.consumers.push(watched);
    }

    /// Holds every setting against its bounds.
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |what: String| Err(Error::new(ErrorKind::Invalid { what }));
        let bounds = [
            ("look_every", self.look_every, Duration::from_millis(10), HOUR),
            ("remind_every", self.remind_every, Duration::from_millis(1), Duration::MAX),
            ("unreturned_window", self.unreturned_window, Duration::from_secs(1), Duration::MAX),
        ];
        for (name, value, min, max) in bounds {
            if !(min..=max).contains(&value) {
                return invalid(format!(
                    "option {name} is {value:?}; allowed are {min:?} to {max:?}"
                ));
            }
        }
        for watched in &self.consumers {
            if !is_consumer_name(&watched.name) {
                return invalid(format!("there can be no consumer named {:?}", watched.name));
            }
        }
        Ok(())
    }
}

fn limits(warn_after: Duration, critical_after: Duration) -> Limits {
    Limits { warn: ns(warn_after), critical: ns(critical_after) }
}
