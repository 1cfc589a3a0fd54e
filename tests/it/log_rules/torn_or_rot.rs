//! D. Torn tail against rot (rules 28 to 33): one by one, then every bit, every sector, every length and
//! every file of a small ledger, and many thousand tears that a power cut may leave.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use order_ledger::disk::sim::{SimDisk, SimHost};
use order_ledger::{ErrorKind, How, Order};

use super::forge;
use crate::rig::{
    Random, all_orders, copy, durable, fill, fill_and_kill, kind, large, open, order, read, settle,
    sim, small, tear,
};

const FIRST: &str = "wal/0000000001.seg";

/// Three segments, closed cleanly: sealed, with a seal behind the last group and a witness.
fn specimen() -> (SimDisk, SimHost, Vec<Order>) {
    let (disk, host) = sim(28);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..11 {
        ledger.submit(&large(number, 2600)).unwrap();
        ledger.submit(&order(100 + number)).unwrap();
        ledger.tick();
    }
    let orders = all_orders(&ledger).unwrap();
    assert_eq!(ledger.stats().unwrap().segments, 3);
    ledger.close().unwrap();
    settle(&disk);
    (disk, host, orders)
}

/// What a damaged ledger may do: refuse, at opening or when the damage is read, or show all orders.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug, Clone, Copy)]
enum Verdict {
    Refused,
    RefusedAtReading,
    Harmless,
}

fn judge(disk: &SimDisk, host: &SimHost, orders: &[Order], told: &str) -> Verdict {
    let looked = catch_unwind(AssertUnwindSafe(|| {
        let ledger = match open(disk, host) {
            Ok(ledger) => ledger,
            Err(error) => {
                let stated = matches!(
                    error.kind(),
                    ErrorKind::Corrupt(_)
                        | ErrorKind::LogLostData { .. }
                        | ErrorKind::NotALedger { .. }
                        | ErrorKind::NewerFormat { .. }
                );
                assert!(stated, "{told}: {error}");
                return Verdict::Refused;
            }
        };
        let mut verdict = Verdict::Harmless;
        for order in orders {
            match ledger.by_key(&order.client, &order.key) {
                Ok(found) => assert_eq!(found.as_ref(), Some(order), "{told}: silent loss by key"),
                Err(_) => verdict = Verdict::RefusedAtReading,
            }
            match ledger.get(order.id()) {
                Ok(found) => assert_eq!(found.as_ref(), Some(order), "{told}: silent loss by id"),
                Err(_) => verdict = Verdict::RefusedAtReading,
            }
        }
        match all_orders(&ledger) {
            Ok(found) => assert!(found == orders, "{told}: silent loss, {} orders", found.len()),
            Err(_) => verdict = Verdict::RefusedAtReading,
        }
        verdict
    }));
    looked.unwrap_or_else(|_| panic!("{told}"))
}

/// The files whose damage must be noticed.
fn parts_of_the_log(disk: &SimDisk) -> Vec<(String, u64)> {
    let files = disk.files().into_iter();
    files.filter(|(path, _)| path.ends_with(".seg") || path == "LEDGER").collect()
}

/// Damages a copy in each of many ways, on two threads.
#[expect(clippy::print_stdout, reason = "the figures of a matrix are worth seeing")]
fn matrix(
    name: &str,
    cases: &[(String, u64)],
    damage: impl Fn(&SimDisk, &str, u64) + Sync,
) -> BTreeMap<Verdict, u64> {
    let (disk, _, orders) = specimen();
    let image = disk.snapshot();
    let total = std::sync::Mutex::new(BTreeMap::new());
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let (disk, host) = sim(28);
                let mut own = BTreeMap::<Verdict, u64>::new();
                loop {
                    let start = next.fetch_add(256, std::sync::atomic::Ordering::Relaxed);
                    let Some(some) = cases.get(start..cases.len().min(start + 256)) else { break };
                    if some.is_empty() {
                        break;
                    }
                    for (path, place) in some {
                        disk.restore(&image);
                        damage(&disk, path, *place);
                        let told = format!("{name} {path} {place}");
                        *own.entry(judge(&disk, &host, &orders, &told)).or_default() += 1;
                    }
                }
                for (verdict, count) in own {
                    *total.lock().unwrap().entry(verdict).or_default() += count;
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    assert_eq!(total.values().sum::<u64>(), cases.len() as u64);
    println!("{name}: {total:?}");
    total
}

#[test]
fn every_single_bit_of_the_log_is_noticed_or_harmless() {
    let (disk, ..) = specimen();
    let mut cases = Vec::new();
    for (path, bytes) in parts_of_the_log(&disk) {
        let content = disk.read_durable(&path).unwrap();
        for bit in 0..bytes * 8 {
            // Of the blocks of zeros, every bit of every 64th byte: they are all alike.
            let start = usize::try_from(bit / 8 / 64 * 64).unwrap();
            let empty = content[start..content.len().min(start + 64)].iter().all(|byte| *byte == 0);
            if !empty || bit / 8 % 64 == 0 {
                cases.push((path.clone(), bit));
            }
        }
    }
    let found = matrix("bit", &cases, |disk, path, bit| disk.flip_bit(path, bit).unwrap());
    assert!(found[&Verdict::Refused] > 20_000, "{found:?}");
}

#[test]
fn every_zeroed_sector_is_noticed_or_harmless() {
    let (disk, ..) = specimen();
    let mut cases = Vec::new();
    for (path, bytes) in parts_of_the_log(&disk) {
        cases.extend((0..bytes).step_by(512).map(|at| (path.clone(), at)));
    }
    let found = matrix("zeroed sector", &cases, |disk, path, at| {
        let bytes = disk.read_durable(path).unwrap().len() as u64;
        let length = usize::try_from((bytes - at).min(512)).unwrap();
        disk.overwrite(path, at, &vec![0; length]).unwrap();
    });
    assert!(found[&Verdict::Refused] > 5, "{found:?}");
}

#[test]
fn a_sector_of_another_place_is_noticed_or_harmless() {
    let (disk, ..) = specimen();
    let cases: Vec<_> = parts_of_the_log(&disk)
        .into_iter()
        .filter(|(path, _)| path.starts_with("wal/"))
        .flat_map(|(path, bytes)| (0..bytes - 512).step_by(512).map(move |at| (path.clone(), at)))
        .collect();
    matrix("sector of the next", &cases, |disk, path, at| {
        let start = usize::try_from(at).unwrap() + 512;
        let content = disk.read_durable(path).unwrap();
        let end = content.len().min(start + 512);
        disk.overwrite(path, at, &content[start..end]).unwrap();
    });
}

#[test]
fn every_shorter_length_and_every_missing_file_is_noticed_or_harmless() {
    let (disk, ..) = specimen();
    let mut cases = Vec::new();
    for (path, bytes) in parts_of_the_log(&disk) {
        cases.extend((0..bytes).step_by(64).map(|length| (path.clone(), length)));
    }
    matrix("length", &cases, |disk, path, length| disk.truncate(path, length).unwrap());
    let cases: Vec<_> = parts_of_the_log(&disk);
    let found = matrix("removed", &cases, |disk, path, _| disk.remove_durably(path).unwrap());
    assert_eq!(found, BTreeMap::from([(Verdict::Refused, cases.len() as u64)]));
}

/// Any part of the last group's sectors arrived, any part did not: that is what a power cut leaves.
#[test]
fn twenty_thousand_torn_groups_are_cut_and_never_refused() {
    let mut random = Random::new(4);
    let (mut cut, mut whole) = (0, 0);
    for image in 0..40 {
        let (disk, host) = sim(image);
        let options = match image % 2 {
            0 => small().segment_bytes(64 * 1024),
            _ => small().segment_bytes(64 * 1024).group_padding(order_ledger::GroupPadding::Block),
        };
        let ledger = options.open_simulated(disk.as_disk(), host.as_host()).unwrap();
        let before = 1 + random.below(5);
        fill(&ledger, before);
        let old = disk.read_durable(FIRST).unwrap();
        let batch: Vec<_> = (0..1 + random.below(30))
            .map(|number| large(1000 + number, random.index(400)))
            .collect();
        assert!(ledger.submit_many(&batch).iter().all(Result::is_ok));
        let new = disk.read_durable(FIRST).unwrap();
        disk.kill();
        drop(ledger);
        let sectors: Vec<usize> = (0..new.len())
            .step_by(512)
            .filter(|at| old[*at..at + 512] != new[*at..at + 512])
            .collect();
        let snapshot = disk.snapshot();
        for _ in 0..500 {
            disk.restore(&snapshot);
            let odds = 1 + random.below(7);
            for at in &sectors {
                if random.chance(odds, 8) {
                    let mut sector = old[*at..at + 512].to_vec();
                    if random.chance(1, 4) {
                        let bytes = random.index(512);
                        sector[..bytes].copy_from_slice(&new[*at..at + bytes]);
                    }
                    disk.overwrite(FIRST, *at as u64, &sector).unwrap();
                }
            }
            let seen = read(&disk).unwrap().orders().count() as u64;
            let ledger = open(&disk, &host).unwrap();
            let orders = all_orders(&ledger).unwrap().len() as u64;
            assert_eq!(seen, orders);
            match orders == before {
                true => cut += 1,
                false => {
                    assert_eq!(orders, before + batch.len() as u64);
                    whole += 1;
                }
            }
        }
    }
    println!("{cut} groups cut, {whole} whole");
    assert!(cut > 15_000 && whole > 100);
}

#[test]
fn rule_28_damage_is_judged_per_group() {
    let (disk, host) = sim(281);
    fill_and_kill(&disk, &host, 6);
    let (_, groups) = forge::end(&disk, FIRST);
    for (index, group) in groups.iter().enumerate() {
        for offset in [0, 8, 16, 24, 40, 44, 48, 52, 60, 64, 70, 90] {
            let copy = copy(&disk);
            copy.flip_bit(FIRST, (group.offset + offset) as u64 * 8).unwrap();
            let last = index + 1 == groups.len();
            match open(&copy, &host) {
                Ok(ledger) => {
                    assert!(last, "group {index} had been durable");
                    assert_eq!(all_orders(&ledger).unwrap().len(), 5);
                    let why = ledger.recovery_report().torn_why.clone().unwrap();
                    assert!(!why.is_empty());
                }
                Err(error) => {
                    assert!(!last, "{error}");
                    let ErrorKind::Corrupt(damage) = error.kind() else { panic!("{error}") };
                    assert_eq!(damage.file, FIRST);
                    assert_eq!(damage.offset, Some(group.offset as u64));
                    assert_eq!(damage.first_seq.unwrap().0, group.first_seq);
                    assert_eq!(damage.last_seq.unwrap().0, group.first_seq);
                }
            }
        }
    }
}

/// A payload may hold anything, also bytes of the log itself: groups before it are no proof.
#[test]
fn rule_28_a_torn_group_whose_payload_looks_like_groups_is_cut() {
    let (disk, host) = sim(282);
    let options = small().segment_bytes(64 * 1024);
    let ledger = options.open_simulated(disk.as_disk(), host.as_host()).unwrap();
    fill(&ledger, 6);
    let mut payload = disk.read_durable(FIRST).unwrap();
    payload.truncate(8192);
    let old = disk.read_durable(FIRST).unwrap();
    ledger.submit(&order_ledger::Submission::new("web", "copy", payload)).unwrap();
    disk.kill();
    drop(ledger);
    tear(&disk, FIRST, &old);
    let ledger = open(&disk, &host).unwrap();
    assert!(ledger.recovery_report().torn_bytes > 4096);
    assert_eq!(all_orders(&ledger).unwrap().len(), 6);
}

#[test]
fn rule_29_an_idle_ledger_proves_its_last_group_within_a_bounded_time() {
    for witness in [true, false] {
        let (disk, host) = sim(29);
        let ledger = open(&disk, &host).unwrap();
        fill(&ledger, 3);
        ledger.tick();
        let (_, groups) = forge::end(&disk, FIRST);
        assert_eq!(groups.len(), 3, "sealed too early: the ledger was not idle");
        host.advance(Duration::from_millis(500));
        ledger.tick();
        disk.kill();
        drop(ledger);
        let (_, groups) = forge::end(&disk, FIRST);
        assert_eq!((groups.len(), groups[3].count), (4, 0));
        if !witness {
            disk.remove_durably("derived/tables/MANIFEST").unwrap();
        }
        disk.flip_bit(FIRST, (groups[2].offset + 70) as u64 * 8).unwrap();
        assert!(matches!(kind(open(&disk, &host)), ErrorKind::Corrupt(_)));
    }
}

/// No room for a seal: then the witness alone proves the last group, and must say so.
#[test]
fn rule_29_a_full_segment_without_room_for_a_seal_is_proven_by_the_witness() {
    let (disk, host) = sim(291);
    let options = small().group_padding(order_ledger::GroupPadding::Block);
    let ledger = options.open_simulated(disk.as_disk(), host.as_host()).unwrap();
    fill(&ledger, 3);
    host.advance(Duration::from_secs(60));
    ledger.tick();
    disk.kill();
    drop(ledger);
    let (segment, groups) = forge::end(&disk, FIRST);
    assert_eq!(groups.len(), 3);
    assert_eq!(groups[2].offset + groups[2].padded, segment.len(), "there is room for a seal");
    disk.flip_bit(FIRST, (groups[2].offset + 70) as u64 * 8).unwrap();
    assert!(matches!(kind(open(&disk, &host)), ErrorKind::LogLostData { .. }));
}

#[test]
fn rule_30_and_32_rot_is_refused_with_its_place_and_no_byte_is_changed() {
    let (disk, host, _) = specimen();
    let path = "wal/0000000003.seg";
    let (_, groups) = forge::end(&disk, path);
    disk.flip_bit(path, (groups[0].offset + 100) as u64 * 8).unwrap();
    let before = durable(&disk, "");
    for _ in 0..3 {
        let ErrorKind::Corrupt(damage) = kind(open(&disk, &host)) else { panic!() };
        assert_eq!((damage.file.as_str(), damage.offset), (path, Some(groups[0].offset as u64)));
        assert_eq!(damage.first_seq.unwrap().0, groups[0].first_seq);
        let mut after = durable(&disk, "");
        after.insert("LOCK".into(), before["LOCK"].clone());
        assert!(before == after, "damage was laundered");
        assert!(matches!(kind(read(&disk)), ErrorKind::Corrupt(_)));
    }
}

#[test]
fn rule_31_any_invalid_byte_of_a_sealed_segment_is_damage_and_never_an_absence() {
    let (disk, host, orders) = specimen();
    let (_, groups) = forge::end(&disk, FIRST);
    let damaged = &orders[0];
    disk.flip_bit(FIRST, (groups[0].offset + 64 + 20 + 5) as u64 * 8).unwrap();
    // Sealed segments are not read when a ledger is opened; the damage is found where it is read.
    let ledger = open(&disk, &host).unwrap();
    assert!(matches!(kind(ledger.by_key(&damaged.client, &damaged.key)), ErrorKind::Corrupt(_)));
    assert!(matches!(kind(ledger.submit(&large(0, 2600))), ErrorKind::Corrupt(_)));
    assert!(matches!(kind(all_orders(&ledger)), ErrorKind::Corrupt(_)));
    assert_eq!(ledger.submit(&large(1, 2600)).unwrap().how, How::Replayed);
    drop(ledger);
    // Without its footer the segment has to be read, and is not cut at the damage.
    let bytes = disk.read_durable(FIRST).unwrap().len() as u64;
    disk.flip_bit(FIRST, (bytes - 100) * 8).unwrap();
    assert!(matches!(kind(open(&disk, &host)), ErrorKind::Corrupt(_)));
}
