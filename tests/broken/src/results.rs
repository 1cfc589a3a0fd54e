//! What was found, a line each in a file: a run that is cut off goes on where it was.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What was found about one build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) build: String,
    /// Which tree, and which edit of it.
    pub(crate) tree: u64,
    /// The layer that went red; `None`: the build survived, or there is an error.
    pub(crate) layer: Option<String>,
    /// The test, the seed, or how else it was noticed.
    pub(crate) by: String,
    /// How many more tests went red in the same run.
    pub(crate) more: usize,
    /// CPU seconds of everything that was run until it went red.
    pub(crate) cpu_s: f64,
    /// It does not compile, or can't be built: says nothing about the tests.
    pub(crate) error: bool,
}

impl Found {
    /// A hang is noticed too, but only by whoever waits for it.
    pub(crate) fn is_hang(&self) -> bool {
        self.layer.is_some() && self.by.starts_with("a hang")
    }
}

pub(crate) struct Results {
    path: PathBuf,
    found: BTreeMap<String, Found>,
}

impl Results {
    pub(crate) fn read(path: &Path) -> io::Result<Results> {
        let mut found = BTreeMap::new();
        match std::fs::read_to_string(path) {
            Ok(text) => {
                // A line that was cut off is asked about again.
                for line in text.lines().filter_map(|it| serde_json::from_str::<Found>(it).ok()) {
                    found.insert(line.build.clone(), line);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Results { path: path.to_owned(), found })
    }

    /// What is known about this build of this tree.
    pub(crate) fn get(&self, build: &str, tree: u64) -> Option<&Found> {
        self.found.get(build).filter(|found| found.tree == tree && !found.error)
    }

    /// What was found last about this build, of whatever tree.
    pub(crate) fn last(&self, build: &str) -> Option<&Found> {
        self.found.get(build)
    }

    pub(crate) fn add(&mut self, found: Found) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        writeln!(file, "{}", serde_json::to_string(&found)?)?;
        self.found.insert(found.build.clone(), found);
        Ok(())
    }
}
