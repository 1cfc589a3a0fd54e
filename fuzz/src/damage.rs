//! What happens to the files of a ledger behind its back.

use arbitrary::Arbitrary;
use order_ledger::disk::sim::SimDisk;

use crate::ledgers::{MANIFEST, files};

/// More edits of one ledger find nothing that these do not.
const EDITS_MAX: usize = 16;

/// Damage. Files are numbered as they are listed, modulo their count.
#[derive(Arbitrary, Clone, Debug)]
pub enum Edit {
    FlipBit { file: u8, at: At, bit: u8 },
    Overwrite { file: u8, at: At, bytes: [u8; 8] },
    ZeroSectors { file: u8, sector: u8, count: u8 },
    CopySector { from: u8, sector: u8, to: u8, at: u8 },
    SwapSectors { file: u8, one: u8, other: u8 },
    Truncate { file: u8, to: At },
    Extend { file: u8, by: u16 },
    Remove { file: u8 },
    SwapFiles { one: u8, other: u8 },
    Replace { file: u8, bytes: Vec<u8> },
    FailReads { file: u8, at: At, bytes: u8 },
}

/// A place in a file: counted within what is not zero, or within all of it.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum At {
    Used(u16),
    Any(u16),
}

/// What the edits have come to.
#[derive(Clone, Copy, Debug)]
pub struct Damage {
    /// The log or the identity of the ledger.
    pub log: bool,
    /// The witness of its end.
    pub witness: bool,
    /// Anything at all.
    pub any: bool,
    /// Something can't be read.
    pub unreadable: bool,
}

/// Applies the edits.
pub fn damage(disk: &SimDisk, edits: &[Edit]) -> Damage {
    let originals = files(disk);
    let paths: Vec<String> = originals.keys().cloned().collect();
    let edits = &edits[..edits.len().min(EDITS_MAX)];
    edits.iter().for_each(|edit| apply(disk, &paths, edit));
    let unreadable = edits.iter().any(|edit| matches!(edit, Edit::FailReads { .. }));
    let now = files(disk);
    let touched = |path: &String| unreadable || now.get(path) != originals.get(path);
    let in_log = |path: &&String| !path.starts_with("derived/") && *path != "LOCK";
    Damage {
        log: paths.iter().filter(in_log).any(touched),
        witness: touched(&MANIFEST.to_owned()),
        any: paths.iter().any(touched),
        unreadable,
    }
}

fn apply(disk: &SimDisk, paths: &[String], edit: &Edit) {
    let path = |file: u8| paths[usize::from(file) % paths.len()].as_str();
    let content = |path: &str| disk.read_durable(path).unwrap_or_default();
    let used = |path: &str| {
        let content = content(path);
        content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
    };
    let place = |path: &str, at: At| match at {
        At::Used(at) => u64::from(at) % used(path).max(1),
        At::Any(at) => u64::from(at) % (content(path).len() as u64).max(1),
    };
    let sector = |path: &str, index: u8| -> (u64, Vec<u8>) {
        let content = content(path);
        let sectors = (used(path).div_ceil(512)).max(1);
        let at = u64::from(index) % sectors * 512;
        let start = (at as usize).min(content.len());
        (at, content[start..content.len().min(start + 512)].to_vec())
    };
    // An edit of a file that an earlier one removed does nothing.
    let done = match edit {
        Edit::FlipBit { file, at, bit } => {
            let path = path(*file);
            disk.flip_bit(path, place(path, *at) * 8 + u64::from(bit % 8))
        }
        Edit::Overwrite { file, at, bytes } => {
            let path = path(*file);
            disk.overwrite(path, place(path, *at), bytes)
        }
        Edit::ZeroSectors { file, sector: first, count } => {
            let path = path(*file);
            let (at, _) = sector(path, *first);
            let rest = (content(path).len() as u64).saturating_sub(at);
            let bytes = (u64::from(*count) * 512).min(rest);
            disk.overwrite(path, at, &vec![0; bytes as usize])
        }
        Edit::CopySector { from, sector: index, to, at } => {
            let (_, bytes) = sector(path(*from), *index);
            let (at, _) = sector(path(*to), *at);
            disk.overwrite(path(*to), at, &bytes)
        }
        Edit::SwapSectors { file, one, other } => {
            let path = path(*file);
            let ((one_at, one), (other_at, other)) = (sector(path, *one), sector(path, *other));
            disk.overwrite(path, one_at, &other).and_then(|()| disk.overwrite(path, other_at, &one))
        }
        Edit::Truncate { file, to } => {
            let path = path(*file);
            disk.truncate(path, place(path, *to))
        }
        Edit::Extend { file, by } => {
            let path = path(*file);
            disk.truncate(path, content(path).len() as u64 + u64::from(*by))
        }
        Edit::Remove { file } => disk.remove_durably(path(*file)),
        Edit::SwapFiles { one, other } => {
            let (one, other) = (path(*one), path(*other));
            let (one_bytes, other_bytes) = (content(one), content(other));
            disk.write_durably(one, &other_bytes)
                .and_then(|()| disk.write_durably(other, &one_bytes))
        }
        Edit::Replace { file, bytes } => disk.write_durably(path(*file), bytes),
        Edit::FailReads { file, at, bytes } => {
            let path = path(*file);
            let at = place(path, *at);
            disk.fail_reads(path, at..at + 1 + u64::from(*bytes))
        }
    };
    drop(done);
}
