//! A valid ledger, then damage to any of its files.
//!
//! Oracle: an error; or every order that is shown is identical to what was built, none is shown that was
//! not built, and none is missing before the last one shown. A ledger that was closed has its end
//! witnessed: while the witness is untouched, nothing at all may be missing. Damage to what is derived
//! changes no answer. Never is a key that was built taken a second time while the log still shows its
//! order. A refusal changes nothing in the log; a second open finds the same.

use std::cell::RefCell;
use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use order_ledger::disk::sim::{SimDisk, SimHost, Snapshot};
use order_ledger::{ErrorKind, GroupPadding, How, Ledger, Options, Order, Submission};

use crate::model::Content;
use crate::{SEGMENT_BYTES, small};

const MANIFEST: &str = "derived/tables/MANIFEST";

#[derive(Arbitrary, Clone, Debug)]
pub struct Input {
    /// Which of the ledgers.
    pub shape: u8,
    pub edits: Vec<Edit>,
}

/// Damage. Files are numbered as they are listed, modulo their count.
#[derive(Arbitrary, Clone, Debug)]
pub enum Edit {
    FlipBit { file: u8, at: At, bit: u8 },
    Overwrite { file: u8, at: At, bytes: [u8; 8] },
    ZeroSectors { file: u8, sector: u8, count: u8 },
    CopySector { from: u8, sector: u8, to: u8, at: u8 },
    SwapSectors { file: u8, one: u8, other: u8 },
    Truncate { file: u8, to: At },
    Extend { file: u8, by: u16 },
    Remove { file: u8 },
    SwapFiles { one: u8, other: u8 },
    Replace { file: u8, bytes: Vec<u8> },
    FailReads { file: u8, at: At, bytes: u8 },
}

/// A place in a file: counted within what is not zero, or within all of it.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum At {
    Used(u16),
    Any(u16),
}

/// A ledger that was built, and what it holds.
#[derive(Clone)]
struct Built {
    options: Options,
    disk: Snapshot,
    orders: Vec<Order>,
    submissions: Vec<Submission>,
    closed: bool,
}

thread_local! {
    static BUILT: RefCell<BTreeMap<u8, Built>> = const { RefCell::new(BTreeMap::new()) };
}

impl Built {
    /// The ledger of this shape: 2 ways to end, 2 paddings, 4 numbers of orders, 4 sizes of groups.
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
                Content { account: key % 3, payload }.submission(key)
            })
            .collect();
        for group in submissions.chunks(group) {
            for answer in ledger.submit_many(group) {
                assert_eq!(answer.expect("a sound disk").how, How::Fresh);
            }
            ledger.tick();
        }
        let orders: Vec<Order> = ledger.orders().collect::<Result<_, _>>().expect("a sound disk");
        assert_eq!(orders.len(), submissions.len());
        if closed {
            ledger.close().expect("a sound disk");
        } else {
            disk.kill();
        }
        assert!(!closed || disk.files().iter().any(|(path, _)| path == MANIFEST));
        // Everything was synced: a power cut that drops the rest leaves the ledger that is damaged here.
        disk.crash(order_ledger::disk::sim::Crash::new(
            order_ledger::disk::sim::CrashMode::DropAll,
            1,
        ));
        Built { options, disk: disk.snapshot(), orders, submissions, closed }
    }
}

pub fn run(input: &Input) {
    let shape = input.shape & 63;
    let built = BUILT.with(|cache| {
        cache.borrow_mut().entry(shape).or_insert_with(|| Built::make(shape)).clone()
    });
    let disk = SimDisk::new(1);
    disk.restore(&built.disk);
    let paths: Vec<String> = disk.files().into_iter().map(|(path, _)| path).collect();
    let originals: BTreeMap<&str, Vec<u8>> = paths
        .iter()
        .map(|path| (path.as_str(), disk.read_durable(path).expect("it is listed")))
        .collect();
    let mut unreadable = false;
    for edit in input.edits.iter().take(16) {
        unreadable |= matches!(edit, Edit::FailReads { .. });
        apply(&disk, &paths, edit);
    }
    let touched =
        |path: &str| unreadable || disk.read_durable(path).ok().as_ref() != originals.get(path);
    let damage = Damage {
        log: paths
            .iter()
            .any(|path| !path.starts_with("derived/") && path != "LOCK" && touched(path)),
        witness: touched(MANIFEST),
        unreadable,
    };
    check(&built, &disk, &damage);
}

struct Damage {
    log: bool,
    witness: bool,
    unreadable: bool,
}

fn apply(disk: &SimDisk, paths: &[String], edit: &Edit) {
    let path = |file: u8| paths[usize::from(file) % paths.len()].as_str();
    let content = |path: &str| disk.read_durable(path).unwrap_or_default();
    let used = |path: &str| {
        let content = content(path);
        content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
    };
    let place = |path: &str, at: At| match at {
        At::Used(at) => u64::from(at) % used(path).max(1),
        At::Any(at) => u64::from(at) % (content(path).len() as u64).max(1),
    };
    let sector = |path: &str, index: u8| -> (u64, Vec<u8>) {
        let content = content(path);
        let sectors = (used(path).div_ceil(512)).max(1);
        let at = u64::from(index) % sectors * 512;
        let start = (at as usize).min(content.len());
        (at, content[start..content.len().min(start + 512)].to_vec())
    };
    // An edit of a file that an earlier one removed does nothing.
    let done = match edit {
        Edit::FlipBit { file, at, bit } => {
            let path = path(*file);
            disk.flip_bit(path, place(path, *at) * 8 + u64::from(bit % 8))
        }
        Edit::Overwrite { file, at, bytes } => {
            let path = path(*file);
            disk.overwrite(path, place(path, *at), bytes)
        }
        Edit::ZeroSectors { file, sector: first, count } => {
            let path = path(*file);
            let (at, _) = sector(path, *first);
            let rest = (content(path).len() as u64).saturating_sub(at);
            let bytes = (u64::from(*count) * 512).min(rest);
            disk.overwrite(path, at, &vec![0; bytes as usize])
        }
        Edit::CopySector { from, sector: index, to, at } => {
            let (_, bytes) = sector(path(*from), *index);
            let (at, _) = sector(path(*to), *at);
            disk.overwrite(path(*to), at, &bytes)
        }
        Edit::SwapSectors { file, one, other } => {
            let path = path(*file);
            let ((one_at, one), (other_at, other)) = (sector(path, *one), sector(path, *other));
            disk.overwrite(path, one_at, &other).and_then(|()| disk.overwrite(path, other_at, &one))
        }
        Edit::Truncate { file, to } => {
            let path = path(*file);
            disk.truncate(path, place(path, *to))
        }
        Edit::Extend { file, by } => {
            let path = path(*file);
            disk.truncate(path, content(path).len() as u64 + u64::from(*by))
        }
        Edit::Remove { file } => disk.remove_durably(path(*file)),
        Edit::SwapFiles { one, other } => {
            let (one, other) = (path(*one), path(*other));
            let (one_bytes, other_bytes) = (content(one), content(other));
            disk.write_durably(one, &other_bytes)
                .and_then(|()| disk.write_durably(other, &one_bytes))
        }
        Edit::Replace { file, bytes } => disk.write_durably(path(*file), bytes),
        Edit::FailReads { file, at, bytes } => {
            let path = path(*file);
            let at = place(path, *at);
            disk.fail_reads(path, at..at + 1 + u64::from(*bytes))
        }
    };
    drop(done);
}

fn check(built: &Built, disk: &SimDisk, damage: &Damage) {
    let host = SimHost::new(9);
    let log = |disk: &SimDisk| -> Vec<(String, Vec<u8>)> {
        let files = disk.files().into_iter().filter(|(path, _)| path.starts_with("wal/"));
        files.map(|(path, _)| (path.clone(), disk.read_durable(&path).expect("listed"))).collect()
    };
    let before = log(disk);
    let open = || built.options.open_simulated(disk.as_disk(), host.as_host());
    let ledger = match open() {
        Ok(ledger) => ledger,
        Err(error) => {
            let expected = match error.kind() {
                ErrorKind::Corrupt(_)
                | ErrorKind::LogLostData { .. }
                | ErrorKind::NewerFormat { .. }
                | ErrorKind::DurabilityMismatch { .. }
                | ErrorKind::NotALedger { .. } => true,
                ErrorKind::Io { .. } => damage.unreadable,
                _ => false,
            };
            assert!(expected, "{error}");
            assert!(
                damage.log || damage.witness,
                "damage to what is derived keeps it shut: {error}"
            );
            // What can't be read is met late: sections that were damaged may have been written again.
            let unchanged = damage.unreadable || log(disk) == before;
            assert!(unchanged, "the log has changed, and it was refused: {error}");
            let again = open().expect_err("refused before");
            assert_eq!(again.kind(), error.kind());
            return;
        }
    };
    let Some(shown) = look(built, &ledger, damage) else { return };
    assert!(
        shown == built.orders.len() || damage.log,
        "{shown} of {} orders after damage to what is derived",
        built.orders.len()
    );
    assert!(
        shown == built.orders.len() || !built.closed || damage.witness,
        "{shown} of {} orders, and the witness kept silent",
        built.orders.len()
    );
    for (order, submission) in built.orders.iter().zip(&built.submissions).take(shown) {
        match ledger.submit(submission) {
            Ok(outcome) => {
                assert_eq!(outcome.how, How::Replayed, "order {} was taken twice", order.id());
                assert_eq!(outcome.receipt, order.receipt);
            }
            Err(error) => assert!(is_unreadable(error.kind(), damage), "{error}"),
        }
    }
    drop(ledger);
    match open() {
        Ok(ledger) => {
            let again = look(built, &ledger, damage);
            assert!(again.is_none_or(|again| again == shown), "{shown} orders, then {again:?}");
        }
        Err(error) => assert!(is_unreadable(error.kind(), damage), "{error}"),
    }
}

/// Holds everything that the ledger shows against what was built, and answers how many orders its log
/// claims to have. `None` when there is none that was built: the ledger is a new one.
fn look(built: &Built, ledger: &Ledger, damage: &Damage) -> Option<usize> {
    if ledger.recovery_report().created {
        // LEDGER and every group of the log are gone.
        assert!(damage.log);
        return None;
    }
    let claimed = ledger.stats().expect("the sizes of files").records as usize;
    assert!(claimed <= built.orders.len(), "{claimed} records, {} were built", built.orders.len());
    for (order, built) in ledger.orders().zip(&built.orders) {
        match order {
            Ok(order) => assert_eq!(order, *built),
            Err(error) => {
                assert!(is_unreadable(error.kind(), damage), "{error}");
                break;
            }
        }
    }
    for (index, order) in built.orders.iter().enumerate() {
        let found = ledger.get(order.id());
        let by_key = ledger.by_key(&order.client, &order.key);
        for (by, found) in [("id", found), ("key", by_key)] {
            match found {
                Ok(Some(found)) => assert_eq!(found, *order),
                Ok(None) => assert!(
                    index >= claimed,
                    "order {} of {claimed} is not found by its {by}\n{}",
                    order.id(),
                    ledger.recovery_report()
                ),
                Err(error) => assert!(is_unreadable(error.kind(), damage), "{error}"),
            }
        }
    }
    Some(claimed)
}

/// What may be said about a record that can't be read.
fn is_unreadable(kind: &ErrorKind, damage: &Damage) -> bool {
    match kind {
        ErrorKind::Corrupt(_) => damage.log,
        ErrorKind::Io { .. } => damage.unreadable,
        _ => false,
    }
}
