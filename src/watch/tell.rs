//! Who hears of what happens to alerts.
//!
//! Always true: nobody is told before it is on disk, nor while a lock of the ledger is held; a callback that panics
//! harms nobody else, and is counted.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use super::options::{OnAlert, WatchOptions};
use crate::order::AlertEvent;
use crate::sync::Count;

/// Where events go.
pub(crate) struct Sinks {
    on_alert: Option<OnAlert>,
    panics: Count,
}

impl Sinks {
    pub(crate) fn new(options: &WatchOptions) -> Sinks {
        Sinks { on_alert: options.on_alert.clone(), panics: Count::new(0) }
    }

    /// How often a callback has panicked.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Tells everybody.
    pub(crate) fn tell(&self, event: &AlertEvent) {
        trace(event);
        let Some(on_alert) = &self.on_alert else { return };
        // The caller's code. Unwind safe because it is given nothing of ours but the event, to read.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| on_alert(event))) {
            self.panics.fetch_add(1, Ordering::Relaxed);
            // The panic hook has printed it; dropping it is foreign code again, and may panic again.
            std::mem::forget(payload);
        }
    }
}

/// As an event of `tracing`: critical ones are errors, others warnings, and what is over or known is news.
#[cfg(feature = "tracing")]
fn trace(event: &AlertEvent) {
    use crate::order::{AlertChange, AlertLevel};

    macro_rules! emit {
        ($level:expr) => {
            tracing::event!(
                target: "order_ledger::alerts",
                $level,
                alert = event.alert.id.0,
                change = event.change.name(),
                kind = event.alert.kind.name(),
                subject = %event.alert.subject,
                level = event.alert.level.name(),
                seq = event.seq.0,
                "{}",
                event.alert.detail
            )
        };
    }
    match (event.change, event.alert.level) {
        (AlertChange::Cleared | AlertChange::Acknowledged, _) => emit!(tracing::Level::INFO),
        (_, AlertLevel::Warn) => emit!(tracing::Level::WARN),
        (_, AlertLevel::Critical) => emit!(tracing::Level::ERROR),
    }
}

#[cfg(not(feature = "tracing"))]
fn trace(_: &AlertEvent) {}
