//! Pages of open notes are what a naive reading of the log finds, whatever the views know, lack or claim.
//!
//! Effect to prevent: a dispute that nobody sees, because a derived list was behind, off, or wrong.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::views::tests::support::{TestLog, in_memory, in_sled, wait_until_fed};
use crate::wal::record::{RESOLUTION, Remark, encode_remark};

fn lookup(test: &TestLog) -> Lookup {
    Lookup { log: Arc::clone(&test.log), tables: Arc::clone(&test.tables) }
}

/// Writes a note about an order, or what resolves one, as a group of its own.
fn write(test: &mut TestLog, order: u64, kind: Option<NoteKind>, asks: bool, note: u64) {
    let remark = Remark {
        order,
        kind: kind.map_or(RESOLUTION, NoteKind::number),
        asks,
        resolves: kind.is_none().then_some(note),
        author: b"N. Davolio",
        command_key: b"",
        text: b"words",
    };
    let next = test.append(&[encode_remark(&remark).unwrap()]);
    test.log.publish(next);
}

/// A log of orders and notes, the same for the same numbers: some open, some resolved later.
fn log_of(orders: u64, notes: u64) -> TestLog {
    let mut test = TestLog::new();
    test.write_many(orders);
    more_notes(&mut test, orders, notes);
    test
}

fn more_notes(test: &mut TestLog, orders: u64, notes: u64) {
    let mut open = Vec::new();
    for number in 0..notes {
        let order = 1 + number * 7 % orders;
        let kind = NoteKind::ALL[usize::try_from(number % 3).unwrap()];
        let asks = kind == NoteKind::Dispute || number % 4 == 0;
        let seq = test.log.readable_next().0;
        write(test, order, Some(kind), asks, 0);
        if asks {
            open.push((order, seq));
        }
        if number % 5 == 4 && !open.is_empty() {
            let (order, note) = open.remove(open.len() / 2);
            write(test, order, None, false, note);
        }
    }
}

/// The open notes, by reading every record.
fn naive(test: &TestLog, query: &NoteQuery) -> Vec<u64> {
    let mut open = BTreeMap::new();
    for seq in (1..test.log.readable_next().0).map(Seq) {
        let record = test.log.read(seq).unwrap().unwrap();
        let body = record.body().unwrap();
        let Some(remark) = body.remark() else { continue };
        match remark.resolves() {
            Some(note) => drop(open.remove(&note)),
            None if remark.asks => drop(open.insert(seq, remark.kind())),
            None => {}
        }
    }
    let is_wanted = |seq: &Seq, kind: &Option<NoteKind>| {
        query.kind.is_none_or(|wanted| Some(wanted) == *kind)
            && query.after.is_none_or(|after| *seq > after.0)
    };
    open.iter().filter(|(seq, kind)| is_wanted(seq, kind)).map(|(seq, _)| seq.0).collect()
}

fn read_all(lookup: &Lookup, views: Option<&Views>, query: &NoteQuery) -> Vec<u64> {
    let (mut found, mut query) = (Vec::new(), query.clone());
    loop {
        let page = page(lookup, views, &query).unwrap();
        assert!(page.notes.len() <= query.limit);
        assert!(page.notes.iter().all(NoteEntry::is_open));
        found.extend(page.notes.iter().map(|note| note.seq.0));
        match page.next {
            Some(next) => {
                assert!(query.after < Some(next), "it does not get on: {next}");
                query = query.after(next);
            }
            None => return found,
        }
    }
}

fn assert_right(test: &TestLog, views: Option<&Views>, query: &NoteQuery) {
    assert_eq!(read_all(&lookup(test), views, query), naive(test, query), "{query:?}");
}

prop_compose! {
    fn any_query()(
        kind in prop::option::of(prop::sample::select(NoteKind::ALL.to_vec())),
        after in prop::option::of(0u64..330),
        limit in prop_oneof![1usize..8, 50usize..400],
    ) -> NoteQuery {
        NoteQuery { kind, after: after.map(|seq| PageToken(Seq(seq))), limit }
    }
}

#[test]
fn rule_24_open_notes_are_what_a_naive_reading_finds_however_far_the_views_are() {
    let mut test = log_of(40, 60);
    let behind = in_memory(&test);
    behind.catch_up();
    // These are fed no further: of them the same log goes on.
    let frozen: Vec<_> =
        [(40, 0), (40, 1), (40, 33), (40, 60)].map(|(orders, notes)| log_of(orders, notes)).into();
    let frozen: Vec<_> = frozen.iter().map(in_memory).collect();
    frozen.iter().for_each(|views| views.catch_up());
    // What was open when those were fed is resolved behind their back.
    let open = naive(&test, &NoteQuery::open());
    assert!(open.len() > 10, "{open:?}");
    for note in open.iter().step_by(3) {
        let record = test.log.read(Seq(*note)).unwrap().unwrap();
        let order = record.body().unwrap().remark().unwrap().order;
        write(&mut test, order, None, false, *note);
    }
    more_notes(&mut test, 40, 30);
    proptest!(ProptestConfig::with_cases(100), |(query in any_query())| {
        assert_right(&test, None, &query);
        for views in frozen.iter().chain([&behind]) {
            assert_right(&test, Some(views), &query);
        }
    });
    let doubts = frozen.iter().chain([&behind]).map(|views| views.state().set_aside);
    assert_eq!(doubts.sum::<u64>(), 0, "nobody took a resolution for a lie");
}

#[test]
fn rule_24_open_notes_from_sled_are_the_same() {
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

/// Views that were fed from another log: what they list is no open note, and what is open they lack.
#[test]
fn rule_37_a_list_of_notes_that_is_wrong_is_not_believed_and_is_reported() {
    let test = log_of(40, 60);
    let mut claims = TestLog::new();
    claims.write_many(40);
    for _ in 0..20 {
        claims.write_many(1);
        write(&mut claims, 1, Some(NoteKind::Dispute), true, 0);
    }
    let views = in_memory(&claims);
    views.catch_up();
    for limit in [1, 100] {
        assert_right(&test, Some(&views), &NoteQuery::open().limit(limit));
    }
    assert!(views.state().set_aside > 0);
}

#[test]
fn a_ledger_without_notes_answers_at_once_and_a_bad_query_is_refused() {
    let test = log_of(40, 0);
    let answer = page(&lookup(&test), None, &NoteQuery::default()).unwrap();
    assert_eq!(answer, NotePage { notes: Vec::new(), next: None });
    for limit in [0, Query::LIMIT_MAX + 1] {
        let error = page(&lookup(&test), None, &NoteQuery::open().limit(limit)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BadQuery { .. }), "{error}");
    }
}
