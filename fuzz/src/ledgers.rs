//! Ledgers that were built well, to be damaged: the same ones for all targets that damage a directory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use order_ledger::disk::sim::{Crash, CrashMode, SimDisk, SimHost, Snapshot};
use order_ledger::{
    Event, GroupPadding, How, Options, Order, OrderId, State, Submission, Transition, Transitioned,
};

use crate::model::{Content, Key, Small};
use crate::{SEGMENT_BYTES, small};

/// The witness of a ledger's end.
pub const MANIFEST: &str = "derived/tables/MANIFEST";

/// Every durable file with its bytes.
pub fn files(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let read = |path: &String| disk.read_durable(path).expect("it is listed");
    disk.files().into_iter().map(|(path, _)| (path.clone(), read(&path))).collect()
}

/// The segments with their durable bytes, in order.
pub fn segments(disk: &SimDisk) -> Vec<Vec<u8>> {
    let files = files(disk).into_iter();
    files.filter(|(path, _)| path.ends_with(".seg")).map(|(_, bytes)| bytes).collect()
}

/// A ledger that was built, and what it holds.
#[derive(Clone)]
pub struct Built {
    pub options: Options,
    pub disk: Snapshot,
    pub orders: Vec<Order>,
    pub submissions: Vec<Submission>,
    /// Of the orders, in their order.
    pub histories: Vec<Vec<Event>>,
    /// Steps with a command key, and what was answered.
    pub steps: Vec<(Transition, Transitioned)>,
    /// Its end is witnessed; the process was killed otherwise.
    pub closed: bool,
}

thread_local! {
    static BUILT: RefCell<BTreeMap<u8, Rc<Built>>> = const { RefCell::new(BTreeMap::new()) };
}

impl Built {
    /// Of a shape: orders take steps, so that there are more records than orders.
    pub const WITH_STEPS: u8 = 64;

    /// The ledger of this shape (there are 128 of them), on a disk of its own.
    pub fn of(shape: u8) -> (Rc<Built>, SimDisk) {
        let shape = shape & 127;
        let built = BUILT.with(|cache| {
            let mut cache = cache.borrow_mut();
            Rc::clone(cache.entry(shape).or_insert_with(|| Rc::new(Built::make(shape))))
        });
        let disk = SimDisk::new(1);
        disk.restore(&built.disk);
        (built, disk)
    }

    /// 2 ways to end, 2 paddings, 4 numbers of orders, 4 sizes of groups; with steps and without.
    fn make(shape: u8) -> Built {
        let closed = shape & 1 == 0;
        let padding = match shape & 2 {
            0 => GroupPadding::PowerSafeOverwrite,
            _ => GroupPadding::Block,
        };
        let count = [1u8, 5, 24, 90][usize::from(shape >> 2 & 3)];
        let group = [1, 2, 7, 30][usize::from(shape >> 4 & 3)];
        let options = small().segment_bytes(SEGMENT_BYTES).group_padding(padding);
        let disk = SimDisk::new(u64::from(shape));
        let host = SimHost::new(u64::from(shape));
        let ledger = options.open_simulated(disk.as_disk(), host.as_host()).expect("a new ledger");
        let submissions: Vec<_> = (0..count)
            .map(|key| {
                // Every class of size but the ones that need a segment of their own, bar one of them.
                let payload = if key == 3 { 15 } else { u16::from(key % 14) };
                Small { account: key % 3, payload, lives_us: 0, own: 0 }.submission(Key::from(key))
            })
            .collect();
        let mut steps = Vec::new();
        for group in submissions.chunks(group) {
            let mut taken: Vec<OrderId> = Vec::new();
            for answer in ledger.submit_many(group) {
                let outcome = answer.expect("a sound disk");
                assert_eq!(outcome.how, How::Fresh);
                taken.push(outcome.receipt.order);
            }
            ledger.tick();
            if shape & Built::WITH_STEPS == 0 {
                continue;
            }
            // Two of three go on, every fourth of them to its end, some without a command key.
            let first = taken.iter().filter(|order| order.seq().0 % 3 != 0);
            let mut batch: Vec<_> =
                first.clone().map(|order| step(*order, State::InProgress, "begin")).collect();
            batch.extend(
                first
                    .filter(|order| order.seq().0 % 4 == 0)
                    .map(|order| step(*order, State::Completed, "end")),
            );
            for (step, answer) in batch.iter().zip(ledger.transition_many(&batch)) {
                steps.push((step.clone(), answer.expect("a sound disk")));
            }
            ledger.tick();
        }
        steps.retain(|(step, _)| has_key(step.order()));
        let orders: Vec<Order> = ledger.orders().collect::<Result<_, _>>().expect("a sound disk");
        let history = |order: &Order| ledger.history(order.id()).expect("a sound disk");
        let histories = orders.iter().map(history).collect();
        assert_eq!(orders.len(), submissions.len());
        if closed {
            ledger.close().expect("a sound disk");
        } else {
            disk.kill();
        }
        assert!(!closed || disk.files().iter().any(|(path, _)| path == MANIFEST));
        // Everything was synced: a power cut that drops the rest leaves the ledger that is damaged here.
        disk.crash(Crash::new(CrashMode::DropAll, 1));
        Built { options, disk: disk.snapshot(), orders, submissions, histories, steps, closed }
    }
}

fn has_key(order: OrderId) -> bool {
    !order.seq().0.is_multiple_of(5)
}

fn step(order: OrderId, to: State, command: &str) -> Transition {
    let step = Transition::new(order, to).reason("built so");
    if has_key(order) { step.command_key(command) } else { step }
}
