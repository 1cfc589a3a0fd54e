//! The committed results, and the table in `EVIDENCE.md` that is made from them.
//!
//! Always true: what stands between the two markers follows from the file of results that the first one
//! names; no figure there is typed by hand, and a test holds that.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::failure::{Doing, Result, broken};
use crate::shard::Done;
use crate::sums::{Plan, table};

const BEGIN: &str = "<!-- release run: ";
const BEGIN_END: &str = " -->\n";
const END: &str = "<!-- end of release run -->";

/// A release run as it is committed: one line about the whole, then one for each shard.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Record {
    /// Where it ran: a sentence.
    pub(crate) machine: String,
    pub(crate) plans: Vec<Plan>,
    pub(crate) shards: Vec<Done>,
}

impl Record {
    pub(crate) fn to_lines(&self) -> String {
        let plans: Vec<_> = self.plans.iter().map(Plan::to_json).collect();
        let mut text = format!("{}\n", json!({"machine": self.machine, "plan": plans}));
        for shard in &self.shards {
            text += &format!("{}\n", shard.to_json());
        }
        text
    }

    pub(crate) fn from_lines(text: &str) -> Result<Record> {
        let (first, rest) = text.split_once('\n').ok_or_else(|| broken("no lines"))?;
        let head: Value = serde_json::from_str(first).map_err(|error| broken(error.to_string()))?;
        let machine = head.get("machine").and_then(Value::as_str);
        let plans = head.get("plan").and_then(Value::as_array);
        let (Some(machine), Some(plans)) = (machine, plans) else {
            return Err(broken("the first line is about the whole run"));
        };
        let record = Record {
            machine: machine.to_owned(),
            plans: plans.iter().map(Plan::from_json).collect::<Result<_>>()?,
            shards: rest.lines().map(Done::from_json).collect::<Result<_>>()?,
        };
        record.check()?;
        Ok(record)
    }

    /// What ran on different code is never one row; a layer that was not planned has none.
    fn check(&self) -> Result<()> {
        for shard in &self.shards {
            let of_layer = self.shards.iter().find(|first| first.layer == shard.layer);
            if of_layer.is_some_and(|first| first.code != shard.code) {
                return Err(broken(format!("{} ran on different code", shard.layer)));
            }
            let plan = self.plans.iter().find(|plan| plan.name == shard.layer);
            if plan.is_none_or(|plan| !(1..=plan.planned).contains(&shard.number)) {
                let Done { layer, number, .. } = shard;
                return Err(broken(format!("shard {number} of {layer} was not planned")));
            }
        }
        Ok(())
    }

    /// What stands between the markers.
    pub(crate) fn shown(&self) -> Result<String> {
        if self.shards.is_empty() {
            return Ok(format!("Nothing has run yet.\n\n{}", table(&self.plans, &[])?));
        }
        let times = |pick: fn(&Done) -> &str| self.shards.iter().map(pick);
        let start = times(|shard| &shard.start).min().unwrap_or("never");
        let end = times(|shard| &shard.end).max().unwrap_or("never");
        let table = table(&self.plans, &self.shards)?;
        Ok(format!("{start} to {end}, {}.\n\n{table}", self.machine))
    }
}

/// The name of the results in the first marker, and where what it shows begins and ends.
fn find(evidence: &str) -> Result<(&str, std::ops::Range<usize>)> {
    let missing = || broken("EVIDENCE.md has not both markers of the release run");
    let at = evidence.find(BEGIN).ok_or_else(missing)? + BEGIN.len();
    let behind = evidence.get(at..).unwrap_or_default();
    let name = behind.split(BEGIN_END).next().ok_or_else(missing)?;
    let begin = at + name.len() + BEGIN_END.len();
    let end = evidence.get(begin..).and_then(|rest| rest.find(END)).ok_or_else(missing)? + begin;
    Ok((name, begin..end))
}

/// Puts a record into the text.
fn replaced(evidence: &str, name: &str, record: &Record) -> Result<String> {
    let (before, place) = find(evidence)?;
    let head = evidence.get(..place.start).unwrap_or_default();
    let head = head.replacen(
        &format!("{BEGIN}{before}{BEGIN_END}"),
        &format!("{BEGIN}{name}{BEGIN_END}"),
        1,
    );
    let tail = evidence.get(place.end..).unwrap_or_default();
    Ok(format!("{head}{}{tail}", record.shown()?))
}

fn evidence_path(root: &Path) -> PathBuf {
    root.join("EVIDENCE.md")
}

/// Writes the results and the table made of them; answers the file of the results.
pub(crate) fn write(root: &Path, name: &str, record: &Record) -> Result<PathBuf> {
    record.check()?;
    let results = root.join("tests/release/results").join(name);
    let path = evidence_path(root);
    let evidence = std::fs::read_to_string(&path).doing("reading EVIDENCE.md")?;
    let text = replaced(&evidence, name, record)?;
    std::fs::write(&results, record.to_lines()).doing("writing the results")?;
    std::fs::write(&path, text).doing("writing EVIDENCE.md")?;
    Ok(results)
}

/// The committed results that EVIDENCE.md names.
pub(crate) fn committed(root: &Path) -> Result<Record> {
    let evidence = std::fs::read_to_string(evidence_path(root)).doing("reading EVIDENCE.md")?;
    let (name, _) = find(&evidence)?;
    let results = root.join("tests/release/results").join(name);
    let text = std::fs::read_to_string(&results).doing(format!("reading the results {name}"))?;
    Record::from_lines(&text)
}

/// Holds the table in `EVIDENCE.md` against the results that it names.
pub(crate) fn check(root: &Path) -> Result<String> {
    let evidence = std::fs::read_to_string(evidence_path(root)).doing("reading EVIDENCE.md")?;
    let (name, place) = find(&evidence)?;
    let shown = committed(root)?.shown()?;
    if evidence.get(place) != Some(shown.as_str()) {
        return Err(broken(format!(
            "EVIDENCE.md does not show what {name} adds up to; it should say:\n{shown}"
        )));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::tests::done;

    fn record() -> Record {
        let plan = Plan { name: "L2".into(), title: "x".into(), planned: 2, show: Vec::new() };
        let shard = |number| done("L2", number, 0, r#"RESULT {"layer":"L2","seeds":10}"#);
        Record { machine: "a machine".into(), plans: vec![plan], shards: vec![shard(1), shard(2)] }
    }

    #[test]
    fn a_record_comes_back_from_its_lines() {
        assert_eq!(Record::from_lines(&record().to_lines()).unwrap(), record());
        assert!(Record::from_lines("").is_err());
        assert!(Record::from_lines("{}\n").is_err());
    }

    #[test]
    fn shards_of_a_layer_on_other_code_or_out_of_the_plan_are_refused() {
        let mut other = record();
        other.shards[1].code = "else".into();
        assert!(Record::from_lines(&other.to_lines()).is_err());
        let mut unplanned = record();
        unplanned.shards[1].number = 3;
        assert!(Record::from_lines(&unplanned.to_lines()).is_err());
    }

    #[test]
    fn the_table_is_put_between_the_markers_and_a_figure_typed_by_hand_is_noticed() {
        let dir = std::env::temp_dir().join(format!("release-run-evidence-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("tests/release/results")).unwrap();
        let path = dir.join("EVIDENCE.md");
        std::fs::write(
            &path,
            "# Title\n<!-- release run: none -->\nold\n<!-- end of release run -->\ntail\n",
        )
        .unwrap();
        assert!(check(&dir).is_err(), "there are no results of this name");
        write(&dir, "2026-11-27.jsonl", &record()).unwrap();
        assert_eq!(check(&dir).unwrap(), "2026-11-27.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# Title\n") && text.ends_with("-->\ntail\n"), "{text}");
        assert!(text.contains("| 2 of 2 | 20 seeds | 0 | 0.05 | c0ffee |"), "{text}");
        // Once more changes nothing.
        write(&dir, "2026-11-27.jsonl", &record()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);

        std::fs::write(&path, text.replace("20 seeds", "2,000 seeds")).unwrap();
        assert!(check(&dir).is_err());
        std::fs::write(&path, "# no markers").unwrap();
        assert!(check(&dir).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// The committed one.
    #[test]
    fn evidence_shows_what_the_committed_results_add_up_to() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        if let Err(failure) = check(&root) {
            panic!("{failure}");
        }
    }
}
