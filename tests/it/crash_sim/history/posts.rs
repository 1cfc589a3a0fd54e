//! Has third parties told, by an outbox that is driven by hand, and holds what came of it against the book.

use std::time::Duration;

use order_ledger::disk::sim::SimHost;
use order_ledger::{
    Dispatch, DispatchQuery, ErrorKind, Ledger, Outbox, OutboxBuilder, Ran, RetryPolicy, Route, Seq,
};

use super::super::beside::Seen;
use super::super::plan::{Key, Parties, Plan};
use super::super::posts::{ROUTE, Sort, command};
use super::History;
use crate::outbox::world::{Mood, World};
use crate::rig::Random;

/// The third parties of a plan, if there are any. They outlive every process.
pub(super) fn world(plan: &Plan, host: &SimHost) -> Option<World> {
    let badness = plan.setup.parties?.badness;
    let mut moods = Random::new(plan.seed ^ 0xfeed);
    Some(World::new(host, move |_, _| match moods.chance(badness, 4) {
        true => moods.pick(&Mood::ALL),
        false => Mood::Fine,
    }))
}

/// Three attempts each, given up after a minute; a request is on its way for less than twenty seconds.
fn outbox(world: &World, parties: &Parties) -> OutboxBuilder {
    let retry = RetryPolicy {
        base: Duration::from_millis(20),
        cap: Duration::from_secs(2),
        attempts_max: 3,
        age_max: Duration::from_secs(60),
    };
    let route = Route::new(ROUTE, "acme").fallback("bank").retry(retry);
    let able = ["acme", "bank"].into_iter().zip(parties.able);
    let builder = able.fold(Outbox::builder(), |builder, (name, (repeats, looks))| {
        builder.provider(world.party(name, repeats, looks))
    });
    builder.route(route.settle(Duration::from_secs(20)))
}

impl History<'_> {
    /// Something that is to be told about the order of a key, with a command key of this number.
    pub(super) fn post(&mut self, ledger: &Ledger, key: Key, number: u8, other: bool) {
        let Some(receipt) = self.book.receipt(key) else { return };
        self.listen();
        let lost = ledger.poisoned().is_some();
        let body = format!("{number} of {key}{}", if other { ", otherwise" } else { "" });
        self.book.posts.asks(key, number, body.as_bytes());
        let dispatch = Dispatch::new(receipt.order, ROUTE, body).command_key(command(number));
        let answer = ledger.dispatch(&dispatch);
        // What was seen beside was seen before this answer.
        self.listen();
        let trouble = self.trouble(ledger);
        let invisible = trouble.poisoned && self.book.may_be_in_doubt(key);
        let sort = self.book.posts.answered(receipt.order, answer, (lost, invisible), trouble);
        match sort {
            Sort::Fresh => self.figures.dispatched_alone += 1,
            Sort::Replayed => self.figures.dispatches_replayed += 1,
            Sort::Conflict => self.figures.dispatches_in_conflict += 1,
            Sort::InDoubt => {
                self.post_again.push((key, number, other));
                self.book.others_failed();
            }
            Sort::Failed => {}
        }
        self.settle(ledger, Vec::new());
    }

    /// Whoever was told that it is in doubt asks again.
    pub(super) fn post_again(&mut self, ledger: &Ledger) {
        for (key, number, other) in std::mem::take(&mut self.post_again) {
            self.post(ledger, key, number, other);
        }
    }

    /// The outbox does so many things at most; `waits`: also what is due later.
    pub(super) fn send(&mut self, ledger: &Ledger, most: usize, waits: bool) {
        let (Some(world), Some(parties)) = (self.world.clone(), self.plan.setup.parties) else {
            return;
        };
        self.listen();
        if self.outbox.is_none() {
            match outbox(&world, &parties).step_by_step(ledger) {
                Ok(outbox) => self.outbox = Some(outbox),
                Err(error) => {
                    let trouble = self.trouble(ledger);
                    assert!(trouble.disk || trouble.poisoned, "{error}");
                    return;
                }
            }
        }
        let mut whole = true;
        for _ in 0..most {
            self.book.posts.is_loose = true;
            let before = world.calls().len();
            let ran = self.outbox.as_ref().unwrap().run_once();
            let trouble = self.trouble(ledger);
            let quiet = !(trouble.disk || trouble.full || trouble.poisoned);
            self.book.posts.ran(&world.calls()[before..], quiet && ran.is_ok());
            world.check_once().unwrap();
            whole &= quiet;
            match ran {
                Ok(Ran::Worked) => self.figures.sent += 1,
                Ok(Ran::Idle { next: Some(next) }) if waits => self.host.advance(next),
                Ok(_) => break,
                Err(error) => {
                    let failed = matches!(
                        error.kind(),
                        ErrorKind::InDoubt { .. } | ErrorKind::Poisoned { .. }
                    );
                    assert!(failed && trouble.poisoned || trouble.disk, "{error}");
                    self.figures.sends_failed += 1;
                    break;
                }
            }
        }
        self.listen();
        self.settle(ledger, Vec::new());
        if whole && !self.armed && self.random.chance(1, 6) {
            let seen = self.seen(ledger);
            let courses = self.book.posts.listed(&seen.orders);
            self.book.posts.holds(&courses, &world.calls());
        }
    }

    /// Dead letters are sent on their way again.
    pub(super) fn redrive(&mut self, ledger: &Ledger) {
        if self.world.is_none() {
            return;
        }
        self.listen();
        let letters = ledger.dead_letters(&DispatchQuery::all());
        for letter in letters.map(|page| page.dispatches).unwrap_or_default() {
            self.book.posts.is_loose = true;
            match ledger.redrive(letter.dispatch, "once more") {
                Ok(()) => {
                    self.figures.redriven += 1;
                    self.book.posts.redriven(letter.dispatch);
                }
                Err(error) => {
                    let trouble = self.trouble(ledger);
                    assert!(trouble.poisoned || trouble.disk || trouble.full, "{error}");
                }
            }
        }
        self.settle(ledger, Vec::new());
    }

    /// After opening: what the ledger says of every dispatch is what its events say, and what the world knows.
    pub(super) fn check_posts(&mut self, ledger: &Ledger, seen: &Seen) {
        let Some(world) = self.world.clone() else { return };
        let courses = self.book.posts.listed(&seen.orders);
        world.check_once().unwrap();
        self.book.posts.holds(&courses, &world.calls());
        let mut found = Vec::new();
        for told in &seen.orders {
            for entry in ledger.dispatches(told.order.id()).unwrap() {
                courses[&entry.dispatch].check(&entry);
                world.check_told(&entry).unwrap();
                let was_cut_off = courses[&entry.dispatch].state == "attempting";
                self.figures.attempts_cut_off += u64::from(was_cut_off);
                found.push(entry.dispatch);
            }
        }
        found.sort();
        assert!(courses.keys().eq(&found), "dispatches: {found:?}");
        let all = DispatchQuery::all().limit(10_000);
        let seqs = |page: order_ledger::DispatchPage| -> Vec<Seq> {
            page.dispatches.iter().map(|entry| entry.dispatch).collect()
        };
        let of = |is_wanted: &dyn Fn(&str) -> bool| -> Vec<Seq> {
            let wanted = courses.iter().filter(|(_, course)| is_wanted(course.state));
            wanted.map(|(seq, _)| *seq).collect()
        };
        assert_eq!(seqs(ledger.dead_letters(&all).unwrap()), of(&|state| state == "dead"));
        let open = of(&|state| state != "dead" && state != "done");
        assert_eq!(seqs(ledger.open_dispatches(&all).unwrap()), open);
        self.figures.dead_letters += of(&|state| state == "dead").len() as u64;
    }

    /// Everything is done that can be.
    pub(super) fn finish_posts(&mut self, ledger: &Ledger) {
        let Some(world) = self.world.clone().filter(|_| self.plan.seed.is_multiple_of(2)) else {
            return;
        };
        self.send(ledger, 10_000, true);
        self.host.advance(Duration::from_secs(60));
        world.arrive();
        let seen = self.seen(ledger);
        let courses = self.book.posts.listed(&seen.orders);
        world.check_once().unwrap();
        self.book.posts.holds(&courses, &world.calls());
        for (seq, course) in &courses {
            let mut before = courses.range(..seq).map(|(_, before)| before);
            let is_behind = before.any(|it| it.order == course.order && it.state == "dead");
            assert!(!course.is_open() || is_behind, "it is left: {course:?}");
        }
        for told in &seen.orders {
            for entry in ledger.dispatches(told.order.id()).unwrap() {
                world.check_told(&entry).unwrap();
            }
        }
        let done = courses.values().filter(|course| course.state == "done").count();
        self.figures.dispatches_done += done as u64;
        self.figures.provider_calls += world.calls().len() as u64;
        self.figures.provider_repeats += world.repeats();
        self.outbox = None;
    }
}
