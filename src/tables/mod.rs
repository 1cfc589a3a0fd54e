//! Fast answers: key -> seq. Ours, checksummed, derived from the log and disposable. A key is that of a
//! submission, or that of an order whose steps are looked for, or that of a command.
//!
//! - [`hash`]: keys become 64-bit numbers under a secret of the ledger
//! - [`hot`]: the keys of segments that are not sealed yet, in memory
//! - [`filter`], [`run`]: the keys of a sealed segment, sorted on disk, and what it certainly lacks
//! - [`merged`]: the same for several segments, in a file of its own
//! - [`lookup`]: which records a key may have, over all parts
//! - [`manifest`]: how far the log was once durable: a witness against a log that lost data
//!
//! Always true: a hit is a hint; the record is read from the log and its (client, key) bytes are compared
//! before anything is answered. An absence is an answer, so every record of the log below the readable
//! border is in exactly one hot part or one run; a run that can't be read is replaced by those of its
//! segments, and that of a segment is rebuilt from the groups.

pub(crate) mod filter;
pub(crate) mod hash;
pub(crate) mod hot;
pub(crate) mod lookup;
pub(crate) mod manifest;
pub(crate) mod merged;
pub(crate) mod run;

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::bytes::to_usize;
use crate::sync::{Mutex, RwLock};

use crate::error::{Error, Result};
use crate::order::{Seq, Timestamp};
use crate::wal::format::{SegmentHeader, segment_path};
use crate::wal::log::{Log, body_at, damaged_record};
use crate::wal::scan::{self, Position};
use crate::wal::section::SectionError;
use crate::wal::segment::Segment;
use hash::{KeyHash, KeyHasher, RecordKeys};
use hot::Hot;
use merged::Span;
use run::Run;

/// The keys of the whole log.
#[derive(Debug)]
pub(crate) struct Tables {
    hasher: KeyHasher,
    parts: RwLock<Vec<Part>>,
    /// Files of runs that were found damaged: to be removed, or the next opening would begin with them.
    spoiled: Mutex<Vec<merged::Name>>,
}

/// The keys of one segment, or of some that follow each other.
#[derive(Clone, Debug)]
struct Part {
    /// Numbers of the first and the last segment.
    first: u64,
    last: u64,
    first_seq: Seq,
    keys: Keys,
}

impl Part {
    fn of(segment: &Segment, keys: Keys) -> Part {
        let (number, first_seq) = (segment.header.number, segment.header.first_seq);
        Part { first: number, last: number, first_seq, keys }
    }

    fn segments(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// Runs that are to become one.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// The runs, with the segments of each.
    pub(crate) runs: Vec<(RangeInclusive<u64>, Arc<Run>)>,
}

#[derive(Clone, Debug)]
enum Keys {
    Hot(Hot),
    Sealed(Arc<Run>),
}

impl Tables {
    pub(crate) fn new(hasher: KeyHasher) -> Tables {
        Tables { hasher, parts: RwLock::new(Vec::new()), spoiled: Mutex::new(Vec::new()) }
    }

    pub(crate) fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    /// Adds the keys of a segment that a scan has gathered (none, for a new segment).
    pub(crate) fn push_hot(&self, segment: u64, first_seq: Seq, hot: Hot) {
        let part = Part { first: segment, last: segment, first_seq, keys: Keys::Hot(hot) };
        self.parts.write().push(part);
    }

    /// Adds the run of some segments that follow each other.
    pub(crate) fn push_merged(&self, span: &Span, run: Run) {
        let Span { first, last, first_seq, .. } = *span;
        self.parts.write().push(Part { first, last, first_seq, keys: Keys::Sealed(Arc::new(run)) });
    }

    /// Adds the keys of a sealed segment. A run that is damaged, or that the device can't read, is rebuilt
    /// from the groups.
    ///
    /// Answers false when it had to be rebuilt.
    ///
    /// # Errors
    /// Those of reading the groups, which are read strictly (rule 16).
    pub(crate) fn push_sealed(&self, segment: &Segment) -> Result<bool> {
        let keys = self.open_or_rescan(segment)?;
        let sound = matches!(keys, Keys::Sealed(_));
        self.parts.write().push(Part::of(segment, keys));
        Ok(sound)
    }

    fn open_or_rescan(&self, segment: &Segment) -> Result<Keys> {
        Ok(match Run::open(segment) {
            Ok(run) => Keys::Sealed(Arc::new(run)),
            Err(SectionError::Io(_) | SectionError::Damaged { .. }) => {
                Keys::Hot(self.rescan(segment)?)
            }
        })
    }

    /// Takes in keys that were just made durable, in order; `segment` is the one they are in.
    pub(crate) fn apply(
        &self,
        segment: u64,
        first_seq: Seq,
        keys: impl Iterator<Item = RecordKeys>,
    ) {
        let mut parts = self.parts.write();
        let known = parts.last().is_some_and(|part| part.last == segment);
        if !known {
            let keys = Keys::Hot(Hot::default());
            parts.push(Part { first: segment, last: segment, first_seq, keys });
        }
        if let Some(Part { keys: Keys::Hot(hot), .. }) = parts.last_mut() {
            for (seq, keys) in (first_seq.0..).zip(keys) {
                keys.iter().for_each(|hash| hot.insert(hash, Seq(seq)));
            }
        }
    }

    /// The sections that the segment is to be sealed with; `None` when it is sealed already.
    pub(crate) fn sections(&self, segment: u64, first_seq: Seq) -> Option<Vec<(u32, Vec<u8>)>> {
        let parts = self.parts.read();
        let part = parts.iter().find(|part| (part.first..=part.last).contains(&segment));
        match part.map(|part| &part.keys) {
            Some(Keys::Hot(hot)) => Some(run::encode(&hot.sorted(), first_seq)),
            Some(Keys::Sealed(_)) => None,
            // No group was ever written to it.
            None => Some(run::encode(&[], first_seq)),
        }
    }

    /// The segment has been sealed with those sections: from now on they answer, and memory is free.
    ///
    /// # Errors
    /// None that loses a key: when the run can't be read back, the keys stay in memory.
    pub(crate) fn sealed(&self, segment: &Segment) {
        if let Ok(run) = Run::open(segment) {
            self.replace(segment.header.number, Keys::Sealed(Arc::new(run)));
        }
    }

    fn replace(&self, segment: u64, keys: Keys) {
        let mut parts = self.parts.write();
        let is_it = |part: &&mut Part| part.first == segment && part.last == segment;
        if let Some(part) = parts.iter_mut().find(is_it) {
            part.keys = keys;
        }
    }

    /// Puts other parts in place of those of exactly these segments; what has changed meanwhile stays.
    fn replace_parts(&self, segments: &RangeInclusive<u64>, others: Vec<Part>) -> bool {
        let mut parts = self.parts.write();
        let start = parts.partition_point(|part| part.first < *segments.start());
        let count =
            parts.iter().skip(start).take_while(|part| part.last <= *segments.end()).count();
        let covered = parts.get(start..start + count).unwrap_or_default();
        let fits = covered.first().is_some_and(|part| part.first == *segments.start())
            && covered.last().is_some_and(|part| part.last == *segments.end());
        if fits {
            parts.splice(start..start + count, others);
        }
        fits
    }

    /// A run has a damaged block. That of several segments is replaced by the runs of the segments; that
    /// of one, by what its groups hold.
    fn replace_run(
        &self,
        log: &Log,
        numbers: &RangeInclusive<u64>,
        run: &Run,
        hash: KeyHash,
    ) -> Result<Vec<Seq>> {
        let (mut found, mut others) = (Vec::new(), Vec::new());
        let is_one = numbers.start() == numbers.end();
        let segments = log.segments();
        for segment in segments.iter().filter(|it| numbers.contains(&it.header.number)) {
            let opened = match is_one {
                true => Keys::Hot(self.rescan(segment)?),
                false => self.open_or_rescan(segment)?,
            };
            let keys = match &opened {
                Keys::Hot(hot) => {
                    found.extend(hot.get(hash));
                    opened
                }
                Keys::Sealed(run) => match run.get(hash) {
                    Ok(seqs) => {
                        found.extend(seqs);
                        opened
                    }
                    Err(SectionError::Io(_) | SectionError::Damaged { .. }) => {
                        let hot = self.rescan(segment)?;
                        found.extend(hot.get(hash));
                        Keys::Hot(hot)
                    }
                },
            };
            others.push(Part::of(segment, keys));
        }
        self.replace_parts(numbers, others);
        self.spoiled.lock().extend(run.file.clone());
        Ok(found)
    }

    /// The run of these segments can't be read: as when a lookup finds it so.
    ///
    /// # Errors
    /// Those of reading the groups.
    pub(crate) fn distrust(
        &self,
        log: &Log,
        numbers: &RangeInclusive<u64>,
        run: &Run,
    ) -> Result<()> {
        self.replace_run(log, numbers, run, KeyHash(0)).map(|_| ())
    }

    /// The files of runs that were found damaged since this was asked.
    pub(crate) fn take_spoiled(&self) -> Vec<merged::Name> {
        std::mem::take(&mut *self.spoiled.lock())
    }

    /// The next runs that are to become one, the smallest first: as many as are merged at once, of the same
    /// size, side by side, at a place where merged runs begin.
    pub(crate) fn wanted(&self) -> Option<Wanted> {
        let parts = self.parts.read();
        let mut best: Option<Wanted> = None;
        for four in parts.windows(to_usize(merged::WIDTH)) {
            let (Some(first), Some(last)) = (four.first(), four.last()) else { continue };
            let size = first.segments();
            let runs: Vec<_> = (four.iter())
                .filter(|part| part.segments() == size)
                .filter_map(|part| match &part.keys {
                    Keys::Sealed(run) => Some((part.first..=part.last, Arc::clone(run))),
                    Keys::Hot(_) => None,
                })
                .collect();
            let fits = runs.len() == four.len()
                && merged::is_place(first.first, last.last)
                && last.last - first.first + 1 == size * merged::WIDTH;
            let is_smaller =
                best.as_ref().is_none_or(|best| last.last - first.first < best.last - best.first);
            if fits && is_smaller {
                best = Some(Wanted { first: first.first, last: last.last, runs });
            }
        }
        best
    }

    /// The run of these segments is in place: it answers from now on. False when what it was made of is
    /// not there any more.
    pub(crate) fn merged(&self, span: &Span, run: Run) -> bool {
        let Span { first, last, first_seq, .. } = *span;
        let keys = Keys::Sealed(Arc::new(run));
        self.replace_parts(&(first..=last), vec![Part { first, last, first_seq, keys }])
    }

    /// Whether the file of this name holds the keys of a part.
    pub(crate) fn is_in_use(&self, name: &merged::Name) -> bool {
        self.parts.read().iter().any(|part| match &part.keys {
            Keys::Sealed(run) => run.file.as_ref() == Some(name),
            Keys::Hot(_) => false,
        })
    }

    /// How many parts are asked for a key.
    pub(crate) fn parts(&self) -> u64 {
        self.parts.read().len() as u64
    }

    /// Gathers the keys of a sealed segment from its groups.
    fn rescan(&self, segment: &Segment) -> Result<Hot> {
        let mut hot = Hot::default();
        let mut unreadable = None;
        // A run belongs to a sealed segment. Without its footer nobody knows where the groups end, and
        // an empty answer would call keys free that are taken.
        let Some(footer) = segment.footer() else {
            return Err(damaged_record(segment, segment.header.first_seq, 0));
        };
        let start =
            Position::start(&segment.header, segment.header_crc, Timestamp::from_unix_ns(0));
        let end =
            scan::scan(&*segment.file(), &segment.header, start, footer.groups_end, |group| {
                if let Err(error) = self.gather(&segment.header, group, &mut hot) {
                    unreadable.get_or_insert(error);
                }
            })
            .map_err(|error| Error::io(format!("reading {}", segment.path()), error))?;
        if let Some(error) = unreadable {
            return Err(error);
        }
        if end.position.next_seq != footer.next_seq {
            return Err(damaged_record(segment, end.position.next_seq, end.position.offset));
        }
        Ok(hot)
    }

    /// Adds the keys of a group of this segment to `hot`.
    pub(crate) fn gather(
        &self,
        header: &SegmentHeader,
        group: &scan::Group<'_>,
        hot: &mut Hot,
    ) -> Result<()> {
        for (offset, frame) in group.records() {
            let body = body_at(segment_path(header.number), Some(offset), &frame)?;
            self.hasher.keys_of(&body).iter().for_each(|hash| hot.insert(hash, frame.seq));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
