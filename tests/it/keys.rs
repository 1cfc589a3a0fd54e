//! Keys and content: what is the same order, and what is not (SEMANTICS rules 1 to 4, 9 to 13).

use std::time::Duration;

use order_ledger::{Certainty, ErrorKind, Field, Fingerprint, How, Seq, Submission};
use proptest::prelude::*;

use crate::support::{Machine, order, small};

#[test]
fn rule_1_seqs_are_dense_from_1_and_name_the_orders() {
    let machine = Machine::new(1);
    let ledger = machine.open();
    for n in 1..=300 {
        let outcome = ledger.submit(&order(n)).unwrap();
        assert_eq!(outcome.receipt.order.seq(), Seq(n));
        assert_eq!(outcome.receipt.order.partition(), 0);
        assert_eq!(outcome.receipt.ledger, ledger.id());
    }
    let seqs: Vec<u64> = ledger.orders().map(|order| order.unwrap().id().seq().0).collect();
    assert_eq!(seqs, (1..=300).collect::<Vec<_>>());
}

#[test]
fn rule_2_keys_are_compared_byte_by_byte() {
    let machine = Machine::new(2);
    let ledger = machine.open();
    let keys: [&[u8]; 6] = [b"key", b"Key", b" key", b"key ", b"key\0", &[0xff, 0, 0x80]];
    for key in keys {
        assert_eq!(ledger.submit(&Submission::new("web", key, "x")).unwrap().how, How::Fresh);
    }
    for key in keys {
        assert_eq!(ledger.by_key("web", key).unwrap().unwrap().key, key);
    }
}

#[test]
fn rule_3_the_scope_of_a_key_is_its_client() {
    let machine = Machine::new(3);
    let ledger = machine.open();
    for (client, key) in [("ab", "c"), ("a", "bc"), ("abc", "x"), ("a", "c")] {
        let outcome = ledger.submit(&Submission::new(client, key, "same")).unwrap();
        assert_eq!(outcome.how, How::Fresh, "{client} {key}");
    }
    assert!(ledger.by_key("ab", "x").unwrap().is_none());
}

#[test]
fn rule_4_a_broken_limit_leaves_the_key_free() {
    let machine = Machine::new(4);
    let ledger = machine.open();
    let bad = order(1).account(vec![b'a'; 65]);
    let error = ledger.submit(&bad).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid { .. }), "{error}");
    assert_eq!(error.certainty(), Certainty::NotRecorded);
    assert_eq!(ledger.submit(&order(1)).unwrap().how, How::Fresh);
}

#[test]
fn a_conflict_names_every_field_that_differs() {
    let machine = Machine::new(5);
    let ledger = machine.open();
    let first = order(1).kind("sale").schema(1);
    let receipt = ledger.submit(&first).unwrap().receipt;
    let own = Fingerprint([9; 32]);
    for (other, field) in [
        (first.clone().kind("gift"), Field::Kind),
        (first.clone().schema(2), Field::Schema),
        (first.clone().account("other"), Field::Account),
        (first.clone().external_ref("other"), Field::ExternalRef),
        (first.clone().fingerprint(own), Field::Fingerprint),
        (first.clone().warn_after(Duration::ZERO), Field::Thresholds),
        (first.clone().critical_after(Duration::MAX), Field::Thresholds),
    ] {
        let error = ledger.submit(&other).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Conflict { receipt, differs: vec![field] });
        assert_eq!(error.certainty(), Certainty::Recorded(receipt));
    }
    assert_eq!(ledger.stats().unwrap().orders, 1);
}

#[test]
fn rule_10_a_callers_own_fingerprint_decides_alone() {
    let machine = Machine::new(6);
    let ledger = machine.open();
    let own = Fingerprint([7; 32]);
    let first = ledger.submit(&order(1).fingerprint(own)).unwrap();
    assert_eq!(first.receipt.fingerprint, own);
    let reordered = Submission::new("web", "key-1", "other bytes, same meaning").fingerprint(own);
    let again = ledger.submit(&reordered).unwrap();
    assert_eq!((again.how, again.receipt), (How::Replayed, first.receipt));
    let error = ledger.submit(&order(1).fingerprint(Fingerprint([8; 32]))).unwrap_err();
    assert_eq!(
        *error.kind(),
        ErrorKind::Conflict { receipt: first.receipt, differs: vec![Field::Fingerprint] }
    );
}

#[test]
fn rule_11_the_same_content_under_two_keys_has_two_fingerprints() {
    let machine = Machine::new(7);
    let ledger = machine.open();
    let one = ledger.submit(&Submission::new("web", "a", "same")).unwrap();
    let two = ledger.submit(&Submission::new("web", "b", "same")).unwrap();
    assert_ne!(one.receipt.fingerprint, two.receipt.fingerprint);
}

#[test]
fn rule_13_a_key_is_remembered_through_rotation_sealing_and_reopening() {
    let machine = Machine::new(8);
    let ledger = machine.open();
    let receipts: Vec<_> = (1..=2000).map(|n| ledger.submit(&order(n)).unwrap().receipt).collect();
    ledger.tick();
    assert!(ledger.stats().unwrap().segments > 4);
    let check = |ledger: &order_ledger::Ledger| {
        for (n, receipt) in (1..).zip(&receipts) {
            let again = ledger.submit(&order(n)).unwrap();
            assert_eq!((again.how, again.receipt), (How::Replayed, *receipt));
        }
    };
    check(&ledger);
    ledger.close().unwrap();
    check(&machine.open_with(&small()).unwrap());
}

/// Two submissions that differ anywhere are never taken for the same (rule 9): bytes moved from one
/// field to its neighbour are the classic trap.
#[test]
fn rule_9_bytes_moved_between_fields_make_another_order() {
    let field = || prop::collection::vec(prop::sample::select(vec![0u8, 1, b'a']), 0..4);
    let content = (field(), 0u32..3, field(), field(), field());
    let machine = Machine::new(9);
    let ledger = machine.open();
    let keys = std::cell::Cell::new(0u64);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    runner
        .run(&(content.clone(), content), |(one, two)| {
            keys.set(keys.get() + 1);
            let key = keys.get();
            let submission = |of: &(Vec<u8>, u32, Vec<u8>, Vec<u8>, Vec<u8>)| {
                Submission::new("web", key.to_le_bytes(), of.4.clone())
                    .kind(of.0.clone())
                    .schema(of.1)
                    .account(of.2.clone())
                    .external_ref(of.3.clone())
            };
            let first = ledger.submit(&submission(&one)).unwrap();
            let second = ledger.submit(&submission(&two));
            if one == two {
                prop_assert_eq!(second.unwrap().receipt, first.receipt);
            } else {
                let error = second.unwrap_err();
                let conflict = matches!(error.kind(), ErrorKind::Conflict { .. });
                prop_assert!(conflict, "{}", error);
            }
            Ok(())
        })
        .unwrap();
}
