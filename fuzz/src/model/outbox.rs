//! What becomes of what third parties are to be told: said a second time from the records about it, and held against
//! what the third parties know.
//!
//! Always true: what is done is done; while it is not known whether a third party did it, nobody else is told; a dead
//! letter stays one until somebody sends it on its way again; the dispatches of an order are dealt with one after the
//! other. Nothing is done twice, and who has done something is whom the ledger names, or has in doubt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use order_ledger::disk::sim::{Crash, CrashMode, SimDisk, SimHost};
use order_ledger::{
    Call, DispatchEntry, DispatchState, Event, EventBody, Found, OrderId, Provider, Reader, Sent,
    Seq, Token, Witness,
};

use super::dispatches::{Said, Words};
use crate::shown::Shown;

/// A route by [`PARTIES`], in their order.
pub const PAY: &str = "pay";
/// A route by the second one; what follows in the order goes on when it was given up.
pub const SHIP: &str = "ship";

/// The first one knows repeats, and does once what it is told twice; the second one can be asked.
pub const PARTIES: [&str; 2] = ["acme", "bank"];

/// The dispatch that an event is about; none when it is about something else, or begins one.
pub fn pursues(event: &Event) -> Option<Seq> {
    match &event.body {
        EventBody::Attempted { dispatch, .. }
        | EventBody::Reported { dispatch, .. }
        | EventBody::GivenUp { dispatch, .. }
        | EventBody::Redriven { dispatch, .. } => Some(*dispatch),
        _ => None,
    }
}

/// Where a dispatch stands, by its records.
#[derive(Clone, Debug)]
struct Course {
    said: Said,
    order: OrderId,
    state: DispatchState,
    attempts: u32,
    doubt: Option<String>,
    /// The attempt that has no result.
    cut_off: Option<String>,
    changed: Event,
}

impl Course {
    fn begin(event: &Event, said: Said) -> Course {
        let (order, changed) = (event.order, event.clone());
        let (doubt, cut_off) = (None, None);
        Course { said, order, state: DispatchState::Waiting, attempts: 0, doubt, cut_off, changed }
    }

    fn is_done(&self) -> bool {
        matches!(self.state, DispatchState::Done { .. })
    }

    fn is_dead(&self) -> bool {
        matches!(self.state, DispatchState::Dead { .. })
    }

    /// Who may have done it.
    fn in_doubt(&self) -> Option<&String> {
        self.cut_off.as_ref().or(self.doubt.as_ref())
    }

    /// Whether what follows in the order may be dealt with.
    fn lets_pass(&self) -> bool {
        self.is_done() || self.is_dead() && self.said.words.route == SHIP
    }

    fn take(&mut self, event: &Event) {
        assert!(!self.is_done(), "it was done: {event:?}");
        let is_redriven = matches!(event.body, EventBody::Redriven { .. });
        assert_eq!(self.is_dead(), is_redriven, "{event:?}, behind {:?}", self.state);
        match &event.body {
            EventBody::Attempted { provider, attempt, .. } => {
                let goes_by =
                    if self.said.words.route == PAY { &PARTIES[..] } else { &PARTIES[1..] };
                assert!(goes_by.contains(&&provider[..]), "not of its route: {event:?}");
                assert_eq!(*attempt, self.attempts + 1, "{event:?}");
                let is_held = self.in_doubt().is_some_and(|doubt| doubt != provider);
                assert!(!is_held, "somebody else may have done it: {event:?}, {self:?}");
                self.doubt = self.in_doubt().cloned();
                (self.attempts, self.cut_off) = (*attempt, Some(provider.clone()));
                let (provider, why) = (provider.clone(), String::new());
                self.state = DispatchState::Unknown { provider, why };
            }
            EventBody::Reported { provider, attempt, report, by, .. } => {
                assert_eq!(*attempt, self.attempts, "{event:?}");
                assert_eq!(self.in_doubt(), Some(provider), "nobody was told: {event:?}");
                let is_answer = self.cut_off.take().is_some() && *by == Witness::Provider;
                assert!(is_answer || *by == Witness::Lookup, "{event:?}");
                let was_in_doubt = self.doubt.as_ref() == Some(provider);
                match report {
                    Sent::Unknown { .. } => self.doubt = Some(provider.clone()),
                    Sent::NotSent { .. } if was_in_doubt && *by == Witness::Provider => {
                        panic!("the time before, something may have happened: {event:?}")
                    }
                    _ => self.doubt = None,
                }
                let provider = provider.clone();
                self.state = match report.clone() {
                    Sent::Done { reference } => DispatchState::Done { provider, reference },
                    Sent::Refused { code, why } => DispatchState::Refused { provider, code, why },
                    Sent::NotSent { why } => {
                        DispatchState::Retrying { provider, at: event.at, why }
                    }
                    Sent::Unknown { why } => DispatchState::Unknown { provider, why },
                };
            }
            EventBody::GivenUp { why, .. } => {
                self.doubt = self.in_doubt().cloned();
                self.cut_off = None;
                self.state = DispatchState::Dead { why: why.clone() };
            }
            _ => {
                self.state = match self.doubt.clone() {
                    None => DispatchState::Waiting,
                    Some(provider) => DispatchState::Unknown { provider, why: String::new() },
                };
            }
        }
        self.changed = event.clone();
    }

    /// Whether the ledger says the same.
    fn is(&self, entry: &DispatchEntry) -> bool {
        let Said { seq, at, batch, words: Words { route, body, .. } } = &self.said;
        let said = (entry.dispatch, entry.at, entry.batch, &entry.route, &entry.body);
        let same = match (&self.state, &entry.state) {
            // The words of an attempt that was cut off are the ledger's own, and so is when it is tried again.
            (
                DispatchState::Unknown { provider, .. },
                DispatchState::Unknown { provider: it, .. },
            ) => provider == it,
            (
                DispatchState::Retrying { provider, why, .. },
                DispatchState::Retrying { provider: it, why: words, .. },
            ) => (provider, why) == (it, words),
            (state, it) => state == it,
        };
        same && said == (*seq, *at, *batch, route, body)
            && entry.order == self.order
            && (entry.attempts, entry.changed_at) == (self.attempts, self.changed.at)
            && entry.in_doubt.as_ref() == self.in_doubt()
    }
}

/// Holds the lists of dispatches against the histories of the orders, and those against the rules.
pub fn agree(shown: &Shown) {
    let mut all = Vec::new();
    for told in &shown.orders {
        let mut courses: BTreeMap<Seq, Course> = BTreeMap::new();
        for event in &told.history {
            if let Some(said) = Said::of(event) {
                courses.insert(said.seq, Course::begin(event, said));
            }
            let Some(dispatch) = pursues(event) else { continue };
            if let EventBody::Attempted { .. } = event.body {
                let mut before = courses.range(..dispatch).map(|(_, course)| course);
                let waits = before.find(|course| !course.lets_pass());
                assert!(waits.is_none(), "{event:?}, before {waits:?}");
            }
            let course = courses.get_mut(&dispatch);
            course.unwrap_or_else(|| panic!("of no dispatch of its order: {event:?}")).take(event);
        }
        all.extend(courses.into_values());
    }
    let same = |entries: &[DispatchEntry], mut courses: Vec<&Course>, sorted: bool| {
        if sorted {
            courses.sort_by_key(|course| course.said.seq);
        }
        let is = entries.len() == courses.len()
            && courses.iter().zip(entries).all(|(course, entry)| course.is(entry));
        assert!(
            is,
            "what the ledger says of dispatches: {entries:?}, and its records: {courses:?}"
        );
    };
    same(&shown.dispatches, all.iter().collect(), false);
    let open = |course: &&Course| !course.is_done() && !course.is_dead();
    same(&shown.open_dispatches, all.iter().filter(open).collect(), true);
    same(&shown.dead_letters, all.iter().filter(|course| course.is_dead()).collect(), true);
}

/// What happens to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    Fine,
    /// Turned away before anything happened.
    Before,
    /// Done, and the answer is lost.
    Lost,
    /// Nothing happened, and no answer came.
    Silent,
    Refuse,
}

impl Mood {
    pub const ALL: [Mood; 5] = [Mood::Fine, Mood::Before, Mood::Lost, Mood::Silent, Mood::Refuse];
}

/// What the third parties know: it outlives every process.
#[derive(Default, Debug)]
struct Known {
    /// Who has done what, under which token.
    done: BTreeMap<Token, (Seq, &'static str)>,
    refused: Vec<Token>,
    /// What happens to the next calls.
    moods: Vec<Mood>,
    calls: Vec<(Call, &'static str, Sent)>,
    wrong: Option<String>,
}

/// All third parties.
#[derive(Clone, Debug)]
pub struct World {
    known: Arc<Mutex<Known>>,
    disk: SimDisk,
    host: SimHost,
}

impl World {
    pub fn new(disk: &SimDisk, host: &SimHost) -> World {
        World { known: Arc::default(), disk: disk.clone(), host: host.clone() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("nobody panics")
    }

    pub fn parties(&self) -> [Party; 2] {
        PARTIES.map(|name| Party { name, world: self.clone() })
    }

    /// The next calls meet these moods, the first one first; later ones go well.
    pub fn meets(&self, moods: Vec<Mood>) {
        self.known().moods = moods;
    }

    /// The calls since this was asked for last, and what was answered.
    pub fn take_calls(&self) -> Vec<(Call, &'static str, Sent)> {
        let known = &mut *self.known();
        assert_eq!(known.wrong, None);
        std::mem::take(&mut known.calls)
    }

    /// What the ledger says, held against what was done.
    pub fn check(&self, shown: &Shown) {
        let known = self.known();
        for entry in &shown.dispatches {
            let mut by = known.done.values().filter(|it| it.0 == entry.dispatch).map(|it| it.1);
            let (done, another) = (by.next(), by.next());
            assert_eq!(another, None, "done by two: {entry:?}");
            match (&entry.state, done) {
                (DispatchState::Done { provider, .. }, done) => {
                    assert_eq!(done, Some(&provider[..]), "nobody has done it: {entry:?}");
                }
                (_, Some(done)) => {
                    assert_eq!(entry.in_doubt.as_deref(), Some(done), "it was done: {entry:?}");
                }
                (_, None) => {}
            }
        }
    }

    /// Whether the attempt that this call is about is on disk: what a power cut leaves.
    fn is_on_disk(&self, call: &Call, name: &str) -> bool {
        let copy = SimDisk::new(0);
        copy.restore(&self.disk.snapshot());
        copy.crash(Crash::new(CrashMode::DropAll, 0));
        copy.clear_faults();
        let Ok(reader) = Reader::open_on(copy.as_disk(), &self.host) else { return false };
        let is_it = |event: &Event| match &event.body {
            EventBody::Attempted { dispatch, provider, attempt } => {
                (*dispatch, &provider[..], *attempt) == (call.dispatch, name, call.attempt)
            }
            _ => false,
        };
        reader.history(call.order).is_ok_and(|history| history.last().is_some_and(is_it))
    }
}

/// A third party.
pub struct Party {
    name: &'static str,
    world: World,
}

fn reference(token: Token) -> Vec<u8> {
    format!("ref-{token}").into_bytes()
}

impl Provider for Party {
    fn name(&self) -> &str {
        self.name
    }

    fn send(&self, call: &Call) -> Sent {
        let is_on_disk = self.world.is_on_disk(call, self.name);
        let known = &mut *self.world.known();
        if !is_on_disk {
            known.wrong = Some(format!("told before it was on disk: {call:?}"));
        }
        let token = call.token;
        if token != Token::of(call.ledger, call.order, call.dispatch, self.name) {
            known.wrong = Some(format!("another token: {call:?}"));
        }
        let mood = if known.moods.is_empty() { Mood::Fine } else { known.moods.remove(0) };
        let is_known = known.done.contains_key(&token);
        let refused = Sent::Refused { code: 402, why: "no".into() };
        let sent = match mood {
            _ if known.refused.contains(&token) => refused,
            Mood::Before => Sent::NotSent { why: "not there".into() },
            Mood::Silent => Sent::Unknown { why: "no answer".into() },
            // What it has done it does not refuse.
            Mood::Refuse if !is_known => {
                known.refused.push(token);
                refused
            }
            mood => {
                if is_known && self.name != PARTIES[0] {
                    known.wrong = Some(format!("done twice: {call:?}"));
                }
                known.done.insert(token, (call.dispatch, self.name));
                match mood {
                    Mood::Lost => Sent::Unknown { why: "no answer".into() },
                    _ => Sent::Done { reference: reference(token) },
                }
            }
        };
        known.calls.push((call.clone(), self.name, sent.clone()));
        sent
    }

    fn lookup(&self, call: &Call) -> Option<Found> {
        if self.name == PARTIES[0] {
            return None;
        }
        let known = self.world.known();
        Some(match () {
            () if known.done.contains_key(&call.token) => {
                Found::Done { reference: reference(call.token) }
            }
            () if known.refused.contains(&call.token) => {
                Found::Refused { code: 402, why: "no".into() }
            }
            () => Found::Absent,
        })
    }

    fn retry_unknown_with_same_token(&self) -> bool {
        self.name == PARTIES[0]
    }
}
