//! A file that was filled with zeros and synced before the clock runs: a durable write into it changes
//! neither its size nor its extents.
//!
//! At its end writing starts again at the beginning, over what was written. An engine would take its next
//! file there; making that file is work which no floor here is charged with.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, fadvise};

use super::block::{BLOCK_BYTES, Block};

/// How a write becomes durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Past the page cache, durable when the write returns.
    Direct,
    /// Through the page cache, and fdatasync.
    Buffered,
}

#[derive(Debug)]
pub(crate) struct Segment {
    file: File,
    mode: Mode,
    bytes: u64,
}

impl Segment {
    /// Refused by file systems without direct writes.
    pub(crate) fn new(path: &Path, bytes: u64, mode: Mode) -> io::Result<Segment> {
        fill_with_zeros(path, bytes)?;
        let mut options = File::options();
        options.read(true).write(true);
        if mode == Mode::Direct {
            options.custom_flags(libc::O_DIRECT | libc::O_DSYNC);
        }
        let segment = Segment { file: options.open(path)?, mode, bytes };
        // Some file systems open and then refuse to write.
        let mut probe = Block::with_capacity(BLOCK_BYTES);
        probe.extend(&[0]);
        segment.write(&mut probe, 0)?;
        Ok(segment)
    }

    /// Direct if the file system takes it.
    pub(crate) fn of_the_best_mode(path: &Path, bytes: u64) -> io::Result<Segment> {
        Segment::new(path, bytes, Mode::Direct)
            .or_else(|_| Segment::new(path, bytes, Mode::Buffered))
    }

    /// Writes whole blocks at `at`, or at the beginning if they do not fit there. Durable when it
    /// returns. Answers the offset behind them.
    pub(crate) fn write(&self, block: &mut Block, at: u64) -> io::Result<u64> {
        block.pad();
        let len = block.len() as u64;
        let at = if at + len > self.bytes { 0 } else { at };
        self.file.write_all_at(block.bytes(), at)?;
        if self.mode == Mode::Buffered {
            self.file.sync_data()?;
        }
        Ok(at + len)
    }
}

fn fill_with_zeros(path: &Path, bytes: u64) -> io::Result<()> {
    let file = File::options().write(true).create(true).truncate(true).open(path)?;
    let zeros = vec![0; 1024 * 1024];
    for offset in (0..bytes).step_by(zeros.len()) {
        file.write_all_at(&zeros, offset)?;
    }
    file.sync_all()?;
    // Out of the page cache: a direct write has to drop the pages that it passes by.
    fadvise(&file, 0, None, Advice::DontNeed)?;
    Ok(())
}
