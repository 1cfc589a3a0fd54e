//! A reader beside a writer that never pauses: cause, what is in motion looks like damage for a moment
//! (a place that was empty a read ago is followed by a group now); effect, a sound ledger is refused.

use std::sync::atomic::{AtomicBool, Ordering};

use order_ledger::{Options, Reader, Submission};

#[test]
fn a_reader_beside_a_busy_writer_opens_every_time_and_never_sees_less_than_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.ledger");
    let ledger = Options::new().segment_bytes(1024 * 1024).open(&path).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return n;
                }
                let order = Submission::new("web", format!("k{n}"), vec![b'x'; 700]);
                ledger.submit(&order).unwrap();
            }
            0
        });
        let mut seen = 0;
        let outcome = (0..60).try_for_each(|_| {
            let reader = Reader::open(&path)?;
            let orders = reader.stats()?.orders;
            assert!(orders >= seen);
            seen = orders;
            if seen > 0 {
                assert!(reader.by_key("web", format!("k{}", seen - 1))?.is_some());
            }
            Ok::<_, order_ledger::Error>(())
        });
        stop.store(true, Ordering::Relaxed);
        let written = writer.join().unwrap();
        outcome.unwrap();
        assert!(seen <= written);
    });
}
