//! What is read together is what is read one by one, and never more.

use std::sync::Arc;

use super::*;
use crate::disk::by_path::Files;
use crate::disk::sim::{SimDisk, SimHost};
use crate::disk::{self, Open};
use crate::order::{Durability, LedgerId};
use crate::wal::blocks::Blocks;
use crate::wal::format::{BLOCK_LEN, SegmentHeader, WAL_DIR, segment_path};
use crate::wal::issuer::Issuer;
use crate::wal::prepare::Preparer;
use crate::wal::record::Encoded;
use crate::wal::scan::Position;
use crate::wal::segment::OpenIndex;
use crate::wal::writer::{Layout, Writer, create_first};

const LEDGER: LedgerId = LedgerId([9; 16]);

/// A log with groups of records of these sizes, all of them published.
fn log(disk: &SimDisk, groups: &[&[usize]]) -> Arc<Log> {
    let (disk, host) = (disk.as_disk(), SimHost::new(2).as_host());
    disk.create_dir(WAL_DIR).unwrap();
    let layout = Layout { segment_bytes: 256 * 1024, group_align: 8, past_cache: true };
    let preparer = Arc::new(Preparer::new(Arc::clone(&disk)));
    create_first(&*disk, &*host, &preparer, layout, LEDGER, Durability::Durable).unwrap();
    let file = disk.open(&segment_path(1), Open::Write).unwrap();
    let mut block = vec![0; BLOCK_LEN];
    disk::read_exact_at(&*file, &mut block, 0).unwrap();
    let (header, crc) = SegmentHeader::decode(&block).unwrap();
    let position = Position::start(&header, crc, Timestamp::from_unix_ns(9));
    let segment = Arc::new(Segment::open(header, crc, file, &Blocks::new(0), OpenIndex::default()));
    let issuer = Issuer { ledger: LEDGER, durability: Durability::Durable, partition: 0 };
    let files = Files::new(Arc::clone(&disk));
    let log = Arc::new(Log::new(issuer, files, vec![Arc::clone(&segment)], Seq::FIRST));
    let mut writer =
        Writer::new(disk, host, Arc::clone(&log), preparer, layout, segment, position).unwrap();
    for (number, sizes) in (0u8..).zip(groups) {
        let record = |bytes: &usize| Encoded { kind: 1, version: 1, bytes: vec![number; *bytes] };
        let records: Vec<_> = sizes.iter().map(record).collect();
        let records: Vec<_> = records.iter().collect();
        writer.append(&records, Timestamp::from_unix_ns(10)).unwrap();
        log.publish(writer.position().next_seq);
    }
    log
}

/// Holds what is read together against what is read one by one; answers how many there were.
fn check(log: &Log, seqs: &[u64]) -> usize {
    let seqs: Vec<_> = seqs.iter().copied().map(Seq).collect();
    let together = log.read_together(&seqs);
    let found = seqs.iter().filter(|seq| {
        let Some(frame) = together.get(**seq) else { return false };
        let record = log.read(**seq).unwrap().unwrap();
        assert_eq!(frame, record.frame());
        true
    });
    found.count()
}

#[test]
fn neighbours_come_with_one_read() {
    let disk = SimDisk::new(1);
    let log = log(&disk, &[&[100; 50], &[200; 3], &[7], &[300; 40]]);
    let every = |step| (1..=94).step_by(step).collect::<Vec<u64>>();
    for step in [1, 2, 7, 16] {
        let seqs: Vec<_> = every(step).into_iter().map(Seq).collect();
        let calls = disk.io_calls();
        let together = log.read_together(&seqs);
        assert_eq!(disk.io_calls() - calls, 1, "every {step}");
        assert!(seqs.iter().all(|seq| together.get(*seq).is_some()));
        assert_eq!(together.get(Seq(95)), None);
        assert_eq!(check(&log, &every(step)), seqs.len());
    }
    // Far apart: each by itself.
    let calls = disk.io_calls();
    assert_eq!(log.read_together(&[Seq(1), Seq(40), Seq(80)]).places.len(), 3);
    assert_eq!(disk.io_calls() - calls, 3);
}

#[test]
fn records_of_every_size_over_several_segments_are_those_that_were_asked_for() {
    let disk = SimDisk::new(1);
    let large = [90_000; 2];
    let log = log(&disk, &[&[10; 20], &large, &[400; 9], &large, &[1], &large, &[2000; 30]]);
    assert!(log.segments().len() > 2);
    let last = log.readable_next().0;
    let all: Vec<_> = (1..last).collect();
    // What is too much for one call is left out.
    let found = check(&log, &all);
    assert!((20..all.len()).contains(&found), "{found} of {}", all.len());
    for few in all.chunks(3) {
        assert!(check(&log, few) + 1 >= few.len(), "{few:?}");
    }
    for step in 2..9 {
        check(&log, &all.iter().copied().step_by(step).collect::<Vec<_>>());
    }
    assert!(
        log.read_together(&all.iter().copied().map(Seq).collect::<Vec<_>>()).bytes.len()
            <= READ_BYTES_MAX
    );
}

#[test]
fn nothing_at_or_behind_the_border_is_read() {
    let disk = SimDisk::new(1);
    let log = log(&disk, &[&[10; 5]]);
    let seqs = [0, 1, 2, 3, 4, 5, 6, 7].map(Seq);
    for next in 1..=6 {
        log.publish(Seq(next));
        let together = log.read_together(&seqs[1..]);
        for seq in seqs {
            assert_eq!(
                together.get(seq).is_some(),
                (1..next).contains(&seq.0),
                "{seq:?} of {next}"
            );
        }
    }
    // There is no record 0, and it is not waited for.
    assert_eq!(log.read_together(&seqs).places.len(), 0);
}

#[test]
fn a_damaged_record_is_left_out_and_its_neighbours_are_not() {
    let disk = SimDisk::new(1);
    let log = log(&disk, &[&[100; 30]]);
    let segment = &log.segments()[0];
    let place = segment.place_of(Seq(10)).unwrap().unwrap();
    segment.file().write_at(&[0xff], place.offset + 50).unwrap();
    let together = log.read_together(&(1..=30).map(Seq).collect::<Vec<_>>());
    for seq in 1..=30 {
        assert_eq!(together.get(Seq(seq)).is_some(), seq != 10, "{seq}");
    }
    assert!(log.read(Seq(10)).is_err());
}
