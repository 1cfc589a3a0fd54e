//! `soak`: everything at once, for as long as `--seconds` says. One program that nothing happens to, with
//! sixteen submitters and views, whose memory and open files must stay flat; and beside it a writer that
//! is killed, whose power is cut, whose disk is full or says EIO, with a reader and a verification beside
//! it. Sees: what adds up. Does not see: what takes days.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use order_ledger::Severity;

use super::Plan;
use crate::book::{Book, Look};
use crate::child::Work;
use crate::failure::{Doing, Result, broken};
use crate::fuse::{Disks, Fail};
use crate::image::{FileSystem, Loop, Mounted, need};
use crate::orders::Sizes;
use crate::parent::Running;
use crate::rng::Rng;
use crate::steady::Life;
use crate::tally::Tally;
use crate::wire::Event;

const SECONDS: u64 = 60;
const TROUBLES_PER_DISK: u64 = 10;
const SYSTEMS: [&str; 2] = ["ext4-ordered-4k", "xfs-4k"];
/// Larger than what is written to it.
const DISK_MIB: u64 = 512;

/// A soak of this length in which one of these never happened was none.
const SECONDS_FOR_ALL: f64 = 110.0;
const TROUBLES: [&str; 4] = ["kills", "cuts", "full_disks_noticed", "eio_injected"];

pub fn run(plan: &Plan) -> Result<Tally> {
    need(&["mkfs.ext4", "mkfs.xfs"])?;
    let mut plan = plan.clone();
    plan.seconds = plan.seconds.or(Some(SECONDS));
    let mut tally = Tally::new("soak", plan.seed);
    let steady = Steady::start(&plan)?;
    let mut number = plan.from;
    while tally.rounds < plan.rounds && !plan.is_over() {
        tally.round = number;
        one_disk(&plan, number, &mut tally)?;
        number += 1;
        tally.next = number;
        eprintln!(
            "disk {number}: {} troubles in {:.0} s, {} violations so far",
            tally.rounds,
            tally.seconds(),
            tally.violations()
        );
    }
    steady.end(&mut tally)?;
    if tally.seconds() >= SECONDS_FOR_ALL {
        for trouble in TROUBLES {
            if tally.get(trouble) == 0 {
                tally.wrong(format!("{trouble}: not once; this soak has not tested it"));
            }
        }
    }
    Ok(tally)
}

/// The program that nothing happens to.
struct Steady {
    child: Child,
    ear: JoinHandle<(Vec<Life>, Vec<String>)>,
    enough: std::sync::Arc<AtomicBool>,
}

impl Steady {
    fn start(plan: &Plan) -> Result<Steady> {
        let dir = plan.on_tmpfs.as_ref().unwrap_or(&plan.dir).join("steady");
        std::fs::create_dir_all(&dir).doing("making a directory")?;
        let mut command = Command::new(std::env::current_exe().doing("finding this program")?);
        command.arg("steady").arg(&dir).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().doing("starting the steady program")?;
        let pipe = child.stdout.take().ok_or_else(|| broken("the program has no pipe"))?;
        let enough = std::sync::Arc::new(AtomicBool::new(false));
        let over = enough.clone();
        // Ends, and closes the pipe, with the first life after `enough`.
        let ear = std::thread::spawn(move || {
            let (mut lives, mut wrong) = (Vec::new(), Vec::new());
            for line in BufReader::new(pipe).lines().map_while(|line| line.ok()) {
                lives.extend(Life::parse(&line));
                wrong.extend(line.strip_prefix("wrong ").map(str::to_owned));
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
            (lives, wrong)
        });
        Ok(Steady { child, ear, enough })
    }

    fn end(mut self, tally: &mut Tally) -> Result<()> {
        self.enough.store(true, Ordering::Relaxed);
        let (lives, wrong) =
            self.ear.join().map_err(|_| broken("the thread that listens panicked"))?;
        let status = self.child.wait().doing("waiting for the steady program")?;
        for what in &wrong {
            tally.wrong(format!("the program that nothing happens to: {what}"));
        }
        if !status.success() && wrong.is_empty() {
            tally.wrong(format!("the program that nothing happens to ended with {status}"));
        }
        for life in &lives {
            tally.add("steady_lives", 1);
            tally.add("steady_orders", life.orders);
            tally.most("steady_rss_kib_max", life.rss_kib);
            tally.most("steady_fds_max", life.fds);
        }
        if let Some(what) = Life::growth(&lives) {
            tally.wrong(format!("{what}, in {} lives", lives.len()));
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    Kill,
    Cut,
    Full,
    Eio,
}

fn one_disk(plan: &Plan, number: u64, tally: &mut Tally) -> Result<()> {
    let mut rng = Rng::for_round(plan.seed, number);
    let name = SYSTEMS[usize::try_from(number).unwrap_or(0) % SYSTEMS.len()];
    let fs = FileSystem::by_name(name).ok_or_else(|| broken("no such file system"))?;
    let disks = Disks::mount(&plan.dir.join("disks"), &[DISK_MIB])?;
    let device = Loop::attach(&disks.path(0))?;
    fs.make_on(device.device())?;
    let at = plan.dir.join("mnt");
    let mut mounted = fs.must_mount(device.device(), &at)?;
    let mut book = Book::new(rng.next(), *rng.pick(&[Sizes::Small, Sizes::Mixed]));
    for trouble in 0..TROUBLES_PER_DISK {
        if plan.is_over() || mounted.free_bytes()? < DISK_MIB * 1024 * 1024 / 3 {
            break;
        }
        let work = Work {
            dir: at.join("orders.ledger"),
            orders_seed: book.orders_seed,
            seed: rng.next(),
            base: (trouble + 1) << 32,
            threads: rng.range(2, 16),
            sizes: book.sizes,
            relaxed: false,
            cycles: false,
            limit: 0,
            disk_free_min_bytes: 1024 * 1024,
            views: Some(rng.chance(30)),
        };
        book.last_base = work.base;
        let trouble = match rng.range(0, 19) {
            0..10 => Trouble::Kill,
            10..14 => Trouble::Cut,
            14..17 => Trouble::Full,
            _ => Trouble::Eio,
        };
        let scene = Scene { mounted: &mounted, disks: &disks, work: &work };
        scene.play(trouble, &mut book, &mut rng, tally)?;
        tally.rounds += 1;
        if trouble != Trouble::Kill || rng.chance(30) {
            // After a cut there is no other way, and after an error the file system may be down.
            mounted.unmount()?;
            mounted = fs.must_mount(device.device(), &at)?;
        }
        book.check(&work.dir, &work.options(), Look::random(&mut rng), &mut rng, tally);
    }
    mounted.unmount()
}

struct Scene<'a> {
    mounted: &'a Mounted,
    disks: &'a Disks,
    work: &'a Work,
}

impl Scene<'_> {
    /// A child works for a while, with a verification and a reader beside it, and then the trouble comes.
    fn play(
        &self,
        trouble: Trouble,
        book: &mut Book,
        rng: &mut Rng,
        tally: &mut Tally,
    ) -> Result<()> {
        let mut running = Running::start(self.work, |_| {})?;
        running.hear_until(|event| matches!(event, Event::Acked { .. }))?;
        let over = AtomicBool::new(false);
        let (heard, findings) = std::thread::scope(|scope| {
            let verifying = scope.spawn(|| self.verify_until(&over));
            running.hear_for(Duration::from_millis(rng.range(100, 2_500)));
            if rng.chance(30) {
                book.shown.extend(book.look_beside_writer(&self.work.dir, tally));
            }
            let heard = self.strike(trouble, running, rng, tally);
            over.store(true, Ordering::Relaxed);
            (heard, verifying.join().map_err(|_| broken("verify panicked")))
        });
        let (verified, findings) = findings?;
        tally.add("verified", verified);
        for finding in findings {
            tally.wrong(format!("verify beside the writer says: {finding}"));
        }
        for event in &heard? {
            match event {
                Event::Refused { why, .. } => tally.refused(format!("in the child: {why}")),
                _ => book.enter(event, tally),
            }
        }
        Ok(())
    }

    fn strike(
        &self,
        trouble: Trouble,
        mut running: Running,
        rng: &mut Rng,
        tally: &mut Tally,
    ) -> Result<Vec<Event>> {
        match trouble {
            Trouble::Kill => tally.add("kills", 1),
            Trouble::Cut => {
                tally.add("cuts", 1);
                self.mounted.pull_the_plug()?;
            }
            Trouble::Full => {
                tally.add("full_disks", 1);
                self.mounted.fill_up(0)?;
                let low = |event: &Event| matches!(event, Event::NotRecorded { .. });
                let was_low = running.hear_within(Duration::from_secs(5), low);
                tally.add("full_disks_noticed", u64::from(was_low));
                self.mounted.remove_foreign()?;
                // Goes on by itself.
                running.hear_until(|event| matches!(event, Event::Acked { .. }))?;
            }
            Trouble::Eio => {
                tally.add("eio_windows", 1);
                let fail = *rng.pick(&[Fail::OrderWrites, Fail::OrderWrites, Fail::Flushes]);
                let disk = self.disks.disk(0);
                disk.arm(fail, rng.range(0, 20), rng.range(1, 3));
                // Until every thread has met an error, and the child has said so.
                running.hear_within(Duration::from_secs(10), |event| *event == Event::Done);
                tally.add("eio_injected", disk.disarm());
            }
        }
        running.kill()
    }

    /// Verifies again and again. Answers how often, and what was called damage of the log.
    fn verify_until(&self, over: &AtomicBool) -> (u64, Vec<String>) {
        let (mut count, mut bad) = (0, Vec::new());
        while !over.load(Ordering::Relaxed) {
            // When the disk is gone or says EIO nothing can be told, and that is said.
            let Ok(report) = order_ledger::verify(&self.work.dir) else {
                std::thread::park_timeout(Duration::from_millis(20));
                continue;
            };
            count += 1;
            let log = |finding: &&order_ledger::Finding| finding.severity == Severity::Log;
            bad.extend(report.findings.iter().filter(log).map(|finding| finding.to_string()));
        }
        (count, bad)
    }
}
