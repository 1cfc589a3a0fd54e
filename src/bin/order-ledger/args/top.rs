//! What `top` can be told.

use std::time::Duration;

use super::values::{Dir, seconds};

/// Shows a ledger live in the terminal: rates, orders by state, what is wrong, alerts, what stands still, third parties
///
/// Reads beside a running writer, takes no lock and changes no byte. The log is read once at the start, about a second
/// for a million records; then each look reads what is new. Rates are of what became durable between two looks. How
/// long an order, a sync, and a wait in the queue take, only the process that writes knows (`Ledger::metrics`); how long
/// third parties take to answer is on disk, and shown. One is left alone here from the fifth attempt in a row without an
/// answer to the next answer. End it with q.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger top --dir ./orders
  order-ledger top --dir ./orders --interval 5

Exit codes:
  0  ended by its user
  2  wrong usage: there is no terminal
  4  the ledger can't be used")]
pub(crate) struct Top {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// Between two looks: 0.01 to 3600 seconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) interval: Duration,
}
