//! The newest groups of a segment, kept in memory: what was just written is read again soon, by a retry, by
//! a step of the order, by the views and by consumers; and a write past the page cache leaves nothing there.
//!
//! Always true: it holds groups that are durable, as they lie in the file, one behind the other; a copy of
//! the file's end that may be thrown away at any time.

use std::collections::VecDeque;

use crate::bytes::to_usize;
use crate::sync::RwLock;

/// Bytes of groups that are kept of a segment.
const BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Recent(RwLock<Groups>);

#[derive(Debug, Default)]
struct Groups {
    /// Where each begins in the file, and its bytes.
    groups: VecDeque<(u64, Box<[u8]>)>,
    bytes: usize,
}

impl Recent {
    /// Keeps a group that was written at `offset`, and lets go of the oldest.
    pub(crate) fn keep(&self, offset: u64, group: &[u8]) {
        let mut kept = self.0.write();
        if kept.end() != Some(offset) || group.len() > BYTES_MAX {
            *kept = Groups::default();
        }
        if group.len() > BYTES_MAX {
            return;
        }
        kept.bytes += group.len();
        kept.groups.push_back((offset, group.into()));
        while kept.bytes > BYTES_MAX {
            let Some((_, oldest)) = kept.groups.pop_front() else { break };
            kept.bytes -= oldest.len();
        }
    }

    /// Lets go of all of it.
    pub(crate) fn clear(&self) {
        *self.0.write() = Groups::default();
    }

    /// Reads what is kept from `offset` on; answers how many bytes there were, 0 when it is not kept.
    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let kept = self.0.read();
        let behind = kept.groups.partition_point(|(start, _)| *start <= offset);
        let Some(first) = behind.checked_sub(1) else { return 0 };
        let mut read = 0;
        for (start, group) in kept.groups.range(first..) {
            // Within the first; at the front of those behind it.
            let skip = to_usize((offset + read as u64).saturating_sub(*start));
            let (Some(from), Some(to)) = (group.get(skip..), buffer.get_mut(read..)) else { break };
            let count = from.len().min(to.len());
            for (to, from) in to.iter_mut().zip(from) {
                *to = *from;
            }
            read += count;
            if count < from.len() {
                break;
            }
        }
        read
    }
}

impl Groups {
    fn end(&self) -> Option<u64> {
        self.groups.back().map(|(start, group)| start + group.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(offset: u64, length: usize) -> Vec<u8> {
        (offset..).take(length).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    #[test]
    fn what_is_kept_reads_as_the_file_does() {
        let recent = Recent::default();
        let mut end = 4096;
        for length in [64, 1, 700, 4096, 8, 3000] {
            recent.keep(end, &bytes(end, length));
            end += length as u64;
        }
        for offset in 4000..end + 10 {
            for length in [0, 1, 63, 64, 65, 5000, 10_000] {
                let mut buffer = vec![0; length];
                let read = recent.read(&mut buffer, offset);
                let there = if offset < 4096 { 0 } else { to_usize(end.saturating_sub(offset)) };
                assert_eq!(read, there.min(length), "{length} at {offset}");
                assert!(buffer[..read] == bytes(offset, read), "{length} at {offset}");
            }
        }
        recent.clear();
        assert_eq!(recent.read(&mut [0; 10], 4096), 0);
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stays() {
        let recent = Recent::default();
        let group = vec![7; 1024 * 1024];
        for index in 0..20 {
            recent.keep(index << 20, &group);
            assert!(recent.0.read().bytes <= BYTES_MAX);
        }
        let is_kept = |index: u64| recent.read(&mut [0; 8], index << 20) > 0;
        assert!((12..20).all(is_kept) && !(0..12).any(is_kept) && !is_kept(20));
        // Not right behind the others: they are let go.
        recent.keep(30 << 20, &group);
        assert!(!is_kept(19) && is_kept(30));
        // One that is larger than all that is kept.
        recent.keep(31 << 20, &vec![7; BYTES_MAX + 1]);
        assert!(!is_kept(30) && !is_kept(31));
    }
}
