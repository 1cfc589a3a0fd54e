//! L5, error loops: every call of every scenario fails in every way, once or for ever; what callers were
//! told holds, then and after the power went as well.
//!
//! The story: the call that fails is the one that nobody tried. A failed write of the *next* segment, a
//! failed sync of a directory, a full disk under the witness: each has its own line of code, which runs
//! for the first time in production. SQLite's loops over "the n-th call fails" are the remedy.
//!
//! One case is: a scenario, the number of the call, the error, once or for ever, and how the process ends
//! afterwards (a kill or a power cut of some mode). While the fault is there:
//!
//! - an answer is an `Ok`, or an error whose certainty is true: what was `NotRecorded` is never there;
//! - an acknowledged order is found with its receipt, or the question fails; it is never "not there";
//! - a poisoned ledger refuses, and no call of its writes or syncs;
//! - a short write, a short read or an interrupted call is no error at all;
//! - opening, reading and verifying fail with an error of the device, and call nothing damaged.
//!
//! When the fault is gone, a ledger that is not poisoned takes orders again without being opened anew.
//! After the end of the process opening succeeds, and every acknowledged order is there once.
//!
//! No kernel interrupts a call for ever, so `Interrupted` "for ever" is a hundred times in a row.

use std::time::Duration;

use order_ledger::disk::sim::{Crash, CrashMode, Fault, SimDisk, SimHost, Snapshot};
use order_ledger::{
    Certainty, Error, ErrorKind, How, Ledger, Order, Outcome, Reader, Receipt, Result, Soundness,
    Submission, Ticket, verify_on,
};

use crate::layers::{Counts, Depth, is_mine, is_part, number, on_all_cores};
use crate::rig::{Random, all_orders, durable, large, sim, small, tear};

const FAULTS: [Fault; 8] = [
    Fault::Eio,
    Fault::EioLate,
    Fault::Enospc,
    Fault::Edquot,
    Fault::Erofs,
    Fault::ShortWrite,
    Fault::ShortRead,
    Fault::Interrupted,
];

/// How the process ends.
const ENDS: [Option<CrashMode>; 6] = [
    None,
    Some(CrashMode::DropAll),
    Some(CrashMode::KeepAll),
    Some(CrashMode::Random),
    Some(CrashMode::Adversarial),
    Some(CrashMode::Prefix),
];

/// How many calls in a row "for ever" interrupts.
const INTERRUPTIONS: u64 = 100;

/// A small order, with a key of its own among the large ones.
fn order(number: u64) -> Submission {
    crate::rig::order(1000 + number)
}

fn is_benign(fault: Fault) -> bool {
    matches!(fault, Fault::ShortWrite | Fault::ShortRead | Fault::Interrupted)
}

#[test]
fn what_callers_were_told_holds_whatever_call_fails_in_whatever_way() {
    let depth = Depth::from_env();
    let scenarios = Scenario::all();
    let one = number("ORDER_LEDGER_CASE");
    let per_call = (FAULTS.len() * 2 * ENDS.len()) as u64;
    let cases: u64 = scenarios.iter().map(|scenario| scenario.calls * per_call).sum();
    let one_in = if one.is_none() && depth == Depth::Sample { 60 } else { 1 };
    let again = |case| {
        format!(
            "ORDER_LEDGER_CASE={case} cargo test --release --no-default-features --test it \
             error_loops:: -- --nocapture"
        )
    };
    let work = |(): &mut (), case: u64, counts: &mut Counts| {
        let wanted = Random::new(case ^ 0x10e5).below(one_in) == 0 && is_mine(case);
        if one.is_none() && !wanted {
            return;
        }
        let mut left = case;
        let scenario = scenarios.iter().find(|scenario| {
            let mine = scenario.calls * per_call;
            let here = left < mine;
            left -= if here { 0 } else { mine };
            here
        });
        let (call, rest) = (1 + left / per_call, usize::try_from(left % per_call).unwrap());
        let fault = FAULTS[rest % FAULTS.len()];
        let for_ever = rest / FAULTS.len() % 2 == 1;
        let end = ENDS[rest / FAULTS.len() / 2];
        let scenario = scenario.unwrap();
        scenario.run(call, fault, for_ever, end, case, counts);
    };
    let range = one.map_or(0..cases, |case| case..case + 1);
    let mut counts = on_all_cores(range, 64, || (), work, again);
    counts.add("panics", 0);
    print_scenarios(&counts);
    counts.print_result("L5");
    assert_eq!(counts.get("panics"), 0, "see above");
    if is_part() {
        return;
    }
    let expected = ["cases", "acknowledged", "in_doubt_there", "in_doubt_gone", "poisoned"];
    for name in expected.into_iter().chain(["not_recorded", "went_on", "openings_failed"]) {
        assert!(counts.get(name) > 0, "no case of {name}: this does not test what it says");
    }
    for scenario in &scenarios {
        assert!(counts.get(&format!("{}/cases", scenario.name)) > 0, "{}", scenario.name);
    }
}

#[expect(clippy::print_stdout, reason = "the figures of a matrix are worth seeing")]
fn print_scenarios(counts: &Counts) {
    for (name, count) in counts.iter().filter(|(name, _)| name.contains('/')) {
        println!("    {name}: {count}");
    }
}

/// Where a scenario begins, and what is done in it.
struct Scenario {
    name: &'static str,
    /// The disk, and the orders that are on it.
    image: Snapshot,
    known: Vec<(Submission, Receipt)>,
    act: fn(&mut Run),
    /// Calls of the part in which one fails.
    calls: u64,
}

/// Where the scenarios begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    Nothing,
    Closed,
    Torn,
    Unsealed,
    NothingDerived,
    /// The last segment is nearly full.
    NearlyFull,
}

impl Scenario {
    fn all() -> Vec<Scenario> {
        let make = Scenario::make;
        vec![
            make("open_new", Start::Nothing, Run::open_and_submit),
            make("open_closed", Start::Closed, Run::open_and_submit),
            make("open_torn", Start::Torn, Run::open_and_submit),
            make("open_unsealed", Start::Unsealed, Run::open_and_submit),
            make("open_without_derived", Start::NothingDerived, Run::open_and_submit),
            make("single", Start::Closed, Run::single),
            make("batch", Start::Closed, Run::batch),
            make("deferred", Start::Closed, Run::deferred),
            make("rotation", Start::NearlyFull, Run::rotation),
            make("rotation_prepared", Start::NearlyFull, Run::rotation_prepared),
            make("seal_when_idle", Start::Closed, Run::seal_when_idle),
            make("upkeep", Start::Unsealed, Run::upkeep),
            make("close", Start::Closed, Run::close),
            make("close_after_rotation", Start::NearlyFull, Run::close_after_rotation),
            make("replay_and_read", Start::Closed, Run::replay_and_read),
            make("reader", Start::Unsealed, Run::reader),
            make("reader_of_torn", Start::Torn, Run::reader),
            make("verify", Start::Unsealed, Run::verify),
            make("life", Start::Nothing, Run::life),
        ]
    }

    fn make(name: &'static str, start: Start, act: fn(&mut Run)) -> Scenario {
        let (image, known) = prepare(start);
        let mut scenario = Scenario { name, image, known, act, calls: 0 };
        let mut run = Run::begin(&scenario, None);
        act(&mut run);
        scenario.calls = run.disk.io_calls() - run.calls_before;
        assert!(scenario.calls > 0, "{name}");
        scenario
    }

    fn run(
        &self,
        call: u64,
        fault: Fault,
        for_ever: bool,
        end: Option<CrashMode>,
        case: u64,
        counts: &mut Counts,
    ) {
        let told = format!("{} call {call}, {fault:?}, for ever: {for_ever}, {end:?}", self.name);
        let mut run = Run::begin(self, Some((call, fault, for_ever)));
        run.told = told;
        (self.act)(&mut run);
        // A call that can't fail in this way went well, and the rest is an ordinary run.
        if run.disk.faults_hit() == run.hits_before {
            counts.add("not_applicable", 1);
            return;
        }
        run.look_during_the_fault();
        run.go_on_without_the_fault(counts);
        let ledger = run.ledger.take();
        run.disk.clear_faults();
        match end {
            None => run.disk.kill(),
            Some(mode) => drop(run.disk.crash(Crash::new(mode, case))),
        }
        drop(ledger);
        run.check_after_recovery(counts);
        counts.add("cases", 1);
        counts.add(if is_benign(fault) { "benign" } else { "errors" }, 1);
        counts.add(&format!("{}/cases", self.name), 1);
    }
}

/// A disk to begin with, and what was acknowledged on it.
fn prepare(start: Start) -> (Snapshot, Vec<(Submission, Receipt)>) {
    let (disk, host) = sim(5);
    if start == Start::Nothing {
        return (disk.snapshot(), Vec::new());
    }
    let mut known = Vec::new();
    let ledger = small().open_simulated(disk.as_disk(), host.as_host()).unwrap();
    let take = |submission: Submission, known: &mut Vec<_>| {
        let receipt = ledger.submit(&submission).unwrap().receipt;
        known.push((submission, receipt));
    };
    // Five orders fill a segment.
    let enough = |known: &[(Submission, Receipt)]| match start {
        // Right after a rotation, before the upkeep sealed what is full.
        Start::Unsealed => ledger.stats().unwrap().segments == 3,
        Start::NearlyFull => known.len() == 10,
        _ => known.len() == 7,
    };
    while !enough(&known) {
        ledger.tick();
        take(large(known.len() as u64, 2000), &mut known);
    }
    assert_eq!(ledger.stats().unwrap().segments, if start == Start::Unsealed { 3 } else { 2 });
    match start {
        Start::Unsealed => {
            disk.kill();
            drop(ledger);
        }
        Start::Torn => {
            let path = "wal/0000000002.seg";
            let old = disk.read_durable(path).unwrap();
            ledger.submit(&large(900, 2000)).unwrap();
            disk.kill();
            drop(ledger);
            tear(&disk, path, &old);
        }
        _ => ledger.close().unwrap(),
    }
    if start == Start::NothingDerived {
        for (path, _) in disk.files().iter().filter(|(path, _)| path.starts_with("derived/")) {
            disk.remove_durably(path).unwrap();
        }
    }
    (disk.snapshot(), known)
}

/// What a caller knows about one order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Acknowledged(Receipt),
    NotRecorded,
    /// In doubt, in the group of this number.
    InDoubt(u64),
}

/// One run of a scenario.
struct Run {
    disk: SimDisk,
    host: SimHost,
    ledger: Option<Ledger>,
    fates: Vec<(Submission, Fate)>,
    fault: Option<(u64, Fault, bool)>,
    calls_before: u64,
    hits_before: u64,
    /// What is handed in together shares a number.
    group: u64,
    openings_failed: u64,
    told: String,
}

impl Run {
    fn begin(scenario: &Scenario, fault: Option<(u64, Fault, bool)>) -> Run {
        let (disk, host) = sim(55);
        disk.restore(&scenario.image);
        let known = scenario.known.iter().cloned();
        Run {
            calls_before: disk.io_calls(),
            hits_before: disk.faults_hit(),
            disk,
            host,
            ledger: None,
            fates: known.map(|(order, receipt)| (order, Fate::Acknowledged(receipt))).collect(),
            fault,
            group: 0,
            openings_failed: 0,
            told: String::new(),
        }
    }

    /// From here on a call fails.
    fn arm(&mut self) {
        self.calls_before = self.disk.io_calls();
        self.hits_before = self.disk.faults_hit();
        match self.fault {
            None => {}
            Some((call, Fault::Interrupted, true)) => {
                for again in 0..INTERRUPTIONS {
                    self.disk.fail_call(call + again, Fault::Interrupted);
                }
            }
            Some((call, fault, true)) => self.disk.fail_from(call, fault),
            Some((call, fault, false)) => self.disk.fail_call(call, fault),
        }
    }

    /// Whether nothing may go wrong: no fault, or one that is not an error.
    fn must_go_well(&self) -> bool {
        self.fault.is_none_or(|(_, fault, _)| is_benign(fault))
    }

    fn may_fail(&self, error: &Error) {
        assert!(!self.must_go_well(), "{}: {error}", self.told);
        // An error of the device is not damage, and no reason to call the ledger something else.
        let device = matches!(
            error.kind(),
            ErrorKind::Io { .. }
                | ErrorKind::DiskLow { .. }
                | ErrorKind::Poisoned { .. }
                | ErrorKind::InDoubt { .. }
        );
        assert!(device, "{}: {error}", self.told);
    }

    // What scenarios are made of.

    fn open(&mut self) -> bool {
        match small().open_simulated(self.disk.as_disk(), self.host.as_host()) {
            Ok(ledger) => self.ledger = Some(ledger),
            Err(error) => {
                self.may_fail(&error);
                self.openings_failed += 1;
            }
        }
        self.resolve_doubts();
        self.ledger.is_some()
    }

    /// Opening again tells what became of orders in doubt, and what it tells must hold from then on.
    fn resolve_doubts(&mut self) {
        let Some(ledger) = &self.ledger else { return };
        for (submission, fate) in &mut self.fates {
            if matches!(fate, Fate::InDoubt(_)) {
                match ledger.by_key(submission.client(), submission.key()) {
                    Ok(Some(found)) => *fate = Fate::Acknowledged(found.receipt),
                    Ok(None) => *fate = Fate::NotRecorded,
                    Err(error) => assert_eq!(error.certainty(), Certainty::Unknown, "{error}"),
                }
            }
        }
    }

    /// Opens without a fault, and arms it.
    fn open_then_arm(&mut self) {
        assert!(self.open());
        self.arm();
    }

    fn answered(&mut self, submission: Submission, result: Result<Outcome>) {
        let before = self.fates.iter().position(|(known, _)| known.key() == submission.key());
        let before = before.map(|index| self.fates.remove(index).1);
        let fate = match result {
            Ok(outcome) => {
                match before {
                    Some(Fate::Acknowledged(receipt)) => {
                        assert_eq!(outcome.how, How::Replayed, "{}: taken twice", self.told);
                        assert_eq!(outcome.receipt, receipt, "{}", self.told);
                    }
                    Some(Fate::InDoubt(_)) => panic!("{}: doubt resolved by itself", self.told),
                    Some(Fate::NotRecorded) | None => {
                        assert_eq!(outcome.how, How::Fresh, "{}: replay of nothing", self.told);
                    }
                }
                Fate::Acknowledged(outcome.receipt)
            }
            Err(error) => {
                self.may_fail(&error);
                match (error.certainty(), before) {
                    (Certainty::NotRecorded, None | Some(Fate::NotRecorded)) => Fate::NotRecorded,
                    (Certainty::NotRecorded, Some(fate)) => {
                        panic!("{}: {fate:?} was told not recorded: {error}", self.told)
                    }
                    (Certainty::Unknown, None | Some(Fate::NotRecorded)) if is_in_doubt(&error) => {
                        Fate::InDoubt(self.group)
                    }
                    // The key could not be looked up; this call wrote nothing.
                    (Certainty::Unknown, before) => before.unwrap_or(Fate::NotRecorded),
                    (Certainty::Recorded(_), _) => panic!("{}: {error}", self.told),
                }
            }
        };
        self.fates.push((submission, fate));
    }

    fn submit(&mut self, submission: Submission) {
        self.group += 1;
        let result = self.ledger.as_ref().unwrap().submit(&submission);
        self.answered(submission, result);
    }

    fn submit_many(&mut self, batch: Vec<Submission>) {
        self.group += 1;
        let results = self.ledger.as_ref().unwrap().submit_many(&batch);
        for (submission, result) in batch.into_iter().zip(results) {
            self.answered(submission, result);
        }
    }

    fn tick_later(&self) {
        self.host.advance(Duration::from_secs(2));
        self.ledger.as_ref().unwrap().tick();
    }

    fn close_ledger(&mut self) {
        let ledger = self.ledger.take().unwrap();
        if let Err(error) = ledger.close() {
            self.may_fail(&error);
        }
    }

    // The scenarios. Each arms the fault once, at the part that it is about.

    fn open_and_submit(&mut self) {
        self.arm();
        if self.open() {
            self.submit(order(1));
        }
    }

    fn single(&mut self) {
        self.open_then_arm();
        for number in 0..4 {
            self.submit(order(number));
        }
    }

    fn batch(&mut self) {
        self.open_then_arm();
        self.submit_many((0..20).map(order).collect());
        self.submit_many((20..25).map(order).collect());
    }

    fn deferred(&mut self) {
        self.open_then_arm();
        for start in [0, 10] {
            self.group += 1;
            let batch: Vec<_> = (start..start + 5).map(order).collect();
            let ledger = self.ledger.as_ref().unwrap();
            let mut tickets: Vec<Ticket> =
                batch.iter().map(|submission| ledger.submit_deferred(submission)).collect();
            ledger.pump();
            let results: Vec<_> = tickets.iter_mut().map(|ticket| ticket.wait(None)).collect();
            for (submission, result) in batch.into_iter().zip(results) {
                self.answered(submission, result);
            }
        }
    }

    fn rotation(&mut self) {
        self.open_then_arm();
        for number in 0..3 {
            self.submit(large(100 + number, 6000));
        }
    }

    fn rotation_prepared(&mut self) {
        self.open_then_arm();
        self.tick_later();
        for number in 0..3 {
            self.submit(large(100 + number, 6000));
            self.tick_later();
        }
    }

    fn seal_when_idle(&mut self) {
        assert!(self.open());
        self.submit(order(1));
        self.arm();
        self.tick_later();
        self.submit(order(2));
        self.tick_later();
    }

    fn upkeep(&mut self) {
        assert!(self.open());
        for number in 0..6 {
            self.submit(large(100 + number, 3000));
        }
        self.arm();
        for _ in 0..3 {
            self.tick_later();
        }
        self.submit(order(1));
    }

    fn close(&mut self) {
        assert!(self.open());
        self.submit(order(1));
        self.arm();
        self.close_ledger();
    }

    fn close_after_rotation(&mut self) {
        assert!(self.open());
        for number in 0..3 {
            self.submit(large(100 + number, 6000));
        }
        self.arm();
        self.close_ledger();
    }

    fn replay_and_read(&mut self) {
        self.open_then_arm();
        for (submission, _) in self.fates.clone() {
            self.submit(submission);
        }
        self.submit(order(1));
    }

    fn reader(&mut self) {
        self.arm();
        let opened = Reader::open_on(self.disk.as_disk(), &self.host);
        let orders = opened.and_then(|reader| reader.orders().collect::<Result<Vec<Order>>>());
        match orders {
            Ok(orders) => assert_eq!(orders.len(), self.fates.len(), "{}", self.told),
            Err(error) => self.may_fail(&error),
        }
    }

    fn verify(&mut self) {
        self.arm();
        match verify_on(self.disk.as_disk(), &self.host, &mut |_, _| {}) {
            Ok(report) => match report.soundness() {
                Soundness::Sound => {}
                Soundness::CantTell if !self.must_go_well() => {}
                other => panic!("{}: {other}, {:?}", self.told, report.findings),
            },
            Err(error) => self.may_fail(&error),
        }
    }

    /// Everything there is, twice: made, filled over a rotation, idle, closed, opened.
    fn life(&mut self) {
        self.arm();
        let mut number = 0;
        for _ in 0..2 {
            if !self.open() {
                return;
            }
            for _ in 0..5 {
                number += 1;
                self.submit(large(number, 3000));
                self.tick_later();
            }
            self.close_ledger();
        }
        self.open();
    }

    // What must hold.

    /// The fault is still there, if it is one that lasts.
    fn look_during_the_fault(&mut self) {
        let Some(ledger) = self.ledger.clone() else { return };
        if self.must_go_well() {
            assert_eq!(ledger.poisoned(), None, "{}", self.told);
        }
        let (mut found_all, for_ever) = (true, self.fault.is_some_and(|(.., for_ever)| for_ever));
        for (submission, fate) in &self.fates {
            let found = ledger.by_key(submission.client(), submission.key());
            match (fate, found) {
                (Fate::Acknowledged(receipt), Ok(Some(found))) => {
                    assert_eq!(found.receipt, *receipt, "{}", self.told);
                }
                (Fate::NotRecorded, Ok(None)) => {}
                (Fate::InDoubt(_), Err(error)) if is_in_doubt(&error) => {}
                (_, Err(error)) => {
                    assert_eq!(error.certainty(), Certainty::Unknown, "{}", self.told);
                    self.may_fail(&error);
                    found_all = false;
                }
                (fate, Ok(found)) => {
                    let found = found.map(|found| found.id());
                    panic!("{}: {fate:?} is {found:?}", self.told)
                }
            }
        }
        // Reads go on: one error is over, and a disk that is full or read-only can be read.
        let readable = !matches!(self.fault, Some((_, Fault::Eio | Fault::EioLate, true)));
        assert!(found_all || !readable, "{}: reads do not go on", self.told);
        if ledger.poisoned().is_some() {
            let before = durable(&self.disk, "wal");
            let error = ledger.submit(&order(7777)).unwrap_err();
            let refused = matches!(error.kind(), ErrorKind::Poisoned { .. });
            assert!(refused || (for_ever && !readable), "{}: {error}", self.told);
            self.tick_later();
            assert!(before == durable(&self.disk, "wal"), "{}: written when poisoned", self.told);
        }
    }

    /// Whatever is not poisoned needs no opening.
    fn go_on_without_the_fault(&mut self, counts: &mut Counts) {
        counts.add("openings_failed", self.openings_failed);
        self.disk.clear_faults();
        let Some(ledger) = self.ledger.clone() else { return };
        if ledger.poisoned().is_some() {
            counts.add("poisoned", 1);
            return;
        }
        // The upkeep looks whether there is room again.
        self.tick_later();
        assert_eq!(ledger.poisoned(), None, "{}: by the upkeep, without a fault", self.told);
        self.fault = None;
        self.submit(order(5000));
        counts.add("went_on", 1);
    }

    fn check_after_recovery(&mut self, counts: &mut Counts) {
        let told = &self.told;
        let ledger = small()
            .open_simulated(self.disk.as_disk(), self.host.as_host())
            .unwrap_or_else(|error| panic!("{told}: opening refused afterwards: {error}"));
        let orders = all_orders(&ledger).unwrap_or_else(|error| panic!("{told}: {error}"));
        let mut doubts: Vec<(u64, bool)> = Vec::new();
        let mut known = 0;
        for (submission, fate) in &self.fates {
            let same = |order: &&Order| order.key == submission.key();
            let found: Vec<&Order> = orders.iter().filter(same).collect();
            assert!(found.len() < 2, "{told}: there twice");
            let found = found.first();
            known += usize::from(found.is_some());
            if let Some(found) = found {
                assert_eq!(found.payload, submission.payload(), "{told}");
            }
            match fate {
                Fate::Acknowledged(receipt) => {
                    counts.add("acknowledged", 1);
                    let there = found.is_some_and(|found| found.receipt == *receipt);
                    assert!(there, "{told}: acknowledged and gone");
                    let again = ledger.submit(submission).unwrap();
                    assert_eq!((again.how, again.receipt), (How::Replayed, *receipt), "{told}");
                }
                Fate::NotRecorded => {
                    counts.add("not_recorded", 1);
                    assert!(found.is_none(), "{told}: told not recorded, and there");
                }
                Fate::InDoubt(group) => {
                    let there = found.is_some();
                    doubts.push((*group, there));
                    counts.add(if there { "in_doubt_there" } else { "in_doubt_gone" }, 1);
                    let how = if there { How::Replayed } else { How::Fresh };
                    assert_eq!(ledger.submit(submission).unwrap().how, how, "{told}");
                }
            }
        }
        assert_eq!(known, orders.len(), "{told}: orders that nobody submitted");
        for (group, there) in &doubts {
            let same = doubts.iter().filter(|(other, _)| other == group);
            assert!(same.into_iter().all(|(_, other)| other == there), "{told}: half of a group");
        }
        let poisoned = ledger.poisoned();
        assert_eq!(poisoned, None, "{told}");
        ledger.close().unwrap_or_else(|error| panic!("{told}: {error}"));
    }
}

fn is_in_doubt(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::InDoubt { .. })
}
