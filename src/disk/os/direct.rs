//! A second descriptor of a file, whose writes go past the page cache (`O_DIRECT`).
//!
//! Why a second one: the first one reads and writes whatever bytes it likes, through the page cache, and
//! the mode belongs to a descriptor and not to a call.
//!
//! Always true: what the file system refuses (`EINVAL`) has written nothing that the usual way, which is
//! taken instead, does not write again; after one refusal the descriptor is not used any more. A write that
//! is to be durable goes this way only where a rig has seen the device flushed by it ([`SYNCED_BY_WRITES`]):
//! a file system that knows no direct writes says so, one that takes them and forgets the sync does not.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags, retry_on_intr};

use super::{FD_LEAST, at_least};

/// Addresses, lengths and offsets are multiples of it: the largest logical block that is in use. One that is
/// larger still is noticed by the first write (or the first read), which is refused.
const ALIGN: usize = 4096;

/// `f_type` of statfs(2) of ext4, XFS and btrfs: what `tests/kernel` cuts the power of.
const SYNCED_BY_WRITES: [u32; 3] = [0xef53, 0x5846_5342, 0x9123_683e];

#[derive(Debug)]
pub(super) struct Direct {
    file: File,
    /// Whether a write with `RWF_DSYNC` is believed to be durable.
    syncs: bool,
    is_refused: AtomicBool,
}

impl Direct {
    /// Of a file that was opened to write. `None` where there is no such thing, or no descriptor left: it is
    /// quicker, and nothing more.
    pub(super) fn of(file: &File) -> Option<Direct> {
        // By its number and not by its path: it must be this file, wherever it was moved meanwhile.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| rustix::fs::openat(CWD, &path, flags, Mode::empty())).ok()?;
        let fd = at_least(fd, FD_LEAST).ok()?;
        let kind = rustix::fs::fstatfs(&fd).ok()?.f_type;
        let syncs = u32::try_from(kind).is_ok_and(|kind| SYNCED_BY_WRITES.contains(&kind));
        // Some file systems open and then refuse. An empty file can't tell yet; its first write will.
        let mut probe = vec![0; 2 * ALIGN];
        let start = probe.as_ptr().align_offset(ALIGN);
        let block = probe.get_mut(start..start.saturating_add(ALIGN))?;
        retry_on_intr(|| rustix::io::pread(&fd, &mut *block, 0)).ok()?;
        Some(Direct { file: fd.into(), syncs, is_refused: AtomicBool::new(false) })
    }

    /// Whether writes that are to be durable go this way.
    pub(super) fn syncs(&self) -> bool {
        self.syncs && !self.is_refused.load(Ordering::Relaxed)
    }

    /// Writes, durably if `durable`; answers how many bytes. `None` when these bytes can't go this way.
    pub(super) fn write(
        &self,
        data: &[u8],
        offset: u64,
        durable: bool,
    ) -> io::Result<Option<usize>> {
        let is_aligned = data.as_ptr().align_offset(ALIGN) == 0
            && data.len().is_multiple_of(ALIGN)
            && offset.is_multiple_of(ALIGN as u64);
        if !is_aligned || self.is_refused.load(Ordering::Relaxed) || (durable && !self.syncs) {
            return Ok(None);
        }
        let flags = if durable { ReadWriteFlags::DSYNC } else { ReadWriteFlags::empty() };
        match rustix::io::pwritev2(&self.file, &[io::IoSlice::new(data)], offset, flags) {
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.is_refused.store(true, Ordering::Relaxed);
                Ok(None)
            }
            written => Ok(Some(written?)),
        }
    }
}
