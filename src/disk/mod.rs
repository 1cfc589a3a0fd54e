//! The edge: the only place that touches files, the clock, sleep and randomness.
//!
//! - `by_path`: many files through few descriptors, on any disk
//! - `os`: the real thing
//! - `sim` (feature `sim`): a disk and a clock in memory that forget, tear, reorder and fail
//!
//! The code above is the same on both. A [`Disk`] is one ledger directory; paths are relative to it,
//! ASCII, with `/` between the parts, and `""` is the directory itself. The calls are those of POSIX and
//! promise no more: what was written and not synced may vanish, in any part and any order; a name that
//! was created, renamed or removed may be back at its old state until its directory was synced.
//!
//! The loops for short writes and interrupted calls stand here (`write_all_at`, `read_exact_at`),
//! above the seam, so that the simulator exercises them.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use crate::error::{Error, ErrorKind};

pub(crate) mod by_path;
pub(crate) mod os;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
#[cfg(test)]
mod tests;

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// To read. Never creates, never changes a byte.
    Read,
    /// To read and write a file that exists.
    Write,
    /// To read and write a file that must not exist yet; `AlreadyExists` when it does.
    CreateNew,
}

/// One ledger directory.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file.
    ///
    /// # Errors
    /// Those of open(2); `NotFound` when the file (or, for `CreateNew`, its directory) is missing.
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>>;

    /// The names in a directory, in any order, without `.` and `..`.
    ///
    /// # Errors
    /// `NotFound` when there is no such directory, or those of readdir(3).
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Creates a directory whose parent exists.
    ///
    /// # Errors
    /// `AlreadyExists` when it is there, or those of mkdir(2).
    fn create_dir(&self, dir: &str) -> io::Result<()>;

    /// Renames a file or directory; a file that has the new name is replaced, atomically.
    ///
    /// # Errors
    /// Those of rename(2).
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Those of unlink(2).
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes the names in a directory durable: creations, renames and removals so far.
    ///
    /// # Errors
    /// Those of fsync(2); after one, nothing is known about the names.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// Takes the exclusive lock of a file for as long as the answer lives; creates the file when it is
    /// missing. Never waits. The content of the file is the caller's (by custom the holder's pid).
    ///
    /// # Errors
    /// `WouldBlock` when somebody (this process included) holds it, or those of open(2) and flock(2).
    fn lock(&self, path: &str) -> io::Result<Box<dyn DiskLock>>;

    /// Takes the exclusive lock of the directory itself, as [`Disk::lock`] does that of a file: nobody
    /// can remove it from under its holder. `None` where the file system locks no directories.
    ///
    /// # Errors
    /// `WouldBlock` when somebody (this process included) holds it, or those of open(2).
    fn lock_dir(&self) -> io::Result<Option<Box<dyn DiskLock>>> {
        Ok(None)
    }

    /// Bytes that an unprivileged process can still write on this file system.
    ///
    /// # Errors
    /// Those of statvfs(3).
    fn free_bytes(&self) -> io::Result<u64>;

    /// Whether the path that the directory was opened by still leads to it: false when somebody renamed
    /// or removed it under us.
    ///
    /// # Errors
    /// Those of stat(2), other than a missing path.
    fn is_in_place(&self) -> io::Result<bool>;

    /// Where the directory is, for messages.
    fn display_path(&self) -> String;
}

/// One open file. Closed when dropped. Calls take `&self` and may run at the same time.
pub trait DiskFile: Send + Sync + Debug {
    /// The size in bytes.
    ///
    /// # Errors
    /// Those of fstat(2).
    fn bytes(&self) -> io::Result<u64>;

    /// Reads at `offset` into `buffer`; answers how many bytes, 0 only at or after the end of the file.
    /// May read less than asked for.
    ///
    /// # Errors
    /// Those of pread(2). An error is never "the end of the file".
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at `offset`; answers how many bytes of `data` were written, which may be fewer than given.
    /// Growing the file this way fills a gap with zeros. Nothing is durable before [`DiskFile::sync`].
    ///
    /// # Errors
    /// Those of pwrite(2). After one, any part of the range may have changed.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes the file exactly this long. What is added reads as zeros.
    ///
    /// # Errors
    /// Those of ftruncate(2).
    fn set_bytes(&self, bytes: u64) -> io::Result<()>;

    /// Makes content and size durable (fdatasync(2), which covers the size), whoever wrote them. Allowed
    /// on a file that was opened to read.
    ///
    /// # Errors
    /// Those of fdatasync(2). After one, what was written since the last success is lost or not, the
    /// page cache may show it either way, and a second call may answer Ok without having done anything:
    /// never retry.
    fn sync(&self) -> io::Result<()>;

    /// Writes past the page cache: for what nobody is going to read soon. With `durable`, what was written
    /// is on disk when the call returns, as after [`DiskFile::sync`]; what was written before is not meant.
    /// Answers how many bytes, which may be fewer than given.
    ///
    /// `None` when these bytes can't go that way: the file system has no such writes, or they do not fit
    /// (the length, the address of `data` and `offset` must be multiples of 4,096). Then they go the usual
    /// way, all of them. Never mixed with bytes of the same block that are written and not synced.
    ///
    /// # Errors
    /// Those of pwritev2(2). After one, any part of the range may have changed; with `durable` it is that of
    /// a failed sync as well.
    fn write_past_cache(
        &self,
        data: &[u8],
        offset: u64,
        durable: bool,
    ) -> io::Result<Option<usize>> {
        let _ = (data, offset, durable);
        Ok(None)
    }

    /// Whether [`DiskFile::write_past_cache`] takes what is to be durable, as far as is known now.
    fn is_durable_past_cache(&self) -> bool {
        false
    }

    /// Drops clean pages from the page cache, so that the next read sees what the disk holds. Best
    /// effort: dirty pages stay.
    ///
    /// # Errors
    /// Those of posix_fadvise(2).
    fn drop_cache(&self) -> io::Result<()>;
}

/// A held lock. Dropping it (or the end of the process) releases it.
pub trait DiskLock: Send + Sync + Debug {
    /// Replaces the content of the lock file.
    ///
    /// # Errors
    /// Those of writing a file.
    fn write_content(&self, content: &[u8]) -> io::Result<()>;
}

/// The process's surroundings: clock, sleep, randomness.
pub trait Host: Send + Sync + Debug {
    /// The wall clock: nanoseconds since 1970. It may jump; only ledger time is built on it.
    fn wall_ns(&self) -> u64;

    /// A clock that never goes back, in nanoseconds since some moment: for timers and measurements.
    fn monotonic_ns(&self) -> u64;

    /// Fills `buffer` with random bytes fit for secrets.
    fn fill_random(&self, buffer: &mut [u8]);

    /// Waits.
    fn sleep(&self, duration: Duration);

    /// The number of this process, to notice a fork.
    fn process_id(&self) -> u32;
}

/// Writes all of `data` at `offset`: goes on after short writes and interrupted calls.
pub(crate) fn write_all_at(
    file: &dyn DiskFile,
    mut data: &[u8],
    mut offset: u64,
) -> io::Result<()> {
    while !data.is_empty() {
        match file.write_at(data, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                data = data.get(written..).unwrap_or_default();
                offset = offset.saturating_add(written as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `data` at `offset`, past the page cache as far as the file takes it, and the usual way
/// else. Nothing is durable before a sync.
pub(crate) fn write_all_past_cache(
    file: &dyn DiskFile,
    data: &[u8],
    offset: u64,
) -> io::Result<()> {
    let written = write_past_cache(file, data, offset, false)?;
    let rest = data.get(written..).unwrap_or_default();
    write_all_at(file, rest, offset.saturating_add(written as u64))
}

/// Writes all of `data` at `offset` and makes it durable: past the page cache in one call where the file
/// takes it, else by writing and syncing. After an error, as after that of a sync: never retry.
pub(crate) fn write_durably(file: &dyn DiskFile, data: &[u8], offset: u64) -> io::Result<()> {
    let written = write_past_cache(file, data, offset, true)?;
    let rest = data.get(written..).unwrap_or_default();
    if rest.is_empty() {
        return Ok(());
    }
    write_all_at(file, rest, offset.saturating_add(written as u64))?;
    sync(file)
}

/// Answers how many bytes went past the page cache: fewer than all when the file took no more that way.
fn write_past_cache(
    file: &dyn DiskFile,
    data: &[u8],
    offset: u64,
    durable: bool,
) -> io::Result<usize> {
    let mut written = 0;
    while let Some(rest) = data.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write_past_cache(rest, offset.saturating_add(written as u64), durable) {
            Ok(None) => break,
            Ok(Some(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(Some(more)) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

/// Reads into `buffer` from `offset` until it is full or the file ends; answers how many bytes.
pub(crate) fn read_up_to(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Fills `buffer` from `offset`; `UnexpectedEof` when the file ends before.
pub(crate) fn read_exact_at(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    if read_up_to(file, buffer, offset)? < buffer.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Syncs a file; an interrupted call has not decided anything and is the one case that is asked again.
pub(crate) fn sync(file: &dyn DiskFile) -> io::Result<()> {
    loop {
        match file.sync() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Drops the clean pages of a file, so that the next read sees what the disk holds. A kernel or a file
/// system that has no such thing says so, and that is no error; after any other the cache may still show
/// what a failed sync has lost.
pub(crate) fn drop_cache(file: &dyn DiskFile) -> io::Result<()> {
    match file.drop_cache() {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) =>
        {
            Ok(())
        }
        dropped => dropped,
    }
}

/// Puts a small file in place so that a crash leaves the old one or the new one, whole:
/// write aside, sync, rename, sync the directory.
pub(crate) fn replace_file(
    disk: &dyn Disk,
    dir: &str,
    name: &str,
    content: &[u8],
) -> io::Result<()> {
    let (path, aside) = (join(dir, name), aside(dir, name));
    match disk.remove(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(&aside, Open::CreateNew)?;
    write_all_at(&*file, content, 0)?;
    sync(&*file)?;
    drop(file);
    disk.rename(&aside, &path)?;
    disk.sync_dir(dir)
}

/// Where [`replace_file`] writes first; a crash may leave it there.
pub(crate) fn aside(dir: &str, name: &str) -> String {
    format!("{}.tmp", join(dir, name))
}

/// `name` inside `dir`.
pub(crate) fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

/// Reads a whole small file; `InvalidData` when it is larger than `bytes_max`.
pub(crate) fn read_file(disk: &dyn Disk, path: &str, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Open::Read)?;
    let bytes = usize::try_from(file.bytes()?).unwrap_or(usize::MAX);
    if bytes > bytes_max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut content = vec![0; bytes];
    let read = read_up_to(&*file, &mut content, 0)?;
    content.truncate(read);
    Ok(content)
}

/// Whether the disk said that it is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether a call was refused because the process, or the system, has no descriptor left. It has done
/// nothing then.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Whether there is nothing under that path.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A random number.
pub(crate) fn random_u64(host: &dyn Host) -> u64 {
    let mut bytes = [0; 8];
    host.fill_random(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// The error for a full disk.
pub(crate) fn disk_low(disk: &dyn Disk, error: io::Error) -> Error {
    let free_bytes = disk.free_bytes().unwrap_or(0);
    Error::new(ErrorKind::DiskLow { free_bytes }).caused_by(error)
}
