//! What happens, seen from outside: `tail` and `wait`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use super::run::Place;

fn seqs(out: &str) -> Vec<u64> {
    let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap();
    out.lines().map(line).collect()
}

/// A ledger with five orders, the second and the fourth completed.
fn place() -> Place {
    let place = Place::new();
    let orders: String = (1..=5)
        .map(|n| format!("{{\"key\":\"k{n}\",\"account\":\"A{}\",\"order\":{n}}}\n", n % 2))
        .collect();
    let orders = place.write("orders.jsonl", orders);
    let args = ["--client", "web", "--from", orders.to_str().unwrap()];
    assert_eq!(place.run("submit", &args).code, 0);
    for order in ["2", "4"] {
        assert_eq!(place.run("transition", &[order, "completed"]).code, 0);
    }
    place
}

#[test]
fn tail_shows_every_event_and_only_what_is_asked_for() {
    let place = place();
    let all = place.run("tail", &["--json"]);
    assert_eq!((all.code, seqs(&all.out)), (0, (1..=7).collect()));
    assert_eq!(seqs(&place.run("tail", &["--json", "--since-seq", "6"]).out), [6, 7]);
    assert_eq!(seqs(&place.run("tail", &["--json", "--state", "completed"]).out), [6, 7]);
    assert_eq!(seqs(&place.run("tail", &["--json", "--account", "A1"]).out), [1, 3, 5]);
    let text = place.run("tail", &["--state", "completed"]).out;
    assert_eq!(text.lines().count(), 2);
    assert!(text.contains("order 2  completed"), "{text}");
    assert_eq!(place.run("tail", &["--state", "nonsense"]).code, 2);
    assert_eq!(place.run("tail", &["--consumer", "c", "--follow"]).code, 2);
    assert_eq!(Place::new().run("tail", &[]).code, 4, "no ledger is made");
}

#[test]
fn tail_with_a_consumer_goes_on_where_it_was() {
    let place = place();
    let first = place.run("tail", &["--json", "--consumer", "billing"]);
    assert_eq!((first.code, seqs(&first.out)), (0, (1..=7).collect()));
    let nothing = place.run("tail", &["--json", "--consumer", "billing"]);
    assert_eq!((nothing.code, nothing.out.as_str()), (0, ""));
    assert_eq!(place.run("transition", &["1", "completed"]).code, 0);
    let next = place.run("tail", &["--json", "--consumer", "billing"]);
    assert_eq!(seqs(&next.out).len(), 1);
    // Another one has a place of its own.
    assert_eq!(seqs(&place.run("tail", &["--json", "--consumer", "mail"]).out).len(), 8);
}

#[test]
fn tail_follows_a_writer_and_wait_ends_when_the_order_is_there() {
    let place = place();
    let mut tail = place
        .command("tail", &["--json", "--follow", "--since-seq", "7"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    assert_eq!(seqs(&lines.next().unwrap().unwrap()), [7]);
    let waits = place
        .command("wait", &["5", "completed", "failed", "--timeout", "60"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(place.run("wait", &["5", "completed", "--timeout", "0.05"]).code, 1);
    assert_eq!(place.run("transition", &["5", "completed", "--reason", "done"]).code, 0);
    let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((line["order_id"].as_u64(), line["reason"].as_str()), (Some(5), Some("done")));
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert_eq!(waits.wait_with_output().unwrap().status.code(), Some(0));
    // It is there, it never will be, it is not at all.
    assert_eq!(place.run("wait", &["5", "completed"]).code, 0);
    assert_eq!(place.run("wait", &["5", "failed"]).code, 1);
    assert_eq!(place.run("wait", &["99", "failed"]).code, 1);
    assert_eq!(place.run("wait", &["5", "nonsense"]).code, 2);
}
