//! The engines that a program would use instead, one file each: honestly durable, with the settings that
//! their own documentation names for this. Where a setting is in doubt it is the one that helps the peer.
//!
//! Each comes as it is: where several threads wait for one sync, it is the engine that makes them share it.

use std::path::Path;

use crate::contender::{Who, peer};
use crate::machine;
use crate::store::{Result, Store};

mod fjall;
mod lmdb;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod sled;
mod sqlite;

/// Memory for cached blocks, where it can be said: what sled and redb take by themselves.
const CACHE_BYTES: u32 = 1024 * 1024 * 1024;

/// A peer that can be opened.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) who: Who,
    /// What was linked, as printed.
    pub(crate) version: fn() -> String,
    /// How it was set up, in a line.
    pub(crate) settings: &'static str,
    /// In a directory that is there and empty.
    pub(crate) open: fn(&Path) -> Result<Box<dyn Store>>,
}

pub(crate) const PEERS: &[Peer] = &[
    Peer {
        who: peer("fjall"),
        version: || machine::locked("fjall"),
        settings: "a transaction per submit, PersistMode::SyncData",
        open: |dir| Ok(Box::new(fjall::Fjall::open(dir)?)),
    },
    #[cfg(feature = "rocksdb")]
    Peer {
        who: peer("RocksDB"),
        // Of the sources that the bindings bring with them.
        version: || match machine::locked("librocksdb-sys").split_once('+') {
            Some((bindings, bundled)) => format!("{bundled} of librocksdb-sys {bindings}"),
            None => "of unknown version".to_owned(),
        },
        settings: "TransactionDB, sync writes, recycled logs, bloom filters",
        open: |dir| Ok(Box::new(rocksdb::RocksDb::open(dir)?)),
    },
    Peer {
        who: peer("SQLite"),
        version: || rusqlite::version().to_owned(),
        settings: match option_env!("LIBSQLITE3_FLAGS") {
            Some(_) => "WAL, synchronous=FULL, one connection, checkpoint at 64 MiB, fdatasync",
            None => {
                "WAL, synchronous=FULL, one connection, checkpoint at 64 MiB, fsync (see README)"
            }
        },
        open: |dir| Ok(Box::new(sqlite::Sqlite::open(dir)?)),
    },
    Peer {
        who: peer("LMDB"),
        version: || format!("0.9.24 of lmdb-rkv-sys {}", machine::locked("lmdb-rkv-sys")),
        settings: "default flags, which sync at every commit",
        open: |dir| Ok(Box::new(lmdb::Lmdb::open(dir)?)),
    },
    Peer {
        who: peer("redb"),
        version: || machine::locked("redb"),
        settings: "Durability::Immediate",
        open: |dir| Ok(Box::new(redb::Redb::open(dir)?)),
    },
    Peer {
        who: peer("sled"),
        version: || machine::locked("sled"),
        settings: "compare_and_swap, flush, and the fdatasync that flush leaves out",
        open: |dir| Ok(Box::new(sled::Sled::open(dir)?)),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::How;
    use crate::support::{Dir, order};
    use order_ledger::Submission;

    /// Each of them does what is measured, or its figures mean nothing.
    #[test]
    fn every_peer_takes_a_key_once_and_tells_repeats_apart_by_their_content() {
        let dir = Dir::new("peers").unwrap();
        for peer in PEERS {
            let path = dir.join(peer.who.name);
            std::fs::create_dir(&path).unwrap();
            let store = (peer.open)(&path).unwrap();
            let (first, second) = (order(), order());
            let other = Submission::new(first.client(), first.key(), "other");
            assert_eq!(store.submit(&first).unwrap(), How::Fresh, "{}", peer.who.name);
            assert_eq!(store.submit(&first).unwrap(), How::Replayed, "{}", peer.who.name);
            assert_eq!(store.submit(&other).unwrap(), How::Conflict, "{}", peer.who.name);
            let many = [second.clone(), first.clone(), other.clone(), second.clone()];
            let answers = store.submit_many(&many).unwrap();
            let expected = [How::Fresh, How::Replayed, How::Conflict, How::Replayed];
            assert_eq!(answers, expected, "{}", peer.who.name);
            drop(store);
            let store = (peer.open)(&path).unwrap();
            let answers = store.submit_many(&[first, second]).unwrap();
            assert_eq!(answers, [How::Replayed; 2], "{}", peer.who.name);
        }
    }

    /// How the syncs are counted: see benches/README.md.
    #[test]
    #[ignore = "to be run under strace, which does the counting"]
    fn a_hundred_submits_of_each_peer() {
        let dir = Dir::new("syncs").unwrap();
        for peer in PEERS {
            let path = dir.join(peer.who.name);
            std::fs::create_dir(&path).unwrap();
            let store = (peer.open)(&path).unwrap();
            for _ in 0..100 {
                assert_eq!(store.submit(&order()).unwrap(), How::Fresh);
            }
        }
    }
}
