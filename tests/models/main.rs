//! Group commit under all schedules: two and three threads, every order of their steps up to a bound on
//! how often a thread is interrupted, and every value that the orderings of the atomics allow.
//!
//! The story: a waiter that nobody wakes, a key that is for one step neither in flight nor in the tables,
//! an answer given before its group can be read. Each needs one unlucky order of steps, which a random
//! scheduler meets once in a million times or never; loom goes through all of them.
//!
//! What runs is the ledger itself, opened on the simulated disk: queue, lead, round, enter, ticket, upkeep,
//! log and tables, whose locks and ordering atomics are loom's (`src/sync/`). Outside are the disk and the
//! clock (a call of theirs is one step), the counters, and time: a wait ends only when it is notified.
//! Of several that wait for one notification loom wakes the first; nobody wakes by himself.
//!
//! Only in a build made for it:
//!
//! ```text
//! RUSTFLAGS="--cfg order_ledger_loom" cargo test --release --no-default-features \
//!     --target-dir target/loom --test models -- --nocapture
//! ```
//!
//! `LOOM_MAX_PREEMPTIONS` is the bound (default 3), `ORDER_LEDGER_MODEL` runs one model only.

#![cfg(order_ledger_loom)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test says what went wrong by failing, in its helpers as well"
)]

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use loom::thread;
use order_ledger::disk::sim::{Fault, SimDisk, SimHost, Snapshot};
use order_ledger::{Certainty, ErrorKind, How, Ledger, Options, Outcome, Submission, Views};

type Answer = order_ledger::Result<Outcome>;

/// How often a schedule may take the turn from a thread that could go on.
const PREEMPTIONS: usize = 3;

fn builder() -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    builder.max_branches = 20_000;
    builder
}

/// A model: what it is called, and its run, which answers how many schedules there were.
type Model = (&'static str, fn() -> u64);

const MODELS: &[Model] = &[
    ("the same two keys", two_threads_with_the_same_two_keys),
    ("different keys", two_threads_with_different_keys),
    ("tickets", two_threads_with_tickets),
    ("two contents", two_contents_under_the_same_two_keys),
    ("a reader", a_reader_beside_a_submitter),
    ("the first write fails", the_first_write_fails),
    ("the first sync fails", the_first_sync_fails),
    ("a later sync fails", a_later_sync_fails),
    ("closing", closing_beside_two_calls),
    ("the idle seal", the_idle_seal_beside_two_calls),
    ("no commit thread", two_threads_that_write_for_themselves),
    ("three threads", three_threads_with_a_call_each),
];

#[test]
fn all_schedules_keep_the_promises() {
    let only = std::env::var("ORDER_LEDGER_MODEL").ok();
    let chosen: Vec<&Model> =
        MODELS.iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name)).collect();
    assert!(!chosen.is_empty(), "no model is called {only:?}");
    prepared();
    let (next, schedules, failed) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((name, model)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    match catch_unwind(model) {
                        Ok(ran) => {
                            schedules.fetch_add(ran, Ordering::Relaxed);
                            println!("{name}: {ran} schedules, {} s", began.elapsed().as_secs());
                        }
                        Err(_) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            eprintln!("failed: ORDER_LEDGER_MODEL=\"{name}\"");
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    println!(
        "\nRESULT {{\"layer\":\"L11-loom\",\"models\":{},\"schedules\":{},\"violations\":{failed},\
         \"preemptions_max\":{},\"seconds_max\":{}}}",
        chosen.len(),
        schedules.into_inner(),
        builder().preemption_bound.unwrap_or_default(),
        began.elapsed().as_secs()
    );
    assert_eq!(failed, 0, "a model failed, see above");
}

/// Runs `body` under all schedules; answers how many they were.
fn check(body: impl Fn() + Send + Sync + 'static) -> u64 {
    let ran = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&ran);
    builder().check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        body();
    });
    ran.load(Ordering::Relaxed)
}

fn options() -> Options {
    Options::new()
        .segment_bytes(16 * 1024)
        .disk_reserve_bytes(0)
        .disk_free_min_bytes(0)
        .views(Views::Off)
}

/// A disk with an empty, closed ledger: making one again in each schedule would only cost time.
fn prepared() -> &'static Snapshot {
    static PREPARED: OnceLock<Snapshot> = OnceLock::new();
    PREPARED.get_or_init(|| {
        static MADE: OnceLock<Snapshot> = OnceLock::new();
        builder().check(|| {
            let disk = SimDisk::new(1);
            let ledger = options().open_simulated(disk.as_disk(), SimHost::new(1).as_host());
            ledger.unwrap().close().unwrap();
            drop(MADE.set(disk.snapshot()));
        });
        MADE.get().unwrap().clone()
    })
}

/// A copy of the prepared disk.
fn disk() -> SimDisk {
    let disk = SimDisk::new(1);
    disk.restore(prepared());
    disk
}

/// As with threads: the commit thread is the caller's to run.
fn open(disk: &SimDisk) -> Ledger {
    options().open_scheduled(disk.as_disk(), SimHost::new(2).as_host()).unwrap()
}

fn commit_thread(ledger: &Ledger) -> thread::JoinHandle<()> {
    let ledger = ledger.clone();
    thread::spawn(move || ledger.run_commit_thread())
}

fn order(key: &str) -> Submission {
    Submission::new("web", key, format!("the order {key}"))
}

fn other(key: &str) -> Submission {
    Submission::new("web", key, "another order")
}

/// What is in the log for one who opens it alone.
fn stored(disk: &SimDisk) -> Vec<(Vec<u8>, u64)> {
    disk.kill();
    let ledger = options().open_simulated(disk.as_disk(), SimHost::new(3).as_host()).unwrap();
    let orders = ledger.orders().map(|order| order.unwrap());
    let orders: Vec<_> =
        orders.map(|order| (order.key.clone(), order.receipt.order.as_u64())).collect();
    orders
}

fn fresh(answers: &[Answer]) -> usize {
    answers.iter().filter(|it| it.as_ref().is_ok_and(|it| it.how == How::Fresh)).count()
}

type Job = fn(&Ledger) -> Vec<Answer>;

/// Runs the first job here and each other one in a thread, beside the commit thread; then closes.
fn run(ledger: &Ledger, jobs: &[Job]) -> Vec<Answer> {
    let commit = commit_thread(ledger);
    let (first, rest) = jobs.split_first().unwrap();
    let threads: Vec<_> = rest
        .iter()
        .map(|job| {
            let (ledger, job) = (ledger.clone(), *job);
            thread::spawn(move || job(&ledger))
        })
        .collect();
    let mut answers = first(ledger);
    answers.extend(threads.into_iter().flat_map(|thread| thread.join().unwrap()));
    drop(ledger.clone().close());
    commit.join().unwrap();
    answers
}

/// Each key has one order and one receipt, whoever asked for it and in whatever order.
fn assert_one_order_each(disk: &SimDisk, answers: &[Answer], keys: usize) {
    let receipts = answers.iter().map(|answer| answer.as_ref().unwrap().receipt);
    let mut receipts: Vec<_> = receipts.collect();
    receipts.sort_by_key(|receipt| receipt.order);
    receipts.dedup();
    assert_eq!(receipts.len(), keys, "{answers:?}");
    assert_eq!(fresh(answers), keys, "{answers:?}");
    assert_eq!(stored(disk).len(), keys);
}

fn two_threads_with_the_same_two_keys() -> u64 {
    check(|| {
        let disk = disk();
        let ledger = open(&disk);
        let answers = run(
            &ledger,
            &[
                |ledger| vec![ledger.submit(&order("a")), ledger.submit(&order("b"))],
                |ledger| vec![ledger.submit(&order("b")), ledger.submit(&order("a"))],
            ],
        );
        assert_one_order_each(&disk, &answers, 2);
    })
}

fn two_threads_with_different_keys() -> u64 {
    check(|| {
        let disk = disk();
        let ledger = open(&disk);
        let answers = run(
            &ledger,
            &[
                |ledger| vec![ledger.submit(&order("a")), ledger.submit(&order("b"))],
                |ledger| vec![ledger.submit(&order("c")), ledger.submit(&order("d"))],
            ],
        );
        assert_one_order_each(&disk, &answers, 4);
    })
}

fn two_threads_with_tickets() -> u64 {
    let deferred = |ledger: &Ledger, keys: [&str; 2]| -> Vec<Answer> {
        let mut tickets = keys.map(|key| ledger.submit_deferred(&order(key)));
        tickets.iter_mut().map(|ticket| ticket.wait(None)).collect()
    };
    check(move || {
        let disk = disk();
        let ledger = open(&disk);
        let commit = commit_thread(&ledger);
        let second = {
            let ledger = ledger.clone();
            thread::spawn(move || vec![ledger.submit(&order("b")), ledger.submit(&order("a"))])
        };
        let mut answers = deferred(&ledger, ["a", "b"]);
        answers.extend(second.join().unwrap());
        drop(ledger.clone().close());
        commit.join().unwrap();
        assert_one_order_each(&disk, &answers, 2);
    })
}

fn two_contents_under_the_same_two_keys() -> u64 {
    check(|| {
        let disk = disk();
        let ledger = open(&disk);
        let answers = run(
            &ledger,
            &[
                |ledger| vec![ledger.submit(&order("a")), ledger.submit(&order("b"))],
                |ledger| vec![ledger.submit(&other("a")), ledger.submit(&other("b"))],
            ],
        );
        // Answers 0 and 2 are about one key, 1 and 3 about the other.
        for (one, two) in [(0, 2), (1, 3)] {
            let (winner, loser) = match (&answers[one], &answers[two]) {
                (Ok(winner), Err(loser)) | (Err(loser), Ok(winner)) => (winner, loser),
                both => panic!("not one winner: {both:?}"),
            };
            assert!(matches!(loser.kind(), ErrorKind::Conflict { .. }), "{loser}");
            assert_eq!(loser.certainty(), Certainty::Recorded(winner.receipt));
        }
        assert_eq!(stored(&disk).len(), 2);
    })
}

/// A reader beside a submitter: what it saw once stays, and what was acknowledged is seen.
fn a_reader_beside_a_submitter() -> u64 {
    check(|| {
        let disk = disk();
        let ledger = open(&disk);
        let commit = commit_thread(&ledger);
        let reader = {
            let ledger = ledger.clone();
            thread::spawn(move || {
                let look = || {
                    let keys = ["a", "b"].map(|key| ledger.by_key("web", key).unwrap());
                    keys.map(|found| found.map(|order| order.receipt))
                };
                let (first, second) = (look(), look());
                for (first, second) in first.into_iter().zip(second) {
                    assert!(first.is_none() || first == second, "{first:?}, then {second:?}");
                }
            })
        };
        for key in ["a", "b"] {
            let taken = ledger.submit(&order(key)).unwrap();
            let found = ledger.by_key("web", key).unwrap().unwrap();
            assert_eq!(found.receipt, taken.receipt);
        }
        reader.join().unwrap();
        ledger.close().unwrap();
        commit.join().unwrap();
    })
}

/// The `n`-th call of the disk and all after it fail: 1 is the write of the first group, 2 its sync, 3 the
/// write of the second one.
fn failing(n: u64) -> u64 {
    check(move || {
        let disk = disk();
        let ledger = open(&disk);
        disk.fail_from(n, Fault::Eio);
        let answers = run(
            &ledger,
            &[
                |ledger| vec![ledger.submit(&order("a")), ledger.submit(&order("b"))],
                |ledger| vec![ledger.submit(&order("a")), ledger.submit(&order("c"))],
            ],
        );
        let mut doubtful = 0;
        for answer in &answers {
            match answer {
                Ok(_) => assert!(n > 2, "nothing can be durable: {answer:?}"),
                Err(error) => match error.kind() {
                    ErrorKind::InDoubt { .. } => doubtful += 1,
                    // A look at the disk for a replay fails as well.
                    ErrorKind::Poisoned { .. } | ErrorKind::Io { .. } => {}
                    other => panic!("{other:?}"),
                },
            }
        }
        assert!(doubtful > 0, "{answers:?}");
        disk.clear_faults();
        let stored = stored(&disk).len();
        assert!(stored >= fresh(&answers), "an acknowledged order is lost");
    })
}

fn the_first_write_fails() -> u64 {
    failing(1)
}

fn the_first_sync_fails() -> u64 {
    failing(2)
}

fn a_later_sync_fails() -> u64 {
    failing(4)
}

/// Each is told Ok, and it is there, or `Closed`, and it is not; nobody waits for ever.
fn closing_beside_two_calls() -> u64 {
    check(|| {
        let disk = disk();
        let ledger = open(&disk);
        let commit = commit_thread(&ledger);
        let submitter = {
            let ledger = ledger.clone();
            thread::spawn(move || {
                let first = ledger.submit(&order("a"));
                vec![first, ledger.submit_deferred(&order("b")).wait(None)]
            })
        };
        ledger.close().unwrap();
        let answers = submitter.join().unwrap();
        commit.join().unwrap();
        for answer in &answers {
            if let Err(error) = answer {
                assert_eq!(*error.kind(), ErrorKind::Closed);
            }
        }
        assert_eq!(stored(&disk).len(), fresh(&answers));
    })
}

/// The seal behind the last group leads as a submitter does.
fn the_idle_seal_beside_two_calls() -> u64 {
    check(|| {
        let (disk, host) = (disk(), SimHost::new(2));
        let ledger = options().open_scheduled(disk.as_disk(), host.as_host()).unwrap();
        let commit = commit_thread(&ledger);
        let upkeep = {
            let ledger = ledger.clone();
            thread::spawn(move || {
                host.advance(Duration::from_secs(3600));
                ledger.tick();
            })
        };
        let answers = vec![ledger.submit(&order("a")), ledger.submit(&order("b"))];
        upkeep.join().unwrap();
        ledger.clone().close().unwrap();
        commit.join().unwrap();
        assert_one_order_each(&disk, &answers, 2);
    })
}

/// Without threads of the ledger's own, who waits writes for all.
fn two_threads_that_write_for_themselves() -> u64 {
    check(|| {
        let disk = disk();
        let ledger = options().open_simulated(disk.as_disk(), SimHost::new(2).as_host()).unwrap();
        let second = {
            let ledger = ledger.clone();
            thread::spawn(move || {
                let mut ticket = ledger.submit_deferred(&order("b"));
                ledger.pump();
                vec![ticket.wait(None), ledger.submit(&order("a"))]
            })
        };
        let mut answers = vec![ledger.submit(&order("a")), ledger.submit(&order("b"))];
        answers.extend(second.join().unwrap());
        assert_one_order_each(&disk, &answers, 2);
    })
}

fn three_threads_with_a_call_each() -> u64 {
    check(|| {
        let disk = disk();
        let ledger = open(&disk);
        let answers = run(
            &ledger,
            &[
                |ledger| vec![ledger.submit(&order("a"))],
                |ledger| vec![ledger.submit(&order("a"))],
                |ledger| vec![ledger.submit(&order("b"))],
            ],
        );
        assert_one_order_each(&disk, &answers, 2);
    })
}
