//! Orders whose time is over: what may still be written of them, and the step that says so.
//!
//! Always true: a step of an order is never written with a time at or behind the instant at which the order
//! expires, and the step to `Expired` never with one before it. Both are decided when they are queued and get
//! their time when they are written, so whoever writes looks again; what does not fit is left out, and whoever
//! waits for it decides afresh. Nobody is told that an order has expired before that is on disk: a wall clock
//! that goes back, or a crash, changes no answer.

use std::sync::atomic::Ordering;

use super::Committer;
use super::queue::{Pending, Place, What};
use super::step::StepEntry;
use crate::admission::transition::When;
use crate::error::{ErrorKind, Result};
use crate::order::{OrderId, Seq, State, Timestamp, Transition};
use crate::wal::writer::ledger_time;

/// Which time the record of an entry may have.
fn when(pending: &Pending) -> When {
    match &pending.what {
        What::Step(step) => step.when,
        _ => When::Any,
    }
}

/// Whether the entry says that an order has expired.
pub(super) fn is_expiry(pending: &Pending) -> bool {
    matches!(when(pending), When::From(_))
}

/// Which entries of a group may be written, when the first record gets `first_at` and each further one a
/// nanosecond more: a linked batch as a whole or not at all. `None`: all of them. Where nothing has a time, that
/// costs a look at each.
pub(super) fn in_time(
    group: &[&Pending],
    first_at: impl FnOnce() -> Timestamp,
) -> Option<Vec<bool>> {
    let is_untimed = |part: &Pending| when(part) == When::Any;
    if group.iter().all(|pending| pending.all().all(is_untimed)) {
        return None;
    }
    let mut at = first_at();
    let fits = group.iter().map(|pending| {
        let mut behind = at;
        let fits = pending.all().all(|part| {
            let fits = when(part).allows(behind);
            behind = Timestamp::from_unix_ns(behind.as_unix_ns().saturating_add(1));
            fits
        });
        if fits {
            // Whatever is left out takes no time.
            at = behind;
        }
        fits
    });
    let fits: Vec<bool> = fits.collect();
    fits.contains(&false).then_some(fits)
}

/// What came of a look at orders whose time is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Expired {
    /// How many were recorded as expired.
    pub(crate) orders: u64,
    /// Others were not, and may have to be: there was no room, or the clock went back meanwhile.
    pub(crate) some_left: bool,
}

impl Committer {
    /// What time it is now in the ledger, as far as can be told without waiting for whoever writes.
    pub(crate) fn ledger_now(&self) -> Timestamp {
        let last_at = Timestamp::from_unix_ns(self.last_at_ns.load(Ordering::Relaxed));
        ledger_time(Timestamp::from_unix_ns(self.host.wall_ns()), last_at)
    }

    /// A record of this time was published.
    pub(super) fn note_time(&self, last_at: Timestamp) {
        self.last_at_ns.store(last_at.as_unix_ns(), Ordering::Relaxed);
    }

    /// Has what is queued at `place` written: the step of an order that has expired.
    ///
    /// # Errors
    /// Those of writing. Without one it is recorded, or was left out: the next look decides.
    pub(super) fn record_expiry(&self, place: &Place) -> Result<()> {
        self.lead_if_idle();
        self.settle_step(place).map(|_| ())
    }

    /// Has it recorded that an order has expired, if it has.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn expire_one(&self, order: Seq) -> Result<()> {
        match self.step(&self.look_at(order)) {
            Err(error) => match error.kind() {
                ErrorKind::AlreadyTerminal { .. } | ErrorKind::VersionMismatch { .. } => Ok(()),
                _ => Err(error),
            },
            Ok(_) => Ok(()),
        }
    }

    /// A step that no order takes, for none has this version: nothing but the expiry can come of it.
    fn look_at(&self, order: Seq) -> Transition {
        let id = OrderId::new(self.lookup.log.issuer.partition, order);
        Transition::new(id, State::Expired).expect_version(0)
    }

    /// Records that these orders have expired, with one sync or a few; passes over those that have not, or have
    /// come to an end before. Whoever names them may be wrong: the log is asked about each.
    pub(crate) fn expire(&self, orders: &[Seq]) -> Expired {
        let mut expired = Expired::default();
        let mut places: Vec<Place> = Vec::new();
        for order in orders {
            let look = self.look_at(*order);
            loop {
                match self.enter_step(&look) {
                    Ok(StepEntry::Expiring(place)) => places.push(place),
                    Ok(StepEntry::Behind(place)) => {
                        self.wait_out(&place);
                        continue;
                    }
                    Ok(StepEntry::Answered(_) | StepEntry::Queued(_)) => {}
                    Err(error) => match error.kind() {
                        // The batch itself may fill the queue: write what is there, and go on.
                        ErrorKind::Overloaded { .. } if !places.is_empty() => {
                            self.record_expiries(&mut places, &mut expired);
                            continue;
                        }
                        // It is no order, has come to an end, or can't be read, now or later.
                        ErrorKind::NoSuchOrder { .. }
                        | ErrorKind::AlreadyTerminal { .. }
                        | ErrorKind::Corrupt(_) => {}
                        _ => expired.some_left = true,
                    },
                }
                break;
            }
        }
        self.record_expiries(&mut places, &mut expired);
        expired
    }

    fn record_expiries(&self, places: &mut Vec<Place>, expired: &mut Expired) {
        if places.is_empty() {
            return;
        }
        self.lead_if_idle();
        for place in places.drain(..) {
            match self.settle_step(&place) {
                Ok(Some(_)) => expired.orders += 1,
                Ok(None) | Err(_) => expired.some_left = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::transition::Step;
    use crate::commit::queue::ScopedKey;
    use crate::tables::hash::{KeyHash, RecordKeys};
    use crate::wal::record::Encoded;

    fn pending(when: Option<When>) -> Pending {
        let hash = KeyHash(7);
        let (from, to) = (State::Accepted, State::Completed);
        let step = |when| Step { order: Seq(1), from, to, version: 2, when };
        let what = when.map_or(What::Cursor, |when| What::Step(step(when)));
        let record = Encoded { kind: 3, version: 1, bytes: Vec::new() };
        let key = ScopedKey::of_order(hash, Seq(1));
        Pending::single(key, record, RecordKeys::one(hash), what)
    }

    #[test]
    fn rule_31_what_is_left_out_takes_no_time_from_what_is_behind_it() {
        let at = Timestamp::from_unix_ns;
        let (before, from) = (|ns| Some(When::Before(at(ns))), |ns| Some(When::From(at(ns))));
        let fits = |first_ns, group: &[Option<When>]| {
            let group: Vec<_> = group.iter().map(|when| pending(*when)).collect();
            in_time(&group.iter().collect::<Vec<_>>(), || at(first_ns))
        };
        let untimed = [None, Some(When::Any)];
        let group = untimed.map(pending);
        let unasked = || unreachable!("nothing in it has a time");
        assert_eq!(in_time(&group.each_ref(), unasked), None);
        assert_eq!(in_time(&[], unasked), None);
        // The times are 10, 11 and so on.
        assert_eq!(fits(10, &[before(11), before(12), from(12)]), None);
        assert_eq!(fits(10, &[before(10), before(11)]), Some(vec![false, true]));
        assert_eq!(fits(10, &[None, before(11), before(12)]), Some(vec![true, false, true]));
        assert_eq!(fits(10, &[from(11), from(10), from(11)]), Some(vec![false, true, true]));
        assert_eq!(fits(u64::MAX, &[before(u64::MAX)]), Some(vec![false]));
        // A batch is one, and so late as its latest.
        let batch = |members: &[Option<When>]| {
            let members = members.iter().map(|when| pending(*when)).collect();
            Pending { members, ..pending(None) }
        };
        let behind = pending(before(11));
        let late = batch(&[None, before(12)]);
        assert_eq!(in_time(&[&late, &behind], || at(10)), Some(vec![false, true]));
        let (early, last) = (batch(&[before(12), before(13)]), pending(before(14)));
        assert_eq!(in_time(&[&early, &last], || at(10)), None);
        let last = pending(before(13));
        assert_eq!(in_time(&[&early, &last], || at(10)), Some(vec![true, false]));
    }
}
