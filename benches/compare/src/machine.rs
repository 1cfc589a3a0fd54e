//! What the figures were measured on: printed above them, because ratios travel and numbers do not.

use std::io::{self, Write};

use crate::sqlite::Sqlite;
use crate::support::{FileSystem, PAYLOAD_BYTES};

pub(crate) fn print(out: &mut impl Write, file_system: &FileSystem) -> io::Result<()> {
    let date = jiff::Timestamp::now();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let FileSystem { kind, options } = file_system;
    writeln!(out, "- date: {}", date.strftime("%Y-%m-%d %H:%M UTC"))?;
    writeln!(out, "- machine: {cores} cores, {}", cpu.unwrap_or("unknown"))?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
    writeln!(out, "- load average over 1, 5 and 15 minutes, this run included: {load}")?;
    writeln!(out, "- kernel: {} {}", std::env::consts::OS, kernel.trim())?;
    writeln!(out, "- file system: {kind} ({options})")?;
    writeln!(out, "- orders: {PAYLOAD_BYTES} bytes of payload, random keys of 32 bytes")?;
    writeln!(
        out,
        "- SQLite {}: WAL, synchronous=FULL, unique index on (client, key)",
        Sqlite::version()
    )?;
    writeln!(out)
}
