//! How providers did in a period: a pass over its log.
//!
//! Always true: it is made of what is recorded, so that it says the same whenever it is asked, by whichever process.
//! How long a breaker was open is not recorded: [`ProviderStats::breaker_open`](crate::ProviderStats::breaker_open) has
//! that of the outbox that runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::ledger::{Ledger, Reader};
use crate::order::dispatch::Progress;
use crate::order::{Sent, Seq, Timestamp, Witness};
use crate::wal::log::Log;

/// How a provider did in a period.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ProviderSla {
    /// Its name.
    pub provider: String,
    /// How often it was told.
    pub attempts: u64,
    /// Attempts that it answered with "done".
    pub done: u64,
    /// With "no".
    pub refused: u64,
    /// Attempts that surely did not reach it.
    pub not_sent: u64,
    /// Attempts without an answer, those that were cut off among them.
    pub unknown: u64,
    /// Half of the attempts had a result on disk after this time, counted from when they were on disk; only those that
    /// were answered, done or refused.
    pub latency_p50: Option<Duration>,
    /// 95 of 100.
    pub latency_p95: Option<Duration>,
    /// 99 of 100.
    pub latency_p99: Option<Duration>,
    /// All.
    pub latency_max: Option<Duration>,
}

impl ProviderSla {
    /// Attempts that were answered, done or refused, out of a million.
    #[must_use]
    pub fn success_ppm(&self) -> u64 {
        ppm(self.done + self.refused, self.attempts)
    }

    /// Attempts without an answer, out of a million.
    #[must_use]
    pub fn unknown_ppm(&self) -> u64 {
        ppm(self.unknown, self.attempts)
    }
}

fn ppm(part: u64, of: u64) -> u64 {
    part.saturating_mul(1_000_000).checked_div(of).unwrap_or(0)
}

impl Ledger {
    /// How each provider did: attempts from `since` on and before `until`, in ledger time, by name.
    ///
    /// **Cost**: reads the log of the period; memory for each attempt in it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io), [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt).
    pub fn provider_sla(&self, since: Timestamp, until: Timestamp) -> Result<Vec<ProviderSla>> {
        of_period(&self.committer().lookup.log, since, until)
    }
}

impl Reader {
    /// How each provider did: see [`Ledger::provider_sla`].
    ///
    /// # Errors
    /// Those of [`Ledger::provider_sla`].
    pub fn provider_sla(&self, since: Timestamp, until: Timestamp) -> Result<Vec<ProviderSla>> {
        of_period(self.log(), since, until)
    }
}

/// Counts of one provider.
#[derive(Default)]
struct Counts {
    attempts: u64,
    done: u64,
    refused: u64,
    not_sent: u64,
    latencies_ns: Vec<u64>,
}

fn of_period(log: &Arc<Log>, since: Timestamp, until: Timestamp) -> Result<Vec<ProviderSla>> {
    let mut providers: BTreeMap<String, Counts> = BTreeMap::new();
    // When the attempt began that is on its way.
    let mut begun: HashMap<Seq, Timestamp> = HashMap::new();
    let mut cursor = log.cursor(log.seq_at(since)?);
    while let Some(record) = cursor.next()? {
        // An attempt of the period may be answered behind it.
        let is_over = record.at >= until;
        if is_over && begun.is_empty() {
            break;
        }
        let body = record.body()?;
        let Some(pursued) = body.pursued() else { continue };
        let began = begun.remove(&pursued.dispatch());
        let progress = pursued.progress();
        if progress == Progress::Attempt {
            if !is_over {
                begun.insert(pursued.dispatch(), record.at);
                providers.entry(pursued.provider.to_owned()).or_default().attempts += 1;
            }
            continue;
        }
        let Some(began) = began.filter(|_| pursued.by() == Witness::Provider) else { continue };
        let counts = providers.entry(pursued.provider.to_owned()).or_default();
        match progress {
            Progress::Sent(Sent::Done { .. }) => counts.done += 1,
            Progress::Sent(Sent::Refused { .. }) => counts.refused += 1,
            Progress::Sent(Sent::NotSent { .. }) => counts.not_sent += 1,
            _ => {}
        }
        if matches!(progress, Progress::Sent(Sent::Done { .. } | Sent::Refused { .. })) {
            counts.latencies_ns.push(record.at.as_unix_ns().saturating_sub(began.as_unix_ns()));
        }
    }
    Ok(providers.into_iter().map(|(provider, counts)| counts.sla(provider)).collect())
}

impl Counts {
    fn sla(mut self, provider: String) -> ProviderSla {
        self.latencies_ns.sort_unstable();
        let of = |percent: usize| {
            let last = self.latencies_ns.len().checked_sub(1)?;
            let place = (self.latencies_ns.len() * percent).div_ceil(100).saturating_sub(1);
            self.latencies_ns.get(place.min(last)).map(|ns| Duration::from_nanos(*ns))
        };
        let Counts { attempts, done, refused, not_sent, .. } = self;
        ProviderSla {
            provider,
            attempts,
            done,
            refused,
            not_sent,
            // Whatever has no answer, has none.
            unknown: attempts.saturating_sub(done + refused + not_sent),
            latency_p50: of(50),
            latency_p95: of(95),
            latency_p99: of(99),
            latency_max: of(100),
        }
    }
}
