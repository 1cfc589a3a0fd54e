//! Ledgers that were built well, to be damaged: the same ones for all targets that damage a directory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use order_ledger::disk::sim::{Crash, CrashMode, SimDisk, SimHost, Snapshot};
use order_ledger::{GroupPadding, How, Options, Order, Submission};

use crate::model::{Content, Key, Small};
use crate::{SEGMENT_BYTES, small};

/// The witness of a ledger's end.
pub const MANIFEST: &str = "derived/tables/MANIFEST";

/// Every durable file with its bytes.
pub fn files(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let read = |path: &String| disk.read_durable(path).expect("it is listed");
    disk.files().into_iter().map(|(path, _)| (path.clone(), read(&path))).collect()
}

/// The segments with their durable bytes, in order.
pub fn segments(disk: &SimDisk) -> Vec<Vec<u8>> {
    let files = files(disk).into_iter();
    files.filter(|(path, _)| path.ends_with(".seg")).map(|(_, bytes)| bytes).collect()
}

/// A ledger that was built, and what it holds.
#[derive(Clone)]
pub struct Built {
    pub options: Options,
    pub disk: Snapshot,
    pub orders: Vec<Order>,
    pub submissions: Vec<Submission>,
    /// Its end is witnessed; the process was killed otherwise.
    pub closed: bool,
}

thread_local! {
    static BUILT: RefCell<BTreeMap<u8, Rc<Built>>> = const { RefCell::new(BTreeMap::new()) };
}

impl Built {
    /// The ledger of this shape (there are 64 of them), on a disk of its own.
    pub fn of(shape: u8) -> (Rc<Built>, SimDisk) {
        let shape = shape & 63;
        let built = BUILT.with(|cache| {
            let mut cache = cache.borrow_mut();
            Rc::clone(cache.entry(shape).or_insert_with(|| Rc::new(Built::make(shape))))
        });
        let disk = SimDisk::new(1);
        disk.restore(&built.disk);
        (built, disk)
    }

    /// 2 ways to end, 2 paddings, 4 numbers of orders, 4 sizes of groups.
    fn make(shape: u8) -> Built {
        let closed = shape & 1 == 0;
        let padding = match shape & 2 {
            0 => GroupPadding::PowerSafeOverwrite,
            _ => GroupPadding::Block,
        };
        let count = [1u8, 5, 24, 90][usize::from(shape >> 2 & 3)];
        let group = [1, 2, 7, 30][usize::from(shape >> 4 & 3)];
        let options = small().segment_bytes(SEGMENT_BYTES).group_padding(padding);
        let disk = SimDisk::new(u64::from(shape));
        let host = SimHost::new(u64::from(shape));
        let ledger = options.open_simulated(disk.as_disk(), host.as_host()).expect("a new ledger");
        let submissions: Vec<_> = (0..count)
            .map(|key| {
                // Every class of size but the ones that need a segment of their own, bar one of them.
                let payload = if key == 3 { 15 } else { u16::from(key % 14) };
                Small { account: key % 3, payload }.submission(Key::from(key))
            })
            .collect();
        for group in submissions.chunks(group) {
            for answer in ledger.submit_many(group) {
                assert_eq!(answer.expect("a sound disk").how, How::Fresh);
            }
            ledger.tick();
        }
        let orders: Vec<Order> = ledger.orders().collect::<Result<_, _>>().expect("a sound disk");
        assert_eq!(orders.len(), submissions.len());
        if closed {
            ledger.close().expect("a sound disk");
        } else {
            disk.kill();
        }
        assert!(!closed || disk.files().iter().any(|(path, _)| path == MANIFEST));
        // Everything was synced: a power cut that drops the rest leaves the ledger that is damaged here.
        disk.crash(Crash::new(CrashMode::DropAll, 1));
        Built { options, disk: disk.snapshot(), orders, submissions, closed }
    }
}
