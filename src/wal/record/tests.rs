//! Golden bytes: what version 1 of the bodies looks like, for ever, decoded here by two crates.
//!
//! `ORDER_LEDGER_REGENERATE=1` writes the files of a version that is not released yet. A released one
//! never changes; if this test fails then, the code is wrong.

use std::path::PathBuf;
use std::time::Duration;

use wincode::SchemaRead;
use wincode::config::Configuration;
use wincode::int_encoding::{LittleEndian, VarInt};
use wincode::io::Reader;
use wincode::len::UseIntLen;

use super::*;
use crate::Fingerprint;
use crate::order::limits::PAYLOAD_BYTES_MAX;

mod alert;
mod dispatch;
mod hold;
mod linked;
mod moved;
mod note;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1").join(name)
}

/// Every field filled, and lengths on both sides of 250, where the variable-length integers change.
fn full() -> Submission {
    let mut submission = Submission::new("web-shop", "cart-17", vec![0x5a; 300])
        .kind("purchase")
        .schema(70_000)
        .account("ALFKI")
        .external_ref("PO-2231")
        .fingerprint(Fingerprint([0xf1; 32]));
    submission.expires_in_ns = Some(5_000_000_000);
    submission
}

const SALT: Salt = *b"salt for fixture";

fn golden() -> Vec<(&'static str, Submission, Option<Refusal>)> {
    let refusal = Refusal { code: 451, reason: "the account is held: see 17 \u{a7} 3".to_owned() };
    let hours = |hours: u64| Duration::from_secs(3600 * hours);
    let smallest = || Submission::new("w", "k", "");
    let correcting = || full().corrects(OrderId::new(0, Seq(300)));
    vec![
        ("accepted.body", full(), None),
        ("accepted-smallest.body", smallest(), None),
        ("refused.body", full(), Some(refusal.clone())),
        ("accepted-correcting.body", full().corrects(OrderId::new(0, Seq(300))), None),
        (
            "refused-correcting.body",
            full().corrects(OrderId::new(7, Seq(3))),
            Some(refusal.clone()),
        ),
        (
            "accepted-own-thresholds.body",
            full().warn_after(hours(1)).critical_after(hours(4)),
            None,
        ),
        ("accepted-own-thresholds-smallest.body", smallest().critical_after(hours(0)), None),
        ("refused-own-thresholds.body", full().warn_after(Duration::MAX), Some(refusal.clone())),
        ("accepted-correcting-own-thresholds.body", correcting().warn_after(hours(1)), None),
        (
            "refused-correcting-own-thresholds.body",
            correcting().warn_after(hours(0)).critical_after(hours(9)),
            Some(refusal),
        ),
    ]
}

fn kind_of(name: &str) -> u8 {
    let kind = if name.starts_with("refused") { 2 } else { 1 };
    let kind = if name.contains("correcting") { kind | 64 } else { kind };
    if name.contains("own-thresholds") { kind | 32 } else { kind }
}

#[test]
fn rule_50_the_bodies_of_version_1_have_the_bytes_that_are_committed() {
    for (name, submission, refusal) in golden() {
        let encoded = encode(&submission, SALT, refusal.as_ref()).unwrap();
        let path = fixture(name);
        if std::env::var_os("ORDER_LEDGER_REGENERATE").is_some() {
            #[expect(clippy::disallowed_methods, reason = "a fixture is not a file of a ledger")]
            std::fs::write(&path, &encoded.bytes).unwrap();
        }
        let golden = std::fs::read(&path).unwrap();
        assert_eq!(encoded.bytes, golden, "{name}");
        assert_eq!((encoded.kind, encoded.version), (kind_of(name), 1));
        let body = decode(encoded.kind, 1, &golden).unwrap();
        assert_eq!(body.refusal(), refusal, "{name}");
        let submitted = body.submitted().unwrap();
        assert_eq!(submitted.content(), submission.content(), "{name}");
        assert_eq!(
            (submitted.client, submitted.key, submitted.salt),
            (submission.client(), submission.key(), SALT)
        );
    }
}

/// What bincode 2 calls standard: little-endian, integers and lengths of variable length. The limit on
/// what is allocated for one field is the largest body, as in ours.
type Standard = Configuration<
    true,
    RECORD_BODY_BYTES_MAX,
    UseIntLen<u64>,
    LittleEndian,
    VarInt,
    u32,
    RECORD_BODY_BYTES_MAX,
>;

fn take<'a, T: SchemaRead<'a, Standard, Dst = T>>(reader: &mut &'a [u8]) -> T {
    <T as SchemaRead<'a, Standard>>::get(reader.by_ref()).unwrap()
}

/// The way out of bincode: another crate reads the same bytes. Each construct of the bodies can be said
/// in it: byte strings and text behind a length, u32, options of u64 and of arrays, arrays without one.
#[test]
fn rule_50_the_golden_bytes_are_read_by_a_second_crate() {
    for (name, submission, refusal) in golden() {
        let golden = std::fs::read(fixture(name)).unwrap();
        let mut reader = golden.as_slice();
        let reader = &mut reader;
        let corrects = submission.corrects.map(|_| take::<u64>(reader));
        let thresholds = match submission.thresholds.is_none() {
            true => Thresholds::default(),
            false => Thresholds { warn_ns: take(reader), critical_ns: take(reader) },
        };
        let submitted = Submitted {
            client: take(reader),
            key: take(reader),
            kind: take(reader),
            schema: take(reader),
            account: take(reader),
            external_ref: take(reader),
            expires_in_ns: take(reader),
            own_fingerprint: take(reader),
            salt: take(reader),
            payload: take(reader),
            corrects,
            thresholds,
        };
        let refused =
            refusal.as_ref().map(|_| (take::<u32>(reader), take::<&str>(reader).to_owned()));
        assert!(reader.is_empty(), "{name}: {} bytes left over", reader.len());
        assert_eq!(refused, refusal.map(|refusal| (refusal.code, refusal.reason)), "{name}");
        let kind = kind_of(name);
        let ours = decode(kind, 1, &golden).unwrap();
        assert_eq!(ours.submitted(), Some(&submitted), "{name}");
        assert_eq!(submitted.content(), submission.content(), "{name}");
    }
}

#[test]
fn rule_27_a_body_that_is_too_short_or_too_long_does_not_decode() {
    for (name, ..) in golden() {
        let golden = std::fs::read(fixture(name)).unwrap();
        let kind = kind_of(name);
        for length in 0..golden.len() {
            assert!(decode(kind, 1, &golden[..length]).is_err(), "{name} cut to {length}");
        }
        let mut longer = golden.clone();
        longer.push(0);
        assert!(decode(kind, 1, &longer).is_err(), "{name} with a byte behind it");
    }
}

#[test]
fn rule_20_a_forged_length_inside_a_body_is_an_error_and_allocates_nothing() {
    // A client of 2^63 bytes, in the longest form of a length.
    let mut forged = vec![253];
    forged.extend((1u64 << 63).to_le_bytes());
    forged.extend([0; 64]);
    assert!(decode(KIND_ACCEPTED, 1, &forged).is_err());
}

/// A reason is cut to its limit and never beyond it, also in the middle of a character.
#[test]
fn a_reason_is_cut_at_the_character_before_its_limit() {
    let limit = Refusal::REASON_BYTES_MAX;
    for (front, kept) in [(limit - 2, limit), (limit - 1, limit - 1), (limit, limit)] {
        let reason = "x".repeat(front) + "\u{a7}\u{a7}";
        assert_eq!(cut_reason(&reason), &reason[..kept]);
    }
    assert_eq!(cut_reason("short"), "short");
}

/// What no caller may hand in is not read from a disk either, whatever its checksum says.
#[test]
fn a_field_beyond_its_limit_is_no_body() {
    let order = |client, key, kind, account, external_ref, payload| {
        Submission::new(vec![b'a'; client], vec![b'b'; key], vec![b'c'; payload])
            .kind(vec![b'd'; kind])
            .account(vec![b'e'; account])
            .external_ref(vec![b'f'; external_ref])
    };
    let refusal = Refusal { code: 1, reason: "no".into() };
    let is_body = |submission: &Submission| {
        let accepted = encode(submission, SALT, None).is_ok();
        assert_eq!(encode(submission, SALT, Some(&refusal)).is_ok(), accepted);
        accepted
    };
    assert!(is_body(&order(64, 255, 64, 64, 128, PAYLOAD_BYTES_MAX)));
    assert!(is_body(&order(1, 1, 0, 0, 0, 0)));
    assert!(is_body(&order(1, 1, 0, 0, 0, 0).corrects(OrderId::new(1, Seq(1)))));
    assert!(!is_body(&order(1, 1, 0, 0, 0, 0).corrects(OrderId::new(1, Seq(0)))), "of no order");
    for beyond in [
        order(0, 1, 0, 0, 0, 0),
        order(65, 1, 0, 0, 0, 0),
        order(1, 0, 0, 0, 0, 0),
        order(1, 256, 0, 0, 0, 0),
        order(1, 1, 65, 0, 0, 0),
        order(1, 1, 0, 65, 0, 0),
        order(1, 1, 0, 0, 129, 0),
        order(1, 1, 0, 0, 0, PAYLOAD_BYTES_MAX + 1),
        order(1, 1, 0, 0, 0, 0).expires_in(Duration::ZERO),
    ] {
        assert!(!is_body(&beyond));
    }
}

/// A kind that speaks of thresholds, and a body without: nobody writes that, and it is no order.
#[test]
fn rule_27_thresholds_of_which_a_kind_speaks_are_there() {
    let bare = encode(&Submission::new("w", "k", ""), SALT, None).unwrap();
    let neither = [&[0, 0], &bare.bytes[..]].concat();
    assert!(decode(KIND_ACCEPTED | KIND_BIT_OWN_THRESHOLDS, 1, &neither).is_err());
    let own = Submission::new("w", "k", "").warn_after(Duration::ZERO);
    let own = encode(&own, SALT, None).unwrap();
    assert_eq!((own.kind, own.bytes.len()), (33, bare.bytes.len() + 3));
    assert!(decode(KIND_ACCEPTED, 1, &own.bytes).is_err());
}

/// Which files tell of what follows from the kinds of their records alone.
#[test]
fn kinds_say_whether_an_order_has_thresholds_of_its_own_and_how_many_keys_it_has() {
    for kind in 0..=u8::MAX {
        let (begins, own) = (begins_order(kind), has_own_thresholds(kind));
        assert_eq!(begins, [1, 2, 33, 34, 65, 66, 97, 98].contains(&kind), "{kind}");
        assert_eq!(own, [33, 34, 97, 98].contains(&kind), "{kind}");
        assert_eq!(
            (is_accepted(kind), is_refused(kind)),
            (begins && kind % 2 == 1, begins && kind % 2 == 0)
        );
        if begins {
            assert_eq!(keys_of_kind(kind), if kind & 64 == 0 { 1 } else { 2 }, "{kind}");
        }
    }
}
