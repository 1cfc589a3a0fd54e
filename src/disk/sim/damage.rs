//! Rot: changing what is durable behind everybody's back, and looking at it.
//!
//! Always true: paths here are those that a power cut leaves, so a file whose name was not synced is not
//! there yet; damage is visible to the next read (nothing of it hides in the cache), except where a pending
//! write covers it.

use std::hash::Hash;
use std::io;
use std::ops::Range;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::device::SimDisk;
use super::file::{FILE_BYTES_MAX, File};
use super::image::{Image, Patch};
use super::names::Side;
use super::state::{Node, State};

impl SimDisk {
    /// The durable content of a file.
    ///
    /// # Errors
    /// `NotFound` when no file with this name is durable.
    pub fn read_durable(&self, path: &str) -> io::Result<Vec<u8>> {
        with_node(&mut self.lock_state(), path, |node| Ok(node.file.durable().to_vec()))
    }

    /// All durable files, by path, with their durable sizes in bytes; sorted.
    #[must_use]
    pub fn files(&self) -> Vec<(String, u64)> {
        let state = self.lock_state();
        let sized = state.names.files(Side::Durable).into_iter().map(|(path, inode)| {
            let bytes = state.files.get(&inode).map_or(0, |node| node.file.durable().bytes());
            (path, bytes)
        });
        sized.collect()
    }

    /// A number for all durable files whose path begins with `under`: names, sizes and bytes. Equal files
    /// have equal numbers, in one run of a program; others do not (SipHash with 128 bits).
    #[must_use]
    pub fn digest(&self, under: &str) -> u128 {
        let mut hasher = SipHasher13::new();
        hash_durable(&self.lock_state(), under, &mut hasher);
        hasher.finish128().into()
    }

    /// As [`SimDisk::digest`], for the durable files and everything that is pending: disks with equal
    /// numbers leave the same after a power cut, and show the same after a kill.
    #[must_use]
    pub fn digest_with_pending(&self) -> u128 {
        let state = self.lock_state();
        let mut hasher = SipHasher13::new();
        hash_durable(&state, "", &mut hasher);
        for (inode, node) in &state.files {
            inode.hash(&mut hasher);
            node.file.hash_pending(&mut hasher);
        }
        state.names.hash_pending(&mut hasher);
        hasher.finish128().into()
    }

    /// Flips one durable bit: bit `bit % 8` (0 is the lowest) of byte `bit / 8`.
    ///
    /// # Errors
    /// `NotFound` when no file with this name is durable, `UnexpectedEof` when it has no such bit.
    pub fn flip_bit(&self, path: &str, bit: u64) -> io::Result<()> {
        damage(&mut self.lock_state(), path, |image| {
            let mut byte = [0];
            if image.read(&mut byte, bit / 8) == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            patch(image, bit / 8, &byte.map(|byte| byte ^ (1 << (bit % 8))));
            Ok(())
        })
    }

    /// Overwrites durable bytes; makes the file longer where needed.
    ///
    /// # Errors
    /// `NotFound` when no file with this name is durable, `FileTooLarge` past 64 GiB.
    pub fn overwrite(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        damage(&mut self.lock_state(), path, |image| {
            let end = offset.saturating_add(bytes.len() as u64);
            if end > FILE_BYTES_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            patch(image, offset, bytes);
            image.set_bytes(image.bytes().max(end));
            Ok(())
        })
    }

    /// Makes a file durably this long; what is added is zeros.
    ///
    /// # Errors
    /// `NotFound` when no file with this name is durable, `FileTooLarge` past 64 GiB.
    pub fn truncate(&self, path: &str, bytes: u64) -> io::Result<()> {
        damage(&mut self.lock_state(), path, |image| {
            if bytes > FILE_BYTES_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            image.set_bytes(bytes);
            Ok(())
        })
    }

    /// Puts a durable file there, in a directory that is durable, in place of any of that name.
    ///
    /// # Errors
    /// `NotFound` when its directory is not durable, `FileTooLarge` past 64 GiB.
    pub fn write_durably(&self, path: &str, content: &[u8]) -> io::Result<()> {
        if content.len() as u64 > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let state = &mut *self.lock_state();
        let entry = state.names.find_entry(path, Side::Durable)?;
        let mut file = File::default();
        file.damage(|image| {
            patch(image, 0, content);
            image.set_bytes(content.len() as u64);
        });
        let inode = state.add_file(file);
        state.names.damage(&entry, Some(inode));
        Ok(())
    }

    /// Removes a durable name. Handles that are open keep working.
    ///
    /// # Errors
    /// `NotFound` when no file with this name is durable.
    pub fn remove_durably(&self, path: &str) -> io::Result<()> {
        let state = &mut *self.lock_state();
        with_node(state, path, |_| Ok(()))?;
        let entry = state.names.find_entry(path, Side::Durable)?;
        state.names.damage(&entry, None);
        Ok(())
    }

    /// Makes a range of bytes unreadable: a read that starts in it fails with `EIO`, one that starts
    /// before it ends there. Holds over power cuts, until [`SimDisk::clear_faults`].
    ///
    /// # Errors
    /// `NotFound` when no file with this name is durable.
    pub fn fail_reads(&self, path: &str, bytes: Range<u64>) -> io::Result<()> {
        with_node(&mut self.lock_state(), path, |node| {
            node.unreadable.push(bytes);
            Ok(())
        })
    }
}

fn hash_durable(state: &State, under: &str, hasher: &mut SipHasher13) {
    for (path, inode) in state.names.files(Side::Durable) {
        let Some(node) = state.files.get(&inode).filter(|_| path.starts_with(under)) else {
            continue;
        };
        path.hash(hasher);
        node.file.durable().bytes().hash(hasher);
        for sector in node.file.durable().written() {
            sector.hash(hasher);
        }
    }
}

fn with_node<T>(
    state: &mut State,
    path: &str,
    work: impl FnOnce(&mut Node) -> io::Result<T>,
) -> io::Result<T> {
    let inode = state.names.find(path, Side::Durable)?;
    // A directory has no node.
    work(state.files.get_mut(&inode).ok_or(io::ErrorKind::NotFound)?)
}

fn damage(
    state: &mut State,
    path: &str,
    damage: impl FnOnce(&mut Image) -> io::Result<()>,
) -> io::Result<()> {
    with_node(state, path, |node| {
        let mut result = Ok(());
        node.file.damage(|image| result = damage(image));
        result
    })
}

fn patch(image: &mut Image, offset: u64, bytes: &[u8]) {
    for patch in Patch::split(bytes, offset) {
        image.patch(&patch);
    }
}
