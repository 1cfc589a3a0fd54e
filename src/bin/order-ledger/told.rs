//! What third parties are to be told about the order of a line, or about a step of one: recorded in one write with it.
//!
//! Always true: the order, or the step, and all its dispatches are there, or nothing is; a line that comes again is
//! answered from that write and adds nothing, and what was recorded with other dispatches gets no new ones.

use std::borrow::Cow;

use order_ledger::{Dispatch, Error, ErrorKind, LinkedBatch, LinkedResult, Seq};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Something that a third party is to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Told {
    pub(crate) route: String,
    pub(crate) body: Vec<u8>,
}

/// The same as it stands in a line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToldField<'a> {
    #[serde(borrow)]
    route: Cow<'a, str>,
    /// Any JSON value but null, kept as its very bytes.
    #[serde(borrow)]
    body: &'a RawValue,
}

/// What the field `dispatches` of a line says; nothing, when it is not there.
pub(crate) fn read(fields: Option<&[ToldField<'_>]>) -> Result<Vec<Told>, String> {
    let told = fields.unwrap_or_default().iter().map(|it| match it.body.get() {
        "null" => Err(format!("the body for the route {:?} is null", it.route)),
        body => Ok(Told { route: it.route.clone().into_owned(), body: body.into() }),
    });
    told.collect()
}

/// The batch with its first member and what is to be told about the order of that.
pub(crate) fn with(
    batch: LinkedBatch,
    told: &[Told],
    about: impl Fn(&Told) -> Dispatch,
) -> LinkedBatch {
    told.iter().fold(batch, |batch, told| batch.dispatch(about(told)))
}

/// The names of the dispatches of a batch.
pub(crate) fn names(results: &[LinkedResult]) -> Vec<u64> {
    let names = results.iter().filter_map(|result| match result {
        LinkedResult::Dispatched(it) => Some(it.dispatch),
        _ => None,
    });
    names.map(|Seq(dispatch)| dispatch).collect()
}

/// What to do when the order, or the step, was not taken with its dispatches.
pub(crate) fn advice(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::BatchMember { .. } => {
            "nothing of the line was recorded: see to its order or step (member 0) or to that dispatch, then send all \
             of it again"
        }
        _ => error.advice(),
    }
}

/// What is wrong with the order or the step of a batch, as if it had come alone.
pub(crate) fn alone(kind: &ErrorKind) -> &ErrorKind {
    match kind {
        ErrorKind::BatchMember { index: 0, why } => why,
        other => other,
    }
}

/// Whether the first member is recorded already, with other dispatches or without any.
pub(crate) fn is_other(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::BatchConflict { .. } | ErrorKind::BatchKeyConflict { .. })
}

/// Whether the line has to be corrected: the order, the step, or a dispatch can't be.
pub(crate) fn is_invalid(kind: &ErrorKind) -> bool {
    match kind {
        ErrorKind::BatchMember { why, .. } => is_invalid(why),
        other => matches!(other, ErrorKind::Invalid { .. }),
    }
}
