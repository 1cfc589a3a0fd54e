//! A round: every row once, for every contender in turn.
//!
//! Ratios are taken inside a round, so that a noisy machine disturbs both sides alike. Each round begins
//! with another contender: nobody always comes behind the one that leaves work for the background.

use std::path::Path;
use std::time::Duration;

use order_ledger::Views;

use crate::contender::{CORE, NO_VIEWS, OURS, RAW_BUFFERED, RAW_DIRECT, Who};
use crate::drive;
use crate::figures::{Figures, What};
use crate::floor::core::Core;
use crate::floor::raw::Raw;
use crate::floor::segment::Mode;
use crate::orders::Source;
use crate::ours::{Known, Ours, deferred};
use crate::pace::Pace;
use crate::peers::Peer;
use crate::sample::{Latencies, rate};
use crate::store::{How, Result, Store};

/// Orders per batch.
pub(crate) const BATCH: usize = 1_000;
const IN_FLIGHT: usize = 64;
/// Blocks of single operations in a round, which alternate between the contenders.
const LONE_BLOCKS: usize = 5;

/// All contenders, open for the whole run, and what they came to.
pub(crate) struct Bench {
    stores: Vec<(Who, Box<dyn Store>)>,
    raws: Vec<(Who, Raw)>,
    ours: Ours,
    known: Known,
    /// Bytes of one order in a log.
    order_bytes: usize,
    pace: Pace,
    pub(crate) figures: Figures,
}

impl Bench {
    pub(crate) fn new(
        dir: &Path,
        peers: &[Peer],
        seconds: Duration,
        source: &mut Source,
    ) -> Result<Bench> {
        let ours = Ours::open(&dir.join("orders.ledger"), Views::On)?;
        let no_views = Ours::open(&dir.join("no-views.ledger"), Views::Off)?;
        let mut stores: Vec<(Who, Box<dyn Store>)> = vec![
            (OURS, Box::new(ours.clone())),
            (NO_VIEWS, Box::new(no_views)),
            (CORE, Box::new(Core::new(&dir.join("core"))?)),
        ];
        for peer in peers {
            let path = dir.join(peer.who.name);
            std::fs::create_dir(&path)?;
            stores.push((peer.who, (peer.open)(&path)?));
        }
        let mut raws = vec![(RAW_BUFFERED, Raw::new(&dir.join("raw"), Mode::Buffered)?)];
        // Not every file system takes direct writes.
        raws.extend(
            Raw::new(&dir.join("raw-direct"), Mode::Direct).ok().map(|raw| (RAW_DIRECT, raw)),
        );
        let known = Known::new(&ours.0, source)?;
        let order_bytes = source.log_bytes(1)?;
        let (pace, figures) = (Pace::new(seconds), Figures::default());
        Ok(Bench { stores, raws, ours, known, order_bytes, pace, figures })
    }

    /// The first of them is the warm-up: whoever calls this forgets its figures.
    pub(crate) fn round(&mut self, source: &mut Source) -> Result<()> {
        self.stores.rotate_left(1);
        self.lone(source)?;
        self.threads(source)?;
        self.deferred(source)?;
        self.batches(source)?;
        self.repeats()?;
        self.reads()
    }

    /// Closes everything.
    pub(crate) fn finish(self) -> Result<Figures> {
        drop(self.stores);
        self.ours.0.close()?;
        Ok(self.figures)
    }

    /// Single durable operations.
    fn lone(&mut self, source: &mut Source) -> Result<()> {
        let mut all: Vec<(Who, Latencies, Duration)> = Vec::new();
        let mut add = |who: Who, latencies: Latencies, elapsed: Duration| match all
            .iter_mut()
            .find(|(by, ..)| *by == who)
        {
            Some((_, before, sum)) => {
                before.append(latencies);
                *sum += elapsed;
            }
            None => all.push((who, latencies, elapsed)),
        };
        for _ in 0..LONE_BLOCKS {
            for (who, raw) in &mut self.raws {
                let count = self.pace.count(What::Lone, *who, 200, LONE_BLOCKS) / LONE_BLOCKS;
                let mut latencies = Latencies::default();
                let elapsed = raw.groups(count, self.order_bytes, &mut latencies)?;
                add(*who, latencies, elapsed);
            }
            for (who, store) in self.stores.iter().filter(|(who, _)| *who != NO_VIEWS) {
                let count = self.pace.count(What::Lone, *who, 200, LONE_BLOCKS) / LONE_BLOCKS;
                let orders = source.take(count)?;
                let mut latencies = Latencies::default();
                let elapsed = drive::lone(&**store, &orders, &mut latencies)?;
                add(*who, latencies, elapsed);
            }
        }
        for (who, mut latencies, elapsed) in all {
            self.figures.push(What::LoneP50, who, latencies.percentile_us(50));
            self.figures.push(What::LoneP99, who, latencies.percentile_us(99));
            self.rated(What::Lone, who, latencies.count(), elapsed);
        }
        Ok(())
    }

    /// 8 and 64 threads. Raw: one thread that writes groups of as many orders.
    fn threads(&mut self, source: &mut Source) -> Result<()> {
        for (what, per_sync, threads) in
            [(What::Threads8, What::PerSync8, 8), (What::Threads64, What::PerSync64, 64)]
        {
            self.raw_groups(what, threads)?;
            for index in 0..self.stores.len() {
                let Some((who, store)) = self.stores.get(index) else { continue };
                let who = *who;
                if who == NO_VIEWS {
                    continue;
                }
                let orders = source.take(self.pace.count(what, who, threads * 20, threads))?;
                let groups = self.ours.0.stats()?.groups;
                let elapsed = drive::threads(&**store, &orders, threads)?;
                if who == OURS {
                    let groups = usize::try_from(self.ours.0.stats()?.groups - groups)?;
                    let per_group = rate(orders.len(), elapsed) / rate(groups, elapsed);
                    self.figures.push(per_sync, who, per_group);
                }
                self.rated(what, who, orders.len(), elapsed);
            }
        }
        Ok(())
    }

    fn deferred(&mut self, source: &mut Source) -> Result<()> {
        let orders = source.take(self.pace.count(What::Deferred, OURS, 2_000, 1))?;
        let elapsed = deferred(&self.ours.0, &orders, IN_FLIGHT)?;
        self.rated(What::Deferred, OURS, orders.len(), elapsed);
        Ok(())
    }

    fn batches(&mut self, source: &mut Source) -> Result<()> {
        let what = What::Batches;
        self.raw_groups(what, BATCH)?;
        for index in 0..self.stores.len() {
            let Some((who, store)) = self.stores.get(index) else { continue };
            let who = *who;
            let orders = source.take(self.pace.count(what, who, 5 * BATCH, BATCH))?;
            let elapsed = drive::batches(&**store, &orders, BATCH, &mut Latencies::default())?;
            self.rated(what, who, orders.len(), elapsed);
        }
        Ok(())
    }

    /// Orders that are there, and others under their keys.
    fn repeats(&mut self) -> Result<()> {
        for (one, many, due) in [
            (What::ReplayOne, What::ReplayMany, How::Replayed),
            (What::ConflictOne, What::ConflictMany, How::Conflict),
        ] {
            let count = self.pace.count(one, OURS, 10 * BATCH, BATCH);
            let elapsed = self.known.one_by_one(&self.ours, count, due)?;
            self.rated(one, OURS, count, elapsed);
            let count = self.pace.count(many, OURS, 10 * BATCH, BATCH);
            let elapsed = self.known.in_batches(&self.ours, count, BATCH, due)?;
            self.rated(many, OURS, count, elapsed);
        }
        Ok(())
    }

    fn reads(&mut self) -> Result<()> {
        type Read = fn(&Known, &order_ledger::Ledger, usize, usize) -> Result<Duration>;
        let by_key: Read = Known::by_key;
        for (what, read, threads) in [
            (What::Get1, Known::get as Read, 1),
            (What::Get2, Known::get, 2),
            (What::ByKey1, by_key, 1),
            (What::ByKey2, by_key, 2),
        ] {
            let count = self.pace.count(what, OURS, 20_000, threads);
            let elapsed = read(&self.known, &self.ours.0, count / threads, threads)?;
            self.rated(what, OURS, count, elapsed);
        }
        Ok(())
    }

    /// The raw disk with groups of `orders`.
    fn raw_groups(&mut self, what: What, orders: usize) -> Result<()> {
        for (who, raw) in &mut self.raws {
            let count = self.pace.count(what, *who, 100 * orders, orders);
            let bytes = self.order_bytes * orders;
            let elapsed = raw.groups(count / orders, bytes, &mut Latencies::default())?;
            self.figures.push(what, *who, rate(count, elapsed));
            self.pace.took(what, *who, count, elapsed);
        }
        Ok(())
    }

    fn rated(&mut self, what: What, who: Who, count: usize, elapsed: Duration) {
        self.figures.push(what, who, rate(count, elapsed));
        self.pace.took(what, who, count, elapsed);
    }
}
