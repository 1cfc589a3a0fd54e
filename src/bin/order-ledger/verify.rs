//! `verify`: reads every byte, and ends with 0 sound, 1 damaged, 2 can't tell.

use order_ledger::{Severity, Soundness, VerifyReport, verify_with};
use serde_json::json;

use crate::args::Verify;
use crate::errors::{Exit, Failure};
use crate::output::{GREEN, Out, RED, YELLOW, facts};
use crate::progress::{Progress, Unit};

pub(crate) fn run(args: &Verify, out: &mut Out) -> Result<Exit, Failure> {
    let progress = Progress::new(0, Unit::Bytes, false);
    let report = verify_with(&args.dir.path, &mut |done, total| {
        progress.set_total(total);
        progress.set(done);
    })?;
    drop(progress);
    match out.json {
        true => out.json_line(&as_json(&report))?,
        false => as_text(&report, out)?,
    }
    Ok(match report.soundness() {
        Soundness::Sound => Exit::Done,
        Soundness::Damaged => Exit::No,
        _ => Exit::Usage,
    })
}

fn as_json(report: &VerifyReport) -> serde_json::Value {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "severity": finding.severity.name(),
                "file": finding.place.file,
                "offset": finding.place.offset,
                "first_seq": finding.place.first_seq.map(|seq| seq.0),
                "last_seq": finding.place.last_seq.map(|seq| seq.0),
                "what": finding.place.what,
            })
        })
        .collect();
    json!({
        "verdict": report.soundness().name(),
        "ledger": report.ledger.map(|ledger| ledger.to_string()),
        "segments": report.segments,
        "groups": report.groups,
        "records": report.records,
        "orders": report.orders,
        "last_seq": report.last_seq.map(|seq| seq.0),
        "bytes": report.bytes,
        "findings": findings,
        "findings_left_off": report.findings_left_off,
    })
}

fn as_text(report: &VerifyReport, out: &mut Out) -> Result<(), Failure> {
    for finding in &report.findings {
        let style = match finding.severity {
            Severity::Note => YELLOW,
            _ => RED,
        };
        out.line(format!("{style}{}{style:#}: {}", finding.severity.name(), finding.place))?;
    }
    if report.findings_left_off > 0 {
        out.line(format!("... and {} more", report.findings_left_off))?;
    }
    out.line(facts([
        ("ledger", report.ledger.map_or("unknown".into(), |ledger| ledger.to_string())),
        ("segments", report.segments.to_string()),
        ("groups", report.groups.to_string()),
        ("records", report.records.to_string()),
        ("orders", report.orders.to_string()),
        ("bytes read", report.bytes.to_string()),
    ]))?;
    let (style, words) = match report.soundness() {
        Soundness::Sound => (GREEN, "sound: every byte was read and everything agrees"),
        Soundness::Damaged if !report.is_log_damaged() => {
            (RED, "damaged: nothing that was read but what is made from the log, and is made again")
        }
        Soundness::Damaged => {
            (RED, "damaged: see above; restore from a backup, change nothing here")
        }
        _ => (YELLOW, "can't tell: not everything could be read; see above"),
    };
    out.line(format!("{style}{words}{style:#}"))
}
