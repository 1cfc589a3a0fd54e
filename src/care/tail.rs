//! What lies behind the groups of a segment: zeros, or the sections and the footer, each compared with
//! what the groups say.
//!
//! The tail follows from the groups alone, so it is made again with the code that seals, and compared
//! block by block. Without a valid footer the tail is judged as what an interrupted sealing leaves
//! behind: every sector is as it was (zeros) or as it was going to be.

use super::groups::Groups;
use super::opened::Opened;
use super::report::{Finding, Severity, at};
use crate::bytes::to_usize;
use crate::disk::read_up_to;
use crate::tables::run;
use crate::wal::format::{
    BLOCK_BYTES, Footer, SECTION_BLOCK_CONTENT, SECTION_OFFSETS, SectionAt, section_block_crc,
};
use crate::wal::segment::{self, Tail};

/// Unit in which a power cut keeps or loses what was written.
const SECTOR_BYTES: u64 = 512;
/// Bytes per read.
const PIECE_BYTES: usize = 256 * 1024;

/// Checks the tail of a segment. `has_keys`: the keys were gathered; `has_next`: another segment
/// follows.
pub(crate) fn check(
    opened: &Opened,
    groups: &Groups,
    has_keys: bool,
    has_next: bool,
    findings: &mut Vec<Finding>,
) {
    let path = &opened.path;
    let expected = groups.whole.then(|| {
        let first_seq = opened.header.first_seq;
        let sections = match has_keys {
            true => run::encode(&groups.keys.sorted(), first_seq),
            false => Vec::new(),
        };
        segment::tail(&opened.header, opened.header_crc, &groups.index, &groups.end, &sections)
    });
    match (&opened.footer, has_next) {
        (Some(footer), _) => {
            if !has_next {
                let place = at(path).seqs(footer.next_seq, None);
                let what = "the segment is sealed, and the one behind it is missing";
                findings.push(place.found(Severity::Log, what));
            }
            sealed(opened, footer, expected.as_ref(), has_keys, findings);
        }
        (None, true) => unsealed(opened, groups, expected.as_ref(), has_keys, findings),
        (None, false) => {
            let made_with = opened.header.file_bytes;
            if opened.bytes != made_with {
                let what =
                    format!("the file has {} bytes and was made with {made_with}", opened.bytes);
                let place = at(path).offset(opened.bytes).seqs(groups.end.next_seq, None);
                findings.push(place.found(Severity::Log, what));
            }
        }
    }
}

/// A valid footer: everything before it must be as it says, and as the groups say.
fn sealed(
    opened: &Opened,
    footer: &Footer,
    expected: Option<&Tail>,
    has_keys: bool,
    findings: &mut Vec<Finding>,
) {
    let footer_at = opened.bytes - BLOCK_BYTES;
    let derived =
        |offset: u64, what: String| at(&opened.path).offset(offset).found(Severity::Derived, what);
    if let Some(expected) = expected {
        // With the keys unknown (LEDGER is damaged) only the offsets could be made again.
        let same_sections = !has_keys || known(footer) == known(&expected.footer);
        let bare = |footer: &Footer| Footer { sections: Vec::new(), ..footer.clone() };
        if bare(footer) != bare(&expected.footer) || !same_sections {
            findings.push(derived(footer_at, "the footer does not agree with the groups".into()));
        }
    }
    let mut offset = footer.groups_end;
    let mut ordered: Vec<SectionAt> = footer.sections.clone();
    ordered.sort_by_key(|section| section.offset);
    for section in &ordered {
        zeros_between(opened, offset, section.offset, findings);
        offset = section.offset.saturating_add(section.blocks().saturating_mul(BLOCK_BYTES));
        if offset > footer_at {
            let what = format!("section {} goes beyond the footer", section.kind);
            findings.push(derived(footer_at, what));
            return;
        }
        check_section(opened, section, expected, findings);
    }
    zeros_between(opened, offset, footer_at, findings);
}

/// The sections whose content is known, as the footer names them.
fn known(footer: &Footer) -> Vec<SectionAt> {
    let is_known = |section: &&SectionAt| (SECTION_OFFSETS..=3).contains(&section.kind);
    footer.sections.iter().filter(is_known).copied().collect()
}

/// Every block of a section: its checksum, and its content when that can be made again.
fn check_section(
    opened: &Opened,
    section: &SectionAt,
    expected: Option<&Tail>,
    findings: &mut Vec<Finding>,
) {
    let made = expected.and_then(|tail| {
        let same = tail.footer.section(section.kind)?;
        let start = to_usize(same.offset.checked_sub(tail.start)?);
        tail.bytes.get(start..)?.get(..to_usize(same.blocks().saturating_mul(BLOCK_BYTES)))
    });
    let per_read = (PIECE_BYTES / to_usize(BLOCK_BYTES)) as u64;
    let mut first = 0;
    while first < section.blocks() {
        let count = per_read.min(section.blocks() - first);
        let offset = section.offset + first * BLOCK_BYTES;
        let mut piece = vec![0; to_usize(count * BLOCK_BYTES)];
        let place = |block: u64| at(&opened.path).offset(section.offset + block * BLOCK_BYTES);
        match read_up_to(&*opened.file, &mut piece, offset) {
            Ok(read) => piece.truncate(read),
            Err(error) => {
                let what = format!("section {} can't be read: {error}", section.kind);
                findings.push(place(first).found(Severity::Unreadable, what));
                first += count;
                continue;
            }
        }
        for (block, bytes) in (first..).zip(piece.chunks(to_usize(BLOCK_BYTES))) {
            let index = to_usize(block * BLOCK_BYTES);
            let made_block = made.and_then(|made| made.get(index..)?.get(..bytes.len()));
            if made_block == Some(bytes) {
                continue;
            }
            let what = if !is_whole(opened, section.kind, block, bytes) {
                format!("block {block} of section {} is damaged", section.kind)
            } else if made.is_some() {
                format!("block {block} of section {} does not agree with the groups", section.kind)
            } else {
                continue;
            };
            findings.push(place(block).found(Severity::Derived, what));
        }
        first += count;
    }
}

fn is_whole(opened: &Opened, kind: u32, block: u64, bytes: &[u8]) -> bool {
    bytes.split_last_chunk::<4>().is_some_and(|(content, crc)| {
        content.len() == SECTION_BLOCK_CONTENT
            && u32::from_le_bytes(*crc)
                == section_block_crc(opened.header.nonce, kind, block, content)
    })
}

/// No byte lies between two parts of a sealed segment.
fn zeros_between(opened: &Opened, from: u64, to: u64, findings: &mut Vec<Finding>) {
    each_piece(opened, from, to, findings, |offset, bytes| {
        let index = bytes.iter().position(|byte| *byte != 0)?;
        let place = at(&opened.path).offset(offset + index as u64);
        Some(place.found(Severity::Derived, "bytes that belong to nothing; they should be zeros"))
    });
}

/// No footer, and another segment follows: zeros, or what an interrupted sealing left.
fn unsealed(
    opened: &Opened,
    groups: &Groups,
    expected: Option<&Tail>,
    has_keys: bool,
    findings: &mut Vec<Finding>,
) {
    if !groups.whole {
        // The groups' own findings say more, and what should follow them is not known.
        return;
    }
    let mut dirty = opened.bytes != opened.header.file_bytes;
    let before = findings.len();
    each_piece(opened, groups.end.offset, opened.bytes, findings, |offset, bytes| {
        for (sector, bytes) in (0..).zip(bytes.chunks(to_usize(SECTOR_BYTES))) {
            if bytes.iter().all(|byte| *byte == 0) {
                continue;
            }
            dirty = true;
            let offset = offset + sector * SECTOR_BYTES;
            let made = expected.and_then(|tail| made_at(tail, offset, bytes.len()));
            // Without the keys it can't be made again; then it is let pass.
            let fits = !has_keys || made.is_some_and(|made| is_torn_of(bytes, &made));
            if !fits {
                let what = "neither zeros nor what the segment is sealed with: its footer or a section \
                            is damaged";
                return Some(at(&opened.path).offset(offset).found(Severity::Derived, what));
            }
        }
        None
    });
    if findings.len() == before {
        let what = match dirty {
            true => "its sealing was interrupted, or goes on now; the next opening seals it",
            false => "not sealed yet; the next opening seals it",
        };
        findings.push(at(&opened.path).found(Severity::Note, what));
    }
}

/// What a finished sealing would have at `offset`.
fn made_at(tail: &Tail, offset: u64, bytes: usize) -> Option<Vec<u8>> {
    // A sector may begin before the tail does: zeros up to there.
    let mut made = vec![0; bytes];
    let (skip, start) = match offset.checked_sub(tail.start) {
        Some(start) => (0, to_usize(start)),
        None => (to_usize(tail.start - offset), 0),
    };
    let rest = made.get_mut(skip..)?;
    let source = tail.bytes.get(start..)?;
    let count = rest.len().min(source.len());
    rest.get_mut(..count)?.copy_from_slice(source.get(..count)?);
    Some(made)
}

/// Whether `bytes` is `made` up to some byte and zeros behind it, or the other way round.
fn is_torn_of(bytes: &[u8], made: &[u8]) -> bool {
    let same =
        |bytes: &[u8], made: &[u8]| bytes.iter().zip(made).take_while(|(a, b)| a == b).count();
    let zeros = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    let front = same(bytes, made);
    let lead = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(front..).is_some_and(zeros)
        || (0..=lead).any(|split| bytes.get(split..) == made.get(split..))
}

/// Reads a range piece by piece, whole sectors from its beginning; `judge` may end it with a finding.
fn each_piece(
    opened: &Opened,
    from: u64,
    to: u64,
    findings: &mut Vec<Finding>,
    mut judge: impl FnMut(u64, &[u8]) -> Option<Finding>,
) {
    let mut offset = from;
    while offset < to {
        // Up to the next multiple of the sector first, so that every further chunk is a sector.
        let to_sector = SECTOR_BYTES - offset % SECTOR_BYTES;
        let wanted = match to_sector {
            SECTOR_BYTES => to_usize(to - offset).min(PIECE_BYTES),
            partial => to_usize((to - offset).min(partial)),
        };
        let mut piece = vec![0; wanted];
        let read = match read_up_to(&*opened.file, &mut piece, offset) {
            Ok(read) => read,
            Err(error) => {
                let what = format!("it can't be read: {error}");
                findings.push(at(&opened.path).offset(offset).found(Severity::Unreadable, what));
                offset += wanted as u64;
                continue;
            }
        };
        if let Some(finding) = judge(offset, piece.get(..read).unwrap_or_default()) {
            findings.push(finding);
            return;
        }
        if read < wanted {
            return;
        }
        offset += read as u64;
    }
}
