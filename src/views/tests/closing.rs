//! When the views are stopped nobody writes in their directory any more, unless sled hangs.
//!
//! Cause of these tests: a ledger that was closed while sled was still opening gave its lock back, and
//! sled went on making files. Effect to prevent: a directory that can't be removed, or two of us in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::feeder::Opener;
use super::super::guard::Open;
use super::super::sled_store::SledStore;
use super::super::store::{Batch, Doubt, Store};
use super::assert_lists_are_right;
use super::support::{
    Call, FaultyStore, SHORT, Started, Wall, config, fed_log, in_sled, start_with, wait_for,
    wait_until_fed,
};
use crate::order::Seq;

/// What a hang may cost beyond the deadline, on a machine that is busy.
const SLACK: Duration = Duration::from_secs(5);

/// An opener of sled that does something before and something after.
fn opener_around_sled(
    before: impl Fn() + Send + Sync + 'static,
    after: impl Fn() + Send + Sync + 'static,
) -> Opener {
    let around = Arc::new((before, after));
    Box::new(move |path: PathBuf| {
        let around = Arc::clone(&around);
        Box::new(move || {
            (around.0)();
            let store = SledStore::open(&path)?;
            (around.1)();
            Ok(Box::new(store) as Box<dyn Store>)
        }) as Open
    })
}

fn files_below(dir: &Path) -> Vec<(PathBuf, u64)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries.map(Result::unwrap) {
        files.push((entry.path(), entry.metadata().unwrap().len()));
        files.extend(files_below(&entry.path()));
    }
    files.sort();
    files
}

#[test]
fn a_stop_right_after_the_start_leaves_a_quiet_directory() {
    let test = fed_log();
    for round in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        let Started { views, .. } = in_sled(dir.path(), &test);
        // Before, while and after sled opens.
        std::thread::park_timeout(Duration::from_micros(500 * (round % 30)));
        views.stop();
        let before = files_below(dir.path());
        if round % 3 == 0 {
            std::thread::park_timeout(Duration::from_millis(20));
            assert_eq!(files_below(dir.path()), before, "round {round}");
        }
        fs::remove_dir_all(dir.path()).unwrap();
    }
}

#[test]
fn a_store_that_is_still_being_opened_is_waited_for_and_closed() {
    let (dir, test) = (tempfile::tempdir().unwrap(), fed_log());
    let (opening, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (begin, end) = (Arc::clone(&opening), Arc::clone(&opened));
    let opener = opener_around_sled(
        move || {
            begin.store(true, Ordering::Relaxed);
            std::thread::park_timeout(SHORT * 5);
        },
        move || end.store(true, Ordering::Relaxed),
    );
    let Started { views, .. } = start_with(config(dir.path(), &test), opener);
    wait_for(&views, |_| opening.load(Ordering::Relaxed));
    views.stop();
    assert!(opened.load(Ordering::Relaxed), "it is not over");
    fs::remove_dir_all(dir.path()).unwrap();
}

#[test]
fn an_open_that_hangs_is_waited_for_until_the_deadline_and_not_blamed() {
    let wall = Wall::default();
    let held = Wall(Arc::clone(&wall.0));
    let (dir, test) = (tempfile::tempdir().unwrap(), fed_log());
    let mut config = config(dir.path(), &test);
    config.deadlines.close = SHORT * 5;
    let opener = opener_around_sled(move || held.block(), || {});
    let Started { views, .. } = start_with(config, opener);
    let begun = Instant::now();
    views.stop();
    let waited = begun.elapsed();
    assert!(waited >= SHORT * 5 && waited < SLACK, "{waited:?}");
    assert!(!dir.path().join("derived/views.aside-1").exists(), "it is not to blame");
}

#[test]
fn a_drop_that_hangs_is_waited_for_until_the_deadline() {
    let wall = Wall::default();
    let held = Wall(Arc::clone(&wall.0));
    let (dir, test) = (tempfile::tempdir().unwrap(), fed_log());
    let mut config = config(dir.path(), &test);
    config.deadlines.close = SHORT * 5;
    let opener = FaultyStore::opener(move |call, _| {
        if call == Call::Drop {
            held.block();
        }
        Ok(())
    });
    let Started { views, .. } = start_with(config, opener);
    wait_until_fed(&views);
    let begun = Instant::now();
    views.stop();
    let waited = begun.elapsed();
    assert!(waited >= SHORT * 5 && waited < SLACK, "{waited:?}");
}

/// One that hangs in a batch is found in doubt when the ledger is long closed.
#[test]
fn a_doubt_that_comes_after_the_stop_sets_nothing_aside() {
    let wall = Wall::default();
    let held = Wall(Arc::clone(&wall.0));
    let (dir, test) = (tempfile::tempdir().unwrap(), fed_log());
    let mut config = config(dir.path(), &test);
    (config.deadlines.close, config.deadlines.call) = (SHORT, SHORT * 8);
    let hangs = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&hangs);
    let opener = FaultyStore::opener(move |call, _| {
        if call == Call::Apply {
            now.store(true, Ordering::Relaxed);
            held.block();
        }
        Ok(())
    });
    let Started { views, .. } = start_with(config, opener);
    wait_for(&views, |_| hangs.load(Ordering::Relaxed));
    views.stop();
    let state = wait_for(&views, |state| state.last_doubt.is_some());
    assert!(state.last_doubt.unwrap().contains("did not answer"));
    std::thread::park_timeout(SHORT);
    assert!(!dir.path().join("derived/views.aside-1").exists(), "the directory is the next one's");
}

/// The next opening, with sled, behind one whose sled is left behind before or after it took its lock.
fn assert_next_is_safe(before: Option<Wall>, after: Option<Wall>, set_aside: u64) {
    let (dir, test) = (tempfile::tempdir().unwrap(), fed_log());
    let block = |wall: &Option<Wall>| {
        let held = wall.as_ref().map(|wall| Wall(Arc::clone(&wall.0)));
        move || held.iter().for_each(Wall::block)
    };
    let over = Arc::new(AtomicBool::new(false));
    let sled = opener_around_sled(block(&before), block(&after));
    let opener = says_when_over(sled, Arc::clone(&over));
    let mut left = config(dir.path(), &test);
    left.deadlines.close = SHORT;
    let Started { views, .. } = start_with(left, opener);
    wait_for(&views, |_| set_aside == 0 || dir.path().join("derived/views/1/db").exists());
    views.stop();
    assert!(!over.load(Ordering::Relaxed), "it is left behind");

    let next = || {
        let mut config = config(dir.path(), &test);
        config.deadlines.lock = SHORT * 2;
        super::support::start(config)
    };
    let Started { views, .. } = next();
    let state = wait_until_fed(&views);
    assert_eq!(state.set_aside, set_aside, "{state:?}");
    // It wakes while its successor is up.
    drop((before, after));
    wait_for(&views, |_| over.load(Ordering::Relaxed));
    assert_lists_are_right(&views, &test, Seq(351));
    views.stop();

    // And what both left on disk is sound.
    let Started { views, .. } = next();
    let state = wait_until_fed(&views);
    assert_eq!((state.set_aside, state.last_doubt), (set_aside, None));
    assert_lists_are_right(&views, &test, Seq(351));
}

/// Tells when the thread of the first store is over.
fn says_when_over(opener: Opener, over: Arc<AtomicBool>) -> Opener {
    struct Over(Arc<AtomicBool>);
    impl Drop for Over {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    struct Told(Box<dyn Store>, #[expect(dead_code, reason = "dropped after the store")] Over);
    impl Store for Told {
        fn watermark(&mut self) -> Result<Option<Vec<u8>>, Doubt> {
            self.0.watermark()
        }
        fn keys(&mut self, prefix: &[u8], after: &[u8], limit: usize) -> Keys {
            self.0.keys(prefix, after, limit)
        }
        fn apply(&mut self, batch: Batch, watermark: Vec<u8>) -> Result<(), Doubt> {
            self.0.apply(batch, watermark)
        }
    }
    type Keys = Result<Vec<Vec<u8>>, Doubt>;
    Box::new(move |path| {
        let (open, over) = (opener(path), Over(Arc::clone(&over)));
        Box::new(move || Ok(Box::new(Told(open()?, over)) as Box<dyn Store>)) as Open
    })
}

#[test]
fn one_left_behind_with_sleds_lock_is_evaded_by_the_next_opening() {
    assert_next_is_safe(None, Some(Wall::default()), 1);
}

#[test]
fn one_left_behind_without_sleds_lock_fails_when_it_wakes() {
    assert_next_is_safe(Some(Wall::default()), None, 0);
}
