//! Group commit under many schedules: threads that submit, join, conflict, close, and a sync that fails,
//! with the scheduler choosing who runs after every step of a lock.
//!
//! Only in builds made for it:
//!
//! ```text
//! RUSTFLAGS="--cfg order_ledger_shuttle" cargo test --release --no-default-features \
//!     --target-dir target/shuttle --test it schedules::
//! ```
//!
//! `ORDER_LEDGER_SCHEDULES` sets how many schedules each test runs (default 2,000). A failing schedule
//! is printed and can be replayed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use order_ledger::disk::sim::Fault;
use order_ledger::{Certainty, ErrorKind, How, Ledger, Outcome, Result, Submission};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};

use crate::support::{Machine, order, small};

fn schedules() -> usize {
    let set = std::env::var("ORDER_LEDGER_SCHEDULES").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

/// Runs `body` under random schedules, and under schedules that change threads at few, unlucky points.
fn check(body: impl Fn() + Send + Sync + Clone + 'static) {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    let half = schedules() / 2;
    Runner::new(RandomScheduler::new(half), config.clone()).run(body.clone());
    Runner::new(PctScheduler::new(3, half), config).run(body);
}

fn open(machine: &Machine) -> Ledger {
    small().open_scheduled(machine.disk.as_disk(), machine.host.as_host()).unwrap()
}

/// A ledger with its commit thread; the answer is what the threads said, after all of them ended.
fn with_threads(
    machine: &Machine,
    threads: Vec<Box<dyn FnOnce(Ledger) -> Vec<Result<Outcome>> + Send>>,
) -> Vec<Result<Outcome>> {
    let ledger = open(machine);
    let commit = {
        let ledger = ledger.clone();
        thread::spawn(move || ledger.run_commit_thread())
    };
    let threads: Vec<_> = threads
        .into_iter()
        .map(|run| {
            let ledger = ledger.clone();
            thread::spawn(move || run(ledger))
        })
        .collect();
    let answers: Vec<_> = threads.into_iter().flat_map(|it| it.join().unwrap()).collect();
    // A poisoned ledger says so when it is closed; what matters is that it ends.
    drop(ledger.close());
    commit.join().unwrap();
    answers
}

fn fresh(answers: &[Result<Outcome>]) -> usize {
    answers.iter().filter(|it| it.as_ref().is_ok_and(|it| it.how == How::Fresh)).count()
}

#[test]
fn one_key_from_many_threads_makes_one_order() {
    check(|| {
        let machine = Machine::new(1);
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
    });
}

#[test]
fn one_of_two_contents_under_a_key_wins_and_the_other_is_told() {
    check(|| {
        let machine = Machine::new(2);
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
    });
}

/// The first sync fails: nobody is left waiting, nobody is told Ok, and opening again decides.
#[test]
fn a_failed_sync_wakes_everyone_and_nobody_is_told_ok() {
    check(|| {
        let machine = Machine::new(3);
        // Open once before, so that the calls that are counted are those of the group.
        machine.open().close().unwrap();
        let ledger = open(&machine);
        machine.disk.fail_from(2, Fault::Eio);
        let commit = {
            let ledger = ledger.clone();
            thread::spawn(move || ledger.run_commit_thread())
        };
        let threads: Vec<_> = (1..=3)
            .map(|n| {
                let ledger = ledger.clone();
                thread::spawn(move || ledger.submit(&order(n.min(2))))
            })
            .collect();
        for thread in threads {
            let error = thread.join().unwrap().unwrap_err();
            let kind = error.kind();
            assert!(
                matches!(kind, ErrorKind::InDoubt { .. } | ErrorKind::Poisoned { .. }),
                "{error}"
            );
        }
        assert!(ledger.close().is_err());
        commit.join().unwrap();
        machine.disk.clear_faults();
        assert_eq!(machine.open().submit(&order(1)).unwrap().how, How::Fresh);
    });
}

/// Closing while others submit: each of them is told Ok, and then it is there, or `Closed`, and then it
/// is not.
#[test]
fn closing_waits_for_what_was_taken_in() {
    check(|| {
        let machine = Machine::new(4);
        let ledger = open(&machine);
        let commit = {
            let ledger = ledger.clone();
            thread::spawn(move || ledger.run_commit_thread())
        };
        let taken = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (1..=2)
            .map(|n| {
                let (ledger, taken) = (ledger.clone(), Arc::clone(&taken));
                thread::spawn(move || {
                    let answer = match n {
                        1 => ledger.submit(&order(n)),
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
    });
}

/// Upkeep (sealing, the idle seal, the witness) beside submitters over several rotations.
#[test]
fn upkeep_beside_submitters_loses_no_key() {
    check(|| {
        let machine = Machine::new(5);
        let large = |n: u64| Submission::new("web", format!("key-{n}"), vec![7; 20_000]);
        let answers = with_threads(
            &machine,
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
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(fresh(&answers), 6);
        let ledger = machine.open();
        for n in 1..=6 {
            assert_eq!(ledger.submit(&large(n)).unwrap().how, How::Replayed);
        }
    });
}
