//! What the benches share: where their data lies, the orders they submit, and a ledger that was killed.
//!
//! Always true: the data is on a real file system, never in memory; keys are 32 random bytes, payloads
//! 256 bytes, and all of it is made before the clock runs. Nothing here knows criterion: the comparison, which
//! has none, takes this file as well.

#![allow(dead_code, reason = "each bench uses a part of this")]

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use order_ledger::{Ledger, Options, Submission};

/// Bytes of the payload of every order.
pub(crate) const PAYLOAD_BYTES: usize = 256;

/// Names the directory for the data; else it is made inside the target directory.
const DIR_VARIABLE: &str = "ORDER_LEDGER_BENCH_DIR";

/// What a program that fills a ledger and waits to be killed is called with.
const FILL: &str = "fill-and-wait";

/// Orders that a filling program submits one by one at the end, so that the upkeep has sealed by then
/// what was full.
const SLOW_ORDERS: usize = 2_000;

/// The file system under a directory.
#[derive(Clone, Debug)]
pub(crate) struct FileSystem {
    pub(crate) kind: String,
    pub(crate) options: String,
}

/// A directory for one bench, removed when dropped.
#[derive(Debug)]
pub(crate) struct Dir {
    path: PathBuf,
}

impl Dir {
    /// An empty directory. Refuses a file system in memory: a sync costs nothing there.
    pub(crate) fn new(name: &str) -> io::Result<Dir> {
        let root = root()?;
        std::fs::create_dir_all(&root)?;
        let file_system = file_system(&root)?;
        if ["tmpfs", "ramfs", "rootfs"].contains(&file_system.kind.as_str()) {
            let why = format!("{} is {}: set {DIR_VARIABLE}", root.display(), file_system.kind);
            return Err(io::Error::other(why));
        }
        let path = root.join(format!("{name}-{}", std::process::id()));
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        std::fs::create_dir(&path)?;
        writeln!(io::stderr(), "{name}: data in {} ({})", root.display(), file_system.kind)?;
        Ok(Dir { path })
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn file_system(&self) -> io::Result<FileSystem> {
        file_system(&self.path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // What is left over lies in the target directory and goes with it.
        drop(std::fs::remove_dir_all(&self.path));
    }
}

/// The directory that holds all data of benches.
fn root() -> io::Result<PathBuf> {
    if let Some(named) = std::env::var_os(DIR_VARIABLE) {
        return std::path::absolute(named);
    }
    let program = std::env::current_exe()?;
    // Cargo puts this file into every target directory.
    let target = program.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    let why = || io::Error::other(format!("not run by cargo: set {DIR_VARIABLE}"));
    Ok(target.ok_or_else(why)?.join("bench-data"))
}

/// The mount that `path` lies on: the longest mount point that is a prefix of it, the last one if two
/// lie over each other.
fn file_system(path: &Path) -> io::Result<FileSystem> {
    let path = path.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        path.starts_with(point).then(|| (point.len(), kind.to_owned(), options.to_owned()))
    });
    let (_, kind, options) =
        mounts.max_by_key(|(length, ..)| *length).ok_or(io::ErrorKind::NotFound)?;
    Ok(FileSystem { kind, options })
}

/// An order that no ledger has seen.
pub(crate) fn order() -> Submission {
    let key: [u8; 32] = rand::random();
    let mut payload = vec![0; PAYLOAD_BYTES];
    rand::fill(&mut payload[..]);
    Submission::new("bench", key, payload)
}

pub(crate) fn orders(count: usize) -> Vec<Submission> {
    (0..count).map(|_| order()).collect()
}

/// A ledger with `count` orders in it, and the orders.
pub(crate) fn filled(options: &Options, path: &Path, count: usize) -> (Ledger, Vec<Submission>) {
    let ledger = done(options.open(path));
    let orders = orders(count);
    for batch in orders.chunks(1_000) {
        for result in ledger.submit_many(batch) {
            done(result);
        }
    }
    (ledger, orders)
}

/// Leaves a ledger as a kill leaves it: another process of this program fills it and is killed (SIGKILL)
/// while it is open, right after its last acknowledgement.
pub(crate) fn killed(path: &Path, segment_bytes: u64, count: usize) -> io::Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(FILL)
        .arg(path)
        .args([segment_bytes.to_string(), count.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut line = String::new();
    io::BufReader::new(stdout).read_line(&mut line)?;
    child.kill()?;
    child.wait()?;
    match line.trim() {
        "filled" => Ok(()),
        _ => Err(io::Error::other("the program that fills the ledger failed")),
    }
}

/// Does what [`killed`] asks for when this is the process it started: every program that calls it calls
/// this first.
pub(crate) fn fill_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != FILL) {
        return;
    }
    let path = PathBuf::from(arguments.next().unwrap_or_default());
    let mut number = || arguments.next().and_then(|text| text.into_string().ok()?.parse().ok());
    let (segment_bytes, count): (Option<u64>, Option<u64>) = (number(), number());
    let options = Options::new().segment_bytes(segment_bytes.unwrap_or_default());
    let count = usize::try_from(count.unwrap_or_default()).unwrap_or_default();
    let (ledger, _) = filled(&options, &path, count.saturating_sub(SLOW_ORDERS));
    for order in orders(SLOW_ORDERS.min(count)) {
        done(ledger.submit(&order));
    }
    done(writeln!(io::stdout(), "filled"));
    loop {
        std::thread::park();
    }
}

/// A copy of a directory of a ledger, so that it can be opened again and again.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// The value, or the end of the program: a bench that can't do its work has no figure to give.
pub(crate) fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| {
        drop(writeln!(io::stderr(), "the bench ends here: {error}"));
        std::process::exit(1)
    })
}

/// Does something once with each of `all`, from this many threads, and answers how long it took.
pub(crate) fn from_threads<T: Sync>(
    all: &[T],
    threads: usize,
    once: impl Fn(&T) + Sync,
) -> Duration {
    let shares: Vec<_> = all.chunks(all.len().div_ceil(threads).max(1)).collect();
    let start = Barrier::new(shares.len() + 1);
    std::thread::scope(|scope| {
        let (start, once) = (&start, &once);
        let running: Vec<_> = shares
            .into_iter()
            .map(|share| {
                scope.spawn(move || {
                    start.wait();
                    share.iter().for_each(once);
                })
            })
            .collect();
        start.wait();
        let started = Instant::now();
        for thread in running {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        started.elapsed()
    })
}

/// Prints a line beside what criterion prints.
pub(crate) fn say(line: &str) {
    done(writeln!(io::stdout(), "{line}"));
}
