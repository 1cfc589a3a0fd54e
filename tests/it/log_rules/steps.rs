//! Steps that no ledger writes, in groups that are whole: `verify` holds each against the one before it.

use std::time::Duration;

use order_ledger::disk::sim::SimDisk;
use order_ledger::{
    Lifecycle, OrderId, Severity, Soundness, State, StateRule, Transition, VerifyReport, verify_on,
};

use super::forge::{self, Record};
use crate::support::{Machine, order, small};

const SEGMENT: &str = "wal/0000000001.seg";
const MOVED: u8 = 3;

/// The body of a step, laid out as src/wal/record.rs says: numbers below 251 are one byte.
fn step(order: u8, version: u8, from: State, to: State) -> Vec<u8> {
    let (no_key, no_evidence, no_reason) = (0, 0, 0);
    vec![order, version, from.number(), to.number(), no_key, no_evidence, no_reason]
}

/// A ledger whose process was killed, with orders at seq 1 to 3, of which the first is confirmed (seq 4) and
/// the second completed (seq 5).
fn ledger(seed: u64) -> (Machine, u64) {
    let machine = Machine::new(seed);
    let ledger = machine.open_with(&small()).unwrap();
    let ids: Vec<OrderId> =
        (1..=3).map(|n| ledger.submit(&order(n)).unwrap().receipt.order).collect();
    ledger.transition(&Transition::new(ids[0], Confirmed)).unwrap();
    let last = ledger.transition(&Transition::new(ids[1], Completed)).unwrap();
    assert_eq!(last.seq.0, 5);
    machine.disk.kill();
    (machine, last.at.as_unix_ns())
}

fn append(disk: &SimDisk, last_at: u64, bodies: &[Vec<u8>]) {
    let records: Vec<Record<'_>> = (1..)
        .zip(bodies)
        .map(|(n, body)| Record { kind: MOVED, version: 1, at: last_at + n, body })
        .collect();
    forge::append(disk, SEGMENT, &records);
}

fn verify(machine: &Machine) -> VerifyReport {
    verify_on(machine.disk.as_disk(), &machine.host, &mut |_, _| {}).unwrap()
}

/// What is reported of these steps behind the last record, by seq.
fn found(seed: u64, bodies: &[Vec<u8>]) -> Vec<(u64, String)> {
    let (machine, last_at) = ledger(seed);
    append(&machine.disk, last_at, bodies);
    let report = verify(&machine);
    assert_eq!(report.records, 5 + bodies.len() as u64, "the groups are whole");
    let expected = if report.findings.is_empty() { Soundness::Sound } else { Soundness::Damaged };
    assert_eq!(report.soundness(), expected);
    let told = report.findings.into_iter().map(|finding| {
        assert_eq!(finding.severity, Severity::Log);
        assert_eq!(finding.place.file, SEGMENT);
        assert!(finding.place.offset.is_some());
        assert_eq!(finding.place.first_seq, finding.place.last_seq);
        (finding.place.first_seq.unwrap().0, finding.place.what)
    });
    told.collect()
}

use State::{Accepted, Cancelled, Completed, Confirmed, Failed, InProgress};

#[test]
fn steps_that_follow_are_sound_also_when_they_are_forged() {
    let good = [step(1, 3, Confirmed, InProgress), step(3, 2, Accepted, Cancelled)];
    assert_eq!(found(1, &good), []);
}

#[test]
fn a_step_of_no_order_is_reported() {
    // Of a step, of itself, of one that comes later.
    for (order, what) in [(4, "no order began there"), (6, "not begun"), (200, "not begun")] {
        let found = found(2, &[step(order, 2, Accepted, Confirmed)]);
        assert!(matches!(&found[..], [(6, told)] if told.contains(what)), "{found:?}");
    }
}

#[test]
fn a_step_that_does_not_follow_is_reported_once_and_the_next_one_follows_from_it() {
    let version = "does not follow";
    let cases = [
        (step(1, 2, Confirmed, InProgress), version),
        (step(1, 4, Confirmed, InProgress), version),
        (step(3, 3, Accepted, InProgress), version),
        (step(1, 3, Accepted, InProgress), "it stands at confirmed"),
        (step(3, 2, Confirmed, InProgress), "it stands at accepted"),
    ];
    for (bad, what) in cases {
        let next = step(bad[0], bad[1] + 1, InProgress, Completed);
        let found = found(3, &[bad, next]);
        assert!(matches!(&found[..], [(6, told)] if told.contains(what)), "{found:?}");
    }
}

#[test]
fn a_step_after_a_terminal_state_is_reported() {
    let found = found(4, &[step(2, 3, Completed, InProgress), step(2, 4, InProgress, Failed)]);
    assert!(matches!(&found[..], [(6, told)] if told.contains("terminal")), "{found:?}");
}

#[test]
fn a_terminal_state_of_the_callers_own_is_one() {
    let gone = State::own(100).unwrap();
    let table = Lifecycle::builder()
        .state(StateRule::terminal(gone, "gone"))
        .edge(Accepted, gone)
        .edge(Accepted, Failed)
        .build()
        .unwrap();
    let machine = Machine::new(5);
    let ledger = machine.open_with(&small().lifecycle(table)).unwrap();
    let id = ledger.submit(&order(1)).unwrap().receipt.order;
    let last = ledger.transition(&Transition::new(id, gone)).unwrap();
    assert_eq!((id.seq().0, last.seq.0), (2, 3));
    machine.disk.kill();
    assert_eq!(verify(&machine).findings, []);
    append(&machine.disk, last.at.as_unix_ns(), &[step(2, 3, gone, Failed)]);
    let findings = verify(&machine).findings;
    assert!(matches!(&findings[..], [one] if one.place.what.contains("terminal")), "{findings:?}");
}

/// An order expires at its instant and then only, and there is one step for that.
#[test]
fn rule_31_a_step_at_another_time_than_its_order_has_for_it_is_reported() {
    let machine = Machine::new(7);
    let ledger = machine.open_with(&small()).unwrap();
    let expiring = order(1).expires_in(Duration::from_nanos(2));
    let first = ledger.submit(&expiring).unwrap().receipt;
    assert_eq!(first.order.seq().0, 1);
    let (in_time, end) = (first.accepted_at.as_unix_ns() + 1, first.accepted_at.as_unix_ns() + 2);
    machine.disk.kill();
    let before = machine.disk.snapshot();
    let forged = |steps: &[(u64, Vec<u8>)]| {
        machine.disk.restore(&before);
        let records: Vec<Record<'_>> = steps
            .iter()
            .map(|(at, body)| Record { kind: MOVED, version: 1, at: *at, body })
            .collect();
        forge::append(&machine.disk, SEGMENT, &records);
        let findings = verify(&machine).findings;
        findings.into_iter().map(|finding| finding.place.what).collect::<Vec<_>>()
    };
    let confirmed = |at| (at, step(1, 2, Accepted, Confirmed));
    let expired = |at, version, from| (at, step(1, version, from, State::Expired));
    assert_eq!(forged(&[confirmed(in_time), expired(end, 3, Confirmed)]), [""; 0]);
    assert_eq!(forged(&[expired(end + 9, 2, Accepted)]), [""; 0]);
    for (steps, words) in [
        (vec![confirmed(end)], "when it has expired"),
        (vec![expired(in_time, 2, Accepted)], "before it expires"),
        (
            vec![expired(end, 2, Accepted), (end + 1, step(1, 3, State::Expired, Failed))],
            "terminal",
        ),
    ] {
        let found = forged(&steps);
        assert!(matches!(&found[..], [one] if one.contains(words)), "{found:?}");
    }
    let found = found(8, &[step(3, 2, Accepted, State::Expired)]);
    assert!(matches!(&found[..], [(6, told)] if told.contains("does not expire")), "{found:?}");
}

/// What damage has taken can't be held against what is left.
#[test]
fn behind_damage_nothing_is_said_about_orders_in_front_of_it() {
    let (machine, last_at) = ledger(6);
    append(&machine.disk, last_at, &[step(1, 3, Confirmed, InProgress)]);
    append(&machine.disk, last_at + 10, &[step(1, 4, InProgress, Completed)]);
    let (segment, groups) = forge::end(&machine.disk, SEGMENT);
    let damaged = &groups[groups.len() - 2];
    let place = damaged.offset + 64 + 20;
    machine.disk.overwrite(SEGMENT, place as u64, &[segment[place] ^ 1]).unwrap();
    let report = verify(&machine);
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    assert_eq!(report.findings[0].place.offset, Some(damaged.offset as u64));
}
