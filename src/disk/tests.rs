//! The contract of the seam, held against the real disk and the simulated one alike: the simulator proves
//! nothing about code that runs on a disk which behaves differently.

use std::io::ErrorKind;
use std::sync::Arc;

use super::os::OsDisk;
use super::sim::{Crash, CrashMode, Fault, SimDisk, SimHost};
use super::{
    Disk, DiskFile, Open, read_exact_at, read_file, read_up_to, replace_file, sync, write_all_at,
    write_all_past_cache, write_durably,
};

/// One of the ways to write all of some bytes.
type WriteAll = fn(&dyn DiskFile, &[u8], u64) -> std::io::Result<()>;

/// Runs a part of the contract on both disks, each empty.
fn on_both(contract: impl Fn(&dyn Disk)) {
    let dir = tempfile::tempdir().unwrap();
    contract(&OsDisk::open_dir(dir.path()).unwrap());
    contract(&*SimDisk::new(1).as_disk());
}

fn names(disk: &dyn Disk, dir: &str) -> Vec<String> {
    let mut names = disk.list(dir).unwrap();
    names.sort();
    names
}

fn put(disk: &dyn Disk, path: &str, content: &[u8]) {
    let file = disk.open(path, Open::CreateNew).unwrap();
    write_all_at(&*file, content, 0).unwrap();
}

fn content(disk: &dyn Disk, path: &str) -> Vec<u8> {
    read_file(disk, path, 1 << 20).unwrap()
}

#[test]
fn a_file_is_created_once_and_reads_what_was_written() {
    on_both(|disk| {
        let file = disk.open("a", Open::CreateNew).unwrap();
        assert_eq!(disk.open("a", Open::CreateNew).unwrap_err().kind(), ErrorKind::AlreadyExists);
        write_all_at(&*file, b"hello", 0).unwrap();
        write_all_at(&*file, b"J", 0).unwrap();
        assert_eq!(file.bytes().unwrap(), 5);
        assert_eq!(file.write_at(b"", 2).unwrap(), 0);
        sync(&*file).unwrap();
        assert_eq!(content(disk, "a"), b"Jello");
        let again = disk.open("a", Open::Write).unwrap();
        write_all_at(&*again, b"y", 4).unwrap();
        let mut buffer = [0; 5];
        read_exact_at(&*file, &mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"Jelly");
    });
}

#[test]
fn reading_past_the_end_gives_nothing_and_no_error() {
    on_both(|disk| {
        put(disk, "a", &[7; 700]);
        let file = disk.open("a", Open::Read).unwrap();
        let mut buffer = [1; 16];
        assert_eq!(file.read_at(&mut buffer, 700).unwrap(), 0);
        assert_eq!(file.read_at(&mut buffer, 1 << 40).unwrap(), 0);
        assert_eq!(read_up_to(&*file, &mut buffer, 690).unwrap(), 10);
        assert_eq!(buffer[..10], [7; 10]);
        let error = read_exact_at(&*file, &mut buffer, 690).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn growth_reads_as_zeros_and_a_cut_forgets() {
    on_both(|disk| {
        put(disk, "a", &[9; 1500]);
        let file = disk.open("a", Open::Write).unwrap();
        file.set_bytes(600).unwrap();
        file.set_bytes(2000).unwrap();
        let mut expected = vec![9; 600];
        expected.resize(2000, 0);
        assert_eq!(content(disk, "a"), expected);
        // A write behind the end leaves a gap of zeros.
        write_all_at(&*file, b"x", 3000).unwrap();
        expected.resize(3000, 0);
        expected.push(b'x');
        assert_eq!(content(disk, "a"), expected);
    });
}

#[test]
fn what_is_missing_is_not_found() {
    on_both(|disk| {
        let missing = |result: std::io::Result<()>| {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound);
        };
        missing(disk.open("a", Open::Read).map(drop));
        missing(disk.open("a", Open::Write).map(drop));
        missing(disk.open("dir/a", Open::CreateNew).map(drop));
        missing(disk.list("dir").map(drop));
        missing(disk.create_dir("dir/dir"));
        missing(disk.rename("a", "b"));
        missing(disk.remove("a"));
        missing(disk.sync_dir("dir"));
    });
}

#[test]
fn directories_hold_names_and_list_them() {
    on_both(|disk| {
        assert_eq!(names(disk, ""), Vec::<String>::new());
        disk.create_dir("wal").unwrap();
        assert_eq!(disk.create_dir("wal").unwrap_err().kind(), ErrorKind::AlreadyExists);
        put(disk, "wal/1", b"one");
        put(disk, "LEDGER", b"id");
        disk.sync_dir("wal").unwrap();
        disk.sync_dir("").unwrap();
        assert_eq!(names(disk, ""), ["LEDGER", "wal"]);
        assert_eq!(names(disk, "wal"), ["1"]);
        assert_eq!(disk.list("LEDGER").unwrap_err().kind(), ErrorKind::NotADirectory);
        assert_eq!(disk.remove("wal").unwrap_err().kind(), ErrorKind::IsADirectory);
    });
}

#[test]
fn a_rename_replaces_and_moves_between_directories() {
    on_both(|disk| {
        put(disk, "old", b"old");
        put(disk, "new", b"new");
        let replaced = disk.open("old", Open::Read).unwrap();
        disk.rename("new", "old").unwrap();
        assert_eq!(content(disk, "old"), b"new");
        assert_eq!(names(disk, ""), ["old"]);
        // What was open before is still that file.
        let mut buffer = [0; 3];
        read_exact_at(&*replaced, &mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"old");
        disk.create_dir("a").unwrap();
        disk.create_dir("b").unwrap();
        disk.rename("old", "a/f").unwrap();
        disk.rename("a", "c").unwrap();
        assert_eq!(content(disk, "c/f"), b"new");
        // A directory replaces an empty directory, and not a full one; nothing moves into itself.
        assert_eq!(disk.rename("b", "c").unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
        disk.rename("c", "b").unwrap();
        assert_eq!(disk.rename("b", "b/f").unwrap_err().kind(), ErrorKind::InvalidInput);
        disk.rename("b/f", "b/f").unwrap();
        disk.create_dir("e").unwrap();
        assert_eq!(disk.rename("b/f", "e").unwrap_err().kind(), ErrorKind::IsADirectory);
        assert_eq!(disk.rename("e", "b/f").unwrap_err().kind(), ErrorKind::NotADirectory);
        assert_eq!(names(disk, ""), ["b", "e"]);
        assert_eq!(names(disk, "b"), ["f"]);
    });
}

#[test]
fn a_removed_file_works_while_it_is_open() {
    on_both(|disk| {
        let file = disk.open("a", Open::CreateNew).unwrap();
        disk.remove("a").unwrap();
        write_all_at(&*file, b"still here", 0).unwrap();
        sync(&*file).unwrap();
        let mut buffer = [0; 10];
        read_exact_at(&*file, &mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"still here");
        assert_eq!(names(disk, ""), Vec::<String>::new());
    });
}

#[test]
fn a_file_opened_to_read_can_be_synced_and_not_changed() {
    on_both(|disk| {
        put(disk, "a", b"abc");
        let file = disk.open("a", Open::Read).unwrap();
        file.sync().unwrap();
        file.drop_cache().unwrap();
        assert!(file.write_at(b"x", 0).is_err());
        assert!(file.set_bytes(0).is_err());
        assert_eq!(content(disk, "a"), b"abc");
    });
}

/// Whether the file system has writes past the page cache or not, and whether the bytes fit for one or not.
#[test]
fn what_is_written_past_the_cache_is_there_and_the_file_is_used_as_before() {
    on_both(|disk| {
        let file = disk.open("a", Open::CreateNew).unwrap();
        let row = vec![7; 4 * 4096];
        let start = row.as_ptr().align_offset(4096);
        let aligned = &row[start..start + 2 * 4096];
        for write in [write_all_past_cache as WriteAll, write_durably] {
            for (data, offset) in
                [(aligned, 4096), (&row[start + 1..start + 100], 4096), (aligned, 17)]
            {
                // Somebody reads what is there before, and has it in the cache.
                drop(read_up_to(&*file, &mut vec![0; data.len()], offset));
                write(&*file, data, offset).unwrap();
                let mut read = vec![0; data.len()];
                read_exact_at(&*file, &mut read, offset).unwrap();
                assert!(read == data, "{} bytes at {offset}", data.len());
                file.write_at(b"odd", offset + 3).unwrap();
                file.sync().unwrap();
                let mut expected = data.to_vec();
                expected[3..6].copy_from_slice(b"odd");
                read_exact_at(&*file, &mut read, offset).unwrap();
                assert!(read == expected, "{} bytes at {offset}", data.len());
                file.write_at(&data[3..6], offset + 3).unwrap();
            }
        }
        let read_only = disk.open("a", Open::Read).unwrap();
        assert!(!read_only.is_durable_past_cache());
        assert_eq!(read_only.write_past_cache(aligned, 0, true).unwrap(), None);
        assert!(write_durably(&*read_only, aligned, 0).is_err());
    });
}

/// Short writes are gone on with, signals too; what fails fails, and what does not fit goes the usual way.
#[test]
fn what_is_written_durably_survives_the_power_cut_whichever_way_it_went() {
    for takes in [false, true] {
        for fault in [None, Some(Fault::ShortWrite), Some(Fault::Interrupted), Some(Fault::Eio)] {
            for call in 1..=2 {
                let disk = SimDisk::new(call);
                disk.set_past_cache(takes);
                let mounted = disk.as_disk();
                put(&*mounted, "a", &[1; 3 * 4096]);
                mounted.sync_dir("").unwrap();
                let file = mounted.open("a", Open::Write).unwrap();
                sync(&*file).unwrap();
                // Not synced, and none of the business of what follows.
                file.write_at(&[3; 512], 8192).unwrap();
                let calls = disk.io_calls();
                if let Some(fault) = fault {
                    disk.fail_call(call, fault);
                }
                let written = write_durably(&*file, &[2; 8192], 0);
                assert_eq!(written.is_err(), fault == Some(Fault::Eio), "{takes} {fault:?} {call}");
                assert!(disk.io_calls() - calls >= call, "{takes} {fault:?} {call}");
                disk.crash(Crash::new(CrashMode::DropAll, 0));
                if written.is_ok() {
                    let left = content(&*disk.as_disk(), "a");
                    assert!(left[..8192].iter().all(|byte| *byte == 2));
                    let other = u8::from(!(takes && fault.is_none()));
                    assert!(takes || left[8192] == 3, "fdatasync takes the whole file");
                    assert!(other == 1 || left[8192] == 1, "the other bytes were not meant");
                }
            }
        }
    }
}

#[test]
fn a_lock_is_held_once_until_it_is_dropped() {
    on_both(|disk| {
        let lock = disk.lock("LOCK").unwrap();
        assert_eq!(disk.lock("LOCK").unwrap_err().kind(), ErrorKind::WouldBlock);
        lock.write_content(b"12345").unwrap();
        lock.write_content(b"67").unwrap();
        assert_eq!(content(disk, "LOCK"), b"67");
        let other = disk.lock("OTHER").unwrap();
        drop(lock);
        let again = disk.lock("LOCK").unwrap();
        assert_eq!(content(disk, "LOCK"), b"67");
        drop((again, other));
    });
}

#[test]
fn a_small_file_is_replaced_whole() {
    on_both(|disk| {
        disk.create_dir("d").unwrap();
        replace_file(disk, "d", "f", b"one").unwrap();
        put(disk, "d/f.tmp", b"left over by a crash");
        replace_file(disk, "d", "f", b"two").unwrap();
        assert_eq!(content(disk, "d/f"), b"two");
        assert_eq!(names(disk, "d"), ["f"]);
        let error = read_file(disk, "d/f", 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    });
}

#[test]
fn the_directory_is_in_place_and_has_space() {
    on_both(|disk| {
        assert!(disk.is_in_place().unwrap());
        assert!(disk.free_bytes().unwrap() > 0);
        assert!(!disk.display_path().is_empty());
    });
}

#[test]
fn handles_are_shared_between_threads() {
    on_both(|disk| {
        let file = disk.open("a", Open::CreateNew).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let file = Arc::clone(&file);
                scope.spawn(move || {
                    write_all_at(&*file, &[thread; 100], u64::from(thread) * 100).unwrap();
                });
            }
        });
        let expected: Vec<u8> = (0..4).flat_map(|thread| [thread; 100]).collect();
        assert_eq!(content(disk, "a"), expected);
    });
}

/// What one file and directory operation after the other answers must be the same on both disks.
#[test]
fn random_operations_give_the_same_answers_on_both_disks() {
    for seed in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let real = OsDisk::open_dir(dir.path()).unwrap();
        let simulated = SimDisk::new(seed).as_disk();
        let host = SimHost::new(seed).as_host();
        let random = |end: u16| {
            let mut bytes = [0; 2];
            host.fill_random(&mut bytes);
            u16::from_le_bytes(bytes) % end
        };
        let paths = ["a", "b", "d/a", "d/b", "d", "e"];
        for step in 0..300_u16 {
            let path = paths[usize::from(random(6))];
            let other = paths[usize::from(random(6))];
            let (offset, bytes) = (u64::from(random(3000)), usize::from(random(1500)));
            let what = random(8);
            let run = |disk: &dyn Disk| -> Result<Vec<u8>, ErrorKind> {
                let answer = match what {
                    0 => disk.open(path, Open::CreateNew).map(|_| Vec::new()),
                    1 => disk.create_dir(path).map(|()| Vec::new()),
                    2 => disk.rename(path, other).map(|()| Vec::new()),
                    3 => disk.remove(path).map(|()| Vec::new()),
                    4 => disk.list(path).map(|_| names(disk, path).join("\n").into_bytes()),
                    5 => disk.open(path, Open::Write).and_then(|file| {
                        let [fill, _] = (step % 3).to_le_bytes();
                        write_all_at(&*file, &vec![fill; bytes], offset)?;
                        Ok(Vec::new())
                    }),
                    6 => disk.open(path, Open::Write).and_then(|file| {
                        file.set_bytes(offset)?;
                        file.sync()?;
                        file.drop_cache()?;
                        Ok(Vec::new())
                    }),
                    _ => match disk.open(path, Open::Write) {
                        Ok(_) => read_file(disk, path, 1 << 20),
                        Err(error) => Err(error),
                    },
                };
                answer.map_err(|error| error.kind())
            };
            let step = format!("seed {seed} step {step}: {what} {path} {other} {offset} {bytes}");
            assert_eq!(run(&real), run(&*simulated), "{step}");
        }
    }
}
