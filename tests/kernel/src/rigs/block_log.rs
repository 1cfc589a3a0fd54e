//! `block-log`: every write and flush of the device is recorded; every crash image is the writes before
//! a flush and any subset of 512-byte sectors of the writes after it. Sees: a missing FLUSH, reordering,
//! torn writes. Does not see: a file system's own bugs as such (a mount that fails is counted apart).

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use super::Plan;
use crate::blocks::{Blocks, SECTOR};
use crate::book::{Book, Look};
use crate::child::Work;
use crate::failure::{Doing, Result};
use crate::fuse::{Disks, Entry, Fail};
use crate::image::{BTRFS_4K, FILE_SYSTEMS, FileSystem, Loop, Mounted, need};
use crate::orders::Sizes;
use crate::parent::Running;
use crate::rng::Rng;
use crate::tally::Tally;
use crate::wire::Event;

/// Crash images of one workload.
const IMAGES_PER_WORKLOAD: usize = 30;

/// The workload's disk, and the one that crash images are looked at on.
const RECORDED: usize = 0;
const CRASHED: usize = 1;

pub fn run(plan: &Plan) -> Result<Tally> {
    need(&["mkfs.ext4", "mkfs.xfs"])?;
    let mut systems: Vec<FileSystem> = FILE_SYSTEMS.to_vec();
    if BTRFS_4K.has_tools() {
        // Every fourth workload.
        for at in [3, 7, 11, 15] {
            systems.insert(at, BTRFS_4K);
        }
    } else {
        eprintln!("SKIPPED block-log on btrfs: mkfs.btrfs is not installed");
    }
    let mut rig = Rig { plan, templates: HashMap::new() };
    let mut tally = Tally::new("block-log", plan.seed);
    for name in ["ext4-ordered-4k", "xfs-4k"] {
        let Some(fs) = FileSystem::by_name(name) else { continue };
        if plan.only.is_none_or(|only| only == fs) {
            rig.canary(&fs, &mut tally)?;
        }
    }
    let mut workload = plan.from;
    while tally.rounds < plan.rounds && !plan.is_over() {
        let at = usize::try_from(workload).unwrap_or(0) % systems.len();
        let fs = plan.only.unwrap_or(systems[at]);
        tally.round = workload;
        let before = (tally.rounds, tally.seconds());
        rig.workload(workload, &fs, false, &mut tally)?;
        let images = tally.rounds - before.0;
        let kind = fs.name.split('-').next().unwrap_or_default();
        tally.add(
            match kind {
                "ext4" => "images_ext4",
                "xfs" => "images_xfs",
                _ => "images_btrfs",
            },
            images,
        );
        tally.add("workloads", 1);
        eprintln!(
            "workload {workload} {}: {images} images, {:.1}/s, {} violations so far",
            fs.name,
            images as f64 / (tally.seconds() - before.1).max(0.001),
            tally.violations()
        );
        workload += 1;
        tally.next = workload;
    }
    Ok(tally)
}

struct Rig<'a> {
    plan: &'a Plan,
    /// Freshly made file systems.
    templates: HashMap<FileSystem, Blocks>,
}

/// What a workload left: the disk before it, all that was written, and what came back.
struct Recording {
    base: Blocks,
    log: Vec<Entry>,
    work: Work,
    book: Book,
}

impl Rig<'_> {
    /// A relaxed ledger promises nothing after a power cut: if it loses nothing, the rig is blind.
    fn canary(&mut self, fs: &FileSystem, tally: &mut Tally) -> Result<()> {
        let mut seen = Tally::new("block-log canary", self.plan.seed);
        seen.loss_expected = true;
        self.workload(u64::MAX, fs, true, &mut seen)?;
        eprintln!("canary {}: {} of {} relaxed orders lost", fs.name, seen.lost, seen.acknowledged);
        // A relaxed ledger may lose; it may not double, and it must open.
        tally.doubled += seen.doubled;
        tally.refused += seen.refused;
        tally.wrong += seen.wrong;
        tally.add("canary_lost", seen.lost);
        if seen.lost == 0 {
            tally.wrong(format!(
                "the canary on {} lost nothing: this rig can't see a loss",
                fs.name
            ));
        }
        Ok(())
    }

    fn workload(
        &mut self,
        number: u64,
        fs: &FileSystem,
        relaxed: bool,
        tally: &mut Tally,
    ) -> Result<()> {
        let mut rng = Rng::for_round(self.plan.seed, number);
        let mib = fs.image_mib;
        // One FUSE mount per workload: a workload is a fresh start in every respect.
        let disks = Disks::mount(&self.plan.dir.join("disks"), &[mib, mib])?;
        let recorded = Loop::attach(&disks.path(RECORDED))?;
        let crashed = Loop::attach(&disks.path(CRASHED))?;
        let template = match self.templates.get(fs) {
            Some(template) => template.clone(),
            None => {
                fs.make_on(recorded.device())?;
                let template = disks.disk(RECORDED).content();
                self.templates.insert(*fs, template.clone());
                template
            }
        };
        disks.disk(RECORDED).exchange(template);
        let recording = self.record(fs, (&disks, &recorded), relaxed, &mut rng, tally)?;
        let images = crash_images(&recording, &mut rng);
        let mut state = Replay::new(&recording);
        for point in images {
            let (image, book) = state.image(point, &mut rng, tally);
            let eye = Eye { plan: self.plan, fs, disks: &disks, device: &crashed, number };
            eye.look(image, book, &recording.work, &mut rng, tally)?;
            tally.rounds += 1;
        }
        Ok(())
    }

    /// Runs a child on a fresh (or aged) file system, and records.
    fn record(
        &self,
        fs: &FileSystem,
        (disks, device): (&Disks, &Loop),
        relaxed: bool,
        rng: &mut Rng,
        tally: &mut Tally,
    ) -> Result<Recording> {
        let disk = disks.disk(RECORDED);
        let at = self.plan.dir.join("recorded");
        let sizes = if rng.chance(60) { Sizes::Mixed } else { Sizes::Small };
        let mut book = Book::new(rng.next(), sizes);
        let mut work = Work {
            dir: at.join("parent").join("orders.ledger"),
            orders_seed: book.orders_seed,
            seed: rng.next(),
            base: 1 << 32,
            threads: rng.range(1, 4),
            sizes,
            relaxed,
            cycles: false,
            limit: 0,
            disk_free_min_bytes: 1024 * 1024,
            views: None,
        };
        if !relaxed && rng.chance(40) {
            // Aged: a first life, closed or not, that is on the medium before the recording begins.
            let mounted = fs.must_mount(device.device(), &at)?;
            work.limit = rng.range(20, 500);
            book.last_base = work.base;
            for event in Running::start(&work, |_| {})?.wait()? {
                book.enter(&event, tally);
            }
            work.limit = 0;
            mounted.unmount()?;
        }
        let base = disk.content();
        disk.start_log();
        let mounted = fs.must_mount(device.device(), &at)?;
        work.base = 2 << 32;
        work.seed = rng.next();
        book.last_base = work.base;
        // The child may also open, close and open again: sealing, closing and recovery are in the log.
        work.cycles = !relaxed && rng.chance(30);
        let before = book.clone();
        // In one workload of four the device also says EIO for a while: what is in the log then is what
        // was written, and no flush that failed.
        let errors = !relaxed && rng.chance(25);
        if errors {
            let fail = *rng.pick(&[Fail::OrderWrites, Fail::OrderWrites, Fail::Flushes]);
            disk.arm(fail, rng.range(2, 60), rng.range(1, 4));
            tally.add("error_windows", 1);
        }
        let ear = disk.clone();
        let mut running = Running::start(&work, move |event| {
            if let Event::Acked { index, fresh, receipt } = event {
                ear.note(Entry::Acked { index: *index, fresh: *fresh, receipt: *receipt });
            }
        })?;
        let acks = rng.range(1, 250);
        let mut heard = 0;
        // After an error the child says that it is done, or can't open any more.
        running.hear_until(|event| {
            heard += u64::from(matches!(event, Event::Acked { .. } | Event::NotRecorded { .. }));
            heard >= acks || matches!(event, Event::Done | Event::Refused { .. })
        })?;
        if !relaxed && rng.chance(30) {
            for (index, receipt) in before.look_beside_writer(&work.dir, tally) {
                disk.note(Entry::Shown { index, receipt });
            }
        }
        running.hear_for(Duration::from_micros(rng.range(0, 150_000)));
        let heard = running.kill()?;
        let log = disk.take_log();
        tally.add("errors_injected", disk.disarm());
        mounted.unmount()?;
        for event in &heard {
            match event {
                Event::Refused { by_the_system: true, .. } if errors => {}
                Event::Refused { why, .. } => tally.refused(format!("in the child: {why}")),
                _ => book.enter(event, tally),
            }
        }
        let flushes = log.iter().filter(|entry| matches!(entry, Entry::Flush)).count();
        tally.add("flushes_recorded", flushes as u64);
        tally.add("entries_recorded", log.len() as u64);
        Ok(Recording { base, log, work, book: before })
    }
}

/// Positions in the log at which the power fails: right behind an acknowledgement, where the promise is
/// the youngest; right before a flush, where most is in flight; and anywhere. Ascending.
fn crash_images(recording: &Recording, rng: &mut Rng) -> Vec<usize> {
    let log = &recording.log;
    let (mut behind_acks, mut before_flushes) = (Vec::new(), Vec::new());
    for (at, entry) in log.iter().enumerate() {
        match entry {
            Entry::Acked { .. } => behind_acks.push(at + 1),
            Entry::Flush => before_flushes.push(at),
            Entry::Write { .. } | Entry::Shown { .. } => {}
        }
    }
    let mut points: Vec<usize> = (0..IMAGES_PER_WORKLOAD)
        .map(|_| match rng.range(0, 4) {
            0..2 if !behind_acks.is_empty() => *rng.pick(&behind_acks),
            2..4 if !before_flushes.is_empty() => *rng.pick(&before_flushes),
            _ => usize::try_from(rng.range(0, log.len() as u64)).unwrap_or(0),
        })
        .collect();
    points.sort_unstable();
    points
}

/// Walks along the log and makes crash images.
struct Replay<'a> {
    log: &'a [Entry],
    /// The disk with everything up to `durable_to`, which is where a flush is.
    durable: Blocks,
    durable_to: usize,
    /// What had been acknowledged up to `heard_to`.
    book: Book,
    heard_to: usize,
}

impl<'a> Replay<'a> {
    fn new(recording: &'a Recording) -> Replay<'a> {
        Replay {
            log: &recording.log,
            durable: recording.base.clone(),
            durable_to: 0,
            book: recording.book.clone(),
            heard_to: 0,
        }
    }

    /// The disk after a crash at `point`, and what it must hold. Points come in ascending order.
    fn image(&mut self, point: usize, rng: &mut Rng, tally: &mut Tally) -> (Blocks, Book) {
        let flushed = (self.durable_to..point)
            .rev()
            .find(|at| matches!(self.log.get(*at), Some(Entry::Flush)))
            .unwrap_or(self.durable_to);
        for entry in &self.log[self.durable_to..flushed] {
            if let Entry::Write { offset, data } = entry {
                self.durable.write(*offset, data);
            }
        }
        self.durable_to = flushed;
        // Orders are counted where they were recorded.
        let mut uncounted = Tally::new("replay", 0);
        for entry in &self.log[self.heard_to..point] {
            match entry {
                Entry::Acked { index, fresh, receipt } => {
                    self.book.acknowledge(*index, *fresh, receipt, &mut uncounted);
                }
                Entry::Shown { index, receipt } => {
                    self.book.shown.insert(*index, *receipt);
                }
                Entry::Write { .. } | Entry::Flush => {}
            }
        }
        self.heard_to = point;
        tally.doubled += uncounted.doubled;
        tally.wrong += uncounted.wrong;
        let mut image = self.durable.clone();
        let dropped = write_subset(&mut image, &self.log[flushed..point], rng);
        tally.add("sectors_dropped", dropped);
        (image, self.book.clone())
    }
}

/// Writes a random subset of the sectors of these writes. Answers how many were dropped.
fn write_subset(image: &mut Blocks, writes: &[Entry], rng: &mut Rng) -> u64 {
    let keep_percent = *rng.pick(&[0, 5, 50, 50, 50, 95, 100]);
    let whole_writes = rng.chance(30);
    let mut dropped = 0;
    for entry in writes {
        let Entry::Write { offset, data } = entry else { continue };
        let whole = rng.chance(keep_percent);
        for (at, sector) in data.chunks(SECTOR).enumerate() {
            let keep = if whole_writes { whole } else { rng.chance(keep_percent) };
            if keep {
                image.write(offset + (at * SECTOR) as u64, sector);
            } else {
                dropped += 1;
            }
        }
    }
    dropped
}

/// Looks at crash images.
struct Eye<'a> {
    plan: &'a Plan,
    fs: &'a FileSystem,
    disks: &'a Disks,
    device: &'a Loop,
    number: u64,
}

impl Eye<'_> {
    fn look(
        &self,
        image: Blocks,
        mut book: Book,
        work: &Work,
        rng: &mut Rng,
        tally: &mut Tally,
    ) -> Result<()> {
        let disk = self.disks.disk(CRASHED);
        let at = self.plan.dir.join("crashed");
        let dir = self.dir_on(&at, work)?;
        let mut image = image;
        // A crash in recovery, and in the recovery from that.
        let mut depth = 0;
        while depth < 2 && rng.chance(25) {
            disk.exchange(image.clone());
            // With the mount: the file system's own recovery is interrupted as well.
            disk.start_log();
            let Some(mounted) = self.mount(&at, tally)? else { return Ok(()) };
            match work.options().open(&dir) {
                Ok(ledger) => drop(ledger),
                Err(error) => tally.refused(format!("open: {error} / {:?}", error.kind())),
            }
            let log = disk.take_log();
            mounted.unmount()?;
            let recording = Recording { base: image, log, work: work.clone(), book: book.clone() };
            image = after_recovery(&recording, rng, tally);
            depth += 1;
            tally.add("crashes_in_recovery", 1);
        }
        disk.exchange(image.clone());
        let Some(mounted) = self.mount(&at, tally)? else { return Ok(()) };
        let violations = tally.violations();
        book.check(&dir, &work.options(), Look::random(rng), rng, tally);
        mounted.unmount()?;
        if tally.violations() > violations && !tally.loss_expected {
            self.keep(&image)?;
        }
        Ok(())
    }

    fn dir_on(&self, at: &std::path::Path, work: &Work) -> Result<PathBuf> {
        let within =
            work.dir.strip_prefix(self.plan.dir.join("recorded")).doing("the ledger's path")?;
        Ok(at.join(within))
    }

    fn mount(&self, at: &std::path::Path, tally: &mut Tally) -> Result<Option<Mounted>> {
        match self.fs.mount(self.device.device(), at)? {
            Ok(mounted) => Ok(Some(mounted)),
            Err(error) => {
                // The file system does not survive its own torn metadata: not ours to judge.
                tally.add("file_system_refused", 1);
                eprintln!("note: {} does not mount: {error}", self.fs.name);
                Ok(None)
            }
        }
    }

    /// Keeps an image for whoever looks for the cause.
    fn keep(&self, image: &Blocks) -> Result<()> {
        use std::os::unix::fs::FileExt as _;
        let name = format!("block-log-{}-{}.img", self.plan.seed, self.number);
        let at = std::env::temp_dir().join(name);
        let file = std::fs::File::create(&at).doing("keeping an image")?;
        file.set_len(image.bytes()).doing("keeping an image")?;
        let mut piece = vec![0; 1024 * 1024];
        for offset in (0..image.bytes()).step_by(piece.len()) {
            image.read(offset, &mut piece);
            if piece.iter().any(|byte| *byte != 0) {
                file.write_all_at(&piece, offset).doing("keeping an image")?;
            }
        }
        eprintln!("kept the image in {}", at.display());
        Ok(())
    }
}

/// The disk after a crash somewhere in the recovery that this log records.
fn after_recovery(recording: &Recording, rng: &mut Rng, tally: &mut Tally) -> Blocks {
    let point = usize::try_from(rng.range(0, recording.log.len() as u64)).unwrap_or(0);
    Replay::new(recording).image(point, rng, tally).0
}
