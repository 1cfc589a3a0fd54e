//! The commands that say how a ledger is.

use std::time::Duration;

use super::values::{Dir, state_name};

/// Says whether something is wrong: ok, warn or critical, with the reasons and what to do
///
/// Reads beside a running writer, takes no lock and changes no byte: made for cron and for monitoring systems. One
/// line says it all; with --json it is one object, with --prometheus the text that Prometheus and its node exporter
/// read.
///
/// From the outside can be seen: whether the log can be opened, what the last opening found, room on the disk, and how
/// long orders have been in a state. What only the process that writes knows, such as its queue, it says itself
/// (`Ledger::health`).
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger check --dir ./orders
  order-ledger check --dir ./orders --warn-disk-free 10G --critical-disk-free 1G
  order-ledger check --dir ./orders --warn-oldest accepted=15m --critical-oldest accepted=2h
  order-ledger check --dir ./orders --states --prometheus > /var/lib/node_exporter/orders.prom

Exit codes, as Nagios and its kin have them:
  0  ok
  1  warn
  2  critical: also when the log is damaged; and wrong usage
  3  unknown: it can't be looked at")]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// All metrics in the text format of Prometheus
    #[arg(long, conflicts_with = "json")]
    pub(crate) prometheus: bool,
    /// Counts orders by state as well, and finds those that are in it for longest. Reads the whole log: about a
    /// second for a million records
    #[arg(long)]
    pub(crate) states: bool,
    /// Warns when fewer bytes are free on the file system; K, M, G and T are powers of 1024
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) warn_disk_free: Option<u64>,
    /// The same, and critical
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) critical_disk_free: Option<u64>,
    /// Warns when an order is in this state for longer, such as accepted=15m; s, m, h or d. May be given several
    /// times. Reads the whole log
    #[arg(long, value_name = "STATE=TIME", value_parser = stay)]
    pub(crate) warn_oldest: Vec<Stay>,
    /// The same, and critical
    #[arg(long, value_name = "STATE=TIME", value_parser = stay)]
    pub(crate) critical_oldest: Vec<Stay>,
}

/// How long an order may be in a state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stay {
    pub(crate) state: String,
    pub(crate) at_most: Duration,
}

fn stay(text: &str) -> Result<Stay, String> {
    let Some((state, time)) = text.split_once('=') else {
        return Err("it has no `=` between the state and the time".into());
    };
    Ok(Stay { state: state_name(state)?, at_most: duration(time)? })
}

/// A number with a unit of time behind it.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    let found = units.iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*seconds)
    });
    found
        .map(Duration::from_secs)
        .ok_or_else(|| "a time is a number with s, m, h or d behind it".into())
}

/// A number of bytes, with or without a unit behind it.
fn bytes(text: &str) -> Result<u64, String> {
    let units = [("K", 10), ("M", 20), ("G", 30), ("T", 40), ("", 0)];
    let found = units.iter().find_map(|(unit, power)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(1 << power)
    });
    found.ok_or_else(|| {
        "a number of bytes is a number, with K, M, G or T behind it or without".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_with_their_units() {
        assert_eq!((bytes("0"), bytes("17"), bytes("3K")), (Ok(0), Ok(17), Ok(3072)));
        assert_eq!(bytes("2G"), Ok(2 << 30));
        for wrong in ["", "K", "-1", "1.5G", "1g", "99999999T"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        let quarter = Stay { state: "accepted".into(), at_most: Duration::from_secs(900) };
        assert_eq!(stay("accepted=15m"), Ok(quarter));
        for wrong in ["accepted", "accepted=", "accepted=15", "=15m", "accepted=1w", "Accepted=1s"]
        {
            assert!(stay(wrong).is_err(), "{wrong}");
        }
    }
}
