//! The content of one file, as 512-byte sectors.
//!
//! Always true: a sector is a hole (reads as zeros, takes no space), allocated zeros, or bytes; nothing
//! at or after the end of the file is ever read, and what a growing file uncovers reads as zeros. Copies
//! share their sectors until one of them changes, so that a snapshot of a disk costs next to nothing.

use std::ops::Range;
use std::sync::Arc;

/// The unit that a device writes whole or tears, and in which space is counted.
pub const SECTOR_BYTES: usize = 512;
const SECTOR_BYTES_U64: u64 = SECTOR_BYTES as u64;

type Bytes = [u8; SECTOR_BYTES];

/// One sector.
#[derive(Clone, Debug, Default)]
pub(super) enum Sector {
    /// Never written: reads as zeros and takes no space.
    #[default]
    Hole,
    /// Written with zeros. Its own case because segments are zero-filled and most of them stays so.
    Zeros,
    /// Written.
    Data(Arc<Bytes>),
}

impl Sector {
    pub(super) fn bytes(&self) -> &Bytes {
        const ZEROS: &Bytes = &[0; SECTOR_BYTES];
        match self {
            Sector::Hole | Sector::Zeros => ZEROS,
            Sector::Data(bytes) => bytes,
        }
    }

    pub(super) fn from_bytes(bytes: Bytes) -> Sector {
        if bytes.iter().all(|byte| *byte == 0) {
            Sector::Zeros
        } else {
            Sector::Data(Arc::new(bytes))
        }
    }

    fn is_allocated(&self) -> bool {
        !matches!(self, Sector::Hole)
    }
}

/// A write into one sector: the bytes of `data` inside `range` are new, the others are not meant.
#[derive(Clone, Debug)]
pub(super) struct Patch {
    /// Which sector of the file.
    pub(super) sector: u64,
    /// Which bytes of it; never empty, never past [`SECTOR_BYTES`].
    pub(super) range: Range<usize>,
    /// A whole sector, of which only `range` counts.
    pub(super) data: Sector,
}

impl Patch {
    /// The patches that a write of `data` at `offset` consists of, in order.
    pub(super) fn split(data: &[u8], offset: u64) -> Vec<Patch> {
        let mut patches = Vec::with_capacity(data.len() / SECTOR_BYTES + 2);
        let mut rest = data;
        let mut offset = offset;
        while !rest.is_empty() {
            let start = start_in_sector(offset);
            let taken = rest.len().min(SECTOR_BYTES - start);
            let (now, later) = rest.split_at(taken);
            let mut bytes = [0; SECTOR_BYTES];
            let range = start..start + taken;
            copy(bytes.get_mut(range.clone()), Some(now));
            patches.push(Patch {
                sector: offset / SECTOR_BYTES_U64,
                range,
                data: Sector::from_bytes(bytes),
            });
            rest = later;
            offset += taken as u64;
        }
        patches
    }

    /// Where in the file the first byte goes.
    pub(super) fn offset(&self) -> u64 {
        self.sector * SECTOR_BYTES_U64 + self.range.start as u64
    }

    /// The new bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        self.data.bytes().get(self.range.clone()).unwrap_or_default()
    }
}

/// The content of a file at one moment, on one side of the cache.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    sectors: Arc<Vec<Sector>>,
    bytes: u64,
    allocated: u64,
}

impl Image {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many sectors take space.
    pub(super) fn allocated(&self) -> u64 {
        self.allocated
    }

    pub(super) fn is_allocated(&self, sector: u64) -> bool {
        self.sector(sector).is_allocated()
    }

    /// Sectors past the last one that was written are holes.
    pub(super) fn sector(&self, index: u64) -> Sector {
        self.sectors.get(to_usize(index)).cloned().unwrap_or_default()
    }

    /// Copies what there is at `offset` into `buffer`; answers how many bytes there were.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let wanted = to_usize(self.bytes.saturating_sub(offset)).min(buffer.len());
        let mut filled = 0;
        while filled < wanted {
            let at = offset + filled as u64;
            let start = start_in_sector(at);
            let taken = (wanted - filled).min(SECTOR_BYTES - start);
            let sector = self.sectors.get(to_usize(at / SECTOR_BYTES_U64)).unwrap_or(&Sector::Hole);
            copy(buffer.get_mut(filled..filled + taken), sector.bytes().get(start..start + taken));
            filled += taken;
        }
        wanted
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut content = vec![0; to_usize(self.bytes)];
        self.read(&mut content, 0);
        content
    }

    /// Applies a write to a sector. The size does not change: it is metadata, with a fate of its own.
    pub(super) fn patch(&mut self, patch: &Patch) {
        self.change(patch.sector, |sector| {
            if patch.range == (0..SECTOR_BYTES) {
                *sector = patch.data.clone();
                return;
            }
            if let (Sector::Hole | Sector::Zeros, Sector::Zeros) = (&*sector, &patch.data) {
                *sector = Sector::Zeros;
                return;
            }
            if !matches!(sector, Sector::Data(_)) {
                *sector = Sector::Data(Arc::new([0; SECTOR_BYTES]));
            }
            if let Sector::Data(bytes) = sector {
                copy(Arc::make_mut(bytes).get_mut(patch.range.clone()), Some(patch.bytes()));
            }
        });
    }

    /// Whether a write would leave other bytes in its sector than there are.
    pub(super) fn would_change(&self, patch: &Patch) -> bool {
        let sector = self.sectors.get(to_usize(patch.sector)).unwrap_or(&Sector::Hole);
        if let (Sector::Hole | Sector::Zeros, Sector::Zeros) = (sector, &patch.data) {
            return false;
        }
        sector.bytes().get(patch.range.clone()) != Some(patch.bytes())
    }

    /// Gives space to sectors that have none; they go on reading as zeros.
    pub(super) fn allocate(&mut self, sectors: Range<u64>) {
        for sector in sectors {
            if !self.is_allocated(sector) {
                self.change(sector, |sector| *sector = Sector::Zeros);
            }
        }
    }

    /// The sectors that hold something else than zeros, with their numbers.
    pub(super) fn written(&self) -> impl Iterator<Item = (u64, &[u8; SECTOR_BYTES])> {
        (0..).zip(self.sectors.iter()).filter_map(|(index, sector)| match sector {
            Sector::Data(bytes) if bytes.iter().any(|byte| *byte != 0) => Some((index, &**bytes)),
            _ => None,
        })
    }

    /// Makes the file this long. Cutting forgets what was after the cut.
    pub(super) fn set_bytes(&mut self, bytes: u64) {
        if bytes < self.bytes {
            self.cut(bytes);
        }
        self.bytes = bytes;
    }

    /// Forgets all bytes from `bytes` on, also those that lie past the end of the file (a write whose
    /// new size was lost leaves such).
    pub(super) fn cut(&mut self, bytes: u64) {
        let kept = to_usize(bytes.div_ceil(SECTOR_BYTES_U64));
        if kept < self.sectors.len() {
            let sectors = Arc::make_mut(&mut self.sectors);
            let gone = sectors.drain(kept..).filter(Sector::is_allocated).count();
            self.allocated -= gone as u64;
        }
        let tail = start_in_sector(bytes);
        let last = bytes / SECTOR_BYTES_U64;
        if tail > 0 && matches!(self.sectors.get(to_usize(last)), Some(Sector::Data(_))) {
            self.patch(&Patch { sector: last, range: tail..SECTOR_BYTES, data: Sector::Zeros });
        }
    }

    fn change(&mut self, index: u64, change: impl FnOnce(&mut Sector)) {
        let index = to_usize(index);
        let sectors = Arc::make_mut(&mut self.sectors);
        if index >= sectors.len() {
            sectors.resize(index + 1, Sector::Hole);
        }
        if let Some(sector) = sectors.get_mut(index) {
            let before = sector.is_allocated();
            change(sector);
            if !before && sector.is_allocated() {
                self.allocated += 1;
            }
        }
    }
}

/// Sizes are bounded by [`super::file::FILE_BYTES_MAX`] before they get here.
pub(super) fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn start_in_sector(offset: u64) -> usize {
    to_usize(offset % SECTOR_BYTES_U64)
}

/// Copies between two ranges of equal length; both are in bounds wherever this is called.
fn copy(to: Option<&mut [u8]>, from: Option<&[u8]>) {
    debug_assert_eq!(to.as_ref().map(|to| to.len()), from.map(<[u8]>::len));
    if let (Some(to), Some(from)) = (to, from)
        && to.len() == from.len()
    {
        to.copy_from_slice(from);
    }
}
