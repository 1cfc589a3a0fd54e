//! order-ledger beside the raw disk, a reference core and other engines, on one disk, in one run.
//!
//! - `store`: what each of them has to do; `contender`: who they are
//! - `peers`: the engines, one file each; `floor`: the raw disk and the reference core; `ours`: the ledger
//! - `orders`: what is submitted; `drive`: how, and where the clock runs
//! - `rounds`, `sustained`: what is measured; `pace`: for how long
//! - `figures`, `sample`: what came of it; `targets`: what had to
//! - `table`, `chart`, `machine`: how it is told

use std::fs::File;
use std::io::{BufWriter, Write, stderr, stdout};

mod args;
mod chart;
mod contender;
mod drive;
mod figures;
mod floor;
mod machine;
mod opening;
mod orders;
mod ours;
mod pace;
mod peers;
mod rounds;
mod sample;
mod store;
#[path = "../../support/mod.rs"]
mod support;
mod sustained;
mod table;
mod targets;

use args::Args;
use contender::RAW_DIRECT;
use figures::{Figures, What};
use machine::Machine;
use orders::Source;
use rounds::Bench;
use store::Result;
use support::Dir;

fn main() -> Result<()> {
    support::fill_if_asked();
    let Some(args) = Args::parse(std::env::args().skip(1))? else {
        stdout().write_all(args::HELP.as_bytes())?;
        return Ok(());
    };
    let dir = Dir::new("compare")?;
    let machine = Machine::now(dir.file_system()?)?;
    let mut source = Source::new(args.payload);
    let figures = measure(&args, &dir, &mut source)?;

    let mut out = stdout().lock();
    machine.print(&mut out)?;
    writeln!(out, "- orders: {}", source.describe())?;
    let direct = figures.of(What::Lone, RAW_DIRECT).is_some();
    let direct = if direct { "taken" } else { "refused, so the core writes and calls fdatasync" };
    writeln!(out, "- direct writes: {direct}")?;
    let Args { rounds, seconds, sustained, sustained_rounds, .. } = &args;
    writeln!(out, "- {rounds} rounds, about {seconds:?} per row and round")?;
    writeln!(out, "- sustained: {sustained} orders each, {sustained_rounds} rounds")?;
    machine::print_peers(&mut out, &args.peers)?;
    writeln!(out)?;
    table::print(&mut out, &figures)?;
    if let Some(path) = &args.svg {
        let mut file = BufWriter::new(File::create(path)?);
        chart::draw(&mut file, &figures, &machine.summary())?;
        file.flush()?;
    }
    if args.opening {
        opening::print(&mut out, &dir, args.rounds)?;
    }
    Ok(())
}

fn measure(args: &Args, dir: &Dir, source: &mut Source) -> Result<Figures> {
    let path = dir.join("rounds");
    std::fs::create_dir(&path)?;
    let mut bench = Bench::new(&path, &args.peers, args.seconds, source)?;
    writeln!(stderr(), "warming up")?;
    bench.round(source)?;
    bench.figures = Figures::default();
    for round in 1..=args.rounds {
        writeln!(stderr(), "round {round} of {}", args.rounds)?;
        bench.round(source)?;
    }
    let mut figures = bench.finish()?;
    std::fs::remove_dir_all(&path)?;
    if args.sustained > 0 {
        for round in 1..=args.sustained_rounds {
            writeln!(stderr(), "sustained, round {round} of {}", args.sustained_rounds)?;
            let path = dir.join("sustained");
            sustained::round(&path, &args.peers, args.sustained, source, &mut figures)?;
        }
    }
    Ok(figures)
}
