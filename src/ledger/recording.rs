//! The same metrics for whoever has installed a recorder of the `metrics` crate. Behind the feature `metrics`.
//!
//! Always true: a snapshot is pushed when it is asked for, and nothing is counted twice; the names are those of
//! [`exposition`](super::exposition).

use metrics_facade::{Label, counter, describe_counter, describe_gauge, gauge};

use super::exposition::{Kind, Value};
use super::metrics::Metrics;

/// What is said of a histogram: its buckets are ours and can't be handed over.
const QUANTILES: [(f64, &str); 4] = [(0.5, "0.5"), (0.9, "0.9"), (0.99, "0.99"), (0.999, "0.999")];

impl Metrics {
    /// Pushes the snapshot to the recorder of the `metrics` crate that is installed; nothing happens without one.
    /// Call it at an interval.
    ///
    /// Counters are set to their present value, so that one that is pushed twice counts once. A histogram becomes
    /// a gauge with a label `quantile` (0.5, 0.9, 0.99, 0.999; at most 25 % too high), and a counter with `_count`
    /// behind its name.
    ///
    /// **Cost**: an allocation or two for each value.
    pub fn record(&self) {
        for family in self.families() {
            let (name, help) = (family.name, family.help);
            match family.kind {
                Kind::Counter => describe_counter!(name, help),
                Kind::Gauge => describe_gauge!(name, help),
                // Its quantiles are gauges.
                Kind::Histogram => describe_gauge!(name, help),
            }
            for sample in family.samples {
                let labels = sample.label.map(|(label, of)| Label::new(label, of.into_owned()));
                let labels: Vec<Label> = labels.into_iter().collect();
                match (family.kind, sample.value) {
                    (Kind::Counter, Value::Count(count)) => counter!(name, labels).absolute(count),
                    (_, Value::Count(count)) => gauge!(name, labels).set(count as f64),
                    (_, Value::Number(number)) => gauge!(name, labels).set(number),
                    (_, Value::Seen { histogram, per_unit }) => {
                        for (part, label) in QUANTILES {
                            if let Some(value) = histogram.quantile(part) {
                                gauge!(name, "quantile" => label).set(value as f64 / per_unit);
                            }
                        }
                        counter!(format!("{name}_count")).absolute(histogram.count());
                    }
                }
            }
        }
    }
}
