//! One segment's file, opened to be judged: its header, and its footer when there is one.
//!
//! Always true: read past the page cache, as far as that can be asked for: what the disk holds is the
//! question, not what memory remembers.

use std::io;
use std::sync::Arc;

use super::report::{Finding, Severity, at};
use crate::bytes::to_usize;
use crate::disk::{self, Disk, DiskFile, Open};
use crate::wal::format::{
    BLOCK_BYTES, Footer, GROUPS_START, SegmentHeader, Unreadable, segment_path,
};

/// A segment's file with a valid header.
pub(crate) struct Opened {
    pub(crate) path: String,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) header: SegmentHeader,
    pub(crate) header_crc: u32,
    /// Size of the file when it was opened.
    pub(crate) bytes: u64,
    /// The footer, when there is a valid one of this very segment.
    pub(crate) footer: Option<Footer>,
}

/// Opens a segment and reads its header and footer, past the page cache.
pub(crate) fn open_segment(disk: &dyn Disk, number: u64) -> Result<Opened, Finding> {
    let path = segment_path(number);
    let unreadable = |offset: u64, error: io::Error| {
        at(&path).offset(offset).found(Severity::Unreadable, format!("it can't be read: {error}"))
    };
    let file = disk.open(&path, Open::Read).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => at(&path).found(Severity::Log, "the segment is missing"),
        _ => unreadable(0, error),
    })?;
    let bytes = file.bytes().map_err(|error| unreadable(0, error))?;
    disk::drop_cache(&*file).map_err(|error| unreadable(0, error))?;
    let block_at = |offset: u64| {
        let mut block = vec![0; to_usize(BLOCK_BYTES)];
        let read = disk::read_up_to(&*file, &mut block, offset)?;
        block.truncate(read);
        Ok(block)
    };
    let header = SegmentHeader::decode(&block_at(0).map_err(|error| unreadable(0, error))?);
    let (header, header_crc) = header.map_err(|why| match why {
        Unreadable::Newer(found) => at(&path).offset(0).found(
            Severity::Unreadable,
            format!("the segment is of format version {found}, which this program does not know"),
        ),
        Unreadable::Invalid(what) => {
            at(&path).offset(0).found(Severity::Log, format!("segment header: {what}"))
        }
    })?;
    let mut footer = None;
    if let Some(offset) = bytes.checked_sub(BLOCK_BYTES).filter(|offset| *offset >= GROUPS_START) {
        let block = block_at(offset).map_err(|error| unreadable(offset, error))?;
        footer = Footer::decode(&block).ok().filter(|footer| footer.header_crc == header_crc);
    }
    Ok(Opened { path, file, header, header_crc, bytes, footer })
}

/// The header of a segment, when there is one and it is valid.
pub(crate) fn peek_header(disk: &dyn Disk, number: u64) -> Option<SegmentHeader> {
    let file = disk.open(&segment_path(number), Open::Read).ok()?;
    let mut block = vec![0; to_usize(BLOCK_BYTES)];
    disk::read_exact_at(&*file, &mut block, 0).ok()?;
    SegmentHeader::decode(&block).ok().map(|(header, _)| header)
}
