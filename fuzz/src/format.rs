//! The checksums of the log and of what is derived from it, written a second time from the descriptions
//! in `src/wal/format.rs` and `src/tables/manifest.rs`.
//!
//! A fuzzer never guesses a CRC. This puts the right ones into bytes that are otherwise left as they
//! are, so that the checks *behind* the checksums are reached. Nothing here is shared with the ledger:
//! when the two disagree about the format, the targets fail.

const BLOCK: usize = 4096;
const GROUP_HEADER: usize = 64;
const FRAME: usize = 20;

/// How far [`repair`] goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Depth {
    /// The bytes stay as they are.
    Nothing,
    /// The segment header is valid, with the fields that are there.
    Header,
    /// Each group header has its magic, its nonce and its CRC.
    Groups,
    /// The groups continue each other: numbers, seqs and links as well.
    Chain,
    /// The records and the groups' bodies have their CRCs.
    Records,
}

impl Depth {
    pub fn from_byte(byte: u8) -> Depth {
        match byte % 5 {
            0 => Depth::Nothing,
            1 => Depth::Header,
            2 => Depth::Groups,
            3 => Depth::Chain,
            _ => Depth::Records,
        }
    }
}

fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).map_or([0; N], |found| found.try_into().unwrap())
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(target) = bytes.get_mut(at..at + value.len()) {
        target.copy_from_slice(value);
    }
}

/// Puts checksums, and with more depth the fields that join the groups, into the bytes of a segment.
/// `header` is a valid header block, which replaces the first 88 bytes when they are to be valid.
pub fn repair(bytes: &mut [u8], header: &[u8], depth: Depth) {
    if depth == Depth::Nothing || bytes.len() < BLOCK {
        return;
    }
    // Everything but file_bytes is the true header's; file_bytes has to fit this file.
    put(bytes, 0, &header[..88]);
    let len = bytes.len() as u64;
    put(bytes, 64, &len.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..BLOCK - 4]);
    put(bytes, BLOCK - 4, &crc.to_le_bytes());
    if depth == Depth::Header {
        return;
    }
    let nonce: [u8; 8] = get(header, 40);
    let mut at = BLOCK;
    let (mut group, mut seq, mut link) = (1u64, 1u64, crc);
    while at + GROUP_HEADER <= bytes.len() {
        if bytes[at..at + GROUP_HEADER].iter().all(|byte| *byte == 0) {
            // Zeros are where the log ends; what lies behind them stays as it is.
            return;
        }
        put(bytes, at, b"OLGR\0\0\0\0");
        put(bytes, at + 8, &nonce);
        put(bytes, at + 56, &[0; 4]);
        if depth >= Depth::Chain {
            put(bytes, at + 16, &group.to_le_bytes());
            put(bytes, at + 24, &seq.to_le_bytes());
            put(bytes, at + 32, &seq.to_le_bytes());
            put(bytes, at + 48, &link.to_le_bytes());
        }
        let count = u32::from_le_bytes(get(bytes, at + 40)) & 0x3f;
        let room = (bytes.len() - at - GROUP_HEADER) as u32;
        let mut body = u32::from_le_bytes(get(bytes, at + 44));
        if depth >= Depth::Chain {
            body = body.min(room);
            put(bytes, at + 40, &count.to_le_bytes());
            put(bytes, at + 44, &body.to_le_bytes());
        }
        let body = (body as usize).min(room as usize);
        let start = at + GROUP_HEADER;
        let padded = (GROUP_HEADER + body).next_multiple_of(8);
        if depth >= Depth::Records {
            repair_records(bytes, start, start + body, &nonce, seq);
            let end = (at + padded).min(bytes.len());
            let crc = crc32fast::hash(&bytes[start..end]);
            put(bytes, at + 52, &crc.to_le_bytes());
        }
        link = crc32fast::hash(&bytes[at..at + 60]);
        put(bytes, at + 60, &link.to_le_bytes());
        group += 1;
        seq += u64::from(count);
        at += padded;
    }
}

/// Gives each record between `at` and `end` the CRC it should have.
fn repair_records(bytes: &mut [u8], mut at: usize, end: usize, nonce: &[u8; 8], mut seq: u64) {
    while at + FRAME <= end {
        let room = end - at - FRAME;
        let body = (u32::from_le_bytes(get(bytes, at)) as usize).min(room);
        let mut crc = crc32fast::Hasher::new();
        crc.update(nonce);
        crc.update(&seq.to_le_bytes());
        crc.update(&bytes[at..at + 16]);
        crc.update(&bytes[at + FRAME..at + FRAME + body]);
        let crc = crc.finalize();
        put(bytes, at + 16, &crc.to_le_bytes());
        at += FRAME + body;
        seq += 1;
    }
}

/// Where a sound log stands behind the last group of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    pub offset: u64,
    pub next_seq: u64,
    pub next_group: u64,
}

/// The header of a group, and where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupAt {
    pub offset: u64,
    pub number: u64,
    pub first_seq: u64,
    pub count: u64,
    /// Where the next one would begin.
    pub end: u64,
}

impl GroupAt {
    /// The bytes of its header.
    pub fn header(self, segment: &[u8]) -> Option<&[u8]> {
        let at = self.offset as usize;
        segment.get(at..at + GROUP_HEADER)
    }
}

/// The groups of a segment, one behind the other. They are believed: no checksum is looked at.
pub fn groups(segment: &[u8]) -> impl Iterator<Item = GroupAt> {
    let number = |at: usize| u64::from_le_bytes(get(segment, at));
    let small = |at: usize| u64::from(u32::from_le_bytes(get(segment, at)));
    let align = small(84).max(1);
    let mut expected = (BLOCK as u64, number(56));
    std::iter::from_fn(move || {
        let (offset, group) = expected;
        let at = offset as usize;
        if get::<4>(segment, at) != *b"OLGR" || number(at + 16) != group {
            return None;
        }
        let end = offset + (GROUP_HEADER as u64 + small(at + 44)).next_multiple_of(align);
        expected = (end, group + 1);
        Some(GroupAt {
            offset,
            number: group,
            first_seq: number(at + 24),
            count: small(at + 40),
            end,
        })
    })
}

/// Follows the groups of a segment of a sound log, which is believed.
pub fn groups_end(segment: &[u8]) -> End {
    let number = |at: usize| u64::from_le_bytes(get(segment, at));
    let start = End { offset: BLOCK as u64, next_seq: number(48), next_group: number(56) };
    groups(segment).last().map_or(start, |last| End {
        offset: last.end,
        next_seq: last.first_seq + last.count,
        next_group: last.number + 1,
    })
}

/// The witness with these fields, whole.
pub fn manifest(ledger: [u8; 16], next_seq: u64, next_group: u64) -> Vec<u8> {
    let mut bytes = b"OLEDMAN\n\x01\0\0\0".to_vec();
    bytes.extend(ledger);
    bytes.extend(next_seq.to_le_bytes());
    bytes.extend(next_group.to_le_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

/// Gives the footer of a sealed segment the CRC it should have, and each block of the sections that it
/// names. Bytes that name no section keep their wrong ones.
pub fn repair_tail(segment: &mut [u8]) {
    let Some(footer) = segment.len().checked_sub(BLOCK) else { return };
    let nonce: [u8; 8] = get(segment, 40);
    let groups_end = groups_end(segment).offset;
    let sections = u32::from_le_bytes(get(segment, footer + 52)).min(64) as usize;
    for section in 0..sections {
        let at = footer + 56 + section * 24;
        let kind: [u8; 4] = get(segment, at);
        let offset = u64::from_le_bytes(get(segment, at + 8));
        let bytes = u64::from_le_bytes(get(segment, at + 16));
        for block in 0..bytes.div_ceil(BLOCK as u64 - 4).min(64) {
            let start = offset.saturating_add(block * BLOCK as u64);
            // A section that lies about its place, or the footer of another segment, must not get into
            // the groups.
            if start < groups_end || start.saturating_add(BLOCK as u64) > footer as u64 {
                continue;
            }
            let start = start as usize;
            let mut crc = crc32fast::Hasher::new();
            crc.update(&nonce);
            crc.update(&kind);
            crc.update(&block.to_le_bytes());
            crc.update(&segment[start..start + BLOCK - 4]);
            let crc = crc.finalize();
            put(segment, start + BLOCK - 4, &crc.to_le_bytes());
        }
    }
    let crc = crc32fast::hash(&segment[footer..footer + BLOCK - 4]);
    put(segment, footer + BLOCK - 4, &crc.to_le_bytes());
}

/// The watermark of the views with another position, and with the checksum that it should have then.
pub fn forge_watermark(mark: &mut [u8], next_seq: u64) {
    put(mark, 24, &next_seq.to_le_bytes());
    let Some(content) = mark.len().checked_sub(4) else { return };
    let crc = crc32fast::hash(&mark[..content]);
    put(mark, content, &crc.to_le_bytes());
}

/// How far a watermark of the views says that they go.
pub fn watermark_next(mark: &[u8]) -> u64 {
    u64::from_le_bytes(get(mark, 24))
}
