//! A disk in memory that does as little as can be: what is counted is the ledger's work, and not a disk's.
//!
//! The simulated disk of the ledger keeps what a power cut may take, sector by sector: a lone submit takes twice as
//! many instructions on it (23,701 and 11,116, 2026-11-30). Always true: the content of a file is one row of bytes; nothing ever fails, nothing is lost,
//! locks are given to everybody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::Arc;

use order_ledger::disk::{Disk, DiskFile, DiskLock, Open};
use parking_lot::Mutex;

/// Bytes that are always free, as far as this disk says.
const FREE_BYTES: u64 = 1 << 40;

/// One ledger directory. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    files: BTreeMap<String, Arc<Content>>,
    dirs: BTreeSet<String>,
}

#[derive(Default)]
struct Content {
    bytes: Mutex<Vec<u8>>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.bytes.lock().len())
    }
}

#[derive(Debug)]
struct File {
    content: Arc<Content>,
}

#[derive(Debug)]
struct Lock;

impl MemoryDisk {
    /// The disk as a process that is killed now leaves it.
    pub(crate) fn copy(&self) -> MemoryDisk {
        let mut state = self.state.lock().clone();
        for content in state.files.values_mut() {
            let bytes = Mutex::new(content.bytes.lock().clone());
            *content = Arc::new(Content { bytes });
        }
        MemoryDisk { state: Arc::new(Mutex::new(state)) }
    }
}

impl State {
    fn has_dir(&self, dir: &str) -> bool {
        dir.is_empty() || self.dirs.contains(dir)
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for MemoryDisk {
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        if how != Open::CreateNew {
            let content = state.files.get(path).ok_or_else(missing)?;
            return Ok(Arc::new(File { content: Arc::clone(content) }));
        }
        if !state.has_dir(parent(path)) {
            return Err(missing());
        }
        if state.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = Arc::new(Content::default());
        state.files.insert(path.to_owned(), Arc::clone(&content));
        Ok(Arc::new(File { content }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        if !state.has_dir(dir) {
            return Err(missing());
        }
        let all = state.files.keys().chain(&state.dirs).filter(|path| parent(path) == dir);
        Ok(all.map(|path| path.rsplit('/').next().unwrap_or_default().to_owned()).collect())
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        match self.state.lock().dirs.insert(dir.to_owned()) {
            true => Ok(()),
            false => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let content = state.files.remove(from).ok_or_else(missing)?;
        state.files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.state.lock().files.remove(path).map(drop).ok_or_else(missing)
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn DiskLock>> {
        self.state.lock().files.entry(path.to_owned()).or_default();
        Ok(Box::new(Lock))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(FREE_BYTES)
    }

    fn is_in_place(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn display_path(&self) -> String {
        "memory".to_owned()
    }
}

impl DiskFile for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.content.bytes.lock().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.content.bytes.lock();
        let found = bytes.get(to_usize(offset)?..).unwrap_or_default();
        let read = found.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..read), found.get(..read)) {
            to.copy_from_slice(from);
        }
        Ok(read)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        let start = to_usize(offset)?;
        let end = start.checked_add(data.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut bytes = self.content.bytes.lock();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        if let Some(place) = bytes.get_mut(start..end) {
            place.copy_from_slice(data);
        }
        Ok(data.len())
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.content.bytes.lock().resize(to_usize(bytes)?, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskLock for Lock {
    fn write_content(&self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

fn to_usize(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}
