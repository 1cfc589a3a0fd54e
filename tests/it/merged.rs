//! The key tables of several segments become one, behind everything else: no answer changes, whatever becomes
//! of the files, and whenever the power goes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use order_ledger::disk::sim::{Crash, CrashMode, Fault, SimDisk, SimHost};
use order_ledger::{How, Ledger, Reader, Severity, Soundness, Submission, VerifyReport, verify_on};

use crate::rig::{all_orders, copy, large, open, read, settle, sim, small};

const TABLES: &str = "derived/tables";
/// Of 16 KiB segments, two to one.
const ORDER_BYTES: usize = 5000;

/// The segments of each merged run that is on disk.
fn runs(disk: &SimDisk) -> BTreeSet<(u64, u64)> {
    let names = disk.as_disk().list(TABLES).unwrap();
    let number = |text: &str| text.parse::<u64>().unwrap();
    let of = |name: &String| {
        let mut parts = name.strip_suffix(".run")?.split('-');
        Some((number(parts.next()?), number(parts.next()?)))
    };
    names.iter().filter_map(of).collect()
}

/// The path of the run of these segments.
fn path(disk: &SimDisk, first: u64, last: u64) -> String {
    let names = disk.as_disk().list(TABLES).unwrap();
    let begin = format!("{first:010}-{last:010}-");
    let name = names.iter().find(|name| name.starts_with(&begin)).unwrap();
    format!("{TABLES}/{name}")
}

/// What should be there when so many segments are sealed: as the digits of the number to the base of four.
fn expected(sealed: u64) -> BTreeSet<(u64, u64)> {
    let (mut all, mut done) = (BTreeSet::new(), 0);
    for count in [256, 64, 16, 4] {
        while sealed - done >= count {
            all.insert((done + 1, done + count));
            done += count;
        }
    }
    all
}

fn fill(ledger: &Ledger, orders: std::ops::Range<u64>) {
    for number in orders {
        ledger.submit(&large(number, ORDER_BYTES)).unwrap();
        ledger.tick();
    }
}

/// Every order is found under its key, and no other key is taken.
fn check(ledger: &Ledger, orders: u64) {
    for number in 0..orders {
        let order = large(number, ORDER_BYTES);
        assert_eq!(ledger.submit(&order).unwrap().how, How::Replayed, "order {number}");
        let other = Submission::new(order.client(), format!("never {number}"), "x");
        assert_eq!(ledger.by_key(other.client(), other.key()).unwrap(), None);
    }
    assert_eq!(all_orders(ledger).unwrap().len() as u64, orders);
}

fn verify(disk: &SimDisk) -> VerifyReport {
    verify_on(disk.as_disk(), &SimHost::new(1), &mut |_, _| {}).unwrap()
}

/// A ledger of this many sealed segments and one more, closed; and how many orders it has.
fn ledger_of(seed: u64, sealed: u64) -> (SimDisk, SimHost, u64) {
    let (disk, host) = sim(seed);
    let ledger = open(&disk, &host).unwrap();
    let mut orders = 0;
    while ledger.stats().unwrap().segments <= sealed {
        fill(&ledger, orders..orders + 1);
        orders += 1;
    }
    ledger.tick();
    ledger.close().unwrap();
    settle(&disk);
    (disk, host, orders)
}

#[test]
fn which_runs_there_are_follows_from_the_number_of_segments() {
    let (disk, host) = sim(1);
    let ledger = open(&disk, &host).unwrap();
    let mut orders = 0;
    for sealed in 1..=70 {
        while ledger.stats().unwrap().segments <= sealed {
            fill(&ledger, orders..orders + 1);
            orders += 1;
        }
        ledger.tick();
        assert_eq!(runs(&disk), expected(sealed), "{sealed} sealed segments");
        let tables = ledger.stats().unwrap().key_tables;
        assert_eq!(tables, runs(&disk).len() as u64 + sealed % 4 + 1, "{sealed} and the open one");
    }
    check(&ledger, orders);
    ledger.close().unwrap();
    assert_eq!(verify(&disk).soundness(), Soundness::Sound);
    let ledger = open(&disk, &host).unwrap();
    check(&ledger, orders);
    let reader = read(&disk).unwrap();
    for number in 0..orders {
        let order = large(number, ORDER_BYTES);
        assert!(reader.by_key(order.client(), order.key()).unwrap().is_some());
    }
    assert_eq!(runs(&disk), expected(70));
}

/// Whatever becomes of a run's file: the answers are those of the segments, `verify` says it is derived, and
/// the run is made again.
#[test]
fn a_run_that_is_damaged_or_gone_changes_no_answer() {
    let (disk, host, orders) = ledger_of(2, 21);
    assert_eq!(runs(&disk), expected(21));
    let sound = disk.snapshot();
    let big = path(&disk, 1, 16);
    let bytes = disk.read_durable(&big).unwrap().len() as u64;
    type Harm<'a> = (&'a str, &'a dyn Fn(&SimDisk));
    let harms: [Harm<'_>; 7] = [
        ("header", &|disk| disk.flip_bit(&big, 8 * 40).unwrap()),
        ("keys", &|disk| disk.flip_bit(&big, 8 * 4200).unwrap()),
        ("filter", &|disk| disk.flip_bit(&big, 8 * (bytes - 100)).unwrap()),
        ("cut", &|disk| disk.truncate(&big, bytes - 4096).unwrap()),
        ("empty", &|disk| disk.truncate(&big, 0).unwrap()),
        ("garbage", &|disk| {
            disk.overwrite(&big, 0, &vec![0xa5; usize::try_from(bytes).unwrap()]).unwrap()
        }),
        ("gone", &|disk| disk.remove_durably(&big).unwrap()),
    ];
    for while_open in [false, true] {
        for (what, harm) in harms {
            disk.restore(&sound);
            let opened = while_open.then(|| open(&disk, &host).unwrap());
            harm(&disk);
            if what != "gone" {
                let report = verify(&disk);
                let worst = report.findings.iter().map(|finding| finding.severity).max();
                assert_eq!(worst, Some(Severity::Derived), "{what}");
                assert!(!report.is_log_damaged() && report.findings[0].place.file == big);
            }
            // Nothing of it is in the page cache.
            disk.crash(Crash::new(CrashMode::KeepAll, 1));
            drop(opened);
            let ledger = open(&disk, &host).unwrap();
            check(&ledger, orders);
            ledger.tick();
            assert_eq!(runs(&disk), expected(21), "{what}: it is made again");
            check(&ledger, orders);
            ledger.close().unwrap();
            let ledger = open(&disk, &host).unwrap();
            check(&ledger, orders);
            ledger.close().unwrap();
            assert_eq!(verify(&disk).soundness(), Soundness::Sound, "{what}");
        }
    }
}

/// The file goes, or rots, under a ledger that is open and has read nothing of it yet.
#[test]
fn a_run_that_goes_bad_under_an_open_ledger_is_replaced_by_its_segments() {
    // More segments than descriptors that are kept: reading them all makes the run be opened again.
    let (disk, host, orders) = ledger_of(3, 40);
    let sound = disk.snapshot();
    let ways = ["gone", "rotten", "unreadable"].map(|what| [(what, false), (what, true)]);
    for (what, by_batch) in ways.into_iter().flatten() {
        disk.restore(&sound);
        let options = small().key_memory_bytes(0);
        let ledger = options.open_simulated(disk.as_disk(), host.as_host()).unwrap();
        assert_eq!(all_orders(&ledger).unwrap().len() as u64, orders);
        let big = path(&disk, 1, 16);
        match what {
            "gone" => disk.as_disk().remove(&big).unwrap(),
            "rotten" => {
                let file = disk.as_disk().open(&big, order_ledger::disk::Open::Write).unwrap();
                file.write_at(&[0x55; 64], 4200).unwrap();
            }
            _ => disk.fail_reads(&big, 4096..8192).unwrap(),
        }
        if by_batch {
            // It is the first to notice.
            let all: Vec<_> = (0..orders).map(|number| large(number, ORDER_BYTES)).collect();
            for answer in ledger.submit_many(&all) {
                assert_eq!(answer.unwrap().how, How::Replayed, "{what}");
            }
        }
        check(&ledger, orders);
        ledger.close().unwrap();
    }
}

/// Power cuts at every call of the merges of an opening and a round of upkeep, in several ways.
#[test]
fn a_merge_may_be_cut_off_at_every_call() {
    let (disk, host, orders) = ledger_of(4, 16);
    for (path, _) in disk.files() {
        if path.ends_with(".run") {
            disk.remove_durably(&path).unwrap();
        }
    }
    let without = disk.snapshot();
    let calls = {
        let ledger = open(&disk, &host).unwrap();
        let before = disk.io_calls();
        ledger.tick();
        assert_eq!(runs(&disk), expected(16));
        disk.io_calls() - before
    };
    assert!(calls > 50, "{calls}");
    let mut leftovers = 0;
    for call in 1..=calls {
        for mode in
            [CrashMode::DropAll, CrashMode::KeepAll, CrashMode::Random, CrashMode::Adversarial]
        {
            disk.restore(&without);
            let ledger = open(&disk, &host).unwrap();
            disk.power_off_after(call);
            ledger.tick();
            drop(ledger);
            disk.crash(Crash::new(mode, call));
            assert_eq!(verify(&disk).soundness(), Soundness::Sound, "call {call}, {mode:?}");
            let ledger = open(&disk, &host).unwrap();
            leftovers += ledger.recovery_report().leftovers_removed;
            check(&ledger, orders);
            ledger.tick();
            assert_eq!(runs(&disk), expected(16), "call {call}, {mode:?}");
            let names = disk.as_disk().list(TABLES).unwrap();
            assert!(!names.iter().any(|name| name.ends_with(".tmp")), "{names:?}");
            ledger.close().unwrap();
        }
    }
    assert!(leftovers > 0);
}

/// Every call of a merge fails once, in several ways: the ledger goes on, and the run is made later.
#[test]
fn a_merge_that_fails_costs_nothing_but_time() {
    let (disk, host, orders) = ledger_of(5, 4);
    disk.remove_durably(&path(&disk, 1, 4)).unwrap();
    let without = disk.snapshot();
    let mut failed = 0;
    for fault in [Fault::Eio, Fault::EioLate, Fault::Enospc, Fault::ShortWrite, Fault::Interrupted]
    {
        for call in 1.. {
            disk.restore(&without);
            let ledger = open(&disk, &host).unwrap();
            // What comes before the merge of a tick: the directory, the active file.
            let hits = disk.faults_hit();
            disk.fail_call(call, fault);
            ledger.tick();
            let was_hit = disk.faults_hit() > hits;
            disk.clear_faults();
            failed += u64::from(runs(&disk) != expected(4));
            if ledger.poisoned().is_none() {
                check(&ledger, orders);
                ledger.submit(&Submission::new("web", "one more", "x")).unwrap();
                ledger.tick();
            }
            drop(ledger);
            disk.crash(Crash::new(CrashMode::DropAll, 1));
            let ledger = open(&disk, &host).unwrap();
            host.advance(Duration::from_secs(1));
            ledger.tick();
            assert_eq!(runs(&disk), expected(4), "{fault:?} at call {call}");
            if !was_hit {
                break;
            }
        }
    }
    assert!(failed > 10, "{failed}");
}

/// Runs of another history, under the right names: a backup of the log beside tables that are newer.
#[test]
fn a_run_of_another_history_is_not_believed() {
    let (disk, host, orders) = ledger_of(6, 14);
    let past = copy(&disk);
    // The original goes on in one way,
    let ledger = open(&disk, &host).unwrap();
    fill(&ledger, orders..orders + 10);
    let ours = ledger.stats().unwrap().segments - 1;
    assert!(runs(&disk).contains(&(1, 16)), "{ours}");
    ledger.close().unwrap();
    settle(&disk);
    // the copy in another, with other keys.
    let ledger = open(&past, &SimHost::new(99)).unwrap();
    for number in 0..10 {
        ledger.submit(&large(5000 + number, ORDER_BYTES)).unwrap();
        ledger.tick();
    }
    ledger.close().unwrap();
    settle(&past);
    for (path, _) in past.files() {
        if path.ends_with(".run") {
            past.remove_durably(&path).unwrap();
        }
    }
    for (path, _) in disk.files() {
        if path.ends_with(".run") {
            past.write_durably(&path, &disk.read_durable(&path).unwrap()).unwrap();
        }
    }
    let ledger = open(&past, &host).unwrap();
    check_keys(&ledger, 0..orders, true);
    check_keys(&ledger, 5000..5010, true);
    check_keys(&ledger, orders..orders + 10, false);
    ledger.tick();
    ledger.close().unwrap();
    assert_eq!(verify(&past).soundness(), Soundness::Sound);
}

fn check_keys(ledger: &Ledger, numbers: std::ops::Range<u64>, are_there: bool) {
    for number in numbers {
        let order = large(number, ORDER_BYTES);
        let found = ledger.by_key(order.client(), order.key()).unwrap();
        assert_eq!(found.is_some(), are_there, "order {number}");
    }
}

/// On a full disk no run is made, orders go on as long as there is room for them.
#[test]
fn a_merge_takes_no_space_that_an_order_needs() {
    let (disk, host, orders) = ledger_of(7, 4);
    disk.remove_durably(&path(&disk, 1, 4)).unwrap();
    let held: u64 = disk.files().iter().map(|(_, bytes)| bytes).sum();
    // Room for the run, but not for the next segment beside it.
    disk.set_capacity(held + 20 * 1024);
    let ledger = open(&disk, &host).unwrap();
    ledger.tick();
    assert_eq!(runs(&disk), BTreeSet::new());
    disk.set_capacity(1 << 30);
    ledger.tick();
    assert_eq!(runs(&disk), expected(4));
    check(&ledger, orders);
}

/// On the real disk, with its thread: lookups from other threads while runs come and go.
#[test]
fn lookups_beside_the_merging_find_every_key() {
    let dir = tempfile::tempdir().unwrap();
    let options = order_ledger::Options::new()
        .segment_bytes(1024 * 1024)
        .key_memory_bytes(0)
        .views(order_ledger::Views::Off);
    let ledger = options.open(dir.path().join("orders.ledger")).unwrap();
    let told = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let batch = 400;
    let order = |number: u64| Submission::new("web", format!("key {number}"), vec![b'x'; 600]);
    std::thread::scope(|scope| {
        for salt in [1, 7] {
            let (ledger, told) = (&ledger, &told);
            scope.spawn(move || {
                let mut number = salt;
                loop {
                    let so_far = told.load(std::sync::atomic::Ordering::Acquire);
                    if so_far == u64::MAX {
                        break;
                    }
                    if so_far > 0 {
                        number = (number * 31 + 17) % so_far;
                        let order = order(number);
                        let found = ledger.by_key(order.client(), order.key()).unwrap();
                        assert!(found.is_some(), "order {number} of {so_far}");
                    }
                }
            });
        }
        for start in (0..32_000).step_by(batch) {
            let orders: Vec<_> = (start as u64..(start + batch) as u64).map(order).collect();
            ledger
                .submit_many(&orders)
                .into_iter()
                .for_each(|outcome| assert_eq!(outcome.unwrap().how, How::Fresh));
            told.store((start + batch) as u64, std::sync::atomic::Ordering::Release);
        }
        told.store(u64::MAX, std::sync::atomic::Ordering::Release);
    });
    assert!(ledger.stats().unwrap().segments > 16);
    let report = order_ledger::verify(dir.path().join("orders.ledger")).unwrap();
    assert_eq!(report.soundness(), Soundness::Sound, "{:?}", report.findings);
    ledger.close().unwrap();
    let reader = Reader::open(dir.path().join("orders.ledger")).unwrap();
    assert!(reader.by_key("web", "key 31999").unwrap().is_some());
}
