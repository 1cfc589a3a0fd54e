//! A lifecycle as JSON: what `lifecycle --json` prints, and what `--lifecycle FILE` takes.
//!
//! Always true: what was printed is read back as the same lifecycle. The checks are the library's.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use order_ledger::{Lifecycle, State, StateRule};
use serde::{Deserialize, Serialize};

use crate::errors::Failure;
use crate::json::Seconds;
use crate::names::name_of;

/// Largest file that is read: a table of 250 states and 4,096 steps is far smaller.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    states: Vec<StateRow>,
    edges: Vec<EdgeRow>,
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct StateRow {
    name: String,
    /// Left out for a state that every ledger knows.
    #[serde(default)]
    number: Option<u8>,
    /// Left out: as every ledger has it, and no for a state of one's own.
    #[serde(default)]
    terminal: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    warn_after_s: Option<Seconds>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    critical_after_s: Option<Seconds>,
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct EdgeRow {
    from: String,
    to: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<String>,
}

/// Every step: from, to, and the evidence that it demands.
pub(crate) fn steps(lifecycle: &Lifecycle) -> impl Iterator<Item = (State, State, &[String])> {
    lifecycle.states().flat_map(move |from| {
        lifecycle.states().filter_map(move |to| Some((from, to, lifecycle.demanded(from, to)?)))
    })
}

impl Table {
    pub(crate) fn of(lifecycle: &Lifecycle) -> Table {
        let name = |state| name_of(lifecycle, state).into_owned();
        let row = |state: State| {
            let (warn, critical) = lifecycle.thresholds(state);
            StateRow {
                name: name(state),
                number: Some(state.number()),
                terminal: Some(lifecycle.is_terminal(state)),
                warn_after_s: warn.map(Seconds),
                critical_after_s: critical.map(Seconds),
            }
        };
        let step = |(from, to, evidence): (State, State, &[String])| EdgeRow {
            from: name(from),
            to: name(to),
            evidence: evidence.to_vec(),
        };
        Table {
            states: lifecycle.states().map(row).collect(),
            edges: steps(lifecycle).map(step).collect(),
        }
    }

    /// The lifecycle, checked; or what is wrong with it.
    fn build(&self) -> Result<Lifecycle, String> {
        let mut named = Vec::new();
        let mut builder = Lifecycle::builder();
        for row in &self.states {
            let StateRow { name, terminal, warn_after_s, critical_after_s, .. } = row;
            let state = row.state()?;
            named.push((name.as_str(), state));
            let mut rule = match terminal.unwrap_or(state.is_terminal()) {
                true => StateRule::terminal(state, name.as_str()),
                false => StateRule::new(state, name.as_str()),
            };
            if let Some(Seconds(after)) = warn_after_s {
                rule = rule.warn_after(*after);
            }
            if let Some(Seconds(after)) = critical_after_s {
                rule = rule.critical_after(*after);
            }
            builder = builder.state(rule);
        }
        let state = |name: &str| {
            let found = named.iter().find(|(known, _)| *known == name).map(|(_, state)| *state);
            found.or_else(|| name.parse().ok()).ok_or_else(|| {
                format!("an edge names the state {name:?}, which is not among the states")
            })
        };
        for EdgeRow { from, to, evidence } in &self.edges {
            builder =
                builder.edge_with(state(from)?, state(to)?, evidence.iter().map(String::as_str));
        }
        builder.build().map_err(|error| {
            // The library's words call a state of one's own by its number.
            let own = named.iter().find(|(_, state)| *state == error.state());
            match own.filter(|(name, state)| *name != state.to_string()) {
                Some((name, state)) => format!("{error} ({state} is {name:?})"),
                None => error.to_string(),
            }
        })
    }
}

impl StateRow {
    fn state(&self) -> Result<State, String> {
        let name = &self.name;
        match self.number {
            Some(number) => State::from_number(number).ok_or_else(|| {
                format!("the number {number} of the state {name:?} is not one of 100 to 249")
            }),
            None => match name.parse() {
                Ok(State::Own(_)) | Err(_) => {
                    Err(format!("the state {name:?} has no number: give it one of 100 to 249"))
                }
                Ok(known) => Ok(known),
            },
        }
    }
}

/// The lifecycle in a file.
pub(crate) fn read(path: &Path) -> Result<Lifecycle, Failure> {
    let text = || {
        let mut text = String::new();
        File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    let text = text().map_err(|error| error.to_string());
    let parse = |text: String| {
        serde_json::from_str::<Table>(&text).map_err(|error| error.to_string())?.build()
    };
    text.and_then(parse).map_err(|what| Failure::Usage {
        what: format!("{}: {what}", path.display()),
        advice: "correct the file of the lifecycle; no ledger was opened".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn built(text: &str) -> Result<Lifecycle, String> {
        serde_json::from_str::<Table>(text).map_err(|error| error.to_string())?.build()
    }

    /// What was printed is read back as the same.
    #[test]
    fn a_table_comes_back_from_its_json() {
        let packed = State::own(100).unwrap();
        let own = Lifecycle::builder()
            .state(StateRule::new(packed, "packed").warn_after(Duration::from_millis(1500)))
            .state(StateRule::terminal(State::own(249).unwrap(), "sent"))
            .state(
                StateRule::new(State::Confirmed, "confirmed")
                    .critical_after(Duration::from_secs(60)),
            )
            .edge(State::Accepted, packed)
            .edge(State::Accepted, State::Confirmed)
            .edge(State::Confirmed, packed)
            .edge_with(packed, State::own(249).unwrap(), ["tracking_number", "signed_by"])
            .build()
            .unwrap();
        for lifecycle in [Lifecycle::default(), own] {
            let text = serde_json::to_string(&Table::of(&lifecycle)).unwrap();
            assert_eq!(built(&text), Ok(lifecycle), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_the_names_of_the_file() {
        let row = |states: &str, steps: &str| {
            built(&format!(r#"{{"states":[{states}],"edges":[{steps}]}}"#)).unwrap_err()
        };
        let packed = r#"{"name":"packed","number":100}"#;
        let to_packed = r#"{"from":"accepted","to":"packed"}"#;
        for (error, words) in [
            (row(r#"{"name":"packed"}"#, ""), "the state \"packed\" has no number"),
            (row(r#"{"name":"packed","number":50}"#, ""), "50 of the state \"packed\""),
            (row(packed, r#"{"from":"accepted","to":"lost"}"#), "an edge names the state \"lost\""),
            (row(packed, to_packed), "the state own_100 has no edge out"),
            (row(packed, to_packed), "(own_100 is \"packed\")"),
            (row(r#"{"name":"packed","number":5}"#, ""), "the state completed, and whether"),
            (
                row(r#"{"name":"completed","terminal":false}"#, ""),
                "whether it is terminal, are fixed",
            ),
            (row(r#"{"name":"packed","numbr":100}"#, ""), "unknown field `numbr`"),
            (row(r#"{"name":"packed","number":100,"warn_after_s":-1}"#, ""), "negative"),
        ] {
            assert!(error.contains(words), "{error}");
        }
    }
}
