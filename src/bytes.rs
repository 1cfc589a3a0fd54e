//! Fixed-width little-endian fields: written and taken one after the other, so that no offset is typed
//! by hand. A leaf: knows nothing of what the fields mean.

/// Takes fields off the front of a slice; every call answers `None` when too little is left.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// Whether two rows of bytes are the same: as `==`, but quick for two empty rows. An empty `Vec` points
/// nowhere, and memcmp may look there: glibc's for AVX-512 loads no byte of a page that does not exist, for
/// which the CPU needs 0.1 us and more (measured 2026-11, AMD EPYC, glibc 2.36: a third of what an order of a
/// batch took, as three of its fields are mostly empty).
pub(crate) fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && (left.is_empty() || left == right)
}

/// Appends little-endian fields to a buffer.
pub(crate) trait PutFields {
    fn put(&mut self, bytes: &[u8]) -> &mut Self;

    fn put_u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    fn put_u64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_le_bytes())
    }
}

impl PutFields for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.extend_from_slice(bytes);
        self
    }
}

/// A count of bytes as an index into memory. Saturates: what does not fit into memory fails at the
/// bounds check that follows every use, on the 32-bit machines where it can happen at all.
pub(crate) fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// A length in memory as 32 bits. Saturates: every length that is stored this way has been held against
/// a limit far below 4 GiB before.
pub(crate) fn to_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
