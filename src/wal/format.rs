//! The bytes of the log: the one description of the format, and the code that obeys it.
//!
//! This module turns headers into bytes and back. It does no I/O and decides nothing: whether a file
//! may be used is `recovery`'s question.
//!
//! # A segment file, `wal/<number>.seg`
//!
//! The number has 10 digits, from 1, without gaps. All integers are little-endian. CRC is CRC-32 (IEEE).
//!
//! ```text
//! 0                  segment header, one block of 4,096 bytes
//! 4096               group, group, group ...      each begins at a multiple of group_align
//! ...                zeros up to file_bytes       (the file is made at full size, zeros and all)
//! ```
//!
//! and when the segment is *sealed*, after the last group, from the next multiple of 4,096:
//!
//! ```text
//!                    sections: offsets, keys, filter (derived: rebuilt from the groups when damaged)
//! last 4096          footer
//! ```
//!
//! Groups are never truncated, moved or reused: sealing touches only what lies behind the last of them,
//! and cuts the file behind its footer, which is written when the sections are durable: a valid footer
//! stands for whole sections. A file is made under the name `wal/next.tmp`, filled with zeros,
//! synced, given its header, synced, renamed to its number, and the directory is synced; only then is a
//! group written. So a `.seg` file always has a valid header, and the last one always has its full size;
//! anything else is damage, not a crash.
//!
//! # Segment header
//!
//! | offset | bytes | field | meaning |
//! |---|---|---|---|
//! | 0 | 8 | magic | `OLEDSEG\n` |
//! | 8 | 4 | version | 1 |
//! | 12 | 4 | durability | 1 durable, 2 relaxed: as the ledger is stamped |
//! | 16 | 16 | ledger | id of the ledger |
//! | 32 | 8 | number | of the segment, as in the file's name |
//! | 40 | 8 | nonce | random; repeated in every group, so that bytes which merely look like a group (a payload, another segment's block) are not taken for one |
//! | 48 | 8 | first_seq | seq of the first record |
//! | 56 | 8 | first_group | number of the first group |
//! | 64 | 8 | file_bytes | size of the file until it is sealed |
//! | 72 | 8 | created_at | nanoseconds since 1970, for people |
//! | 80 | 4 | link | header CRC of the last group before; 0 in segment 1 |
//! | 84 | 4 | group_align | 8, or the block size when groups are padded |
//! | 88 | 4004 | - | zeros |
//! | 4092 | 4 | crc | of the 4,092 bytes before |
//!
//! # Group: what one sync made durable
//!
//! | offset | bytes | field | meaning |
//! |---|---|---|---|
//! | 0 | 4 | magic | `OLGR` |
//! | 4 | 4 | flags | 0; other values are of a newer version |
//! | 8 | 8 | nonce | of the segment |
//! | 16 | 8 | group | number: dense over all segments |
//! | 24 | 8 | first_seq | seq of its first record |
//! | 32 | 8 | durable_next_seq | every record below it was durable before this group was written |
//! | 40 | 4 | count | records; 0 in a *seal*, which only proves the group before it |
//! | 44 | 4 | body_bytes | bytes of the records |
//! | 48 | 4 | link | header CRC of the group before, or the CRC of the segment header |
//! | 52 | 4 | body_crc | of the records and the padding |
//! | 56 | 4 | reserved | 0 |
//! | 60 | 4 | crc | of the 60 bytes before |
//! | 64 | - | records | one after the other, then zeros up to group_align |
//!
//! A group is valid if and only if
//! 1. its header's CRC holds, magic and nonce are right, flags and reserved are 0;
//! 2. group, first_seq and link continue the group before it (or the segment header);
//! 3. its end lies within file_bytes;
//! 4. body_crc holds;
//! 5. its records fill body_bytes exactly and each is valid.
//!
//! A group is valid as a whole or not at all: that is what makes a batch atomic.
//!
//! What the syncs order: group g+1 is written only after the sync of g has returned. So a header of
//! g+1 or later that satisfies (1), wherever it lies behind g, proves that g was durable.
//!
//! # Record
//!
//! | offset | bytes | field | meaning |
//! |---|---|---|---|
//! | 0 | 4 | body_bytes | 1 to [`RECORD_BODY_BYTES_MAX`] |
//! | 4 | 1 | kind | see `record`; 0 is never valid; from 128: a reader that does not know it skips it |
//! | 5 | 1 | version | of the body, from 1 |
//! | 6 | 2 | reserved | 0 |
//! | 8 | 8 | at | ledger time, nanoseconds since 1970, strictly increasing from record to record |
//! | 16 | 4 | crc | of nonce, seq and the 16 bytes before (seq is not stored), then the body |
//! | 20 | - | body | |
//!
//! Zeros are never a record: kind 0 and length 0 are both invalid. They mean "not written yet".
//!
//! # Section and footer
//!
//! A section is a row of blocks of 4,096 bytes: 4,092 of content and the CRC of nonce, section kind,
//! block number and content. The footer is the last block of the file:
//!
//! | offset | bytes | field | meaning |
//! |---|---|---|---|
//! | 0 | 8 | magic | `OLEDFTR\n` |
//! | 8 | 4 | version | 1 |
//! | 12 | 4 | header_crc | CRC of the segment header it belongs to |
//! | 16 | 8 | next_seq | one after the last record |
//! | 24 | 8 | next_group | one after the last group |
//! | 32 | 8 | groups_end | where the groups end, in bytes |
//! | 40 | 8 | last_at | time of the last record up to here, 0 when there is none |
//! | 48 | 4 | link | header CRC of the last group |
//! | 52 | 4 | sections | how many follow |
//! | 56 | 24 each | section | kind u32, reserved u32, offset u64, content bytes u64 |
//! | ... | 16 each | counts | kind u64, records of that kind u64; a row of zeros ends them |
//! | 4092 | 4 | crc | of the 4,092 bytes before |
//!
//! Section kinds: 1 offsets (u32 per record: where its frame begins in the file), 2 keys, 3 filter
//! (both laid out by `tables::run`), 4 is kept for orders' last records.
//!
//! # What we assume of the disk
//!
//! *Power-safe overwrite* of 512-byte sectors, as SQLite does: a power cut during a write never changes
//! bytes outside the range written. The block in which the last group ends is written again with the
//! same leading bytes when the next group follows. For devices that do not promise this,
//! [`GroupPadding::Block`](crate::GroupPadding) starts every group at a block of its own.
//!
//! # A worked example
//!
//! A new ledger with one order of client `web`, key `k1` and a payload of 10 bytes. Its record body is
//! 40 bytes, so the group is 64 + 20 + 40 = 124 bytes, padded to 128: it fills 4,096..4,224 of
//! `wal/0000000001.seg`. After an idle second a seal (64 bytes, count 0) follows at 4,224. A test keeps
//! these numbers true.
//!
//! # Versions
//!
//! 1: the first. A program refuses any version it does not know and touches nothing.

use crate::bytes::{Fields, PutFields};
use crate::order::limits::RECORD_BODY_BYTES_MAX;
use crate::order::{Durability, LedgerId, Seq, Timestamp};

/// Version of the format that this program writes, and the newest that it reads.
pub(crate) const VERSION: u32 = 1;
/// Unit of the file layout and of every write: the page size, and a multiple of every sector size.
pub(crate) const BLOCK_BYTES: u64 = 4096;
/// The same, as a length in memory.
pub(crate) const BLOCK_LEN: usize = 4096;
/// Where the first group begins.
pub(crate) const GROUPS_START: u64 = BLOCK_BYTES;
/// Default alignment of groups.
pub(crate) const GROUP_ALIGN_MIN: u32 = 8;
/// Size of a group's header.
pub(crate) const GROUP_HEADER_BYTES: usize = 64;
/// Size of a record's frame in front of its body.
pub(crate) const FRAME_BYTES: usize = 20;
/// Most bytes of records in one group. Above the largest record and the largest linked batch (16 MiB of
/// content in 4,096 members); a length on disk above it is damage, found before anything is allocated.
pub(crate) const GROUP_BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// No seq reaches it: an order's id has 48 bits for one.
pub(crate) const SEQ_END: u64 = 1 << 48;
/// No group reaches it: an exabyte of the smallest groups. Keeps every sum with a group's number in range.
const GROUP_END: u64 = 1 << 56;
/// Content bytes of one block of a section.
pub(crate) const SECTION_BLOCK_CONTENT: usize = 4092;

const _: () = assert!(SECTION_BLOCK_CONTENT + 4 == BLOCK_LEN && BLOCK_LEN as u64 == BLOCK_BYTES);
const _: () = assert!(
    RECORD_BODY_BYTES_MAX + FRAME_BYTES <= GROUP_BODY_BYTES_MAX,
    "the largest record must fit into a group"
);
const _: () = assert!(
    (GROUP_HEADER_BYTES as u64).is_multiple_of(GROUP_ALIGN_MIN as u64),
    "a search for group headers in steps of the alignment must meet every one"
);

const SEGMENT_MAGIC: &[u8; 8] = b"OLEDSEG\n";
const FOOTER_MAGIC: &[u8; 8] = b"OLEDFTR\n";
/// First four bytes of every group.
pub(crate) const GROUP_MAGIC: [u8; 4] = *b"OLGR";

/// Directory of the log.
pub(crate) const WAL_DIR: &str = "wal";
/// Where a segment is made before it has a number.
pub(crate) const PREPARED_NAME: &str = "next.tmp";

/// The name of a segment's file.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:010}.seg")
}

/// The number in a segment's file name; `None` when it is not one that [`segment_name`] makes.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".seg")?.parse().ok()?;
    (segment_name(number) == name && number > 0).then_some(number)
}

/// Where a segment's file is, relative to the ledger's directory.
pub(crate) fn segment_path(number: u64) -> String {
    format!("{WAL_DIR}/{}", segment_name(number))
}

/// `offset` rounded up to a multiple of `align`, a power of two.
pub(crate) const fn round_up(offset: u64, align: u64) -> u64 {
    (offset + align - 1) & !(align - 1)
}

/// Why a header could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unreadable {
    /// Not a header, or one whose checksum does not hold.
    Invalid(&'static str),
    /// A header of a version that this program does not know.
    Newer(u32),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) durability: Durability,
    pub(crate) ledger: LedgerId,
    pub(crate) number: u64,
    pub(crate) nonce: u64,
    pub(crate) first_seq: Seq,
    pub(crate) first_group: u64,
    pub(crate) file_bytes: u64,
    pub(crate) created_at: Timestamp,
    pub(crate) link: u32,
    pub(crate) group_align: u32,
}

impl SegmentHeader {
    /// The header's block and its CRC, which the first group links to.
    pub(crate) fn encode(&self) -> (Vec<u8>, u32) {
        let mut block = Vec::with_capacity(BLOCK_LEN);
        block
            .put(SEGMENT_MAGIC)
            .put_u32(VERSION)
            .put_u32(u32::from(self.durability.number()))
            .put(&self.ledger.0)
            .put_u64(self.number)
            .put_u64(self.nonce)
            .put_u64(self.first_seq.0)
            .put_u64(self.first_group)
            .put_u64(self.file_bytes)
            .put_u64(self.created_at.as_unix_ns())
            .put_u32(self.link)
            .put_u32(self.group_align);
        close_block(block)
    }

    /// The header in `block`, with its CRC.
    pub(crate) fn decode(block: &[u8]) -> Result<(SegmentHeader, u32), Unreadable> {
        let (mut fields, crc) = open_block(block, SEGMENT_MAGIC)?;
        let header = (|| {
            Some(SegmentHeader {
                durability: Durability::from_number(u8::try_from(fields.u32()?).ok()?)?,
                ledger: LedgerId(fields.array()?),
                number: fields.u64()?,
                nonce: fields.u64()?,
                first_seq: Seq(fields.u64()?),
                first_group: fields.u64()?,
                file_bytes: fields.u64()?,
                created_at: Timestamp::from_unix_ns(fields.u64()?),
                link: fields.u32()?,
                group_align: fields.u32()?,
            })
        })()
        .ok_or(Unreadable::Invalid("a field of the header has no valid value"))?;
        let align = header.group_align;
        if !align.is_power_of_two()
            || !(8..=65_536).contains(&align)
            || !(1..=SEQ_END).contains(&header.first_seq.0)
            || !(1..GROUP_END).contains(&header.first_group)
        {
            return Err(Unreadable::Invalid("a field of the header has no valid value"));
        }
        Ok((header, crc))
    }
}

/// Fills a block with zeros and closes it with its CRC.
fn close_block(mut block: Vec<u8>) -> (Vec<u8>, u32) {
    block.resize(SECTION_BLOCK_CONTENT, 0);
    let crc = crc32fast::hash(&block);
    block.put_u32(crc);
    (block, crc)
}

/// Checks magic, version and CRC of a block; the fields behind the version follow.
fn open_block<'a>(block: &'a [u8], magic: &[u8; 8]) -> Result<(Fields<'a>, u32), Unreadable> {
    let (content, crc) =
        block.split_last_chunk::<4>().ok_or(Unreadable::Invalid("the block is too short"))?;
    let mut fields = Fields(content);
    if fields.array() != Some(*magic) {
        return Err(Unreadable::Invalid("the magic bytes are missing"));
    }
    let crc = u32::from_le_bytes(*crc);
    if crc != crc32fast::hash(content) {
        return Err(Unreadable::Invalid("the checksum does not hold"));
    }
    // After the checksum: a version number is believed only when the block is whole.
    match fields.u32() {
        Some(VERSION) => Ok((fields, crc)),
        Some(version) => Err(Unreadable::Newer(version)),
        None => Err(Unreadable::Invalid("the block is too short")),
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GroupHeader {
    pub(crate) nonce: u64,
    pub(crate) group: u64,
    pub(crate) first_seq: Seq,
    pub(crate) durable_next_seq: Seq,
    pub(crate) count: u32,
    pub(crate) body_bytes: u32,
    pub(crate) link: u32,
    pub(crate) body_crc: u32,
}

impl GroupHeader {
    /// Writes the header over the first bytes of `group`, and answers its CRC, which the next links to.
    pub(crate) fn encode_into(&self, group: &mut [u8]) -> u32 {
        let mut bytes = Vec::with_capacity(GROUP_HEADER_BYTES);
        bytes
            .put(&GROUP_MAGIC)
            .put_u32(0)
            .put_u64(self.nonce)
            .put_u64(self.group)
            .put_u64(self.first_seq.0)
            .put_u64(self.durable_next_seq.0)
            .put_u32(self.count)
            .put_u32(self.body_bytes)
            .put_u32(self.link)
            .put_u32(self.body_crc)
            .put_u32(0);
        let crc = crc32fast::hash(&bytes);
        bytes.put_u32(crc);
        if let Some(target) = group.get_mut(..GROUP_HEADER_BYTES) {
            target.copy_from_slice(&bytes);
        }
        crc
    }

    /// The header in `bytes` when it satisfies condition (1), with its CRC.
    pub(crate) fn decode(bytes: &[u8], nonce: u64) -> Option<(GroupHeader, u32)> {
        let bytes = bytes.get(..GROUP_HEADER_BYTES)?;
        let (content, crc) = bytes.split_last_chunk::<4>()?;
        let crc = u32::from_le_bytes(*crc);
        let mut fields = Fields(content);
        if fields.array()? != GROUP_MAGIC || fields.u32()? != 0 || fields.u64()? != nonce {
            return None;
        }
        let header = GroupHeader {
            nonce,
            group: fields.u64()?,
            first_seq: Seq(fields.u64()?),
            durable_next_seq: Seq(fields.u64()?),
            count: fields.u32()?,
            body_bytes: fields.u32()?,
            link: fields.u32()?,
            body_crc: fields.u32()?,
        };
        (fields.u32()? == 0 && crc == crc32fast::hash(content)).then_some((header, crc))
    }

    /// Whether `bytes` is a whole header, but for flags or reserved bits that this version does not know.
    pub(crate) fn is_newer(bytes: &[u8], nonce: u64) -> bool {
        let header = || {
            let (content, crc) = bytes.get(..GROUP_HEADER_BYTES)?.split_last_chunk::<4>()?;
            let mut fields = Fields(content);
            let magic = fields.array()?;
            let flags = fields.u32()?;
            let same = fields.u64()? == nonce;
            let reserved = Fields(content.get(content.len().checked_sub(4)?..)?).u32()?;
            let whole = u32::from_le_bytes(*crc) == crc32fast::hash(content);
            Some(magic == GROUP_MAGIC && same && whole && (flags != 0 || reserved != 0))
        };
        header().unwrap_or(false)
    }

    /// Bytes of the whole group on disk, padding included.
    pub(crate) fn padded_bytes(&self, align: u32) -> u64 {
        round_up(GROUP_HEADER_BYTES as u64 + u64::from(self.body_bytes), u64::from(align))
    }

    /// One after the seq of its last record.
    pub(crate) fn next_seq(&self) -> Seq {
        Seq(self.first_seq.0.saturating_add(u64::from(self.count)))
    }
}

/// The footer of a sealed segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Footer {
    pub(crate) header_crc: u32,
    pub(crate) next_seq: Seq,
    pub(crate) next_group: u64,
    pub(crate) groups_end: u64,
    pub(crate) last_at: Timestamp,
    pub(crate) link: u32,
    pub(crate) sections: Vec<SectionAt>,
    pub(crate) counts: Vec<(u8, u64)>,
}

/// Where a section lies in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SectionAt {
    pub(crate) kind: u32,
    pub(crate) offset: u64,
    pub(crate) content_bytes: u64,
}

/// Where each record's frame begins: u32 per record.
pub(crate) const SECTION_OFFSETS: u32 = 1;
/// Key hash -> seq, sorted (laid out by `tables::run`).
pub(crate) const SECTION_KEYS: u32 = 2;
/// What the keys section certainly does not hold (laid out by `tables::run`).
pub(crate) const SECTION_FILTER: u32 = 3;

/// More sections than this are not a footer of ours: the counts behind them need their room.
const SECTIONS_MAX: usize = 64;

impl SectionAt {
    /// How many blocks the section has.
    pub(crate) fn blocks(&self) -> u64 {
        self.content_bytes.div_ceil(SECTION_BLOCK_CONTENT as u64)
    }
}

impl Footer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK_LEN);
        block
            .put(FOOTER_MAGIC)
            .put_u32(VERSION)
            .put_u32(self.header_crc)
            .put_u64(self.next_seq.0)
            .put_u64(self.next_group)
            .put_u64(self.groups_end)
            .put_u64(self.last_at.as_unix_ns())
            .put_u32(self.link)
            .put_u32(crate::bytes::to_u32(self.sections.len()));
        for section in &self.sections {
            block.put_u32(section.kind).put_u32(0);
            block.put_u64(section.offset).put_u64(section.content_bytes);
        }
        for (kind, count) in &self.counts {
            block.put_u64(u64::from(*kind)).put_u64(*count);
        }
        close_block(block).0
    }

    pub(crate) fn decode(block: &[u8]) -> Result<Footer, Unreadable> {
        let (mut fields, _) = open_block(block, FOOTER_MAGIC)?;
        (|| {
            let mut footer = Footer {
                header_crc: fields.u32()?,
                next_seq: Seq(fields.u64()?),
                next_group: fields.u64()?,
                groups_end: fields.u64()?,
                last_at: Timestamp::from_unix_ns(fields.u64()?),
                link: fields.u32()?,
                sections: Vec::new(),
                counts: Vec::new(),
            };
            let sections = fields.u32()?;
            if crate::bytes::to_usize(u64::from(sections)) > SECTIONS_MAX {
                return None;
            }
            for _ in 0..sections {
                let kind = fields.u32()?;
                fields.u32()?;
                let (offset, content_bytes) = (fields.u64()?, fields.u64()?);
                footer.sections.push(SectionAt { kind, offset, content_bytes });
            }
            while let (Some(kind), Some(count)) = (fields.u64(), fields.u64()) {
                if kind == 0 {
                    break;
                }
                footer.counts.push((u8::try_from(kind).ok()?, count));
            }
            Some(footer)
        })()
        .ok_or(Unreadable::Invalid("a field of the footer has no valid value"))
    }

    /// The section of this kind.
    pub(crate) fn section(&self, kind: u32) -> Option<SectionAt> {
        self.sections.iter().copied().find(|section| section.kind == kind)
    }
}

/// The CRC at the end of a section's block.
pub(crate) fn section_block_crc(nonce: u64, kind: u32, block: u64, content: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&nonce.to_le_bytes());
    crc.update(&kind.to_le_bytes());
    crc.update(&block.to_le_bytes());
    crc.update(content);
    crc.finalize()
}

#[cfg(test)]
mod tests;
