//! A FUSE file system with a few files that are disks: every write and flush is seen, recorded, and
//! failed when asked to.
//!
//! The kernel's page cache is bypassed (FOPEN_DIRECT_IO): what the file system above writes to its loop
//! device arrives here, and what it reads comes from here, so that the content can be exchanged between
//! two mounts.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};

use crate::blocks::{Blocks, CHUNK};
use crate::failure::{Doing, Failure, Result};
use crate::orders::MARK;
use crate::wire::ReceiptBytes;

/// One line of the block log.
#[derive(Clone, Debug)]
pub enum Entry {
    Write {
        offset: u64,
        data: Box<[u8]>,
    },
    /// Everything above was on the medium when this was answered.
    Flush,
    /// By now the parent had this acknowledgement.
    Acked {
        index: u64,
        fresh: bool,
        receipt: ReceiptBytes,
    },
    /// By now a reader beside the writer had been shown this order.
    Shown {
        index: u64,
        receipt: ReceiptBytes,
    },
}

/// Which requests fail with EIO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fail {
    Nothing,
    /// Every write.
    Writes,
    /// Writes that carry orders; the file system's own pass.
    OrderWrites,
    /// Every flush.
    Flushes,
}

/// A disk.
#[derive(Debug)]
struct Inside {
    blocks: Blocks,
    log: Option<Vec<Entry>>,
    fail: Fail,
    /// How many matching requests pass before the first fails, and how many fail then.
    pass_first: u64,
    fail_count: u64,
    failed: u64,
    /// Chunks that can't be read, and how many reads fail before they can be again.
    bad: BTreeSet<u64>,
    bad_count: u64,
}

impl Inside {
    /// Whether a read of these bytes meets a bad place now.
    fn is_bad(&mut self, offset: u64, bytes: u64) -> bool {
        let chunk = CHUNK as u64;
        let chunks = offset / chunk..(offset + bytes).div_ceil(chunk);
        if self.bad_count == 0 || self.bad.range(chunks).next().is_none() {
            return false;
        }
        self.bad_count -= 1;
        self.failed += 1;
        true
    }

    /// Whether a request that matches fails now.
    fn fails(&mut self) -> bool {
        if self.pass_first > 0 {
            self.pass_first -= 1;
            return false;
        }
        if self.fail_count == 0 {
            return false;
        }
        self.fail_count -= 1;
        self.failed += 1;
        true
    }
}

/// A disk that a loop device can be put on.
#[derive(Clone, Debug)]
pub struct Disk {
    inside: Arc<Mutex<Inside>>,
}

impl Disk {
    fn new(mib: u64) -> Disk {
        let inside = Inside {
            blocks: Blocks::new(mib),
            log: None,
            fail: Fail::Nothing,
            pass_first: 0,
            fail_count: 0,
            failed: 0,
            bad: BTreeSet::new(),
            bad_count: 0,
        };
        Disk { inside: Arc::new(Mutex::new(inside)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The content now.
    pub fn content(&self) -> Blocks {
        self.lock().blocks.clone()
    }

    /// Puts other content in place. Only while nothing is mounted from it.
    pub fn exchange(&self, blocks: Blocks) {
        self.lock().blocks = blocks;
    }

    pub fn start_log(&self) {
        self.lock().log = Some(Vec::new());
    }

    pub fn take_log(&self) -> Vec<Entry> {
        self.lock().log.take().unwrap_or_default()
    }

    /// Adds a line to the log, if there is one.
    pub fn note(&self, entry: Entry) {
        if let Some(log) = &mut self.lock().log {
            log.push(entry);
        }
    }

    /// Fails matching requests: lets `pass_first` of them through, then fails `count`.
    pub fn arm(&self, fail: Fail, pass_first: u64, count: u64) {
        let mut inside = self.lock();
        inside.fail = fail;
        inside.pass_first = pass_first;
        inside.fail_count = count;
        inside.failed = 0;
    }

    pub fn disarm(&self) -> u64 {
        let mut inside = self.lock();
        inside.fail = Fail::Nothing;
        inside.failed
    }

    /// From now on these chunks can't be read: the next `count` reads that touch one fail.
    pub fn spoil(&self, chunks: impl IntoIterator<Item = u64>, count: u64) {
        let mut inside = self.lock();
        inside.bad = chunks.into_iter().collect();
        inside.bad_count = count;
        inside.failed = 0;
    }

    /// Every place can be read again. Answers how many reads failed.
    pub fn heal(&self) -> u64 {
        let mut inside = self.lock();
        inside.bad.clear();
        inside.failed
    }

    /// Requests that were failed since it was armed.
    pub fn failed(&self) -> u64 {
        self.lock().failed
    }
}

/// The mounted FUSE file system; unmounted when it is dropped.
#[derive(Debug)]
pub struct Disks {
    at: PathBuf,
    disks: Vec<Disk>,
    session: Option<BackgroundSession>,
}

impl Disks {
    /// Mounts disks of these sizes (MiB) at `at`.
    pub fn mount(at: &Path, sizes: &[u64]) -> Result<Disks> {
        if !Path::new("/dev/fuse").exists() {
            return Err(Failure::Skipped("no /dev/fuse".into()));
        }
        std::fs::create_dir_all(at).doing("making a mount point")?;
        let disks: Vec<Disk> = sizes.iter().map(|mib| Disk::new(*mib)).collect();
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("order-ledger-disks".into())];
        let session = fuser::spawn_mount(Front { disks: disks.clone() }, at, &config)
            .map_err(|error| Failure::Skipped(format!("FUSE can't be mounted: {error}")))?;
        Ok(Disks { at: at.to_owned(), disks, session: Some(session) })
    }

    pub fn disk(&self, index: usize) -> &Disk {
        &self.disks[index]
    }

    pub fn path(&self, index: usize) -> PathBuf {
        self.at.join(index.to_string())
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && let Err(error) = session.umount_and_join()
        {
            eprintln!("note: unmounting FUSE: {error}");
        }
    }
}

/// What the kernel talks to.
struct Front {
    disks: Vec<Disk>,
}

/// Inode 1 is the directory; disk n is inode n + 2.
impl Front {
    fn disk(&self, ino: INodeNo) -> Option<&Disk> {
        let index = u64::from(ino).checked_sub(2)?;
        self.disks.get(usize::try_from(index).ok()?)
    }

    fn attributes(&self, ino: INodeNo) -> Option<FileAttr> {
        let (kind, perm, size) = match self.disk(ino) {
            Some(disk) => (FileType::RegularFile, 0o600, disk.lock().blocks.bytes()),
            None if ino == INodeNo::ROOT => (FileType::Directory, 0o700, 0),
            None => return None,
        };
        Some(FileAttr {
            ino,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        })
    }
}

const TTL: Duration = Duration::from_secs(3600);

impl Filesystem for Front {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        if let Err(most) = config.set_max_write(1024 * 1024) {
            // As large as this kernel gives; smaller writes are only slower.
            return config
                .set_max_write(most)
                .map(|_| ())
                .map_err(|_| std::io::ErrorKind::Unsupported.into());
        }
        Ok(())
    }

    fn lookup(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let index = name.to_str().and_then(|name| name.parse::<u64>().ok());
        match index.and_then(|index| self.attributes(INodeNo(index + 2))) {
            Some(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(ino) {
            Some(attributes) => reply.attr(&TTL, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(disk) = self.disk(ino) else { return reply.error(Errno::ENOENT) };
        let mut inside = disk.lock();
        if inside.is_bad(offset, u64::from(size)) {
            return reply.error(Errno::EIO);
        }
        let left = inside.blocks.bytes().saturating_sub(offset).min(u64::from(size));
        let mut buffer = vec![0; usize::try_from(left).unwrap_or(0)];
        inside.blocks.read(offset, &mut buffer);
        drop(inside);
        reply.data(&buffer);
    }

    fn write(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let Some(disk) = self.disk(ino) else { return reply.error(Errno::ENOENT) };
        let mut inside = disk.lock();
        let matches = match inside.fail {
            Fail::Writes => true,
            Fail::OrderWrites => data.windows(MARK.len()).any(|window| window == MARK),
            Fail::Nothing | Fail::Flushes => false,
        };
        if matches && inside.fails() {
            return reply.error(Errno::EIO);
        }
        inside.blocks.write(offset, data);
        if let Some(log) = &mut inside.log {
            log.push(Entry::Write { offset, data: data.into() });
        }
        drop(inside);
        reply.written(u32::try_from(data.len()).unwrap_or(0));
    }

    fn fsync(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        let Some(disk) = self.disk(ino) else { return reply.error(Errno::ENOENT) };
        let mut inside = disk.lock();
        if inside.fail == Fail::Flushes && inside.fails() {
            return reply.error(Errno::EIO);
        }
        if let Some(log) = &mut inside.log {
            log.push(Entry::Flush);
        }
        drop(inside);
        reply.ok();
    }

    fn flush(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // Closing a descriptor says nothing about the medium.
        reply.ok();
    }

    fn fallocate(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: u64,
        _length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        // No discard and no zeroing behind our back: everything arrives as a write.
        reply.error(Errno::EOPNOTSUPP);
    }
}
