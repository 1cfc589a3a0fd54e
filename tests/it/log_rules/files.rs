//! F. Around the file (rules 45 to 52).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use order_ledger::disk::sim::{Crash, CrashMode, Fault, SimHost};
use order_ledger::{Durability, ErrorKind, How, Ledger, Options, Reader, Submission, Views};

use super::forge;
use crate::rig::{
    Call, Hooked, all_orders, copy, durable, fill, fill_and_kill, kind, large, open, order, read,
    settle, sim, small,
};

const FIRST: &str = "wal/0000000001.seg";

#[test]
fn rule_45_a_second_opener_fails_at_once_also_in_the_same_process() {
    let (disk, host) = sim(45);
    let ledger = open(&disk, &host).unwrap();
    fill(&ledger, 1);
    let before = durable(&disk, "wal");
    assert_eq!(kind(open(&disk, &host)), ErrorKind::Locked { pid: Some(1000) });
    assert!(before == durable(&disk, "wal"));
    // The lock goes with its process, however that ends.
    disk.kill();
    let second = open(&disk, &host).unwrap();
    assert!(ledger.submit(&order(5)).is_err(), "a dead process wrote");
    drop(ledger);
    assert_eq!(kind(open(&disk, &host)), ErrorKind::Locked { pid: Some(1000) });
    second.close().unwrap();
    open(&disk, &host).unwrap();
}

#[test]
fn rule_46_a_directory_that_is_moved_under_a_running_ledger_is_noticed() {
    let (disk, host) = sim(46);
    let ledger = open(&disk, &host).unwrap();
    fill(&ledger, 1);
    disk.set_in_place(false);
    ledger.tick();
    assert!(matches!(kind(ledger.submit(&order(9))), ErrorKind::Poisoned { .. }));
    assert_eq!(all_orders(&ledger).unwrap().len(), 1);
}

#[test]
fn rule_46_a_ledger_that_was_renamed_is_never_split_in_two() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("a.ledger"), dir.path().join("b.ledger"));
    let options = Options::new().views(Views::Off).segment_bytes(1 << 20);
    let ledger = options.open(&old).unwrap();
    ledger.submit(&order(1)).unwrap();
    std::process::Command::new("mv").args([&old, &new]).status().unwrap();
    // What is still written goes where the rest of the ledger is.
    for number in 2..20 {
        drop(ledger.submit(&Submission::new("web", format!("k{number}"), vec![7; 100_000])));
    }
    drop(ledger);
    assert!(!old.exists(), "something was written where the ledger was");
    let reader = Reader::open(&new).unwrap();
    assert!(reader.by_key("web", "k1").unwrap().is_some());
}

#[test]
fn rule_47_a_forked_child_does_not_write() {
    let (disk, host) = sim(47);
    let ledger = open(&disk, &host).unwrap();
    let receipts = fill(&ledger, 2);
    let before = durable(&disk, "");
    let pending = disk.pending_units();
    host.set_process_id(1001);
    assert!(matches!(kind(ledger.submit(&order(9))), ErrorKind::Poisoned { .. }));
    assert!(matches!(kind(ledger.submit_many(&[order(10)]).remove(0)), ErrorKind::Poisoned { .. }));
    let mut ticket = ledger.submit_deferred(&order(11));
    ledger.pump();
    assert!(matches!(kind(ticket.wait(None)), ErrorKind::Poisoned { .. }));
    host.advance(Duration::from_secs(100));
    ledger.tick();
    assert_eq!(ledger.submit(&order(1)).unwrap().receipt, receipts[1]);
    assert!(matches!(kind(ledger.clone().close()), ErrorKind::Poisoned { .. }));
    assert!(before == durable(&disk, ""));
    assert_eq!(disk.pending_units(), pending);
}

#[test]
fn rule_48_a_reader_takes_no_lock_and_changes_no_byte() {
    let (disk, host) = sim(48);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..8 {
        ledger.submit(&large(number, 3000)).unwrap();
    }
    let reader = read(&disk).unwrap();
    assert_eq!(reader.orders().count(), 8, "beside a writer");
    ledger.submit(&order(100)).unwrap();
    disk.kill();
    drop(ledger);
    disk.write_durably("wal/next.tmp", b"half made").unwrap();
    let before = durable(&disk, "");
    // A torn tail, leftovers, segments that are not sealed: seen, and left as they are.
    let (_, groups) = forge::end(&disk, "wal/0000000003.seg");
    let end = groups.last().unwrap();
    disk.overwrite("wal/0000000003.seg", (end.offset + end.padded) as u64, b"OLGR torn").unwrap();
    let torn = durable(&disk, "");
    let (hooked, calls) = Hooked::recording(&disk);
    // It comes as far as the torn tail: a reader that refuses earlier leaves it alone for another reason.
    let reader = Reader::open_on(hooked, &host).unwrap();
    assert_eq!(reader.orders().count(), 9);
    drop(reader);
    assert!(torn == durable(&disk, "") && torn != before);
    for line in crate::rig::lines(&calls) {
        let reads = ["open ", "list", "read", "sync wal/", "drop cache"];
        assert!(reads.iter().any(|what| line.starts_with(what)), "{line}");
        assert!(!line.starts_with("open to write"), "{line}");
    }
}

/// A group that is written and not synced yet is in the page cache, for every process to see.
#[test]
fn rule_48_a_reader_shows_nothing_that_a_power_cut_can_take_back() {
    let (disk, host) = sim(484);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (inner, list) = (disk.clone(), Arc::clone(&seen));
    let hook = move |call: &Call| {
        if call.what != "sync" || call.path != FIRST {
            return;
        }
        let Ok(reader) = read(&inner) else { return };
        let shown = reader.orders().count();
        let cut = copy(&inner);
        cut.crash(Crash::new(CrashMode::DropAll, 0));
        let left = all_orders(&open(&cut, &SimHost::new(1)).unwrap()).unwrap().len();
        list.lock().unwrap().push((shown, left));
    };
    let hooked = Hooked::new(disk.as_disk(), Arc::new(hook));
    let ledger = small().open_simulated(hooked, host.as_host()).unwrap();
    fill(&ledger, 4);
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.iter().map(|(shown, _)| *shown).max(), Some(4), "{seen:?}");
    assert!(seen.iter().all(|(shown, left)| shown <= left), "{seen:?}");
}

/// On a mount that can only be read nothing is dirty, and syncing may not even be possible.
#[test]
fn rule_48_a_reader_works_where_nothing_can_be_synced() {
    let (disk, host) = sim(480);
    fill_and_kill(&disk, &host, 3);
    disk.fail_from(1, Fault::Erofs);
    let reader = Reader::open_on(disk.as_disk(), &host).unwrap();
    assert_eq!(reader.orders().count(), 3);
}

/// The writer goes on while the reader looks: between two reads of the reader it writes whole groups,
/// rotates and seals. The reader must neither see damage nor miss what was there when it began.
#[test]
fn rule_48_a_reader_is_not_led_astray_by_a_writer_that_is_faster() {
    for pace in 4..12u64 {
        let (disk, host) = sim(481 + pace);
        let ledger = open(&disk, &host).unwrap();
        fill(&ledger, 5);
        let number = Arc::new(AtomicU64::new(1000));
        let writer: Arc<Mutex<Ledger>> = Arc::new(Mutex::new(ledger));
        let (behind, count, clock) = (Arc::clone(&writer), Arc::clone(&number), host.clone());
        let reads = AtomicU64::new(0);
        let hook = move |call: &Call| {
            // Never more than the reader can read meanwhile, and it never stops.
            let reads = reads.fetch_add(1, Ordering::Relaxed);
            assert!(reads < 100_000, "the reader never ends");
            if call.what == "read" && reads % pace < 2 {
                let ledger = behind.lock().unwrap();
                let number = count.fetch_add(1, Ordering::Relaxed);
                ledger.submit(&large(number, 300)).unwrap();
                if number % 7 == 0 {
                    clock.advance(Duration::from_secs(1));
                    ledger.tick();
                }
            }
        };
        let hooked = Hooked::new(disk.as_disk(), Arc::new(hook));
        let reader = match Reader::open_on(hooked, &SimHost::new(1)) {
            Ok(reader) => reader,
            Err(error) => panic!("pace {pace}: {error}"),
        };
        let seen: Vec<_> = reader.orders().map(Result::unwrap).collect();
        assert!(seen.len() >= 5);
        let all = all_orders(&writer.lock().unwrap()).unwrap();
        assert!(seen[..] == all[..seen.len()]);
        assert!(number.load(Ordering::Relaxed) > 1003);
    }
}

/// The reader finds zeros where the next group will be; then two groups are written; then it looks what
/// follows the zeros, and finds the second one. The first was never bad, it was not there yet.
#[test]
fn rule_48_groups_that_come_while_a_reader_looks_for_the_end_are_not_damage() {
    let (disk, host) = sim(490);
    let options = small().segment_bytes(1 << 20);
    let ledger = options.open_simulated(disk.as_disk(), host.as_host()).unwrap();
    fill(&ledger, 5);
    let number = AtomicU64::new(1000);
    let writer = ledger.clone();
    let hook = move |call: &Call| {
        let looks_ahead = call.what == "read" && call.bytes > 64 * 1024;
        if looks_ahead && number.load(Ordering::Relaxed) < 1100 {
            for _ in 0..2 {
                writer.submit(&order(number.fetch_add(1, Ordering::Relaxed))).unwrap();
            }
        }
    };
    let hooked = Hooked::new(disk.as_disk(), Arc::new(hook));
    let began_ns = host.as_host().monotonic_ns();
    let reader = Reader::open_on(hooked, &host).unwrap();
    // Nor need it begin anew after a pause: it goes on from where it was.
    assert!(host.as_host().monotonic_ns() - began_ns < 20_000_000);
    let seen: Vec<_> = reader.orders().map(Result::unwrap).collect();
    assert!(seen.len() >= 5);
    assert!(seen[..] == all_orders(&ledger).unwrap()[..seen.len()]);
}

#[test]
fn rule_48_readers_beside_a_writer_in_real_threads_see_what_was_acknowledged_and_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.ledger");
    let options = Options::new()
        .views(Views::Off)
        .segment_bytes(1 << 20)
        .seal_after(Duration::from_millis(1));
    let ledger = options.open(&path).unwrap();
    let acknowledged = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let opened = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let started = std::time::Instant::now();
            let mut number = 0;
            while started.elapsed() < Duration::from_secs(2) {
                if started.elapsed() < Duration::from_secs(1) {
                    let batch: Vec<_> = (0..20).map(|n| large(number + n, 600)).collect();
                    assert!(ledger.submit_many(&batch).iter().all(Result::is_ok));
                    number += 20;
                } else {
                    // Small groups, as fast as they go: many between two reads of a reader.
                    for _ in 0..50 {
                        ledger.submit(&order(number)).unwrap();
                        number += 1;
                    }
                }
                acknowledged.store(number, Ordering::Release);
                let key = format!("k{}", number - 1);
                assert!(ledger.by_key("web", key).unwrap().is_some(), "acknowledged and not seen");
            }
            done.store(true, Ordering::Release);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let least = acknowledged.load(Ordering::Acquire);
                    let reader = Reader::open(&path).unwrap();
                    let mut count = 0;
                    for order in reader.orders() {
                        count += 1;
                        assert_eq!(order.unwrap().id().seq().0, count);
                    }
                    assert!(count >= least, "{count} of {least}");
                    opened.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let (orders, readers) = (acknowledged.into_inner(), opened.into_inner());
    println!("{readers} readers beside {orders} orders");
    assert!(orders > 20 && readers > 2);
}

#[test]
fn rule_50_a_newer_version_is_refused_and_not_touched() {
    let (disk, host) = sim(50);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..8 {
        ledger.submit(&large(number, 3000)).unwrap();
    }
    ledger.tick();
    ledger.close().unwrap();
    settle(&disk);
    let refused = |image: &order_ledger::disk::sim::SimDisk, what: &str| {
        let before = durable(image, "");
        for kind in [kind(open(image, &host)), kind(read(image))] {
            assert!(
                matches!(kind, ErrorKind::NewerFormat { found: 2, known: 1 }),
                "{what}: {kind:?}"
            );
        }
        let mut after = durable(image, "");
        after.insert("LOCK".into(), before["LOCK"].clone());
        assert!(before == after, "{what}: touched");
    };
    // The identity, also when a newer version made it longer and sums it otherwise.
    for longer in [false, true] {
        let image = copy(&disk);
        let mut identity = image.read_durable("LEDGER").unwrap();
        identity[8] = 2;
        let end = identity.len() - 4;
        let crc = crc32fast::hash(&identity[..end]);
        identity[end..].copy_from_slice(&crc.to_le_bytes());
        if longer {
            identity.extend([9; 100]);
        }
        image.write_durably("LEDGER", &identity).unwrap();
        refused(&image, "LEDGER");
    }
    for number in 1..=3 {
        let image = copy(&disk);
        let path = format!("wal/{number:010}.seg");
        let mut segment = image.read_durable(&path).unwrap();
        segment[8] = 2;
        forge::close_block(&mut segment);
        image.write_durably(&path, &segment).unwrap();
        refused(&image, "segment header");
    }
    let image = copy(&disk);
    let mut segment = image.read_durable(FIRST).unwrap();
    let footer = segment.len() - 4096;
    segment[footer + 8] = 2;
    forge::close_block(&mut segment[footer..]);
    image.write_durably(FIRST, &segment).unwrap();
    refused(&image, "footer");
}

/// Flags that this program does not know are a newer version's, not a torn group.
#[test]
fn rule_50_a_group_with_flags_of_a_newer_version_is_refused_and_not_cut() {
    let (disk, host) = sim(501);
    fill_and_kill(&disk, &host, 3);
    let (segment, groups) = forge::end(&disk, FIRST);
    let last = groups.last().unwrap();
    let next = last.first_seq + u64::from(last.count);
    let group = forge::group(&segment, 4, last.number + 1, next, last.crc, &[]);
    disk.overwrite(FIRST, (last.offset + last.padded) as u64, &group).unwrap();
    let before = durable(&disk, "wal");
    for kind in [kind(open(&disk, &host)), kind(read(&disk))] {
        assert_eq!(kind, ErrorKind::NewerFormat { found: 2, known: 1 });
    }
    assert!(before == durable(&disk, "wal"));
}

#[test]
fn rule_52_bounds_are_checked_before_a_group_is_formed() {
    let (disk, host) = sim(52);
    let options = small().queue_orders_max(8).client_share_percent(100);
    let ledger = options.open_simulated(disk.as_disk(), host.as_host()).unwrap();
    let mut tickets: Vec<_> =
        (0..20).map(|number| ledger.submit_deferred(&order(number))).collect();
    ledger.pump();
    let taken = tickets.iter_mut().filter_map(|ticket| ticket.wait(None).ok()).count();
    assert_eq!(taken, 8);
    assert!(matches!(
        kind(ledger.submit(&Submission::new("web", "huge", vec![0; (16 << 20) + 1]))),
        ErrorKind::Invalid { .. }
    ));
    assert_eq!(all_orders(&ledger).unwrap().len(), 8);
}

#[test]
fn a_relaxed_ledger_is_never_opened_as_a_durable_one() {
    let (disk, host) = sim(53);
    let relaxed = small().durability(Durability::Relaxed);
    relaxed.open_simulated(disk.as_disk(), host.as_host()).unwrap().close().unwrap();
    assert!(matches!(kind(open(&disk, &host)), ErrorKind::DurabilityMismatch { .. }));
    let ledger = relaxed.open_simulated(disk.as_disk(), host.as_host()).unwrap();
    assert_eq!(ledger.submit(&order(1)).unwrap().how, How::Fresh);
}
