//! `eio`: the device answers writes or flushes with EIO. Sees: an error that is swallowed, a sync that
//! is retried, and a page cache that is believed after it lied (fsyncgate).

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use order_ledger::{Certainty, ErrorKind, How, Ledger, Options};

use super::Plan;
use crate::book::{Book, Look};
use crate::failure::{Doing, Failure, Result, broken};
use crate::fuse::{Disk, Disks, Fail};
use crate::image::{FileSystem, Loop, Mounted, need};
use crate::orders::{self, MARK, Sizes};
use crate::rng::Rng;
use crate::tally::Tally;
use crate::wire::{Event, Kind, event_of};

const SYSTEMS: [&str; 4] = ["ext4-ordered-4k", "xfs-4k", "ext4-writeback-1k", "xfs-1k"];

pub fn run(plan: &Plan) -> Result<Tally> {
    need(&["mkfs.ext4", "mkfs.xfs"])?;
    let mut tally = Tally::new("eio", plan.seed);
    for number in plan.numbers() {
        if plan.is_over() {
            break;
        }
        let at = usize::try_from(number).unwrap_or(0) % SYSTEMS.len();
        let fs = match plan.only {
            Some(fs) => fs,
            None => {
                FileSystem::by_name(SYSTEMS[at]).ok_or_else(|| broken("no such file system"))?
            }
        };
        tally.round = number;
        one_round(plan, number, &fs, &mut tally)?;
        tally.rounds += 1;
        tally.next = number + 1;
    }
    eprintln!(
        "this kernel: after a failed fsync the next one said Ok in {} of {} tries, the page cache lied in {}",
        tally.get("second_fsync_ok"),
        tally.get("gates_tried"),
        tally.get("page_cache_lied"),
    );
    Ok(tally)
}

fn options(rng: &mut Rng) -> Options {
    Options::new()
        .segment_bytes(1024 * 1024)
        .seal_after(Duration::from_millis(*rng.pick(&[1, 20, 500])))
        .disk_free_min_bytes(1024 * 1024)
}

fn one_round(plan: &Plan, number: u64, fs: &FileSystem, tally: &mut Tally) -> Result<()> {
    let mut rng = Rng::for_round(plan.seed, number);
    let disks = Disks::mount(&plan.dir.join("disks"), &[fs.image_mib, fs.image_mib])?;
    let device = Loop::attach(&disks.path(0))?;
    let other = Loop::attach(&disks.path(1))?;
    fs.make_on(device.device())?;
    let disk = disks.disk(0);
    let at = plan.dir.join("mnt");
    let mut mounted = fs.must_mount(device.device(), &at)?;
    try_the_gate(&mounted, disk, tally)?;

    let dir = at.join("orders.ledger");
    let options = options(&mut rng);
    let sizes = if rng.chance(50) { Sizes::Mixed } else { Sizes::Small };
    let mut book = Book::new(rng.next(), sizes);
    let ledger = match options.open(&dir) {
        Ok(ledger) => ledger,
        Err(error) => {
            tally.refused(format!("open on a healthy disk: {error}"));
            return mounted.unmount();
        }
    };
    let fail = *rng.pick(&[Fail::OrderWrites, Fail::OrderWrites, Fail::Writes, Fail::Flushes]);
    let count = *rng.pick(&[1, 2, u64::MAX]);
    let pass_first = rng.range(0, 60);
    let trouble = || disk.arm(fail, pass_first, count);
    let events = submit_until_it_fails(&ledger, &book, rng.range(1, 4), &trouble);
    for event in &events {
        book.enter(event, tally);
        if let Event::NotRecorded { kind: Kind::DiskLow | Kind::Overloaded | Kind::Other, .. } =
            event
        {
            tally.wrong(format!("an I/O error came back as {event:?}"));
        }
    }
    tally.add("errors_injected", disk.failed());
    let in_doubt = events.iter().any(|event| matches!(event, Event::InDoubt { .. }));
    if in_doubt && ledger.poisoned().is_none() {
        tally.wrong("a call ended in doubt, and the ledger is not poisoned".into());
    }
    if ledger.poisoned().is_some() {
        tally.add("poisoned", 1);
        poisoned_ledger(&ledger, &mut book, &at, &mut rng, tally);
    }
    disk.disarm();
    let poisoned = ledger.poisoned().is_some();
    match ledger.close() {
        Ok(()) if poisoned => tally.wrong("closing a poisoned ledger said Ok".into()),
        Err(error) if !poisoned && !matches!(error.kind(), ErrorKind::Poisoned { .. }) => {
            tally.wrong(format!("closing: {error}"));
        }
        _ => {}
    }
    if !is_writable(&mounted) {
        // The file system itself gave up on the device: it comes back only by mounting again.
        tally.add("file_system_down", 1);
        mounted.unmount()?;
        mounted = fs.must_mount(device.device(), &at)?;
    }

    // What opening shows must be on the medium: the content of the device is taken at that moment.
    let ledger = match options.open(&dir) {
        Ok(ledger) => ledger,
        Err(error) => {
            tally.refused(format!("open after EIO: {error} / {:?}", error.kind()));
            return mounted.unmount();
        }
    };
    let mut shown = book.clone();
    for order in ledger.orders() {
        match order.map_err(|error| error.to_string()).and_then(|order| {
            let index = orders::recognise(book.orders_seed, book.sizes, &order)?;
            Ok((index, order.receipt.to_bytes()))
        }) {
            Ok((index, receipt)) => {
                shown.shown.insert(index, receipt);
            }
            Err(what) => tally.wrong(format!("after EIO: {what}")),
        }
    }
    let medium = disk.content();
    drop(ledger);
    let elsewhere = plan.dir.join("medium");
    let look = Look { reader_first: true, close: true, retry_absent: false };
    disks.disk(1).exchange(medium);
    let second = fs.must_mount(other.device(), &elsewhere)?;
    shown.check(&elsewhere.join("orders.ledger"), &options, look, &mut rng, tally);
    second.unmount()?;

    // Goes on where it was: the keys in doubt are resolved by sending them again.
    let look = Look { reader_first: false, close: rng.chance(50), retry_absent: true };
    book.check(&dir, &options, look, &mut rng, tally);
    disks.disk(1).exchange(disk.content());
    let second = fs.must_mount(other.device(), &elsewhere)?;
    book.check(&elsewhere.join("orders.ledger"), &options, Look::random(&mut rng), &mut rng, tally);
    second.unmount()?;
    mounted.unmount()
}

/// Submits from some threads, beginning at the book's `last_base`; after a while there is trouble; ends when
/// every thread has met an error.
pub fn submit_until_it_fails(
    ledger: &Ledger,
    book: &Book,
    threads: u64,
    trouble: &(dyn Fn() + Sync),
) -> Vec<Event> {
    /// Orders that go through before there is trouble, and at most after it has.
    const HEALTHY: u64 = 60;
    const MOST: u64 = 20_000;
    let (next, base) = (AtomicU64::new(0), book.last_base);
    let events = Mutex::new(Vec::new());
    let keep = |event: Event| events.lock().unwrap_or_else(|bad| bad.into_inner()).push(event);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (next, keep) = (&next, &keep);
            scope.spawn(move || {
                loop {
                    let take = if thread % 2 == 0 { 1 } else { 7 };
                    let first = next.fetch_add(take, Ordering::Relaxed);
                    if first <= HEALTHY && HEALTHY < first + take {
                        trouble();
                    }
                    let indexes: Vec<u64> = (base + first..base + first + take).collect();
                    let made: Vec<_> = indexes
                        .iter()
                        .map(|index| orders::submission(book.orders_seed, *index, book.sizes))
                        .collect();
                    let results = ledger.submit_many(&made);
                    let over = first > MOST || results.iter().any(|result| result.is_err());
                    for (index, result) in indexes.iter().zip(&results) {
                        keep(event_of(*index, result));
                    }
                    if over {
                        return;
                    }
                }
            });
        }
    });
    events.into_inner().unwrap_or_else(|bad| bad.into_inner())
}

/// What a poisoned ledger still does, and what it refuses.
pub fn poisoned_ledger(
    ledger: &Ledger,
    book: &mut Book,
    at: &std::path::Path,
    rng: &mut Rng,
    tally: &mut Tally,
) {
    // XFS shuts down when its own log can't be written; then nothing can be read from it.
    let down = std::fs::metadata(at.join("orders.ledger")).is_err();
    for index in 1_000_000..1_000_003 {
        match ledger.submit(&orders::submission(book.orders_seed, index, book.sizes)) {
            Err(error)
                if matches!(error.kind(), ErrorKind::Poisoned { .. })
                    && error.certainty() == Certainty::NotRecorded => {}
            Err(_) if down => {}
            Err(error) => {
                tally.wrong(format!("a poisoned ledger answers {error} / {:?}", error.kind()))
            }
            Ok(_) => tally.wrong("a poisoned ledger took an order".into()),
        }
        book.enter(&Event::NotRecorded { index, kind: Kind::Poisoned }, tally);
    }
    let acked: Vec<u64> = book.acked.keys().copied().collect();
    for _ in 0..acked.len().min(30) {
        let index = *rng.pick(&acked);
        let (client, key) = orders::name(index);
        match ledger.by_key(client, key) {
            Ok(Some(order)) if book.acked.get(&index) == Some(&order.receipt.to_bytes()) => {}
            Err(_) if down => tally.add("reads_on_a_dead_file_system", 1),
            other => {
                tally.wrong(format!("reading order {index:#x} of a poisoned ledger: {other:?}"))
            }
        }
        match ledger.submit(&orders::submission(book.orders_seed, index, book.sizes)) {
            Ok(outcome)
                if outcome.how == How::Replayed
                    && book.acked.get(&index) == Some(&outcome.receipt.to_bytes()) =>
            {
                tally.add("replays_while_poisoned", 1);
            }
            Err(_) if down => {}
            other => tally.wrong(format!("a replay on a poisoned ledger: {other:?}")),
        }
    }
}

/// Whether the file system still takes writes: after an error of the device it may have given up.
pub fn is_writable(mounted: &Mounted) -> bool {
    let probe = mounted.path().join("probe");
    let written =
        File::create(&probe).and_then(|file| file.write_all_at(b"probe", 0).map(|()| file));
    written.and_then(|file| file.sync_all()).and_then(|()| std::fs::remove_file(&probe)).is_ok()
}

/// The kernel's own behaviour, so that the premise of this rig is measured with it: A is on disk, B's
/// write fails, the second fsync says Ok, and the page cache shows B.
fn try_the_gate(mounted: &Mounted, disk: &Disk, tally: &mut Tally) -> Result<()> {
    let path = mounted.path().join("gate");
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(&path)
        .doing("making the gate file")?;
    let page = |letter: u8| {
        let mut page = vec![letter; 4096];
        page[..MARK.len()].copy_from_slice(MARK);
        page
    };
    let step = "writing the gate file";
    file.write_all_at(&page(b'A'), 0).and_then(|()| file.sync_all()).doing(step)?;
    disk.arm(Fail::OrderWrites, 0, 1);
    file.write_all_at(&page(b'B'), 0).doing(step)?;
    let (first, second) = (file.sync_all(), file.sync_all());
    if disk.disarm() == 0 || first.is_ok() {
        return Err(broken("an injected EIO did not reach fsync: this rig would see nothing"));
    }
    tally.add("gates_tried", 1);
    tally.add("second_fsync_ok", u64::from(second.is_ok()));
    let mut cached = vec![0; 4096];
    file.read_exact_at(&mut cached, 0).doing("reading the gate file")?;
    let on_disk = read_direct(&path)?;
    tally.add("page_cache_lied", u64::from(cached != on_disk));
    std::fs::remove_file(&path).doing("removing the gate file")
}

/// The first 4 KiB of a file, past the page cache.
fn read_direct(path: &std::path::Path) -> Result<Vec<u8>> {
    let direct = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).doing("O_DIRECT")?;
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(direct)
        .open(path)
        .doing("opening with O_DIRECT")?;
    // O_DIRECT wants an aligned buffer; one is cut out of a larger one.
    let mut room = vec![0u8; 8192];
    let skip = room.as_ptr().align_offset(4096);
    let buffer =
        room.get_mut(skip..skip + 4096).ok_or_else(|| Failure::Broken("no alignment".into()))?;
    file.seek(SeekFrom::Start(0)).doing("reading with O_DIRECT")?;
    file.read_exact(buffer).doing("reading with O_DIRECT")?;
    Ok(buffer.to_vec())
}
