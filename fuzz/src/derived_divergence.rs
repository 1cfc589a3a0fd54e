//! A sound log, and anything at all in the place of what is derived from it.
//!
//! Derived are the sections and the footer behind the groups of a sealed segment, the witness, and
//! everything else below `derived/`. It is bent, cut, taken from another segment, from another ledger, from
//! an earlier time, or random.
//!
//! Oracle: all answers are those of the log, found by key, by id and by list; never is a key called free
//! that is taken; nothing keeps the ledger shut but a whole witness of this ledger that is ahead of its
//! log, and that always does, for good, and without a byte changed. What nobody could tell from the truth
//! (a section that is wrong and has the right checksum: somebody's work, not an accident) may hide an
//! order, and still may not show one that is none, nor panic.

use arbitrary::Arbitrary;
use order_ledger::disk::sim::{SimDisk, SimHost};
use order_ledger::{ErrorKind, Event, How, Ledger, Order, Query, Reader, State, Views};

use crate::format;
use crate::ledgers::{Built, MANIFEST, files};

#[derive(Arbitrary, Clone, Debug)]
pub struct Input {
    /// Which of the ledgers.
    pub shape: u8,
    pub witness: Witness,
    pub tails: Vec<Tail>,
    /// Gives the tails that were changed the right checksums.
    pub forge: bool,
    /// Files below `derived/`, whole, by number.
    pub files: Vec<(u8, Vec<u8>)>,
}

#[derive(Arbitrary, Clone, Debug)]
pub enum Witness {
    Kept,
    Removed,
    Bytes(Vec<u8>),
    /// Of this ledger, so far from the truth.
    Off {
        seqs: i8,
        groups: i8,
    },
    /// Of another ledger.
    Foreign {
        next_seq: u64,
        next_group: u64,
    },
    Flipped(u16),
}

/// Damage behind the groups of a sealed segment. Segments are numbered from the first, modulo their
/// count; places from the end of the groups, modulo the length.
#[derive(Arbitrary, Clone, Debug)]
pub enum Tail {
    Flip {
        segment: u8,
        at: u16,
        bit: u8,
    },
    Overwrite {
        segment: u8,
        at: u16,
        bytes: [u8; 8],
    },
    /// In the footer, where a section is named: kind, place and length are near.
    Footer {
        segment: u8,
        at: u8,
        byte: u8,
    },
    ZeroBlock {
        segment: u8,
        block: u8,
    },
    SwapBlocks {
        segment: u8,
        one: u8,
        other: u8,
    },
    /// The whole tail of another segment.
    TailOf {
        segment: u8,
        other: u8,
    },
    /// The whole tail of the same segment of another ledger.
    Foreign {
        segment: u8,
        shape: u8,
    },
    Truncate {
        segment: u8,
        to: u16,
    },
    Extend {
        segment: u8,
        by: u16,
    },
}

const BLOCK: usize = 4096;
const EDITS_MAX: usize = 12;
/// Names below `derived/` that mean something, or look like it.
const NAMES: [&str; 6] =
    ["OPENED", "OPENED.tmp", "views", "tables.tmp", "tables/MANIFEST.tmp", "tables/run"];

fn segment_path(number: usize) -> String {
    format!("wal/{number:010}.seg")
}

pub fn run(input: &Input) {
    let (built, disk) = Built::of(input.shape);
    let segments = files(&disk).keys().filter(|path| path.ends_with(".seg")).count();
    let read =
        |disk: &SimDisk, number| disk.read_durable(&segment_path(number)).expect("it is there");
    let end = format::groups_end(&read(&disk, segments));
    // The last segment is not sealed.
    let sealed = segments - 1;
    let mut forged = false;
    if sealed > 0 {
        for tail in input.tails.iter().take(EDITS_MAX) {
            let (number, bytes) = bend(tail, sealed, &|number| read(&disk, number), &built);
            disk.write_durably(&segment_path(number), &bytes).expect("its directory is there");
            if input.forge {
                let mut bytes = bytes;
                format::repair_tail(&mut bytes);
                disk.write_durably(&segment_path(number), &bytes).expect("its directory is there");
                forged = true;
            }
        }
    }
    for (name, bytes) in input.files.iter().take(EDITS_MAX) {
        let name = NAMES[usize::from(*name) % NAMES.len()];
        // A directory that a killed ledger never made.
        drop(disk.write_durably(&format!("derived/{name}"), bytes));
    }
    let ahead = bear_witness(&disk, &built, &input.witness, end);
    if ahead {
        refused(&built, &disk, forged);
    } else {
        same_answers(&built, &disk, forged);
    }
}

/// The segment with its damage.
fn bend(
    tail: &Tail,
    sealed: usize,
    read: &dyn Fn(usize) -> Vec<u8>,
    built: &Built,
) -> (usize, Vec<u8>) {
    let (Tail::Flip { segment, .. }
    | Tail::Overwrite { segment, .. }
    | Tail::Footer { segment, .. }
    | Tail::ZeroBlock { segment, .. }
    | Tail::SwapBlocks { segment, .. }
    | Tail::TailOf { segment, .. }
    | Tail::Foreign { segment, .. }
    | Tail::Truncate { segment, .. }
    | Tail::Extend { segment, .. }) = tail;
    let number = 1 + usize::from(*segment) % sealed;
    let mut bytes = read(number);
    let start = format::groups_end(&bytes).offset as usize;
    // An earlier edit may have cut all of it away.
    let length = bytes.len().saturating_sub(start).max(1);
    let first_block = start.next_multiple_of(BLOCK);
    let blocks = (bytes.len().saturating_sub(first_block) / BLOCK).max(1);
    let block = |index: u8| first_block + usize::from(index) % blocks * BLOCK;
    let foreign = |from: Vec<u8>, bytes: &mut Vec<u8>| {
        let tail = format::groups_end(&from).offset.next_multiple_of(BLOCK as u64) as usize;
        bytes.resize(first_block, 0);
        bytes.extend(from.get(tail..).unwrap_or_default());
    };
    match tail {
        Tail::Flip { at, bit, .. } => {
            if let Some(byte) = bytes.get_mut(start + usize::from(*at) % length) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Tail::Overwrite { at, bytes: new, .. } => {
            let at = start + usize::from(*at) % length;
            bytes.iter_mut().skip(at).zip(new).for_each(|(to, from)| *to = *from);
        }
        Tail::Footer { at, byte, .. } => {
            let footer = bytes.len().saturating_sub(BLOCK);
            if footer >= start {
                bytes[footer + usize::from(*at) % 200] = *byte;
            }
        }
        Tail::ZeroBlock { block: index, .. } => {
            let at = block(*index);
            bytes.iter_mut().skip(at).take(BLOCK).for_each(|byte| *byte = 0);
        }
        Tail::SwapBlocks { one, other, .. } => {
            let (one, other) = (block(*one), block(*other));
            for index in 0..BLOCK {
                if one.max(other) + index < bytes.len() {
                    bytes.swap(one + index, other + index);
                }
            }
        }
        Tail::TailOf { other, .. } => foreign(read(1 + usize::from(*other) % sealed), &mut bytes),
        Tail::Foreign { shape, .. } => {
            let (other, disk) = Built::of(*shape);
            let from = disk.read_durable(&segment_path(number)).unwrap_or_default();
            // A segment that the other ledger has, and that is not this very one.
            if other.orders[0].receipt.ledger != built.orders[0].receipt.ledger && !from.is_empty()
            {
                foreign(from, &mut bytes);
            }
        }
        Tail::Truncate { to, .. } => bytes.truncate(start + usize::from(*to) % length),
        Tail::Extend { by, .. } => bytes.resize(bytes.len() + usize::from(*by), 0),
    }
    (number, bytes)
}

/// Puts the witness there. Answers whether it proves that the log lost data.
fn bear_witness(disk: &SimDisk, built: &Built, witness: &Witness, end: format::End) -> bool {
    let ledger = built.orders[0].receipt.ledger.0;
    let (bytes, ahead) = match witness {
        Witness::Kept => return false,
        Witness::Removed => {
            // A ledger that was killed may have none.
            drop(disk.remove_durably(MANIFEST));
            return false;
        }
        Witness::Bytes(bytes) => {
            // Nobody guesses a checksum, and the corpus holds only what was mutated from nothing.
            (bytes.clone(), false)
        }
        Witness::Off { seqs, groups } => {
            let next_seq = end.next_seq.saturating_add_signed((*seqs).into());
            let next_group = end.next_group.saturating_add_signed((*groups).into());
            (format::manifest(ledger, next_seq, next_group), *seqs > 0 || *groups > 0)
        }
        Witness::Foreign { next_seq, next_group } => {
            let mut foreign = ledger;
            foreign[0] ^= 1;
            (format::manifest(foreign, *next_seq, *next_group), false)
        }
        Witness::Flipped(bit) => {
            let mut bytes = format::manifest(ledger, end.next_seq + 1, end.next_group + 1);
            let bit = usize::from(*bit) % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            (bytes, false)
        }
    };
    // A ledger that was killed may not have made the directory; then there is no witness.
    disk.write_durably(MANIFEST, &bytes).is_ok() && ahead
}

/// The log lost data, says a witness that is believed: nothing opens, nothing changes. What was forged may be
/// the first thing that is refused.
fn refused(built: &Built, disk: &SimDisk, forged: bool) {
    let host = SimHost::new(5);
    let before = files(disk);
    let open = || built.options.open_simulated(disk.as_disk(), host.as_host());
    for _ in 0..2 {
        let writer = open().expect_err("a witness is ahead of the log");
        let reader = Reader::open_on(disk.as_disk(), &host).expect_err("it is for readers as well");
        for error in [writer, reader] {
            let is_told = matches!(error.kind(), ErrorKind::LogLostData { .. });
            assert!(is_told || forged, "{error}");
            may_fail(error.kind(), true);
        }
    }
    let mut after = files(disk);
    // The lock may have been made by it.
    after.retain(|path, _| path != "LOCK" || before.contains_key(path));
    let same = before.iter().all(|(path, bytes)| path == "LOCK" || after.get(path) == Some(bytes));
    assert!(same && before.len() == after.len(), "it was refused, and files have changed");
}

fn same_answers(built: &Built, disk: &SimDisk, forged: bool) {
    let host = SimHost::new(6);
    let options = built.options.clone().views(Views::On);
    let open = || options.open_simulated(disk.as_disk(), host.as_host());
    // The reader first: it finds what the writer is going to repair.
    match Reader::open_on(disk.as_disk(), &host) {
        Ok(reader) => {
            for (order, history) in built.orders.iter().zip(&built.histories) {
                let found = reader.by_key(&order.client, &order.key);
                is_found(found, order, forged, "a reader, by key");
                is_told(reader.history(order.id()), history, forged);
            }
        }
        Err(error) => may_fail(error.kind(), forged),
    }
    let ledger = match open() {
        Ok(ledger) => ledger,
        Err(error) => return may_fail(error.kind(), forged),
    };
    look(built, &ledger, forged);
    if let Err(error) = ledger.close() {
        return may_fail(error.kind(), forged);
    }
    // What was made again while it was open is what is found now.
    match open() {
        Ok(ledger) => built.orders.iter().for_each(|order| {
            let found = ledger.by_key(&order.client, &order.key);
            is_found(found, order, forged, "opened again, by key");
        }),
        Err(error) => may_fail(error.kind(), forged),
    }
}

/// Every way to ask, held against what was built.
fn look(built: &Built, ledger: &Ledger, forged: bool) {
    for (order, submission) in built.orders.iter().zip(&built.submissions) {
        is_found(ledger.by_key(&order.client, &order.key), order, forged, "by key");
        is_found(ledger.get(order.id()), order, forged, "by id");
        if forged {
            // It may be hidden; what a submission would do then is no promise.
            continue;
        }
        let outcome = ledger.submit(submission).expect("a replay");
        assert_eq!((outcome.how, outcome.receipt), (How::Replayed, order.receipt));
    }
    for (order, history) in built.orders.iter().zip(&built.histories) {
        is_told(ledger.history(order.id()), history, forged);
    }
    // A command that was carried out is not carried out again; what is hidden may be.
    for (step, first) in built.steps.iter().filter(|_| !forged) {
        let again = ledger.transition(step).expect("a replay");
        assert_eq!((again.how, again.seq, again.at), (How::Replayed, first.seq, first.at));
        assert_eq!((again.from, again.to, again.version), (first.from, first.to, first.version));
    }
    let absent = ledger.by_key("fuzz", "a key of nobody");
    assert!(forged || matches!(absent, Ok(None)), "{absent:?}");
    assert!(!matches!(absent, Ok(Some(_))), "{absent:?}");
    match ledger.orders().collect::<Result<Vec<Order>, _>>() {
        Ok(orders) if !forged => assert!(orders == built.orders, "another replay of the log"),
        Ok(orders) => {
            let is_one = |order: &Order| built.orders.iter().any(|it| stands_for(order, it));
            assert!(orders.iter().all(is_one));
        }
        Err(error) => may_fail(error.kind(), forged),
    }
    let account = |order: &Order| order.account.clone();
    let mut accounts: Vec<Vec<u8>> = built.orders.iter().map(account).collect();
    accounts.sort_unstable();
    accounts.dedup();
    for value in accounts {
        let right = built.orders.iter().filter(|order| order.account == value);
        is_page(
            ledger,
            &Query::all().account(value.clone()),
            right.collect(),
            &built.orders,
            forged,
        );
        let right = built.orders.iter().filter(|order| order.account == value);
        let external_ref = right.clone().next().expect("it is of an order").external_ref.clone();
        is_page(
            ledger,
            &Query::all().external_ref(external_ref),
            right.collect(),
            &built.orders,
            forged,
        );
    }
    for state in [State::Accepted, State::InProgress, State::Completed] {
        let right = built.orders.iter().filter(|order| order.now.state == state);
        is_page(ledger, &Query::all().state(state), right.collect(), &built.orders, forged);
    }
}

fn is_page(ledger: &Ledger, query: &Query, right: Vec<&Order>, built: &[Order], forged: bool) {
    match ledger.page(query) {
        Ok(page) if !forged => assert!(page.orders.iter().eq(right), "{query:?}"),
        // A hidden step leaves its order among those of the state before: right is what the order is.
        Ok(page) => {
            let is_one = |order: &Order| built.iter().any(|it| stands_for(order, it));
            assert!(page.orders.iter().all(is_one), "{query:?}");
        }
        Err(error) => may_fail(error.kind(), forged),
    }
}

fn is_found(
    found: Result<Option<Order>, order_ledger::Error>,
    order: &Order,
    forged: bool,
    how: &str,
) {
    match found {
        Ok(Some(found)) if forged => assert!(stands_for(&found, order), "{how}: {found:?}"),
        Ok(Some(found)) => assert_eq!(found, *order, "{how}"),
        Ok(None) => assert!(forged, "order {} is not found: {how}", order.id()),
        Err(error) => may_fail(error.kind(), forged),
    }
}

/// The same order, which may not have taken its last steps yet.
fn stands_for(found: &Order, order: &Order) -> bool {
    let mut later = found.clone();
    later.now = order.now;
    later == *order && found.now.version <= order.now.version
}

fn is_told(told: Result<Vec<Event>, order_ledger::Error>, history: &[Event], forged: bool) {
    match told {
        Ok(told) if !forged => assert_eq!(told, history),
        Ok(told) => assert!(history.starts_with(&told), "{told:?}"),
        Err(error) => may_fail(error.kind(), forged),
    }
}

/// Only what was forged may be refused: as damage; as a newer version's, for a footer with another version and
/// the right checksum is what a newer program would have written; or as a log that lost data, for a forged
/// time makes all groups behind it look like none.
fn may_fail(kind: &ErrorKind, forged: bool) {
    use ErrorKind::{Corrupt, LogLostData, NewerFormat};
    let allowed = matches!(kind, Corrupt(_) | NewerFormat { .. } | LogLostData { .. });
    assert!(forged && allowed, "{kind:?}");
}
