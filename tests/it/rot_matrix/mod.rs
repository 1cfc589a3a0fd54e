//! L3, the rot matrix: a log of 64 KiB and more, damaged in one place in every way, and nothing of it is
//! ever lost in silence.
//!
//! The story: one flipped bit made SQLite's log and sled's lose records in 60 of 60 cases, and the best
//! peer in 1 of 60, without a word (RELIABILITY F4). A log that opens with fewer orders is worse than one
//! that does not open, because nobody restores a backup of what nobody misses.
//!
//! - [`specimen`]: the ledgers; [`damage`]: the ways; [`judge`]: what may come of it

mod damage;
mod judge;
mod specimen;

use order_ledger::disk::sim::{SimDisk, SimHost};

use crate::layers::{Counts, Depth, complain, is_mine, is_part, number, on_all_cores};
use crate::rig::sim;
use damage::{Matrix, apply};
use judge::judge;
use specimen::Specimen;

#[test]
fn every_damage_to_the_log_is_noticed_or_harmless() {
    let depth = Depth::from_env();
    let specimens = Specimen::all();
    let one = number("ORDER_LEDGER_CASE");
    let matrix = Matrix::new(&specimens, if one.is_some() { Depth::Full } else { depth });
    let range = one.map_or(0..matrix.cases(), |case| case..case + 1);
    let again = |case| {
        format!(
            "ORDER_LEDGER_CASE={case} cargo test --release --no-default-features --test it \
             rot_matrix:: -- --nocapture"
        )
    };
    let work = |(disk, host): &mut (SimDisk, SimHost), number: u64, counts: &mut Counts| {
        let case = matrix.case(number);
        if !case.wanted || (one.is_none() && !is_mine(number)) {
            return;
        }
        let of = &specimens[case.specimen];
        disk.restore(&of.image);
        if !apply(of, &case, disk) {
            return;
        }
        counts.add("cases", 1);
        let thorough = depth == Depth::Full || one.is_some() || number.is_multiple_of(4);
        let verdict = match judge(of, disk, host, thorough) {
            Ok(verdict) => verdict.name(),
            Err(what) => {
                let (kind, index, again) = (case.kind, case.index, again(number));
                complain(&format!("{}, {kind:?} {index}: {what}; again: {again}", of.name));
                "silent"
            }
        };
        counts.add(verdict, 1);
        counts.add(case.kind.name(), 1);
        counts.add(&format!("{}/{}/{verdict}", of.name, case.kind.name()), 1);
    };
    let mut counts = on_all_cores(range, 512, || sim(28), work, again);
    print_tables(&specimens, &counts);
    println!("{depth:?}, of {} cases in all", matrix.cases());
    for name in ["silent", "panics"] {
        counts.add(name, 0);
    }
    counts.print_result("L3");
    assert_eq!((counts.get("silent"), counts.get("panics")), (0, 0), "see above");
    // The limit exists only where nothing proves the end.
    for limit in ["limit_last_group", "limit_behind_witness"] {
        for (name, count) in counts.iter().filter(|(name, _)| name.ends_with(limit)) {
            let proven = name.starts_with("closed") && !name.contains("bits/");
            assert!(!proven, "{count} of {name}");
        }
    }
    if is_part() {
        return;
    }
    for name in ["same", "refused_at_opening", "refused_where_read", "limit_last_group"] {
        assert!(counts.get(name) > 0, "no case of {name}: the matrix does not test what it says");
    }
}

/// A table per specimen, for people.
#[expect(clippy::print_stdout, reason = "the figures of a matrix are worth seeing")]
fn print_tables(specimens: &[Specimen], counts: &Counts) {
    for of in specimens {
        let bytes: usize = of.segments().iter().map(|(_, content)| content.len()).sum();
        let (orders, segments) = (of.orders.len(), of.segments().len());
        println!(
            "{} ({:?}): {segments} segments, {bytes} bytes, {orders} orders",
            of.name, of.rest
        );
        for (name, count) in counts.iter() {
            if let Some(rest) = name.strip_prefix(of.name).and_then(|rest| rest.strip_prefix('/')) {
                println!("    {rest}: {count}");
            }
        }
    }
}
