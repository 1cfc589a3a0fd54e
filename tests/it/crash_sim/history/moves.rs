//! Asks orders to take steps, and holds the answers against the book.

use order_ledger::disk::Host;
use order_ledger::{Evidence, Ledger, Timestamp, Transition};

use super::super::known::EVIDENCE;
use super::super::plan::{Expected, Key, Move, Step};
use super::super::steps::{Hope, Wish};
use super::History;

/// Why an order is cancelled.
const CALLED_OFF: &str = "called off";

impl History<'_> {
    /// One step or several of orders that the caller knows.
    pub(super) fn moves(&mut self, ledger: &Ledger, step: &Step) {
        let wishes: Vec<(Key, Wish)> = match step {
            Step::Move(key, step) => self.wish(*key, step).into_iter().collect(),
            Step::MoveMany(moves) => {
                moves.iter().filter_map(|(key, step)| self.wish(*key, step)).collect()
            }
            Step::Cancel(key) => {
                let now = self.book.now(*key);
                let wish = now.map(|(now, _)| Wish::cancel(now, CALLED_OFF, &self.book.lifecycle));
                wish.map(|wish| (*key, wish)).into_iter().collect()
            }
            _ => Vec::new(),
        };
        self.ask(ledger, &wishes, step);
    }

    /// What the caller asks for who knows where the order stands; nothing, when there is none.
    fn wish(&self, key: Key, step: &Move) -> Option<(Key, Wish)> {
        let (_, version) = self.book.now(key)?;
        let evidence = step.evidence_bytes.map(|bytes| Evidence {
            name: EVIDENCE.into(),
            value: vec![step.command.unwrap_or(b'-'); bytes],
        });
        let wish = Wish {
            to: step.to,
            command: step
                .command
                .map(|command| format!("command {command}"))
                .unwrap_or_default()
                .into(),
            expect: match step.expect {
                Expected::Anything => Hope::Anything,
                Expected::Version(off) => Hope::Version(version.saturating_add_signed(off.into())),
                Expected::State(state) => Hope::State(state),
            },
            evidence: evidence.into_iter().collect(),
            reason: step.command.map(|command| format!("because {command}")).unwrap_or_default(),
        };
        Some((key, wish))
    }

    fn ask(&mut self, ledger: &Ledger, wishes: &[(Key, Wish)], how: &Step) {
        self.listen();
        // Only where it matters: each look at it moves it.
        let expires = wishes.iter().any(|(key, _)| self.book.expires_at(*key).is_some());
        let wall = if expires { self.host.wall_ns() } else { 0 };
        self.book.asks(wishes);
        let steps = wishes.iter().filter_map(|(key, wish)| {
            let order = self.book.receipt(*key)?.order;
            Some(wish.transition(order))
        });
        let steps: Vec<Transition> = steps.collect();
        let answers = match how {
            Step::MoveMany(_) => ledger.transition_many(&steps),
            Step::Cancel(_) => {
                steps.iter().map(|step| ledger.cancel(step.order(), CALLED_OFF)).collect()
            }
            _ => steps.iter().map(|step| ledger.transition(step)).collect(),
        };
        // What was seen beside was seen before this answer.
        self.listen();
        let trouble = self.trouble(ledger);
        let wall = Timestamp::from_unix_ns(wall);
        let doubts = self.book.moved(answers, trouble, wall, &mut self.figures);
        self.again.extend(doubts);
        self.settle(ledger, Vec::new());
    }

    /// What has expired is recorded, as far as the views know.
    pub(super) fn sweep(&mut self, ledger: &Ledger) {
        self.figures.expired_swept += ledger.sweep();
        self.listen();
        self.book.swept(ledger.poisoned().is_some());
        self.settle(ledger, Vec::new());
    }

    /// Whoever was told that his command is in doubt sends it again, word for word; most do.
    pub(super) fn ask_again(&mut self, ledger: &Ledger) {
        for (key, wish) in std::mem::take(&mut self.again) {
            let is_there = self.book.receipt(key).is_some();
            if is_there && self.random.chance(4, 5) {
                self.figures.asked_again += 1;
                self.ask(ledger, &[(key, wish)], &Step::Pump);
            }
        }
    }
}
