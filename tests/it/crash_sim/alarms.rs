//! The oracle for alerts: which were raised and what became of them, what may be in doubt, and what a look must find.
//!
//! Always true: what anybody was told of an alert is a record that stays; for one stay of an order in a state there is
//! one alert, raised once, made worse once, over when the order has left; at most one look or acknowledgement is in
//! doubt, the last one of a life.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use order_ledger::{
    Alert, AlertChange, AlertEvent, AlertKind, AlertLevel, AlertSubject, Error, ErrorKind,
    EventBody, Lifecycle, OrderId, Seq, State, Timestamp, WatchPass,
};

use super::known::Trouble;
use super::steps::Told;
use super::stuck::{Stay, first_ns, level_of, stays};

/// After how long somebody is reminded.
pub(super) const REMIND_EVERY: Duration = Duration::from_millis(300);

/// The same table with thresholds, for those who are watched.
pub(super) fn with_thresholds(lifecycle: Lifecycle) -> Lifecycle {
    let (us, ms) = (Duration::from_micros, Duration::from_millis);
    let thresholds = [
        (State::Accepted, Some(ms(400)), Some(ms(3_000))),
        (State::InProgress, Some(us(20)), None),
        (State::Cancelling, None, Some(ms(1))),
        (State::PartlyDone, Some(Duration::ZERO), Some(Duration::from_nanos(9))),
        (super::plan::PACKED, Some(us(5)), Some(ms(30))),
        (super::plan::LOADED, Some(ms(10)), Some(ms(10))),
    ];
    thresholds.into_iter().fold(lifecycle, |lifecycle, (state, warn, critical)| {
        lifecycle.with_thresholds(state, warn, critical)
    })
}

/// What may have recorded something about alerts.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Asked {
    Look,
    /// Who said that he knows of this alert; nobody says it twice under a name.
    Knows(Seq, String),
}

impl Asked {
    fn may_be(&self, event: &AlertEvent) -> bool {
        let is_known = event.change == AlertChange::Acknowledged;
        match self {
            Asked::Look => !is_known,
            Asked::Knows(id, by) => {
                let by_him = event.alert.acknowledged.as_ref();
                is_known && event.alert.id == *id && by_him.is_some_and(|it| it.by == by.as_bytes())
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Alarms {
    /// All that somebody was told, or shown, by seq.
    known: BTreeMap<Seq, AlertEvent>,
    /// What is going on now.
    asked: Option<Asked>,
    /// How the alert was of which somebody says now that he knows of it.
    before: Option<Alert>,
    /// What this life of the ledger ended with.
    pub(super) doubt: Option<Asked>,
}

/// What came of an acknowledgement.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Sort {
    Fresh,
    Again,
    Refused,
    InDoubt,
    Failed,
}

impl Alarms {
    pub(super) fn asks(&mut self, asked: Asked) {
        if let Asked::Knows(id, _) = &asked {
            self.before = self.fold().remove(id);
        }
        self.asked = Some(asked);
    }

    pub(super) fn life_has_ended(&mut self) {
        self.asked = None;
    }

    /// When the last record was written that is known of.
    pub(super) fn latest_at(&self) -> Timestamp {
        let last = self.known.values().next_back();
        last.map_or(Timestamp::from_unix_ns(0), |event| event.at)
    }

    /// Records that are about no order.
    pub(super) fn of_no_order(events: &[AlertEvent]) -> Vec<(Seq, Timestamp)> {
        let others = events.iter().filter(|event| event.alert.subject.order().is_none());
        others.map(|event| (event.seq, event.at)).collect()
    }

    /// The alert of this number; or a seq at which perhaps none was raised.
    pub(super) fn pick(&self, number: usize) -> Seq {
        let ids: Vec<Seq> = self.fold().into_keys().collect();
        match ids.len() {
            count if count == 0 || number % 7 == 6 => Seq(1 + number as u64),
            // Mostly one of the last.
            count => ids[count - 1 - number % count.min(1 + number / 2)],
        }
    }

    /// Takes in what was told behind each record.
    fn told(&mut self, events: Vec<AlertEvent>) {
        let mut last = Seq(0);
        for event in events {
            assert!(self.asked.as_ref().is_some_and(|asked| asked.may_be(&event)), "{event:?}");
            assert!(event.seq > last, "told out of order: {event:?}");
            last = event.seq;
            if let Some(seen) = self.known.insert(event.seq, event.clone()) {
                assert_eq!(seen, event, "others have seen it otherwise");
            }
        }
    }

    /// What a look has come to. `in_doubt`: the ledger has failed in it.
    pub(super) fn looked(
        &mut self,
        pass: WatchPass,
        events: Vec<AlertEvent>,
        in_doubt: bool,
        trouble: Trouble,
    ) {
        let count = |change| events.iter().filter(|event| event.change == change).count() as u64;
        let changes = [
            (AlertChange::Raised, pass.raised),
            (AlertChange::Escalated, pass.escalated),
            (AlertChange::Reminded, pass.reminded),
            (AlertChange::Cleared, pass.cleared),
        ];
        for (change, counted) in changes {
            assert_eq!(count(change), counted, "{change}: {pass:?}");
        }
        let may_fail = trouble.poisoned || trouble.disk || trouble.full;
        assert!(may_fail || (pass.failed, pass.damaged) == (0, 0), "{pass:?}");
        self.told(events);
        self.asked = None;
        if in_doubt {
            self.doubt = Some(Asked::Look);
        }
    }

    /// What came of an acknowledgement. `stays`: of the order that the alert is about, if that is known.
    pub(super) fn acknowledged(
        &mut self,
        answer: Result<Alert, Error>,
        events: Vec<AlertEvent>,
        stays: Option<&[Stay]>,
        lost: bool,
        trouble: Trouble,
    ) -> Sort {
        let Some(Asked::Knows(id, by)) = self.asked.clone() else { panic!("nobody has asked") };
        // A reader may have seen it before this answer.
        let before = self.before.take();
        let count = events.len();
        self.told(events);
        self.asked = None;
        let is_over_since = |alert: &Alert| match (alert.cleared_at, stays) {
            (None, Some(stays)) => {
                stays.iter().find(|it| it.since == alert.since)?.left.map(|it| it.0)
            }
            (cleared_at, _) => cleared_at,
        };
        let error = match answer {
            Ok(alert) => {
                let before = before.expect("it was never raised");
                assert_eq!(is_over_since(&before), None, "it is over: {alert:?}");
                let now = self.fold().remove(&id).unwrap();
                assert_eq!(alert, now, "it is told otherwise");
                let is_fresh = before.acknowledged.is_none();
                assert_eq!(count, usize::from(is_fresh), "{before:?} {alert:?}");
                return if is_fresh { Sort::Fresh } else { Sort::Again };
            }
            Err(error) => error,
        };
        assert_eq!(count, 0, "{error}, and it was told of");
        let (expected, sort) = match error.kind() {
            ErrorKind::InDoubt { .. } => {
                if !lost {
                    let is_open = before.is_some_and(|alert| is_over_since(&alert).is_none());
                    assert!(is_open, "in doubt about what can't be");
                    self.doubt = Some(Asked::Knows(id, by));
                }
                (trouble.poisoned, Sort::InDoubt)
            }
            ErrorKind::Poisoned { .. } => (trouble.poisoned, Sort::Failed),
            ErrorKind::Io { .. } | ErrorKind::Corrupt(_) => (trouble.disk, Sort::Failed),
            ErrorKind::DiskLow { .. } => (trouble.disk || trouble.full, Sort::Failed),
            ErrorKind::NoOpenAlert { alert, cleared_at } => {
                let is_it = match (&before, stays) {
                    (None, _) => cleared_at.is_none(),
                    // Where its order stands was not looked at.
                    (Some(before), None) => {
                        before.subject.order().is_some() || *cleared_at == before.cleared_at
                    }
                    (Some(before), Some(_)) => {
                        cleared_at.is_some() && *cleared_at == is_over_since(before)
                    }
                };
                (*alert == id && is_it, Sort::Refused)
            }
            _ => (false, Sort::Failed),
        };
        assert!(expected, "{error}, and it was {before:?}", before = self.fold().get(&id));
        sort
    }

    /// Somebody sees all that ever happened to alerts: what is known, and what is going on or in doubt.
    pub(super) fn listed(&mut self, events: &[AlertEvent]) {
        assert!(events.is_sorted_by(|one, next| one.seq < next.seq), "out of order");
        let found: BTreeMap<Seq, &AlertEvent> = events.iter().map(|it| (it.seq, it)).collect();
        for (seq, known) in &self.known {
            assert_eq!(found.get(seq), Some(&known), "told, and gone or changed");
        }
        for event in events.iter().filter(|event| !self.known.contains_key(&event.seq)) {
            let may_be = self.asked.iter().chain(&self.doubt).any(|asked| asked.may_be(event));
            assert!(may_be, "nobody has recorded that: {event:?}");
        }
        self.known = events.iter().map(|event| (event.seq, event.clone())).collect();
    }

    /// The same after opening, which settles the doubt. Answers whether that is there; of a look, how much of it
    /// was to be recorded is not known: then only what is there counts.
    pub(super) fn settle(&mut self, events: &[AlertEvent]) -> (Option<bool>, u64) {
        let before = self.known.len();
        self.listed(events);
        let more = (self.known.len() - before) as u64;
        let there = match self.doubt.take() {
            None => None,
            Some(Asked::Look) => (more > 0).then_some(true),
            Some(asked) => Some(self.known.values().any(|event| asked.may_be(event))),
        };
        (there, more)
    }

    /// The alerts by what is recorded.
    fn fold(&self) -> BTreeMap<Seq, Alert> {
        self.known.values().map(|event| (event.alert.id, event.alert.clone())).collect()
    }

    /// Everything that was recorded follows from what was there before it.
    pub(super) fn sound(&self, all: &[Told], lifecycle: &Lifecycle) {
        let orders: BTreeMap<OrderId, (&Told, Vec<Stay>)> =
            all.iter().map(|told| (told.order.id(), (told, stays(told)))).collect();
        let mut alerts: BTreeMap<Seq, Alert> = BTreeMap::new();
        let mut open: BTreeSet<(AlertSubject, &str)> = BTreeSet::new();
        let mut raised = BTreeSet::new();
        for AlertEvent { seq, at, change, alert, .. } in self.known.values() {
            let subject = (alert.subject.clone(), alert.kind.name());
            let mut expected = alerts.get(&alert.id).cloned().unwrap_or_else(|| {
                assert_eq!((*change, *seq, *at), (AlertChange::Raised, alert.id, alert.raised_at));
                assert!(open.insert(subject.clone()), "one is open: {alert:?}");
                let mut fresh = alert.clone();
                (fresh.escalated_at, fresh.reminded, fresh.reminded_at) = (None, 0, None);
                (fresh.acknowledged, fresh.cleared_at) = (None, None);
                fresh
            });
            assert!(expected.is_open(), "it was over: {alert:?}");
            match change {
                AlertChange::Raised => assert!(!alerts.contains_key(seq)),
                AlertChange::Escalated => {
                    assert_eq!(expected.level, AlertLevel::Warn, "twice: {alert:?}");
                    (expected.level, expected.escalated_at) = (AlertLevel::Critical, Some(*at));
                    (expected.acknowledged, expected.detail) = (None, alert.detail.clone());
                }
                AlertChange::Reminded => {
                    let told_ns = told_at(&expected).as_unix_ns() + remind_ns();
                    let is_due = told_ns <= at.as_unix_ns() && expected.acknowledged.is_none();
                    assert!(is_due, "reminded of {expected:?} at {at:?}");
                    (expected.reminded, expected.reminded_at) = (expected.reminded + 1, Some(*at));
                }
                AlertChange::Acknowledged => {
                    assert_eq!(expected.acknowledged, None, "somebody knows");
                    expected.acknowledged.clone_from(&alert.acknowledged);
                    assert_eq!(alert.acknowledged.as_ref().map(|known| known.at), Some(*at));
                }
                AlertChange::Cleared => {
                    open.remove(&subject);
                    expected.cleared_at = Some(*at);
                }
                _ => panic!("{change}"),
            }
            if let (AlertKind::StuckOrder { state }, Some(order)) =
                (alert.kind, alert.subject.order())
            {
                let (told, stays) = &orders[&order];
                let stay = stays.iter().find(|stay| stay.since == alert.since);
                let stay = stay.unwrap_or_else(|| panic!("it never stood there: {alert:?}"));
                assert_eq!(stay.state, state);
                let left = stay.left.filter(|(_, left)| left < seq);
                match change {
                    AlertChange::Cleared => expected.cleared_at = left.map(|(left_at, _)| left_at),
                    _ => assert!(stay.entered < *seq && left.is_none(), "it has left: {alert:?}"),
                }
                if matches!(change, AlertChange::Raised | AlertChange::Escalated) {
                    let stands_ns = at.as_unix_ns() - stay.since.as_unix_ns();
                    let first = first_ns(told, state, lifecycle, alert.level);
                    assert!(first.is_some_and(|first| first <= stands_ns), "too early: {alert:?}");
                }
                let is_new = *change != AlertChange::Raised || raised.insert((order, stay.since));
                assert!(is_new, "raised twice for one stay: {alert:?}");
                assert!(*change != AlertChange::Cleared || alert.cleared_at.is_some());
            }
            assert_eq!(*alert, expected, "{change}");
            alerts.insert(alert.id, expected);
        }
        self.check_histories(&orders);
    }

    /// The histories of orders tell the same.
    fn check_histories(&self, orders: &BTreeMap<OrderId, (&Told, Vec<Stay>)>) {
        let events = orders.values().flat_map(|(told, _)| &told.history);
        let mut told: Vec<_> = events
            .filter_map(|event| match &event.body {
                EventBody::Alerted { alert, change, kind, level, since, .. } => {
                    Some((event.seq, event.at, event.order, *alert, *change, *kind, *level, *since))
                }
                _ => None,
            })
            .collect();
        told.sort_by_key(|it| it.0);
        let known =
            self.known.values().filter_map(|AlertEvent { seq, at, change, alert, .. }| {
                let Alert { id, kind, level, since, .. } = alert;
                Some((*seq, *at, alert.subject.order()?, *id, *change, *kind, *level, *since))
            });
        assert_eq!(told, known.collect::<Vec<_>>(), "histories tell of other alerts");
    }

    /// Every alert as it is now: about an order that has left, one is over.
    pub(super) fn now(&self, all: &[Told]) -> Vec<Alert> {
        let mut alerts: Vec<Alert> = self.fold().into_values().collect();
        for alert in alerts.iter_mut().filter(|alert| alert.is_open()) {
            let Some(order) = alert.subject.order() else { continue };
            let told = all.iter().find(|told| told.order.id() == order).unwrap();
            let left = stays(told).into_iter().find(|stay| stay.since == alert.since).unwrap().left;
            alert.cleared_at = left.map(|(left_at, _)| left_at);
        }
        alerts
    }

    /// Nothing that was to be said at this instant, or before, was left unsaid by a look since.
    pub(super) fn complete(&self, all: &[Told], lifecycle: &Lifecycle, then: Timestamp) {
        let alerts: Vec<Alert> = self.fold().into_values().filter(Alert::is_open).collect();
        for told in all {
            let stay = *stays(told).last().unwrap();
            let Some(level) = level_of(told, &stay, lifecycle, then) else { continue };
            let mut of =
                alerts.iter().filter(|alert| alert.subject.order() == Some(told.order.id()));
            let said = of.any(|alert| alert.since == stay.since && alert.level >= level);
            assert!(said, "{:?} is stuck, nobody says so at {then:?}: {alerts:?}", told.history);
        }
        assert_eq!(alerts, self.now(all).into_iter().filter(Alert::is_open).collect::<Vec<_>>());
        for alert in alerts.iter().filter(|alert| alert.acknowledged.is_none()) {
            let told_ns = told_at(alert).as_unix_ns() + remind_ns();
            assert!(told_ns > then.as_unix_ns(), "nobody was reminded at {then:?} of {alert:?}");
        }
    }
}

fn told_at(alert: &Alert) -> Timestamp {
    let later = [alert.escalated_at, alert.reminded_at];
    later.into_iter().flatten().fold(alert.raised_at, Ord::max)
}

fn remind_ns() -> u64 {
    u64::try_from(REMIND_EVERY.as_nanos()).unwrap()
}
