//! The typed front: values in, values out, and the traps of rule 12.

use std::collections::BTreeMap;
use std::time::Duration;

use order_ledger::{
    ErrorKind, EventFilter, Field, Fingerprint, How, Lifecycle, LinkedBatch, OrderStates, Orders,
    Query, State, Submission,
};
use serde::{Deserialize, Serialize};

use crate::support::{Machine, small};

#[derive(Serialize, Deserialize, PartialEq, Clone, Debug)]
struct Tea {
    sku: String,
    quantity: u32,
    notes: BTreeMap<String, String>,
}

fn tea(quantity: u32) -> Tea {
    let notes = BTreeMap::from([("gift".to_owned(), "yes".to_owned())]);
    Tea { sku: "assam".into(), quantity, notes }
}

#[test]
fn a_value_comes_back_as_it_went_in() {
    let machine = Machine::new(1);
    let orders: Orders<Tea> = Orders::new(machine.open());
    let first = orders.submit("web", "k", &tea(2)).unwrap();
    let again = orders.submit("web", "k", &tea(2)).unwrap();
    assert_eq!((again.how, again.receipt), (How::Replayed, first.receipt));
    let (order, value) = orders.get(first.receipt.order).unwrap().unwrap();
    assert_eq!((order.id(), value), (first.receipt.order, tea(2)));
    let (_, value) = orders.by_key("web", "k").unwrap().unwrap();
    assert_eq!(value, tea(2));
    assert!(orders.by_key("web", "other").unwrap().is_none());
}

#[test]
fn a_payload_that_is_no_such_value_is_a_codec_error() {
    let machine = Machine::new(2);
    let ledger = machine.open();
    for (key, payload) in [
        ("short", vec![9]),
        ("long", {
            let mut bytes = vec![0, 2, 0];
            bytes.push(0xee);
            bytes
        }),
    ] {
        ledger.submit(&Submission::new("web", key, payload)).unwrap();
        let orders: Orders<Tea> = Orders::new(ledger.clone());
        let error = orders.by_key("web", key).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Codec { .. }), "{key}: {error}");
    }
}

/// A deploy between two attempts added a field: the conflict says that the schema differs.
#[test]
fn rule_12_a_retry_after_a_deploy_names_the_schema() {
    #[derive(Serialize, Deserialize)]
    struct NewTea {
        sku: String,
        quantity: u32,
        notes: BTreeMap<String, String>,
        wrapped: bool,
    }
    let machine = Machine::new(3);
    let ledger = machine.open();
    let old: Orders<Tea> = Orders::with_schema(ledger.clone(), 1);
    old.submit("web", "k", &tea(2)).unwrap();
    let new: Orders<NewTea> = Orders::with_schema(ledger.clone(), 2);
    let Tea { sku, quantity, notes } = tea(2);
    let value = NewTea { sku, quantity, notes, wrapped: false };
    let error = new.submit("web", "k", &value).unwrap_err();
    let ErrorKind::Conflict { differs, .. } = error.kind() else { panic!("{error}") };
    assert_eq!(*differs, [Field::Schema, Field::Payload]);

    // The cure: let the stable fields decide.
    let stable = Fingerprint([1; 32]);
    let first = old.submission("web", "k2", &tea(2)).unwrap().fingerprint(stable);
    let again = new.submission("web", "k2", &value).unwrap().fingerprint(stable);
    let receipt = ledger.submit(&first).unwrap().receipt;
    assert_eq!(ledger.submit(&again).unwrap().receipt, receipt);
}

/// A lifecycle as an enum.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Brew {
    Ordered,
    Steeping,
    Served,
    Spilt,
}

impl OrderStates for Brew {
    const ALL: &'static [Brew] = &[Brew::Ordered, Brew::Steeping, Brew::Served, Brew::Spilt];

    fn state(self) -> State {
        const STEEPING: State = State::own(100).unwrap();
        match self {
            Brew::Ordered => State::Accepted,
            Brew::Steeping => STEEPING,
            Brew::Served => State::Completed,
            Brew::Spilt => State::Failed,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Brew::Steeping => "steeping",
            known => known.state().name(),
        }
    }

    fn next(self) -> &'static [Brew] {
        match self {
            Brew::Ordered => &[Brew::Steeping],
            Brew::Steeping => &[Brew::Served, Brew::Spilt],
            Brew::Served | Brew::Spilt => &[],
        }
    }

    fn evidence(self, to: Brew) -> &'static [&'static str] {
        if to == Brew::Served { &["minutes"] } else { &[] }
    }

    fn warn_after(self) -> Option<Duration> {
        (self == Brew::Steeping).then_some(Duration::from_secs(300))
    }
}

#[test]
fn rule_16_an_order_lives_by_an_enum_from_the_first_state_to_the_last() {
    let machine = Machine::new(9);
    let lifecycle = Lifecycle::of::<Brew>().unwrap();
    assert_eq!(lifecycle.thresholds(Brew::Steeping.state()).0, Some(Duration::from_secs(300)));
    let ledger = machine.open_with(&small().lifecycle(lifecycle)).unwrap();
    let orders = Orders::<Tea>::new(ledger.clone()).with_states::<Brew>().unwrap();
    let mut desk = orders.consumer("desk").unwrap().filter(EventFilter::all());
    let order = orders.submit("web", "k", &tea(2)).unwrap().receipt.order;
    assert_eq!(orders.state(order).unwrap(), Some((Brew::Ordered, 1)));
    let skipped = orders.transition(order, Brew::Served).unwrap_err();
    assert!(matches!(skipped.kind(), ErrorKind::NoSuchStep { .. }));
    orders.transition(order, Brew::Steeping).unwrap();
    let bare = orders.transition(order, Brew::Served).unwrap_err();
    assert!(matches!(bare.kind(), ErrorKind::MissingEvidence { .. }));
    let served = orders.step(order, Brew::Served).evidence("minutes", "4");
    let batch = LinkedBatch::new("b").transition(served);
    let events = desk.poll(9, Duration::ZERO).unwrap();
    let told: Vec<_> = events.iter().map(|it| (it.state, it.value.clone())).collect();
    assert_eq!(told, [(Some(Brew::Ordered), Some(tea(2))), (Some(Brew::Steeping), None)]);
    desk.commit(events[0].event.seq).unwrap();
    desk.commit_with(events[1].event.seq, batch).unwrap();
    assert_eq!(orders.wait_for(order, &[Brew::Served], Duration::ZERO).unwrap(), Brew::Served);
    let page = orders.page(&Query::all().state(Brew::Served.state())).unwrap();
    assert_eq!((page.orders.len(), &page.orders[0].1, page.next), (1, &tea(2), None));
    // Somebody else's order, which is no tea: told apart, and parked.
    ledger.submit(&Submission::new("web", "other", "\u{ff}")).unwrap();
    let strange = desk.poll(9, Duration::ZERO).unwrap();
    let last = strange.last().unwrap();
    assert_eq!((last.state, &last.value), (Some(Brew::Ordered), &None));
    desk.park(last.event.seq, "no tea").unwrap();
    assert!(matches!(orders.page(&Query::all()).unwrap_err().kind(), ErrorKind::Codec { .. }));
}

#[test]
fn a_ledger_with_another_lifecycle_is_no_ledger_of_the_enum() {
    let machine = Machine::new(10);
    let orders: Orders<Tea> = Orders::new(machine.open());
    let error = orders.clone().with_states::<Brew>().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::LifecycleMismatch { state: Brew::Steeping.state() });
    assert!(orders.with_states::<State>().is_ok());
}
