//! D. Torn tail against rot (rules 28 to 33), one by one. Every bit, sector, length and file of a log is
//! damaged in `rot_matrix`, and what a power cut may leave is opened in `false_alarms`.

use std::time::Duration;

use order_ledger::disk::sim::{SimDisk, SimHost};
use order_ledger::{ErrorKind, How, Order};

use super::forge;
use crate::rig::{
    all_orders, copy, durable, fill, fill_and_kill, kind, large, open, order, read, settle, sim,
    small, tear,
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
