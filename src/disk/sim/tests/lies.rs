//! Devices that lie, and bytes that rot.

use super::*;

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
