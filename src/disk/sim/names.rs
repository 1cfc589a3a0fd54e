//! The directories of a simulated disk: names that readers see, names that a power cut leaves.
//!
//! Always true: a change of names is pending until every directory it touches was synced, or until a
//! later change of one of its names became durable; replaying all of `pending` over the durable names
//! gives the current ones. A rename is one change: it is seen whole or not at all. Knows no content.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::io;

use super::crash::{CrashMode, CrashReport, Dice};

/// What a name stands for.
pub(super) type Inode = u64;

/// The ledger directory itself.
pub(super) const ROOT: Inode = 0;

/// A name in a directory.
pub(super) type Entry = (Inode, String);

#[derive(Clone, Debug, Default)]
struct Directory {
    current: BTreeMap<String, Inode>,
    durable: BTreeMap<String, Inode>,
}

/// A creation, rename or removal that a power cut may undo.
#[derive(Clone, Debug)]
struct Pending {
    /// Its place among all pending changes of the disk.
    order: u64,
    /// The directories that were not synced since.
    unsynced: BTreeSet<Inode>,
    /// Whether ext4 would have committed it, at some other file's sync.
    journaled: bool,
    /// What each name means afterwards.
    effects: Vec<(Entry, Option<Inode>)>,
}

impl Pending {
    fn touches(&self, entries: &BTreeSet<Entry>) -> bool {
        self.effects.iter().any(|(entry, _)| entries.contains(entry))
    }

    fn entries(&self) -> impl Iterator<Item = Entry> {
        self.effects.iter().map(|(entry, _)| entry.clone())
    }
}

/// Which side of the cache a path is looked up on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// What a running program sees.
    Current,
    /// What a power cut that drops everything leaves.
    Durable,
}

/// The tree of directories.
#[derive(Clone, Debug)]
pub(super) struct Names {
    directories: BTreeMap<Inode, Directory>,
    pending: Vec<Pending>,
}

impl Names {
    pub(super) fn new() -> Names {
        let root = (ROOT, Directory::default());
        Names { directories: BTreeMap::from([root]), pending: Vec::new() }
    }

    pub(super) fn is_directory(&self, inode: Inode) -> bool {
        self.directories.contains_key(&inode)
    }

    /// What `path` stands for.
    pub(super) fn find(&self, path: &str, side: Side) -> io::Result<Inode> {
        let mut inode = ROOT;
        for part in parts(path)? {
            inode = *self.names(inode, side)?.get(part).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(inode)
    }

    /// The directory that `path` is in, and its name there.
    pub(super) fn find_entry(&self, path: &str, side: Side) -> io::Result<Entry> {
        // The root has no name.
        parts(path)?.last().ok_or(io::ErrorKind::InvalidInput)?;
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = self.find(dir, side)?;
        self.names(dir, side)?;
        Ok((dir, name.to_owned()))
    }

    /// What an entry stands for now, if anything.
    pub(super) fn get(&self, (dir, name): &Entry) -> Option<Inode> {
        self.directories.get(dir)?.current.get(name).copied()
    }

    /// The names in a directory and what they stand for.
    pub(super) fn names(&self, dir: Inode, side: Side) -> io::Result<&BTreeMap<String, Inode>> {
        let directory = self.directories.get(&dir).ok_or(io::ErrorKind::NotADirectory)?;
        Ok(match side {
            Side::Current => &directory.current,
            Side::Durable => &directory.durable,
        })
    }

    /// All paths below the root that are no directories, with what they stand for.
    pub(super) fn files(&self, side: Side) -> BTreeMap<String, Inode> {
        let mut files = BTreeMap::new();
        let mut left = vec![(String::new(), ROOT)];
        while let Some((path, dir)) = left.pop() {
            for (name, inode) in self.names(dir, side).into_iter().flatten() {
                let path = crate::disk::join(&path, name);
                if self.is_directory(*inode) {
                    left.push((path, *inode));
                } else {
                    files.insert(path, *inode);
                }
            }
        }
        files
    }

    /// Everything that a name stands for or may stand for again.
    pub(super) fn referenced(&self) -> BTreeSet<Inode> {
        let named = self.directories.values().flat_map(|directory| {
            directory.current.values().chain(directory.durable.values()).copied()
        });
        let pending = self.pending.iter().flat_map(|pending| &pending.effects);
        named.chain(pending.filter_map(|(_, inode)| *inode)).collect()
    }

    /// Everything that a name stands for now.
    pub(super) fn linked(&self) -> BTreeSet<Inode> {
        self.directories
            .values()
            .flat_map(|directory| directory.current.values().copied())
            .collect()
    }

    /// Makes an empty directory that has no name yet.
    pub(super) fn add_directory(&mut self, inode: Inode) {
        self.directories.insert(inode, Directory::default());
    }

    /// Changes names, all of them in one moment.
    pub(super) fn change(&mut self, effects: Vec<(Entry, Option<Inode>)>, orders: &mut u64) {
        for ((dir, name), inode) in &effects {
            if let Some(directory) = self.directories.get_mut(dir) {
                set(&mut directory.current, name, *inode);
            }
        }
        let unsynced = effects.iter().map(|((dir, _), _)| *dir).collect();
        self.pending.push(Pending { order: *orders, unsynced, journaled: false, effects });
        *orders += 1;
    }

    /// Makes the names of one directory durable. What a rename took from or brought to another directory
    /// waits for that one.
    pub(super) fn sync(&mut self, dir: Inode) {
        for pending in &mut self.pending {
            pending.unsynced.remove(&dir);
        }
        // A durable change of a name implies the changes of that name before it.
        let durable = close_backwards(&self.pending, |pending| pending.unsynced.is_empty());
        let pending = std::mem::take(&mut self.pending);
        for (change, durable) in pending.into_iter().zip(durable) {
            if durable {
                self.make_durable(&change);
            } else {
                self.pending.push(change);
            }
        }
    }

    /// Any sync, of whatever, makes ext4 commit its journal: see [`CrashMode::Ext4Like`].
    pub(super) fn journal(&mut self) {
        for pending in &mut self.pending {
            pending.journaled = true;
        }
    }

    /// Puts a name in or out of the durable names (and the current ones) behind everybody's back.
    pub(super) fn damage(&mut self, (dir, name): &Entry, inode: Option<Inode>) {
        if let Some(directory) = self.directories.get_mut(dir) {
            set(&mut directory.durable, name, inode);
            set(&mut directory.current, name, inode);
        }
    }

    /// What is pending, but for when it was done.
    pub(super) fn hash_pending(&self, hasher: &mut impl Hasher) {
        for pending in &self.pending {
            (&pending.unsynced, pending.journaled, &pending.effects).hash(hasher);
        }
    }

    pub(super) fn orders(&self) -> impl Iterator<Item = u64> {
        self.pending.iter().map(|pending| pending.order)
    }

    /// The power cut: the dice decide which changes have reached the platter.
    pub(super) fn settle(&mut self, dice: &mut Dice, report: &mut CrashReport) {
        let pending = std::mem::take(&mut self.pending);
        let kept = match dice.mode() {
            CrashMode::Adversarial => {
                close_backwards(&pending, |pending| dice.keep(&[pending.order]) > 0)
            }
            CrashMode::Ext4Like => {
                // The journal is one sequence: what it has, it has up to some moment.
                let late: Vec<u64> = pending
                    .iter()
                    .filter(|pending| !pending.journaled)
                    .map(|pending| pending.order)
                    .collect();
                let first_lost = late.get(dice.keep(&late)).copied().unwrap_or(u64::MAX);
                pending.iter().map(|pending| pending.order < first_lost).collect()
            }
            _ => close_forwards(&pending, |pending| dice.keep(&[pending.order]) > 0),
        };
        for (change, kept) in pending.iter().zip(kept) {
            if kept {
                report.names_kept += 1;
                self.make_durable(change);
            } else {
                report.names_dropped += 1;
            }
        }
        for directory in self.directories.values_mut() {
            directory.current = directory.durable.clone();
        }
    }

    /// Forgets directories that nothing leads to; answers whether there were any.
    pub(super) fn forget_all_but(&mut self, referenced: &BTreeSet<Inode>) -> bool {
        let before = self.directories.len();
        self.directories.retain(|inode, _| *inode == ROOT || referenced.contains(inode));
        self.directories.len() < before
    }

    fn make_durable(&mut self, change: &Pending) {
        for ((dir, name), inode) in &change.effects {
            if let Some(directory) = self.directories.get_mut(dir) {
                set(&mut directory.durable, name, *inode);
            }
        }
    }
}

/// Which changes are kept, when those that `keep` wants force the earlier ones of the same names.
fn close_backwards(pending: &[Pending], mut keep: impl FnMut(&Pending) -> bool) -> Vec<bool> {
    let wanted: Vec<bool> = pending.iter().map(&mut keep).collect();
    let mut forced = BTreeSet::new();
    let mut kept: Vec<bool> = pending
        .iter()
        .zip(wanted)
        .rev()
        .map(|(change, wanted)| {
            let kept = wanted || change.touches(&forced);
            if kept {
                forced.extend(change.entries());
            }
            kept
        })
        .collect();
    kept.reverse();
    kept
}

/// Which changes are kept, when each one that is lost takes the later ones of the same names with it.
fn close_forwards(pending: &[Pending], mut keep: impl FnMut(&Pending) -> bool) -> Vec<bool> {
    let mut lost = BTreeSet::new();
    pending
        .iter()
        .map(|change| {
            // Asked in any case, so that the units of a `Subset` count evenly.
            let wanted = keep(change);
            let kept = wanted && !change.touches(&lost);
            if !kept {
                lost.extend(change.entries());
            }
            kept
        })
        .collect()
}

fn set(names: &mut BTreeMap<String, Inode>, name: &str, inode: Option<Inode>) {
    match inode {
        Some(inode) => names.insert(name.to_owned(), inode),
        None => names.remove(name),
    };
}

/// The parts of a path. Stricter than a kernel, so that a path that only happens to work is noticed.
fn parts(path: &str) -> io::Result<Vec<&str>> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let parts: Vec<&str> = path.split('/').collect();
    let is_sound = |part: &str| !matches!(part, "" | "." | "..") && part.is_ascii();
    if parts.iter().all(|part| is_sound(part)) {
        Ok(parts)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}
