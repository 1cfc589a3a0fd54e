//! What is raised that is about no order: consumers that lag, clients that hear no answer, damage, disks.

use std::time::Duration;

use order_ledger::{
    AlertKind, AlertLevel, AlertQuery, AlertSubject, EventKind, Seq, Soundness, Submission,
    WatchOptions, verify_on,
};

use super::{HOUR, assert_sound, counts, open, records, taken, watched};
use crate::support::{Machine, order, small};

#[test]
fn a_consumer_that_does_not_keep_up_is_raised_and_cleared() {
    let machine = Machine::new(12);
    let watch = WatchOptions::new().disk_warn_bytes(0).consumer_lag("billing", 10, 100);
    let watch = watch.consumer_age("billing", HOUR, 9 * HOUR);
    let ledger = machine.open_with(&small().watch(watch)).unwrap();
    for n in 0..10 {
        taken(&ledger, n);
    }
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0], "never opened is behind as well");
    let alert = open(&ledger).pop().unwrap();
    assert_eq!((alert.kind, alert.level), (AlertKind::ConsumerLag, AlertLevel::Warn));
    assert_eq!(alert.subject, AlertSubject::Consumer("billing".into()));
    let mut billing = ledger.consumer("billing").unwrap();
    let events = billing.poll(100, Duration::ZERO).unwrap();
    billing.commit(events[3].seq).unwrap();
    assert_eq!(counts(ledger.watch_once()), [0; 4], "a little better is not over");
    billing.commit(events.last().unwrap().seq).unwrap();
    assert_eq!(counts(ledger.watch_once()), [0, 0, 0, 1]);
    machine.host.advance(HOUR);
    assert_eq!(counts(ledger.watch_once()), [0; 4], "there is nothing that it has not dealt with");
    taken(&ledger, 10);
    machine.host.advance(HOUR);
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0], "one event waits for an hour");
    for n in 11..120 {
        taken(&ledger, n);
    }
    assert_eq!(counts(ledger.watch_once()), [0, 1, 0, 0]);
    assert!(
        ledger.events(Seq::FIRST).all(|event| event.unwrap().body.kind() == EventKind::Accepted)
    );
    ledger.close().unwrap();
    assert_sound(&machine);
}

#[test]
fn clients_that_do_not_hear_their_answers_are_found() {
    let machine = Machine::new(13);
    let watch = WatchOptions::new().disk_warn_bytes(0).unreturned(20, 200).unreturned_window(HOUR);
    let ledger = machine.open_with(&small().watch(watch)).unwrap();
    let good = |n: u64| Submission::new("good", format!("{n}"), "tea");
    for n in 0..100 {
        ledger.submit(&good(n)).unwrap();
    }
    for n in 0..19 {
        ledger.submit(&good(n)).unwrap();
    }
    for n in 0..30 {
        taken(&ledger, n);
    }
    assert_eq!(counts(ledger.watch_once()), [0; 4]);
    for n in 0..30 {
        taken(&ledger, n);
    }
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0]);
    let alert = open(&ledger).pop().unwrap();
    assert_eq!(alert.subject, AlertSubject::Client(b"web".to_vec()));
    assert_eq!((alert.kind, alert.level), (AlertKind::Unreturned, AlertLevel::Warn));
    for n in 0..30 {
        taken(&ledger, n);
    }
    assert_eq!(counts(ledger.watch_once()), [0, 1, 0, 0]);
    machine.host.advance(2 * HOUR);
    ledger.watch_once();
    machine.host.advance(2 * HOUR);
    assert_eq!(counts(ledger.watch_once()), [0, 0, 0, 1], "it is over when they are quiet");
}

#[test]
fn damage_that_verify_finds_is_an_alert_until_a_sound_report() {
    let machine = Machine::new(14);
    let ledger = machine.open_with(&watched()).unwrap();
    (0..200).for_each(|n| {
        taken(&ledger, n);
        ledger.tick();
    });
    let sound = verify_on(machine.disk.as_disk(), &machine.host, &mut |_, _| {}).unwrap();
    ledger.report_verify(&sound).unwrap();
    assert_eq!(open(&ledger), []);
    let broken = damaged();
    assert_eq!(broken.soundness(), Soundness::Damaged);
    ledger.report_verify(&broken).unwrap();
    let alert = open(&ledger).pop().unwrap();
    assert_eq!((alert.kind, alert.level), (AlertKind::VerifyFailed, AlertLevel::Critical));
    assert!(!alert.detail.is_empty());
    let written = records(&ledger);
    ledger.report_verify(&broken).unwrap();
    assert_eq!((records(&ledger), counts(ledger.watch_once())), (written, [0; 4]));
    ledger.report_verify(&sound).unwrap();
    assert_eq!(open(&ledger), []);
    assert!(!ledger.alert(alert.id).unwrap().unwrap().is_open());
    ledger.close().unwrap();
    assert_sound(&machine);
}

/// A report about a ledger of which a byte has rotted.
fn damaged() -> order_ledger::VerifyReport {
    let machine = Machine::new(16);
    let ledger = machine.open();
    (0..200).for_each(|n| {
        taken(&ledger, n);
        ledger.tick();
    });
    ledger.close().unwrap();
    let disk = machine.disk.as_disk();
    let first = disk.list("wal").unwrap().into_iter().min().unwrap();
    disk.remove(&format!("wal/{first}")).unwrap();
    verify_on(machine.disk.as_disk(), &machine.host, &mut |_, _| {}).unwrap()
}

#[test]
fn slow_syncs_and_a_disk_that_fills_are_raised() {
    let machine = Machine::new(19);
    let ns = Duration::from_nanos;
    let watch = WatchOptions::new().disk_warn_bytes(u64::MAX).sync_latency(ns(1), HOUR);
    let ledger = machine.open_with(&small().watch(watch)).unwrap();
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0], "little room, and no group yet");
    taken(&ledger, 1);
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0]);
    let kinds: Vec<_> = open(&ledger).iter().map(|alert| (alert.kind, alert.level)).collect();
    let warn = AlertLevel::Warn;
    assert_eq!(kinds, [(AlertKind::DiskLow, warn), (AlertKind::SyncLatency, warn)]);
    assert_eq!(ledger.alerts(&AlertQuery::open().kind("disk_low")).unwrap().alerts.len(), 1);
    assert_eq!(counts(ledger.watch_once()), [0; 4]);
    // No room for new orders: that can still be said.
    machine.disk.set_capacity(1);
    let mut n = 2;
    while ledger.submit(&order(n)).is_ok() {
        n += 1;
        ledger.tick();
    }
    ledger.tick();
    assert_eq!(counts(ledger.watch_once()), [0, 1, 0, 0]);
    machine.disk.set_capacity(u64::MAX);
    ledger.tick();
    ledger.submit(&order(n)).unwrap();
    assert_eq!(counts(ledger.watch_once()), [0; 4], "it still has less than is asked for");
    ledger.close().unwrap();
    assert_sound(&machine);
}
