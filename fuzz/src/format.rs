//! The checksums of the log, written a second time from the description in `src/wal/format.rs`.
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
