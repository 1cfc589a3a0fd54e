//! The caller's own orders from a file, for commands that write them over and over under keys of their own.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use crate::errors::Failure;
use crate::lines::{LINE_BYTES_MAX, Lines, RawLine};

/// How much of a file is taken: the first orders.
const ORDERS_MAX: usize = 10_000;
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Reads lines that are not empty; at least one. `check` looks at each, and `advice` goes with what is
/// wrong with the file.
pub(crate) fn lines(
    path: &Path,
    advice: &str,
    mut check: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<Vec<Vec<u8>>, Failure> {
    let unusable = |what: String| Failure::Usage {
        what: format!("{}: {what}", path.display()),
        advice: advice.to_owned(),
    };
    let file = File::open(path).map_err(|error| unusable(error.to_string()))?;
    let mut lines = Lines::new(BufReader::new(file), LINE_BYTES_MAX);
    let (mut own, mut number, mut bytes) = (Vec::new(), 0u64, 0);
    while own.len() < ORDERS_MAX && bytes < BYTES_MAX {
        number += 1;
        let line = match lines.next().map_err(|error| unusable(error.to_string()))? {
            None => break,
            Some(RawLine::Text(line)) if line.iter().all(u8::is_ascii_whitespace) => continue,
            Some(RawLine::Text(line)) => line,
            Some(RawLine::TooLong(_)) => {
                return Err(unusable(format!("line {number} is too long")));
            }
        };
        check(&line).map_err(|why| unusable(format!("line {number}: {why}")))?;
        bytes += line.len();
        own.push(line);
    }
    match own.is_empty() {
        true => Err(unusable("there is no order in it".into())),
        false => Ok(own),
    }
}
