//! The bodies of alerts: kinds 6 and 70.
//!
//! Each tells all of its alert as it is behind the record, so that the newest one is enough to know where an alert
//! stands. What a record says about its own time is 0 in it: that is not known before it is written.
//!
//! Always true of one that was decoded: it is about a subject and of a kind that there are, within their limits;
//! only the one that raises an alert is without the name of an earlier one; only one that clears says when it was
//! over. An alert about an order is of kind 70, and found by the order as well.

use bincode::{BorrowDecode, Encode};

use super::{Body, BodyError, Encoded, KIND_ALERT, KIND_ALERT_OF_ORDER, encode_checked};
use crate::order::consumer::is_consumer_name;
use crate::order::limits::{AUTHOR_BYTES_MAX, CLIENT_BYTES_MAX, NOTE_BYTES_MAX};
use crate::order::{
    Acknowledgement, Alert, AlertChange, AlertKind, AlertLevel, AlertSubject, OrderId, Seq,
    Timestamp,
};

/// Something that happened to an alert. Version 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub(crate) struct Alarm<'a> {
    /// The seq of the record that raised the alert; 0: this one.
    pub(crate) id: u64,
    pub(crate) change: u8,
    /// The number of a sort of subject.
    pub(crate) subject: u8,
    /// The seq of the subject, of a sort that has one; else 0.
    pub(crate) subject_seq: u64,
    /// The name of the subject, of a sort that has one; else empty.
    pub(crate) subject_name: &'a [u8],
    pub(crate) kind: u8,
    /// Of a kind that is of a state; else 0.
    pub(crate) state: u8,
    pub(crate) level: u8,
    /// 0: the time of this record. So with all times but `since`.
    pub(crate) raised_at_ns: u64,
    pub(crate) escalated_at_ns: Option<u64>,
    pub(crate) since_ns: u64,
    pub(crate) reminded: u32,
    pub(crate) reminded_at_ns: Option<u64>,
    pub(crate) acknowledged: Option<Known<'a>>,
    pub(crate) cleared_at_ns: Option<u64>,
    pub(crate) detail: &'a str,
}

/// Who knows of an alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, BorrowDecode)]
pub(crate) struct Known<'a> {
    pub(crate) at_ns: u64,
    pub(crate) by: &'a [u8],
    pub(crate) note: &'a [u8],
}

/// In place of the time of a record that is not written yet.
pub(crate) const UNWRITTEN: Timestamp = Timestamp::from_unix_ns(0);

/// The body that records what happened to an alert. Decoded again before it is handed out.
pub(crate) fn encode_alarm(alarm: &Alarm<'_>) -> Result<Encoded, BodyError> {
    let kind = match alarm.subject().and_then(|subject| subject.order()) {
        Some(_) => KIND_ALERT_OF_ORDER,
        None => KIND_ALERT,
    };
    let note_bytes = alarm.acknowledged.map_or(0, |known| known.note.len());
    let is_same = |body: &Body<'_>| matches!(body, Body::Alarm(it) if it == alarm);
    encode_checked(kind, alarm, alarm.detail.len() + note_bytes + 256, is_same)
}

impl<'a> Alarm<'a> {
    /// What is recorded of an alert that `change` brings into this condition.
    pub(crate) fn of(alert: &'a Alert, change: AlertChange) -> Alarm<'a> {
        let ns = |at: Timestamp| at.as_unix_ns();
        Alarm {
            id: if change == AlertChange::Raised { 0 } else { alert.id.0 },
            change: change.number(),
            subject: alert.subject.number(),
            subject_seq: alert.subject.seq().0,
            subject_name: alert.subject.name_bytes(),
            kind: alert.kind.number(),
            state: alert.kind.state().map_or(0, |state| state.number()),
            level: alert.level.number(),
            raised_at_ns: ns(alert.raised_at),
            escalated_at_ns: alert.escalated_at.map(ns),
            since_ns: ns(alert.since),
            reminded: alert.reminded,
            reminded_at_ns: alert.reminded_at.map(ns),
            acknowledged: alert.acknowledged.as_ref().map(|known| Known {
                at_ns: ns(known.at),
                by: &known.by,
                note: &known.note,
            }),
            cleared_at_ns: alert.cleared_at.map(ns),
            detail: cut(&alert.detail),
        }
    }

    /// The alert as it is behind the record, which lies at `seq` and has the time `at`.
    pub(crate) fn alert(&self, partition: u16, seq: Seq, at: Timestamp) -> Option<Alert> {
        let time = |ns| if ns == 0 { at } else { Timestamp::from_unix_ns(ns) };
        let subject = match self.subject()? {
            AlertSubject::Order(order) => AlertSubject::Order(OrderId::new(partition, order.seq())),
            other => other,
        };
        Some(Alert {
            id: self.id(seq),
            subject,
            kind: self.kind()?,
            level: AlertLevel::from_number(self.level)?,
            raised_at: time(self.raised_at_ns),
            escalated_at: self.escalated_at_ns.map(time),
            since: Timestamp::from_unix_ns(self.since_ns),
            reminded: self.reminded,
            reminded_at: self.reminded_at_ns.map(time),
            acknowledged: self.acknowledged.map(|known| Acknowledgement {
                at: time(known.at_ns),
                by: known.by.to_vec(),
                note: known.note.to_vec(),
            }),
            cleared_at: self.cleared_at_ns.map(time),
            detail: self.detail.to_owned(),
        })
    }

    pub(super) fn check(&self, kind: u8) -> Result<(), BodyError> {
        let malformed = |what: &str| Err(BodyError::Malformed(what.to_owned()));
        let (Some(subject), Some(what), Some(change)) =
            (self.subject(), self.kind(), AlertChange::from_number(self.change))
        else {
            return malformed("an alert about nothing, of no kind, or to which nothing happened");
        };
        if AlertLevel::from_number(self.level).is_none() {
            return malformed("an alert of no level");
        }
        if (kind == KIND_ALERT_OF_ORDER) != subject.order().is_some() {
            return malformed("an alert about an order that its kind does not speak of, or none");
        }
        if matches!(what, AlertKind::StuckOrder { .. }) && subject.order().is_none() {
            return malformed("what is stuck is no order");
        }
        let within = self.detail.len() <= Alert::DETAIL_BYTES_MAX
            && self.acknowledged.is_none_or(|known| {
                known.by.len() <= AUTHOR_BYTES_MAX && known.note.len() <= NOTE_BYTES_MAX
            });
        if !within {
            return malformed("a field breaks its limit");
        }
        let is_raised = change == AlertChange::Raised;
        let is_named = (self.id == 0) == is_raised && (self.raised_at_ns == 0) == is_raised;
        let is_known = self.acknowledged.is_some();
        let is_told = match change {
            AlertChange::Raised => self.escalated_at_ns.is_none() && self.reminded_at_ns.is_none(),
            AlertChange::Escalated => self.escalated_at_ns == Some(0),
            AlertChange::Reminded => self.reminded_at_ns == Some(0) && self.reminded > 0,
            AlertChange::Acknowledged => self.acknowledged.is_some_and(|known| known.at_ns == 0),
            AlertChange::Cleared => true,
        };
        let is_over = self.cleared_at_ns.is_some() == (change == AlertChange::Cleared);
        match is_named && !(is_raised && is_known) && is_told && is_over && self.since_ns != 0 {
            true => Ok(()),
            false => malformed("what happened to the alert and what it says do not fit"),
        }
    }

    /// What it is about, in partition 0; `None` for what no decoded one says.
    pub(crate) fn subject(&self) -> Option<AlertSubject> {
        let (seq, name) = (Seq(self.subject_seq), self.subject_name);
        let text = || std::str::from_utf8(name).ok().map(str::to_owned);
        let within = (1..=CLIENT_BYTES_MAX).contains(&name.len());
        let subject = match self.subject {
            1 => Some(AlertSubject::Order(OrderId::new(0, seq))).filter(|_| seq >= Seq::FIRST),
            2 => text().filter(|name| is_consumer_name(name)).map(AlertSubject::Consumer),
            3 => text().filter(|_| within).map(AlertSubject::Provider),
            4 => Some(AlertSubject::Dispatch(seq)).filter(|_| seq >= Seq::FIRST),
            5 => Some(AlertSubject::Client(name.to_vec())).filter(|_| within),
            6 => Some(AlertSubject::Ledger),
            _ => None,
        };
        // Nothing is said that is not kept.
        subject.filter(|it| it.seq() == seq && it.name_bytes() == name)
    }

    pub(crate) fn kind(&self) -> Option<AlertKind> {
        AlertKind::from_numbers(self.kind, self.state)
    }

    /// What happened. The number was checked when the body was decoded.
    pub(crate) fn change(&self) -> AlertChange {
        AlertChange::from_number(self.change).unwrap_or(AlertChange::Raised)
    }

    /// The name of the alert, when this record lies at `seq`.
    pub(crate) fn id(&self, seq: Seq) -> Seq {
        match self.id {
            0 => seq,
            id => Seq(id),
        }
    }

    /// The order that it is about, if it is about one.
    pub(crate) fn order(&self) -> Option<Seq> {
        self.subject().and_then(|subject| subject.order()).map(OrderId::seq)
    }
}

/// The words as they are stored: at most their limit, cut at a character boundary.
fn cut(detail: &str) -> &str {
    let mut end = detail.len().min(Alert::DETAIL_BYTES_MAX);
    while !detail.is_char_boundary(end) {
        end -= 1;
    }
    detail.get(..end).unwrap_or_default()
}
