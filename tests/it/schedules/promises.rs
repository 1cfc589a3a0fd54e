//! What threads that meet in one ledger are told, when nothing or one sync fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use order_ledger::disk::sim::Fault;
use order_ledger::{
    Certainty, ErrorKind, How, Outcome, Result, Submission, Validator, Verdict, Views,
};
use shuttle::thread;

use super::{Answers, Figures, Job, fresh, open, run_jobs};
use crate::rig::Random;
use crate::support::{Machine, order, small};

/// What the threads said, after all of them ended and the ledger was closed.
fn with_threads(machine: &Machine, jobs: Vec<Job>) -> Answers {
    let ledger = open(machine, &small());
    let (answers, commit) = run_jobs(&ledger, jobs);
    // A poisoned ledger says so when it is closed; what matters is that it ends.
    drop(ledger.close());
    commit.join().unwrap();
    answers
}

fn acknowledged(answers: &[Result<Outcome>]) -> Figures {
    vec![("acknowledged", answers.iter().filter(|it| it.is_ok()).count() as u64)]
}

pub(super) fn one_key_from_many_threads_makes_one_order(seed: u64) -> Figures {
    let machine = Machine::new(seed);
    let answers = with_threads(
        &machine,
        vec![
            Box::new(|ledger| vec![ledger.submit(&order(1)), ledger.submit(&order(2))]),
            Box::new(|ledger| vec![ledger.submit(&order(1))]),
            Box::new(|ledger| vec![ledger.submit_deferred(&order(1)).wait(None)]),
            Box::new(|ledger| ledger.submit_many(&[order(2), order(1)])),
        ],
    );
    let receipts: Vec<_> = answers.iter().map(|it| it.as_ref().unwrap().receipt).collect();
    assert_eq!(fresh(&answers), 2);
    let mut different = receipts.clone();
    different.sort_by_key(|receipt| receipt.order);
    different.dedup();
    assert_eq!(different.len(), 2, "{receipts:?}");
    assert_eq!(machine.open().stats().unwrap().records, 2);
    acknowledged(&answers)
}

pub(super) fn one_of_two_contents_under_a_key_wins_and_the_other_is_told(seed: u64) -> Figures {
    let machine = Machine::new(seed);
    let other = || Submission::new("web", "key-1", "other");
    let answers = with_threads(
        &machine,
        vec![
            Box::new(|ledger| vec![ledger.submit(&order(1))]),
            Box::new(move |ledger| vec![ledger.submit(&other())]),
            Box::new(move |ledger| vec![ledger.submit_deferred(&other()).wait(None)]),
        ],
    );
    assert_eq!(fresh(&answers), 1);
    let winner = answers.iter().find_map(|it| it.as_ref().ok()).unwrap().receipt;
    for error in answers.iter().filter_map(|it| it.as_ref().err()) {
        assert!(matches!(error.kind(), ErrorKind::Conflict { .. }), "{error}");
        assert_eq!(error.certainty(), Certainty::Recorded(winner));
    }
    assert_eq!(machine.open().stats().unwrap().records, 1);
    acknowledged(&answers)
}

/// The first sync fails: nobody is left waiting, nobody is told Ok, and opening again decides.
pub(super) fn a_failed_sync_wakes_everyone_and_nobody_is_told_ok(seed: u64) -> Figures {
    let machine = Machine::new(seed);
    // Open once before, so that the calls that are counted are those of the group.
    machine.open().close().unwrap();
    let ledger = open(&machine, &small());
    machine.disk.fail_from(2, Fault::Eio);
    let submit = |n: u64| -> Job { Box::new(move |ledger| vec![ledger.submit(&order(n.min(2)))]) };
    let (answers, commit) = run_jobs(&ledger, (1..=3).map(submit).collect());
    for answer in answers {
        let error = answer.unwrap_err();
        let kind = error.kind();
        assert!(matches!(kind, ErrorKind::InDoubt { .. } | ErrorKind::Poisoned { .. }), "{error}");
    }
    assert!(ledger.close().is_err());
    commit.join().unwrap();
    let faults = machine.disk.faults_hit();
    machine.disk.clear_faults();
    assert_eq!(machine.open().submit(&order(1)).unwrap().how, How::Fresh);
    vec![("faults", faults)]
}

/// Closing while others submit: each of them is told Ok, and then it is there, or `Closed`, and then it
/// is not.
pub(super) fn closing_waits_for_what_was_taken_in(seed: u64) -> Figures {
    let machine = Machine::new(seed);
    let ledger = open(&machine, &small());
    let commit = {
        let ledger = ledger.clone();
        thread::spawn(move || ledger.run_commit_thread())
    };
    let taken = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (1..=3)
        .map(|n| {
            let (ledger, taken) = (ledger.clone(), Arc::clone(&taken));
            thread::spawn(move || {
                let answer = match n {
                    1 | 3 => ledger.submit(&order(n)),
                    _ => ledger.submit_deferred(&order(n)).wait(None),
                };
                match answer {
                    Ok(_) => {
                        taken.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(error) => assert_eq!(*error.kind(), ErrorKind::Closed),
                }
            })
        })
        .collect();
    ledger.close().unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
    commit.join().unwrap();
    let records = machine.open().stats().unwrap().records;
    assert_eq!(records, taken.load(Ordering::SeqCst) as u64);
    vec![("acknowledged", records)]
}

/// Upkeep (the next segment's file, sealing, the idle seal, the witness) beside submitters over several
/// rotations, with the views on and off.
pub(super) fn upkeep_beside_submitters_loses_no_key(seed: u64) -> Figures {
    let machine = Machine::new(seed);
    let mut random = Random::new(seed);
    let views = random.pick(&[Views::On, Views::Off]);
    let options = crate::rig::small().views(views);
    let large = |n: u64| Submission::new("web", format!("key-{n}"), vec![7; 5_000]);
    let ledger = open(&machine, &options);
    let (answers, commit) = run_jobs(
        &ledger,
        vec![
            Box::new(move |ledger| (1..=4).map(|n| ledger.submit(&large(n))).collect()),
            Box::new(move |ledger| (3..=6).map(|n| ledger.submit(&large(n))).collect()),
            Box::new(|ledger| {
                for _ in 0..4 {
                    ledger.tick();
                    thread::yield_now();
                }
                Vec::new()
            }),
        ],
    );
    ledger.close().unwrap();
    commit.join().unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(fresh(&answers), 6);
    let ledger = machine.open_with(&options).unwrap();
    for n in 1..=6 {
        assert_eq!(ledger.submit(&large(n)).unwrap().how, How::Replayed);
    }
    let mut figures = acknowledged(&answers);
    figures.push(("rotations", ledger.stats().unwrap().segments.saturating_sub(1)));
    figures
}

/// A queue of one order: who waits for room gets it, and nobody waits for ever.
pub(super) fn who_waits_for_room_is_let_in(seed: u64) -> Figures {
    let machine = Machine::new(seed);
    let options = small()
        .queue_orders_max(1)
        .client_share_percent(100)
        .admission_wait(Duration::from_secs(3600));
    let ledger = open(&machine, &options);
    let submit = |n: u64| -> Job { Box::new(move |ledger| vec![ledger.submit(&order(n))]) };
    let (answers, commit) = run_jobs(&ledger, (1..=4).map(submit).collect());
    ledger.close().unwrap();
    commit.join().unwrap();
    assert_eq!(fresh(&answers), 4, "{answers:?}");
    assert_eq!(machine.open().stats().unwrap().records, 4);
    acknowledged(&answers)
}

/// Looks at nothing and takes its time, so that others come in between.
struct Asked(Arc<AtomicUsize>);

impl Validator for Asked {
    fn validate(&self, _: &Submission, _: &order_ledger::Committed<'_>) -> Verdict {
        self.0.fetch_add(1, Ordering::SeqCst);
        thread::yield_now();
        Verdict::Accept
    }
}

/// Rule 15: it never runs for replays or joins, also when they come while it runs.
pub(super) fn a_validator_is_asked_once_for_a_key(seed: u64) -> Figures {
    let machine = Machine::new(seed);
    let asked = Arc::new(AtomicUsize::new(0));
    let options = small().validator(Asked(Arc::clone(&asked)));
    let ledger = open(&machine, &options);
    let submit = |n: u64| -> Job { Box::new(move |ledger| vec![ledger.submit(&order(n.min(2)))]) };
    let (answers, commit) = run_jobs(&ledger, (1..=4).map(submit).collect());
    ledger.close().unwrap();
    commit.join().unwrap();
    assert_eq!(fresh(&answers), 2, "{answers:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    acknowledged(&answers)
}
