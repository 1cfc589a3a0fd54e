//! What stands still is found: alerts are raised once, said to be over once, and no restart, crash or lag of the
//! views makes it otherwise.
//!
//! The story: an order was submitted and never came back, and nobody noticed before the customer called; or
//! everybody was told of it so often that nobody listened any more.

mod conditions;
mod own_thresholds;
mod survival;

use std::sync::Arc;
use std::time::Duration;

use order_ledger::{
    Alert, AlertChange, AlertEvent, AlertKind, AlertLevel, AlertQuery, AlertSubject, ErrorKind,
    EventBody, EventFilter, EventKind, Ledger, Lifecycle, Note, NoteKind, Options, OrderId, Seq,
    Soundness, State, StuckQuery, Transition, Views, WatchOptions, WatchPass, verify_on,
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
