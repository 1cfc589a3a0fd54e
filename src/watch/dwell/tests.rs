//! Who is found, with views that are right, behind, wrong, or not there.

use std::time::Duration;

use super::*;
use crate::order::thresholds::Thresholds;
use crate::views::tests::support::{TestLog, in_memory, order};

fn lookup(test: &TestLog) -> Lookup {
    Lookup { log: test.log.clone(), tables: test.tables.clone() }
}

fn everybody(list: List<'_>) -> Wanted<'_> {
    let until = Timestamp::from_unix_ns(u64::MAX);
    Wanted { list, after: None, until, limit: 10_000, passes_damage: false }
}

/// Page by page.
fn all(test: &TestLog, views: Option<&Views>, wanted: Wanted<'_>, limit: usize) -> Vec<Place> {
    let (mut orders, mut wanted) = (Vec::new(), Wanted { limit, ..wanted });
    loop {
        let found = find(&lookup(test), views, wanted).unwrap();
        assert!(found.orders.len() <= limit);
        orders.extend(found.orders.iter().map(|it| it.place));
        if !found.more {
            return orders;
        }
        wanted.after = found.looked;
    }
}

/// By reading every record.
fn right(test: &TestLog, list: List<'_>, until: Timestamp) -> Vec<Place> {
    let place = |order: &crate::order::Order| {
        let seq = order.id().seq();
        let entry = lookup(test).state_entry(seq).unwrap().unwrap();
        assert_eq!(entry.state, order.now.state);
        let own = Thresholds::of((order.warn_after, order.critical_after));
        let at = match list {
            List::State(state) => (entry.state == state && own.is_none()).then_some(entry.since),
            List::Own(..) if order.now.state.is_terminal() => None,
            List::Own(level, _) => own.due_at(level, entry.since),
        };
        at.filter(|at| *at <= until).map(|at| (at, seq))
    };
    let mut right: Vec<_> = test.all().iter().filter_map(place).collect();
    right.sort_unstable();
    right
}

/// So many orders, of which two thirds have thresholds of their own: those that are taken later are due sooner.
fn write_own(test: &mut TestLog, count: u64) {
    let begin = test.log.readable_next().0;
    let orders = (begin..begin + count).map(|seq| {
        let (submission, refusal) = order(seq);
        let (warn, critical) =
            (Duration::from_nanos(2_000 - 3 * seq), Duration::from_nanos(4_000 - 5 * seq));
        let submission = match seq % 3 {
            0 => submission,
            1 => submission.warn_after(warn),
            _ => submission.warn_after(warn).critical_after(critical),
        };
        (submission, refusal)
    });
    orders.collect::<Vec<_>>().chunks(7).for_each(|group| test.write(group));
}

fn move_some(test: &mut TestLog, orders: impl Iterator<Item = u64>) {
    for n in orders.filter(|n| n % 17 != 0) {
        test.move_on(Seq(n), 2, State::Accepted, State::Confirmed);
    }
}

#[test]
fn everybody_is_found_however_far_the_views_are() {
    everybody_is_found(TestLog::write_many);
}

#[test]
fn everybody_with_thresholds_of_its_own_is_found_however_far_the_views_are() {
    everybody_is_found(write_own);
}

fn everybody_is_found(write: fn(&mut TestLog, u64)) {
    let mut test = TestLog::new();
    write(&mut test, 100);
    move_some(&mut test, (1..=100).step_by(3));
    let fed = in_memory(&test);
    fed.catch_up();
    let behind = in_memory(&test);
    behind.catch_up();
    write(&mut test, 50);
    // Some that the views know, and some that they do not; some of them further still.
    move_some(&mut test, (2..=100).step_by(6).chain((300..320).step_by(4).map(|n| n - 160)));
    test.move_on(Seq(4), 3, State::Confirmed, State::InProgress);
    fed.catch_up();
    assert!(behind.covered() < test.log.readable_next());
    let end = test.log.read(Seq(test.log.readable_next().0 - 1)).unwrap().unwrap().at;
    let lifecycle = Lifecycle::default();
    let states = [State::Accepted, State::Confirmed, State::InProgress, State::Completed];
    let own = AlertLevel::ALL.map(|level| List::Own(level, &lifecycle));
    let instants = [0, 1_050, 1_120, 2_500, 3_500, end.as_unix_ns(), u64::MAX];
    for list in states.map(List::State).into_iter().chain(own) {
        for until in instants.map(Timestamp::from_unix_ns) {
            let right = right(&test, list, until);
            let wanted = Wanted { until, ..everybody(list) };
            for limit in [1, 3, 10_000] {
                for views in [None, Some(&*fed), Some(&*behind)] {
                    assert_eq!(all(&test, views, wanted, limit), right, "{list:?} {limit}");
                }
            }
        }
    }
    assert_eq!(fed.state().set_aside + behind.state().set_aside, 0, "none was doubted");
}

/// Effect to prevent: an order that stands still is not found because a derived file says that it went on.
#[test]
fn rule_37_views_that_are_wrong_cost_time_and_no_answer() {
    let lifecycle = Lifecycle::default();
    let by_state = [State::Accepted, State::Confirmed].map(List::State);
    let by_own = AlertLevel::ALL.map(|level| List::Own(level, &lifecycle));
    let writes: [fn(&mut TestLog, u64); 2] = [TestLog::write_many, write_own];
    for (write, lists) in writes.into_iter().zip([by_state, by_own]) {
        let mut test = TestLog::new();
        write(&mut test, 20);
        test.move_on(Seq(5), 2, State::Accepted, State::Confirmed);
        // The views are of another log, in which another order took the step.
        let mut other = TestLog::new();
        write(&mut other, 20);
        other.move_on(Seq(8), 2, State::Accepted, State::Confirmed);
        for list in lists {
            let until = Timestamp::from_unix_ns(u64::MAX);
            let views = in_memory(&other);
            views.catch_up();
            assert_eq!(all(&test, Some(&views), everybody(list), 100), right(&test, list, until));
            assert_eq!(views.state().set_aside, 1, "and they are built again");
        }
    }
}

#[test]
fn what_is_not_due_is_not_looked_at() {
    let mut test = TestLog::new();
    test.write_many(500);
    let views = in_memory(&test);
    views.catch_up();
    let until = test.log.read(Seq(10)).unwrap().unwrap().at;
    let wanted = Wanted { until, ..everybody(List::State(State::Accepted)) };
    for views in [None, Some(&*views)] {
        let found = find(&lookup(&test), views, wanted).unwrap();
        assert_eq!((found.orders.len(), found.cost, found.more), (10, 10, false));
        // The place where it ended is where the next look begins.
        let after = found.looked;
        let found = find(&lookup(&test), views, Wanted { after, ..wanted }).unwrap();
        assert_eq!((found.orders.len(), found.cost), (0, 0));
    }
}

#[test]
fn what_is_not_due_by_thresholds_of_its_own_is_not_looked_at() {
    let mut test = TestLog::new();
    write_own(&mut test, 500);
    let views = in_memory(&test);
    views.catch_up();
    let lifecycle = Lifecycle::default();
    let wanted = everybody(List::Own(AlertLevel::Warn, &lifecycle));
    let until = all(&test, None, wanted, 10_000)[9].0;
    let wanted = Wanted { until, ..wanted };
    let found = find(&lookup(&test), Some(&views), wanted).unwrap();
    assert_eq!((found.orders.len(), found.cost, found.more), (10, 10, false));
    let after = found.looked;
    let found = find(&lookup(&test), Some(&views), Wanted { after, ..wanted }).unwrap();
    assert_eq!((found.orders.len(), found.cost), (0, 0));
    // Without the views only the orders are read that have any, and no step.
    move_some(&mut test, (1..=500).step_by(2));
    let found = find(&lookup(&test), None, wanted).unwrap();
    let own = test.all().iter().filter(|order| order.warn_after.is_some()).count() as u64;
    assert!(found.cost <= own, "{} {own}", found.cost);
    let none = TestLog::new();
    assert_eq!(find(&lookup(&none), None, wanted).unwrap(), Found::default());
}
