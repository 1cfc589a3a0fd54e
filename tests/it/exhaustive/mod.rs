//! Every short history, and every power cut in it: what was acknowledged is there, once.
//!
//! A scenario is at most four operations on a new, a nearly full or a padded ledger. Its last operation
//! is cut off after every call that may have changed the disk (a call that changes nothing leaves the
//! same disk as the one before it), in every way: each unit of what was not synced (a sector, a size, a
//! name) survives or does not, all subsets of up to 12 units, else a random choice of them, and some with
//! torn sectors, stale blocks and garbage. What is left is opened, and that opening is cut off in the same
//! way, up to three deep (`cargo test` cuts no opening off, the gate does). After every opening:
//!
//! - I1, I2: what was answered or shown is there, once, with the same bytes and the same receipt;
//! - I3: orders of one group are all there or all not, and what was once not there never comes back;
//! - I4: seqs are dense, times rise, and the same keys again complete what is missing;
//! - I6: `by_key`, `orders`, `stats` and a reader say the same;
//! - I8: opening never refuses; I10: opening again changes no byte; I11: no handle is left.
//!
//! I5 and I7 are about transitions and feeds, which there are none of yet; I9 is about rot, which is none
//! of a power cut's.
//!
//! `ORDER_LEDGER_OPS_MAX` (0 to 4), `ORDER_LEDGER_SUBSETS`, `ORDER_LEDGER_DEPTH` say how much,
//! `ORDER_LEDGER_SHARD=i/n` runs a part, `ORDER_LEDGER_SCENARIO=7` one.

mod book;
mod images;
mod scenario;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::layers::{is_mine, number, print_result};
use images::Limits;
use scenario::{Kind, OPS_MAX, Scenario};

/// What was walked through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    scenarios: u64,
    /// Moments at which a crash was tried.
    moments: u64,
    /// Those at which the disk and what is owed were not seen before in the scenario.
    moments_distinct: u64,
    /// Those of them at which every subset was tried.
    moments_complete: u64,
    /// Crashes.
    images: u64,
    /// Those that left something not seen before in their scenario; these were opened.
    distinct: u64,
    kills: u64,
    /// Moments inside of an opening.
    cuts_in_recovery: u64,
    opens: u64,
    torn: u64,
    torn_tails: u64,
    units_max: u64,
}

impl Figures {
    fn add(&mut self, other: &Figures) {
        self.scenarios += other.scenarios;
        self.moments += other.moments;
        self.moments_distinct += other.moments_distinct;
        self.moments_complete += other.moments_complete;
        self.images += other.images;
        self.distinct += other.distinct;
        self.kills += other.kills;
        self.cuts_in_recovery += other.cuts_in_recovery;
        self.opens += other.opens;
        self.torn += other.torn;
        self.torn_tails += other.torn_tails;
        self.units_max = self.units_max.max(other.units_max);
    }

    fn named(&self) -> [(&'static str, u64); 12] {
        [
            ("scenarios", self.scenarios),
            ("moments", self.moments),
            ("moments_distinct", self.moments_distinct),
            ("moments_complete", self.moments_complete),
            ("images", self.images),
            ("distinct", self.distinct),
            ("kills", self.kills),
            ("cuts_in_recovery", self.cuts_in_recovery),
            ("opens", self.opens),
            ("torn", self.torn),
            ("torn_tails", self.torn_tails),
            ("units_max", self.units_max),
        ]
    }
}

#[test]
fn whatever_was_acknowledged_in_a_short_history_is_there_once_after_every_crash() {
    let ops_max = u32::try_from(number("ORDER_LEDGER_OPS_MAX").unwrap_or(2)).unwrap().min(OPS_MAX);
    let limits = Limits {
        subsets: number("ORDER_LEDGER_SUBSETS").unwrap_or(8),
        depth: usize::try_from(number("ORDER_LEDGER_DEPTH").unwrap_or(1)).unwrap(),
        deep_one_in: u128::from(number("ORDER_LEDGER_DEEP_ONE_IN").unwrap_or(16)),
    };
    let numbers = match number("ORDER_LEDGER_SCENARIO") {
        Some(number) => vec![number],
        None => (0..Scenario::count(ops_max)).filter(|number| is_mine(*number)).collect(),
    };
    let started = std::time::Instant::now();
    let bases = [Kind::New, Kind::NearlyFull, Kind::Padded].map(|kind| (kind, kind.base()));
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let total = Mutex::new(Figures::default());
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 8));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let index = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                    let Some(number) = numbers.get(index) else { break };
                    let scenario = Scenario::of(*number);
                    let (_, base) = bases.iter().find(|(kind, _)| *kind == scenario.kind).unwrap();
                    let run = AssertUnwindSafe(|| images::run(&scenario, base, limits));
                    match catch_unwind(run) {
                        Ok(figures) => total.lock().unwrap().add(&figures),
                        Err(_) => {
                            failed.store(true, Ordering::Relaxed);
                            eprintln!(
                                "scenario {number} failed: {scenario:?}; again: \
                                 ORDER_LEDGER_SCENARIO={number} ORDER_LEDGER_SUBSETS={} \
                                 ORDER_LEDGER_DEPTH={} ORDER_LEDGER_DEEP_ONE_IN={} cargo test \
                                 --no-default-features --test it exhaustive",
                                limits.subsets, limits.depth, limits.deep_one_in
                            );
                        }
                    }
                }
            });
        }
    });
    let violations = u64::from(failed.load(Ordering::Relaxed));
    let total = total.into_inner().unwrap();
    println!("in {:.1} s", started.elapsed().as_secs_f64());
    print_result("L1", total.named().into_iter().chain([("violations", violations)]));
    assert_eq!(violations, 0, "a scenario failed, see above");
    // A walk that loses and tears nothing proves nothing.
    if numbers.len() >= 30 {
        assert!(total.distinct > 100 && total.kills > 0, "{total:?}");
        assert!(total.torn > 0 && total.torn_tails > 0, "{total:?}");
        assert!(limits.depth < 2 || total.cuts_in_recovery > 1000, "{total:?}");
    }
}
