//! The keys of a segment that is not sealed yet, in memory.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::hash::KeyHash;
use crate::mix::AsIs;
use crate::order::Seq;

#[derive(Clone, Default)]
pub(crate) struct Hot {
    first: HashMap<KeyHash, Seq, BuildHasherDefault<AsIs>>,
    /// Further seqs under a hash that is taken, rising: the second and later steps of an order, or two keys
    /// that collide.
    more: HashMap<KeyHash, Vec<Seq>, BuildHasherDefault<AsIs>>,
    keys: usize,
    /// The highest seq of all.
    newest: Option<Seq>,
}

impl std::fmt::Debug for Hot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hot({} keys)", self.keys)
    }
}

impl Hot {
    pub(crate) fn insert(&mut self, hash: KeyHash, seq: Seq) {
        self.keys += 1;
        self.newest = self.newest.max(Some(seq));
        match self.first.entry(hash) {
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(seq);
            }
            std::collections::hash_map::Entry::Occupied(_) => {
                self.more.entry(hash).or_default().push(seq);
            }
        }
    }

    pub(crate) fn get(&self, hash: KeyHash) -> impl Iterator<Item = Seq> {
        let first = self.first.get(&hash).copied();
        // Most ledgers have orders without steps, and then there is nothing to look up.
        let more = match first {
            Some(_) if !self.more.is_empty() => self.more.get(&hash),
            _ => None,
        };
        first.into_iter().chain(more.into_iter().flatten().copied())
    }

    /// Whether a record at or above `seen` has this hash.
    pub(crate) fn has_since(&self, seen: Seq, hash: KeyHash) -> bool {
        // Mostly nothing came since, and then there is nothing to look up.
        self.newest >= Some(seen) && self.get(hash).any(|seq| seq >= seen)
    }

    /// The newest seq under this hash.
    pub(crate) fn newest(&self, hash: KeyHash) -> Option<Seq> {
        let first = self.first.get(&hash).copied()?;
        if self.more.is_empty() {
            return Some(first);
        }
        self.more.get(&hash).and_then(|seqs| seqs.last().copied()).or(Some(first))
    }

    /// All keys, by hash and then seq.
    pub(crate) fn sorted(&self) -> Vec<(KeyHash, Seq)> {
        let mut all = Vec::with_capacity(self.keys);
        all.extend(self.first.iter().map(|(hash, seq)| (*hash, *seq)));
        for (hash, seqs) in &self.more {
            all.extend(seqs.iter().map(|seq| (*hash, *seq)));
        }
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_share_a_hash_are_all_found_and_sorted() {
        let mut hot = Hot::default();
        for (hash, seq) in [(9, 1), (5, 2), (9, 3), (7, 4), (9, 5)] {
            hot.insert(KeyHash(hash), Seq(seq));
        }
        let get = |hash| hot.get(KeyHash(hash)).map(|seq| seq.0).collect::<Vec<_>>();
        assert_eq!((get(9), get(5), get(6)), (vec![1, 3, 5], vec![2], vec![]));
        let newest = [9, 5, 6].map(|hash| hot.newest(KeyHash(hash)));
        assert_eq!(newest, [Some(Seq(5)), Some(Seq(2)), None]);
        let sorted: Vec<_> = hot.sorted().iter().map(|(hash, seq)| (hash.0, seq.0)).collect();
        assert_eq!(sorted, [(5, 2), (7, 4), (9, 1), (9, 3), (9, 5)]);
    }

    #[test]
    fn what_came_since_is_seen_from_the_very_record_on() {
        let mut hot = Hot::default();
        assert!(!hot.has_since(Seq::FIRST, KeyHash(7)));
        hot.insert(KeyHash(7), Seq(5));
        hot.insert(KeyHash(8), Seq(6));
        let since = |seen| [KeyHash(7), KeyHash(8), KeyHash(9)].map(|it| hot.has_since(seen, it));
        assert_eq!(since(Seq(5)), [true, true, false]);
        assert_eq!(since(Seq(6)), [false, true, false]);
        assert_eq!(since(Seq(7)), [false, false, false]);
    }
}
