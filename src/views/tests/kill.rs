//! The feeder is killed between, before and in batches: entries and watermark are there together.
//!
//! A child (this test binary again) feeds sled as fast as it can until it is killed. What it leaves must
//! be a store that the audit finds sound, so that it goes on instead of being rebuilt.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::super::feed::{Feed, Handle};
use super::super::layout::{View, WATERMARK_KEY, Watermark};
use super::super::sled_store::SledStore;
use super::super::store::Store;
use super::assert_lists_are_right;
use super::support::{LEDGER, Started, TestLog, in_sled, wait_for, wait_until_fed};
use crate::order::{Lifecycle, Seq, State};

const DIR: &str = "ORDER_LEDGER_TEST_VIEWS_KILL_DIR";
/// Where the log that the child shows ends at first: what its store covers already.
const FROM: &str = "ORDER_LEDGER_TEST_VIEWS_KILL_FROM";
const CHILD: &str = "views::tests::kill::child_that_feeds_until_it_is_killed";
/// What the child says before how far it is.
const COVERED: &str = "covered ";
const ROUNDS: u64 = 8;
/// What a round shows of the log: some thirty batches. However slow the machine is, and whoever gets on
/// faster on it, a round can use up no more, so that every round has something to feed.
const RECORDS_PER_ROUND: u64 = 3_000;

/// A log of everything, of which only what is below `from` is readable.
fn long_log(from: Seq) -> TestLog {
    let mut test = TestLog::new();
    test.write_many(ROUNDS * RECORDS_PER_ROUND);
    test.log.publish(from);
    test
}

#[test]
fn child_that_feeds_until_it_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let from = Seq(std::env::var(FROM).unwrap().parse().unwrap());
    let test = long_log(from);
    let Started { views, .. } = in_sled(Path::new(&dir), &test);
    let end = Seq(from.0 + RECORDS_PER_ROUND);
    test.log.publish(end);
    views.notify();
    let mut covered = Seq::FIRST;
    while covered < end {
        covered = wait_for(&views, |state| state.covered > covered).covered;
        println!("{COVERED}{covered}");
    }
    // All is fed: now it is only to be killed.
    std::thread::park_timeout(Duration::from_secs(60));
}

#[test]
fn rule_36_a_kill_between_batches_leaves_entries_and_watermark_together() {
    let dir = tempfile::tempdir().unwrap();
    let test = long_log(Seq(ROUNDS * RECORDS_PER_ROUND + 1));
    let (mut last, mut progressed) = (Seq::FIRST, 0);
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD, "--nocapture"])
            .env(DIR, dir.path())
            .env(FROM, last.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Let it get on a different way each time, then kill it wherever it is: in most rounds it is
        // feeding then, for it tells of a batch when the next is begun.
        let enough = Seq(last.0 + RECORDS_PER_ROUND * (round + 1) / ROUNDS);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let reached = lines.any(|line| {
            let covered = line.strip_prefix(COVERED);
            covered.is_some_and(|covered| Seq(covered.parse().unwrap()) >= enough)
        });
        std::thread::park_timeout(Duration::from_micros(307 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(reached, "the child ended before it had fed up to {enough}");
        assert!(!dir.path().join("derived/views.aside-1").exists(), "killed, and rebuilt for it");
        let path = dir.path().join("derived/views/1");
        let store = SledStore::open(&path).unwrap();
        let handle = Handle::Direct(Arc::new(Mutex::new(store)));
        let log = (Arc::clone(&test.log), Arc::clone(&test.tables));
        let next = test.log.readable_next();
        // The audit is the assertion: the entries are those of the records below the watermark.
        let feed =
            Feed::begin(handle, log, Lifecycle::default(), next, Duration::ZERO, &|| true).unwrap();
        assert!(feed.next() >= last, "what a kill leaves does not go back");
        progressed += u64::from(feed.next() > last);
        last = feed.next();
    }
    assert!(progressed > 1, "killed too early each time: this test proves nothing");
    let Started { views, .. } = in_sled(dir.path(), &test);
    let state = wait_until_fed(&views);
    assert_eq!(state.set_aside, 0);
    assert_lists_are_right(&views, &test, test.log.readable_next());
}

/// The same without a kill, which meets the gap between two writes of sled only by luck: somebody who
/// looks all the time never sees the one without the other.
#[test]
fn rule_36_entries_and_watermark_are_one_batch() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SledStore::open(dir.path()).unwrap();
    let db = store.0.clone();
    let view = View::State(State::Accepted);
    let watermark =
        || db.get(WATERMARK_KEY).unwrap().map(|mark| Watermark::decode(&mark).unwrap().next);
    let enough = AtomicBool::new(false);
    let enough = &enough;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut next = Seq::FIRST;
            while !enough.load(Ordering::Relaxed) {
                let key = view.key(next).unwrap();
                next = next.next();
                let mark = Watermark { next, ..Watermark::start(LEDGER) };
                store.apply([key].into_iter().collect(), mark.encode()).unwrap();
            }
        });
        let _enough = SetOnDrop(enough);
        // Looks that met a batch on its way.
        let mut met = 0;
        while met < 300 {
            let before = watermark().unwrap_or(Seq::FIRST);
            let entry = db.scan_prefix(view.prefix().unwrap()).next_back();
            let entry = entry.map(|entry| View::parse(&entry.unwrap().0).unwrap().1.next());
            let entry = entry.unwrap_or(Seq::FIRST);
            let after = watermark().unwrap_or(Seq::FIRST);
            assert!(before <= entry, "a watermark without its entries: {before} {entry}");
            assert!(entry <= after, "entries without their watermark: {entry} {after}");
            met += u32::from(before != after);
        }
    });
}

/// Ends the writer also when the watcher fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
