//! kill -9 in the middle, then the same command again: no order is missing, none is there twice, and
//! every receipt that was printed is still true.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};

use serde_json::Value;

use super::run::{Place, line, piped};

/// Submits `lines` again and again, each time killed after so many lines in and so many answers out; then
/// once to the end. Answers the final answers.
pub(crate) fn kill_in_the_middle(
    place: &Place,
    lines: &[String],
    kills: &[(usize, usize)],
) -> Vec<Value> {
    let mut printed: HashMap<String, String> = HashMap::new();
    for (lines_in, answers_out) in kills {
        let mut child = piped(place.submitter());
        let mut input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let sent = lines[..*lines_in].concat();
        // In a thread: the pipe may be full while the answers wait to be read.
        let feeder = std::thread::spawn(move || {
            // The program may be gone before it has read everything; that is the point.
            drop(input.write_all(sent.as_bytes()));
            input
        });
        for _ in 0..*answers_out {
            let mut answer = String::new();
            output.read_line(&mut answer).unwrap();
            let answer: Value = serde_json::from_str(&answer).unwrap();
            let text = |name: &str| answer[name].as_str().unwrap().to_owned();
            let before = printed.insert(text("key"), text("receipt"));
            assert!(before.is_none_or(|before| before == text("receipt")), "{answer}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        drop(feeder.join().unwrap());
    }
    let ran = place.submit(lines.concat());
    assert_eq!(ran.code, 0, "{}", ran.out);
    let answers = ran.lines();
    for answer in &answers {
        let known = printed.remove(answer["key"].as_str().unwrap());
        let expected = if known.is_some() { Some("replayed") } else { answer["outcome"].as_str() };
        assert_eq!(answer["outcome"].as_str(), expected);
        assert!(known.is_none_or(|known| answer["receipt"] == known), "{answer}");
    }
    assert!(printed.is_empty(), "acknowledged and gone: {printed:?}");
    let dump = place.dump();
    let keys: BTreeSet<_> = dump.iter().map(|order| order["key"].to_string()).collect();
    assert_eq!((dump.len(), keys.len()), (lines.len(), lines.len()));
    for (order, answer) in dump.iter().map(|order| &order["receipt"]).zip(sorted_receipts(&answers))
    {
        assert_eq!(*order, answer);
    }
    assert_eq!(place.run("verify", &[]).code, 0);
    answers
}

fn sorted_receipts(answers: &[Value]) -> Vec<Value> {
    let mut answers: Vec<_> = answers.iter().collect();
    answers.sort_by_key(|answer| answer["order_id"].as_u64());
    answers.into_iter().map(|answer| answer["receipt"].clone()).collect()
}

#[test]
fn after_kill_9_at_any_point_the_same_command_completes_and_no_receipt_was_a_lie() {
    let place = Place::new();
    let lines: Vec<_> = (0..3000).map(line).collect();
    let kills =
        [(5, 0), (1, 1), (300, 7), (700, 650), (1500, 1), (1500, 1499), (2400, 2000), (2900, 2899)];
    let answers = kill_in_the_middle(&place, &lines, &kills);
    let fresh = answers.iter().filter(|answer| answer["outcome"] == "fresh").count();
    assert!((100..3000).contains(&fresh), "{fresh} were left for the last run");
}
