//! `enospc`: a small file system runs full, by orders and by a foreign file. Sees: half records, refusals
//! with the wrong certainty, a ledger that does not come back by itself, one that does not open when full.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use order_ledger::{Certainty, ErrorKind, How, Ledger, Options};

use super::Plan;
use crate::book::{Book, Look};
use crate::failure::{Result, broken};
use crate::image::{FileSystem, Loop, Mounted, need, sparse_file};
use crate::orders::{self, Sizes};
use crate::rng::Rng;
use crate::tally::Tally;
use crate::wire::{Event, event_of};

/// File systems, and how large their images are in MiB.
const SYSTEMS: [(&str, u64); 4] =
    [("ext4-ordered-4k", 32), ("xfs-4k", 304), ("ext4-ordered-1k", 32), ("ext4-journal-4k", 40)];

/// After this long a ledger with room again must have taken an order.
const COMES_BACK_WITHIN: Duration = Duration::from_secs(30);

/// Free space with which a ledger can't say that there is none: two segments, and metadata.
const ROOM_BYTES: u64 = 3 * 1024 * 1024;

pub fn run(plan: &Plan) -> Result<Tally> {
    need(&["mkfs.ext4", "mkfs.xfs"])?;
    let mut tally = Tally::new("enospc", plan.seed);
    for number in plan.numbers() {
        if plan.is_over() {
            break;
        }
        let (name, mib) = SYSTEMS[usize::try_from(number).unwrap_or(0) % SYSTEMS.len()];
        let fs = FileSystem::by_name(name).ok_or_else(|| broken("no such file system"))?;
        tally.round = number;
        one_round(plan, number, &fs, mib, &mut tally)?;
        tally.rounds += 1;
        tally.next = number + 1;
    }
    Ok(tally)
}

fn one_round(plan: &Plan, number: u64, fs: &FileSystem, mib: u64, tally: &mut Tally) -> Result<()> {
    let mut rng = Rng::for_round(plan.seed, number);
    let image = plan.dir.join("full.img");
    sparse_file(&image, mib)?;
    fs.make_on(&image)?;
    let device = Loop::attach(&image)?;
    let at = plan.dir.join("mnt");
    let mut mounted = fs.must_mount(device.device(), &at)?;
    let dir = at.join("orders.ledger");
    let free_min = *rng.pick(&[0, 64 * 1024, 1024 * 1024]);
    let options = Options::new()
        .segment_bytes(1024 * 1024)
        .disk_free_min_bytes(free_min)
        .disk_reserve_bytes(rng.range(0, 2) * 64 * 1024)
        .seal_after(Duration::from_millis(rng.range(1, 500)));
    let sizes = if rng.chance(75) { Sizes::Mixed } else { Sizes::Small };
    let mut book = Book::new(rng.next(), sizes);

    // A ledger can't be made on a full disk, says so, and leaves nothing in the way.
    mounted.fill_up(0)?;
    match options.open(&dir) {
        Ok(_) => tally.wrong("a ledger was made on a full disk".into()),
        Err(error) => {
            let full = matches!(error.kind(), ErrorKind::DiskLow { .. })
                || matches!(
                    error.kind(),
                    ErrorKind::Io { kind: std::io::ErrorKind::StorageFull, .. }
                );
            if !full || error.certainty() != Certainty::NotRecorded {
                tally
                    .wrong(format!("making a ledger on a full disk: {error} / {:?}", error.kind()));
            }
        }
    }
    mounted.remove_foreign()?;
    mounted.fill_up(rng.range(3_000, 12_000) * 1024)?;

    let mut base = 1 << 32;
    let Some(mut ledger) = opened(&options, &dir, tally) else { return mounted.unmount() };
    for _ in 0..rng.range(2, 4) {
        // Filled by orders, and in half of the cases by a foreign file that grows meanwhile.
        book.last_base = base;
        let gulp = rng.chance(50).then(|| rng.range(0, 40));
        submit_until_full(&ledger, &mut book, base, rng.range(1, 4), (&mounted, gulp), tally)?;
        base += 1 << 32;
        full_ledger(&ledger, &book, &mut rng, tally);
        if rng.chance(50) {
            mounted.remove_foreign()?;
            mounted.fill_up(0)?;
            full_ledger(&ledger, &book, &mut rng, tally);
        }
        if rng.chance(60) {
            // Closed, dropped, or its power cut, and opened again while the disk is full.
            match rng.range(0, 2) {
                0 => drop(ledger.close()),
                1 => drop(ledger),
                _ => {
                    mounted.pull_the_plug()?;
                    drop(ledger);
                    mounted.unmount()?;
                    mounted = fs.must_mount(device.device(), &at)?;
                    tally.add("cut_while_full", 1);
                }
            }
            book.check(&dir, &options, Look::random(&mut rng), &mut rng, tally);
            tally.add("opened_while_full", 1);
            let Some(again) = opened(&options, &dir, tally) else { return mounted.unmount() };
            ledger = again;
        }
        // Room again: goes on by itself.
        mounted.remove_foreign()?;
        if mounted.free_bytes()? < free_min + ROOM_BYTES {
            // Full of orders: there is nothing to wait for.
            tally.add("full_of_orders", 1);
            mounted.fill_up(u64::MAX)?;
            break;
        }
        comes_back(&ledger, &mut book, base, tally);
        base += 1 << 32;
        mounted.fill_up(rng.range(1_500, 5_000) * 1024)?;
    }
    if rng.chance(50) {
        drop(ledger.close());
    } else {
        drop(ledger);
    }
    mounted.unmount()?;
    let mounted = fs.must_mount(device.device(), &at)?;
    mounted.remove_foreign()?;
    book.check(&dir, &options, Look::random(&mut rng), &mut rng, tally);
    mounted.unmount()?;
    drop(device);
    std::fs::remove_file(&image).map_err(broken)
}

fn opened(options: &Options, dir: &Path, tally: &mut Tally) -> Option<Ledger> {
    match options.open(dir) {
        Ok(ledger) => Some(ledger),
        Err(error) => {
            tally.refused(format!("open: {error} / {:?}", error.kind()));
            None
        }
    }
}

/// Submits from some threads until each was told often enough that the disk is full.
fn submit_until_full(
    ledger: &Ledger,
    book: &mut Book,
    base: u64,
    threads: u64,
    (mounted, gulp): (&Mounted, Option<u64>),
    tally: &mut Tally,
) -> Result<()> {
    const REFUSALS: u32 = 25;
    let next = AtomicU64::new(base);
    let events = Mutex::new(Vec::new());
    let stop = AtomicBool::new(false);
    let filled = std::thread::scope(|scope| {
        for thread in 0..threads {
            let (next, events, stop, book) = (&next, &events, &stop, &*book);
            scope.spawn(move || {
                let mut refusals = 0;
                while refusals < REFUSALS && !stop.load(Ordering::Relaxed) {
                    let take = if thread % 2 == 0 { 1 } else { 9 };
                    let first = next.fetch_add(take, Ordering::Relaxed);
                    let indexes: Vec<u64> = (first..first + take).collect();
                    let made: Vec<_> = indexes
                        .iter()
                        .map(|index| orders::submission(book.orders_seed, *index, book.sizes))
                        .collect();
                    let results = ledger.submit_many(&made);
                    refusals += u32::from(results.iter().any(|result| result.is_err()));
                    let mut events = events.lock().unwrap_or_else(|bad| bad.into_inner());
                    for (index, result) in indexes.iter().zip(&results) {
                        if let Err(error) = result {
                            let low = matches!(error.kind(), ErrorKind::DiskLow { .. });
                            if !low || error.certainty() != Certainty::NotRecorded {
                                stop.store(true, Ordering::Relaxed);
                                events.push(Event::Wrong(format!(
                                    "a full disk was told as {error} / {:?}",
                                    error.kind()
                                )));
                            }
                        }
                        events.push(event_of(*index, result));
                    }
                }
            });
        }
        match gulp {
            Some(pause_ms) => {
                std::thread::park_timeout(Duration::from_millis(pause_ms));
                mounted.remove_foreign().and_then(|()| mounted.fill_up(0))
            }
            None => Ok(()),
        }
    });
    for event in events.into_inner().unwrap_or_else(|bad| bad.into_inner()) {
        book.enter(&event, tally);
    }
    if let Some(why) = ledger.poisoned() {
        tally.wrong(format!("a full disk poisoned the ledger: {why}"));
    }
    filled
}

/// On a full disk: replays are answered, reads go on, what was refused is not there.
fn full_ledger(ledger: &Ledger, book: &Book, rng: &mut Rng, tally: &mut Tally) {
    let acked: Vec<u64> = book.acked.keys().copied().collect();
    for _ in 0..acked.len().min(40) {
        let index = *rng.pick(&acked);
        match ledger.submit(&orders::submission(book.orders_seed, index, book.sizes)) {
            Ok(outcome)
                if outcome.how == How::Replayed
                    && book.acked.get(&index) == Some(&outcome.receipt.to_bytes()) =>
            {
                tally.add("replays_while_full", 1);
            }
            other => tally.wrong(format!("a replay on a full disk: {other:?}")),
        }
        let (client, key) = orders::name(index);
        match ledger.by_key(client, key) {
            Ok(Some(order))
                if orders::recognise(book.orders_seed, book.sizes, &order) == Ok(index) => {}
            other => tally.wrong(format!("a read on a full disk: {other:?}")),
        }
    }
    for index in book.refused_only().take(40) {
        let (client, key) = orders::name(index);
        match ledger.by_key(client, key) {
            Ok(None) => {}
            other => tally.wrong(format!("order {index:#x} was refused, and is there: {other:?}")),
        }
    }
}

/// Submits one order until it is taken.
fn comes_back(ledger: &Ledger, book: &mut Book, base: u64, tally: &mut Tally) {
    let started = Instant::now();
    // More than may be left in the segment, so that in most cases a new one is needed.
    for index in base..base + 40 {
        let order = orders::submission(book.orders_seed, index, book.sizes);
        loop {
            match ledger.submit(&order) {
                Ok(outcome) => {
                    let receipt = outcome.receipt.to_bytes();
                    book.acknowledge(index, outcome.how == How::Fresh, &receipt, tally);
                    break;
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::DiskLow { .. })
                        && started.elapsed() < COMES_BACK_WITHIN =>
                {
                    // Nobody is told when a disk has room again; this is how a caller would do it.
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                Err(error) => {
                    tally.wrong(format!(
                        "room again for {:?}, and still: {error}",
                        started.elapsed()
                    ));
                    return;
                }
            }
        }
    }
    tally.add("came_back", 1);
    tally.add("came_back_ms_sum", u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
}
