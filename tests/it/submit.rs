//! Submitting: fresh, replayed, conflict; and the same after opening again.

use order_ledger::{
    Certainty, ErrorKind, Field, Fingerprint, How, Ledger, Options, Outcome, Result, Submission,
};

use crate::rig::{Random, large, open, order, sim};

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

/// What an answer says, for comparison.
fn said(answer: &Result<Outcome>) -> String {
    match answer {
        Ok(outcome) => format!("{outcome:?}"),
        Err(error) => format!("{:?}, {:?}", error.kind(), error.certainty()),
    }
}

/// The story: a batch looks for all of its keys at once, and reads records that lie side by side with one
/// read. Effect, should it mix them up: an order is answered with its neighbour's receipt.
#[test]
fn a_batch_is_answered_as_its_orders_are_one_by_one() {
    let (disk, host) = sim(61);
    let ledger = open(&disk, &host).unwrap();
    let own =
        |number: u8| Submission::new("web", [number], "x").fingerprint(Fingerprint([number; 32]));
    // Over many segments, most of them sealed, and of all sizes.
    let mut stored: Vec<_> = (0..400).map(order).collect();
    stored.extend(
        (400..420).map(|number| large(number, 2000 + usize::try_from(number).unwrap() * 7)),
    );
    stored.extend((1..9).map(own));
    let mut random = Random::new(61);
    for batch in stored.chunks(90) {
        assert!(ledger.submit_many(batch).iter().all(Result::is_ok));
        ledger.tick();
    }
    assert!(ledger.stats().unwrap().segments > 3);
    for round in 0..30u64 {
        let mut batch: Vec<_> = (0..random.below(300))
            .map(|_| match random.below(12) {
                0 => Submission::new("other", format!("k{}", random.below(400)), "x"),
                1 => order(random.below(400)).account("B").external_ref("other"),
                2 => Submission::new("web", format!("k{}", random.below(420)), "").schema(3),
                3 => Submission::new("web", [1 + u8::try_from(random.below(9)).unwrap()], "y"),
                4 => own(1 + u8::try_from(random.below(9)).unwrap()).kind("other"),
                5 => Submission::new("web", vec![b'k'; 256], "too long"),
                _ => random.pick(&stored),
            })
            // Fresh ones would differ in their time.
            .filter(|it| {
                it.key().len() > 255 || ledger.by_key(it.client(), it.key()).unwrap().is_some()
            })
            .collect();
        if round % 3 == 0 {
            batch.extend(stored.iter().skip(random.index(400)).take(100).cloned());
        }
        let together = ledger.submit_many(&batch);
        assert_eq!(together.len(), batch.len());
        for (submission, answer) in batch.iter().zip(&together) {
            assert_eq!(said(answer), said(&ledger.submit(submission)), "{submission:?}");
        }
    }
    // What is new, known and twice in one batch.
    let batch = [order(900), order(3), order(900), order(3).account("B"), order(900).account("B")];
    let [new, known, joined, conflict, behind] = &ledger.submit_many(&batch)[..] else { panic!() };
    let new = new.as_ref().unwrap();
    assert_eq!((new.how, known.as_ref().unwrap().how), (How::Fresh, How::Replayed));
    let joined = joined.as_ref().unwrap();
    assert_eq!((joined.how, joined.receipt), (How::Joined, new.receipt));
    for error in [conflict, behind] {
        let error = error.as_ref().unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Conflict { differs, .. } if *differs == [Field::Account])
        );
    }
    let error = behind.as_ref().unwrap_err();
    assert_eq!(error.certainty(), Certainty::Recorded(new.receipt));
}

/// Its neighbours are read together with it, and have nothing to do with it.
#[test]
fn a_record_that_rots_under_a_batch_is_the_error_of_one_order() {
    let (disk, host) = sim(62);
    let ledger = open(&disk, &host).unwrap();
    let orders: Vec<_> = (0..60).map(|number| large(number, 500)).collect();
    assert!(ledger.submit_many(&orders[..20]).iter().all(Result::is_ok));
    assert!(ledger.submit_many(&orders[20..]).iter().all(Result::is_ok));
    ledger.close().unwrap();
    disk.kill();
    let path = "wal/0000000001.seg";
    let segment = disk.read_durable(path).unwrap();
    let payload = Random::new(7).bytes(500);
    let place = segment.windows(500).position(|bytes| bytes == payload).unwrap();
    disk.flip_bit(path, place as u64 * 8 + 3).unwrap();
    let ledger = open(&disk, &host).unwrap();
    for (number, answer) in ledger.submit_many(&orders).into_iter().enumerate() {
        match answer {
            Ok(outcome) => assert_eq!((number != 7, outcome.how), (true, How::Replayed)),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Corrupt(_)), "{number}: {error}");
                assert_eq!((number, error.certainty()), (7, Certainty::Unknown));
            }
        }
    }
}
