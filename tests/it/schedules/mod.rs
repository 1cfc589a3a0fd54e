//! The ledger under many schedules: two to five threads that submit, join, conflict, defer, look, keep up
//! and close, beside failing calls of the disk, power cuts and kills, with a scheduler choosing who goes on
//! after every step of a lock, of an atomic that orders, and of the disk.
//!
//! The story: the upkeep once took `next.tmp` away from the writer, between two calls of the disk. One
//! rotation in a thousand on a real disk, and no schedule at all as long as only locks were steps.
//!
//! - [`promises`]: what threads that meet are told
//! - [`meetings`]: the same of threads that meet at one order: steps, its expiry, notes, alerts, dispatches
//! - [`storms`]: what is left when the disk fails, the power goes or the process is killed under them
//!
//! Only in builds made for it:
//!
//! ```text
//! RUSTFLAGS="--cfg order_ledger_shuttle" cargo test --release --no-default-features \
//!     --target-dir target/shuttle --test it schedules:: -- --nocapture
//! ```
//!
//! `ORDER_LEDGER_SEEDS` sets how many schedules (default 102,400), `ORDER_LEDGER_SEED_FIRST` the first of them,
//! `ORDER_LEDGER_SCENARIO` runs one scenario only. Schedules are cut in pieces; half of the pieces choose
//! threads at random, a quarter each changes threads at few, unlucky moments (PCT of depth 3 and 5). A
//! schedule that failed is also printed for `shuttle::replay`.

mod meetings;
mod promises;
mod storms;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner, thread};

use order_ledger::{How, Ledger, Options, Outcome, Result};

use crate::seeds::{self, Figures, PIECE};
use crate::support::Machine;

/// A scenario: what it is called, and what one schedule of it comes to.
type Scenario = (&'static str, fn(u64) -> Figures);

const SCENARIOS: &[Scenario] = &[
    ("one key from many threads", promises::one_key_from_many_threads_makes_one_order),
    ("two contents", promises::one_of_two_contents_under_a_key_wins_and_the_other_is_told),
    ("failed sync", promises::a_failed_sync_wakes_everyone_and_nobody_is_told_ok),
    ("closing", promises::closing_waits_for_what_was_taken_in),
    ("upkeep", promises::upkeep_beside_submitters_loses_no_key),
    ("waiting for room", promises::who_waits_for_room_is_let_in),
    ("validator", promises::a_validator_is_asked_once_for_a_key),
    ("expiry", meetings::a_step_or_the_expiry_ends_an_order),
    ("notes", meetings::one_of_two_resolves_a_note_and_one_of_two_has_the_command_key),
    ("alert", meetings::no_alert_is_raised_behind_the_step_that_ends_it),
    ("dispatch", meetings::what_two_send_under_one_command_key_is_sent_once),
    ("failing call", storms::a_call_of_the_disk_fails),
    ("power cut", storms::the_power_goes_off_at_a_call_of_the_disk),
    ("kill", storms::the_process_is_killed_at_a_call_of_the_disk),
    ("power cut at any step", storms::the_power_goes_off_at_any_step),
];

#[test]
fn every_schedule_keeps_the_promises() {
    let only = std::env::var("ORDER_LEDGER_SCENARIO").ok();
    let chosen: Vec<Scenario> = SCENARIOS
        .iter()
        .filter(|(name, _)| only.as_ref().is_none_or(|only| only == name))
        .copied()
        .collect();
    assert!(!chosen.is_empty(), "no scenario is called {only:?}");
    let again = "RUSTFLAGS=\"--cfg order_ledger_shuttle\" cargo test --release --no-default-features \
                 --target-dir target/shuttle --test it schedules:: -- --nocapture";
    let counts = seeds::run("L11", 102_400, again, |range| {
        let piece = usize::try_from(range.start / PIECE).unwrap();
        let (name, scenario) = chosen[piece / SCHEDULERS % chosen.len()];
        let done = Mutex::new(false);
        // Named where it is known, as the panic comes from a thread of the scheduler's.
        let _named = Named { name, done: &done };
        let figures = run_piece(range, scenario);
        *done.lock().unwrap() = true;
        figures
    });
    if only.is_none() && counts.get("schedules") >= 10_000 {
        let all = ["acknowledged", "in_doubt_there", "in_doubt_gone", "power_cuts", "kills"];
        seeds::assert_happened(&counts, &all);
        seeds::assert_happened(&counts, &["faults", "rotations", "torn_or_lost"]);
        seeds::assert_happened(&counts, &["expired", "ended_in_time", "alerts_raised"]);
    }
}

/// Says which scenario it was, when it fails.
struct Named<'a> {
    name: &'static str,
    done: &'a Mutex<bool>,
}

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if !*self.done.lock().unwrap() {
            eprintln!("failed: ORDER_LEDGER_SCENARIO=\"{}\"", self.name);
        }
    }
}

/// How many pieces in a row go to the schedulers: two at random, two of PCT.
const SCHEDULERS: usize = 4;

/// Runs each seed of a piece under its schedule. Which scheduler follows from the number of the piece.
pub(crate) fn run_piece(range: Range<u64>, each: fn(u64) -> Figures) -> Figures {
    let count = usize::try_from(range.end - range.start).unwrap();
    match usize::try_from(range.start / PIECE).unwrap() % SCHEDULERS {
        0 | 1 => run_under(RandomScheduler::new_from_seed(range.start, count), range, each),
        2 => run_under(PctScheduler::new_from_seed(range.start, 3, count), range, each),
        _ => run_under(PctScheduler::new_from_seed(range.start, 5, count), range, each),
    }
}

fn run_under(
    scheduler: impl Scheduler + 'static,
    range: Range<u64>,
    each: fn(u64) -> Figures,
) -> Figures {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    // It says that it takes every ordering for the strongest; weaker ones are loom's (tests/models).
    config.silence_warnings = true;
    let next = AtomicU64::new(range.start);
    let total = Arc::new(Mutex::new(vec![("schedules", 0)]));
    let sum = Arc::clone(&total);
    Runner::new(scheduler, config).run(move || {
        let figures = each(next.fetch_add(1, Ordering::Relaxed));
        let mut sum = sum.lock().unwrap();
        seeds::add(&mut sum, &figures);
        seeds::add(&mut sum, &[("schedules", 1)]);
    });
    let total = total.lock().unwrap();
    total.clone()
}

type Answers = Vec<Result<Outcome>>;

type Job = Box<dyn FnOnce(Ledger) -> Answers + Send>;

fn open(machine: &Machine, options: &Options) -> Ledger {
    options.open_scheduled(machine.disk.as_disk(), machine.host.as_host()).unwrap()
}

/// Runs each job in a thread beside the commit thread, and waits for all of them.
fn run_jobs(ledger: &Ledger, jobs: Vec<Job>) -> (Answers, thread::JoinHandle<()>) {
    let commit = {
        let ledger = ledger.clone();
        thread::spawn(move || ledger.run_commit_thread())
    };
    let threads: Vec<_> = jobs
        .into_iter()
        .map(|job| {
            let ledger = ledger.clone();
            thread::spawn(move || job(ledger))
        })
        .collect();
    (threads.into_iter().flat_map(|it| it.join().unwrap()).collect(), commit)
}

fn fresh(answers: &[Result<Outcome>]) -> usize {
    answers.iter().filter(|it| it.as_ref().is_ok_and(|it| it.how == How::Fresh)).count()
}
