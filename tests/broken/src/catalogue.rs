//! What is broken, and who should notice: `catalogue.toml`, read and held against the sources.
//!
//! Always true after [`Catalogue::check`]: names are unique, every edit's text is in its file exactly
//! once and is changed by it, every layer that is named exists. An edit that no longer applies is an
//! error of the catalogue: the code has moved on, and the row must follow it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use crate::switch::Change;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Catalogue {
    /// From cheap to dear: this is the order in which they are asked.
    #[serde(rename = "layer")]
    pub(crate) layers: Vec<Layer>,
    #[serde(rename = "build")]
    pub(crate) builds: Vec<Build>,
    /// What is asked about a mutant, from cheap to dear.
    #[serde(rename = "stage")]
    pub(crate) stages: Vec<Layer>,
}

/// A layer of the proof: a program that must go red on a broken build.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layer {
    pub(crate) name: String,
    /// Arguments of cargo that build it and run nothing.
    pub(crate) build: Vec<String>,
    /// The program: how cargo calls a binary of tests, or a path in the target directory.
    pub(crate) program: String,
    /// Its arguments, unless tests are named.
    pub(crate) all: Vec<String>,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// So many seconds of CPU, and three times as many on the clock, are a hang; none: what no layer takes.
    pub(crate) hangs_after_s: Option<u64>,
    /// A target directory of its own, below that of the run: for builds with other flags.
    pub(crate) target: Option<String>,
    /// Asked only about builds that name it: too dear for others, or needs root.
    #[serde(default)]
    pub(crate) only_when_named: bool,
}

/// A build with one thing broken.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Build {
    pub(crate) name: String,
    /// Rules of RELIABILITY section 2, as in `src/wal/rules.rs`.
    pub(crate) rules: String,
    /// What is broken, in one sentence.
    pub(crate) what: String,
    /// The layer that should notice first.
    pub(crate) layer: String,
    /// The tests of that layer that should; none: all of the layer.
    #[serde(default)]
    pub(crate) tests: Vec<String>,
    /// The build that must fail whatever is asked: if it passes, the asking is broken.
    #[serde(default)]
    pub(crate) canary: bool,
    #[serde(rename = "edit")]
    pub(crate) edits: Vec<Edit>,
}

/// One change of one file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    pub(crate) file: String,
    pub(crate) find: String,
    pub(crate) replace: String,
}

impl Catalogue {
    pub(crate) fn read(path: &Path) -> Result<Catalogue, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("reading {}: {error}", path.display()))?;
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub(crate) fn layer(&self, name: &str) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.name == name)
    }

    /// What is wrong with the catalogue, held against the tree at `root`.
    pub(crate) fn check(&self, root: &Path) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut names = BTreeSet::new();
        let tests = tests(root);
        for build in &self.builds {
            let mut complain = |what: String| complaints.push(format!("{}: {what}", build.name));
            if !names.insert(&build.name) {
                complain("there are two of this name".into());
            }
            if self.layer(&build.layer).is_none() {
                complain(format!("there is no layer {}", build.layer));
            }
            for test in &build.tests {
                if !tests.contains(test) {
                    complain(format!("there is no test {test}"));
                }
            }
            if let Err(what) = build.changes(root, 1) {
                complain(what);
            }
        }
        if self.builds.iter().filter(|build| build.canary).count() != 1 {
            complaints.push("there must be one canary".into());
        }
        complaints
    }
}

impl Build {
    /// What it changes, by file.
    pub(crate) fn changes(
        &self,
        root: &Path,
        number: u32,
    ) -> Result<Vec<(String, Change)>, String> {
        let mut changes = Vec::new();
        for Edit { file, find, replace } in &self.edits {
            let text = std::fs::read_to_string(root.join(file))
                .map_err(|error| format!("reading {file}: {error}"))?;
            let found: Vec<_> = text.match_indices(find).collect();
            let [(start, _)] = found[..] else {
                return Err(format!("{file} has {} times, not once: {find}", found.len()));
            };
            if find == replace {
                return Err(format!("changes nothing in {file}"));
            }
            let range = start..start + find.len();
            changes.push((file.clone(), Change { number, range, text: replace.clone() }));
        }
        Ok(changes)
    }
}

/// The names of the tests of the tree.
fn tests(root: &Path) -> BTreeSet<String> {
    let (mut tests, mut rest) = (BTreeSet::new(), vec![root.join("src"), root.join("tests/it")]);
    while let Some(path) = rest.pop() {
        if let Ok(entries) = std::fs::read_dir(&path) {
            rest.extend(entries.flatten().map(|entry| entry.path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            // Other attributes may stand between.
            let mut is_test = false;
            for line in text.lines().map(str::trim_start) {
                is_test |= line == "#[test]";
                if let Some(rest) = line.strip_prefix("fn ").filter(|_| is_test) {
                    tests.extend(rest.split('(').next().map(str::to_owned));
                    is_test = false;
                }
            }
        }
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn every_edit_still_applies() {
        let catalogue = Catalogue::read(&root().join("tests/broken/catalogue.toml")).unwrap();
        assert_eq!(catalogue.check(&root()), Vec::<String>::new());
        assert!(catalogue.builds.len() > 40);
    }

    #[test]
    fn the_check_can_fail() {
        let mut catalogue = Catalogue::read(&root().join("tests/broken/catalogue.toml")).unwrap();
        catalogue.builds.truncate(4);
        catalogue.builds.iter_mut().for_each(|build| build.canary = false);
        catalogue.builds[0].edits[0].find = "no such text".into();
        catalogue.builds[1].layer = "no such layer".into();
        catalogue.builds[2].tests = vec!["no_such_test".into()];
        catalogue.builds[3].name = catalogue.builds[2].name.clone();
        assert_eq!(catalogue.check(&root()).len(), 5);
    }
}
