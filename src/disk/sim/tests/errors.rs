//! Calls that fail: what they have done by then, how often they say so, and what a full disk takes.

use super::*;

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
