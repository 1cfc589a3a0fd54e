//! The lists are what a naive reading of the log finds, whatever the views know, lack or claim.
//!
//! Effect to prevent: a dead letter that nobody sees, or a dispatch that nobody does, because a derived list was behind,
//! off, or wrong.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::admission::dedupe::Lookup;
use crate::order::dispatch::{Course, Progress, Sent, Witness};
use crate::views::tests::support::{TestLog, in_memory, in_sled, wait_until_fed};
use crate::wal::record::{self, Pursued};

fn reads(test: &TestLog, views: Option<&Arc<Views>>) -> Reads {
    let lookup = Lookup { log: Arc::clone(&test.log), tables: Arc::clone(&test.tables) };
    Reads { lookup, views: views.cloned(), opened_next: Seq::FIRST }
}

fn publish(test: &mut TestLog, encoded: record::Encoded) {
    let next = test.append(&[encoded]);
    test.log.publish(next);
}

/// Records what becomes of a dispatch, by where it stands.
fn pursue(test: &mut TestLog, dispatch: Seq, progress: Progress) {
    let found = reads(test, None).lookup.dispatch(dispatch).unwrap().unwrap();
    let is_attempt = progress == Progress::Attempt;
    let after = Course {
        progress,
        provider: "acme".into(),
        attempts: found.course.attempts + u32::from(is_attempt),
        of_provider: found.course.of_provider + u32::from(is_attempt),
        ..found.course.clone()
    };
    let body = Pursued::of(found.order, dispatch, &found.course, &after, Witness::Provider);
    publish(test, record::encode_pursued(&body).unwrap());
}

/// A log of orders and dispatches, the same for the same numbers: some wait, some are done, dead, or came back.
fn log_of(orders: u64, dispatches: u64) -> TestLog {
    let mut test = TestLog::new();
    test.write_many(orders);
    more(&mut test, orders, dispatches);
    test
}

fn more(test: &mut TestLog, orders: u64, dispatches: u64) {
    let mut open = Vec::new();
    for number in 0..dispatches {
        let dispatched = record::Dispatched {
            order: 1 + number * 7 % orders,
            back: 0,
            route: if number % 3 == 0 { "pay" } else { "mail" },
            command_key: b"",
            body: b"words",
        };
        open.push(test.log.readable_next());
        publish(test, record::encode_dispatched(&dispatched).unwrap());
        if number % 2 == 1 {
            let dispatch = open.remove(open.len() / 2);
            go_on(test, dispatch, number / 2);
        }
    }
}

/// Brings a dispatch that waits to one of its ends.
fn go_on(test: &mut TestLog, dispatch: Seq, number: u64) {
    pursue(test, dispatch, Progress::Attempt);
    let why = || "because".to_owned();
    let sent = match number % 4 {
        0 => Sent::Done { reference: b"r".to_vec() },
        _ => Sent::Refused { code: 7, why: why() },
    };
    pursue(test, dispatch, Progress::Sent(sent));
    if number % 4 > 1 {
        pursue(test, dispatch, Progress::Dead { why: why() });
    }
    if number % 4 > 2 {
        pursue(test, dispatch, Progress::Redriven { why: why() });
    }
}

/// The dispatches on a list, by reading every record.
fn naive(test: &TestLog, lane: Lane, query: &DispatchQuery) -> Vec<u64> {
    let mut on = BTreeMap::new();
    for seq in (1..test.log.readable_next().0).map(Seq) {
        let record = test.log.read(seq).unwrap().unwrap();
        let body = record.body().unwrap();
        if let Some(dispatched) = body.dispatched() {
            on.insert(seq, (Some(Lane::Open), dispatched.route.to_owned()));
        }
        if let Some(pursued) = body.pursued() {
            on.get_mut(&pursued.dispatch()).unwrap().0 = pursued.lane();
        }
    }
    let is_wanted = |seq: &Seq, route: &String| {
        query.route.as_ref().is_none_or(|wanted| wanted == route)
            && query.after.is_none_or(|after| *seq > after.0)
    };
    let on = on.iter().filter(|(seq, (at, route))| *at == Some(lane) && is_wanted(seq, route));
    on.map(|(seq, _)| seq.0).collect()
}

fn read_all(reads: &Reads, lane: Lane, query: &DispatchQuery) -> Vec<u64> {
    let (mut found, mut query) = (Vec::new(), query.clone());
    loop {
        let page = page(reads, lane, &query).unwrap();
        assert!(page.dispatches.len() <= query.limit);
        found.extend(page.dispatches.iter().map(|it| it.dispatch.0));
        match page.next {
            Some(next) => {
                assert!(query.after < Some(next), "it does not get on: {next}");
                query = query.after(next);
            }
            None => return found,
        }
    }
}

fn assert_right(test: &TestLog, views: Option<&Arc<Views>>, query: &DispatchQuery) {
    for lane in Lane::ALL {
        let found = read_all(&reads(test, views), lane, query);
        assert_eq!(found, naive(test, lane, query), "{lane:?} {query:?}");
    }
}

prop_compose! {
    fn any_query()(
        route in prop::option::of(prop::sample::select(vec!["pay", "mail", "none"])),
        after in prop::option::of(0u64..330),
        limit in prop_oneof![1usize..8, 50usize..400],
    ) -> DispatchQuery {
        let (route, after) = (route.map(str::to_owned), after.map(|seq| PageToken(Seq(seq))));
        DispatchQuery { route, after, limit }
    }
}

#[test]
fn the_lists_are_what_a_naive_reading_finds_however_far_the_views_are() {
    let mut test = log_of(40, 60);
    let behind = in_memory(&test);
    behind.catch_up();
    // These are fed no further: of them the same log goes on.
    let frozen: Vec<_> =
        [(40, 0), (40, 1), (40, 33), (40, 60)].map(|(orders, count)| log_of(orders, count)).into();
    let frozen: Vec<_> = frozen.iter().map(in_memory).collect();
    frozen.iter().for_each(|views| views.catch_up());
    // What waited and what was dead when those were fed has changed its list behind their back.
    let everything = DispatchQuery::all().limit(1000);
    let (open, dead) =
        (naive(&test, Lane::Open, &everything), naive(&test, Lane::Dead, &everything));
    assert!(open.len() > 10 && dead.len() > 3, "{open:?} {dead:?}");
    for (number, dispatch) in (0..).zip(open.iter().step_by(2)) {
        go_on(&mut test, Seq(*dispatch), number);
    }
    for dispatch in dead.iter().step_by(2) {
        pursue(&mut test, Seq(*dispatch), Progress::Redriven { why: String::new() });
    }
    more(&mut test, 40, 30);
    proptest!(ProptestConfig::with_cases(100), |(query in any_query())| {
        assert_right(&test, None, &query);
        for views in frozen.iter().chain([&behind]) {
            assert_right(&test, Some(views), &query);
        }
    });
    let doubts = frozen.iter().chain([&behind]).map(|views| views.state().set_aside);
    assert_eq!(doubts.sum::<u64>(), 0, "nobody took a change for a lie");
}

#[test]
fn the_lists_from_sled_are_the_same() {
    let (dir, test) = (tempfile::tempdir().unwrap(), log_of(40, 90));
    let started = in_sled(dir.path(), &test);
    for _ in 0..2 {
        // The first run while sled is still being opened and fed.
        proptest!(ProptestConfig::with_cases(32), |(query in any_query())| {
            assert_right(&test, Some(&started.views), &query);
        });
        assert_eq!(wait_until_fed(&started.views).set_aside, 0);
    }
}

/// Views that were fed from another log: what they list is no dispatch.
#[test]
fn rule_37_a_list_of_dispatches_that_is_wrong_is_not_believed_and_is_reported() {
    let test = log_of(40, 60);
    let mut claims = TestLog::new();
    claims.write_many(1);
    // Where the log has orders.
    more(&mut claims, 1, 12);
    let views = in_memory(&claims);
    views.catch_up();
    for limit in [1, 100] {
        assert_right(&test, Some(&views), &DispatchQuery::all().limit(limit));
    }
    assert!(claims.log.readable_next() < Seq(40) && views.state().set_aside > 0);
}

#[test]
fn a_ledger_without_dispatches_answers_at_once_and_a_bad_query_is_refused() {
    let test = log_of(40, 0);
    let answer = page(&reads(&test, None), Lane::Open, &DispatchQuery::default()).unwrap();
    assert_eq!(answer, DispatchPage { dispatches: Vec::new(), next: None });
    for limit in [0, Query::LIMIT_MAX + 1] {
        let query = DispatchQuery::all().limit(limit);
        let error = page(&reads(&test, None), Lane::Dead, &query).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BadQuery { .. }), "{error}");
    }
}
