//! A. Making bytes durable (rules 1 to 10).

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use order_ledger::disk::sim::{Crash, CrashMode, Fault};
use order_ledger::{LogWrites, Options};

use crate::rig::{Hooked, all_orders, fill, kind, large, lines, open, order, place, sim, small};

#[test]
fn rule_1_an_order_is_acknowledged_only_after_the_sync_that_covers_it() {
    let (disk, host) = sim(1);
    let (hooked, calls) = Hooked::recording(&disk);
    let ledger = small().open_simulated(hooked, host.as_host()).unwrap();
    for number in 0..20 {
        lines(&calls);
        ledger.submit(&order(number)).unwrap();
        let lines = lines(&calls);
        assert_eq!(lines.last().unwrap(), "sync wal/0000000001.seg", "{lines:?}");
        // What no sync covered is gone; the order is not.
        let copy = crate::rig::copy(&disk);
        copy.crash(Crash::new(CrashMode::DropAll, 0));
        assert_eq!(all_orders(&open(&copy, &host).unwrap()).unwrap().len() as u64, number + 1);
    }
}

/// Runs only as the child of the test below.
#[test]
fn child_of_rule_2() {
    let Ok(path) = std::env::var("ORDER_LEDGER_RULE_2") else { return };
    let writes = match std::env::var("ORDER_LEDGER_RULE_2_WRITES").as_deref() {
        Ok("cached") => LogWrites::Cached,
        _ => LogWrites::PastCache,
    };
    let options = Options::new()
        .views(order_ledger::Views::Off)
        .log_writes(writes)
        .segment_bytes(1 << 20)
        .seal_after(Duration::from_secs(3600));
    let ledger = options.open(path).unwrap();
    // In one write each: formatted, it would be several.
    match ledger.stats().unwrap().log_writes.unwrap() {
        LogWrites::PastCache => eprintln!("ACK open PastCache"),
        _ => eprintln!("ACK open Cached"),
    }
    for number in 0..20 {
        ledger.submit(&order(number)).unwrap();
        eprintln!("ACK one");
    }
    let batch: Vec<_> = (100..200).map(order).collect();
    assert!(ledger.submit_many(&batch).iter().all(Result::is_ok));
    eprintln!("ACK batch");
    assert!(ledger.submit_many(&batch).iter().all(Result::is_ok));
    eprintln!("ACK replays");
    // Nothing more: a process may end without closing.
    std::process::exit(0);
}

#[test]
fn rule_2_on_a_real_disk_each_group_costs_one_sync_and_no_answer_comes_before_it() {
    let Some(way) = rule_2("past the cache") else { return };
    // What the file system does not take goes the other way.
    println!("the file system of the temporary directory: {way}");
    assert_eq!(rule_2("cached").unwrap(), "Cached");
}

/// Which way the groups went. `None` where nothing can be traced.
#[expect(clippy::print_stdout, reason = "a test that was skipped says so")]
fn rule_2(writes: &str) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let (path, trace) = (dir.path().join("parent/orders.ledger"), dir.path().join("trace"));
    let calls = "write,pwrite64,pwritev,pwritev2,fdatasync,fsync,sync_file_range,msync,ftruncate";
    let child = Command::new("strace")
        .args(["-f", "-y", "-e", &format!("trace={calls}")])
        .arg("-o")
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "log_rules::durability::child_of_rule_2",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("ORDER_LEDGER_RULE_2", &path)
        .env("ORDER_LEDGER_RULE_2_WRITES", writes)
        .output();
    let child = match child {
        Ok(child) if child.status.success() => child,
        Ok(child) => {
            println!(
                "SKIPPED: strace may not trace here: {}",
                String::from_utf8_lossy(&child.stderr)
            );
            return None;
        }
        Err(error) => {
            println!("SKIPPED: there is no strace here: {error}");
            return None;
        }
    };
    assert!(child.status.success());
    let trace = std::fs::read_to_string(&trace).unwrap();
    let (mut way, mut singles, mut dirs) = (None, 0, Vec::new());
    let (mut syncs, mut wrote_after_sync) = (0, false);
    // A call whose end stands on a line of its own, because those of other threads came between.
    let mut begun: HashMap<&str, &str> = HashMap::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(char::is_whitespace).unwrap();
        let call = call.trim_start();
        let (begin, end) = if let Some(begin) = call.strip_suffix("<unfinished ...>") {
            begun.insert(thread, begin);
            continue;
        } else if call.starts_with("<... ") {
            (begun.remove(thread).unwrap_or_default(), call)
        } else {
            (call, call)
        };
        let name = begin.split('(').next().unwrap_or_default();
        assert!(!matches!(name, "sync_file_range" | "msync"), "{line}");
        if way.is_none() && name == "fsync" {
            dirs.push(begin.to_owned());
        }
        if way.is_some() && begin.contains(".seg>") {
            assert_ne!(name, "ftruncate", "the size changed on the way to an answer: {line}");
            match name {
                "fdatasync" => {
                    assert!(end.ends_with("= 0"), "{line}");
                    syncs += 1;
                    wrote_after_sync = false;
                }
                "pwritev2" if format!("{begin}{end}").contains("RWF_DSYNC") => {
                    let answer = end.rsplit("= ").next().unwrap();
                    let whole = format!("iov_len={answer}");
                    assert!(begin.contains(&whole) || end.contains(&whole), "{line}");
                    syncs += 1;
                }
                _ => wrote_after_sync = true,
            }
        }
        if let Some(told) = begin.split("ACK ").nth(1) {
            assert!(!wrote_after_sync, "told before the sync: {line}");
            let told = told.split(['\\', '"']).next().unwrap();
            let expected = match told.split(' ').next().unwrap() {
                "open" => {
                    way = told.strip_prefix("open ").map(str::to_owned);
                    None
                }
                "one" => {
                    singles += 1;
                    Some(1)
                }
                "batch" => Some(1),
                "replays" => Some(0),
                other => panic!("{other}"),
            };
            if let Some(expected) = expected {
                assert_eq!(syncs, expected, "{line}");
            }
            syncs = 0;
        }
    }
    assert_eq!(singles, 20, "{trace}");
    // A group is written past the cache when that is what the ledger says, and only then.
    let is_past_cache = way.as_deref() == Some("PastCache");
    assert_eq!(trace.contains("RWF_DSYNC"), is_past_cache, "{way:?}");
    // Rule 4: the directory's own name, and its parent's.
    for end in [dir.path().to_str().unwrap(), dir.path().join("parent").to_str().unwrap()] {
        let synced = dirs.iter().any(|line| line.contains(&format!("<{end}>")));
        assert!(synced, "rule 4: {end} was not synced: {dirs:#?}");
    }
    way
}

/// What the file takes is asked of the file each time; nothing is lost when it changes its mind, and
/// whoever looks at the counts waits for nobody.
#[test]
fn groups_go_past_the_page_cache_where_the_file_takes_it_and_the_counts_say_so() {
    let (disk, host) = sim(2);
    disk.set_past_cache(true);
    let ledger = open(&disk, &host).unwrap();
    let way = |ledger: &order_ledger::Ledger| ledger.stats().unwrap().log_writes.unwrap();
    assert_eq!(way(&ledger), LogWrites::PastCache);
    assert!(ledger.recovery_report().past_cache);
    for number in 0..60 {
        // Refused from the 20th on, and taken again from the 40th on.
        disk.set_past_cache(!(20..40).contains(&number));
        ledger.submit(&order(number)).unwrap();
        let refused = (20..40).contains(&number);
        assert_eq!(way(&ledger) == LogWrites::Cached, refused, "{number}");
        let copy = crate::rig::copy(&disk);
        copy.crash(Crash::new(CrashMode::DropAll, 0));
        assert_eq!(all_orders(&open(&copy, &host).unwrap()).unwrap().len() as u64, number + 1);
    }
    let calls = disk.io_calls();
    drop(ledger.stats().unwrap());
    assert!(
        disk.io_calls() - calls <= ledger.stats().unwrap().segments,
        "only sizes are asked for"
    );
    drop(ledger);
    let cached = small().log_writes(LogWrites::Cached);
    let ledger = cached.open_simulated(disk.as_disk(), host.as_host()).unwrap();
    assert_eq!(way(&ledger), LogWrites::Cached);
    assert!(!ledger.recovery_report().past_cache);
    drop(ledger);
    let (relaxed_disk, host) = sim(3);
    relaxed_disk.set_past_cache(true);
    let relaxed = small().durability(order_ledger::Durability::Relaxed);
    let ledger = relaxed.open_simulated(relaxed_disk.as_disk(), host.as_host()).unwrap();
    assert_eq!(way(&ledger), LogWrites::Cached, "it is not to be durable");
}

#[test]
fn rule_3_every_name_is_durable_before_the_first_order_that_needs_it() {
    let (disk, host) = sim(3);
    let (hooked, calls) = Hooked::recording(&disk);
    let ledger = small().open_simulated(hooked, host.as_host()).unwrap();
    let created = lines(&calls);
    assert!(place(&created, "create dir wal") < place(&created, "sync dir "));
    let renamed = place(&created, "rename wal/0000000001.seg");
    let synced = created[renamed..].iter().position(|line| line == "sync dir wal").unwrap();
    assert!(renamed + synced < place(&created, "rename LEDGER"));
    let identity = place(&created, "rename LEDGER");
    assert!(created[identity..].iter().any(|line| line == "sync dir "));
    for number in 0..40 {
        lines(&calls);
        ledger.submit(&large(number, 3000)).unwrap();
        let lines = lines(&calls);
        if let Some(renamed) = lines.iter().position(|line| line.starts_with("rename wal/")) {
            let path = lines[renamed].trim_start_matches("rename ").to_owned();
            let synced = renamed + place(&lines[renamed..], "sync dir wal");
            let group = renamed + place(&lines[renamed..], &format!("write {path}"));
            assert!(synced < group, "{lines:#?}");
        }
        // A disk with strict names, which forgets whatever was not synced.
        let copy = crate::rig::copy(&disk);
        copy.crash(Crash::new(CrashMode::DropAll, 0));
        assert_eq!(all_orders(&open(&copy, &host).unwrap()).unwrap().len() as u64, number + 1);
    }
    assert!(ledger.stats().unwrap().segments > 5);
}

#[test]
fn rule_5_a_replacement_is_written_synced_renamed_and_its_name_synced_in_this_order() {
    let (disk, host) = sim(5);
    let (hooked, calls) = Hooked::recording(&disk);
    let ledger = small().open_simulated(hooked, host.as_host()).unwrap();
    fill(&ledger, 3);
    ledger.close().unwrap();
    let lines = lines(&calls);
    for (dir, path) in [("", "LEDGER"), ("derived/tables", "derived/tables/MANIFEST")] {
        let steps = [
            place(&lines, &format!("create {path}.tmp")),
            place(&lines, &format!("write {path}.tmp")),
            place(&lines, &format!("sync {path}.tmp")),
            place(&lines, &format!("rename {path}")),
        ];
        assert!(steps.is_sorted(), "{lines:#?}");
        let synced = format!("sync dir {dir}");
        assert!(lines[steps[3]..].contains(&synced), "{lines:#?}");
    }
}

#[test]
fn rule_6_no_witness_becomes_durable_ahead_of_the_log() {
    // Cut the power at every call of sealing, closing and writing the witness; keep what is newest.
    for mode in [CrashMode::KeepAll, CrashMode::Adversarial, CrashMode::DropAll] {
        let mut call = 0;
        loop {
            call += 1;
            let (disk, host) = sim(6);
            let ledger = open(&disk, &host).unwrap();
            fill(&ledger, 60);
            disk.power_off_after(call);
            ledger.submit(&large(99, 9000)).ok();
            host.advance(Duration::from_secs(60));
            ledger.tick();
            let closed = ledger.close();
            let went_off = disk.is_off();
            disk.crash(Crash::new(mode, call));
            let ledger = open(&disk, &host).unwrap();
            assert!(all_orders(&ledger).unwrap().len() >= 60);
            if !went_off {
                closed.unwrap();
                break;
            }
        }
        assert!(call > 20, "{call}");
    }
}

#[test]
fn rule_7_the_old_segment_is_synced_before_a_group_goes_into_the_new_one() {
    let (disk, host) = sim(7);
    let (hooked, calls) = Hooked::recording(&disk);
    let ledger = small().open_simulated(hooked, host.as_host()).unwrap();
    lines(&calls);
    for number in 0..30 {
        ledger.submit(&large(number, 3000)).unwrap();
    }
    let lines = lines(&calls);
    let mut unsynced: Option<String> = None;
    for line in &lines {
        if let Some(path) = line.strip_prefix("write wal/").filter(|path| path.ends_with(".seg")) {
            let other = unsynced.as_ref().is_some_and(|unsynced| unsynced != path);
            assert!(!other, "{path} is written while {unsynced:?} is not synced");
            unsynced = Some(path.to_owned());
        } else if line.strip_prefix("sync wal/").map(str::to_owned) == unsynced {
            unsynced = None;
        }
    }
    assert!(ledger.stats().unwrap().segments > 5);
}

#[test]
fn rule_8_between_two_segments_neither_size_nor_names_change() {
    let (disk, host) = sim(8);
    let (hooked, calls) = Hooked::recording(&disk);
    let ledger = small().segment_bytes(64 * 1024).open_simulated(hooked, host.as_host()).unwrap();
    ledger.submit(&order(1000)).unwrap();
    lines(&calls);
    let files = disk.files();
    fill(&ledger, 50);
    let lines = lines(&calls);
    assert_eq!(lines.len(), 100);
    for pair in lines.chunks(2) {
        assert_eq!(pair, ["write wal/0000000001.seg", "sync wal/0000000001.seg"]);
    }
    assert_eq!(files, disk.files());
}

#[test]
fn rule_9_short_writes_short_reads_and_interrupted_calls_are_neither_errors_nor_successes() {
    let calls = {
        let (disk, host) = sim(9);
        story(&disk, &host);
        disk.io_calls()
    };
    let faults = [Fault::ShortWrite, Fault::ShortRead, Fault::Interrupted];
    for (fault, past_cache) in faults.into_iter().flat_map(|fault| [(fault, false), (fault, true)])
    {
        for call in 1..=calls {
            let (disk, host) = sim(9);
            disk.set_past_cache(past_cache);
            disk.fail_call(call, fault);
            story(&disk, &host);
        }
        if fault != Fault::Interrupted {
            let (disk, host) = sim(9);
            disk.set_past_cache(past_cache);
            disk.fail_from(1, fault);
            story(&disk, &host);
            assert!(disk.faults_hit() > 20);
        }
    }
}

/// Two segments, a close, an opening, a kill in mid-air and another opening; everything goes well.
fn story(disk: &order_ledger::disk::sim::SimDisk, host: &order_ledger::disk::sim::SimHost) {
    let ledger = open(disk, host).unwrap();
    for number in 0..6 {
        ledger.submit(&large(number, 3000)).unwrap();
    }
    ledger.tick();
    ledger.close().unwrap();
    let ledger = open(disk, host).unwrap();
    ledger.submit(&order(7)).unwrap();
    disk.kill();
    drop(ledger);
    let ledger = open(disk, host).unwrap();
    assert_eq!(all_orders(&ledger).unwrap().len(), 7);
    for number in 0..6 {
        assert!(ledger.by_key("web", format!("k{number}")).unwrap().is_some());
    }
}

#[test]
fn rule_10_opening_makes_durable_what_it_is_going_to_rest_on_before_it_reads() {
    let (disk, host) = sim(10);
    let ledger = open(&disk, &host).unwrap();
    fill(&ledger, 3);
    // The group is written, and the power goes when it is to be synced: the cache has it.
    disk.power_off_after(2);
    kind(ledger.submit(&order(50)));
    disk.kill();
    drop(ledger);
    assert!(disk.pending_units() > 0);
    let (hooked, calls) = Hooked::recording(&disk);
    let ledger = small().open_simulated(hooked, host.as_host()).unwrap();
    assert_eq!(all_orders(&ledger).unwrap().len(), 4);
    let lines = lines(&calls);
    assert!(place(&lines, "sync dir ") < place(&lines, "list wal"));
    assert!(place(&lines, "sync dir wal") < place(&lines, "list wal"));
    // It was shown, so it may not go any more, although nothing was written since.
    disk.crash(Crash::new(CrashMode::DropAll, 0));
    drop(ledger);
    assert_eq!(all_orders(&open(&disk, &host).unwrap()).unwrap().len(), 4);
    assert_eq!(
        open(&crate::rig::copy(&disk), &host).unwrap().submit(&order(50)).unwrap().how,
        order_ledger::How::Replayed
    );
}
