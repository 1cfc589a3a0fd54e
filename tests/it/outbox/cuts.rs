//! The power goes, or the process dies, at every call of the disk, whatever the provider was about to say.

use order_ledger::disk::sim::{Crash, CrashMode};
use order_ledger::{DispatchState, Views};

use super::world::{Mood, World};
use super::{all, assert_sound, check, drain, ordered, pay, taken};
use crate::support::{Machine, small};

/// How a process ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Kill,
    Power(CrashMode),
}

const ENDS: [End; 4] = [
    End::Kill,
    End::Power(CrashMode::DropAll),
    End::Power(CrashMode::KeepAll),
    End::Power(CrashMode::Adversarial),
];

fn end(machine: &Machine, how: End, seed: u64) {
    match how {
        End::Kill => machine.disk.kill(),
        End::Power(mode) => {
            machine.disk.crash(Crash::new(mode, seed));
        }
    }
}

/// One history: an order with two dispatches, cut off at this call of the disk, and again while it is opened; then
/// everything is done that can be. Answers whether the cut was reached.
fn history(
    mood: Mood,
    (knows_repeats, looks): (bool, bool),
    how: End,
    call: u64,
    views: Views,
) -> bool {
    let options = small().views(views);
    let machine = Machine::new(call);
    // The first call meets the mood; later ones go well.
    let world = World::new(&machine.host, move |_, number| match number {
        0 => mood,
        _ => Mood::Fine,
    });
    let ledger = machine.open_with(&options).unwrap();
    let outbox = pay(&world, knows_repeats, looks).step_by_step(&ledger).unwrap();
    let batch = ordered(1, &["first", "second"]);
    machine.disk.power_off_after(call);
    let answer = ledger.linked(&batch);
    let ran = drain(&outbox, &machine);
    let went_off = machine.disk.is_off();
    drop((outbox, ledger));
    end(&machine, how, call);
    machine.disk.power_off_after(1 + call * 7 % 23);
    drop(machine.open_with(&options));
    end(&machine, how, call + 1);
    let ledger = machine.open_with(&options).unwrap();
    let place = format!("{mood:?}, repeats {knows_repeats}, looks {looks}, {how:?}, call {call}");
    world.check_once().unwrap_or_else(|what| panic!("{place}: {what}"));
    let is_there = ledger.by_key("web", "key-1").unwrap().is_some();
    assert!(is_there || answer.is_err(), "{place}: it was acknowledged");
    // Sent again it is there, once.
    let (order, _) = taken(&ledger, &batch);
    assert_eq!(ledger.dispatches(order).unwrap().len(), 2, "{place}");
    let outbox = pay(&world, knows_repeats, looks).step_by_step(&ledger).unwrap();
    drain(&outbox, &machine).unwrap_or_else(|error| panic!("{place}: {error}"));
    world.arrive();
    check(&ledger, &world).unwrap_or_else(|what| panic!("{place}: {what}"));
    for entry in all(&ledger) {
        // Where it can be found out, it is; given up is only what was refused by all, with what stands behind it.
        let is_done = matches!(entry.state, DispatchState::Done { .. });
        let is_refused = mood == Mood::Refuse;
        assert!(is_done || is_refused || !(knows_repeats || looks), "{place}: {entry:?}");
    }
    drop(outbox);
    ledger.close().unwrap();
    assert_sound(&machine);
    if !went_off {
        ran.unwrap();
    }
    went_off
}

/// Effect to prevent: a charge twice, or by two, because a process died between the call and the note of it.
#[test]
fn nothing_is_done_twice_whenever_the_power_goes() {
    let mut cuts = 0;
    for mood in Mood::ALL {
        for (index, able) in
            [(false, false), (false, true), (true, false), (true, true)].into_iter().enumerate()
        {
            for how in ENDS {
                // With views and without, in turns.
                let views = if index % 2 == 0 { Views::Off } else { Views::On };
                for call in 1.. {
                    if !history(mood, able, how, call, views) {
                        break;
                    }
                    cuts += 1;
                }
            }
        }
    }
    assert!(cuts > 1_000, "{cuts}");
}
