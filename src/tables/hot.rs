//! The keys of a segment that is not sealed yet, in memory.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::hash::KeyHash;
use crate::mix::AsIs;
use crate::order::Seq;

#[derive(Clone, Default)]
pub(crate) struct Hot {
    first: HashMap<KeyHash, Seq, BuildHasherDefault<AsIs>>,
    /// Further seqs under a hash that is taken: two keys that collide. All but always empty.
    more: Vec<(KeyHash, Seq)>,
}

impl std::fmt::Debug for Hot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hot({} keys)", self.first.len() + self.more.len())
    }
}

impl Hot {
    pub(crate) fn insert(&mut self, hash: KeyHash, seq: Seq) {
        match self.first.entry(hash) {
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(seq);
            }
            std::collections::hash_map::Entry::Occupied(_) => self.more.push((hash, seq)),
        }
    }

    pub(crate) fn get(&self, hash: KeyHash) -> impl Iterator<Item = Seq> {
        let more = self.more.iter().filter(move |(other, _)| *other == hash).map(|(_, seq)| *seq);
        self.first.get(&hash).copied().into_iter().chain(more)
    }

    /// All keys, by hash and then seq.
    pub(crate) fn sorted(&self) -> Vec<(KeyHash, Seq)> {
        let first = self.first.iter().map(|(hash, seq)| (*hash, *seq));
        let mut all: Vec<_> = first.chain(self.more.iter().copied()).collect();
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
        let sorted: Vec<_> = hot.sorted().iter().map(|(hash, seq)| (hash.0, seq.0)).collect();
        assert_eq!(sorted, [(5, 2), (7, 4), (9, 1), (9, 3), (9, 5)]);
    }
}
