//! What a verification found: findings with their place, and a verdict.

use std::fmt;

use crate::error::Damage;
use crate::order::{LedgerId, Seq};

/// Findings that a report keeps; the rest is counted.
const FINDINGS_MAX: usize = 1000;

/// What a verification found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The ledger, when its identity can be read.
    pub ledger: Option<LedgerId>,
    /// What was found, in the order of the files; at most 1,000, see `findings_left_off`.
    pub findings: Vec<Finding>,
    /// Findings beyond those that are listed.
    pub findings_left_off: u64,
    /// Segments looked at.
    pub segments: u64,
    /// Groups that are whole.
    pub groups: u64,
    /// Records that are whole.
    pub records: u64,
    /// Orders among them, accepted and finally refused.
    pub orders: u64,
    /// The last seq that was found.
    pub last_seq: Option<Seq>,
    /// Bytes of the log that were read.
    pub bytes: u64,
    worst: Option<Severity>,
}

/// One thing that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is, and what.
    pub place: Damage,
}

/// How bad a finding is, least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing, and no damage: a group that was never acknowledged, a segment to be sealed.
    Note,
    /// It could not be read, so nothing is known about it.
    Unreadable,
    /// Something that is derived from the log is damaged. No order is affected; it is made again from
    /// the log.
    Derived,
    /// The log itself is damaged: records that were durable can't be trusted or are missing.
    Log,
}

impl Severity {
    /// The name, as the command line prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Unreadable => "unreadable",
            Severity::Derived => "derived",
            Severity::Log => "log",
        }
    }
}

/// The answer of a verification.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Soundness {
    /// Every byte was read and everything agrees.
    Sound,
    /// Something is damaged; the findings say what.
    Damaged,
    /// Nothing that could be read is damaged, but not everything could be read.
    CantTell,
}

impl Soundness {
    /// The name, as the command line prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Soundness::Sound => "sound",
            Soundness::Damaged => "damaged",
            Soundness::CantTell => "cant_tell",
        }
    }
}

impl fmt::Display for Soundness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity.name(), self.place)
    }
}

impl VerifyReport {
    /// The answer that follows from the findings.
    #[must_use]
    pub fn soundness(&self) -> Soundness {
        match self.worst {
            None | Some(Severity::Note) => Soundness::Sound,
            Some(Severity::Unreadable) => Soundness::CantTell,
            Some(Severity::Derived | Severity::Log) => Soundness::Damaged,
        }
    }

    /// Whether records are damaged or missing. When not, [`Soundness::Damaged`] is about what is derived
    /// from them, and no order is affected.
    #[must_use]
    pub fn is_log_damaged(&self) -> bool {
        self.worst == Some(Severity::Log)
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        self.worst = self.worst.max(Some(finding.severity));
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.findings_left_off += 1;
        }
    }
}

/// A finding in the making: where it is, then what.
#[derive(Clone, Debug)]
pub(crate) struct At {
    place: Damage,
}

/// A finding about `file`.
pub(crate) fn at(file: &str) -> At {
    let (offset, first_seq, last_seq, what) = (None, None, None, String::new());
    At { place: Damage { file: file.to_owned(), offset, first_seq, last_seq, what } }
}

impl At {
    pub(crate) fn offset(mut self, offset: u64) -> At {
        self.place.offset = Some(offset);
        self
    }

    /// The records from `first` up to and without `next`; `next` is left out when it is not known.
    pub(crate) fn seqs(mut self, first: Seq, next: Option<Seq>) -> At {
        let last = next.map(|next| Seq(next.0.saturating_sub(1)));
        // An empty range names no record: a seal, or the place behind the last one.
        if last.is_none_or(|last| last >= first) {
            self.place.first_seq = Some(first);
            self.place.last_seq = last;
        }
        self
    }

    pub(crate) fn found(mut self, severity: Severity, what: impl Into<String>) -> Finding {
        self.place.what = what.into();
        Finding { severity, place: self.place }
    }
}
