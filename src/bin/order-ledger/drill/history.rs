//! One history on a simulated disk: the real code writes, the power goes off, and again while it opens.
//!
//! Always true: everything follows from the seed and the content; the simulated disk has one process and
//! no threads, so a call is a call of the code under test and of nobody else.

use std::time::Duration;

use order_ledger::disk::sim::{Crash, CrashMode, CrashReport, SimDisk, SimHost};
use order_ledger::{
    Certainty, ErrorKind, GroupPadding, Ledger, Options, Outcome, Receipt, Submission, Views,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::content::{CLIENT, Content};
use super::cuts::CutsFound;

/// Cuts in a row of one opening.
const NESTED_MAX: u32 = 3;
/// Calls of the disk before the power goes off, at most: while opening, and in a life. Openings and lives
/// that end before are cut off idle, which happens as well.
const CALLS_OPENING_MAX: u64 = 70;
const CALLS_LIFE_MAX: u64 = 300;
const STEPS_MAX: u32 = 40;

/// What the caller of one order knows.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) key: String,
    pub(crate) fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// Told, or certain, that nothing is recorded.
    Free,
    Acknowledged(Receipt),
    /// In the group that the last cut fell into.
    InDoubt,
}

/// A history and how it stands.
pub(crate) struct History<'a> {
    pub(crate) disk: SimDisk,
    pub(crate) known: Vec<Known>,
    /// What was wrong before the last cut.
    pub(crate) complaints: Vec<String>,
    host: SimHost,
    random: StdRng,
    content: &'a Content,
    options: Options,
    garbage: bool,
    seed: u32,
    found: CutsFound,
}

impl<'a> History<'a> {
    pub(crate) fn run(seed: u32, segment_mib: Option<u64>, content: &'a Content) -> History<'a> {
        let mut random = StdRng::seed_from_u64(seed.into());
        let padding = match random.random_ratio(1, 4) {
            true => GroupPadding::Block,
            false => GroupPadding::PowerSafeOverwrite,
        };
        let segment_bytes = match segment_mib {
            Some(mib) => mib.saturating_mul(1024 * 1024),
            None => (16 * 1024) << random.random_range(0..=6),
        };
        let options = Options::new()
            .segment_bytes(segment_bytes)
            .group_padding(padding)
            .disk_reserve_bytes(0)
            .disk_free_min_bytes(0)
            .views(Views::Off);
        let mut history = History {
            disk: SimDisk::new(random.random()),
            host: SimHost::new(random.random()),
            known: Vec::new(),
            complaints: Vec::new(),
            // A device that damages the sectors around a write is only survived by padding.
            garbage: padding == GroupPadding::Block && random.random(),
            random,
            content,
            options,
            seed,
            found: CutsFound::default(),
        };
        for _ in 0..history.random.random_range(1..=3u32) {
            history.opening_cut_off();
            if !history.life() {
                break;
            }
        }
        // Some end with cuts while opening: then recovery is what is recovered from.
        history.opening_cut_off();
        history
    }

    /// Adds what was done to the counts of the drill.
    pub(crate) fn count(&self, found: &mut CutsFound) {
        let CutsFound {
            cuts,
            while_opening,
            while_writing,
            while_idle,
            three_in_a_row,
            sectors_lost,
            sectors_torn,
            names_lost,
            ..
        } = self.found;
        found.cuts += cuts;
        found.while_opening += while_opening;
        found.while_writing += while_writing;
        found.while_idle += while_idle;
        found.three_in_a_row += three_in_a_row;
        found.sectors_lost += sectors_lost;
        found.sectors_torn += sectors_torn;
        found.names_lost += names_lost;
        let acknowledged = |known: &&Known| matches!(known.fate, Fate::Acknowledged(_));
        found.acknowledged += self.known.iter().filter(acknowledged).count() as u64;
    }

    fn cut(&mut self) {
        let modes = [
            CrashMode::DropAll,
            CrashMode::KeepAll,
            CrashMode::Prefix,
            CrashMode::Random,
            CrashMode::Random,
            CrashMode::Adversarial,
            CrashMode::Ext4Like,
            CrashMode::Subset(self.random.random()),
        ];
        let mode = modes.get(self.random.random_range(0..modes.len()));
        let crash = Crash::new(mode.copied().unwrap_or(CrashMode::Random), self.random.random());
        let crash = if self.garbage { crash.with_garbage() } else { crash };
        let CrashReport { sectors_dropped, sectors_torn, names_dropped, .. } =
            self.disk.crash(crash);
        self.found.cuts += 1;
        self.found.sectors_lost += sectors_dropped;
        self.found.sectors_torn += sectors_torn;
        self.found.names_lost += names_dropped;
    }

    fn open(&self) -> order_ledger::Result<Ledger> {
        self.options.open_simulated(self.disk.as_disk(), self.host.as_host())
    }

    /// Opens up to three times, and every time the power goes off.
    fn opening_cut_off(&mut self) {
        let times = match self.random.random_ratio(1, 2) {
            true => self.random.random_range(1..=NESTED_MAX),
            false => 0,
        };
        let mut in_a_row = 0;
        for _ in 0..times {
            self.disk.power_off_after(self.random.random_range(1..=CALLS_OPENING_MAX));
            match self.open() {
                // Open before the power went: that life is over as well.
                Ok(ledger) => {
                    self.settle(&ledger);
                    self.disk.power_off_after(0);
                    drop(ledger);
                    self.found.while_idle += 1;
                }
                Err(error) => {
                    if !self.disk.is_off() {
                        self.complaints.push(format!("opening refused after a cut: {error}"));
                    }
                    self.found.while_opening += 1;
                    in_a_row += 1;
                }
            }
            self.cut();
        }
        self.found.three_in_a_row += u64::from(in_a_row == NESTED_MAX);
    }

    /// What was in doubt is resolved by opening: the ledger says whether it is there.
    fn settle(&mut self, ledger: &Ledger) {
        for index in 0..self.known.len() {
            let Some(Known { key, fate }) = self.known.get(index) else { continue };
            let now = match (fate, ledger.by_key(CLIENT, key)) {
                (_, Err(_)) if self.disk.is_off() => continue,
                (Fate::InDoubt, Ok(Some(order))) => Fate::Acknowledged(order.receipt),
                (Fate::InDoubt, Ok(None)) => Fate::Free,
                (Fate::Acknowledged(receipt), Ok(Some(order))) if order.receipt == *receipt => {
                    continue;
                }
                (Fate::Free, Ok(None)) => continue,
                (_, Err(error)) => {
                    self.complaints.push(format!("{key} can't be looked up: {error}"));
                    continue;
                }
                (Fate::Acknowledged(_), Ok(found)) => {
                    let what = found.map_or("gone", |_| "not as it was");
                    self.complaints.push(format!("{key}: acknowledged, and after a cut {what}"));
                    continue;
                }
                (Fate::Free, Ok(Some(_))) => {
                    self.complaints.push(format!("{key}: told not to be recorded, and there"));
                    continue;
                }
            };
            if let Some(known) = self.known.get_mut(index) {
                known.fate = now;
            }
        }
    }

    /// Opens and writes until the power goes off. False when opening refused: nothing more to do then.
    fn life(&mut self) -> bool {
        let ledger = match self.open() {
            Ok(ledger) => ledger,
            Err(error) => {
                self.complaints.push(format!("opening refused after a cut: {error}"));
                return false;
            }
        };
        self.settle(&ledger);
        self.disk.power_off_after(self.random.random_range(1..=CALLS_LIFE_MAX));
        for _ in 0..self.random.random_range(1..=STEPS_MAX) {
            if self.disk.is_off() {
                break;
            }
            self.step(&ledger);
        }
        match self.disk.is_off() {
            true => self.found.while_writing += 1,
            false => {
                self.found.while_idle += 1;
                self.disk.power_off_after(0);
            }
        }
        drop(ledger);
        self.cut();
        true
    }

    fn step(&mut self, ledger: &Ledger) {
        match self.random.random_range(0..10u32) {
            0..=3 => self.submit(ledger, 1),
            4..=5 => {
                let orders = self.random.random_range(2..=20);
                self.submit(ledger, orders);
            }
            6..=7 => self.submit_deferred(ledger),
            8 => self.replay(ledger),
            // Nothing to do for a while: the last group is sealed.
            _ => {
                self.host.advance(Duration::from_secs(1));
                ledger.tick();
            }
        }
    }

    /// Keys that were never used, or are known not to be recorded, and their orders.
    fn keys(&mut self, count: usize) -> Vec<(usize, Submission)> {
        let mut keys = Vec::with_capacity(count);
        for _ in 0..count {
            let index = self.known.len();
            let key = format!("cut-{}-{index}", self.seed);
            keys.push((index, self.content.submission(&key)));
            self.known.push(Known { key, fate: Fate::Free });
        }
        keys
    }

    fn submit(&mut self, ledger: &Ledger, count: usize) {
        let keys = self.keys(count);
        let orders: Vec<_> = keys.iter().map(|(_, order)| order.clone()).collect();
        for ((index, _), result) in keys.iter().zip(ledger.submit_many(&orders)) {
            self.answered(*index, result);
        }
    }

    fn submit_deferred(&mut self, ledger: &Ledger) {
        let count = self.random.random_range(1..=30);
        let keys = self.keys(count);
        let tickets: Vec<_> =
            keys.iter().map(|(index, order)| (*index, ledger.submit_deferred(order))).collect();
        ledger.pump();
        for (index, mut ticket) in tickets {
            let result = ticket.wait(None);
            self.answered(index, result);
        }
    }

    /// A key of before: the answer is the one of before.
    fn replay(&mut self, ledger: &Ledger) {
        if self.known.is_empty() {
            return;
        }
        let index = self.random.random_range(0..self.known.len());
        let Some(known) = self.known.get(index) else { return };
        let order = self.content.submission(&known.key);
        let result = ledger.submit(&order);
        self.answered(index, result);
    }

    /// Takes in what the caller of an order was told.
    fn answered(&mut self, index: usize, result: order_ledger::Result<Outcome>) {
        let is_off = self.disk.is_off();
        let Some(known) = self.known.get_mut(index) else { return };
        let complaint = match (known.fate, result) {
            (Fate::Acknowledged(before), Ok(outcome)) if before != outcome.receipt => {
                "another receipt when submitted again".into()
            }
            (_, Ok(outcome)) => {
                known.fate = Fate::Acknowledged(outcome.receipt);
                return;
            }
            (Fate::Free, Err(error)) if matches!(error.kind(), ErrorKind::InDoubt { .. }) => {
                known.fate = Fate::InDoubt;
                return;
            }
            (fate, Err(error)) => match (fate, error.certainty()) {
                (Fate::Acknowledged(_), Certainty::NotRecorded) => {
                    format!("acknowledged, and then: {error}")
                }
                _ if is_off => return,
                _ => format!("refused with the power on: {error}"),
            },
        };
        self.complaints.push(format!("{}: {complaint}", known.key));
    }
}
