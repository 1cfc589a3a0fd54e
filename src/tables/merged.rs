//! The keys of several segments in one sorted file, so that a key is looked for in few places however long
//! the log is.
//!
//! `derived/tables/<first>-<last>-<nonce>.run`, named by the numbers of the segments and a random number, so
//! that no name is ever that of two files; all integers little-endian:
//!
//! ```text
//! 0        header, one block
//! 4096     keys, as in a segment: see `run`
//! ...      filter, as in a segment: see `filter`
//! ```
//!
//! | offset | bytes | field | meaning |
//! |---|---|---|---|
//! | 0 | 8 | magic | `OLEDRUN\n` |
//! | 8 | 4 | version | 1 |
//! | 12 | 16 | ledger | id of the ledger |
//! | 28 | 8 | nonce | random; repeated in the checksum of every block |
//! | 36 | 8 | first | number of the first segment |
//! | 44 | 8 | last | number of the last one |
//! | 52 | 4 | first_header_crc | CRC of the header of the first segment |
//! | 56 | 4 | end_link | header CRC of the last group in the last one |
//! | 60 | 8 | first_seq | seq of the first record; seqs in the file count from it |
//! | 68 | 8 | next_seq | one after the last record |
//! | 76 | 8 | keys | how many there are |
//! | 84 | 4008 | - | zeros |
//! | 4092 | 4 | crc | of the 4,092 bytes before |
//!
//! Always true: a run under its name is whole on disk (it is written aside, synced, renamed), and is believed
//! only when it says of exactly these segments what their headers and footers say: one of another history, or
//! of a part of it, is none. Disposable: the same keys are in the segments.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::io;
use std::sync::Arc;

use super::filter;
use super::hash::KeyHash;
use super::manifest::TABLES_DIR;
use super::run::{ENTRY_BYTES, Run, keys_in};
use crate::bytes::{Fields, PutFields, to_u32, to_usize};
use crate::disk::by_path::Files;
use crate::disk::{self, Disk, DiskFile, Open};
use crate::mix::mix;
use crate::order::{LedgerId, Seq};
use crate::wal::blocks::Blocks;
use crate::wal::format::{
    BLOCK_BYTES, BLOCK_LEN, Footer, SECTION_BLOCK_CONTENT, SECTION_FILTER, SECTION_KEYS, SectionAt,
    SegmentHeader,
};
use crate::wal::section::{self, Section, SectionError};
use crate::wal::segment::Segment;

const MAGIC: &[u8; 8] = b"OLEDRUN\n";
const VERSION: u32 = 1;
/// Added to the kinds of a segment's sections: a block of a run is not that of a segment.
const KIND_MERGED: u32 = 0x100;
/// So many runs become one.
pub(crate) const WIDTH: u64 = 4;
/// Most segments in one run. Beyond that a log has one more run for each 256 segments, and merging so much
/// at once would need as much space again.
pub(crate) const SEGMENTS_MAX: u64 = 256;
/// Blocks that are written with one call.
const PIECE_BLOCKS: usize = 64;
/// Bytes after which a run that is being written is synced: one sync of all of it would keep the syncs of
/// orders waiting.
const SYNC_EVERY_BYTES: u64 = 4 * 1024 * 1024;

/// What a run says of the segments whose keys it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) last: u64,
    first_header_crc: u32,
    end_link: u32,
    pub(crate) first_seq: Seq,
    pub(crate) next_seq: Seq,
    keys: u64,
}

impl Span {
    /// That of these segments, which follow each other; `None` when one of them is not sealed.
    pub(crate) fn of(segments: &[Arc<Segment>]) -> Option<Span> {
        let (first, last) = (segments.first()?, segments.last()?);
        let counts: Vec<_> =
            segments.iter().map(|it| it.footer().map(|footer| footer.counts.clone())).collect();
        let counts = counts.iter().map(Option::as_ref);
        let end = last.footer()?;
        Span::new(&first.header, first.header_crc, last.header.number, &end, counts)
    }

    /// The same from the header of the first segment, the footer of the last and the counts of all: `None`
    /// for one that is not sealed.
    pub(crate) fn new<'a>(
        first: &SegmentHeader,
        first_header_crc: u32,
        last: u64,
        end: &Footer,
        counts: impl Iterator<Item = Option<&'a Vec<(u8, u64)>>>,
    ) -> Option<Span> {
        let mut keys = 0u64;
        for counts in counts {
            keys = keys.checked_add(keys_in(counts?))?;
        }
        Some(Span {
            first: first.number,
            last,
            first_header_crc,
            end_link: end.link,
            first_seq: first.first_seq,
            next_seq: end.next_seq,
            keys,
        })
    }

    /// Bytes of the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        let filter = filter::bytes_for(to_usize(self.keys)) as u64;
        let filter_blocks = filter.div_ceil(SECTION_BLOCK_CONTENT as u64);
        (self.keys_at().blocks().saturating_add(filter_blocks))
            .saturating_add(1)
            .saturating_mul(BLOCK_BYTES)
    }

    fn keys_at(&self) -> SectionAt {
        SectionAt {
            // Runs over more segments begin at the same one: told apart by their kind.
            kind: SECTION_KEYS + KIND_MERGED * to_u32(to_usize(self.last - self.first + 1)),
            offset: BLOCK_BYTES,
            content_bytes: self.keys.saturating_mul(ENTRY_BYTES as u64),
        }
    }

    fn filter_at(&self) -> SectionAt {
        let keys = self.keys_at();
        SectionAt {
            kind: keys.kind - SECTION_KEYS + SECTION_FILTER,
            offset: keys.offset + keys.blocks() * BLOCK_BYTES,
            content_bytes: filter::bytes_for(to_usize(self.keys)) as u64,
        }
    }

    fn encode(&self, ledger: LedgerId, nonce: u64) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK_LEN);
        block
            .put(MAGIC)
            .put_u32(VERSION)
            .put(&ledger.0)
            .put_u64(nonce)
            .put_u64(self.first)
            .put_u64(self.last)
            .put_u32(self.first_header_crc)
            .put_u32(self.end_link)
            .put_u64(self.first_seq.0)
            .put_u64(self.next_seq.0)
            .put_u64(self.keys);
        block.resize(BLOCK_LEN - 4, 0);
        let crc = crc32fast::hash(&block);
        block.put_u32(crc);
        block
    }

    /// The ledger, the nonce and the span of a header; `None` when it is none.
    fn decode(block: &[u8]) -> Option<(LedgerId, u64, Span)> {
        let (content, crc) = block.split_last_chunk::<4>()?;
        if block.len() != BLOCK_LEN || u32::from_le_bytes(*crc) != crc32fast::hash(content) {
            return None;
        }
        let mut fields = Fields(content);
        if fields.array()? != *MAGIC || fields.u32()? != VERSION {
            return None;
        }
        let (ledger, nonce) = (LedgerId(fields.array()?), fields.u64()?);
        let span = Span {
            first: fields.u64()?,
            last: fields.u64()?,
            first_header_crc: fields.u32()?,
            end_link: fields.u32()?,
            first_seq: Seq(fields.u64()?),
            next_seq: Seq(fields.u64()?),
            keys: fields.u64()?,
        };
        Some((ledger, nonce, span))
    }
}

/// The name of a run's file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Name {
    pub(crate) first: u64,
    pub(crate) last: u64,
    nonce: u64,
}

impl Name {
    /// What this file name says; `None` when it is not one that a merge gives.
    pub(crate) fn parse(file_name: &str) -> Option<Name> {
        let mut parts = file_name.strip_suffix(".run")?.split('-');
        let name = Name {
            first: parts.next()?.parse().ok()?,
            last: parts.next()?.parse().ok()?,
            nonce: u64::from_str_radix(parts.next()?, 16).ok()?,
        };
        (name.to_string() == file_name && is_place(name.first, name.last)).then_some(name)
    }

    /// Where the file is, relative to the ledger.
    pub(crate) fn path(&self) -> String {
        disk::join(TABLES_DIR, &self.to_string())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}-{:010}-{:016x}.run", self.first, self.last, self.nonce)
    }
}

/// Whether runs of these segments are made at all: of 4, 16, 64 or 256, from a multiple of that on. So it
/// follows from the number of segments which runs there are.
pub(crate) fn is_place(first: u64, last: u64) -> bool {
    let Some(count) = last.checked_sub(first).and_then(|count| count.checked_add(1)) else {
        return false;
    };
    let is_width = count > 1
        && count <= SEGMENTS_MAX
        && count.is_power_of_two()
        && count.trailing_zeros().is_multiple_of(WIDTH.trailing_zeros());
    is_width && first.checked_sub(1).is_some_and(|before| before.is_multiple_of(count))
}

/// The run of this span in `file`, when it is whole as far as opening looks: its header, its size and its
/// filter. Its keys are checked block by block when they are read.
pub(crate) fn open(
    file: &Arc<dyn DiskFile>,
    blocks: &Arc<Blocks>,
    ledger: LedgerId,
    name: &Name,
    span: &Span,
) -> Option<Run> {
    if file.bytes().ok()? != span.file_bytes() {
        return None;
    }
    let mut block = vec![0; BLOCK_LEN];
    disk::read_exact_at(&**file, &mut block, 0).ok()?;
    let (its_ledger, nonce, its_span) = Span::decode(&block)?;
    if its_ledger != ledger || nonce != name.nonce || its_span != *span {
        return None;
    }
    let filter = section(file, blocks, nonce, span, span.filter_at());
    let filter = filter.content(filter.at.content_bytes).ok()?;
    let keys = section(file, blocks, nonce, span, span.keys_at());
    Some(Run::new(keys, filter, span.first_seq, Some(name.clone())))
}

fn section(
    file: &Arc<dyn DiskFile>,
    blocks: &Arc<Blocks>,
    nonce: u64,
    span: &Span,
    at: SectionAt,
) -> Section {
    let (file, blocks) = (Arc::clone(file), Arc::clone(blocks));
    Section { segment: span.first, file, blocks, nonce, at }
}

/// Where a merge takes place, and how.
pub(crate) struct Merge<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) files: &'a Arc<Files>,
    pub(crate) blocks: &'a Arc<Blocks>,
    pub(crate) ledger: LedgerId,
    /// Random, for this run alone.
    pub(crate) nonce: u64,
    /// Called between two pieces: waits a little; false gives up.
    pub(crate) go_on: &'a dyn Fn() -> bool,
}

impl Merge<'_> {
    /// Writes the run of `span` from the runs of its parts, and puts it in place. Durable when this returns.
    ///
    /// # Errors
    /// Those of reading the parts, a damaged one among them, and of writing; `Interrupted` when it gave up.
    /// What was written aside is removed, as far as the disk lets it.
    pub(crate) fn run(&self, span: &Span, parts: &[Arc<Run>]) -> Result<Run, SectionError> {
        let name = Name { first: span.first, last: span.last, nonce: self.nonce };
        let path = name.path();
        let aside = disk::aside("", &path);
        let written = self.write(span, parts, &aside).and_then(|filter| {
            self.disk.rename(&aside, &path)?;
            self.disk.sync_dir(TABLES_DIR)?;
            Ok(filter)
        });
        if written.is_err() {
            // What stays goes at the next opening.
            drop(self.disk.remove(&aside));
        }
        let filter = written?;
        let file = self.files.file(path);
        let keys = section(&file, self.blocks, self.nonce, span, span.keys_at());
        Ok(Run::new(keys, filter, span.first_seq, Some(name)))
    }

    fn write(&self, span: &Span, parts: &[Arc<Run>], aside: &str) -> Result<Vec<u8>, SectionError> {
        let file = self.files.open(aside, Open::CreateNew)?;
        let damaged = |block| SectionError::Damaged { kind: SECTION_KEYS, block, offset: 0 };
        let mut filter = vec![0; filter::bytes_for(to_usize(span.keys))];
        let mut out = Pieces::new(self, &*file, span.keys_at());
        let mut streams: Vec<_> = parts.iter().map(|run| run.entries()).collect();
        let mut heads = BinaryHeap::new();
        for (index, stream) in streams.iter_mut().enumerate() {
            if let Some(entry) = stream.next() {
                heads.push(Reverse((entry?, index)));
            }
        }
        let (mut keys, mut last) = (0, None);
        while let Some(Reverse((entry @ (hash, seq), index))) = heads.pop() {
            if let Some(entry) = streams.get_mut(index).and_then(Iterator::next) {
                heads.push(Reverse((entry?, index)));
            }
            // A part with valid checksums that is not sorted, or has a record of elsewhere, is no part.
            let within = (span.first_seq..span.next_seq).contains(&seq);
            if last.replace(entry) > Some(entry) || !within {
                return Err(damaged(0));
            }
            filter::add(&mut filter, hash);
            let offset = u32::try_from(seq.0 - span.first_seq.0).map_err(|_| damaged(0))?;
            out.content.put_u64(hash.0).put_u32(offset);
            out.write_when_full()?;
            keys += 1;
        }
        if keys != span.keys {
            return Err(damaged(0));
        }
        out.finish()?;
        let mut out = Pieces::new(self, &*file, span.filter_at());
        for content in filter.chunks(SECTION_BLOCK_CONTENT) {
            out.content.put(content);
            out.write_when_full()?;
        }
        out.finish()?;
        disk::write_all_at(&*file, &span.encode(self.ledger, self.nonce), 0)?;
        disk::sync(&*file)?;
        Ok(filter)
    }
}

/// Writes a section piece by piece.
struct Pieces<'a> {
    merge: &'a Merge<'a>,
    file: &'a dyn DiskFile,
    at: SectionAt,
    content: Vec<u8>,
    /// Blocks that are written.
    blocks: u64,
    unsynced_bytes: u64,
}

impl<'a> Pieces<'a> {
    fn new(merge: &'a Merge<'a>, file: &'a dyn DiskFile, at: SectionAt) -> Pieces<'a> {
        let content = Vec::with_capacity((PIECE_BLOCKS + 1) * SECTION_BLOCK_CONTENT);
        Pieces { merge, file, at, content, blocks: 0, unsynced_bytes: 0 }
    }

    fn write_when_full(&mut self) -> Result<(), SectionError> {
        if self.content.len() < PIECE_BLOCKS * SECTION_BLOCK_CONTENT {
            return Ok(());
        }
        if !(self.merge.go_on)() {
            return Err(io::Error::from(io::ErrorKind::Interrupted).into());
        }
        let behind = self.content.split_off(PIECE_BLOCKS * SECTION_BLOCK_CONTENT);
        self.write()?;
        self.content.extend(behind);
        Ok(())
    }

    fn write(&mut self) -> Result<(), SectionError> {
        let bytes =
            section::encode_from(self.merge.nonce, self.at.kind, self.blocks, &self.content);
        disk::write_all_at(self.file, &bytes, self.at.offset + self.blocks * BLOCK_BYTES)?;
        self.blocks += bytes.len() as u64 / BLOCK_BYTES;
        self.unsynced_bytes += bytes.len() as u64;
        if self.unsynced_bytes >= SYNC_EVERY_BYTES {
            disk::sync(self.file)?;
            self.unsynced_bytes = 0;
        }
        self.content.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(), SectionError> {
        if self.content.is_empty() { Ok(()) } else { self.write() }
    }
}

/// Removes the files of runs that are not in use, and what a crash left of making one. Answers how many.
/// Best effort: what stays costs space.
pub(crate) fn remove_others(disk: &dyn Disk, in_use: impl Fn(&Name) -> bool) -> u64 {
    let names = disk.list(TABLES_DIR).unwrap_or_default();
    let is_surplus = |file_name: &&String| match file_name.strip_suffix(".tmp") {
        Some(run) => Name::parse(run).is_some(),
        None => Name::parse(file_name).is_some_and(|name| !in_use(&name)),
    };
    let remove = |name: &String| disk.remove(&disk::join(TABLES_DIR, name)).is_ok();
    names.iter().filter(is_surplus).filter(|name| remove(name)).count() as u64
}

/// A number that changes when an entry is missing, is added, or is another; the sum over several files is
/// that over all their entries in whatever order.
pub(crate) fn entry_sum(hash: KeyHash, seq: Seq) -> u64 {
    mix(hash.0 ^ seq.0.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The sum of the entries of the run in `file`, read past the page cache from the first block to the last.
///
/// # Errors
/// That it can't be read; inside, what is wrong with it, in words.
pub(crate) fn check(
    file: &Arc<dyn DiskFile>,
    ledger: LedgerId,
    name: &Name,
    span: &Span,
) -> io::Result<Result<u64, String>> {
    disk::drop_cache(&**file)?;
    let Some(run) = open(file, &Blocks::new(0), ledger, name, span) else {
        return Ok(Err("its header or its filter does not hold".into()));
    };
    let (mut sum, mut last) = (0u64, None);
    for entry in run.entries() {
        let entry @ (hash, seq) = match entry {
            Ok(entry) => entry,
            Err(SectionError::Io(error)) => return Err(error),
            Err(damaged @ SectionError::Damaged { .. }) => return Ok(Err(damaged.to_string())),
        };
        if last.replace(entry) > Some(entry) {
            return Ok(Err("its keys are not sorted".into()));
        }
        if !run.may_hold(hash) {
            return Ok(Err("its filter denies a key that is there".into()));
        }
        sum = sum.wrapping_add(entry_sum(hash, seq));
    }
    Ok(Ok(sum))
}

#[cfg(test)]
mod tests;
