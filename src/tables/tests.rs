//! The tables without a disk: candidates, the second look, and where keys go.

use super::hash::RecordKeys;
use super::*;
use crate::disk::by_path::Files;
use crate::disk::sim::SimDisk;
use crate::order::{Durability, LedgerId};
use crate::wal::format::{SECTION_FILTER, SECTION_KEYS};
use crate::wal::issuer::Issuer;

fn hot(keys: &[(u64, u64)]) -> Hot {
    let mut hot = Hot::default();
    keys.iter().for_each(|(hash, seq)| hot.insert(KeyHash(*hash), Seq(*seq)));
    hot
}

/// Segment 1 with the seqs 1 to 9, segment 2 from 10 on.
fn tables() -> Tables {
    let tables = Tables::new(KeyHasher::new([7; 16]));
    tables.push_hot(1, Seq(1), hot(&[(100, 3), (200, 9)]));
    tables.push_hot(2, Seq(10), hot(&[(100, 12), (300, 10)]));
    tables
}

fn log() -> Log {
    let issuer =
        Issuer { ledger: LedgerId([1; 16]), durability: Durability::Durable, partition: 0 };
    let files = Files::new(SimDisk::new(1).as_disk());
    Log::new(issuer, files, Vec::new(), Seq(20))
}

fn candidates(tables: &Tables, hash: u64) -> Vec<u64> {
    tables.candidates(&log(), KeyHash(hash)).unwrap().iter().map(|seq| seq.0).collect()
}

#[test]
fn candidates_come_newest_first_and_from_every_part() {
    let tables = tables();
    assert_eq!(candidates(&tables, 100), [12, 3]);
    assert_eq!((candidates(&tables, 200), candidates(&tables, 300)), (vec![9], vec![10]));
    assert_eq!(candidates(&tables, 400), [0u64; 0]);
}

/// Rule 40: the second look, under the lock of the queue, must see whatever came since the first.
#[test]
fn what_came_since_is_seen_from_its_own_seq_on() {
    let tables = tables();
    for (hash, seen, may) in [
        (100, 1, true),
        (100, 12, true),
        (100, 13, false),
        (300, 10, true),
        (300, 11, false),
        (200, 9, true),
        (200, 4, true),
        (200, 10, false),
        (400, 1, false),
    ] {
        assert_eq!(tables.may_have_since(Seq(seen), KeyHash(hash)), may, "{hash} since {seen}");
    }
}

#[test]
fn keys_are_taken_in_where_their_group_went() {
    let tables = tables();
    // A record without a key takes a seq as well.
    let keys =
        [RecordKeys::one(KeyHash(500)), RecordKeys::default(), RecordKeys::one(KeyHash(600))];
    tables.apply(2, Seq(13), keys.into_iter());
    assert_eq!((candidates(&tables, 500), candidates(&tables, 600)), (vec![13], vec![15]));
    // The first group of a new segment.
    tables.apply(3, Seq(16), [RecordKeys::one(KeyHash(500))].into_iter());
    assert_eq!(candidates(&tables, 500), [16, 13]);
    assert!(tables.may_have_since(Seq(16), KeyHash(500)));
    assert!(!tables.may_have_since(Seq(17), KeyHash(500)));

    // Each segment is sealed with its own keys: 12 bytes each.
    let keys = |segment, first| {
        let sections = tables.sections(segment, Seq(first)).unwrap();
        assert_eq!((sections[0].0, sections[1].0), (SECTION_KEYS, SECTION_FILTER));
        sections[0].1.len() / 12
    };
    assert_eq!((keys(1, 1), keys(2, 10), keys(3, 16), keys(4, 17)), (2, 4, 1, 0));
}
