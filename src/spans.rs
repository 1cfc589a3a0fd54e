//! Spans for programs that collect them with `tracing`: what is done, for how long, and what came of it.
//!
//! Always true: without the feature `tracing` nothing of it is there; with it, and without somebody who collects at that
//! level, a span costs a load; no field says what a caller keeps here: no key, no payload, no account, no evidence.
//! [`guide::metrics`](crate::guide::metrics) explains every span and every field, which a test holds.
#![cfg_attr(
    not(feature = "tracing"),
    expect(unused_variables, reason = "nobody collects what they would say")
)]

#[cfg(feature = "tracing")]
use crate::error::ErrorKind;
use crate::error::Result;
#[cfg(feature = "tracing")]
use crate::order::How;
use crate::order::{OrderId, Outcome, Sent, Seq, Submission, Transition, Transitioned};

/// A span that has begun, and ends when this goes.
pub(crate) struct Span {
    #[cfg(feature = "tracing")]
    entered: tracing::span::EnteredSpan,
}

/// Begins a span. Its fields are looked at only when somebody collects it.
#[cfg(feature = "tracing")]
macro_rules! begin {
    ($level:ident, $name:literal, $($fields:tt)*) => {
        Span {
            entered: tracing::span!(
                target: "order_ledger",
                tracing::Level::$level,
                $name,
                $($fields)*
            )
            .entered(),
        }
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! begin {
    ($level:ident, $name:literal, $($fields:tt)*) => {
        Span {}
    };
}

/// Says more of a span, if somebody collects it.
#[cfg(feature = "tracing")]
macro_rules! say {
    ($span:expr, $($field:literal = $value:expr),+) => {
        if !$span.entered.is_disabled() {
            $($span.entered.record($field, $value);)+
        }
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! say {
    ($span:expr, $($field:literal = $value:expr),+) => {{}};
}

/// One order is handed in and waited for.
#[inline]
pub(crate) fn submit(submission: &Submission) -> Span {
    begin!(
        DEBUG,
        "submit",
        client = %submission.client.escape_ascii(),
        outcome = tracing::field::Empty,
        seq = tracing::field::Empty
    )
}

/// Many are.
#[inline]
pub(crate) fn submit_many(orders: usize) -> Span {
    begin!(DEBUG, "submit_many", orders = orders as u64, taken = tracing::field::Empty)
}

/// An order is to take a step.
#[inline]
pub(crate) fn transition(step: &Transition) -> Span {
    begin!(
        DEBUG,
        "transition",
        order = step.order.as_u64(),
        to = %step.to,
        outcome = tracing::field::Empty,
        seq = tracing::field::Empty
    )
}

/// Orders are to take many.
#[inline]
pub(crate) fn transition_many(steps: usize) -> Span {
    begin!(DEBUG, "transition_many", steps = steps as u64, taken = tracing::field::Empty)
}

/// Records are made durable together. Written by whoever leads: inside of the span of his call, if he has one.
#[inline]
pub(crate) fn group(records: usize) -> Span {
    begin!(
        DEBUG,
        "group",
        records = records as u64,
        first_seq = tracing::field::Empty,
        bytes = tracing::field::Empty,
        sync_us = tracing::field::Empty
    )
}

/// A ledger is opened for writing.
#[inline]
pub(crate) fn open() -> Span {
    begin!(
        INFO,
        "open",
        outcome = tracing::field::Empty,
        records = tracing::field::Empty,
        torn_bytes = tracing::field::Empty
    )
}

/// A provider is told something: from before the record that says so to behind the one with its answer.
#[inline]
pub(crate) fn attempt(
    order: OrderId,
    dispatch: Seq,
    route: &str,
    provider: &str,
    attempt: u32,
) -> Span {
    begin!(
        DEBUG,
        "attempt",
        order = order.as_u64(),
        dispatch = dispatch.0,
        route = route,
        provider = provider,
        attempt = attempt,
        outcome = tracing::field::Empty
    )
}

impl Span {
    /// What came of an order.
    #[inline]
    pub(crate) fn submitted(&self, result: &Result<Outcome>) {
        say!(self, "outcome" = outcome(result, |it| it.how));
        if let Ok(taken) = result {
            say!(self, "seq" = taken.receipt.order.seq().0);
        }
    }

    /// What came of a step.
    #[inline]
    pub(crate) fn moved(&self, result: &Result<Transitioned>) {
        say!(self, "outcome" = outcome(result, |it| it.how));
        if let Ok(taken) = result {
            say!(self, "seq" = taken.seq.0);
        }
    }

    /// What came of many.
    #[inline]
    pub(crate) fn taken<T>(&self, results: &[Result<T>]) {
        say!(self, "taken" = results.iter().filter(|result| result.is_ok()).count() as u64);
    }

    /// Where a group was written, and how long the device took.
    #[inline]
    pub(crate) fn written(&self, first_seq: Seq, bytes: u64, sync_ns: u64) {
        say!(self, "first_seq" = first_seq.0, "bytes" = bytes, "sync_us" = sync_ns / 1_000);
    }

    /// What was found when the ledger was opened; `None`: it could not be.
    #[inline]
    pub(crate) fn opened(&self, records: Option<u64>, torn_bytes: u64) {
        say!(self, "outcome" = if records.is_some() { "open" } else { "failed" });
        if let Some(records) = records {
            say!(self, "records" = records, "torn_bytes" = torn_bytes);
        }
    }

    /// What a provider said.
    #[inline]
    pub(crate) fn answered(&self, sent: &Sent) {
        say!(
            self,
            "outcome" = match sent {
                Sent::Done { .. } => "done",
                Sent::Refused { .. } => "refused",
                Sent::NotSent { .. } => "not_sent",
                Sent::Unknown { .. } => "unknown",
            }
        );
    }
}

/// What a call came to, in the words of the metrics.
#[cfg(feature = "tracing")]
fn outcome<T>(result: &Result<T>, how: impl FnOnce(&T) -> How) -> &'static str {
    let error = match result.as_ref().map(how) {
        Ok(How::Fresh) => return "fresh",
        Ok(How::Joined) => return "joined",
        Ok(_) => return "replayed",
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::Conflict { .. } | ErrorKind::CommandConflict { .. } => "conflict",
        ErrorKind::Refused { .. }
        | ErrorKind::NoSuchOrder { .. }
        | ErrorKind::VersionMismatch { .. }
        | ErrorKind::AlreadyTerminal { .. }
        | ErrorKind::NoSuchStep { .. }
        | ErrorKind::MissingEvidence { .. } => "refused",
        ErrorKind::RefusedForNow { .. } => "refused_for_now",
        ErrorKind::Invalid { .. } => "invalid",
        ErrorKind::Overloaded { .. } => "overloaded",
        ErrorKind::DiskLow { .. } => "disk_low",
        ErrorKind::InDoubt { .. } => "in_doubt",
        _ => "failed",
    }
}
