//! Following a ledger from outside the process that writes it (SEMANTICS rules 25 and 37).

use std::sync::Arc;
use std::time::Duration;

use order_ledger::disk::sim::{Crash, CrashMode};
use order_ledger::{
    EventFilter, Follower, LinkedBatch, Options, OrderId, Reader, Seq, State, Transition,
};

use crate::support::{Machine, order, small};

fn follower(machine: &Machine, from: Seq) -> Follower {
    let host = machine.host.as_host();
    Follower::open_on(machine.disk.as_disk(), host, from).unwrap()
}

fn shown(follower: &mut Follower) -> Vec<Seq> {
    let events = follower.poll(10_000, Duration::ZERO).unwrap();
    events.iter().map(|event| event.seq).collect()
}

/// Across segments, sealing and batches: every event once, in order, and a place to go on from.
#[test]
fn rule_25_a_follower_sees_every_event_once_and_in_order_while_the_log_grows() {
    let machine = Machine::new(1);
    let ledger = machine.open();
    let mut follows = follower(&machine, Seq::FIRST);
    assert_eq!(shown(&mut follows), []);
    let mut seen = Vec::new();
    let mut first = None;
    for n in 0..900u64 {
        let id = ledger.submit(&order(n)).unwrap().receipt.order;
        let first = *first.get_or_insert(id);
        if n == 50 {
            let batch = LinkedBatch::new("b")
                .submit(order(9000))
                .transition(Transition::new(first, State::Failed));
            ledger.linked(&batch).unwrap();
        }
        // Mostly after each order, so that the end is also met exactly where a segment is full.
        if n % 64 < 50 {
            seen.extend(shown(&mut follows));
            let last = ledger.stats().unwrap().last_seq.unwrap();
            assert_eq!(seen.last(), Some(&last), "what was acknowledged is shown");
        }
        // Seldom, so that a full segment is also met before it is sealed: its end still looks like zeros then.
        if n % 100 == 99 {
            ledger.tick();
        }
    }
    assert!(ledger.stats().unwrap().segments > 2);
    seen.extend(shown(&mut follows));
    let all: Vec<_> = ledger.events(Seq::FIRST).map(|it| it.unwrap().seq).collect();
    assert_eq!(seen, all);
    assert_eq!(follows.next(), all.last().unwrap().next());
    // From somewhere else, in pieces, and only what is wanted.
    let mut later = follower(&machine, all[300]);
    assert_eq!(shown(&mut later), all[300..]);
    let mut pieces = follower(&machine, Seq(0));
    let two = pieces.poll(2, Duration::ZERO).unwrap();
    assert_eq!((two.len(), pieces.next()), (2, all[2]));
    let mut failed = follower(&machine, Seq::FIRST).filter(EventFilter::all().state(State::Failed));
    let events = failed.poll(9, Duration::ZERO).unwrap();
    assert_eq!(events.iter().map(|event| event.order).collect::<Vec<OrderId>>(), [first.unwrap()]);
    assert_eq!(failed.reader().get(first.unwrap()).unwrap().unwrap().now.state, State::Failed);
}

/// Effect to prevent: a follower shows what a power cut then takes back.
#[test]
fn rule_43_a_follower_shows_nothing_that_a_power_cut_can_take_back() {
    for seed in 0..40 {
        let machine = Machine::new(seed);
        let ledger = machine.open();
        let mut follows = follower(&machine, Seq::FIRST);
        let mut seen = Vec::new();
        machine.disk.power_off_after(10 + seed % 17);
        for n in 0..20 {
            drop(ledger.submit(&order(n)));
            // The follower's own look may be where the power goes.
            if let Ok(events) = follows.poll(100, Duration::ZERO) {
                seen.extend(events.iter().map(|event| event.seq));
            }
        }
        drop((ledger, follows));
        machine.disk.crash(Crash::new(CrashMode::DropAll, seed));
        let left = Reader::open_on(machine.disk.as_disk(), &machine.host);
        let left: Vec<_> = match left {
            Ok(reader) => reader.events(Seq::FIRST).map(|it| it.unwrap().seq).collect(),
            Err(error) => panic!("{error}"),
        };
        assert!(left.starts_with(&seen), "seed {seed}: {seen:?} {left:?}");
    }
}

/// A group that a crash left in half is looked at, not shown, and nothing is changed until it is cut.
#[test]
fn a_follower_waits_behind_half_a_group_and_goes_on_when_the_writer_does() {
    let machine = Machine::new(3);
    let ledger = machine.open();
    ledger.submit(&order(1)).unwrap();
    let mut follows = follower(&machine, Seq::FIRST);
    assert_eq!(shown(&mut follows).len(), 1);
    machine.disk.power_off_after(1);
    assert!(ledger.submit(&order(2)).is_err());
    drop(ledger);
    machine.disk.crash(Crash::new(CrashMode::Prefix, 5));
    let mut follows = follower(&machine, follows.next());
    assert_eq!(shown(&mut follows), []);
    let ledger = machine.open();
    let third = ledger.submit(&order(3)).unwrap().receipt.order.seq();
    assert_eq!(shown(&mut follows).last(), Some(&third));
    assert!(machine.open_with(&small()).is_err(), "the writer has its lock, the follower none");
}

/// In real time, beside a real writer.
#[test]
fn a_follower_waits_for_what_another_thread_writes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orders.ledger");
    let ledger = Arc::new(Options::new().open(&path).unwrap());
    let writer = Arc::clone(&ledger);
    let mut follows = Follower::open(&path, Seq::FIRST).unwrap();
    let written = std::thread::spawn(move || {
        for n in 0..200 {
            writer.submit(&order(n)).unwrap();
        }
    });
    let mut seen = 0;
    while seen < 200 {
        let events = follows.poll(64, Duration::from_secs(60)).unwrap();
        assert!(!events.is_empty(), "waited a minute for nothing");
        assert_eq!(events[0].seq, Seq(seen + 1));
        seen += events.len() as u64;
    }
    written.join().unwrap();
    assert_eq!(follows.poll(1, Duration::from_millis(1)).unwrap(), []);
    assert!(Follower::open(dir.path().join("nothing"), Seq::FIRST).is_err());
}
