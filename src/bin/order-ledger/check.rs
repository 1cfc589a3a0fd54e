//! `check`: whether something is wrong, as one line, as JSON or for Prometheus, with the exit codes of Nagios.
//!
//! Always true: it only looks; what it can't look at is unknown, and never ok.

use std::time::Duration;

use order_ledger::{
    Census, Error, ErrorKind, Health, HealthReason, HealthStatus, Metrics, Reader, Seq, Timestamp,
};
use serde_json::{Value, json};

use crate::args::{Check, Stay};
use crate::errors::{Exit, Failure};
use crate::names::state;
use crate::output::{GREEN, Out, RED, YELLOW, time};

pub(crate) fn run(args: &Check, out: &mut Out) -> Result<Exit, Failure> {
    let found = match look(args) {
        Ok(metrics) => Found::Metrics(Box::new(metrics)),
        Err(error) => damaged(error),
    };
    if args.prometheus {
        let text = match &found {
            Found::Metrics(metrics) => metrics.to_prometheus(),
            // Nothing else is known.
            Found::Health(health) => format!("order_ledger_health {}\n", health.status as u64),
            Found::Unknown { .. } => "order_ledger_health 3\n".into(),
        };
        out.bytes(text.as_bytes())?;
    } else if out.json {
        out.json_line(&as_json(&found))?;
    } else {
        as_text(&found, out)?;
    }
    Ok(match found.status() {
        Some(HealthStatus::Ok) => Exit::Done,
        Some(HealthStatus::Warn) => Exit::No,
        Some(HealthStatus::Critical) => Exit::Usage,
        None => Exit::SomeLines,
    })
}

/// What a look came to.
enum Found {
    Metrics(Box<Metrics>),
    /// Bad enough to be told without figures.
    Health(Health),
    Unknown {
        what: String,
        advice: String,
    },
}

impl Found {
    fn status(&self) -> Option<HealthStatus> {
        self.health().map(|health| health.status)
    }

    fn health(&self) -> Option<&Health> {
        match self {
            Found::Metrics(metrics) => Some(&metrics.health),
            Found::Health(health) => Some(health),
            Found::Unknown { .. } => None,
        }
    }
}

/// What a failed look means: damage is an answer.
fn damaged(failure: Failure) -> Found {
    let is_damage = |error: &Error| {
        matches!(error.kind(), ErrorKind::Corrupt(_) | ErrorKind::LogLostData { .. })
    };
    match failure {
        Failure::Ledger(error) if is_damage(&error) => {
            let (text, advice) = (error.to_string(), error.advice());
            let reason = HealthReason::new(HealthStatus::Critical, "damaged", text, advice);
            Found::Health(Health::of([reason]))
        }
        other => Found::Unknown { what: other.what(), advice: other.advice().to_owned() },
    }
}

fn look(args: &Check) -> Result<Metrics, Failure> {
    let reader = Reader::open(&args.dir.path)?;
    let mut metrics = reader.metrics_with_lists(now());
    let mut reasons = std::mem::take(&mut metrics.health.reasons);
    reasons.extend(disk(&metrics, args));
    if args.states || !args.warn_oldest.is_empty() || !args.critical_oldest.is_empty() {
        let mut census = Census::new(reader.lifecycle()?);
        for event in reader.events(Seq::FIRST) {
            census.count(&event?);
        }
        let stays = [
            (HealthStatus::Critical, &args.critical_oldest),
            (HealthStatus::Warn, &args.warn_oldest),
        ];
        for (status, stays) in stays {
            for stay in stays {
                // One limit that is broken is told once, as the worse of its two.
                let told = reasons.iter().any(|reason| {
                    reason.code == "oldest" && reason.text.starts_with(&in_state(&stay.state))
                });
                if !told {
                    reasons.extend(oldest(&census, &metrics, status, stay)?);
                }
            }
        }
        metrics.states = Some(census.states());
    }
    metrics.health = Health::of(reasons);
    Ok(metrics)
}

/// What time it is.
pub(crate) fn now() -> Timestamp {
    let now_ns = jiff::Timestamp::now().as_nanosecond();
    Timestamp::from_unix_ns(u64::try_from(now_ns).unwrap_or(0))
}

fn disk(metrics: &Metrics, args: &Check) -> Option<HealthReason> {
    let free = metrics.disk_free_bytes?;
    let below = |limit: Option<u64>| limit.filter(|limit| free < *limit);
    let (status, limit) = match (below(args.critical_disk_free), below(args.warn_disk_free)) {
        (Some(limit), _) => (HealthStatus::Critical, limit),
        (None, Some(limit)) => (HealthStatus::Warn, limit),
        (None, None) => return None,
    };
    let text = format!("{free} bytes are free on the file system, fewer than {limit}");
    let advice = "free space on the file system of the ledger, or make it larger";
    Some(HealthReason::new(status, "disk_free", text, advice))
}

fn in_state(state: &str) -> String {
    format!("in state {state}:")
}

/// Orders that are in a state for too long.
fn oldest(
    census: &Census,
    metrics: &Metrics,
    status: HealthStatus,
    stay: &Stay,
) -> Result<Option<HealthReason>, Failure> {
    let lifecycle = census.lifecycle();
    let state = state(lifecycle, &stay.state).map_err(|what| Failure::Usage {
        what,
        advice: "see `order-ledger lifecycle` for the states".into(),
    })?;
    if lifecycle.is_terminal(state) {
        let what = format!("orders stay in state {} for ever", stay.state);
        let advice = "name a state that orders leave".into();
        return Err(Failure::Usage { what, advice });
    }
    let at_most_ns = u64::try_from(stay.at_most.as_nanos()).unwrap_or(u64::MAX);
    let before = Timestamp::from_unix_ns(metrics.at.as_unix_ns().saturating_sub(at_most_ns));
    let orders = census.in_since(state, before);
    let longest = census.longest(state, 1).first().copied().filter(|(_, since)| *since <= before);
    Ok(longest.map(|(order, since)| {
        let age_ns = metrics.at.as_unix_ns().saturating_sub(since.as_unix_ns());
        let text = format!(
            "{} {orders} order(s) for longer than {}, order {order} for {}",
            in_state(&stay.state),
            spoken(stay.at_most),
            spoken(Duration::from_nanos(age_ns)),
        );
        let advice = format!(
            "order-ledger history --dir DIR {order} tells what happened to it, and list --state {} names the others",
            stay.state
        );
        HealthReason::new(status, "oldest", text, advice)
    }))
}

/// A time for people: its two largest units.
pub(crate) fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn as_text(found: &Found, out: &mut Out) -> Result<(), Failure> {
    let reasons = found.health().map(|health| health.reasons.as_slice()).unwrap_or_default();
    let (style, word) = match found.status() {
        Some(HealthStatus::Ok) => (GREEN, "OK"),
        Some(HealthStatus::Warn) => (YELLOW, "WARN"),
        Some(HealthStatus::Critical) => (RED, "CRITICAL"),
        None => (YELLOW, "UNKNOWN"),
    };
    let words: Vec<_> = match found {
        Found::Unknown { what, .. } => vec![what.clone()],
        Found::Metrics(metrics) if reasons.is_empty() => vec![figures(metrics)],
        _ => reasons.iter().map(|reason| reason.text.clone()).collect(),
    };
    out.line(format!("{style}{word}{style:#}: {}", words.join("; ")))?;
    if let Found::Unknown { advice, .. } = found {
        out.line(format!("next: {advice}"))?;
    }
    for reason in reasons {
        out.line(format!("next ({}): {}", reason.code, reason.advice))?;
    }
    Ok(())
}

fn figures(metrics: &Metrics) -> String {
    let last = metrics.last_seq.map_or("no record yet".into(), |seq| format!("last seq {seq}"));
    let free = metrics.disk_free_bytes.map_or("unknown".into(), |bytes| bytes.to_string());
    let mut text = format!("{last}, {} segment(s), {free} bytes free", metrics.segments);
    for state in metrics.states.iter().flatten() {
        text += &format!(", {} {}", state.orders, state.name);
    }
    text
}

/// The same as JSON for metrics that were taken by somebody else.
#[cfg(feature = "serve")]
pub(crate) fn metrics_json(metrics: Metrics) -> Value {
    as_json(&Found::Metrics(Box::new(metrics)))
}

fn as_json(found: &Found) -> Value {
    let reason = |reason: &HealthReason| {
        json!({
            "status": reason.status.name(),
            "code": reason.code,
            "text": reason.text,
            "advice": reason.advice,
        })
    };
    let mut fields = serde_json::Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    match found {
        Found::Unknown { what, advice } => {
            put("status", "unknown".into());
            let reasons =
                json!([{"status": "unknown", "code": "unknown", "text": what, "advice": advice}]);
            put("reasons", reasons);
        }
        Found::Metrics(_) | Found::Health(_) => {
            let health = found.health().cloned().unwrap_or_default();
            put("status", health.status.name().into());
            put("reasons", health.reasons.iter().map(reason).collect());
        }
    }
    if let Found::Metrics(metrics) = found {
        put("at", time(metrics.at).into());
        put("ledger", metrics.ledger.to_string().into());
        put("last_seq", metrics.last_seq.map(|seq| seq.0).into());
        put("segments", metrics.segments.into());
        put("log_bytes", metrics.log_bytes.into());
        put("disk_free_bytes", metrics.disk_free_bytes.into());
        if let Some(states) = &metrics.states {
            let states = states.iter().map(|it| {
                json!({"state": it.name, "orders": it.orders, "longest_since": it.longest_since.map(time)})
            });
            put("states", states.collect());
        }
    }
    fields.into()
}
