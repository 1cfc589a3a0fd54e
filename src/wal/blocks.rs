//! Blocks of sealed segments and merged tables, in memory once they were read: of the tables, checked, and of the
//! groups, as they lie in the file.
//!
//! Why: a lookup by key needs one block of keys, one of offsets and one of records, and reading them cost it
//! most of its time.
//!
//! Always true: a block of a table has passed its checksum, and a record out of a block of groups passes its own
//! whenever it is read; what they were read from never changes: a sealed
//! segment is written no more, and sealed again it has the same tables, which follow from its groups; so does
//! the merged table of the same segments when it is made again. At
//! most so many bytes are kept as were allowed; what goes first is what was not asked for again. Nobody who
//! examines a ledger reads through here.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use super::format::BLOCK_BYTES;
use crate::bytes::to_usize;
use crate::mix::{AsIs, mix};

/// Bytes that are kept when nothing else is asked for. A key has 16 bytes of tables, so these are those of
/// about 12 million keys.
pub(crate) const KEY_MEMORY_BYTES_DEFAULT: u64 = 192 * 1024 * 1024;

/// In place of the kind of a section: the groups, from the beginning of the file.
pub(crate) const GROUPS: u32 = 0;

/// Where a block is: number of the segment, kind of the section, place in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) kind: u32,
    pub(crate) block: u64,
}

impl Hash for Place {
    /// One number, for [`AsIs`]: what is found by it is compared, and nobody outside chooses a place. The same
    /// in every process: which block goes first must not depend on chance.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(mix(self.segment.rotate_left(32)
            ^ u64::from(self.kind).rotate_left(16)
            ^ self.block));
    }
}

/// All blocks cost the same: they are of one size, and what the cache needs to find one is little.
#[derive(Clone)]
struct InBlocks;

impl Weighter<Place, Arc<[u8]>> for InBlocks {
    fn weight(&self, _: &Place, _: &Arc<[u8]>) -> u64 {
        BLOCK_BYTES
    }
}

/// The blocks of one ledger that are kept.
pub(crate) struct Blocks {
    cache: Cache<Place, Arc<[u8]>, InBlocks, BuildHasherDefault<AsIs>>,
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blocks({} bytes)", self.cache.weight())
    }
}

impl Blocks {
    /// Keeps at most so many bytes.
    pub(crate) fn new(bytes_max: u64) -> Arc<Blocks> {
        let blocks = to_usize(bytes_max / BLOCK_BYTES);
        let (hasher, lifecycle) = (BuildHasherDefault::default(), DefaultLifecycle::default());
        Arc::new(Blocks { cache: Cache::with(blocks, bytes_max, InBlocks, hasher, lifecycle) })
    }

    /// The block that lies there: the one that is kept, or what `read` reads and checks.
    ///
    /// # Errors
    /// Those of `read`, of which nothing is kept.
    pub(crate) fn get<E>(
        &self,
        place: Place,
        read: impl FnOnce() -> Result<Arc<[u8]>, E>,
    ) -> Result<Arc<[u8]>, E> {
        if let Some(block) = self.cache.get(&place) {
            return Ok(block);
        }
        // Two callers may read it at the same time: neither waits for the other's disk.
        let block = read()?;
        self.cache.insert(place, Arc::clone(&block));
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(block: u64) -> Place {
        Place { segment: 1, kind: 2, block }
    }

    #[test]
    fn what_was_read_is_kept_and_an_error_is_not() {
        let blocks = Blocks::new(64 * BLOCK_BYTES);
        let read = |place, answer: Result<Vec<u8>, _>| {
            blocks.get(place, || answer.map(Arc::from)).map(|block| block.to_vec())
        };
        assert_eq!(read(place(1), Err("damaged")), Err("damaged"));
        assert_eq!(read(place(1), Ok(vec![1])), Ok(vec![1]));
        assert_eq!(read(place(1), Err("not asked")), Ok(vec![1]));
        for other in [place(2), Place { segment: 2, ..place(1) }, Place { kind: 3, ..place(1) }] {
            assert_eq!(read(other, Err("another")), Err("another"));
        }
    }

    #[test]
    fn no_more_is_kept_than_was_allowed() {
        let blocks = Blocks::new(64 * BLOCK_BYTES);
        for block in 0..1000 {
            blocks.get(place(block), || Ok::<_, ()>(vec![0; 4092].into())).unwrap();
            assert!(blocks.cache.weight() <= 64 * BLOCK_BYTES);
        }
        assert!(blocks.cache.len() > 32, "{} are kept", blocks.cache.len());
        let none = Blocks::new(0);
        assert_eq!(none.get(place(1), || Ok::<_, ()>(vec![1].into())).unwrap()[..], [1]);
        assert_eq!(none.get(place(1), || Err("read again")), Err("read again"));
        // Nothing is taken in front.
        assert_eq!(Blocks::new(1 << 40).cache.len(), 0);
    }
}
