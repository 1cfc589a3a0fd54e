//! The bytes of the views: keys and the watermark, built and read here and nowhere else.
//!
//! One ordered store of keys with empty values, and one entry that says what the keys are worth:
//!
//! | key | value | meaning |
//! |---|---|---|
//! | `00` | watermark | how far, for which ledger, and what the keys add up to |
//! | `01`, length u8, account, seq u64 **big-endian** | empty | the order at `seq` has this account |
//! | `02`, length u8, external ref, seq | empty | the order at `seq` has this external ref |
//! | `03`, state u8, seq | empty | the order at `seq` is in this state: taken away when it takes a step |
//! | `04`, seq | empty | the note at `seq` is open: taken away when it is resolved |
//! | `08`, list u8, seq | empty | the dispatch at `seq` is on this list: 1 waits for the outbox, 2 for a person |
//! | `05`, instant u64 **big-endian**, seq | empty | the order at `seq` expires then: taken away when it comes to an end |
//! | `06`, state u8, instant u64 **big-endian**, seq | empty | the order at `seq` has been in this state since then: taken away when it leaves it. None for a state that it stays in for ever |
//! | `09`, level u8, instant u64 **big-endian**, seq | empty | the order at `seq`, which has thresholds of its own, is so bad or worse from then on: taken away when it takes a step. Such an order has no key under `06` |
//! | `0A`, state u8, instant u64 **big-endian**, seq | empty | as `06`, of the orders that have thresholds of their own |
//! | `07`, seq | empty | the alert that was raised at `seq` is open: taken away when it is cleared |
//!
//! Always true: all keys of one view and value share a prefix that no other value has (the length stands
//! before the value), and within it they sort by seq, which is the order of time as well. An empty
//! account or external ref has no key. The keys of all orders that expire sort by their instant, so that what
//! is due comes first.
//!
//! The watermark, little-endian: magic `OLVW`, version u32, ledger id, next seq u64, entries u64,
//! sum u64, CRC-32 of all before. `entries` and `sum` (of the hashes of the keys that are there, wrapping) let an audit
//! prove that no key was lost and none was added: the store underneath loses keys without a word when a
//! bit of it rots (RELIABILITY F4).

use siphasher::sip::SipHasher24;

use crate::bytes::{Fields, PutFields};
use crate::order::dispatch::Lane;
use crate::order::limits::{ACCOUNT_BYTES_MAX, EXTERNAL_REF_BYTES_MAX};
use crate::order::{AlertChange, AlertLevel, LedgerId, Seq, State, Timestamp};
use crate::wal::record::Body;

/// Version of keys and watermark. Another version is not read: the views are rebuilt.
pub(super) const VERSION: u32 = 4;
/// Where the watermark is.
pub(super) const WATERMARK_KEY: &[u8] = &[0];

const MAGIC: [u8; 4] = *b"OLVW";
// Numbers on disk: never given to another view.
const ACCOUNT: u8 = 1;
const EXTERNAL_REF: u8 = 2;
const STATE: u8 = 3;
const OPEN_NOTES: u8 = 4;
const EXPIRY: u8 = 5;
const ENTERED: u8 = 6;
const OPEN_ALERTS: u8 = 7;
const DISPATCHES: u8 = 8;
const DUE: u8 = 9;
const ENTERED_OWN: u8 = 10;

/// What the keys of all orders that expire begin with.
pub(super) const EXPIRING_PREFIX: &[u8] = &[EXPIRY];

const _: () = assert!(
    ACCOUNT_BYTES_MAX <= 255 && EXTERNAL_REF_BYTES_MAX <= 255,
    "the length of a value is one byte of the key"
);

/// One list of orders, of notes, or of alerts: what to look them up by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum View<'a> {
    Account(&'a [u8]),
    ExternalRef(&'a [u8]),
    State(State),
    /// Of notes instead of orders.
    OpenNotes,
    ExpiresAt(Timestamp),
    /// Of all that are in a state, and have thresholds of their own or have none, those that entered it at this instant.
    Entered {
        state: State,
        own: bool,
        at: Timestamp,
    },
    /// Of all that have thresholds of their own, those that reach this level at this instant.
    Due {
        level: AlertLevel,
        at: Timestamp,
    },
    /// Of alerts instead of orders.
    OpenAlerts,
    /// Of dispatches instead of orders.
    Dispatches(Lane),
}

impl<'a> View<'a> {
    /// What the keys of this list begin with; `None` for a value that has no keys (empty, or longer
    /// than any that is accepted).
    pub(super) fn prefix(&self) -> Option<Vec<u8>> {
        let (view, value, bytes_max) = match self {
            View::Account(value) => (ACCOUNT, *value, ACCOUNT_BYTES_MAX),
            View::ExternalRef(value) => (EXTERNAL_REF, *value, EXTERNAL_REF_BYTES_MAX),
            View::State(state) => return Some(vec![STATE, state.number()]),
            View::OpenNotes => return Some(vec![OPEN_NOTES]),
            View::OpenAlerts => return Some(vec![OPEN_ALERTS]),
            View::Entered { state, own, at } => {
                let mut prefix = entered_prefix(*state, *own);
                prefix.put(&at.as_unix_ns().to_be_bytes());
                return Some(prefix);
            }
            View::Due { level, at } => {
                let mut prefix = due_prefix(*level);
                prefix.put(&at.as_unix_ns().to_be_bytes());
                return Some(prefix);
            }
            View::Dispatches(lane) => return Some(vec![DISPATCHES, lane.number()]),
            View::ExpiresAt(instant) => {
                let mut prefix = EXPIRING_PREFIX.to_vec();
                prefix.put(&instant.as_unix_ns().to_be_bytes());
                return Some(prefix);
            }
        };
        let length = u8::try_from(value.len()).ok()?;
        if value.is_empty() || value.len() > bytes_max {
            return None;
        }
        let mut prefix = Vec::with_capacity(2 + value.len() + size_of::<u64>());
        prefix.put(&[view, length]).put(value);
        Some(prefix)
    }

    /// The key that says: the order at `seq` is on this list.
    pub(super) fn key(&self, seq: Seq) -> Option<Vec<u8>> {
        let mut key = self.prefix()?;
        key.put(&seq.0.to_be_bytes());
        Some(key)
    }

    /// The list and the seq of a key; `None` when [`View::key`] makes no such key.
    pub(super) fn parse(key: &'a [u8]) -> Option<(View<'a>, Seq)> {
        let (head, seq) = key.split_last_chunk::<8>()?;
        let (view, value) = match head {
            [STATE, number] => (View::State(State::from_number(*number)?), None),
            [OPEN_NOTES] => (View::OpenNotes, None),
            [OPEN_ALERTS] => (View::OpenAlerts, None),
            [list @ (ENTERED | ENTERED_OWN), number, instant @ ..] => {
                let at = Timestamp::from_unix_ns(u64::from_be_bytes(instant.try_into().ok()?));
                let (state, own) = (State::from_number(*number)?, *list == ENTERED_OWN);
                (View::Entered { state, own, at }, None)
            }
            [DUE, number, instant @ ..] => {
                let at = Timestamp::from_unix_ns(u64::from_be_bytes(instant.try_into().ok()?));
                (View::Due { level: AlertLevel::from_number(*number)?, at }, None)
            }
            [DISPATCHES, lane] => (View::Dispatches(Lane::from_number(*lane)?), None),
            [ACCOUNT, length, value @ ..] => (View::Account(value), Some(*length)),
            [EXTERNAL_REF, length, value @ ..] => (View::ExternalRef(value), Some(*length)),
            [EXPIRY, instant @ ..] => {
                let instant_ns = u64::from_be_bytes(instant.try_into().ok()?);
                (View::ExpiresAt(Timestamp::from_unix_ns(instant_ns)), None)
            }
            _ => return None,
        };
        let whole = value.is_none_or(|length| head.len() == 2 + usize::from(length));
        (whole && view.prefix().is_some()).then_some((view, Seq(u64::from_be_bytes(*seq))))
    }
}

/// What the keys of all orders that are in this state begin with, of those that have thresholds of their own or of the
/// others; behind it they sort by when they entered it.
pub(super) fn entered_prefix(state: State, own: bool) -> Vec<u8> {
    vec![if own { ENTERED_OWN } else { ENTERED }, state.number()]
}

/// What the keys of all orders begin with that reach this level by thresholds of their own; behind it they sort by
/// when they do.
pub(super) fn due_prefix(level: AlertLevel) -> Vec<u8> {
    vec![DUE, level.number()]
}

/// The state that a key puts an order into, if it is of a list by state.
pub(super) fn state_of(key: &[u8]) -> Option<State> {
    match key {
        [STATE, number, ..] => State::from_number(*number),
        _ => None,
    }
}

/// What the record at `seq` changes: the keys of the order that it began at `at`, of the step that one took, of the
/// note that it is or resolves, of the alert that it raises or clears, or of the dispatch that it is or is about.
/// That an order which comes to an end expires no more, and since when it was in the state that it leaves, is not
/// said here: the record of its step does not know. [`entries`](super::entries) does.
pub(super) fn changes_of(
    seq: Seq,
    at: Timestamp,
    body: &Body<'_>,
) -> impl Iterator<Item = (Vec<u8>, Change)> {
    let expires =
        body.expires_at(at).map(|instant| (View::ExpiresAt(instant).key(seq), Change::Add));
    let began = body.submitted().map(|submitted| {
        [
            View::Account(submitted.account),
            View::ExternalRef(submitted.external_ref),
            View::State(body.first_state()),
        ]
        .map(|view| (view.key(seq), Change::Add))
    });
    let moved = body.moved().map(|moved| {
        let key = |state| View::State(state).key(moved.order());
        [(key(moved.from()), Change::Remove), (key(moved.to()), Change::Add)]
    });
    let noted = body.remark().and_then(|remark| match remark.resolves() {
        Some(note) => Some((View::OpenNotes.key(note), Change::Remove)),
        None => remark.asks.then(|| (View::OpenNotes.key(seq), Change::Add)),
    });
    let alerted = body.alarm().and_then(|alarm| match alarm.change() {
        AlertChange::Raised => Some((View::OpenAlerts.key(seq), Change::Add)),
        AlertChange::Cleared => Some((View::OpenAlerts.key(alarm.id(seq)), Change::Remove)),
        _ => None,
    });
    let told = body.dispatched().map(|_| (View::Dispatches(Lane::Open).key(seq), Change::Add));
    let pursued = body.pursued().filter(|it| it.lane() != Some(it.lane_before())).map(|pursued| {
        let key = |lane| View::Dispatches(lane).key(pursued.dispatch());
        let left = (key(pursued.lane_before()), Change::Remove);
        [left, (pursued.lane().and_then(key), Change::Add)]
    });
    let dispatched = told.into_iter().chain(pursued.into_iter().flatten());
    let began = began.into_iter().flatten().chain(expires);
    let changes =
        began.chain(moved.into_iter().flatten()).chain(noted).chain(alerted).chain(dispatched);
    changes.filter_map(|(key, change)| Some((key?, change)))
}

/// What becomes of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Add,
    Remove,
}

/// What the keys of a store are worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Watermark {
    pub(super) ledger: LedgerId,
    /// Every record below it has its keys in the store, and no other has.
    pub(super) next: Seq,
    /// How many keys there are.
    pub(super) entries: u64,
    /// Their hashes, added up.
    pub(super) sum: u64,
}

impl Watermark {
    /// Of a store that holds nothing yet.
    pub(super) fn start(ledger: LedgerId) -> Watermark {
        Watermark { ledger, next: Seq::FIRST, entries: 0, sum: 0 }
    }

    /// Takes a key into the count.
    pub(super) fn count(&mut self, key: &[u8]) {
        self.entries = self.entries.wrapping_add(1);
        self.sum = self.sum.wrapping_add(SipHasher24::new().hash(key));
    }

    /// Takes a key out of the count.
    pub(super) fn uncount(&mut self, key: &[u8]) {
        self.entries = self.entries.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(SipHasher24::new().hash(key));
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes
            .put(&MAGIC)
            .put_u32(VERSION)
            .put(&self.ledger.0)
            .put_u64(self.next.0)
            .put_u64(self.entries)
            .put_u64(self.sum);
        let crc = crc32fast::hash(&bytes);
        bytes.put_u32(crc);
        bytes
    }

    /// The watermark in `bytes`, or what is wrong with them.
    pub(super) fn decode(bytes: &[u8]) -> Result<Watermark, &'static str> {
        let (content, crc) = bytes.split_last_chunk::<4>().ok_or("it is too short")?;
        let mut fields = Fields(content);
        if fields.array() != Some(MAGIC) {
            return Err("its magic bytes are missing");
        }
        if u32::from_le_bytes(*crc) != crc32fast::hash(content) {
            return Err("its checksum does not hold");
        }
        if fields.u32() != Some(VERSION) {
            return Err("it is of another version");
        }
        let mut read = || {
            Some(Watermark {
                ledger: LedgerId(fields.array()?),
                next: Seq(fields.u64()?),
                entries: fields.u64()?,
                sum: fields.u64()?,
            })
        };
        let watermark = read().filter(|watermark| watermark.next >= Seq::FIRST);
        watermark.filter(|_| fields.0.is_empty()).ok_or("a field of it has no valid value")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value(bytes_max: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 1..=bytes_max)
    }

    proptest! {
        #[test]
        fn a_key_comes_back_as_what_it_was_made_of(
            account in any_value(ACCOUNT_BYTES_MAX),
            external_ref in any_value(EXTERNAL_REF_BYTES_MAX),
            state in proptest::sample::select(State::ALL.to_vec()),
            instant: u64,
            seq: u64,
        ) {
            for view in [
                View::Account(&account),
                View::ExternalRef(&external_ref),
                View::State(state),
                View::OpenNotes,
                View::Dispatches(Lane::Open),
                View::Dispatches(Lane::Dead),
                View::OpenAlerts,
                View::ExpiresAt(Timestamp::from_unix_ns(instant)),
                View::Entered { state, own: false, at: Timestamp::from_unix_ns(instant) },
                View::Entered { state, own: true, at: Timestamp::from_unix_ns(instant) },
                View::Due { level: AlertLevel::Warn, at: Timestamp::from_unix_ns(instant) },
                View::Due { level: AlertLevel::Critical, at: Timestamp::from_unix_ns(instant) },
            ] {
                let key = view.key(Seq(seq)).unwrap();
                prop_assert!(key.starts_with(&view.prefix().unwrap()));
                prop_assert_eq!(View::parse(&key), Some((view, Seq(seq))));
            }
        }

        #[test]
        fn whatever_parses_is_made_again_byte_for_byte(
            key in proptest::collection::vec(prop_oneof![0u8..10, any::<u8>()], 0..24),
        ) {
            if let Some((view, seq)) = View::parse(&key) {
                prop_assert_eq!(view.key(seq), Some(key.clone()));
            }
        }

        #[test]
        fn keys_of_one_list_sort_by_seq_and_are_apart_from_all_others(
            one in any_value(8), other in any_value(8), low: u64, high: u64,
        ) {
            prop_assume!(low < high && one != other);
            let view = View::Account(&one);
            prop_assert!(view.key(Seq(low)) < view.key(Seq(high)));
            let foreign = View::Account(&other).key(Seq(low)).unwrap();
            prop_assert!(!foreign.starts_with(&view.prefix().unwrap()));
        }

        #[test]
        fn what_expires_first_comes_first(one: (u64, u64), other: (u64, u64)) {
            let key = |(instant, seq)| {
                View::ExpiresAt(Timestamp::from_unix_ns(instant)).key(Seq(seq)).unwrap()
            };
            prop_assert_eq!(one.cmp(&other), key(one).cmp(&key(other)));
            prop_assert!(key(one).starts_with(EXPIRING_PREFIX) && &key(one)[..] > EXPIRING_PREFIX);
        }

        #[test]
        fn who_stands_longest_comes_first(one: (u64, u64), other: (u64, u64)) {
            let state = State::Confirmed;
            let key = |(instant, seq)| {
                let at = Timestamp::from_unix_ns(instant);
                View::Entered { state, own: false, at }.key(Seq(seq)).unwrap()
            };
            prop_assert_eq!(one.cmp(&other), key(one).cmp(&key(other)));
            let prefix = entered_prefix(state, false);
            prop_assert!(key(one).starts_with(&prefix) && key(one) > prefix);
            prop_assert!(!key(one).starts_with(&entered_prefix(State::Accepted, false)));
            prop_assert!(!key(one).starts_with(&entered_prefix(state, true)));
        }

        #[test]
        fn who_is_due_first_comes_first(one: (u64, u64), other: (u64, u64)) {
            let level = AlertLevel::Critical;
            let key = |(instant, seq)| {
                View::Due { level, at: Timestamp::from_unix_ns(instant) }.key(Seq(seq)).unwrap()
            };
            prop_assert_eq!(one.cmp(&other), key(one).cmp(&key(other)));
            let prefix = due_prefix(level);
            prop_assert!(key(one).starts_with(&prefix) && key(one) > prefix);
            prop_assert!(!key(one).starts_with(&due_prefix(AlertLevel::Warn)));
        }

        #[test]
        fn a_watermark_comes_back(ledger: [u8; 16], next in 1u64.., entries: u64, sum: u64) {
            let mark = Watermark { ledger: LedgerId(ledger), next: Seq(next), entries, sum };
            prop_assert_eq!(Watermark::decode(&mark.encode()), Ok(mark));
        }
    }

    #[test]
    fn what_has_no_list_has_no_key() {
        assert_eq!(View::Account(b"").key(Seq(1)), None);
        assert_eq!(View::ExternalRef(b"").key(Seq(1)), None);
        assert_eq!(View::Account(&[1; ACCOUNT_BYTES_MAX + 1]).key(Seq(1)), None);
        assert_eq!(View::parse(WATERMARK_KEY), None);
        assert_eq!(View::parse(b""), None);
    }

    #[test]
    fn every_bit_of_a_watermark_is_covered() {
        let bytes = Watermark::start(LedgerId([7; 16])).encode();
        for bit in 0..bytes.len() * 8 {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(Watermark::decode(&bent).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Watermark::decode(&bytes[..length]).is_err(), "length {length}");
        }
    }
}
