//! Groups made by hand: which are taken, which are not and why, and what is said about what follows.

use std::sync::Arc;

use super::*;
use crate::disk::sim::SimDisk;
use crate::disk::{self, Open};
use crate::order::{Durability, LedgerId};

const NONCE: u64 = 5;
const ALIGN: u32 = 8;

fn header() -> SegmentHeader {
    SegmentHeader {
        durability: Durability::Durable,
        ledger: LedgerId([9; 16]),
        number: 3,
        nonce: NONCE,
        first_seq: Seq(70),
        first_group: 11,
        file_bytes: 64 * 1024,
        created_at: Timestamp::from_unix_ns(5),
        link: 77,
        group_align: ALIGN,
    }
}

fn start() -> Position {
    Position::start(&header(), 44, Timestamp::from_unix_ns(100))
}

/// A file of so many bytes with these at these offsets.
fn file(bytes: u64, content: &[(u64, &[u8])]) -> Arc<dyn DiskFile> {
    let file = SimDisk::new(1).as_disk().open("segment", Open::CreateNew).unwrap();
    file.set_bytes(bytes).unwrap();
    for (offset, content) in content {
        disk::write_all_at(&*file, content, *offset).unwrap();
    }
    file
}

/// A record at this time, with a body of this size.
fn record(seq: u64, at: u64, body_bytes: usize) -> Vec<u8> {
    let (seq, at) = (Seq(seq), Timestamp::from_unix_ns(at));
    let mut bytes = Vec::new();
    Frame { seq, at, kind: 1, version: 1, body: &vec![7; body_bytes] }.encode(NONCE, &mut bytes);
    bytes
}

/// The header of a group with these records, which follows `position`.
fn following(position: &Position, count: u32, records: &[u8]) -> GroupHeader {
    let mut body = records.to_vec();
    body.resize(records.len().next_multiple_of(8), 0);
    GroupHeader {
        nonce: NONCE,
        group: position.next_group,
        first_seq: position.next_seq,
        durable_next_seq: position.next_seq,
        count,
        body_bytes: u32::try_from(records.len()).unwrap(),
        link: position.link,
        body_crc: crc32fast::hash(&body),
    }
}

/// The group as it lies in the file, and its CRC.
fn group(header: &GroupHeader, records: &[u8]) -> (Vec<u8>, u32) {
    let mut bytes = vec![0; GROUP_HEADER_BYTES];
    bytes.extend(records);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let crc = header.encode_into(&mut bytes);
    (bytes, crc)
}

fn scan_all(file: &dyn DiskFile, end: u64) -> ScanEnd {
    scan(file, &header(), start(), end, |_| {}).unwrap()
}

/// Why the one group with this header and these records, at the front of a segment, is not taken.
fn why_not(header: &GroupHeader, records: &[u8], end: u64) -> Option<&'static str> {
    let (bytes, _) = group(header, records);
    let found = scan_all(&*file(32 * 1024, &[(GROUPS_START, &bytes)]), end);
    assert_eq!(found.groups == 0, found.bad.is_some());
    found.bad.map(|bad| bad.what)
}

/// Two groups and a seal: 64 + 29 bytes padded to 96, 64 + 2 x 25 padded to 120, 64.
fn three_groups() -> (Vec<u8>, u32) {
    let one = record(70, 101, 9);
    let (mut bytes, link) = group(&following(&start(), 1, &one), &one);
    let two = [record(71, 102, 5), record(72, 103, 5)].concat();
    let behind = Position { next_seq: Seq(71), next_group: 12, link, ..start() };
    let (more, link) = group(&following(&behind, 2, &two), &two);
    bytes.extend(more);
    let behind = Position { next_seq: Seq(73), next_group: 13, link, ..start() };
    let (seal, link) = group(&following(&behind, 0, &[]), &[]);
    bytes.extend(seal);
    (bytes, link)
}

#[test]
fn groups_are_taken_one_after_the_other_with_their_places() {
    let (bytes, link) = three_groups();
    assert_eq!(bytes.len(), 96 + 120 + 64);
    let mut seen = Vec::new();
    // Up to the very end of the file as well: a seal that fills it is one.
    for end in [64 * 1024, GROUPS_START + 280] {
        seen.clear();
        let file = file(end, &[(GROUPS_START, &bytes)]);
        let found = scan(&*file, &header(), start(), end, |group| {
            let records = group.records().map(|(at, frame)| (at, frame.seq.0, frame.body.len()));
            seen.push((group.offset, records.collect::<Vec<_>>()));
        });
        assert_eq!(
            seen,
            [
                (4096, vec![(4160, 70, 9)]),
                (4192, vec![(4256, 71, 5), (4281, 72, 5)]),
                (4312, vec![])
            ]
        );
        let position = Position {
            offset: GROUPS_START + 280,
            next_seq: Seq(73),
            next_group: 14,
            link,
            last_at: Timestamp::from_unix_ns(103),
            sealed: true,
        };
        let clean = ScanEnd { position, bad: None, newer: false, groups: 3 };
        assert_eq!(found.unwrap(), clean);
    }
    // A scan ends where it is told to, whatever lies behind.
    let file = file(8192, &[(GROUPS_START, &bytes)]);
    let found = scan_all(&*file, GROUPS_START + 216);
    assert_eq!((found.groups, found.position.sealed, found.bad), (2, false, None));
}

#[test]
fn each_condition_of_a_valid_group_is_asked_by_itself() {
    let records = record(70, 101, 9);
    let sound = following(&start(), 1, &records);
    let end = 16 * 1024;
    assert_eq!(why_not(&sound, &records, end), None);
    let number = Some("the group's number does not follow the one before");
    let seq = Some("the group's first seq does not follow the one before");
    let link = Some("the group does not link to the one before");
    let length = Some("the group's length goes beyond its bounds");
    for (other, why) in [
        (GroupHeader { group: 10, ..sound.clone() }, number),
        (GroupHeader { group: 12, ..sound.clone() }, number),
        (GroupHeader { first_seq: Seq(71), ..sound.clone() }, seq),
        (GroupHeader { durable_next_seq: Seq(71), ..sound.clone() }, seq),
        (GroupHeader { durable_next_seq: Seq(69), ..sound.clone() }, seq),
        (GroupHeader { link: 45, ..sound.clone() }, link),
        (GroupHeader { body_bytes: 16 * 1024, ..sound.clone() }, length),
        (
            GroupHeader { body_crc: sound.body_crc ^ 1, ..sound.clone() },
            Some("the checksum of the group's records does not hold"),
        ),
        (GroupHeader { count: 2, ..sound.clone() }, Some("the group's records do not fill it")),
    ] {
        assert_eq!(why_not(&other, &records, end), why, "{other:?}");
    }
    // The group has 96 bytes: its end may be that of the segment.
    assert_eq!(why_not(&sound, &records, GROUPS_START + 96), None);
    assert_eq!(why_not(&sound, &records, GROUPS_START + 95), length);
    // A file that ends in the zeros behind the last record: they were never there.
    let (bytes, _) = group(&sound, &records);
    let short = scan_all(&*file(GROUPS_START + 93, &[(GROUPS_START, &bytes[..93])]), end);
    let what = short.bad.map(|bad| bad.what);
    assert_eq!(what, Some("the checksum of the group's records does not hold"));
    // Longer than any group may be, in a segment that has the room.
    let body_bytes = u32::try_from(GROUP_BODY_BYTES_MAX + 8).unwrap();
    let huge = GroupHeader { body_bytes, ..sound.clone() };
    assert_eq!(why_not(&huge, &records, 1 << 30), length);
}

#[test]
fn records_must_fill_their_group_and_go_forward_in_time() {
    let why_not =
        |count, records: &[u8]| why_not(&following(&start(), count, records), records, 16 * 1024);
    let time = Some("a record's time does not follow the one before");
    let fill = Some("the group's records do not fill it");
    assert_eq!(why_not(1, &record(70, 101, 4)), None);
    assert_eq!(why_not(1, &record(70, 100, 4)), time);
    assert_eq!(why_not(2, &[record(70, 101, 4), record(71, 101, 4)].concat()), time);
    assert_eq!(why_not(2, &[record(70, 101, 4), record(71, 102, 4)].concat()), None);
    assert_eq!(why_not(1, &[record(70, 101, 4), record(71, 102, 4)].concat()), fill);
    // As many records as it says, and bytes behind them that are none.
    assert_eq!(why_not(1, &[record(70, 101, 4), vec![1; 8]].concat()), fill);
    assert_eq!(why_not(0, &[1; 8]), fill);
}

#[test]
fn what_follows_is_looked_at_up_to_the_end_and_no_further() {
    let short = "the rest of the segment is too short for a group";
    let bad = |bytes, content: &[(u64, &[u8])], end| {
        let found = scan_all(&*file(bytes, content), end);
        assert_eq!((found.groups, found.newer), (0, false));
        found.bad.map(|bad| (bad.what, bad.dirty_end, bad.proof))
    };
    let invalid = "the group header is not valid";
    assert_eq!(bad(8192, &[], 8192), None);
    assert_eq!(bad(8192, &[(4096, &[1])], 8192), Some((invalid, 4097, None)));
    assert_eq!(bad(12288, &[(8191, &[1, 0])], 8192), Some((invalid, 8192, None)));
    assert_eq!(bad(12288, &[(8192, &[1])], 8192), None, "behind the end");
    assert_eq!(bad(8192, &[(4100, &[1]), (6000, &[2])], 8192), Some((invalid, 6001, None)));
    // Too little room, and too little file.
    assert_eq!(bad(8192, &[(4100, &[1])], 4096 + 63), Some((short, 4101, None)));
    assert_eq!(bad(4096 + 63, &[(4100, &[1])], 8192), Some((short, 4101, None)));

    // A header of a newer version is none when it lies behind the end.
    let mut newer = three_groups().0;
    newer.truncate(GROUP_HEADER_BYTES);
    newer[4] = 1;
    let crc = crc32fast::hash(&newer[..60]);
    newer[60..].copy_from_slice(&crc.to_le_bytes());
    let found = |end| scan_all(&*file(8192, &[(4096, &newer)]), end).newer;
    assert_eq!((found(4096), found(4096 + 63), found(8192)), (false, false, true));
}

/// A header of a later group proves that a bad one had been durable, wherever it lies: also across two
/// of the pieces in which the rest is read.
#[test]
fn a_proof_is_found_wherever_it_lies() {
    let piece = LOOK_AHEAD_BYTES as u64;
    let end = GROUPS_START + 2 * piece + 8192;
    let later = |group, seq| {
        let header = GroupHeader {
            group,
            first_seq: Seq(seq),
            durable_next_seq: Seq(seq),
            ..following(&start(), 0, &[])
        };
        self::group(&header, &[]).0
    };
    let found = |content: &[(u64, &[u8])]| {
        let bad = scan_all(&*file(end, content), end).bad.unwrap();
        let proof = bad.proof.map(|it| (it.offset, it.group, it.durable_next_seq.0));
        (bad.dirty_end, proof)
    };
    let proof = later(12, 73);
    assert_ne!(proof[63], 0, "its last byte is dirty");
    let border = GROUPS_START + piece;
    for offset in [
        GROUPS_START + 8,
        GROUPS_START + 4096,
        border - 72,
        border - 64,
        border - 56,
        border - 32,
        border - 8,
        border,
        border + 8,
        border + piece - 40,
        border + piece + 8,
        end - 64,
    ] {
        let expected = Some((offset, 12, 73));
        assert_eq!(found(&[(4096, &[1]), (offset, &proof)]), (offset + 64, expected));
    }
    // The first proof counts, and stays one whatever follows.
    let other = later(14, 75);
    let all = [(4096, &[1u8][..]), (5000, &proof), (5064, &other), (end - 1, &[1])];
    assert_eq!(found(&all), (end, Some((5000, 12, 73))));
    // Not later, or none of this history: no proof.
    for none in [later(11, 73), later(10, 73), later(12, 69)] {
        assert_eq!(found(&[(4096, &[1]), (5000, &none)]).1, None);
    }
    assert_eq!(found(&[(4096, &[1]), (5000, &later(12, 70))]).1, Some((5000, 12, 70)));
    // At an offset where no group begins.
    assert_eq!(found(&[(4096, &[1]), (5004, &proof)]).1, None);
    // A file that is shorter than it should be ends the search.
    let short = scan_all(&*file(border + 9, &[(4096, &[1]), (border + 8, &[1])]), end).bad.unwrap();
    assert_eq!((short.dirty_end, short.proof), (border + 9, None));
}

#[test]
fn the_last_dirty_byte_is_found_in_whatever_block_it_is() {
    for length in [0, 1, 4095, 4096, 4097, 8192, 10_000] {
        assert_eq!(last_dirty(&vec![0; length]), None);
        for index in [0, 1, 4094, 4095, 4096, 4097, 8191, 8192, 9_999] {
            let mut bytes = vec![0; length];
            if index < length {
                bytes[index] = 1;
                bytes[0] = 1;
                assert_eq!(last_dirty(&bytes), Some(index), "{index} of {length}");
            }
        }
    }
}

#[test]
fn a_long_tail_is_read_in_large_pieces() {
    let (disk, end) = (SimDisk::new(1), GROUPS_START + (4 << 20));
    let file = disk.as_disk().open("segment", Open::CreateNew).unwrap();
    file.set_bytes(end).unwrap();
    disk::write_all_at(&*file, &[1], end - 1).unwrap();
    let calls = disk.io_calls();
    assert_eq!(scan_all(&*file, end).bad.unwrap().dirty_end, end);
    assert!(disk.io_calls() - calls < 10, "{} calls", disk.io_calls() - calls);
}
