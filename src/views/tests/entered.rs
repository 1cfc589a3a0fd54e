//! Since when orders are in their states, by the views.
//!
//! Effect to prevent: an order that stands still and that nobody finds, because its key was taken away with
//! another's; or keys of stays that are over, which pile up until a look costs what ever happened.

use super::super::Views;
use super::support::{
    Started, TestLog, config, in_memory, in_sled, start, wait_for, wait_until_fed,
};
use crate::order::{Lifecycle, Seq, State, StateRule, Timestamp};

/// All that are in a state, page by page.
fn all(views: &Views, state: State, limit: usize) -> Vec<(Timestamp, Seq)> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = views.entered(state, after, limit).unwrap();
        assert!(page.len() <= limit);
        let Some(last) = page.last() else { return found };
        after = Some(*last);
        found.extend(page);
    }
}

/// What reading every record finds.
fn right(test: &TestLog, state: State) -> Vec<(Timestamp, Seq)> {
    let mut stands = std::collections::BTreeMap::new();
    for seq in (1..test.log.readable_next().0).map(Seq) {
        let record = test.log.read(seq).unwrap().unwrap();
        let body = record.body().unwrap();
        if body.submitted().is_some() {
            stands.insert(seq, (record.at, body.first_state()));
        }
        if let Some(moved) = body.moved() {
            stands.insert(moved.order(), (record.at, moved.to()));
        }
    }
    let is_there =
        |(seq, (at, stands)): (Seq, (Timestamp, State))| (stands == state).then_some((at, seq));
    let mut right: Vec<_> = stands.into_iter().filter_map(is_there).collect();
    right.sort_unstable();
    right
}

const PASSED: [State; 3] = [State::Accepted, State::Confirmed, State::InProgress];

fn assert_right(views: &Views, test: &TestLog) {
    for state in PASSED {
        for limit in [1, 7, 1_000] {
            assert_eq!(all(views, state, limit), right(test, state), "{state}");
        }
    }
    for end in [State::Completed, State::Cancelled, State::Refused, State::Expired] {
        assert_eq!(all(views, end, 10), [], "{end} is for ever");
    }
}

/// Orders at seq 1 to 60; some take steps, some there and back, some to the end.
fn log_of_some() -> TestLog {
    let mut test = TestLog::new();
    test.write_many(60);
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
    assert_eq!(views.entered(State::Accepted, None, 9), Some(Vec::new()), "nothing is fed");
    views.catch_up();
    assert!(right(&test, State::Accepted).len() > 20 && right(&test, State::Confirmed).len() > 5);
    assert_right(&views, &test);
}

/// What a step takes away was put there by another opening, and is found in the log.
#[test]
fn the_lists_are_known_again_when_a_store_is_opened_or_built_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut test = log_of_some();
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
        assert_eq!(views.entered(State::Accepted, None, 10), None, "stopped");
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
    assert_eq!(all(&views, PACKED, 10), right(&test, PACKED));
    assert_eq!(all(&views, GONE, 10), []);
    views.stop();
}
