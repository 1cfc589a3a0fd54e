//! What can be said on the command line: every command, its options, their help and their limits.
//!
//! - [`steps`]: the commands about the life of an order
//! - [`follow`]: the commands that wait for what happens
//! - [`health`]: the commands that say how a ledger is
//! - [`remarks`]: the commands about what is said of orders, clients and accounts
//! - [`alerts`]: the commands about what stands still or fails
//! - `serve`, `top`: what the web pages and the live view can be told
//! - [`parties`]: the commands about third parties
//! - [`values`]: what several commands take
//!
//! The exit codes that the help texts name are those of [`errors`](crate::errors).

mod alerts;
mod follow;
mod health;
mod parties;
mod remarks;
#[cfg(feature = "serve")]
mod serve;
mod steps;
#[cfg(feature = "top")]
mod top;
mod values;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use order_ledger::{PageToken, Timestamp};

pub(crate) use alerts::{Alerts, Stuck, Watch};
pub(crate) use follow::{Tail, Wait};
pub(crate) use health::{Check, Stay};
pub(crate) use parties::{Format, Outbox, OutboxCommand, OutboxList, Reconcile, Redrive, Sla};
pub(crate) use remarks::{Hold, Note};
#[cfg(feature = "serve")]
pub(crate) use serve::Serve;
pub(crate) use steps::{Cancel, Lifecycle, Transition};
#[cfg(feature = "top")]
pub(crate) use top::Top;
pub(crate) use values::{Bytes, Dir, Opening, Wanted};
use values::{account, client, external_ref, key, seconds, state_name, time};

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    done, and the answer is no: no such order, damage found, orders lost
  2    wrong usage, nothing was done; of `verify`: can't tell
       (`check` has codes of its own: 0 ok, 1 warn, 2 critical, 3 unknown)
  3    some lines (orders, steps) were conflict, refused or invalid, all others are done
  4    the ledger (or the input) can't be used; the message says what is on disk
  141  the reader of the output has closed it";

/// Submits orders so that none is lost and none is taken twice, leads them through their life, and looks at them.
///
/// An order is taken under a key; submitting the same key again gives the same receipt.
#[derive(clap::Parser, Debug)]
#[command(name = "order-ledger", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Args {
    /// Answers (and errors) as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    Submit(Submit),
    Transition(Transition),
    Cancel(Cancel),
    Note(Note),
    Hold(Hold),
    Outbox(Outbox),
    Reconcile(Reconcile),
    Get(Get),
    Find(Find),
    History(History),
    Tail(Tail),
    Wait(Wait),
    List(List),
    Stuck(Stuck),
    Alerts(Alerts),
    Watch(Watch),
    Lifecycle(Lifecycle),
    Dump(Dump),
    Verify(Verify),
    Stats(Stats),
    Check(Check),
    #[cfg(feature = "top")]
    Top(Top),
    #[cfg(feature = "serve")]
    Serve(Serve),
    Bench(Bench),
    Drill(Drill),
    #[command(hide = true)]
    DrillWriter(DrillWriter),
    #[command(hide = true)]
    Completions(Completions),
    #[command(hide = true)]
    Man(Man),
}

impl Command {
    pub(crate) fn is_verify(&self) -> bool {
        matches!(self, Command::Verify(_))
    }
}

/// Submits orders: JSON lines in, one JSON line with a durable receipt out for each
///
/// A line in:  {"key": "cart-17", "account": "ALFKI", "external_ref": "PO-2231", "order": {...}}
///
/// `key` (1 to 255 bytes) and `order` must be there; `account`, `external_ref`, `kind`, `corrects` (the id
/// of an order), `schema` (a number), `expires_in`, `warn_after` and `critical_after` (numbers of seconds;
/// the last two say after how long in a state the order is stuck, instead of the lifecycle) may be. Any
/// other field is refused, so that a misspelt one is not lost. `order` is any JSON value but null, and is
/// kept as its very bytes. Empty lines are passed over.
///
/// A line out, in the order of the input, printed when the order is durable and not before:
/// {"line": 1, "key": "cart-17", "outcome": "fresh", "order_id": 1, "accepted_at": "...",
/// "fingerprint": "...", "receipt": "olr1-...", ...}
///
/// `outcome` is fresh (taken now), replayed (taken before: the same receipt again), joined (stands twice
/// in what is being written), conflict (the key belongs to other content: see `differs` and the receipt
/// of the order that has it), refused (not now; the key is free) or invalid (correct the line). If a
/// write fails it is in_doubt: run the command again. Each line that was not taken has `certainty`
/// (not_recorded, recorded, unknown), `error` and `advice`.
///
/// The directory is made when it is missing. Running the same command again is always safe, also after a
/// crash in the middle: it gives the same receipts.
#[derive(clap::Args, Debug)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  order-ledger submit --dir ./orders --client web-shop --from examples/orders.jsonl
  produce-orders | order-ledger submit --dir ./orders --client web-shop

Exit codes:
  0    every line is fresh, replayed or joined
  3    some lines were conflict, refused or invalid, all others are done
  4    the ledger can't be used, or failed on the way: each line says what is on disk
  141  the reader of the output has closed it; reading stopped, and what was acknowledged stays"
)]
pub(crate) struct Submit {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The submitting system: the scope of the keys, 1 to 64 bytes
    #[arg(long, value_parser = OsStringValueParser::new().try_map(client))]
    pub(crate) client: Bytes,
    /// The file to read; `-` is standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(crate) from: PathBuf,
    #[command(flatten)]
    pub(crate) opening: Opening,
}

/// Shows an order, by its number or its receipt
///
/// A receipt is checked as well: against this ledger, and against the order that it names.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger get --dir ./orders 42
  order-ledger get --dir ./orders olr1-0410G...

Exit codes:
  0  found
  1  there is no such order, or the receipt is not one of this ledger
  4  the ledger can't be used")]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The order's number, or a receipt
    #[arg(value_name = "ORDER", value_parser = Wanted::from_str)]
    pub(crate) order: Wanted,
}

/// Shows the order that was taken under a key: did my order arrive?
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger find --dir ./orders --client web-shop --key cart-17

Exit codes:
  0  found
  1  no order was taken under this key: submitting it is safe
  4  the ledger can't be used")]
pub(crate) struct Find {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The submitting system
    #[arg(long, value_parser = OsStringValueParser::new().try_map(client))]
    pub(crate) client: Bytes,
    /// The idempotency key
    #[arg(long, value_parser = OsStringValueParser::new().try_map(key))]
    pub(crate) key: Bytes,
}

/// Shows everything that happened to an order, first to last
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger history --dir ./orders 42

Exit codes:
  0  found
  1  there is no such order, or the receipt is not one of this ledger
  4  the ledger can't be used")]
pub(crate) struct History {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The order's number, or a receipt
    #[arg(value_name = "ORDER", value_parser = Wanted::from_str)]
    pub(crate) order: Wanted,
}

/// Lists orders in the order in which they were taken, or the notes that wait to be resolved
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger list --dir ./orders --account ALFKI
  order-ledger list --dir ./orders --state accepted --since 2026-01-31T08:00:00Z --limit 20
  order-ledger list --dir ./orders --after after-20
  order-ledger list --dir ./orders --open-notes

Exit codes:
  0  done, also when no order fits
  2  wrong usage, such as a state that this ledger does not know
  4  the ledger can't be used")]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// Only orders of this account
    #[arg(long, value_parser = OsStringValueParser::new().try_map(account))]
    pub(crate) account: Option<Bytes>,
    /// Only orders with this number in somebody else's system
    #[arg(long, value_name = "REF", value_parser = OsStringValueParser::new().try_map(external_ref))]
    pub(crate) external_ref: Option<Bytes>,
    /// Only orders that the linked batch with this key took or changed, all of them, in its order
    #[arg(long, value_name = "KEY", value_parser = OsStringValueParser::new().try_map(key),
          conflicts_with_all = ["account", "external_ref", "state", "since", "until", "after"])]
    pub(crate) batch: Option<Bytes>,
    /// Only orders that are in this state now; `lifecycle` names them all
    #[arg(long, value_parser = state_name)]
    pub(crate) state: Option<String>,
    /// Only orders taken at this time (RFC 3339, or a date in UTC) or later
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<Timestamp>,
    /// Only orders taken before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) until: Option<Timestamp>,
    /// At most this many: 1 to 10000
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) limit: u16,
    /// Goes on behind an earlier page: the token that it ended with
    #[arg(long, value_name = "TOKEN")]
    pub(crate) after: Option<PageToken>,
    /// Instead of orders, the notes that wait to be resolved, in the order in which they were made
    #[arg(long, conflicts_with_all = ["account", "external_ref", "state", "since", "until", "batch"])]
    pub(crate) open_notes: bool,
}

/// Writes every order as a JSON line, read from the log alone
///
/// Each line has order_id, client, key, account, state, version, accepted_at, receipt and order; and
/// external_ref, kind, schema and refusal where there is one. `order` is the payload as it is when that
/// is JSON (line breaks inside it become spaces). Bytes that can't be shown so stand under the name with
/// `_hex` behind it instead, as hex digits: order_hex, client_hex, key_hex, account_hex.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger dump --dir ./orders > orders.jsonl

Exit codes:
  0    every order is written
  4    the ledger can't be used, or damage was met on the way: the orders before it are written
  141  the reader of the output has closed it")]
pub(crate) struct Dump {
    #[command(flatten)]
    pub(crate) dir: Dir,
}

/// Reads every byte, checks every checksum, and compares what is derived with the log
///
/// Works beside a running writer and changes nothing. Does not stop at the first damage.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger verify --dir ./orders

Exit codes:
  0  sound
  1  damaged: file, byte and seqs are named
  2  can't tell: something could not be read, or it is not a ledger")]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) dir: Dir,
}

/// Shows counts and sizes, and what the last opening found
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger stats --dir ./orders

Exit codes:
  0  done
  4  the ledger can't be used")]
pub(crate) struct Stats {
    #[command(flatten)]
    pub(crate) dir: Dir,
}

/// Measures your disk: one durable write beside durable orders, and what the figures mean
///
/// The raw row is what this disk takes for one durable write: 4 KiB (more if your orders are larger) into a
/// file that was filled with zeros before, and fdatasync. Beside it stand durable orders, submitted as a program would: one by one from one
/// thread, from N threads, at a fixed rate, in batches of 1,000, and with 64 in flight from one thread. Each
/// round runs all rows, with raw writes between them, so that all of them see the same disk.
///
/// Times are of single calls; of the row at a fixed rate they count from the moment at which the order was
/// due, so that a stall counts for all orders that it held up (no coordinated omission). Rates are the medians
/// of the rounds. With one thread the clock stands while orders are made; else making them is inside.
///
/// Orders have 256 bytes under random keys of 32, or are your own. They go into a ledger with the default
/// settings in DIR/bench-PID, which is removed at the end; a ledger that is already there is not touched.
/// A bench that was killed leaves its directory behind, and the next one in DIR removes it. It takes a few
/// hundred MiB for each second of a row on a fast machine.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger bench --dir .
  order-ledger bench --dir /mnt/orders --threads 64 --payload examples/orders.jsonl
  order-ledger bench --dir . --rate 500 --seconds 30

Exit codes:
  0  measured, whatever the verdict
  2  wrong usage: DIR is a ledger itself, or the payload can't be used; nothing was touched
  4  the bench could not be carried out")]
pub(crate) struct Bench {
    /// A directory on the disk that is measured; not one of a ledger, but the one that holds it
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Threads of the rows with several: 1 to 1024
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: u16,
    /// Your own orders: JSON lines as `submit` takes them, or any lines, each of which is a payload
    #[arg(long, value_name = "FILE")]
    pub(crate) payload: Option<PathBuf>,
    /// Orders a second of the row at a fixed rate; without it half of what the threads reach at first
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: Option<u32>,
    /// Seconds for each row, all rounds together: 0.01 to 3600
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// How often the rows take turns: 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
}

/// Proves it on this machine: kills a writer, cuts a simulated power, and looks for all that was acknowledged
///
/// Kills: a child process writes orders into a ledger of the drill's own and is killed with SIGKILL at
/// random moments, also while it opens the ledger, begins a new file of the log, or rebuilds what is
/// derived. The next one opens what is left and repeats the orders whose answer was not heard. At the end
/// every acknowledged order is looked for.
///
/// Power cuts: the same code writes orders to a simulated disk, whose power goes off at a random call, also
/// while the ledger is opened and up to three times in a row. What such a cut leaves (sectors lost, torn and
/// reordered, names lost) is written to your disk, opened there as your program would open it, and every
/// acknowledged order is looked for. It follows from the seed; a ledger with something wrong is kept.
///
/// A report is written into the directory: what was done on which machine, file system and disk, what was
/// found, and what a drill can't show; `drill-<time>.txt` for people and `.json` beside it for programs.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger drill --dir ./drill
  order-ledger drill --dir ./drill --from examples/orders.jsonl --kills 200 --power-cuts 500
  order-ledger drill --dir ./drill --kills 0 --power-cuts 1 --seed 4711

Exit codes:
  0  nothing was lost, doubled or changed
  1  something was; the report says what, and which seed shows it again
  2  wrong usage, or the directory holds something that no drill made; nothing was touched
  4  the drill could not be carried out")]
pub(crate) struct Drill {
    /// A directory of the drill's own: missing, empty, or of an earlier drill
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// How often a writer is killed: 0 to 1000000
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub(crate) kills: u32,
    /// How often the power of a simulated disk is cut: 0 to 1000000
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub(crate) power_cuts: u32,
    /// Your own orders instead of made-up ones: JSON lines as `submit` takes them; keys are the drill's
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Size of a file of the log, in MiB: 1 to 4095. Without it 1 for kills, and for power cuts sizes from
    /// 16 KiB to 1 MiB, so that many files begin and end
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=4095))]
    pub(crate) segment_mib: Option<u64>,
    /// Where the random choices begin: the same seed makes the same power cuts
    #[arg(long)]
    pub(crate) seed: Option<u32>,
    /// Where the report goes, instead of into the directory; the JSON beside it, as FILE with .json behind it
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Counts in one line, as the release run adds them up
    #[arg(long, hide = true)]
    pub(crate) result: bool,
}

/// The child of a drill: writes until it is killed
#[derive(clap::Args, Debug)]
pub(crate) struct DrillWriter {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// Names the keys of this drill
    #[arg(long)]
    pub(crate) run: String,
    /// Names the keys of this child
    #[arg(long)]
    pub(crate) round: u32,
    /// The first order of the child before this one whose answer was not heard
    #[arg(long)]
    pub(crate) unheard: u64,
    #[arg(long)]
    pub(crate) from: Option<PathBuf>,
    #[arg(long, default_value_t = 1)]
    pub(crate) segment_mib: u64,
}

/// Writes a completion script for a shell
#[derive(clap::Args, Debug)]
pub(crate) struct Completions {
    pub(crate) shell: clap_complete::Shell,
}

/// Writes a man page
#[derive(clap::Args, Debug)]
pub(crate) struct Man {
    /// The command it is about; without one, the program
    pub(crate) command: Option<String>,
}
