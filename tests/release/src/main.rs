//! Carries out the release run and adds it up: see README.md beside this.
//!
//! Exit codes: 0 all that is done has passed; 1 a shard failed; 2 wrong usage, or it could not be carried
//! out; 130 broken off, go on by starting it again.

mod evidence;
mod failure;
mod run;
mod schedule;
mod shard;
mod state;
mod sums;
mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::Zoned;

use evidence::Record;
use failure::{Doing, Failure, Result, broken};
use schedule::Layer;
use shard::{Done, Verdict};
use state::State;
use sums::Plan;
use tree::Tree;

const USAGE: &str = "\
Runs what is left of the release run, two shards at a time. Stop it whenever you like; started again, it goes on.

usage: .ci/release [options]            runs
       .ci/release --list [options]     shows what is done and what is left
       .ci/release --summary [options]  adds up, as a table
       .ci/release --write              adds up, into tests/release/results and EVIDENCE.md
       .ci/release --check              holds EVIDENCE.md against the committed results

  --only LAYER       that layer; may be given several times
  --for MINUTES      starts no shard that would end later
  --until HH:MM      the same, by the clock
  --jobs N           so many shards at a time (2)
  --shard-minutes N  a shard that takes longer hangs, and has failed (60)
  --schedule FILE    another schedule than tests/release/schedule.txt
  --state DIR        keeps the run there, not in target/release-run";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Run,
    List,
    Summary,
    Write,
    Check,
    Help,
}

struct Args {
    what: What,
    only: Vec<String>,
    time: Option<Duration>,
    jobs: usize,
    shard_time_max: Duration,
    schedule: Option<PathBuf>,
    state: Option<PathBuf>,
}

fn main() -> ExitCode {
    let code = match parse(std::env::args().skip(1)).and_then(|args| run(&args)) {
        Ok(code) => code,
        Err(Failure::Usage(what)) => {
            eprintln!("{what}\n\n{USAGE}");
            2
        }
        Err(Failure::Broken(what)) => {
            eprintln!("error: {what}");
            2
        }
    };
    ExitCode::from(code)
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args> {
    let mut args = Args {
        what: What::Run,
        only: Vec::new(),
        time: None,
        jobs: 2,
        shard_time_max: Duration::from_secs(3600),
        schedule: None,
        state: None,
    };
    while let Some(word) = words.next() {
        let mut value =
            || words.next().ok_or_else(|| Failure::Usage(format!("{word} needs a value")));
        match word.as_str() {
            "--list" => args.what = What::List,
            "--summary" => args.what = What::Summary,
            "--write" => args.what = What::Write,
            "--check" => args.what = What::Check,
            "--help" | "-h" => args.what = What::Help,
            "--only" => args.only.push(value()?),
            "--for" => args.time = Some(minutes(&value()?)?),
            "--until" => args.time = Some(until(&value()?)?),
            "--jobs" => args.jobs = usize::try_from(number(&value()?)?).unwrap_or(1),
            "--shard-minutes" => args.shard_time_max = minutes(&value()?)?,
            "--schedule" => args.schedule = Some(value()?.into()),
            "--state" => args.state = Some(value()?.into()),
            _ => return Err(Failure::Usage(format!("what is {word}?"))),
        }
    }
    Ok(args)
}

fn number(text: &str) -> Result<u64> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(Failure::Usage(format!("{text} is not a number above 0"))),
    }
}

fn minutes(text: &str) -> Result<Duration> {
    Ok(Duration::from_secs(number(text)?.saturating_mul(60)))
}

/// How long it is until the clock here shows this time next.
fn until(text: &str) -> Result<Duration> {
    let wrong = || Failure::Usage(format!("{text} is not a time like 23:30"));
    let time = jiff::civil::Time::strptime("%H:%M", text).map_err(|_| wrong())?;
    let now = Zoned::now();
    let mut then = now.with().time(time).build().map_err(|_| wrong())?;
    if then <= now {
        then =
            then.tomorrow().and_then(|day| day.with().time(time).build()).map_err(|_| wrong())?;
    }
    Duration::try_from(now.duration_until(&then)).map_err(|_| wrong())
}

fn run(args: &Args) -> Result<u8> {
    if args.what == What::Help {
        println!("{USAGE}");
        return Ok(0);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().doing("finding the repository")?;
    if args.what == What::Check {
        println!("EVIDENCE.md shows what {} adds up to", evidence::check(&root)?);
        return Ok(0);
    }
    let path = args.schedule.clone().unwrap_or_else(|| root.join("tests/release/schedule.txt"));
    let text = std::fs::read_to_string(&path).doing(format!("reading {}", path.display()))?;
    let mut layers = schedule::only(schedule::parse(&text)?, &args.only)?;
    let tree = Tree::of(&root)?;
    let mut is_committed = true;
    for layer in &mut layers {
        let code = tree.code(&layer.built_from)?;
        layer.code = code.name;
        is_committed &= code.is_committed;
    }
    let dir = args.state.clone().unwrap_or_else(|| root.join("target/release-run"));
    let state = State::of(&dir, evidence::committed(&root)?.shards);
    match args.what {
        What::Run => {
            let lock = state.lock()?;
            state.end_orphans()?;
            if !is_committed {
                println!(
                    "the code is not that of the commit: nothing of this run can be published"
                );
            }
            let settings = run::Settings {
                root,
                jobs: args.jobs,
                deadline: args.time.and_then(|time| Instant::now().checked_add(time)),
                shard_time_max: args.shard_time_max,
            };
            let broken_off = run::run(&settings, &state, &layers)?;
            drop(lock);
            let failed = list(&state, &layers)?;
            Ok(if broken_off { 130 } else { failed })
        }
        What::List => list(&state, &layers),
        What::Summary => {
            let record = record(&state, &layers)?;
            println!("{}", record.shown()?);
            Ok(any_failed(&record))
        }
        What::Write => {
            if !is_committed || !args.only.is_empty() {
                return Err(broken("only the whole schedule, of committed code, is published"));
            }
            let record = record(&state, &layers)?;
            let date = Zoned::now().date();
            let results = evidence::write(&root, &format!("{date}.jsonl"), &record)?;
            println!("written: EVIDENCE.md and {}", results.display());
            Ok(any_failed(&record))
        }
        What::Check | What::Help => Ok(0),
    }
}

/// Shows how far each layer is; answers the exit code.
fn list(state: &State, layers: &[Layer]) -> Result<u8> {
    println!("{}", state.dir().display());
    let mut code = 0;
    for layer in layers {
        let done = state.all_done(layer)?;
        let count = |verdict| done.iter().filter(|shard| shard.verdict() == verdict).count();
        // Not `sum`: that of nothing is -0.0.
        let cpu = done.iter().fold(0.0, |cpu, shard| cpu + shard.cpu_seconds);
        println!(
            "{:14} {:5} of {:5} passed, {} failed, {} skipped, {:.1} CPU minutes",
            layer.name,
            count(Verdict::Passed),
            layer.planned(),
            count(Verdict::Failed),
            count(Verdict::Skipped),
            cpu / 60.0
        );
        for shard in done.iter().filter(|shard| shard.verdict() == Verdict::Failed) {
            println!("  FAILED shard {}: {}\n    {}", shard.number, shard.why(), shard.command);
            code = 1;
        }
        if let Some(shard) = done.iter().find(|shard| shard.verdict() == Verdict::Skipped) {
            println!("  {}", shard.why());
        }
    }
    Ok(code)
}

/// What is to be published: of each layer what ran on the code that is there, unless what was committed
/// before, on other code, is more. What failed is never left out for that.
fn record(state: &State, layers: &[Layer]) -> Result<Record> {
    let passed =
        |shards: &[Done]| shards.iter().filter(|shard| shard.verdict() == Verdict::Passed).count();
    let mut shards = Vec::new();
    for layer in layers {
        let (now, before) = (state.all_done(layer)?, state.of_other_code(layer));
        let failed = now.iter().any(|shard| shard.verdict() == Verdict::Failed);
        shards.extend(if failed || passed(&now) >= passed(&before) { now } else { before });
    }
    Ok(Record { machine: machine(), plans: layers.iter().map(Plan::of).collect(), shards })
}

fn any_failed(record: &Record) -> u8 {
    u8::from(record.shards.iter().any(|shard| shard.verdict() == Verdict::Failed))
}

/// Where this runs.
fn machine() -> String {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = file("/proc/sys/kernel/osrelease").trim().to_owned();
    let cpuinfo = file("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = model.map_or("unknown CPU", |(_, model)| model.trim());
    format!("{cores} cores, {model}, {} {kernel}", std::env::consts::OS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Result<Args> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_is_asked_for_is_understood_or_refused() {
        let all = args("--only L1 --only L2 --for 90 --jobs 3").unwrap();
        assert_eq!((all.only.len(), all.jobs, all.what), (2, 3, What::Run));
        assert_eq!(all.time, Some(Duration::from_secs(5400)));
        assert_eq!(args("--summary").unwrap().what, What::Summary);
        let until = args("--until 23:30").unwrap().time.unwrap();
        assert!(until <= Duration::from_secs(25 * 3600), "{until:?}");
        for wrong in ["--jobs 0", "--jobs", "--until 25:00", "--for x", "--onyl L1"] {
            assert!(args(wrong).is_err(), "{wrong}");
        }
    }
}
