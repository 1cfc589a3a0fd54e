//! What third parties are to be told, and their being told, as a program does it: step by step, without threads.

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use order_ledger::{
    AfterDead, Certainty, DispatchState, ErrorKind, EventBody, Ledger, Outbox, Ran, Result,
    RetryPolicy, Route, Sent,
};

use super::Run;
use super::ops::{begins_with, key};
use crate::lives::command;
use crate::model::dispatches::Words;
use crate::model::outbox::{Mood, PARTIES, PAY, SHIP};
use crate::shown::Shown;

/// What has to do with third parties.
#[derive(Arbitrary, Clone, Debug)]
pub enum Telling {
    /// They are to be told something about an order.
    Dispatch { key: u8, what: What },
    /// The outbox does what is due, so often; what it meets follows from `moods`.
    Run { moods: u16, times: u8 },
    /// The outbox ends, and the next one begins anew.
    Stop,
    /// A dead letter, or what is none, is sent on its way again.
    Redrive(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct What {
    pub route: bool,
    pub command: u8,
    pub body: u8,
}

impl What {
    pub fn words(self) -> Words {
        let route = if self.route { PAY } else { SHIP }.to_owned();
        let bytes = if self.body % 8 == 7 { 3_000 } else { usize::from(self.body % 2) * 9 };
        Words { route, command: command(self.command), body: vec![self.body % 4; bytes] }
    }
}

/// Whether what comes next is about third parties: see [`is_about_steps`](super::ops::is_about_steps).
pub fn is_about_telling(u: &mut Unstructured<'_>) -> bool {
    begins_with(u, TELLING)
}

const TELLING: std::ops::Range<u8> = 0xc0..0xd0;

/// Most that the outbox does at once.
const TIMES_MAX: u8 = 8;

fn patient(route: Route) -> Route {
    let second = Duration::from_secs(1);
    let retry =
        RetryPolicy { base: second, cap: 10 * second, attempts_max: 3, age_max: 100 * second };
    route.retry(retry).settle(20 * second)
}

impl Run {
    pub(super) fn at_outbox(&mut self, ledger: &Ledger, telling: &Telling) {
        match telling {
            Telling::Dispatch { key: byte, what } => {
                let Some((key, order)) = self.model.known_order(key(*byte)) else { return };
                let poisoned = ledger.poisoned().is_some();
                let words = what.words();
                let answer = ledger.dispatch(&words.about(order));
                self.model.end_dispatch(key, &words, &answer, poisoned);
            }
            Telling::Run { moods, times } => self.tell(ledger, *moods, 1 + times % TIMES_MAX),
            Telling::Stop => self.outbox = None,
            Telling::Redrive(place) => self.redrive(ledger, *place),
        }
    }

    fn open_outbox(&self, ledger: &Ledger) -> Result<Outbox> {
        let [first, second] = self.world.parties();
        Outbox::builder()
            .provider(first)
            .provider(second)
            .route(patient(Route::new(PAY, PARTIES[0]).fallback(PARTIES[1])))
            .route(patient(Route::new(SHIP, PARTIES[1])).after_dead(AfterDead::GoOn))
            .step_by_step(ledger)
    }

    fn tell(&mut self, ledger: &Ledger, moods: u16, times: u8) {
        let mood = |digit: u32| Mood::ALL[usize::from(moods / 5u16.pow(digit)) % Mood::ALL.len()];
        self.world.meets((0..6).map(mood).collect());
        let poisoned = ledger.poisoned().is_some();
        if self.outbox.is_none() {
            match self.open_outbox(ledger) {
                Ok(outbox) => self.outbox = Some(outbox),
                Err(error) => {
                    let excused = self.armed || self.disk.is_off() || poisoned;
                    return assert!(excused, "no outbox: {error}");
                }
            }
        }
        let mut went_well = true;
        for _ in 0..times {
            let Some(outbox) = &self.outbox else { break };
            match outbox.run_once() {
                Ok(Ran::Worked) => {}
                Ok(Ran::Idle { next: Some(next) }) => {
                    self.host.advance(next + Duration::from_nanos(1));
                }
                Ok(_) => break,
                Err(error) => {
                    let excused = self.armed || self.full || self.disk.is_off();
                    assert!(excused || poisoned, "nothing failed, and nobody is told: {error}");
                    went_well = false;
                    break;
                }
            }
        }
        let shown = self.outbox_ran(ledger, poisoned);
        let calls = self.world.take_calls();
        assert!(calls.is_empty() || !poisoned, "told by a poisoned ledger: {calls:?}");
        // Where there is no room for an answer, it is lost, and the attempt is in doubt.
        let trouble = self.armed || self.full || self.disk.is_off() || ledger.poisoned().is_some();
        let (Some(shown), true) = (shown, went_well && !trouble) else { return };
        // Every answer is recorded, as what it was.
        for (call, name, sent) in calls {
            let reports = |body: &EventBody| match body {
                EventBody::Reported { dispatch, provider, attempt, report, .. } => {
                    let is_it =
                        (*dispatch, &provider[..], *attempt) == (call.dispatch, name, call.attempt);
                    // Where it may have been done the time before, that is not known either.
                    let is_open = matches!(report, Sent::Unknown { .. });
                    is_it && (*report == sent || is_open && matches!(sent, Sent::NotSent { .. }))
                }
                _ => false,
            };
            let is_there = shown.events.iter().any(|event| reports(&event.body));
            assert!(is_there, "the answer is not there: {sent:?} to {call:?}");
        }
    }

    /// Something may have been recorded of which nobody was told: takes in what there is.
    fn outbox_ran(&mut self, ledger: &Ledger, poisoned: bool) -> Option<Shown> {
        if !poisoned {
            self.model.outbox_ran();
        }
        let shown = Shown::by(ledger).ok()?;
        let poisoned_now = ledger.poisoned().is_some();
        self.model.read_all(&shown, poisoned_now, false);
        self.world.check(&shown);
        if !poisoned_now && !self.disk.is_off() {
            self.model.outbox_was_shown();
        }
        Some(shown)
    }

    fn redrive(&mut self, ledger: &Ledger, place: u8) {
        let Ok(shown) = Shown::by(ledger) else { return };
        // Mostly one of the dead letters.
        let all = match place % 4 {
            0 => &shown.dispatches,
            _ => &shown.dead_letters,
        };
        let Some(entry) = all.get(usize::from(place / 4) % all.len().max(1)) else { return };
        let is_dead = matches!(entry.state, DispatchState::Dead { .. });
        let poisoned = ledger.poisoned().is_some();
        let answer = ledger.redrive(entry.dispatch, "once more");
        let after = self.outbox_ran(ledger, poisoned);
        let Err(error) = answer else {
            assert!(is_dead && !poisoned, "it was not dead: {entry:?}");
            let is_it = |body: &EventBody| matches!(body, EventBody::Redriven { dispatch, .. } if *dispatch == entry.dispatch);
            let count = |shown: &Shown| shown.events.iter().filter(|it| is_it(&it.body)).count();
            let once = after.is_none_or(|after| count(&after) == count(&shown) + 1);
            return assert!(once, "it was not recorded, or twice: {entry:?}");
        };
        let excused = self.armed || self.full || self.disk.is_off() || poisoned;
        match (error.kind(), error.certainty()) {
            (ErrorKind::NotDead { .. }, Certainty::NotRecorded) => assert!(!is_dead, "{entry:?}"),
            (ErrorKind::InDoubt { .. }, Certainty::Unknown) => {
                assert!(is_dead && ledger.poisoned().is_some(), "{error}");
            }
            (ErrorKind::Io { .. }, _) => assert!(excused, "{error}"),
            (
                ErrorKind::Poisoned { .. } | ErrorKind::DiskLow { .. } | ErrorKind::Closed,
                Certainty::NotRecorded,
            ) => assert!(is_dead && excused, "{error}: {entry:?}"),
            (kind, certainty) => panic!("{kind:?} with {certainty:?}"),
        }
    }
}
