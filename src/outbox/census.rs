//! How third parties do, counted event by event, by whoever reads the log.
//!
//! Always true: after every event from the first one on, in their order, it says what the log says, by whichever
//! process and however often the outbox was started anew; an event that was counted already is passed over; what is
//! done takes no memory.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::breaker::{Breaker, BreakerPolicy};
use super::sla::Attempts;
use crate::ledger::OutboxMetrics;
use crate::metrics::{Buckets, Histogram};
use crate::order::{Event, EventBody, Sent, Seq, Timestamp, Witness};

/// What waits for third parties and how they do, since the ledger began: for programs that read it beside its writer.
///
/// Give it every event from [`Seq::FIRST`] on ([`Reader::events`](crate::Reader::events), then
/// [`Follower`](crate::Follower)). For a period, and without reading everything, ask
/// [`Reader::provider_sla`](crate::Reader::provider_sla).
///
/// **Cost**: some 150 bytes for each dispatch that is not done, and 3 KiB for each provider.
///
/// ```
/// use order_ledger::{BreakerPolicy, Dispatch, Ledger, LinkedBatch, OutboxCensus, Reader, Seq, Submission};
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("orders.ledger");
/// # let ledger = Ledger::open(&path)?;
/// # let order = Submission::new("web-shop", "cart-17", "2 x tea");
/// # ledger.linked(&LinkedBatch::of_order(order).dispatch(Dispatch::of_member(0, "payment", "8.40")))?;
/// let mut census = OutboxCensus::new(BreakerPolicy::default());
/// for event in Reader::open(&path)?.events(Seq::FIRST) {
///     census.count(&event?);
/// }
/// assert_eq!(census.waiting(), 1);
/// assert!(census.providers(ledger.metrics().at).is_empty(), "nobody was told yet");
/// # Ok::<(), order_ledger::Error>(())
/// ```
#[derive(Debug)]
pub struct OutboxCensus {
    policy: BreakerPolicy,
    /// Everything before it was counted.
    next: Seq,
    /// Dispatches that are not done.
    items: BTreeMap<Seq, Item>,
    providers: HashMap<String, Tally>,
}

/// A dispatch that is not done.
#[derive(Debug)]
struct Item {
    at: Timestamp,
    /// Who was told last; empty: nobody, or it begins anew.
    provider: String,
    /// When that attempt was recorded, while it has no result.
    begun: Option<Timestamp>,
    is_in_doubt: bool,
    is_dead: bool,
}

/// Counts of one provider.
#[derive(Debug)]
struct Tally {
    attempts: Attempts,
    latency_ns: Buckets,
    last: Option<(Timestamp, Sent)>,
    breaker: Breaker,
}

/// How a provider does.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ProviderStanding {
    /// Its name.
    pub provider: String,
    /// Dispatches that are neither done nor given up, and that it was told last.
    pub open: u64,
    /// Of those, the ones of which it is not known whether it has done them.
    pub in_doubt: u64,
    /// How often it was told.
    pub attempts: u64,
    /// Attempts that it answered with "done".
    pub done: u64,
    /// With "no".
    pub refused: u64,
    /// Attempts that surely did not reach it.
    pub not_sent: u64,
    /// Attempts without an answer: those that are on their way and those that were cut off are among them.
    pub unknown: u64,
    /// Nanoseconds from the attempt on disk to its answer on disk, done or refused.
    pub latency_ns: Histogram,
    /// What its last attempt with a result came to, and when that was recorded.
    pub last: Option<(Timestamp, Sent)>,
    /// Since when its breaker is not closed, by the rule of [`ProviderSla::breaker_open`](crate::ProviderSla).
    pub breaker_open_since: Option<Timestamp>,
    /// How often it opened.
    pub breaker_opened: u64,
    /// How long it was not closed, all times together.
    pub breaker_open: Duration,
}

impl OutboxCensus {
    /// Of a ledger before its first event. `breaker`: the policy of the outbox, which the log does not tell; what counts
    /// is [`failures_max`](BreakerPolicy::failures_max).
    #[must_use]
    pub fn new(breaker: BreakerPolicy) -> OutboxCensus {
        let (items, providers) = (BTreeMap::new(), HashMap::new());
        OutboxCensus { policy: breaker, next: Seq::FIRST, items, providers }
    }

    /// Counts what happened. Events must come in their order; one that was counted is passed over.
    pub fn count(&mut self, event: &Event) {
        if event.seq < self.next {
            return;
        }
        self.next = event.seq.next();
        match &event.body {
            EventBody::Dispatched { .. } => {
                let (provider, begun) = (String::new(), None);
                let item =
                    Item { at: event.at, provider, begun, is_in_doubt: false, is_dead: false };
                self.items.insert(event.seq, item);
            }
            EventBody::Attempted { dispatch, provider, .. } => {
                let Some(item) = self.items.get_mut(dispatch) else { return };
                item.provider.clone_from(provider);
                item.begun = Some(event.at);
                let new = || Tally::new(self.policy);
                self.providers.entry(provider.clone()).or_insert_with(new).attempts.made += 1;
            }
            EventBody::Reported { dispatch, provider, report, by, .. } => {
                let Some(item) = self.items.get_mut(dispatch) else { return };
                // What was found out later is no answer to an attempt.
                let begun = item.begun.take().filter(|_| *by == Witness::Provider);
                item.provider.clone_from(provider);
                item.is_in_doubt = matches!(report, Sent::Unknown { .. });
                item.is_dead = false;
                if let Some(begun) = begun
                    && let Some(tally) = self.providers.get_mut(provider)
                {
                    tally.end(begun, report, event.at);
                }
                if matches!(report, Sent::Done { .. }) {
                    self.items.remove(dispatch);
                }
            }
            EventBody::GivenUp { dispatch, .. } => {
                if let Some(item) = self.items.get_mut(dispatch) {
                    (item.is_dead, item.begun) = (true, None);
                }
            }
            EventBody::Redriven { dispatch, .. } => {
                if let Some(item) = self.items.get_mut(dispatch) {
                    item.is_dead = false;
                    if !item.is_in_doubt {
                        item.provider.clear();
                    }
                }
            }
            _ => {}
        }
    }

    /// The first seq that was not counted.
    #[must_use]
    pub fn next(&self) -> Seq {
        self.next
    }

    /// Open dispatches that nobody was told about yet.
    ///
    /// **Cost**: a look at each dispatch that is not done.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.open().filter(|item| item.provider.is_empty()).count() as u64
    }

    /// How each provider does that was ever told anything, by name. `now`: in ledger time; what has not come to an end
    /// counts up to here.
    ///
    /// **Cost**: a look at each dispatch that is not done; copies 2 KiB for each provider.
    #[must_use]
    pub fn providers(&self, now: Timestamp) -> Vec<ProviderStanding> {
        let mut open: HashMap<&str, (u64, u64)> = HashMap::new();
        for item in self.open() {
            let (count, in_doubt) = open.entry(&item.provider).or_default();
            *count += 1;
            *in_doubt += u64::from(item.is_in_doubt || item.begun.is_some());
        }
        let standing = |(name, tally): (&String, &Tally)| {
            tally.standing(name, open.get(name.as_str()).copied().unwrap_or_default(), now)
        };
        let mut providers: Vec<_> = self.providers.iter().map(standing).collect();
        providers.sort_by(|one, other| one.provider.cmp(&other.provider));
        providers
    }

    /// What waits, for [`Metrics::outbox`](crate::Metrics::outbox) of a reader: the oldest that is open, and how many
    /// were given up. Its providers are left out: a writer counts them from when it was opened.
    ///
    /// **Cost**: a look at each dispatch that is not done.
    #[must_use]
    pub fn metrics(&self) -> OutboxMetrics {
        let oldest_open_at = self.open().map(|item| item.at).next();
        let dead = self.items.values().filter(|item| item.is_dead).count() as u64;
        OutboxMetrics { oldest_open_at, dead, ..OutboxMetrics::default() }
    }

    /// Dispatches that are neither done nor given up, the oldest first.
    fn open(&self) -> impl Iterator<Item = &Item> {
        self.items.values().filter(|item| !item.is_dead)
    }
}

impl Tally {
    fn new(policy: BreakerPolicy) -> Tally {
        Tally {
            attempts: Attempts::default(),
            latency_ns: Buckets::default(),
            last: None,
            breaker: Breaker::new(policy),
        }
    }

    /// An attempt came to something.
    fn end(&mut self, begun: Timestamp, report: &Sent, at: Timestamp) {
        self.attempts.end(report);
        if report.is_answer() {
            self.latency_ns.record(at.as_unix_ns().saturating_sub(begun.as_unix_ns()));
        }
        self.breaker.end(report.is_answer(), at);
        self.last = Some((at, report.clone()));
    }

    fn standing(&self, name: &str, open: (u64, u64), now: Timestamp) -> ProviderStanding {
        let Tally { attempts, breaker, .. } = self;
        let Attempts { made, done, refused, not_sent } = *attempts;
        ProviderStanding {
            provider: name.to_owned(),
            open: open.0,
            in_doubt: open.1,
            attempts: made,
            done,
            refused,
            not_sent,
            unknown: attempts.unknown(),
            latency_ns: self.latency_ns.snapshot(),
            last: self.last.clone(),
            breaker_open_since: breaker.opened_at(),
            breaker_opened: breaker.opened,
            breaker_open: Duration::from_nanos(breaker.open_total_ns(now)),
        }
    }
}
