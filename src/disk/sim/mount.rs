//! The simulated disk as the seam shows it: each call locks the disk and goes to its state.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::device::SimDisk;
use super::names::Inode;
use crate::disk::{Disk, DiskFile, DiskLock, Open};

/// The disk, seen by one simulated process.
#[derive(Debug)]
pub(super) struct Mount {
    disk: SimDisk,
    life: u64,
}

impl Mount {
    pub(super) fn new(disk: SimDisk, life: u64) -> Mount {
        Mount { disk, life }
    }
}

impl Disk for Mount {
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let (inode, failed_syncs) = self.disk.call().open(self.life, path, how)?;
        let (disk, errors_seen) = (self.disk.clone(), AtomicU64::new(failed_syncs));
        let may_write = how != Open::Read;
        Ok(Arc::new(Handle { disk, life: self.life, inode, may_write, errors_seen }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.call().list(self.life, dir)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.call().create_dir(self.life, dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.call().rename(self.life, from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.call().remove(self.life, path)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.call().sync_dir(self.life, dir)
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn DiskLock>> {
        let inode = self.disk.call().lock(self.life, path)?;
        Ok(Box::new(Lock { disk: self.disk.clone(), life: self.life, inode }))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.call().free_bytes(self.life)
    }

    fn is_in_place(&self) -> io::Result<bool> {
        self.disk.call().is_in_place(self.life)
    }

    fn display_path(&self) -> String {
        format!("simulated disk {}", self.disk.lock_state().seed)
    }
}

/// An open file.
#[derive(Debug)]
struct Handle {
    disk: SimDisk,
    life: u64,
    inode: Inode,
    may_write: bool,
    /// How many failed syncs of the file it knows of: each is told once to every handle.
    errors_seen: AtomicU64,
}

impl Handle {
    fn check_may_write(&self) -> io::Result<()> {
        const EBADF: i32 = 9;
        if self.may_write { Ok(()) } else { Err(io::Error::from_raw_os_error(EBADF)) }
    }
}

impl DiskFile for Handle {
    fn bytes(&self) -> io::Result<u64> {
        self.disk.call().bytes(self.life, self.inode)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.call().read(self.life, self.inode, buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.check_may_write()?;
        self.disk.call().write(self.life, self.inode, data, offset)
    }

    fn write_past_cache(
        &self,
        data: &[u8],
        offset: u64,
        durable: bool,
    ) -> io::Result<Option<usize>> {
        if !self.is_durable_past_cache() || !is_in_blocks(data.len() as u64 | offset) {
            return Ok(None);
        }
        let mut state = self.disk.call();
        match durable {
            true => state.write_through(self.life, self.inode, data, offset).map(Some),
            false => state.write(self.life, self.inode, data, offset).map(Some),
        }
    }

    fn is_durable_past_cache(&self) -> bool {
        self.may_write && self.disk.lock_state().takes_past_cache
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.check_may_write()?;
        self.disk.call().set_bytes(self.life, self.inode, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.call();
        let mut seen = self.errors_seen.load(Ordering::Relaxed);
        let answer = state.sync(self.life, self.inode, &mut seen);
        self.errors_seen.store(seen, Ordering::Relaxed);
        answer
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.disk.call().drop_cache(self.life, self.inode)
    }
}

/// The address of the bytes does not count here: tests write what they have.
fn is_in_blocks(bytes: u64) -> bool {
    bytes.is_multiple_of(4096)
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.disk.lock_state().close(self.life, self.inode);
    }
}

/// A held lock.
#[derive(Debug)]
struct Lock {
    disk: SimDisk,
    life: u64,
    inode: Inode,
}

impl DiskLock for Lock {
    fn write_content(&self, content: &[u8]) -> io::Result<()> {
        self.disk.call().write_content(self.life, self.inode, content)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.disk.lock_state().unlock(self.life, self.inode);
    }
}
