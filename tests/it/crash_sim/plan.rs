//! A history as a value: everything that will be done and will go wrong, so that it can be printed, run
//! again, and made smaller.

use std::time::Duration;

use order_ledger::disk::sim::{Crash, Fault};
use order_ledger::{NoteKind, State};

mod maker;

/// The number of a key; its order is the one of that place in [`Plan::orders`].
pub(super) type Key = usize;

/// A history.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Plan {
    /// Of the disk's and the host's own dice.
    pub(super) seed: u64,
    pub(super) setup: Setup,
    pub(super) orders: Vec<Content>,
    pub(super) steps: Vec<Step>,
}

/// What does not change in the life of a ledger.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Setup {
    /// Groups are padded to blocks.
    pub(super) padded: bool,
    pub(super) relaxed: bool,
    /// Refuses for good what begins with `no`, and for now what begins with `later`.
    pub(super) validator: bool,
    /// Opened with a table of states of its own.
    pub(super) own_table: bool,
    pub(super) segment_kib: u64,
    pub(super) seal_after_ms: u64,
    /// Groups are written past the page cache, in one call.
    pub(super) past_cache: bool,
    /// There are views, so that what has expired can be found.
    pub(super) views: bool,
    /// States have thresholds, and somebody watches.
    pub(super) watched: bool,
    /// There are third parties.
    pub(super) parties: Option<Parties>,
}

/// How third parties are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Parties {
    /// So many calls out of four meet a mood.
    pub(super) badness: u64,
    /// Of each, whether it knows repeats, and whether it can be asked.
    pub(super) able: [(bool, bool); 2],
}

/// An order: how its payload begins, how long it goes on, after how long it expires, and after how long in a state it
/// is stuck.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Content {
    pub(super) word: Word,
    pub(super) bytes: usize,
    pub(super) expires_in_us: Option<u64>,
    pub(super) patience: Patience,
}

/// Thresholds of an order's own, in nanoseconds: a clock that was set back stands still but for one of them for each
/// record.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Patience {
    pub(super) warn_ns: Option<u64>,
    pub(super) critical_ns: Option<u64>,
}

impl Patience {
    pub(super) const NONE: Patience = Patience { warn_ns: None, critical_ns: None };

    /// Warn, critical.
    pub(super) fn durations(self) -> (Option<Duration>, Option<Duration>) {
        (self.warn_ns.map(Duration::from_nanos), self.critical_ns.map(Duration::from_nanos))
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Word {
    Good,
    No,
    Later,
}

/// A step that an order is to take.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Move {
    pub(super) to: State,
    /// The number of a command, whose key is made of it: a small one, so that it comes again.
    pub(super) command: Option<u8>,
    pub(super) expect: Expected,
    /// Evidence with a value of this length.
    pub(super) evidence_bytes: Option<usize>,
}

/// Something that is noted about an order.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Jot {
    pub(super) kind: NoteKind,
    pub(super) open: bool,
    /// As for a step; the small ones are keys of steps as well.
    pub(super) command: Option<u8>,
    pub(super) bytes: usize,
    /// It resolves the note of this number, if there is one.
    pub(super) resolves: Option<usize>,
}

/// What is in a linked batch, when it was not sent before.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Bundle {
    pub(super) orders: usize,
    pub(super) bytes: usize,
    /// It cancels the order of this number of another batch, if there is one.
    pub(super) cancels: Option<usize>,
    /// So many things are to be told to others about its orders; if any, one about the order that it cancels as well.
    pub(super) posts: usize,
    /// Sent before, it is now another one.
    pub(super) other: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Expected {
    Anything,
    /// The version that the caller knows, or one so far from it.
    Version(i8),
    State(State),
}

/// So many events that a follower reads to the end.
pub(super) const ALL: usize = 1_000;

/// One step.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Step {
    Open,
    Submit(Key),
    SubmitMany(Vec<Key>),
    /// Hands an order in and does not wait.
    Defer(Key),
    /// Writes what was deferred; everybody takes his answer.
    Pump,
    /// Other content under the key.
    Conflict(Key),
    Look(Key),
    /// The order of the key is to take a step.
    Move(Key, Move),
    MoveMany(Vec<(Key, Move)>),
    Cancel(Key),
    /// What has expired is recorded, as far as the views know.
    Sweep,
    /// Something is noted about the order of the key.
    Note(Key, Jot),
    /// A scope is held, for a reason of this number, or released.
    Hold(usize, Option<u8>),
    /// A linked batch of this number.
    Link(u8, Bundle),
    /// The consumer takes so many events at most, and is done with the one at this place: with a batch, or just so.
    Work(usize, usize, Option<Bundle>),
    /// A reader beside the ledger, or before it is opened.
    Reader,
    /// The follower reads on by so many events at most, beside the ledger, or while it is not open.
    Follow(usize),
    SetClock(u64),
    /// The wall clock is set so many milliseconds ahead of all that it ever said.
    JumpAhead(u64),
    /// Everything that is watched is looked at once.
    Watch,
    /// Somebody knows of the alert of this number, or asks for one that is none.
    Acknowledge(usize),
    /// Others are to be told something about the order of the key, under the command key of this number; or something
    /// else.
    Post(Key, u8, bool),
    /// The outbox does so much at most; or waits as well.
    Send(usize, bool),
    /// What was given up is sent on its way again.
    Redrive,
    /// Time passes, then the upkeep runs.
    Tick(u64),
    Close,
    /// Somebody else does something in the middle of what follows: before the call of this number.
    During(u64, Aside),
    /// What follows is slow: the call of this number takes so many milliseconds.
    Slow(u64, u64),
    /// The power goes off at the call of this number.
    PowerOff(u64),
    Fail(u64, Fault),
    /// The disk has this many sectors left.
    Fill(u64),
    MakeRoom,
    Cut(Crash),
    Kill,
    /// The next sync of a file with this many pending writes loses one of them.
    Lose(u64),
    /// As `Lose`, and the bytes arrive at this place of this file.
    Misdirect(u64, u64, u64),
    /// A closed ledger rots.
    Rot(Rot),
}

/// What the second submitter, or another process, does between two calls of the first one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Aside {
    Defer(Key),
    Look(Key),
    Reader,
    Opener,
    Follow(usize),
}

/// Damage to a file, by its number among those that count, at a place modulo its size.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Rot {
    Flip(u64, u64),
    Zeros(u64, u64),
    Garbage(u64, u64),
    Unreadable(u64, u64),
}

impl Step {
    /// Whether it is something going wrong, rather than something that is done.
    pub(super) fn is_fault(&self) -> bool {
        matches!(
            self,
            Step::Slow(..)
                | Step::PowerOff(_)
                | Step::Fail(..)
                | Step::Fill(_)
                | Step::MakeRoom
                | Step::Cut(_)
                | Step::Kill
                | Step::Lose(_)
                | Step::Misdirect(..)
                | Step::Rot(_)
        )
    }
}

impl Plan {
    /// Whether damage is done: then a refusal is an answer, and a silent difference is not.
    pub(super) fn rots(&self) -> bool {
        let is_damage =
            |step: &Step| matches!(step, Step::Lose(_) | Step::Misdirect(..) | Step::Rot(_));
        self.steps.iter().any(is_damage)
    }

    /// Whether orders have thresholds of their own.
    pub(super) fn has_patience(&self) -> bool {
        self.orders.iter().any(|content| content.patience != Patience::NONE)
    }

    /// Whether an order can be stuck.
    pub(super) fn has_thresholds(&self) -> bool {
        self.setup.watched || self.has_patience()
    }
}

/// States of the table that some ledgers are opened with.
pub(super) const PACKED: State = State::own(100).unwrap();
pub(super) const LOADED: State = State::own(101).unwrap();
