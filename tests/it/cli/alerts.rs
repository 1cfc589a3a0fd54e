//! What stands still, by the command line: who is stuck, who was told, and who knows.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use order_ledger::{Options, WatchOptions};
use serde_json::{Value, json};

use super::run::{Place, column};

/// A lifecycle in which an order is stuck as soon as it is accepted.
pub(super) const AT_ONCE: &str = r#"{
    "states": [{"name": "accepted", "warn_after_s": 0, "critical_after_s": 86400}],
    "edges": [{"from": "accepted", "to": "completed"}, {"from": "accepted", "to": "cancelled"}]
}"#;

/// Two orders, behind the record of the lifecycle, of which the second stands still.
fn shop() -> Place {
    let place = Place::new();
    let lifecycle = place.write("lifecycle.json", AT_ONCE).display().to_string();
    let submit = place
        .command("submit", &["--client", "web", "--segment-mib", "1", "--lifecycle", &lifecycle]);
    let ran = place.finish(submit, b"{\"key\":\"a\",\"order\":1}\n{\"key\":\"b\",\"order\":2}\n");
    assert_eq!(ran.code, 0, "{}", ran.shown());
    let ran = place.run("transition", &["2", "completed", "--segment-mib", "1"]);
    assert_eq!(ran.code, 0, "{}", ran.shown());
    place
}

fn once(place: &Place, args: &[&str]) -> super::run::Ran {
    let args = [&["--once", "--segment-mib", "1", "--json"], args].concat();
    place.run("watch", &args)
}

#[test]
fn what_stands_still_is_listed_without_a_watch() {
    let place = shop();
    let ran = place.run("stuck", &["--json"]);
    assert_eq!(ran.code, 0, "{}", ran.shown());
    let page = ran.json();
    assert_eq!(page["next"], Value::Null);
    let orders = page["orders"].as_array().unwrap();
    assert_eq!(orders.len(), 1);
    assert_eq!((&orders[0]["order_id"], &orders[0]["state"]), (&json!(3), &json!("accepted")));
    assert_eq!(orders[0]["level"], "warn");
    let shown = place.run("stuck", &["--state", "accepted"]);
    assert!(shown.out.contains("accepted") && shown.out.contains("warn"), "{}", shown.out);
    let critical = place.run("stuck", &["--level", "critical", "--json"]).json();
    assert_eq!(critical["orders"], json!([]));
    assert_eq!(place.run("stuck", &["--state", "nowhere"]).code, 2);
    assert_eq!(place.run("stuck", &["--level", "bad"]).code, 2);
    assert_eq!(place.run("alerts", &["--json"]).json()["alerts"], json!([]), "nobody was told");
}

#[test]
fn a_look_raises_once_somebody_acknowledges_and_the_step_clears() {
    let place = shop();
    let raised = once(&place, &[]);
    assert_eq!(raised.code, 0, "{}", raised.shown());
    let lines = raised.lines();
    assert_eq!(column(&lines, "change"), ["raised"]);
    assert_eq!((&lines[0]["order_id"], &lines[0]["kind"]), (&json!(3), &json!("stuck_order")));
    assert_eq!(once(&place, &[]).out, "", "once");
    let id = lines[0]["alert"].to_string();
    let open = place.run("alerts", &["--open", "--json"]).json();
    assert_eq!(column(open["alerts"].as_array().unwrap(), "alert"), [&id[..]]);
    assert!(place.run("alerts", &["--open"]).out.contains("stuck_order"));
    let ack = |id: &str| {
        let args = ["--ack", id, "--by", "N. Davolio", "--note", "called", "--segment-mib", "1"];
        place.run("alerts", &[&args[..], &["--json"]].concat())
    };
    let known = ack(&id);
    assert_eq!(known.code, 0, "{}", known.shown());
    assert_eq!(known.json()["acknowledged"]["by"], "N. Davolio");
    let nobody = ack("1");
    assert_eq!((nobody.code, &nobody.json()["error"]), (1, &json!("no_open_alert")));
    assert_eq!(place.run("alerts", &["--ack", &id]).code, 2, "by whom?");
    let ran = place.run("transition", &["3", "completed", "--segment-mib", "1"]);
    assert_eq!(ran.code, 0, "{}", ran.shown());
    assert_eq!(place.run("alerts", &["--open", "--json"]).json()["alerts"], json!([]));
    assert_eq!(ack(&id).code, 1, "it is over");
    assert_eq!(column(&once(&place, &[]).lines(), "change"), ["cleared"]);
    let all = place.run("alerts", &["--json"]).json();
    assert!(all["alerts"][0]["cleared_at"].is_string(), "{all}");
    let history = place.run("history", &["3", "--json"]).lines();
    assert_eq!(column(&history, "change"), ["-", "raised", "acknowledged", "-", "cleared"]);
    assert!(place.run("history", &["3"]).out.contains("stuck_order"));
    assert_eq!(place.run("verify", &[]).code, 0);
}

#[test]
fn a_command_and_a_webhook_are_told_and_a_failure_is_said() {
    let place = shop();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/alerts", listener.local_addr().unwrap());
    let hears = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut head, mut bytes) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                bytes = length.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
            head += &line;
        }
        let mut body = vec![0; bytes];
        reader.read_exact(&mut body).unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n").unwrap();
        (head, String::from_utf8(body).unwrap())
    });
    let file = place.file("heard").display().to_string();
    let command =
        format!("echo \"$ALERT_CHANGE $ALERT_SUBJECT\" > '{file}'; cat >> '{file}'; echo out");
    let ran = once(&place, &["--exec", &command, "--webhook", &url]);
    assert_eq!((ran.code, &ran.err[..]), (0, "out\n"), "{}", ran.shown());
    let heard = std::fs::read_to_string(&file).unwrap();
    let (first, line) = heard.split_once('\n').unwrap();
    assert_eq!((first, line), ("raised order 3", &ran.out[..]));
    let (head, body) = hears.join().unwrap();
    assert!(head.starts_with("POST /alerts") && head.contains("application/json"), "{head}");
    assert_eq!(body, ran.out);
    // What can't be told is said, and is recorded all the same.
    let ran = place.run("transition", &["3", "completed", "--segment-mib", "1"]);
    assert_eq!(ran.code, 0);
    let ran = once(&place, &["--exec", "exit 7", "--webhook", "http://127.0.0.1:1/"]);
    assert_eq!((ran.code, column(&ran.lines(), "change")), (1, vec!["cleared".to_owned()]));
    assert!(ran.err.contains("the command failed") && ran.err.contains("the webhook failed"));
    assert_eq!(once(&place, &["--exec", "exit 7"]).code, 0, "there is nothing to be told");
}

#[test]
fn a_watch_that_is_killed_repeats_nothing() {
    let place = shop();
    let spawn = |args: &[&str]| {
        let mut command =
            place.command("watch", &["--segment-mib", "1", "--json", "--every", "0.05"]);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut first = spawn(&[]);
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    let raised: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(raised["change"], "raised");
    // It holds the ledger now: a look of another one is refused.
    assert_eq!(once(&place, &[]).code, 4);
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(once(&place, &[]).out, "", "a kill -9 repeats nothing");
}

/// Beside the process that has the ledger open: it passes on what that one raises, about orders and about all else.
#[test]
fn beside_a_process_that_watches_it_follows() {
    let place = shop();
    let watch = WatchOptions::new().disk_warn_bytes(u64::MAX).look_every(Duration::from_millis(10));
    let options = Options::new().segment_bytes(1024 * 1024);
    // Nothing is raised before the other one listens.
    let ledger = options.open(place.ledger()).unwrap();
    let spawn = || {
        let mut command =
            place.command("watch", &["--segment-mib", "1", "--json", "--every", "0.05"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut other = spawn();
    let mut words = String::new();
    BufReader::new(other.stderr.take().unwrap()).read_line(&mut words).unwrap();
    assert!(words.contains("another process"), "{words}");
    let report = order_ledger::verify(place.ledger()).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    // It follows a log, not a process: one may be closed, and the next opened.
    ledger.close().unwrap();
    let ledger = options.watch(watch).open(place.ledger()).unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    let mut kinds: Vec<_> = (0..2)
        .map(|_| {
            let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            assert_eq!(line["change"], "raised");
            line["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    kinds.sort();
    assert_eq!(kinds, ["disk_low", "stuck_order"]);
    other.kill().unwrap();
    other.wait().unwrap();
    ledger.close().unwrap();
}

#[test]
fn a_ledger_that_is_not_there_is_not_made() {
    let place = Place::new();
    for (command, args) in [
        ("stuck", &[][..]),
        ("alerts", &[]),
        ("alerts", &["--ack", "1", "--by", "A"]),
        ("watch", &["--once"]),
    ] {
        assert_eq!(place.run(command, args).code, 4, "{command}");
        assert!(!place.ledger().exists(), "{command}");
    }
}

#[test]
fn a_line_says_after_how_long_its_order_is_stuck_and_every_command_shows_it() {
    let place = Place::new();
    let ran = place.submit(concat!(
        r#"{"key":"a","order":1,"warn_after":0,"critical_after":3600}"#,
        "\n",
        r#"{"key":"b","order":2,"critical_after":0.5}"#,
        "\n",
        r#"{"key":"a","order":1,"warn_after":0}"#,
    ));
    assert_eq!(ran.code, 3);
    let lines = ran.lines();
    assert_eq!(column(&lines, "outcome"), ["fresh", "fresh", "conflict"]);
    assert_eq!(lines[2]["differs"], json!(["thresholds"]));
    let shown = place.run("get", &["1", "--json"]).json();
    assert_eq!((&shown["warn_after"], &shown["critical_after"]), (&json!(0), &json!(3600)));
    let shown = place.run("get", &["2", "--json"]).json();
    assert_eq!((shown.get("warn_after"), &shown["critical_after"]), (None, &json!(0.5)));
    assert!(place.run("get", &["2"]).out.contains("critical after"));
    let stuck = place.run("stuck", &["--limit", "1", "--json"]).json();
    assert_eq!(column(stuck["orders"].as_array().unwrap(), "order_id"), ["1"]);
    assert_eq!(place.run("verify", &[]).code, 0);
}
