//! Descriptors: a log has as many files as it has history, and a process has a thousand descriptors.
//!
//! Cause: each full segment kept its file open for as long as the ledger was. Effect: a ledger grew until
//! the process had no descriptor left; the next segment then poisoned it in the middle of its beginning,
//! and no later process with the same limit could open it.

use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use order_ledger::disk::sim::{SimDisk, SimHost};
use order_ledger::disk::{Disk, DiskFile, DiskLock, Open};
use order_ledger::{Certainty, ErrorKind, How, Options, Reader, Soundness, verify_on};

use crate::rig::{all_orders, large, settle, sim, small};

/// Descriptors that a ledger may hold, whatever its size: 32 to read, and a handful.
const HELD_MAX: u64 = 40;

/// Of Linux: too many open files.
const EMFILE: i32 = 24;

#[derive(Debug)]
struct Count {
    open: AtomicU64,
    most: AtomicU64,
    limit: AtomicU64,
    /// Whether somebody else in the process takes what is free while a segment gets its name.
    greedy: AtomicBool,
}

/// A disk whose process has so many descriptors and no more.
#[derive(Debug)]
struct Narrow {
    disk: Arc<dyn Disk>,
    count: Arc<Count>,
}

/// What holds a descriptor.
#[derive(Debug)]
struct Held<T> {
    inner: T,
    count: Arc<Count>,
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        self.count.open.fetch_sub(1, Relaxed);
    }
}

impl Narrow {
    fn new(disk: &SimDisk) -> Arc<Narrow> {
        let (open, most, limit) = (0.into(), 0.into(), u64::MAX.into());
        let count = Arc::new(Count { open, most, limit, greedy: false.into() });
        Arc::new(Narrow { disk: disk.as_disk(), count })
    }

    fn open(&self) -> u64 {
        self.count.open.load(Relaxed)
    }

    /// The most that were held at one moment since this was asked last.
    fn most(&self) -> u64 {
        self.count.most.swap(self.open(), Relaxed)
    }

    fn hold<T>(&self, call: impl FnOnce() -> io::Result<T>) -> io::Result<Held<T>> {
        if self.open() >= self.count.limit.load(Relaxed) {
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        let inner = call()?;
        let open = self.count.open.fetch_add(1, Relaxed) + 1;
        self.count.most.fetch_max(open, Relaxed);
        Ok(Held { inner, count: Arc::clone(&self.count) })
    }
}

impl Disk for Narrow {
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.hold(|| self.disk.open(path, how))?))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        Ok(self.hold(|| self.disk.list(dir))?.inner.clone())
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if to.starts_with("wal/") && self.count.greedy.load(Relaxed) {
            self.count.limit.store(self.open(), Relaxed);
        }
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.hold(|| self.disk.sync_dir(dir)).map(drop)
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn DiskLock>> {
        Ok(Box::new(self.hold(|| self.disk.lock(path))?))
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

impl DiskFile for Held<Arc<dyn DiskFile>> {
    fn bytes(&self) -> io::Result<u64> {
        self.inner.bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.inner.write_at(data, offset)
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.inner.set_bytes(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.inner.drop_cache()
    }
}

impl DiskLock for Held<Box<dyn DiskLock>> {
    fn write_content(&self, content: &[u8]) -> io::Result<()> {
        self.inner.write_content(content)
    }
}

#[test]
fn rule_47_a_ledger_of_many_segments_holds_few_descriptors() {
    const ORDERS: u64 = 300;
    let (disk, host) = sim(470);
    let narrow = Narrow::new(&disk);
    let few = |doing: &str| {
        let most = narrow.most();
        assert!(most <= HELD_MAX, "{doing}: {most} descriptors at one moment");
    };
    let open = || small().open_simulated(Arc::<Narrow>::clone(&narrow), host.as_host()).unwrap();
    let ledger = open();
    for number in 0..ORDERS {
        ledger.submit(&large(number, 5000)).unwrap();
        ledger.tick();
    }
    let segments = ledger.stats().unwrap().segments;
    assert!(segments > 2 * HELD_MAX, "{segments}");
    few("writing");
    for number in 0..ORDERS {
        assert_eq!(ledger.submit(&large(number, 5000)).unwrap().how, How::Replayed);
    }
    assert_eq!(all_orders(&ledger).unwrap().len() as u64, ORDERS);
    few("reading");
    ledger.close().unwrap();
    assert_eq!(narrow.open(), 0);
    let reader = Reader::open_on(Arc::<Narrow>::clone(&narrow), &SimHost::new(1)).unwrap();
    assert_eq!(reader.orders().filter(Result::is_ok).count() as u64, ORDERS);
    few("a reader");
    let report =
        verify_on(Arc::<Narrow>::clone(&narrow), &SimHost::new(1), &mut |_, _| {}).unwrap();
    assert_eq!(report.soundness(), Soundness::Sound);
    drop(reader);
    few("verify");
    // Without its footer each segment is read through, and sealed again.
    for number in 1..segments {
        let path = format!("wal/{number:010}.seg");
        let bytes = disk.read_durable(&path).unwrap().len() as u64;
        disk.overwrite(&path, bytes - 4096, &[0; 4096]).unwrap();
    }
    let ledger = open();
    assert_eq!(ledger.recovery_report().segments_resealed, segments - 1);
    assert_eq!(ledger.submit(&large(0, 5000)).unwrap().how, How::Replayed);
    few("opening without footers");
}

// Cause: the directory is opened to be synced after the rename of the next segment, and a segment is
// opened to be sealed: without a descriptor for it both poisoned, though nothing was the matter.
#[test]
fn rule_14_no_descriptor_left_refuses_and_poisons_nothing() {
    let (mut refused, mut taken) = (0, 0);
    for first in 1..4 {
        for free in 0..5 {
            let (disk, host) = sim(140 + free);
            let narrow = Narrow::new(&disk);
            let disk_of = Arc::<Narrow>::clone(&narrow);
            let ledger = small().open_simulated(disk_of, host.as_host()).unwrap();
            let mut acknowledged = Vec::new();
            let mut next = 0;
            for _ in 0..first {
                ledger.submit(&large(next, 5000)).unwrap();
                acknowledged.push(next);
                next += 1;
            }
            for _ in 0..4 {
                narrow.count.limit.store(narrow.open() + free, Relaxed);
                for round in 0..6 {
                    match ledger.submit(&large(next, 5000)) {
                        Ok(_) => {
                            acknowledged.push(next);
                            taken += 1;
                        }
                        Err(error) => {
                            assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
                            assert_eq!(error.certainty(), Certainty::NotRecorded, "{error}");
                            refused += 1;
                        }
                    }
                    next += 1;
                    if round % 2 == 0 {
                        ledger.tick();
                    }
                    assert_eq!(ledger.poisoned(), None, "{free} free");
                }
                narrow.count.limit.store(u64::MAX, Relaxed);
                assert_eq!(ledger.submit(&large(next, 5000)).unwrap().how, How::Fresh);
                acknowledged.push(next);
                next += 1;
            }
            ledger.close().unwrap();
            settle(&disk);
            let ledger = crate::rig::open(&disk, &host).unwrap();
            assert_eq!(all_orders(&ledger).unwrap().len(), acknowledged.len());
            for number in acknowledged {
                assert_eq!(ledger.submit(&large(number, 5000)).unwrap().how, How::Replayed);
            }
        }
    }
    assert!(refused > 20 && taken > 20, "{refused} refused, {taken} taken");
}

// Cause: a descriptor that was free when the next segment was begun may be gone when its directory is to be
// synced: the program around the ledger opens files too. After the rename there is no way back. So one is
// held from before the beginning, and given back for that sync.
#[test]
fn rule_14_descriptors_that_go_while_a_segment_is_begun_poison_nothing() {
    let (disk, host) = sim(148);
    let narrow = Narrow::new(&disk);
    let ledger = small().open_simulated(Arc::<Narrow>::clone(&narrow), host.as_host()).unwrap();
    narrow.count.greedy.store(true, Relaxed);
    for number in 0..30 {
        let outcome = ledger.submit(&large(number, 5000));
        assert_eq!(ledger.poisoned(), None, "order {number}");
        assert_eq!(outcome.unwrap().how, How::Fresh);
        narrow.count.limit.store(u64::MAX, Relaxed);
        // Some segments are prepared before they are wanted, and some are not.
        if number % 7 < 3 {
            ledger.tick();
        }
    }
    assert!(ledger.stats().unwrap().segments > 8);
    ledger.close().unwrap();
}

#[test]
fn a_segment_that_was_removed_is_named_when_it_is_read() {
    let (disk, host) = sim(471);
    // Nothing is answered from memory.
    let options = small().key_memory_bytes(0);
    let ledger = options.open_simulated(disk.as_disk(), host.as_host()).unwrap();
    let mut orders = Vec::new();
    for number in 0..120 {
        orders.push(ledger.submit(&large(number, 5000)).unwrap().receipt.order);
        ledger.tick();
    }
    assert!(ledger.get(orders[0]).unwrap().is_some());
    disk.as_disk().remove("wal/0000000001.seg").unwrap();
    // What is kept open goes on working, until so many other files have been read.
    for order in &orders[3..] {
        assert!(ledger.get(*order).unwrap().is_some());
    }
    let error = ledger.get(orders[0]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { kind: io::ErrorKind::NotFound, .. }), "{error}");
    assert!(error.to_string().contains("wal/0000000001.seg"), "{error}");
}

const FEW: &str = "ORDER_LEDGER_TEST_FEW_DESCRIPTORS";

#[test]
fn child_with_few_descriptors() {
    let Ok(path) = std::env::var(FEW) else { return };
    let options = Options::new().segment_bytes(1 << 20);
    let ledger = options.open(&path).unwrap();
    for number in 0..ORDERS_OF_CHILD {
        ledger.submit(&large(number, 300_000)).unwrap();
    }
    ledger.close().unwrap();
    let ledger = options.open(&path).unwrap();
    for number in 0..ORDERS_OF_CHILD {
        assert_eq!(ledger.submit(&large(number, 300_000)).unwrap().how, How::Replayed);
    }
    assert!(ledger.stats().unwrap().segments > 32);
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.orders().filter(Result::is_ok).count() as u64, ORDERS_OF_CHILD);
    ledger.close().unwrap();
}

const ORDERS_OF_CHILD: u64 = 110;

#[test]
fn rule_47_a_process_with_few_descriptors_has_a_ledger_of_any_size() {
    let dir = tempfile::tempdir().unwrap();
    let child = Command::new("sh")
        .args(["-c", "ulimit -n 32 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "descriptors::child_with_few_descriptors", "--nocapture"])
        .env(FEW, dir.path().join("orders.ledger"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}
