//! Who is found, with views that are right, behind, wrong, or not there.

use super::*;
use crate::views::tests::support::{TestLog, in_memory};

fn lookup(test: &TestLog) -> Lookup {
    Lookup { log: test.log.clone(), tables: test.tables.clone() }
}

fn everybody(state: State) -> Wanted {
    let until = Timestamp::from_unix_ns(u64::MAX);
    Wanted { state, after: None, until, limit: 10_000, passes_damage: false }
}

/// Page by page.
fn all(test: &TestLog, views: Option<&Views>, wanted: Wanted, limit: usize) -> Vec<Place> {
    let (mut orders, mut wanted) = (Vec::new(), Wanted { limit, ..wanted });
    loop {
        let found = find(&lookup(test), views, wanted).unwrap();
        assert!(found.orders.len() <= limit);
        orders.extend(found.orders);
        if !found.more {
            return orders;
        }
        wanted.after = found.looked;
    }
}

/// By reading every record.
fn right(test: &TestLog, state: State, until: Timestamp) -> Vec<Place> {
    let stands = |order: &crate::order::Order| {
        let entry = lookup(test).state_entry(order.id().seq()).unwrap().unwrap();
        assert_eq!(entry.state, order.now.state);
        (entry.state == state && entry.since <= until).then_some((entry.since, order.id().seq()))
    };
    let mut right: Vec<_> = test.all().iter().filter_map(stands).collect();
    right.sort_unstable();
    right
}

fn move_some(test: &mut TestLog, orders: impl Iterator<Item = u64>) {
    for n in orders.filter(|n| n % 17 != 0) {
        test.move_on(Seq(n), 2, State::Accepted, State::Confirmed);
    }
}

#[test]
fn everybody_is_found_however_far_the_views_are() {
    let mut test = TestLog::new();
    test.write_many(100);
    move_some(&mut test, (1..=100).step_by(3));
    let fed = in_memory(&test);
    fed.catch_up();
    let behind = in_memory(&test);
    behind.catch_up();
    test.write_many(50);
    // Some that the views know, and some that they do not; some of them further still.
    move_some(&mut test, (2..=100).step_by(6).chain((300..320).step_by(4).map(|n| n - 160)));
    test.move_on(Seq(4), 3, State::Confirmed, State::InProgress);
    fed.catch_up();
    assert!(behind.covered() < test.log.readable_next());
    let end = test.log.read(Seq(test.log.readable_next().0 - 1)).unwrap().unwrap().at;
    for state in [State::Accepted, State::Confirmed, State::InProgress, State::Completed] {
        for until in [0, 1_050, 1_120, end.as_unix_ns(), u64::MAX].map(Timestamp::from_unix_ns) {
            let right = right(&test, state, until);
            let wanted = Wanted { until, ..everybody(state) };
            for limit in [1, 3, 10_000] {
                for views in [None, Some(&*fed), Some(&*behind)] {
                    assert_eq!(all(&test, views, wanted, limit), right, "{state} {limit}");
                }
            }
        }
    }
    assert_eq!(fed.state().set_aside + behind.state().set_aside, 0, "none was doubted");
}

/// Effect to prevent: an order that stands still is not found because a derived file says that it went on.
#[test]
fn rule_37_views_that_are_wrong_cost_time_and_no_answer() {
    let mut test = TestLog::new();
    test.write_many(20);
    test.move_on(Seq(5), 2, State::Accepted, State::Confirmed);
    // The views are of another log, in which another order took the step.
    let mut other = TestLog::new();
    other.write_many(20);
    other.move_on(Seq(6), 2, State::Accepted, State::Confirmed);
    for state in [State::Accepted, State::Confirmed] {
        let until = Timestamp::from_unix_ns(u64::MAX);
        let views = in_memory(&other);
        views.catch_up();
        assert_eq!(all(&test, Some(&views), everybody(state), 100), right(&test, state, until));
        assert_eq!(views.state().set_aside, 1, "and they are built again");
    }
}

#[test]
fn what_is_not_due_is_not_looked_at() {
    let mut test = TestLog::new();
    test.write_many(500);
    let views = in_memory(&test);
    views.catch_up();
    let until = test.log.read(Seq(10)).unwrap().unwrap().at;
    let wanted = Wanted { until, ..everybody(State::Accepted) };
    for views in [None, Some(&*views)] {
        let found = find(&lookup(&test), views, wanted).unwrap();
        assert_eq!((found.orders.len(), found.cost, found.more), (10, 10, false));
        // The place where it ended is where the next look begins.
        let after = found.looked;
        let found = find(&lookup(&test), views, Wanted { after, ..wanted }).unwrap();
        assert_eq!((found.orders.len(), found.cost), (0, 0));
    }
}
