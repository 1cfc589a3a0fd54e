//! One simulated file: what reads see, what the platter holds, and what lies between.
//!
//! Always true: `current` is what a reader of the page cache sees; `durable` is what a power cut is sure
//! to leave; replaying all of `pending` over `durable` gives `current`, except for what a failed or
//! lying sync has lost without telling. Knows nothing of names.

use std::collections::BTreeMap;

use super::crash::{CrashReport, Dice};
use super::image::{Image, Patch, SECTOR_BYTES, Sector};

/// Larger files are refused as the kernel would (`EFBIG`): each sector up to the last costs memory here.
pub(super) const FILE_BYTES_MAX: u64 = 64 << 30;

/// A change that no sync has made durable yet.
#[derive(Clone, Debug)]
struct Pending {
    /// Its place among all pending changes of the disk.
    order: u64,
    change: Change,
}

#[derive(Clone, Debug)]
enum Change {
    /// Bytes in one sector. `write` is common to the sectors of one write call.
    Bytes { write: u64, patch: Patch },
    /// The size: metadata, which becomes durable before or after the bytes as the file system likes.
    Size { bytes: u64 },
}

/// The content of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    current: Image,
    durable: Image,
    pending: Vec<Pending>,
}

impl File {
    pub(super) fn current(&self) -> &Image {
        &self.current
    }

    pub(super) fn durable(&self) -> &Image {
        &self.durable
    }

    /// Writes into the page cache. `orders` numbers the changes; `write` names the call.
    pub(super) fn write(&mut self, patches: Vec<Patch>, write: u64, orders: &mut u64) {
        let Some(end) = patches.last().map(|last| last.offset() + last.range.len() as u64) else {
            return;
        };
        for patch in patches {
            self.current.patch(&patch);
            self.push(orders, Change::Bytes { write, patch });
        }
        if end > self.current.bytes() {
            self.set_bytes(end, orders);
        }
    }

    /// Changes the size in the page cache. What a cut removes goes with the size and not before it.
    pub(super) fn set_bytes(&mut self, bytes: u64, orders: &mut u64) {
        if bytes != self.current.bytes() {
            self.current.set_bytes(bytes);
            self.push(orders, Change::Size { bytes });
        }
    }

    fn push(&mut self, orders: &mut u64, change: Change) {
        self.pending.push(Pending { order: *orders, change });
        *orders += 1;
    }

    /// The `nth` write call (1 is the first) of those that are pending.
    pub(super) fn nth_write(&self, nth: u64) -> Option<u64> {
        let mut calls: Vec<u64> = self
            .pending
            .iter()
            .filter_map(|pending| match pending.change {
                Change::Bytes { write, .. } => Some(write),
                Change::Size { .. } => None,
            })
            .collect();
        calls.dedup();
        calls.get(super::image::to_usize(nth.checked_sub(1)?)).copied()
    }

    /// Makes all pending changes durable, except the bytes of the write call `swallowed`, which the cache
    /// goes on showing and the answer lists.
    pub(super) fn sync(&mut self, swallowed: Option<u64>) -> Vec<Patch> {
        let mut lost = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            match pending.change {
                Change::Bytes { write, patch } if Some(write) == swallowed => lost.push(patch),
                change => apply(&mut self.durable, &change),
            }
        }
        lost
    }

    /// A sync that failed: the kernel has marked the pages clean, so their bytes will never be written;
    /// the cache still shows them. The size is journaled on its own and stays pending.
    pub(super) fn fail_sync(&mut self) {
        self.pending.retain(|pending| matches!(pending.change, Change::Size { .. }));
    }

    /// Drops the clean part of the cache: what is read from now on is what is durable or still pending.
    pub(super) fn reload(&mut self) {
        let mut image = self.durable.clone();
        for pending in &self.pending {
            apply(&mut image, &pending.change);
        }
        self.current = image;
    }

    /// Changes what is durable behind everybody's back, and lets the cache show it.
    pub(super) fn damage(&mut self, damage: impl FnOnce(&mut Image)) {
        damage(&mut self.durable);
        self.reload();
    }

    /// As [`File::damage`], but the cache goes on showing what it showed.
    pub(super) fn damage_behind_cache(&mut self, damage: impl FnOnce(&mut Image)) {
        damage(&mut self.durable);
    }

    pub(super) fn orders(&self) -> impl Iterator<Item = u64> {
        self.pending.iter().map(|pending| pending.order)
    }

    /// How many things the dice decide in [`File::settle`].
    pub(super) fn pending_units(&self) -> usize {
        let (sectors, sizes) = self.units();
        sectors.len() + usize::from(!sizes.is_empty())
    }

    /// Pending orders by sector, and those of the sizes.
    fn units(&self) -> (BTreeMap<u64, Vec<u64>>, Vec<u64>) {
        let mut sectors: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let mut sizes = Vec::new();
        for pending in &self.pending {
            match &pending.change {
                Change::Bytes { patch, .. } => {
                    sectors.entry(patch.sector).or_default().push(pending.order);
                }
                Change::Size { .. } => sizes.push(pending.order),
            }
        }
        (sectors, sizes)
    }

    /// The power cut: the dice decide what of the pending changes has reached the platter.
    pub(super) fn settle(&mut self, dice: &mut Dice, report: &mut CrashReport) {
        let (sectors, sizes) = self.units();
        let mut fates = BTreeMap::new();
        for (sector, orders) in &sectors {
            let fate = dice.sector(orders);
            report.count(&fate, orders.len());
            fates.insert(*sector, fate);
        }
        let mut sizes_kept = if sizes.is_empty() { 0 } else { dice.keep(&sizes) };
        report.sizes_kept += sizes_kept as u64;
        report.sizes_dropped += (sizes.len() - sizes_kept) as u64;

        for pending in std::mem::take(&mut self.pending) {
            match pending.change {
                Change::Bytes { ref patch, .. } => {
                    let Some(fate) = fates.get_mut(&patch.sector) else {
                        continue;
                    };
                    if fate.kept > 0 {
                        fate.kept -= 1;
                        apply(&mut self.durable, &pending.change);
                    } else if std::mem::take(&mut fate.torn) {
                        let range = dice.tear(&patch.range);
                        self.durable.patch(&Patch { range, ..patch.clone() });
                    }
                }
                Change::Size { .. } if sizes_kept > 0 => {
                    sizes_kept -= 1;
                    apply(&mut self.durable, &pending.change);
                }
                Change::Size { .. } => {}
            }
        }
        for (sector, fate) in fates {
            if fate.garbage {
                let data = Sector::from_bytes(dice.garbage());
                self.durable.patch(&Patch { sector, range: 0..SECTOR_BYTES, data });
            }
        }
        // Bytes arrived whose size did not: no later growth may bring them back.
        self.durable.cut(self.durable.bytes());
        self.current = self.durable.clone();
    }
}

fn apply(image: &mut Image, change: &Change) {
    match change {
        Change::Bytes { patch, .. } => image.patch(patch),
        Change::Size { bytes } => image.set_bytes(*bytes),
    }
}
