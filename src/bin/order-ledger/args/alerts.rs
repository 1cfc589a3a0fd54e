//! The commands about what stands still or fails.

use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use order_ledger::{AlertLevel, StuckToken};

use super::values::{Bytes, Dir, Opening, author, seconds, state_name, words};

/// Lists orders that have been in their state for too long, those that stand longest first
///
/// How long is too long, the lifecycle says for each state (`warn_after` and `critical_after`; see
/// `lifecycle --json`), or the order that was submitted with its own; those come last. Reads beside a running writer and takes no lock; nobody has to watch for it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger stuck --dir ./orders
  order-ledger stuck --dir ./orders --state accepted --level critical --json

Exit codes:
  0  done, also when no order stands still
  2  wrong usage, such as a state that this ledger does not know
  4  the ledger can't be used")]
pub(crate) struct Stuck {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// Only orders in this state; `lifecycle` names them all
    #[arg(long, value_name = "S", value_parser = state_name)]
    pub(crate) state: Option<String>,
    /// Only orders that are so bad, or worse: warn or critical
    #[arg(long, default_value = "warn")]
    pub(crate) level: AlertLevel,
    /// At most this many: 1 to 10000
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) limit: u16,
    /// Goes on behind an earlier page: the token that it ended with
    #[arg(long, value_name = "TOKEN")]
    pub(crate) after: Option<StuckToken>,
}

/// Lists alerts in the order in which they were raised, or says that somebody knows of one
///
/// An alert is over when what it is about is; nobody closes one by hand. Whoever acknowledges one is asked no
/// more, until it becomes critical. Listing reads beside a running writer and takes no lock.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger alerts --dir ./orders --open
  order-ledger alerts --dir ./orders --ack 42 --by \"N. Davolio\" --note \"called them\"

Exit codes:
  0  done, also when there are none
  1  there is no such open alert
  2  wrong usage: nothing was done
  4  the ledger can't be used; the message says what is on disk")]
pub(crate) struct Alerts {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// Only alerts that are not over
    #[arg(long)]
    pub(crate) open: bool,
    /// Only alerts that are so bad, or worse: warn or critical
    #[arg(long, default_value = "warn")]
    pub(crate) level: AlertLevel,
    /// At most this many: 1 to 10000
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) limit: u16,
    /// Goes on behind an earlier page: the number that it ended with
    #[arg(long, value_name = "ID")]
    pub(crate) after: Option<u64>,
    /// Somebody knows of the alert with this number
    #[arg(long, value_name = "ID", requires = "by",
          conflicts_with_all = ["open", "level", "limit", "after"])]
    pub(crate) ack: Option<u64>,
    /// Who knows
    #[arg(long, value_name = "NAME", requires = "ack",
          value_parser = OsStringValueParser::new().try_map(author))]
    pub(crate) by: Option<Bytes>,
    /// What is to be said about it
    #[arg(long, value_name = "TEXT", requires = "ack",
          value_parser = OsStringValueParser::new().try_map(words))]
    pub(crate) note: Option<Bytes>,
    #[command(flatten)]
    pub(crate) opening: Opening,
}

/// Watches a ledger: raises alerts, reminds of them, and tells a command or a webhook
///
/// A line out for everything that happens to an alert, printed when it is on disk and not before:
/// {"seq": 50, "at": "...", "change": "raised", "alert": 50, "subject": "order 17", "kind": "stuck_order", ...}
///
/// It opens the ledger for writing. When another process has it open, that one is to watch
/// (`Options::watch`), and this one passes on what it raises: it follows the log, takes no lock, and
/// writes nothing. With --once there is one look, and then it ends.
///
/// --exec runs a command of the shell for each line, which it is given on standard input; ALERT_ID,
/// ALERT_CHANGE, ALERT_KIND, ALERT_LEVEL, ALERT_SUBJECT and ALERT_DETAIL say the same. What it prints goes to
/// standard error. --webhook posts the line to a URL. Both are waited for; what fails is said on
/// standard error, and not tried again.
#[derive(clap::Args, Debug)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  order-ledger watch --dir ./orders --exec 'mail -s \"$ALERT_SUBJECT: $ALERT_DETAIL\" desk@example.com'
  order-ledger watch --dir ./orders --webhook https://example.com/alerts --json
  order-ledger watch --dir ./orders --once

Exit codes:
  0    with --once: looked, and everybody was told
  1    with --once: the command or the webhook failed
  2    wrong usage: nothing was done
  4    the ledger can't be used (with --once also when another process has it open)
  141  the reader of the output has closed it"
)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// Runs this command of the shell for everything that happens to an alert
    #[arg(long, value_name = "CMD")]
    pub(crate) exec: Option<String>,
    /// Posts everything that happens to an alert to this URL, as JSON
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,
    /// Looks once
    #[arg(long)]
    pub(crate) once: bool,
    /// Seconds from look to look
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) every: Duration,
    /// Minutes after which an alert is reminded of again
    #[arg(long, value_name = "MINUTES", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) remind: u32,
    #[command(flatten)]
    pub(crate) opening: Opening,
}
