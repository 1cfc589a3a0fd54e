//! E. Recovery, tables, idempotency (rules 34 to 44).

use std::time::Duration;

use order_ledger::disk::sim::{Crash, CrashMode, Fault};
use order_ledger::{ErrorKind, How};

use super::forge::{self, u32_at};
use crate::rig::{
    Random, all_orders, copy, durable, fill, kind, large, open, order, read, sim, small,
};

const FIRST: &str = "wal/0000000001.seg";
const MANIFEST: &str = "derived/tables/MANIFEST";

#[test]
fn rule_34_opening_may_be_cut_off_at_every_call_three_times_in_a_row() {
    // A torn tail, a segment that is not sealed, and leftovers: everything that opening repairs.
    let (disk, host) = sim(34);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..9 {
        ledger.submit(&large(number, 3000)).unwrap();
    }
    let path = "wal/0000000003.seg";
    let old = disk.read_durable(path).unwrap();
    ledger.submit(&order(50)).unwrap();
    ledger.submit(&order(51)).unwrap();
    disk.kill();
    drop(ledger);
    // Two groups are torn as one would be: the second's header must not be there to prove the first.
    let new = disk.read_durable(path).unwrap();
    disk.overwrite(path, 0, &old).unwrap();
    let dirty = new.iter().zip(&old).position(|(new, old)| new != old).unwrap() + 100;
    disk.overwrite(path, dirty as u64, b"what is left of a group").unwrap();
    disk.write_durably("wal/next.tmp", &[1; 5000]).unwrap();
    let calls = {
        let copy = copy(&disk);
        let before = copy.io_calls();
        let ledger = open(&copy, &host).unwrap();
        let report = ledger.recovery_report();
        assert!(report.torn_bytes > 0 && report.segments_resealed > 0, "{report}");
        assert!(report.leftovers_removed > 0, "{report}");
        copy.io_calls() - before
    };
    let mut random = Random::new(34);
    let modes = [CrashMode::DropAll, CrashMode::KeepAll, CrashMode::Random, CrashMode::Adversarial];
    for call in 1..=calls {
        for mode in modes {
            let copy = copy(&disk);
            let mut next = call;
            for _ in 0..3 {
                copy.power_off_after(next);
                open(&copy, &host).ok();
                copy.crash(Crash::new(mode, random.next()));
                next = 1 + random.below(calls);
            }
            let ledger = open(&copy, &host).unwrap();
            assert_eq!(all_orders(&ledger).unwrap().len(), 9);
            for number in 0..9 {
                assert_eq!(ledger.submit(&large(number, 3000)).unwrap().how, How::Replayed);
            }
        }
    }
}

#[test]
fn rule_34_making_a_ledger_may_be_cut_off_at_every_call() {
    let calls = {
        let (disk, host) = sim(341);
        open(&disk, &host).unwrap();
        disk.io_calls()
    };
    for call in 1..=calls {
        for mode in [
            None,
            Some(CrashMode::DropAll),
            Some(CrashMode::KeepAll),
            Some(CrashMode::Random),
            Some(CrashMode::Adversarial),
            Some(CrashMode::Ext4Like),
        ] {
            for seed in 0..4 {
                let (disk, host) = sim(341);
                disk.power_off_after(call);
                open(&disk, &host).ok();
                match mode {
                    None => disk.kill(),
                    Some(mode) => drop(disk.crash(Crash::new(mode, seed))),
                }
                let ledger = open(&disk, &host)
                    .unwrap_or_else(|error| panic!("call {call}, {mode:?}, {seed}: {error}"));
                let receipt = ledger.submit(&order(1)).unwrap().receipt;
                disk.crash(Crash::new(CrashMode::DropAll, 0));
                drop(ledger);
                let ledger = open(&disk, &host).unwrap();
                assert_eq!(ledger.submit(&order(1)).unwrap().receipt, receipt);
            }
        }
    }
}

#[test]
fn rule_35_there_is_no_moment_when_the_order_exists_and_its_key_does_not() {
    let (disk, host) = sim(35);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..12 {
        ledger.submit(&large(number, 2000)).unwrap();
    }
    // Cut off in the middle of sealing: the keys of a segment are in memory, in its sections, or lost.
    let mut call = 0;
    let image = {
        disk.kill();
        disk.snapshot()
    };
    loop {
        call += 1;
        for seed in 0..10 {
            disk.restore(&image);
            disk.power_off_after(call);
            open(&disk, &host).ok();
            let done = !disk.is_off();
            disk.crash(Crash::new(CrashMode::Random, seed));
            let ledger = open(&disk, &host).unwrap();
            let orders = all_orders(&ledger).unwrap();
            for order in &orders {
                let found = ledger.by_key(&order.client, &order.key).unwrap();
                assert_eq!(found.as_ref(), Some(order));
            }
            assert_eq!(orders.len(), 12);
            if done && seed == 9 {
                assert!(call > 20);
                return;
            }
        }
    }
}

/// Cause: damaged offsets made a sealed segment look open, and an open one has no footer. Effect: when
/// its keys were damaged as well, gathering them again found none: every key of the segment was free.
#[test]
fn rule_35_keys_are_found_again_after_the_offsets_were() {
    let (disk, host) = sim(351);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..12 {
        ledger.submit(&large(number, 2000)).unwrap();
    }
    ledger.close().unwrap();
    disk.kill();
    let segment = disk.read_durable(FIRST).unwrap();
    let footer = &segment[segment.len() - 4096..];
    for section in 0..2 {
        let at = 56 + section * 24 + 8;
        let offset = forge::u64_at(footer, at);
        disk.flip_bit(FIRST, (offset + 1) * 8).unwrap();
    }
    let ledger = open(&disk, &host).unwrap();
    assert_eq!(ledger.get(order_ledger::OrderId::from_u64(1)).unwrap().unwrap().key, b"k0");
    for number in 0..12 {
        assert_eq!(ledger.submit(&large(number, 2000)).unwrap().how, How::Replayed, "{number}");
    }
    // The same by a batch, which asks the tables first.
    ledger.close().unwrap();
    disk.kill();
    let ledger = open(&disk, &host).unwrap();
    let all: Vec<_> = (0..12).map(|number| large(number, 2000)).collect();
    for answer in ledger.submit_many(&all) {
        assert_eq!(answer.unwrap().how, How::Replayed);
    }
}

#[test]
fn rule_36_a_witness_ahead_of_the_log_refuses_any_other_is_written_anew() {
    let (disk, host) = sim(36);
    let ledger = open(&disk, &host).unwrap();
    fill(&ledger, 5);
    let early = {
        host.advance(Duration::from_secs(5));
        ledger.tick();
        copy(&disk).read_durable(MANIFEST).unwrap()
    };
    ledger.submit(&order(50)).unwrap();
    ledger.close().unwrap();
    disk.kill();
    // The log is cut exactly between two groups, which nothing in the log itself can show.
    let (_, groups) = forge::end(&disk, FIRST);
    let cut = copy(&disk);
    let group = &groups[groups.len() - 2];
    cut.overwrite(FIRST, group.offset as u64, &vec![0; group.padded + 64]).unwrap();
    let before = durable(&cut, "wal");
    let ErrorKind::LogLostData { witness_seq, log_seq, .. } = kind(open(&cut, &host)) else {
        panic!()
    };
    assert_eq!((witness_seq.0, log_seq.unwrap().0), (6, 5));
    assert!(matches!(kind(read(&cut)), ErrorKind::LogLostData { .. }));
    assert!(before == durable(&cut, "wal"));
    assert!(cut.read_durable(MANIFEST).is_ok(), "the witness was discarded");

    let (other, other_host) = sim(37);
    let foreign = {
        let ledger = open(&other, &other_host).unwrap();
        for number in 0..30 {
            ledger.submit(&order(number)).unwrap();
        }
        ledger.close().unwrap();
        other.kill();
        other.read_durable(MANIFEST).unwrap()
    };
    let good = disk.read_durable(MANIFEST).unwrap();
    let mut attempts = vec![early, foreign, Vec::new(), vec![0; 48], vec![7; 100_000]];
    for byte in 0..good.len() {
        let mut bent = good.clone();
        bent[byte] ^= 1;
        attempts.push(bent);
    }
    for manifest in attempts {
        let copy = copy(&disk);
        copy.write_durably(MANIFEST, &manifest).unwrap();
        let ledger = open(&copy, &host).unwrap();
        assert_eq!(all_orders(&ledger).unwrap().len(), 6);
        ledger.submit(&order(51)).unwrap();
        ledger.close().unwrap();
        copy.kill();
        assert_ne!(copy.read_durable(MANIFEST).unwrap(), manifest);
    }
}

/// A directory that can't be listed for a moment must not cost the witness.
#[test]
fn rule_36_an_error_of_the_device_does_not_set_the_witness_aside() {
    let (disk, host) = sim(361);
    let ledger = open(&disk, &host).unwrap();
    fill(&ledger, 5);
    ledger.close().unwrap();
    disk.kill();
    let calls = {
        let copy = copy(&disk);
        let before = copy.io_calls();
        open(&copy, &host).unwrap();
        copy.io_calls() - before
    };
    let witness = disk.read_durable(MANIFEST).unwrap();
    for call in 1..=calls {
        let copy = copy(&disk);
        copy.fail_call(call, Fault::Eio);
        let opened = open(&copy, &host);
        copy.kill();
        drop(opened);
        copy.clear_faults();
        let opened = open(&copy, &host).unwrap();
        copy.kill();
        drop(opened);
        assert_eq!(copy.read_durable(MANIFEST).unwrap(), witness, "call {call}");
    }
}

#[test]
fn rule_36_everything_derived_may_be_deleted_or_replaced_by_garbage() {
    let (disk, host) = sim(362);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..20 {
        ledger.submit(&large(number, 1500)).unwrap();
        host.advance(Duration::from_secs(1));
        ledger.tick();
    }
    let orders = all_orders(&ledger).unwrap();
    ledger.close().unwrap();
    disk.kill();
    let files: Vec<String> = durable(&disk, "derived").into_keys().collect();
    assert!(files.len() >= 2, "{files:?}");
    for content in [None, Some(vec![]), Some(vec![0; 64]), Some(Random::new(3).bytes(5000))] {
        let copy = copy(&disk);
        for path in &files {
            match &content {
                None => copy.remove_durably(path).unwrap(),
                Some(content) => copy.write_durably(path, content).unwrap(),
            }
        }
        let reader = read(&copy).unwrap();
        assert!(reader.stats().is_ok());
        assert!(reader.orders().map(Result::unwrap).eq(orders.iter().cloned()));
        let ledger = open(&copy, &host).unwrap();
        assert!(all_orders(&ledger).unwrap() == orders);
        for number in 0..20 {
            assert_eq!(ledger.submit(&large(number, 1500)).unwrap().how, How::Replayed);
        }
    }
}

/// The tables of a segment are forged, checksums and all, so that each key leads to another order.
#[test]
fn rule_37_a_hit_in_the_tables_is_a_hint_and_the_key_is_compared_in_the_log() {
    let (disk, host) = sim(370);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..12 {
        ledger.submit(&large(number, 2000)).unwrap();
    }
    ledger.close().unwrap();
    disk.kill();
    let segment = disk.read_durable(FIRST).unwrap();
    let footer = &segment[segment.len() - 4096..];
    let keys = usize::try_from(forge::u64_at(footer, 56 + 24 + 8)).unwrap();
    assert_eq!(u32_at(footer, 56 + 24), 2, "not the section of keys");
    let count = usize::try_from(forge::u64_at(footer, 56 + 24 + 16)).unwrap() / 12;
    assert!(count >= 3);
    let mut block = segment[keys..keys + 4096].to_vec();
    for entry in 0..count {
        let next = u32_at(&segment, keys + (entry + 1) % count * 12 + 8);
        block[entry * 12 + 8..][..4].copy_from_slice(&next.to_le_bytes());
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&forge::nonce(&segment).to_le_bytes());
    crc.update(&2u32.to_le_bytes());
    crc.update(&0u64.to_le_bytes());
    crc.update(&block[..4092]);
    block[4092..].copy_from_slice(&crc.finalize().to_le_bytes());
    disk.overwrite(FIRST, keys as u64, &block).unwrap();
    let ledger = open(&disk, &host).unwrap();
    for number in 0..12 {
        let key = format!("k{number}");
        if let Some(order) = ledger.by_key("web", &key).unwrap() {
            assert_eq!(order.key, key.as_bytes(), "another order was answered");
        }
        let mut other = large(number, 2000);
        other = other.account("other");
        // A batch looks for its keys in its own way.
        for answer in
            ledger.submit_many(&[other.clone()]).into_iter().chain([ledger.submit(&other)])
        {
            let Err(error) = answer else { continue };
            let ErrorKind::Conflict { receipt, .. } = error.kind() else { panic!("{error}") };
            let found = ledger.get(receipt.order).unwrap().unwrap();
            assert_eq!(found.key, key.as_bytes(), "a conflict with another key's order");
        }
    }
}

#[test]
fn rule_38_and_51_no_answer_depends_on_the_wall_clock() {
    let (disk, host) = sim(38);
    let ledger = open(&disk, &host).unwrap();
    let receipts = fill(&ledger, 3);
    let mut last = receipts[2].accepted_at;
    let mut number = 100;
    for wall in [0, 1, u64::MAX / 2, 5, 1_767_225_600_000_000_000, u64::MAX - 10_000_000_000] {
        host.set_wall_ns(wall);
        for (number, receipt) in (0..).zip(&receipts) {
            let again = ledger.submit(&order(number)).unwrap();
            assert_eq!((again.how, again.receipt), (How::Replayed, *receipt));
        }
        number += 1;
        let fresh = ledger.submit(&order(number)).unwrap().receipt;
        assert!(fresh.accepted_at > last, "time went back");
        last = fresh.accepted_at;
        host.set_wall_ns(wall);
        ledger.tick();
    }
    disk.kill();
    drop(ledger);
    host.set_wall_ns(7);
    let ledger = open(&disk, &host).unwrap();
    assert!(ledger.recovery_report().clock_behind_ns > 0);
    assert!(ledger.submit(&order(500)).unwrap().receipt.accepted_at > last);
    assert_eq!(ledger.submit(&order(1)).unwrap().receipt, receipts[1]);
}

#[test]
fn rule_39_other_content_under_a_key_writes_nothing() {
    let (disk, host) = sim(39);
    let ledger = open(&disk, &host).unwrap();
    let receipts = fill(&ledger, 3);
    let before = durable(&disk, "");
    let pending = disk.pending_units();
    let other = order(1).account("B");
    let ErrorKind::Conflict { receipt, .. } = kind(ledger.submit(&other)) else { panic!() };
    assert_eq!(receipt, receipts[1]);
    ledger.submit(&order(1)).unwrap();
    assert!(before == durable(&disk, ""));
    assert_eq!(disk.pending_units(), pending);
}

#[test]
fn rule_40_one_key_in_one_round_is_one_record_and_one_fate() {
    for fault in [None, Some(Fault::Eio)] {
        let (disk, host) = sim(40);
        let ledger = open(&disk, &host).unwrap();
        let mut tickets: Vec<_> = (0..16).map(|_| ledger.submit_deferred(&order(1))).collect();
        if let Some(fault) = fault {
            disk.fail_call(2, fault);
        }
        ledger.pump();
        let answers: Vec<_> = tickets.iter_mut().map(|ticket| ticket.wait(None)).collect();
        match fault {
            None => {
                let fresh =
                    |how| answers.iter().flatten().filter(|answer| answer.how == how).count();
                assert_eq!((fresh(How::Fresh), fresh(How::Joined)), (1, 15));
            }
            Some(_) => {
                for answer in answers {
                    assert!(matches!(kind(answer), ErrorKind::InDoubt { .. }));
                }
            }
        }
        disk.kill();
        drop(ledger);
        assert!(all_orders(&open(&disk, &host).unwrap()).unwrap().len() <= 1);
    }
}

#[test]
fn rule_41_an_order_that_was_not_taken_hides_none_behind_it() {
    let (disk, host) = sim(41);
    let ledger = open(&disk, &host).unwrap();
    disk.set_capacity(16 * 1024 + 1024);
    // The first does not fit on the disk; the next ones do.
    assert!(matches!(kind(ledger.submit(&large(1, 30_000))), ErrorKind::DiskLow { .. }));
    for number in 2..5 {
        ledger.submit(&order(number)).unwrap();
    }
    disk.kill();
    drop(ledger);
    let orders = all_orders(&open(&disk, &host).unwrap()).unwrap();
    let keys: Vec<_> = orders.iter().map(|order| order.key.as_slice()).collect();
    assert_eq!(keys, [b"k2", b"k3", b"k4"]);
}

#[test]
fn rule_43_and_44_an_order_is_seen_from_the_sync_on_and_not_a_moment_before() {
    let (disk, host) = sim(43);
    let probe = std::sync::Arc::new(std::sync::Mutex::new(None::<order_ledger::Ledger>));
    let looks = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let (look, count) = (std::sync::Arc::clone(&probe), std::sync::Arc::clone(&looks));
    // Looks from inside the write and the sync of the group.
    let hook = move |call: &crate::rig::Call| {
        if (call.what == "write" || call.what == "sync") && call.path == FIRST {
            let Some(ledger) = look.lock().unwrap().clone() else { return };
            assert!(ledger.by_key("web", "k9").unwrap().is_none(), "seen before the sync");
            assert_eq!(ledger.orders().count(), 3);
            assert_eq!(ledger.stats().unwrap().records, 3);
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let hooked = crate::rig::Hooked::new(disk.as_disk(), std::sync::Arc::new(hook));
    let ledger = small().open_simulated(hooked, host.as_host()).unwrap();
    fill(&ledger, 3);
    *probe.lock().unwrap() = Some(ledger.clone());
    ledger.submit(&order(9)).unwrap();
    *probe.lock().unwrap() = None;
    assert_eq!(looks.load(std::sync::atomic::Ordering::Relaxed), 2);
    assert!(ledger.by_key("web", "k9").unwrap().is_some());
}
