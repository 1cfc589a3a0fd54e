//! The scenarios: every list of at most four operations, on ledgers of three kinds.

use std::time::Duration;

use order_ledger::disk::Disk;
use order_ledger::disk::sim::{SimDisk, SimHost, Snapshot};
use order_ledger::{ErrorKind, GroupPadding, How, Ledger, Options, Submission};

use std::sync::Arc;

use super::book::Book;
use crate::rig;

/// Operations of the longest scenario.
pub(super) const OPS_MAX: u32 = 4;

/// What a program does with a ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    /// One order.
    Submit,
    /// Two orders in one call.
    Batch,
    /// Two submitters hand in an order each before either is written.
    Pair,
    /// An order that does not fit into a segment of the usual size: the log goes on in another file.
    Large,
    /// Time passes: the seal, the witness, the next file.
    Tick,
    /// Closed cleanly and opened again.
    Close,
    /// Killed and opened again.
    Kill,
    /// The first order again.
    Replay,
    /// Other content under the key of the first order.
    Conflict,
}

const ALL: [Op; 9] = [
    Op::Submit,
    Op::Batch,
    Op::Pair,
    Op::Large,
    Op::Tick,
    Op::Close,
    Op::Kill,
    Op::Replay,
    Op::Conflict,
];

/// The ledger that a scenario begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Empty.
    New,
    /// Its segment has room for little more than one order.
    NearlyFull,
    /// Empty, groups padded to blocks, on a device that damages whole sectors.
    Padded,
}

const KINDS: [Kind; 3] = [Kind::New, Kind::NearlyFull, Kind::Padded];

/// One scenario. The crash comes in its last operation: a crash in an earlier one is a shorter scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Scenario {
    pub(super) kind: Kind,
    /// None: the making of the ledger.
    pub(super) ops: Vec<Op>,
}

impl Scenario {
    /// How many scenarios there are of at most `ops_max` operations.
    pub(super) fn count(ops_max: u32) -> u64 {
        let lists: u64 = (0..=ops_max).map(|length| (ALL.len() as u64).pow(length)).sum();
        lists * KINDS.len() as u64
    }

    /// The scenario of this number. Short ones come first.
    pub(super) fn of(number: u64) -> Scenario {
        let kinds = KINDS.len() as u64;
        let kind = KINDS[usize::try_from(number % kinds).unwrap()];
        let mut list = number / kinds;
        let mut length = 0;
        while list >= (ALL.len() as u64).pow(length) {
            list -= (ALL.len() as u64).pow(length);
            length += 1;
        }
        let mut ops = Vec::new();
        for _ in 0..length {
            ops.push(ALL[usize::try_from(list % ALL.len() as u64).unwrap()]);
            list /= ALL.len() as u64;
        }
        Scenario { kind, ops }
    }
}

impl Kind {
    pub(super) fn options(self) -> Options {
        match self {
            Kind::New | Kind::NearlyFull => rig::small(),
            Kind::Padded => rig::small().group_padding(GroupPadding::Block),
        }
    }

    /// A ledger of this kind, closed.
    pub(super) fn base(self) -> (Snapshot, Book) {
        let (disk, host) = rig::sim(1);
        let mut book = Book::default();
        let ledger = self.options().open_simulated(disk.as_disk(), host.as_host()).unwrap();
        if self == Kind::NearlyFull {
            // 16 KiB less the header; leaves about 300 bytes.
            let order = book.new_order(11_600);
            let receipt = ledger.submit(&order).unwrap().receipt;
            book.acknowledged(&order, receipt);
        }
        ledger.close().unwrap();
        rig::settle(&disk);
        (disk.snapshot(), book)
    }
}

/// How a process sees a disk.
type Mount = Box<dyn Fn(&SimDisk) -> Arc<dyn Disk>>;

/// A ledger in use, with what its callers know.
pub(super) struct World {
    pub(super) disk: SimDisk,
    pub(super) host: SimHost,
    pub(super) book: Book,
    options: Options,
    /// How a process sees the disk.
    mount: Mount,
    ledger: Option<Ledger>,
}

impl World {
    pub(super) fn new(
        kind: Kind,
        book: Book,
        mount: impl Fn(&SimDisk) -> Arc<dyn Disk> + 'static,
    ) -> World {
        let (disk, host) = rig::sim(2);
        let options = kind.options();
        World { disk, host, book, options, mount: Box::new(mount), ledger: None }
    }

    pub(super) fn open(&mut self) {
        let mounted = (self.mount)(&self.disk);
        self.ledger = Some(self.options.open_simulated(mounted, self.host.as_host()).unwrap());
    }

    /// The orders that the operation is going to hand in; from now on they may be there.
    pub(super) fn begin(&mut self, op: Op) -> Vec<Submission> {
        match op {
            Op::Submit => vec![self.book.new_order(90)],
            Op::Batch | Op::Pair => vec![self.book.new_order(90), self.book.new_order(700)],
            Op::Large => vec![self.book.new_order(17_000)],
            _ => Vec::new(),
        }
    }

    /// Does it, and takes in the answers.
    pub(super) fn carry_out(&mut self, op: Op, orders: &[Submission]) {
        if matches!(op, Op::Close | Op::Kill) {
            let ledger = self.ledger.take().unwrap();
            match op {
                Op::Close => ledger.close().unwrap(),
                _ => {
                    self.disk.kill();
                    drop(ledger);
                }
            }
            self.open();
            return;
        }
        let ledger = self.ledger.as_ref().unwrap();
        let results = match op {
            Op::Submit | Op::Large => vec![ledger.submit(&orders[0])],
            Op::Batch => ledger.submit_many(orders),
            Op::Pair => {
                let mut first = ledger.submit_deferred(&orders[0]);
                let mut second = ledger.submit_deferred(&orders[1]);
                ledger.pump();
                vec![first.wait(None), second.wait(None)]
            }
            Op::Tick => {
                self.host.advance(Duration::from_secs(2));
                ledger.tick();
                return;
            }
            Op::Replay => {
                if let Some((order, receipt)) = self.book.first() {
                    let outcome = ledger.submit(order).unwrap();
                    assert_eq!((outcome.receipt, outcome.how), (receipt, How::Replayed));
                }
                return;
            }
            Op::Conflict => {
                if let Some((order, receipt)) = self.book.first() {
                    let other = Submission::new(order.client(), order.key(), "something else");
                    let error = ledger.submit(&other).unwrap_err();
                    let ErrorKind::Conflict { receipt: found, .. } = error.kind() else {
                        panic!("{error}");
                    };
                    assert_eq!(*found, receipt);
                }
                return;
            }
            Op::Close | Op::Kill => unreachable!("see above"),
        };
        for (order, result) in orders.iter().zip(results) {
            self.book.acknowledged(order, result.unwrap().receipt);
        }
    }
}

#[test]
fn the_numbers_name_every_scenario_once() {
    let count = Scenario::count(3);
    let all: Vec<_> = (0..count).map(Scenario::of).collect();
    assert_eq!(count, (1 + 9 + 81 + 729) * 3);
    assert!(all.iter().enumerate().all(|(index, one)| !all[..index].contains(one)));
    assert_eq!(all.iter().map(|scenario| scenario.ops.len()).max(), Some(3));
}
