//! What we hold against what a provider says: every planted difference is found, what its list proves is recorded once.

use std::collections::BTreeMap;
use std::time::Duration;

use order_ledger::{
    Compared, DispatchState, ErrorKind, EventBody, Ledger, LedgerId, Reader, Reconcile,
    Reconciliation, Seq, TheirItem, Timestamp, Token, Witness,
};

use super::world::{Mood, World};
use super::{all, assert_sound, drain, ordered, pay, taken};
use crate::support::Machine;

fn ever(route: &str) -> Reconcile {
    let (first, last) = (Timestamp::from_unix_ns(0), Timestamp::from_unix_ns(u64::MAX));
    Reconcile::new(route, "acme", first, last).our_fields(|entry| {
        let amount = String::from_utf8(entry.body.clone()).unwrap();
        BTreeMap::from([("amount".to_owned(), amount), ("ours only".to_owned(), "x".to_owned())])
    })
}

fn token(id: LedgerId, ledger: &Ledger, dispatch: Seq) -> String {
    let entry = all(ledger).into_iter().find(|entry| entry.dispatch == dispatch).unwrap();
    Token::of(id, entry.order, dispatch, "acme").to_string()
}

fn item(token: &str, reference: &str, amount: &str) -> TheirItem {
    let fields = BTreeMap::from([("amount".to_owned(), amount.to_owned())]);
    TheirItem { token: token.to_owned(), reference: reference.into(), fields }
}

fn outcomes(compared: &Reconciliation) -> Vec<Compared> {
    compared.items.iter().map(|item| item.compared).collect()
}

#[test]
fn every_planted_difference_is_found_and_a_second_run_records_nothing() {
    use Compared::{Differs, Matched, OnlyOurs, OnlyTheirs, ResolvedUnknown, StillUnknown};
    let machine = Machine::new(20);
    let ledger = machine.open();
    // Nine at acme, of which 4 is refused and done by the bank, 5 to 7 are unknown, and the rest is done.
    let world = World::new(&machine.host, |name, number| match (name, number) {
        ("acme", 4) => Mood::Refuse,
        ("acme", 5 | 6) => Mood::Lost,
        ("acme", 7) => Mood::Silent,
        _ => Mood::Fine,
    });
    let dispatches: Vec<Seq> =
        (0..9).flat_map(|n| taken(&ledger, &ordered(n, &["8.40"])).1).collect();
    let outbox = pay(&world, false, false).step_by_step(&ledger).unwrap();
    for _ in 0..10 {
        outbox.run_once().unwrap();
    }
    // Number 6 is given up.
    drop(outbox);
    let states = || -> Vec<_> { all(&ledger).iter().map(|entry| entry.state.name()).collect() };
    let unknown = ["unknown"; 3];
    assert_eq!(states(), [&["done"; 5][..], &unknown, &["done"]].concat());
    let id = ledger.id();
    let tokens: Vec<String> = dispatches.iter().map(|it| token(id, &ledger, *it)).collect();
    let reference = |index: usize| format!("ref-{}", tokens[index]);
    let theirs = [
        item(&tokens[0].to_uppercase(), &reference(0), "8.40"),
        item("", &reference(1), "8.40"),
        item(&tokens[2], &reference(2), "84.00"),
        item(&tokens[2], "another", "8.40"),
        item(&tokens[4], &reference(4), "8.40"),
        item(&tokens[5], &reference(5), "8.40"),
        item(&tokens[6], &reference(6), "9.99"),
        item("ffff", "nobody's", "1.00"),
        item("", "", ""),
    ];
    let compared = ledger.reconcile(&ever("pay"), &theirs).unwrap();
    let found = [
        Matched,
        Matched,
        Differs,
        Differs,
        Differs,
        ResolvedUnknown,
        ResolvedUnknown,
        OnlyTheirs,
        OnlyTheirs,
        OnlyOurs,
        StillUnknown,
        OnlyOurs,
    ];
    assert_eq!(outcomes(&compared), found, "{compared:#?}");
    let differs = |index: usize| -> Vec<_> {
        let differs = &compared.items[index].differs;
        differs.iter().map(|it| (&it.field[..], &it.ours[..], &it.theirs[..])).collect()
    };
    assert_eq!(differs(2), [("amount", "8.40", "84.00")]);
    let twice = [("reference", &reference(2)[..], "another"), ("times", "1", "2 or more")];
    assert_eq!(differs(3), twice);
    assert_eq!(differs(4), [("state", "done (bank)", "done")], "charged by both");
    assert_eq!(differs(6), [("amount", "8.40", "9.99")]);
    assert!(!compared.is_clean());
    let ours: Vec<_> = compared.items[9..].iter().map(|it| it.dispatch.unwrap()).collect();
    assert_eq!(ours, [dispatches[3], dispatches[7], dispatches[8]]);
    // What was resolved is done, on the word of their list.
    assert_eq!(states(), [&["done"; 7][..], &["unknown", "done"]].concat());
    let order = all(&ledger)[5].order;
    let last = ledger.history(order).unwrap().pop().unwrap().body;
    let EventBody::Reported { by, provider, .. } = last else { panic!("{last:?}") };
    assert_eq!((by, provider.as_str()), (Witness::TheirList, "acme"));
    // Once more, here and after opening again.
    let records = ledger.stats().unwrap().records;
    let again = ledger.reconcile(&ever("pay"), &theirs).unwrap();
    let settled = |it: &Compared| if *it == ResolvedUnknown { Matched } else { *it };
    let mut expected: Vec<_> = found.iter().map(settled).collect();
    expected[6] = Differs;
    assert_eq!(outcomes(&again), expected);
    assert_eq!(ledger.stats().unwrap().records, records, "nothing was recorded");
    ledger.close().unwrap();
    assert_sound(&machine);
    let ledger = machine.open();
    assert_eq!(outcomes(&ledger.reconcile(&ever("pay"), &theirs).unwrap()), expected);
    assert!(ledger.reconcile(&ever("other"), &theirs[..1]).unwrap().items[0].dispatch.is_none());
    // A list that has everything proves that what is missing was not done: then it is tried again.
    let complete = ever("pay").list_is_complete();
    let compared = ledger.reconcile(&complete, &theirs).unwrap();
    assert_eq!(compared.items[10].compared, ResolvedUnknown);
    let entry = &all(&ledger)[7];
    assert!(matches!(entry.state, DispatchState::Retrying { .. }));
    assert_eq!(entry.in_doubt, None);
    let outbox = pay(&world, false, false).step_by_step(&ledger).unwrap();
    drain(&outbox, &machine).unwrap();
    assert!(all(&ledger).iter().all(|entry| matches!(entry.state, DispatchState::Done { .. })));
    world.check_once().unwrap();
    drop(outbox);
    ledger.close().unwrap();
    assert_sound(&machine);
}

/// Effect to prevent: a dead letter in doubt stays one although their list says that it was done.
#[test]
fn a_dead_letter_in_doubt_is_resolved_and_what_waits_behind_it_goes_on() {
    let machine = Machine::new(21);
    let ledger = machine.open();
    let world = World::new(&machine.host, |_, number| match number {
        0 => Mood::Lost,
        _ => Mood::Fine,
    });
    let (id, dispatches) = taken(&ledger, &ordered(1, &["8.40", "ship"]));
    let outbox = pay(&world, false, false).step_by_step(&ledger).unwrap();
    drain(&outbox, &machine).unwrap();
    let states = || -> Vec<_> {
        ledger.dispatches(id).unwrap().iter().map(|entry| entry.state.name()).collect()
    };
    assert_eq!(states(), ["dead", "waiting"]);
    let token = token(ledger.id(), &ledger, dispatches[0]);
    // Beside the outbox that runs.
    let compared = ledger.reconcile(&ever("pay"), &[item(&token, "r", "8.40")]).unwrap();
    assert_eq!(outcomes(&compared), [Compared::ResolvedUnknown]);
    drain(&outbox, &machine).unwrap();
    assert_eq!(states(), ["done", "done"]);
    world.check_once().unwrap();
    drop(outbox);
    ledger.close().unwrap();
    assert_sound(&machine);
}

#[test]
fn a_period_has_its_own_items_and_looks_around_itself_for_theirs() {
    let machine = Machine::new(22);
    let ledger = machine.open();
    let world = World::new(&machine.host, |_, _| Mood::Fine);
    let outbox = pay(&world, false, false).step_by_step(&ledger).unwrap();
    let (_, early) = taken(&ledger, &ordered(1, &["1"]));
    drain(&outbox, &machine).unwrap();
    machine.host.advance(Duration::from_secs(3600));
    let (_, late) = taken(&ledger, &ordered(2, &["2"]));
    drain(&outbox, &machine).unwrap();
    let entries = all(&ledger);
    let (since, until) = (entries[1].at, Timestamp::from_unix_ns(u64::MAX));
    let hour = |around| Reconcile::new("pay", "acme", since, until).around(around);
    let theirs = item(&token(ledger.id(), &ledger, early[0]), "", "");
    // The day of the second one: the first one is not asked for, and found when they have it.
    let compared =
        ledger.reconcile(&hour(Duration::from_secs(7200)), std::slice::from_ref(&theirs)).unwrap();
    assert_eq!(outcomes(&compared), [Compared::Matched, Compared::OnlyOurs]);
    assert_eq!(compared.items[1].dispatch, Some(late[0]));
    let compared = ledger.reconcile(&hour(Duration::ZERO), &[theirs]).unwrap();
    assert_eq!(outcomes(&compared), [Compared::OnlyTheirs, Compared::OnlyOurs]);
    let before = Reconcile::new("pay", "acme", Timestamp::from_unix_ns(0), since);
    let compared = ledger.reconcile(&before, &[]).unwrap();
    assert_eq!(compared.items.len(), 1);
    for broken in [
        Reconcile::new("pay", "acme", until, since),
        Reconcile::new("two words", "acme", since, until),
        Reconcile::new("pay", "", since, until),
    ] {
        let error = ledger.reconcile(&broken, &[]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Invalid { .. }));
    }
}

#[test]
fn figures_of_providers_are_made_of_the_log() {
    let machine = Machine::new(23);
    let ledger = machine.open();
    let world = World::new(&machine.host, |name, number| match (name, number) {
        ("acme", 0) => Mood::Before,
        ("acme", 2) => Mood::Refuse,
        ("acme", 3) => Mood::Silent,
        _ => Mood::Fine,
    });
    for n in 0..4 {
        taken(&ledger, &ordered(n, &["1"]));
    }
    let outbox = pay(&world, false, false).step_by_step(&ledger).unwrap();
    drain(&outbox, &machine).unwrap();
    let (first, last) = (Timestamp::from_unix_ns(0), Timestamp::from_unix_ns(u64::MAX));
    let sla = ledger.provider_sla(first, last).unwrap();
    let names: Vec<_> = sla.iter().map(|it| it.provider.as_str()).collect();
    assert_eq!(names, ["acme", "bank"]);
    let acme = &sla[0];
    let counts = (acme.attempts, acme.done, acme.refused, acme.not_sent, acme.unknown);
    assert_eq!(counts, (5, 2, 1, 1, 1));
    assert_eq!((acme.success_ppm(), acme.unknown_ppm()), (600_000, 200_000));
    assert!(acme.latency_p50.unwrap() > Duration::ZERO && acme.latency_p50 <= acme.latency_max);
    assert!(ledger.provider_sla(first, first).unwrap().is_empty());
    let reader = Reader::open_on(machine.disk.as_disk(), &machine.host).unwrap();
    assert_eq!(reader.provider_sla(first, last).unwrap(), sla);
}
