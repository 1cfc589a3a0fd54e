//! What each call of [`Disk`](crate::disk::Disk) does to the simulated disk.
//!
//! Always true: a call that fails has changed nothing (but see [`Fault::EioLate`](super::Fault)).

use std::io;

use super::faults::Call;
use super::file::File;
use super::image::SECTOR_BYTES;
use super::names::{Entry, Inode, Side};
use super::state::{State, power_is_off};
use crate::disk::Open;

impl State {
    /// Answers also how many syncs of the file have failed: those are none of the new handle's.
    pub(super) fn open(&mut self, life: u64, path: &str, how: Open) -> io::Result<(Inode, u64)> {
        let call = match how {
            Open::Read => Call::Ask,
            Open::Write => Call::OpenToWrite,
            Open::CreateNew => Call::Change,
        };
        let inode = self.call(life, call, |state| state.find_or_create(path, how))?;
        let Some(node) = self.files.get_mut(&inode) else {
            return Err(power_is_off());
        };
        node.open += 1;
        Ok((inode, node.failed_syncs))
    }

    fn find_or_create(&mut self, path: &str, how: Open) -> io::Result<Inode> {
        if how == Open::CreateNew {
            let entry = self.free_entry(path)?;
            return Ok(self.create(entry));
        }
        let inode = self.names.find(path, Side::Current)?;
        if self.names.is_directory(inode) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(inode)
    }

    fn free_entry(&self, path: &str) -> io::Result<Entry> {
        let entry = self.names.find_entry(path, Side::Current)?;
        match self.names.get(&entry) {
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
            None => Ok(entry),
        }
    }

    fn create(&mut self, entry: Entry) -> Inode {
        let inode = self.add_file(File::default());
        self.names.change(vec![(entry, Some(inode))], &mut self.order_next);
        inode
    }

    pub(super) fn list(&mut self, life: u64, dir: &str) -> io::Result<Vec<String>> {
        self.call(life, Call::Ask, |state| {
            let dir = state.names.find(dir, Side::Current)?;
            Ok(state.names.names(dir, Side::Current)?.keys().cloned().collect())
        })
    }

    pub(super) fn create_dir(&mut self, life: u64, dir: &str) -> io::Result<()> {
        self.call(life, Call::Change, |state| {
            let entry = state.free_entry(dir)?;
            let inode = state.inode_next;
            state.inode_next += 1;
            state.names.add_directory(inode);
            state.names.change(vec![(entry, Some(inode))], &mut state.order_next);
            Ok(())
        })
    }

    pub(super) fn rename(&mut self, life: u64, from: &str, to: &str) -> io::Result<()> {
        self.call(life, Call::Change, |state| {
            let old = state.names.find_entry(from, Side::Current)?;
            let new = state.names.find_entry(to, Side::Current)?;
            let inode = state.names.get(&old).ok_or(io::ErrorKind::NotFound)?;
            let is_directory = state.names.is_directory(inode);
            if is_directory && is_inside(to, from) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            if is_inside(from, to) {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            if let Some(replaced) = state.names.get(&new) {
                if replaced == inode {
                    return Ok(());
                }
                match (is_directory, state.names.is_directory(replaced)) {
                    (false, false) => {}
                    (true, false) => return Err(io::ErrorKind::NotADirectory.into()),
                    (false, true) => return Err(io::ErrorKind::IsADirectory.into()),
                    (true, true) => {
                        if !state.names.names(replaced, Side::Current)?.is_empty() {
                            return Err(io::ErrorKind::DirectoryNotEmpty.into());
                        }
                    }
                }
            }
            state.names.change(vec![(old, None), (new, Some(inode))], &mut state.order_next);
            Ok(())
        })
    }

    pub(super) fn remove(&mut self, life: u64, path: &str) -> io::Result<()> {
        self.call(life, Call::Change, |state| {
            let entry = state.names.find_entry(path, Side::Current)?;
            let inode = state.names.get(&entry).ok_or(io::ErrorKind::NotFound)?;
            if state.names.is_directory(inode) {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            state.names.change(vec![(entry, None)], &mut state.order_next);
            Ok(())
        })
    }

    pub(super) fn sync_dir(&mut self, life: u64, dir: &str) -> io::Result<()> {
        self.call(life, Call::Change, |state| {
            let dir = state.names.find(dir, Side::Current)?;
            state.names.names(dir, Side::Current)?;
            state.names.sync(dir);
            state.names.journal();
            state.forget_unreferenced();
            Ok(())
        })
    }

    pub(super) fn lock(&mut self, life: u64, path: &str) -> io::Result<Inode> {
        let inode = self.call(life, Call::Change, |state| {
            let inode = match state.find_or_create(path, Open::Write) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    state.find_or_create(path, Open::CreateNew)?
                }
                found => found?,
            };
            if state.locked.contains(&inode) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(inode)
        })?;
        self.locked.insert(inode);
        if let Some(node) = self.files.get_mut(&inode) {
            node.open += 1;
        }
        Ok(inode)
    }

    pub(super) fn unlock(&mut self, life: u64, inode: Inode) {
        if life == self.life {
            self.locked.remove(&inode);
        }
        self.close(life, inode);
    }

    pub(super) fn free_bytes(&mut self, life: u64) -> io::Result<u64> {
        self.call(life, Call::Ask, |state| Ok(state.free_sectors() * SECTOR_BYTES as u64))
    }

    pub(super) fn is_in_place(&mut self, life: u64) -> io::Result<bool> {
        self.call(life, Call::Ask, |state| Ok(state.is_in_place))
    }
}

fn is_inside(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}
