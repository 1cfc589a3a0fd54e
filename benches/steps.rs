//! What happens to orders after they were taken: steps in batches and from threads, events read by a consumer,
//! and how soon one who waits for an order is told.
//!
//! `cargo bench --bench steps`; the last table is printed by itself, because criterion keeps no percentiles.

use std::hint::black_box;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput};
use order_ledger::{Consumer, Ledger, OrderId, State, Submission, Transition};

mod support;
#[path = "support/timing.rs"]
mod timing;
#[path = "support/views.rs"]
mod views;

use support::{Dir, done};
use views::wait_for_views;

/// Rounds, and batches of 1,000 in each half of one, beside a consumer that is blocked.
const BLOCKED_ROUNDS: usize = 21;
const BLOCKED_BATCHES: u64 = 50;

/// Events that the reading consumer is given in one call.
const EVENTS_PER_POLL: usize = 10_000;
/// Events that the consumer reads.
const EVENTS: usize = 1_000_000;
/// How often somebody waits for an order.
const WAITS: usize = 2_000;

fn main() {
    let dir = done(Dir::new("steps"));
    let ledger = done(Ledger::open(dir.join("orders.ledger")));
    let mut criterion = timing::criterion();
    batches(&mut criterion, &ledger);
    threads(&mut criterion, &ledger);
    criterion.final_summary();
    events(&ledger);
    waits(&ledger, "while the views catch up");
    wait_for_views(&ledger);
    waits(&ledger, "with views that are fed as it goes");
    beside_a_blocked_consumer(&ledger);
    done(ledger.close());
}

/// So many orders that exist.
fn taken(ledger: &Ledger, count: usize) -> Vec<OrderId> {
    let mut ids = Vec::with_capacity(count);
    for batch in support::orders(count).chunks(1_000) {
        ids.extend(ledger.submit_many(batch).into_iter().map(|it| done(it).receipt.order));
    }
    ids
}

fn to_completed(ids: &[OrderId]) -> Vec<Transition> {
    ids.iter().map(|id| Transition::new(*id, State::Completed)).collect()
}

fn batches(criterion: &mut Criterion, ledger: &Ledger) {
    let mut group = criterion.benchmark_group("transition_many");
    for batch in [100, 1_000] {
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(batch.to_string(), |bencher| {
            bencher.iter_batched_ref(
                || to_completed(&taken(ledger, batch)),
                |steps| {
                    for result in ledger.transition_many(steps) {
                        black_box(done(result));
                    }
                },
                BatchSize::NumBatches(20),
            );
        });
    }
    group.finish();
}

/// Different orders from 64 threads, beside the same number of orders submitted.
fn threads(criterion: &mut Criterion, ledger: &Ledger) {
    let mut group = criterion.benchmark_group("64 threads");
    group.throughput(Throughput::Elements(1));
    group.bench_function("transition", |bencher| {
        bencher.iter_custom(|count| {
            let steps = to_completed(&taken(ledger, usize::try_from(count).unwrap_or(usize::MAX)));
            support::from_threads(&steps, 64, |step| {
                black_box(done(ledger.transition(step)));
            })
        });
    });
    group.bench_function("submit", |bencher| {
        bencher.iter_custom(|count| {
            let orders = support::orders(usize::try_from(count).unwrap_or(usize::MAX));
            support::from_threads(&orders, 64, |order| {
                black_box(done(ledger.submit(order)));
            })
        });
    });
    group.finish();
}

/// One consumer reads a warm log.
fn events(ledger: &Ledger) {
    taken(ledger, EVENTS);
    let mut consumer = done(ledger.consumer("bench"));
    let (started, mut read) = (Instant::now(), 0);
    while read < EVENTS {
        let events = done(consumer.poll(EVENTS_PER_POLL, Duration::ZERO));
        read += events.len();
        black_box(&events);
    }
    let rate = per_second(read, started.elapsed());
    support::say(&format!(
        "consumer: {rate} events/s ({read} events, {EVENTS_PER_POLL} in a call)"
    ));
}

/// Batches beside a consumer that was given an event and never comes back for another, and without one: a ratio
/// inside each round, in turns.
fn beside_a_blocked_consumer(ledger: &Ledger) {
    let batches = || -> Vec<_> { (0..BLOCKED_BATCHES).map(|_| support::orders(1_000)).collect() };
    let timed = |batches: &[Vec<Submission>]| {
        let started = Instant::now();
        for batch in batches {
            for result in ledger.submit_many(batch) {
                black_box(done(result));
            }
        }
        started.elapsed().as_secs_f64()
    };
    let beside = |batches: &[Vec<Submission>]| {
        let mut blocked = done(ledger.consumer("blocked"));
        black_box(done(blocked.poll(1, Duration::ZERO)));
        let took = timed(batches);
        must_be_behind(&blocked);
        took
    };
    let mut ratios: Vec<f64> = (0..BLOCKED_ROUNDS)
        .map(|round| {
            let (first, second) = (batches(), batches());
            match round % 2 {
                0 => timed(&first) / beside(&second),
                _ => {
                    let with = beside(&first);
                    timed(&second) / with
                }
            }
        })
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let at = |place: usize| ratios.get(place).copied().unwrap_or(f64::NAN);
    let (half, least, most) = (at(BLOCKED_ROUNDS / 2), at(0), at(BLOCKED_ROUNDS - 1));
    support::say(&format!(
        "submit beside a blocked consumer: {half:.2} of the rate without one ({least:.2} to {most:.2})"
    ));
}

/// It was blocked: nothing that came since was given to it.
fn must_be_behind(consumer: &Consumer) {
    let behind = consumer.lag() >= BLOCKED_BATCHES * 1_000;
    done(behind.then_some(()).ok_or("the consumer was not blocked"));
}

/// From the return of the step, which is after its sync, to the return of the one who waited.
fn waits(ledger: &Ledger, when: &str) {
    let ids = taken(ledger, WAITS);
    let mut late_ns = Vec::with_capacity(WAITS);
    std::thread::scope(|scope| {
        let (ask, asked) = mpsc::channel::<OrderId>();
        let (tell, told) = mpsc::channel();
        scope.spawn(move || {
            for id in asked {
                done(ledger.wait_for(id, &[State::Completed], Duration::from_secs(60)));
                done(tell.send(Instant::now()));
            }
        });
        for id in &ids {
            done(ask.send(*id));
            // Until it waits.
            std::thread::park_timeout(Duration::from_micros(300));
            let step = Transition::new(*id, State::Completed);
            done(ledger.transition(&step));
            let synced = Instant::now();
            late_ns.push(done(told.recv()).saturating_duration_since(synced).as_nanos());
        }
    });
    late_ns.sort_unstable();
    let at =
        |percent: usize| late_ns.get(late_ns.len() * percent / 100).copied().unwrap_or(0) / 1000;
    let (half, most) = (at(50), at(99));
    support::say(&format!(
        "wait_for {when}: told {half} us after the step returned, p99 {most} us"
    ));
}

fn per_second(count: usize, elapsed: Duration) -> u128 {
    count as u128 * 1_000_000_000 / elapsed.as_nanos().max(1)
}
