//! The content of a disk in memory, copy on write: a clone costs a list of pointers, so that every crash
//! image is a disk of its own without copying one.

use std::sync::Arc;

pub const CHUNK: usize = 4096;
pub const SECTOR: usize = 512;

type Chunk = [u8; CHUNK];

/// A disk's content. Chunks that were never written, or are all zero, take no room.
#[derive(Clone, Debug)]
pub struct Blocks {
    chunks: Vec<Option<Arc<Chunk>>>,
}

impl Blocks {
    pub fn new(mib: u64) -> Blocks {
        let chunks = usize::try_from(mib * 1024 * 1024).unwrap_or(0) / CHUNK;
        Blocks { chunks: vec![None; chunks] }
    }

    pub fn bytes(&self) -> u64 {
        (self.chunks.len() * CHUNK) as u64
    }

    /// The chunks in which these bytes begin and end.
    pub fn find(&self, bytes: &[u8]) -> Vec<u64> {
        let holds = |chunk: &Option<Arc<Chunk>>| {
            chunk.as_ref().is_some_and(|chunk| chunk.windows(bytes.len()).any(|at| at == bytes))
        };
        let found = (0..).zip(&self.chunks).filter(|(_, chunk)| holds(chunk));
        found.map(|(index, _)| index).collect()
    }

    pub fn read(&self, offset: u64, buffer: &mut [u8]) {
        let mut at = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut rest = buffer;
        while !rest.is_empty() {
            let (index, within) = (at / CHUNK, at % CHUNK);
            let piece = rest.len().min(CHUNK - within);
            let (now, later) = rest.split_at_mut(piece);
            match self.chunks.get(index) {
                Some(Some(chunk)) => now.copy_from_slice(&chunk[within..within + piece]),
                _ => now.fill(0),
            }
            at += piece;
            rest = later;
        }
    }

    pub fn write(&mut self, offset: u64, data: &[u8]) {
        let mut at = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut rest = data;
        while !rest.is_empty() {
            let (index, within) = (at / CHUNK, at % CHUNK);
            let (now, later) = rest.split_at(rest.len().min(CHUNK - within));
            if let Some(slot) = self.chunks.get_mut(index) {
                let zeros = now.iter().all(|byte| *byte == 0);
                if zeros && (now.len() == CHUNK || slot.is_none()) {
                    *slot = None;
                } else {
                    let chunk = slot.get_or_insert_with(|| Arc::new([0; CHUNK]));
                    Arc::make_mut(chunk)[within..within + now.len()].copy_from_slice(now);
                }
            }
            at += now.len();
            rest = later;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_found_in_its_chunk() {
        let mut disk = Blocks::new(1);
        disk.write(9_000, b"needle");
        disk.write(20_000, b"needle");
        assert_eq!((disk.find(b"needle"), disk.find(b"noodle")), (vec![2, 4], vec![]));
    }

    #[test]
    fn a_clone_keeps_what_the_original_overwrites() {
        let mut disk = Blocks::new(1);
        disk.write(4_000, &[1; 5_000]);
        let before = disk.clone();
        disk.write(4_096, &[0; CHUNK]);
        disk.write(4_090, &[2; 3]);
        let read = |disk: &Blocks| {
            let mut buffer = vec![9; 6_000];
            disk.read(3_999, &mut buffer);
            buffer
        };
        let (old, new) = (read(&before), read(&disk));
        assert_eq!((old[0], old[1], old[5_000], old[5_001]), (0, 1, 1, 0));
        assert_eq!((new[1], new[91], new[94], new[97], new[4_192], new[4_193]), (1, 2, 1, 0, 0, 1));
    }
}
