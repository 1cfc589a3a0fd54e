//! The oracle for what third parties are to be told: dispatches, what the outbox has recorded of them, and what the
//! third parties say that they were told.
//!
//! Always true: what was acknowledged is there, once; an attempt is on disk before anybody is told, and what came of it
//! when the outbox goes on; while it is not known whether one has done it nobody else is told; of an order one is dealt
//! with behind the other; an attempt that was cut off is unknown.

use std::collections::{BTreeMap, BTreeSet};

use order_ledger::{
    DispatchEntry, Dispatched, Error, ErrorKind, Event, EventBody, Field, How, OrderId, Sent, Seq,
    Token, Witness,
};

use super::batches::Batches;
use super::known::Trouble;
use super::plan::Key;
use super::steps::Told;

/// The one route.
pub(super) const ROUTE: &str = "pay";

/// The command key of a dispatch that is recorded alone.
pub(super) fn command(number: u8) -> Vec<u8> {
    format!("dispatch {number}").into_bytes()
}

/// Where a dispatch stands by its events.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) order: OrderId,
    pub(super) batch: Option<Seq>,
    command: Vec<u8>,
    body: Vec<u8>,
    /// The name of its state.
    pub(super) state: &'static str,
    provider: String,
    /// Who may have done it.
    doubt: Option<String>,
    /// Who was told, each time.
    told: Vec<String>,
    /// What somebody has answered to that.
    reports: usize,
    redriven: usize,
}

impl Course {
    /// An attempt without a result was cut off.
    fn cut_off(&mut self) {
        if self.state == "attempting" {
            (self.state, self.doubt) = ("unknown", Some(self.provider.clone()));
        }
    }

    /// It is on its way, or a person has to look at it.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state, "done" | "dead")
    }

    fn goes_on(&mut self, event: &Event) {
        match &event.body {
            EventBody::Attempted { provider, attempt, .. } => {
                self.cut_off();
                assert!(self.is_open(), "{event:?} behind {self:?}");
                let may_be = self.doubt.as_ref().is_none_or(|doubt| doubt == provider);
                assert!(may_be, "somebody else is told while it is unknown: {event:?}, {self:?}");
                self.told.push(provider.clone());
                assert_eq!(*attempt as usize, self.told.len(), "{event:?}");
                (self.state, self.provider) = ("attempting", provider.clone());
            }
            EventBody::Reported { provider, attempt, report, by, .. } => {
                if *by == Witness::Provider {
                    assert_eq!((self.state, &self.provider), ("attempting", provider), "{event:?}");
                    self.reports += 1;
                } else {
                    self.cut_off();
                    assert_eq!(self.doubt.as_ref(), Some(provider), "{event:?} and {self:?}");
                    self.doubt = None;
                }
                assert_eq!(*attempt as usize, self.told.len(), "{event:?}");
                let is_in_doubt = self.doubt.as_ref() == Some(provider);
                self.state = match report {
                    Sent::Done { .. } => "done",
                    Sent::Refused { .. } => "refused",
                    Sent::NotSent { .. } => {
                        assert!(!is_in_doubt, "the time before, something may have happened");
                        "retrying"
                    }
                    Sent::Unknown { .. } => "unknown",
                };
                match report {
                    Sent::Unknown { .. } => self.doubt = Some(provider.clone()),
                    _ if is_in_doubt => self.doubt = None,
                    _ => {}
                }
                self.provider.clone_from(provider);
            }
            EventBody::GivenUp { .. } => {
                self.cut_off();
                assert!(self.is_open(), "{event:?} behind {self:?}");
                self.state = "dead";
            }
            EventBody::Redriven { .. } => {
                assert_eq!(self.state, "dead", "{event:?}");
                self.state = if self.doubt.is_some() { "unknown" } else { "waiting" };
                self.redriven += 1;
            }
            other => panic!("{other:?}"),
        }
    }

    /// What the ledger says of it when it was just opened.
    pub(super) fn check(&self, entry: &DispatchEntry) {
        let mut expected = self.clone();
        expected.cut_off();
        let Course { order, batch, body, state, doubt, told, .. } = expected;
        let told = u32::try_from(told.len()).unwrap();
        assert_eq!(
            (entry.order, entry.batch, &entry.route[..], &entry.body),
            (order, batch, ROUTE, &body)
        );
        assert_eq!((entry.state.name(), &entry.in_doubt, entry.attempts), (state, &doubt, told));
    }
}

/// A dispatch that is recorded alone.
#[derive(Clone, Debug, PartialEq)]
struct Alone {
    body: Vec<u8>,
    seq: Option<Seq>,
}

/// Its name and what is to be told, and what was known of it before.
type Asked = ((Key, u8), Vec<u8>, Option<Alone>);

/// What came of recording one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Sort {
    Fresh,
    Replayed,
    Conflict,
    InDoubt,
    Failed,
}

#[derive(Debug, Default)]
pub(super) struct Posts {
    /// Everything about dispatches that somebody has seen.
    known: BTreeMap<Seq, Event>,
    alone: BTreeMap<(Key, u8), Alone>,
    /// The one that is being recorded alone, and what was known of it before.
    asked: Option<Asked>,
    /// The one that this life of the ledger ended with.
    doubt: Option<((Key, u8), Vec<u8>)>,
    /// The outbox may have recorded something since somebody has seen everything.
    pub(super) is_loose: bool,
    /// Of each dispatch, how many calls of a provider were answered, and the outbox went on.
    answered: BTreeMap<Seq, usize>,
    redriven: BTreeMap<Seq, usize>,
    /// Attempts that were perhaps recorded, and nobody was told.
    unmade: usize,
}

impl Posts {
    /// A dispatch is to be recorded alone.
    pub(super) fn asks(&mut self, key: Key, number: u8, body: &[u8]) {
        let before = self.alone.get(&(key, number)).cloned();
        self.asked = Some(((key, number), body.to_vec(), before));
    }

    /// Takes in the answer. `invisible`: only others have seen that the order began.
    pub(super) fn answered(
        &mut self,
        order: OrderId,
        answer: Result<Dispatched, Error>,
        (lost, invisible): (bool, bool),
        trouble: Trouble,
    ) -> Sort {
        let (name, body, before) = self.asked.take().expect("somebody has asked");
        let known = before.as_ref().and_then(|before| Some((before.seq?, &before.body)));
        let error = match answer {
            Ok(dispatched) => {
                assert_eq!(dispatched.order, order);
                let seq = dispatched.dispatch;
                let Some((known_seq, known_body)) = known else {
                    assert_eq!(dispatched.how, How::Fresh, "a replay of what was never there");
                    let seen = self.alone.insert(name, Alone { body, seq: Some(seq) });
                    let seen = seen.and_then(|seen| seen.seq);
                    assert!(seen.is_none_or(|seen| seen == seq), "others have seen it elsewhere");
                    return Sort::Fresh;
                };
                assert_eq!((dispatched.how, seq, &body), (How::Replayed, known_seq, known_body));
                return Sort::Replayed;
            }
            Err(error) => error,
        };
        let (expected, sort) = match error.kind() {
            ErrorKind::InDoubt { .. } => {
                if !lost && self.alone.get(&name).is_none_or(|alone| alone.seq.is_none()) {
                    self.doubt = Some((name, body));
                }
                (trouble.poisoned && (lost || known.is_none()), Sort::InDoubt)
            }
            ErrorKind::Poisoned { .. } => (trouble.poisoned, Sort::Failed),
            ErrorKind::Io { .. } | ErrorKind::Corrupt(_) => (trouble.disk, Sort::Failed),
            ErrorKind::DiskLow { .. } => (trouble.disk || trouble.full, Sort::Failed),
            ErrorKind::NoSuchOrder { .. } => (invisible, Sort::Failed),
            ErrorKind::CommandConflict { seq, differs } => {
                let is_it = known.is_some_and(|(known, found)| known == *seq && *found != body);
                (is_it && *differs == [Field::Payload], Sort::Conflict)
            }
            _ => (false, Sort::Failed),
        };
        assert!(expected, "{error}, and it was {before:?}");
        sort
    }

    /// The outbox has dealt with something, and goes on, or has failed.
    pub(super) fn ran(&mut self, calls: &[(String, Seq, Token)], went_on: bool) {
        for (_, dispatch, _) in calls.iter().filter(|_| went_on) {
            *self.answered.entry(*dispatch).or_default() += 1;
        }
        self.unmade += usize::from(!went_on);
    }

    /// A dead letter was sent on its way again.
    pub(super) fn redriven(&mut self, dispatch: Seq) {
        *self.redriven.entry(dispatch).or_default() += 1;
    }

    /// Somebody sees all of a log: what is known, and what is going on or in doubt; answers where each stands.
    pub(super) fn listed(&mut self, all: &[Told]) -> BTreeMap<Seq, Course> {
        let mut events: BTreeMap<Seq, &Event> = BTreeMap::new();
        let mut found_alone = BTreeSet::new();
        for told in all {
            for event in told.history.iter().filter(|event| is_about_dispatch(event)) {
                events.insert(event.seq, event);
                let EventBody::Dispatched { route, command_key, body } = &event.body else {
                    continue;
                };
                assert_eq!(route, ROUTE);
                if event.batch.is_none() {
                    let name = self.found(told, event.seq, command_key, body);
                    assert!(found_alone.insert(name), "recorded twice: {event:?}");
                }
            }
        }
        for (seq, known) in &self.known {
            assert_eq!(events.get(seq), Some(&known), "seen, and gone or changed");
        }
        for event in events.values().filter(|event| !self.known.contains_key(&event.seq)) {
            let is_new = matches!(event.body, EventBody::Dispatched { .. });
            assert!(is_new || self.is_loose, "nobody has recorded that: {event:?}");
        }
        let lost = self.alone.iter().find(|it| it.1.seq.is_some() && !found_alone.contains(it.0));
        assert_eq!(lost, None, "acknowledged and gone");
        self.known = events.iter().map(|(seq, event)| (*seq, (*event).clone())).collect();
        self.fold()
    }

    /// One that was recorded alone is there.
    fn found(&mut self, told: &Told, seq: Seq, command_key: &[u8], body: &[u8]) -> (Key, u8) {
        assert!(!Batches::has(told), "nobody has asked for a dispatch of {:?}", told.order.id());
        let parse = |bytes: &[u8], prefix: &str| -> usize {
            str::from_utf8(bytes).unwrap().strip_prefix(prefix).unwrap().parse().unwrap()
        };
        let number = u8::try_from(parse(command_key, "dispatch ")).unwrap();
        let name = (parse(&told.order.key, "key-"), number);
        let known = self.alone.get(&name).and_then(|alone| Some((alone.seq?, &alone.body[..])));
        if let Some(known) = known {
            assert_eq!(known, (seq, body), "it has changed");
            return name;
        }
        let asked = self.asked.iter().map(|(name, body, _)| (name, body));
        let mut asked = asked.chain(self.doubt.iter().map(|(name, body)| (name, body)));
        let is_asked = asked.any(|(asked, wanted)| *asked == name && wanted == body);
        assert!(is_asked, "a dispatch that nobody has asked for: {name:?}");
        self.alone.insert(name, Alone { body: body.to_vec(), seq: Some(seq) });
        name
    }

    /// Everything follows from what was there before it.
    fn fold(&self) -> BTreeMap<Seq, Course> {
        let mut courses: BTreeMap<Seq, Course> = BTreeMap::new();
        for event in self.known.values() {
            let dispatch = match &event.body {
                EventBody::Dispatched { command_key, body, .. } => {
                    let course = Course {
                        order: event.order,
                        batch: event.batch,
                        command: command_key.clone(),
                        body: body.clone(),
                        state: "waiting",
                        provider: String::new(),
                        doubt: None,
                        told: Vec::new(),
                        reports: 0,
                        redriven: 0,
                    };
                    assert_eq!(course.command.is_empty(), course.batch.is_some());
                    courses.insert(event.seq, course);
                    continue;
                }
                EventBody::Attempted { dispatch, .. } => {
                    let mut before = courses.range(..dispatch).map(|(_, before)| before);
                    let waits = before.find(|it| it.order == event.order && it.state != "done");
                    assert!(waits.is_none(), "not in their order: {event:?} and {waits:?}");
                    *dispatch
                }
                EventBody::Reported { dispatch, .. }
                | EventBody::GivenUp { dispatch, .. }
                | EventBody::Redriven { dispatch, .. } => *dispatch,
                other => panic!("{other:?}"),
            };
            let course = courses.get_mut(&dispatch).expect("of a dispatch that is there");
            assert_eq!(course.order, event.order);
            course.goes_on(event);
        }
        courses
    }

    /// What third parties were told, and what the outbox went on behind, is there. Nothing is going on.
    pub(super) fn holds(
        &mut self,
        courses: &BTreeMap<Seq, Course>,
        calls: &[(String, Seq, Token)],
    ) {
        let mut tokens = BTreeMap::new();
        let mut made: BTreeMap<Seq, Vec<&String>> = BTreeMap::new();
        for (provider, dispatch, token) in calls {
            let known = tokens.insert((provider, dispatch), token);
            assert!(known.is_none_or(|known| known == token), "it was given another token");
            made.entry(*dispatch).or_default().push(provider);
        }
        let mut unmade = 0;
        for (dispatch, providers) in &made {
            assert!(courses.contains_key(dispatch), "told what is not there: {dispatch}");
            let mut told = courses[dispatch].told.iter();
            let is_there = providers.iter().all(|provider| told.any(|told| told == *provider));
            assert!(is_there, "told, and no attempt is there: {providers:?}");
        }
        for (dispatch, course) in courses {
            unmade += course.told.len() - made.get(dispatch).map_or(0, Vec::len);
            let answered = self.answered.get(dispatch).copied().unwrap_or(0);
            assert!(course.reports >= answered, "answered, and that is not there: {course:?}");
            let redriven = self.redriven.get(dispatch).copied().unwrap_or(0);
            assert!(course.redriven >= redriven, "sent on its way again, and that is not there");
        }
        assert!(unmade <= self.unmade, "{unmade} attempts that nobody was told of");
        self.is_loose = false;
    }

    /// After opening: whether the one in doubt is there, which is settled.
    pub(super) fn settle(&mut self) -> Option<bool> {
        let (name, _) = self.doubt.take()?;
        Some(self.alone.get(&name).is_some_and(|alone| alone.seq.is_some()))
    }

    pub(super) fn life_has_ended(&mut self) {
        self.asked = None;
    }
}

/// Whether it tells of what third parties are to be told.
fn is_about_dispatch(event: &Event) -> bool {
    matches!(
        event.body,
        EventBody::Dispatched { .. }
            | EventBody::Attempted { .. }
            | EventBody::Reported { .. }
            | EventBody::GivenUp { .. }
            | EventBody::Redriven { .. }
    )
}
