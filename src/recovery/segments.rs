//! What is found in `wal/`: the segments as a chain from 1 to the last, each judged.
//!
//! Only reads (but for [`clear_unfinished`]). A sealed segment costs two blocks: its header and its
//! footer; the groups of the last segment, and of one whose sealing was interrupted, are scanned.

use std::io;
use std::sync::Arc;

use super::decision::{Decision, Successor, decide};
use super::identity::{self, Identity};
use crate::bytes::to_usize;
use crate::disk::by_path::Files;
use crate::disk::{self, Disk, DiskFile, Open};
use crate::error::{Damage, Error, ErrorKind, Result};
use crate::order::{Durability, Seq, Timestamp};
use crate::tables::Tables;
use crate::tables::hot::Hot;
use crate::wal::blocks::Blocks;
use crate::wal::format::{
    self, BLOCK_BYTES, Footer, GROUPS_START, SegmentHeader, Unreadable, WAL_DIR, segment_number,
    segment_path,
};
use crate::wal::scan::{self, Position, ScanEnd};
use crate::wal::segment::{OpenIndex, Segment};

/// Name of the lock file.
pub(crate) const LOCK_NAME: &str = "LOCK";

/// How the log is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// By the one writer, who holds the lock.
    Write,
    /// By a reader, perhaps beside a writer.
    Read,
}

/// A log that has been judged sound.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where the files of the segments are opened, but for that of the last one, which is held.
    pub(crate) files: Arc<Files>,
    /// First to last.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// The keys of the segments that were scanned, by segment number.
    pub(crate) hot: Vec<(u64, Hot)>,
    /// Segments before the last that are to be sealed, and where they end.
    pub(crate) unsealed: Vec<(Arc<Segment>, Position)>,
    /// The segment that groups go to.
    pub(crate) last: Arc<Segment>,
    /// Where its valid groups end.
    pub(crate) position: Position,
    /// The end of what has to be cut, and why, when the last group is torn.
    pub(crate) torn: Option<(u64, String)>,
}

/// A segment file with a valid header.
struct Candidate {
    number: u64,
    header: SegmentHeader,
    header_crc: u32,
    file: Arc<dyn DiskFile>,
    /// Where blocks of its tables will be kept.
    blocks: Arc<Blocks>,
    bytes: u64,
}

/// Finds and judges the segments of the ledger.
///
/// # Errors
/// `Corrupt` with file, offset and seqs, `NewerFormat`, or `Io`. Nothing was changed.
pub(crate) fn find(
    disk: &Arc<dyn Disk>,
    identity: &Identity,
    tables: &Tables,
    mode: Mode,
    blocks: &Arc<Blocks>,
) -> Result<Found> {
    let numbers = numbers(&**disk)?;
    let files = Files::new(Arc::clone(disk));
    let mut candidates = Vec::new();
    for number in &numbers {
        candidates.push(open_candidate(&files, blocks, identity, *number)?);
    }
    check_first(candidates.first())?;
    let mut found = Vec::new();
    let (mut hot, mut unsealed) = (Vec::new(), Vec::new());
    let mut last_at = Timestamp::from_unix_ns(0);
    let mut rest = candidates.into_iter().peekable();
    while let Some(candidate) = rest.next() {
        let Some(next) = rest.peek() else {
            return find_last(files, tables, mode, candidate, last_at, found, hot, unsealed);
        };
        let successor = Successor {
            first_seq: next.header.first_seq,
            first_group: next.header.first_group,
            link: next.header.link,
        };
        let (path, header) = (segment_path(candidate.number), candidate.header.clone());
        // The footer says again what the groups say, and the next segment where they end: so one that
        // can't be read is no more than one that is damaged. The groups are read strictly.
        let (footer, unread) = match read_footer(&candidate) {
            Err(error) if matches!(error.kind(), ErrorKind::Io { .. }) => (None, Some(error)),
            other => (other?, None),
        };
        match footer {
            Some(footer) => {
                let reached = Successor {
                    first_seq: footer.next_seq,
                    first_group: footer.next_group,
                    link: footer.link,
                };
                if reached != successor {
                    return Err(damage(
                        &segment_path(next.number),
                        Some(0),
                        (Some(footer.next_seq), None),
                        format!("the segment does not continue {path}"),
                    ));
                }
                last_at = last_at.max(footer.last_at);
                let Candidate { header, header_crc, file, blocks, .. } = candidate;
                let segment = Segment::sealed(header, header_crc, file, &blocks, footer);
                found.push(Arc::new(segment.ok_or_else(|| {
                    damage(&path, None, (None, None), "the footer does not fit".into())
                })?));
            }
            None => {
                let mut candidate = candidate;
                if unread.is_some() {
                    candidate.bytes = candidate.bytes.saturating_sub(BLOCK_BYTES);
                }
                let (segment, keys, end) = scan_segment(tables, mode, candidate, last_at)?;
                if let Decision::Rot { durable_next } =
                    decide(&end, Some(successor), header.durability)
                {
                    // Not a footer, then, but groups that can't be read.
                    return Err(unread.unwrap_or_else(|| rot(&path, &header, &end, durable_next)));
                }
                last_at = end.position.last_at;
                hot.push((header.number, keys));
                unsealed.push((Arc::clone(&segment), end.position));
                found.push(segment);
            }
        }
    }
    Err(no_segment(1))
}

#[expect(clippy::too_many_arguments, reason = "the state of the one loop that calls it")]
fn find_last(
    files: Arc<Files>,
    tables: &Tables,
    mode: Mode,
    mut candidate: Candidate,
    last_at: Timestamp,
    mut segments: Vec<Arc<Segment>>,
    mut hot: Vec<(u64, Hot)>,
    unsealed: Vec<(Arc<Segment>, Position)>,
) -> Result<Found> {
    let path = segment_path(candidate.number);
    let (header, bytes) = (candidate.header.clone(), candidate.bytes);
    let blocks = Arc::clone(&candidate.blocks);
    // Sealing comes after the next segment is in place, so a sealed last segment misses it. Asked also
    // when the size is the first one: sections may fill the file up to it by chance.
    if let Some(footer) = read_footer(&candidate)? {
        let what = "the segment is sealed, and the one behind it is missing".into();
        return Err(damage(&path, Some(bytes), (Some(footer.next_seq), None), what));
    }
    if bytes != header.file_bytes {
        let what = format!("the file has {bytes} bytes and was made with {}", header.file_bytes);
        return Err(damage(&path, Some(bytes), (None, None), what));
    }
    // One descriptor from here to the end: it is the one that has seen what a sync says.
    candidate.file = files
        .open(&path, Open::Read)
        .map_err(|error| Error::io(format!("opening {path}"), error))?;
    if mode == Mode::Write {
        prove(&*candidate.file, &path)?;
    }
    let (mut segment, mut keys, mut end) = scan_segment(tables, mode, candidate, last_at)?;
    let decision = decide(&end, None, header.durability);
    // In a relaxed ledger a seal is not synced either.
    let proven = end.position.sealed && header.durability == Durability::Durable;
    if mode == Mode::Read && !proven {
        // The last group may be in the page cache only. Make durable what was just seen, look past the
        // cache, and believe no more than both looks agree on.
        match prove(&*segment.file(), &path) {
            // Where nothing can be written, nothing is waiting to be.
            Err(error) if is_read_only(&error) => {}
            proven => proven?,
        }
        let again = Candidate {
            number: header.number,
            header: header.clone(),
            header_crc: segment.header_crc,
            file: segment.file(),
            blocks,
            bytes: end.position.offset,
        };
        let bad = end.bad.take();
        (segment, keys, end) = scan_segment(tables, mode, again, last_at)?;
        end.bad = bad;
    }
    let torn = match decision {
        Decision::Whole => None,
        Decision::Torn { dirty_end } => {
            let what = end.bad.as_ref().map(|bad| bad.what.to_owned()).unwrap_or_default();
            Some((dirty_end, what))
        }
        Decision::Rot { durable_next } => return Err(rot(&path, &header, &end, durable_next)),
    };
    if mode == Mode::Write {
        let file = files.open(&path, Open::Write);
        segment.use_file(file.map_err(|error| Error::io(format!("opening {path}"), error))?);
    }
    hot.push((header.number, keys));
    segments.push(Arc::clone(&segment));
    Ok(Found { files, segments, hot, unsealed, last: segment, position: end.position, torn })
}

/// Makes durable what the file shows, and drops the page cache: what is read from now on is what the
/// disk holds. After a failed sync the cache shows bytes that were never written (F6).
fn prove(file: &dyn DiskFile, path: &str) -> Result<()> {
    disk::sync(file).map_err(|error| Error::io(format!("syncing {path}"), error))?;
    disk::drop_cache(file)
        .map_err(|error| Error::io(format!("dropping the page cache of {path}"), error))
}

/// Whether a sync failed because the file system can't be written: mounted read-only, or (`EINVAL`) of a
/// kind that has no sync at all, as squashfs.
fn is_read_only(error: &Error) -> bool {
    use io::ErrorKind::{InvalidInput, ReadOnlyFilesystem};
    matches!(error.kind(), ErrorKind::Io { kind: ReadOnlyFilesystem | InvalidInput, .. })
}

/// Scans the groups of a segment for its index and its keys.
fn scan_segment(
    tables: &Tables,
    mode: Mode,
    candidate: Candidate,
    last_at: Timestamp,
) -> Result<(Arc<Segment>, Hot, ScanEnd)> {
    let path = segment_path(candidate.number);
    let Candidate { header, header_crc, file, blocks, bytes, .. } = candidate;
    let start = Position::start(&header, header_crc, last_at);
    let (mut index, mut keys) = (OpenIndex::default(), Hot::default());
    let mut unreadable = None;
    let mut from = start;
    let end = loop {
        let end = scan::scan(&*file, &header, from, bytes, |group| {
            index.add(group);
            if let Err(error) = tables.gather(&header, group, &mut keys) {
                unreadable.get_or_insert(error);
            }
        })
        .map_err(|error| Error::io(format!("reading {path}"), error))?;
        // Beside a writer a bad group in front of a proof may only have been late: it was looked at
        // before the proof was. A second look tells, for a group with a proof behind it is whole.
        let proven = end.bad.as_ref().is_some_and(|bad| bad.proof.is_some());
        if mode == Mode::Write || !proven || end.position == from {
            break end;
        }
        from = end.position;
    };
    if let Some(error) = unreadable {
        return Err(error);
    }
    if end.newer {
        // The flags do not say which version it was.
        let (found, known) = (format::VERSION + 1, format::VERSION);
        return Err(Error::new(ErrorKind::NewerFormat { found, known }));
    }
    Ok((Arc::new(Segment::open(header, header_crc, file, &blocks, index)), keys, end))
}

/// The numbers of the segments: 1 to n without a gap.
fn numbers(disk: &dyn Disk) -> Result<Vec<u64>> {
    let names = match disk.list(WAL_DIR) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(damage(
                WAL_DIR,
                None,
                (Some(Seq::FIRST), None),
                "the directory is missing".into(),
            ));
        }
        Err(error) => return Err(Error::io(format!("listing {WAL_DIR}"), error)),
    };
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    for (expected, number) in (1..).zip(&numbers) {
        if expected != *number {
            return Err(no_segment(expected));
        }
    }
    if numbers.is_empty() {
        return Err(no_segment(1));
    }
    Ok(numbers)
}

fn no_segment(number: u64) -> Error {
    let first = (number == 1).then_some(Seq::FIRST);
    damage(&segment_path(number), None, (first, None), "the segment is missing".into())
}

fn open_candidate(
    files: &Arc<Files>,
    blocks: &Arc<Blocks>,
    identity: &Identity,
    number: u64,
) -> Result<Candidate> {
    let path = segment_path(number);
    let io = |error| Error::io(format!("reading {path}"), error);
    let file = files.file(path.clone());
    let bytes = file.bytes().map_err(io)?;
    let mut block = vec![0; to_usize(BLOCK_BYTES)];
    let read = disk::read_up_to(&*file, &mut block, 0).map_err(io)?;
    block.truncate(read);
    let (header, header_crc) = SegmentHeader::decode(&block).map_err(|why| match why {
        Unreadable::Newer(found) => {
            Error::new(ErrorKind::NewerFormat { found, known: format::VERSION })
        }
        Unreadable::Invalid(what) => {
            damage(&path, Some(0), (None, None), format!("segment header: {what}"))
        }
    })?;
    let what = if header.ledger != identity.issuer.ledger {
        Some(format!("the segment belongs to ledger {}", header.ledger))
    } else if header.number != number {
        Some(format!("the file holds segment {}", header.number))
    } else if header.durability != identity.issuer.durability {
        Some(format!("the segment is {}, the ledger is not", header.durability))
    } else {
        None
    };
    match what {
        Some(what) => Err(damage(&path, Some(0), (Some(header.first_seq), None), what)),
        None => {
            let blocks = Arc::clone(blocks);
            Ok(Candidate { number, header, header_crc, file, blocks, bytes })
        }
    }
}

fn check_first(candidate: Option<&Candidate>) -> Result<()> {
    let Some(candidate) = candidate else { return Err(no_segment(1)) };
    let header = &candidate.header;
    if header.first_seq == Seq::FIRST && header.first_group == 1 && header.link == 0 {
        return Ok(());
    }
    let what = "segment 1 does not begin at the first record".to_owned();
    Err(damage(&segment_path(1), Some(0), (Some(Seq::FIRST), None), what))
}

/// The footer at the end of the file, when there is a valid one of this very segment.
fn read_footer(candidate: &Candidate) -> Result<Option<Footer>> {
    let Some(offset) = candidate.bytes.checked_sub(BLOCK_BYTES).filter(|at| *at >= GROUPS_START)
    else {
        return Ok(None);
    };
    let mut block = vec![0; to_usize(BLOCK_BYTES)];
    let path = segment_path(candidate.number);
    let read = disk::read_up_to(&*candidate.file, &mut block, offset)
        .map_err(|error| Error::io(format!("reading {path}"), error))?;
    block.truncate(read);
    match Footer::decode(&block) {
        Ok(footer) if footer.header_crc == candidate.header_crc => Ok(Some(footer)),
        Err(Unreadable::Newer(found)) => {
            Err(Error::new(ErrorKind::NewerFormat { found, known: format::VERSION }))
        }
        _ => Ok(None),
    }
}

fn rot(path: &str, header: &SegmentHeader, end: &ScanEnd, durable_next: Option<Seq>) -> Error {
    let first = end.position.next_seq;
    let last = durable_next.map(|next| Seq(next.0.saturating_sub(1))).filter(|last| *last >= first);
    let what = match &end.bad {
        Some(bad) => match &bad.proof {
            Some(proof) => format!(
                "group {}: {}; group {} at byte {} proves that it had been durable",
                end.position.next_group, bad.what, proof.group, proof.offset
            ),
            None => format!("group {}: {}", end.position.next_group, bad.what),
        },
        None => format!("the groups end before segment {} begins", header.number + 1),
    };
    damage(path, Some(end.position.offset), (Some(first), last), what)
}

fn damage(
    file: &str,
    offset: Option<u64>,
    (first_seq, last_seq): (Option<Seq>, Option<Seq>),
    what: String,
) -> Error {
    let file = file.to_owned();
    Error::new(ErrorKind::Corrupt(Damage { file, offset, first_seq, last_seq, what }))
}

/// Clears a directory in which making a ledger was interrupted; refuses one that holds anything else.
///
/// Without `LEDGER` no call was ever acknowledged: what may be there is an empty segment 1 and files
/// that were being made.
pub(crate) fn clear_unfinished(disk: &Arc<dyn Disk>) -> Result<()> {
    let not_a_ledger = |what: String| Error::new(ErrorKind::NotALedger { what });
    let io = |error| Error::io("looking into the directory", error);
    let ledger_tmp = format!("{}.tmp", identity::NAME);
    for name in disk.list("").map_err(io)? {
        let ours = name == LOCK_NAME || name == WAL_DIR || name == ledger_tmp;
        if !ours {
            return Err(not_a_ledger(format!("it holds {name:?} and no file LEDGER")));
        }
    }
    let names = match disk.list(WAL_DIR) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
    };
    let mut removable = Vec::new();
    for name in names {
        let path = disk::join(WAL_DIR, &name);
        let unfinished = name.ends_with(".tmp")
            || (segment_number(&name) == Some(1) && holds_no_group(&**disk, &path).map_err(io)?);
        if !unfinished {
            return Err(not_a_ledger(format!(
                "{path} holds records, and the file LEDGER is missing: restore it from a backup"
            )));
        }
        removable.push(path);
    }
    for path in removable {
        disk.remove(&path).map_err(io)?;
    }
    disk.sync_dir(WAL_DIR).map_err(io)
}

/// Whether nothing but zeros follows the header.
fn holds_no_group(disk: &dyn Disk, path: &str) -> io::Result<bool> {
    let file = disk.open(path, Open::Read)?;
    let (mut offset, mut piece) = (GROUPS_START, vec![0; 256 * 1024]);
    loop {
        let read = disk::read_up_to(&*file, &mut piece, offset)?;
        if read == 0 {
            return Ok(true);
        }
        if piece.iter().take(read).any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset += read as u64;
    }
}
