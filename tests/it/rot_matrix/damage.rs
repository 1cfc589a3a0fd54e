//! Every way in which a specimen is damaged, numbered: one case is one damage.
//!
//! The numbers depend on nothing but the specimens, so that a case that failed can be asked for again
//! whatever part of the matrix was run.

use order_ledger::disk::sim::{SECTOR_BYTES, SimDisk};

use super::specimen::Specimen;
use crate::layers::Depth;
use crate::rig::Random;

/// Cases of each kind that is drawn from a seed.
const DRAWN: u64 = 200_000;
/// How many bytes a file is made longer by.
const LONGER: [u64; 6] = [1, 64, 512, 4096, 16 * 1024, 1 << 20];

/// A kind of damage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    /// One bit of any file, of those that derive from the log as well.
    Bit,
    /// Two bits, or three.
    TwoBits,
    ThreeBits,
    /// A file cut to every shorter length.
    Shorter,
    /// A file made longer, with zeros.
    Longer,
    /// A sector of a file zeroed.
    SectorZeroed,
    /// A sector full of noise.
    SectorNoise,
    /// Two sectors of the log in each other's place.
    SectorsSwapped,
    /// A sector of the log over another one.
    SectorCopied,
    /// A sector as it was before a write that got lost.
    SectorOlder,
    /// Everything from an offset (a multiple of 8, as groups have it) to the end of the segment zeroed.
    RestZeroed,
    /// A file as it was at an earlier moment.
    FileOlder,
    /// Any set of files removed.
    FilesRemoved,
    /// Two segments in each other's place.
    SegmentsSwapped,
    /// The headers of two segments in each other's place.
    HeadersSwapped,
    /// The header of one segment over that of another.
    HeaderCopied,
}

impl Kind {
    const ALL: [Kind; 16] = [
        Kind::Bit,
        Kind::TwoBits,
        Kind::ThreeBits,
        Kind::Shorter,
        Kind::Longer,
        Kind::SectorZeroed,
        Kind::SectorNoise,
        Kind::SectorsSwapped,
        Kind::SectorCopied,
        Kind::SectorOlder,
        Kind::RestZeroed,
        Kind::FileOlder,
        Kind::FilesRemoved,
        Kind::SegmentsSwapped,
        Kind::HeadersSwapped,
        Kind::HeaderCopied,
    ];

    /// As a field of the result.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Bit => "bit",
            Kind::TwoBits => "two_bits",
            Kind::ThreeBits => "three_bits",
            Kind::Shorter => "shorter",
            Kind::Longer => "longer",
            Kind::SectorZeroed => "sector_zeroed",
            Kind::SectorNoise => "sector_noise",
            Kind::SectorsSwapped => "sectors_swapped",
            Kind::SectorCopied => "sector_copied",
            Kind::SectorOlder => "sector_older",
            Kind::RestZeroed => "rest_zeroed",
            Kind::FileOlder => "file_older",
            Kind::FilesRemoved => "files_removed",
            Kind::SegmentsSwapped => "segments_swapped",
            Kind::HeadersSwapped => "headers_swapped",
            Kind::HeaderCopied => "header_copied",
        }
    }

    /// Of how many cases one is run at this depth. In the gate the closed specimen comes first: every
    /// length and every sector of it, and every second bit.
    fn one_in(self, depth: Depth, closed: bool) -> u64 {
        use Kind::{
            Bit, FilesRemoved, RestZeroed, SectorCopied, SectorNoise, SectorOlder, SectorZeroed,
            SectorsSwapped, Shorter, ThreeBits, TwoBits,
        };
        match (depth, self) {
            (Depth::Full, _) => 1,
            (Depth::Gate, Bit) => {
                if closed {
                    2
                } else {
                    64
                }
            }
            (Depth::Gate, Shorter | RestZeroed) => {
                if closed {
                    1
                } else {
                    16
                }
            }
            (Depth::Gate, TwoBits | ThreeBits) => 20,
            (Depth::Gate, SectorsSwapped | SectorCopied) => {
                if closed {
                    4
                } else {
                    16
                }
            }
            (Depth::Gate, _) => 1,
            (Depth::Sample, Bit) => 2_000,
            (Depth::Sample, Shorter | RestZeroed | SectorsSwapped | SectorCopied) => 400,
            (Depth::Sample, TwoBits | ThreeBits) => 10_000,
            (Depth::Sample, SectorZeroed | SectorNoise | SectorOlder | FilesRemoved) => 10,
            (Depth::Sample, _) => 1,
        }
    }
}

/// All cases of one kind on one specimen.
struct Family {
    specimen: usize,
    kind: Kind,
    cases: u64,
}

/// One case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) specimen: usize,
    pub(super) kind: Kind,
    /// Its number within its kind.
    pub(super) index: u64,
    /// Whether this depth asks for it.
    pub(super) wanted: bool,
}

/// All cases of all specimens.
pub(super) struct Matrix {
    families: Vec<Family>,
    depth: Depth,
    closed: Vec<bool>,
}

impl Matrix {
    pub(super) fn new(specimens: &[Specimen], depth: Depth) -> Matrix {
        let families = specimens.iter().enumerate().flat_map(|(specimen, of)| {
            Kind::ALL.map(|kind| Family { specimen, kind, cases: cases(of, kind) })
        });
        let closed = (0..specimens.len()).map(|index| index == 0).collect();
        Matrix { families: families.collect(), depth, closed }
    }

    pub(super) fn cases(&self) -> u64 {
        self.families.iter().map(|family| family.cases).sum()
    }

    pub(super) fn case(&self, number: u64) -> Case {
        let mut index = number;
        for family in &self.families {
            if index < family.cases {
                let one_in = family.kind.one_in(self.depth, self.closed[family.specimen]);
                let wanted = Random::new(number ^ 0x5eed).below(one_in) == 0;
                return Case { specimen: family.specimen, kind: family.kind, index, wanted };
            }
            index -= family.cases;
        }
        panic!("there are {} cases", self.cases());
    }
}

fn cases(of: &Specimen, kind: Kind) -> u64 {
    let count = |number: usize| number as u64;
    let bytes: u64 = of.files.iter().map(|(_, content)| count(content.len())).sum();
    let sectors: u64 = of.files.iter().map(|(_, content)| sectors_of(content)).sum();
    let log = count(sectors_of_the_log(of));
    let segments = count(of.segments().len());
    match kind {
        Kind::Bit => bytes * 8,
        Kind::TwoBits | Kind::ThreeBits => DRAWN,
        Kind::Shorter => bytes,
        Kind::Longer => count(of.files.len()) * LONGER.len() as u64,
        Kind::SectorZeroed => sectors,
        Kind::SectorNoise => sectors * 8,
        Kind::SectorsSwapped | Kind::SectorCopied => log * log,
        Kind::SectorOlder => count(of.older_sectors.len()),
        Kind::RestZeroed => bytes.div_ceil(8),
        Kind::FileOlder => count(of.older_files.len()),
        Kind::FilesRemoved => (1 << of.files.len()) - 1,
        Kind::SegmentsSwapped | Kind::HeadersSwapped | Kind::HeaderCopied => segments * segments,
    }
}

fn sectors_of(content: &[u8]) -> u64 {
    content.len().div_ceil(SECTOR_BYTES) as u64
}

fn sectors_of_the_log(of: &Specimen) -> usize {
    of.segments().iter().map(|(_, content)| content.len() / SECTOR_BYTES).sum()
}

/// The file and the place in it of something that all files are full of, `unit` bytes each.
fn find(of: &Specimen, unit: usize, index: u64) -> (&str, usize) {
    let mut index = usize::try_from(index).unwrap();
    for (path, content) in &of.files {
        let units = content.len().div_ceil(unit);
        if index < units {
            return (path, index * unit);
        }
        index -= units;
    }
    panic!("no such place");
}

/// The `index`-th sector of the log.
fn sector(of: &Specimen, mut index: usize) -> (String, u64, Vec<u8>) {
    for (path, content) in of.segments() {
        let sectors = content.len() / SECTOR_BYTES;
        if index < sectors {
            let offset = index * SECTOR_BYTES;
            let bytes = content[offset..offset + SECTOR_BYTES].to_vec();
            return (path.clone(), offset as u64, bytes);
        }
        index -= sectors;
    }
    panic!("no such sector");
}

/// The two things of `count` that a case of a square matrix is about.
fn pair(index: u64, count: usize) -> (usize, usize) {
    let index = usize::try_from(index).unwrap();
    (index / count, index % count)
}

/// Damages `disk`, which is a copy of the specimen. Answers false when there is nothing to do: a thing in
/// the place of itself, or a pair that comes twice.
pub(super) fn apply(of: &Specimen, case: &Case, disk: &SimDisk) -> bool {
    let (kind, index) = (case.kind, case.index);
    match kind {
        Kind::Bit => {
            let (path, byte) = find(of, 1, index / 8);
            disk.flip_bit(path, byte as u64 * 8 + index % 8).unwrap();
        }
        Kind::TwoBits | Kind::ThreeBits => {
            let mut random = Random::new(index.wrapping_mul(3) + u64::from(kind == Kind::TwoBits));
            let bits = if kind == Kind::TwoBits { 2 } else { 3 };
            // One in two near each other, as rot is.
            let near = random.chance(1, 2);
            let bytes: usize = of.files.iter().map(|(_, content)| content.len()).sum();
            let (path, first) = find(of, 1, random.below(bytes as u64));
            disk.flip_bit(path, first as u64 * 8 + random.below(8)).unwrap();
            for _ in 1..bits {
                let (path, byte) = match near {
                    true => {
                        let end = of.content(path).len().min(first + 128);
                        (path, first + random.index(end - first))
                    }
                    false => find(of, 1, random.below(bytes as u64)),
                };
                disk.flip_bit(path, byte as u64 * 8 + random.below(8)).unwrap();
            }
        }
        Kind::Shorter => {
            let (path, length) = find(of, 1, index);
            disk.truncate(path, length as u64).unwrap();
        }
        Kind::Longer => {
            let (file, by) = pair(index, LONGER.len());
            let (path, content) = &of.files[file];
            disk.truncate(path, content.len() as u64 + LONGER[by]).unwrap();
        }
        Kind::SectorZeroed | Kind::SectorNoise => {
            let per_sector = if kind == Kind::SectorNoise { 8 } else { 1 };
            let (path, offset) = find(of, SECTOR_BYTES, index / per_sector);
            let length = (of.content(path).len() - offset).min(SECTOR_BYTES);
            let bytes = match kind {
                Kind::SectorNoise => Random::new(index).bytes(length),
                _ => vec![0; length],
            };
            disk.overwrite(path, offset as u64, &bytes).unwrap();
        }
        Kind::SectorsSwapped => {
            let (left, right) = pair(index, sectors_of_the_log(of));
            if left >= right {
                return false;
            }
            let (left, right) = (sector(of, left), sector(of, right));
            disk.overwrite(&left.0, left.1, &right.2).unwrap();
            disk.overwrite(&right.0, right.1, &left.2).unwrap();
        }
        Kind::SectorCopied => {
            let (from, to) = pair(index, sectors_of_the_log(of));
            if from == to {
                return false;
            }
            let (from, to) = (sector(of, from), sector(of, to));
            disk.overwrite(&to.0, to.1, &from.2).unwrap();
        }
        Kind::SectorOlder => {
            let (path, offset, bytes) = &of.older_sectors[usize::try_from(index).unwrap()];
            disk.overwrite(path, *offset as u64, bytes).unwrap();
        }
        Kind::RestZeroed => {
            let (path, offset) = find(of, 8, index);
            let content = of.content(path);
            disk.truncate(path, offset as u64).unwrap();
            disk.truncate(path, content.len() as u64).unwrap();
        }
        Kind::FileOlder => {
            let (path, content) = &of.older_files[usize::try_from(index).unwrap()];
            disk.write_durably(path, content).unwrap();
        }
        Kind::FilesRemoved => {
            for (bit, (path, _)) in of.files.iter().enumerate() {
                if ((index + 1) >> bit) & 1 == 1 {
                    disk.remove_durably(path).unwrap();
                }
            }
        }
        Kind::SegmentsSwapped | Kind::HeadersSwapped | Kind::HeaderCopied => {
            let segments = of.segments();
            let (left, right) = pair(index, segments.len());
            if left == right || (left > right && kind != Kind::HeaderCopied) {
                return false;
            }
            let (left, right) = (segments[left], segments[right]);
            match kind {
                Kind::SegmentsSwapped => {
                    disk.write_durably(&left.0, &right.1).unwrap();
                    disk.write_durably(&right.0, &left.1).unwrap();
                }
                Kind::HeadersSwapped => {
                    disk.overwrite(&left.0, 0, &right.1[..4096]).unwrap();
                    disk.overwrite(&right.0, 0, &left.1[..4096]).unwrap();
                }
                _ => disk.overwrite(&left.0, 0, &right.1[..4096]).unwrap(),
            }
        }
    }
    true
}
