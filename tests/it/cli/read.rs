//! The commands that only look: what they show, that they change nothing, and what they answer when
//! there is nothing to show.

use order_ledger::{
    Committed, LinkedBatch, Options, Refusal, State, Submission, Transition, Validator, Verdict,
};
use serde_json::{Value, json};

use super::run::{Place, column, content};

struct NotSold;

impl Validator for NotSold {
    fn validate(&self, submission: &Submission, _: &Committed<'_>) -> Verdict {
        match submission.payload() {
            b"\"forbidden\"" => {
                Verdict::RefuseFinal(Refusal { code: 7, reason: "not sold here".into() })
            }
            _ => Verdict::Accept,
        }
    }
}

/// A small ledger with everything that is hard to show: other accounts, a refusal, bytes that are not
/// text, JSON over several lines, control characters.
fn sample() -> Place {
    let place = Place::new();
    let options = Options::new().segment_bytes(1024 * 1024).validator(NotSold);
    let ledger = options.open(place.ledger()).unwrap();
    let order = |key: &[u8], payload: &[u8]| Submission::new("web", key, payload);
    for submission in [
        order(b"k1", br#"{"tea": 2}"#).account("ALFKI").external_ref("PO-1").kind("rush").schema(3),
        order(b"k2", b"\"forbidden\"").account("ALFKI"),
        order(b"k3", b"{\n  \"tea\":\r\n  1\n}").account("BERGS"),
        order(b"k4\xff", b"\x00\x01not json").account([0xfe]),
        order(b"k5\x1b[31m", b"plain words").account("ALFKI"),
    ] {
        // The refusal is an error, and recorded.
        drop(ledger.submit(&submission));
    }
    ledger.close().unwrap();
    place
}

#[test]
fn dump_shows_every_order_as_it_was_submitted() {
    insta::assert_snapshot!(sample().run("dump", &[]).shown());
}

#[test]
fn get_and_find_show_one_order_by_number_receipt_or_key() {
    let place = sample();
    let by_id = place.run("get", &["1"]);
    insta::assert_snapshot!(by_id.shown());
    let json = place.run("get", &["1", "--json"]);
    insta::assert_snapshot!(json.shown());
    let receipt = json.json()["receipt"].as_str().unwrap().to_owned();
    // As it comes over the telephone.
    let spelt = format!("  {}  ", receipt.to_lowercase().replace("olr1", "0LRI"));
    for order in [&receipt, &spelt] {
        assert_eq!(place.run("get", &[order]).out, by_id.out);
    }
    let by_key = place.run("find", &["--client", "web", "--key", "k1", "--json"]);
    assert_eq!(by_key.out, json.out);
    insta::assert_snapshot!(place.run("get", &["5"]).shown());
}

#[test]
fn what_is_not_there_is_exit_1() {
    let place = sample();
    insta::assert_snapshot!(place.run("get", &["99"]).shown(), @"
    exit 1
    there is no order 99
    ");
    insta::assert_snapshot!(place.run("find", &["--client", "web", "--key", "k9", "--json"]).shown(), @r#"
    exit 1
    {"found":false,"why":"no order of client web under key k9: submitting it is safe"}
    "#);
    assert_eq!(place.run("history", &["99"]).code, 1);
    let other = sample();
    let receipt = other.run("get", &["1", "--json"]).json()["receipt"].as_str().unwrap().to_owned();
    for command in ["get", "history"] {
        let ran = place.run(command, &[&receipt]);
        assert_eq!(ran.code, 1);
        assert!(ran.out.starts_with("the receipt is of ledger"), "{}", ran.out);
    }
    // One character was misheard.
    let (front, last) = receipt.split_at(receipt.len() - 1);
    let misheard = format!("{front}{}", if last == "0" { "8" } else { "0" });
    let ran = place.run("get", &[&misheard]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("its checksum does not hold"), "{}", ran.err);
}

#[test]
fn history_tells_what_happened() {
    let place = sample();
    insta::assert_snapshot!(place.run("history", &["2"]).shown());
    insta::assert_snapshot!(place.run("history", &["2", "--json"]).shown());
}

#[test]
fn list_filters_and_goes_on_page_by_page() {
    let place = sample();
    let list = |args: &[&str]| {
        let ran = place.run("list", &[args, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let page = ran.json();
        let orders: Vec<Value> = page["orders"].as_array().unwrap().clone();
        (column(&orders, "order_id").join(" "), page["next"].clone(), orders)
    };
    assert_eq!(list(&[]).0, "1 2 3 4 5");
    assert_eq!(list(&["--account", "ALFKI"]).0, "1 2 5");
    assert_eq!(list(&["--account", "ALFKI", "--state", "refused"]).0, "2");
    assert_eq!(list(&["--account", "nobody"]).0, "");
    let (_, _, orders) = list(&["--state", "accepted"]);
    let third = orders[1]["accepted_at"].as_str().unwrap();
    assert_eq!(list(&["--since", third]).0, "3 4 5");
    assert_eq!(list(&["--until", third]).0, "1 2");
    assert_eq!(list(&["--external-ref", "PO-1"]).0, "1");
    assert_eq!(list(&["--external-ref", "nobody's"]).0, "");
    assert_eq!(list(&["--batch", "none"]).0, "");
    assert_eq!(list(&["--since", "2020-01-01"]).0, "1 2 3 4 5");
    assert_eq!(list(&["--since", "2200-01-01"]).0, "");
    let (first, next, _) = list(&["--limit", "2"]);
    assert_eq!(first, "1 2");
    let (second, next, _) = list(&["--limit", "2", "--after", next.as_str().unwrap()]);
    assert_eq!(second, "3 4");
    let (third, next, _) = list(&["--limit", "2", "--after", next.as_str().unwrap()]);
    assert_eq!((&third[..], next), ("5", Value::Null));
    insta::assert_snapshot!(place.run("list", &["--limit", "3"]).shown());
}

#[test]
fn list_shows_what_a_linked_batch_took_and_changed() {
    let place = Place::new();
    let ledger = Options::new().segment_bytes(1024 * 1024).open(place.ledger()).unwrap();
    let order = |key: &str| Submission::new("web", key, "tea");
    let cart = ledger.submit(&order("cart")).unwrap().receipt.order;
    let batch = LinkedBatch::new("split-17")
        .submit(order("parcel-1"))
        .transition(Transition::new(cart, State::Completed))
        .submit(order("parcel-2"));
    ledger.linked(&batch).unwrap();
    ledger.close().unwrap();
    let page = place.run("list", &["--batch", "split-17", "--json"]).json();
    let keys: Vec<_> = page["orders"].as_array().unwrap().iter().map(|it| &it["key"]).collect();
    assert_eq!(keys, ["parcel-1", "cart", "parcel-2"]);
    assert_eq!(page["orders"][0]["batch"], 2);
    assert_eq!(place.run("list", &["--batch", "split-17", "--state", "accepted"]).code, 2);
}

#[test]
fn stats_count_and_tell_of_the_last_opening() {
    let place = sample();
    let mut stats = place.run("stats", &["--json"]).json();
    let opened = stats["last_open"].as_object_mut().unwrap();
    assert!(opened.remove("elapsed_ns").unwrap().as_u64().unwrap() > 0);
    // Which way groups go is up to the file system.
    assert!(opened.remove("past_cache").unwrap().is_boolean());
    assert_eq!(stats["ledger"].as_str().unwrap().len(), 32);
    stats.as_object_mut().unwrap().remove("ledger");
    let expected = json!({
        "orders": 5, "states": {"accepted": 4, "refused": 1}, "records": 5, "last_seq": 5,
        "segments": 1, "log_bytes": 1024 * 1024,
        "segments": 1, "key_tables": 1,
        "last_open": {
            "created": true, "segments": 1, "segments_scanned": 1, "records": 0,
            "records_scanned": 0, "torn_bytes": 0, "torn_why": null, "segments_resealed": 0,
            "tables_rebuilt": 0, "leftovers_removed": 0, "clock_behind_ns": 0,
        },
    });
    assert_eq!(stats, expected);
    let text = place.run("stats", &[]).out;
    assert!(text.contains("4 accepted, 1 refused"), "{text}");
    assert!(text.contains("groups are written"), "{text}");
}

/// Rule 37: looking takes no lock and changes no byte, of a closed ledger and of a killed one.
#[test]
fn rule_37_looking_changes_no_byte() {
    let place = sample();
    let before = content(&place.ledger());
    for (command, args) in [
        ("get", &["1"][..]),
        ("find", &["--client", "web", "--key", "k1"]),
        ("history", &["1"]),
        ("list", &["--account", "ALFKI"]),
        ("dump", &[]),
        ("stats", &[]),
        ("lifecycle", &[]),
        ("verify", &[]),
    ] {
        assert_eq!(place.run(command, args).code, 0, "{command}");
        assert!(before == content(&place.ledger()), "{command}");
    }
}
