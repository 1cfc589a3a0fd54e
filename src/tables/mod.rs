//! Fast answers: key -> seq. Ours, checksummed, derived from the log and disposable.
//!
//! - [`hash`]: keys become 64-bit numbers under a secret of the ledger
//! - [`hot`]: the keys of segments that are not sealed yet, in memory
//! - [`filter`], [`run`]: the keys of a sealed segment, sorted on disk, and what it certainly lacks
//! - [`manifest`]: how far the log was once durable: a witness against a log that lost data
//!
//! Always true: a hit is a hint; the record is read from the log and its (client, key) bytes are compared
//! before anything is answered. An absence is an answer, so every record of the log below the readable
//! border is in exactly one hot part or one run; a run that can't be read is rebuilt from its segment.

pub(crate) mod filter;
pub(crate) mod hash;
pub(crate) mod hot;
pub(crate) mod manifest;
pub(crate) mod run;

use std::sync::Arc;

use crate::sync::RwLock;

use crate::error::{Error, Result};
use crate::order::{Seq, Timestamp};
use crate::wal::format::{SegmentHeader, segment_path};
use crate::wal::log::{Log, body_at, damaged_record};
use crate::wal::scan::{self, Position};
use crate::wal::section::SectionError;
use crate::wal::segment::Segment;
use hash::{KeyHash, KeyHasher};
use hot::Hot;
use run::Run;

/// The keys of the whole log.
#[derive(Debug)]
pub(crate) struct Tables {
    hasher: KeyHasher,
    parts: RwLock<Vec<Part>>,
}

/// The keys of one segment.
#[derive(Debug)]
struct Part {
    segment: u64,
    first_seq: Seq,
    keys: Keys,
}

#[derive(Clone, Debug)]
enum Keys {
    Hot(Hot),
    Sealed(Arc<Run>),
}

impl Tables {
    pub(crate) fn new(hasher: KeyHasher) -> Tables {
        Tables { hasher, parts: RwLock::new(Vec::new()) }
    }

    pub(crate) fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    /// Adds the keys of a segment that a scan has gathered (none, for a new segment).
    pub(crate) fn push_hot(&self, segment: u64, first_seq: Seq, hot: Hot) {
        self.parts.write().push(Part { segment, first_seq, keys: Keys::Hot(hot) });
    }

    /// Adds the keys of a sealed segment. A run that is damaged, or that the device can't read, is rebuilt
    /// from the groups.
    ///
    /// Answers false when it had to be rebuilt.
    ///
    /// # Errors
    /// Those of reading the groups, which are read strictly (rule 16).
    pub(crate) fn push_sealed(&self, segment: &Segment) -> Result<bool> {
        let (keys, sound) = match Run::open(segment) {
            Ok(run) => (Keys::Sealed(Arc::new(run)), true),
            Err(SectionError::Io(_) | SectionError::Damaged { .. }) => {
                (Keys::Hot(self.rescan(segment)?), false)
            }
        };
        let (number, first_seq) = (segment.header.number, segment.header.first_seq);
        self.parts.write().push(Part { segment: number, first_seq, keys });
        Ok(sound)
    }

    /// Takes in keys that were just made durable, in order; `segment` is the one they are in.
    pub(crate) fn apply(
        &self,
        segment: u64,
        first_seq: Seq,
        keys: impl Iterator<Item = Option<KeyHash>>,
    ) {
        let mut parts = self.parts.write();
        let known = parts.last().is_some_and(|part| part.segment == segment);
        if !known {
            parts.push(Part { segment, first_seq, keys: Keys::Hot(Hot::default()) });
        }
        if let Some(Part { keys: Keys::Hot(hot), .. }) = parts.last_mut() {
            for (seq, hash) in (first_seq.0..).zip(keys) {
                if let Some(hash) = hash {
                    hot.insert(hash, Seq(seq));
                }
            }
        }
    }

    /// The seqs whose key may be this one, newest first. An empty answer is certain.
    ///
    /// # Errors
    /// `Io`, or `Corrupt` when a run and the groups under it are both damaged: never a false absence.
    pub(crate) fn candidates(&self, log: &Log, hash: KeyHash) -> Result<Vec<Seq>> {
        let mut found = Vec::new();
        let mut runs = Vec::new();
        {
            let parts = self.parts.read();
            for part in parts.iter().rev() {
                match &part.keys {
                    Keys::Hot(hot) => found.extend(hot.get(hash)),
                    Keys::Sealed(run) if run.may_hold(hash) => {
                        runs.push((part.segment, Arc::clone(run)));
                    }
                    Keys::Sealed(_) => {}
                }
            }
        }
        // Reads happen outside the lock: a slow disk must not stop the writer.
        for (segment, run) in runs {
            match run.get(hash) {
                Ok(seqs) => found.extend(seqs),
                Err(SectionError::Io(_) | SectionError::Damaged { .. }) => {
                    found.extend(self.replace_run(log, segment, hash)?);
                }
            }
        }
        found.sort_unstable_by(|left, right| right.cmp(left));
        Ok(found)
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
        let part = parts.iter().find(|part| part.segment == segment);
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
        if let Some(part) = parts.iter_mut().find(|part| part.segment == segment) {
            part.keys = keys;
        }
    }

    /// A run has a damaged block: its segment's keys are gathered again from the groups.
    fn replace_run(&self, log: &Log, number: u64, hash: KeyHash) -> Result<Vec<Seq>> {
        let segments = log.segments();
        let Some(segment) = segments.iter().find(|segment| segment.header.number == number) else {
            return Ok(Vec::new());
        };
        let hot = self.rescan(segment)?;
        let found = hot.get(hash).collect();
        self.replace(number, Keys::Hot(hot));
        Ok(found)
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
            if let Some(submitted) = body.submitted() {
                hot.insert(self.hasher.hash(submitted.client, submitted.key), frame.seq);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
