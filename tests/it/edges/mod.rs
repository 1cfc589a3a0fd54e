//! What a hostile reading of the code came upon: each test is a promise that was broken once, with the
//! cause above it.
//!
//! - `directory`: what others do to the directory
//! - `panics`: code of others that panics inside of a call
//! - `unreadable`: what can't be read, or not be believed
//!
//! Here: failed syncs, time, room, and a record of another program.

mod directory;
mod panics;
mod unreadable;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use order_ledger::disk::Host;
use order_ledger::disk::sim::{Fault, SimHost};
use order_ledger::{Certainty, ErrorKind, How, Options};

use crate::log_rules::forge;
use crate::rig::{
    Call, Hooked, all_orders, fill, kind, large, lines, open, order, settle, sim, small,
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

// Cause: on a disk that filled up at the sync of a footer, sealing was tried again on the same
// descriptor (rule 11: the kernel may answer Ok there without having written anything).
#[test]
fn rule_11_sealing_after_a_failed_sync_begins_again_on_another_descriptor() {
    // From the call that sets the size: that of the sections, then that of the footer.
    sealing_fails_at(3, &["set bytes", "write", "sync"]);
    sealing_fails_at(5, &["set bytes", "write", "sync", "write", "sync"]);
}

fn sealing_fails_at(nth: u64, first_try: &[&str]) {
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
                device.fail_call(nth, Fault::Enospc);
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
    let again = ["open to write", "set bytes", "write", "sync", "write", "sync"];
    assert_eq!(of_tail, [first_try, &again].concat(), "{lines:#?}");
    for number in 0..4 {
        assert_eq!(ledger.submit(&large(number, 5000)).unwrap().how, How::Replayed);
    }
    ledger.close().unwrap();
    settle(&disk);
    let ledger = open(&disk, &host).unwrap();
    assert_eq!(ledger.recovery_report().segments_resealed, 0, "sealed at the second try");
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
