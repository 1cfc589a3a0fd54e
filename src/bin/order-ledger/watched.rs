//! A ledger that is looked at again and again: its orders by state, what waits for third parties, and open alerts, kept
//! up to date from what is new.
//!
//! - [`troubles`]: what of that needs somebody
//!
//! Always true: what it says is durable and was so at the last look; it takes no lock of the ledger and changes
//! no byte.

pub(crate) mod troubles;

use std::path::Path;
use std::time::Duration;

use order_ledger::{
    BreakerPolicy, Census, EventBody, Follower, Metrics, OutboxCensus, Reader, Seq,
};

use crate::check::now;
use crate::errors::Failure;
use troubles::{OpenAlerts, Troubles};

/// Events that are asked for at once.
const EVENTS_MAX: usize = 10_000;
/// Events after which one look is enough: a writer that is faster than this must not keep anybody waiting.
const EVENTS_PER_LOOK_MAX: usize = 1_000_000;

pub(crate) struct Watched {
    follower: Follower,
    census: Census,
    parties: OutboxCensus,
    alerts: OpenAlerts,
    /// Orders that were taken, and steps, since it was opened.
    pub(crate) seen: Seen,
}

/// What came by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) orders: u64,
    pub(crate) steps: u64,
}

impl Watched {
    /// Reads the whole log once.
    pub(crate) fn open(dir: &Path) -> Result<Watched, Failure> {
        let follower = Follower::open(dir, Seq::FIRST)?;
        let census = Census::new(follower.reader().lifecycle()?);
        let alerts = OpenAlerts::open(follower.reader(), follower.next())?;
        let parties = OutboxCensus::new(BreakerPolicy::default());
        let mut watched = Watched { follower, census, parties, alerts, seen: Seen::default() };
        while watched.look()? {}
        watched.seen = Seen::default();
        Ok(watched)
    }

    /// Takes in what is new. True: there is more.
    pub(crate) fn look(&mut self) -> Result<bool, Failure> {
        let mut looked_at = 0;
        while looked_at < EVENTS_PER_LOOK_MAX {
            let events = self.follower.poll(EVENTS_MAX, Duration::ZERO)?;
            if events.is_empty() {
                return Ok(false);
            }
            looked_at += events.len();
            for event in &events {
                match &event.body {
                    EventBody::Accepted { .. } | EventBody::Refused { .. } => self.seen.orders += 1,
                    EventBody::Moved { .. } => self.seen.steps += 1,
                    _ => {}
                }
                self.census.count(event);
                self.parties.count(event);
            }
        }
        Ok(true)
    }

    /// The ledger as it was at the last look.
    pub(crate) fn reader(&self) -> &Reader {
        self.follower.reader()
    }

    pub(crate) fn census(&self) -> &Census {
        &self.census
    }

    /// Figures and states; for what is wrong with them there is [`Watched::troubles`].
    pub(crate) fn metrics(&self) -> Metrics {
        let mut metrics = self.reader().metrics(now());
        metrics.states = Some(self.census.states());
        metrics
    }

    /// All that can be told from outside of the process that writes, and what needs somebody: at most so many of each.
    pub(crate) fn troubles(&mut self, limit: usize) -> Result<(Metrics, Troubles), Failure> {
        let mut metrics = self.metrics();
        let (alerts, open) = self.alerts.look(self.follower.reader(), limit)?;
        let outbox = self.parties.metrics();
        let troubles = Troubles {
            alerts,
            still: troubles::still(&self.census, metrics.at, limit),
            providers: troubles::providers(&self.parties, metrics.at, limit),
            waiting: self.parties.waiting(),
            dead: outbox.dead,
        };
        (metrics.alerts, metrics.outbox) = (Some(open), Some(outbox));
        metrics.judge_again();
        Ok((metrics, troubles))
    }
}
