//! Orders as values of a Rust type: `cargo run --example typed`

use std::collections::BTreeMap;

use order_ledger::{ErrorKind, Ledger, Orders};
use serde::{Deserialize, Serialize};

/// Integers for money, a `BTreeMap` for what has no order: an honest retry must give the same bytes.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Purchase {
    lines: BTreeMap<String, u32>,
    total_cents: u64,
}

/// Raised with every change of the shape of [`Purchase`].
const SCHEMA: u32 = 1;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
    let orders: Orders<Purchase> = Orders::with_schema(ledger, SCHEMA);

    let lines = BTreeMap::from([("tea".to_owned(), 2), ("honey".to_owned(), 1)]);
    let purchase = Purchase { lines, total_cents: 1890 };
    let outcome = orders.submit("web-shop", "cart-17", &purchase)?;
    report(&format!("{}: order {}", outcome.how, outcome.receipt.order));

    let (order, back) = orders.get(outcome.receipt.order)?.ok_or("it was just taken")?;
    assert_eq!(back, purchase);
    report(&format!("schema {}: {back:?}", order.schema));

    let changed = Purchase { total_cents: 1990, ..purchase };
    match orders.submit("web-shop", "cart-17", &changed) {
        Err(error) if matches!(error.kind(), ErrorKind::Conflict { .. }) => {
            report(&format!("{error}"));
            Ok(())
        }
        other => {
            Err(format!("a changed order under an old key must be a conflict: {other:?}").into())
        }
    }
}

#[expect(clippy::print_stdout, reason = "an example talks to its reader")]
fn report(line: &str) {
    println!("{line}");
}
