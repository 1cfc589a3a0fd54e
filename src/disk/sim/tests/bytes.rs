//! What a power cut leaves of bytes: sectors, torn and whole ones, and the size of a file beside them.

use super::*;

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
