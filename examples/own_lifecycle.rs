//! States of one's own, and steps that demand evidence: `cargo run --example own_lifecycle`
//!
//! The same table as JSON, for the command line, is `examples/lifecycle.json`.

use std::time::Duration;

use order_ledger::{
    ErrorKind, Lifecycle, LifecycleError, Options, Query, State, StateRule, Submission, Transition,
};

// A state is its number, from 100, for as long as the ledger lives; names are for people.
const PICKED: State = State::own(100).unwrap();
const SHIPPED: State = State::own(101).unwrap();
const DELIVERED: State = State::own(102).unwrap();

/// Checked when it is built: every state can be reached, and only terminal ones have no way out.
fn table() -> Result<Lifecycle, LifecycleError> {
    Lifecycle::builder()
        .state(StateRule::new(PICKED, "picked").warn_after(Duration::from_secs(4 * 3600)))
        .state(StateRule::new(SHIPPED, "shipped"))
        .state(StateRule::terminal(DELIVERED, "delivered"))
        .edge(State::Accepted, PICKED)
        .edge(State::Accepted, State::Cancelled)
        // Nobody says "shipped" without a tracking number.
        .edge_with(PICKED, SHIPPED, ["tracking_number"])
        .edge_with(SHIPPED, DELIVERED, ["signed_by"])
        .build()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("orders.ledger");
    let ledger = Options::new().lifecycle(table()?).open(&path)?;
    let order = ledger.submit(&Submission::new("web-shop", "cart-17", "2 x tea"))?.receipt.order;

    ledger.transition(&Transition::new(order, PICKED))?;
    let ship = Transition::new(order, SHIPPED).command_key("parcel-9");
    match ledger.transition(&ship).map_err(|error| error.kind().clone()) {
        Err(ErrorKind::MissingEvidence { missing, .. }) => {
            report(&format!("not without: {}", missing.join(", ")));
            assert_eq!(missing, ["tracking_number"]);
        }
        other => return Err(format!("a step without its evidence: {other:?}").into()),
    }
    // Nothing was recorded by that, so its command key is still free.
    ledger.transition(&ship.evidence("tracking_number", "1Z999"))?;

    // Who is on the way?
    let on_the_way = ledger.page(&Query::all().state(SHIPPED))?;
    assert_eq!(on_the_way.orders.len(), 1);
    ledger.transition(&Transition::new(order, DELIVERED).evidence("signed_by", "N. Davolio"))?;
    ledger.close()?;

    // The table is stored with the ledger: nobody has to bring it again.
    let ledger = Options::new().open(&path)?;
    assert_eq!(ledger.lifecycle(), &table()?);
    let states: Vec<_> =
        ledger.history(order)?.iter().filter_map(|event| event.body.state()).collect();
    assert_eq!(states, [State::Accepted, PICKED, SHIPPED, DELIVERED]);
    let names: Vec<_> =
        states.iter().filter_map(|state| ledger.lifecycle().name_of(*state)).collect();
    report(&names.join(" -> "));

    // Another table may have more, and never less: no order is left in a state that nobody knows.
    ledger.close()?;
    let less = Lifecycle::builder().edge(State::Accepted, State::Completed).build()?;
    match Options::new().lifecycle(less).open(&path).map_err(|error| error.kind().clone()) {
        Err(ErrorKind::LifecycleMismatch { state }) => report(&format!("{state} must stay")),
        other => return Err(format!("a state was lost: {other:?}").into()),
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example talks to its reader")]
fn report(line: &str) {
    println!("{line}");
}
