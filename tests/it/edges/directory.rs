//! What others do to the directory, and what the ledger does to what is theirs.

use std::io;
use std::time::{Duration, Instant};

use order_ledger::disk::sim::Fault;
use order_ledger::{ErrorKind, How, Ledger, Options};

use crate::rig::{all_orders, durable, fill, kind, large, open, order, settle, sim};

// Cause: the lock was that of a file which anybody may remove. Effect: after `rm LOCK`, which people do
// to locks they think are stale, a second process wrote to the same log.
#[test]
#[expect(clippy::disallowed_methods, reason = "what somebody else does to the directory")]
fn rule_46_whoever_removes_the_lock_file_opens_no_second_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.ledger");
    let options = Options::new().segment_bytes(1 << 20);
    let ledger = options.open(&path).unwrap();
    std::fs::remove_file(path.join("LOCK")).unwrap();
    assert!(matches!(kind(options.open(&path)), ErrorKind::Locked { .. }));
    assert_eq!(ledger.submit(&order(1)).unwrap().how, How::Fresh);
    ledger.close().unwrap();
    let ledger = options.open(&path).unwrap();
    assert_eq!(all_orders(&ledger).unwrap().len(), 1);
}

// Cause: every name that ends in `.tmp` was taken for an unfinished file of ours. Effect: other people's
// files were removed, and a directory of that name kept the ledger shut.
#[test]
fn opening_removes_no_file_that_the_ledger_did_not_make() {
    let (disk, host) = sim(5);
    let ledger = open(&disk, &host).unwrap();
    let receipts = fill(&ledger, 2);
    ledger.close().unwrap();
    let mounted = disk.as_disk();
    for path in ["notes.tmp", "wal/notes.tmp", "derived/tables/notes.tmp"] {
        disk.write_durably(path, b"mine").unwrap();
    }
    mounted.create_dir("wal/copy.tmp").unwrap();
    for path in ["LEDGER.tmp", "wal/next.tmp", "derived/tables/MANIFEST.tmp"] {
        disk.write_durably(path, b"half made").unwrap();
    }
    settle(&disk);
    let ledger = open(&disk, &host).unwrap();
    assert_eq!(ledger.recovery_report().leftovers_removed, 3);
    assert_eq!(ledger.submit(&order(1)).unwrap().receipt, receipts[1]);
    drop(ledger);
    settle(&disk);
    let files = durable(&disk, "");
    let names: Vec<_> = files.keys().filter(|path| path.ends_with(".tmp")).collect();
    assert_eq!(names, ["derived/tables/notes.tmp", "notes.tmp", "wal/notes.tmp"]);
}

// Cause: a full disk was looked for in what recovery does, not where the lock file is made.
#[test]
fn rule_15_no_room_for_the_lock_file_is_a_full_disk() {
    let (disk, host) = sim(15);
    disk.fail_from(1, Fault::Enospc);
    assert!(matches!(kind(open(&disk, &host)), ErrorKind::DiskLow { .. }));
}

// Cause: only the ledger's own directory was looked at. Effect: after `rm -r wal`, or a rename of it,
// orders were acknowledged into a file that no name leads to.
#[test]
#[expect(clippy::disallowed_methods, reason = "what somebody else does to the directory")]
fn rule_46_a_log_that_was_removed_under_a_running_ledger_is_noticed() {
    for remove in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orders.ledger");
        let ledger = Options::new().segment_bytes(1 << 20).open(&path).unwrap();
        ledger.submit(&order(1)).unwrap();
        let wal = path.join("wal");
        match remove {
            // More than once when the ledger puts its next segment there in between.
            true => {
                while wal.exists() {
                    drop(std::fs::remove_dir_all(&wal));
                }
            }
            false => std::fs::rename(&wal, path.join("wal.old")).unwrap(),
        }
        wait_until_poisoned(&ledger);
        assert!(matches!(kind(ledger.submit(&order(2))), ErrorKind::Poisoned { .. }));
        assert!(matches!(kind(ledger.close()), ErrorKind::Poisoned { .. }));
    }
}

fn wait_until_poisoned(ledger: &Ledger) {
    let begun = Instant::now();
    while ledger.poisoned().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(30), "not noticed");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn what_is_derived_may_be_deleted_under_a_running_ledger() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("orders.ledger");
    let options = Options::new().segment_bytes(1 << 20).seal_after(Duration::from_millis(1));
    let ledger = options.open(&path).unwrap();
    let receipt = ledger.submit(&order(1)).unwrap().receipt;
    // The upkeep may be writing there at this very moment.
    while path.join("derived").exists() {
        drop(std::fs::remove_dir_all(path.join("derived")));
    }
    // Enough for a rotation, so that what is sealed is written beside a directory that is not there.
    for number in 2..20 {
        ledger.submit(&large(number, 100_000)).unwrap();
    }
    std::thread::park_timeout(Duration::from_millis(50));
    assert_eq!(ledger.poisoned(), None);
    assert_eq!(ledger.submit(&order(1)).unwrap().receipt, receipt);
    ledger.close().unwrap();
    let ledger = options.open(&path).unwrap();
    assert_eq!(all_orders(&ledger).unwrap().len(), 19);
    assert_eq!(ledger.submit(&order(1)).unwrap().receipt, receipt);
    Ok(())
}

const CWD: &str = "ORDER_LEDGER_TEST_CWD";

#[test]
fn child_that_changes_its_directory() {
    let Ok(dir) = std::env::var(CWD) else { return };
    let dir = std::path::Path::new(&dir);
    for round in 0..5 {
        std::env::set_current_dir(dir.join("one")).unwrap();
        let ledger = Options::new().segment_bytes(1 << 20).open("orders.ledger").unwrap();
        std::env::set_current_dir(dir.join("two")).unwrap();
        ledger.submit(&order(round)).unwrap();
        let begun = Instant::now();
        while ledger.stats().unwrap().views.unwrap().behind > 0 {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{:?}",
                ledger.stats().unwrap().views
            );
            std::thread::park_timeout(Duration::from_millis(5));
        }
        ledger.close().unwrap();
    }
}

// Cause: sled got the path as the caller had given it, and opens by path, later. Effect: after a change
// of the working directory the views were built, in part, somewhere else.
#[test]
fn a_relative_path_still_means_the_same_after_a_change_of_the_working_directory() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "edges::directory::child_that_changes_its_directory"])
        .env(CWD, dir.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert_eq!(std::fs::read_dir(dir.path().join("two")).unwrap().count(), 0);
}

// Cause: whatever had the name of a file was opened. Effect: a pipe there kept `open` waiting for ever.
#[test]
#[expect(clippy::disallowed_methods, reason = "what somebody else does to the directory")]
fn a_pipe_in_the_place_of_a_file_is_an_error_and_not_waited_for() {
    for name in ["LOCK", "LEDGER", "wal/0000000001.seg"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orders.ledger");
        let options = Options::new().segment_bytes(1 << 20);
        options.open(&path).unwrap().close().unwrap();
        std::fs::rename(path.join(name), dir.path().join("aside")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(path.join(name)).status().unwrap();
        assert!(made.success());
        let (sender, answer) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(options.open(&path).map(drop)));
        let error = answer.recv_timeout(Duration::from_secs(60)).expect(name).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{name}: {error}");
        assert!(error.to_string().contains("no file"), "{name}: {error}");
    }
}
