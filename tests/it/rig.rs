//! What several test modules share: random numbers that never change, and looks at a simulated disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use order_ledger::disk::sim::{SimDisk, SimHost};
use order_ledger::{Ledger, Options, Order, Reader, Receipt, Submission};

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
    Options::new().segment_bytes(16 * 1024).disk_reserve_bytes(0).disk_free_min_bytes(0)
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
pub(crate) fn kind<T: std::fmt::Debug>(result: order_ledger::Result<T>) -> order_ledger::ErrorKind {
    result.unwrap_err().kind().clone()
}

/// A counter that threads share.
pub(crate) type Shared<T> = Arc<T>;
