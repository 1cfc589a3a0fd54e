//! What goes out for a step that was asked for.
//!
//! Always true: an answer without a step says what is on disk (`certainty`), what happened, as a word for
//! programs (`error`) and a sentence for people (`why`), and what to do; `state` and `version`, when they are
//! there, are where the order stands.

use std::fmt;

use order_ledger::{
    Certainty, Error, ErrorKind, How, Ledger, Lifecycle, Linked, LinkedResult, OrderId, Present,
    Transitioned,
};
use serde::Serialize;

use crate::args::Wanted;
use crate::errors::{certainty_name, is_unusable};
use crate::names::name_of;
use crate::outcome::Became;
use crate::output::{hex, time};
use crate::told::{self, alone, is_invalid, is_other, names};

/// What a step is about.
#[derive(Debug)]
pub(crate) struct About {
    /// The line that asked for it; `None` for arguments.
    pub(crate) line: Option<u64>,
    pub(crate) order: Option<OrderId>,
    pub(crate) command_key: Option<Vec<u8>>,
}

impl About {
    pub(crate) fn argument(order: &Wanted, command_key: Option<&[u8]>) -> About {
        let order = match order {
            Wanted::Id(order) => *order,
            Wanted::Receipt(receipt) => receipt.order,
        };
        About { line: None, order: Some(order), command_key: command_key.map(<[u8]>::to_vec) }
    }
}

/// The answer for one step.
#[derive(Serialize)]
pub(crate) struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    order_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command_key: Option<String>,
    /// Instead of `command_key`, when that is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    command_key_hex: Option<String>,
    pub(crate) outcome: Became,
    #[serde(flatten)]
    step: Option<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    /// The names of what third parties are to be told with the step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dispatches: Vec<u64>,
    #[serde(flatten)]
    problem: Option<Problem>,
    /// The ledger as a whole takes no more.
    #[serde(skip)]
    pub(crate) unusable: bool,
}

/// The step as it is recorded.
#[derive(Serialize)]
struct Step {
    seq: u64,
    at: String,
    from: String,
    to: String,
    to_version: u64,
}

/// Why a command was not carried out.
#[derive(Serialize)]
pub(crate) struct Problem {
    pub(crate) certainty: &'static str,
    pub(crate) error: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) differs: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    pub(crate) why: String,
    pub(crate) advice: &'static str,
}

impl Answer {
    fn new(about: About, outcome: Became) -> Answer {
        let About { line, order, command_key } = about;
        let (command_key, command_key_hex) = match command_key.map(String::from_utf8) {
            None => (None, None),
            Some(Ok(text)) => (Some(text), None),
            Some(Err(other)) => (None, Some(hex(other.as_bytes()))),
        };
        Answer {
            line,
            order_id: order.map(OrderId::as_u64),
            command_key,
            command_key_hex,
            outcome,
            step: None,
            state: None,
            version: None,
            dispatches: Vec::new(),
            problem: None,
            unusable: false,
        }
    }

    /// A line that is no step.
    pub(crate) fn invalid(about: About, why: String) -> Answer {
        let problem = Problem::new("invalid", why, CORRECT_IT);
        Answer { problem: Some(problem), ..Answer::new(about, Became::Invalid) }
    }

    /// An order that is asked for by something that names none.
    pub(crate) fn no_such_order(about: About, why: String) -> Answer {
        let problem = Problem::new("no_such_order", why, "look the order up by its key");
        Answer { problem: Some(problem), ..Answer::new(about, Became::Refused) }
    }

    /// What the ledger said.
    pub(crate) fn of(
        about: About,
        result: &order_ledger::Result<Transitioned>,
        ledger: &Ledger,
    ) -> Answer {
        let lifecycle = ledger.lifecycle();
        let name = |state| name_of(lifecycle, state).into_owned();
        match result {
            Ok(done) => {
                let outcome = match done.how {
                    How::Fresh => Became::Fresh,
                    // Whatever else there may be one day: it was there before.
                    _ => Became::Replayed,
                };
                let step = Step {
                    seq: done.seq.0,
                    at: time(done.at),
                    from: name(done.from),
                    to: name(done.to),
                    to_version: done.version,
                };
                Answer {
                    step: Some(step),
                    ..Answer::new(about, outcome).standing(lifecycle, done.now)
                }
            }
            Err(error) => Answer::failed(about, error, ledger),
        }
    }

    /// What the ledger said about a step that came with dispatches.
    pub(crate) fn with(
        about: About,
        result: &order_ledger::Result<Linked>,
        ledger: &Ledger,
    ) -> Answer {
        match result {
            Ok(Linked { results, .. }) => {
                let moved = results.iter().find_map(|result| match result {
                    LinkedResult::Moved(moved) => Some(*moved),
                    _ => None,
                });
                // The step is the first member of its batch.
                let Some(moved) = moved else {
                    return Answer::invalid(about, "no step was taken".into());
                };
                Answer { dispatches: names(results), ..Answer::of(about, &Ok(moved), ledger) }
            }
            Err(error) => Answer::failed(about, error, ledger),
        }
    }

    fn failed(about: About, error: &Error, ledger: &Ledger) -> Answer {
        // With dispatches, what is wrong with the step is said as without them.
        let kind = alone(error.kind());
        let (lifecycle, order) = (ledger.lifecycle(), about.order);
        let has_key = about.command_key.is_some();
        let name = |state| name_of(lifecycle, state);
        let why = match kind {
            // The ledger's own words call a state of one's own by its number.
            ErrorKind::VersionMismatch { now } => format!(
                "the order is in state {} with version {}, which is not what was expected",
                name(now.state),
                now.version
            ),
            ErrorKind::AlreadyTerminal { now } => {
                format!("the order is in state {} for ever", name(now.state))
            }
            ErrorKind::NoSuchStep { now, to } => {
                format!("there is no step from the state {} to {}", name(now.state), name(*to))
            }
            ErrorKind::MissingEvidence { now, to, missing } => format!(
                "the step from {} to {} demands evidence: {}",
                name(now.state),
                name(*to),
                missing.join(" ")
            ),
            kind if is_other(kind) => {
                "the command was recorded with other dispatches, or without any".to_owned()
            }
            _ => error.to_string(),
        };
        let outcome = match (kind, error.certainty()) {
            (ErrorKind::CommandConflict { .. }, _) => Became::Conflict,
            (kind, _) if is_other(kind) => Became::Conflict,
            (kind, _) if is_invalid(kind) => Became::Invalid,
            (_, Certainty::Unknown) => Became::InDoubt,
            _ => Became::Refused,
        };
        let advice = match (kind, outcome) {
            (_, Became::Invalid) => CORRECT_IT,
            (ErrorKind::InDoubt { .. }, _) if has_key => {
                "send the same step again, with the same command key"
            }
            (ErrorKind::InDoubt { .. }, _) => "look at the order before sending the step again",
            _ => told::advice(error),
        };
        let mut problem = Problem::new(word(kind), why, advice);
        problem.certainty = certainty_name(error.certainty());
        let mut now = None;
        match kind {
            ErrorKind::VersionMismatch { now: found }
            | ErrorKind::AlreadyTerminal { now: found }
            | ErrorKind::NoSuchStep { now: found, .. } => now = Some(*found),
            ErrorKind::MissingEvidence { now: found, missing, .. } => {
                now = Some(*found);
                problem.missing.clone_from(missing);
            }
            ErrorKind::CommandConflict { differs, .. } => {
                problem.differs = differs.iter().map(|field| field.name()).collect();
                // One that can't be read is left out: the answer is the conflict.
                let found = order.and_then(|order| ledger.get(order).ok()).flatten();
                now = found.map(|order| order.now);
            }
            _ => {}
        }
        let answer = Answer::new(about, outcome);
        let answer = match now {
            Some(now) => answer.standing(lifecycle, now),
            None => answer,
        };
        Answer { problem: Some(problem), unusable: is_unusable(error), ..answer }
    }

    fn standing(self, lifecycle: &Lifecycle, now: Present) -> Answer {
        let state = name_of(lifecycle, now.state).into_owned();
        Answer { state: Some(state), version: Some(now.version), ..self }
    }
}

pub(crate) const CORRECT_IT: &str = "correct it and send it again; nothing was recorded for it";

impl Problem {
    pub(crate) fn new(error: &'static str, why: String, advice: &'static str) -> Problem {
        let certainty = certainty_name(Certainty::NotRecorded);
        Problem { certainty, error, differs: Vec::new(), missing: Vec::new(), why, advice }
    }
}

/// What went wrong, as a word for programs.
pub(crate) fn word(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid { .. } => "invalid",
        ErrorKind::NoSuchOrder { .. } => "no_such_order",
        ErrorKind::VersionMismatch { .. } => "version_mismatch",
        ErrorKind::AlreadyTerminal { .. } => "already_terminal",
        ErrorKind::NoSuchStep { .. } => "no_such_step",
        ErrorKind::MissingEvidence { .. } => "missing_evidence",
        ErrorKind::CommandConflict { .. }
        | ErrorKind::BatchConflict { .. }
        | ErrorKind::BatchKeyConflict { .. } => "command_conflict",
        ErrorKind::BatchMember { why, .. } => word(why),
        ErrorKind::NoOpenNote { .. } => "no_open_note",
        ErrorKind::NoOpenAlert { .. } => "no_open_alert",
        ErrorKind::NoSuchDispatch { .. } => "no_such_dispatch",
        ErrorKind::NotDead { .. } => "not_dead",
        ErrorKind::Overloaded { .. } => "overloaded",
        ErrorKind::DiskLow { .. } => "disk_low",
        ErrorKind::InDoubt { .. } => "in_doubt",
        ErrorKind::Poisoned { .. } => "poisoned",
        ErrorKind::Closed => "closed",
        ErrorKind::Io { .. } => "io",
        ErrorKind::Corrupt(_) => "corrupt",
        _ => "other",
    }
}

/// For people.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(order) = self.order_id {
            write!(f, "order {order}: ")?;
        }
        if let Some(Step { at, from, to, to_version, .. }) = &self.step {
            match self.outcome {
                Became::Fresh => write!(f, "{from} -> {to} (version {to_version})")?,
                // An order that was always there has made no step.
                _ if from == to => write!(f, "in state {to} since {at}")?,
                _ => write!(f, "{from} -> {to} (version {to_version}) at {at}, taken before")?,
            }
            if self.version.is_some_and(|version| version != *to_version) {
                let (state, version) = (self.state.as_deref(), self.version);
                let (state, version) = (state.unwrap_or_default(), version.unwrap_or_default());
                write!(f, "; now {state} (version {version})")?;
            }
        }
        if let Some(Problem { error, why, advice, .. }) = &self.problem {
            write!(f, "{error}: {why}\nnext: {advice}")?;
        }
        Ok(())
    }
}
