//! `EVIDENCE.md` against the sources: what a buyer reads there must be there.
//!
//! The story: a page of proofs is written once and quoted for years, while tests are renamed and removed
//! under it. The figures are held by `tests/release`; here are the names.

use std::fs;
use std::path::{Path, PathBuf};

/// The table of promises: a row is four cells.
fn promises(evidence: &str) -> Vec<[&str; 4]> {
    let behind = evidence.split("\n## Promised\n").nth(1).unwrap();
    let part = behind.split("\n## ").next().unwrap();
    let rows = part.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| when |"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        cells.try_into().unwrap_or_else(|_| panic!("not four cells: {row}"))
    })
    .collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn is_test_name(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && name.matches('_').count() >= 3
}

/// What the page names and the sources do not have.
fn complaints(evidence: &str, sources: &str, broken: &str, others: &[&str]) -> Vec<String> {
    let mut complaints = Vec::new();
    for [when, what, shown_by, caught] in promises(evidence) {
        let names: Vec<&str> = quoted(shown_by).collect();
        if what.is_empty() || !names.iter().any(|name| is_test_name(name)) {
            complaints.push(format!("{when}: nothing shows it"));
        }
        for name in names {
            let is_there = match is_test_name(name) {
                true => sources.contains(&format!("fn {name}()")),
                false => others.contains(&name),
            };
            if !is_there {
                complaints.push(format!("{when}: there is no {name}"));
            }
        }
        for build in caught.split(';').map(str::trim).filter(|build| *build != "-") {
            if !broken.contains(&format!("| {build} |")) {
                complaints.push(format!("{when}: no build is broken like this: {build}"));
            }
        }
    }
    complaints
}

fn sources(dir: &Path, text: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
            sources(&path, text);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn every_proof_that_evidence_names_is_there() {
    let read = |name: &str| fs::read_to_string(root(name)).unwrap();
    let mut text = String::new();
    sources(&root("src"), &mut text);
    for dir in ["tests/it", "tests/memory", "tests/models"] {
        sources(&root(dir), &mut text);
    }
    // Rigs and fuzz targets are files.
    let mut others = vec!["order-ledger drill".to_owned()];
    for (dir, ending) in [("tests/kernel/src/rigs", ".rs"), ("fuzz/fuzz_targets", ".rs")] {
        let names = fs::read_dir(root(dir)).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.filter_map(|name| name.to_str()?.strip_suffix(ending).map(str::to_owned));
        others.extend(names.flat_map(|name| [name.replace('_', "-"), name]));
    }
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let evidence = read("EVIDENCE.md");
    assert!(promises(&evidence).len() > 8, "the table is found");
    let complaints = complaints(&evidence, &text, &read("tests/README.md"), &others);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn the_readme_leads_to_the_evidence() {
    let readme = fs::read_to_string(root("README.md")).unwrap();
    assert!(readme.contains("](EVIDENCE.md)"));
}

#[test]
fn a_name_that_is_not_there_is_noticed() {
    let page = |shown_by: &str, caught: &str| {
        let head = "\n## Promised\n\n| when | what holds | shown by | caught on purpose |\n";
        format!("{head}|---|---|---|---|\n| it rains | dry | {shown_by} | {caught} |\n\n## Next\n")
    };
    let found = |shown_by: &str, caught: &str| {
        let sources = "fn rain_does_not_get_in() {}";
        complaints(&page(shown_by, caught), sources, "| 1 | open the roof | red |", &["hose"]).len()
    };
    assert_eq!(found("`rain_does_not_get_in`; rig `hose`", "open the roof"), 0);
    assert_eq!(found("`rain_does_not_get_in`", "-"), 0);
    assert_eq!(found("`rain_does_not_get_out`", "-"), 1);
    assert_eq!(found("`rain_does_not_get_in`, `bucket`", "-"), 1);
    assert_eq!(found("rig `hose`", "-"), 1);
    assert_eq!(found("`rain_does_not_get_in`", "open the roof; close the door"), 1);
}
