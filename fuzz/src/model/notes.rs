//! What a ledger owes about the notes of one order, and about what resolves them.
//!
//! Always true: what was noted is there once, as it was handed in; an open note is resolved once; nothing comes but
//! what was asked for and is in doubt, and the members of batches, which are judged there.

use std::collections::BTreeMap;

use order_ledger::{
    Certainty, ErrorKind, Event, EventBody, Field, How, Ledger, Note, NoteEntry, NoteKind, Noted,
    OrderId, Resolution, Result, Seq, Timestamp,
};

use super::{Content, Key, Model};
use crate::lives::{Foreseen, Life, Told};
use crate::shown::Shown;

/// What is to be noted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Words {
    pub sort: Sort,
    /// Empty: none.
    pub command: Vec<u8>,
    pub author: Vec<u8>,
    pub text: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sort {
    Note(NoteKind, bool),
    Resolves(Seq),
}

/// As it is handed in.
pub enum Remark {
    Note(Note),
    Resolution(Resolution),
}

impl Words {
    pub fn about(&self, order: OrderId) -> Remark {
        let Words { sort, command, author, text } = self.clone();
        match sort {
            Sort::Note(kind, asks) => {
                let note = Note::new(order, kind, text).author(author).command_key(command);
                Remark::Note(if asks { note.open() } else { note })
            }
            Sort::Resolves(note) => {
                let resolution = Resolution::new(order, note, text).author(author);
                Remark::Resolution(resolution.command_key(command))
            }
        }
    }

    pub fn say(&self, ledger: &Ledger, order: OrderId) -> Result<Noted> {
        match self.about(order) {
            Remark::Note(note) => ledger.note(&note),
            Remark::Resolution(resolution) => ledger.resolve_note(&resolution),
        }
    }

    fn differs(&self, other: &Words) -> Vec<Field> {
        let same = [
            (Field::Command, self.sort == other.sort),
            (Field::Author, self.author == other.author),
            (Field::Text, self.text == other.text),
        ];
        same.into_iter().filter_map(|(field, same)| (!same).then_some(field)).collect()
    }
}

/// A note, or what resolves one, that is on disk.
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
        let (sort, command, author, text) = match &event.body {
            EventBody::Noted { kind, asks, command_key, author, text } => {
                (Sort::Note(*kind, *asks), command_key, author, text)
            }
            EventBody::Resolved { note, command_key, author, text } => {
                (Sort::Resolves(*note), command_key, author, text)
            }
            _ => return None,
        };
        let (command, author, text) = (command.clone(), author.clone(), text.clone());
        let words = Words { sort, command, author, text };
        Some(Said { seq: event.seq, at: event.at, batch: event.batch, words })
    }

    fn asks(&self) -> bool {
        matches!(self.words.sort, Sort::Note(_, true))
    }
}

/// What a command must come to.
#[derive(PartialEq, Debug)]
enum Due {
    Take,
    Known(Seq, Timestamp),
    Conflict(Seq, Vec<Field>),
    /// There is no such open note, or that has resolved it.
    NotOpen(Seq, Option<Seq>),
}

/// All that is known of the notes of one order.
#[derive(Clone, Default, Debug)]
pub struct Notes {
    said: Vec<Said>,
    doubt: Option<Words>,
}

impl Notes {
    /// Every note, open or not.
    pub fn names(&self) -> Vec<Seq> {
        let notes = self.said.iter().filter(|said| matches!(said.words.sort, Sort::Note(..)));
        notes.map(|said| said.seq).collect()
    }

    fn due(&self, words: &Words, life: &Life) -> Due {
        if !words.command.is_empty() {
            match self.said.iter().find(|said| said.words.command == words.command) {
                Some(known) => {
                    let differs = words.differs(&known.words);
                    return match differs.is_empty() {
                        true => Due::Known(known.seq, known.at),
                        false => Due::Conflict(known.seq, differs),
                    };
                }
                None => {
                    if let Some(seq) = life.of_command(&words.command) {
                        return Due::Conflict(seq, vec![Field::Command]);
                    }
                }
            }
        }
        let Sort::Resolves(note) = words.sort else { return Due::Take };
        let asks = self.said.iter().any(|said| said.seq == note && said.asks());
        let resolution = self.said.iter().find(|said| said.words.sort == words.sort);
        match resolution {
            _ if !asks => Due::NotOpen(note, None),
            None => Due::Take,
            Some(said) if words.command.is_empty() => Due::Known(said.seq, said.at),
            Some(said) => Due::NotOpen(note, Some(said.seq)),
        }
    }

    pub fn foresee(&self, words: &Words, life: &Life) -> Foreseen {
        match self.due(words, life) {
            Due::Take => Foreseen::Take,
            Due::Known(seq, _) => Foreseen::Known(seq),
            Due::Conflict(..) | Due::NotOpen(..) => Foreseen::Refuse,
        }
    }

    /// It was refused, alone or as a member of a batch.
    pub fn refused(&self, words: &Words, life: &Life, why: &ErrorKind, poisoned: bool) {
        let due = self.due(words, life);
        let right = match why {
            // The order itself is in doubt for this ledger, and somebody else has seen it.
            ErrorKind::NoSuchOrder { .. } => poisoned,
            ErrorKind::CommandConflict { seq, differs } => {
                due == Due::Conflict(*seq, differs.clone())
            }
            ErrorKind::NoOpenNote { note, resolved_by } => due == Due::NotOpen(*note, *resolved_by),
            _ => false,
        };
        assert!(right, "{why:?}, and it is {due:?}: {words:?}");
    }

    /// It is recorded, as the answer says.
    pub fn taken(&mut self, words: &Words, done: &Noted, batch: Option<Seq>, life: &mut Life) {
        let words = words.clone();
        self.add(Said { seq: done.seq, at: done.at, batch, words }, life);
    }

    /// One of a batch that was recorded before is answered again.
    pub fn repeated(&self, done: &Noted) {
        let is_it = |said: &Said| (said.seq, said.at) == (done.seq, done.at);
        assert!(self.said.iter().any(is_it), "nobody has noted that: {done:?}");
    }

    /// Somebody was shown the order, as for steps.
    pub fn shown(&mut self, told: &Told, life: &mut Life, [lags, ended]: [bool; 2]) {
        let said: Vec<Said> = told.history.iter().filter_map(Said::of).collect();
        let both = self.said.len().min(said.len());
        assert_eq!(self.said[..both], said[..both], "a note has changed");
        assert!(lags || both == self.said.len(), "notes are lost: {:?}", &self.said[both..]);
        for said in &said[both..] {
            // Those of batches are held against those.
            let doubted = self.doubt.take_if(|words| *words == said.words).is_some();
            assert!(doubted || said.batch.is_some(), "nobody has said it: {said:?}");
            self.add(said.clone(), life);
        }
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
    /// The notes of the order of `key`.
    pub fn notes_of(&self, key: Key) -> Vec<Seq> {
        self.keys.get(&key).map(|known| known.notes.names()).unwrap_or_default()
    }

    /// A call for a note of the order of `key`, or for what resolves one, ends. `poisoned` is what held before it.
    pub fn end_note(&mut self, key: Key, words: &Words, answer: &Result<Noted>, poisoned: bool) {
        let known = self.keys.get_mut(&key).expect("only what is recorded is asked");
        let order = known.recorded.map(|(_, receipt)| receipt.order);
        let (life, notes) = (&mut known.life, &mut known.notes);
        let due = notes.due(words, life);
        let error = match answer {
            Ok(done) => {
                assert!(!life.is_blocked(), "answered while the order is in doubt: {done:?}");
                assert_eq!(Some(done.order), order);
                match (done.how, due) {
                    (How::Fresh, Due::Take) => {
                        assert!(!poisoned, "a poisoned ledger took a note");
                        notes.taken(words, done, None, life);
                    }
                    (How::Replayed, Due::Known(seq, at)) => {
                        assert_eq!((done.seq, done.at), (seq, at));
                    }
                    (_, due) => panic!("{done:?}, and it is {due:?}: {words:?}"),
                }
                return;
            }
            Err(error) => error,
        };
        match (error.kind(), error.certainty()) {
            (ErrorKind::InDoubt { .. }, Certainty::Unknown) => {
                // A poisoned ledger writes nothing, and what is blocked is behind what is in doubt already.
                if !poisoned && !life.is_blocked() {
                    assert_eq!(due, Due::Take, "{error}");
                    notes.doubt = Some(words.clone());
                    life.block();
                }
            }
            (ErrorKind::Io { .. }, _) => {}
            (kind, Certainty::NotRecorded) => {
                // The order itself is in doubt for this ledger, and somebody else has seen it.
                let unseen = poisoned && matches!(kind, ErrorKind::NoSuchOrder { .. });
                assert!(!life.is_blocked() || unseen, "{error}, while the order is in doubt");
                match kind {
                    ErrorKind::Poisoned { .. }
                    | ErrorKind::DiskLow { .. }
                    | ErrorKind::Overloaded { .. }
                    | ErrorKind::Closed => assert_eq!(due, Due::Take, "{error}"),
                    kind => notes.refused(words, life, kind, poisoned),
                }
            }
            (kind, certainty) => panic!("{kind:?} with {certainty:?}"),
        }
    }
}

/// Holds the lists of notes against the histories of the orders.
pub fn agree(shown: &Shown) {
    let mut said: BTreeMap<Seq, (OrderId, Said)> = BTreeMap::new();
    let mut resolved: BTreeMap<Seq, Said> = BTreeMap::new();
    for told in &shown.orders {
        for event in &told.history {
            let Some(found) = Said::of(event) else { continue };
            if let Sort::Resolves(note) = found.words.sort {
                let asked =
                    said.get(&note).is_some_and(|(order, it)| *order == event.order && it.asks());
                assert!(asked, "it resolves what is no open note of the order: {found:?}");
                assert!(resolved.insert(note, found).is_none(), "{note} is resolved twice");
            } else {
                said.insert(event.seq, (event.order, found));
            }
        }
    }
    let is = |entry: &NoteEntry| {
        let Some((order, Said { at, words, .. })) = said.get(&entry.seq) else { return false };
        let resolution = entry.resolution.as_ref();
        let resolution = resolution.map(|it| (it.seq, it.at, &it.author, &it.text));
        let owed = resolved.get(&entry.seq);
        let owed = owed.map(|it| (it.seq, it.at, &it.words.author, &it.words.text));
        (entry.order, entry.at) == (*order, *at)
            && Sort::Note(entry.kind, entry.asks) == words.sort
            && (&entry.author, &entry.text) == (&words.author, &words.text)
            && resolution == owed
    };
    let wrong = shown.notes.iter().chain(&shown.open_notes).find(|entry| !is(entry));
    assert!(wrong.is_none(), "what the ledger says of a note: {wrong:?}");
    assert_eq!(shown.notes.len(), said.len(), "notes of which no order tells");
    let open = said.values().map(|(_, said)| said);
    let open = open.filter(|it| it.asks() && !resolved.contains_key(&it.seq)).map(|it| it.seq);
    assert!(open.eq(shown.open_notes.iter().map(|entry| entry.seq)), "{:?}", shown.open_notes);
}
