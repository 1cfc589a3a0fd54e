//! Code of somebody else's that runs inside of a call: wakers and validators that panic.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use order_ledger::{Committed, ErrorKind, How, Submission, Validator, Verdict};

use super::Meddler;
use crate::rig::{kind, open, order, sim, small};

struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Bomb>) {
        panic!("this executor is broken");
    }
}

// Cause: wakers, which are an executor's code, were called while somebody led the queue. Effect: one
// that panicked ended the leader, nobody led any more, and every later call waited for ever.
#[test]
fn rule_17_a_waker_that_panics_keeps_nobody_else_waiting() {
    let (disk, host) = sim(17);
    let ledger = open(&disk, &host).unwrap();
    let mut first = ledger.submit_deferred(&order(1));
    let mut second = ledger.submit_deferred(&order(2));
    let bomb = Waker::from(Arc::new(Bomb));
    assert!(Pin::new(&mut first).poll(&mut Context::from_waker(&bomb)).is_pending());
    let pumped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ledger.pump()));
    assert!(pumped.is_ok(), "the panic came through the ledger");
    for ticket in [&mut first, &mut second] {
        assert_eq!(ticket.wait(Some(Duration::ZERO)).unwrap().how, How::Fresh);
    }
    let mut later = ledger.submit_deferred(&order(3));
    ledger.pump();
    assert_eq!(later.wait(Some(Duration::ZERO)).unwrap().how, How::Fresh);
    ledger.close().unwrap();
}

/// Panics with a value that panics when it is dropped.
struct Malicious;

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

impl Validator for Malicious {
    fn validate(&self, order: &Submission, _: &Committed<'_>) -> Verdict {
        if order.payload() == b"bad" {
            std::panic::panic_any(PanicsWhenDropped);
        }
        Verdict::Accept
    }
}

// Cause: what a validator's panic had thrown was dropped outside of what catches panics.
#[test]
fn rule_17_a_validator_that_throws_something_malicious_refuses_for_now() {
    let (disk, host) = sim(18);
    let options = small().validator(Malicious);
    let ledger = options.open_simulated(disk.as_disk(), host.as_host()).unwrap();
    let bad = Submission::new("web", "k1", "bad");
    assert!(matches!(kind(ledger.submit(&bad)), ErrorKind::RefusedForNow { .. }));
    assert_eq!(ledger.submit(&order(1)).unwrap().how, How::Fresh);
}

struct Accepts;

impl Validator for Accepts {
    fn validate(&self, _: &Submission, _: &Committed<'_>) -> Verdict {
        Verdict::Accept
    }
}

// Cause: the key of an order that the validator looked at was given free by straight-line code. Effect:
// after a panic in what follows the validator everyone with that key waited for ever.
#[test]
fn rule_17_a_key_is_free_again_whatever_happens_while_the_validator_looks() {
    let (disk, host) = sim(19);
    let meddler = Meddler::new(&host);
    let options = small().validator(Accepts);
    let ledger = options.open_simulated(disk.as_disk(), Arc::new(meddler.clone())).unwrap();
    *meddler.next_random.lock().unwrap() = Some(Box::new(|| panic!("no randomness")));
    let submit = || ledger.submit(&order(1));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(submit)).is_err());
    let (sender, answer) = std::sync::mpsc::channel();
    let other = ledger.clone();
    std::thread::spawn(move || sender.send(other.submit(&order(1)).map(|outcome| outcome.how)));
    let how = answer.recv_timeout(Duration::from_secs(60)).expect("it waits for ever");
    assert_eq!(how.unwrap(), How::Fresh);
}
