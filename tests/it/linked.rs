//! Linked batches: all or nothing across any crash, once under their key (SEMANTICS rules 23 and 26).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use order_ledger::disk::sim::{Crash, CrashMode, Fault};
use order_ledger::{
    Certainty, Committed, Error, ErrorKind, EventBody, How, Ledger, Linked, LinkedBatch,
    LinkedResult, Note, NoteKind, Options, OrderId, Outcome, Reader, Refusal, Resolution,
    Soundness, State, Submission, Transition, Transitioned, Validator, Verdict, verify_on,
};

use crate::support::{Machine, order, small};

fn taken(ledger: &Ledger, n: u64) -> OrderId {
    ledger.submit(&order(n)).unwrap().receipt.order
}

fn state(ledger: &Ledger, order: OrderId) -> State {
    ledger.get(order).unwrap().unwrap().now.state
}

fn submitted(linked: &Linked, index: usize) -> Outcome {
    match linked.results[index] {
        LinkedResult::Submitted(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

fn moved(linked: &Linked, index: usize) -> Transitioned {
    match linked.results[index] {
        LinkedResult::Moved(step) => step,
        other => panic!("{other:?}"),
    }
}

/// A batch of two orders and a step of `cart`.
fn split(cart: OrderId) -> LinkedBatch {
    LinkedBatch::new("split")
        .submit(order(101))
        .transition(Transition::new(cart, State::Completed).command_key("done").reason("split"))
        .submit(order(102))
}

/// The error, of which nothing was recorded.
fn refused(ledger: &Ledger, batch: &LinkedBatch) -> Error {
    let records = ledger.stats().unwrap().records;
    let error = ledger.linked(batch).unwrap_err();
    assert_eq!(error.certainty(), Certainty::NotRecorded, "{error}");
    assert!(!error.to_string().is_empty() && !error.advice().is_empty());
    assert_eq!(ledger.stats().unwrap().records, records, "{error}");
    error
}

fn refused_member(ledger: &Ledger, batch: &LinkedBatch) -> (usize, ErrorKind) {
    match refused(ledger, batch).kind() {
        ErrorKind::BatchMember { index, why } => (*index, (**why).clone()),
        other => panic!("{other:?}"),
    }
}

fn assert_sound(machine: &Machine) {
    let report = verify_on(machine.disk.as_disk(), &machine.host, &mut |_, _| {}).unwrap();
    assert_eq!(report.soundness(), Soundness::Sound, "{report:?}");
}

#[test]
fn rule_23_a_batch_is_recorded_as_a_whole_and_told_the_same_way_ever_after() {
    let machine = Machine::new(1);
    let ledger = machine.open();
    let cart = taken(&ledger, 1);
    let batch = split(cart);
    let first = ledger.linked(&batch).unwrap();
    assert_eq!((first.how, first.results.len()), (How::Fresh, 3));
    let parcels = [submitted(&first, 0), submitted(&first, 2)];
    let step = moved(&first, 1);
    assert!(parcels.iter().all(|parcel| parcel.how == How::Fresh));
    assert_eq!(
        (step.order, step.from, step.to, step.version),
        (cart, State::Accepted, State::Completed, 2)
    );
    // The head, then the members, in order, without anything in between.
    let seqs = [parcels[0].receipt.order.seq(), step.seq, parcels[1].receipt.order.seq()];
    let head = first.batch.0;
    assert_eq!(seqs.map(|seq| seq.0), [head + 1, head + 2, head + 3]);
    let told = |ledger: &Ledger| {
        let again = ledger.linked(&batch).unwrap();
        assert_eq!((again.how, again.batch, again.at), (How::Replayed, first.batch, first.at));
        for (index, parcel) in [(0, parcels[0]), (2, parcels[1])] {
            assert_eq!(submitted(&again, index).receipt, parcel.receipt);
            // Each order by its own key as well, as if it had come alone.
            let alone = ledger.submit(&order(if index == 0 { 101 } else { 102 })).unwrap();
            assert_eq!((alone.how, alone.receipt), (How::Replayed, parcel.receipt));
            let read = ledger.get(parcel.receipt.order).unwrap().unwrap();
            assert_eq!(read.batch, Some(first.batch));
        }
        assert_eq!(moved(&again, 1).seq, step.seq);
        assert_eq!(ledger.get(cart).unwrap().unwrap().batch, None, "the order was taken before");
        let last = ledger.history(cart).unwrap().pop().unwrap();
        assert_eq!(last.batch, Some(first.batch));
        assert!(matches!(&last.body, EventBody::Moved { reason, .. } if reason == "split"));
        let found = ledger.batch("split").unwrap().unwrap();
        assert_eq!((found.batch, found.at, &found.key[..]), (first.batch, first.at, &b"split"[..]));
        assert_eq!(found.events.iter().map(|event| event.seq).collect::<Vec<_>>(), seqs);
        assert_eq!(ledger.batch_at(first.batch).unwrap(), Some(found));
        assert_eq!(ledger.batch_at(first.batch.next()).unwrap(), None, "a member is no batch");
        assert_eq!(ledger.batch("other").unwrap(), None);
    };
    told(&ledger);
    assert_eq!(ledger.stats().unwrap().fresh, 3, "orders are counted one by one");
    // Members go their ways; the answer of the batch stays.
    ledger.transition(&Transition::new(parcels[0].receipt.order, State::Failed)).unwrap();
    told(&ledger);
    assert_eq!(submitted(&ledger.linked(&batch).unwrap(), 0).now.state, State::Failed);
    ledger.close().unwrap();
    assert_sound(&machine);
    told(&machine.open());
    // From sealed segments and merged tables.
    let ledger = machine.open();
    for n in 1000..1800 {
        taken(&ledger, n);
        ledger.tick();
    }
    assert!(ledger.stats().unwrap().segments > 2);
    told(&ledger);
    ledger.close().unwrap();
    assert_sound(&machine);
    let reader = Reader::open_on(machine.disk.as_disk(), &machine.host).unwrap();
    assert_eq!(reader.batch("split").unwrap().unwrap().events.len(), 3);
    assert_eq!(reader.batch_at(first.batch).unwrap(), reader.batch("split").unwrap());
}

/// Effect to prevent: a part of it is recorded, or a member is taken twice.
#[test]
fn rule_23_the_first_member_that_cant_be_taken_is_named_and_nothing_is_recorded() {
    let machine = Machine::new(2);
    let ledger = machine.open();
    let (cart, done) = (taken(&ledger, 1), taken(&ledger, 2));
    ledger.transition(&Transition::new(done, State::Completed).command_key("c")).unwrap();
    let nobody = OrderId::new(0, order_ledger::Seq(999));
    let step = |order, to| Transition::new(order, to);
    let empty = || LinkedBatch::new("k").submit(order(50));
    let (index, why) = refused_member(&ledger, &empty().transition(step(done, State::Failed)));
    assert_eq!((index, matches!(why, ErrorKind::AlreadyTerminal { .. })), (1, true));
    let two = empty().transition(step(nobody, State::Failed)).transition(step(done, State::Failed));
    let (index, why) = refused_member(&ledger, &two);
    assert_eq!((index, matches!(why, ErrorKind::NoSuchOrder { .. })), (1, true), "the first one");
    let wrong = step(cart, State::Completed).expect_version(9);
    let (index, why) = refused_member(&ledger, &empty().transition(wrong));
    assert_eq!((index, matches!(why, ErrorKind::VersionMismatch { .. })), (1, true));
    let (index, why) = refused_member(&ledger, &empty().submit(Submission::new("", "k", "x")));
    assert_eq!((index, matches!(why, ErrorKind::Invalid { .. })), (1, true));
    // What cannot be a batch at all.
    let too_many = (0..4097).fold(LinkedBatch::new("k"), |batch, n| batch.submit(order(n + 1000)));
    let half = |n: u8| Submission::new("web", vec![n], vec![n; 8 * 1024 * 1024]);
    for broken in [
        LinkedBatch::new("k"),
        LinkedBatch::new("").submit(order(50)),
        LinkedBatch::new([7; 256]).submit(order(50)),
        too_many,
        LinkedBatch::new("k").submit(half(1)).submit(half(2)),
        empty().submit(order(50).account("another")),
        empty().transition(step(cart, State::Confirmed)).transition(step(cart, State::Completed)),
    ] {
        let error = refused(&ledger, &broken);
        assert!(matches!(error.kind(), ErrorKind::Invalid { .. }), "{error}");
    }
    // What is there already, by key or by command.
    let existing = empty()
        .submit(order(1))
        .transition(step(done, State::Completed).command_key("c"))
        .submit(order(2).account("other content"));
    let error = refused(&ledger, &existing);
    let ErrorKind::BatchConflict { existing } = error.kind() else { panic!("{error}") };
    assert_eq!(existing.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(existing[0].1, cart.seq());
    // All keys are free after so much: also that of the batch.
    let good = empty().transition(step(cart, State::Completed));
    assert_eq!(ledger.linked(&good).unwrap().how, How::Fresh);
    let error = refused(&ledger, &empty().submit(order(51)));
    assert!(matches!(error.kind(), ErrorKind::BatchKeyConflict { .. }), "{error}");
    let error = refused(&ledger, &empty());
    assert!(matches!(error.kind(), ErrorKind::BatchKeyConflict { .. }), "fewer members: {error}");
    assert_eq!(ledger.linked(&good).unwrap().how, How::Replayed);
}

/// The largest batch that is allowed: 4,096 members, in one group.
#[test]
fn rule_23_a_batch_at_its_limits_is_taken() {
    let machine = Machine::new(3);
    let ledger = machine.open();
    let batch = (0..4096).fold(LinkedBatch::new([9; 255]), |batch, n| batch.submit(order(n)));
    let groups = ledger.stats().unwrap().groups;
    let first = ledger.linked(&batch).unwrap();
    assert_eq!(first.results.len(), 4096);
    assert_eq!(ledger.stats().unwrap().groups, groups + 1);
    let large =
        LinkedBatch::new("large").submit(Submission::new("web", "l", vec![7; (16 << 20) - 100]));
    ledger.linked(&large).unwrap();
    ledger.close().unwrap();
    assert_sound(&machine);
    let ledger = machine.open();
    let again = ledger.linked(&batch).unwrap();
    assert_eq!((again.how, again.batch), (How::Replayed, first.batch));
    assert_eq!(submitted(&again, 4095).receipt, submitted(&first, 4095).receipt);
    assert_eq!(ledger.linked(&large).unwrap().how, How::Replayed);
}

/// The power goes at every call, in every way that a disk keeps or loses what was not synced, and once more
/// while the ledger is opened again. All of the batch is there or nothing; what was acknowledged is there.
#[test]
fn rule_23_all_or_nothing_whenever_the_power_goes() {
    let (mut whole, mut nothing, mut calls_max) = (0, 0, 0);
    let modes = [
        CrashMode::DropAll,
        CrashMode::KeepAll,
        CrashMode::Prefix,
        CrashMode::Random,
        CrashMode::Adversarial,
    ];
    for mode in modes {
        // With a batch that needs a segment of its own, and one that fits into the one that is open.
        for payload_bytes in [10, 30_000] {
            for call in 1.. {
                let machine = Machine::new(call);
                let ledger = machine.open();
                let cart = taken(&ledger, 1);
                let mut worker = ledger.consumer("worker").unwrap();
                let event = worker.poll(9, Duration::ZERO).unwrap()[0].seq;
                let parcel =
                    |n: u64| Submission::new("web", format!("key-{n}"), vec![b'x'; payload_bytes]);
                let batch = LinkedBatch::new("split")
                    .submit(parcel(101))
                    .transition(Transition::new(cart, State::Completed))
                    .submit(parcel(102))
                    .submit(parcel(103));
                machine.disk.power_off_after(call);
                let answer = worker.commit_with(event, batch.clone());
                let went_off = machine.disk.is_off();
                drop((worker, ledger));
                machine.disk.crash(Crash::new(mode, call));
                // Once more, somewhere in the middle of opening.
                machine.disk.power_off_after(1 + call * 7 % 23);
                drop(machine.open_with(&small()));
                machine.disk.crash(Crash::new(mode, call + 1));
                let ledger = machine.open();
                let parts = [
                    ledger.by_key("web", "key-101").unwrap().is_some(),
                    ledger.by_key("web", "key-102").unwrap().is_some(),
                    ledger.by_key("web", "key-103").unwrap().is_some(),
                    state(&ledger, cart) == State::Completed,
                    ledger.consumer_next("worker").unwrap() > event,
                    ledger.batch("split").unwrap().is_some(),
                ];
                let is_there = parts[0];
                assert_eq!(parts, [is_there; 6], "{mode:?}, call {call}");
                assert!(is_there || answer.is_err(), "{mode:?}, call {call}: it was acknowledged");
                *(if is_there { &mut whole } else { &mut nothing }) += 1;
                // Sent again it is there, once.
                let mut worker = ledger.consumer("worker").unwrap();
                let events = worker.poll(99, Duration::ZERO).unwrap();
                if is_there {
                    assert!(events.iter().all(|it| it.seq > event));
                } else {
                    assert_eq!(events[0].seq, event);
                    assert_eq!(worker.commit_with(event, batch.clone()).unwrap().how, How::Fresh);
                }
                assert_eq!(ledger.orders().count(), 4);
                drop(worker);
                ledger.close().unwrap();
                assert_sound(&machine);
                if !went_off {
                    answer.unwrap();
                    calls_max = calls_max.max(call);
                    break;
                }
            }
        }
    }
    assert!(whole > 10 && nothing > 10, "{whole} whole, {nothing} not there, {calls_max} calls");
}

/// Every call fails once, in every way: what is answered is true, and after opening again all of the batch is
/// there or nothing.
#[test]
fn rule_23_all_or_nothing_whatever_fails() {
    for fault in [Fault::Eio, Fault::Enospc, Fault::ShortWrite] {
        for call in 1.. {
            let machine = Machine::new(call);
            let ledger = machine.open();
            let cart = taken(&ledger, 1);
            let before = machine.disk.io_calls();
            machine.disk.fail_call(call, fault);
            let batch = split(cart);
            let answer = ledger.linked(&batch);
            let calls = machine.disk.io_calls() - before;
            if let Err(error) = &answer {
                match error.certainty() {
                    Certainty::NotRecorded => {
                        assert_eq!(ledger.by_key("web", "key-101").unwrap(), None);
                    }
                    Certainty::Unknown => {
                        // Nobody may take the keys of its members meanwhile.
                        let error = ledger.by_key("web", "key-101").unwrap_err();
                        assert!(matches!(error.kind(), ErrorKind::InDoubt { .. }));
                        let error = ledger.submit(&order(102)).unwrap_err();
                        assert_eq!(error.certainty(), Certainty::Unknown, "{error}");
                        let step = Transition::new(cart, State::Failed);
                        assert_eq!(
                            ledger.transition(&step).unwrap_err().certainty(),
                            Certainty::Unknown
                        );
                        assert!(ledger.batch("split").is_err());
                    }
                    Certainty::Recorded(_) => panic!("{error}"),
                }
            }
            drop(ledger.close());
            let ledger = machine.open();
            let is_there = ledger.by_key("web", "key-101").unwrap().is_some();
            assert_eq!(ledger.by_key("web", "key-102").unwrap().is_some(), is_there);
            assert_eq!(state(&ledger, cart) == State::Completed, is_there);
            assert!(is_there || answer.is_err(), "{fault:?} at call {call}");
            let again = ledger.linked(&batch).unwrap();
            assert_eq!(again.how == How::Replayed, is_there);
            assert_eq!(ledger.orders().count(), 3);
            if call > calls {
                break;
            }
        }
    }
}

/// One batch from many threads, its orders and its cart from many others: one batch, or each part from
/// somebody else, and never a mixture.
#[test]
fn rule_23_threads_that_touch_the_same_orders_never_share_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Options::new().open(dir.path().join("orders.ledger")).unwrap();
    let (batches, others) = (AtomicU64::new(0), AtomicU64::new(0));
    for round in 0..60u64 {
        let cart = ledger.submit(&order(round * 10)).unwrap().receipt.order;
        let batch = LinkedBatch::new(format!("b{round}"))
            .submit(order(round * 10 + 1))
            .transition(Transition::new(cart, State::Completed).expect_version(1))
            .submit(order(round * 10 + 2));
        let answers = std::thread::scope(|scope| {
            let linked: Vec<_> = (0..3).map(|_| scope.spawn(|| ledger.linked(&batch))).collect();
            let alone = scope.spawn(|| ledger.submit(&order(round * 10 + 2)));
            let step = scope.spawn(|| {
                ledger.transition(&Transition::new(cart, State::Confirmed).expect_version(1))
            });
            let linked: Vec<_> = linked.into_iter().map(|it| it.join().unwrap()).collect();
            (linked, alone.join().unwrap().unwrap(), step.join().unwrap())
        });
        let (linked, alone, step) = answers;
        let found = ledger.batch(format!("b{round}")).unwrap();
        let fresh = linked.iter().flatten().filter(|it| it.how == How::Fresh).count();
        let at = found.as_ref().map(|it| it.batch);
        let member = ledger.get(alone.receipt.order).unwrap().unwrap();
        match found {
            Some(found) => {
                assert_eq!((fresh, found.events.len()), (1, 3));
                assert!(linked.iter().all(|it| it.as_ref().unwrap().batch == found.batch));
                assert_eq!((member.batch, alone.how != How::Fresh), (at, true));
                assert!(step.is_err(), "the batch was first");
                batches.fetch_add(1, Ordering::Relaxed);
            }
            None => {
                assert!(linked.iter().all(Result::is_err));
                assert_eq!(ledger.by_key("web", format!("key-{}", round * 10 + 1)).unwrap(), None);
                assert!(member.batch.is_none() && (alone.how == How::Fresh || step.is_ok()));
                others.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    assert_eq!(batches.into_inner() + others.into_inner(), 60);
    ledger.close().unwrap();
}

struct NoTea(Arc<AtomicU64>);

impl Validator for NoTea {
    fn validate(&self, order: &Submission, _: &Committed<'_>) -> Verdict {
        self.0.fetch_add(1, Ordering::Relaxed);
        match order.payload() {
            b"tea" => Verdict::RefuseFinal(Refusal { code: 7, reason: "no tea".into() }),
            b"later" => Verdict::RefuseForNow { reason: "later".into() },
            _ => Verdict::Accept,
        }
    }
}

#[test]
fn rule_15_a_validator_refuses_the_batch_and_is_not_asked_about_a_repeat() {
    let machine = Machine::new(5);
    let asked = Arc::new(AtomicU64::new(0));
    let ledger = machine.open_with(&small().validator(NoTea(Arc::clone(&asked)))).unwrap();
    let batch = |payload: &str| {
        LinkedBatch::new("k").submit(order(1)).submit(Submission::new("web", "x", payload))
    };
    for (payload, words) in [("tea", "no tea"), ("later", "later")] {
        let (index, why) = refused_member(&ledger, &batch(payload));
        assert_eq!((index, why), (1, ErrorKind::RefusedForNow { reason: words.into() }));
    }
    ledger.linked(&batch("cups")).unwrap();
    let count = asked.load(Ordering::Relaxed);
    assert_eq!(count, 6);
    ledger.linked(&batch("cups")).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), count);
}

/// A full queue keeps the whole batch out, and one that takes no orders has the lane of those that exist.
#[test]
fn rule_33_a_batch_enters_the_queue_as_a_whole() {
    let machine = Machine::new(6);
    let options = small().queue_orders_max(4).client_share_percent(100);
    let ledger = machine.open_with(&options).unwrap();
    let cart = taken(&ledger, 1);
    let three = LinkedBatch::new("three").submit(order(11)).submit(order(12)).submit(order(13));
    let tickets = [ledger.submit_deferred(&order(2)), ledger.submit_deferred(&order(3))];
    let error = refused(&ledger, &three);
    assert!(matches!(error.kind(), ErrorKind::Overloaded { .. }), "{error}");
    let steps = LinkedBatch::new("steps").transition(Transition::new(cart, State::Completed));
    let done = ledger.linked(&steps).unwrap();
    assert_eq!(moved(&done, 0).to, State::Completed);
    drop(tickets);
    ledger.pump();
    // Room again, counted right: as often as one likes.
    for n in 0..10 {
        let batch =
            LinkedBatch::new(format!("b{n}")).submit(order(100 + 2 * n)).submit(order(101 + 2 * n));
        assert_eq!(ledger.linked(&batch).unwrap().how, How::Fresh);
        assert_eq!(ledger.linked(&batch).unwrap().how, How::Replayed);
    }
}

#[test]
fn rule_26_a_cursor_moves_with_the_batch_that_follows_from_the_event() {
    let machine = Machine::new(7);
    let ledger = machine.open();
    let orders: Vec<_> = (0..5).map(|n| taken(&ledger, n)).collect();
    let mut desk = ledger.consumer("desk").unwrap();
    let events = desk.poll(99, Duration::ZERO).unwrap();
    let confirm = |n: usize| {
        LinkedBatch::new(format!("desk/{}", events[n].seq))
            .transition(Transition::new(events[n].order, State::Confirmed))
    };
    desk.commit_with(events[0].seq, confirm(0)).unwrap();
    assert_eq!(ledger.consumer_next("desk").unwrap(), events[1].seq);
    assert_eq!(state(&ledger, orders[0]), State::Confirmed);
    // Behind it as by `commit`: what lies before is done as well, and what was not delivered is refused.
    desk.commit_with(events[2].seq, confirm(2)).unwrap();
    assert_eq!(ledger.consumer_next("desk").unwrap(), events[3].seq);
    assert_eq!(state(&ledger, orders[1]), State::Accepted);
    for done in [events[0].seq, events[2].seq, ledger.stats().unwrap().last_seq.unwrap()] {
        let error = desk.commit_with(done, confirm(3)).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::NotDelivered { seq: done });
    }
    // A cursor alone is a batch, too.
    desk.commit_with(events[3].seq, LinkedBatch::new("alone")).unwrap();
    // The older handle is fenced, and nothing of its batch is recorded.
    let mut other = ledger.consumer("desk").unwrap();
    let again = other.poll(99, Duration::ZERO).unwrap();
    assert_eq!(again[0], events[4]);
    let error = desk.commit_with(events[4].seq, confirm(4)).unwrap_err();
    let ErrorKind::BatchMember { index: 1, why } = error.kind() else { panic!("{error}") };
    assert!(matches!(**why, ErrorKind::Fenced { .. }));
    assert_eq!(state(&ledger, orders[4]), State::Accepted);
    other.commit_with(events[4].seq, confirm(4)).unwrap();
    assert_eq!(state(&ledger, orders[4]), State::Confirmed);
}

/// The feed shows what a batch did, one event for each member, and its own head never.
/// The story: the place of the consumer could not be read, and the answer was that the member behind the last one
/// can't be taken, as if another handle had taken over. A consumer that stops when it is fenced would have stopped
/// for one failing read. Found by the fuzz target `ops_crash`.
#[test]
fn rule_26_a_cursor_that_can_not_be_read_is_not_called_a_member_that_can_not_be_taken() {
    let mut unread = 0;
    for call in 1.. {
        let machine = Machine::new(call);
        let ledger = machine.open();
        taken(&ledger, 1);
        let mut desk = ledger.consumer("desk").unwrap();
        let seq = desk.poll(1, Duration::ZERO).unwrap()[0].seq;
        // So that where the consumer stands is in another file of the log.
        for n in 10..14 {
            let large = Submission::new("web", format!("large-{n}"), vec![7; 40_000]);
            ledger.submit(&large).unwrap();
        }
        let before = machine.disk.io_calls();
        machine.disk.fail_from(call, Fault::Eio);
        let batch = LinkedBatch::new("alone").submit(order(2));
        let answer = desk.commit_with(seq, batch.clone());
        let calls = machine.disk.io_calls() - before;
        machine.disk.clear_faults();
        if let Err(error) = &answer {
            let is_of_a_member = matches!(error.kind(), ErrorKind::BatchMember { .. });
            assert!(!is_of_a_member, "at call {call}: {error}");
            if matches!(error.kind(), ErrorKind::Io { .. }) {
                assert_eq!(error.certainty(), Certainty::Unknown, "{error}");
                // Nothing was wrong but the read.
                assert_eq!(desk.commit_with(seq, batch).unwrap().how, How::Fresh);
                unread += 1;
            }
        }
        if call > calls {
            break;
        }
    }
    assert!(unread > 0, "the place of the consumer was never read from the disk");
}

#[test]
fn rule_25_consumers_see_the_members_of_a_batch_and_wait_for_wakes() {
    let machine = Machine::new(8);
    let ledger = machine.open();
    let cart = taken(&ledger, 1);
    let first = ledger.linked(&split(cart)).unwrap();
    let events: Vec<_> = ledger.events(first.batch).map(Result::unwrap).collect();
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| event.batch == Some(first.batch)));
    let mut mail = ledger.consumer("mail").unwrap();
    assert_eq!(mail.poll(99, Duration::ZERO).unwrap()[1..], events);
    let dir = tempfile::tempdir().unwrap();
    let ledger = Options::new().open(dir.path().join("orders.ledger")).unwrap();
    let cart = ledger.submit(&order(1)).unwrap().receipt.order;
    std::thread::scope(|scope| {
        let waits =
            scope.spawn(|| ledger.wait_for(cart, &[State::Completed], Duration::from_secs(60)));
        ledger.linked(&split(cart)).unwrap();
        assert_eq!(waits.join().unwrap().unwrap().state, State::Completed);
    });
}

/// A dispute is resolved by another order, or not at all.
#[test]
fn rule_23_notes_and_what_resolves_them_are_members_of_a_batch() {
    let machine = Machine::new(11);
    let ledger = machine.open();
    let cart = taken(&ledger, 1);
    let dispute = ledger.note(&Note::new(cart, NoteKind::Dispute, "broken")).unwrap().seq;
    let batch = LinkedBatch::new("mend")
        .submit(order(2).corrects(cart))
        .note(Note::new(cart, NoteKind::Note, "a new cup").author("desk").command_key("n"))
        .resolve_note(Resolution::new(cart, dispute, "sent").command_key("r"))
        .transition(Transition::new(cart, State::Completed).command_key("c"));
    let noted = |linked: &Linked, index: usize| match linked.results[index] {
        LinkedResult::Noted(noted) => noted,
        other => panic!("{other:?}"),
    };
    let check = |ledger: &Ledger, how: How| {
        let answer = ledger.linked(&batch).unwrap();
        assert_eq!(answer.how, how);
        let seqs = [1, 2].map(|index| noted(&answer, index).seq.0);
        assert_eq!(seqs, [answer.batch.0 + 2, answer.batch.0 + 3]);
        let notes = ledger.notes(cart).unwrap();
        assert_eq!(notes.len(), 2);
        assert_eq!(notes[0].resolution.as_ref().unwrap().seq.0, seqs[1]);
        assert_eq!((&notes[1].author[..], &notes[1].text[..]), (&b"desk"[..], &b"a new cup"[..]));
        assert_eq!(state(ledger, cart), State::Completed);
        assert_eq!(ledger.batch("mend").unwrap().unwrap().events.len(), 4);
    };
    // Nothing of it, while one of them can't be.
    let wrong = batch.clone().resolve_note(Resolution::new(cart, cart.seq(), "no note"));
    let (index, why) = refused_member(&ledger, &wrong);
    assert_eq!((index, matches!(why, ErrorKind::NoOpenNote { .. })), (4, true));
    let twice = batch.clone().note(Note::new(cart, NoteKind::Note, "x").command_key("c"));
    assert!(matches!(refused(&ledger, &twice).kind(), ErrorKind::Invalid { .. }));
    let twice = batch.clone().resolve_note(Resolution::new(cart, dispute, "again"));
    assert!(matches!(refused(&ledger, &twice).kind(), ErrorKind::Invalid { .. }));
    assert!(ledger.notes(cart).unwrap()[0].is_open());
    check(&ledger, How::Fresh);
    check(&ledger, How::Replayed);
    // Outside of the batch the same commands are known, and another batch that has them is told so.
    let alone = Note::new(cart, NoteKind::Note, "a new cup").author("desk").command_key("n");
    assert_eq!(ledger.note(&alone).unwrap().how, How::Replayed);
    let other = LinkedBatch::new("other").note(alone);
    assert!(matches!(refused(&ledger, &other).kind(), ErrorKind::BatchConflict { .. }));
    ledger.close().unwrap();
    assert_sound(&machine);
    check(&machine.open(), How::Replayed);
}
