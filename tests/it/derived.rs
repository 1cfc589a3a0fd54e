//! What is derived may be damaged or lost, and no answer changes.
//!
//! The story of the first test: a sealed segment has its offsets and its keys in sections behind the
//! groups. With both damaged, the first read rebuilt the offsets and dropped the footer with them; the
//! keys were then rebuilt from a segment that seemed to hold none, and its keys were free to be taken a
//! second time. Found by the fuzz target `open_dir`.

use order_ledger::disk::sim::{Crash, CrashMode};
use order_ledger::{ErrorKind, How};

use crate::rig::small;
use crate::support::{Machine, order};

/// The sections of a sealed segment, in the order of its footer: where each begins.
fn sections(segment: &[u8]) -> Vec<u64> {
    let footer = &segment[segment.len() - 4096..];
    assert_eq!(&footer[..8], b"OLEDFTR\n");
    let count = u32::from_le_bytes(footer[52..56].try_into().unwrap()) as usize;
    let section = |index: usize| {
        let at = 56 + index * 24 + 8;
        u64::from_le_bytes(footer[at..at + 8].try_into().unwrap())
    };
    (0..count).map(section).collect()
}

#[test]
fn damaged_sections_of_a_sealed_segment_free_no_key() {
    let machine = Machine::new(1);
    let ledger = machine.open();
    let orders: Vec<_> = (0..1000).map(order).collect();
    let mut receipts = Vec::new();
    for group in orders.chunks(50) {
        let answers = ledger.submit_many(group).into_iter();
        receipts.extend(answers.map(|answer| answer.unwrap().receipt));
    }
    ledger.close().unwrap();
    let path = "wal/0000000001.seg";
    let sections = sections(&machine.disk.read_durable(path).unwrap());
    assert_eq!(sections.len(), 3, "offsets, keys, filter");
    let sound = machine.disk.snapshot();

    for damaged in 0..1 << sections.len() {
        machine.disk.restore(&sound);
        for (index, offset) in sections.iter().enumerate() {
            if damaged >> index & 1 == 1 {
                machine.disk.overwrite(path, offset + 100, b"rot").unwrap();
            }
        }
        let ledger = machine.open();
        for (order, receipt) in orders.iter().zip(&receipts).step_by(7) {
            // By id first: that is what rebuilds the offsets.
            let found = ledger.get(receipt.order).unwrap().unwrap();
            assert_eq!(found.receipt, *receipt, "sections {damaged:03b}");
            let outcome = ledger.submit(order).unwrap();
            assert_eq!((outcome.how, outcome.receipt), (How::Replayed, *receipt));
        }
        assert_eq!(ledger.orders().count(), orders.len());
        assert_eq!(ledger.stats().unwrap().orders, 1000);
    }
}

/// What stays in memory of the key tables spares reads and changes no answer.
#[test]
fn answers_do_not_depend_on_the_memory_for_key_tables() {
    let machine = Machine::new(3);
    let orders: Vec<_> = (0..1000).map(order).collect();
    let ledger = machine.open();
    let mut receipts = Vec::new();
    for group in orders.chunks(50) {
        let answers = ledger.submit_many(group).into_iter();
        receipts.extend(answers.map(|answer| answer.unwrap().receipt));
    }
    ledger.close().unwrap();
    let mut reads = Vec::new();
    for key_memory_bytes in [0, 4096 * 8, 1 << 30] {
        let ledger = machine.open_with(&small().key_memory_bytes(key_memory_bytes)).unwrap();
        let before = machine.disk.io_calls();
        for _ in 0..2 {
            for (order, receipt) in orders.iter().zip(&receipts) {
                assert_eq!(ledger.get(receipt.order).unwrap().unwrap().receipt, *receipt);
                let outcome = ledger.submit(order).unwrap();
                assert_eq!((outcome.how, outcome.receipt), (How::Replayed, *receipt));
            }
        }
        reads.push(machine.disk.io_calls() - before);
    }
    assert!(reads[0] > 2 * reads[2], "{reads:?}");
    let error = machine.open_with(&small().key_memory_bytes(1 << 41)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid { .. }), "{error}");
}

/// The directory of the witness was made and its name never synced, so that the first power cut took
/// both, and a log cut between two groups looked whole. Found by the fuzz target `open_dir`.
#[test]
fn the_witness_outlives_a_power_cut() {
    let machine = Machine::new(2);
    let ledger = machine.open();
    for n in 0..3 {
        ledger.submit(&order(n)).unwrap();
    }
    ledger.close().unwrap();
    machine.disk.crash(Crash::new(CrashMode::DropAll, 1));
    let path = "wal/0000000001.seg";
    let groups = machine.disk.read_durable(path).unwrap()[4096..].to_vec();
    machine.disk.overwrite(path, 4096, &vec![0; groups.len()]).unwrap();
    let error = machine.open_with(&crate::support::small()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::LogLostData { .. }), "{error}");
}

/// A segment whose footer was damaged was sealed again, and only then were the keys of another one found
/// to be lost with their groups: refused as damaged, after a change. Found by the fuzz target `open_dir`.
#[test]
fn a_refusal_comes_before_any_change() {
    let machine = Machine::new(3);
    let ledger = machine.open();
    for group in (0..2000).map(order).collect::<Vec<_>>().chunks(50) {
        assert!(ledger.submit_many(group).iter().all(Result::is_ok));
    }
    ledger.close().unwrap();
    let [first, second] = ["wal/0000000001.seg", "wal/0000000002.seg"];
    let bytes = |path| machine.disk.read_durable(path).unwrap();
    // The first has no footer to be found; the second has neither its keys nor the group to rebuild them.
    machine.disk.flip_bit(first, bytes(first).len() as u64 * 8 - 1).unwrap();
    let sections = sections(&bytes(second));
    machine.disk.overwrite(second, sections[2] + 100, b"rot").unwrap();
    machine.disk.overwrite(second, 5000, b"rot").unwrap();
    let before = [bytes(first), bytes(second)];
    let error = machine.open_with(&crate::support::small()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Corrupt(_)), "{error}");
    assert!(before == [bytes(first), bytes(second)], "{error}");
}
