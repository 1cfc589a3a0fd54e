//! `LEDGER`: who a ledger is. Written once, when everything else of a new ledger is in place, so that
//! "there is a LEDGER" means "there is a segment 1".
//!
//! Little-endian: magic `OLEDGER\n`, version u32, durability u32, ledger id 16 bytes, secret of the key
//! hashes 16 bytes, created_at u64 (nanoseconds since 1970), partition u32, CRC-32 of what is before.

use std::io;

use crate::bytes::{Fields, PutFields};
use crate::disk::{self, Disk, Host};
use crate::error::{Damage, Error, ErrorKind, Result};
use crate::order::{Durability, LedgerId, Timestamp};
use crate::wal::format;
use crate::wal::issuer::Issuer;

/// Name of the file.
pub(crate) const NAME: &str = "LEDGER";
const MAGIC: &[u8; 8] = b"OLEDGER\n";
const BYTES: usize = 8 + 4 + 4 + 16 + 16 + 8 + 4 + 4;

/// The identity of a ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    pub(crate) issuer: Issuer,
    /// Under which keys are hashed: random, and never shown.
    pub(crate) secret: [u8; 16],
    pub(crate) created_at: Timestamp,
}

impl Identity {
    /// A new identity.
    pub(crate) fn make(host: &dyn Host, durability: Durability) -> Identity {
        let (mut id, mut secret) = ([0; 16], [0; 16]);
        host.fill_random(&mut id);
        host.fill_random(&mut secret);
        Identity {
            issuer: Issuer { ledger: LedgerId(id), durability, partition: 0 },
            secret,
            created_at: Timestamp::from_unix_ns(host.wall_ns()),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes
            .put(MAGIC)
            .put_u32(format::VERSION)
            .put_u32(u32::from(self.issuer.durability.number()))
            .put(&self.issuer.ledger.0)
            .put(&self.secret)
            .put_u64(self.created_at.as_unix_ns())
            .put_u32(u32::from(self.issuer.partition));
        let crc = crc32fast::hash(&bytes);
        bytes.put_u32(crc);
        bytes
    }

    /// The identity in `bytes`.
    ///
    /// # Errors
    /// `NotALedger`, `NewerFormat`, or `Corrupt` when it was one and is damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Identity> {
        let damaged = |what: &str| {
            Error::new(ErrorKind::Corrupt(Damage {
                file: NAME.to_owned(),
                offset: None,
                first_seq: None,
                last_seq: None,
                what: what.to_owned(),
            }))
        };
        let mut fields = Fields(bytes);
        if fields.array() != Some(*MAGIC) {
            return Err(damaged("the magic bytes are missing"));
        }
        let version = fields.u32().ok_or_else(|| damaged("the file is too short"))?;
        // A newer version may have another length and another checksum: all that is sure is that this
        // program must not touch it. Damage in the version's own bytes looks the same, and "use a newer
        // version" is then wrong advice but a safe refusal.
        if version > format::VERSION {
            return Err(Error::new(ErrorKind::NewerFormat {
                found: version,
                known: format::VERSION,
            }));
        }
        let (content, crc) =
            bytes.split_last_chunk::<4>().ok_or_else(|| damaged("the file is too short"))?;
        if bytes.len() != BYTES || u32::from_le_bytes(*crc) != crc32fast::hash(content) {
            return Err(damaged("the checksum does not hold"));
        }
        (|| {
            let durability = Durability::from_number(u8::try_from(fields.u32()?).ok()?)?;
            let ledger = LedgerId(fields.array()?);
            let secret = fields.array()?;
            let created_at = Timestamp::from_unix_ns(fields.u64()?);
            let partition = u16::try_from(fields.u32()?).ok()?;
            let issuer = Issuer { ledger, durability, partition };
            (version == format::VERSION).then_some(Identity { issuer, secret, created_at })
        })()
        .ok_or_else(|| damaged("a field has no valid value"))
    }

    /// The identity of the ledger on `disk`; `None` when the directory has none.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Option<Identity>> {
        match disk::read_file(disk, NAME, 4096) {
            Ok(bytes) => Identity::decode(&bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(Error::new(ErrorKind::NotALedger { what: "LEDGER is far too large".into() }))
            }
            Err(error) => Err(Error::io("reading LEDGER", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimHost;

    #[test]
    fn an_identity_comes_back_and_a_bent_one_does_not() {
        let identity = Identity::make(&SimHost::new(1), Durability::Durable);
        let bytes = identity.encode();
        assert_eq!((bytes.len(), Identity::decode(&bytes).unwrap()), (BYTES, identity));
        for bit in 0..bytes.len() * 8 {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(Identity::decode(&bent).is_err(), "bit {bit}");
        }
        let resized = |content_bytes| {
            let mut bytes = bytes.clone();
            bytes.resize(content_bytes, 0);
            let crc = crc32fast::hash(&bytes);
            bytes.put_u32(crc);
            Identity::decode(&bytes)
        };
        assert!(resized(BYTES - 4).is_ok());
        assert!(resized(BYTES - 5).is_err() && resized(BYTES - 3).is_err());
    }
}
