//! Holds on clients and accounts: what is new is refused for good, what is there goes on, and both survive
//! everything (SEMANTICS rule 14, and the order of the checks in submit).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use order_ledger::disk::sim::{Crash, CrashMode};
use order_ledger::{
    Certainty, Committed, Error, ErrorKind, Hold, HoldEntry, How, Ledger, LinkedBatch, Outcome,
    Reader, Receipt, Refusal, Result, Seq, Soundness, State, Submission, Transition, Validator,
    Verdict, Views, verify_on,
};

use crate::support::{Machine, order, small};

fn from(client: &str, account: &str, key: &str) -> Submission {
    Submission::new(client, key, "2 x tea").account(account)
}

fn refused(answer: Result<Outcome>) -> (Receipt, Refusal) {
    let error = answer.unwrap_err();
    match error.kind() {
        ErrorKind::Refused { receipt, refusal } => {
            assert_eq!(error.certainty(), Certainty::Recorded(*receipt));
            (*receipt, refusal.clone())
        }
        other => panic!("{other:?}"),
    }
}

fn is_taken(ledger: &Ledger, order: &Submission) -> bool {
    match ledger.submit(order) {
        Ok(outcome) => outcome.how == How::Fresh,
        Err(error) => {
            let (_, refusal) = refused(Err(error));
            assert_eq!(refusal.code, Refusal::HELD);
            false
        }
    }
}

fn records(ledger: &Ledger) -> u64 {
    ledger.stats().unwrap().records
}

fn scopes(holds: &[HoldEntry]) -> Vec<(&str, &str, &str)> {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    holds.iter().map(|it| (text(&it.client), text(&it.account), &*it.reason)).collect()
}

fn assert_sound(machine: &Machine) {
    let report = verify_on(machine.disk.as_disk(), &machine.host, &mut |_, _| {}).unwrap();
    assert_eq!(report.soundness(), Soundness::Sound, "{:?}", report.findings);
}

/// Effect to prevent: an order of a held account is taken, or its refusal turns into an order later.
#[test]
fn rule_14_an_order_of_a_held_account_is_refused_for_good_and_replayed_for_ever() {
    let machine = Machine::new(1);
    let ledger = machine.open();
    let hold = Hold::client("web").account("ALFKI").reason("chargeback").by("N. Davolio");
    let held = ledger.hold(&hold).unwrap();
    assert_eq!((held.seq, held.how), (Some(Seq(1)), How::Fresh));
    let (receipt, refusal) = refused(ledger.submit(&from("web", "ALFKI", "a")));
    assert_eq!(refusal, Refusal { code: Refusal::HELD, reason: "chargeback".into() });
    assert_eq!((receipt.first_state, receipt.order.seq()), (State::Refused, Seq(2)));
    let batch = ["b", "c", "d"].map(|key| from("web", "ALFKI", key));
    assert!(ledger.submit_many(&batch).into_iter().all(|answer| refused(answer).1 == refusal));
    let mut ticket = ledger.submit_deferred(&from("web", "ALFKI", "e"));
    assert_eq!(refused(ticket.wait(None)).1, refusal);
    let replays = |ledger: &Ledger| {
        let before = records(ledger);
        let (again, why) = refused(ledger.submit(&from("web", "ALFKI", "a")));
        assert_eq!((again.to_bytes(), why), (receipt.to_bytes(), refusal.clone()));
        let found = ledger.by_key("web", "a").unwrap().unwrap();
        assert_eq!((found.now.state, found.refusal), (State::Refused, Some(refusal.clone())));
        // Other content is a conflict, as ever.
        let other = Submission::new("web", "a", "coffee").account("ALFKI");
        let error = ledger.submit(&other).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Conflict { .. }), "{error}");
        assert_eq!(records(ledger), before);
    };
    replays(&ledger);
    let released = ledger.release(&hold).unwrap();
    assert_eq!(released.how, How::Fresh);
    replays(&ledger);
    assert!(is_taken(&ledger, &from("web", "ALFKI", "f")), "a new key is a new order");
    ledger.close().unwrap();
    let ledger = machine.open();
    replays(&ledger);
    assert_eq!(ledger.holds().unwrap(), []);
    ledger.close().unwrap();
    assert_sound(&machine);
}

#[test]
fn a_hold_is_of_a_client_an_account_of_it_or_an_account_of_any() {
    let machine = Machine::new(2);
    let ledger = machine.open();
    let mut n = 0;
    let mut takes = |ledger: &Ledger| {
        n += 1;
        let key = format!("key-{n}");
        let who = [("web", "A"), ("web", "B"), ("web", ""), ("till", "A"), ("till", "")];
        who.map(|(client, account)| {
            is_taken(ledger, &from(client, account, &format!("{key} of {account}")))
        })
    };
    assert_eq!(takes(&ledger), [true; 5]);
    let (web, web_a) = (Hold::client("web"), Hold::client("web").account("A"));
    let a = Hold::any_client("A");
    ledger.hold(&web_a.clone().reason("one")).unwrap();
    assert_eq!(takes(&ledger), [false, true, true, true, true]);
    ledger.hold(&a.clone().reason("two")).unwrap();
    assert_eq!(takes(&ledger), [false, true, true, false, true]);
    ledger.hold(&web.clone().reason("three")).unwrap();
    assert_eq!(takes(&ledger), [false, false, false, false, true]);
    let all = [("web", "A", "one"), ("", "A", "two"), ("web", "", "three")];
    assert_eq!(scopes(&ledger.holds().unwrap()), all);
    // The client's own reason is what is said.
    assert_eq!(refused(ledger.submit(&from("web", "A", "which"))).1.reason, "three");
    ledger.close().unwrap();
    let ledger = machine.open();
    let reader = Reader::open_on(machine.disk.as_disk(), &machine.host).unwrap();
    assert_eq!(reader.holds().unwrap(), ledger.holds().unwrap());
    assert_eq!(scopes(&ledger.holds().unwrap()), all);
    // Each scope is released by itself.
    ledger.release(&web).unwrap();
    assert_eq!(takes(&ledger), [false, true, true, false, true]);
    ledger.release(&web_a).unwrap();
    assert_eq!(takes(&ledger), [false, true, true, false, true]);
    ledger.release(&a).unwrap();
    assert_eq!(takes(&ledger), [true; 5]);
    // No two scopes are taken for each other.
    ledger.hold(&Hold::client("we").account("bA")).unwrap();
    ledger.hold(&Hold::client("A")).unwrap();
    ledger.hold(&Hold::any_client("web")).unwrap();
    assert_eq!(takes(&ledger), [true; 5]);
}

#[test]
fn holding_what_is_held_and_releasing_what_is_free_write_nothing() {
    let machine = Machine::new(3);
    let ledger = machine.open();
    let hold = Hold::client("web").reason("fraud").by("A");
    let never = ledger.release(&hold).unwrap();
    assert_eq!((never.seq, never.at, never.how), (None, None, How::Replayed));
    assert_eq!(records(&ledger), 0);
    let first = ledger.hold(&hold).unwrap();
    let again = ledger.hold(&hold.clone().by("B")).unwrap();
    assert_eq!((again.seq, again.at, again.how), (first.seq, first.at, How::Replayed));
    assert_eq!(records(&ledger), 1);
    // Another reason counts from now on.
    let other = ledger.hold(&hold.clone().reason("court order")).unwrap();
    assert_eq!((other.seq, other.how), (Some(Seq(2)), How::Fresh));
    assert_eq!(scopes(&ledger.holds().unwrap()), [("web", "", "court order")]);
    assert_eq!(refused(ledger.submit(&order(1))).1.reason, "court order");
    let released = ledger.release(&hold.clone().reason("settled")).unwrap();
    let again = ledger.release(&hold).unwrap();
    assert_eq!((again.seq, again.at, again.how), (released.seq, released.at, How::Replayed));
    assert_eq!(records(&ledger), 4);
    assert_eq!(ledger.hold(&hold).unwrap().how, How::Fresh, "held again");
    for broken in [
        Hold::client(""),
        Hold::any_client(""),
        Hold::client([7; 65]),
        Hold::any_client([7; 65]),
        Hold::client("web").account([7; 65]),
        Hold::client("web").reason("x".repeat(513)),
        Hold::client("web").by([7; 65]),
    ] {
        for answer in [ledger.hold(&broken), ledger.release(&broken)] {
            let error = answer.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Invalid { .. }), "{error}");
            assert_eq!(error.certainty(), Certainty::NotRecorded);
        }
    }
    let longest = Hold::client([7; 64]).account([8; 64]).reason("x".repeat(512)).by([9; 64]);
    ledger.hold(&longest).unwrap();
    let order = Submission::new([7; 64], "k", "").account([8; 64]);
    assert_eq!(refused(ledger.submit(&order)).1.reason, "x".repeat(512));
    assert_eq!(refused(ledger.submit(&order)).1.reason, "x".repeat(512), "and again");
}

/// Effect to prevent: what is held comes in with a batch, or a part of the batch without it.
#[test]
fn rule_23_a_batch_with_an_order_of_a_held_account_is_refused_as_a_whole_and_may_come_again() {
    let machine = Machine::new(6);
    let ledger = machine.open();
    let id = ledger.submit(&order(1)).unwrap().receipt.order;
    let hold = Hold::any_client("ALFKI").reason("fraud");
    ledger.hold(&hold).unwrap();
    let batch = LinkedBatch::new("batch")
        .transition(Transition::new(id, State::InProgress))
        .submit(from("web", "ALFKI", "a"));
    let before = records(&ledger);
    let error = ledger.linked(&batch).unwrap_err();
    let ErrorKind::BatchMember { index: 1, why } = error.kind() else { panic!("{error}") };
    assert!(matches!(&**why, ErrorKind::RefusedForNow { reason } if reason.ends_with("fraud")));
    assert_eq!((error.certainty(), records(&ledger)), (Certainty::NotRecorded, before));
    ledger.release(&hold).unwrap();
    let done = ledger.linked(&batch).unwrap();
    assert_eq!(done.how, How::Fresh);
    // What was taken before is answered as ever.
    ledger.hold(&hold).unwrap();
    assert_eq!(ledger.linked(&batch).unwrap().how, How::Replayed);
}

/// Counts how often it is asked.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Validator for Counting {
    fn validate(&self, _: &Submission, _: &Committed<'_>) -> Verdict {
        self.0.fetch_add(1, Ordering::SeqCst);
        Verdict::Accept
    }
}

/// The order of the checks: committed key, key in flight, hold, validator, admission.
#[test]
fn a_hold_comes_behind_keys_that_are_known_and_before_the_validator() {
    let machine = Machine::new(4);
    let validator = Counting::default();
    let asked = || validator.0.load(Ordering::SeqCst);
    let options = small().validator(validator.clone()).queue_orders_max(1);
    let ledger = machine.open_with(&options).unwrap();
    let committed = ledger.submit(&order(1)).unwrap();
    let mut in_flight = ledger.submit_deferred(&order(2));
    assert_eq!(asked(), 2);
    ledger.hold(&Hold::client("web").reason("fraud")).unwrap();
    // It was on its way when the hold came, and is what it is.
    let handed_in = ledger.submit(&order(2)).unwrap();
    assert_eq!(handed_in.receipt, in_flight.wait(None).unwrap().receipt);
    let replayed = ledger.submit(&order(1)).unwrap();
    assert_eq!((replayed.how, replayed.receipt), (How::Replayed, committed.receipt));
    assert_eq!(refused(ledger.submit(&order(3))).1.code, Refusal::HELD);
    assert_eq!(asked(), 2, "the validator is not asked about what is held");
    // What is there goes its way.
    let step = Transition::new(committed.receipt.order, State::Completed);
    assert_eq!(ledger.transition(&step).unwrap().how, How::Fresh);
    // A refusal needs room as well.
    let waiting = ledger.submit_deferred(&order(4));
    let error = ledger.submit_deferred(&order(5)).wait(None).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Overloaded { .. }), "{error}");
    drop(waiting);
}

/// Effect to prevent: an order that began after the hold was acknowledged is taken by another thread.
#[test]
fn a_hold_counts_for_every_submission_that_begins_after_it_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let options = small().segment_bytes(1024 * 1024).views(Views::Off);
    let ledger = options.open(dir.path().join("orders.ledger")).unwrap();
    let held_at = AtomicUsize::new(usize::MAX);
    let clock = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (ledger, held_at, clock) = (&ledger, &held_at, &clock);
            scope.spawn(move || {
                let mut refusals = 0;
                for n in 0.. {
                    let began = clock.fetch_add(1, Ordering::SeqCst);
                    let key = format!("{thread}-{n}");
                    let taken = is_taken(ledger, &from("web", "A", &key));
                    assert!(!taken || began < held_at.load(Ordering::SeqCst), "{key}");
                    refusals += usize::from(!taken);
                    if refusals > 20 {
                        return;
                    }
                }
            });
        }
        while clock.load(Ordering::SeqCst) < 50 {
            std::thread::yield_now();
        }
        ledger.hold(&Hold::any_client("A").reason("stop")).unwrap();
        held_at.store(clock.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
    });
}

/// Power cuts around holds: what was acknowledged counts after any crash; what was in doubt is there or not, and
/// a repeat settles it.
#[test]
fn i1_a_hold_that_was_acknowledged_counts_after_any_crash() {
    for seed in 0..60 {
        let machine = Machine::new(seed);
        let ledger = machine.open();
        machine.disk.power_off_after(1 + seed % 19);
        // What was acknowledged last, and what may be instead.
        let (mut held, mut doubt) = (false, None);
        let set = |ledger: &Ledger, holds: bool| {
            let hold = Hold::client("web").reason("fraud");
            if holds { ledger.hold(&hold) } else { ledger.release(&hold) }
        };
        let is_doubt = |error: &Error| matches!(error.kind(), ErrorKind::InDoubt { .. });
        for n in 0..9u64 {
            let holds = n % 2 == 0;
            match set(&ledger, holds) {
                Ok(change) => {
                    assert_eq!(change.how, How::Fresh);
                    held = holds;
                }
                Err(error) if is_doubt(&error) && doubt.is_none() => doubt = Some(holds),
                Err(error) => assert!(machine.disk.is_off(), "{error}"),
            }
            // An order now and then; whatever becomes of it.
            drop(ledger.submit(&order(n)));
        }
        machine.disk.crash(Crash::new(CrashMode::Random, seed));
        drop(ledger);
        let ledger = machine.open();
        let found = ledger.holds().unwrap().len() == 1;
        assert!(found == held || doubt == Some(found), "seed {seed}: {found}, and it was {held}");
        assert_eq!(is_taken(&ledger, &order(100)), !found);
        set(&ledger, true).unwrap();
        assert!(!is_taken(&ledger, &order(101)));
        set(&ledger, false).unwrap();
        assert!(is_taken(&ledger, &order(102)));
        ledger.close().unwrap();
        assert_sound(&machine);
    }
}

/// Effect to prevent: a hold that is found by what is derived is gone with it.
#[test]
fn holds_are_found_when_everything_derived_is_gone() {
    let machine = Machine::new(5);
    let ledger = machine.open();
    for n in 0..40 {
        let hold = Hold::any_client(format!("account-{n}")).reason("r");
        ledger.hold(&hold).unwrap();
        if n % 3 == 0 {
            ledger.release(&hold).unwrap();
        }
        let big = Submission::new("other", format!("{n}"), vec![7; 8000]);
        ledger.submit(&big).unwrap();
    }
    assert!(ledger.stats().unwrap().segments > 4);
    let before = ledger.holds().unwrap();
    assert_eq!(before.len(), 26);
    ledger.close().unwrap();
    for (path, _) in machine.disk.files() {
        if path.starts_with("derived/") {
            machine.disk.remove_durably(&path).unwrap();
        }
    }
    let ledger = machine.open();
    assert_eq!(ledger.holds().unwrap(), before);
    for n in 0..40 {
        let order = from("web", &format!("account-{n}"), &format!("{n}"));
        assert_eq!(is_taken(&ledger, &order), n % 3 == 0, "account-{n}");
    }
}
