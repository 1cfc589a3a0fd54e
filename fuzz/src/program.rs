//! A ledger on the simulated disk that lives through operations, kills, power cuts, failing calls and
//! full disks, against the model. Several orders are under way at a time (deferred, and waited for in any
//! order), with everything else in between; crashes also hit recovery itself, up to three deep.
//!
//! Oracle, at every step: the model; opening never refuses after what is not rot; a ledger that writes on
//! has made durable all that it wrote, a poisoned one writes nothing more and takes nothing new, and none
//! is poisoned without a failure ([`Watch`]); all that it shows is what the disk holds, and not what the
//! page cache shows ([`Run::compare_with_disk`]).

pub mod desk;
pub mod noting;
pub mod ops;
pub mod telling;
pub mod watching;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use order_ledger::disk::sim::{Crash, CrashMode, Fault, SimDisk, SimHost};
use order_ledger::{
    AlertEvent, ErrorKind, GroupPadding, Ledger, Options, OrderId, Outbox, Reader, Ticket,
    Transitioned, WatchOptions,
};

use self::desk::Worker;
use self::ops::{Basic, Cut, Error, Mode, Op, Setting, Stepping, Submit, key};
use crate::format;
use crate::ledgers::segments;
use crate::lives::{Move, Told, Wish};
use crate::model::alerts::REMIND_NS;
use crate::model::outbox::World;
use crate::model::{Content, Key, Model, Scope, Small, stuck};
use crate::shown::Shown;
use crate::watch::Watch;
use crate::{SEGMENT_BYTES, small};

/// Within how many calls of the disk another power cut hits the recovery: a later one would mostly miss it.
const RECOVERY_CALLS: u8 = 64;

/// A step that an order is asked to take.
type Step = (Key, Wish, OrderId);

/// One program as it runs.
pub struct Run {
    options: Options,
    disk: SimDisk,
    host: SimHost,
    padded: bool,
    model: Model,
    ledger: Option<Ledger>,
    /// What the open ledger does to the disk.
    watch: Watch,
    tickets: Vec<(Key, Small, Ticket)>,
    workers: Vec<Worker>,
    /// Keeps the ledger open, and goes before it.
    outbox: Option<Outbox>,
    world: World,
    /// What the ledger told of alerts, since somebody looked.
    told: Arc<Mutex<Vec<AlertEvent>>>,
    /// Errors are scheduled: calls may fail for them.
    armed: bool,
    full: bool,
    /// The latest that it ever was, by the wall.
    latest_ns: u64,
    /// What becomes of the disk when the power goes off under a call.
    next_cut: Cut,
}

impl Run {
    pub fn new(setting: &Setting) -> Run {
        let padding = match setting.padded {
            true => GroupPadding::Block,
            false => GroupPadding::PowerSafeOverwrite,
        };
        let segment_bytes = SEGMENT_BYTES + u64::from(setting.segment % 8) * 4096;
        let disk = SimDisk::new(u64::from(setting.seed));
        let told: Arc<Mutex<Vec<AlertEvent>>> = Arc::default();
        let hears = Arc::clone(&told);
        let watch = WatchOptions::new()
            .disk_warn_bytes(0)
            .remind_every(Duration::from_nanos(REMIND_NS))
            .on_alert(move |event| hears.lock().expect("nobody panics").push(event.clone()));
        let host = SimHost::new(u64::from(setting.seed));
        let world = World::new(&disk, &host);
        let mut run = Run {
            options: small()
                .segment_bytes(segment_bytes)
                .group_padding(padding)
                .lifecycle(stuck::lifecycle())
                .watch(watch),
            told,
            watch: Watch::new(disk.as_disk()),
            disk,
            host,
            padded: setting.padded,
            model: Model::default(),
            ledger: None,
            tickets: Vec::new(),
            workers: Vec::new(),
            outbox: None,
            world,
            armed: false,
            full: false,
            latest_ns: 0,
            next_cut: Cut { mode: Mode::Random, seed: 1, again: [0; 3] },
        };
        // The lifecycle is not the default one, and so it is a record.
        run.model.cursors.wrote();
        run.open();
        run
    }

    /// Does one operation, and holds against the rules what came of it.
    pub fn step(&mut self, op: &Op) {
        let watch = self.watch.clone();
        let writes_before = self.is_poisoned().then(|| watch.log_writes());
        self.operate(op);
        if let Some(before) = writes_before {
            assert_eq!(watch.log_writes(), before, "a poisoned ledger wrote to its log");
        }
        self.check_poison();
        if self.disk.is_off() {
            self.cut(self.next_cut);
        }
    }

    fn is_poisoned(&self) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| ledger.poisoned().is_some())
    }

    /// Poisoned, if and only if something has failed that an acknowledgement would have rested on.
    fn check_poison(&self) {
        let Some(ledger) = &self.ledger else { return };
        match ledger.poisoned() {
            Some(why) => assert!(
                self.watch.failures() > 0 || self.disk.is_off(),
                "poisoned, and nothing has failed: {why}"
            ),
            None => {
                let doubt = self.watch.doubt();
                assert!(doubt.is_none() || self.disk.is_off(), "not poisoned: {doubt:?}");
            }
        }
    }

    /// Schedules an error of a later call.
    pub fn fail(&mut self, calls: u8, error: Error) {
        self.armed = true;
        self.disk.fail_call(u64::from(calls), error.fault());
    }

    /// Schedules an error of all later calls.
    pub fn fail_from(&mut self, calls: u8, error: Error) {
        self.armed = true;
        // A call that is interrupted for ever never returns, here as there.
        let endless = matches!(error, Error::Interrupted);
        let fault = if endless { Fault::Eio } else { error.fault() };
        self.disk.fail_from(u64::from(calls), fault);
    }

    /// The process is killed; another one finds what the page cache shows.
    pub fn kill(&mut self) {
        self.disk.kill();
        self.died();
        self.open();
    }

    /// Puts an end to everything: what is there now stays.
    pub fn end(&mut self) {
        self.cut(Cut { mode: Mode::DropAll, seed: 0, again: [0; 3] });
        self.heal();
        // A second open finds the same.
        self.reopen();
        self.compare_with_disk();
    }

    fn operate(&mut self, op: &Op) {
        let Some(ledger) = self.ledger.clone() else { return self.open() };
        match op {
            Op::Basic(basic) => self.basic(ledger, basic),
            Op::Step(step) => self.take_steps(&ledger, step),
            Op::Desk(desk) => self.at_desk(&ledger, desk),
            Op::Watch(watching) => self.at_watch(&ledger, watching),
            Op::Note(noting) => self.at_notes(&ledger, noting),
            Op::Tell(telling) => self.at_outbox(&ledger, telling),
        }
    }

    fn basic(&mut self, ledger: Ledger, op: &Basic) {
        match op {
            Basic::Submit(submit) => {
                let (key, content) = (submit.key(), submit.content());
                let poisoned = ledger.poisoned().is_some();
                self.model.begin(key, content);
                let answer = ledger.submit(&content.submission(key));
                self.model.end(key, content, &answer, poisoned);
            }
            Basic::SubmitMany(submits) => {
                let batch: Vec<_> = submits.iter().take(32).collect();
                let orders: Vec<_> =
                    batch.iter().map(|submit| submit.content().submission(submit.key())).collect();
                let poisoned = ledger.poisoned().is_some();
                for submit in &batch {
                    self.model.begin(submit.key(), submit.content());
                }
                let answers = ledger.submit_many(&orders);
                assert_eq!(answers.len(), batch.len());
                for (submit, answer) in batch.iter().zip(&answers) {
                    self.model.end(submit.key(), submit.content(), answer, poisoned);
                }
            }
            Basic::Defer(submit) => {
                let (key, content) = (submit.key(), submit.content());
                self.model.begin(key, content);
                let ticket = ledger.submit_deferred(&content.submission(key));
                self.tickets.push((key, content, ticket));
            }
            Basic::Wait(index) => {
                if let Some((key, content, mut ticket)) = self.take_ticket(*index) {
                    let answer = ticket.wait(None);
                    self.model.end_deferred(key, content, &answer);
                }
            }
            Basic::Forget(index) => {
                if let Some((key, content, _)) = self.take_ticket(*index) {
                    self.model.abandon(key, content);
                }
            }
            Basic::Pump => ledger.pump(),
            Basic::Tick => ledger.tick(),
            Basic::Read(byte) => {
                let key = key(*byte);
                let Scope { client, key: name } = Small::scope(key);
                let found = ledger.by_key(client, name).and_then(|order| {
                    order.map(|order| Told::of(order, |id| ledger.history(id))).transpose()
                });
                match found {
                    Ok(told) => {
                        let lags = ledger.poisoned().is_some();
                        self.model.read(key, told.as_ref(), lags);
                    }
                    // A key in doubt is neither there nor free before the ledger is opened again.
                    Err(error) if matches!(error.kind(), ErrorKind::InDoubt { .. }) => {
                        assert!(ledger.poisoned().is_some(), "{error}");
                        self.model.read_in_doubt(key);
                    }
                    Err(error) => {
                        assert!(self.armed || self.disk.is_off(), "a read failed: {error}")
                    }
                }
            }
            Basic::ReadAll => {
                if let Ok(shown) = Shown::by(&ledger) {
                    self.model.read_all(&shown, ledger.poisoned().is_some(), false);
                    self.compare_with_disk();
                } else {
                    assert!(self.armed || self.disk.is_off(), "reading all failed");
                }
            }
            Basic::Reader => self.look(),
            Basic::Advance(ms) => self.host.advance(Duration::from_millis(u64::from(*ms))),
            Basic::SetClock(hours) => {
                let start: i128 = 1_767_225_600_000_000_000;
                let wall = start + i128::from(*hours) * 3_600_000_000_000;
                self.now_ns();
                self.host.set_wall_ns(wall as u64);
            }
            Basic::CloseAndOpen => {
                drop(ledger);
                self.reopen();
            }
            Basic::Kill => self.kill(),
            Basic::Cut(cut) => {
                drop(ledger);
                self.cut(*cut);
            }
            Basic::PowerOffAfter(calls, cut) => {
                self.next_cut = *cut;
                self.disk.power_off_after(u64::from(*calls));
            }
            Basic::Fail(calls, error) => self.fail(*calls, *error),
            Basic::FailFrom(calls, error) => self.fail_from(*calls, *error),
            Basic::Fill(sectors) => {
                self.full = true;
                let held: u64 = self.disk.files().iter().map(|(_, bytes)| bytes).sum();
                self.disk.set_capacity(held + u64::from(*sectors) * 512);
            }
            Basic::MakeRoom => self.make_room(),
            Basic::OpenTwice => {
                let again = self.options.open_simulated(self.disk.as_disk(), self.host.as_host());
                let error = again.expect_err("a ledger has one writer");
                let locked = matches!(error.kind(), ErrorKind::Locked { .. });
                assert!(locked || self.armed || self.disk.is_off(), "{error}");
            }
        }
    }

    fn take_steps(&mut self, ledger: &Ledger, step: &Stepping) {
        match step {
            Stepping::Move(asked) => {
                if let Some(step) = self.wish(*asked) {
                    let answer = |step: &Step| vec![ledger.transition(&step.1.transition(step.2))];
                    self.ask(ledger, &[step], |steps| steps.iter().flat_map(answer).collect());
                }
            }
            Stepping::MoveMany(moves) => {
                let steps: Vec<_> =
                    moves.iter().take(32).filter_map(|asked| self.wish(*asked)).collect();
                self.ask(ledger, &steps, |steps| {
                    let batch: Vec<_> =
                        steps.iter().map(|(_, wish, order)| wish.transition(*order)).collect();
                    ledger.transition_many(&batch)
                });
            }
            Stepping::Cancel(byte) => {
                let key = key(*byte);
                if let Some((order, wish)) = self.model.cancel(key) {
                    let off = |_: &[Step]| vec![ledger.cancel(order, "off")];
                    self.ask(ledger, &[(key, wish, order)], off);
                }
            }
        }
    }

    fn wish(&self, asked: Move) -> Option<Step> {
        let key = key(asked.key);
        self.model.wish(key, asked).map(|(order, wish)| (key, wish, order))
    }

    /// Has orders take steps, and holds the answers against the model.
    fn ask(
        &mut self,
        ledger: &Ledger,
        steps: &[Step],
        call: impl FnOnce(&[Step]) -> Vec<order_ledger::Result<Transitioned>>,
    ) {
        let poisoned = ledger.poisoned().is_some();
        let answers = call(steps);
        assert_eq!(answers.len(), steps.len());
        for ((key, wish, _), answer) in steps.iter().zip(&answers) {
            self.model.end_move(*key, wish, answer, poisoned);
        }
    }

    fn take_ticket(&mut self, index: u8) -> Option<(Key, Small, Ticket)> {
        let count = self.tickets.len();
        (count > 0).then(|| self.tickets.swap_remove(usize::from(index) % count))
    }

    /// A look from another process. It syncs, so it must not be the one that a scheduled error hits: the
    /// simulated sync error is told to one caller only.
    fn look(&mut self) {
        if self.armed || self.disk.is_off() {
            return;
        }
        let before = self.disk.files();
        let from_ns = self.now_ns();
        match Reader::open_on(self.disk.as_disk(), &self.host) {
            Ok(reader) => match Shown::by(&reader) {
                Ok(shown) => {
                    self.model.read_all(&shown, false, false);
                    self.stuck_by_reader(&reader, &shown, from_ns);
                }
                Err(_) if self.disk.is_off() => {}
                Err(error) => panic!("a reader can't read what it found: {error}"),
            },
            Err(_) if self.disk.is_off() => {}
            Err(error) => panic!("a reader beside the writer was refused: {error}"),
        }
        let names = |files: &[(String, u64)]| -> Vec<String> {
            files.iter().map(|(path, _)| path.clone()).collect()
        };
        let after = self.disk.files();
        assert!(
            names(&before).iter().all(|name| names(&after).contains(name)),
            "a reader removed files"
        );
    }

    /// All that the ledger shows is durable, and all of it that is durable is shown: a power cut that
    /// drops what was not synced leaves the same orders, read by another process on a copy of the disk.
    pub fn compare_with_disk(&self) {
        let Some(ledger) = &self.ledger else { return };
        let Ok(shown) = Shown::by(ledger) else { return };
        let copy = SimDisk::new(0);
        copy.restore(&self.disk.snapshot());
        copy.crash(Crash::new(CrashMode::DropAll, 0));
        copy.clear_faults();
        let reader = Reader::open_on(copy.as_disk(), &self.host).expect("what was synced is sound");
        let held = Shown::by(&reader).expect("it is sound");
        // What a failed call wrote may have become durable: that is what doubt is about.
        let in_doubt = ledger.poisoned().is_some() && shown.goes_on_as(&held);
        assert!(
            shown == held || in_doubt,
            "{} records are shown, the disk holds {}: {:?}",
            shown.records,
            held.records,
            ledger.poisoned()
        );
    }

    pub fn reopen(&mut self) {
        let tickets = std::mem::take(&mut self.tickets);
        self.workers.clear();
        self.outbox = None;
        if let Some(ledger) = self.ledger.take() {
            let healthy = !self.armed && !self.full && !self.disk.is_off();
            let poisoned = ledger.poisoned().is_some();
            let closed = ledger.close();
            let excused = poisoned || !healthy || self.disk.is_off();
            assert!(closed.is_ok() || excused, "closing failed: {closed:?}");
        }
        for (key, content, mut ticket) in tickets {
            // Closing has written it, or it never will be.
            let answer = ticket.wait(None);
            self.model.end_deferred(key, content, &answer);
        }
        self.open();
    }

    /// The process is gone, and with it every answer that was still to come.
    fn died(&mut self) {
        self.workers.clear();
        self.outbox = None;
        self.ledger = None;
        for (key, content, _) in std::mem::take(&mut self.tickets) {
            self.model.abandon(key, content);
        }
    }

    pub fn cut(&mut self, cut: Cut) {
        let mut again = cut.again.into_iter();
        loop {
            let mode = match cut.mode {
                Mode::DropAll => CrashMode::DropAll,
                Mode::KeepAll => CrashMode::KeepAll,
                Mode::Prefix => CrashMode::Prefix,
                Mode::Random => CrashMode::Random,
                Mode::Adversarial => CrashMode::Adversarial,
                Mode::Ext4Like => CrashMode::Ext4Like,
            };
            let mut crash = Crash::new(mode, u64::from(cut.seed));
            // Garbage outside the write is only survived by padded groups: that is what they are for.
            crash.garbage = self.padded && cut.seed.is_multiple_of(4);
            self.disk.crash(crash);
            self.died();
            match again.next().filter(|calls| *calls > 0) {
                Some(calls) => {
                    self.disk.power_off_after(u64::from(calls % RECOVERY_CALLS));
                    self.open();
                    if !self.disk.is_off() {
                        // Recovery was quicker than the cut, which may come later.
                        return;
                    }
                }
                None => return self.open(),
            }
        }
    }

    pub fn heal(&mut self) {
        self.disk.clear_faults();
        self.armed = false;
        self.make_room();
        if self.ledger.is_none() {
            self.open();
        }
    }

    /// The device says that it has made a write durable, and has not; other orders follow, and the ledger
    /// is closed, so that everything before the last group is proven. Nothing of that may be missing
    /// without a word: the opening is refused, or a read says what it can't read, or all is there (the
    /// block was written again with the next group).
    pub fn lie(&mut self, nth: u8, orders: &[Submit]) {
        self.workers.clear();
        self.outbox = None;
        let Some(ledger) = self.ledger.take() else { return };
        self.disk.lose_write(1 + u64::from(nth % 8));
        for submit in orders.iter().take(16) {
            let (key, content) = (submit.key(), submit.content());
            self.model.begin(key, content);
            let answer = ledger.submit(&content.submission(key));
            self.model.end(key, content, &answer, false);
        }
        ledger.close().expect("nothing has failed");
        self.disk.crash(Crash::new(CrashMode::DropAll, 0));
        let opened = self.options.open_simulated(self.disk.as_disk(), self.host.as_host());
        match opened.and_then(|ledger| Shown::by(&ledger)) {
            Ok(shown) => self.model.read_all(&shown, false, true),
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::Corrupt(_) | ErrorKind::LogLostData { .. }),
                "{error}"
            ),
        }
    }

    fn make_room(&mut self) {
        self.disk.set_capacity(1 << 40);
        self.full = false;
    }

    /// Opening has overwritten what was torn, durably: bytes of it that stayed could join with what is
    /// written next.
    fn ends_at_zeros(&self, records: u64) {
        if self.armed || self.disk.is_off() {
            return;
        }
        let last = segments(&self.disk).pop().expect("a ledger has a segment");
        // A torn group may look like a whole one by its header.
        let shown =
            format::groups(&last).take_while(|group| group.first_seq + group.count <= records + 1);
        let end = shown.last().map_or(4096, |group| group.end) as usize;
        let stayed = last[end..].iter().filter(|byte| **byte != 0).count();
        assert_eq!(stayed, 0, "bytes behind the last group, after opening");
    }

    /// Opens and compares everything. May fail only for what was arranged; then tries again without.
    fn open(&mut self) {
        self.ledger = None;
        loop {
            self.watch = Watch::new(self.disk.as_disk());
            let disk = Arc::new(self.watch.clone());
            match self.options.open_simulated(disk, self.host.as_host()) {
                Ok(ledger) => {
                    match Shown::by(&ledger) {
                        Ok(shown) => {
                            self.model.read_all(&shown, false, true);
                            self.world.check(&shown);
                            self.ends_at_zeros(shown.records);
                        }
                        Err(_) if self.armed || self.disk.is_off() => {}
                        Err(error) => panic!("reading after opening failed: {error}"),
                    }
                    self.ledger = Some(ledger);
                    return;
                }
                Err(_) if self.disk.is_off() => return,
                Err(error) if self.armed => {
                    assert!(may_follow_a_fault(error.kind()), "{error}");
                    self.disk.clear_faults();
                    self.armed = false;
                }
                Err(error) if self.full => {
                    assert!(matches!(error.kind(), ErrorKind::DiskLow { .. }), "{error}");
                    self.make_room();
                }
                Err(error) => panic!("opening was refused: {error}"),
            }
        }
    }
}

/// A failing call is an I/O error or a full disk, and never makes a sound log look damaged.
fn may_follow_a_fault(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::Io { .. } | ErrorKind::DiskLow { .. })
}
