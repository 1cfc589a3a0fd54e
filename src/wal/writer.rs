//! The one door for writing: groups appended to the last segment, one durable write each, and rotation.
//!
//! A durable write is one call past the page cache where the file takes it, else a write and a sync
//! (`disk::write_durably`): the pages of a log that grows, which hardly anybody reads, cost a quarter of the
//! writer's time. Both may take turns: whole blocks are written, and none is left dirty in the cache.
//!
//! Owned by `commit` behind its lock; nobody else calls [`Writer::append`]. Knows seqs and times, not
//! what the records mean.
//!
//! Always true: group g+1 is not written before g is durable (its write or its sync returned Ok); after any failure that may
//! have touched the log the writer must not be used again (the caller poisons the ledger); a record
//! is in the segment's index before its group is reported as appended.

use std::io;
use std::sync::Arc;

use super::blocks::Blocks;
use super::buffer::Buffer;
use super::format::{
    BLOCK_BYTES, BLOCK_LEN, GROUP_BODY_BYTES_MAX, GROUP_HEADER_BYTES, GROUPS_START, GroupHeader,
    SEQ_END, SegmentHeader, WAL_DIR, round_up, segment_path,
};
use super::frame::Frame;
use super::log::Log;
use super::prepare::{Preparer, Taken};
use super::record::Encoded;
use super::scan::Position;
use super::segment::{OpenIndex, Segment};
use crate::bytes::{to_u32, to_usize};
use crate::disk::{self, Disk, DiskFile, Host, Open};
use crate::order::{Durability, LedgerId, Seq, Timestamp};

/// How the log is laid out; fixed while it is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    pub(crate) segment_bytes: u64,
    pub(crate) group_align: u32,
    /// Whether groups are written past the page cache where the file takes it.
    pub(crate) past_cache: bool,
}

#[derive(Debug)]
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    host: Arc<dyn Host>,
    log: Arc<Log>,
    preparer: Arc<Preparer>,
    layout: Layout,
    active: Arc<Segment>,
    position: Position,
    /// The bytes of the block that the next group begins in, up to where it begins: written again with
    /// it, so that every write is whole blocks. Then the group that is being built.
    buffer: Buffer,
}

/// Ledger time follows the wall clock up to here (2262, where Linux's own ends), and goes on by itself
/// after it: a clock at the end of its range must leave room for times that still rise.
const WALL_NS_MAX: u64 = u64::MAX >> 1;

/// A group that is on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Appended {
    pub(crate) first_seq: Seq,
    /// Time of the first record; each further record is one nanosecond later.
    pub(crate) first_at: Timestamp,
    /// The segment that was full and is waiting to be sealed, when this group began a new one.
    pub(crate) closed: Option<Closed>,
    /// Bytes that the group takes in its segment.
    pub(crate) bytes: u64,
    /// When its durable write began and ended, by the clock that never goes back.
    pub(crate) write_began_ns: u64,
    pub(crate) write_ended_ns: u64,
}

/// A segment that gets no more groups.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    pub(crate) segment: Arc<Segment>,
    pub(crate) end: Position,
}

impl PartialEq for Closed {
    fn eq(&self, other: &Closed) -> bool {
        self.segment.header == other.segment.header && self.end == other.end
    }
}

impl Eq for Closed {}

/// Why a group was not appended. The first question is always what is on disk.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// No byte of the group was written, and the log is as it was: the writer may be used again.
    NoRoom(io::Error),
    /// No byte of the group was written, but a sync or rename of the log failed: the writer is done.
    NotWritten(io::Error),
    /// The group may be on disk, in any part: the writer is done.
    InDoubt(io::Error),
}

impl Writer {
    /// Goes on behind `position` in `active`, whose last block up to there reads as `block`.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        host: Arc<dyn Host>,
        log: Arc<Log>,
        preparer: Arc<Preparer>,
        layout: Layout,
        active: Arc<Segment>,
        position: Position,
    ) -> io::Result<Writer> {
        let block_start = position.offset / BLOCK_BYTES * BLOCK_BYTES;
        let mut buffer = Buffer::default();
        buffer.resize(to_usize(position.offset - block_start));
        disk::read_exact_at(&*active.file(), buffer.bytes_from_mut(0), block_start)?;
        let writer = Writer { disk, host, log, preparer, layout, active, position, buffer };
        writer.note_past_cache();
        Ok(writer)
    }

    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// Number of the segment that groups go to.
    pub(crate) fn active_number(&self) -> u64 {
        self.active.header.number
    }

    /// The file that groups go to, relative to the ledger.
    pub(crate) fn active_path(&self) -> String {
        self.active.path()
    }

    /// Bytes that groups can still take in the active segment.
    pub(crate) fn room_bytes(&self) -> u64 {
        self.active.header.file_bytes.saturating_sub(self.position.offset)
    }

    /// The time that the next record gets when the wall clock says this.
    pub(crate) fn time_of_next(&self, wall: Timestamp) -> Timestamp {
        ledger_time(wall, self.position.last_at)
    }

    /// Appends one group with these records and makes it durable.
    ///
    /// `wall` is the wall clock; the records get the later of it and the last record's time plus 1 ns.
    /// **Cost**: one durable write; with a full segment also a new header, a rename and two syncs.
    pub(crate) fn append(
        &mut self,
        records: &[&Encoded],
        wall: Timestamp,
    ) -> Result<Appended, AppendError> {
        let body_bytes: usize =
            records.iter().map(|record| Frame::bytes_for(record.bytes.len())).sum();
        if body_bytes > GROUP_BODY_BYTES_MAX {
            return Err(AppendError::NoRoom(io::ErrorKind::FileTooLarge.into()));
        }
        let first_seq = self.position.next_seq;
        let first_at = self.time_of_next(wall).as_unix_ns();
        // Equal times, or a seq that its order's id has no bits for, would be found at the next open.
        let count = records.len() as u64;
        if first_at.checked_add(count).is_none() || first_seq.0.saturating_add(count) > SEQ_END {
            let what = "there is no seq or no time left for another record";
            return Err(AppendError::NoRoom(io::Error::other(what)));
        }
        let closed = self.make_room(body_bytes)?;
        let group_bytes = group_bytes(body_bytes, self.active.header.group_align);

        let nonce = self.active.header.nonce;
        let group_start = self.buffer.len();
        self.buffer.reserve(to_usize(group_bytes) + BLOCK_LEN);
        self.buffer.resize(group_start + GROUP_HEADER_BYTES);
        let mut places = Vec::with_capacity(records.len());
        for (index, record) in (0u64..).zip(records) {
            let offset = self.position.offset + (self.buffer.len() - group_start) as u64;
            places.push((offset, record.kind));
            let frame = Frame {
                seq: Seq(first_seq.0 + index),
                at: Timestamp::from_unix_ns(first_at.saturating_add(index)),
                kind: record.kind,
                version: record.version,
                body: &record.bytes,
            };
            frame.encode(nonce, self.buffer.end());
        }
        let last_at = match records.len() as u64 {
            0 => self.position.last_at,
            count => Timestamp::from_unix_ns(first_at.saturating_add(count - 1)),
        };
        self.buffer.resize(group_start + to_usize(group_bytes));
        let group = self.buffer.bytes_from_mut(group_start);
        let body_crc = crc32fast::hash(group.get(GROUP_HEADER_BYTES..).unwrap_or_default());
        let header = GroupHeader {
            nonce,
            group: self.position.next_group,
            first_seq,
            durable_next_seq: first_seq,
            count: to_u32(records.len()),
            body_bytes: to_u32(body_bytes),
            link: self.position.link,
            body_crc,
        };
        let link = header.encode_into(group);

        let write_began_ns = self.host.monotonic_ns();
        self.write_out().map_err(AppendError::InDoubt)?;
        let write_ended_ns = self.host.monotonic_ns();
        let end = self.position.offset + group_bytes;
        places.iter().for_each(|(_, kind)| self.log.note_kind(*kind));
        if self.log.is_written_past_cache() {
            // Nothing of it is in the page cache.
            self.active.keep_recent(self.position.offset, self.buffer.bytes_from(group_start));
        }
        self.active.add_records(places.into_iter(), end);
        self.position = Position {
            offset: end,
            next_seq: header.next_seq(),
            next_group: self.position.next_group + 1,
            link,
            last_at,
            sealed: records.is_empty(),
        };
        self.keep_last_block();
        Ok(Appended {
            first_seq,
            first_at: Timestamp::from_unix_ns(first_at),
            closed,
            bytes: group_bytes,
            write_began_ns,
            write_ended_ns,
        })
    }

    /// Appends a group without records: it proves that the group before it is durable.
    ///
    /// Answers false when the segment has no room for it: the next group proves it just as well.
    pub(crate) fn append_seal(&mut self) -> Result<bool, AppendError> {
        if self.room_bytes() < group_bytes(0, self.active.header.group_align) {
            return Ok(false);
        }
        self.append(&[], self.position.last_at).map(|_| true)
    }

    /// Makes durable what relaxed durability has only written; nothing to do for a durable log.
    pub(crate) fn sync_relaxed(&self) -> io::Result<()> {
        match self.active.header.durability {
            Durability::Durable => Ok(()),
            Durability::Relaxed => disk::sync(&*self.active.file()),
        }
    }

    /// Writes the buffer, filled up to whole blocks, and makes it durable.
    fn write_out(&mut self) -> io::Result<()> {
        let start = self.position.offset / BLOCK_BYTES * BLOCK_BYTES;
        let used = self.buffer.len();
        self.buffer.resize(to_usize(round_up(used as u64, BLOCK_BYTES)));
        let (file, bytes) = (self.active.file(), self.buffer.bytes());
        match (self.active.header.durability, self.layout.past_cache) {
            (Durability::Durable, true) => disk::write_durably(&*file, bytes, start)?,
            (Durability::Durable, false) => {
                disk::write_all_at(&*file, bytes, start)?;
                disk::sync(&*file)?;
            }
            (Durability::Relaxed, _) => disk::write_all_at(&*file, bytes, start)?,
        }
        self.buffer.resize(used);
        self.note_past_cache();
        Ok(())
    }

    /// Notes which way groups go, for whoever asks: the file finds out with its writes.
    fn note_past_cache(&self) {
        let past_cache = self.layout.past_cache && self.active.file().is_durable_past_cache();
        self.log.note_past_cache(past_cache);
    }

    /// Keeps of the buffer what lies in the block where the next group begins.
    fn keep_last_block(&mut self) {
        self.buffer.keep_last(to_usize(self.position.offset % BLOCK_BYTES));
    }

    /// Makes sure that the active segment has room for a group with these records: rotates when it has
    /// not. A segment keeps the alignment it was begun with; the next one has that of the options.
    fn make_room(&mut self, body_bytes: usize) -> Result<Option<Closed>, AppendError> {
        if self.room_bytes() >= group_bytes(body_bytes, self.active.header.group_align) {
            return Ok(None);
        }
        // Before anything follows in another file: a missing end of this segment would be a gap then,
        // not a torn tail.
        self.sync_relaxed().map_err(AppendError::NotWritten)?;
        let group_bytes = group_bytes(body_bytes, self.layout.group_align);
        let needed = round_up(GROUPS_START + group_bytes, BLOCK_BYTES);
        // A descriptor more than is needed up to the rename: what is free then is enough to the end.
        let files = &self.log.files;
        let spare = files.open(&self.active.path(), Open::Read).map_err(AppendError::NoRoom)?;
        let taken = files
            .relieved(|| self.preparer.take(needed.max(self.layout.segment_bytes)))
            .map_err(AppendError::NoRoom)?;
        let header = SegmentHeader {
            number: self.active.header.number + 1,
            nonce: disk::random_u64(&*self.host),
            first_seq: self.position.next_seq,
            first_group: self.position.next_group,
            file_bytes: taken.bytes,
            created_at: Timestamp::from_unix_ns(self.host.wall_ns()),
            link: self.position.link,
            group_align: self.layout.group_align,
            ..self.active.header.clone()
        };
        let (segment, header_crc) =
            install(&*self.disk, taken, header, self.active.blocks(), Some(spare))
                .map_err(AppendError::NotWritten)?;
        // No group follows in the full one: it is one of many from now on.
        self.active.use_file(files.file(self.active.path()));
        let closed = Closed { segment: Arc::clone(&self.active), end: self.position };
        self.position = Position::start(&segment.header, header_crc, self.position.last_at);
        self.active = Arc::new(segment);
        self.log.push_segment(Arc::clone(&self.active));
        self.buffer.keep_last(0);
        Ok(Some(closed))
    }
}

/// Ledger time behind a record of `last_at`, when the wall clock says `wall`: it rises with every record.
pub(crate) fn ledger_time(wall: Timestamp, last_at: Timestamp) -> Timestamp {
    let wall_ns = wall.as_unix_ns().min(WALL_NS_MAX);
    Timestamp::from_unix_ns(wall_ns.max(last_at.as_unix_ns().saturating_add(1)))
}

/// Bytes on disk of a group with records of this size.
fn group_bytes(body_bytes: usize, align: u32) -> u64 {
    round_up((GROUP_HEADER_BYTES + body_bytes) as u64, u64::from(align))
}

/// Gives a prepared file its header and its number. Nothing of the segment counts before the directory
/// is synced, and no group is written before that.
///
/// `spare` is a descriptor that is held for the sync of the directory, which opens it: after the rename
/// there is no way back.
fn install(
    disk: &dyn Disk,
    taken: Taken<'_>,
    header: SegmentHeader,
    blocks: &Arc<Blocks>,
    spare: Option<Arc<dyn DiskFile>>,
) -> io::Result<(Segment, u32)> {
    let (block, crc) = header.encode();
    disk::write_all_at(&*taken.file, &block, 0)?;
    disk::sync(&*taken.file)?;
    disk.rename(&Preparer::path(), &segment_path(header.number))?;
    // From here on the path of prepared files is free for the next one.
    let file = Arc::clone(&taken.file);
    drop(taken);
    drop(spare);
    disk.sync_dir(WAL_DIR)?;
    Ok((Segment::open(header, crc, file, blocks, OpenIndex::default()), crc))
}

/// Makes the first segment of a new ledger.
pub(crate) fn create_first(
    disk: &dyn Disk,
    host: &dyn Host,
    preparer: &Preparer,
    layout: Layout,
    ledger: LedgerId,
    durability: Durability,
) -> io::Result<()> {
    let taken = preparer.take(layout.segment_bytes)?;
    let header = SegmentHeader {
        durability,
        ledger,
        number: 1,
        nonce: disk::random_u64(host),
        first_seq: Seq::FIRST,
        first_group: 1,
        file_bytes: taken.bytes,
        created_at: Timestamp::from_unix_ns(host.wall_ns()),
        link: 0,
        group_align: layout.group_align,
    };
    // Nothing is read of it before it is opened.
    install(disk, taken, header, &Blocks::new(0), None).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::by_path::Files;
    use crate::disk::sim::{SimDisk, SimHost};
    use crate::error::ErrorKind;
    use crate::wal::format::FRAME_BYTES;
    use crate::wal::issuer::Issuer;
    use crate::wal::log::damaged_record;

    /// A writer at the beginning of a segment whose first record will have this seq.
    fn writer(disk: &SimDisk, first_seq: u64) -> Writer {
        let (disk, host) = (disk.as_disk(), SimHost::new(2).as_host());
        disk.create_dir(WAL_DIR).unwrap();
        let layout = Layout { segment_bytes: 64 * 1024, group_align: 8, past_cache: true };
        let preparer = Arc::new(Preparer::new(Arc::clone(&disk)));
        let taken = preparer.take(layout.segment_bytes).unwrap();
        let header = SegmentHeader {
            durability: Durability::Durable,
            ledger: LedgerId([9; 16]),
            number: 1,
            nonce: 5,
            first_seq: Seq(first_seq),
            first_group: 1,
            file_bytes: taken.bytes,
            created_at: Timestamp::from_unix_ns(5),
            link: 0,
            group_align: layout.group_align,
        };
        let (segment, header_crc) = install(&*disk, taken, header, &Blocks::new(0), None).unwrap();
        let position = Position::start(&segment.header, header_crc, Timestamp::from_unix_ns(9));
        let active = Arc::new(segment);
        let SegmentHeader { ledger, durability, .. } = active.header;
        let issuer = Issuer { ledger, durability, partition: 0 };
        let files = Files::new(Arc::clone(&disk));
        let log = Log::new(issuer, files, vec![Arc::clone(&active)], Seq(first_seq));
        Writer::new(disk, host, Arc::new(log), preparer, layout, active, position).unwrap()
    }

    fn record(bytes: usize) -> Encoded {
        Encoded { kind: 1, version: 1, bytes: vec![7; bytes] }
    }

    fn append(writer: &mut Writer, records: &[&Encoded]) -> Result<Seq, AppendError> {
        writer.append(records, Timestamp::from_unix_ns(10)).map(|appended| appended.first_seq)
    }

    #[test]
    fn the_last_seq_is_given_and_none_behind_it() {
        let (disk, record) = (SimDisk::new(1), record(10));
        let mut writer = writer(&disk, SEQ_END - 1);
        let refused = append(&mut writer, &[&record, &record]).unwrap_err();
        assert!(matches!(refused, AppendError::NoRoom(_)), "{refused:?}");
        assert_eq!(append(&mut writer, &[&record]).unwrap(), Seq(SEQ_END - 1));
        let calls = disk.io_calls();
        let refused = append(&mut writer, &[&record]).unwrap_err();
        assert!(matches!(refused, AppendError::NoRoom(_)), "{refused:?}");
        assert_eq!(disk.io_calls(), calls, "nothing was touched");
    }

    #[test]
    fn a_group_may_have_as_many_bytes_as_a_reader_allows() {
        let disk = SimDisk::new(1);
        let mut writer = writer(&disk, 1);
        let refused = append(&mut writer, &[&record(GROUP_BODY_BYTES_MAX - FRAME_BYTES + 1)]);
        assert!(matches!(refused, Err(AppendError::NoRoom(_))), "{refused:?}");
        let largest = record(GROUP_BODY_BYTES_MAX - FRAME_BYTES);
        assert_eq!(append(&mut writer, &[&largest]).unwrap(), Seq(1));
    }

    #[test]
    fn the_log_shows_what_was_published_and_nothing_else() {
        let (disk, record) = (SimDisk::new(1), record(10));
        let mut writer = writer(&disk, 1);
        append(&mut writer, &[&record, &record]).unwrap();
        for next in 1..=3 {
            writer.log.publish(Seq(next));
            for seq in 0..6 {
                let seen = writer.log.read(Seq(seq)).unwrap().is_some();
                assert_eq!(seen, (1..next).contains(&seq), "{seq} before {next}");
            }
        }
    }

    #[test]
    fn damage_has_a_place_when_there_is_one() {
        let writer = writer(&SimDisk::new(1), 1);
        for (offset, place) in [(0, None), (4160, Some(4160))] {
            let error = damaged_record(&writer.active, Seq(1), offset);
            let ErrorKind::Corrupt(damage) = error.kind() else { panic!("{error}") };
            assert_eq!(damage.offset, place);
        }
    }

    #[test]
    fn the_first_record_at_or_after_a_time_is_found_in_a_log_of_any_length() {
        let (disk, record) = (SimDisk::new(1), record(10));
        let mut writer = writer(&disk, 1);
        for last in 0..20 {
            writer.log.publish(Seq(last + 1));
            let seq_at = |ns| writer.log.seq_at(Timestamp::from_unix_ns(ns)).unwrap().0;
            assert_eq!(seq_at(0), 1);
            for seq in 1..=last {
                assert_eq!([seq_at(seq * 100), seq_at(seq * 100 + 1)], [seq, seq + 1], "of {last}");
            }
            writer.append(&[&record], Timestamp::from_unix_ns((last + 1) * 100)).unwrap();
        }
    }

    #[test]
    fn a_segment_says_when_it_was_begun() {
        let (disk, record) = (SimDisk::new(1), record(40_000));
        let mut writer = writer(&disk, 1);
        append(&mut writer, &[&record]).unwrap();
        let before = writer.host.wall_ns();
        append(&mut writer, &[&record]).unwrap();
        assert_eq!(writer.active_number(), 2);
        let begun = writer.active.header.created_at.as_unix_ns();
        assert!((before..writer.host.wall_ns()).contains(&begun), "{begun}");
    }
}
