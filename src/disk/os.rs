//! The real disk and the real surroundings: one system call per seam call, and nothing clever.
//!
//! Always true: every path is opened relative to the one directory descriptor that [`OsDisk`] holds, so
//! a rename of the directory under us cannot split a ledger in two; every descriptor is close-on-exec
//! and above the three of stdio; nothing is cached, nothing is retried but calls that a signal broke off
//! before they did anything. Knows nothing of ledgers.
//!
//! - [`direct`]: the second descriptor of a file whose writes go past the page cache

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{Advice, AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::{Disk, DiskFile, DiskLock, Host, Open};

mod direct;
#[cfg(test)]
mod tests;

use direct::Direct;

/// Files of a ledger are numbered above stdin, stdout and stderr: a program that prints to a stdout its
/// host had closed must not print into the log (SQLite, "How To Corrupt", section 1.1).
const FD_LEAST: RawFd = 3;

/// Permissions of new files and directories, before the umask.
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);
const DIR_MODE: Mode = Mode::from_raw_mode(0o755);

/// One directory of the real file system.
#[derive(Debug)]
pub(crate) struct OsDisk {
    dir: OwnedFd,
    /// Absolute, so that it still means the same after the host changed its working directory.
    path: PathBuf,
}

impl OsDisk {
    /// Opens a directory that exists.
    pub(crate) fn open_dir(path: &Path) -> io::Result<OsDisk> {
        let path = std::path::absolute(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = retry_on_intr(|| rustix::fs::openat(CWD, &path, flags, Mode::empty()))?;
        Ok(OsDisk { dir: at_least(dir, FD_LEAST)?, path })
    }

    /// Opens a directory; creates it and its parents where missing, durably: each directory that got a
    /// new name is synced, or a power cut could take the whole ledger with its entry.
    pub(crate) fn create_dir(path: &Path) -> io::Result<OsDisk> {
        let path = std::path::absolute(path)?;
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|dir| !dir.as_os_str().is_empty() && !dir.is_dir())
            .collect();
        for dir in missing.iter().rev() {
            match std::fs::create_dir(dir) {
                // Somebody else was faster; whether their sync was too is unknown, so ours follows.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => sync_parent(dir)?,
            }
        }
        if missing.is_empty() {
            // An earlier process may have died between its mkdir and its sync. A parent that we may not
            // read is not one that a process with our rights can have made the directory in and synced.
            match sync_parent(&path) {
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
                _ => {}
            }
        }
        OsDisk::open_dir(&path)
    }

    /// Opens a file, and nothing else that may have its name: a pipe would keep the caller waiting for
    /// its other end.
    fn open_file(&self, path: &str, flags: OFlags) -> io::Result<File> {
        let fd = self.open_at(path, flags | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
            FileType::RegularFile => Ok(fd.into()),
            FileType::Directory => Err(io::ErrorKind::IsADirectory.into()),
            _ => Err(io::Error::other("it is a pipe or a device, and no file")),
        }
    }

    fn open_at(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        let flags = flags | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| rustix::fs::openat(&self.dir, path, flags, FILE_MODE))?;
        at_least(fd, FD_LEAST)
    }
}

/// The same open file under a descriptor that is not below `least`.
fn at_least(fd: OwnedFd, least: RawFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= least {
        return Ok(fd);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&fd, least)?)
}

fn sync_parent(dir: &Path) -> io::Result<()> {
    match dir.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

impl Disk for OsDisk {
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let flags = match how {
            Open::Read => OFlags::RDONLY,
            Open::Write => OFlags::RDWR,
            Open::CreateNew => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        };
        let may_write = how != Open::Read;
        let file = self.open_file(path, flags)?;
        Ok(Arc::new(OsFile::new(file, may_write)))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let dir = Dir::new(self.open_at(dir, OFlags::RDONLY | OFlags::DIRECTORY)?)?;
        let mut names = Vec::new();
        for entry in dir {
            // A name that is not UTF-8 is not ours; it must still show up as a name nobody knows.
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::mkdirat(&self.dir, dir, DIR_MODE))?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.dir, from, &self.dir, to)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.dir, path, AtFlags::empty())?)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let dir = self.open_at(dir, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(retry_on_intr(|| rustix::fs::fsync(&dir))?)
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn DiskLock>> {
        let file = self.open_file(path, OFlags::RDWR | OFlags::CREATE)?;
        // flock(2) belongs to this descriptor: a second one of the same process is refused as well, and
        // closing some other descriptor of the file does not release it, as a POSIX record lock would.
        match file.try_lock() {
            Ok(()) => Ok(Box::new(OsLock { file })),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock_dir(&self) -> io::Result<Option<Box<dyn DiskLock>>> {
        // A descriptor of its own: that of `dir` may outlive the lock.
        let file = File::from(self.open_at("", OFlags::RDONLY | OFlags::DIRECTORY)?);
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(OsLock { file }))),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            // NFS, for one, locks only what is open for writing.
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = retry_on_intr(|| rustix::fs::fstatvfs(&self.dir))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn is_in_place(&self) -> io::Result<bool> {
        let held = rustix::fs::fstat(&self.dir)?;
        match rustix::fs::stat(&self.path) {
            Ok(found) => Ok((held.st_dev, held.st_ino) == (found.st_dev, found.st_ino)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn display_path(&self) -> String {
        self.path.display().to_string()
    }
}

#[derive(Debug)]
struct OsFile {
    file: File,
    may_write: bool,
    /// Opened when it is asked for first: most files never need it.
    direct: OnceLock<Option<Direct>>,
}

impl OsFile {
    fn new(file: File, may_write: bool) -> OsFile {
        OsFile { file, may_write, direct: OnceLock::new() }
    }

    fn direct(&self) -> Option<&Direct> {
        let open = || self.may_write.then(|| Direct::of(&self.file)).flatten();
        self.direct.get_or_init(open).as_ref()
    }
}

impl DiskFile for OsFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(data, offset)
    }

    fn write_past_cache(
        &self,
        data: &[u8],
        offset: u64,
        durable: bool,
    ) -> io::Result<Option<usize>> {
        match self.direct() {
            Some(direct) => direct.write(data, offset, durable),
            None => Ok(None),
        }
    }

    fn is_durable_past_cache(&self) -> bool {
        self.direct().is_some_and(Direct::syncs)
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed)?)
    }
}

#[derive(Debug)]
struct OsLock {
    file: File,
}

impl DiskLock for OsLock {
    fn write_content(&self, content: &[u8]) -> io::Result<()> {
        self.file.write_all_at(content, 0)?;
        self.file.set_len(content.len() as u64)
    }
}

/// How much nicer than the rest of the process a thread is that gives way. Linux gives a thread that is 10 nicer a
/// tenth of what another gets of a core that both want (sched(7): a factor of 1.25 for each), so it goes on whatever
/// else runs: whoever waits for something that it holds waits for milliseconds and not for ever.
#[cfg(target_os = "linux")]
const GIVES_WAY: i32 = 10;

/// Has the calling thread run behind the others of the process, where a core is wanted by both; and the threads that
/// it starts from now on, which inherit that. Where that can't be had, it runs as they do.
pub(crate) fn give_way() {
    // Elsewhere the call is about the whole process.
    #[cfg(target_os = "linux")]
    if let Ok(nice) = rustix::process::getpriority_process(None) {
        // Refused, it costs nothing but speed.
        let nicer = nice.saturating_add(GIVES_WAY);
        rustix::process::setpriority_process(None, nicer).unwrap_or_default();
    }
}

/// The process's real surroundings.
#[derive(Debug)]
pub(crate) struct OsHost {
    started: Instant,
}

impl OsHost {
    pub(crate) fn new() -> OsHost {
        OsHost { started: Instant::now() }
    }
}

impl Host for OsHost {
    #[expect(clippy::disallowed_methods, reason = "this is the call that all others go through")]
    fn wall_ns(&self) -> u64 {
        // A clock before 1970 is wrong anyway; after 2554 the count stands still.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn fill_random(&self, buffer: &mut [u8]) {
        rand::fill(buffer);
    }

    #[expect(clippy::disallowed_methods, reason = "this is the call that all others go through")]
    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn process_id(&self) -> u32 {
        std::process::id()
    }
}
