//! Random histories by seed: orders with several dispatches, moods at random, cuts at random calls of the disk, a wall
//! clock that is set back, dead letters that are sent on their way again.
//!
//! `ORDER_LEDGER_SEEDS=10000` runs more, `ORDER_LEDGER_SEED_FIRST=n` others.

use std::ops::Range;
use std::time::Duration;

use order_ledger::disk::Host;
use order_ledger::disk::sim::{Crash, CrashMode, Fault};
use order_ledger::{DispatchQuery, DispatchState, Outbox, OutboxBuilder, Ran, Route, Views};

use super::world::{Mood, World};
use super::{all, assert_sound, check, drain, ordered, patient, waiting};
use crate::rig::Random;
use crate::seeds::{Figures, add, assert_happened};
use crate::support::{Machine, small};

const SEEDS: u64 = 640;

fn outbox(world: &World, able: [(bool, bool); 3]) -> OutboxBuilder {
    let names = ["acme", "bank", "cash"];
    let parties = names.into_iter().zip(able);
    let builder = parties.fold(Outbox::builder(), |builder, (name, (repeats, looks))| {
        builder.provider(world.party(name, repeats, looks))
    });
    builder.route(patient(Route::new("pay", "acme").fallback("bank").fallback("cash")))
}

fn history(seed: u64) -> Figures {
    let mut random = Random::new(seed);
    let machine = Machine::new(seed);
    let able = [(); 3].map(|()| (random.chance(1, 2), random.chance(1, 2)));
    let options = small().views(if random.chance(1, 2) { Views::On } else { Views::Off });
    let mut moods = Random::new(seed ^ 0xfeed);
    let badness = random.below(4);
    let world = World::new(&machine.host, move |_, _| match moods.chance(badness, 4) {
        true => moods.pick(&Mood::ALL),
        false => Mood::Fine,
    });
    let (mut cuts, mut redriven, mut dead, mut number) = (0, 0, 0, 0);
    for _ in 0..random.below(6) {
        let Ok(ledger) = machine.open_with(&options) else {
            machine.disk.crash(Crash::new(CrashMode::Random, random.next()));
            continue;
        };
        match random.below(3) {
            0 => {}
            1 => machine.disk.power_off_after(1 + random.below(80)),
            _ => machine.disk.fail_call(1 + random.below(80), Fault::Eio),
        }
        let outbox = outbox(&world, able).step_by_step(&ledger);
        for _ in 0..random.below(30) {
            let Ok(outbox) = &outbox else { break };
            match random.below(8) {
                0 | 1 => {
                    number += 1;
                    let bodies = ["a", "b", "c"];
                    drop(ledger.linked(&ordered(number, &bodies[..1 + random.index(3)])));
                }
                2 => machine.host.advance(Duration::from_secs(random.below(40))),
                3 if random.chance(1, 4) => {
                    // Set back, or forward, by up to 100 seconds.
                    let wall_ns = machine.host.wall_ns() - 100_000_000_000;
                    machine.host.set_wall_ns(wall_ns + random.below(200_000_000_000));
                }
                4 => {
                    let letters = ledger.dead_letters(&DispatchQuery::all());
                    for letter in letters.map(|page| page.dispatches).unwrap_or_default() {
                        redriven += u64::from(ledger.redrive(letter.dispatch, "again").is_ok());
                    }
                }
                _ => match outbox.run_once() {
                    Ok(Ran::Idle { next: Some(next) }) if random.chance(1, 2) => {
                        machine.host.advance(next);
                    }
                    _ => {}
                },
            }
        }
        drop((outbox, ledger));
        cuts += u64::from(machine.disk.is_off());
        machine.disk.clear_faults();
        let modes = [CrashMode::DropAll, CrashMode::KeepAll, CrashMode::Prefix, CrashMode::Random];
        machine.disk.crash(Crash::new(random.pick(&modes), random.next()));
        world.check_once().unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
    let ledger = machine.open_with(&options).unwrap();
    let outbox = outbox(&world, able).step_by_step(&ledger).unwrap();
    drain(&outbox, &machine).unwrap();
    machine.host.advance(Duration::from_secs(60));
    world.arrive();
    check(&ledger, &world).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    let entries = all(&ledger);
    let waiting = waiting(&ledger);
    for entry in &waiting {
        // Dead, or behind one that is.
        let before = entries.iter().take_while(|it| it.dispatch != entry.dispatch);
        let mut before = before.filter(|it| it.order == entry.order);
        let is_dead = matches!(entry.state, DispatchState::Dead { .. });
        let is_behind = before.any(|it| matches!(it.state, DispatchState::Dead { .. }));
        assert!(is_dead || is_behind, "seed {seed}: {entry:?}");
        dead += u64::from(is_dead);
    }
    // In their order: nothing was done before what stands in front of it.
    for pair in entries.windows(2).filter(|pair| pair[0].order == pair[1].order) {
        let is_done = |state: &DispatchState| matches!(state, DispatchState::Done { .. });
        let begun = world.calls().iter().any(|(_, dispatch, _)| *dispatch == pair[1].dispatch);
        assert!(!begun || is_done(&pair[0].state), "seed {seed}: {pair:?}");
    }
    drop(outbox);
    ledger.close().unwrap();
    assert_sound(&machine);
    vec![
        ("dispatches", entries.len() as u64),
        ("calls", world.calls().len() as u64),
        ("repeats", world.repeats()),
        ("cuts", cuts),
        ("redriven", redriven),
        ("dead", dead),
    ]
}

#[test]
fn nothing_is_done_twice_in_any_history() {
    let again = "cargo test --no-default-features --test it outbox::histories";
    let counts = crate::seeds::run("outbox", SEEDS, again, |seeds: Range<u64>| {
        let mut figures = Figures::new();
        for seed in seeds {
            add(&mut figures, &history(seed));
        }
        figures
    });
    assert_happened(&counts, &["dispatches", "calls", "repeats", "cuts", "redriven", "dead"]);
}
