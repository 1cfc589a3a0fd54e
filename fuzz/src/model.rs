//! What a ledger owes its callers, kept outside the ledger, from its answers alone.
//!
//! The model knows of each key what was acknowledged, and what may have been recorded: orders still on
//! their way, and those whose outcome is in doubt. Everything that the ledger ever shows, by an answer
//! or by a read, is owed from then on (nothing is shown that is not durable).
//!
//! It is shared by all targets; they differ in what an order is made of ([`Content`]). What is done together with
//! other things is judged twice: each part here as if it came alone, and the whole in [`batches`]; how far those are
//! who follow along, in [`cursors`]; what is told of it when something is wrong, in [`alerts`];
//! what third parties are to be told, in [`dispatches`] and [`outbox`];
//! what is noted about it, in [`notes`]; who is held, in [`holds`]; who stands still for too long, in [`stuck`].

pub mod alerts;
pub mod batches;
pub mod cursors;
pub mod dispatches;
pub mod holds;
pub mod notes;
pub mod outbox;
pub mod stuck;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use order_ledger::{
    AlertEvent, Certainty, Error, ErrorKind, Event, EventBody, Field, How, Lifecycle, Order,
    OrderId, Outcome, Receipt, Refusal, Result, State, Submission, Timestamp, Transitioned,
};

use self::alerts::Alerts;
use self::batches::Batches;
use self::cursors::Cursors;
use self::dispatches::Dispatches;
use self::holds::Holds;
use self::notes::Notes;
use self::stuck::Thresholds;
use crate::lives::{Began, Life, Move, Told, Wish};
use crate::shown::Shown;

/// A key as a small number.
pub type Key = u16;

/// The bytes that a key stands for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Scope {
    pub client: Vec<u8>,
    pub key: Vec<u8>,
}

/// What an order is made of, as small numbers.
pub trait Content: Copy + Ord + Debug {
    /// The client and the key behind a number: different ones for different numbers.
    fn scope(key: Key) -> Scope;

    fn submission(self, key: Key) -> Submission;

    /// Whether every field of [`Content::submission`] is within its limit.
    fn is_valid(self, key: Key) -> bool;

    /// Whether `order` holds what [`Content::submission`] hands in, byte for byte.
    fn is_of(self, order: &Order) -> bool;

    /// After how long the order expires.
    fn expires_in(self) -> Option<Duration> {
        None
    }

    /// The account that it is for.
    fn account(self) -> Vec<u8> {
        Vec::new()
    }

    /// What a conflict of the two names; empty: they are the same order.
    fn differs(self, other: Self) -> Vec<Field>;
}

/// The one client of all small orders.
pub const CLIENT: &str = "fuzz";

/// A small order: a few accounts, references and payloads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Small {
    pub account: u8,
    /// Decides the bytes and the size of the payload.
    pub payload: u16,
    /// After how many microseconds it expires; never when it is 0.
    pub lives_us: u16,
    /// The number of the thresholds that it has of its own; 0: none.
    pub own: u8,
}

impl Small {
    /// The payload: mostly small, sometimes larger than what fits into a segment of the smallest size.
    fn bytes(self) -> Vec<u8> {
        let bytes = match self.payload % 16 {
            0 => 0,
            15 => 20_000,
            14 => 5_000,
            class => usize::from(class) * 40,
        };
        let [low, high] = self.payload.to_le_bytes();
        (0..bytes).map(|index| low ^ high.wrapping_mul(index as u8)).chain([low, high]).collect()
    }

    /// Empty for one account, so that orders without a reference are there as well.
    fn external_ref(self) -> Vec<u8> {
        if self.account == 0 { Vec::new() } else { vec![b'r', self.account] }
    }
}

impl Content for Small {
    fn scope(key: Key) -> Scope {
        Scope { client: CLIENT.into(), key: format!("key-{key}").into() }
    }

    fn submission(self, key: Key) -> Submission {
        let Scope { client, key } = Small::scope(key);
        let order = Submission::new(client, key, self.bytes())
            .account([self.account])
            .external_ref(self.external_ref());
        let order = match self.expires_in() {
            Some(duration) => order.expires_in(duration),
            None => order,
        };
        let [warn, critical] = Thresholds::own(self.own).durations();
        let order = warn.into_iter().fold(order, Submission::warn_after);
        critical.into_iter().fold(order, Submission::critical_after)
    }

    fn expires_in(self) -> Option<Duration> {
        (self.lives_us > 0).then(|| Duration::from_micros(self.lives_us.into()))
    }

    fn is_valid(self, _: Key) -> bool {
        true
    }

    fn account(self) -> Vec<u8> {
        vec![self.account]
    }

    fn is_of(self, order: &Order) -> bool {
        order.kind.is_empty()
            && order.schema == 0
            && order.account == [self.account]
            && order.external_ref == self.external_ref()
            && order.expires_at == expires_at(&order.receipt, self)
            && [order.warn_after, order.critical_after] == Thresholds::own(self.own).durations()
            && order.payload == self.bytes()
    }

    fn differs(self, other: Small) -> Vec<Field> {
        let mut differs = Vec::new();
        if self.account != other.account {
            differs.push(Field::Account);
        }
        if self.external_ref() != other.external_ref() {
            differs.push(Field::ExternalRef);
        }
        if self.expires_in() != other.expires_in() {
            differs.push(Field::Expiry);
        }
        if self.payload != other.payload {
            differs.push(Field::Payload);
        }
        if Thresholds::own(self.own) != Thresholds::own(other.own) {
            differs.push(Field::Thresholds);
        }
        differs
    }
}

/// The instant at which an order expires; what is refused for good never does.
fn expires_at(receipt: &Receipt, content: impl Content) -> Option<Timestamp> {
    if receipt.first_state == State::Refused {
        return None;
    }
    let accepted_ns = receipt.accepted_at.as_unix_ns();
    content.expires_in().map(|it| Timestamp::from_unix_ns(accepted_ns + it.as_nanos() as u64))
}

/// What may have become of one content under one key.
#[derive(Clone, Copy, Default, Debug)]
struct Maybe {
    /// Calls that have no answer yet.
    in_flight: u32,
    /// A call ended in doubt, or nobody waited for its answer.
    in_doubt: bool,
}

/// What is known of one key.
#[derive(Clone, Debug)]
struct Known<C> {
    recorded: Option<(C, Receipt)>,
    /// Why it was refused for good, when it was and somebody was told.
    refusal: Option<Refusal>,
    maybe: BTreeMap<C, Maybe>,
    /// This ledger was told to be in doubt about it, and says nothing else before it is opened again.
    blocked: bool,
    life: Life,
    dispatches: Dispatches,
    notes: Notes,
}

impl<C> Default for Known<C> {
    fn default() -> Known<C> {
        Known {
            recorded: None,
            refusal: None,
            maybe: BTreeMap::new(),
            blocked: false,
            life: Life::default(),
            dispatches: Dispatches::default(),
            notes: Notes::default(),
        }
    }
}

impl<C: Content> Known<C> {
    fn began(&self) -> Option<Began> {
        let (content, receipt) = self.recorded?;
        Some(Began { receipt, expires_at: expires_at(&receipt, content) })
    }

    /// Somebody was shown the order.
    fn told(&mut self, told: &Told, pursues: bool, [lags, ended]: [bool; 2]) {
        self.life.shown(told, lags, ended);
        self.dispatches.shown(told, &mut self.life, pursues, [lags, ended]);
        self.notes.shown(told, &mut self.life, [lags, ended]);
    }
}

/// What a ledger owes.
#[derive(Clone, Debug)]
pub struct Model<C = Small> {
    keys: BTreeMap<Key, Known<C>>,
    /// The numbers behind the bytes.
    numbers: BTreeMap<Scope, Key>,
    /// Orders for which `Fresh` was answered: at most once each.
    fresh: BTreeSet<OrderId>,
    lifecycle: Lifecycle,
    batches: Batches<C>,
    pub cursors: Cursors,
    pub alerts: Alerts,
    holds: Holds,
    /// An outbox may have recorded what nobody was told of.
    pursues: bool,
}

impl<C> Default for Model<C> {
    fn default() -> Model<C> {
        Model {
            keys: BTreeMap::new(),
            numbers: BTreeMap::new(),
            fresh: BTreeSet::new(),
            lifecycle: stuck::lifecycle(),
            batches: Batches::default(),
            cursors: Cursors::default(),
            alerts: Alerts::default(),
            holds: Holds::default(),
            pursues: false,
        }
    }
}

impl<C: Content> Model<C> {
    /// A call begins.
    pub fn begin(&mut self, key: Key, content: C) {
        self.numbers.entry(C::scope(key)).or_insert(key);
        self.meets(key, content);
        self.keys.entry(key).or_default().maybe.entry(content).or_default().in_flight += 1;
    }

    /// The call's answer will never be known: its process died, or nobody waits for it.
    pub fn abandon(&mut self, key: Key, content: C) {
        let maybe = self.maybe(key, content);
        maybe.in_flight -= 1;
        maybe.in_doubt = true;
    }

    fn maybe(&mut self, key: Key, content: C) -> &mut Maybe {
        let known = self.keys.get_mut(&key).expect("the call was begun");
        known.maybe.get_mut(&content).expect("the call was begun")
    }

    /// A call ends. `poisoned` is what held before it: a poisoned ledger takes nothing new.
    pub fn end(&mut self, key: Key, content: C, answer: &Result<Outcome>, poisoned: bool) {
        match answer {
            Ok(outcome) => self.end_ok(key, content, outcome, poisoned),
            Err(error) => self.end_err(key, content, error),
        }
        self.ended(key, content);
    }

    /// A deferred call ends, perhaps long after its outcome was decided. That nothing was recorded was
    /// true then; another call may have recorded the same since.
    pub fn end_deferred(&mut self, key: Key, content: C, answer: &Result<Outcome>) {
        // It may have waited for another one, and be looked at only now.
        self.meets(key, content);
        match answer {
            Err(error) if error.certainty() == Certainty::NotRecorded => self.ended(key, content),
            // It may have been written before the poison.
            answer => self.end(key, content, answer, false),
        }
    }

    fn ended(&mut self, key: Key, content: C) {
        let maybe = self.maybe(key, content);
        maybe.in_flight -= 1;
        if maybe.in_flight == 0 && !maybe.in_doubt {
            self.keys.get_mut(&key).expect("begun").maybe.remove(&content);
        }
    }

    fn end_ok(&mut self, key: Key, content: C, outcome: &Outcome, poisoned: bool) {
        let Outcome { receipt, how, now, .. } = *outcome;
        assert_eq!(receipt.first_state, State::Accepted);
        let known = self.keys.get(&key).expect("the call was begun");
        assert!(known.life.stood(State::Accepted, now), "key {key} never stood at {now:?}");
        assert!(content.is_valid(key), "key {key} was taken, and breaks a limit: {content:?}");
        if known.recorded.is_none() && how != How::Fresh {
            // Another call with the same content; the caller's own fingerprint may hide what differs.
            let others = known.maybe.iter().any(|(other, maybe)| {
                let calls = maybe.in_flight > u32::from(*other == content) || maybe.in_doubt;
                calls && other.differs(content).is_empty()
            });
            assert!(others, "{how} for key {key}, which nobody else had submitted so");
        }
        if how == How::Fresh {
            assert!(!poisoned, "a poisoned ledger took key {key}");
            assert!(self.may_be_taken(key, content), "key {key} was held, and taken");
            assert!(self.fresh.insert(receipt.order), "order {} was fresh twice", receipt.order);
        }
        self.shown(key, content, receipt);
        if how == How::Fresh {
            self.is_exactly(key, content);
        }
    }

    fn end_err(&mut self, key: Key, content: C, error: &Error) {
        match (error.kind(), error.certainty()) {
            // The first of all checks, also for a key that is recorded.
            (ErrorKind::Invalid { .. }, Certainty::NotRecorded) => {
                assert!(!content.is_valid(key), "key {key}, {content:?}: {error}");
            }
            _ if !content.is_valid(key) => panic!("key {key} breaks a limit: {error}"),
            (ErrorKind::Conflict { receipt, differs }, Certainty::Recorded(recorded)) => {
                assert_eq!(*receipt, recorded);
                let known = self.keys.get(&key).expect("begun");
                match known.recorded {
                    Some((other, owed)) => {
                        assert_ne!(*differs, [], "key {key} conflicts with itself");
                        assert_eq!(owed, *receipt);
                        // A caller's own fingerprint makes several contents the same order, and the one
                        // that was recorded may be that of a call which has no answer yet.
                        let same = known.maybe.keys().filter(|maybe| {
                            maybe.differs(other).is_empty() && maybe.differs(content) == *differs
                        });
                        let same: Vec<_> = same.copied().collect();
                        let is_other = *differs == other.differs(content);
                        assert!(
                            is_other || !same.is_empty(),
                            "key {key}: {differs:?}, not {:?}",
                            other.differs(content)
                        );
                        if let ([exactly], false) = (&same[..], is_other) {
                            self.is_exactly(key, *exactly);
                        }
                    }
                    None => {
                        let fitting: Vec<_> = known
                            .maybe
                            .keys()
                            .filter(|other| {
                                !differs.is_empty() && other.differs(content) == *differs
                            })
                            .copied()
                            .collect();
                        assert!(!fitting.is_empty(), "key {key} conflicts with nothing: {error}");
                        // Which of them it is, a read will tell; the only one there can be is owed now.
                        if let [other] = fitting[..] {
                            self.shown(key, other, *receipt);
                        }
                    }
                }
            }
            (ErrorKind::Refused { receipt, refusal }, Certainty::Recorded(recorded)) => {
                assert_eq!((*receipt, receipt.first_state), (recorded, State::Refused));
                self.is_refused(key, content, refusal);
                self.shown(key, content, *receipt);
            }
            (ErrorKind::InDoubt { .. }, Certainty::Unknown) => {
                self.maybe(key, content).in_doubt = true;
            }
            // The key could not be looked up: nothing was written, and what was there is there.
            (ErrorKind::Io { .. }, Certainty::Unknown) => {}
            (
                ErrorKind::Poisoned { .. }
                | ErrorKind::DiskLow { .. }
                | ErrorKind::Overloaded { .. }
                | ErrorKind::Closed
                | ErrorKind::Io { .. },
                Certainty::NotRecorded,
            ) => {
                let known = self.keys.get(&key).expect("begun");
                let recorded =
                    known.recorded.is_some_and(|(other, _)| other.differs(content).is_empty());
                // The key of a recorded order is found before anything is asked of the disk's space,
                // the queue or the poison; only reading it may fail.
                let readable = !matches!(error.kind(), ErrorKind::Io { .. });
                assert!(!(known.blocked && readable), "key {key} is in doubt, and not: {error}");
                assert!(
                    !(recorded && readable),
                    "key {key} is recorded and was not replayed: {error}"
                );
            }
            (kind, certainty) => panic!("key {key}: {kind:?} with {certainty:?}"),
        }
    }

    /// The ledger has shown that `content` is recorded under `key`.
    fn shown(&mut self, key: Key, content: C, receipt: Receipt) {
        let known = self.keys.entry(key).or_default();
        match known.recorded {
            Some((other, owed)) => {
                assert_eq!(owed, receipt, "the receipt for key {key} has changed");
                assert_eq!(other.differs(content), [], "the order of key {key} has changed");
            }
            None => known.recorded = Some((content, receipt)),
        }
    }

    /// Of several contents that are the same order, this is the one that was recorded.
    fn is_exactly(&mut self, key: Key, content: C) {
        if let Some((recorded, _)) = &mut self.keys.entry(key).or_default().recorded {
            *recorded = content;
        }
    }

    /// A read of `key` has answered. `lags`: the ledger was poisoned, and others may have seen more.
    pub fn read(&mut self, key: Key, told: Option<&Told>, lags: bool) {
        let known = self.keys.entry(key).or_default();
        let Some(told) = told else {
            assert!(known.recorded.is_none(), "the order of key {key} is not found");
            return;
        };
        let order = &told.order;
        known.told(told, self.pursues, [lags, false]);
        let scope = C::scope(key);
        assert_eq!((&order.client, &order.key), (&scope.client, &scope.key));
        let own = (order.warn_after, order.critical_after);
        let is_told = |event: &Event| match event.body {
            EventBody::Accepted { warn_after, critical_after, .. } => {
                (warn_after, critical_after) == own
            }
            EventBody::Refused { ref refusal, .. } => order.refusal.as_ref() == Some(refusal),
            _ => false,
        };
        assert!(told.history.first().is_some_and(is_told), "it began otherwise: {told:?}");
        let recorded = known.recorded.map(|(content, _)| content);
        let content = recorded
            .into_iter()
            .chain(known.maybe.keys().copied())
            .find(|content| content.is_of(order))
            .unwrap_or_else(|| panic!("key {key} holds what nobody submitted: {order:?}"));
        self.read_refusal(key, content, order);
        self.shown(key, content, order.receipt);
        self.is_exactly(key, content);
    }

    /// A read of `key` was answered with "in doubt".
    pub fn read_in_doubt(&self, key: Key) {
        let known = self.keys.get(&key).expect("a key in doubt was submitted");
        assert!(known.recorded.is_none(), "key {key} is recorded, and called in doubt");
        assert!(!known.maybe.is_empty(), "key {key} is in doubt, and nobody submitted it");
    }

    /// What a step of the order of `key` is asked for as; none, when it is not known.
    pub fn wish(&self, key: Key, asked: Move) -> Option<(OrderId, Wish)> {
        let known = self.keys.get(&key)?;
        let (_, receipt) = known.recorded.as_ref()?;
        Some((receipt.order, known.life.wish(receipt.first_state, asked)))
    }

    /// The same for a cancellation.
    pub fn cancel(&self, key: Key) -> Option<(OrderId, Wish)> {
        let known = self.keys.get(&key)?;
        let (_, receipt) = known.recorded.as_ref()?;
        Some((receipt.order, known.life.cancel(receipt.first_state, &self.lifecycle)))
    }

    /// A call for a step ends.
    pub fn end_move(
        &mut self,
        key: Key,
        wish: &Wish,
        answer: &Result<Transitioned>,
        poisoned: bool,
    ) {
        let known = self.keys.get_mut(&key).expect("only what is recorded is asked");
        let began = known.began().expect("only what is recorded is asked");
        known.life.end(&began, wish, answer, &self.lifecycle, poisoned);
    }

    /// All of the ledger was read. `ended`: no call that was begun can still be written, so what is not there
    /// now will never be.
    pub fn read_all(&mut self, shown: &Shown, lags: bool, ended: bool) {
        let mut seen = BTreeSet::new();
        let all = &shown.orders;
        let mut events: Vec<_> = all.iter().flat_map(|told| &told.history).collect();
        events.sort_by_key(|event| event.seq);
        assert!(events.iter().copied().eq(&shown.events), "the feed is not what the orders tell");
        assert!(events.is_sorted_by(|one, next| one.at < next.at), "time moves forward");
        // A record is that of an event, or the head of a batch, or of an alert about no order, or says how far a
        // consumer is.
        let heads = shown.batches.iter().flatten().count();
        let is_of_none = |it: &&AlertEvent| it.alert.subject.order().is_none();
        let alerts = shown.alert_events.iter().filter(is_of_none).count();
        let others = shown.records.checked_sub((events.len() + heads + alerts) as u64);
        let others = others.expect("what is shown is recorded");
        for told in all {
            let order = &told.order;
            let scope = Scope { client: order.client.clone(), key: order.key.clone() };
            let key = *self.numbers.get(&scope).expect("a key that was submitted");
            assert!(seen.insert(key), "key {key} has two orders");
            self.read(key, Some(told), lags);
            if ended {
                self.keys.entry(key).or_default().told(told, self.pursues, [lags, true]);
            }
        }
        for (key, known) in &self.keys {
            assert!(
                seen.contains(key) || known.recorded.is_none(),
                "the order of key {key} is lost: {:?}",
                known.recorded
            );
        }
        self.batches_shown(&shown.batches, all, lags, ended);
        self.alerts.shown(shown, &self.lifecycle, lags, ended);
        outbox::agree(shown);
        notes::agree(shown);
        self.holds.shown(&shown.holds, lags, ended);
        if !lags {
            self.cursors.shown(&shown.cursors, &shown.events, others, ended);
        }
        if ended {
            self.pursues = false;
            for known in self.keys.values_mut() {
                known.maybe.clear();
                known.blocked = false;
            }
        }
    }
}
