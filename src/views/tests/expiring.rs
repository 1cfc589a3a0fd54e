//! Which orders expire next, by the views: those that have not come to an end, by their instant.
//!
//! Effect to prevent: an order whose time is over and that nobody finds; or a look that costs more with every
//! order that ever expired.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::super::{View, Views};
use super::assert_lists_are_right;
use super::support::{
    Started, TestLog, config, in_memory, in_sled, order, start, wait_for, wait_until_fed,
};
use crate::bytes::to_usize;
use crate::order::{Lifecycle, Order, Seq, State, StateRule, Submission, Timestamp};
use crate::wal::format::FRAME_BYTES;

fn expiring(n: u64, ns: u64) -> Submission {
    order(n).0.expires_in(Duration::from_nanos(ns))
}

fn write(test: &mut TestLog, orders: &[Submission]) {
    let orders: Vec<_> = orders.iter().map(|order| (order.clone(), None)).collect();
    test.write(&orders);
}

/// All of them, page by page.
fn all(views: &Views, limit: usize) -> Vec<(Timestamp, Seq)> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = views.expiring(after, limit).unwrap();
        assert!(page.len() <= limit);
        let Some(last) = page.last() else { return found };
        after = Some(*last);
        found.extend(page);
    }
}

/// What a naive filter over the log finds.
fn right(test: &TestLog, is_end: impl Fn(State) -> bool) -> Vec<(Timestamp, Seq)> {
    let open = |order: &Order| {
        order.expires_at.filter(|_| !is_end(order.now.state)).map(|at| (at, order.id().seq()))
    };
    let mut right: Vec<_> = test.all().iter().filter_map(open).collect();
    right.sort_unstable();
    right
}

/// Orders at seq 1 to 40 of which most expire, the later ones earlier; some take steps.
fn log_of_some() -> TestLog {
    let mut test = TestLog::new();
    let orders: Vec<_> = (1..=40)
        .map(|n| if n % 5 == 0 { order(n).0 } else { expiring(n, 10_000 - n / 4 * 300) })
        .collect();
    orders.chunks(7).for_each(|group| write(&mut test, group));
    for n in (1..=40).step_by(3).map(Seq) {
        test.move_on(n, 2, State::Accepted, State::InProgress);
        if n.0 % 2 == 0 {
            test.move_on(n, 3, State::InProgress, State::Completed);
        }
    }
    test.move_on(Seq(2), 2, State::Accepted, State::Expired);
    test
}

#[test]
fn what_expires_next_is_what_has_not_come_to_an_end_by_its_instant() {
    let test = log_of_some();
    let views = in_memory(&test);
    assert_eq!(views.expiring(None, 9), Some(Vec::new()), "nothing is fed");
    views.catch_up();
    let right = right(&test, State::is_terminal);
    assert!(right.len() > 20);
    for limit in [1, 7, 100] {
        assert_eq!(all(&views, limit), right);
    }
    assert_lists_are_right(&views, &test, test.log.readable_next());
}

#[test]
fn what_expires_next_is_known_again_when_a_store_is_opened_or_built_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut test = log_of_some();
    for round in 0..3 {
        let Started { views, .. } = in_sled(dir.path(), &test);
        assert_eq!(wait_until_fed(&views).set_aside, 0, "the keys add up");
        assert_eq!(all(&views, 10), right(&test, State::is_terminal));
        // Fed by another opening than the order was.
        let next = test.log.readable_next();
        write(&mut test, &[expiring(100 + round, 77)]);
        test.move_on(Seq(3 + round * 2), 2, State::Accepted, State::Cancelled);
        views.notify();
        wait_for(&views, |state| state.covered > next.next());
        assert_eq!(all(&views, 10), right(&test, State::is_terminal));
        views.stop();
        assert_eq!(views.expiring(None, 10), None, "stopped");
    }
}

#[test]
fn an_end_of_the_callers_own_is_one() {
    const GONE: State = State::own(100).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut test = TestLog::new();
    write(&mut test, &[expiring(1, 50), expiring(2, 50)]);
    test.move_on(Seq(1), 2, State::Accepted, GONE);
    let rule = StateRule::terminal(GONE, "gone");
    let lifecycle = Lifecycle::builder().state(rule).edge(State::Accepted, GONE).build().unwrap();
    let own = |state| lifecycle.is_terminal(state);
    let mut config = config(dir.path(), &test);
    config.lifecycle = lifecycle.clone();
    let Started { views, .. } = start(config);
    wait_until_fed(&views);
    assert_eq!(all(&views, 10), right(&test, own));
    assert_eq!(all(&views, 10).len(), 1);
}

#[test]
fn whoever_waits_is_told_the_first_instant_when_it_can_be_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut test = TestLog::new();
    write(&mut test, &[expiring(1, 5_000), expiring(2, 3_000), order(3).0]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let listen = |views: &Arc<Views>| {
        let (told, views_told) = (Arc::clone(&told), Arc::downgrade(views));
        views.on_expiring(Box::new(move |instant| {
            // On the feeder's thread, and the views answer.
            let found = views_told.upgrade().and_then(|views| views.expiring(None, 1));
            told.lock().push((instant, found.and_then(|found| found.first().copied())));
        }));
    };
    let heard = |count: usize| {
        let begun = std::time::Instant::now();
        while told.lock().len() < count {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", told.lock());
            std::thread::park_timeout(Duration::from_millis(1));
        }
        told.lock().clone()
    };
    let Started { views, .. } = in_sled(dir.path(), &test);
    wait_until_fed(&views);
    // Who listens late looks himself.
    assert_eq!(views.expiring(None, 1).unwrap()[0].1, Seq(2));
    listen(&views);
    write(&mut test, &[expiring(4, 9_000)]);
    views.notify();
    let first = heard(1);
    assert_eq!(first[0].0, test.all()[3].expires_at.unwrap());
    assert_eq!(first[0].1.unwrap().1, Seq(2), "there are earlier ones");
    // Orders that do not expire, and ends, are nobody's business.
    write(&mut test, &[order(5).0]);
    test.move_on(Seq(2), 2, State::Accepted, State::Failed);
    views.notify();
    wait_for(&views, |state| state.covered == Seq(7));
    assert_eq!(heard(1).len(), 1);
    views.stop();
}

/// One order that rotted must not keep all others from being found.
#[test]
fn an_order_that_can_not_be_read_any_more_stays_a_hint_and_holds_up_nothing() {
    let mut test = TestLog::new();
    write(&mut test, &[expiring(1, 50), expiring(2, 60)]);
    // The block in which it lies is not written again.
    test.write_many(60);
    let views = in_memory(&test);
    views.catch_up();
    let segment = test.log.segments().remove(0);
    let place = segment.offset_of(Seq(1)).unwrap().unwrap() + FRAME_BYTES as u64 + 3;
    let mut byte = [0];
    segment.file().read_at(&mut byte, place).unwrap();
    segment.file().write_at(&[byte[0] ^ 1], place).unwrap();
    test.move_on(Seq(1), 2, State::Accepted, State::Failed);
    test.move_on(Seq(2), 2, State::Accepted, State::Failed);
    views.catch_up();
    let state = views.state();
    assert_eq!((to_usize(state.behind), state.log_error), (0, None));
    let left: Vec<Seq> = all(&views, 10).iter().map(|(_, seq)| *seq).collect();
    assert_eq!(left, [Seq(1)]);
    assert!(views.page(View::State(State::Failed), Seq(0), 10).0 == [Seq(1), Seq(2)]);
}
