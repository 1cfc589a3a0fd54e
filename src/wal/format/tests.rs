//! Headers and footers: they come back, and nothing that is bent, newer or out of bounds does.

use super::*;

fn segment() -> SegmentHeader {
    SegmentHeader {
        durability: Durability::Durable,
        ledger: LedgerId([9; 16]),
        number: 3,
        nonce: 0x0123_4567_89ab_cdef,
        first_seq: Seq(70),
        first_group: 11,
        file_bytes: 1 << 20,
        created_at: Timestamp::from_unix_ns(5),
        link: 77,
        group_align: 8,
    }
}

fn group() -> GroupHeader {
    GroupHeader {
        nonce: 5,
        group: 6,
        first_seq: Seq(7),
        durable_next_seq: Seq(7),
        count: 3,
        body_bytes: 130,
        link: 8,
        body_crc: 9,
    }
}

fn footer() -> Footer {
    let section = |kind| SectionAt { kind, offset: 8192 * u64::from(kind), content_bytes: 40 };
    Footer {
        header_crc: 1,
        next_seq: Seq(2),
        next_group: 3,
        groups_end: 4,
        last_at: Timestamp::from_unix_ns(5),
        link: 6,
        sections: vec![section(1), section(2)],
        counts: vec![(1, 10), (2, 3), (200, 4)],
    }
}

/// `block` with one byte set, and a checksum that holds again.
fn forged(block: &[u8], byte: usize, value: u8) -> Vec<u8> {
    let mut content = block[..block.len() - 4].to_vec();
    content[byte] = value;
    let crc = crc32fast::hash(&content);
    content.put_u32(crc);
    content
}

#[test]
fn names_come_back_as_numbers_and_others_do_not() {
    for number in [1, 9, 1_234_567_890, 10_000_000_000, u64::MAX] {
        assert_eq!(segment_number(&segment_name(number)), Some(number));
    }
    assert_eq!(segment_path(17), "wal/0000000017.seg");
    for name in ["0000000000.seg", "1.seg", "00000000001.seg", "+000000001.seg", "0000000001.tmp"] {
        assert_eq!(segment_number(name), None, "{name}");
    }
}

#[test]
fn rounding_up_stops_at_the_next_multiple() {
    for (offset, align, rounded) in
        [(0, 8, 0), (1, 8, 8), (7, 8, 8), (8, 8, 8), (9, 8, 16), (4097, 4096, 8192), (5, 1, 5)]
    {
        assert_eq!(round_up(offset, align), rounded, "{offset} to {align}");
    }
}

#[test]
fn headers_and_footers_come_back() {
    for header in [
        segment(),
        SegmentHeader { durability: Durability::Relaxed, group_align: 65_536, ..segment() },
    ] {
        let (block, crc) = header.encode();
        assert_eq!(block.len(), BLOCK_LEN);
        assert_eq!(SegmentHeader::decode(&block), Ok((header, crc)));
    }
    for footer in [footer(), Footer { sections: vec![], counts: vec![], ..footer() }] {
        let block = footer.encode();
        assert_eq!(block.len(), BLOCK_LEN);
        assert_eq!(Footer::decode(&block), Ok(footer));
    }
    let mut bytes = vec![0xaa; 200];
    let crc = group().encode_into(&mut bytes);
    assert_eq!(GroupHeader::decode(&bytes, 5), Some((group(), crc)));
    assert_eq!(bytes[GROUP_HEADER_BYTES..], [0xaa; 200 - GROUP_HEADER_BYTES]);
    assert_eq!(GroupHeader::decode(&bytes, 6), None, "a group of another segment");
    assert_eq!((group().next_seq(), group().padded_bytes(8)), (Seq(10), 200));
    assert_eq!(group().padded_bytes(4096), 4096);
    assert_eq!(footer().section(2).unwrap().offset, 16_384);
    assert_eq!(footer().section(3), None);
    for (bytes, blocks) in [(0, 0), (1, 1), (4092, 1), (4093, 2), (8184, 2), (8185, 3)] {
        let section = SectionAt { kind: 1, offset: 0, content_bytes: bytes };
        assert_eq!(section.blocks(), blocks, "{bytes} bytes");
    }
}

#[test]
fn rule_18_every_single_bit_of_a_header_and_a_footer_is_covered() {
    for bit in 0..BLOCK_LEN * 8 {
        let bend = |mut block: Vec<u8>| {
            block[bit / 8] ^= 1 << (bit % 8);
            block
        };
        let invalid = |error| matches!(error, Unreadable::Invalid(_));
        assert!(SegmentHeader::decode(&bend(segment().encode().0)).is_err_and(invalid), "{bit}");
        assert!(Footer::decode(&bend(footer().encode())).is_err_and(invalid), "{bit}");
    }
    let mut bytes = [0; GROUP_HEADER_BYTES];
    group().encode_into(&mut bytes);
    for bit in 0..bytes.len() * 8 {
        let mut bent = bytes;
        bent[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(GroupHeader::decode(&bent, 5), None, "{bit}");
        assert!(!GroupHeader::is_newer(&bent, 5), "a torn header is no newer one: {bit}");
    }
    for length in [0, 3, 63] {
        assert_eq!(GroupHeader::decode(&bytes[..length], 5), None);
        assert!(!GroupHeader::is_newer(&bytes[..length], 5));
    }
    assert!(SegmentHeader::decode(&segment().encode().0[..3]).is_err());
}

#[test]
fn rule_50_a_newer_version_is_told_from_damage() {
    let newer = forged(&segment().encode().0, 8, 2);
    assert_eq!(SegmentHeader::decode(&newer), Err(Unreadable::Newer(2)));
    assert_eq!(Footer::decode(&forged(&footer().encode(), 8, 3)), Err(Unreadable::Newer(3)));
    // Not one of ours, whatever its checksum says.
    let other = forged(&segment().encode().0, 0, b'X');
    assert!(matches!(SegmentHeader::decode(&other), Err(Unreadable::Invalid(_))));
    assert!(Footer::decode(&segment().encode().0).is_err(), "a header is no footer");

    let mut bytes = [0; GROUP_HEADER_BYTES];
    group().encode_into(&mut bytes);
    assert!(!GroupHeader::is_newer(&bytes, 5), "this version's own");
    for byte in [4, 7, 56, 59] {
        let newer = forged(&bytes, byte, 1);
        assert_eq!(GroupHeader::decode(&newer, 5), None);
        assert!(GroupHeader::is_newer(&newer, 5), "byte {byte}");
        assert!(!GroupHeader::is_newer(&newer, 6), "of another segment");
        let other = forged(&newer, 0, b'X');
        assert!(!GroupHeader::is_newer(&other, 5), "no group at all");
    }
}

#[test]
fn rule_20_fields_are_held_against_their_bounds() {
    let decodes = |header: SegmentHeader| SegmentHeader::decode(&header.encode().0).is_ok();
    for align in [8, 16, 4096, 65_536] {
        assert!(decodes(SegmentHeader { group_align: align, ..segment() }), "{align}");
    }
    for align in [0, 1, 4, 12, 4095, 131_072] {
        assert!(!decodes(SegmentHeader { group_align: align, ..segment() }), "{align}");
    }
    assert!(!decodes(SegmentHeader { first_seq: Seq(0), ..segment() }));
    // Durability, ahead of the ledger's id.
    assert!(SegmentHeader::decode(&forged(&segment().encode().0, 12, 9)).is_err());

    let section = SectionAt { kind: 1, offset: 1, content_bytes: 1 };
    let many = |count| Footer { sections: vec![section; count], ..footer() };
    assert_eq!(Footer::decode(&many(64).encode()), Ok(many(64)));
    assert!(Footer::decode(&many(65).encode()).is_err());
    // The kind of the first count, beyond a byte.
    let at = 56 + 2 * 24;
    assert!(Footer::decode(&forged(&footer().encode(), at + 1, 1)).is_err());
    let last = GroupHeader { first_seq: Seq(u64::MAX), ..group() };
    assert_eq!(last.next_seq(), Seq(u64::MAX), "no overflow");
}
