//! `rotate`: no fault at all, and as many rotations as there can be: large orders, segments of 1 MiB,
//! closed and opened again. Needs no root. Sees: races between the writer and its upkeep.

use super::Plan;
use crate::book::{Book, Look};
use crate::child::Work;
use crate::failure::{Doing, Result};
use crate::orders::Sizes;
use crate::parent::Running;
use crate::rng::Rng;
use crate::tally::Tally;
use crate::wire::Event;

/// Orders of one ledger: about 60 segments.
const ORDERS: u64 = 240;

pub fn run(plan: &Plan) -> Result<Tally> {
    let mut tally = Tally::new("rotate", plan.seed);
    for number in plan.numbers() {
        if plan.is_over() {
            break;
        }
        tally.round = number;
        let mut rng = Rng::for_round(plan.seed, number);
        let dir = plan.dir.join(format!("ledger-{number}"));
        let mut book = Book::new(rng.next(), Sizes::Large);
        let work = Work {
            dir: dir.join("orders.ledger"),
            orders_seed: book.orders_seed,
            seed: rng.next(),
            base: 1 << 32,
            threads: rng.range(1, 4),
            sizes: book.sizes,
            relaxed: false,
            cycles: false,
            limit: ORDERS,
            disk_free_min_bytes: 1024 * 1024,
            views: None,
        };
        book.last_base = work.base;
        for event in Running::start(&work, |_| {})?.wait()? {
            if let Event::Refused { why, .. } = &event {
                tally.refused(why.clone());
            }
            book.enter(&event, &mut tally);
        }
        book.check(&work.dir, &work.options(), Look::random(&mut rng), &mut rng, &mut tally);
        let segments =
            std::fs::read_dir(work.dir.join("wal")).doing("listing the segments")?.count();
        tally.add("segments", segments as u64);
        tally.rounds += 1;
        tally.next = number + 1;
        std::fs::remove_dir_all(&dir).doing("removing a ledger")?;
    }
    Ok(tally)
}
