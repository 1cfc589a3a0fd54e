//! What the callers know: the oracle, outside of the ledger.

use std::hash::{DefaultHasher, Hash, Hasher};

use order_ledger::{Order, Receipt, Submission};

use crate::rig::Random;

#[derive(Clone, Debug)]
struct Known {
    order: Submission,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// On its way when the crash came: there or not.
    InDoubt,
    /// Answered or shown.
    Owed(Receipt),
    /// A ledger that was open did not have it: it never comes back by itself.
    Gone,
}

impl Known {
    fn receipt(&self) -> Option<Receipt> {
        match self.fate {
            Fate::Owed(receipt) => Some(receipt),
            Fate::InDoubt | Fate::Gone => None,
        }
    }
}

/// The orders that were handed in, in this order.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    known: Vec<Known>,
}

impl Book {
    /// An order that was never handed in before.
    pub(super) fn new_order(&mut self, bytes: usize) -> Submission {
        let number = self.known.len() as u64;
        let order = Submission::new("web", format!("k{number}"), Random::new(number).bytes(bytes));
        self.known.push(Known { order: order.clone(), fate: Fate::InDoubt });
        order
    }

    pub(super) fn acknowledged(&mut self, order: &Submission, receipt: Receipt) {
        let known = self.known.iter_mut().find(|known| known.order.key() == order.key()).unwrap();
        assert!(known.receipt().is_none_or(|owed| owed == receipt), "another receipt");
        known.fate = Fate::Owed(receipt);
    }

    /// The first order that was acknowledged.
    pub(super) fn first(&self) -> Option<(&Submission, Receipt)> {
        self.known.iter().find_map(|known| Some((&known.order, known.receipt()?)))
    }

    pub(super) fn orders(&self) -> impl Iterator<Item = (&Submission, Option<Receipt>)> {
        self.known.iter().map(|known| (&known.order, known.receipt()))
    }

    /// A number for what is owed.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for known in &self.known {
            known.receipt().map(|receipt| receipt.order).hash(&mut hasher);
            (known.fate == Fate::Gone).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Holds what an open ledger shows against what is owed (I1 to I4), and owes it from now on.
    pub(super) fn check(&mut self, orders: &[Order]) {
        let mut last_at = None;
        for (order, seq) in orders.iter().zip(1..) {
            assert_eq!(order.id().seq().0, seq, "seqs are not dense");
            assert!(last_at < Some(order.receipt.accepted_at), "time does not rise");
            last_at = Some(order.receipt.accepted_at);
        }
        let in_doubt = self.known.iter().filter(|known| known.fate == Fate::InDoubt).count();
        let mut found = 0;
        let mut doubts_there = 0;
        for known in &mut self.known {
            let mut there = orders.iter().filter(|order| order.key == known.order.key());
            match (there.next(), known.fate) {
                (Some(_), Fate::Gone) => panic!("{:?} came back", known.order.key()),
                (Some(order), fate) => {
                    found += 1;
                    doubts_there += usize::from(fate == Fate::InDoubt);
                    assert_eq!(order.payload, known.order.payload(), "other bytes");
                    let owed = known.receipt();
                    assert!(owed.is_none_or(|owed| owed == order.receipt), "another receipt");
                    known.fate = Fate::Owed(order.receipt);
                }
                (None, Fate::InDoubt | Fate::Gone) => known.fate = Fate::Gone,
                (None, Fate::Owed(receipt)) => {
                    panic!("acknowledged or shown, and gone: {receipt:?}")
                }
            }
            assert!(there.next().is_none(), "{:?} is there twice", known.order.key());
        }
        assert_eq!(found, orders.len(), "orders that nobody handed in");
        // Only one group is ever in doubt here.
        let whole = doubts_there == 0 || doubts_there == in_doubt;
        assert!(whole, "{doubts_there} of the {in_doubt} orders of one group are there");
    }
}
