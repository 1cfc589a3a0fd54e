//! Operations under a schedule of errors, life after life, and at last a sync that lies.
//!
//! A life is a schedule, some calls, and an end. The errors hit whatever they hit: the calls, closing, or
//! the opening of the next life. Oracle: that of [`program`](crate::program): no acknowledgement rests on
//! something that failed; poison, of everyone, for good; what an error said is on disk is on disk; and
//! after opening again the answers are those of the disk and not those of the page cache, which shows what
//! a failed sync has lost.

use arbitrary::{Arbitrary, Unstructured};

use crate::program::Run;
use crate::program::ops::{Basic, Cut, Error, OPS_MAX, Op, Setting, Submit};

#[derive(Arbitrary, Clone, Debug)]
pub struct Input {
    pub setting: Setting,
    pub lives: Vec<Life>,
    pub lie: Option<Lie>,
}

#[derive(Arbitrary, Clone, Debug)]
pub struct Life {
    /// After how many calls of the disk which error comes.
    pub errors: Vec<(u8, Error)>,
    pub for_ever: Option<(u8, Error)>,
    pub calls: Vec<Call>,
    pub end: End,
}

/// What a caller does; nothing here harms the disk.
#[derive(Clone, Debug)]
pub enum Call {
    Simple(Simple),
    /// Of those that begin with a byte of their own.
    Special(Op),
}

impl<'a> Arbitrary<'a> for Call {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Call> {
        Ok(match Op::special(u)? {
            Some(op) => Call::Special(op),
            None => Call::Simple(Simple::arbitrary(u)?),
        })
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub enum Simple {
    Submit(Submit),
    SubmitMany(Vec<Submit>),
    Defer(Submit),
    Wait(u8),
    Pump,
    Tick,
    Read(u8),
    ReadAll,
    /// Time passes, and the upkeep has something to do.
    Idle,
}

impl Call {
    fn ops(&self) -> Vec<Op> {
        let simple = match self {
            Call::Simple(simple) => simple,
            Call::Special(op) => return vec![op.clone()],
        };
        let basics = match simple {
            Simple::Submit(submit) => vec![Basic::Submit(*submit)],
            Simple::SubmitMany(submits) => vec![Basic::SubmitMany(submits.clone())],
            Simple::Defer(submit) => vec![Basic::Defer(*submit)],
            Simple::Wait(index) => vec![Basic::Wait(*index)],
            Simple::Pump => vec![Basic::Pump],
            Simple::Tick => vec![Basic::Tick],
            Simple::Read(key) => vec![Basic::Read(*key)],
            Simple::ReadAll => vec![Basic::ReadAll],
            Simple::Idle => vec![Basic::Advance(600), Basic::Tick],
        };
        basics.into_iter().map(Op::Basic).collect()
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum End {
    CloseAndOpen,
    Kill,
    Cut(Cut),
}

/// A write that the device says it has made durable, and has not.
#[derive(Arbitrary, Clone, Debug)]
pub struct Lie {
    /// Which of the writes of a sync.
    pub nth: u8,
    pub orders: Vec<Submit>,
}

const LIVES_MAX: usize = 8;
const ERRORS_MAX: usize = 8;

pub fn run(input: &Input) {
    let mut run = Run::new(&input.setting);
    let mut left = OPS_MAX;
    for life in input.lives.iter().take(LIVES_MAX) {
        for (calls, error) in life.errors.iter().take(ERRORS_MAX) {
            run.fail(*calls, *error);
        }
        if let Some((calls, error)) = life.for_ever {
            run.fail_from(calls, error);
        }
        for op in life.calls.iter().flat_map(Call::ops).take(left) {
            run.step(&op);
            left -= 1;
        }
        match life.end {
            End::CloseAndOpen => run.step(&Op::Basic(Basic::CloseAndOpen)),
            End::Kill => run.step(&Op::Basic(Basic::Kill)),
            End::Cut(cut) => run.step(&Op::Basic(Basic::Cut(cut))),
        }
        run.compare_with_disk();
    }
    run.end();
    if let Some(lie) = &input.lie {
        run.lie(lie.nth, &lie.orders);
    }
}
