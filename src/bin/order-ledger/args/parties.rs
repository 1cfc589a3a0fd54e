//! The commands about third parties: what they are to be told, and what they say they did.

use std::path::PathBuf;

use order_ledger::{PageToken, Timestamp};

use super::values::{Dir, Opening, time};

/// Shows what third parties are to be told and what waits for a person, and sends that on its way again
///
/// What is to be told is recorded by programs, with the order or the step that causes it, and done by the
/// outbox of the program that has the ledger open.
#[derive(clap::Args, Debug)]
pub(crate) struct Outbox {
    #[command(subcommand)]
    pub(crate) command: OutboxCommand,
}

#[derive(clap::Subcommand, Debug)]
pub(crate) enum OutboxCommand {
    List(OutboxList),
    Redrive(Redrive),
    Sla(Sla),
}

/// Lists what is neither done nor given up, or what was given up and waits for a person
///
/// `state` is waiting, attempting (now, or cut off: a running program knows), retrying, unknown (it may
/// have happened, and nobody else is told), refused (the next provider is told) or dead (a person must
/// act). `in_doubt` names a provider that may have done it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger outbox list --dir ./orders
  order-ledger outbox list --dir ./orders --dead --route payment

Exit codes:
  0  done, also when there is none
  4  the ledger can't be used")]
pub(crate) struct OutboxList {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// Only what was given up: dead letters
    #[arg(long)]
    pub(crate) dead: bool,
    /// Only what goes by this route
    #[arg(long, value_name = "ROUTE")]
    pub(crate) route: Option<String>,
    /// At most this many: 1 to 10000
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) limit: u16,
    /// Goes on behind an earlier page: the token that it ended with
    #[arg(long, value_name = "TOKEN")]
    pub(crate) after: Option<PageToken>,
}

/// Sends dead letters on their way again, with the tokens that they had
///
/// Attempts and age are counted anew. Where it is not known whether a provider has done it, that is found
/// out first. The outbox of the program that opens the ledger next does it. No other process may have the
/// ledger open.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger outbox redrive --dir ./orders 42 43 --why \"the card was unblocked\"
  order-ledger outbox redrive --dir ./orders --all --route mail

Exit codes:
  0  all are on their way again
  2  wrong usage: nothing was done
  3  some are no dead letters, all others are on their way
  4  the ledger can't be used; the message says what is on disk")]
pub(crate) struct Redrive {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The numbers of the dispatches, as `outbox list` shows them
    #[arg(value_name = "DISPATCH", required_unless_present = "all")]
    pub(crate) dispatches: Vec<u64>,
    /// Every dead letter
    #[arg(long, conflicts_with = "dispatches")]
    pub(crate) all: bool,
    /// With --all: only those of this route
    #[arg(long, value_name = "ROUTE", requires = "all")]
    pub(crate) route: Option<String>,
    /// Why, in words for people: at most 512 bytes; the history shows it
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) why: String,
    #[command(flatten)]
    pub(crate) opening: Opening,
}

/// Shows how each provider did in a period: answers, times, and how often it is not known
///
/// `latency` counts from the attempt on disk to its answer on disk. `breaker_open` is how long a provider was left
/// alone, from the last of several attempts in a row without an answer to the next answer: told again from the log, so
/// that a restart changes nothing about it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger outbox sla --dir ./orders --since 2026-11-01 --until 2026-12-01

Exit codes:
  0  done
  4  the ledger can't be used")]
pub(crate) struct Sla {
    #[command(flatten)]
    pub(crate) dir: Dir,
    #[command(flatten)]
    pub(crate) period: Period,
    /// Attempts in a row without an answer that open a breaker: what the program says whose outbox it is
    #[arg(long, value_name = "ATTEMPTS", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) breaker_failures: u32,
}

/// A part of the log, by time.
#[derive(clap::Args, Debug)]
pub(crate) struct Period {
    /// From this time on (RFC 3339, or a date in UTC); without it, from the beginning
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<Timestamp>,
    /// Before this time; without it, to the end
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) until: Option<Timestamp>,
}

impl Period {
    pub(crate) fn ends(&self) -> (Timestamp, Timestamp) {
        let (first, last) = (Timestamp::from_unix_ns(0), Timestamp::from_unix_ns(u64::MAX));
        (self.since.unwrap_or(first), self.until.unwrap_or(last))
    }
}

/// Compares what we hold with what a provider says it did, and records what its list proves
///
/// The list is CSV with a line of names on top, or JSON lines; a file that ends in .csv is CSV. An item is
/// found by its token, or by the provider's reference where there is no token. What was unknown and stands
/// in the list is done from then on, and recorded; running it again changes nothing. With --complete, what
/// is unknown and not in the list was not done, and is tried again.
///
/// `compared` is matched, only_ours, only_theirs, differs (see `differs`), resolved_unknown or
/// still_unknown. In `differs`, `state` says that we hold it was not done there, `times` that their list has
/// it twice. No other process may have the ledger open.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger reconcile --dir ./orders --route payment --provider acme-pay --from november.csv \\
      --since 2026-11-01 --until 2026-12-01 --token merchant_ref --reference charge_id --compare amount=gross

Exit codes:
  0  both sides say the same about everything, or it is resolved now
  1  they do not: each item says in what
  2  wrong usage, or a list that can't be read; nothing was changed
  4  the ledger can't be used; the message says what is on disk")]
pub(crate) struct Reconcile {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The route
    #[arg(long, value_name = "ROUTE")]
    pub(crate) route: String,
    /// The provider whose list it is
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: String,
    /// The list; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// What the list is, if its name does not say so
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    #[command(flatten)]
    pub(crate) period: Period,
    /// The column, or field, with our token
    #[arg(long, value_name = "COLUMN", default_value = "token")]
    pub(crate) token: String,
    /// The column, or field, with what the provider calls it
    #[arg(long, value_name = "COLUMN", default_value = "reference")]
    pub(crate) reference: String,
    /// Compares a field of what was told, which is JSON, with a column of theirs of the same or of another name
    #[arg(long, value_name = "FIELD[=COLUMN]")]
    pub(crate) compare: Vec<String>,
    /// Their list has everything that they did in the period
    #[arg(long)]
    pub(crate) complete: bool,
    /// So many days around the period, an item of theirs is looked for: 0 to 3650
    #[arg(long, value_name = "DAYS", default_value_t = 2,
          value_parser = clap::value_parser!(u16).range(..=3650))]
    pub(crate) around_days: u16,
    #[command(flatten)]
    pub(crate) opening: Opening,
}

/// What a list is.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Csv,
    Jsonl,
}
