//! The commands about what is said of orders, clients and accounts: notes, what resolves them, and holds.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{OsStringValueParser, TypedValueParser};
use order_ledger::NoteKind;

use super::values::{Bytes, Dir, Opening, Wanted, account, author, client, command_key, words};

/// Keeps notes, feedback and disputes with orders: one by arguments, or JSON lines in and one JSON line out for each
///
/// A line in:  {"order_id": 17, "kind": "dispute", "text": "one cup is broken", "author": "N. Davolio"}
/// or:         {"order_id": 17, "resolve": 42, "text": "a new one was sent"}
///
/// `order_id` and `text` (0 to 65536 bytes) must be there. `kind` is note (if nothing is said), feedback
/// or dispute. `author` has at most 64 bytes. `text` and `author` are text, or bytes as
/// {"hex": "00ff"}. With `open` (true) a note waits to be resolved, as a dispute always does; `resolve`
/// names such a note by its `seq`. `command_key` (1 to 255 bytes) names the command: made before the
/// first attempt, so that a repeat is recorded once and has the first answer. Steps, notes and what
/// resolves them share the keys of an order. Any other field is refused, so that a misspelt one is not
/// lost. Empty lines are passed over.
///
/// A line out, in the order of the input, printed when the note is durable and not before:
/// {"line": 1, "order_id": 17, "outcome": "fresh", "seq": 42, "at": "..."}
///
/// `outcome` is fresh (recorded now), replayed (recorded before, or resolved already), conflict (the
/// command key belongs to another command), refused (no such order, no such open note) or invalid
/// (correct the line). If a write fails it is in_doubt. Each line that was not recorded has `certainty`
/// (not_recorded, unknown), `error`, `why` and `advice`. `error` is for programs: no_such_order,
/// no_open_note, command_conflict (see `differs`), invalid, in_doubt, poisoned, ...
///
/// With command keys, running the same command again is always safe, also after a crash in the middle.
#[derive(clap::Args, Debug)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  order-ledger note --dir ./orders 17 --text \"called: wants it on monday\"
  order-ledger note --dir ./orders 17 --kind dispute --text \"one cup is broken\" --command-key mail-4711
  order-ledger note --dir ./orders 17 --resolve 42 --text \"a new one was sent\"
  order-ledger note --dir ./orders --from notes.jsonl

Exit codes:
  0    every note is fresh or replayed
  2    wrong usage: nothing was done
  3    some were conflict, refused or invalid, all others are done
  4    the ledger can't be used, or failed on the way: each line says what is on disk
  141  the reader of the output has closed it; reading stopped, and what was acknowledged stays"
)]
pub(crate) struct Note {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The order's number, or a receipt; without it, lines are read
    #[arg(value_name = "ORDER", value_parser = Wanted::from_str, requires = "text")]
    pub(crate) order: Option<Wanted>,
    /// What is said, byte for byte
    #[arg(long, value_name = "TEXT", requires = "order",
          value_parser = OsStringValueParser::new().try_map(words))]
    pub(crate) text: Option<Bytes>,
    /// What sort of note it is: note, feedback or dispute; note, if nothing is said
    #[arg(long, value_name = "KIND", requires = "order", value_parser = NoteKind::from_str)]
    pub(crate) kind: Option<NoteKind>,
    /// It waits to be resolved, as a dispute always does
    #[arg(long, requires = "order")]
    pub(crate) open: bool,
    /// Resolves the note of this seq
    #[arg(long, value_name = "SEQ", requires = "order", conflicts_with_all = ["kind", "open"])]
    pub(crate) resolve: Option<u64>,
    /// Who says it
    #[arg(long, value_name = "NAME", requires = "order",
          value_parser = OsStringValueParser::new().try_map(author))]
    pub(crate) author: Option<Bytes>,
    /// The name of this command, in the scope of the order: with it, a repeat is recorded once
    #[arg(long, value_name = "K", requires = "order",
          value_parser = OsStringValueParser::new().try_map(command_key))]
    pub(crate) command_key: Option<Bytes>,
    /// The file to read; `-`, and nothing said, is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "order")]
    pub(crate) from: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) opening: Opening,
}

/// Takes no new orders of a client or an account, or takes them again
///
/// While a client, an account of it, or an account of any client is held, a new order of it is refused
/// for good: recorded with the code 4294901761 and the reason, and answered so for ever. What was taken
/// before is answered as ever, and existing orders go their way. A repeat succeeds and writes nothing.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  order-ledger hold --dir ./orders --client web-shop --account ALFKI --reason chargeback
  order-ledger hold --dir ./orders --account ALFKI --reason \"court order\"
  order-ledger hold --dir ./orders --client web-shop --account ALFKI --release
  order-ledger hold --dir ./orders --list

Exit codes:
  0  held, released, or listed
  2  wrong usage: nothing was done
  4  the ledger can't be used; the message says what is on disk")]
pub(crate) struct Hold {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The submitting system; without it, whichever submits for the account
    #[arg(long, value_parser = OsStringValueParser::new().try_map(client))]
    pub(crate) client: Option<Bytes>,
    /// The account; without it, every account of the client
    #[arg(long, value_parser = OsStringValueParser::new().try_map(account))]
    pub(crate) account: Option<Bytes>,
    /// Why, in words for people: at most 512 bytes; the refusals show it
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
    /// Who says so
    #[arg(long, value_name = "NAME", value_parser = OsStringValueParser::new().try_map(author))]
    pub(crate) by: Option<Bytes>,
    /// Takes new orders again
    #[arg(long)]
    pub(crate) release: bool,
    /// Shows what is held
    #[arg(long, conflicts_with_all = ["client", "account", "reason", "by", "release"])]
    pub(crate) list: bool,
    #[command(flatten)]
    pub(crate) opening: Opening,
}
