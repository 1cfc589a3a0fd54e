//! Ledgers of version 1, as files: closed cleanly, and with a torn tail. Every later version opens them.
//!
//! `ORDER_LEDGER_REGENERATE=1` makes them anew, on a simulated disk, as long as version 1 is not released.
//! They hold 9 orders of two clients in three segments; `orders.txt` says what was acknowledged.
//!
//! A third one, `steps`, has a table of states of its own and orders that took steps, closed cleanly;
//! `steps.txt` says what was answered.

use std::path::{Path, PathBuf};

use order_ledger::disk::sim::{SimDisk, SimHost};
use order_ledger::{
    EventBody, How, Ledger, Lifecycle, OrderId, Reader, Receipt, Seq, State, StateRule, Submission,
    Transition, Transitioned,
};

use crate::log_rules::forge;
use crate::rig::{Random, all_orders, durable, open, read, settle, sim, small, tear};

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

fn orders() -> Vec<Submission> {
    (0..9)
        .map(|number| {
            let client = if number % 3 == 0 { "till" } else { "web" };
            let payload = Random::new(number).bytes(if number % 2 == 0 { 4500 } else { 40 });
            Submission::new(client, format!("key {number}"), payload)
                .account(format!("account {}", number % 4))
                .external_ref(format!("PO-{number}"))
                .kind("purchase")
                .schema(3)
        })
        .collect()
}

/// How the fixtures are made.
fn generate() -> (SimDisk, SimDisk, String) {
    let (disk, host) = sim(2026);
    let ledger = open(&disk, &host).unwrap();
    let mut told = String::new();
    for order in &orders() {
        let receipt = ledger.submit(order).unwrap().receipt;
        told.push_str(&format!("{receipt}\n"));
        ledger.tick();
    }
    ledger.close().unwrap();
    settle(&disk);
    // The same, and then a tenth order whose group lost its first sector.
    let torn = crate::rig::copy(&disk);
    let ledger = open(&torn, &host).unwrap();
    let path = format!("wal/{:010}.seg", ledger.stats().unwrap().segments);
    let old = torn.read_durable(&path).unwrap();
    ledger.submit(&Submission::new("web", "key 9", vec![9; 1500])).unwrap();
    settle(&torn);
    drop(ledger);
    tear(&torn, &path, &old);
    (disk, torn, told)
}

#[expect(clippy::disallowed_methods, reason = "fixtures are not files of an open ledger")]
fn write(dir: &Path, disk: &SimDisk) {
    std::fs::create_dir_all(dir.join("wal")).unwrap();
    std::fs::create_dir_all(dir.join("derived/tables")).unwrap();
    for (path, content) in durable(disk, "") {
        if path == "LEDGER" || path.ends_with(".seg") || path.ends_with("MANIFEST") {
            std::fs::write(dir.join(path), content).unwrap();
        }
    }
}

fn load(dir: &Path) -> (SimDisk, SimHost) {
    let (disk, host) = sim(1);
    let mounted = disk.as_disk();
    for name in ["wal", "derived", "derived/tables"] {
        mounted.create_dir(name).unwrap();
        mounted.sync_dir(name).unwrap();
    }
    mounted.sync_dir("").unwrap();
    mounted.sync_dir("derived").unwrap();
    for name in ["LEDGER", "wal", "derived/tables"] {
        let path = dir.join(name);
        if path.is_file() {
            disk.write_durably(name, &std::fs::read(&path).unwrap()).unwrap();
            continue;
        }
        for entry in std::fs::read_dir(&path).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{name}/{}", entry.file_name().to_str().unwrap());
            disk.write_durably(&name, &std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
    (disk, host)
}

fn receipts() -> Vec<Receipt> {
    let text = std::fs::read_to_string(dir().join("orders.txt")).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn check(ledger: &Ledger) {
    let receipts = receipts();
    let found = all_orders(ledger).unwrap();
    assert_eq!(found.len(), 9);
    for ((order, receipt), submission) in found.iter().zip(&receipts).zip(orders()) {
        assert_eq!(order.receipt, *receipt);
        assert_eq!(order.payload, submission.payload());
        let again = ledger.submit(&submission).unwrap();
        assert_eq!((again.how, again.receipt), (How::Replayed, *receipt));
    }
}

#[test]
fn rule_50_ledgers_of_version_1_open_for_ever() {
    if std::env::var_os("ORDER_LEDGER_REGENERATE").is_some() {
        let (clean, torn, told) = generate();
        write(&dir().join("clean"), &clean);
        write(&dir().join("torn"), &torn);
        #[expect(clippy::disallowed_methods, reason = "a fixture is not a file of a ledger")]
        std::fs::write(dir().join("orders.txt"), told).unwrap();
    }
    for name in ["clean", "torn"] {
        let (disk, host) = load(&dir().join(name));
        assert_eq!(read(&disk).unwrap().orders().count(), 9, "{name}");
        let ledger = open(&disk, &host).unwrap();
        let report = ledger.recovery_report();
        assert_eq!(report.torn_bytes > 0, name == "torn", "{report}");
        assert_eq!((report.segments, report.segments_scanned), (3, 1), "{report}");
        assert_eq!((report.tables_rebuilt, report.segments_resealed), (0, 0), "{report}");
        check(&ledger);
    }
}

/// What is written today is laid out as it was then. Times and random bytes differ, nothing else does.
#[test]
fn rule_50_what_is_written_today_has_the_layout_of_the_fixtures() {
    let (today, ..) = generate();
    let (then, _) = load(&dir().join("clean"));
    for number in 1..=3 {
        let path = format!("wal/{number:010}.seg");
        let layout = |disk: &SimDisk| {
            let segment = disk.read_durable(&path).unwrap();
            let groups = forge::groups(&segment);
            let groups: Vec<_> = groups
                .iter()
                .map(|it| (it.offset, it.padded, it.number, it.first_seq, it.count, it.body_bytes))
                .collect();
            (segment.len(), segment[..16].to_vec(), groups)
        };
        assert_eq!(layout(&today), layout(&then), "{path}");
    }
}

const PACKED: State = State::own(100).unwrap();

fn table() -> Lifecycle {
    Lifecycle::builder()
        .state(StateRule::new(PACKED, "packed"))
        .edge(State::Accepted, PACKED)
        .edge_with(PACKED, State::Completed, ["tracking_number"])
        .edge(State::Accepted, State::Failed)
        .build()
        .unwrap()
}

/// The steps of the fixture: three orders, of which the third takes none. The table is at seq 1.
fn steps() -> Vec<Transition> {
    let id = |seq| OrderId::new(0, Seq(seq));
    vec![
        Transition::new(id(2), PACKED).command_key("pack 2").reason("first of the day"),
        Transition::new(id(3), State::Failed),
        Transition::new(id(2), State::Completed)
            .command_key("ship 2")
            .evidence("tracking_number", "1Z999")
            .evidence("label", vec![7; 4000])
            .expect_version(2),
    ]
}

fn with_steps() -> (SimDisk, Vec<Transitioned>) {
    let (disk, host) = sim(2027);
    let options = small().lifecycle(table());
    let ledger = options.open_simulated(disk.as_disk(), host.as_host()).unwrap();
    for order in &orders()[..3] {
        ledger.submit(order).unwrap();
        ledger.tick();
    }
    let mut answers = Vec::new();
    for step in &steps() {
        answers.push(ledger.transition(step).unwrap());
        ledger.tick();
    }
    ledger.close().unwrap();
    settle(&disk);
    (disk, answers)
}

/// An answer on one line.
fn line(step: &Transitioned) -> String {
    let Transitioned { order, seq, at, from, to, version, .. } = step;
    format!("{order} {seq} {} {from} {to} {version}\n", at.as_unix_ns())
}

#[test]
fn rule_50_steps_of_version_1_are_found_for_ever() {
    let dir = dir();
    if std::env::var_os("ORDER_LEDGER_REGENERATE").is_some() {
        let (disk, answers) = with_steps();
        write(&dir.join("steps"), &disk);
        #[expect(clippy::disallowed_methods, reason = "a fixture is not a file of a ledger")]
        std::fs::write(dir.join("steps.txt"), answers.iter().map(line).collect::<String>())
            .unwrap();
    }
    let told = std::fs::read_to_string(dir.join("steps.txt")).unwrap();
    let (disk, host) = load(&dir.join("steps"));
    let reader = Reader::open_on(disk.as_disk(), &host).unwrap();
    assert_eq!(reader.lifecycle().unwrap(), table());
    // Without a table in the options it is the stored one.
    let ledger = open(&disk, &host).unwrap();
    assert_eq!(ledger.lifecycle(), &table());
    let report = ledger.recovery_report();
    assert_eq!((report.torn_bytes, report.tables_rebuilt), (0, 0), "{report}");
    assert!(report.segments > 1, "a step is in a sealed segment, and one in the last: {report}");
    let mut again = String::new();
    for step in steps().iter().filter(|step| **step != Transition::new(step.order(), State::Failed))
    {
        let answer = ledger.transition(step).unwrap();
        assert_eq!(answer.how, How::Replayed);
        again.push_str(&line(&answer));
    }
    let by_key: String =
        told.split_inclusive('\n').filter(|line| !line.contains("failed")).collect();
    assert_eq!(again, by_key);
    let history = ledger.history(OrderId::new(0, Seq(2))).unwrap();
    let states: Vec<_> = history.iter().filter_map(|event| event.body.state()).collect();
    assert_eq!(states, [State::Accepted, PACKED, State::Completed]);
    let EventBody::Moved { evidence, reason, .. } = &history[2].body else { panic!() };
    assert_eq!((evidence.len(), evidence[1].value.len(), reason.as_str()), (2, 4000, ""));
    let stood: Vec<_> = all_orders(&ledger)
        .unwrap()
        .iter()
        .map(|order| (order.now.state, order.now.version))
        .collect();
    assert_eq!(stood, [(State::Completed, 3), (State::Failed, 2), (State::Accepted, 1)]);
    assert_eq!(ledger.stats().unwrap().records, 7, "asking again wrote nothing");
}

#[test]
fn rule_50_steps_are_laid_out_today_as_in_the_fixture() {
    let (today, _) = with_steps();
    let (then, _) = load(&dir().join("steps"));
    let layout = |disk: &SimDisk| {
        let segments = durable(disk, "wal/").into_iter().filter(|(path, _)| path.ends_with(".seg"));
        let groups = segments.map(|(path, segment)| {
            let groups = forge::groups(&segment).into_iter();
            let groups: Vec<_> =
                groups.map(|it| (it.offset, it.first_seq, it.body_bytes)).collect();
            (path, segment.len(), groups)
        });
        groups.collect::<Vec<_>>()
    };
    assert_eq!(layout(&today), layout(&then));
}
