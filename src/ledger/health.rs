//! What is wrong with a ledger right now, and what to do about it: judged from its metrics, and from nothing
//! else.
//!
//! - [`Health`], [`HealthReason`]: the answer; [`judge`]: how it is come to
//!
//! Always true: asking changes nothing and waits for nobody who writes; every reason has a code that never
//! changes its meaning, words for a person, and a cure. Who watches orders and third parties adds reasons of
//! its own in [`judge`].

use std::fmt;
use std::time::Duration;

use super::metrics::Metrics;

/// Behind by more records than this the views are worth a word: some seconds of feeding.
const VIEWS_BEHIND_MAX: u64 = 100_000;
/// A part of the queue, in percent, above which there is soon no room.
const QUEUE_FULL_PERCENT: u64 = 80;
/// Nobody has begun to write for so long although something waits. A durable write takes milliseconds, and a
/// device that is about to fail takes seconds.
const QUEUE_STUCK_AFTER: Duration = Duration::from_secs(10);
/// The upkeep makes a round each second; making the file of the largest segment takes it 35 s of pauses.
const UPKEEP_STUCK_AFTER: Duration = Duration::from_secs(120);

/// How bad it is; ordered, the worst last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum HealthStatus {
    /// Nothing is known to be wrong.
    #[default]
    Ok,
    /// Somebody should look during the day.
    Warn,
    /// Somebody should look now: orders are not taken, or soon will not be.
    Critical,
}

impl HealthStatus {
    /// The name, as the command line and the metrics print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            HealthStatus::Ok => "ok",
            HealthStatus::Warn => "warn",
            HealthStatus::Critical => "critical",
        }
    }
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HealthReason {
    /// How bad it is.
    pub status: HealthStatus,
    /// Which it is, for programs: a to z and `_`. [`guide::metrics`](crate::guide::metrics) lists them all.
    pub code: &'static str,
    /// What is wrong, with its figures, for people.
    pub text: String,
    /// What to do about it.
    pub advice: String,
}

impl HealthReason {
    /// A reason of the caller's own, to be judged with those of the ledger ([`Health::of`]).
    pub fn new(
        status: HealthStatus,
        code: &'static str,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) -> HealthReason {
        HealthReason { status, code, text: text.into(), advice: advice.into() }
    }
}

/// How a ledger is, with the reasons.
///
/// ```
/// # use order_ledger::{HealthStatus, Ledger};
/// # let dir = tempfile::tempdir().unwrap();
/// # let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
/// let health = ledger.health();
/// for reason in &health.reasons {
///     eprintln!("{}: {} ({})", reason.status, reason.text, reason.advice);
/// }
/// assert_ne!(health.status, HealthStatus::Critical);
/// # Ok::<(), order_ledger::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Health {
    /// The worst of the reasons; [`HealthStatus::Ok`] without one.
    pub status: HealthStatus,
    /// What is wrong, the worst first.
    pub reasons: Vec<HealthReason>,
}

impl Health {
    /// What these reasons come to.
    #[must_use]
    pub fn of(reasons: impl IntoIterator<Item = HealthReason>) -> Health {
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        // Stable: of two that are as bad, the one that was found first stays first.
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.status));
        let status = reasons.first().map_or(HealthStatus::Ok, |worst| worst.status);
        Health { status, reasons }
    }
}

impl Metrics {
    /// Judges them again: for whoever has put figures into those of a reader that it does not know, such as the alerts
    /// that are open.
    pub fn judge_again(&mut self) {
        self.health = judge(self);
    }
}

/// What is wrong, as far as these figures tell.
pub(crate) fn judge(metrics: &Metrics) -> Health {
    let reasons = [
        poisoned(metrics),
        disk(metrics),
        queue_stuck(metrics),
        queue_full(metrics),
        upkeep(metrics),
        views(metrics),
        cut(metrics),
        clock_behind(metrics),
        alerts(metrics),
        dead_letters(metrics),
        providers(metrics),
    ];
    Health::of(reasons.into_iter().flatten())
}

fn poisoned(metrics: &Metrics) -> Option<HealthReason> {
    let why = metrics.poisoned.as_ref()?;
    Some(HealthReason::new(
        HealthStatus::Critical,
        "poisoned",
        format!("nothing is written any more: {why}"),
        "look at the disk, then restart the program: opening again reads the disk afresh; what was \
         answered InDoubt is settled by sending the same keys again",
    ))
}

fn disk(metrics: &Metrics) -> Option<HealthReason> {
    let advice = "free space on the file system of the ledger, or make it larger; no repair is needed after that";
    if metrics.disk_low {
        let free =
            metrics.disk_free_bytes.map_or("an unknown number of".into(), |it| it.to_string());
        return Some(HealthReason::new(
            HealthStatus::Critical,
            "disk_low",
            format!(
                "there is no room for the next file of the log ({free} bytes free): new orders are refused \
                     when this one is full"
            ),
            advice,
        ));
    }
    let (free, wanted) = (metrics.disk_free_bytes?, metrics.disk_wanted_bytes);
    (free < wanted.saturating_mul(2)).then(|| {
        HealthReason::new(
            HealthStatus::Warn,
            "disk_nearly_low",
            format!("{free} bytes are free, and the next file of the log wants {wanted}"),
            advice,
        )
    })
}

fn queue_stuck(metrics: &Metrics) -> Option<HealthReason> {
    let waits = metrics.activity.as_ref()?.queue.oldest_wait?;
    (waits >= QUEUE_STUCK_AFTER).then(|| {
        HealthReason::new(
            HealthStatus::Critical,
            "queue_stuck",
            format!("something waits to be written since {} s", waits.as_secs()),
            "the device does not answer, or a validator does not return: look at both",
        )
    })
}

fn queue_full(metrics: &Metrics) -> Option<HealthReason> {
    let queue = &metrics.activity.as_ref()?.queue;
    let percent = |used: u64, max: u64| used.saturating_mul(100) / max.max(1);
    let used = percent(queue.orders, queue.orders_max).max(percent(queue.bytes, queue.bytes_max));
    (used >= QUEUE_FULL_PERCENT).then(|| {
        HealthReason::new(
            HealthStatus::Warn,
            "queue_nearly_full",
            format!("the queue is full to {used} % ({} orders, {} bytes)", queue.orders, queue.bytes),
            "orders come faster than the disk takes them: submit in batches, slow the clients down, or use a \
             faster disk",
        )
    })
}

fn upkeep(metrics: &Metrics) -> Option<HealthReason> {
    let idle = metrics.activity.as_ref()?.upkeep_idle?;
    (idle >= UPKEEP_STUCK_AFTER).then(|| {
        HealthReason::new(
            HealthStatus::Warn,
            "upkeep_stuck",
            format!("the upkeep has not finished a round for {} s", idle.as_secs()),
            "no file of the log is prepared or sealed meanwhile: look at the disk; restart the program if it stays so",
        )
    })
}

fn views(metrics: &Metrics) -> Option<HealthReason> {
    let views = metrics.views.as_ref()?;
    let why = views.reason.as_deref().unwrap_or("no reason is known");
    let advice = "every answer is still right, and lists take longer: free space and look at the disk; opening the \
                  ledger again builds the views again";
    if views.phase == "off" && !views.off_by_choice {
        let text = format!("the views are off: {why}");
        return Some(HealthReason::new(HealthStatus::Warn, "views_off", text, advice));
    }
    (views.behind > VIEWS_BEHIND_MAX && !views.off_by_choice).then(|| {
        let text = format!("the views are {} records behind ({})", views.behind, views.phase);
        let advice =
            "lists and expiry are later than usual; it passes when orders come more slowly";
        HealthReason::new(HealthStatus::Warn, "views_behind", text, advice)
    })
}

fn alerts(metrics: &Metrics) -> Option<HealthReason> {
    let open = metrics.alerts.as_ref().filter(|open| open.warn + open.critical > 0)?;
    let more = if open.more { " and more" } else { "" };
    let text = format!(
        "{} alert(s) are critical and {} worth a look{more}, {} of them known to nobody",
        open.critical, open.warn, open.unacknowledged
    );
    let (status, code) = match open.critical_unacknowledged {
        0 => (HealthStatus::Warn, "alerts"),
        _ => (HealthStatus::Critical, "alerts_critical"),
    };
    let advice = "see order-ledger alerts --open for what each is about; acknowledge those that somebody sees to";
    Some(HealthReason::new(status, code, text, advice))
}

fn dead_letters(metrics: &Metrics) -> Option<HealthReason> {
    let outbox = metrics.outbox.as_ref().filter(|outbox| outbox.dead > 0)?;
    let more = if outbox.more_dead { " and more" } else { "" };
    let text = format!("{} dispatch(es){more} were given up and wait for a person", outbox.dead);
    let advice = "order-ledger outbox list --dead tells why; when the cause is gone, order-ledger outbox redrive sends \
                  them on their way again, with the same token";
    Some(HealthReason::new(HealthStatus::Warn, "dead_letters", text, advice))
}

fn providers(metrics: &Metrics) -> Option<HealthReason> {
    let providers = metrics.outbox.as_ref()?.providers.iter();
    let alone: Vec<_> = providers.filter(|it| it.is_left_alone).map(|it| &*it.name).collect();
    let text = format!("third parties do not answer and are left alone: {}", alone.join(", "));
    let advice = "ask them; what is meant for them waits, or goes to the next one of its route, and nothing is lost";
    let reason = HealthReason::new(HealthStatus::Warn, "provider_left_alone", text, advice);
    (!alone.is_empty()).then_some(reason)
}

fn cut(metrics: &Metrics) -> Option<HealthReason> {
    let opened = metrics.last_open.as_ref().filter(|opened| opened.torn_bytes > 0)?;
    let why = opened.torn_why.as_deref().unwrap_or("it was not whole");
    Some(HealthReason::new(
        HealthStatus::Warn,
        "opened_with_cut",
        format!("the last opening cut {} bytes off the end of the log: {why}", opened.torn_bytes),
        "a crash leaves that, and nothing of it was acknowledged; whoever got no answer sends the same key \
         again. Without a crash or a power cut before it: run verify, and look at the disk",
    ))
}

fn clock_behind(metrics: &Metrics) -> Option<HealthReason> {
    let opened = metrics.last_open.as_ref().filter(|opened| opened.clock_behind_ns > 0)?;
    let behind = Duration::from_nanos(opened.clock_behind_ns);
    Some(HealthReason::new(
        HealthStatus::Warn,
        "clock_behind",
        format!(
            "the wall clock was {:.3} s behind the last record when the ledger was opened",
            behind.as_secs_f64()
        ),
        "times in the ledger go on from the record and are ahead of the clock until it has caught up: look at the \
         time service",
    ))
}

#[cfg(test)]
mod tests;
