//! How much may wait, how much goes into one group, and what is refused before a byte is written: to the
//! byte, on a disk without threads.

use std::time::Duration;

use crate::disk::Open;
use crate::disk::sim::{Fault, SimDisk, SimHost};
use crate::wal::format::{
    FRAME_BYTES, Footer, GROUP_HEADER_BYTES, GROUPS_START, SegmentHeader, segment_path,
};
use crate::{
    Committed, ErrorKind, EventBody, GroupPadding, How, Ledger, Options, Refusal, Seq, Submission,
    Validator, Verdict, Views,
};

const SEGMENT_BYTES: u64 = 16 * 1024;

fn options() -> Options {
    Options::new()
        .segment_bytes(SEGMENT_BYTES)
        .disk_reserve_bytes(0)
        .disk_free_min_bytes(0)
        .client_share_percent(100)
        .views(Views::Off)
}

fn open(options: &Options) -> (SimDisk, SimHost, Ledger) {
    let (disk, host) = (SimDisk::new(1), SimHost::new(2));
    let ledger = options.open_simulated(disk.as_disk(), host.as_host()).unwrap();
    (disk, host, ledger)
}

fn order(number: u64, bytes: usize) -> Submission {
    Submission::new("web", format!("k{number:04}"), vec![7; bytes])
}

/// Bytes of the body of the record that [`order`] makes.
fn body_bytes(bytes: usize) -> u64 {
    let (disk, _, ledger) = open(&options().segment_bytes(1 << 20));
    ledger.submit(&order(1, bytes)).unwrap();
    let segment = disk.read_durable(&segment_path(1)).unwrap();
    let start = usize::try_from(GROUPS_START).unwrap();
    let field = segment[start + 44..start + 48].try_into().unwrap();
    u64::from(u32::from_le_bytes(field)) - FRAME_BYTES as u64
}

fn kind(result: crate::Result<crate::Outcome>) -> ErrorKind {
    result.unwrap_err().kind().clone()
}

#[test]
fn rule_52_the_queue_is_bounded_by_the_bytes_of_its_records() {
    let body = usize::try_from(body_bytes(40_000)).unwrap();
    for (queue_bytes, fits) in [(2 * body, 2), (3 * body - 1, 2), (3 * body, 3)] {
        let (_, _, ledger) = open(&options().queue_bytes_max(queue_bytes));
        let tickets: Vec<_> =
            (0..fits).map(|number| ledger.submit_deferred(&order(number, 40_000))).collect();
        let mut refused = ledger.submit_deferred(&order(9, 40_000));
        ledger.pump();
        let kind = kind(refused.wait(None));
        assert!(matches!(kind, ErrorKind::Overloaded { .. }), "{kind:?}");
        for mut ticket in tickets {
            assert_eq!(ticket.wait(None).unwrap().how, How::Fresh);
        }
        // What is written does not count any more.
        let tickets: Vec<_> =
            (10..10 + fits).map(|number| ledger.submit_deferred(&order(number, 40_000))).collect();
        ledger.pump();
        for mut ticket in tickets {
            assert_eq!(ticket.wait(None).unwrap().how, How::Fresh);
        }
    }
}

/// Rule 15: on a disk without room for another segment, what is taken in leaves the reserve alone. What
/// waits already counts, and so do the headers around it.
#[test]
fn rule_15_the_reserve_is_kept_to_the_byte() {
    let body = body_bytes(500);
    let overhead = (GROUP_HEADER_BYTES + FRAME_BYTES) as u64;
    let room = SEGMENT_BYTES - GROUPS_START;
    for waiting in [0, 1, 2] {
        let reserve = room - (waiting + 1) * body - overhead;
        for (reserve, enters) in [(reserve, true), (reserve + 1, false)] {
            let (disk, _, ledger) = open(&options().disk_reserve_bytes(reserve));
            disk.set_capacity(0);
            let mut tickets: Vec<_> =
                (0..waiting).map(|number| ledger.submit_deferred(&order(number, 500))).collect();
            let mut last = ledger.submit_deferred(&order(9, 500));
            ledger.pump();
            assert!(tickets.iter_mut().all(|ticket| ticket.wait(None).is_ok()));
            match last.wait(None) {
                Ok(outcome) => assert!(enters && outcome.how == How::Fresh, "{waiting}"),
                Err(error) => {
                    assert!(!enters, "{waiting}: {error}");
                    let low = ErrorKind::DiskLow { free_bytes: 0 };
                    assert_eq!(*error.kind(), low);
                }
            }
        }
    }
}

/// With room for the next segment the reserve is nobody's business; one byte less, and it is.
#[test]
fn rule_15_room_for_the_next_segment_is_room_for_orders() {
    let options = options().disk_reserve_bytes(SEGMENT_BYTES);
    let (disk, _, _ledger) = open(&options);
    disk.set_capacity(1 << 20);
    let free = disk.as_disk().free_bytes().unwrap();
    let enough = free - SEGMENT_BYTES;
    for (free_min, enters) in [(enough, true), (enough + 1, false)] {
        let (disk, _, ledger) = open(&options.clone().disk_free_min_bytes(free_min));
        disk.set_capacity(1 << 20);
        match ledger.submit(&order(1, 500)) {
            Ok(_) => assert!(enters),
            Err(error) => {
                assert!(!enters, "{error}");
                assert_eq!(*error.kind(), ErrorKind::DiskLow { free_bytes: free });
            }
        }
    }
}

/// The guess when to try again: the time of the last group, once per thousand orders that wait.
#[test]
fn rule_33_who_is_refused_is_told_when_to_try_again() {
    for (waiting, groups) in [(4, 1), (999, 1), (1000, 2), (2500, 3)] {
        let (disk, host, ledger) = open(&options().queue_orders_max(waiting));
        disk.slow_call(1, Duration::from_millis(10), &host);
        ledger.submit(&order(0, 10)).unwrap();
        let tickets: Vec<_> =
            (1..=waiting as u64).map(|number| ledger.submit_deferred(&order(number, 1))).collect();
        let mut refused = ledger.submit_deferred(&order(9999, 1));
        let ErrorKind::Overloaded { retry_after } = kind(refused.wait(Some(Duration::ZERO))) else {
            panic!("not overloaded")
        };
        drop(tickets);
        let about = Duration::from_millis(10) * groups;
        assert!(retry_after >= about, "{waiting}: {retry_after:?}");
        assert!(retry_after < about + Duration::from_millis(1), "{waiting}: {retry_after:?}");
    }
}

/// One round is written in groups of 4 MiB, so that no group grows with the queue.
#[test]
fn a_round_is_cut_into_groups_by_its_bytes() {
    let options = options().segment_bytes(32 << 20).queue_bytes_max(64 << 20);
    for (bytes, count, groups) in
        [(100, 50, 1), (1_500_000, 3, 2), (1_500_000, 4, 2), (1_500_000, 5, 3), (5_000_000, 2, 2)]
    {
        let (_, _, ledger) = open(&options);
        let tickets: Vec<_> =
            (0..count).map(|number| ledger.submit_deferred(&order(number, bytes))).collect();
        ledger.pump();
        for mut ticket in tickets {
            assert_eq!(ticket.wait(None).unwrap().how, How::Fresh);
        }
        assert_eq!(ledger.stats().unwrap().groups, groups, "{count} of {bytes}");
    }
}

/// An order whose group has exactly so many bytes on disk.
fn order_of_group(number: u64, group_bytes: u64) -> Submission {
    let extra = body_bytes(5000) - 5000 + (GROUP_HEADER_BYTES + FRAME_BYTES) as u64;
    order(number, usize::try_from(group_bytes - extra).unwrap())
}

fn is_sealed(disk: &SimDisk, number: u64) -> bool {
    let content = disk.read_durable(&segment_path(number)).unwrap();
    Footer::decode(&content[content.len() - 4096..]).is_ok()
}

/// A group, and the seal behind it, may end where the file ends; one byte more, and they may not.
#[test]
fn a_segment_is_filled_to_its_last_byte() {
    let room = SEGMENT_BYTES - GROUPS_START;
    for (left, segments, sealed) in [(0, 1, false), (56, 1, false), (64, 1, true), (72, 1, true)] {
        let (disk, host, ledger) = open(&options());
        let submission = order_of_group(1, room - left);
        let receipt = ledger.submit(&submission).unwrap().receipt;
        assert_eq!(ledger.stats().unwrap().segments, segments);
        host.advance(Duration::from_secs(10));
        ledger.tick();
        let content = disk.read_durable(&segment_path(1)).unwrap();
        let behind = &content[usize::try_from(SEGMENT_BYTES - left).unwrap()..];
        assert_eq!(behind.iter().any(|byte| *byte != 0), sealed, "{left} bytes left");
        assert_eq!(ledger.get(receipt.order).unwrap().unwrap().payload, submission.payload);
        assert_eq!(ledger.submit(&submission).unwrap().how, How::Replayed);
        // What does not fit begins the next one.
        ledger.submit(&order(2, 10)).unwrap();
        assert_eq!(ledger.stats().unwrap().segments, segments + 1);
        ledger.close().unwrap();
        let ledger = options().open_simulated(disk.as_disk(), host.as_host()).unwrap();
        assert_eq!(ledger.get(receipt.order).unwrap().unwrap().payload, submission.payload);
    }
    let (_, _, ledger) = open(&options());
    ledger.submit(&order_of_group(1, room + 8)).unwrap();
    assert_eq!(ledger.stats().unwrap().segments, 2, "it has one of its own");
}

/// The upkeep seals every segment that waits, oldest first; the leader only when it can't keep up.
#[test]
fn all_full_segments_are_sealed() {
    let (disk, _, ledger) = open(&options());
    for number in 1..=3 {
        ledger.submit(&order(number, 8000)).unwrap();
    }
    assert_eq!([1, 2].map(|number| is_sealed(&disk, number)), [false, false]);
    ledger.tick();
    assert_eq!([1, 2].map(|number| is_sealed(&disk, number)), [true, true]);

    let (disk, _, ledger) = open(&options());
    for number in 1..=4 {
        ledger.submit(&order(number, 8000)).unwrap();
    }
    assert_eq!([1, 2, 3].map(|number| is_sealed(&disk, number)), [true, true, true]);
    for number in 1..=4 {
        assert_eq!(ledger.submit(&order(number, 8000)).unwrap().how, How::Replayed);
    }
}

/// The next segment's file is made when this one is half full down to the reserve, once, and only where
/// the disk has the room and what has to stay free.
#[test]
fn the_next_segment_is_made_in_time_and_not_before() {
    let next = |disk: &SimDisk| {
        let file = disk.as_disk().open("wal/next.tmp", Open::Read).ok();
        file.map(|file| file.bytes().unwrap())
    };
    let room = SEGMENT_BYTES - GROUPS_START;
    for reserve in [0, 1000] {
        let options = options().disk_reserve_bytes(reserve);
        let enough = SEGMENT_BYTES / 2 + reserve;
        for (left, made) in [(enough, None), (enough - 8, Some(SEGMENT_BYTES))] {
            let (disk, _, ledger) = open(&options);
            ledger.tick();
            assert_eq!(next(&disk), None, "a small ledger never pays for it");
            ledger.submit(&order_of_group(1, room - left)).unwrap();
            ledger.tick();
            assert_eq!(next(&disk), made, "{left} bytes left");
            let calls = disk.io_calls();
            ledger.tick();
            assert!(disk.io_calls() - calls < 8, "not a second time");
            assert_eq!(next(&disk), made);
        }
    }
    let fill = |free_min: u64| {
        let (disk, _, ledger) = open(&options().disk_free_min_bytes(free_min));
        ledger.submit(&order(1, 8000)).unwrap();
        disk.set_capacity(1 << 20);
        let free = disk.as_disk().free_bytes().unwrap();
        ledger.tick();
        (free, next(&disk))
    };
    let (free, made) = fill(0);
    assert_eq!(made, Some(SEGMENT_BYTES));
    assert_eq!(fill(free - SEGMENT_BYTES), (free, Some(SEGMENT_BYTES)));
    assert_eq!(fill(free - SEGMENT_BYTES + 1), (free, None));
}

/// A new order costs one write and one sync, however many segments there are to look for its key in.
#[test]
fn a_new_order_costs_two_calls_and_no_read() {
    let (disk, _, ledger) = open(&options());
    for number in 1..=6 {
        ledger.submit(&order(number, 8000)).unwrap();
        ledger.tick();
    }
    assert_eq!(ledger.stats().unwrap().segments, 6);
    for number in 10..20 {
        let calls = disk.io_calls();
        ledger.submit(&order(number, 10)).unwrap();
        assert_eq!(disk.io_calls() - calls, 2);
    }
}

/// A ticket waits until its outcome was taken in; a replay never does.
#[test]
fn a_ticket_knows_whether_it_waits() {
    let (_, _, ledger) = open(&options());
    let mut ticket = ledger.submit_deferred(&order(1, 10));
    assert!(ticket.is_waiting());
    ledger.pump();
    ticket.wait(None).unwrap();
    assert!(!ticket.is_waiting());
    assert!(!ledger.submit_deferred(&order(1, 10)).is_waiting());
}

/// Rule 23: what lies in one segment is not taken for a part of another, so each has a nonce of its own.
#[test]
fn rule_23_every_segment_has_a_nonce_of_its_own() {
    let (disk, _, ledger) = open(&options());
    for number in 1..=4 {
        ledger.submit(&order(number, 8000)).unwrap();
    }
    let nonces = (1..=4).map(|number| disk.read_durable(&segment_path(number)).unwrap());
    let nonces: std::collections::BTreeSet<_> = nonces.map(|it| it[40..48].to_vec()).collect();
    assert_eq!(nonces.len(), 4);
    assert!(!nonces.contains(&vec![0; 8]));
}

/// A file that could not be made gives its space back, and is made when there is room again.
#[test]
fn rule_15_the_next_segment_is_tried_again_on_a_disk_that_was_full() {
    for call in 1..20 {
        let (disk, _, ledger) = open(&options());
        ledger.submit(&order(1, 8000)).unwrap();
        disk.fail_call(call, Fault::Enospc);
        ledger.tick();
        disk.clear_faults();
        ledger.tick();
        let file = disk.as_disk().open("wal/next.tmp", Open::Read).unwrap();
        assert_eq!(file.bytes().unwrap(), SEGMENT_BYTES, "call {call}");
        for number in 2..5 {
            assert_eq!(ledger.submit(&order(number, 8000)).unwrap().how, How::Fresh);
        }
    }
}

struct NoSevens;

impl Validator for NoSevens {
    fn validate(&self, order: &Submission, _: &Committed<'_>) -> Verdict {
        match order.payload.first() {
            Some(7) => Verdict::RefuseFinal(Refusal { code: 1, reason: "seven".into() }),
            _ => Verdict::Accept,
        }
    }
}

/// What was answered is counted as what it was.
#[test]
fn a_refusal_that_is_repeated_is_no_conflict() {
    let (_, _, ledger) = open(&options().validator(NoSevens));
    for _ in 0..3 {
        assert!(matches!(kind(ledger.submit(&order(1, 10))), ErrorKind::Refused { .. }));
    }
    let stats = ledger.stats().unwrap();
    assert_eq!((stats.fresh, stats.replayed, stats.conflicts), (1, 2, 0));
    ledger.submit(&Submission::new("web", "k", "a")).unwrap();
    assert!(matches!(
        kind(ledger.submit(&Submission::new("web", "k", "b"))),
        ErrorKind::Conflict { .. }
    ));
    let stats = ledger.stats().unwrap();
    assert_eq!((stats.fresh, stats.replayed, stats.conflicts), (2, 2, 1));
}

/// Orders in a row are read in a few large reads, over groups and segments.
#[test]
fn reading_on_costs_few_reads() {
    let (disk, _, ledger) = open(&options());
    for batch in 0..20 {
        let orders: Vec<_> = (0..20).map(|n| order(batch * 20 + n, 10)).collect();
        assert!(ledger.submit_many(&orders).iter().all(Result::is_ok));
        ledger.tick();
    }
    let segments = ledger.stats().unwrap().segments;
    assert!(segments > 2);
    let calls = disk.io_calls();
    assert_eq!(ledger.orders().map(Result::unwrap).count(), 400);
    assert!(disk.io_calls() - calls <= 4 * segments, "{} calls", disk.io_calls() - calls);
}

/// A file is made in pieces of 256 KiB; its size need be no multiple of them.
#[test]
fn a_segment_has_the_size_that_was_asked_for() {
    let options = options().segment_bytes(300 * 1024);
    let (disk, host, ledger) = open(&options);
    ledger.submit(&order(1, 160_000)).unwrap();
    ledger.tick();
    ledger.submit(&order(2, 160_000)).unwrap();
    for number in [1, 2] {
        let content = disk.read_durable(&segment_path(number)).unwrap();
        assert_eq!(content.len(), 300 * 1024, "segment {number}");
    }
    disk.kill();
    drop(ledger);
    let ledger = options.open_simulated(disk.as_disk(), host.as_host()).unwrap();
    assert_eq!(ledger.stats().unwrap().orders, 2);
}

/// Where sealing finds the disk full, whoever does it, the segment is sealed later.
#[test]
fn what_could_not_be_sealed_is_sealed_later() {
    for call in 1..16 {
        let (disk, _, ledger) = open(&options());
        for number in 1..=3 {
            ledger.submit(&order(number, 8000)).unwrap();
        }
        disk.fail_call(call, Fault::Enospc);
        // Begins the fourth segment, and seals those before it.
        let result = ledger.submit(&order(4, 8000));
        disk.clear_faults();
        if result.is_err() {
            continue;
        }
        ledger.tick();
        assert_eq!([1, 2, 3].map(|number| is_sealed(&disk, number)), [true; 3], "call {call}");
    }
}

/// Keys that had to be found again are kept: the second question costs no scan.
#[test]
fn a_run_that_went_bad_is_replaced_once() {
    let (disk, _, ledger) = open(&options());
    for number in 1..=4 {
        ledger.submit(&order(number, 3000)).unwrap();
        ledger.tick();
    }
    assert!(is_sealed(&disk, 1));
    let bytes = disk.read_durable(&segment_path(1)).unwrap().len() as u64;
    disk.fail_reads(&segment_path(1), bytes - 3 * 4096..bytes - 4096).unwrap();
    let cost = || {
        let calls = disk.io_calls();
        assert_eq!(ledger.submit(&order(1, 3000)).unwrap().how, How::Replayed);
        disk.io_calls() - calls
    };
    let first = cost();
    let (second, third) = (cost(), cost());
    assert!(second < first && second == third, "{first}, {second}, {third} calls");
}

/// A segment keeps the padding that it was begun with; the next one has that of the options.
#[test]
fn other_padding_begins_with_the_next_segment() {
    let align = |disk: &SimDisk, number| {
        let content = disk.read_durable(&segment_path(number)).unwrap();
        SegmentHeader::decode(&content[..4096]).unwrap().0.group_align
    };
    let (disk, host, ledger) = open(&options());
    ledger.submit(&order(1, 8000)).unwrap();
    ledger.close().unwrap();
    let padded = options().group_padding(GroupPadding::Block);
    let ledger = padded.open_simulated(disk.as_disk(), host.as_host()).unwrap();
    ledger.submit(&order(2, 100)).unwrap();
    assert_eq!(ledger.stats().unwrap().segments, 1);
    ledger.submit(&order(3, 8000)).unwrap();
    assert_eq!([1, 2].map(|number| align(&disk, number)), [8, 4096]);
}

/// Rule 30: whoever has to repair it must know where to look.
#[test]
fn rule_30_a_record_that_rotted_is_refused_with_its_place() {
    let (disk, _, ledger) = open(&options());
    let receipt = ledger.submit(&order(1, 100)).unwrap().receipt;
    let frame = GROUPS_START + GROUP_HEADER_BYTES as u64;
    disk.flip_bit(&segment_path(1), (frame + 90) * 8 + 3).unwrap();
    let error = ledger.get(receipt.order).unwrap_err();
    let ErrorKind::Corrupt(damage) = error.kind() else { panic!("{error}") };
    assert_eq!(damage.offset, Some(frame));
    assert_eq!((damage.first_seq, damage.last_seq), (Some(Seq(1)), Some(Seq(1))));
}

/// Rule 15: the next segment's file is space that is ours already, and counts as such.
#[test]
fn rule_15_a_segment_that_is_ready_is_room_on_a_full_disk() {
    let (disk, _, ledger) = open(&options().disk_reserve_bytes(4000));
    ledger.submit(&order(1, 8000)).unwrap();
    ledger.tick();
    assert!(disk.as_disk().open("wal/next.tmp", Open::Read).is_ok());
    disk.set_capacity(0);
    ledger.tick();
    assert_eq!(ledger.submit(&order(2, 6000)).unwrap().how, How::Fresh);
    assert_eq!(ledger.stats().unwrap().segments, 2);
}

/// A full disk is waited for; after any other error of sealing nothing is written any more.
#[test]
fn an_error_of_the_device_while_sealing_poisons() {
    let mut poisoned = 0;
    for call in 1..20 {
        let (disk, _, ledger) = open(&options());
        for number in 1..=3 {
            ledger.submit(&order(number, 8000)).unwrap();
        }
        disk.fail_call(call, Fault::Eio);
        ledger.tick();
        disk.clear_faults();
        if [1, 2].map(|number| is_sealed(&disk, number)) == [true, true] {
            continue;
        }
        let kind = kind(ledger.submit(&order(4, 10)));
        assert!(matches!(kind, ErrorKind::Poisoned { .. }), "call {call}: {kind:?}");
        poisoned += 1;
    }
    assert!(poisoned > 0);
}

/// The same with a seal between any two groups, as a quiet ledger has them.
#[test]
fn reading_on_over_seals_costs_few_reads() {
    let (disk, host, ledger) = open(&options());
    for number in 0..20 {
        ledger.submit(&order(number, 10)).unwrap();
        host.advance(Duration::from_secs(10));
        ledger.tick();
    }
    assert_eq!(ledger.stats().unwrap().segments, 1);
    let calls = disk.io_calls();
    assert_eq!(ledger.orders().map(Result::unwrap).count(), 20);
    assert!(disk.io_calls() - calls <= 4, "{} calls", disk.io_calls() - calls);
}

#[test]
fn the_history_of_an_order_begins_with_what_became_of_it() {
    let (_, _, ledger) = open(&options().validator(NoSevens));
    let receipt = ledger.submit(&Submission::new("web", "k", "a")).unwrap().receipt;
    ledger.submit(&order(1, 10)).unwrap_err();
    let refused = ledger.by_key("web", "k0001").unwrap().unwrap();
    let history = |order| ledger.history(order).unwrap();
    let [event] = &history(receipt.order)[..] else { panic!("one event") };
    assert_eq!((event.at, event.order), (receipt.accepted_at, receipt.order));
    let (fingerprint, warn_after, critical_after) = (receipt.fingerprint, None, None);
    assert_eq!(event.body, EventBody::Accepted { fingerprint, warn_after, critical_after });
    let [event] = &history(refused.receipt.order)[..] else { panic!("one event") };
    assert!(matches!(&event.body, EventBody::Refused { refusal, .. } if refusal.reason == "seven"));
}
