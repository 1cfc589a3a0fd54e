//! Taking orders: one by one, from several threads, in batches, deferred; each answer after its sync.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Instant;

use criterion::{BatchSize, Criterion, Throughput};
use order_ledger::Ledger;

mod support;
#[path = "support/timing.rs"]
mod timing;

use support::{Dir, done};

/// Tickets that the deferred pipeline keeps in flight.
const IN_FLIGHT: usize = 64;

fn main() {
    let dir = done(Dir::new("submit"));
    let ledger = done(Ledger::open(dir.join("orders.ledger")));
    let mut criterion = timing::criterion();
    submit(&mut criterion, &ledger);
    submit_many(&mut criterion, &ledger);
    deferred(&mut criterion, &ledger);
    criterion.final_summary();
    done(ledger.close());
}

fn submit(criterion: &mut Criterion, ledger: &Ledger) {
    let mut group = criterion.benchmark_group("submit");
    group.throughput(Throughput::Elements(1));
    for threads in [1, 8, 64] {
        let name = format!("{threads} threads");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                support::from_threads(&support::orders(count), threads, |order| {
                    black_box(done(ledger.submit(order)));
                })
            });
        });
    }
    group.finish();
}

fn submit_many(criterion: &mut Criterion, ledger: &Ledger) {
    let mut group = criterion.benchmark_group("submit_many");
    for batch in [10, 100, 1_000, 8_000] {
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(batch.to_string(), |bencher| {
            bencher.iter_batched_ref(
                || support::orders(batch),
                |orders| {
                    for result in ledger.submit_many(orders) {
                        black_box(done(result));
                    }
                },
                BatchSize::NumBatches(20),
            );
        });
    }
    group.finish();
}

fn deferred(criterion: &mut Criterion, ledger: &Ledger) {
    let mut group = criterion.benchmark_group("submit_deferred");
    group.throughput(Throughput::Elements(1));
    group.bench_function(format!("{IN_FLIGHT} in flight"), |bencher| {
        bencher.iter_custom(|count| {
            let orders = support::orders(usize::try_from(count).unwrap_or(usize::MAX));
            let mut tickets = VecDeque::with_capacity(IN_FLIGHT);
            let started = Instant::now();
            for order in &orders {
                if tickets.len() == IN_FLIGHT
                    && let Some(oldest) = tickets.pop_front()
                {
                    wait(oldest);
                }
                tickets.push_back(ledger.submit_deferred(order));
            }
            tickets.into_iter().for_each(wait);
            started.elapsed()
        });
    });
    group.finish();
}

fn wait(mut ticket: order_ledger::Ticket) {
    black_box(done(ticket.wait(None)));
}
