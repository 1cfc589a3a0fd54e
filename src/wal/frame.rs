//! One record inside a group: its frame in front of its body. The layout is in [`format`](super::format).
//!
//! Always true: the checksum covers the segment's nonce and the record's seq as well as the bytes, so a
//! record that lies in the wrong place is not taken for another; a length is held against its bound and
//! the rest of the buffer before it is used.

use super::format::FRAME_BYTES;
use crate::bytes::{Fields, PutFields, to_u32, to_usize};
use crate::order::limits::RECORD_BODY_BYTES_MAX;
use crate::order::{Seq, Timestamp};

/// A record as it lies in the log: what the log knows of it, and a body it does not look into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) seq: Seq,
    pub(crate) at: Timestamp,
    pub(crate) kind: u8,
    pub(crate) version: u8,
    pub(crate) body: &'a [u8],
}

fn checksum(nonce: u64, seq: Seq, head: &[u8], body: &[u8]) -> u32 {
    let mut place = [0; 16];
    let (left, right) = place.split_at_mut(8);
    left.copy_from_slice(&nonce.to_le_bytes());
    right.copy_from_slice(&seq.0.to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&place);
    crc.update(head);
    crc.update(body);
    crc.finalize()
}

impl Frame<'_> {
    /// Bytes on disk of a record with a body of this size.
    pub(crate) const fn bytes_for(body_bytes: usize) -> usize {
        FRAME_BYTES + body_bytes
    }

    /// Appends the record to `group`.
    pub(crate) fn encode(&self, nonce: u64, group: &mut Vec<u8>) {
        let start = group.len();
        group
            .put_u32(to_u32(self.body.len()))
            .put(&[self.kind, self.version, 0, 0])
            .put_u64(self.at.as_unix_ns());
        let crc = checksum(nonce, self.seq, group.get(start..).unwrap_or_default(), self.body);
        group.put_u32(crc).put(self.body);
    }
}

/// The length of the whole record (frame and body) that begins with `head`; `None` when no record
/// begins so.
pub(crate) fn record_bytes(head: &[u8]) -> Option<usize> {
    let body_bytes = to_usize(u64::from(Fields(head).u32()?));
    (1..=RECORD_BODY_BYTES_MAX).contains(&body_bytes).then_some(FRAME_BYTES + body_bytes)
}

/// The valid record at the front of `bytes`, and what follows it.
pub(crate) fn decode(bytes: &[u8], nonce: u64, seq: Seq) -> Option<(Frame<'_>, &[u8])> {
    let (record, rest) = bytes.split_at_checked(record_bytes(bytes)?)?;
    let (head, body) = record.split_at_checked(FRAME_BYTES)?;
    let (head, crc) = head.split_last_chunk::<4>()?;
    let mut fields = Fields(head);
    fields.u32()?;
    let [kind, version, reserved @ ..] = fields.array::<4>()?;
    let at = Timestamp::from_unix_ns(fields.u64()?);
    let valid = kind != 0
        && version != 0
        && reserved == [0, 0]
        && u32::from_le_bytes(*crc) == checksum(nonce, seq, head, body);
    valid.then_some((Frame { seq, at, kind, version, body }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        let frame = Frame {
            seq: Seq(7),
            at: Timestamp::from_unix_ns(9),
            kind: 1,
            version: 1,
            body: b"tea",
        };
        frame.encode(5, &mut bytes);
        bytes
    }

    #[test]
    fn a_record_comes_back_and_leaves_what_follows() {
        let mut bytes = sample();
        bytes.extend(b"rest");
        let (frame, rest) = decode(&bytes, 5, Seq(7)).unwrap();
        assert_eq!((frame.kind, frame.body, rest), (1, &b"tea"[..], &b"rest"[..]));
    }

    #[test]
    fn rule_18_every_single_bit_and_the_place_are_covered() {
        let bytes = sample();
        for bit in 0..bytes.len() * 8 {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bent, 5, Seq(7)), None, "bit {bit}");
        }
        assert_eq!(decode(&bytes, 6, Seq(7)), None, "another segment");
        assert_eq!(decode(&bytes, 5, Seq(8)), None, "another place");
    }

    #[test]
    fn rule_19_zeros_are_never_a_record() {
        assert_eq!(decode(&[0; 4096], 0, Seq(0)), None);
        assert_eq!(record_bytes(&[0; 64]), None);
    }

    #[test]
    fn rule_20_a_length_is_bounded_before_it_is_used() {
        let mut huge = sample();
        huge[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(record_bytes(&huge), None);
        assert_eq!(decode(&huge, 5, Seq(7)), None);
        assert_eq!(decode(&sample()[..15], 5, Seq(7)), None);
    }
}
