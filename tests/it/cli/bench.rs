//! The bench: it measures what it says, says the same to people and to programs, and leaves nothing behind.
//!
//! No figure is judged here: a machine that is busy is not a broken program. What the figures mean is
//! tested beside its code, on figures that are given.

use std::fs;

use serde_json::Value;

use super::run::{Place, Ran, content, line, piped, put};

const SHORT: [&str; 4] = ["--seconds", "0.02", "--rounds", "2"];

fn bench(place: &Place, args: &[&str]) -> Ran {
    fs::create_dir_all(place.ledger()).unwrap();
    place.run("bench", &[&SHORT[..], args].concat())
}

fn row<'a>(report: &'a Value, name: &str) -> &'a Value {
    let rows = report["rows"].as_array().unwrap();
    rows.iter().find(|row| row["row"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[test]
fn each_row_is_measured_and_nothing_is_left_behind() {
    let place = Place::new();
    let ran = bench(&place, &["--threads", "3", "--json"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    let report = ran.json();
    for (name, orders_per_call, is_raw) in [
        ("raw", 1, true),
        ("lone", 1, false),
        ("threads", 1, false),
        ("paced", 1, false),
        ("raw_batch", 1, true),
        ("batches", 1000, false),
        ("deferred", 1, false),
    ] {
        let row = row(&report, name);
        let count = row["count"].as_u64().unwrap();
        assert!(count > 0 && count == row["calls"].as_u64().unwrap() * orders_per_call, "{row}");
        let times =
            ["p50", "p99", "p999", "max"].map(|part| row["call_us"][part].as_f64().unwrap());
        assert!(times[0] > 0.0 && times.is_sorted(), "{row}");
        let rates = ["per_s_least", "per_s", "per_s_most"].map(|rate| row[rate].as_f64().unwrap());
        assert!(rates[0] > 0.0 && rates.is_sorted(), "{row}");
        assert_eq!(row["orders_per_write"].is_null(), is_raw, "{row}");
    }
    // A lone order is alone in its write.
    assert!(row(&report, "lone")["orders_per_write"].as_f64().unwrap() <= 1.0, "{report}");
    assert!(
        ["plausible", "suspiciously_fast", "memory"].map(Value::from).contains(&report["disk"])
    );
    assert!(report["verdict"].as_array().unwrap().len() >= 5, "{report}");
    assert!(report["rate"].as_u64().unwrap() > 0 && report["rate_is_given"] == false);
    assert_eq!(fs::read_dir(place.ledger()).unwrap().count(), 0);
}

#[test]
fn people_are_told_in_plain_words() {
    let place = Place::new();
    let ran = bench(&place, &["--rate", "50"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for words in
        ["raw durable writes of 4 KiB", "8 threads, at 50 a second", "A lone submit costs "]
    {
        assert!(ran.out.contains(words), "no {words:?} in {}", ran.out);
    }
}

/// At a rate that can't be reached, the orders that wait are what is measured: without that, the slowest
/// would be as quick as any.
#[test]
fn orders_that_wait_for_their_turn_count_from_when_they_were_due() {
    let place = Place::new();
    let ran = bench(&place, &["--threads", "1", "--rate", "10000000", "--json"]);
    let report = ran.json();
    let paced = row(&report, "paced");
    assert!(paced["per_s"].as_f64().unwrap() < 9_000_000.0, "{paced}");
    // Given up after twice the time, which is 10 ms a round: the last ones had waited for more than half.
    assert!(paced["call_us"]["max"].as_f64().unwrap() > 10_000.0, "{paced}");
    assert!(report["verdict"].to_string().contains("did not keep up"), "{report}");
}

#[test]
fn the_users_own_orders_may_be_lines_of_submit_or_any_lines() {
    let place = Place::new();
    let lines = place.write("own.jsonl", (0..3).map(line).collect::<String>());
    let any = place.write("any.txt", "two teas\n\none coffee\n");
    for (file, words) in [(&lines, "3 of your own"), (&any, "2 lines of your own as payloads")] {
        let ran = bench(&place, &["--payload", file.to_str().unwrap(), "--json"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let orders = ran.json()["orders"].clone();
        assert!(orders.as_str().unwrap().starts_with(words), "{orders}");
    }
    // A broken line among orders is a mistake, and no payload.
    put(&lines, (line(0) + "{\"key\": 1}\n").as_bytes());
    let ran = bench(&place, &["--payload", lines.to_str().unwrap()]);
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.err.contains("line 2"), "{}", ran.err);
    assert_eq!(fs::read_dir(place.ledger()).unwrap().count(), 0);
}

#[test]
fn a_ledger_is_not_touched() {
    let place = Place::new();
    assert_eq!(place.submit(line(0)).code, 0);
    let before = content(&place.ledger());
    let ran = place.run("bench", &SHORT);
    insta::assert_snapshot!(ran.shown(), @"
    exit 2
    --- stderr
    error: <place>/orders.ledger is a ledger
    on disk: nothing was changed
    next: name the directory that holds it: the same disk, and no ledger is touched
    ");
    assert!(before == content(&place.ledger()));
}

#[test]
fn a_directory_that_was_missing_is_missing_again() {
    let place = Place::new();
    let ran = place.run("bench", &SHORT);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!place.ledger().exists());
}

/// Ctrl-C and kill -9 leave the directory behind; whoever comes next removes it, and nobody removes that of
/// a bench that runs.
#[test]
fn what_a_killed_bench_left_is_removed_by_the_next_one() {
    let place = Place::new();
    fs::create_dir_all(place.ledger()).unwrap();
    let mut killed = piped(place.command("bench", &["--seconds", "600"]));
    let left = place.ledger().join(format!("bench-{}", killed.id()));
    while !left.join("orders.ledger").join("LEDGER").exists() {
        assert!(killed.try_wait().unwrap().is_none(), "it runs");
        std::thread::yield_now();
    }
    assert_eq!(bench(&place, &[]).code, 0);
    assert!(left.join("orders.ledger").join("LEDGER").exists(), "its bench runs");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(left.exists());
    assert_eq!(bench(&place, &[]).code, 0);
    assert_eq!(fs::read_dir(place.ledger()).unwrap().count(), 0);
}

/// A limit on the size of files makes the file of the raw writes fail: the bench can't go on.
#[test]
fn a_bench_that_fails_leaves_nothing_behind() {
    let place = Place::new();
    let inner = place.command("bench", &SHORT);
    let mut limited = std::process::Command::new("sh");
    limited
        // Signal 25 is SIGXFSZ: ignored, so that the write fails instead of the process ending.
        .args(["-c", r#"trap "" 25; ulimit -f 1; exec "$0" "$@""#])
        .arg(inner.get_program())
        .args(inner.get_args());
    let ran = place.finish(limited, b"");
    assert_eq!(ran.code, 4, "{}", ran.out);
    assert!(ran.err.contains("making the file of the raw writes"), "{}", ran.err);
    assert!(!place.ledger().exists());
}
