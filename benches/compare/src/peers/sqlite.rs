//! SQLite.
//!
//! - Durable: WAL with `synchronous=FULL`, which syncs the log at every commit
//!   (sqlite.org/pragma.html#pragma_synchronous).
//! - Unique: a unique index, and `ON CONFLICT DO NOTHING`. A table with a rowid: the documentation of
//!   WITHOUT ROWID advises against it for rows of more than 200 bytes (sqlite.org/withoutrowid.html).
//! - Checkpoints at 64 MiB of log instead of 4: to be run seldom where writes count
//!   (sqlite.org/wal.html, "Performance Considerations").
//! - One connection behind a lock. There is one writer at a time anyway, and connections of their own
//!   would wait by sleeping and asking again (sqlite.org/c3ref/busy_timeout.html). So it can hold the
//!   file alone: `locking_mode=EXCLUSIVE` spares the index in shared memory (sqlite.org/wal.html, "Use of
//!   WAL Without Shared-Memory").
//! - Statements prepared once.
//! - Compiled with HAVE_FDATASYNC (sqlite.org/compile.html), in .cargo/config.toml: it calls fsync
//!   otherwise, which writes the times of the file as well.

use std::path::Path;

use order_ledger::Submission;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::CACHE_BYTES;
use crate::store::{How, Result, Store, repeated};

const SETUP: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 16384;
    CREATE TABLE IF NOT EXISTS orders (
        id INTEGER PRIMARY KEY,
        key BLOB NOT NULL UNIQUE,
        payload BLOB NOT NULL
    );
";
const INSERT: &str = "INSERT INTO orders (key, payload) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const FIND: &str = "SELECT payload FROM orders WHERE key = ?1";

pub(super) struct Sqlite {
    connection: Mutex<Connection>,
}

impl Sqlite {
    pub(super) fn open(dir: &Path) -> Result<Sqlite> {
        let connection = Connection::open(dir.join("orders.sqlite"))?;
        connection.execute_batch(SETUP)?;
        // Negative: KiB, not pages.
        connection.pragma_update(None, "cache_size", -i64::from(CACHE_BYTES / 1024))?;
        Ok(Sqlite { connection: Mutex::new(connection) })
    }

    fn take<'o>(&self, orders: impl Iterator<Item = &'o Submission>) -> Result<Vec<How>> {
        let mut connection = self.connection.lock();
        let transaction = Transaction::new(&mut connection, TransactionBehavior::Immediate)?;
        let mut answers = Vec::with_capacity(orders.size_hint().0);
        {
            let mut insert = transaction.prepare_cached(INSERT)?;
            let mut find = transaction.prepare_cached(FIND)?;
            for order in orders {
                let inserted = insert.execute(params![order.key(), order.payload()])?;
                answers.push(match inserted {
                    0 => find
                        .query_row(params![order.key()], |row| {
                            Ok(repeated(row.get_ref(0)?.as_blob()?, order))
                        })
                        .optional()?
                        .ok_or("neither inserted nor there")?,
                    _ => How::Fresh,
                });
            }
        }
        transaction.commit()?;
        Ok(answers)
    }
}

impl Store for Sqlite {
    fn submit(&self, order: &Submission) -> Result<How> {
        let answers = self.take(std::iter::once(order))?;
        Ok(answers.first().copied().ok_or("no answer")?)
    }

    fn submit_many(&self, orders: &[Submission]) -> Result<Vec<How>> {
        self.take(orders.iter())
    }
}
