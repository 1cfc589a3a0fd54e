//! What goes out for a note, or for what resolves one.
//!
//! Always true: an answer without a record says what is on disk (`certainty`), what happened, as a word for programs
//! (`error`) and a sentence for people (`why`), and what to do.

use std::fmt;

use order_ledger::{Certainty, Error, ErrorKind, How, Noted, OrderId, Seq};
use serde::Serialize;

use crate::args::Wanted;
use crate::errors::{certainty_name, is_unusable};
use crate::outcome::Became;
use crate::output::{hex, time};
use crate::transition::answer::{self, CORRECT_IT, Problem, word};

/// What a note is about.
#[derive(Debug)]
pub(crate) struct About {
    /// The line that asked for it; `None` for arguments.
    pub(crate) line: Option<u64>,
    pub(crate) order: Option<OrderId>,
    pub(crate) command_key: Option<Vec<u8>>,
    /// The note that it resolves.
    pub(crate) resolves: Option<Seq>,
}

impl About {
    pub(crate) fn argument(
        order: &Wanted,
        command_key: Option<&[u8]>,
        resolves: Option<Seq>,
    ) -> About {
        let answer::About { line, order, command_key } =
            answer::About::argument(order, command_key);
        About { line, order, command_key, resolves }
    }
}

/// The answer for one note.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    resolves: Option<u64>,
    pub(crate) outcome: Became,
    #[serde(flatten)]
    record: Option<Recorded>,
    #[serde(flatten)]
    problem: Option<Problem>,
    /// The ledger as a whole takes no more.
    #[serde(skip)]
    pub(crate) unusable: bool,
}

/// Where it is recorded.
#[derive(Serialize)]
struct Recorded {
    seq: u64,
    at: String,
}

impl Answer {
    fn new(about: About, outcome: Became) -> Answer {
        let About { line, order, command_key, resolves } = about;
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
            resolves: resolves.map(|seq| seq.0),
            outcome,
            record: None,
            problem: None,
            unusable: false,
        }
    }

    /// A line that is no note.
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
    pub(crate) fn of(about: About, result: &order_ledger::Result<Noted>) -> Answer {
        match result {
            Ok(noted) => {
                let outcome = match noted.how {
                    How::Fresh => Became::Fresh,
                    // Whatever else there may be one day: it was there before.
                    _ => Became::Replayed,
                };
                let record = Recorded { seq: noted.seq.0, at: time(noted.at) };
                Answer { record: Some(record), ..Answer::new(about, outcome) }
            }
            Err(error) => Answer::failed(about, error),
        }
    }

    fn failed(about: About, error: &Error) -> Answer {
        let has_key = about.command_key.is_some();
        let outcome = match (error.kind(), error.certainty()) {
            (ErrorKind::CommandConflict { .. }, _) => Became::Conflict,
            (ErrorKind::Invalid { .. }, _) => Became::Invalid,
            (_, Certainty::Unknown) => Became::InDoubt,
            _ => Became::Refused,
        };
        let advice = match error.kind() {
            ErrorKind::Invalid { .. } => CORRECT_IT,
            ErrorKind::InDoubt { .. } if has_key => {
                "send the same note again, with the same command key"
            }
            ErrorKind::InDoubt { .. } => "look at the notes of the order before sending it again",
            _ => error.advice(),
        };
        let mut problem = Problem::new(word(error.kind()), error.to_string(), advice);
        problem.certainty = certainty_name(error.certainty());
        if let ErrorKind::CommandConflict { differs, .. } = error.kind() {
            problem.differs = differs.iter().map(|field| field.name()).collect();
        }
        let unusable = is_unusable(error);
        Answer { problem: Some(problem), unusable, ..Answer::new(about, outcome) }
    }
}

/// For people.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(order) = self.order_id {
            write!(f, "order {order}: ")?;
        }
        if let Some(Recorded { seq, at }) = &self.record {
            match self.resolves {
                Some(note) => write!(f, "note {note} resolved (seq {seq})")?,
                None => write!(f, "note {seq}")?,
            }
            if self.outcome != Became::Fresh {
                write!(f, " at {at}, recorded before")?;
            }
        }
        if let Some(Problem { error, why, advice, .. }) = &self.problem {
            write!(f, "{error}: {why}\nnext: {advice}")?;
        }
        Ok(())
    }
}
