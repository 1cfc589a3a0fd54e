//! Which records a key may have, over all parts of the tables: all of them, the newest, or those of a batch.
//!
//! Always true: an empty answer is certain; memory is looked at under the lock and files are read outside of
//! it, for a slow disk must not stop the writer.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::hash::KeyHash;
use super::run::Run;
use super::{Keys, Tables};
use crate::disk::is_missing;
use crate::error::Result;
use crate::order::Seq;
use crate::wal::log::Log;
use crate::wal::section::SectionError;

/// How often a lookup begins again because a run was gone when it was read: each time another merge must
/// have ended in between. After that the file was removed by somebody else.
const TRIES_MAX: u32 = 3;

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
                    if hot.has_since(seen, hash) {
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
}
