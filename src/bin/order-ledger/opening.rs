//! How the commands that write open a ledger.

use std::path::Path;

use order_ledger::{Lifecycle, Options, Reader};

use crate::args::Opening;
use crate::errors::Failure;
use crate::lifecycle::file;

/// The settings, with the lifecycle of the file that was named. Reads that file, and touches no ledger.
pub(crate) fn settings(opening: &Opening) -> Result<Settings, Failure> {
    let lifecycle = opening.lifecycle.as_deref().map(file::read).transpose()?;
    Ok(Settings { segment_mib: opening.segment_mib, lifecycle })
}

pub(crate) struct Settings {
    segment_mib: u64,
    lifecycle: Option<Lifecycle>,
}

impl Settings {
    pub(crate) fn options(&self) -> Options {
        // The largest is 64 KiB less than 4 GiB: what the option allows.
        let options = Options::new().segment_bytes(self.segment_mib.saturating_mul(1024 * 1024));
        match &self.lifecycle {
            Some(lifecycle) => options.lifecycle(lifecycle.clone()),
            None => options,
        }
    }

    /// Looks at a ledger that must be there: a mistyped path must not make one. Answers with it the lifecycle
    /// that steps will follow.
    pub(crate) fn look(&self, dir: &Path) -> Result<(Reader, Lifecycle), Failure> {
        let reader = Reader::open(dir)?;
        let lifecycle = match &self.lifecycle {
            Some(lifecycle) => lifecycle.clone(),
            None => reader.lifecycle()?,
        };
        Ok((reader, lifecycle))
    }
}
