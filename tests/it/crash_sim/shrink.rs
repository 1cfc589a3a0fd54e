//! Makes a plan that fails as small as it gets: drops operations, then faults, then simplifies what is
//! left, until nothing can be taken away any more.

use order_ledger::disk::sim::{Crash, CrashMode};

use super::plan::{
    ALL, Aside, Bundle, Content, Expected, Jot, Key, Move, Patience, Plan, Setup, Step, Word,
};

/// A smaller plan that `fails` as well.
pub(super) fn shrink(plan: &Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let mut plan = plan.clone();
    loop {
        let before = plan.clone();
        drop_steps(&mut plan, &fails, |step| !step.is_fault());
        drop_steps(&mut plan, &fails, Step::is_fault);
        simplify(&mut plan, &fails);
        if plan == before {
            return plan;
        }
    }
}

/// Drops steps of one sort: half of them, a quarter, down to each by itself.
fn drop_steps(plan: &mut Plan, fails: &impl Fn(&Plan) -> bool, of: impl Fn(&Step) -> bool) {
    let mut piece = plan.steps.len().next_power_of_two();
    while piece > 0 {
        let mut from = 0;
        loop {
            let places: Vec<usize> =
                (0..plan.steps.len()).filter(|place| of(&plan.steps[*place])).collect();
            let Some(dropped) = places.get(from..) else { break };
            let dropped = &dropped[..dropped.len().min(piece)];
            if dropped.is_empty() {
                break;
            }
            let mut smaller = plan.clone();
            let mut place = 0;
            smaller.steps.retain(|_| {
                place += 1;
                !dropped.contains(&(place - 1))
            });
            match fails(&smaller) {
                true => *plan = smaller,
                false => from += piece,
            }
        }
        piece /= 2;
    }
}

fn simplify(plan: &mut Plan, fails: &impl Fn(&Plan) -> bool) {
    let mut attempt = |change: &dyn Fn(&mut Plan)| {
        let mut simpler = plan.clone();
        change(&mut simpler);
        if simpler != *plan && fails(&simpler) {
            *plan = simpler;
        }
        plan.clone()
    };
    let plain = Setup {
        padded: false,
        relaxed: false,
        validator: false,
        own_table: false,
        segment_kib: 16,
        seal_after_ms: 500,
        past_cache: false,
        views: false,
        watched: false,
        parties: None,
    };
    attempt(&|plan| plan.setup.validator = plain.validator);
    attempt(&|plan| plan.setup.own_table = plain.own_table);
    attempt(&|plan| plan.setup.relaxed = plain.relaxed);
    attempt(&|plan| plan.setup.padded = plain.padded);
    attempt(&|plan| plan.setup.views = plain.views);
    attempt(&|plan| plan.setup.watched = plain.watched);
    attempt(&|plan| plan.setup.parties = plain.parties);
    attempt(&|plan| {
        if let Some(parties) = &mut plan.setup.parties {
            parties.badness = 0;
        }
    });
    attempt(&|plan| plan.setup.past_cache = plain.past_cache);
    attempt(&|plan| plan.setup.segment_kib = plain.segment_kib);
    let now = attempt(&|plan| plan.setup.seal_after_ms = plain.seal_after_ms);
    for key in 0..now.orders.len() {
        attempt(&|plan| {
            let (word, patience) = (Word::Good, Patience::NONE);
            plan.orders[key] = Content { word, bytes: 0, expires_in_us: None, patience };
        });
        attempt(&|plan| plan.orders[key].patience = Patience::NONE);
        attempt(&|plan| plan.orders[key].patience.critical_ns = None);
        attempt(&|plan| plan.orders[key].expires_in_us = None);
        attempt(&|plan| plan.orders[key].bytes /= 2);
    }
    // Orders that nobody hands in, from the end; the ones behind get another number.
    for key in (0..now.orders.len()).rev() {
        attempt(&|plan| {
            if !plan.steps.iter_mut().flat_map(keys).any(|other| *other == key) {
                plan.orders.remove(key);
                for other in plan.steps.iter_mut().flat_map(keys).filter(|other| **other > key) {
                    *other -= 1;
                }
            }
        });
    }
    let now = attempt(&|_| {});
    for place in 0..now.steps.len() {
        for simpler in simpler(&now.steps[place]) {
            attempt(&|plan| plan.steps[place] = simpler.clone());
        }
    }
}

fn keys(step: &mut Step) -> Vec<&mut Key> {
    match step {
        Step::Submit(key) | Step::Defer(key) | Step::Conflict(key) | Step::Look(key) => vec![key],
        Step::During(_, Aside::Defer(key) | Aside::Look(key)) => vec![key],
        Step::SubmitMany(keys) => keys.iter_mut().collect(),
        Step::Move(key, _) | Step::Cancel(key) | Step::Note(key, _) => vec![key],
        Step::Post(key, ..) => vec![key],
        Step::MoveMany(moves) => moves.iter_mut().map(|(key, _)| key).collect(),
        _ => Vec::new(),
    }
}

/// Simpler steps in the place of one, the simplest last.
fn simpler(step: &Step) -> Vec<Step> {
    match step {
        Step::SubmitMany(keys) => {
            let mut fewer: Vec<Step> = (0..keys.len())
                .map(|left_out| {
                    let mut keys = keys.clone();
                    keys.remove(left_out);
                    Step::SubmitMany(keys)
                })
                .collect();
            fewer.extend(keys.first().map(|key| Step::Submit(*key)));
            fewer
        }
        Step::Defer(key) => vec![Step::Submit(*key)],
        Step::MoveMany(moves) => {
            let mut fewer: Vec<Step> = (0..moves.len())
                .map(|left_out| {
                    let mut moves = moves.clone();
                    moves.remove(left_out);
                    Step::MoveMany(moves)
                })
                .collect();
            fewer.extend(moves.first().map(|(key, step)| Step::Move(*key, step.clone())));
            fewer
        }
        Step::Move(key, step) => {
            let plain = Move { evidence_bytes: None, ..step.clone() };
            let without_key = Move { command: None, ..plain.clone() };
            let anyhow = Move { expect: Expected::Anything, ..plain.clone() };
            let simplest = Move { command: None, ..anyhow.clone() };
            let moves = [plain, without_key, anyhow, simplest];
            moves.map(|step| Step::Move(*key, step)).into()
        }
        Step::Note(key, jot) => {
            let short = Jot { bytes: 0, ..jot.clone() };
            let without_key = Jot { command: None, ..short.clone() };
            [short, without_key].map(|jot| Step::Note(*key, jot)).into()
        }
        Step::Close => vec![Step::Kill],
        Step::Cut(crash) => {
            let plain = |mode| Step::Cut(Crash::new(mode, 0));
            let calm = Step::Cut(Crash { garbage: false, stale: false, ..*crash });
            vec![calm, plain(CrashMode::KeepAll), plain(CrashMode::DropAll), Step::Kill]
        }
        Step::PowerOff(call) => (1..*call).rev().map(Step::PowerOff).collect(),
        Step::Tick(_) => vec![Step::Tick(0)],
        Step::Send(most, _) => vec![Step::Send(*most, false), Step::Send(1, false)],
        Step::Link(number, bundle) => {
            let silent = Bundle { posts: 0, ..*bundle };
            [silent, Bundle { cancels: None, ..silent }].map(|it| Step::Link(*number, it)).into()
        }
        Step::Follow(_) => vec![Step::Follow(ALL)],
        Step::During(call, Aside::Follow(max)) => vec![
            Step::Follow(ALL),
            Step::During(*call, Aside::Follow(ALL)),
            Step::During(1, Aside::Follow(*max)),
        ],
        Step::JumpAhead(_) => vec![Step::JumpAhead(0)],
        Step::Acknowledge(_) => vec![Step::Acknowledge(0)],
        _ => Vec::new(),
    }
}
