//! What waits to be written: the entries of the next round, and the keys that are in flight.
//!
//! Always true, under the one lock: a key is in flight from before its entry is queued until after the
//! tables hold it (or it has failed); whoever sets `leading` and nobody else writes, until it is cleared.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use smallvec::SmallVec;

use super::round::Round;
use crate::admission::gate::{Gate, GateLimits};
use crate::admission::transition::Step;
use crate::mix::AsIs;
use crate::order::fingerprint::{Content, Salt};
use crate::order::{AlertKind, AlertSubject, Fingerprint, Refusal, Seq, Submission};
use crate::tables::hash::{KeyHash, RecordKeys};
use crate::wal::frame::Frame;
use crate::wal::record::Encoded;

/// Bytes of a client and a key together that need no allocation: a UUID in digits and a client of 28 bytes.
const KEY_INLINE_BYTES: usize = 64;

/// (client, key) as one row of bytes, with the hash they are found by.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct ScopedKey {
    pub(crate) hash: KeyHash,
    client_bytes: usize,
    /// The client, then the key.
    bytes: SmallVec<[u8; KEY_INLINE_BYTES]>,
}

impl ScopedKey {
    pub(crate) fn new(hash: KeyHash, client: &[u8], key: &[u8]) -> ScopedKey {
        let mut bytes = SmallVec::with_capacity(client.len() + key.len());
        bytes.extend_from_slice(client);
        bytes.extend_from_slice(key);
        ScopedKey { hash, client_bytes: client.len(), bytes }
    }

    /// What the steps of an order and the notes about it are in flight under, found by this hash: at most one at a time.
    pub(crate) fn of_order(hash: KeyHash, order: Seq) -> ScopedKey {
        ScopedKey::of_existing(hash, b'o', &order.0.to_le_bytes())
    }

    /// The same for the cursors of a consumer.
    pub(crate) fn of_consumer(hash: KeyHash, name: &str) -> ScopedKey {
        ScopedKey::of_existing(hash, b'c', name.as_bytes())
    }

    /// The same for holds on a client, an account, or both.
    pub(crate) fn of_hold(hash: KeyHash, client: &[u8], account: &[u8]) -> ScopedKey {
        let length = u8::try_from(client.len()).unwrap_or(u8::MAX);
        ScopedKey::of_existing(hash, b'h', &[&[length], client, account].concat())
    }

    /// The same for alerts of a kind about a subject that is no order.
    pub(crate) fn of_alert(hash: KeyHash, subject: &AlertSubject, kind: AlertKind) -> ScopedKey {
        let seq = subject.seq().0.to_le_bytes();
        let numbers = [subject.number(), kind.number()];
        ScopedKey::of_existing(hash, b'a', &[&numbers, &seq[..], subject.name_bytes()].concat())
    }

    /// The same for what becomes of a dispatch.
    pub(crate) fn of_dispatch(hash: KeyHash, dispatch: Seq) -> ScopedKey {
        ScopedKey::of_existing(hash, b'd', &dispatch.0.to_le_bytes())
    }

    /// The same for a linked batch.
    pub(crate) fn of_linked(hash: KeyHash, key: &[u8]) -> ScopedKey {
        ScopedKey::of_existing(hash, b'b', key)
    }

    /// The same for the lifecycle.
    pub(crate) fn of_lifecycle(hash: KeyHash) -> ScopedKey {
        ScopedKey::of_existing(hash, b'l', &[])
    }

    /// No client is empty, so no submission has such a key; `sort` keeps them apart from each other.
    fn of_existing(hash: KeyHash, sort: u8, name: &[u8]) -> ScopedKey {
        ScopedKey { client_bytes: 0, ..ScopedKey::new(hash, &[sort], name) }
    }

    pub(crate) fn client(&self) -> &[u8] {
        self.bytes.get(..self.client_bytes).unwrap_or_default()
    }
}

impl Clone for ScopedKey {
    fn clone(&self) -> ScopedKey {
        // As a whole: its own `clone` goes byte by byte.
        ScopedKey { bytes: SmallVec::from_slice(&self.bytes), ..*self }
    }
}

impl Hash for ScopedKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

/// A record that waits for its group, with what is needed to answer for it.
#[derive(Debug)]
pub(crate) struct Pending {
    /// What it is in flight under: nothing else that has this key is queued meanwhile.
    pub(crate) key: ScopedKey,
    pub(crate) record: Encoded,
    /// What the tables find it by.
    pub(crate) keys: RecordKeys,
    pub(crate) what: What,
    /// What is recorded right behind it, in the same group: the members of a linked batch. They have no
    /// members themselves.
    pub(crate) members: Vec<Pending>,
}

/// What a pending record is.
#[derive(Debug)]
pub(crate) enum What {
    /// It begins an order.
    Order(NewOrder),
    /// A step of an order that exists.
    Step(Step),
    /// A note about an order that exists, or what resolves one.
    Remark,
    /// How far a consumer is.
    Cursor,
    /// The ledger's lifecycle.
    Lifecycle,
    /// A hold on a client or an account, or its end.
    Hold,
    /// Something that happened to an alert.
    Alert,
    /// What a third party is to be told about the order that began `back` records in front of this one, and is found
    /// by that only when it is written; 0: about one that exists.
    Dispatch { back: u16 },
    /// What becomes of that.
    Pursuit,
    /// The head of a linked batch. A batch that takes orders waits in their lane, in the share of the first
    /// one's client, which is empty when it takes none.
    Linked { client: Vec<u8> },
}

/// What the receipt of a new order needs.
#[derive(Debug)]
pub(crate) struct NewOrder {
    pub(crate) mark: Mark,
    pub(crate) refusal: Option<Refusal>,
}

/// What an order is told by from others under its key, while it is on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) salt: Salt,
    pub(crate) fingerprint: Fingerprint,
    /// It is the caller's own.
    pub(crate) own_fingerprint: bool,
}

impl Mark {
    /// Whether a submission under the same key has the same content. Hashes it.
    pub(crate) fn is_of(&self, content: &Content<'_>) -> bool {
        content.own_fingerprint.is_some() == self.own_fingerprint
            && content.fingerprint(&self.salt) == self.fingerprint
    }
}

impl Pending {
    /// One that is recorded by itself.
    pub(crate) fn single(key: ScopedKey, record: Encoded, keys: RecordKeys, what: What) -> Pending {
        Pending { key, record, keys, what, members: Vec::new() }
    }

    /// Bytes that it counts for in the queue.
    pub(crate) fn bytes(&self) -> usize {
        self.record.bytes.len() + self.members.iter().map(Pending::bytes).sum::<usize>()
    }

    /// Bytes of its records in a group.
    pub(crate) fn group_bytes(&self) -> usize {
        let members = self.members.iter().map(Pending::group_bytes).sum::<usize>();
        Frame::bytes_for(self.record.bytes.len()) + members
    }

    /// It is written, or never will be; what its answer needs stays.
    pub(crate) fn let_go_of_records(&mut self) {
        self.record.bytes = Vec::new();
        self.members = Vec::new();
    }

    /// All that is recorded with it, in the order of their seqs: itself, then its members.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Pending> {
        std::iter::once(self).chain(&self.members)
    }

    /// In whose share of the queue it is counted.
    pub(crate) fn charged_to(&self) -> &[u8] {
        match &self.what {
            What::Linked { client } => client,
            _ => self.key.client(),
        }
    }

    /// What it is told by from other submissions, when it is one by itself.
    fn mark(&self) -> Option<Mark> {
        match &self.what {
            What::Order(order) => Some(order.mark),
            What::Step(_)
            | What::Remark
            | What::Cursor
            | What::Lifecycle
            | What::Hold
            | What::Alert
            | What::Dispatch { .. }
            | What::Pursuit
            | What::Linked { .. } => None,
        }
    }

    /// Whether it finishes what is there already: it has a lane of its own, so that new orders can't keep
    /// it out (SEMANTICS rule 33).
    pub(crate) fn is_of_existing(&self) -> bool {
        match &self.what {
            What::Order(_) => false,
            What::Linked { client } => client.is_empty(),
            What::Step(_)
            | What::Remark
            | What::Cursor
            | What::Lifecycle
            | What::Hold
            | What::Alert
            | What::Dispatch { .. }
            | What::Pursuit => true,
        }
    }
}

/// The place of an entry whose answer is on its way.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) round: Arc<Round>,
    pub(crate) index: usize,
}

impl PartialEq for Place {
    fn eq(&self, other: &Place) -> bool {
        Arc::ptr_eq(&self.round, &other.round) && self.index == other.index
    }
}

/// A key that is in flight.
#[derive(Debug)]
pub(crate) enum InFlight {
    /// The validator looks at its order.
    Validating,
    /// Its record is queued, or is being written.
    Queued(Place),
}

/// One round, from when it is taken until its entries leave.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) entries: Arc<Vec<Pending>>,
    pub(crate) round: Arc<Round>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    /// Of new orders.
    pub(crate) gate: Gate,
    /// Of what finishes orders that exist.
    pub(crate) existing: Gate,
    pub(crate) in_flight: HashMap<ScopedKey, InFlight, BuildHasherDefault<AsIs>>,
    /// Keys of the group that poisoned the ledger: they may be on disk, and until it is opened again
    /// nobody can say. At most those of one round.
    pub(crate) in_doubt: HashSet<ScopedKey, BuildHasherDefault<AsIs>>,
    pub(crate) entries: Vec<Pending>,
    /// The round in which `entries` will be written.
    pub(crate) round: Arc<Round>,
    /// What is being written: whoever writes has it as well, and nobody else once it has left.
    taken: Option<Taken>,
    /// Somebody writes, or has taken it on to write.
    pub(crate) leading: bool,
    /// The writer's duty waits for the commit thread.
    pub(crate) handed_over: bool,
    /// Somebody waits for one of `entries`. Else they are written a little later, and with more company.
    pub(crate) hurried: bool,
    /// The commit thread sleeps, and looks at `entries` by itself.
    pub(crate) lingers: bool,
    /// Rounds that were taken.
    pub(crate) rounds: u64,
    /// Nothing more is taken in.
    pub(crate) closing: bool,
    /// Everything that was taken in is written, or has failed.
    pub(crate) closed: bool,
}

impl Queue {
    pub(crate) fn new(limits: GateLimits) -> Queue {
        let whole = GateLimits { client_share_percent: 100, ..limits };
        Queue {
            gate: Gate::new(limits),
            existing: Gate::new(whole),
            in_flight: HashMap::default(),
            in_doubt: HashSet::default(),
            entries: Vec::new(),
            round: Arc::default(),
            taken: None,
            leading: false,
            handed_over: false,
            hurried: false,
            lingers: false,
            rounds: 0,
            closing: false,
            closed: false,
        }
    }

    /// Queues an entry and names its place. The caller has asked the gate.
    pub(crate) fn push(&mut self, pending: Pending) -> Place {
        let place = Place { round: Arc::clone(&self.round), index: self.entries.len() };
        for part in pending.all() {
            self.in_flight.insert(part.key.clone(), InFlight::Queued(place.clone()));
        }
        self.entries.push(pending);
        place
    }

    /// What the order that is in flight at `place` is told by; `None` when it is none, or one of a linked batch.
    pub(crate) fn mark_at(&self, place: &Place) -> Option<Mark> {
        let entries = match &self.taken {
            Some(taken) if Arc::ptr_eq(&taken.round, &place.round) => &taken.entries,
            _ if Arc::ptr_eq(&self.round, &place.round) => &self.entries,
            _ => return None,
        };
        entries.get(place.index).and_then(Pending::mark)
    }

    /// Takes what waits, for one round; `None` when nothing does.
    pub(crate) fn take(&mut self) -> Option<Taken> {
        if self.entries.is_empty() {
            return None;
        }
        self.hurried = false;
        self.rounds += 1;
        // The next round is mostly as large.
        let next = Vec::with_capacity(self.entries.len());
        let entries = Arc::new(std::mem::replace(&mut self.entries, next));
        let taken = Taken { entries, round: std::mem::take(&mut self.round) };
        self.taken = Some(taken.clone());
        Some(taken)
    }

    /// The entries of a round have their answers: their keys are in flight no more.
    pub(crate) fn leave(&mut self, entries: &[Pending]) {
        self.taken = None;
        for part in entries.iter().flat_map(Pending::all) {
            self.in_flight.remove(&part.key);
        }
        // Neighbours are mostly of one client, and leave together. What is of no client has its own lane.
        for together in entries.chunk_by(|one, next| one.charged_to() == next.charged_to()) {
            if let Some(first) = together.first() {
                let bytes = together.iter().map(Pending::bytes).sum();
                let records = together.iter().map(|pending| pending.all().count()).sum();
                let gate = match first.is_of_existing() {
                    true => &mut self.existing,
                    false => &mut self.gate,
                };
                gate.leave(first.charged_to(), records, bytes);
            }
        }
    }
}

/// A submission and the key it is found by.
#[derive(Debug)]
pub(crate) struct Named<'a> {
    pub(crate) submission: &'a Submission,
    pub(crate) key: ScopedKey,
}

#[cfg(all(test, not(any(order_ledger_shuttle, order_ledger_loom))))]
mod tests {
    use super::*;

    fn order(key: &str, payload: &str) -> (Submission, Pending) {
        let submission = Submission::new("web", key, payload);
        let salt = [7; 16];
        let fingerprint = submission.content().fingerprint(&salt);
        let mark = Mark { salt, fingerprint, own_fingerprint: false };
        let hash = KeyHash(9);
        let record = Encoded { kind: 1, version: 1, bytes: vec![1; 10] };
        let what = What::Order(NewOrder { mark, refusal: None });
        let key = ScopedKey::new(hash, &submission.client, &submission.key);
        (submission, Pending::single(key, record, RecordKeys::one(hash), what))
    }

    #[test]
    fn rule_5_what_an_order_is_told_by_is_known_until_it_leaves() {
        let limits = GateLimits { orders_max: 9, bytes_max: 999, client_share_percent: 100 };
        let mut queue = Queue::new(limits);
        let is_at = |queue: &Queue, place: &Place, order: &Submission| {
            queue.mark_at(place).map(|mark| mark.is_of(&order.content()))
        };
        let ((tea, first), (coffee, second)) = (order("1", "tea"), order("2", "coffee"));
        let of_tea = queue.push(first);
        assert_eq!(is_at(&queue, &of_tea, &tea), Some(true));
        assert_eq!(is_at(&queue, &of_tea, &coffee), Some(false));
        let taken = queue.take().unwrap();
        // The next round has another order in the same place.
        let of_coffee = queue.push(second);
        assert_eq!((of_tea.index, of_coffee.index), (0, 0));
        for (place, there, elsewhere) in [(&of_tea, &tea, &coffee), (&of_coffee, &coffee, &tea)] {
            assert_eq!(is_at(&queue, place, there), Some(true));
            assert_eq!(is_at(&queue, place, elsewhere), Some(false));
        }
        queue.leave(&taken.entries);
        assert_eq!(is_at(&queue, &of_tea, &tea), None);
        assert_eq!(is_at(&queue, &of_coffee, &coffee), Some(true));
        assert!(Arc::into_inner(taken.entries).is_some(), "whoever writes has them alone then");
    }

    #[test]
    fn keys_are_the_same_by_their_client_and_key_however_long() {
        let key = |client: &[u8], key: &[u8]| ScopedKey::new(KeyHash(1), client, key);
        for length in [1, KEY_INLINE_BYTES - 1, KEY_INLINE_BYTES, KEY_INLINE_BYTES + 1, 255] {
            let bytes = vec![5; length];
            let own = key(b"c", &bytes);
            assert_eq!((own.clone(), own.client()), (key(b"c", &bytes), &b"c"[..]));
            assert_ne!(own, key(b"c", &[&bytes[..], b"x"].concat()));
        }
        assert_ne!(key(b"ab", b"c"), key(b"a", b"bc"));
        assert_ne!(key(b"", b"o"), key(b"o", b""));
    }
}
