//! The names of all metrics, and the text in which Prometheus reads them.
//!
//! Written by hand: a client library keeps its own counters, registered once and counted through; ours are a
//! snapshot, and the format is lines of text. A test reads them back with somebody else's parser.
//!
//! Always true: base units (seconds, bytes), which the name ends in; a family is there when its value is known,
//! and left out when it is not; every name is explained in [`guide::metrics`](crate::guide::metrics), which a
//! test holds.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::metrics::Metrics;
use super::third_parties::ProviderMetrics;
use crate::metrics::Histogram;
use crate::order::Timestamp;

/// The powers of two of nanoseconds that end a bucket of a histogram of times: 16 us to 69 s.
const TIME_POWERS: std::ops::RangeInclusive<u32> = 14..=36;
/// The same for numbers of records: 1 to a million.
const COUNT_POWERS: std::ops::RangeInclusive<u32> = 0..=20;

const NS_PER_SECOND: f64 = 1e9;

/// What sort of value a family has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One name, with all its values.
pub(super) struct Family<'a> {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) samples: Vec<Sample<'a>>,
}

/// One value, with the label that tells it from its neighbours.
pub(super) struct Sample<'a> {
    pub(super) label: Option<(&'static str, Cow<'a, str>)>,
    pub(super) value: Value<'a>,
}

pub(super) enum Value<'a> {
    Count(u64),
    Number(f64),
    /// Seen values, and how many of their units make one of the name's.
    Seen {
        histogram: &'a Histogram,
        per_unit: f64,
    },
}

#[derive(Default)]
struct Families<'a>(Vec<Family<'a>>);

impl<'a> Families<'a> {
    fn push(&mut self, kind: Kind, name: &'static str, help: &'static str, value: Value<'a>) {
        let samples = vec![Sample { label: None, value }];
        self.0.push(Family { name, kind, help, samples });
    }

    fn count(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.push(Kind::Counter, name, help, Value::Count(value));
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.push(Kind::Gauge, name, help, Value::Count(value));
    }

    fn seconds(&mut self, name: &'static str, help: &'static str, value: Duration) {
        self.push(Kind::Gauge, name, help, Value::Number(value.as_secs_f64()));
    }

    fn times(&mut self, name: &'static str, help: &'static str, histogram: &'a Histogram) {
        let value = Value::Seen { histogram, per_unit: NS_PER_SECOND };
        self.push(Kind::Histogram, name, help, value);
    }

    fn labelled<L: Into<Cow<'a, str>>>(
        &mut self,
        kind: Kind,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        rows: impl IntoIterator<Item = (L, Value<'a>)>,
    ) {
        let sample = |(of, value): (L, _)| Sample { label: Some((label, of.into())), value };
        let samples: Vec<_> = rows.into_iter().map(sample).collect();
        if !samples.is_empty() {
            self.0.push(Family { name, kind, help, samples });
        }
    }
}

impl Metrics {
    /// All of it in the text format of Prometheus (version 0.0.4), which it and OpenTelemetry collectors read:
    /// serve it under `/metrics` as `text/plain; version=0.0.4`, or write it to a file for the node exporter.
    ///
    /// [`guide::metrics`](crate::guide::metrics) explains every name. What is not known is left out.
    ///
    /// ```
    /// # use order_ledger::Ledger;
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
    /// let text = ledger.metrics().to_prometheus();
    /// assert!(text.contains("\norder_ledger_submissions_total{outcome=\"fresh\"} 0\n"));
    /// # Ok::<(), order_ledger::Error>(())
    /// ```
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        self.families().iter().map(Family::to_string).collect()
    }

    /// Every name that is known, with its values.
    pub(super) fn families(&self) -> Vec<Family<'_>> {
        let mut families = Families::default();
        self.of_activity(&mut families);
        self.of_states(&mut families);
        self.of_alerts(&mut families);
        self.of_outbox(&mut families);
        self.of_files(&mut families);
        self.of_health(&mut families);
        families.0
    }

    fn of_activity<'a>(&'a self, to: &mut Families<'a>) {
        let Some(activity) = &self.activity else { return };
        let rows = activity.submissions.rows().map(|(of, count)| (of, Value::Count(count)));
        to.labelled(
            Kind::Counter,
            "order_ledger_submissions_total",
            "Submissions, by what they came to.",
            "outcome",
            rows,
        );
        let submissions = &activity.submissions;
        let rows = [
            ("order", submissions.fresh.saturating_add(submissions.refused)),
            ("step", activity.steps),
            ("note", activity.notes),
            ("hold", activity.holds),
            ("cursor", activity.cursors),
        ];
        to.labelled(
            Kind::Counter,
            "order_ledger_records_total",
            "Records that were made durable, by what they are.",
            "kind",
            rows.map(|(of, count)| (of, Value::Count(count))),
        );
        to.count(
            "order_ledger_expired_total",
            "Steps that say that the time of an order is over.",
            activity.expired,
        );
        to.count(
            "order_ledger_groups_total",
            "Durable writes that records shared.",
            activity.groups,
        );
        to.count(
            "order_ledger_written_bytes_total",
            "Bytes of these groups.",
            activity.written_bytes,
        );
        to.times(
            "order_ledger_receipt_seconds",
            "From the call of submit or submit_many to the receipt of an order that it took or joined.",
            &activity.receipt_ns,
        );
        to.times(
            "order_ledger_queue_wait_seconds",
            "Wait of the oldest entry of a group before its write began.",
            &activity.queue_wait_ns,
        );
        to.times("order_ledger_sync_seconds", "Durable write of a group.", &activity.sync_ns);
        let records = Value::Seen { histogram: &activity.group_records, per_unit: 1.0 };
        to.push(Kind::Histogram, "order_ledger_group_records", "Records of a group.", records);
        let queue = &activity.queue;
        to.gauge("order_ledger_queue_orders", "New orders on their way to disk.", queue.orders);
        to.gauge("order_ledger_queue_bytes", "Bytes of these orders.", queue.bytes);
        to.gauge(
            "order_ledger_queue_others",
            "Steps, notes and the like on their way.",
            queue.others,
        );
        to.gauge("order_ledger_queue_orders_max", "Most orders that may wait.", queue.orders_max);
        to.gauge("order_ledger_queue_bytes_max", "Most bytes that may wait.", queue.bytes_max);
        to.seconds(
            "order_ledger_queue_oldest_seconds",
            "Wait so far of the oldest entry that nobody writes yet; 0 without one.",
            queue.oldest_wait.unwrap_or_default(),
        );
        if let Some(idle) = activity.upkeep_idle {
            let help = "Time since the upkeep finished a round; it makes one each second.";
            to.seconds("order_ledger_upkeep_idle_seconds", help, idle);
        }
    }

    fn of_states<'a>(&'a self, to: &mut Families<'a>) {
        let Some(states) = &self.states else { return };
        let name = |name: &'a String| Cow::Borrowed(name.as_str());
        to.labelled(
            Kind::Gauge,
            "order_ledger_orders",
            "Orders by their present state.",
            "state",
            states.iter().map(|it| (name(&it.name), Value::Count(it.orders))),
        );
        let age = |at: Timestamp| {
            let ns = self.at.as_unix_ns().saturating_sub(at.as_unix_ns());
            Value::Number(Duration::from_nanos(ns).as_secs_f64())
        };
        to.labelled(
            Kind::Gauge,
            "order_ledger_oldest_order_age_seconds",
            "Time since the order was accepted that was accepted first of those in the state.",
            "state",
            states.iter().filter_map(|it| Some((name(&it.name), age(it.oldest_accepted_at?)))),
        );
        to.labelled(
            Kind::Gauge,
            "order_ledger_longest_stay_seconds",
            "Time since the order came into the state that is in it for longest.",
            "state",
            states.iter().filter_map(|it| Some((name(&it.name), age(it.longest_since?)))),
        );
    }

    fn of_alerts<'a>(&'a self, to: &mut Families<'a>) {
        let Some(open) = &self.alerts else { return };
        to.labelled(
            Kind::Gauge,
            "order_ledger_alerts_open",
            "Alerts that are not over, by how bad they are; counted up to 1,000.",
            "level",
            [("warn", Value::Count(open.warn)), ("critical", Value::Count(open.critical))],
        );
        let help = "Of those, the ones that nobody has said to know of.";
        to.gauge("order_ledger_alerts_unacknowledged", help, open.unacknowledged);
        let at = open.oldest_raised_at.unwrap_or(self.at);
        let ns = self.at.as_unix_ns().saturating_sub(at.as_unix_ns());
        let help = "Time since the oldest of them was raised; 0 without one.";
        let age = Duration::from_nanos(ns);
        to.seconds("order_ledger_alert_oldest_age_seconds", help, age);
    }

    fn of_outbox<'a>(&'a self, to: &mut Families<'a>) {
        let Some(outbox) = &self.outbox else { return };
        let help = "Dispatches that were given up; counted up to 1,000.";
        to.gauge("order_ledger_outbox_dead", help, outbox.dead);
        let at = outbox.oldest_open_at.unwrap_or(self.at);
        let ns = self.at.as_unix_ns().saturating_sub(at.as_unix_ns());
        let help = "Time since the oldest dispatch was recorded that is open; 0 without one.";
        let age = Duration::from_nanos(ns);
        to.seconds("order_ledger_outbox_oldest_age_seconds", help, age);
        to.labelled(
            Kind::Gauge,
            "order_ledger_outbox_open",
            "Dispatches that are neither done nor given up, by where they stand.",
            "state",
            outbox.open.iter().map(|(state, count)| (*state, Value::Count(*count))),
        );
        let providers = || outbox.providers.iter();
        let name = |name: &'a String| Cow::Borrowed(name.as_str());
        to.labelled(
            Kind::Gauge,
            "order_ledger_provider_left_alone",
            "Whether a third party is not called for now.",
            "provider",
            providers().map(|it| (name(&it.name), Value::Count(u64::from(it.is_left_alone)))),
        );
        to.labelled(
            Kind::Counter,
            "order_ledger_provider_left_alone_total",
            "How often it began not to be called.",
            "provider",
            providers().map(|it| (name(&it.name), Value::Count(it.left_alone))),
        );
        to.labelled(
            Kind::Counter,
            "order_ledger_provider_left_alone_seconds_total",
            "For how long it was not called.",
            "provider",
            providers().map(|it| (name(&it.name), Value::Number(it.left_alone_for.as_secs_f64()))),
        );
        for (of, family, help) in [
            (0, "order_ledger_provider_done_total", "Calls of a third party that it did."),
            (1, "order_ledger_provider_refused_total", "Calls that it refused."),
            (2, "order_ledger_provider_not_sent_total", "Calls of which nothing came to it."),
            (3, "order_ledger_provider_unknown_total", "Calls of which nobody knows what became."),
        ] {
            let calls = |it: &ProviderMetrics| it.calls.get(of).map_or(0, |(_, count)| *count);
            let rows = providers().map(|it| (name(&it.name), Value::Count(calls(it))));
            to.labelled(Kind::Counter, family, help, "provider", rows);
        }
    }

    fn of_files<'a>(&'a self, to: &mut Families<'a>) {
        let last_seq = self.last_seq.map_or(0, |seq| seq.0);
        to.gauge("order_ledger_last_seq", "Seq of the last record; 0 without one.", last_seq);
        to.gauge("order_ledger_segments", "Files of the log.", self.segments);
        to.gauge("order_ledger_log_bytes", "Bytes of the files of the log.", self.log_bytes);
        to.gauge(
            "order_ledger_key_tables",
            "Places in which a key is looked for.",
            self.key_tables,
        );
        if let Some(free) = self.disk_free_bytes {
            to.gauge("order_ledger_disk_free_bytes", "Bytes free on the file system.", free);
        }
        let help = "Bytes that must be free for the next file of the log.";
        to.gauge("order_ledger_disk_wanted_bytes", help, self.disk_wanted_bytes);
        if let Some(views) = &self.views {
            let up = u64::from(views.phase == "feeding");
            to.gauge("order_ledger_views_up", "Whether the views answer.", up);
            let help = "Records that the views do not cover yet.";
            to.gauge("order_ledger_views_behind_records", help, views.behind);
        }
        if let Some(opened) = &self.last_open {
            let seconds = Duration::from_nanos(opened.elapsed_ns);
            to.seconds(
                "order_ledger_last_open_seconds",
                "How long the last opening took.",
                seconds,
            );
            let help = "Bytes that the last opening cut off the end of the log.";
            to.gauge("order_ledger_last_open_torn_bytes", help, opened.torn_bytes);
            let behind = Duration::from_nanos(opened.clock_behind_ns);
            let help = "How far the wall clock was behind the last record at the last opening.";
            to.seconds("order_ledger_last_open_clock_behind_seconds", help, behind);
        }
    }

    fn of_health<'a>(&'a self, to: &mut Families<'a>) {
        if self.activity.is_some() {
            let poisoned = u64::from(self.poisoned.is_some());
            to.gauge("order_ledger_poisoned", "Whether nothing is written any more.", poisoned);
            let help = "Whether there is no room for the next file of the log.";
            to.gauge("order_ledger_disk_low", help, u64::from(self.disk_low));
        }
        let status = self.health.status as u64;
        to.gauge("order_ledger_health", "0 ok, 1 warn, 2 critical.", status);
        let reasons = self.health.reasons.iter();
        to.labelled(
            Kind::Gauge,
            "order_ledger_health_reason",
            "What is wrong: 1 warn, 2 critical.",
            "code",
            reasons.map(|reason| (reason.code, Value::Count(reason.status as u64))),
        );
    }
}

impl fmt::Display for Family<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        writeln!(f, "# HELP {} {}", self.name, self.help)?;
        writeln!(f, "# TYPE {} {kind}", self.name)?;
        for sample in &self.samples {
            let label = match &sample.label {
                Some((label, of)) => format!("{{{label}=\"{}\"}}", escaped(of)),
                None => String::new(),
            };
            match &sample.value {
                Value::Count(count) => writeln!(f, "{}{label} {count}", self.name)?,
                Value::Number(number) => writeln!(f, "{}{label} {number}", self.name)?,
                Value::Seen { histogram, per_unit } => buckets(f, self.name, histogram, *per_unit)?,
            }
        }
        Ok(())
    }
}

fn buckets(f: &mut fmt::Formatter<'_>, name: &str, seen: &Histogram, per_unit: f64) -> fmt::Result {
    let powers = if per_unit == 1.0 { COUNT_POWERS } else { TIME_POWERS };
    for power in powers {
        let end = (1u64 << power) as f64 / per_unit;
        writeln!(f, "{name}_bucket{{le=\"{end}\"}} {}", seen.count_up_to_power(power))?;
    }
    let (count, sum) = (seen.count(), seen.sum() as f64 / per_unit);
    writeln!(f, "{name}_bucket{{le=\"+Inf\"}} {count}")?;
    writeln!(f, "{name}_sum {sum}")?;
    writeln!(f, "{name}_count {count}")
}

/// The value of a label, as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_label_is_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }

    /// The guide names every family, and no other.
    #[test]
    fn the_guide_explains_every_name_and_no_other() {
        let guide = include_str!("../guide/metrics.rs");
        let code = include_str!("exposition.rs");
        let words = |text: &'static str| {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let words = text.split(move |c| !is_word(c));
            words
                .filter(|word| {
                    word.starts_with("order_ledger_") && word.len() > "order_ledger_".len()
                })
                .collect::<std::collections::BTreeSet<_>>()
        };
        let end = code.find("#[cfg(test)]").unwrap();
        let names = words(&code[..end]);
        assert!(names.len() > 30, "{names:?}");
        assert_eq!(names, words(guide));
    }
}
