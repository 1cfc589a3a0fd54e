//! What a ledger owes about what third parties are to be told about one order.
//!
//! Always true: a dispatch that was taken is there once, as it was handed in; nothing comes but what was asked for and
//! is in doubt, and the members of batches, which are judged there. What becomes of it stays; it comes only when an
//! outbox ran or somebody sent a dead letter on its way again, and is held against the rules in `outbox`.

use order_ledger::{
    Certainty, Dispatch, Dispatched, ErrorKind, Event, EventBody, Field, How, OrderId, Result, Seq,
    Timestamp,
};

use super::outbox::pursues;
use super::{Content, Key, Known, Model};
use crate::lives::{Foreseen, Life, Told};

/// What is to be told, by which route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Words {
    pub route: String,
    /// Empty: none.
    pub command: Vec<u8>,
    pub body: Vec<u8>,
}

impl Words {
    pub fn about(&self, order: OrderId) -> Dispatch {
        let dispatch = Dispatch::new(order, self.route.clone(), self.body.clone());
        match &self.command[..] {
            [] => dispatch,
            command => dispatch.command_key(command),
        }
    }

    /// About the order that a member of the same batch takes.
    pub fn about_member(&self, index: usize) -> Dispatch {
        let dispatch = Dispatch::of_member(index, self.route.clone(), self.body.clone());
        match &self.command[..] {
            [] => dispatch,
            command => dispatch.command_key(command),
        }
    }
}

/// One that is on disk.
#[derive(Clone, PartialEq, Debug)]
pub struct Said {
    pub seq: Seq,
    pub at: Timestamp,
    /// The batch that it came with.
    pub batch: Option<Seq>,
    pub words: Words,
}

impl Said {
    /// What an event says; `None` when it is something else.
    pub fn of(event: &Event) -> Option<Said> {
        let EventBody::Dispatched { route, command_key, body } = &event.body else { return None };
        let (route, command, body) = (route.clone(), command_key.clone(), body.clone());
        let words = Words { route, command, body };
        Some(Said { seq: event.seq, at: event.at, batch: event.batch, words })
    }
}

/// All that is known of what is to be told about one order.
#[derive(Clone, Default, Debug)]
pub struct Dispatches {
    /// As they were recorded.
    said: Vec<Said>,
    doubt: Option<Words>,
    /// What became of them, in the order of the log.
    pursued: Vec<Event>,
}

/// What a dispatch must come to.
#[derive(PartialEq, Debug)]
enum Due {
    Take,
    Known(Seq, Timestamp),
    Conflict(Seq, Vec<Field>),
}

impl Dispatches {
    fn due(&self, words: &Words, life: &Life) -> Due {
        if words.command.is_empty() {
            return Due::Take;
        }
        let known = self.said.iter().find(|said| said.words.command == words.command);
        let Some(Said { seq, at, words: known, .. }) = known else {
            let other = life.of_command(&words.command);
            return other.map_or(Due::Take, |seq| Due::Conflict(seq, vec![Field::Command]));
        };
        let same = [
            (Field::Command, words.route == known.route),
            (Field::Payload, words.body == known.body),
        ];
        let differs: Vec<_> = same.into_iter().filter(|it| !it.1).map(|it| it.0).collect();
        match differs.is_empty() {
            true => Due::Known(*seq, *at),
            false => Due::Conflict(*seq, differs),
        }
    }

    pub fn foresee(&self, words: &Words, life: &Life) -> Foreseen {
        match self.due(words, life) {
            Due::Take => Foreseen::Take,
            Due::Known(seq, _) => Foreseen::Known(seq),
            Due::Conflict(..) => Foreseen::Refuse,
        }
    }

    /// One was refused as a member of a batch.
    pub fn refused(&self, words: &Words, life: &Life, why: &ErrorKind, poisoned: bool) {
        let right = match why {
            // The order itself is in doubt for this ledger, and somebody else has seen it.
            ErrorKind::NoSuchOrder { .. } => poisoned,
            ErrorKind::CommandConflict { seq, differs } => {
                self.due(words, life) == Due::Conflict(*seq, differs.clone())
            }
            _ => false,
        };
        assert!(right, "{why:?}: {words:?}");
    }

    /// One is recorded, as the answer says.
    pub fn taken(&mut self, words: &Words, done: &Dispatched, batch: Option<Seq>, life: &mut Life) {
        let words = words.clone();
        self.add(Said { seq: done.dispatch, at: done.at, batch, words }, life);
    }

    /// One of a batch that was recorded before is answered again.
    pub fn repeated(&self, done: &Dispatched) {
        let is_it = |said: &Said| (said.seq, said.at) == (done.dispatch, done.at);
        assert!(self.said.iter().any(is_it), "no such dispatch: {done:?}");
    }

    /// Somebody was shown the order. `may_pursue`: an outbox may have recorded something; the rest as for steps.
    pub fn shown(
        &mut self,
        told: &Told,
        life: &mut Life,
        may_pursue: bool,
        [lags, ended]: [bool; 2],
    ) {
        let said: Vec<Said> = told.history.iter().filter_map(Said::of).collect();
        let both = self.said.len().min(said.len());
        assert_eq!(self.said[..both], said[..both], "a dispatch has changed");
        assert!(lags || both == self.said.len(), "dispatches are lost: {:?}", &self.said[both..]);
        for said in &said[both..] {
            // Those of batches are held against those.
            let doubted = self.doubt.take_if(|words| *words == said.words).is_some();
            assert!(doubted || said.batch.is_some(), "nobody asked for {said:?}");
            self.add(said.clone(), life);
        }
        let pursued: Vec<&Event> =
            told.history.iter().filter(|event| pursues(event).is_some()).collect();
        let both = self.pursued.len().min(pursued.len());
        let same = self.pursued.iter().zip(&pursued).all(|(one, other)| one == *other);
        assert!(same, "what became of a dispatch has changed");
        assert!(lags || both == self.pursued.len(), "results are lost: {:?}", self.pursued);
        let new = &pursued[both..];
        assert!(new.is_empty() || may_pursue, "nobody has told anybody: {new:?}");
        self.pursued.extend(new.iter().copied().cloned());
        if ended {
            self.doubt = None;
        }
    }

    fn add(&mut self, said: Said, life: &mut Life) {
        life.has_command(&said.words.command, said.seq);
        self.said.push(said);
    }
}

impl<C: Content> Model<C> {
    /// The order of `key`; where that is not known, another one that is, if there is one.
    pub fn known_order(&self, key: Key) -> Option<(Key, OrderId)> {
        let order = |(key, known): (&Key, &Known<C>)| Some((*key, known.recorded?.1.order));
        let all: Vec<_> = self.keys.iter().filter_map(order).collect();
        let other = || all.get(usize::from(key) % all.len().max(1));
        all.iter().find(|(known, _)| *known == key).or_else(other).copied()
    }

    /// A call for a dispatch of the order of `key` ends. `poisoned` is what held before it.
    pub fn end_dispatch(
        &mut self,
        key: Key,
        words: &Words,
        answer: &Result<Dispatched>,
        poisoned: bool,
    ) {
        let known = self.keys.get_mut(&key).expect("only what is recorded is asked");
        let (life, dispatches) = (&mut known.life, &mut known.dispatches);
        let due = dispatches.due(words, life);
        let error = match answer {
            Ok(done) => {
                assert!(!life.is_blocked(), "answered while the order is in doubt: {done:?}");
                match (done.how, due) {
                    (How::Fresh, Due::Take) => {
                        assert!(!poisoned, "a poisoned ledger took a dispatch");
                        dispatches.taken(words, done, None, life);
                    }
                    (How::Replayed, Due::Known(seq, at)) => {
                        assert_eq!((done.dispatch, done.at), (seq, at));
                    }
                    (_, due) => panic!("{done:?}, and it is {due:?}: {words:?}"),
                }
                return;
            }
            Err(error) => error,
        };
        match (error.kind(), error.certainty()) {
            (ErrorKind::Invalid { .. }, Certainty::NotRecorded) => {
                assert!(words.command.is_empty(), "{error}: {words:?}");
            }
            _ if words.command.is_empty() => panic!("it would be told twice: {error}"),
            (ErrorKind::InDoubt { .. }, Certainty::Unknown) => {
                // A poisoned ledger writes nothing: it is about what is in doubt already.
                if !poisoned {
                    assert_eq!(due, Due::Take, "{error}");
                    dispatches.doubt.get_or_insert_with(|| words.clone());
                    life.block();
                }
            }
            (ErrorKind::Io { .. }, _) => {}
            (ErrorKind::NoSuchOrder { .. }, Certainty::NotRecorded) => assert!(poisoned, "{error}"),
            (kind, Certainty::NotRecorded) => {
                assert!(!life.is_blocked(), "{error}, while the order is in doubt");
                match kind {
                    ErrorKind::CommandConflict { seq, differs } => {
                        assert_eq!(due, Due::Conflict(*seq, differs.clone()));
                    }
                    ErrorKind::Poisoned { .. }
                    | ErrorKind::DiskLow { .. }
                    | ErrorKind::Overloaded { .. }
                    | ErrorKind::Closed => assert_eq!(due, Due::Take, "{error}"),
                    kind => panic!("{kind:?}: {words:?}"),
                }
            }
            (kind, certainty) => panic!("{kind:?} with {certainty:?}"),
        }
    }

    /// An outbox ran, and may have recorded something.
    pub fn outbox_ran(&mut self) {
        self.pursues = true;
    }

    /// Everything that it has recorded was shown.
    pub fn outbox_was_shown(&mut self) {
        self.pursues = false;
    }
}
