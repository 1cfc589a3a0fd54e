//! The life of an order: steps, what they demand, who wins, and that all of it is there after opening again
//! (SEMANTICS rules 16 to 20, 24 and 32).

use std::time::Duration;

use order_ledger::{
    Certainty, Error, ErrorKind, EventBody, Evidence, Field, How, Ledger, Lifecycle, OrderId,
    OwnState, Present, Query, Reader, Result, Seq, State, StateRule, Transition, Transitioned,
    Views,
};

use crate::support::{Machine, order, small};

fn taken(ledger: &Ledger, n: u64) -> OrderId {
    ledger.submit(&order(n)).unwrap().receipt.order
}

fn stands(ledger: &Ledger, order: OrderId) -> (State, u64) {
    let Present { state, version, .. } = ledger.get(order).unwrap().unwrap().now;
    (state, version)
}

fn kind(answer: Result<Transitioned>) -> ErrorKind {
    let error = answer.unwrap_err();
    assert_eq!(error.certainty(), Certainty::NotRecorded, "{error}");
    assert!(!error.to_string().is_empty() && !error.advice().is_empty());
    error.kind().clone()
}

fn states(ledger: &Ledger, order: OrderId) -> Vec<State> {
    ledger.history(order).unwrap().iter().filter_map(|event| event.body.state()).collect()
}

/// What stays the same about a step for ever.
fn what(step: Transitioned) -> (OrderId, Seq, u64, State, State, u64) {
    (step.order, step.seq, step.at.as_unix_ns(), step.from, step.to, step.version)
}

/// What the ledger says of these orders, however it is asked.
fn everything(ledger: &Ledger, orders: &[OrderId]) -> String {
    let told: Vec<_> = orders
        .iter()
        .map(|order| (ledger.get(*order).unwrap(), ledger.history(*order).unwrap()))
        .collect();
    let all: Vec<_> = ledger.orders().map(Result::unwrap).collect();
    format!("{told:?} {all:?}")
}

#[test]
fn an_order_goes_its_way_and_its_history_tells_all_of_it() {
    let machine = Machine::new(1);
    let ledger = machine.open();
    let first = taken(&ledger, 1);
    let other = taken(&ledger, 2);
    let step = Transition::new(first, State::Confirmed)
        .command_key("confirm-1")
        .evidence("signed_by", "Mrs. Fuller")
        .reason("a call");
    let confirmed = ledger.transition(&step).unwrap();
    assert_eq!((confirmed.from, confirmed.to), (State::Accepted, State::Confirmed));
    assert_eq!((confirmed.version, confirmed.how, confirmed.seq), (2, How::Fresh, Seq(3)));
    assert_eq!(confirmed.order, first);
    ledger.transition(&Transition::new(first, State::InProgress)).unwrap();
    ledger.transition(&Transition::new(first, State::Completed)).unwrap();
    let told = |ledger: &Ledger| {
        assert_eq!(stands(ledger, first), (State::Completed, 4));
        assert_eq!(stands(ledger, other), (State::Accepted, 1));
        let history = ledger.history(first).unwrap();
        assert_eq!(history.iter().map(|event| event.seq.0).collect::<Vec<_>>(), [1, 3, 4, 5]);
        assert!(history.iter().all(|event| event.order == first));
        assert!(history.is_sorted_by(|one, next| one.at < next.at));
        assert_eq!(
            history[1].body,
            EventBody::Moved {
                from: State::Accepted,
                to: State::Confirmed,
                version: 2,
                command_key: b"confirm-1".to_vec(),
                evidence: vec![Evidence { name: "signed_by".into(), value: b"Mrs. Fuller".into() }],
                reason: "a call".into(),
            }
        );
        // A replay of the order says where it stands, and has the receipt that it always had.
        let again = ledger.submit(&order(1)).unwrap();
        assert_eq!((again.how, again.receipt.first_state), (How::Replayed, State::Accepted));
        assert_eq!((again.now.state, again.now.version), (State::Completed, 4));
        assert_eq!(ledger.by_key("web", "key-1").unwrap().unwrap().now, again.now);
        let stats = ledger.stats().unwrap();
        assert_eq!((stats.orders, stats.records), (2, 5));
        assert_eq!(stats.states, [(State::Accepted, 1), (State::Completed, 1)]);
    };
    told(&ledger);
    let before = everything(&ledger, &[first, other]);
    ledger.close().unwrap();
    let ledger = machine.open();
    told(&ledger);
    assert_eq!(everything(&ledger, &[first, other]), before);
    let reader = Reader::open_on(machine.disk.as_disk(), &machine.host).unwrap();
    assert_eq!(reader.history(first).unwrap(), ledger.history(first).unwrap());
    assert_eq!(reader.get(first).unwrap(), ledger.get(first).unwrap());
    assert_eq!(reader.lifecycle().unwrap(), Lifecycle::default());
}

/// Effect to prevent: a retry of a command whose answer was lost is carried out twice, or says something else.
#[test]
fn rule_17_a_command_is_carried_out_once_and_a_repeat_has_the_first_answer() {
    let machine = Machine::new(2);
    let ledger = machine.open();
    let id = taken(&ledger, 1);
    let step = Transition::new(id, State::InProgress).command_key("start").reason("monday");
    let first = ledger.transition(&step).unwrap();
    ledger.transition(&Transition::new(id, State::Completed)).unwrap();
    let repeats = |ledger: &Ledger| {
        let again = ledger.transition(&step).unwrap();
        assert_eq!(again.how, How::Replayed);
        assert_eq!((again.now.state, again.now.version), (State::Completed, 3));
        assert_eq!(what(again), what(first));
        // Also when it expects what was true then and is not any more.
        assert_eq!(ledger.transition(&step.clone().expect_version(1)).unwrap(), again);
        let others = [
            (
                Transition::new(id, State::Failed).command_key("start").reason("monday"),
                Field::State,
            ),
            (step.clone().reason("tuesday"), Field::Reason),
            (step.clone().evidence("a", "b"), Field::Evidence),
        ];
        for (other, field) in others {
            let conflict = ErrorKind::CommandConflict { seq: first.seq, differs: vec![field] };
            assert_eq!(kind(ledger.transition(&other)), conflict);
        }
        assert_eq!(ledger.stats().unwrap().records, 3);
    };
    repeats(&ledger);
    ledger.close().unwrap();
    let ledger = machine.open();
    repeats(&ledger);
    // The scope of a command key is the order.
    let other = taken(&ledger, 2);
    let step = Transition::new(other, State::Failed).command_key("start");
    assert_eq!(ledger.transition(&step).unwrap().how, How::Fresh);
}

#[test]
fn rule_17_the_checks_come_in_their_order() {
    let machine = Machine::new(3);
    let ledger = machine.open();
    let id = taken(&ledger, 1);
    let to = |state| Transition::new(id, state);
    let accepted = |now: Present| (now.state, now.version) == (State::Accepted, 1);
    let no_such = OrderId::new(0, Seq(99));
    let other_ledger = OrderId::new(7, Seq(1));
    for order in [no_such, other_ledger, OrderId::new(0, Seq(0))] {
        let found = kind(ledger.transition(&Transition::new(order, State::Failed)));
        assert_eq!(found, ErrorKind::NoSuchOrder { order });
    }
    // A wrong version before a missing step.
    match kind(ledger.transition(&to(State::Refused).expect_version(2))) {
        ErrorKind::VersionMismatch { now } => assert!(accepted(now)),
        other => panic!("{other:?}"),
    }
    match kind(ledger.transition(&to(State::Confirmed).expect_state(State::InProgress))) {
        ErrorKind::VersionMismatch { now } => assert!(accepted(now)),
        other => panic!("{other:?}"),
    }
    for state in [State::Refused, State::Expired, State::own(120).unwrap()] {
        match kind(ledger.transition(&to(state))) {
            ErrorKind::NoSuchStep { now, to } => assert!(accepted(now) && to == state),
            other => panic!("{other:?}"),
        }
    }
    let done = ledger.transition(&to(State::Failed).expect_version(1)).unwrap();
    assert_eq!(done.version, 2);
    // Terminal before a wrong version; a command that was seen before terminal.
    for step in [to(State::Completed), to(State::Completed).expect_version(1), to(State::Cancelled)]
    {
        match kind(ledger.transition(&step)) {
            ErrorKind::AlreadyTerminal { now } => assert_eq!(now, done.now),
            other => panic!("{other:?}"),
        }
    }
    let broken = to(State::Completed).reason("x".repeat(513));
    assert!(matches!(kind(ledger.transition(&broken)), ErrorKind::Invalid { .. }));
    assert_eq!(ledger.stats().unwrap().records, 2, "nothing else was written");
}

const PACKED: State = State::own(OwnState::MIN).unwrap();

fn own() -> order_ledger::LifecycleBuilder {
    Lifecycle::builder()
        .state(StateRule::new(PACKED, "packed").critical_after(Duration::from_secs(3600)))
        .edge(State::Accepted, PACKED)
        .edge_with(PACKED, State::Completed, ["signed_by", "tracking_number"])
}

#[test]
fn rule_16_an_edge_demands_its_evidence() {
    let machine = Machine::new(4);
    let ledger = machine.open_with(&small().lifecycle(own().build().unwrap())).unwrap();
    let id = taken(&ledger, 1);
    let step = Transition::new(id, State::Completed).evidence("signed_by", "N. Davolio");
    assert!(matches!(kind(ledger.transition(&step)), ErrorKind::NoSuchStep { .. }));
    let packed = ledger.transition(&Transition::new(id, PACKED)).unwrap();
    match kind(ledger.transition(&step)) {
        ErrorKind::MissingEvidence { now, to, missing } => {
            assert_eq!((now, to), (packed.now, State::Completed));
            assert_eq!(missing, ["tracking_number"]);
        }
        other => panic!("{other:?}"),
    }
    let whole = step.evidence("tracking_number", "1Z").evidence("also", "welcome");
    assert_eq!(ledger.transition(&whole).unwrap().version, 3);
    assert_eq!(states(&ledger, id), [State::Accepted, PACKED, State::Completed]);
}

#[test]
fn rule_16_a_ledger_keeps_its_table_and_takes_another_only_if_no_state_is_lost() {
    let machine = Machine::new(14);
    let table = own().build().unwrap();
    let records = |ledger: &Ledger| ledger.stats().unwrap().records;
    let ledger = machine.open_with(&small().lifecycle(table.clone())).unwrap();
    let id = taken(&ledger, 1);
    ledger.transition(&Transition::new(id, PACKED)).unwrap();
    assert_eq!((id.seq(), records(&ledger)), (Seq(2), 3), "the table, the order, the step");
    ledger.close().unwrap();
    // Without one, and with the same, it is the stored one.
    for options in [small(), small().lifecycle(table.clone())] {
        let ledger = machine.open_with(&options).unwrap();
        assert_eq!((ledger.lifecycle(), records(&ledger)), (&table, 3));
        ledger.close().unwrap();
    }
    let before = machine.disk.digest("wal");
    for other in [
        Lifecycle::default(),
        Lifecycle::builder().edge(State::Accepted, State::Completed).build().unwrap(),
    ] {
        let error = machine.open_with(&small().lifecycle(other)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::LifecycleMismatch { state: PACKED }), "{error}");
    }
    assert_eq!(machine.disk.digest("wal"), before, "nothing was changed");
    let more = own().edge(PACKED, State::Failed).build().unwrap();
    let ledger = machine.open_with(&small().lifecycle(more.clone())).unwrap();
    ledger.transition(&Transition::new(id, State::Failed)).unwrap();
    ledger.close().unwrap();
    let reader = Reader::open_on(machine.disk.as_disk(), &machine.host).unwrap();
    assert_eq!(reader.lifecycle().unwrap(), more);
    // One that has used the default table keeps its states as well.
    let machine = Machine::new(15);
    let ledger = machine.open();
    let id = taken(&ledger, 1);
    ledger.transition(&Transition::new(id, State::InProgress)).unwrap();
    ledger.close().unwrap();
    let error = machine.open_with(&small().lifecycle(own().build().unwrap())).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::LifecycleMismatch { .. }), "{error}");
}

#[test]
fn rule_19_what_is_reached_already_is_a_success_that_writes_nothing() {
    let machine = Machine::new(5);
    let ledger = machine.open();
    let id = taken(&ledger, 1);
    let at_once = ledger.transition(&Transition::new(id, State::Accepted)).unwrap();
    assert_eq!((at_once.how, at_once.seq, at_once.version), (How::Replayed, Seq(1), 1));
    let done = ledger.transition(&Transition::new(id, State::Completed).reason("sent")).unwrap();
    let again = ledger.transition(&Transition::new(id, State::Completed)).unwrap();
    assert_eq!((what(again), again.how, again.now), (what(done), How::Replayed, done.now));
    let expecting = Transition::new(id, State::Completed).expect_state(State::Accepted);
    assert_eq!(ledger.transition(&expecting).unwrap(), again, "the retry of a step by state");
    assert_eq!(ledger.stats().unwrap().records, 2);
    // With a version or a key it was another command.
    let versioned = Transition::new(id, State::Completed).expect_version(2);
    assert!(matches!(kind(ledger.transition(&versioned)), ErrorKind::AlreadyTerminal { .. }));
    let keyed = Transition::new(id, State::Completed).command_key("k");
    assert!(matches!(kind(ledger.transition(&keyed)), ErrorKind::AlreadyTerminal { .. }));
}

/// Effect to prevent: two workers both believe that the order is theirs.
#[test]
fn rule_18_of_those_who_expect_one_version_exactly_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = small_real().open(dir.path().join("orders.ledger")).unwrap();
    for n in 0..50 {
        let id = taken(&ledger, n);
        let targets = [State::Confirmed, State::InProgress, State::Failed, State::Cancelled];
        let answers: Vec<_> = std::thread::scope(|scope| {
            let threads = targets.map(|to| {
                let ledger = &ledger;
                let step = Transition::new(id, to).expect_version(1);
                scope.spawn(move || (to, ledger.transition(&step)))
            });
            threads.map(|thread| thread.join().unwrap()).into()
        });
        let won: Vec<_> = answers.iter().filter(|(_, answer)| answer.is_ok()).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        let (winner, _) = won[0];
        assert_eq!(stands(&ledger, id), (*winner, 2));
        for (_, answer) in answers.iter().filter(|(to, _)| to != winner) {
            let now = match answer.as_ref().map_err(Error::kind) {
                Err(ErrorKind::VersionMismatch { now } | ErrorKind::AlreadyTerminal { now }) => now,
                other => panic!("{other:?}"),
            };
            assert_eq!((now.state, now.version), (*winner, 2), "who loses sees who won");
        }
    }
}

#[test]
fn one_command_from_many_threads_is_one_step() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = small_real().open(dir.path().join("orders.ledger")).unwrap();
    let id = taken(&ledger, 1);
    let step = Transition::new(id, State::InProgress).command_key("start");
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..32).map(|_| scope.spawn(|| ledger.transition(&step).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|answer| answer.how == How::Fresh).count(), 1);
    assert!(answers.iter().all(|answer| (answer.seq, answer.version) == (Seq(2), 2)));
    assert_eq!(states(&ledger, id), [State::Accepted, State::InProgress]);
}

#[test]
fn rule_20_terminal_is_terminal() {
    let machine = Machine::new(6);
    let ledger = machine.open();
    for (n, terminal) in (1..).zip([State::Completed, State::Cancelled, State::Failed]) {
        let id = taken(&ledger, n);
        ledger.transition(&Transition::new(id, terminal)).unwrap();
        for to in State::ALL.into_iter().filter(|to| *to != terminal) {
            let answer = kind(ledger.transition(&Transition::new(id, to)));
            assert!(matches!(answer, ErrorKind::AlreadyTerminal { .. }), "{terminal} {to}");
        }
    }
}

#[test]
fn rule_32_cancel_asks_where_work_is_in_flight() {
    let machine = Machine::new(7);
    let ledger = machine.open();
    let idle = taken(&ledger, 1);
    let cancelled = ledger.cancel(idle, "changed their mind").unwrap();
    assert_eq!((cancelled.to, cancelled.how), (State::Cancelled, How::Fresh));
    assert_eq!(ledger.cancel(idle, "again").unwrap().how, How::Replayed);
    let busy = taken(&ledger, 2);
    ledger.transition(&Transition::new(busy, State::InProgress)).unwrap();
    assert_eq!(ledger.cancel(busy, "too late?").unwrap().to, State::Cancelling);
    assert_eq!(ledger.cancel(busy, "again").unwrap().how, How::Replayed);
    // The answer decides: it was too late.
    ledger.transition(&Transition::new(busy, State::Completed)).unwrap();
    let answer = kind(ledger.cancel(busy, "after the end"));
    assert!(matches!(answer, ErrorKind::AlreadyTerminal { .. }));
    assert_eq!(
        states(&ledger, busy),
        [State::Accepted, State::InProgress, State::Cancelling, State::Completed]
    );
}

#[test]
fn a_batch_of_steps_has_a_result_each_and_few_syncs() {
    let machine = Machine::new(8);
    let ledger = machine.open();
    let ids: Vec<_> = (0..100).map(|n| taken(&ledger, n)).collect();
    let groups = ledger.stats().unwrap().groups;
    let mut steps: Vec<_> = ids.iter().map(|id| Transition::new(*id, State::InProgress)).collect();
    steps.push(Transition::new(ids[0], State::Accepted));
    steps.push(Transition::new(ids[1], State::Completed));
    let answers = ledger.transition_many(&steps);
    assert_eq!(answers.len(), steps.len());
    assert!(answers[..100].iter().all(|answer| answer.as_ref().is_ok_and(|it| it.version == 2)));
    let no_step = answers[100].as_ref().unwrap_err();
    assert!(matches!(no_step.kind(), ErrorKind::NoSuchStep { .. }), "{no_step}");
    assert_eq!(answers[101].as_ref().unwrap().version, 3, "behind the first step of its order");
    let stats = ledger.stats().unwrap();
    assert!(stats.groups - groups <= 2, "{}", stats.groups - groups);
    assert_eq!(stats.steps, 101);
}

/// More than one segment, more than one block of keys under one hash, and runs that are merged.
#[test]
fn the_steps_of_an_order_are_found_wherever_they_lie() {
    let machine = Machine::new(9);
    let ledger = machine.open();
    let (busy, idle) = (taken(&ledger, 1), taken(&ledger, 2));
    let mut version = 1;
    let move_on = |ledger: &Ledger, version: &mut u64| {
        for to in [State::InProgress, State::Cancelling] {
            let step = Transition::new(busy, to)
                .expect_version(*version)
                .command_key(format!("step-{version}"))
                .evidence("padding", vec![7; 60]);
            *version = ledger.transition(&step).unwrap().version;
        }
    };
    for n in 0..800 {
        move_on(&ledger, &mut version);
        if n % 100 == 0 {
            taken(&ledger, 10 + n);
            ledger.tick();
        }
    }
    let told = |ledger: &Ledger, version: u64| {
        let stats = ledger.stats().unwrap();
        assert!(stats.segments > 4, "{stats:?}");
        assert_eq!(stands(ledger, busy), (State::Cancelling, version));
        assert_eq!(stands(ledger, idle), (State::Accepted, 1));
        let history = ledger.history(busy).unwrap();
        assert_eq!(history.len() as u64, version);
        assert!(history.is_sorted_by(|one, next| one.seq < next.seq));
        let again = Transition::new(busy, State::InProgress)
            .command_key("step-1")
            .evidence("padding", vec![7; 60]);
        assert_eq!(ledger.transition(&again).unwrap().version, 2);
    };
    told(&ledger, version);
    ledger.close().unwrap();
    let ledger = machine.open();
    told(&ledger, version);
    move_on(&ledger, &mut version);
    told(&ledger, version);
    ledger.close().unwrap();
    for (path, _) in machine.disk.files() {
        if path.starts_with("derived/") {
            machine.disk.remove_durably(&path).unwrap();
        }
    }
    told(&machine.open(), version);
}

/// Effect to prevent: an order that is stuck is not on the list of those that are.
#[test]
fn rule_24_the_list_of_a_state_has_exactly_the_orders_that_are_in_it() {
    let machine = Machine::new(10);
    for views in [Views::On, Views::Off] {
        let ledger = machine.open_with(&small().views(views)).unwrap();
        let ids: Vec<_> = (0..300).map(|n| taken(&ledger, n)).collect();
        let ways: [&[State]; 4] = [
            &[],
            &[State::Completed],
            &[State::Confirmed, State::InProgress],
            &[State::InProgress, State::Cancelling, State::InProgress],
        ];
        for (n, id) in ids.iter().enumerate() {
            for to in ways[n % 4] {
                // On the second round they are where they are.
                drop(ledger.transition(&Transition::new(*id, *to)));
            }
        }
        let listed = |state: State| {
            let (mut found, mut query) = (Vec::new(), Query::all().state(state).limit(7));
            loop {
                let page = ledger.page(&query).unwrap();
                assert!(page.orders.iter().all(|order| order.now.state == state));
                found.extend(page.orders.iter().map(order_ledger::Order::id));
                match page.next {
                    Some(next) => query = query.after(next),
                    None => return found,
                }
            }
        };
        let expected = |ways: &[usize]| {
            let all = ids.iter().enumerate().filter(|(n, _)| ways.contains(&(n % 4)));
            all.map(|(_, id)| *id).collect::<Vec<_>>()
        };
        assert_eq!(listed(State::Accepted), expected(&[0]));
        assert_eq!(listed(State::Completed), expected(&[1]));
        assert_eq!(listed(State::InProgress), expected(&[2, 3]));
        assert_eq!(listed(State::Confirmed), []);
        assert_eq!(listed(State::Cancelling), []);
        ledger.close().unwrap();
    }
}

fn small_real() -> order_ledger::Options {
    order_ledger::Options::new().segment_bytes(1024 * 1024)
}

/// Terminal is terminal: what was wrong is put right by another order, which names the first.
#[test]
fn rule_20_a_correction_is_a_new_order_that_names_the_old_one() {
    let machine = Machine::new(77);
    let ledger = machine.open();
    let old = taken(&ledger, 1);
    let done = ledger.transition(&Transition::new(old, State::Completed)).unwrap();
    let correction = || order(2).corrects(old);
    let first = ledger.submit(&correction()).unwrap();
    let check = |ledger: &Ledger| {
        let again = ledger.submit(&correction()).unwrap();
        assert_eq!((again.how, again.receipt), (How::Replayed, first.receipt));
        let read = ledger.get(first.receipt.order).unwrap().unwrap();
        assert_eq!(read.corrects, Some(old));
        assert_eq!(ledger.get(old).unwrap().unwrap().corrects, None);
        assert_eq!(stands(ledger, old), (done.to, done.version), "the old one is as it was");
        assert_eq!(ledger.corrections_of(old).unwrap()[0], first.receipt.order);
        assert_eq!(ledger.corrections_of(first.receipt.order).unwrap(), []);
        // Without the name, or with another, it is another order.
        for other in [order(2), order(2).corrects(first.receipt.order)] {
            let error = ledger.submit(&other).unwrap_err();
            let ErrorKind::Conflict { differs, .. } = error.kind() else { panic!("{error}") };
            assert_eq!(differs[..], [Field::Corrects]);
        }
    };
    check(&ledger);
    for nobody in [OrderId::new(0, Seq(999)), OrderId::new(3, old.seq()), OrderId::new(0, done.seq)]
    {
        let error = ledger.submit(&order(3).corrects(nobody)).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::NoSuchOrder { order: nobody });
        assert_eq!(error.certainty(), Certainty::NotRecorded);
    }
    ledger.submit(&order(3).corrects(old)).unwrap();
    assert_eq!(ledger.corrections_of(old).unwrap().len(), 2);
    assert_eq!(ledger.stats().unwrap().orders, 3);
    ledger.close().unwrap();
    check(&machine.open());
    let ledger = machine.open();
    for n in 1000..1500 {
        taken(&ledger, n);
        ledger.tick();
    }
    check(&ledger);
    ledger.close().unwrap();
    let report =
        order_ledger::verify_on(machine.disk.as_disk(), &machine.host, &mut |_, _| {}).unwrap();
    assert_eq!(report.soundness(), order_ledger::Soundness::Sound, "{report:?}");
}
