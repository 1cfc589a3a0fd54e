//! The tables of [`super`], row by row, and what no row may do.

use std::time::Duration;

use super::*;
use crate::order::Seq;
use crate::outbox::route::RetryPolicy;

const SECOND: u64 = 1_000_000_000;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_ns(seconds * SECOND)
}

/// Three providers, two attempts each, given up after 100 s.
fn route() -> Route {
    let retry =
        RetryPolicy { attempts_max: 2, age_max: Duration::from_secs(100), ..Default::default() };
    Route::new("pay", "a").fallback("b").fallback("c").retry(retry).settle(Duration::from_secs(20))
}

fn waiting() -> Course {
    Course::begin(Seq(2), at(0))
}

fn sent(provider: &str, of_provider: u32, sent: Sent) -> Course {
    let (progress, provider) = (Progress::Sent(sent), provider.to_owned());
    Course { progress, provider, attempts: of_provider, of_provider, ..waiting() }
}

fn why() -> String {
    "because".to_owned()
}

fn refused(provider: &str) -> Course {
    sent(provider, 1, Sent::Refused { code: 7, why: why() })
}

fn not_sent(provider: &str, of_provider: u32, again_at: Option<Timestamp>) -> Course {
    Course { again_at, ..sent(provider, of_provider, Sent::NotSent { why: why() }) }
}

fn unknown(provider: &str, of_provider: u32) -> Course {
    let doubt = provider.to_owned();
    Course { doubt, ..sent(provider, of_provider, Sent::Unknown { why: why() }) }
}

fn free(_: usize) -> Result<(), Timestamp> {
    Ok(())
}

fn next(course: &Course, now: u64) -> Action {
    decide(course, &route(), at(now), Looked::not_yet(Seq(2)), &free)
}

fn attempt(provider: usize, of_provider: u32) -> Action {
    Action::Attempt { provider, of_provider }
}

fn gives_up(action: &Action) -> bool {
    matches!(action, Action::GiveUp { .. })
}

#[test]
fn every_row_without_a_doubt() {
    assert_eq!(next(&waiting(), 1), attempt(0, 1));
    assert_eq!(next(&sent("a", 1, Sent::Done { reference: vec![] }), 1), Action::Nothing);
    let dead = Course { progress: Progress::Dead { why: why() }, ..refused("c") };
    assert_eq!(next(&dead, 999), Action::Nothing);
    let redriven = Course {
        progress: Progress::Redriven { why: why() },
        provider: String::new(),
        of_provider: 0,
        since: at(500),
        ..dead
    };
    assert_eq!(next(&redriven, 501), attempt(0, 1));
    // Retried until it was often enough, then the next one.
    assert_eq!(next(&not_sent("a", 1, Some(at(9))), 8), Action::Wait(at(9)));
    assert_eq!(next(&not_sent("a", 1, Some(at(9))), 9), attempt(0, 2));
    assert_eq!(next(&not_sent("a", 2, None), 1), attempt(1, 1));
    assert!(gives_up(&next(&not_sent("c", 2, None), 1)));
    // Refused.
    assert_eq!(next(&refused("a"), 1), attempt(1, 1));
    assert_eq!(next(&refused("b"), 1), attempt(2, 1));
    assert!(gives_up(&next(&refused("c"), 1)));
    let ends = route().on_refused(OnRefused::GiveUp);
    assert!(gives_up(&decide(&refused("a"), &ends, at(1), Looked::not_yet(Seq(2)), &free)));
    // Too old.
    assert_eq!(next(&waiting(), 99), attempt(0, 1));
    assert_eq!(next(&waiting(), 999), attempt(0, 1), "nobody was told yet");
    assert!(gives_up(&next(&not_sent("a", 1, None), 100)));
    assert!(gives_up(&next(&refused("a"), 100)));
    // A provider that the route has no more: from the beginning.
    assert_eq!(next(&refused("gone"), 1), attempt(0, 1));
}

#[test]
fn a_breaker_leads_to_the_next_provider_or_to_a_wait() {
    let only = |open: &[usize], course: &Course| {
        let passes = |index: usize| match open.contains(&index) {
            true => Err(at(50 + index as u64)),
            false => Ok(()),
        };
        decide(course, &route(), at(1), Looked::not_yet(Seq(2)), &passes)
    };
    assert_eq!(only(&[0], &waiting()), attempt(1, 1));
    assert_eq!(only(&[0, 1], &waiting()), attempt(2, 1));
    assert_eq!(only(&[0, 1, 2], &waiting()), Action::Wait(at(50)), "the earliest");
    assert_eq!(only(&[1], &not_sent("a", 1, None)), attempt(0, 2));
    assert_eq!(only(&[1], &refused("a")), attempt(2, 1));
    assert_eq!(only(&[1, 2], &refused("a")), Action::Wait(at(51)), "never back to who refused");
}

#[test]
fn every_row_in_doubt() {
    let looked = |times, again_at| Looked { behind: Seq(2), times, again_at };
    let row = |course: &Course, now, looked| decide(course, &route(), at(now), looked, &free);
    assert_eq!(next(&unknown("b", 1), 1), Action::LookUp(1));
    assert_eq!(next(&unknown("gone", 1), 1), Action::Stuck);
    let later = Course { again_at: Some(at(9)), ..unknown("a", 1) };
    assert_eq!(row(&later, 8, looked(0, None)), Action::Wait(at(9)));
    assert_eq!(row(&later, 9, looked(1, Some(at(12)))), Action::Wait(at(12)));
    assert_eq!(row(&later, 12, looked(1, Some(at(12)))), Action::LookUp(0));
    // However old: it is looked for once before it is given up, and stays in doubt.
    assert_eq!(row(&unknown("a", 1), 999, looked(0, None)), Action::LookUp(0));
    assert!(gives_up(&row(&unknown("a", 1), 999, looked(1, None))));
    // A dead letter in doubt that was sent on its way again.
    let redriven =
        Course { progress: Progress::Redriven { why: why() }, of_provider: 0, ..unknown("b", 2) };
    assert_eq!(next(&redriven, 1), Action::LookUp(1));
    // An attempt that was cut off.
    let cut = Course { progress: Progress::Attempt, ..refused("b") }.cut_off();
    assert_eq!(next(&cut, 1), Action::LookUp(1));
}

#[test]
fn every_row_behind_a_lookup() {
    let row = |course: &Course, route: &Route, now, found, knows_repeats| {
        after_lookup(course, route, at(now), found, knows_repeats, at(now + 5), &free)
    };
    let (hold, a) = (route(), unknown("a", 1));
    let done = Sent::Done { reference: b"r".to_vec() };
    let found = Some(Found::Done { reference: b"r".to_vec() });
    assert_eq!(row(&a, &hold, 1, found, false), Action::Settle(done));
    let found = Some(Found::Refused { code: 7, why: why() });
    let no = Sent::Refused { code: 7, why: why() };
    assert_eq!(row(&a, &hold, 1, found, false), Action::Settle(no));
    // Absent is believed when the attempt is old enough.
    let absent = || Some(Found::Absent);
    let settled = row(&a, &hold, 20, absent(), false);
    assert!(matches!(settled, Action::Settle(Sent::NotSent { .. })));
    assert_eq!(row(&a, &hold, 18, absent(), false), Action::Wait(at(20)));
    assert_eq!(row(&a, &hold, 3, absent(), false), Action::Wait(at(8)));
    // Can't tell.
    assert_eq!(row(&a, &hold, 1, None, false), Action::Wait(at(6)));
    assert_eq!(row(&a, &hold, 1, None, true), attempt(0, 2));
    assert_eq!(row(&a, &hold, 1, absent(), true), attempt(0, 2));
    assert!(gives_up(&row(&unknown("a", 2), &hold, 1, None, true)));
    // The route that may do it twice.
    let falls = route().on_unknown(OnUnknown::FallBack);
    assert_eq!(row(&a, &falls, 1, None, false), attempt(1, 1));
    assert_eq!(row(&unknown("c", 1), &falls, 1, None, false), Action::Wait(at(6)));
    let elsewhere = Course { doubt: "a".into(), ..not_sent("b", 2, None) };
    assert_eq!(decide(&elsewhere, &falls, at(1), Looked::not_yet(Seq(2)), &free), attempt(2, 1));
    assert_eq!(decide(&elsewhere, &hold, at(1), Looked::not_yet(Seq(2)), &free), Action::LookUp(0));
}

/// Effect to prevent: a second provider is told while the first may have done it.
#[test]
fn no_row_leads_from_a_doubt_to_another_provider() {
    let route = route();
    let answers = [None, Some(Found::Absent)];
    for (place, provider) in ["a", "b", "c"].into_iter().enumerate() {
        for of_provider in 1..4 {
            for now in [0, 1, 19, 99, 100, 5000] {
                for open in [false, true] {
                    let passes =
                        |index| if open && index == place { Err(at(now + 1)) } else { Ok(()) };
                    let course = unknown(provider, of_provider);
                    let before = [0, 1]
                        .map(|times| Looked { behind: Seq(2), times, again_at: None })
                        .map(|looked| decide(&course, &route, at(now), looked, &passes));
                    let behind = [false, true].iter().flat_map(|repeats| {
                        answers.iter().map(|found| {
                            let until = at(now + 5);
                            let found = found.clone();
                            after_lookup(&course, &route, at(now), found, *repeats, until, &passes)
                        })
                    });
                    for action in before.into_iter().chain(behind) {
                        if let Action::Attempt { provider, .. } = action {
                            assert_eq!(provider, place, "{course:?} at {now}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn an_answer_settles_only_what_it_is_about() {
    let attempt = |doubt: &str, of_provider| Course {
        progress: Progress::Attempt,
        provider: "a".into(),
        doubt: doubt.into(),
        attempts: 3,
        of_provider,
        ..waiting()
    };
    let not_sent = || Sent::NotSent { why: why() };
    let after = |course: &Course, sent| answered(course, &route(), sent, at(7));
    let first = after(&attempt("", 1), not_sent());
    assert_eq!((first.lane(), first.again_at), (Some(Lane::Open), Some(at(7))));
    assert_eq!(after(&attempt("", 2), not_sent()).again_at, None, "the next one need not wait");
    // Not sent this time says nothing about the time before.
    let still = after(&attempt("a", 2), not_sent());
    assert_eq!(still.doubt, "a");
    assert!(matches!(still.progress, Progress::Sent(Sent::Unknown { .. })));
    let unknown = after(&attempt("", 1), Sent::Unknown { why: why() });
    assert_eq!((unknown.doubt.as_str(), unknown.again_at), ("a", Some(at(7))));
    for sent in [Sent::Done { reference: vec![1] }, Sent::Refused { code: 1, why: why() }] {
        assert_eq!(after(&attempt("a", 1), sent.clone()).doubt, "", "the token has one outcome");
        assert_eq!(after(&attempt("b", 1), sent).doubt, "b", "of somebody else");
    }
}
