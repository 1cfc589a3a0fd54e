//! Bytes whose address and length are whole blocks, as O_DIRECT demands.
//!
//! Safe code can't ask for an aligned allocation of bytes: one block more is allocated than needed, and
//! the bytes begin at the first aligned address in it.

/// Size of a block: of the page, and of the sector of today's drives.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// A buffer that grows.
#[derive(Debug)]
pub(crate) struct Block {
    allocated: Vec<u8>,
    /// Of the first aligned byte.
    start: usize,
    len: usize,
}

impl Block {
    pub(crate) fn with_capacity(bytes: usize) -> Block {
        let allocated = vec![0; bytes.next_multiple_of(BLOCK_BYTES) + BLOCK_BYTES];
        let start = allocated.as_ptr().align_offset(BLOCK_BYTES);
        Block { allocated, start, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        let at = self.start + self.len;
        if let Some(room) = self.allocated.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    /// Zeros up to the end of the last block.
    pub(crate) fn pad(&mut self) {
        let padded = self.len.next_multiple_of(BLOCK_BYTES);
        self.reserve(padded - self.len);
        let (from, to) = (self.start + self.len, self.start + padded);
        if let Some(rest) = self.allocated.get_mut(from..to) {
            rest.fill(0);
            self.len = padded;
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.allocated.get(self.start..self.start + self.len).unwrap_or_default()
    }

    fn reserve(&mut self, more: usize) {
        if self.start + self.len + more > self.allocated.len() {
            let mut larger = Block::with_capacity((self.len + more) * 2);
            larger.extend(self.bytes());
            *self = larger;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_aligned_and_keeps_its_bytes_while_it_grows() {
        let mut block = Block::with_capacity(1);
        let mut expected = Vec::new();
        for index in 0..5000_u32 {
            block.extend(&index.to_le_bytes());
            expected.extend(index.to_le_bytes());
        }
        block.pad();
        expected.resize(expected.len().next_multiple_of(BLOCK_BYTES), 0);
        assert_eq!(block.bytes(), expected);
        assert_eq!(block.bytes().as_ptr().align_offset(BLOCK_BYTES), 0);
    }
}
