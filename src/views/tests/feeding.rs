//! A store is fed with what is published, in batches that are whole, and goes on where it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::super::feed::BATCH_RECORDS_MAX;
use super::super::guard::Open;
use super::super::layout::{View, Watermark};
use super::super::store::{self, Doubt, MemStore, Store};
use super::super::{Phase, Place, Views};
use super::support::{
    Call, FaultyStore, Started, TestLog, config, in_memory, in_sled, order, start, start_with,
    wait_until_fed,
};
use super::{assert_lists_are_right, list};
use crate::order::{Refusal, Seq, Submission};

fn any_order() -> impl Strategy<Value = (Submission, Option<Refusal>)> {
    // Few values, so that they meet; some are prefixes of others; bytes that a key uses itself.
    let value =
        || prop::sample::select(vec![&b""[..], b"a", b"ab", b"\x01", b"\x01\x01", b"\xff\xff"]);
    let expires_in_ns = prop::sample::select(vec![0u64, 0, 1, 5, 5, 256, u64::MAX]);
    (value(), value(), any::<bool>(), 0u64..u64::MAX, expires_in_ns).prop_map(
        |(account, external_ref, refused, key, expires_in_ns)| {
            let mut submission = Submission::new("c", format!("{key}"), b"payload")
                .account(account)
                .external_ref(external_ref);
            if expires_in_ns > 0 {
                submission = submission.expires_in(Duration::from_nanos(expires_in_ns));
            }
            (submission, refused.then(|| Refusal { code: 1, reason: "no".into() }))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn lists_are_what_a_naive_filter_finds(
        groups in prop::collection::vec(prop::collection::vec(any_order(), 1..40), 1..8),
        fed_after in 0usize..8,
    ) {
        let mut test = TestLog::new();
        let views = in_memory(&test);
        let mut covered = Seq::FIRST;
        for (index, group) in groups.iter().enumerate() {
            test.write(group);
            // The feeder lags behind the rest.
            if index <= fed_after {
                views.catch_up();
                covered = test.log.readable_next();
            }
        }
        assert_lists_are_right(&views, &test, covered);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]
    #[test]
    fn lists_in_sled_are_what_a_naive_filter_finds(
        groups in prop::collection::vec(prop::collection::vec(any_order(), 1..60), 1..6),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut test = TestLog::new();
        for group in &groups {
            test.write(group);
            // Each time another process that opens the ledger.
            let Started { views, .. } = in_sled(dir.path(), &test);
            assert_eq!(wait_until_fed(&views).set_aside, 0);
            assert_lists_are_right(&views, &test, test.log.readable_next());
        }
    }
}

#[test]
fn i3_what_is_not_published_is_not_fed() {
    let mut test = TestLog::new();
    let views = in_memory(&test);
    test.write(&[order(1)]);
    let next = test.write_unpublished(&[order(2)]);
    views.catch_up();
    assert_eq!(views.state().covered, Seq(2));
    assert_eq!(list(&views, View::State(crate::order::State::Accepted), 9).0, [1]);
    test.log.publish(next);
    views.catch_up();
    assert_eq!(views.state().covered, Seq(3));
}

/// The records of a batch, and the watermark it set.
type Batch = (Vec<Seq>, Watermark);

/// Watches the batches that go by.
#[derive(Default)]
struct Watched {
    inner: MemStore,
    batches: Arc<Mutex<Vec<Batch>>>,
}

impl Store for Watched {
    fn watermark(&mut self) -> Result<Option<Vec<u8>>, Doubt> {
        self.inner.watermark()
    }

    fn keys(&mut self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, Doubt> {
        self.inner.keys(prefix, after, limit)
    }

    fn apply(&mut self, batch: store::Batch, watermark: Vec<u8>) -> Result<(), Doubt> {
        let changes = batch.clone().into_changes();
        let seqs = changes.map(|(key, _)| View::parse(&key).unwrap().1).collect();
        self.batches.lock().push((seqs, Watermark::decode(&watermark).unwrap()));
        self.inner.apply(batch, watermark)
    }
}

#[test]
fn a_batch_holds_at_most_100_records_and_the_watermark_that_covers_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut test = TestLog::new();
    test.write_many(1_234);
    let batches = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&batches);
    let opener = Box::new(move |_| {
        let store = Watched { inner: MemStore::default(), batches: Arc::clone(&seen) };
        Box::new(move || Ok(Box::new(store) as Box<dyn Store>)) as Open
    });
    let Started { views, .. } = start_with(config(dir.path(), &test), opener);
    wait_until_fed(&views);
    views.stop();
    let (mut next, mut entries) = (Seq::FIRST, 0);
    for (seqs, mark) in batches.lock().iter() {
        assert!(mark.next.0 - next.0 <= BATCH_RECORDS_MAX as u64 && BATCH_RECORDS_MAX == 100);
        assert!(seqs.iter().all(|seq| (next..mark.next).contains(seq)), "{seqs:?} in {mark:?}");
        next = mark.next;
        entries += seqs.len() as u64;
        assert_eq!(mark.entries, entries);
    }
    assert_eq!(next, Seq(1_235));
}

#[test]
fn every_publication_is_noticed_however_it_falls() {
    // A notification that falls between the feeder's last look and its sleep must not be lost.
    let dir = tempfile::tempdir().unwrap();
    let mut test = TestLog::new();
    let applied = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&applied);
    let opener = FaultyStore::opener(move |call, _| {
        count.fetch_add(u64::from(call == Call::Apply), Ordering::Relaxed);
        Ok(())
    });
    let Started { views, .. } = start_with(config(dir.path(), &test), opener);
    for seq in 1..=400 {
        test.write(&[order(seq)]);
        views.notify();
        if seq % 2 == 0 {
            wait_until_fed(&views);
        }
    }
    assert!(applied.load(Ordering::Relaxed) <= 400, "gathered, not one batch for each");
    assert_lists_are_right(&views, &test, test.log.readable_next());
}

#[test]
fn a_store_that_is_opened_again_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut test = TestLog::new();
    test.write_many(300);
    let first = in_sled(dir.path(), &test);
    wait_until_fed(&first.views);
    first.views.stop();
    assert_eq!(
        first.views.page(View::Account(b"account-1"), Seq(0), 9),
        (vec![], Seq(1)),
        "stopped"
    );

    test.write_many(300);
    let again = in_sled(dir.path(), &test);
    let state = wait_until_fed(&again.views);
    assert_eq!((state.set_aside, state.last_doubt, state.phase), (0, None, Phase::Feeding));
    assert_lists_are_right(&again.views, &test, Seq(601));
    assert!(again.proved.lock().is_empty());
}

#[test]
fn views_that_are_off_say_nothing_and_stop() {
    let dir = tempfile::tempdir().unwrap();
    let mut test = TestLog::new();
    test.write_many(10);
    let mut config = config(dir.path(), &test);
    config.place = Place::Off;
    let Started { views, .. } = start(config);
    views.notify();
    views.catch_up();
    assert_eq!(views.page(View::Account(b"account-1"), Seq(3), 9), (vec![], Seq(4)));
    assert!(matches!(views.state().phase, Phase::Off { .. }));
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    views.stop();
    views.stop();
}

#[test]
fn what_has_no_list_is_never_covered() {
    let mut test = TestLog::new();
    let views: Arc<Views> = in_memory(&test);
    test.write_many(10);
    views.catch_up();
    assert_eq!(views.page(View::Account(b""), Seq(0), 9), (vec![], Seq(1)));
    assert_eq!(views.page(View::ExternalRef(&[1; 200]), Seq(4), 9), (vec![], Seq(5)));
}

#[test]
fn a_record_of_the_log_that_can_not_be_read_holds_up_what_follows_and_nothing_else() {
    use crate::bytes::to_usize;
    use crate::wal::format::FRAME_BYTES;
    let mut test = TestLog::new();
    test.write_many(30);
    let segment = test.log.segments().remove(0);
    let offset = segment.offset_of(Seq(12)).unwrap().unwrap();
    let views = in_memory(&test);
    let mut byte = [0];
    let place = offset + FRAME_BYTES as u64 + 3;
    segment.file().read_at(&mut byte, place).unwrap();
    segment.file().write_at(&[byte[0] ^ 1], place).unwrap();
    views.catch_up();
    let state = views.state();
    assert_eq!((state.covered, state.set_aside), (Seq(12), 0));
    assert!(state.log_error.unwrap().contains("seq 12"));
    assert_eq!(to_usize(state.behind), 19);

    segment.file().write_at(&byte, place).unwrap();
    views.catch_up();
    assert_eq!((views.state().covered, views.state().log_error), (Seq(31), None));
    assert_lists_are_right(&views, &test, Seq(31));
}

#[test]
fn a_record_of_a_newer_program_is_passed_over_or_waited_at_as_it_asks() {
    use crate::wal::record::Encoded;
    let mut test = TestLog::new();
    let views = in_memory(&test);
    test.write_many(3);
    let of_kind = |kind| Encoded { kind, version: 1, bytes: vec![1, 2, 3] };
    let next = test.append(&[of_kind(200)]);
    test.log.publish(next);
    test.write_many(3);
    views.catch_up();
    assert_eq!((views.state().covered, views.state().log_error), (Seq(8), None), "may be skipped");
    let next = test.append(&[of_kind(100)]);
    test.log.publish(next);
    test.write_many(3);
    for _ in 0..3 {
        views.catch_up();
        assert_eq!(views.state().covered, Seq(8), "may not be skipped");
        assert!(views.state().log_error.unwrap().contains("kind 100"));
    }
}
