//! Makes histories: threads that ask a ledger on a simulated disk everything they can, processes that die
//! under them, and a book of what they asked and were told.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

#[cfg(order_ledger_shuttle)]
use shuttle::thread;
#[cfg(not(order_ledger_shuttle))]
use std::thread;

use order_ledger::disk::sim::{Crash, CrashMode, Fault, SimDisk, SimHost};
use order_ledger::{
    Certainty, ErrorKind, How as LedgerHow, Ledger, Options, Order, OrderId, Outcome, Query,
    Receipt, Submission, Ticket,
};

use super::history::{Call, Content, Did, How, Key, Moment, Proof, Shown};
use crate::rig::{Random, small};

/// Shorter histories go on with another process.
pub(crate) const CALLS_MIN: usize = 200;

/// Keys of a history. Threads move along them together, so that orders are new at all times.
const KEYS: u64 = 60;
/// How many keys are asked for at one time.
const KEYS_TOGETHER: u64 = 8;

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) histories: u64,
    pub(crate) calls: u64,
    pub(crate) fresh: u64,
    pub(crate) joined: u64,
    pub(crate) conflicts: u64,
    pub(crate) in_doubt: u64,
    pub(crate) power_cuts: u64,
    pub(crate) kills: u64,
    pub(crate) poisoned: u64,
    pub(crate) closed: u64,
}

/// The oracle's side: what was asked and told, by whom does not matter.
struct Book {
    disk: SimDisk,
    clock: AtomicU64,
    calls: Mutex<Vec<Call>>,
    /// Orders that were seen on the platter.
    durable: Mutex<HashSet<(Key, Content)>>,
}

impl Book {
    fn now(&self) -> Moment {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Writes down what a call came to. `None`: nobody was told anything, and nothing can have happened.
    fn note(&self, life: u32, asked_at: Moment, did: Option<Did>) {
        let Some(did) = did else { return };
        let told_at = match did {
            // Until the next opening, which will set it.
            Did::InDoubt { .. } => Moment::MAX,
            _ => self.now(),
        };
        let mut call = Call { life, asked_at, told_at, did, was_durable: true };
        call.was_durable = self.is_durable(&call);
        self.calls.lock().unwrap().push(call);
    }

    /// Whether all orders that an answer tells of are on the platter. What was there once stays.
    fn is_durable(&self, call: &Call) -> bool {
        let revealed = call.revealed().iter().map(|shown| (shown.key, shown.content));
        let taken = match call.did {
            Did::Took { key, content, .. } => Some((key, content)),
            _ => None,
        };
        let mut durable = self.durable.lock().unwrap();
        revealed.chain(taken).all(|(key, content)| {
            if durable.contains(&(key, content)) {
                return true;
            }
            let found = on_platter(&self.disk, &payload(key, content));
            if found {
                durable.insert((key, content));
            }
            found
        })
    }

    /// The next process has opened the ledger: what was in doubt has happened by now, or never.
    fn opened(&self) {
        let now = self.now();
        for call in &mut *self.calls.lock().unwrap() {
            call.told_at = call.told_at.min(now);
        }
    }
}

fn on_platter(disk: &SimDisk, wanted: &[u8]) -> bool {
    let segments = disk.files().into_iter().filter(|(path, _)| path.ends_with(".seg"));
    segments.map(|(path, _)| disk.read_durable(&path).unwrap()).any(|bytes| {
        let mut places = bytes.iter().enumerate().filter(|(_, byte)| **byte == wanted[0]);
        places.any(|(at, _)| bytes[at..].starts_with(wanted))
    })
}

fn payload(key: Key, content: Content) -> Vec<u8> {
    format!("<order {key}/{content}>").into_bytes()
}

fn submission(key: Key, content: Content) -> Submission {
    Submission::new("web", format!("k{key}"), payload(key, content))
}

fn proof(receipt: &Receipt) -> Proof {
    let mut hasher = DefaultHasher::new();
    receipt.to_bytes().hash(&mut hasher);
    Proof { order: receipt.order.as_u64(), bytes: hasher.finish() }
}

fn shown(order: &Order) -> Shown {
    let key = String::from_utf8_lossy(&order.key)[1..].parse().unwrap();
    let text = String::from_utf8_lossy(&order.payload);
    let content = text.trim_end_matches('>').rsplit('/').next().unwrap().parse().unwrap();
    Shown { key, content, proof: proof(&order.receipt) }
}

fn submitted(key: Key, content: Content, answer: &order_ledger::Result<Outcome>) -> Did {
    match answer {
        Ok(outcome) => {
            let how = match outcome.how {
                LedgerHow::Fresh => How::Fresh,
                LedgerHow::Replayed => How::Replayed,
                LedgerHow::Joined => How::Joined,
                other => panic!("{other:?}"),
            };
            Did::Took { key, content, how, proof: proof(&outcome.receipt) }
        }
        Err(error) => match (error.kind(), error.certainty()) {
            (ErrorKind::Conflict { receipt, .. }, _) => {
                Did::Conflicted { key, content, proof: proof(receipt) }
            }
            (_, Certainty::NotRecorded) => Did::TookNothing { key },
            _ => Did::InDoubt { key, content },
        },
    }
}

/// One thread of one process.
struct Caller {
    book: Arc<Book>,
    ledger: Ledger,
    life: u32,
    random: Random,
    /// Tickets that are not waited for yet: when they were asked for, and for what.
    tickets: Vec<(Moment, Key, Content, Ticket)>,
}

impl Caller {
    fn call(mut self, calls: u64, first: u64, of: u64) {
        for call in 0..calls {
            // The power is off: a real process would not be there any more.
            if self.book.disk.is_off() {
                break;
            }
            self.call_once((first + call) * (KEYS - KEYS_TOGETHER) / of);
        }
        self.wait_for_tickets();
    }

    fn order(&mut self, from: u64) -> (Key, Content) {
        let key = from.min(KEYS - KEYS_TOGETHER) + self.random.below(KEYS_TOGETHER);
        let content = u32::from(self.random.chance(1, 5));
        (Key::try_from(key).unwrap(), content)
    }

    fn call_once(&mut self, from: u64) {
        let (key, content) = self.order(from);
        let asked_at = self.book.now();
        let did = match self.random.below(100) {
            0..40 => {
                let answer = self.ledger.submit(&submission(key, content));
                Some(submitted(key, content, &answer))
            }
            40..52 => {
                let ticket = self.ledger.submit_deferred(&submission(key, content));
                self.tickets.push((asked_at, key, content, ticket));
                if self.random.chance(1, 2) {
                    self.wait_for_tickets();
                }
                None
            }
            52..60 => {
                let orders: Vec<_> = (0..3).map(|_| self.order(from)).collect();
                let asked: Vec<_> =
                    orders.iter().map(|(key, what)| submission(*key, *what)).collect();
                let answers = self.ledger.submit_many(&asked);
                for ((key, content), answer) in orders.into_iter().zip(answers) {
                    let did = submitted(key, content, &answer);
                    self.book.note(self.life, asked_at, Some(did));
                }
                None
            }
            60..80 => self
                .ledger
                .by_key("web", format!("k{key}"))
                .ok()
                .map(|found| Did::Found { key, shown: found.as_ref().map(shown) }),
            80..92 => {
                let order = 1 + self.random.below(from + KEYS_TOGETHER);
                let got = self.ledger.get(OrderId::from_u64(order));
                got.ok().map(|found| Did::Got { order, shown: found.as_ref().map(shown) })
            }
            92..96 => {
                let page = self.ledger.page(&Query::all().limit(1000));
                page.ok().map(|page| Did::Listed { all: page.orders.iter().map(shown).collect() })
            }
            _ => list(&self.ledger),
        };
        self.book.note(self.life, asked_at, did);
    }

    fn wait_for_tickets(&mut self) {
        for (asked_at, key, content, mut ticket) in std::mem::take(&mut self.tickets) {
            let answer = ticket.wait(None);
            self.book.note(self.life, asked_at, Some(submitted(key, content, &answer)));
        }
    }
}

fn list(ledger: &Ledger) -> Option<Did> {
    let all: order_ledger::Result<Vec<Order>> = ledger.orders().collect();
    all.ok().map(|all| Did::Listed { all: all.iter().map(shown).collect() })
}

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    PowerCut,
    Kill,
    /// A call of the disk fails, and the ledger is closed poisoned.
    Fault,
    Close,
}

/// The history of a seed, and what it came to.
pub(crate) fn history(seed: u64) -> (Vec<Call>, Figures) {
    let mut random = Random::new(seed);
    let (disk, host) = (SimDisk::new(seed), SimHost::new(seed ^ 0xabcd));
    let book = Arc::new(Book {
        disk: disk.clone(),
        clock: AtomicU64::new(1),
        calls: Mutex::default(),
        durable: Mutex::default(),
    });
    let mut figures = Figures { histories: 1, ..Figures::default() };
    let mut life = 0;
    while book.calls.lock().unwrap().len() < CALLS_MIN {
        let ledger = open(&disk, &host, &mut random, &mut figures);
        book.opened();
        list_once(&book, life, &ledger);
        let end = random.pick(&[End::PowerCut, End::PowerCut, End::Kill, End::Fault, End::Close]);
        let calls = 40 + random.below(80);
        match end {
            End::PowerCut | End::Kill => disk.power_off_after(1 + random.below(calls * 2)),
            End::Fault => {
                let fault = random.pick(&[Fault::Eio, Fault::EioLate, Fault::Enospc]);
                disk.fail_call(1 + random.below(calls), fault);
            }
            End::Close => {}
        }
        let done = book.calls.lock().unwrap().len() as u64;
        let commit = CommitThread::start(&ledger);
        let callers = start_callers(&book, &ledger, life, &mut random, calls, done);
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        figures.poisoned += u64::from(end == End::Fault && ledger.poisoned().is_some());
        if matches!(end, End::PowerCut | End::Kill) {
            // Not reached by the calls: then it dies idle. Either way it must not close in peace.
            disk.power_off_after(0);
        }
        close(ledger);
        commit.end();
        disk.clear_faults();
        end_process(end, &disk, &mut random, &mut figures);
        life += 1;
    }
    let ledger = open(&disk, &host, &mut Random::new(seed), &mut figures);
    book.opened();
    list_once(&book, life, &ledger);
    close(ledger);
    let calls = std::mem::take(&mut *book.calls.lock().unwrap());
    count(&calls, &mut figures);
    (calls, figures)
}

fn list_once(book: &Book, life: u32, ledger: &Ledger) {
    let asked_at = book.now();
    book.note(life, asked_at, list(ledger));
}

fn options(random: &mut Random) -> Options {
    // A queue that fills up, now and then: then some are told `Overloaded`.
    let orders_max = if random.chance(1, 4) { 3 } else { 1000 };
    small().queue_orders_max(orders_max).client_share_percent(100)
}

/// Opens the ledger; sometimes the power goes off while it is opened.
fn open(disk: &SimDisk, host: &SimHost, random: &mut Random, figures: &mut Figures) -> Ledger {
    let options = options(random);
    if random.chance(1, 4) {
        disk.power_off_after(1 + random.below(30));
    }
    loop {
        #[cfg(order_ledger_shuttle)]
        let opened = options.open_scheduled(disk.as_disk(), host.as_host());
        #[cfg(not(order_ledger_shuttle))]
        let opened = options.open_simulated(disk.as_disk(), host.as_host());
        match opened {
            // Not while it is at work: that is the caller's to choose.
            Ok(ledger) if !disk.is_off() => {
                disk.clear_faults();
                return ledger;
            }
            Ok(ledger) => close(ledger),
            Err(error) => assert!(disk.is_off(), "opening refused: {error}"),
        }
        end_process(End::PowerCut, disk, random, figures);
    }
}

fn close(ledger: Ledger) {
    // A poisoned ledger says so when it is closed.
    drop(ledger.close());
}

fn end_process(end: End, disk: &SimDisk, random: &mut Random, figures: &mut Figures) {
    let modes = [
        CrashMode::DropAll,
        CrashMode::KeepAll,
        CrashMode::Prefix,
        CrashMode::Random,
        CrashMode::Adversarial,
    ];
    match end {
        End::PowerCut => {
            disk.crash(Crash::new(random.pick(&modes), random.next()));
            figures.power_cuts += 1;
        }
        End::Kill => {
            disk.kill();
            figures.kills += 1;
        }
        End::Fault => disk.kill(),
        End::Close => {
            disk.kill();
            figures.closed += 1;
        }
    }
}

/// The thread that writes what is deferred. Without a scheduler those who wait do it themselves.
struct CommitThread(Option<thread::JoinHandle<()>>);

impl CommitThread {
    #[cfg(order_ledger_shuttle)]
    fn start(ledger: &Ledger) -> CommitThread {
        let ledger = ledger.clone();
        CommitThread(Some(thread::spawn(move || ledger.run_commit_thread())))
    }

    #[cfg(not(order_ledger_shuttle))]
    fn start(_: &Ledger) -> CommitThread {
        CommitThread(None)
    }

    /// The ledger is closed.
    fn end(self) {
        if let Some(thread) = self.0 {
            thread.join().unwrap();
        }
    }
}

/// Two to five threads that make `calls` calls; `done` were made before.
fn start_callers(
    book: &Arc<Book>,
    ledger: &Ledger,
    life: u32,
    random: &mut Random,
    calls: u64,
    done: u64,
) -> Vec<thread::JoinHandle<()>> {
    let threads = 2 + random.below(4);
    let (first, of) = (done / threads, (CALLS_MIN as u64 + calls) / threads);
    (0..threads)
        .map(|_| {
            let caller = Caller {
                book: Arc::clone(book),
                ledger: ledger.clone(),
                life,
                random: Random::new(random.next()),
                tickets: Vec::new(),
            };
            thread::spawn(move || caller.call(calls / threads, first, of))
        })
        .collect()
}

fn count(calls: &[Call], figures: &mut Figures) {
    figures.calls = calls.len() as u64;
    for call in calls {
        match call.did {
            Did::Took { how: How::Fresh, .. } => figures.fresh += 1,
            Did::Took { how: How::Joined, .. } => figures.joined += 1,
            Did::Conflicted { .. } => figures.conflicts += 1,
            Did::InDoubt { .. } => figures.in_doubt += 1,
            _ => {}
        }
    }
}
