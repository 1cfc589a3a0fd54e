//! Where the views live on disk, and where doubtful ones go.
//!
//! ```text
//! derived/views/<generation>/       sled's files
//! derived/views.aside-<n>/          set aside: kept for a look, never opened or removed again
//! ```
//!
//! Always true: nothing is ever removed; the live generation is the one with the highest number; a
//! generation number is not used twice by one opening of the ledger. The last is why there are
//! generations at all: a sled that hangs in open was left behind, and should it wake up it writes by path
//! (it even makes the directory); that path must not be the one of its successor.
//!
//! A sled that hung when the ledger was closed is left behind as well, and the next opening finds its
//! generation. sled's own lock stands between the two: it is taken before anything is read or written but
//! sled's settings, which are the same for both.
//! - The one left behind has it: the next waits ([`Deadlines::lock`](super::Deadlines)), then sets the
//!   directory aside, with the files that the other has open, and uses the next number.
//! - The next has it: the one left behind fails, should it ever get on.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, join};

/// Directory of everything derived.
const DERIVED_DIR: &str = "derived";
/// Directory of the views inside it.
const VIEWS_NAME: &str = "views";
const ASIDE_PREFIX: &str = "views.aside-";

/// The witness's name in an error about lost data.
pub(super) fn witness() -> String {
    format!("the watermark of {}", views_dir())
}

fn views_dir() -> String {
    join(DERIVED_DIR, VIEWS_NAME)
}

fn aside_name(number: u64) -> String {
    format!("{ASIDE_PREFIX}{number}")
}

/// The number in the name of a directory that was set aside; `None` when it is not one that
/// [`aside_name`] makes.
fn aside_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix(ASIDE_PREFIX)?.parse().ok()?;
    (aside_name(number) == name).then_some(number)
}

fn generation_name(number: u64) -> String {
    number.to_string()
}

fn generation_number(name: &str) -> Option<u64> {
    let number = name.parse().ok()?;
    (generation_name(number) == name).then_some(number)
}

pub(super) struct Home {
    disk: Arc<dyn Disk>,
    /// The ledger's directory, by its real path: sled does its own I/O.
    ledger_dir: PathBuf,
    /// The highest generation that this process has used.
    used: u64,
}

impl Home {
    pub(super) fn new(disk: Arc<dyn Disk>, ledger_dir: &Path) -> Home {
        Home { disk, ledger_dir: ledger_dir.to_owned(), used: 0 }
    }

    /// Where sled is to open its store: what is there, or a fresh place.
    pub(super) fn store_path(&mut self) -> io::Result<PathBuf> {
        self.make_dir(DERIVED_DIR)?;
        self.make_dir(&views_dir())?;
        let names = self.disk.list(&views_dir())?;
        let found = names.iter().filter_map(|name| generation_number(name)).max();
        self.used = match found {
            Some(number) if number > self.used => number,
            _ => self.used.saturating_add(1),
        };
        Ok(self.ledger_dir.join(DERIVED_DIR).join(VIEWS_NAME).join(generation_name(self.used)))
    }

    /// Renames what is there to a name that no store is opened at.
    pub(super) fn set_aside(&self) -> io::Result<()> {
        let last = self.asides()?.max().unwrap_or(0);
        let aside = join(DERIVED_DIR, &aside_name(last.saturating_add(1)));
        match self.disk.rename(&views_dir(), &aside) {
            // Somebody was faster, which is allowed under `derived/`.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.disk.sync_dir(DERIVED_DIR),
        }
    }

    /// How many were set aside and are still there.
    pub(super) fn set_aside_count(&self) -> u64 {
        // What can't be listed is found again, and reported, by what is done next.
        self.asides().map_or(0, |asides| asides.count() as u64)
    }

    fn asides(&self) -> io::Result<impl Iterator<Item = u64>> {
        let names = self.disk.list(DERIVED_DIR)?;
        Ok(names.into_iter().filter_map(|name| aside_number(&name)))
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        match self.disk.create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_numbers_and_others_do_not() {
        for number in [0, 1, 9, 10, u64::MAX] {
            assert_eq!(aside_number(&aside_name(number)), Some(number));
            assert_eq!(generation_number(&generation_name(number)), Some(number));
        }
        for name in ["views.aside-", "views.aside-01", "views.aside-+1", "views", "aside-1"] {
            assert_eq!(aside_number(name), None, "{name}");
        }
        for name in ["", "01", "+1", "db", "1.tmp"] {
            assert_eq!(generation_number(name), None, "{name}");
        }
    }
}
