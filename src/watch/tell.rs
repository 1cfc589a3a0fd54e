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

#[cfg(all(test, feature = "tracing"))]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;
    use crate::order::{Alert, AlertChange, AlertKind, AlertLevel, AlertSubject, Seq, Timestamp};

    /// Keeps the level of each event, and what it says.
    #[derive(Default)]
    struct Heard(Arc<Mutex<Vec<(Level, String)>>>);

    struct Words(String);

    impl Visit for Words {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0 += &format!("{field}={value:?} ");
        }
    }

    impl Subscriber for Heard {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut words = Words(String::new());
            event.record(&mut words);
            self.0.lock().push((*event.metadata().level(), words.0));
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn an_alert_is_an_event_of_tracing_as_loud_as_it_is_bad() {
        let at = Timestamp::from_unix_ns(7);
        let alert = |level| Alert {
            id: Seq(3),
            subject: AlertSubject::Ledger,
            kind: AlertKind::DiskLow,
            level,
            raised_at: at,
            escalated_at: None,
            since: at,
            reminded: 0,
            reminded_at: None,
            acknowledged: None,
            cleared_at: None,
            detail: "little room".into(),
        };
        let heard = Heard::default();
        let said = Arc::clone(&heard.0);
        let sinks = Sinks::new(&WatchOptions::new());
        tracing::subscriber::with_default(heard, || {
            for (change, level) in [
                (AlertChange::Raised, AlertLevel::Warn),
                (AlertChange::Escalated, AlertLevel::Critical),
                (AlertChange::Cleared, AlertLevel::Critical),
            ] {
                sinks.tell(&AlertEvent { seq: Seq(9), at, change, alert: alert(level) });
            }
        });
        let said = said.lock();
        let levels: Vec<_> = said.iter().map(|(level, _)| *level).collect();
        assert_eq!(levels, [Level::WARN, Level::ERROR, Level::INFO]);
        for words in ["little room", "disk_low", "raised", "alert=3", "subject=ledger"] {
            assert!(said[0].1.contains(words), "{}", said[0].1);
        }
    }
}
