//! What `serve` can be told.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::values::Dir;

/// Shows a ledger as web pages: totals, states, alerts, what stands still, third parties, each order, search
///
/// Reads beside a running writer, takes no lock and changes no byte; there is nothing to press that would. The pages
/// need no script. /metrics is for Prometheus, /health for a load balancer (503 when it is critical, also by an alert
/// that is critical and that nobody has acknowledged).
///
/// On the machine itself anybody who can reach the port may look. Any other address than one of the loopback device
/// is refused without --token-file: then every request must bring `Authorization: Bearer TOKEN`. There is no TLS: put
/// a proxy in front, or use an SSH tunnel.
///
/// The log is read once at the start, about a second for a million records; then each request reads what is new. It
/// takes about 200 bytes of memory for each order that has not come to an end, and 150 for each dispatch that is not
/// done.
/// How long an order, a sync, and a wait in the queue take, only the process that writes knows (`Ledger::metrics`).
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger serve --dir ./orders
  order-ledger serve --dir ./orders --listen 10.0.0.5:8080 --token-file /etc/orders.token

Exit codes:
  2  wrong usage, such as an address that needs a token
  4  the ledger can't be used, or the address can't be listened to")]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The address; port 0 takes one that is free, and says which
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8417")]
    pub(crate) listen: SocketAddr,
    /// A file with the token that requests must bring, at least 16 characters, readable by its owner only
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}
