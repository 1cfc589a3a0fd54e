//! How long a provider was left alone, told again from the log: as the running outbox counts it, over restarts, and for
//! any part of the time.
//!
//! The story: "you were down for four hours in November", says the shop, and the provider asks from where it knows that.
//! The breaker was in the memory of a process that was started anew eleven times since.

use std::time::Duration;

use order_ledger::disk::Host;
use order_ledger::{
    BreakerPolicy, Event, EventBody, Ledger, Outbox, OutboxCensus, ProviderSla, Reader,
    RetryPolicy, Route, Sent, Seq, Timestamp, Witness,
};

use super::world::{Mood, World};
use super::{ordered, taken};
use crate::support::Machine;

const POLICY: BreakerPolicy = BreakerPolicy { failures_max: 2, open_for: Duration::from_secs(30) };
/// Between the end of a call and its record, on a machine whose clock stands still meanwhile.
const RECORDED_WITHIN: Duration = Duration::from_millis(1);
const BEGIN: Timestamp = Timestamp::from_unix_ns(0);
const END: Timestamp = Timestamp::from_unix_ns(u64::MAX);

fn start(world: &World, ledger: &Ledger) -> Outbox {
    let retry = RetryPolicy {
        base: Duration::from_secs(1),
        cap: Duration::from_secs(5),
        attempts_max: 1_000,
        age_max: Duration::from_secs(1_000_000),
    };
    Outbox::builder()
        .provider(world.party("acme", true, false))
        .provider(world.party("bank", true, false))
        .route(Route::new("pay", "acme").fallback("bank").retry(retry))
        .breaker(POLICY)
        .step_by_step(ledger)
        .unwrap()
}

/// One provider of a period.
fn of(name: &str, all: &[ProviderSla]) -> (u64, Duration) {
    let found = all.iter().find(|it| it.provider == name);
    found.map_or((0, Duration::ZERO), |it| (it.breaker_opened, it.breaker_open))
}

fn is_close(one: Duration, other: Duration) -> bool {
    one.abs_diff(other) < RECORDED_WITHIN
}

/// By hand: failures in a row, and when they were recorded.
fn naive(events: &[Event], name: &str, since: Timestamp, until: Timestamp) -> (u64, Duration) {
    let (mut failures, mut opened_at, mut opened, mut open_ns) = (0, None, 0, 0);
    let mut close = |from: Timestamp, to: Timestamp| {
        let (from, to) = (from.max(since), to.min(until));
        open_ns += to.as_unix_ns().saturating_sub(from.as_unix_ns());
    };
    for event in events {
        let EventBody::Reported { provider, report, by: Witness::Provider, .. } = &event.body
        else {
            continue;
        };
        if provider != name {
            continue;
        }
        if matches!(report, Sent::Done { .. } | Sent::Refused { .. }) {
            if let Some(at) = opened_at.take() {
                close(at, event.at);
            }
            failures = 0;
            continue;
        }
        failures += 1;
        if failures >= POLICY.failures_max && opened_at.is_none() {
            opened_at = Some(event.at);
            opened += u64::from(event.at >= since && event.at < until);
        }
    }
    if let Some(at) = opened_at {
        close(at, until);
    }
    (opened, Duration::from_nanos(open_ns))
}

fn events(ledger: &Ledger) -> Vec<Event> {
    ledger.events(Seq::FIRST).map(Result::unwrap).collect()
}

#[test]
fn the_log_tells_of_a_breaker_what_the_running_outbox_counts() {
    let machine = Machine::new(41);
    // Down, up, down for longer, up.
    let world = World::new(&machine.host, |name, number| match (name, number) {
        ("acme", 3..7 | 12..20) => Mood::Before,
        _ => Mood::Fine,
    });
    let ledger = machine.open();
    let outbox = start(&world, &ledger);
    let (mut census, mut seen) = (OutboxCensus::new(POLICY), Seq::FIRST);
    let mut was_open = 0;
    for n in 0..400 {
        taken(&ledger, &ordered(n, &["x"]));
        outbox.run_once().unwrap();
        machine.host.advance(Duration::from_secs(3));
        for event in ledger.events(seen) {
            let event = event.unwrap();
            census.count(&event);
            seen = event.seq.next();
        }
        let derived = ledger.provider_sla_with(BEGIN, END, POLICY).unwrap();
        let counted = census.providers(ledger.metrics().at);
        for live in outbox.stats().providers {
            let (opened, open) = of(&live.name, &derived);
            assert_eq!(opened, live.breaker_opened, "after order {n}");
            assert!(is_close(open, live.breaker_open), "{n}: {open:?}, {:?}", live.breaker_open);
            let Some(counted) = counted.iter().find(|it| it.provider == live.name) else {
                continue;
            };
            assert_eq!(counted.breaker_opened, opened);
            assert!(is_close(counted.breaker_open, open), "{counted:?}");
            was_open += u64::from(counted.breaker_open_since.is_some());
            let sla = derived.iter().find(|it| it.provider == live.name).unwrap();
            assert_eq!(
                (counted.attempts, counted.done, counted.not_sent, counted.unknown),
                (sla.attempts, sla.done, sla.not_sent, sla.unknown)
            );
        }
    }
    let derived = ledger.provider_sla_with(BEGIN, END, POLICY).unwrap();
    let (opened, open) = of("acme", &derived);
    assert!(opened == 2 && open > Duration::from_secs(60) && was_open > 10, "{opened} {open:?}");
    assert_eq!(of("bank", &derived), (0, Duration::ZERO));
    // Another policy, another account.
    let patient = BreakerPolicy { failures_max: 100, ..POLICY };
    let derived = ledger.provider_sla_with(BEGIN, END, patient).unwrap();
    assert_eq!(of("acme", &derived), (0, Duration::ZERO));
}

#[test]
fn a_restart_neither_closes_a_breaker_nor_forgets_for_how_long_it_was_open() {
    let mut opened = 0;
    for seed in 0..12 {
        let machine = Machine::new(100 + seed);
        let mut luck = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let world = World::new(&machine.host, move |_, _| {
            luck ^= luck << 13;
            luck ^= luck >> 7;
            luck ^= luck << 17;
            // Long stretches of each, so that it opens and closes.
            match (luck >> 60, luck % 3) {
                (0..5, 0..2) => Mood::Before,
                (0..5, _) => Mood::Silent,
                (5, _) => Mood::Refuse,
                _ => Mood::Fine,
            }
        });
        let mut number = 0;
        for _ in 0..4 {
            let ledger = machine.open();
            let outbox = start(&world, &ledger);
            for _ in 0..40 {
                taken(&ledger, &ordered(number, &["x"]));
                number += 1;
                outbox.run_once().unwrap();
                machine.host.advance(Duration::from_secs(7));
            }
            drop(outbox);
            ledger.close().unwrap();
        }
        let ledger = machine.open();
        let events = events(&ledger);
        let now = Timestamp::from_unix_ns(machine.host.wall_ns());
        let derived = |since, until| ledger.provider_sla_with(since, until, POLICY).unwrap();
        for name in ["acme", "bank"] {
            let whole = of(name, &derived(BEGIN, now));
            assert_eq!(whole, naive(&events, name, BEGIN, now), "seed {seed}");
            opened += whole.0;
            // Cut anywhere, the parts are the whole.
            let (first, mut parts) = (events[0].at, (0, Duration::ZERO));
            let step = (now.as_unix_ns() - first.as_unix_ns()) / 17;
            for n in 0..18 {
                let at = |n: u64| {
                    Timestamp::from_unix_ns((first.as_unix_ns() + n * step).min(now.as_unix_ns()))
                };
                let part = of(name, &derived(at(n), at(n + 1)));
                assert_eq!(part, naive(&events, name, at(n), at(n + 1)), "seed {seed}, part {n}");
                parts = (parts.0 + part.0, parts.1 + part.1);
            }
            assert_eq!(parts, whole, "seed {seed}");
        }
        let reader = Reader::open_on(machine.disk.as_disk(), &machine.host).unwrap();
        assert_eq!(reader.provider_sla_with(BEGIN, now, POLICY).unwrap(), derived(BEGIN, now));
    }
    assert!(opened > 50, "{opened} times: too few to tell anything");
}
