//! The same for alerts: kinds 6 and 70.

use super::*;
use crate::order::limits::{AUTHOR_BYTES_MAX, NOTE_BYTES_MAX};
use crate::order::{Alert, AlertChange, AlertKind, AlertLevel, AlertSubject};
use crate::wal::record::alert::Known;

/// Of an order, with everything that can be said.
fn full() -> Alarm<'static> {
    Alarm {
        id: 42,
        change: AlertChange::Cleared.number(),
        subject: 1,
        subject_seq: 17,
        subject_name: b"",
        kind: 1,
        state: State::Confirmed.number(),
        level: AlertLevel::Critical.number(),
        raised_at_ns: 1_767_225_600_000_000_000,
        escalated_at_ns: Some(1_767_225_700_000_000_000),
        since_ns: 1_767_225_500_000_000_000,
        reminded: 300,
        reminded_at_ns: Some(1_767_225_800_000_000_000),
        acknowledged: Some(Known {
            at_ns: 1_767_225_900_000_000_000,
            by: b"N. Davolio",
            note: b"called them: \xff",
        }),
        cleared_at_ns: Some(1_767_226_000_000_000_000),
        detail: "in confirmed for 500 s, \u{a7} 3",
    }
}

/// Of the ledger, as it is raised.
fn smallest() -> Alarm<'static> {
    Alarm {
        id: 0,
        change: AlertChange::Raised.number(),
        subject: 6,
        subject_seq: 0,
        subject_name: b"",
        kind: AlertKind::DiskLow.number(),
        state: 0,
        level: AlertLevel::Warn.number(),
        raised_at_ns: 0,
        escalated_at_ns: None,
        since_ns: 1,
        reminded: 0,
        reminded_at_ns: None,
        acknowledged: None,
        cleared_at_ns: None,
        detail: "",
    }
}

/// Of a client, escalated by this record.
fn escalated() -> Alarm<'static> {
    Alarm {
        id: 7,
        change: AlertChange::Escalated.number(),
        subject: 5,
        subject_name: b"web-shop",
        kind: AlertKind::Unreturned.number(),
        level: AlertLevel::Critical.number(),
        raised_at_ns: 1_767_225_600_000_000_000,
        escalated_at_ns: Some(0),
        detail: "60 of 100",
        ..smallest()
    }
}

#[test]
fn rule_50_the_alerts_of_version_1_have_the_bytes_that_are_committed_for_two_crates() {
    for (name, alarm, kind) in [
        ("alert-cleared.body", full(), 70),
        ("alert-smallest.body", smallest(), 6),
        ("alert-escalated.body", escalated(), 6),
    ] {
        let encoded = encode_alarm(&alarm).unwrap();
        assert_eq!(encoded.kind, kind, "{name}");
        let golden = moved::golden(name, &encoded);
        assert_eq!(decode(kind, 1, &golden).unwrap(), Body::Alarm(alarm), "{name}");
        let mut reader = golden.as_slice();
        let reader = &mut reader;
        let read = Alarm {
            id: take(reader),
            change: take(reader),
            subject: take(reader),
            subject_seq: take(reader),
            subject_name: take(reader),
            kind: take(reader),
            state: take(reader),
            level: take(reader),
            raised_at_ns: take(reader),
            escalated_at_ns: take(reader),
            since_ns: take(reader),
            reminded: take(reader),
            reminded_at_ns: take(reader),
            acknowledged: take::<Option<(u64, &[u8], &[u8])>>(reader)
                .map(|(at_ns, by, note)| Known { at_ns, by, note }),
            cleared_at_ns: take(reader),
            detail: take(reader),
        };
        assert!(reader.is_empty(), "{name}: {} bytes left over", reader.len());
        assert_eq!(read, alarm);
    }
}

#[test]
fn rule_27_an_alert_that_is_too_short_or_too_long_does_not_decode() {
    let Encoded { mut bytes, .. } = encode_alarm(&full()).unwrap();
    for length in 0..bytes.len() {
        assert!(decode(70, 1, &bytes[..length]).is_err(), "cut to {length}");
    }
    bytes.push(0);
    assert!(decode(70, 1, &bytes).is_err(), "with a byte behind it");
}

/// What the ledger does not write is not read from a disk either.
#[test]
fn an_alert_that_can_not_be_is_no_body() {
    let is_body = |kind, alarm: Alarm<'_>| {
        let bytes = encode_sized(alarm, 64).unwrap();
        decode(kind, 1, &bytes).is_ok()
    };
    assert!(is_body(70, full()) && is_body(6, smallest()) && is_body(6, escalated()));
    assert!(!is_body(6, full()) && !is_body(70, smallest()), "found by other keys");
    let (long, words) = ([7; NOTE_BYTES_MAX + 1], "r".repeat(Alert::DETAIL_BYTES_MAX + 1));
    let known = |by: &'static [u8]| Some(Known { at_ns: 5, by, note: b"" });
    for bad in [
        Alarm { id: 0, ..full() },
        Alarm { change: 0, ..full() },
        Alarm { change: 6, ..full() },
        Alarm { subject_seq: 0, ..full() },
        Alarm { subject_name: b"x", ..full() },
        Alarm { state: 0, ..full() },
        Alarm { state: 11, ..full() },
        Alarm { level: 0, ..full() },
        Alarm { since_ns: 0, ..full() },
        Alarm { cleared_at_ns: None, ..full() },
        Alarm { change: AlertChange::Reminded.number(), ..full() },
        Alarm { detail: &words, ..full() },
        Alarm { acknowledged: known(&[7; AUTHOR_BYTES_MAX + 1]), ..full() },
        Alarm { acknowledged: Some(Known { at_ns: 5, by: b"", note: &long }), ..full() },
    ] {
        assert!(!is_body(70, bad), "{bad:?}");
    }
    for bad in [
        Alarm { id: 3, ..smallest() },
        Alarm { subject: 7, ..smallest() },
        Alarm { subject: 0, ..smallest() },
        Alarm { subject_seq: 1, ..smallest() },
        Alarm { kind: 0, ..smallest() },
        Alarm { kind: 10, ..smallest() },
        Alarm { kind: 1, state: 1, ..smallest() },
        Alarm { state: 1, ..smallest() },
        Alarm { raised_at_ns: 1, ..smallest() },
        Alarm { reminded_at_ns: Some(0), ..smallest() },
        Alarm { cleared_at_ns: Some(0), ..smallest() },
        Alarm { acknowledged: known(b"x"), ..smallest() },
        Alarm { escalated_at_ns: Some(1), ..escalated() },
        Alarm { subject_name: b"", ..escalated() },
        Alarm { subject: 2, subject_name: b"a b", ..escalated() },
        Alarm { subject: 3, subject_name: b"\xff", ..escalated() },
    ] {
        assert!(!is_body(6, bad), "{bad:?}");
    }
}

#[test]
fn an_alert_comes_back_as_it_was_with_the_time_of_its_record_where_that_counts() {
    let (seq, at) = (Seq(99), Timestamp::from_unix_ns(123));
    let alert = full().alert(0, seq, at).unwrap();
    assert_eq!(alert.subject, AlertSubject::Order(OrderId::new(0, Seq(17))));
    assert_eq!((alert.id, alert.is_open()), (Seq(42), false));
    assert_eq!(Alarm::of(&alert, AlertChange::Cleared), full());
    let raised = smallest().alert(0, seq, at).unwrap();
    assert_eq!((raised.id, raised.raised_at, raised.told_at()), (seq, at, at));
    let later = escalated().alert(0, seq, at).unwrap();
    assert_eq!((later.id, later.escalated_at), (Seq(7), Some(at)));
    let other = full().alert(3, seq, at).unwrap();
    assert_eq!(other.subject, AlertSubject::Order(OrderId::new(3, Seq(17))));
    assert_eq!(Alarm::of(&other, AlertChange::Cleared), full(), "the partition is not stored");
}
