//! What a hostile reading of the code came upon: each test is a promise that was broken once, with the
//! cause above it.

use order_ledger::{ErrorKind, How, Options};

use crate::rig::{all_orders, fill, kind, open, order, sim};

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

// Cause: the lock was that of a file which anybody may remove. Effect: after `rm LOCK`, which people do
// to locks they think are stale, a second process wrote to the same log.
#[test]
fn rule_46_whoever_removes_the_lock_file_opens_no_second_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.ledger");
    let options = Options::new().segment_bytes(1 << 20);
    let ledger = options.open(&path).unwrap();
    std::fs::remove_file(path.join("LOCK")).unwrap();
    assert!(matches!(kind(options.open(&path)), ErrorKind::Locked { .. }));
    assert_eq!(ledger.submit(&order(1)).unwrap().how, How::Fresh);
    ledger.close().unwrap();
    let ledger = options.open(&path).unwrap();
    assert_eq!(all_orders(&ledger).unwrap().len(), 1);
}
