//! One test per item of the fault model, each showing that the fault happens: a simulator that is kinder
//! than it says lets broken recovery pass. The ordinary behaviour is the contract in `disk/tests.rs`.

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

// Power cuts: bytes.

#[test]
fn an_unsynced_write_vanishes_and_a_synced_one_stays() {
    let (disk, _, file) = disk_with("f", &[0; 10]);
    write_all_at(&*file, b"safe", 0).unwrap();
    sync(&*file).unwrap();
    write_all_at(&*file, b"LOST", 0).unwrap();
    assert_eq!(content(&disk, "f"), b"LOST\0\0\0\0\0\0");
    let report = disk.crash(drop_all());
    assert_eq!((report.sectors_kept, report.sectors_dropped), (0, 1));
    assert_eq!(content(&disk, "f"), b"safe\0\0\0\0\0\0");
}

#[test]
fn keep_all_keeps_all_of_it_without_any_sync() {
    let disk = SimDisk::new(1);
    let mounted = disk.as_disk();
    mounted.create_dir("d").unwrap();
    let file = mounted.open("d/f", Open::CreateNew).unwrap();
    write_all_at(&*file, &[3; 1000], 0).unwrap();
    let report = disk.crash(Crash::new(CrashMode::KeepAll, 0));
    assert_eq!((report.sectors_kept, report.sizes_kept, report.names_kept), (2, 1, 2));
    assert_eq!(content(&disk, "d/f"), [3; 1000]);
}

#[test]
fn sectors_survive_independently() {
    let (disk, _, file) = disk_with("f", &[0; 3 * SECTOR_BYTES]);
    for sector in 0..3 {
        write_all_at(&*file, &[1; SECTOR_BYTES], sector * SECTOR).unwrap();
    }
    // Subset: exactly what the bits say, all eight ways.
    assert_eq!(disk.pending_units(), 3);
    let before = disk.snapshot();
    for subset in 0..8_u64 {
        disk.crash(Crash::new(CrashMode::Subset(subset), 0));
        let after = disk.read_durable("f").unwrap();
        for sector in 0..3 {
            let expected = u8::from(subset >> sector & 1 == 1);
            assert_eq!(after[sector * SECTOR_BYTES..][..SECTOR_BYTES], [expected; SECTOR_BYTES]);
        }
        disk.restore(&before);
    }
    // Random finds all of them by itself, the later without the earlier too.
    let firsts = |disk: &SimDisk| {
        let after = disk.read_durable("f").unwrap();
        [after[0], after[SECTOR_BYTES], after[2 * SECTOR_BYTES]]
    };
    assert_eq!(outcomes(&disk, random, firsts).len(), 8);
}

#[test]
fn a_torn_sector_mixes_old_and_new_inside_the_write_only() {
    let (disk, _, file) = disk_with("f", &[b'o'; SECTOR_BYTES]);
    write_all_at(&*file, &[b'n'; 100], 50).unwrap();
    let found = outcomes(&disk, random, |disk| disk.read_durable("f").unwrap());
    let (mut new_first, mut old_first) = (false, false);
    for after in &found {
        assert!(after[..50].iter().chain(&after[150..]).all(|byte| *byte == b'o'));
        let written = &after[50..150];
        new_first |= written.starts_with(b"n") && written.ends_with(b"o");
        old_first |= written.starts_with(b"o") && written.ends_with(b"n");
    }
    assert!(new_first && old_first && found.len() > 10);
}

#[test]
fn without_power_safe_overwrite_a_sector_may_be_garbage_as_a_whole() {
    let (disk, _, file) = disk_with("f", &[b'o'; 2 * SECTOR_BYTES]);
    write_all_at(&*file, &[b'n'; 100], 50).unwrap();
    let found = outcomes(
        &disk,
        |seed| random(seed).with_garbage(),
        |disk| {
            let after = disk.read_durable("f").unwrap();
            assert!(after[SECTOR_BYTES..].iter().all(|byte| *byte == b'o'));
            after[..50].iter().any(|byte| *byte != b'o')
        },
    );
    assert_eq!(found.len(), 2);
}

#[test]
fn of_several_writes_to_a_sector_any_first_ones_survive() {
    let (disk, _, file) = disk_with("f", b"0...");
    for (at, byte) in [(0, b"1"), (1, b"a"), (0, b"2"), (2, b"b")] {
        write_all_at(&*file, byte, at).unwrap();
    }
    let found = outcomes(&disk, random, |disk| disk.read_durable("f").unwrap());
    let expected = [b"0...", b"1...", b"1a..", b"2a..", b"2ab."];
    assert_eq!(found, expected.iter().map(|state| state.to_vec()).collect());
}

#[test]
fn adversarial_keeps_a_sector_as_it_was_last_seen_or_drops_or_tears_it() {
    let (disk, _, file) = disk_with("f", b"...");
    for (at, byte) in [(0, b"1"), (1, b"2"), (2, b"3")] {
        write_all_at(&*file, byte, at).unwrap();
    }
    let adversarial = |seed| Crash::new(CrashMode::Adversarial, seed);
    let found = outcomes(&disk, adversarial, |disk| disk.read_durable("f").unwrap());
    // Or torn: then a part of the first write arrived, here its one byte.
    let expected = [b"...", b"1..", b"123"];
    assert_eq!(found, expected.iter().map(|state| state.to_vec()).collect());
}

#[test]
fn size_and_bytes_survive_independently() {
    let (disk, _, file) = disk_with("f", b"old");
    write_all_at(&*file, b"new", 3).unwrap();
    let found = outcomes(&disk, random, |disk| disk.read_durable("f").unwrap());
    assert!(found.contains(b"old".as_slice()));
    assert!(found.contains(b"oldnew".as_slice()));
    assert!(found.contains(b"old\0\0\0".as_slice()), "grown without its bytes");
    // Bytes that arrived without their size are gone for good: growing later shows zeros.
    let bytes_only = Crash::new(CrashMode::Subset(0b01), 0);
    disk.crash(bytes_only);
    assert_eq!(content(&disk, "f"), b"old");
    disk.as_disk().open("f", Open::Write).unwrap().set_bytes(6).unwrap();
    assert_eq!(content(&disk, "f"), b"old\0\0\0");
}

#[test]
fn an_unsynced_cut_may_be_undone_and_never_half() {
    let (disk, _, file) = disk_with("f", &[7; 2000]);
    file.set_bytes(100).unwrap();
    file.set_bytes(2000).unwrap();
    assert_eq!(content(&disk, "f")[100..], [0; 1900]);
    let found = outcomes(&disk, random, |disk| disk.read_durable("f").unwrap());
    let mut regrown = vec![7; 100];
    regrown.resize(2000, 0);
    assert_eq!(found, BTreeSet::from([vec![7; 2000], vec![7; 100], regrown]));
}

#[test]
fn prefix_keeps_the_first_and_adversarial_the_last() {
    let (disk, _, file) = disk_with("f", &[0; 8 * SECTOR_BYTES]);
    for sector in 0..8 {
        write_all_at(&*file, &[1; SECTOR_BYTES], sector * SECTOR).unwrap();
    }
    // A whole sector of ones is kept, any other is not.
    let kept = |disk: &SimDisk| -> Vec<bool> {
        let after = disk.read_durable("f").unwrap();
        after.chunks(SECTOR_BYTES).map(|sector| sector.iter().all(|byte| *byte == 1)).collect()
    };
    let is_sorted_down = |kept: &Vec<bool>| kept.windows(2).all(|pair| pair[0] >= pair[1]);
    let prefix = outcomes(&disk, |seed| Crash::new(CrashMode::Prefix, seed), kept);
    assert!(prefix.iter().all(is_sorted_down) && prefix.len() == 9, "{prefix:?}");
    let last = outcomes(&disk, |seed| Crash::new(CrashMode::Adversarial, seed), kept);
    let is_sorted_up = |kept: &Vec<bool>| kept.windows(2).all(|pair| pair[0] <= pair[1]);
    assert!(last.iter().all(is_sorted_up) && last.len() == 9, "{last:?}");
}

// Power cuts: space.

/// A file of one durable sector that is growing by two more.
fn growing() -> (SimDisk, Arc<dyn Disk>, Arc<dyn DiskFile>) {
    let (disk, mounted, file) = disk_with("f", &[b'a'; SECTOR_BYTES]);
    write_all_at(&*file, &[b'b'; SECTOR_BYTES], SECTOR).unwrap();
    write_all_at(&*file, &[b'c'; SECTOR_BYTES], 2 * SECTOR).unwrap();
    (disk, mounted, file)
}

#[test]
fn bytes_whose_space_did_not_survive_are_gone() {
    let (disk, _, _) = growing();
    let before = disk.snapshot();
    let (mut lost_first, mut lost_second) = (false, false);
    for seed in 0..500 {
        disk.restore(&before);
        let report = disk.crash(random(seed));
        assert_eq!(report.extents_kept + report.extents_dropped, 2);
        let after = disk.read_durable("f").unwrap();
        let has = |byte| after.contains(&byte);
        assert!(has(b'a'), "what has its space keeps it");
        // Given in order: the second is never there without the first.
        assert!(report.extents_kept >= 1 || !has(b'b') && !has(b'c'));
        assert!(report.extents_kept >= 2 || !has(b'c'));
        lost_first |= report.extents_kept == 0;
        lost_second |= report.extents_kept == 1 && has(b'b');
    }
    assert!(lost_first && lost_second);
}

#[test]
fn space_without_its_bytes_is_taken_and_reads_as_zeros() {
    let (disk, _, _) = growing();
    disk.set_capacity(10 * SECTOR);
    let before = disk.snapshot();
    let free_after = |subset| {
        disk.restore(&before);
        disk.crash(Crash::new(subset, 0));
        (disk.as_disk().free_bytes().unwrap(), content(&disk, "f").get(SECTOR_BYTES).copied())
    };
    // Bit 0 and 1 are the sectors, bit 2 is the size.
    assert_eq!(free_after(CrashMode::Subset(0b100)), (7 * SECTOR, Some(0)));
    assert_eq!(free_after(CrashMode::DropAll), (9 * SECTOR, None));
}

#[test]
fn a_failed_sync_loses_the_bytes_and_not_their_space() {
    let (disk, mounted, file) = growing();
    disk.set_capacity(10 * SECTOR);
    disk.fail_call(1, Fault::Eio);
    file.sync().unwrap_err();
    file.sync().unwrap();
    file.drop_cache().unwrap();
    let mut after = [1; 3 * SECTOR_BYTES];
    read_exact_at(&*file, &mut after, 0).unwrap();
    assert_eq!(after[SECTOR_BYTES..], [0; 2 * SECTOR_BYTES]);
    assert_eq!(mounted.free_bytes().unwrap(), 7 * SECTOR);
}

#[test]
fn stale_blocks_show_only_in_new_space_and_only_where_they_are_asked_for() {
    let (disk, _, file) = growing();
    write_all_at(&*file, &[b'd'; 100], 0).unwrap();
    // Zeros that did not arrive are as good as any other bytes that did not.
    write_all_at(&*file, &[0; SECTOR_BYTES], 3 * SECTOR).unwrap();
    let before = disk.snapshot();
    let plain = |byte: &u8| matches!(byte, b'a' | b'b' | b'c' | b'd' | 0);
    let mut stale = 0;
    for seed in 0..300 {
        disk.restore(&before);
        let report = disk.crash(random(seed));
        assert_eq!(report.sectors_stale, 0);
        assert!(disk.read_durable("f").unwrap().iter().all(plain));
        disk.restore(&before);
        let report = disk.crash(random(seed).with_stale_blocks());
        let after = disk.read_durable("f").unwrap();
        assert!(after[..SECTOR_BYTES].iter().all(plain), "the block was the file's before");
        let shown = after.chunks(SECTOR_BYTES).filter(|sector| !sector.iter().all(plain)).count();
        assert!(shown as u64 <= report.sectors_stale);
        stale += shown;
    }
    assert!(stale > 20, "{stale}");
}

#[test]
fn a_write_that_changes_nothing_is_no_unit() {
    let (disk, _, file) = disk_with("f", &[0; 2 * SECTOR_BYTES]);
    write_all_at(&*file, &[0; 2 * SECTOR_BYTES], 0).unwrap();
    assert_eq!(disk.pending_units(), 0);
    write_all_at(&*file, &[1], SECTOR).unwrap();
    assert_eq!(disk.pending_units(), 1);
    disk.crash(Crash::new(CrashMode::Subset(0b1), 0));
    assert_eq!(content(&disk, "f")[SECTOR_BYTES..][..2], [1, 0]);
}

// Power cuts: names.

#[test]
fn a_name_vanishes_though_its_file_was_synced() {
    let disk = SimDisk::new(1);
    let mounted = disk.as_disk();
    let file = mounted.open("f", Open::CreateNew).unwrap();
    write_all_at(&*file, b"synced", 0).unwrap();
    sync(&*file).unwrap();
    let before = disk.snapshot();
    disk.crash(drop_all());
    assert!(!has(&disk, "f"));
    // ext4 hides the missing sync of the directory.
    disk.restore(&before);
    disk.crash(Crash::new(CrashMode::Ext4Like, 3));
    assert_eq!(content(&disk, "f"), b"synced");
    // With it, the name is safe.
    disk.restore(&before);
    disk.as_disk().sync_dir("").unwrap();
    disk.crash(drop_all());
    assert_eq!(content(&disk, "f"), b"synced");
}

#[test]
fn a_name_that_was_synced_may_lead_to_an_empty_file() {
    let disk = SimDisk::new(1);
    let mounted = disk.as_disk();
    let file = mounted.open("f", Open::CreateNew).unwrap();
    write_all_at(&*file, b"not synced", 0).unwrap();
    mounted.sync_dir("").unwrap();
    disk.crash(drop_all());
    assert_eq!(content(&disk, "f"), b"");
}

#[test]
fn a_directory_must_be_durable_in_its_parent_too() {
    let disk = SimDisk::new(1);
    let mounted = disk.as_disk();
    mounted.create_dir("d").unwrap();
    mounted.open("d/f", Open::CreateNew).unwrap();
    mounted.sync_dir("d").unwrap();
    let before = disk.snapshot();
    disk.crash(drop_all());
    assert_eq!(disk.as_disk().list("").unwrap(), Vec::<String>::new());
    disk.restore(&before);
    disk.as_disk().sync_dir("").unwrap();
    disk.crash(drop_all());
    assert!(has(&disk, "d/f"));
}

#[test]
fn an_unsynced_rename_or_removal_may_be_undone_and_is_never_half() {
    let disk = SimDisk::new(1);
    disk.write_durably("old", b"old").unwrap();
    disk.write_durably("new", b"new").unwrap();
    let mounted = disk.as_disk();
    mounted.rename("new", "old").unwrap();
    let look = |disk: &SimDisk| (has(disk, "new"), content(disk, "old"));
    let found = outcomes(&disk, random, look);
    let (undone, done) = ((true, b"old".to_vec()), (false, b"new".to_vec()));
    assert_eq!(found, BTreeSet::from([undone, done.clone()]));
    disk.as_disk().sync_dir("").unwrap();
    assert_eq!(outcomes(&disk, random, look), BTreeSet::from([done]));

    disk.as_disk().remove("old").unwrap();
    assert!(!has(&disk, "old"));
    let found = outcomes(&disk, random, |disk| has(disk, "old"));
    assert_eq!(found, BTreeSet::from([false, true]));
}

#[test]
fn a_rename_between_directories_needs_both_synced() {
    let disk = SimDisk::new(1);
    let mounted = disk.as_disk();
    mounted.create_dir("a").unwrap();
    mounted.create_dir("b").unwrap();
    mounted.open("a/f", Open::CreateNew).unwrap();
    mounted.sync_dir("a").unwrap();
    mounted.sync_dir("").unwrap();
    mounted.rename("a/f", "b/f").unwrap();
    mounted.sync_dir("b").unwrap();
    let look = |disk: &SimDisk| (has(disk, "a/f"), has(disk, "b/f"));
    assert_eq!(outcomes(&disk, random, look), BTreeSet::from([(true, false), (false, true)]));
    disk.as_disk().sync_dir("a").unwrap();
    assert_eq!(outcomes(&disk, random, look), BTreeSet::from([(false, true)]));
    // A removal of the new name that is durable must not bring back the old one.
    let mounted = disk.as_disk();
    mounted.rename("b/f", "a/f").unwrap();
    mounted.remove("a/f").unwrap();
    mounted.sync_dir("a").unwrap();
    assert_eq!(outcomes(&disk, random, look), BTreeSet::from([(false, false)]));
}

#[test]
fn names_survive_independently_and_in_order_of_each_name() {
    let disk = SimDisk::new(1);
    let mounted = disk.as_disk();
    mounted.open("x", Open::CreateNew).unwrap();
    mounted.open("y", Open::CreateNew).unwrap();
    mounted.rename("y", "z").unwrap();
    let found = outcomes(&disk, random, |disk| disk.as_disk().list("").unwrap().join(""));
    let expected = ["", "x", "y", "z", "xy", "xz"];
    assert_eq!(found, expected.iter().map(|names| (*names).to_owned()).collect());
    // The last without the first; but never a rename without what it renames.
    let adversarial = |seed| Crash::new(CrashMode::Adversarial, seed);
    let found = outcomes(&disk, adversarial, |disk| disk.as_disk().list("").unwrap().join(""));
    assert_eq!(found, ["", "xz", "z"].iter().map(|names| (*names).to_owned()).collect());
}

#[test]
fn a_file_that_was_renamed_twice_has_one_name_after_a_power_cut() {
    let disk = SimDisk::new(1);
    disk.write_durably("a", b"").unwrap();
    let mounted = disk.as_disk();
    mounted.rename("a", "b").unwrap();
    mounted.rename("b", "c").unwrap();
    let look = |disk: &SimDisk| disk.as_disk().list("").unwrap().join("");
    let expected = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(outcomes(&disk, random, look), expected(&["a", "b", "c"]));
    let adversarial = |seed| Crash::new(CrashMode::Adversarial, seed);
    assert_eq!(outcomes(&disk, adversarial, look), expected(&["a", "c"]));
}

#[test]
fn ext4_keeps_names_in_order_and_all_before_any_sync() {
    let (disk, mounted, file) = disk_with("f", b"");
    mounted.open("a", Open::CreateNew).unwrap();
    write_all_at(&*file, b"1", 0).unwrap();
    sync(&*file).unwrap();
    mounted.open("b", Open::CreateNew).unwrap();
    mounted.open("c", Open::CreateNew).unwrap();
    let ext4 = |seed| Crash::new(CrashMode::Ext4Like, seed);
    let found = outcomes(&disk, ext4, |disk| disk.as_disk().list("").unwrap().join(""));
    assert_eq!(found, ["af", "abf", "abcf"].iter().map(|names| (*names).to_owned()).collect());
}

// Kills, power and snapshots.

#[test]
fn handles_and_locks_end_with_the_power_and_with_the_process() {
    for kill in [false, true] {
        let (disk, mounted, file) = disk_with("f", b"0");
        let lock = mounted.lock("LOCK").unwrap();
        write_all_at(&*file, b"1", 0).unwrap();
        if kill {
            disk.kill();
        } else {
            disk.crash(drop_all());
        }
        let calls = disk.io_calls();
        assert!(file.sync().is_err() && file.read_at(&mut [0], 0).is_err());
        assert!(mounted.open("f", Open::Read).is_err() && lock.write_content(b"").is_err());
        assert_eq!(disk.io_calls(), calls);
        // A kill loses nothing, and leaves it unsynced.
        assert_eq!(content(&disk, "f"), if kill { b"1" } else { b"0" });
        assert_eq!(disk.pending_units() > 0, kill);
        let again = disk.as_disk().lock("LOCK").unwrap();
        drop(lock); // of the dead: must not release the lock of the living
        assert_eq!(disk.as_disk().lock("LOCK").unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(again);
        disk.crash(drop_all());
        assert_eq!(content(&disk, "f"), b"0");
    }
}

#[test]
fn the_power_goes_off_at_each_call() {
    // Three calls on a mounted disk; `n` of them go well.
    let scenario = |disk: &SimDisk| -> io::Result<()> {
        let mounted = disk.as_disk();
        let file = mounted.open("f", Open::Write)?;
        file.write_at(&[1; 4 * SECTOR_BYTES], 0)?;
        file.sync()
    };
    let mut part_written = BTreeSet::new();
    for seed in 0..40 {
        for n in 1..=4 {
            let disk = SimDisk::new(seed);
            disk.write_durably("f", &[0; 4 * SECTOR_BYTES]).unwrap();
            disk.power_off_after(n);
            assert_eq!(scenario(&disk).is_err(), n <= 3);
            assert_eq!(disk.io_calls(), n.min(3));
            assert_eq!(disk.is_off(), n <= 3);
            disk.kill();
            assert!(!disk.is_off());
            let after = content(&disk, "f");
            let sectors = after.iter().filter(|byte| **byte == 1).count() / SECTOR_BYTES;
            match n {
                1 => assert_eq!(sectors, 0),
                2 => drop(part_written.insert(sectors)),
                _ => assert_eq!(sectors, 4),
            }
            disk.crash(drop_all());
            assert_eq!(content(&disk, "f")[0], u8::from(n == 4), "n {n}");
        }
    }
    assert_eq!(part_written, (0..=4).collect());
    let disk = SimDisk::new(0);
    disk.power_off_after(0);
    assert!(disk.as_disk().list("").is_err());
}

#[test]
fn a_snapshot_is_not_touched_by_what_follows() {
    let (disk, mounted, file) = disk_with("f", b"before");
    write_all_at(&*file, b"B", 0).unwrap();
    let snapshot = disk.snapshot();
    write_all_at(&*file, b"after!", 0).unwrap();
    sync(&*file).unwrap();
    mounted.remove("f").unwrap();
    mounted.sync_dir("").unwrap();
    disk.restore(&snapshot);
    assert!(file.sync().is_err());
    assert_eq!(content(&disk, "f"), b"Before");
    assert_eq!(disk.read_durable("f").unwrap(), b"before");
    let copy = SimDisk::new(99);
    copy.restore(&snapshot);
    assert_eq!(content(&copy, "f"), b"Before");
}

// Errors of calls.

#[test]
fn after_a_failed_sync_the_cache_lies_until_it_is_dropped() {
    for fault in [Fault::Eio, Fault::Enospc, Fault::Edquot, Fault::Erofs] {
        let (disk, mounted, file) = disk_with("f", b"old");
        write_all_at(&*file, b"new", 0).unwrap();
        disk.fail_call(1, fault);
        assert!(sync(&*file).is_err());
        assert_eq!(disk.faults_hit(), 1);
        // The next sync says Ok, the cache says new, also to a new process; the disk has the old bytes.
        sync(&*file).unwrap();
        disk.kill();
        assert_eq!(content(&disk, "f"), b"new");
        assert_eq!(disk.read_durable("f").unwrap(), b"old");
        let file = disk.as_disk().open("f", Open::Read).unwrap();
        sync(&*file).unwrap();
        file.drop_cache().unwrap();
        assert_eq!(content(&disk, "f"), b"old");
        drop(mounted);
    }
}

#[test]
fn a_failed_sync_is_told_once_to_every_handle_that_was_open() {
    let (disk, mounted, file) = disk_with("f", b"old");
    let other = mounted.open("f", Open::Read).unwrap();
    write_all_at(&*file, b"new", 0).unwrap();
    disk.fail_call(1, Fault::Eio);
    other.sync().unwrap_err();
    let later = mounted.open("f", Open::Read).unwrap();
    // What is written now is synced by the call that tells of the other's failure.
    write_all_at(&*file, b"er", 3).unwrap();
    file.sync().unwrap_err();
    assert_eq!(disk.read_durable("f").unwrap(), b"older");
    for handle in [&file, &other, &later] {
        handle.sync().unwrap();
    }
}

#[test]
fn dropping_the_cache_keeps_what_is_pending() {
    let (disk, _, file) = disk_with("f", &[0; 2 * SECTOR_BYTES]);
    write_all_at(&*file, b"lost", 0).unwrap();
    disk.fail_call(1, Fault::Eio);
    assert!(sync(&*file).is_err());
    write_all_at(&*file, b"pending", SECTOR).unwrap();
    file.drop_cache().unwrap();
    let mut buffer = [0; 7];
    read_exact_at(&*file, &mut buffer, SECTOR).unwrap();
    assert_eq!(&buffer, b"pending");
    read_exact_at(&*file, &mut buffer, 0).unwrap();
    assert_eq!(buffer, [0; 7]);
}

#[test]
fn an_error_that_comes_late_is_one_of_a_call_that_did_its_work() {
    let (disk, mounted, file) = disk_with("f", b"old");
    write_all_at(&*file, b"new", 0).unwrap();
    disk.fail_call(1, Fault::EioLate);
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    assert_eq!(disk.read_durable("f").unwrap(), b"new");
    disk.fail_call(1, Fault::EioLate);
    assert!(mounted.rename("f", "g").is_err());
    assert!(has(&disk, "g"));
    disk.fail_call(1, Fault::EioLate);
    assert!(mounted.lock("LOCK").is_err());
    drop(mounted.lock("LOCK").unwrap()); // nobody holds what nobody got
}

#[test]
fn errors_have_the_kind_of_the_kernels() {
    let kinds = [
        (Fault::Enospc, ErrorKind::StorageFull),
        (Fault::Edquot, ErrorKind::QuotaExceeded),
        (Fault::Erofs, ErrorKind::ReadOnlyFilesystem),
        (Fault::Interrupted, ErrorKind::Interrupted),
    ];
    for (fault, kind) in kinds {
        let (disk, _, file) = disk_with("f", b"");
        disk.fail_call(1, fault);
        assert_eq!(file.write_at(b"x", 0).unwrap_err().kind(), kind);
    }
}

#[test]
fn a_failed_write_leaves_any_part_of_itself() {
    let mut found = BTreeSet::new();
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        disk.write_durably("f", &[0; 3 * SECTOR_BYTES]).unwrap();
        let file = disk.as_disk().open("f", Open::Write).unwrap();
        disk.fail_call(1, Fault::Eio);
        assert!(write_all_at(&*file, &[1; 3 * SECTOR_BYTES], 0).is_err());
        let ones = content(&disk, "f").iter().filter(|byte| **byte == 1).count();
        found.insert(ones / SECTOR_BYTES);
    }
    assert_eq!(found, (0..=3).collect());
}

#[test]
fn short_and_interrupted_calls_are_gone_through_by_the_loops() {
    let (disk, _, file) = disk_with("f", &[0; 1000]);
    disk.fail_call(1, Fault::ShortWrite);
    let written = file.write_at(&[1; 1000], 0).unwrap();
    assert!((1..1000).contains(&written));
    assert_eq!(content(&disk, "f").iter().filter(|byte| **byte == 1).count(), written);

    disk.fail_call(1, Fault::ShortWrite);
    disk.fail_call(2, Fault::Interrupted);
    write_all_at(&*file, &[2; 1000], 0).unwrap();
    disk.fail_call(1, Fault::Interrupted);
    disk.fail_call(2, Fault::ShortRead);
    let mut buffer = [0; 1000];
    assert_eq!(read_up_to(&*file, &mut buffer, 0).unwrap(), 1000);
    assert_eq!(buffer, [2; 1000]);
    disk.fail_call(1, Fault::Interrupted);
    sync(&*file).unwrap();
    assert_eq!(disk.faults_hit(), 6);
    disk.crash(drop_all());
    assert_eq!(content(&disk, "f"), [2; 1000]);
}

#[test]
fn faults_from_a_call_on_last_and_hit_only_what_they_can() {
    let (disk, mounted, file) = disk_with("f", b"abc");
    disk.fail_from(2, Fault::Erofs);
    file.write_at(b"A", 0).unwrap();
    assert!(file.write_at(b"B", 1).is_err());
    assert!(mounted.remove("f").is_err() && mounted.open("g", Open::CreateNew).is_err());
    assert!(file.set_bytes(1).is_err() && mounted.sync_dir("").is_err());
    assert!(mounted.open("f", Open::Write).is_err());
    // A read-only disk can be read.
    assert_eq!(content(&disk, "f"), b"Abc");
    assert_eq!(disk.faults_hit(), 6);
    disk.clear_faults();
    file.write_at(b"B", 1).unwrap();
    assert_eq!(content(&disk, "f"), b"ABc");
}

#[test]
fn names_stay_pending_when_the_sync_of_their_directory_fails() {
    let disk = SimDisk::new(1);
    let mounted = disk.as_disk();
    mounted.open("f", Open::CreateNew).unwrap();
    disk.fail_call(1, Fault::Eio);
    assert!(mounted.sync_dir("").is_err());
    assert_eq!(disk.pending_units(), 1);
    mounted.sync_dir("").unwrap();
    disk.crash(drop_all());
    assert!(has(&disk, "f"));
}

#[test]
fn a_full_disk_takes_what_fits_and_rewrites_what_is_there() {
    let disk = SimDisk::new(1);
    disk.set_capacity(4 * SECTOR);
    let mounted = disk.as_disk();
    let file = mounted.open("f", Open::CreateNew).unwrap();
    write_all_at(&*file, &[0; 3 * SECTOR_BYTES], 0).unwrap();
    assert_eq!(mounted.free_bytes().unwrap(), SECTOR);
    // Growth takes nothing; a write takes sectors, and leaves the part that fits.
    file.set_bytes(100 * SECTOR).unwrap();
    assert_eq!(mounted.free_bytes().unwrap(), SECTOR);
    file.set_bytes(3 * SECTOR).unwrap();
    let error = write_all_at(&*file, &[1; 2 * SECTOR_BYTES], 3 * SECTOR).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(content(&disk, "f").len(), 4 * SECTOR_BYTES);
    assert_eq!(content(&disk, "f")[3 * SECTOR_BYTES..], [1; SECTOR_BYTES]);
    // Allocated sectors can be written again, zero-filled ones too.
    write_all_at(&*file, &[2; 4 * SECTOR_BYTES], 0).unwrap();
    sync(&*file).unwrap();
    // What is cut off is free again.
    file.set_bytes(2 * SECTOR + 1).unwrap();
    assert_eq!(mounted.free_bytes().unwrap(), SECTOR);
    write_all_at(&*file, &[2; SECTOR_BYTES], 3 * SECTOR).unwrap();
    // A removed file keeps its space while it is open.
    let other = mounted.open("g", Open::CreateNew).unwrap();
    mounted.remove("f").unwrap();
    assert!(other.write_at(b"x", 0).is_err());
    drop(file);
    other.write_at(b"x", 0).unwrap();
    disk.set_capacity(8 * SECTOR);
    assert_eq!(mounted.free_bytes().unwrap(), 7 * SECTOR);
}

// Lies and rot.

#[test]
fn a_lost_write_is_missing_after_a_sync_that_said_ok() {
    let (disk, _, file) = disk_with("f", b"......");
    disk.lose_write(2);
    sync(&*file).unwrap(); // has no second write
    for (at, bytes) in [(0, b"11"), (2, b"22"), (4, b"33")] {
        write_all_at(&*file, bytes, at).unwrap();
    }
    sync(&*file).unwrap();
    assert_eq!(disk.faults_hit(), 1);
    assert_eq!(content(&disk, "f"), b"112233");
    file.drop_cache().unwrap();
    assert_eq!(content(&disk, "f"), b"11..33");
    write_all_at(&*file, b"4", 0).unwrap();
    write_all_at(&*file, b"4", 1).unwrap();
    sync(&*file).unwrap();
    disk.crash(drop_all());
    assert_eq!(content(&disk, "f"), b"44..33");
    // A write of several sectors counts once.
    disk.lose_write(2);
    let file = disk.as_disk().open("f", Open::Write).unwrap();
    write_all_at(&*file, &[5; 1000], 0).unwrap();
    write_all_at(&*file, &[6; 10], 0).unwrap();
    sync(&*file).unwrap();
    disk.crash(drop_all());
    assert_eq!(content(&disk, "f"), [5; 1000]);
}

#[test]
fn a_misdirected_write_arrives_somewhere_else() {
    let (disk, mounted, file) = disk_with("f", &[b'.'; 2000]);
    disk.write_durably("g", &[b'-'; 1000]).unwrap();
    disk.misdirect_write(1, "g", 700);
    write_all_at(&*file, &[b'x'; 600], 0).unwrap();
    sync(&*file).unwrap();
    assert_eq!(content(&disk, "g"), [b'-'; 1000]);
    assert_eq!(content(&disk, "f")[..600], [b'x'; 600]);
    drop((mounted, file));
    disk.crash(drop_all());
    assert_eq!(content(&disk, "f"), [b'.'; 2000]);
    let mut expected = vec![b'-'; 700];
    expected.resize(1000, b'x');
    assert_eq!(content(&disk, "g"), expected);
}

#[test]
fn durable_bytes_rot_and_the_next_read_sees_it() {
    let (disk, mounted, file) = disk_with("d", b"abc");
    disk.flip_bit("d", 8 + 5).unwrap();
    assert_eq!(content(&disk, "d"), b"aBc");
    assert_eq!(disk.flip_bit("d", 24).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    disk.overwrite("d", 2, b"CDE").unwrap();
    assert_eq!(content(&disk, "d"), b"aBCDE");
    disk.truncate("d", 2).unwrap();
    disk.truncate("d", 3).unwrap();
    assert_eq!(content(&disk, "d"), b"aB\0");
    assert_eq!(disk.files(), [("d".to_owned(), 3)]);
    disk.remove_durably("d").unwrap();
    assert!(!has(&disk, "d") && disk.files().is_empty());
    sync(&*file).unwrap(); // open, so still there
    disk.crash(drop_all());
    assert!(!has(&disk, "d"));
    assert_eq!(disk.read_durable("d").unwrap_err().kind(), ErrorKind::NotFound);
    drop(mounted);
}

#[test]
fn damage_knows_durable_names_only() {
    let disk = SimDisk::new(1);
    let mounted = disk.as_disk();
    mounted.create_dir("wal").unwrap();
    mounted.open("wal/1", Open::CreateNew).unwrap();
    assert_eq!(disk.read_durable("wal/1").unwrap_err().kind(), ErrorKind::NotFound);
    assert!(disk.files().is_empty());
    mounted.sync_dir("wal").unwrap();
    mounted.sync_dir("").unwrap();
    assert_eq!(disk.files(), [("wal/1".to_owned(), 0)]);
    assert_eq!(disk.read_durable("wal").unwrap_err().kind(), ErrorKind::NotFound);
    disk.write_durably("wal/2", b"two").unwrap();
    assert_eq!(disk.files(), [("wal/1".to_owned(), 0), ("wal/2".to_owned(), 3)]);
}

#[test]
fn unreadable_bytes_are_an_error_and_not_the_end() {
    let (disk, _, file) = disk_with("f", &[5; 3000]);
    disk.fail_reads("f", 1000..1100).unwrap();
    let mut buffer = [0; 3000];
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 1000);
    assert_eq!(file.read_at(&mut buffer, 1050).unwrap_err().raw_os_error(), Some(5));
    assert!(read_up_to(&*file, &mut buffer, 0).is_err());
    assert_eq!(file.read_at(&mut buffer, 1100).unwrap(), 1900);
    disk.crash(drop_all());
    assert!(read_file(&*disk.as_disk(), "f", 4000).is_err());
    disk.clear_faults();
    assert_eq!(content(&disk, "f"), [5; 3000]);
}

#[test]
fn paths_that_a_kernel_might_bend_are_refused() {
    let disk = SimDisk::new(1).as_disk();
    for path in ["/f", "f/", "./f", "../f", "a//f", "."] {
        let error = disk.open(path, Open::CreateNew).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path}");
    }
}

// Determinism.

#[test]
fn the_same_seed_and_the_same_calls_give_the_same_disk() {
    let run = |seed: u64| {
        let disk = SimDisk::new(seed);
        let mut random = Prng::new(seed);
        let mut reports = Vec::new();
        let mut answers = Vec::new();
        for round in 0..5 {
            let mounted = disk.as_disk();
            let fault = [Fault::Eio, Fault::ShortWrite, Fault::Enospc][random.index(3)];
            disk.fail_call(5 + random.below(20), fault);
            disk.power_off_after(10 + random.below(60));
            for step in 0..40 {
                let path = format!("{}", random.below(5));
                let file = mounted
                    .open(&path, Open::CreateNew)
                    .or_else(|_| mounted.open(&path, Open::Write));
                let Ok(file) = file else { continue };
                let bytes = vec![step; 1 + random.index(1500)];
                answers.push(write_all_at(&*file, &bytes, random.below(2000)).is_ok());
                if random.chance(1, 4) {
                    answers.push(file.sync().is_ok());
                }
                if random.chance(1, 8) {
                    answers.push(mounted.sync_dir("").is_ok());
                }
            }
            let mode = [CrashMode::Random, CrashMode::Ext4Like, CrashMode::Prefix][random.index(3)];
            reports.push(disk.crash(Crash::new(mode, seed + round).with_garbage()));
        }
        let contents: Vec<_> =
            disk.files().into_iter().map(|(path, _)| disk.read_durable(&path).unwrap()).collect();
        (disk.files(), contents, reports, answers, disk.io_calls(), disk.faults_hit())
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1).1, run(2).1);
}

#[test]
fn what_is_read_is_the_durable_bytes_with_the_pending_ones_over_them() {
    for seed in 0..200 {
        let mut random = Prng::new(seed);
        let disk = SimDisk::new(seed);
        let mounted = disk.as_disk();
        let file = mounted.open("f", Open::CreateNew).unwrap();
        mounted.sync_dir("").unwrap();
        for step in 0..30 {
            match random.below(6) {
                0 => file.sync().unwrap(),
                1 => file.set_bytes(random.below(3000)).unwrap(),
                _ => {
                    let bytes = vec![step % 3; random.index(1200)];
                    write_all_at(&*file, &bytes, random.below(2500)).unwrap();
                }
            }
            // Without lies, the cache hides nothing: dropping it, or keeping all, changes no byte.
            let before = content(&disk, "f");
            file.drop_cache().unwrap();
            assert_eq!(content(&disk, "f"), before, "seed {seed}");
            let copy = SimDisk::new(0);
            copy.restore(&disk.snapshot());
            copy.crash(Crash::new(CrashMode::KeepAll, 0));
            assert_eq!(content(&copy, "f"), before, "seed {seed}");
        }
    }
}

#[test]
fn the_random_numbers_are_those_of_the_reference() {
    let mut random = Prng::new(1_234_567);
    let expected = [
        6_457_827_717_110_365_317,
        3_203_168_211_198_807_973,
        9_817_491_932_198_370_423,
        4_593_380_528_125_082_431,
        16_408_922_859_458_223_821_u64,
    ];
    assert_eq!(expected.map(|_| random.next()), expected);
    assert!((0..1000).all(|_| random.below(7) < 7));
    assert_eq!((random.below(0), random.index(1)), (0, 0));
}

// The host.

#[test]
fn the_clocks_move_only_when_read_or_told() {
    let simulated = SimHost::new(5);
    let host = simulated.as_host();
    let (wall_ns, monotonic_ns) = (host.wall_ns(), host.monotonic_ns());
    assert_eq!(host.wall_ns(), wall_ns + 2_000);
    assert_eq!(host.monotonic_ns(), monotonic_ns + 2_000);
    host.sleep(Duration::from_secs(60));
    simulated.advance(Duration::from_secs(1));
    assert_eq!(host.monotonic_ns(), monotonic_ns + 61_000_003_000);
    // The wall clock jumps back; the other one does not.
    simulated.set_wall_ns(42);
    assert_eq!(host.wall_ns(), 1_042);
    assert!(host.monotonic_ns() > monotonic_ns);
    simulated.set_process_id(7);
    assert_eq!(host.process_id(), 7);
}

#[test]
fn randomness_follows_the_seed() {
    let draw = |seed| {
        let mut bytes = [0; 20];
        SimHost::new(seed).fill_random(&mut bytes);
        bytes
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn a_slow_call_takes_its_time_on_the_clock_it_was_given() {
    let (disk, mounted, file) = disk_with("f", b"content");
    let host = SimHost::new(1);
    disk.slow_call(2, Duration::from_secs(3), &host);
    let before = host.monotonic_ns();
    file.bytes().unwrap();
    let first = host.monotonic_ns();
    assert!(first - before < 1_000_000);
    mounted.free_bytes().unwrap();
    let second = host.monotonic_ns();
    assert!((3_000_000_000..3_001_000_000).contains(&(second - first)));
    file.bytes().unwrap();
    assert!(host.monotonic_ns() - second < 1_000_000, "it is over");
}

#[test]
fn a_digest_is_one_of_durable_names_sizes_and_bytes() {
    let (disk, mounted, file) = disk_with("f", b"content");
    let first = disk.digest("");
    write_all_at(&*file, b"C", 0).unwrap();
    let made = mounted.open("g", Open::CreateNew).unwrap();
    assert_eq!(disk.digest(""), first, "nothing of it is durable");
    file.sync().unwrap();
    let written = disk.digest("");
    mounted.sync_dir("").unwrap();
    let named = disk.digest("");
    file.set_bytes(9).unwrap();
    file.sync().unwrap();
    let longer = disk.digest("");
    let all = BTreeSet::from([first, written, named, longer]);
    assert_eq!(all.len(), 4);
    assert_eq!(disk.digest("g"), disk.digest("g"));
    assert_ne!(disk.digest("g"), longer);
    drop(made);
}

#[test]
fn handles_are_those_of_the_living_process() {
    let (disk, mounted, file) = disk_with("f", b"");
    let lock = mounted.lock("LOCK").unwrap();
    assert_eq!(disk.open_handles(), 2);
    drop(file);
    assert_eq!(disk.open_handles(), 1);
    disk.kill();
    assert_eq!(disk.open_handles(), 0);
    drop(lock);
    assert_eq!(disk.open_handles(), 0);
}
