//! The line that goes out for a line that came in, and the count of them.
//!
//! Always true: a line that was not taken says what is on disk (`certainty`), what happened and what to
//! do; `order_id` and `receipt` are always those of an order that is durable.

use std::fmt;

use order_ledger::{Certainty, Error, ErrorKind, Outcome, Receipt};
use serde::Serialize;

use crate::errors::{Exit, certainty_name, is_unusable};
use crate::output::time;

/// What became of a line.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Became {
    Fresh,
    Replayed,
    Joined,
    Conflict,
    Refused,
    Invalid,
    /// A write or sync failed under it: it may be recorded or not.
    InDoubt,
}

/// The answer for one line.
#[derive(Serialize)]
pub(crate) struct Answer {
    line: u64,
    key: Option<String>,
    outcome: Became,
    #[serde(flatten)]
    recorded: Option<Recorded>,
    #[serde(flatten)]
    problem: Option<Problem>,
    /// The ledger as a whole does not take orders any more.
    #[serde(skip)]
    unusable: bool,
}

/// The order that has the key.
#[derive(Serialize)]
struct Recorded {
    order_id: u64,
    accepted_at: String,
    fingerprint: String,
    receipt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

/// Why a line was not taken.
#[derive(Serialize)]
struct Problem {
    certainty: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differs: Vec<&'static str>,
    error: String,
    advice: &'static str,
}

impl Recorded {
    fn new(receipt: &Receipt) -> Recorded {
        Recorded {
            order_id: receipt.order.as_u64(),
            accepted_at: time(receipt.accepted_at),
            fingerprint: receipt.fingerprint.to_string(),
            receipt: receipt.to_string(),
            state: None,
            version: None,
        }
    }
}

impl Answer {
    /// A line that is not an order.
    pub(crate) fn invalid(line: u64, key: Option<String>, error: String) -> Answer {
        let problem = Problem {
            certainty: certainty_name(Certainty::NotRecorded),
            differs: Vec::new(),
            error,
            advice: "correct the line and submit it again; nothing was recorded for it",
        };
        let outcome = Became::Invalid;
        Answer { line, key, outcome, recorded: None, problem: Some(problem), unusable: false }
    }

    /// What the ledger said.
    pub(crate) fn of(
        line: u64,
        key: Option<String>,
        result: &order_ledger::Result<Outcome>,
    ) -> Answer {
        match result {
            Ok(outcome) => {
                let recorded = Recorded {
                    state: Some(outcome.now.state.name()),
                    version: Some(outcome.now.version),
                    ..Recorded::new(&outcome.receipt)
                };
                let outcome = match outcome.how {
                    order_ledger::How::Fresh => Became::Fresh,
                    order_ledger::How::Joined => Became::Joined,
                    // Whatever else there may be one day: it was there before.
                    _ => Became::Replayed,
                };
                Answer {
                    line,
                    key,
                    outcome,
                    recorded: Some(recorded),
                    problem: None,
                    unusable: false,
                }
            }
            Err(error) => Answer::failed(line, key, error),
        }
    }

    fn failed(line: u64, key: Option<String>, error: &Error) -> Answer {
        let mut differs = Vec::new();
        let outcome = match (error.kind(), error.certainty()) {
            (ErrorKind::Conflict { differs: fields, .. }, _) => {
                differs = fields.iter().map(|field| field.name()).collect();
                Became::Conflict
            }
            (ErrorKind::Invalid { .. }, _) => Became::Invalid,
            (_, Certainty::Unknown) => Became::InDoubt,
            _ => Became::Refused,
        };
        let recorded = match error.certainty() {
            Certainty::Recorded(receipt) => Some(Recorded::new(&receipt)),
            _ => None,
        };
        let problem = Problem {
            certainty: certainty_name(error.certainty()),
            differs,
            error: error.to_string(),
            advice: error.advice(),
        };
        let unusable = is_unusable(error);
        Answer { line, key, outcome, recorded, problem: Some(problem), unusable }
    }
}

/// How many lines became what.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    fresh: u64,
    replayed: u64,
    joined: u64,
    conflict: u64,
    refused: u64,
    invalid: u64,
    in_doubt: u64,
    unusable: bool,
}

impl Tally {
    pub(crate) fn count(&mut self, answer: &Answer) {
        *match answer.outcome {
            Became::Fresh => &mut self.fresh,
            Became::Replayed => &mut self.replayed,
            Became::Joined => &mut self.joined,
            Became::Conflict => &mut self.conflict,
            Became::Refused => &mut self.refused,
            Became::Invalid => &mut self.invalid,
            Became::InDoubt => &mut self.in_doubt,
        } += 1;
        self.unusable |= answer.unusable;
    }

    /// How the command ends.
    pub(crate) fn exit(&self) -> Exit {
        if self.unusable || self.in_doubt > 0 {
            Exit::Unusable
        } else if self.conflict + self.refused + self.invalid > 0 {
            Exit::SomeLines
        } else {
            Exit::Done
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            ("fresh", self.fresh),
            ("replayed", self.replayed),
            ("joined", self.joined),
            ("conflict", self.conflict),
            ("refused", self.refused),
            ("invalid", self.invalid),
            ("in doubt", self.in_doubt),
        ];
        let lines: u64 = counts.iter().map(|(_, count)| count).sum();
        write!(f, "{lines} {}:", if lines == 1 { "line" } else { "lines" })?;
        let mut separator = " ";
        for (name, count) in counts.iter().filter(|(_, count)| *count > 0) {
            write!(f, "{separator}{count} {name}")?;
            separator = ", ";
        }
        if self.exit() == Exit::Unusable {
            write!(f, "; the ledger stopped taking orders: run the command again, which is safe")?;
        }
        Ok(())
    }
}
