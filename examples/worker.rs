//! A worker that hears of new orders, works on each, and survives being killed anywhere.
//!
//! It may do a piece of work twice (after a crash between the work and the commit), never skip one. The step
//! itself is taken once, because its command key is the event.
//!
//! `cargo run --example worker`

use std::time::Duration;

use order_ledger::{ErrorKind, EventFilter, Ledger, State, Submission, Transition};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?; // yours is a directory that stays
    let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
    for (cart, what) in [("cart-1", "2 x tea"), ("cart-2", ""), ("cart-3", "1 x coffee")] {
        ledger.submit(&Submission::new("web-shop", cart, what))?;
    }

    // Only new orders; what is passed over counts as done.
    let mut packing = ledger.consumer("packing")?.filter(EventFilter::all().state(State::Accepted));
    loop {
        let events = packing.poll(10, Duration::from_millis(100))?;
        if events.is_empty() {
            break; // a real one goes on waiting
        }
        for event in events {
            let Some(order) = ledger.get(event.order)? else { continue };
            if order.payload.is_empty() {
                // Nobody can pack nothing: aside with it, so that the others are not held up.
                packing.park(event.seq, "an order without content")?;
            } else {
                // Work on it here. Then say so, once, however often this event comes.
                let packed = Transition::new(event.order, State::Completed)
                    .command_key(format!("packing-{}", event.seq))
                    .evidence("packed_by", "line 4");
                match ledger.transition(&packed) {
                    Ok(done) => report(&format!("order {}: {}", done.order, done.how)),
                    // Cancelled meanwhile: nothing to do.
                    Err(error) if matches!(error.kind(), ErrorKind::AlreadyTerminal { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            packing.commit(event.seq)?;
        }
    }

    for parked in ledger.parked("packing")? {
        report(&format!("order {} was set aside: {}", parked.event.order, parked.why));
    }
    assert_eq!(ledger.parked("packing")?.len(), 1);
    assert_eq!(ledger.stats()?.states, [(State::Accepted, 1), (State::Completed, 2)]);
    ledger.close()?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example talks to its reader")]
fn report(line: &str) {
    println!("{line}");
}
