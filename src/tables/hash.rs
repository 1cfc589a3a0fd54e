//! Keys become 64-bit numbers: SipHash-2-4 under a secret of the ledger, over the length-prefixed
//! client and key. The secret keeps a hostile client from choosing keys that collide; the length keeps
//! `("ab", "c")` and `("a", "bc")` apart.
//!
//! Records are found by other keys as well: an order's steps, its notes and its corrections by the order, what
//! resolves a note by that, its dispatches by the order and what becomes of one by that, a command by its key, a
//! batch by its key, a consumer's cursors by its name, holds by whom they are on, alerts by what they are about, the
//! lifecycle by what it is. Those begin with a number where the length of the client stands,
//! and no client is so long, so that they never meet a key of a submission.
//!
//! Stored in sealed segments, so it may never change within a format version.

use siphasher::sip::SipHasher24;

use crate::order::limits::{CLIENT_BYTES_MAX, COMMAND_KEY_BYTES_MAX, KEY_BYTES_MAX};
use crate::order::{OrderId, Seq};
use crate::wal::record::{Alarm, Body, Refused, Remark};

/// What is hashed of the longest client and key.
const ROW_BYTES_MAX: usize = 8 + CLIENT_BYTES_MAX + KEY_BYTES_MAX;

// What stands in place of the length of a client. On disk: never given to another sort of key.
const STEPS_OF_ORDER: u64 = u64::MAX;
const COMMAND: u64 = u64::MAX - 1;
const LIFECYCLE: u64 = u64::MAX - 2;
const CONSUMER: u64 = u64::MAX - 3;
const PARKED: u64 = u64::MAX - 4;
const LINKED: u64 = u64::MAX - 5;
const CORRECTIONS: u64 = u64::MAX - 6;
const NOTES_OF_ORDER: u64 = u64::MAX - 8;
const RESOLUTION_OF_NOTE: u64 = u64::MAX - 9;
const HOLD: u64 = u64::MAX - 10;
const HOLDS: u64 = u64::MAX - 11;
const ALERT: u64 = u64::MAX - 30;
const ALERTS_OF_ORDER: u64 = u64::MAX - 31;
const DISPATCHES_OF_ORDER: u64 = u64::MAX - 16;
const PURSUITS_OF_DISPATCH: u64 = u64::MAX - 17;

const _: () = assert!(COMMAND_KEY_BYTES_MAX + 8 <= ROW_BYTES_MAX - 8, "a command fits into a row");

/// The keys by which one record is found; how many there are follows from its kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct RecordKeys {
    first: Option<KeyHash>,
    second: Option<KeyHash>,
}

impl RecordKeys {
    /// Of a record that is found by one key.
    pub(crate) const fn one(key: KeyHash) -> RecordKeys {
        RecordKeys { first: Some(key), second: None }
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = KeyHash> {
        self.first.into_iter().chain(self.second)
    }
}

/// The hash of a (client, key). Two keys may share one; the log tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct KeyHash(pub(crate) u64);

/// Hashes keys under the ledger's secret.
#[derive(Clone)]
pub(crate) struct KeyHasher {
    secret: [u8; 16],
}

impl std::fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHasher(secret)")
    }
}

impl KeyHasher {
    pub(crate) fn new(secret: [u8; 16]) -> KeyHasher {
        KeyHasher { secret }
    }

    pub(crate) fn hash(&self, client: &[u8], key: &[u8]) -> KeyHash {
        self.hash_row(client.len() as u64, client, key)
    }

    /// By which the steps of an order are found.
    pub(crate) fn steps_of(&self, order: Seq) -> KeyHash {
        self.hash_row(STEPS_OF_ORDER, &order.0.to_le_bytes(), &[])
    }

    /// By which the notes of an order are found. Not that of its steps: where an order stands is the newest step,
    /// and must not be looked for among a thousand notes.
    pub(crate) fn notes_of(&self, order: Seq) -> KeyHash {
        self.hash_row(NOTES_OF_ORDER, &order.0.to_le_bytes(), &[])
    }

    /// By which is found what resolves a note.
    pub(crate) fn resolution_of(&self, note: Seq) -> KeyHash {
        self.hash_row(RESOLUTION_OF_NOTE, &note.0.to_le_bytes(), &[])
    }

    /// By which a command is found that an order was given.
    pub(crate) fn command(&self, order: Seq, command_key: &[u8]) -> KeyHash {
        self.hash_row(COMMAND, &order.0.to_le_bytes(), command_key)
    }

    /// By which the lifecycles of the ledger are found.
    pub(crate) fn lifecycle(&self) -> KeyHash {
        self.hash_row(LIFECYCLE, &[], &[])
    }

    /// By which the cursors of a consumer are found.
    pub(crate) fn consumer(&self, name: &str) -> KeyHash {
        self.hash_row(CONSUMER, name.as_bytes(), &[])
    }

    /// By which the events are found that a consumer has set aside.
    pub(crate) fn parked(&self, consumer: &str) -> KeyHash {
        self.hash_row(PARKED, consumer.as_bytes(), &[])
    }

    /// By which is found what was said about this client and account, of which one may be empty.
    pub(crate) fn hold(&self, client: &[u8], account: &[u8]) -> KeyHash {
        // The border between them counts; both are short.
        let length = u8::try_from(client.len()).unwrap_or(u8::MAX);
        let account: Vec<u8> = std::iter::once(length).chain(account.iter().copied()).collect();
        self.hash_row(HOLD, client, &account)
    }

    /// By which all of that is found.
    pub(crate) fn holds(&self) -> KeyHash {
        self.hash_row(HOLDS, &[], &[])
    }

    /// The keys of a hold on this client and account, or of its end.
    pub(crate) fn keys_of_hold(&self, client: &[u8], account: &[u8]) -> RecordKeys {
        RecordKeys { first: Some(self.hold(client, account)), second: Some(self.holds()) }
    }

    /// By which is found what happened to alerts of this kind about this subject, by the numbers and the name that
    /// are stored of them. The state that an order is stuck in is left out: it is in one at a time.
    pub(crate) fn alert(&self, subject: u8, seq: u64, name: &[u8], kind: u8) -> KeyHash {
        let [a, b, c, d, e, f, g, h] = seq.to_le_bytes();
        self.hash_row(ALERT, &[subject, kind, a, b, c, d, e, f, g, h], name)
    }

    /// By which the alerts of an order are found, of every kind.
    pub(crate) fn alerts_of(&self, order: Seq) -> KeyHash {
        self.hash_row(ALERTS_OF_ORDER, &order.0.to_le_bytes(), &[])
    }

    /// The keys of what happened to an alert.
    pub(crate) fn keys_of_alarm(&self, alarm: &Alarm<'_>) -> RecordKeys {
        let first = self.alert(alarm.subject, alarm.subject_seq, alarm.subject_name, alarm.kind);
        let second = alarm.order().map(|order| self.alerts_of(order));
        RecordKeys { first: Some(first), second }
    }

    /// By which the dispatches of an order are found.
    pub(crate) fn dispatches_of(&self, order: Seq) -> KeyHash {
        self.hash_row(DISPATCHES_OF_ORDER, &order.0.to_le_bytes(), &[])
    }

    /// By which is found what becomes of a dispatch.
    pub(crate) fn pursuits_of(&self, dispatch: Seq) -> KeyHash {
        self.hash_row(PURSUITS_OF_DISPATCH, &dispatch.0.to_le_bytes(), &[])
    }

    /// The keys of a dispatch of this order. The key of the command is that of a step.
    pub(crate) fn keys_of_dispatch(&self, order: Seq, command_key: &[u8]) -> RecordKeys {
        let first = Some(self.dispatches_of(order));
        RecordKeys { first, ..self.keys_of_step(order, command_key) }
    }

    /// By which the orders are found that correct this one.
    pub(crate) fn corrections_of(&self, order: Seq) -> KeyHash {
        self.hash_row(CORRECTIONS, &order.0.to_le_bytes(), &[])
    }

    /// The keys of the record that begins an order.
    pub(crate) fn keys_of_order(&self, key: KeyHash, corrects: Option<u64>) -> RecordKeys {
        let old = corrects.map(|old| OrderId::from_u64(old).seq());
        RecordKeys { first: Some(key), second: old.map(|old| self.corrections_of(old)) }
    }

    /// By which the head of a linked batch is found.
    pub(crate) fn linked(&self, key: &[u8]) -> KeyHash {
        self.hash_row(LINKED, &[], key)
    }

    /// The keys of a cursor of this consumer.
    pub(crate) fn keys_of_cursor(&self, consumer: &str, parks: bool) -> RecordKeys {
        let second = parks.then(|| self.parked(consumer));
        RecordKeys { first: Some(self.consumer(consumer)), second }
    }

    /// The keys by which a record with this body is found.
    pub(crate) fn keys_of(&self, body: &Body<'_>) -> RecordKeys {
        match body {
            Body::Accepted(submitted) | Body::Refused(Refused { submitted, .. }) => {
                let key = self.hash(submitted.client, submitted.key);
                self.keys_of_order(key, submitted.corrects)
            }
            Body::Moved(moved) => self.keys_of_step(moved.order(), moved.command_key),
            Body::Remark(remark) => self.keys_of_remark(remark),
            Body::Cursor(cursor) => self.keys_of_cursor(cursor.consumer, cursor.parked.is_some()),
            Body::Alarm(alarm) => self.keys_of_alarm(alarm),
            Body::Lifecycle(_) => RecordKeys::one(self.lifecycle()),
            Body::Held(held) => self.keys_of_hold(held.client, held.account),
            Body::Linked(head) => RecordKeys::one(self.linked(head.key)),
            Body::Dispatched(it) => self.keys_of_dispatch(it.order(), it.command_key),
            Body::Pursued(it) => RecordKeys::one(self.pursuits_of(it.dispatch())),
            Body::Skippable => RecordKeys::default(),
        }
    }

    /// The keys of a step that an order takes by this command key, which is empty when it has none.
    pub(crate) fn keys_of_step(&self, order: Seq, command_key: &[u8]) -> RecordKeys {
        let second = (!command_key.is_empty()).then(|| self.command(order, command_key));
        RecordKeys { first: Some(self.steps_of(order)), second }
    }

    /// The keys of a note, or of what resolves one. That is found by its note, which is found by the order.
    pub(crate) fn keys_of_remark(&self, remark: &Remark<'_>) -> RecordKeys {
        let (order, command_key) = (remark.order(), remark.command_key);
        let first = match remark.resolves() {
            None => self.notes_of(order),
            Some(note) => self.resolution_of(note),
        };
        // The key of the command is that of a step.
        RecordKeys { first: Some(first), ..self.keys_of_step(order, command_key) }
    }

    fn hash_row(&self, begin: u64, client: &[u8], key: &[u8]) -> KeyHash {
        // In one row: the hasher takes whole words of one, and puts together those of several.
        let mut row = [0; ROW_BYTES_MAX];
        let parts = [&begin.to_le_bytes()[..], client, key];
        let mut bytes = 0;
        for part in parts {
            if let Some(room) = row.get_mut(bytes..).and_then(|rest| rest.get_mut(..part.len())) {
                room.copy_from_slice(part);
            }
            bytes += part.len();
        }
        let hasher = SipHasher24::new_with_key(&self.secret);
        KeyHash(match row.get(..bytes) {
            Some(row) => hasher.hash(row),
            // Longer than any key can be.
            None => hasher.hash(&parts.concat()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use super::*;

    #[test]
    fn the_border_between_client_and_key_counts() {
        let hasher = KeyHasher::new([7; 16]);
        assert_ne!(hasher.hash(b"ab", b"c"), hasher.hash(b"a", b"bc"));
    }

    #[test]
    fn keys_of_different_sorts_never_meet() {
        let hasher = KeyHasher::new([7; 16]);
        let order = Seq(0x6261);
        let hashes = [
            hasher.hash(&order.0.to_le_bytes(), b""),
            hasher.hash(b"", &order.0.to_le_bytes()),
            hasher.steps_of(order),
            hasher.steps_of(Seq(1)),
            hasher.notes_of(order),
            hasher.notes_of(Seq(1)),
            hasher.resolution_of(order),
            hasher.dispatches_of(order),
            hasher.pursuits_of(order),
            hasher.command(order, b""),
            hasher.command(order, b"pay"),
            hasher.command(Seq(1), b"pay"),
            hasher.lifecycle(),
            hasher.consumer("billing"),
            hasher.parked("billing"),
            hasher.hold(b"billing", b""),
            hasher.hold(b"", b"billing"),
            hasher.hold(b"bill", b"ing"),
            hasher.holds(),
            hasher.alert(1, order.0, b"", 1),
            hasher.alert(1, order.0, b"", 2),
            hasher.alert(2, 0, b"billing", 3),
            hasher.alert(3, 0, b"billing", 3),
            hasher.alert(6, 0, b"", 3),
            hasher.alerts_of(order),
            hasher.hash(b"billing", b""),
            hasher.hash(b"", b""),
        ];
        let distinct: std::collections::HashSet<_> = hashes.iter().collect();
        assert_eq!(distinct.len(), hashes.len());
    }

    /// A key beyond its limit is never stored, but may be asked for.
    #[test]
    fn keys_of_every_length_have_a_hash_of_their_own() {
        let hasher = KeyHasher::new([7; 16]);
        let bytes = [3; 1000];
        let hashes: std::collections::HashSet<_> = (0..1000)
            .map(|length| hasher.hash(&bytes[..length / 3], &bytes[length / 3..length]))
            .collect();
        assert_eq!(hashes.len(), 1000);
        for (client, key) in [(64, 255), (64, 256), (65, 255)] {
            let mut whole = SipHasher24::new_with_key(&[7; 16]);
            whole.write(&(client as u64).to_le_bytes());
            whole.write(&bytes[..client + key]);
            assert_eq!(hasher.hash(&bytes[..client], &bytes[..key]), KeyHash(whole.finish()));
        }
    }

    /// Stored on disk: this number may never change. Checked against an independent SipHash-2-4.
    #[test]
    fn the_hash_is_the_one_that_old_segments_hold() {
        let hasher = KeyHasher::new([7; 16]);
        assert_eq!(hasher.hash(b"web", b"cart-17"), KeyHash(15_883_892_292_257_072_551));
    }
}
