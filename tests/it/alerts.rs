//! What stands still is found: alerts are raised once, said to be over once, and no restart, crash or lag of the
//! views makes it otherwise.
//!
//! The story: an order was submitted and never came back, and nobody noticed before the customer called; or
//! everybody was told of it so often that nobody listened any more.

use std::sync::Arc;
use std::time::Duration;

use order_ledger::disk::sim::{Crash, CrashMode};
use order_ledger::{
    Alert, AlertChange, AlertEvent, AlertKind, AlertLevel, AlertQuery, AlertSubject, ErrorKind,
    EventBody, EventFilter, EventKind, Ledger, Lifecycle, Note, NoteKind, Options, OrderId, Reader,
    Seq, Soundness, State, StuckQuery, Submission, Transition, Views, WatchOptions, WatchPass,
    verify_on,
};
use parking_lot::Mutex;

use crate::support::{Machine, order, small};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Accepted for an hour is worth a look, for four hours needs somebody; confirmed for two hours is worth a look.
pub(crate) fn lifecycle() -> Lifecycle {
    Lifecycle::default()
        .with_thresholds(State::Accepted, Some(HOUR), Some(4 * HOUR))
        .with_thresholds(State::Confirmed, Some(2 * HOUR), None)
}

pub(crate) fn watched() -> Options {
    small()
        .lifecycle(lifecycle())
        .watch(WatchOptions::new().remind_every(24 * HOUR).disk_warn_bytes(0))
}

fn taken(ledger: &Ledger, n: u64) -> OrderId {
    ledger.submit(&order(n)).unwrap().receipt.order
}

pub(crate) fn go(ledger: &Ledger, order: OrderId, to: State) {
    ledger.transition(&Transition::new(order, to)).unwrap();
}

pub(crate) fn records(ledger: &Ledger) -> u64 {
    ledger.stats().unwrap().records
}

pub(crate) fn open(ledger: &Ledger) -> Vec<Alert> {
    ledger.alerts(&AlertQuery::open()).unwrap().alerts
}

pub(crate) fn stuck(ledger: &Ledger) -> Vec<(OrderId, State, AlertLevel)> {
    let page = ledger.stuck(&StuckQuery::all()).unwrap();
    assert_eq!(page.next, None);
    page.orders.iter().map(|it| (it.order, it.state, it.level)).collect()
}

/// What happened to the alerts of an order, by its history.
pub(crate) fn told(ledger: &Ledger, order: OrderId) -> Vec<(AlertChange, AlertLevel)> {
    let history = ledger.history(order).unwrap();
    assert!(history.is_sorted_by_key(|event| event.seq));
    let alerted = history.into_iter().filter_map(|event| match event.body {
        EventBody::Alerted { change, level, .. } => Some((change, level)),
        _ => None,
    });
    alerted.collect()
}

pub(crate) fn counts(pass: WatchPass) -> [u64; 4] {
    assert_eq!((pass.failed, pass.damaged), (0, 0), "{pass:?}");
    [pass.raised, pass.escalated, pass.reminded, pass.cleared]
}

pub(crate) fn assert_sound(machine: &Machine) {
    let report = verify_on(machine.disk.as_disk(), &machine.host, &mut |_, _| {}).unwrap();
    assert_eq!(report.soundness(), Soundness::Sound, "{:?}", report.findings);
}

#[test]
fn an_order_that_stands_still_is_raised_once_escalated_once_and_cleared_when_it_goes_on() {
    let machine = Machine::new(1);
    let ledger = machine.open_with(&watched()).unwrap();
    let (slow, quick) = (taken(&ledger, 1), taken(&ledger, 2));
    assert_eq!(counts(ledger.watch_once()), [0; 4]);
    machine.host.advance(HOUR / 2);
    go(&ledger, quick, State::Completed);
    machine.host.advance(HOUR / 2);
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0]);
    let alert = open(&ledger).pop().unwrap();
    let accepted_at = ledger.get(slow).unwrap().unwrap().receipt.accepted_at;
    assert_eq!(alert.subject, AlertSubject::Order(slow));
    assert_eq!(alert.kind, AlertKind::StuckOrder { state: State::Accepted });
    assert_eq!((alert.level, alert.since), (AlertLevel::Warn, accepted_at));
    assert!(alert.is_open() && alert.detail.contains("accepted"), "{alert:?}");
    let written = records(&ledger);
    for _ in 0..3 {
        machine.host.advance(HOUR / 2);
        assert_eq!(counts(ledger.watch_once()), [0; 4]);
    }
    assert_eq!(records(&ledger), written, "looking writes nothing");
    machine.host.advance(2 * HOUR);
    assert_eq!(counts(ledger.watch_once()), [0, 1, 0, 0]);
    let worse = open(&ledger).pop().unwrap();
    assert_eq!((worse.id, worse.level), (alert.id, AlertLevel::Critical));
    assert_eq!((worse.raised_at, worse.since), (alert.raised_at, alert.since));
    assert!(worse.escalated_at.is_some());
    assert_eq!(counts(ledger.watch_once()), [0; 4]);
    // It is over with the step, also before that is recorded.
    go(&ledger, slow, State::Confirmed);
    assert_eq!((open(&ledger), stuck(&ledger)), (Vec::new(), Vec::new()));
    let over = ledger.alert(alert.id).unwrap().unwrap();
    assert_eq!(counts(ledger.watch_once()), [0, 0, 0, 1]);
    let recorded = ledger.alert(alert.id).unwrap().unwrap();
    assert_eq!(over, recorded, "recording it changes nothing");
    let left = ledger
        .history(slow)
        .unwrap()
        .into_iter()
        .find(|it| it.body.state() == Some(State::Confirmed));
    assert_eq!(recorded.cleared_at, left.map(|step| step.at));
    assert_eq!(counts(ledger.watch_once()), [0; 4]);
    let order = ledger.get(slow).unwrap().unwrap();
    assert_eq!(order.now.version, 2, "alerts are no steps");
    let expected = [
        (AlertChange::Raised, AlertLevel::Warn),
        (AlertChange::Escalated, AlertLevel::Critical),
        (AlertChange::Cleared, AlertLevel::Critical),
    ];
    assert_eq!(told(&ledger, slow), expected);
    assert_eq!(told(&ledger, quick), []);
    ledger.close().unwrap();
    assert_sound(&machine);
}

#[test]
fn dwell_counts_from_entering_the_state_and_a_note_does_not_begin_it_anew() {
    let machine = Machine::new(2);
    let own = Lifecycle::builder()
        .edge(State::Accepted, State::Confirmed)
        .edge(State::Confirmed, State::InProgress)
        .edge(State::InProgress, State::Confirmed)
        .edge(State::InProgress, State::Completed)
        .build()
        .unwrap()
        .with_thresholds(State::Confirmed, Some(HOUR), None);
    let options = small().lifecycle(own).watch(WatchOptions::new().disk_warn_bytes(0));
    let ledger = machine.open_with(&options).unwrap();
    let id = taken(&ledger, 1);
    machine.host.advance(9 * HOUR);
    assert_eq!(stuck(&ledger), [], "accepted is not watched");
    go(&ledger, id, State::Confirmed);
    machine.host.advance(HOUR - SECOND);
    ledger.note(&Note::new(id, NoteKind::Note, "called them")).unwrap();
    assert_eq!(stuck(&ledger), []);
    machine.host.advance(SECOND);
    assert_eq!(stuck(&ledger), [(id, State::Confirmed, AlertLevel::Warn)]);
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0]);
    let first = open(&ledger).pop().unwrap();
    // There and back is another stay.
    go(&ledger, id, State::InProgress);
    go(&ledger, id, State::Confirmed);
    assert_eq!((stuck(&ledger).len(), open(&ledger).len()), (0, 0));
    assert_eq!(counts(ledger.watch_once()), [0, 0, 0, 1]);
    machine.host.advance(HOUR);
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0]);
    let second = open(&ledger).pop().unwrap();
    assert!(second.id > first.id && second.since > first.since);
    let all = ledger.alerts(&AlertQuery::all()).unwrap().alerts;
    assert_eq!(
        all.iter().map(|it| (it.id, it.is_open())).collect::<Vec<_>>(),
        [(first.id, false), (second.id, true)]
    );
    // So is a stay that began before the alert about the one before it was over.
    go(&ledger, id, State::InProgress);
    go(&ledger, id, State::Confirmed);
    machine.host.advance(2 * HOUR);
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 1]);
    ledger.close().unwrap();
    assert_sound(&machine);
}

#[test]
fn what_is_critical_at_once_is_raised_as_that_and_a_terminal_state_is_never_stuck() {
    let machine = Machine::new(3);
    let ledger = machine.open_with(&watched()).unwrap();
    let (id, done) = (taken(&ledger, 1), taken(&ledger, 2));
    go(&ledger, done, State::Completed);
    machine.host.advance(100 * HOUR);
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0]);
    assert_eq!(told(&ledger, id), [(AlertChange::Raised, AlertLevel::Critical)]);
    assert_eq!(stuck(&ledger), [(id, State::Accepted, AlertLevel::Critical)]);
    assert_eq!(counts(ledger.watch_once()), [0; 4]);
}

#[test]
fn an_alert_is_reminded_of_at_its_interval_until_somebody_knows() {
    let machine = Machine::new(4);
    let heard: Arc<Mutex<Vec<AlertEvent>>> = Arc::default();
    let hears = Arc::clone(&heard);
    let watch = WatchOptions::new()
        .remind_every(HOUR)
        .disk_warn_bytes(0)
        .on_alert(move |event| hears.lock().push(event.clone()));
    let options = small().lifecycle(lifecycle()).watch(watch);
    let ledger = machine.open_with(&options).unwrap();
    let id = taken(&ledger, 1);
    machine.host.advance(HOUR);
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0]);
    machine.host.advance(HOUR - SECOND);
    assert_eq!(counts(ledger.watch_once()), [0; 4]);
    machine.host.advance(SECOND);
    assert_eq!(counts(ledger.watch_once()), [0, 0, 1, 0]);
    assert_eq!(counts(ledger.watch_once()), [0; 4]);
    let alert = open(&ledger).pop().unwrap();
    assert_eq!(alert.reminded, 1);
    let known = ledger.acknowledge_alert(alert.id, "N. Davolio", "called them").unwrap();
    assert_eq!(known.acknowledged.as_ref().unwrap().by, b"N. Davolio");
    let written = records(&ledger);
    let again = ledger.acknowledge_alert(alert.id, "A. Fuller", "me too").unwrap();
    assert_eq!((again, records(&ledger)), (known.clone(), written), "the first one knows");
    machine.host.advance(HOUR);
    assert_eq!(counts(ledger.watch_once()), [0; 4], "no reminder");
    assert_eq!(open(&ledger), [known], "and still open");
    // That it needs somebody now, nobody knows yet.
    machine.host.advance(HOUR);
    assert_eq!(counts(ledger.watch_once()), [0, 1, 0, 0]);
    assert_eq!(open(&ledger)[0].acknowledged, None);
    machine.host.advance(HOUR);
    assert_eq!(counts(ledger.watch_once()), [0, 0, 1, 0]);
    ledger.acknowledge_alert(alert.id, "", "").unwrap();
    go(&ledger, id, State::Completed);
    assert_eq!(counts(ledger.watch_once()), [0, 0, 0, 1]);
    let error = ledger.acknowledge_alert(alert.id, "A", "").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoOpenAlert { cleared_at: Some(_), .. }), "{error}");
    let error = ledger.acknowledge_alert(Seq(1), "A", "").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoOpenAlert { cleared_at: None, .. }), "{error}");
    let error = ledger.acknowledge_alert(alert.id, [7; 65], "").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid { .. }), "{error}");
    use AlertChange::{Acknowledged, Cleared, Escalated, Raised, Reminded};
    let changes: Vec<_> = heard.lock().iter().map(|event| event.change).collect();
    let expected = [Raised, Reminded, Acknowledged, Escalated, Reminded, Acknowledged, Cleared];
    assert_eq!(changes, expected);
    let recorded: Result<Vec<AlertEvent>, _> = ledger.alert_events(Seq::FIRST).collect();
    assert_eq!(recorded.unwrap(), *heard.lock(), "what is told is what the log says");
    let told: Vec<_> = told(&ledger, id).into_iter().map(|(change, _)| change).collect();
    assert_eq!(told, expected);
    ledger.close().unwrap();
    assert_sound(&machine);
}

#[test]
fn the_feed_has_alerts_of_orders_and_a_filter_can_ask_for_them_alone() {
    let machine = Machine::new(5);
    let ledger = machine.open_with(&watched()).unwrap();
    let id = taken(&ledger, 1);
    machine.host.advance(HOUR);
    ledger.watch_once();
    let filter = EventFilter::all().event_kind(EventKind::Alerted);
    let mut pager = ledger.consumer("pager").unwrap().filter(filter);
    let events = pager.poll(10, Duration::ZERO).unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].order, events[0].body.state()), (id, None));
    let EventBody::Alerted { alert, change, kind, since, .. } = &events[0].body else { panic!() };
    assert_eq!((*alert, *change), (events[0].seq, AlertChange::Raised));
    assert_eq!(*kind, AlertKind::StuckOrder { state: State::Accepted });
    assert_eq!(*since, ledger.get(id).unwrap().unwrap().receipt.accepted_at);
    pager.commit(events[0].seq).unwrap();
    let account = EventFilter::all().event_kind(EventKind::Alerted).account("account-1");
    assert_eq!(
        ledger.consumer("other").unwrap().filter(account).poll(9, Duration::ZERO).unwrap(),
        events
    );
}

#[test]
fn a_panic_of_the_callback_is_counted_and_harms_nobody() {
    let machine = Machine::new(6);
    let watch = WatchOptions::new().disk_warn_bytes(0).on_alert(|_| panic!("a callback"));
    let ledger = machine.open_with(&small().lifecycle(lifecycle()).watch(watch)).unwrap();
    taken(&ledger, 1);
    taken(&ledger, 2);
    machine.host.advance(HOUR);
    assert_eq!(counts(ledger.watch_once()), [2, 0, 0, 0]);
    assert_eq!(ledger.stats().unwrap().alert_panics, 2);
    assert_eq!(counts(ledger.watch_once()), [0; 4]);
    assert_eq!(ledger.poisoned(), None);
}

/// Every state of a few dozen orders, and what a plain reading of the log says of them.
fn shop(machine: &Machine, ledger: &Ledger) -> Vec<OrderId> {
    let mut orders = Vec::new();
    for n in 0..60 {
        let id = taken(ledger, n);
        orders.push(id);
        machine.host.advance(HOUR / 8);
        match n % 5 {
            1 => go(ledger, id, State::Confirmed),
            // Some have come to an end before.
            2 => go_if_it_goes(ledger, orders[usize::try_from(n / 2).unwrap()]),
            3 => go(ledger, id, State::Completed),
            _ => {}
        }
        ledger.tick();
    }
    orders
}

pub(crate) fn paged(
    mut read: impl FnMut(&StuckQuery) -> order_ledger::StuckPage,
    limit: usize,
) -> Vec<(OrderId, State, AlertLevel)> {
    let (mut found, mut query) = (Vec::new(), StuckQuery::all().limit(limit));
    loop {
        let page = read(&query);
        assert!(page.orders.len() <= limit);
        found.extend(page.orders.iter().map(|it| (it.order, it.state, it.level)));
        let Some(next) = page.next else { return found };
        query = query.after(next.to_string().parse().unwrap());
    }
}

/// Effect to prevent: the answer depends on a file that anybody may delete.
#[test]
fn stuck_and_alerts_answer_the_same_with_views_without_and_from_a_reader() {
    let machine = Machine::new(7);
    let ledger = machine.open_with(&watched()).unwrap();
    let orders = shop(&machine, &ledger);
    let now_ns = {
        ledger.watch_once();
        go(&ledger, orders[0], State::Completed);
        order_ledger::disk::Host::wall_ns(&machine.host)
    };
    let expected = stuck(&ledger);
    assert!(expected.len() > 20, "{}", expected.len());
    assert!(expected.iter().any(|it| it.1 == State::Confirmed));
    // By a plain reading: who stands in a watched state since so long.
    let mut plain = Vec::new();
    for id in &orders {
        let order = ledger.get(*id).unwrap().unwrap();
        let history = ledger.history(*id).unwrap();
        let since = history.iter().rev().find(|it| it.body.state().is_some()).unwrap().at;
        let (warn, critical) = lifecycle().thresholds(order.now.state);
        let dwell = Duration::from_nanos(now_ns - since.as_unix_ns());
        let is_over = |after: Option<Duration>| after.is_some_and(|after| after <= dwell);
        let level = match (is_over(warn), is_over(critical)) {
            (_, true) => AlertLevel::Critical,
            (true, _) => AlertLevel::Warn,
            _ => continue,
        };
        plain.push((order.now.state.number(), since, (*id, order.now.state, level)));
    }
    plain.sort();
    assert_eq!(plain.into_iter().map(|(_, _, it)| it).collect::<Vec<_>>(), expected);
    let alerts = open(&ledger);
    // All but the one that went on since.
    let of: Vec<_> = alerts.iter().map(|it| it.subject.order().unwrap()).collect();
    assert_eq!(of.len(), expected.len());
    assert!(expected.iter().all(|(id, ..)| of.contains(id)));
    let critical = ledger.stuck(&StuckQuery::all().level(AlertLevel::Critical)).unwrap().orders;
    let expect = expected.iter().filter(|it| it.2 == AlertLevel::Critical);
    assert_eq!(
        critical.iter().map(|it| it.order).collect::<Vec<_>>(),
        expect.map(|it| it.0).collect::<Vec<_>>()
    );
    let confirmed = ledger.stuck(&StuckQuery::all().state(State::Confirmed)).unwrap().orders;
    assert!(!confirmed.is_empty() && confirmed.iter().all(|it| it.state == State::Confirmed));
    for limit in [1, 2, 7, 1000] {
        assert_eq!(paged(|query| ledger.stuck(query).unwrap(), limit), expected, "{limit}");
    }
    let reader = Reader::open_on(machine.disk.as_disk(), &machine.host).unwrap();
    for limit in [1, 2, 7, 1000] {
        assert_eq!(paged(|query| reader.stuck(query).unwrap(), limit), expected, "{limit}");
    }
    assert_eq!(reader.alerts(&AlertQuery::open()).unwrap().alerts, alerts);
    ledger.close().unwrap();
    for views in [Views::Off, Views::On] {
        let ledger = machine.open_with(&watched().views(views)).unwrap();
        assert_eq!((stuck(&ledger), open(&ledger)), (expected.clone(), alerts.clone()));
        let mut query = AlertQuery::all().limit(3);
        let mut seen = Vec::new();
        loop {
            let page = ledger.alerts(&query).unwrap();
            seen.extend(page.alerts);
            let Some(next) = page.next else { break };
            query = query.after(next);
        }
        assert_eq!(seen.len(), alerts.len() + 1);
        assert_eq!(seen.into_iter().filter(Alert::is_open).collect::<Vec<_>>(), alerts);
        ledger.close().unwrap();
    }
    for bad in [0, 10_001] {
        let ledger = machine.open_with(&watched()).unwrap();
        let error = ledger.stuck(&StuckQuery::all().limit(bad)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BadQuery { .. }));
        let error = ledger.alerts(&AlertQuery::open().limit(bad)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BadQuery { .. }));
        ledger.close().unwrap();
    }
    assert_sound(&machine);
}

/// A restart neither repeats nor forgets, with views and without, whoever looks first.
#[test]
fn a_restart_neither_repeats_an_alert_nor_forgets_one() {
    for views in [Views::On, Views::Off] {
        let machine = Machine::new(8);
        let options = watched().views(views);
        let ledger = machine.open_with(&options).unwrap();
        let ids: Vec<_> = (0..5).map(|n| taken(&ledger, n)).collect();
        machine.host.advance(HOUR);
        assert_eq!(counts(ledger.watch_once()), [5, 0, 0, 0]);
        ledger.close().unwrap();
        let ledger = machine.open_with(&options).unwrap();
        let late = taken(&ledger, 5);
        let alerts = open(&ledger);
        assert_eq!(counts(ledger.watch_once()), [0; 4]);
        assert_eq!(open(&ledger), alerts);
        ledger.acknowledge_alert(alerts[0].id, "A", "").unwrap();
        go(&ledger, ids[1], State::Confirmed);
        ledger.close().unwrap();
        let ledger = machine.open_with(&options).unwrap();
        assert!(open(&ledger)[0].acknowledged.is_some());
        assert_eq!(open(&ledger).len(), 4);
        machine.host.advance(3 * HOUR);
        assert_eq!(counts(ledger.watch_once()), [2, 4, 0, 1], "late, and confirmed for too long");
        ledger.close().unwrap();
        let ledger = machine.open_with(&options).unwrap();
        assert_eq!(counts(ledger.watch_once()), [0; 4]);
        assert_eq!(told(&ledger, late).len(), 1);
        ledger.close().unwrap();
        assert_sound(&machine);
    }
}

/// Power cuts at every call of the disk: what was raised stays raised, once; what was not is raised by the next look.
#[test]
fn a_power_cut_at_every_call_neither_repeats_an_alert_nor_forgets_one() {
    let mut cuts = 0;
    for calls in 1.. {
        let machine = Machine::new(calls);
        let ledger = machine.open_with(&watched()).unwrap();
        let mut ids: Vec<_> = (0..4).map(|n| taken(&ledger, n)).collect();
        // Some say themselves when they are stuck: the one that is taken last is due first, and all within the hour.
        for (n, minutes) in [(4, 60), (5, 30)] {
            let own = order(n).warn_after(60 * minutes * SECOND).critical_after(3 * HOUR);
            ids.push(ledger.submit(&own).unwrap().receipt.order);
        }
        machine.host.advance(HOUR);
        machine.disk.power_off_after(calls);
        let mut before = ledger.watch_once();
        go_if_it_goes(&ledger, ids[0]);
        drop(ledger.transition(&Transition::new(ids[5], State::Completed)));
        machine.host.advance(3 * HOUR);
        let second = ledger.watch_once();
        before.raised += second.raised;
        let known = ledger.alerts(&AlertQuery::all()).map(|page| page.alerts).unwrap_or_default();
        let acknowledged =
            known.last().is_some_and(|it| ledger.acknowledge_alert(it.id, "A", "").is_ok());
        let whole = second.failed == 0 && before.failed == 0 && acknowledged;
        let mode = if calls % 2 == 0 { CrashMode::Random } else { CrashMode::DropAll };
        machine.disk.crash(Crash::new(mode, calls));
        drop(ledger);
        let ledger = machine.open_with(&watched()).unwrap();
        let found = ledger.alerts(&AlertQuery::all()).unwrap().alerts;
        assert!(found.len() as u64 >= before.raised, "{before:?} {found:?}");
        for alert in &known {
            let now = ledger.alert(alert.id).unwrap().unwrap();
            assert_eq!((now.id, now.since), (alert.id, alert.since), "it was told of");
        }
        if acknowledged {
            let last = ledger.alert(known.last().unwrap().id).unwrap().unwrap();
            assert!(last.acknowledged.is_some());
        }
        ledger.watch_once();
        assert_eq!(counts(ledger.watch_once()), [0; 4]);
        for id in &ids {
            let raised = told(&ledger, *id).into_iter().filter(|it| it.0 == AlertChange::Raised);
            assert_eq!(raised.count(), 1, "cut at call {calls}");
            let escalated =
                told(&ledger, *id).into_iter().filter(|it| it.0 == AlertChange::Escalated);
            assert!(escalated.count() <= 1);
        }
        ledger.close().unwrap();
        assert_sound(&machine);
        cuts += 1;
        if whole {
            break;
        }
    }
    assert!(cuts > 5, "{cuts}");
}

/// A step that may not be taken.
fn go_if_it_goes(ledger: &Ledger, order: OrderId) {
    drop(ledger.transition(&Transition::new(order, State::InProgress)));
}

#[test]
fn a_clock_that_goes_back_neither_repeats_an_alert_nor_clears_it() {
    let machine = Machine::new(9);
    let ledger = machine.open_with(&watched()).unwrap();
    let id = taken(&ledger, 1);
    let begin_ns = order_ledger::disk::Host::wall_ns(&machine.host);
    machine.host.advance(HOUR);
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0]);
    machine.host.set_wall_ns(begin_ns);
    assert_eq!(counts(ledger.watch_once()), [0; 4]);
    assert_eq!(stuck(&ledger), [(id, State::Accepted, AlertLevel::Warn)], "ledger time does not");
    ledger.close().unwrap();
    let ledger = machine.open_with(&watched()).unwrap();
    assert_eq!(counts(ledger.watch_once()), [0; 4]);
    machine.host.advance(5 * HOUR);
    assert_eq!(counts(ledger.watch_once()), [0, 1, 0, 0]);
    ledger.close().unwrap();
    assert_sound(&machine);
}

/// Effect to prevent: with ten million open orders each look reads all of them.
#[test]
fn a_look_costs_what_is_due_and_not_what_is_open() {
    for views in [Views::On, Views::Off] {
        let machine = Machine::new(10);
        let ledger = machine.open_with(&watched().views(views)).unwrap();
        for n in 0..20 {
            taken(&ledger, n);
        }
        machine.host.advance(HOUR);
        for n in 20..2_000 {
            taken(&ledger, n);
            ledger.tick();
        }
        let pass = ledger.watch_once();
        assert_eq!(counts(pass), [20, 0, 0, 0]);
        assert!(pass.looked < 100, "{pass:?}");
        // Open alerts are looked at, and nothing else.
        let pass = ledger.watch_once();
        assert_eq!((counts(pass), pass.looked), ([0; 4], 20), "{pass:?}");
        ledger.close().unwrap();
    }
}

/// Many at once are written together.
#[test]
fn many_alerts_share_their_syncs() {
    let machine = Machine::new(11);
    let ledger = machine.open_with(&watched()).unwrap();
    for n in 0..600 {
        taken(&ledger, n);
        ledger.tick();
    }
    machine.host.advance(2 * HOUR);
    let groups = ledger.stats().unwrap().groups;
    assert_eq!(counts(ledger.watch_once()), [600, 0, 0, 0]);
    assert_eq!(ledger.stats().unwrap().groups - groups, 3, "256 at a time");
    let page = ledger.alerts(&AlertQuery::open().limit(10_000)).unwrap();
    assert_eq!((page.alerts.len(), page.next), (600, None));
    ledger.close().unwrap();
    assert_sound(&machine);
}

#[test]
fn a_consumer_that_does_not_keep_up_is_raised_and_cleared() {
    let machine = Machine::new(12);
    let watch = WatchOptions::new().disk_warn_bytes(0).consumer_lag("billing", 10, 100);
    let watch = watch.consumer_age("billing", HOUR, 9 * HOUR);
    let ledger = machine.open_with(&small().watch(watch)).unwrap();
    for n in 0..10 {
        taken(&ledger, n);
    }
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0], "never opened is behind as well");
    let alert = open(&ledger).pop().unwrap();
    assert_eq!((alert.kind, alert.level), (AlertKind::ConsumerLag, AlertLevel::Warn));
    assert_eq!(alert.subject, AlertSubject::Consumer("billing".into()));
    let mut billing = ledger.consumer("billing").unwrap();
    let events = billing.poll(100, Duration::ZERO).unwrap();
    billing.commit(events[3].seq).unwrap();
    assert_eq!(counts(ledger.watch_once()), [0; 4], "a little better is not over");
    billing.commit(events.last().unwrap().seq).unwrap();
    assert_eq!(counts(ledger.watch_once()), [0, 0, 0, 1]);
    machine.host.advance(HOUR);
    assert_eq!(counts(ledger.watch_once()), [0; 4], "there is nothing that it has not dealt with");
    taken(&ledger, 10);
    machine.host.advance(HOUR);
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0], "one event waits for an hour");
    for n in 11..120 {
        taken(&ledger, n);
    }
    assert_eq!(counts(ledger.watch_once()), [0, 1, 0, 0]);
    assert!(
        ledger.events(Seq::FIRST).all(|event| event.unwrap().body.kind() == EventKind::Accepted)
    );
    ledger.close().unwrap();
    assert_sound(&machine);
}

#[test]
fn clients_that_do_not_hear_their_answers_are_found() {
    let machine = Machine::new(13);
    let watch = WatchOptions::new().disk_warn_bytes(0).unreturned(20, 200).unreturned_window(HOUR);
    let ledger = machine.open_with(&small().watch(watch)).unwrap();
    let good = |n: u64| Submission::new("good", format!("{n}"), "tea");
    for n in 0..100 {
        ledger.submit(&good(n)).unwrap();
    }
    for n in 0..19 {
        ledger.submit(&good(n)).unwrap();
    }
    for n in 0..30 {
        taken(&ledger, n);
    }
    assert_eq!(counts(ledger.watch_once()), [0; 4]);
    for n in 0..30 {
        taken(&ledger, n);
    }
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0]);
    let alert = open(&ledger).pop().unwrap();
    assert_eq!(alert.subject, AlertSubject::Client(b"web".to_vec()));
    assert_eq!((alert.kind, alert.level), (AlertKind::Unreturned, AlertLevel::Warn));
    for n in 0..30 {
        taken(&ledger, n);
    }
    assert_eq!(counts(ledger.watch_once()), [0, 1, 0, 0]);
    machine.host.advance(2 * HOUR);
    ledger.watch_once();
    machine.host.advance(2 * HOUR);
    assert_eq!(counts(ledger.watch_once()), [0, 0, 0, 1], "it is over when they are quiet");
}

#[test]
fn damage_that_verify_finds_is_an_alert_until_a_sound_report() {
    let machine = Machine::new(14);
    let ledger = machine.open_with(&watched()).unwrap();
    (0..200).for_each(|n| {
        taken(&ledger, n);
        ledger.tick();
    });
    let sound = verify_on(machine.disk.as_disk(), &machine.host, &mut |_, _| {}).unwrap();
    ledger.report_verify(&sound).unwrap();
    assert_eq!(open(&ledger), []);
    let broken = damaged();
    assert_eq!(broken.soundness(), Soundness::Damaged);
    ledger.report_verify(&broken).unwrap();
    let alert = open(&ledger).pop().unwrap();
    assert_eq!((alert.kind, alert.level), (AlertKind::VerifyFailed, AlertLevel::Critical));
    assert!(!alert.detail.is_empty());
    let written = records(&ledger);
    ledger.report_verify(&broken).unwrap();
    assert_eq!((records(&ledger), counts(ledger.watch_once())), (written, [0; 4]));
    ledger.report_verify(&sound).unwrap();
    assert_eq!(open(&ledger), []);
    assert!(!ledger.alert(alert.id).unwrap().unwrap().is_open());
    ledger.close().unwrap();
    assert_sound(&machine);
}

/// A report about a ledger of which a byte has rotted.
fn damaged() -> order_ledger::VerifyReport {
    let machine = Machine::new(16);
    let ledger = machine.open();
    (0..200).for_each(|n| {
        taken(&ledger, n);
        ledger.tick();
    });
    ledger.close().unwrap();
    let disk = machine.disk.as_disk();
    let first = disk.list("wal").unwrap().into_iter().min().unwrap();
    disk.remove(&format!("wal/{first}")).unwrap();
    verify_on(machine.disk.as_disk(), &machine.host, &mut |_, _| {}).unwrap()
}

#[test]
fn options_out_of_bounds_are_refused() {
    let machine = Machine::new(17);
    for bad in [
        WatchOptions::new().look_every(Duration::ZERO),
        WatchOptions::new().look_every(2 * HOUR),
        WatchOptions::new().remind_every(Duration::ZERO),
        WatchOptions::new().unreturned_window(Duration::ZERO),
        WatchOptions::new().consumer_lag("not a name", 1, 2),
    ] {
        let error = machine.open_with(&small().watch(bad)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Invalid { .. }), "{error}");
    }
}

/// Effect to prevent: an alert says that an order stands still which has just gone on, or one about the same stay is
/// raised by each of two who look.
#[test]
fn steps_and_looks_that_race_never_raise_what_is_not_so_nor_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.ledger");
    let at_once = Lifecycle::default()
        .with_thresholds(State::Accepted, Some(Duration::ZERO), None)
        .with_thresholds(State::Confirmed, Some(Duration::ZERO), None);
    let watch = WatchOptions::new().disk_warn_bytes(0).look_every(Duration::from_millis(10));
    let options = small().segment_bytes(1024 * 1024).lifecycle(at_once).views(Views::Off);
    let ledger = options.watch(watch).open(&path).unwrap();
    let ids: Vec<_> = (0..300).map(|n| taken(&ledger, n)).collect();
    std::thread::scope(|scope| {
        let walker = scope.spawn(|| {
            for id in &ids {
                go(&ledger, *id, State::Confirmed);
                go(&ledger, *id, State::InProgress);
            }
        });
        while !walker.is_finished() {
            ledger.watch_once();
        }
    });
    ledger.watch_once();
    assert_eq!(open(&ledger), []);
    for id in &ids {
        let raised = told(&ledger, *id).iter().filter(|it| it.0 == AlertChange::Raised).count();
        let cleared = told(&ledger, *id).iter().filter(|it| it.0 == AlertChange::Cleared).count();
        assert!(raised <= 2 && raised == cleared, "{raised} {cleared}");
    }
    ledger.close().unwrap();
    // Whoever reads every record sees that each was raised while the order stood there.
    let report = order_ledger::verify(&path).unwrap();
    assert_eq!(report.soundness(), Soundness::Sound, "{:?}", report.findings);
}

/// The thread itself: it raises without being asked, and ends with the ledger.
#[test]
fn the_watch_raises_by_itself_and_ends_with_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.ledger");
    let at_once = Lifecycle::default().with_thresholds(State::Accepted, Some(Duration::ZERO), None);
    let (sender, events) = std::sync::mpsc::channel();
    let watch = WatchOptions::new()
        .disk_warn_bytes(0)
        .look_every(Duration::from_millis(10))
        .on_alert(move |event| sender.send(event.clone()).unwrap());
    let ledger =
        small().segment_bytes(1024 * 1024).lifecycle(at_once).watch(watch).open(&path).unwrap();
    let id = taken(&ledger, 1);
    let raised = events.recv().unwrap();
    assert_eq!(
        (raised.change, raised.alert.subject),
        (AlertChange::Raised, AlertSubject::Order(id))
    );
    go(&ledger, id, State::Completed);
    assert_eq!(events.recv().unwrap().change, AlertChange::Cleared);
    ledger.close().unwrap();
    // Its thread is gone, and what it told by with it.
    assert!(events.recv().is_err());
}

/// Effect to prevent: one byte that rotted, and nobody hears of any order that stands still.
#[test]
fn an_order_that_rotted_does_not_hold_up_the_others() {
    for views in [Views::On, Views::Off] {
        let machine = Machine::new(18);
        let ledger = machine.open_with(&watched().views(views)).unwrap();
        for n in 0..800 {
            taken(&ledger, n);
            ledger.tick();
        }
        assert!(ledger.stats().unwrap().segments > 1);
        ledger.close().unwrap();
        let (path, words) = ("wal", b"order number 7");
        let first = machine.disk.as_disk().list(path).unwrap().into_iter().min().unwrap();
        let first = format!("{path}/{first}");
        let bytes = machine.disk.read_durable(&first).unwrap();
        let at = bytes.windows(words.len()).position(|found| found == words).unwrap();
        machine.disk.flip_bit(&first, at as u64 * 8).unwrap();
        let ledger = machine.open_with(&watched().views(views)).unwrap();
        machine.host.advance(2 * HOUR);
        let pass = ledger.watch_once();
        assert_eq!((pass.raised, pass.failed), (799, 0), "{views:?} {pass:?}");
        machine.host.advance(25 * HOUR);
        let pass = ledger.watch_once();
        assert_eq!((pass.escalated, pass.failed), (799, 0), "{views:?} {pass:?}");
        drop(ledger.close());
    }
}

#[test]
fn slow_syncs_and_a_disk_that_fills_are_raised() {
    let machine = Machine::new(19);
    let ns = Duration::from_nanos;
    let watch = WatchOptions::new().disk_warn_bytes(u64::MAX).sync_latency(ns(1), HOUR);
    let ledger = machine.open_with(&small().watch(watch)).unwrap();
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0], "little room, and no group yet");
    taken(&ledger, 1);
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0]);
    let kinds: Vec<_> = open(&ledger).iter().map(|alert| (alert.kind, alert.level)).collect();
    let warn = AlertLevel::Warn;
    assert_eq!(kinds, [(AlertKind::DiskLow, warn), (AlertKind::SyncLatency, warn)]);
    assert_eq!(ledger.alerts(&AlertQuery::open().kind("disk_low")).unwrap().alerts.len(), 1);
    assert_eq!(counts(ledger.watch_once()), [0; 4]);
    // No room for new orders: that can still be said.
    machine.disk.set_capacity(1);
    let mut n = 2;
    while ledger.submit(&order(n)).is_ok() {
        n += 1;
        ledger.tick();
    }
    ledger.tick();
    assert_eq!(counts(ledger.watch_once()), [0, 1, 0, 0]);
    machine.disk.set_capacity(u64::MAX);
    ledger.tick();
    ledger.submit(&order(n)).unwrap();
    assert_eq!(counts(ledger.watch_once()), [0; 4], "it still has less than is asked for");
    ledger.close().unwrap();
    assert_sound(&machine);
}
