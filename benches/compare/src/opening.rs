//! What opening after a kill costs as the log grows: time, and bytes read by this process.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use order_ledger::{Options, RecoveryReport};

use crate::sample::Rounds;
use crate::store::Result;
use crate::support::{self, Dir};
use crate::table::number;

/// Size of the segments: smaller than the default, so that 16 of them are made in seconds.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// Orders that fill one such segment: 256 bytes of payload, 32 of key, and what the log adds.
const ORDERS_PER_SEGMENT: usize = 49_000;

/// One opening.
#[derive(Debug)]
struct Opened {
    elapsed: Duration,
    bytes_read: u64,
    report: RecoveryReport,
}

/// A table of its own.
pub(crate) fn print(out: &mut impl Write, dir: &Dir, times: usize) -> Result<()> {
    let mib = SEGMENT_BYTES / 1024 / 1024;
    writeln!(out, "Opening after kill -9, segments of {mib} MiB, the last one half full:")?;
    writeln!(out)?;
    writeln!(
        out,
        "| segments | orders | log | segments scanned | bytes read | open | least..most of {times} |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for segments in [1, 4, 16] {
        let work = dir.join("opening");
        std::fs::create_dir_all(&work)?;
        let all = after_kill(&work, segments, times)?;
        let (mut elapsed_ms, mut read_mib) = (Rounds::default(), Rounds::default());
        for opened in &all {
            elapsed_ms.push(opened.elapsed.as_secs_f64() * 1e3);
            read_mib.push(f64::from(u32::try_from(opened.bytes_read / 1024)?) / 1024.0);
        }
        let Some(last) = all.last() else { continue };
        let report = &last.report;
        writeln!(
            out,
            "| {} | {} | {} MiB | {} | {} MiB | {} ms | {}..{} |",
            report.segments,
            report.records,
            report.segments * mib,
            report.segments_scanned,
            number(read_mib.median()),
            number(elapsed_ms.median()),
            number(elapsed_ms.least()),
            number(elapsed_ms.most()),
        )?;
    }
    Ok(())
}

/// Fills about `segments` segments, the last one half, in a process that is then killed; opens copies of
/// what it left `times` times.
fn after_kill(dir: &Path, segments: usize, times: usize) -> io::Result<Vec<Opened>> {
    let killed = dir.join(format!("killed-{segments}"));
    let orders = (segments - 1) * ORDERS_PER_SEGMENT + ORDERS_PER_SEGMENT / 2;
    support::killed(&killed, SEGMENT_BYTES, orders)?;
    let options = Options::new().segment_bytes(SEGMENT_BYTES);
    let mut all = Vec::new();
    for index in 0..times {
        let copy = dir.join(format!("copy-{segments}-{index}"));
        support::copy(&killed, &copy)?;
        // The copy's dirty pages are not the opening's to write.
        sync_all(&copy)?;
        let before = bytes_read()?;
        let started = Instant::now();
        let ledger = options.open(&copy).map_err(io::Error::other)?;
        let elapsed = started.elapsed();
        let bytes_read = bytes_read()? - before;
        let report = ledger.recovery_report().clone();
        all.push(Opened { elapsed, bytes_read, report });
        ledger.close().map_err(io::Error::other)?;
        // Best effort: the views may still be closing there. The rest goes with the whole directory.
        drop(std::fs::remove_dir_all(&copy));
    }
    std::fs::remove_dir_all(&killed)?;
    Ok(all)
}

/// Syncs every file under a directory.
fn sync_all(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_all(&path)?;
        } else {
            std::fs::File::open(&path)?.sync_all()?;
        }
    }
    Ok(())
}

/// Bytes that this process has read so far, from files in memory and on disk alike.
fn bytes_read() -> io::Result<u64> {
    let counters = std::fs::read_to_string("/proc/self/io")?;
    let rchar = counters.lines().find_map(|line| line.strip_prefix("rchar: "));
    rchar.and_then(|count| count.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
