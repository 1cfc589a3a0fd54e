//! RocksDB.
//!
//! - Unique: `get_for_update` and `put` in a transaction of a `TransactionDB` (wiki, "Transactions"),
//!   which locks keys and not the database.
//! - Durable: `WriteOptions::sync`. Threads that wait share a sync (wiki, "WAL Performance").
//! - Logs are recycled: without it every sync has a change of the file's size to write as well (same page,
//!   and options.h, `recycle_log_file_num`).
//! - `increase_parallelism`: "You almost definitely want to call this" (options.h); a bloom filter of 10
//!   bits, and the block cache (wiki, "Setup Options and Basic Tuning").
//! - No pipelined writes: meant for a memtable that is the bottleneck (options.h); here it is the sync.

use std::path::Path;

use order_ledger::Submission;
use rocksdb::{
    BlockBasedOptions, Cache, Options, Transaction, TransactionDB, TransactionDBOptions,
    TransactionOptions, WriteOptions,
};

use super::CACHE_BYTES;
use crate::store::{How, Result, Store, repeated};

/// Log files that are kept for use: more than there are memtables.
const RECYCLED_LOGS: usize = 4;

pub(super) struct RocksDb {
    db: TransactionDB,
    sync: WriteOptions,
}

impl RocksDb {
    pub(super) fn open(dir: &Path) -> Result<RocksDb> {
        let mut table = BlockBasedOptions::default();
        table.set_bloom_filter(10.0, false);
        table.set_block_cache(&Cache::new_lru_cache(usize::try_from(CACHE_BYTES)?));
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_recycle_log_file_num(RECYCLED_LOGS);
        let cores = std::thread::available_parallelism()?.get();
        options.increase_parallelism(i32::try_from(cores)?);
        let db = TransactionDB::open(&options, &TransactionDBOptions::default(), dir)?;
        let mut sync = WriteOptions::default();
        sync.set_sync(true);
        Ok(RocksDb { db, sync })
    }

    fn begin(&self) -> Transaction<'_, TransactionDB> {
        self.db.transaction_opt(&self.sync, &TransactionOptions::default())
    }
}

fn take(transaction: &Transaction<'_, TransactionDB>, order: &Submission) -> Result<How> {
    if let Some(stored) = transaction.get_pinned_for_update(order.key(), true)? {
        return Ok(repeated(&stored, order));
    }
    transaction.put(order.key(), order.payload())?;
    Ok(How::Fresh)
}

impl Store for RocksDb {
    fn submit(&self, order: &Submission) -> Result<How> {
        let transaction = self.begin();
        let how = take(&transaction, order)?;
        transaction.commit()?;
        Ok(how)
    }

    fn submit_many(&self, orders: &[Submission]) -> Result<Vec<How>> {
        let transaction = self.begin();
        let answers =
            orders.iter().map(|order| take(&transaction, order)).collect::<Result<_>>()?;
        transaction.commit()?;
        Ok(answers)
    }
}
