//! The crash images of one scenario: at every moment every choice of what survives, each image opened,
//! and each opening cut off in the same way.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use order_ledger::disk::Disk;
use order_ledger::disk::sim::{Crash, CrashMode, SimDisk, SimHost, Snapshot};
use order_ledger::{How, Options, Order, Reader};

use super::Figures;
use super::book::Book;
use super::scenario::{Kind, Op, Scenario, World};
use crate::rig::Random;
use crate::watched::{Watch, watched};

/// Up to so many units, every subset of them is tried.
const UNITS_MAX: usize = 12;

/// How much of the space is walked through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many subsets are tried where there are more than `UNITS_MAX` units.
    pub(super) subsets: u64,
    /// Power cuts in a row: 1 is none inside of recovery.
    pub(super) depth: usize,
    /// From the third cut in a row on, one image in so many is opened with more cuts.
    pub(super) deep_one_in: u128,
}

/// The way to an image, for the report of a failure.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "printed when a check fails")]
struct Cut {
    /// Which change of the disk was the last one; 0: none.
    after_change: usize,
    end: End,
}

/// How a life ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Killed,
    Power(Crash),
}

/// Keeps the disk as it was after each call that may have changed it.
#[derive(Debug)]
struct Recorder {
    disk: SimDisk,
    moments: Mutex<Option<Moments>>,
}

struct Moments(Vec<Snapshot>);

impl fmt::Debug for Moments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} moments", self.0.len())
    }
}

impl Recorder {
    fn new(disk: &SimDisk) -> Arc<Recorder> {
        Arc::new(Recorder { disk: disk.clone(), moments: Mutex::default() })
    }

    fn start(&self) {
        *self.moments.lock().unwrap() = Some(Moments(vec![self.disk.snapshot()]));
    }

    fn stop(&self) -> Vec<Snapshot> {
        self.moments.lock().unwrap().take().unwrap().0
    }

    fn mount(self: &Arc<Recorder>) -> Arc<dyn Disk> {
        watched(self.disk.as_disk(), Arc::clone(self) as Arc<dyn Watch>)
    }
}

impl Watch for Recorder {
    fn after(&self, may_have_changed: bool) {
        if may_have_changed && let Some(moments) = &mut *self.moments.lock().unwrap() {
            moments.0.push(self.disk.snapshot());
        }
    }
}

/// Runs a scenario, and looks at all images of its last operation.
pub(super) fn run(scenario: &Scenario, base: &(Snapshot, Book), limits: Limits) -> Figures {
    let mut walk = Walk {
        kind: scenario.kind,
        limits,
        options: scenario.kind.options(),
        random: Random::new(scenario.ops.len() as u64),
        // The same disk for all images: they are put there one after the other.
        disk: SimDisk::new(3),
        seen: HashMap::new(),
        seen_moments: HashMap::new(),
        way: Vec::new(),
        figures: Figures { scenarios: 1, ..Figures::default() },
    };
    let (moments, during, after) = record(scenario, base);
    let last = moments.len() - 1;
    for (index, moment) in moments.iter().enumerate() {
        walk.moment(index, moment, if index == last { &after } else { &during });
    }
    walk.figures
}

/// The moments of the last operation, what is known during it, and what is known after it.
fn record(scenario: &Scenario, base: &(Snapshot, Book)) -> (Vec<Snapshot>, Book, Book) {
    let Some((last, first)) = scenario.ops.split_last() else {
        let disk = SimDisk::new(4);
        let recorder = Recorder::new(&disk);
        recorder.start();
        let options = scenario.kind.options();
        let host = SimHost::new(4);
        drop(options.open_simulated(recorder.mount(), host.as_host()).unwrap());
        return (recorder.stop(), Book::default(), Book::default());
    };
    let (snapshot, book) = base;
    let recorder = Arc::new(Mutex::new(None::<Arc<Recorder>>));
    let kept = Arc::clone(&recorder);
    let mut world = World::new(scenario.kind, book.clone(), move |disk| {
        kept.lock().unwrap().get_or_insert_with(|| Recorder::new(disk)).mount()
    });
    world.disk.restore(snapshot);
    world.open();
    for op in first {
        perform(&mut world, *op);
    }
    let recorder = recorder.lock().unwrap().clone().unwrap();
    let orders = world.begin(*last);
    let during = world.book.clone();
    recorder.start();
    world.carry_out(*last, &orders);
    // One more look: the answers are given, and nothing else has happened.
    let mut moments = recorder.stop();
    moments.push(world.disk.snapshot());
    (moments, during, world.book)
}

fn perform(world: &mut World, op: Op) {
    let orders = world.begin(op);
    world.carry_out(op, &orders);
}

/// The way through the images of a scenario.
struct Walk {
    kind: Kind,
    limits: Limits,
    options: Options,
    random: Random,
    disk: SimDisk,
    /// Images that were opened, with what was owed then, and how deep they were found.
    seen: Seen,
    /// The same of moments: they have the same images.
    seen_moments: Seen,
    way: Vec<Cut>,
    figures: Figures,
}

/// By disk and book: after how many cuts it was first found.
type Seen = HashMap<(u128, u64), usize>;

/// Whether it was not found before after as few cuts.
fn is_new(seen: &mut Seen, what: (u128, u64), depth: usize) -> bool {
    let before = seen.entry(what).or_insert(usize::MAX);
    let is_new = depth < *before;
    *before = depth.min(*before);
    is_new
}

/// Says where it was when a check failed.
struct Witness<'a>(&'a [Cut]);

impl Drop for Witness<'_> {
    #[expect(clippy::print_stderr, reason = "how the test says what failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the image that failed: {:#?}", self.0);
        }
    }
}

impl Walk {
    /// All that a crash may leave at this moment.
    fn moment(&mut self, index: usize, moment: &Snapshot, book: &Book) {
        self.figures.moments += 1;
        self.disk.restore(moment);
        let same = (self.disk.digest_with_pending(), book.digest());
        if !is_new(&mut self.seen_moments, same, self.way.len()) {
            return;
        }
        self.figures.moments_distinct += 1;
        let units = self.disk.pending_units();
        self.figures.units_max = self.figures.units_max.max(units as u64);
        if units > 0 {
            // With nothing pending a kill leaves what a power cut leaves.
            self.figures.kills += 1;
            self.end(index, moment, End::Killed, book);
        }
        if units <= UNITS_MAX {
            self.figures.moments_complete += 1;
            for subset in 0..1_u64 << units {
                self.power(index, moment, Crash::new(CrashMode::Subset(subset), 0), book);
            }
        } else {
            for _ in 0..self.limits.subsets {
                let subset = CrashMode::Subset(self.random.next());
                self.power(index, moment, Crash::new(subset, 0), book);
            }
            for mode in [CrashMode::DropAll, CrashMode::KeepAll, CrashMode::Prefix] {
                let crash = Crash::new(mode, self.random.next());
                self.power(index, moment, crash, book);
            }
        }
        if units > 0 {
            // Subsets tear nothing.
            for mode in [CrashMode::Random, CrashMode::Random, CrashMode::Adversarial] {
                let crash = Crash::new(mode, self.random.next()).with_stale_blocks();
                let crash = if self.kind == Kind::Padded { crash.with_garbage() } else { crash };
                self.power(index, moment, crash, book);
            }
        }
    }

    fn power(&mut self, index: usize, moment: &Snapshot, crash: Crash, book: &Book) {
        self.end(index, moment, End::Power(crash), book);
    }

    fn end(&mut self, index: usize, moment: &Snapshot, end: End, book: &Book) {
        self.figures.images += 1;
        self.disk.restore(moment);
        if let End::Power(crash) = end {
            let report = self.disk.crash(crash);
            self.figures.torn += report.sectors_torn;
            let image = (self.disk.digest(""), book.digest());
            if !is_new(&mut self.seen, image, self.way.len()) {
                return;
            }
        }
        self.figures.distinct += 1;
        self.way.push(Cut { after_change: index, end });
        self.image(book);
        self.way.pop();
    }

    /// Opens what is on the disk now, holds it against the book, and cuts the opening off.
    fn image(&mut self, book: &Book) {
        let way = self.way.clone();
        let witness = Witness(&way);
        let depth = self.way.len();
        let digest = self.disk.digest("");
        let killed = self.disk.pending_units() > 0;
        let goes_deeper = depth < self.limits.depth
            && (depth < 2 || digest.is_multiple_of(self.limits.deep_one_in));

        // A reader first: it sees the same, and changes nothing.
        let has_ledger = self.disk.files().iter().any(|(path, _)| path == "LEDGER");
        let beside = (has_ledger && !killed).then(|| {
            let reader = Reader::open_on(self.disk.as_disk(), &SimHost::new(5)).unwrap();
            let orders: Vec<Order> = reader.orders().map(Result::unwrap).collect();
            assert_eq!(self.disk.digest(""), digest, "a reader changed a byte");
            orders
        });

        let recorder = Recorder::new(&self.disk);
        if goes_deeper {
            recorder.start();
        }
        let host = SimHost::new(6 + depth as u64);
        let mounted = match goes_deeper {
            true => recorder.mount(),
            false => self.disk.as_disk(),
        };
        let ledger = match self.options.open_simulated(mounted, host.as_host()) {
            Ok(ledger) => ledger,
            Err(error) => panic!("opening refused after a crash: {error}"),
        };
        let moments = if goes_deeper { recorder.stop() } else { Vec::new() };
        self.figures.opens += 1;
        self.figures.torn_tails += u64::from(ledger.recovery_report().torn_bytes > 0);
        let orders: Vec<Order> = ledger.orders().map(Result::unwrap).collect();
        assert!(beside.is_none_or(|seen| seen == orders), "a reader and the writer disagree");
        let mut shown = book.clone();
        shown.check(&orders);
        for (order, _) in shown.orders() {
            let by_key = ledger.by_key(order.client(), order.key()).unwrap();
            let there = orders.iter().find(|there| there.key == order.key());
            assert_eq!(by_key.as_ref(), there, "by_key and orders disagree");
        }
        for absent in ["", "k", "k00", "K0"] {
            assert_eq!(ledger.by_key("web", format!("absent {absent}")).unwrap(), None);
        }
        assert_eq!(ledger.stats().unwrap().orders, orders.len() as u64);
        self.disk.kill();
        drop(ledger);

        self.open_again(&orders, &shown);
        drop(witness);

        let last = moments.len().saturating_sub(1);
        for (index, moment) in moments.iter().enumerate() {
            self.figures.cuts_in_recovery += 1;
            self.moment(index, moment, if index == last { &shown } else { book });
        }
    }

    /// A second opening finds the same and changes no byte; then the callers come back.
    fn open_again(&mut self, orders: &[Order], shown: &Book) {
        self.disk.crash(Crash::new(CrashMode::KeepAll, 0));
        let log = |disk: &SimDisk| (disk.digest("wal/0"), disk.digest("LEDGER"));
        let before = log(&self.disk);
        let host = SimHost::new(7);
        let mount = self.disk.as_disk();
        let ledger = self.options.open_simulated(mount, host.as_host()).unwrap();
        assert_eq!(ledger.recovery_report().torn_bytes, 0, "torn a second time");
        assert!(log(&self.disk) == before, "opening again changed the log");
        assert!(ledger.orders().map(Result::unwrap).eq(orders.iter().cloned()), "other orders");
        let mut book = shown.clone();
        for (order, owed) in shown.orders() {
            let outcome = ledger.submit(order).unwrap();
            let how = if owed.is_some() { How::Replayed } else { How::Fresh };
            assert_eq!(outcome.how, how, "{order:?}");
            book.acknowledged(order, outcome.receipt);
        }
        assert_eq!(ledger.stats().unwrap().orders, book.orders().count() as u64);
        ledger.close().unwrap();
        assert_eq!(self.disk.open_handles(), 0, "handles are left");
    }
}
