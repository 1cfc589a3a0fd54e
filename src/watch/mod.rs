//! Finds what stands still or fails, and says so: once, durably, until it is over.
//!
//! - [`options`]: what is watched, how often, and who is told
//! - [`dwell`]: orders by how long they have been in a state, from the views and the log
//! - [`stuck`]: pages of orders that are in their state for longer than they should
//! - [`alerts`]: pages of alerts
//! - [`conditions`]: what else may be wrong, looked at in each pass; [`unreturned`]: clients that do not hear their
//!   answers
//! - [`pass`]: one look at everything, and what is recorded of it
//! - [`tell`]: who hears of it
//!
//! Always true: nothing here is believed that the log does not say: what a pass remembers of the one before only
//! saves it work, and everything that is recorded is decided again by `commit`, under the lock of the queue. So a
//! restart, a second thread, or views that are wrong neither repeat an alert nor forget one. Whoever asks what is
//! stuck is answered without any of it.

pub(crate) mod alerts;
pub(crate) mod conditions;
pub(crate) mod dwell;
pub(crate) mod options;
pub(crate) mod pass;
pub(crate) mod stuck;
pub(crate) mod tell;
pub(crate) mod unreturned;

use crate::commit::Committer;
use crate::commit::bell::Bell;
use crate::sync::Mutex;
use crate::views::Views;
use conditions::Condition;
use pass::{Looker, Progress, WatchPass};
use tell::Sinks;

pub use alerts::{AlertPage, AlertQuery};
pub use options::WatchOptions;
pub use stuck::{StuckOrder, StuckPage, StuckQuery, StuckToken};

/// The watch of one open ledger.
pub(crate) struct Watch {
    pub(crate) options: WatchOptions,
    /// What is looked at beside orders.
    conditions: Vec<Box<dyn Condition>>,
    bell: Bell,
    /// Held for a pass: two at a time would do the same work twice.
    progress: Mutex<Progress>,
    pub(crate) sinks: Sinks,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Watch {
    /// `more`: what is looked at besides.
    pub(crate) fn new(options: WatchOptions, more: Vec<Box<dyn Condition>>) -> Watch {
        let (mut conditions, sinks) = (conditions::of(&options), Sinks::new(&options));
        conditions.extend(more);
        let (bell, progress) = (Bell::new(false), Mutex::new(Progress::default()));
        Watch { options, conditions, bell, progress, sinks }
    }

    pub(crate) fn stop(&self) {
        self.bell.stop();
    }

    /// The watch's thread, until stopped.
    pub(crate) fn run(&self, committer: &Committer, views: Option<&Views>) {
        while !self.bell.is_stopped() && committer.check_goes_on().is_ok() {
            self.look_as(Looker::Thread, committer, views);
            self.bell.wait(Some(self.options.look_every));
        }
    }

    /// Looks at everything once.
    #[cfg(feature = "sim")]
    pub(crate) fn look(&self, committer: &Committer, views: Option<&Views>) -> WatchPass {
        self.look_as(Looker::Caller, committer, views)
    }

    fn look_as(&self, looker: Looker, committer: &Committer, views: Option<&Views>) -> WatchPass {
        let mut progress = self.progress.lock();
        pass::run(self, committer, views, (looker, &mut progress))
    }
}
