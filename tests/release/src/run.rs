//! Carries out what is still to do: some shards at a time, the layer that is furthest behind first.
//!
//! Always true: every shard starts and ends on the code that the run is about, else the run ends; a shard that is
//! broken off leaves no file, so that starting again does it anew.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use wait4::{ResUse, Wait4};

use crate::failure::{Doing, Result, broken};
use crate::schedule::{Layer, Shard};
use crate::shard::{self, Done, Verdict};
use crate::state::{Running, State};
use crate::tree::Tree;

/// How a run is carried out.
pub(crate) struct Settings {
    pub(crate) root: PathBuf,
    pub(crate) jobs: usize,
    /// No shard starts after this.
    pub(crate) deadline: Option<Instant>,
    /// A shard that takes longer hangs: it is ended, and has failed.
    pub(crate) shard_time_max: Duration,
}

/// How often a waiting shard looks whether the run is to end.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a shard that is broken off may take to clean up after itself.
const GRACE: Duration = Duration::from_secs(10);
/// How much of an output is searched for results: what a layer prints at its end.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What is left of one layer.
struct Rest {
    planned: u64,
    /// The next one is the last.
    shards: Vec<Shard>,
    /// Seconds of those that ended here: what another one will take.
    seconds: Vec<f64>,
}

/// What is shared by the threads that run shards.
struct Shared<'a> {
    settings: &'a Settings,
    state: &'a State,
    layers: &'a [Layer],
    rest: Mutex<Vec<Rest>>,
    stop: Arc<AtomicBool>,
    trouble: Mutex<Option<crate::failure::Failure>>,
}

/// Runs until nothing is left, the deadline, or a signal. Answers whether it was broken off.
pub(crate) fn run(settings: &Settings, state: &State, layers: &[Layer]) -> Result<bool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).doing("listening to signals")?;
    }
    let mut rest = Vec::new();
    for layer in layers {
        let mut shards = state.to_do(layer)?;
        shards.reverse();
        if !shards.is_empty() {
            std::fs::create_dir_all(state.layer_dir(&layer.code, &layer.name))
                .doing("making a directory")?;
        }
        rest.push(Rest { planned: layer.planned(), shards, seconds: Vec::new() });
    }
    prepare(settings, state, layers, &rest, &stop)?;
    let shared =
        Shared { settings, state, layers, rest: Mutex::new(rest), stop, trouble: Mutex::new(None) };
    std::thread::scope(|scope| {
        for _ in 0..settings.jobs {
            scope.spawn(|| {
                if let Err(failure) = shared.work() {
                    shared.stop.store(true, Ordering::Relaxed);
                    shared
                        .trouble
                        .lock()
                        .expect("no panic while it is held")
                        .get_or_insert(failure);
                }
            });
        }
    });
    match shared.trouble.into_inner().expect("no panic while it is held") {
        Some(failure) => Err(failure),
        None => Ok(shared.stop.load(Ordering::Relaxed)),
    }
}

/// Builds what the shards need, each command once.
fn prepare(
    settings: &Settings,
    state: &State,
    layers: &[Layer],
    rest: &[Rest],
    stop: &AtomicBool,
) -> Result<()> {
    let mut done: Vec<&str> = Vec::new();
    for (layer, rest) in layers.iter().zip(rest) {
        let Some(command) = layer.prepare.as_deref() else { continue };
        if rest.shards.is_empty() || done.contains(&command) {
            continue;
        }
        println!("prepare {}: {command}", layer.name);
        let log = state.layer_dir(&layer.code, &layer.name).join("prepare.log");
        let ended = carry_out(command, &settings.root, &log, settings.shard_time_max, stop)?;
        match ended {
            Some(Ended { status: 0, .. }) => done.push(command),
            Some(ended) => {
                let (name, status) = (&layer.name, ended.status);
                let log = log.display();
                return Err(broken(format!("preparing {name} ended with {status}: see {log}")));
            }
            None => return Err(broken("broken off while preparing")),
        }
    }
    Ok(())
}

impl Shared<'_> {
    fn work(&self) -> Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            let Some((layer, shard)) = self.next() else { return Ok(()) };
            let commit = self.unchanged(layer)?;
            let Some(done) = self.one(&shard, &commit)? else { return Ok(()) };
            self.unchanged(layer)?;
            self.state.keep(&done)?;
            let words = match done.verdict() {
                Verdict::Passed => "passed".to_owned(),
                Verdict::Skipped => done.why(),
                Verdict::Failed => {
                    let log = self.state.log(&shard);
                    format!("FAILED: {}; see {}", done.why(), log.display())
                }
            };
            let (name, number) = (&done.layer, done.number);
            println!("{} {name} {number} {words} in {:.0} s", done.end, done.seconds);
            self.rest.lock().expect("no panic while it is held")[layer].seconds.push(done.seconds);
        }
        Ok(())
    }

    /// The commit, if the layer's code is still what it was.
    fn unchanged(&self, layer: usize) -> Result<String> {
        let Layer { built_from, code: was, .. } = &self.layers[layer];
        let tree = Tree::of(&self.settings.root)?;
        let code = tree.code(built_from)?.name;
        match code == *was {
            true => Ok(tree.commit),
            false => Err(broken(format!("the code changed under the run: {was} became {code}"))),
        }
    }

    /// The next shard of the layer of which the largest part is left, if it can end before the deadline.
    fn next(&self) -> Option<(usize, Shard)> {
        let left = match self.settings.deadline {
            None => Duration::MAX,
            Some(deadline) => deadline.checked_duration_since(Instant::now())?,
        };
        let mut rest = self.rest.lock().expect("no panic while it is held");
        let fits = |rest: &Rest| {
            let longest = rest.seconds.iter().copied().fold(0.0, f64::max);
            Duration::from_secs_f64(longest) <= left
        };
        let part_left = |rest: &Rest| rest.shards.len() as f64 / rest.planned as f64;
        let mut best: Option<(usize, f64)> = None;
        for (index, rest) in rest.iter().enumerate() {
            let part = part_left(rest);
            if part > 0.0 && fits(rest) && best.is_none_or(|(_, most)| part > most) {
                best = Some((index, part));
            }
        }
        let (index, _) = best?;
        rest[index].shards.pop().map(|shard| (index, shard))
    }

    fn one(&self, shard: &Shard, commit: &str) -> Result<Option<Done>> {
        let log = self.state.log(shard);
        let (start, from) = (now(), Instant::now());
        let Settings { root, shard_time_max, .. } = self.settings;
        let ended = carry_out(&shard.command, root, &log, *shard_time_max, &self.stop)?;
        let Some(Ended { status, cpu_seconds }) = ended else { return Ok(None) };
        let mut output = Vec::new();
        File::open(&log)
            .and_then(|file| file.take(OUTPUT_BYTES_MAX).read_to_end(&mut output))
            .doing("reading what a shard said")?;
        let output = String::from_utf8_lossy(&output);
        let (results, status) = match shard::results(&output) {
            Ok(results) => (results, status),
            // Counts that can't be read are a failure of this shard, not of the others.
            Err(failure) => {
                println!("{} {}: {failure}", shard.layer, shard.number);
                (Vec::new(), status)
            }
        };
        Ok(Some(Done {
            layer: shard.layer.clone(),
            number: shard.number,
            command: shard.command.clone(),
            commit: commit.to_owned(),
            code: shard.code.clone(),
            start,
            end: now(),
            seconds: tenths(from.elapsed().as_secs_f64()),
            cpu_seconds: tenths(cpu_seconds),
            status,
            results,
            skipped: shard::skipped(&output),
        }))
    }
}

struct Ended {
    status: i64,
    cpu_seconds: f64,
}

/// Runs a command in a process group of its own; nothing when it was broken off.
fn carry_out(
    command: &str,
    root: &Path,
    log: &Path,
    time_max: Duration,
    stop: &AtomicBool,
) -> Result<Option<Ended>> {
    let out = File::create(log).doing("making the log of a shard")?;
    let err = out.try_clone().doing("making the log of a shard")?;
    let mut child = Command::new("bash")
        .args(["-c", command])
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0)
        .spawn()
        .doing("starting a shard")?;
    let running = Running::note(log, child.id());
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let end_with = |signal| {
        if let Some(group) = group {
            // Gone already is as good.
            kill_process_group(group, signal).unwrap_or_default();
        }
    };
    let (sender, receiver) = channel();
    let waiter = std::thread::spawn(move || sender.send(child.wait4()));
    let from = Instant::now();
    let mut hangs = false;
    let ended: std::io::Result<ResUse> = loop {
        match receiver.recv_timeout(LOOK_EVERY) {
            Ok(ended) => break ended,
            Err(RecvTimeoutError::Disconnected) => return Err(broken("lost sight of a shard")),
            Err(RecvTimeoutError::Timeout) => {}
        }
        hangs = from.elapsed() > time_max;
        if hangs || stop.load(Ordering::Relaxed) {
            end_with(Signal::TERM);
            let ended = receiver.recv_timeout(GRACE);
            end_with(Signal::KILL);
            break match ended {
                Ok(ended) => ended,
                Err(_) => receiver.recv().map_err(|_| broken("lost sight of a shard"))?,
            };
        }
    };
    // It has sent its answer.
    drop(waiter.join());
    drop(running);
    let ended = ended.doing("waiting for a shard")?;
    if !hangs && stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let status = match (hangs, ended.status.code()) {
        (false, Some(code)) => i64::from(code),
        _ => -1,
    };
    let cpu = ended.rusage.utime + ended.rusage.stime;
    Ok(Some(Ended { status, cpu_seconds: cpu.as_secs_f64() }))
}

fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

/// The time as RFC 3339 in whole seconds.
fn now() -> String {
    format!("{:.0}", jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::parse;

    /// A repository of its own, and a run in it.
    struct Place {
        root: PathBuf,
        layers: Vec<Layer>,
        committed: Vec<Done>,
    }

    impl Place {
        fn new(name: &str, schedule: &str) -> Place {
            let root =
                std::env::temp_dir().join(format!("release-run-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&root).unwrap();
            std::fs::write(root.join("code.rs"), "// code").unwrap();
            std::fs::write(root.join(".gitignore"), "/state\n/ran\n").unwrap();
            let words = "user.name=a";
            for args in [
                &["init", "-q"] as &[&str],
                &["add", "."],
                &["-c", words, "-c", "user.email=a@example.org", "commit", "-qm", "one"],
            ] {
                assert!(
                    Command::new("git").args(args).current_dir(&root).status().unwrap().success()
                );
            }
            Place { root, layers: parse(schedule).unwrap(), committed: Vec::new() }
        }

        fn run(&self, deadline: Option<Instant>) -> Result<bool> {
            let layers = self.layers();
            let settings = Settings {
                root: self.root.clone(),
                jobs: 2,
                deadline,
                shard_time_max: Duration::from_secs(2),
            };
            run(&settings, &self.state(), &layers)
        }

        fn state(&self) -> State {
            State::of(&self.root.join("state"), self.committed.clone())
        }

        /// The layers, of the code that is there.
        fn layers(&self) -> Vec<Layer> {
            let tree = Tree::of(&self.root).unwrap();
            let mut layers = self.layers.clone();
            for layer in &mut layers {
                layer.code = tree.code(&layer.built_from).unwrap().name;
            }
            layers
        }

        fn verdicts(&self, layer: usize) -> Vec<Verdict> {
            let done = self.state().all_done(&self.layers()[layer]).unwrap();
            done.iter().map(Done::verdict).collect()
        }

        /// What the shards have written down, sorted.
        fn ran(&self) -> String {
            let text = std::fs::read_to_string(self.root.join("ran")).unwrap_or_default();
            let mut lines: Vec<_> = text.lines().collect();
            lines.sort_unstable();
            lines.join(" ")
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.root).unwrap();
        }
    }

    const RESULT: &str = r#"echo 'RESULT {"layer":"x","n":1}'"#;

    #[test]
    fn every_shard_runs_once_and_only_what_is_left_runs_again() {
        let place = Place::new(
            "once",
            &format!(
                "[A] a\nprepare echo p >> ran\nshards 3\nrun echo a{{i}} >> ran; {RESULT}\n\
                 [B] b\nprepare echo p >> ran\nshards 2\nrun echo b{{i}} >> ran; {RESULT}; exit {{i}}\n\
                 [C] c\nrun echo c >> ran; echo 'SKIPPED c: no root'; exit 77\n"
            ),
        );
        assert!(!place.run(None).unwrap());
        assert_eq!(place.ran(), "a1 a2 a3 b1 b2 c p");
        assert_eq!(place.verdicts(0), [Verdict::Passed; 3]);
        assert_eq!(place.verdicts(1), [Verdict::Failed; 2]);
        assert_eq!(place.verdicts(2), [Verdict::Skipped]);
        // What failed stays failed; what was skipped is tried again.
        assert!(!place.run(None).unwrap());
        assert_eq!(place.ran(), "a1 a2 a3 b1 b2 c c p");
    }

    #[test]
    fn a_shard_that_hangs_and_one_that_says_nothing_have_failed() {
        let place = Place::new("hangs", "[A] a\nrun sleep 60 & sleep 60\n[B] b\nrun true\n");
        assert!(!place.run(None).unwrap());
        let done = place.state().all_done(&place.layers()[0]).unwrap();
        assert_eq!((done[0].verdict(), done[0].status), (Verdict::Failed, -1));
        assert!(done[0].seconds < 30.0);
        assert_eq!(place.verdicts(1), [Verdict::Failed]);
    }

    #[test]
    fn nothing_starts_after_the_deadline_and_the_rest_is_done_later() {
        let place =
            Place::new("deadline", &format!("[A] a\nshards 2\nrun echo {{i}} >> ran; {RESULT}"));
        assert!(!place.run(Some(Instant::now())).unwrap());
        assert_eq!(place.ran(), "");
        place.run(None).unwrap();
        assert_eq!(place.ran(), "1 2");
    }

    #[test]
    fn a_run_ends_when_the_code_changes_under_it() {
        let place = Place::new(
            "changes",
            &format!("[A] a\nshards 9\nrun echo '// other {{i}}' > code.rs; {RESULT}"),
        );
        assert!(place.run(None).is_err());
        assert_eq!(place.verdicts(0), []);
    }

    #[test]
    fn another_command_makes_it_another_shard() {
        let mut place = Place::new("command", &format!("[A] a\nrun echo 1 >> ran; {RESULT}"));
        place.run(None).unwrap();
        place.layers = parse(&format!("[A] a\nrun echo 2 >> ran; {RESULT}")).unwrap();
        place.run(None).unwrap();
        assert_eq!(place.ran(), "1 2");
    }

    #[test]
    fn what_was_committed_is_not_run_again_unless_its_code_has_changed() {
        let mut place =
            Place::new("committed", &format!("[A] a\nshards 2\nrun echo {{i}} >> ran; {RESULT}"));
        place.run(None).unwrap();
        place.committed = place.state().all_done(&place.layers()[0]).unwrap();
        // A clone has no state of its own.
        std::fs::remove_dir_all(place.root.join("state")).unwrap();
        place.run(None).unwrap();
        assert_eq!(place.ran(), "1 2");
        assert_eq!(place.verdicts(0), [Verdict::Passed; 2]);
        assert!(place.state().of_other_code(&place.layers()[0]).is_empty());
        std::fs::write(place.root.join("code.rs"), "// other").unwrap();
        assert_eq!(place.verdicts(0), []);
        assert_eq!(place.state().of_other_code(&place.layers()[0]).len(), 2);
        place.run(None).unwrap();
        assert_eq!(place.ran(), "1 1 2 2");
    }

    #[test]
    fn two_runs_do_not_work_in_one_directory() {
        let place = Place::new("twice", "[A] a\nrun true");
        let state = place.state();
        let lock = state.lock().unwrap();
        assert!(place.state().lock().is_err());
        drop(lock);
        assert!(place.state().lock().is_ok());
    }
}
