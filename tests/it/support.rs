//! What the modules share: a ledger on a simulated disk, and orders to put into it.

use order_ledger::disk::sim::{SimDisk, SimHost};
use order_ledger::{Ledger, Options, Result, Submission};

/// A simulated machine: its disk and its clock outlive the ledgers that run on it.
pub(crate) struct Machine {
    pub(crate) disk: SimDisk,
    pub(crate) host: SimHost,
}

impl Machine {
    pub(crate) fn new(seed: u64) -> Machine {
        Machine { disk: SimDisk::new(seed), host: SimHost::new(seed) }
    }

    pub(crate) fn open_with(&self, options: &Options) -> Result<Ledger> {
        options.open_simulated(self.disk.as_disk(), self.host.as_host())
    }

    pub(crate) fn open(&self) -> Ledger {
        self.open_with(&small()).unwrap()
    }
}

/// Small segments, so that a test meets the borders.
pub(crate) fn small() -> Options {
    Options::new().segment_bytes(64 * 1024).disk_reserve_bytes(4096).disk_free_min_bytes(0)
}

/// The `n`-th order of client `web`.
pub(crate) fn order(n: u64) -> Submission {
    Submission::new("web", format!("key-{n}"), format!("order number {n}"))
        .account(format!("account-{}", n % 7))
        .external_ref(format!("PO-{n}"))
}
