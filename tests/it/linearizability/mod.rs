//! What callers see is what one order store would show them that does one thing at a time, also when
//! processes die in between.
//!
//! The story: each answer alone can be right and all together wrong. A reader finds an order, and who asks
//! after him does not; a conflict names an order that the power cut then takes; the second of two orders
//! is there and the first is not. So histories of at least 200 calls are written down, from two to
//! five threads over several processes that are cut off, killed, failed by their disk or closed, and a
//! checker looks for the one order of all calls that explains their answers.
//!
//! - [`history`]: calls and answers, in one order of time
//! - [`per_key`]: the search per key (Wing and Gong, Lowe)
//! - [`whole`]: all keys together, with numbers and time, and what was durable when
//! - [`forged`]: histories that must be refused
//! - [`run`]: makes histories
//!
//! `cargo test` runs them with real threads. Under `--cfg order_ledger_shuttle` (see `schedules`) a
//! scheduler chooses who goes on, and the commit thread runs too:
//!
//! ```text
//! ORDER_LEDGER_SEEDS=100000 RUSTFLAGS="--cfg order_ledger_shuttle" cargo test --release \
//!     --no-default-features --target-dir target/shuttle --test it linearizability:: -- --nocapture
//! ```

mod forged;
mod history;
mod per_key;
mod run;
mod whole;

use std::ops::Range;

use crate::layers::Counts;
use crate::seeds;

#[cfg(not(order_ledger_shuttle))]
#[test]
fn histories_of_real_threads_are_linearizable() {
    let again = "cargo test --no-default-features --test it linearizability::";
    let counts = seeds::run("L12-threads", 320, again, |range: Range<u64>| {
        range.map(check).fold(seeds::Figures::new(), |mut sum, figures| {
            seeds::add(&mut sum, &figures);
            sum
        })
    });
    assert_that_something_was_tested(&counts);
}

#[cfg(order_ledger_shuttle)]
#[test]
fn scheduled_histories_are_linearizable() {
    let again = "RUSTFLAGS=\"--cfg order_ledger_shuttle\" cargo test --release --no-default-features \
                 --target-dir target/shuttle --test it linearizability:: -- --nocapture";
    let counts = seeds::run("L12", 2_048, again, |range: Range<u64>| {
        crate::schedules::run_piece(range, check)
    });
    assert_that_something_was_tested(&counts);
}

/// Makes the history of a seed and checks it.
fn check(seed: u64) -> seeds::Figures {
    let (calls, figures) = run::history(seed);
    if let Err(wrong) = whole::check_history(&calls) {
        panic!("seed {seed}: {wrong}");
    }
    let run::Figures {
        histories,
        calls,
        fresh,
        joined,
        conflicts,
        in_doubt,
        power_cuts,
        kills,
        poisoned,
        closed,
    } = figures;
    vec![
        ("histories", histories),
        ("calls", calls),
        ("fresh", fresh),
        ("joined", joined),
        ("conflicts", conflicts),
        ("in_doubt", in_doubt),
        ("power_cuts", power_cuts),
        ("kills", kills),
        ("poisoned", poisoned),
        ("closed", closed),
    ]
}

fn assert_that_something_was_tested(counts: &Counts) {
    let all = ["fresh", "conflicts", "in_doubt", "power_cuts", "kills", "poisoned", "closed"];
    seeds::assert_happened(counts, &all);
    #[cfg(order_ledger_shuttle)]
    seeds::assert_happened(counts, &["joined"]);
}
