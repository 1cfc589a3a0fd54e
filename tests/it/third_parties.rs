//! Third parties that fail are noticed: what waits for them, what was given up, and who is left alone, as alerts, in
//! the metrics and in health.
//!
//! The story: the payment service was down since Friday, and everybody thought that somebody else had been told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use order_ledger::{
    Alert, AlertKind, AlertLevel, AlertQuery, AlertSubject, BreakerPolicy, Call, Dispatch, Health,
    HealthStatus, Ledger, Options, Outbox, Provider, Ran, Reader, RetryPolicy, Route, Sent,
    Timestamp, WatchOptions,
};

use crate::support::{Machine, order, small};

const HOUR: Duration = Duration::from_secs(3600);

/// A payment service that is down, or up.
struct Pay(Arc<AtomicBool>);

impl Provider for Pay {
    fn name(&self) -> &'static str {
        "pay"
    }

    fn send(&self, _: &Call) -> Sent {
        match self.0.load(Ordering::Relaxed) {
            true => Sent::Done { reference: b"r-1".to_vec() },
            false => Sent::NotSent { why: "no connection".into() },
        }
    }
}

fn options() -> Options {
    let watch = WatchOptions::new()
        .remind_every(1_000 * HOUR)
        .disk_warn_bytes(0)
        .outbox_age(HOUR, 4 * HOUR);
    small().watch(watch)
}

fn outbox(ledger: &Ledger, up: &Arc<AtomicBool>) -> Outbox {
    let retry = RetryPolicy {
        base: Duration::from_secs(1),
        cap: Duration::from_secs(1),
        attempts_max: 100,
        age_max: 10 * HOUR,
    };
    Outbox::builder()
        .provider(Pay(Arc::clone(up)))
        .route(Route::new("payment", "pay").retry(retry))
        .breaker(BreakerPolicy { failures_max: 2, open_for: HOUR })
        .step_by_step(ledger)
        .unwrap()
}

/// Lets the outbox do what is due for so long.
fn run(machine: &Machine, outbox: &Outbox, seconds: u64) {
    for _ in 0..seconds {
        while outbox.run_once().unwrap() == Ran::Worked {}
        machine.host.advance(Duration::from_secs(1));
    }
}

fn open(ledger: &Ledger) -> Vec<(AlertSubject, AlertKind, AlertLevel)> {
    let page = ledger.alerts(&AlertQuery::open()).unwrap();
    let row = |alert: Alert| (alert.subject, alert.kind, alert.level);
    page.alerts.into_iter().map(row).collect()
}

fn codes(health: &Health) -> Vec<&'static str> {
    health.reasons.iter().map(|reason| reason.code).collect()
}

#[test]
fn what_waits_too_long_what_is_given_up_and_who_is_left_alone_is_raised_once_and_cleared() {
    let (machine, up) = (Machine::new(1), Arc::new(AtomicBool::new(false)));
    let ledger = machine.open_with(&options()).unwrap();
    let taken = ledger.submit(&order(1)).unwrap().receipt.order;
    let wanted = Dispatch::new(taken, "payment", "8.40 EUR").command_key("pay");
    let dispatch = ledger.dispatch(&wanted).unwrap().dispatch;
    let pass = ledger.watch_once();
    assert_eq!((pass.raised, pass.failed), (0, 0), "{pass:?}");
    // Nobody runs an outbox, and it waits all the same.
    machine.host.advance(HOUR);
    assert_eq!(ledger.watch_once().raised, 1);
    assert_eq!(open(&ledger), [(AlertSubject::Ledger, AlertKind::OutboxAge, AlertLevel::Warn)]);
    let metrics = ledger.metrics().outbox.unwrap();
    assert!(metrics.oldest_open_at.is_some() && metrics.providers.is_empty(), "{metrics:?}");
    // The provider does not answer, and is left alone.
    let parties = outbox(&ledger, &up);
    run(&machine, &parties, 10);
    assert_eq!(ledger.watch_once().raised, 1);
    let left_alone =
        (AlertSubject::Provider("pay".into()), AlertKind::BreakerOpen, AlertLevel::Warn);
    assert!(open(&ledger).contains(&left_alone), "{:?}", open(&ledger));
    let metrics = ledger.metrics().outbox.unwrap();
    let [provider] = &metrics.providers[..] else { panic!("{metrics:?}") };
    assert!(provider.is_left_alone && provider.left_alone == 1, "{provider:?}");
    assert_eq!(provider.calls, [("done", 0), ("refused", 0), ("not_sent", 2), ("unknown", 0)]);
    assert!(codes(&ledger.health()).contains(&"provider_left_alone"));
    let text = ledger.metrics().to_prometheus();
    assert!(text.contains("order_ledger_provider_not_sent_total{provider=\"pay\"} 2\n"), "{text}");
    // It is given up, which is worse than waiting, and something else.
    machine.host.advance(10 * HOUR);
    run(&machine, &parties, 3);
    let pass = ledger.watch_once();
    assert_eq!((pass.raised, pass.cleared), (1, 1), "{pass:?}");
    let dead = (AlertSubject::Dispatch(dispatch), AlertKind::DeadLetter, AlertLevel::Critical);
    assert!(open(&ledger).contains(&dead), "{:?}", open(&ledger));
    let health = ledger.health();
    assert_eq!(health.status, HealthStatus::Critical, "{health:?}");
    assert!(codes(&health).contains(&"dead_letters"));
    // A reader beside it reads the log for that, when it is asked to.
    let reader = Reader::open_on(machine.disk.as_disk(), &machine.host).unwrap();
    let began = Timestamp::from_unix_ns(0);
    assert_eq!((reader.metrics(began).outbox, reader.metrics(began).alerts), (None, None));
    let metrics = reader.metrics_with_lists(began);
    assert_eq!((metrics.outbox.unwrap().dead, metrics.alerts.unwrap().critical), (1, 1));
    assert!(codes(&metrics.health).contains(&"dead_letters"));
    drop(reader);
    // A restart neither repeats nor forgets; and what a provider does is known to nobody without an outbox.
    drop(parties);
    assert_eq!(ledger.watch_once().cleared, 0, "nobody says that it answers again");
    machine.host.advance(Duration::from_secs(1));
    let before = open(&ledger);
    ledger.close().unwrap();
    let ledger = machine.open_with(&options()).unwrap();
    assert_eq!(ledger.watch_once().raised, 0);
    assert_eq!(open(&ledger), before);
    // It answers again, and a person sends it on its way: everything is over.
    up.store(true, Ordering::Relaxed);
    ledger.redrive(dispatch, "they are back").unwrap();
    let parties = outbox(&ledger, &up);
    run(&machine, &parties, 3);
    assert_eq!(ledger.watch_once().cleared, 2);
    assert_eq!(open(&ledger), []);
    let metrics = ledger.metrics();
    let outbox = metrics.outbox.unwrap();
    assert_eq!((outbox.dead, outbox.oldest_open_at), (0, None));
    assert!(!codes(&metrics.health).contains(&"dead_letters"));
    drop(parties);
    ledger.close().unwrap();
}
