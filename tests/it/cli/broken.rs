//! Input and ledgers that are not what they should be: a clear line, the right exit code, and nothing
//! else is affected.

use std::io::{BufRead, BufReader, Write};

use order_ledger::{Options, Submission};

use super::run::{Place, column, content, line, piped, program, put};

#[test]
fn a_broken_line_is_answered_and_the_others_are_taken() {
    let place = Place::new();
    let mut input = Vec::new();
    for broken in [
        &br#"{"key":"half","order":{"#[..],
        b"not json at all",
        br#"["array",1]"#,
        br#"{"order":{"tea":1}}"#,
        br#"{"key":"no-order"}"#,
        br#"{"key":"null-order","order":null}"#,
        br#"{"key":"typo","acount":"A","order":1}"#,
        br#"{"key":"twice","order":1,"order":2}"#,
        br#"{"key":"","order":1}"#,
        br#"{"key":17,"order":1}"#,
        b"{\"key\":\"\xff\xfe\",\"order\":1}",
        format!(r#"{{"key":"{}","order":1}}"#, "k".repeat(256)).as_bytes(),
        format!(r#"{{"key":"long-account","account":"{}","order":1}}"#, "a".repeat(65)).as_bytes(),
    ] {
        input.extend_from_slice(broken);
        input.push(b'\n');
    }
    input.extend(br#"{"key":"good","order":1}"#);
    let ran = place.submit(input);
    insta::assert_snapshot!(ran.shown());
    let lines = ran.lines();
    assert!(lines[..13].iter().all(|line| line["certainty"] == "not_recorded"));
    assert_eq!(column(&place.dump(), "key"), ["good"]);
}

/// The story: one line without an end fills the memory, and every other order of the file is lost with
/// the process.
#[test]
fn a_line_of_100_mb_is_passed_over_without_being_held_in_memory() {
    let place = Place::new();
    let mut child = piped(place.submitter());
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let piece = vec![b'x'; 1024 * 1024];
    for _ in 0..100 {
        input.write_all(&piece).unwrap();
    }
    input.write_all(format!("\n{}", line(1)).as_bytes()).unwrap();
    let mut answer =
        || -> serde_json::Value { serde_json::from_str(&output.next().unwrap().unwrap()).unwrap() };
    let (long, good) = (answer(), answer());
    assert_eq!(long["outcome"], "invalid");
    assert!(long["error"].as_str().unwrap().starts_with("the line has 104857600 bytes"), "{long}");
    assert_eq!((&good["line"], &good["outcome"]), (&2.into(), &"fresh".into()));
    // It is alive and waits for more: this is the most memory it ever held.
    if let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", child.id())) {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(peak_kib < 64 * 1024, "{peak_kib} KiB");
    }
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn wrong_usage_ends_with_2_and_makes_no_ledger() {
    let place = Place::new();
    for args in [
        &["submit"][..],
        &["submit", "--client", ""],
        &["submit", "--client", &"c".repeat(65)],
        &["submit", "--client", "web", "--from", "/nowhere/orders.jsonl"],
        &["submit", "--client", "web", "--from", "/"],
        &["submit", "--client", "web", "--segment-mib", "0"],
        &["get", "tea"],
        &["find", "--client", "web"],
        &["find", "--client", "web", "--key", &"k".repeat(256)],
        &["list", "--state", "Shipped!"],
        &["list", "--since", "yesterday"],
        &["list", "--limit", "0"],
        &["list", "--after", "42"],
        &["nonsense"],
    ] {
        let ran = place.run(args[0], &args[1..]);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert!(!ran.err.is_empty() && ran.out.is_empty(), "{args:?}");
        assert!(!place.ledger().exists(), "{args:?}");
    }
    let ran = place.run("submit", &["--client", "web", "--from", "/nowhere/orders.jsonl"]);
    insta::assert_snapshot!(ran.shown(), @"
    exit 2
    --- stderr
    error: /nowhere/orders.jsonl: No such file or directory (os error 2)
    on disk: nothing was changed
    next: check the path of the input; no ledger was opened
    ");
}

const READERS: [&[&str]; 7] = [
    &["get", "1"],
    &["find", "--client", "web", "--key", "k"],
    &["history", "1"],
    &["list"],
    &["dump"],
    &["stats"],
    &["verify"],
];

/// Runs every command on the ledger of `place`, and expects all of them to say no without a change.
fn nobody_can_use_it(place: &Place, words: &str) {
    let before = place.ledger().is_dir().then(|| content(&place.ledger()));
    for args in READERS {
        let ran = place.run(args[0], &args[1..]);
        let expected = if args[0] == "verify" { 2 } else { 4 };
        assert_eq!((ran.code, &ran.out[..]), (expected, ""), "{args:?}: {}", ran.err);
        assert!(ran.err.contains(words), "{args:?}: {}", ran.err);
        assert!(ran.err.contains("on disk: ") && ran.err.contains("next: "), "{}", ran.err);
    }
    assert!(before == place.ledger().is_dir().then(|| content(&place.ledger())));
}

#[test]
fn a_directory_that_is_not_a_ledger_is_refused_by_every_command() {
    let place = Place::new();
    nobody_can_use_it(&place, "there is no such directory");
    std::fs::create_dir(place.ledger()).unwrap();
    nobody_can_use_it(&place, "the directory has no file LEDGER");
    put(&place.ledger().join("holiday.jpg"), b"not an order");
    nobody_can_use_it(&place, "the directory has no file LEDGER");
    let ran = place.submit(line(1));
    insta::assert_snapshot!(ran.shown(), @r#"
    exit 4
    --- stderr
    error: <place>/orders.ledger: not a ledger: it holds "holiday.jpg" and no file LEDGER
    on disk: nothing was recorded by this; what was answered before it stays recorded
    next: check the path
    "#);
    assert_eq!(std::fs::read(place.ledger().join("holiday.jpg")).unwrap(), b"not an order");
}

#[test]
fn a_file_in_place_of_the_directory_is_refused() {
    let place = Place::new();
    place.write("orders.ledger", "a file");
    nobody_can_use_it(&place, "there is no such directory");
    let ran = place.submit(line(1));
    assert_eq!((ran.code, &ran.out[..]), (4, ""), "{}", ran.err);
    assert_eq!(std::fs::read(place.ledger()).unwrap(), b"a file");
}

#[test]
fn a_ledger_of_a_newer_format_is_not_touched() {
    let place = Place::new();
    assert_eq!(place.submit(line(1)).code, 0);
    // What a newer version would write: another version and another length.
    let path = place.ledger().join("LEDGER");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 2;
    bytes.extend([7; 32]);
    put(&path, &bytes);
    nobody_can_use_it(&place, "format version 2 is newer than this program, which knows 1");
    let ran = place.submit(line(2));
    assert_eq!((ran.code, &ran.out[..]), (4, ""));
    assert!(ran.err.contains("next: use a newer version of order-ledger"), "{}", ran.err);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_ledger_that_another_process_writes_is_refused_by_name_and_can_be_read() {
    let place = Place::new();
    let ledger = Options::new().segment_bytes(1024 * 1024).open(place.ledger()).unwrap();
    ledger.submit(&Submission::new("web", "k", "1")).unwrap();
    let ran = place.submit(line(1));
    let pid = std::process::id().to_string();
    insta::assert_snapshot!(ran.shown().replace(&pid, "<pid>"), @"
    exit 4
    --- stderr
    error: <place>/orders.ledger: the ledger is open for writing in process <pid>
    on disk: nothing was recorded by this; what was answered before it stays recorded
    next: stop the process that has it open, or read it read-only
    ");
    for args in READERS {
        assert_eq!(place.run(args[0], &args[1..]).code, 0, "{args:?}");
    }
    ledger.submit(&Submission::new("web", "k2", "2")).unwrap();
    ledger.close().unwrap();
    assert_eq!(place.dump().len(), 2);
}

#[test]
fn with_json_an_error_is_json_as_well() {
    let place = Place::new();
    let ran = place.run("stats", &["--json"]);
    assert_eq!(ran.code, 4);
    insta::assert_snapshot!(ran.err, @r#"{"error":"<place>/orders.ledger: not a ledger: there is no such directory","certainty":"not_recorded","on_disk":"nothing was recorded by this; what was answered before it stays recorded","advice":"check the path"}"#);
}

#[test]
fn help_completions_and_man_pages_are_there() {
    let text = |args: &[&str]| {
        let output = program().args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(text(&["--help"]).contains("Exit codes:"));
    for command in ["submit", "get", "find", "history", "list", "dump", "verify", "stats", "drill"]
    {
        let help = text(&[command, "--help"]);
        assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{command}");
        assert!(text(&["man", command]).contains(".TH"));
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(text(&["completions", shell]).contains("order-ledger"));
    }
    assert!(text(&["man"]).contains(".TH"));
}
