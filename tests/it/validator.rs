//! The validator: refused for now, refused for good, and when it does not run (SEMANTICS rules 14, 15).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use order_ledger::{
    Certainty, Committed, ErrorKind, How, Refusal, State, Submission, Validator, Verdict,
};

use crate::support::{Machine, order, small};

/// Does what the payload says, and counts.
#[derive(Clone, Default)]
struct Obedient {
    runs: Arc<AtomicUsize>,
}

impl Validator for Obedient {
    fn validate(&self, order: &Submission, committed: &Committed<'_>) -> Verdict {
        self.runs.fetch_add(1, Ordering::SeqCst);
        match order.payload() {
            b"later" => Verdict::RefuseForNow { reason: "closed on Sundays".into() },
            b"never" => Verdict::RefuseFinal(Refusal { code: 7, reason: "no such tea".into() }),
            b"panic" => panic!("a validator that breaks"),
            b"look" => {
                assert!(committed.by_key(b"web", b"key-1").unwrap().is_some());
                assert!(committed.by_key(order.client(), order.key()).unwrap().is_none());
                Verdict::Accept
            }
            _ => Verdict::Accept,
        }
    }
}

#[test]
fn rule_14_refused_for_now_leaves_the_key_free() {
    let machine = Machine::new(1);
    let ledger = machine.open_with(&small().validator(Obedient::default())).unwrap();
    for payload in ["later", "panic"] {
        let error = ledger.submit(&Submission::new("web", "k", payload)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::RefusedForNow { .. }), "{error}");
        assert_eq!(error.certainty(), Certainty::NotRecorded);
    }
    assert_eq!(ledger.stats().unwrap().records, 0);
    assert_eq!(ledger.submit(&Submission::new("web", "k", "tea")).unwrap().how, How::Fresh);
}

#[test]
fn rule_14_refused_for_good_is_recorded_and_replayed_for_ever() {
    let machine = Machine::new(2);
    let validator = Obedient::default();
    let ledger = machine.open_with(&small().validator(validator.clone())).unwrap();
    let order = Submission::new("web", "k", "never");
    let first = ledger.submit(&order).unwrap_err();
    let ErrorKind::Refused { receipt, refusal } = first.kind().clone() else {
        panic!("{first}");
    };
    assert_eq!(receipt.first_state, State::Refused);
    assert_eq!(refusal, Refusal { code: 7, reason: "no such tea".into() });
    assert_eq!(first.certainty(), Certainty::Recorded(receipt));
    assert_eq!(validator.runs.load(Ordering::SeqCst), 1);
    ledger.close().unwrap();

    // Without the validator, after opening again: an outcome never flips.
    let ledger = machine.open();
    assert_eq!(ledger.submit(&order).unwrap_err().kind(), first.kind());
    let stored = ledger.by_key("web", "k").unwrap().unwrap();
    assert_eq!((stored.now.state, stored.refusal), (State::Refused, Some(refusal)));
    let other = ledger.submit(&Submission::new("web", "k", "tea")).unwrap_err();
    assert!(matches!(other.kind(), ErrorKind::Conflict { .. }));
    assert_eq!(ledger.stats().unwrap().states, vec![(State::Refused, 1)]);
}

#[test]
fn rule_15_the_validator_runs_once_per_new_order_and_sees_committed_orders() {
    let machine = Machine::new(3);
    let validator = Obedient::default();
    let ledger = machine.open_with(&small().validator(validator.clone())).unwrap();
    ledger.submit(&order(1)).unwrap();
    ledger.submit(&order(1)).unwrap();
    assert!(ledger.submit(&Submission::new("web", "key-1", "other")).is_err());
    assert_eq!(validator.runs.load(Ordering::SeqCst), 1, "not for replays, not for conflicts");
    // A join: the second finds the first in flight.
    let mut first = ledger.submit_deferred(&order(2));
    let mut second = ledger.submit_deferred(&order(2));
    ledger.pump();
    assert_eq!(first.wait(None).unwrap().how, How::Fresh);
    assert_eq!(second.wait(None).unwrap().how, How::Joined);
    assert_eq!(validator.runs.load(Ordering::SeqCst), 2, "not for joins");
    ledger.submit(&Submission::new("web", "k", "look")).unwrap();
}

/// While the validator looks at an order, the same order from other threads waits for its word.
#[test]
fn rule_15_many_threads_with_one_key_run_the_validator_once() {
    let dir = tempfile::tempdir().unwrap();
    let validator = Obedient::default();
    let options = order_ledger::Options::new().segment_bytes(1 << 20).validator(validator.clone());
    let ledger = options.open(dir.path().join("orders.ledger")).unwrap();
    let fresh = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                if ledger.submit(&order(1)).unwrap().how == How::Fresh {
                    fresh.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(fresh.load(Ordering::SeqCst), 1);
    assert_eq!(validator.runs.load(Ordering::SeqCst), 1);
}
