//! What needs somebody, at one moment, for a page or a screen: open alerts, orders that stand still, third parties.
//!
//! Always true: each list is bounded, the worst first, and says how many more there are; an order is on the list by
//! where it stands, as `stuck` has it, and an alert as `alerts --open` has it.

use std::collections::BTreeSet;

use order_ledger::{
    Alert, AlertChange, AlertLevel, AlertMetrics, AlertQuery, Census, OutboxCensus,
    ProviderStanding, Reader, Seq, StuckOrder, Timestamp,
};

use crate::errors::Failure;

/// Open alerts that are looked at: as many as the writer counts.
const ALERTS_MAX: usize = 1_000;

/// What needs somebody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Troubles {
    pub(crate) alerts: Listed<Alert>,
    pub(crate) still: Listed<StuckOrder>,
    pub(crate) providers: Listed<ProviderStanding>,
    /// Dispatches that nobody was told about yet.
    pub(crate) waiting: u64,
    /// Dispatches that were given up.
    pub(crate) dead: u64,
}

/// The worst of something, and how many more there are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Listed<T> {
    pub(crate) first: Vec<T>,
    pub(crate) more: u64,
    /// Nobody counted to the end.
    pub(crate) and_beyond: bool,
}

impl<T> Default for Listed<T> {
    fn default() -> Listed<T> {
        Listed { first: Vec::new(), more: 0, and_beyond: false }
    }
}

impl<T> Listed<T> {
    /// The same list, told otherwise.
    #[cfg(feature = "top")]
    pub(crate) fn map<U>(self, tell: impl FnMut(T) -> U) -> Listed<U> {
        let Listed { first, more, and_beyond } = self;
        Listed { first: first.into_iter().map(tell).collect(), more, and_beyond }
    }

    /// How many there are, in words.
    pub(crate) fn total(&self) -> String {
        let total = self.first.len() as u64 + self.more;
        if self.and_beyond { format!("more than {total}") } else { total.to_string() }
    }

    /// What is not on the list, in words; `None`: all of it is.
    pub(crate) fn rest(&self) -> Option<String> {
        match (self.more, self.and_beyond) {
            (0, false) => None,
            (more, false) => Some(format!("and {more} more")),
            (more, true) => Some(format!("and more than {more} more")),
        }
    }
}

/// Orders that stand still, at most `limit` of them.
pub(crate) fn still(census: &Census, now: Timestamp, limit: usize) -> Listed<StuckOrder> {
    let (first, total) = census.stuck(now, limit);
    let more = total.saturating_sub(first.len() as u64);
    Listed { first, more, and_beyond: false }
}

/// The providers: first those that do not answer, then those with most that is open.
pub(crate) fn providers(
    census: &OutboxCensus,
    now: Timestamp,
    limit: usize,
) -> Listed<ProviderStanding> {
    let mut first = census.providers(now);
    first.sort_by_key(|it| {
        (it.breaker_open_since.is_none(), std::cmp::Reverse(it.open), it.provider.clone())
    });
    let more = first.len().saturating_sub(limit) as u64;
    first.truncate(limit);
    Listed { first, more, and_beyond: false }
}

/// Which alerts are open, kept up to date from what is new in the log.
pub(crate) struct OpenAlerts {
    /// Those that were raised and are not known to be over. One that is over is never open again.
    ids: BTreeSet<Seq>,
    /// Everything before it was looked at.
    next: Seq,
}

impl OpenAlerts {
    /// Those that are open now.
    pub(crate) fn open(reader: &Reader, end: Seq) -> Result<OpenAlerts, Failure> {
        let (mut query, mut ids) =
            (AlertQuery::open().limit(AlertQuery::LIMIT_MAX), BTreeSet::new());
        loop {
            let page = reader.alerts(&query)?;
            ids.extend(page.alerts.iter().map(|alert| alert.id));
            let Some(next) = page.next else { break };
            query = query.after(next);
        }
        Ok(OpenAlerts { ids, next: end })
    }

    /// Takes in what is new, and says how they are now: the worst `limit` of them, and how many there are.
    pub(crate) fn look(
        &mut self,
        reader: &Reader,
        limit: usize,
    ) -> Result<(Listed<Alert>, AlertMetrics), Failure> {
        let mut events = reader.alert_events(self.next);
        for event in events.by_ref() {
            let event = event?;
            match event.change {
                AlertChange::Cleared => self.ids.remove(&event.alert.id),
                _ => self.ids.insert(event.alert.id),
            };
        }
        self.next = events.position();
        let mut found = Vec::new();
        let looked_at: Vec<Seq> = self.ids.iter().take(ALERTS_MAX).copied().collect();
        for id in looked_at {
            match reader.alert(id)?.filter(Alert::is_open) {
                Some(alert) => found.push(alert),
                // Its order has gone on; the record that says so follows, and changes nothing.
                None => {
                    self.ids.remove(&id);
                }
            }
        }
        let counts = count(&found, self.ids.len() > found.len());
        found.sort_by_key(|it| {
            (it.acknowledged.is_some(), std::cmp::Reverse(it.level), it.raised_at)
        });
        let more = found.len().saturating_sub(limit) as u64;
        found.truncate(limit);
        Ok((Listed { first: found, more, and_beyond: counts.more }, counts))
    }
}

fn count(open: &[Alert], more: bool) -> AlertMetrics {
    let mut counts = AlertMetrics::default();
    counts.more = more;
    counts.oldest_raised_at = open.first().map(|alert| alert.raised_at);
    for alert in open {
        let unknown = u64::from(alert.acknowledged.is_none());
        counts.unacknowledged += unknown;
        match alert.level {
            AlertLevel::Warn => counts.warn += 1,
            AlertLevel::Critical => {
                counts.critical += 1;
                counts.critical_unacknowledged += unknown;
            }
        }
    }
    counts
}
