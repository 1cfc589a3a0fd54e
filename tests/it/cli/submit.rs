//! Lines in, receipts out: in order, durable before they are printed, the same at every repetition.

use std::io::{BufRead, BufReader, Write};

use super::run::{Place, column, line, piped};

#[test]
fn every_outcome_has_its_line_in_the_order_of_the_input() {
    let place = Place::new();
    let first = concat!(
        r#"{"key":"a","account":"A","external_ref":"R","order":{"tea":1}}"#,
        "\n",
        "\n",
        r#"{"key":"b","kind":"rush","schema":2,"order":[1,2]}"#,
        "\r\n",
        r#"{"key":"a","account":"A","external_ref":"R","order":{"tea":1}}"#,
        "\n",
        r#"{"key":"b","kind":"rush","schema":3,"order":[1,2,3]}"#,
    );
    let ran = place.submit(first);
    assert_eq!(ran.code, 3);
    let lines = ran.lines();
    assert_eq!(column(&lines, "line"), ["1", "3", "4", "5"], "empty lines have no answer");
    assert_eq!(column(&lines, "key"), ["a", "b", "a", "b"]);
    let outcomes = column(&lines, "outcome");
    assert_eq!(
        (&outcomes[0][..], &outcomes[1][..], &outcomes[3][..]),
        ("fresh", "fresh", "conflict")
    );
    assert!(
        ["joined", "replayed"].contains(&&outcomes[2][..]),
        "it depends on when the first was written"
    );
    assert_eq!(lines[2]["receipt"], lines[0]["receipt"]);
    assert_eq!(lines[3]["differs"], serde_json::json!(["schema", "payload"]));
    assert_eq!(lines[3]["certainty"], "recorded");
    assert_eq!(
        lines[3]["receipt"], lines[1]["receipt"],
        "the receipt of the order that has the key"
    );

    let again = place.submit(first.lines().next().unwrap());
    insta::assert_snapshot!(again.shown(), @r#"
    exit 0
    {"line":1,"key":"a","outcome":"replayed","order_id":1,"accepted_at":"<time>","fingerprint":"<fingerprint>","receipt":"<receipt>","state":"accepted","version":1}
    "#);
    assert_eq!(again.lines()[0]["receipt"], lines[0]["receipt"]);
    let conflict = place.submit(r#"{"key":"a","account":"B","order":{"tea":2}}"#);
    insta::assert_snapshot!(conflict.shown(), @r#"
    exit 3
    {"line":1,"key":"a","outcome":"conflict","order_id":1,"accepted_at":"<time>","fingerprint":"<fingerprint>","receipt":"<receipt>","certainty":"recorded","differs":["account","external_ref","payload"],"error":"the key belongs to order 1 with other content: account external_ref payload","advice":"the key belongs to another order: take a new key for a new order"}
    --- stderr
    1 line: 1 conflict
    "#);
}

/// The story: a service keeps the pipe open and sends the next order when it has the receipt. An answer
/// that waits for a full group, or in a buffer, would never come.
#[test]
fn a_pipe_that_waits_gets_its_answer_at_once() {
    let place = Place::new();
    let mut child = piped(place.submitter());
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for n in 0..5 {
        input.write_all(line(n).as_bytes()).unwrap();
        let mut answer = String::new();
        output.read_line(&mut answer).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((&answer["outcome"], &answer["order_id"]), (&"fresh".into(), &(n + 1).into()));
    }
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(place.dump().len(), 5);
}

#[test]
fn a_file_fills_groups_and_comes_back_from_the_dump_as_it_went_in() {
    let place = Place::new();
    let input: String = (0..4000).map(line).collect();
    let file = place.write("orders.jsonl", &input);
    let mut command = place.submitter();
    command.arg("--from").arg(&file);
    let ran = place.finish(command, b"");
    assert_eq!((ran.code, &ran.err[..]), (0, ""));
    let numbers: Vec<_> = (1..=4000).map(|n| n.to_string()).collect();
    assert_eq!(column(&ran.lines(), "line"), numbers);
    let groups = place.run("verify", &["--json"]).json()["groups"].as_u64().unwrap();
    assert!(groups <= 4000 / 8, "{groups} groups for 4,000 orders");

    let dump = place.run("dump", &[]).out;
    for ((sent, answer), stored) in input.lines().zip(ran.out.lines()).zip(dump.lines()) {
        let order = sent.split_once(r#""order":"#).unwrap().1;
        assert!(stored.ends_with(&format!(r#""order":{order}"#)), "{stored}");
        let [answer, stored] =
            [answer, stored].map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        assert_eq!(answer["receipt"], stored["receipt"]);
        assert_eq!(answer["key"], stored["key"]);
    }
    assert_eq!(dump.lines().count(), 4000);
}

#[test]
fn large_orders_go_through_within_the_limits() {
    let place = Place::new();
    let order = |n: usize, bytes: usize| {
        format!(r#"{{"key":"k{n}","order":"{}"}}"#, "x".repeat(bytes - 2)) + "\n"
    };
    let limit = order_ledger::limits::PAYLOAD_BYTES_MAX;
    let input: String = [limit, limit, 5, limit + 1, limit]
        .iter()
        .enumerate()
        .map(|(n, size)| order(n, *size))
        .collect();
    let ran = place.submit(input);
    let lines = ran.lines();
    assert_eq!(column(&lines, "outcome"), ["fresh", "fresh", "fresh", "invalid", "fresh"]);
    assert!(lines[3]["error"].as_str().unwrap().contains("payload has 16777217 bytes"));
    assert_eq!((ran.code, place.run("verify", &[]).code), (3, 0));
}

#[test]
fn a_closed_input_is_an_empty_one() {
    let place = Place::new();
    let ran = place.submit("");
    assert_eq!((ran.code, &ran.out[..], &ran.err[..]), (0, "", ""));
    assert_eq!(place.run("stats", &["--json"]).json()["orders"], 0);
}

/// The command of the README.
#[test]
fn the_sample_orders_are_taken() {
    let place = Place::new();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/orders.jsonl");
    let mut command = place.submitter();
    command.args(["--from", sample]);
    let ran = place.finish(command, b"");
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert_eq!(place.dump().len(), ran.lines().len());
}
