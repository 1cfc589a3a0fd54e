//! Clients that do not hear their answers: they submit what was taken already, again and again.

use super::conditions::{Condition, Found, judge};
use super::options::Limits;
use crate::commit::Committer;
use crate::commit::by_client::Tallied;
use crate::order::{AlertKind, AlertSubject, Timestamp};

/// Repeats of a client that are let pass: one that was restarted once is not worth a look.
const REPEATS_MIN: u64 = 20;

/// The condition: so many repeats for a hundred orders.
pub(super) struct Unreturned {
    pub(super) limits: Limits,
}

impl Condition for Unreturned {
    fn kind(&self) -> AlertKind {
        AlertKind::Unreturned
    }

    fn look(&self, committer: &Committer, _: Timestamp) -> Option<Vec<Found>> {
        let tally = committer.by_client.get()?;
        let now_ns = committer.host.monotonic_ns();
        let found = tally.busiest(now_ns).into_iter().filter_map(|(client, tallied)| {
            let Tallied { orders, repeats } = tallied;
            if repeats < REPEATS_MIN {
                return None;
            }
            let percent = repeats.saturating_mul(100) / orders.max(1);
            let level = judge(percent, self.limits)?;
            let detail = format!("{repeats} repeats beside {orders} orders that were taken");
            Some(Found { subject: AlertSubject::Client(client), level, detail })
        });
        Some(found.collect())
    }
}
