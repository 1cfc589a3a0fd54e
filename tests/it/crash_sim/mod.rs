//! Random histories on a disk that loses what was not synced: what was acknowledged is there, once.
//!
//! One seed is one history, and a history is a value ([`plan::Plan`]): a ledger with random options, the
//! calls of two submitters, readers and second openers between any two calls of the disk, power cuts and
//! kills at random calls, also inside of opening, up to three in a row, errors, slow calls, full disks.
//! The oracle stands outside of the ledger and knows only what callers were told or shown. After every
//! opening:
//!
//! - an acknowledged order is there once, with the same receipt and the same bytes, and so is one that
//!   anybody was shown;
//! - one that was told `NotRecorded` is not there;
//! - orders in doubt of one group are all there or all not, and a retry of each gives one order;
//! - the steps of an order are those that were acknowledged, and at most the one in doubt, which is settled
//!   from then on; its command, repeated word for word, is carried out once and has its first answer for ever;
//!   of two that expect the same version one wins;
//! - who is held is refused, who is not is taken, and holds are those that were acknowledged;
//! - so are the notes of an order and what resolves them; what is open is on the list;
//! - thresholds of an order's own are part of it: a repeat with others conflicts; who is stuck is who is so by a plain
//!   reading, also from a reader;
//! - an alert that was told of is there and stays, and so does that somebody knows of it; for one stay of an order in a
//!   state there is one, raised once, made worse once, over when the order has left; what is in doubt is there or not,
//!   and decided from then on; a look that nothing disturbs leaves nothing unsaid;
//! - what third parties are to be told is there once, with the order or step that it came with, in order; no token is
//!   charged twice and no second provider while it is not known whether the first one has done it; nobody was told
//!   without an attempt on disk, and an attempt that was cut off is unknown;
//! - a follower in another process shows every event once and in order, also over kills of the writer and in the middle
//!   of its calls, and what it has shown is there after every crash;
//! - a linked batch is there as a whole or not at all, for readers beside as well; what a consumer records about an
//!   event in a batch is recorded once, and with it its cursor, which stands nowhere else;
//! - `orders`, `get`, `by_key`, `history`, `stats` and a reader beside them say the same; the seqs of orders
//!   and steps are dense, times rise;
//! - opening never refuses, and opening once more changes no byte of the log; no handle is left.
//!
//! One history in ten ends with rot or with a disk that lied: there the answer is an error, or it is the
//! same as before, and a refusal changes no byte.
//!
//! A history that fails is made as small as it gets and printed, for a regression test of its own.
//!
//! `ORDER_LEDGER_SEEDS=100000` runs more seeds, `ORDER_LEDGER_SEED_FIRST=n` others, `ORDER_LEDGER_SEED=7`
//! one; with `ORDER_LEDGER_SHRINK=0` the first failure is enough.

mod alarms;
mod batches;
mod beside;
mod figures;
mod followed;
mod history;
mod holds;
mod known;
mod notes;
mod plan;
mod planted;
mod posts;
mod shrink;
mod steps;
mod stuck;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once};

use crate::layers::{number, print_result};
use figures::Figures;
use history::{Mount, honest};
use plan::Plan;
use shrink::shrink;

const SEEDS: u64 = 4_000;

#[test]
fn whatever_was_acknowledged_is_there_once_after_any_crash() {
    let one = number("ORDER_LEDGER_SEED");
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("ORDER_LEDGER_SEED_FIRST").unwrap_or(0);
            first..first + number("ORDER_LEDGER_SEEDS").unwrap_or(SEEDS)
        }
    };
    let started = std::time::Instant::now();
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicBool::new(false);
    let total = Mutex::new(Figures::default());
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 8));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = Figures::default();
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let plan = Plan::of(seed);
                    match failure(&plan, honest) {
                        Ok(figures) => own.add(&figures),
                        Err(why) => {
                            if !failed.swap(true, Ordering::Relaxed) {
                                report(seed, &plan, &why);
                            }
                        }
                    }
                }
                total.lock().unwrap().add(&own);
            });
        }
    });
    let failed = failed.load(Ordering::Relaxed);
    let total = total.into_inner().unwrap();
    println!("in {:.1} s", started.elapsed().as_secs_f64());
    let violations = [("violations", u64::from(failed))];
    print_result("L2", total.named().into_iter().chain(violations));
    assert!(!failed, "a seed failed, see above");
    if seeds.end - seeds.start >= SEEDS {
        total.assert_that_something_of_each_kind_happened();
    }
}

#[expect(clippy::print_stderr, reason = "how the test says what failed")]
fn report(seed: u64, plan: &Plan, why: &Failure) {
    eprintln!("seed {seed} failed: {why:?}");
    if std::env::var("ORDER_LEDGER_SHRINK").is_ok_and(|it| it == "0") {
        return;
    }
    let small = shrink(plan, |plan| failure(plan, honest).is_err_and(|other| other.at == why.at));
    eprintln!("the smallest history that fails in the same place:\n{}", as_rust(&small));
    eprintln!(
        "again: ORDER_LEDGER_SEED={seed} cargo test --no-default-features --test it crash_sim"
    );
}

/// A plan as one would write it down in a test.
fn as_rust(plan: &Plan) -> String {
    let mut text = String::new();
    let mut step_after_step = false;
    for line in format!("{plan:#?}").lines() {
        // Steps and orders on a line each.
        let inner = line.starts_with("        ");
        step_after_step &= inner;
        if step_after_step && !line.starts_with("         ") && !line.trim().starts_with(['}', ')'])
        {
            text.push('\n');
            text.push_str(line);
        } else if step_after_step && inner {
            text.push_str(line.trim());
        } else {
            text.push('\n');
            text.push_str(line);
            step_after_step = line.ends_with('[');
        }
    }
    text.replace('[', "vec![")
}

/// Where and why a history failed.
#[derive(Clone, PartialEq, Debug)]
struct Failure {
    at: String,
    why: String,
}

thread_local! {
    /// While a plan runs: what the panic that ended it had to say.
    static LISTENING: RefCell<Option<Option<Failure>>> = const { RefCell::new(None) };
}

/// Runs a plan; what panics in it is an answer and no noise.
fn failure(plan: &Plan, mount: Mount) -> Result<Figures, Failure> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let heard = LISTENING.with_borrow_mut(|listening| {
                let Some(said) = listening else { return false };
                let at = info.location().map(ToString::to_string).unwrap_or_default();
                let said_as = info.payload();
                let text = said_as.downcast_ref::<&str>().copied();
                let text = text.or_else(|| said_as.downcast_ref::<String>().map(String::as_str));
                let why = text.unwrap_or_default().to_owned();
                said.get_or_insert(Failure { at, why });
                true
            });
            if !heard {
                before(info);
            }
        }));
    });
    LISTENING.set(Some(None));
    let result = catch_unwind(AssertUnwindSafe(|| history::run(plan, mount)));
    let said = LISTENING.take().flatten();
    result.map_err(|_| said.expect("the hook has heard it"))
}
