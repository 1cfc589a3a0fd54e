//! What waits to be written: the entries of the next round, and the keys that are in flight.
//!
//! Always true, under the one lock: a key is in flight from before its entry is queued until after the
//! tables hold it (or it has failed); whoever sets `leading` and nobody else writes, until it is cleared.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::round::Round;
use crate::admission::gate::Gate;
use crate::order::fingerprint::{Content, Salt};
use crate::order::{Fingerprint, Refusal, Submission};
use crate::tables::hash::KeyHash;
use crate::wal::record::Encoded;

/// (client, key) as one row of bytes: the length of the client, the client, the key.
pub(crate) type ScopedKey = Box<[u8]>;

pub(crate) fn scoped_key(client: &[u8], key: &[u8]) -> ScopedKey {
    // The length fits a byte: a client has at most 64.
    let length = u8::try_from(client.len()).unwrap_or(u8::MAX);
    [&[length], client, key].concat().into()
}

/// A record that waits for its group, with what is needed to answer for it.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) key: ScopedKey,
    pub(crate) hash: KeyHash,
    pub(crate) client: Box<[u8]>,
    pub(crate) record: Encoded,
    pub(crate) salt: Salt,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) own_fingerprint: bool,
    pub(crate) refusal: Option<Refusal>,
}

impl Pending {
    /// Bytes that it counts for in the queue.
    pub(crate) fn bytes(&self) -> usize {
        self.record.bytes.len()
    }

    /// Whether a submission under the same key has the same content.
    pub(crate) fn is_same(&self, content: &Content<'_>) -> bool {
        content.own_fingerprint.is_some() == self.own_fingerprint
            && content.fingerprint(&self.salt) == self.fingerprint
    }
}

/// The place of an entry whose answer is on its way.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) round: Arc<Round>,
    pub(crate) index: usize,
    pub(crate) pending: Arc<Pending>,
}

/// A key that is in flight.
#[derive(Debug)]
pub(crate) enum InFlight {
    /// The validator looks at its order.
    Validating,
    /// Its record is queued, or is being written.
    Queued(Place),
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) gate: Gate,
    pub(crate) in_flight: HashMap<ScopedKey, InFlight>,
    /// Keys of the group that poisoned the ledger: they may be on disk, and until it is opened again
    /// nobody can say. At most those of one round.
    pub(crate) in_doubt: HashSet<ScopedKey>,
    pub(crate) entries: Vec<Arc<Pending>>,
    /// The round in which `entries` will be written.
    pub(crate) round: Arc<Round>,
    /// Somebody writes, or has taken it on to write.
    pub(crate) leading: bool,
    /// The writer's duty waits for the commit thread.
    pub(crate) handed_over: bool,
    /// Entries that are being written, taken out of `entries`.
    pub(crate) closing: bool,
    pub(crate) closed: bool,
}

impl Queue {
    pub(crate) fn new(gate: Gate) -> Queue {
        Queue {
            gate,
            in_flight: HashMap::new(),
            in_doubt: HashSet::new(),
            entries: Vec::new(),
            round: Arc::default(),
            leading: false,
            handed_over: false,
            closing: false,
            closed: false,
        }
    }

    /// Queues an entry and names its place. The caller has asked the gate.
    pub(crate) fn push(&mut self, pending: Arc<Pending>) -> Place {
        let place = Place {
            round: Arc::clone(&self.round),
            index: self.entries.len(),
            pending: Arc::clone(&pending),
        };
        self.in_flight.insert(pending.key.clone(), InFlight::Queued(place.clone()));
        self.entries.push(pending);
        place
    }

    /// Takes what waits, for one round; `None` when nothing does.
    pub(crate) fn take(&mut self) -> Option<(Vec<Arc<Pending>>, Arc<Round>)> {
        if self.entries.is_empty() {
            return None;
        }
        Some((std::mem::take(&mut self.entries), std::mem::take(&mut self.round)))
    }

    /// The entries of a round have their answers: their keys are in flight no more.
    pub(crate) fn leave(&mut self, entries: &[Arc<Pending>]) {
        for pending in entries {
            self.in_flight.remove(&pending.key);
            self.gate.leave(&pending.client, pending.bytes());
        }
    }
}

/// The client and key of a submission, and the hash they are found by.
#[derive(Debug)]
pub(crate) struct Named<'a> {
    pub(crate) submission: &'a Submission,
    pub(crate) key: ScopedKey,
    pub(crate) hash: KeyHash,
}
