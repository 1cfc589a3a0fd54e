//! The whole simulated disk behind its lock: what it consists of, what all calls share, how a life ends.
//!
//! Always true: a call is counted and judged by the plan before it touches anything; a handle of an
//! earlier life (from before the last power cut or kill) can do nothing and is not counted. The calls
//! themselves are in `disk_calls` and `file_calls`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

use super::crash::{Crash, CrashReport, Dice};
use super::faults::{Call, Fault, Plan, Verdict};
use super::file::File;
use super::image::SECTOR_BYTES;
use super::names::{Inode, Names};
use super::prng::Prng;

/// What a disk without a set capacity says it has.
const CAPACITY_BYTES_DEFAULT: u64 = 1 << 40;

/// A file and what is known about it beside its content.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) file: File,
    /// Handles of this life: a removed file that is open keeps working and keeps its space.
    pub(super) open: u64,
    /// Syncs that have failed.
    pub(super) failed_syncs: u64,
    /// Ranges of bytes that the device cannot read.
    pub(super) unreadable: Vec<Range<u64>>,
}

/// The disk.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) seed: u64,
    pub(super) random: Prng,
    pub(super) names: Names,
    pub(super) files: BTreeMap<Inode, Node>,
    pub(super) inode_next: Inode,
    pub(super) order_next: u64,
    pub(super) write_next: u64,
    pub(super) plan: Plan,
    pub(super) is_off: bool,
    /// Counts power cuts, kills and restores; handles carry the number they were opened in.
    pub(super) life: u64,
    pub(super) locked: BTreeSet<Inode>,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) is_in_place: bool,
    /// Whether files take writes past the page cache.
    pub(super) takes_past_cache: bool,
}

impl State {
    pub(super) fn new(seed: u64) -> State {
        State {
            seed,
            random: Prng::new(seed),
            names: Names::new(),
            files: BTreeMap::new(),
            inode_next: 1,
            order_next: 0,
            write_next: 0,
            plan: Plan::default(),
            is_off: false,
            life: 0,
            locked: BTreeSet::new(),
            capacity_bytes: None,
            is_in_place: true,
            takes_past_cache: false,
        }
    }

    pub(super) fn add_file(&mut self, file: File) -> Inode {
        let inode = self.inode_next;
        self.inode_next += 1;
        self.files.insert(inode, Node { file, ..Node::default() });
        inode
    }

    // What all calls share.

    /// Counts a call and finds its verdict; fails when the handle is dead.
    pub(super) fn judge(&mut self, life: u64, call: Call) -> io::Result<Verdict> {
        if self.is_off || life != self.life {
            return Err(power_is_off());
        }
        let verdict = self.plan.next_call(call);
        if verdict == Verdict::PowerOff {
            self.is_off = true;
        }
        Ok(verdict)
    }

    /// A call that happens whole or not at all.
    pub(super) fn call<T>(
        &mut self,
        life: u64,
        call: Call,
        work: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        match self.judge(life, call)? {
            Verdict::Pass => work(self),
            Verdict::PowerOff => Err(power_is_off()),
            Verdict::Fail(Fault::EioLate) => {
                work(self)?;
                Err(Fault::EioLate.error())
            }
            Verdict::Fail(fault) => Err(fault.error()),
        }
    }

    pub(super) fn node(&self, inode: Inode) -> io::Result<&Node> {
        self.files.get(&inode).ok_or_else(power_is_off)
    }

    /// Space that no named or open file takes.
    pub(super) fn free_sectors(&self) -> u64 {
        let linked = self.names.linked();
        let used: u64 = self
            .files
            .iter()
            .filter(|(inode, node)| node.open > 0 || linked.contains(inode))
            .map(|(_, node)| node.file.current().allocated())
            .sum();
        let capacity_bytes = self.capacity_bytes.unwrap_or(CAPACITY_BYTES_DEFAULT);
        (capacity_bytes / SECTOR_BYTES as u64).saturating_sub(used)
    }

    // The ends of a life.

    /// How many things a power cut would decide about.
    pub(super) fn pending_units(&self) -> usize {
        let in_files: usize = self.files.values().map(|node| node.file.pending_units()).sum();
        in_files + self.names.orders().count()
    }

    pub(super) fn crash(&mut self, crash: Crash) -> CrashReport {
        let in_files = self.files.values().flat_map(|node| node.file.orders());
        let orders = in_files.chain(self.names.orders()).collect();
        let mut dice = Dice::new(crash, orders);
        let mut report = CrashReport::default();
        for node in self.files.values_mut() {
            node.file.settle(&mut dice, &mut report);
        }
        self.names.settle(&mut dice, &mut report);
        self.start_life();
        report
    }

    /// Ends all handles and locks and brings the power back.
    pub(super) fn start_life(&mut self) {
        self.life += 1;
        self.is_off = false;
        self.plan.power_off_at = None;
        self.locked.clear();
        for node in self.files.values_mut() {
            node.open = 0;
        }
        self.forget_unreferenced();
    }

    pub(super) fn forget_unreferenced(&mut self) {
        loop {
            let referenced = self.names.referenced();
            self.files.retain(|inode, node| node.open > 0 || referenced.contains(inode));
            if !self.names.forget_all_but(&referenced) {
                return;
            }
            // A directory went, and what it named may go too.
        }
    }
}

/// The error of everything that is asked of a disk without power, or through a handle of a process that
/// is dead.
pub(super) fn power_is_off() -> io::Error {
    io::Error::other("the simulated power is off, or this handle is from before it was")
}
