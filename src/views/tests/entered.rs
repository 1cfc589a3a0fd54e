//! Since when orders are in their states, by the views.
//!
//! Effect to prevent: an order that stands still and that nobody finds, because its key was taken away with
//! another's; or keys of stays that are over, which pile up until a look costs what ever happened.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::Views;
use super::support::{
    Started, TestLog, config, in_memory, in_sled, order, start, wait_for, wait_until_fed,
};
use crate::order::thresholds::Thresholds;
use crate::order::{AlertLevel, Lifecycle, Seq, State, StateRule, Submission, Timestamp};

/// All that are in a state, of those with thresholds of their own or of the others, page by page.
fn all(views: &Views, list: (State, bool), limit: usize) -> Vec<(Timestamp, Seq)> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = views.entered(list, after, limit).unwrap();
        assert!(page.len() <= limit);
        let Some(last) = page.last() else { return found };
        after = Some(*last);
        found.extend(page);
    }
}

/// All that are due at a level, page by page.
fn all_due(views: &Views, level: AlertLevel, limit: usize) -> Vec<(Timestamp, Seq)> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = views.due(level, after, limit).unwrap();
        assert!(page.len() <= limit);
        let Some(last) = page.last() else { return found };
        after = Some(*last);
        found.extend(page);
    }
}

/// Where every order stands and since when, and the thresholds of its own, by reading every record.
fn standing(test: &TestLog) -> BTreeMap<Seq, (State, Timestamp, Thresholds)> {
    let mut standing = BTreeMap::new();
    for seq in (1..test.log.readable_next().0).map(Seq) {
        let record = test.log.read(seq).unwrap().unwrap();
        let body = record.body().unwrap();
        if body.submitted().is_some() {
            standing.insert(seq, (body.first_state(), record.at, body.own_thresholds()));
        }
        if let Some(moved) = body.moved() {
            let order = standing.get_mut(&moved.order()).unwrap();
            (order.0, order.1) = (moved.to(), record.at);
        }
    }
    standing
}

/// What reading every record finds.
fn right(test: &TestLog, (state, own): (State, bool)) -> Vec<(Timestamp, Seq)> {
    let orders = standing(test).into_iter();
    let on_list = orders.filter(|(_, (stands, _, it))| *stands == state && it.is_none() != own);
    let mut right: Vec<_> = on_list.map(|(seq, (_, at, _))| (at, seq)).collect();
    right.sort_unstable();
    right
}

/// The same of those that have thresholds of their own.
fn right_due(test: &TestLog, level: AlertLevel) -> Vec<(Timestamp, Seq)> {
    let ends = [State::Completed, State::Cancelled, State::Refused, State::Expired];
    let orders = standing(test).into_iter().filter(|(_, (state, ..))| !ends.contains(state));
    let due = |(seq, (_, at, own)): (Seq, (State, Timestamp, Thresholds))| {
        let first_ns = own.first_ns(level)?;
        Some((Timestamp::from_unix_ns(at.as_unix_ns().checked_add(first_ns)?), seq))
    };
    let mut right: Vec<_> = orders.filter_map(due).collect();
    right.sort_unstable();
    right
}

const PASSED: [State; 3] = [State::Accepted, State::Confirmed, State::InProgress];

fn assert_right(views: &Views, test: &TestLog) {
    for state in PASSED {
        for limit in [1, 7, 1_000] {
            for list in [(state, false), (state, true)] {
                assert_eq!(all(views, list, limit), right(test, list), "{list:?}");
            }
        }
    }
    for level in AlertLevel::ALL {
        for limit in [1, 7, 1_000] {
            assert_eq!(all_due(views, level, limit), right_due(test, level), "{level}");
        }
    }
    for end in [State::Completed, State::Cancelled, State::Refused, State::Expired] {
        for own in [false, true] {
            assert_eq!(all(views, (end, own), 10), [], "{end} is for ever");
        }
    }
}

/// The order of this seq, with thresholds of its own or without.
fn with_own(seq: u64, order: Submission) -> Submission {
    let ns = Duration::from_nanos;
    match seq % 7 {
        1 => order.warn_after(ns(1_000 - seq)),
        2 => order.critical_after(ns(seq)),
        3 => order.warn_after(ns(5)).critical_after(ns(1_000)),
        // The other way round, and never.
        4 => order.warn_after(ns(1_000)).critical_after(ns(5)),
        5 => order.warn_after(Duration::MAX).critical_after(ns(u64::MAX - 1)),
        _ => order,
    }
}

/// Orders at seq 1 to 60; some take steps, some there and back, some to the end.
fn log_of_some() -> TestLog {
    log_of(|_, order| order)
}

fn log_of(with: impl Fn(u64, Submission) -> Submission) -> TestLog {
    let mut test = TestLog::new();
    let orders = (1..=60).map(|seq| {
        let (submission, refusal) = order(seq);
        (with(seq, submission), refusal)
    });
    orders.collect::<Vec<_>>().chunks(7).for_each(|group| test.write(group));
    for n in (1..=60).step_by(3).map(Seq).filter(|seq| seq.0 % 17 != 0) {
        test.move_on(n, 2, State::Accepted, State::Confirmed);
        if n.0 % 2 == 0 {
            test.move_on(n, 3, State::Confirmed, State::InProgress);
            test.move_on(n, 4, State::InProgress, State::Confirmed);
        }
        if n.0 % 5 == 0 {
            let version = if n.0 % 2 == 0 { 5 } else { 3 };
            test.move_on(n, version, State::Confirmed, State::Completed);
        }
    }
    test
}

#[test]
fn an_order_is_on_the_list_of_its_state_since_it_entered_it() {
    let test = log_of_some();
    let views = in_memory(&test);
    assert_eq!(
        views.entered((State::Accepted, false), None, 9),
        Some(Vec::new()),
        "nothing is fed"
    );
    views.catch_up();
    let right = |state| right(&test, (state, false)).len();
    assert!(right(State::Accepted) > 20 && right(State::Confirmed) > 5);
    assert_right(&views, &test);
}

#[test]
fn an_order_with_thresholds_of_its_own_is_on_the_lists_of_its_levels_by_when_it_is_due() {
    let test = log_of(with_own);
    let views = in_memory(&test);
    views.catch_up();
    assert!(right_due(&test, AlertLevel::Warn).len() > 20, "{:?}", standing(&test));
    assert!(right_due(&test, AlertLevel::Critical).len() > 10);
    assert!(right(&test, (State::Confirmed, false)).len() > 2, "others have none");
    assert!(right(&test, (State::Confirmed, true)).len() > 2);
    assert_right(&views, &test);
    assert_eq!(in_memory(&log_of_some()).due(AlertLevel::Warn, None, 9), Some(Vec::new()));
}

/// What a step takes away was put there by another opening, and is found in the log.
#[test]
fn the_lists_are_known_again_when_a_store_is_opened_or_built_again() {
    known_again(log_of_some());
    known_again(log_of(with_own));
}

fn known_again(mut test: TestLog) {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let Started { views, .. } = in_sled(dir.path(), &test);
        assert_eq!(wait_until_fed(&views).set_aside, 0, "the keys add up");
        assert_right(&views, &test);
        // The second version, and a later one, of orders that were fed before.
        let next = test.log.readable_next();
        let (first, later) = (Seq(2 + 3 * round), Seq(4 + 6 * round));
        test.move_on(first, 2, State::Accepted, State::InProgress);
        let stands = if later.0 % 2 == 0 { 5 } else { 3 };
        if later.0 % 5 != 0 {
            test.move_on(later, stands, State::Confirmed, State::InProgress);
        }
        views.notify();
        wait_for(&views, |state| state.behind == 0 && state.covered > next);
        assert_right(&views, &test);
        views.stop();
        assert_eq!(views.entered((State::Accepted, false), None, 10), None, "stopped");
    }
}

#[test]
fn a_state_of_the_callers_own_is_passed_through_or_is_an_end_as_its_lifecycle_says() {
    const PACKED: State = State::own(100).unwrap();
    const GONE: State = State::own(101).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut test = TestLog::new();
    test.write_many(3);
    test.move_on(Seq(1), 2, State::Accepted, PACKED);
    test.move_on(Seq(2), 2, State::Accepted, PACKED);
    test.move_on(Seq(2), 3, PACKED, GONE);
    let lifecycle = Lifecycle::builder()
        .state(StateRule::new(PACKED, "packed"))
        .state(StateRule::terminal(GONE, "gone"))
        .edge(State::Accepted, PACKED)
        .edge(PACKED, GONE)
        .build()
        .unwrap();
    let mut config = config(dir.path(), &test);
    config.lifecycle = lifecycle;
    let Started { views, .. } = start(config);
    wait_until_fed(&views);
    assert_eq!(all(&views, (PACKED, false), 10), right(&test, (PACKED, false)));
    assert_eq!(all(&views, (GONE, false), 10), []);
    views.stop();
}
