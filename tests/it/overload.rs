//! Overload, and what still works under it (SEMANTICS, order of checks, and rules 33, 35, 37).

use std::time::Duration;

use order_ledger::disk::sim::Fault;
use order_ledger::{Certainty, ErrorKind, How, Ledger, Options, Submission};

use crate::support::{Machine, order, small};

#[test]
fn rule_33_a_full_queue_refuses_new_orders_and_answers_replays() {
    let machine = Machine::new(1);
    let options = small().queue_orders_max(4).client_share_percent(50);
    let ledger = machine.open_with(&options).unwrap();
    ledger.submit(&order(1)).unwrap();
    let tickets: Vec<_> = (2..=3).map(|n| ledger.submit_deferred(&order(n))).collect();
    let error = ledger.submit_deferred(&order(4)).wait(Some(Duration::ZERO)).unwrap_err();
    let ErrorKind::Overloaded { retry_after } = error.kind() else { panic!("{error}") };
    assert!(*retry_after > Duration::ZERO);
    assert_eq!(error.certainty(), Certainty::NotRecorded);
    assert_eq!(ledger.submit(&order(1)).unwrap().how, How::Replayed, "a replay needs no room");
    drop(tickets);
    ledger.pump();
    assert_eq!(ledger.submit(&order(4)).unwrap().how, How::Fresh);
}

#[test]
fn rule_33_one_client_leaves_room_for_others() {
    let machine = Machine::new(2);
    let options = small().queue_orders_max(4).client_share_percent(50);
    let ledger = machine.open_with(&options).unwrap();
    let _held: Vec<_> = (1..=2).map(|n| ledger.submit_deferred(&order(n))).collect();
    let mut refused = ledger.submit_deferred(&order(3));
    let mut other = ledger.submit_deferred(&Submission::new("phone", "k", "x"));
    ledger.pump();
    assert!(matches!(refused.wait(None).unwrap_err().kind(), ErrorKind::Overloaded { .. }));
    assert_eq!(other.wait(None).unwrap().how, How::Fresh);
}

#[test]
fn rule_33_admission_waits_for_room() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new()
        .segment_bytes(1 << 20)
        .queue_orders_max(2)
        .client_share_percent(100)
        .admission_wait(Duration::from_secs(60));
    let ledger = options.open(dir.path().join("orders.ledger")).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let ledger = &ledger;
            scope.spawn(move || {
                for n in 0..20 {
                    let outcome = ledger.submit(&order(thread * 1000 + n)).unwrap();
                    assert_eq!(outcome.how, How::Fresh);
                }
            });
        }
    });
    assert_eq!(ledger.stats().unwrap().orders, 320);
}

#[test]
fn rule_35_a_failed_sync_poisons_and_replays_and_reads_go_on() {
    let machine = Machine::new(3);
    let ledger = machine.open();
    let receipt = ledger.submit(&order(1)).unwrap().receipt;
    let mut leader = ledger.submit_deferred(&order(2));
    let mut joiner = ledger.submit_deferred(&order(2));
    machine.disk.fail_call(2, Fault::Eio);
    ledger.pump();
    for ticket in [&mut leader, &mut joiner] {
        let error = ticket.wait(None).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InDoubt { .. }), "{error}");
        assert_eq!(error.certainty(), Certainty::Unknown);
    }
    let later = ledger.submit(&order(3)).unwrap_err();
    assert!(matches!(later.kind(), ErrorKind::Poisoned { .. }), "{later}");
    assert_eq!(later.certainty(), Certainty::NotRecorded);
    assert_eq!(ledger.submit(&order(1)).unwrap().receipt, receipt);
    let error = ledger.by_key("web", "key-2").unwrap_err();
    assert_eq!(error.certainty(), Certainty::Unknown, "in doubt is neither shown nor called free");
    assert!(ledger.poisoned().is_some());
    assert!(ledger.close().is_err());

    // The simulated kernel has marked the lost bytes clean and still shows them: the disk decides.
    let ledger = machine.open();
    assert_eq!(ledger.submit(&order(1)).unwrap().receipt, receipt);
    assert_eq!(ledger.submit(&order(2)).unwrap().how, How::Fresh);
}

#[test]
fn rule_37_a_second_opener_is_told_who_holds_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.ledger");
    let options = Options::new().segment_bytes(1 << 20);
    let ledger = options.open(&path).unwrap();
    let error = options.open(&path).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Locked { pid: Some(std::process::id()) });
    assert_eq!(ledger.submit(&order(1)).unwrap().how, How::Fresh);
    let reader = order_ledger::Reader::open(&path).unwrap();
    assert!(reader.by_key("web", "key-1").unwrap().is_some());
    ledger.close().unwrap();
    options.open(&path).unwrap();
}

#[test]
fn a_closed_ledger_takes_no_orders_from_other_clones() {
    let machine = Machine::new(4);
    let ledger = machine.open();
    let clone: Ledger = ledger.clone();
    ledger.close().unwrap();
    let error = clone.submit(&order(1)).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Closed);
    assert_eq!(error.certainty(), Certainty::NotRecorded);
}
