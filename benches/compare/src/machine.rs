//! What the figures were measured on: printed above them, because ratios travel and numbers do not.

use std::io::{self, Write};

use crate::peers::Peer;
use crate::support::FileSystem;

/// What was built into this program.
const LOCK: &str = include_str!("../Cargo.lock");

/// Where the run took place.
pub(crate) struct Machine {
    date: String,
    cores: usize,
    cpu: String,
    kernel: String,
    file_system: FileSystem,
    load_before: String,
}

impl Machine {
    /// Before the run, for the load that it did not make itself.
    pub(crate) fn now(file_system: FileSystem) -> io::Result<Machine> {
        let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        Ok(Machine {
            date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: cpu.unwrap_or("unknown").to_owned(),
            kernel: format!("{} {}", std::env::consts::OS, kernel.trim()),
            file_system,
            load_before: load()?,
        })
    }

    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let FileSystem { kind, options } = &self.file_system;
        writeln!(out, "- date: {}", self.date)?;
        writeln!(out, "- machine: {} cores, {}", self.cores, self.cpu)?;
        writeln!(out, "- kernel: {}", self.kernel)?;
        writeln!(out, "- file system: {kind} ({options})")?;
        let (before, after) = (&self.load_before, load()?);
        writeln!(out, "- load over 1, 5 and 15 minutes: {before} before, {after} after")?;
        // RocksDB computes its checksums without the CPU's instruction otherwise.
        let sse = if cfg!(target_feature = "sse4.2") { "with" } else { "without" };
        writeln!(out, "- built {sse} SSE 4.2")
    }

    /// In a line.
    pub(crate) fn summary(&self) -> String {
        let Machine { date, cores, cpu, file_system, .. } = self;
        let day = date.split(' ').next().unwrap_or_default();
        format!(
            "{cores} cores, {cpu}, {}, {day}; each group has a scale of its own",
            file_system.kind
        )
    }
}

pub(crate) fn print_peers(out: &mut impl Write, peers: &[Peer]) -> io::Result<()> {
    for peer in peers {
        writeln!(out, "- {} {}: {}", peer.who.name, (peer.version)(), peer.settings)?;
    }
    if !peers.iter().any(|peer| peer.who.name == "RocksDB") {
        writeln!(out, "- no RocksDB in this run: \"best peer\" is the best of the others")?;
    }
    Ok(())
}

/// The version of a package that was linked.
pub(crate) fn locked(package: &str) -> String {
    let begin = format!("name = \"{package}\"\nversion = \"");
    let version = LOCK.split_once(&begin).and_then(|(_, rest)| rest.split('"').next());
    version.unwrap_or("of unknown version").to_owned()
}

fn load() -> io::Result<String> {
    let load = std::fs::read_to_string("/proc/loadavg")?;
    Ok(load.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_lock_file() {
        assert_eq!(locked("sled"), "0.34.7");
        assert_eq!(locked("nobody"), "of unknown version");
    }
}
