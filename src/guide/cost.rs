//! # What an order costs
//!
//! Figures of 2026-11-29 on two cores (AMD EPYC, ext4 on a virtual NVMe disk, a durable write of 4 KiB takes
//! 0.08 ms there); how to take them again stands in `benches/README.md`. Yours: `order-ledger bench --dir D`.
//!
//! ## Syncs
//!
//! | what | writes and syncs before it returns |
//! |---|---|
//! | a fresh order | one durable write of whole blocks of 4 KiB, shared by all orders that are handed in while the one before runs |
//! | [`submit_many`](crate::Ledger::submit_many) | the same for each 4 MiB of records |
//! | a replay, a join, a conflict, a read | none |
//! | a full segment (each 64 MiB of records) | two more syncs and a rename, once |
//!
//! A durable write is one call past the page cache on ext4, XFS and btrfs (`O_DIRECT` and `RWF_DSYNC`), and a
//! write and an fdatasync elsewhere; [`Stats::log_writes`](crate::Stats::log_writes) says which. Past the cache
//! a batch takes less CPU and no memory of others, and a lone order takes as long as before, for it waits for
//! the device. The newest 8 MiB are kept in memory; behind that the first read of an order goes to the disk.
//!
//! Behind the back of every caller: zeros for the next segment, in pieces with pauses; two syncs to seal a full
//! segment; a group of 64 bytes and a file of 48 half a second after the last order; merging of key tables, a
//! sync for every 4 MiB of them.
//!
//! ## Bytes on disk
//!
//! | of one order | bytes |
//! |---|---|
//! | its fields, as they are: payload, key, client, kind, account, external ref | |
//! | lengths and numbers in front of them | 11 to 25 |
//! | salt of the fingerprint | 16 |
//! | frame: length, kind, time, checksum | 20 |
//! | where it lies; its key (hash and seq); the filter | 4 + 12 + 1.25 |
//! | its key once more, in the merged tables | up to 13.25 |
//! | its share of the group's header | 64 and up to 7 of padding, divided by the orders of the group |
//!
//! Beside that one prepared segment, and the views (`derived/views`) unless they are
//! [`Off`](crate::Views::Off). Alone in its group an order writes one block of 4 KiB, or two where it crosses
//! into the next; on disk it takes only what the table says, unless groups are padded.
//!
//! ## Memory
//!
//! | what | bytes |
//! |---|---|
//! | orders on their way | their records, at most [`queue_bytes_max`](crate::Options::queue_bytes_max) |
//! | keys of segments that are not sealed yet | 25 to 45 for each order (a slot of a hash map, which is half full at times, and an offset), of at most four segments |
//! | filters of everything sealed | 1.25 for each key: one of an order, one or two of each step |
//! | the newest groups, where they are written past the page cache | 8 MiB for each file that is not sealed |
//! | blocks of key tables, and of orders and steps in sealed segments, that were asked for | at most [`key_memory_bytes`](crate::Options::key_memory_bytes) |
//! | views | what sled takes |
//!
//! ## CPU
//!
//! About 2 us for an order of 256 bytes in a batch of 1,000, on the caller's thread (2.3 GHz, Xeon of 2023): an eighth of
//! it for SHA-256 of the fingerprint, an eighth for writing and syncing the group, a tenth for memory that is taken and given
//! back, the rest in small parts; `benches/README.md` has the profile. Batches allocate once for each order, for its record. A lone order adds its wake-ups. A key is looked for in one filter for
//! each key table, of which [`Stats::key_tables`](crate::Stats::key_tables) tells the number: a dozen for 50
//! million orders.
//!
//! A replay and a conflict read the record that has the key, and compute its fingerprint for the receipt. One by one
//! each is a read of the file, unless the block it lies in is kept in memory. [`submit_many`](crate::Ledger::submit_many) reads what lies side by side in the log
//! with one read: a batch is the quickest when it is sent again as it was sent first.
//!
//! # How to choose
//!
//! - **One order at a time** when somebody waits for each: its price is the sync. Threads share syncs by
//!   themselves: 64 of them take about 15 times as many orders as one.
//! - **[`submit_many`](crate::Ledger::submit_many)** when orders come in lists: 86,000 orders a second in
//!   batches of 10, 384,000 in batches of 100, 520,000 in batches of 1,000, 334,000 in batches of 8,000, which
//!   leave the caches of the CPU (`cargo bench --bench submit`). Above 4 MiB of records a batch becomes several
//!   groups.
//! - **[`submit_deferred`](crate::Ledger::submit_deferred)** when one thread serves many clients, an async one
//!   too: keep 64 or more tickets on their way.
//! - **[`key_memory_bytes`](crate::Options::key_memory_bytes)**: 16 bytes for each order whose key is asked for
//!   again and again, and its record beside it; fresh keys do not need it, they end at the filters.
//! - **[`log_writes`](crate::Options::log_writes)**: [`Cached`](crate::LogWrites::Cached) when most orders are
//!   read, or sent again, within seconds.
//! - **[`segment_bytes`](crate::Options::segment_bytes)**: larger ones are sealed less often and cost more
//!   memory and a longer opening after a crash, which reads the last one.
//!
//! # What the disk must promise
//!
//! - A write that fdatasync, or `RWF_DSYNC`, has confirmed is there after a power cut. A drive or a hypervisor that lies about it
//!   loses orders, and nothing above it can tell in time.
//! - Bytes beside a write stay what they were when the power fails in the middle of it
//!   ([`PowerSafeOverwrite`](crate::GroupPadding::PowerSafeOverwrite)); if yours does not promise this, use
//!   [`Block`](crate::GroupPadding::Block).
//! - It is local: on NFS and other network file systems locks and syncs mean something else.
//! - It has room: orders are refused ([`DiskLow`](crate::ErrorKind::DiskLow)) before it is full.
