//! Notes and holds on the command line: one by arguments, or lines in and answers out; durable before they are
//! printed, recorded once however often they are sent, and listed while they wait.

use serde_json::json;

use super::run::{Place, Ran, column, line};

/// A ledger with this many orders.
fn orders(count: usize) -> Place {
    let place = Place::new();
    assert_eq!(place.submit((0..count).map(line).collect::<String>()).code, 0);
    place
}

fn note(place: &Place, args: &[&str]) -> Ran {
    place.run("note", &[args, &["--segment-mib", "1"]].concat())
}

fn hold(place: &Place, args: &[&str]) -> Ran {
    place.run("hold", &[args, &["--segment-mib", "1"]].concat())
}

#[test]
fn every_line_has_its_answer_in_the_order_of_the_input() {
    let place = orders(2);
    let lines = r#"{"order_id":1,"text":"call them back","open":true,"author":"A. Fuller","command_key":"n1"}

{"order_id":1,"kind":"dispute","text":"one cup is broken","command_key":"n2"}
{"order_id":1,"resolve":3,"text":"done","command_key":"n3"}
{"order_id":2,"kind":"feedback","text":{"hex":"00ff"}}
{"order_id":1,"text":"other words","author":"A. Fuller","open":true,"command_key":"n1"}
{"order_id":99,"text":"t"}
{"order_id":1,"resolve":1,"text":"t"}
{"order_id":2,"text":"t","kind":"rant"}
tea"#;
    let send = || place.finish(place.command("note", &["--segment-mib", "1"]), lines.as_bytes());
    let first = send();
    assert_eq!(first.code, 3, "{}", first.err);
    let told = first.lines();
    assert_eq!(column(&told, "line"), ["1", "3", "4", "5", "6", "7", "8", "9", "10"]);
    let outcomes = [
        "fresh", "fresh", "fresh", "fresh", "conflict", "refused", "refused", "invalid", "invalid",
    ];
    assert_eq!(column(&told, "outcome"), outcomes);
    assert_eq!(column(&told, "seq"), ["3", "4", "5", "6", "-", "-", "-", "-", "-"]);
    let errors = ["command_conflict", "no_such_order", "no_open_note", "invalid", "invalid"];
    assert_eq!(column(&told[4..], "error"), errors);
    assert_eq!(told[4]["differs"], json!(["text"]));
    assert_eq!((&told[2]["resolves"], &told[2]["command_key"]), (&json!(3), &json!("n3")));
    assert!(told[4..].iter().all(|line| line["certainty"] == "not_recorded"
        && !line["why"].as_str().unwrap().is_empty()
        && !line["advice"].as_str().unwrap().is_empty()));
    // The same again: what has a key is answered as the first time.
    let again = send().lines();
    for index in 0..3 {
        assert_eq!(again[index]["outcome"], "replayed");
        assert_eq!(again[index]["seq"], told[index]["seq"]);
        assert_eq!(again[index]["at"], told[index]["at"]);
    }
    let history = place.run("history", &["1", "--json"]).lines();
    assert_eq!(column(&history, "seq"), ["1", "3", "4", "5"]);
    assert_eq!(column(&history, "state"), ["accepted", "-", "-", "-"]);
    assert_eq!(column(&history, "note"), ["-", "note", "dispute", "-"]);
    assert_eq!(column(&history, "resolves"), ["-", "-", "-", "3"]);
    assert_eq!(column(&history, "text")[1..], ["call them back", "one cup is broken", "done"]);
    assert_eq!(place.run("history", &["2", "--json"]).lines()[1]["text"], json!({"hex": "00ff"}));
    assert_eq!(place.run("verify", &[]).code, 0);
}

#[test]
fn one_note_by_arguments_and_the_list_of_what_waits() {
    let place = orders(2);
    let receipt = place.dump()[1]["receipt"].as_str().unwrap().to_owned();
    let shown = |args: &[&str]| note(&place, args).shown();
    let words = ["1", "--kind", "dispute", "--text", "one cup is broken", "--author", "N. D."];
    assert_eq!(shown(&words), "exit 0\norder 1: note 3\n");
    let by_receipt = [&receipt, "--text", "see to it", "--open", "--command-key", "k"];
    assert_eq!(shown(&by_receipt), "exit 0\norder 2: note 4\n");
    let again = shown(&by_receipt);
    assert_eq!(again, "exit 0\norder 2: note 4 at <time>, recorded before\n");
    let list = |args: &[&str]| place.run("list", &[&["--open-notes"], args].concat());
    let waits = list(&["--json"]).json();
    assert_eq!(column(waits["notes"].as_array().unwrap(), "seq"), ["3", "4"]);
    assert_eq!(waits["notes"][0]["author"], "N. D.");
    assert_eq!(waits["next"], json!(null));
    let page = list(&["--json", "--limit", "1"]).json();
    assert_eq!(page["next"], "after-3");
    assert!(list(&["--limit", "1"]).out.contains("more: --after after-3"));
    let rest = list(&["--json", "--after", "after-3"]).json();
    assert_eq!(column(rest["notes"].as_array().unwrap(), "order_id"), ["2"]);
    assert_eq!(list(&["--state", "accepted"]).code, 2);
    // Resolved once, and not by who names another order.
    let other = note(&place, &["2", "--resolve", "3", "--text", "t"]);
    assert_eq!(other.code, 3);
    assert!(other.out.contains("no_open_note"), "{}", other.out);
    let resolve = ["1", "--resolve", "3", "--text", "a new one was sent"];
    assert_eq!(shown(&resolve), "exit 0\norder 1: note 3 resolved (seq 5)\n");
    let again = shown(&resolve);
    assert_eq!(again, "exit 0\norder 1: note 3 resolved (seq 5) at <time>, recorded before\n");
    assert!(!list(&[]).out.contains("broken") && list(&[]).out.contains("see to it"));
    let people = place.run("history", &["1"]).out;
    assert!(people.contains("dispute by N. D.: one cup"), "{people}");
    assert!(people.contains("resolves 3: a new one"), "{people}");
    for bad in [
        &["1"][..],
        &["1", "--text", "t", "--kind", "rant"],
        &["1", "--text", "t", "--resolve", "3", "--open"],
        &["--text", "t"],
    ] {
        assert_eq!(note(&place, bad).code, 2, "{bad:?}");
    }
    assert_eq!(note(&place, &["9", "--text", "t"]).code, 3);
    let nowhere = Place::new();
    assert_eq!(note(&nowhere, &["1", "--text", "t"]).code, 4);
    assert!(!nowhere.ledger().exists(), "a mistyped path makes no ledger");
}

#[test]
fn a_hold_is_set_shown_and_released() {
    let place = orders(1);
    let shown = |args: &[&str]| hold(&place, args).shown();
    let account = ["--client", "web", "--account", "account-1"];
    let because = [&account[..], &["--reason", "chargeback", "--by", "N. D."]].concat();
    assert_eq!(shown(&because), "exit 0\nheld (seq 2)\n");
    assert_eq!(shown(&because), "exit 0\nheld already (seq 2)\n");
    assert_eq!(shown(&["--account", "X", "--reason", "court order"]), "exit 0\nheld (seq 3)\n");
    let listed = place.run("hold", &["--list", "--json"]).lines();
    assert_eq!(column(&listed, "client"), ["web", "null"]);
    assert_eq!(column(&listed, "account"), ["account-1", "X"]);
    assert_eq!(column(&listed, "reason"), ["chargeback", "court order"]);
    assert!(place.run("hold", &["--list"]).out.contains("any"));
    // Line 1 is of the account; what is refused is refused for good.
    let refused = place.submit(line(1));
    assert_eq!(refused.code, 3);
    let told = &refused.lines()[0];
    assert_eq!((&told["outcome"], &told["certainty"]), (&json!("refused"), &json!("recorded")));
    assert_eq!(place.submit(line(0)).lines()[0]["outcome"], "replayed");
    let dump = place.dump();
    assert_eq!(dump[1]["refusal"], json!({"code": 4_294_901_761u32, "reason": "chargeback"}));
    let release = [&account[..], &["--release", "--json"]].concat();
    let released = hold(&place, &release).json();
    assert_eq!((&released["outcome"], &released["is"]), (&json!("fresh"), &json!("released")));
    assert_eq!(hold(&place, &release).json()["outcome"], "replayed");
    assert_eq!(
        shown(&["--client", "never", "--release"]),
        "exit 0\nnever held: nothing to be released\n"
    );
    assert_eq!(place.submit(line(1)).lines()[0]["outcome"], "refused", "its key stays refused");
    assert_eq!(place.submit(line(8)).lines()[0]["outcome"], "fresh", "of the same account");
    for bad in [&[][..], &["--list", "--release"], &["--client", ""]] {
        assert_eq!(hold(&place, bad).code, 2, "{bad:?}");
    }
    let nowhere = Place::new();
    assert_eq!(hold(&nowhere, &["--client", "web"]).code, 4);
    assert_eq!(place.run("verify", &[]).code, 0);
}
