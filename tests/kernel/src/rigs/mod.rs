//! The rigs: each makes one kind of trouble, again and again, and holds the ledger against the oracle.

pub mod block_log;
pub mod eio;
pub mod eio_read;
pub mod enospc;
pub mod erofs;
pub mod kill;
pub mod power_cut;
pub mod rotate;
pub mod soak;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::image::FileSystem;

/// How a rig was asked to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where everything is made; removed by the supervisor.
    pub dir: PathBuf,
    /// The same on tmpfs, where there is one.
    pub on_tmpfs: Option<PathBuf>,
    pub seed: u64,
    pub rounds: u64,
    /// Ends earlier when this time has passed.
    pub seconds: Option<u64>,
    /// Only this file system.
    pub only: Option<FileSystem>,
    /// Begins here: `--from 17 --rounds 1` is round 17 alone.
    pub from: u64,
    started: Instant,
}

impl Plan {
    pub fn new(dir: PathBuf, seed: u64, rounds: u64) -> Plan {
        Plan {
            dir,
            on_tmpfs: None,
            seed,
            rounds,
            seconds: None,
            only: None,
            from: 0,
            started: Instant::now(),
        }
    }

    /// The numbers of the rounds.
    pub fn numbers(&self) -> std::ops::Range<u64> {
        self.from..self.from.saturating_add(self.rounds)
    }

    pub fn is_over(&self) -> bool {
        self.seconds.is_some_and(|limit| self.started.elapsed() >= Duration::from_secs(limit))
    }
}
