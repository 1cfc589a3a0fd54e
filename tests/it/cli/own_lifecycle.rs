//! States and steps of one's own, from a file to every command that names a state.

use serde_json::{Value, json};

use super::run::{Place, column, line};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/lifecycle.json");

/// A ledger with four orders and the lifecycle of the example, made by `submit`.
fn sample() -> Place {
    let place = Place::new();
    let mut command = place.submitter();
    command.args(["--lifecycle", FILE]);
    let ran = place.finish(command, (0..4).map(line).collect::<String>().as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.err);
    // The lifecycle is the first record.
    assert_eq!(column(&ran.lines(), "order_id"), ["2", "3", "4", "5"]);
    place
}

fn step(place: &Place, args: &[&str]) -> (i32, Value) {
    let ran = place.run("transition", &[args, &["--segment-mib", "1", "--json"]].concat());
    (ran.code, serde_json::from_str(&ran.out).unwrap_or_default())
}

#[test]
fn own_states_have_their_names_everywhere() {
    let place = sample();
    assert_eq!(step(&place, &["2", "picked"]).0, 0);
    // By its number as well.
    assert_eq!(step(&place, &["3", "own_100"]).1["state"], "picked");
    let (code, answer) = step(&place, &["2", "shipped"]);
    assert_eq!((code, &answer["error"]), (3, &json!("missing_evidence")));
    assert_eq!(answer["missing"], json!(["tracking_number"]));
    assert_eq!((&answer["state"], &answer["version"]), (&json!("picked"), &json!(2)));
    assert_eq!(answer["why"], "the step from picked to shipped demands evidence: tracking_number");
    let (code, answer) = step(&place, &["4", "shipped", "--expect-state", "accepted"]);
    assert_eq!((code, &answer["error"]), (3, &json!("no_such_step")));
    assert_eq!(answer["why"], "there is no step from the state accepted to shipped");
    // A state that every ledger knows and this one does not have.
    assert_eq!(step(&place, &["4", "confirmed"]).1["error"], "no_such_step");
    for args in [
        &["2", "shipped", "--expect-state", "picked", "--evidence", "tracking_number=1Z"][..],
        &["2", "delivered", "--evidence", "signed_by=N. Davolio", "--command-key", "door"],
    ] {
        assert_eq!(step(&place, args).0, 0);
    }
    let (code, answer) = step(&place, &["2", "returned"]);
    assert_eq!((code, &answer["why"]), (3, &json!("the order is in state delivered for ever")));

    let json =
        |command: &str, args: &[&str]| place.run(command, &[args, &["--json"]].concat()).json();
    assert_eq!(json("get", &["2"])["state"], "delivered");
    assert_eq!(json("find", &["--client", "web", "--key", "key-0"])["state"], "delivered");
    assert_eq!(json("list", &["--state", "picked"])["orders"][0]["order_id"], 3);
    assert_eq!(json("list", &["--state", "own_102"])["orders"][0]["state"], "delivered");
    assert_eq!(column(&place.dump(), "state"), ["delivered", "picked", "accepted", "accepted"]);
    assert_eq!(column(&place.dump(), "version"), ["4", "2", "1", "1"]);
    assert_eq!(json("stats", &[])["states"], json!({"accepted": 2, "picked": 1, "delivered": 1}));
    let history = place.run("history", &["2", "--json"]).lines();
    assert_eq!(column(&history, "state"), ["accepted", "picked", "shipped", "delivered"]);
    assert_eq!(column(&history, "from"), ["-", "accepted", "picked", "shipped"]);
    assert_eq!(place.submit(line(0)).lines()[0]["state"], "delivered");
    for (command, args, words) in [
        ("get", &["2"][..], "delivered (version 4)"),
        ("list", &[], "delivered"),
        ("stats", &[], "1 picked, 1 delivered"),
        ("history", &["2"], "signed_by=N. Davolio"),
    ] {
        let shown = place.run(command, args).out;
        assert!(shown.contains(words) && !shown.contains("own"), "{command}: {shown}");
    }
    insta::assert_snapshot!(place.run("lifecycle", &[]).shown());
}

#[test]
fn a_lifecycle_is_printed_as_it_is_read_and_another_one_must_fit() {
    let place = sample();
    assert_eq!(step(&place, &["2", "picked"]).0, 0);
    let printed = place.run("lifecycle", &["--json"]);
    let mut table = printed.json();
    let file = place.write("printed.json", &printed.out);
    let records = || place.run("stats", &["--json"]).json()["records"].clone();
    let before = records();
    assert_eq!(step(&place, &["2", "picked", "--lifecycle", file.to_str().unwrap()]).0, 0);
    assert_eq!(records(), before, "the same again is not recorded");
    // One step more.
    let edges = table["edges"].as_array_mut().unwrap();
    edges.push(json!({"from": "accepted", "to": "shipped"}));
    let file = place.write("more.json", table.to_string());
    assert_eq!(step(&place, &["3", "shipped", "--lifecycle", file.to_str().unwrap()]).0, 0);
    // Kept from now on.
    assert_eq!(step(&place, &["4", "shipped"]).0, 0);
    // A state less.
    let less = r#"{"states":[],"edges":[{"from":"accepted","to":"completed"}]}"#;
    let file = place.write("less.json", less);
    let ran = place.run("transition", &["5", "completed", "--lifecycle", file.to_str().unwrap()]);
    assert_eq!(ran.code, 4);
    assert!(ran.err.contains("add the state to the lifecycle"), "{}", ran.err);
}

#[test]
fn a_file_that_is_no_lifecycle_is_wrong_usage_and_makes_no_ledger() {
    let place = Place::new();
    for (text, words) in [
        ("tea", "at line 1"),
        (r#"{"states":[]}"#, "missing field `edges`"),
        (r#"{"states":[],"edges":[]}"#, "the state accepted has no edge out"),
        (
            r#"{"states":[{"name":"packed","number":100}],"edges":[{"from":"accepted","to":"packed"}]}"#,
            r#"the state own_100 has no edge out, and is not terminal: add one, or make it so (own_100 is "packed")"#,
        ),
    ] {
        let file = place.write("broken.json", text);
        let ran = place.run("submit", &["--client", "web", "--lifecycle", file.to_str().unwrap()]);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(words), "{}", ran.err);
        assert!(!place.ledger().exists());
    }
}
