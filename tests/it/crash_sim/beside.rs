//! Who does something between two calls of somebody else: the second submitter, a reader, an opener.
//!
//! Nobody asks for a step here: that call waits for its answer, and who would write it waits for this one. What
//! threads do to each other is the subject of `schedules` and `linearizability`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use order_ledger::disk::sim::{SimDisk, SimHost};
use order_ledger::disk::{Disk, Host};
use order_ledger::{
    AlertEvent, Error, Event, Follower, HoldEntry, Ledger, Options, Reader, Result, Seq, Stats,
    Submission, Ticket, Timestamp,
};

use super::batches::CONSUMER;
use super::plan::Key;
use super::steps::Told;
use super::stuck::{self, Stuck};
use crate::watched::{Watch, watched};

/// What is to be done.
pub(super) enum Errand {
    Defer(Key, Submission),
    Look(Key, Submission),
    Reader,
    Opener(Options),
    /// So many events at most.
    Follow(usize),
}

/// What came of it.
pub(super) enum Heard {
    Ticket(Key, Ticket),
    Looked(Key, Result<Option<Box<Told>>>),
    Read(Result<Box<Seen>>),
    /// The second opener; it held the ledger for a moment, or was refused.
    Opened(Option<Error>),
    /// The follower has read on, and up to where.
    Followed(Result<(Vec<Event>, Seq)>),
}

/// An order and its history, by its key.
pub(super) fn look(ledger: &Ledger, order: &Submission) -> Result<Option<Told>> {
    let Some(order) = ledger.by_key(order.client(), order.key())? else { return Ok(None) };
    let history = ledger.history(order.id())?;
    Ok(Some(Told { order, history }))
}

/// What a reader, or the ledger itself, says of all of a log.
pub(super) struct Seen {
    pub(super) orders: Vec<Told>,
    /// Those in force.
    pub(super) holds: Vec<HoldEntry>,
    /// Everything that ever happened to alerts.
    pub(super) alerts: Vec<AlertEvent>,
    /// Who is stuck.
    pub(super) stuck: Option<Stuck>,
    pub(super) stats: Stats,
    /// Where the consumer stands.
    pub(super) cursor: Seq,
}

/// All of a log, by a reader.
pub(super) fn read(disk: &SimDisk, host: &SimHost) -> Result<Seen> {
    let wall = Timestamp::from_unix_ns(host.wall_ns());
    let reader = Reader::open_on(disk.as_disk(), host)?;
    let told = |order: order_ledger::Order| {
        let history = reader.history(order.id())?;
        Ok(Told { order, history })
    };
    let orders: Result<_> = reader.orders().map(|order| order.and_then(told)).collect();
    let (orders, holds) = (orders?, reader.holds()?);
    let (stats, cursor) = (reader.stats()?, reader.consumer_next(CONSUMER)?);
    let alerts: Result<_> = reader.alert_events(Seq::FIRST).collect();
    let stuck = Some(stuck::ask(wall, |query| reader.stuck(query))?);
    Ok(Seen { orders, holds, alerts: alerts?, stuck, stats, cursor })
}

/// Sees every call of the ledger, and does its errands when their time has come.
pub(super) struct Beside {
    disk: SimDisk,
    host: SimHost,
    calls: AtomicU64,
    busy: AtomicBool,
    errands: Mutex<Vec<(u64, Errand)>>,
    heard: Mutex<Vec<Heard>>,
    pub(super) ledger: Mutex<Option<Ledger>>,
    following: Mutex<Following>,
    /// What the ledger of this life has for a disk.
    writer: Mutex<Weak<Mortal>>,
}

/// A follower in another process, which goes on when the writer is killed, and where it is.
struct Following {
    follower: Option<Follower>,
    next: Seq,
}

/// The calls of one life of the writer: when that is killed, no call is made any more.
struct Mortal {
    beside: Arc<Beside>,
    is_dead: AtomicBool,
}

impl std::fmt::Debug for Mortal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mortal")
    }
}

impl Watch for Mortal {
    fn before(&self) {
        self.beside.before();
    }

    fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }
}

impl Beside {
    pub(super) fn new(disk: &SimDisk, host: &SimHost) -> Arc<Beside> {
        Arc::new(Beside {
            disk: disk.clone(),
            host: host.clone(),
            calls: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            errands: Mutex::default(),
            heard: Mutex::default(),
            ledger: Mutex::default(),
            following: Mutex::new(Following { follower: None, next: Seq::FIRST }),
            writer: Mutex::default(),
        })
    }

    pub(super) fn mount(self: &Arc<Beside>, disk: Arc<dyn Disk>) -> Arc<dyn Disk> {
        let writer = Arc::new(Mortal { beside: Arc::clone(self), is_dead: AtomicBool::new(false) });
        *self.writer.lock().unwrap() = Arc::downgrade(&writer);
        watched(disk, writer)
    }

    /// Kills the writer, and nobody else.
    pub(super) fn kill_writer(&self) {
        if let Some(writer) = self.writer.lock().unwrap().upgrade() {
            writer.is_dead.store(true, Ordering::Relaxed);
        }
    }

    /// Whether there is a follower, which has files open.
    pub(super) fn has_follower(&self) -> bool {
        self.following.lock().unwrap().follower.is_some()
    }

    /// The follower's process ends; where it was is kept.
    pub(super) fn end_follower(&self) {
        self.following.lock().unwrap().follower = None;
    }

    /// The follower reads on, and says up to where; without one, it is opened where the last one was.
    pub(super) fn follow(&self, max: usize) -> Result<(Vec<Event>, Seq)> {
        let Following { follower, next } = &mut *self.following.lock().unwrap();
        let follower = match follower {
            Some(follower) => follower,
            None => {
                let (disk, host) = (self.disk.as_disk(), self.host.as_host());
                follower.insert(Follower::open_on(disk, host, *next)?)
            }
        };
        let events = follower.poll(max, Duration::ZERO)?;
        *next = follower.next();
        Ok((events, *next))
    }

    /// Before the `n`-th call from now.
    pub(super) fn send(&self, n: u64, errand: Errand) {
        let at = self.calls.load(Ordering::Relaxed) + n;
        self.errands.lock().unwrap().push((at, errand));
    }

    /// Nobody does anything any more.
    pub(super) fn call_off(&self) {
        self.errands.lock().unwrap().clear();
    }

    pub(super) fn take_heard(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }

    fn run(&self, errand: Errand) -> Option<Heard> {
        let ledger = self.ledger.lock().unwrap().clone();
        Some(match errand {
            Errand::Defer(key, order) => Heard::Ticket(key, ledger?.submit_deferred(&order)),
            Errand::Look(key, order) => {
                Heard::Looked(key, look(&ledger?, &order).map(|told| told.map(Box::new)))
            }
            Errand::Reader => Heard::Read(read(&self.disk, &self.host).map(Box::new)),
            Errand::Follow(max) => Heard::Followed(self.follow(max)),
            Errand::Opener(options) => {
                let opened = options.open_simulated(self.disk.as_disk(), self.host.as_host());
                Heard::Opened(opened.err())
            }
        })
    }
}

impl Beside {
    /// A call of the ledger is about to be made.
    fn before(&self) {
        // What is done beside makes calls as well, and nobody does anything between those.
        if self.busy.swap(true, Ordering::Relaxed) {
            return;
        }
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        loop {
            let due = {
                let mut errands = self.errands.lock().unwrap();
                let due = errands.iter().position(|(at, _)| *at <= call);
                due.map(|index| errands.remove(index).1)
            };
            let Some(errand) = due else { break };
            if let Some(heard) = self.run(errand) {
                self.heard.lock().unwrap().push(heard);
            }
        }
        self.busy.store(false, Ordering::Relaxed);
    }
}
