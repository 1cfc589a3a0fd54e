//! The child of a drill: opens the ledger, writes, and says what was acknowledged, until it is killed.
//!
//! Always true: a line is written when its order is durable; the orders of a round are acknowledged in
//! their order, so that one number says which were heard; content follows from the key.

use std::collections::VecDeque;

use order_ledger::{Ledger, Options, Submission, Ticket};

use crate::args::DrillWriter;
use crate::errors::{Exit, Failure};
use crate::output::Out;

/// The client of every order of a drill.
pub(crate) const CLIENT: &str = "drill";
/// Orders that are on their way at a time.
const WINDOW: usize = 64;
/// Orders of the round before that are submitted again: those whose answer was heard must be replayed,
/// the others taken once.
const REPEATED_HEARD: u64 = 16;
const REPEATED_UNHEARD: u64 = 2 * WINDOW as u64;

/// Small, so that a drill of some seconds goes through many segments.
const SEGMENT_BYTES: u64 = 1024 * 1024;

/// What the keys of a round begin with.
pub(crate) fn prefix(run: &str, round: u32) -> String {
    format!("{run}-{round}-")
}

/// The content of the order with this key: 60 to 3,000 bytes that follow from it.
pub(crate) fn payload(key: &str) -> Vec<u8> {
    let sum =
        key.bytes().fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let padding = "x".repeat(usize::try_from(sum % 2940).unwrap_or(0));
    format!(r#"{{"drill":"{key}","quantity":{sum},"note":"{padding}"}}"#).into_bytes()
}

pub(crate) fn run(args: &DrillWriter, out: &mut Out) -> Result<Exit, Failure> {
    let ledger = Options::new().segment_bytes(SEGMENT_BYTES).open(&args.dir.path)?;
    let before = prefix(&args.run, args.round.saturating_sub(1));
    let again = args.unheard.saturating_sub(REPEATED_HEARD)..args.unheard + REPEATED_UNHEARD;
    let repeated = again.map(|number| format!("{before}{number}"));
    let own = prefix(&args.run, args.round);
    let fresh = (0u64..).map(|number| format!("{own}{number}"));
    let mut on_their_way = VecDeque::with_capacity(WINDOW);
    for key in repeated.chain(fresh) {
        if on_their_way.len() == WINDOW {
            acknowledge(&mut on_their_way, out)?;
        }
        on_their_way.push_back((submit(&ledger, &key), key));
    }
    Ok(Exit::Done)
}

fn submit(ledger: &Ledger, key: &str) -> Ticket {
    ledger.submit_deferred(&Submission::new(CLIENT, key, payload(key)))
}

/// Waits for the older half, and says so.
fn acknowledge(
    on_their_way: &mut VecDeque<(Ticket, String)>,
    out: &mut Out,
) -> Result<(), Failure> {
    for (mut ticket, key) in on_their_way.drain(..WINDOW / 2) {
        let outcome = ticket.wait(None)?;
        out.line(format_args!("{key} {}", outcome.receipt))?;
    }
    out.flush()
}
