//! A disk that looks on: what the log does to its files, held against the rules of writing one.
//!
//! It stands between the ledger and the disk, changes nothing, and knows of the log only its file names.
//! A broken rule is a panic in the very call that breaks it:
//! - after a failed sync of a file nothing is written to it, and it is not synced again (rule 11). Not
//!   asked of full segments: their sealing, which is derived, is tried again when the disk was full, and
//!   writes all of it again before it syncs.
//!
//! The rest is asked for between the calls of the ledger: what the segment that groups go to has not
//! made durable ([`Watch::doubt`]), whether anything failed at all, and how often the log was written.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use order_ledger::disk::{Disk, DiskFile, DiskLock, Open};

/// The disk, for one opening of a ledger: opening again begins anew, as a new process would.
#[derive(Clone, Debug)]
pub struct Watch {
    disk: Arc<dyn Disk>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default, Debug)]
struct Seen {
    files: Vec<Watched>,
    names: BTreeMap<String, usize>,
    failures: u64,
    log_writes: u64,
}

#[derive(Default, Debug)]
struct Watched {
    /// Changed since the last sync that went well.
    dirty: bool,
    /// A write or sync that failed.
    failed: Option<&'static str>,
    sync_failed: bool,
}

/// A signal broke the call off before it did anything: that is no failure.
fn is_failure<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted)
}

impl Watch {
    pub fn new(disk: Arc<dyn Disk>) -> Watch {
        Watch { disk, seen: Arc::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why no order in the segment that groups go to could be acknowledged now.
    pub fn doubt(&self) -> Option<String> {
        let seen = self.seen();
        // Zero-padded numbers: the last name is the last segment.
        let (name, id) = seen.names.iter().rfind(|(name, _)| name.ends_with(".seg"))?;
        let file = &seen.files[*id];
        match (file.failed, file.dirty) {
            (Some(what), _) => Some(format!("{name}: a failed {what}")),
            (None, true) => Some(format!("{name}: bytes that were not synced")),
            (None, false) => None,
        }
    }

    /// How many calls failed.
    pub fn failures(&self) -> u64 {
        self.seen().failures
    }

    /// How many calls have written to a segment, or synced one.
    pub fn log_writes(&self) -> u64 {
        self.seen().log_writes
    }

    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        self.seen().failures += u64::from(is_failure(&result));
        result
    }
}

impl Disk for Watch {
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.note(self.disk.open(path, how))?;
        let mut seen = self.seen();
        let known = seen.names.get(path).copied().filter(|_| how != Open::CreateNew);
        let id = known.unwrap_or_else(|| {
            let id = seen.files.len();
            seen.files.push(Watched::default());
            seen.names.insert(path.to_owned(), id);
            id
        });
        drop(seen);
        Ok(Arc::new(WatchedFile { file, id, watch: self.clone() }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.note(self.disk.list(dir))
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        // There already is the usual answer.
        let result = self.disk.create_dir(dir);
        match &result {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => result,
            _ => self.note(result),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let result = self.note(self.disk.rename(from, to));
        if result.is_ok() {
            let mut seen = self.seen();
            if let Some(id) = seen.names.remove(from) {
                seen.names.insert(to.to_owned(), id);
            }
        }
        result
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let result = self.disk.remove(path);
        if result.is_ok() {
            self.seen().names.remove(path);
        }
        match &result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => result,
            _ => self.note(result),
        }
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.note(self.disk.sync_dir(dir))
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn DiskLock>> {
        self.note(self.disk.lock(path))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.note(self.disk.free_bytes())
    }

    fn is_in_place(&self) -> io::Result<bool> {
        self.note(self.disk.is_in_place())
    }

    fn display_path(&self) -> String {
        self.disk.display_path()
    }
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn DiskFile>,
    id: usize,
    watch: Watch,
}

impl WatchedFile {
    /// A call that changes the file, or makes its changes durable, before it is made.
    fn begin(&self, what: &str) {
        let seen = &mut *self.watch.seen();
        let mut segments = seen.names.iter().filter(|(name, _)| name.ends_with(".seg")).rev();
        let is_last = segments.next().is_some_and(|(_, id)| *id == self.id);
        let is_full_one = segments.any(|(_, id)| *id == self.id);
        let failed = seen.files[self.id].sync_failed && !is_full_one;
        assert!(!failed, "{what} of a file whose sync has failed");
        seen.log_writes += u64::from(is_last || is_full_one);
    }

    fn changed<T>(&self, what: &'static str, result: io::Result<T>) -> io::Result<T> {
        if is_failure(&result) {
            let mut seen = self.watch.seen();
            seen.failures += 1;
            seen.files[self.id].failed = Some(what);
        }
        result
    }
}

impl DiskFile for WatchedFile {
    fn bytes(&self) -> io::Result<u64> {
        self.watch.note(self.file.bytes())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.watch.note(self.file.read_at(buffer, offset))
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.begin("a write");
        self.watch.seen().files[self.id].dirty = true;
        self.changed("write", self.file.write_at(data, offset))
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.begin("a change of the size");
        self.watch.seen().files[self.id].dirty = true;
        self.changed("change of the size", self.file.set_bytes(bytes))
    }

    fn sync(&self) -> io::Result<()> {
        self.begin("a sync");
        let result = self.changed("sync", self.file.sync());
        let mut seen = self.watch.seen();
        let file = &mut seen.files[self.id];
        file.sync_failed = is_failure(&result);
        file.dirty &= result.is_err();
        drop(seen);
        result
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.file.drop_cache()
    }
}
