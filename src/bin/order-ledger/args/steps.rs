//! The commands about the life of an order: steps that it takes, and which there are.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{OsStringValueParser, TypedValueParser};

use super::values::{Bytes, Dir, Opening, Proof, Wanted, command_key, proof, state_name};

/// Has orders take steps: one by arguments, or JSON lines in and one JSON line out for each
///
/// A line in:  {"order_id": 17, "to": "completed", "command_key": "parcel-9"}
///
/// `order_id` and `to` (the name of a state, see `lifecycle`) must be there. `command_key` (1 to 255
/// bytes) names the command: made before the first attempt, so that a repeat is taken once and has
/// the first answer. With `expect_version` (a number) or `expect_state` the step is taken only if the
/// order stands there. `evidence` is an object: {"tracking_number": "1Z"}, or for bytes
/// {"signature": {"hex": "00ff"}}. `reason` is for people. Any other field is refused, so that a
/// misspelt one is not lost. Empty lines are passed over.
///
/// `dispatches` is what third parties are to be told, in one write with the step, as for `submit`; it
/// needs a command_key: {"dispatches": [{"route": "parcel", "body": {"to": "the door"}}]}. The answer
/// names them.
///
/// A line out, in the order of the input, printed when the step is durable and not before:
/// {"line": 1, "order_id": 17, "command_key": "parcel-9", "outcome": "fresh", "seq": 42, "at": "...",
/// "from": "accepted", "to": "completed", "to_version": 2, "state": "completed", "version": 2}
///
/// `state` and `version` are where the order stands now. `outcome` is fresh (taken now), replayed
/// (taken before, or the order is there already), conflict (the command key belongs to another
/// command), refused (the order does not take this step) or invalid (correct the line). If a write
/// fails it is in_doubt. Each line that was not taken has `certainty` (not_recorded, unknown),
/// `error`, `why` and `advice`. `error` is for programs: version_mismatch, already_terminal,
/// no_such_step, missing_evidence (see `missing`), no_such_order, command_conflict (see `differs`),
/// invalid, in_doubt, poisoned, ...
///
/// With command keys, running the same command again is always safe, also after a crash in the middle.
#[derive(clap::Args, Debug)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  order-ledger transition --dir ./orders 17 completed --command-key parcel-9 --evidence tracking_number=1Z
  order-ledger transition --dir ./orders --from steps.jsonl
  ship-parcels | order-ledger transition --dir ./orders

Exit codes:
  0    every step is fresh or replayed
  2    wrong usage, such as a state that this ledger does not know: nothing was done
  3    some were conflict, refused or invalid, all others are done
  4    the ledger can't be used, or failed on the way: each line says what is on disk
  141  the reader of the output has closed it; reading stopped, and what was acknowledged stays"
)]
pub(crate) struct Transition {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The order's number, or a receipt; without it, lines are read
    #[arg(value_name = "ORDER", value_parser = Wanted::from_str, requires = "to")]
    pub(crate) order: Option<Wanted>,
    /// The state it is to go to
    #[arg(value_name = "STATE", value_parser = state_name)]
    pub(crate) to: Option<String>,
    /// The file to read; `-`, and nothing said, is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "order")]
    pub(crate) from: Option<PathBuf>,
    /// The name of this command, in the scope of the order: with it, a repeat is taken once
    #[arg(long, value_name = "K", requires = "order",
          value_parser = OsStringValueParser::new().try_map(command_key))]
    pub(crate) command_key: Option<Bytes>,
    /// Only if the order has this version
    #[arg(long, value_name = "N", requires = "order", conflicts_with = "expect_state")]
    pub(crate) expect_version: Option<u64>,
    /// Only if the order is in this state
    #[arg(long, value_name = "S", requires = "order", value_parser = state_name)]
    pub(crate) expect_state: Option<String>,
    /// What speaks for the step; may be given several times
    #[arg(long, value_name = "NAME=VALUE", requires = "order",
          value_parser = OsStringValueParser::new().try_map(proof))]
    pub(crate) evidence: Vec<Proof>,
    /// Why, in words for people: at most 512 bytes
    #[arg(long, value_name = "TEXT", requires = "order")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) opening: Opening,
}

/// Cancels an order: at once where the lifecycle allows it, else by asking
///
/// Where work is in flight the order goes to the state cancelling, and the answer of whoever works on it
/// decides: cancelled, or back. A repeat succeeds. The answer is that of `transition`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger cancel --dir ./orders 17 --reason \"the customer called\"

Exit codes:
  0  cancelled, or asked to be: `to` says which
  3  refused: there is no such order, or it does not take this step any more
  4  the ledger can't be used")]
pub(crate) struct Cancel {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The order's number, or a receipt
    #[arg(value_name = "ORDER", value_parser = Wanted::from_str)]
    pub(crate) order: Wanted,
    /// Why, in words for people: at most 512 bytes
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) opening: Opening,
}

/// Shows the states of this ledger's orders, and which may follow which
///
/// With --json it is what `submit --lifecycle` takes: change it, and open the ledger with it.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger lifecycle --dir ./orders
  order-ledger lifecycle --dir ./orders --json > lifecycle.json

Exit codes:
  0  done
  4  the ledger can't be used")]
pub(crate) struct Lifecycle {
    #[command(flatten)]
    pub(crate) dir: Dir,
}
