//! `reconcile`: what we hold against what a provider says it did.
//!
//! - [`list`]: their list, CSV or JSON lines

mod list;

use std::collections::BTreeMap;
use std::time::Duration;

use order_ledger::{Compared, ComparedItem, DispatchEntry, Ledger, Reconciliation, TheirItem};
use serde_json::{Value, json};

use crate::args::Reconcile;
use crate::errors::{Exit, Failure};
use crate::history::said;
use crate::opening;
use crate::output::{Out, shown, table};

/// What is compared: a field of what was told, and a column of theirs.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) field: String,
    pub(crate) column: String,
}

/// Every outcome, in the order of the summary.
const ALL: [Compared; 6] = [
    Compared::Matched,
    Compared::Differs,
    Compared::OnlyOurs,
    Compared::OnlyTheirs,
    Compared::ResolvedUnknown,
    Compared::StillUnknown,
];

pub(crate) fn run(args: &Reconcile, out: &mut Out) -> Result<Exit, Failure> {
    let pairs = args.compare.iter().map(|pair| match pair.split_once('=') {
        Some((field, column)) => Pair { field: field.to_owned(), column: column.to_owned() },
        None => Pair { field: pair.clone(), column: pair.clone() },
    });
    let pairs: Vec<Pair> = pairs.collect();
    // All of the list before the ledger: what can't be read changes nothing.
    let theirs = list::read(args, &pairs)?;
    let settings = opening::settings(&args.opening)?;
    // A mistyped path must not make a ledger.
    drop(settings.look(&args.dir.path)?);
    let ledger = settings.options().open(&args.dir.path)?;
    let done = compare(&ledger, args, &theirs, pairs).and_then(|compared| {
        answer(&compared, out)?;
        Ok(if compared.is_clean() { Exit::Done } else { Exit::No })
    });
    // Also when it failed, or the output is gone.
    let closed = ledger.close();
    let exit = done?;
    closed?;
    Ok(exit)
}

fn compare(
    ledger: &Ledger,
    args: &Reconcile,
    theirs: &[TheirItem],
    pairs: Vec<Pair>,
) -> Result<Reconciliation, Failure> {
    let (since, until) = args.period.ends();
    let days = Duration::from_secs(u64::from(args.around_days) * 24 * 60 * 60);
    let mut period =
        order_ledger::Reconcile::new(args.route.as_str(), args.provider.as_str(), since, until)
            .around(days)
            .our_fields(move |entry| fields_of(entry, &pairs));
    if args.complete {
        period = period.list_is_complete();
    }
    Ok(ledger.reconcile(&period, theirs)?)
}

/// What was told, by the names that are compared; what is no JSON object has none.
fn fields_of(entry: &DispatchEntry, pairs: &[Pair]) -> BTreeMap<String, String> {
    let Ok(Value::Object(body)) = serde_json::from_slice(&entry.body) else {
        return BTreeMap::new();
    };
    let of = |pair: &Pair| Some((pair.field.clone(), plain(body.get(&pair.field)?)));
    pairs.iter().filter_map(of).collect()
}

/// A value as it is compared.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => number(text),
        other => number(&other.to_string()),
    }
}

/// Numbers that are the same are written the same: 8.4 and 008.40. Other text stays as it is.
pub(crate) fn number(text: &str) -> String {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) {
        return text.to_owned();
    }
    let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if whole == "0" && part.is_empty() { "" } else { sign };
    match part {
        "" => format!("{sign}{whole}"),
        part => format!("{sign}{whole}.{part}"),
    }
}

fn answer(compared: &Reconciliation, out: &mut Out) -> Result<(), Failure> {
    if out.json {
        for item in &compared.items {
            out.json_line(&line(item))?;
        }
        let counts = ALL.iter().map(|it| (it.name().to_owned(), compared.count(*it).into()));
        let counts: serde_json::Map<_, _> = counts.collect();
        out.json_line(&json!({"summary": counts, "clean": compared.is_clean()}))?;
        return out.flush();
    }
    let mut rows = table(&["compared", "line", "dispatch", "order", "token", "reference", "what"]);
    // What needs nobody's eyes is only counted.
    let matched = |item: &&ComparedItem| item.compared != Compared::Matched;
    for item in compared.items.iter().filter(matched) {
        let text = |number: Option<String>| number.unwrap_or_default();
        let differs = item.differs.iter().map(|it| {
            let (ours, theirs) = (shown(it.ours.as_bytes()), shown(it.theirs.as_bytes()));
            format!("{}: ours {ours}, theirs {theirs}", it.field)
        });
        rows.add_row([
            item.compared.name().to_owned(),
            text(item.theirs.map(|index| (index + 1).to_string())),
            text(item.dispatch.map(|dispatch| dispatch.to_string())),
            text(item.order.map(|order| order.to_string())),
            shown(item.token.as_bytes()),
            shown(&item.reference),
            differs.collect::<Vec<_>>().join("; "),
        ]);
    }
    if !rows.is_empty() {
        out.line(rows)?;
    }
    let counts = ALL.iter().map(|it| format!("{} {}", compared.count(*it), it.name()));
    out.line(counts.collect::<Vec<_>>().join(", "))?;
    out.flush()
}

/// An item as JSON. `line` counts the items of their list, from 1.
fn line(item: &ComparedItem) -> Value {
    let differs = item
        .differs
        .iter()
        .map(|it| json!({"field": it.field, "ours": it.ours, "theirs": it.theirs}));
    json!({
        "compared": item.compared.name(),
        "line": item.theirs.map(|index| index + 1),
        "dispatch": item.dispatch.map(|dispatch| dispatch.0),
        "order_id": item.order.map(|order| order.as_u64()),
        "token": item.token,
        "reference": said(&item.reference),
        "differs": differs.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_that_are_the_same_are_written_the_same() {
        for (one, other) in [
            ("8.40", "8.4"),
            ("008.4", "8.4"),
            ("+8", "8.0"),
            ("-0.0", "0"),
            ("12345678901234567890.10", "12345678901234567890.1"),
        ] {
            assert_eq!(number(one), number(other));
        }
        for text in ["8,40", "", ".", "1.2.3", "EUR", "-", "1e3", "8.4O"] {
            assert_eq!(number(text), text);
        }
        assert_ne!(number("-8.4"), number("8.4"));
        assert_ne!(number("80"), number("8"));
    }
}
