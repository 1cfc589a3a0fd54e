//! The oracle: what the callers were told, kept outside of the ledger.

use std::collections::BTreeSet;
use std::time::Duration;

use order_ledger::{
    Certainty, Committed, Error, ErrorKind, How, Lifecycle, Noted, Order, Outcome, Receipt,
    Refusal, State, StateRule, Submission, Timestamp, Transitioned, Validator, Verdict,
};

use super::alarms::{Alarms, with_thresholds};
use super::batches::Batches;
use super::beside::Seen;
use super::figures::Figures;
use super::followed::Followed;
use super::holds::Holds;
use super::notes::Words;
use super::plan::{Content, Key, LOADED, PACKED, Patience, Plan, Word};
use super::posts::Posts;
use super::steps::{About, Came, Told, Track, Wish, gaps};
use super::stuck::with_patience;
use crate::rig::Random;

mod settle;

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
    pub(super) expires_in: Option<Duration>,
    pub(super) patience: Patience,
    pub(super) fate: Fate,
    pub(super) track: Track,
}

impl Known {
    /// What the order says about times: when it expires, and after how long it is stuck.
    fn assert_times(&self, order: &Order) {
        let own = (order.warn_after, order.critical_after);
        assert_eq!(own, self.patience.durations(), "it has other thresholds");
        let accepted_ns = order.receipt.accepted_at.as_unix_ns();
        let instant_ns = order.expires_at.map(|instant| instant.as_unix_ns() - accepted_ns);
        let expected = self.expires_in.filter(|_| order.refusal.is_none());
        assert_eq!(instant_ns.map(Duration::from_nanos), expected, "it expires at another time");
    }
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
    /// The steps that a call of now asks for.
    moving: Vec<(Key, Wish)>,
    /// What a call of now notes.
    noting: Option<(Key, Words)>,
    pub(super) holds: Holds,
    pub(super) batches: Batches,
    pub(super) alarms: Alarms,
    pub(super) posts: Posts,
    pub(super) followed: Followed,
    pub(super) lifecycle: Lifecycle,
    /// The first record is a table of states.
    has_table: bool,
}

/// The table that a ledger is opened with.
pub(super) fn lifecycle(plan: &Plan) -> Lifecycle {
    let table = if plan.setup.own_table { own_table() } else { Lifecycle::default() };
    if plan.setup.watched { with_thresholds(table) } else { table }
}

/// A table in which an order can go round, and needs evidence to be done.
fn own_table() -> Lifecycle {
    let table = Lifecycle::builder()
        .state(StateRule::new(PACKED, "packed"))
        .state(StateRule::new(LOADED, "loaded"))
        .edge(State::Accepted, PACKED)
        .edge(PACKED, LOADED)
        .edge(LOADED, PACKED)
        .edge_with(LOADED, State::Completed, [EVIDENCE])
        .edge(State::Accepted, State::Cancelled)
        .edge(PACKED, State::Cancelling)
        .edge(State::Cancelling, PACKED)
        .edge(State::Cancelling, State::Cancelled)
        .edge(State::Accepted, State::Failed);
    table.build().unwrap()
}

/// The name of the evidence that is brought.
pub(super) const EVIDENCE: &str = "signed_by";

fn submission(key: Key, content: &Content) -> Submission {
    let mut payload = match content.word {
        Word::Good => b"ok".to_vec(),
        Word::No => b"no".to_vec(),
        Word::Later => b"later".to_vec(),
    };
    payload.extend(Random::new(key as u64).bytes(content.bytes));
    let client = ["web", "till"][key % 2];
    let order = Submission::new(client, format!("key-{key}"), payload);
    let order = order.account(format!("account {}", key % 5));
    let order = match expires_in(content) {
        Some(duration) => order.expires_in(duration),
        None => order,
    };
    with_patience(order, content.patience)
}

fn expires_in(content: &Content) -> Option<Duration> {
    content.expires_in_us.map(Duration::from_micros)
}

impl Book {
    pub(super) fn new(plan: &Plan) -> Book {
        let known = plan.orders.iter().enumerate().map(|(key, content)| Known {
            submission: submission(key, content),
            word: content.word,
            expires_in: expires_in(content),
            patience: content.patience,
            fate: Fate::Free,
            track: Track::default(),
        });
        Book {
            known: known.collect(),
            validator: plan.setup.validator,
            on_the_way: BTreeSet::new(),
            seen_early: BTreeSet::new(),
            doubted: BTreeSet::new(),
            moving: Vec::new(),
            noting: None,
            holds: Holds::default(),
            batches: Batches::default(),
            alarms: Alarms::default(),
            posts: Posts::default(),
            followed: Followed::default(),
            lifecycle: lifecycle(plan),
            has_table: plan.setup.own_table || plan.setup.watched,
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

    /// Somebody saw this order and its steps: they are owed from now on. `own`: by the ledger itself.
    pub(super) fn shown(&mut self, told: &Told, own: bool, may_lose: bool) {
        let order = &told.order;
        let key = self.key_of(order);
        let moving = self.moving.iter().filter(|(other, _)| *other == key);
        let moving = moving.map(|(_, wish)| wish.clone()).collect();
        self.known[key].assert_times(order);
        self.known[key].track.shown(&told.steps(), own, may_lose, moving);
        let noting = self.noting.as_ref().filter(|(other, _)| *other == key);
        let noting = noting.map(|(_, words)| words);
        self.known[key].track.notes.shown(&told.notes(), own, may_lose, noting);
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

    /// An order is handed in.
    pub(super) fn hands_in(&mut self, key: Key) {
        self.on_the_way.insert(key);
        self.holds.meets(key);
    }

    /// All that was on its way has its answer, or never gets one.
    pub(super) fn nothing_on_the_way(&mut self) {
        self.on_the_way.clear();
        self.holds.nothing_on_the_way();
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
        self.batches.life_has_ended();
        self.alarms.life_has_ended();
        self.posts.life_has_ended();
        self.known.iter_mut().for_each(|known| known.track.life_has_ended());
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
                    Fate::Acknowledged(receipt) => {
                        assert_eq!(*receipt, outcome.receipt);
                        let expires = known.expires_in.is_some();
                        let track = &mut known.track;
                        let stood = track.stood(receipt.first_state, outcome.now)
                            || expires && track.has_expired(receipt.first_state, outcome.now);
                        assert!(stood, "it never stood there: {outcome:?}");
                    }
                    Fate::Free => {
                        assert!(!refused && !later);
                        assert!(self.holds.may_be_taken(key), "taken, and it was held");
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
                let refused = match refusal.code {
                    Refusal::HELD => self.holds.may_be_refused(key, refusal),
                    _ => refused && self.holds.may_be_taken(key),
                };
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

    /// The order of a key, when it is there.
    pub(super) fn receipt(&self, key: Key) -> Option<Receipt> {
        match &self.known[key].fate {
            Fate::Acknowledged(receipt) | Fate::Refused(receipt, _) => Some(*receipt),
            Fate::Free | Fate::InDoubt => None,
        }
    }

    /// Where the order of a key stands.
    pub(super) fn now(&self, key: Key) -> Option<(State, u64)> {
        let receipt = self.receipt(key)?;
        Some(self.known[key].track.now(receipt.first_state))
    }

    /// The instant at which the order of a key expires.
    pub(super) fn expires_at(&self, key: Key) -> Option<Timestamp> {
        let duration = self.known[key].expires_in?;
        let ns = u64::try_from(duration.as_nanos()).unwrap();
        let Fate::Acknowledged(receipt) = &self.known[key].fate else { return None };
        Some(Timestamp::from_unix_ns(receipt.accepted_at.as_unix_ns() + ns))
    }

    /// What has expired was recorded, or that has failed.
    pub(super) fn swept(&mut self, poisoned: bool) {
        for known in self.known.iter_mut().filter(|known| known.expires_in.is_some()) {
            known.track.swept(poisoned);
        }
    }

    /// What was to be recorded about orders that nobody knows by name is in doubt.
    pub(super) fn others_failed(&mut self) {
        self.known.iter_mut().for_each(|known| known.track.others_failed = true);
    }

    /// Orders are asked to take these steps.
    pub(super) fn asks(&mut self, moves: &[(Key, Wish)]) {
        self.moving = moves.to_vec();
    }

    /// Takes in the answers of those who asked for steps, and answers which are in doubt now.
    pub(super) fn moved(
        &mut self,
        answers: Vec<Result<Transitioned, Error>>,
        trouble: Trouble,
        wall: Timestamp,
        figures: &mut Figures,
    ) -> Vec<(Key, Wish)> {
        let moving = std::mem::take(&mut self.moving);
        assert_eq!(answers.len(), moving.len());
        let mut ahead: Vec<_> =
            self.known.iter_mut().map(|known| known.track.take_ahead()).collect();
        let early: usize = ahead.iter().map(|steps| steps.len()).sum();
        figures.moves_seen_early += early as u64;
        let mut doubts = Vec::new();
        for ((key, wish), answer) in moving.into_iter().zip(answers) {
            let receipt = self.receipt(key).expect("only orders that are there are asked");
            let invisible = trouble.poisoned && self.doubted.contains(&key);
            let expires_at = self.expires_at(key);
            let track = &mut self.known[key].track;
            let about = About { trouble, invisible, expires_at, wall };
            let came =
                track.answered(&receipt, &wish, answer, &self.lifecycle, &mut ahead[key], about);
            figures.longest_life = figures.longest_life.max(track.steps() as u64);
            match came {
                Came::Taken => figures.moved += 1,
                Came::Replayed => figures.moves_replayed += 1,
                Came::Refused => figures.moves_refused += 1,
                Came::Mismatched => figures.versions_missed += 1,
                Came::Conflicted => figures.moves_in_conflict += 1,
                Came::Expired => figures.expired_told += 1,
                Came::Failed => {}
                Came::InDoubt => doubts.push((key, wish)),
            }
        }
        // That an order has expired was perhaps recorded before, and told to nobody by a repeat of a command.
        for (known, left) in self.known.iter_mut().zip(&mut ahead) {
            known.track.keep_expiry(left);
        }
        assert!(ahead.iter().all(|left| left.is_empty()), "seen, and nobody was told: {ahead:?}");
        doubts
    }

    /// Somebody is about to note this.
    pub(super) fn notes(&mut self, key: Key, words: &Words) {
        self.noting = Some((key, words.clone()));
    }

    /// Takes in the answer; true when it is in doubt.
    pub(super) fn noted(
        &mut self,
        answer: Result<Noted, Error>,
        trouble: Trouble,
        figures: &mut Figures,
    ) -> bool {
        let (key, words) = self.noting.take().expect("somebody has asked");
        let receipt = self.receipt(key).expect("only orders that are there are asked about");
        let invisible = trouble.poisoned && self.doubted.contains(&key);
        let track = &mut self.known[key].track;
        let came = track.noted(receipt.order, &words, answer, (trouble, invisible));
        figures.most_notes = figures.most_notes.max(track.notes.count() as u64);
        match came {
            Came::Taken => figures.noted += 1,
            Came::Replayed => figures.notes_replayed += 1,
            Came::Conflicted => figures.notes_in_conflict += 1,
            Came::Refused => figures.notes_refused += 1,
            Came::Mismatched | Came::Expired | Came::Failed | Came::InDoubt => {}
        }
        came == Came::InDoubt
    }

    /// The notes that wait to be resolved, of all orders.
    pub(super) fn open_notes(&self) -> Vec<u64> {
        let open = self.known.iter().flat_map(|known| known.track.notes.open());
        let mut open: Vec<u64> = open.map(|note| note.0).collect();
        open.sort_unstable();
        open
    }

    /// When the last record was written that somebody was told of.
    pub(super) fn latest_at(&self) -> Timestamp {
        let of_orders = self.known.iter().filter_map(|known| {
            let Fate::Acknowledged(receipt) = &known.fate else { return None };
            Some(known.track.latest_at().map_or(receipt.accepted_at, |at| at))
        });
        of_orders.fold(self.alarms.latest_at(), Ord::max)
    }

    /// Orders, steps, notes, batches, cursors and holds account for every seq.
    pub(super) fn dense(&self, seen: &Seen) {
        let all = &seen.orders;
        let (gaps, next) = gaps(all, &Alarms::of_no_order(&seen.alerts), self.has_table);
        match self.holds.have_been() {
            true => drop(self.holds.account_for(&gaps, next)),
            false => drop(self.batches.account_for(all, &gaps, next)),
        }
    }

    /// How many orders there must be.
    pub(super) fn owed(&self) -> usize {
        let is_owed = |fate: &Fate| matches!(fate, Fate::Acknowledged(_) | Fate::Refused(..));
        let known = self.known.iter().filter(|known| is_owed(&known.fate)).count();
        known + self.batches.owed().len()
    }
}
