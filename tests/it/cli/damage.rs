//! What `verify` finds, and how it ends: 0 sound, 1 damaged, 2 can't tell.

use super::run::{Place, line, put};

fn ledger() -> Place {
    let place = Place::new();
    // Some 1.3 MB of orders: two segments of 1 MiB, the first of them sealed.
    let big = |n: usize| format!(r#"{{"key":"k{n}","order":"{}"}}"#, "x".repeat(1000)) + "\n";
    assert_eq!(place.submit((0..1300).map(big).collect::<String>()).code, 0);
    place
}

fn flip(place: &Place, file: &str, byte: usize) {
    let path = place.ledger().join(file);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[byte] ^= 4;
    put(&path, &bytes);
}

#[test]
fn a_sound_ledger_is_exit_0() {
    let place = ledger();
    let ran = place.run("verify", &[]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("sound: every byte was read"), "{}", ran.out);
    let report = place.run("verify", &["--json"]).json();
    assert_eq!((&report["verdict"], &report["orders"]), (&"sound".into(), &1300.into()));
    assert_eq!(report["findings"], serde_json::json!([]));
}

#[test]
fn damage_is_exit_1_with_file_byte_and_seqs_and_all_of_it_is_named() {
    let place = ledger();
    flip(&place, "wal/0000000001.seg", 4096 + 64 + 500);
    flip(&place, "wal/0000000002.seg", 4096 + 64 + 500);
    flip(&place, "LEDGER", 30);
    let ran = place.run("verify", &["--json"]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    let report = ran.json();
    assert_eq!(report["verdict"], "damaged");
    let findings = report["findings"].as_array().unwrap();
    let files: Vec<_> = findings.iter().map(|finding| finding["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["LEDGER", "wal/0000000001.seg", "wal/0000000002.seg"]);
    let first = &findings[1];
    assert_eq!(
        (&first["offset"], &first["first_seq"], &first["last_seq"]),
        (&4096.into(), &1.into(), &1.into())
    );
    let text = place.run("verify", &[]);
    assert_eq!(text.code, 1);
    assert!(
        text.out.contains("log: wal/0000000001.seg at byte 4096 (seq 1): group 1"),
        "{}",
        text.out
    );
}

/// Damage that verify finds is damage that nothing else walks over in silence.
#[test]
fn a_damaged_log_is_refused_for_writing_and_the_message_names_verify() {
    let place = Place::new();
    assert_eq!(place.submit(line(0)).code, 0);
    assert_eq!(place.submit(line(1)).code, 0);
    flip(&place, "wal/0000000001.seg", 4096 + 64 + 30);
    assert_eq!(place.run("verify", &[]).code, 1);
    let ran = place.submit(line(2));
    assert_eq!((ran.code, &ran.out[..]), (4, ""));
    assert!(ran.err.contains("the log is damaged: wal/0000000001.seg at byte 4096"), "{}", ran.err);
    assert!(ran.err.contains("next: run `order-ledger verify`"), "{}", ran.err);
}

#[test]
fn what_is_derived_may_be_missing_but_not_wrong() {
    let place = ledger();
    flip(&place, "derived/tables/MANIFEST", 30);
    assert_eq!(place.run("verify", &[]).code, 1);
    std::fs::remove_dir_all(place.ledger().join("derived")).unwrap();
    assert_eq!(place.run("verify", &[]).code, 0);
}

#[test]
fn what_is_no_ledger_is_exit_2() {
    let place = Place::new();
    let ran = place.run("verify", &[]);
    insta::assert_snapshot!(ran.shown(), @"
    exit 2
    --- stderr
    error: <place>/orders.ledger: not a ledger: there is no such directory
    on disk: nothing was recorded by this; what was answered before it stays recorded
    next: check the path
    ");
}
