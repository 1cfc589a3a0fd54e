//! What the shops of `payments` and `payments_killed` have in common: what follows from what a third party has done,
//! and the comparison of both sides' books.

use std::error::Error;

use order_ledger::{
    Dispatch, Event, EventBody, Ledger, LinkedBatch, Reconcile, Reconciliation, Sent, State,
    TheirItem, Timestamp, Transition,
};

/// Everything that ever was.
pub(crate) const ALWAYS: (Timestamp, Timestamp) =
    (Timestamp::from_unix_ns(0), Timestamp::from_unix_ns(u64::MAX));

/// What follows from an event, to be recorded in one write with the place in the feed; and whether the order is
/// completed by it. `None`: nothing does.
pub(crate) fn follows(
    ledger: &Ledger,
    event: &Event,
) -> order_ledger::Result<Option<(LinkedBatch, bool)>> {
    let EventBody::Reported { dispatch, report: Sent::Done { .. }, .. } = event.body else {
        return Ok(None);
    };
    let told = ledger.dispatches(event.order)?;
    let is_payment = told.iter().any(|it| it.dispatch == dispatch && it.route == "payment");
    let step = |to| Transition::new(event.order, to).command_key(format!("{dispatch}"));
    let batch = match is_payment {
        true => LinkedBatch::of_step(step(State::Confirmed)).dispatch(Dispatch::new(
            event.order,
            "parcel",
            "to the door",
        )),
        false => LinkedBatch::of_step(step(State::Completed)),
    };
    Ok(Some((batch, !is_payment)))
}

/// Our payments by a provider against its list, item by item, with their amounts.
pub(crate) fn compare(
    ledger: &Ledger,
    provider: &str,
    theirs: &[TheirItem],
) -> order_ledger::Result<Reconciliation> {
    let (first, last) = ALWAYS;
    let period = Reconcile::new("payment", provider, first, last).our_fields(|ours| {
        let amount = String::from_utf8_lossy(&ours.body).into_owned();
        [("amount".to_owned(), amount)].into()
    });
    ledger.reconcile(&period, theirs)
}

/// Says how the providers did.
pub(crate) fn report_providers(ledger: &Ledger) -> Result<(), Box<dyn Error>> {
    let (first, last) = ALWAYS;
    for it in ledger.provider_sla(first, last)? {
        let (percent, unknown) = (it.success_ppm() / 10_000, it.unknown);
        report(&format!(
            "{}: {} calls, {percent} % answered, {unknown} unknown",
            it.provider, it.attempts
        ));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example talks to its reader")]
pub(crate) fn report(line: &str) {
    println!("{line}");
}
