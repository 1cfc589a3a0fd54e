//! The outbox: each third party does a thing once, nobody does it for another who may have done it, and nothing is
//! forgotten.
//!
//! The story: a payment times out, the program asks the next provider, and the card is charged twice; or it crashes
//! between the call and the note of it, and does not know on which side. Here the attempt is on disk before the call,
//! its result after, and what lies in between is unknown until somebody has found out.

mod breakers;
mod cuts;
mod histories;
mod reconcile;
mod rules;
pub(crate) mod world;

use std::time::Duration;

use order_ledger::{
    Dispatch, DispatchEntry, DispatchQuery, Ledger, LinkedBatch, LinkedResult, OrderId, Outbox,
    OutboxBuilder, Ran, RetryPolicy, Route, Seq, Soundness, verify_on,
};

use crate::support::{Machine, order};
use world::World;

/// Three attempts at each provider, given up after five minutes; a request is on its way for 20 seconds at most.
fn patient(route: Route) -> Route {
    let retry = RetryPolicy {
        base: Duration::from_secs(1),
        cap: Duration::from_secs(10),
        attempts_max: 3,
        age_max: Duration::from_secs(300),
    };
    route.retry(retry).settle(Duration::from_secs(20))
}

/// A route `pay` by `acme`, then `bank`, with what they are able to do.
fn pay(world: &World, knows_repeats: bool, looks: bool) -> OutboxBuilder {
    Outbox::builder()
        .provider(world.party("acme", knows_repeats, looks))
        .provider(world.party("bank", knows_repeats, looks))
        .route(patient(Route::new("pay", "acme").fallback("bank")))
}

/// The `n`-th order with these dispatches by `pay`, in one write.
fn ordered(n: u64, bodies: &[&str]) -> LinkedBatch {
    bodies.iter().fold(LinkedBatch::of_order(order(n)), |batch, body| {
        batch.dispatch(Dispatch::of_member(0, "pay", *body))
    })
}

fn taken(ledger: &Ledger, batch: &LinkedBatch) -> (OrderId, Vec<Seq>) {
    let linked = ledger.linked(batch).unwrap();
    let LinkedResult::Submitted(outcome) = &linked.results[0] else { panic!("{linked:?}") };
    let dispatches = linked.results.iter().filter_map(|result| match result {
        LinkedResult::Dispatched(dispatched) => Some(dispatched.dispatch),
        _ => None,
    });
    (outcome.receipt.order, dispatches.collect())
}

/// Does everything that is due, now and later, until nothing ever will be.
fn drain(outbox: &Outbox, machine: &Machine) -> order_ledger::Result<()> {
    for _ in 0..10_000 {
        match outbox.run_once()? {
            // Without power nothing can be done, and nothing is given up.
            _ if machine.disk.is_off() => return Ok(()),
            Ran::Worked => {}
            Ran::Idle { next: Some(next) } => machine.host.advance(next + Duration::from_nanos(1)),
            _ => return Ok(()),
        }
    }
    panic!("it never ends: {:?}", outbox.stats());
}

/// Every dispatch that waits for somebody.
fn waiting(ledger: &Ledger) -> Vec<DispatchEntry> {
    let all = DispatchQuery::all();
    let mut found = ledger.open_dispatches(&all).unwrap().dispatches;
    found.extend(ledger.dead_letters(&all).unwrap().dispatches);
    found
}

/// Every dispatch of every order.
fn all(ledger: &Ledger) -> Vec<DispatchEntry> {
    let orders: Vec<_> = ledger.orders().map(|order| order.unwrap().id()).collect();
    orders.iter().flat_map(|order| ledger.dispatches(*order).unwrap()).collect()
}

/// What is not done is on a list, and what is on a list is not done; nothing was done twice; the ledger says what the
/// world knows.
fn check(ledger: &Ledger, world: &World) -> Result<(), String> {
    world.check_once()?;
    let waiting = waiting(ledger);
    for entry in all(ledger) {
        world.check_told(&entry)?;
        let is_done = matches!(entry.state, order_ledger::DispatchState::Done { .. });
        if is_done == waiting.iter().any(|other| other.dispatch == entry.dispatch) {
            return Err(format!("on a list, or on none: {entry:?}"));
        }
    }
    Ok(())
}

fn assert_sound(machine: &Machine) {
    let report = verify_on(machine.disk.as_disk(), &machine.host, &mut |_, _| {}).unwrap();
    assert_eq!(report.soundness(), Soundness::Sound, "{:?}", report.findings);
}
