//! Builds what is asked, and asks it: runs a layer's program with one thing broken, and says what went
//! red.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::catalogue::Layer;
use crate::switch::VARIABLE;

/// A layer that takes longer than this sleeps for ever. The dearest takes a minute of CPU on sound code,
/// and the machine may be busy.
const HANGS_AFTER: Duration = Duration::from_secs(600);
/// The compiler does not hang, but a busy machine may keep it for long.
const BUILDS_AT_MOST: Duration = Duration::from_secs(7200);
/// A program that is broken may also never stop, or take all memory: it is ended at so many seconds of
/// CPU (the first argument), and at so many KiB.
const LIMITS: &str = "ulimit -t $1; ulimit -v 12000000; shift; exec \"$@\"";
const CPU_S_AT_MOST: u64 = 240;
/// Exit status of a layer that could not run here.
const SKIPPED: i32 = 77;

/// What a layer says about a build.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Green,
    /// It went red: the first thing that did, and how many more.
    Red {
        by: String,
        more: usize,
    },
    /// It could not run here.
    Skipped(String),
}

/// An answer and what it cost, in seconds of CPU.
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    pub(crate) cpu_s: f64,
}

/// Why there is no program to ask: the errors of the compiler, as `file:line`.
#[derive(Debug)]
pub(crate) struct Errors {
    pub(crate) places: Vec<(String, usize)>,
    pub(crate) output: String,
}

/// Asks the layers about one tree.
pub(crate) struct Asking {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    /// Where the output of what runs goes.
    pub(crate) log: PathBuf,
    /// The programs by the way they are built and called.
    programs: BTreeMap<(Vec<String>, Option<String>, String), PathBuf>,
    pub(crate) build_cpu_s: f64,
}

impl Asking {
    pub(crate) fn new(root: &Path, target: &Path, log: &Path) -> Asking {
        let (root, target, log) = (root.to_owned(), target.to_owned(), log.to_owned());
        Asking { root, target, log, programs: BTreeMap::new(), build_cpu_s: 0.0 }
    }

    /// Runs the tests that are named, or all of the layer, with this number broken (0: nothing).
    pub(crate) fn ask(
        &mut self,
        layer: &Layer,
        tests: &[String],
        number: u32,
    ) -> io::Result<Result<Answer, Errors>> {
        let program = match self.program(layer)? {
            Ok(program) => program,
            Err(errors) => return Ok(Err(errors)),
        };
        let before = cpu_s();
        let mut command = Command::new("sh");
        command
            .args(["-c", LIMITS, "sh", &layer.hangs_after_s.unwrap_or(CPU_S_AT_MOST).to_string()])
            .arg(program)
            .args(if tests.is_empty() { &layer.all } else { tests })
            .envs(&layer.env)
            .env(VARIABLE, number.to_string())
            // Or the arenas of many threads count for more memory than is used.
            .env("MALLOC_ARENA_MAX", "2");
        let hangs_after = layer.hangs_after_s.map_or(HANGS_AFTER, |it| Duration::from_secs(3 * it));
        // A mutant is killed by the first test that fails; the catalogue counts the others as well.
        let status = self.run(command, hangs_after, layer.hangs_after_s.is_some())?;
        let output = std::fs::read(&self.log)?;
        let verdict = verdict(status, &String::from_utf8_lossy(&output));
        Ok(Ok(Answer { verdict, cpu_s: cpu_s() - before }))
    }

    /// The program of a layer, built when it is asked for the first time.
    pub(crate) fn program(&mut self, layer: &Layer) -> io::Result<Result<PathBuf, Errors>> {
        let key = (layer.build.clone(), layer.target.clone(), layer.program.clone());
        if let Some(program) = self.programs.get(&key) {
            return Ok(Ok(program.clone()));
        }
        let target = layer.target.as_ref().map_or(self.target.clone(), |it| self.target.join(it));
        let before = cpu_s();
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        command
            .args(&layer.build)
            .args(["--message-format=short"])
            .envs(&layer.env)
            .env("CARGO_TARGET_DIR", &target)
            // One crate changes a little each time: this is what incremental builds are for.
            .env("CARGO_INCREMENTAL", "1")
            .env("CARGO_TERM_COLOR", "never");
        let built = self.run(command, BUILDS_AT_MOST, false)?;
        self.build_cpu_s += cpu_s() - before;
        let output = std::fs::read_to_string(&self.log)?;
        if !built.is_some_and(|status| status.success()) {
            return Ok(Err(Errors { places: output.lines().filter_map(error).collect(), output }));
        }
        // `  Executable tests/it/main.rs (target/debug/deps/it-0123)`
        let mut lines = output.lines().filter(|line| line.trim_start().starts_with("Executable"));
        let called = format!("{} (", layer.program);
        let tests = lines.find_map(|line| line.split_once(&called)?.1.strip_suffix(')'));
        let program = tests.map_or_else(|| target.join(&layer.program), |it| self.root.join(it));
        self.programs.insert(key, program.clone());
        Ok(Ok(program))
    }

    /// The exit status; `None` when it hung, or was ended as soon as a test had failed.
    fn run(
        &self,
        mut command: Command,
        at_most: Duration,
        until_first_failure: bool,
    ) -> io::Result<Option<ExitStatus>> {
        let (output, input) = io::pipe()?;
        let mut child = command
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .stderr(input.try_clone()?)
            .stdout(input)
            .process_group(0)
            .spawn()?;
        // It holds our ends of the pipe, which would never be at its end.
        drop(command);
        let (tell, told) = mpsc::channel();
        let log = File::create(&self.log)?;
        std::thread::spawn(move || tell.send(copy(output, log, until_first_failure)));
        let copied = match told.recv_timeout(at_most) {
            Ok(copied) => Some(copied?),
            // Nothing for too long; or something that outlives it still holds the pipe.
            Err(_) => None,
        };
        let ended = match copied {
            Some(Copied::All) => Some(child.wait()?),
            Some(Copied::UpToFailure) => None,
            None => child.try_wait()?,
        };
        if ended.is_none() {
            let group = i32::try_from(child.id()).map_err(io::Error::other)?;
            killpg(Pid::from_raw(group), Signal::SIGKILL).map_err(io::Error::from)?;
            child.wait()?;
        }
        Ok(ended)
    }
}

/// How far output was copied.
enum Copied {
    All,
    UpToFailure,
}

/// Copies the output of a program into its log, up to the first line that says that a test has failed, if that is
/// enough.
fn copy(output: impl Read, mut log: File, until_first_failure: bool) -> io::Result<Copied> {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        log.write_all(&line)?;
        if until_first_failure && has_failed(&line) {
            return Ok(Copied::UpToFailure);
        }
        line.clear();
    }
    Ok(Copied::All)
}

/// Seconds of CPU of everything that was run and has ended.
fn cpu_s() -> f64 {
    getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0.0, |usage| {
        let seconds = |time: nix::sys::time::TimeVal| {
            time.tv_sec() as f64 + time.tv_usec() as f64 / 1_000_000.0
        };
        seconds(usage.user_time()) + seconds(usage.system_time())
    })
}

/// The place in `src/wal/log.rs:12:5: error[E0308]: mismatched types`.
fn error(line: &str) -> Option<(String, usize)> {
    let (place, _) = line.split_once(": error")?;
    let mut parts = place.split(':');
    Some((parts.next()?.to_owned(), parts.next()?.parse().ok()?))
}

/// Reads the output of a layer.
fn verdict(status: Option<ExitStatus>, output: &str) -> Verdict {
    let tests: Vec<&str> = output.lines().filter_map(failed_test).collect();
    let seed = output.lines().filter_map(failed_seed).min_by_key(|(_, number)| *number);
    let seed = seed.map(|(kind, number)| format!("{kind} {number}"));
    let Some(status) = status else {
        // What failed before it hung was noticed without waiting.
        let by = match (seed, tests.first()) {
            (Some(seed), _) => seed,
            (None, Some(test)) => (*test).to_owned(),
            (None, None) => "a hang".into(),
        };
        return Verdict::Red { by, more: tests.len().saturating_sub(1) };
    };
    match status.code() {
        Some(0) if ran_something(output) => Verdict::Green,
        // A filter that meets no test proves nothing.
        Some(0) => Verdict::Skipped("no test ran".into()),
        Some(SKIPPED) => {
            let why = output.lines().find(|line| line.starts_with("SKIPPED"));
            Verdict::Skipped(why.unwrap_or("without a reason").to_owned())
        }
        code => {
            let by = match (seed, tests.first(), code) {
                (Some(seed), _, _) => seed,
                (None, Some(test), _) => (*test).to_owned(),
                (None, None, Some(code)) => format!("exit status {code}"),
                (None, None, None) => match status.signal().map(Signal::try_from) {
                    Some(Ok(Signal::SIGXCPU | Signal::SIGKILL)) => "a hang at full speed".into(),
                    Some(Ok(signal)) => format!("signal {signal}"),
                    _ => "a signal".into(),
                },
            };
            Verdict::Red { by, more: tests.len().saturating_sub(1) }
        }
    }
}

/// The last word of `test a::b::name ... FAILED`.
fn failed_test(line: &str) -> Option<&str> {
    let path = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
    // `test name - should panic` and the like: the path is the first word.
    path.split_whitespace().next()?.rsplit("::").next()
}

/// Whether a test or a seed has failed so far.
fn has_failed(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    let line = line.trim_end();
    failed_test(line).is_some() || failed_seed(line).is_some()
}

/// `seed 7 failed`, `seeds 64 to 127 failed` (then the first of them), `scenario 3 failed`.
fn failed_seed(line: &str) -> Option<(&str, u64)> {
    let mut words = line.split_once(" failed")?.0.split(' ');
    let kind = words.next().filter(|kind| ["seed", "seeds", "scenario"].contains(kind))?;
    Some((kind.trim_end_matches('s'), words.next()?.parse().ok()?))
}

/// Whether at least one test ran, or it was no run of tests.
fn ran_something(output: &str) -> bool {
    let mut results = output.lines().filter_map(|line| line.strip_prefix("test result: ok. "));
    !output.contains("test result:") || results.any(|rest| !rest.starts_with("0 passed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(code: i32) -> Option<ExitStatus> {
        Some(ExitStatus::from_raw(code << 8))
    }

    #[test]
    fn the_output_of_a_layer_is_understood() {
        let red = |by: &str, more| Verdict::Red { by: by.into(), more };
        let tests = "test a::b ... ok\ntest a::c ... FAILED\ntest a::d ... FAILED\n";
        assert_eq!(verdict(exited(101), tests), red("c", 1));
        let seeds = "seed 12 failed; again: x\nseed 7 failed; again: x\ntest a::s ... FAILED\n";
        assert_eq!(verdict(exited(101), seeds), red("seed 7", 0));
        let pieces = "seeds 128 to 191 failed; again: x\ntest a::s ... FAILED\n";
        assert_eq!(verdict(exited(101), pieces), red("seed 128", 0));
        assert_eq!(verdict(exited(101), "scenario 3 failed: x\n"), red("scenario 3", 0));
        assert_eq!(verdict(exited(3), ""), red("exit status 3", 0));
        assert_eq!(verdict(None, tests), red("c", 1), "one failed, another hung");
        assert_eq!(verdict(None, "test a::b ... ok\n"), red("a hang", 0));
        let green = "test result: ok. 3 passed; 0 failed; 0 ignored\n";
        assert_eq!(verdict(exited(0), green), Verdict::Green);
        let none = "test result: ok. 0 passed; 0 failed; 0 ignored\n";
        assert_ne!(verdict(exited(0), none), Verdict::Green, "no test ran");
        assert!(matches!(verdict(exited(77), "SKIPPED x: no root\n"), Verdict::Skipped(_)));
        let place = ("src/wal/log.rs".to_owned(), 12);
        assert_eq!(error("src/wal/log.rs:12:5: error[E0308]: mismatched types"), Some(place));
        assert_eq!(error("error: could not compile `order-ledger`"), None);
    }
}
