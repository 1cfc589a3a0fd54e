//! What a line of the input says: a note about an order, what resolves one, or why it is neither.

use std::borrow::Cow;

use order_ledger::{Note, NoteKind, OrderId, Resolution, Seq};
use serde::Deserialize;
use serde_json::Value;

use crate::json;
use crate::transition::input::{printable, told};

/// What was heard of a line.
pub(crate) struct Asked {
    /// The order, when it can be told.
    pub(crate) order: Option<OrderId>,
    /// The command key, when there is one that is not too long.
    pub(crate) command_key: Option<Vec<u8>>,
    /// The note that is to be resolved.
    pub(crate) resolves: Option<Seq>,
    /// Or why it asks for nothing.
    pub(crate) ask: Result<Ask, String>,
}

pub(crate) enum Ask {
    Note(Note),
    Resolution(Resolution),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    order_id: u64,
    text: Value,
    #[serde(borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    open: Option<bool>,
    #[serde(default)]
    resolve: Option<u64>,
    #[serde(default)]
    author: Option<Value>,
    #[serde(borrow, default)]
    command_key: Option<Cow<'a, str>>,
}

/// What a line says, if it is not too long to be looked at.
pub(crate) fn hear(line: Result<&[u8], String>) -> Asked {
    let invalid = |why| Asked { order: None, command_key: None, resolves: None, ask: Err(why) };
    let text = match line.and_then(json::utf8) {
        Ok(text) => text,
        Err(why) => return invalid(why),
    };
    match json::object::<Fields<'_>>(text, "order_id and text") {
        Ok(fields) => Asked {
            order: Some(OrderId::from_u64(fields.order_id)),
            command_key: fields.command_key.as_deref().and_then(printable),
            resolves: fields.resolve.map(Seq),
            ask: fields.ask(),
        },
        Err(why) => {
            let (order, command_key) = told(text);
            Asked { order, command_key, ..invalid(why) }
        }
    }
}

impl Fields<'_> {
    fn ask(&self) -> Result<Ask, String> {
        let bytes = |name: &str, value: &Value| {
            json::bytes(value)
                .ok_or_else(|| format!("{name} is neither text nor {{\"hex\": \"...\"}}"))
        };
        let order = OrderId::from_u64(self.order_id);
        let text = bytes("text", &self.text)?;
        let author = self
            .author
            .as_ref()
            .map(|value| bytes("author", value))
            .transpose()?
            .unwrap_or_default();
        let key = match self.command_key.as_deref() {
            Some("") => {
                return Err("command_key is empty: leave it out, or give the command a name".into());
            }
            key => key.unwrap_or_default(),
        };
        if let Some(note) = self.resolve {
            if self.kind.is_some() || self.open.is_some() {
                return Err("what resolves a note has no kind, and is not open itself".into());
            }
            let resolution = Resolution::new(order, Seq(note), text);
            return Ok(Ask::Resolution(resolution.author(author).command_key(key)));
        }
        let kind = match self.kind.as_deref() {
            Some(kind) => kind.parse().map_err(|error| format!("{kind:?} is {error}"))?,
            None => NoteKind::Note,
        };
        if kind == NoteKind::Dispute && self.open == Some(false) {
            return Err("a dispute is always open: resolve it when it is settled".into());
        }
        let note = Note::new(order, kind, text).author(author).command_key(key);
        Ok(Ask::Note(if self.open == Some(true) { note.open() } else { note }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(text: &str) -> Note {
        match hear(Ok(text.as_bytes())).ask {
            Ok(Ask::Note(note)) => note,
            Ok(Ask::Resolution(other)) => panic!("{other:?}"),
            Err(why) => panic!("{why}"),
        }
    }

    #[test]
    fn every_field_arrives_and_null_is_not_there() {
        let order = OrderId::from_u64(17);
        let bare = Note::new(order, NoteKind::Note, "tea");
        assert_eq!(note(r#"{"order_id":17,"text":"tea"}"#), bare);
        let nulls = r#"{"order_id":17,"text":"tea","kind":null,"open":null,"resolve":null,
            "author":null,"command_key":null}"#;
        assert_eq!(note(nulls), bare);
        let full = r#"{"order_id":17,"text":{"hex":"00ff"},"kind":"feedback","open":true,
            "author":"N. D.","command_key":"k"}"#;
        let expected = Note::new(order, NoteKind::Feedback, [0, 255]).open();
        assert_eq!(note(full), expected.author("N. D.").command_key("k"));
        let resolves =
            r#"{"order_id":17,"resolve":42,"text":"done","author":"A","command_key":"k"}"#;
        match hear(Ok(resolves.as_bytes())) {
            Asked { ask: Ok(Ask::Resolution(found)), resolves: Some(Seq(42)), .. } => {
                let expected = Resolution::new(order, Seq(42), "done").author("A").command_key("k");
                assert_eq!(found, expected);
            }
            _ => panic!("{resolves}"),
        }
    }

    #[test]
    fn what_is_no_note_is_named_with_its_order_when_it_has_one() {
        for (text, order, words) in [
            ("[17]", None, "not an object with order_id and text"),
            (r#"{"order_id":17}"#, Some(17), "missing field `text`"),
            (r#"{"order_id":17,"text":7}"#, Some(17), "text is neither text nor"),
            (r#"{"order_id":17,"text":"t","author":{"hex":"0"}}"#, Some(17), "author is neither"),
            (r#"{"order_id":17,"text":"t","kind":"rant"}"#, Some(17), "not a kind of note"),
            (r#"{"order_id":17,"text":"t","txet":"t"}"#, Some(17), "unknown field `txet`"),
            (r#"{"order_id":17,"text":"t","command_key":""}"#, Some(17), "command_key is empty"),
            (r#"{"order_id":17,"text":"t","resolve":4,"kind":"note"}"#, Some(17), "has no kind"),
            (
                r#"{"order_id":17,"text":"t","kind":"dispute","open":false}"#,
                Some(17),
                "always open",
            ),
        ] {
            let Asked { order: found, ask: Err(why), .. } = hear(Ok(text.as_bytes())) else {
                panic!("{text}")
            };
            assert_eq!(found, order.map(OrderId::from_u64), "{text}");
            assert!(why.contains(words), "{text}: {why}");
        }
    }
}
