//! What a line of the input says, and the thread that reads ahead.
//!
//! Always true: what was read and not yet handed to the ledger stays within [`BUDGET_BYTES`] (one line
//! may exceed it alone); a line that is not an order never keeps the next one from being read.

use std::borrow::Cow;
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use order_ledger::Submission;
use order_ledger::limits::KEY_BYTES_MAX;
use parking_lot::{Condvar, Mutex};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::lines::{LINE_BYTES_MAX, Lines, RawLine};

/// Bytes of lines that may wait.
const BUDGET_BYTES: usize = 32 * 1024 * 1024;
/// Lines that may wait.
const LINES_AHEAD: usize = 4096;
/// What a line costs beside its bytes.
const LINE_OVERHEAD_BYTES: usize = 64;

/// What the reading thread hands over.
pub(crate) enum Item {
    Line(Line),
    /// The input ended with an error.
    Failed(io::Error),
}

/// One line that is not empty.
pub(crate) struct Line {
    /// From 1; empty lines count.
    pub(crate) number: u64,
    /// The key, when it can be told and is not too long to be one.
    pub(crate) key: Option<String>,
    /// Bytes that it counts for.
    pub(crate) bytes: usize,
    /// Where it ended in the input.
    pub(crate) end: u64,
    pub(crate) said: Said,
}

pub(crate) enum Said {
    Order(Box<Submission>),
    /// Not an order, and why.
    Invalid(String),
}

/// How much memory the lines may take that wait.
#[derive(Default)]
pub(crate) struct Budget {
    taken: Mutex<usize>,
    given_back: Condvar,
}

impl Budget {
    /// Waits until there is room. One line alone always has.
    fn take(&self, bytes: usize) {
        let mut taken = self.taken.lock();
        while *taken > 0 && *taken + bytes > BUDGET_BYTES {
            self.given_back.wait(&mut taken);
        }
        *taken += bytes;
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        let mut taken = self.taken.lock();
        *taken = taken.saturating_sub(bytes);
        self.given_back.notify_one();
    }
}

/// Starts the thread that reads `input` to its end.
pub(crate) fn read_ahead(
    input: Box<dyn Read + Send>,
    client: Vec<u8>,
    budget: Arc<Budget>,
) -> io::Result<Receiver<Item>> {
    let (sender, receiver) = sync_channel(LINES_AHEAD);
    // Not joined: when the output is closed it may wait for input that never comes.
    std::thread::Builder::new().name("input".into()).spawn(move || {
        read(input, &client, &budget, &sender);
    })?;
    Ok(receiver)
}

fn read(input: Box<dyn Read + Send>, client: &[u8], budget: &Budget, sender: &SyncSender<Item>) {
    let mut lines = Lines::new(BufReader::with_capacity(256 * 1024, input), LINE_BYTES_MAX);
    for number in 1.. {
        let line = match lines.next() {
            Ok(None) => return,
            Ok(Some(line)) => line,
            Err(error) => {
                // Nobody listens any more only when the program is about to end.
                drop(sender.send(Item::Failed(error)));
                return;
            }
        };
        let (key, said, bytes) = match &line {
            RawLine::TooLong(bytes) => {
                let why = format!("the line has {bytes} bytes; allowed are {LINE_BYTES_MAX}");
                (None, Said::Invalid(why), 0)
            }
            RawLine::Text(text) => {
                let text = match (number, text.strip_prefix(b"\xef\xbb\xbf")) {
                    // Some editors put a byte order mark in front of a file.
                    (1, Some(behind)) => behind,
                    _ => text,
                };
                if text.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                let (key, said) = parse(client, text);
                (key, said, text.len())
            }
        };
        let bytes = bytes + LINE_OVERHEAD_BYTES;
        budget.take(bytes);
        let line = Line { number, key, bytes, end: lines.position, said };
        if sender.send(Item::Line(line)).is_err() {
            return;
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    order: &'a RawValue,
    #[serde(borrow, default)]
    account: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    external_ref: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    schema: Option<u32>,
}

/// What a line says: its key when that can be told, and the order or why there is none.
fn parse(client: &[u8], text: &[u8]) -> (Option<String>, Said) {
    match fields(text) {
        Ok(fields) => {
            let submission = fields.submission(client, fields.key.as_bytes());
            (printable(&fields.key), Said::Order(Box::new(submission)))
        }
        Err((key, why)) => (key, Said::Invalid(why)),
    }
}

/// The order of a line as if it stood there for this client and under this key; or why there is none.
pub(crate) fn parse_under(client: &[u8], key: &[u8], text: &[u8]) -> Result<Submission, String> {
    fields(text).map(|fields| fields.submission(client, key)).map_err(|(_, why)| why)
}

fn fields(text: &[u8]) -> Result<Fields<'_>, (Option<String>, String)> {
    let utf8 = std::str::from_utf8(text).map_err(|error| {
        (None, format!("not UTF-8 at byte {} of the line", error.valid_up_to() + 1))
    })?;
    // The parser would take an array of the values as well.
    if !utf8.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(utf8).is_ok() {
        return Err((None, "not an object with key and order".into()));
    }
    let fields: Fields<'_> =
        serde_json::from_str(utf8).map_err(|error| (key_of(utf8), explain(&error)))?;
    match fields.order.get() {
        "null" => Err((printable(&fields.key), "order is null".into())),
        _ => Ok(fields),
    }
}

impl Fields<'_> {
    fn submission(&self, client: &[u8], key: &[u8]) -> Submission {
        let mut submission =
            Submission::new(client, key, self.order.get()).schema(self.schema.unwrap_or(0));
        if let Some(account) = &self.account {
            submission = submission.account(account.as_bytes());
        }
        if let Some(external_ref) = &self.external_ref {
            submission = submission.external_ref(external_ref.as_bytes());
        }
        if let Some(kind) = &self.kind {
            submission = submission.kind(kind.as_bytes());
        }
        submission
    }
}

/// The key of a line that is JSON but not an order.
fn key_of(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Key<'a> {
        #[serde(borrow)]
        key: Cow<'a, str>,
    }
    serde_json::from_str::<Key<'_>>(text).ok().and_then(|found| printable(&found.key))
}

/// A key that is far too long is not repeated in the answer.
fn printable(key: &str) -> Option<String> {
    (key.len() <= KEY_BYTES_MAX).then(|| key.to_owned())
}

/// The parser's words. A line is one line, so only the column says something.
fn explain(error: &serde_json::Error) -> String {
    let (text, column) = (error.to_string(), error.column());
    let words = text.strip_suffix(&format!(" at line 1 column {column}")).unwrap_or(&text);
    match error.classify() {
        serde_json::error::Category::Data => format!("{words} (column {column})"),
        _ => format!("not JSON: {words} (column {column})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> Submission {
        match parse(b"web", text.as_bytes()) {
            (_, Said::Order(submission)) => *submission,
            (_, Said::Invalid(why)) => panic!("{why}"),
        }
    }

    fn why(text: &[u8]) -> (Option<String>, String) {
        match parse(b"web", text) {
            (key, Said::Invalid(why)) => (key, why),
            (_, Said::Order(submission)) => panic!("{submission:?}"),
        }
    }

    #[test]
    fn the_order_is_kept_as_its_very_bytes() {
        let text = r#"{"order": {"b" : 1.50,  "a":"\u00e9"} , "key":"k\u0031"}"#;
        assert_eq!(order(text).payload(), r#"{"b" : 1.50,  "a":"\u00e9"}"#.as_bytes());
        assert_eq!(order(text).key(), b"k1");
    }

    #[test]
    fn fields_that_are_null_are_not_there() {
        let bare = order(r#"{"key":"k","order":1}"#);
        let nulls =
            r#"{"key":"k","order":1,"account":null,"external_ref":null,"kind":null,"schema":null}"#;
        assert_eq!(order(nulls), bare);
        let full =
            r#"{"key":"k","order":1,"account":"A","external_ref":"R","kind":"K","schema":7}"#;
        assert_eq!(order(full), bare.account("A").external_ref("R").kind("K").schema(7));
    }

    #[test]
    fn what_is_not_an_order_is_named_with_its_key_when_it_has_one() {
        let key = || Some("k".to_owned());
        for (text, key, words) in [
            (&br#"{"key":"k","#[..], None, "not JSON: EOF while parsing"),
            (b"tea", None, "not JSON: "),
            (b"42", None, "not an object with key and order"),
            (br#"["k",1]"#, None, "not an object with key and order"),
            (br#"{"order":{}}"#, None, "missing field `key`"),
            (br#"{"key":"k"}"#, key(), "missing field `order`"),
            (br#"{"key":"k","order":null}"#, key(), "order is null"),
            (br#"{"key":"k","order":1,"acount":"A"}"#, key(), "unknown field `acount`"),
            (br#"{"key":"k","order":1,"order":2}"#, key(), "duplicate field `order`"),
            (br#"{"key":7,"order":1}"#, None, "invalid type: integer `7`"),
            (br#"{"key":"k","order":1,"schema":-1}"#, key(), "invalid value"),
            (b"{\"key\":\"\xff\",\"order\":1}", None, "not UTF-8 at byte 9"),
            (br#"{"key":"k","order":1} x"#, None, "not JSON: trailing characters"),
        ] {
            let (found, why) = why(text);
            assert!(why.contains(words), "{why}");
            assert!(!why.contains("line 1"), "{why}");
            assert_eq!(found, key, "{why}");
        }
    }
}
