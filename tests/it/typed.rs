//! The typed front: values in, values out, and the traps of rule 12.

use std::collections::BTreeMap;

use order_ledger::{ErrorKind, Field, Fingerprint, How, Orders, Submission};
use serde::{Deserialize, Serialize};

use crate::support::Machine;

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
