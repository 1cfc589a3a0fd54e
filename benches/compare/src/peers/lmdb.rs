//! LMDB, by lmdb-rkv.
//!
//! - Durable: the default flags. Its documentation (lmdb.h, `mdb_env_open`) has NOSYNC, NOMETASYNC and
//!   MAPASYNC for less than that, and none for more.
//! - Unique: `put` with `NO_OVERWRITE`, in a write transaction; there is one at a time.
//! - No `WRITE_MAP`: documented as quicker, and as losing the protection from stray writes of the program
//!   it is linked into.
//! - No readahead: documented for data beyond memory, which this is not; so it stays on.

use std::path::Path;

use lmdb::{Database, DatabaseFlags, Environment, Error, RwTransaction, Transaction, WriteFlags};
use order_ledger::Submission;

use crate::store::{How, Result, Store, repeated};

/// Of the address space, not of the disk: the file grows as it is written.
const MAP_BYTES: usize = 64 * 1024 * 1024 * 1024;

pub(super) struct Lmdb {
    environment: Environment,
    orders: Database,
}

impl Lmdb {
    pub(super) fn open(dir: &Path) -> Result<Lmdb> {
        let environment = Environment::new().set_map_size(MAP_BYTES).open(dir)?;
        let orders = environment.create_db(None, DatabaseFlags::empty())?;
        Ok(Lmdb { environment, orders })
    }

    fn take(&self, transaction: &mut RwTransaction<'_>, order: &Submission) -> Result<How> {
        let (key, payload) = (order.key(), order.payload());
        match transaction.put(self.orders, &key, &payload, WriteFlags::NO_OVERWRITE) {
            Ok(()) => Ok(How::Fresh),
            Err(Error::KeyExist) => Ok(repeated(transaction.get(self.orders, &key)?, order)),
            Err(error) => Err(error.into()),
        }
    }
}

impl Store for Lmdb {
    fn submit(&self, order: &Submission) -> Result<How> {
        let mut transaction = self.environment.begin_rw_txn()?;
        let how = self.take(&mut transaction, order)?;
        transaction.commit()?;
        Ok(how)
    }

    fn submit_many(&self, orders: &[Submission]) -> Result<Vec<How>> {
        let mut transaction = self.environment.begin_rw_txn()?;
        let answers =
            orders.iter().map(|order| self.take(&mut transaction, order)).collect::<Result<_>>()?;
        transaction.commit()?;
        Ok(answers)
    }
}
