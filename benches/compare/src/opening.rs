//! What opening after a kill costs as the log grows: time, and bytes read by this process.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use order_ledger::{Options, RecoveryReport};

use crate::support;

/// Size of the segments: smaller than the default, so that 16 of them are made in seconds.
pub(crate) const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// Orders that fill one such segment: 256 bytes of payload, 32 of key, and what the log adds.
const ORDERS_PER_SEGMENT: usize = 49_000;

/// One opening.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) elapsed: Duration,
    pub(crate) bytes_read: u64,
    pub(crate) report: RecoveryReport,
}

/// Fills about `segments` segments, the last one half, in a process that is then killed; opens copies of
/// what it left `times` times.
pub(crate) fn after_kill(dir: &Path, segments: usize, times: usize) -> io::Result<Vec<Opened>> {
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
