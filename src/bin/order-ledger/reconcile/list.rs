//! Their list, as it came: CSV with a line of names on top, or JSON lines.
//!
//! Always true: it is read as a whole before anything is done, and a line that can't be read is named.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use order_ledger::TheirItem;
use serde_json::{Map, Value};

use super::{Pair, number, plain};
use crate::args::{Format, Reconcile};
use crate::errors::Failure;

/// Largest list that is read: it is in memory as a whole.
const LIST_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Reads the list.
pub(crate) fn read(args: &Reconcile, pairs: &[Pair]) -> Result<Vec<TheirItem>, Failure> {
    let doing = || format!("reading {}", args.from.display());
    let mut content = Vec::new();
    let read = match args.from == Path::new("-") {
        true => io::stdin().lock().take(LIST_BYTES_MAX + 1).read_to_end(&mut content),
        false => File::open(&args.from)
            .and_then(|file| file.take(LIST_BYTES_MAX + 1).read_to_end(&mut content)),
    };
    read.map_err(|error| Failure::io(doing(), error))?;
    if content.len() as u64 > LIST_BYTES_MAX {
        return Err(wrong(format!("it has more than {LIST_BYTES_MAX} bytes")));
    }
    let is_csv = args.from.extension().is_some_and(|it| it.eq_ignore_ascii_case("csv"));
    match args.format {
        Some(Format::Csv) => csv(&content, args, pairs),
        None if is_csv => csv(&content, args, pairs),
        _ => lines(&content, args, pairs),
    }
}

fn wrong(what: String) -> Failure {
    let advice = "see --token, --reference, --compare and --format; nothing was changed".to_owned();
    Failure::Usage { what: format!("the list: {what}"), advice }
}

fn csv(content: &[u8], args: &Reconcile, pairs: &[Pair]) -> Result<Vec<TheirItem>, Failure> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(content);
    let names = reader.headers().map_err(|error| wrong(error.to_string()))?.clone();
    let place = |column: &str| names.iter().position(|name| name == column);
    let must = |column: &str| {
        let there = || names.iter().collect::<Vec<_>>().join(", ");
        place(column)
            .ok_or_else(|| wrong(format!("there is no column {column}; it has: {}", there())))
    };
    let (token, reference) = (place(&args.token), place(&args.reference));
    if token.is_none() && reference.is_none() {
        must(&args.token)?;
    }
    let columns: Vec<_> = pairs.iter().map(|pair| must(&pair.column)).collect::<Result<_, _>>()?;
    let mut items = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| wrong(error.to_string()))?;
        let at = |place: Option<usize>| place.and_then(|place| row.get(place)).unwrap_or_default();
        let field =
            |(pair, column): (&Pair, &usize)| (pair.field.clone(), number(at(Some(*column))));
        items.push(TheirItem {
            token: at(token).to_owned(),
            reference: at(reference).into(),
            fields: pairs.iter().zip(&columns).map(field).collect(),
        });
    }
    Ok(items)
}

fn lines(content: &[u8], args: &Reconcile, pairs: &[Pair]) -> Result<Vec<TheirItem>, Failure> {
    let mut items = Vec::new();
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let line: Map<String, Value> = serde_json::from_slice(line)
            .map_err(|error| wrong(format!("line {}: {error}", index + 1)))?;
        let text = |name: &str| match line.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let (token, reference) = (text(&args.token), text(&args.reference).into_bytes());
        if token.is_empty() && reference.is_empty() {
            let (one, other) = (&args.token, &args.reference);
            return Err(wrong(format!("line {} has neither {one} nor {other}", index + 1)));
        }
        let of = |pair: &Pair| Some((pair.field.clone(), plain(line.get(&pair.column)?)));
        items.push(TheirItem { token, reference, fields: pairs.iter().filter_map(of).collect() });
    }
    Ok(items)
}
