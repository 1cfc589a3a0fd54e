//! C. Record format (rules 18 to 27; 18 to 20 also beside the frame, in `src/wal/frame.rs`).

use order_ledger::disk::sim::{Crash, CrashMode, SimDisk};
use order_ledger::{ErrorKind, How};

use super::forge::{self, GROUPS_START, Record, append, close_block, groups, u64_at};
use crate::rig::{
    Hooked, all_orders, copy, durable, fill, fill_and_kill, kind, large, open, order, settle, sim,
    small, tear,
};

const FIRST: &str = "wal/0000000001.seg";
const SECOND: &str = "wal/0000000002.seg";

#[test]
fn rule_19_and_20_a_length_that_no_group_can_have_is_a_torn_tail_and_allocates_nothing() {
    let (disk, host) = sim(20);
    fill_and_kill(&disk, &host, 3);
    let (segment, groups) = forge::end(&disk, FIRST);
    let last = groups.last().unwrap();
    let end = (last.offset + last.padded) as u64;
    for body_bytes in [u32::MAX, u32::MAX - 63, 32 * 1024 * 1024 + 1, 16 * 1024, 1] {
        let copy = copy(&disk);
        let mut group = forge::group_after(&segment, Some(last), &[]);
        group[44..48].copy_from_slice(&body_bytes.to_le_bytes());
        let crc = crc32fast::hash(&group[..60]);
        group[60..64].copy_from_slice(&crc.to_le_bytes());
        copy.overwrite(FIRST, end, &group).unwrap();
        let (hooked, calls) = Hooked::recording(&copy);
        let ledger = small().open_simulated(hooked, host.as_host()).unwrap();
        // The length is not believed: no buffer was made for it.
        let largest = calls.lock().unwrap().iter().map(|call| call.bytes).max().unwrap();
        assert!(largest <= 1024 * 1024, "{body_bytes}: a buffer of {largest} bytes");
        assert!(ledger.recovery_report().torn_bytes > 0);
        assert_eq!(all_orders(&ledger).unwrap().len(), 3);
    }
}

#[test]
fn rule_21_a_group_that_does_not_link_to_the_one_before_is_not_part_of_the_log() {
    let (disk, host) = sim(21);
    fill_and_kill(&disk, &host, 6);
    let (segment, groups) = forge::end(&disk, FIRST);
    let (second, third) = (&groups[1], &groups[2]);
    // Another group in the place of the second, valid in itself: the third does not follow it.
    let body = vec![7; usize::try_from(second.body_bytes).unwrap() - 20];
    // Between the second's time and the third's, which are some microseconds apart.
    let at = u64_at(&segment, second.offset + 64 + 8) + 1;
    let record = Record { kind: 200, version: 1, at, body: &body };
    let other = forge::group_after(&segment, Some(&groups[0]), &[record]);
    assert_eq!(other.len(), second.padded);
    disk.overwrite(FIRST, second.offset as u64, &other).unwrap();
    let ErrorKind::Corrupt(damage) = kind(open(&disk, &host)) else { panic!() };
    assert!(damage.what.contains("does not link"), "{damage}");
    assert_eq!(damage.offset.unwrap(), third.offset as u64);
}

#[test]
fn rule_22_a_missing_segment_is_noticed_wherever_it_was() {
    let (disk, host) = sim(22);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..20 {
        ledger.submit(&large(number, 3000)).unwrap();
        ledger.tick();
    }
    let segments = ledger.stats().unwrap().segments;
    assert!(segments >= 5);
    ledger.close().unwrap();
    settle(&disk);
    for witness in [true, false] {
        for number in 1..=segments {
            let copy = copy(&disk);
            copy.remove_durably(&format!("wal/{number:010}.seg")).unwrap();
            if !witness {
                copy.remove_durably("derived/tables/MANIFEST").unwrap();
            }
            let before = durable(&copy, "");
            let kind = kind(open(&copy, &host));
            assert!(
                matches!(kind, ErrorKind::Corrupt(_) | ErrorKind::LogLostData { .. }),
                "{kind:?}"
            );
            let mut after = durable(&copy, "");
            after.insert("LOCK".into(), before["LOCK"].clone());
            assert!(before == after, "a byte was changed");
        }
    }
}

/// Two histories from one beginning: the same ledger, numbers and seqs, so that only the link tells that
/// the second segment of one does not continue the first of the other.
#[test]
fn rule_22_a_segment_of_another_history_does_not_continue_this_one() {
    let (disk, host) = sim(222);
    let ledger = open(&disk, &host).unwrap();
    fill(&ledger, 1);
    ledger.close().unwrap();
    let beginning = disk.snapshot();
    let history = |first: u64| {
        disk.restore(&beginning);
        let ledger = open(&disk, &host).unwrap();
        for number in first..first + 5 {
            ledger.submit(&large(number, 3000)).unwrap();
            ledger.tick();
        }
        ledger.close().unwrap();
        disk.read_durable(SECOND).unwrap()
    };
    let (other, own) = (history(100), history(200));
    // Number, first seq and first group are the same.
    assert_eq!((&other[32..40], &other[48..64]), (&own[32..40], &own[48..64]));
    disk.overwrite(SECOND, 0, &other).unwrap();
    drop(disk.remove_durably("derived/tables/MANIFEST"));
    let ErrorKind::Corrupt(damage) = kind(open(&disk, &host)) else { panic!() };
    assert!(damage.what.contains("does not continue"), "{damage}");
}

/// The groups end early, because a large order did not fit, and the sections then fill the file to
/// exactly its first size: the size alone does not tell that the segment is sealed.
#[test]
fn rule_22_a_sealed_segment_of_its_first_size_is_not_taken_for_the_last_one() {
    let (disk, host) = sim(221);
    let options = small().segment_bytes(32 * 1024);
    let ledger = options.open_simulated(disk.as_disk(), host.as_host()).unwrap();
    let mut number = 0;
    loop {
        ledger.submit(&large(number, 1500)).unwrap();
        number += 1;
        let segment = disk.read_durable(FIRST).unwrap();
        let last = groups(&segment).pop().unwrap();
        // Offsets, keys, filter and footer take a block each.
        if last.offset + last.padded > 3 * 4096 {
            assert!(last.offset + last.padded <= 4 * 4096);
            break;
        }
    }
    ledger.submit(&large(number, 20_000)).unwrap();
    ledger.tick();
    let segment = disk.read_durable(FIRST).unwrap();
    assert_eq!(segment.len(), 32 * 1024);
    assert_eq!(segment[28 * 1024..][..8], *b"OLEDFTR\n");
    disk.kill();
    drop(ledger);
    disk.remove_durably(SECOND).unwrap();
    disk.remove_durably("derived/tables/MANIFEST").ok();
    let kind = kind(open(&disk, &host));
    assert!(matches!(kind, ErrorKind::Corrupt(_)), "{kind:?}");
}

#[test]
fn rule_23_a_group_of_another_segment_or_of_another_ledger_does_not_join() {
    let (disk, host) = sim(23);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..5 {
        ledger.submit(&large(number, 3000)).unwrap();
    }
    disk.kill();
    drop(ledger);
    let (segment, second) = forge::end(&disk, SECOND);
    let last = second.last().unwrap();
    let end = last.offset + last.padded;
    // What would follow in every number, but for the nonce.
    let mut group = forge::group_after(&segment, Some(last), &[]);
    group[8] ^= 1;
    let crc = crc32fast::hash(&group[..60]);
    group[60..64].copy_from_slice(&crc.to_le_bytes());
    disk.overwrite(SECOND, end as u64, &group).unwrap();
    let ledger = open(&disk, &host).unwrap();
    assert_eq!(ledger.recovery_report().torn_bytes, 64);
    assert_eq!(all_orders(&ledger).unwrap().len(), 5);
}

/// A torn group of many sectors, of which the later ones arrived; then a short group in its place.
#[test]
fn rule_24_what_was_cut_is_zeroed_before_anything_is_appended() {
    let (disk, host) = sim(24);
    let options = small().segment_bytes(64 * 1024);
    let open = |disk: &SimDisk| options.open_simulated(disk.as_disk(), host.as_host()).unwrap();
    let ledger = open(&disk);
    fill(&ledger, 2);
    let old = disk.read_durable(FIRST).unwrap();
    ledger.submit(&large(10, 20_000)).unwrap();
    disk.kill();
    drop(ledger);
    tear(&disk, FIRST, &old);
    let (segment, groups) = forge::end(&disk, FIRST);
    let last = groups.last().unwrap();
    assert!(segment[last.offset + last.padded..].iter().any(|byte| *byte != 0), "nothing was torn");
    let ledger = open(&disk);
    assert!(ledger.recovery_report().torn_bytes > 10_000);
    ledger.submit(&order(11)).unwrap();
    disk.crash(Crash::new(CrashMode::DropAll, 0));
    drop(ledger);
    let (segment, groups) = forge::end(&disk, FIRST);
    let last = groups.last().unwrap();
    assert!(segment[last.offset + last.padded..].iter().all(|byte| *byte == 0), "old bytes stayed");
    assert_eq!(all_orders(&open(&disk)).unwrap().len(), 3);
}

#[test]
fn rule_25_a_segment_of_another_ledger_with_another_number_or_a_bent_header_is_refused() {
    let (disk, host) = sim(25);
    fill_and_kill(&disk, &host, 3);
    let (other, other_host) = sim(26);
    fill_and_kill(&other, &other_host, 3);
    let foreign = other.read_durable(FIRST).unwrap();
    let good = disk.read_durable(FIRST).unwrap();
    let renumbered = {
        let mut segment = good.clone();
        segment[32] = 2;
        close_block(&mut segment);
        segment
    };
    let mut attempts = vec![(FIRST, foreign.clone()), (SECOND, foreign), (SECOND, good.clone())];
    attempts.push((FIRST, renumbered));
    for offset in [0, 8, 12, 16, 32, 40, 48, 56, 64, 80, 84, 100, 4092] {
        let mut segment = good.clone();
        segment[offset] ^= 0x10;
        attempts.push((FIRST, segment));
    }
    for (path, segment) in attempts {
        let copy = copy(&disk);
        copy.write_durably(path, &segment).unwrap();
        let before = durable(&copy, "wal");
        let kind = kind(open(&copy, &host));
        assert!(matches!(kind, ErrorKind::Corrupt(_)), "{kind:?}");
        assert!(before == durable(&copy, "wal"));
    }
}

#[test]
fn rule_26_a_batch_is_there_as_a_whole_or_not_at_all() {
    let mut whole = 0;
    for subset in 0..256 {
        let (disk, host) = sim(26);
        let ledger = open(&disk, &host).unwrap();
        fill(&ledger, 1);
        disk.power_off_after(2);
        let batch: Vec<_> = (10..20).map(|number| large(number, 200)).collect();
        assert!(ledger.submit_many(&batch).iter().all(Result::is_err));
        disk.crash(Crash::new(CrashMode::Subset(subset), 0));
        drop(ledger);
        let there = all_orders(&open(&disk, &host).unwrap()).unwrap().len();
        assert!(there == 1 || there == 11, "{there}");
        whole += u64::from(there == 11);
    }
    assert!(whole > 0);
}

#[test]
fn rule_27_a_record_of_an_unknown_kind_is_refused_unless_it_may_be_skipped() {
    let (disk, host) = sim(27);
    let receipts = fill_and_kill(&disk, &host, 3);
    let at = 1_900_000_000_000_000_000;
    for (kind_number, version, known) in [
        (200, 1, true),
        (128, 9, true),
        (255, 255, true),
        (9, 1, false),
        (1, 2, false),
        (127, 1, false),
    ] {
        let copy = copy(&disk);
        append(
            &copy,
            FIRST,
            &[Record { kind: kind_number, version, at, body: b"from the future" }],
        );
        let before = durable(&copy, "wal");
        match known {
            true => {
                let ledger = open(&copy, &host).unwrap();
                assert_eq!(all_orders(&ledger).unwrap().len(), 3);
                let stats = ledger.stats().unwrap();
                assert_eq!((stats.orders, stats.records), (3, 4));
                let next = ledger.submit(&order(9)).unwrap();
                assert_eq!(next.receipt.order.seq().0, 5);
                assert_eq!(ledger.submit(&order(1)).unwrap().receipt, receipts[1]);
                assert!(ledger.get(order_ledger::OrderId::from_u64(4)).unwrap().is_none());
            }
            false => {
                let kind = kind(open(&copy, &host));
                assert!(
                    matches!(kind, ErrorKind::Corrupt(_) | ErrorKind::NewerFormat { .. }),
                    "{kind:?}"
                );
                assert!(before == durable(&copy, "wal"));
            }
        }
    }
}

#[test]
fn rule_27_bytes_behind_a_body_are_refused() {
    let (disk, host) = sim(271);
    fill_and_kill(&disk, &host, 1);
    let (segment, groups) = forge::end(&disk, FIRST);
    let frame = groups[0].offset + 64;
    let length = usize::try_from(forge::u32_at(&segment, frame)).unwrap();
    let mut body = segment[frame + 20..][..length].to_vec();
    let at = 1_900_000_000_000_000_000;
    // The very same order once more is a record that can be read; with a byte behind it is not.
    let whole = copy(&disk);
    append(&whole, FIRST, &[Record { kind: 1, version: 1, at, body: &body }]);
    assert_eq!(all_orders(&open(&whole, &host).unwrap()).unwrap().len(), 2);
    body.push(0);
    append(&disk, FIRST, &[Record { kind: 1, version: 1, at, body: &body }]);
    let ErrorKind::Corrupt(damage) = kind(open(&disk, &host)) else { panic!() };
    assert!(damage.what.contains("left over"), "{damage}");
}

/// The example in the description of the format.
#[test]
fn the_worked_example_of_the_format_has_the_lengths_that_it_states() {
    let (disk, host) = sim(1);
    let ledger = open(&disk, &host).unwrap();
    let order = order_ledger::Submission::new("web", "k1", "0123456789");
    assert_eq!(ledger.submit(&order).unwrap().how, How::Fresh);
    host.advance(std::time::Duration::from_secs(1));
    ledger.tick();
    let segment = disk.read_durable(FIRST).unwrap();
    let groups = groups(&segment);
    assert_eq!(groups.len(), 2);
    assert_eq!((groups[0].offset, groups[0].count, groups[0].body_bytes), (4096, 1, 60));
    assert_eq!(forge::u32_at(&segment, 4096 + 64), 40);
    assert_eq!((groups[1].offset, groups[1].padded, groups[1].count), (4224, 64, 0));
    assert_eq!(u64_at(&segment, GROUPS_START + 16), 1);
}
