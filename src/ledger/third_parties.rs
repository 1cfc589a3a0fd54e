//! Third parties, for those who only look: what waits for them and for how long, what was given up, and who is left
//! alone. For metrics, health, and the watch.
//!
//! Always true: what waits and what was given up is told by the log, with or without an outbox; how providers do is
//! told by the outbox that runs in this process, and by nobody else.

use std::sync::Arc;
use std::time::Duration;

use super::open_dispatches::{self, DispatchQuery};
use super::read::Reads;
use crate::commit::Committer;
use crate::order::dispatch::Lane;
use crate::order::{AlertKind, AlertLevel, AlertSubject, DispatchEntry, Timestamp};
use crate::sync::Mutex;
use crate::watch::WatchOptions;
use crate::watch::conditions::{Condition, Found, judge};
use crate::watch::options::Limits;

/// Most dead letters that are counted, and that have an alert each.
const DEAD_COUNTED_MAX: usize = 1_000;

/// What waits for third parties, and how they do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct OutboxMetrics {
    /// When the oldest dispatch was recorded that is neither done nor given up; `None`: there is none.
    pub oldest_open_at: Option<Timestamp>,
    /// Dead letters: they wait for a person. Counted up to a thousand.
    pub dead: u64,
    /// There are more.
    pub more_dead: bool,
    /// Dispatches that are open, by the name of their state
    /// ([`DispatchState::name`](crate::DispatchState::name)); empty where no outbox runs in this process.
    pub open: Vec<(&'static str, u64)>,
    /// How each provider does; empty where no outbox runs in this process.
    pub providers: Vec<ProviderMetrics>,
}

/// How a provider does, since the outbox was started.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ProviderMetrics {
    /// Its name.
    pub name: String,
    /// Whether it is left alone for now, or tried with one call.
    pub is_left_alone: bool,
    /// How often it began to be left alone.
    pub left_alone: u64,
    /// For how long, all times together.
    pub left_alone_for: Duration,
    /// What its calls came to: `done`, `refused`, `not_sent`, `unknown`.
    pub calls: [(&'static str, u64); 4],
}

/// An outbox that runs, or has run: then it has nothing to show. Does not keep the ledger open.
pub(crate) trait Shown: Send + Sync {
    /// Dispatches that are open, by the name of their state.
    fn open(&self) -> Vec<(&'static str, u64)>;

    /// How each provider does; `None` when it runs no more.
    fn providers(&self, now: Timestamp) -> Option<Vec<ProviderMetrics>>;
}

/// Where the outbox shows itself that runs in this process.
#[derive(Default)]
pub(crate) struct Window {
    outbox: Mutex<Option<Arc<dyn Shown>>>,
}

impl std::fmt::Debug for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Window")
    }
}

impl Window {
    /// An outbox runs from now on, until it is dropped.
    pub(crate) fn show(&self, outbox: Arc<dyn Shown>) {
        *self.outbox.lock() = Some(outbox);
    }

    fn outbox(&self) -> Option<Arc<dyn Shown>> {
        self.outbox.lock().clone()
    }
}

/// How third parties do, as far as can be told here; `None` when the log can't be read.
pub(super) fn metrics(
    reads: &Reads,
    window: Option<&Window>,
    now: Timestamp,
) -> Option<OutboxMetrics> {
    let (dead, more_dead) = dead_letters(reads)?;
    let outbox = window.and_then(Window::outbox);
    Some(OutboxMetrics {
        oldest_open_at: oldest_open(reads)?.map(|oldest| oldest.at),
        dead: dead.len() as u64,
        more_dead,
        open: outbox.as_ref().map(|outbox| outbox.open()).unwrap_or_default(),
        providers: outbox.and_then(|outbox| outbox.providers(now)).unwrap_or_default(),
    })
}

fn dead_letters(reads: &Reads) -> Option<(Vec<DispatchEntry>, bool)> {
    let query = DispatchQuery::all().limit(DEAD_COUNTED_MAX);
    let page = open_dispatches::page(reads, Lane::Dead, &query).ok()?;
    Some((page.dispatches, page.next.is_some()))
}

/// The open dispatch that was recorded first; `Some(None)`: there is none.
fn oldest_open(reads: &Reads) -> Option<Option<DispatchEntry>> {
    let mut query = DispatchQuery::all().limit(1);
    loop {
        let page = open_dispatches::page(reads, Lane::Open, &query).ok()?;
        if let Some(oldest) = page.dispatches.into_iter().next() {
            return Some(Some(oldest));
        }
        let Some(next) = page.next else { return Some(None) };
        query = query.after(next);
    }
}

/// What the watch looks at of third parties.
pub(super) fn conditions(
    options: &WatchOptions,
    reads: &Reads,
    window: &Arc<Window>,
) -> Vec<Box<dyn Condition>> {
    let (reads, window) = (reads.clone(), Arc::clone(window));
    let mut conditions: Vec<Box<dyn Condition>> =
        vec![Box::new(DeadLetters { reads: reads.clone() }), Box::new(LeftAlone { window })];
    if let Some(limits) = options.outbox_ns {
        conditions.push(Box::new(Age { reads, limits }));
    }
    conditions
}

/// What waits for third parties waits for too long.
struct Age {
    reads: Reads,
    limits: Limits,
}

impl Condition for Age {
    fn kind(&self) -> AlertKind {
        AlertKind::OutboxAge
    }

    fn look(&self, _: &Committer, now: Timestamp) -> Option<Vec<Found>> {
        let Some(oldest) = oldest_open(&self.reads)? else { return Some(Vec::new()) };
        let age_ns = now.as_unix_ns().saturating_sub(oldest.at.as_unix_ns());
        let Some(level) = judge(age_ns, self.limits) else { return Some(Vec::new()) };
        let DispatchEntry { dispatch, order, route, state, .. } = oldest;
        let waits = Duration::from_nanos(age_ns);
        let state = state.name();
        let detail =
            format!("dispatch {dispatch} of order {order} by {route} is {state} since {waits:?}");
        Some(vec![Found { subject: AlertSubject::Ledger, level, detail }])
    }
}

/// Dispatches that were given up.
struct DeadLetters {
    reads: Reads,
}

impl Condition for DeadLetters {
    fn kind(&self) -> AlertKind {
        AlertKind::DeadLetter
    }

    fn look(&self, _: &Committer, _: Timestamp) -> Option<Vec<Found>> {
        let (dead, _) = dead_letters(&self.reads)?;
        let found = dead.into_iter().map(|it| Found {
            subject: AlertSubject::Dispatch(it.dispatch),
            level: Some(AlertLevel::Critical),
            detail: format!("given up: order {} by {}", it.order, it.route),
        });
        Some(found.collect())
    }
}

/// Providers that fail so often that they are not called.
struct LeftAlone {
    window: Arc<Window>,
}

impl Condition for LeftAlone {
    fn kind(&self) -> AlertKind {
        AlertKind::BreakerOpen
    }

    fn look(&self, _: &Committer, now: Timestamp) -> Option<Vec<Found>> {
        // Without an outbox nobody knows.
        let providers = self.window.outbox()?.providers(now)?;
        let found = providers.into_iter().filter(|it| it.is_left_alone).map(|it| Found {
            detail: format!("{} does not answer, and is left alone for now", it.name),
            subject: AlertSubject::Provider(it.name),
            level: Some(AlertLevel::Warn),
        });
        Some(found.collect())
    }
}
