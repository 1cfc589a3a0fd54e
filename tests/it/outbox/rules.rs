//! The promises one by one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use order_ledger::disk::sim::{Crash, CrashMode, SimDisk};
use order_ledger::{
    AfterDead, BreakerPolicy, BreakerState, Call, Certainty, Dispatch, DispatchQuery,
    DispatchState, ErrorKind, EventKind, How, Ledger, LinkedBatch, LinkedResult, OnUnknown,
    Options, Outbox, Provider, Ran, Reader, Route, Sent, Seq, State, Transition, Views,
};

use super::world::{Mood, World};
use super::{all, assert_sound, check, drain, ordered, patient, pay, taken, waiting};
use crate::rig::copy;
use crate::support::{Machine, order, small};

fn is_done(state: &DispatchState) -> bool {
    matches!(state, DispatchState::Done { .. })
}

/// Effect to prevent: an order that is never paid for, or a payment without an order.
#[test]
fn a_dispatch_is_recorded_with_what_causes_it() {
    let machine = Machine::new(1);
    let ledger = machine.open();
    let batch = ordered(1, &["8.40 EUR"]);
    let (id, dispatches) = taken(&ledger, &batch);
    assert_eq!(taken(&ledger, &batch), (id, dispatches.clone()), "once");
    let told = &ledger.dispatches(id).unwrap()[0];
    assert_eq!((told.dispatch, told.order, &told.body[..]), (dispatches[0], id, &b"8.40 EUR"[..]));
    assert_eq!((told.route.as_str(), &told.state), ("pay", &DispatchState::Waiting));
    assert_eq!(told.batch, Some(Seq(id.seq().0 - 1)));
    // With a step.
    let step = Transition::new(id, State::Confirmed).command_key("confirm");
    let batch = LinkedBatch::of_step(step).dispatch(Dispatch::new(id, "pay", "ship it"));
    let linked = ledger.linked(&batch).unwrap();
    assert!(matches!(linked.results[1], LinkedResult::Dispatched(it) if it.order == id));
    assert_eq!(ledger.linked(&batch).unwrap().how, How::Replayed);
    // Alone, under its key.
    let alone = Dispatch::new(id, "pay", "a gift").command_key("gift");
    let first = ledger.dispatch(&alone).unwrap();
    assert_eq!(ledger.dispatch(&alone).unwrap().dispatch, first.dispatch);
    let error = ledger.dispatch(&Dispatch::new(id, "pay", "other").command_key("gift"));
    assert!(matches!(error.unwrap_err().kind(), ErrorKind::CommandConflict { .. }));
    let error = ledger.dispatch(&Dispatch::new(id, "pay", "no key")).unwrap_err();
    assert_eq!(error.certainty(), Certainty::NotRecorded);
    let version = ledger.get(id).unwrap().unwrap().now.version;
    assert_eq!((ledger.dispatches(id).unwrap().len(), version), (3, 2), "no step of the order");
    let kinds: Vec<_> = ledger.history(id).unwrap().iter().map(|it| it.body.kind()).collect();
    use EventKind::{Accepted, Dispatched, Moved};
    assert_eq!(kinds, [Accepted, Dispatched, Moved, Dispatched, Dispatched]);
    ledger.close().unwrap();
    assert_sound(&machine);
    let reader = Reader::open_on(machine.disk.as_disk(), &machine.host).unwrap();
    assert_eq!(reader.dispatches(id).unwrap().len(), 3);
    assert_eq!(reader.open_dispatches(&DispatchQuery::all()).unwrap().dispatches.len(), 3);
}

#[test]
fn a_dispatch_that_can_not_be_is_refused_and_nothing_of_its_batch_is_recorded() {
    let machine = Machine::new(2);
    let ledger = machine.open();
    let (id, _) = taken(&ledger, &ordered(1, &[]));
    let records = ledger.stats().unwrap().records;
    let of = |index| Dispatch::of_member(index, "pay", "x");
    let batch = || LinkedBatch::new("k").submit(order(2));
    for broken in [
        batch().dispatch(of(1)),
        batch().dispatch(of(7)),
        LinkedBatch::new("k").dispatch(of(1)).submit(order(2)),
        batch().transition(Transition::new(id, State::Confirmed)).dispatch(of(1)),
        batch().dispatch(of(0).command_key("k")),
        batch().dispatch(Dispatch::of_member(0, "two words", "x")),
        batch().dispatch(Dispatch::of_member(0, "", "x")),
        batch().dispatch(Dispatch::new(id, "pay", vec![0; 64 * 1024 + 1])),
        batch()
            .dispatch(Dispatch::new(id, "pay", "x").command_key("c"))
            .dispatch(Dispatch::new(id, "pay", "y").command_key("c")),
        batch().dispatch(Dispatch::new(order_ledger::OrderId::new(0, Seq(999)), "pay", "x")),
    ] {
        let error = ledger.linked(&broken).unwrap_err();
        assert_eq!(error.certainty(), Certainty::NotRecorded, "{error}");
        assert_eq!(ledger.stats().unwrap().records, records, "{broken:?}");
    }
    let largest = Dispatch::of_member(0, "p".repeat(64), vec![7; 64 * 1024]);
    ledger.linked(&batch().dispatch(largest)).unwrap();
    let error = ledger.redrive(Seq(999), "x").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoSuchDispatch { .. }));
    let error = ledger.redrive(id.seq(), "x").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoSuchDispatch { .. }), "an order is none");
}

/// Looks, when it is called, at what a power cut at this moment would leave.
struct Watching {
    disk: SimDisk,
    seen: Arc<Mutex<Vec<DispatchState>>>,
}

impl Provider for Watching {
    fn name(&self) -> &str {
        "watching"
    }

    fn send(&self, call: &Call) -> Sent {
        let left = copy(&self.disk);
        left.crash(Crash::new(CrashMode::DropAll, 1));
        let machine = Machine { disk: left, host: order_ledger::disk::sim::SimHost::new(1) };
        let ledger = machine.open();
        let told = ledger.dispatches(call.order).unwrap().remove(0);
        assert_eq!(told.attempts, call.attempt);
        self.seen.lock().unwrap().push(told.state);
        Sent::NotSent { why: "once more".into() }
    }
}

/// Effect to prevent: the provider is called, the power goes, and nothing says that it may have done it.
#[test]
fn an_attempt_is_durable_before_the_provider_is_called() {
    let machine = Machine::new(3);
    let ledger = machine.open();
    taken(&ledger, &ordered(1, &["x"]));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let watching = Watching { disk: machine.disk.clone(), seen: Arc::clone(&seen) };
    let outbox = Outbox::builder()
        .provider(watching)
        .route(patient(Route::new("pay", "watching")))
        .step_by_step(&ledger)
        .unwrap();
    drain(&outbox, &machine).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    for state in &*seen {
        let DispatchState::Unknown { provider, .. } = state else { panic!("{state:?}") };
        assert_eq!(provider, "watching");
    }
}

/// Effect to prevent: the card is charged at two providers.
#[test]
fn nobody_else_is_told_while_it_is_unknown() {
    for mood in [Mood::Lost, Mood::Silent, Mood::Late, Mood::PanicBefore, Mood::PanicAfter] {
        let machine = Machine::new(4);
        let world = World::new(&machine.host, move |_, _| mood);
        let ledger = machine.open();
        let (id, dispatches) = taken(&ledger, &ordered(1, &["x"]));
        let outbox = pay(&world, false, false).step_by_step(&ledger).unwrap();
        assert_eq!(outbox.run_once().unwrap(), Ran::Worked);
        let told = ledger.dispatches(id).unwrap().remove(0);
        assert!(
            matches!(&told.state, DispatchState::Unknown { provider, .. } if provider == "acme")
        );
        drain(&outbox, &machine).unwrap();
        // It took too long, and is given up; who may have done it is on record.
        let told = ledger.dispatches(id).unwrap().remove(0);
        assert!(matches!(told.state, DispatchState::Dead { .. }), "{told:?}");
        assert_eq!(told.in_doubt.as_deref(), Some("acme"));
        let called: Vec<_> = world.calls().into_iter().map(|(name, ..)| name).collect();
        assert_eq!(called, ["acme"], "{mood:?}");
        // Sent on its way again it is still unknown, and still nobody else is told.
        ledger.redrive(dispatches[0], "again").unwrap();
        drain(&outbox, &machine).unwrap();
        assert_eq!(world.calls().len(), 1, "{mood:?}");
    }
}

/// The same, where the provider can be asked, or knows repeats: then it is found out.
#[test]
fn an_unknown_outcome_is_found_out_by_a_lookup_or_with_the_same_token() {
    for mood in [Mood::Lost, Mood::Silent, Mood::Late, Mood::PanicAfter] {
        for able in [(false, true), (true, false), (true, true)] {
            let machine = Machine::new(5);
            let world = World::new(&machine.host, move |_, number| match number {
                0 => mood,
                _ => Mood::Fine,
            });
            let ledger = machine.open();
            let (id, dispatches) = taken(&ledger, &ordered(1, &["x"]));
            let outbox = pay(&world, able.0, able.1).step_by_step(&ledger).unwrap();
            drain(&outbox, &machine).unwrap();
            let told = ledger.dispatches(id).unwrap().remove(0);
            assert!(is_done(&told.state), "{mood:?} {able:?}: {told:?}");
            assert_eq!(told.in_doubt, None);
            check(&ledger, &world).unwrap();
            assert_eq!(world.done_by(dispatches[0]), [("acme".to_owned(), 1)]);
            let tokens: std::collections::BTreeSet<_> =
                world.calls().into_iter().map(|(_, _, token)| token).collect();
            assert_eq!(tokens.len(), 1, "the same at every attempt");
        }
    }
}

/// Effect to prevent: not sent this time is taken for not sent at all.
#[test]
fn a_repeat_that_was_not_sent_leaves_the_attempt_before_it_unknown() {
    let machine = Machine::new(6);
    let world = World::new(&machine.host, |_, number| match number {
        0 => Mood::Lost,
        _ => Mood::Before,
    });
    let ledger = machine.open();
    let (id, _) = taken(&ledger, &ordered(1, &["x"]));
    let outbox = pay(&world, true, false).step_by_step(&ledger).unwrap();
    drain(&outbox, &machine).unwrap();
    let told = ledger.dispatches(id).unwrap().remove(0);
    assert!(matches!(told.state, DispatchState::Dead { .. }));
    assert_eq!((told.in_doubt.as_deref(), told.attempts), (Some("acme"), 3));
    assert!(world.calls().iter().all(|(name, ..)| name == "acme"));
    check(&ledger, &world).unwrap();
}

/// Effect to prevent: a request that is still on its way is taken for one that never was.
#[test]
fn absent_is_believed_only_when_no_request_can_be_on_its_way() {
    let machine = Machine::new(7);
    let world = World::new(&machine.host, |name, _| match name {
        "acme" => Mood::Late,
        _ => Mood::Fine,
    });
    let ledger = machine.open();
    let (id, _) = taken(&ledger, &ordered(1, &["x"]));
    let outbox = pay(&world, false, true).step_by_step(&ledger).unwrap();
    drain(&outbox, &machine).unwrap();
    check(&ledger, &world).unwrap();
    let state = ledger.dispatches(id).unwrap().remove(0).state;
    assert!(
        matches!(&state, DispatchState::Done { provider, .. } if provider == "acme"),
        "{state:?}"
    );
}

#[test]
fn who_refused_or_was_not_reached_is_followed_by_the_next() {
    for (mood, attempts) in [(Mood::Refuse, 2), (Mood::Before, 4)] {
        let machine = Machine::new(8);
        let world = World::new(&machine.host, move |name, _| match name {
            "acme" => mood,
            _ => Mood::Fine,
        });
        let ledger = machine.open();
        let (id, dispatches) = taken(&ledger, &ordered(1, &["x"]));
        let outbox = pay(&world, false, false).step_by_step(&ledger).unwrap();
        drain(&outbox, &machine).unwrap();
        let told = ledger.dispatches(id).unwrap().remove(0);
        assert!(is_done(&told.state));
        assert_eq!(told.attempts, attempts, "{mood:?}");
        assert_eq!(world.done_by(dispatches[0]), [("bank".to_owned(), 1)]);
    }
}

/// The route that may do it twice does it twice, and says so.
#[test]
fn a_route_that_falls_back_from_the_unknown_keeps_the_doubt_on_record() {
    let machine = Machine::new(9);
    let world = World::new(&machine.host, |name, _| match name {
        "acme" => Mood::Lost,
        _ => Mood::Fine,
    });
    let ledger = machine.open();
    let (id, dispatches) = taken(&ledger, &ordered(1, &["x"]));
    let route = patient(Route::new("pay", "acme").fallback("bank"));
    let outbox = Outbox::builder()
        .provider(world.party("acme", false, false))
        .provider(world.party("bank", false, false))
        .route(route.on_unknown(OnUnknown::FallBack))
        .step_by_step(&ledger)
        .unwrap();
    drain(&outbox, &machine).unwrap();
    let told = ledger.dispatches(id).unwrap().remove(0);
    assert!(matches!(&told.state, DispatchState::Done { provider, .. } if provider == "bank"));
    assert_eq!(told.in_doubt.as_deref(), Some("acme"));
    assert_eq!(world.done_by(dispatches[0]).len(), 2);
}

#[test]
fn the_dispatches_of_an_order_are_dealt_with_in_their_order_and_wait_behind_a_dead_letter() {
    let machine = Machine::new(10);
    let refuse_first = |_: &str, number| if number < 2 { Mood::Refuse } else { Mood::Fine };
    let world = World::new(&machine.host, refuse_first);
    let ledger = machine.open();
    let (id, dispatches) = taken(&ledger, &ordered(1, &["pay", "ship"]));
    let (other, _) = taken(&ledger, &ordered(2, &["pay"]));
    let outbox = Outbox::builder()
        .provider(world.party("acme", false, false))
        .route(patient(Route::new("pay", "acme")))
        .step_by_step(&ledger)
        .unwrap();
    drain(&outbox, &machine).unwrap();
    let states = |order| -> Vec<_> {
        ledger.dispatches(order).unwrap().iter().map(|it| it.state.name()).collect()
    };
    assert_eq!((states(id), states(other)), (vec!["dead", "waiting"], vec!["dead"]));
    let stats = outbox.stats();
    assert_eq!((stats.open, stats.dead, stats.providers[0].refused), (1, 2, 2));
    assert!(stats.oldest_open_age.is_some());
    // A person sends it on its way again; the provider remembers the token.
    let token = world.calls()[0].2;
    ledger.redrive(dispatches[0], "the card was unblocked").unwrap();
    let error = ledger.redrive(dispatches[0], "twice").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotDead { .. }));
    drain(&outbox, &machine).unwrap();
    assert_eq!(world.calls().last().unwrap().2, token);
    assert_eq!(states(id), ["dead", "waiting"], "refused again");
    drop(outbox);
    // Where nobody waits for it, later ones go on.
    let outbox = Outbox::builder()
        .provider(world.party("acme", false, false))
        .route(patient(Route::new("pay", "acme")).after_dead(AfterDead::GoOn))
        .step_by_step(&ledger)
        .unwrap();
    drain(&outbox, &machine).unwrap();
    assert_eq!(states(id), ["dead", "done"]);
    let kinds: Vec<_> = ledger.history(id).unwrap().iter().map(|it| it.body.kind()).collect();
    use EventKind::{Accepted, Attempted, Dispatched, GivenUp, Redriven, Reported};
    let dealt = [Attempted, Reported, GivenUp];
    let whole = [&[Accepted, Dispatched, Dispatched][..], &dealt, &[Redriven], &dealt];
    assert_eq!(kinds, [&whole.concat()[..], &[Attempted, Reported]].concat());
}

#[test]
fn a_provider_that_does_not_answer_is_left_alone_for_a_while() {
    let machine = Machine::new(11);
    let world = World::new(&machine.host, |name, number| match (name, number) {
        ("acme", 0..4) => Mood::Before,
        _ => Mood::Fine,
    });
    let ledger = machine.open();
    for n in 0..6 {
        taken(&ledger, &ordered(n, &["x"]));
    }
    let breaker = BreakerPolicy { failures_max: 2, open_for: Duration::from_secs(30) };
    let outbox = pay(&world, false, false).breaker(breaker).step_by_step(&ledger).unwrap();
    while outbox.run_once().unwrap() == Ran::Worked {}
    let stats = outbox.stats();
    let acme = &stats.providers[0];
    assert_eq!((acme.breaker, acme.breaker_opened, acme.not_sent), (BreakerState::Open, 1, 2));
    drain(&outbox, &machine).unwrap();
    assert!(all(&ledger).iter().all(|entry| is_done(&entry.state)));
    let acme = world.calls().iter().filter(|(name, ..)| name == "acme").count();
    assert_eq!(acme, 2, "the others went to the bank at once");
    taken(&ledger, &ordered(9, &["x"]));
    machine.host.advance(Duration::from_secs(31));
    assert_eq!(outbox.run_once().unwrap(), Ran::Worked);
    assert_eq!(outbox.stats().providers[0].not_sent, 3, "one call found out");
    assert_eq!(outbox.stats().providers[0].breaker, BreakerState::Open);
}

/// Effect to prevent: two engines call for the same dispatch, or one takes the other's attempt for one that was cut off.
#[test]
fn there_is_one_outbox_at_a_time() {
    let machine = Machine::new(12);
    let world = World::new(&machine.host, |_, _| Mood::Fine);
    let ledger = machine.open();
    let outbox = pay(&world, false, false).step_by_step(&ledger).unwrap();
    let error = pay(&world, false, false).step_by_step(&ledger.clone()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::OutboxRuns));
    drop(outbox);
    let outbox = pay(&world, false, false).step_by_step(&ledger).unwrap();
    // It keeps the ledger open, and ends with it.
    ledger.close().unwrap();
    assert!(matches!(outbox.run_once().unwrap_err().kind(), ErrorKind::Closed));
    drop(outbox);
    for broken in [
        pay(&world, false, false).route(Route::new("pay", "acme")),
        pay(&world, false, false).route(Route::new("x", "nobody")),
        pay(&world, false, false).provider(world.party("acme", false, false)),
        pay(&world, false, false).workers(0),
    ] {
        let ledger = machine.open();
        let error = broken.step_by_step(&ledger).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Invalid { .. }), "{error}");
    }
}

/// The lists are the same with views, without, and while these know only a part.
#[test]
fn what_waits_is_listed_with_views_and_without() {
    let machine = Machine::new(13);
    let world = World::new(&machine.host, |_, number| match number % 3 {
        0 => Mood::Refuse,
        1 => Mood::Fine,
        _ => Mood::Silent,
    });
    let ledger = machine.open_with(&small().views(Views::On)).unwrap();
    for n in 0..40 {
        taken(&ledger, &ordered(n, &["x", "y"]));
    }
    let outbox = Outbox::builder()
        .provider(world.party("acme", false, false))
        .route(patient(Route::new("pay", "acme")))
        .step_by_step(&ledger)
        .unwrap();
    for round in 0..60 {
        outbox.run_once().unwrap();
        if round % 7 == 0 {
            // The views take in what was done, and not what comes behind it.
            waiting(&ledger);
        }
        if round % 11 == 0
            && let Some(letter) =
                ledger.dead_letters(&DispatchQuery::all()).unwrap().dispatches.pop()
        {
            ledger.redrive(letter.dispatch, "again").unwrap();
        }
    }
    let reader = Reader::open_on(machine.disk.as_disk(), &machine.host).unwrap();
    let pages = |page: &dyn Fn(&DispatchQuery) -> order_ledger::DispatchPage, limit: usize| {
        let (mut query, mut seqs) = (DispatchQuery::all().limit(limit), Vec::new());
        loop {
            let page = page(&query);
            assert!(page.dispatches.len() <= limit);
            seqs.extend(page.dispatches.iter().map(|it| (it.dispatch, it.state.name())));
            let Some(next) = page.next else { break seqs };
            query = query.after(next);
        }
    };
    let open = pages(&|query| reader.open_dispatches(query).unwrap(), 100);
    let dead = pages(&|query| reader.dead_letters(query).unwrap(), 100);
    assert!(open.len() > 30 && dead.len() > 5, "{} open, {} dead", open.len(), dead.len());
    for limit in [1, 7, 1000] {
        assert_eq!(pages(&|query| ledger.open_dispatches(query).unwrap(), limit), open);
        assert_eq!(pages(&|query| ledger.dead_letters(query).unwrap(), limit), dead);
    }
    let other = DispatchQuery::all().route("other");
    assert!(ledger.open_dispatches(&other).unwrap().dispatches.is_empty());
    assert_eq!(ledger.stats().unwrap().views.unwrap().set_aside, 0, "nothing was wrong with them");
}

/// A provider that counts, and takes a while.
struct Counting(Arc<AtomicU64>, Arc<Mutex<Vec<Seq>>>);

impl Provider for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn send(&self, call: &Call) -> Sent {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        if number.is_multiple_of(5) {
            return Sent::NotSent { why: "busy".into() };
        }
        self.1.lock().unwrap().push(call.dispatch);
        Sent::Done { reference: number.to_string().into_bytes() }
    }
}

/// With threads, on a real disk: all is done once, order by order, while orders come in.
#[test]
fn threads_do_everything_once() {
    let dir = tempfile::tempdir().unwrap();
    let ledger: Ledger = Options::new().open(dir.path().join("orders.ledger")).unwrap();
    let (count, done) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
    let retry = order_ledger::RetryPolicy {
        base: Duration::from_micros(100),
        attempts_max: 100,
        ..Default::default()
    };
    let breaker = BreakerPolicy { failures_max: 1000, ..BreakerPolicy::default() };
    let outbox = Outbox::builder()
        .provider(Counting(count, Arc::clone(&done)))
        .route(Route::new("pay", "counting").retry(retry))
        .breaker(breaker)
        .workers(4)
        .start(&ledger)
        .unwrap();
    let mut expected = Vec::new();
    for n in 0..60 {
        expected.extend(taken(&ledger, &ordered(n, &["a", "b"])).1);
    }
    while !waiting(&ledger).is_empty() {
        std::thread::yield_now();
    }
    outbox.stop().unwrap();
    let done = done.lock().unwrap().clone();
    let mut sorted = done.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    for pair in expected.chunks(2) {
        let place = |dispatch| done.iter().position(|it| *it == dispatch);
        assert!(place(pair[0]) < place(pair[1]));
    }
    ledger.close().unwrap();
}

/// Effect to prevent: what two decided by the same record is recorded twice, and two attempts are made.
#[test]
fn of_many_who_send_a_dead_letter_on_its_way_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let ledger: Ledger = Options::new().open(dir.path().join("orders.ledger")).unwrap();
    let host = order_ledger::disk::sim::SimHost::new(1);
    let world = World::new(&host, |_, _| Mood::Refuse);
    let letters: Vec<Seq> = (0..20).map(|n| taken(&ledger, &ordered(n, &["x"])).1[0]).collect();
    let outbox = pay(&world, false, false).step_by_step(&ledger).unwrap();
    while outbox.run_once().unwrap() == Ran::Worked {}
    for letter in letters {
        let done = std::thread::scope(|scope| {
            let many: Vec<_> =
                (0..6).map(|_| scope.spawn(|| ledger.redrive(letter, "again"))).collect();
            many.into_iter().map(|it| it.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(done.iter().filter(|it| it.is_ok()).count(), 1, "{done:?}");
        let is_not_dead =
            |error: &order_ledger::Error| matches!(error.kind(), ErrorKind::NotDead { .. });
        assert!(done.iter().filter_map(|it| it.as_ref().err()).all(is_not_dead));
    }
}

/// Views on a real disk are audited when they are opened: what left a list and came back to it adds up.
#[test]
fn the_views_are_sound_after_dispatches_have_come_and_gone() {
    let dir = tempfile::tempdir().unwrap();
    let open = || -> Ledger { Options::new().open(dir.path().join("orders.ledger")).unwrap() };
    let host = order_ledger::disk::sim::SimHost::new(1);
    let world = World::new(&host, |_, number| match number % 2 {
        0 => Mood::Refuse,
        _ => Mood::Fine,
    });
    let fed = |ledger: &Ledger| {
        loop {
            let views = ledger.stats().unwrap().views.unwrap();
            assert_eq!(views.set_aside, 0, "{:?}", views.reason);
            if views.behind == 0 {
                return;
            }
            std::thread::yield_now();
        }
    };
    let mut expected = Vec::new();
    for round in 0..4 {
        let ledger = open();
        fed(&ledger);
        let seqs = |page: order_ledger::DispatchPage| -> Vec<Seq> {
            page.dispatches.iter().map(|it| it.dispatch).collect()
        };
        let all = DispatchQuery::all();
        let lists = || {
            let open = seqs(ledger.open_dispatches(&all).unwrap());
            (open, seqs(ledger.dead_letters(&all).unwrap()))
        };
        if round > 0 {
            assert_eq!(vec![lists()], expected);
        }
        for n in 0..6 {
            taken(&ledger, &ordered(round * 10 + n, &["x", "y"]));
        }
        let outbox = Outbox::builder()
            .provider(world.party("acme", false, false))
            .route(patient(Route::new("pay", "acme")))
            .step_by_step(&ledger)
            .unwrap();
        while outbox.run_once().unwrap() == Ran::Worked {}
        let letters = lists().1;
        ledger.redrive(letters[0], "again").unwrap();
        fed(&ledger);
        expected = vec![lists()];
        assert!(!expected[0].0.is_empty() && !expected[0].1.is_empty());
        drop(outbox);
        ledger.close().unwrap();
    }
}
