//! What only the real disk can get wrong. The rest is the contract in `disk/tests.rs`.

use std::io::ErrorKind;

use super::*;
use crate::disk::write_all_at;

#[test]
fn missing_directories_are_created_and_a_file_is_no_directory() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a/b/orders.ledger");
    assert_eq!(OsDisk::open_dir(&path).unwrap_err().kind(), ErrorKind::NotFound);
    let disk = OsDisk::create_dir(&path).unwrap();
    drop(disk.open("f", Open::CreateNew).unwrap());
    // A second time it is only opened.
    assert_eq!(OsDisk::create_dir(&path).unwrap().list("").unwrap(), ["f"]);
    assert_eq!(OsDisk::open_dir(&path).unwrap().list("").unwrap(), ["f"]);
    assert_eq!(OsDisk::open_dir(&path.join("f")).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert!(OsDisk::create_dir(&path.join("f")).is_err());
    assert_eq!(disk.display_path(), path.display().to_string());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "does what an operator does, beside the seam")]
fn a_directory_that_was_moved_is_noticed_and_still_works() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("ledger");
    let moved = root.path().join("moved");
    let disk = OsDisk::create_dir(&path).unwrap();
    std::fs::rename(&path, &moved).unwrap();
    assert!(!disk.is_in_place().unwrap());
    // Another one in its place does not deceive, and gets none of our files.
    std::fs::create_dir(&path).unwrap();
    assert!(!disk.is_in_place().unwrap());
    drop(disk.open("f", Open::CreateNew).unwrap());
    assert!(moved.join("f").exists() && !path.join("f").exists());
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&moved, &path).unwrap();
    assert!(disk.is_in_place().unwrap());
}

#[test]
fn a_low_descriptor_is_raised_and_stays_the_same_file() {
    let root = tempfile::tempdir().unwrap();
    let disk = OsDisk::open_dir(root.path()).unwrap();
    let low = disk.open_at("f", OFlags::RDWR | OFlags::CREATE).unwrap();
    assert!(low.as_raw_fd() >= FD_LEAST);
    // The descriptors of stdio are open in a test; any other bound shows the same.
    let least = low.as_raw_fd() + 100;
    let raised = at_least(low, least).unwrap();
    assert!(raised.as_raw_fd() >= least);
    let flags = rustix::io::fcntl_getfd(&raised).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    write_all_at(&OsFile::new(raised.into(), true), b"x", 0).unwrap();
    assert_eq!(disk.open("f", Open::Read).unwrap().bytes().unwrap(), 1);
}

#[test]
fn all_descriptors_close_on_exec() {
    let root = tempfile::tempdir().unwrap();
    let disk = OsDisk::open_dir(root.path()).unwrap();
    let file = disk.open_at("f", OFlags::RDWR | OFlags::CREATE).unwrap();
    for fd in [&disk.dir, &file] {
        let flags = rustix::io::fcntl_getfd(fd).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
}

#[test]
fn the_host_has_clocks_and_randomness() {
    let host = OsHost::new();
    let before_ns = host.monotonic_ns();
    host.sleep(Duration::from_millis(2));
    assert!(host.monotonic_ns() - before_ns >= 2_000_000);
    let start_of_2026_ns = 1_767_225_600_000_000_000;
    assert!(host.wall_ns() > start_of_2026_ns);
    let (mut first, mut second) = ([0; 32], [0; 32]);
    host.fill_random(&mut first);
    host.fill_random(&mut second);
    assert!(first != second && first != [0; 32]);
    assert_eq!(host.process_id(), std::process::id());
}

/// A file system in memory takes such writes and keeps nothing; so may one that nobody has tried.
#[test]
fn a_write_is_believed_to_be_durable_only_where_the_power_was_cut() {
    let on_disk = tempfile::tempdir().unwrap();
    let in_memory = tempfile::tempdir_in("/dev/shm").ok();
    for root in std::iter::once(&on_disk).chain(&in_memory) {
        let disk = OsDisk::open_dir(root.path()).unwrap();
        let row = vec![7; 3 * 4096];
        let start = row.as_ptr().align_offset(4096);
        let (aligned, odd) = (&row[start..start + 4096], &row[start + 1..start + 4097]);
        let file = disk.open("f", Open::CreateNew).unwrap();
        write_all_at(&*file, &[0; 8192], 0).unwrap();
        file.sync().unwrap();
        let kind = rustix::fs::statfs(root.path()).unwrap().f_type;
        let is_tried = [0xef53, 0x5846_5342, 0x9123_683e].contains(&kind);
        println!("f_type {kind:#x}: {}", file.is_durable_past_cache());
        assert_eq!(file.is_durable_past_cache(), is_tried);
        let written = file.write_past_cache(aligned, 4096, true).unwrap();
        assert_eq!(written, is_tried.then_some(4096));
        for (data, offset) in [(odd, 4096), (&aligned[..512], 4096), (aligned, 512)] {
            for durable in [false, true] {
                let written = file.write_past_cache(data, offset, durable).unwrap();
                assert_eq!(written, None, "{} bytes at {offset}", data.len());
            }
        }
        assert!(!disk.open("f", Open::Read).unwrap().is_durable_past_cache());
    }
}

/// What the file system refuses has not been done, and is not tried again.
#[test]
fn a_refused_write_past_the_cache_goes_the_usual_way_from_then_on() {
    let root = tempfile::tempdir().unwrap();
    let disk = OsDisk::open_dir(root.path()).unwrap();
    drop(disk.open("f", Open::CreateNew).unwrap());
    let file = OsFile::new(disk.open_at("f", OFlags::RDWR).unwrap().into(), true);
    if !file.is_durable_past_cache() {
        println!("SKIPPED: no such writes here");
        return;
    }
    let row = vec![7; 2 * 4096];
    let start = row.as_ptr().align_offset(4096);
    // No file has such an offset: EINVAL, as from a device with larger blocks.
    let offset = 0_u64.wrapping_sub(1 << 20);
    assert_eq!(file.write_past_cache(&row[start..start + 4096], offset, true).unwrap(), None);
    assert!(!file.is_durable_past_cache());
    assert_eq!(file.write_past_cache(&row[start..start + 4096], 0, true).unwrap(), None);
    crate::disk::write_durably(&file, &row[start..start + 4096], 0).unwrap();
    assert_eq!(file.bytes().unwrap(), 4096);
}
