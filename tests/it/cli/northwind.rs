//! The main job on real input: 830 orders of the Northwind sample, when the file is there.

use std::collections::BTreeSet;

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
