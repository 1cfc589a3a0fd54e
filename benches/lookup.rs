//! What needs no sync: the same order again, another order under its key, reading by id, by key and by
//! account.
//!
//! The orders lie in several segments, most of them sealed, and are asked for in a random order.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use order_ledger::{Ledger, Options, OrderId, Query, Submission, Views};

mod support;
#[path = "support/views.rs"]
mod views;

use support::{Dir, done};
use views::wait_for_views;

const ORDERS: usize = 100_000;
const BATCH: usize = 1_000;
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
/// Each has as many orders as fill one page, all over the log.
const ACCOUNTS: usize = ORDERS / Query::LIMIT_DEFAULT;

fn main() {
    let dir = done(Dir::new("lookup"));
    let mut criterion = Criterion::default()
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args();
    // In memory: the last segment of a ledger that is not full. On disk: sealed segments.
    for (place, segment_bytes) in [("open", 16 * SEGMENT_BYTES), ("sealed", SEGMENT_BYTES)] {
        // The views answer none of this; being fed, they would take a core.
        let options = Options::new().segment_bytes(segment_bytes).views(Views::Off);
        let (ledger, mut orders) = support::filled(&options, &dir.join(place), ORDERS);
        let ids = shuffle(&ledger, &mut orders);
        again(&mut criterion, place, &ledger, &orders);
        read(&mut criterion, place, &ledger, &orders, &ids);
        done(ledger.close());
    }
    pages(&mut criterion, &dir);
    criterion.final_summary();
}

/// Puts the orders into a random order; answers their ids, in it.
fn shuffle(ledger: &Ledger, orders: &mut [Submission]) -> Vec<OrderId> {
    // The keys are random: sorted by them, the orders lie anywhere in the log.
    orders.sort_by(|left, right| left.key().cmp(right.key()));
    ledger.submit_many(orders).into_iter().map(|result| done(result).receipt.order).collect()
}

fn again(criterion: &mut Criterion, place: &str, ledger: &Ledger, orders: &[Submission]) {
    let conflicts: Vec<_> = orders
        .iter()
        .map(|order| Submission::new("bench", order.key(), "something else"))
        .collect();
    let mut group = criterion.benchmark_group(format!("again, {place}"));
    group.throughput(Throughput::Elements(1));
    let mut cycle = orders.iter().cycle();
    group.bench_function("replay", |bencher| {
        bencher.iter(|| cycle.next().map(|order| black_box(done(ledger.submit(order)))));
    });
    let mut cycle = conflicts.iter().cycle();
    group.bench_function("conflict", |bencher| {
        bencher.iter(|| cycle.next().map(|order| black_box(ledger.submit(order).is_err())));
    });
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut cycle = orders.chunks(BATCH).cycle();
    group.bench_function("replay, submit_many", |bencher| {
        bencher.iter(|| cycle.next().map(|orders| black_box(ledger.submit_many(orders))));
    });
    group.finish();
}

fn read(
    criterion: &mut Criterion,
    place: &str,
    ledger: &Ledger,
    orders: &[Submission],
    ids: &[OrderId],
) {
    let mut group = criterion.benchmark_group(format!("read, {place}"));
    group.throughput(Throughput::Elements(1));
    let mut cycle = ids.iter().cycle();
    group.bench_function("get", |bencher| {
        bencher.iter(|| cycle.next().map(|id| black_box(done(ledger.get(*id)))));
    });
    let mut cycle = orders.iter().cycle();
    group.bench_function("by_key", |bencher| {
        bencher.iter(|| {
            cycle.next().map(|order| black_box(done(ledger.by_key("bench", order.key()))))
        });
    });
    group.bench_function("by_key, never seen", |bencher| {
        let mut key = [0; 32];
        bencher.iter(|| {
            rand::fill(&mut key);
            black_box(done(ledger.by_key("bench", key)))
        });
    });
    group.finish();
}

/// The first page of an account, by the views once they have caught up.
fn pages(criterion: &mut Criterion, dir: &Dir) {
    let ledger = done(Options::new().segment_bytes(SEGMENT_BYTES).open(dir.join("pages")));
    let orders: Vec<_> = (0..)
        .zip(support::orders(ORDERS))
        .map(|(number, order)| order.account(format!("account {}", number % ACCOUNTS)))
        .collect();
    for batch in orders.chunks(BATCH) {
        ledger.submit_many(batch).into_iter().for_each(|result| {
            done(result);
        });
    }
    wait_for_views(&ledger);
    let queries: Vec<_> =
        (0..ACCOUNTS).map(|number| Query::all().account(format!("account {number}"))).collect();
    let mut group = criterion.benchmark_group("page");
    group.throughput(Throughput::Elements(Query::LIMIT_DEFAULT as u64));
    let mut cycle = queries.iter().cycle();
    group.bench_function("of an account, 100 orders", |bencher| {
        bencher.iter(|| cycle.next().map(|query| black_box(done(ledger.page(query)))));
    });
    group.finish();
    done(ledger.close());
}
