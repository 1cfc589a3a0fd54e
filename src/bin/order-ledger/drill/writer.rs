//! The child of a drill: opens the ledger, writes, and says what was acknowledged, until it is killed.
//!
//! Always true: a line is written when its order is durable; the orders of a round are acknowledged in
//! their order, so that one number says which were heard. Lines that begin with [`TELLS`] say how far it
//! is: what opening found, and that the views have caught up.

use std::collections::VecDeque;

use order_ledger::{Ledger, Options, RecoveryReport, Ticket};

use super::content::Content;
use crate::args::DrillWriter;
use crate::errors::{Exit, Failure};
use crate::output::Out;

/// What a line begins with that is no acknowledgement.
pub(crate) const TELLS: char = '!';

/// Orders that are on their way at a time.
const WINDOW: usize = 64;
/// Orders of the round before that are submitted again: those whose answer was heard must be replayed,
/// the others taken once.
const REPEATED_HEARD: u64 = 16;
const REPEATED_UNHEARD: u64 = 2 * WINDOW as u64;

/// What the keys of a round begin with.
pub(crate) fn prefix(run: &str, round: u32) -> String {
    format!("{run}-{round}-")
}

/// What a child tells about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// The ledger is open.
    Opened {
        /// A segment was ended and not sealed: what was killed was beginning the next one.
        resealed: u64,
        /// A file was being made.
        leftovers: u64,
        torn: bool,
    },
    /// The views have everything.
    ViewsReady,
}

impl Told {
    fn opened(report: &RecoveryReport) -> Told {
        Told::Opened {
            resealed: report.segments_resealed,
            leftovers: report.leftovers_removed,
            torn: report.torn_bytes > 0,
        }
    }

    fn to_line(self) -> String {
        match self {
            Told::Opened { resealed, leftovers, torn } => {
                format!("{TELLS} opened {resealed} {leftovers} {}", u64::from(torn))
            }
            Told::ViewsReady => format!("{TELLS} views"),
        }
    }

    pub(crate) fn parse(line: &str) -> Option<Told> {
        let mut words = line.trim_end().strip_prefix(TELLS)?.split_whitespace();
        match words.next()? {
            "views" => Some(Told::ViewsReady),
            "opened" => {
                let mut number = || words.next()?.parse::<u64>().ok();
                let (resealed, leftovers, torn) = (number()?, number()?, number()?);
                Some(Told::Opened { resealed, leftovers, torn: torn > 0 })
            }
            _ => None,
        }
    }
}

pub(crate) fn run(args: &DrillWriter, out: &mut Out) -> Result<Exit, Failure> {
    let content = Content::new(args.from.as_deref())?;
    let segment_bytes = args.segment_mib.saturating_mul(1024 * 1024);
    let ledger = Options::new().segment_bytes(segment_bytes).open(&args.dir.path)?;
    tell(Told::opened(ledger.recovery_report()), out)?;
    let before = prefix(&args.run, args.round.saturating_sub(1));
    let again = args.unheard.saturating_sub(REPEATED_HEARD)..args.unheard + REPEATED_UNHEARD;
    let repeated = again.map(|number| format!("{before}{number}"));
    let own = prefix(&args.run, args.round);
    let fresh = (0u64..).map(|number| format!("{own}{number}"));
    let mut on_their_way = VecDeque::with_capacity(WINDOW);
    let mut views_ready = false;
    for key in repeated.chain(fresh) {
        if on_their_way.len() == WINDOW {
            acknowledge(&mut on_their_way, out)?;
            if !views_ready && have_all(&ledger)? {
                views_ready = true;
                tell(Told::ViewsReady, out)?;
            }
        }
        on_their_way.push_back((ledger.submit_deferred(&content.submission(&key)), key));
    }
    Ok(Exit::Done)
}

fn tell(told: Told, out: &mut Out) -> Result<(), Failure> {
    out.line(told.to_line())?;
    out.flush()
}

/// Whether the views follow the log by no more than what is on its way.
fn have_all(ledger: &Ledger) -> Result<bool, Failure> {
    let views = ledger.stats()?.views;
    Ok(views.is_some_and(|views| views.phase == "feeding" && views.behind <= WINDOW as u64))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_tells_comes_back() {
        for told in [Told::ViewsReady, Told::Opened { resealed: 1, leftovers: 2, torn: true }] {
            assert_eq!(Told::parse(&told.to_line()), Some(told));
        }
        for other in ["", "!", "! x", "! opened 1", "run-1-0 olr1-x"] {
            assert_eq!(Told::parse(other), None, "{other}");
        }
    }
}
