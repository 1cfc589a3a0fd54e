//! The same for notes, and for what resolves one: kinds 4 and 68.

use super::*;
use crate::order::NoteKind;
use crate::order::limits::{AUTHOR_BYTES_MAX, NOTE_BYTES_MAX};

fn smallest() -> Remark<'static> {
    Remark {
        order: 1,
        kind: 1,
        asks: false,
        resolves: None,
        author: b"",
        command_key: b"",
        text: b"",
    }
}

/// Every field filled, and numbers and lengths on both sides of 250 and of 65,535.
fn full() -> Remark<'static> {
    Remark {
        order: 5_000_000_000,
        kind: 3,
        asks: true,
        resolves: None,
        author: b"N. Davolio",
        command_key: b"mail-4711",
        text: &[0x5a; 300],
    }
}

fn resolution() -> Remark<'static> {
    Remark { kind: RESOLUTION, asks: false, resolves: Some(5_000_000_001), ..full() }
}

fn remarks() -> Vec<(&'static str, u8, Remark<'static>)> {
    vec![
        ("note-smallest.body", 4, smallest()),
        ("note-by-key.body", 68, full()),
        ("resolution.body", 4, Remark { command_key: b"", ..resolution() }),
        ("resolution-by-key.body", 68, resolution()),
    ]
}

#[test]
fn rule_50_the_notes_of_version_1_have_the_bytes_that_are_committed_for_two_crates() {
    for (name, kind, remark) in remarks() {
        let encoded = encode_remark(&remark).unwrap();
        assert_eq!(encoded.kind, kind, "{name}");
        let golden = moved::golden(name, &encoded);
        assert_eq!(decode(kind, 1, &golden).unwrap(), Body::Remark(remark), "{name}");
        let mut reader = golden.as_slice();
        let reader = &mut reader;
        let (order, kind, asks) = (take(reader), take(reader), take(reader));
        let resolves = take(reader);
        let (author, command_key, text) = (take(reader), take(reader), take(reader));
        assert!(reader.is_empty(), "{name}: {} bytes left over", reader.len());
        assert_eq!(Remark { order, kind, asks, resolves, author, command_key, text }, remark);
    }
}

#[test]
fn rule_27_a_note_that_is_too_short_or_too_long_does_not_decode() {
    for (name, kind, remark) in remarks() {
        let Encoded { mut bytes, .. } = encode_remark(&remark).unwrap();
        for length in 0..bytes.len() {
            assert!(decode(kind, 1, &bytes[..length]).is_err(), "{name} cut to {length}");
        }
        bytes.push(0);
        assert!(decode(kind, 1, &bytes).is_err(), "{name} with a byte behind it");
    }
}

/// What no caller may ask for is not read from a disk either.
#[test]
fn a_note_that_nobody_can_make_is_no_body() {
    let is_body = |kind: u8, remark: Remark<'_>| {
        let bytes = encode_sized(remark, 64).unwrap();
        decode(kind, 1, &bytes).is_ok()
    };
    assert!(is_body(4, smallest()) && is_body(68, full()) && is_body(68, resolution()));
    assert!(!is_body(68, smallest()) && !is_body(4, full()), "its kind says something else");
    let (key, author) = ([b'k'; COMMAND_KEY_BYTES_MAX], [b'a'; AUTHOR_BYTES_MAX]);
    let text = vec![0; NOTE_BYTES_MAX];
    assert!(is_body(68, Remark { command_key: &key, author: &author, text: &text, ..full() }));
    let long = vec![b'x'; NOTE_BYTES_MAX + 1];
    let dispute = NoteKind::Dispute.number();
    for bad in [
        Remark { order: 0, ..full() },
        Remark { kind: 0, ..full() },
        Remark { kind: 4, ..full() },
        Remark { kind: dispute, asks: false, ..full() },
        Remark { resolves: Some(5_000_000_001), ..full() },
        Remark { resolves: None, ..resolution() },
        Remark { asks: true, ..resolution() },
        Remark { resolves: Some(5_000_000_000), ..resolution() },
        Remark { author: &long[..AUTHOR_BYTES_MAX + 1], ..full() },
        Remark { command_key: &long[..COMMAND_KEY_BYTES_MAX + 1], ..full() },
        Remark { text: &long, ..full() },
    ] {
        assert!(!is_body(68, bad), "{bad:?}");
    }
}

/// A length of 2^63, in the longest form of a number.
#[test]
fn rule_20_a_forged_length_inside_a_note_is_an_error_and_allocates_nothing() {
    let mut forged = vec![1, 1, 0, 0, 253];
    forged.extend((1u64 << 63).to_le_bytes());
    forged.extend([0; 64]);
    assert!(decode(4, 1, &forged).is_err());
}
