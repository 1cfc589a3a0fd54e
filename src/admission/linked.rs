//! Decides about a linked batch: is it recorded already, may it be, or what is the answer?
//!
//! The order of the checks: the key of the batch, then whether any member is recorded outside of it, then
//! what keeps the first member that can't be taken from being so. Looks at committed state only: whoever
//! asks has made sure that nothing which a member touches is on its way.

use super::dedupe::Lookup;
use super::dispatch;
use super::note::{self, Wanted};
use super::transition::{self, Decision, Step};
use crate::error::{Damage, Error, ErrorKind, Result};
use crate::order::dispatch::About;
use crate::order::linked::Member;
use crate::order::{
    Batch, Dispatch, Event, How, Lifecycle, Linked, LinkedBatch, LinkedResult, Note, Noted,
    OrderId, Resolution, Seq, Submission, Timestamp,
};
use crate::wal::format::WAL_DIR;
use crate::wal::issuer::batch_of;
use crate::wal::log::Record;
use crate::wal::record::Body;

/// A member that may be taken.
#[derive(Debug)]
pub(crate) enum Taken<'a> {
    Order(&'a Submission),
    Step(Step),
    Remark(Wanted<'a>),
    Dispatch(&'a Dispatch),
}

/// What is to be done about a batch.
#[derive(Debug)]
pub(crate) enum Decided<'a> {
    /// Its members are to be recorded.
    Take(Vec<Taken<'a>>),
    /// The time of this order is over, of which a member wants a step: that is to be recorded, and then decides.
    Expire(Seq),
}

impl Lookup {
    /// The record at the head of the batch with this key, if it is recorded.
    pub(crate) fn batch_head(&self, key: &[u8]) -> Result<Option<Record>> {
        let hash = self.tables.hasher().linked(key);
        let is_it = |body: &Body<'_>| matches!(body, Body::Linked(head) if head.key == key);
        let found = self.newest_of(Seq::FIRST, hash, |body| is_it(body).then_some(()))?;
        Ok(found.map(|(record, ())| record))
    }

    /// The records of the members of a batch, in order.
    ///
    /// # Errors
    /// `Corrupt` when one of them is not there: they are in one group with their head.
    fn batch_members(&self, head: &Record) -> Result<Vec<Record>> {
        let Body::Linked(said) = head.body()? else { return Ok(Vec::new()) };
        let members = (1..=u64::from(said.members)).map(|distance| {
            let seq = Seq(head.seq.0.saturating_add(distance));
            let record = self.log.read(seq)?;
            let is_member = |record: &Record| batch_of(&record.frame()) == Some(head.seq);
            record.filter(is_member).ok_or_else(|| not_a_member(head.seq, seq))
        });
        members.collect()
    }

    /// The orders that correct this one, oldest first.
    pub(crate) fn corrections_of(&self, order: OrderId) -> Result<Vec<OrderId>> {
        let hash = self.tables.hasher().corrections_of(order.seq());
        let mut found = Vec::new();
        for seq in self.tables.candidates(&self.log, hash)? {
            let Some(record) = self.log.read(seq)? else { continue };
            let body = record.body()?;
            let is_it = body.submitted().is_some_and(|it| it.corrects == Some(order.as_u64()));
            found.extend(is_it.then(|| OrderId::new(self.log.issuer.partition, seq)));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// A batch as the log tells it; `None` when `head` is the head of none.
    pub(crate) fn batch(&self, head: &Record) -> Result<Option<Batch>> {
        let body = head.body()?;
        let Body::Linked(said) = &body else { return Ok(None) };
        let mut events = Vec::new();
        for record in self.batch_members(head)? {
            events.extend(self.event(&record)?);
        }
        Ok(Some(Batch { batch: head.seq, at: head.at, key: said.key.to_vec(), events }))
    }

    fn event(&self, record: &Record) -> Result<Option<Event>> {
        Ok(self.log.issuer.event(&record.frame(), &record.body()?))
    }

    /// Makes sure that this is the batch whose key the record `head` has.
    ///
    /// # Errors
    /// `BatchKeyConflict`; `Corrupt`.
    pub(crate) fn check_same_batch(&self, head: &Record, batch: &LinkedBatch) -> Result<()> {
        match head.body()? {
            Body::Linked(said) if batch.fingerprint(&said.salt) == said.fingerprint => Ok(()),
            _ => Err(Error::new(ErrorKind::BatchKeyConflict { batch: head.seq })),
        }
    }

    /// The answer for the batch that the record `head` is at the head of.
    ///
    /// # Errors
    /// `Io` or `Corrupt`.
    pub(crate) fn batch_answer(
        &self,
        head: &Record,
        batch: &LinkedBatch,
        how: How,
    ) -> Result<Linked> {
        let records = self.batch_members(head)?;
        let mut results = Vec::with_capacity(batch.members.len());
        for (member, record) in batch.members.iter().zip(&records) {
            let (frame, body) = (record.frame(), record.body()?);
            results.push(match member {
                Member::Submission(submission) => {
                    LinkedResult::Submitted(self.answer(&frame, &body, submission, how)?)
                }
                Member::Transition(step) => {
                    let moved = body.moved().ok_or_else(|| not_a_member(head.seq, record.seq))?;
                    let now = transition::find(self, step.order)?.1.now;
                    LinkedResult::Moved(transition::answer(self, record, moved, now, how))
                }
                Member::Note(Note { order, .. }) | Member::Resolution(Resolution { order, .. }) => {
                    let (seq, at) = (record.seq, record.at);
                    LinkedResult::Noted(Noted { order: *order, seq, at, how })
                }
                Member::Dispatch(_) => {
                    let said =
                        body.dispatched().ok_or_else(|| not_a_member(head.seq, record.seq))?;
                    let order = OrderId::new(self.log.issuer.partition, said.order());
                    LinkedResult::Dispatched(dispatch::answer(order, record, how))
                }
            });
        }
        Ok(Linked { batch: head.seq, at: head.at, how, results })
    }
}

/// Decides about every member, by what is committed and what time it is now.
///
/// # Errors
/// `BatchConflict`, `BatchMember`; `Io` or `Corrupt` when it is not known.
pub(crate) fn decide<'a>(
    lookup: &Lookup,
    lifecycle: &Lifecycle,
    batch: &'a LinkedBatch,
    ledger_now: impl Fn() -> Timestamp + Copy,
) -> Result<Decided<'a>> {
    let (mut taken, mut existing) = (Vec::new(), Vec::new());
    // The first member that can't be: why, or the order whose time is over.
    let mut wrong: Option<Result<Seq>> = None;
    for (index, member) in batch.members.iter().enumerate() {
        match decide_member(lookup, lifecycle, member, ledger_now) {
            Ok(One::Take(member)) => taken.push(member),
            Ok(One::Known(seq)) => existing.push((index, seq)),
            Ok(One::Expire(order)) => {
                wrong.get_or_insert(Ok(order));
            }
            Err(error) if is_unknown(&error) => return Err(error),
            Err(error) => {
                wrong.get_or_insert_with(|| Err(member_error(index, error)));
            }
        }
    }
    if !existing.is_empty() {
        return Err(Error::new(ErrorKind::BatchConflict { existing }));
    }
    match wrong {
        None => Ok(Decided::Take(taken)),
        Some(late) => late.map(Decided::Expire),
    }
}

/// What is to be done about one member.
enum One<'a> {
    Take(Taken<'a>),
    /// It is recorded already, outside of the batch.
    Known(Seq),
    /// The time of this order is over.
    Expire(Seq),
}

fn decide_member<'a>(
    lookup: &Lookup,
    lifecycle: &Lifecycle,
    member: &'a Member,
    ledger_now: impl Fn() -> Timestamp + Copy,
) -> Result<One<'a>> {
    let remark = match member {
        Member::Submission(order) => {
            let hash = lookup.hash(&order.client, &order.key);
            let known =
                lookup.committed(hash, &order.client, &order.key, |frame, _| Ok(frame.seq))?;
            return match known {
                Some(seq) => Ok(One::Known(seq)),
                None => check_order(lookup, order).map(|()| One::Take(Taken::Order(order))),
            };
        }
        Member::Transition(step) => {
            return Ok(match transition::decide(lookup, lifecycle, step, ledger_now)? {
                Decision::Take(step) => One::Take(Taken::Step(step)),
                Decision::Known(answer) => One::Known(answer.seq),
                Decision::Expire(step) => One::Expire(step.order),
            });
        }
        Member::Dispatch(wanted) => {
            // That of an order which the batch takes depends on nothing else.
            let About::Order(order) = wanted.about else {
                return Ok(One::Take(Taken::Dispatch(wanted)));
            };
            let known = dispatch::decide(lookup, order, wanted)?;
            return Ok(match known {
                Some(known) => One::Known(known.dispatch),
                None => One::Take(Taken::Dispatch(wanted)),
            });
        }
        Member::Note(note) => Wanted::Note(note),
        Member::Resolution(resolution) => Wanted::Resolution(resolution),
    };
    Ok(match note::decide(lookup, remark)? {
        note::Decision::Take => One::Take(Taken::Remark(remark)),
        note::Decision::Known(noted) => One::Known(noted.seq),
    })
}

/// Whether an order whose key is free may be taken.
///
/// # Errors
/// `NoSuchOrder` of what it corrects; `RefusedForNow` for a hold: of a batch that is refused nothing is recorded,
/// no refusal either.
fn check_order(lookup: &Lookup, order: &Submission) -> Result<()> {
    transition::check_corrected(lookup, order)?;
    match lookup.hold_on(&order.client, &order.account)? {
        None => Ok(()),
        Some(hold) => {
            let reason = format!("its client or account is held: {}", hold.reason);
            Err(Error::new(ErrorKind::RefusedForNow { reason }))
        }
    }
}

/// The error of a batch that has this member.
pub(crate) fn member_error(index: usize, error: Error) -> Error {
    Error::new(ErrorKind::BatchMember { index, why: Box::new(error.kind().clone()) })
        .caused_by(error)
}

/// Whether the log could not be read.
fn is_unknown(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Io { .. } | ErrorKind::Corrupt(_))
}

fn not_a_member(head: Seq, seq: Seq) -> Error {
    Error::new(ErrorKind::Corrupt(Damage {
        file: WAL_DIR.into(),
        offset: None,
        first_seq: Some(seq),
        last_seq: Some(seq),
        what: format!("the record is not the member that the batch at seq {head} says"),
    }))
}
