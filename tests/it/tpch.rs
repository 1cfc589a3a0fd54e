//! Real input: the orders of TPC-H, led through their life as their own status says.
//!
//! `o_orderstatus` is F (all of it shipped), O (nothing shipped) or P (a part): completed, accepted and partly
//! done. How many there are of each the generator knows; the ledger must agree, however it is asked, and
//! after it was opened again. `ORDER_LEDGER_TPCH_SCALE` takes more or fewer; `examples/tpch.rs` more.

use std::collections::BTreeMap;

use order_ledger::{How, Ledger, Options, Query, State, Submission, Transition};
use tpchgen::generators::{OrderGenerator, OrderStatus};

/// Orders that share a sync.
const BATCH: usize = 1000;

/// The state that an order of TPC-H is in.
fn state_of(status: OrderStatus) -> State {
    match status {
        OrderStatus::Fulfilled => State::Completed,
        OrderStatus::Open => State::Accepted,
        OrderStatus::Pending => State::PartlyDone,
    }
}

/// How many orders a query finds, page by page.
fn listed(ledger: &Ledger, state: State) -> u64 {
    let (mut found, mut query) = (0, Query::all().state(state).limit(2000));
    loop {
        let page = ledger.page(&query).unwrap();
        assert!(page.orders.iter().all(|order| order.now.state == state));
        found += page.orders.len() as u64;
        match page.next {
            Some(next) => query = query.after(next),
            None => return found,
        }
    }
}

#[test]
fn the_counts_of_each_state_are_those_of_the_generator() {
    let scale = std::env::var("ORDER_LEDGER_TPCH_SCALE");
    let scale: f64 = scale.map_or(0.1, |scale| scale.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let options = Options::new().segment_bytes(4 * 1024 * 1024);
        options.open(dir.path().join("orders.ledger")).unwrap()
    };
    let ledger = open();
    let mut expected: BTreeMap<State, u64> = BTreeMap::new();
    let rows: Vec<_> = OrderGenerator::new(scale, 1, 1).iter().collect();
    let submission = |row: &tpchgen::generators::Order<'_>| {
        Submission::new("tpch", format!("order-{}", row.o_orderkey), row.to_string())
            .account(format!("customer-{}", row.o_custkey))
            .external_ref(row.o_orderkey.to_string())
    };
    for rows in rows.chunks(BATCH) {
        let orders: Vec<_> = rows.iter().map(submission).collect();
        let taken = ledger.submit_many(&orders);
        let mut steps = Vec::new();
        for (row, outcome) in rows.iter().zip(taken) {
            let to = state_of(row.o_orderstatus);
            *expected.entry(to).or_default() += 1;
            if to != State::Accepted {
                let order = outcome.unwrap().receipt.order;
                steps.push(Transition::new(order, to).command_key("status").expect_version(1));
            }
        }
        let stepped = ledger.transition_many(&steps);
        assert!(stepped.iter().all(|step| step.as_ref().is_ok_and(|step| step.how == How::Fresh)));
    }
    let total = rows.len() as u64;
    assert!(expected.len() == 3 && total > 10_000, "{total} {expected:?}");
    let counts: Vec<_> = expected.iter().map(|(state, count)| (*state, *count)).collect();
    let steps = total - expected[&State::Accepted];
    let agrees = |ledger: &Ledger| {
        let stats = ledger.stats().unwrap();
        assert_eq!((stats.orders, stats.records), (total, total + steps));
        assert_eq!(stats.states, counts);
        for (state, count) in &counts {
            assert_eq!(listed(ledger, *state), *count, "{state}");
        }
    };
    agrees(&ledger);
    ledger.close().unwrap();
    let ledger = open();
    agrees(&ledger);
    // A row, as it was.
    let row = &rows[rows.len() / 2];
    let found = ledger.by_key("tpch", format!("order-{}", row.o_orderkey)).unwrap().unwrap();
    assert_eq!(found.now.state, state_of(row.o_orderstatus));
    assert_eq!(found.payload, row.to_string().into_bytes());
}
