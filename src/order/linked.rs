//! Several things that are done together, or not at all, and the answer.

use sha2::{Digest, Sha256};

use super::dispatch::{About, Dispatch, Dispatched};
use super::event::Event;
use super::fingerprint::Salt;
use super::id::{Seq, Timestamp};
use super::note::{Note, Noted, Resolution};
use super::receipt::{How, Outcome};
use super::submission::Submission;
use super::transition::{Expect, Transition, Transitioned};

/// Separates these hashes from every other use of SHA-256.
const DOMAIN: &[u8] = b"order-ledger/linked";
/// Stored implicitly by the version of the record that holds the salt.
const VERSION: u32 = 1;

/// Submissions, steps, notes and dispatches that are recorded together, or not at all.
///
/// **All or nothing**: the whole batch is one write under one checksum. After any crash or power cut all of
/// it is there, or none. When one member can't be taken, nothing is recorded, and
/// [`ErrorKind::BatchMember`](crate::ErrorKind::BatchMember) names the first such member.
///
/// **Idempotency**: the key of the batch stands for the whole, in the scope of the ledger. The same members
/// under the same key are answered as they were the first time. The keys of the orders in it are taken as
/// by [`Ledger::submit`](crate::Ledger::submit): afterwards each order is found by its own.
///
/// **Limits**: 1 to [`BATCH_MEMBERS_MAX`](crate::limits::BATCH_MEMBERS_MAX) members,
/// [`BATCH_BYTES_MAX`](crate::limits::BATCH_BYTES_MAX) bytes together; an order takes at most one step in a
/// batch, and steps and notes are of orders that exist before it.
///
/// ```
/// use order_ledger::{Ledger, LinkedBatch, LinkedResult, State, Submission, Transition};
/// # let dir = tempfile::tempdir().unwrap();
/// let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
/// let cart = ledger.submit(&Submission::new("web-shop", "cart-17", "tea and a cup"))?.receipt.order;
/// // The cart is split into two parcels: both exist and the cart is done, or nothing happened.
/// let split = LinkedBatch::new("split-17")
///     .submit(Submission::new("web-shop", "cart-17/1", "tea"))
///     .submit(Submission::new("web-shop", "cart-17/2", "a cup"))
///     .transition(Transition::new(cart, State::Completed));
/// let done = ledger.linked(&split)?;
/// let LinkedResult::Submitted(parcel) = &done.results[0] else { unreachable!() };
/// assert_eq!(ledger.get(parcel.receipt.order)?.unwrap().batch, Some(done.batch));
/// assert_eq!(ledger.linked(&split)?.batch, done.batch, "once");
/// # Ok::<(), order_ledger::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkedBatch {
    pub(crate) key: Vec<u8>,
    pub(crate) members: Vec<Member>,
    /// Set by the consumer whose cursor moves with the batch.
    pub(crate) cursor: Option<CursorMove>,
}

/// One thing that a batch does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Member {
    Submission(Submission),
    Transition(Transition),
    Note(Note),
    Resolution(Resolution),
    Dispatch(Dispatch),
}

/// A consumer's cursor that moves with a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CursorMove {
    pub(crate) consumer: String,
    pub(crate) epoch: u64,
    /// The event that it was asked to be moved behind.
    pub(crate) seq: Seq,
    /// Where it will stand: behind what it passed over as well.
    pub(crate) next: Seq,
}

impl LinkedBatch {
    /// A batch without members under this key: 1 to 255 bytes, made before the first attempt.
    #[must_use]
    pub fn new(key: impl Into<Vec<u8>>) -> LinkedBatch {
        LinkedBatch { key: key.into(), members: Vec::new(), cursor: None }
    }

    /// A batch that takes one order, for what is to happen with it: its key follows from the order's, so that the same
    /// call is the same batch. The order is member 0.
    #[must_use]
    pub fn of_order(order: Submission) -> LinkedBatch {
        LinkedBatch::new(derived_key(1, &[&order.client, &order.key])).submit(order)
    }

    /// A batch that has an order take one step, for what is to happen with it: its key follows from the order and the
    /// command key, without which two such batches of an order would be the same. The step is member 0.
    #[must_use]
    pub fn of_step(step: Transition) -> LinkedBatch {
        let order = step.order.as_u64().to_le_bytes();
        LinkedBatch::new(derived_key(2, &[&order, &step.command_key])).transition(step)
    }

    /// Adds an order that is to be taken.
    #[must_use]
    pub fn submit(mut self, submission: Submission) -> LinkedBatch {
        self.members.push(Member::Submission(submission));
        self
    }

    /// Adds a step that an order is to take.
    #[must_use]
    pub fn transition(mut self, transition: Transition) -> LinkedBatch {
        self.members.push(Member::Transition(transition));
        self
    }

    /// Adds something that is to be noted about an order that exists.
    #[must_use]
    pub fn note(mut self, note: Note) -> LinkedBatch {
        self.members.push(Member::Note(note));
        self
    }

    /// Adds what resolves an open note that exists.
    #[must_use]
    pub fn resolve_note(mut self, resolution: Resolution) -> LinkedBatch {
        self.members.push(Member::Resolution(resolution));
        self
    }

    /// Adds something that a third party is to be told, about an order that exists or about one that a member in front
    /// of it takes ([`Dispatch::of_member`]).
    #[must_use]
    pub fn dispatch(mut self, dispatch: Dispatch) -> LinkedBatch {
        self.members.push(Member::Dispatch(dispatch));
        self
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// How many members it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Stands for everything that makes two batches the same. Each part is preceded by its length or has a
    /// fixed one, so that different batches have different pre-images.
    ///
    /// Not in it: the epoch of a consumer, and how far it passed over what it did not want. Whoever
    /// repeats a batch after a restart has others.
    pub(crate) fn fingerprint(&self, salt: &Salt) -> [u8; 32] {
        let mut hash = Sha256::new();
        let number = |hash: &mut Sha256, number: u64| hash.update(number.to_le_bytes());
        let row = |hash: &mut Sha256, bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        hash.update(salt);
        hash.update(DOMAIN);
        hash.update(VERSION.to_le_bytes());
        number(&mut hash, self.members.len() as u64);
        for member in &self.members {
            match member {
                Member::Submission(submission) => {
                    hash.update([1, u8::from(submission.own_fingerprint.is_some())]);
                    row(&mut hash, &submission.client);
                    row(&mut hash, &submission.key);
                    hash.update(submission.content().fingerprint(salt).0);
                }
                Member::Transition(step) => {
                    hash.update([2, step.to.number()]);
                    number(&mut hash, step.order.as_u64());
                    let (sort, value) = match step.expect {
                        Expect::Anything => (0, 0),
                        Expect::Version(version) => (1, version),
                        Expect::State(state) => (2, state.number().into()),
                    };
                    number(&mut hash, sort);
                    number(&mut hash, value);
                    row(&mut hash, &step.command_key);
                    row(&mut hash, step.reason.as_bytes());
                    number(&mut hash, step.evidence.len() as u64);
                    for piece in &step.evidence {
                        row(&mut hash, piece.name.as_bytes());
                        row(&mut hash, &piece.value);
                    }
                }
                Member::Note(note) => {
                    hash.update([3, note.kind.number(), u8::from(note.asks)]);
                    number(&mut hash, note.order.as_u64());
                    for field in [&note.author, &note.command_key, &note.text] {
                        row(&mut hash, field);
                    }
                }
                Member::Dispatch(dispatch) => {
                    let (sort, of) = match dispatch.about {
                        About::Order(order) => (0, order.as_u64()),
                        About::Member(index) => (1, index as u64),
                    };
                    hash.update([6, sort]);
                    number(&mut hash, of);
                    for field in [dispatch.route.as_bytes(), &dispatch.command_key, &dispatch.body]
                    {
                        row(&mut hash, field);
                    }
                }
                Member::Resolution(resolution) => {
                    hash.update([4]);
                    number(&mut hash, resolution.order.as_u64());
                    number(&mut hash, resolution.note.0);
                    for field in [&resolution.author, &resolution.command_key, &resolution.text] {
                        row(&mut hash, field);
                    }
                }
            }
        }
        if let Some(cursor) = &self.cursor {
            hash.update([5]);
            row(&mut hash, cursor.consumer.as_bytes());
            number(&mut hash, cursor.seq.0);
        }
        hash.finalize().into()
    }
}

/// The key of a batch that stands for one thing of this sort.
fn derived_key(sort: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(b"order-ledger/linked-of");
    hash.update([sort]);
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}

/// A batch that is recorded.
///
/// **Durability**: when you hold one, all of it is on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Linked {
    /// The name of the batch: the record at its head.
    pub batch: Seq,
    /// When it was committed, in ledger time.
    pub at: Timestamp,
    /// Whether this call recorded it.
    pub how: How,
    /// What became of each member, in the order in which they were added.
    pub results: Vec<LinkedResult>,
}

/// What became of one member of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LinkedResult {
    /// An order was taken.
    Submitted(Outcome),
    /// An order took a step.
    Moved(Transitioned),
    /// Something was noted about an order, or a note was resolved.
    Noted(Noted),
    /// A third party is to be told something about an order.
    Dispatched(Dispatched),
}

/// A batch as the log tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Batch {
    /// Its name: the record at its head.
    pub batch: Seq,
    /// When it was committed, in ledger time.
    pub at: Timestamp,
    /// Its key. Source: the caller.
    pub key: Vec<u8>,
    /// What it did to orders, in the order in which its members were added.
    pub events: Vec<Event>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::{NoteKind, OrderId, State};

    fn step(order: u64) -> Transition {
        Transition::new(OrderId::new(0, Seq(order)), State::Completed)
    }

    fn dispatch(order: u64, route: &str, body: &str) -> Dispatch {
        Dispatch::new(OrderId::new(0, Seq(order)), route, body)
    }

    #[test]
    fn a_batch_of_one_thing_has_a_key_of_its_own() {
        let order = |client: &str, key: &str| Submission::new(client, key, "tea");
        let batches = [
            LinkedBatch::of_order(order("a", "bc")),
            LinkedBatch::of_order(order("ab", "c")),
            LinkedBatch::of_step(step(1).command_key("a")),
            LinkedBatch::of_step(step(2).command_key("a")),
            LinkedBatch::of_step(step(1).command_key("b")),
        ];
        let keys: std::collections::HashSet<_> = batches.iter().map(LinkedBatch::key).collect();
        assert_eq!(keys.len(), batches.len());
        let other_content = Submission::new("a", "bc", "coffee");
        assert_eq!(LinkedBatch::of_order(other_content).key(), batches[0].key());
    }

    fn note(order: u64, text: &str) -> Note {
        Note::new(OrderId::new(0, Seq(order)), NoteKind::Feedback, text)
    }

    fn resolution(order: u64, note: u64) -> Resolution {
        Resolution::new(OrderId::new(0, Seq(order)), Seq(note), "done")
    }

    /// Whatever is different is told apart, and what is the same is not.
    #[test]
    fn rule_23_two_batches_are_the_same_only_if_every_member_is() {
        let order = |client: &str, key: &str| Submission::new(client, key, "tea");
        let cursor =
            |seq| CursorMove { consumer: "c".into(), epoch: 1, seq: Seq(seq), next: Seq(9) };
        let with_cursor = |seq| LinkedBatch {
            cursor: Some(cursor(seq)),
            ..LinkedBatch::new("k").submit(order("a", "b"))
        };
        let empty = || LinkedBatch::new("k");
        let batches = [
            empty(),
            empty().submit(order("a", "bc")),
            empty().submit(order("ab", "c")),
            empty().submit(order("a", "bc").account("x")),
            empty().submit(order("a", "bc")).submit(order("a", "bc")),
            empty().submit(order("a", "bc").fingerprint(crate::Fingerprint([7; 32]))),
            empty().submit(order("a", "b")).transition(step(1)),
            empty().transition(step(1)).submit(order("a", "b")),
            empty().transition(step(1)),
            empty().transition(step(2)),
            empty().transition(step(1).expect_version(1)),
            empty().transition(step(1).expect_state(State::Accepted)),
            empty().transition(step(1).command_key("a")),
            empty().transition(step(1).reason("a")),
            empty().transition(step(1).evidence("a", "bc")),
            empty().transition(step(1).evidence("ab", "c")),
            empty().transition(step(1).evidence("a", "b").evidence("c", "")),
            empty().submit(order("a", "b")),
            empty().note(note(1, "a")),
            empty().note(note(2, "a")),
            empty().note(note(1, "b")),
            empty().note(note(1, "a").open()),
            empty().note(note(1, "a").author("x")),
            empty().note(note(1, "a").command_key("x")),
            empty().resolve_note(resolution(1, 2)),
            empty().resolve_note(resolution(1, 3)),
            empty().resolve_note(resolution(2, 2)),
            empty().resolve_note(resolution(1, 2).author("x")),
            empty().dispatch(dispatch(1, "a", "b")),
            empty().dispatch(dispatch(2, "a", "b")),
            empty().dispatch(dispatch(1, "b", "b")),
            empty().dispatch(dispatch(1, "a", "c")),
            empty().dispatch(dispatch(1, "a", "b").command_key("x")),
            empty().submit(order("a", "b")).dispatch(Dispatch::of_member(0, "a", "b")),
            LinkedBatch::of_order(order("a", "b")).submit(order("a", "c")),
            with_cursor(1),
            with_cursor(2),
        ];
        for (index, batch) in batches.iter().enumerate() {
            assert_eq!(batch.fingerprint(&[1; 16]), batch.clone().fingerprint(&[1; 16]));
            assert_ne!(batch.fingerprint(&[1; 16]), batch.fingerprint(&[2; 16]), "the salt");
            for other in &batches[..index] {
                assert_ne!(
                    batch.fingerprint(&[1; 16]),
                    other.fingerprint(&[1; 16]),
                    "{batch:?} {other:?}"
                );
            }
        }
        let mut later = with_cursor(1);
        later.cursor = Some(CursorMove { epoch: 2, next: Seq(20), ..cursor(1) });
        assert_eq!(later.fingerprint(&[1; 16]), with_cursor(1).fingerprint(&[1; 16]));
    }
}
