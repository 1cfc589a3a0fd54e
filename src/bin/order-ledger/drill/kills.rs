//! The first half of a drill: a child writes and is killed again and again.
//!
//! Always true: the parent is never killed, so what it heard is what was acknowledged; an order counts
//! as acknowledged when its whole line arrived.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use order_ledger::{Ledger, Reader, Soundness, VerifyReport, verify};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::content::{CLIENT, Content};
use super::writer::{self, TELLS, Told};
use crate::args::Drill;
use crate::errors::Failure;
use crate::progress::{Progress, Unit};

/// Longest time that a child lives after its first answer, and, for every third one, after its start.
const LIFE_MAX: Duration = Duration::from_millis(120);
const YOUNG_LIFE_MAX: Duration = Duration::from_millis(30);
/// Every so many lives, what is derived is removed before: the child rebuilds it.
const REBUILT_EVERY: u32 = 5;

/// What was done and found.
#[derive(Clone, Default, Debug)]
pub(crate) struct KillsFound {
    pub(crate) kills: u32,
    /// Killed before the ledger was open.
    pub(crate) while_opening: u32,
    /// Killed before everything derived was there again that had been removed.
    pub(crate) while_rebuilding: u32,
    /// Killed when the ledger was open and the views had not caught up.
    pub(crate) while_views_caught_up: u32,
    /// Killed while a file of the log began, as the next opening found.
    pub(crate) while_rotating: u32,
    pub(crate) torn_tails: u32,
    pub(crate) acknowledged: u64,
    pub(crate) found: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) changed: u64,
    pub(crate) orders: u64,
    pub(crate) unsound: u64,
    /// What `verify` found, when that is not nothing.
    pub(crate) complaints: Vec<String>,
}

impl KillsFound {
    pub(crate) fn violations(&self) -> u64 {
        self.lost + self.doubled + self.changed + self.unsound
    }

    pub(crate) fn rows(&self) -> [(&'static str, u64); 13] {
        [
            ("kills", self.kills.into()),
            ("killed_while_opening", self.while_opening.into()),
            ("killed_while_rotating", self.while_rotating.into()),
            ("killed_while_rebuilding_derived", self.while_rebuilding.into()),
            ("killed_while_views_caught_up", self.while_views_caught_up.into()),
            ("torn_tails_cut", self.torn_tails.into()),
            ("acknowledged", self.acknowledged),
            ("found", self.found),
            ("orders", self.orders),
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("changed", self.changed),
            ("unsound", self.unsound),
        ]
    }
}

/// What the parent heard.
#[derive(Default)]
struct Heard {
    /// The receipt of each key, as it was first heard.
    receipts: HashMap<String, String>,
    counts: KillsFound,
}

/// One drill of this kind.
struct Kills<'a> {
    args: &'a Drill,
    ledger: &'a Path,
    content: &'a Content,
    run: String,
    random: StdRng,
    heard: Heard,
}

pub(crate) fn run(
    args: &Drill,
    seed: u32,
    ledger: &Path,
    content: &Content,
) -> Result<KillsFound, Failure> {
    // Drills in one directory share a ledger; their keys must not meet.
    let run = format!("{:08x}", rand::random::<u32>());
    let random = StdRng::seed_from_u64(seed.into());
    let mut kills = Kills { args, ledger, content, run, random, heard: Heard::default() };
    let progress = Progress::new(u64::from(args.kills), Unit::Things, false);
    let mut unheard = 0;
    for round in 1..=args.kills {
        unheard = kills.one_life(round, unheard)?;
        progress.set(u64::from(round));
    }
    drop(progress);
    kills.look_for_all()
}

impl Kills<'_> {
    /// Starts a writer, listens to it, and kills it. Answers its first order whose answer was not heard.
    fn one_life(&mut self, round: u32, unheard: u64) -> Result<u64, Failure> {
        let rebuilds = round.is_multiple_of(REBUILT_EVERY);
        if rebuilds {
            remove_derived(self.ledger)?;
        }
        let mut child = self.start(round, unheard)?;
        let lines = listen(&mut child)?;
        // Every third one dies young, mostly while it opens the ledger; the others after their first answer.
        let dies_young = round.is_multiple_of(3);
        let life = match dies_young {
            true => self.random_up_to(YOUNG_LIFE_MAX),
            false => self.random_up_to(LIFE_MAX),
        };
        let mut deadline = dies_young.then(|| Instant::now() + life);
        let mut life_heard = LifeHeard::default();
        let own_prefix = writer::prefix(&self.run, round);
        let ended_itself = loop {
            let line = match deadline {
                // The first answer is waited for however long opening takes.
                None => lines.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => {
                    lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
                }
            };
            match line {
                Ok(line) => {
                    self.heard.take(&line, &own_prefix, &mut life_heard);
                    if life_heard.answers > 0 {
                        deadline.get_or_insert_with(|| Instant::now() + life);
                    }
                }
                Err(RecvTimeoutError::Timeout) => break false,
                Err(RecvTimeoutError::Disconnected) => break true,
            }
        };
        // Already gone, if it ended by itself; that is told below.
        drop(child.kill());
        // What it had written to the pipe before is still to be heard.
        for line in lines {
            self.heard.take(&line, &own_prefix, &mut life_heard);
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
        let LifeHeard { opened, views_ready, own_acks, .. } = life_heard;
        let counts = &mut self.heard.counts;
        counts.kills += 1;
        counts.while_opening += u32::from(!opened);
        counts.while_rebuilding += u32::from(rebuilds && !views_ready);
        counts.while_views_caught_up += u32::from(opened && !views_ready);
        Ok(own_acks)
    }

    fn random_up_to(&mut self, longest: Duration) -> Duration {
        let longest_us = u64::try_from(longest.as_micros()).unwrap_or(0);
        Duration::from_micros(self.random.random_range(0..=longest_us))
    }

    fn start(&self, round: u32, unheard: u64) -> Result<Child, Failure> {
        let program =
            std::env::current_exe().map_err(|error| Failure::io("finding myself", error))?;
        let mut command = Command::new(program);
        command
            .arg("drill-writer")
            .arg("--dir")
            .arg(self.ledger)
            .args(["--run", &self.run])
            .args(["--round", &round.to_string()])
            .args(["--unheard", &unheard.to_string()])
            .args(["--segment-mib", &self.args.segment_mib.unwrap_or(1).to_string()]);
        if let Some(from) = &self.args.from {
            command.arg("--from").arg(from);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::io("starting the writer", error))
    }

    /// Opens what is left, and looks for everything that was heard: by key, by number, and in the log.
    fn look_for_all(self) -> Result<KillsFound, Failure> {
        let Kills { ledger, content, heard: Heard { receipts, counts: mut found }, .. } = self;
        // Once more as a writer would, so that recovery has done all it ever does.
        Ledger::open(ledger)?.close()?;
        let reader = Reader::open(ledger)?;
        let mut times = HashMap::new();
        for order in reader.orders() {
            found.orders += 1;
            *times.entry(order?.key).or_insert(0u64) += 1;
        }
        found.acknowledged = receipts.len() as u64;
        for (key, receipt) in &receipts {
            let in_log = times.contains_key(key.as_bytes());
            match reader.by_key(CLIENT, key)? {
                Some(order) if in_log => {
                    found.found += 1;
                    let by_id = reader.get(order.id())?;
                    let same = order.receipt.to_string() == *receipt
                        && order.payload == content.submission(key).payload()
                        && by_id.as_ref() == Some(&order);
                    found.changed += u64::from(!same);
                }
                _ => found.lost += 1,
            }
        }
        found.doubled = times.values().filter(|times| **times > 1).count() as u64;
        let complaint = unsound(&verify(ledger)?);
        found.unsound = u64::from(complaint.is_some());
        found.complaints.extend(complaint);
        Ok(found)
    }
}

/// What a verification found wrong, in words; nothing when the ledger is sound.
pub(super) fn unsound(report: &VerifyReport) -> Option<String> {
    let soundness = report.soundness();
    if soundness == Soundness::Sound {
        return None;
    }
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    Some(format!("verify says {soundness}: {}", findings.join("; ")))
}

/// What is heard of one child.
#[derive(Default)]
struct LifeHeard {
    opened: bool,
    views_ready: bool,
    answers: u64,
    own_acks: u64,
}

impl Heard {
    /// Takes in an acknowledgement, a key and a receipt; or what the child tells about itself.
    fn take(&mut self, line: &str, own_prefix: &str, life: &mut LifeHeard) {
        if line.starts_with(TELLS) {
            match Told::parse(line) {
                Some(Told::Opened { resealed, leftovers, torn }) => {
                    life.opened = true;
                    self.counts.while_rotating += u32::from(resealed + leftovers > 0);
                    self.counts.torn_tails += u32::from(torn);
                }
                Some(Told::ViewsReady) => life.views_ready = true,
                None => {}
            }
            return;
        }
        let Some((key, receipt)) = line.trim_end().split_once(' ') else { return };
        life.answers += 1;
        if let Some(number) =
            key.strip_prefix(own_prefix).and_then(|number| number.parse::<u64>().ok())
        {
            life.own_acks = number + 1;
        }
        match self.receipts.get(key) {
            None => {
                self.receipts.insert(key.to_owned(), receipt.to_owned());
            }
            Some(before) if before != receipt => self.counts.changed += 1,
            Some(_) => {}
        }
    }
}

/// Removes what is derived: all of it can be made anew from the log.
fn remove_derived(ledger: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(ledger.join("derived")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::io("removing what is derived", error))
        }
        _ => Ok(()),
    }
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
