//! A call of the disk fails, the power goes, the process is killed, between any two steps of two to five
//! submitters, an upkeep and sometimes a closer; then the ledger is opened again.
//!
//! After every opening: what was acknowledged is there once, with its receipt, and was already on the platter
//! when it was acknowledged; what was told `NotRecorded` is not there; what one process was in doubt about
//! is of one group, so all of it is there or nothing; sending everything again works.

use std::collections::{BTreeMap, BTreeSet};

use order_ledger::disk::sim::{Crash, CrashMode, Fault, SimDisk};
use order_ledger::{
    Certainty, ErrorKind, Ledger, Options, Outcome, Receipt, Result, Submission, Views,
};
use shuttle::thread;

use super::{Figures, open};
use crate::rig::{Random, small};
use crate::support::Machine;

/// One order of a storm: a key, and one of two contents.
type What = (u64, u64);

fn submission((key, content): What) -> Submission {
    // Two of them fill a segment: half of the storms rotate.
    let bytes = if key.is_multiple_of(2) { 40 } else { 5_000 };
    let mut payload = format!("<{key}/{content}>").into_bytes();
    payload.resize(bytes, b'.');
    Submission::new("web", format!("key-{key}"), payload)
}

/// How a storm ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Fault,
    PowerCut,
    Kill,
    PowerCutAtAnyStep,
}

pub(super) fn a_call_of_the_disk_fails(seed: u64) -> Figures {
    storm(seed, End::Fault)
}

pub(super) fn the_power_goes_off_at_a_call_of_the_disk(seed: u64) -> Figures {
    storm(seed, End::PowerCut)
}

pub(super) fn the_process_is_killed_at_a_call_of_the_disk(seed: u64) -> Figures {
    storm(seed, End::Kill)
}

/// Not at a call, but wherever the threads happen to be.
pub(super) fn the_power_goes_off_at_any_step(seed: u64) -> Figures {
    storm(seed, End::PowerCutAtAnyStep)
}

/// What the callers were told.
type Told = Vec<(What, Result<Outcome>)>;

fn storm(seed: u64, end: End) -> Figures {
    let mut random = Random::new(seed);
    let machine = Machine::new(seed);
    let views = random.pick(&[Views::On, Views::Off]);
    let orders_max = random.pick(&[1000, 1000, 2]);
    let options = small().views(views).queue_orders_max(orders_max).client_share_percent(100);
    // The ledger is there and has an order, so that there is something to replay and to lose.
    let first = machine.open_with(&options).unwrap();
    let mut told = vec![((0, 0), first.submit(&submission((0, 0))))];
    first.close().unwrap();

    let ledger = open(&machine, &options);
    let calls = 1 + random.below(40);
    match end {
        End::Fault => {
            let all = [Fault::Eio, Fault::EioLate, Fault::Enospc, Fault::Erofs, Fault::ShortWrite];
            machine.disk.fail_call(calls, random.pick(&all));
        }
        End::PowerCut | End::Kill => machine.disk.power_off_after(calls),
        End::PowerCutAtAnyStep => {}
    }
    told.extend(run(&machine, &ledger, end, &mut random));
    let faults = machine.disk.faults_hit();
    machine.disk.clear_faults();
    let rotations = ledger.stats().map_or(0, |stats| stats.segments.saturating_sub(1));
    drop(ledger);

    let mut figures = end_process(&machine.disk, end, &mut random);
    figures.extend([("faults", faults), ("rotations", rotations)]);
    figures.extend(check(&machine, &options, &told));
    figures
}

/// Runs the threads of a storm to their end, and closes the ledger if there is still somebody to.
fn run(machine: &Machine, ledger: &Ledger, end: End, random: &mut Random) -> Told {
    let commit = {
        let ledger = ledger.clone();
        thread::spawn(move || ledger.run_commit_thread())
    };
    let submitters: Vec<_> = (0..2 + random.below(4))
        .map(|_| {
            let (ledger, disk) = (ledger.clone(), machine.disk.clone());
            let random = Random::new(random.next());
            thread::spawn(move || submit_some(&ledger, &disk, random))
        })
        .collect();
    let mut others = Vec::new();
    if random.chance(2, 3) {
        let ledger = ledger.clone();
        others.push(thread::spawn(move || {
            for _ in 0..3 {
                ledger.tick();
            }
        }));
    }
    if end == End::PowerCutAtAnyStep {
        let (disk, steps) = (machine.disk.clone(), random.below(60));
        others.push(thread::spawn(move || {
            for _ in 0..steps {
                thread::yield_now();
            }
            disk.power_off_after(0);
        }));
    }
    if random.chance(1, 4) {
        let ledger = ledger.clone();
        others.push(thread::spawn(move || drop(ledger.close())));
    }
    let told = submitters.into_iter().flat_map(|it| it.join().unwrap()).collect();
    others.into_iter().for_each(|it| it.join().unwrap());
    if end != End::Fault {
        // At the latest here: a process that dies does not close.
        machine.disk.power_off_after(0);
    }
    drop(ledger.clone().close());
    commit.join().unwrap();
    told
}

/// One to three calls with a few orders each, as long as the process is alive.
fn submit_some(ledger: &Ledger, disk: &SimDisk, mut random: Random) -> Told {
    let mut told = Told::new();
    for _ in 0..1 + random.below(3) {
        if disk.is_off() {
            break;
        }
        let mut what = || (random.below(5), u64::from(random.chance(1, 6)));
        let (one, two) = (what(), what());
        match random.below(4) {
            0 | 1 => {
                let answer = ledger.submit(&submission(one));
                note(&mut told, disk, one, answer);
            }
            2 => {
                let mut tickets =
                    [one, two].map(|what| (what, ledger.submit_deferred(&submission(what))));
                for (what, ticket) in &mut tickets {
                    let answer = ticket.wait(None);
                    note(&mut told, disk, *what, answer);
                }
            }
            _ => {
                let answers = ledger.submit_many(&[submission(one), submission(two)]);
                for (what, answer) in [one, two].into_iter().zip(answers) {
                    note(&mut told, disk, what, answer);
                }
            }
        }
    }
    told
}

fn note(told: &mut Told, disk: &SimDisk, what: What, answer: Result<Outcome>) {
    if answer.is_ok() {
        let wanted = format!("<{}/{}>", what.0, what.1).into_bytes();
        let segments = disk.files().into_iter().filter(|(path, _)| path.ends_with(".seg"));
        let is_there = segments.map(|(path, _)| disk.read_durable(&path).unwrap()).any(|bytes| {
            let mut places = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'<');
            places.any(|(at, _)| bytes[at..].starts_with(&wanted))
        });
        assert!(is_there, "{what:?} was acknowledged before it was durable");
    }
    told.push((what, answer));
}

fn end_process(disk: &SimDisk, end: End, random: &mut Random) -> Figures {
    let modes = [
        CrashMode::DropAll,
        CrashMode::KeepAll,
        CrashMode::Prefix,
        CrashMode::Random,
        CrashMode::Random,
        CrashMode::Adversarial,
        CrashMode::Ext4Like,
    ];
    match end {
        End::Fault if random.chance(1, 2) => {
            disk.kill();
            Figures::new()
        }
        End::Kill => {
            disk.kill();
            vec![("kills", 1)]
        }
        End::Fault | End::PowerCut | End::PowerCutAtAnyStep => {
            let report = disk.crash(Crash::new(random.pick(&modes), random.next()));
            let lost = report.sectors_dropped + report.sectors_torn + report.names_dropped;
            vec![("power_cuts", 1), ("torn_or_lost", lost)]
        }
    }
}

fn check(machine: &Machine, options: &Options, told: &Told) -> Figures {
    let ledger = match machine.open_with(options) {
        Ok(ledger) => ledger,
        Err(error) => panic!("opening refused: {error}"),
    };
    let mut there: BTreeMap<u64, (Vec<u8>, Receipt)> = BTreeMap::new();
    for (number, order) in (1..).zip(ledger.orders()) {
        let order = order.unwrap();
        assert_eq!(order.receipt.order.as_u64(), number, "numbers are dense");
        let key = String::from_utf8_lossy(&order.key)["key-".len()..].parse().unwrap();
        let before = there.insert(key, (order.payload, order.receipt));
        assert!(before.is_none(), "key {key} has two orders");
    }
    let mut figures = check_told(&there, told);
    figures.extend(check_doubt(&there, told));
    for (what, _) in told {
        let again = ledger.submit(&submission(*what));
        match (&again, there.get(&what.0)) {
            (Ok(outcome), Some((_, receipt))) => assert_eq!(outcome.receipt, *receipt),
            (Ok(_), None) => {}
            (Err(error), _) => {
                assert!(matches!(error.kind(), ErrorKind::Conflict { .. }), "{what:?}: {error}");
            }
        }
    }
    ledger.close().unwrap();
    figures
}

/// Every answer is still true.
fn check_told(there: &BTreeMap<u64, (Vec<u8>, Receipt)>, told: &Told) -> Figures {
    let mut acknowledged = 0;
    let free = |key: u64| {
        // Somebody else may have taken it, or may not know.
        let others = told.iter().filter(|((other, _), _)| *other == key);
        others.into_iter().all(|(_, answer)| {
            answer.as_ref().is_err_and(|error| error.certainty() == Certainty::NotRecorded)
        })
    };
    for (what, answer) in told {
        let (key, _) = *what;
        match answer {
            Ok(outcome) => {
                acknowledged += 1;
                let (payload, receipt) = there.get(&key).expect("an acknowledged order is lost");
                assert_eq!(*receipt, outcome.receipt, "the receipt of {what:?} changed");
                assert_eq!(payload, submission(*what).payload(), "the order {what:?} changed");
            }
            Err(error) => match error.certainty() {
                Certainty::Recorded(winner) => {
                    let (payload, receipt) = there.get(&key).expect("a winner is lost");
                    assert_eq!(*receipt, winner);
                    assert_ne!(payload, submission(*what).payload(), "no conflict: {what:?}");
                }
                Certainty::NotRecorded if free(key) => {
                    assert!(!there.contains_key(&key), "{what:?} was not recorded: {error}");
                }
                _ => {}
            },
        }
    }
    vec![("acknowledged", acknowledged)]
}

/// A process is in doubt about one group at most, which is there as a whole or not at all.
fn check_doubt(there: &BTreeMap<u64, (Vec<u8>, Receipt)>, told: &Told) -> Figures {
    let known: BTreeSet<u64> = told
        .iter()
        .filter(|(_, answer)| match answer {
            Ok(_) => true,
            Err(error) => matches!(error.certainty(), Certainty::Recorded(_)),
        })
        .map(|((key, _), _)| *key)
        .collect();
    let in_doubt: BTreeSet<u64> = told
        .iter()
        .filter(|(_, answer)| {
            answer.as_ref().is_err_and(|error| matches!(error.kind(), ErrorKind::InDoubt { .. }))
        })
        .map(|((key, _), _)| *key)
        .collect();
    assert!(in_doubt.is_disjoint(&known), "in doubt and known: {in_doubt:?} {known:?}");
    let kept = in_doubt.iter().filter(|key| there.contains_key(key)).count() as u64;
    let gone = in_doubt.len() as u64 - kept;
    assert!(kept == 0 || gone == 0, "half of a group: {in_doubt:?} of {:?}", there.keys());
    vec![("in_doubt_there", kept), ("in_doubt_gone", gone)]
}
