//! What opening found and did, for operators. Kept in `derived/OPENED` as lines of text for `stats`.

use std::fmt;

/// What opening a ledger found and did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Whether the ledger was made by this call.
    pub created: bool,
    /// Segments of the log.
    pub segments: u64,
    /// Segments whose groups were read: the last one, and those that were not sealed yet.
    pub segments_scanned: u64,
    /// Records in the log.
    pub records: u64,
    /// Records that were read while opening.
    pub records_scanned: u64,
    /// Bytes cut off the end: a group that no call was ever acknowledged for. 0 after a clean close.
    pub torn_bytes: u64,
    /// What was wrong with the group that was cut.
    pub torn_why: Option<String>,
    /// Segments that were sealed while opening, because a crash had come between.
    pub segments_resealed: u64,
    /// Key tables that were damaged and rebuilt from the log.
    pub tables_rebuilt: u64,
    /// Unfinished files that were removed.
    pub leftovers_removed: u64,
    /// The wall clock was behind the last record by this many nanoseconds; ledger time went on from the
    /// record.
    pub clock_behind_ns: u64,
    /// Whether groups are written past the page cache: see [`LogWrites`](crate::LogWrites).
    pub past_cache: bool,
    /// How long opening took.
    pub elapsed_ns: u64,
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.rows() {
            writeln!(f, "{name}: {value}")?;
        }
        if let Some(why) = &self.torn_why {
            writeln!(f, "torn_why: {why}")?;
        }
        Ok(())
    }
}

impl RecoveryReport {
    fn rows(&self) -> [(&'static str, u64); 12] {
        [
            ("created", u64::from(self.created)),
            ("segments", self.segments),
            ("segments_scanned", self.segments_scanned),
            ("records", self.records),
            ("records_scanned", self.records_scanned),
            ("torn_bytes", self.torn_bytes),
            ("segments_resealed", self.segments_resealed),
            ("tables_rebuilt", self.tables_rebuilt),
            ("leftovers_removed", self.leftovers_removed),
            ("clock_behind_ns", self.clock_behind_ns),
            ("past_cache", u64::from(self.past_cache)),
            ("elapsed_ns", self.elapsed_ns),
        ]
    }

    /// The report in the lines that [`Display`](fmt::Display) writes. Lines it does not know, or can't
    /// read, count as zero: this is for people.
    pub(crate) fn parse(text: &str) -> RecoveryReport {
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(str::to_owned)
        };
        let number = |name: &str| value(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        RecoveryReport {
            created: number("created") != 0,
            segments: number("segments"),
            segments_scanned: number("segments_scanned"),
            records: number("records"),
            records_scanned: number("records_scanned"),
            torn_bytes: number("torn_bytes"),
            torn_why: value("torn_why"),
            segments_resealed: number("segments_resealed"),
            tables_rebuilt: number("tables_rebuilt"),
            leftovers_removed: number("leftovers_removed"),
            clock_behind_ns: number("clock_behind_ns"),
            past_cache: number("past_cache") != 0,
            elapsed_ns: number("elapsed_ns"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_comes_back_from_its_lines() {
        let report = RecoveryReport {
            created: true,
            segments: 1,
            segments_scanned: 2,
            records: 3,
            records_scanned: 4,
            torn_bytes: 5,
            torn_why: Some("the checksum does not hold".into()),
            segments_resealed: 6,
            tables_rebuilt: 7,
            leftovers_removed: 8,
            clock_behind_ns: 9,
            past_cache: true,
            elapsed_ns: 10,
        };
        assert_eq!(RecoveryReport::parse(&report.to_string()), report);
        assert_eq!(RecoveryReport::parse("nonsense"), RecoveryReport::default());
    }
}
