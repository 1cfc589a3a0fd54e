//! The oracle: what the callers were told, kept outside of the ledger.

use std::collections::BTreeSet;

use order_ledger::{
    Certainty, Committed, Error, ErrorKind, How, Order, Outcome, Receipt, Refusal, Submission,
    Validator, Verdict,
};

use super::figures::Figures;
use super::plan::{Content, Key, Plan, Word};
use crate::rig::Random;

/// What is known of one key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fate {
    /// Told, or certain, that nothing is recorded.
    Free,
    Acknowledged(Receipt),
    Refused(Receipt, Refusal),
    /// In the group that this life of the ledger ended with.
    InDoubt,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) submission: Submission,
    pub(super) word: Word,
    pub(super) fate: Fate,
}

/// Refuses for good what begins with `no`, and for now what begins with `later`.
pub(super) struct Fussy;

impl Validator for Fussy {
    fn validate(&self, order: &Submission, _: &Committed<'_>) -> Verdict {
        if order.payload().starts_with(b"no") {
            Verdict::RefuseFinal(Refusal { code: 7, reason: "because".into() })
        } else if order.payload().starts_with(b"later") {
            Verdict::RefuseForNow { reason: "not today".into() }
        } else {
            Verdict::Accept
        }
    }
}

/// What may be the reason of an error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    pub(super) poisoned: bool,
    /// The power is off, or a call was made to fail.
    pub(super) disk: bool,
    pub(super) full: bool,
}

/// All keys of a plan.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) known: Vec<Known>,
    validator: bool,
    /// Handed in, and not answered yet.
    pub(super) on_the_way: BTreeSet<Key>,
    /// Of those, what a reader has synced and seen before the writer's own sync: the ledger itself does
    /// not show it yet.
    seen_early: BTreeSet<Key>,
    /// What this life of the ledger has called in doubt.
    doubted: BTreeSet<Key>,
}

fn submission(key: Key, content: &Content) -> Submission {
    let mut payload = match content.word {
        Word::Good => b"ok".to_vec(),
        Word::No => b"no".to_vec(),
        Word::Later => b"later".to_vec(),
    };
    payload.extend(Random::new(key as u64).bytes(content.bytes));
    let client = ["web", "till"][key % 2];
    Submission::new(client, format!("key-{key}"), payload).account(format!("account {}", key % 5))
}

impl Book {
    pub(super) fn new(plan: &Plan) -> Book {
        let known = plan.orders.iter().enumerate().map(|(key, content)| Known {
            submission: submission(key, content),
            word: content.word,
            fate: Fate::Free,
        });
        Book {
            known: known.collect(),
            validator: plan.setup.validator,
            on_the_way: BTreeSet::new(),
            seen_early: BTreeSet::new(),
            doubted: BTreeSet::new(),
        }
    }

    fn key_of(&self, order: &Order) -> Key {
        let text = str::from_utf8(&order.key).unwrap();
        let key = text.strip_prefix("key-").and_then(|key| key.parse().ok()).unwrap();
        let known: Option<&Known> = self.known.get(key);
        let is_ours = known.is_some_and(|known| known.submission.client() == order.client);
        assert!(is_ours, "an order that nobody submitted: {order:?}");
        key
    }

    /// Somebody saw this order: it is owed from now on.
    pub(super) fn shown(&mut self, order: &Order) {
        let key = self.key_of(order);
        let on_the_way = self.on_the_way.contains(&key);
        let known = &mut self.known[key];
        assert_eq!(order.payload, known.submission.payload());
        let seen = match &order.refusal {
            None => Fate::Acknowledged(order.receipt),
            Some(refusal) => Fate::Refused(order.receipt, refusal.clone()),
        };
        match &known.fate {
            Fate::Free => {
                assert!(on_the_way, "shown, and nobody waits for it: {order:?}");
                self.seen_early.insert(key);
            }
            Fate::InDoubt => {}
            fate => assert_eq!(*fate, seen, "it has changed"),
        }
        known.fate = seen;
    }

    /// What was on its way did not become an order while it was looked for.
    pub(super) fn not_there(&self, key: Key) {
        let fate = &self.known[key].fate;
        let early = self.seen_early.contains(&key);
        assert!(*fate == Fate::Free || early, "not found: key {key}, {fate:?}");
    }

    /// All that was on its way has its answer, or never gets one.
    pub(super) fn nothing_on_the_way(&mut self) {
        self.on_the_way.clear();
        self.seen_early.clear();
    }

    /// Whether "in doubt" is an answer for this key.
    pub(super) fn may_be_in_doubt(&self, key: Key) -> bool {
        self.doubted.contains(&key) || self.on_the_way.contains(&key)
    }

    /// The ledger is closed or dead.
    pub(super) fn life_has_ended(&mut self) {
        self.nothing_on_the_way();
        self.doubted.clear();
    }

    /// Takes in what a caller was told, and holds it against what is known.
    pub(super) fn answered(&mut self, key: Key, answer: Result<Outcome, Error>, trouble: Trouble) {
        let known = &mut self.known[key];
        let (refused, later) = match self.validator {
            true => (known.word == Word::No, known.word == Word::Later),
            false => (false, false),
        };
        let error = match answer {
            Ok(outcome) => {
                match &known.fate {
                    Fate::Acknowledged(receipt) => assert_eq!(*receipt, outcome.receipt),
                    Fate::Free => {
                        assert!(!refused && !later);
                        assert_ne!(outcome.how, How::Replayed, "a replay of what was never taken");
                        known.fate = Fate::Acknowledged(outcome.receipt);
                    }
                    fate => panic!("{outcome:?} after {fate:?}"),
                }
                return;
            }
            Err(error) => error,
        };
        match (error.certainty(), error.kind()) {
            (Certainty::Recorded(_), ErrorKind::Refused { receipt, refusal }) => {
                let fate = Fate::Refused(*receipt, refusal.clone());
                assert!(known.fate == Fate::Free && refused || known.fate == fate, "{error}");
                known.fate = fate;
            }
            (Certainty::Unknown, kind) => {
                assert!(trouble.poisoned || matches!(kind, ErrorKind::Io { .. }), "{error}");
                if matches!(kind, ErrorKind::InDoubt { .. }) {
                    self.doubted.insert(key);
                    // Shown to somebody before the failure: then it stays owed.
                    if known.fate == Fate::Free {
                        known.fate = Fate::InDoubt;
                    }
                }
            }
            (Certainty::NotRecorded, kind) => {
                assert_eq!(known.fate, Fate::Free, "told not recorded: {error}");
                let expected = match kind {
                    ErrorKind::RefusedForNow { .. } => later,
                    ErrorKind::Poisoned { .. } => trouble.poisoned,
                    ErrorKind::Closed => true,
                    ErrorKind::Io { .. } => trouble.disk,
                    ErrorKind::DiskLow { .. } => trouble.disk || trouble.full,
                    _ => false,
                };
                assert!(expected, "{error}");
            }
            (Certainty::Recorded(_), _) => panic!("{error}"),
        }
    }

    /// Holds all orders of a ledger that was opened after a crash against what is known, and settles the
    /// doubts.
    pub(super) fn check(&mut self, orders: &[Order], may_lose: bool, figures: &mut Figures) {
        let mut there: Vec<Option<&Order>> = vec![None; self.known.len()];
        let mut last_at = None;
        for (seq, order) in (1..).zip(orders) {
            assert_eq!(order.id().seq().0, seq, "seqs are not dense");
            assert!(last_at < Some(order.receipt.accepted_at), "time does not rise");
            last_at = Some(order.receipt.accepted_at);
            let twice = there[self.key_of(order)].replace(order);
            assert!(twice.is_none(), "{} is there twice", order.id());
        }
        let in_doubt = |known: &&Known| known.fate == Fate::InDoubt;
        let doubts = self.known.iter().filter(in_doubt).count();
        let found = |(known, order): &(&Known, &Option<&Order>)| in_doubt(known) && order.is_some();
        let doubts_there = self.known.iter().zip(&there).filter(found).count();
        assert!(
            doubts_there == 0 || doubts_there == doubts,
            "{doubts_there} of the {doubts} orders of one group are there"
        );
        for (known, found) in self.known.iter_mut().zip(there) {
            match (&known.fate, found) {
                (Fate::Acknowledged(_) | Fate::Refused(..), None) if may_lose => {
                    figures.relaxed_lost += 1;
                    known.fate = Fate::Free;
                }
                (Fate::Acknowledged(receipt), Some(order)) => {
                    assert_eq!(order.receipt, *receipt);
                    assert_eq!(order.refusal, None);
                }
                (Fate::Refused(receipt, refusal), Some(order)) => {
                    assert_eq!(order.receipt, *receipt);
                    assert_eq!(order.refusal.as_ref(), Some(refusal));
                }
                (Fate::Free, None) => {}
                (Fate::Free, Some(order)) => {
                    panic!("{} was told not to be recorded, and is there", order.id())
                }
                (Fate::InDoubt, None) => {
                    known.fate = Fate::Free;
                    figures.in_doubt_gone += 1;
                }
                (Fate::InDoubt, Some(order)) => {
                    known.fate = match &order.refusal {
                        None => Fate::Acknowledged(order.receipt),
                        Some(refusal) => Fate::Refused(order.receipt, refusal.clone()),
                    };
                    figures.in_doubt_there += 1;
                }
                (fate, None) => panic!("acknowledged and gone: {fate:?}"),
            }
            if let Some(order) = found {
                assert!(order.payload == known.submission.payload(), "other bytes");
            }
        }
    }
}
