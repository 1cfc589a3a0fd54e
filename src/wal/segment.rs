//! One segment of the log, open for reading: its header, its file, and where its records are.
//!
//! Always true: the header was checked; the offsets cover exactly the records that were proven when the
//! segment was opened or appended since; a segment goes from open to sealed once and never back.

use std::io;
use std::sync::Arc;

use crate::sync::RwLock;

use super::blocks::Blocks;
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

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) header_crc: u32,
    file: RwLock<Arc<dyn DiskFile>>,
    /// Where blocks of its sections are kept that were read before.
    blocks: Arc<Blocks>,
    index: RwLock<Index>,
    recent: Recent,
}

/// Where the records of a segment are.
#[derive(Clone, Debug)]
enum Index {
    /// In memory, while the segment is written and until it is sealed.
    Open(OpenIndex),
    /// In the section behind the groups, or in memory when that section can't be read.
    Sealed { footer: Arc<Footer>, offsets: Offsets },
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

/// Where the offsets of a sealed segment's records are.
#[derive(Clone, Debug)]
enum Offsets {
    OnDisk(Section),
    InMemory(Arc<[u32]>),
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
        let (file, index) = (RwLock::new(file), RwLock::new(Index::Open(index)));
        let (blocks, recent) = (Arc::clone(blocks), Recent::default());
        Segment { header, header_crc, file, blocks, index, recent }
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
        let offsets = Offsets::OnDisk(offsets);
        let index = RwLock::new(Index::Sealed { footer: Arc::new(footer), offsets });
        let blocks = Arc::clone(blocks);
        let (file, recent) = (RwLock::new(file), Recent::default());
        Some(Segment { header, header_crc, file, blocks, index, recent })
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

    pub(crate) fn footer(&self) -> Option<Arc<Footer>> {
        match &*self.index.read() {
            Index::Sealed { footer, .. } => Some(Arc::clone(footer)),
            Index::Open(_) => None,
        }
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
        let (offsets, groups_end) = match &*self.index.read() {
            Index::Open(open) => {
                return Ok(in_memory(&open.offsets, open.end.unwrap_or(self.header.file_bytes)));
            }
            Index::Sealed { footer, .. } if seq >= footer.next_seq => return Ok(None),
            Index::Sealed { footer, offsets: Offsets::InMemory(offsets) } => {
                return Ok(in_memory(offsets, footer.groups_end));
            }
            // Read the block without holding the lock.
            Index::Sealed { footer, offsets: Offsets::OnDisk(offsets) } => {
                (offsets.clone(), footer.groups_end)
            }
        };
        let (offset, next) = offsets.u32_and_next_at(index)?;
        Ok(Some(RecordAt { offset: offset.into(), ends_before: next.map(u64::from), groups_end }))
    }

    /// Where the frame of `seq` begins. `None` when the segment has no such record.
    #[cfg(test)]
    pub(crate) fn offset_of(&self, seq: Seq) -> Result<Option<u64>, SectionError> {
        Ok(self.place_of(seq)?.map(|place| place.offset))
    }

    /// Records by kind.
    pub(crate) fn counts(&self) -> Vec<(u8, u64)> {
        match &*self.index.read() {
            Index::Open(open) => open.counts.clone(),
            Index::Sealed { footer, .. } => footer.counts.clone(),
        }
    }

    /// Takes in records that were just made durable, in a group that ends at `end`. No effect on a sealed
    /// segment, which gets none.
    pub(crate) fn add_records(&self, records: impl Iterator<Item = (u64, u8)>, end: u64) {
        if let Index::Open(open) = &mut *self.index.write() {
            for (offset, kind) in records {
                open.add_record(offset, kind);
            }
            open.end = Some(end);
        }
    }

    /// Replaces offsets that can't be read by what a scan of the groups found. The segment stays sealed.
    pub(crate) fn reindex(&self, found: OpenIndex) {
        if let Index::Sealed { offsets, .. } = &mut *self.index.write() {
            *offsets = Offsets::InMemory(found.offsets.into());
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
        let open = match &*self.index.read() {
            Index::Open(open) => open.clone(),
            Index::Sealed { .. } => return Ok(()),
        };
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
        let offsets = Offsets::OnDisk(self.section_at(at));
        *self.index.write() = Index::Sealed { footer: Arc::new(footer), offsets };
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
