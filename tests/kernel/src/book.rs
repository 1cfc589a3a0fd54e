//! The oracle: what was acknowledged, kept outside the ledger, and the check of a ledger against it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use order_ledger::{Certainty, ErrorKind, How, Ledger, Options, Order, Reader};

use crate::orders::{self, Sizes};
use crate::rng::Rng;
use crate::tally::Tally;
use crate::wire::{Event, Kind, ReceiptBytes};

/// How many orders of earlier rounds are submitted again in a check; those of the last are all.
const OLD_RETRIES: usize = 200;

/// What is known about one ledger.
#[derive(Clone, Debug)]
pub struct Book {
    pub orders_seed: u64,
    pub sizes: Sizes,
    /// Acknowledged, and with which receipt.
    pub acked: BTreeMap<u64, ReceiptBytes>,
    /// Shown by a reader beside the writer: as good as acknowledged (I3).
    pub shown: BTreeMap<u64, ReceiptBytes>,
    /// Acknowledged as new: twice is one too many.
    fresh: HashSet<u64>,
    /// Answered with "not recorded", and never with anything else.
    not_recorded: BTreeSet<u64>,
    /// Handed to more than one call, or in doubt: nothing follows from "not recorded".
    open_ended: HashSet<u64>,
    /// The first order of the last round.
    pub last_base: u64,
    /// The rig has damaged what is derived from the log: a verification may say so.
    pub derived_damaged: bool,
    /// Some of it in a place that the next opening reads, and builds anew.
    pub tables_damaged: bool,
}

/// What a check does beside the promise.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Opens a `Reader` on what the crash left, before the writer repairs it.
    pub reader_first: bool,
    /// Closes the ledger properly.
    pub close: bool,
    /// Submits orders that the crash took.
    pub retry_absent: bool,
}

impl Look {
    pub fn random(rng: &mut Rng) -> Look {
        Look { reader_first: rng.chance(35), close: rng.chance(50), retry_absent: rng.chance(70) }
    }
}

impl Book {
    pub fn new(orders_seed: u64, sizes: Sizes) -> Book {
        Book {
            orders_seed,
            sizes,
            acked: BTreeMap::new(),
            shown: BTreeMap::new(),
            fresh: HashSet::new(),
            not_recorded: BTreeSet::new(),
            open_ended: HashSet::new(),
            last_base: 0,
            derived_damaged: false,
            tables_damaged: false,
        }
    }

    /// Enters what a child said. Refused openings are counted by the caller, who knows the moment.
    pub fn enter(&mut self, event: &Event, tally: &mut Tally) {
        match event {
            Event::Acked { index, fresh, receipt } => {
                tally.add("answers", 1);
                self.acknowledge(*index, *fresh, receipt, tally);
            }
            Event::NotRecorded { index, kind } => {
                if *kind == Kind::DiskLow {
                    tally.add("disk_low", 1);
                }
                self.not_recorded.insert(*index);
            }
            Event::InDoubt { index } => {
                tally.add("in_doubt", 1);
                self.open_ended.insert(*index);
            }
            Event::Wrong(what) => tally.wrong(what.clone()),
            _ => {}
        }
    }

    /// An order of which a duplicate call may be under way.
    pub fn acknowledge(
        &mut self,
        index: u64,
        fresh: bool,
        receipt: &ReceiptBytes,
        tally: &mut Tally,
    ) {
        if fresh && !self.fresh.insert(index) {
            tally.doubled(format!("order {index:#x} was taken as new twice"));
        }
        self.open_ended.insert(index);
        match self.acked.insert(index, *receipt) {
            Some(before) if before != *receipt => {
                tally.wrong(format!("order {index:#x} has two different receipts"));
            }
            Some(_) => {}
            None => tally.add("orders", 1),
        }
    }

    /// Orders of which every call said that nothing is recorded.
    pub fn refused_only(&self) -> impl Iterator<Item = u64> {
        let only =
            |index: &&u64| !self.open_ended.contains(*index) && !orders::may_be_shared(**index);
        self.not_recorded.iter().filter(only).copied()
    }

    /// Opens the ledger in `dir` and holds it against the book. What is found is entered, so that the
    /// next crash must keep it too.
    pub fn check(
        &mut self,
        dir: &Path,
        options: &Options,
        look: Look,
        rng: &mut Rng,
        tally: &mut Tally,
    ) {
        tally.checks += 1;
        if look.reader_first {
            self.check_reader(dir, None, tally);
        }
        let ledger = match options.open(dir) {
            Ok(ledger) => ledger,
            Err(error) => {
                tally.refused(format!("open: {error} / {:?}", error.kind()));
                tally.acknowledged += self.acked.len() as u64;
                return;
            }
        };
        let report = ledger.recovery_report();
        tally.add("torn_tails", u64::from(report.torn_bytes > 0));
        tally.add("resealed", report.segments_resealed);
        tally.add("leftovers", report.leftovers_removed);
        // Which way groups went after this: the options are those of the work, or the default.
        tally.add("past_cache", u64::from(report.past_cache));
        tally.add("through_cache", u64::from(!report.past_cache));
        let found = self.check_orders(ledger.orders(), tally);
        for index in self.refused_only() {
            if found.contains_key(&index) {
                tally.wrong(format!(
                    "order {index:#x} is there although its call said not recorded"
                ));
            }
        }
        self.retry(&ledger, &found, look, rng, tally);
        let now: HashMap<u64, ReceiptBytes> = ledger
            .orders()
            .filter_map(|order| {
                let order = order.ok()?;
                let index = orders::recognise(self.orders_seed, self.sizes, &order).ok()?;
                Some((index, order.receipt.to_bytes()))
            })
            .collect();
        if look.close {
            if let Err(error) = ledger.close() {
                tally.wrong(format!("closing after the check: {error}"));
            }
        } else {
            drop(ledger);
        }
        self.check_reader(dir, Some(&now), tally);
    }

    /// Every order of the log: whole, once, with the receipt that was given.
    fn check_orders(
        &self,
        orders: impl Iterator<Item = order_ledger::Result<Order>>,
        tally: &mut Tally,
    ) -> HashMap<u64, ReceiptBytes> {
        let mut found = HashMap::new();
        for order in orders {
            let order = match order {
                Ok(order) => order,
                Err(error) => {
                    tally.wrong(format!("reading the log: {error}"));
                    break;
                }
            };
            match orders::recognise(self.orders_seed, self.sizes, &order) {
                Ok(index) => {
                    if found.insert(index, order.receipt.to_bytes()).is_some() {
                        tally.doubled(format!("order {index:#x} is in the log twice"));
                    }
                }
                Err(what) => tally.wrong(what),
            }
        }
        tally.acknowledged += self.acked.len() as u64;
        for (index, receipt) in &self.acked {
            match found.get(index) {
                None => tally.lost(format!("order {index:#x} was acknowledged and is lost")),
                Some(other) if other != receipt => {
                    tally.wrong(format!("order {index:#x} has another receipt than was given"));
                }
                Some(_) => tally.kept += 1,
            }
        }
        for (index, receipt) in &self.shown {
            if found.get(index) != Some(receipt) {
                tally.wrong(format!("order {index:#x} was shown by a reader and taken back (I3)"));
            }
        }
        found
    }

    /// The same keys again: the same receipts; what the crash took is taken as new.
    fn retry(
        &mut self,
        ledger: &Ledger,
        found: &HashMap<u64, ReceiptBytes>,
        look: Look,
        rng: &mut Rng,
        tally: &mut Tally,
    ) {
        let last_base = self.last_base;
        let mut again: Vec<u64> =
            found.keys().copied().filter(|index| *index >= last_base).collect();
        let old: Vec<u64> = found.keys().copied().filter(|index| *index < last_base).collect();
        if !old.is_empty() {
            again.extend((0..old.len().min(OLD_RETRIES)).map(|_| *rng.pick(&old)));
        }
        for index in again {
            let order = orders::submission(self.orders_seed, index, self.sizes);
            match ledger.submit(&order) {
                Ok(outcome) if outcome.how == How::Fresh => {
                    tally.doubled(format!("order {index:#x} is in the log and was taken again"));
                }
                Ok(outcome) => {
                    let receipt = outcome.receipt.to_bytes();
                    if found.get(&index) != Some(&receipt) {
                        tally.wrong(format!("the replay of order {index:#x} has another receipt"));
                    }
                    self.acknowledge(index, false, &receipt, tally);
                }
                Err(error) => tally.wrong(format!("the replay of order {index:#x}: {error}")),
            }
        }
        if !look.retry_absent {
            return;
        }
        let top =
            found.keys().copied().filter(|index| *index >= last_base).max().unwrap_or(last_base);
        let absent = (last_base..=top + 8).filter(|index| !found.contains_key(index)).take(40);
        for index in absent.collect::<Vec<_>>() {
            let (client, key) = orders::name(index);
            match ledger.by_key(client, key) {
                Ok(None) => {}
                Ok(Some(_)) => {
                    tally.wrong(format!("order {index:#x} is found by key, but not in the log"))
                }
                Err(error) => tally.wrong(format!("looking for order {index:#x}: {error}")),
            }
            match ledger.submit(&orders::submission(self.orders_seed, index, self.sizes)) {
                Ok(outcome) => {
                    if outcome.how != How::Fresh {
                        tally.wrong(format!("order {index:#x} was absent and is {}", outcome.how));
                    }
                    if self.acked.contains_key(&index) {
                        // Lost, and counted as such: from here on it is another order.
                        self.acked.remove(&index);
                    }
                    self.fresh.remove(&index);
                    self.shown.remove(&index);
                    self.acknowledge(index, true, &outcome.receipt.to_bytes(), tally);
                }
                Err(error) => {
                    let fine = matches!(error.kind(), ErrorKind::DiskLow { .. })
                        && error.certainty() == Certainty::NotRecorded;
                    if !fine {
                        tally
                            .wrong(format!("submitting order {index:#x} after the crash: {error}"));
                    }
                }
            }
        }
    }

    /// A reader shows what the writer shows; on what a crash left, at least what was acknowledged.
    pub fn check_reader(
        &self,
        dir: &Path,
        writer: Option<&HashMap<u64, ReceiptBytes>>,
        tally: &mut Tally,
    ) {
        let reader = match Reader::open(dir) {
            Ok(reader) => reader,
            Err(error) => {
                let not_made_yet = matches!(error.kind(), ErrorKind::NotALedger { .. })
                    && writer.is_none()
                    && self.acked.is_empty();
                if !not_made_yet {
                    tally.refused(format!("Reader: {error} / {:?}", error.kind()));
                }
                return;
            }
        };
        let mut seen = HashMap::new();
        for order in reader.orders() {
            match order {
                Ok(order) => match orders::recognise(self.orders_seed, self.sizes, &order) {
                    Ok(index) => {
                        if seen.insert(index, order.receipt.to_bytes()).is_some() {
                            tally.doubled(format!("a reader shows order {index:#x} twice"));
                        }
                    }
                    Err(what) => tally.wrong(format!("a reader: {what}")),
                },
                Err(error) => tally.wrong(format!("a reader, reading the log: {error}")),
            }
        }
        match writer {
            Some(writer) if *writer != seen => {
                tally.wrong(format!(
                    "a reader shows {} orders, the writer {}",
                    seen.len(),
                    writer.len()
                ));
            }
            Some(_) => {}
            // What the canary loses is counted once, by the writer's side of the check.
            None if tally.loss_expected => {}
            None => {
                for (index, receipt) in &self.acked {
                    if seen.get(index) != Some(receipt) {
                        tally.wrong(format!(
                            "a reader misses order {index:#x}, which was acknowledged"
                        ));
                    }
                }
            }
        }
    }

    /// What a reader beside the living writer shows now: from here on it must stay (I3).
    pub fn look_beside_writer(&self, dir: &Path, tally: &mut Tally) -> Vec<(u64, ReceiptBytes)> {
        let mut seen = Vec::new();
        // A writer that is still making the ledger, or a disk that has gone, is no violation here.
        let Ok(reader) = Reader::open(dir) else { return seen };
        for order in reader.orders() {
            let Ok(order) = order else { break };
            match orders::recognise(self.orders_seed, self.sizes, &order) {
                Ok(index) => seen.push((index, order.receipt.to_bytes())),
                Err(what) => tally.wrong(format!("a reader beside the writer: {what}")),
            }
        }
        tally.add("looks_beside_writer", 1);
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger with orders 0 to 9, and a book that knows of them.
    fn ledger_and_book(name: &str) -> (std::path::PathBuf, Book) {
        let dir =
            std::env::temp_dir().join(format!("kernel-rigs-test-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&dir));
        let mut book = Book::new(5, Sizes::Small);
        let mut tally = Tally::new("test", 0);
        let ledger = options().open(&dir).unwrap();
        for index in 0..10 {
            let result = ledger.submit(&orders::submission(5, index, Sizes::Small));
            book.enter(&crate::wire::event_of(index, &result), &mut tally);
        }
        ledger.close().unwrap();
        assert_eq!(tally.violations(), 0);
        (dir, book)
    }

    fn options() -> Options {
        Options::new().segment_bytes(1024 * 1024).disk_free_min_bytes(0)
    }

    fn check(dir: &Path, book: &mut Book) -> Tally {
        let mut tally = Tally::new("test", 0);
        let look = Look { reader_first: false, close: true, retry_absent: true };
        book.check(dir, &options(), look, &mut Rng::new(1), &mut tally);
        std::fs::remove_dir_all(dir).unwrap();
        tally
    }

    #[test]
    fn a_sound_ledger_passes() {
        let (dir, mut book) = ledger_and_book("sound");
        let tally = check(&dir, &mut book);
        assert_eq!((tally.violations(), tally.kept), (0, 10));
    }

    #[test]
    fn a_lost_order_is_seen() {
        let (dir, mut book) = ledger_and_book("lost");
        book.acked.insert(77, [1; order_ledger::Receipt::BYTES]);
        assert_eq!(check(&dir, &mut book).lost, 1);
    }

    #[test]
    fn another_receipt_is_seen() {
        let (dir, mut book) = ledger_and_book("receipt");
        book.acked.insert(3, [1; order_ledger::Receipt::BYTES]);
        assert!(check(&dir, &mut book).wrong >= 1);
    }

    #[test]
    fn an_order_that_was_not_recorded_and_is_there_is_seen() {
        let (dir, mut book) = ledger_and_book("refused");
        book.acked.remove(&4);
        book.open_ended.remove(&4);
        book.not_recorded.insert(4);
        assert_eq!(check(&dir, &mut book).wrong, 1);
    }

    #[test]
    fn an_order_that_was_shown_and_is_gone_is_seen() {
        let (dir, mut book) = ledger_and_book("shown");
        book.shown.insert(55, [1; order_ledger::Receipt::BYTES]);
        assert_eq!(check(&dir, &mut book).wrong, 1);
    }

    #[test]
    fn an_order_that_is_taken_twice_is_seen() {
        let (dir, mut book) = ledger_and_book("twice");
        let mut tally = Tally::new("test", 0);
        let receipt = book.acked[&6];
        book.acknowledge(6, true, &receipt, &mut tally);
        assert_eq!(tally.doubled, 1);
        assert_eq!(check(&dir, &mut book).violations(), 0);
    }

    #[test]
    fn a_ledger_that_does_not_open_is_seen() {
        let (dir, mut book) = ledger_and_book("refuses");
        std::fs::remove_file(dir.join("wal").read_dir().unwrap().next().unwrap().unwrap().path())
            .unwrap();
        let tally = check(&dir, &mut book);
        assert_eq!((tally.refused, tally.lost), (1, 0));
    }
}
