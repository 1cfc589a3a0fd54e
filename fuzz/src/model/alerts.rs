//! What a ledger owes about its alerts: each said a second time from the records about it and from the histories of
//! the orders.
//!
//! Always true: what was told of an alert, or shown, stays; nothing comes but what a look of the watch was told to have
//! recorded, what somebody acknowledged, or what either may have recorded before the ledger was poisoned. For one stay
//! of an order in a state there is one alert; its level only rises; whoever acknowledged it is asked again only when
//! it gets worse; it is over when the order has left the state, recorded or not, and never open again.

use std::collections::BTreeMap;

use order_ledger::{
    Alert, AlertChange, AlertEvent, AlertKind, AlertLevel, AlertSubject, Certainty, Error,
    ErrorKind, Event, EventBody, Lifecycle, OrderId, Result, Seq, Timestamp, WatchPass,
};

use super::outbox::{PARTIES, pursues};
use super::stuck::{Stands, Thresholds};
use crate::lives::Told;
use crate::shown::Shown;

/// After how long it is reminded of.
pub const REMIND_NS: u64 = 20_000_000;

/// Who acknowledges what, in which words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    pub alert: Seq,
    pub by: Vec<u8>,
    pub note: Vec<u8>,
}

/// All alerts.
#[derive(Clone, Default, Debug)]
pub struct Alerts {
    /// What happened to them, in the order of the log.
    told: Vec<AlertEvent>,
    /// So many records of a look may be there as well.
    doubts: u64,
    /// And one of these.
    acknowledging: Vec<Known>,
}

/// What held before a call, and behind it.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    pub poisoned: bool,
    pub poisoned_now: bool,
    /// Something may fail.
    pub excused: bool,
}

impl Trouble {
    /// Whether what was to be written may be there.
    fn is_doubt(self) -> bool {
        !self.poisoned && self.poisoned_now
    }
}

impl Alerts {
    /// The alerts that there ever were.
    pub fn names(&self) -> Vec<Seq> {
        let raised = self.told.iter().filter(|event| event.change == AlertChange::Raised);
        raised.map(|event| event.seq).collect()
    }

    /// A look has ended, and these were told of.
    pub fn looked(&mut self, told: Vec<AlertEvent>, pass: &WatchPass, trouble: Trouble) {
        assert!(told.is_empty() || !trouble.poisoned, "a poisoned ledger has recorded {told:?}");
        let count = |change| told.iter().filter(|event| event.change == change).count() as u64;
        let counted = [
            (AlertChange::Raised, pass.raised),
            (AlertChange::Escalated, pass.escalated),
            (AlertChange::Reminded, pass.reminded),
            (AlertChange::Cleared, pass.cleared),
            (AlertChange::Acknowledged, 0),
        ];
        for (change, counted) in counted {
            assert_eq!(count(change), counted, "{change}, of {told:?}");
        }
        assert_eq!(pass.damaged, 0);
        assert!(pass.failed == 0 || trouble.excused, "nothing failed, and a look did: {pass:?}");
        self.told.extend(told);
        if trouble.is_doubt() {
            self.doubts += pass.failed;
        }
    }

    /// Behind a look that began at `from_ns` and could do everything: `shown` before it, and behind it.
    pub fn is_complete(from_ns: u64, before: &Shown, after: &Shown, lifecycle: &Lifecycle) {
        let open: Vec<_> = after.alerts.iter().filter(|alert| alert.is_open()).collect();
        for stands in after.orders.iter().filter_map(|told| Stands::of(told, lifecycle)) {
            let Some(level) = stands.level(from_ns) else { continue };
            let is_it = |alert: &&&Alert| is_about(alert, &stands) && alert.level >= level;
            assert!(open.iter().any(|alert| is_it(&alert)), "nothing was raised: {stands:?}");
        }
        for dead in &after.dead_letters {
            let is_it = |alert: &&Alert| alert.subject == AlertSubject::Dispatch(dead.dispatch);
            assert!(
                open.iter().copied().any(|alert| is_it(&alert)),
                "nothing was raised: {dead:?}"
            );
        }
        for alert in &open {
            let is_due = alert.acknowledged.is_none() && told_at(alert) + REMIND_NS <= from_ns;
            assert!(!is_due, "it was not reminded of at {from_ns}: {alert:?}");
        }
        // What is over is recorded as over.
        let recorded = recorded(&after.alert_events);
        for alert in before.alerts.iter().filter(|alert| !alert.is_open()) {
            assert_eq!(recorded[&alert.id].cleared_at, alert.cleared_at, "{alert:?}");
        }
    }

    /// Somebody has acknowledged an alert; `shown` is what the ledger showed before, and `told` what it told of.
    pub fn acknowledged(
        &mut self,
        known: &Known,
        answer: &Result<Alert>,
        shown: &Shown,
        told: Vec<AlertEvent>,
        trouble: Trouble,
    ) {
        let before = shown.alerts.iter().find(|alert| alert.id == known.alert);
        let open = before.filter(|alert| alert.is_open());
        match answer {
            Ok(alert) => {
                let open = open.unwrap_or_else(|| panic!("none is open: {alert:?}"));
                if open.acknowledged.is_some() {
                    assert!(told.is_empty() && alert == open, "it was known: {alert:?}, {told:?}");
                    return;
                }
                assert!(!trouble.poisoned, "a poisoned ledger has recorded {alert:?}");
                let [event] = &told[..] else { panic!("{told:?}") };
                assert_eq!((event.change, &event.alert), (AlertChange::Acknowledged, alert));
                assert!(known.is(alert), "{alert:?}, by {known:?}");
                self.told.extend(told);
            }
            Err(error) => {
                assert!(told.is_empty(), "{error}, and told of {told:?}");
                self.not_acknowledged(known, error, before, trouble);
            }
        }
    }

    fn not_acknowledged(
        &mut self,
        known: &Known,
        error: &Error,
        before: Option<&Alert>,
        trouble: Trouble,
    ) {
        let takes = before.is_some_and(|it| it.is_open() && it.acknowledged.is_none());
        match (error.kind(), error.certainty()) {
            (ErrorKind::NoOpenAlert { alert, cleared_at }, Certainty::NotRecorded) => {
                assert_eq!(*alert, known.alert);
                let is_open = before.is_some_and(Alert::is_open);
                assert!(!is_open && *cleared_at == before.and_then(|it| it.cleared_at), "{error}");
            }
            // Something else about the order may be in doubt, which decides.
            (ErrorKind::InDoubt { .. }, Certainty::Unknown) => {
                assert!(trouble.poisoned_now && (takes || trouble.poisoned), "{error}");
                if trouble.is_doubt() {
                    self.acknowledging.push(known.clone());
                }
            }
            (ErrorKind::Io { .. }, _) => assert!(trouble.excused, "{error}"),
            (
                ErrorKind::Poisoned { .. } | ErrorKind::DiskLow { .. } | ErrorKind::Closed,
                Certainty::NotRecorded,
            ) => assert!(takes && trouble.excused, "{error}: {before:?}"),
            (kind, certainty) => panic!("{known:?}: {kind:?} with {certainty:?}"),
        }
    }

    /// What happened to all alerts, as somebody was shown. `lags`, `ended`: as for orders.
    pub fn shown(&mut self, shown: &Shown, lifecycle: &Lifecycle, lags: bool, ended: bool) {
        let events = &shown.alert_events;
        let both = self.told.len().min(events.len());
        assert_eq!(self.told[..both], events[..both], "an alert has changed");
        assert!(lags || both == self.told.len(), "alerts are lost: {:?}", &self.told[both..]);
        for event in &events[both..] {
            let is_it =
                |known: &Known| event.change == AlertChange::Acknowledged && known.is(&event.alert);
            match self.acknowledging.iter().position(is_it) {
                Some(at) => drop(self.acknowledging.remove(at)),
                None => {
                    assert!(self.doubts > 0, "nobody has recorded it: {event:?}");
                    assert_ne!(event.change, AlertChange::Acknowledged, "nobody did: {event:?}");
                    self.doubts -= 1;
                }
            }
            self.told.push(event.clone());
        }
        if ended {
            (self.doubts, self.acknowledging) = (0, Vec::new());
        }
        let now = Replay::new(&shown.orders, lifecycle).all(events);
        assert_eq!(shown.alerts, now, "the alerts are not what happened to them");
        let open: Vec<_> = now.into_iter().filter(Alert::is_open).collect();
        assert_eq!(shown.open_alerts, open, "open ones are not those that are");
        agree(events, &shown.events);
    }
}

impl Known {
    /// Whether the alert says so.
    fn is(&self, alert: &Alert) -> bool {
        let said = alert.acknowledged.as_ref().map(|known| (&known.by, &known.note));
        alert.id == self.alert && said == Some((&self.by, &self.note))
    }
}

fn is_about(alert: &Alert, stands: &Stands) -> bool {
    let since_ns = alert.since.as_unix_ns();
    alert.subject.order() == Some(stands.order) && since_ns == stands.since_ns
}

/// When somebody was told of it at last.
fn told_at(alert: &Alert) -> u64 {
    let later = [alert.escalated_at, alert.reminded_at];
    later.into_iter().flatten().fold(alert.raised_at, Ord::max).as_unix_ns()
}

/// All alerts by what is recorded of them.
fn recorded(events: &[AlertEvent]) -> BTreeMap<Seq, Alert> {
    events.iter().map(|event| (event.alert.id, event.alert.clone())).collect()
}

/// What happened to the alerts of orders is what the orders tell.
fn agree(alerts: &[AlertEvent], events: &[Event]) {
    let of_orders = alerts.iter().filter(|event| event.alert.subject.order().is_some());
    let mut of_orders = of_orders.map(|AlertEvent { seq, at, change, alert, .. }| {
        let (by, detail) = match (&alert.acknowledged, change) {
            (Some(known), AlertChange::Acknowledged) => (known.by.clone(), known.note.clone()),
            _ => (Vec::new(), alert.detail.clone().into_bytes()),
        };
        let Alert { id, kind, level, since, .. } = *alert;
        let body =
            EventBody::Alerted { alert: id, change: *change, kind, level, since, by, detail };
        (*seq, *at, alert.subject.order().expect("it has one"), body)
    });
    for event in events.iter().filter(|it| matches!(it.body, EventBody::Alerted { .. })) {
        let told = (event.seq, event.at, event.order, event.body.clone());
        assert_eq!(of_orders.next(), Some(told), "an order and its alerts");
    }
    assert_eq!(of_orders.next(), None, "an alert of an order that does not tell of it");
}

/// The records about alerts, one after the other.
struct Replay<'a> {
    orders: BTreeMap<OrderId, &'a Told>,
    lifecycle: &'a Lifecycle,
    alerts: BTreeMap<Seq, Alert>,
}

impl<'a> Replay<'a> {
    fn new(orders: &'a [Told], lifecycle: &'a Lifecycle) -> Replay<'a> {
        let orders = orders.iter().map(|told| (told.order.id(), told)).collect();
        Replay { orders, lifecycle, alerts: BTreeMap::new() }
    }

    /// All alerts as they are now, in the order in which they were raised.
    fn all(mut self, events: &[AlertEvent]) -> Vec<Alert> {
        for event in events {
            self.take(event);
        }
        let alerts = std::mem::take(&mut self.alerts);
        let now = |alert: Alert| {
            let cleared_at = alert.cleared_at.or_else(|| self.left_at(&alert, Seq(u64::MAX)));
            let mut alert = alert;
            alert.cleared_at = cleared_at;
            alert
        };
        alerts.into_values().map(now).collect()
    }

    /// When its order left the state, by what is in front of `seq`.
    fn left_at(&self, alert: &Alert, seq: Seq) -> Option<Timestamp> {
        let told = self.orders.get(&alert.subject.order()?).expect("an alert of no order");
        let mut later =
            told.history.iter().filter(|event| event.at > alert.since && event.seq < seq);
        later.find(|event| event.body.state().is_some()).map(|event| event.at)
    }

    fn take(&mut self, event: &AlertEvent) {
        let AlertEvent { seq, at, change, alert, .. } = event;
        let expected = match change {
            AlertChange::Raised => self.raised(event),
            change => {
                let before = self.alerts.get(&alert.id);
                let before = before.unwrap_or_else(|| panic!("it was not raised: {event:?}"));
                assert!(before.is_open(), "it was over: {event:?}");
                let left_at = self.left_at(before, *seq);
                let is_clear = *change == AlertChange::Cleared;
                assert!(is_clear || left_at.is_none(), "it had left the state: {event:?}");
                let mut after = before.clone();
                let is_known = before.acknowledged.is_some();
                match change {
                    AlertChange::Escalated => {
                        assert_eq!(before.level, AlertLevel::Warn, "{event:?}");
                        self.is_so_bad(*at, alert);
                        (after.level, after.escalated_at) = (AlertLevel::Critical, Some(*at));
                        (after.acknowledged, after.detail) = (None, alert.detail.clone());
                    }
                    AlertChange::Reminded => {
                        let is_due = told_at(before) + REMIND_NS <= at.as_unix_ns();
                        assert!(is_due && !is_known, "reminded too early: {event:?}");
                        (after.reminded, after.reminded_at) = (before.reminded + 1, Some(*at));
                    }
                    AlertChange::Acknowledged => {
                        let now = alert.acknowledged.as_ref().map(|known| known.at);
                        assert!(!is_known && now == Some(*at), "acknowledged twice: {event:?}");
                        after.acknowledged.clone_from(&alert.acknowledged);
                    }
                    _ => {
                        let of_order = alert.subject.order().is_some();
                        assert!(left_at.is_some() || !of_order, "it is not over: {event:?}");
                        after.cleared_at = if of_order { left_at } else { Some(*at) };
                    }
                }
                after
            }
        };
        assert_eq!(*alert, expected, "{change} at {seq}");
        self.alerts.insert(alert.id, expected);
    }

    /// A new one: what it must look like.
    fn raised(&self, AlertEvent { seq, at, alert, .. }: &AlertEvent) -> Alert {
        assert_eq!(alert.id, *seq);
        let same = self.alerts.values().filter(|it| it.subject == alert.subject);
        match (alert.kind, alert.subject.order()) {
            (AlertKind::StuckOrder { state }, Some(order)) => {
                let told = self.orders.get(&order).expect("an alert of no order");
                let before = told.history.iter().rev().filter(|event| event.seq < *seq);
                let entered = before.clone().find(|event| event.body.state().is_some());
                let stood = entered.map(|event| (event.body.state(), event.at));
                assert_eq!(stood, Some((Some(state), alert.since)), "it does not stand: {alert:?}");
                let mut same = same.clone();
                assert!(same.all(|it| it.since != alert.since), "raised twice: {alert:?}");
            }
            (AlertKind::DiskLow, None) => {
                assert_eq!(alert.subject, AlertSubject::Ledger);
                assert_eq!(alert.level, AlertLevel::Critical, "only what is refused is worth it");
            }
            (AlertKind::DeadLetter, None) => {
                let AlertSubject::Dispatch(dispatch) = alert.subject else { panic!("{alert:?}") };
                let mut all = self.orders.values().flat_map(|told| &told.history);
                let about = |event: &&Event| event.seq < *seq && pursues(event) == Some(dispatch);
                let last = all.rfind(about).map(|event| &event.body);
                assert!(matches!(last, Some(EventBody::GivenUp { .. })), "not dead: {alert:?}");
                assert_eq!(alert.level, AlertLevel::Critical);
            }
            (AlertKind::BreakerOpen, None) => {
                let AlertSubject::Provider(name) = &alert.subject else { panic!("{alert:?}") };
                assert!(PARTIES.contains(&&name[..]) && alert.level == AlertLevel::Warn);
            }
            _ => panic!("nobody looks for that: {alert:?}"),
        }
        let mut same = same;
        assert!(same.all(|it| !it.is_open()), "one is open: {alert:?}");
        self.is_so_bad(*at, alert);
        let mut new = alert.clone();
        (new.raised_at, new.escalated_at, new.cleared_at) = (*at, None, None);
        (new.reminded, new.reminded_at, new.acknowledged) = (0, None, None);
        new
    }

    /// An order was in the state for as long as the level says.
    fn is_so_bad(&self, at: Timestamp, alert: &Alert) {
        let AlertKind::StuckOrder { state } = alert.kind else { return };
        let order = alert.subject.order().expect("an order is stuck");
        let thresholds = Thresholds::that_count(&self.orders[&order].order, state, self.lifecycle);
        let dwell_ns = at.as_unix_ns().saturating_sub(alert.since.as_unix_ns());
        assert!(thresholds.level(dwell_ns) >= Some(alert.level), "it is not so bad: {alert:?}");
        let name = self.lifecycle.name_of(state).expect("it is a state");
        assert!(alert.detail.starts_with(&format!("in {name} for ")), "{alert:?}");
    }
}
