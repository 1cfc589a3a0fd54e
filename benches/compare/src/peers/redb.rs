//! redb.
//!
//! - Durable: `Durability::Immediate`: persistent as soon as `commit` returns, says its documentation.
//!   One phase, which is the default and the quicker one.
//! - Unique: looked up and inserted in one write transaction; there is one at a time.

use std::path::Path;

use order_ledger::Submission;
use redb::{Database, Durability, ReadableTable, TableDefinition};

use super::CACHE_BYTES;
use crate::store::{How, Result, Store, repeated};

const ORDERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("orders");

pub(super) struct Redb {
    db: Database,
}

impl Redb {
    pub(super) fn open(dir: &Path) -> Result<Redb> {
        let cache_bytes = usize::try_from(CACHE_BYTES)?;
        let db = Database::builder().set_cache_size(cache_bytes).create(dir.join("orders.redb"))?;
        Ok(Redb { db })
    }

    fn take<'o>(&self, orders: impl Iterator<Item = &'o Submission>) -> Result<Vec<How>> {
        let mut transaction = self.db.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let mut answers = Vec::with_capacity(orders.size_hint().0);
        {
            let mut table = transaction.open_table(ORDERS)?;
            for order in orders {
                let known = table.get(order.key())?.map(|stored| repeated(stored.value(), order));
                if known.is_none() {
                    table.insert(order.key(), order.payload())?;
                }
                answers.push(known.unwrap_or(How::Fresh));
            }
        }
        transaction.commit()?;
        Ok(answers)
    }
}

impl Store for Redb {
    fn submit(&self, order: &Submission) -> Result<How> {
        let answers = self.take(std::iter::once(order))?;
        Ok(answers.first().copied().ok_or("no answer")?)
    }

    fn submit_many(&self, orders: &[Submission]) -> Result<Vec<How>> {
        self.take(orders.iter())
    }
}
