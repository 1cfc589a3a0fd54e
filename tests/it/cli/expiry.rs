//! An order that expires, from its line in to the list of those that have.

use serde_json::json;

use super::run::{Place, column};

#[test]
fn a_line_says_after_how_long_its_order_expires_and_every_command_shows_it() {
    let place = Place::new();
    let ran = place.submit(concat!(
        r#"{"key":"a","order":1,"expires_in":0.001}"#,
        "\n",
        r#"{"key":"b","order":2,"expires_in":3600}"#,
        "\n",
        r#"{"key":"a","order":1,"expires_in":0.002}"#,
        "\n",
        r#"{"key":"c","order":3,"expires_in":0}"#,
    ));
    assert_eq!(ran.code, 3);
    let lines = ran.lines();
    assert_eq!(column(&lines, "outcome"), ["fresh", "fresh", "conflict", "invalid"]);
    assert_eq!(lines[2]["differs"], json!(["expiry"]));
    let shown = place.run("get", &["2", "--json"]).json();
    let whole = |at: &serde_json::Value| at.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let left = whole(&shown["expires_at"]) - whole(&shown["accepted_at"]);
    assert_eq!(left.total(jiff::Unit::Second).unwrap(), 3600.0);
    assert!(place.run("get", &["2"]).out.contains("expires at"));
    // By now the first one has.
    let late = place.run("transition", &["1", "completed", "--segment-mib", "1", "--json"]);
    assert_eq!(late.code, 3, "{}", late.shown());
    let told = late.json();
    assert_eq!((&told["state"], &told["version"]), (&json!("expired"), &json!(2)), "{told}");
    let in_time = place.run("transition", &["2", "completed", "--segment-mib", "1", "--json"]);
    assert_eq!(in_time.code, 0, "{}", in_time.shown());
    let listed = place.run("list", &["--state", "expired", "--json"]).json();
    assert_eq!(column(listed["orders"].as_array().unwrap(), "order_id"), ["1"]);
    let history = place.run("history", &["1"]);
    assert!(history.out.contains("expired"), "{}", history.out);
    assert_eq!(
        place.run("stats", &["--json"]).json()["states"],
        json!({"completed": 1, "expired": 1})
    );
    assert_eq!(place.run("verify", &[]).code, 0);
}
