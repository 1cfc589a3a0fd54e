//! Orders take steps: one by arguments, or lines in and answers out; in order, durable before they are
//! printed, taken once however often they are sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Command;

use serde_json::{Value, json};

use super::run::{Place, Ran, column, line, piped};

/// A ledger with this many orders.
fn orders(count: usize) -> Place {
    let place = Place::new();
    assert_eq!(place.submit((0..count).map(line).collect::<String>()).code, 0);
    place
}

fn step(place: &Place, args: &[&str]) -> Ran {
    place.run("transition", &[args, &["--segment-mib", "1"]].concat())
}

fn stepper(place: &Place) -> Command {
    place.command("transition", &["--segment-mib", "1"])
}

fn steps(place: &Place, lines: impl AsRef<[u8]>) -> Ran {
    place.finish(stepper(place), lines.as_ref())
}

#[test]
fn every_outcome_has_its_line_in_the_order_of_the_input() {
    let place = orders(3);
    let ran = steps(
        &place,
        r#"{"order_id":1,"to":"in_progress","command_key":"start","expect_state":"accepted"}

{"order_id":1,"to":"completed","command_key":"sent","expect_version":2,"evidence":{"tracking_number":"1Z"},"reason":"left"}
{"order_id":1,"to":"in_progress","command_key":"start"}
{"order_id":1,"to":"failed","command_key":"start","reason":"no"}
{"order_id":1,"to":"completed"}
{"order_id":1,"to":"failed","expect_version":3}
{"order_id":2,"to":"completed","expect_version":2}
{"order_id":2,"to":"refused"}
{"order_id":99,"to":"completed"}
{"order_id":2,"to":"gone"}
{"order_id":2,"to":"failed","evidence":{"a":"1","a":"2"}}
tea
{"order_id":3,"to":"failed"}"#,
    );
    insta::assert_snapshot!(ran.shown());
    // The same again: whoever has a key is answered as the first time.
    let again = steps(&place, r#"{"order_id":1,"to":"in_progress","command_key":"start"}"#);
    assert_eq!(again.code, 0);
    let (first, again) = (&ran.lines()[0], &again.lines()[0]);
    assert_eq!(again["outcome"], "replayed");
    for field in ["seq", "at", "from", "to", "to_version"] {
        assert_eq!(first[field], again[field], "{field}");
    }
    assert_eq!((&again["state"], &again["version"]), (&json!("completed"), &json!(3)));
}

/// The story: a warehouse keeps the pipe open and ships the next parcel when it has the answer.
#[test]
fn a_pipe_that_waits_gets_its_answer_at_once() {
    let place = orders(3);
    let mut child = piped(stepper(&place));
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for n in 1..=3 {
        input.write_all(format!("{{\"order_id\":{n},\"to\":\"completed\"}}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        output.read_line(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((&answer["outcome"], &answer["order_id"]), (&json!("fresh"), &json!(n)));
    }
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_file_fills_groups() {
    let place = orders(2000);
    let groups = || place.run("verify", &["--json"]).json()["groups"].as_u64().unwrap();
    let before = groups();
    let lines = (1..=2000).map(|n| format!("{{\"order_id\":{n},\"to\":\"completed\"}}\n"));
    let file = place.write("steps.jsonl", lines.collect::<String>());
    let ran = step(&place, &["--from", file.to_str().unwrap()]);
    assert_eq!((ran.code, &ran.err[..]), (0, ""));
    assert!(ran.lines().iter().all(|line| line["outcome"] == "fresh"));
    let numbers: Vec<_> = (1..=2000).map(|n| n.to_string()).collect();
    assert_eq!(column(&ran.lines(), "order_id"), numbers);
    let written = groups() - before;
    assert!(written <= 2000 / 8, "{written} groups for 2,000 steps");
    assert_eq!(place.run("stats", &["--json"]).json()["states"], json!({"completed": 2000}));
}

#[test]
fn one_step_by_arguments() {
    let place = orders(2);
    let receipt = place.dump()[0]["receipt"].as_str().unwrap().to_owned();
    let args = ["1", "confirmed", "--command-key", "c1", "--expect-version", "1"];
    let proof = ["--evidence", "signed_by=N. = D.", "--evidence", "scan=x", "--reason", "a call"];
    let whole = [&args[..], &proof[..]].concat();
    let shown = |args: &[&str]| step(&place, args).shown();
    insta::assert_snapshot!(shown(&whole), @"
    exit 0
    order 1: accepted -> confirmed (version 2)
    ");
    insta::assert_snapshot!(shown(&whole), @"
    exit 0
    order 1: accepted -> confirmed (version 2) at <time>, taken before
    ");
    // By its receipt, and as JSON.
    let by_receipt = [&[&receipt[..]], &whole[1..], &["--json"]].concat();
    insta::assert_snapshot!(shown(&by_receipt), @r#"
    exit 0
    {"order_id":1,"command_key":"c1","outcome":"replayed","seq":3,"at":"<time>","from":"accepted","to":"confirmed","to_version":2,"state":"confirmed","version":2}
    "#);
    insta::assert_snapshot!(shown(&["2", "accepted"]), @"
    exit 0
    order 2: in state accepted since <time>
    ");
    insta::assert_snapshot!(shown(&["1", "completed", "--expect-state", "accepted"]), @"
    exit 3
    order 1: version_mismatch: the order is in state confirmed with version 2, which is not what was expected
    next: look at where the order stands, and decide again
    ");
    insta::assert_snapshot!(shown(&["99", "completed", "--json"]), @r#"
    exit 3
    {"order_id":99,"outcome":"refused","certainty":"not_recorded","error":"no_such_order","why":"there is no order 99","advice":"look the order up by its key"}
    "#);
    insta::assert_snapshot!(place.run("history", &["1"]).shown());
    insta::assert_snapshot!(place.run("history", &["1", "--json"]).shown());
}

/// Bytes that are no text come in, are kept, and go out as what comes in.
#[cfg(unix)]
#[test]
fn evidence_and_keys_are_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let place = orders(2);
    let mut command = stepper(&place);
    command.args(["1", "completed", "--json"]);
    command.arg("--evidence").arg(OsStr::from_bytes(b"scan=\xff"));
    command.arg("--command-key").arg(OsStr::from_bytes(b"\xfe"));
    let ran = place.finish(command, b"");
    assert_eq!((ran.code, &ran.json()["command_key_hex"]), (0, &json!("fe")));
    let history = |order: &str| place.run("history", &[order, "--json"]).lines().remove(1);
    assert_eq!(history("1")["evidence"], json!({"scan": {"hex": "ff"}}));
    assert_eq!(history("1")["command_key_hex"], "fe");
    let line = json!({"order_id": 2, "to": "completed", "evidence": history("1")["evidence"]});
    assert_eq!(steps(&place, line.to_string()).code, 0);
    assert_eq!(history("2")["evidence"], history("1")["evidence"]);
}

#[test]
fn cancel_is_done_at_once_or_asked_for() {
    let place = orders(2);
    let cancel = |args: &[&str]| place.run("cancel", &[args, &["--segment-mib", "1"]].concat());
    insta::assert_snapshot!(cancel(&["1", "--reason", "a call"]).shown(), @"
    exit 0
    order 1: accepted -> cancelled (version 2)
    ");
    assert_eq!(cancel(&["1", "--json"]).json()["outcome"], "replayed");
    assert_eq!(place.run("history", &["1", "--json"]).lines()[1]["reason"], "a call");
    assert_eq!(step(&place, &["2", "in_progress"]).code, 0);
    assert_eq!(cancel(&["2", "--json"]).json()["to"], "cancelling");
    assert_eq!(step(&place, &["2", "completed"]).code, 0);
    let late = cancel(&["2", "--json"]);
    assert_eq!((late.code, &late.json()["error"]), (3, &json!("already_terminal")));
    assert_eq!(late.json()["state"], "completed");
    assert_eq!(cancel(&["99"]).code, 3);
}

#[test]
fn wrong_usage_does_nothing_and_makes_no_ledger() {
    let place = Place::new();
    for args in [
        &["1"][..],
        &["tea", "completed"],
        &["1", "Completed"],
        &["--reason", "of nothing"],
        &["1", "completed", "--from", "-"],
        &["1", "completed", "--evidence", "nothing"],
        &["1", "completed", "--command-key", ""],
        &["1", "completed", "--expect-version", "1", "--expect-state", "accepted"],
        &["--from", "/nowhere/steps.jsonl"],
        &["--lifecycle", "/nowhere/lifecycle.json"],
    ] {
        let ran = step(&place, args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert!(!ran.err.is_empty() && ran.out.is_empty(), "{args:?}");
    }
    // A mistyped path is no new ledger.
    for (command, args) in
        [("transition", &["1", "completed"][..]), ("transition", &[]), ("cancel", &["1"])]
    {
        let ran = place.run(command, args);
        assert_eq!(ran.code, 4, "{command} {args:?}: {}", ran.err);
    }
    assert!(!place.ledger().exists());
    let place = orders(1);
    let before = super::run::content(&place.ledger());
    for args in [&["1", "gone"][..], &["1", "failed", "--expect-state", "gone"]] {
        let ran = step(&place, args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert!(ran.err.contains("there is no state \"gone\""), "{}", ran.err);
    }
    let list = place.run("list", &["--state", "gone"]);
    assert!(list.code == 2 && list.err.contains("there is no state"), "{}", list.err);
    assert!(before == super::run::content(&place.ledger()));
}

/// kill -9 in the middle, then the same command again: every step is taken once, and no answer was a lie.
#[test]
fn after_kill_9_the_same_command_takes_every_step_once() {
    let place = orders(400);
    let line = |n: usize, to: &str| {
        format!("{{\"order_id\":{n},\"to\":\"{to}\",\"command_key\":\"{to}-{n}\"}}\n")
    };
    // There and back again: without its key, a repeat would be another step.
    let input: String = ["in_progress", "cancelling", "partly_done"]
        .iter()
        .flat_map(|to| (1..=400).map(move |n| line(n, to)))
        .collect();
    let mut heard = Vec::new();
    for answers in [0, 1, 150, 500, 1100] {
        let mut child = piped(stepper(&place));
        let mut to_child = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let sent = input.clone();
        let feeder = std::thread::spawn(move || {
            // The program may be gone before it has read everything; that is the point.
            drop(to_child.write_all(sent.as_bytes()));
            to_child
        });
        heard.clear();
        for _ in 0..answers {
            let mut answer = String::new();
            output.read_line(&mut answer).unwrap();
            heard.push(serde_json::from_str::<Value>(&answer).unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        drop(feeder.join().unwrap());
    }
    let ran = steps(&place, &input);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let last = ran.lines();
    for (before, now) in heard.iter().zip(&last) {
        assert_eq!((&before["seq"], &now["outcome"]), (&now["seq"], &json!("replayed")), "{now}");
    }
    assert!(last.iter().all(|line| line["version"] == 4), "three steps each");
    let stats = place.run("stats", &["--json"]).json();
    assert_eq!((&stats["states"], &stats["records"]), (&json!({"partly_done": 400}), &json!(1600)));
    assert_eq!(place.run("verify", &[]).code, 0);
}

/// A limit on the size of files makes a write fail: to the ledger that is a device that fails.
#[test]
fn after_a_failed_write_each_line_says_what_is_on_disk_and_the_exit_code_is_4() {
    let place = orders(3);
    let inner = stepper(&place);
    let mut limited = Command::new("sh");
    limited
        // Signal 25 is SIGXFSZ: ignored, so that the write fails instead of the process ending.
        .args(["-c", r#"trap "" 25; ulimit -f 1; exec "$0" "$@""#])
        .arg(inner.get_program())
        .args(inner.get_args());
    let mut child = piped(limited);
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let answers: Vec<Value> = [(1, "failed"), (2, "failed"), (3, "accepted")]
        .iter()
        .map(|(n, to)| {
            let line = format!("{{\"order_id\":{n},\"to\":\"{to}\"}}\n");
            input.write_all(line.as_bytes()).unwrap();
            let mut answer = String::new();
            output.read_line(&mut answer).unwrap();
            serde_json::from_str(&answer).unwrap()
        })
        .collect();
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(4));
    let mut words = String::new();
    child.stderr.unwrap().read_to_string(&mut words).unwrap();
    assert!(words.contains("stopped taking steps"), "{words}");
    assert_eq!(column(&answers, "outcome"), ["in_doubt", "refused", "replayed"]);
    assert_eq!(column(&answers, "error"), ["in_doubt", "poisoned", "-"]);
    assert_eq!(column(&answers, "certainty"), ["unknown", "not_recorded", "-"]);
    // The advice, followed.
    assert_eq!(step(&place, &["1", "failed"]).code, 0);
    assert_eq!(place.run("get", &["1", "--json"]).json()["version"], 2);
}
