//! What several test modules share: random numbers that never change, and looks at a simulated disk.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use order_ledger::disk::sim::{Crash, CrashMode, SimDisk, SimHost};
use order_ledger::disk::{Disk, DiskFile, DiskLock, Open};
use order_ledger::{Ledger, Options, Order, Reader, Receipt, Submission, Views};

/// SplitMix64, as in the simulated disk: a seed that failed must fail for ever.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap()
    }

    /// True `numerator` times out of `denominator`.
    pub(crate) fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    pub(crate) fn pick<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.index(values.len())].clone()
    }
}

/// Segments as small as the simulated disk allows, and no space kept back.
pub(crate) fn small() -> Options {
    Options::new()
        .segment_bytes(16 * 1024)
        .disk_reserve_bytes(0)
        .disk_free_min_bytes(0)
        .views(Views::Off)
}

pub(crate) fn open(disk: &SimDisk, host: &SimHost) -> order_ledger::Result<Ledger> {
    small().open_simulated(disk.as_disk(), host.as_host())
}

pub(crate) fn read(disk: &SimDisk) -> order_ledger::Result<Reader> {
    Reader::open_on(disk.as_disk(), &SimHost::new(77))
}

pub(crate) fn order(number: u64) -> Submission {
    Submission::new("web", format!("k{number}"), format!("payload of order {number}")).account("A")
}

pub(crate) fn large(number: u64, bytes: usize) -> Submission {
    Submission::new("web", format!("k{number}"), Random::new(number).bytes(bytes))
}

/// Submits orders `0..count` one by one: a group each.
pub(crate) fn fill(ledger: &Ledger, count: u64) -> Vec<Receipt> {
    (0..count).map(|number| ledger.submit(&order(number)).unwrap().receipt).collect()
}

/// The same on a disk whose process is then killed: nothing is closed, nothing sealed.
pub(crate) fn fill_and_kill(disk: &SimDisk, host: &SimHost, count: u64) -> Vec<Receipt> {
    let ledger = open(disk, host).unwrap();
    let receipts = fill(&ledger, count);
    disk.kill();
    receipts
}

/// Makes everything durable and ends the process.
pub(crate) fn settle(disk: &SimDisk) {
    disk.crash(Crash::new(CrashMode::KeepAll, 0));
}

/// Takes back the first sector that has changed since `old`: what is left of the last write is torn.
pub(crate) fn tear(disk: &SimDisk, path: &str, old: &[u8]) {
    let new = disk.read_durable(path).unwrap();
    let sectors = old.chunks(512).zip(new.chunks(512));
    let first = sectors.into_iter().position(|(old, new)| old != new).unwrap() * 512;
    disk.overwrite(path, first as u64, &old[first..first + 512]).unwrap();
}

/// Every durable file but those whose content may change at an open.
pub(crate) fn durable(disk: &SimDisk, under: &str) -> BTreeMap<String, Vec<u8>> {
    let files = disk.files().into_iter().filter(|(path, _)| path.starts_with(under));
    files.map(|(path, _)| (path.clone(), disk.read_durable(&path).unwrap())).collect()
}

/// All orders, or the first error.
pub(crate) fn all_orders(ledger: &Ledger) -> order_ledger::Result<Vec<Order>> {
    ledger.orders().collect()
}

/// A copy of a disk that can be damaged without touching the original.
pub(crate) fn copy(disk: &SimDisk) -> SimDisk {
    let copy = SimDisk::new(1);
    copy.restore(&disk.snapshot());
    copy
}

/// A disk and its surroundings.
pub(crate) fn sim(seed: u64) -> (SimDisk, SimHost) {
    (SimDisk::new(seed), SimHost::new(seed ^ 0xabcd))
}

/// The kind of a result's error.
pub(crate) fn kind<T: fmt::Debug>(result: order_ledger::Result<T>) -> order_ledger::ErrorKind {
    result.unwrap_err().kind().clone()
}

/// One call that the program makes of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) what: &'static str,
    pub(crate) path: String,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// Runs before each call.
pub(crate) type Hook = Arc<dyn Fn(&Call) + Send + Sync>;

/// A disk with somebody who sees each call before it is made, and may panic, or do something himself.
#[derive(Clone)]
pub(crate) struct Hooked {
    disk: Arc<dyn Disk>,
    hook: Hook,
    /// The paths of open files, which go with a rename.
    paths: Arc<Mutex<Vec<SharedPath>>>,
}

type SharedPath = Arc<Mutex<String>>;

impl Hooked {
    pub(crate) fn new(disk: Arc<dyn Disk>, hook: Hook) -> Arc<Hooked> {
        Arc::new(Hooked { disk, hook, paths: Arc::default() })
    }

    /// A disk whose calls are written down.
    pub(crate) fn recording(disk: &SimDisk) -> (Arc<Hooked>, Arc<Mutex<Vec<Call>>>) {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&calls);
        let hook = move |call: &Call| list.lock().unwrap().push(call.clone());
        (Hooked::new(disk.as_disk(), Arc::new(hook)), calls)
    }

    fn tell(&self, what: &'static str, path: &str, offset: u64, bytes: u64) {
        (self.hook)(&Call { what, path: path.to_owned(), offset, bytes });
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooked")
    }
}

impl Disk for Hooked {
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let what = match how {
            Open::Read => "open",
            Open::Write => "open to write",
            Open::CreateNew => "create",
        };
        self.tell(what, path, 0, 0);
        let file = self.disk.open(path, how)?;
        let path = Arc::new(Mutex::new(path.to_owned()));
        self.paths.lock().unwrap().push(Arc::clone(&path));
        Ok(Arc::new(HookedFile { disk: self.clone(), path, file }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.tell("list", dir, 0, 0);
        self.disk.list(dir)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.tell("create dir", dir, 0, 0);
        self.disk.create_dir(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.tell("rename", to, 0, 0);
        for path in &*self.paths.lock().unwrap() {
            let mut path = path.lock().unwrap();
            if *path == from {
                to.clone_into(&mut path);
            }
        }
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.tell("remove", path, 0, 0);
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.tell("sync dir", dir, 0, 0);
        self.disk.sync_dir(dir)
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn DiskLock>> {
        self.tell("lock", path, 0, 0);
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

#[derive(Debug)]
struct HookedFile {
    disk: Hooked,
    path: SharedPath,
    file: Arc<dyn DiskFile>,
}

impl HookedFile {
    fn tell(&self, what: &'static str, offset: u64, bytes: u64) {
        let path = self.path.lock().unwrap().clone();
        self.disk.tell(what, &path, offset, bytes);
    }
}

impl DiskFile for HookedFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.tell("read", offset, buffer.len() as u64);
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.tell("write", offset, data.len() as u64);
        self.file.write_at(data, offset)
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.tell("set bytes", 0, bytes);
        self.file.set_bytes(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.tell("sync", 0, 0);
        self.file.sync()
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.tell("drop cache", 0, 0);
        self.file.drop_cache()
    }
}

/// `what path` of each call, without those of a path that has `without` in it.
pub(crate) fn lines(calls: &Mutex<Vec<Call>>) -> Vec<String> {
    let calls = std::mem::take(&mut *calls.lock().unwrap());
    calls.iter().map(|call| format!("{} {}", call.what, call.path)).collect()
}

/// The place of a line; panics when it is missing.
pub(crate) fn place(lines: &[String], line: &str) -> usize {
    lines
        .iter()
        .position(|other| other == line)
        .unwrap_or_else(|| panic!("no {line:?} in {lines:#?}"))
}
