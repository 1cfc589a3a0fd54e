//! What a ledger owes its callers, kept outside the ledger, from its answers alone.
//!
//! The model knows of each key what was acknowledged, and what may have been recorded: orders still on
//! their way, and those whose outcome is in doubt. Everything that the ledger ever shows, by an answer
//! or by a read, is owed from then on (nothing is shown that is not durable).

use std::collections::{BTreeMap, BTreeSet};

use order_ledger::{
    Certainty, Error, ErrorKind, Field, How, Order, OrderId, Outcome, Receipt, Result, State,
    Submission,
};

/// The one client of all orders here.
pub const CLIENT: &str = "fuzz";

/// What an order is made of, as small numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Content {
    pub account: u8,
    /// Decides the bytes and the size of the payload.
    pub payload: u16,
}

impl Content {
    /// The payload: mostly small, sometimes larger than what fits into a segment of the smallest size.
    fn bytes(self) -> Vec<u8> {
        let bytes = match self.payload % 16 {
            0 => 0,
            15 => 20_000,
            14 => 5_000,
            class => usize::from(class) * 40,
        };
        let [low, high] = self.payload.to_le_bytes();
        (0..bytes).map(|index| low ^ high.wrapping_mul(index as u8)).chain([low, high]).collect()
    }

    pub fn submission(self, key: u8) -> Submission {
        Submission::new(CLIENT, key_name(key), self.bytes()).account([self.account])
    }

    fn differs(self, other: Content) -> Vec<Field> {
        let mut differs = Vec::new();
        if self.account != other.account {
            differs.push(Field::Account);
        }
        if self.payload != other.payload {
            differs.push(Field::Payload);
        }
        differs
    }
}

pub fn key_name(key: u8) -> String {
    format!("key-{key}")
}

/// What may have become of one content under one key.
#[derive(Clone, Copy, Default, Debug)]
struct Maybe {
    /// Calls that have no answer yet.
    in_flight: u32,
    /// A call ended in doubt, or nobody waited for its answer.
    in_doubt: bool,
}

/// What is known of one key.
#[derive(Clone, Default, Debug)]
struct Known {
    recorded: Option<(Content, Receipt)>,
    maybe: BTreeMap<Content, Maybe>,
}

/// What a ledger owes.
#[derive(Clone, Default, Debug)]
pub struct Model {
    keys: BTreeMap<u8, Known>,
    /// Orders for which `Fresh` was answered: at most once each.
    fresh: BTreeSet<OrderId>,
}

impl Model {
    /// A call begins.
    pub fn begin(&mut self, key: u8, content: Content) {
        self.keys.entry(key).or_default().maybe.entry(content).or_default().in_flight += 1;
    }

    /// The call's answer will never be known: its process died, or nobody waits for it.
    pub fn abandon(&mut self, key: u8, content: Content) {
        let maybe = self.maybe(key, content);
        maybe.in_flight -= 1;
        maybe.in_doubt = true;
    }

    fn maybe(&mut self, key: u8, content: Content) -> &mut Maybe {
        let known = self.keys.get_mut(&key).expect("the call was begun");
        known.maybe.get_mut(&content).expect("the call was begun")
    }

    /// A call ends. `poisoned` is what held before it: a poisoned ledger takes nothing new.
    pub fn end(&mut self, key: u8, content: Content, answer: &Result<Outcome>, poisoned: bool) {
        match answer {
            Ok(outcome) => self.end_ok(key, content, outcome, poisoned),
            Err(error) => self.end_err(key, content, error),
        }
        let maybe = self.maybe(key, content);
        maybe.in_flight -= 1;
        if maybe.in_flight == 0 && !maybe.in_doubt {
            self.keys.get_mut(&key).expect("begun").maybe.remove(&content);
        }
    }

    fn end_ok(&mut self, key: u8, content: Content, outcome: &Outcome, poisoned: bool) {
        let Outcome { receipt, how, now, .. } = *outcome;
        assert_eq!(now.state, State::Accepted);
        assert_eq!(receipt.first_state, State::Accepted);
        let known = self.keys.get(&key).expect("the call was begun");
        let maybe = known.maybe.get(&content).expect("the call was begun");
        if known.recorded.is_none() && how != How::Fresh {
            let others = maybe.in_flight > 1 || maybe.in_doubt;
            assert!(others, "{how} for key {key}, which nobody else had submitted so");
        }
        if how == How::Fresh {
            assert!(!poisoned, "a poisoned ledger took key {key}");
            assert!(self.fresh.insert(receipt.order), "order {} was fresh twice", receipt.order);
        }
        self.shown(key, content, receipt);
    }

    fn end_err(&mut self, key: u8, content: Content, error: &Error) {
        match (error.kind(), error.certainty()) {
            (ErrorKind::Conflict { receipt, differs }, Certainty::Recorded(recorded)) => {
                assert_eq!(*receipt, recorded);
                let known = self.keys.get(&key).expect("begun");
                match known.recorded {
                    Some((other, owed)) => {
                        assert_ne!(other, content, "key {key} conflicts with itself");
                        assert_eq!(owed, *receipt);
                        assert_eq!(*differs, other.differs(content));
                    }
                    None => {
                        let fitting: Vec<_> = known
                            .maybe
                            .keys()
                            .filter(|other| {
                                **other != content && other.differs(content) == *differs
                            })
                            .copied()
                            .collect();
                        assert!(!fitting.is_empty(), "key {key} conflicts with nothing: {error}");
                        // Which of them it is, a read will tell; the only one there can be is owed now.
                        if let [other] = fitting[..] {
                            self.shown(key, other, *receipt);
                        }
                    }
                }
            }
            (ErrorKind::InDoubt { .. }, Certainty::Unknown) => {
                self.maybe(key, content).in_doubt = true;
            }
            // The key could not be looked up: nothing was written, and what was there is there.
            (ErrorKind::Io { .. }, Certainty::Unknown) => {}
            (
                ErrorKind::Poisoned { .. }
                | ErrorKind::DiskLow { .. }
                | ErrorKind::Overloaded { .. }
                | ErrorKind::Closed
                | ErrorKind::Io { .. },
                Certainty::NotRecorded,
            ) => {
                let known = self.keys.get(&key).expect("begun");
                let recorded = known.recorded.is_some_and(|(other, _)| other == content);
                // The key of a recorded order is found before anything is asked of the disk's space,
                // the queue or the poison; only reading it may fail.
                let readable = !matches!(error.kind(), ErrorKind::Io { .. });
                assert!(
                    !(recorded && readable),
                    "key {key} is recorded and was not replayed: {error}"
                );
            }
            (kind, certainty) => panic!("key {key}: {kind:?} with {certainty:?}"),
        }
    }

    /// The ledger has shown that `content` is recorded under `key`.
    fn shown(&mut self, key: u8, content: Content, receipt: Receipt) {
        let known = self.keys.entry(key).or_default();
        match known.recorded {
            Some(owed) => {
                assert_eq!(owed, (content, receipt), "the answer for key {key} has changed")
            }
            None => known.recorded = Some((content, receipt)),
        }
    }

    /// A read of `key` has answered.
    pub fn read(&mut self, key: u8, order: Option<&Order>) {
        let known = self.keys.entry(key).or_default();
        let Some(order) = order else {
            assert!(known.recorded.is_none(), "the order of key {key} is not found");
            return;
        };
        assert_eq!(order.key, key_name(key).as_bytes());
        assert_eq!(order.client, CLIENT.as_bytes());
        let fits = |content: &Content| {
            order.account == [content.account] && order.payload == content.bytes()
        };
        let recorded = known.recorded.map(|(content, _)| content);
        let content = recorded
            .into_iter()
            .chain(known.maybe.keys().copied())
            .find(fits)
            .unwrap_or_else(|| panic!("key {key} holds what nobody submitted: {order:?}"));
        self.shown(key, content, order.receipt);
    }

    /// A read of `key` was answered with "in doubt".
    pub fn read_in_doubt(&self, key: u8) {
        let known = self.keys.get(&key).expect("a key in doubt was submitted");
        assert!(known.recorded.is_none(), "key {key} is recorded, and called in doubt");
        assert!(!known.maybe.is_empty(), "key {key} is in doubt, and nobody submitted it");
    }

    /// Every order of the ledger was read. `ended`: no call that was begun can still be written, so
    /// what is not there now will never be.
    pub fn read_all(&mut self, orders: &[Order], ended: bool) {
        let mut seen = BTreeSet::new();
        let mut last = None;
        for (order, seq) in orders.iter().zip(1..) {
            assert_eq!(order.id().seq().0, seq, "seqs are dense");
            assert!(last < Some(order.receipt.accepted_at), "time moves forward");
            last = Some(order.receipt.accepted_at);
            let name = String::from_utf8(order.key.clone()).expect("a key of ours");
            let key =
                name.strip_prefix("key-").and_then(|key| key.parse().ok()).expect("a key of ours");
            assert!(seen.insert(key), "key {key} has two orders");
            self.read(key, Some(order));
        }
        for (key, known) in &mut self.keys {
            assert!(
                seen.contains(key) || known.recorded.is_none(),
                "the order of key {key} is lost: {:?}",
                known.recorded
            );
            if ended {
                known.maybe.clear();
            }
        }
    }
}
