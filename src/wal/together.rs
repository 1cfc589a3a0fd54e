//! Records that are asked for together: neighbours in the log come with one read of the file.
//!
//! Why: a read costs half a microsecond however few bytes it takes, and a batch that is submitted again
//! lies in one piece.
//!
//! Always true: what is in here was below the readable border before it was read (I3), and has passed its
//! checks under its own seq. What can't be had this way, for whatever reason, is not in here: the caller reads it
//! by itself, and is told why. At most [`READ_BYTES_MAX`] are kept for one call, and no more are read at once.

use std::ops::Range;

use super::format::{GROUP_HEADER_BYTES, round_up};
use super::frame::{self, Frame};
use super::log::Log;
use super::segment::{RecordAt, Segment};
use crate::bytes::to_usize;
use crate::order::{Seq, Timestamp};

/// Bytes of records that are read for one call.
const READ_BYTES_MAX: usize = 256 * 1024;
/// Records further apart than this are read on their own: copying what lies between costs as much as a read.
const APART_MAX: u64 = 16;
/// Read of a record when it is not known where the next one begins.
const LAST_READ_BYTES: u64 = 1024;

/// Records that were read and checked.
#[derive(Debug, Default)]
pub(crate) struct Together {
    bytes: Vec<u8>,
    /// Sorted by seq.
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    seq: Seq,
    at: Timestamp,
    kind: u8,
    version: u8,
    /// Of the body, in the bytes.
    body: Range<usize>,
}

impl Together {
    /// The record of `seq`; `None` when it has to be read by itself.
    pub(crate) fn get(&self, seq: Seq) -> Option<Frame<'_>> {
        let index = self.places.binary_search_by_key(&seq, |place| place.seq).ok()?;
        let Place { at, kind, version, body, .. } = self.places.get(index)?;
        let body = self.bytes.get(body.clone())?;
        Some(Frame { seq, at: *at, kind: *kind, version: *version, body })
    }

    /// Reads as many of these records as lie close together from the first on; all are of this segment.
    /// Answers how many are done, whether they were read or not.
    fn read(&mut self, segment: &Segment, seqs: &[Seq]) -> usize {
        let apart = |pair: &[Seq]| matches!(pair, [one, next] if next.0 - one.0 > APART_MAX);
        let mut count = seqs.windows(2).take_while(|pair| !apart(pair)).count() + 1;
        let Some((start, mut end)) = seqs.get(..count).and_then(|near| span(segment, near)) else {
            return 1;
        };
        let room = READ_BYTES_MAX.saturating_sub(self.bytes.len()) as u64;
        while end - start > room && count > 1 {
            count /= 2;
            end = match seqs.get(..count).and_then(|near| span(segment, near)) {
                Some((_, end)) => end,
                None => return count,
            };
        }
        if end - start > room {
            return count;
        }
        let base = self.bytes.len();
        if !segment.add_kept(&mut self.bytes, start, to_usize(end - start)) {
            self.bytes.resize(base + to_usize(end - start), 0);
            let target = self.bytes.get_mut(base..).unwrap_or_default();
            let read = segment.read_up_to(target, start).unwrap_or(0);
            self.bytes.truncate(base + read);
        }
        let mut last: Option<(Seq, u64)> = None;
        for seq in seqs.iter().take(count).copied() {
            // Behind the one before it, or at the front of the next group: else its place is asked for.
            let guesses = last.filter(|(before, _)| before.next() == seq).map(|(_, end)| {
                let align = u64::from(segment.header.group_align);
                [end, round_up(end, align) + GROUP_HEADER_BYTES as u64]
            });
            let known = guesses.into_iter().flatten().find_map(|offset| {
                self.take(segment.header.nonce, seq, base, offset.checked_sub(start)?)
            });
            let found = known.or_else(|| {
                let place = segment.place_of(seq).ok().flatten()?;
                self.take(segment.header.nonce, seq, base, place.offset.checked_sub(start)?)
            });
            last = found.map(|end| (seq, start + end));
        }
        count
    }

    /// Takes in the record of `seq` if it lies there; answers where it ends, counted from `base`.
    fn take(&mut self, nonce: u64, seq: Seq, base: usize, offset: u64) -> Option<u64> {
        let start = base.checked_add(to_usize(offset))?;
        let (frame, _) = frame::decode(self.bytes.get(start..)?, nonce, seq)?;
        let Frame { at, kind, version, body, .. } = frame;
        let end = start + Frame::bytes_for(body.len());
        self.places.push(Place { seq, at, kind, version, body: end - body.len()..end });
        Some((end - base) as u64)
    }
}

impl Log {
    /// The records of these seqs, which are sorted, each once.
    ///
    /// **Cost**: one read for each run of neighbours.
    pub(crate) fn read_together(&self, seqs: &[Seq]) -> Together {
        let readable_next = self.readable_next();
        let mut together = Together::default();
        let readable = seqs.partition_point(|seq| *seq < readable_next);
        let mut rest = seqs.get(..readable).unwrap_or_default();
        while let Some(first) = rest.first().filter(|seq| seq.0 > 0) {
            let Some((segment, next_first)) = self.segment_of(*first) else { break };
            let within = rest.partition_point(|seq| next_first.is_none_or(|next| *seq < next));
            let done = together.read(segment, rest.get(..within).unwrap_or_default());
            rest = rest.get(done..).unwrap_or_default();
        }
        together
    }
}

/// Where the first of these records begins, and the last ends or is likely to end.
fn span(segment: &Segment, seqs: &[Seq]) -> Option<(u64, u64)> {
    let place = |seq: Option<&Seq>| segment.place_of(*seq?).ok().flatten();
    let start = place(seqs.first())?.offset;
    let RecordAt { offset, ends_before, groups_end } = place(seqs.last())?;
    let end = ends_before.unwrap_or_else(|| (offset + LAST_READ_BYTES).min(groups_end));
    // A table that lies is found out by the record.
    (start < end).then_some((start, end))
}

#[cfg(test)]
mod tests;
