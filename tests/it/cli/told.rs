//! What third parties are to be told, with orders and steps as lines: one write, once, and listed.
//!
//! The story: the script submitted the orders, then booked the payments from the same file, and died in between. It was
//! run again, and half of the customers paid twice.

use serde_json::{Value, json};

use super::run::{Place, Ran, column, program};

fn outbox(place: &Place, args: &[&str]) -> Vec<Value> {
    let mut run = program();
    run.args(["outbox", "list", "--json", "--dir"]).arg(place.ledger()).args(args);
    place.finish(run, b"").json()["dispatches"].as_array().unwrap().clone()
}

fn steps(place: &Place, lines: &str) -> Ran {
    let run = place.command("transition", &["--segment-mib", "1"]);
    place.finish(run, lines.as_bytes())
}

const ORDERS: &str = r#"{"key":"a","order":{"sku":"tea"}}
{"key":"b","order":1,"account":"A","dispatches":[{"route":"payment","body":{"amount" : 8.40}},{"route":"mail","body":"thanks"}]}
{"key":"c","order":2}
{"key":"d","order":3,"dispatches":[{"route":"payment","body":7}]}
{"key":"a","order":{"sku":"tea"}}
"#;

#[test]
fn an_order_and_what_is_to_be_told_about_it_are_one_write_and_once() {
    let place = Place::new();
    let first = place.submit(ORDERS);
    assert_eq!(first.code, 0, "{}", first.shown());
    let lines = first.lines();
    assert_eq!(column(&lines, "key"), ["a", "b", "c", "d", "a"], "in the order of the input");
    // The second `a` may come while the first is written, or behind it.
    assert_eq!(column(&lines[..4], "outcome"), ["fresh"; 4]);
    assert_eq!(lines[1]["dispatches"].as_array().unwrap().len(), 2);
    assert_eq!(column(&lines, "dispatches")[0], "-");
    let open = outbox(&place, &[]);
    assert_eq!(column(&open, "route"), ["payment", "mail", "payment"]);
    assert_eq!(column(&open, "state"), ["waiting"; 3]);
    assert_eq!(column(&open, "body"), [r#"{"amount" : 8.40}"#, "\"thanks\"", "7"]);
    let names: Vec<_> = open.iter().map(|it| it["dispatch"].clone()).collect();
    assert_eq!(lines[1]["dispatches"], json!(names[..2]));
    let order_id = &lines[1]["order_id"];
    assert!(open[..2].iter().all(|it| it["order_id"] == *order_id), "{open:?}");
    // Again, and nothing is told twice.
    let again = place.submit(ORDERS);
    assert_eq!((again.code, outbox(&place, &[])), (0, open));
    let again = again.lines();
    assert_eq!(column(&again, "outcome"), ["replayed"; 5]);
    for field in ["receipt", "dispatches", "order_id"] {
        assert_eq!(column(&again, field), column(&lines, field), "{field}");
    }
    assert_eq!(place.run("verify", &[]).code, 0);
}

#[test]
fn other_dispatches_under_the_same_key_are_a_conflict_and_wrong_ones_leave_the_key_free() {
    let place = Place::new();
    let with = |key: &str, order: u32, dispatches: &str| {
        format!("{{\"key\":\"{key}\",\"order\":{order},\"dispatches\":{dispatches}}}\n")
    };
    let pay = r#"[{"route":"payment","body":1}]"#;
    assert_eq!(place.submit(with("a", 1, pay) + "{\"key\":\"b\",\"order\":2}\n").code, 0);
    let ran = place.submit(
        [
            with("a", 1, r#"[{"route":"payment","body":2}]"#),
            with("a", 9, pay),
            with("b", 2, pay),
            "{\"key\":\"a\",\"order\":1}\n".to_owned(),
            with("c", 3, r#"[{"route":"two words","body":1}]"#),
            with("d", 4, r#"[{"route":"payment","body":null}]"#),
            with("e", 5, pay),
        ]
        .concat(),
    );
    assert_eq!(ran.code, 3, "{}", ran.shown());
    let lines = ran.lines();
    let outcomes = ["conflict", "conflict", "conflict", "replayed", "invalid", "invalid", "fresh"];
    assert_eq!(column(&lines, "outcome"), outcomes, "{}", ran.shown());
    let recorded = "recorded";
    let certainty = [recorded, recorded, recorded, "-", "not_recorded", "not_recorded", "-"];
    assert_eq!(column(&lines, "certainty"), certainty);
    let differs = [r#"["dispatches"]"#, r#"["payload"]"#, r#"["dispatches"]"#];
    assert_eq!(column(&lines[..3], "differs"), differs);
    let dumped = place.dump();
    assert_eq!(column(&dumped, "key"), ["a", "b", "e"], "nothing of what was wrong");
    assert_eq!(lines[2]["order_id"], dumped[1]["order_id"]);
    assert_eq!(column(&outbox(&place, &[]), "body"), ["1", "1"]);
    // The key is free: the line is corrected and taken.
    let ran = place.submit(with("c", 3, r#"[{"route":"two-words","body":1}]"#));
    assert_eq!(column(&ran.lines(), "outcome"), ["fresh"]);
    assert_eq!(place.run("verify", &[]).code, 0);
}

#[test]
fn a_step_and_what_is_to_be_told_with_it_are_one_write_and_once() {
    let place = Place::new();
    assert_eq!(place.submit("{\"key\":\"a\",\"order\":1}\n{\"key\":\"b\",\"order\":2}\n").code, 0);
    // The step between two others of the same order is taken between them.
    let lines = r#"{"order_id":1,"to":"confirmed"}
{"order_id":1,"to":"in_progress","command_key":"k","expect_version":2,"dispatches":[{"route":"parcel","body":{"to":"door"}}]}
{"order_id":1,"to":"completed","expect_version":3}
{"order_id":2,"to":"completed","expect_version":7,"command_key":"k","dispatches":[{"route":"parcel","body":1}]}
{"order_id":2,"to":"completed","dispatches":[{"route":"parcel","body":1}]}
{"order_id":99,"to":"completed","command_key":"k","dispatches":[{"route":"parcel","body":1}]}
{"order_id":2,"to":"completed","command_key":"k","dispatches":[{"route":"two words","body":1}]}
"#;
    let ran = steps(&place, lines);
    assert_eq!(ran.code, 3, "{}", ran.shown());
    let first = ran.lines();
    let outcomes = ["fresh", "fresh", "fresh", "refused", "invalid", "refused", "invalid"];
    assert_eq!(column(&first, "outcome"), outcomes, "{}", ran.shown());
    let errors = ["-", "-", "-", "version_mismatch", "invalid", "no_such_order", "invalid"];
    assert_eq!(column(&first, "error"), errors);
    assert_eq!((&first[1]["to_version"], &first[3]["version"]), (&json!(3), &json!(1)));
    let whys = column(&first, "why");
    for (line, words) in [(4, "command_key"), (5, "there is no order 99"), (6, "member 1: invalid")]
    {
        assert!(whys[line].contains(words), "{whys:?}");
    }
    let open = outbox(&place, &[]);
    assert_eq!(column(&open, "body"), [r#"{"to":"door"}"#], "nothing of what was not taken");
    assert_eq!(first[1]["dispatches"], json!([open[0]["dispatch"]]));
    // The same command again, with the same dispatches, with others, and with none.
    let again = |dispatches: &str| {
        let line = format!(
            r#"{{"order_id":1,"to":"in_progress","command_key":"k","expect_version":2{dispatches}}}"#
        );
        steps(&place, &line).json()
    };
    let same = again(r#","dispatches":[{"route":"parcel","body":{"to":"door"}}]"#);
    assert_eq!(
        (&same["outcome"], &same["dispatches"]),
        (&json!("replayed"), &first[1]["dispatches"])
    );
    let other = again(r#","dispatches":[{"route":"parcel","body":2}]"#);
    assert_eq!(
        (&other["outcome"], &other["error"]),
        (&json!("conflict"), &json!("command_conflict"))
    );
    assert_eq!(again("")["outcome"], "replayed", "by its step alone");
    assert_eq!(outbox(&place, &[]), open);
    assert_eq!(place.run("verify", &[]).code, 0);
}
