//! Runs a plan, and holds every answer against what is known.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{future::Future, pin::Pin};

use order_ledger::disk::sim::{Crash, CrashMode, SimDisk, SimHost};
use order_ledger::disk::{Disk, Host};
use order_ledger::{
    AlertEvent, Certainty, Consumer, Durability, Error, ErrorKind, Event, GroupPadding, How,
    Ledger, Options, Outbox, Result, Seq, Submission, Ticket, Views, WatchOptions,
};

use super::alarms::REMIND_EVERY;
use super::batches::Batches;
use super::beside::{self, Beside, Errand, Heard, Seen};
use super::figures::Figures;
use super::known::{Book, Fussy, Trouble, lifecycle};
use super::notes::Words;
use super::plan::{Aside, Bundle, Key, Plan, Step};
use super::steps::{Told, Wish};
use crate::outbox::world::World;
use crate::rig::Random;

mod checks;
mod desk;
mod ends;
mod follows;
mod held;
mod jots;
mod looks;
mod moves;
mod posts;
mod rotten;

/// What stands between the ledger and the simulated disk: nothing, or a bug that a test has planted.
pub(super) type Mount = fn(Arc<dyn Disk>) -> Arc<dyn Disk>;

pub(super) fn honest(disk: Arc<dyn Disk>) -> Arc<dyn Disk> {
    disk
}

/// Runs a plan; panics where a promise is broken.
pub(super) fn run(plan: &Plan, mount: Mount) -> Figures {
    let disk = SimDisk::new(plan.seed);
    disk.set_past_cache(plan.setup.past_cache);
    let host = SimHost::new(plan.seed ^ 0x5eed);
    let alerts = Arc::default();
    let world = posts::world(plan, &host);
    let mut history = History {
        options: options(plan, &alerts),
        alerts,
        beside: Beside::new(&disk, &host),
        disk,
        host,
        mount,
        plan,
        random: Random::new(plan.seed),
        book: Book::new(plan),
        figures: Figures { seeds: 1, ..Figures::default() },
        ledger: None,
        tickets: Vec::new(),
        armed: false,
        full: false,
        hits_before: 0,
        may_lose: false,
        tore_oddly: false,
        made: false,
        cut_off: 0,
        rotted: Vec::new(),
        again: Vec::new(),
        say_again: Vec::new(),
        link_again: Vec::new(),
        know_again: Vec::new(),
        post_again: Vec::new(),
        world,
        outbox: None,
        latest_ns: 0,
        worker: None,
        delivered: Vec::new(),
    };
    history.figures.own_tables += u64::from(plan.setup.own_table);
    for step in &plan.steps {
        history.figures.steps += 1;
        history.step(step);
    }
    match plan.rots() {
        true => history.finish_rotten(),
        false => history.finish(),
    }
    history.figures
}

fn options(plan: &Plan, alerts: &Arc<Mutex<Vec<AlertEvent>>>) -> Options {
    let setup = &plan.setup;
    let options = Options::new()
        .segment_bytes(setup.segment_kib * 1024)
        .group_padding(match setup.padded {
            true => GroupPadding::Block,
            false => GroupPadding::PowerSafeOverwrite,
        })
        .durability(match setup.relaxed {
            true => Durability::Relaxed,
            false => Durability::Durable,
        })
        .seal_after(Duration::from_millis(setup.seal_after_ms))
        .disk_reserve_bytes(0)
        .disk_free_min_bytes(0)
        .views(if setup.views { Views::On } else { Views::Off });
    let options = match setup.own_table || setup.watched {
        true => options.lifecycle(lifecycle(plan)),
        false => options,
    };
    let options = match setup.watched {
        true => {
            let watch = WatchOptions::new().remind_every(REMIND_EVERY).disk_warn_bytes(0);
            let alerts = Arc::clone(alerts);
            let told = move |event: &AlertEvent| alerts.lock().unwrap().push(event.clone());
            options.watch(watch.on_alert(told))
        }
        false => options,
    };
    match setup.validator {
        true => options.validator(Fussy),
        false => options,
    }
}

struct History<'a> {
    plan: &'a Plan,
    options: Options,
    mount: Mount,
    disk: SimDisk,
    host: SimHost,
    random: Random,
    book: Book,
    figures: Figures,
    beside: Arc<Beside>,
    ledger: Option<Ledger>,
    tickets: Vec<(Key, Ticket)>,
    /// A fault is scheduled in this life.
    armed: bool,
    full: bool,
    hits_before: u64,
    /// Orders of a relaxed ledger may be gone after a power cut.
    may_lose: bool,
    /// A power cut left sectors that are neither old nor new. Until an opening writes them again, half a
    /// sealing then looks like damage (of what is derived).
    tore_oddly: bool,
    /// An opening has succeeded.
    made: bool,
    /// Openings that were cut off in a row.
    cut_off: u32,
    /// Files that were damaged.
    rotted: Vec<String>,
    /// Commands whose answer was in doubt.
    again: Vec<(Key, Wish)>,
    /// The same for notes.
    say_again: Vec<(Key, Words)>,
    /// The same for batches.
    link_again: Vec<(u8, Bundle)>,
    /// The same for acknowledgements.
    know_again: Vec<Seq>,
    /// The same for what others are to be told.
    post_again: Vec<(Key, u8, bool)>,
    /// The third parties, and who tells them in this life.
    world: Option<World>,
    outbox: Option<Outbox>,
    /// What was told of alerts.
    alerts: Arc<Mutex<Vec<AlertEvent>>>,
    /// The latest that the wall clock was set to.
    latest_ns: u64,
    /// The consumer, when it was opened in this life, and what it was given and is not done with.
    worker: Option<Consumer>,
    delivered: Vec<Event>,
}

impl History<'_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Open => self.open(),
            Step::Cut(crash) => self.cut_power(*crash),
            Step::Kill => self.kill(),
            Step::PowerOff(call) => {
                self.armed = true;
                self.disk.power_off_after((*call).max(1));
            }
            Step::Fail(call, fault) => {
                self.armed = true;
                self.disk.fail_call(*call, *fault);
            }
            Step::Slow(call, ms) => {
                self.figures.slow_calls += 1;
                self.disk.slow_call(*call, Duration::from_millis(*ms), &self.host);
            }
            Step::Fill(sectors) if !self.disk.is_off() => {
                self.disk.set_capacity(1 << 40);
                let free_bytes = self.disk.as_disk().free_bytes().unwrap_or(0);
                self.disk.set_capacity((1 << 40) - free_bytes + sectors * 512);
                self.full = true;
            }
            Step::MakeRoom => self.disk.set_capacity(1 << 40),
            Step::During(call, aside) => self.send_beside(*call, *aside),
            Step::Lose(nth) => self.disk.lose_write(*nth),
            Step::Misdirect(nth, file, at) => {
                if let Some((path, bytes)) = self.file(*file) {
                    self.disk.misdirect_write(*nth, &path, at % bytes / 512 * 512);
                    self.rotted.push(path);
                }
            }
            Step::Rot(rot) if self.ledger.is_none() => self.rot(*rot),
            Step::Reader if self.ledger.is_none() => self.look_beside(),
            Step::Follow(max) => self.follow(*max),
            Step::Fill(_) | Step::Rot(_) => {}
            _ => self.operation(step),
        }
    }

    fn send_beside(&self, call: u64, aside: Aside) {
        let order = |key: Key| self.book.known[key].submission.clone();
        let errand = match aside {
            Aside::Defer(key) => Errand::Defer(key, order(key)),
            Aside::Look(key) => Errand::Look(key, order(key)),
            Aside::Reader => Errand::Reader,
            Aside::Follow(max) => Errand::Follow(max),
            Aside::Opener => Errand::Opener(self.options.clone()),
        };
        self.beside.send(call, errand);
    }

    // Openings.

    fn mount(&self) -> Arc<dyn Disk> {
        self.beside.mount((self.mount)(self.disk.as_disk()))
    }

    fn open(&mut self) {
        if self.ledger.is_some() || self.disk.is_off() {
            return;
        }
        let opened = self.options.open_simulated(self.mount(), self.host.as_host());
        self.listen();
        let ledger = match opened {
            Ok(ledger) => ledger,
            Err(_) if self.disk.is_off() => {
                self.figures.opens_cut_off += 1;
                self.cut_off += 1;
                self.figures.cut_off_three_in_a_row += u64::from(self.cut_off == 3);
                return;
            }
            Err(_) if self.disk.faults_hit() > self.hits_before => {
                self.figures.io_errors += 1;
                return;
            }
            Err(error) if self.full && !self.made => {
                assert!(matches!(error.kind(), ErrorKind::DiskLow { .. }), "{error}");
                return;
            }
            Err(error) => panic!("opening refused after a crash: {error}"),
        };
        self.cut_off = 0;
        if self.armed {
            // It went well before the fault came: whatever is looked at now may still meet it.
            let end = self.random.chance(1, 2);
            drop(ledger);
            if end {
                self.kill()
            } else {
                self.cut_power(Crash::new(CrashMode::DropAll, 0))
            }
            return;
        }
        self.made = true;
        self.tore_oddly = false;
        let report = ledger.recovery_report();
        self.figures.opens += 1;
        self.figures.torn_tails += u64::from(report.torn_bytes > 0);
        self.figures.resealed += report.segments_resealed;
        self.figures.runs_rebuilt += report.tables_rebuilt;
        self.check(&ledger);
        *self.beside.ledger.lock().unwrap() = Some(ledger.clone());
        self.ledger = Some(ledger.clone());
        self.ask_again(&ledger);
        self.say_again(&ledger);
        self.link_again(&ledger);
        self.know_again(&ledger);
        self.post_again(&ledger);
    }

    // What is done.

    fn operation(&mut self, step: &Step) {
        let Some(ledger) = self.ledger.clone().filter(|_| !self.disk.is_off()) else { return };
        match step {
            Step::Submit(key) => {
                self.book.hands_in(*key);
                let answer = ledger.submit(&self.book.known[*key].submission);
                self.settle(&ledger, vec![(*key, answer)]);
            }
            Step::SubmitMany(keys) => {
                keys.iter().for_each(|key| self.book.hands_in(*key));
                let batch: Vec<Submission> =
                    keys.iter().map(|key| self.book.known[*key].submission.clone()).collect();
                let answers = ledger.submit_many(&batch);
                self.settle(&ledger, keys.iter().copied().zip(answers).collect());
            }
            Step::Defer(key) => {
                self.book.hands_in(*key);
                let ticket = ledger.submit_deferred(&self.book.known[*key].submission);
                self.tickets.push((*key, ticket));
                self.listen();
            }
            Step::Pump => {
                ledger.pump();
                self.settle(&ledger, Vec::new());
            }
            Step::Conflict(key) => {
                self.listen();
                self.conflict(&ledger, *key);
                self.settle(&ledger, Vec::new());
            }
            Step::Look(key) => {
                let found = beside::look(&ledger, &self.book.known[*key].submission);
                self.listen();
                self.looked(*key, found);
            }
            Step::SetClock(ns) => {
                self.latest_ns = self.latest_ns.max(*ns);
                self.host.set_wall_ns(*ns);
            }
            Step::JumpAhead(ms) => {
                let latest_ns = self.latest_ns.max(self.host.wall_ns());
                self.latest_ns = latest_ns + ms * 1_000_000;
                self.host.set_wall_ns(self.latest_ns);
            }
            Step::Watch => self.look(&ledger),
            Step::Acknowledge(number) => self.acknowledge(&ledger, *number),
            Step::Post(key, number, other) => self.post(&ledger, *key, *number, *other),
            Step::Send(most, waits) => self.send(&ledger, *most, *waits),
            Step::Redrive => self.redrive(&ledger),
            Step::Tick(ms) => {
                self.host.advance(Duration::from_millis(*ms));
                ledger.tick();
                self.listen();
            }
            Step::Reader => {
                let read = beside::read(&self.disk, &self.host);
                self.read(read);
            }
            Step::Move(..) | Step::MoveMany(_) | Step::Cancel(_) => self.moves(&ledger, step),
            Step::Sweep => self.sweep(&ledger),
            Step::Hold(number, reason) => self.set_hold(&ledger, *number, *reason),
            Step::Note(key, jot) => self.jot(&ledger, *key, jot),
            Step::Link(number, bundle) => self.link(&ledger, *number, *bundle),
            Step::Work(most, place, bundle) => self.work(&ledger, *most, *place, *bundle),
            Step::Close => self.close(ledger),
            _ => {}
        }
    }

    /// Takes in the answers of a call, and those of everybody who waits.
    fn settle(&mut self, ledger: &Ledger, answers: Vec<(Key, Result<order_ledger::Outcome>)>) {
        self.listen();
        let mut all = Vec::new();
        while !self.tickets.is_empty() {
            for (key, mut ticket) in std::mem::take(&mut self.tickets) {
                all.push((key, ticket.wait(None)));
            }
            self.listen();
        }
        all.extend(answers);
        let trouble = self.trouble(ledger);
        // Two submitters: who was told `Fresh` may be answered after who was told `Replayed`.
        all.sort_by_key(|(_, answer)| {
            !answer.as_ref().is_ok_and(|outcome| outcome.how == How::Fresh)
        });
        let is_ok = |key: Key| all.iter().any(|(other, answer)| *other == key && answer.is_ok());
        let taken: BTreeSet<Key> =
            all.iter().map(|(key, _)| *key).filter(|key| is_ok(*key)).collect();
        for (key, answer) in all {
            if let Err(error) = &answer
                && (matches!(error.kind(), ErrorKind::DiskLow { .. })
                    || (matches!(error.kind(), ErrorKind::Io { .. })
                        && error.certainty() == Certainty::NotRecorded))
            {
                let full = matches!(error.kind(), ErrorKind::DiskLow { .. });
                self.figures.full_disks += u64::from(full);
                if taken.contains(&key) {
                    // Refused while the other submitter's was not yet taken.
                    continue;
                }
            }
            self.book.answered(key, answer, trouble);
        }
        self.book.nothing_on_the_way();
    }

    fn trouble(&self, ledger: &Ledger) -> Trouble {
        Trouble { poisoned: ledger.poisoned().is_some(), disk: self.is_troubled(), full: self.full }
    }

    /// At the end of a life: tickets that have their answer are not in doubt.
    fn take_what_was_answered(&mut self) {
        self.listen();
        let Some(ledger) = self.ledger.clone() else { return };
        let mut context = Context::from_waker(Waker::noop());
        let mut answers = Vec::new();
        for (key, mut ticket) in std::mem::take(&mut self.tickets) {
            if let Poll::Ready(answer) = Pin::new(&mut ticket).poll(&mut context) {
                answers.push((key, answer));
            }
        }
        self.settle(&ledger, answers);
    }

    /// Takes in what was done beside.
    fn listen(&mut self) {
        for heard in self.beside.take_heard() {
            match heard {
                Heard::Ticket(key, ticket) => {
                    self.figures.handed_in_between += 1;
                    self.book.hands_in(key);
                    self.tickets.push((key, ticket));
                }
                Heard::Looked(key, found) => {
                    self.figures.looked_at_between += 1;
                    self.looked(key, found.map(|told| told.map(|told| *told)));
                }
                Heard::Read(read) => {
                    self.figures.read_between += 1;
                    self.read(read.map(|seen| *seen));
                }
                Heard::Followed(read) => {
                    self.figures.followed_between += u64::from(read.is_ok());
                    self.followed(read);
                }
                Heard::Opened(error) => {
                    self.figures.second_openers += 1;
                    self.opened_beside(error);
                }
            }
        }
    }

    fn is_troubled(&self) -> bool {
        self.disk.is_off() || self.disk.faults_hit() > self.hits_before
    }

    fn opened_beside(&mut self, error: Option<Error>) {
        match error {
            Some(error) if matches!(error.kind(), ErrorKind::Locked { .. }) => {}
            // Before the first one had the lock: a whole opening.
            None => assert!(self.ledger.is_none(), "two at a time"),
            Some(error) => {
                let low = matches!(error.kind(), ErrorKind::DiskLow { .. }) && self.full;
                assert!(self.is_troubled() || low, "a second opener was told {error}");
            }
        }
    }

    /// What a reader saw while something was going on.
    fn read(&mut self, read: Result<Seen>) {
        match read {
            Ok(seen) => {
                self.book.dense(&seen);
                let orders = &seen.orders;
                let may_lose = self.may_lose || self.plan.setup.relaxed;
                for told in orders.iter().filter(|told| !Batches::has(told)) {
                    self.book.shown(told, false, may_lose);
                }
                if may_lose {
                    return;
                }
                self.book.batches.listed(orders, false);
                self.book.alarms.listed(&seen.alerts);
                self.book.posts.listed(orders);
                self.book.followed.check(orders);
                self.book.alarms.sound(orders, &self.book.lifecycle);
                self.check_stuck(&seen);
                let owed = self.book.owed();
                assert_eq!(owed, orders.len(), "a reader misses what was acknowledged");
            }
            Err(error) => {
                let unmade = matches!(error.kind(), ErrorKind::NotALedger { .. }) && !self.made;
                assert!(self.is_troubled() || unmade, "a reader was told {error}");
            }
        }
    }

    fn looked(&mut self, key: Key, found: Result<Option<Told>>) {
        match found {
            Ok(Some(told)) => self.book.shown(&told, true, false),
            Ok(None) => self.book.not_there(key),
            Err(error) => {
                assert_eq!(error.certainty(), Certainty::Unknown, "{error}");
                let in_doubt = matches!(error.kind(), ErrorKind::InDoubt { .. })
                    && self.book.may_be_in_doubt(key);
                assert!(self.is_troubled() || in_doubt, "{error}");
            }
        }
    }
}
