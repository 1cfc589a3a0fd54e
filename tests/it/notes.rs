//! Notes about orders: kept with the order whatever its state, said once under a command key, open until they are
//! resolved, and seen in the history, the feed and the list of what waits (SEMANTICS rules 17, 24, 25 and 33).

use std::time::Duration;

use order_ledger::disk::sim::{Crash, CrashMode};
use order_ledger::{
    Certainty, Error, ErrorKind, Event, EventBody, EventFilter, EventKind, Field, How, Ledger,
    LinkedBatch, Note, NoteKind, NoteQuery, Noted, OrderId, Reader, Resolution, Result, Seq,
    Soundness, State, Transition, Views, verify_on,
};

use crate::support::{Machine, order, small};

fn taken(ledger: &Ledger, n: u64) -> OrderId {
    ledger.submit(&order(n)).unwrap().receipt.order
}

fn kind(answer: Result<Noted>) -> ErrorKind {
    let error = answer.unwrap_err();
    assert_eq!(error.certainty(), Certainty::NotRecorded, "{error}");
    assert!(!error.to_string().is_empty() && !error.advice().is_empty());
    error.kind().clone()
}

fn records(ledger: &Ledger) -> u64 {
    ledger.stats().unwrap().records
}

fn open_seqs(ledger: &Ledger) -> Vec<u64> {
    let page = ledger.open_notes(&NoteQuery::open()).unwrap();
    page.notes.iter().map(|note| note.seq.0).collect()
}

fn dispute(order: OrderId) -> Note {
    Note::new(order, NoteKind::Dispute, "one cup is broken")
}

fn assert_sound(machine: &Machine) {
    let report = verify_on(machine.disk.as_disk(), &machine.host, &mut |_, _| {}).unwrap();
    assert_eq!(report.soundness(), Soundness::Sound, "{:?}", report.findings);
}

#[test]
fn a_note_stays_with_its_order_whatever_its_state_and_changes_neither_state_nor_version() {
    let machine = Machine::new(1);
    let ledger = machine.open();
    let (first, other) = (taken(&ledger, 1), taken(&ledger, 2));
    let call = Note::new(first, NoteKind::Note, "call them back").author("A. Fuller").open();
    let call = ledger.note(&call).unwrap();
    assert_eq!((call.order, call.seq, call.how), (first, Seq(3), How::Fresh));
    ledger.transition(&Transition::new(first, State::Completed)).unwrap();
    // Feedback comes when the order is done.
    let feedback = Note::new(first, NoteKind::Feedback, [0, 255]).author([7]);
    let feedback = ledger.note(&feedback).unwrap();
    let objects = ledger.note(&dispute(first).command_key("mail-1")).unwrap();
    let resolution = Resolution::new(first, call.seq, "done").author("N. Davolio");
    let resolved = ledger.resolve_note(&resolution).unwrap();
    let told = |ledger: &Ledger| {
        let now = ledger.get(first).unwrap().unwrap().now;
        assert_eq!((now.state, now.version), (State::Completed, 2));
        let notes = ledger.notes(first).unwrap();
        let seqs: Vec<_> = notes.iter().map(|note| note.seq).collect();
        assert_eq!(seqs, [call.seq, feedback.seq, objects.seq]);
        assert!(notes.iter().all(|note| note.order == first));
        assert_eq!(
            (notes[0].kind, &notes[0].author[..], &notes[0].text[..]),
            (NoteKind::Note, &b"A. Fuller"[..], &b"call them back"[..])
        );
        let settled = notes[0].resolution.as_ref().unwrap();
        assert_eq!((settled.seq, settled.at), (resolved.seq, resolved.at));
        assert_eq!((&settled.author[..], &settled.text[..]), (&b"N. Davolio"[..], &b"done"[..]));
        assert_eq!((&notes[1].author[..], &notes[1].text[..]), (&[7][..], &[0, 255][..]));
        assert_eq!((notes[1].asks, notes[1].at), (false, feedback.at));
        assert!(!notes[0].is_open() && !notes[1].is_open() && notes[2].is_open());
        assert_eq!(ledger.notes(other).unwrap(), []);
        assert_eq!(ledger.history(other).unwrap().len(), 1);
        let history = ledger.history(first).unwrap();
        let kinds: Vec<_> = history.iter().map(|event| event.body.kind()).collect();
        use EventKind::{Accepted, Moved, Resolved};
        assert_eq!(
            kinds,
            [Accepted, EventKind::Noted, Moved, EventKind::Noted, EventKind::Noted, Resolved]
        );
        assert!(history.is_sorted_by(|one, next| one.seq < next.seq && one.at < next.at));
        assert_eq!(
            history[4].body,
            EventBody::Noted {
                kind: NoteKind::Dispute,
                asks: true,
                command_key: b"mail-1".into(),
                author: Vec::new(),
                text: b"one cup is broken".into(),
            }
        );
        assert_eq!(
            history[5].body,
            EventBody::Resolved {
                note: call.seq,
                command_key: Vec::new(),
                author: b"N. Davolio".into(),
                text: b"done".into(),
            }
        );
        assert_eq!(open_seqs(ledger), [objects.seq.0]);
        assert_eq!(ledger.stats().unwrap().states, [(State::Accepted, 1), (State::Completed, 1)]);
    };
    told(&ledger);
    let before = (ledger.history(first).unwrap(), ledger.notes(first).unwrap());
    ledger.close().unwrap();
    let ledger = machine.open();
    told(&ledger);
    assert_eq!((ledger.history(first).unwrap(), ledger.notes(first).unwrap()), before);
    let reader = Reader::open_on(machine.disk.as_disk(), &machine.host).unwrap();
    assert_eq!((reader.history(first).unwrap(), reader.notes(first).unwrap()), before);
    let waits = NoteQuery::open();
    assert_eq!(reader.open_notes(&waits).unwrap(), ledger.open_notes(&waits).unwrap());
    ledger.close().unwrap();
    assert_sound(&machine);
}

/// Effect to prevent: a retry whose answer was lost is written down twice, or a key means two things.
#[test]
fn rule_17_a_command_key_of_an_order_stands_for_one_step_note_or_resolution() {
    let machine = Machine::new(2);
    let ledger = machine.open();
    let id = taken(&ledger, 1);
    let objects = dispute(id).author("A").command_key("mail-1");
    let first = ledger.note(&objects).unwrap();
    let step = Transition::new(id, State::InProgress).command_key("start");
    let started = ledger.transition(&step).unwrap();
    let settles = Resolution::new(id, first.seq, "a new cup").command_key("mail-2");
    let settled = ledger.resolve_note(&settles).unwrap();
    let unlike =
        |seq, fields: &[Field]| ErrorKind::CommandConflict { seq, differs: fields.to_vec() };
    let repeats = |ledger: &Ledger| {
        let replayed = |noted: Noted| (noted.order, noted.seq, noted.at, noted.how);
        let again = ledger.note(&objects).unwrap();
        assert_eq!(replayed(again), (id, first.seq, first.at, How::Replayed));
        let again = ledger.resolve_note(&settles).unwrap();
        assert_eq!(replayed(again), (id, settled.seq, settled.at, How::Replayed));
        for (other, fields) in [
            (objects.clone().author("B"), &[Field::Author][..]),
            (Note::new(id, NoteKind::Dispute, "no").author("A"), &[Field::Text]),
            (Note::new(id, NoteKind::Feedback, "one cup is broken").author("A"), &[Field::Command]),
            (Note::new(id, NoteKind::Note, "").author("A").open(), &[Field::Command, Field::Text]),
        ] {
            let other = other.command_key("mail-1");
            assert_eq!(kind(ledger.note(&other)), unlike(first.seq, fields));
        }
        // One scope for all commands of an order.
        let of_step = objects.clone().command_key("start");
        assert_eq!(kind(ledger.note(&of_step)), unlike(started.seq, &[Field::Command]));
        let of_note = settles.clone().command_key("mail-1");
        let fields = [Field::Command, Field::Author, Field::Text];
        assert_eq!(kind(ledger.resolve_note(&of_note)), unlike(first.seq, &fields));
        let of_other = Resolution::new(id, Seq(9), "a new cup").command_key("mail-2");
        assert_eq!(kind(ledger.resolve_note(&of_other)), unlike(settled.seq, &[Field::Command]));
        for (key, seq) in [("mail-1", first.seq), ("mail-2", settled.seq)] {
            let step = Transition::new(id, State::Completed).command_key(key);
            let error = ledger.transition(&step).unwrap_err();
            assert_eq!(*error.kind(), unlike(seq, &[Field::Command]));
        }
        assert_eq!(ledger.transition(&step).unwrap().how, How::Replayed);
        assert_eq!(records(ledger), 4);
    };
    repeats(&ledger);
    ledger.close().unwrap();
    let ledger = machine.open();
    repeats(&ledger);
    // Of another order it is another key; and without one each call is a note of its own.
    let other = taken(&ledger, 2);
    assert_eq!(ledger.note(&dispute(other).command_key("mail-1")).unwrap().how, How::Fresh);
    let plain = Note::new(other, NoteKind::Note, "twice");
    assert_ne!(ledger.note(&plain).unwrap().seq, ledger.note(&plain).unwrap().seq);
}

#[test]
fn an_open_note_is_resolved_once_and_nothing_else_is() {
    let machine = Machine::new(3);
    let ledger = machine.open();
    let (id, other) = (taken(&ledger, 1), taken(&ledger, 2));
    let plain = ledger.note(&Note::new(id, NoteKind::Note, "words")).unwrap().seq;
    let open = ledger.note(&dispute(id)).unwrap().seq;
    let before = records(&ledger);
    let none = |note| ErrorKind::NoOpenNote { note, resolved_by: None };
    let resolve = |order, note| ledger.resolve_note(&Resolution::new(order, note, "done"));
    // No note, one that asks for nothing, one of another order, an order, and what is not there yet.
    for note in [Seq(0), id.seq(), plain, Seq(99), Seq(u64::MAX)] {
        assert_eq!(kind(resolve(id, note)), none(note));
    }
    assert_eq!(kind(resolve(other, open)), none(open));
    let no_such = OrderId::new(0, Seq(99));
    assert_eq!(kind(resolve(no_such, open)), ErrorKind::NoSuchOrder { order: no_such });
    assert_eq!(records(&ledger), before, "nothing was written");
    let settled = resolve(id, open).unwrap();
    assert_eq!(settled.how, How::Fresh);
    let again = ledger.resolve_note(&Resolution::new(id, open, "other words")).unwrap();
    assert_eq!((again.seq, again.at, again.how), (settled.seq, settled.at, How::Replayed));
    // A command of its own has resolved nothing, and is told so.
    let keyed = Resolution::new(id, open, "done").command_key("k");
    let late = ErrorKind::NoOpenNote { note: open, resolved_by: Some(settled.seq) };
    assert_eq!(kind(ledger.resolve_note(&keyed)), late);
    // What resolves a note is no note that can be resolved.
    assert_eq!(kind(resolve(id, settled.seq)), none(settled.seq));
    assert_eq!(records(&ledger), before + 1);
    assert_eq!(ledger.notes(id).unwrap()[1].resolution.as_ref().unwrap().text, b"done");
}

#[test]
fn a_note_of_no_order_or_beyond_a_limit_is_not_recorded() {
    let machine = Machine::new(4);
    let ledger = machine.open();
    let id = taken(&ledger, 1);
    let open = ledger.note(&dispute(id)).unwrap().seq;
    for order in [OrderId::new(0, Seq(0)), OrderId::new(0, open), OrderId::new(7, Seq(1))] {
        assert_eq!(kind(ledger.note(&dispute(order))), ErrorKind::NoSuchOrder { order });
        assert_eq!(ledger.notes(order).unwrap(), []);
        assert_eq!(ledger.history(order).unwrap(), []);
    }
    let note = |text: usize| Note::new(id, NoteKind::Note, vec![7; text]);
    let fits = note(64 * 1024).author([7; 64]).command_key([7; 255]);
    assert_eq!(ledger.note(&fits).unwrap().how, How::Fresh);
    assert_eq!(ledger.notes(id).unwrap()[1].text, vec![7; 64 * 1024]);
    let resolution = |text: usize| Resolution::new(id, open, vec![7; text]);
    for broken in [
        ledger.note(&note(64 * 1024 + 1)),
        ledger.note(&note(0).author([7; 65])),
        ledger.note(&note(0).command_key([7; 256])),
        ledger.resolve_note(&resolution(64 * 1024 + 1)),
        ledger.resolve_note(&resolution(0).author([7; 65])),
        ledger.resolve_note(&resolution(0).command_key([7; 256])),
    ] {
        assert!(matches!(kind(broken), ErrorKind::Invalid { .. }));
    }
    assert_eq!(records(&ledger), 3);
    assert_eq!(ledger.note(&note(0)).unwrap().how, How::Fresh, "nothing is a text as well");
}

/// Effect to prevent: a dispute that is open and on no page, or on a page and settled.
#[test]
fn rule_24_open_notes_come_in_pages_and_a_caller_sees_its_own_at_once() {
    let machine = Machine::new(5);
    for views in [Views::On, Views::Off] {
        let ledger = machine.open_with(&small().views(views)).unwrap();
        let id = taken(&ledger, 1);
        let mut open: Vec<u64> = open_seqs(&ledger);
        for n in 0..30u64 {
            ledger.note(&Note::new(id, NoteKind::Feedback, "nice")).unwrap();
            let note = match n % 3 {
                0 => Note::new(id, NoteKind::Note, "see to it").open(),
                _ => dispute(id),
            };
            open.push(ledger.note(&note).unwrap().seq.0);
            assert_eq!(open_seqs(&ledger), open);
            if n % 4 == 3 {
                let note = open.remove(open.len() / 2);
                ledger.resolve_note(&Resolution::new(id, Seq(note), "")).unwrap();
                assert_eq!(open_seqs(&ledger), open);
            }
        }
        let (mut query, mut found) = (NoteQuery::open().limit(7), Vec::new());
        loop {
            let page = ledger.open_notes(&query).unwrap();
            assert!(page.notes.len() <= 7);
            found.extend(page.notes.iter().map(|note| note.seq.0));
            // What is made or resolved between two pages is neither skipped nor doubled.
            let Some(next) = page.next else { break };
            query = query.after(next.to_string().parse().unwrap());
        }
        assert_eq!(found, open);
        let kinds = NoteQuery::open().kind(NoteKind::Dispute);
        let page = ledger.open_notes(&kinds).unwrap();
        assert!(page.notes.iter().all(|note| note.kind == NoteKind::Dispute));
        assert!(page.notes.len() > 5 && page.notes.len() < open.len());
        for limit in [0, 10_001] {
            let error = ledger.open_notes(&NoteQuery::open().limit(limit)).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::BadQuery { .. }), "{error}");
        }
        ledger.close().unwrap();
    }
}

#[test]
fn rule_25_notes_are_events_and_rule_27_a_filter_can_ask_for_them_alone() {
    let machine = Machine::new(6);
    let ledger = machine.open();
    let (id, other) = (taken(&ledger, 1), taken(&ledger, 2));
    let note = ledger.note(&dispute(id)).unwrap().seq;
    ledger.note(&Note::new(other, NoteKind::Note, "words")).unwrap();
    ledger.transition(&Transition::new(id, State::Completed)).unwrap();
    ledger.resolve_note(&Resolution::new(id, note, "done")).unwrap();
    let seqs = |events: &[Event]| events.iter().map(|event| event.seq.0).collect::<Vec<_>>();
    let filtered = |name: &str, filter: EventFilter| {
        let mut consumer = ledger.consumer(name).unwrap().filter(filter);
        let events = consumer.poll(100, Duration::ZERO).unwrap();
        assert!(consumer.poll(100, Duration::ZERO).unwrap().is_empty());
        seqs(&events)
    };
    let all = EventFilter::all;
    assert_eq!(filtered("all", all()), [1, 2, 3, 4, 5, 6]);
    let (noted, resolved) = (EventKind::Noted, EventKind::Resolved);
    assert_eq!(filtered("notes", all().event_kind(noted).event_kind(resolved)), [3, 4, 6]);
    let account = all().event_kind(noted).account("account-1");
    assert_eq!(filtered("account", account), [3]);
    // A note brings no order into a state.
    assert_eq!(filtered("states", all().state(State::Accepted).state(State::Completed)), [1, 2, 5]);
    assert_eq!(filtered("both", all().event_kind(noted).state(State::Accepted)), [0u64; 0]);
}

/// Effect to prevent: with a thousand notes on an order, every look at where it stands reads all of them.
#[test]
fn where_an_order_stands_costs_the_same_however_much_is_noted_about_it() {
    let machine = Machine::new(7);
    let ledger = machine.open();
    let id = taken(&ledger, 1);
    ledger.transition(&Transition::new(id, State::InProgress)).unwrap();
    let reads = |ledger: &Ledger| {
        let before = machine.disk.io_calls();
        ledger.get(id).unwrap();
        machine.disk.io_calls() - before
    };
    let few = reads(&ledger);
    let notes: Vec<_> = (0..=255).map(|n| Note::new(id, NoteKind::Note, vec![n; 40])).collect();
    assert!(ledger.note_many(&notes).iter().all(Result::is_ok));
    assert!(reads(&ledger) <= few, "{} calls, and {few} before", reads(&ledger));
    assert_eq!(ledger.notes(id).unwrap().len(), 256);
}

#[test]
fn rule_22_many_notes_share_their_syncs_and_answer_in_their_order() {
    let machine = Machine::new(8);
    let ledger = machine.open();
    let ids: Vec<_> = (0..200).map(|n| taken(&ledger, n)).collect();
    let groups = || ledger.stats().unwrap().groups;
    let before = groups();
    let mut notes: Vec<_> = ids.iter().map(|id| dispute(*id).command_key("k")).collect();
    notes.insert(100, dispute(OrderId::new(0, Seq(9999))));
    notes.push(dispute(ids[0]).command_key("k"));
    notes.push(dispute(ids[0]).command_key("k").author("B"));
    let answers = ledger.note_many(&notes);
    assert!(groups() - before <= 4, "{} groups", groups() - before);
    let shown = |answer: &Result<Noted>| match answer {
        Ok(noted) => noted.how.name(),
        Err(error) if matches!(error.kind(), ErrorKind::CommandConflict { .. }) => "conflict",
        Err(_) => "error",
    };
    let shown: Vec<_> = answers.iter().map(shown).collect();
    assert!(shown[..100].iter().chain(&shown[101..201]).all(|how| *how == "fresh"), "{shown:?}");
    assert_eq!((shown[100], &shown[201..]), ("error", &["replayed", "conflict"][..]));
}

/// Effect to prevent: a step in a batch takes the command key of a note.
#[test]
fn rule_17_a_step_of_a_batch_shares_the_command_keys_of_its_order_with_notes() {
    let machine = Machine::new(11);
    let ledger = machine.open();
    let id = taken(&ledger, 1);
    let note = ledger.note(&dispute(id).command_key("k")).unwrap();
    let step = Transition::new(id, State::InProgress).command_key("k");
    let error = ledger.linked(&LinkedBatch::new("b").transition(step)).unwrap_err();
    let ErrorKind::BatchMember { index: 0, why } = error.kind() else { panic!("{error}") };
    let differs = vec![Field::Command];
    assert_eq!(**why, ErrorKind::CommandConflict { seq: note.seq, differs });
    let step = Transition::new(id, State::InProgress).command_key("s");
    let done = ledger.linked(&LinkedBatch::new("b").transition(step)).unwrap();
    let error = kind(ledger.note(&dispute(id).command_key("s")));
    let seq = Seq(done.batch.0 + 1);
    assert_eq!(error, ErrorKind::CommandConflict { seq, differs: vec![Field::Command] });
}

/// Effect to prevent: two who resolve the same dispute both believe that theirs is what counts.
#[test]
fn of_those_who_resolve_one_note_with_a_key_exactly_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let options = small().segment_bytes(1024 * 1024).views(Views::Off);
    let ledger = options.open(dir.path().join("orders.ledger")).unwrap();
    for n in 0..20 {
        let id = taken(&ledger, n);
        let note = ledger.note(&dispute(id)).unwrap().seq;
        let answers: Vec<_> = std::thread::scope(|scope| {
            let resolve = |k: usize| {
                let ledger = &ledger;
                let resolution = Resolution::new(id, note, "").command_key(format!("key-{k}"));
                scope.spawn(move || ledger.resolve_note(&resolution))
            };
            let all: Vec<_> = (0..4).map(resolve).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let won: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            let told = ErrorKind::NoOpenNote { note, resolved_by: Some(won[0].seq) };
            assert_eq!(*error.kind(), told);
        }
        assert_eq!(ledger.notes(id).unwrap()[0].resolution.as_ref().unwrap().seq, won[0].seq);
    }
}

/// Effect to prevent: a step and a note race for one command key, and both get it.
#[test]
fn rule_17_a_step_and_a_note_that_race_for_a_command_key_never_both_have_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = small().segment_bytes(1024 * 1024).views(Views::Off);
    let ledger = options.open(dir.path().join("orders.ledger")).unwrap();
    for n in 0..200 {
        let id = taken(&ledger, n);
        let (stepped, noted) = std::thread::scope(|scope| {
            let ledger = &ledger;
            let step = Transition::new(id, State::InProgress).command_key("k");
            let stepped = scope.spawn(move || ledger.transition(&step).map(|done| done.seq));
            let noted = ledger.note(&dispute(id).command_key("k")).map(|done| done.seq);
            (stepped.join().unwrap(), noted)
        });
        let told = |error: &Error| match error.kind() {
            ErrorKind::CommandConflict { seq, .. } => *seq,
            other => panic!("{other:?}"),
        };
        match (&stepped, &noted) {
            (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => assert_eq!(told(lost), *won),
            both => panic!("{both:?}"),
        }
        assert_eq!(ledger.history(id).unwrap().len(), 2);
    }
}

/// Power cuts around notes: what was acknowledged is there once; what was in doubt is there or not, and a
/// repeat under its key gives one note.
#[test]
fn i1_a_note_that_was_acknowledged_is_there_once_after_any_crash() {
    for seed in 0..60 {
        let machine = Machine::new(seed);
        let ledger = machine.open();
        let id = taken(&ledger, 1);
        let note = |n: u64| dispute(id).author(format!("{n}")).command_key(format!("key-{n}"));
        machine.disk.power_off_after(1 + seed % 23);
        let mut done = Vec::new();
        let mut doubt = None;
        for n in 0..8 {
            match ledger.note(&note(n)) {
                Ok(noted) => done.push(noted),
                Err(error) => {
                    let kind = error.kind();
                    let is_first = matches!(kind, ErrorKind::InDoubt { .. } | ErrorKind::Io { .. });
                    assert!(doubt.is_some() || is_first, "{error}");
                    doubt.get_or_insert(n);
                }
            }
        }
        machine.disk.crash(Crash::new(CrashMode::Random, seed));
        drop(ledger);
        let ledger = machine.open();
        let seqs = |ledger: &Ledger| -> Vec<Seq> {
            ledger.notes(id).unwrap().iter().map(|note| note.seq).collect()
        };
        let found = seqs(&ledger);
        let expected: Vec<_> = done.iter().map(|noted| noted.seq).collect();
        assert!(found.starts_with(&expected) && found.len() <= expected.len() + 1, "{found:?}");
        for n in 0..8 {
            let again = ledger.note(&note(n)).unwrap();
            let before = found.get(usize::try_from(n).unwrap());
            assert_eq!(before.copied().unwrap_or(again.seq), again.seq);
            assert_eq!(before.is_some(), again.how == How::Replayed);
        }
        assert_eq!(seqs(&ledger).len(), 8);
        assert_eq!(open_seqs(&ledger).len(), 8);
        ledger.close().unwrap();
        assert_sound(&machine);
    }
}

/// Effect to prevent: nobody can write down why orders are held up, because new ones fill the queue.
#[test]
fn rule_33_notes_are_let_in_when_new_orders_are_not() {
    let machine = Machine::new(9);
    let ledger = machine.open_with(&small().queue_orders_max(2)).unwrap();
    let id = taken(&ledger, 1);
    let tickets: Vec<_> = (2..5).map(|n| ledger.submit_deferred(&order(n))).collect();
    assert_eq!(ledger.note(&dispute(id)).unwrap().how, How::Fresh);
    drop(tickets);
}

/// Effect to prevent: what the key tables have lost is not found, and a note is gone or a key is free again.
#[test]
fn notes_are_found_when_everything_derived_is_gone() {
    let machine = Machine::new(10);
    let ledger = machine.open();
    let ids: Vec<_> = (0..60).map(|n| taken(&ledger, n)).collect();
    let notes: Vec<_> = ids
        .iter()
        .map(|id| ledger.note(&dispute(*id).author([9; 60]).command_key("k")).unwrap().seq)
        .collect();
    let text = vec![5; 20_000];
    for (id, note) in ids.iter().zip(&notes).step_by(2) {
        ledger.resolve_note(&Resolution::new(*id, *note, text.clone())).unwrap();
    }
    assert!(ledger.stats().unwrap().segments > 5);
    let all = |ledger: &Ledger| -> Vec<_> {
        ids.iter().map(|id| (ledger.notes(*id).unwrap(), ledger.history(*id).unwrap())).collect()
    };
    let (before, open) = (all(&ledger), open_seqs(&ledger));
    assert_eq!(open.len(), 30);
    ledger.close().unwrap();
    for (path, _) in machine.disk.files() {
        if path.starts_with("derived/") {
            machine.disk.remove_durably(&path).unwrap();
        }
    }
    let ledger = machine.open();
    assert!(all(&ledger) == before);
    assert_eq!(open_seqs(&ledger), open);
    for (id, note) in ids.iter().zip(&notes) {
        let again = dispute(*id).author([9; 60]).command_key("k");
        assert_eq!(ledger.note(&again).unwrap().seq, *note);
    }
}
