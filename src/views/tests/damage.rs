//! sled's files damaged in every way that needs no knowledge of them; and the one thing that must never
//! be taken for damage: a watermark beyond the end of the log.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::super::layout::{View, WATERMARK_KEY, Watermark};
use super::super::{Phase, ViewsState};
use super::assert_lists_are_right;
use super::support::{
    LEDGER, Started, TestLog, config, in_sled, snapshot, start, wait_for, wait_until_fed,
};
use crate::order::{Durability, LedgerId, Seq};

/// A ledger directory with sled views of `count` records of a test log.
fn built(dir: &Path, test: &TestLog) {
    let Started { views, .. } = in_sled(dir, test);
    assert_eq!(wait_until_fed(&views).set_aside, 0);
    views.stop();
}

fn log_of(count: u64) -> TestLog {
    let mut test = TestLog::new();
    test.write_many(count);
    test
}

/// sled's directory.
fn store_dir(dir: &Path) -> PathBuf {
    dir.join("derived/views/1")
}

fn copy(from: &Path, to: &Path) {
    for (path, content) in snapshot(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        match content {
            None => fs::create_dir_all(&target).unwrap(),
            Some(content) => {
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                write(&target, &content);
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "these files are sled's, and the test damages them")]
fn write(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "these files are sled's, and the test damages them")]
fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

/// Opens what is there and holds every answer against the log.
fn assert_no_difference(dir: &Path, test: &TestLog, what: &str) -> ViewsState {
    let mut config = config(dir, test);
    // What looks like a held lock is mostly damage here.
    config.deadlines.lock = Duration::from_millis(50);
    let Started { views, proved } = start(config);
    let state = wait_until_fed(&views);
    assert_lists_are_right(&views, test, test.log.readable_next());
    assert_eq!(*proved.lock(), [], "{what}");
    views.stop();
    state
}

#[test]
fn garbage_in_any_file_costs_time_and_no_answer() {
    let (origin, test) = (tempfile::tempdir().unwrap(), log_of(250));
    built(origin.path(), &test);
    let files: Vec<PathBuf> = snapshot(origin.path())
        .into_iter()
        .filter_map(|(path, content)| content.map(|_| path))
        .map(|path| path.strip_prefix(origin.path()).unwrap().to_owned())
        .collect();
    assert!(files.len() >= 2, "{files:?}");
    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    type Change = fn(&Path, &mut TestRng);
    let changes: [(&str, Change); 7] = [
        ("noise", |path, rng| {
            let mut content = fs::read(path).unwrap();
            rng.fill_bytes(&mut content);
            write(path, &content);
        }),
        ("zeros", |path, _| write(path, &vec![0; fs::read(path).unwrap().len()])),
        ("empty", |path, _| write(path, b"")),
        ("half", |path, _| {
            let content = fs::read(path).unwrap();
            write(path, &content[..content.len() / 2]);
        }),
        ("more", |path, rng| {
            let mut content = fs::read(path).unwrap();
            let mut more = vec![0; 5_000];
            rng.fill_bytes(&mut more);
            content.extend(more);
            write(path, &content);
        }),
        ("missing", |path, _| remove(path)),
        ("a directory", |path, _| {
            remove(path);
            fs::create_dir(path).unwrap();
        }),
    ];
    for file in &files {
        for (what, change) in &changes {
            let dir = tempfile::tempdir().unwrap();
            copy(origin.path(), dir.path());
            change(&dir.path().join(file), &mut rng);
            assert_no_difference(dir.path(), &test, &format!("{what}: {}", file.display()));
        }
    }
}

#[test]
fn a_flipped_bit_costs_time_and_no_answer() {
    // Several of sled's segments, and a snapshot behind which it does not look at its log when it opens.
    let (origin, test) = (tempfile::tempdir().unwrap(), log_of(2_500));
    built(origin.path(), &test);
    built(origin.path(), &test);
    let db = store_dir(origin.path()).join("db");
    let content = fs::read(&db).unwrap();
    let used = content.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    let (mut rng, mut rebuilt) = (TestRng::deterministic_rng(RngAlgorithm::ChaCha), 0);
    // Twenty, and more until one did harm: what sled has written where depends on its threads.
    for round in 0..200 {
        if round >= 20 && rebuilt > 0 {
            break;
        }
        let bit = rng.next_u64() % (used * 8);
        let dir = tempfile::tempdir().unwrap();
        copy(origin.path(), dir.path());
        let mut bent = content.clone();
        bent[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
        write(&store_dir(dir.path()).join("db"), &bent);
        if round % 2 == 0 {
            let files =
                fs::read_dir(store_dir(dir.path())).unwrap().map(|file| file.unwrap().path());
            files
                .filter(|file| file.to_string_lossy().contains("snap."))
                .for_each(|file| remove(&file));
        }
        rebuilt += assert_no_difference(dir.path(), &test, &format!("bit {bit}")).set_aside;
    }
    assert!(rebuilt > 0, "no flip did any harm: this test proves nothing");
}

#[test]
fn a_file_in_place_of_the_directory_is_set_aside_as_well() {
    let (dir, test) = (tempfile::tempdir().unwrap(), log_of(50));
    fs::create_dir(dir.path().join("derived")).unwrap();
    write(&dir.path().join("derived/views"), b"I am a file");
    assert_eq!(assert_no_difference(dir.path(), &test, "file").set_aside, 1);
    assert_eq!(fs::read(dir.path().join("derived/views.aside-1")).unwrap(), b"I am a file");
}

#[test]
fn without_any_place_for_them_the_views_are_off() {
    let (dir, test) = (tempfile::tempdir().unwrap(), log_of(50));
    write(&dir.path().join("derived"), b"I am a file");
    let Started { views, .. } = in_sled(dir.path(), &test);
    let state = wait_for(&views, |state| matches!(state.phase, Phase::Off { .. }));
    assert_eq!(state.covered, Seq(1));
}

#[test]
fn views_that_were_deleted_are_built_again() {
    let (dir, test) = (tempfile::tempdir().unwrap(), log_of(50));
    built(dir.path(), &test);
    fs::remove_dir_all(dir.path().join("derived")).unwrap();
    assert_eq!(assert_no_difference(dir.path(), &test, "deleted").set_aside, 0);
}

#[test]
fn views_of_another_ledger_are_set_aside_and_kept() {
    let (dir, test) = (tempfile::tempdir().unwrap(), log_of(50));
    let mut other = TestLog::of(LedgerId([8; 16]), Durability::Durable);
    other.write_many(200);
    built(dir.path(), &other);
    let before = fs::read(store_dir(dir.path()).join("conf")).unwrap();
    let state = assert_no_difference(dir.path(), &test, "foreign");
    assert!(state.last_doubt.unwrap().contains("belongs to ledger 0808"));
    let aside = dir.path().join("derived/views.aside-1/1/conf");
    assert_eq!(fs::read(aside).unwrap(), before);
}

#[test]
fn a_watermark_is_missing_or_bent_inside_a_sound_sled() {
    for bend in [true, false] {
        let (dir, test) = (tempfile::tempdir().unwrap(), log_of(50));
        built(dir.path(), &test);
        let db = open_sled(dir.path());
        if bend {
            let mut mark = db.get(WATERMARK_KEY).unwrap().unwrap().to_vec();
            mark[9] ^= 1;
            db.insert(WATERMARK_KEY, mark).unwrap();
        } else {
            db.remove(WATERMARK_KEY).unwrap();
        }
        drop(db);
        let state = assert_no_difference(dir.path(), &test, "watermark");
        let why = if bend { "checksum" } else { "no watermark" };
        assert_eq!(state.set_aside, 1);
        assert!(state.last_doubt.unwrap().contains(why));
    }
}

#[test]
fn a_key_that_sled_lost_without_a_word_is_noticed() {
    let (dir, test) = (tempfile::tempdir().unwrap(), log_of(50));
    built(dir.path(), &test);
    let db = open_sled(dir.path());
    db.remove(View::Account(b"account-1").key(Seq(21)).unwrap()).unwrap().unwrap();
    drop(db);
    let state = assert_no_difference(dir.path(), &test, "lost key");
    assert!(state.last_doubt.unwrap().contains("do not add up"));
}

/// Opens sled beside us. Its lock may be held for a moment: by its own late tasks, or by a child that
/// another test is just starting.
fn open_sled(dir: &Path) -> sled::Db {
    for _ in 0..2_000 {
        if let Ok(db) = sled::open(store_dir(dir)) {
            return db;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("sled does not open");
}

/// All that sled holds, once the ledger was closed.
fn content_of(dir: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let entries = open_sled(dir).iter().map(|entry| entry.unwrap());
    entries.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

fn watermark_in(content: &BTreeMap<Vec<u8>, Vec<u8>>) -> Watermark {
    Watermark::decode(&content[WATERMARK_KEY]).unwrap()
}

#[test]
fn rule_36_a_sound_watermark_beyond_the_log_is_proof_and_is_kept() {
    let (dir, longer, shorter) = (tempfile::tempdir().unwrap(), log_of(300), log_of(299));
    built(dir.path(), &longer);
    let before = content_of(dir.path());
    let mark = watermark_in(&before);
    assert_eq!((mark.ledger, mark.next), (LEDGER, Seq(301)));
    for _ in 0..3 {
        let Started { views, proved } = in_sled(dir.path(), &shorter);
        let state = wait_for(&views, |state| matches!(state.phase, Phase::Off { .. }));
        let Phase::Off { reason } = state.phase else { unreachable!() };
        assert!(reason.contains("seq 300"), "{reason}");
        let witness = "the watermark of derived/views".to_owned();
        assert_eq!(*proved.lock(), [(Seq(300), witness)]);
        assert_eq!((state.set_aside, state.last_doubt), (0, None));
        assert_eq!(views.page(View::Account(b"account-1"), Seq(0), 9), (vec![], Seq(1)));
        views.stop();
    }
    // Not compared: the bytes of sled's files, in which sled itself tidies up whenever it is opened.
    assert!(content_of(dir.path()) == before, "the witness was changed");
    let names: Vec<PathBuf> = snapshot(&dir.path().join("derived")).into_keys().collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("aside")), "{names:?}");
}

#[test]
fn rule_36_what_is_written_after_the_open_does_not_hide_the_proof() {
    use super::super::guard::Open;
    use super::super::sled_store::SledStore;
    use super::super::store::Store;
    let (dir, longer, mut shorter) = (tempfile::tempdir().unwrap(), log_of(300), log_of(299));
    built(dir.path(), &longer);
    let written = Arc::new(AtomicBool::new(false));
    let wait = Arc::clone(&written);
    let opener = Box::new(move |path: PathBuf| {
        let wait = Arc::clone(&wait);
        Box::new(move || {
            while !wait.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            SledStore::open(&path).map(|store| Box::new(store) as Box<dyn Store>)
        }) as Open
    });
    let Started { views, proved } =
        super::support::start_with(config(dir.path(), &shorter), opener);
    shorter.write_many(100);
    views.notify();
    written.store(true, Ordering::Release);
    wait_for(&views, |state| matches!(state.phase, Phase::Off { .. }));
    assert_eq!(proved.lock().len(), 1);
}

#[test]
fn a_relaxed_ledger_may_be_behind_its_views() {
    let dir = tempfile::tempdir().unwrap();
    let [mut longer, mut shorter] = [0, 1].map(|_| TestLog::of(LEDGER, Durability::Relaxed));
    longer.write_many(300);
    shorter.write_many(200);
    built(dir.path(), &longer);
    let state = assert_no_difference(dir.path(), &shorter, "relaxed");
    assert_eq!(state.set_aside, 1);
    assert!(state.last_doubt.unwrap().contains("relaxed"));
}

#[test]
fn a_store_that_was_left_behind_does_not_meet_its_successor() {
    // What an opening that was given up makes by path when it wakes up.
    let (dir, test) = (tempfile::tempdir().unwrap(), log_of(50));
    built(dir.path(), &test);
    let db = store_dir(dir.path()).join("db");
    write(&db, b"garbage that sled refuses or takes for an empty store");
    write(&store_dir(dir.path()).join("conf"), &[255; 40]);
    assert_eq!(assert_no_difference(dir.path(), &test, "first").set_aside, 1);
    assert!(dir.path().join("derived/views/2/db").exists(), "a path of its own");
    fs::create_dir_all(store_dir(dir.path())).unwrap();
    write(&store_dir(dir.path()).join("snap.0000000000000000"), b"late");
    assert_eq!(assert_no_difference(dir.path(), &test, "again").set_aside, 1);
}

#[test]
fn views_may_be_stopped_at_any_moment() {
    let (dir, test) = (tempfile::tempdir().unwrap(), log_of(10));
    for pause_ms in 0..20 {
        let Started { views, .. } = in_sled(dir.path(), &test);
        std::thread::park_timeout(Duration::from_millis(pause_ms));
        views.stop();
    }
    built(dir.path(), &test);
}
