//! What a line of the input says: a step that an order is to take, or why it is none.

use std::borrow::Cow;
use std::fmt;

use order_ledger::limits::COMMAND_KEY_BYTES_MAX;
use order_ledger::{Lifecycle, OrderId, Transition};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::told::{self, Told, ToldField};
use crate::{json, names};

/// What was heard of a line.
pub(crate) struct Asked {
    /// The order, when it can be told.
    pub(crate) order: Option<OrderId>,
    /// The command key, when there is one that is not too long.
    pub(crate) command_key: Option<Vec<u8>>,
    pub(crate) said: Said,
}

pub(crate) enum Said {
    /// A step, and what third parties are to be told with it.
    Step(Box<Transition>, Vec<Told>),
    /// Not a step, and why.
    Invalid(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    order_id: u64,
    #[serde(borrow)]
    to: Cow<'a, str>,
    #[serde(borrow, default)]
    command_key: Option<Cow<'a, str>>,
    #[serde(default)]
    expect_version: Option<u64>,
    #[serde(borrow, default)]
    expect_state: Option<Cow<'a, str>>,
    #[serde(default)]
    evidence: Option<Pieces>,
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    dispatches: Option<Vec<ToldField<'a>>>,
}

/// The evidence as it stands in the line, a name that is there twice included.
struct Pieces(Vec<(String, Value)>);

/// What a line says, if it is not too long to be looked at. The lifecycle knows the names of the states.
pub(crate) fn hear(lifecycle: &Lifecycle, line: Result<&[u8], String>) -> Asked {
    let invalid = |why| Asked { order: None, command_key: None, said: Said::Invalid(why) };
    let text = match line.and_then(json::utf8) {
        Ok(text) => text,
        Err(why) => return invalid(why),
    };
    match json::object::<Fields<'_>>(text, "order_id and to") {
        Ok(fields) => Asked {
            order: Some(OrderId::from_u64(fields.order_id)),
            command_key: fields.command_key.as_deref().and_then(printable),
            said: match fields.step(lifecycle).and_then(|step| Ok((step, fields.told()?))) {
                Ok((step, told)) => Said::Step(Box::new(step), told),
                Err(why) => Said::Invalid(why),
            },
        },
        Err(why) => {
            let (order, command_key) = told(text);
            Asked { order, command_key, ..invalid(why) }
        }
    }
}

impl Fields<'_> {
    /// What third parties are to be told. Without the name of the command, a repeat would tell it twice.
    fn told(&self) -> Result<Vec<Told>, String> {
        let told = told::read(self.dispatches.as_deref())?;
        match self.command_key {
            None if !told.is_empty() => Err("dispatches need a command_key".into()),
            _ => Ok(told),
        }
    }

    fn step(&self, lifecycle: &Lifecycle) -> Result<Transition, String> {
        let to = names::state(lifecycle, &self.to)?;
        let mut step = Transition::new(OrderId::from_u64(self.order_id), to);
        match self.command_key.as_deref() {
            Some("") => {
                return Err("command_key is empty: leave it out, or give the command a name".into());
            }
            Some(key) => step = step.command_key(key),
            None => {}
        }
        step = match (self.expect_version, self.expect_state.as_deref()) {
            (Some(_), Some(_)) => {
                let why = "expect_version and expect_state are both there: a version has one state";
                return Err(why.into());
            }
            (Some(version), None) => step.expect_version(version),
            (None, Some(state)) => step.expect_state(names::state(lifecycle, state)?),
            (None, None) => step,
        };
        for (name, value) in self.evidence.iter().flat_map(|pieces| &pieces.0) {
            let value = json::bytes(value).ok_or_else(|| {
                format!("the evidence {name} is neither text nor {{\"hex\": \"...\"}}")
            })?;
            step = step.evidence(name.as_str(), value);
        }
        Ok(match &self.reason {
            Some(reason) => step.reason(reason.as_ref()),
            None => step,
        })
    }
}

/// The order and the command key of a line that is JSON but not a command.
pub(crate) fn told(text: &str) -> (Option<OrderId>, Option<Vec<u8>>) {
    let Ok(Value::Object(fields)) = serde_json::from_str(text) else { return (None, None) };
    let order = fields.get("order_id").and_then(Value::as_u64).map(OrderId::from_u64);
    (order, fields.get("command_key").and_then(Value::as_str).and_then(printable))
}

/// A key that is far too long is not repeated in the answer.
pub(crate) fn printable(key: &str) -> Option<Vec<u8>> {
    (!key.is_empty() && key.len() <= COMMAND_KEY_BYTES_MAX).then(|| key.into())
}

impl<'de> Deserialize<'de> for Pieces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pieces, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Pieces;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of names and what they say")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pieces, A::Error> {
                let mut pieces = Vec::new();
                while let Some(piece) = map.next_entry()? {
                    pieces.push(piece);
                }
                Ok(Pieces(pieces))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use order_ledger::State;

    use super::*;

    fn heard(text: &str) -> Asked {
        hear(&Lifecycle::default(), Ok(text.as_bytes()))
    }

    fn step(text: &str) -> Transition {
        match heard(text).said {
            Said::Step(step, _) => *step,
            Said::Invalid(why) => panic!("{why}"),
        }
    }

    #[test]
    fn every_field_arrives_and_null_is_not_there() {
        let bare = Transition::new(OrderId::from_u64(17), State::Completed);
        assert_eq!(step(r#"{"order_id":17,"to":"completed"}"#), bare);
        let nulls = r#"{"order_id":17,"to":"completed","command_key":null,"expect_version":null,
            "expect_state":null,"evidence":null,"reason":null}"#;
        assert_eq!(step(nulls), bare);
        let full = r#"{"order_id":17,"to":"completed","command_key":"k","expect_version":3,
            "evidence":{"a":"text \u00e9","b":{"hex":"00fF"}},"reason":"r"}"#;
        let expected = bare.clone().command_key("k").expect_version(3).reason("r");
        assert_eq!(step(full), expected.evidence("a", "text \u{e9}").evidence("b", [0, 255]));
        let state = r#"{"order_id":17,"to":"completed","expect_state":"accepted"}"#;
        assert_eq!(step(state), bare.expect_state(State::Accepted));
        assert_eq!(
            step(r#"{"order_id":1,"to":"own_120"}"#),
            Transition::new(OrderId::from_u64(1), State::own(120).unwrap())
        );
    }

    #[test]
    fn what_is_not_a_step_is_named_with_its_order_when_it_has_one() {
        for (text, order, words) in [
            (r#"{"order_id":17,"#, None, "not JSON: EOF while parsing"),
            ("[17]", None, "not an object with order_id and to"),
            (r#"{"to":"completed"}"#, None, "missing field `order_id`"),
            (r#"{"order_id":17}"#, Some(17), "missing field `to`"),
            (r#"{"order_id":-1,"to":"completed"}"#, None, "invalid value"),
            (r#"{"order_id":17,"to":"completed","expect":1}"#, Some(17), "unknown field `expect`"),
            (r#"{"order_id":17,"to":"gone"}"#, Some(17), "there is no state \"gone\""),
            (r#"{"order_id":17,"to":"failed","command_key":""}"#, Some(17), "is empty"),
            (
                r#"{"order_id":17,"to":"failed","expect_version":1,"expect_state":"accepted"}"#,
                Some(17),
                "are both there",
            ),
            (
                r#"{"order_id":17,"to":"failed","dispatches":[{"route":"r","body":1}]}"#,
                Some(17),
                "need a command_key",
            ),
            (
                r#"{"order_id":17,"to":"failed","command_key":"k","dispatches":[{"route":"r"}]}"#,
                Some(17),
                "missing field `body`",
            ),
            (r#"{"order_id":17,"to":"failed","evidence":["a"]}"#, Some(17), "invalid type"),
            (r#"{"order_id":17,"to":"failed","evidence":{"a":1}}"#, Some(17), "neither text nor"),
            (
                r#"{"order_id":17,"to":"failed","evidence":{"a":{"hex":"0"}}}"#,
                Some(17),
                "neither text nor",
            ),
        ] {
            let asked = heard(text);
            let Said::Invalid(why) = asked.said else { panic!("{text}") };
            assert!(why.contains(words), "{why}");
            assert_eq!(asked.order.map(OrderId::as_u64), order, "{text}");
        }
    }

    #[test]
    fn evidence_that_is_there_twice_reaches_the_ledger_which_refuses_it() {
        let twice = step(r#"{"order_id":1,"to":"failed","evidence":{"a":"1","a":"2"}}"#);
        let expected = Transition::new(OrderId::from_u64(1), State::Failed);
        assert_eq!(twice, expected.evidence("a", "1").evidence("a", "2"));
    }
}
