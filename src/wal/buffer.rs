//! Bytes that begin at the address of a whole block, as writes past the page cache demand.
//!
//! Safe code can't ask for aligned memory: a block more than needed is allocated, and the bytes begin at the
//! first aligned address in it.
//!
//! Always true: what was put in stays the same, wherever it moves; as long as no more is put in than
//! [`Buffer::reserve`] made room for, it does not move. If it did, it would be written the usual way.

use super::format::BLOCK_LEN;

#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// Where the bytes begin; in front of them lies nothing.
    start: usize,
}

impl Buffer {
    /// Makes room for `more` bytes behind those that are there.
    pub(crate) fn reserve(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() >= more && self.is_aligned() {
            return;
        }
        // Twice as much, so that groups which grow bit by bit do not move it each time.
        let mut moved: Vec<u8> =
            Vec::with_capacity((self.len() + more).saturating_mul(2) + BLOCK_LEN);
        let start = moved.as_ptr().align_offset(BLOCK_LEN).min(BLOCK_LEN);
        moved.resize(start, 0);
        moved.extend_from_slice(self.bytes());
        *self = Buffer { bytes: moved, start };
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// The bytes from `at` on.
    pub(crate) fn bytes_from(&self, at: usize) -> &[u8] {
        self.bytes.get(self.start.saturating_add(at)..).unwrap_or_default()
    }

    /// The same, to be changed.
    pub(crate) fn bytes_from_mut(&mut self, at: usize) -> &mut [u8] {
        self.bytes.get_mut(self.start.saturating_add(at)..).unwrap_or_default()
    }

    /// To put more behind what is there, and nothing else.
    pub(crate) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Cuts off what is behind the first `len` bytes, or fills up to there with zeros.
    pub(crate) fn resize(&mut self, len: usize) {
        self.bytes.resize(self.start.saturating_add(len), 0);
    }

    /// Keeps the last `keep` bytes, which are the first ones then.
    pub(crate) fn keep_last(&mut self, keep: usize) {
        let keep = keep.min(self.len());
        let from = self.bytes.len() - keep;
        self.bytes.copy_within(from.., self.start);
        self.resize(keep);
    }

    fn is_aligned(&self) -> bool {
        self.bytes.as_ptr().wrapping_add(self.start).align_offset(BLOCK_LEN) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_aligned_and_keeps_its_bytes_while_it_grows_and_shrinks() {
        let (mut buffer, mut expected) = (Buffer::default(), Vec::new());
        for (index, keep) in (0_u8..200).zip([0, 17, 4095, 3, 1 << 20].into_iter().cycle()) {
            let more = 1 + usize::from(index) * 97;
            buffer.reserve(more + BLOCK_LEN);
            let address = buffer.bytes().as_ptr();
            buffer.end().extend(std::iter::repeat_n(index, more));
            expected.resize(expected.len() + more, index);
            buffer.bytes_from_mut(expected.len() - 1).fill(255);
            *expected.last_mut().unwrap() = 255;
            let len = buffer.len();
            buffer.resize(len.next_multiple_of(BLOCK_LEN));
            assert!(buffer.bytes()[len..].iter().all(|byte| *byte == 0));
            buffer.resize(len);
            assert_eq!((buffer.bytes(), buffer.len()), (expected.as_slice(), expected.len()));
            assert_eq!(buffer.bytes().as_ptr(), address, "it moved");
            assert!(buffer.is_aligned());
            buffer.keep_last(keep);
            expected.drain(..expected.len() - keep.min(expected.len()));
            assert_eq!(buffer.bytes(), expected.as_slice());
        }
    }
}
