//! One large ledger: does it stay as quick as it grows, what does it take of memory and disk, and how soon does
//! it answer after kill -9 and after losing everything that is derived?
//!
//! `cargo bench --bench large -- --orders 50000000` (20 GB of disk, some minutes); a million without it. With `--views`
//! there are views, with `--steps` each order takes a step as well, outside of what is timed. Prints one table. Orders
//! follow from their number, so that any of them can be sent again.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use order_ledger::{How, Ledger, Options, Outcome, State, Submission, Transition, Views};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

mod support;

use support::{Dir, PAYLOAD_BYTES, done};

/// What the program that fills is called with.
const FILL: &str = "fill-large";
const BATCH: u64 = 1_000;
/// Orders between two lines about the rate.
const STEP: u64 = 1_000_000;
const CLIENT: &str = "bench";
const KEY_BYTES: usize = 32;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |name: &str| {
        let index = arguments.iter().position(|argument| argument == name)?;
        arguments.get(index + 1)
    };
    let orders = after("--orders").map_or(STEP, |text| done(text.parse()));
    let is_asked = |name: &str| arguments.iter().any(|argument| argument == name);
    let (views, steps) = (is_asked("--views"), is_asked("--steps"));
    if let Some(path) = after(FILL) {
        fill(Path::new(path), orders, views, steps);
    }
    let dir = done(Dir::new("large"));
    let path = dir.join("orders.ledger");
    let mut table = Table(Vec::new());
    table.row("orders", orders.to_string());
    table.row("payload and key of one, bytes", (PAYLOAD_BYTES + KEY_BYTES).to_string());
    table.row("views", if views { "on" } else { "off" }.to_owned());
    table.row("steps of each", if steps { "1" } else { "0" }.to_owned());
    done(filled_and_killed(&path, orders, views, steps, &mut table));
    sizes(&path, orders, &mut table);
    after_kill(&path, orders, views, &mut table);
    without_derived(&path, orders, views, &mut table);
    done(table.print());
}

fn options(views: bool) -> Options {
    Options::new().views(if views { Views::On } else { Views::Off })
}

/// The order of this number.
fn order(number: u64) -> Submission {
    let mut random = StdRng::seed_from_u64(number);
    let (mut key, mut payload) = ([0; KEY_BYTES], vec![0; PAYLOAD_BYTES]);
    random.fill_bytes(&mut key);
    random.fill_bytes(&mut payload);
    Submission::new(CLIENT, key, payload)
}

/// The program that fills: says after each step how long its batches took, then what it took in all, and
/// waits to be killed.
fn fill(path: &Path, orders: u64, views: bool, steps: bool) -> ! {
    let ledger = done(options(views).open(path));
    let mut out = io::stdout().lock();
    let mut number = 0;
    while number < orders {
        let end = orders.min(number + STEP);
        let (from, mut spent, mut longest) = (number, Duration::ZERO, Duration::ZERO);
        while number < end {
            // The clock stands while orders are made.
            let batch: Vec<_> = (number..end.min(number + BATCH)).map(order).collect();
            number += batch.len() as u64;
            let began = Instant::now();
            let answers: Vec<_> = ledger.submit_many(&batch).into_iter().map(done).collect();
            let took = began.elapsed();
            spent += took;
            longest = longest.max(took);
            if steps {
                let step = |it: &Outcome| Transition::new(it.receipt.order, State::Confirmed);
                let steps: Vec<_> = answers.iter().map(step).collect();
                for answer in ledger.transition_many(&steps) {
                    done(answer);
                }
            }
        }
        let (spent, longest) = (spent.as_micros(), longest.as_micros());
        done(writeln!(out, "step {} {spent} {longest}", number - from));
    }
    let peak = status("VmHWM:").unwrap_or(0);
    let written = done(std::fs::read_to_string("/proc/self/io"));
    let written =
        written.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap_or("0");
    done(writeln!(out, "filled {peak} {written}"));
    loop {
        std::thread::park();
    }
}

/// A number of KiB from `/proc/self/status`, in bytes.
fn status(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib * 1024)
}

fn filled_and_killed(
    path: &Path,
    orders: u64,
    views: bool,
    steps: bool,
    table: &mut Table,
) -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(FILL).arg(path).args(["--orders", &orders.to_string()]);
    if views {
        command.arg("--views");
    }
    if steps {
        command.arg("--steps");
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let (mut rates, mut longest) = (Vec::new(), Duration::ZERO);
    for line in io::BufReader::new(stdout).lines() {
        let line = line?;
        let mut numbers = line.split(' ').skip(1).map(|text| text.parse::<u64>().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        if line.starts_with("step") {
            let (count, spent, worst) = (next(), next(), next());
            rates.push(count * 1_000_000 / spent.max(1));
            longest = longest.max(Duration::from_micros(worst));
            writeln!(
                io::stderr(),
                "{} orders: {} orders/s",
                rates.len() as u64 * STEP,
                next_rate(&rates)
            )?;
            continue;
        }
        let (peak, written) = (next(), next());
        child.kill()?;
        child.wait()?;
        let (first, last) = (rates.first().copied(), rates.last().copied());
        let (first, last) = (first.unwrap_or(0), last.unwrap_or(0));
        let lowest = rates.iter().min().copied().unwrap_or(0);
        table.row("first million, orders/s", first.to_string());
        table.row("last million, orders/s", last.to_string());
        table.row("last / first", ratio(last, first));
        table.row("slowest million, orders/s", lowest.to_string());
        table.row("longest batch of 1,000, ms", (longest.as_micros() / 1000).to_string());
        table.row("peak memory of the process, MiB", (peak >> 20).to_string());
        let user = orders * (PAYLOAD_BYTES + KEY_BYTES) as u64;
        table.row("bytes written / payload and key", ratio(written, user));
        return Ok(());
    }
    Err(io::Error::other("the program that fills ended early"))
}

fn next_rate(rates: &[u64]) -> u64 {
    rates.last().copied().unwrap_or(0)
}

fn ratio(over: u64, under: u64) -> String {
    let hundredths = u128::from(over) * 100 / u128::from(under.max(1));
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn sizes(path: &Path, orders: u64, table: &mut Table) {
    let whole = bytes_under(path);
    let payloads = orders * PAYLOAD_BYTES as u64;
    table.row("disk, MiB", (whole >> 20).to_string());
    table.row(
        "disk of one order beside its payload, bytes",
        ratio(whole.saturating_sub(payloads), orders),
    );
    for (what, part) in
        [("the log", "wal"), ("merged key tables", "derived/tables"), ("views", "derived/views")]
    {
        table.row(&format!("of this {what}, bytes"), ratio(bytes_under(&path.join(part)), orders));
    }
}

fn bytes_under(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes_under(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.filter_map(io::Result::ok).map(bytes).sum()
}

/// Opens, and does each thing once.
fn open_and_try(path: &Path, orders: u64, views: bool, fresh: u64, table: &mut Table) -> Ledger {
    let mut timed = |what: &str, began: Instant| {
        table.row(what, format!("{:.1}", began.elapsed().as_secs_f64() * 1e3));
    };
    let began = Instant::now();
    let ledger = done(options(views).open(path));
    timed("  open, ms", began);
    let began = Instant::now();
    done(ledger.submit(&order(orders + fresh)));
    timed("  first submit, ms", began);
    let known = order(orders / 3);
    let began = Instant::now();
    let outcome = done(ledger.submit(&known));
    timed("  first replay, ms", began);
    if outcome.how != How::Replayed {
        done(Err(format!("order {} was taken twice", orders / 3)))
    }
    let began = Instant::now();
    done(done(ledger.get(outcome.receipt.order)).ok_or("it is gone"));
    timed("  first get, ms", began);
    ledger
}

fn after_kill(path: &Path, orders: u64, views: bool, table: &mut Table) {
    table.row("after kill -9", String::new());
    done(open_and_try(path, orders, views, 1, table).close());
}

fn without_derived(path: &Path, orders: u64, views: bool, table: &mut Table) {
    done(std::fs::remove_dir_all(path.join("derived")));
    table.row("without derived/", String::new());
    let began = Instant::now();
    let ledger = open_and_try(path, orders, views, 2, table);
    let seconds = wait_for_derived(&ledger, &path.join("derived/tables")).duration_since(began);
    let seconds = seconds.as_secs_f64();
    table.row("  until all of it is there, s", format!("{seconds:.1}"));
    let millions = orders as f64 / 1e6;
    table.row("  the same for a million orders, s", format!("{:.2}", seconds / millions));
    done(ledger.close());
}

/// Waits until the views have caught up and nothing was merged for a second; answers when that began.
#[expect(clippy::disallowed_methods, reason = "nobody tells when the last merge has ended")]
fn wait_for_derived(ledger: &Ledger, tables: &Path) -> Instant {
    let pause = Duration::from_millis(50);
    let mut seen: Vec<PathBuf> = Vec::new();
    let (mut quiet, mut since) = (0, Instant::now());
    while quiet < 20 {
        let views = done(ledger.stats()).views;
        let behind = views.is_some_and(|views| views.phase != "off" && views.behind > 0);
        let entries = done(std::fs::read_dir(tables)).filter_map(io::Result::ok);
        let mut names: Vec<_> = entries.map(|entry| entry.path()).collect();
        names.sort();
        let merging = names.iter().any(|name| name.extension().is_some_and(|it| it == "tmp"));
        quiet += 1;
        if names != seen || merging || behind {
            (quiet, since) = (0, Instant::now());
        }
        seen = names;
        std::thread::sleep(pause);
    }
    since
}

struct Table(Vec<(String, String)>);

impl Table {
    fn row(&mut self, what: &str, value: String) {
        self.0.push((what.to_owned(), value));
    }

    fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "\n| what | |\n|---|---|")?;
        self.0.iter().try_for_each(|(what, value)| writeln!(out, "| {what} | {value} |"))
    }
}
