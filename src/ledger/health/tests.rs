//! Each reason, from figures that are made up; and that the guide explains it.

use super::*;
use crate::disk::sim::{SimDisk, SimHost};
use crate::ledger::{Options, ProviderMetrics};

/// The metrics of a new ledger, of which nothing is wrong.
fn sound() -> Metrics {
    let (disk, host) = (SimDisk::new(1), SimHost::new(2));
    let ledger = Options::new().open_simulated(disk.as_disk(), host.as_host()).unwrap();
    let mut metrics = ledger.metrics();
    metrics.disk_free_bytes = Some(u64::MAX);
    metrics
}

/// What makes a reason.
type Harm = fn(&mut Metrics);

const HARMS: &[(&str, HealthStatus, Harm)] = &[
    ("poisoned", HealthStatus::Critical, |it| it.poisoned = Some("EIO".into())),
    ("disk_low", HealthStatus::Critical, |it| it.disk_low = true),
    ("queue_stuck", HealthStatus::Critical, |it| {
        it.activity.as_mut().unwrap().queue.oldest_wait = Some(QUEUE_STUCK_AFTER);
    }),
    ("disk_nearly_low", HealthStatus::Warn, |it| {
        it.disk_free_bytes = Some(it.disk_wanted_bytes * 2 - 1);
    }),
    ("queue_nearly_full", HealthStatus::Warn, |it| {
        let queue = &mut it.activity.as_mut().unwrap().queue;
        queue.bytes = queue.bytes_max / 10 * 8 + 10;
    }),
    ("upkeep_stuck", HealthStatus::Warn, |it| {
        it.activity.as_mut().unwrap().upkeep_idle = Some(UPKEEP_STUCK_AFTER);
    }),
    ("views_off", HealthStatus::Warn, |it| {
        let views = it.views.as_mut().unwrap();
        (views.phase, views.off_by_choice) = ("off", false);
    }),
    ("views_behind", HealthStatus::Warn, |it| {
        it.views.as_mut().unwrap().behind = VIEWS_BEHIND_MAX + 1;
    }),
    ("alerts_critical", HealthStatus::Critical, |it| {
        let open = it.alerts.as_mut().unwrap();
        (open.critical, open.critical_unacknowledged) = (1, 1);
    }),
    ("alerts", HealthStatus::Warn, |it| it.alerts.as_mut().unwrap().critical = 1),
    ("dead_letters", HealthStatus::Warn, |it| it.outbox.as_mut().unwrap().dead = 1),
    ("provider_left_alone", HealthStatus::Warn, |it| {
        it.outbox.as_mut().unwrap().providers.push(ProviderMetrics {
            name: "bank".into(),
            is_left_alone: true,
            left_alone: 1,
            left_alone_for: Duration::ZERO,
            calls: [("done", 0), ("refused", 0), ("not_sent", 0), ("unknown", 0)],
        });
    }),
    ("opened_with_cut", HealthStatus::Warn, |it| it.last_open.as_mut().unwrap().torn_bytes = 64),
    ("clock_behind", HealthStatus::Warn, |it| {
        it.last_open.as_mut().unwrap().clock_behind_ns = 1;
    }),
];

#[test]
fn each_thing_that_is_wrong_is_one_reason_with_its_cure() {
    assert_eq!(judge(&sound()), Health::default());
    let guide = include_str!("../../guide/metrics.rs");
    for (code, status, harm) in HARMS {
        let mut metrics = sound();
        harm(&mut metrics);
        let health = judge(&metrics);
        assert_eq!(health.status, *status, "{code}");
        let [reason] = &health.reasons[..] else { panic!("{code}: {:?}", health.reasons) };
        assert_eq!(reason.code, *code);
        assert!(!reason.text.is_empty() && reason.advice.len() > 20, "{code}");
        let row = format!("| `{code}` | {status} |");
        assert!(guide.contains(&row), "the guide does not say {row}");
    }
}

#[test]
fn the_worst_reason_decides_and_stands_first() {
    let mut metrics = sound();
    HARMS.iter().for_each(|(_, _, harm)| harm(&mut metrics));
    // A full disk is not nearly full, views that are off are not behind, and alerts are one reason.
    let health = judge(&metrics);
    assert_eq!((health.status, health.reasons.len()), (HealthStatus::Critical, HARMS.len() - 3));
    assert!(health.reasons.is_sorted_by_key(|reason| std::cmp::Reverse(reason.status)));
}

#[test]
fn views_that_nobody_wanted_are_no_reason() {
    let mut metrics = sound();
    let views = metrics.views.as_mut().unwrap();
    (views.phase, views.off_by_choice, views.behind) = ("off", true, VIEWS_BEHIND_MAX * 2);
    assert_eq!(judge(&metrics), Health::default());
}
