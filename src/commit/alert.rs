//! From what is wrong, or is not any more, to an alert that is on disk.
//!
//! Always true: at most one change of a subject's alert is in flight, and what is said of an order is in flight
//! under the key of its steps: so each change is decided by what is committed, and an order that was stuck when it
//! was decided is stuck when it is written ([`super::existing`]). Neither a restart nor a second thread raises an
//! alert twice.

use super::Committer;
use super::existing::{Answer, Decided, Done, encode};
use super::queue::{Place, ScopedKey, What};
use super::round::Committed;
use crate::admission::alert::{Decision, Wish, decide};
use crate::error::{Error, ErrorKind, Result};
use crate::order::limits::{AUTHOR_BYTES_MAX, NOTE_BYTES_MAX};
use crate::order::{Alert, AlertChange, AlertEvent, AlertKind, AlertSubject, Seq, Timestamp};
use crate::wal::record::{self, Alarm, UNWRITTEN};

/// What became of a wish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wished {
    /// Nothing was recorded: it is as was asked for, or does not hold any more.
    Kept(Option<Alert>),
    /// An earlier alert of the subject has to be cleared first.
    NotYet,
    /// It is on disk.
    Recorded(AlertEvent),
}

/// What of a wish is to be recorded.
type Change = (AlertChange, Box<Alert>);

impl Committer {
    /// Has many wishes recorded, with one sync or a few: independent results, in the order of the input.
    pub(crate) fn alert_many(&self, wishes: &[Wish]) -> Vec<Result<Wished>> {
        let mut answers = Vec::with_capacity(wishes.len());
        for wish in wishes {
            answers.push(self.enter_of_many(&answers, || self.enter_alert(wish)));
        }
        self.lead_if_idle();
        let wished = |answer: Result<Answer<_, Change>>| match self.finish(answer?)? {
            Done::Known(wished) => Ok(wished),
            Done::Recorded(Committed { seq, at }, (change, alert)) => {
                let alert = written(*alert, seq, at);
                Ok(Wished::Recorded(AlertEvent { seq, at, change, alert }))
            }
        };
        answers.into_iter().map(wished).collect()
    }

    /// Says that somebody knows of an alert: returns when it is on disk, with the alert.
    ///
    /// # Errors
    /// `Invalid` beyond a limit; `NoOpenAlert`; those of writing.
    pub(crate) fn acknowledge(&self, id: Seq, by: &[u8], note: &[u8]) -> Result<Wished> {
        for (name, bytes, max) in
            [("by", by.len(), AUTHOR_BYTES_MAX), ("note", note.len(), NOTE_BYTES_MAX)]
        {
            if bytes > max {
                let what = format!("{name} has {bytes} bytes; allowed are 0 to {max}");
                return Err(Error::new(ErrorKind::Invalid { what }));
            }
        }
        let wish = Wish::Acknowledge { id, by: by.to_vec(), note: note.to_vec() };
        self.alert_many(&[wish]).pop().unwrap_or(Ok(Wished::NotYet))
    }

    fn enter_alert(
        &self,
        wish: &Wish,
    ) -> Result<std::result::Result<Answer<Wished, Change>, Place>> {
        let Some((subject, kind)) = self.target(wish)? else {
            // Nothing was raised there. For an acknowledgement that is an error, which is decided below as ever.
            return Ok(Ok(Answer::Known(match decide(&self.lookup, wish)? {
                Decision::Keep(alert) => Wished::Kept(alert),
                _ => Wished::NotYet,
            })));
        };
        let hasher = self.lookup.tables.hasher();
        let hash = self.lookup.alert_hash(&subject, kind);
        let steps = subject.order().map(|order| hasher.steps_of(order.seq()));
        let key = match (subject.order(), steps) {
            (Some(order), Some(steps)) => ScopedKey::of_order(steps, order.seq()),
            _ => ScopedKey::of_alert(hash, &subject, kind),
        };
        self.enter_existing(&key, &[Some(hash), steps], || {
            Ok(match decide(&self.lookup, wish)? {
                Decision::Take(change, alert) => {
                    let alarm = Alarm::of(&alert, change);
                    let keys = hasher.keys_of_alarm(&alarm);
                    let record = encode(record::encode_alarm(&alarm))?;
                    Decided::record(&key, record, keys, What::Alert, (change, Box::new(alert)))
                }
                Decision::Keep(alert) => Decided::Known(Wished::Kept(alert)),
                Decision::NotYet => Decided::Known(Wished::NotYet),
            })
        })
    }

    /// What a wish is about; `None` when it names an alert that was never raised.
    fn target(&self, wish: &Wish) -> Result<Option<(AlertSubject, AlertKind)>> {
        let id = match wish {
            Wish::Raise { subject, kind, .. } => return Ok(Some((subject.clone(), *kind))),
            Wish::Remind { id, .. } | Wish::Acknowledge { id, .. } | Wish::Clear { id } => *id,
        };
        let Some(record) = self.lookup.log.read(id)? else { return Ok(None) };
        let raised = self.lookup.log.issuer.alert_event(&record.frame(), &record.body()?);
        Ok(raised.map(|event| (event.alert.subject, event.alert.kind)))
    }
}

/// The alert of a record that is written at `seq` now, where it said that it was not yet.
fn written(alert: Alert, seq: Seq, at: Timestamp) -> Alert {
    let time = |found: Timestamp| if found == UNWRITTEN { at } else { found };
    Alert {
        id: if alert.id == Seq(0) { seq } else { alert.id },
        raised_at: time(alert.raised_at),
        escalated_at: alert.escalated_at.map(time),
        reminded_at: alert.reminded_at.map(time),
        acknowledged: alert.acknowledged.map(|known| {
            let at = time(known.at);
            crate::order::Acknowledgement { at, ..known }
        }),
        cleared_at: alert.cleared_at.map(time),
        ..alert
    }
}
