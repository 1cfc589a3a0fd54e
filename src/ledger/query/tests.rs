//! Pages are what a naive filter over the log finds, whatever the views know, lack or claim.
//!
//! Effect to prevent: an order that is in the ledger and not on its list, because a derived lookup was
//! behind, off, damaged or wrong, or because somebody wrote while the list was read.

use std::sync::Arc;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::views::tests::support::{TestLog, in_memory, in_sled, order, wait_for, wait_until_fed};
use crate::views::{Deadlines, Place, ViewsConfig};

fn passes(query: &Query, order: &Order) -> bool {
    query.account.as_ref().is_none_or(|account| *account == order.account)
        && query.external_ref.as_ref().is_none_or(|wanted| *wanted == order.external_ref)
        && query.state.is_none_or(|state| state == order.now.state)
        && query.since.is_none_or(|since| order.receipt.accepted_at >= since)
        && query.until.is_none_or(|until| order.receipt.accepted_at < until)
        && query.after.is_none_or(|after| order.id().seq() > after.0)
}

fn lookup(test: &TestLog) -> Lookup {
    Lookup { log: Arc::clone(&test.log), tables: Arc::clone(&test.tables) }
}

/// All pages of a query, put together.
fn read_all(lookup: &Lookup, views: Option<&Views>, query: &Query) -> Vec<Order> {
    let (mut found, mut query) = (Vec::new(), query.clone());
    loop {
        let page = page(lookup, views, &query).unwrap();
        assert!(page.orders.len() <= query.limit);
        found.extend(page.orders);
        match page.next {
            Some(next) => {
                assert!(query.after < Some(next), "it does not get on: {next}");
                query = query.after(next);
            }
            None => return found,
        }
    }
}

fn assert_right(test: &TestLog, views: Option<&Views>, query: &Query) {
    let right: Vec<Order> = test.all().into_iter().filter(|order| passes(query, order)).collect();
    assert_eq!(read_all(&lookup(test), views, query), right, "{query:?}");
}

fn views_off(test: &TestLog) -> Arc<Views> {
    let disk = Arc::new(crate::views::tests::support::MemDisk::default());
    let (place, deadlines) = (Place::Off, Deadlines::default());
    let (log, tables) = (Arc::clone(&test.log), Arc::clone(&test.tables));
    let lifecycle = crate::order::Lifecycle::default();
    let config = ViewsConfig { place, disk, log, tables, lifecycle, deadlines };
    Views::start(config, Box::new(|_, _| {}))
}

fn log_of(count: u64) -> TestLog {
    let mut test = TestLog::new();
    test.write_many(count);
    test
}

fn maybe<T: Clone + fmt::Debug + 'static>(
    some: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Option<T>> {
    prop_oneof![Just(None), some.prop_map(Some)]
}

prop_compose! {
    /// Queries for the orders of test ledgers; their time is 1,000 ns and one more for each seq.
    fn any_query()(
        account in maybe((0u8..22).prop_map(|number| match number {
            20 => Vec::new(),
            21 => vec![1; 64],
            number => format!("account-{number}").into_bytes(),
        })),
        external_ref in maybe((0u16..80).prop_map(|number| match number {
            79 => Vec::new(),
            number => format!("ref-{number}").into_bytes(),
        })),
        state in maybe(prop::sample::select(vec![State::Accepted, State::Refused, State::Failed])),
        since in maybe(990u64..1_350),
        until in maybe(990u64..1_350),
        after in maybe(0u64..330),
        limit in prop_oneof![1usize..8, 50usize..400],
    ) -> Query {
        let [since, until] = [since, until].map(|at| at.map(Timestamp::from_unix_ns));
        let after = after.map(|seq| PageToken(Seq(seq)));
        Query { account, external_ref, state, since, until, after, limit }
    }
}

#[test]
fn rule_24_pages_are_what_a_naive_filter_finds() {
    let test = log_of(300);
    // Views that are off, up to date, and behind by various amounts.
    let shorter = [0, 1, 99, 250].map(log_of);
    let mut views: Vec<Arc<Views>> = shorter.iter().map(in_memory).collect();
    views.extend([in_memory(&test), views_off(&test)]);
    proptest!(ProptestConfig::with_cases(100), |(query in any_query())| {
        assert_right(&test, None, &query);
        for views in &views {
            assert_right(&test, Some(views), &query);
        }
    });
    assert_eq!(views.iter().map(|views| views.state().set_aside).sum::<u64>(), 0);
}

#[test]
fn rule_24_pages_from_sled_are_the_same() {
    let (dir, test) = (tempfile::tempdir().unwrap(), log_of(300));
    let started = in_sled(dir.path(), &test);
    proptest!(ProptestConfig::with_cases(64), |(query in any_query())| {
        // The first run while sled is still being opened and fed.
        assert_right(&test, Some(&started.views), &query);
    });
    assert_eq!(wait_until_fed(&started.views).set_aside, 0);
    proptest!(ProptestConfig::with_cases(64), |(query in any_query())| {
        assert_right(&test, Some(&started.views), &query);
    });
}

/// Orders take steps in front of the views' watermark, behind it, and while pages are read.
#[test]
fn rule_24_the_list_of_a_state_is_right_however_far_the_views_are() {
    let mut test = log_of(120);
    let move_some = |test: &mut TestLog, rounds: std::ops::Range<u64>| {
        for round in rounds {
            for order in test.all() {
                let id = order.id().seq();
                let to = match order.now.state {
                    State::Accepted if id.0 % 3 == 0 => State::InProgress,
                    State::InProgress if id.0 % 2 == round % 2 => State::Cancelling,
                    State::Cancelling => State::InProgress,
                    _ => continue,
                };
                test.move_on(id, order.now.version + 1, order.now.state, to);
            }
        }
    };
    move_some(&mut test, 0..2);
    let behind = in_memory(&test);
    behind.catch_up();
    let before = behind.state().covered;
    // This one is fed no further.
    let shorter = log_of(40);
    let frozen = in_memory(&shorter);
    test.write_many(30);
    move_some(&mut test, 2..5);
    assert!(before < test.log.readable_next());
    let views = [None, Some(&*behind), Some(&*frozen)];
    for state in
        [State::Accepted, State::InProgress, State::Cancelling, State::Refused, State::Failed]
    {
        for limit in [1, 7, 1000] {
            for views in views {
                assert_right(&test, views, &Query::all().state(state).limit(limit));
                let both = Query::all().state(state).account("account-1").limit(limit);
                assert_right(&test, views, &both);
            }
        }
    }
    assert_eq!(behind.state().set_aside, 0, "nobody took a step for a lie");
}

/// A log like [`log_of`], but for orders that have another account there.
fn log_that_claims(claims: &[(u64, &str)]) -> TestLog {
    let mut test = TestLog::new();
    for seq in 1..=200 {
        let (mut submission, refusal) = order(seq);
        if let Some((_, account)) = claims.iter().find(|(claimed, _)| *claimed == seq) {
            submission = submission.account(*account);
        }
        test.write(&[(submission, refusal)]);
    }
    test
}

#[test]
fn rule_37_a_hint_that_is_wrong_is_not_believed_and_is_reported() {
    let (dir, test) = (tempfile::tempdir().unwrap(), log_of(200));
    // The views were fed from a log in which seq 102 belongs to account-1.
    let claims = log_that_claims(&[(102, "account-1")]);
    let query = Query::all().account("account-1").limit(3);
    for limit in [1, 3, 100] {
        let views = in_memory(&claims);
        assert_right(&test, Some(&views), &query.clone().limit(limit));
        assert_eq!(views.state().set_aside, 1);
    }
    let started = in_sled(dir.path(), &claims);
    wait_until_fed(&started.views);
    assert_right(&test, Some(&started.views), &query);
    wait_for(&started.views, |state| state.set_aside == 1);
}

#[test]
fn rule_37_after_a_wrong_hint_the_hints_before_it_are_not_believed_either() {
    let test = log_of(200);
    // Seq 41 should be on the list and is not; seq 102 is and should not be.
    let claims = log_that_claims(&[(41, "account-9"), (102, "account-1")]);
    let views = in_memory(&claims);
    assert_right(&test, Some(&views), &Query::all().account("account-1").limit(100));
    assert_eq!(views.state().set_aside, 1);
}

#[test]
fn rule_24_orders_that_come_meanwhile_are_neither_skipped_nor_doubled() {
    for query in
        [Query::all(), Query::all().account("account-1"), Query::all().state(State::Refused)]
    {
        let test = Mutex::new(log_of(100));
        let asked = lookup(&test.lock());
        let views = in_memory(&test.lock());
        let found = std::thread::scope(|scope| {
            scope.spawn(|| (0..60).for_each(|_| test.lock().write_many(5)));
            read_all(&asked, Some(&views), &query.limit(1))
        });
        let seqs: Vec<u64> = found.iter().map(|order| order.id().seq().0).collect();
        let last = *seqs.last().unwrap();
        let all = test.lock().all();
        let right = all.iter().filter(|order| {
            let account = found[0].account == order.account || found[0].account.is_empty();
            account && order.id().seq().0 <= last
        });
        assert!(seqs.is_sorted_by(|one, next| one < next));
        assert!(last >= 81, "at least what was there before");
        if found.iter().all(|order| order.account == b"account-1") {
            assert_eq!(seqs, right.map(|order| order.id().seq().0).collect::<Vec<_>>());
        }
    }
}

#[test]
fn i3_a_page_ends_where_the_log_ended_when_it_was_begun() {
    let mut test = log_of(300);
    let views = in_memory(&test);
    for query in [Query::all(), Query::all().account("account-1"), Query::all().account("")] {
        let query = query.limit(10_000);
        let before = read_all(&lookup(&test), Some(&views), &query);
        let asked = lookup(&test);
        let mut search = Search::begin(&asked, &query).unwrap();
        // While the page is looked for, more is written and the views have it.
        test.write_many(60);
        views.catch_up();
        if let Some(view) = query.view() {
            assert!(search.ask_view(&views, view).unwrap() == Hints::Right);
        }
        search.scan(search.end).unwrap();
        assert_eq!(search.page(), Page { orders: before.clone(), next: None });
        assert!(read_all(&lookup(&test), Some(&views), &query).len() > before.len());
    }
}

#[test]
fn time_is_inclusive_at_the_front_and_exclusive_at_the_end() {
    let test = log_of(30);
    let at = |seq: usize| test.all()[seq - 1].receipt.accepted_at;
    let seqs = |query: Query| -> Vec<u64> {
        let found = read_all(&lookup(&test), None, &query);
        found.iter().map(|order| order.id().seq().0).collect()
    };
    assert_eq!(seqs(Query::all().since(at(28))), [28, 29, 30]);
    assert_eq!(seqs(Query::all().until(at(3))), [1, 2]);
    assert_eq!(seqs(Query::all().since(at(3)).until(at(5))), [3, 4]);
    assert_eq!(seqs(Query::all().since(at(3)).until(at(3))), [0u64; 0]);
    assert_eq!(seqs(Query::all().since(Timestamp::from_unix_ns(u64::MAX))), [0u64; 0]);
    assert_eq!(seqs(Query::all().until(Timestamp::from_unix_ns(0))), [0u64; 0]);
}

#[test]
fn the_last_page_names_no_next() {
    let test = log_of(30);
    let ask = |query: &Query| page(&lookup(&test), None, query).unwrap();
    assert_eq!(ask(&Query::all().limit(30)).next, None);
    let next = ask(&Query::all().limit(29)).next.unwrap();
    assert_eq!(next.to_string(), "after-29");
    let last = ask(&Query::all().after(next));
    assert_eq!((last.orders.len(), last.next), (1, None));
    for beyond in [30, 31, u64::MAX] {
        let page = ask(&Query::all().after(PageToken(Seq(beyond))));
        assert_eq!((page.orders.len(), page.next), (0, None));
    }
    let empty = TestLog::new();
    assert_eq!(page(&lookup(&empty), None, &Query::default()).unwrap().next, None);
}

#[test]
fn a_token_reads_back_and_nothing_else_does() {
    for seq in [0, 1, 42, u64::MAX] {
        let token = PageToken(Seq(seq));
        assert_eq!(token.to_string().parse::<PageToken>().unwrap(), token);
    }
    for text in ["", "42", "after-", "after-042", "after-+4", "after--1", "after-42 ", "After-42"] {
        let error = text.parse::<PageToken>().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BadQuery { .. }), "{text}");
    }
}

#[test]
fn a_query_that_can_not_be_answered_is_refused() {
    let test = log_of(3);
    for query in [
        Query::all().limit(0),
        Query::all().limit(10_001),
        Query::all().account(vec![1; 65]),
        Query::all().external_ref(vec![1; 129]),
    ] {
        let error = page(&lookup(&test), None, &query).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BadQuery { .. }), "{query:?}");
    }
    let at_the_bounds = Query::all().limit(10_000).account(vec![1; 64]).external_ref(vec![1; 128]);
    assert_eq!(page(&lookup(&test), None, &at_the_bounds).unwrap().orders, []);
}

#[test]
fn damage_in_the_log_is_an_error_and_not_a_shorter_list() {
    let test = log_of(60);
    let views = in_memory(&test);
    views.catch_up();
    let segment = test.log.segments().remove(0);
    let offset = segment.offset_of(Seq(21)).unwrap().unwrap();
    segment.file().write_at(&[0xff], offset + 30).unwrap();
    for query in [Query::all(), Query::all().account("account-1")] {
        for views in [None, Some(&*views)] {
            let error = page(&lookup(&test), views, &query).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Corrupt(_)), "{error}");
        }
    }
}
