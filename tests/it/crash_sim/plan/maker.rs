//! Makes the history of a seed up.
//!
//! Always true: the same seed is the same history. What was added later has dice of its own, so that what was there
//! before is in the history of a seed as it was.

use order_ledger::disk::sim::{Crash, CrashMode, Fault};
use order_ledger::{NoteKind, State};

use super::super::holds::SCOPES;
use super::{
    ALL, Aside, Bundle, Content, Expected, Jot, Key, LOADED, Move, PACKED, Parties, Patience, Plan,
    Rot, Setup, Step, Word,
};
use crate::rig::Random;

impl Plan {
    /// The history of a seed.
    pub(in crate::crash_sim) fn of(seed: u64) -> Plan {
        let mut random = Random::new(seed);
        let rots = random.chance(1, 10);
        // With dice of their own: the other histories are those that there were before orders expired.
        let expires = seed % 3 == 1;
        let mut patience = Random::new(seed.rotate_left(24));
        let is_patient = patience.chance(1, 3);
        let mut looks = Random::new(seed.rotate_left(41));
        let setup = Setup {
            padded: random.chance(1, 2),
            relaxed: !rots && random.chance(1, 12),
            validator: random.chance(1, 4),
            own_table: random.chance(1, 5),
            segment_kib: random.pick(&[16, 16, 20, 24, 40, 64]),
            seal_after_ms: random.pick(&[1, 500, 10_000]),
            // Without a draw: the histories are those that there were before this was a choice.
            past_cache: seed.count_ones().is_multiple_of(2),
            views: expires,
            watched: false,
            parties: None,
        };
        let watched = !rots && !setup.relaxed && looks.chance(1, 4);
        let mut posts = Random::new(seed.rotate_left(50));
        let is_told = !rots && !setup.relaxed && posts.chance(1, 4);
        let parties = is_told.then(|| Parties {
            badness: posts.below(4),
            able: [(); 2].map(|()| (posts.chance(1, 2), posts.chance(1, 2))),
        });
        let setup = Setup { watched, parties, ..setup };
        let mut follows = Random::new(seed.rotate_left(57));
        let is_followed = !rots && !setup.relaxed && follows.chance(1, 5);
        let mut jots = Random::new(!seed);
        let holds = !rots && !setup.relaxed && jots.chance(1, 4);
        // Dice of their own, and no holds beside them: of a cursor and of a hold only the count of records is known.
        let mut links = Random::new(seed.rotate_left(17));
        let is_linked = !rots && !setup.relaxed && !holds && links.chance(1, 2);
        let mut maker = Maker {
            holds,
            links: is_linked.then_some(links),
            own_table: setup.own_table,
            garbage: setup.padded && random.chance(1, 2),
            stale: random.chance(1, 4),
            errors: !rots && random.chance(1, 4),
            fills: !rots && random.chance(1, 10),
            beside: random.chance(1, 2),
            expiry: expires.then(|| Random::new(seed.rotate_left(32))),
            patience: is_patient.then_some(patience),
            looks: watched.then_some(looks),
            posts: is_told.then_some(posts),
            follows: is_followed.then_some(follows),
            orders: Vec::new(),
            steps: Vec::new(),
            random,
            // Dice of their own: what else happens is what there was before there were notes.
            jots,
        };
        let lives = 2 + maker.random.below(4);
        for _ in 0..lives {
            maker.openings();
            maker.life();
        }
        if rots {
            maker.rot();
        }
        let Maker { orders, steps, .. } = maker;
        Plan { seed, setup, orders, steps }
    }
}

/// Makes the steps of a plan up.
struct Maker {
    random: Random,
    jots: Random,
    /// Whether anybody is held.
    holds: bool,
    own_table: bool,
    garbage: bool,
    stale: bool,
    errors: bool,
    fills: bool,
    /// Whether anybody does something in the middle of a call.
    beside: bool,
    /// Whether orders expire, and when.
    expiry: Option<Random>,
    /// Whether orders have thresholds of their own, and which.
    patience: Option<Random>,
    /// Whether anybody watches.
    looks: Option<Random>,
    /// Whether others are told.
    posts: Option<Random>,
    /// Whether somebody follows in another process.
    follows: Option<Random>,
    /// Whether there are linked batches and a consumer.
    links: Option<Random>,
    orders: Vec<Content>,
    steps: Vec<Step>,
}

impl Maker {
    /// Openings: up to three that are cut off, perhaps one that fails, and one that is not disturbed.
    fn openings(&mut self) {
        let nested = if self.random.chance(1, 2) { self.random.below(4) } else { 0 };
        for _ in 0..nested {
            let call = 1 + self.random.below(70);
            self.steps.push(Step::PowerOff(call));
            self.aside(70, true);
            self.steps.push(Step::Open);
            self.end();
        }
        if self.errors && self.random.chance(1, 3) {
            let call = 1 + self.random.below(60);
            let fault = self.fault();
            self.steps.extend([Step::Fail(call, fault), Step::Open, Step::Kill]);
        }
        if self.random.chance(1, 2) {
            self.steps.push(Step::Reader);
        }
        self.aside(70, true);
        self.follow(70);
        self.steps.push(Step::Open);
    }

    /// Somebody in the middle of what follows.
    fn aside(&mut self, calls: u64, opening: bool) {
        if !self.beside || self.random.chance(1, 2) {
            return;
        }
        let call = 1 + self.random.below(calls);
        let aside = match self.random.below(if opening { 2 } else { 24 }) {
            0 => Aside::Reader,
            1 => Aside::Opener,
            2..=6 => Aside::Look(self.key()),
            _ => Aside::Defer(self.key()),
        };
        self.steps.push(Step::During(call, aside));
    }

    /// The follower reads on: now, or in the middle of what follows.
    fn follow(&mut self, calls: u64) {
        let Some(random) = self.follows.as_mut() else { return };
        if !random.chance(1, 12) {
            return;
        }
        let max = random.pick(&[1, 4, ALL, ALL]);
        let call = 1 + random.below(calls);
        self.steps.push(match random.chance(1, 2) {
            true => Step::Follow(max),
            false => Step::During(call, Aside::Follow(max)),
        });
    }

    fn end(&mut self) {
        let step = match self.random.chance(3, 4) {
            true => Step::Cut(self.crash()),
            false => Step::Kill,
        };
        self.steps.push(step);
    }

    fn crash(&mut self) -> Crash {
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
        if self.stale { crash.with_stale_blocks() } else { crash }
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

    /// A key that was used before, or a new one.
    fn key(&mut self) -> Key {
        if !self.orders.is_empty() && self.random.chance(1, 3) {
            return self.random.index(self.orders.len());
        }
        let bytes = match self.random.below(40) {
            0 => 20_000,
            1..=3 => 5_000,
            4..=12 => self.random.index(700),
            _ => self.random.index(120),
        };
        let word = match self.random.below(12) {
            0 => Word::No,
            1 => Word::Later,
            _ => Word::Good,
        };
        // A clock that is read moves by a microsecond; a call reads it a few times.
        let times = [1, 8, 20, 60, 60, 300, 2_000, 100_000, 3_000_000, 60_000_000];
        let expires = |random: &mut Random| random.chance(2, 3).then(|| random.pick(&times));
        let expires_in_us = self.expiry.as_mut().and_then(expires);
        let patience = self.patience.as_mut().map_or(Patience::NONE, patience);
        self.orders.push(Content { word, bytes, expires_in_us, patience });
        self.orders.len() - 1
    }

    fn life(&mut self) {
        // Close to what it hits, so that a smaller plan still hits the same.
        let power_off = if self.random.chance(1, 2) { self.random.below(50) } else { u64::MAX };
        let fail = if self.errors { self.random.below(50) } else { u64::MAX };
        if self.fills && self.random.chance(1, 2) {
            let sectors = self.random.below(80);
            self.steps.push(Step::Fill(sectors));
        }
        for index in 0..self.random.below(40) {
            if index == power_off {
                let call = 1 + self.random.below(7);
                self.steps.push(Step::PowerOff(call));
            }
            if index == fail {
                let call = 1 + self.random.below(7);
                let fault = self.fault();
                self.steps.push(Step::Fail(call, fault));
            }
            self.operation();
        }
        if self.fills {
            self.steps.push(Step::MakeRoom);
        }
        if self.random.chance(1, 3) {
            self.steps.push(Step::Close);
            if self.random.chance(1, 2) {
                self.end();
            }
        } else {
            // What was deferred and never written is not there; nobody was told anything.
            self.end();
        }
    }

    fn operation(&mut self) {
        self.aside(6, false);
        self.follow(6);
        if self.random.chance(1, 30) {
            let call = 1 + self.random.below(6);
            let ms = self.random.pick(&[1, 20, 600, 12_000]);
            self.steps.push(Step::Slow(call, ms));
        }
        if self.expiry.as_mut().is_some_and(|random| random.chance(1, 8)) {
            self.steps.push(Step::Sweep);
        }
        let step = match self.random.below(30) {
            20..=24 => {
                let key = self.key_to_move();
                Step::Move(key, self.step())
            }
            25..=27 => {
                let count = 1 + self.random.below(9);
                let each = |_| (self.key_to_move(), self.step());
                Step::MoveMany((0..count).map(each).collect())
            }
            28 => Step::Cancel(self.key_to_move()),
            0..=5 => Step::Submit(self.key()),
            6..=8 => {
                let count = 1 + self.random.below(9);
                Step::SubmitMany((0..count).map(|_| self.key()).collect())
            }
            9..=11 => {
                for _ in 0..self.random.below(6) {
                    let key = self.key();
                    self.steps.push(Step::Defer(key));
                }
                Step::Defer(self.key())
            }
            12..=13 => Step::Pump,
            14 => Step::Conflict(self.key()),
            15 => Step::Look(self.key()),
            16 => Step::SetClock(self.random.below(2_000_000_000_000_000_000)),
            _ => Step::Tick(self.random.below(3000)),
        };
        self.steps.push(step);
        if self.jots.chance(1, 6) {
            self.jot();
        }
        if self.holds && self.jots.chance(1, 8) {
            let reason = self.jots.chance(1, 2).then(|| self.jots.pick(&[1, 2]));
            let scope = self.jots.index(SCOPES);
            self.steps.push(Step::Hold(scope, reason));
        }
        if let Some(random) = &mut self.links
            && random.chance(1, 4)
        {
            // Often enough in the middle of it: else a batch is hardly ever in doubt.
            if random.chance(1, 8) {
                self.steps.push(Step::PowerOff(1 + random.below(5)));
            }
            let mut step = linked(random);
            if let (Some(posts), Step::Link(_, bundle) | Step::Work(_, _, Some(bundle))) =
                (&mut self.posts, &mut step)
            {
                bundle.posts = posts.index(3);
            }
            self.steps.push(step);
        }
        if let Some(random) = &mut self.looks
            && random.chance(1, 6)
        {
            if random.chance(1, 8) {
                self.steps.push(Step::PowerOff(1 + random.below(5)));
            }
            look(random, &mut self.steps);
        }
        self.post();
    }

    /// Others are to be told something, mostly about one of the first orders, or are told.
    fn post(&mut self) {
        let orders = self.orders.len();
        let Some(random) = self.posts.as_mut().filter(|_| orders > 0) else { return };
        if !random.chance(1, 6) {
            return;
        }
        if random.chance(1, 6) {
            self.steps.push(Step::PowerOff(1 + random.below(7)));
        }
        let step = match random.below(8) {
            0..=2 => {
                let few = if random.chance(2, 3) { orders.min(3) } else { orders };
                let number = random.pick(&[1, 2, 3, 4, 5, 6]);
                Step::Post(random.index(few), number, random.chance(1, 6))
            }
            3 => Step::Redrive,
            _ => Step::Send(1 + random.index(8), random.chance(1, 2)),
        };
        self.steps.push(step);
    }

    /// Something is noted, mostly about one of the first orders.
    fn jot(&mut self) {
        let orders = match self.orders.len() {
            0 => return,
            orders if self.jots.chance(2, 3) => orders.min(3),
            orders => orders,
        };
        let key = self.jots.index(orders);
        let command = self.jots.chance(1, 2).then(|| self.jots.below(16));
        let jot = Jot {
            kind: self.jots.pick(&NoteKind::ALL),
            open: self.jots.chance(1, 3),
            command: command.and_then(|command| u8::try_from(command).ok()),
            bytes: self.jots.pick(&[0, 20, 20, 700, 9_000]),
            resolves: self.jots.chance(2, 5).then(|| self.jots.index(4)),
        };
        self.steps.push(Step::Note(key, jot));
    }

    /// Most steps are of few orders, so that some have a long life.
    fn key_to_move(&mut self) -> Key {
        match self.orders.len() {
            0 => self.key(),
            orders if self.random.chance(1, 2) => self.random.index(orders.min(3)),
            orders => self.random.index(orders),
        }
    }

    fn step(&mut self) -> Move {
        // Some in which an order goes round, and some that no table has.
        let own = [LOADED, PACKED, LOADED, PACKED, State::Cancelling, State::Completed];
        let known = [
            State::InProgress,
            State::Cancelling,
            State::InProgress,
            State::Cancelling,
            State::Confirmed,
            State::PartlyDone,
        ];
        let common = if self.own_table { own } else { known };
        let to = match self.random.below(16) {
            0 => State::Completed,
            1 => self.random.pick(&State::ALL),
            2 => PACKED,
            _ => self.random.pick(&common),
        };
        let command = self.random.chance(1, 2).then(|| self.random.below(12));
        let to = match command {
            // A command that comes again mostly asks for the same.
            Some(command) if self.random.chance(7, 8) => {
                common[usize::try_from(command).unwrap() % common.len()]
            }
            _ => to,
        };
        let expect = match self.random.below(8) {
            0..=2 => Expected::Version(0),
            3 => Expected::Version(self.random.pick(&[-1, 1])),
            4 => Expected::State(self.random.pick(&common)),
            _ => Expected::Anything,
        };
        let bytes = self.random.pick(&[1, 1, 40, 900, 4000]);
        Move {
            to,
            command: command.and_then(|command| u8::try_from(command).ok()),
            expect,
            evidence_bytes: self.random.chance(1, 2).then_some(bytes),
        }
    }

    /// A last life that nothing disturbs but one lie of the disk, a clean end, and rot.
    fn rot(&mut self) {
        self.end();
        self.steps.push(Step::Open);
        let at = self.random.next();
        let file = self.random.next();
        let damage = match self.random.below(8) {
            0 | 1 => vec![Step::Lose(1 + self.random.below(2))],
            2 => vec![Step::Misdirect(1, file, self.random.next())],
            3 => vec![Step::Rot(Rot::Zeros(file, at))],
            4 => vec![Step::Rot(Rot::Garbage(file, at))],
            5 => vec![Step::Rot(Rot::Unreadable(file, at))],
            6 => vec![Step::Rot(Rot::Flip(file, at))],
            _ => vec![
                Step::Rot(Rot::Flip(file, at)),
                Step::Rot(Rot::Flip(self.random.next(), self.random.next())),
            ],
        };
        let lies = matches!(damage[0], Step::Lose(_) | Step::Misdirect(..));
        let lie_at = self.random.below(6);
        for index in 0..6 {
            if lies && index == lie_at {
                self.steps.extend(damage.iter().cloned());
            }
            let key = self.key();
            let step = match self.random.below(5) {
                0 => Step::Tick(self.random.below(3000)),
                1..=2 => {
                    let key = self.key_to_move();
                    Step::Move(key, self.step())
                }
                _ => Step::Submit(key),
            };
            self.steps.push(step);
        }
        self.steps.push(Step::Close);
        if !lies {
            self.steps.extend(damage);
        }
    }
}

/// Thresholds of an order's own, or none.
fn patience(random: &mut Random) -> Patience {
    const MS: u64 = 1_000_000;
    let times =
        [0, 3, 10, 40, 20_000, 300_000, 5 * MS, 400 * MS, 2_000 * MS, 60_000 * MS, u64::MAX];
    let mut time = || random.chance(1, 2).then(|| random.pick(&times));
    Patience { warn_ns: time(), critical_ns: time() }
}

/// Somebody watches, or knows.
fn look(random: &mut Random, steps: &mut Vec<Step>) {
    let ms = random.pick(&[0, 1, 10, 500, 500, 4_000, 90_000]);
    match random.below(8) {
        0..=2 => steps.push(Step::Watch),
        3 => steps.push(Step::JumpAhead(ms)),
        4..=5 => {
            if random.chance(1, 4) {
                steps.push(Step::PowerOff(1 + random.below(4)));
            }
            steps.push(Step::Acknowledge(random.index(40)));
        }
        _ => steps.extend([Step::JumpAhead(ms), Step::Watch]),
    }
}

/// A batch, or something that the consumer does.
fn linked(random: &mut Random) -> Step {
    let bundle = Bundle {
        orders: 1 + random.index(4),
        bytes: random.pick(&[0, 40, 300, 5_000]),
        cancels: random.chance(1, 2).then(|| random.index(100)),
        posts: 0,
        other: random.chance(1, 4),
    };
    match random.below(5) {
        0..=2 => Step::Link(random.pick(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]), bundle),
        _ => {
            let (most, place) = (1 + random.index(6), random.index(100));
            // Always the same about an event.
            let bundle = Bundle { other: false, ..bundle };
            Step::Work(most, place, random.chance(2, 3).then_some(bundle))
        }
    }
}
