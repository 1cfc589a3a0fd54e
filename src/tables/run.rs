//! The keys of a sealed segment, or of several, sorted on disk.
//!
//! Section `keys`: entries of 12 bytes, hash u64 and seq minus the segment's first seq as u32, both
//! little-endian, sorted by hash and then seq. 341 entries fill a block exactly, so none straddles.
//! Section `filter`: see [`filter`](super::filter). Both are checked blockwise when read.

use super::filter;
use super::hash::KeyHash;
use super::merged;
use crate::bytes::{PutFields, to_u32, to_usize};
use crate::order::Seq;
use crate::wal::format::{SECTION_BLOCK_CONTENT, SECTION_FILTER, SECTION_KEYS};
use crate::wal::record::keys_of_kind;
use crate::wal::section::{Section, SectionError};
use crate::wal::segment::Segment;

/// Bytes of one entry.
pub(crate) const ENTRY_BYTES: usize = 12;
type Entry = [u8; ENTRY_BYTES];
const _: () =
    assert!(SECTION_BLOCK_CONTENT.is_multiple_of(ENTRY_BYTES), "no entry straddles two blocks");

/// Most bytes of a filter that are read into memory: 4 GiB of the smallest records (64 bytes on disk)
/// have 2^26 keys at 10 bits.
const FILTER_BYTES_MAX: u64 = 96 * 1024 * 1024;

/// The keys of one sealed segment: the filter in memory, the entries on disk.
#[derive(Debug)]
pub(crate) struct Run {
    keys: Section,
    filter: Vec<u8>,
    first_seq: Seq,
    /// The file of its own that a run of several segments has.
    pub(crate) file: Option<merged::Name>,
}

/// The sections for these keys, which are sorted.
pub(crate) fn encode(sorted: &[(KeyHash, Seq)], first_seq: Seq) -> Vec<(u32, Vec<u8>)> {
    let mut keys = Vec::with_capacity(sorted.len() * ENTRY_BYTES);
    for (hash, seq) in sorted {
        keys.put_u64(hash.0).put_u32(to_u32(to_usize(seq.0 - first_seq.0)));
    }
    let filter = filter::build(sorted.iter().map(|(hash, _)| *hash));
    vec![(SECTION_KEYS, keys), (SECTION_FILTER, filter)]
}

/// How many keys these records have, counted by kind.
pub(crate) fn keys_in(counts: &[(u8, u64)]) -> u64 {
    counts.iter().fold(0, |sum: u64, (kind, count)| {
        sum.saturating_add(count.saturating_mul(keys_of_kind(*kind)))
    })
}

impl Run {
    /// One whose filter was read and checked.
    pub(crate) fn new(
        keys: Section,
        filter: Vec<u8>,
        first_seq: Seq,
        file: Option<merged::Name>,
    ) -> Run {
        Run { keys, filter, first_seq, file }
    }

    /// The run of a sealed segment: reads the filter.
    pub(crate) fn open(segment: &Segment) -> Result<Run, SectionError> {
        let missing = |kind| SectionError::Damaged { kind, block: 0, offset: 0 };
        let keys = segment.section(SECTION_KEYS).ok_or_else(|| missing(SECTION_KEYS))?;
        let filter = segment.section(SECTION_FILTER).ok_or_else(|| missing(SECTION_FILTER))?;
        // What is not here is answered as "never submitted", so a table of another size than the records
        // of the segment make is no table, whatever its checksums say.
        let count = keys_in(&segment.counts());
        if keys.at.content_bytes != count.saturating_mul(ENTRY_BYTES as u64) {
            return Err(missing(SECTION_KEYS));
        }
        if filter.at.content_bytes != filter::bytes_for(to_usize(count)) as u64 {
            return Err(missing(SECTION_FILTER));
        }
        let filter = filter.content(FILTER_BYTES_MAX)?;
        Ok(Run::new(keys, filter, segment.header.first_seq, None))
    }

    /// False: the run does not hold this hash. Looks into memory only.
    #[inline]
    pub(crate) fn may_hold(&self, hash: KeyHash) -> bool {
        filter::may_hold(&self.filter, hash)
    }

    /// The seqs under this hash.
    pub(crate) fn get(&self, hash: KeyHash) -> Result<Vec<Seq>, SectionError> {
        let mut found = Vec::new();
        self.find(hash, &mut found)?;
        Ok(found)
    }

    /// Adds the seqs under this hash to `found`; in front of an error there may be some of them.
    /// **Cost**: one or two blocks, as the hashes are spread evenly; a block that is not kept in memory is
    /// read and checked.
    pub(crate) fn find(&self, hash: KeyHash, found: &mut Vec<Seq>) -> Result<(), SectionError> {
        let (mut low, mut high) = (0, self.keys.at.blocks());
        let mut guess = to_u64((u128::from(hash.0) * u128::from(high)) >> 64);
        while low < high {
            let block = guess.clamp(low, high - 1);
            let content = self.keys.block(block)?;
            let entries = entries_of(&content);
            let (Some(first), Some(last)) = (entries.first(), entries.last()) else { break };
            let (first, last) = (hash_of(first), hash_of(last));
            if hash < first {
                high = block;
                guess = block.saturating_sub(1);
            } else if hash > last {
                low = block + 1;
                guess = block + 1;
            } else {
                found.extend(self.matching(entries, hash));
                // Equal hashes may go on into the blocks on either side, and an order with many steps
                // fills several.
                if hash == first {
                    self.gather_side((low..block).rev(), hash, found)?;
                }
                if hash == last {
                    self.gather_side(block + 1..high, hash, found)?;
                }
                break;
            }
        }
        Ok(())
    }

    /// The newest seq under this hash. **Cost**: as [`Run::get`], and a few more blocks when those of one
    /// hash fill several.
    pub(crate) fn newest(&self, hash: KeyHash) -> Result<Option<Seq>, SectionError> {
        let blocks = self.keys.at.blocks();
        let (mut low, mut high) = (0, blocks);
        let mut guess = to_u64((u128::from(hash.0) * u128::from(high)) >> 64);
        // Equal hashes are sorted by seq: the newest is the last of them in the last block that begins at or
        // below the hash.
        let (mut newest, mut step) = (None, 1u64);
        while low < high {
            let block = guess.clamp(low, high - 1);
            let content = self.keys.block(block)?;
            let entries = entries_of(&content);
            let (Some(first), Some(last)) = (entries.first(), entries.last()) else { break };
            if hash < hash_of(first) {
                high = block;
                guess = block.saturating_sub(step);
            } else {
                newest = self.matching(entries, hash).last();
                if hash < hash_of(last) {
                    break;
                }
                low = block + 1;
                guess = low.saturating_add(step - 1);
            }
            // Mostly it is the next block; else in longer and longer steps, and by halves between two ends.
            step = step.saturating_mul(2);
            if low > 0 && high < blocks {
                guess = low + (high - low) / 2;
            }
        }
        Ok(newest)
    }

    /// Adds the seqs under this hash from blocks beside one that it fills to its edge, as far as it goes.
    fn gather_side(
        &self,
        blocks: impl Iterator<Item = u64>,
        hash: KeyHash,
        found: &mut Vec<Seq>,
    ) -> Result<(), SectionError> {
        for block in blocks {
            let content = self.keys.block(block)?;
            let entries = entries_of(&content);
            let before = found.len();
            found.extend(self.matching(entries, hash));
            if found.len() - before < entries.len() {
                break;
            }
        }
        Ok(())
    }

    /// The seqs under this hash in one block.
    fn matching<'a>(
        &'a self,
        entries: &'a [Entry],
        hash: KeyHash,
    ) -> impl Iterator<Item = Seq> + 'a {
        let start = first_not_below(entries, hash);
        let behind = entries.get(start..).unwrap_or_default();
        let same = behind.iter().take_while(move |entry| hash_of(entry) == hash);
        same.map(|entry| self.seq_of(entry))
    }

    fn seq_of(&self, entry: &Entry) -> Seq {
        let [.., a, b, c, d] = *entry;
        Seq(self.first_seq.0.saturating_add(u32::from_le_bytes([a, b, c, d]).into()))
    }

    /// All of it, in order, block by block past what is kept in memory.
    pub(crate) fn entries(
        &self,
    ) -> impl Iterator<Item = Result<(KeyHash, Seq), SectionError>> + use<'_> {
        (0..self.keys.at.blocks()).flat_map(move |block| match self.keys.read_block(block) {
            Ok(content) => {
                let entries = entries_of(&content).iter();
                entries.map(|entry| Ok((hash_of(entry), self.seq_of(entry)))).collect::<Vec<_>>()
            }
            Err(error) => vec![Err(error)],
        })
    }
}

/// Where in a block the first entry lies whose hash is this one or above. Hashes are spread evenly, so it is
/// near where it would lie if they were spread perfectly (about nine entries off): two lines of the cache
/// instead of the five that halving touches.
fn first_not_below(entries: &[Entry], hash: KeyHash) -> usize {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return 0 };
    // Without the lowest bits, for which there would be no room behind the multiplication.
    let [first, last, wanted] = [hash_of(first), hash_of(last), hash].map(|hash| hash.0 >> 16);
    // Saturating: the checksum of a block says nothing of its order when somebody else wrote it.
    let within = wanted.min(last).saturating_sub(first);
    let guess = within * (entries.len() as u64 - 1) / last.saturating_sub(first).max(1);
    let mut index = to_usize(guess);
    let is_below = |index: usize| entries.get(index).is_some_and(|entry| hash_of(entry) < hash);
    while is_below(index) {
        index += 1;
    }
    while index > 0 && !is_below(index - 1) {
        index -= 1;
    }
    index
}

/// The entries of a block, as they lie on disk.
fn entries_of(block: &[u8]) -> &[Entry] {
    block.as_chunks().0
}

fn hash_of(entry: &Entry) -> KeyHash {
    let [a, b, c, d, e, f, g, h, ..] = *entry;
    KeyHash(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
}

fn to_u64(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::by_path::Files;
    use crate::disk::sim::SimDisk;
    use crate::disk::{self, Open};
    use crate::order::{Durability, LedgerId, Timestamp};
    use crate::wal::blocks::Blocks;
    use crate::wal::format::{SectionAt, SegmentHeader};
    use crate::wal::record::KIND_ACCEPTED;
    use crate::wal::scan::Position;
    use crate::wal::section;
    use crate::wal::segment::OpenIndex;

    const FIRST: u64 = 100;

    /// A run with these hashes, sorted; the seqs count up from the first.
    fn run(hashes: &[u64]) -> Run {
        run_on(&SimDisk::new(1), hashes)
    }

    fn run_on(disk: &SimDisk, hashes: &[u64]) -> Run {
        let sorted: Vec<_> =
            (FIRST..).zip(hashes).map(|(seq, hash)| (KeyHash(*hash), Seq(seq))).collect();
        let sections = encode(&sorted, Seq(FIRST));
        let [(SECTION_KEYS, keys), (SECTION_FILTER, filter)] = &sections[..] else {
            panic!("{sections:?}")
        };
        let file = disk.as_disk().open("run", Open::CreateNew).unwrap();
        disk::write_all_at(&*file, &section::encode(7, SECTION_KEYS, keys), 4096).unwrap();
        let at = SectionAt { kind: SECTION_KEYS, offset: 4096, content_bytes: keys.len() as u64 };
        let keys = Section { segment: 1, file, blocks: Blocks::new(0), nonce: 7, at };
        Run::new(keys, filter.clone(), Seq(FIRST), None)
    }

    fn get(run: &Run, hash: u64) -> Vec<u64> {
        let mut seqs: Vec<_> = run.get(KeyHash(hash)).unwrap().iter().map(|seq| seq.0).collect();
        seqs.sort_unstable();
        seqs
    }

    fn newest(run: &Run, hash: u64) -> Option<u64> {
        run.newest(KeyHash(hash)).unwrap().map(|seq| seq.0)
    }

    /// The first and the last of each block, and some in between.
    fn is_asked(seq: u64) -> bool {
        [0, 1, 100, 340].contains(&((seq - FIRST) % 341))
    }

    /// Sizes around those of one, two and many blocks; hashes that are spread evenly, and hashes of which
    /// all are at one end, so that the first guess is as wrong as it can be.
    #[test]
    fn every_hash_is_found_in_whatever_block_it_is_and_no_other_is() {
        for count in [0u64, 1, 2, 341, 342, 683, 1100] {
            let step = u64::MAX / (count + 1);
            for spread in [
                (1..=count).map(|n| n * step).collect::<Vec<_>>(),
                (1..=count).map(|n| n * 3).collect(),
                (1..=count).rev().map(|n| u64::MAX - n * 3).collect(),
            ] {
                let run = run(&spread);
                for (seq, hash) in (FIRST..).zip(&spread).filter(|(seq, _)| is_asked(*seq)) {
                    assert!(run.may_hold(KeyHash(*hash)));
                    assert_eq!(get(&run, *hash), [seq], "{count} hashes, {hash}");
                    assert_eq!(newest(&run, *hash), Some(seq), "{count} hashes, {hash}");
                    assert_eq!((newest(&run, hash - 1), newest(&run, hash + 1)), (None, None));
                    assert_eq!(get(&run, hash - 1), [0u64; 0]);
                    assert_eq!(get(&run, hash + 1), [0u64; 0]);
                }
                assert_eq!((get(&run, 0), get(&run, u64::MAX)), (Vec::new(), Vec::new()));
            }
        }
    }

    /// Against the halving search: hashes spread evenly and not, equal ones, and what lies outside.
    #[test]
    fn the_first_entry_not_below_a_hash_is_found_however_they_are_spread() {
        let mut spreads: Vec<Vec<u64>> = vec![
            vec![7],
            vec![5, 5, 5, 5],
            (0..341).collect(),
            (0..341).map(|n| n << 50).collect(),
            (0..341).map(|n| 1 << (n % 64)).collect(),
            (0..341u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect(),
            vec![0, u64::MAX],
        ];
        for spread in &mut spreads {
            spread.sort_unstable();
            let entries: Vec<Entry> = spread
                .iter()
                .map(|hash| {
                    let mut entry = [0; ENTRY_BYTES];
                    entry[..8].copy_from_slice(&hash.to_le_bytes());
                    entry
                })
                .collect();
            for hash in spread
                .iter()
                .flat_map(|hash| [hash.saturating_sub(1), *hash, hash.saturating_add(1)])
            {
                let expected = spread.partition_point(|other| *other < hash);
                assert_eq!(first_not_below(&entries, KeyHash(hash)), expected, "{hash}");
            }
        }
        assert_eq!(first_not_below(&[], KeyHash(3)), 0);
    }

    /// A block that somebody else wrote, with the right checksum: what is found in it is no matter, as long
    /// as the search ends and nothing breaks (found by the fuzzer: a clamp between two ends in reverse).
    #[test]
    fn a_block_in_another_order_ends_the_search_all_the_same() {
        let ends = [0, 1 << 17, 1 << 40, u64::MAX];
        let orders = ends.iter().flat_map(|first| ends.iter().map(move |last| (*first, *last)));
        for (first, last) in orders {
            let hashes: Vec<u64> = std::iter::once(first)
                .chain((0..700).map(|n: u64| (n % 7) << 45))
                .chain([last])
                .collect();
            let run = run(&hashes);
            for hash in hashes.iter().flat_map(|hash| [hash.saturating_sub(1), *hash, u64::MAX]) {
                assert!(get(&run, hash).len() <= hashes.len());
                assert!(newest(&run, hash).is_none_or(|seq| seq < FIRST + hashes.len() as u64));
            }
        }
    }

    /// The filter spares the disk: what is not there is mostly denied without a read.
    #[test]
    fn what_it_does_not_hold_is_mostly_denied_from_memory() {
        let mut hashes: Vec<u64> =
            (1..=2000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let others = hashes.split_off(1000);
        hashes.sort_unstable();
        let run = run(&hashes);
        assert!(hashes.iter().all(|hash| run.may_hold(KeyHash(*hash))));
        let alarms = others.iter().filter(|hash| run.may_hold(KeyHash(**hash))).count();
        assert!(alarms < 50, "{alarms} false alarms in 1,000");
    }

    /// Two keys may share a hash, and the border between two blocks may fall between them.
    #[test]
    fn equal_hashes_are_found_on_both_sides_of_a_border() {
        for before in 338..=342u64 {
            for equal in 1..=4u64 {
                let hashes: Vec<u64> = (1..=before)
                    .chain(std::iter::repeat_n(1 << 40, usize::try_from(equal).unwrap()))
                    .chain((1..=700).map(|n| (1 << 41) + n))
                    .collect();
                let expected: Vec<u64> = (FIRST + before..FIRST + before + equal).collect();
                assert_eq!(get(&run(&hashes), 1 << 40), expected, "{equal} behind {before}");
                assert_eq!(newest(&run(&hashes), 1 << 40), expected.last().copied());
            }
        }
    }

    /// An order with a thousand steps has its keys in several blocks, whichever of them the search meets.
    #[test]
    fn equal_hashes_are_found_over_many_blocks() {
        for (before, equal, behind) in
            [(0, 1100, 0), (300, 1100, 2000), (2000, 1100, 3), (341, 682, 341)]
        {
            let hashes: Vec<u64> = (1..=before)
                .chain(std::iter::repeat_n(1 << 40, equal))
                .chain((1..=behind).map(|n| (1 << 41) + n))
                .collect();
            let expected: Vec<u64> = (FIRST + before..).take(equal).collect();
            assert_eq!(get(&run(&hashes), 1 << 40), expected, "{equal} behind {before}");
            assert_eq!(newest(&run(&hashes), 1 << 40), expected.last().copied());
        }
    }

    /// The same from above: where all hashes are large, the search comes from the last block.
    #[test]
    fn equal_hashes_are_found_from_the_other_side_of_a_border_too() {
        let equal = u64::MAX - (1 << 40);
        for before in 1019..=1023u64 {
            let hashes: Vec<u64> = (1..=before)
                .map(|n| u64::MAX - (1 << 41) + n)
                .chain(std::iter::repeat_n(equal, 4))
                .chain((1..=100).map(|n| equal + n))
                .collect();
            let expected: Vec<u64> = (FIRST + before..FIRST + before + 4).collect();
            assert_eq!(get(&run(&hashes), equal), expected, "behind {before}");
            assert_eq!(newest(&run(&hashes), equal), expected.last().copied());
        }
    }

    /// Hashes are spread evenly, so the first guess is the right block or the one beside it.
    #[test]
    fn a_key_costs_one_or_two_reads() {
        let disk = SimDisk::new(1);
        let mut hashes: Vec<u64> =
            (1..=20_000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        hashes.sort_unstable();
        let run = run_on(&disk, &hashes);
        for hash in hashes.iter().step_by(97) {
            let calls = disk.io_calls();
            assert_eq!(get(&run, *hash).len(), 1);
            assert!((1..=2).contains(&(disk.io_calls() - calls)));
        }
    }

    #[test]
    fn a_damaged_block_is_an_error_and_never_an_absence() {
        let hashes: Vec<u64> = (1..=700).collect();
        let run = run(&hashes);
        run.keys.file.write_at(&[0xff], 4096 + 4096 + 5).unwrap();
        assert_eq!(get(&run, 300), [FIRST + 299], "another block");
        assert!(matches!(run.get(KeyHash(400)), Err(SectionError::Damaged { block: 1, .. })));
    }

    /// The bound on a filter is one on damage: that of a large segment of small orders is below it.
    #[test]
    fn the_filter_of_a_million_keys_is_read() {
        let (disk, orders) = (SimDisk::new(1), 1_000_000);
        let header = SegmentHeader {
            durability: Durability::Durable,
            ledger: LedgerId([9; 16]),
            number: 1,
            nonce: 5,
            first_seq: Seq(FIRST),
            first_group: 1,
            file_bytes: 8192,
            created_at: Timestamp::from_unix_ns(5),
            link: 0,
            group_align: 8,
        };
        disk.as_disk().create_dir("wal").unwrap();
        let file = disk.as_disk().open("wal/0000000001.seg", Open::CreateNew).unwrap();
        let mut end = Position::start(&header, 44, Timestamp::from_unix_ns(9));
        end.next_seq = Seq(FIRST + orders as u64);
        let segment = Segment::open(header, 44, file, &Blocks::new(0), OpenIndex::default());
        segment.add_records((0..orders).map(|_| (4160, KIND_ACCEPTED)), 8192);
        let filter = vec![0; filter::bytes_for(orders)];
        let sections =
            [(SECTION_KEYS, vec![0; orders * ENTRY_BYTES]), (SECTION_FILTER, filter.clone())];
        segment.seal(&Files::new(disk.as_disk()), &end, &sections).unwrap();
        assert_eq!(Run::open(&segment).unwrap().filter.len(), filter.len());
    }
}
