//! A model of third parties that outlives every process, counts what it did, and lies about nothing but by silence.
//!
//! An effect is what must not happen twice: a charge. A party that knows repeats has one per token; another one has as
//! many as it is told, so that a call too many is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use order_ledger::disk::Host;
use order_ledger::disk::sim::SimHost;
use order_ledger::{Call, DispatchEntry, DispatchState, Found, Provider, Sent, Seq, Token};

/// What happens to one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    Fine,
    /// Turned away before anything happened.
    Before,
    /// Done, and the answer is lost.
    Lost,
    /// Nothing happened, and no answer came.
    Silent,
    /// No answer came, and it is done some seconds later.
    Late,
    Refuse,
    PanicBefore,
    PanicAfter,
}

impl Mood {
    pub(crate) const ALL: [Mood; 8] = [
        Mood::Fine,
        Mood::Before,
        Mood::Lost,
        Mood::Silent,
        Mood::Late,
        Mood::Refuse,
        Mood::PanicBefore,
        Mood::PanicAfter,
    ];
}

/// How long a request may be on its way: less than routes settle by.
const LATE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Effect {
    dispatch: Seq,
    provider: String,
    times: u64,
}

type Moods = Box<dyn FnMut(&str, u64) -> Mood + Send>;

struct State {
    effects: BTreeMap<Token, Effect>,
    refused: BTreeSet<Token>,
    /// What will be done, and when.
    late: Vec<(u64, Token, Effect, bool)>,
    calls: Vec<(String, Seq, Token)>,
    /// Calls that were told again what was done, and that a party without a memory would have done twice.
    repeats: u64,
    moods: Moods,
}

#[derive(Clone)]
pub(crate) struct World {
    state: Arc<Mutex<State>>,
    host: SimHost,
}

impl World {
    /// `moods`: by provider and the number of the call, from 0.
    pub(crate) fn new(
        host: &SimHost,
        moods: impl FnMut(&str, u64) -> Mood + Send + 'static,
    ) -> World {
        let state = State {
            effects: BTreeMap::new(),
            refused: BTreeSet::new(),
            late: Vec::new(),
            calls: Vec::new(),
            repeats: 0,
            moods: Box::new(moods),
        };
        World { state: Arc::new(Mutex::new(state)), host: host.clone() }
    }

    pub(crate) fn party(&self, name: &'static str, knows_repeats: bool, looks: bool) -> Party {
        Party { world: self.clone(), name, knows_repeats, looks }
    }

    pub(crate) fn calls(&self) -> Vec<(String, Seq, Token)> {
        self.state.lock().unwrap().calls.clone()
    }

    pub(crate) fn repeats(&self) -> u64 {
        self.state.lock().unwrap().repeats
    }

    /// Who has done what is to be done for this dispatch, and how often.
    pub(crate) fn done_by(&self, dispatch: Seq) -> Vec<(String, u64)> {
        let state = self.state.lock().unwrap();
        let of = state.effects.values().filter(|effect| effect.dispatch == dispatch);
        of.map(|effect| (effect.provider.clone(), effect.times)).collect()
    }

    /// What was not heard of yet arrives.
    pub(crate) fn arrive(&self) {
        let now_ns = self.host.monotonic_ns();
        let mut state = self.state.lock().unwrap();
        let late = std::mem::take(&mut state.late);
        for (at_ns, token, effect, knows_repeats) in late {
            match at_ns <= now_ns {
                true => state.happen(token, effect, knows_repeats),
                false => state.late.push((at_ns, token, effect, knows_repeats)),
            }
        }
    }

    /// Nothing was done twice: no token, and no dispatch by two.
    pub(crate) fn check_once(&self) -> Result<(), String> {
        let state = self.state.lock().unwrap();
        let mut by: BTreeMap<Seq, &Effect> = BTreeMap::new();
        for (token, effect) in &state.effects {
            if effect.times != 1 {
                return Err(format!("{token} was done {} times: {effect:?}", effect.times));
            }
            if let Some(other) = by.insert(effect.dispatch, effect) {
                return Err(format!("done by two: {other:?} and {effect:?}"));
            }
        }
        Ok(())
    }

    /// What the ledger says of a dispatch, held against what was done.
    pub(crate) fn check_told(&self, entry: &DispatchEntry) -> Result<(), String> {
        let done = self.done_by(entry.dispatch);
        let told = match &entry.state {
            DispatchState::Done { provider, .. } => done.iter().any(|(by, _)| by == provider),
            // What was done and is not known to be is in doubt, with the one who did it.
            _ => done.iter().all(|(by, _)| entry.in_doubt.as_ref() == Some(by)),
        };
        if told { Ok(()) } else { Err(format!("{done:?} and {entry:?}")) }
    }
}

impl State {
    fn happen(&mut self, token: Token, effect: Effect, knows_repeats: bool) {
        if self.refused.contains(&token) {
            return;
        }
        match self.effects.get_mut(&token) {
            Some(_) if knows_repeats => self.repeats += 1,
            Some(known) => known.times += 1,
            None => {
                self.effects.insert(token, effect);
            }
        }
    }
}

pub(crate) struct Party {
    world: World,
    name: &'static str,
    knows_repeats: bool,
    looks: bool,
}

fn reference(token: Token) -> Vec<u8> {
    format!("ref-{token}").into_bytes()
}

impl Provider for Party {
    fn name(&self) -> &str {
        self.name
    }

    fn send(&self, call: &Call) -> Sent {
        self.world.arrive();
        let now_ns = self.world.host.monotonic_ns();
        let mut state = self.world.state.lock().unwrap();
        let number = state.calls.iter().filter(|(name, ..)| name == self.name).count() as u64;
        let token = call.token;
        state.calls.push((self.name.to_owned(), call.dispatch, token));
        let mood = (state.moods)(self.name, number);
        let effect =
            || Effect { dispatch: call.dispatch, provider: self.name.to_owned(), times: 1 };
        let lost = || Sent::Unknown { why: "no answer".into() };
        if state.refused.contains(&token) {
            return Sent::Refused { code: 402, why: "no".into() };
        }
        match mood {
            Mood::Fine => {
                state.happen(token, effect(), self.knows_repeats);
                Sent::Done { reference: reference(token) }
            }
            Mood::Before => Sent::NotSent { why: "connection refused".into() },
            Mood::Lost => {
                state.happen(token, effect(), self.knows_repeats);
                lost()
            }
            Mood::Silent => lost(),
            Mood::Late => {
                let at_ns = now_ns + u64::try_from(LATE.as_nanos()).unwrap();
                state.late.push((at_ns, token, effect(), self.knows_repeats));
                lost()
            }
            // What it has done it does not refuse.
            Mood::Refuse if state.effects.contains_key(&token) && self.knows_repeats => {
                state.repeats += 1;
                Sent::Done { reference: reference(token) }
            }
            Mood::Refuse => {
                state.refused.insert(token);
                Sent::Refused { code: 402, why: "no".into() }
            }
            Mood::PanicBefore | Mood::PanicAfter => {
                if mood == Mood::PanicAfter {
                    state.happen(token, effect(), self.knows_repeats);
                }
                drop(state);
                // Without the message and the backtrace of a panic, of which there are thousands.
                std::panic::resume_unwind(Box::new("the provider's client has a bug"));
            }
        }
    }

    fn lookup(&self, call: &Call) -> Option<Found> {
        if !self.looks {
            return None;
        }
        self.world.arrive();
        let state = self.world.state.lock().unwrap();
        Some(match () {
            () if state.effects.contains_key(&call.token) => {
                Found::Done { reference: reference(call.token) }
            }
            () if state.refused.contains(&call.token) => {
                Found::Refused { code: 402, why: "no".into() }
            }
            () => Found::Absent,
        })
    }

    fn retry_unknown_with_same_token(&self) -> bool {
        self.knows_repeats
    }
}
