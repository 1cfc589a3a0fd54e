//! Fast answers: key -> seq. Ours, checksummed, derived from the log and disposable. A key is that of a
//! submission, or that of an order whose steps are looked for, or that of a command.
//!
//! - [`hash`]: keys become 64-bit numbers under a secret of the ledger
//! - [`hot`]: the keys of segments that are not sealed yet, in memory
//! - [`filter`], [`run`]: the keys of a sealed segment, sorted on disk, and what it certainly lacks
//! - [`merged`]: the same for several segments, in a file of its own
//! - [`manifest`]: how far the log was once durable: a witness against a log that lost data
//!
//! Always true: a hit is a hint; the record is read from the log and its (client, key) bytes are compared
//! before anything is answered. An absence is an answer, so every record of the log below the readable
//! border is in exactly one hot part or one run; a run that can't be read is replaced by those of its
//! segments, and that of a segment is rebuilt from the groups.

pub(crate) mod filter;
pub(crate) mod hash;
pub(crate) mod hot;
pub(crate) mod manifest;
pub(crate) mod merged;
pub(crate) mod run;

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::bytes::to_usize;
use crate::sync::{Mutex, RwLock};

use crate::disk::is_missing;
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

/// How often a lookup begins again because a run was gone when it was read: each time another merge must
/// have ended in between. After that the file was removed by somebody else.
const TRIES_MAX: u32 = 3;

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

/// A part as one lookup sees it: reads happen outside the lock.
struct Look {
    first_seq: Seq,
    segments: RangeInclusive<u64>,
    keys: LookKeys,
}

enum LookKeys {
    /// The newest seq under the hash.
    Hot(Option<Seq>),
    Sealed(Arc<Run>),
}

/// What the tables say of a key at first sight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hint {
    /// No record has it.
    Absent,
    /// This one may have it, and no other.
    At(Seq),
    /// To be asked for with [`Tables::candidates`].
    Unclear,
}

impl Hint {
    /// One more record may have the key.
    fn add(&mut self, seq: Seq) {
        *self = if *self == Hint::Absent { Hint::At(seq) } else { Hint::Unclear };
    }
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

    /// The seqs whose key may be this one, newest first. An empty answer is certain.
    ///
    /// # Errors
    /// `Io`, or `Corrupt` when a run and the groups under it are both damaged: never a false absence.
    pub(crate) fn candidates(&self, log: &Log, hash: KeyHash) -> Result<Vec<Seq>> {
        self.candidates_since(log, Seq::FIRST, hash)
    }

    /// The same for a record that can't lie before `since`: what is older is not looked at, but may be
    /// answered.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn candidates_since(
        &self,
        log: &Log,
        since: Seq,
        hash: KeyHash,
    ) -> Result<Vec<Seq>> {
        let mut found = Vec::new();
        let mut tries = 0;
        while !self.look(log, since, hash, tries, &mut found)? {
            found.clear();
            tries += 1;
        }
        if found.len() > 1 {
            found.sort_unstable_by(|left, right| right.cmp(left));
        }
        Ok(found)
    }

    /// Asks about seqs whose key may be this one, newest first, until one is what is wanted; none that can
    /// lie only before `since`. `None` is certain.
    ///
    /// **Cost**: with many records under one key only the newest of each part is looked up.
    ///
    /// # Errors
    /// Those of [`Tables::candidates`], and those of `wanted`.
    pub(crate) fn newest<T>(
        &self,
        log: &Log,
        since: Seq,
        hash: KeyHash,
        mut wanted: impl FnMut(Seq) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let (mut before, mut tries) = (Seq(u64::MAX), 0);
        while let Some(part) = self.part_before(before, hash) {
            let newest = match &part.keys {
                LookKeys::Hot(newest) => *newest,
                LookKeys::Sealed(run) if !run.may_hold(hash) => None,
                LookKeys::Sealed(run) => match run.newest(hash) {
                    Ok(newest) => newest,
                    Err(SectionError::Io(error)) if is_missing(&error) && tries < TRIES_MAX => {
                        tries += 1;
                        continue;
                    }
                    Err(SectionError::Io(_) | SectionError::Damaged { .. }) => {
                        self.replace_run(log, &part.segments, run, hash)?.into_iter().max()
                    }
                },
            };
            if let Some(found) = newest.map(&mut wanted).transpose()?.flatten() {
                return Ok(Some(found));
            }
            if newest.is_some() {
                // Two keys share a hash, or the newest is not readable yet: look at all there is.
                for seq in self.candidates_since(log, since, hash)? {
                    if let Some(found) = wanted(seq)? {
                        return Ok(Some(found));
                    }
                }
                return Ok(None);
            }
            if part.first_seq <= since {
                break;
            }
            before = part.first_seq;
        }
        Ok(None)
    }

    /// The last part that begins before this seq, and what it says of a hash from memory.
    fn part_before(&self, before: Seq, hash: KeyHash) -> Option<Look> {
        let parts = self.parts.read();
        let part = parts.iter().rev().find(|part| part.first_seq < before)?;
        let keys = match &part.keys {
            Keys::Hot(hot) => LookKeys::Hot(hot.newest(hash)),
            Keys::Sealed(run) => LookKeys::Sealed(Arc::clone(run)),
        };
        Some(Look { first_seq: part.first_seq, segments: part.first..=part.last, keys })
    }

    /// Looks through all parts. Answers false when a run was taken in by another one meanwhile, and its file
    /// removed: then look again.
    fn look(
        &self,
        log: &Log,
        since: Seq,
        hash: KeyHash,
        tries: u32,
        found: &mut Vec<Seq>,
    ) -> Result<bool> {
        let mut runs = Vec::new();
        {
            let parts = self.parts.read();
            for part in parts.iter().rev() {
                match &part.keys {
                    Keys::Hot(hot) => found.extend(hot.get(hash)),
                    Keys::Sealed(run) if run.may_hold(hash) => {
                        runs.push((part.first..=part.last, Arc::clone(run)));
                    }
                    Keys::Sealed(_) => {}
                }
                if part.first_seq <= since {
                    break;
                }
            }
        }
        // Reads happen outside the lock: a slow disk must not stop the writer.
        for (segments, run) in runs {
            match run.find(hash, found) {
                Ok(()) => {}
                Err(SectionError::Io(error)) if is_missing(&error) && tries < TRIES_MAX => {
                    return Ok(false);
                }
                Err(SectionError::Io(_) | SectionError::Damaged { .. }) => {
                    found.extend(self.replace_run(log, &segments, &run, hash)?);
                }
            }
        }
        Ok(true)
    }

    /// What is to be known of many keys at once, with each lock taken once. An absence is certain.
    pub(crate) fn hints(&self, hashes: &[KeyHash]) -> Vec<Hint> {
        let mut hints = vec![Hint::Absent; hashes.len()];
        let mut runs = Vec::new();
        {
            let parts = self.parts.read();
            for part in parts.iter() {
                match &part.keys {
                    Keys::Hot(hot) => {
                        for (hint, hash) in hints.iter_mut().zip(hashes) {
                            hot.get(*hash).for_each(|seq| hint.add(seq));
                        }
                    }
                    Keys::Sealed(run) => runs.push(Arc::clone(run)),
                }
            }
        }
        let mut found = Vec::new();
        for run in runs {
            for (hint, hash) in
                hints.iter_mut().zip(hashes).filter(|(_, hash)| run.may_hold(**hash))
            {
                match run.find(*hash, &mut found) {
                    Ok(()) => found.iter().for_each(|seq| hint.add(*seq)),
                    // Damaged, or taken in by another one meanwhile: looked into again by `candidates`.
                    Err(_) => *hint = Hint::Unclear,
                }
                found.clear();
            }
        }
        hints
    }

    /// Whether a record at or above `seen` may have this key: asked under the lock of the queue, so it
    /// looks into memory only. True when it can't tell.
    pub(crate) fn may_have_since(&self, seen: Seq, hash: KeyHash) -> bool {
        let parts = self.parts.read();
        for part in parts.iter().rev() {
            match &part.keys {
                Keys::Hot(hot) => {
                    if hot.get(hash).any(|seq| seq >= seen) {
                        return true;
                    }
                }
                Keys::Sealed(run) => {
                    if run.may_hold(hash) {
                        return true;
                    }
                }
            }
            if part.first_seq <= seen {
                return false;
            }
        }
        false
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
