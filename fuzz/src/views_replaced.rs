//! The views on a real disk, with anything at all in the place of their files: sled does its own I/O.
//!
//! The views are this ledger's own, of an earlier time, of a later one (then the log lost data), or of
//! another ledger; entries and the watermark are changed through sled, and then the files are bent, cut,
//! swapped, or random.
//!
//! Oracle: the ledger opens, and its answers are those of a full replay of the log, at once, when the
//! views have come to an end with what was there, and after one more order. They do come to an end. Only
//! a watermark ahead of the log poisons, a sound one always does, and then nothing is set aside. A panic
//! in sled is its own affair; one in any other thread is a violation ([`init`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use order_ledger::{Certainty, ErrorKind, How, Ledger, Options, Order, Query, State};

use crate::format;
use crate::model::{Content, Key, Small};
use crate::real::{self, Files};

#[derive(Arbitrary, Clone, Debug)]
pub struct Input {
    /// Which of the ledgers: a small one or one of several of sled's pages.
    pub large: bool,
    /// What lies in the place of the views, by generation. The highest one is the one that is opened.
    pub generations: [(u8, Whose); 2],
    /// Through sled, in the one that is opened.
    pub entries: Vec<Entry>,
    pub edits: Vec<Edit>,
}

#[derive(Arbitrary, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    Own,
    Earlier,
    Later,
    Foreign,
    Nothing,
    /// A file in the place of the directory.
    File,
}

#[derive(Arbitrary, Clone, Debug)]
pub enum Entry {
    Remove(u16),
    Insert {
        of: u16,
        seq: u8,
    },
    InsertBytes(Vec<u8>),
    NoWatermark,
    WatermarkBytes(Vec<u8>),
    FlipWatermark(u16),
    /// So many seqs before what the views hold.
    Behind(u8),
    /// So many seqs behind the end of the log.
    Ahead(u8),
}

/// Files below `derived/views`, by number, modulo their count; places within what is not zero.
#[derive(Arbitrary, Clone, Debug)]
pub enum Edit {
    Flip {
        file: u8,
        at: u32,
        bit: u8,
    },
    Overwrite {
        file: u8,
        at: u32,
        bytes: [u8; 12],
    },
    Zero {
        file: u8,
        at: u32,
        bytes: u16,
    },
    Copy {
        file: u8,
        from: u32,
        to: u32,
        bytes: u16,
    },
    Truncate {
        file: u8,
        to: u32,
    },
    Extend {
        file: u8,
        by: u16,
        byte: u8,
    },
    Replace {
        file: u8,
        bytes: Vec<u8>,
    },
    Remove {
        file: u8,
    },
    Swap {
        one: u8,
        other: u8,
    },
    Duplicate {
        file: u8,
        name: u8,
    },
    /// The file of that name of other views.
    From {
        file: u8,
        whose: Whose,
    },
    Directory {
        file: u8,
    },
}

const EDITS_MAX: usize = 8;
const VIEWS: &str = "derived/views";
/// Names beside those that are there: sled looks for the first three.
const NAMES: [&str; 5] =
    ["snap.0000000000000000", "snap.00000000000FFFFF.generating", "blobs/1", "x", "heap"];
/// What looks like a held lock is mostly damage, and is waited for so long.
const OPENED_WITHIN: Duration = Duration::from_millis(500);
/// sled hangs in its own files now and then: the ledger waits 30 s for an answer and 10 s for the end.
const SETTLED_WITHIN: Duration = Duration::from_secs(150);

fn options() -> Options {
    Options::new()
        .segment_bytes(1024 * 1024)
        .disk_reserve_bytes(0)
        .disk_free_min_bytes(0)
        .views_open_deadline(OPENED_WITHIN)
}

/// A ledger that was built well, and the views of other times and of another ledger.
struct Built {
    /// All of it but the views.
    log: Files,
    orders: Vec<Order>,
    own: Files,
    earlier: Files,
    later: Files,
    foreign: Files,
}

/// Lists are short: one with an order in eight is read from the log at once, and not from the views.
const ACCOUNTS: u8 = 40;

/// Another ledger has other orders under its keys.
fn order(key: u16, foreign: bool) -> Small {
    let number = key + 3 * u16::from(foreign);
    Small {
        account: (number % u16::from(ACCOUNTS)) as u8,
        payload: number % 13,
        lives_us: 0,
        own: 0,
    }
}

fn submit(ledger: &Ledger, keys: std::ops::Range<Key>, foreign: bool) {
    let orders: Vec<_> = keys.map(|key| order(key, foreign).submission(key)).collect();
    for answer in ledger.submit_many(&orders) {
        assert_eq!(answer.expect("a sound disk").how, How::Fresh);
    }
}

impl Built {
    fn of(large: bool) -> &'static Built {
        static BUILT: [OnceLock<Built>; 2] = [const { OnceLock::new() }; 2];
        BUILT[usize::from(large)].get_or_init(|| Built::make(if large { 600 } else { 30 }))
    }

    fn make(count: u16) -> Built {
        // The ledger with these orders and its views, and with it the one before.
        let grow = |dir: &Path, keys: std::ops::Range<Key>, foreign: bool| {
            let ledger = options()
                .views_open_deadline(Duration::from_secs(60))
                .open(dir)
                .expect("a sound disk");
            submit(&ledger, keys, foreign);
            assert_eq!(settled(&ledger), "feeding");
            let views = ledger.stats().expect("a sound disk").views.expect("a writer has them");
            assert_eq!(views.set_aside, 0, "{views:?}");
            let orders: Vec<Order> = ledger.orders().map(|order| order.expect("sound")).collect();
            ledger.close().expect("a sound disk");
            let (views, log) =
                real::read(dir).into_iter().partition(|(path, _)| path.starts_with(VIEWS));
            (orders, log, views)
        };
        let dir = real::Dir::new();
        let (_, _, earlier) = grow(&dir.0, 0..count / 2, false);
        let (orders, log, own) = grow(&dir.0, count / 2..count, false);
        let (_, _, later) = grow(&dir.0, count..count + 9, false);
        let other = real::Dir::new();
        let (_, _, foreign) = grow(&other.0, 0..count, true);
        Built { log, orders, own, earlier, later, foreign }
    }

    /// What sled wrote: the files below its directory.
    fn views(&self, whose: Whose) -> Files {
        let files = match whose {
            Whose::Own => &self.own,
            Whose::Earlier => &self.earlier,
            Whose::Later => &self.later,
            Whose::Foreign => &self.foreign,
            Whose::Nothing | Whose::File => return Files::new(),
        };
        let below =
            |path: &Path| path.strip_prefix(VIEWS).ok()?.strip_prefix("1").ok().map(Path::to_owned);
        files
            .iter()
            .filter_map(|(path, bytes)| Some((below(path)?, bytes.clone())))
            .filter(|(path, _)| !path.as_os_str().is_empty())
            .collect()
    }
}

/// What may be expected of the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    /// A sound watermark is ahead of the log.
    Poisoned,
    /// One was, before it was damaged.
    Either,
    Healthy,
}

/// Lets sled's threads panic, as the library does, and nobody else: the driver's own hook ends the
/// process at any panic. Ends it with 77 where there is no directory to work in.
pub fn init() {
    if real::root().is_none() {
        println!(
            "SKIPPED L6 views_replaced: neither /dev/shm nor the temporary directory takes files"
        );
        std::process::exit(77);
    }
    let fuzzing = std::thread::current().id();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        let ours = name.starts_with("ledger") && name != "ledger-views-store";
        if thread.id() == fuzzing || ours {
            hook(panic);
        }
    }));
}

pub fn run(input: &Input) {
    let built = Built::of(input.large);
    let dir = real::Dir::new();
    real::write(&dir.0, &built.log);
    let expected = put_views(&dir.0, built, input);
    check(&dir.0, built, expected);
}

fn put_views(dir: &Path, built: &Built, input: &Input) -> Expected {
    let views = dir.join(VIEWS);
    let generations: BTreeMap<u8, Whose> =
        input.generations.map(|(number, whose)| ((number % 4).max(1), whose)).into();
    let (live, whose) = generations.last_key_value().expect("one at least");
    for (number, whose) in &generations {
        let at = views.join(number.to_string());
        match whose {
            Whose::File => {
                real::write(&views, &Files::from([(number.to_string().into(), Some(vec![7]))]))
            }
            Whose::Nothing => {}
            whose => real::write(&at, &built.views(*whose)),
        }
    }
    // A generation that is not there does not count.
    let there = generations.iter().rfind(|(_, whose)| **whose != Whose::Nothing);
    let ahead = there.is_some_and(|(_, whose)| *whose == Whose::Later);
    let mut expected = if ahead { Expected::Poisoned } else { Expected::Healthy };
    let own = !matches!(whose, Whose::Nothing | Whose::File);
    if own && !input.entries.is_empty() {
        expected = change_entries(&views.join(live.to_string()), built, &input.entries, *whose);
    }
    if !input.edits.is_empty() {
        edit(&views, built, &input.edits);
        let later = |edit: &Edit| matches!(edit, Edit::From { whose: Whose::Later, .. });
        // Any of them may be what is opened now.
        let laters = generations.values().any(|whose| *whose == Whose::Later);
        if laters || expected == Expected::Poisoned || input.edits.iter().any(later) {
            expected = Expected::Either;
        }
    }
    expected
}

/// Changes what sled holds, by itself.
fn change_entries(dir: &Path, built: &Built, entries: &[Entry], whose: Whose) -> Expected {
    const WATERMARK: &[u8] = &[0];
    let db = sled::open(dir).expect("sound files");
    let end = built.orders.len() as u64 + 1;
    let keys: Vec<_> = db.iter().keys().map(|key| key.expect("sound files")).collect();
    let written = db.get(WATERMARK).expect("sound files").expect("it was fed").to_vec();
    let key = |index: u16| keys[usize::from(index) % keys.len()].to_vec();
    // Whether the watermark proves that the log lost data.
    let mut proves = whose == Whose::Later;
    for entry in entries.iter().take(EDITS_MAX) {
        let mut mark = written.clone();
        let mark = match entry {
            Entry::Remove(index) => {
                let key = key(*index);
                drop(db.remove(&key).expect("sound files"));
                proves &= key != WATERMARK;
                continue;
            }
            Entry::Insert { of, seq } => {
                let mut key = key(*of);
                if key != WATERMARK {
                    *key.last_mut().expect("a seq") = *seq;
                    drop(db.insert(key, Vec::new()).expect("sound files"));
                }
                continue;
            }
            Entry::InsertBytes(bytes) => {
                if bytes != WATERMARK {
                    drop(db.insert(bytes.as_slice(), Vec::new()).expect("sound files"));
                }
                continue;
            }
            Entry::NoWatermark => {
                drop(db.remove(WATERMARK).expect("sound files"));
                proves = false;
                continue;
            }
            // Nobody guesses a checksum.
            Entry::WatermarkBytes(bytes) => (bytes.clone(), false),
            Entry::FlipWatermark(bit) => {
                let bit = usize::from(*bit) % (mark.len() * 8);
                mark[bit / 8] ^= 1 << (bit % 8);
                (mark, false)
            }
            Entry::Behind(by) => {
                let next =
                    format::watermark_next(&mark).min(end).saturating_sub((*by).into()).max(1);
                format::forge_watermark(&mut mark, next);
                (mark, false)
            }
            Entry::Ahead(by) => {
                format::forge_watermark(&mut mark, end + 1 + u64::from(*by));
                (mark, whose != Whose::Foreign)
            }
        };
        proves = mark.1;
        drop(db.insert(WATERMARK, mark.0).expect("sound files"));
    }
    drop(db);
    real::wait_for_lock(&dir.join("db"));
    if proves { Expected::Poisoned } else { Expected::Healthy }
}

fn edit(views: &Path, built: &Built, edits: &[Edit]) {
    let mut files: Vec<(PathBuf, Vec<u8>)> =
        real::read(views).into_iter().filter_map(|(path, bytes)| Some((path, bytes?))).collect();
    if files.is_empty() {
        return;
    }
    let count = files.len();
    let index = |file: u8| usize::from(file) % count;
    let mut all: Files = BTreeMap::new();
    let place = |bytes: &[u8], at: u32| {
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        at as usize % used.max(1)
    };
    for edit in edits.iter().take(EDITS_MAX) {
        match edit {
            Edit::Flip { file, at, bit } => {
                let bytes = &mut files[index(*file)].1;
                let at = place(bytes, *at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Edit::Overwrite { file, at, bytes: new } => {
                let bytes = &mut files[index(*file)].1;
                let at = place(bytes, *at);
                bytes.iter_mut().skip(at).zip(new).for_each(|(to, from)| *to = *from);
            }
            Edit::Zero { file, at, bytes: count } => {
                let bytes = &mut files[index(*file)].1;
                let at = place(bytes, *at);
                bytes.iter_mut().skip(at).take((*count).into()).for_each(|byte| *byte = 0);
            }
            Edit::Copy { file, from, to, bytes: count } => {
                let bytes = &mut files[index(*file)].1;
                let (from, to) = (place(bytes, *from), place(bytes, *to));
                let count = usize::from(*count).min(bytes.len() - from.max(to));
                bytes.copy_within(from..from + count, to);
            }
            Edit::Truncate { file, to } => {
                let bytes = &mut files[index(*file)].1;
                bytes.truncate(place(bytes, *to));
            }
            Edit::Extend { file, by, byte } => {
                let bytes = &mut files[index(*file)].1;
                bytes.resize(bytes.len() + usize::from(*by), *byte);
            }
            Edit::Replace { file, bytes } => files[index(*file)].1.clone_from(bytes),
            Edit::Remove { file } => files[index(*file)].0 = PathBuf::new(),
            Edit::Swap { one, other } => {
                let (one, other) = (index(*one), index(*other));
                let bytes = std::mem::take(&mut files[one].1);
                let bytes = std::mem::replace(&mut files[other].1, bytes);
                files[one].1 = bytes;
            }
            Edit::Duplicate { file, name } => {
                let (path, bytes) = &files[index(*file)];
                let name = NAMES[usize::from(*name) % NAMES.len()];
                all.insert(path.with_file_name(name), Some(bytes.clone()));
            }
            Edit::From { file, whose } => {
                let (path, bytes) = &mut files[index(*file)];
                let other = built.views(*whose);
                let same = other.iter().find(|(other, _)| other.file_name() == path.file_name());
                if let Some((_, Some(other))) = same {
                    bytes.clone_from(other);
                }
            }
            Edit::Directory { file } => {
                let path = std::mem::take(&mut files[index(*file)].0);
                all.insert(path, None);
            }
        }
    }
    all.extend(files.into_iter().map(|(path, bytes)| (path, Some(bytes))));
    all.remove(Path::new(""));
    real::remove(views);
    real::write(views, &all);
}

fn check(dir: &Path, built: &Built, expected: Expected) {
    let ledger = options().open(dir).expect("the log is sound");
    same_answers(&ledger, &built.orders);
    let phase = settled(&ledger);
    let poisoned = ledger.poisoned().is_some();
    match expected {
        Expected::Poisoned => {
            // Not sound in time is not sound: the machine may have been busy.
            let views = ledger.stats().expect("a sound disk").views.expect("a writer has them");
            let late = views.reason.is_some_and(|reason| reason.contains("did not answer"));
            assert!(poisoned || late, "{phase}: a watermark is ahead of the log");
        }
        Expected::Either => {}
        Expected::Healthy => {
            assert!(!poisoned, "{phase}: nothing is ahead, and {:?}", ledger.poisoned());
        }
    }
    same_answers(&ledger, &built.orders);
    let key = built.orders.len() as Key;
    let answer = ledger.submit(&order(key, false).submission(key));
    let mut orders = built.orders.clone();
    if poisoned {
        assert_eq!(phase, "off");
        let error = answer.expect_err("it is poisoned");
        assert!(matches!(error.kind(), ErrorKind::Poisoned { .. }), "{error}");
        assert_eq!(error.certainty(), Certainty::NotRecorded);
        // What proves it stays where it is.
        assert!(!dir.join("derived/views.aside-1").exists(), "the proof was set aside");
    } else {
        let receipt = answer.expect("a sound disk").receipt;
        orders.push(ledger.get(receipt.order).expect("a sound disk").expect("it was taken"));
        settled(&ledger);
    }
    same_answers(&ledger, &orders);
    let closed = ledger.close();
    assert_eq!(closed.is_ok(), !poisoned, "{closed:?}");
}

/// Waits until the views have everything, or say that they will not; answers what they say.
fn settled(ledger: &Ledger) -> &'static str {
    let begun = Instant::now();
    loop {
        let views = ledger.stats().expect("a sound disk").views.expect("a writer has them");
        if views.phase == "off" || (views.phase == "feeding" && views.behind == 0) {
            return views.phase;
        }
        assert!(begun.elapsed() < SETTLED_WITHIN, "the views come to no end: {views:?}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Every list, held against all orders.
fn same_answers(ledger: &Ledger, orders: &[Order]) {
    let replayed: Vec<Order> = ledger.orders().map(|order| order.expect("a sound log")).collect();
    assert!(replayed == orders, "another replay of the log");
    for account in 0..=ACCOUNTS {
        let right = orders.iter().filter(|order| order.account == [account]);
        is_page(ledger, Query::all().account([account]), right);
        // As the model makes them.
        let external_ref = [b'r', account];
        let right = orders.iter().filter(|order| order.external_ref == external_ref);
        is_page(ledger, Query::all().external_ref(external_ref), right);
    }
    is_page(ledger, Query::all().state(State::Accepted), orders.iter());
    is_page(ledger, Query::all().state(State::Refused), [].iter());
    let (since, until) = (orders.len() / 3, orders.len() - 2);
    let between = Query::all()
        .state(State::Accepted)
        .since(orders[since].receipt.accepted_at)
        .until(orders[until].receipt.accepted_at);
    is_page(ledger, between, orders[since..until].iter());
}

fn is_page<'a>(ledger: &Ledger, query: Query, right: impl Iterator<Item = &'a Order>) {
    let right: Vec<&Order> = right.collect();
    let mut found = Vec::new();
    let mut query = query.limit(right.len() / 2 + 1);
    loop {
        let page = ledger.page(&query).expect("a sound log");
        found.extend(page.orders);
        match page.next {
            Some(next) => query = query.after(next),
            None => break,
        }
    }
    assert!(
        found.iter().eq(right.iter().copied()),
        "{query:?}: {} of {}",
        found.len(),
        right.len()
    );
}
