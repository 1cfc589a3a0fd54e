//! Orders and ledgers to count with: everything follows from fixed seeds, so that two runs do the same.
//!
//! Always true: a ledger here has no threads and no views: what it does, it does in the calls that are made, and
//! the upkeep in [`Ledger::tick`]. A ledger is what its name says, or the bench ends.

use std::sync::Arc;

use order_ledger::disk::Host;
use order_ledger::disk::sim::SimHost;
use order_ledger::{Fingerprint, Ledger, Options, OrderId, Result, Submission, Views};

use crate::disk::MemoryDisk;

/// Bytes of a payload, where nothing else is said: as in the benches that measure time.
pub(crate) const PAYLOAD_BYTES: usize = 256;

/// Room for all orders of one bench, so that no segment ends in the middle of what is counted.
pub(crate) const LARGE_SEGMENT_BYTES: u64 = 4 * 1024 * 1024;

/// Room for 2,000 orders and not much more: where a whole segment is read, little of it is zeros.
pub(crate) const FITTING_SEGMENT_BYTES: u64 = 1024 * 1024;

/// A segment that is soon full, for ledgers with many of them.
const SMALL_SEGMENT_BYTES: u64 = 128 * 1024;

/// Orders per group where segments are small: several groups in each.
const SMALL_BATCH: usize = 50;

/// Numbers that look random and are the same each time (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count);
        while bytes.len() < count {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// What a caller makes an order of: a key of 32 bytes, a payload, a fingerprint.
pub(crate) struct Content {
    pub(crate) key: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) fingerprint: Fingerprint,
}

/// Other seeds, other contents.
pub(crate) fn contents(seed: u64, count: usize, payload_bytes: usize) -> Vec<Content> {
    let mut numbers = Numbers(seed << 32);
    let contents = (0..count).map(|_| {
        let (key, payload) = (numbers.bytes(32), numbers.bytes(payload_bytes));
        let words = [(); 4].map(|()| numbers.next().to_le_bytes());
        let mut fingerprint = [0; 32];
        for (place, byte) in fingerprint.iter_mut().zip(words.into_iter().flatten()) {
            *place = byte;
        }
        Content { key, payload, fingerprint: Fingerprint(fingerprint) }
    });
    contents.collect()
}

/// Orders with a fingerprint of the caller's own: valgrind's CPU has no instructions for SHA-256, and computing
/// it without them takes four fifths of what a replay costs there. The rest is what is to be seen.
pub(crate) fn orders(seed: u64, count: usize, payload_bytes: usize) -> Vec<Submission> {
    let contents = contents(seed, count, payload_bytes).into_iter();
    let order =
        |it: Content| Submission::new("bench", it.key, it.payload).fingerprint(it.fingerprint);
    contents.map(order).collect()
}

/// Orders as most are: the ledger computes the fingerprint.
pub(crate) fn hashed_orders(seed: u64, count: usize) -> Vec<Submission> {
    let contents = contents(seed, count, PAYLOAD_BYTES).into_iter();
    contents.map(|it| Submission::new("bench", it.key, it.payload)).collect()
}

/// An open ledger, the orders in it, and their ids.
pub(crate) struct Filled {
    pub(crate) ledger: Ledger,
    pub(crate) disk: MemoryDisk,
    pub(crate) orders: Vec<Submission>,
    pub(crate) ids: Vec<OrderId>,
}

fn options(segment_bytes: u64) -> Options {
    // Nothing is reserved: a small segment would be full at once.
    Options::new().segment_bytes(segment_bytes).disk_reserve_bytes(0).views(Views::Off)
}

pub(crate) fn host() -> Arc<dyn Host> {
    SimHost::new(1).as_host()
}

pub(crate) fn open(disk: &MemoryDisk, segment_bytes: u64) -> Ledger {
    done(options(segment_bytes).open_simulated(Arc::new(disk.clone()), host()))
}

/// A ledger whose orders all lie in its one segment, and whose keys are in memory.
pub(crate) fn in_open_segment(orders: Vec<Submission>, segment_bytes: u64) -> Filled {
    let mut filled = empty(segment_bytes);
    filled.take(orders, 1_000);
    must(filled.segments() == 1, "one segment");
    filled
}

/// A ledger with so many full segments that are not sealed, and one more that has begun.
pub(crate) fn full(count: u64) -> Filled {
    let mut filled = empty(SMALL_SEGMENT_BYTES);
    filled.fill(count);
    filled
}

/// A ledger with so many sealed segments and a key table for each of them, and one more segment that has begun.
pub(crate) fn sealed(count: u64) -> Filled {
    let mut filled = empty(SMALL_SEGMENT_BYTES);
    filled.seal(count);
    must(filled.key_tables() == count + 1, "a table for each segment");
    filled
}

/// A ledger with so many sealed segments under one key table that was merged from theirs.
pub(crate) fn merged(count: u64) -> Filled {
    let mut filled = empty(SMALL_SEGMENT_BYTES);
    filled.seal(count);
    must(filled.key_tables() == 2, "one table, and the keys in memory");
    filled
}

fn empty(segment_bytes: u64) -> Filled {
    let disk = MemoryDisk::default();
    Filled { ledger: open(&disk, segment_bytes), disk, orders: Vec::new(), ids: Vec::new() }
}

impl Filled {
    /// Takes orders, so many at a time.
    fn take(&mut self, orders: Vec<Submission>, batch: usize) {
        for orders in orders.chunks(batch) {
            let outcomes = self.ledger.submit_many(orders).into_iter();
            self.ids.extend(outcomes.map(|outcome| done(outcome).receipt.order));
        }
        self.orders.extend(orders);
    }

    /// Takes orders until so many segments are full and one more has begun.
    pub(crate) fn fill(&mut self, segments: u64) {
        while self.segments() <= segments {
            let seed = 100 + self.orders.len() as u64;
            self.take(orders(seed, SMALL_BATCH, PAYLOAD_BYTES), SMALL_BATCH);
        }
    }

    /// Fills and seals segments, one after the other; leaves the one that has begun.
    fn seal(&mut self, segments: u64) {
        for count in 1..=segments {
            self.fill(count);
            self.ledger.tick();
        }
    }

    /// Forgets the last orders: only those in sealed segments are looked for.
    pub(crate) fn without_last(mut self) -> Filled {
        let sealed = self.in_full_segments();
        self.orders.truncate(sealed);
        self.ids.truncate(sealed);
        self
    }

    /// Orders in full segments: all but those of the last group, which began the next one.
    pub(crate) fn in_full_segments(&self) -> usize {
        self.orders.len().saturating_sub(SMALL_BATCH)
    }

    fn segments(&self) -> u64 {
        done(self.ledger.stats()).segments
    }

    fn key_tables(&self) -> u64 {
        done(self.ledger.stats()).key_tables
    }

    /// Keeps `count` of the orders, from all over the log and in no order of theirs.
    pub(crate) fn pick(mut self, count: usize) -> Filled {
        must(count <= self.orders.len(), "as many orders as are looked for");
        let mut numbers = Numbers(2);
        let both = self.orders.into_iter().zip(self.ids);
        let mut both: Vec<_> = both.map(|pair| (numbers.next(), pair)).collect();
        both.sort_by_key(|(number, _)| *number);
        both.truncate(count);
        (self.orders, self.ids) = both.into_iter().map(|(_, pair)| pair).unzip();
        self
    }
}

/// The value, or the end of the bench.
pub(crate) fn done<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| ends(&error.to_string()))
}

/// Ends the bench unless this holds: it would count something else than its name says.
pub(crate) fn must(holds: bool, what: &str) {
    if !holds {
        ends(&format!("not true: {what}"));
    }
}

#[expect(clippy::print_stderr, reason = "the last thing the bench does")]
fn ends(why: &str) -> ! {
    eprintln!("the bench ends here: {why}");
    std::process::exit(1)
}
