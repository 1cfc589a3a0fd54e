//! Neither a restart, a power cut, a clock that goes back, a race, rot, nor the state of the views makes it otherwise.

use std::time::Duration;

use order_ledger::disk::sim::{Crash, CrashMode};
use order_ledger::{
    Alert, AlertChange, AlertLevel, AlertQuery, ErrorKind, Ledger, Lifecycle, OrderId, Reader,
    Soundness, State, StuckQuery, Submission, Transition, Views, WatchOptions,
};

use super::{
    HOUR, SECOND, assert_sound, counts, go, lifecycle, open, paged, stuck, taken, told, watched,
};
use crate::support::{Machine, order, small};

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

#[test]
fn an_order_that_rotted_does_not_hold_up_the_others() {
    one_that_rotted_holds_up_no_other(18, order);
}

/// Effect to prevent: one byte that rotted, and nobody hears of any order that stands still.
pub(super) fn one_that_rotted_holds_up_no_other(seed: u64, order: impl Fn(u64) -> Submission) {
    for views in [Views::On, Views::Off] {
        let machine = Machine::new(seed);
        let ledger = machine.open_with(&watched().views(views)).unwrap();
        for n in 0..800 {
            ledger.submit(&order(n)).unwrap();
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
