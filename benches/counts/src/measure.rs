//! Runs the benches under callgrind and reads from gungraun's JSON how many instructions each took.
//!
//! Always true: there is a count for each operation of the list, and for nothing else; a bench that fails fails
//! all of it.

use std::path::Path;
use std::process::Command;

use order_ledger_counts::OPERATIONS;
use serde_json::Value;

/// Instructions of one run of a bench, by the name of the operation.
pub(crate) type Counts = Vec<(String, u64)>;

/// What gungraun was built into the benches: its runner must be of this very version.
const LOCK: &str = include_str!("../Cargo.lock");

/// What this needs and does not find, with the way to get it.
pub(crate) fn missing(package: &Path) -> Result<Option<String>, String> {
    let wanted = runner_version().ok_or("Cargo.lock names no gungraun-runner")?;
    let found = said_by(Command::new("gungraun-runner").arg("--version"));
    if !found.as_ref().is_ok_and(|found| found == &format!("gungraun-runner {wanted}")) {
        let found = found.unwrap_or_else(|_| "none".to_owned());
        return Ok(Some(format!(
            "gungraun-runner {wanted} is wanted, found: {found} (cargo install gungraun-runner --locked \
             --version {wanted})"
        )));
    }
    if said_by(Command::new("valgrind").arg("--version")).is_err() {
        return Ok(Some("valgrind is not installed".to_owned()));
    }
    // Cargo would say so as well, after a minute.
    match package.join("benches/operations/main.rs").is_file() {
        true => Ok(None),
        false => Err(format!("no benches in {}", package.display())),
    }
}

/// Runs all benches.
pub(crate) fn run(package: &Path) -> Result<Counts, String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(package)
        .args(["bench", "--locked", "--bench", "operations", "--"])
        .args(["--output-format=json", "--parallel=auto"])
        // Other instructions than those of the baseline.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("running cargo bench: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo bench: {}", output.status));
    }
    let counts = counts(&String::from_utf8_lossy(&output.stdout))?;
    let wanted: Vec<_> = OPERATIONS.iter().map(|it| it.name).collect();
    let found: Vec<_> = counts.iter().map(|(name, _)| name.as_str()).collect();
    if wanted != found {
        return Err(format!("wanted are {wanted:?}, counted were {found:?}"));
    }
    Ok(counts)
}

/// A summary a line.
fn counts(lines: &str) -> Result<Counts, String> {
    let one = |line: &str| {
        let summary: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let name = summary.pointer("/function_name").and_then(Value::as_str);
        let count = summary
            .pointer("/profiles/0/data/total/metrics/Ir/values/new")
            .and_then(Value::as_u64)
            .filter(|count| *count > 0);
        let (Some(name), Some(count)) = (name, count) else {
            return Err(format!("gungraun did not count: {line}"));
        };
        Ok((name.to_owned(), count))
    };
    lines.lines().filter(|line| line.starts_with('{')).map(one).collect()
}

fn runner_version() -> Option<&'static str> {
    let (_, behind) = LOCK.split_once("name = \"gungraun-runner\"\nversion = \"")?;
    behind.split('"').next()
}

/// What a program prints, without the line break; an error when it is not there or fails.
pub(crate) fn said_by(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gungraun_says_is_read_and_what_it_did_not_count_is_an_error() {
        let line = r#"{"function_name":"get","profiles":[{"data":{"total":{"metrics":{"Ir":{"values":{"new":7}}}}}}]}"#;
        assert_eq!(counts(&format!("noise\n{line}\n")).unwrap(), [("get".to_owned(), 7)]);
        counts(&line.replace('7', "0")).unwrap_err();
        counts(&line.replace("Ir", "Dr")).unwrap_err();
        counts("{").unwrap_err();
    }

    #[test]
    fn the_lock_file_names_the_runner() {
        assert!(runner_version().is_some_and(|version| version.split('.').count() == 3));
    }
}
