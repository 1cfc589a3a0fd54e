//! Random histories on a disk that loses what was not synced: what was acknowledged is there, once.
//!
//! One seed is one history: a ledger with random options, random calls, and power cuts and kills at
//! random I/O calls, also inside of opening, up to three in a row. The oracle stands outside the ledger
//! and knows only what callers were told. After every opening:
//!
//! - an acknowledged order is there once, with the same receipt and the same bytes;
//! - one that was told `NotRecorded` is not there;
//! - orders in doubt of one group are all there or all not, and a retry of each gives one order;
//! - `orders`, `get`, `by_key`, `stats` and a reader beside them say the same; seqs are dense, times rise;
//! - opening never refuses, and opening once more changes no byte of the log.
//!
//! `ORDER_LEDGER_SEEDS=100000` runs more seeds, `ORDER_LEDGER_SEED=7` runs one.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use order_ledger::disk::sim::{Crash, CrashMode, Fault, SimDisk, SimHost};
use order_ledger::{
    Certainty, Committed, Durability, Error, ErrorKind, Field, GroupPadding, How, Ledger, Options,
    Order, Outcome, Reader, Receipt, Refusal, Submission, Ticket, Validator, Verdict, Views,
};

use crate::rig::{Random, durable};

const SEEDS: u64 = 10_000;

#[test]
fn whatever_was_acknowledged_is_there_once_after_any_crash() {
    let variable = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let one = variable("ORDER_LEDGER_SEED");
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..variable("ORDER_LEDGER_SEEDS").unwrap_or(SEEDS),
    };
    let started = std::time::Instant::now();
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicBool::new(false);
    let total = Mutex::new(Figures::default());
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 8));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = Figures::default();
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    match catch_unwind(AssertUnwindSafe(|| History::run(seed))) {
                        Ok(figures) => own.add(&figures),
                        Err(_) => {
                            failed.store(true, Ordering::Relaxed);
                            eprintln!(
                                "seed {seed} failed; again: ORDER_LEDGER_SEED={seed} cargo test \
                                 --no-default-features --test it crash_sim"
                            );
                        }
                    }
                }
                total.lock().unwrap().add(&own);
            });
        }
    });
    assert!(!failed.load(Ordering::Relaxed), "a seed failed, see above");
    let total = total.into_inner().unwrap();
    println!("{total:?} in {:.1} s", started.elapsed().as_secs_f64());
    if one.is_none() && seeds.end >= 1000 {
        total.assert_that_something_was_tested();
    }
}

/// What a run came to: a crash test in which nothing is lost proves nothing.
#[derive(Clone, Debug, Default)]
struct Figures {
    seeds: u64,
    acknowledged: u64,
    power_cuts: u64,
    kills: u64,
    opens: u64,
    opens_cut_off: u64,
    cut_off_three_in_a_row: u64,
    sectors_dropped: u64,
    sectors_torn: u64,
    sectors_garbage: u64,
    names_dropped: u64,
    torn_tails: u64,
    resealed: u64,
    runs_rebuilt: u64,
    segments: u64,
    in_doubt_there: u64,
    in_doubt_gone: u64,
    io_errors: u64,
    relaxed_lost: u64,
}

impl Figures {
    fn fields(&mut self) -> [&mut u64; 19] {
        [
            &mut self.seeds,
            &mut self.acknowledged,
            &mut self.power_cuts,
            &mut self.kills,
            &mut self.opens,
            &mut self.opens_cut_off,
            &mut self.cut_off_three_in_a_row,
            &mut self.sectors_dropped,
            &mut self.sectors_torn,
            &mut self.sectors_garbage,
            &mut self.names_dropped,
            &mut self.torn_tails,
            &mut self.resealed,
            &mut self.runs_rebuilt,
            &mut self.segments,
            &mut self.in_doubt_there,
            &mut self.in_doubt_gone,
            &mut self.io_errors,
            &mut self.relaxed_lost,
        ]
    }

    fn add(&mut self, other: &Figures) {
        let mut other = other.clone();
        for (sum, value) in self.fields().into_iter().zip(other.fields()) {
            *sum += *value;
        }
    }

    fn assert_that_something_was_tested(mut self) {
        for (index, value) in self.fields().into_iter().enumerate() {
            assert!(*value > 0, "figure {index} is 0: this kind of thing never happened");
        }
    }
}

/// Client and key.
type Name = (Vec<u8>, Vec<u8>);

/// What was deferred and has no answer yet.
type Tickets = Vec<(Name, Ticket)>;

/// What the callers know about one key.
#[derive(Clone, Debug)]
struct Known {
    submission: Submission,
    fate: Fate,
}

#[derive(Clone, Debug, PartialEq)]
enum Fate {
    /// Told, or certain, that nothing is recorded.
    Free,
    Acknowledged(Receipt),
    Refused(Receipt, Refusal),
    /// In the group that this life of the ledger ended with.
    InDoubt,
}

/// Refuses for good what begins with `no`, and for now what begins with `later`.
struct Fussy;

impl Validator for Fussy {
    fn validate(&self, order: &Submission, _: &Committed<'_>) -> Verdict {
        if order.payload().starts_with(b"no") {
            Verdict::RefuseFinal(Refusal { code: 7, reason: "because".into() })
        } else if order.payload().starts_with(b"later") {
            Verdict::RefuseForNow { reason: "not today".into() }
        } else {
            Verdict::Accept
        }
    }
}

struct History {
    random: Random,
    disk: SimDisk,
    host: SimHost,
    figures: Figures,
    known: BTreeMap<Name, Known>,
    padding: GroupPadding,
    garbage: bool,
    errors: bool,
    validator: bool,
    durability: Durability,
    keys: u64,
    /// Orders of a relaxed ledger may be gone after a power cut.
    may_lose: bool,
}

impl History {
    fn run(seed: u64) -> Figures {
        let mut random = Random::new(seed);
        let padding = random.pick(&[GroupPadding::PowerSafeOverwrite, GroupPadding::Block]);
        let mut history = History {
            disk: SimDisk::new(random.next()),
            host: SimHost::new(random.next()),
            garbage: padding == GroupPadding::Block && random.chance(1, 2),
            errors: random.chance(1, 4),
            validator: random.chance(1, 4),
            durability: match random.chance(1, 12) {
                true => Durability::Relaxed,
                false => Durability::Durable,
            },
            padding,
            random,
            figures: Figures { seeds: 1, ..Figures::default() },
            known: BTreeMap::new(),
            keys: 0,
            may_lose: false,
        };
        let lives = 2 + history.random.below(4);
        for _ in 0..lives {
            let ledger = history.open();
            history.live(ledger);
        }
        let ledger = history.open();
        history.figures.acknowledged += history
            .known
            .values()
            .filter(|known| matches!(known.fate, Fate::Acknowledged(_)))
            .count() as u64;
        history.figures.segments += ledger.stats().unwrap().segments;
        history.open_again_changes_nothing(ledger);
        history.figures
    }

    fn options(&mut self) -> Options {
        let options = Options::new()
            .segment_bytes(self.random.pick(&[16, 16, 20, 24, 40, 64]) * 1024)
            .group_padding(self.padding)
            .durability(self.durability)
            .seal_after(Duration::from_millis(self.random.pick(&[1, 500, 10_000])))
            .disk_reserve_bytes(0)
            .disk_free_min_bytes(0)
            .views(Views::Off);
        match self.validator {
            true => options.validator(Fussy),
            false => options,
        }
    }

    // Ends of a life, and openings.

    fn cut_power(&mut self) {
        let modes = [
            CrashMode::DropAll,
            CrashMode::KeepAll,
            CrashMode::Prefix,
            CrashMode::Random,
            CrashMode::Random,
            CrashMode::Adversarial,
            CrashMode::Ext4Like,
            CrashMode::Subset(self.random.next()),
        ];
        let crash = Crash::new(self.random.pick(&modes), self.random.next());
        let crash = if self.garbage { crash.with_garbage() } else { crash };
        self.disk.clear_faults();
        let report = self.disk.crash(crash);
        self.figures.power_cuts += 1;
        self.figures.sectors_dropped += report.sectors_dropped;
        self.figures.sectors_torn += report.sectors_torn;
        self.figures.sectors_garbage += report.sectors_garbage;
        self.figures.names_dropped += report.names_dropped;
        self.may_lose = self.durability == Durability::Relaxed;
    }

    fn kill(&mut self) {
        self.disk.clear_faults();
        self.disk.kill();
        self.figures.kills += 1;
    }

    fn end_of_life(&mut self) {
        match self.random.chance(3, 4) {
            true => self.cut_power(),
            false => self.kill(),
        }
    }

    /// Opens the ledger; up to three crashes come in between. Then everything is looked at.
    fn open(&mut self) -> Ledger {
        let options = self.options();
        let nested = if self.random.chance(1, 2) { self.random.below(4) } else { 0 };
        let mut cut_off = 0;
        for _ in 0..nested {
            let call = 1 + self.random.below(70);
            self.disk.power_off_after(call);
            match options.open_simulated(self.disk.as_disk(), self.host.as_host()) {
                Ok(ledger) => {
                    // It went well before the power went: that life is over as well.
                    self.end_of_life();
                    drop(ledger);
                }
                Err(error) => {
                    assert!(self.disk.is_off(), "opening refused after a crash: {error}");
                    self.figures.opens_cut_off += 1;
                    cut_off += 1;
                    self.end_of_life();
                }
            }
        }
        self.figures.cut_off_three_in_a_row += u64::from(cut_off == 3);
        if self.errors && self.random.chance(1, 3) {
            let call = 1 + self.random.below(60);
            let fault = self.fault();
            self.disk.fail_call(call, fault);
            match options.open_simulated(self.disk.as_disk(), self.host.as_host()) {
                Ok(ledger) => {
                    self.kill();
                    drop(ledger);
                }
                Err(error) => {
                    assert!(self.disk.faults_hit() > 0, "opening refused: {error}");
                    self.figures.io_errors += 1;
                    self.kill();
                }
            }
        }
        self.disk.clear_faults();
        let seen = self.look_beside();
        let ledger = match options.open_simulated(self.disk.as_disk(), self.host.as_host()) {
            Ok(ledger) => ledger,
            Err(error) => panic!("opening refused after a crash: {error}"),
        };
        let report = ledger.recovery_report();
        self.figures.opens += 1;
        self.figures.torn_tails += u64::from(report.torn_bytes > 0);
        self.figures.resealed += report.segments_resealed;
        self.figures.runs_rebuilt += report.tables_rebuilt;
        self.check(&ledger, seen);
        ledger
    }

    /// Looks with a reader before anybody repairs anything.
    fn look_beside(&mut self) -> Option<Vec<Order>> {
        if !self.disk.files().iter().any(|(path, _)| path == "LEDGER") || self.random.chance(1, 2) {
            return None;
        }
        // After a kill a reader makes the tail durable before it believes it; else no byte changes.
        let settled = self.disk.pending_units() == 0;
        let before = settled.then(|| durable(&self.disk, ""));
        let reader = match Reader::open_on(self.disk.as_disk(), &self.host) {
            Ok(reader) => reader,
            Err(error) => panic!("reading refused after a crash: {error}"),
        };
        let orders = reader.orders().map(Result::unwrap).collect();
        if let Some(before) = before {
            assert!(before == durable(&self.disk, ""), "a reader changed a byte");
        }
        Some(orders)
    }

    fn fault(&mut self) -> Fault {
        self.random.pick(&[
            Fault::Eio,
            Fault::Eio,
            Fault::EioLate,
            Fault::Enospc,
            Fault::Edquot,
            Fault::Erofs,
            Fault::ShortWrite,
            Fault::ShortRead,
            Fault::Interrupted,
        ])
    }

    // The oracle.

    fn check(&mut self, ledger: &Ledger, seen: Option<Vec<Order>>) {
        let orders: Vec<Order> = ledger.orders().map(Result::unwrap).collect();
        if let Some(seen) = seen {
            let (reader, writer) = (seen.len(), orders.len());
            assert_eq!(reader, writer, "a reader and the writer disagree, {:?}", self.durability);
            assert!(seen == orders, "a reader and the writer disagree");
        }
        // A failed sync loses the same.
        self.may_lose |= self.durability == Durability::Relaxed && self.errors;
        let mut there = BTreeMap::new();
        let mut last_at = None;
        for (seq, order) in (1..).zip(&orders) {
            assert_eq!(order.id().seq().0, seq, "seqs are not dense");
            assert!(last_at < Some(order.receipt.accepted_at), "time does not rise");
            last_at = Some(order.receipt.accepted_at);
            let name = (order.client.clone(), order.key.clone());
            assert!(there.insert(name, order).is_none(), "{} is there twice", order.id());
        }
        assert_eq!(ledger.stats().unwrap().orders, orders.len() as u64);
        let in_doubt: Vec<_> =
            self.known.iter().filter(|(_, known)| known.fate == Fate::InDoubt).collect();
        let doubts_there = in_doubt.iter().filter(|(name, _)| there.contains_key(*name)).count();
        assert!(
            doubts_there == 0 || doubts_there == in_doubt.len(),
            "{doubts_there} of the {} orders of one group are there",
            in_doubt.len()
        );
        let full = self.random.chance(1, 4);
        for (name, known) in &mut self.known {
            let found = there.remove(name);
            match (&known.fate, found) {
                (Fate::Acknowledged(_) | Fate::Refused(..), None) if self.may_lose => {
                    self.figures.relaxed_lost += 1;
                    known.fate = Fate::Free;
                }
                (Fate::Acknowledged(receipt), Some(order)) => {
                    assert_eq!(order.receipt, *receipt);
                    assert_eq!(order.refusal, None);
                }
                (Fate::Refused(receipt, refusal), Some(order)) => {
                    assert_eq!(order.receipt, *receipt);
                    assert_eq!(order.refusal.as_ref(), Some(refusal));
                }
                (Fate::Free, None) => {}
                (Fate::Free, Some(order)) => {
                    panic!("{} was told not to be recorded, and is there", order.id())
                }
                (Fate::InDoubt, None) => {
                    known.fate = Fate::Free;
                    self.figures.in_doubt_gone += 1;
                }
                (Fate::InDoubt, Some(order)) => {
                    known.fate = match &order.refusal {
                        None => Fate::Acknowledged(order.receipt),
                        Some(refusal) => Fate::Refused(order.receipt, refusal.clone()),
                    };
                    self.figures.in_doubt_there += 1;
                }
                (fate, None) => panic!("acknowledged and gone: {fate:?}"),
            }
            if let Some(order) = found {
                assert_eq!(order.payload, known.submission.payload());
            }
            if full || self.random.chance(1, 8) {
                let by_key = ledger.by_key(&name.0, &name.1).unwrap();
                assert_eq!(by_key.as_ref(), found, "by_key and orders disagree");
                if let Some(order) = found {
                    assert_eq!(ledger.get(order.id()).unwrap().as_ref(), found);
                }
            }
        }
        assert!(there.is_empty(), "orders that nobody submitted: {:?}", there.keys());
        self.may_lose = false;
    }

    /// Closed cleanly and opened again: the log and the identity have the same bytes.
    fn open_again_changes_nothing(&mut self, ledger: Ledger) {
        ledger.close().unwrap();
        let options = self.options();
        let before = (durable(&self.disk, "wal"), durable(&self.disk, "LEDGER"));
        let ledger = options.open_simulated(self.disk.as_disk(), self.host.as_host()).unwrap();
        assert_eq!(ledger.recovery_report().torn_bytes, 0);
        self.kill();
        drop(ledger);
        let mut after = (durable(&self.disk, "wal"), durable(&self.disk, "LEDGER"));
        // A file that was being made is not part of the log, and is removed.
        let mut before = before;
        before.0.remove("wal/next.tmp");
        after.0.remove("wal/next.tmp");
        assert!(before == after, "opening again changed the log");
    }

    // A life.

    fn live(&mut self, ledger: Ledger) {
        let mut tickets: Tickets = Vec::new();
        if self.random.chance(1, 2) {
            let call = 1 + self.random.below(150);
            self.disk.power_off_after(call);
        }
        let hits = self.disk.faults_hit();
        if self.errors {
            let call = 1 + self.random.below(150);
            let fault = self.fault();
            self.disk.fail_call(call, fault);
        }
        for _ in 0..self.random.below(40) {
            if self.disk.is_off() {
                break;
            }
            match self.random.below(20) {
                0..=5 => self.submit(&ledger, &mut tickets),
                6..=8 => self.submit_many(&ledger, &mut tickets),
                9..=11 => {
                    for _ in 0..1 + self.random.below(6) {
                        let name = self.some_key();
                        let ticket = ledger.submit_deferred(&self.known[&name].submission);
                        tickets.push((name, ticket));
                    }
                }
                12..=13 => {
                    ledger.pump();
                    self.settle(&ledger, &mut tickets);
                }
                14 => {
                    self.conflict(&ledger);
                    self.settle(&ledger, &mut tickets);
                }
                15 => self.look(&ledger),
                16 => {
                    let now = self.random.below(2_000_000_000_000_000_000);
                    self.host.set_wall_ns(now);
                }
                _ => {
                    self.host.advance(Duration::from_millis(self.random.below(3000)));
                    ledger.tick();
                }
            }
        }
        if !self.disk.is_off() && self.random.chance(1, 3) {
            // Deferred orders are written by closing.
            let poisoned = ledger.poisoned().is_some();
            let closed = ledger.clone().close();
            self.settle(&ledger, &mut tickets);
            if closed.is_err() {
                let faulted = self.disk.is_off() || self.disk.faults_hit() > hits;
                assert!(poisoned || faulted, "{closed:?}");
            }
            if self.disk.is_off() || self.random.chance(1, 2) {
                self.end_of_life();
            } else {
                self.disk.clear_faults();
            }
        } else {
            // What was deferred and never written is not there; nobody was told anything.
            self.end_of_life();
        }
        drop(tickets);
        drop(ledger);
    }

    /// A key that was used before, or a new one.
    fn some_key(&mut self) -> Name {
        if !self.known.is_empty() && self.random.chance(1, 3) {
            let index = self.random.index(self.known.len());
            return self.known.keys().nth(index).unwrap().clone();
        }
        self.keys += 1;
        let client = self.random.pick(&["web", "till"]);
        let key = format!("key-{}", self.keys);
        let bytes = match self.random.below(40) {
            0 => 20_000,
            1..=3 => 5_000,
            4..=12 => self.random.index(700),
            _ => self.random.index(120),
        };
        let mut payload = self.random.bytes(bytes);
        let word: &[u8] = match self.random.below(12) {
            0 => b"no",
            1 => b"later",
            _ => b"ok",
        };
        payload.splice(0..0, word.iter().copied());
        let submission = Submission::new(client, key.as_str(), payload)
            .account(format!("account {}", self.random.below(5)));
        let name = (client.as_bytes().to_vec(), key.into_bytes());
        self.known.insert(name.clone(), Known { submission, fate: Fate::Free });
        name
    }

    fn submit(&mut self, ledger: &Ledger, tickets: &mut Tickets) {
        let name = self.some_key();
        let result = ledger.submit(&self.known[&name].submission);
        self.settle(ledger, tickets);
        self.answered(ledger, &name, result);
    }

    fn submit_many(&mut self, ledger: &Ledger, tickets: &mut Tickets) {
        let names: Vec<_> = (0..1 + self.random.below(9)).map(|_| self.some_key()).collect();
        let batch: Vec<_> = names.iter().map(|name| self.known[name].submission.clone()).collect();
        let results = ledger.submit_many(&batch);
        self.settle(ledger, tickets);
        for (name, result) in names.iter().zip(results) {
            self.answered(ledger, name, result);
        }
    }

    fn settle(&mut self, ledger: &Ledger, tickets: &mut Tickets) {
        for (name, mut ticket) in tickets.drain(..) {
            let result = ticket.wait(None);
            self.answered(ledger, &name, result);
        }
    }

    /// Takes in what a caller was told, and holds it against what it knew.
    fn answered(&mut self, ledger: &Ledger, name: &Name, result: Result<Outcome, Error>) {
        let known = self.known.get_mut(name).unwrap();
        let (refused, later) = match self.validator {
            true => (
                known.submission.payload().starts_with(b"no"),
                known.submission.payload().starts_with(b"later"),
            ),
            false => (false, false),
        };
        let error = match result {
            Ok(outcome) => {
                match &known.fate {
                    Fate::Acknowledged(receipt) => assert_eq!(*receipt, outcome.receipt),
                    Fate::Free => {
                        assert!(!refused && !later);
                        assert_ne!(outcome.how, How::Replayed, "a replay of what was never taken");
                        known.fate = Fate::Acknowledged(outcome.receipt);
                    }
                    fate => panic!("{outcome:?} after {fate:?}"),
                }
                return;
            }
            Err(error) => error,
        };
        match (error.certainty(), error.kind()) {
            (Certainty::Recorded(_), ErrorKind::Refused { receipt, refusal }) => {
                let fate = Fate::Refused(*receipt, refusal.clone());
                assert!(known.fate == Fate::Free && refused || known.fate == fate, "{error}");
                known.fate = fate;
            }
            (Certainty::Unknown, kind) => {
                assert!(
                    ledger.poisoned().is_some() || matches!(kind, ErrorKind::Io { .. }),
                    "{error}"
                );
                if matches!(kind, ErrorKind::InDoubt { .. }) {
                    assert!(matches!(known.fate, Fate::Free | Fate::InDoubt), "{error}");
                    known.fate = Fate::InDoubt;
                }
            }
            (Certainty::NotRecorded, kind) => {
                assert_eq!(known.fate, Fate::Free, "told not recorded: {error}");
                let troubled = self.disk.is_off() || self.errors;
                let expected = match kind {
                    ErrorKind::RefusedForNow { .. } => later,
                    ErrorKind::Poisoned { .. } => ledger.poisoned().is_some(),
                    ErrorKind::Closed => true,
                    ErrorKind::Io { .. } | ErrorKind::DiskLow { .. } => troubled,
                    _ => false,
                };
                assert!(expected, "{error}");
            }
            (Certainty::Recorded(_), _) => panic!("{error}"),
        }
    }

    /// Other content under a known key.
    fn conflict(&mut self, ledger: &Ledger) {
        let name = self.some_key();
        let known = self.known[&name].clone();
        let (Fate::Acknowledged(receipt) | Fate::Refused(receipt, _)) = known.fate else { return };
        let mut payload = known.submission.payload().to_vec();
        payload.push(b'!');
        let account = b"account 9".to_vec();
        let other = Submission::new(name.0, name.1, payload).account(account);
        match ledger.submit(&other).map_err(|error| error.kind().clone()) {
            Err(ErrorKind::Conflict { receipt: found, differs }) => {
                assert_eq!(found, receipt);
                assert_eq!(differs, [Field::Account, Field::Payload]);
            }
            Err(ErrorKind::Io { .. }) if self.disk.is_off() || self.errors => {}
            other => panic!("{other:?}"),
        }
    }

    /// Reads while the ledger is in use: what was acknowledged is found at once.
    fn look(&mut self, ledger: &Ledger) {
        let name = self.some_key();
        let known = &self.known[&name];
        match (ledger.by_key(&name.0, &name.1), &known.fate) {
            (Ok(Some(order)), Fate::Acknowledged(receipt) | Fate::Refused(receipt, _)) => {
                assert_eq!(order.receipt, *receipt);
                assert_eq!(order.payload, known.submission.payload());
                match ledger.get(receipt.order) {
                    Ok(found) => assert_eq!(found, Some(order)),
                    Err(error) => assert!(self.disk.is_off() || self.errors, "{error}"),
                }
            }
            (Ok(None), Fate::Free) => {}
            (Err(error), fate) => {
                assert_eq!(error.certainty(), Certainty::Unknown, "{error}");
                let troubled = self.disk.is_off() || self.errors || *fate == Fate::InDoubt;
                assert!(troubled, "{error}");
            }
            (found, fate) => panic!("{found:?} and {fate:?}"),
        }
    }
}
