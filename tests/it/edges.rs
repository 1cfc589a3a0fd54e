//! What a hostile reading of the code came upon: each test is a promise that was broken once, with the
//! cause above it.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use order_ledger::disk::Host;
use order_ledger::disk::sim::{Fault, SimHost};
use order_ledger::{
    Certainty, Committed, ErrorKind, How, Ledger, Options, Submission, Validator, Verdict,
};

use crate::log_rules::forge;
use crate::rig::{
    Call, Hooked, all_orders, durable, fill, kind, large, lines, open, order, settle, sim, small,
};

type Meddling = Box<dyn FnOnce() + Send>;

/// A host under which something happens at the next look at the clock, or at the next random number.
#[derive(Clone)]
struct Meddler {
    host: SimHost,
    next: Arc<Mutex<Option<Meddling>>>,
    next_random: Arc<Mutex<Option<Meddling>>>,
}

impl Meddler {
    fn new(host: &SimHost) -> Meddler {
        Meddler { host: host.clone(), next: Arc::default(), next_random: Arc::default() }
    }
}

impl fmt::Debug for Meddler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meddler")
    }
}

impl Host for Meddler {
    fn wall_ns(&self) -> u64 {
        self.host.wall_ns()
    }

    fn monotonic_ns(&self) -> u64 {
        let meddle = self.next.lock().unwrap().take();
        if let Some(meddle) = meddle {
            meddle();
        }
        self.host.monotonic_ns()
    }

    fn fill_random(&self, buffer: &mut [u8]) {
        let meddle = self.next_random.lock().unwrap().take();
        if let Some(meddle) = meddle {
            meddle();
        }
        self.host.fill_random(buffer);
    }

    fn sleep(&self, duration: Duration) {
        self.host.sleep(duration);
    }

    fn process_id(&self) -> u32 {
        self.host.process_id()
    }
}

// Cause: the upkeep looked for poison when it began and not again before it wrote a seal. Effect: a
// group whose sync failed in between was written and synced again, with the seal behind it.
#[test]
fn rule_11_an_idle_seal_that_meets_a_failed_sync_writes_and_syncs_nothing() {
    let (disk, host) = sim(11);
    let meddler = Meddler::new(&host);
    let (hooked, calls) = Hooked::recording(&disk);
    let ledger = small().open_simulated(hooked, Arc::new(meddler.clone())).unwrap();
    fill(&ledger, 3);
    host.advance(Duration::from_secs(100));
    let (other, device, list) = (ledger.clone(), disk.clone(), Arc::clone(&calls));
    *meddler.next.lock().unwrap() = Some(Box::new(move || {
        device.fail_call(2, Fault::Eio);
        assert!(matches!(kind(other.submit(&order(50))), ErrorKind::InDoubt { .. }));
        list.lock().unwrap().clear();
    }));
    ledger.tick();
    assert!(ledger.poisoned().is_some(), "the submit has happened under the tick");
    let lines = lines(&calls);
    let log = |line: &String| line.starts_with("write wal/") || line.starts_with("sync wal/");
    assert!(!lines.iter().any(log), "{lines:#?}");
}

// Cause: ledger time was counted up with saturation. Effect: from a clock at its end on, records had
// equal times, which no later open believed: acknowledged orders were cut off as a torn tail.
#[test]
fn rule_51_a_clock_at_its_end_costs_no_order() {
    let (disk, host) = sim(51);
    let ledger = open(&disk, &host).unwrap();
    host.set_wall_ns(u64::MAX);
    let receipts = fill(&ledger, 3);
    let batch: Vec<_> = (10..20).map(order).collect();
    assert!(ledger.submit_many(&batch).iter().all(Result::is_ok));
    disk.kill();
    drop(ledger);
    let ledger = open(&disk, &host).unwrap();
    assert_eq!(ledger.recovery_report().torn_bytes, 0);
    assert_eq!(all_orders(&ledger).unwrap().len(), 13);
    for (number, receipt) in (0..).zip(receipts) {
        assert_eq!(ledger.submit(&order(number)).unwrap().receipt, receipt);
    }
    assert_eq!(ledger.submit(&order(99)).unwrap().how, How::Fresh);
}

struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Bomb>) {
        panic!("this executor is broken");
    }
}

// Cause: wakers, which are an executor's code, were called while somebody led the queue. Effect: one
// that panicked ended the leader, nobody led any more, and every later call waited for ever.
#[test]
fn rule_17_a_waker_that_panics_keeps_nobody_else_waiting() {
    let (disk, host) = sim(17);
    let ledger = open(&disk, &host).unwrap();
    let mut first = ledger.submit_deferred(&order(1));
    let mut second = ledger.submit_deferred(&order(2));
    let bomb = Waker::from(Arc::new(Bomb));
    assert!(Pin::new(&mut first).poll(&mut Context::from_waker(&bomb)).is_pending());
    let pumped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ledger.pump()));
    assert!(pumped.is_ok(), "the panic came through the ledger");
    for ticket in [&mut first, &mut second] {
        assert_eq!(ticket.wait(Some(Duration::ZERO)).unwrap().how, How::Fresh);
    }
    let mut later = ledger.submit_deferred(&order(3));
    ledger.pump();
    assert_eq!(later.wait(Some(Duration::ZERO)).unwrap().how, How::Fresh);
    ledger.close().unwrap();
}

/// Panics with a value that panics when it is dropped.
struct Malicious;

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

impl Validator for Malicious {
    fn validate(&self, order: &Submission, _: &Committed<'_>) -> Verdict {
        if order.payload() == b"bad" {
            std::panic::panic_any(PanicsWhenDropped);
        }
        Verdict::Accept
    }
}

// Cause: what a validator's panic had thrown was dropped outside of what catches panics.
#[test]
fn rule_17_a_validator_that_throws_something_malicious_refuses_for_now() {
    let (disk, host) = sim(18);
    let options = small().validator(Malicious);
    let ledger = options.open_simulated(disk.as_disk(), host.as_host()).unwrap();
    let bad = Submission::new("web", "k1", "bad");
    assert!(matches!(kind(ledger.submit(&bad)), ErrorKind::RefusedForNow { .. }));
    assert_eq!(ledger.submit(&order(1)).unwrap().how, How::Fresh);
}

struct Accepts;

impl Validator for Accepts {
    fn validate(&self, _: &Submission, _: &Committed<'_>) -> Verdict {
        Verdict::Accept
    }
}

// Cause: the key of an order that the validator looked at was given free by straight-line code. Effect:
// after a panic in what follows the validator everyone with that key waited for ever.
#[test]
fn rule_17_a_key_is_free_again_whatever_happens_while_the_validator_looks() {
    let (disk, host) = sim(19);
    let meddler = Meddler::new(&host);
    let options = small().validator(Accepts);
    let ledger = options.open_simulated(disk.as_disk(), Arc::new(meddler.clone())).unwrap();
    *meddler.next_random.lock().unwrap() = Some(Box::new(|| panic!("no randomness")));
    let submit = || ledger.submit(&order(1));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(submit)).is_err());
    let (sender, answer) = std::sync::mpsc::channel();
    let other = ledger.clone();
    std::thread::spawn(move || sender.send(other.submit(&order(1)).map(|outcome| outcome.how)));
    let how = answer.recv_timeout(Duration::from_secs(60)).expect("it waits for ever");
    assert_eq!(how.unwrap(), How::Fresh);
}

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

// Cause: on a disk that filled up at the sync of a footer, sealing was tried again on the same
// descriptor (rule 11: the kernel may answer Ok there without having written anything).
#[test]
fn rule_11_sealing_after_a_failed_sync_begins_again_on_another_descriptor() {
    let (disk, host) = sim(12);
    let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
    let (list, device) = (Arc::clone(&calls), disk.clone());
    let failed = Mutex::new(false);
    let hooked = Hooked::new(
        disk.as_disk(),
        Arc::new(move |call: &Call| {
            list.lock().unwrap().push(call.clone());
            let sealing = call.what == "set bytes" && call.path == "wal/0000000001.seg";
            if sealing && !std::mem::replace(&mut *failed.lock().unwrap(), true) {
                // This one, the write, the sync.
                device.fail_call(3, Fault::Enospc);
            }
        }),
    );
    let ledger = small().open_simulated(hooked, host.as_host()).unwrap();
    for number in 0..4 {
        ledger.submit(&large(number, 5000)).unwrap();
    }
    ledger.tick();
    ledger.tick();
    assert_eq!(ledger.poisoned(), None, "a full disk is no reason to stop");
    let lines = lines(&calls);
    let of_tail: Vec<_> = lines
        .iter()
        .skip_while(|line| *line != "set bytes wal/0000000001.seg")
        .filter(|line| line.ends_with(" wal/0000000001.seg") && !line.starts_with("read"))
        .map(|line| line.split(" wal").next().unwrap())
        .collect();
    assert_eq!(
        of_tail,
        ["set bytes", "write", "sync", "open to write", "set bytes", "write", "sync"],
        "{lines:#?}"
    );
    for number in 0..4 {
        assert_eq!(ledger.submit(&large(number, 5000)).unwrap().how, How::Replayed);
    }
    ledger.close().unwrap();
    settle(&disk);
    let ledger = open(&disk, &host).unwrap();
    assert_eq!(ledger.recovery_report().segments_resealed, 0, "sealed at the second try");
}

// Cause: an error of reading was reported also where the groups say the same again. Effect: one bad
// sector in a key table kept a ledger shut whose log was whole.
#[test]
fn rule_16_a_table_that_cant_be_read_is_rebuilt_from_the_groups() {
    let (disk, host) = sim(16);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..8 {
        ledger.submit(&large(number, 5000)).unwrap();
        ledger.tick();
    }
    ledger.close().unwrap();
    settle(&disk);
    let path = "wal/0000000001.seg";
    let (segment, groups) = forge::end(&disk, path);
    let last = groups.last().unwrap();
    let sections = ((last.offset + last.padded).next_multiple_of(4096)) as u64;
    let footer = segment.len() as u64 - 4096;
    assert!(sections < footer, "the segment is sealed");
    disk.fail_reads(path, sections..footer).unwrap();
    let ledger = open(&disk, &host).unwrap();
    assert_eq!(ledger.recovery_report().tables_rebuilt, 1);
    for number in 0..8 {
        assert_eq!(ledger.submit(&large(number, 5000)).unwrap().how, How::Replayed);
    }
    assert_eq!(all_orders(&ledger).unwrap().len(), 8);
    drop(ledger);
    // The groups themselves are another matter: there an error of reading is never "not there".
    disk.fail_reads(path, 4096..footer).unwrap();
    assert!(matches!(kind(open(&disk, &host)), ErrorKind::Io { .. }));
}

// The same while it is open: the sector goes bad after the table was read once.
#[test]
fn rule_16_a_table_that_goes_bad_while_the_ledger_is_open_is_rebuilt_too() {
    let (disk, host) = sim(160);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..8 {
        ledger.submit(&large(number, 5000)).unwrap();
        ledger.tick();
    }
    let path = "wal/0000000001.seg";
    let (segment, groups) = forge::end(&disk, path);
    let last = groups.last().unwrap();
    let sections = ((last.offset + last.padded).next_multiple_of(4096)) as u64;
    disk.fail_reads(path, sections..segment.len() as u64 - 4096).unwrap();
    for number in 0..8 {
        assert_eq!(ledger.submit(&large(number, 5000)).unwrap().how, How::Replayed);
    }
    assert_eq!(all_orders(&ledger).unwrap().len(), 8);
}

// Cause: nothing held the size of a key table against the orders that it is the table of. Effect: a table
// with a whole checksum and a key too few would have called a key free that was taken: a second order.
#[test]
fn rule_37_a_table_that_is_too_small_for_its_orders_is_not_believed() {
    let (disk, host) = sim(37);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..8 {
        ledger.submit(&large(number, 5000)).unwrap();
        ledger.tick();
    }
    ledger.close().unwrap();
    settle(&disk);
    let path = "wal/0000000001.seg";
    let segment = disk.read_durable(path).unwrap();
    let footer = segment.len() - 4096;
    // Of offsets, keys and filter: kind, reserved, offset, then the bytes of content.
    for (section, kind, less) in [(1, 2, 12), (1, 2, u64::MAX), (2, 3, 64)] {
        let mut block = segment[footer..].to_vec();
        let entry = 56 + section * 24;
        assert_eq!(forge::u32_at(&block, entry), kind);
        let bytes = forge::u64_at(&block, entry + 16).saturating_sub(less);
        block[entry + 16..entry + 24].copy_from_slice(&bytes.to_le_bytes());
        forge::close_block(&mut block);
        disk.overwrite(path, footer as u64, &block).unwrap();
        let ledger = open(&disk, &host).unwrap();
        for number in 0..8 {
            let outcome = ledger.submit(&large(number, 5000)).unwrap();
            assert_eq!(outcome.how, How::Replayed, "order {number} was taken twice");
        }
        assert_eq!(ledger.recovery_report().tables_rebuilt, 1);
        ledger.close().unwrap();
        settle(&disk);
    }
}

// Cause: the disk was looked at when a segment was half full. Effect: a larger reserve was used up by
// new orders before anybody knew that there was no room for the next segment.
#[test]
fn rule_34_the_reserve_is_kept_whatever_its_size() {
    for percent in [10, 49, 51, 75, 90] {
        for ticks in [false, true] {
            let (disk, host) = sim(34);
            let segment_bytes = 64 * 1024;
            let reserve = segment_bytes * percent / 100;
            let options = small().segment_bytes(segment_bytes).disk_reserve_bytes(reserve);
            let ledger = options.open_simulated(disk.as_disk(), host.as_host()).unwrap();
            // Room for what there is and some small files, but for no other segment.
            disk.set_capacity(segment_bytes + 40 * 1024);
            let mut taken = 0;
            let error = loop {
                match ledger.submit(&large(taken, 700)) {
                    Ok(_) => taken += 1,
                    Err(error) => break error,
                }
                if ticks {
                    ledger.tick();
                }
            };
            assert!(matches!(error.kind(), ErrorKind::DiskLow { .. }), "{error}");
            assert_eq!(error.certainty(), Certainty::NotRecorded);
            let (segment, groups) = forge::end(&disk, "wal/0000000001.seg");
            let end = groups.last().map_or(4096, |last| last.offset + last.padded);
            let left = (segment.len() - end) as u64;
            let told = format!("reserve {reserve}, ticks {ticks}: {left} bytes left");
            assert!(left >= reserve, "{told}");
            assert!(left < reserve + 2048, "more was refused than had to be; {told}");
        }
    }
}

// Cause: the batch waited for room before it wrote what filled the queue: itself.
#[test]
fn rule_33_a_batch_larger_than_the_queue_does_not_wait_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new()
        .segment_bytes(1 << 20)
        .queue_orders_max(4)
        .client_share_percent(100)
        .admission_wait(Duration::from_secs(120));
    let ledger = options.open(dir.path().join("orders.ledger")).unwrap();
    let orders: Vec<_> = (0..20).map(order).collect();
    let begun = Instant::now();
    let results = ledger.submit_many(&orders);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(results.iter().all(|result| result.as_ref().unwrap().how == How::Fresh));
}

// Cause: a pass over the log reads far ahead, and an error there was the error of the record at hand.
// Effect: of a log with one bad sector, `orders` and `dump` did not show what lay well in front of it.
#[test]
fn a_sector_that_cant_be_read_hides_no_order_in_front_of_it() {
    let (disk, host) = sim(161);
    let ledger = open(&disk, &host).unwrap();
    let receipts = fill(&ledger, 20);
    let (_, groups) = forge::end(&disk, "wal/0000000001.seg");
    let bad = groups[12].offset as u64;
    disk.fail_reads("wal/0000000001.seg", bad..bad + 512).unwrap();
    let found: Vec<_> = ledger.orders().collect();
    let (last, whole) = found.split_last().unwrap();
    let whole: Vec<_> = whole.iter().map(|order| order.as_ref().unwrap().receipt).collect();
    assert_eq!(whole, receipts[..12]);
    assert!(matches!(last.as_ref().unwrap_err().kind(), ErrorKind::Io { .. }));
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
        match remove {
            true => std::fs::remove_dir_all(path.join("wal")).unwrap(),
            false => std::fs::rename(path.join("wal"), path.join("wal.old")).unwrap(),
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

// Cause: the error for a record that no body can be read from named the directory of the log.
#[test]
fn rule_27_a_record_of_another_program_is_named_with_its_place() {
    let (disk, host) = sim(27);
    let ledger = open(&disk, &host).unwrap();
    fill(&ledger, 2);
    disk.kill();
    drop(ledger);
    settle(&disk);
    let path = "wal/0000000001.seg";
    let (_, groups) = forge::end(&disk, path);
    let last = groups.last().unwrap();
    let record = forge::Record { kind: 9, version: 1, at: u64::MAX / 2, body: b"?" };
    forge::append(&disk, path, &[record]);
    let ErrorKind::Corrupt(damage) = kind(open(&disk, &host)) else { panic!("it was opened") };
    assert_eq!(damage.file, path);
    assert_eq!(damage.offset, Some((last.offset + last.padded + 64) as u64));
    assert!(damage.what.contains("kind 9"), "{damage}");
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
        .args(["--exact", "edges::child_that_changes_its_directory"])
        .env(CWD, dir.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert_eq!(std::fs::read_dir(dir.path().join("two")).unwrap().count(), 0);
}

// Cause: an error of reading a footer was reported although the groups, and the segment behind, say all
// that is in it. Effect: one bad sector that holds no order kept a ledger shut.
#[test]
fn rule_16_a_footer_that_cant_be_read_is_made_again_from_the_groups() {
    let (disk, host) = sim(162);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..8 {
        ledger.submit(&large(number, 5000)).unwrap();
        ledger.tick();
    }
    ledger.close().unwrap();
    settle(&disk);
    let path = "wal/0000000001.seg";
    let (segment, groups) = forge::end(&disk, path);
    let footer = segment.len() as u64 - 4096;
    disk.fail_reads(path, footer..footer + 4096).unwrap();
    let before = durable(&disk, "wal");
    let reader = crate::rig::read(&disk).unwrap();
    assert_eq!(reader.orders().filter(Result::is_ok).count(), 8);
    assert_eq!(durable(&disk, "wal"), before);
    // Bad groups beside it are another matter, and no end: the last one, or all from the first on.
    for bad in [groups.last().unwrap().offset as u64, 4096] {
        let copy = crate::rig::copy(&disk);
        copy.fail_reads(path, footer..footer + 4096).unwrap();
        copy.fail_reads(path, bad..bad + 512).unwrap();
        let before = durable(&copy, "wal");
        assert!(matches!(kind(open(&copy, &host)), ErrorKind::Io { .. }));
        assert_eq!(durable(&copy, "wal"), before);
    }
    let ledger = open(&disk, &host).unwrap();
    assert_eq!(ledger.recovery_report().segments_resealed, 1);
    for number in 0..8 {
        assert_eq!(ledger.submit(&large(number, 5000)).unwrap().how, How::Replayed);
    }
    assert_eq!(all_orders(&ledger).unwrap().len(), 8);
}

// Cause: a segment that was not sealed yet has groups where a footer would be, and a block there that
// can't be read was not told from a footer.
#[test]
fn rule_16_a_last_block_that_holds_groups_and_cant_be_read_is_no_end() {
    let (disk, host) = sim(163);
    let ledger = open(&disk, &host).unwrap();
    // Rotated and never sealed.
    for number in 0..4 {
        ledger.submit(&large(number, 5000)).unwrap();
    }
    disk.kill();
    drop(ledger);
    settle(&disk);
    let path = "wal/0000000001.seg";
    let (segment, groups) = forge::end(&disk, path);
    let last = groups.last().unwrap();
    let block = segment.len() as u64 - 4096;
    assert!((last.offset + last.padded) as u64 > block, "a group lies in the last block");
    disk.fail_reads(path, block..block + 4096).unwrap();
    let before = durable(&disk, "wal");
    assert!(matches!(kind(open(&disk, &host)), ErrorKind::Io { .. }));
    assert!(matches!(kind(crate::rig::read(&disk)), ErrorKind::Io { .. }));
    assert_eq!(durable(&disk, "wal"), before);
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
