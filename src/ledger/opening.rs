//! Puts an open ledger together: lock, recovery, the write path, its threads.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::Ledger;
use super::handle::Inner;
use super::options::Views;
use super::read::Reads;
use crate::admission::dedupe::Lookup;
use crate::commit::{Committer, Settings};
use crate::disk::{Disk, DiskLock, Host};
use crate::error::{Error, ErrorKind, Result};
use crate::order::Durability;
use crate::recovery::segments::LOCK_NAME;
use crate::recovery::{self, Recovered};
use crate::wal::prepare::Preparer;
use crate::wal::writer::{Layout, Writer};

/// Everything that is needed to open a ledger.
pub(crate) struct Opening {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) group_align: u32,
    pub(crate) durability: Durability,
    pub(crate) views: Views,
    pub(crate) views_open_deadline: Duration,
    /// The real directory, which sled needs; `None` in the simulator, where the views are in memory.
    pub(crate) views_at: Option<PathBuf>,
    pub(crate) settings: Settings,
}

/// Tries for the lock: the kernel may free the lock of a process that has just died a moment late.
/// Source: TigerBeetle retries 5 times with pauses of 50 ms; "at once" is kept by pausing less.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

pub(crate) fn open(opening: Opening) -> Result<Ledger> {
    let Opening { disk, host, settings, .. } = &opening;
    let lock = lock(&**disk, &**host)?;
    let preparer = Arc::new(Preparer::new(Arc::clone(disk)));
    let layout =
        Layout { segment_bytes: settings.segment_bytes, group_align: opening.group_align };
    let recovered = recovery::open(disk, &**host, &preparer, layout, opening.durability)?;
    let Recovered { log, tables, active, position, unsealed, report } = recovered;
    // Derived, for people: a failure is none of opening.
    drop(recovery::keep_report(&**disk, &report));
    let writer = Writer::new(
        Arc::clone(disk),
        Arc::clone(host),
        Arc::clone(&log),
        Arc::clone(&preparer),
        layout,
        active,
        position,
    )
    .map_err(|error| Error::io("reading the end of the log", error))?;
    let lookup = Lookup { log, tables };
    let committer = Arc::new(Committer::new(
        Arc::clone(disk),
        Arc::clone(host),
        lookup.clone(),
        settings.clone(),
        preparer,
        writer,
        unsealed,
    ));
    let threads = start_threads(&committer)?;
    let reads = Reads { lookup };
    Ok(Ledger::from_inner(Inner::new(committer, reads, report, lock, threads)))
}

fn lock(disk: &dyn Disk, host: &dyn Host) -> Result<Box<dyn DiskLock>> {
    let mut tries = 1;
    loop {
        match disk.lock(LOCK_NAME) {
            Ok(lock) => {
                // For the message that another opener gets; the lock itself is the kernel's.
                drop(lock.write_content(host.process_id().to_string().as_bytes()));
                return Ok(lock);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if tries == LOCK_TRIES {
                    let content = crate::disk::read_file(disk, LOCK_NAME, 64).unwrap_or_default();
                    let pid = String::from_utf8_lossy(&content).trim().parse().ok();
                    return Err(Error::new(ErrorKind::Locked { pid }));
                }
                tries += 1;
                host.sleep(LOCK_PAUSE);
            }
            Err(error) => return Err(Error::io("taking the lock", error)),
        }
    }
}

fn start_threads(committer: &Arc<Committer>) -> Result<Vec<JoinHandle<()>>> {
    if !committer.settings.threads {
        return Ok(Vec::new());
    }
    let spawn = |name: &str, run: fn(&Committer)| {
        let committer = Arc::clone(committer);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&committer))
            .map_err(|error| Error::io("starting a thread", error))
    };
    Ok(vec![
        spawn("ledger-commit", Committer::run_commit_thread)?,
        spawn("ledger-upkeep", Committer::run_upkeep_thread)?,
    ])
}
