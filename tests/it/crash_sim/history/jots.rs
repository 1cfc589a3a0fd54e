//! Notes something about orders, resolves notes, and holds the answers against the book.

use order_ledger::{Ledger, NoteKind};

use super::super::notes::{Sort, Words};
use super::super::plan::{Jot, Key};
use super::History;

impl History<'_> {
    /// Something is noted about the order of a key, when it is there.
    pub(super) fn jot(&mut self, ledger: &Ledger, key: Key, jot: &Jot) {
        if self.book.receipt(key).is_none() {
            return;
        }
        let asking = self.book.known[key].track.notes.asking();
        let resolves = jot.resolves.filter(|_| !asking.is_empty());
        let sort = match resolves {
            Some(number) => Sort::Resolves(asking[number % asking.len()]),
            None => Sort::Note(jot.kind, jot.open || jot.kind == NoteKind::Dispute),
        };
        // A command that comes again mostly says the same.
        let (mark, bytes) = (jot.command.unwrap_or(b'-'), jot.bytes);
        let key_of = |command: u8| match command {
            // One that a step may have.
            0..4 => format!("command {command}"),
            _ => format!("note {command}"),
        };
        let words = Words {
            sort,
            command: jot.command.map(key_of).unwrap_or_default().into(),
            author: vec![mark; usize::from(mark % 7)],
            text: vec![mark; bytes],
        };
        self.say(ledger, key, words);
    }

    fn say(&mut self, ledger: &Ledger, key: Key, words: Words) {
        let Some(receipt) = self.book.receipt(key) else { return };
        self.listen();
        self.book.notes(key, &words);
        let answer = words.say(ledger, receipt.order);
        // What was seen beside was seen before this answer.
        self.listen();
        let trouble = self.trouble(ledger);
        if self.book.noted(answer, trouble, &mut self.figures) {
            self.say_again.push((key, words));
        }
        self.settle(ledger, Vec::new());
    }

    /// Whoever was told that his note is in doubt says it again, if it has a key.
    pub(super) fn say_again(&mut self, ledger: &Ledger) {
        for (key, words) in std::mem::take(&mut self.say_again) {
            if !words.command.is_empty() {
                self.say(ledger, key, words);
            }
        }
    }
}
