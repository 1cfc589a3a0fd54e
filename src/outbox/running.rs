//! The outbox, with threads or step by step.
//!
//! Always true: there is one outbox of a ledger at a time, so that an attempt without a result, which it did not make
//! itself, is one that was cut off; it keeps the ledger open; when it has stopped, no provider is called any more.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use super::breaker::BreakerPolicy;
use super::engine::{Engine, Party};
use super::provider::Provider;
use super::route::Route;
use super::stats::OutboxStats;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::Ledger;
use crate::order::consumer::is_consumer_name;
use crate::sync::{AtomicBool, Condvar};

/// The longest that a worker sleeps when nothing is due.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// Between two looks at the log: what is recorded in between is read together.
const LISTEN_PAUSE: Duration = Duration::from_millis(2);
/// Most threads that call providers.
const WORKERS_MAX: usize = 1_024;

/// Tells third parties what orders want them to be told ([`Dispatch`](crate::Dispatch)), and records what came of it.
///
/// **What holds, also across kills and power cuts**: an attempt is on disk before the provider is called, its result
/// after. An attempt without a result is *unknown*: it is found out, and nobody else is told meanwhile, unless the route
/// says so. Each provider gets one token per dispatch, whatever happens, so that one which knows repeats does it once.
/// The dispatches of one order are dealt with one after the other, in their order; different orders side by side.
///
/// **What it can't do**: make a provider that does not know repeats, and can't be asked, do something exactly once. Then
/// an unknown outcome waits for a person, or for a reconciliation. [The guide](crate::guide::outbox) says why.
///
/// **Cost**: two records per attempt, each with a share of a sync; some 200 bytes of memory for each dispatch that is
/// open or dead.
///
/// ```
/// use order_ledger::{
///     Call, Dispatch, DispatchState, Ledger, LinkedBatch, Outbox, Provider, Route, Sent, Submission,
/// };
///
/// struct AcmePay;
///
/// impl Provider for AcmePay {
///     fn name(&self) -> &str {
///         "acme-pay"
///     }
///
///     fn send(&self, call: &Call) -> Sent {
///         // A request with `call.token` as its idempotency key.
///         Sent::Done { reference: format!("charge-{}", call.dispatch).into_bytes() }
///     }
/// }
///
/// # let dir = tempfile::tempdir().unwrap();
/// let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
/// let outbox = Outbox::builder()
///     .provider(AcmePay)
///     .route(Route::new("payment", "acme-pay"))
///     .start(&ledger)?;
/// let order = Submission::new("web-shop", "cart-17", "2 x tea");
/// let batch = LinkedBatch::of_order(order).dispatch(Dispatch::of_member(0, "payment", "8.40 EUR"));
/// ledger.linked(&batch)?;
/// let order = ledger.by_key("web-shop", "cart-17")?.unwrap().id();
/// while ledger.dispatches(order)?[0].is_open() {
///     std::thread::yield_now();
/// }
/// assert!(matches!(ledger.dispatches(order)?[0].state, DispatchState::Done { .. }));
/// outbox.stop()?;
/// # Ok::<(), order_ledger::Error>(())
/// ```
pub struct Outbox {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

struct Shared {
    engine: Engine,
    /// Something may be due; goes with the board.
    wake: Condvar,
    stopped: AtomicBool,
}

/// What [`Outbox::run_once`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Ran {
    /// It dealt with one dispatch.
    Worked,
    /// Nothing is due. `next`: something will be in so long, if nothing is recorded before.
    Idle {
        /// How long from now.
        next: Option<Duration>,
    },
}

/// How an [`Outbox`] is to be.
#[must_use = "nothing runs before it is started"]
pub struct OutboxBuilder {
    providers: Vec<Box<dyn Provider>>,
    routes: Vec<Route>,
    workers: usize,
    breaker: BreakerPolicy,
}

impl std::fmt::Debug for OutboxBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.providers.iter().map(|provider| provider.name()).collect();
        f.debug_struct("OutboxBuilder")
            .field("providers", &names)
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}

impl OutboxBuilder {
    /// A third party that routes may name.
    pub fn provider(mut self, provider: impl Provider + 'static) -> OutboxBuilder {
        self.providers.push(Box::new(provider));
        self
    }

    /// A route. What is dispatched by a route that is not here waits, and so do later dispatches of its order.
    pub fn route(mut self, route: Route) -> OutboxBuilder {
        self.routes.push(route);
        self
    }

    /// Threads that call providers: as many orders at the same time, at most. 1 to 1,024; default 8.
    pub fn workers(mut self, workers: usize) -> OutboxBuilder {
        self.workers = workers;
        self
    }

    /// When a provider that does not answer is left alone. Default: [`BreakerPolicy::default`].
    pub fn breaker(mut self, breaker: BreakerPolicy) -> OutboxBuilder {
        self.breaker = breaker;
        self
    }

    /// Starts threads that deal with what the ledger has, and with what comes.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for routes or providers that can't be; [`ErrorKind::OutboxRuns`] when there is an outbox
    /// of this ledger already; [`ErrorKind::Io`], [`ErrorKind::Corrupt`] when the log can't be read.
    pub fn start(self, ledger: &Ledger) -> Result<Outbox> {
        let workers = self.workers;
        let mut outbox = self.step_by_step(ledger)?;
        let run: fn(&Shared) = Shared::work;
        let threads = (0..workers).map(|n| (format!("ledger-outbox-{n}"), run));
        let listener: fn(&Shared) = Shared::listen;
        for (name, run) in threads.chain([("ledger-outbox".to_owned(), listener)]) {
            let shared = Arc::clone(&outbox.shared);
            let thread = std::thread::Builder::new().name(name).spawn(move || run(&shared));
            // Those that were started end when this goes.
            outbox.threads.push(thread.map_err(|error| Error::io("starting a thread", error))?);
        }
        Ok(outbox)
    }

    /// An outbox without threads: [`Outbox::run_once`] does what is due, one at a time. For simulated disks and for
    /// programs with a loop of their own.
    ///
    /// # Errors
    /// Those of [`OutboxBuilder::start`].
    pub fn step_by_step(self, ledger: &Ledger) -> Result<Outbox> {
        let places = self.check()?;
        if !ledger.take_outbox() {
            return Err(Error::new(ErrorKind::OutboxRuns));
        }
        let parties = self.providers.into_iter();
        let parties = parties.map(|provider| Party::new(provider, self.breaker)).collect();
        let engine = Engine::new(ledger, self.routes, parties, places)
            .inspect_err(|_| ledger.give_outbox_back())?;
        let (wake, stopped) = (Condvar::new(), AtomicBool::new(false));
        ledger.show_outbox(engine.shown());
        Ok(Outbox { shared: Arc::new(Shared { engine, wake, stopped }), threads: Vec::new() })
    }

    /// Of each route, the places of its providers.
    fn check(&self) -> Result<Vec<Vec<usize>>> {
        let invalid = |what: String| Err(Error::new(ErrorKind::Invalid { what }));
        let names: Vec<&str> = self.providers.iter().map(|provider| provider.name()).collect();
        for (index, name) in names.iter().enumerate() {
            if !is_consumer_name(name) || names.iter().take(index).any(|other| other == name) {
                return invalid(format!("the provider {name:?} has no valid name, or one twice"));
            }
        }
        if !(1..=WORKERS_MAX).contains(&self.workers) || self.breaker.failures_max == 0 {
            return invalid("1 to 1024 workers, and a breaker that allows a failure".to_owned());
        }
        let mut places = Vec::new();
        for (index, route) in self.routes.iter().enumerate() {
            if let Some(what) = route.wrong() {
                return invalid(what);
            }
            if self.routes.iter().take(index).any(|other| other.name == route.name) {
                return invalid(format!("the route {} is there twice", route.name));
            }
            let mut of_route = Vec::new();
            for provider in &route.providers {
                match names.iter().position(|name| name == provider) {
                    Some(at) => of_route.push(at),
                    None => {
                        let name = &route.name;
                        return invalid(format!(
                            "the route {name} names {provider}, which is not here"
                        ));
                    }
                }
            }
            places.push(of_route);
        }
        Ok(places)
    }
}

impl Outbox {
    /// How one is to be.
    pub fn builder() -> OutboxBuilder {
        let (providers, routes) = (Vec::new(), Vec::new());
        OutboxBuilder { providers, routes, workers: 8, breaker: BreakerPolicy::default() }
    }

    /// Deals with one dispatch, if one is due: calls a provider at most once. May be called beside the threads.
    ///
    /// # Errors
    /// [`ErrorKind::Poisoned`], [`ErrorKind::Closed`], [`ErrorKind::InDoubt`]: nothing more can be done before the
    /// ledger is opened again; [`ErrorKind::Io`], [`ErrorKind::Corrupt`] when the log can't be read.
    pub fn run_once(&self) -> Result<Ran> {
        let engine = &self.shared.engine;
        let next = engine.next_job(&mut engine.board.lock())?;
        match next {
            Ok(job) => engine.run(&job).map(|()| Ran::Worked),
            Err(due_ns) => {
                let now_ns = engine.now().monotonic_ns;
                let left = due_ns.map(|due_ns| due_ns.saturating_sub(now_ns));
                Ok(Ran::Idle { next: left.map(Duration::from_nanos) })
            }
        }
    }

    /// How it is: what waits, and how the providers do.
    ///
    /// **Cost**: a look at each dispatch that is open or dead, in memory.
    #[must_use]
    pub fn stats(&self) -> OutboxStats {
        self.shared.engine.stats()
    }

    /// Stops: waits for the calls that are on their way, and for their results to be on disk. The same happens when it
    /// is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Poisoned`] when the ledger was; what was on its way is unknown then.
    pub fn stop(mut self) -> Result<()> {
        self.end();
        self.shared.engine.committer.check_poison()
    }

    fn end(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        {
            // With the lock: whoever is about to sleep has not looked yet.
            let _board = self.shared.engine.board.lock();
            self.shared.wake.notify_all();
        }
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// A thread that calls providers.
    fn work(&self) {
        let engine = &self.engine;
        loop {
            let mut board = engine.board.lock();
            if self.is_stopped() {
                return;
            }
            let ran = match engine.next_job(&mut board) {
                Ok(Ok(job)) => {
                    drop(board);
                    let ran = engine.run(&job);
                    // The next dispatch of the order may be due.
                    self.wake.notify_one();
                    ran
                }
                Ok(Err(due_ns)) => {
                    let left = due_ns.map_or(SLEEP_MAX, |due_ns| {
                        Duration::from_nanos(due_ns.saturating_sub(engine.now().monotonic_ns))
                    });
                    self.wake.wait_for(&mut board, left.min(SLEEP_MAX));
                    continue;
                }
                Err(error) => {
                    drop(board);
                    Err(error)
                }
            };
            if let Err(error) = ran
                && !self.goes_on_after(&error)
            {
                return;
            }
        }
    }

    /// The thread that reads what is recorded, and wakes the others.
    fn listen(&self) {
        let engine = &self.engine;
        loop {
            let (read, position) = {
                let mut board = engine.board.lock();
                if self.is_stopped() {
                    return;
                }
                let before = board.position();
                let read = engine.committer.check_goes_on();
                let read = read.and_then(|()| board.catch_up(engine.now()));
                if board.position() > before {
                    self.wake.notify_all();
                }
                (read, board.position())
            };
            match read {
                Ok(()) => {
                    let log = &engine.committer.lookup.log;
                    engine.committer.announcer.wait_for_record(log, position, SLEEP_MAX);
                    engine.committer.host.sleep(LISTEN_PAUSE);
                }
                Err(error) if !self.goes_on_after(&error) => return,
                Err(_) => {}
            }
        }
    }

    /// Whether there is anything to be done after this error; waits then.
    fn goes_on_after(&self, error: &Error) -> bool {
        let engine = &self.engine;
        *engine.last_error.lock() = Some(error.to_string());
        if engine.committer.check_goes_on().is_err() {
            return false;
        }
        engine.committer.host.sleep(SLEEP_MAX);
        true
    }
}
