//! The oracle for the notes of one order: which were made and resolved, what the next one must come to, and the
//! one that may be in doubt.
//!
//! Always true: what was recorded never changes and never goes; a note is resolved once. That nothing of an order
//! is asked for while one of its commands is in doubt is kept by [`super::steps::Track`], of which this is a part.

use std::collections::VecDeque;

use order_ledger::{
    Certainty, Error, ErrorKind, Event, EventBody, Field, How, Ledger, Note, NoteKind, Noted,
    OrderId, Resolution, Seq, Timestamp,
};

use super::known::Trouble;
use super::steps::Came;

/// What is to be noted, with every number filled in: to be asked for again word for word.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Words {
    pub(super) sort: Sort,
    /// Empty: none.
    pub(super) command: Vec<u8>,
    pub(super) author: Vec<u8>,
    pub(super) text: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sort {
    Note(NoteKind, bool),
    Resolves(Seq),
}

impl Words {
    pub(super) fn say(&self, ledger: &Ledger, order: OrderId) -> Result<Noted, Error> {
        let Words { sort, command, author, text } = self.clone();
        match sort {
            Sort::Note(kind, asks) => {
                let note = Note::new(order, kind, text).author(author).command_key(command);
                ledger.note(&if asks { note.open() } else { note })
            }
            Sort::Resolves(note) => {
                let resolution = Resolution::new(order, note, text);
                ledger.resolve_note(&resolution.author(author).command_key(command))
            }
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
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    pub(super) seq: Seq,
    pub(super) at: Timestamp,
    pub(super) words: Words,
}

impl Said {
    /// What an event says; `None` when it is neither.
    pub(super) fn of(event: &Event) -> Option<Said> {
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
        Some(Said { seq: event.seq, at: event.at, words })
    }
}

/// What a command must come to.
#[derive(Debug)]
enum Due {
    Known(Seq, Timestamp),
    Take,
    Conflict(Seq, Vec<Field>),
    /// There is no such open note, or that has resolved it.
    NotOpen(Option<Seq>),
}

/// All that is known of the notes of one order.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    said: Vec<Said>,
    /// How many at the end others have seen, while the ledger has not answered for them.
    early: usize,
    /// In the group that this life of the ledger ended with.
    pub(super) doubt: Option<Words>,
}

impl Notes {
    pub(super) fn life_has_ended(&mut self) {
        self.early = 0;
    }

    /// The note or resolution that was recorded under a command key.
    pub(super) fn of_command(&self, command: &[u8]) -> Option<Seq> {
        self.said.iter().find(|said| said.words.command == command).map(|said| said.seq)
    }

    pub(super) fn count(&self) -> usize {
        self.said.len()
    }

    /// The notes that ask to be resolved, those that were included.
    pub(super) fn asking(&self) -> Vec<Seq> {
        let asks = |said: &&Said| matches!(said.words.sort, Sort::Note(_, true));
        self.said.iter().filter(asks).map(|said| said.seq).collect()
    }

    /// What resolves a note.
    fn resolution(&self, note: Seq) -> Option<&Said> {
        self.said.iter().find(|said| said.words.sort == Sort::Resolves(note))
    }

    /// The notes that wait to be resolved.
    pub(super) fn open(&self) -> Vec<Seq> {
        self.asking().into_iter().filter(|note| self.resolution(*note).is_none()).collect()
    }

    /// `step`: the step that was taken under this command key.
    fn due(&self, words: &Words, step: Option<Seq>) -> Due {
        let mut said = self.said.iter();
        if let Some(seq) = step {
            return Due::Conflict(seq, vec![Field::Command]);
        }
        if !words.command.is_empty()
            && let Some(said) = said.find(|said| said.words.command == words.command)
        {
            return match &words.differs(&said.words)[..] {
                [] => Due::Known(said.seq, said.at),
                differs => Due::Conflict(said.seq, differs.to_vec()),
            };
        }
        let Sort::Resolves(note) = words.sort else { return Due::Take };
        match self.resolution(note) {
            _ if !self.asking().contains(&note) => Due::NotOpen(None),
            None => Due::Take,
            Some(said) if words.command.is_empty() => Due::Known(said.seq, said.at),
            Some(said) => Due::NotOpen(Some(said.seq)),
        }
    }

    /// Somebody was told these notes, as for steps.
    pub(super) fn shown(
        &mut self,
        said: &[Said],
        own: bool,
        may_lose: bool,
        noting: Option<&Words>,
    ) {
        let both = self.said.len().min(said.len());
        assert_eq!(self.said[..both], said[..both], "a note has changed");
        let missing = self.said.len() - both;
        let lag = if own { self.early } else { 0 };
        assert!(missing <= lag || may_lose, "{missing} notes are gone of {:?}", self.said);
        let mut noting = noting;
        for said in &said[both..] {
            let doubted = self.doubt.take_if(|words| *words == said.words).is_some();
            let asked = !doubted && noting.take_if(|words| **words == said.words).is_some();
            assert!(doubted || asked, "a note that nobody asked for: {said:?}");
            self.said.push(said.clone());
            self.early += 1;
        }
    }

    /// The notes after opening; answers how many are lost, and whether the doubt is there.
    pub(super) fn settle(&mut self, said: &[Said], may_lose: bool) -> (u64, Option<bool>) {
        let (known, doubted) = (self.said.len(), self.doubt.is_some());
        let lost = known.saturating_sub(said.len()) as u64;
        self.early = 0;
        self.shown(said, false, may_lose, None);
        assert!(said.len() <= known + 1, "more than one note was in doubt");
        self.said.truncate(said.len());
        (self.early, self.doubt) = (0, None);
        (lost, doubted.then_some(said.len() > known))
    }

    /// Takes in what the caller was told. `doubted`: this life of the ledger has called a command of the order in
    /// doubt.
    pub(super) fn answered(
        &mut self,
        order: OrderId,
        words: &Words,
        step: Option<Seq>,
        answer: Result<Noted, Error>,
        doubted: &mut bool,
        (trouble, invisible): (Trouble, bool),
    ) -> Came {
        // What others have seen before this answer.
        let answered = self.said.len() - if *doubted { 0 } else { self.early };
        let mut ahead: VecDeque<Said> = self.said.split_off(answered).into();
        if !*doubted {
            self.early = 0;
        }
        let due = self.due(words, step);
        let came = match answer {
            Ok(noted) => {
                assert!(!*doubted, "an answer after a doubt: {noted:?}");
                assert_eq!(noted.order, order);
                match due {
                    Due::Take => {
                        assert_eq!(noted.how, How::Fresh);
                        let said = Said { seq: noted.seq, at: noted.at, words: words.clone() };
                        if let Some(seen) = ahead.pop_front() {
                            assert_eq!(seen, said, "others have seen it otherwise");
                        }
                        self.said.push(said);
                        Came::Taken
                    }
                    Due::Known(seq, at) => {
                        assert_eq!((noted.how, noted.seq, noted.at), (How::Replayed, seq, at));
                        Came::Replayed
                    }
                    due => panic!("{noted:?}, and it is {due:?}: {words:?}"),
                }
            }
            Err(error) => {
                let came = self.failed(words, &due, &error, doubted, trouble, &mut ahead);
                let is_unread = error.certainty() == Certainty::Unknown;
                assert!(came.is_some() || invisible, "{error}, and it is {due:?}: {words:?}");
                // What is in doubt decides: nothing else can be said until opening tells.
                assert!(!*doubted || is_unread || invisible, "{error} while one is in doubt");
                came.unwrap_or(Came::Failed)
            }
        };
        assert!(ahead.is_empty(), "seen, and nobody was told: {ahead:?}");
        came
    }

    /// What came of it; `None` when it must not have failed so.
    fn failed(
        &mut self,
        words: &Words,
        due: &Due,
        error: &Error,
        doubted: &mut bool,
        trouble: Trouble,
        ahead: &mut VecDeque<Said>,
    ) -> Option<Came> {
        let takes = matches!(due, Due::Take);
        if let ErrorKind::InDoubt { .. } = error.kind() {
            assert!(trouble.poisoned, "{error}");
            if *doubted {
                return Some(Came::Failed);
            }
            assert!(takes, "in doubt about what is {due:?}");
            *doubted = true;
            match ahead.pop_front() {
                // Others have seen it: it stays.
                Some(said) => {
                    assert_eq!(said.words, *words);
                    self.said.push(said);
                    self.early += 1;
                }
                None => self.doubt = Some(words.clone()),
            }
            return Some(Came::InDoubt);
        }
        let (expected, came) = match error.kind() {
            // The order could not be read.
            ErrorKind::Io { .. } | ErrorKind::Corrupt(_) => (trouble.disk, Came::Failed),
            ErrorKind::Poisoned { .. } => (takes && trouble.poisoned, Came::Failed),
            ErrorKind::DiskLow { .. } => (takes && (trouble.full || trouble.disk), Came::Failed),
            ErrorKind::CommandConflict { seq, differs } => (
                matches!(due, Due::Conflict(of, fields) if (of, fields) == (seq, differs)),
                Came::Conflicted,
            ),
            ErrorKind::NoOpenNote { resolved_by, .. } => {
                (matches!(due, Due::NotOpen(by) if by == resolved_by), Came::Refused)
            }
            _ => (false, Came::Failed),
        };
        expected.then_some(came)
    }
}
