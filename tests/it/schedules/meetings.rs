//! What threads that meet at one order are told: a step and its expiry, two who resolve one note, a step and the
//! watch, two who send the same thing to a third party.
//!
//! After all of them: the ledger is verified, and opened again tells the same.

use std::time::Duration;

use order_ledger::{
    AlertChange, AlertQuery, Dispatch, DispatchQuery, ErrorKind, Event, EventBody, How, Ledger,
    Lifecycle, Note, NoteKind, Options, Resolution, Result, Seq, Soundness, State, Transition,
    Transitioned, Views, WatchOptions, verify_on,
};
use shuttle::thread;

use super::{Figures, open};
use crate::rig::Random;
use crate::support::{Machine, order, small};

/// A ledger that is there, and is written by threads from here on.
fn begin(machine: &Machine, options: &Options) -> (Ledger, thread::JoinHandle<()>) {
    let ledger = open(machine, options);
    let commit = ledger.clone();
    (ledger, thread::spawn(move || commit.run_commit_thread()))
}

fn end(machine: &Machine, ledger: Ledger, commit: thread::JoinHandle<()>) {
    ledger.close().unwrap();
    commit.join().unwrap();
    let report = verify_on(machine.disk.as_disk(), &machine.host, &mut |_, _| {}).unwrap();
    assert_eq!(report.soundness(), Soundness::Sound, "{:?}", report.findings);
}

/// Does this beside the others.
fn beside<T: Send + 'static>(
    ledger: &Ledger,
    call: impl FnOnce(&Ledger) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let ledger = ledger.clone();
    thread::spawn(move || call(&ledger))
}

fn states(history: &[Event]) -> Vec<State> {
    let moved = history.iter().filter_map(|event| match event.body {
        EventBody::Moved { to, .. } => Some(to),
        _ => None,
    });
    moved.collect()
}

/// Rule 31. Two steps to an end, the sweeper, and a clock that reaches the instant between any two of their steps:
/// the order comes to one end, and everybody is told of that one.
pub(super) fn a_step_or_the_expiry_ends_an_order(seed: u64) -> Figures {
    let machine = Machine::new(seed);
    let mut random = Random::new(seed);
    let options = small().views(Views::On);
    let ledger = machine.open_with(&options).unwrap();
    let lives = Duration::from_micros(1 + random.below(60));
    let id = ledger.submit(&order(1).expires_in(lives)).unwrap().receipt.order;
    ledger.close().unwrap();

    let (ledger, commit) = begin(&machine, &options);
    let steps = [State::Completed, State::Failed];
    let callers =
        steps.map(|to| beside(&ledger, move |it| it.transition(&Transition::new(id, to))));
    let (host, pause) = (machine.host.clone(), Duration::from_micros(random.below(30)));
    let sweeper = beside(&ledger, move |ledger| {
        let mut swept = 0;
        for _ in 0..3 {
            host.advance(pause);
            swept += ledger.sweep();
        }
        swept
    });
    let answers = callers.map(|caller| caller.join().unwrap());
    let swept = sweeper.join().unwrap();
    end(&machine, ledger, commit);

    let ledger = machine.open_with(&options).unwrap();
    let now = ledger.get(id).unwrap().unwrap().now;
    assert_eq!(states(&ledger.history(id).unwrap()), [now.state], "one end");
    let is_expired = now.state == State::Expired;
    assert!(swept <= u64::from(is_expired), "{swept} were swept, and it is {}", now.state);
    for (to, answer) in steps.into_iter().zip(answers) {
        match answer {
            Ok(done) => assert_eq!((done.how, done.now), (How::Fresh, now)),
            Err(error) => {
                assert_eq!(*error.kind(), ErrorKind::AlreadyTerminal { now });
                assert_ne!(to, now.state, "told that it was too late for what it did");
            }
        }
    }
    vec![("expired", u64::from(is_expired)), ("ended_in_time", u64::from(!is_expired))]
}

/// Two who resolve one note, and two with one command key, of whom one has a note and one has a step: one of each
/// is recorded, and the other one is told which.
pub(super) fn one_of_two_resolves_a_note_and_one_of_two_has_the_command_key(seed: u64) -> Figures {
    let machine = Machine::new(seed);
    let ledger = machine.open();
    let id = ledger.submit(&order(1)).unwrap().receipt.order;
    let open_note = Note::new(id, NoteKind::Dispute, "which colour?").open();
    let note = ledger.note(&open_note).unwrap().seq;
    ledger.close().unwrap();

    let (ledger, commit) = begin(&machine, &small());
    let resolvers = ["red", "blue"].map(|text| {
        let resolution = Resolution::new(id, note, text).command_key(text);
        beside(&ledger, move |ledger| ledger.resolve_note(&resolution))
    });
    let noter = beside(&ledger, move |ledger| {
        ledger.note(&Note::new(id, NoteKind::Feedback, "it was late").command_key("one"))
    });
    let stepper = beside(&ledger, move |ledger| {
        ledger.transition(&Transition::new(id, State::Confirmed).command_key("one"))
    });
    let resolved = resolvers.map(|it| it.join().unwrap());
    let (noted, moved) = (noter.join().unwrap(), stepper.join().unwrap());
    end(&machine, ledger, commit);

    let (there, refused) = one_of(resolved.map(|it| it.map(|it| it.seq)));
    assert_eq!(refused, ErrorKind::NoOpenNote { note, resolved_by: Some(there) });
    let (there, refused) = one_of([noted.map(|it| it.seq), moved.map(|it| it.seq)]);
    assert!(matches!(refused, ErrorKind::CommandConflict { seq, .. } if seq == there));
    let ledger = machine.open();
    let entry = ledger.notes(id).unwrap().remove(0);
    assert!(entry.resolution.is_some(), "it is resolved: {entry:?}");
    assert_eq!(ledger.history(id).unwrap().len(), 4, "the order, its note, and one of each two");
    vec![("notes_resolved", 1)]
}

/// Of two answers one is that something was recorded; where, and why the other one was not.
fn one_of(answers: [Result<Seq>; 2]) -> (Seq, ErrorKind) {
    let [one, other] = answers;
    match (one, other) {
        (Ok(seq), Err(error)) | (Err(error), Ok(seq)) => (seq, error.kind().clone()),
        both => panic!("one of two is recorded: {both:?}"),
    }
}

/// A step out of the state that an order is stuck in, and two looks of the watch: what is raised was so when it was
/// recorded, once, and is over behind the step.
pub(super) fn no_alert_is_raised_behind_the_step_that_ends_it(seed: u64) -> Figures {
    const HOUR: Duration = Duration::from_secs(3600);
    let machine = Machine::new(seed);
    let views = Random::new(seed).pick(&[Views::On, Views::Off]);
    let lifecycle = Lifecycle::default().with_thresholds(State::Accepted, Some(HOUR), None);
    let watch = WatchOptions::new().disk_warn_bytes(0);
    let options = small().views(views).lifecycle(lifecycle).watch(watch);
    let ledger = machine.open_with(&options).unwrap();
    let id = ledger.submit(&order(1)).unwrap().receipt.order;
    ledger.close().unwrap();
    machine.host.advance(2 * HOUR);

    let (ledger, commit) = begin(&machine, &options);
    let watchers = [0, 1].map(|_| beside(&ledger, Ledger::watch_once));
    let stepper =
        beside(&ledger, move |it| it.transition(&Transition::new(id, State::Confirmed)).unwrap());
    for watcher in watchers {
        watcher.join().unwrap();
    }
    let step = stepper.join().unwrap().seq;
    end(&machine, ledger, commit);

    let ledger = machine.open_with(&options).unwrap();
    ledger.watch_once();
    let alerted = ledger.history(id).unwrap().into_iter().filter_map(|event| match event.body {
        EventBody::Alerted { change, .. } => Some((change, event.seq > step)),
        _ => None,
    });
    let alerted: Vec<(AlertChange, bool)> = alerted.collect();
    let once = [(AlertChange::Raised, false), (AlertChange::Cleared, true)];
    assert!(alerted.is_empty() || alerted == once, "the step is at {step}: {alerted:?}");
    let open = ledger.alerts(&AlertQuery::open()).unwrap().alerts;
    assert!(open.iter().all(|alert| alert.subject.order() != Some(id)), "{open:?}");
    vec![("alerts_raised", u64::from(!alerted.is_empty()))]
}

/// Two who have a third party told under one command key, and a step beside: it is told once.
pub(super) fn what_two_send_under_one_command_key_is_sent_once(seed: u64) -> Figures {
    let machine = Machine::new(seed);
    let is_same = Random::new(seed).chance(1, 2);
    let ledger = machine.open();
    let id = ledger.submit(&order(1)).unwrap().receipt.order;
    ledger.close().unwrap();

    let (ledger, commit) = begin(&machine, &small());
    let bodies = if is_same { ["8.40", "8.40"] } else { ["8.40", "9.60"] };
    let senders = bodies.map(|body| {
        let dispatch = Dispatch::new(id, "payment", body).command_key("charge");
        beside(&ledger, move |ledger| ledger.dispatch(&dispatch))
    });
    let stepper = beside(&ledger, move |it| it.transition(&Transition::new(id, State::Confirmed)));
    let sent = senders.map(|sender| sender.join().unwrap());
    let step: Transitioned = stepper.join().unwrap().unwrap();
    assert_eq!((step.how, step.version), (How::Fresh, 2));
    end(&machine, ledger, commit);

    let there = if is_same {
        let [one, other] = sent.map(Result::unwrap);
        assert_eq!(one.dispatch, other.dispatch);
        assert_ne!(one.how == How::Fresh, other.how == How::Fresh, "{one:?}, {other:?}");
        one.dispatch
    } else {
        let (there, refused) = one_of(sent.map(|it| it.map(|it| it.dispatch)));
        assert!(matches!(refused, ErrorKind::CommandConflict { seq, .. } if seq == there));
        there
    };
    let open = machine.open().open_dispatches(&DispatchQuery::all()).unwrap().dispatches;
    assert_eq!(open.iter().map(|it| it.dispatch).collect::<Vec<_>>(), [there]);
    vec![("dispatches", 1)]
}
