//! The operations whose instructions are counted: what an order costs the CPU.
//!
//! callgrind counts from the call of a function below to its return. What its `setup` makes is not counted, and
//! neither is what it hands back, which is dropped later. Always true: one thread, and no system call but for
//! memory. How many orders each takes stands in `src/lib.rs`.

#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "made by the macros of gungraun"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use gungraun::{
    Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use order_ledger::{
    Consumer, Event, Ledger, Linked, LinkedBatch, Order, Outcome, Receipt, Result, State,
    Submission, Transition, Transitioned, VerifyReport, verify_on,
};
use order_ledger_counts as counts;

mod disk;
mod ledgers;

use disk::MemoryDisk;
use ledgers::{Content, Filled, PAYLOAD_BYTES, contents, done, hashed_orders, must, orders};

/// Orders that are there before fresh ones are counted: the first ones of a ledger pay for tables that grow.
const BEFORE: usize = 1_000;

/// Orders of one batch.
const BATCH: usize = 1_000;

/// Tickets in flight.
const IN_FLIGHT: usize = 64;

/// Orders of one linked batch.
const LINKED_ORDERS: usize = 10;

/// The payload of large orders.
const LARGE_PAYLOAD_BYTES: usize = 4 * 1024;

/// Where the open segment is, in most of them.
const ROOM: u64 = ledgers::LARGE_SEGMENT_BYTES;

type Fresh = (Filled, Vec<Submission>);
type Answers = Vec<Result<Outcome>>;
type Found = Vec<Result<Option<Order>>>;

// Fresh orders.

#[library_benchmark]
#[bench::orders(contents(9, counts::BUILD, PAYLOAD_BYTES))]
fn build(contents: Vec<Content>) -> (Vec<Content>, Vec<Submission>) {
    let made = contents.iter().map(|it| {
        Submission::new("bench", it.key.as_slice(), it.payload.as_slice())
            .fingerprint(it.fingerprint)
    });
    let made = black_box(made.collect());
    (contents, made)
}

/// A ledger, and these orders that it has not seen.
fn beside(orders: Vec<Submission>) -> Fresh {
    (ledgers::in_open_segment(ledgers::orders(1, BEFORE, PAYLOAD_BYTES), ROOM), orders)
}

#[library_benchmark]
#[bench::orders(beside(orders(9, counts::SUBMIT, PAYLOAD_BYTES)))]
fn submit(input: Fresh) -> (Fresh, Answers) {
    let answers = one_by_one(&input.0.ledger, &input.1);
    (input, answers)
}

#[library_benchmark]
#[bench::orders(beside(orders(9, counts::SUBMIT_MANY, PAYLOAD_BYTES)))]
fn submit_many(input: Fresh) -> (Fresh, Vec<Answers>) {
    let answers = in_batches(&input.0.ledger, &input.1);
    (input, answers)
}

#[library_benchmark]
#[bench::orders(beside(hashed_orders(9, counts::SUBMIT_MANY_HASHED)))]
fn submit_many_hashed(input: Fresh) -> (Fresh, Vec<Answers>) {
    let answers = in_batches(&input.0.ledger, &input.1);
    (input, answers)
}

#[library_benchmark]
#[bench::orders(beside(orders(9, counts::SUBMIT_MANY_LARGE, LARGE_PAYLOAD_BYTES)))]
fn submit_many_large(input: Fresh) -> (Fresh, Vec<Answers>) {
    let answers = in_batches(&input.0.ledger, &input.1);
    (input, answers)
}

#[library_benchmark]
#[bench::orders((ledgers::merged(16), orders(9, counts::SUBMIT_INTO_MERGED, PAYLOAD_BYTES)))]
fn submit_into_merged(input: Fresh) -> (Fresh, Answers) {
    let answers = input.0.ledger.submit_many(&input.1);
    (input, black_box(answers))
}

#[library_benchmark]
#[bench::orders(beside(orders(9, counts::DEFERRED, PAYLOAD_BYTES)))]
fn deferred(input: Fresh) -> (Fresh, Answers) {
    let ledger = &input.0.ledger;
    let mut answers = Vec::with_capacity(input.1.len());
    for orders in input.1.chunks(IN_FLIGHT) {
        let tickets: Vec<_> = orders.iter().map(|order| ledger.submit_deferred(order)).collect();
        // Without threads nobody else writes.
        ledger.pump();
        answers.extend(tickets.into_iter().map(|mut ticket| ticket.wait(None)));
    }
    (input, black_box(answers))
}

// The same key again.

/// A ledger, and half of its orders.
fn known(count: usize) -> Filled {
    ledgers::in_open_segment(orders(1, 2 * count, PAYLOAD_BYTES), ROOM).pick(count)
}

/// As [`known`], without fingerprints of the caller's own.
fn known_hashed(count: usize) -> Filled {
    ledgers::in_open_segment(hashed_orders(1, 2 * count), ROOM).pick(count)
}

/// As [`known`], but the orders ask for other things under their keys.
fn changed(count: usize) -> Filled {
    let mut filled = known(count);
    for (order, content) in filled.orders.iter_mut().zip(contents(9, count, PAYLOAD_BYTES)) {
        *order =
            Submission::new("bench", order.key(), content.payload).fingerprint(content.fingerprint);
    }
    filled
}

#[library_benchmark]
#[bench::orders(known(counts::REPLAY))]
fn replay(filled: Filled) -> (Filled, Answers) {
    let answers = one_by_one(&filled.ledger, &filled.orders);
    (filled, answers)
}

#[library_benchmark]
#[bench::orders(known_hashed(counts::REPLAY_HASHED))]
fn replay_hashed(filled: Filled) -> (Filled, Answers) {
    let answers = one_by_one(&filled.ledger, &filled.orders);
    (filled, answers)
}

#[library_benchmark]
#[bench::orders(known(counts::REPLAY_MANY))]
fn replay_many(filled: Filled) -> (Filled, Answers) {
    let answers = filled.ledger.submit_many(&filled.orders);
    (filled, black_box(answers))
}

#[library_benchmark]
#[bench::orders(changed(counts::CONFLICT))]
fn conflict(filled: Filled) -> (Filled, Answers) {
    let answers = one_by_one(&filled.ledger, &filled.orders);
    (filled, answers)
}

// Reading.

#[library_benchmark]
#[bench::orders(known(counts::GET_OPEN))]
fn get_open(filled: Filled) -> (Filled, Found) {
    let found = get(&filled);
    (filled, found)
}

#[library_benchmark]
#[bench::orders(ledgers::sealed(3).without_last().pick(counts::GET_SEALED))]
fn get_sealed(filled: Filled) -> (Filled, Found) {
    let found = get(&filled);
    (filled, found)
}

#[library_benchmark]
#[bench::orders(known(counts::BY_KEY_OPEN))]
fn by_key_open(filled: Filled) -> (Filled, Found) {
    let found = by_key(&filled.ledger, &filled.orders);
    (filled, found)
}

#[library_benchmark]
#[bench::orders(ledgers::sealed(3).without_last().pick(counts::BY_KEY_SEALED))]
fn by_key_sealed(filled: Filled) -> (Filled, Found) {
    let found = by_key(&filled.ledger, &filled.orders);
    (filled, found)
}

#[library_benchmark]
#[bench::orders(ledgers::merged(16).without_last().pick(counts::BY_KEY_MERGED))]
fn by_key_merged(filled: Filled) -> (Filled, Found) {
    let found = by_key(&filled.ledger, &filled.orders);
    (filled, found)
}

#[library_benchmark]
#[bench::orders((ledgers::merged(16), orders(9, counts::BY_KEY_ABSENT, PAYLOAD_BYTES)))]
fn by_key_absent(input: Fresh) -> (Fresh, Found) {
    let found = by_key(&input.0.ledger, &input.1);
    (input, found)
}

// The life of an order.

type Steps = (Filled, Vec<Transition>);

/// A ledger, and a step for each of these orders of it.
fn to_completed(count: usize) -> Steps {
    let filled = known(count);
    let steps = filled.ids.iter().map(|id| Transition::new(*id, State::Completed)).collect();
    (filled, steps)
}

#[library_benchmark]
#[bench::orders(to_completed(counts::TRANSITION))]
fn transition(input: Steps) -> (Steps, Vec<Result<Transitioned>>) {
    let answers = input.1.iter().map(|step| input.0.ledger.transition(step)).collect();
    (input, black_box(answers))
}

#[library_benchmark]
#[bench::orders(to_completed(counts::TRANSITION_MANY))]
fn transition_many(input: Steps) -> (Steps, Vec<Result<Transitioned>>) {
    let answers = input.0.ledger.transition_many(&input.1);
    (input, black_box(answers))
}

/// A ledger, and batches of orders that it has not seen.
fn batches(count: usize) -> (Filled, Vec<LinkedBatch>) {
    let (filled, orders) = beside(orders(9, count, PAYLOAD_BYTES));
    let batch = |orders: &[Submission]| {
        let first = orders.first().map(|order| order.key().to_vec()).unwrap_or_default();
        orders.iter().fold(LinkedBatch::new(first), |batch, order| batch.submit(order.clone()))
    };
    let batches = orders.chunks(LINKED_ORDERS).map(batch).collect();
    (filled, batches)
}

#[library_benchmark]
#[bench::orders(batches(counts::LINKED))]
fn linked(input: (Filled, Vec<LinkedBatch>)) -> ((Filled, Vec<LinkedBatch>), Vec<Result<Linked>>) {
    let answers = input.1.iter().map(|batch| input.0.ledger.linked(batch)).collect();
    (input, black_box(answers))
}

/// A ledger whose orders nobody has heard of, and a consumer.
fn consumed(count: usize) -> (Filled, Consumer) {
    let filled = ledgers::in_open_segment(orders(1, count, PAYLOAD_BYTES), ROOM);
    let consumer = done(filled.ledger.consumer("bench"));
    (filled, consumer)
}

#[library_benchmark]
#[bench::orders(consumed(counts::EVENTS))]
fn events(mut input: (Filled, Consumer)) -> ((Filled, Consumer), Vec<Event>) {
    let events = done(input.1.poll(counts::EVENTS, Duration::ZERO));
    must(events.len() == counts::EVENTS, "every order is an event");
    (input, black_box(events))
}

// The whole log.

/// What a process leaves that is killed right after its last answer.
fn killed(count: usize) -> MemoryDisk {
    let room = ledgers::FITTING_SEGMENT_BYTES;
    ledgers::in_open_segment(orders(1, count, PAYLOAD_BYTES), room).disk.copy()
}

#[library_benchmark]
#[bench::orders(killed(counts::OPEN_KILLED))]
fn open_killed(disk: MemoryDisk) -> Ledger {
    black_box(ledgers::open(&disk, ledgers::FITTING_SEGMENT_BYTES))
}

#[library_benchmark]
#[bench::orders(known(counts::SCAN / 2))]
fn scan(filled: Filled) -> (Filled, usize) {
    let count = filled.ledger.orders().map(|order| drop(black_box(done(order)))).count();
    (filled, count)
}

#[library_benchmark]
#[bench::orders(killed(counts::VERIFY))]
fn verify(disk: MemoryDisk) -> VerifyReport {
    black_box(done(verify_on(Arc::new(disk), &*ledgers::host(), &mut |_, _| {})))
}

// The upkeep.

fn one_full() -> Filled {
    let filled = ledgers::full(1);
    must(filled.in_full_segments() == counts::SEAL, "so many orders are sealed");
    filled
}

#[library_benchmark]
#[bench::orders(one_full())]
fn seal(filled: Filled) -> Filled {
    filled.ledger.tick();
    filled
}

fn three_sealed_and_one_full() -> Filled {
    let mut filled = ledgers::sealed(3);
    filled.fill(4);
    must(filled.in_full_segments() == counts::MERGE, "so many orders are merged");
    filled
}

#[library_benchmark]
#[bench::orders(three_sealed_and_one_full())]
fn merge(filled: Filled) -> Filled {
    filled.ledger.tick();
    filled
}

// Receipts.

fn receipts(count: usize) -> Vec<Receipt> {
    let filled = ledgers::in_open_segment(orders(1, count, PAYLOAD_BYTES), ROOM);
    let outcomes = filled.ledger.submit_many(&filled.orders).into_iter();
    outcomes.map(|outcome| done(outcome).receipt).collect()
}

fn printed(count: usize) -> Vec<String> {
    receipts(count).iter().map(Receipt::to_string).collect()
}

#[library_benchmark]
#[bench::orders(receipts(counts::RECEIPT_PRINT))]
fn receipt_print(receipts: Vec<Receipt>) -> Vec<String> {
    black_box(receipts.iter().map(Receipt::to_string).collect())
}

#[library_benchmark]
#[bench::orders(printed(counts::RECEIPT_PARSE))]
fn receipt_parse(texts: Vec<String>) -> (Vec<String>, usize) {
    let sound = texts.iter().filter(|text| black_box(text.parse::<Receipt>()).is_ok()).count();
    (texts, sound)
}

// What they have in common.

fn one_by_one(ledger: &Ledger, orders: &[Submission]) -> Answers {
    black_box(orders.iter().map(|order| ledger.submit(order)).collect())
}

fn in_batches(ledger: &Ledger, orders: &[Submission]) -> Vec<Answers> {
    black_box(orders.chunks(BATCH).map(|orders| ledger.submit_many(orders)).collect())
}

fn get(filled: &Filled) -> Found {
    black_box(filled.ids.iter().map(|id| filled.ledger.get(*id)).collect())
}

fn by_key(ledger: &Ledger, orders: &[Submission]) -> Found {
    black_box(orders.iter().map(|order| ledger.by_key("bench", order.key())).collect())
}

library_benchmark_group!(
    name = operations,
    benchmarks = [
        build,
        submit,
        submit_many,
        submit_many_hashed,
        submit_many_large,
        submit_into_merged,
        deferred,
        replay,
        replay_hashed,
        replay_many,
        conflict,
        get_open,
        get_sealed,
        by_key_open,
        by_key_sealed,
        by_key_merged,
        by_key_absent,
        transition,
        transition_many,
        linked,
        events,
        open_killed,
        scan,
        verify,
        seal,
        merge,
        receipt_print,
        receipt_parse
    ]
);

main!(
    config = LibraryBenchmarkConfig::default()
        // Instructions are all that is held against the baseline.
        .tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = operations
);
