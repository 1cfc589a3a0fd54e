//! The commands about what is said of orders: notes, and what resolves them.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{OsStringValueParser, TypedValueParser};
use order_ledger::NoteKind;

use super::values::{Bytes, Dir, Opening, Wanted, author, command_key, words};

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
