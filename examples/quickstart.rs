//! Takes an order, takes it again, and looks at it: `cargo run --example quickstart`

use order_ledger::{Ledger, Result, Submission};

fn main() -> Result<()> {
    // Ends in `.ledger`, which this repository's .gitignore knows. Run it twice: replayed.
    let ledger = Ledger::open("quickstart.ledger")?;
    let order = Submission::new("web-shop", "cart-17", r#"{"sku":"tea","quantity":2}"#)
        .account("meadow-bakery")
        .external_ref("PO-2231");

    let outcome = ledger.submit(&order)?;
    report(&format!("{}: order {}", outcome.how, outcome.receipt.order));
    report(&format!("receipt: {}", outcome.receipt));

    let again = ledger.submit(&order)?;
    report(&format!("{}: the same receipt: {}", again.how, again.receipt == outcome.receipt));

    if let Some(found) = ledger.by_key("web-shop", "cart-17")? {
        report(&format!("payload: {}", String::from_utf8_lossy(&found.payload)));
    }
    ledger.close()
}

#[expect(clippy::print_stdout, reason = "an example talks to its reader")]
fn report(line: &str) {
    println!("{line}");
}
