//! The orders of TPC-H through their life: `cargo run --release --example tpch [SCALE]`
//!
//! Scale 1 is 1.5 million orders, in a temporary directory. The generator says of each
//! order what became of it (F: all shipped, O: open, P: a part shipped); the ledger must count the same, also after it was opened again.

use std::collections::BTreeMap;
use std::time::Instant;

use order_ledger::{Ledger, Result, State, Submission, Transition};
use tpchgen::generators::{OrderGenerator, OrderStatus};

/// Orders that share a sync.
const BATCH: usize = 1000;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let scale: f64 = std::env::args().nth(1).map_or(Ok(1.0), |scale| scale.parse())?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("orders.ledger");
    let ledger = Ledger::open(&path)?;

    let (began, mut expected, mut steps) = (Instant::now(), BTreeMap::new(), 0u64);
    let generator = OrderGenerator::new(scale, 1, 1);
    let mut rows = generator.iter();
    loop {
        let rows: Vec<_> = rows.by_ref().take(BATCH).collect();
        if rows.is_empty() {
            break;
        }
        // The order first; its receipt has the number that the step needs.
        let orders: Vec<_> = rows
            .iter()
            .map(|row| {
                let key = format!("order-{}", row.o_orderkey);
                Submission::new("tpch", key, row.to_string())
                    .account(format!("customer-{}", row.o_custkey))
            })
            .collect();
        let taken: Vec<_> = ledger.submit_many(&orders).into_iter().collect::<Result<_>>()?;
        let mut moves = Vec::new();
        for (row, outcome) in rows.iter().zip(&taken) {
            let to = match row.o_orderstatus {
                OrderStatus::Fulfilled => State::Completed,
                OrderStatus::Open => State::Accepted,
                OrderStatus::Pending => State::PartlyDone,
            };
            *expected.entry(to).or_insert(0u64) += 1;
            if to != State::Accepted {
                // Named, so that a repeat of this program's step would be taken once.
                moves.push(Transition::new(outcome.receipt.order, to).command_key("status"));
            }
        }
        steps += moves.len() as u64;
        for step in ledger.transition_many(&moves) {
            step?;
        }
    }
    let expected: Vec<_> = expected.into_iter().collect();
    let orders: u64 = expected.iter().map(|(_, count)| count).sum();
    report(&format!("{orders} orders and {steps} steps, durable, in {:.1?}", began.elapsed()));
    assert_eq!(ledger.stats()?.states, expected);
    ledger.close()?;

    let began = Instant::now();
    let ledger = Ledger::open(&path)?;
    report(&format!("opened again in {:.1?}", began.elapsed()));
    let stats = ledger.stats()?;
    assert_eq!((stats.states, stats.records), (expected.clone(), orders + steps));
    for (state, count) in expected {
        report(&format!("{count} {state}, as the generator says"));
    }
    ledger.close()?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example talks to its reader")]
fn report(line: &str) {
    println!("{line}");
}
