//! What one finished shard left: how it ended and what it counted; as a line of JSON.
//!
//! Always true: a shard passed only when it ended with 0, said at least one RESULT, and counted no
//! violation. The judgement is made anew whenever a line is read, and never taken from the line.

use serde_json::{Map, Value, json};

use crate::failure::{Result, broken};

/// How a skipped shard ends.
pub(crate) const SKIPPED: i64 = 77;
/// What a layer's line with counts begins with.
const RESULT: &str = "RESULT {";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Passed,
    /// Could not run here: never counted as passed.
    Skipped,
    Failed,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Done {
    pub(crate) layer: String,
    pub(crate) number: u64,
    pub(crate) command: String,
    pub(crate) commit: String,
    pub(crate) code: String,
    /// RFC 3339, seconds.
    pub(crate) start: String,
    pub(crate) end: String,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    /// The exit code; -1 when a signal ended it.
    pub(crate) status: i64,
    pub(crate) results: Vec<Map<String, Value>>,
    /// The line that says why it was skipped.
    pub(crate) skipped: Option<String>,
}

impl Done {
    pub(crate) fn verdict(&self) -> Verdict {
        match self.status {
            SKIPPED => Verdict::Skipped,
            0 if !self.results.is_empty() && self.violations() == 0 => Verdict::Passed,
            _ => Verdict::Failed,
        }
    }

    pub(crate) fn violations(&self) -> i128 {
        let counted = self.results.iter().filter_map(|result| result.get("violations")?.as_i64());
        counted.map(i128::from).sum()
    }

    /// Why it did not pass.
    pub(crate) fn why(&self) -> String {
        match (self.status, self.results.is_empty(), self.violations()) {
            (SKIPPED, ..) => {
                self.skipped.clone().unwrap_or_else(|| "SKIPPED without saying why".into())
            }
            (0, true, _) => "it ended well and said no RESULT".into(),
            (0, false, violations) => format!("{violations} violations"),
            (-1, ..) => "a signal ended it".into(),
            (status, ..) => format!("exit {status}"),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "layer": self.layer,
            "shard": self.number,
            "status": self.status,
            "results": self.results,
            "skipped": self.skipped,
            "start": self.start,
            "end": self.end,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "command": self.command,
            "commit": self.commit,
            "code": self.code,
        })
    }

    pub(crate) fn from_json(line: &str) -> Result<Done> {
        let value: Value = serde_json::from_str(line).map_err(|error| broken(error.to_string()))?;
        let missing = |name: &str| broken(format!("no {name} in {line}"));
        let text = |name: &str| {
            value.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| missing(name))
        };
        let number =
            |name: &str| value.get(name).and_then(Value::as_f64).ok_or_else(|| missing(name));
        let results = value.get("results").and_then(Value::as_array);
        let results = results.ok_or_else(|| missing("results"))?.iter();
        Ok(Done {
            layer: text("layer")?,
            number: value.get("shard").and_then(Value::as_u64).ok_or_else(|| missing("shard"))?,
            command: text("command")?,
            commit: text("commit")?,
            code: text("code")?,
            start: text("start")?,
            end: text("end")?,
            seconds: number("seconds")?,
            cpu_seconds: number("cpu_seconds")?,
            status: value.get("status").and_then(Value::as_i64).ok_or_else(|| missing("status"))?,
            results: results
                .map(|result| result.as_object().cloned().ok_or_else(|| missing("results")))
                .collect::<Result<_>>()?,
            skipped: value.get("skipped").and_then(Value::as_str).map(str::to_owned),
        })
    }
}

/// The RESULT lines of an output. One that can't be read is an error: a count must not get lost.
///
/// A test harness may print its own words in front of the line.
pub(crate) fn results(output: &str) -> Result<Vec<Map<String, Value>>> {
    let mut found = Vec::new();
    for line in output.lines() {
        let Some(at) = line.find(RESULT) else { continue };
        let text = line.get(at + RESULT.len() - 1..).unwrap_or_default();
        match serde_json::from_str(text) {
            Ok(Value::Object(result)) => found.push(result),
            _ => return Err(broken(format!("not a RESULT: {line}"))),
        }
    }
    Ok(found)
}

pub(crate) fn skipped(output: &str) -> Option<String> {
    output.lines().find(|line| line.starts_with("SKIPPED")).map(str::to_owned)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A shard as the tests need it.
    pub(crate) fn done(layer: &str, number: u64, status: i64, lines: &str) -> Done {
        Done {
            layer: layer.into(),
            number,
            command: format!("run {number}"),
            commit: "c0ffee".into(),
            code: "1234".into(),
            start: "2026-11-27T10:00:00Z".into(),
            end: "2026-11-27T10:01:00Z".into(),
            seconds: 60.0,
            cpu_seconds: 90.0,
            status,
            results: results(lines).unwrap(),
            skipped: skipped(lines),
        }
    }

    #[test]
    fn a_shard_passes_only_with_exit_0_a_result_and_no_violation() {
        let good = r#"RESULT {"layer":"L2","seeds":10,"violations":0}"#;
        let bad = r#"RESULT {"layer":"L2","seeds":10,"violations":1}"#;
        assert_eq!(done("L2", 1, 0, good).verdict(), Verdict::Passed);
        assert_eq!(done("L2", 1, 0, bad).verdict(), Verdict::Failed);
        assert_eq!(done("L2", 1, 0, "all is well").verdict(), Verdict::Failed);
        assert_eq!(done("L2", 1, 101, good).verdict(), Verdict::Failed);
        assert_eq!(done("L2", 1, -1, good).verdict(), Verdict::Failed);
        let skipped = done("L8", 1, 77, "SKIPPED L8: not root\n");
        assert_eq!(
            (skipped.verdict(), skipped.why()),
            (Verdict::Skipped, "SKIPPED L8: not root".into())
        );
    }

    #[test]
    fn results_are_found_behind_the_words_of_a_test_harness_and_a_broken_one_is_an_error() {
        let output =
            "test a ... RESULT {\"layer\":\"L1\",\"images\":5}\nok\nRESULT {\"layer\":\"L2\"}\n";
        assert_eq!(results(output).unwrap().len(), 2);
        assert!(results("RESULT {\"layer\":").is_err());
        assert!(results("no result").unwrap().is_empty());
    }

    #[test]
    fn a_shard_comes_back_from_its_line() {
        let shard = done("L2", 3, 0, "RESULT {\"layer\":\"L2\",\"seeds\":10}");
        assert_eq!(Done::from_json(&shard.to_json().to_string()).unwrap(), shard);
        assert!(Done::from_json("{\"layer\":\"L2\"}").is_err());
        assert!(Done::from_json("{").is_err());
    }
}
