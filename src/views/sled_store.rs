//! The store in sled 0.34.7: the only file that knows sled.
//!
//! sled is taken for what it was measured to be (RELIABILITY F1 to F4): its `flush` is not durable, it
//! may refuse to open, panic, hang, or lose keys without a word. So nothing here flushes and nothing
//! relies on it; calls run on a thread of their own ([`guard`](super::guard)), and what it holds is
//! audited when it is opened.
//!
//! Always true: one batch is one `sled::Batch` on one tree, which is what sled makes atomic; an iterator
//! is left at its first error (sled repeats an error for ever).

use std::ops::Bound::{Excluded, Unbounded};
use std::path::Path;

use super::layout::{Change, WATERMARK_KEY};
use super::store::{Batch, Doubt, Store};

/// Bytes of sled's page cache. It does not keep to it (DESIGN, measured), so ask for little.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// How often sled writes out what it has. Each time it also syncs its file, on the device that the log
/// syncs on, so: not often. What a kill takes away is fed again.
const FLUSH_EVERY_MS: u64 = 2_000;

pub(super) struct SledStore(pub(super) sled::Db);

impl SledStore {
    /// Opens or creates the store in `dir`.
    pub(super) fn open(dir: &Path) -> Result<SledStore, Doubt> {
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(Some(FLUSH_EVERY_MS));
        Ok(SledStore(config.open()?))
    }
}

impl Store for SledStore {
    fn watermark(&mut self) -> Result<Option<Vec<u8>>, Doubt> {
        Ok(self.0.get(WATERMARK_KEY)?.map(|value| value.to_vec()))
    }

    fn keys(&mut self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, Doubt> {
        let mut found = Vec::new();
        for entry in self.0.range::<&[u8], _>((Excluded(after), Unbounded)).take(limit) {
            let (key, _) = entry?;
            if !key.starts_with(prefix) {
                break;
            }
            found.push(key.to_vec());
        }
        Ok(found)
    }

    fn apply(&mut self, batch: Batch, watermark: Vec<u8>) -> Result<(), Doubt> {
        let mut whole = sled::Batch::default();
        for (key, change) in batch.into_changes() {
            match change {
                Change::Add => whole.insert(key, sled::IVec::default()),
                Change::Remove => whole.remove(key),
            }
        }
        whole.insert(WATERMARK_KEY, watermark);
        Ok(self.0.apply_batch(whole)?)
    }
}

impl From<sled::Error> for Doubt {
    fn from(error: sled::Error) -> Doubt {
        match error {
            sled::Error::Io(error) => Doubt::Io(error.to_string()),
            error => Doubt::Refused(error.to_string()),
        }
    }
}
