//! What consumers are told: every event at least once, in order, and how far each is survives everything
//! (SEMANTICS rules 25 to 29).

use std::sync::mpsc;
use std::time::{Duration, Instant};

use order_ledger::disk::sim::{Crash, CrashMode};
use order_ledger::{
    Certainty, Consumer, ErrorKind, Event, EventFilter, Ledger, OrderId, Reader, Seq, State,
    Transition,
};

use crate::support::{Machine, order};

fn taken(ledger: &Ledger, n: u64) -> OrderId {
    ledger.submit(&order(n)).unwrap().receipt.order
}

fn moved(ledger: &Ledger, order: OrderId, to: State) -> Seq {
    ledger.transition(&Transition::new(order, to)).unwrap().seq
}

fn polled(consumer: &mut Consumer) -> Vec<Event> {
    consumer.poll(usize::MAX, Duration::ZERO).unwrap()
}

fn seqs(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq.0).collect()
}

#[test]
fn rule_25_events_come_in_order_without_a_gap() {
    let machine = Machine::new(1);
    let ledger = machine.open();
    let mut billing = ledger.consumer("billing").unwrap();
    let ids: Vec<_> = (0..10).map(|n| taken(&ledger, n)).collect();
    for id in &ids {
        moved(&ledger, *id, State::Completed);
    }
    let events = polled(&mut billing);
    // Seq 1 is the cursor's own record.
    assert_eq!(seqs(&events), (2..=21).collect::<Vec<_>>());
    assert!(events.is_sorted_by(|one, next| one.at < next.at));
    let told: Vec<_> = events.iter().map(|event| (event.order, event.body.state())).collect();
    let accepted = ids.iter().map(|id| (*id, Some(State::Accepted)));
    let completed = ids.iter().map(|id| (*id, Some(State::Completed)));
    assert_eq!(told, accepted.chain(completed).collect::<Vec<_>>());
    assert!(polled(&mut billing).is_empty(), "delivered once to one handle");
    assert_eq!(ledger.events(Seq::FIRST).map(Result::unwrap).collect::<Vec<_>>(), events);
    let by_two: Vec<_> = {
        let mut other = ledger.consumer("mail").unwrap();
        let polls = std::iter::from_fn(|| Some(other.poll(2, Duration::ZERO).unwrap()));
        polls.take_while(|events| !events.is_empty()).flatten().collect()
    };
    assert_eq!(by_two, events, "each consumer for itself");
}

/// Effect to prevent: what was committed comes again, or what was not never does.
#[test]
fn rule_26_after_a_crash_delivery_goes_on_behind_the_last_commit() {
    for mode in [CrashMode::DropAll, CrashMode::KeepAll, CrashMode::Random] {
        let machine = Machine::new(2);
        let ledger = machine.open();
        let mut billing = ledger.consumer("billing").unwrap();
        for n in 0..20 {
            taken(&ledger, n);
        }
        let events = polled(&mut billing);
        billing.commit(events[11].seq).unwrap();
        assert_eq!(ledger.consumer_next("billing").unwrap(), events[12].seq);
        machine.disk.crash(Crash::new(mode, 7));
        drop((billing, ledger));
        let reader = Reader::open_on(machine.disk.as_disk(), &machine.host).unwrap();
        assert_eq!(reader.consumer_next("billing").unwrap(), events[12].seq);
        let ledger = machine.open();
        let mut billing = ledger.consumer("billing").unwrap();
        assert_eq!(polled(&mut billing), events[12..]);
    }
}

#[test]
fn rule_26_a_commit_is_monotonic_and_only_of_what_was_delivered() {
    let machine = Machine::new(3);
    let ledger = machine.open();
    let mut billing = ledger.consumer("billing").unwrap();
    for n in 0..5 {
        taken(&ledger, n);
    }
    let never = billing.commit(Seq(3)).unwrap_err();
    assert_eq!(*never.kind(), ErrorKind::NotDelivered { seq: Seq(3) });
    assert_eq!(never.certainty(), Certainty::NotRecorded);
    let events = billing.poll(3, Duration::ZERO).unwrap();
    billing.commit(events[1].seq).unwrap();
    let records = ledger.stats().unwrap().records;
    // Again, and back: a success that changes nothing.
    billing.commit(events[1].seq).unwrap();
    billing.commit(events[0].seq).unwrap();
    assert_eq!(ledger.stats().unwrap().records, records);
    assert_eq!(ledger.consumer_next("billing").unwrap(), events[2].seq);
    for seq in [events[2].seq.next(), Seq(999)] {
        assert!(matches!(billing.commit(seq).unwrap_err().kind(), ErrorKind::NotDelivered { .. }));
    }
    billing.commit(events[2].seq).unwrap();
}

/// Effect to prevent: two processes of one service both believe that they are the one.
#[test]
fn rule_25_who_opens_the_name_fences_the_handle_before() {
    let machine = Machine::new(4);
    let ledger = machine.open();
    taken(&ledger, 1);
    let mut old = ledger.consumer("billing").unwrap();
    let event = polled(&mut old).remove(0);
    let mut new = ledger.consumer("billing").unwrap();
    for answer in [old.commit(event.seq), old.park(event.seq, "no")] {
        let error = answer.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Fenced { consumer: "billing".into() });
        assert_eq!(error.certainty(), Certainty::NotRecorded);
    }
    assert_eq!(polled(&mut new), std::slice::from_ref(&event));
    new.commit(event.seq).unwrap();
    drop((old, new));
    ledger.close().unwrap();
    // Also across processes.
    let ledger = machine.open();
    let mut newest = ledger.consumer("billing").unwrap();
    assert!(polled(&mut newest).is_empty());
    for name in ["", "two words", "x".repeat(65).as_str()] {
        let error = ledger.consumer(name).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Invalid { .. }), "{name}");
    }
}

#[test]
fn rule_27_what_a_filter_passes_over_is_done_as_well() {
    let machine = Machine::new(5);
    let ledger = machine.open();
    let ids: Vec<_> = (0..21).map(|n| taken(&ledger, n)).collect();
    for id in &ids {
        moved(&ledger, *id, State::InProgress);
        moved(&ledger, *id, State::Completed);
    }
    let count = |filter: EventFilter| {
        let mut consumer = ledger.consumer("count").unwrap().filter(filter);
        polled(&mut consumer).len()
    };
    assert_eq!(count(EventFilter::all()), 63);
    assert_eq!(count(EventFilter::all().state(State::Completed)), 21);
    assert_eq!(count(EventFilter::all().state(State::Completed).state(State::Accepted)), 42);
    assert_eq!(count(EventFilter::all().account("account-3")), 9);
    assert_eq!(count(EventFilter::all().account("account-3").state(State::Completed)), 3);
    assert_eq!(count(EventFilter::all().external_ref_prefix("PO-1")), 33);
    assert_eq!(count(EventFilter::all().kind("none")), 0);

    let of_one = EventFilter::all().external_ref_prefix("PO-5");
    let mut billing = ledger.consumer("billing").unwrap().filter(of_one.clone());
    let events = polled(&mut billing);
    assert_eq!(events.len(), 3);
    billing.commit(events[2].seq).unwrap();
    assert_eq!(billing.next(), Seq(ledger.stats().unwrap().records), "all but its own commit");
    // Nothing wanted for long: the cursor moves all the same.
    let many: Vec<_> = (10_000..14_900).map(order).collect();
    assert!(ledger.submit_many(&many).iter().all(Result::is_ok));
    assert!(polled(&mut billing).is_empty());
    assert!(billing.next() > Seq(4_900), "{}", billing.next());
    assert_eq!(ledger.consumer_next("billing").unwrap(), billing.next());
    assert!(billing.lag() <= 1);
}

#[test]
fn rule_28_an_event_that_is_set_aside_holds_up_nobody() {
    let machine = Machine::new(6);
    let ledger = machine.open();
    for n in 0..4 {
        taken(&ledger, n);
    }
    let mut billing = ledger.consumer("billing").unwrap();
    let events = polled(&mut billing);
    billing.park(events[1].seq, "no such customer").unwrap();
    assert_eq!(billing.next(), Seq::FIRST, "the cursor does not move");
    billing.park(events[2].seq, "a bug").unwrap();
    billing.commit(events[3].seq).unwrap();
    let parked = |ledger: &Ledger| {
        let parked = ledger.parked("billing").unwrap();
        parked.into_iter().map(|it| (it.event, it.why)).collect::<Vec<_>>()
    };
    let both = vec![
        (events[1].clone(), "no such customer".to_owned()),
        (events[2].clone(), "a bug".to_owned()),
    ];
    assert_eq!(parked(&ledger), both);
    assert!(ledger.parked("mail").unwrap().is_empty());
    drop(billing);
    ledger.close().unwrap();
    let ledger = machine.open();
    assert_eq!(parked(&ledger), both);
    let mut billing = ledger.consumer("billing").unwrap();
    assert!(polled(&mut billing).is_empty(), "they are not delivered again");
    billing.unpark(events[2].seq).unwrap();
    assert_eq!(parked(&ledger), both[..1]);
    let error = billing.unpark(events[2].seq).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotDelivered { .. }));
    let error = billing.park(events[0].seq, "too late").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotDelivered { .. }));
    let long = "x".repeat(513);
    taken(&ledger, 9);
    let event = polled(&mut billing).remove(0);
    let error = billing.park(event.seq, &long).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid { .. }));
}

fn real() -> (tempfile::TempDir, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let options = order_ledger::Options::new().segment_bytes(1024 * 1024);
    let ledger = options.open(dir.path().join("orders.ledger")).unwrap();
    (dir, ledger)
}

#[test]
fn a_consumer_that_waits_is_woken_by_the_next_event() {
    let (_dir, ledger) = real();
    let mut billing = ledger.consumer("billing").unwrap();
    assert!(billing.poll(1, Duration::from_millis(20)).unwrap().is_empty(), "nothing came");
    std::thread::scope(|scope| {
        let (got, has) = mpsc::channel();
        scope.spawn(move || {
            for _ in 0..50 {
                let events = billing.poll(1, Duration::from_secs(60)).unwrap();
                billing.commit(events[0].seq).unwrap();
                got.send(events[0].order).unwrap();
            }
        });
        for n in 0..50 {
            let id = taken(&ledger, n);
            assert_eq!(has.recv_timeout(Duration::from_secs(30)).unwrap(), id);
        }
    });
}

#[test]
fn rule_29_wait_for_wakes_when_the_order_gets_there() {
    let (_dir, ledger) = real();
    let started = Instant::now();
    let id = taken(&ledger, 1);
    let wait = |states: &[State], ms| {
        ledger.wait_for(id, states, Duration::from_millis(ms)).unwrap().state
    };
    assert_eq!(wait(&[State::Accepted], 60_000), State::Accepted, "at once");
    assert_eq!(wait(&[State::Completed], 20), State::Accepted, "in vain");
    std::thread::scope(|scope| {
        let waits: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| wait(&[State::PartlyDone, State::Completed], 60_000)))
            .collect();
        moved(&ledger, id, State::Confirmed);
        moved(&ledger, id, State::InProgress);
        let other = taken(&ledger, 2);
        moved(&ledger, other, State::Completed);
        moved(&ledger, id, State::PartlyDone);
        for wait in waits {
            assert_eq!(wait.join().unwrap(), State::PartlyDone);
        }
    });
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| wait(&[State::Completed], 60_000));
        moved(&ledger, id, State::Failed);
        assert_eq!(waits.join().unwrap(), State::Failed, "it can't get there any more");
    });
    // Nobody slept until his time was over.
    assert!(started.elapsed() < Duration::from_secs(30));
    let no_such = OrderId::new(0, Seq(99));
    let error = ledger.wait_for(no_such, &[State::Failed], Duration::ZERO).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoSuchOrder { .. }));
}

/// Effect to prevent: a service that waits for events, or for an order, sleeps on after the end.
#[test]
fn who_waits_is_told_that_the_ledger_is_closed() {
    let (_dir, ledger) = real();
    let id = taken(&ledger, 1);
    let mut billing = ledger.consumer("billing").unwrap();
    billing.poll(10, Duration::ZERO).unwrap();
    let handle = ledger.clone();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let polls = scope.spawn(move || billing.poll(1, Duration::from_secs(60)));
        let waits =
            scope.spawn(move || handle.wait_for(id, &[State::Failed], Duration::from_secs(60)));
        std::thread::park_timeout(Duration::from_millis(50));
        ledger.clone().close().unwrap();
        assert!(matches!(polls.join().unwrap().unwrap_err().kind(), ErrorKind::Closed));
        assert!(matches!(waits.join().unwrap().unwrap_err().kind(), ErrorKind::Closed));
    });
    assert!(started.elapsed() < Duration::from_secs(30));
}

/// Effect to prevent: a consumer that stands still fills memory, or makes those who submit wait.
#[test]
fn a_consumer_that_stands_still_is_in_nobodys_way() {
    let machine = Machine::new(7);
    let ledger = machine.open();
    let mut stuck = ledger.consumer("stuck").unwrap();
    taken(&ledger, 0);
    let first = stuck.poll(1, Duration::ZERO).unwrap();
    let orders: Vec<_> = (1..3_000).map(order).collect();
    assert!(ledger.submit_many(&orders).iter().all(Result::is_ok));
    ledger.tick();
    assert_eq!(stuck.lag(), 2_999);
    stuck.commit(first[0].seq).unwrap();
    assert_eq!(polled(&mut stuck).len(), 2_999, "and nothing is lost for it");
}
