//! What a ledger owes about holds: who is held, and what may be said to an order because of it.
//!
//! Always true: what was held is held until it is released; at most one change is in doubt, the one that the ledger was
//! poisoned under; an order is refused for a hold that was in force when it was handed in, and taken if none was, and
//! neither is ever otherwise.

use std::collections::{BTreeMap, BTreeSet};

use order_ledger::{
    Certainty, ErrorKind, Hold, HoldChange, HoldEntry, How, Order, Refusal, Result, Seq, State,
    Timestamp,
};

use super::{CLIENT, Content, Key, Model};

/// Whom a hold names.
const SCOPES: [(&str, &[u8]); 5] =
    [("", &[2]), ("", &[3]), (CLIENT, &[3]), (CLIENT, &[0]), (CLIENT, &[])];

/// A change: whom it names, and why; `None`: it is a release.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    scope: usize,
    reason: Option<String>,
}

impl Change {
    /// Mostly about those accounts that few orders have.
    pub fn new(number: u8, reason: Option<u8>) -> Change {
        let scope = match number % 16 {
            0..6 => 0,
            6..10 => 1,
            10..13 => 2,
            13..15 => 3,
            _ => 4,
        };
        Change { scope, reason: reason.map(|it| format!("reason {}", it % 3)) }
    }

    pub fn hold(&self) -> Hold {
        let (client, account) = SCOPES[self.scope];
        let hold = match client {
            "" => Hold::any_client(account),
            client => Hold::client(client).account(account),
        };
        hold.reason(self.reason.clone().unwrap_or_default()).by("N. Davolio")
    }
}

/// Who is held.
#[derive(Clone, Default, Debug)]
pub struct Holds {
    now: BTreeMap<usize, (Seq, Timestamp, String)>,
    /// Who was released last, and where; nobody is told that of a release that was in doubt.
    released: BTreeMap<usize, Option<(Seq, Timestamp)>>,
    doubt: Option<Change>,
    /// What stood in the way of the orders that were handed in since nothing was on its way: the reason, if any did.
    met: BTreeMap<(Key, Vec<u8>), BTreeSet<Option<String>>>,
}

impl Holds {
    /// Why an order of this client for this account is not taken, if it is not.
    fn on(&self, client: &[u8], account: &[u8]) -> Option<&String> {
        let of = |wanted: (&[u8], &[u8])| {
            let is_it = |scope: &(&str, &[u8])| (scope.0.as_bytes(), scope.1) == wanted;
            let number = SCOPES.iter().position(is_it)?;
            self.now.get(&number).map(|(_, _, reason)| reason)
        };
        let by_account = || of((client, account)).or_else(|| of((b"", account)));
        of((client, b"")).or_else(|| if account.is_empty() { None } else { by_account() })
    }

    fn has_met(&self, key: Key, account: &[u8], wanted: Option<&String>) -> bool {
        let met = self.met.get(&(key, account.to_vec()));
        met.is_some_and(|met| met.contains(&wanted.cloned()))
    }

    /// A call ends. `poisoned` is what held before it.
    fn changed(
        &mut self,
        change: &Change,
        answer: &Result<HoldChange>,
        poisoned: bool,
    ) -> Recorded {
        let before = self.now.get(&change.scope).map(|(.., reason)| reason);
        let is_news = before != change.reason.as_ref();
        let done = match answer {
            Ok(done) => done,
            Err(error) => return self.not_changed(change, error, is_news, poisoned),
        };
        if !is_news {
            let told = done.seq.zip(done.at);
            let now = self.now.get(&change.scope).map(|(seq, at, _)| (*seq, *at));
            let owed = match self.released.get_mut(&change.scope) {
                _ if now.is_some() => now,
                Some(released) => {
                    Some(*released.get_or_insert_with(|| told.expect("it was released")))
                }
                None => None,
            };
            assert_eq!((done.how, told), (How::Replayed, owed), "{change:?}");
            return Recorded::No;
        }
        assert!(done.how == How::Fresh && !poisoned, "{done:?}, from {before:?} to {change:?}");
        let (seq, at) = done.seq.zip(done.at).expect("it has made a record");
        self.set(change, seq, at);
        Recorded::Yes
    }

    fn not_changed(
        &mut self,
        change: &Change,
        error: &order_ledger::Error,
        is_news: bool,
        poisoned: bool,
    ) -> Recorded {
        match (error.kind(), error.certainty()) {
            (ErrorKind::InDoubt { .. }, Certainty::Unknown) => {
                let is_it = self.doubt.as_ref().is_some_and(|doubt| doubt.scope == change.scope);
                assert!(is_it || is_news && !poisoned, "{error}: {change:?}");
                if !poisoned {
                    self.doubt = Some(change.clone());
                    return Recorded::Perhaps;
                }
            }
            (ErrorKind::Io { .. }, _) => {}
            (
                ErrorKind::Poisoned { .. } | ErrorKind::DiskLow { .. } | ErrorKind::Closed,
                Certainty::NotRecorded,
            ) => assert!(is_news, "{error}: {change:?}"),
            (kind, certainty) => panic!("{change:?}: {kind:?} with {certainty:?}"),
        }
        Recorded::No
    }

    fn set(&mut self, change: &Change, seq: Seq, at: Timestamp) {
        match &change.reason {
            Some(reason) => drop(self.now.insert(change.scope, (seq, at, reason.clone()))),
            None => {
                self.now.remove(&change.scope);
                self.released.insert(change.scope, Some((seq, at)));
            }
        }
    }

    /// Who is held, as somebody was shown. `lags`, `ended`: as for orders.
    pub fn shown(&mut self, holds: &[HoldEntry], lags: bool, ended: bool) {
        if lags {
            return;
        }
        let found = |scope: usize| {
            let (client, account) = SCOPES[scope];
            let is_it = |it: &&HoldEntry| it.client == client.as_bytes() && it.account == account;
            let found = holds.iter().find(is_it);
            found.map(|it| (it.seq, it.at, it.reason.clone()))
        };
        if let Some(Change { scope, reason }) = self.doubt.clone() {
            let there = found(scope);
            let is_there = there.as_ref().map(|(.., reason)| reason) == reason.as_ref();
            match there {
                Some(held) if is_there => drop(self.now.insert(scope, held)),
                None if is_there => {
                    self.now.remove(&scope);
                    self.released.insert(scope, None);
                }
                _ => {}
            }
            if ended || is_there {
                self.doubt = None;
            }
        }
        for (scope, whom) in SCOPES.iter().enumerate() {
            assert_eq!(found(scope).as_ref(), self.now.get(&scope), "{whom:?}");
        }
        assert_eq!(holds.len(), self.now.len(), "{holds:?}");
        assert!(holds.is_sorted_by(|one, next| one.seq < next.seq));
        if ended {
            self.met.clear();
        }
    }
}

/// Whether a call has made a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Recorded {
    No,
    Yes,
    Perhaps,
}

impl<C: Content> Model<C> {
    /// A call for a hold, or for a release, ends.
    pub fn end_hold(&mut self, change: &Change, answer: &Result<HoldChange>, poisoned: bool) {
        match self.holds.changed(change, answer, poisoned) {
            Recorded::No => {}
            Recorded::Yes => self.cursors.wrote(),
            Recorded::Perhaps => self.cursors.may_have_written(),
        }
    }

    /// Why an order would be refused now, if it would.
    pub(super) fn held(&self, key: Key, content: C) -> Option<&String> {
        self.holds.on(&C::scope(key).client, &content.account())
    }

    /// An order is handed in.
    pub(super) fn meets(&mut self, key: Key, content: C) {
        let met = self.held(key, content).cloned();
        self.holds.met.entry((key, content.account())).or_default().insert(met);
    }

    /// Whether an order may have been taken that was handed in since nothing was on its way, and refused.
    pub(super) fn may_be_taken(&self, key: Key, content: C) -> bool {
        self.holds.has_met(key, &content.account(), None)
    }

    fn may_be_refused(&self, key: Key, content: C, refusal: &Refusal) -> bool {
        let reason = Some(&refusal.reason);
        refusal.code == Refusal::HELD && self.holds.has_met(key, &content.account(), reason)
    }

    /// Somebody was told that the order is refused for good.
    pub(super) fn is_refused(&mut self, key: Key, content: C, refusal: &Refusal) {
        let known = &self.keys[&key];
        let right = match (&known.refusal, known.recorded) {
            (Some(owed), _) => owed == refusal,
            // Nobody has said why.
            (None, Some((_, receipt))) => receipt.first_state == State::Refused,
            (None, None) => self.may_be_refused(key, content, refusal),
        };
        assert!(right, "key {key} is refused for {refusal:?}, not {:?}", known.refusal);
        self.keys.get_mut(&key).expect("it is there").refusal = Some(refusal.clone());
    }

    /// Holds a refusal, or that there is none, against what is known: an order was read.
    pub(super) fn read_refusal(&mut self, key: Key, content: C, order: &Order) {
        let is_refused = order.receipt.first_state == State::Refused;
        assert_eq!(is_refused, order.refusal.is_some(), "{order:?}");
        match &order.refusal {
            Some(refusal) => self.is_refused(key, content, refusal),
            None => {
                let is_known = self.keys[&key].recorded.is_some();
                assert!(is_known || self.may_be_taken(key, content), "it was held: {order:?}");
            }
        }
    }
}
