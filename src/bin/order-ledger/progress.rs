//! A progress bar: on a terminal, for long work; nothing when piped.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How far the work is.
pub(crate) struct Progress {
    bar: ProgressBar,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    Bytes,
    Things,
}

impl Progress {
    /// A bar on standard error, when that is a terminal. `writes_lines`: the answers go to standard
    /// output meanwhile, so that must not be the same terminal.
    pub(crate) fn new(total: u64, unit: Unit, writes_lines: bool) -> Progress {
        let seen = io::stderr().is_terminal() && !(writes_lines && io::stdout().is_terminal());
        let bar = match seen {
            true => ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()),
            false => ProgressBar::hidden(),
        };
        let template = match unit {
            Unit::Bytes => "{bar:40} {bytes}/{total_bytes} ({eta})",
            Unit::Things => "{bar:40} {pos}/{len} ({eta})",
        };
        // A template that does not parse would be a bug; the plain bar does as well.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress { bar }
    }

    pub(crate) fn set(&self, done: u64) {
        self.bar.set_position(done);
    }

    pub(crate) fn set_total(&self, total: u64) {
        self.bar.set_length(total);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
