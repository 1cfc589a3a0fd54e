//! Ledger time: strictly increasing, whatever the wall clock does (SEMANTICS rule 30).

use crate::support::{Machine, order};

#[test]
fn rule_30_time_goes_on_when_the_clock_jumps_back() {
    let machine = Machine::new(1);
    let ledger = machine.open();
    machine.host.set_wall_ns(2_000_000_000);
    let first = ledger.submit(&order(1)).unwrap().receipt.accepted_at;
    assert!(first.as_unix_ns() >= 2_000_000_000);
    machine.host.set_wall_ns(1_000);
    let second = ledger.submit(&order(2)).unwrap().receipt.accepted_at;
    assert_eq!(second.as_unix_ns(), first.as_unix_ns() + 1);
    ledger.close().unwrap();

    let ledger = machine.open();
    assert!(ledger.recovery_report().clock_behind_ns > 1_000_000_000, "told at open");
    let third = ledger.submit(&order(3)).unwrap().receipt.accepted_at;
    assert_eq!(third.as_unix_ns(), second.as_unix_ns() + 1);
    machine.host.set_wall_ns(9_000_000_000);
    let fourth = ledger.submit(&order(4)).unwrap().receipt.accepted_at;
    assert!(fourth.as_unix_ns() >= 9_000_000_000);
}

#[test]
fn rule_30_every_record_of_a_batch_has_a_time_of_its_own() {
    let machine = Machine::new(2);
    let ledger = machine.open();
    let orders: Vec<_> = (1..=500).map(order).collect();
    let mut last = 0;
    for result in ledger.submit_many(&orders) {
        let at = result.unwrap().receipt.accepted_at.as_unix_ns();
        assert!(at > last);
        last = at;
    }
}
