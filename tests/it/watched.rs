//! A disk with somebody who is told of every call: before it is made, and after it, with whether it may
//! have changed anything.
//!
//! Cheaper than `rig::Hooked`, which names paths and places: for tests that make millions of calls.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use order_ledger::disk::{Disk, DiskFile, DiskLock, Open};

/// Who is told.
pub(crate) trait Watch: Send + Sync + Debug {
    /// A call is about to be made.
    fn before(&self) {}

    /// A call was made.
    fn after(&self, _may_have_changed: bool) {}

    /// Whether the process is dead: then no call is made any more.
    fn is_dead(&self) -> bool {
        false
    }
}

/// The disk.
#[derive(Debug)]
struct Watched {
    disk: Arc<dyn Disk>,
    watch: Arc<dyn Watch>,
}

/// `disk`, with `watch` told of every call.
pub(crate) fn watched(disk: Arc<dyn Disk>, watch: Arc<dyn Watch>) -> Arc<dyn Disk> {
    Arc::new(Watched { disk, watch })
}

fn tell<T>(
    watch: &dyn Watch,
    may_change: bool,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    if watch.is_dead() {
        return Err(io::Error::other("the process is dead"));
    }
    watch.before();
    let answer = call();
    watch.after(may_change);
    answer
}

impl Disk for Watched {
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let opened = tell(&*self.watch, how == Open::CreateNew, || self.disk.open(path, how));
        opened.map(|file| -> Arc<dyn DiskFile> {
            Arc::new(WatchedFile { file, watch: Arc::clone(&self.watch) })
        })
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        tell(&*self.watch, false, || self.disk.list(dir))
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        tell(&*self.watch, true, || self.disk.create_dir(dir))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        tell(&*self.watch, true, || self.disk.rename(from, to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        tell(&*self.watch, true, || self.disk.remove(path))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        tell(&*self.watch, true, || self.disk.sync_dir(dir))
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn DiskLock>> {
        let lock = tell(&*self.watch, true, || self.disk.lock(path))?;
        Ok(Box::new(WatchedLock { lock, watch: Arc::clone(&self.watch) }))
    }

    // The ledger asks this under a lock that those who are told may want as well.
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn is_in_place(&self) -> io::Result<bool> {
        tell(&*self.watch, false, || self.disk.is_in_place())
    }

    fn display_path(&self) -> String {
        self.disk.display_path()
    }
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn DiskFile>,
    watch: Arc<dyn Watch>,
}

impl DiskFile for WatchedFile {
    fn bytes(&self) -> io::Result<u64> {
        tell(&*self.watch, false, || self.file.bytes())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        tell(&*self.watch, false, || self.file.read_at(buffer, offset))
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        tell(&*self.watch, true, || self.file.write_at(data, offset))
    }

    fn write_past_cache(
        &self,
        data: &[u8],
        offset: u64,
        durable: bool,
    ) -> io::Result<Option<usize>> {
        if !self.file.is_durable_past_cache() {
            return Ok(None);
        }
        tell(&*self.watch, true, || self.file.write_past_cache(data, offset, durable))
    }

    fn is_durable_past_cache(&self) -> bool {
        self.file.is_durable_past_cache()
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        tell(&*self.watch, true, || self.file.set_bytes(bytes))
    }

    fn sync(&self) -> io::Result<()> {
        tell(&*self.watch, true, || self.file.sync())
    }

    fn drop_cache(&self) -> io::Result<()> {
        tell(&*self.watch, true, || self.file.drop_cache())
    }
}

#[derive(Debug)]
struct WatchedLock {
    lock: Box<dyn DiskLock>,
    watch: Arc<dyn Watch>,
}

impl DiskLock for WatchedLock {
    fn write_content(&self, content: &[u8]) -> io::Result<()> {
        tell(&*self.watch, true, || self.lock.write_content(content))
    }
}
