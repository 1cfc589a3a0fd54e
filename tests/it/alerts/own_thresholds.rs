//! Orders that say themselves after how long they are stuck: watched by that alone, found at the cost of what is due,
//! and raised once, whatever happens to the process, the clock and the views.
//!
//! The story: one order in a thousand may wait for a week on purpose, and one is worth ten others; with thresholds per
//! state alone the first is raised every day until nobody listens, and the second as late as all others.

use std::time::Duration;

use order_ledger::{
    AlertChange, AlertKind, AlertLevel, AlertQuery, AlertSubject, Census, ErrorKind, Field, Hold,
    How, Ledger, LinkedBatch, OrderId, Reader, Seq, State, StuckOrder, StuckQuery, Submission,
    Views,
};

use super::survival::one_that_rotted_holds_up_no_other;
use super::{
    HOUR, SECOND, assert_sound, counts, go, lifecycle, open, paged, records, stuck, told, watched,
};
use crate::support::{Machine, order};

const MINUTE: Duration = Duration::from_secs(60);

fn taken(ledger: &Ledger, order: Submission) -> OrderId {
    ledger.submit(&order).unwrap().receipt.order
}

#[test]
fn an_order_is_watched_by_thresholds_of_its_own_instead_of_those_of_its_states() {
    let machine = Machine::new(1);
    let ledger = machine.open_with(&watched()).unwrap();
    let patient = taken(&ledger, order(1).warn_after(9 * HOUR));
    let urgent = taken(&ledger, order(2).warn_after(MINUTE).critical_after(10 * MINUTE));
    let plain = taken(&ledger, order(3));
    let muted = taken(&ledger, order(4).warn_after(Duration::MAX));
    machine.host.advance(MINUTE);
    assert_eq!(stuck(&ledger), [(urgent, State::Accepted, AlertLevel::Warn)]);
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0]);
    let alert = open(&ledger).pop().unwrap();
    assert_eq!(alert.subject, AlertSubject::Order(urgent));
    assert_eq!(alert.kind, AlertKind::StuckOrder { state: State::Accepted });
    assert_eq!(alert.since, ledger.get(urgent).unwrap().unwrap().receipt.accepted_at);
    assert!(alert.detail.contains("accepted"), "{alert:?}");
    machine.host.advance(9 * MINUTE);
    assert_eq!(counts(ledger.watch_once()), [0, 1, 0, 0]);
    machine.host.advance(HOUR);
    // The one without is raised by its state, as ever; the patient one is not, and is not when that is critical.
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0]);
    machine.host.advance(3 * HOUR);
    let critical = AlertLevel::Critical;
    assert_eq!(
        stuck(&ledger),
        [(plain, State::Accepted, critical), (urgent, State::Accepted, critical)]
    );
    assert_eq!(counts(ledger.watch_once()), [0, 1, 0, 0]);
    // A step begins it anew, in a state that has none as well.
    go(&ledger, urgent, State::InProgress);
    assert_eq!(counts(ledger.watch_once()), [0, 0, 0, 1]);
    machine.host.advance(MINUTE - SECOND);
    assert_eq!(counts(ledger.watch_once()), [0; 4]);
    machine.host.advance(SECOND);
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0]);
    machine.host.advance(9 * HOUR);
    assert_eq!(counts(ledger.watch_once()), [1, 1, 0, 0]);
    assert_eq!(
        told(&ledger, patient),
        [(AlertChange::Raised, AlertLevel::Warn)],
        "and never worse"
    );
    // An end is an end.
    go(&ledger, urgent, State::Completed);
    go(&ledger, patient, State::Cancelled);
    assert_eq!(counts(ledger.watch_once()), [0, 0, 0, 2]);
    machine.host.advance(1_000 * HOUR);
    assert_eq!(stuck(&ledger), [(plain, State::Accepted, critical)]);
    assert_eq!(counts(ledger.watch_once())[0], 0);
    assert_eq!(told(&ledger, muted), []);
    ledger.close().unwrap();
    assert_sound(&machine);
}

#[test]
fn thresholds_are_content_and_are_kept_with_the_order() {
    let machine = Machine::new(2);
    let ledger = machine.open_with(&watched()).unwrap();
    let one = || order(1).warn_after(HOUR).critical_after(2 * HOUR);
    let first = ledger.submit(&one()).unwrap();
    let bare = ledger.submit(&order(2)).unwrap();
    let differs = |other: &Submission| match ledger.submit(other).unwrap_err().kind() {
        ErrorKind::Conflict { differs, .. } => differs.clone(),
        other => panic!("{other:?}"),
    };
    let check = |ledger: &Ledger| {
        let again = ledger.submit(&one()).unwrap();
        assert_eq!((again.how, again.receipt), (How::Replayed, first.receipt));
        let read = ledger.get(first.receipt.order).unwrap().unwrap();
        assert_eq!((read.warn_after, read.critical_after), (Some(HOUR), Some(2 * HOUR)));
        let read = ledger.get(bare.receipt.order).unwrap().unwrap();
        assert_eq!((read.warn_after, read.critical_after), (None, None));
    };
    check(&ledger);
    for other in [
        order(1),
        order(1).warn_after(HOUR),
        order(1).critical_after(2 * HOUR),
        order(1).warn_after(2 * HOUR).critical_after(HOUR),
        order(2).warn_after(HOUR),
    ] {
        assert_eq!(differs(&other), [Field::Thresholds]);
    }
    ledger.close().unwrap();
    let ledger = machine.open_with(&watched()).unwrap();
    check(&ledger);
    assert_eq!(ledger.stats().unwrap().states, [(State::Accepted, 2)]);
    ledger.close().unwrap();
    assert_sound(&machine);
}

/// However an order comes to be: as a member of a batch, as a correction, or refused for good.
#[test]
fn members_and_corrections_have_their_own_and_what_is_refused_is_never_stuck() {
    let machine = Machine::new(3);
    let ledger = machine.open_with(&watched()).unwrap();
    let old = taken(&ledger, order(1));
    let batch = LinkedBatch::new("both")
        .submit(order(2).warn_after(MINUTE))
        .submit(order(3).critical_after(MINUTE).corrects(old))
        .submit(order(4));
    ledger.linked(&batch).unwrap();
    ledger.hold(&Hold::any_client("account-5").reason("checked first")).unwrap();
    ledger.submit(&order(5).warn_after(MINUTE)).unwrap_err();
    machine.host.advance(MINUTE);
    let accepted = State::Accepted;
    let levels = |ledger: &Ledger| -> Vec<_> {
        stuck(ledger).into_iter().map(|(_, state, level)| (state, level)).collect()
    };
    let expected = [(accepted, AlertLevel::Warn), (accepted, AlertLevel::Critical)];
    assert_eq!(levels(&ledger), expected);
    assert_eq!(counts(ledger.watch_once()), [2, 0, 0, 0]);
    assert_eq!(ledger.corrections_of(old).unwrap().len(), 1);
    ledger.close().unwrap();
    let ledger = machine.open_with(&watched().views(Views::Off)).unwrap();
    assert_eq!(levels(&ledger), expected);
    assert_eq!(ledger.stats().unwrap().states, [(accepted, 4), (State::Refused, 1)]);
    ledger.close().unwrap();
    assert_sound(&machine);
}

/// The order of this number, with thresholds of its own or without.
fn some(n: u64) -> Submission {
    let minutes = |count: u64| MINUTE * u32::try_from(count).unwrap();
    match n % 5 {
        // Those that are taken later are due sooner.
        0 => order(n).warn_after(minutes(700 - 9 * n)),
        1 => order(n).warn_after(minutes(90)).critical_after(minutes(700 - 9 * n)),
        2 => order(n).critical_after(minutes(30)),
        _ => order(n),
    }
}

/// Effect to prevent: the answer depends on a file that anybody may delete.
#[test]
fn who_is_stuck_by_its_own_is_the_same_with_views_without_and_from_a_reader() {
    let machine = Machine::new(4);
    let ledger = machine.open_with(&watched()).unwrap();
    let mut orders = Vec::new();
    for n in 0..80 {
        let id = taken(&ledger, some(n));
        orders.push(id);
        machine.host.advance(HOUR / 8);
        match n % 7 {
            1 | 2 => go(&ledger, id, State::Confirmed),
            3 => go(&ledger, id, State::Completed),
            4 => go(&ledger, orders[orders.len() / 2], State::InProgress),
            _ => {}
        }
        ledger.tick();
    }
    machine.host.advance(HOUR * 3 / 2);
    ledger.watch_once();
    let now_ns = order_ledger::disk::Host::wall_ns(&machine.host);
    // By a plain reading: who stands in a state that does not end, and since so long.
    let (mut by_state, mut by_own) = (Vec::new(), Vec::new());
    for id in &orders {
        let order = ledger.get(*id).unwrap().unwrap();
        let history = ledger.history(*id).unwrap();
        let since = history.iter().rev().find(|it| it.body.state().is_some()).unwrap().at;
        let (state, own) = (order.now.state, (order.warn_after, order.critical_after));
        let has_own = own != (None, None);
        let (warn, critical) = if has_own { own } else { lifecycle().thresholds(state) };
        if state.is_terminal() {
            continue;
        }
        let dwell = Duration::from_nanos(now_ns - since.as_unix_ns());
        let is_over = |after: Option<Duration>| after.is_some_and(|after| after <= dwell);
        let level = match (is_over(warn), is_over(critical)) {
            (_, true) => AlertLevel::Critical,
            (true, _) => AlertLevel::Warn,
            _ => continue,
        };
        let first = warn.into_iter().chain(critical).min().unwrap();
        let due_ns = since.as_unix_ns() + u64::try_from(first.as_nanos()).unwrap();
        match has_own {
            true => by_own.push((due_ns, *id, state, level)),
            false => by_state.push((state.number(), since, *id, state, level)),
        }
    }
    by_state.sort_unstable();
    by_own.sort_by_key(|it| (it.0, it.1));
    assert!(by_state.len() > 10 && by_own.len() > 10, "{} {}", by_state.len(), by_own.len());
    let by_state = by_state.into_iter().map(|(.., id, state, level)| (id, state, level));
    let by_own = by_own.into_iter().map(|(_, id, state, level)| (id, state, level));
    let expected: Vec<_> = by_state.chain(by_own).collect();
    assert!(expected.iter().any(|it| it.1 == State::InProgress), "which has no thresholds");
    let alerts = open(&ledger);
    assert_eq!(alerts.len(), expected.len());
    let asked = |query: StuckQuery| -> Vec<_> {
        let orders = ledger.stuck(&query.limit(1_000)).unwrap().orders;
        orders.into_iter().map(|it| (it.order, it.state, it.level)).collect()
    };
    // Counted event by event: the same, the worst first and then who stands longest.
    let mut census = Census::new(ledger.lifecycle().clone());
    ledger.events(Seq::FIRST).for_each(|event| census.count(&event.unwrap()));
    let mut worst = ledger.stuck(&StuckQuery::all().limit(1_000)).unwrap().orders;
    worst.sort_by_key(|it| (std::cmp::Reverse(it.level), it.since, it.order));
    assert!(worst.iter().all(|it| it.threshold <= it.dwell), "{worst:?}");
    // But for how long: the clock goes on between two looks.
    let told = |it: &StuckOrder| (it.order, it.state, it.since, it.level, it.threshold);
    for limit in [0, 1, 17, 1_000] {
        let (first, total) = census.stuck(ledger.metrics().at, limit);
        let first: Vec<_> = first.iter().map(told).collect();
        assert_eq!(first, worst.iter().take(limit).map(told).collect::<Vec<_>>());
        assert_eq!(total, worst.len() as u64);
    }
    for state in [State::Accepted, State::Confirmed, State::InProgress, State::Completed] {
        let of: Vec<_> = expected.iter().copied().filter(|it| it.1 == state).collect();
        assert_eq!(asked(StuckQuery::all().state(state)), of, "{state}");
    }
    let mut critical = asked(StuckQuery::all().level(AlertLevel::Critical));
    let mut of: Vec<_> =
        expected.iter().copied().filter(|it| it.2 == AlertLevel::Critical).collect();
    // They come by when they became critical.
    critical.sort();
    of.sort();
    assert_eq!(critical, of);
    for limit in [1, 2, 7, 1_000] {
        assert_eq!(paged(|query| ledger.stuck(query).unwrap(), limit), expected, "{limit}");
    }
    let reader = Reader::open_on(machine.disk.as_disk(), &machine.host).unwrap();
    for limit in [1, 2, 7, 1_000] {
        assert_eq!(paged(|query| reader.stuck(query).unwrap(), limit), expected, "{limit}");
    }
    ledger.close().unwrap();
    for views in [Views::Off, Views::On] {
        let ledger = machine.open_with(&watched().views(views)).unwrap();
        assert_eq!((stuck(&ledger), open(&ledger)), (expected.clone(), alerts.clone()));
        assert_eq!(counts(ledger.watch_once()), [0; 4], "{views:?}");
        ledger.close().unwrap();
    }
    assert_sound(&machine);
}

#[test]
fn what_an_order_says_itself_is_raised_once_over_restarts() {
    for views in [Views::On, Views::Off] {
        let machine = Machine::new(5);
        let options = watched().views(views);
        let ledger = machine.open_with(&options).unwrap();
        let with = |n, minutes: u32| order(n).warn_after(MINUTE * minutes).critical_after(9 * HOUR);
        // Taken last, due first.
        let ids: Vec<_> = (1..=5).map(|n| taken(&ledger, with(n.into(), 60 - 10 * n))).collect();
        machine.host.advance(30 * MINUTE);
        assert_eq!(counts(ledger.watch_once()), [3, 0, 0, 0]);
        ledger.close().unwrap();
        let ledger = machine.open_with(&options).unwrap();
        assert_eq!(counts(ledger.watch_once()), [0; 4]);
        machine.host.advance(20 * MINUTE);
        let late = taken(&ledger, with(6, 0));
        ledger.close().unwrap();
        let ledger = machine.open_with(&options).unwrap();
        assert_eq!(counts(ledger.watch_once()), [3, 0, 0, 0], "two of old, and the late one");
        assert_eq!(counts(ledger.watch_once()), [0; 4]);
        go(&ledger, ids[0], State::Confirmed);
        machine.host.advance(9 * HOUR);
        ledger.close().unwrap();
        let ledger = machine.open_with(&options).unwrap();
        assert_eq!(counts(ledger.watch_once()), [1, 5, 0, 1]);
        assert_eq!(counts(ledger.watch_once()), [0; 4]);
        assert_eq!(told(&ledger, late).len(), 2);
        assert_eq!(ledger.alerts(&AlertQuery::all()).unwrap().alerts.len(), 7);
        ledger.close().unwrap();
        assert_sound(&machine);
    }
}

/// Effect to prevent: what a look remembers of the one before hides an order that comes to be due in front of that.
#[test]
fn an_order_that_is_taken_after_the_clock_went_back_is_raised_as_well() {
    let machine = Machine::new(6);
    let ledger = machine.open_with(&watched()).unwrap();
    let begin_ns = order_ledger::disk::Host::wall_ns(&machine.host);
    taken(&ledger, order(1).warn_after(100 * HOUR).critical_after(100 * HOUR));
    machine.host.advance(10 * HOUR);
    assert_eq!(counts(ledger.watch_once()), [0; 4]);
    machine.host.set_wall_ns(begin_ns + 1_000_000);
    let late = taken(&ledger, order(2).warn_after(HOUR).critical_after(2 * HOUR));
    machine.host.advance(HOUR);
    assert_eq!(counts(ledger.watch_once()), [1, 0, 0, 0]);
    machine.host.advance(HOUR);
    assert_eq!(counts(ledger.watch_once()), [0, 1, 0, 0]);
    assert_eq!(told(&ledger, late).len(), 2);
}

/// Effect to prevent: with ten million open orders each look reads all of them.
#[test]
fn a_look_costs_what_is_due_by_its_own_and_not_what_is_open() {
    let machine = Machine::new(7);
    let ledger = machine.open_with(&watched()).unwrap();
    for n in 0..2_000 {
        // One in a hundred is due by itself; others are, by their states, not before the end of this test.
        let after = if n % 100 == 50 { MINUTE } else { 100 * HOUR };
        taken(&ledger, order(n).warn_after(after).critical_after(200 * HOUR));
        ledger.tick();
    }
    machine.host.advance(5 * HOUR);
    let pass = ledger.watch_once();
    assert_eq!(counts(pass), [20, 0, 0, 0]);
    assert!(pass.looked < 100, "{pass:?}");
    // What is due was looked at before the last record was written: once more, and then only the open alerts.
    assert!(ledger.watch_once().looked <= 40);
    let pass = ledger.watch_once();
    assert_eq!((counts(pass), pass.looked), ([0; 4], 20), "{pass:?}");
    let written = records(&ledger);
    ledger.watch_once();
    assert_eq!(records(&ledger), written, "looking writes nothing");
    ledger.close().unwrap();
}

/// Without the views a look reads the files in which an order begins that has thresholds of its own, and no others.
#[test]
fn without_the_views_nobody_pays_for_what_no_order_has() {
    let machine = Machine::new(8);
    let ledger = machine.open_with(&watched().views(Views::Off)).unwrap();
    for n in 0..1_000 {
        taken(&ledger, order(n));
        ledger.tick();
    }
    assert_eq!(ledger.watch_once().looked, 0, "none has any");
    let own = taken(&ledger, order(1_000).warn_after(MINUTE));
    for n in 1_001..1_100 {
        let id = taken(&ledger, order(n));
        go(&ledger, id, State::InProgress);
        ledger.tick();
    }
    machine.host.advance(MINUTE);
    let pass = ledger.watch_once();
    assert_eq!((counts(pass), pass.looked), ([1, 0, 0, 0], 2), "for each level: {pass:?}");
    assert_eq!(stuck(&ledger), [(own, State::Accepted, AlertLevel::Warn)]);
    ledger.close().unwrap();
}

#[test]
fn one_that_rotted_does_not_hold_up_others_with_their_own() {
    one_that_rotted_holds_up_no_other(9, |n| order(n).warn_after(MINUTE).critical_after(24 * HOUR));
}
