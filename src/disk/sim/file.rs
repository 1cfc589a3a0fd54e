//! One simulated file: what reads see, what the platter holds, and what lies between.
//!
//! Always true: `current` is what a reader of the page cache sees; `durable` is what a power cut is sure
//! to leave; replaying all of `pending` over `durable` gives `current`, except for what a failed or
//! lying sync has lost without telling. Knows nothing of names.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::ops::Range;

use super::crash::{CrashReport, Dice, Fate};
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
    /// Space for sectors that had none: metadata too. Comes before the bytes that it is for.
    Extent { sectors: Range<u64> },
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
        let mut new = patches
            .iter()
            .map(|patch| patch.sector)
            .filter(|sector| !self.current.is_allocated(*sector));
        if let Some(first) = new.next() {
            let last = new.next_back().unwrap_or(first);
            self.push(orders, Change::Extent { sectors: first..last + 1 });
        }
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
                Change::Size { .. } | Change::Extent { .. } => None,
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

    /// Makes durable what is pending in the whole sectors of a range, and the sizes and extents that it
    /// needs: the journal has no order among them. Other bytes stay pending.
    pub(super) fn sync_range(&mut self, range: Range<u64>) {
        let sectors = range.start / SECTOR_BYTES as u64..range.end / SECTOR_BYTES as u64;
        let durable = &mut self.durable;
        self.pending.retain(|pending| {
            let stays = matches!(&pending.change, Change::Bytes { patch, .. }
                if !sectors.contains(&patch.sector));
            if !stays {
                apply(durable, &pending.change);
            }
            stays
        });
    }

    /// A sync that failed: the kernel has marked the pages clean, so their bytes will never be written;
    /// the cache still shows them. Sizes and extents are journaled on their own and stay pending.
    pub(super) fn fail_sync(&mut self) {
        self.pending.retain(|pending| !matches!(pending.change, Change::Bytes { .. }));
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

    /// What is pending, but for when it was done, and what a failed or lying sync makes the cache show.
    pub(super) fn hash_pending(&self, hasher: &mut impl Hasher) {
        for pending in &self.pending {
            match &pending.change {
                Change::Bytes { patch, .. } => {
                    (0_u8, patch.sector, &patch.range, patch.bytes()).hash(hasher);
                }
                Change::Size { bytes } => (1_u8, bytes).hash(hasher),
                Change::Extent { sectors } => (2_u8, sectors).hash(hasher),
            }
        }
        for sector in self.current.written() {
            sector.hash(hasher);
        }
    }

    pub(super) fn orders(&self) -> impl Iterator<Item = u64> {
        self.pending.iter().map(|pending| pending.order)
    }

    /// How many things the dice decide in [`File::settle`] that anybody could see afterwards.
    pub(super) fn pending_units(&self) -> usize {
        let units = self.units();
        let visible = units.sectors.values().filter(|sector| sector.is_visible).count();
        visible + usize::from(!units.sizes.is_empty())
    }

    fn units(&self) -> Units {
        let mut units = Units::default();
        for pending in &self.pending {
            match &pending.change {
                Change::Bytes { patch, .. } => {
                    let sector = units.sectors.entry(patch.sector).or_default();
                    sector.orders.push(pending.order);
                    sector.is_visible |= self.durable.would_change(patch);
                }
                Change::Size { .. } => units.sizes.push(pending.order),
                Change::Extent { .. } => units.extents.push(pending.order),
            }
        }
        units
    }

    /// The power cut: the dice decide what of the pending changes has reached the platter.
    pub(super) fn settle(&mut self, dice: &mut Dice, report: &mut CrashReport) {
        if self.pending.is_empty() {
            // Nothing to decide, and yet the cache may show what a lying sync has lost.
            self.current = self.durable.clone();
            return;
        }
        let units = self.units();
        let mut extents_kept = dice.extents(&units.extents);
        report.extents_kept += extents_kept as u64;
        report.extents_dropped += (units.extents.len() - extents_kept) as u64;
        let new = self.new_space(extents_kept);

        let mut fates = BTreeMap::new();
        let mut stale = BTreeSet::new();
        for (sector, unit) in &units.sectors {
            // Bytes without the space that they were to be in are nowhere.
            let has_space = self.durable.is_allocated(*sector) || new.contains(sector);
            let fate = match unit.is_visible {
                true => dice.sector(&unit.orders),
                false => dice.unseen(&unit.orders),
            };
            let fate = if has_space { fate } else { Fate::LOST };
            if fate.kept == 0 && !fate.torn && new.contains(sector) && dice.stale() {
                stale.insert(*sector);
            }
            report.count(&fate, unit.orders.len());
            fates.insert(*sector, fate);
        }
        let mut sizes_kept = if units.sizes.is_empty() { 0 } else { dice.keep(&units.sizes) };
        report.sizes_kept += sizes_kept as u64;
        report.sizes_dropped += (units.sizes.len() - sizes_kept) as u64;

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
                Change::Extent { .. } if extents_kept > 0 => {
                    extents_kept -= 1;
                    apply(&mut self.durable, &pending.change);
                }
                Change::Size { .. } | Change::Extent { .. } => {}
            }
        }
        let garbage = fates.into_iter().filter(|(_, fate)| fate.garbage).map(|(sector, _)| sector);
        report.sectors_stale += stale.len() as u64;
        for sector in garbage.chain(stale) {
            let data = Sector::from_bytes(dice.garbage());
            self.durable.patch(&Patch { sector, range: 0..SECTOR_BYTES, data });
        }
        // Bytes arrived whose size did not: no later growth may bring them back.
        self.durable.cut(self.durable.bytes());
        self.current = self.durable.clone();
    }

    /// The sectors that get their space from the first `kept` pending extents.
    fn new_space(&self, kept: usize) -> BTreeSet<u64> {
        let extents = self.pending.iter().filter_map(|pending| match &pending.change {
            Change::Extent { sectors } => Some(sectors.clone()),
            _ => None,
        });
        extents.take(kept).flatten().filter(|sector| !self.durable.is_allocated(*sector)).collect()
    }
}

/// What the dice decide about.
#[derive(Debug, Default)]
struct Units {
    sectors: BTreeMap<u64, SectorUnit>,
    sizes: Vec<u64>,
    extents: Vec<u64>,
}

/// The pending writes to one sector.
#[derive(Debug, Default)]
struct SectorUnit {
    orders: Vec<u64>,
    /// Whether it makes a difference to a reader if they survive: zeros written over zeros do not.
    is_visible: bool,
}

fn apply(image: &mut Image, change: &Change) {
    match change {
        Change::Bytes { patch, .. } => image.patch(patch),
        Change::Size { bytes } => image.set_bytes(*bytes),
        Change::Extent { sectors } => image.allocate(sectors.clone()),
    }
}
