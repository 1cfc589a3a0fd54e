//! Orders that are paid, shipped and completed by third parties of which one is flaky: each is charged once.
//!
//! Two simulated payment providers. `acme` loses requests, loses answers after it has done its work, and turns calls
//! away; it knows repeats by their token. `bank` stands in for it when surely nothing happened there. A carrier books the
//! parcels. At the end every order is completed, every card charged once, and both sides hold the same.
//!
//! `cargo run --example payments -- 200`

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use order_ledger::{
    BreakerPolicy, Call, Compared, Dispatch, Ledger, LinkedBatch, Outbox, Provider, RetryPolicy,
    Route, Sent, State, Submission, TheirItem, Token,
};

mod shop;
use shop::{compare, follows, report, report_providers};

/// What a provider has done, by token. It lives in another house.
type Books = Arc<Mutex<HashMap<Token, String>>>;

/// A third party that fails so many times out of eight.
struct Party {
    name: &'static str,
    failures_of_8: u64,
    calls: AtomicU64,
    books: Books,
}

impl Party {
    fn new(name: &'static str, failures_of_8: u64, books: &Books) -> Party {
        Party { name, failures_of_8, calls: AtomicU64::new(0), books: Arc::clone(books) }
    }
}

impl Provider for Party {
    fn name(&self) -> &str {
        self.name
    }

    fn send(&self, call: &Call) -> Sent {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let luck = number.wrapping_mul(5) % 8;
        let fails = luck < self.failures_of_8;
        if fails && luck == 0 {
            return Sent::NotSent { why: "turned away at the door".into() };
        }
        if fails && luck == 1 {
            // The request got lost. Nobody here can tell that from a lost answer.
            return Sent::Unknown { why: "no answer in time".into() };
        }
        let Ok(mut books) = self.books.lock() else {
            return Sent::Unknown { why: "no answer in time".into() };
        };
        let next = format!("{}-{}", self.name, books.len() + 1);
        // A token that is known is not done again.
        let reference = books.entry(call.token).or_insert(next).clone();
        match fails {
            // Done, and the answer got lost.
            true => Sent::Unknown { why: "no answer in time".into() },
            false => Sent::Done { reference: reference.into_bytes() },
        }
    }

    fn retry_unknown_with_same_token(&self) -> bool {
        true
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let orders: u64 = std::env::args().nth(1).map_or(Ok(50), |count| count.parse())?;
    let dir = tempfile::tempdir()?; // yours is a directory that stays
    let ledger = Ledger::open(dir.path().join("orders.ledger"))?;
    let (acme, bank, carrier) = (Books::default(), Books::default(), Books::default());
    let retry = RetryPolicy { base: Duration::from_millis(1), ..RetryPolicy::default() };
    let outbox = Outbox::builder()
        .provider(Party::new("acme", 4, &acme))
        .provider(Party::new("bank", 0, &bank))
        .provider(Party::new("carrier", 2, &carrier))
        .route(Route::new("payment", "acme").fallback("bank").retry(retry))
        .route(Route::new("parcel", "carrier").retry(retry))
        .breaker(BreakerPolicy { failures_max: 2, open_for: Duration::from_millis(50) })
        .start(&ledger)?;

    // The order and its payment: one write.
    for number in 0..orders {
        let order = Submission::new("web-shop", format!("cart-{number}"), "2 x tea");
        let pay = Dispatch::of_member(0, "payment", "8.40");
        ledger.linked(&LinkedBatch::of_order(order).dispatch(pay))?;
    }

    // What is done leads to the next step, in one write with what follows and with the consumer's place.
    let mut desk = ledger.consumer("desk")?;
    let mut completed = 0;
    while completed < orders {
        for event in desk.poll(100, Duration::from_secs(10))? {
            let Some((batch, completes)) = follows(&ledger, &event)? else { continue };
            completed += u64::from(completes);
            desk.commit_with(event.seq, batch)?;
        }
    }
    outbox.stop()?;

    // Each was charged once, by one of the two.
    let books = |books: &Books| books.lock().map(|it| it.clone()).unwrap_or_default();
    let (acme, bank, carrier) = (books(&acme), books(&bank), books(&carrier));
    assert_eq!((acme.len() + bank.len()) as u64, orders);
    assert_eq!(carrier.len() as u64, orders);
    assert_eq!(ledger.stats()?.states, [(State::Completed, orders)]);

    // And both sides say the same.
    for (provider, books) in [("acme", &acme), ("bank", &bank)] {
        let theirs = books.iter().map(|(token, reference)| TheirItem {
            token: token.to_string(),
            reference: reference.clone().into_bytes(),
            ..TheirItem::default()
        });
        let theirs: Vec<_> = theirs.collect();
        let compared = compare(&ledger, provider, &theirs)?;
        assert!(compared.is_clean());
        assert_eq!(compared.count(Compared::Matched), theirs.len());
        report(&format!("{provider}: {} charges, and we hold the same", theirs.len()));
    }
    report_providers(&ledger)?;
    ledger.close()?;
    Ok(())
}
