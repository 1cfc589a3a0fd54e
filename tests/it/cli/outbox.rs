//! What third parties are to be told, on the command line: what waits is listed, dead letters are sent on their way
//! again, and their list is compared with ours.

use std::time::Duration;

use order_ledger::{
    Call, Dispatch, LinkedBatch, Options, Outbox, Provider, Ran, RetryPolicy, Route, Sent,
    Submission,
};
use serde_json::json;

use super::run::{Place, Ran as Answer, column, program};

/// Does what the body says.
struct Acme;

impl Provider for Acme {
    fn name(&self) -> &str {
        "acme"
    }

    fn send(&self, call: &Call) -> Sent {
        let said = String::from_utf8_lossy(&call.body).into_owned();
        match said {
            said if said.contains("no") => {
                Sent::Refused { code: 402, why: "no \u{1b} money".into() }
            }
            said if said.contains("lost") => Sent::Unknown { why: "timeout".into() },
            _ => Sent::Done { reference: format!("ch_{}", call.dispatch).into_bytes() },
        }
    }
}

/// A ledger with these dispatches, each dealt with once as its body says; `wait` is not.
fn told(bodies: &[&str]) -> Place {
    let place = Place::new();
    let ledger = Options::new().segment_bytes(1 << 20).open(place.ledger()).unwrap();
    for (number, body) in bodies.iter().enumerate() {
        let route = if body.contains("wait") { "parcel" } else { "payment" };
        let order = Submission::new("web", format!("k{number}"), "tea");
        let batch = LinkedBatch::of_order(order);
        ledger.linked(&batch.dispatch(Dispatch::of_member(0, route, *body))).unwrap();
    }
    let retry = RetryPolicy { base: Duration::from_secs(3600), ..RetryPolicy::default() };
    let retry = RetryPolicy { cap: Duration::from_secs(7200), ..retry };
    let outbox = Outbox::builder()
        .provider(Acme)
        .route(Route::new("payment", "acme").retry(retry))
        .step_by_step(&ledger)
        .unwrap();
    // What was lost is retried within the hour, at a random time: rarely at once.
    for _ in 0..2 * bodies.len() {
        if let Ran::Idle { .. } = outbox.run_once().unwrap() {
            break;
        }
    }
    drop(outbox);
    ledger.close().unwrap();
    place
}

fn outbox(place: &Place, command: &str, args: &[&str]) -> Answer {
    let mut run = program();
    run.args(["outbox", command, "--dir"]).arg(place.ledger()).args(args);
    place.finish(run, b"")
}

#[test]
fn what_waits_is_listed_for_programs_and_for_people() {
    let place = told(&["done", "no", "lost", "wait", "no"]);
    let open = outbox(&place, "list", &["--json"]);
    assert_eq!(open.code, 0, "{}", open.err);
    let open = open.json();
    let rows = open["dispatches"].as_array().unwrap();
    assert_eq!(column(rows, "dispatch"), ["9", "12"]);
    assert_eq!(column(rows, "order_id"), ["8", "11"]);
    assert_eq!(column(rows, "state"), ["unknown", "waiting"]);
    assert_eq!(column(rows, "in_doubt"), ["acme", "-"]);
    assert_eq!(column(rows, "route"), ["payment", "parcel"]);
    assert_eq!(column(rows, "body"), ["lost", "wait"]);
    assert_eq!(open["next"], json!(null));
    let dead = outbox(&place, "list", &["--json", "--dead", "--limit", "1"]).json();
    assert_eq!(column(dead["dispatches"].as_array().unwrap(), "dispatch"), ["6"]);
    let next = dead["next"].as_str().unwrap();
    let dead = outbox(&place, "list", &["--json", "--dead", "--after", next]).json();
    assert_eq!(column(dead["dispatches"].as_array().unwrap(), "dispatch"), ["15"]);
    let dead = outbox(&place, "list", &["--dead"]).out;
    assert!(dead.contains("no \\u{1b} money") && !dead.contains('\u{1b}'), "{dead}");
    let parcels = outbox(&place, "list", &["--route", "parcel"]).out;
    assert!(parcels.contains("waiting") && !parcels.contains("unknown"), "{parcels}");
    let history = place.run("history", &["5", "--json"]).lines();
    assert_eq!(column(&history, "outbox"), ["-", "-", "attempted", "refused", "dead"]);
    assert_eq!(column(&history, "provider"), ["-", "-", "acme", "acme", "-"]);
    assert_eq!(column(&history, "state"), ["accepted", "-", "-", "-", "-"]);
    assert!(place.run("history", &["5"]).out.contains("dispatch 6: attempt 1, acme"));
    let figures = outbox(&place, "sla", &["--json"]).lines();
    assert_eq!((&figures[0]["attempts"], &figures[0]["unknown"]), (&json!(4), &json!(1)));
    assert!(outbox(&place, "sla", &[]).out.contains("75.00 %"));
    assert_eq!(place.run("verify", &[]).code, 0);
}

#[test]
fn dead_letters_are_sent_on_their_way_again_once() {
    let place = told(&["no", "no", "done"]);
    let redrive =
        |args: &[&str]| outbox(&place, "redrive", &[args, &["--segment-mib", "1"]].concat());
    let ran = redrive(&["3", "9", "77", "--why", "by hand", "--json"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    let lines = ran.lines();
    assert_eq!(column(&lines, "outcome"), ["redriven", "refused", "refused"]);
    assert_eq!(column(&lines, "error"), ["-", "not_dead", "no_such_dispatch"]);
    assert_eq!(column(&lines, "certainty"), ["-", "not_recorded", "not_recorded"]);
    assert_eq!(redrive(&["--all", "--route", "parcel"]).shown(), "exit 0\n");
    assert_eq!(redrive(&["--all"]).shown(), "exit 0\ndispatch 6: on its way again\n");
    assert_eq!(redrive(&[]).code, 2);
    assert_eq!(redrive(&["3", "--all"]).code, 2);
    let open = outbox(&place, "list", &["--json"]).json();
    assert_eq!(column(open["dispatches"].as_array().unwrap(), "state"), ["waiting", "waiting"]);
    let history = place.run("history", &["2", "--json"]).lines();
    assert_eq!(history.last().unwrap()["why"], "by hand");
    assert_eq!(place.run("verify", &[]).code, 0);
    // No ledger is made by a mistyped path.
    let nowhere = Place::new();
    assert_eq!(outbox(&nowhere, "redrive", &["1"]).code, 4);
    assert_eq!(outbox(&nowhere, "list", &[]).code, 4);
    assert!(!nowhere.ledger().exists());
}

#[test]
fn their_list_is_compared_as_csv_and_as_json_lines_and_a_second_run_changes_nothing() {
    let place = told(&[r#"{"amount": 8.40}"#, r#"{"amount": "7"}"#, r#"{"lost": 1}"#, "done"]);
    let reconcile = |list: &str, args: &[&str]| {
        let whole = [&["--route", "payment", "--provider", "acme", "--from", list], args].concat();
        place.run("reconcile", &[&whole[..], &["--segment-mib", "1"]].concat())
    };
    let token = outbox(&place, "list", &["--json"]).json()["dispatches"][0]["tokens"].clone();
    assert_eq!(token, json!(null), "found by its reference only when it is done");
    let ours = [3, 6, 9, 12].map(|dispatch| format!("ch_{dispatch}"));
    let csv = format!(
        "\u{feff}charge, gross ,merchant_ref\n{},8.4,\n{},\"7.01\",\n\"ch,x\",1,\n",
        ours[0], ours[1]
    );
    let list = place.write("november.csv", &csv);
    let list = list.to_str().unwrap();
    let columns = ["--reference", "charge", "--token", "merchant_ref", "--compare", "amount=gross"];
    let ran = reconcile(list, &[&columns[..], &["--json"]].concat());
    assert_eq!(ran.code, 1, "{}", ran.err);
    let lines = ran.lines();
    let compared = ["matched", "differs", "only_theirs", "still_unknown", "only_ours", "-"];
    assert_eq!(column(&lines, "compared"), compared);
    let differs = json!([{"field": "amount", "ours": "7", "theirs": "7.01"}]);
    assert_eq!(lines[1]["differs"], differs);
    assert_eq!(lines[5]["summary"]["only_ours"], 1);
    let shown = reconcile(list, &columns).out;
    assert!(shown.contains("amount: ours 7, theirs 7.01"), "{shown}");
    assert!(shown.contains("1 matched, 1 differs, 1 only_ours, 1 only_theirs"), "{shown}");
    // With all of it, by the token of what was lost.
    let token = lines[3]["token"].as_str().unwrap();
    let mut items: Vec<String> =
        [0, 1, 3].map(|index| json!({"reference": ours[index]}).to_string()).to_vec();
    items.push(json!({"token": token, "reference": "late"}).to_string());
    let list = place.write("list.jsonl", items.join("\n\n"));
    let list = list.to_str().unwrap();
    let ran = reconcile(list, &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("3 matched") && ran.out.contains("1 resolved_unknown"), "{}", ran.out);
    let ran = reconcile(list, &[]);
    assert_eq!(ran.shown().lines().count(), 2, "{}", ran.out);
    assert!(ran.out.starts_with("4 matched, 0 differs"), "{}", ran.out);
    assert_eq!(place.run("verify", &[]).code, 0);
}

#[test]
fn a_list_that_can_not_be_read_changes_nothing() {
    let place = told(&["lost"]);
    for (name, content, args) in [
        ("a.csv", "charge,gross\nx,1\n", &["--token", "nothing"][..]),
        ("a.csv", "token,reference\nx\n", &[]),
        ("a.csv", "token,reference\nx,y\n", &["--compare", "amount"]),
        ("a.csv", "token,reference\n\"x,y\n\u{0}", &["--format", "jsonl"]),
        ("a.jsonl", "{}\n", &[]),
        ("a.jsonl", "[]\n", &[]),
        ("a.jsonl", "tea\n", &[]),
    ] {
        let list = place.write(name, content);
        let from = ["--route", "payment", "--provider", "acme", "--from", list.to_str().unwrap()];
        let ran = place.run("reconcile", &[&from[..], args].concat());
        assert_eq!(ran.code, 2, "{content:?}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains("nothing was changed"), "{}", ran.err);
    }
    let from = ["--route", "payment", "--provider", "acme", "--from", "missing.csv"];
    assert_eq!(place.run("reconcile", &from).code, 4);
    let open = outbox(&place, "list", &["--json"]).json();
    assert_eq!(open["dispatches"][0]["state"], "unknown");
}
