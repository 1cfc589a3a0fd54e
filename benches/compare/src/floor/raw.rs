//! The disk without any engine: one durable write after the other, from one thread.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::block::Block;
use super::segment::{Mode, Segment};
use crate::sample::Latencies;

/// Size of the file: one default segment of the ledger.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Raw {
    segment: Segment,
    at: u64,
}

impl Raw {
    pub(crate) fn new(path: &Path, mode: Mode) -> io::Result<Raw> {
        Ok(Raw { segment: Segment::new(path, FILE_BYTES, mode)?, at: 0 })
    }

    /// Writes `count` groups of `group_bytes`, each a durable write, and tells how long each took.
    pub(crate) fn groups(
        &mut self,
        count: usize,
        group_bytes: usize,
        latencies: &mut Latencies,
    ) -> io::Result<Duration> {
        let mut content = vec![0; group_bytes];
        rand::fill(&mut content[..]);
        let mut block = Block::with_capacity(group_bytes);
        block.extend(&content);
        let begun = Instant::now();
        for _ in 0..count {
            let started = Instant::now();
            self.at = self.segment.write(&mut block, self.at)?;
            latencies.push(started.elapsed());
        }
        Ok(begun.elapsed())
    }
}
