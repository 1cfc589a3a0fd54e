//! `tail`: what happens to orders, event by event, and on with what comes.
//!
//! Always true: with a consumer, an event counts as dealt with only after its line was written and flushed.

use std::time::Duration;

use order_ledger::{Event, EventFilter, Follower, Lifecycle, Options, Reader, Seq};

use crate::args::Tail;
use crate::errors::{Exit, Failure};
use crate::history::{line, what};
use crate::names::{argument, name_of};
use crate::output::{Out, time};

/// Events that are asked for at once.
const EVENTS_MAX: usize = 1_000;
/// How long one look waits when it goes on for ever.
const WAIT: Duration = Duration::from_secs(3600);

pub(crate) fn run(args: &Tail, out: &mut Out) -> Result<Exit, Failure> {
    // It must be there: a mistyped path must not make a ledger.
    let lifecycle = Reader::open(&args.dir.path)?.lifecycle()?;
    let mut filter = EventFilter::all();
    for state in &args.state {
        filter = filter.state(argument(&lifecycle, state)?);
    }
    if let Some(account) = &args.account {
        filter = filter.account(account.0.as_slice());
    }
    match &args.consumer {
        Some(name) => {
            let ledger = Options::new().open(&args.dir.path)?;
            let mut consumer = ledger.consumer(name)?.filter(filter);
            loop {
                let events = consumer.poll(EVENTS_MAX, Duration::ZERO)?;
                let Some(last) = events.last() else { break };
                show(&events, &lifecycle, out)?;
                consumer.commit(last.seq)?;
            }
            drop(consumer);
            ledger.close()?;
        }
        None => {
            let wait = if args.follow { WAIT } else { Duration::ZERO };
            let mut follower = Follower::open(&args.dir.path, Seq(args.since_seq))?.filter(filter);
            loop {
                let events = follower.poll(EVENTS_MAX, wait)?;
                if events.is_empty() && !args.follow {
                    break;
                }
                show(&events, &lifecycle, out)?;
            }
        }
    }
    Ok(Exit::Done)
}

/// Writes the lines of these events, and sees to it that they are on their way.
fn show(events: &[Event], lifecycle: &Lifecycle, out: &mut Out) -> Result<(), Failure> {
    for event in events {
        if out.json {
            out.json_line(&line(event, lifecycle))?;
            continue;
        }
        // What is no step has no state: what it says is enough.
        let state = event.body.state().map(|state| name_of(lifecycle, state)).unwrap_or_default();
        let what = what(&event.body);
        let (seq, at, order) = (event.seq, time(event.at), event.order);
        out.line(format!("{seq}  {at}  order {order}  {state}  {what}").trim_end())?;
    }
    out.flush()
}
