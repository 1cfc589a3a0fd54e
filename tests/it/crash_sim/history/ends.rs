//! Ends of a life: a power cut, a kill, a close; and the end of the history.

use order_ledger::disk::sim::{Crash, SimDisk};
use order_ledger::{Ledger, Seq};

use super::super::known::Fate;
use super::super::plan::ALL;
use super::History;

/// How many keys that nobody used are looked for at the end.
const ABSENT_KEYS: u64 = 20;

impl History<'_> {
    pub(super) fn cut_power(&mut self, crash: Crash) {
        self.take_what_was_answered();
        self.disk.clear_faults();
        self.beside.end_follower();
        let report = self.disk.crash(crash);
        self.figures.power_cuts += 1;
        self.figures.sectors_dropped += report.sectors_dropped;
        self.figures.sectors_torn += report.sectors_torn;
        self.figures.sectors_garbage += report.sectors_garbage;
        self.figures.sectors_stale += report.sectors_stale;
        self.figures.extents_dropped += report.extents_dropped;
        self.figures.names_dropped += report.names_dropped;
        self.may_lose |= self.plan.setup.relaxed;
        self.tore_oddly |= report.sectors_garbage + report.sectors_stale > 0;
        self.end_life();
    }

    pub(super) fn kill(&mut self) {
        self.take_what_was_answered();
        self.disk.clear_faults();
        if self.beside.has_follower() && !self.disk.is_off() {
            // What it has open stays so.
            self.figures.kills_beside_follower += 1;
            self.beside.kill_writer();
        } else {
            self.beside.end_follower();
            self.disk.kill();
        }
        self.figures.kills += 1;
        self.end_life();
    }

    pub(super) fn end_life(&mut self) {
        // A failed sync loses what a power cut loses.
        self.may_lose |= self.plan.setup.relaxed && self.armed;
        self.beside.call_off();
        *self.beside.ledger.lock().unwrap() = None;
        self.tickets.clear();
        (self.worker, self.outbox) = (None, None);
        self.delivered.clear();
        self.book.life_has_ended();
        self.ledger = None;
        self.armed = false;
        self.hits_before = self.disk.faults_hit();
    }

    pub(super) fn close(&mut self, ledger: Ledger) {
        (self.worker, self.outbox) = (None, None);
        self.delivered.clear();
        let poisoned = ledger.poisoned().is_some();
        let hits = self.hits_before;
        let closed = ledger.clone().close();
        // Deferred orders were written by closing.
        self.settle(&ledger, Vec::new());
        drop(ledger);
        if let Err(error) = closed {
            let faulted = self.disk.is_off() || self.disk.faults_hit() > hits;
            assert!(poisoned || faulted, "{error}");
        }
        self.beside.call_off();
        *self.beside.ledger.lock().unwrap() = None;
        self.ledger = None;
        if !self.disk.is_off() {
            self.disk.clear_faults();
            let handles = self.disk.open_handles();
            assert!(handles == 0 || self.beside.has_follower(), "handles are left");
            self.end_life();
        }
    }

    /// Once more, and once again: the log and the identity have the same bytes.
    pub(super) fn finish(&mut self) {
        self.kill();
        if self.beside.has_follower() {
            self.follow(ALL);
            self.beside.end_follower();
        }
        self.disk.set_capacity(1 << 40);
        self.open();
        if self.book.followed.next() > Seq::FIRST {
            self.follow(ALL);
            self.beside.end_follower();
        }
        let ledger = self.ledger.take().expect("nothing is in the way");
        let acknowledged = |fate: &Fate| matches!(fate, Fate::Acknowledged(_));
        self.figures.acknowledged +=
            self.book.known.iter().filter(|known| acknowledged(&known.fate)).count() as u64;
        self.figures.segments += ledger.stats().unwrap().segments;
        for number in 0..ABSENT_KEYS {
            let absent = format!("absent-{}", self.random.next() ^ number);
            assert_eq!(ledger.by_key("web", absent).unwrap(), None);
        }
        self.finish_posts(&ledger);
        ledger.close().unwrap();
        self.end_life();
        assert_eq!(self.disk.open_handles(), 0, "handles are left");
        let log = |disk: &SimDisk| (disk.digest("wal/0"), disk.digest("LEDGER"));
        let before = log(&self.disk);
        let ledger = self.options.open_simulated(self.disk.as_disk(), self.host.as_host()).unwrap();
        assert_eq!(ledger.recovery_report().torn_bytes, 0);
        self.disk.kill();
        self.verify("at the end");
        drop(ledger);
        assert!(before == log(&self.disk), "opening again changed the log");
    }
}
