//! A disk, a clock and a dice in memory: everything a real disk does to a log, on demand and repeatable.
//!
//! ```
//! use order_ledger::disk::Open;
//! use order_ledger::disk::sim::{Crash, CrashMode, SimDisk};
//!
//! # fn main() -> std::io::Result<()> {
//! let disk = SimDisk::new(1);
//! let mounted = disk.as_disk();
//! let file = mounted.open("log", Open::CreateNew)?;
//! file.write_at(b"order 1", 0)?;
//! file.sync()?; // the bytes are safe now, the name is not: nobody synced the directory
//! disk.crash(Crash::new(CrashMode::DropAll, 7));
//!
//! assert!(file.sync().is_err()); // handles die with the power
//! let error = disk.as_disk().open("log", Open::Read).unwrap_err();
//! assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
//! # Ok(())
//! # }
//! ```
//!
//! # The fault model
//!
//! What is made here happens to real ledgers; recovery must survive it because the callers of `submit`
//! were told that their orders are safe.
//!
//! **Power cuts** ([`SimDisk::crash`]). Between two syncs the kernel writes back what it wants when it
//! wants, and the device reorders that once more. So each 512-byte sector that was written and not synced
//! survives or not, by itself. Of several writes to one sector the first ones survive, any number of them,
//! as a sector is written back as it stands in the cache. A sector may be torn: the old and the new bytes
//! meet at some byte. Bytes outside the range of a write never change (power-safe overwrite, which SQLite
//! assumes too), unless [`Crash::garbage`] says that this device does not promise it: recovery then needs
//! groups padded to whole blocks.
//!
//! **Sizes** are metadata: a file may have grown without its bytes (they read as zeros) or have its bytes
//! without having grown (they are gone). What a cut of the file removed comes back only if the cut itself
//! did not survive.
//!
//! **Space** is metadata of its own, too: the blocks that a write needs for the first time are given to the
//! file in order, and bytes whose block was not are gone, whether they were written or not. Space without
//! its bytes reads as zeros and is taken; on a file system that does not write data before metadata
//! ([`Crash::stale`]) it shows what somebody else once wrote there.
//!
//! **Names** are not files. Creating, renaming or removing is pending until *the directory* was synced;
//! syncing the file changes nothing about that. Of one name's changes the first ones survive, any number;
//! changes of different names are independent; a rename is seen whole or not at all, and between two
//! directories it is safe when both were synced. Real file systems are kinder
//! ([`CrashMode::Ext4Like`]) and hide the missing directory sync until the day they do not.
//!
//! **Kills** ([`SimDisk::kill`]). The process is gone and its page cache is not: the next one reads bytes
//! that no sync ever covered, and must not believe that they are durable.
//!
//! **Failed syncs** ([`Fault::Eio`] and others). Linux marks the pages clean: the bytes will never reach
//! the disk, the cache goes on showing them, and the next sync answers Ok. Each handle that was open is told once, so another one's next sync fails as
//! well; a handle that is opened later is told nothing. Only dropping the cache shows
//! the truth, hence the rules never to retry a sync and to read the unproven tail past the cache. The size
//! stays pending. Names stay pending too when the sync of a directory fails: a file system whose
//! journal fails goes read-only, it does not lie.
//!
//! **Errors of other calls** by their number ([`SimDisk::fail_call`], [`SimDisk::fail_from`]), so that a
//! test can go through all calls of a scenario; a failed write leaves any part of itself behind, a short
//! one says how much; [`Fault::EioLate`] is the error of a call that did its work. **A full disk**
//! ([`SimDisk::set_capacity`]) takes the part of a write that fits; sectors that were ever written,
//! with zeros too, can always be written again, which is why segments are zero-filled ahead.
//!
//! **Time.** A call may take as long as it likes ([`SimDisk::slow_call`]); what is due by the clock then
//! falls between other orders.
//!
//! **Lies and rot.** A sync may answer Ok although one write did not arrive
//! ([`SimDisk::lose_write`]) or went somewhere else ([`SimDisk::misdirect_write`]); durable bytes change
//! ([`SimDisk::flip_bit`] and its neighbours) or cannot be read ([`SimDisk::fail_reads`]). Recovery
//! cannot undo these; it must notice, and never take them for the end of the log.
//!
//! # Always true
//!
//! Everything follows from the seeds and the order of the calls: the same seeds and the same calls give the
//! same disk. (Threads that call at the same time make their order random, and so the outcome, unless a scheduler
//! orders them: each call is a point at which it may, see `crate::sync`.) A failing
//! seed is a bug report.

mod crash;
mod damage;
mod device;
mod disk_calls;
mod faults;
mod file;
mod file_calls;
mod host;
mod image;
mod mount;
mod names;
mod prng;
mod state;
#[cfg(test)]
mod tests;

pub use crash::{Crash, CrashMode, CrashReport};
pub use device::{SimDisk, Snapshot};
pub use faults::Fault;
pub use host::SimHost;
pub use image::SECTOR_BYTES;
