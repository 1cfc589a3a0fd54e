//! The groups of one segment, judged: goes on behind a bad one wherever a later header is found.
//!
//! Always true: a bad group is called damage only if something proves that it had been durable (a later
//! group, the footer, the next segment) and if it is still bad after several looks at it.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use super::linked::Linked;
use super::lives::{self, Life, What};
use super::opened::Opened;
use super::report::{Finding, Severity, at};
use crate::bytes::to_usize;
use crate::disk::{DiskFile, Host, read_up_to};
use crate::order::{Durability, Seq, State, Timestamp};
use crate::tables::hash::KeyHasher;
use crate::tables::hot::Hot;
use crate::wal::format::{
    GROUP_ALIGN_MIN, GROUP_HEADER_BYTES, GROUP_MAGIC, GroupHeader, SegmentHeader,
};
use crate::wal::frame;
use crate::wal::log::body_of;
use crate::wal::scan::{self, Group, Position};
use crate::wal::segment::OpenIndex;

/// Looks at one place without any progress before it is called damage, and the pause in between. A
/// writer that appends while the rest of the file is searched makes a place look bad for a moment.
const LOOKS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(5);
/// Bytes per read while a later group is searched.
const SEARCH_BYTES: usize = 256 * 1024;

/// What the segment behind this one says about its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Successor {
    pub(crate) next_seq: Seq,
    pub(crate) next_group: u64,
    pub(crate) link: u32,
}

/// What was found in the groups.
#[derive(Debug)]
pub(crate) struct Groups {
    /// Behind the last group that was found.
    pub(crate) end: Position,
    /// Whether the end was reached with everything behind it known: the next segment can be held
    /// against it.
    pub(crate) reached: bool,
    /// Whether every group was whole, so that what is derived can be made again from them.
    pub(crate) whole: bool,
    pub(crate) groups: u64,
    pub(crate) records: u64,
    pub(crate) orders: u64,
    pub(crate) index: OpenIndex,
    pub(crate) keys: Hot,
    /// What each record says about the life of an order.
    pub(crate) lives: Vec<Life>,
    /// States of the caller's own that a table among the records calls terminal.
    pub(crate) terminal: BTreeSet<State>,
}

/// Walks all groups of a segment.
pub(crate) fn walk(
    opened: &Opened,
    hasher: Option<&KeyHasher>,
    next: Option<Successor>,
    last_at: Timestamp,
    host: &dyn Host,
    findings: &mut Vec<Finding>,
    progress: &mut dyn FnMut(u64),
) -> Groups {
    let Opened { file, header, footer, .. } = opened;
    let end = footer.as_ref().map_or(opened.bytes, |footer| footer.groups_end.min(opened.bytes));
    let sealed_at = footer.as_ref().map(|footer| Successor {
        next_seq: footer.next_seq,
        next_group: footer.next_group,
        link: footer.link,
    });
    let known_end = sealed_at.or(next);
    let mut walked = Groups {
        end: Position::start(header, opened.header_crc, last_at),
        reached: true,
        whole: true,
        groups: 0,
        records: 0,
        orders: 0,
        index: OpenIndex::default(),
        keys: Hot::default(),
        lives: Vec::new(),
        terminal: BTreeSet::new(),
    };
    let (mut looks, mut looked_at) = (0, 0);
    loop {
        let from = walked.end;
        let scanned = scan::scan(&**file, header, from, end, |group| {
            take_in(opened, group, hasher, &mut walked, findings);
            progress(group.offset);
        });
        let bad = match scanned {
            Ok(scanned) => {
                walked.end = scanned.position;
                let is_end = known_end.is_some_and(|known| known == reached(&walked.end));
                match scanned.bad {
                    // What lies behind the last group of a closed segment is the tail's question.
                    _ if is_end => break,
                    None if known_end.is_none() => break,
                    None => Bad::Short,
                    // Nothing proves that it was ever durable (a relaxed ledger syncs no group).
                    Some(bad)
                        if known_end.is_none()
                            && (bad.proof.is_none()
                                || header.durability == Durability::Relaxed) =>
                    {
                        let torn = bad.dirty_end.saturating_sub(walked.end.offset);
                        findings.push(at(&opened.path).offset(walked.end.offset).found(
                            Severity::Note,
                            format!(
                                "the last group is not whole ({torn} bytes: {}): never acknowledged, or \
                                 being written now; the next opening cuts it",
                                bad.what
                            ),
                        ));
                        break;
                    }
                    Some(bad) => Bad::Group(bad.what),
                }
            }
            // The groups up to here were taken in; where exactly it failed is found again below.
            Err(error) => Bad::Read(error),
        };
        // In motion, perhaps: a sealed segment is not.
        if footer.is_none() {
            if looked_at != walked.end.offset {
                (looks, looked_at) = (0, walked.end.offset);
            }
            looks += 1;
            if looks < LOOKS {
                host.sleep(PAUSE);
                continue;
            }
        }
        walked.whole = false;
        if !skip_bad(opened, &bad, end, known_end, &mut walked, findings) {
            break;
        }
    }
    walked
}

/// Why the scan stopped.
enum Bad {
    Group(&'static str),
    /// Only zeros follow, and something says that there were more groups.
    Short,
    Read(io::Error),
}

fn reached(position: &Position) -> Successor {
    Successor { next_seq: position.next_seq, next_group: position.next_group, link: position.link }
}

/// Counts a valid group, and gathers what is derived from it.
fn take_in(
    opened: &Opened,
    group: &Group<'_>,
    hasher: Option<&KeyHasher>,
    walked: &mut Groups,
    findings: &mut Vec<Finding>,
) {
    let (path, align) = (&opened.path, opened.header.group_align);
    walked.groups += 1;
    walked.index.add(group);
    let mut linked = Linked::default();
    for (offset, frame) in group.records() {
        walked.records += 1;
        walked.end.last_at = walked.end.last_at.max(frame.at);
        match body_of(&frame) {
            Ok(body) => {
                walked.orders += u64::from(body.submitted().is_some());
                let what = What::of(&body, frame.at);
                walked.lives.push(Life { seq: frame.seq, at: frame.at, offset, what });
                walked.terminal.extend(lives::own_terminal(&body));
                if let Some(wrong) = linked.take_in(&frame, &body) {
                    let place = at(path).offset(offset).seqs(frame.seq, Some(frame.seq.next()));
                    findings.push(place.found(Severity::Log, wrong));
                }
                let keys = hasher.map(|hasher| hasher.keys_of(&body)).unwrap_or_default();
                for hash in keys.iter() {
                    walked.keys.insert(hash, frame.seq);
                }
            }
            Err(error) => {
                let place = at(path).offset(offset).seqs(frame.seq, Some(frame.seq.next()));
                findings.push(place.found(Severity::Log, error.to_string()));
            }
        }
    }
    if let Some(wrong) = linked.end() {
        findings.push(at(path).offset(group.offset).found(Severity::Log, wrong));
    }
    // So that a read error behind this group is reported behind it, and not where the scan began.
    walked.end = Position {
        offset: group.offset + group.header.padded_bytes(align),
        next_seq: group.header.next_seq(),
        next_group: group.header.group + 1,
        link: group.header.encode_into(&mut []),
        last_at: walked.end.last_at,
        sealed: group.header.count == 0,
    };
}

/// Reports the bad place at `walked.end` and moves behind it. False: nothing can be found behind it.
fn skip_bad(
    opened: &Opened,
    bad: &Bad,
    end: u64,
    known_end: Option<Successor>,
    walked: &mut Groups,
    findings: &mut Vec<Finding>,
) -> bool {
    let position = walked.end;
    let file = &*opened.file;
    let (severity, what) = match bad {
        Bad::Group(what) => (Severity::Log, format!("group {}: {what}", position.next_group)),
        Bad::Short => (Severity::Log, "the groups end too early".to_owned()),
        Bad::Read(error) => (Severity::Unreadable, format!("it can't be read: {error}")),
    };
    let place = at(&opened.path).offset(position.offset);
    let here = header_at(file, position.offset, opened.header.nonce);
    if let Some((group, crc)) = here {
        let padded = group.padded_bytes(opened.header.group_align);
        let fits = position.offset.saturating_add(padded) <= end;
        let expected = group.group == position.next_group
            && group.first_seq == position.next_seq
            && group.link == position.link;
        if fits && expected {
            // The header is whole, the records are not: the next group is where this one ends.
            let (first, next, detail) = bad_records(opened, &group, position.offset);
            findings.push(place.seqs(first, Some(next)).found(severity, what + &detail));
            walked.end = Position {
                offset: position.offset + padded,
                next_seq: group.next_seq(),
                next_group: group.group + 1,
                link: crc,
                last_at: position.last_at,
                sealed: group.count == 0,
            };
            return true;
        }
        if fits && group.group >= position.next_group {
            findings
                .push(place.seqs(position.next_seq, Some(group.first_seq)).found(severity, what));
            walked.end = at_group(&group, position.offset, position.last_at);
            return true;
        }
    }
    match find_group(opened, position.offset + u64::from(GROUP_ALIGN_MIN), end, position.next_group)
    {
        Some((offset, group)) => {
            let what = format!("{what}; group {} follows at byte {offset}", group.group);
            findings
                .push(place.seqs(position.next_seq, Some(group.first_seq)).found(severity, what));
            walked.end = at_group(&group, offset, position.last_at);
            true
        }
        None => {
            let next = known_end.map(|known| known.next_seq);
            findings.push(place.seqs(position.next_seq, next).found(severity, what));
            // What follows can be held against what the footer says, or against nothing.
            match known_end.filter(|_| opened.footer.is_some()) {
                Some(known) => {
                    walked.end.next_seq = known.next_seq;
                    walked.end.next_group = known.next_group;
                    walked.end.link = known.link;
                }
                None => walked.reached = false,
            }
            false
        }
    }
}

/// Where the log stands in front of a group whose header is believed.
fn at_group(group: &GroupHeader, offset: u64, last_at: Timestamp) -> Position {
    Position {
        offset,
        next_seq: group.first_seq,
        next_group: group.group,
        link: group.link,
        last_at,
        sealed: false,
    }
}

fn header_at(file: &dyn DiskFile, offset: u64, nonce: u64) -> Option<(GroupHeader, u32)> {
    let mut head = [0; GROUP_HEADER_BYTES];
    let read = read_up_to(file, &mut head, offset).ok()?;
    GroupHeader::decode(head.get(..read)?, nonce)
}

/// Which records of a group with a valid header are bad: each record has a checksum of its own.
fn bad_records(opened: &Opened, group: &GroupHeader, offset: u64) -> (Seq, Seq, String) {
    let (first, next) = (group.first_seq, group.next_seq());
    let mut body = vec![0; to_usize(u64::from(group.body_bytes))];
    let start = offset + GROUP_HEADER_BYTES as u64;
    let Ok(read) = read_up_to(&*opened.file, &mut body, start) else {
        return (first, next, String::new());
    };
    body.truncate(read);
    let (mut rest, mut seq) = (&body[..], first);
    let mut bad: Option<(Seq, Seq)> = None;
    while seq < next {
        let valid = frame::decode(rest, opened.header.nonce, seq).map(|(_, behind)| behind);
        let behind = match (valid, frame::record_bytes(rest).and_then(|bytes| rest.get(bytes..))) {
            (Some(behind), _) => behind,
            (None, skipped) => {
                bad = Some((bad.map_or(seq, |(first, _)| first), seq.next()));
                match skipped {
                    Some(behind) => behind,
                    // Its length is not believed either: where the next one begins is not known.
                    None => return (bad.map_or(seq, |(first, _)| first), next, String::new()),
                }
            }
        };
        rest = behind;
        seq = seq.next();
    }
    match bad {
        Some((bad_first, bad_next)) => (bad_first, bad_next, String::new()),
        None => (first, next, "; each of its records passes its own check".to_owned()),
    }
}

/// The first header at or behind `from` of a group with at least this number. Places that can't be
/// read are passed over.
fn find_group(opened: &Opened, from: u64, end: u64, group_min: u64) -> Option<(u64, GroupHeader)> {
    let SegmentHeader { nonce, .. } = opened.header;
    let step = u64::from(GROUP_ALIGN_MIN);
    let mut offset = from;
    let mut window = vec![0; SEARCH_BYTES];
    while offset < end {
        let Ok(read) = read_up_to(&*opened.file, &mut window, offset) else {
            // Block by block over what can't be read.
            window.resize(to_usize(crate::wal::format::BLOCK_BYTES), 0);
            if read_up_to(&*opened.file, &mut window, offset).is_err() {
                offset = crate::wal::format::round_up(offset + 1, window.len() as u64);
            }
            continue;
        };
        let bytes = window.get(..read).unwrap_or_default();
        for (index, head) in bytes.windows(GROUP_HEADER_BYTES).step_by(to_usize(step)).enumerate() {
            if !head.starts_with(&GROUP_MAGIC) {
                continue;
            }
            if let Some((group, _)) = GroupHeader::decode(head, nonce) {
                let found = offset + index as u64 * step;
                let fits =
                    found.saturating_add(group.padded_bytes(opened.header.group_align)) <= end;
                if fits && group.group >= group_min {
                    return Some((found, group));
                }
            }
        }
        if read <= GROUP_HEADER_BYTES {
            break;
        }
        // The last part is read again: a header may begin in it.
        let advance = (read - GROUP_HEADER_BYTES) as u64 / step * step;
        offset += advance.max(step);
        window.resize(SEARCH_BYTES, 0);
    }
    None
}
