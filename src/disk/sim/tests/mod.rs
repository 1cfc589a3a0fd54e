//! One test per item of the fault model, each showing that the fault happens: a simulator that is kinder
//! than it says lets broken recovery pass. The ordinary behaviour is the contract in `disk/tests.rs`.

mod bytes;
mod determinism;
mod ends;
mod errors;
mod host;
mod lies;
mod names;
mod space;

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use super::prng::Prng;
use super::*;
use crate::disk::{
    Disk, DiskFile, Host, Open, read_exact_at, read_file, read_up_to, sync, write_all_at,
};

const SECTOR: u64 = SECTOR_BYTES as u64;

fn drop_all() -> Crash {
    Crash::new(CrashMode::DropAll, 0)
}

fn content(disk: &SimDisk, path: &str) -> Vec<u8> {
    read_file(&*disk.as_disk(), path, 1 << 20).unwrap()
}

fn has(disk: &SimDisk, path: &str) -> bool {
    match disk.as_disk().open(path, Open::Read) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => panic!("{path}: {error}"),
    }
}

/// A disk with one durable file.
fn disk_with(path: &str, bytes: &[u8]) -> (SimDisk, Arc<dyn Disk>, Arc<dyn DiskFile>) {
    let disk = SimDisk::new(1);
    disk.write_durably(path, bytes).unwrap();
    let mounted = disk.as_disk();
    let file = mounted.open(path, Open::Write).unwrap();
    (disk, mounted, file)
}

/// All outcomes of power cuts from this moment, over seeds.
fn outcomes<T: Ord>(
    disk: &SimDisk,
    crash: impl Fn(u64) -> Crash,
    look: impl Fn(&SimDisk) -> T,
) -> BTreeSet<T> {
    let before = disk.snapshot();
    let mut found = BTreeSet::new();
    for seed in 0..300 {
        disk.crash(crash(seed));
        found.insert(look(disk));
        disk.restore(&before);
    }
    found
}

fn random(seed: u64) -> Crash {
    Crash::new(CrashMode::Random, seed)
}
