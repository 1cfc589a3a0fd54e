//! The operations of a program, and how they are read from the bytes of an input.

use arbitrary::{Arbitrary, Unstructured};
use order_ledger::disk::sim::Fault;

use super::desk::{Desk, is_at_desk};
use super::noting::{Noting, is_about_notes};
use super::telling::{Telling, is_about_telling};
use super::watching::{Watching, is_about_watch};
use crate::lives::Move;
use crate::model::{Key, Small};

/// What a program runs on.
#[derive(Arbitrary, Clone, Debug)]
pub struct Setting {
    pub seed: u16,
    pub padded: bool,
    pub segment: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Submit {
    pub key: u8,
    pub account: u8,
    pub payload: u16,
}

impl Submit {
    /// Few keys and few contents: replays, joins and conflicts are the point.
    pub(super) fn key(self) -> Key {
        key(self.key)
    }

    /// The clock moves by a microsecond whenever it is read: some expire between the decision about a step and its
    /// record.
    pub(super) fn content(self) -> Small {
        let lives_us = match self.payload / 64 % 16 {
            5 => 4 + self.payload % 16,
            6 => 60,
            7 => 2_000,
            _ => 0,
        };
        // Every second one says itself when it is stuck.
        let own = if self.payload / 1024 % 2 == 1 { (self.payload / 2048 % 8) as u8 } else { 0 };
        // Some have the accounts that holds are mostly about.
        let account = match self.account % 8 {
            special @ (6 | 7) => special - 4,
            other => other % 2,
        };
        Small { account, payload: self.payload % 64, lives_us, own }
    }
}

pub(super) fn key(byte: u8) -> Key {
    Key::from(byte % 24)
}

/// One operation.
#[derive(Clone, Debug)]
pub enum Op {
    Basic(Basic),
    Step(Stepping),
    Desk(Desk),
    Watch(Watching),
    Tell(Telling),
    Note(Noting),
}

/// Orders are to take steps.
#[derive(Arbitrary, Clone, Debug)]
pub enum Stepping {
    Move(Move),
    MoveMany(Vec<Move>),
    Cancel(u8),
}

/// Whether what comes next is about steps: in the bytes of older inputs it hardly ever is, so that those go on
/// meaning what they meant.
pub(super) fn is_about_steps(u: &mut Unstructured<'_>) -> bool {
    begins_with(u, STEPS)
}

pub(super) fn begins_with(u: &mut Unstructured<'_>, bytes: std::ops::Range<u8>) -> bool {
    let is = u.peek_bytes(1).is_some_and(|byte| bytes.contains(&byte[0]));
    is && u.bytes(1).is_ok()
}

const STEPS: std::ops::Range<u8> = 0xa0..0xc0;

impl Op {
    /// What comes next, if it begins with a byte of its own.
    pub fn special(u: &mut Unstructured<'_>) -> arbitrary::Result<Option<Op>> {
        Ok(Some(match () {
            () if is_about_steps(u) => Op::Step(Stepping::arbitrary(u)?),
            () if is_at_desk(u) => Op::Desk(Desk::arbitrary(u)?),
            () if is_about_watch(u) => Op::Watch(Watching::arbitrary(u)?),
            () if is_about_telling(u) => Op::Tell(Telling::arbitrary(u)?),
            () if is_about_notes(u) => Op::Note(Noting::arbitrary(u)?),
            () => return Ok(None),
        }))
    }
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Op> {
        Ok(match Op::special(u)? {
            Some(op) => op,
            None => Op::Basic(Basic::arbitrary(u)?),
        })
    }
}

/// What has no steps in it.
#[derive(Arbitrary, Clone, Debug)]
pub enum Basic {
    Submit(Submit),
    SubmitMany(Vec<Submit>),
    Defer(Submit),
    /// Waits for a deferred order.
    Wait(u8),
    /// Lets go of a ticket; the order goes on its way.
    Forget(u8),
    Pump,
    Tick,
    Read(u8),
    ReadAll,
    /// Looks at the ledger as another process would.
    Reader,
    Advance(u16),
    SetClock(i8),
    CloseAndOpen,
    Kill,
    Cut(Cut),
    /// The power goes off at a later call.
    PowerOffAfter(u8, Cut),
    Fail(u8, Error),
    FailFrom(u8, Error),
    /// The disk has this many sectors left over what it holds.
    Fill(u8),
    MakeRoom,
    /// Somebody else tries to write.
    OpenTwice,
}

/// A power cut, and how many more of them hit the recovery, after so many calls.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Cut {
    pub mode: Mode,
    pub seed: u8,
    pub again: [u8; 3],
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Mode {
    DropAll,
    KeepAll,
    Prefix,
    Random,
    Adversarial,
    Ext4Like,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Error {
    Eio,
    EioLate,
    Enospc,
    Edquot,
    Erofs,
    ShortWrite,
    ShortRead,
    Interrupted,
}

impl Error {
    pub(super) fn fault(self) -> Fault {
        match self {
            Error::Eio => Fault::Eio,
            Error::EioLate => Fault::EioLate,
            Error::Enospc => Fault::Enospc,
            Error::Edquot => Fault::Edquot,
            Error::Erofs => Fault::Erofs,
            Error::ShortWrite => Fault::ShortWrite,
            Error::ShortRead => Fault::ShortRead,
            Error::Interrupted => Fault::Interrupted,
        }
    }
}

/// Operations of one program; more of them find nothing that these do not.
pub const OPS_MAX: usize = 80;
