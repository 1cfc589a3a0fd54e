//! A second implementation of the log's format, written from the page in `src/wal/format.rs` alone: it
//! finds the groups of a segment and makes groups that the ledger never would.

use order_ledger::disk::sim::SimDisk;

pub(crate) const GROUPS_START: usize = 4096;

/// A group as it lies in a segment.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) offset: usize,
    pub(crate) padded: usize,
    pub(crate) number: u64,
    pub(crate) first_seq: u64,
    pub(crate) count: u32,
    pub(crate) body_bytes: u32,
    pub(crate) crc: u32,
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

fn index(value: u32) -> usize {
    usize::try_from(value).unwrap()
}

/// The nonce of a segment.
pub(crate) fn nonce(segment: &[u8]) -> u64 {
    u64_at(segment, 40)
}

/// The groups of a segment, as their headers say.
pub(crate) fn groups(segment: &[u8]) -> Vec<Group> {
    let align = index(u32_at(segment, 84));
    let (mut groups, mut offset) = (Vec::new(), GROUPS_START);
    while segment.len() >= offset + 64 && segment[offset..offset + 4] == *b"OLGR" {
        let body_bytes = u32_at(segment, offset + 44);
        let padded = (64 + index(body_bytes)).next_multiple_of(align);
        groups.push(Group {
            offset,
            padded,
            number: u64_at(segment, offset + 16),
            first_seq: u64_at(segment, offset + 24),
            count: u32_at(segment, offset + 40),
            body_bytes,
            crc: u32_at(segment, offset + 60),
        });
        offset += padded;
    }
    groups
}

/// A record to put into a group.
pub(crate) struct Record<'a> {
    pub(crate) kind: u8,
    pub(crate) version: u8,
    pub(crate) at: u64,
    pub(crate) body: &'a [u8],
}

/// A group of these records that follows `after` in `segment`, valid in every respect.
pub(crate) fn group_after(
    segment: &[u8],
    after: Option<&Group>,
    records: &[Record<'_>],
) -> Vec<u8> {
    let (number, first_seq, link) = match after {
        Some(after) => (after.number + 1, after.first_seq + u64::from(after.count), after.crc),
        None => (u64_at(segment, 56), u64_at(segment, 48), u32_at(segment, 4092)),
    };
    group(segment, 0, number, first_seq, link, records)
}

pub(crate) fn group(
    segment: &[u8],
    flags: u32,
    number: u64,
    first_seq: u64,
    link: u32,
    records: &[Record<'_>],
) -> Vec<u8> {
    let mut body = Vec::new();
    for (seq, record) in (first_seq..).zip(records) {
        let mut head = Vec::new();
        head.extend(u32::try_from(record.body.len()).unwrap().to_le_bytes());
        head.extend([record.kind, record.version, 0, 0]);
        head.extend(record.at.to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&nonce(segment).to_le_bytes());
        crc.update(&seq.to_le_bytes());
        crc.update(&head);
        crc.update(record.body);
        head.extend(crc.finalize().to_le_bytes());
        body.extend(head);
        body.extend(record.body);
    }
    let body_bytes = u32::try_from(body.len()).unwrap();
    let align = index(u32_at(segment, 84));
    body.resize((64 + body.len()).next_multiple_of(align) - 64, 0);
    let mut bytes = Vec::new();
    bytes.extend(b"OLGR");
    bytes.extend(flags.to_le_bytes());
    bytes.extend(nonce(segment).to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(first_seq.to_le_bytes());
    bytes.extend(first_seq.to_le_bytes());
    bytes.extend(u32::try_from(records.len()).unwrap().to_le_bytes());
    bytes.extend(body_bytes.to_le_bytes());
    bytes.extend(link.to_le_bytes());
    bytes.extend(crc32fast::hash(&body).to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes.extend(body);
    bytes
}

/// Closes a block of 4,096 bytes with its checksum.
pub(crate) fn close_block(block: &mut [u8]) {
    let crc = crc32fast::hash(&block[..4092]);
    block[4092..4096].copy_from_slice(&crc.to_le_bytes());
}

/// Where the log ends: after the last group of the last segment.
pub(crate) fn end(disk: &SimDisk, path: &str) -> (Vec<u8>, Vec<Group>) {
    let segment = disk.read_durable(path).unwrap();
    let groups = groups(&segment);
    (segment, groups)
}

/// Puts a group behind the last one of a segment.
pub(crate) fn append(disk: &SimDisk, path: &str, records: &[Record<'_>]) {
    let (segment, groups) = end(disk, path);
    let bytes = group_after(&segment, groups.last(), records);
    let offset = groups.last().map_or(GROUPS_START, |last| last.offset + last.padded);
    disk.overwrite(path, offset as u64, &bytes).unwrap();
}
