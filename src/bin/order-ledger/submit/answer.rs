//! The line that goes out for a line that came in.
//!
//! Always true: a line that was not taken says what is on disk (`certainty`), what happened and what to
//! do; `order_id` and `receipt` are always those of an order that is durable.

use order_ledger::{
    Certainty, Error, ErrorKind, Ledger, Lifecycle, Linked, LinkedResult, Outcome, Receipt,
    Submission,
};
use serde::Serialize;

use crate::errors::{certainty_name, is_unusable};
use crate::names::name_of;
use crate::outcome::Became;
use crate::output::time;
use crate::told::{self, is_invalid, is_other, names};

/// The answer for one line.
#[derive(Serialize)]
pub(crate) struct Answer {
    line: u64,
    key: Option<String>,
    pub(crate) outcome: Became,
    #[serde(flatten)]
    recorded: Option<Recorded>,
    #[serde(flatten)]
    problem: Option<Problem>,
    /// The ledger as a whole does not take orders any more.
    #[serde(skip)]
    pub(crate) unusable: bool,
}

/// The order that has the key.
#[derive(Serialize)]
struct Recorded {
    order_id: u64,
    accepted_at: String,
    fingerprint: String,
    receipt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    /// The names of what third parties are to be told with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dispatches: Vec<u64>,
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
            dispatches: Vec::new(),
        }
    }
}

const CORRECT_IT: &str = "correct the line and submit it again; nothing was recorded for it";

impl Answer {
    /// A line that is not an order.
    pub(crate) fn invalid(line: u64, key: Option<String>, error: String) -> Answer {
        let problem = Problem {
            certainty: certainty_name(Certainty::NotRecorded),
            differs: Vec::new(),
            error,
            advice: CORRECT_IT,
        };
        let outcome = Became::Invalid;
        Answer { line, key, outcome, recorded: None, problem: Some(problem), unusable: false }
    }

    /// What the ledger said.
    pub(crate) fn of(
        line: u64,
        key: Option<String>,
        result: &order_ledger::Result<Outcome>,
        lifecycle: &Lifecycle,
    ) -> Answer {
        match result {
            Ok(outcome) => {
                let recorded = Recorded {
                    state: Some(name_of(lifecycle, outcome.now.state).into_owned()),
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

    /// What the ledger said about an order that came with dispatches.
    pub(crate) fn with(
        line: u64,
        key: Option<String>,
        order: &Submission,
        result: &order_ledger::Result<Linked>,
        ledger: &Ledger,
    ) -> Answer {
        let error = match result {
            Ok(Linked { results, .. }) => {
                let taken = results.iter().find_map(|result| match result {
                    LinkedResult::Submitted(outcome) => Some(*outcome),
                    _ => None,
                });
                // The order is the first member of its batch.
                let Some(taken) = taken else {
                    return Answer::invalid(line, key, "no order was taken".into());
                };
                let mut answer = Answer::of(line, key, &Ok(taken), ledger.lifecycle());
                if let Some(recorded) = &mut answer.recorded {
                    recorded.dispatches = names(results);
                }
                return answer;
            }
            Err(error) => error,
        };
        if is_other(error.kind())
            && let Ok(Some(other)) = ledger.by_key(order.client(), order.key())
        {
            // The key has an order for ever: this finds out in what it differs, and writes nothing.
            let differs = match ledger.submit(order) {
                Ok(_) => vec!["dispatches"],
                Err(error) => match error.kind() {
                    ErrorKind::Conflict { differs, .. } => {
                        differs.iter().map(|field| field.name()).collect()
                    }
                    _ => Vec::new(),
                },
            };
            let problem = Problem {
                certainty: certainty_name(Certainty::Recorded(other.receipt)),
                differs,
                error: "the key has an order already, with other content or other dispatches"
                    .into(),
                advice: "nothing was recorded for this line: look at that order and its dispatches",
            };
            let (recorded, problem) = (Some(Recorded::new(&other.receipt)), Some(problem));
            let outcome = Became::Conflict;
            return Answer { line, key, outcome, recorded, problem, unusable: false };
        }
        let mut answer = Answer::failed(line, key, error);
        if let Some(problem) = answer.problem.as_mut().filter(|_| is_invalid(error.kind())) {
            (answer.outcome, problem.advice) = (Became::Invalid, CORRECT_IT);
        }
        answer
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
            advice: told::advice(error),
        };
        let unusable = is_unusable(error);
        Answer { line, key, outcome, recorded, problem: Some(problem), unusable }
    }
}
