//! Holds the instructions of each operation against a baseline, so that a regression shows on a busy machine.
//!
//! - `measure`: runs the benches, and reads what gungraun says
//! - `surroundings`: what else decides how many instructions there are
//! - `baseline`: the file; `judge`: the comparison, as a table
//!
//! gungraun compares with the runs before, in its own directory, and has limits in the sources of a bench; a
//! baseline that is committed, and the question whether it is one for this machine, are ours.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod baseline;
mod judge;
mod measure;
mod surroundings;

use baseline::Baseline;
use surroundings::Surroundings;

const USAGE: &str = "\
counts check [--baseline FILE]   compares with the baseline; fails when an operation takes more
counts write [--baseline FILE]   measures, and rewrites the baseline

Without FILE it is baseline.json of this package. Exit 0: nothing takes more; 1: something does;
2: it could not be measured; 77: skipped, for the baseline was made with something else.";

/// As the gate understands it: this could not be checked here.
const SKIPPED: u8 = 77;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let options: Vec<_> = arguments.collect();
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let baseline = match options.as_slice() {
        [] => package.join("baseline.json"),
        [name, file] if name == "--baseline" => PathBuf::from(file),
        _ => return end(2, USAGE),
    };
    let done = match command.as_str() {
        "check" => check(package, &baseline),
        "write" => write(package, &baseline),
        // Asked for by this program itself, under valgrind.
        surroundings::CPU_COMMAND => {
            return end(0, &surroundings::cpu_features());
        }
        _ => return end(2, USAGE),
    };
    done.unwrap_or_else(|why| end(2, &why))
}

fn check(package: &Path, path: &Path) -> Result<ExitCode, String> {
    if let Some(why) = measure::missing(package)? {
        return Ok(end(SKIPPED, &format!("SKIPPED: {why}")));
    }
    let baseline = Baseline::read(path)?;
    let here = Surroundings::of_this_machine()?;
    let differences = baseline.surroundings.differences(&here);
    if !differences.is_empty() {
        let why = differences.join("; ");
        return Ok(end(SKIPPED, &format!("SKIPPED: other than the baseline: {why}")));
    }
    let judged = judge::judge(&baseline.counts, &measure::run(package)?);
    let code = if judged.passed { 0 } else { 1 };
    Ok(end(code, &judged.text))
}

fn write(package: &Path, path: &Path) -> Result<ExitCode, String> {
    if let Some(why) = measure::missing(package)? {
        return Err(why);
    }
    let surroundings = Surroundings::of_this_machine()?;
    let counts = measure::run(package)?;
    let text = match Baseline::read(path) {
        Ok(before) => judge::judge(&before.counts, &counts).text,
        Err(_) => judge::judge(&counts, &counts).text,
    };
    Baseline { surroundings, counts }.write(path)?;
    Ok(end(0, &format!("{text}\nwritten: {}", path.display())))
}

/// Says the last word. When nobody listens the exit code still says it.
fn end(code: u8, text: &str) -> ExitCode {
    drop(writeln!(std::io::stdout(), "{text}"));
    ExitCode::from(code)
}
