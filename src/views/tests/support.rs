//! What tests of the views and of queries stand on: a real log on an honest disk in memory, a real
//! directory for sled, and stores that misbehave on demand.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::super::feeder::Opener;
use super::super::guard::Open;
use super::super::store::{Batch, Doubt, MemStore, Store};
use super::super::{Deadlines, Place, Views, ViewsConfig, ViewsState};
use crate::disk::by_path::Files;
use crate::disk::{self, Disk, DiskFile, DiskLock, Host};
use crate::order::{
    Durability, LedgerId, Lifecycle, Order, Refusal, Seq, State, Submission, Timestamp,
};
use crate::tables::Tables;
use crate::tables::hash::KeyHasher;
use crate::wal::blocks::Blocks;
use crate::wal::format::{BLOCK_LEN, SegmentHeader, WAL_DIR, segment_path};
use crate::wal::issuer::Issuer;
use crate::wal::log::Log;
use crate::wal::prepare::Preparer;
use crate::wal::record::{self, Encoded, Moved};
use crate::wal::scan::Position;
use crate::wal::segment::{OpenIndex, Segment};
use crate::wal::writer::{Layout, Writer, create_first};

pub(crate) const LEDGER: LedgerId = LedgerId([9; 16]);

/// A disk in memory that does what it is told and forgets nothing.
#[derive(Default, Debug)]
pub(crate) struct MemDisk {
    files: Mutex<BTreeMap<String, Arc<MemFile>>>,
    dirs: Mutex<Vec<String>>,
}

#[derive(Default, Debug)]
struct MemFile(Mutex<Vec<u8>>);

impl Disk for MemDisk {
    fn open(&self, path: &str, how: disk::Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = self.files.lock();
        match (files.get(path), how) {
            (Some(_), disk::Open::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(file), _) => Ok(Arc::clone(file) as Arc<dyn DiskFile>),
            (None, disk::Open::CreateNew) => {
                let file = Arc::new(MemFile::default());
                files.insert(path.to_owned(), Arc::clone(&file));
                Ok(file)
            }
            (None, _) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let prefix = format!("{dir}/");
        let (files, dirs) = (self.files.lock(), self.dirs.lock());
        let names = files.keys().chain(dirs.iter()).filter_map(|path| path.strip_prefix(&prefix));
        Ok(names.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.dirs.lock().push(dir.to_owned());
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.files.lock().remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &str) -> io::Result<Box<dyn DiskLock>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn is_in_place(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn display_path(&self) -> String {
        "memory".into()
    }
}

impl DiskFile for MemFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.0.lock();
        let rest = content.get(crate::bytes::to_usize(offset)..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        let mut content = self.0.lock();
        let start = crate::bytes::to_usize(offset);
        let end = start + data.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(data);
        Ok(data.len())
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.0.lock().resize(crate::bytes::to_usize(bytes), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A clock that stands still (ledger time moves on by itself) and numbers that count up.
#[derive(Default, Debug)]
struct TestHost(AtomicU64);

impl Host for TestHost {
    fn wall_ns(&self) -> u64 {
        1_000
    }

    fn monotonic_ns(&self) -> u64 {
        0
    }

    fn fill_random(&self, buffer: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        buffer
            .iter_mut()
            .zip(number.to_le_bytes().iter().cycle())
            .for_each(|(to, from)| *to = *from);
    }

    fn sleep(&self, _: Duration) {}

    fn process_id(&self) -> u32 {
        1
    }
}

/// A log that orders are written to.
pub(crate) struct TestLog {
    pub(crate) log: Arc<Log>,
    pub(crate) tables: Arc<Tables>,
    writer: Writer,
}

impl TestLog {
    pub(crate) fn new() -> TestLog {
        TestLog::of(LEDGER, Durability::Durable)
    }

    pub(crate) fn of(ledger: LedgerId, durability: Durability) -> TestLog {
        let disk: Arc<dyn Disk> = Arc::new(MemDisk::default());
        let host: Arc<dyn Host> = Arc::new(TestHost::default());
        // Small segments, so that a few hundred orders lie in sealed ones as well.
        let layout = Layout { segment_bytes: 32 * 1024, group_align: 8, past_cache: true };
        let preparer = Arc::new(Preparer::new(Arc::clone(&disk)));
        disk.create_dir(WAL_DIR).unwrap();
        create_first(&*disk, &*host, &preparer, layout, ledger, durability).unwrap();
        let file = disk.open(&segment_path(1), disk::Open::Write).unwrap();
        let mut block = vec![0; BLOCK_LEN];
        disk::read_exact_at(&*file, &mut block, 0).unwrap();
        let (header, crc) = SegmentHeader::decode(&block).unwrap();
        let position = Position::start(&header, crc, Timestamp::from_unix_ns(0));
        let segment =
            Arc::new(Segment::open(header, crc, file, &Blocks::new(0), OpenIndex::default()));
        let issuer = Issuer { ledger, durability, partition: 0 };
        let files = Files::new(Arc::clone(&disk));
        let log = Arc::new(Log::new(issuer, files, vec![Arc::clone(&segment)], Seq::FIRST));
        let writer =
            Writer::new(disk, host, Arc::clone(&log), preparer, layout, segment, position).unwrap();
        TestLog { log, tables: Arc::new(Tables::new(KeyHasher::new([5; 16]))), writer }
    }

    /// Writes one group and publishes it.
    pub(crate) fn write(&mut self, orders: &[(Submission, Option<Refusal>)]) {
        let next = self.write_unpublished(orders);
        self.log.publish(next);
    }

    /// Writes one group and answers the seq behind it.
    pub(crate) fn write_unpublished(&mut self, orders: &[(Submission, Option<Refusal>)]) -> Seq {
        let encode = |(order, refusal): &(Submission, Option<Refusal>)| {
            record::encode(order, [3; 16], refusal.as_ref()).unwrap()
        };
        self.append(&orders.iter().map(encode).collect::<Vec<_>>())
    }

    /// Appends one group with these records and answers the seq behind it.
    pub(crate) fn append(&mut self, encoded: &[Encoded]) -> Seq {
        let records: Vec<_> = encoded.iter().collect();
        let appended = self.writer.append(&records, Timestamp::from_unix_ns(1_000)).unwrap();
        let keys = encoded.iter().map(|record| {
            // One of a newer program has no keys that are known here.
            let body = record::decode(record.kind, record.version, &record.bytes);
            body.map(|body| self.tables.hasher().keys_of(&body)).unwrap_or_default()
        });
        self.tables.apply(self.writer.active_number(), appended.first_seq, keys);
        if let Some(closed) = appended.closed {
            closed.segment.seal(&self.log.files, &closed.end, &[]).unwrap();
        }
        self.writer.position().next_seq
    }

    /// Writes `count` orders that [`order`] makes, in groups of 7.
    pub(crate) fn write_many(&mut self, count: u64) {
        let begin = self.log.readable_next().0;
        let orders: Vec<_> = (begin..begin + count).map(order).collect();
        orders.chunks(7).for_each(|group| self.write(group));
    }

    /// Has the order at this seq take a step from one state to another, and publishes it.
    pub(crate) fn move_on(&mut self, order: Seq, version: u64, from: State, to: State) {
        let moved = Moved {
            order: order.0,
            version,
            from: from.number(),
            to: to.number(),
            command_key: &[],
            evidence: Vec::new(),
            reason: "",
        };
        let next = self.append(&[record::encode_moved(&moved).unwrap()]);
        self.log.publish(next);
    }

    /// Every order as it stands, by reading each record: what all answers are compared with.
    pub(crate) fn all(&self) -> Vec<Order> {
        let mut orders = BTreeMap::new();
        for seq in (1..self.log.readable_next().0).map(Seq) {
            let record = self.log.read(seq).unwrap().unwrap();
            let body = record.body().unwrap();
            if let Some(order) = self.log.issuer.order(&record.frame(), &body) {
                orders.insert(seq, order);
            }
            if let Some(moved) = body.moved() {
                let order: &mut Order = orders.get_mut(&moved.order()).unwrap();
                (order.now.state, order.now.version) = (moved.to(), moved.version);
            }
        }
        orders.into_values().collect()
    }
}

/// The order of test ledgers at this seq: some without account, some refused, refs that repeat.
pub(crate) fn order(seq: u64) -> (Submission, Option<Refusal>) {
    let mut submission = Submission::new("web", format!("key-{seq}"), vec![7; 40]);
    if !seq.is_multiple_of(5) {
        submission = submission.account(format!("account-{}", seq % 20));
    }
    if !seq.is_multiple_of(3) {
        submission = submission.external_ref(format!("ref-{}", seq / 4));
    }
    let refused = seq.is_multiple_of(17);
    (submission, refused.then(|| Refusal { code: 4, reason: "too much".into() }))
}

/// A real ledger directory, as far as the views use one.
#[derive(Debug)]
pub(crate) struct RealDir(pub(crate) PathBuf);

impl Disk for RealDir {
    fn open(&self, _: &str, _: disk::Open) -> io::Result<Arc<dyn DiskFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.0.join(dir))?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        fs::create_dir(self.0.join(dir))
    }

    #[expect(clippy::disallowed_methods, reason = "this is a disk")]
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        panic!("the views remove nothing")
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &str) -> io::Result<Box<dyn DiskLock>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn is_in_place(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn display_path(&self) -> String {
        self.0.display().to_string()
    }
}

/// What the views proved about the log, if they did.
pub(crate) type Proved = Arc<Mutex<Vec<(Seq, String)>>>;

/// Views under test, with what they reported.
pub(crate) struct Started {
    pub(crate) views: Arc<Views>,
    pub(crate) proved: Proved,
}

pub(crate) fn config(dir: &Path, test: &TestLog) -> ViewsConfig {
    let deadlines = Deadlines {
        open: Duration::from_secs(20),
        lock: Duration::from_secs(10),
        call: Duration::from_secs(20),
        page: Duration::from_secs(20),
        close: Duration::from_secs(20),
    };
    let disk = Arc::new(RealDir(dir.to_owned()));
    let (place, lifecycle) = (Place::Sled(dir.to_owned()), Lifecycle::default());
    let (log, tables) = (Arc::clone(&test.log), Arc::clone(&test.tables));
    ViewsConfig { place, disk, log, tables, lifecycle, deadlines }
}

pub(crate) fn start(config: ViewsConfig) -> Started {
    let proved = Proved::default();
    let heard = Arc::clone(&proved);
    let on_ahead = Box::new(move |seq, witness| heard.lock().push((seq, witness)));
    Started { views: Views::start(config, on_ahead), proved }
}

pub(in super::super) fn start_with(config: ViewsConfig, opener: Opener) -> Started {
    let proved = Proved::default();
    let heard = Arc::clone(&proved);
    let on_ahead = Box::new(move |seq, witness| heard.lock().push((seq, witness)));
    Started { views: Views::start_with(config, on_ahead, opener), proved }
}

pub(crate) fn in_sled(dir: &Path, test: &TestLog) -> Started {
    start(config(dir, test))
}

pub(crate) fn in_memory(test: &TestLog) -> Arc<Views> {
    let config = ViewsConfig {
        place: Place::Memory,
        disk: Arc::new(MemDisk::default()),
        log: Arc::clone(&test.log),
        tables: Arc::clone(&test.tables),
        lifecycle: Lifecycle::default(),
        deadlines: Deadlines::default(),
    };
    Views::start(config, Box::new(|_, _| panic!("there is nothing to be ahead")))
}

/// Waits until the views are as wanted, and answers how they then are.
pub(crate) fn wait_for(views: &Views, wanted: impl Fn(&ViewsState) -> bool) -> ViewsState {
    let begun = Instant::now();
    loop {
        let state = views.state();
        if wanted(&state) {
            return state;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "still {state:?}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

pub(crate) fn wait_until_fed(views: &Views) -> ViewsState {
    wait_for(views, |state| {
        state.behind == 0
            && (state.covered > Seq::FIRST || state.phase == super::super::Phase::Feeding)
    })
}

/// Longer than a sound store takes, shorter than a test may.
pub(in super::super) const SHORT: Duration = Duration::from_millis(100);

/// Blocks whoever comes until the test is over.
#[derive(Clone, Default)]
pub(in super::super) struct Wall(pub(in super::super) Arc<(Mutex<bool>, Condvar)>);

impl Wall {
    pub(in super::super) fn block(&self) {
        let mut open = self.0.0.lock();
        self.0.1.wait_while(&mut open, |open| !*open);
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        *self.0.0.lock() = true;
        self.0.1.notify_all();
    }
}

/// True the first time only.
pub(in super::super) fn once() -> impl Fn() -> bool + Send + Sync {
    let asked = AtomicU64::new(0);
    move || asked.fetch_add(1, Ordering::Relaxed) == 0
}

pub(crate) fn fed_log() -> TestLog {
    let mut test = TestLog::new();
    test.write_many(350);
    test
}

/// A call to a faulty store: which one, and how many of its sort came before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Call {
    Watermark,
    Keys,
    Apply,
    Drop,
}

type Fault = dyn Fn(Call, u64) -> Result<(), Doubt> + Send + Sync;

/// A store in memory that asks before each call whether it shall fail, panic or block.
pub(in super::super) struct FaultyStore {
    pub(in super::super) inner: MemStore,
    pub(in super::super) counts: [u64; 4],
    pub(in super::super) fault: Arc<Fault>,
}

impl FaultyStore {
    /// Opens stores one after the other, each new one empty.
    pub(in super::super) fn opener(
        fault: impl Fn(Call, u64) -> Result<(), Doubt> + Send + Sync + 'static,
    ) -> Opener {
        let fault: Arc<Fault> = Arc::new(fault);
        Box::new(move |_| {
            let fault = Arc::clone(&fault);
            Box::new(move || {
                let store = FaultyStore { inner: MemStore::default(), counts: [0; 4], fault };
                Ok(Box::new(store) as Box<dyn Store>)
            }) as Open
        })
    }

    fn ask(&mut self, call: Call) -> Result<(), Doubt> {
        let count = &mut self.counts[call as usize];
        *count += 1;
        (self.fault)(call, *count)
    }
}

impl Store for FaultyStore {
    fn watermark(&mut self) -> Result<Option<Vec<u8>>, Doubt> {
        self.ask(Call::Watermark)?;
        self.inner.watermark()
    }

    fn keys(&mut self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, Doubt> {
        self.ask(Call::Keys)?;
        self.inner.keys(prefix, after, limit)
    }

    fn apply(&mut self, batch: Batch, watermark: Vec<u8>) -> Result<(), Doubt> {
        self.ask(Call::Apply)?;
        self.inner.apply(batch, watermark)
    }
}

impl Drop for FaultyStore {
    fn drop(&mut self) {
        drop(self.ask(Call::Drop));
    }
}

/// Every file below a directory with its content, and every directory.
pub(crate) fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path.clone());
                found.insert(path, None);
            } else {
                found.insert(path.clone(), Some(fs::read(&path).unwrap()));
            }
        }
    }
    found
}
