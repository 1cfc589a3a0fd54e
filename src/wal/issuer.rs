//! What the records of a ledger mean to its callers: receipts, orders and events, made of frames and bodies.
//!
//! Always true: what is made of one record depends on nothing but the record and the ledger's identity, so
//! that it is the same whenever it is read.

use super::frame::Frame;
use super::record::{Alarm, Body, Moved, Proof, Pursued, Remark, distance_of};
use crate::order::dispatch::Progress;
use crate::order::{
    AlertChange, AlertEvent, Durability, Event, EventBody, Evidence, LedgerId, Order, OrderId,
    Present, Receipt, Refusal, Seq,
};

/// The ledger that a record belongs to: what a receipt needs and a record does not repeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Issuer {
    pub(crate) ledger: LedgerId,
    pub(crate) durability: Durability,
    pub(crate) partition: u16,
}

impl Issuer {
    /// The receipt for the order that the record at `frame` began; `None` when it began none.
    pub(crate) fn receipt(&self, frame: &Frame<'_>, body: &Body<'_>) -> Option<Receipt> {
        Some(Receipt {
            ledger: self.ledger,
            order: OrderId::new(self.partition, frame.seq),
            accepted_at: frame.at,
            fingerprint: body.submitted()?.fingerprint(),
            first_state: body.first_state(),
            durability: self.durability,
        })
    }

    /// The order that the record at `frame` began, as it was then.
    pub(crate) fn order(&self, frame: &Frame<'_>, body: &Body<'_>) -> Option<Order> {
        let submitted = body.submitted()?;
        let (warn_after, critical_after) = submitted.thresholds.durations();
        Some(Order {
            receipt: self.receipt(frame, body)?,
            now: Present { state: body.first_state(), version: 1 },
            client: submitted.client.to_vec(),
            key: submitted.key.to_vec(),
            kind: submitted.kind.to_vec(),
            schema: submitted.schema,
            account: submitted.account.to_vec(),
            external_ref: submitted.external_ref.to_vec(),
            payload: submitted.payload.to_vec(),
            expires_at: body.expires_at(frame.at),
            warn_after,
            critical_after,
            refusal: body.refusal(),
            corrects: submitted.corrects.map(OrderId::from_u64),
            batch: batch_of(frame),
        })
    }

    /// What the record says about an alert; `None` when it is about none.
    pub(crate) fn alert_event(&self, frame: &Frame<'_>, body: &Body<'_>) -> Option<AlertEvent> {
        let alarm = body.alarm()?;
        let alert = alarm.alert(self.partition, frame.seq, frame.at)?;
        Some(AlertEvent { seq: frame.seq, at: frame.at, change: alarm.change(), alert })
    }

    /// What the record says about an order, as history shows it; `None` when it is about none.
    pub(crate) fn event(&self, frame: &Frame<'_>, body: &Body<'_>) -> Option<Event> {
        let (order, body) = match body {
            Body::Accepted(submitted) => {
                let fingerprint = submitted.fingerprint();
                let (warn_after, critical_after) = submitted.thresholds.durations();
                (frame.seq, EventBody::Accepted { fingerprint, warn_after, critical_after })
            }
            Body::Refused(refused) => {
                let fingerprint = refused.submitted.fingerprint();
                let refusal = Refusal { code: refused.code, reason: refused.reason.to_owned() };
                (frame.seq, EventBody::Refused { fingerprint, refusal })
            }
            Body::Moved(moved) => (moved.order(), event_of(moved)),
            Body::Remark(remark) => (remark.order(), event_of_remark(remark)?),
            Body::Alarm(alarm) => (alarm.order()?, event_of_alarm(frame, alarm)?),
            Body::Dispatched(it) => {
                let (route, command_key) = (it.route.to_owned(), it.command_key.to_vec());
                (it.order(), EventBody::Dispatched { route, command_key, body: it.body.to_vec() })
            }
            Body::Pursued(pursued) => (pursued.order(), event_of_pursued(pursued)?),
            Body::Cursor(_)
            | Body::Lifecycle(_)
            | Body::Held(_)
            | Body::Linked(_)
            | Body::Skippable => return None,
        };
        let order = OrderId::new(self.partition, order);
        Some(Event { seq: frame.seq, at: frame.at, order, batch: batch_of(frame), body })
    }
}

/// What the record says about an alert of an order; `None` for what no decoded one says.
fn event_of_alarm(frame: &Frame<'_>, alarm: &Alarm<'_>) -> Option<EventBody> {
    let alert = alarm.alert(0, frame.seq, frame.at)?;
    let change = alarm.change();
    let known = alert.acknowledged.filter(|_| change == AlertChange::Acknowledged);
    let (by, detail) = match known {
        Some(known) => (known.by, known.note),
        None => (Vec::new(), alert.detail.into_bytes()),
    };
    let (kind, level, since) = (alert.kind, alert.level, alert.since);
    Some(EventBody::Alerted { alert: alert.id, change, kind, level, since, by, detail })
}

/// The head of the linked batch that the record at `frame` is a member of.
pub(crate) fn batch_of(frame: &Frame<'_>) -> Option<Seq> {
    let distance = distance_of(frame.version, frame.body)?;
    // A distance that leads out of the log is damage, and leads nowhere.
    frame.seq.0.checked_sub(distance.into()).map(Seq)
}

fn event_of(moved: &Moved<'_>) -> EventBody {
    EventBody::Moved {
        from: moved.from(),
        to: moved.to(),
        version: moved.version,
        command_key: moved.command_key.to_vec(),
        evidence: evidence_of(moved),
        reason: moved.reason.to_owned(),
    }
}

fn event_of_remark(remark: &Remark<'_>) -> Option<EventBody> {
    let (author, text) = (remark.author.to_vec(), remark.text.to_vec());
    let command_key = remark.command_key.to_vec();
    Some(match remark.resolves() {
        Some(note) => EventBody::Resolved { note, command_key, author, text },
        None => EventBody::Noted {
            // Checked when the body was decoded.
            kind: remark.kind()?,
            asks: remark.asks,
            command_key,
            author,
            text,
        },
    })
}

fn event_of_pursued(pursued: &Pursued<'_>) -> Option<EventBody> {
    let (dispatch, provider) = (pursued.dispatch(), pursued.provider.to_owned());
    let attempt = pursued.attempts;
    Some(match pursued.progress() {
        Progress::None => return None,
        Progress::Attempt => EventBody::Attempted { dispatch, provider, attempt },
        Progress::Sent(report) => {
            EventBody::Reported { dispatch, provider, attempt, report, by: pursued.by() }
        }
        Progress::Dead { why } => EventBody::GivenUp { dispatch, why },
        Progress::Redriven { why } => EventBody::Redriven { dispatch, why },
    })
}

/// The evidence that a step was taken with.
pub(crate) fn evidence_of(moved: &Moved<'_>) -> Vec<Evidence> {
    let owned =
        |proof: &Proof<'_>| Evidence { name: proof.name.to_owned(), value: proof.value.to_vec() };
    moved.evidence.iter().map(owned).collect()
}
