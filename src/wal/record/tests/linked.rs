//! The same for linked batches: kind 10, and bodies that are members of one.

use super::*;

fn head() -> LinkedHead<'static> {
    LinkedHead { key: b"split-17", members: 300, salt: SALT, fingerprint: [0xb7; 32] }
}

fn golden(name: &str, encoded: &Encoded) -> Vec<u8> {
    let path = fixture(name);
    if std::env::var_os("ORDER_LEDGER_REGENERATE").is_some() {
        #[expect(clippy::disallowed_methods, reason = "a fixture is not a file of a ledger")]
        std::fs::write(&path, &encoded.bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert_eq!(encoded.bytes, golden, "{name}");
    golden
}

#[test]
fn rule_50_a_head_of_a_batch_and_a_member_have_the_bytes_that_are_committed_for_two_crates() {
    let encoded = encode_linked(&head()).unwrap();
    assert_eq!((encoded.kind, encoded.version), (10, 1));
    let bytes = golden("linked.body", &encoded);
    assert_eq!(decode(10, 1, &bytes).unwrap(), Body::Linked(head()));
    assert_eq!(distance_of(1, &bytes), None);
    let mut reader = bytes.as_slice();
    let reader = &mut reader;
    let read = LinkedHead {
        key: take(reader),
        members: take(reader),
        salt: take(reader),
        fingerprint: take(reader),
    };
    assert_eq!((read, reader.len()), (head(), 0));

    let mut member = encode(&full(), SALT, None).unwrap();
    let alone = member.bytes.clone();
    member.put_behind_head(258);
    assert_eq!((member.kind, member.version), (KIND_ACCEPTED, 129));
    let bytes = golden("accepted-member.body", &member);
    assert_eq!((&bytes[..2], &bytes[2..]), (&[2u8, 1][..], &alone[..]));
    assert_eq!(distance_of(129, &bytes), Some(258));
    assert_eq!(
        decode(KIND_ACCEPTED, 129, &bytes).unwrap(),
        decode(KIND_ACCEPTED, 1, &alone).unwrap()
    );
}

#[test]
fn rule_27_a_head_or_a_member_that_cant_be_is_no_body() {
    let bytes = encode_linked(&head()).unwrap().bytes;
    for length in 0..bytes.len() {
        assert!(decode(10, 1, &bytes[..length]).is_err(), "cut to {length}");
    }
    assert!(decode(10, 1, &[&bytes[..], &[0]].concat()).is_err());
    for beyond in [
        LinkedHead { key: &[], ..head() },
        LinkedHead { key: &[7; 256], ..head() },
        LinkedHead { members: 0, ..head() },
        LinkedHead { members: 4097, ..head() },
    ] {
        let bytes = encode_sized(beyond, 64).unwrap();
        assert!(decode(10, 1, &bytes).is_err(), "{beyond:?}");
    }
    let order = encode(&full(), SALT, None).unwrap().bytes;
    let member = |distance: u16, body: &[u8]| [&distance.to_le_bytes()[..], body].concat();
    assert!(decode(KIND_ACCEPTED, 129, &member(1, &order)).is_ok());
    assert!(decode(KIND_ACCEPTED, 129, &member(4096, &order)).is_ok());
    for (kind, version, bytes) in [
        (KIND_ACCEPTED, 129, member(0, &order)),
        (KIND_ACCEPTED, 129, member(4097, &order)),
        (KIND_ACCEPTED, 129, vec![1]),
        (KIND_ACCEPTED, 129, Vec::new()),
        (KIND_ACCEPTED, 129, order.clone()),
        (KIND_ACCEPTED, 1, member(1, &order)),
        (KIND_ACCEPTED, 130, member(1, &order)),
        // A batch is no member of one, and the lifecycle is nobody's.
        (KIND_LINKED, 129, member(1, &bytes)),
        (KIND_LIFECYCLE, 129, member(1, &encode_lifecycle(&Lifecycle::default()).unwrap().bytes)),
    ] {
        assert!(decode(kind, version, &bytes).is_err(), "{kind} {version} {bytes:?}");
    }
}
