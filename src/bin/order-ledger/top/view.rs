//! What there is to see at one moment, as values: so that drawing it needs no ledger.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use order_ledger::{Alert, AlertLevel, Health, OrderId, ProviderStanding, StuckOrder, Timestamp};

use crate::alerts::about;
use crate::errors::Failure;
use crate::names::name_of;
use crate::output::shown;
use crate::watched::troubles::{Listed, Troubles};
use crate::watched::{Seen, Watched};

/// Looks that the rates are kept of.
const RATES_MAX: usize = 120;
/// Orders of all states together that are in theirs for longest.
const LONGEST_MAX: usize = 20;
/// Alerts, orders that stand still, and providers.
const TROUBLES_MAX: usize = 20;

#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) ledger: String,
    /// When, as text.
    pub(super) at: String,
    pub(super) last_seq: u64,
    pub(super) disk_free_bytes: Option<u64>,
    /// Of the time since the last look.
    pub(super) orders_per_s: f64,
    pub(super) steps_per_s: f64,
    /// Orders per second of the looks so far, oldest first.
    pub(super) rates: Vec<u64>,
    pub(super) states: Vec<Row>,
    pub(super) longest: Vec<Stay>,
    pub(super) health: Health,
    pub(super) alerts: Listed<AlertRow>,
    pub(super) still: Listed<StillRow>,
    pub(super) providers: Listed<ProviderRow>,
    /// Dispatches that nobody was told about yet, and those that were given up.
    pub(super) waiting: u64,
    pub(super) dead: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct AlertRow {
    pub(super) level: AlertLevel,
    pub(super) what: &'static str,
    pub(super) about: String,
    pub(super) age: Duration,
    /// Who knows; empty: nobody.
    pub(super) known_to: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct StillRow {
    pub(super) level: AlertLevel,
    pub(super) order: OrderId,
    pub(super) state: String,
    pub(super) stays: Duration,
    pub(super) threshold: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ProviderRow {
    pub(super) provider: String,
    pub(super) open: u64,
    pub(super) in_doubt: u64,
    pub(super) attempts: u64,
    pub(super) unknown: u64,
    /// Half of the answers came within this time.
    pub(super) half_within: Option<Duration>,
    /// For how long it has been left alone.
    pub(super) left_alone: Option<Duration>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Row {
    pub(super) state: String,
    pub(super) orders: u64,
    pub(super) longest: Option<Duration>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stay {
    pub(super) order: OrderId,
    pub(super) state: String,
    pub(super) stays: Duration,
}

pub(super) struct Viewer {
    watched: Watched,
    last: Option<(Instant, Seen)>,
    rates: VecDeque<u64>,
}

impl Viewer {
    pub(super) fn new(watched: Watched) -> Viewer {
        Viewer { watched, last: None, rates: VecDeque::new() }
    }

    /// Takes in what is new, and says how things are now.
    pub(super) fn look(&mut self, now: Instant) -> Result<View, Failure> {
        self.watched.look()?;
        let (metrics, troubles) = self.watched.troubles(TROUBLES_MAX)?;
        let seen = self.watched.seen;
        let (orders_per_s, steps_per_s) = match self.last.replace((now, seen)) {
            None => (0.0, 0.0),
            Some((before, last)) => {
                let seconds = now.duration_since(before).as_secs_f64().max(0.001);
                let rate = |now: u64, last: u64| now.saturating_sub(last) as f64 / seconds;
                (rate(seen.orders, last.orders), rate(seen.steps, last.steps))
            }
        };
        if self.rates.len() == RATES_MAX {
            self.rates.pop_front();
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is not negative, and far below 2^64"
        )]
        self.rates.push_back(orders_per_s.round() as u64);
        let age = |since: Timestamp| {
            Duration::from_nanos(metrics.at.as_unix_ns().saturating_sub(since.as_unix_ns()))
        };
        let census = self.watched.census();
        let states = metrics.states.iter().flatten();
        let mut longest: Vec<_> = states
            .clone()
            .flat_map(|it| {
                let name = name_of(census.lifecycle(), it.state).into_owned();
                let those = census.longest(it.state, LONGEST_MAX).into_iter();
                those.map(move |(order, since)| (since, order, name.clone()))
            })
            .collect();
        longest.sort();
        longest.truncate(LONGEST_MAX);
        let stay = |(since, order, state)| Stay { order, state, stays: age(since) };
        let Troubles { alerts, still, providers, waiting, dead } = troubles;
        let alert = |it: Alert| AlertRow {
            level: it.level,
            what: it.kind.name(),
            about: about(&it.subject),
            age: age(it.since),
            known_to: it.acknowledged.map(|known| shown(&known.by)).unwrap_or_default(),
        };
        let stands = |it: StuckOrder| StillRow {
            level: it.level,
            order: it.order,
            state: name_of(census.lifecycle(), it.state).into_owned(),
            stays: it.dwell,
            threshold: it.threshold,
        };
        let party = |it: ProviderStanding| ProviderRow {
            half_within: it.latency_ns.quantile(0.5).map(Duration::from_nanos),
            left_alone: it.breaker_open_since.map(age),
            provider: it.provider,
            open: it.open,
            in_doubt: it.in_doubt,
            attempts: it.attempts,
            unknown: it.unknown,
        };
        Ok(View {
            alerts: alerts.map(alert),
            still: still.map(stands),
            providers: providers.map(party),
            waiting,
            dead,
            ledger: metrics.ledger.to_string(),
            at: crate::output::time(metrics.at),
            last_seq: metrics.last_seq.map_or(0, |seq| seq.0),
            disk_free_bytes: metrics.disk_free_bytes,
            orders_per_s,
            steps_per_s,
            rates: self.rates.iter().copied().collect(),
            states: states
                .map(|it| Row {
                    state: it.name.clone(),
                    orders: it.orders,
                    longest: it.longest_since.map(age),
                })
                .collect(),
            longest: longest.into_iter().map(stay).collect(),
            health: metrics.health.clone(),
        })
    }
}
