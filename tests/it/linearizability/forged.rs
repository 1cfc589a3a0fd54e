//! The checker is itself checked: each lie a ledger could tell is forged into a good history, and refused.

use super::history::{Call, Did, How, Key, Moment, Proof, Shown};
use super::whole::check_history;

fn proof(order: u64) -> Proof {
    Proof { order, bytes: order * 1000 }
}

/// Key `k` has content `10 * k` in all good histories.
fn shown(key: Key, order: u64) -> Shown {
    Shown { key, content: 10 * key, proof: proof(order) }
}

fn call(life: u32, asked_at: Moment, told_at: Moment, did: Did) -> Call {
    Call { life, asked_at, told_at, did, was_durable: true }
}

fn took(key: Key, how: How, order: u64) -> Did {
    Did::Took { key, content: 10 * key, how, proof: proof(order) }
}

fn found(key: Key, order: Option<u64>) -> Did {
    Did::Found { key, shown: order.map(|order| shown(key, order)) }
}

fn list(all: &[(Key, u64)]) -> Did {
    Did::Listed { all: all.iter().map(|(key, order)| shown(*key, *order)).collect() }
}

fn doubt(key: Key) -> Did {
    Did::InDoubt { key, content: 10 * key }
}

/// Two processes: orders 1 to 3 in the first, with a joiner, a replay, a conflict and two calls in doubt
/// when it died, of which one had taken order 4; order 5 in the second.
fn good() -> Vec<Call> {
    vec![
        call(0, 1, 2, found(1, None)),
        call(0, 3, 8, took(1, How::Fresh, 1)),
        call(0, 4, 9, took(1, How::Joined, 1)),
        call(0, 10, 13, took(2, How::Fresh, 2)),
        call(0, 11, 12, Did::Got { order: 2, shown: None }),
        call(0, 14, 15, took(2, How::Replayed, 2)),
        call(0, 16, 17, Did::Conflicted { key: 2, content: 7, proof: proof(2) }),
        call(0, 18, 19, found(2, Some(2))),
        call(0, 20, 23, took(3, How::Fresh, 3)),
        call(0, 21, 22, found(3, None)),
        call(0, 24, 25, list(&[(1, 1), (2, 2), (3, 3)])),
        call(0, 26, 27, Did::TookNothing { key: 6 }),
        call(0, 28, 40, doubt(4)),
        call(0, 29, 40, doubt(6)),
        call(1, 41, 42, list(&[(1, 1), (2, 2), (3, 3), (4, 4)])),
        call(1, 43, 44, took(4, How::Replayed, 4)),
        call(1, 45, 48, took(5, How::Fresh, 5)),
        call(1, 46, 47, found(6, None)),
        call(1, 49, 50, Did::Got { order: 5, shown: Some(shown(5, 5)) }),
        call(1, 60, 61, list(&[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)])),
    ]
}

/// The good history with `forge` done to it: which complaint follows.
fn complaint(forge: impl FnOnce(&mut Vec<Call>)) -> String {
    let mut calls = good();
    forge(&mut calls);
    check_history(&calls).expect_err("a forged history is refused")
}

fn at(calls: &mut [Call], asked_at: Moment) -> &mut Call {
    calls.iter_mut().find(|call| call.asked_at == asked_at).unwrap()
}

/// Takes an order out of the list at the end, and the numbers behind it move up.
fn end_with(calls: &mut [Call], all: &[(Key, u64)]) {
    at(calls, 60).did = list(all);
}

#[test]
fn good_histories_are_accepted() {
    check_history(&good()).unwrap();

    // The call in doubt took effect late, after a look that found nothing.
    let mut late = good();
    late.push(call(0, 30, 31, found(4, None)));
    check_history(&late).unwrap();

    // Two in doubt with one key, either of them may have been it.
    let mut two = good();
    two.push(call(0, 30, 40, doubt(4)));
    check_history(&two).unwrap();

    // Answers that overlap may come in the other order: a look is told late what was true early.
    let mut slow = good();
    slow.push(call(0, 5, 30, found(2, None)));
    check_history(&slow).unwrap();
}

#[test]
fn a_lost_order_is_refused() {
    // Acknowledged, and after the crash it is not there.
    complaint(|calls| {
        at(calls, 41).did = list(&[(1, 1), (2, 2)]);
        calls.push(call(1, 51, 52, found(3, None)));
        end_with(calls, &[(1, 1), (2, 2)]);
    });
    // The key is free again.
    complaint(|calls| calls.push(call(1, 51, 52, Did::TookNothing { key: 3 })));
}

#[test]
fn a_doubled_order_is_refused() {
    let text =
        complaint(|calls| end_with(calls, &[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (1, 6)]));
    assert!(text.contains("key 1"), "{text}");
    // Two that were told that theirs is the one.
    complaint(|calls| at(calls, 4).did = took(1, How::Fresh, 1));
    // Once more after the crash.
    complaint(|calls| calls.push(call(1, 51, 52, took(3, How::Fresh, 3))));
}

#[test]
fn a_stale_read_is_refused() {
    complaint(|calls| calls.push(call(0, 14, 15, found(1, None))));
    complaint(|calls| calls.push(call(0, 14, 15, Did::Got { order: 1, shown: None })));
    complaint(|calls| calls.push(call(0, 24, 25, list(&[(1, 1), (2, 2)]))));
}

#[test]
fn a_receipt_that_changes_is_refused() {
    let other = Proof { order: 2, bytes: 1 };
    complaint(|calls| {
        at(calls, 14).did = Did::Took { key: 2, content: 20, how: How::Replayed, proof: other };
    });
    complaint(|calls| {
        at(calls, 16).did = Did::Conflicted { key: 2, content: 7, proof: other };
    });
    complaint(|calls| {
        let changed = Shown { proof: other, ..shown(2, 2) };
        at(calls, 18).did = Did::Found { key: 2, shown: Some(changed) };
    });
}

#[test]
fn content_that_changes_is_refused() {
    complaint(|calls| {
        let changed = Shown { content: 5, ..shown(2, 2) };
        at(calls, 18).did = Did::Found { key: 2, shown: Some(changed) };
    });
    // The same content is no conflict, another one no replay.
    complaint(|calls| {
        at(calls, 16).did = Did::Conflicted { key: 2, content: 20, proof: proof(2) };
    });
    complaint(|calls| {
        at(calls, 14).did = Did::Took { key: 2, content: 7, how: How::Replayed, proof: proof(2) };
    });
}

#[test]
fn what_was_seen_and_is_gone_after_the_crash_is_refused() {
    complaint(|calls| {
        // Order 4 was shown before the crash, and then it is another key's.
        calls.push(call(0, 30, 31, found(4, Some(4))));
        at(calls, 41).did = list(&[(1, 1), (2, 2), (3, 3)]);
        at(calls, 43).did = took(4, How::Fresh, 4);
    });
    complaint(|calls| {
        calls.push(call(0, 30, 31, found(4, Some(4))));
        calls.push(call(1, 51, 52, found(4, None)));
    });
}

#[test]
fn a_call_in_doubt_that_takes_effect_after_the_next_opening_is_refused() {
    let text = complaint(|calls| {
        at(calls, 41).did = list(&[(1, 1), (2, 2), (3, 3)]);
    });
    assert!(text.contains("nobody can have taken"), "{text}");
    complaint(|calls| calls.push(call(1, 41, 42, found(4, None))));
}

#[test]
fn what_is_revealed_before_it_is_durable_is_refused() {
    for asked_at in [10, 14, 16, 18] {
        let text = complaint(|calls| at(calls, asked_at).was_durable = false);
        assert!(text.contains("before it was durable"), "{text}");
    }
}

#[test]
fn an_order_that_nobody_sent_is_refused() {
    let text = complaint(|calls| {
        end_with(calls, &[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (9, 6)]);
    });
    assert!(text.contains("nobody can have taken"), "{text}");
}

#[test]
fn joining_nobody_is_refused() {
    // The one it would have joined had long been answered.
    let text = complaint(|calls| at(calls, 14).did = took(2, How::Joined, 2));
    assert!(text.contains("joined nobody"), "{text}");
}

#[test]
fn numbers_against_the_order_of_time_are_refused() {
    // Each key alone is fine; together 2 was there before 1 was asked for.
    let calls = vec![
        call(0, 1, 2, took(2, How::Fresh, 2)),
        call(0, 3, 4, took(1, How::Fresh, 1)),
        call(0, 5, 6, list(&[(1, 1), (2, 2)])),
    ];
    assert!(check_history(&calls).is_err());
    // And a hole that a reader sees: order 2, and then not order 1.
    let calls = vec![
        call(0, 1, 9, took(1, How::Fresh, 1)),
        call(0, 2, 3, took(2, How::Fresh, 2)),
        call(0, 4, 5, found(1, None)),
        call(0, 10, 11, list(&[(1, 1), (2, 2)])),
    ];
    let text = check_history(&calls).unwrap_err();
    assert!(text.contains("had been told of 2"), "{text}");
}

#[test]
fn a_number_that_is_left_out_is_refused() {
    let text = complaint(|calls| end_with(calls, &[(1, 1), (2, 2), (3, 3), (4, 5), (5, 6)]));
    assert!(!text.is_empty());
    let calls = vec![call(0, 1, 2, took(1, How::Fresh, 2)), call(0, 3, 4, list(&[(1, 2)]))];
    assert!(check_history(&calls).unwrap_err().contains("number 0"));
}

#[test]
fn nothing_recorded_of_a_key_that_is_recorded_is_refused() {
    complaint(|calls| at(calls, 26).did = Did::TookNothing { key: 3 });
}
