//! Does what is to be done: the attempt on disk, the call, its result on disk.
//!
//! What happens when a line fails:
//!
//! | line | effect |
//! |---|---|
//! | the log can't be read, or the queue is full, before the attempt is recorded | nothing happened; it is tried again after a pause |
//! | somebody else recorded something about the dispatch meanwhile | nothing happened; it is decided afresh |
//! | recording the attempt fails | nobody was called; the ledger is poisoned, and the attempt, if it is there, is unknown |
//! | the process dies, or the provider panics, in the call | unknown |
//! | recording the result fails for want of room | it is tried again; if it never works, unknown |
//! | it fails otherwise | the ledger is poisoned; unknown when it is opened again, or there |
//!
//! Always true: a provider is called only behind an attempt that this engine has recorded for this very call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::board::{Board, Job, NEVER, Now};
use super::breaker::{Breaker, BreakerPolicy};
use super::decide::{Action, Looked, after_lookup, answered, decide, is_begun, settled};
use super::provider::{Call, Found as Told, Provider};
use super::route::{Route, behind};
use super::stats::Tally;
use crate::admission::dispatch::Found;
use crate::commit::Committer;
use crate::disk::random_u64;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{DispatchQuery, Ledger, Query};
use crate::order::dispatch::{Course, Lane, Progress};
use crate::order::{OrderId, Sent, Timestamp, Token, Witness};
use crate::spans;
use crate::sync::Mutex;

/// Before what failed in the ledger is tried again.
const FAILED_PAUSE: Duration = Duration::from_millis(100);
/// How often the result of a call is tried to be recorded, when there is no room for it.
const RECORD_TRIES: u32 = 600;

/// One of the providers, with what is kept about it.
pub(crate) struct Party {
    pub(crate) provider: Box<dyn Provider>,
    pub(crate) name: String,
    pub(crate) breaker: Mutex<Breaker>,
    pub(crate) tally: Tally,
}

impl Party {
    pub(crate) fn new(provider: Box<dyn Provider>, policy: BreakerPolicy) -> Party {
        let name = provider.name().to_owned();
        let (breaker, tally) = (Mutex::new(Breaker::new(policy)), Tally::default());
        Party { provider, name, breaker, tally }
    }
}

pub(crate) struct Engine {
    /// Keeps the ledger open.
    ledger: Ledger,
    pub(crate) committer: Arc<Committer>,
    routes: Vec<Route>,
    pub(crate) parties: Arc<Vec<Party>>,
    /// Of each route, the places of its providers among the parties.
    places: Vec<Vec<usize>>,
    pub(crate) board: Arc<Mutex<Board>>,
    /// Ledger time when it began.
    started_at: Timestamp,
    pub(crate) last_error: Mutex<Option<String>>,
}

/// What came of a job.
enum Step {
    /// Something was recorded, here or by somebody else: the board hears of it.
    Moved,
    Wait(Timestamp, Looked),
    /// Until something is recorded.
    Stuck,
}

impl Engine {
    /// An engine with everything on its board that the log holds. The caller has the place of the one outbox.
    ///
    /// # Errors
    /// Those of reading the log.
    pub(crate) fn new(
        ledger: &Ledger,
        routes: Vec<Route>,
        parties: Vec<Party>,
        places: Vec<Vec<usize>>,
    ) -> Result<Engine> {
        let committer = Arc::clone(ledger.committer());
        let log = &committer.lookup.log;
        // What is recorded from here on is read; what was before is on the lists.
        let mut board = Board::new(log.cursor(log.readable_next()), &routes);
        let started_at = committer.ledger_now();
        let now = Now { ledger: started_at, monotonic_ns: committer.host.monotonic_ns() };
        for lane in Lane::ALL {
            let mut query = DispatchQuery::all().limit(Query::LIMIT_MAX);
            loop {
                let page = match lane {
                    Lane::Open => ledger.open_dispatches(&query)?,
                    Lane::Dead => ledger.dead_letters(&query)?,
                };
                for it in page.dispatches {
                    let is_dead = lane == Lane::Dead;
                    board.put(it.order.seq(), (it.dispatch, it.at), &it.route, is_dead, now);
                }
                let Some(next) = page.next else { break };
                query = query.after(next);
            }
        }
        let (board, parties) = (Arc::new(Mutex::new(board)), Arc::new(parties));
        let last_error = Mutex::new(None);
        let ledger = ledger.clone();
        Ok(Engine { ledger, committer, routes, parties, places, board, started_at, last_error })
    }

    pub(crate) fn now(&self) -> Now {
        let monotonic_ns = self.committer.host.monotonic_ns();
        Now { ledger: self.committer.ledger_now(), monotonic_ns }
    }

    /// Takes what is due first; else says when that will be.
    ///
    /// # Errors
    /// Those of reading the log; `Poisoned`, `Closed`: there will never be anything more.
    pub(crate) fn next_job(
        &self,
        board: &mut Board,
    ) -> Result<std::result::Result<Job, Option<u64>>> {
        self.committer.check_goes_on()?;
        let now = self.now();
        board.catch_up(now)?;
        Ok(board.take(now))
    }

    /// Does a job, and puts the order back on the board.
    ///
    /// # Errors
    /// Those that end the engine: `Poisoned`, `Closed`, `InDoubt`.
    pub(crate) fn run(&self, job: &Job) -> Result<()> {
        let done = self.work(job);
        let now = self.now();
        let pause_ns = u64::try_from(FAILED_PAUSE.as_nanos()).unwrap_or(u64::MAX);
        let (wait, result) = match done {
            Ok(Step::Moved) => (None, Ok(())),
            Ok(Step::Wait(at, looked)) => (Some((now.monotonic_at(at), looked)), Ok(())),
            Ok(Step::Stuck) => (Some((NEVER, job.looked)), Ok(())),
            Err(error) => {
                *self.last_error.lock() = Some(error.to_string());
                let again_ns = now.monotonic_ns.saturating_add(pause_ns);
                (Some((again_ns, job.looked)), if is_end(&error) { Err(error) } else { Ok(()) })
            }
        };
        let mut board = self.board.lock();
        // First what was recorded, so that it is not taken for what it was before.
        let caught_up = board.catch_up(now);
        board.give_back(job, wait);
        result.and(caught_up)
    }

    fn work(&self, job: &Job) -> Result<Step> {
        let mut found = self.committer.find_dispatch(job.dispatch)?;
        let place = job.route.and_then(|at| Some((self.routes.get(at)?, self.places.get(at)?)));
        let Some((route, places)) = place else { return Ok(Step::Stuck) };
        if found.course.progress == Progress::Attempt {
            // Nobody else tells anybody: whoever made it is no more.
            found.course = found.course.cut_off();
        }
        // The board has waited, by a clock that does not go back: that time has come.
        let newest = found.course.newest;
        let mut looked = match job.looked.behind == newest {
            true => job.looked,
            false => Looked::not_yet(newest),
        };
        let waited_for = match job.newest == Some(newest) {
            true => found.course.again_at.max(looked.again_at),
            false => looked.again_at,
        };
        let Now { ledger, monotonic_ns } = self.now();
        let now = ledger.max(waited_for.unwrap_or(self.started_at));
        // A wall clock that is set forward makes no request older than it is: what counts is how long this engine has
        // known of it, where that is shorter.
        let known_ns = monotonic_ns.saturating_sub(job.changed_ns);
        let known_since = Timestamp::from_unix_ns(now.as_unix_ns().saturating_sub(known_ns));
        found.course.at = found.course.at.max(known_since);
        let party = |place: usize| places.get(place).and_then(|at| self.parties.get(*at));
        let passes = |place: usize| match party(place) {
            Some(party) => party.breaker.lock().pass(now),
            None => Ok(()),
        };
        let mut witness = Witness::Provider;
        let mut action = decide(&found.course, route, now, looked, &passes);
        if let Action::LookUp(place) = action {
            let Some(party) = party(place) else { return Ok(Step::Stuck) };
            looked.times = looked.times.saturating_add(1);
            let tries = found.course.of_provider.saturating_add(looked.times);
            let pause = route.retry.pause(tries, random_u64(&*self.committer.host));
            let told = self.look_up(party, &self.call(&found, route, party)?);
            let repeats = party.provider.retry_unknown_with_same_token();
            let until = behind(now, pause);
            action = after_lookup(&found.course, route, now, told, repeats, until, &passes);
            witness = Witness::Lookup;
        }
        match action {
            Action::Nothing | Action::Stuck | Action::LookUp(_) => Ok(Step::Stuck),
            Action::Wait(at) => Ok(Step::Wait(at, Looked { again_at: Some(at), ..looked })),
            Action::Settle(sent) => self.record(&found, &settled(&found.course, sent), witness),
            Action::GiveUp { why } => {
                let progress = Progress::Dead { why };
                let after = Course { progress, again_at: None, ..found.course.clone() };
                self.record(&found, &after, Witness::Provider)
            }
            Action::Attempt { provider, of_provider } => {
                let Some(party) = party(provider) else { return Ok(Step::Stuck) };
                let begun = party.breaker.lock().begin(now);
                match begun {
                    Ok(()) => self.attempt(&found, route, party, of_provider),
                    // Another order was there first.
                    Err(at) => Ok(Step::Wait(at, Looked { again_at: Some(at), ..looked })),
                }
            }
        }
    }

    /// Tells a provider, between two records.
    fn attempt(
        &self,
        found: &Found,
        route: &Route,
        party: &Party,
        of_provider: u32,
    ) -> Result<Step> {
        let order = OrderId::new(self.committer.lookup.log.issuer.partition, found.order);
        let attempts = found.course.attempts.saturating_add(1);
        let span = spans::attempt(order, found.record.seq, &route.name, &party.name, attempts);
        // The age counts from the first time.
        let since = match is_begun(&found.course) {
            true => found.course.since,
            false => self.committer.ledger_now(),
        };
        let attempt = Course {
            since,
            progress: Progress::Attempt,
            provider: party.name.clone(),
            attempts,
            of_provider,
            again_at: None,
            ..found.course.clone()
        };
        let Some(committed) = self.committer.pursue(found, &attempt, Witness::Provider)? else {
            return Ok(Step::Moved);
        };
        let course = Course { newest: committed.seq, at: committed.at, ..attempt };
        let found = Found { order: found.order, record: found.record.clone(), course };
        let call = self.call(&found, route, party)?;
        let sent = catch_unwind(AssertUnwindSafe(|| party.provider.send(&call)));
        let sent = sent.unwrap_or_else(|payload| {
            // Dropping what it threw is its code again, and may panic for a second time.
            std::mem::forget(payload);
            party.tally.note_panic();
            Sent::Unknown { why: "the provider panicked".to_owned() }
        });
        span.answered(&sent);
        let now = self.committer.ledger_now();
        party.tally.note(&sent);
        party.breaker.lock().end(sent.is_answer(), now);
        let pause = route.retry.pause(of_provider, random_u64(&*self.committer.host));
        let after = answered(&found.course, route, sent, behind(now, pause));
        let mut tries = 0;
        loop {
            match self.record(&found, &after, Witness::Provider) {
                Err(error) if !is_end(&error) && tries < RECORD_TRIES => {
                    tries += 1;
                    self.committer.host.sleep(FAILED_PAUSE);
                }
                recorded => return recorded,
            }
        }
    }

    fn record(&self, found: &Found, after: &Course, by: Witness) -> Result<Step> {
        self.committer.pursue(found, after, by).map(|_| Step::Moved)
    }

    fn look_up(&self, party: &Party, call: &Call) -> Option<Told> {
        party.tally.note_lookup();
        let told = catch_unwind(AssertUnwindSafe(|| party.provider.lookup(call)));
        told.unwrap_or_else(|payload| {
            std::mem::forget(payload);
            party.tally.note_panic();
            None
        })
    }

    fn call(&self, found: &Found, route: &Route, party: &Party) -> Result<Call> {
        let issuer = self.committer.lookup.log.issuer;
        let order = OrderId::new(issuer.partition, found.order);
        let dispatch = found.record.seq;
        let body = found.record.body()?.dispatched().map(|it| it.body.to_vec());
        Ok(Call {
            ledger: issuer.ledger,
            order,
            dispatch,
            route: route.name.clone(),
            token: Token::of(issuer.ledger, order, dispatch, &party.name),
            attempt: found.course.attempts,
            body: body.unwrap_or_default(),
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.ledger.give_outbox_back();
    }
}

/// Whether nothing more can be recorded, or it is not known whether something was.
fn is_end(error: &Error) -> bool {
    let kind = error.kind();
    matches!(kind, ErrorKind::Poisoned { .. } | ErrorKind::Closed | ErrorKind::InDoubt { .. })
}
