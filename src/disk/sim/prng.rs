//! The simulator's random numbers: SplitMix64 (Steele, Lea, Flood 2014; the reference C of Vigna, 2015).
//!
//! Not the generators of the crate `rand`, because those may give another sequence in another release:
//! a seed that failed in a test must fail for ever. Never used for secrets.

/// A generator; equal seeds give equal sequences, in every release.
#[derive(Clone, Debug)]
pub(super) struct Prng {
    state: u64,
}

impl Prng {
    pub(super) fn new(seed: u64) -> Prng {
        Prng { state: seed }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when `end` is 0. The bias is below `end` / 2^64: nobody will see it.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        let scaled = (u128::from(self.next()) * u128::from(end)) >> 64;
        u64::try_from(scaled).unwrap_or_default()
    }

    /// An index below `end`; 0 when `end` is 0.
    pub(super) fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap_or_default()
    }

    /// True `numerator` times out of `denominator`.
    pub(super) fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    pub(super) fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            for (byte, random) in chunk.iter_mut().zip(self.next().to_le_bytes()) {
                *byte = random;
            }
        }
    }
}
