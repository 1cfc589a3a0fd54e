//! Decides about a step that an order is to take: is it taken already, may it be, or what is the answer?
//!
//! The order of the checks is fixed (SEMANTICS rule 17): the order exists, command key, target reached
//! already (rule 19), terminal, expected version or state, edge, evidence. Looks at committed state only:
//! whoever asks has made sure that no other step of the order is on its way.
//!
//! An order whose time is over counts as terminal (rule 31), and is answered for when that is recorded: a wall
//! clock may go back, and an answer may not. What is decided here comes to its time later, when it is written:
//! each step says what time its record may have ([`When`]).

use super::dedupe::Lookup;
use super::standing::Standing;
use crate::error::{Error, ErrorKind, Result};
use crate::order::{
    Expect, Field, How, Lifecycle, OrderId, Present, Seq, State, Submission, Timestamp, Transition,
    Transitioned,
};
use crate::wal::issuer::evidence_of;
use crate::wal::log::Record;
use crate::wal::record::{Body, Moved, Proof};

/// What is to be done about a transition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Decision {
    /// Nothing: the step was taken before.
    Known(Transitioned),
    /// The step is to be recorded.
    Take(Step),
    /// The time of the order is over: this step is to be recorded, and then decides.
    Expire(Step),
}

/// Which time the record of a step may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    Any,
    /// The order expires then.
    Before(Timestamp),
    /// The order has expired then.
    From(Timestamp),
}

impl When {
    pub(crate) fn allows(self, at: Timestamp) -> bool {
        match self {
            When::Any => true,
            When::Before(end) => at < end,
            When::From(start) => at >= start,
        }
    }
}

/// Why an order has expired: what its last step says.
const EXPIRED: &str = "its time ran out";

/// A step that may be taken from where the order stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    /// The seq of the record that began the order.
    pub(crate) order: Seq,
    pub(crate) from: State,
    pub(crate) to: State,
    /// Of the order, after it.
    pub(crate) version: u64,
    pub(crate) when: When,
}

impl Step {
    /// The body that records it.
    pub(crate) fn record<'a>(&self, transition: &'a Transition) -> Moved<'a> {
        let proof = |it: &'a crate::order::Evidence| Proof { name: &it.name, value: &it.value };
        Moved {
            order: self.order.0,
            version: self.version,
            from: self.from.number(),
            to: self.to.number(),
            command_key: &transition.command_key,
            evidence: transition.evidence.iter().map(proof).collect(),
            reason: &transition.reason,
        }
    }

    /// The body that records it when nobody asked for it: the order has expired.
    pub(crate) fn record_of_expiry(&self) -> Moved<'static> {
        Moved {
            order: self.order.0,
            version: self.version,
            from: self.from.number(),
            to: self.to.number(),
            command_key: &[],
            evidence: Vec::new(),
            reason: EXPIRED,
        }
    }
}

/// Decides by what is committed, and by what time it is now: that is asked only if the order expires.
///
/// # Errors
/// `NoSuchOrder`, `CommandConflict`, `AlreadyTerminal`, `VersionMismatch`, `NoSuchStep`, `MissingEvidence`;
/// `Io` or `Corrupt` when it is not known.
pub(crate) fn decide(
    lookup: &Lookup,
    lifecycle: &Lifecycle,
    transition: &Transition,
    ledger_now: impl FnOnce() -> Timestamp,
) -> Result<Decision> {
    let Transition { order: id, to, expect, ref command_key, .. } = *transition;
    let (began, standing) = find(lookup, id)?;
    let (order, now) = (began.seq, standing.now);
    if !command_key.is_empty()
        && let Some(record) = lookup.command(order, command_key)?
    {
        return repeat(lookup, transition, &record, now).map(Decision::Known);
    }
    let version = now.version + 1;
    let expires_at = began.body()?.expires_at(began.at);
    if let Some(end) = expires_at.filter(|_| !lifecycle.is_terminal(now.state))
        && ledger_now() >= end
    {
        let (to, when) = (State::Expired, When::From(end));
        return Ok(Decision::Expire(Step { order, from: now.state, to, version, when }));
    }
    if command_key.is_empty() && now.state == to && !matches!(expect, Expect::Version(_)) {
        return reached(lookup, id, standing).map(Decision::Known);
    }
    if lifecycle.is_terminal(now.state) {
        return Err(Error::new(ErrorKind::AlreadyTerminal { now }));
    }
    let is_expected = match expect {
        Expect::Anything => true,
        Expect::Version(version) => version == now.version,
        Expect::State(state) => state == now.state,
    };
    if !is_expected {
        return Err(Error::new(ErrorKind::VersionMismatch { now }));
    }
    let Some(demanded) = lifecycle.demanded(now.state, to) else {
        return Err(Error::new(ErrorKind::NoSuchStep { now, to }));
    };
    let brought = |name: &&String| transition.evidence.iter().any(|it| it.name == **name);
    let missing: Vec<_> = demanded.iter().filter(|name| !brought(name)).cloned().collect();
    if !missing.is_empty() {
        return Err(Error::new(ErrorKind::MissingEvidence { now, to, missing }));
    }
    let when = expires_at.map_or(When::Any, When::Before);
    Ok(Decision::Take(Step { order, from: now.state, to, version, when }))
}

/// The state that cancels an order which stands there: at once where the lifecycle allows it, else by
/// asking. SEMANTICS rule 32.
pub(crate) fn cancel_step(lookup: &Lookup, lifecycle: &Lifecycle, id: OrderId) -> Result<State> {
    let (_, Standing { now, .. }) = find(lookup, id)?;
    let by_asking = lifecycle.allows(now.state, State::Cancelling)
        && !lifecycle.allows(now.state, State::Cancelled);
    let is_asked = now.state == State::Cancelling;
    Ok(if by_asking || is_asked { State::Cancelling } else { State::Cancelled })
}

/// Makes sure that the order exists which a new one corrects.
///
/// # Errors
/// `NoSuchOrder`.
pub(crate) fn check_corrected(lookup: &Lookup, submission: &Submission) -> Result<()> {
    submission.corrects.map_or(Ok(()), |old| find(lookup, old).map(|_| ()))
}

/// The record that began an order, and where the order stands.
pub(crate) fn find(lookup: &Lookup, id: OrderId) -> Result<(Record, Standing)> {
    let no_such = || Error::new(ErrorKind::NoSuchOrder { order: id });
    if id.partition() != lookup.log.issuer.partition {
        return Err(no_such());
    }
    let began = lookup.log.read(id.seq())?.ok_or_else(no_such)?;
    let standing = lookup.standing(&began)?.ok_or_else(no_such)?;
    Ok((began, standing))
}

/// The answer for a command that was carried out before, as `record` says.
fn repeat(
    lookup: &Lookup,
    transition: &Transition,
    record: &Record,
    now: Present,
) -> Result<Transitioned> {
    let body = record.body()?;
    let Body::Moved(moved) = &body else {
        // The key is that of a note, or of what resolved one.
        let (seq, differs) = (record.seq, vec![Field::Command]);
        return Err(Error::new(ErrorKind::CommandConflict { seq, differs }));
    };
    let differs: Vec<_> = [
        (Field::State, moved.to() == transition.to),
        (Field::Evidence, evidence_of(moved) == transition.evidence),
        (Field::Reason, moved.reason == transition.reason),
    ]
    .into_iter()
    .filter_map(|(field, same)| (!same).then_some(field))
    .collect();
    if !differs.is_empty() {
        return Err(Error::new(ErrorKind::CommandConflict { seq: record.seq, differs }));
    }
    Ok(answer(lookup, record, moved, now, How::Replayed))
}

/// The answer for a state that the order is in already.
fn reached(lookup: &Lookup, order: OrderId, standing: Standing) -> Result<Transitioned> {
    let Standing { now, last } = standing;
    let record =
        lookup.log.read(last)?.ok_or_else(|| Error::new(ErrorKind::NoSuchOrder { order }))?;
    Ok(match record.body()?.moved() {
        Some(moved) => answer(lookup, &record, moved, now, How::Replayed),
        None => Transitioned {
            order,
            seq: record.seq,
            at: record.at,
            from: now.state,
            to: now.state,
            version: now.version,
            how: How::Replayed,
            now,
        },
    })
}

/// The answer for a step that was taken, as `record` says.
pub(crate) fn answer(
    lookup: &Lookup,
    record: &Record,
    moved: &Moved<'_>,
    now: Present,
    how: How,
) -> Transitioned {
    Transitioned {
        order: OrderId::new(lookup.log.issuer.partition, moved.order()),
        seq: record.seq,
        at: record.at,
        from: moved.from(),
        to: moved.to(),
        version: moved.version,
        how,
        now,
    }
}
