//! Where alerts stand, and what is to be recorded of them.
//!
//! The tables only give hints: each record is read from the log and what it is about is compared. Looks at committed
//! state only: whoever decides has made sure that nothing that would decide otherwise is on its way.
//!
//! Always true: of one kind, a subject has at most one open alert; what is stuck is an order in the state and since
//! the instant that the alert names, and for one such stay it is raised once.

use super::dedupe::Lookup;
use crate::error::{Error, ErrorKind, Result};
use crate::order::thresholds::Thresholds;
use crate::order::{
    Acknowledgement, Alert, AlertChange, AlertKind, AlertLevel, AlertSubject, Event, OrderId, Seq,
    State, Timestamp,
};
use crate::tables::hash::KeyHash;
use crate::wal::log::Record;
use crate::wal::record::{Body, UNWRITTEN};

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// This is wrong, and so bad, since then.
    Raise {
        subject: AlertSubject,
        kind: AlertKind,
        level: AlertLevel,
        since: Timestamp,
        detail: String,
    },
    /// Nobody has acknowledged it, and nobody was told since then.
    Remind { id: Seq, told_before: Timestamp },
    /// Somebody knows.
    Acknowledge { id: Seq, by: Vec<u8>, note: Vec<u8> },
    /// It is over; an order's only when that has left the state.
    Clear { id: Seq },
}

/// What is to be done about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Decision {
    /// Nothing: it is as is asked for, or does not hold any more.
    Keep(Option<Alert>),
    /// An earlier alert of the subject has to be cleared first.
    NotYet,
    /// To be recorded. Times that are those of the record are [`UNWRITTEN`].
    Take(AlertChange, Alert),
}

/// Where an order stands, and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StateEntry {
    pub(crate) state: State,
    pub(crate) since: Timestamp,
}

/// The same, and what the order brought along that says when that is too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stands {
    pub(crate) entry: StateEntry,
    /// Neither: those of the state count.
    pub(crate) own: Thresholds,
}

/// Decides by what is committed.
///
/// # Errors
/// `NoOpenAlert`; `Io` or `Corrupt` when it is not known.
pub(crate) fn decide(lookup: &Lookup, wish: &Wish) -> Result<Decision> {
    let open = |id: Seq| -> Result<Option<Alert>> {
        Ok(lookup.alert_now(id)?.filter(|alert| alert.is_open()))
    };
    Ok(match wish {
        Wish::Raise { subject, kind, level, since, detail } => {
            raise(lookup, subject, *kind, (*level, *since), detail)?
        }
        Wish::Remind { id, told_before } => match open(*id)? {
            Some(alert) if alert.acknowledged.is_none() && alert.told_at() <= *told_before => {
                let (reminded, reminded_at) = (alert.reminded.saturating_add(1), Some(UNWRITTEN));
                Decision::Take(AlertChange::Reminded, Alert { reminded, reminded_at, ..alert })
            }
            alert => Decision::Keep(alert),
        },
        Wish::Acknowledge { id, by, note } => {
            let found = lookup.alert_now(*id)?;
            let cleared_at = found.as_ref().and_then(|alert| alert.cleared_at);
            let Some(alert) = found.filter(Alert::is_open) else {
                return Err(Error::new(ErrorKind::NoOpenAlert { alert: *id, cleared_at }));
            };
            if alert.acknowledged.is_some() {
                return Ok(Decision::Keep(Some(alert)));
            }
            let known = Acknowledgement { at: UNWRITTEN, by: by.clone(), note: note.clone() };
            Decision::Take(AlertChange::Acknowledged, Alert { acknowledged: Some(known), ..alert })
        }
        Wish::Clear { id } => {
            let Some(alert) = lookup.alert(*id)?.filter(Alert::is_open) else {
                return Ok(Decision::Keep(None));
            };
            let cleared_at = match (alert.kind, alert.subject.order()) {
                (AlertKind::StuckOrder { .. }, Some(order)) => {
                    lookup.left_at(order.seq(), alert.since)?
                }
                _ => Some(UNWRITTEN),
            };
            match cleared_at {
                None => Decision::Keep(Some(alert)),
                cleared_at => Decision::Take(AlertChange::Cleared, Alert { cleared_at, ..alert }),
            }
        }
    })
}

fn raise(
    lookup: &Lookup,
    subject: &AlertSubject,
    kind: AlertKind,
    (level, since): (AlertLevel, Timestamp),
    detail: &str,
) -> Result<Decision> {
    let is_stuck = kind.state().is_some();
    if let (Some(state), Some(order)) = (kind.state(), subject.order()) {
        let stands = lookup.state_entry(order.seq())?;
        if stands != Some(StateEntry { state, since }) {
            return Ok(Decision::Keep(None));
        }
    }
    let last = lookup.alert_on(subject, kind)?;
    if let Some(last) = last.filter(|last| last.is_open() || is_stuck) {
        let is_same = !is_stuck || last.since == since;
        return Ok(match (is_same, last.is_open()) {
            (true, true) if level > last.level => {
                // Whoever knew of it knew of something less bad.
                let (escalated_at, acknowledged) = (Some(UNWRITTEN), None);
                let detail = detail.to_owned();
                let alert = Alert { level, escalated_at, acknowledged, detail, ..last };
                Decision::Take(AlertChange::Escalated, alert)
            }
            (true, _) => Decision::Keep(Some(last)),
            (false, true) => Decision::NotYet,
            (false, false) => Decision::Take(
                AlertChange::Raised,
                fresh(subject.clone(), kind, (level, since), detail),
            ),
        });
    }
    Ok(Decision::Take(AlertChange::Raised, fresh(subject.clone(), kind, (level, since), detail)))
}

/// An alert that is to be raised.
fn fresh(
    subject: AlertSubject,
    kind: AlertKind,
    (level, since): (AlertLevel, Timestamp),
    detail: &str,
) -> Alert {
    Alert {
        id: Seq(0),
        subject,
        kind,
        level,
        raised_at: UNWRITTEN,
        escalated_at: None,
        since,
        reminded: 0,
        reminded_at: None,
        acknowledged: None,
        cleared_at: None,
        detail: detail.to_owned(),
    }
}

impl Lookup {
    /// By which is found what happened to alerts of this kind about this subject.
    pub(crate) fn alert_hash(&self, subject: &AlertSubject, kind: AlertKind) -> KeyHash {
        let (number, seq, name) = (subject.number(), subject.seq().0, subject.name_bytes());
        self.tables.hasher().alert(number, seq, name, kind.number())
    }

    /// The newest alert of this kind about this subject, as the log tells it.
    pub(crate) fn alert_on(
        &self,
        subject: &AlertSubject,
        kind: AlertKind,
    ) -> Result<Option<Alert>> {
        Ok(self.newest_alert(Seq::FIRST, subject, kind, |_| true)?.map(|(_, alert)| alert))
    }

    /// The alert that was raised at `id`, as the log tells it; `None` when none was.
    ///
    /// **Cost**: two reads of the log, and one for each later alert of the kind about the same subject.
    pub(crate) fn alert(&self, id: Seq) -> Result<Option<Alert>> {
        let Some(record) = self.log.read(id)? else { return Ok(None) };
        let Some(raised) = self.log.issuer.alert_event(&record.frame(), &record.body()?) else {
            return Ok(None);
        };
        if raised.alert.id != id {
            return Ok(None);
        }
        let raised = raised.alert;
        let newest = self.newest_alert(id, &raised.subject, raised.kind, |found| found == id)?;
        Ok(Some(newest.map_or(raised, |(_, alert)| alert)))
    }

    /// The same as it is now: one about an order that has left the state is over, recorded or not.
    pub(crate) fn alert_now(&self, id: Seq) -> Result<Option<Alert>> {
        self.alert(id)?.map(|alert| self.as_it_is_now(alert)).transpose()
    }

    /// An alert that the log tells of, as it is now.
    pub(crate) fn as_it_is_now(&self, alert: Alert) -> Result<Alert> {
        let (AlertKind::StuckOrder { .. }, Some(order)) = (alert.kind, alert.subject.order())
        else {
            return Ok(alert);
        };
        match alert.cleared_at {
            Some(_) => Ok(alert),
            None => Ok(Alert { cleared_at: self.left_at(order.seq(), alert.since)?, ..alert }),
        }
    }

    /// The newest record about such an alert, and the alert as that tells it.
    fn newest_alert(
        &self,
        since: Seq,
        subject: &AlertSubject,
        kind: AlertKind,
        is_wanted: impl Fn(Seq) -> bool,
    ) -> Result<Option<(Seq, Alert)>> {
        if !self.log.has_alerts() {
            return Ok(None);
        }
        let hash = self.alert_hash(subject, kind);
        self.tables.newest(&self.log, since, hash, |seq| {
            let Some(record) = self.log.read(seq)? else { return Ok(None) };
            let found = self.log.issuer.alert_event(&record.frame(), &record.body()?);
            let found = found.map(|event| event.alert).filter(|found| {
                found.subject == *subject
                    && found.kind.number() == kind.number()
                    && is_wanted(found.id)
            });
            Ok(found.map(|found| (seq, found)))
        })
    }

    /// Where an order stands and since when; `None` when there is none.
    ///
    /// **Cost**: a look into the tables, and a read of the log or two.
    pub(crate) fn state_entry(&self, order: Seq) -> Result<Option<StateEntry>> {
        Ok(self.stands(order)?.map(|stands| stands.entry))
    }

    /// The same with the thresholds of its own, for no more.
    pub(crate) fn stands(&self, order: Seq) -> Result<Option<Stands>> {
        let Some(began) = self.log.read(order)? else { return Ok(None) };
        let body = began.body()?;
        if body.submitted().is_none() {
            return Ok(None);
        }
        let own = body.own_thresholds();
        let first = StateEntry { state: body.first_state(), since: began.at };
        let entry = self.newest_entry(order, first)?;
        Ok(Some(Stands { entry, own }))
    }

    /// The state that an order entered last, when it began with `first`.
    fn newest_entry(&self, order: Seq, first: StateEntry) -> Result<StateEntry> {
        if !self.log.has_steps() {
            return Ok(first);
        }
        let newest = self.newest_of(order, self.tables.hasher().steps_of(order), |body| {
            body.moved().filter(|moved| moved.order() == order).map(|moved| moved.to())
        })?;
        Ok(newest.map_or(first, |(record, state)| StateEntry { state, since: record.at }))
    }

    /// When an order left the state that it entered at `since`; `None`: it is in it.
    ///
    /// **Cost**: a read of the log for each step that the order took since, and one.
    pub(crate) fn left_at(&self, order: Seq, since: Timestamp) -> Result<Option<Timestamp>> {
        if !self.log.has_steps() {
            return Ok(None);
        }
        let mut left = None;
        let hash = self.tables.hasher().steps_of(order);
        for seq in self.tables.candidates_since(&self.log, order, hash)? {
            let Some(record) = self.log.read(seq)? else { continue };
            if record.at <= since {
                break;
            }
            let body = record.body()?;
            if body.moved().is_some_and(|moved| moved.order() == order) {
                left = Some(record.at);
            }
        }
        Ok(left)
    }

    /// Adds what happened to the alerts of an order to what else happened to it.
    pub(super) fn add_alerts(&self, order: Seq, events: &mut Vec<Event>) -> Result<()> {
        if !self.log.has_alerts() {
            return Ok(());
        }
        let before = events.len();
        let hash = self.tables.hasher().alerts_of(order);
        for seq in self.tables.candidates_since(&self.log, order, hash)? {
            let Some(record) = self.log.read(seq)? else { continue };
            let body = record.body()?;
            if is_of(&body, order) {
                events.extend(self.log.issuer.event(&record.frame(), &body));
            }
        }
        if events.len() > before {
            events.sort_by_key(|event| event.seq);
        }
        Ok(())
    }

    /// Whether a list that covers every record below `fed`, and perhaps later ones, may have the alert that this
    /// record raises among the open ones.
    pub(crate) fn may_be_open(&self, record: &Record, fed: Seq) -> Result<bool> {
        let Some(raised) = self.log.issuer.alert_event(&record.frame(), &record.body()?) else {
            return Ok(false);
        };
        if raised.change != AlertChange::Raised {
            return Ok(false);
        }
        let Alert { id, subject, kind, .. } = raised.alert;
        let newest = self.newest_alert(id, &subject, kind, |found| found == id)?;
        Ok(newest.is_none_or(|(seq, alert)| alert.is_open() || seq >= fed))
    }

    /// The order with this seq, as it is named outside.
    pub(crate) fn order_id(&self, order: Seq) -> OrderId {
        OrderId::new(self.log.issuer.partition, order)
    }
}

fn is_of(body: &Body<'_>, order: Seq) -> bool {
    body.alarm().is_some_and(|alarm| alarm.order() == Some(order))
}
