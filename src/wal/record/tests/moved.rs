//! The same for steps of orders and for tables of states: kinds 3, 67 and 8.

use std::time::Duration;

use super::super::table::{TableEdge, TableState};
use super::*;
use crate::StateRule;

const PACKED: State = State::own(100).unwrap();

fn smallest() -> Moved<'static> {
    Moved {
        order: 1,
        version: 2,
        from: 1,
        to: 2,
        command_key: b"",
        evidence: Vec::new(),
        reason: "",
    }
}

/// Every field filled, and numbers and lengths on both sides of 250 and of 65,535.
fn full() -> Moved<'static> {
    Moved {
        order: 5_000_000_000,
        version: 70_000,
        from: 100,
        to: 5,
        command_key: b"parcel-9",
        evidence: vec![
            Proof { name: "signed_by", value: &[0x5a; 300] },
            Proof { name: "tracking_number", value: b"1Z999" },
            Proof { name: "empty", value: b"" },
        ],
        reason: "by hand: see 17 \u{a7} 3",
    }
}

fn moved() -> Vec<(&'static str, u8, Moved<'static>)> {
    vec![
        ("moved-smallest.body", 3, smallest()),
        ("moved.body", 3, Moved { command_key: b"", ..full() }),
        ("moved-by-key.body", 67, full()),
    ]
}

fn lifecycle() -> Lifecycle {
    Lifecycle::builder()
        .state(
            StateRule::new(PACKED, "packed")
                .warn_after(Duration::from_secs(1))
                .critical_after(Duration::from_secs(86_400)),
        )
        .edge(State::Accepted, PACKED)
        .edge(State::Accepted, State::Cancelled)
        .edge_with(PACKED, State::Completed, ["signed_by", "tracking_number"])
        .build()
        .unwrap()
}

pub(super) fn golden(name: &str, encoded: &Encoded) -> Vec<u8> {
    let path = fixture(name);
    if std::env::var_os("ORDER_LEDGER_REGENERATE").is_some() {
        #[expect(clippy::disallowed_methods, reason = "a fixture is not a file of a ledger")]
        std::fs::write(&path, &encoded.bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert_eq!(encoded.bytes, golden, "{name}");
    assert_eq!(encoded.version, 1, "{name}");
    golden
}

#[test]
fn rule_50_the_steps_of_version_1_have_the_bytes_that_are_committed_for_two_crates() {
    for (name, kind, moved) in moved() {
        let encoded = encode_moved(&moved).unwrap();
        assert_eq!(encoded.kind, kind, "{name}");
        let golden = golden(name, &encoded);
        assert_eq!(decode(kind, 1, &golden).unwrap(), Body::Moved(moved.clone()), "{name}");
        let mut reader = golden.as_slice();
        let reader = &mut reader;
        let (order, version, from, to) = (take(reader), take(reader), take(reader), take(reader));
        let command_key = take(reader);
        let count = take::<u64>(reader);
        let proof = |_| Proof { name: take(reader), value: take(reader) };
        let evidence = (0..count).map(proof).collect();
        let reason = take(reader);
        assert!(reader.is_empty(), "{name}: {} bytes left over", reader.len());
        assert_eq!(Moved { order, version, from, to, command_key, evidence, reason }, moved);
    }
}

#[test]
fn rule_50_the_tables_of_version_1_have_the_bytes_that_are_committed_for_two_crates() {
    for (name, lifecycle) in
        [("lifecycle.body", lifecycle()), ("lifecycle-default.body", Lifecycle::default())]
    {
        let encoded = encode_lifecycle(&lifecycle).unwrap();
        assert_eq!(encoded.kind, 8);
        let golden = golden(name, &encoded);
        let Body::Lifecycle(ours) = decode(8, 1, &golden).unwrap() else { panic!("{name}") };
        assert_eq!(ours.lifecycle().unwrap(), lifecycle, "{name}");
        let mut reader = golden.as_slice();
        let reader = &mut reader;
        let states = (0..take::<u64>(reader)).map(|_| TableState {
            number: take(reader),
            name: take(reader),
            terminal: take(reader),
            warn_after_ns: take(reader),
            critical_after_ns: take(reader),
        });
        let states = states.collect();
        let edges = (0..take::<u64>(reader)).map(|_| TableEdge {
            from: take(reader),
            to: take(reader),
            evidence: (0..take::<u64>(reader)).map(|_| take(reader)).collect(),
        });
        let edges = edges.collect();
        assert!(reader.is_empty(), "{name}: {} bytes left over", reader.len());
        assert_eq!(Table { states, edges }, ours, "{name}");
    }
}

#[test]
fn rule_27_a_step_or_a_table_that_is_too_short_or_too_long_does_not_decode() {
    let steps = moved().into_iter().map(|(_, kind, moved)| (kind, encode_moved(&moved).unwrap()));
    let table = (8, encode_lifecycle(&lifecycle()).unwrap());
    for (kind, Encoded { mut bytes, .. }) in steps.chain([table]) {
        for length in 0..bytes.len() {
            assert!(decode(kind, 1, &bytes[..length]).is_err(), "kind {kind} cut to {length}");
        }
        bytes.push(0);
        assert!(decode(kind, 1, &bytes).is_err(), "kind {kind} with a byte behind it");
    }
}

/// A count of 2^63, in the longest form of a number: for evidence, states and edges.
#[test]
fn rule_20_a_forged_count_inside_a_step_or_a_table_is_an_error_and_allocates_nothing() {
    let mut huge = vec![253];
    huge.extend((1u64 << 63).to_le_bytes());
    huge.extend([0; 64]);
    let step = [&[1, 2, 1, 2, 0], &huge[..]].concat();
    assert!(decode(3, 1, &step).is_err());
    assert!(decode(8, 1, &huge).is_err());
    assert!(decode(8, 1, &[&[0], &huge[..]].concat()).is_err());
}

/// What no caller may ask for is not read from a disk either.
#[test]
fn a_step_that_no_order_can_take_is_no_body() {
    let is_body = |kind: u8, moved: Moved<'_>| {
        let bytes = encode_sized(&moved, 64).unwrap();
        decode(kind, 1, &bytes).is_ok()
    };
    assert!(is_body(3, smallest()) && is_body(67, full()));
    assert!(!is_body(67, smallest()) && !is_body(3, full()), "its kind says something else");
    let long_key = [b'k'; COMMAND_KEY_BYTES_MAX + 1];
    let long_value = [0; EVIDENCE_BYTES_MAX + 1];
    let long_reason = "r".repeat(REASON_BYTES_MAX + 1);
    let proof = |value| Proof { name: "a", value };
    for bad in [
        Moved { order: 0, ..full() },
        Moved { version: 1, ..full() },
        Moved { from: 0, ..full() },
        Moved { to: 11, ..full() },
        Moved { command_key: &long_key, ..full() },
        Moved { evidence: vec![proof(&long_value)], ..full() },
        Moved { evidence: vec![proof(b""); EVIDENCE_MAX + 1], ..full() },
        Moved { reason: &long_reason, ..full() },
    ] {
        assert!(!is_body(67, bad.clone()), "{bad:?}");
    }
}
