//! The rules that a write-ahead log gets wrong (RELIABILITY, section 2), each as a test that fails when
//! the rule is broken. Which rule is tested where: the table in `src/wal/mod.rs`.

mod device;
mod durability;
mod files;
pub(crate) mod forge;
mod format;
mod recovery;
mod steps;
mod torn_or_rot;
