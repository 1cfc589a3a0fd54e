//! How an outbox is: what waits, for how long, and how its providers do.
//!
//! Always true: these figures are for people, alerts and metrics; nothing is decided by them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::board::Board;
use super::breaker::BreakerState;
use super::engine::{Engine, Party};
use crate::ledger::third_parties::{ProviderMetrics, Shown};
use crate::order::{Sent, Timestamp};
use crate::sync::{Count, Mutex};

/// How an outbox is.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct OutboxStats {
    /// Dispatches that are neither done nor given up.
    pub open: u64,
    /// Dead letters: they wait for a person.
    pub dead: u64,
    /// Dispatches by the name of their state ([`DispatchState::name`](crate::DispatchState::name)): only those that are
    /// open or dead.
    pub by_state: BTreeMap<&'static str, u64>,
    /// Open dispatches whose route this outbox does not have: nobody deals with them.
    pub unrouted: u64,
    /// When the oldest open one was recorded.
    pub oldest_open_at: Option<Timestamp>,
    /// How old that is, in ledger time.
    pub oldest_open_age: Option<Duration>,
    /// Orders that a worker deals with now.
    pub busy: u64,
    /// How each provider does, in the order in which they were given.
    pub providers: Vec<ProviderStats>,
    /// What the ledger said when it could not be read or written, the last time.
    pub last_error: Option<String>,
}

/// How a provider does, since the outbox was made.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ProviderStats {
    /// Its name.
    pub name: String,
    /// Whether it is called.
    pub breaker: BreakerState,
    /// How often the breaker opened.
    pub breaker_opened: u64,
    /// How long the breaker was not closed, all times together.
    pub breaker_open: Duration,
    /// Calls that ended in [`Sent::Done`].
    pub done: u64,
    /// In [`Sent::Refused`].
    pub refused: u64,
    /// In [`Sent::NotSent`].
    pub not_sent: u64,
    /// In [`Sent::Unknown`], panics among them.
    pub unknown: u64,
    /// How often it was asked about a token.
    pub lookups: u64,
    /// How often it panicked.
    pub panics: u64,
}

/// Counts of one provider.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    done: Count,
    refused: Count,
    not_sent: Count,
    unknown: Count,
    lookups: Count,
    panics: Count,
}

impl Tally {
    pub(crate) fn note(&self, sent: &Sent) {
        let count = match sent {
            Sent::Done { .. } => &self.done,
            Sent::Refused { .. } => &self.refused,
            Sent::NotSent { .. } => &self.not_sent,
            Sent::Unknown { .. } => &self.unknown,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_lookup(&self) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }
}

/// What others may look at while the outbox is there. It does not keep the ledger open: whoever looks may be a thread
/// that closing waits for.
struct Display {
    parties: Weak<Vec<Party>>,
    board: Weak<Mutex<Board>>,
}

impl Shown for Display {
    fn open(&self) -> Vec<(&'static str, u64)> {
        let mut open = BTreeMap::new();
        let Some(board) = self.board.upgrade() else { return Vec::new() };
        for item in board.lock().items().filter(|item| !item.is_dead) {
            *open.entry(item.state).or_default() += 1;
        }
        open.into_iter().collect()
    }

    fn providers(&self, now: Timestamp) -> Option<Vec<ProviderMetrics>> {
        let parties = self.parties.upgrade()?;
        let providers = parties.iter().map(|party| party.stats(now)).map(|it| ProviderMetrics {
            name: it.name,
            is_left_alone: it.breaker != BreakerState::Closed,
            left_alone: it.breaker_opened,
            left_alone_for: it.breaker_open,
            calls: [
                ("done", it.done),
                ("refused", it.refused),
                ("not_sent", it.not_sent),
                ("unknown", it.unknown),
            ],
        });
        Some(providers.collect())
    }
}

impl Engine {
    /// For others to look at.
    pub(crate) fn shown(&self) -> Arc<dyn Shown> {
        let (parties, board) = (Arc::downgrade(&self.parties), Arc::downgrade(&self.board));
        Arc::new(Display { parties, board })
    }

    /// How it is now.
    pub(crate) fn stats(&self) -> OutboxStats {
        let now = self.committer.ledger_now();
        let mut stats = OutboxStats {
            open: 0,
            dead: 0,
            by_state: BTreeMap::new(),
            unrouted: 0,
            oldest_open_at: None,
            oldest_open_age: None,
            busy: 0,
            providers: Vec::new(),
            last_error: self.last_error.lock().clone(),
        };
        {
            let board = self.board.lock();
            stats.busy = board.busy() as u64;
            for item in board.items() {
                *stats.by_state.entry(item.state).or_default() += 1;
                if item.is_dead {
                    stats.dead += 1;
                    continue;
                }
                stats.open += 1;
                stats.unrouted += u64::from(item.route.is_none());
                let oldest = stats.oldest_open_at.map_or(item.at, |oldest| oldest.min(item.at));
                stats.oldest_open_at = Some(oldest);
            }
        }
        let age = |at: Timestamp| now.as_unix_ns().saturating_sub(at.as_unix_ns());
        stats.oldest_open_age = stats.oldest_open_at.map(|at| Duration::from_nanos(age(at)));
        for party in self.parties.iter() {
            stats.providers.push(party.stats(now));
        }
        stats
    }
}

impl Party {
    /// How it does.
    fn stats(&self, now: Timestamp) -> ProviderStats {
        let breaker = *self.breaker.lock();
        let count = |count: &Count| count.load(Ordering::Relaxed);
        ProviderStats {
            name: self.name.clone(),
            breaker: breaker.state(),
            breaker_opened: breaker.opened,
            breaker_open: Duration::from_nanos(breaker.open_total_ns(now)),
            done: count(&self.tally.done),
            refused: count(&self.tally.refused),
            not_sent: count(&self.tally.not_sent),
            unknown: count(&self.tally.unknown),
            lookups: count(&self.tally.lookups),
            panics: count(&self.tally.panics),
        }
    }
}
