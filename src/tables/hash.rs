//! Keys become 64-bit numbers: SipHash-2-4 under a secret of the ledger, over the length-prefixed
//! client and key. The secret keeps a hostile client from choosing keys that collide; the length keeps
//! `("ab", "c")` and `("a", "bc")` apart.
//!
//! Stored in sealed segments, so it may never change within a format version.

use siphasher::sip::SipHasher24;

use crate::order::limits::{CLIENT_BYTES_MAX, KEY_BYTES_MAX};

/// What is hashed of the longest client and key.
const ROW_BYTES_MAX: usize = 8 + CLIENT_BYTES_MAX + KEY_BYTES_MAX;

/// The hash of a (client, key). Two keys may share one; the log tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct KeyHash(pub(crate) u64);

/// Hashes keys under the ledger's secret.
#[derive(Clone)]
pub(crate) struct KeyHasher {
    secret: [u8; 16],
}

impl std::fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHasher(secret)")
    }
}

impl KeyHasher {
    pub(crate) fn new(secret: [u8; 16]) -> KeyHasher {
        KeyHasher { secret }
    }

    pub(crate) fn hash(&self, client: &[u8], key: &[u8]) -> KeyHash {
        // In one row: the hasher takes whole words of one, and puts together those of several.
        let mut row = [0; ROW_BYTES_MAX];
        let parts = [&(client.len() as u64).to_le_bytes()[..], client, key];
        let mut bytes = 0;
        for part in parts {
            if let Some(room) = row.get_mut(bytes..).and_then(|rest| rest.get_mut(..part.len())) {
                room.copy_from_slice(part);
            }
            bytes += part.len();
        }
        let hasher = SipHasher24::new_with_key(&self.secret);
        KeyHash(match row.get(..bytes) {
            Some(row) => hasher.hash(row),
            // Longer than any key can be.
            None => hasher.hash(&parts.concat()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use super::*;

    #[test]
    fn the_border_between_client_and_key_counts() {
        let hasher = KeyHasher::new([7; 16]);
        assert_ne!(hasher.hash(b"ab", b"c"), hasher.hash(b"a", b"bc"));
    }

    /// A key beyond its limit is never stored, but may be asked for.
    #[test]
    fn keys_of_every_length_have_a_hash_of_their_own() {
        let hasher = KeyHasher::new([7; 16]);
        let bytes = [3; 1000];
        let hashes: std::collections::HashSet<_> = (0..1000)
            .map(|length| hasher.hash(&bytes[..length / 3], &bytes[length / 3..length]))
            .collect();
        assert_eq!(hashes.len(), 1000);
        for (client, key) in [(64, 255), (64, 256), (65, 255)] {
            let mut whole = SipHasher24::new_with_key(&[7; 16]);
            whole.write(&(client as u64).to_le_bytes());
            whole.write(&bytes[..client + key]);
            assert_eq!(hasher.hash(&bytes[..client], &bytes[..key]), KeyHash(whole.finish()));
        }
    }

    /// Stored on disk: this number may never change. Checked against an independent SipHash-2-4.
    #[test]
    fn the_hash_is_the_one_that_old_segments_hold() {
        let hasher = KeyHasher::new([7; 16]);
        assert_eq!(hasher.hash(b"web", b"cart-17"), KeyHash(15_883_892_292_257_072_551));
    }
}
