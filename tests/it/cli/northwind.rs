//! The main job on real input: 830 orders of the Northwind sample, when the file is there.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use super::alerts::AT_ONCE;
use super::kills::kill_in_the_middle;
use super::run::{Place, column};

/// The lines of the file; `None`, said aloud, when it is not there.
#[expect(
    clippy::print_stdout,
    reason = "a test that did not run must not look like one that passed"
)]
fn northwind() -> Option<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/northwind-orders.jsonl");
    match std::fs::read_to_string(path) {
        Ok(text) => Some(text.lines().map(|line| format!("{line}\n")).collect()),
        Err(error) => {
            println!("SKIPPED: {path}: {error}");
            None
        }
    }
}

#[test]
fn northwind_830_orders_twice_and_one_of_them_changed() {
    let Some(lines) = northwind() else { return };
    let place = Place::new();
    let first = place.submit(lines.concat());
    assert_eq!((first.code, lines.len()), (0, 830));
    let fresh = first.lines();
    assert!(column(&fresh, "outcome").iter().all(|outcome| outcome == "fresh"));

    let again = place.submit(lines.concat());
    assert_eq!(again.code, 0);
    assert_eq!(again.out, first.out.replace(r#""outcome":"fresh""#, r#""outcome":"replayed""#));
    assert_eq!(place.dump().len(), 830);

    let changed = lines[100].replacen(r#""freight_cents":"#, r#""freight_cents":9"#, 1);
    assert_ne!(changed, lines[100]);
    let conflict = place.submit(changed);
    assert_eq!(conflict.code, 3);
    let answer = &conflict.lines()[0];
    assert_eq!(answer["outcome"], "conflict");
    assert_eq!(answer["differs"], serde_json::json!(["payload"]));
    assert_eq!(answer["receipt"], fresh[100]["receipt"]);

    // Every order comes back as its very bytes.
    let dump = place.run("dump", &[]).out;
    for (sent, stored) in lines.iter().zip(dump.lines()) {
        let order = sent.split_once(r#""order":"#).unwrap().1.trim_end();
        assert!(stored.ends_with(&format!(r#""order":{order}"#)[..]), "{stored}");
    }
}

#[test]
fn northwind_killed_in_the_middle_is_completed_by_the_same_command() {
    let Some(lines) = northwind() else { return };
    let place = Place::new();
    let kills = [(3, 0), (200, 90), (415, 414), (830, 400), (830, 829)];
    let answers = kill_in_the_middle(&place, &lines, &kills);
    let receipts: BTreeSet<_> = column(&answers, "receipt").into_iter().collect();
    assert_eq!(receipts.len(), 830);
}

/// The steps of the orders that were shipped, as lines for `transition`, and the keys of those that never were.
fn shipped(lines: &[String], answers: &[Value]) -> (String, Vec<String>) {
    let (mut steps, mut open) = (String::new(), Vec::new());
    for (line, answer) in lines.iter().zip(answers) {
        let line: Value = serde_json::from_str(line).unwrap();
        match line["order"]["shipped_on"].as_str() {
            None => open.push(line["key"].as_str().unwrap().to_owned()),
            Some(date) => {
                let key = format!("shipped-{}", line["key"].as_str().unwrap());
                let step = json!({"order_id": answer["order_id"], "to": "completed",
                    "command_key": key, "expect_version": 1, "evidence": {"shipped_on": date}});
                steps += &format!("{step}\n");
            }
        }
    }
    (steps, open)
}

/// The life of real orders: accepted as they stand, completed where the file says when they were shipped.
/// Whoever asks what was never shipped gets exactly those, before the ledger is opened again and after.
#[test]
fn northwind_the_21_orders_that_never_shipped_are_found_by_their_state() {
    let Some(lines) = northwind() else { return };
    let place = Place::new();
    let taken = place.submit(lines.concat());
    assert_eq!(taken.code, 0);
    let (steps, open) = shipped(&lines, &taken.lines());
    assert_eq!((open.len(), steps.lines().count()), (21, 809));
    let found = || {
        let page = place.run("list", &["--state", "accepted", "--json"]).json();
        assert_eq!(page["next"], Value::Null);
        assert_eq!(column(page["orders"].as_array().unwrap(), "key"), open);
        let counts = place.run("stats", &["--json"]).json();
        assert_eq!(counts["states"], json!({"accepted": 21, "completed": 809}));
        assert_eq!(counts["records"], 830 + 809);
    };
    let transition =
        || place.finish(place.command("transition", &["--segment-mib", "1"]), steps.as_bytes());
    let first = transition();
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(first.lines().iter().all(|answer| answer["outcome"] == "fresh"));
    found();
    // The same command opens it again, and takes no step twice.
    let again = transition();
    assert_eq!(again.out, first.out.replace(r#""outcome":"fresh""#, r#""outcome":"replayed""#));
    found();
    let shipped = place.run("history", &["1", "--json"]).lines().remove(1);
    assert_eq!(shipped["evidence"], json!({"shipped_on": "1996-07-16"}));
}

/// The orders that never shipped raise an alert each, once, however often whoever watches is killed: before it has
/// raised any, in the middle, and behind the last.
#[test]
fn northwind_the_21_orders_that_never_shipped_raise_21_alerts_once_over_restarts_and_kills() {
    let Some(lines) = northwind() else { return };
    let place = Place::new();
    let lifecycle = place.write("lifecycle.json", AT_ONCE).display().to_string();
    let submit = ["--client", "web", "--segment-mib", "1", "--lifecycle", &lifecycle];
    let taken = place.finish(place.command("submit", &submit), lines.concat().as_bytes());
    assert_eq!(taken.code, 0, "{}", taken.err);
    let (steps, open) = shipped(&lines, &taken.lines());
    let ran = place.finish(place.command("transition", &["--segment-mib", "1"]), steps.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let raised = || {
        let page = place.run("alerts", &["--json"]).json();
        let alerts = page["alerts"].as_array().unwrap().clone();
        assert!(alerts.iter().all(|alert| alert["kind"] == "stuck_order"));
        column(&alerts, "order_id")
    };
    for told in [0, 1, 20, 21, 0, 0] {
        let watch = ["--segment-mib", "1", "--json", "--every", "0.01"];
        let mut command = place.command("watch", &watch);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let before = raised().len();
        // Those that are raised already are not told of again.
        let heard = output.lines().take(told - before.min(told)).count();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(heard <= 21 - before, "{heard} behind {before}");
        let once: BTreeSet<_> = raised().into_iter().collect();
        assert_eq!(once.len(), raised().len(), "one for each order");
    }
    let before = raised().len();
    let last = place.run("watch", &["--once", "--segment-mib", "1", "--json"]);
    assert_eq!((last.code, last.lines().len()), (0, 21 - before));
    let alerts = raised();
    assert_eq!(alerts.len(), 21);
    let key = |id: &String| column(&[place.run("get", &[id, "--json"]).json()], "key").remove(0);
    let keys: BTreeSet<_> = alerts.iter().map(key).collect();
    assert_eq!(keys, open.into_iter().collect());
    let stuck = place.run("stuck", &["--json"]).json();
    assert_eq!(stuck["orders"].as_array().unwrap().len(), 21);
    assert_eq!(place.run("verify", &[]).code, 0);
}
