//! A program of everything that can happen to a ledger: see [`program`](crate::program).

use arbitrary::Arbitrary;

use crate::program::Run;
use crate::program::ops::{OPS_MAX, Op, Setting};

#[derive(Arbitrary, Clone, Debug)]
pub struct Input {
    pub setting: Setting,
    pub ops: Vec<Op>,
}

pub fn run(input: &Input) {
    let mut run = Run::new(&input.setting);
    for op in input.ops.iter().take(OPS_MAX) {
        run.step(op);
    }
    run.end();
}
