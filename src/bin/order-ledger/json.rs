//! JSON that others wrote: an object of known fields from a line or a file, or what is wrong with it in words.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;
use serde_json::value::RawValue;

/// A duration as a number of seconds, whole ones as a whole number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seconds(pub(crate) Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.subsec_nanos() {
            0 => serializer.serialize_u64(self.0.as_secs()),
            _ => serializer.serialize_f64(self.0.as_secs_f64()),
        }
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seconds, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds).map(Seconds).map_err(D::Error::custom)
    }
}

/// The text of a line.
pub(crate) fn utf8(line: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(line)
        .map_err(|error| format!("not UTF-8 at byte {} of the line", error.valid_up_to() + 1))
}

/// The object that a line is; `fields` says what should be in it.
pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a str, fields: &str) -> Result<T, String> {
    // The parser would take an array of the values as well.
    if !text.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok() {
        return Err(format!("not an object with {fields}"));
    }
    serde_json::from_str(text).map_err(|error| explain(&error))
}

/// What a value says: text, or an object with bytes as hex digits.
pub(crate) fn bytes(value: &Value) -> Option<Vec<u8>> {
    if let Some(text) = value.as_str() {
        return Some(text.into());
    }
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    let digits = fields.get("hex")?.as_str()?.as_bytes();
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    });
    pairs.collect()
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
