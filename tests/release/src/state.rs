//! The files of a run: `<state>/<code>/<layer>/<number>.json` for each shard that ended, its output beside.
//!
//! Always true: a shard is there as a whole or not at all; two runs never work in one directory; what a
//! run that was killed has left running is ended before the next one starts anything; what ran on this very
//! code somewhere else and was committed is not run again.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::failure::{Doing, Result, broken};
use crate::schedule::{Layer, Shard};
use crate::shard::{Done, Verdict};

pub(crate) struct State {
    dir: PathBuf,
    /// The shards of the committed results.
    committed: Vec<Done>,
}

impl State {
    pub(crate) fn of(dir: &Path, committed: Vec<Done>) -> State {
        State { dir: dir.to_owned(), committed }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps others out for as long as the answer lives.
    pub(crate) fn lock(&self) -> Result<File> {
        std::fs::create_dir_all(&self.dir).doing("making the directory of the run")?;
        let lock = File::create(self.dir.join("LOCK")).doing("making the lock of the run")?;
        lock.try_lock().map_err(|_| broken("another release run works here"))?;
        Ok(lock)
    }

    /// Ends the shards of a run that was itself killed.
    pub(crate) fn end_orphans(&self) -> Result<()> {
        let codes = std::fs::read_dir(&self.dir).doing("reading the directory of the run")?;
        for code in codes.flatten().filter(|entry| entry.path().is_dir()) {
            let layers = std::fs::read_dir(code.path()).doing("reading the directory of a code")?;
            for layer in layers.flatten().filter(|entry| entry.path().is_dir()) {
                for entry in std::fs::read_dir(layer.path()).doing("reading a layer")?.flatten() {
                    if entry.path().extension().is_some_and(|ending| ending == RUNNING) {
                        Running { path: entry.path() }.end();
                    }
                }
            }
        }
        Ok(())
    }

    /// Where the shards of a layer are.
    pub(crate) fn layer_dir(&self, code: &str, layer: &str) -> PathBuf {
        self.dir.join(code).join(layer)
    }

    fn file(&self, code: &str, layer: &str, number: u64, ending: &str) -> PathBuf {
        self.layer_dir(code, layer).join(format!("{number:05}.{ending}"))
    }

    pub(crate) fn log(&self, shard: &Shard) -> PathBuf {
        self.file(&shard.code, &shard.layer, shard.number, "log")
    }

    /// Keeps what a shard left.
    pub(crate) fn keep(&self, done: &Done) -> Result<()> {
        let path = self.file(&done.code, &done.layer, done.number, "json");
        let aside = path.with_extension("tmp");
        std::fs::write(&aside, format!("{}\n", done.to_json())).doing("keeping a shard")?;
        std::fs::rename(&aside, &path).doing("keeping a shard")
    }

    /// The shard as it ended, if it did, and if it is still the one that is planned.
    pub(crate) fn done(&self, shard: &Shard) -> Result<Option<Done>> {
        let is_it = |done: &Done| {
            (&done.code, &done.layer, done.number, &done.command)
                == (&shard.code, &shard.layer, shard.number, &shard.command)
        };
        let path = self.file(&shard.code, &shard.layer, shard.number, "json");
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Done::from_json(text.trim_end())?).filter(is_it)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(self.committed.iter().find(|done| is_it(done)).cloned())
            }
            Err(error) => Err(broken(format!("{}: {error}", path.display()))),
        }
    }

    /// The committed shards of a layer that ran on other code.
    pub(crate) fn of_other_code(&self, layer: &Layer) -> Vec<Done> {
        let planned = 1..=layer.planned();
        let is_other = |done: &&Done| {
            done.layer == layer.name && done.code != layer.code && planned.contains(&done.number)
        };
        self.committed.iter().filter(is_other).cloned().collect()
    }

    /// All of a layer's that ended.
    pub(crate) fn all_done(&self, layer: &Layer) -> Result<Vec<Done>> {
        let done = layer.all_shards().filter_map(|shard| self.done(&shard).transpose());
        done.collect()
    }

    /// What is still to do, in the order in which it is done: the values of `each` in turn. A shard that was
    /// skipped is tried again, one that failed stays failed.
    pub(crate) fn to_do(&self, layer: &Layer) -> Result<Vec<Shard>> {
        let mut shards = Vec::new();
        for shard in layer.all_shards() {
            let done = self.done(&shard)?;
            if done.is_none_or(|done| done.verdict() == Verdict::Skipped) {
                shards.push(shard);
            }
        }
        shards.sort_by_key(|shard| (shard.number - 1) % layer.shards);
        Ok(shards)
    }
}

const RUNNING: &str = "running";

/// A note that a process group works on a shard; gone when this is dropped.
pub(crate) struct Running {
    path: PathBuf,
}

impl Running {
    /// The note lies beside the log. Without one an orphan would only not be ended.
    pub(crate) fn note(log: &Path, process: u32) -> Running {
        let path = log.with_extension(RUNNING);
        let start = start_of(process).unwrap_or_default();
        drop(std::fs::write(&path, format!("{process} {start}")));
        Running { path }
    }

    /// Ends the process group, if it is still the one that was noted.
    fn end(self) {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let Some((process, start)) = text.split_once(' ') else { return };
        let Ok(process) = process.parse::<u32>() else { return };
        let group = i32::try_from(process).ok().and_then(Pid::from_raw);
        if let (Some(group), true) = (group, start_of(process).as_deref() == Some(start)) {
            // Gone already is as good.
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

/// When a process began, in ticks since the start of the machine: tells it from another of its number.
fn start_of(process: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may hold anything: the 22nd field, the name being the 2nd.
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;

    #[test]
    fn every_value_has_its_turn_before_the_first_has_its_second() {
        let layers = crate::schedule::parse("[L6] x\neach a b\nshards 2\nrun {each} {i}").unwrap();
        let state = State::of(Path::new("/nowhere"), Vec::new());
        let shards = state.to_do(&layers[0]).unwrap();
        let commands: Vec<_> = shards.iter().map(|shard| shard.command.as_str()).collect();
        assert_eq!(commands, ["a 1", "b 1", "a 2", "b 2"]);
    }

    #[test]
    fn what_a_killed_run_left_is_ended_and_another_process_of_that_number_is_not() {
        let dir = std::env::temp_dir().join(format!("release-run-state-{}", std::process::id()));
        let state = State::of(&dir, Vec::new());
        drop(state.lock().unwrap());
        let layer = state.layer_dir("code", "L1");
        std::fs::create_dir_all(&layer).unwrap();
        let sleeper =
            || std::process::Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let (mut orphan, mut other) = (sleeper(), sleeper());
        std::mem::forget(Running::note(&layer.join("1.log"), orphan.id()));
        std::fs::write(layer.join("2.running"), format!("{} 1", other.id())).unwrap();
        state.end_orphans().unwrap();
        assert!(!orphan.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none(), "it is somebody else's");
        other.kill().unwrap();
        other.wait().unwrap();
        let left = std::fs::read_dir(&layer).unwrap().count();
        assert_eq!(left, 0, "the notes are gone");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
