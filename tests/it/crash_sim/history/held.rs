//! Holds accounts and clients, releases them, and holds the answers against the book.

use order_ledger::Ledger;

use super::super::holds::hold;
use super::History;

impl History<'_> {
    /// A scope is held for a reason of this number, or released.
    pub(super) fn set_hold(&mut self, ledger: &Ledger, number: usize, reason: Option<u8>) {
        self.listen();
        let change = (number, reason.map(|reason| format!("reason {reason}")));
        self.book.holds.asks(&change);
        let answer = match change.1 {
            Some(_) => ledger.hold(&hold(&change)),
            None => ledger.release(&hold(&change)),
        };
        // Who was handed in beside may have met the one or the other.
        self.listen();
        let trouble = self.trouble(ledger);
        match self.book.holds.answered(answer, trouble) {
            Some(true) => self.figures.holds_changed += 1,
            Some(false) => self.figures.holds_unchanged += 1,
            None => {}
        }
        self.settle(ledger, Vec::new());
    }
}
