//! What the disk takes alone: a write into a file that was filled with zeros before, and fdatasync. Neither
//! the size of the file nor where it lies changes, so it is the least that a durable write can cost here.
//!
//! At its end writing starts again at the beginning.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::figures::{Sample, Times};
use crate::errors::Failure;

/// Of the smallest durable write: a page, and a sector of today's drives.
pub(crate) const BLOCK_BYTES: usize = 4096;
const MIB: usize = 1024 * 1024;

pub(crate) struct Raw {
    file: File,
    file_bytes: usize,
    at: usize,
    content: Vec<u8>,
}

impl Raw {
    /// For writes of up to `write_bytes_max`.
    pub(crate) fn new(path: &Path, write_bytes_max: usize) -> Result<Raw, Failure> {
        let file_bytes = write_bytes_max.saturating_mul(2).max(16 * MIB);
        // Random bytes: nothing on the way to the disk makes them smaller.
        let mut content = vec![0; write_bytes_max.max(BLOCK_BYTES)];
        rand::fill(&mut content[..]);
        let file = filled_with_zeros(path, file_bytes)
            .map_err(|error| Failure::io("making the file of the raw writes", error))?;
        Ok(Raw { file, file_bytes, at: 0, content })
    }

    /// Writes `bytes` at a time for as long as `time`, once at least.
    pub(crate) fn write_for(&mut self, bytes: usize, time: Duration) -> Result<Sample, Failure> {
        let content = self.content.get(..bytes).unwrap_or(&self.content);
        let (mut writes, mut calls, begun) = (0, Times::new()?, Instant::now());
        while writes == 0 || begun.elapsed() < time {
            if self.at + content.len() > self.file_bytes {
                self.at = 0;
            }
            let started = Instant::now();
            self.file
                .write_all_at(content, self.at as u64)
                .and_then(|()| self.file.sync_data())
                .map_err(|error| Failure::io("writing durably", error))?;
            calls.record(started.elapsed());
            self.at += content.len();
            writes += 1;
        }
        Ok(Sample { count: writes, time: begun.elapsed(), calls, groups: 0 })
    }
}

fn filled_with_zeros(path: &Path, bytes: usize) -> io::Result<File> {
    let file = File::options().write(true).create_new(true).open(path)?;
    let zeros = vec![0; MIB];
    let mut at = 0;
    while at < bytes {
        file.write_all_at(&zeros, at as u64)?;
        at += zeros.len();
    }
    file.sync_all()?;
    Ok(file)
}
