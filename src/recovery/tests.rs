//! What the report of an opening says, to the byte, and which calls of the disk an opening may not do
//! without.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::*;
use crate::disk::sim::{Crash, CrashMode, Fault, SimDisk, SimHost};
use crate::disk::{DiskFile, DiskLock, Open};
use crate::wal::format::{Footer, GROUPS_START, SegmentHeader, segment_path};
use crate::{Ledger, Options, Reader, Submission, Views};

fn options(segment_bytes: u64) -> Options {
    Options::new()
        .segment_bytes(segment_bytes)
        .disk_reserve_bytes(0)
        .disk_free_min_bytes(0)
        .views(Views::Off)
}

fn sim() -> (SimDisk, SimHost) {
    (SimDisk::new(1), SimHost::new(2))
}

fn open(disk: &SimDisk, host: &SimHost) -> Result<Ledger> {
    options(16 * 1024).open_simulated(disk.as_disk(), host.as_host())
}

fn order(number: u64, bytes: usize) -> Submission {
    Submission::new("web", format!("k{number}"), vec![7; bytes])
}

/// Five orders in three segments, none of which is sealed, and the process is gone.
fn three_unsealed_segments() -> (SimDisk, SimHost) {
    let (disk, host) = sim();
    let ledger = open(&disk, &host).unwrap();
    for number in 0..5 {
        ledger.submit(&order(number, 4000)).unwrap();
    }
    disk.kill();
    drop(ledger);
    disk.crash(Crash::new(CrashMode::KeepAll, 0));
    (disk, host)
}

/// A disk on which some calls fail.
#[derive(Debug)]
struct Failing {
    disk: Arc<dyn Disk>,
    /// Call, path, and the error that it has from now on; once, when it says so.
    fails: Mutex<Vec<(&'static str, String, io::ErrorKind, bool)>>,
    /// What the next looks into `wal` find.
    lists: Mutex<VecDeque<Vec<String>>>,
}

impl Failing {
    fn new(disk: &SimDisk, call: &'static str, path: &str, kind: io::ErrorKind) -> Arc<Failing> {
        Self::with(disk, vec![(call, path.to_owned(), kind, false)], VecDeque::new())
    }

    fn with(
        disk: &SimDisk,
        fails: Vec<(&'static str, String, io::ErrorKind, bool)>,
        lists: VecDeque<Vec<String>>,
    ) -> Arc<Failing> {
        let (fails, lists) = (Mutex::new(fails), Mutex::new(lists));
        Arc::new(Failing { disk: disk.as_disk(), fails, lists })
    }

    fn ask(&self, call: &str, path: &str) -> io::Result<()> {
        let mut fails = self.fails.lock().unwrap_or_else(PoisonError::into_inner);
        let found = fails.iter().position(|(what, of, ..)| *what == call && of == path);
        let Some(index) = found else { return Ok(()) };
        let (.., kind, once) = fails[index];
        if once {
            fails.remove(index);
        }
        Err(kind.into())
    }
}

impl Disk for Failing {
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        self.ask("open", path)?;
        self.disk.open(path, how)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.ask("list", dir)?;
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        match lists.pop_front().filter(|_| dir == WAL_DIR) {
            Some(names) => Ok(names),
            None => self.disk.list(dir),
        }
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.ask("create_dir", dir)?;
        self.disk.create_dir(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.ask("rename", from)?;
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.ask("remove", path)?;
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.ask("sync_dir", dir)?;
        self.disk.sync_dir(dir)
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn DiskLock>> {
        self.disk.lock(path)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn is_in_place(&self) -> io::Result<bool> {
        self.disk.is_in_place()
    }

    fn display_path(&self) -> String {
        self.disk.display_path()
    }
}

#[test]
fn the_report_says_exactly_what_was_found_and_done() {
    let (disk, host) = three_unsealed_segments();
    for path in ["LEDGER.tmp", "wal/next.tmp", "derived/tables/MANIFEST.tmp", "derived/OPENED.tmp"]
    {
        disk.write_durably(path, b"half").unwrap();
    }
    // The last group, without its end: what is left of it is cut.
    let last = segment_path(3);
    let content = disk.read_durable(&last).unwrap();
    let end = content.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    let dirty = end / 512 * 512;
    disk.overwrite(&last, dirty, &[0; 512]).unwrap();
    let now_ns = host.as_host().wall_ns();
    host.set_wall_ns(now_ns - 1_000_000_000);

    let ledger = open(&disk, &host).unwrap();
    let report = ledger.recovery_report().clone();
    let expected = RecoveryReport {
        created: false,
        segments: 3,
        segments_scanned: 3,
        records: 4,
        records_scanned: 4,
        torn_bytes: dirty - GROUPS_START,
        torn_why: Some("the checksum of the group's records does not hold".into()),
        segments_resealed: 2,
        tables_rebuilt: 0,
        leftovers_removed: 4,
        clock_behind_ns: report.clock_behind_ns,
        past_cache: false,
        elapsed_ns: report.elapsed_ns,
    };
    assert_eq!(report, expected);
    let about = 900_000_000..1_000_000_000;
    assert!(about.contains(&report.clock_behind_ns), "{report}");
    assert!((1..1_000_000).contains(&report.elapsed_ns), "{report}");
    assert_eq!(last_report(&*disk.as_disk()), Some(report));

    // Closed: only the last one is read, and nothing is left to do.
    ledger.close().unwrap();
    let ledger = open(&disk, &host).unwrap();
    let expected = RecoveryReport {
        segments: 3,
        segments_scanned: 1,
        records: 4,
        clock_behind_ns: ledger.recovery_report().clock_behind_ns,
        elapsed_ns: ledger.recovery_report().elapsed_ns,
        ..RecoveryReport::default()
    };
    assert_eq!(*ledger.recovery_report(), expected);
    drop(ledger);
    // A key table that is damaged.
    let path = segment_path(1);
    let bytes = disk.read_durable(&path).unwrap().len() as u64;
    disk.flip_bit(&path, (bytes - 2 * 4096 + 5) * 8).unwrap();
    assert_eq!(open(&disk, &host).unwrap().recovery_report().tables_rebuilt, 1);
}

/// Sealing may find the disk full at any call: the report counts those that were sealed.
#[test]
fn only_what_was_sealed_is_reported_as_sealed() {
    let (disk, host) = three_unsealed_segments();
    let image = disk.snapshot();
    let calls = {
        open(&disk, &host).unwrap();
        disk.io_calls()
    };
    let mut counts = std::collections::BTreeSet::new();
    for call in 1..=calls {
        disk.restore(&image);
        disk.fail_call(call, Fault::Enospc);
        let Ok(ledger) = open(&disk, &host) else { continue };
        disk.clear_faults();
        let sealed = (1..=2)
            .filter(|number| {
                let content = disk.read_durable(&segment_path(*number)).unwrap();
                Footer::decode(&content[content.len() - 4096..]).is_ok()
            })
            .count() as u64;
        let told = ledger.recovery_report().segments_resealed;
        // A footer may have arrived whose sync failed.
        assert!(told <= sealed && told + 1 >= sealed, "call {call}: {told} of {sealed}");
        counts.insert(told);
        for number in 0..5 {
            let how = ledger.submit(&order(number, 4000)).unwrap().how;
            assert_eq!(how, crate::How::Replayed, "call {call}");
        }
    }
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [1, 2]);
}

/// A torn group of more than one piece of zeros: all of it is gone, and nothing else.
#[test]
fn rule_24_a_large_torn_tail_is_zeroed_to_its_end() {
    let (disk, host) = sim();
    let large = options(1 << 20);
    let ledger = large.open_simulated(disk.as_disk(), host.as_host()).unwrap();
    ledger.submit(&order(1, 100)).unwrap();
    let path = segment_path(1);
    let before = disk.read_durable(&path).unwrap();
    let start = before.iter().rposition(|byte| *byte != 0).unwrap().next_multiple_of(8);
    ledger.submit(&order(2, 700_000)).unwrap();
    disk.kill();
    drop(ledger);
    let whole = disk.read_durable(&path).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert!(end - start > 2 * 256 * 1024);
    disk.flip_bit(&path, (start as u64 + 100) * 8).unwrap();
    let ledger = large.open_simulated(disk.as_disk(), host.as_host()).unwrap();
    assert_eq!(ledger.recovery_report().torn_bytes, (end - start) as u64);
    assert!(disk.read_durable(&path).unwrap() == before, "as before the torn group");
}

/// Everything that may be in the way of an opening and is not the disk being full.
#[test]
fn rule_14_an_opening_does_without_no_call_that_it_rests_on() {
    let (made, host) = sim();
    drop(open(&made, &host).unwrap());
    let (fresh, _) = sim();
    let other = io::ErrorKind::PermissionDenied;
    for (disk, call, path) in [
        (&fresh, "list", ""),
        (&fresh, "list", "wal"),
        (&fresh, "create_dir", "wal"),
        (&fresh, "sync_dir", ""),
        (&fresh, "sync_dir", "wal"),
        (&fresh, "create_dir", "derived"),
        (&fresh, "create_dir", "derived/tables"),
        (&fresh, "sync_dir", "derived"),
        (&fresh, "rename", "LEDGER.tmp"),
        (&fresh, "rename", "wal/next.tmp"),
        (&fresh, "remove", "wal/next.tmp"),
        (&made, "open", "LEDGER"),
        (&made, "open", "wal/0000000001.seg"),
        (&made, "list", "wal"),
        (&made, "list", "derived"),
        (&made, "sync_dir", ""),
        (&made, "sync_dir", "wal"),
        (&made, "sync_dir", "derived"),
        (&made, "remove", "LEDGER.tmp"),
        (&made, "remove", "wal/next.tmp"),
        (&made, "remove", "derived/tables/MANIFEST.tmp"),
        (&made, "remove", "derived/OPENED.tmp"),
    ] {
        let image = disk.snapshot();
        let failing = Failing::new(disk, call, path, other);
        let opened = options(16 * 1024).open_simulated(failing, host.as_host());
        let error = opened.map(drop).expect_err(&format!("{call} {path:?}"));
        let ErrorKind::Io { kind, .. } = error.kind() else { panic!("{call} {path:?}: {error}") };
        assert_eq!(*kind, other, "{call} {path:?}");
        disk.restore(&image);
        open(disk, &host).unwrap();
        disk.restore(&image);
    }
    // A full disk keeps nobody from what is there.
    for (call, path) in
        [("create_dir", "derived"), ("create_dir", "derived/tables"), ("sync_dir", "derived")]
    {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let failing = Failing::new(&fresh, call, path, kind);
            let image = fresh.snapshot();
            let ledger = options(16 * 1024).open_simulated(failing, host.as_host()).unwrap();
            ledger.submit(&order(1, 10)).unwrap();
            drop(ledger);
            fresh.restore(&image);
        }
    }
}

/// How often a reader looks again, and at what: what is damaged stays where it is.
#[test]
fn rule_48_a_reader_looks_again_while_something_moves_and_not_for_ever() {
    let (disk, host) = sim();
    let ledger = open(&disk, &host).unwrap();
    ledger.submit(&order(1, 10)).unwrap();
    ledger.close().unwrap();
    let pause_ns = 20_000_000;
    let look = |disk: Arc<Failing>| {
        let began_ns = host.as_host().monotonic_ns();
        let opened = Reader::open_on(disk, &host).map(drop);
        let pauses = (host.as_host().monotonic_ns() - began_ns) / pause_ns;
        (opened.map_err(|error| error.kind().clone()), pauses)
    };
    let path = segment_path(1);
    let once =
        |kind| Failing::with(&disk, vec![("open", path.clone(), kind, true)], VecDeque::new());
    assert_eq!(look(once(io::ErrorKind::NotFound)), (Ok(()), 1), "renamed meanwhile");
    let (opened, pauses) = look(once(io::ErrorKind::PermissionDenied));
    assert!(matches!(opened, Err(ErrorKind::Io { .. })), "{opened:?}");
    assert_eq!(pauses, 0, "an error of the device is none of a writer's");

    let names = |numbers: &[u64]| {
        numbers.iter().map(|number| format!("{number:010}.seg")).collect::<Vec<_>>()
    };
    let looks = |lists: Vec<Vec<u64>>| {
        let lists = lists.iter().map(|numbers| names(numbers)).collect();
        look(Failing::with(&disk, Vec::new(), lists))
    };
    // The same gap five times is damage.
    let (opened, pauses) = looks(vec![vec![1, 3]; 10]);
    assert!(matches!(opened, Err(ErrorKind::Corrupt(_))), "{opened:?}");
    assert_eq!(pauses, 4);
    assert_eq!(looks(vec![vec![1, 3]; 4]), (Ok(()), 4));
    // Another gap each time is somebody at work; at some point it is enough.
    let gaps =
        |count: u64| (0..count).map(|n| if n % 2 == 0 { vec![2] } else { vec![1, 3] }).collect();
    assert_eq!(looks(gaps(199)), (Ok(()), 199));
    let (opened, pauses) = looks(gaps(300));
    assert!(matches!(opened, Err(ErrorKind::Corrupt(_))), "{opened:?}");
    assert_eq!(pauses, 199);
}

#[test]
fn rule_22_a_segment_that_is_missing_is_named() {
    let (disk, host) = three_unsealed_segments();
    let image = disk.snapshot();
    for (missing, first_seq) in [(1, Some(Seq::FIRST)), (2, None)] {
        disk.restore(&image);
        disk.remove_durably(&segment_path(missing)).unwrap();
        let error = open(&disk, &host).unwrap_err();
        let ErrorKind::Corrupt(damage) = error.kind() else { panic!("{error}") };
        assert_eq!((&damage.file, damage.first_seq), (&segment_path(missing), first_seq));
        assert_eq!((damage.offset, damage.last_seq), (None, None));
    }
}

/// Records without a `LEDGER` are somebody's orders: making a new ledger must not take their place.
#[test]
fn a_log_that_lost_its_identity_is_not_cleared_away() {
    let (disk, host) = sim();
    // So full that nothing derived was made: the log is all that says that this was a ledger.
    let failing = Failing::new(&disk, "create_dir", "derived", io::ErrorKind::StorageFull);
    let ledger = options(16 * 1024).open_simulated(failing, host.as_host()).unwrap();
    ledger.submit(&order(1, 10)).unwrap();
    disk.kill();
    drop(ledger);
    let before = disk.read_durable(&segment_path(1)).unwrap();
    disk.remove_durably(identity::NAME).unwrap();
    let error = open(&disk, &host).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotALedger { .. }), "{error}");
    assert!(disk.read_durable(&segment_path(1)).unwrap() == before);
}

#[test]
fn a_log_that_was_moved_away_is_damage_and_says_so() {
    let (disk, host) = three_unsealed_segments();
    disk.as_disk().rename(WAL_DIR, "old").unwrap();
    let error = open(&disk, &host).unwrap_err();
    let ErrorKind::Corrupt(damage) = error.kind() else { panic!("{error}") };
    assert_eq!((damage.file.as_str(), damage.first_seq), ("wal", Some(Seq::FIRST)));
}

/// A log that can't be looked into may be full of orders: nothing is made in its place.
#[test]
fn a_log_that_can_not_be_listed_is_not_taken_for_none() {
    let (orders, host) = three_unsealed_segments();
    let (disk, _) = sim();
    disk.as_disk().create_dir(WAL_DIR).unwrap();
    disk.as_disk().sync_dir("").unwrap();
    let segment = orders.read_durable(&segment_path(1)).unwrap();
    disk.write_durably(&segment_path(1), &segment).unwrap();
    let before = disk.digest(WAL_DIR);
    let other = io::ErrorKind::PermissionDenied;
    let fails = vec![("list", WAL_DIR.to_owned(), other, true)];
    let failing = Failing::with(&disk, fails, VecDeque::new());
    let error = options(16 * 1024).open_simulated(failing, host.as_host()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { kind, .. } if *kind == other), "{error}");
    assert_eq!(disk.digest(WAL_DIR), before);
}

#[test]
fn rule_36_a_log_that_lost_everything_has_no_last_order() {
    for (next, last) in [(1, None), (2, Some(Seq(1))), (3, Some(Seq(2)))] {
        let error = log_lost_data(Seq(5), Seq(next), "MANIFEST");
        let witness = "MANIFEST".to_owned();
        let expected = ErrorKind::LogLostData { witness_seq: Seq(4), log_seq: last, witness };
        assert_eq!(*error.kind(), expected);
    }
}

/// What a relaxed ledger has written and not synced, seals too, is shown by a reader only once it has
/// synced it itself, whichever of its calls fails.
#[test]
fn rule_48_a_reader_whose_calls_fail_shows_nothing_that_a_power_cut_takes_back() {
    let mut refused = 0;
    for cut_off in 1.. {
        let (disk, host) = sim();
        let relaxed = options(16 * 1024).durability(Durability::Relaxed);
        let ledger = relaxed.open_simulated(disk.as_disk(), host.as_host()).unwrap();
        ledger.submit(&order(1, 10)).unwrap();
        host.advance(std::time::Duration::from_secs(10));
        disk.power_off_after(cut_off);
        ledger.tick();
        let was_cut_off = disk.is_off();
        disk.kill();
        drop(ledger);
        let image = disk.snapshot();
        let shown = || {
            let reader = Reader::open_on(disk.as_disk(), &*host.as_host()).ok()?;
            Some(reader.by_key("web", "k1").ok()?.is_some())
        };
        let calls = disk.io_calls();
        assert_eq!(shown(), Some(true));
        let calls = disk.io_calls() - calls;
        for call in 0..=calls {
            disk.restore(&image);
            if call > 0 {
                disk.fail_call(call, Fault::Eio);
            }
            let seen = shown();
            refused += u64::from(seen.is_none());
            disk.clear_faults();
            disk.crash(Crash::new(CrashMode::DropAll, 0));
            if seen == Some(true) {
                assert_eq!(shown(), Some(true), "{cut_off}, {call}: shown and then gone");
            }
        }
        if !was_cut_off {
            break;
        }
    }
    assert!(refused > 0);
}

/// Another file of that name, perhaps somebody's notes.
#[test]
fn a_file_ledger_that_is_far_too_large_is_none_of_ours() {
    let (disk, host) = sim();
    for (bytes, ours) in [(4096, true), (4097, false)] {
        disk.write_durably("LEDGER", &vec![b'x'; bytes]).unwrap();
        let error = open(&disk, &host).unwrap_err();
        match error.kind() {
            ErrorKind::Corrupt(damage) => assert!(ours && damage.file == "LEDGER", "{error}"),
            ErrorKind::NotALedger { .. } => assert!(!ours, "{error}"),
            _ => panic!("{error}"),
        }
    }
}

/// A full disk keeps a segment from being sealed again and nobody from opening; an error of the device does.
#[test]
fn rule_14_an_opening_that_can_not_seal_for_another_reason_is_refused() {
    let (disk, host) = three_unsealed_segments();
    let image = disk.snapshot();
    let calls = disk.io_calls();
    drop(open(&disk, &host).unwrap());
    let calls = disk.io_calls() - calls;
    let mut refused = 0;
    for call in 1..=calls {
        disk.restore(&image);
        disk.fail_call(call, Fault::Eio);
        let opened = open(&disk, &host);
        disk.clear_faults();
        if opened.is_err() {
            refused += 1;
            continue;
        }
        for number in [1, 2] {
            let content = disk.read_durable(&segment_path(number)).unwrap();
            let footer = Footer::decode(&content[content.len() - 4096..]);
            assert!(footer.is_ok(), "call {call}: segment {number} is not sealed");
        }
    }
    assert!(refused > 0);
}

/// Rule 22: what was before is missing, however sound the rest is.
#[test]
fn rule_22_a_log_that_does_not_begin_at_its_beginning_is_refused() {
    let (disk, host) = sim();
    drop(open(&disk, &host).unwrap());
    let path = segment_path(1);
    let content = disk.read_durable(&path).unwrap();
    let (header, _) = SegmentHeader::decode(&content[..4096]).unwrap();
    for begun_later in [
        SegmentHeader { first_seq: Seq(2), ..header.clone() },
        SegmentHeader { first_group: 2, ..header.clone() },
        SegmentHeader { link: 1, ..header.clone() },
    ] {
        disk.overwrite(&path, 0, &begun_later.encode().0).unwrap();
        let error = open(&disk, &host).unwrap_err();
        let ErrorKind::Corrupt(damage) = error.kind() else { panic!("{error}") };
        assert!(damage.what.contains("does not begin at the first record"), "{error}");
    }
}

/// Rule 36: a witness that has seen one group or one order more than the log holds.
#[test]
fn rule_36_a_witness_that_is_ahead_in_one_thing_is_ahead() {
    let (disk, host) = sim();
    let ledger = open(&disk, &host).unwrap();
    ledger.submit(&order(1, 10)).unwrap();
    ledger.close().unwrap();
    let seen = Manifest::read(&*disk.as_disk()).unwrap();
    for (orders, groups) in [(1, 0), (0, 1)] {
        let next_seq = Seq(seen.next_seq.0 + orders);
        let ahead = Manifest { next_seq, next_group: seen.next_group + groups, ..seen };
        ahead.write(&*disk.as_disk()).unwrap();
        let error = open(&disk, &host).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::LogLostData { .. }), "{error}");
    }
    seen.write(&*disk.as_disk()).unwrap();
    open(&disk, &host).unwrap();
}

/// What lay in the blocks before is no seal of this segment: behind the last group it is a torn tail.
#[test]
fn a_footer_of_another_segment_seals_nothing() {
    let (others, host) = three_unsealed_segments();
    drop(open(&others, &host).unwrap());
    let sealed = others.read_durable(&segment_path(1)).unwrap();
    let footer = &sealed[sealed.len() - 4096..];
    Footer::decode(footer).unwrap();

    let (disk, host) = (SimDisk::new(3), SimHost::new(4));
    let ledger = open(&disk, &host).unwrap();
    ledger.submit(&order(1, 10)).unwrap();
    ledger.close().unwrap();
    disk.overwrite(&segment_path(1), 3 * 4096, footer).unwrap();
    let ledger = open(&disk, &host).unwrap();
    assert!(ledger.recovery_report().torn_bytes > 0);
    assert_eq!(ledger.stats().unwrap().orders, 1);
}

/// Whatever lies behind zeros, and however far: it may have been an order.
#[test]
fn a_log_without_identity_is_cleared_away_only_when_it_is_empty() {
    for (dirty, at) in [(false, 0), (true, 4096), (true, 700_000)] {
        let (disk, host) = sim();
        disk.as_disk().create_dir(WAL_DIR).unwrap();
        disk.as_disk().sync_dir("").unwrap();
        let mut content = vec![0; 1 << 20];
        content[at] = u8::from(dirty);
        disk.write_durably(&segment_path(1), &content).unwrap();
        let opened = open(&disk, &host).map(drop);
        assert_eq!(opened.is_err(), dirty, "at {at}");
        assert_eq!(disk.read_durable(&segment_path(1)).unwrap() == content, dirty);
    }
}

#[test]
fn a_file_in_the_place_of_what_is_derived_is_set_aside() {
    for dir in [DERIVED_DIR, TABLES_DIR] {
        let (disk, host) = sim();
        drop(open(&disk, &host).unwrap());
        disk.as_disk().rename(dir, "old").unwrap();
        disk.write_durably(dir, b"somebody's notes").unwrap();
        drop(open(&disk, &host).unwrap());
        let aside = disk.read_durable(&format!("{dir}.aside")).unwrap();
        assert_eq!(aside, b"somebody's notes");
    }
}

#[test]
fn a_torn_tail_is_cut_with_few_writes() {
    let (disk, host) = sim();
    let ledger = open(&disk, &host).unwrap();
    ledger.submit(&order(1, 8000)).unwrap();
    disk.kill();
    drop(ledger);
    let image = disk.snapshot();
    let cost = || {
        let calls = disk.io_calls();
        drop(open(&disk, &host).unwrap());
        disk.io_calls() - calls
    };
    let whole = cost();
    disk.restore(&image);
    disk.flip_bit(&segment_path(1), (GROUPS_START + 100) * 8).unwrap();
    let torn = cost();
    assert!(torn < whole + 5, "{torn} calls, {whole} without a torn tail");
}

/// Where a seal proves the last group, a reader asks nothing of the disk but what it reads.
#[test]
fn rule_48_a_reader_syncs_only_what_nothing_proves() {
    let (disk, host) = sim();
    let cost = || {
        let calls = disk.io_calls();
        Reader::open_on(disk.as_disk(), &*host.as_host()).unwrap();
        disk.io_calls() - calls
    };
    open(&disk, &host).unwrap().close().unwrap();
    let ledger = open(&disk, &host).unwrap();
    ledger.submit(&order(1, 10)).unwrap();
    disk.kill();
    drop(ledger);
    let unproven = cost();
    let ledger = open(&disk, &host).unwrap();
    ledger.submit(&order(2, 10)).unwrap();
    ledger.close().unwrap();
    let proven = cost();
    assert!(proven + 2 <= unproven, "{proven} calls, {unproven} where nothing proves it");
}
