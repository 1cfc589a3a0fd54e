//! What a power cut leaves: the modes of a crash, and the dice that decide in each of them.
//!
//! Always true: equal modes, flags and seeds over equal pending changes give equal disks. Decides only;
//! the files and the names carry it out.

use std::ops::Range;

use super::image::SECTOR_BYTES;
use super::prng::Prng;

/// Which of the changes that no sync covered survive a power cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrashMode {
    /// None: the disk is as the syncs left it.
    DropAll,
    /// All: the kernel had just written everything back.
    KeepAll,
    /// Those before a random moment, none after it; the first one after it may be torn.
    Prefix,
    /// Each with a fate of its own; some sectors torn.
    Random,
    /// Those **after** a random moment and not those before it, the reverse of what code hopes for: the
    /// commit mark is there and what it commits is not.
    Adversarial,
    /// Names as ext4 and XFS keep them: any successful sync, of a file too, commits all names changed
    /// before it, and the others survive in order. Bytes and sizes as in [`CrashMode::Random`]. Code that
    /// passes here and fails in `Random` forgot to sync a directory.
    Ext4Like,
    /// Exactly those whose bit is set: bit `i` decides about unit `i` of the
    /// [`pending_units`](super::SimDisk::pending_units), modulo 64. Nothing is torn. For trying all of
    /// them.
    Subset(u64),
}

/// One power cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Crash {
    /// What survives.
    pub mode: CrashMode,
    /// Decides where the mode leaves a choice.
    pub seed: u64,
    /// The device does not promise power-safe overwrite: a sector that was being written (any pending
    /// one, one in four) may hold anything afterwards, also outside the bytes that were written.
    pub garbage: bool,
    /// The file system does not write data before the metadata that shows it (ext4 with
    /// `data=writeback`): where space was given to a file and the bytes did not arrive, one sector in two
    /// shows what somebody else once wrote there.
    pub stale: bool,
}

impl Crash {
    /// A power cut on a device with power-safe overwrite.
    #[must_use]
    pub fn new(mode: CrashMode, seed: u64) -> Crash {
        Crash { mode, seed, garbage: false, stale: false }
    }

    /// The same on a device without power-safe overwrite.
    #[must_use]
    pub fn with_garbage(self) -> Crash {
        Crash { garbage: true, ..self }
    }

    /// The same on a file system that may show stale blocks.
    #[must_use]
    pub fn with_stale_blocks(self) -> Crash {
        Crash { stale: true, ..self }
    }
}

/// What a power cut did. A test that loses nothing proves nothing: look here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CrashReport {
    /// Sector writes that survived.
    pub sectors_kept: u64,
    /// Sector writes that vanished.
    pub sectors_dropped: u64,
    /// Sector writes of which a part survived.
    pub sectors_torn: u64,
    /// Sectors full of garbage.
    pub sectors_garbage: u64,
    /// Sectors that show what was in their blocks before the file got them.
    pub sectors_stale: u64,
    /// Pieces of new space that survived.
    pub extents_kept: u64,
    /// Pieces of new space that vanished, and with them whatever was written there.
    pub extents_dropped: u64,
    /// Changes of a file's size that survived.
    pub sizes_kept: u64,
    /// Changes of a file's size that vanished.
    pub sizes_dropped: u64,
    /// Creations, renames and removals that survived.
    pub names_kept: u64,
    /// Creations, renames and removals that vanished.
    pub names_dropped: u64,
}

impl CrashReport {
    pub(super) fn count(&mut self, fate: &Fate, writes: usize) {
        self.sectors_kept += fate.kept as u64;
        self.sectors_torn += u64::from(fate.torn);
        self.sectors_dropped += (writes - fate.kept) as u64 - u64::from(fate.torn);
        self.sectors_garbage += u64::from(fate.garbage);
    }
}

/// What becomes of the pending writes to one sector.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    /// How many of them survive: the first ones, because a later write-back of a sector carries the
    /// earlier writes with it.
    pub(super) kept: usize,
    /// Whether a part of the next one survives too.
    pub(super) torn: bool,
    /// Whether the sector ends up as garbage after all.
    pub(super) garbage: bool,
}

impl Fate {
    /// Of writes whose space did not survive.
    pub(super) const LOST: Fate = Fate { kept: 0, torn: false, garbage: false };
}

/// Decides about the pending changes, one unit after the other.
#[derive(Debug)]
pub(super) struct Dice {
    crash: Crash,
    random: Prng,
    /// The random moment of `Prefix` and `Adversarial`, as an order.
    cut: u64,
    /// Of 8: how likely a change survives. Differs by crash, or many changes would always lose about half.
    survival_eighths: u64,
    /// The units decided so far.
    unit: u32,
}

impl Dice {
    /// `orders` are those of all pending changes.
    pub(super) fn new(crash: Crash, mut orders: Vec<u64>) -> Dice {
        let mut random = Prng::new(crash.seed);
        orders.sort_unstable();
        let cut = orders.get(random.index(orders.len() + 1)).copied().unwrap_or(u64::MAX);
        let survival_eighths = 1 + random.below(7);
        Dice { crash, random, cut, survival_eighths, unit: 0 }
    }

    pub(super) fn mode(&self) -> CrashMode {
        self.crash.mode
    }

    /// How many of the changes to one thing, given in order, survive: the first so many.
    pub(super) fn keep(&mut self, orders: &[u64]) -> usize {
        let unit = self.unit;
        self.unit = unit.wrapping_add(1);
        match self.crash.mode {
            CrashMode::DropAll => 0,
            CrashMode::KeepAll => orders.len(),
            CrashMode::Prefix => orders.iter().filter(|order| **order < self.cut).count(),
            CrashMode::Random | CrashMode::Ext4Like => {
                orders.iter().take_while(|_| self.random.chance(self.survival_eighths, 8)).count()
            }
            CrashMode::Adversarial => match orders.last() {
                Some(last) if *last >= self.cut => orders.len(),
                _ => 0,
            },
            CrashMode::Subset(kept) => {
                if (kept >> (unit % 64)) & 1 == 1 {
                    orders.len()
                } else {
                    0
                }
            }
        }
    }

    /// The fate of the pending writes to one sector.
    pub(super) fn sector(&mut self, orders: &[u64]) -> Fate {
        let kept = self.keep(orders);
        let torn = orders.get(kept).is_some_and(|first_lost| match self.crash.mode {
            CrashMode::DropAll | CrashMode::KeepAll | CrashMode::Subset(_) => false,
            CrashMode::Prefix => *first_lost == self.cut && self.random.chance(1, 2),
            CrashMode::Random | CrashMode::Adversarial | CrashMode::Ext4Like => {
                self.random.chance(1, 4)
            }
        });
        let garbage = self.crash.garbage && self.random.chance(1, 4);
        Fate { kept, torn, garbage }
    }

    /// The fate of writes that leave a sector as it is: nobody sees it, so it is no unit.
    pub(super) fn unseen(&mut self, orders: &[u64]) -> Fate {
        let arrived = match self.crash.mode {
            CrashMode::DropAll => false,
            CrashMode::KeepAll | CrashMode::Subset(_) => true,
            _ => self.random.chance(1, 2),
        };
        let garbage = self.crash.garbage && self.random.chance(1, 4);
        Fate { kept: if arrived { orders.len() } else { 0 }, torn: false, garbage }
    }

    /// How many pieces of new space of one file survive: the first ones, for they are journaled in order.
    /// No unit of a `Subset`: without its space the bytes are lost, and that is tried there anyway.
    pub(super) fn extents(&mut self, orders: &[u64]) -> usize {
        match self.crash.mode {
            CrashMode::DropAll => 0,
            CrashMode::KeepAll | CrashMode::Subset(_) | CrashMode::Adversarial => orders.len(),
            CrashMode::Prefix => orders.iter().filter(|order| **order < self.cut).count(),
            CrashMode::Random | CrashMode::Ext4Like => match self.random.chance(3, 4) {
                true => orders.len(),
                false => self.random.index(orders.len() + 1),
            },
        }
    }

    /// Whether a sector of new space, whose bytes did not arrive, shows what was there before.
    pub(super) fn stale(&mut self) -> bool {
        self.crash.stale && self.random.chance(1, 2)
    }

    /// The part of a write that a torn sector got: up to a byte or from it on, never outside the write.
    pub(super) fn tear(&mut self, range: &Range<usize>) -> Range<usize> {
        let at = range.start + 1 + self.random.index(range.len().saturating_sub(1));
        if self.random.chance(1, 2) { range.start..at } else { at..range.end }
    }

    pub(super) fn garbage(&mut self) -> [u8; SECTOR_BYTES] {
        let mut bytes = [0; SECTOR_BYTES];
        self.random.fill(&mut bytes);
        bytes
    }
}
