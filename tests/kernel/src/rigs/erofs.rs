//! `erofs`: the file system turns read-only, under a writer (as ext4 does after an error of its own) or
//! before the ledger is opened. Sees: an acknowledgement that is none, a wrong kind of error, a reader or
//! a verification that wants to write.
//!
//! Orders overwrite zeros that are there already, so what a failed sync leaves out is mostly nothing but a
//! time: only `data=journal` puts the orders themselves into the journal that is aborted. And mostly the
//! write fails before its sync can. Hence two systems of that kind, and several aborts in each round, each a
//! random moment after an order was begun.

use std::time::Duration;

use order_ledger::{ErrorKind, Options, Soundness};

use super::Plan;
use super::eio::{poisoned_ledger, submit_until_it_fails};
use crate::book::{Book, Look};
use crate::child::Work;
use crate::failure::{Doing, Result, broken};
use crate::image::{FileSystem, Loop, need, sparse_file};
use crate::orders::Sizes;
use crate::parent::Running;
use crate::rng::Rng;
use crate::tally::Tally;
use crate::wire::{Event, Kind};

const SYSTEMS: [&str; 5] =
    ["ext4-journal-4k", "ext4-ordered-4k", "ext4-journal-1k", "xfs-4k", "ext4-writeback-1k"];
const ABORTS_PER_ROUND: u64 = 4;
/// Longer than a group takes.
const ABORT_WITHIN_MICROS: u64 = 4_000;

pub fn run(plan: &Plan) -> Result<Tally> {
    need(&["mkfs.ext4", "mkfs.xfs"])?;
    let mut tally = Tally::new("erofs", plan.seed);
    for number in plan.numbers() {
        if plan.is_over() {
            break;
        }
        let at = usize::try_from(number).unwrap_or(0) % SYSTEMS.len();
        let fs = FileSystem::by_name(SYSTEMS[at]).ok_or_else(|| broken("no such file system"))?;
        tally.round = number;
        one_round(plan, number, &fs, &mut tally)?;
        tally.rounds += 1;
        tally.next = number + 1;
    }
    Ok(tally)
}

fn one_round(plan: &Plan, number: u64, fs: &FileSystem, tally: &mut Tally) -> Result<()> {
    let mut rng = Rng::for_round(plan.seed, number);
    let image = plan.dir.join("erofs.img");
    sparse_file(&image, fs.image_mib)?;
    fs.make_on(&image)?;
    let device = Loop::attach(&image)?;
    let at = plan.dir.join("mnt");
    let dir = at.join("orders.ledger");
    let sizes = if rng.chance(50) { Sizes::Mixed } else { Sizes::Small };
    let mut book = Book::new(rng.next(), sizes);
    let options = Options::new()
        .segment_bytes(1024 * 1024)
        .seal_after(Duration::from_millis(*rng.pick(&[1, 20, 500])))
        .disk_free_min_bytes(1024 * 1024);
    let mounted = fs.must_mount(device.device(), &at)?;
    first_life(&dir, &mut book, &mut rng, tally)?;
    mounted.unmount()?;

    let mounted = fs.mount_read_only(device.device(), &at)?;
    match options.open(&dir) {
        Ok(_) => tally.wrong("a ledger on a read-only file system was opened to write".into()),
        Err(error) => {
            let read_only = std::io::ErrorKind::ReadOnlyFilesystem;
            let said = matches!(error.kind(), ErrorKind::Io { kind, .. } if *kind == read_only);
            if !said {
                tally.wrong(format!("read-only, told as {error} / {:?}", error.kind()));
            }
            tally.add("opened_read_only", 1);
        }
    }
    book.check_reader(&dir, None, tally);
    match order_ledger::verify(&dir) {
        Ok(report) if report.soundness() == Soundness::Sound => {}
        other => tally.wrong(format!("verify on a read-only file system: {other:?}")),
    }
    mounted.unmount()?;

    let mounted = fs.must_mount(device.device(), &at)?;
    book.check(&dir, &options, Look::random(&mut rng), &mut rng, tally);
    // XFS has no such remount; what it does after an error of its own is the shutdown of power-cut.
    let aborts = if fs.name.starts_with("ext4") { ABORTS_PER_ROUND } else { 0 };
    let mut mounted = mounted;
    for abort in 0..aborts {
        // Above the orders of the first life; the check is to send them all again.
        book.last_base = (2 + abort) << 32;
        under_the_writer(&mounted, &options, &mut book, &mut rng, tally)?;
        mounted.unmount()?;
        mounted = fs.must_mount(device.device(), &at)?;
        book.check(&dir, &options, Look::random(&mut rng), &mut rng, tally);
    }
    mounted.unmount()?;
    drop(device);
    std::fs::remove_file(&image).doing("removing an image")
}

/// A child writes; it is closed, or killed.
fn first_life(
    dir: &std::path::Path,
    book: &mut Book,
    rng: &mut Rng,
    tally: &mut Tally,
) -> Result<()> {
    let closed = rng.chance(50);
    let work = Work {
        dir: dir.to_owned(),
        orders_seed: book.orders_seed,
        seed: rng.next(),
        base: 1 << 32,
        threads: rng.range(1, 3),
        sizes: book.sizes,
        relaxed: false,
        cycles: false,
        limit: if closed { rng.range(20, 300) } else { 0 },
        disk_free_min_bytes: 1024 * 1024,
        views: None,
    };
    book.last_base = work.base;
    let mut running = Running::start(&work, |_| {})?;
    let heard = if closed {
        running.wait()?
    } else {
        let (enough, mut heard) = (rng.range(1, 200), 0);
        running.hear_until(|event| {
            heard += u64::from(matches!(event, Event::Acked { .. }));
            heard >= enough
        })?;
        running.kill()?
    };
    for event in &heard {
        book.enter(event, tally);
    }
    Ok(())
}

/// The mount turns read-only while threads submit.
fn under_the_writer(
    mounted: &crate::image::Mounted,
    options: &Options,
    book: &mut Book,
    rng: &mut Rng,
    tally: &mut Tally,
) -> Result<()> {
    let ledger = match options.open(mounted.path().join("orders.ledger")) {
        Ok(ledger) => ledger,
        Err(error) => {
            tally.refused(format!("open before the abort: {error}"));
            return Ok(());
        }
    };
    let aborted = std::sync::Mutex::new(Ok(()));
    let (threads, pause) = (rng.range(1, 4), rng.range(0, ABORT_WITHIN_MICROS));
    let events = std::thread::scope(|scope| {
        let abort = || {
            std::thread::park_timeout(Duration::from_micros(pause));
            if let Ok(mut aborted) = aborted.lock() {
                *aborted = mounted.abort();
            }
        };
        let trouble = || drop(scope.spawn(abort));
        submit_until_it_fails(&ledger, book, threads, &trouble)
    });
    aborted.into_inner().unwrap_or_else(|bad| bad.into_inner())?;
    for event in &events {
        book.enter(event, tally);
        if let Event::NotRecorded { kind: Kind::DiskLow | Kind::Overloaded | Kind::Other, .. } =
            event
        {
            tally.wrong(format!("a read-only file system came back as {event:?}"));
        }
    }
    tally.add("aborted", 1);
    let in_doubt = events.iter().any(|event| matches!(event, Event::InDoubt { .. }));
    match ledger.poisoned() {
        Some(_) => {
            tally.add("poisoned", 1);
            poisoned_ledger(&ledger, book, mounted.path(), rng, tally);
        }
        None if in_doubt => {
            tally.wrong("a call ended in doubt, and the ledger is not poisoned".into())
        }
        None => {}
    }
    if let (Ok(()), Some(why)) = (ledger.close(), Some("poisoned").filter(|_| in_doubt)) {
        tally.wrong(format!("closing a ledger that is {why} said Ok"));
    }
    Ok(())
}
