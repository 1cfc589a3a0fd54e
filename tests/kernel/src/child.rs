//! The process that is killed, or whose disk goes away: opens the ledger, submits in every way there
//! is, and tells the parent each answer the moment it has it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use order_ledger::{
    Durability, ErrorKind, GroupPadding, Ledger, LogWrites, Options, Outcome, Views,
};

use crate::orders::{self, Sizes};
use crate::rng::Rng;
use crate::wire::{Event, Kind, event_of};

/// What a child is to do.
#[derive(Clone, Debug)]
pub struct Work {
    pub dir: PathBuf,
    /// Seed of the orders: one per ledger.
    pub orders_seed: u64,
    /// Seed of the child's own choices.
    pub seed: u64,
    /// The first order index; it takes the ones behind it.
    pub base: u64,
    pub threads: u64,
    pub sizes: Sizes,
    pub relaxed: bool,
    /// Opens, submits a little, closes, and begins again; else submits until it is killed.
    pub cycles: bool,
    /// Ends by itself after about this many orders; 0 for never.
    pub limit: u64,
    pub disk_free_min_bytes: u64,
    /// The views in sled: on, off, or as `seed` says.
    pub views: Option<bool>,
}

impl Work {
    /// The options of the ledger: small segments, and the rest at random.
    pub fn options(&self) -> Options {
        let mut rng = Rng::new(self.seed ^ 0x6f70_7469_6f6e);
        let padding =
            if rng.chance(25) { GroupPadding::Block } else { GroupPadding::PowerSafeOverwrite };
        let on = rng.chance(25);
        let views = if self.views.unwrap_or(on) { Views::On } else { Views::Off };
        let seal_after = Duration::from_millis(*rng.pick(&[1, 3, 20, 500]));
        let writes = if rng.chance(25) { LogWrites::Cached } else { LogWrites::PastCache };
        Options::new()
            .segment_bytes(1024 * 1024)
            .group_padding(padding)
            .views(views)
            .log_writes(writes)
            .seal_after(seal_after)
            .disk_free_min_bytes(self.disk_free_min_bytes)
            .disk_reserve_bytes(64 * 1024)
            .admission_wait(Duration::from_millis(50))
            .durability(if self.relaxed { Durability::Relaxed } else { Durability::Durable })
    }

    /// The same program as a child with this work.
    pub fn command(&self) -> std::io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("child").arg(&self.dir).args(
            [
                self.orders_seed,
                self.seed,
                self.base,
                self.threads,
                u64::from(self.relaxed),
                u64::from(self.cycles),
                self.limit,
                self.disk_free_min_bytes,
                self.views.map_or(2, u64::from),
            ]
            .map(|number| number.to_string()),
        );
        command.arg(self.sizes.name());
        // Its working directory is not on the disk that is pulled.
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(command)
    }

    pub fn parse(args: &[String]) -> Option<Work> {
        let number = |at: usize| args.get(at)?.parse().ok();
        Some(Work {
            dir: PathBuf::from(args.first()?),
            orders_seed: number(1)?,
            seed: number(2)?,
            base: number(3)?,
            threads: number(4)?,
            relaxed: number(5)? != 0,
            cycles: number(6)? != 0,
            limit: number(7)?,
            disk_free_min_bytes: number(8)?,
            views: Some(number(9)?).filter(|views| *views < 2).map(|views| views == 1),
            sizes: Sizes::parse(args.get(10)?),
        })
    }
}

/// Does the work; returns the exit code.
pub fn run(work: &Work) -> u8 {
    match run_cycles(work) {
        // The pipe broke: the parent is gone, and so are we.
        Err(_) => 3,
        Ok(()) => 0,
    }
}

fn run_cycles(work: &Work) -> std::io::Result<()> {
    let mut rng = Rng::new(work.seed);
    let next = AtomicU64::new(0);
    loop {
        Event::Opening.send()?;
        let ledger = match work.options().open(&work.dir) {
            Ok(ledger) => ledger,
            Err(error) => {
                return refused("", &error).send();
            }
        };
        let rebuilt = ledger.recovery_report().tables_rebuilt;
        Event::Opened { tables_rebuilt: u16::try_from(rebuilt).unwrap_or(u16::MAX) }.send()?;
        let budget = if work.cycles { rng.range(0, 70) } else { work.limit };
        let crew = Crew {
            work,
            ledger: &ledger,
            next: &next,
            left: AtomicU64::new(if budget == 0 && !work.cycles { u64::MAX } else { budget }),
            shared: Mutex::new(None),
            over: AtomicBool::new(false),
            busy: AtomicU64::new(work.threads),
        };
        std::thread::scope(|scope| {
            if work.views == Some(true) {
                scope.spawn(|| crew.tell_when_views_are_ready());
            }
            for thread in 0..work.threads {
                let mut rng = Rng::new(rng.next() ^ thread);
                let crew = &crew;
                scope.spawn(move || {
                    // A broken pipe ends the thread, and soon the process.
                    if crew.submit_until_over(&mut rng).is_err() {
                        crew.over.store(true, Ordering::Relaxed);
                    }
                    crew.busy.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        if !work.cycles && work.limit == 0 {
            // The disk is gone. The parent knows when, and ends us.
            Event::Done.send()?;
            loop {
                std::thread::park();
            }
        }
        Event::Closing.send()?;
        if rng.chance(80) {
            if let Err(error) = ledger.close() {
                refused("closing: ", &error).send()?;
            }
        } else {
            drop(ledger);
        }
        Event::Closed.send()?;
        if !work.cycles {
            return Event::Done.send();
        }
    }
}

fn refused(doing: &str, error: &order_ledger::Error) -> Event {
    let by_the_system = matches!(
        error.kind(),
        ErrorKind::Io { .. } | ErrorKind::DiskLow { .. } | ErrorKind::Poisoned { .. }
    );
    Event::Refused { by_the_system, why: format!("{doing}{error} / {:?}", error.kind()) }
}

/// What the submitting threads share.
struct Crew<'a> {
    work: &'a Work,
    ledger: &'a Ledger,
    next: &'a AtomicU64,
    left: AtomicU64,
    /// An order that one thread has begun and another shall submit as well.
    shared: Mutex<Option<u64>>,
    over: AtomicBool,
    /// Threads that still submit.
    busy: AtomicU64,
}

impl Crew<'_> {
    /// The parent tells by this whether a kill came while they were built.
    fn tell_when_views_are_ready(&self) {
        while self.busy.load(Ordering::Relaxed) > 0 {
            let views = self.ledger.stats().ok().and_then(|stats| stats.views);
            if views.is_some_and(|views| views.phase == "feeding" && views.behind == 0) {
                // A broken pipe is noticed by those who submit.
                drop(Event::ViewsReady.send());
                return;
            }
            std::thread::park_timeout(Duration::from_micros(300));
        }
    }

    /// New order numbers, as many of `wanted` as are left.
    fn take(&self, wanted: u64) -> Vec<u64> {
        let before = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                Some(left.saturating_sub(wanted))
            })
            .unwrap_or(0);
        let got = before.min(wanted);
        let first = self.next.fetch_add(got, Ordering::Relaxed);
        (first..first + got).map(|n| self.work.base + n).collect()
    }

    fn order(&self, index: u64) -> order_ledger::Submission {
        orders::submission(self.work.orders_seed, index, self.work.sizes)
    }

    fn submit_until_over(&self, rng: &mut Rng) -> std::io::Result<()> {
        let mut last = None;
        while !self.over.load(Ordering::Relaxed) {
            match rng.range(0, 9) {
                0..4 => {
                    let Some(&index) = self.take(1).first() else { return Ok(()) };
                    if orders::may_be_shared(index) {
                        self.share(index);
                    }
                    let result = self.ledger.submit(&self.order(index));
                    self.tell(index, &result)?;
                    last = result.is_ok().then_some(index);
                }
                4..6 => {
                    let indexes = self.take(rng.range(1, 40));
                    if indexes.is_empty() {
                        return Ok(());
                    }
                    let orders: Vec<_> = indexes.iter().map(|index| self.order(*index)).collect();
                    for (index, result) in indexes.iter().zip(self.ledger.submit_many(&orders)) {
                        self.tell(*index, &result)?;
                    }
                }
                6..8 => {
                    let indexes = self.take(rng.range(1, 16));
                    if indexes.is_empty() {
                        return Ok(());
                    }
                    let mut tickets: Vec<_> = indexes
                        .iter()
                        .map(|index| self.ledger.submit_deferred(&self.order(*index)))
                        .collect();
                    for (index, ticket) in indexes.iter().zip(&mut tickets) {
                        self.tell(*index, &ticket.wait(None))?;
                    }
                }
                8 => {
                    // The order that another thread is submitting: joins it, or replays it.
                    let shared = self.shared.lock().map(|mut shared| shared.take()).unwrap_or(None);
                    if let Some(index) = shared {
                        self.tell(index, &self.ledger.submit(&self.order(index)))?;
                    }
                }
                _ => {
                    if let Some(index) = last {
                        self.tell(index, &self.ledger.submit(&self.order(index)))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn share(&self, index: u64) {
        if let Ok(mut shared) = self.shared.lock() {
            *shared = Some(index);
        }
    }

    fn tell(&self, index: u64, result: &order_ledger::Result<Outcome>) -> std::io::Result<()> {
        let event = event_of(index, result);
        match &event {
            Event::Acked { .. } => {}
            Event::NotRecorded { kind: Kind::DiskLow | Kind::Overloaded, .. } => {
                // Not an experiment: keeps a full disk from filling the pipe with refusals.
                std::thread::park_timeout(Duration::from_millis(1));
            }
            _ => self.over.store(true, Ordering::Relaxed),
        }
        event.send()
    }
}
