//! How far the log was once durable: a witness, kept apart from the log.
//!
//! A log that was cut exactly between two groups looks whole. This file says how far it reached, so that
//! the cut is seen: a valid manifest that is ahead of the log proves that the log lost data. One that is
//! behind, missing, damaged or of another ledger proves nothing and is written anew.
//!
//! `derived/tables/MANIFEST`, little-endian: magic `OLEDMAN\n`, version u32, ledger 16 bytes, next_seq
//! u64, next_group u64, CRC-32 of what is before. Written aside, synced, renamed; only ever with
//! positions that were durable before.

use std::io;

use crate::bytes::{Fields, PutFields};
use crate::disk::{self, Disk};
use crate::order::{LedgerId, Seq};

const MAGIC: &[u8; 8] = b"OLEDMAN\n";
const VERSION: u32 = 1;
const BYTES: usize = 8 + 4 + 16 + 8 + 8 + 4;

/// Directory of everything that is derived.
pub(crate) const DERIVED_DIR: &str = "derived";
/// Directory of the manifest.
pub(crate) const TABLES_DIR: &str = "derived/tables";
/// Name of the manifest.
pub(crate) const NAME: &str = "MANIFEST";

/// A position that the log had reached and made durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Manifest {
    pub(crate) ledger: LedgerId,
    pub(crate) next_seq: Seq,
    pub(crate) next_group: u64,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes
            .put(MAGIC)
            .put_u32(VERSION)
            .put(&self.ledger.0)
            .put_u64(self.next_seq.0)
            .put_u64(self.next_group);
        let crc = crc32fast::hash(&bytes);
        bytes.put_u32(crc);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Manifest> {
        let (content, crc) = bytes.split_last_chunk::<4>()?;
        if bytes.len() != BYTES || u32::from_le_bytes(*crc) != crc32fast::hash(content) {
            return None;
        }
        let mut fields = Fields(content);
        if fields.array()? != *MAGIC || fields.u32()? != VERSION {
            return None;
        }
        Some(Manifest {
            ledger: LedgerId(fields.array()?),
            next_seq: Seq(fields.u64()?),
            next_group: fields.u64()?,
        })
    }

    /// The manifest on disk, when there is a valid one. A missing or damaged one is `None`, and so is one
    /// that can't be read: it is a second witness, and the log itself is read strictly.
    pub(crate) fn read(disk: &dyn Disk) -> Option<Manifest> {
        let path = disk::join(TABLES_DIR, NAME);
        Manifest::decode(&disk::read_file(disk, &path, BYTES).ok()?)
    }

    /// Puts the manifest in place of the one before.
    pub(crate) fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        disk::replace_file(disk, TABLES_DIR, NAME, &self.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_comes_back_and_a_bent_one_does_not() {
        let manifest = Manifest { ledger: LedgerId([7; 16]), next_seq: Seq(300), next_group: 41 };
        let bytes = manifest.encode();
        assert_eq!(bytes.len(), BYTES);
        assert_eq!(Manifest::decode(&bytes), Some(manifest));
        for bit in 0..bytes.len() * 8 {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Manifest::decode(&bent), None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(Manifest::decode(&bytes[..length]), None, "{length} bytes");
        }
    }

    /// Magic, version and length count even under a checksum that holds.
    #[test]
    fn what_another_program_wrote_is_no_manifest() {
        let close = |mut bytes: Vec<u8>| {
            let crc = crc32fast::hash(&bytes);
            bytes.put_u32(crc);
            bytes
        };
        let manifest = Manifest { ledger: LedgerId([7; 16]), next_seq: Seq(300), next_group: 41 };
        let content = manifest.encode()[..BYTES - 4].to_vec();
        assert_eq!(Manifest::decode(&close(content.clone())), Some(manifest));
        for byte in [0, 8] {
            let mut other = content.clone();
            other[byte] ^= 2;
            assert_eq!(Manifest::decode(&close(other)), None, "byte {byte}");
        }
        let longer = [content.as_slice(), &[0; 4]].concat();
        assert_eq!(Manifest::decode(&close(longer)), None);
    }
}
