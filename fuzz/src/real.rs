//! Real directories, in memory where the machine has such a place.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Files by their paths below a directory; `None` is a directory.
pub type Files = BTreeMap<PathBuf, Option<Vec<u8>>>;

const PREFIX: &str = "order-ledger-fuzz-";

/// The directory of this process; `None` when no place takes one.
pub fn root() -> Option<&'static Path> {
    static ROOT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let make = || {
        let places = [PathBuf::from("/dev/shm"), std::env::temp_dir()];
        places.into_iter().find_map(|place| {
            remove_old(&place);
            let root = place.join(format!("{PREFIX}{}", std::process::id()));
            fs::create_dir_all(&root).ok().map(|()| root)
        })
    };
    ROOT.get_or_init(make).as_deref()
}

/// Removes what processes left that are no more: libFuzzer ends without a word.
fn remove_old(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let gone = |process: &str| {
            Path::new("/proc/self").exists() && !Path::new("/proc").join(process).exists()
        };
        if process.is_some_and(gone) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

/// A new directory, with a path of its own: a sled that was left behind writes by path when it wakes up.
#[derive(Debug)]
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Dir {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let root = root().expect("asked for when the process began");
        let dir = root.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&dir).expect("it is new");
        Dir(dir)
    }
}

impl Default for Dir {
    fn default() -> Dir {
        Dir::new()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // One that was left behind may be making files in it just now.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Everything below a directory; nothing when it is none.
pub fn read(dir: &Path) -> Files {
    let mut found = Files::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            let below = path.strip_prefix(dir).expect("it was listed there").to_owned();
            if path.is_dir() {
                open.push(path);
                found.insert(below, None);
            } else {
                found.insert(below, Some(fs::read(&path).expect("it was listed")));
            }
        }
    }
    found
}

#[expect(
    clippy::disallowed_methods,
    reason = "these are files that are put in the place of others"
)]
pub fn write(dir: &Path, files: &Files) {
    fs::create_dir_all(dir).expect("a directory");
    for (path, bytes) in files {
        let path = dir.join(path);
        match bytes {
            None => fs::create_dir_all(path).expect("a directory"),
            Some(bytes) => {
                fs::create_dir_all(path.parent().expect("it is below one")).expect("a directory");
                fs::write(path, bytes).expect("room");
            }
        }
    }
}

/// Removes a directory with all that is in it, if it is there.
pub fn remove(dir: &Path) {
    drop(fs::remove_dir_all(dir));
}

/// Waits until sled has let go of its file: its late tasks hold it for a moment.
pub fn wait_for_lock(path: &Path) {
    for _ in 0..2_000 {
        let free = fs::File::open(path).is_ok_and(|file| file.try_lock().is_ok());
        if free {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("sled does not let go of {}", path.display());
}
