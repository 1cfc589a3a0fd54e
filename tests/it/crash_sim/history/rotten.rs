//! Damage to a ledger that nobody has open, and what may be said of it afterwards: an error, or what was
//! there. Never silence.

use order_ledger::disk::sim::{Crash, CrashMode};
use order_ledger::{Event, Order, OrderId, Reader, Result, verify_on};

use super::History;
use crate::crash_sim::known::Fate;
use crate::crash_sim::plan::Rot;
use crate::crash_sim::steps::Told;
use crate::rig::Random;

impl History<'_> {
    /// A durable file, by its number, that is not empty.
    pub(super) fn file(&self, number: u64) -> Option<(String, u64)> {
        let mut files = self.disk.files();
        files.retain(|(_, bytes)| *bytes > 0);
        let index = usize::try_from(number.checked_rem(files.len() as u64)?).unwrap();
        files.into_iter().nth(index)
    }

    pub(super) fn rot(&mut self, rot: Rot) {
        let (Rot::Flip(file, at)
        | Rot::Zeros(file, at)
        | Rot::Garbage(file, at)
        | Rot::Unreadable(file, at)) = rot;
        let Some((path, bytes)) = self.file(file) else { return };
        self.rotted.push(path.clone());
        let sector = at % bytes / 512 * 512;
        let length = usize::try_from((bytes - sector).min(512)).unwrap();
        let done = match rot {
            Rot::Flip(..) => self.disk.flip_bit(&path, at % (bytes * 8)),
            Rot::Zeros(..) => self.disk.overwrite(&path, sector, &vec![0; length]),
            Rot::Garbage(..) => self.disk.overwrite(&path, sector, &Random::new(at).bytes(length)),
            Rot::Unreadable(..) => self.disk.fail_reads(&path, sector..sector + 512),
        };
        done.unwrap();
    }

    /// A ledger that was closed cleanly and rotted, or whose disk lied: an error, or what was there.
    pub(super) fn finish_rotten(&mut self) {
        if self.ledger.is_some() || self.armed || self.full || self.disk.is_off() {
            // A smaller plan than the one that was made up: it proves nothing of this.
            return;
        }
        // What the cache still shows is gone.
        self.disk.crash(Crash::new(CrashMode::DropAll, 0));
        if self.is_robbed_of_its_witness() {
            return self.finish_robbed();
        }
        let reader = Reader::open_on(self.disk.as_disk(), &self.host);
        if let Ok(reader) = &reader {
            let by_key = |client: &[u8], key: &[u8]| reader.by_key(client, key);
            self.compare(reader.orders(), by_key, |order| reader.history(order));
        }
        let before = (self.disk.digest("wal"), self.disk.digest("LEDGER"));
        let opened = self.options.open_simulated(self.disk.as_disk(), self.host.as_host());
        match opened {
            Ok(ledger) => {
                let by_key = |client: &[u8], key: &[u8]| ledger.by_key(client, key);
                let whole = self.compare(ledger.orders(), by_key, |order| ledger.history(order));
                self.figures.rotten_harmless += u64::from(whole);
                self.figures.rotten_partly += u64::from(!whole);
                self.figures.runs_rebuilt += ledger.recovery_report().tables_rebuilt;
                self.disk.kill();
            }
            Err(_) => {
                self.figures.rotten_refused += 1;
                self.disk.crash(Crash::new(CrashMode::KeepAll, 0));
                let after = (self.disk.digest("wal"), self.disk.digest("LEDGER"));
                assert!(before == after, "a refusal changed a byte");
            }
        }
    }

    /// Damage to the log and to its witness in one ledger: each alone is noticed, both together are the
    /// limit that EVIDENCE.md states, when the segment had no room for a seal.
    ///
    /// One lying write may do both: that of the witness, which is lost there and lies in the log instead (seed
    /// 39729).
    fn is_robbed_of_its_witness(&self) -> bool {
        const WITNESS: &str = "derived/tables/MANIFEST";
        let is_witness_damaged = || {
            let report = verify_on(self.disk.as_disk(), &self.host, &mut |_, _| {});
            report.is_ok_and(|it| it.findings.iter().any(|found| found.place.file == WITNESS))
        };
        self.rotted.iter().any(|path| path.starts_with("wal/"))
            && (self.rotted.iter().any(|path| path == WITNESS) || is_witness_damaged())
    }

    /// Even then a group that is cut is reported; without a cut everything is there, or refused.
    fn finish_robbed(&mut self) {
        match self.options.open_simulated(self.disk.as_disk(), self.host.as_host()) {
            Ok(ledger) => {
                if ledger.recovery_report().torn_bytes == 0 {
                    let by_key = |client: &[u8], key: &[u8]| ledger.by_key(client, key);
                    self.compare(ledger.orders(), by_key, |order| ledger.history(order));
                }
                self.figures.rotten_partly += 1;
                self.disk.kill();
            }
            Err(_) => self.figures.rotten_refused += 1,
        }
    }

    /// Holds what a rotten ledger says against what is owed; answers whether it is all there.
    fn compare(
        &self,
        orders: impl Iterator<Item = Result<Order>>,
        by_key: impl Fn(&[u8], &[u8]) -> Result<Option<Order>>,
        history: impl Fn(OrderId) -> Result<Vec<Event>>,
    ) -> bool {
        let mut whole = true;
        let mut seen = 0;
        for order in orders {
            let Ok(order) = order else {
                whole = false;
                break;
            };
            seen += 1;
            let mut owed = self.book.known.iter();
            let known = owed.find(|known| known.submission.key() == order.key).unwrap();
            let (Fate::Acknowledged(receipt) | Fate::Refused(receipt, _)) = &known.fate else {
                panic!("{order:?} is there, and was {:?}", known.fate);
            };
            assert_eq!(order.receipt, *receipt);
            assert!(order.payload == known.submission.payload(), "other bytes");
            match history(order.id()) {
                Ok(history) => {
                    let (told, mut track) = (Told { order, history }, known.track.clone());
                    track.shown(&told.steps(), false, false, Vec::new());
                    track.notes.shown(&told.notes(), false, false, None);
                }
                Err(_) => whole = false,
            }
        }
        let is_owed = |fate: &Fate| matches!(fate, Fate::Acknowledged(_) | Fate::Refused(..));
        let owed = self.book.known.iter().filter(|known| is_owed(&known.fate)).count();
        assert!(!whole || seen == owed, "silently {seen} of {owed}");
        for known in &self.book.known {
            match by_key(known.submission.client(), known.submission.key()) {
                Ok(Some(order)) => {
                    assert!(is_owed(&known.fate) && order.payload == known.submission.payload());
                }
                Ok(None) => assert!(!is_owed(&known.fate), "silently gone: {known:?}"),
                Err(_) => whole = false,
            }
        }
        whole
    }
}
