//! What is counted is what happened, and what is wrong is said.
//!
//! The story: a shop's submits came back as conflicts for a whole night, each of them answered rightly. Nobody
//! looked, for the only figure on the wall was orders per second. Every answer is a figure of its own, and the
//! ledger itself says when it is in trouble and what to do.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use order_ledger::disk::sim::Fault;
use order_ledger::{
    Activity, Census, Committed, HealthStatus, Hold, Ledger, LinkedBatch, Metrics, Note, NoteKind,
    Options, Reader, Refusal, Seq, State, Submission, Submissions, Timestamp, Transition,
    Validator, Verdict, Views,
};

use crate::support::{Machine, order, small};

fn activity(metrics: &Metrics) -> &Activity {
    metrics.activity.as_ref().unwrap()
}

fn submit_all(ledger: &Ledger, numbers: RangeInclusive<u64>) {
    let batch: Vec<_> = numbers.map(order).collect();
    assert!(ledger.submit_many(&batch).iter().all(Result::is_ok));
}

struct Picky;

impl Validator for Picky {
    fn validate(&self, submission: &Submission, _: &Committed<'_>) -> Verdict {
        match submission.payload() {
            b"later" => Verdict::RefuseForNow { reason: "not now".into() },
            b"never" => Verdict::RefuseFinal(Refusal { code: 7, reason: "not sold".into() }),
            _ => Verdict::Accept,
        }
    }
}

#[test]
fn every_answer_to_a_submission_counts_once_and_as_what_it_is() {
    let machine = Machine::new(1);
    let options = small().queue_orders_max(2).client_share_percent(100).validator(Picky);
    let ledger = machine.open_with(&options).unwrap();
    let of = |payload: &str| Submission::new("web", format!("key {payload}"), payload);
    ledger.submit(&of("tea")).unwrap();
    ledger.submit(&of("tea")).unwrap();
    ledger.submit(&Submission::new("web", "key tea", "coffee")).unwrap_err();
    ledger.submit(&of("later")).unwrap_err();
    ledger.submit(&of("never")).unwrap_err();
    ledger.submit(&Submission::new("web", "", "no key")).unwrap_err();
    let mut tickets: Vec<_> = (1..=3).map(|n| ledger.submit_deferred(&order(n))).collect();
    tickets.push(ledger.submit_deferred(&order(1)));
    ledger.pump();
    let outcomes: Vec<_> = tickets.iter_mut().map(|ticket| ticket.wait(None).is_ok()).collect();
    assert_eq!(outcomes, [true, true, false, true]);
    let Submissions {
        fresh,
        replayed,
        joined,
        conflicts,
        refused,
        refused_for_now,
        invalid,
        overloaded,
        ..
    } = activity(&ledger.metrics()).submissions;
    assert_eq!((fresh, replayed, joined, conflicts), (3, 1, 1, 1));
    assert_eq!((refused, refused_for_now, invalid, overloaded), (1, 1, 1, 1));
    // A batch that fills the queue itself waits for it, and nobody was turned away.
    submit_all(&ledger, 10..=19);
    let submissions = activity(&ledger.metrics()).submissions;
    assert_eq!((submissions.fresh, submissions.overloaded, submissions.failed), (13, 1, 0));
    assert_eq!(ledger.stats().unwrap().fresh, 14, "with the refused one");
}

#[test]
fn what_is_recorded_beside_orders_counts_by_its_kind() {
    let machine = Machine::new(2);
    let ledger = machine.open();
    let id = ledger.submit(&order(1)).unwrap().receipt.order;
    ledger.transition(&Transition::new(id, State::Confirmed)).unwrap();
    ledger.note(&Note::new(id, NoteKind::Note, "a note")).unwrap();
    ledger.hold(&Hold::client("late-payer")).unwrap();
    let mut consumer = ledger.consumer("billing").unwrap();
    let last = consumer.poll(10, Duration::ZERO).unwrap().last().unwrap().seq;
    consumer.commit(last).unwrap();
    let batch = LinkedBatch::new("both").submit(order(2)).submit(order(3));
    ledger.linked(&batch).unwrap();
    let metrics = ledger.metrics();
    let counted = activity(&metrics);
    assert_eq!(counted.submissions.fresh, 3);
    assert_eq!((counted.steps, counted.notes, counted.holds), (1, 1, 1));
    assert!(counted.cursors >= 1, "{}", counted.cursors);
    assert_eq!(ledger.stats().unwrap().steps, 1, "a note is no step");
    let records: u64 = counted.group_records.sum();
    assert_eq!(Some(records), metrics.last_seq.map(|seq| seq.0), "every record is of one group");
    assert_eq!(counted.group_records.count(), counted.groups);
    assert_eq!(counted.sync_ns.count(), counted.groups);
    assert!(counted.written_bytes > 0);
}

/// Time is simulated: it passes where the test says so.
#[test]
fn times_are_those_of_the_call_the_wait_and_the_device() {
    let machine = Machine::new(3);
    let ledger = machine.open();
    let second = Duration::from_secs(1);
    // The next call of the device that takes time is the write of the order.
    machine.disk.slow_call(1, second * 8, &machine.host);
    ledger.submit(&order(1)).unwrap();
    let metrics = ledger.metrics();
    let slow = |seen: &order_ledger::Histogram| seen.quantile(1.0).unwrap();
    let eight = 8_000_000_000..=10_000_000_000;
    assert!(eight.contains(&slow(&activity(&metrics).sync_ns)));
    assert!(eight.contains(&slow(&activity(&metrics).receipt_ns)));
    assert!(slow(&activity(&metrics).queue_wait_ns) < 1_000_000_000);
    // An order that nobody writes waits, and says so before and after.
    let ticket = ledger.submit_deferred(&order(2));
    machine.host.advance(second * 20);
    let health = ledger.health();
    assert_eq!((health.status, health.reasons[0].code), (HealthStatus::Critical, "queue_stuck"));
    ledger.pump();
    drop(ticket);
    let metrics = ledger.metrics();
    assert!(slow(&activity(&metrics).queue_wait_ns) >= 20_000_000_000);
    assert_eq!(activity(&metrics).queue.oldest_wait, None);
    assert_eq!(activity(&metrics).receipt_ns.count(), 1, "what is deferred is not in it");
    // A batch: each of its orders has waited for the whole call.
    submit_all(&ledger, 3..=12);
    assert_eq!(activity(&ledger.metrics()).receipt_ns.count(), 11);
    ledger.submit(&order(3)).unwrap();
    assert_eq!(activity(&ledger.metrics()).receipt_ns.count(), 11, "and neither is a replay");
}

#[test]
fn states_are_counted_as_the_views_know_them_and_missing_without_views() {
    let machine = Machine::new(4);
    let ledger = machine.open();
    let ids: Vec<_> = (1..=3).map(|n| ledger.submit(&order(n)).unwrap().receipt).collect();
    ledger.transition(&Transition::new(ids[0].order, State::Completed)).unwrap();
    let states = |metrics: Metrics| {
        let rows = metrics.states.unwrap().into_iter();
        rows.map(|it| (it.name, it.orders, it.oldest_accepted_at)).collect::<Vec<_>>()
    };
    let expected =
        [("accepted".to_owned(), 2, Some(ids[1].accepted_at)), ("completed".to_owned(), 1, None)];
    assert_eq!(states(ledger.metrics()), expected);
    ledger.close().unwrap();
    // The same after opening again: what an audit or a new feed counts.
    assert_eq!(states(machine.open().metrics()), expected);
    machine.disk.kill();
    let without = small().views(Views::Off);
    let ledger = machine.open_with(&without).unwrap();
    assert_eq!(ledger.metrics().states, None);
    assert!(ledger.health().reasons.is_empty(), "nobody wanted them");
}

/// Effect to prevent: the oldest order of a state is shown as the one that stands there for longest. It came a minute ago.
#[test]
fn how_long_an_order_is_in_its_state_is_the_same_from_the_views_and_event_by_event() {
    let machine = Machine::new(5);
    let mut ledger = machine.open();
    let mut luck = 88_172_645_463_325_252u64;
    let mut ids = Vec::new();
    for n in 1..400 {
        luck ^= luck << 13;
        luck ^= luck >> 7;
        luck ^= luck << 17;
        machine.host.advance(Duration::from_secs(luck % 1_000));
        if ids.is_empty() || luck.is_multiple_of(3) {
            // Some say themselves after how long they are stuck: they stand there as well.
            let order = match n % 4 {
                0 => order(n).warn_after(Duration::from_secs(luck % 5_000)),
                _ => order(n),
            };
            ids.push(ledger.submit(&order).unwrap().receipt.order);
        } else {
            let id = ids[usize::try_from(luck / 7).unwrap() % ids.len()];
            let steps = [State::Confirmed, State::InProgress, State::Cancelling, State::Completed];
            // Not every one may follow.
            drop(ledger.transition(&Transition::new(id, steps[usize::try_from(n).unwrap() % 4])));
        }
        if n % 97 == 0 {
            ledger.close().unwrap();
            ledger = machine.open();
        }
        let mut census = Census::new(ledger.lifecycle().clone());
        ledger.events(Seq::FIRST).for_each(|event| census.count(&event.unwrap()));
        let rows = |states: Vec<order_ledger::StateMetrics>| {
            states.into_iter().map(|it| (it.state, it.orders, it.longest_since)).collect::<Vec<_>>()
        };
        let metrics = ledger.metrics();
        assert_eq!(metrics.views.as_ref().unwrap().behind, 0);
        assert_eq!(rows(metrics.states.unwrap()), rows(census.states()), "after {n}");
    }
    let text = ledger.metrics().to_prometheus();
    assert!(text.contains("\norder_ledger_longest_stay_seconds{state=\"accepted\"} "), "{text}");
}

/// The same on a real disk, where the views are in sled, after closing and opening: an audit counts.
/// Waits until the views have everything, and answers what they count.
fn states_when_fed(ledger: &Ledger) -> Vec<(State, u64)> {
    loop {
        let metrics = ledger.metrics();
        let behind = metrics.views.as_ref().unwrap().behind;
        if let Some(states) = metrics.states.filter(|_| behind == 0) {
            return states.iter().map(|it| (it.state, it.orders)).collect();
        }
        std::thread::yield_now();
    }
}

#[test]
fn states_are_counted_by_the_audit_of_a_store_that_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().segment_bytes(1 << 20);
    let path = dir.path().join("orders.ledger");
    // Fed, so that there is something to audit.
    let ledger = options.open(&path).unwrap();
    submit_all(&ledger, 1..=500);
    assert_eq!(states_when_fed(&ledger), [(State::Accepted, 500)]);
    ledger.close().unwrap();
    let ledger = options.open(&path).unwrap();
    assert_eq!(states_when_fed(&ledger), [(State::Accepted, 500)]);
    ledger.close().unwrap();
}

#[test]
fn a_ledger_that_is_poisoned_or_short_of_room_says_so_and_what_to_do() {
    let machine = Machine::new(5);
    let ledger = machine.open();
    assert_eq!(ledger.health().status, HealthStatus::Ok);
    machine.disk.fail_from(1, Fault::Eio);
    ledger.submit(&order(1)).unwrap_err();
    ledger.submit(&order(2)).unwrap_err();
    let metrics = ledger.metrics();
    assert_eq!(metrics.health.reasons[0].code, "poisoned");
    assert!(metrics.health.reasons[0].text.contains("writing or syncing a group"));
    assert_eq!(metrics.health.status, HealthStatus::Critical);
    assert_eq!(activity(&metrics).submissions.failed, 2);
    let text = metrics.to_prometheus();
    assert!(text.contains("\norder_ledger_poisoned 1\n"), "{text}");
    assert!(text.contains("\norder_ledger_health_reason{code=\"poisoned\"} 2\n"), "{text}");
    drop(ledger);

    let machine = Machine::new(6);
    let ledger = machine.open();
    machine.disk.set_capacity(80 * 1024);
    let mut n = 0;
    let refused = loop {
        n += 1;
        match ledger.submit(&order(n)) {
            Ok(_) => ledger.tick(),
            Err(error) => break error,
        }
    };
    let metrics = ledger.metrics();
    assert_eq!(metrics.health.reasons[0].code, "disk_low", "{refused}");
    assert_eq!(activity(&metrics).submissions.disk_low, 1);
}

/// Somebody else's parser reads it; what it reads is what was counted.
#[test]
fn the_text_for_prometheus_is_read_back_by_another_parser() {
    let machine = Machine::new(7);
    let ledger = machine.open();
    submit_all(&ledger, 1..=100);
    let metrics = ledger.metrics();
    let text = metrics.to_prometheus();
    let lines = text.lines().map(|line| Ok(line.to_owned()));
    let scrape = prometheus_parse::Scrape::parse(lines).unwrap();
    let mut names = BTreeSet::new();
    for sample in &scrape.samples {
        names.insert(sample.metric.as_str());
        match &sample.value {
            // The parser knows the type of a histogram under its own name only.
            prometheus_parse::Value::Untyped(_) => {
                let histogram =
                    ["_sum", "_count"].iter().find_map(|end| sample.metric.strip_suffix(end));
                assert!(
                    histogram.is_some_and(|name| scrape.docs.contains_key(name)),
                    "{}",
                    sample.metric
                );
            }
            prometheus_parse::Value::Histogram(buckets) => {
                let counts: Vec<_> = buckets.iter().map(|bucket| bucket.count).collect();
                assert!(counts.is_sorted() && buckets.len() > 20, "{}", sample.metric);
                assert!(buckets.is_sorted_by(|one, next| one.less_than < next.less_than));
            }
            _ => assert!(scrape.docs.contains_key(&sample.metric), "{}", sample.metric),
        }
    }
    let value = |name: &str, label: &str| {
        let found = scrape.samples.iter().find(|sample| {
            sample.metric == name
                && (label.is_empty() || sample.labels.values().any(|it| it == label))
        });
        match found.map(|sample| &sample.value) {
            Some(
                prometheus_parse::Value::Counter(value) | prometheus_parse::Value::Gauge(value),
            ) => *value,
            other => panic!("{name}: {other:?}"),
        }
    };
    assert_eq!(value("order_ledger_submissions_total", "fresh"), 100.0);
    assert_eq!(value("order_ledger_orders", "accepted"), 100.0);
    assert_eq!(value("order_ledger_last_seq", ""), 100.0);
    assert!(names.len() > 30, "{names:?}");
    // Times are in seconds and sizes in bytes, and the names say so.
    for name in names {
        assert!(!name.contains("_ns") && !name.contains("_ms"), "{name}");
    }
}

#[test]
fn a_reader_says_what_the_files_say_and_nothing_of_the_process() {
    let machine = Machine::new(8);
    let ledger = machine.open();
    ledger.submit(&order(1)).unwrap();
    let reader = Reader::open_on(machine.disk.as_disk(), &*machine.host.as_host()).unwrap();
    let metrics = reader.metrics(Timestamp::from_unix_ns(0));
    assert_eq!(metrics.last_seq, ledger.metrics().last_seq);
    assert_eq!((metrics.activity, metrics.views, metrics.states), (None, None, None));
    assert!(metrics.at > Timestamp::from_unix_ns(0), "no age is negative when the clock is behind");
    assert!(metrics.last_open.is_some());
    let text = reader.metrics(metrics.at).to_prometheus();
    assert!(!text.contains("submissions"), "{text}");
}

#[test]
fn what_an_opening_has_cut_is_told_until_the_next_one() {
    let machine = Machine::new(9);
    let ledger = machine.open();
    ledger.submit(&order(1)).unwrap();
    drop(ledger);
    let now_ns = machine.host.as_host().wall_ns();
    machine.host.set_wall_ns(now_ns / 2);
    let ledger = machine.open();
    let health = ledger.health();
    assert_eq!((health.status, health.reasons[0].code), (HealthStatus::Warn, "clock_behind"));
}

/// The recorder is one that keeps what it is given.
#[cfg(feature = "metrics")]
#[test]
fn the_recorder_of_the_metrics_crate_is_given_the_same() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let machine = Machine::new(10);
    let ledger = machine.open();
    ledger.submit(&order(1)).unwrap();
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics_facade::with_local_recorder(&recorder, || {
        ledger.metrics().record();
        // Pushed twice, counted once.
        ledger.metrics().record();
    });
    let snapshot = snapshotter.snapshot().into_vec();
    let value = |name: &str, label: &str| {
        let found = snapshot.iter().find(|(key, ..)| {
            let key = key.key();
            key.name() == name && (label.is_empty() || key.labels().any(|it| it.value() == label))
        });
        match found.map(|(.., value)| value) {
            Some(DebugValue::Counter(count)) => *count as f64,
            Some(DebugValue::Gauge(value)) => value.into_inner(),
            other => panic!("{name}: {other:?}"),
        }
    };
    assert_eq!(value("order_ledger_submissions_total", "fresh"), 1.0);
    assert_eq!(value("order_ledger_orders", "accepted"), 1.0);
    assert_eq!(value("order_ledger_receipt_seconds_count", ""), 1.0);
    assert!(value("order_ledger_receipt_seconds", "0.99") > 0.0);
}

/// Every name that the dashboard and the rules ask for is one that is there.
#[test]
fn the_dashboard_and_the_rules_name_only_what_there_is() {
    let machine = Machine::new(11);
    let ledger = machine.open();
    ledger.submit(&order(1)).unwrap();
    // What a reader alone tells, and what only trouble shows.
    let mut text = ledger.metrics().to_prometheus();
    machine.disk.fail_from(1, Fault::Eio);
    ledger.submit(&order(2)).unwrap_err();
    text += &ledger.metrics().to_prometheus();
    text += "order_ledger_upkeep_idle_seconds ";
    let names = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words
            .filter(|word| word.starts_with("order_ledger_"))
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    let known = names(&text);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/monitoring");
    for (file, at_least) in [("grafana.json", 20), ("alerts.yml", 6)] {
        let used = std::fs::read_to_string(root.join(file)).unwrap();
        let used = names(&used);
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
        assert!(used.len() >= at_least, "{file}: {used:?}");
    }
    let dashboard = std::fs::read(root.join("grafana.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_slice(&dashboard).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 10);
}
