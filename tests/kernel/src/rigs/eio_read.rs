//! `eio-read`: places of the device can't be read: a record in a sealed segment, the tail that opening
//! reads, a header, a footer, a key table, the identity. Sees: a read error that is taken for the end of
//! the log, for an absence, or for damage (rule 16). Does not see: reads that return wrong bytes (the rot
//! matrix does).
//!
//! What fails for ever is often told by the next call that meets it, whatever the first one made of it. So
//! a place may also fail a few times and then no more: a read of the kernel asks the device several times
//! (ahead, and then page by page), and only some counts end between two calls of the ledger.

use order_ledger::{Certainty, Error, ErrorKind, How, Ledger, Order, Reader, Soundness};

use super::Plan;
use super::eio::is_writable;
use crate::book::{Book, Look};
use crate::child::Work;
use crate::failure::{Result, broken};
use crate::fuse::Disks;
use crate::image::{FileSystem, Loop, need};
use crate::orders::{self, Sizes};
use crate::parent::Running;
use crate::rng::Rng;
use crate::tally::Tally;
use crate::wire::Event;

const SYSTEMS: [&str; 4] = ["ext4-ordered-4k", "xfs-4k", "ext4-writeback-1k", "xfs-1k"];

pub fn run(plan: &Plan) -> Result<Tally> {
    need(&["mkfs.ext4", "mkfs.xfs"])?;
    let mut tally = Tally::new("eio-read", plan.seed);
    for number in plan.numbers() {
        if plan.is_over() {
            break;
        }
        let at = usize::try_from(number).unwrap_or(0) % SYSTEMS.len();
        let named = || FileSystem::by_name(SYSTEMS[at]).ok_or_else(|| broken("no such one"));
        let fs = plan.only.map_or_else(named, Ok)?;
        tally.round = number;
        one_round(plan, number, &fs, &mut tally)?;
        tally.rounds += 1;
        tally.next = number + 1;
    }
    if tally.rounds >= 8 && tally.get("reads_failed") == 0 {
        tally.wrong("no read ever failed: this rig sees nothing".into());
    }
    Ok(tally)
}

/// Looks at the ledger through a bad place, so often on one ledger.
const PLACES_PER_ROUND: u64 = 6;

/// How many reads fail before the place can be read again.
const FAILURES: [u64; 9] = [1, 2, 3, 4, 6, 8, u64::MAX, u64::MAX, u64::MAX];

fn one_round(plan: &Plan, number: u64, fs: &FileSystem, tally: &mut Tally) -> Result<()> {
    let mut rng = Rng::for_round(plan.seed, number);
    let disks = Disks::mount(&plan.dir.join("disks"), &[fs.image_mib])?;
    let device = Loop::attach(&disks.path(0))?;
    fs.make_on(device.device())?;
    let disk = disks.disk(0);
    let at = plan.dir.join("mnt");
    let sizes = if rng.chance(50) { Sizes::Medium } else { Sizes::Mixed };
    let mut book = Book::new(rng.next(), sizes);
    let mut work = Work {
        dir: at.join("orders.ledger"),
        orders_seed: book.orders_seed,
        seed: rng.next(),
        base: 1 << 32,
        threads: rng.range(1, 3),
        sizes,
        relaxed: false,
        cycles: false,
        limit: 0,
        disk_free_min_bytes: 1024 * 1024,
        views: Some(false),
    };
    let mounted = fs.must_mount(device.device(), &at)?;
    // Closed, so that all segments are sealed; or killed, so that opening must read the tail.
    let closed = rng.chance(50);
    work.limit = if closed { rng.range(40, 250) } else { 0 };
    let mut running = Running::start(&work, |_| {})?;
    let heard = if closed {
        running.wait()?
    } else {
        let (enough, mut heard) = (rng.range(40, 250), 0);
        running.hear_until(|event| {
            heard += u64::from(matches!(event, Event::Acked { .. }));
            heard >= enough
        })?;
        running.kill()?
    };
    let mut last = 0;
    for event in &heard {
        if let Event::Acked { index, fresh: true, .. } = event {
            last = *index;
        }
        book.enter(event, tally);
    }
    mounted.unmount()?;
    for place in 0..PLACES_PER_ROUND {
        let keys: Vec<u64> = book.acked.keys().copied().collect();
        if keys.is_empty() {
            break;
        }
        let content = disk.content();
        let record = |index: u64| content.find(orders::name(index).1.as_bytes());
        let payload = |index: u64, rng: &mut Rng| {
            orders::piece(book.orders_seed, index, sizes, rng)
                .map_or_else(Vec::new, |piece| content.find(&piece))
        };
        let (what, chunks) = match rng.range(0, 15) {
            0..3 => ("bad_record", record(*rng.pick(&keys))),
            3..5 => ("bad_last_record", record(last)),
            5..7 => ("bad_payload", payload(*rng.pick(&keys), &mut rng)),
            7..11 => ("bad_last_payload", payload(last, &mut rng)),
            11 => ("bad_header", one_of(&content.find(b"OLEDSEG\n"), &mut rng)),
            12 => ("bad_footer", one_of(&content.find(b"OLEDFTR\n"), &mut rng)),
            13 => ("bad_table", behind(&content.find(b"OLEDFTR\n"), &mut rng)),
            14 => ("bad_identity", content.find(b"OLEDGER\n")),
            _ => ("bad_group", one_of(&content.find(b"OLGR"), &mut rng)),
        };
        tally.add(what, u64::from(!chunks.is_empty()));
        // Mounted anew, so that nothing is in the page cache.
        let mut mounted = fs.must_mount(device.device(), &at)?;
        disk.spoil(chunks, *rng.pick(&FAILURES));
        let writer_too = rng.chance(60);
        // Whoever looks first meets what fails only once.
        if !writer_too || rng.chance(50) {
            look_read_only(&work, &book, tally);
        }
        if writer_too {
            let base = (2 + place) << 32;
            look_and_write(&work, &mut book, base, tally);
            last = book.acked.keys().copied().filter(|index| *index >= base).max().unwrap_or(last);
        }
        tally.add("reads_failed", disk.heal());
        if !is_writable(&mounted) {
            // The place was one of the file system's own as well, and it has given up.
            tally.add("file_system_down", 1);
            mounted.unmount()?;
            mounted = fs.must_mount(device.device(), &at)?;
        }
        if writer_too || rng.chance(30) {
            // Read with no error: everything is there.
            let look = Look { close: rng.chance(50), ..Look::random(&mut rng) };
            book.check(&work.dir, &work.options(), look, &mut rng, tally);
        }
        mounted.unmount()?;
    }
    Ok(())
}

fn one_of(places: &[u64], rng: &mut Rng) -> Vec<u64> {
    if places.is_empty() { Vec::new() } else { vec![*rng.pick(places)] }
}

/// A block of the sections, which lie right before their footer.
fn behind(footers: &[u64], rng: &mut Rng) -> Vec<u64> {
    let footer = one_of(footers, rng);
    footer.into_iter().filter_map(|at| at.checked_sub(1)).collect()
}

/// Everything that only reads, on a device with a bad place: right answers, or an error that says so.
fn look_read_only(work: &Work, book: &Book, tally: &mut Tally) {
    match Reader::open(&work.dir) {
        Ok(reader) => {
            let by_key = |index| {
                let (client, key) = orders::name(index);
                reader.by_key(client, key)
            };
            answers("a reader", book, reader.orders(), by_key, tally);
        }
        Err(error) => must_be_io("Reader::open", &error, tally),
    }
    match order_ledger::verify(&work.dir) {
        Ok(report) => {
            tally.add("verified", 1);
            if report.soundness() == Soundness::Damaged {
                tally.wrong(format!("verify takes what it can't read for damage: {report:?}"));
            }
        }
        Err(error) => must_be_io("verify", &error, tally),
    }
}

/// The same of the writer, who takes known and new orders as well.
fn look_and_write(work: &Work, book: &mut Book, base: u64, tally: &mut Tally) {
    let ledger = match work.options().open(&work.dir) {
        Ok(ledger) => ledger,
        Err(error) => return must_be_io("open", &error, tally),
    };
    let by_key = |index| {
        let (client, key) = orders::name(index);
        ledger.by_key(client, key)
    };
    answers("the writer", book, ledger.orders(), by_key, tally);
    submit(&ledger, book, base, tally);
    if let Err(error) = ledger.close() {
        must_be_io("close", &error, tally);
    }
}

/// The whole log, or its beginning and an error; each order by its key, or an error.
fn answers(
    who: &str,
    book: &Book,
    orders: impl Iterator<Item = order_ledger::Result<Order>>,
    by_key: impl Fn(u64) -> order_ledger::Result<Option<Order>>,
    tally: &mut Tally,
) {
    let (mut shown, mut failed) = (0, false);
    for order in orders {
        match order {
            Ok(order) => match orders::recognise(book.orders_seed, book.sizes, &order) {
                Ok(index) => shown += usize::from(book.acked.contains_key(&index)),
                Err(what) => tally.wrong(format!("{who}: {what}")),
            },
            Err(error) => {
                failed = true;
                must_be_io(who, &error, tally);
                break;
            }
        }
    }
    if !failed && shown != book.acked.len() {
        let all = book.acked.len();
        tally.wrong(format!("{who} shows {shown} of {all} orders, and no error"));
    }
    for (index, receipt) in &book.acked {
        match by_key(*index) {
            Ok(Some(order)) if order.receipt.to_bytes() == *receipt => {}
            Err(error) => must_be_io(who, &error, tally),
            other => tally.wrong(format!("{who}, looking for order {index:#x}: {other:?}")),
        }
    }
}

/// Keys that are taken are never taken again, and an error does not say that nothing is recorded.
fn submit(ledger: &Ledger, book: &mut Book, base: u64, tally: &mut Tally) {
    let known: Vec<u64> = book.acked.keys().copied().collect();
    for index in known {
        match ledger.submit(&orders::submission(book.orders_seed, index, book.sizes)) {
            Ok(outcome)
                if outcome.how == How::Replayed
                    && book.acked.get(&index) == Some(&outcome.receipt.to_bytes()) => {}
            Ok(outcome) => tally.doubled(format!("order {index:#x} is {}", outcome.how)),
            Err(error) => {
                must_be_io("a replay", &error, tally);
                if error.certainty() == Certainty::NotRecorded {
                    tally.wrong(format!("order {index:#x} is recorded, and: {error}"));
                }
            }
        }
    }
    book.last_base = base;
    for index in base..base + 20 {
        let result = ledger.submit(&orders::submission(book.orders_seed, index, book.sizes));
        if let Err(error) = &result {
            must_be_io("a new order", error, tally);
        }
        book.enter(&crate::wire::event_of(index, &result), tally);
    }
    if let Some(why) = ledger.poisoned() {
        tally.wrong(format!("a read error poisoned the ledger: {why}"));
    }
}

fn must_be_io(who: &str, error: &Error, tally: &mut Tally) {
    tally.add("told_as_io", 1);
    if !matches!(error.kind(), ErrorKind::Io { .. }) {
        tally.wrong(format!("{who}: EIO was told as {error} / {:?}", error.kind()));
    }
}
