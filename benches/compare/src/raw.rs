//! The floor: what the disk itself takes for one durable write, without any engine.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use crate::sample::Latencies;

const BLOCK_BYTES: usize = 4096;
/// Size of the file: one default segment of the ledger.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// A file that was filled with zeros and synced; written block by block, each one synced.
#[derive(Debug)]
pub(crate) struct Raw {
    file: File,
    offset: u64,
    block: [u8; BLOCK_BYTES],
}

impl Raw {
    pub(crate) fn new(path: &Path) -> io::Result<Raw> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        let zeros = vec![0; 1024 * 1024];
        for offset in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, offset)?;
        }
        file.sync_all()?;
        let mut block = [0; BLOCK_BYTES];
        rand::fill(&mut block[..]);
        Ok(Raw { file, offset: 0, block })
    }

    /// pwrite of 4 KiB and fdatasync, `count` times.
    pub(crate) fn write(&mut self, count: usize, latencies: &mut Latencies) -> io::Result<()> {
        for _ in 0..count {
            let started = Instant::now();
            self.file.write_all_at(&self.block, self.offset)?;
            self.file.sync_data()?;
            latencies.push(started.elapsed());
            self.offset = (self.offset + BLOCK_BYTES as u64) % FILE_BYTES;
        }
        Ok(())
    }
}
