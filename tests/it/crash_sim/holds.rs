//! The oracle for holds: who is held, and what may be said to an order because of it.
//!
//! Always true: at most one change is in doubt, the last one of a life; an order is refused for a hold that was in
//! force when it was handed in, and taken if none was.

use std::collections::{BTreeMap, BTreeSet};

use order_ledger::{Certainty, Error, ErrorKind, Hold, HoldChange, HoldEntry, How, Refusal, Seq};

use super::known::Trouble;
use super::plan::Key;

/// Accounts, and then one client.
pub(super) const SCOPES: usize = 6;

/// Whom a scope names: every order has one of these accounts, and every second one this client.
fn scope(number: usize) -> Hold {
    match number {
        5 => Hold::client("till"),
        account => Hold::any_client(format!("account {account}")),
    }
}

/// What is to be changed: the reason, or `None` for a release.
type Change = (usize, Option<String>);

pub(super) fn hold((number, reason): &Change) -> Hold {
    scope(*number).reason(reason.clone().unwrap_or_default())
}

/// What was in force when an order was handed in.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Met {
    Hold(String),
    Nothing,
    /// It was just being changed.
    Either,
}

#[derive(Debug, Default)]
pub(super) struct Holds {
    now: BTreeMap<usize, (Seq, String)>,
    /// Seqs of records that are about no order.
    seqs: BTreeSet<u64>,
    /// What a call of now changes.
    asked: Option<Change>,
    /// In the group that this life of the ledger ended with.
    doubt: Option<Change>,
    met: BTreeMap<Key, Vec<Met>>,
}

impl Holds {
    /// Whether a scope was ever to be held, or released.
    pub(super) fn have_been(&self) -> bool {
        self.asked.is_some() || self.doubt.is_some() || !self.seqs.is_empty()
    }

    /// An order is handed in.
    pub(super) fn meets(&mut self, key: Key) {
        let client = self.now.get(&5).filter(|_| key % 2 == 1);
        let met = match client.or_else(|| self.now.get(&(key % 5))) {
            _ if self.asked.is_some() => Met::Either,
            Some((_, reason)) => Met::Hold(reason.clone()),
            None => Met::Nothing,
        };
        self.met.entry(key).or_default().push(met);
    }

    pub(super) fn nothing_on_the_way(&mut self) {
        self.met.clear();
    }

    fn has_met(&self, key: Key, wanted: &Met) -> bool {
        let met = self.met.get(&key).into_iter().flatten();
        met.into_iter().any(|met| met == wanted || *met == Met::Either)
    }

    pub(super) fn may_be_taken(&self, key: Key) -> bool {
        self.has_met(key, &Met::Nothing)
    }

    pub(super) fn may_be_refused(&self, key: Key, refusal: &Refusal) -> bool {
        refusal.code == Refusal::HELD && self.has_met(key, &Met::Hold(refusal.reason.clone()))
    }

    pub(super) fn asks(&mut self, change: &Change) {
        self.asked = Some(change.clone());
    }

    /// Takes in the answer; whether it has changed something, or `None` when it has failed.
    pub(super) fn answered(
        &mut self,
        answer: Result<HoldChange, Error>,
        trouble: Trouble,
    ) -> Option<bool> {
        let (number, reason) = self.asked.take().expect("somebody has asked");
        let before = self.now.get(&number).map(|(_, reason)| reason.clone());
        let changes = before != reason;
        match answer {
            Ok(change) => {
                // What is in doubt decides; of another scope only what was so before can be answered.
                let is_told = |(other, _): &Change| *other != number && !changes;
                assert!(self.doubt.as_ref().is_none_or(is_told), "after a doubt: {change:?}");
                assert_eq!(change.how == How::Fresh, changes, "{change:?} from {before:?}");
                if changes {
                    let seq = change.seq.unwrap();
                    self.seqs.insert(seq.0);
                    self.set(number, seq, reason);
                }
                Some(changes)
            }
            Err(error) => {
                if let ErrorKind::InDoubt { .. } = error.kind() {
                    let is_it = |(other, _): &Change| *other == number;
                    let expected = self.doubt.as_ref().map_or(changes, is_it);
                    assert!(trouble.poisoned && expected, "{error}");
                    self.doubt.get_or_insert((number, reason));
                    return None;
                }
                let expected = match error.kind() {
                    ErrorKind::Io { .. } => trouble.disk,
                    ErrorKind::Poisoned { .. } => trouble.poisoned,
                    ErrorKind::DiskLow { .. } => trouble.disk || trouble.full,
                    _ => false,
                };
                let unread = matches!(error.kind(), ErrorKind::Io { .. });
                assert!(expected, "{error}");
                assert!(unread || error.certainty() == Certainty::NotRecorded, "{error}");
                None
            }
        }
    }

    fn set(&mut self, number: usize, seq: Seq, reason: Option<String>) {
        match reason {
            Some(reason) => self.now.insert(number, (seq, reason)),
            None => self.now.remove(&number),
        };
    }

    /// Holds the seqs that are of no order, below `next`, against those of the changes; answers behind which seq
    /// the log ends.
    pub(super) fn account_for(&self, gaps: &BTreeSet<u64>, next: u64) -> u64 {
        let unknown = gaps.difference(&self.seqs).count();
        let spare = self.asked.is_some() || self.doubt.is_some();
        assert!(unknown <= usize::from(spare), "seqs are not dense: {gaps:?}, {:?}", self.seqs);
        let inside = self.seqs.range(..next).all(|seq| gaps.contains(seq));
        assert!(inside, "a change of a hold became something else");
        self.seqs.last().map_or(next, |last| next.max(last + 1))
    }

    /// What is in force after opening: what was acknowledged, and the doubt or not, which is settled. Answers
    /// whether that is there.
    pub(super) fn settle(
        &mut self,
        listed: &[HoldEntry],
        gaps: &BTreeSet<u64>,
        next: u64,
    ) -> Option<bool> {
        let next = self.account_for(gaps, next);
        let found = |number: usize| {
            let it = scope(number);
            let mut listed = listed.iter().map(|entry| {
                let hold = match &entry.client[..] {
                    [] => Hold::any_client(entry.account.clone()),
                    client => Hold::client(client).account(entry.account.clone()),
                };
                (hold, entry)
            });
            let found = listed.find(|(hold, _)| *hold == it).map(|(_, entry)| entry);
            found.map(|entry| (entry.seq, entry.reason.clone()))
        };
        let doubt = self.doubt.take();
        let there = doubt.map(|(number, reason)| {
            let found = found(number);
            let there = found.as_ref().map(|(_, reason)| reason) == reason.as_ref();
            if there {
                let unknown = gaps.difference(&self.seqs).next().copied();
                let seq = found.map_or(unknown.unwrap_or(next), |(seq, _)| seq.0);
                assert!(unknown.is_none_or(|unknown| unknown == seq), "{unknown:?} is not {seq}");
                self.seqs.insert(seq);
                self.set(number, Seq(seq), reason);
            }
            there
        });
        for number in 0..SCOPES {
            assert_eq!(found(number), self.now.get(&number).cloned(), "scope {number}");
        }
        assert_eq!(listed.len(), self.now.len(), "{listed:?}");
        there
    }
}
