//! How answers are written: JSON for programs, tables and text for people; one buffered, locked handle.
//!
//! Always true: bytes that a caller chose reach a terminal only with their control characters made
//! visible; what is not UTF-8 is never guessed at but shown as hex digits.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};

use clap::builder::styling::{AnsiColor, Style};
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table, TableComponent};
use order_ledger::{Lifecycle, Order, Receipt, Timestamp};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::errors::Failure;
use crate::json::Seconds;
use crate::names::name_of;

pub(crate) const RED: Style = AnsiColor::Red.on_default().bold();
pub(crate) const GREEN: Style = AnsiColor::Green.on_default().bold();
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default().bold();

/// Columns below which a table is not folded to fit.
const WIDTH_MIN: u16 = 60;

/// Where answers go.
pub(crate) struct Out {
    pub(crate) json: bool,
    writer: BufWriter<Box<dyn Write>>,
}

impl Out {
    pub(crate) fn new(json: bool) -> Out {
        // JSON passes as it is; text loses its colours where nobody sees them.
        let writer: Box<dyn Write> = match json {
            true => Box::new(io::stdout().lock()),
            false => Box::new(anstream::stdout().lock()),
        };
        Out::to(json, writer)
    }

    /// Writes somewhere else than to standard output.
    pub(crate) fn to(json: bool, writer: Box<dyn Write>) -> Out {
        Out { json, writer: BufWriter::with_capacity(64 * 1024, writer) }
    }

    /// Writes one JSON value as a line.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.writer, value)?;
        Ok(self.writer.write_all(b"\n")?)
    }

    /// Writes a line of text.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        Ok(writeln!(self.writer, "{text}")?)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.writer.write_all(bytes)?)
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.writer.flush()?)
    }
}

/// A table with a row of names on top.
pub(crate) fn table(names: &[&str]) -> Table {
    let mut table = bare_table();
    table.set_header(names);
    table
}

/// A table of names and values.
pub(crate) fn facts<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> Table {
    let mut table = bare_table();
    for (name, value) in rows {
        table.add_row([name, &value]);
    }
    table
}

fn bare_table() -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    // A terminal that does not know its width, or is a slit: long lines are better than letters in a
    // column.
    if table.width().is_some_and(|columns| columns < WIDTH_MIN) {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    // No rules between the rows.
    for part in [
        TableComponent::HorizontalLines,
        TableComponent::MiddleIntersections,
        TableComponent::LeftBorderIntersections,
        TableComponent::RightBorderIntersections,
    ] {
        table.remove_style(part);
    }
    table
}

/// A time as RFC 3339 in UTC, always with nine digits: it sorts as text.
pub(crate) fn time(at: Timestamp) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(at.as_unix_ns())) {
        Ok(instant) => format!("{instant:.9}"),
        // No clock gets there: jiff ends in the year 9999, and 64 bits in 2554.
        Err(_) => format!("{} ns", at.as_unix_ns()),
    }
}

/// Bytes for people: text with control characters made visible, or hex digits.
pub(crate) fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text
            .chars()
            .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
            .collect(),
        Err(_) => format!("0x{}", hex(bytes)),
    }
}

/// Bytes as hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits =
        |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from_digit(u32::from(digit), 16));
    bytes.iter().flat_map(digits).flatten().collect()
}

/// How much of an order is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Detail {
    /// What a list shows: everything but the content.
    Line,
    /// What a dump shows: everything that was submitted, and where it stands.
    Dump,
    /// Everything, the parts of the receipt included.
    Full,
}

/// An order as JSON.
pub(crate) struct OrderView<'a> {
    pub(crate) order: &'a Order,
    /// Knows the names of the states.
    pub(crate) lifecycle: &'a Lifecycle,
    pub(crate) detail: Detail,
}

impl Serialize for OrderView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let OrderView { order, lifecycle, detail } = *self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("order_id", &order.id().as_u64())?;
        bytes_entry(&mut map, "client", &order.client)?;
        bytes_entry(&mut map, "key", &order.key)?;
        bytes_entry(&mut map, "account", &order.account)?;
        if !order.external_ref.is_empty() {
            bytes_entry(&mut map, "external_ref", &order.external_ref)?;
        }
        if !order.kind.is_empty() {
            bytes_entry(&mut map, "kind", &order.kind)?;
        }
        if order.schema != 0 {
            map.serialize_entry("schema", &order.schema)?;
        }
        if let Some(corrects) = order.corrects {
            map.serialize_entry("corrects", &corrects.as_u64())?;
        }
        if let Some(batch) = order.batch {
            map.serialize_entry("batch", &batch.0)?;
        }
        map.serialize_entry("state", &name_of(lifecycle, order.now.state))?;
        map.serialize_entry("version", &order.now.version)?;
        map.serialize_entry("accepted_at", &time(order.receipt.accepted_at))?;
        if let Some(instant) = order.expires_at {
            map.serialize_entry("expires_at", &time(instant))?;
        }
        for (name, after) in
            [("warn_after", order.warn_after), ("critical_after", order.critical_after)]
        {
            if let Some(after) = after {
                map.serialize_entry(name, &Seconds(after))?;
            }
        }
        if let Some(refusal) = &order.refusal {
            let refusal = serde_json::json!({"code": refusal.code, "reason": refusal.reason});
            map.serialize_entry("refusal", &refusal)?;
        }
        if detail == Detail::Full {
            map.serialize_entry("first_state", &name_of(lifecycle, order.receipt.first_state))?;
            map.serialize_entry("fingerprint", &order.receipt.fingerprint.to_string())?;
            map.serialize_entry("ledger", &order.receipt.ledger.to_string())?;
            map.serialize_entry("durability", &order.receipt.durability.to_string())?;
        }
        map.serialize_entry("receipt", &order.receipt.to_string())?;
        if detail != Detail::Line {
            payload_entry(&mut map, &order.payload)?;
        }
        map.end()
    }
}

/// Text as it is; other bytes as hex digits, under the name with `_hex` behind it.
fn bytes_entry<M: SerializeMap>(map: &mut M, name: &str, bytes: &[u8]) -> Result<(), M::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => map.serialize_entry(name, text),
        Err(_) => map.serialize_entry(&format!("{name}_hex"), &hex(bytes)),
    }
}

/// JSON as it is, on one line; other bytes as hex digits.
fn payload_entry<M: SerializeMap>(map: &mut M, payload: &[u8]) -> Result<(), M::Error> {
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if !payload.iter().any(is_break) {
        if let Ok(json) = serde_json::from_slice::<&RawValue>(payload) {
            return map.serialize_entry("order", json);
        }
    } else if serde_json::from_slice::<&RawValue>(payload).is_ok() {
        // A line break in valid JSON stands between its parts, never inside a string.
        let one_line: Vec<u8> =
            payload.iter().map(|byte| if is_break(byte) { b' ' } else { *byte }).collect();
        if let Ok(json) = serde_json::from_slice::<&RawValue>(&one_line) {
            return map.serialize_entry("order", json);
        }
    }
    map.serialize_entry("order_hex", &hex(payload))
}

/// An order as a table for people.
pub(crate) fn order_table(order: &Order, lifecycle: &Lifecycle) -> Table {
    let state = name_of(lifecycle, order.now.state);
    let mut rows = vec![
        ("order", order.id().to_string()),
        ("state", format!("{state} (version {})", order.now.version)),
        ("client", shown(&order.client)),
        ("key", shown(&order.key)),
        ("account", shown(&order.account)),
    ];
    let optional = [("external ref", &order.external_ref), ("kind", &order.kind)]
        .map(|(name, bytes)| (!bytes.is_empty()).then(|| (name, shown(bytes))));
    rows.extend(optional.into_iter().flatten());
    if order.schema != 0 {
        rows.push(("schema", order.schema.to_string()));
    }
    let corrects = order.corrects.map(|old| ("corrects", format!("order {old}")));
    let batch = order.batch.map(|seq| ("batch", format!("seq {seq}")));
    rows.extend(corrects.into_iter().chain(batch));
    if let Some(refusal) = &order.refusal {
        rows.push((
            "refusal",
            format!("{} (code {})", shown(refusal.reason.as_bytes()), refusal.code),
        ));
    }
    let Receipt { accepted_at, fingerprint, ledger, durability, .. } = order.receipt;
    rows.push(("accepted at", time(accepted_at)));
    rows.extend(order.expires_at.map(|instant| ("expires at", time(instant))));
    rows.extend(own_thresholds(order));
    rows.extend([
        ("fingerprint", fingerprint.to_string()),
        ("ledger", format!("{ledger} ({durability})")),
        ("receipt", order.receipt.to_string()),
        ("content", content(&order.payload)),
    ]);
    facts(rows)
}

/// After how long in a state an order is stuck, where it says so itself, for people.
pub(crate) fn own_thresholds(order: &Order) -> impl Iterator<Item = (&'static str, String)> {
    let both = [("warn after", order.warn_after), ("critical after", order.critical_after)];
    both.into_iter().filter_map(|(name, after)| Some((name, format!("{} s", after?.as_secs_f64()))))
}

/// The content for people: JSON laid out, text, or how many bytes.
pub(crate) fn content(payload: &[u8]) -> String {
    const SHOWN_BYTES: usize = 16 * 1024;
    if payload.len() > SHOWN_BYTES {
        return format!("{} bytes; see --json", payload.len());
    }
    let json = serde_json::from_slice::<serde_json::Value>(payload).ok();
    match (json, std::str::from_utf8(payload)) {
        (Some(json), _) => format!("{json:#}"),
        (None, Ok(_)) => shown(payload),
        (None, Err(_)) => format!("0x{}", hex(payload)),
    }
}
