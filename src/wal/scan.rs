//! Reads the groups of one segment from front to back and says how they end.
//!
//! Decides nothing: what a bad group *means* (torn or rot) is `recovery`'s question. This module only
//! gathers what that decision needs: where the valid groups end, whether anything but zeros follows, and
//! whether a later group proves that the bad one was durable.

use std::io;

use super::format::{
    BLOCK_LEN, GROUP_BODY_BYTES_MAX, GROUP_HEADER_BYTES, GROUP_MAGIC, GROUPS_START, GroupHeader,
    SegmentHeader,
};
use super::frame::{self, Frame};
use crate::bytes::to_usize;
use crate::disk::{DiskFile, read_up_to};
use crate::order::{Seq, Timestamp};

/// Bytes per read while looking for what follows the last valid group.
const LOOK_AHEAD_BYTES: usize = 1024 * 1024;

/// Where the log stands between two groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Position {
    /// Offset in the segment's file.
    pub(crate) offset: u64,
    pub(crate) next_seq: Seq,
    pub(crate) next_group: u64,
    /// Header CRC of the group before, or the CRC of the segment header.
    pub(crate) link: u32,
    /// Time of the last record, 0 when there is none.
    pub(crate) last_at: Timestamp,
    /// Whether the group before is a seal (or there is none in this segment).
    pub(crate) sealed: bool,
}

impl Position {
    /// Where a segment begins.
    pub(crate) fn start(header: &SegmentHeader, header_crc: u32, last_at: Timestamp) -> Position {
        Position {
            offset: GROUPS_START,
            next_seq: header.first_seq,
            next_group: header.first_group,
            link: header_crc,
            last_at,
            sealed: true,
        }
    }
}

/// How the groups of a segment end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ScanEnd {
    /// After the last valid group.
    pub(crate) position: Position,
    /// What is wrong with the group that follows; `None` when only zeros follow.
    pub(crate) bad: Option<Bad>,
    /// What follows is a whole header with flags that this program does not know: a newer version's group,
    /// and no torn one.
    pub(crate) newer: bool,
    pub(crate) groups: u64,
}

/// A group that is not valid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bad {
    pub(crate) what: &'static str,
    /// One after the last byte that is not zero.
    pub(crate) dirty_end: u64,
    /// A later group's header: the proof that the bad group had been durable.
    pub(crate) proof: Option<Proof>,
}

/// The header of a group that was written later than the one that is bad.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Proof {
    pub(crate) offset: u64,
    pub(crate) group: u64,
    pub(crate) durable_next_seq: Seq,
}

/// A valid group, handed to the visitor of a scan.
pub(crate) struct Group<'a> {
    pub(crate) header: GroupHeader,
    /// Where the group begins in the file.
    pub(crate) offset: u64,
    body: &'a [u8],
}

impl<'a> Group<'a> {
    /// Its records with the offset of each frame in the file. All are valid.
    pub(crate) fn records(&self) -> impl Iterator<Item = (u64, Frame<'a>)> + use<'a> {
        let (nonce, mut seq, mut rest) = (self.header.nonce, self.header.first_seq, self.body);
        let mut offset = self.offset + GROUP_HEADER_BYTES as u64;
        std::iter::from_fn(move || {
            let (frame, behind) = frame::decode(rest, nonce, seq)?;
            let at = offset;
            offset += (rest.len() - behind.len()) as u64;
            rest = behind;
            seq = seq.next();
            Some((at, frame))
        })
    }
}

/// Scans the groups of a segment from `from` up to `end` (the end of the file, or of its groups).
///
/// # Errors
/// Only those of reading: a read error is never taken for the end of the log.
pub(crate) fn scan(
    file: &dyn DiskFile,
    header: &SegmentHeader,
    from: Position,
    end: u64,
    mut visit: impl FnMut(&Group<'_>),
) -> io::Result<ScanEnd> {
    let mut position = from;
    let (mut groups, mut newer) = (0, false);
    let mut body = Vec::new();
    let what = loop {
        let mut head = [0; GROUP_HEADER_BYTES];
        let read = read_up_to(file, &mut head, position.offset)?;
        let room = end.saturating_sub(position.offset);
        if room < GROUP_HEADER_BYTES as u64 || read < GROUP_HEADER_BYTES {
            // Less than a header before the end: nothing can have been written here.
            break "the rest of the segment is too short for a group";
        }
        let Some((group, crc)) = GroupHeader::decode(&head, header.nonce) else {
            newer = GroupHeader::is_newer(&head, header.nonce);
            break "the group header is not valid";
        };
        if let Err(what) = continues(&group, &position, header, room) {
            break what;
        }
        let padded = group.padded_bytes(header.group_align);
        body.resize(to_usize(padded) - GROUP_HEADER_BYTES, 0);
        let read = read_up_to(file, &mut body, position.offset + GROUP_HEADER_BYTES as u64)?;
        if read < body.len() || crc32fast::hash(&body) != group.body_crc {
            break "the checksum of the group's records does not hold";
        }
        let records = body.get(..to_usize(u64::from(group.body_bytes))).unwrap_or_default();
        let valid = Group { header: group, offset: position.offset, body: records };
        match check_records(&valid, position.last_at) {
            Ok(last_at) => position.last_at = last_at,
            Err(what) => break what,
        }
        visit(&valid);
        position.sealed = valid.header.count == 0;
        position.next_seq = valid.header.next_seq();
        position.next_group += 1;
        position.link = crc;
        position.offset += padded;
        groups += 1;
    };
    let bad = look_ahead(file, header, &position, end, what)?;
    Ok(ScanEnd { position, bad, newer, groups })
}

/// Conditions (2) and (3) of a valid group.
fn continues(
    group: &GroupHeader,
    position: &Position,
    header: &SegmentHeader,
    room: u64,
) -> Result<(), &'static str> {
    if group.group != position.next_group {
        return Err("the group's number does not follow the one before");
    }
    if group.first_seq != position.next_seq || group.durable_next_seq != position.next_seq {
        return Err("the group's first seq does not follow the one before");
    }
    if group.link != position.link {
        return Err("the group does not link to the one before");
    }
    let bounded = to_usize(u64::from(group.body_bytes)) <= GROUP_BODY_BYTES_MAX;
    if !bounded || group.padded_bytes(header.group_align) > room {
        return Err("the group's length goes beyond its bounds");
    }
    Ok(())
}

/// Condition (5): the records fill the body exactly, and time moves forward. Answers the last time.
fn check_records(group: &Group<'_>, mut last_at: Timestamp) -> Result<Timestamp, &'static str> {
    let (mut count, mut bytes) = (0u64, 0usize);
    for (_, frame) in group.records() {
        if frame.at <= last_at {
            return Err("a record's time does not follow the one before");
        }
        last_at = frame.at;
        count += 1;
        bytes += Frame::bytes_for(frame.body.len());
    }
    if count != u64::from(group.header.count) || bytes != group.body.len() {
        return Err("the group's records do not fill it");
    }
    Ok(last_at)
}

/// What lies behind the last valid group: nothing but zeros, or a bad group and what proves it.
fn look_ahead(
    file: &dyn DiskFile,
    header: &SegmentHeader,
    position: &Position,
    end: u64,
    what: &'static str,
) -> io::Result<Option<Bad>> {
    let mut dirty_end = None;
    let mut proof = None;
    // The tail of each chunk is carried over, so that a header across two chunks is met.
    let mut window: Vec<u8> = Vec::new();
    let mut window_offset = position.offset;
    let mut next = position.offset;
    while next < end {
        let wanted = to_usize(end - next).min(LOOK_AHEAD_BYTES);
        let kept = window.len();
        window.resize(kept + wanted, 0);
        let fresh = window.get_mut(kept..).unwrap_or_default();
        let read = read_up_to(file, fresh, next)?;
        window.truncate(kept + read);
        let fresh = window.get(kept..).unwrap_or_default();
        if let Some(last) = last_dirty(fresh) {
            dirty_end = Some(next + last as u64 + 1);
        }
        if proof.is_none() && last_dirty(&window).is_some() {
            proof = find_proof(&window, window_offset, header, position);
        }
        if read < wanted {
            break;
        }
        next += read as u64;
        // Keep less than a header, from an offset that is a multiple of the alignment.
        let keep = (GROUP_HEADER_BYTES - 8).min(window.len());
        window_offset += (window.len() - keep) as u64;
        window.drain(..window.len() - keep);
    }
    Ok(dirty_end.map(|dirty_end| Bad { what, dirty_end, proof }))
}

/// The index of the last byte that is not zero.
fn last_dirty(bytes: &[u8]) -> Option<usize> {
    // Whole blocks first: comparing 4 KiB against zeros is one vectorised pass, byte by byte is not.
    const ZEROS: [u8; BLOCK_LEN] = [0; BLOCK_LEN];
    let mut end = bytes.len();
    for chunk in bytes.rchunks(ZEROS.len()) {
        if Some(chunk) != ZEROS.get(..chunk.len()) {
            let start = end - chunk.len();
            return chunk.iter().rposition(|byte| *byte != 0).map(|index| start + index);
        }
        end -= chunk.len();
    }
    None
}

/// The first header in `window` of a group that is later than the one expected at `position`.
fn find_proof(
    window: &[u8],
    window_offset: u64,
    header: &SegmentHeader,
    position: &Position,
) -> Option<Proof> {
    let step = to_usize(u64::from(super::format::GROUP_ALIGN_MIN));
    window.windows(GROUP_HEADER_BYTES).step_by(step).enumerate().find_map(|(index, bytes)| {
        if !bytes.starts_with(&GROUP_MAGIC) {
            return None;
        }
        let (group, _) = GroupHeader::decode(bytes, header.nonce)?;
        let later = group.group > position.next_group && group.first_seq >= position.next_seq;
        later.then(|| Proof {
            offset: window_offset + (index * step) as u64,
            group: group.group,
            durable_next_seq: group.durable_next_seq,
        })
    })
}

#[cfg(test)]
mod tests;
