//! Files that are read by their path, through a few descriptors that are kept open.
//!
//! A log has as many segments as it has history, and a process has a thousand descriptors, which are not
//! ours alone. So a file that is only read is named by its path, and opened when it is read.
//!
//! Always true: at most [`KEPT_MAX`] descriptors are kept, fewer once the process ran out of them, and each
//! call that is under way holds one; the lock guards the list alone, and no file is opened, read or closed
//! under it. Knows nothing of segments.

use std::io;
use std::sync::Arc;

use super::{Disk, DiskFile, Open, is_out_of_descriptors};
use crate::sync::Mutex;

/// Descriptors that are kept. Too few and a read of an old order opens a file each time; too many and
/// the program around us, which may have no more than 256 (macOS) or 1024 (Linux), goes without.
const KEPT_MAX: usize = 32;
/// As many are kept however short of them the process is.
const KEPT_LEAST: usize = 4;

/// The files of one directory.
#[derive(Debug)]
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// Path and file, the one that was used last at the end.
    files: Vec<(String, Arc<dyn DiskFile>)>,
    files_max: usize,
}

impl Files {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Arc<Files> {
        let kept = Kept { files: Vec::new(), files_max: KEPT_MAX };
        Arc::new(Files { disk, kept: Mutex::new(kept) })
    }

    /// A file that exists, to read. Nothing is opened now; what open(2) has to say, the first call says.
    ///
    /// The file must not be renamed, nor another put in its place.
    pub(crate) fn file(self: &Arc<Files>, path: String) -> Arc<dyn DiskFile> {
        Arc::new(ByPath { files: Arc::clone(self), path })
    }

    /// Opens a file for the caller to hold.
    pub(crate) fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        self.relieved(|| self.disk.open(path, how))
    }

    /// Makes a call that needs a descriptor. When there is none left, those that are kept are given
    /// back, no more than half as many are kept from now on, and the call is made once more: it had not
    /// begun.
    pub(crate) fn relieved<T>(&self, mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        match call() {
            Err(error) if is_out_of_descriptors(&error) => {
                let given_back = {
                    let mut kept = self.kept.lock();
                    kept.files_max = (kept.files_max / 2).max(KEPT_LEAST);
                    std::mem::take(&mut kept.files)
                };
                drop(given_back);
                call()
            }
            result => result,
        }
    }

    /// The descriptor of a path: the one that is kept, or a new one.
    fn descriptor(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.kept(path) {
            return Ok(file);
        }
        let file = self.open(path, Open::Read)?;
        // Another thread may have opened it meanwhile. Then there are two for a while: both are right.
        let surplus = {
            let mut kept = self.kept.lock();
            kept.files.push((path.to_owned(), Arc::clone(&file)));
            let surplus = kept.files.len().saturating_sub(kept.files_max);
            kept.files.drain(..surplus).collect::<Vec<_>>()
        };
        drop(surplus);
        Ok(file)
    }

    fn kept(&self, path: &str) -> Option<Arc<dyn DiskFile>> {
        let mut kept = self.kept.lock();
        let index = kept.files.iter().rposition(|(other, _)| other == path)?;
        if let Some(used) = kept.files.get_mut(index..) {
            used.rotate_left(1);
        }
        kept.files.last().map(|(_, file)| Arc::clone(file))
    }
}

#[derive(Debug)]
struct ByPath {
    files: Arc<Files>,
    path: String,
}

impl DiskFile for ByPath {
    fn bytes(&self) -> io::Result<u64> {
        self.files.descriptor(&self.path)?.bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.files.descriptor(&self.path)?.read_at(buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.files.descriptor(&self.path)?.write_at(data, offset)
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.files.descriptor(&self.path)?.set_bytes(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.files.descriptor(&self.path)?.sync()
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.files.descriptor(&self.path)?.drop_cache()
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::disk::os::OsDisk;
    use crate::disk::write_all_at;

    #[test]
    fn what_was_used_last_stays_open_and_no_more_than_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::open_dir(dir.path()).unwrap());
        let files = Files::new(Arc::clone(&disk));
        let count = u8::try_from(KEPT_MAX).unwrap() + 5;
        for number in 0..count {
            let file = disk.open(&number.to_string(), Open::CreateNew).unwrap();
            write_all_at(&*file, &[number], 0).unwrap();
        }
        let byte = |number: u8| {
            let mut byte = [0xff];
            files.file(number.to_string()).read_at(&mut byte, 0).map(|_| byte[0])
        };
        for number in 1..count {
            assert_eq!((byte(number).unwrap(), byte(0).unwrap()), (number, 0));
            assert!(files.kept.lock().files.len() <= KEPT_MAX);
        }
        // The one that was always used is still the one that was opened first.
        disk.remove("0").unwrap();
        assert_eq!(byte(0).unwrap(), 0);
        let oldest = files.kept.lock().files.first().unwrap().0.clone();
        assert_eq!(oldest, "6");
        // Whoever finds none left gets those that were kept, and fewer are kept from then on.
        let mut calls = 0;
        let kept = files.relieved(|| {
            calls += 1;
            match calls {
                1 => Err(Errno::MFILE.into()),
                _ => Ok(files.kept.lock().files.len()),
            }
        });
        assert_eq!(kept.unwrap(), 0);
        for number in 1..count {
            assert_eq!(byte(number).unwrap(), number);
        }
        assert_eq!(files.kept.lock().files.len(), KEPT_MAX / 2);
        // What has to be opened says so when it is not there.
        disk.remove("1").unwrap();
        assert_eq!(byte(1).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
