//! `drill`: kills a writer and cuts the power of a simulated disk, looks for everything that was
//! acknowledged, and writes a report.
//!
//! - [`kills`]: the first half; [`writer`]: its child
//! - [`cuts`]: the second half; [`history`]: what happens on the simulated disk
//! - [`content`]: what is submitted, and the place for what happens to an order later
//! - [`report`]: what is written down
//!
//! Always true: a directory that no drill made is not touched; the report is written whatever was found.

mod content;
mod cuts;
mod history;
mod kills;
mod report;
pub(crate) mod writer;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::args::Drill;
use crate::errors::{Exit, Failure};
use crate::output::{GREEN, Out, RED, table};
use content::Content;
use kills::KillsFound;
use report::Report;

/// Says that a directory belongs to drills.
const MARKER: &str = "DRILL";
/// The ledger of the kills inside it.
const LEDGER: &str = "orders.ledger";

pub(crate) fn run(args: &Drill, out: &mut Out) -> Result<Exit, Failure> {
    if args.kills == 0 && args.power_cuts == 0 {
        return Err(Failure::Usage {
            what: "no kills and no power cuts: nothing to do".into(),
            advice: "ask for some".into(),
        });
    }
    let content = Content::new(args.from.as_deref())?;
    let ledger = prepare(&args.dir)?;
    let seed = args.seed.unwrap_or_else(rand::random);
    let (at, began) = (jiff::Timestamp::now(), Instant::now());
    let kills = match args.kills {
        0 => KillsFound::default(),
        _ => kills::run(args, seed, &ledger, &content)?,
    };
    let cuts = cuts::run(args, seed, &content)?;
    let seconds = began.elapsed().as_secs_f64();
    let report = Report { args, seed, content: &content, at, seconds, kills: &kills, cuts: &cuts };
    let path = report.write()?;
    show(&report, &path, out)?;
    Ok(match report.violations() {
        0 => Exit::Done,
        _ => Exit::No,
    })
}

/// Makes sure that the directory is ours; answers where the ledger is.
fn prepare(dir: &Path) -> Result<PathBuf, Failure> {
    let io = |error| Failure::io(format!("{}", dir.display()), error);
    let marker = dir.join(MARKER);
    if !marker.is_file() {
        let is_free = match fs::read_dir(dir) {
            Ok(mut names) => names.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(io(error)),
        };
        if !is_free {
            return Err(Failure::Usage {
                what: format!("{} holds something that no drill made", dir.display()),
                advice: "name a directory that is missing or empty".into(),
            });
        }
        fs::create_dir_all(dir).map_err(io)?;
        File::create(&marker).map_err(io)?;
    }
    Ok(dir.join(LEDGER))
}

fn show(report: &Report<'_>, path: &Path, out: &mut Out) -> Result<(), Failure> {
    if report.args.result {
        for line in report.complaints() {
            out.line(crate::output::shown(line.as_bytes()))?;
        }
        return out.line(format!("RESULT {}", report.to_result()));
    }
    if out.json {
        return out.json_line(&report.to_json());
    }
    let Report { kills, cuts, seed, .. } = report;
    let mut rows = table(&[
        "what",
        "how often",
        "acknowledged",
        "found",
        "lost",
        "doubled",
        "changed",
        "other",
    ]);
    let of_kills = [
        kills.kills.into(),
        kills.acknowledged,
        kills.found,
        kills.lost,
        kills.doubled,
        kills.changed,
    ];
    let of_cuts = [cuts.cuts, cuts.acknowledged, cuts.found, cuts.lost, cuts.doubled, cuts.changed];
    for (what, counts, violations) in
        [("kills", of_kills, kills.violations()), ("power cuts", of_cuts, cuts.violations())]
    {
        let known: u64 = counts.iter().skip(3).sum();
        let counts = counts.into_iter().chain([violations - known]);
        let counts = counts.map(|count| count.to_string());
        rows.add_row([what.to_owned()].into_iter().chain(counts));
    }
    out.line(rows)?;
    for line in report.complaints() {
        out.line(crate::output::shown(line.as_bytes()))?;
    }
    let style = if report.violations() == 0 { GREEN } else { RED };
    out.line(format!("{style}{}{style:#} (seed {seed})", report.words()))?;
    out.line(format!("report: {}", path.display()))
}
