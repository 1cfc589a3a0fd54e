//! Opening: the only place where the parts meet. Reads the log, decides, rebuilds what is derived.
//!
//! - [`identity`]: who the ledger is
//! - [`decision`]: torn tail or rot, as a table
//! - [`segments`]: what is found in `wal/`, and whether it is a chain
//! - [`report`]: what was found and done
//!
//! Always true: nothing is changed before the whole log has been judged sound; a torn tail is cut and
//! synced before anything is appended; opening to read changes no byte; every step may be interrupted
//! by a crash and begun again (nothing here depends on having been finished once).

pub(crate) mod decision;
pub(crate) mod identity;
pub(crate) mod report;
pub(crate) mod segments;

use std::cmp::Reverse;
use std::io;
use std::sync::Arc;

use crate::bytes::to_usize;
use crate::disk::by_path::Files;
use crate::disk::{self, Disk, Host, disk_low, is_full, is_out_of_descriptors};
use crate::error::{Error, ErrorKind, Result};
use crate::order::{Durability, LedgerId, Seq};
use crate::tables::Tables;
use crate::tables::hash::KeyHasher;
use crate::tables::manifest::{self, DERIVED_DIR, Manifest, TABLES_DIR};
use crate::tables::merged::{self, Name, Span};
use crate::tables::run::Run;
use crate::wal::blocks::{Blocks, KEY_MEMORY_BYTES_DEFAULT};
use crate::wal::format::{BLOCK_BYTES, WAL_DIR, round_up};
use crate::wal::log::Log;
use crate::wal::prepare::Preparer;
use crate::wal::scan::Position;
use crate::wal::segment::Segment;
use crate::wal::writer::{Closed, Layout, create_first};
use identity::Identity;
use report::RecoveryReport;
use segments::{Found, Mode};

/// Name of the file that keeps the last report.
const OPENED_NAME: &str = "OPENED";

/// A log that has been judged sound, and what was derived from it.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) log: Arc<Log>,
    pub(crate) tables: Arc<Tables>,
    /// The segment that groups go to, and where.
    pub(crate) active: Arc<Segment>,
    pub(crate) position: Position,
    /// Full segments that are still to be sealed.
    pub(crate) unsealed: Vec<Closed>,
    pub(crate) report: RecoveryReport,
}

/// Opens the ledger on `disk` for writing; the caller holds its lock. Makes a new one where there is
/// none.
pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    host: &dyn Host,
    preparer: &Preparer,
    layout: Layout,
    durability: Durability,
    blocks: &Arc<Blocks>,
) -> Result<Recovered> {
    let started_ns = host.monotonic_ns();
    let created = Identity::read(&**disk)?.is_none();
    if created {
        create(disk, host, preparer, layout, durability)?;
    }
    // An earlier process may have crashed between a rename and its sync: nothing that is read below may
    // rest on names that a power cut can still take back.
    for dir in ["", WAL_DIR] {
        match disk.sync_dir(dir) {
            // What is missing is named below, as the damage it is.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(format!("syncing the directory {dir:?}"), error));
            }
            _ => {}
        }
    }
    let identity = require_identity(&**disk)?;
    if identity.issuer.durability != durability {
        let ledger = identity.issuer.durability;
        return Err(Error::new(ErrorKind::DurabilityMismatch { ledger }));
    }
    let tables = Tables::new(KeyHasher::new(identity.secret));
    let witness = Manifest::read(&**disk);
    let mut found = segments::find(disk, &identity, &tables, Mode::Write, blocks)?;
    check_witness(witness, &identity, &found)?;

    // Also the key tables: whatever can refuse is asked before anything is changed.
    let mut recovered = assemble(&**disk, blocks, identity, tables, &mut found)?;

    // The log is sound. From here on things are changed, each change harmless when it is interrupted.
    let leftovers_removed = remove_leftovers(&**disk)?
        + merged::remove_others(&**disk, |name| recovered.tables.is_in_use(name));
    let torn_bytes = cut_torn_tail(&found)?;
    make_derived_dirs(&**disk)?;
    recovered.unsealed = seal_unsealed(&found, &recovered.tables)?;
    let resealed = (found.unsealed.len() - recovered.unsealed.len()) as u64;
    recovered.report.created = created;
    recovered.report.leftovers_removed = leftovers_removed;
    recovered.report.torn_bytes = torn_bytes;
    recovered.report.segments_resealed = resealed;
    let last_at = recovered.position.last_at.as_unix_ns();
    recovered.report.clock_behind_ns = last_at.saturating_sub(host.wall_ns());
    recovered.report.elapsed_ns = host.monotonic_ns().saturating_sub(started_ns);
    Ok(recovered)
}

/// Opens the ledger on `disk` for reading, beside a writer or not: takes no lock, changes no byte.
///
/// A group at the end that nothing later proves is shown only after this process itself has synced the
/// file and read the group again past the page cache: then it is durable, whoever wrote it (I3).
pub(crate) fn open_read_only(disk: &Arc<dyn Disk>, host: &dyn Host) -> Result<Recovered> {
    let started_ns = host.monotonic_ns();
    let blocks = Blocks::new(KEY_MEMORY_BYTES_DEFAULT);
    let identity = require_identity(&**disk)?;
    // Before the log: a writer that goes on meanwhile must not make the witness look ahead of it.
    let witness = Manifest::read(&**disk);
    // A writer may append, rotate or seal while we look, and what is seen half is looked at again. Damage
    // stays where it is; what is in motion is somewhere else at the next look, so that a look at it
    // counts for nothing. (Measured 2026-11: beside a writer that never pauses, one look in six to ten
    // sees something half.)
    const LOOKS_AT_ONE_PLACE: u32 = 5;
    const LOOKS: u32 = 200;
    let (mut looks, mut looks_here, mut place) = (0, 0, None);
    let (tables, mut found) = loop {
        let tables = Tables::new(KeyHasher::new(identity.secret));
        let error = match segments::find(disk, &identity, &tables, Mode::Read, &blocks) {
            Err(error) if may_be_a_race(&error) => error,
            other => break (tables, other?),
        };
        looks += 1;
        let here = Some(error.kind().clone());
        looks_here = if here == place { looks_here + 1 } else { 1 };
        place = here;
        if looks_here == LOOKS_AT_ONE_PLACE || looks == LOOKS {
            return Err(error);
        }
        host.sleep(std::time::Duration::from_millis(20));
    };
    check_witness(witness, &identity, &found)?;
    let mut recovered = assemble(&**disk, &blocks, identity, tables, &mut found)?;
    recovered.report.elapsed_ns = host.monotonic_ns().saturating_sub(started_ns);
    Ok(recovered)
}

fn may_be_a_race(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Corrupt(_) => true,
        ErrorKind::Io { kind, .. } => *kind == io::ErrorKind::NotFound,
        _ => false,
    }
}

fn require_identity(disk: &dyn Disk) -> Result<Identity> {
    Identity::read(disk)?.ok_or_else(|| {
        Error::new(ErrorKind::NotALedger { what: "the directory has no file LEDGER".into() })
    })
}

/// Makes a new ledger in a directory that is empty, or in which making one was interrupted.
fn create(
    disk: &Arc<dyn Disk>,
    host: &dyn Host,
    preparer: &Preparer,
    layout: Layout,
    durability: Durability,
) -> Result<()> {
    let doing = |error| match is_full(&error) {
        true => disk_low(&**disk, error),
        false => Error::io("making a new ledger", error),
    };
    segments::clear_unfinished(disk)?;
    match disk.create_dir(WAL_DIR) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(doing(error)),
        _ => {}
    }
    disk.sync_dir("").map_err(doing)?;
    let identity = Identity::make(host, durability);
    create_first(&**disk, host, preparer, layout, identity.issuer.ledger, durability)
        .map_err(doing)?;
    disk::replace_file(&**disk, "", identity::NAME, &identity.encode()).map_err(doing)
}

/// A manifest that is ahead of the log proves that the log lost data.
fn check_witness(witness: Option<Manifest>, identity: &Identity, found: &Found) -> Result<()> {
    let Some(manifest) = witness else { return Ok(()) };
    let position = &found.position;
    let ahead = manifest.next_seq > position.next_seq || manifest.next_group > position.next_group;
    if manifest.ledger == identity.issuer.ledger && ahead {
        return Err(log_lost_data(manifest.next_seq, position.next_seq, "derived/tables/MANIFEST"));
    }
    Ok(())
}

/// The error for a witness that has seen more than the log holds.
pub(crate) fn log_lost_data(witness_next: Seq, log_next: Seq, witness: &str) -> Error {
    Error::new(ErrorKind::LogLostData {
        witness_seq: Seq(witness_next.0.saturating_sub(1)),
        log_seq: log_next.0.checked_sub(1).filter(|seq| *seq > 0).map(Seq),
        witness: witness.to_owned(),
    })
}

/// Removes files that were being made when a crash came: ours, by their names. Whatever else lies in the
/// directory is somebody's.
fn remove_leftovers(disk: &dyn Disk) -> Result<u64> {
    let mut removed = 0;
    for path in [
        disk::aside("", identity::NAME),
        Preparer::path(),
        disk::aside(TABLES_DIR, manifest::NAME),
        disk::aside(DERIVED_DIR, OPENED_NAME),
    ] {
        match disk.remove(&path) {
            Ok(()) => removed += 1,
            Err(error) if disk::is_missing(&error) => {}
            Err(error) => return Err(Error::io(format!("removing {path}"), error)),
        }
    }
    Ok(removed)
}

/// Overwrites a torn group with zeros and syncs, before anything can be appended: bytes of it that
/// stayed could otherwise join with what is written next (rule 24). Answers how many bytes.
///
/// A crash in the middle leaves another torn tail, which the next open cuts: what was torn has no header
/// of a later group in it, and zeros make none.
fn cut_torn_tail(found: &Found) -> Result<u64> {
    let Some((dirty_end, _)) = &found.torn else { return Ok(0) };
    let (file, start) = (found.last.file(), found.position.offset);
    let cut = |error| Error::io(format!("cutting the torn tail of {}", found.last.path()), error);
    let zeros = vec![0; 256 * 1024];
    let end = round_up(*dirty_end, BLOCK_BYTES).min(found.last.header.file_bytes);
    let mut offset = start;
    while offset < end {
        let piece = to_usize(end - offset).min(zeros.len());
        disk::write_all_at(&*file, zeros.get(..piece).unwrap_or_default(), offset).map_err(cut)?;
        offset += piece as u64;
    }
    disk::sync(&*file).map_err(cut)?;
    Ok(dirty_end - start)
}

/// Seals the segments whose sealing a crash interrupted. Answers those that could not be sealed because
/// the disk is full, or no descriptor is left: that is no reason not to open, and they are tried again later.
fn seal_unsealed(found: &Found, tables: &Tables) -> Result<Vec<Closed>> {
    let mut unsealed = Vec::new();
    for (segment, end) in &found.unsealed {
        let header = &segment.header;
        let Some(sections) = tables.sections(header.number, header.first_seq) else { continue };
        match segment.seal(&found.files, end, &sections) {
            Ok(()) => tables.sealed(segment),
            Err(error) if is_full(&error) || is_out_of_descriptors(&error) => {
                unsealed.push(Closed { segment: Arc::clone(segment), end: *end });
            }
            Err(error) => return Err(Error::io(format!("sealing {}", segment.path()), error)),
        }
    }
    Ok(unsealed)
}

/// Makes the directories of what is derived. A file in their place is set aside.
fn make_derived_dirs(disk: &dyn Disk) -> Result<()> {
    for dir in [DERIVED_DIR, TABLES_DIR] {
        let made = match disk.create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match disk.list(dir) {
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                    disk.rename(dir, &format!("{dir}.aside")).and_then(|()| disk.create_dir(dir))
                }
                // Another error is the device's: what may be a witness stays where it is.
                listed => listed.map(|_| ()),
            },
            other => other,
        };
        match made {
            Ok(()) => {}
            // Nothing in them is needed; a full disk must not keep what is there from being read.
            Err(error) if is_full(&error) => return Ok(()),
            Err(error) => return Err(Error::io(format!("making {dir}"), error)),
        }
    }
    // The witness is kept in there, and must not go with the name of its directory when the power does.
    // Also when they were there before: an earlier process may have made them and crashed.
    for dir in ["", DERIVED_DIR] {
        match disk.sync_dir(dir) {
            Err(error) if !is_full(&error) => {
                return Err(Error::io(format!("syncing the directory {dir:?}"), error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Builds the log and its tables from what was found.
fn assemble(
    disk: &dyn Disk,
    blocks: &Arc<Blocks>,
    identity: Identity,
    tables: Tables,
    found: &mut Found,
) -> Result<Recovered> {
    let mut report = RecoveryReport {
        segments: found.segments.len() as u64,
        segments_scanned: found.hot.len() as u64,
        records: found.position.next_seq.0 - 1,
        torn_why: found.torn.as_ref().map(|(_, why)| why.clone()),
        ..RecoveryReport::default()
    };
    let mut hot = std::mem::take(&mut found.hot);
    let merged = MergedRuns::list(disk, &found.files, blocks, identity.issuer.ledger);
    let mut rest = found.segments.as_slice();
    while let [segment, behind @ ..] = rest {
        if let Some((span, run)) = merged.longest(rest) {
            rest = rest.get(to_usize(span.last - span.first + 1)..).unwrap_or_default();
            tables.push_merged(&span, run);
            continue;
        }
        rest = behind;
        let number = segment.header.number;
        let scanned = hot.iter().position(|(scanned, _)| *scanned == number);
        if let Some(index) = scanned {
            report.records_scanned += segment.counts().iter().map(|(_, count)| count).sum::<u64>();
            let (_, keys) = hot.swap_remove(index);
            if segment.footer().is_none() {
                tables.push_hot(number, segment.header.first_seq, keys);
                continue;
            }
        }
        if !tables.push_sealed(segment)? {
            report.tables_rebuilt += 1;
        }
    }
    let position = found.position;
    let log = Arc::new(Log::new(
        identity.issuer,
        Arc::clone(&found.files),
        found.segments.clone(),
        position.next_seq,
    ));
    let tables = Arc::new(tables);
    let unsealed = Vec::new();
    let active = Arc::clone(&found.last);
    Ok(Recovered { log, tables, active, position, unsealed, report })
}

/// The merged runs that are on disk.
struct MergedRuns<'a> {
    files: &'a Arc<Files>,
    blocks: &'a Arc<Blocks>,
    ledger: LedgerId,
    /// Longest first.
    names: Vec<Name>,
}

impl<'a> MergedRuns<'a> {
    /// Those that are there. What can't be listed is none: the segments have the same keys.
    fn list(
        disk: &dyn Disk,
        files: &'a Arc<Files>,
        blocks: &'a Arc<Blocks>,
        ledger: LedgerId,
    ) -> MergedRuns<'a> {
        let file_names = disk.list(TABLES_DIR).unwrap_or_default();
        let mut names: Vec<_> = file_names.iter().filter_map(|name| Name::parse(name)).collect();
        names.sort_by_key(|name| Reverse(name.last - name.first));
        MergedRuns { files, blocks, ledger, names }
    }

    /// The longest run that begins with the first of these segments, all of which are sealed.
    fn longest(&self, segments: &[Arc<Segment>]) -> Option<(Span, Run)> {
        let first = segments.first()?.header.number;
        self.names.iter().filter(|name| name.first == first).find_map(|name| {
            let count = to_usize(name.last - name.first + 1);
            let span = Span::of(segments.get(..count)?)?;
            let file = self.files.file(name.path());
            let run = merged::open(&file, self.blocks, self.ledger, name, &span)?;
            Some((span, run))
        })
    }
}

/// Keeps the report where `stats` finds it. Derived: a failure is not an error of opening.
pub(crate) fn keep_report(disk: &dyn Disk, report: &RecoveryReport) -> io::Result<()> {
    disk::replace_file(disk, DERIVED_DIR, OPENED_NAME, report.to_string().as_bytes())
}

/// The report of the last opening for writing, when it was kept.
pub(crate) fn last_report(disk: &dyn Disk) -> Option<RecoveryReport> {
    let path = disk::join(DERIVED_DIR, OPENED_NAME);
    let bytes = disk::read_file(disk, &path, 16 * 1024).ok()?;
    Some(RecoveryReport::parse(&String::from_utf8_lossy(&bytes)))
}

#[cfg(test)]
mod tests;
