//! The log, open for reading: segments in order, and the border up to which records may be seen.
//!
//! Always true: no call answers a record at or above [`Log::readable_next`]; the writer moves that
//! border only after the sync (I3). Any number of threads may read while one writes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::sync::{AtomicBool, AtomicU64};

use super::format::{BLOCK_LEN, FRAME_BYTES, GROUP_HEADER_BYTES, round_up};
use super::frame::{self, Frame};
use super::issuer::Issuer;
use super::record::{
    self, Body, KIND_ACCEPTED, KIND_HOLD, KIND_REFUSED, has_own_thresholds, is_alarm, is_dispatch,
    is_remark, is_step,
};
use super::scan::{self, Position};
use super::section::SectionError;
use super::segment::{OpenIndex, RecordAt, Segment};
use crate::bytes::to_usize;
use crate::disk::by_path::Files;
use crate::error::{Damage, Error, ErrorKind, Result};
use crate::order::limits::RECORD_BODY_BYTES_MAX;
use crate::order::{Seq, Timestamp};

/// Bytes of the first read of a record whose length is not known: most orders need no second one.
const FIRST_READ_BYTES: usize = 1024;
/// From the beginning of a record to that of the next, which may be behind the header of a group.
const RECORD_READ_MAX: usize =
    Frame::bytes_for(RECORD_BODY_BYTES_MAX) + GROUP_HEADER_BYTES + BLOCK_LEN;
/// Bytes that a cursor reads ahead.
const CURSOR_READ_BYTES: usize = 256 * 1024;

const _: () = assert!(FIRST_READ_BYTES > FRAME_BYTES, "the first read must hold the length");

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) issuer: Issuer,
    /// Where the files of full segments are opened.
    pub(crate) files: Arc<Files>,
    /// Grows only, so that who reads neither locks nor counts anything that another reader does as well.
    segments: boxcar::Vec<Arc<Segment>>,
    readable_next: AtomicU64,
    /// A step of an order was ever written.
    has_steps: AtomicBool,
    /// A note was ever written.
    has_notes: AtomicBool,
    /// A client or an account was ever held.
    has_holds: AtomicBool,
    /// An alert was ever raised.
    has_alerts: AtomicBool,
    /// A third party was ever to be told anything.
    has_dispatches: AtomicBool,
    /// An order ever had thresholds of its own.
    has_own_thresholds: AtomicBool,
    /// How the last group was written, or the next one will be.
    past_cache: AtomicBool,
}

/// A record that was read and checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) seq: Seq,
    pub(crate) at: Timestamp,
    pub(crate) kind: u8,
    pub(crate) version: u8,
    /// The body begins behind the frame when the record was read by itself, and else at 0.
    bytes: Vec<u8>,
    body_start: usize,
}

impl Record {
    fn from_frame(frame: &Frame<'_>) -> Record {
        let (seq, at, kind, version) = (frame.seq, frame.at, frame.kind, frame.version);
        Record { seq, at, kind, version, bytes: frame.body.to_vec(), body_start: 0 }
    }

    /// The record at the front of `bytes`, when it is the one of this segment and seq.
    fn from_bytes(mut bytes: Vec<u8>, nonce: u64, seq: Seq) -> Option<Record> {
        let (Frame { at, kind, version, body, .. }, _) = frame::decode(&bytes, nonce, seq)?;
        let end = Frame::bytes_for(body.len());
        bytes.truncate(end);
        Some(Record { seq, at, kind, version, bytes, body_start: FRAME_BYTES })
    }

    fn body_bytes(&self) -> &[u8] {
        self.bytes.get(self.body_start..).unwrap_or_default()
    }

    pub(crate) fn frame(&self) -> Frame<'_> {
        let (seq, at, kind, version) = (self.seq, self.at, self.kind, self.version);
        Frame { seq, at, kind, version, body: self.body_bytes() }
    }

    /// What the record says.
    ///
    /// # Errors
    /// `Corrupt`: a body that this program can't read, under a checksum that holds.
    pub(crate) fn body(&self) -> Result<Body<'_>> {
        body_of(&self.frame())
    }
}

/// What a checked frame says.
pub(crate) fn body_of<'a>(frame: &Frame<'a>) -> Result<Body<'a>> {
    body_at(super::format::WAL_DIR, None, frame)
}

/// What a checked frame says that lies there.
pub(crate) fn body_at<'a>(
    file: impl Into<String>,
    offset: Option<u64>,
    frame: &Frame<'a>,
) -> Result<Body<'a>> {
    let body = record::decode(frame.kind, frame.version, frame.body);
    body.map(|body| body.placed_at(frame.seq)).map_err(|error| {
        Error::new(ErrorKind::Corrupt(Damage {
            file: file.into(),
            offset,
            first_seq: Some(frame.seq),
            last_seq: Some(frame.seq),
            what: error.to_string(),
        }))
    })
}

impl Log {
    pub(crate) fn new(
        issuer: Issuer,
        files: Arc<Files>,
        segments: Vec<Arc<Segment>>,
        readable_next: Seq,
    ) -> Log {
        let has = |is_it: fn(u8) -> bool| {
            segments.iter().any(|it| it.counts().iter().any(|(kind, _)| is_it(*kind)))
        };
        let (has_steps, has_notes) = (has(is_step), has(is_remark));
        let (has_holds, has_alerts) = (has(|kind| kind == KIND_HOLD), has(is_alarm));
        let (has_dispatches, has_own_thresholds) = (has(is_dispatch), has(has_own_thresholds));
        Log {
            issuer,
            files,
            segments: segments.into_iter().collect(),
            readable_next: AtomicU64::new(readable_next.0),
            has_steps: AtomicBool::new(has_steps),
            has_notes: AtomicBool::new(has_notes),
            has_holds: AtomicBool::new(has_holds),
            has_alerts: AtomicBool::new(has_alerts),
            has_dispatches: AtomicBool::new(has_dispatches),
            has_own_thresholds: AtomicBool::new(has_own_thresholds),
            past_cache: AtomicBool::new(false),
        }
    }

    /// Whether any order ever took a step.
    pub(crate) fn has_steps(&self) -> bool {
        self.has_steps.load(Ordering::Acquire)
    }

    /// Whether anything was ever noted about any order.
    pub(crate) fn has_notes(&self) -> bool {
        self.has_notes.load(Ordering::Acquire)
    }

    /// Whether any client or account was ever held.
    pub(crate) fn has_holds(&self) -> bool {
        self.has_holds.load(Ordering::Acquire)
    }

    /// Whether any alert was ever raised.
    pub(crate) fn has_alerts(&self) -> bool {
        self.has_alerts.load(Ordering::Acquire)
    }

    /// Whether any third party was ever to be told anything.
    pub(crate) fn has_dispatches(&self) -> bool {
        self.has_dispatches.load(Ordering::Acquire)
    }

    /// Whether any order ever had thresholds of its own.
    pub(crate) fn has_own_thresholds(&self) -> bool {
        self.has_own_thresholds.load(Ordering::Acquire)
    }

    /// A record of this kind was written, and may be read soon.
    pub(crate) fn note_kind(&self, kind: u8) {
        if matches!(kind, KIND_ACCEPTED | KIND_REFUSED) {
            // Most records: nothing is asked about those.
            return;
        }
        if is_step(kind) && !self.has_steps() {
            self.has_steps.store(true, Ordering::Release);
        }
        if is_remark(kind) && !self.has_notes() {
            self.has_notes.store(true, Ordering::Release);
        }
        if kind == KIND_HOLD && !self.has_holds() {
            self.has_holds.store(true, Ordering::Release);
        }
        if is_alarm(kind) && !self.has_alerts() {
            self.has_alerts.store(true, Ordering::Release);
        }
        if is_dispatch(kind) && !self.has_dispatches() {
            self.has_dispatches.store(true, Ordering::Release);
        }
        if has_own_thresholds(kind) && !self.has_own_thresholds() {
            self.has_own_thresholds.store(true, Ordering::Release);
        }
    }

    /// Whether groups are written past the page cache.
    pub(crate) fn is_written_past_cache(&self) -> bool {
        self.past_cache.load(Ordering::Relaxed)
    }

    /// Told by the writer.
    pub(crate) fn note_past_cache(&self, past_cache: bool) {
        self.past_cache.store(past_cache, Ordering::Relaxed);
    }

    /// One after the last record that may be seen.
    pub(crate) fn readable_next(&self) -> Seq {
        Seq(self.readable_next.load(Ordering::Acquire))
    }

    /// Lets readers see the records below `next`. Called after the sync and after the tables have them.
    pub(crate) fn publish(&self, next: Seq) {
        self.readable_next.store(next.0, Ordering::Release);
    }

    pub(crate) fn push_segment(&self, segment: Arc<Segment>) {
        self.segments.push(segment);
    }

    /// The segments, first to last.
    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.iter().map(|(_, segment)| Arc::clone(segment)).collect()
    }

    /// The segment that holds `seq`, and the first seq of the one behind it.
    pub(super) fn segment_of(&self, seq: Seq) -> Option<(&Arc<Segment>, Option<Seq>)> {
        let first_seq = |index: usize| Some(self.segments.get(index)?.header.first_seq);
        let (mut low, mut high) = (0, self.segments.count());
        // Mostly what is asked for was just written. Only the writer pushes, so what is counted is there; were it not,
        // what may be read would lie in front of it.
        let last = self.segments.get(high.checked_sub(1)?);
        if let Some(last) = last.filter(|last| last.header.first_seq <= seq) {
            return Some((last, None));
        }
        // An empty segment has the first seq of the one behind it: take the last that fits.
        while low < high {
            let middle = low.midpoint(high);
            if first_seq(middle).is_some_and(|first| first <= seq) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Some((self.segments.get(low.checked_sub(1)?)?, first_seq(low)))
    }

    /// The record at `seq`; `None` when there is none (yet).
    ///
    /// **Cost**: nothing of the system when the segment is sealed, and its blocks of the offset and of the record are kept
    /// in memory; else a read for each of them, of the record itself while its segment is written, and one more where it
    /// is longer than was known.
    ///
    /// # Errors
    /// `Io`, or `Corrupt` when the record does not pass its checks.
    pub(crate) fn read(&self, seq: Seq) -> Result<Option<Record>> {
        if seq >= self.readable_next() || seq.0 == 0 {
            return Ok(None);
        }
        let Some((segment, _)) = self.segment_of(seq) else { return Ok(None) };
        let RecordAt { offset, ends_before, groups_end } = self.place_in(segment, seq)?;
        let rest = to_usize(groups_end.saturating_sub(offset));
        // As long as it can be, when the next one is known; a table that lies costs no more memory than a
        // record can have.
        let length = ends_before.map(|end| to_usize(end.saturating_sub(offset)));
        let is_length = |length: &usize| (FRAME_BYTES..=RECORD_READ_MAX).contains(length);
        let length = length.filter(is_length).unwrap_or(FIRST_READ_BYTES);
        let mut bytes = Vec::new();
        if segment.add_kept(&mut bytes, offset, length.min(rest))
            && let Some(record) = Record::from_bytes(bytes, segment.header.nonce, seq)
        {
            return Ok(Some(record));
        }
        let mut bytes = vec![0; length.min(rest)];
        let io = |error| Error::io(format!("reading {} at byte {offset}", segment.path()), error);
        let mut read = segment.read_up_to(&mut bytes, offset);
        if read.is_err() {
            // The record may end in front of what can't be read: its frame, then no more than it has.
            bytes.truncate(FRAME_BYTES);
            read = segment.read_up_to(&mut bytes, offset);
        }
        bytes.truncate(read.map_err(io)?);
        if let Some(wanted) = frame::record_bytes(&bytes).filter(|wanted| *wanted > bytes.len()) {
            // A length that rotted must not cost more memory than there are bytes to read (rule 20).
            if offset.saturating_add(wanted as u64) > segment.header.file_bytes {
                return Err(damaged_record(segment, seq, offset));
            }
            let have = bytes.len();
            bytes.resize(wanted, 0);
            let rest = bytes.get_mut(have..).unwrap_or_default();
            let read = segment.read_up_to(rest, offset + have as u64).map_err(io)?;
            bytes.truncate(have + read);
        }
        match Record::from_bytes(bytes, segment.header.nonce, seq) {
            Some(record) => Ok(Some(record)),
            None => Err(damaged_record(segment, seq, offset)),
        }
    }

    /// Where the record of `seq` lies. A section that is damaged, or that the device can't read, is
    /// replaced by a scan of the groups first.
    fn place_in(&self, segment: &Segment, seq: Seq) -> Result<RecordAt> {
        match segment.place_of(seq) {
            Ok(Some(place)) => Ok(place),
            Ok(None) => Err(damaged_record(segment, seq, 0)),
            Err(SectionError::Io(_) | SectionError::Damaged { .. }) => {
                reindex(segment)?;
                match segment.place_of(seq) {
                    Ok(Some(place)) => Ok(place),
                    _ => Err(damaged_record(segment, seq, 0)),
                }
            }
        }
    }

    /// A reader of the records from `from` on, in order.
    pub(crate) fn cursor(self: &Arc<Log>, from: Seq) -> Cursor {
        Cursor {
            log: Arc::clone(self),
            next: Seq(from.0.max(1)),
            segment: None,
            buffer: Vec::new(),
            buffer_offset: 0,
            last_end: 0,
        }
    }

    /// The first seq whose record is at or after `at`; [`Log::readable_next`] when there is none.
    /// Ledger time rises with every record, so this is a binary search.
    ///
    /// # Errors
    /// Those of [`Log::read`].
    pub(crate) fn seq_at(&self, at: Timestamp) -> Result<Seq> {
        let (mut low, mut high) = (1, self.readable_next().0);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.read(Seq(middle))? {
                Some(record) if record.at < at => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(Seq(low))
    }
}

/// Finds the records of a sealed segment again from its groups, which were proven when it was sealed.
///
/// # Errors
/// `Io`, or `Corrupt` when the groups are damaged as well.
pub(crate) fn reindex(segment: &Segment) -> Result<()> {
    let Some(footer) = segment.footer() else { return Ok(()) };
    let start = Position::start(&segment.header, segment.header_crc, Timestamp::from_unix_ns(0));
    let mut index = OpenIndex::default();
    let end = scan::scan(&*segment.file(), &segment.header, start, footer.groups_end, |group| {
        index.add(group);
    })
    .map_err(|error| Error::io(format!("reading {}", segment.path()), error))?;
    if end.position.next_seq != footer.next_seq {
        let offset = end.position.offset;
        return Err(damaged_record(segment, end.position.next_seq, offset));
    }
    segment.reindex(index);
    Ok(())
}

pub(crate) fn damaged_record(segment: &Segment, seq: Seq, offset: u64) -> Error {
    Error::new(ErrorKind::Corrupt(Damage {
        file: segment.path(),
        offset: (offset > 0).then_some(offset),
        first_seq: Some(seq),
        last_seq: Some(seq),
        what: "the record does not pass its checks".into(),
    }))
}

/// Reads records one after the other, far ahead in one read.
pub(crate) struct Cursor {
    log: Arc<Log>,
    next: Seq,
    segment: Option<Arc<Segment>>,
    buffer: Vec<u8>,
    buffer_offset: u64,
    /// Where the record before ended, in the same segment.
    last_end: u64,
}

impl Cursor {
    /// The next record; `None` at the border of what may be seen (more may come later).
    ///
    /// # Errors
    /// Those of [`Log::read`].
    pub(crate) fn next(&mut self) -> Result<Option<Record>> {
        let seq = self.next;
        if seq >= self.log.readable_next() {
            return Ok(None);
        }
        let Some((segment, _)) = self.log.segment_of(seq) else { return Ok(None) };
        let same = self.segment.as_ref().is_some_and(|known| Arc::ptr_eq(known, segment));
        if !same {
            self.buffer.clear();
            self.segment = Some(Arc::clone(segment));
        }
        if let Some((record, end)) = self.following(segment, seq) {
            self.last_end = end;
            self.next = seq.next();
            return Ok(Some(record));
        }
        let RecordAt { offset, groups_end, .. } = self.log.place_in(segment, seq)?;
        let skip = offset.checked_sub(self.buffer_offset).map_or(usize::MAX, to_usize);
        let mut ready = self.buffer.get(skip..).unwrap_or_default();
        let whole = frame::record_bytes(ready).is_some_and(|wanted| wanted <= ready.len());
        if !whole {
            // Records never move and never change, so bytes that were read once stay true; but what
            // lay behind the readable border may have been written since: read again from here.
            let rest = to_usize(groups_end.saturating_sub(offset));
            self.buffer.resize(CURSOR_READ_BYTES.min(rest), 0);
            self.buffer_offset = offset;
            // What can't be read may lie ahead of this record: the single read below finds out.
            let read = segment.read_up_to(&mut self.buffer, offset).unwrap_or(0);
            self.buffer.truncate(read);
            ready = &self.buffer;
        }
        let record = match frame::decode(ready, segment.header.nonce, seq) {
            Some((frame, _)) => Record::from_frame(&frame),
            // Longer than the buffer, damaged, or not readable: the single read finds out.
            None => match self.log.read(seq)? {
                Some(record) => record,
                None => return Ok(None),
            },
        };
        self.last_end = offset + Frame::bytes_for(record.body_bytes().len()) as u64;
        self.next = seq.next();
        Ok(Some(record))
    }

    /// The record right behind the last one, in its group or at the front of the next, when the buffer
    /// has it whole. Saves asking for its offset: the checksum covers the seq, so that a record which
    /// passes is the one, wherever it was found.
    fn following(&self, segment: &Segment, seq: Seq) -> Option<(Record, u64)> {
        let align = u64::from(segment.header.group_align);
        let next_group = round_up(self.last_end, align) + GROUP_HEADER_BYTES as u64;
        [self.last_end, next_group].into_iter().find_map(|offset| {
            let skip = to_usize(offset.checked_sub(self.buffer_offset)?);
            let (frame, _) = frame::decode(self.buffer.get(skip..)?, segment.header.nonce, seq)?;
            let end = offset + Frame::bytes_for(frame.body.len()) as u64;
            Some((Record::from_frame(&frame), end))
        })
    }

    /// The seq that [`Cursor::next`] looks for.
    pub(crate) fn position(&self) -> Seq {
        self.next
    }
}
