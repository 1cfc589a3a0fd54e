//! What a hostile reading of the code came upon: each test is a promise that was broken once, with the
//! cause above it.

use order_ledger::How;

use crate::rig::{all_orders, fill, open, order, sim};

// Cause: ledger time was counted up with saturation. Effect: from a clock at its end on, records had
// equal times, which no later open believed: acknowledged orders were cut off as a torn tail.
#[test]
fn rule_51_a_clock_at_its_end_costs_no_order() {
    let (disk, host) = sim(51);
    let ledger = open(&disk, &host).unwrap();
    host.set_wall_ns(u64::MAX);
    let receipts = fill(&ledger, 3);
    let batch: Vec<_> = (10..20).map(order).collect();
    assert!(ledger.submit_many(&batch).iter().all(Result::is_ok));
    disk.kill();
    drop(ledger);
    let ledger = open(&disk, &host).unwrap();
    assert_eq!(ledger.recovery_report().torn_bytes, 0);
    assert_eq!(all_orders(&ledger).unwrap().len(), 13);
    for (number, receipt) in (0..).zip(receipts) {
        assert_eq!(ledger.submit(&order(number)).unwrap().receipt, receipt);
    }
    assert_eq!(ledger.submit(&order(99)).unwrap().how, How::Fresh);
}
