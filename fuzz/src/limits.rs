//! Sizes around every bound: of the fields of an order, of the settings, of the queue, of a segment.
//!
//! Oracle: a bound is exact. A setting on it opens, one beyond it is `Invalid` before the disk is touched. A
//! field on it is taken and comes back byte for byte, also after opening again; one beyond it is `Invalid`,
//! nothing is recorded, and the key is free (the model). A queue takes as many as it was told, of all and of
//! one client, and refuses the next as `Overloaded`; nothing it has let in is lost. What fits into a segment
//! exactly, or not by one byte, is an order like any other.

use std::collections::BTreeSet;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use order_ledger::disk::sim::{SimDisk, SimHost};
use order_ledger::{
    Error, ErrorKind, Field, Fingerprint, Ledger, Options, Order, Outcome, Submission, Ticket,
    limits,
};

use crate::lives::Told;
use crate::model::{Content, Key, Model, Scope};
use crate::shown::Shown;
use crate::{SEGMENT_BYTES, small};

#[derive(Arbitrary, Clone, Debug)]
pub struct Input {
    /// Where each of the settings lies.
    pub settings: [Near; SETTINGS.len()],
    pub queue: Queue,
    pub segment: u16,
    /// Whether one order may have the largest payload: see [`LARGE`].
    pub large: u8,
    #[arbitrary(with = calls)]
    pub calls: Vec<Call>,
}

/// As many as there are bytes for: a derived list ends after every other element.
fn calls(input: &mut Unstructured<'_>) -> Result<Vec<Call>, arbitrary::Error> {
    let mut calls = Vec::new();
    while calls.len() < CALLS_MAX && !input.is_empty() {
        calls.push(Call::arbitrary(input)?);
    }
    Ok(calls)
}

/// 16 MiB of payload take longer than everything else together: one order of few inputs has them.
const LARGE: u8 = 63;

/// A setting with bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setting {
    SegmentBytes,
    QueueOrders,
    QueueBytes,
    ClientShare,
    AdmissionWait,
    SealAfter,
    DiskReserve,
    ViewsDeadline,
}

/// Where a value lies. One byte of the input, so that small inputs hold many of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Near {
    BelowMin,
    Min,
    AboveMin,
    BelowMax,
    Max,
    AboveMax,
    Between(u8),
}

impl<'a> Arbitrary<'a> for Near {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Near, arbitrary::Error> {
        let byte = u8::arbitrary(input)?;
        Ok(match byte % 8 {
            0 => Near::BelowMin,
            1 => Near::Min,
            2 => Near::AboveMin,
            3 => Near::BelowMax,
            4 => Near::Max,
            5 => Near::AboveMax,
            _ => Near::Between(byte / 8),
        })
    }
}

impl Near {
    /// The value; one below 0 is 0.
    fn of(self, min: u64, max: u64) -> u64 {
        match self {
            Near::BelowMin => min.saturating_sub(1),
            Near::Min => min,
            Near::AboveMin => min + 1,
            Near::BelowMax => max - 1,
            Near::Max => max,
            Near::AboveMax => max + 1,
            Near::Between(byte) => min + u64::from(byte) % (max - min + 1),
        }
    }

    /// The same for a length in bytes.
    fn bytes(self, min: usize, max: usize) -> usize {
        self.of(min as u64, max as u64) as usize
    }
}

/// Bounds of the queue while the calls run.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Queue {
    pub orders: u8,
    pub share: u8,
}

/// The fields of an order by their sizes.
#[derive(Arbitrary, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Sizes {
    pub kind: Near,
    pub account: Near,
    pub external_ref: Near,
    pub payload: Payload,
    pub own_fingerprint: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Payload {
    Bytes(u8),
    /// Near what is left of a segment for the first group in it.
    Segment(i8),
    AboveMax,
    /// On the bound, or one below it.
    Max(bool),
}

impl<'a> Arbitrary<'a> for Payload {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Payload, arbitrary::Error> {
        // Mostly one that is taken: an order that is invalid in two ways shows neither bound.
        Ok(match u8::arbitrary(input)? % 16 {
            0 => Payload::AboveMax,
            1 => Payload::Max(bool::arbitrary(input)?),
            2..8 => Payload::Segment(i8::arbitrary(input)?),
            _ => Payload::Bytes(u8::arbitrary(input)?),
        })
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub enum Call {
    /// An order that is as it should be but for one field.
    Bound(Bound, Near),
    /// So many small orders, two of each client, that are deferred: the queue fills up.
    Fill(u8),
    Submit(Name, Sizes),
    SubmitMany(Vec<(Name, Sizes)>),
    Defer(Name, Sizes),
    WaitForAll,
    Read(Name),
    Reopen,
}

/// A field, to be put near its bounds.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Bound {
    Kind,
    Account,
    ExternalRef,
}

/// A key, by the sizes of its two parts: 7 sizes of the client, 7 of the key, and a few of each.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Name(u16);

impl Name {
    fn key(self) -> Key {
        self.0 % SMALL_KEYS
    }
}

/// Where the keys of small orders begin: those of [`Name`] are below it.
const SMALL_KEYS: Key = 7 * 7 * 4;
/// How many of them there are.
const SMALL_KEYS_COUNT: Key = 64;

const SETTINGS: [Setting; 8] = [
    Setting::SegmentBytes,
    Setting::QueueOrders,
    Setting::QueueBytes,
    Setting::ClientShare,
    Setting::AdmissionWait,
    Setting::SealAfter,
    Setting::DiskReserve,
    Setting::ViewsDeadline,
];

const SIZES: [Near; 7] = [
    Near::Between(2),
    Near::BelowMin,
    Near::Min,
    Near::AboveMin,
    Near::BelowMax,
    Near::Max,
    Near::AboveMax,
];

/// The payloads of this ledger's segments: the same for the whole run.
const SEGMENT_PAYLOAD: usize = SEGMENT_BYTES as usize - 4096 - 64 - 20;
const CALLS_MAX: usize = 24;

impl Payload {
    fn bytes(self) -> usize {
        match self {
            Payload::Bytes(bytes) => bytes.into(),
            Payload::Segment(off) => (SEGMENT_PAYLOAD - 128).saturating_add_signed(off.into()),
            Payload::AboveMax => limits::PAYLOAD_BYTES_MAX + 1,
            Payload::Max(on_it) => limits::PAYLOAD_BYTES_MAX - usize::from(!on_it),
        }
    }

    fn is_large(self) -> bool {
        matches!(self, Payload::Max(_))
    }
}

impl Sizes {
    /// A small order.
    const SMALL: Sizes = Sizes {
        kind: Near::Min,
        account: Near::AboveMin,
        external_ref: Near::AboveMin,
        payload: Payload::Bytes(1),
        own_fingerprint: None,
    };

    fn fields(self) -> [(Field, usize, usize); 4] {
        [
            (Field::Kind, self.kind.bytes(0, limits::KIND_BYTES_MAX), limits::KIND_BYTES_MAX),
            (
                Field::Account,
                self.account.bytes(0, limits::ACCOUNT_BYTES_MAX),
                limits::ACCOUNT_BYTES_MAX,
            ),
            (
                Field::ExternalRef,
                self.external_ref.bytes(0, limits::EXTERNAL_REF_BYTES_MAX),
                limits::EXTERNAL_REF_BYTES_MAX,
            ),
            (Field::Payload, self.payload.bytes(), limits::PAYLOAD_BYTES_MAX),
        ]
    }

    fn fingerprint(self) -> Option<Fingerprint> {
        self.own_fingerprint.map(|byte| Fingerprint([byte; 32]))
    }
}

impl Content for Sizes {
    fn scope(key: Key) -> Scope {
        let size = |index: Key| SIZES[usize::from(index % 7)];
        // Both parts end in a number, so that equal sizes are not equal names; an empty one has none.
        let name = |bytes: usize, number: Key| {
            let mut name = vec![b'n'; bytes];
            if let Some(last) = name.last_mut() {
                *last = b'0' + u8::try_from(number).expect("a few");
            }
            name
        };
        Scope {
            client: name(size(key).bytes(1, limits::CLIENT_BYTES_MAX), key / 49 / 2),
            key: name(size(key / 7).bytes(1, limits::KEY_BYTES_MAX), key / 49 % 2),
        }
    }

    fn submission(self, key: Key) -> Submission {
        let Scope { client, key } = Sizes::scope(key);
        let [kind, account, external_ref, payload] = self.fields().map(|(_, bytes, _)| bytes);
        let submission = Submission::new(client, key, vec![0; payload])
            .kind(vec![b'k'; kind])
            .account(vec![b'a'; account])
            .external_ref(vec![b'r'; external_ref]);
        match self.fingerprint() {
            Some(own) => submission.fingerprint(own),
            None => submission,
        }
    }

    fn is_valid(self, key: Key) -> bool {
        let Scope { client, key } = Sizes::scope(key);
        (1..=limits::CLIENT_BYTES_MAX).contains(&client.len())
            && (1..=limits::KEY_BYTES_MAX).contains(&key.len())
            && self.fields().iter().all(|(_, bytes, max)| bytes <= max)
    }

    fn is_of(self, order: &Order) -> bool {
        let fields = [&order.kind, &order.account, &order.external_ref, &order.payload];
        let mut expected = self.fields().into_iter().zip([b'k', b'a', b'r', 0]).zip(fields);
        let own = self.fingerprint();
        // By blocks: 16 MiB byte by byte take longer than the ledger needs for them.
        let is_all = |field: &[u8], byte: u8| {
            let block = [byte; 4096];
            field.chunks(block.len()).all(|chunk| *chunk == block[..chunk.len()])
        };
        own.is_none_or(|own| own == order.receipt.fingerprint)
            && expected
                .all(|(((_, bytes, _), byte), field)| field.len() == bytes && is_all(field, byte))
    }

    fn differs(self, other: Sizes) -> Vec<Field> {
        let same_own = self.own_fingerprint == other.own_fingerprint;
        if same_own && self.own_fingerprint.is_some() {
            return Vec::new();
        }
        let own = (!same_own).then_some(Field::Fingerprint);
        let fields = self.fields().into_iter().zip(other.fields());
        let differ = fields.filter(|((_, one, _), (_, other, _))| one != other);
        own.into_iter().chain(differ.map(|((field, _, _), _)| field)).collect()
    }
}

pub fn run(input: &Input) {
    for (setting, near) in SETTINGS.into_iter().zip(input.settings) {
        check_setting(setting, near);
    }
    let mut run = Run::new(input);
    let mut large = input.large & LARGE != LARGE;
    for call in input.calls.iter().take(CALLS_MAX) {
        let is_large = |sizes: &Sizes| sizes.payload.is_large();
        let this = match call {
            Call::Submit(_, sizes) | Call::Defer(_, sizes) => is_large(sizes),
            Call::SubmitMany(many) => many.iter().any(|(_, sizes)| is_large(sizes)),
            _ => false,
        };
        if this && large {
            continue;
        }
        large |= this;
        run.call(call);
    }
    run.wait_for_all();
    run.reopen();
    run.read_all();
}

/// A setting near its bounds, all others as they should be.
fn check_setting(setting: Setting, near: Near) {
    const MIB: u64 = 1024 * 1024;
    const HOUR_MS: u64 = 3_600_000;
    let segment_max = 4096 * MIB - 64 * 1024;
    let options = small();
    let ms = Duration::from_millis;
    let (min, max) = match setting {
        Setting::SegmentBytes => (16 * 1024, segment_max),
        Setting::QueueOrders => (1, 16 * MIB),
        Setting::QueueBytes => (64 * 1024, 4096 * MIB),
        Setting::ClientShare => (1, 100),
        Setting::AdmissionWait => (0, HOUR_MS),
        Setting::SealAfter | Setting::ViewsDeadline => (1, HOUR_MS),
        Setting::DiskReserve => (0, SEGMENT_BYTES),
    };
    let value = near.of(min, max);
    let count = value as usize;
    let options = match setting {
        Setting::SegmentBytes => options.segment_bytes(value),
        Setting::QueueOrders => options.queue_orders_max(count),
        Setting::QueueBytes => options.queue_bytes_max(count),
        Setting::ClientShare => options.client_share_percent(count),
        Setting::AdmissionWait => options.admission_wait(ms(value)),
        Setting::SealAfter => options.seal_after(ms(value)),
        Setting::DiskReserve => options.disk_reserve_bytes(value),
        Setting::ViewsDeadline => options.views_open_deadline(ms(value)),
    };
    let (disk, host) = (SimDisk::new(1), SimHost::new(1));
    // A segment of 4 GiB is not made here: it is asked for, and the disk is too small.
    disk.set_capacity(MIB);
    let opened = options.open_simulated(disk.as_disk(), host.as_host());
    let is_valid = (min..=max).contains(&value);
    match opened {
        Ok(ledger) => {
            assert!(is_valid, "{setting:?} of {value} was taken");
            let order = Submission::new("fuzz", "one", "1");
            match ledger.submit(&order) {
                Ok(_) => {}
                // As told: so much is kept for orders that exist.
                Err(error) => panic!("{setting:?} of {value}: {error}"),
            }
            ledger.close().expect("nothing has failed");
        }
        Err(error) => match error.kind() {
            ErrorKind::Invalid { .. } => {
                assert!(!is_valid, "{setting:?} of {value}: {error}");
                assert_eq!(disk.io_calls(), 0, "the disk was touched");
            }
            ErrorKind::DiskLow { .. } => {
                assert!(is_valid && setting == Setting::SegmentBytes && value > MIB / 2, "{error}");
            }
            _ => panic!("{setting:?} of {value}: {error}"),
        },
    }
}

struct Run {
    options: Options,
    disk: SimDisk,
    host: SimHost,
    model: Model<Sizes>,
    ledger: Option<Ledger>,
    tickets: Vec<(Key, Sizes, Ticket, Expected)>,
    orders_max: usize,
    share_percent: usize,
    /// The clients of the orders that wait to be written.
    queue: Vec<Vec<u8>>,
    /// How many small orders there were.
    small: Key,
    /// Keys whose orders were let in: nothing fails here, so they are written.
    taken: BTreeSet<Key>,
}

/// What the queue says to a submission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    /// It is not asked: the submission is invalid, or its key is taken.
    NotAsked,
    Enters,
    Overloaded,
}

impl Run {
    fn new(input: &Input) -> Run {
        let orders_max = 1 + usize::from(input.queue.orders % 12);
        let share_percent = 1 + usize::from(input.queue.share % 100);
        let options = small()
            .segment_bytes(SEGMENT_BYTES + u64::from(input.segment % 8192))
            .queue_orders_max(orders_max)
            // Orders are what is counted here: 4 GiB never fill up.
            .queue_bytes_max(4096 * 1024 * 1024)
            .client_share_percent(share_percent);
        let mut run = Run {
            options,
            disk: SimDisk::new(2),
            host: SimHost::new(2),
            model: Model::default(),
            ledger: None,
            tickets: Vec::new(),
            orders_max,
            share_percent,
            queue: Vec::new(),
            small: 0,
            taken: BTreeSet::new(),
        };
        run.reopen();
        run
    }

    fn ledger(&self) -> Ledger {
        self.ledger.clone().expect("it is open between the calls")
    }

    /// What the queue is going to say, by the words of the options: so many orders, so many percent of
    /// them from one client; an empty queue takes any one order, and so does an empty share.
    fn enter(&mut self, key: Key, sizes: Sizes) -> Expected {
        if !sizes.is_valid(key) || self.taken.contains(&key) {
            return Expected::NotAsked;
        }
        let client = Sizes::scope(key).client;
        let own = self.queue.iter().filter(|other| **other == client).count();
        let share = self.orders_max * self.share_percent / 100;
        let all = self.queue.len();
        let fits = (all == 0 || all < self.orders_max) && (own == 0 || own < share);
        if !fits {
            return Expected::Overloaded;
        }
        self.queue.push(client);
        self.taken.insert(key);
        Expected::Enters
    }

    fn call(&mut self, call: &Call) {
        match call {
            Call::Bound(bound, near) => {
                let mut sizes = Sizes::SMALL;
                match bound {
                    Bound::Kind => sizes.kind = *near,
                    Bound::Account => sizes.account = *near,
                    Bound::ExternalRef => sizes.external_ref = *near,
                }
                let key = self.small_key();
                self.submit(key, sizes);
            }
            Call::Fill(count) => {
                for _ in 0..count % 16 {
                    let key = self.small_key();
                    self.defer(key, Sizes::SMALL);
                }
            }
            Call::Submit(name, sizes) => self.submit(name.key(), *sizes),
            Call::SubmitMany(many) => {
                let many: Vec<_> =
                    many.iter().take(16).map(|(name, sizes)| (name.key(), *sizes)).collect();
                let submissions: Vec<_> =
                    many.iter().map(|(key, sizes)| sizes.submission(*key)).collect();
                let mut unwritten = false;
                let mut expected = Vec::new();
                for (key, sizes) in &many {
                    self.model.begin(*key, *sizes);
                    let mut this = self.enter(*key, *sizes);
                    if this == Expected::Overloaded && unwritten {
                        // The batch fills the queue: it is written in parts.
                        self.queue.clear();
                        this = self.enter(*key, *sizes);
                    }
                    unwritten |= this == Expected::Enters;
                    expected.push(this);
                }
                let answers = self.ledger().submit_many(&submissions);
                assert_eq!(answers.len(), many.len());
                for (((key, sizes), answer), expected) in many.iter().zip(&answers).zip(expected) {
                    self.end(*key, *sizes, answer, expected);
                }
                self.pump();
            }
            Call::Defer(name, sizes) => self.defer(name.key(), *sizes),
            Call::WaitForAll => self.wait_for_all(),
            Call::Read(name) => {
                let Scope { client, key } = Sizes::scope(name.key());
                let found = self.ledger().by_key(client, key).expect("a sound disk");
                let history = |id| self.ledger().history(id);
                let told = found.map(|order| Told::of(order, history).expect("a sound disk"));
                self.model.read(name.key(), told.as_ref(), false);
            }
            Call::Reopen => self.reopen(),
        }
    }

    /// The key of the next small order: one that is used again only after all the others.
    fn small_key(&mut self) -> Key {
        let key = SMALL_KEYS + 49 * (self.small % SMALL_KEYS_COUNT);
        self.small += 1;
        key
    }

    fn submit(&mut self, key: Key, sizes: Sizes) {
        self.model.begin(key, sizes);
        let expected = self.enter(key, sizes);
        let answer = self.ledger().submit(&sizes.submission(key));
        self.end(key, sizes, &answer, expected);
        self.pump();
    }

    fn defer(&mut self, key: Key, sizes: Sizes) {
        self.model.begin(key, sizes);
        let expected = self.enter(key, sizes);
        let mut ticket = self.ledger().submit_deferred(&sizes.submission(key));
        if expected == Expected::Overloaded {
            // Answered already: the key may be taken by another call before the others are waited for.
            let answer = ticket.wait(None);
            self.end(key, sizes, &answer, expected);
            // Waiting writes what is deferred.
            return self.pump();
        }
        self.tickets.push((key, sizes, ticket, expected));
    }

    fn end(&mut self, key: Key, sizes: Sizes, answer: &Result<Outcome, Error>, expected: Expected) {
        let is_overloaded = |error: &Error| matches!(error.kind(), ErrorKind::Overloaded { .. });
        let overloaded = answer.as_ref().is_err_and(is_overloaded);
        assert_eq!(overloaded, expected == Expected::Overloaded, "{expected:?}: {answer:?}");
        self.model.end(key, sizes, answer, false);
    }

    fn pump(&mut self) {
        self.ledger().pump();
        self.queue.clear();
    }

    fn wait_for_all(&mut self) {
        self.pump();
        for (key, sizes, mut ticket, expected) in std::mem::take(&mut self.tickets) {
            let answer = ticket.wait(None);
            self.end(key, sizes, &answer, expected);
        }
    }

    fn reopen(&mut self) {
        if let Some(ledger) = self.ledger.take() {
            // Closing writes what waits.
            ledger.close().expect("nothing has failed");
            self.queue.clear();
        }
        for (key, sizes, mut ticket, expected) in std::mem::take(&mut self.tickets) {
            let answer = ticket.wait(None);
            self.end(key, sizes, &answer, expected);
        }
        let ledger = self.options.open_simulated(self.disk.as_disk(), self.host.as_host());
        self.ledger = Some(ledger.expect("a sound disk"));
        self.read_all();
    }

    fn read_all(&mut self) {
        let ledger = self.ledger();
        let shown = Shown::by(&ledger).expect("a sound disk");
        self.model.read_all(&shown, false, true);
    }
}
