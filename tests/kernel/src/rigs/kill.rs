//! `kill`: the child is killed with SIGKILL at random microseconds, while it opens, builds tables or
//! views, writes, rotates, seals, closes. Several at once, each with a ledger of its own, on tmpfs and on
//! the disk. Needs no root. Sees: what depends on the process going on. Does not see: a missing sync.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use order_ledger::Severity;

use super::Plan;
use crate::book::{Book, Look};
use crate::child::Work;
use crate::damage;
use crate::failure::{Doing, Result, broken};
use crate::orders::Sizes;
use crate::parent::Running;
use crate::rng::Rng;
use crate::tally::Tally;
use crate::wire::Event;

/// Kills of one ledger; then a new one is begun, so that a check stays short.
const KILLS_PER_LEDGER: u64 = 20;

/// Children at work at the same time.
const LANES: usize = 4;

/// A run of so many kills in which one of these never happened has not tested what it says.
const KILLS_FOR_ALL_PHASES: u64 = 400;
const PHASES: [&str; 8] = [
    "killed_opening",
    "killed_rebuilding_tables",
    "killed_rebuilding_views",
    "killed_at_work",
    "killed_preparing_a_segment",
    "killed_before_sealing",
    "killed_closing",
    "killed_beside_verify",
];

pub fn run(plan: &Plan) -> Result<Tally> {
    let mut tally = Tally::new("kill", plan.seed);
    let places = [plan.dir.clone(), plan.on_tmpfs.clone().unwrap_or_else(|| plan.dir.clone())];
    if plan.on_tmpfs.is_none() {
        eprintln!("note: no /dev/shm: everything on {}", plan.dir.display());
    }
    let (next, done) = (AtomicU64::new(plan.from), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    let ledgers = usize::try_from(plan.rounds.div_ceil(KILLS_PER_LEDGER)).unwrap_or(LANES);
    let lanes: Vec<Result<Tally>> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES.min(ledgers))
            .map(|_| {
                let (next, done, stop, places) = (&next, &done, &stop, &places);
                let mut lane = tally.lane();
                scope.spawn(move || {
                    while done.load(Ordering::Relaxed) < plan.rounds
                        && !plan.is_over()
                        && !stop.load(Ordering::Relaxed)
                    {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        lane.round = number;
                        // Where a ledger lives follows from its number, so that it can be run alone.
                        let place = &places[usize::from(number % 2 == 1)];
                        let before = lane.violations();
                        if let Err(failure) = one_ledger(plan.seed, place, number, &mut lane) {
                            stop.store(true, Ordering::Relaxed);
                            return Err(failure);
                        }
                        let kind = if number % 2 == 1 { "kills_tmpfs" } else { "kills_disk" };
                        lane.add(kind, KILLS_PER_LEDGER);
                        let so_far =
                            KILLS_PER_LEDGER + done.fetch_add(KILLS_PER_LEDGER, Ordering::Relaxed);
                        if so_far.is_multiple_of(2_000) || lane.violations() > before {
                            eprintln!(
                                "{so_far} kills; goes on with --from {}",
                                next.load(Ordering::Relaxed)
                            );
                        }
                    }
                    Ok(lane)
                })
            })
            .collect();
        lanes
            .into_iter()
            .map(|lane| lane.join().unwrap_or_else(|_| Err(broken("a lane panicked"))))
            .collect()
    });
    for lane in lanes {
        tally.take_in(&lane?);
    }
    tally.next = next.load(Ordering::Relaxed);
    if tally.rounds >= KILLS_FOR_ALL_PHASES {
        for phase in PHASES {
            if tally.get(phase) == 0 {
                tally.wrong(format!("{phase}: not once; this run has not tested it"));
            }
        }
    }
    Ok(tally)
}

/// What the child is to be surprised in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Blow {
    Opening,
    RebuildingTables,
    RebuildingViews,
    AtWork,
    Closing,
}

fn one_ledger(seed: u64, place: &Path, number: u64, tally: &mut Tally) -> Result<()> {
    let mut rng = Rng::for_round(seed, number);
    let at = place.join(format!("ledger-{number}"));
    let dir = at.join("orders.ledger");
    let sizes = *rng.pick(&[Sizes::Medium, Sizes::Medium, Sizes::Mixed, Sizes::Small]);
    let mut book = Book::new(rng.next(), sizes);
    // One in three has views in sled: their opening is most of the time of an opening.
    let views = number.is_multiple_of(3);
    for kill in 0..KILLS_PER_LEDGER {
        let blow = match rng.range(0, 19) {
            0..5 => Blow::Opening,
            5..8 => Blow::RebuildingTables,
            8..12 if views => Blow::RebuildingViews,
            8..16 => Blow::AtWork,
            _ => Blow::Closing,
        };
        let work = Work {
            dir: dir.clone(),
            orders_seed: book.orders_seed,
            seed: rng.next(),
            base: (kill + 1) << 32,
            threads: rng.range(1, 4),
            sizes,
            relaxed: false,
            cycles: true,
            limit: 0,
            disk_free_min_bytes: 1024 * 1024,
            views: Some(views && (blow == Blow::RebuildingViews || rng.chance(50))),
        };
        book.last_base = work.base;
        one_kill(&work, blow, &mut book, &mut rng, tally)?;
        // Not after every kill: the next child then opens what this one left, and is killed in that.
        let last = kill + 1 == KILLS_PER_LEDGER;
        if last || rng.chance(12) {
            book.check(&dir, &work.options(), Look::random(&mut rng), &mut rng, tally);
        }
        if last && rng.chance(30) {
            verify(&dir, &book, tally);
        }
    }
    std::fs::remove_dir_all(&at).doing("removing a ledger")
}

fn one_kill(
    work: &Work,
    blow: Blow,
    book: &mut Book,
    rng: &mut Rng,
    tally: &mut Tally,
) -> Result<()> {
    let doing = "damaging what is derived";
    if blow == Blow::RebuildingTables {
        let damaged = damage::damage_sections(&work.dir, rng).doing(doing)?;
        book.derived_damaged |= damaged.sections > 0;
        book.tables_damaged |= damaged.filters > 0;
        damage::remove_derived(&work.dir, "tables").doing(doing)?;
    }
    let no_views =
        blow == Blow::RebuildingViews && damage::remove_derived(&work.dir, "views").doing(doing)?;
    let mut running = Running::start(work, |_| {})?;
    // The moment from which the pause counts, and the longest pause. The pauses are spread evenly over
    // their orders of magnitude: most things that can be hit take less than a millisecond.
    let (cycle, pause_max_us) = match blow {
        Blow::Opening | Blow::RebuildingTables => (*rng.pick(&[1, 1, 1, 2]), 8_000),
        Blow::RebuildingViews => (1, 30_000),
        Blow::AtWork => (*rng.pick(&[1, 1, 2]), 25_000),
        Blow::Closing => (*rng.pick(&[1, 1, 2]), 4_000),
    };
    let pause = Duration::from_micros(spread(rng, 10, pause_max_us));
    let beside = blow == Blow::AtWork && rng.chance(10);
    let mut seen = 0;
    let alive = running.hear_until(|event| {
        seen += u64::from(match blow {
            Blow::Opening | Blow::RebuildingTables => *event == Event::Opening,
            Blow::RebuildingViews | Blow::AtWork => matches!(event, Event::Opened { .. }),
            Blow::Closing => *event == Event::Closing,
        });
        seen == cycle
    })?;
    let mut verified = false;
    let heard = if alive && beside {
        // A reader and a verification look at it meanwhile.
        std::thread::scope(|scope| {
            let dir: PathBuf = work.dir.clone();
            let looking = scope.spawn(move || order_ledger::verify(dir));
            let shown = book.look_beside_writer(&work.dir, tally);
            book.shown.extend(shown);
            running.hear_for(pause);
            verified = !looking.is_finished();
            let heard = running.kill();
            if let Ok(Ok(report)) = looking.join() {
                judge(&report, book, tally);
            }
            heard
        })
    } else {
        if alive {
            running.hear_for(pause);
        }
        running.kill()
    }?;
    tally.rounds += 1;
    tally.add("killed_beside_verify", u64::from(verified));
    count_phase(&heard, work, no_views, book.tables_damaged, tally);
    for event in &heard {
        if let Event::Refused { why, .. } = event {
            tally.refused(why.clone());
        }
        book.enter(event, tally);
    }
    Ok(())
}

/// Where the kill came, as far as the parent was told or can see from what is there.
fn count_phase(
    heard: &[Event],
    work: &Work,
    no_views: bool,
    tables_damaged: bool,
    tally: &mut Tally,
) {
    let (mut at, mut openings, mut views_ready) = ("killed_before_opening", 0, false);
    for event in heard {
        at = match event {
            Event::Opening => {
                openings += 1;
                "killed_opening"
            }
            Event::Opened { tables_rebuilt } => {
                tally.add("tables_rebuilt", u64::from(*tables_rebuilt));
                "killed_at_work"
            }
            Event::Closing => "killed_closing",
            Event::Closed => "killed_closed",
            Event::ViewsReady => {
                views_ready = true;
                at
            }
            _ => at,
        };
    }
    if at == "killed_opening" && tables_damaged {
        at = "killed_rebuilding_tables";
    }
    // Only in the first opening: by the second they are there again.
    if at == "killed_at_work" && no_views && openings == 1 && !views_ready {
        at = "killed_rebuilding_views";
    }
    tally.add(at, 1);
    let left = damage::look(&work.dir);
    tally.add("killed_preparing_a_segment", u64::from(left.preparing));
    tally.add("killed_before_sealing", u64::from(left.sealing));
    tally.most("segments_max", left.segments);
}

/// Nothing that a kill leaves is damage of the log.
fn verify(dir: &Path, book: &Book, tally: &mut Tally) {
    match order_ledger::verify(dir) {
        Ok(report) => judge(&report, book, tally),
        Err(error) => tally.wrong(format!("verify: {error} / {:?}", error.kind())),
    }
}

fn judge(report: &order_ledger::VerifyReport, book: &Book, tally: &mut Tally) {
    tally.add("verified", 1);
    for finding in &report.findings {
        let fine = match finding.severity {
            Severity::Note => true,
            Severity::Derived => book.derived_damaged,
            _ => false,
        };
        if !fine {
            tally.wrong(format!("verify says: {finding}"));
        }
    }
}

/// A number from `low` to `high`, evenly over the orders of magnitude.
fn spread(rng: &mut Rng, low: u64, high: u64) -> u64 {
    let doublings = (high / low).ilog2() + 1;
    let scale = low << rng.range(0, u64::from(doublings) - 1);
    rng.range(scale, 2 * scale).min(high)
}
