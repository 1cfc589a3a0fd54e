//! How providers did in a period: a pass over its log.
//!
//! Always true: it is made of what is recorded, so that it says the same of a period that is over whenever it is asked,
//! by whichever process.
//! Breakers are not recorded: they are told again what came of the attempts, in the order and with the times in which
//! that is on disk, and by the code of the ones that run ([`Breaker`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::breaker::{Breaker, BreakerPolicy};
use crate::error::Result;
use crate::ledger::{Ledger, Reader};
use crate::order::dispatch::Progress;
use crate::order::{Sent, Seq, Timestamp, Witness};
use crate::wal::log::Log;

/// How far before the period breakers are told what came of attempts: whoever does not answer is tried again long before,
/// as long as something waits for him.
const LOOK_BACK_NS: u64 = 24 * 60 * 60 * 1_000_000_000;

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
    /// How often its breaker opened in the period.
    pub breaker_opened: u64,
    /// How long its breaker was not closed in the period: from the last of so many attempts in a row without an answer as
    /// [`BreakerPolicy::failures_max`] allows, until one is answered; where none was, until the end of the period, or
    /// until now; a [`Reader`] takes for now when it was opened.
    ///
    /// By the times of the results on disk, which come right behind those that a running outbox goes by
    /// ([`ProviderStats::breaker_open`](crate::ProviderStats::breaker_open)). A restart closes the breaker of an outbox;
    /// here it stays open, for nobody has answered. What was before the period is known as far as the log of the day
    /// before it tells.
    pub breaker_open: Duration,
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
    /// With the breaker of [`BreakerPolicy::default`]: an outbox with another one asks
    /// [`provider_sla_with`](Ledger::provider_sla_with).
    ///
    /// **Cost**: reads the log of the period and of the day before it; memory for each attempt in it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io), [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt).
    pub fn provider_sla(&self, since: Timestamp, until: Timestamp) -> Result<Vec<ProviderSla>> {
        self.provider_sla_with(since, until, BreakerPolicy::default())
    }

    /// The same with the breaker of an outbox that has this one. The policy is not recorded; what counts of it is
    /// [`failures_max`](BreakerPolicy::failures_max).
    ///
    /// ```
    /// use order_ledger::{BreakerPolicy, Ledger, Timestamp};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
    /// let (first, last) = (Timestamp::from_unix_ns(0), Timestamp::from_unix_ns(u64::MAX));
    /// let ours = BreakerPolicy { failures_max: 2, ..BreakerPolicy::default() };
    /// for it in ledger.provider_sla_with(first, last, ours)? {
    ///     println!("{} was left alone {} times, {:?}", it.provider, it.breaker_opened, it.breaker_open);
    /// }
    /// # Ok::<(), order_ledger::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Ledger::provider_sla`].
    pub fn provider_sla_with(
        &self,
        since: Timestamp,
        until: Timestamp,
        breaker: BreakerPolicy,
    ) -> Result<Vec<ProviderSla>> {
        let committer = self.committer();
        of_period(&committer.lookup.log, (since, until), committer.ledger_now(), breaker)
    }
}

impl Reader {
    /// How each provider did: see [`Ledger::provider_sla`].
    ///
    /// # Errors
    /// Those of [`Ledger::provider_sla`].
    pub fn provider_sla(&self, since: Timestamp, until: Timestamp) -> Result<Vec<ProviderSla>> {
        self.provider_sla_with(since, until, BreakerPolicy::default())
    }

    /// The same with the breaker of an outbox that has this one: see [`Ledger::provider_sla_with`].
    ///
    /// # Errors
    /// Those of [`Ledger::provider_sla`].
    pub fn provider_sla_with(
        &self,
        since: Timestamp,
        until: Timestamp,
        breaker: BreakerPolicy,
    ) -> Result<Vec<ProviderSla>> {
        of_period(self.log(), (since, until), self.opened_at(), breaker)
    }
}

/// What attempts came to, as the log tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Attempts {
    pub(super) made: u64,
    pub(super) done: u64,
    pub(super) refused: u64,
    pub(super) not_sent: u64,
}

impl Attempts {
    pub(super) fn end(&mut self, sent: &Sent) {
        match sent {
            Sent::Done { .. } => self.done += 1,
            Sent::Refused { .. } => self.refused += 1,
            Sent::NotSent { .. } => self.not_sent += 1,
            Sent::Unknown { .. } => {}
        }
    }

    /// Whatever has no answer, has none.
    pub(super) fn unknown(self) -> u64 {
        self.made.saturating_sub(self.done + self.refused + self.not_sent)
    }
}

/// Counts of one provider.
#[derive(Default)]
struct Counts {
    attempts: Attempts,
    latencies_ns: Vec<u64>,
    breaker_opened: u64,
    breaker_open_ns: u64,
}

/// An attempt that is on its way.
struct Begun {
    at: Timestamp,
    /// It was begun in the period, and not before.
    counts: bool,
}

/// A breaker that is told again what came of attempts, with what it was before the period.
struct Replayed {
    breaker: Breaker,
    opened_before: u64,
    open_before_ns: u64,
}

fn of_period(
    log: &Arc<Log>,
    (since, until): (Timestamp, Timestamp),
    now: Timestamp,
    policy: BreakerPolicy,
) -> Result<Vec<ProviderSla>> {
    let mut providers: BTreeMap<String, Counts> = BTreeMap::new();
    let mut breakers: BTreeMap<String, Replayed> = BTreeMap::new();
    let mut begun: HashMap<Seq, Begun> = HashMap::new();
    let look_back = Timestamp::from_unix_ns(since.as_unix_ns().saturating_sub(LOOK_BACK_NS));
    let mut cursor = log.cursor(log.seq_at(look_back)?);
    let (mut is_in_period, mut is_over) = (false, false);
    while let Some(record) = cursor.next()? {
        if !is_in_period && record.at >= since {
            is_in_period = true;
            breakers.values_mut().for_each(|it| it.enter(since));
        }
        if !is_over && record.at >= until {
            is_over = true;
            // An attempt of the period may be answered behind it.
            begun.retain(|_, it| it.counts);
        }
        if is_over && begun.is_empty() {
            break;
        }
        let body = record.body()?;
        let Some(pursued) = body.pursued() else { continue };
        let began = begun.remove(&pursued.dispatch());
        let provider = pursued.provider;
        let sent = match pursued.progress() {
            Progress::Attempt if !is_over => {
                begun.insert(pursued.dispatch(), Begun { at: record.at, counts: is_in_period });
                if is_in_period {
                    providers.entry(provider.to_owned()).or_default().attempts.made += 1;
                }
                continue;
            }
            Progress::Sent(sent) if pursued.by() == Witness::Provider => sent,
            _ => continue,
        };
        let Some(began) = began else { continue };
        if !is_over {
            let new = || Replayed::new(policy);
            let breaker = breakers.entry(provider.to_owned()).or_insert_with(new);
            breaker.breaker.end(sent.is_answer(), record.at);
        }
        if began.counts {
            let counts = providers.entry(provider.to_owned()).or_default();
            counts.end(&sent, record.at.as_unix_ns().saturating_sub(began.at.as_unix_ns()));
        }
    }
    if !is_in_period {
        breakers.values_mut().for_each(|it| it.enter(since));
    }
    let end = until.min(now);
    for (provider, it) in breakers {
        let opened = it.breaker.opened.saturating_sub(it.opened_before);
        let open_ns = it.breaker.open_total_ns(end).saturating_sub(it.open_before_ns);
        if opened > 0 || open_ns > 0 {
            // Also of one that was told nothing because it was left alone.
            let counts = providers.entry(provider).or_default();
            (counts.breaker_opened, counts.breaker_open_ns) = (opened, open_ns);
        }
    }
    Ok(providers.into_iter().map(|(provider, counts)| counts.sla(provider)).collect())
}

impl Replayed {
    fn new(policy: BreakerPolicy) -> Replayed {
        Replayed { breaker: Breaker::new(policy), opened_before: 0, open_before_ns: 0 }
    }

    /// The period begins.
    fn enter(&mut self, since: Timestamp) {
        self.opened_before = self.breaker.opened;
        self.open_before_ns = self.breaker.open_total_ns(since);
    }
}

impl Counts {
    /// An attempt came to something.
    fn end(&mut self, sent: &Sent, latency_ns: u64) {
        self.attempts.end(sent);
        if sent.is_answer() {
            self.latencies_ns.push(latency_ns);
        }
    }

    fn sla(mut self, provider: String) -> ProviderSla {
        self.latencies_ns.sort_unstable();
        let of = |percent: usize| {
            let last = self.latencies_ns.len().checked_sub(1)?;
            let place = (self.latencies_ns.len() * percent).div_ceil(100).saturating_sub(1);
            self.latencies_ns.get(place.min(last)).map(|ns| Duration::from_nanos(*ns))
        };
        let Attempts { made, done, refused, not_sent } = self.attempts;
        ProviderSla {
            provider,
            attempts: made,
            done,
            refused,
            not_sent,
            unknown: self.attempts.unknown(),
            latency_p50: of(50),
            latency_p95: of(95),
            latency_p99: of(99),
            latency_max: of(100),
            breaker_opened: self.breaker_opened,
            breaker_open: Duration::from_nanos(self.breaker_open_ns),
        }
    }
}
