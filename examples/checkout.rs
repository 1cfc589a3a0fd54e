//! The checkout of a web shop: `cargo run --example checkout`
//!
//! Three orders. The answer for the first is lost on the way to the shop, which asks again and has one order.
//! It is shipped, and the warehouse asks twice as well. The second is cancelled in time; the third too late,
//! so that whoever works on it decides.

use order_ledger::{ErrorKind, How, Ledger, OrderId, Receipt, State, Submission, Transition};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// What the shop knows of a cart. The key is made once, when the customer presses the button, and is stored
/// with the cart before anything is sent.
struct Cart {
    key: &'static str,
    customer: &'static str,
    content: &'static str,
}

fn main() -> Fallible<()> {
    let dir = tempfile::tempdir()?;
    let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
    let tea = Cart { key: "cart-17-7f3a", customer: "ALFKI", content: r#"{"sku":"tea","n":2}"# };
    let pot = Cart { key: "cart-18-09bc", customer: "ALFKI", content: r#"{"sku":"pot","n":1}"# };
    let cup = Cart { key: "cart-19-c21d", customer: "BERGS", content: r#"{"sku":"cup","n":6}"# };

    // The first attempt: the order is taken, and the connection breaks before the shop hears of it.
    let lost = checkout(&ledger, &tea)?;
    // The shop does not know. It sends the same key again, and need not know.
    let receipt = checkout(&ledger, &tea)?;
    assert_eq!(receipt, lost);
    assert_eq!(ledger.orders().count(), 1);

    ship(&ledger, receipt.order, "parcel-9", "1Z999")?;
    let history = ledger.history(receipt.order)?;
    assert_eq!(history.len(), 2, "accepted and completed, once each");

    // In time: nobody works on it.
    let order = checkout(&ledger, &pot)?.order;
    assert_eq!(cancel(&ledger, order)?, State::Cancelled);

    // Too late: it is being packed. The order waits in `Cancelling`, and the packer decides.
    let order = checkout(&ledger, &cup)?.order;
    ledger.transition(&Transition::new(order, State::InProgress).command_key("packing"))?;
    assert_eq!(cancel(&ledger, order)?, State::Cancelling);
    ship(&ledger, order, "parcel-10", "1Z1000")?;
    assert_eq!(cancel(&ledger, order)?, State::Completed);

    let stats = ledger.stats()?;
    assert_eq!(stats.states, [(State::Completed, 2), (State::Cancelled, 1)]);
    ledger.close()?;
    Ok(())
}

/// Safe to call again with the same cart, whatever became of the call before.
fn checkout(ledger: &Ledger, cart: &Cart) -> Fallible<Receipt> {
    let order = Submission::new("web-shop", cart.key, cart.content).account(cart.customer);
    let outcome = ledger.submit(&order)?;
    report(&format!("{}: order {}, {}", cart.key, outcome.receipt.order, outcome.how));
    Ok(outcome.receipt)
}

/// The parcel's number names the command: sent twice, it is one step.
fn ship(ledger: &Ledger, order: OrderId, parcel: &str, tracking: &str) -> Fallible<()> {
    let shipped = Transition::new(order, State::Completed)
        .command_key(parcel)
        .evidence("tracking_number", tracking);
    let first = ledger.transition(&shipped)?;
    let again = ledger.transition(&shipped)?;
    assert_eq!((first.how, again.how), (How::Fresh, How::Replayed));
    assert_eq!((first.seq, first.version), (again.seq, again.version));
    report(&format!("order {order}: {} -> {} with {tracking}", first.from, first.to));
    Ok(())
}

/// Where the order stands after somebody asked for its end.
fn cancel(ledger: &Ledger, order: OrderId) -> Fallible<State> {
    let state = match ledger.cancel(order, "the customer called") {
        Ok(done) => done.now.state,
        Err(error) => match error.kind() {
            // Finished: there is nothing left to cancel.
            ErrorKind::AlreadyTerminal { now } => now.state,
            _ => return Err(error.into()),
        },
    };
    report(&format!("order {order}: asked to cancel, now {state}"));
    Ok(state)
}

#[expect(clippy::print_stdout, reason = "an example talks to its reader")]
fn report(line: &str) {
    println!("{line}");
}
