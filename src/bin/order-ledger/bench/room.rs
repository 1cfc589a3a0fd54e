//! The directory of a bench: made inside the one that the user named, and removed when the bench is over.
//!
//! Always true: nothing is removed but directories that a bench made, which a marker inside says, and of
//! those only what no living bench holds: the marker is locked while it runs, so one that was killed leaves
//! a directory that the next bench may remove.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::errors::Failure;

const PREFIX: &str = "bench-";
const MARKER: &str = "ORDER-LEDGER-BENCH";

pub(crate) struct Room {
    path: PathBuf,
    /// The user's directory, when it was missing.
    made: Option<PathBuf>,
    removed: bool,
    /// Unlocked when the process ends, however it does.
    _lock: File,
}

impl Room {
    pub(crate) fn new(dir: &Path) -> Result<Room, Failure> {
        if dir.join("LEDGER").exists() || dir.join("wal").exists() {
            return Err(Failure::Usage {
                what: format!("{} is a ledger", dir.display()),
                advice: "name the directory that holds it: the same disk, and no ledger is touched"
                    .into(),
            });
        }
        let failed = |error| Failure::io(format!("making a directory in {}", dir.display()), error);
        let made = match dir.exists() {
            true => None,
            false => {
                fs::create_dir(dir).map_err(failed)?;
                Some(dir.to_owned())
            }
        };
        remove_left_behind(dir)
            .map_err(|error| Failure::io(format!("looking into {}", dir.display()), error))?;
        let path = dir.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&path).map_err(failed)?;
        let lock = File::create(path.join(MARKER)).map_err(failed)?;
        lock.lock().map_err(failed)?;
        Ok(Room { path, made, removed: false, _lock: lock })
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Also done when it is dropped, where nobody hears that it failed.
    pub(crate) fn remove(mut self) -> Result<(), Failure> {
        self.remove_now()
            .map_err(|error| Failure::io(format!("removing {}", self.path.display()), error))
    }

    fn remove_now(&mut self) -> io::Result<()> {
        if self.removed {
            return Ok(());
        }
        self.removed = true;
        fs::remove_dir_all(&self.path)?;
        match &self.made {
            Some(made) => fs::remove_dir(made),
            None => Ok(()),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // After a failure: that one is told, and what is left here goes with the next bench.
        drop(self.remove_now());
    }
}

/// Removes what killed benches left.
fn remove_left_behind(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.file_type()?.is_dir()
            && entry.path().join(MARKER).is_file();
        if !is_ours {
            continue;
        }
        match File::open(entry.path().join(MARKER))?.try_lock() {
            Ok(()) => fs::remove_dir_all(entry.path())?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_bench_keeps_its_directory_and_a_killed_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let mine = dir.path().join("bench-1");
        let killed = dir.path().join("bench-2");
        fs::create_dir(&mine).unwrap();
        fs::create_dir(&killed).unwrap();
        File::create(killed.join(MARKER)).unwrap();
        let living = Room::new(dir.path()).unwrap();
        assert!(!killed.exists(), "nobody holds it");
        remove_left_behind(dir.path()).unwrap();
        assert!(living.path.exists(), "its bench runs");
        assert!(mine.exists(), "no bench made it");
        let path = living.path.clone();
        drop(living);
        assert!(!path.exists() && dir.path().exists());
    }
}
