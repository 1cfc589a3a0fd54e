//! What a ledger owes its callers about the steps of one order, from its answers and from what it shows.
//!
//! Always true: what was taken stays as it is; at most one step is in doubt, and while it is, the ledger that
//! said so says nothing else about the order. An order that expires takes no step at its instant or behind it but
//! the one that says so: nobody asks for that, and it is there when anybody is told. Whoever asked and got no answer
//! about the order (its log could not be read any more; another member of his batch decided) may have come too late.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use order_ledger::{
    Certainty, ErrorKind, Event, EventBody, Field, How, Lifecycle, Order, OrderId, Present,
    Receipt, Result, Seq, State, Timestamp, Transition, Transitioned,
};

/// What is asked for, as small numbers: few commands and few contents, so that they come again.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Move {
    pub key: u8,
    pub to: u8,
    pub command: u8,
    pub expect: u8,
    pub content: u8,
}

/// Some of which no order may go to, and one that no table has.
const STATES: [State; 12] = [
    State::InProgress,
    State::Cancelling,
    State::Confirmed,
    State::InProgress,
    State::Cancelling,
    State::PartlyDone,
    State::Completed,
    State::Cancelled,
    State::Failed,
    State::Accepted,
    State::Refused,
    State::own(100).unwrap(),
];

/// The same with every number filled in.
#[derive(Clone, PartialEq, Debug)]
pub struct Wish {
    to: State,
    /// Empty: none.
    command: Vec<u8>,
    version: Option<u64>,
    reason: String,
    evidence: Vec<u8>,
}

/// Every third one is none.
pub fn command(number: u8) -> Vec<u8> {
    match number % 12 {
        number @ 0..8 => format!("command {number}").into_bytes(),
        _ => Vec::new(),
    }
}

const EVIDENCE: &str = "note";

impl Wish {
    pub fn transition(&self, order: OrderId) -> Transition {
        let step = Transition::new(order, self.to)
            .command_key(self.command.clone())
            .reason(self.reason.clone());
        let step = match &self.evidence[..] {
            [] => step,
            value => step.evidence(EVIDENCE, value),
        };
        match self.version {
            Some(version) => step.expect_version(version),
            None => step,
        }
    }

    pub fn command_key(&self) -> &[u8] {
        &self.command
    }

    /// Whether an event is this step.
    pub fn is(&self, event: &Event) -> bool {
        let EventBody::Moved { to, command_key, evidence, reason, .. } = &event.body else {
            return false;
        };
        let value: Vec<u8> = evidence.iter().flat_map(|it| it.value.clone()).collect();
        *to == self.to
            && *command_key == self.command
            && value == self.evidence
            && *reason == self.reason
    }

    fn differs(&self, taken: &Taken) -> Vec<Field> {
        let same = [
            (Field::State, self.to == taken.to),
            (Field::Evidence, self.evidence == taken.evidence),
            (Field::Reason, self.reason == taken.reason),
        ];
        same.into_iter().filter_map(|(field, same)| (!same).then_some(field)).collect()
    }
}

/// A step that is on disk.
#[derive(Clone, PartialEq, Debug)]
struct Taken {
    seq: Seq,
    at: Timestamp,
    version: u64,
    from: State,
    to: State,
    command: Vec<u8>,
    reason: String,
    evidence: Vec<u8>,
}

/// An order and everything that happened to it, as somebody was shown.
#[derive(Clone, PartialEq, Debug)]
pub struct Told {
    pub order: Order,
    pub history: Vec<Event>,
}

impl Told {
    pub fn of(order: Order, history: impl Fn(OrderId) -> Result<Vec<Event>>) -> Result<Told> {
        let history = history(order.id())?;
        Ok(Told { order, history })
    }

    /// All orders, with their histories.
    pub fn all(
        orders: impl Iterator<Item = Result<Order>>,
        history: impl Fn(OrderId) -> Result<Vec<Event>>,
    ) -> Result<Vec<Told>> {
        orders.map(|order| Told::of(order?, &history)).collect()
    }

    /// Whether the other one says the same, and perhaps more steps.
    pub fn goes_on_as(&self, other: &Told) -> bool {
        let mut earlier = other.order.clone();
        earlier.now = self.order.now;
        earlier == self.order && other.history.starts_with(&self.history)
    }

    fn steps(&self) -> Vec<Taken> {
        let (began, moved) = self.history.split_first().expect("an order that never began");
        let receipt = &self.order.receipt;
        assert_eq!((began.seq, began.at), (receipt.order.seq(), receipt.accepted_at));
        let (mut state, mut last_at) = (receipt.first_state, began.at);
        let mut steps = Vec::new();
        for event in moved {
            assert!(last_at < event.at, "time moves forward");
            last_at = event.at;
            assert_eq!(event.order, receipt.order, "{event:?}");
            let EventBody::Moved { from, to, version, command_key, evidence, reason } = &event.body
            else {
                assert!(event.body.state().is_none(), "it began twice: {event:?}");
                continue;
            };
            let next = steps.len() as u64 + 2;
            assert_eq!((*from, *version), (state, next), "{event:?}");
            state = *to;
            let has_expired = self.order.expires_at.is_some_and(|instant| event.at >= instant);
            assert_eq!(*to == State::Expired, has_expired, "expired at another time: {event:?}");
            assert!(evidence.iter().all(|it| it.name == EVIDENCE) && evidence.len() < 2);
            steps.push(Taken {
                seq: event.seq,
                at: event.at,
                version: next,
                from: *from,
                to: *to,
                command: command_key.clone(),
                reason: reason.clone(),
                evidence: evidence.iter().flat_map(|it| it.value.clone()).collect(),
            });
        }
        let now = (self.order.now.state, self.order.now.version);
        assert_eq!(now, (state, steps.len() as u64 + 1), "an order and its history");
        steps
    }
}

/// What an order began with.
#[derive(Clone, Copy, Debug)]
pub struct Began {
    pub receipt: Receipt,
    pub expires_at: Option<Timestamp>,
}

/// What is known of one order.
#[derive(Clone, Default, Debug)]
pub struct Life {
    taken: Vec<Taken>,
    doubt: Option<Wish>,
    /// This ledger has said "in doubt".
    blocked: bool,
    /// Somebody was told that it has expired, and the step was not looked at yet.
    expired: bool,
    /// Somebody asked, and was told nothing about the order: he may have come too late.
    asked: bool,
    /// The command keys of what else was said about the order: they share the scope of those of its steps.
    others: BTreeMap<Vec<u8>, Seq>,
}

/// What is to come of a step, by where the order stands; unless its time is over.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Foreseen {
    Take,
    /// It was taken before.
    Known(Seq),
    Refuse,
}

impl Life {
    fn now(&self, first: State) -> (State, u64) {
        let (state, version) = self.taken.last().map_or((first, 1), |last| (last.to, last.version));
        if self.expired { (State::Expired, version + 1) } else { (state, version) }
    }

    /// Whether the order was ever seen there, or may have been.
    pub fn stood(&self, first: State, now: Present) -> bool {
        let is_now = |to: State, version: u64| (to, version) == (now.state, now.version);
        let next = self.taken.len() as u64 + 2;
        is_now(first, 1)
            || self.taken.iter().any(|it| is_now(it.to, it.version))
            || self.doubt.as_ref().is_some_and(|doubt| is_now(doubt.to, next))
            || (self.expired || self.asked || self.doubt.is_some()) && is_now(State::Expired, next)
    }

    pub fn wish(&self, first: State, asked: Move) -> Wish {
        let (_, version) = self.now(first);
        let command = command(asked.command);
        let content = asked.content % 4;
        Wish {
            to: STATES[usize::from(asked.to) % STATES.len()],
            command,
            version: match asked.expect % 6 {
                0 | 1 => Some(version),
                2 => Some(version - 1),
                3 => Some(version + 1),
                _ => None,
            },
            reason: "because ".repeat(usize::from(content / 2)),
            evidence: vec![content; usize::from(content % 2) * 700],
        }
    }

    /// What `cancel` asks for.
    pub fn cancel(&self, first: State, lifecycle: &Lifecycle) -> Wish {
        let (now, _) = self.now(first);
        let asks = now == State::Cancelling
            || lifecycle.allows(now, State::Cancelling) && !lifecycle.allows(now, State::Cancelled);
        let to = if asks { State::Cancelling } else { State::Cancelled };
        let (command, evidence) = (Vec::new(), Vec::new());
        Wish { to, command, version: None, reason: "off".to_owned(), evidence }
    }

    /// Somebody was shown the order. `lags`: a ledger that was poisoned does not show what others see. `ended`:
    /// nothing that was begun can still be written.
    pub fn shown(&mut self, told: &Told, lags: bool, ended: bool) {
        let steps = told.steps();
        let both = self.taken.len().min(steps.len());
        assert_eq!(self.taken[..both], steps[..both], "a step has changed");
        assert!(lags || both == self.taken.len(), "steps are lost: {:?}", &self.taken[both..]);
        let told = std::mem::take(&mut self.expired);
        for step in &steps[both..] {
            if step.to == State::Expired {
                let doubted = self.doubt.take().is_some();
                let asked = std::mem::take(&mut self.asked);
                assert!(told || doubted || asked, "nobody came too late: {step:?}");
                self.taken.push(step.clone());
                continue;
            }
            let wish = self.doubt.take().unwrap_or_else(|| panic!("nobody asked for {step:?}"));
            let same = wish.command == step.command && wish.differs(step).is_empty();
            assert!(same, "{wish:?} became {step:?}");
            self.taken.push(step.clone());
        }
        let is_there = self.taken.last().is_some_and(|last| last.to == State::Expired);
        assert!(!told || is_there, "told that it has expired, and it has not");
        if ended {
            (self.doubt, self.blocked, self.asked) = (None, false, false);
        }
    }

    /// Whether its time may be over before a step of it is decided.
    pub fn may_expire(&self, order: &Began, wish: &Wish, lifecycle: &Lifecycle) -> bool {
        let (state, _) = self.now(order.receipt.first_state);
        let is_end = lifecycle.is_terminal(state);
        let is_new = self.command(wish).is_none() && self.other(wish).is_none();
        order.expires_at.is_some() && is_new && !is_end
    }

    /// Something else about the order was recorded under this command key.
    pub fn has_command(&mut self, command: &[u8], seq: Seq) {
        if !command.is_empty() {
            let before = self.of_command(command);
            assert!(before.is_none_or(|it| it == seq), "carried out twice: {before:?} and {seq}");
            self.others.insert(command.to_vec(), seq);
        }
    }

    /// The record of a step, or of something else about the order, that has this command key.
    pub fn of_command(&self, command: &[u8]) -> Option<Seq> {
        let step = self.taken.iter().find(|it| !command.is_empty() && it.command == command);
        step.map(|it| it.seq).or_else(|| self.others.get(command).copied())
    }

    /// What else has the command key of this step.
    fn other(&self, wish: &Wish) -> Option<Seq> {
        self.others.get(&wish.command).copied()
    }

    /// The step that was taken with the command key of this one.
    fn command(&self, wish: &Wish) -> Option<&Taken> {
        let has_key = !wish.command.is_empty();
        self.taken.iter().find(|it| has_key && it.command == wish.command)
    }

    /// What would come of a step, if the time of the order is not over.
    pub fn foresee(&self, receipt: &Receipt, wish: &Wish, lifecycle: &Lifecycle) -> Foreseen {
        let (state, version) = self.now(receipt.first_state);
        if let Some(known) = self.command(wish) {
            let same = wish.differs(known).is_empty();
            return if same { Foreseen::Known(known.seq) } else { Foreseen::Refuse };
        }
        if self.other(wish).is_some() {
            return Foreseen::Refuse;
        }
        if wish.command.is_empty() && wish.version.is_none() && state == wish.to {
            let last = self.taken.last().map_or(receipt.order.seq(), |last| last.seq);
            return Foreseen::Known(last);
        }
        let expected = wish.version.is_none_or(|wanted| wanted == version);
        let is_end = lifecycle.is_terminal(state);
        match !is_end && expected && lifecycle.allows(state, wish.to) {
            true => Foreseen::Take,
            false => Foreseen::Refuse,
        }
    }

    /// It is in doubt whether the order took this step, perhaps as a part of something larger; `all`: for everybody.
    pub fn doubted(&mut self, wish: &Wish, all: bool) {
        self.doubt.get_or_insert_with(|| wish.clone());
        self.blocked |= all;
    }

    /// Something else about the order is in doubt, for everybody.
    pub fn block(&mut self) {
        self.blocked = true;
    }

    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Somebody asked for a step and was told nothing about the order.
    pub fn asked(&mut self) {
        self.asked = true;
    }

    /// A step of a batch that was recorded before is answered again.
    pub fn repeated(&self, receipt: &Receipt, seq: Seq, done: &Transitioned) {
        let taken = self.taken.iter().find(|it| it.seq == seq);
        let taken = taken.unwrap_or_else(|| panic!("no such step was taken: {done:?}"));
        let owed = (receipt.order, taken.seq, taken.at, taken.from, taken.to, taken.version);
        assert_eq!((done.order, done.seq, done.at, done.from, done.to, done.version), owed);
        assert_eq!((done.now.state, done.now.version), self.now(receipt.first_state));
    }

    /// A call for a step ends. `poisoned` is what held before it.
    pub fn end(
        &mut self,
        order: &Began,
        wish: &Wish,
        answer: &Result<Transitioned>,
        lifecycle: &Lifecycle,
        poisoned: bool,
    ) {
        let error = match answer {
            Ok(done) => return self.end_ok(order, wish, done, lifecycle, poisoned),
            Err(error) => error,
        };
        match (error.kind(), error.certainty()) {
            (ErrorKind::InDoubt { .. }, Certainty::Unknown) => {
                // The doubt that is there already is what this one is about: nothing is written behind it.
                self.doubted(wish, true);
            }
            // Where the order stands could not be read; nothing was written but that it has expired.
            (ErrorKind::Io { .. }, _) => self.asked |= self.may_expire(order, wish, lifecycle),
            (kind, certainty) => {
                assert_eq!(certainty, Certainty::NotRecorded, "{error}");
                // The order itself is in doubt for this ledger, and somebody else has seen it.
                let unseen = poisoned && matches!(kind, ErrorKind::NoSuchOrder { .. });
                assert!(!self.blocked || unseen, "{error}, while a step is in doubt");
                self.refused(order, wish, kind, lifecycle, poisoned);
            }
        }
    }

    /// A step was taken, or had been.
    fn end_ok(
        &mut self,
        order: &Began,
        wish: &Wish,
        done: &Transitioned,
        lifecycle: &Lifecycle,
        poisoned: bool,
    ) {
        let receipt = &order.receipt;
        let (state, version) = self.now(receipt.first_state);
        let known = self.command(wish);
        assert!(!self.blocked, "answered while a step is in doubt: {done:?}");
        assert_eq!(done.order, receipt.order);
        if done.how == How::Fresh {
            assert!(!poisoned, "a poisoned ledger took a step");
            assert!(known.is_none(), "carried out twice: {done:?}");
            assert!(order.expires_at.is_none_or(|instant| done.at < instant), "too late: {done:?}");
            let is_foreseen = self.foresee(receipt, wish, lifecycle) == Foreseen::Take;
            assert!(is_foreseen, "{done:?}: {wish:?}");
            assert_eq!((done.from, done.to, done.version), (state, wish.to, version + 1));
            self.asked = false;
            self.taken.push(Taken {
                seq: done.seq,
                at: done.at,
                version: done.version,
                from: done.from,
                to: done.to,
                command: wish.command.clone(),
                reason: wish.reason.clone(),
                evidence: wish.evidence.clone(),
            });
        } else {
            let reached = wish.command.is_empty() && wish.version.is_none();
            let record = known.or(self.taken.last().filter(|_| reached));
            let first = receipt.first_state;
            let began = (receipt.order.seq(), receipt.accepted_at, 1, first, first);
            let owed = record.map_or(began, |it| (it.seq, it.at, it.version, it.from, it.to));
            assert!(known.is_some() || reached && state == wish.to, "{done:?}: {wish:?}");
            assert_eq!((done.seq, done.at, done.version, done.from, done.to), owed);
            assert!(known.is_none_or(|it| wish.differs(it).is_empty()), "another command");
        }
        assert!((done.now.state, done.now.version) == self.now(receipt.first_state));
    }

    /// A step was refused, with nothing recorded but perhaps that the order has expired.
    pub fn refused(
        &mut self,
        order: &Began,
        wish: &Wish,
        kind: &ErrorKind,
        lifecycle: &Lifecycle,
        poisoned: bool,
    ) {
        let first = order.receipt.first_state;
        let (state, version) = self.now(first);
        let (known, other) = (self.command(wish), self.other(wish));
        let is_new = known.is_none() && other.is_none();
        let stands = |now: &Present| (now.state, now.version) == (state, version);
        let is_end = lifecycle.is_terminal(state);
        let expected = wish.version.is_none_or(|wanted| wanted == version);
        let may_be_taken = is_new && !is_end && expected;
        let may_expire = self.may_expire(order, wish, lifecycle);
        let right = match kind {
            ErrorKind::AlreadyTerminal { now } if may_expire => {
                self.expired = true;
                self.now(first) == (now.state, now.version)
            }
            ErrorKind::NoSuchOrder { .. } => poisoned,
            ErrorKind::CommandConflict { seq, differs } => {
                let of_step = |it: &Taken| it.seq == *seq && wish.differs(it) == *differs;
                let of_other = other == Some(*seq) && *differs == [Field::Command];
                known.map_or(of_other, of_step)
            }
            ErrorKind::AlreadyTerminal { now } => is_new && is_end && stands(now),
            ErrorKind::VersionMismatch { now } => is_new && !expected && stands(now),
            ErrorKind::NoSuchStep { now, to } => {
                may_be_taken && stands(now) && *to == wish.to && !lifecycle.allows(state, *to)
            }
            ErrorKind::Poisoned { .. }
            | ErrorKind::DiskLow { .. }
            | ErrorKind::Overloaded { .. }
            | ErrorKind::Closed => may_expire || may_be_taken && lifecycle.allows(state, wish.to),
            _ => false,
        };
        assert!(right, "{kind:?}, from {state} {version}: {wish:?}");
    }
}
