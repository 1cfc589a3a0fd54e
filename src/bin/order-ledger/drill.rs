//! `drill`: a child writes and is killed again and again; then everything it acknowledged is looked for.
//!
//! - [`writer`]: the child
//!
//! Always true: the parent is never killed, so what it heard is what was acknowledged; an order counts
//! as acknowledged when its whole line arrived; a directory that no drill made is not touched.

pub(crate) mod writer;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use order_ledger::{Ledger, Reader, Soundness, verify};
use serde_json::json;

use crate::args::Drill;
use crate::errors::{Exit, Failure};
use crate::output::{GREEN, Out, RED, table};
use crate::progress::{Progress, Unit};

/// Says that a directory belongs to drills.
const MARKER: &str = "DRILL";
/// The ledger inside it.
const LEDGER: &str = "orders.ledger";

/// Longest time that a child lives after its first answer, and, for every third one, after its start.
const LIFE_MAX: Duration = Duration::from_millis(120);
const YOUNG_LIFE_MAX: Duration = Duration::from_millis(30);

/// What the parent heard, and what became of it.
#[derive(Default)]
struct Heard {
    /// The receipt of each key, as it was first heard.
    receipts: HashMap<String, String>,
    /// Keys that were answered with two different receipts.
    changed: u64,
    kills: u32,
    killed_while_opening: u32,
}

/// What was found at the end.
struct Found {
    found: u64,
    lost: u64,
    doubled: u64,
    changed: u64,
    orders: u64,
    soundness: Soundness,
}

pub(crate) fn run(args: &Drill, out: &mut Out) -> Result<Exit, Failure> {
    let ledger = prepare(&args.dir)?;
    let run = format!("{:08x}", rand::random::<u32>());
    let progress = Progress::new(u64::from(args.kills), Unit::Things, false);
    let mut heard = Heard::default();
    let mut unheard = 0;
    for round in 1..=args.kills {
        unheard = one_life(&ledger, &run, round, unheard, &mut heard)?;
        progress.set(u64::from(round));
    }
    drop(progress);
    let found = look_for(&ledger, &heard)?;
    let bad = found.lost + found.doubled + found.changed > 0 || found.soundness != Soundness::Sound;
    show(&heard, &found, bad, out)?;
    Ok(if bad { Exit::No } else { Exit::Done })
}

/// Makes sure that the directory is ours; answers where the ledger is.
fn prepare(dir: &Path) -> Result<PathBuf, Failure> {
    let io = |error| Failure::io(format!("{}", dir.display()), error);
    let marker = dir.join(MARKER);
    if !marker.is_file() {
        let is_free = match fs::read_dir(dir) {
            Ok(mut names) => names.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(io(error)),
        };
        if !is_free {
            return Err(Failure::Usage {
                what: format!("{} holds something that no drill made", dir.display()),
                advice: "name a directory that is missing or empty".into(),
            });
        }
        fs::create_dir_all(dir).map_err(io)?;
        File::create(&marker).map_err(io)?;
    }
    Ok(dir.join(LEDGER))
}

/// Starts a writer, listens to it, and kills it. Answers its first order whose answer was not heard.
fn one_life(
    ledger: &Path,
    run: &str,
    round: u32,
    unheard: u64,
    heard: &mut Heard,
) -> Result<u64, Failure> {
    let mut child = start(ledger, run, round, unheard)?;
    let lines = listen(&mut child)?;
    // Every third one dies young, mostly while it opens the ledger; the others after their first answer.
    let dies_young = round.is_multiple_of(3);
    let life = match dies_young {
        true => random_up_to(YOUNG_LIFE_MAX),
        false => random_up_to(LIFE_MAX),
    };
    let mut deadline = dies_young.then(|| Instant::now() + life);
    let (mut own_acks, mut any, mut ended_itself) = (0, false, false);
    let mut take = |line: String, any: &mut bool| {
        *any = true;
        heard.take(&line, &writer::prefix(run, round), &mut own_acks);
    };
    loop {
        let line = match deadline {
            // The first answer is waited for however long opening takes.
            None => lines.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(deadline) => {
                lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
            }
        };
        match line {
            Ok(line) => {
                take(line, &mut any);
                deadline.get_or_insert_with(|| Instant::now() + life);
            }
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => {
                ended_itself = true;
                break;
            }
        }
    }
    // Already gone, if it ended by itself; that is told below.
    drop(child.kill());
    // What it had written to the pipe before is still to be heard.
    for line in lines {
        take(line, &mut any);
    }
    let mut words = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        // For the message only.
        drop(stderr.read_to_string(&mut words));
    }
    child.wait().map_err(|error| Failure::io("waiting for the writer", error))?;
    if ended_itself {
        let words = words.trim().replace('\n', "; ");
        let error = io::Error::other(words);
        return Err(Failure::io(format!("the writer of round {round} ended by itself"), error));
    }
    heard.kills += 1;
    heard.killed_while_opening += u32::from(!any);
    Ok(own_acks)
}

fn random_up_to(longest: Duration) -> Duration {
    Duration::from_micros(rand::random_range(0..=u64::try_from(longest.as_micros()).unwrap_or(0)))
}

fn start(ledger: &Path, run: &str, round: u32, unheard: u64) -> Result<Child, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::io("finding myself", error))?;
    Command::new(program)
        .arg("drill-writer")
        .arg("--dir")
        .arg(ledger)
        .args(["--run", run])
        .args(["--round", &round.to_string()])
        .args(["--unheard", &unheard.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::io("starting the writer", error))
}

/// The whole lines that the child writes, as they come.
fn listen(child: &mut Child) -> Result<Receiver<String>, Failure> {
    let failed = |error| Failure::io("listening to the writer", error);
    let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe).map_err(io::Error::from);
    let stdout: ChildStdout = stdout.map_err(failed)?;
    let (sender, receiver) = channel();
    std::thread::Builder::new()
        .name("listen".into())
        .spawn(move || {
            let mut stdout = BufReader::new(stdout);
            loop {
                let mut line = String::new();
                match stdout.read_line(&mut line) {
                    // A line without its end was cut off by the kill: it was not heard.
                    Ok(_) if line.ends_with('\n') && sender.send(line).is_ok() => {}
                    _ => return,
                }
            }
        })
        .map_err(failed)?;
    Ok(receiver)
}

impl Heard {
    /// Takes in an acknowledgement: a key and a receipt.
    fn take(&mut self, line: &str, own_prefix: &str, own_acks: &mut u64) {
        let Some((key, receipt)) = line.trim_end().split_once(' ') else { return };
        if let Some(number) =
            key.strip_prefix(own_prefix).and_then(|number| number.parse::<u64>().ok())
        {
            *own_acks = number + 1;
        }
        match self.receipts.get(key) {
            None => {
                self.receipts.insert(key.to_owned(), receipt.to_owned());
            }
            Some(before) if before != receipt => self.changed += 1,
            Some(_) => {}
        }
    }
}

/// Opens what is left, and looks for everything that was heard: by key, by number, and in the log.
fn look_for(ledger: &Path, heard: &Heard) -> Result<Found, Failure> {
    // Once more as a writer would, so that recovery has done all it ever does.
    Ledger::open(ledger)?.close()?;
    let reader = Reader::open(ledger)?;
    let (mut times, mut orders) = (HashMap::new(), 0);
    for order in reader.orders() {
        let order = order?;
        orders += 1;
        *times.entry(order.key).or_insert(0u64) += 1;
    }
    let (mut found, mut lost, mut changed) = (0, 0, heard.changed);
    for (key, receipt) in &heard.receipts {
        let in_log = times.contains_key(key.as_bytes());
        match reader.by_key(writer::CLIENT, key)? {
            Some(order) if in_log => {
                found += 1;
                let by_id = reader.get(order.id())?;
                let same = order.receipt.to_string() == *receipt
                    && order.payload == writer::payload(key)
                    && by_id.as_ref() == Some(&order);
                changed += u64::from(!same);
            }
            _ => lost += 1,
        }
    }
    let doubled = times.values().filter(|times| **times > 1).count() as u64;
    let soundness = verify(ledger)?.soundness();
    Ok(Found { found, lost, doubled, changed, orders, soundness })
}

fn show(heard: &Heard, found: &Found, bad: bool, out: &mut Out) -> Result<(), Failure> {
    let acknowledged = heard.receipts.len();
    if out.json {
        return out.json_line(&json!({
            "kills": heard.kills,
            "killed_while_opening": heard.killed_while_opening,
            "acknowledged": acknowledged,
            "found": found.found,
            "lost": found.lost,
            "doubled": found.doubled,
            "changed": found.changed,
            "orders": found.orders,
            "verdict": found.soundness.name(),
        }));
    }
    let mut rows =
        table(&["kills", "while opening", "acknowledged", "found", "lost", "doubled", "changed"]);
    rows.add_row([
        heard.kills.to_string(),
        heard.killed_while_opening.to_string(),
        acknowledged.to_string(),
        found.found.to_string(),
        found.lost.to_string(),
        found.doubled.to_string(),
        found.changed.to_string(),
    ]);
    out.line(rows)?;
    let (style, words) = match bad {
        true => (RED, "something acknowledged was lost, doubled or changed"),
        false => (GREEN, "everything that was acknowledged is there, once, as its receipt says"),
    };
    out.line(format!("{style}{words}{style:#} (verify: {})", found.soundness))
}
