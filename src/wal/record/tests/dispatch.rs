//! The same for dispatches and what becomes of one: kinds 7, 71 and 11.

use super::*;
use crate::order::Timestamp;
use crate::order::dispatch::{Course, Lane, Progress, Sent, Witness};
use crate::order::limits::{DISPATCH_BYTES_MAX, REFERENCE_BYTES_MAX};

fn full() -> Dispatched<'static> {
    Dispatched {
        order: 5_000_000_000,
        back: 0,
        route: "payment",
        command_key: b"capture-9",
        body: &[0x5a; 300],
    }
}

fn of_member() -> Dispatched<'static> {
    Dispatched { order: 0, back: 2, command_key: b"", body: b"8.40 EUR", ..full() }
}

fn attempt() -> Pursued<'static> {
    Pursued {
        order: 300,
        dispatch: 70_000,
        what: ATTEMPT,
        by: 0,
        provider: "acme-pay",
        doubt: "",
        attempts: 3,
        of_provider: 1,
        since_ns: 1_767_225_600_000_000_000,
        again_at_ns: None,
        was_dead: false,
        code: 0,
        reference: b"",
        why: "",
    }
}

fn pursued() -> Vec<(&'static str, Pursued<'static>)> {
    let doubt = "acme-pay";
    vec![
        ("attempted.body", attempt()),
        ("done.body", Pursued { what: DONE, reference: b"ch_4711", ..attempt() }),
        (
            "refused-dispatch.body",
            Pursued { what: REFUSED, by: 1, code: 70_000, why: "see 17 \u{a7} 3", ..attempt() },
        ),
        (
            "not-sent.body",
            Pursued { what: NOT_SENT, again_at_ns: Some(300), why: "refused", ..attempt() },
        ),
        ("unknown.body", Pursued { what: UNKNOWN, doubt, why: "timeout", ..attempt() }),
        ("dead.body", Pursued { what: DEAD, doubt, why: "too old", ..attempt() }),
        (
            "redriven.body",
            Pursued { what: REDRIVEN, was_dead: true, of_provider: 0, provider: "", ..attempt() },
        ),
    ]
}

#[test]
fn rule_50_the_dispatches_of_version_1_have_the_bytes_that_are_committed_for_two_crates() {
    let smallest = Dispatched { order: 1, route: "p", command_key: b"", body: b"", ..full() };
    for (name, kind, dispatched) in [
        ("dispatch-smallest.body", 7, smallest),
        ("dispatch-of-member.body", 7, of_member()),
        ("dispatch-by-key.body", 71, full()),
    ] {
        let encoded = encode_dispatched(&dispatched).unwrap();
        assert_eq!(encoded.kind, kind, "{name}");
        let golden = moved::golden(name, &encoded);
        assert_eq!(decode(kind, 1, &golden).unwrap(), Body::Dispatched(dispatched), "{name}");
        let mut reader = golden.as_slice();
        let reader = &mut reader;
        let (order, back, route) = (take(reader), take(reader), take(reader));
        let (command_key, body) = (take(reader), take(reader));
        assert!(reader.is_empty(), "{name}: {} bytes left over", reader.len());
        assert_eq!(Dispatched { order, back, route, command_key, body }, dispatched);
    }
}

#[test]
fn rule_50_what_becomes_of_dispatches_has_the_bytes_that_are_committed_for_two_crates() {
    for (name, pursued) in pursued() {
        let encoded = encode_pursued(&pursued).unwrap();
        assert_eq!(encoded.kind, 11, "{name}");
        let golden = moved::golden(name, &encoded);
        assert_eq!(decode(11, 1, &golden).unwrap(), Body::Pursued(pursued), "{name}");
        let mut reader = golden.as_slice();
        let reader = &mut reader;
        let read = Pursued {
            order: take(reader),
            dispatch: take(reader),
            what: take(reader),
            by: take(reader),
            provider: take(reader),
            doubt: take(reader),
            attempts: take(reader),
            of_provider: take(reader),
            since_ns: take(reader),
            again_at_ns: take(reader),
            was_dead: take(reader),
            code: take(reader),
            reference: take(reader),
            why: take(reader),
        };
        assert!(reader.is_empty(), "{name}: {} bytes left over", reader.len());
        assert_eq!(read, pursued);
    }
}

#[test]
fn rule_27_a_dispatch_that_is_too_short_or_too_long_does_not_decode() {
    let encoded = [encode_dispatched(&full()).unwrap(), encode_pursued(&attempt()).unwrap()];
    for Encoded { kind, mut bytes, .. } in encoded {
        for length in 0..bytes.len() {
            assert!(decode(kind, 1, &bytes[..length]).is_err(), "{kind} cut to {length}");
        }
        bytes.push(0);
        assert!(decode(kind, 1, &bytes).is_err(), "{kind} with a byte behind it");
    }
}

/// What no caller may ask for is not read from a disk either.
#[test]
fn a_dispatch_that_nobody_can_make_is_no_body() {
    let is_body =
        |kind, body: Dispatched<'_>| decode(kind, 1, &encode_sized(body, 64).unwrap()).is_ok();
    assert!(is_body(71, full()) && is_body(7, of_member()));
    assert!(!is_body(7, full()), "it has a command key");
    assert!(!is_body(71, Dispatched { command_key: b"", ..full() }));
    let long = vec![b'x'; DISPATCH_BYTES_MAX + 1];
    assert!(is_body(71, Dispatched { body: &long[1..], ..full() }));
    for bad in [
        Dispatched { order: 0, ..full() },
        Dispatched { back: 1, ..full() },
        Dispatched { order: 0, back: 1, ..full() },
        Dispatched { route: "", ..full() },
        Dispatched { route: "two words", ..full() },
        Dispatched { command_key: &long[..256], ..full() },
        Dispatched { body: &long, ..full() },
    ] {
        assert!(!is_body(71, bad), "{bad:?}");
    }
    assert!(!is_body(7, Dispatched { back: 4096, ..of_member() }));
}

#[test]
fn what_can_not_become_of_a_dispatch_is_no_body() {
    let is_body = |body: Pursued<'_>| decode(11, 1, &encode_sized(body, 64).unwrap()).is_ok();
    assert!(pursued().into_iter().all(|(_, body)| is_body(body)));
    let doubt = "acme-pay";
    // Heard of by their list only.
    let proven = Pursued { what: DONE, by: 2, of_provider: 0, attempts: 0, ..attempt() };
    assert!(is_body(proven) && is_body(Pursued { was_dead: true, ..proven }));
    let long = vec![b'x'; REFERENCE_BYTES_MAX + 1];
    let words = "r".repeat(REASON_BYTES_MAX + 1);
    for bad in [
        Pursued { what: 0, ..attempt() },
        Pursued { what: 8, ..attempt() },
        Pursued { by: 1, ..attempt() },
        Pursued { by: 3, ..attempt() },
        Pursued { order: 0, ..attempt() },
        Pursued { dispatch: 300, ..attempt() },
        Pursued { provider: "", ..attempt() },
        Pursued { provider: "two words", ..attempt() },
        Pursued { doubt: "two words", ..attempt() },
        Pursued { attempts: 0, ..attempt() },
        Pursued { of_provider: 0, ..attempt() },
        Pursued { was_dead: true, ..attempt() },
        Pursued { code: 1, ..attempt() },
        Pursued { reference: b"r", ..attempt() },
        Pursued { why: &words, ..attempt() },
        Pursued { what: DONE, of_provider: 0, ..attempt() },
        Pursued { what: DONE, was_dead: true, ..attempt() },
        Pursued { what: DONE, reference: &long, ..attempt() },
        Pursued { what: REFUSED, doubt, ..attempt() },
        Pursued { what: NOT_SENT, doubt, ..attempt() },
        Pursued { what: UNKNOWN, ..attempt() },
        Pursued { what: UNKNOWN, doubt, by: 1, ..attempt() },
        Pursued { what: DEAD, again_at_ns: Some(1), ..attempt() },
        Pursued { what: DEAD, was_dead: true, ..attempt() },
        Pursued { what: REDRIVEN, ..attempt() },
    ] {
        assert!(!is_body(bad), "{bad:?}");
    }
}

/// The newest record says all that is needed to go on.
#[test]
fn where_a_dispatch_stands_comes_back_from_its_record() {
    let at = Timestamp::from_unix_ns(9);
    let before = Course::begin(Seq(70_000), at);
    let why = || "because".to_owned();
    for (progress, lane) in [
        (Progress::Attempt, Some(Lane::Open)),
        (Progress::Sent(Sent::Done { reference: vec![7; 255] }), None),
        (Progress::Sent(Sent::Refused { code: 7, why: why() }), Some(Lane::Open)),
        (Progress::Sent(Sent::NotSent { why: why() }), Some(Lane::Open)),
        (Progress::Dead { why: why() }, Some(Lane::Dead)),
    ] {
        let after = Course {
            newest: Seq(80_000),
            progress,
            provider: "acme-pay".into(),
            attempts: 3,
            of_provider: 2,
            ..before.clone()
        };
        let body = Pursued::of(Seq(300), Seq(70_000), &before, &after, Witness::Provider);
        let encoded = encode_pursued(&body).unwrap();
        let decoded = decode(11, 1, &encoded.bytes).unwrap();
        let read = decoded.pursued().unwrap();
        assert_eq!(read.course(Seq(80_000), at), after);
        assert_eq!((read.lane(), after.lane()), (lane, lane));
    }
    // What is too long is cut, and never refused: it is the answer of somebody else.
    let long = Progress::Sent(Sent::Done { reference: vec![7; 1000] });
    let after = Course {
        progress: long,
        provider: "a".into(),
        attempts: 1,
        of_provider: 1,
        ..before.clone()
    };
    let body = Pursued::of(Seq(300), Seq(70_000), &before, &after, Witness::Provider);
    assert_eq!(body.reference.len(), REFERENCE_BYTES_MAX);
    encode_pursued(&body).unwrap();
}

#[test]
fn the_order_of_a_member_is_filled_in_from_its_place() {
    let placed = Body::Dispatched(of_member()).placed_at(Seq(9));
    assert_eq!(placed.dispatched().unwrap().order(), Seq(7));
    let placed = Body::Dispatched(of_member()).placed_at(Seq(1));
    assert_eq!(placed.dispatched().unwrap().order(), Seq(0), "it leads nowhere");
    assert_eq!(Body::Dispatched(full()).placed_at(Seq(9)), Body::Dispatched(full()));
}
