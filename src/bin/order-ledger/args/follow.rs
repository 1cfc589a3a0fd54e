//! The commands that wait for what happens.

use std::str::FromStr;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};

use super::values::{Bytes, Dir, Wanted, account, seconds, state_name};

/// Shows what happens to orders, event by event, in the order of the log
///
/// Reads beside a running writer and takes no lock. With --follow it goes on with what comes, as it becomes
/// durable, until it is stopped. Without --json there is one line for each event; with it, one JSON object
/// as `history` gives it.
///
/// With --consumer the place is kept in the ledger under that name: each run goes on where the one before
/// ended, and an event counts as dealt with when its line is written. After a crash some are shown again.
/// That writes to the ledger, so no other process may have it open: it can't be followed at the same time.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger tail --dir ./orders
  order-ledger tail --dir ./orders --follow --state completed --json
  order-ledger tail --dir ./orders --consumer billing --json | ./write-invoices

Exit codes:
  0    everything is shown
  2    wrong usage, such as a state that this ledger does not know
  4    the ledger can't be used, or damage was met on the way: the events before it are shown
  141  the reader of the output has closed it")]
pub(crate) struct Tail {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// Goes on with what comes
    #[arg(long)]
    pub(crate) follow: bool,
    /// Keeps the place in the ledger under this name: 1 to 64 visible ASCII characters
    #[arg(long, value_name = "NAME", conflicts_with_all = ["follow", "since_seq"])]
    pub(crate) consumer: Option<String>,
    /// Only events that bring an order into this state; may be given several times
    #[arg(long, value_name = "S", value_parser = state_name)]
    pub(crate) state: Vec<String>,
    /// Only orders of this account
    #[arg(long, value_parser = OsStringValueParser::new().try_map(account))]
    pub(crate) account: Option<Bytes>,
    /// Begins at this seq
    #[arg(long, value_name = "SEQ", default_value_t = 1)]
    pub(crate) since_seq: u64,
}

/// Waits until an order is in a state, and says where it stands
///
/// Reads beside a running writer and takes no lock. Returns early when the order is in a state that it stays
/// in for ever.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger wait --dir ./orders 17 completed
  order-ledger wait --dir ./orders 17 completed cancelled --timeout 5

Exit codes:
  0  it is in one of the states
  1  it is not, and the time is over, or it will never be; or there is no such order
  2  wrong usage, such as a state that this ledger does not know
  4  the ledger can't be used")]
pub(crate) struct Wait {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The order's number, or a receipt
    #[arg(value_name = "ORDER", value_parser = Wanted::from_str)]
    pub(crate) order: Wanted,
    /// The states, of which one will do
    #[arg(value_name = "STATE", required = true, value_parser = state_name)]
    pub(crate) states: Vec<String>,
    /// For so long at most: 0.01 to 3600 seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) timeout: Duration,
}
