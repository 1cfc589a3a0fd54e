//! The same for holds: kind 73.

use super::*;
use crate::order::limits::{ACCOUNT_BYTES_MAX, AUTHOR_BYTES_MAX, CLIENT_BYTES_MAX};

fn full() -> Held<'static> {
    Held {
        client: b"web-shop",
        account: b"ALFKI",
        holds: true,
        reason: "chargeback: see 17 \u{a7} 3",
        by: b"N. Davolio",
    }
}

fn released() -> Held<'static> {
    Held { client: b"", account: b"ALFKI", holds: false, reason: "", by: b"" }
}

#[test]
fn rule_50_the_holds_of_version_1_have_the_bytes_that_are_committed_for_two_crates() {
    for (name, held) in [("hold.body", full()), ("release.body", released())] {
        let encoded = encode_held(&held).unwrap();
        assert_eq!(encoded.kind, 73, "{name}");
        let golden = moved::golden(name, &encoded);
        assert_eq!(decode(73, 1, &golden).unwrap(), Body::Held(held), "{name}");
        let mut reader = golden.as_slice();
        let reader = &mut reader;
        let (client, account, holds) = (take(reader), take(reader), take(reader));
        let (reason, by) = (take(reader), take(reader));
        assert!(reader.is_empty(), "{name}: {} bytes left over", reader.len());
        assert_eq!(Held { client, account, holds, reason, by }, held);
    }
}

#[test]
fn rule_27_a_hold_that_is_too_short_or_too_long_does_not_decode() {
    let Encoded { mut bytes, .. } = encode_held(&full()).unwrap();
    for length in 0..bytes.len() {
        assert!(decode(73, 1, &bytes[..length]).is_err(), "cut to {length}");
    }
    bytes.push(0);
    assert!(decode(73, 1, &bytes).is_err(), "with a byte behind it");
}

/// What no caller may ask for is not read from a disk either.
#[test]
fn a_hold_that_nobody_can_set_is_no_body() {
    let is_body = |held: Held<'_>| decode(73, 1, &encode_sized(held, 64).unwrap()).is_ok();
    assert!(is_body(full()) && is_body(released()));
    assert!(decode(9, 1, &encode_sized(full(), 64).unwrap()).is_err(), "it has two keys");
    let (long, words) = ([7; 65], "r".repeat(REASON_BYTES_MAX + 1));
    assert_eq!((CLIENT_BYTES_MAX, ACCOUNT_BYTES_MAX, AUTHOR_BYTES_MAX), (64, 64, 64));
    for bad in [
        Held { client: b"", account: b"", ..full() },
        Held { client: &long, ..full() },
        Held { account: &long, ..full() },
        Held { by: &long, ..full() },
        Held { reason: &words, ..full() },
    ] {
        assert!(!is_body(bad), "{bad:?}");
    }
}
