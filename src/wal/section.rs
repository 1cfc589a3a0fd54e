//! Sections: checksummed rows of blocks behind the groups of a sealed segment.
//!
//! The log knows how a section is stored, not what is in it (but for the offsets of the records). A
//! section is derived from the groups: a damaged one costs time, never an answer.

use std::io;
use std::sync::Arc;

use super::blocks::{Blocks, Place};
use super::format::{BLOCK_BYTES, SECTION_BLOCK_CONTENT, SectionAt, section_block_crc};
use crate::bytes::{Fields, PutFields, to_usize};
use crate::disk::{DiskFile, read_up_to};

/// Why a section could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SectionError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("block {block} of section {kind} at byte {offset} is damaged")]
    Damaged { kind: u32, block: u64, offset: u64 },
}

/// The blocks of a section with this content.
pub(crate) fn encode(nonce: u64, kind: u32, content: &[u8]) -> Vec<u8> {
    encode_from(nonce, kind, 0, content)
}

/// The blocks of a section from `first` on, with this content.
pub(crate) fn encode_from(nonce: u64, kind: u32, first: u64, content: &[u8]) -> Vec<u8> {
    let mut blocks = Vec::with_capacity(content.len() / SECTION_BLOCK_CONTENT * 4096 + 4096);
    for (block, content) in (first..).zip(content.chunks(SECTION_BLOCK_CONTENT)) {
        let start = blocks.len();
        blocks.put(content);
        blocks.resize(start + SECTION_BLOCK_CONTENT, 0);
        let content = blocks.get(start..).unwrap_or_default();
        let crc = section_block_crc(nonce, kind, block, content);
        blocks.put_u32(crc);
    }
    blocks
}

/// A section in a file.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// Number of its segment.
    pub(crate) segment: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Where blocks are kept that were read before.
    pub(crate) blocks: Arc<Blocks>,
    pub(crate) nonce: u64,
    pub(crate) at: SectionAt,
}

impl Section {
    /// The content of one block, checked when it was read.
    pub(crate) fn block(&self, block: u64) -> Result<Arc<[u8]>, SectionError> {
        let place = Place { segment: self.segment, kind: self.at.kind, block };
        self.blocks.get(place, || self.read_block(block).map(Arc::from))
    }

    /// The content of one block, read and checked; it is not kept.
    pub(crate) fn read_block(&self, block: u64) -> Result<Vec<u8>, SectionError> {
        let offset = self.at.offset.saturating_add(block.saturating_mul(BLOCK_BYTES));
        let damaged = || SectionError::Damaged { kind: self.at.kind, block, offset };
        let rest = self
            .at
            .content_bytes
            .checked_sub(block.saturating_mul(SECTION_BLOCK_CONTENT as u64))
            .ok_or_else(damaged)?;
        let mut bytes = vec![0; to_usize(BLOCK_BYTES)];
        let read = read_up_to(&*self.file, &mut bytes, offset)?;
        bytes.truncate(read);
        let (content, crc) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
        let whole = content.len() == SECTION_BLOCK_CONTENT
            && u32::from_le_bytes(*crc)
                == section_block_crc(self.nonce, self.at.kind, block, content);
        if !whole {
            return Err(damaged());
        }
        bytes.truncate(SECTION_BLOCK_CONTENT.min(to_usize(rest)));
        Ok(bytes)
    }

    /// The whole content, checked; no block of it is kept. `bytes_max` bounds what a damaged length can allocate.
    pub(crate) fn content(&self, bytes_max: u64) -> Result<Vec<u8>, SectionError> {
        if self.at.content_bytes > bytes_max {
            let (kind, offset) = (self.at.kind, self.at.offset);
            return Err(SectionError::Damaged { kind, block: 0, offset });
        }
        let mut content = Vec::with_capacity(to_usize(self.at.content_bytes));
        for block in 0..self.at.blocks() {
            content.extend(self.read_block(block)?);
        }
        Ok(content)
    }

    /// The `index`-th u32 of the section.
    #[cfg(test)]
    pub(crate) fn u32_at(&self, index: u64) -> Result<u32, SectionError> {
        self.u32_and_next_at(index).map(|(number, _)| number)
    }

    /// The `index`-th u32 of the section, and the one behind it when it is in the same block.
    pub(crate) fn u32_and_next_at(&self, index: u64) -> Result<(u32, Option<u32>), SectionError> {
        const PER_BLOCK: u64 = SECTION_BLOCK_CONTENT as u64 / 4;
        let block = self.block(index / PER_BLOCK)?;
        let start = to_usize(index % PER_BLOCK) * 4;
        let mut fields = Fields(block.get(start..).unwrap_or_default());
        let number = fields.u32().ok_or(SectionError::Damaged {
            kind: self.at.kind,
            block: index / PER_BLOCK,
            offset: self.at.offset,
        })?;
        Ok((number, fields.u32()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;
    use crate::disk::{self, Open};

    const START: u64 = 8192;

    /// A section with these numbers, at `START` of a file.
    fn section(numbers: u32) -> Section {
        let mut content = Vec::new();
        for number in 0..numbers {
            content.put_u32(number * 3);
        }
        let file = SimDisk::new(1).as_disk().open("section", Open::CreateNew).unwrap();
        let bytes = encode(5, 9, &content);
        assert_eq!(
            bytes.len() as u64,
            content.len().div_ceil(SECTION_BLOCK_CONTENT) as u64 * BLOCK_BYTES
        );
        disk::write_all_at(&*file, &bytes, START).unwrap();
        let at = SectionAt { kind: 9, offset: START, content_bytes: content.len() as u64 };
        Section { segment: 1, file, blocks: Blocks::new(0), nonce: 5, at }
    }

    #[test]
    fn what_was_put_in_comes_out_over_one_block_and_many() {
        for numbers in [0u32, 1, 1022, 1023, 1024, 2046, 2047, 5000] {
            let section = section(numbers);
            let bytes = u64::from(numbers) * 4;
            assert_eq!(section.content(bytes).unwrap().len() as u64, bytes);
            for number in 0..numbers {
                assert_eq!(section.u32_at(u64::from(number)).unwrap(), number * 3);
            }
            // There is no such number, whether its block is there or not.
            match section.u32_at(u64::from(numbers)) {
                Err(SectionError::Damaged { kind: 9, block, .. }) => {
                    assert_eq!(block, u64::from(numbers) / 1023);
                }
                other => panic!("number {numbers}: {other:?}"),
            }
            assert!(bytes == 0 || section.content(bytes - 1).is_err(), "more than was allowed");
        }
    }

    #[test]
    fn a_block_holds_only_in_its_place() {
        let damaged = |section: &Section, index: u64| {
            let block = index / 1023;
            match section.u32_at(index) {
                Err(SectionError::Damaged { kind, block: found, offset }) => {
                    assert_eq!((kind, found), (section.at.kind, block));
                    assert!(offset >= section.at.offset);
                    true
                }
                other => other.map(|_| false).unwrap(),
            }
        };
        let sound = section(3000);
        assert!(!damaged(&sound, 2000));
        for other in [
            Section { nonce: 6, ..sound.clone() },
            Section { at: SectionAt { kind: 8, ..sound.at }, ..sound.clone() },
            Section { at: SectionAt { offset: START + BLOCK_BYTES, ..sound.at }, ..sound.clone() },
        ] {
            assert!(damaged(&other, 5) && damaged(&other, 2000));
        }
        for byte in [START + 5, START + BLOCK_BYTES - 1, START + BLOCK_BYTES + 4000] {
            let bent = section(3000);
            let mut old = [0];
            read_up_to(&*bent.file, &mut old, byte).unwrap();
            bent.file.write_at(&[old[0] ^ 4], byte).unwrap();
            let block = (byte - START) / BLOCK_BYTES;
            assert!(damaged(&bent, block * 1023));
            assert!(!damaged(&bent, (1 - block) * 1023), "the other block is sound");
        }
        let cut = section(3000);
        cut.file.set_bytes(START + BLOCK_BYTES + 100).unwrap();
        assert!(!damaged(&cut, 0) && damaged(&cut, 1023) && damaged(&cut, 2999));
    }
}
