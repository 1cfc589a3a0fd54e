//! What a power cut leaves of the space of a file that grows.

use super::*;

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
