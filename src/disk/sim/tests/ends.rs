//! How a process and a machine end, and what is left of handles, locks and snapshots.

use super::*;

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
