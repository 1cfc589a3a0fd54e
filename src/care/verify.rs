//! Reads every byte of a ledger's log and says what is wrong with it, without stopping at the first
//! damage and without changing a byte.
//!
//! Always true: nothing is called damage that a running writer, or a crash, may legally leave behind:
//! what looks wrong while it may still be moving is looked at again; a torn last group and an
//! interrupted sealing are notes. Everything that recovery refuses is damage here as well.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::groups::{self, Groups, Successor};
use super::lives::Lives;
use super::opened::{Opened, open_segment, peek_header};
use super::report::{Finding, Severity, VerifyReport, at};
use super::{runs, tail};
use crate::disk::os::{OsDisk, OsHost};
use crate::disk::{self, Disk, Host, Open};
use crate::error::{Error, ErrorKind, Result};
use crate::order::{LedgerId, Seq, Timestamp};
use crate::recovery::identity::{self, Identity};
use crate::tables::hash::KeyHasher;
use crate::tables::manifest::{self, Manifest};
use crate::wal::format::{WAL_DIR, segment_number, segment_path};

/// How often what looks wrong, and may be in motion, is looked at, and the pause in between. A segment
/// takes tens of milliseconds to be sealed.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// Told how far a verification is: bytes done, bytes in all.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Reads every byte of the ledger in `path`, checks every checksum and every link, holds each step of an
/// order against the one before it, and compares what is derived with the log.
///
/// Takes no lock, changes no byte, and works beside a running writer.
///
/// **Steps of orders**: reported is one of an order that does not exist, one whose version or state is not
/// the next of what the order had, one after a terminal state, and one whose time does not fit to when the order
/// expires: at or behind that instant only the step to expired may be taken, and before it that one may not. So that memory stays bounded, a step is
/// held against its order only if that began within the last 32 million records, and behind the last place
/// where records are missing (and, for when it expires, only if it is one of the last million that were to expire
/// and had not come to an end); of an older order only a step after a terminal state is noticed. Whether the
/// table of states has such a step at all is not asked.
///
/// **Cost**: reads all of `wal/` past the page cache; in memory are the keys of one segment at a time, what its
/// records say of orders, and two bytes for each of the last 32 million records: at most 64 MiB; and some 32
/// MiB for a million orders that are to expire.
///
/// # Errors
/// [`ErrorKind::NotALedger`], [`ErrorKind::NewerFormat`], [`ErrorKind::Io`] when the directory can't be
/// looked at: then nothing is known. Damage is not an error; it is in the report.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("orders.ledger");
/// # order_ledger::Ledger::open(&path)?.close()?;
/// let report = order_ledger::verify(&path)?;
/// assert_eq!(report.soundness(), order_ledger::Soundness::Sound);
/// # Ok::<(), order_ledger::Error>(())
/// ```
pub fn verify(path: impl AsRef<Path>) -> Result<VerifyReport> {
    verify_with(path, &mut |_, _| {})
}

/// As [`verify`], and tells `progress` how far it is: bytes done, bytes in all.
///
/// # Errors
/// Those of [`verify`].
pub fn verify_with(
    path: impl AsRef<Path>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<VerifyReport> {
    let path = path.as_ref();
    let disk = OsDisk::open_dir(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Error::new(ErrorKind::NotALedger { what: "there is no such directory".into() }).at(path)
        }
        _ => Error::io("opening the directory", error).at(path),
    })?;
    verify_on(Arc::new(disk), &OsHost::new(), progress).map_err(|error| error.at(path))
}

/// As [`verify_with`], for the ledger on `disk`.
///
/// # Errors
/// Those of [`verify`].
pub fn verify_on(
    disk: Arc<dyn Disk>,
    host: &dyn Host,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    // The witness first: what it has seen was durable before, so the log that is read after it must have
    // it, also beside a writer.
    let witness = read_witness(&*disk, &mut report);
    let numbers = list_segments(&*disk, &mut report)?;
    let identity = read_identity(&*disk, &numbers, &mut report)?;
    let total = total_bytes(&*disk, &numbers);
    let mut walk = Walk {
        disk: &*disk,
        host,
        hasher: identity.as_ref().map(|identity| KeyHasher::new(identity.secret)),
        ledger: identity.as_ref().map(|identity| identity.issuer.ledger),
        expected: Some(Expected::first()),
        last_at: Timestamp::from_unix_ns(0),
        done: 0,
        total,
        progress,
        report,
        seen: Vec::new(),
        lives: Lives::new(),
    };
    let last = numbers.last().copied().unwrap_or(0);
    for number in 1..=last {
        if numbers.contains(&number) {
            walk.segment(number, identity.as_ref());
        } else {
            walk.missing(number);
        }
    }
    if last == 0 {
        walk.missing(1);
    }
    let Walk { mut report, expected, seen, .. } = walk;
    report.ledger = identity.map(|identity| identity.issuer.ledger);
    if let Some(ledger) = report.ledger {
        runs::check(&disk, ledger, &seen, &mut report);
    }
    if let (Some(witness), Some(end)) = (witness, expected) {
        check_witness(&witness, &end, &mut report);
    }
    progress(total, total);
    Ok(report)
}

/// Where the log stands between two segments, when that is known.
#[derive(Clone, Copy, Debug)]
struct Expected {
    next_seq: Seq,
    next_group: u64,
    link: u32,
}

impl Expected {
    fn first() -> Expected {
        Expected { next_seq: Seq::FIRST, next_group: 1, link: 0 }
    }
}

struct Walk<'a> {
    disk: &'a dyn Disk,
    host: &'a dyn Host,
    /// Unknown when LEDGER is damaged: the keys can't be compared then.
    hasher: Option<KeyHasher>,
    ledger: Option<LedgerId>,
    /// What the next segment must continue; `None` behind one that does not tell.
    expected: Option<Expected>,
    last_at: Timestamp,
    done: u64,
    total: u64,
    progress: Progress<'a>,
    report: VerifyReport,
    /// The segments that could be read.
    seen: Vec<runs::Seen>,
    lives: Lives,
}

/// One look at a segment.
struct Look {
    findings: Vec<Finding>,
    groups: Groups,
    /// What runs over this and other segments are held against.
    seen: runs::Seen,
    /// Sealed and followed by the next: it never changes again, so one look is enough.
    settled: bool,
    bytes: u64,
}

impl Walk<'_> {
    fn missing(&mut self, number: u64) {
        let mut place = at(&segment_path(number));
        if let Some(expected) = self.expected.take() {
            let next = peek_header(self.disk, number + 1).map(|next| next.first_seq);
            place = place.seqs(expected.next_seq, next);
        }
        self.report.add(place.found(Severity::Log, "the segment is missing"));
    }

    fn segment(&mut self, number: u64, identity: Option<&Identity>) {
        self.report.segments += 1;
        let opened = match open_segment(self.disk, number) {
            Ok(opened) => opened,
            Err(finding) => {
                self.unopened(number, finding);
                return;
            }
        };
        self.check_header(&opened, identity);
        let mut opened = Some(opened);
        let mut look = 1;
        let seen = loop {
            let this = match opened.take() {
                Some(opened) => Ok(opened),
                None => open_segment(self.disk, number),
            };
            let seen = match this {
                Ok(this) => self.look(&this),
                Err(finding) => {
                    self.unopened(number, finding);
                    return;
                }
            };
            let clean = seen.findings.iter().all(|finding| finding.severity == Severity::Note);
            if clean || seen.settled || look == LOOKS {
                break seen;
            }
            look += 1;
            self.host.sleep(PAUSE);
        };
        let Look { findings, groups, bytes, seen, .. } = seen;
        self.seen.push(seen);
        for finding in findings {
            self.report.add(finding);
        }
        let path = segment_path(number);
        let mut found = |finding| self.report.add(finding);
        self.lives.take_in(&path, &groups.lives, &groups.terminal, &mut found);
        self.report.groups += groups.groups;
        self.report.records += groups.records;
        self.report.orders += groups.orders;
        self.report.bytes += bytes;
        self.last_at = self.last_at.max(groups.end.last_at);
        if groups.end.next_seq > Seq::FIRST {
            self.report.last_seq = Some(Seq(groups.end.next_seq.0 - 1));
        }
        self.expected = groups.reached.then_some(Expected {
            next_seq: groups.end.next_seq,
            next_group: groups.end.next_group,
            link: groups.end.link,
        });
        self.done = self.done.saturating_add(bytes);
        (self.progress)(self.done.min(self.total), self.total);
    }

    /// A segment without a readable header: nothing in it can be reached.
    fn unopened(&mut self, number: u64, mut finding: Finding) {
        if let Some(expected) = self.expected.take() {
            let next = peek_header(self.disk, number + 1).map(|next| next.first_seq);
            let place = at(&finding.place.file).seqs(expected.next_seq, next);
            let Finding { severity, place: old } = finding;
            let place = match old.offset {
                Some(offset) => place.offset(offset),
                None => place,
            };
            finding = place.found(severity, old.what);
        }
        self.report.add(finding);
    }

    /// Holds the header against the ledger's identity and against the segment before.
    fn check_header(&mut self, opened: &Opened, identity: Option<&Identity>) {
        let header = &opened.header;
        let ledger = *self.ledger.get_or_insert(header.ledger);
        let mut wrong = Vec::new();
        if header.ledger != ledger {
            wrong.push(format!("the segment belongs to ledger {}, not {ledger}", header.ledger));
        }
        if segment_path(header.number) != opened.path {
            wrong.push(format!("the file holds segment {}", header.number));
        }
        if identity.is_some_and(|identity| identity.issuer.durability != header.durability) {
            wrong.push(format!("the segment is {}, the ledger is not", header.durability));
        }
        if let Some(expected) = &self.expected {
            let fits = header.first_seq == expected.next_seq
                && header.first_group == expected.next_group
                && header.link == expected.link;
            if !fits {
                wrong.push(format!(
                    "the segment does not continue the one before: it begins at seq {} and group {}, \
                     expected seq {} and group {}",
                    header.first_seq, header.first_group, expected.next_seq, expected.next_group
                ));
            }
        }
        for what in wrong {
            let place = at(&opened.path).offset(0).seqs(header.first_seq, None);
            self.report.add(place.found(Severity::Log, what));
        }
    }

    /// Whether there is such a segment, readable or not: one that can't be read is not missing.
    fn is_there(&self, number: u64) -> bool {
        match self.disk.open(&segment_path(number), Open::Read) {
            Err(error) => error.kind() != io::ErrorKind::NotFound,
            Ok(_) => true,
        }
    }

    /// Looks at all of a segment behind its header.
    fn look(&mut self, opened: &Opened) -> Look {
        let next = peek_header(self.disk, opened.header.number + 1).map(|next| Successor {
            next_seq: next.first_seq,
            next_group: next.first_group,
            link: next.link,
        });
        let mut findings = Vec::new();
        let (done, total) = (self.done, self.total);
        let progress = &mut *self.progress;
        let walked = groups::walk(
            opened,
            self.hasher.as_ref(),
            next,
            self.last_at,
            self.host,
            &mut findings,
            &mut |bytes| progress(done.saturating_add(bytes).min(total), total),
        );
        let has_next = next.is_some() || self.is_there(opened.header.number + 1);
        tail::check(opened, &walked, self.hasher.is_some(), has_next, &mut findings);
        let keys = (walked.whole && self.hasher.is_some()).then_some(&walked.keys);
        Look {
            findings,
            seen: runs::Seen::new(opened, keys),
            groups: walked,
            settled: opened.footer.is_some() && next.is_some(),
            bytes: opened.bytes,
        }
    }
}

/// The numbers of the segments that are there. Other names in `wal/` are noted.
fn list_segments(disk: &dyn Disk, report: &mut VerifyReport) -> Result<BTreeSet<u64>> {
    let names = match disk.list(WAL_DIR) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(BTreeSet::new());
        }
        Err(error) => return Err(Error::io(format!("listing {WAL_DIR}"), error)),
    };
    let mut numbers = BTreeSet::new();
    for name in names {
        match segment_number(&name) {
            Some(number) => {
                numbers.insert(number);
            }
            None if name.ends_with(".tmp") => {}
            None => {
                let place = at(&disk::join(WAL_DIR, &name));
                report.add(place.found(Severity::Note, "not a file of the log; it is ignored"));
            }
        }
    }
    Ok(numbers)
}

fn read_identity(
    disk: &dyn Disk,
    numbers: &BTreeSet<u64>,
    report: &mut VerifyReport,
) -> Result<Option<Identity>> {
    let damaged = |what: &str| at(identity::NAME).found(Severity::Log, what);
    let error = match Identity::read(disk) {
        Ok(Some(identity)) => return Ok(Some(identity)),
        Ok(None) if numbers.is_empty() => {
            let what = "the directory has no file LEDGER".to_owned();
            return Err(Error::new(ErrorKind::NotALedger { what }));
        }
        Ok(None) => {
            report.add(damaged("the file is missing, and wal/ holds segments"));
            return Ok(None);
        }
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::Corrupt(place) => report.add(damaged(&place.what)),
        ErrorKind::NewerFormat { found, .. } if is_version_damaged(disk) => {
            report.add(damaged(&format!("the version is damaged: it reads {found}")));
        }
        ErrorKind::Io { .. } => {
            report.add(at(identity::NAME).found(Severity::Unreadable, error.to_string()));
        }
        _ => return Err(error),
    }
    Ok(None)
}

/// Whether LEDGER would be whole with our version in it: then the version is damaged, not newer.
fn is_version_damaged(disk: &dyn Disk) -> bool {
    let Ok(mut bytes) = disk::read_file(disk, identity::NAME, 4096) else { return false };
    if let Some(version) = bytes.get_mut(8..12) {
        version.copy_from_slice(&crate::wal::format::VERSION.to_le_bytes());
    }
    Identity::decode(&bytes).is_ok()
}

fn total_bytes(disk: &dyn Disk, numbers: &BTreeSet<u64>) -> u64 {
    let bytes = |number: &u64| disk.open(&segment_path(*number), Open::Read).ok()?.bytes().ok();
    numbers.iter().filter_map(bytes).sum()
}

/// The witness. A missing one is no damage: everything under `derived/` may be deleted.
fn read_witness(disk: &dyn Disk, report: &mut VerifyReport) -> Option<Manifest> {
    let path = disk::join(manifest::TABLES_DIR, manifest::NAME);
    match disk::read_file(disk, &path, 4096) {
        Ok(bytes) => {
            let witness = Manifest::decode(&bytes);
            if witness.is_none() {
                report.add(at(&path).found(Severity::Derived, "the checksum does not hold"));
            }
            witness
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            report.add(at(&path).found(Severity::Derived, "the file is far too large"));
            None
        }
        Err(error) => {
            let what = format!("it can't be read: {error}");
            report.add(at(&path).found(Severity::Unreadable, what));
            None
        }
    }
}

/// A witness that is ahead of the log proves that the log lost data.
fn check_witness(witness: &Manifest, end: &Expected, report: &mut VerifyReport) {
    let path = disk::join(manifest::TABLES_DIR, manifest::NAME);
    if report.ledger.is_some_and(|ledger| ledger != witness.ledger) {
        let what = format!("it belongs to ledger {}", witness.ledger);
        report.add(at(&path).found(Severity::Derived, what));
    } else if witness.next_seq > end.next_seq || witness.next_group > end.next_group {
        let place = at(WAL_DIR).seqs(end.next_seq, Some(witness.next_seq));
        let what = format!(
            "the log lost data: {path} has seen it durable up to seq {} and group {}, and it ends at seq \
             {} and group {}",
            witness.next_seq.0.saturating_sub(1),
            witness.next_group.saturating_sub(1),
            end.next_seq.0.saturating_sub(1),
            end.next_group.saturating_sub(1),
        );
        report.add(place.found(Severity::Log, what));
    }
}
