//! A device that says no, a directory that vanishes, an output that is closed: what was acknowledged
//! stays, and each line that was not says what is on disk.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::run::{Place, column, line, piped, program};

/// A limit on the size of files makes the write of a group fail in the middle of the file, which was
/// made before the limit: to the ledger that is a device that fails.
#[test]
fn after_a_failed_write_each_line_says_what_is_on_disk_and_the_exit_code_is_4() {
    let place = Place::new();
    assert_eq!(place.submit(line(0)).code, 0);
    let inner = place.submitter();
    let mut limited = Command::new("sh");
    limited
        // Signal 25 is SIGXFSZ: ignored, so that the write fails instead of the process ending.
        .args(["-c", r#"trap "" 25; ulimit -f 1; exec "$0" "$@""#])
        .arg(inner.get_program())
        .args(inner.get_args());
    let mut child = piped(limited);
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    // One by one, so that the first is alone in its group.
    let answers: Vec<Value> = (1..4)
        .chain([0])
        .map(|n| {
            input.write_all(line(n).as_bytes()).unwrap();
            let mut answer = String::new();
            output.read_line(&mut answer).unwrap();
            serde_json::from_str(&answer).unwrap()
        })
        .collect();
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(4));
    let mut words = String::new();
    child.stderr.unwrap().read_to_string(&mut words).unwrap();
    assert!(words.contains("run the command again"), "{words}");

    assert_eq!(column(&answers, "outcome"), ["in_doubt", "refused", "refused", "replayed"]);
    assert_eq!(column(&answers, "certainty"), ["unknown", "not_recorded", "not_recorded", "-"]);
    assert!(answers[0]["advice"].as_str().unwrap().contains("same key"));

    // The advice, followed.
    let again = place.submit((0..4).map(line).collect::<String>());
    assert_eq!(again.code, 0, "{}", again.out);
    assert_eq!(column(&place.dump(), "key"), ["key-0", "key-1", "key-2", "key-3"]);
}

#[test]
fn a_directory_that_is_moved_away_stops_the_writing_and_loses_nothing() {
    let place = Place::new();
    let mut child = piped(place.submitter());
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = Vec::new();
    let moved = place.file("moved.ledger");
    for n in 0.. {
        input.write_all(line(n).as_bytes()).unwrap();
        let mut answer = String::new();
        output.read_line(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        if answer["outcome"] != "fresh" {
            assert_eq!(answer["certainty"], "not_recorded", "{answer}");
            assert!(answer["error"].as_str().unwrap().contains("was moved or removed"), "{answer}");
            break;
        }
        acknowledged.push(answer["receipt"].clone());
        if n == 3 {
            rename(&place.ledger(), &moved);
        }
    }
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(4));
    let mut dump = program();
    dump.args(["dump", "--dir"]).arg(&moved);
    let dump = place.finish(dump, b"").lines();
    let found: Vec<_> = dump.iter().map(|order| order["receipt"].clone()).collect();
    assert_eq!(found, acknowledged);
}

#[expect(clippy::disallowed_methods, reason = "what somebody else does to the directory")]
fn rename(from: &std::path::Path, to: &std::path::Path) {
    std::fs::rename(from, to).unwrap();
}

/// `submit | head -1`: the reader has enough. No message, the exit code of a closed pipe, and what was
/// acknowledged stays.
#[test]
fn a_closed_output_stops_quietly_and_what_was_acknowledged_stays() {
    let place = Place::new();
    let mut child = piped(place.submitter());
    let mut input = child.stdin.take().unwrap();
    input.write_all(line(0).as_bytes()).unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    // The output is closed now. The input stays open: the program must end by itself.
    input.write_all(line(1).as_bytes()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(141));
    let mut words = String::new();
    child.stderr.unwrap().read_to_string(&mut words).unwrap();
    assert_eq!(words, "");
    let first: Value = serde_json::from_str(&first).unwrap();
    let dump = place.dump();
    assert_eq!(dump[0]["receipt"], first["receipt"]);
    // The second was handed in before the output turned out to be closed.
    assert_eq!(column(&dump, "key"), ["key-0", "key-1"]);
    assert_eq!(place.run("verify", &[]).code, 0);
}

#[test]
fn a_reading_command_ends_quietly_when_its_output_is_closed() {
    let place = Place::new();
    let input: String = (0..3000).map(line).collect();
    assert_eq!(place.submit(input).code, 0);
    let mut child = piped(place.command("dump", &[]));
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut String::new()).unwrap();
    drop(output);
    assert_eq!(child.wait().unwrap().code(), Some(141));
    let mut words = String::new();
    child.stderr.unwrap().read_to_string(&mut words).unwrap();
    assert_eq!(words, "");
}

/// A full disk under the *output* is no reason to lose an order, and no reason to claim success.
#[test]
fn an_output_that_cant_be_written_is_an_error() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
        println!("SKIPPED: this system has no /dev/full");
        return;
    };
    let place = Place::new();
    let input = place.write("orders.jsonl", line(0));
    let mut command = place.submitter();
    command.arg("--from").arg(input).stdout(full).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("writing the output") && words.contains("on disk: "), "{words}");
    assert_eq!(place.dump().len(), 1);
}
