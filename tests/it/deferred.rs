//! Tickets: joins, conflicts in flight, time-outs, drops (SEMANTICS rules 5, 6, 22, 36).

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use order_ledger::disk::sim::Fault;
use order_ledger::{Certainty, ErrorKind, Field, How, Options, Submission};

use crate::rig::{Call, Hooked};
use crate::support::{Machine, order};

struct CountingWaker(AtomicUsize);

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn rule_36_a_ticket_is_a_plain_future() {
    let machine = Machine::new(1);
    let ledger = machine.open();
    let woken = Arc::new(CountingWaker(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut ticket = ledger.submit_deferred(&order(1));
    assert!(Pin::new(&mut ticket).poll(&mut context).is_pending());
    assert!(Pin::new(&mut ticket).poll(&mut context).is_pending());
    assert_eq!(woken.0.load(Ordering::SeqCst), 0, "nothing is told before the sync");
    assert!(ledger.by_key("web", "key-1").unwrap().is_none(), "and nothing is shown");
    ledger.pump();
    assert_eq!(woken.0.load(Ordering::SeqCst), 1, "one wake-up for one waker");
    let Poll::Ready(outcome) = Pin::new(&mut ticket).poll(&mut context) else { panic!() };
    assert_eq!(outcome.unwrap().how, How::Fresh);
}

#[test]
fn rule_5_joins_share_one_record_and_one_receipt() {
    let machine = Machine::new(2);
    let ledger = machine.open();
    let mut tickets: Vec<_> = (0..64).map(|_| ledger.submit_deferred(&order(1))).collect();
    ledger.pump();
    let outcomes: Vec<_> = tickets.iter_mut().map(|ticket| ticket.wait(None).unwrap()).collect();
    let fresh = outcomes.iter().filter(|outcome| outcome.how == How::Fresh).count();
    assert_eq!((fresh, outcomes.len()), (1, 64));
    assert!(outcomes.iter().all(|outcome| outcome.receipt == outcomes[0].receipt));
    let stats = ledger.stats().unwrap();
    assert_eq!((stats.records, stats.groups, stats.joined), (1, 1, 63));
}

#[test]
fn rule_6_a_dropped_ticket_cancels_nothing() {
    let machine = Machine::new(3);
    let ledger = machine.open();
    let leader = ledger.submit_deferred(&order(1));
    let mut joiner = ledger.submit_deferred(&order(1));
    drop(leader);
    ledger.pump();
    assert_eq!(joiner.wait(None).unwrap().how, How::Joined);
    drop(ledger.submit_deferred(&order(2)));
    ledger.close().unwrap();
    assert_eq!(machine.open().submit(&order(2)).unwrap().how, How::Replayed);
}

/// The commit thread leaves alone what nobody waits for, in the hope of more: for half a millisecond.
#[test]
fn rule_6_what_nobody_waits_for_is_written_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let ledger =
        Options::new().segment_bytes(1 << 20).open(dir.path().join("orders.ledger")).unwrap();
    for number in 1..=3 {
        drop(ledger.submit_deferred(&order(number)));
        let written = || ledger.stats().unwrap().orders == number;
        let (never, nothing) = mpsc::channel::<()>();
        for _ in 0..10_000 {
            if written() {
                break;
            }
            assert!(nothing.recv_timeout(Duration::from_millis(1)).is_err());
        }
        drop(never);
        assert!(written(), "order {number}");
    }
}

#[test]
fn another_order_in_flight_under_the_key_decides_when_it_is_committed() {
    let machine = Machine::new(4);
    let ledger = machine.open();
    let mut first = ledger.submit_deferred(&order(1));
    let mut other = ledger.submit_deferred(
        &Submission::new("web", "key-1", "other").account("account-1").external_ref("PO-1"),
    );
    ledger.pump();
    let receipt = first.wait(None).unwrap().receipt;
    let error = other.wait(None).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Conflict { receipt, differs: vec![Field::Payload] });
}

/// The first order failed without being recorded: the other one goes on as a new submission.
#[test]
fn another_order_in_flight_under_the_key_goes_on_when_the_first_is_not_recorded() {
    let machine = Machine::new(5);
    let ledger = machine.open_with(&crate::support::small().disk_reserve_bytes(0)).unwrap();
    // Fill the segment, so that the next group needs a new one, and let that fail for want of room.
    let filler = Submission::new("web", "filler", vec![1; 59_000]);
    ledger.submit(&filler).unwrap();
    let big = Submission::new("web", "k", vec![2; 20_000]);
    let mut first = ledger.submit_deferred(&big);
    let mut other = ledger.submit_deferred(&Submission::new("web", "k", "small"));
    // The first call opens a descriptor to have one; from the second on a file is made.
    machine.disk.fail_call(2, Fault::Enospc);
    ledger.pump();
    let error = first.wait(None).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::DiskLow { .. }), "{error}");
    assert_eq!(error.certainty(), Certainty::NotRecorded);
    assert_eq!(other.wait(None).unwrap().how, How::Fresh);
    assert_eq!(ledger.by_key("web", "k").unwrap().unwrap().payload, b"small");
}

#[test]
fn a_time_out_leaves_the_outcome_unknown_and_the_commit_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().segment_bytes(1 << 20);
    let ledger = options.open(dir.path().join("orders.ledger")).unwrap();
    let mut ticket = ledger.submit_deferred(&order(1));
    // A wait of no time at all may find the answer there already; then there is nothing to see.
    if let Err(error) = ticket.wait(Some(Duration::ZERO)) {
        assert!(matches!(error.kind(), ErrorKind::InDoubt { .. }));
        assert_eq!(error.certainty(), Certainty::Unknown);
    }
    let outcome = ticket.wait(None).unwrap();
    let again = ledger.submit(&order(1)).unwrap();
    assert_eq!((again.how, again.receipt), (How::Replayed, outcome.receipt));
}

#[test]
fn rule_22_results_of_a_batch_are_independent_and_in_order() {
    let machine = Machine::new(6);
    let ledger = machine.open();
    ledger.submit(&order(9)).unwrap();
    let before = ledger.stats().unwrap().groups;
    let results = ledger.submit_many(&[
        order(1),
        order(2).account(vec![0; 65]),
        order(1),
        order(9),
        Submission::new("web", "key-9", "other").account("account-2").external_ref("PO-9"),
        order(3),
    ]);
    let how: Vec<_> = results.iter().map(|result| result.as_ref().ok().map(|it| it.how)).collect();
    assert_eq!(
        how,
        [Some(How::Fresh), None, Some(How::Joined), Some(How::Replayed), None, Some(How::Fresh)]
    );
    assert!(matches!(results[1].as_ref().unwrap_err().kind(), ErrorKind::Invalid { .. }));
    assert!(matches!(results[4].as_ref().unwrap_err().kind(), ErrorKind::Conflict { .. }));
    let receipt = |index: usize| results[index].as_ref().unwrap().receipt;
    assert_eq!(receipt(0), receipt(2));
    assert_eq!(receipt(5).order.seq().0, receipt(0).order.seq().0 + 1);
    assert_eq!(ledger.stats().unwrap().groups, before + 1, "one group, one sync");
}

#[test]
fn rule_22_a_batch_larger_than_the_queue_is_written_in_parts() {
    let machine = Machine::new(7);
    let options = crate::support::small().queue_orders_max(10);
    let ledger = machine.open_with(&options).unwrap();
    let orders: Vec<_> = (1..=100).map(order).collect();
    for result in ledger.submit_many(&orders) {
        assert_eq!(result.unwrap().how, How::Fresh);
    }
    assert_eq!(ledger.stats().unwrap().orders, 100);
}

/// Rule 40: one leads at a time. Whoever comes while a group is being written leaves the queue to its
/// writer; would he write as well, closing could be over before he is.
#[test]
fn rule_40_nobody_writes_while_somebody_else_does() {
    let (disk, host) = crate::rig::sim(40);
    let (in_sync, is_in_sync) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let (in_sync, may_go_on) = (Mutex::new(in_sync), Mutex::new(may_go_on));
    let armed = Arc::new(AtomicBool::new(false));
    let is_armed = Arc::clone(&armed);
    let hook = move |call: &Call| {
        if call.what == "sync" && is_armed.swap(false, Ordering::Relaxed) {
            in_sync.lock().unwrap().send(()).unwrap();
            may_go_on.lock().unwrap().recv().unwrap();
        }
    };
    let hooked = Hooked::new(disk.as_disk(), Arc::new(hook));
    let ledger = crate::rig::small().open_simulated(hooked, host.as_host()).unwrap();
    armed.store(true, Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| ledger.submit(&order(1)).unwrap());
        is_in_sync.recv().unwrap();
        let mut ticket = ledger.submit_deferred(&order(2));
        let (done, is_done) = mpsc::channel();
        let pump = ledger.clone();
        scope.spawn(move || {
            pump.pump();
            done.send(()).unwrap();
        });
        let returned = is_done.recv_timeout(Duration::from_secs(10));
        go_on.send(()).unwrap();
        assert!(returned.is_ok(), "it waits for the disk, so it is going to write");
        assert_eq!(ticket.wait(None).unwrap().how, How::Fresh);
    });
}
