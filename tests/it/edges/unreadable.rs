//! What can't be read, or not be believed: whatever says the same elsewhere is used instead, and nothing
//! else is taken for an absence.

use order_ledger::{ErrorKind, How};

use crate::log_rules::forge;
use crate::rig::{all_orders, durable, fill, kind, large, open, settle, sim};

// Cause: an error of reading was reported also where the groups say the same again. Effect: one bad
// sector in a key table kept a ledger shut whose log was whole.
#[test]
fn rule_16_a_table_that_cant_be_read_is_rebuilt_from_the_groups() {
    let (disk, host) = sim(16);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..8 {
        ledger.submit(&large(number, 5000)).unwrap();
        ledger.tick();
    }
    ledger.close().unwrap();
    settle(&disk);
    let path = "wal/0000000001.seg";
    let (segment, groups) = forge::end(&disk, path);
    let last = groups.last().unwrap();
    let sections = ((last.offset + last.padded).next_multiple_of(4096)) as u64;
    let footer = segment.len() as u64 - 4096;
    assert!(sections < footer, "the segment is sealed");
    disk.fail_reads(path, sections..footer).unwrap();
    let ledger = open(&disk, &host).unwrap();
    assert_eq!(ledger.recovery_report().tables_rebuilt, 1);
    for number in 0..8 {
        assert_eq!(ledger.submit(&large(number, 5000)).unwrap().how, How::Replayed);
    }
    assert_eq!(all_orders(&ledger).unwrap().len(), 8);
    drop(ledger);
    // The groups themselves are another matter: there an error of reading is never "not there".
    disk.fail_reads(path, 4096..footer).unwrap();
    assert!(matches!(kind(open(&disk, &host)), ErrorKind::Io { .. }));
}

// The same while it is open: the sector goes bad after the table was read once.
#[test]
fn rule_16_a_table_that_goes_bad_while_the_ledger_is_open_is_rebuilt_too() {
    let (disk, host) = sim(160);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..8 {
        ledger.submit(&large(number, 5000)).unwrap();
        ledger.tick();
    }
    let path = "wal/0000000001.seg";
    let (segment, groups) = forge::end(&disk, path);
    let last = groups.last().unwrap();
    let sections = ((last.offset + last.padded).next_multiple_of(4096)) as u64;
    disk.fail_reads(path, sections..segment.len() as u64 - 4096).unwrap();
    for number in 0..8 {
        assert_eq!(ledger.submit(&large(number, 5000)).unwrap().how, How::Replayed);
    }
    assert_eq!(all_orders(&ledger).unwrap().len(), 8);
}

// Cause: nothing held the size of a key table against the orders that it is the table of. Effect: a table
// with a whole checksum and a key too few would have called a key free that was taken: a second order.
#[test]
fn rule_37_a_table_that_is_too_small_for_its_orders_is_not_believed() {
    let (disk, host) = sim(37);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..8 {
        ledger.submit(&large(number, 5000)).unwrap();
        ledger.tick();
    }
    ledger.close().unwrap();
    settle(&disk);
    let path = "wal/0000000001.seg";
    let segment = disk.read_durable(path).unwrap();
    let footer = segment.len() - 4096;
    // Of offsets, keys and filter: kind, reserved, offset, then the bytes of content.
    for (section, kind, less) in [(1, 2, 12), (1, 2, u64::MAX), (2, 3, 64)] {
        let mut block = segment[footer..].to_vec();
        let entry = 56 + section * 24;
        assert_eq!(forge::u32_at(&block, entry), kind);
        let bytes = forge::u64_at(&block, entry + 16).saturating_sub(less);
        block[entry + 16..entry + 24].copy_from_slice(&bytes.to_le_bytes());
        forge::close_block(&mut block);
        disk.overwrite(path, footer as u64, &block).unwrap();
        let ledger = open(&disk, &host).unwrap();
        for number in 0..8 {
            let outcome = ledger.submit(&large(number, 5000)).unwrap();
            assert_eq!(outcome.how, How::Replayed, "order {number} was taken twice");
        }
        assert_eq!(ledger.recovery_report().tables_rebuilt, 1);
        ledger.close().unwrap();
        settle(&disk);
    }
}

// Cause: a pass over the log reads far ahead, and an error there was the error of the record at hand.
// Effect: of a log with one bad sector, `orders` and `dump` did not show what lay well in front of it.
#[test]
fn a_sector_that_cant_be_read_hides_no_order_in_front_of_it() {
    let (disk, host) = sim(161);
    let ledger = open(&disk, &host).unwrap();
    let receipts = fill(&ledger, 20);
    let (_, groups) = forge::end(&disk, "wal/0000000001.seg");
    let bad = groups[12].offset as u64;
    disk.fail_reads("wal/0000000001.seg", bad..bad + 512).unwrap();
    let found: Vec<_> = ledger.orders().collect();
    let (last, whole) = found.split_last().unwrap();
    let whole: Vec<_> = whole.iter().map(|order| order.as_ref().unwrap().receipt).collect();
    assert_eq!(whole, receipts[..12]);
    assert!(matches!(last.as_ref().unwrap_err().kind(), ErrorKind::Io { .. }));
}

// Cause: an error of reading a footer was reported although the groups, and the segment behind, say all
// that is in it. Effect: one bad sector that holds no order kept a ledger shut.
#[test]
fn rule_16_a_footer_that_cant_be_read_is_made_again_from_the_groups() {
    let (disk, host) = sim(162);
    let ledger = open(&disk, &host).unwrap();
    for number in 0..8 {
        ledger.submit(&large(number, 5000)).unwrap();
        ledger.tick();
    }
    ledger.close().unwrap();
    settle(&disk);
    let path = "wal/0000000001.seg";
    let (segment, groups) = forge::end(&disk, path);
    let footer = segment.len() as u64 - 4096;
    disk.fail_reads(path, footer..footer + 4096).unwrap();
    let before = durable(&disk, "wal");
    let reader = crate::rig::read(&disk).unwrap();
    assert_eq!(reader.orders().filter(Result::is_ok).count(), 8);
    assert_eq!(durable(&disk, "wal"), before);
    // Bad groups beside it are another matter, and no end: the last one, or all from the first on.
    for bad in [groups.last().unwrap().offset as u64, 4096] {
        let copy = crate::rig::copy(&disk);
        copy.fail_reads(path, footer..footer + 4096).unwrap();
        copy.fail_reads(path, bad..bad + 512).unwrap();
        let before = durable(&copy, "wal");
        assert!(matches!(kind(open(&copy, &host)), ErrorKind::Io { .. }));
        assert_eq!(durable(&copy, "wal"), before);
    }
    let ledger = open(&disk, &host).unwrap();
    assert_eq!(ledger.recovery_report().segments_resealed, 1);
    for number in 0..8 {
        assert_eq!(ledger.submit(&large(number, 5000)).unwrap().how, How::Replayed);
    }
    assert_eq!(all_orders(&ledger).unwrap().len(), 8);
}

// Cause: a segment that was not sealed yet has groups where a footer would be, and a block there that
// can't be read was not told from a footer.
#[test]
fn rule_16_a_last_block_that_holds_groups_and_cant_be_read_is_no_end() {
    let (disk, host) = sim(163);
    let ledger = open(&disk, &host).unwrap();
    // Rotated and never sealed.
    for number in 0..4 {
        ledger.submit(&large(number, 5000)).unwrap();
    }
    disk.kill();
    drop(ledger);
    settle(&disk);
    let path = "wal/0000000001.seg";
    let (segment, groups) = forge::end(&disk, path);
    let last = groups.last().unwrap();
    let block = segment.len() as u64 - 4096;
    assert!((last.offset + last.padded) as u64 > block, "a group lies in the last block");
    disk.fail_reads(path, block..block + 4096).unwrap();
    let before = durable(&disk, "wal");
    assert!(matches!(kind(open(&disk, &host)), ErrorKind::Io { .. }));
    assert!(matches!(kind(crate::rig::read(&disk)), ErrorKind::Io { .. }));
    assert_eq!(durable(&disk, "wal"), before);
}
