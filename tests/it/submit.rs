//! Submitting: fresh, replayed, conflict; and the same after opening again.

use order_ledger::{Certainty, ErrorKind, Field, How, Ledger, Options, Submission};

fn small() -> Options {
    Options::new().segment_bytes(1024 * 1024)
}

#[test]
fn replay_returns_the_same_receipt_after_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.ledger");
    let ledger = small().open(&path).unwrap();
    assert!(ledger.recovery_report().created);
    let order = Submission::new("web", "k1", "2 x tea").account("ALFKI");
    let first = ledger.submit(&order).unwrap();
    assert_eq!(first.how, How::Fresh);
    let again = ledger.submit(&order).unwrap();
    assert_eq!((again.how, again.receipt), (How::Replayed, first.receipt));
    let other = Submission::new("web", "k1", "3 x tea").account("ALFKI");
    let error = ledger.submit(&other).unwrap_err();
    assert_eq!(
        *error.kind(),
        ErrorKind::Conflict { receipt: first.receipt, differs: vec![Field::Payload] }
    );
    assert_eq!(error.certainty(), Certainty::Recorded(first.receipt));
    ledger.close().unwrap();

    let ledger = small().open(&path).unwrap();
    assert_eq!(ledger.recovery_report().torn_bytes, 0);
    assert_eq!(ledger.recovery_report().records, 1);
    let again = ledger.submit(&order).unwrap();
    assert_eq!((again.how, again.receipt.to_bytes()), (How::Replayed, first.receipt.to_bytes()));
    let found = ledger.by_key("web", "k1").unwrap().unwrap();
    assert_eq!(ledger.get(found.id()).unwrap().unwrap(), found);
    assert_eq!(found.payload, b"2 x tea");
}

#[test]
fn many_orders_over_many_segments_are_all_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.ledger");
    let ledger = small().open(&path).unwrap();
    let orders: Vec<_> =
        (0..20_000).map(|n| Submission::new("web", format!("k{n}"), vec![b'x'; 256])).collect();
    let mut receipts = Vec::new();
    for batch in orders.chunks(1000) {
        receipts
            .extend(ledger.submit_many(batch).into_iter().map(|result| result.unwrap().receipt));
    }
    let check = |ledger: &Ledger| {
        for (order, result) in orders.iter().zip(ledger.submit_many(&orders)) {
            let outcome = result.unwrap();
            assert_eq!(outcome.how, How::Replayed, "{order:?}");
        }
        assert_eq!(ledger.orders().count(), orders.len());
        let stats = ledger.stats().unwrap();
        assert_eq!(stats.orders, 20_000);
        assert!(stats.segments > 5, "{stats:?}");
    };
    check(&ledger);
    ledger.close().unwrap();
    let ledger = small().open(&path).unwrap();
    check(&ledger);
    assert_eq!(ledger.recovery_report().segments_scanned, 1);
    for (order, receipt) in orders.iter().zip(&receipts).step_by(777) {
        assert_eq!(ledger.submit(order).unwrap().receipt, *receipt);
    }
}

#[test]
fn rule_5_sixty_four_threads_with_one_key_make_one_order() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = small().open(dir.path().join("orders.ledger")).unwrap();
    let order = Submission::new("web", "k1", "2 x tea");
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..64).map(|_| scope.spawn(|| ledger.submit(&order).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| outcome.how == How::Fresh).count(), 1);
    assert!(outcomes.iter().all(|outcome| outcome.receipt == outcomes[0].receipt));
    let stats = ledger.stats().unwrap();
    assert_eq!((stats.orders, stats.groups), (1, 1));
}
