//! `check`: what a monitoring system asks, beside a running writer, and the exit codes that it understands.

use order_ledger::{Options, State, Submission, Transition};

use super::run::{Place, content, put};

/// Three orders, of which one is done.
fn sample() -> Place {
    let place = Place::new();
    let ledger = Options::new().segment_bytes(1024 * 1024).open(place.ledger()).unwrap();
    for key in ["one", "two", "three"] {
        ledger.submit(&Submission::new("web", key, "tea")).unwrap();
    }
    let first = ledger.by_key("web", "one").unwrap().unwrap().id();
    ledger.transition(&Transition::new(first, State::Completed)).unwrap();
    ledger.close().unwrap();
    place
}

#[test]
fn a_sound_ledger_is_ok_in_one_line() {
    let ran = sample().run("check", &[]);
    assert_eq!((ran.code, &ran.err[..]), (0, ""));
    assert!(ran.out.starts_with("OK: last seq 4, 1 segment(s), "), "{}", ran.out);
    assert_eq!(ran.out.lines().count(), 1);
    let ran = sample().run("check", &["--states"]);
    assert!(ran.out.trim_end().ends_with("bytes free, 2 accepted, 1 completed"), "{}", ran.out);
}

#[test]
fn limits_decide_between_warn_and_critical() {
    let place = sample();
    let codes = |args: &[&str]| {
        let ran = place.run("check", &[args, &["--json"]].concat());
        let found = ran.json();
        let codes: Vec<_> =
            found["reasons"].as_array().unwrap().iter().map(|it| it["code"].clone()).collect();
        assert!(codes.iter().all(|code| !code.is_null()), "{found}");
        (ran.code, found["status"].as_str().unwrap().to_owned(), codes)
    };
    let ok = (0, "ok".to_owned(), vec![]);
    let warn = |code: &str| (1, "warn".to_owned(), vec![code.into()]);
    let critical = |code: &str| (2, "critical".to_owned(), vec![code.into()]);
    assert_eq!(codes(&["--warn-disk-free", "1"]), ok);
    assert_eq!(codes(&["--warn-disk-free", "1000000T"]), warn("disk_free"));
    let both = ["--warn-disk-free", "1000000T", "--critical-disk-free", "900000T"];
    assert_eq!(codes(&both), critical("disk_free"));
    assert_eq!(codes(&["--warn-oldest", "accepted=9000d"]), ok);
    assert_eq!(codes(&["--warn-oldest", "accepted=0s"]), warn("oldest"));
    let both = ["--warn-oldest", "accepted=0s", "--critical-oldest", "accepted=0s"];
    assert_eq!(codes(&both), critical("oldest"));
    let later = ["--warn-oldest", "accepted=0s", "--critical-oldest", "accepted=9000d"];
    assert_eq!(codes(&later), warn("oldest"));
    assert_eq!(codes(&["--warn-oldest", "confirmed=0s"]), ok, "no order is in it");
    let text = place.run("check", &["--warn-oldest", "accepted=0s"]).out;
    assert!(
        text.starts_with("WARN: in state accepted: 2 order(s) for longer than 0 s, order 2 for"),
        "{text}"
    );
    assert!(text.contains("\nnext (oldest): order-ledger history --dir DIR 2 "), "{text}");
}

#[test]
fn what_a_crash_left_is_told() {
    let place = sample();
    // As a kill in the middle of a write leaves it: half a group behind the end.
    let log = place.ledger().join("wal/0000000001.seg");
    assert!(
        log.exists(),
        "{:?}",
        content(&place.ledger()).iter().map(|it| &it.0).collect::<Vec<_>>()
    );
    let mut bytes = std::fs::read(&log).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 8 * 8 + 8;
    bytes[end..end + 40].fill(0xa5);
    put(&log, &bytes);
    Options::new().segment_bytes(1024 * 1024).open(place.ledger()).unwrap().close().unwrap();
    let ran = place.run("check", &["--json"]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert_eq!(ran.json()["reasons"][0]["code"], "opened_with_cut");
}

#[test]
fn damage_is_critical_and_what_is_no_ledger_is_unknown() {
    let place = Place::new();
    let ran = place.run("check", &[]);
    assert_eq!(ran.code, 3);
    assert!(ran.out.starts_with("UNKNOWN: "), "{}", ran.out);
    assert_eq!(place.run("check", &["--json"]).json()["status"], "unknown");
    assert_eq!(place.run("check", &["--prometheus"]).out, "order_ledger_health 3\n");
    let place = sample();
    let ran = place.run("check", &["--warn-oldest", "shipped=1h"]);
    assert_eq!(ran.code, 3);
    assert!(ran.out.contains("there is no state \"shipped\""), "{}", ran.out);
    let ran = place.run("check", &["--warn-oldest", "completed=1h"]);
    assert_eq!(ran.code, 3);
    assert_eq!(place.run("check", &["--warn-oldest", "accepted"]).code, 2, "wrong usage");
    // The identity of the ledger, and with it every claim about it.
    let name = place.ledger().join("LEDGER");
    let mut bytes = std::fs::read(&name).unwrap();
    bytes[20] ^= 1;
    put(&name, &bytes);
    let ran = place.run("check", &[]);
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.out.starts_with("CRITICAL: "), "{}", ran.out);
}

#[test]
fn it_works_beside_a_running_writer_and_changes_no_byte() {
    let place = sample();
    let before = content(&place.ledger());
    for args in [&["--states"][..], &["--prometheus"], &["--json"]] {
        assert_eq!(place.run("check", args).code, 0);
    }
    assert_eq!(content(&place.ledger()), before);
    let ledger = Options::new().open(place.ledger()).unwrap();
    ledger.submit(&Submission::new("web", "four", "tea")).unwrap();
    let ran = place.run("check", &["--states", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert_eq!(ran.json()["states"][0]["orders"], 3);
    ledger.close().unwrap();
}

#[test]
fn the_text_for_prometheus_has_the_states_where_they_are_asked_for() {
    let place = sample();
    let text = place.run("check", &["--prometheus", "--states"]).out;
    assert!(text.contains("\norder_ledger_orders{state=\"accepted\"} 2\n"), "{text}");
    assert!(text.contains("\norder_ledger_longest_stay_seconds{state=\"accepted\"} "), "{text}");
    assert!(text.contains("\norder_ledger_health 0\n"), "{text}");
    let text = place.run("check", &["--prometheus"]).out;
    assert!(!text.contains("order_ledger_orders"), "{text}");
}

#[cfg(feature = "top")]
#[test]
fn top_needs_a_terminal_and_says_what_does_not() {
    let ran = sample().run("top", &[]);
    assert_eq!((ran.code, &ran.out[..]), (2, ""));
    assert!(ran.err.contains("check --states"), "{}", ran.err);
}
