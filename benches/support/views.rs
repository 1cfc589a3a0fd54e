//! Waiting for the views of a ledger.

use std::time::Duration;

use order_ledger::Ledger;

use crate::support::done;

/// Waits until the views have caught up.
#[expect(clippy::disallowed_methods, reason = "nobody tells when the views have caught up")]
pub(crate) fn wait_for_views(ledger: &Ledger) {
    while done(ledger.stats())
        .views
        .is_none_or(|views| views.behind > 0 || views.phase != "feeding")
    {
        std::thread::sleep(Duration::from_millis(20));
    }
}
