//! Mutants: small changes that cargo-mutants thinks of, compiled and asked about as the catalogue is.

use std::path::Path;

use serde::Deserialize;

use crate::switch::Change;

/// As `cargo mutants --list --json` prints it.
#[derive(Debug, Deserialize)]
pub(crate) struct Mutant {
    pub(crate) name: String,
    pub(crate) file: String,
    span: Span,
    replacement: String,
}

#[derive(Debug, Deserialize)]
struct Span {
    start: Place,
    end: Place,
}

/// Both from 1.
#[derive(Debug, Deserialize)]
struct Place {
    line: usize,
    column: usize,
}

pub(crate) fn read(path: &Path) -> Result<Vec<Mutant>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("reading {}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

impl Mutant {
    /// What it changes in its file.
    pub(crate) fn change(&self, root: &Path, number: u32) -> Result<Change, String> {
        let text = std::fs::read_to_string(root.join(&self.file))
            .map_err(|error| format!("reading {}: {error}", self.file))?;
        let (start, end) = (offset(&text, &self.span.start), offset(&text, &self.span.end));
        let range = start..end;
        if text.get(range.clone()).is_none_or(str::is_empty) {
            return Err(format!("{} is not in the file: make the list anew", self.name));
        }
        Ok(Change { number, range, text: format!("{} ", self.replacement) })
    }
}

/// The offset of a place in ASCII text.
fn offset(text: &str, place: &Place) -> usize {
    let lines = text.split_inclusive('\n').take(place.line - 1);
    lines.map(str::len).sum::<usize>() + place.column - 1
}
