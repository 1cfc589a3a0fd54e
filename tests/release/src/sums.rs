//! Adds up the shards of each layer, and writes the table that `EVIDENCE.md` quotes.
//!
//! Always true: integers add, fields that end in `_max` take the largest, text must be equal; only shards
//! that passed are counted, and how many are missing stands in the row.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::failure::{Result, broken};
use crate::schedule::Layer;
use crate::shard::{Done, Verdict};

/// What is known about a layer beside its shards; the schedule may change later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) planned: u64,
    pub(crate) show: Vec<String>,
}

impl Plan {
    pub(crate) fn of(layer: &Layer) -> Plan {
        Plan {
            name: layer.name.clone(),
            title: layer.title.clone(),
            planned: layer.planned(),
            show: layer.show.clone(),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({"layer": self.name, "title": self.title, "shards": self.planned, "show": self.show})
    }

    pub(crate) fn from_json(value: &Value) -> Result<Plan> {
        let missing = || broken(format!("not the plan of a layer: {value}"));
        let text = |name: &str| value.get(name).and_then(Value::as_str).ok_or_else(missing);
        let show = value.get("show").and_then(Value::as_array).ok_or_else(missing)?.iter();
        Ok(Plan {
            name: text("layer")?.to_owned(),
            title: text("title")?.to_owned(),
            planned: value.get("shards").and_then(Value::as_u64).ok_or_else(missing)?,
            show: show.filter_map(Value::as_str).map(str::to_owned).collect(),
        })
    }
}

/// The sums of a layer.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) passed: u64,
    pub(crate) skipped: u64,
    pub(crate) failed: u64,
    pub(crate) cpu_seconds: f64,
    /// In the order in which the layer names them.
    pub(crate) counts: Map<String, Value>,
}

impl Sums {
    pub(crate) fn of<'a>(shards: impl Iterator<Item = &'a Done>) -> Result<Sums> {
        let mut sums = Sums::default();
        let mut numbers = BTreeMap::new();
        for shard in shards {
            if numbers.insert(shard.number, ()).is_some() {
                return Err(broken(format!("{} {} is there twice", shard.layer, shard.number)));
            }
            sums.cpu_seconds += shard.cpu_seconds;
            match shard.verdict() {
                Verdict::Passed => sums.passed += 1,
                Verdict::Skipped => sums.skipped += 1,
                Verdict::Failed => sums.failed += 1,
            }
            if shard.verdict() == Verdict::Passed {
                for (name, value) in shard.results.iter().flatten() {
                    let sum = sums.counts.get(name);
                    let sum = add(name, sum, value)
                        .ok_or_else(|| broken(format!("{}: {name} can't be added", shard.layer)))?;
                    sums.counts.insert(name.clone(), sum);
                }
            }
        }
        Ok(sums)
    }
}

fn add(name: &str, sum: Option<&Value>, value: &Value) -> Option<Value> {
    let Some(sum) = sum else { return Some(value.clone()) };
    if name.ends_with("_max") {
        let (before, now) = (sum.as_f64()?, value.as_f64()?);
        return Some(if now > before { value.clone() } else { sum.clone() });
    }
    match (sum.as_u64(), value.as_u64()) {
        (Some(before), Some(now)) => before.checked_add(now).map(Value::from),
        // Text is a constant of the layer, but for shards with several names (`each`).
        _ if sum.is_string() && value.is_string() => Some(match sum == value {
            true => sum.clone(),
            false => "several".into(),
        }),
        _ => None,
    }
}

/// The table, a row for each layer that was planned.
pub(crate) fn table(plans: &[Plan], shards: &[Done]) -> Result<String> {
    let mut text = String::from(
        "| layer | what | shards | counted | violations | CPU hours | commit |\n|---|---|---|---|---|---|---|\n",
    );
    let mut all = Sums::default();
    let mut planned = 0;
    for plan in plans {
        let of_layer = || shards.iter().filter(|shard| shard.layer == plan.name);
        let sums = Sums::of(of_layer())?;
        let mut commits: Vec<_> =
            of_layer().map(|shard| shard.commit.get(..10).unwrap_or(&shard.commit)).collect();
        commits.sort_unstable();
        commits.dedup();
        let violations = match (sums.failed, sums.counts.get("violations")) {
            (0, Some(violations)) => number(violations),
            (0, None) if sums.passed > 0 => "0".into(),
            (0, None) => "-".into(),
            (failed, _) => format!("**{failed} shards FAILED**"),
        };
        let mut done = format!("{} of {}", thousands(sums.passed), thousands(plan.planned));
        if sums.skipped > 0 {
            write!(done, ", {} SKIPPED", sums.skipped)
                .map_err(|error| broken(error.to_string()))?;
        }
        let row = [
            plan.name.clone(),
            plan.title.clone(),
            done,
            counted(plan, &sums),
            violations,
            hours(sums.cpu_seconds),
            if commits.is_empty() { "-".into() } else { commits.join(", ") },
        ];
        text += &format!("| {} |\n", row.join(" | "));
        all.passed += sums.passed;
        all.cpu_seconds += sums.cpu_seconds;
        planned += plan.planned;
    }
    text += &format!(
        "| all | | {} of {} | | | {} | |\n",
        thousands(all.passed),
        thousands(planned),
        hours(all.cpu_seconds)
    );
    Ok(text)
}

fn counted(plan: &Plan, sums: &Sums) -> String {
    let shown = |name: &String, value: &Value| {
        value.is_number().then(|| format!("{} {}", number(value), name.replace('_', " ")))
    };
    let parts: Vec<_> = match plan.show.is_empty() {
        true => sums
            .counts
            .iter()
            .filter(|(name, _)| *name != "violations")
            .filter_map(|(name, value)| shown(name, value))
            .collect(),
        false => plan.show.iter().filter_map(|name| shown(name, sums.counts.get(name)?)).collect(),
    };
    if parts.is_empty() { "-".into() } else { parts.join(", ") }
}

fn number(value: &Value) -> String {
    value.as_u64().map_or_else(|| value.to_string(), thousands)
}

/// 1234567 as 1,234,567.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn hours(seconds: f64) -> String {
    format!("{:.2}", seconds / 3600.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::tests::done;

    fn plan(name: &str, planned: u64, show: &[&str]) -> Plan {
        let show = show.iter().map(|name| (*name).to_owned()).collect();
        Plan { name: name.into(), title: "histories".into(), planned, show }
    }

    fn result(seeds: u64, violations: u64, rss_max: u64) -> String {
        format!(
            r#"RESULT {{"layer":"L2","seeds":{seeds},"violations":{violations},"rss_max":{rss_max}}}"#
        )
    }

    #[test]
    fn integers_add_and_maxima_do_not() {
        let shards = [done("L2", 1, 0, &result(1000, 0, 7)), done("L2", 2, 0, &result(500, 0, 5))];
        let sums = Sums::of(shards.iter()).unwrap();
        assert_eq!((sums.passed, sums.cpu_seconds), (2, 180.0));
        let text = table(&[plan("L2", 10, &[])], &shards).unwrap();
        let row = "| L2 | histories | 2 of 10 | 1,500 seeds, 7 rss max | 0 | 0.05 | c0ffee |";
        assert!(text.contains(row), "{text}");
        let text = table(&[plan("L2", 10, &["seeds", "nothing"])], &shards).unwrap();
        assert!(text.contains("| 1,500 seeds | 0 |"), "{text}");
    }

    #[test]
    fn several_results_of_one_shard_add_up_as_well() {
        let both = result(3, 0, 1) + "\n" + &result(4, 0, 9);
        let text = table(&[plan("L2", 1, &[])], &[done("L2", 1, 0, &both)]).unwrap();
        assert!(text.contains("7 seeds, 9 rss max"), "{text}");
    }

    #[test]
    fn what_failed_or_was_skipped_is_said_and_never_counted() {
        let shards = [
            done("L2", 1, 0, &result(10, 0, 1)),
            done("L2", 2, 101, &result(1000, 3, 1)),
            done("L2", 3, 77, "SKIPPED L2: no root"),
        ];
        let text = table(&[plan("L2", 3, &[])], &shards).unwrap();
        let row =
            "| L2 | histories | 1 of 3, 1 SKIPPED | 10 seeds, 1 rss max | **1 shards FAILED** |";
        assert!(text.contains(row), "{text}");
        let text = table(&[plan("L3", 3, &[])], &shards).unwrap();
        assert!(text.contains("| L3 | histories | 0 of 3 | - | - | 0.00 | - |"), "{text}");
    }

    #[test]
    fn what_cannot_be_added_is_an_error_and_so_is_a_shard_that_is_there_twice() {
        let one =
            |text: &str| done("L2", 1, 0, &format!("RESULT {{\"layer\":\"L2\",\"x\":{text}}}"));
        let mut other = one("[1]");
        other.number = 2;
        assert!(Sums::of([one("1"), other].iter()).is_err());
        assert!(Sums::of([one("1"), one("1")].iter()).is_err());
    }

    #[test]
    fn numbers_have_commas() {
        let shown = [0, 12, 123, 1234, 123_456, 1_234_567].map(thousands);
        assert_eq!(shown, ["0", "12", "123", "1,234", "123,456", "1,234,567"]);
    }
}
