//! What is noted about orders, and who may give no new ones, as a program does it.

use arbitrary::{Arbitrary, Unstructured};
use order_ledger::{Ledger, NoteKind, OrderId, Seq};

use super::Run;
use super::ops::{begins_with, key};
use crate::lives::command;
use crate::model::Key;
use crate::model::holds::Change;
use crate::model::notes::{Remark, Sort, Words};

/// What has to do with notes and holds.
#[derive(Arbitrary, Clone, Debug)]
pub enum Noting {
    Say(Saying),
    /// Only those that resolve nothing.
    SayMany(Vec<Saying>),
    Hold {
        scope: u8,
        reason: u8,
    },
    Release(u8),
}

/// Something to be noted, as small numbers: few commands and few contents, so that they come again.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Saying {
    pub key: u8,
    pub sort: u8,
    pub command: u8,
    pub content: u8,
}

/// Whether what comes next is about notes or holds: see [`is_about_steps`](super::ops::is_about_steps).
pub fn is_about_notes(u: &mut Unstructured<'_>) -> bool {
    begins_with(u, NOTES)
}

const NOTES: std::ops::Range<u8> = 0xf0..0xff;

impl Saying {
    /// What is to be said, and about which order.
    pub fn words(self, names: &[Seq]) -> Words {
        let place = usize::from(self.sort / 8);
        let sort = match self.sort % 8 {
            0 => Sort::Note(NoteKind::Note, false),
            1 => Sort::Note(NoteKind::Note, true),
            2 => Sort::Note(NoteKind::Feedback, self.sort >= 128),
            3 => Sort::Note(NoteKind::Dispute, true),
            // Now and then what is no note.
            4 => Sort::Resolves(Seq(1 + u64::from(self.sort / 8))),
            _ if names.is_empty() => Sort::Note(NoteKind::Dispute, true),
            _ => Sort::Resolves(names[place % names.len()]),
        };
        let content = self.content % 4;
        let text = vec![content; [3, 0, 700, 2_500][usize::from(content)]];
        let author = if self.content % 8 < 4 { Vec::new() } else { b"N. Davolio".to_vec() };
        Words { sort, command: command(self.command), author, text }
    }
}

impl Run {
    pub(super) fn at_notes(&mut self, ledger: &Ledger, noting: &Noting) {
        let poisoned = ledger.poisoned().is_some();
        match noting {
            Noting::Say(saying) => {
                let Some((key, order, words)) = self.saying(key(saying.key), *saying) else {
                    return;
                };
                let answer = words.say(ledger, order);
                self.model.end_note(key, &words, &answer, poisoned);
            }
            Noting::SayMany(many) => {
                let many = many.iter().take(32);
                let all: Vec<_> = many
                    .filter_map(|saying| self.saying(key(saying.key), *saying))
                    .filter_map(|(key, order, words)| match words.about(order) {
                        Remark::Note(note) => Some((key, words, note)),
                        Remark::Resolution(_) => None,
                    })
                    .collect();
                let notes: Vec<_> = all.iter().map(|(_, _, note)| note.clone()).collect();
                let answers = ledger.note_many(&notes);
                assert_eq!(answers.len(), all.len());
                for ((key, words, _), answer) in all.iter().zip(&answers) {
                    self.model.end_note(*key, words, answer, poisoned);
                }
            }
            Noting::Hold { scope, reason } => {
                let change = Change::new(*scope, Some(*reason));
                let answer = ledger.hold(&change.hold());
                self.model.end_hold(&change, &answer, poisoned);
            }
            Noting::Release(scope) => {
                let change = Change::new(*scope, None);
                let answer = ledger.release(&change.hold());
                self.model.end_hold(&change, &answer, poisoned);
            }
        }
    }

    pub(super) fn saying(&self, key: Key, saying: Saying) -> Option<(Key, OrderId, Words)> {
        let (key, order) = self.model.known_order(key)?;
        Some((key, order, saying.words(&self.model.notes_of(key))))
    }
}
