//! The drill: it does what it says, counts it, writes it down, and follows from its seed.
//!
//! Whether it would notice a lost order is tested beside its code, on forged knowledge.

use std::fs;

use serde_json::Value;

use super::run::{Place, Ran, line, put};

fn drill(place: &Place, args: &[&str]) -> Ran {
    place.run("drill", args)
}

fn count(report: &Value, part: &str, name: &str) -> u64 {
    report[part][name].as_u64().unwrap_or_else(|| panic!("no {name} in {report}"))
}

/// The reports in the directory of the drill, by their ending.
fn reports(place: &Place, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(place.ledger()).unwrap().map(|entry| entry.unwrap().path());
    let reports = entries.filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("drill-") && name.ends_with(ending)
    });
    reports.map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn the_drill_loses_nothing_and_counts_what_it_did() {
    let place = Place::new();
    let ran = drill(&place, &["--kills", "6", "--power-cuts", "4", "--seed", "7", "--json"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let report = ran.json();
    assert_eq!((&report["verdict"], &report["violations"]), (&"passed".into(), &0.into()));
    assert_eq!((count(&report, "kills", "kills"), &report["seed"]), (6, &7.into()));
    assert_eq!(count(&report, "power_cuts", "images_opened_on_this_disk"), 4);
    for part in ["kills", "power_cuts"] {
        let acknowledged = count(&report, part, "acknowledged");
        assert!(acknowledged > 0 && acknowledged == count(&report, part, "found"), "{report}");
    }
    assert!(count(&report, "kills", "orders") >= count(&report, "kills", "found"));

    // Written down, for programs and for people, with what it can't show.
    let (json, text) = (reports(&place, ".json"), reports(&place, ".txt"));
    assert_eq!((json.len(), text.len()), (1, 1));
    assert_eq!(
        serde_json::from_str::<Value>(&json[0].replace(&place.path(), "<place>")).unwrap(),
        report
    );
    for part in ["PASSED: everything", "seed 7", "kernel", "file system", "not written"] {
        assert!(text[0].contains(part), "no {part:?} in {}", text[0]);
    }

    // A directory of an earlier drill may be used again, and the report put elsewhere.
    let file = place.file("report.txt");
    let file = file.to_str().unwrap();
    let table = drill(&place, &["--kills", "1", "--power-cuts", "0", "--report", file]);
    assert_eq!(table.code, 0, "{}", table.err);
    assert!(table.out.contains("everything that was acknowledged is there, once"), "{}", table.out);
    assert!(fs::read_to_string(file).unwrap().contains("PASSED"));
    assert!(fs::read_to_string(format!("{file}.json")).unwrap().starts_with('{'));
    assert_eq!(reports(&place, ".txt").len(), 1);
}

#[test]
fn power_cuts_follow_from_the_seed_byte_by_byte() {
    let cuts = |seed: &str| {
        let args = ["--kills", "0", "--power-cuts", "3", "--seed", seed, "--json"];
        let ran = drill(&Place::new(), &args);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        ran.json()["power_cuts"].clone()
    };
    let first = cuts("11");
    assert_eq!(cuts("11"), first);
    assert!(cuts("12")["images_checksum"] != first["images_checksum"]);
}

#[test]
fn the_users_own_orders_are_what_is_written() {
    let place = Place::new();
    let input = place.write("own.jsonl", (0..3).map(line).collect::<String>());
    let input = input.to_str().unwrap();
    let args = ["--kills", "2", "--power-cuts", "2", "--from", input];
    let ran = drill(&place, &args);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let mut dump = super::run::program();
    dump.arg("dump").arg("--dir").arg(place.ledger().join("orders.ledger"));
    let orders = place.finish(dump, b"").lines();
    assert!(!orders.is_empty());
    for order in orders {
        let number = usize::try_from(order["order"]["number"].as_u64().unwrap()).unwrap();
        let given: Value = serde_json::from_str(&line(number)).unwrap();
        assert_eq!((&order["order"], &order["account"]), (&given["order"], &given["account"]));
    }
}

#[test]
fn orders_that_are_none_and_a_drill_of_nothing_are_refused_before_anything_is_made() {
    let place = Place::new();
    let input = place.write("own.jsonl", line(0) + "{\"key\": 1}\n");
    let ran = drill(&place, &["--from", input.to_str().unwrap()]);
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.err.contains("line 2"), "{}", ran.err);
    put(&input, b"\n");
    assert_eq!(drill(&place, &["--from", input.to_str().unwrap()]).code, 2);
    assert_eq!(drill(&place, &["--from", "nowhere.jsonl"]).code, 2);
    assert_eq!(drill(&place, &["--kills", "0", "--power-cuts", "0"]).code, 2);
    assert!(!place.ledger().exists());
}

#[test]
fn the_drill_does_not_touch_what_it_did_not_make() {
    let place = Place::new();
    assert_eq!(place.submit(line(0)).code, 0);
    let before = super::run::content(&place.ledger());
    let ran = drill(&place, &["--kills", "1"]);
    insta::assert_snapshot!(ran.shown(), @"
    exit 2
    --- stderr
    error: <place>/orders.ledger holds something that no drill made
    on disk: nothing was changed
    next: name a directory that is missing or empty
    ");
    assert!(before == super::run::content(&place.ledger()));
}
