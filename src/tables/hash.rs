//! Keys become 64-bit numbers: SipHash-2-4 under a secret of the ledger, over the length-prefixed
//! client and key. The secret keeps a hostile client from choosing keys that collide; the length keeps
//! `("ab", "c")` and `("a", "bc")` apart.
//!
//! Stored in sealed segments, so it may never change within a format version.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

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
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(&(client.len() as u64).to_le_bytes());
        hasher.write(client);
        hasher.write(key);
        KeyHash(hasher.finish())
    }
}

/// For maps by [`KeyHash`]: takes the 64 bits of a [`KeyHash`] as they are: they are the output of a keyed hash already.
#[derive(Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not called for a u64; correct all the same.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_between_client_and_key_counts() {
        let hasher = KeyHasher::new([7; 16]);
        assert_ne!(hasher.hash(b"ab", b"c"), hasher.hash(b"a", b"bc"));
    }

    /// Stored on disk: this number may never change. Checked against an independent SipHash-2-4.
    #[test]
    fn the_hash_is_the_one_that_old_segments_hold() {
        let hasher = KeyHasher::new([7; 16]);
        assert_eq!(hasher.hash(b"web", b"cart-17"), KeyHash(15_883_892_292_257_072_551));
    }

    /// The hasher of the maps: a hash is taken as it is, and other bytes are not lost.
    #[test]
    fn a_hash_is_taken_as_it_is() {
        let hash = |write: &dyn Fn(&mut AsIs)| {
            let mut hasher = AsIs::default();
            write(&mut hasher);
            hasher.finish()
        };
        assert_eq!(hash(&|hasher| hasher.write_u64(0x1234_5678_9abc_def0)), 0x1234_5678_9abc_def0);
        assert_eq!(hash(&|hasher| hasher.write(&[0x12, 0x34, 0xff])), 0x0012_34ff);
        // The ninth byte meets the first one again.
        assert_eq!(hash(&|hasher| hasher.write(&[1, 0, 0, 0, 0, 0, 0, 0, 3])), 2);
    }
}
