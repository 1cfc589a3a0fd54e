//! One look at everything, and what is recorded of it.
//!
//! First the alerts that are open: over, or to be reminded of. Then what is wrong now: raised, or worse than it was.
//!
//! Always true: memory is that of a page; what a pass can't do, because the queue is full or the log can't be read,
//! the next one does. Of orders, what was dealt with by an earlier pass is not looked at again: orders of a state
//! come by when they entered it, later ones always behind, so that a place in that list is enough. Those with
//! thresholds of their own come by when they are due, which is no sooner than they entered their state: so nothing
//! that is written later comes in front of the time of the last record, and a place up to that one is enough.

use std::collections::BTreeMap;

use super::Watch;
use super::alerts::{self, AlertQuery, As};
use super::conditions::Found;
use super::dwell::{self, List, Listed, Place, Wanted, is_damage};
use super::stuck::{before, watched};
use crate::admission::alert::{StateEntry, Wish};
use crate::commit::Committer;
use crate::commit::alert::Wished;
use crate::order::thresholds::ns;
use crate::order::{
    Alert, AlertChange, AlertEvent, AlertKind, AlertLevel, AlertSubject, Seq, Timestamp,
};
use crate::views::Views;

/// Records that the views are behind, above which the thread leaves it to a later look to find orders with thresholds
/// of their own, as long as the views come closer: reading so many takes some tenths of a second.
const BEHIND_MAX: u64 = 100_000;

/// Most alerts, or orders, that are dealt with at once: one write and one sync, or a few.
const PAGE: usize = 256;

/// What a look has come to: for tests and statistics.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct WatchPass {
    /// Alerts that were raised.
    pub raised: u64,
    /// That became critical.
    pub escalated: u64,
    /// That were reminded of.
    pub reminded: u64,
    /// That are over.
    pub cleared: u64,
    /// Orders, records and alerts that were looked at.
    pub looked: u64,
    /// What could not be done, and is tried again by the next look.
    pub failed: u64,
    /// Orders and alerts that can't be read, and are passed over.
    pub damaged: u64,
}

/// How far the passes before have come: of each list, up to which order everything is dealt with.
#[derive(Default, Debug)]
pub(super) struct Progress {
    /// Of each state and level.
    done: BTreeMap<(u8, AlertLevel), Place>,
    /// Of the orders with thresholds of their own.
    own: BTreeMap<AlertLevel, Place>,
    /// What the views covered.
    covered: Option<Seq>,
}

/// Who looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Looker {
    /// It comes back soon, and may leave to the next look what costs little then.
    Thread,
    /// All of it is done now.
    #[cfg(feature = "sim")]
    Caller,
}

/// What is wrong now, by the conditions that could tell.
type Wrong = BTreeMap<&'static str, BTreeMap<AlertSubject, Found>>;

struct Pass<'a> {
    watch: &'a Watch,
    committer: &'a Committer,
    views: Option<&'a Views>,
    now: Timestamp,
    done: WatchPass,
}

/// Looks once.
pub(super) fn run(
    watch: &Watch,
    committer: &Committer,
    views: Option<&Views>,
    (looker, progress): (Looker, &mut Progress),
) -> WatchPass {
    let (now, done) = (committer.ledger_now(), WatchPass::default());
    let mut pass = Pass { watch, committer, views, now, done };
    if let Some(views) = views {
        views.catch_up();
    }
    let mut wrong = Wrong::new();
    let mut kinds = Vec::new();
    for condition in &watch.conditions {
        if let Some(found) = condition.look(committer, now) {
            let kind = condition.kind();
            let found = found.into_iter().map(|found| (found.subject.clone(), found));
            wrong.insert(kind.name(), found.collect());
            kinds.push(kind);
        }
    }
    pass.see_to_open(&wrong);
    for kind in kinds {
        pass.raise_wrong(kind, wrong.remove(kind.name()).unwrap_or_default());
    }
    pass.raise_stuck(progress);
    if !pass.waits_for_views(looker, progress) {
        pass.raise_stuck_by_own(progress);
    }
    pass.done
}

impl Pass<'_> {
    /// Goes through the alerts that are open by what is recorded.
    fn see_to_open(&mut self, wrong: &Wrong) {
        let mut query = AlertQuery::open().limit(PAGE);
        while !self.watch.bell.is_stopped() {
            let (lookup, views) = (&self.committer.lookup, self.views);
            let Ok(page) = alerts::page(lookup, views, &query, As::Recorded) else {
                self.done.failed += 1;
                return;
            };
            self.done.looked += page.alerts.len() as u64;
            let wishes: Vec<_> =
                page.alerts.iter().filter_map(|alert| self.wish_for(alert, wrong)).collect();
            self.record(&wishes);
            let Some(next) = page.next else { return };
            query = query.after(next);
        }
    }

    /// What is to become of an open alert, if anything is.
    fn wish_for(&mut self, alert: &Alert, wrong: &Wrong) -> Option<Wish> {
        let id = alert.id;
        let is_over = match (alert.kind, alert.subject.order()) {
            (AlertKind::StuckOrder { .. }, Some(order)) => {
                match self.committer.lookup.left_at(order.seq(), alert.since) {
                    Ok(left_at) => left_at.is_some(),
                    Err(error) if is_damage(&error) => {
                        self.done.damaged += 1;
                        return None;
                    }
                    Err(_) => {
                        self.done.failed += 1;
                        return None;
                    }
                }
            }
            // Of a kind that nobody looks at here it is not known.
            (kind, _) => {
                wrong.get(kind.name()).is_some_and(|found| !found.contains_key(&alert.subject))
            }
        };
        if is_over {
            return Some(Wish::Clear { id });
        }
        let told_before = before(self.now, ns(self.watch.options.remind_every))?;
        let is_due = alert.acknowledged.is_none() && alert.told_at() <= told_before;
        is_due.then_some(Wish::Remind { id, told_before })
    }

    /// Raises what conditions have found.
    fn raise_wrong(&mut self, kind: AlertKind, found: BTreeMap<AlertSubject, Found>) {
        let since = self.now;
        let wishes: Vec<_> = found
            .into_values()
            .filter_map(|Found { subject, level, detail }| {
                Some(Wish::Raise { subject, kind, level: level?, since, detail })
            })
            .collect();
        self.record(&wishes);
    }

    /// Raises what is due of orders by the thresholds of their states.
    fn raise_stuck(&mut self, progress: &mut Progress) {
        let lifecycle = &self.committer.settings.lifecycle;
        for (state, thresholds) in watched(lifecycle) {
            // The worst first: what is critical at once is raised as that.
            for level in AlertLevel::ALL.into_iter().rev() {
                let until = thresholds.first_ns(level).and_then(|first| before(self.now, first));
                let Some(until) = until else { continue };
                let place = (state.number(), level);
                let done = progress.done.get(&place).copied();
                if let Some(done) = self.raise_list((List::State(state), level), done, until) {
                    progress.done.insert(place, done);
                }
            }
        }
    }

    /// Whether orders with thresholds of their own are left to a later look.
    fn waits_for_views(&self, looker: Looker, progress: &mut Progress) -> bool {
        let Some(views) = self.views.filter(|views| views.may_be_asked()) else { return false };
        let end = self.committer.lookup.log.readable_next();
        let (covered, is_opening) = (views.covered(), views.is_opening());
        let before = progress.covered.replace(covered);
        looker == Looker::Thread && will_be_cheaper(before, (covered, end), is_opening)
    }

    /// Raises what is due of orders by thresholds of their own.
    fn raise_stuck_by_own(&mut self, progress: &mut Progress) {
        if !self.committer.lookup.log.has_own_thresholds() {
            return;
        }
        // Read before the lists are.
        let last_at = self.last_at();
        for level in AlertLevel::ALL.into_iter().rev() {
            let list = List::Own(level, &self.committer.settings.lifecycle);
            let done = progress.own.get(&level).copied();
            let done = self.raise_list((list, level), done, self.now);
            // What comes later is due later than that.
            let settled = last_at.map(|at| (at, Seq(u64::MAX)));
            if let (Some(done), Some(settled)) = (done, settled) {
                progress.own.insert(level, done.min(settled));
            }
        }
    }

    /// When the last record was written that can be read; `None`: that is not known.
    fn last_at(&self) -> Option<Timestamp> {
        let log = &self.committer.lookup.log;
        let last = log.read(Seq(log.readable_next().0.saturating_sub(1)));
        last.ok().flatten().map(|record| record.at)
    }

    /// Goes on behind `after`; answers up to which order everything is dealt with.
    fn raise_list(
        &mut self,
        (list, level): (List<'_>, AlertLevel),
        mut after: Option<Place>,
        until: Timestamp,
    ) -> Option<Place> {
        while !self.watch.bell.is_stopped() {
            let wanted = Wanted { list, after, until, limit: PAGE, passes_damage: true };
            let Ok(found) = dwell::find(&self.committer.lookup, self.views, wanted) else {
                self.done.failed += 1;
                break;
            };
            self.done.looked += found.cost;
            let wishes: Vec<_> = found.orders.iter().map(|it| self.stuck(level, it)).collect();
            let settled = self.record(&wishes);
            // Up to the first that is not dealt with: the next pass begins there.
            let dealt_with = settled.iter().take_while(|settled| **settled).count();
            if dealt_with < wishes.len() {
                let before_it = dealt_with.checked_sub(1).and_then(|it| found.orders.get(it));
                return before_it.map(|it| it.place).or(after);
            }
            after = found.looked;
            if !found.more {
                break;
            }
        }
        after
    }

    fn stuck(&self, level: AlertLevel, listed: &Listed) -> Wish {
        let (Listed { place: (_, order), stands }, lookup) = (*listed, &self.committer.lookup);
        let StateEntry { state, since } = stands.entry;
        let lifecycle = &self.committer.settings.lifecycle;
        let name = lifecycle.name_of(state).unwrap_or(state.name());
        let dwell_ns = self.now.as_unix_ns().saturating_sub(since.as_unix_ns());
        let subject = AlertSubject::Order(lookup.order_id(order));
        let detail = format!("in {name} for {} s", dwell_ns / 1_000_000_000);
        Wish::Raise { subject, kind: AlertKind::StuckOrder { state }, level, since, detail }
    }

    /// Has wishes recorded, and tells of what came of them; answers which are dealt with.
    fn record(&mut self, wishes: &[Wish]) -> Vec<bool> {
        let mut settled = Vec::with_capacity(wishes.len());
        for outcome in self.committer.alert_many(wishes) {
            let is_settled = match outcome {
                Ok(Wished::Recorded(event)) => {
                    self.count(&event);
                    self.watch.sinks.tell(&event);
                    true
                }
                Ok(Wished::Kept(_)) => true,
                // It can't be read, now or later; the others go on.
                Err(error) if is_damage(&error) => {
                    self.done.damaged += 1;
                    true
                }
                Ok(Wished::NotYet) | Err(_) => {
                    self.done.failed += 1;
                    false
                }
            };
            settled.push(is_settled);
        }
        settled
    }

    fn count(&mut self, event: &AlertEvent) {
        let done = &mut self.done;
        *match event.change {
            AlertChange::Raised => &mut done.raised,
            AlertChange::Escalated => &mut done.escalated,
            AlertChange::Reminded => &mut done.reminded,
            AlertChange::Cleared => &mut done.cleared,
            AlertChange::Acknowledged => return,
        } += 1;
    }
}

/// Whether it costs little to find orders with thresholds of their own later, and much now: while the views are opened,
/// or built again, each look would read all of the log that they lack. Views that have not come closer since `before`,
/// because a record of the log can't be read, are waited for no longer.
fn will_be_cheaper(before: Option<Seq>, (covered, end): (Seq, Seq), is_opening: bool) -> bool {
    let come_closer = is_opening || before.is_none_or(|before| before < covered);
    end.0.saturating_sub(covered.0) > BEHIND_MAX && come_closer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_that_come_closer_are_waited_for_and_those_that_stand_still_are_not() {
        let end = Seq(10 * BEHIND_MAX);
        let near = Seq(end.0 - BEHIND_MAX);
        let waits =
            |before, covered, is_opening| will_be_cheaper(before, (covered, end), is_opening);
        assert!(waits(None, Seq::FIRST, false), "nobody knows yet");
        assert!(waits(Some(Seq::FIRST), Seq(2), false));
        assert!(!waits(Some(Seq(2)), Seq(2), false), "they stand still");
        assert!(waits(Some(Seq::FIRST), Seq::FIRST, true), "they are being opened");
        assert!(!waits(Some(Seq(2)), Seq::FIRST, false), "they begin again: one look reads");
        assert!(!waits(Some(Seq(2)), near, false), "what is left is read at once");
        assert!(waits(Some(Seq(2)), Seq(near.0 - 1), false));
    }
}
