//! Memory: a damaged ledger costs no more memory than a sound one, whatever its lengths claim.
//!
//! A binary of its own, with one test and one thread, because the allocator that counts is the whole
//! process's. The story: a length of four bytes that rotted is an allocation of four gigabytes in
//! PostgreSQL's, etcd's and redb's history (RELIABILITY rule 20), and a process that is killed for its
//! memory refuses nothing and says nothing.
//!
//! A log of several segments of 1 MiB is damaged in one place, then verified, read by a reader, opened by
//! a writer and read again. At no moment may this take twice the largest file's memory. The places: every
//! byte of the headers, of the first frames, of the sections' heads and of the footers, each with every
//! bit flipped alone and with all of them, and random ones in between.
//!
//! `ORDER_LEDGER_DEPTH=sample|gate|full` says how much of it; the result is part of layer L3.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by failing, in its helpers as well"
)]

use order_ledger::disk::sim::{SimDisk, SimHost};
use order_ledger::{Options, Reader, Submission, Views, verify_on};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

fn options() -> Options {
    Options::new()
        .segment_bytes(1024 * 1024)
        .disk_reserve_bytes(0)
        .disk_free_min_bytes(0)
        .views(Views::Off)
}

/// Three segments, two of them sealed, and the damages as (file, byte, mask).
fn specimen() -> (SimDisk, Vec<(String, u64, u8)>, u64) {
    let (disk, host) = (SimDisk::new(1), SimHost::new(1));
    let ledger = options().open_simulated(disk.as_disk(), host.as_host()).unwrap();
    for number in 0.. {
        let payload = vec![7; 20_000 + 1_000 * (number % 9)];
        ledger.submit(&Submission::new("web", format!("k{number}"), payload)).unwrap();
        ledger.tick();
        if ledger.stats().unwrap().segments == 3 && number % 10 == 0 {
            break;
        }
    }
    ledger.close().unwrap();
    // First, so that every depth has it: the length of the first record, whose rot once cost 16 MiB.
    let mut damages = vec![("wal/0000000001.seg".to_owned(), 4096 + 64 + 2, 255)];
    let mut largest = 0;
    let all = [1, 2, 4, 8, 16, 32, 64, 128, 255];
    for (path, bytes) in disk.files().into_iter().filter(|(path, _)| path != "LOCK") {
        largest = largest.max(bytes);
        let content = disk.read_durable(&path).unwrap();
        let mut places: Vec<u64> = (0..bytes.min(96)).collect();
        // Groups and their first frames, sections and footers: all begin where a block does, or say so.
        for (at, _) in content.windows(4).enumerate().filter(|(_, window)| *window == b"OLGR") {
            places.extend(at as u64..at as u64 + 84);
        }
        if path.ends_with(".seg") {
            places.extend((0..4u64).flat_map(|block| {
                let start = bytes - 4096 * (block + 1);
                start..start + 160
            }));
            places.extend((0..400u64).map(|step| step * 2_621 % bytes));
        }
        damages.extend(places.iter().flat_map(|byte| all.map(|mask| (path.clone(), *byte, mask))));
    }
    (disk, damages, largest)
}

fn one_in() -> usize {
    match std::env::var("ORDER_LEDGER_DEPTH").as_deref() {
        Ok("full") => 1,
        Ok("gate") => 50,
        Ok("sample") => 1_000,
        Ok(other) => panic!("ORDER_LEDGER_DEPTH={other}"),
        Err(_) if cfg!(debug_assertions) => 1_000,
        Err(_) => 50,
    }
}

/// Looks at everything in every way; errors are fine, it is the memory that counts.
fn look(disk: &SimDisk, host: &SimHost) {
    drop(verify_on(disk.as_disk(), host, &mut |_, _| {}));
    if let Ok(reader) = Reader::open_on(disk.as_disk(), host) {
        reader.orders().for_each(drop);
    }
    if let Ok(ledger) = options().open_simulated(disk.as_disk(), host.as_host()) {
        ledger.orders().for_each(drop);
        drop(ledger.by_key("web", "k3"));
    }
}

#[test]
fn damage_never_costs_twice_the_memory_of_the_largest_file() {
    let (disk, damages, largest) = specimen();
    let image = disk.snapshot();
    let host = SimHost::new(2);
    let (mut cases, mut worst, mut worst_at) = (0, 0, None);
    for (path, byte, mask) in damages.iter().step_by(one_in()) {
        disk.restore(&image);
        let old = disk.read_durable(path).unwrap()[usize::try_from(*byte).unwrap()];
        disk.overwrite(path, *byte, &[old ^ mask]).unwrap();
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        look(&disk, &host);
        let peak = MEMORY.peak_usage().saturating_sub(before) as u64;
        cases += 1;
        if peak > worst {
            (worst, worst_at) = (peak, Some((path, byte, mask)));
        }
    }
    println!("largest file {largest} bytes; worst of {cases} cases: {worst} bytes at {worst_at:?}");
    println!(
        "RESULT {{\"layer\":\"L3-memory\",\"cases\":{cases},\"peak_bytes_max\":{worst},\
         \"largest_file_bytes_max\":{largest},\"violations\":{}}}",
        u64::from(worst >= 2 * largest)
    );
    assert!(worst < 2 * largest, "{worst} bytes of memory for files of {largest}: {worst_at:?}");
    assert!(worst > 1024, "nothing was counted");
}
