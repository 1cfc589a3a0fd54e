//! The baseline: a file that is committed, with a line for each operation, so that a diff of it says what changed.

use std::path::Path;

use serde_json::{Map, Value};

use crate::measure::Counts;
use crate::surroundings::Surroundings;

const SURROUNDINGS: &str = "made with";
const COUNTS: &str = "instructions of one run";

#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Baseline {
    pub(crate) surroundings: Surroundings,
    pub(crate) counts: Counts,
}

impl Baseline {
    pub(crate) fn read(path: &Path) -> Result<Baseline, String> {
        let at = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| at(&error))?;
        Baseline::parse(&text).ok_or_else(|| at(&"not a baseline"))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), String> {
        std::fs::write(path, self.print()).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse(text: &str) -> Option<Baseline> {
        let whole: Value = serde_json::from_str(text).ok()?;
        let surroundings = Surroundings::from_json(whole.get(SURROUNDINGS)?.as_object()?)?;
        let counts = whole.get(COUNTS)?.as_object()?.iter();
        let counts = counts.map(|(name, count)| Some((name.clone(), count.as_u64()?)));
        Some(Baseline { surroundings, counts: counts.collect::<Option<_>>()? })
    }

    fn print(&self) -> String {
        let counts = self.counts.iter().map(|(name, count)| (name.clone(), (*count).into()));
        let mut whole = Map::new();
        whole.insert(SURROUNDINGS.into(), self.surroundings.to_json());
        whole.insert(COUNTS.into(), Value::Object(counts.collect()));
        format!("{:#}\n", Value::Object(whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nothing_else_is_taken_for_it() {
        let text =
            r#"{"made with": {"rustc": "1"}, "instructions of one run": {"get": 7, "by_key": 3}}"#;
        let baseline = Baseline::parse(text).unwrap();
        assert_eq!(baseline.counts, [("get".to_owned(), 7), ("by_key".to_owned(), 3)]);
        assert_eq!(Baseline::parse(&baseline.print()), Some(baseline));
        assert_eq!(Baseline::parse(&text.replace("7", "-7")), None);
        assert_eq!(Baseline::parse("{}"), None);
    }
}
