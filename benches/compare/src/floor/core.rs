//! The reference core: the least that makes an order durable and idempotent, as quick as we can write it.
//!
//! A record with a CRC into a segment full of zeros, the keys in memory, one durable write for all who
//! wait. What an engine owes beyond that is left out: no index file, no reading back, no opening, no
//! next segment, and two keys with the same hash of 64 bits would be taken for one. So nobody can be
//! quicker by much, and nobody can use it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;

use order_ledger::Submission;
use parking_lot::{Mutex, MutexGuard};

use super::block::Block;
use super::segment::Segment;
use super::word::{Wake, Word};
use crate::store::{How, Result, Store};

const SEGMENT_BYTES: u64 = 256 * 1024 * 1024;
/// Keys that fit before the table has to grow, which stops everybody for a while.
const KEYS: usize = 1 << 20;
const GROUP_BYTES: usize = 64 * 1024;

pub(crate) struct Core {
    segment: Segment,
    /// Keyed anew for each run, as a hostile client demands.
    hasher: RandomState,
    shared: Mutex<Shared>,
}

struct Shared {
    /// What was taken, by the hash of its key.
    seen: HashMap<u64, Seen, BuildHasherDefault<Hashed>>,
    /// The group that takes records.
    open: Group,
    /// The words of the groups that are not on disk yet: the open one, and the one being written.
    writing: Option<Arc<Word>>,
    /// The last group that is on disk.
    durable: u64,
    /// Behind the last group in the segment.
    at: u64,
    /// Orders in the last group: about as many threads are on their way back.
    orders_before: usize,
    spare: Option<Block>,
    failed: bool,
}

struct Seen {
    content: u32,
    group: u64,
}

struct Group {
    number: u64,
    orders: usize,
    block: Block,
    word: Arc<Word>,
}

impl Group {
    fn new(number: u64, block: Block) -> Group {
        Group { number, orders: 0, block, word: Arc::default() }
    }
}

/// An order, ready to be copied into a group.
struct Record {
    key: u64,
    content: u32,
    /// Of its bytes in those of all records.
    end: usize,
}

impl Core {
    pub(crate) fn new(path: &Path) -> io::Result<Core> {
        let shared = Shared {
            seen: HashMap::with_capacity_and_hasher(KEYS, BuildHasherDefault::default()),
            open: Group::new(1, Block::with_capacity(GROUP_BYTES)),
            writing: None,
            durable: 0,
            at: 0,
            orders_before: 0,
            spare: Some(Block::with_capacity(GROUP_BYTES)),
            failed: false,
        };
        Ok(Core {
            segment: Segment::of_the_best_mode(path, SEGMENT_BYTES)?,
            hasher: RandomState::new(),
            shared: Mutex::new(shared),
        })
    }

    /// Outside of any lock.
    fn encode(&self, order: &Submission, bytes: &mut Vec<u8>) -> Record {
        let (key, payload) = (order.key(), order.payload());
        let mut crc = crc32fast::Hasher::new();
        crc.update(payload);
        let content = crc.clone().finalize();
        crc.update(key);
        for len in [key.len(), payload.len()] {
            // Both are far below 4 GiB.
            bytes.extend(u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        }
        bytes.extend(crc.finalize().to_le_bytes());
        bytes.extend(key);
        bytes.extend(payload);
        Record { key: self.hasher.hash_one(key), content, end: bytes.len() }
    }

    /// Copies what is new into the open group, and waits until all of it is on disk.
    fn take(&self, records: &[Record], bytes: &[u8]) -> Result<Vec<How>> {
        let mut shared = self.shared.lock();
        let (number, mut newest, mut begin) = (shared.open.number, 0, 0);
        let mut answers = Vec::with_capacity(records.len());
        for record in records {
            let Shared { seen, open, .. } = &mut *shared;
            let (how, group) = match seen.entry(record.key) {
                Entry::Vacant(entry) => {
                    entry.insert(Seen { content: record.content, group: number });
                    open.block.extend(bytes.get(begin..record.end).unwrap_or_default());
                    open.orders += 1;
                    (How::Fresh, number)
                }
                Entry::Occupied(entry) => {
                    let same = entry.get().content == record.content;
                    (if same { How::Replayed } else { How::Conflict }, entry.get().group)
                }
            };
            begin = record.end;
            newest = newest.max(group);
            answers.push(how);
        }
        if shared.failed {
            return Err("a write has failed".into());
        }
        if newest > shared.durable {
            self.wait(shared, newest)?;
        }
        Ok(answers)
    }

    fn wait(&self, shared: MutexGuard<'_, Shared>, group: u64) -> Result<()> {
        if shared.writing.is_none() {
            return self.lead(shared);
        }
        let open = (group == shared.open.number).then(|| shared.open.word.clone());
        let Some(word) = open.or_else(|| shared.writing.clone()) else { return Ok(()) };
        drop(shared);
        match word.wait()? {
            Wake::Written => Ok(()),
            Wake::Failed => Err("the write of the group has failed".into()),
            Wake::Lead => self.lead(self.shared.lock()),
        }
    }

    /// Writes the open group, hands over to a thread of the next, and wakes the followers.
    fn lead(&self, mut shared: MutexGuard<'_, Shared>) -> Result<()> {
        // From here on nobody else leads.
        shared.writing = Some(shared.open.word.clone());
        wait_for_company(&mut shared);
        let block = shared.spare.take().unwrap_or_else(|| Block::with_capacity(GROUP_BYTES));
        let next = Group::new(shared.open.number + 1, block);
        let mut group = std::mem::replace(&mut shared.open, next);
        let at = shared.at;
        drop(shared);

        let written = self.segment.write(&mut group.block, at);

        let mut shared = self.shared.lock();
        match &written {
            Ok(behind) => {
                shared.at = *behind;
                shared.durable = group.number;
                shared.orders_before = group.orders;
            }
            Err(_) => shared.failed = true,
        }
        group.block.clear();
        shared.spare = Some(group.block);
        let next = (shared.open.orders > 0).then(|| shared.open.word.clone());
        // A leader that is wanted counts as one that writes.
        shared.writing = next.clone();
        drop(shared);
        if let Some(next) = next {
            // After a failure nobody writes any more.
            if written.is_ok() { next.hand_over()? } else { next.finish(false)? }
        }
        group.word.finish(written.is_ok())?;
        written?;
        Ok(())
    }
}

/// Those who were woken by the last group come back within microseconds: a leader that runs ahead of
/// them writes groups of a few and leaves the many waiting. Lets others run as long as the group grows.
fn wait_for_company(shared: &mut MutexGuard<'_, Shared>) {
    loop {
        let orders = shared.open.orders;
        if orders >= shared.orders_before {
            return;
        }
        MutexGuard::unlocked(shared, std::thread::yield_now);
        if shared.open.orders == orders {
            return;
        }
    }
}

impl Store for Core {
    fn submit(&self, order: &Submission) -> Result<How> {
        let mut bytes = Vec::with_capacity(order.payload().len() + 64);
        let record = self.encode(order, &mut bytes);
        let answers = self.take(&[record], &bytes)?;
        Ok(answers.first().copied().ok_or("no answer")?)
    }

    fn submit_many(&self, orders: &[Submission]) -> Result<Vec<How>> {
        let mut bytes = Vec::with_capacity(orders.len() * 320);
        let records: Vec<_> = orders.iter().map(|order| self.encode(order, &mut bytes)).collect();
        self.take(&records, &bytes)
    }
}

/// The keys of the table are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not used by u64; whatever comes here still counts.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive;
    use crate::support::{Dir, order, orders};

    /// The floor has to do the work that it is the floor of.
    #[test]
    fn the_core_takes_a_key_once_and_tells_repeats_apart_by_their_content() {
        let dir = Dir::new("core").unwrap();
        let core = Core::new(&dir.join("core")).unwrap();
        let (first, second) = (order(), order());
        let other = Submission::new(first.client(), first.key(), "other");
        assert_eq!(core.submit(&first).unwrap(), How::Fresh);
        assert_eq!(core.submit(&first).unwrap(), How::Replayed);
        assert_eq!(core.submit(&other).unwrap(), How::Conflict);
        let answers = core.submit_many(&[second.clone(), first, other, second]).unwrap();
        assert_eq!(answers, [How::Fresh, How::Replayed, How::Conflict, How::Replayed]);
    }

    #[test]
    fn nothing_is_answered_before_it_is_on_disk_and_nobody_waits_for_ever() {
        let dir = Dir::new("core-threads").unwrap();
        let core = Core::new(&dir.join("core")).unwrap();
        let orders = orders(3_200);
        drive::threads(&core, &orders, 32).unwrap();
        let shared = core.shared.lock();
        assert_eq!(shared.durable + 1, shared.open.number, "every group was written");
        assert_eq!((shared.open.orders, shared.seen.len()), (0, 3_200));
        assert!(shared.writing.is_none());
        assert!(shared.durable >= 100, "a thread has one order in a group at most");
        drop(shared);
        // What the file has, in the order of the groups, is what was taken.
        let bytes = std::fs::read(dir.join("core")).unwrap();
        let found = |order: &Submission| bytes.windows(32).any(|window| window == order.key());
        assert!(orders.iter().step_by(800).all(found));
    }
}
