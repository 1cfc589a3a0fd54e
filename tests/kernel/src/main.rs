//! Rigs that need a real kernel. `kernel-rigs <rig> [--rounds N] [--seed S] [--seconds T] [--from R]
//! [--fs NAME] [--dir D]`; the README beside this says what each sees and does not see.
//!
//! A verdict with counts on stdout, and as the last line the counts as JSON, to be added up over runs;
//! exit 0 passed, 1 a violation, 2 the rig itself broke, 77 skipped.
//! The rig runs in a process of its own: when it dies, whatever way, this one takes down its mounts and
//! loop devices.

mod blocks;
mod book;
mod child;
mod damage;
mod failure;
mod fuse;
mod image;
mod orders;
mod parent;
mod rigs;
mod rng;
mod steady;
mod tally;
mod wire;

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use failure::{Doing, Failure, Result, broken};
use rigs::Plan;
use tally::Tally;

/// A rig, as it is called.
type Run = fn(&Plan) -> Result<Tally>;

/// A rig, and what is said about it.
struct Rig {
    name: &'static str,
    /// Its name in the line that is added up, and what it does again and again.
    layer: &'static str,
    unit: &'static str,
    /// Rounds when none are asked for.
    rounds: u64,
    run: Run,
}

const fn rig(
    name: &'static str,
    (layer, unit): (&'static str, &'static str),
    rounds: u64,
    run: Run,
) -> Rig {
    Rig { name, layer, unit, rounds, run }
}

const RIGS: [Rig; 9] = [
    rig("kill", ("L7", "kills"), 500, rigs::kill::run),
    rig("rotate", ("rotate", "ledgers"), 20, rigs::rotate::run),
    rig("power-cut", ("L8", "cuts"), 60, rigs::power_cut::run),
    rig("block-log", ("L9", "images"), 100, rigs::block_log::run),
    rig("enospc", ("enospc", "rounds"), 4, rigs::enospc::run),
    rig("eio", ("eio", "rounds"), 8, rigs::eio::run),
    rig("eio-read", ("eio-read", "rounds"), 8, rigs::eio_read::run),
    rig("erofs", ("erofs", "rounds"), 8, rigs::erofs::run),
    rig("soak", ("soak", "troubles"), u64::MAX, rigs::soak::run),
];

const PREFIX: &str = "order-ledger-kernel-";
const SKIPPED: u8 = 77;
/// For what is to be quick, beside the directory that was asked for.
const TMPFS: &str = "/dev/shm";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let code = match args.first().map(String::as_str) {
        Some("child") => child::Work::parse(&args[1..]).map_or(2, |work| child::run(&work)),
        Some("steady") => args.get(1).map_or(2, |dir| steady::run(Path::new(dir))),
        Some("inside") => inside(&args[1..]),
        Some("clean") => {
            args[1..].iter().for_each(|dir| image::clean_up(Path::new(dir)));
            0
        }
        Some(_) => supervise(&args),
        None => usage("which rig?"),
    };
    ExitCode::from(code)
}

fn usage(what: &str) -> u8 {
    let names: Vec<&str> = RIGS.iter().map(|rig| rig.name).collect();
    eprintln!(
        "{what}\nusage: kernel-rigs <{}> [--rounds N] [--seed S] [--seconds T] [--from R] [--fs NAME] [--dir D]",
        names.join("|")
    );
    2
}

/// Runs the rig in a process of its own, and takes down what it leaves.
fn supervise(args: &[String]) -> u8 {
    let base = option(args, "--dir").map_or_else(std::env::temp_dir, PathBuf::from);
    sweep(&base);
    sweep(Path::new(TMPFS));
    let dir = base.join(format!("{PREFIX}{}", std::process::id()));
    let quick = on_tmpfs(&dir);
    let made = std::fs::create_dir_all(&dir)
        .and_then(|()| quick.as_ref().map_or(Ok(()), std::fs::create_dir_all));
    let ran = made.doing("making a directory").and_then(|()| {
        let program = std::env::current_exe().doing("finding this program")?;
        // A signal to our group (Ctrl-C, timeout) must not reach it: a rig that dies while one of its
        // threads waits for a disk that another of its threads serves can't be killed any more.
        // The pipe to its stdin is never written: its end tells the rig that we are gone.
        let mut rig = Command::new(program)
            .arg("inside")
            .arg(&dir)
            .args(args)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .doing("starting the rig")?;
        // Held while we wait: `wait` would close it first.
        let held = rig.stdin.take();
        let status = rig.wait().doing("waiting for the rig");
        drop(held);
        status
    });
    image::clean_up(&dir);
    if let Some(quick) = quick {
        image::clean_up(&quick);
    }
    match ran {
        Ok(status) => status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(2),
        Err(failure) => {
            eprintln!("BROKEN {failure}");
            2
        }
    }
}

/// The same directory on tmpfs, where there is one.
fn on_tmpfs(dir: &Path) -> Option<PathBuf> {
    let name = dir.file_name()?;
    Path::new(TMPFS).is_dir().then(|| Path::new(TMPFS).join(name))
}

/// Takes down what supervisors that were killed have left.
fn sweep(base: &Path) {
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix(PREFIX).and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        if !Path::new(&format!("/proc/{pid}")).exists() {
            image::clean_up(&entry.path());
        }
    }
}

fn option<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    let at = args.iter().position(|arg| arg == name)?;
    args.get(at + 1).map(String::as_str)
}

fn plan(args: &[String]) -> Result<(&'static Rig, Plan)> {
    let dir = args.first().ok_or_else(|| broken("no directory"))?;
    let name = args.get(1).ok_or_else(|| broken("no rig"))?;
    let rig = RIGS.iter().find(|rig| rig.name == name).ok_or_else(|| broken("no such rig"))?;
    let known = ["--rounds", "--seed", "--seconds", "--from", "--fs", "--dir"];
    if let Some(other) = args[2..].chunks(2).find(|pair| !known.contains(&pair[0].as_str())) {
        return Err(broken(format!("no such option: {}", other[0])));
    }
    let number = |name: &str| match option(args, name) {
        Some(text) => text.parse::<u64>().map(Some).doing(name),
        None => Ok(None),
    };
    let seed = match number("--seed")? {
        Some(seed) => seed,
        // No seed given: the time of day is as good as any, and is printed.
        None => std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |since| since.as_secs()),
    };
    let rounds = number("--rounds")?.unwrap_or(rig.rounds);
    let mut plan = Plan::new(PathBuf::from(dir), seed, rounds);
    plan.on_tmpfs = on_tmpfs(Path::new(dir));
    plan.seconds = number("--seconds")?;
    plan.from = number("--from")?.unwrap_or(0);
    if let Some(name) = option(args, "--fs") {
        let fs = image::FileSystem::by_name(name).ok_or_else(|| broken("no such file system"))?;
        plan.only = Some(fs);
    }
    Ok((rig, plan))
}

/// The rig itself.
fn inside(args: &[String]) -> u8 {
    let name = args.get(1).cloned().unwrap_or_default();
    let (rig, plan) = match plan(args) {
        Ok(plan) => plan,
        Err(failure) => return usage(&failure.to_string()),
    };
    let dir = plan.dir.clone();
    std::thread::spawn(move || {
        // Ends with the supervisor: nobody would be left to clean up.
        let mut nothing = String::new();
        drop(std::io::stdin().read_line(&mut nothing));
        image::abort_fuse(&dir);
        // And then somebody is, when we are gone as well.
        for left in std::iter::once(dir.clone()).chain(on_tmpfs(&dir)) {
            let cleaner = std::env::current_exe()
                .and_then(|program| Command::new(program).arg("clean").arg(left).spawn());
            if let Err(error) = cleaner {
                eprintln!("note: nobody cleans up: {error}");
            }
        }
        std::process::exit(2);
    });
    match (rig.run)(&plan) {
        Ok(tally) => {
            let verdict = if tally.violations() == 0 { "PASSED" } else { "FAILED" };
            println!("{verdict} {} --seed {} {}", name, plan.seed, tally.line());
            println!("{}", tally.result(rig.layer, rig.unit));
            u8::from(tally.violations() > 0)
        }
        Err(Failure::Skipped(why)) => {
            println!("SKIPPED {name}: {why}");
            SKIPPED
        }
        Err(Failure::Broken(why)) => {
            println!("BROKEN {name} --seed {}: {why}", plan.seed);
            2
        }
    }
}
