//! The merged runs of keys: each is whole, and holds the keys of its segments, no more and no fewer.
//!
//! Always true: what a writer removes or makes meanwhile is no damage; a run of segments that are damaged
//! themselves is only looked at by itself.

use std::sync::Arc;

use super::opened::Opened;
use super::report::{Finding, Severity, VerifyReport, at};
use crate::disk::{Disk, DiskFile, Open, is_missing};
use crate::order::LedgerId;
use crate::tables::hot::Hot;
use crate::tables::manifest::TABLES_DIR;
use crate::tables::merged::{self, Name, Span, entry_sum};
use crate::wal::format::{Footer, SegmentHeader};

/// What is remembered of a segment.
pub(crate) struct Seen {
    header: SegmentHeader,
    header_crc: u32,
    footer: Option<Footer>,
    /// Of its keys, when all of them are known.
    sum: Option<u64>,
}

impl Seen {
    /// `keys`: those of the groups, when all of these were read.
    pub(crate) fn new(opened: &Opened, keys: Option<&Hot>) -> Seen {
        let sum = keys.map(|keys| {
            let sums = keys.sorted().into_iter().map(|(hash, seq)| entry_sum(hash, seq));
            sums.fold(0, u64::wrapping_add)
        });
        let (header, footer) = (opened.header.clone(), opened.footer.clone());
        Seen { header, header_crc: opened.header_crc, footer, sum }
    }
}

/// Looks at every run there is. `segments` are those that could be read, first to last.
pub(crate) fn check(
    disk: &Arc<dyn Disk>,
    ledger: LedgerId,
    segments: &[Seen],
    report: &mut VerifyReport,
) {
    let file_names = disk.list(TABLES_DIR).unwrap_or_default();
    for name in file_names.iter().filter_map(|name| Name::parse(name)) {
        let covered: Vec<_> = (segments.iter())
            .filter(|it| (name.first..=name.last).contains(&it.header.number))
            .collect();
        let Some(span) = span_of(&name, &covered) else { continue };
        let path = name.path();
        let file = match disk.open(&path, Open::Read) {
            Ok(file) => file,
            Err(error) if is_missing(&error) => continue,
            Err(error) => {
                report.add(unreadable(&path, &error));
                continue;
            }
        };
        match check_one(&file, ledger, &name, &span, &covered) {
            Ok(None) => {}
            Ok(Some(what)) => report.add(at(&path).found(Severity::Derived, what)),
            Err(error) => report.add(unreadable(&path, &error)),
        }
    }
}

fn unreadable(path: &str, error: &std::io::Error) -> Finding {
    at(path).found(Severity::Unreadable, format!("it can't be read: {error}"))
}

/// What the run must say of its segments; `None` when not all of them were read and sealed.
fn span_of(name: &Name, covered: &[&Seen]) -> Option<Span> {
    let (first, last) = (covered.first()?, covered.last()?);
    let whole = first.header.number == name.first
        && last.header.number == name.last
        && covered.len() as u64 == name.last - name.first + 1;
    if !whole {
        return None;
    }
    let counts = covered.iter().map(|it| Some(&it.footer.as_ref()?.counts));
    Span::new(&first.header, first.header_crc, last.header.number, last.footer.as_ref()?, counts)
}

fn check_one(
    file: &Arc<dyn DiskFile>,
    ledger: LedgerId,
    name: &Name,
    span: &Span,
    covered: &[&Seen],
) -> std::io::Result<Option<String>> {
    Ok(match merged::check(file, ledger, name, span)? {
        Err(what) => Some(what),
        Ok(sum) => {
            let expected: Option<u64> =
                (covered.iter()).try_fold(0, |total: u64, it| Some(total.wrapping_add(it.sum?)));
            let differs = expected.is_some_and(|expected| expected != sum);
            differs.then(|| "its keys are not those of the segments".to_owned())
        }
    })
}
