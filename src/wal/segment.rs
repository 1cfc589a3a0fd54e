//! One segment of the log, open for reading: its header, its file, and where its records are.
//!
//! Always true: the header was checked; the offsets cover exactly the records that were proven when the
//! segment was opened or appended since; a segment goes from open to sealed once and never back. Who reads a
//! sealed one takes no lock and counts no reference of it: any number of threads ask it at once.

use std::io;
use std::sync::Arc;

use crate::sync::{OnceLock, RwLock};

use super::blocks::{Blocks, GROUPS, Place};
use super::format::{
    BLOCK_BYTES, BLOCK_LEN, Footer, SECTION_OFFSETS, SectionAt, SegmentHeader, round_up,
    segment_path,
};
use super::recent::Recent;
use super::scan::{Group, Position};
use super::section::{self, Section, SectionError};
use crate::bytes::{PutFields, to_u32, to_usize};
use crate::disk::by_path::Files;
use crate::disk::{self, DiskFile, Open};
use crate::order::Seq;

/// Longer records are read by themselves: what they cost is copying, and they would push out what is asked for more
/// often.
const KEPT_RECORD_BYTES_MAX: usize = 2 * BLOCK_LEN;

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) header_crc: u32,
    file: RwLock<Arc<dyn DiskFile>>,
    /// Where blocks of it are kept that were read before, once it is sealed.
    blocks: Arc<Blocks>,
    /// Where the records are while the segment is written, and until it is sealed; nothing afterwards.
    open: RwLock<OpenIndex>,
    /// Set under the lock of `open`: whoever finds nothing here and then takes that lock has to look again.
    sealed: OnceLock<Sealed>,
    recent: Recent,
}

/// Where the records of a sealed segment are.
#[derive(Debug)]
struct Sealed {
    footer: Arc<Footer>,
    /// In the section behind the groups.
    offsets: Section,
    /// In memory, once that section could not be read.
    found_again: OnceLock<Box<[u32]>>,
}

/// Where a record lies in its segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordAt {
    /// Where its frame begins.
    pub(crate) offset: u64,
    /// It does not reach up to here, where the next one begins, when that is known without another read.
    pub(crate) ends_before: Option<u64>,
    /// Where the groups end so far, or the file when that is not known: nothing behind it is read for a record.
    pub(crate) groups_end: u64,
}

/// What is gathered about the records of a segment until it is sealed.
#[derive(Clone, Default, Debug)]
pub(crate) struct OpenIndex {
    /// Offset of each record's frame, by seq.
    pub(crate) offsets: Vec<u32>,
    /// Records by kind, sorted by kind.
    pub(crate) counts: Vec<(u8, u64)>,
    /// Where the groups end, once one was appended: what is read behind it is read for nothing.
    end: Option<u64>,
}

impl OpenIndex {
    /// Takes in the records of a group.
    pub(crate) fn add(&mut self, group: &Group<'_>) {
        for (offset, frame) in group.records() {
            self.add_record(offset, frame.kind);
        }
    }

    /// Takes in one record.
    pub(crate) fn add_record(&mut self, offset: u64, kind: u8) {
        // A segment has at most 4 GiB, so an offset fits.
        self.offsets.push(to_u32(to_usize(offset)));
        match self.counts.binary_search_by_key(&kind, |(kind, _)| *kind) {
            Ok(index) => {
                if let Some((_, count)) = self.counts.get_mut(index) {
                    *count += 1;
                }
            }
            Err(index) => self.counts.insert(index, (kind, 1)),
        }
    }
}

impl Segment {
    /// A segment whose records were found by a scan.
    pub(crate) fn open(
        header: SegmentHeader,
        header_crc: u32,
        file: Arc<dyn DiskFile>,
        blocks: &Arc<Blocks>,
        index: OpenIndex,
    ) -> Segment {
        let (file, open) = (RwLock::new(file), RwLock::new(index));
        let (blocks, recent) = (Arc::clone(blocks), Recent::default());
        Segment { header, header_crc, file, blocks, open, sealed: OnceLock::new(), recent }
    }

    /// A segment whose footer was read and checked.
    pub(crate) fn sealed(
        header: SegmentHeader,
        header_crc: u32,
        file: Arc<dyn DiskFile>,
        blocks: &Arc<Blocks>,
        footer: Footer,
    ) -> Option<Segment> {
        let offsets = Section {
            segment: header.number,
            file: Arc::clone(&file),
            blocks: Arc::clone(blocks),
            nonce: header.nonce,
            at: footer.section(SECTION_OFFSETS)?,
        };
        let records = footer.next_seq.0.checked_sub(header.first_seq.0)?;
        if offsets.at.content_bytes != records.checked_mul(4)? {
            return None;
        }
        let segment = Segment::open(header, header_crc, file, blocks, OpenIndex::default());
        segment.set_sealed(footer, offsets);
        Some(segment)
    }

    /// The path of its file, relative to the ledger.
    pub(crate) fn path(&self) -> String {
        segment_path(self.header.number)
    }

    /// Its file. That of the last segment is held open, to write; every other is opened when it is read.
    pub(crate) fn file(&self) -> Arc<dyn DiskFile> {
        Arc::clone(&self.file.read())
    }

    /// Keeps a group in memory that was made durable at `offset`.
    pub(crate) fn keep_recent(&self, offset: u64, group: &[u8]) {
        self.recent.keep(offset, group);
    }

    /// Fills `buffer` from `offset` on, as far as there is something: from memory, where the newest groups are
    /// kept, or from the file.
    pub(crate) fn read_up_to(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.recent.read(buffer, offset) {
            0 => disk::read_up_to(&*self.file(), buffer, offset),
            read => Ok(read),
        }
    }

    /// From now on the segment is read, and written, through this file: the same one, opened otherwise.
    pub(crate) fn use_file(&self, file: Arc<dyn DiskFile>) {
        let before = std::mem::replace(&mut *self.file.write(), file);
        drop(before);
    }

    /// Adds so many bytes of a record of a sealed segment, out of blocks that are kept in memory or are from now on.
    /// False, and adds nothing, when they are to be read from the file: it is not sealed, they are too many, or a block is
    /// not to be had.
    ///
    /// Why: a call of the system to read one order costs more than all that is done with it.
    pub(crate) fn add_kept(&self, bytes: &mut Vec<u8>, offset: u64, length: usize) -> bool {
        if self.sealed.get().is_none() || length > KEPT_RECORD_BYTES_MAX {
            return false;
        }
        let start = bytes.len();
        bytes.reserve(length);
        while bytes.len() < start + length {
            let at = offset + (bytes.len() - start) as u64;
            let block = self.group_block(at / BLOCK_BYTES);
            let rest = block.as_ref().and_then(|block| block.get(to_usize(at % BLOCK_BYTES)..));
            let Some(rest) = rest else {
                bytes.truncate(start);
                return false;
            };
            let wanted = start + length - bytes.len();
            bytes.put(rest.get(..wanted).unwrap_or(rest));
        }
        true
    }

    /// A block of the groups as it lies in the file: not checked, as the records in it are when they are decoded.
    fn group_block(&self, block: u64) -> Option<Arc<[u8]>> {
        let place = Place { segment: self.header.number, kind: GROUPS, block };
        let read = self.blocks.get(place, || {
            // Read where it stays. Nobody else has it yet, so it may be filled.
            let mut bytes: Arc<[u8]> = Arc::new([0; BLOCK_LEN]);
            let target = Arc::get_mut(&mut bytes).unwrap_or_default();
            let read = disk::read_up_to(&*self.file(), target, block * BLOCK_BYTES);
            // Whoever reads the record by itself finds out what it is.
            if matches!(read, Ok(BLOCK_LEN)) { Ok(bytes) } else { Err(()) }
        });
        read.ok()
    }

    pub(crate) fn footer(&self) -> Option<Arc<Footer>> {
        self.sealed.get().map(|sealed| Arc::clone(&sealed.footer))
    }

    /// What `ask` makes of the index of an open segment, which is not sealed meanwhile; else what the segment is
    /// sealed with.
    fn while_open<T>(&self, ask: impl FnOnce(&OpenIndex) -> T) -> Result<T, &Sealed> {
        if let Some(sealed) = self.sealed.get() {
            return Err(sealed);
        }
        let open = self.open.read();
        // It may have been sealed in between, and then there is nothing in there any more.
        self.sealed.get().map_or_else(|| Ok(ask(&open)), Err)
    }

    /// From now on the segment is sealed.
    fn set_sealed(&self, footer: Footer, offsets: Section) {
        let mut open = self.open.write();
        let (footer, found_again) = (Arc::new(footer), OnceLock::new());
        // Whoever was first sealed it with the same: it follows from the groups.
        let _first = self.sealed.set(Sealed { footer, offsets, found_again }).is_ok();
        *open = OpenIndex::default();
    }

    /// A section of a sealed segment.
    pub(crate) fn section(&self, kind: u32) -> Option<Section> {
        let at = self.footer()?.section(kind)?;
        Some(self.section_at(at))
    }

    /// Where blocks of the sections of this ledger are kept.
    pub(crate) fn blocks(&self) -> &Arc<Blocks> {
        &self.blocks
    }

    fn section_at(&self, at: SectionAt) -> Section {
        let (segment, nonce) = (self.header.number, self.header.nonce);
        Section { segment, file: self.file(), blocks: Arc::clone(&self.blocks), nonce, at }
    }

    /// Where the record of `seq` lies. `None` when the segment has no such record.
    pub(crate) fn place_of(&self, seq: Seq) -> Result<Option<RecordAt>, SectionError> {
        let Some(index) = seq.0.checked_sub(self.header.first_seq.0) else {
            return Ok(None);
        };
        let in_memory = |offsets: &[u32], end: u64| {
            let mut rest = offsets.iter().skip(to_usize(index)).map(|offset| u64::from(*offset));
            let offset = rest.next()?;
            Some(RecordAt { offset, ends_before: rest.next(), groups_end: end })
        };
        let sealed = match self
            .while_open(|open| in_memory(&open.offsets, open.end.unwrap_or(self.header.file_bytes)))
        {
            Ok(place) => return Ok(place),
            Err(sealed) => sealed,
        };
        let groups_end = sealed.footer.groups_end;
        if seq >= sealed.footer.next_seq {
            return Ok(None);
        }
        if let Some(offsets) = sealed.found_again.get() {
            return Ok(in_memory(offsets, groups_end));
        }
        let (offset, next) = sealed.offsets.u32_and_next_at(index)?;
        Ok(Some(RecordAt { offset: offset.into(), ends_before: next.map(u64::from), groups_end }))
    }

    /// Where the frame of `seq` begins. `None` when the segment has no such record.
    #[cfg(test)]
    pub(crate) fn offset_of(&self, seq: Seq) -> Result<Option<u64>, SectionError> {
        Ok(self.place_of(seq)?.map(|place| place.offset))
    }

    /// Records by kind.
    pub(crate) fn counts(&self) -> Vec<(u8, u64)> {
        let counts = self.while_open(|open| open.counts.clone());
        counts.unwrap_or_else(|sealed| sealed.footer.counts.clone())
    }

    /// Takes in records that were just made durable, in a group that ends at `end`. No effect on a sealed
    /// segment, which gets none.
    pub(crate) fn add_records(&self, records: impl Iterator<Item = (u64, u8)>, end: u64) {
        let mut open = self.open.write();
        if self.sealed.get().is_some() {
            return;
        }
        for (offset, kind) in records {
            open.add_record(offset, kind);
        }
        open.end = Some(end);
    }

    /// Replaces offsets that can't be read by what a scan of the groups found. The segment stays sealed.
    pub(crate) fn reindex(&self, found: OpenIndex) {
        if let Some(sealed) = self.sealed.get() {
            // Whoever was first found the same.
            let _first = sealed.found_again.set(found.offsets.into()).is_ok();
        }
    }

    /// Seals the segment: writes the sections behind the groups, which end at `end`, cuts the file where
    /// the footer will end, and syncs; then writes the footer, and syncs. Nothing before `end` is touched.
    /// A crash anywhere in between leaves the segment unsealed, and it is sealed again at the next open.
    ///
    /// Two syncs, because opening believes a footer without reading what it stands for: were both written
    /// before one sync, a power cut could keep the footer and take the sections.
    ///
    /// May be tried again after an error, and then writes everything anew. Each try has a descriptor of
    /// its own: on one whose sync has failed the next sync proves nothing (rule 11).
    ///
    /// # Errors
    /// Those of writing and syncing; the groups are not affected.
    pub(crate) fn seal(
        &self,
        files: &Files,
        end: &Position,
        sections: &[(u32, Vec<u8>)],
    ) -> io::Result<()> {
        let Ok(open) = self.while_open(OpenIndex::clone) else { return Ok(()) };
        let Tail { start, bytes, footer } =
            tail(&self.header, self.header_crc, &open, end, sections);
        let file = files.open(&self.path(), Open::Write)?;
        // The size first: where the footer is looked for must not move after it is there.
        file.set_bytes(start + bytes.len() as u64)?;
        let (sections, footer_block) =
            bytes.split_last_chunk::<BLOCK_LEN>().ok_or(io::ErrorKind::InvalidData)?;
        disk::write_all_at(&*file, sections, start)?;
        disk::sync(&*file)?;
        disk::write_all_at(&*file, footer_block, start + sections.len() as u64)?;
        disk::sync(&*file)?;
        let at = footer.section(SECTION_OFFSETS).ok_or(io::ErrorKind::InvalidData)?;
        self.set_sealed(footer, self.section_at(at));
        self.recent.clear();
        Ok(())
    }
}

/// What a segment is sealed with.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    /// Where it begins in the file; from the end of the groups up to here there are zeros.
    pub(crate) start: u64,
    /// The sections and the footer, as they lie in the file; behind them the file ends.
    pub(crate) bytes: Vec<u8>,
    pub(crate) footer: Footer,
}

/// The tail of a segment with these records, whose groups end at `end`. It follows from the groups alone
/// (the sections are derived from them too), so that it can be made again and compared.
pub(crate) fn tail(
    header: &SegmentHeader,
    header_crc: u32,
    index: &OpenIndex,
    end: &Position,
    sections: &[(u32, Vec<u8>)],
) -> Tail {
    let mut offsets = Vec::with_capacity(index.offsets.len() * 4);
    for offset in &index.offsets {
        offsets.put_u32(*offset);
    }
    let start = round_up(end.offset, BLOCK_BYTES);
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    let own = [(SECTION_OFFSETS, offsets)];
    for (kind, content) in own.iter().chain(sections) {
        let offset = start + bytes.len() as u64;
        directory.push(SectionAt { kind: *kind, offset, content_bytes: content.len() as u64 });
        bytes.extend(section::encode(header.nonce, *kind, content));
    }
    let footer = Footer {
        header_crc,
        next_seq: end.next_seq,
        next_group: end.next_group,
        groups_end: end.offset,
        last_at: end.last_at,
        link: end.link,
        sections: directory,
        counts: index.counts.clone(),
    };
    bytes.extend(footer.encode());
    Tail { start, bytes, footer }
}

#[cfg(test)]
mod tests;
