//! What a line of the input says: an order, or why it is none.

use std::borrow::Cow;

use order_ledger::limits::KEY_BYTES_MAX;
use order_ledger::{OrderId, Submission};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{self, Seconds};

/// What was heard of a line.
pub(crate) struct Heard {
    /// The key, when it can be told and is not too long to be one.
    pub(crate) key: Option<String>,
    pub(crate) said: Said,
}

pub(crate) enum Said {
    Order(Box<Submission>),
    /// Not an order, and why.
    Invalid(String),
}

/// What a line says, if it is not too long to be looked at.
pub(crate) fn hear(client: &[u8], line: Result<&[u8], String>) -> Heard {
    let (key, said) = match line {
        Ok(text) => parse(client, text),
        Err(why) => (None, Said::Invalid(why)),
    };
    Heard { key, said }
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
    #[serde(default)]
    expires_in: Option<Seconds>,
    #[serde(default)]
    warn_after: Option<Seconds>,
    #[serde(default)]
    critical_after: Option<Seconds>,
    /// The id of the order that this one corrects.
    #[serde(default)]
    corrects: Option<u64>,
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
    let utf8 = json::utf8(text).map_err(|why| (None, why))?;
    let fields: Fields<'_> =
        json::object(utf8, "key and order").map_err(|why| (key_of(utf8), why))?;
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
        if let Some(Seconds(duration)) = self.expires_in {
            submission = submission.expires_in(duration);
        }
        if let Some(Seconds(duration)) = self.warn_after {
            submission = submission.warn_after(duration);
        }
        if let Some(Seconds(duration)) = self.critical_after {
            submission = submission.critical_after(duration);
        }
        if let Some(corrects) = self.corrects {
            submission = submission.corrects(OrderId::from_u64(corrects));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
        let nulls = r#"{"key":"k","order":1,"account":null,"external_ref":null,"kind":null,"schema":null,"expires_in":null,"warn_after":null,"critical_after":null}"#;
        assert_eq!(order(nulls), bare);
        let full = r#"{"key":"k","order":1,"account":"A","external_ref":"R","kind":"K","schema":7,"expires_in":1.5,"warn_after":0.25,"critical_after":60,"corrects":3}"#;
        let full_order = bare.account("A").external_ref("R").kind("K").schema(7);
        let full_order = full_order.expires_in(Duration::from_millis(1_500));
        let full_order = full_order.warn_after(Duration::from_millis(250));
        let full_order = full_order.critical_after(Duration::from_secs(60));
        assert_eq!(order(full), full_order.corrects(OrderId::from_u64(3)));
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
            (br#"{"key":"k","order":1,"expires_in":-1}"#, key(), "negative"),
            (br#"{"key":"k","order":1,"expires_in":"1h"}"#, key(), "invalid type"),
            (br#"{"key":"k","order":1,"warn_after":-1}"#, key(), "negative"),
            (br#"{"key":"k","order":1,"critical_after":true}"#, key(), "invalid type"),
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
