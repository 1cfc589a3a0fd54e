//! Numbers that stand for other things, for maps and for sums: no secret, and nothing on disk. A leaf.

use std::hash::Hasher;

/// A number in which every bit of `value` counts everywhere: the finisher of splitmix64 (Steele, Lea, Flood 2014).
pub(crate) fn mix(value: u64) -> u64 {
    let mut sum = value;
    sum = (sum ^ (sum >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    sum = (sum ^ (sum >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    sum ^ (sum >> 31)
}

/// For maps whose keys are numbers that are spread already: takes the 64 bits as they are.
#[derive(Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not called for a u64; correct all the same.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the published generator that begins at 0: each adds the golden ratio and mixes.
    #[test]
    fn it_mixes_as_published() {
        let golden = 0x9e37_79b9_7f4a_7c15u64;
        let numbers = [golden, golden.wrapping_mul(2), golden.wrapping_mul(3)].map(mix);
        assert_eq!(numbers, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]);
    }

    /// The hasher of the maps: a hash is taken as it is, and other bytes are not lost.
    #[test]
    fn a_hash_is_taken_as_it_is() {
        let hash = |write: &dyn Fn(&mut AsIs)| {
            let mut hasher = AsIs::default();
            write(&mut hasher);
            hasher.finish()
        };
        assert_eq!(hash(&|hasher| hasher.write_u64(0x1234_5678_9abc_def0)), 0x1234_5678_9abc_def0);
        assert_eq!(hash(&|hasher| hasher.write(&[0x12, 0x34, 0xff])), 0x0012_34ff);
        // The ninth byte meets the first one again.
        assert_eq!(hash(&|hasher| hasher.write(&[1, 0, 0, 0, 0, 0, 0, 0, 3])), 2);
    }
}
