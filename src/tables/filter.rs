//! What a run certainly does not hold: a blocked Bloom filter (Putze, Sanders, Singler 2007: all probes
//! of a key fall into one 64-byte line, so a question costs one cache miss).
//!
//! Layout: lines of 64 bytes; the line of a hash is its upper 32 bits scaled to the number of lines, the
//! bits inside it are taken from the lower bits, 9 at a time by a multiplication each. 10 bits per key
//! and 6 probes give about 1 % of false alarms, each of which costs one read of a run.
//!
//! Stored in sealed segments: the mapping may never change within a format version. Written by hand
//! because the mapping is a disk format; the filter crates do not promise theirs.

use super::hash::KeyHash;
use crate::bytes::to_usize;

const LINE_BYTES: usize = 64;
const LINE_BITS: u64 = 512;
const BITS_PER_KEY: usize = 10;
const PROBES: u32 = 6;

/// Bytes of the filter for so many hashes.
pub(crate) fn bytes_for(hashes: usize) -> usize {
    hashes.saturating_mul(BITS_PER_KEY).div_ceil(LINE_BYTES * 8).max(1) * LINE_BYTES
}

/// A filter for these hashes.
pub(crate) fn build(hashes: impl ExactSizeIterator<Item = KeyHash>) -> Vec<u8> {
    let mut bytes = vec![0; bytes_for(hashes.len())];
    for hash in hashes {
        add(&mut bytes, hash);
    }
    bytes
}

/// Adds a hash to a filter, which was made for as many as there are in the end.
pub(crate) fn add(bytes: &mut [u8], hash: KeyHash) {
    let start = line_start(bytes.len(), hash);
    for bit in bits(hash) {
        if let Some(byte) = bytes.get_mut(start + to_usize(bit / 8)) {
            *byte |= 1 << (bit % 8);
        }
    }
}

/// False: the hash was not among those the filter was built for.
///
/// No probe is skipped: whether one is needed depends on the one before, which the CPU can't guess, and a wrong
/// guess keeps it from fetching the lines of the next filters meanwhile. Inlined for the same reason.
#[inline(always)]
pub(crate) fn may_hold(bytes: &[u8], hash: KeyHash) -> bool {
    let start = line_start(bytes.len(), hash);
    let Some(line) = bytes.get(start..).and_then(|rest| rest.first_chunk::<LINE_BYTES>()) else {
        return true;
    };
    let held = bits(hash).fold(1, |held, bit| {
        held & line.get(to_usize(bit / 8)).map_or(1, |byte| byte >> (bit % 8))
    });
    held == 1
}

/// Where the line of a hash begins.
fn line_start(bytes: usize, hash: KeyHash) -> usize {
    let lines = (bytes / LINE_BYTES) as u64;
    to_usize(((hash.0 >> 32) * lines) >> 32) * LINE_BYTES
}

/// The bits of a hash in its line.
fn bits(hash: KeyHash) -> impl Iterator<Item = u64> {
    let mut state = hash.0;
    (0..PROBES).map(move |_| {
        // The multiplier of Knuth's linear congruential generator MMIX; the top bits are the best.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 55) % LINE_BITS
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(range: std::ops::Range<u64>) -> Vec<KeyHash> {
        let hasher = super::super::hash::KeyHasher::new([3; 16]);
        range.map(|n| hasher.hash(b"c", &n.to_le_bytes())).collect()
    }

    #[test]
    fn what_is_in_it_is_never_denied() {
        for count in [0, 1, 7, 1000, 20_000] {
            let keys = hashes(0..count);
            let bytes = build(keys.iter().copied());
            assert!(keys.iter().all(|key| may_hold(&bytes, *key)));
        }
    }

    #[test]
    fn what_is_not_in_it_is_mostly_denied() {
        let bytes = build(hashes(0..20_000).into_iter());
        let alarms =
            hashes(20_000..40_000).into_iter().filter(|key| may_hold(&bytes, *key)).count();
        assert!(alarms < 600, "{alarms} false alarms in 20,000");
    }

    /// Stored on disk: the bits of a key may never change. Ten bits a key, in lines of 64 bytes.
    /// The checksum is that of an implementation of its own, in another language.
    #[test]
    fn the_mapping_is_the_one_that_old_segments_hold() {
        let bytes = |count| build(hashes(0..count).into_iter());
        let sizes: Vec<usize> =
            [0, 1, 51, 52, 102, 103, 1000].map(|count| bytes(count).len()).into();
        assert_eq!(sizes, [64, 64, 64, 128, 128, 192, 1280]);
        assert_eq!(crc32fast::hash(&bytes(1000)), 0x19c3_9d96);
        assert_eq!(bytes(1).iter().map(|byte| byte.count_ones()).sum::<u32>(), 6, "six probes");
    }
}
