//! The report of a drill: one set of facts, as text for people and as JSON for programs.
//!
//! Always true: both say the same; what a drill can't show stands in both, whatever it found.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::content::Content;
use super::cuts::CutsFound;
use super::kills::KillsFound;
use crate::args::Drill;
use crate::errors::Failure;
use crate::machine;
use crate::output::shown;

/// What no drill can show.
const NOT_SHOWN: [&str; 6] = [
    "A real power cut: the kernel, the file system and the drive were never without power. Sectors and names \
     were lost in a model of a disk; the ledger that opened what was left is the one you run.",
    "A drive that confirms a flush and has not written: nothing above it can tell before the loss.",
    "Damage to what was durable. `order-ledger verify` looks for it, and opening refuses it.",
    "Errors of the device, and a full disk.",
    "More than this machine, this file system and this version did, for as long as it took.",
    "What happens to an order after it is accepted: today nothing does.",
];

/// A drill that was carried out.
pub(crate) struct Report<'a> {
    pub(crate) args: &'a Drill,
    pub(crate) seed: u32,
    pub(crate) content: &'a Content,
    pub(crate) at: jiff::Timestamp,
    pub(crate) seconds: f64,
    pub(crate) kills: &'a KillsFound,
    pub(crate) cuts: &'a CutsFound,
}

impl Report<'_> {
    pub(crate) fn violations(&self) -> u64 {
        self.kills.violations() + self.cuts.violations()
    }

    /// What was found wrong, line by line.
    pub(crate) fn complaints(&self) -> impl Iterator<Item = &str> {
        let all = self.kills.complaints.iter().chain(&self.cuts.complaints);
        all.flat_map(|complaint| complaint.lines())
    }

    pub(crate) fn verdict(&self) -> &'static str {
        match self.violations() {
            0 => "passed",
            _ => "failed",
        }
    }

    /// The command that makes the same choices again.
    fn again(&self) -> String {
        let Drill { dir, kills, power_cuts, from, segment_mib, .. } = self.args;
        let mut command = format!("order-ledger drill --dir {}", dir.display());
        command += &format!(" --kills {kills} --power-cuts {power_cuts} --seed {}", self.seed);
        if let Some(from) = from {
            command += &format!(" --from {}", from.display());
        }
        if let Some(mib) = segment_mib {
            command += &format!(" --segment-mib {mib}");
        }
        command
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let orders = match self.content.own() {
            0 => "made up, 60 to 3,000 bytes".into(),
            own => format!("{own} of your own, over and over under keys of the drill"),
        };
        let segments = match self.args.segment_mib {
            Some(mib) => format!("{mib} MiB"),
            None => "kills: 1 MiB; power cuts: 16 KiB to 1 MiB".into(),
        };
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        let mut facts = vec![
            ("program", format!("order-ledger {} ({build} build)", env!("CARGO_PKG_VERSION"))),
            ("orders_from", orders),
            ("files_of_the_log", segments),
            ("again", self.again()),
        ];
        facts.extend(machine::facts(&self.args.dir));
        facts
    }

    pub(crate) fn to_json(&self) -> Value {
        let text = |(name, value): (&str, String)| (name.to_owned(), Value::from(value));
        let count = |(name, value): &(&str, u64)| ((*name).to_owned(), Value::from(*value));
        let facts: Map<_, _> = self.facts().into_iter().map(text).collect();
        let kills: Map<_, _> = self.kills.rows().iter().map(count).collect();
        let cuts: Map<_, _> = self.cuts.rows().iter().map(count).collect();
        json!({
            "report": "order-ledger drill",
            "at": format!("{:.0}", self.at),
            "verdict": self.verdict(),
            "violations": self.violations(),
            "seed": self.seed,
            "seconds": (self.seconds * 10.0).round() / 10.0,
            "kills": kills,
            "power_cuts": cuts,
            "complaints": self.complaints().collect::<Vec<_>>(),
            "machine": facts,
            "not_shown": NOT_SHOWN,
        })
    }

    /// The counts of both halves in one flat line: what `tests/release` adds up.
    pub(crate) fn to_result(&self) -> Value {
        let counts = self.kills.rows().into_iter().chain(self.cuts.rows());
        let mut result = Map::from_iter([("layer".to_owned(), "drill".into())]);
        for (name, count) in counts.filter(|(name, _)| *name != "images_checksum") {
            let sum = result.get(name).and_then(Value::as_u64).unwrap_or(0) + count;
            result.insert(name.to_owned(), sum.into());
        }
        result.insert("violations".to_owned(), self.violations().into());
        Value::from(result)
    }

    fn to_text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        writeln!(text, "order-ledger drill, {:.0}\n", self.at)?;
        writeln!(text, "{}: {}", self.verdict().to_uppercase(), self.words())?;
        for line in self.complaints() {
            writeln!(text, "  {}", shown(line.as_bytes()))?;
        }
        let mut part = |title: &str, rows: &[(&str, String)]| {
            writeln!(text, "\n{title}")?;
            rows.iter().try_for_each(|(name, value)| {
                writeln!(text, "  {:34}{value}", name.replace('_', " "))
            })
        };
        let counts = |rows: &[(&'static str, u64)]| -> Vec<(&'static str, String)> {
            rows.iter().map(|(name, value)| (*name, value.to_string())).collect()
        };
        part("Where and how", &self.facts())?;
        part("Kills of a process that writes", &counts(&self.kills.rows()))?;
        part("Power cuts of a simulated disk, opened on this one", &counts(&self.cuts.rows()))?;
        writeln!(text, "\nTook {:.1} s, seed {}.", self.seconds, self.seed)?;
        writeln!(text, "\nWhat this does not show")?;
        NOT_SHOWN.iter().try_for_each(|line| writeln!(text, "  - {line}"))?;
        Ok(text)
    }

    pub(crate) fn words(&self) -> &'static str {
        match self.violations() {
            0 => "everything that was acknowledged is there, once, as its receipt says",
            _ => "something acknowledged was lost, doubled or changed, or a ledger did not open",
        }
    }

    /// Writes the text and the JSON; answers where the text is.
    pub(crate) fn write(&self) -> Result<PathBuf, Failure> {
        let path = self.args.report.clone().unwrap_or_else(|| {
            self.args.dir.join(format!("drill-{}.txt", self.at.strftime("%Y-%m-%dT%H%M%SZ")))
        });
        let text = self.to_text().map_err(std::io::Error::other)?;
        put(&path, &text)?;
        let json = match &self.args.report {
            Some(path) => format!("{}.json", path.display()).into(),
            None => path.with_extension("json"),
        };
        put(&json, &format!("{}\n", self.to_json()))?;
        Ok(path)
    }
}

fn put(path: &Path, text: &str) -> Result<(), Failure> {
    File::create(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .map_err(|error| Failure::io(format!("writing {}", path.display()), error))
}
