//! `kill`: the child is killed with SIGKILL at random microseconds, while it opens, writes, rotates,
//! closes. Needs no root. Sees: what depends on the process going on. Does not see: a missing sync.

use std::time::Duration;

use super::Plan;
use crate::book::{Book, Look};
use crate::child::Work;
use crate::failure::{Doing, Result};
use crate::orders::Sizes;
use crate::parent::Running;
use crate::rng::Rng;
use crate::tally::Tally;
use crate::wire::Event;

/// Kills of one ledger; then a new one is begun, so that a check stays short.
const KILLS_PER_LEDGER: u64 = 25;

pub fn run(plan: &Plan) -> Result<Tally> {
    let mut tally = Tally::new("kill", plan.seed);
    let mut ledger = 0;
    while tally.rounds < plan.rounds && !plan.is_over() {
        let number = plan.from + ledger;
        tally.round = number;
        one_ledger(plan, number, &mut tally)?;
        ledger += 1;
    }
    Ok(tally)
}

fn one_ledger(plan: &Plan, number: u64, tally: &mut Tally) -> Result<()> {
    let mut rng = Rng::for_round(plan.seed, number);
    let dir = plan.dir.join(format!("ledger-{number}"));
    let sizes = if rng.chance(70) { Sizes::Mixed } else { Sizes::Small };
    let mut book = Book::new(rng.next(), sizes);
    for kill in 0..KILLS_PER_LEDGER {
        let work = Work {
            dir: dir.join("orders.ledger"),
            orders_seed: book.orders_seed,
            seed: rng.next(),
            base: (kill + 1) << 32,
            threads: rng.range(1, 4),
            sizes,
            relaxed: false,
            cycles: true,
            limit: 0,
            disk_free_min_bytes: 1024 * 1024,
        };
        book.last_base = work.base;
        let mut running = Running::start(&work, |_| {})?;
        let in_cycle = *rng.pick(&[1, 1, 1, 2]);
        // Where the blow falls: in opening, in work (rotation and sealing with it), in closing.
        let (phase, pause_us) = match rng.range(0, 9) {
            0..4 => (Event::Opening, rng.range(0, 6_000)),
            4..8 => (Event::Opened, rng.range(0, 25_000)),
            _ => (Event::Closing, rng.range(0, 2_500)),
        };
        let mut seen = 0;
        let alive = running.hear_until(|event| {
            seen += u64::from(*event == phase);
            seen == in_cycle
        })?;
        if alive {
            running.hear_for(Duration::from_micros(pause_us));
        }
        let heard = running.kill()?;
        tally.rounds += 1;
        let mut at = "killed_before_opening";
        for event in &heard {
            at = match event {
                Event::Opening => "killed_opening",
                Event::Opened => "killed_at_work",
                Event::Closing => "killed_closing",
                Event::Closed => "killed_closed",
                _ => at,
            };
            if let Event::Refused { why, .. } = event {
                tally.refused(why.clone());
            }
            book.enter(event, tally);
        }
        tally.add(at, 1);
        // Not after every kill: the next child then opens what this one left, and is killed in that.
        if rng.chance(25) || kill + 1 == KILLS_PER_LEDGER {
            book.check(&work.dir, &work.options(), Look::random(&mut rng), &mut rng, tally);
        }
    }
    std::fs::remove_dir_all(&dir).doing("removing a ledger")
}
