//! fjall.
//!
//! - Unique: looked up and inserted in one transaction of a `SingleWriterTxDatabase`.
//! - Durable: `PersistMode::SyncData` with the commit. Its documentation offers SyncAll, and SyncData
//!   where fdatasync suffices, which it does on Linux: the data can be read back after it returns. It is
//!   the quicker of the two.
//! - The cache as its documentation recommends, if the data fits; the rest, LZ4 included, as it comes.

use std::path::Path;

use fjall::{
    KeyspaceCreateOptions, PersistMode, Readable, SingleWriterTxDatabase, SingleWriterTxKeyspace,
};
use order_ledger::Submission;

use super::CACHE_BYTES;
use crate::store::{How, Result, Store, repeated};

pub(super) struct Fjall {
    db: SingleWriterTxDatabase,
    orders: SingleWriterTxKeyspace,
}

impl Fjall {
    pub(super) fn open(dir: &Path) -> Result<Fjall> {
        let db = SingleWriterTxDatabase::builder(dir).cache_size(CACHE_BYTES.into()).open()?;
        let orders = db.keyspace("orders", KeyspaceCreateOptions::default)?;
        db.persist(PersistMode::SyncAll)?;
        Ok(Fjall { db, orders })
    }

    fn take<'o>(&self, orders: impl Iterator<Item = &'o Submission>) -> Result<Vec<How>> {
        let mut transaction = self.db.write_tx().durability(Some(PersistMode::SyncData));
        let mut answers = Vec::with_capacity(orders.size_hint().0);
        for order in orders {
            let known = transaction.get(&self.orders, order.key())?;
            if known.is_none() {
                transaction.insert(&self.orders, order.key(), order.payload());
            }
            answers.push(known.map_or(How::Fresh, |stored| repeated(&stored, order)));
        }
        transaction.commit()?;
        Ok(answers)
    }
}

impl Store for Fjall {
    fn submit(&self, order: &Submission) -> Result<How> {
        let answers = self.take(std::iter::once(order))?;
        Ok(answers.first().copied().ok_or("no answer")?)
    }

    fn submit_many(&self, orders: &[Submission]) -> Result<Vec<How>> {
        self.take(orders.iter())
    }
}
