//! sled 0.34.
//!
//! - Unique: `compare_and_swap` from nothing, which its documentation names for this. Not `apply_batch`,
//!   which overwrites and does not tell what was there.
//! - Durable: `flush`, documented to call fsync. 0.34.7 on Linux writes with sync_file_range and leaves
//!   the fsync out (src/pagecache/iobuf.rs), so an fdatasync of its file follows; without it a power cut
//!   takes what was flushed.
//! - `Mode::HighThroughput`, documented in `Config::mode`; no flushes by timer, since each submit flushes.

use std::fs::File;
use std::path::Path;

use order_ledger::Submission;

use super::CACHE_BYTES;
use crate::store::{How, Result, Store, repeated};

pub(super) struct Sled {
    db: sled::Db,
    /// Its only file that grows with every order.
    file: File,
}

impl Sled {
    pub(super) fn open(dir: &Path) -> Result<Sled> {
        let db = sled::Config::new()
            .path(dir)
            .mode(sled::Mode::HighThroughput)
            .cache_capacity(CACHE_BYTES.into())
            .flush_every_ms(None)
            .open()?;
        let file = File::open(dir.join("db"))?;
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(Sled { db, file })
    }

    fn take(&self, order: &Submission) -> Result<How> {
        let swapped =
            self.db.compare_and_swap(order.key(), None::<&[u8]>, Some(order.payload()))?;
        Ok(match swapped {
            Ok(()) => How::Fresh,
            Err(taken) => repeated(&taken.current.unwrap_or_default(), order),
        })
    }

    fn sync(&self) -> Result<()> {
        self.db.flush()?;
        self.file.sync_data()?;
        Ok(())
    }
}

impl Store for Sled {
    fn submit(&self, order: &Submission) -> Result<How> {
        let how = self.take(order)?;
        self.sync()?;
        Ok(how)
    }

    fn submit_many(&self, orders: &[Submission]) -> Result<Vec<How>> {
        let answers = orders.iter().map(|order| self.take(order)).collect::<Result<_>>()?;
        self.sync()?;
        Ok(answers)
    }
}
