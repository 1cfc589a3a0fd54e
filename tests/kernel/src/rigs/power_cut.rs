//! `power-cut`: a real file system on a loop device, cut by the shutdown ioctl at a random moment.
//! Sees: missing fsync of data and of names, as far as the file system does not hide it. Does not see:
//! a missing FLUSH to the drive (the block log does).

use std::time::Duration;

use super::Plan;
use crate::book::{Book, Look};
use crate::child::Work;
use crate::failure::{Doing, Result, broken};
use crate::image::{FILE_SYSTEMS, FileSystem, Loop, Mounted, need, sparse_file};
use crate::orders::Sizes;
use crate::parent::Running;
use crate::rng::Rng;
use crate::tally::Tally;
use crate::wire::Event;

/// Cuts of one image; then a new one is made.
const CUTS_PER_IMAGE: u64 = 12;

/// Most cuts of the canary on each file system. Some cuts come before there is anything to lose; none that
/// loses in all of them is a blind rig.
const CANARY_CUTS: u64 = 20;

pub fn run(plan: &Plan) -> Result<Tally> {
    need(&["mkfs.ext4", "mkfs.xfs"])?;
    let mut tally = Tally::new("power-cut", plan.seed);
    for name in ["ext4-ordered-4k", "xfs-4k"] {
        let Some(fs) = FileSystem::by_name(name) else { continue };
        if plan.only.is_none_or(|only| only == fs) {
            canary(plan, &fs, &mut tally)?;
        }
    }
    let mut image = plan.from;
    while tally.rounds < plan.rounds && !plan.is_over() {
        let at = usize::try_from(image).unwrap_or(0) % FILE_SYSTEMS.len();
        let fs = plan.only.unwrap_or(FILE_SYSTEMS[at]);
        tally.round = image;
        let before = (tally.rounds, tally.seconds());
        one_image(plan, image, &fs, &mut tally)?;
        let cuts = tally.rounds - before.0;
        let kind = if fs.name.starts_with("xfs") { "cuts_xfs" } else { "cuts_ext4" };
        tally.add(kind, cuts);
        eprintln!(
            "image {image} {}: {cuts} cuts, {:.1}/s, {} violations so far",
            fs.name,
            cuts as f64 / (tally.seconds() - before.1).max(0.001),
            tally.violations()
        );
        image += 1;
        tally.next = image;
    }
    Ok(tally)
}

/// An image, attached and mounted.
struct Bench {
    fs: FileSystem,
    at: std::path::PathBuf,
    image: std::path::PathBuf,
    device: Loop,
}

impl Bench {
    fn new(plan: &Plan, name: &str, fs: &FileSystem, mib: u64) -> Result<Bench> {
        let image = plan.dir.join(format!("{name}.img"));
        sparse_file(&image, mib)?;
        fs.make_on(&image)?;
        let device = Loop::attach(&image)?;
        Ok(Bench { fs: *fs, at: plan.dir.join("mnt"), image, device })
    }

    fn mount(&self) -> Result<Mounted> {
        self.fs.must_mount(self.device.device(), &self.at)
    }

    fn remove(self) -> Result<()> {
        drop(self.device);
        std::fs::remove_file(&self.image).doing("removing an image")
    }
}

/// A relaxed ledger promises nothing after a power cut: if none loses anything, the rig is blind.
fn canary(plan: &Plan, fs: &FileSystem, tally: &mut Tally) -> Result<()> {
    let mut seen = Tally::new("power-cut canary", plan.seed);
    seen.loss_expected = true;
    let mut rng = Rng::new(plan.seed ^ 0x6361_6e61_7279);
    let bench = Bench::new(plan, "canary", fs, fs.image_mib)?;
    for round in 0..CANARY_CUTS {
        seen.round = round;
        let mounted = bench.mount()?;
        let mut book = Book::new(rng.next(), Sizes::Small);
        let mut work = work_on(&mounted, round, &book, &mut rng);
        work.relaxed = true;
        let mounted = cut(&bench, mounted, &work, false, &mut book, &mut rng, &mut seen)?;
        let look = Look { reader_first: false, close: true, retry_absent: false };
        book.check(&work.dir, &work.options(), look, &mut rng, &mut seen);
        mounted.unmount()?;
        if seen.lost > 0 {
            break;
        }
    }
    bench.remove()?;
    eprintln!("canary {}: {} of {} relaxed orders lost", fs.name, seen.lost, seen.acknowledged);
    tally.add("canary_lost", seen.lost);
    if seen.lost == 0 {
        tally.wrong(format!("the canary on {} lost nothing: this rig can't see a loss", fs.name));
    }
    // A relaxed ledger may lose; it may not double, and it must open.
    tally.doubled += seen.doubled;
    tally.refused += seen.refused;
    tally.wrong += seen.wrong;
    Ok(())
}

fn work_on(mounted: &Mounted, number: u64, book: &Book, rng: &mut Rng) -> Work {
    Work {
        dir: mounted.path().join(format!("ledger-{number}")),
        orders_seed: book.orders_seed,
        seed: rng.next(),
        base: 1 << 32,
        threads: rng.range(1, 4),
        sizes: book.sizes,
        relaxed: false,
        cycles: false,
        limit: 0,
        disk_free_min_bytes: 64 * 1024,
        views: None,
    }
}

/// Lets a child work, cuts the power at a random moment, and mounts again.
fn cut(
    bench: &Bench,
    mounted: Mounted,
    work: &Work,
    look_beside: bool,
    book: &mut Book,
    rng: &mut Rng,
    tally: &mut Tally,
) -> Result<Mounted> {
    book.last_base = work.base;
    let mut running = Running::start(work, |_| {})?;
    if rng.chance(20) {
        // In opening: making the ledger, or recovering from the cut before.
        running.hear_until(|event| *event == Event::Opening)?;
        running.hear_for(Duration::from_micros(rng.range(0, 12_000)));
    } else {
        let acks = rng.range(1, 150);
        let mut heard = 0;
        let enough = |event: &Event| {
            heard += u64::from(matches!(event, Event::Acked { .. } | Event::NotRecorded { .. }));
            heard >= acks
        };
        running.hear_until(enough)?;
        running.hear_for(Duration::from_micros(rng.range(0, 30_000)));
        if look_beside {
            book.shown.extend(book.look_beside_writer(&work.dir, tally));
        }
    }
    mounted.pull_the_plug()?;
    let heard = running.kill()?;
    tally.rounds += 1;
    for event in &heard {
        match event {
            // After the cut the disk says no; that is no refusal of the ledger's.
            Event::Refused { by_the_system: true, .. } => tally.add("cut_in_opening", 1),
            Event::Refused { why, .. } => tally.refused(format!("in the child: {why}")),
            _ => book.enter(event, tally),
        }
    }
    mounted.unmount()?;
    bench.mount()
}

fn one_image(plan: &Plan, number: u64, fs: &FileSystem, tally: &mut Tally) -> Result<()> {
    let mut rng = Rng::for_round(plan.seed, number);
    let mib = fs.image_mib + rng.range(0, 2) * 96;
    let bench = Bench::new(plan, &format!("image-{number}"), fs, mib)?;
    let mut mounted = bench.mount()?;
    let sizes = if rng.chance(75) { Sizes::Mixed } else { Sizes::Small };
    let mut book = Book::new(rng.next(), sizes);
    let mut work = work_on(&mounted, 0, &book, &mut rng);
    // Fresh, aged by many orders before, or nearly full. In turn, so that each file system has each.
    let kind = (number / FILE_SYSTEMS.len() as u64 + number) % 3;
    match kind {
        1 => {
            work.limit = rng.range(1_000, 3_000);
            book.last_base = work.base;
            for event in Running::start(&work, |_| {})?.wait()? {
                book.enter(&event, tally);
            }
            work.limit = 0;
            tally.add("images_aged", 1);
        }
        2 => {
            let leave = rng.range(2_500, 6_000) * 1024;
            mounted.fill_up(leave)?;
            tally.add("images_nearly_full", 1);
        }
        _ => tally.add("images_fresh", 1),
    }
    for cut_number in 1..=CUTS_PER_IMAGE {
        if kind != 1 && rng.chance(40) {
            // A ledger that has never been opened before.
            remove_ledger(&work.dir)?;
            book = Book::new(rng.next(), sizes);
            work = work_on(&mounted, cut_number, &book, &mut rng);
        }
        work.base = (cut_number + 1) << 32;
        work.seed = rng.next();
        work.threads = rng.range(1, 4);
        let look_beside = rng.chance(25);
        mounted = cut(&bench, mounted, &work, look_beside, &mut book, &mut rng, tally)?;
        let violations = tally.violations();
        let free = mounted.free_bytes()?;
        if free < 1024 * 1024 + 128 * 1024 && !work.dir.join("LEDGER").exists() {
            // No room for even one segment, and nothing acknowledged: nothing can be checked.
            if !book.acked.is_empty() {
                tally.wrong("a ledger with acknowledged orders is gone".into());
            }
            tally.add("no_room", 1);
            remove_ledger(&work.dir)?;
            continue;
        }
        book.check(&work.dir, &work.options(), Look::random(&mut rng), &mut rng, tally);
        if tally.violations() > violations {
            let keep =
                std::env::temp_dir().join(format!("power-cut-{}-{number}-{cut_number}", plan.seed));
            copy_dir(&work.dir, &keep)?;
            eprintln!("kept what was found in {}", keep.display());
            break;
        }
    }
    mounted.unmount()?;
    bench.remove()
}

/// The cut may have come before there was anything to remove.
fn remove_ledger(dir: &std::path::Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).doing("removing a ledger")
        }
        _ => Ok(()),
    }
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    crate::image::run(std::process::Command::new("cp").arg("-r").arg(from).arg(to))
        .map_err(|error| broken(format!("keeping the ledger: {error}")))
}
