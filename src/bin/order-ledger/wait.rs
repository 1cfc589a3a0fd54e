//! `wait`: until an order is in a state.

use std::time::Instant;

use order_ledger::{Follower, Seq, State};

use crate::args::Wait;
use crate::errors::{Exit, Failure};
use crate::get::{not_found, show, wanted};
use crate::names::argument;
use crate::output::Out;

pub(crate) fn run(args: &Wait, out: &mut Out) -> Result<Exit, Failure> {
    let started = Instant::now();
    // Events are of no interest, but that there are some is: it begins behind all that there can be.
    let mut follower = Follower::open(&args.dir.path, Seq::FIRST)?;
    let lifecycle = follower.reader().lifecycle()?;
    let names = args.states.iter().map(|name| argument(&lifecycle, name));
    let states: Vec<State> = names.collect::<Result<_, _>>()?;
    follower.skip_to_end();
    loop {
        let order = match wanted(follower.reader(), &args.order)? {
            Ok(order) => order,
            Err(why) => return not_found(&why, out),
        };
        let state = order.now.state;
        let is_there = states.contains(&state);
        let left = args.timeout.saturating_sub(started.elapsed());
        if is_there || left.is_zero() || lifecycle.is_terminal(state) {
            show(&order, &lifecycle, out)?;
            return Ok(if is_there { Exit::Done } else { Exit::No });
        }
        follower.poll(1_000, left)?;
    }
}
