//! Many orders without a break, into a store that begins empty: what an engine puts off, it has to do.
//!
//! Each contender has the machine for itself until it is done, and is closed and removed before the next
//! one begins; so its debts are paid in its own time, not in that of its neighbour.

use std::path::Path;

use order_ledger::Views;

use crate::contender::{CORE, NO_VIEWS, OURS, Who};
use crate::drive;
use crate::figures::{Figures, What};
use crate::floor::core::Core;
use crate::floor::raw::Raw;
use crate::floor::segment::Mode;
use crate::orders::Source;
use crate::ours::Ours;
use crate::peers::Peer;
use crate::rounds::BATCH;
use crate::sample::{Latencies, rate};
use crate::store::{Result, Store};

/// Orders that are made at a time, while the clock stands.
const CHUNK: usize = 100 * BATCH;

/// Every contender once.
pub(crate) fn round(
    dir: &Path,
    peers: &[Peer],
    count: usize,
    source: &mut Source,
    figures: &mut Figures,
) -> Result<()> {
    std::fs::create_dir(dir)?;
    let batch_bytes = source.log_bytes(BATCH)?;
    for (who, mode) in [
        (crate::contender::RAW_BUFFERED, Mode::Buffered),
        (crate::contender::RAW_DIRECT, Mode::Direct),
    ] {
        let Ok(mut raw) = Raw::new(&dir.join("raw"), mode) else { continue };
        let mut latencies = Latencies::default();
        let elapsed = raw.groups(count / BATCH, batch_bytes, &mut latencies)?;
        push(figures, who, rate(count, elapsed), &latencies);
    }
    for (who, views) in [(OURS, Views::On), (NO_VIEWS, Views::Off)] {
        let ours = Ours::open(&dir.join("orders.ledger"), views)?;
        fill(who, &ours, count, source, figures)?;
        ours.0.close()?;
        clear(dir)?;
    }
    let core = Core::new(&dir.join("core"))?;
    fill(CORE, &core, count, source, figures)?;
    drop(core);
    clear(dir)?;
    for peer in peers {
        let store = (peer.open)(dir)?;
        fill(peer.who, &*store, count, source, figures)?;
        drop(store);
        clear(dir)?;
    }
    std::fs::remove_dir(dir)?;
    Ok(())
}

fn fill(
    who: Who,
    store: &dyn Store,
    count: usize,
    source: &mut Source,
    figures: &mut Figures,
) -> Result<()> {
    let mut latencies = Latencies::default();
    let mut elapsed = std::time::Duration::ZERO;
    let mut left = count;
    while left > 0 {
        let orders = source.take(left.min(CHUNK))?;
        elapsed += drive::batches(store, &orders, BATCH, &mut latencies)?;
        left -= orders.len();
    }
    push(figures, who, rate(count, elapsed), &latencies);
    Ok(())
}

fn push(figures: &mut Figures, who: Who, rate: f64, latencies: &Latencies) {
    figures.push(What::Sustained, who, rate);
    figures.push(What::LongestBatch, who, latencies.longest().as_secs_f64() * 1e3);
}

/// Leaves the directory empty.
fn clear(dir: &Path) -> Result<()> {
    std::fs::remove_dir_all(dir)?;
    std::fs::create_dir(dir)?;
    Ok(())
}
