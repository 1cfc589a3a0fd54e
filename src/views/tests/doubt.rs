//! A store that fails, panics, hangs or tells nonsense is set aside and built again; a caller notices
//! nothing but time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::super::feeder::{Opener, REBUILDS_MAX};
use super::super::guard::Open;
use super::super::layout::{Change, View, Watermark, changes_of};
use super::super::store::{Batch, Doubt, MemStore, Store};
use super::super::{Phase, Views};
use super::support::{
    Call, FaultyStore, LEDGER, SHORT, Started, TestLog, Wall, config, fed_log, in_memory, once,
    start_with, wait_for, wait_until_fed,
};
use super::{assert_lists_are_right, list};
use crate::order::{LedgerId, Seq};

/// Runs views over a store with a fault, and holds what comes of it against the log.
fn assert_survived(
    fault: impl Fn(Call, u64) -> Result<(), Doubt> + Send + Sync + 'static,
    why: &str,
) {
    let (dir, test) = (tempfile::tempdir().unwrap(), fed_log());
    let opener = FaultyStore::opener(fault);
    let mut config = config(dir.path(), &test);
    (config.deadlines.call, config.deadlines.close) = (SHORT, SHORT);
    let Started { views, proved } = start_with(config, opener);
    let state = wait_for(&views, |state| state.behind == 0 && state.set_aside == 1);
    assert!(state.last_doubt.as_ref().unwrap().contains(why), "{state:?} lacks {why}");
    assert_lists_are_right(&views, &test, Seq(351));
    assert!(dir.path().join("derived/views.aside-1").is_dir());
    assert!(proved.lock().is_empty());
}

#[test]
fn an_error_at_any_call_costs_a_rebuild_and_no_answer() {
    for (call, count) in [(Call::Watermark, 1), (Call::Keys, 1), (Call::Apply, 1), (Call::Apply, 3)]
    {
        let first = once();
        let fault = move |at, so_far| {
            let now = at == call && so_far == count && first();
            if now { Err(Doubt::Refused("a made-up error".into())) } else { Ok(()) }
        };
        assert_survived(fault, "a made-up error");
    }
}

/// Where cores are short, orders come first: the store and what it starts inherit it from there.
#[cfg(target_os = "linux")]
#[test]
fn the_store_runs_behind_what_orders_wait_for() {
    let nice = || rustix::process::getpriority_process(None).unwrap();
    let (here, seen) = (nice(), Arc::new(Mutex::new(Vec::new())));
    let seen_by_store = Arc::clone(&seen);
    let opener = FaultyStore::opener(move |_, _| {
        let of_child = std::thread::spawn(nice).join().unwrap();
        seen_by_store.lock().push((nice(), of_child));
        Ok(())
    });
    let (dir, test) = (tempfile::tempdir().unwrap(), fed_log());
    let Started { views, .. } = start_with(config(dir.path(), &test), opener);
    wait_for(&views, |state| state.behind == 0);
    let nicer = (here + 10).min(19);
    let seen = seen.lock().clone();
    assert!(!seen.is_empty() && seen.iter().all(|it| *it == (nicer, nicer)), "{here}: {seen:?}");
    assert_eq!(nice(), here, "the others stay as they are");
}

#[test]
fn a_panic_at_any_call_costs_a_rebuild_and_no_answer() {
    for (call, count) in [(Call::Watermark, 1), (Call::Keys, 1), (Call::Apply, 1), (Call::Apply, 3)]
    {
        let first = once();
        let fault = move |at, so_far| {
            assert!(!(at == call && so_far == count && first()), "a made-up panic");
            Ok(())
        };
        assert_survived(fault, "a made-up panic");
    }
}

#[test]
fn a_hang_at_any_call_costs_a_rebuild_and_no_answer() {
    for (call, count) in [(Call::Watermark, 1), (Call::Apply, 1), (Call::Apply, 3)] {
        let (wall, first) = (Wall::default(), once());
        let held = Wall(Arc::clone(&wall.0));
        let fault = move |at, so_far| {
            if at == call && so_far == count && first() {
                held.block();
            }
            Ok(())
        };
        assert_survived(fault, "did not answer");
        drop(wall);
    }
}

#[test]
fn a_drop_that_hangs_or_panics_is_left_behind() {
    let wall = Wall::default();
    let held = Wall(Arc::clone(&wall.0));
    let (panics, hangs) = (once(), once());
    let fault = move |call, count| {
        if call == Call::Apply && count == 2 && hangs() {
            return Err(Doubt::Refused("a made-up error".into()));
        }
        if call == Call::Drop && panics() {
            held.block();
            panic!("a made-up panic in drop");
        }
        Ok(())
    };
    assert_survived(fault, "a made-up error");
}

/// An opener that does `first` once and then opens sound stores.
fn opener_with_first(first: impl Fn() -> Result<(), Doubt> + Send + Sync + 'static) -> Opener {
    let (first, is_first) = (Arc::new(first), Arc::new(once()));
    Box::new(move |_| {
        let (first, is_first) = (Arc::clone(&first), Arc::clone(&is_first));
        Box::new(move || {
            if is_first() {
                first()?;
            }
            Ok(Box::new(MemStore::default()) as Box<dyn Store>)
        }) as Open
    })
}

#[test]
fn an_open_that_fails_panics_or_hangs_is_given_up_and_built_afresh() {
    let wall = Wall::default();
    let held = Wall(Arc::clone(&wall.0));
    let cases: [(&str, Opener); 3] = [
        ("no such luck", opener_with_first(|| Err(Doubt::Refused("no such luck".into())))),
        ("a made-up panic", opener_with_first(|| panic!("a made-up panic"))),
        (
            "opening",
            opener_with_first(move || {
                held.block();
                Ok(())
            }),
        ),
    ];
    for (why, opener) in cases {
        let (dir, test) = (tempfile::tempdir().unwrap(), fed_log());
        let mut config = config(dir.path(), &test);
        config.deadlines.open = SHORT;
        let begun = Instant::now();
        let Started { views, .. } = start_with(config, opener);
        assert!(begun.elapsed() < SHORT, "starting waits for nothing");
        let state = wait_until_fed(&views);
        assert_eq!(state.set_aside, 1, "{why}");
        assert!(state.last_doubt.as_ref().unwrap().contains(why), "{state:?}");
        assert_lists_are_right(&views, &test, Seq(351));
    }
}

#[test]
fn a_lock_that_is_released_late_is_waited_for() {
    let (dir, test) = (tempfile::tempdir().unwrap(), fed_log());
    let mut config = config(dir.path(), &test);
    config.deadlines.lock = Duration::from_secs(20);
    let opener = opener_with_first(|| Err(Doubt::Io("could not acquire lock".into())));
    let Started { views, .. } = start_with(config, opener);
    assert_eq!(wait_until_fed(&views).set_aside, 0);
}

#[test]
fn a_store_that_always_fails_is_given_up_and_the_reason_is_said() {
    let (dir, test) = (tempfile::tempdir().unwrap(), fed_log());
    let opened = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&opened);
    let opener = FaultyStore::opener(move |call, _| {
        if call == Call::Watermark {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if call == Call::Apply { Err(Doubt::Refused("never".into())) } else { Ok(()) }
    });
    let Started { views, .. } = start_with(config(dir.path(), &test), opener);
    let state = wait_for(&views, |state| matches!(state.phase, Phase::Off { .. }));
    let Phase::Off { reason } = state.phase else { unreachable!() };
    assert!(reason.contains("never") && reason.contains("3 rebuilds"), "{reason}");
    assert_eq!(opened.load(Ordering::Relaxed), 1 + u64::from(REBUILDS_MAX));
    assert_eq!(state.set_aside, 1 + u64::from(REBUILDS_MAX));
    assert_eq!(views.page(View::Account(b"account-1"), Seq(0), 9), (vec![], Seq(1)));
    views.stop();
}

#[test]
fn a_page_that_hangs_is_not_waited_for_and_asked_no_more() {
    let wall = Wall::default();
    let held = Wall(Arc::clone(&wall.0));
    let (dir, test) = (tempfile::tempdir().unwrap(), fed_log());
    let first = once();
    let opener = FaultyStore::opener(move |call, count| {
        // The first call of the sort belongs to the opening.
        if call == Call::Keys && count == 2 && first() {
            held.block();
        }
        Ok(())
    });
    let mut config = config(dir.path(), &test);
    (config.deadlines.page, config.deadlines.call) = (SHORT, Duration::from_secs(2));
    config.deadlines.close = SHORT;
    let Started { views, .. } = start_with(config, opener);
    wait_until_fed(&views);
    let ask = |views: &Views| {
        let begun = Instant::now();
        assert_eq!(views.page(View::Account(b"account-1"), Seq(0), 9), (vec![], Seq(1)));
        begun.elapsed()
    };
    let first_ask = ask(&views);
    assert!(first_ask >= SHORT && first_ask < Duration::from_secs(1), "{first_ask:?}");
    assert!(ask(&views) < SHORT, "the second does not wait");
    let state = wait_for(&views, |state| state.set_aside == 1 && state.behind == 0);
    assert!(state.last_doubt.unwrap().contains("did not answer"));
    assert_lists_are_right(&views, &test, Seq(351));
}

#[test]
fn a_page_that_was_only_slow_costs_no_rebuild() {
    let (dir, test) = (tempfile::tempdir().unwrap(), fed_log());
    let first = once();
    let opener = FaultyStore::opener(move |call, count| {
        if call == Call::Keys && count == 2 && first() {
            std::thread::park_timeout(SHORT * 2);
        }
        Ok(())
    });
    let mut config = config(dir.path(), &test);
    config.deadlines.page = SHORT;
    let Started { views, .. } = start_with(config, opener);
    wait_until_fed(&views);
    assert_eq!(views.page(View::Account(b"account-1"), Seq(0), 9), (vec![], Seq(1)));
    let begun = Instant::now();
    while views.page(View::Account(b"account-1"), Seq(0), 9).0.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is never asked again");
        std::thread::yield_now();
    }
    assert_lists_are_right(&views, &test, Seq(351));
    assert_eq!(views.state().set_aside, 0);
}

#[test]
fn a_mismatch_costs_a_rebuild_but_not_on_hearsay() {
    let (dir, test) = (tempfile::tempdir().unwrap(), fed_log());
    let opener = FaultyStore::opener(|_, _| Ok(()));
    let Started { views, .. } = start_with(config(dir.path(), &test), opener);
    wait_until_fed(&views);
    // Seq 2 is not on this list, and the views do not say so.
    views.report_mismatch(View::Account(b"account-1"), Seq(2));
    assert_eq!(wait_until_fed(&views).set_aside, 0);
    views.report_mismatch(View::Account(b"account-1"), Seq(21));
    let state = wait_for(&views, |state| state.set_aside == 1 && state.behind == 0);
    assert!(state.last_doubt.unwrap().contains("seq 21"));
    assert_lists_are_right(&views, &test, Seq(351));
}

#[test]
fn a_mismatch_in_memory_costs_a_rebuild_too() {
    let test = fed_log();
    let views = in_memory(&test);
    views.catch_up();
    views.report_mismatch(View::Account(b"account-1"), Seq(21));
    assert_eq!((views.state().set_aside, views.state().covered), (1, Seq(1)));
    views.catch_up();
    assert_lists_are_right(&views, &test, Seq(351));
}

/// A store that was prepared by hand, opened once; then sound ones.
fn opener_of(store: MemStore) -> Opener {
    let store = Arc::new(Mutex::new(Some(store)));
    Box::new(move |_| {
        let store = store.lock().take().unwrap_or_default();
        Box::new(move || Ok(Box::new(store) as Box<dyn Store>)) as Open
    })
}

/// What a sound store holds for the first `count` records.
fn sound(test: &TestLog, count: u64) -> (Vec<Vec<u8>>, Watermark) {
    let mut mark = Watermark::start(LEDGER);
    let mut keys = Vec::new();
    for seq in (1..=count).map(Seq) {
        let record = test.log.read(seq).unwrap().unwrap();
        for (key, change) in changes_of(seq, record.at, &record.body().unwrap()) {
            assert_eq!(change, Change::Add, "no order of this log takes a step");
            mark.count(&key);
            keys.push(key);
        }
        mark.next = seq.next();
    }
    (keys, mark)
}

#[test]
fn a_store_is_held_against_its_watermark_before_it_is_asked() {
    let test = fed_log();
    type Case = (&'static str, Option<&'static str>, Box<dyn Fn(&mut Vec<Vec<u8>>, &mut Vec<u8>)>);
    let cases: Vec<Case> = vec![
        ("sound", None, Box::new(|_, _| {})),
        ("a key is missing", Some("do not add up"), Box::new(|keys, _| drop(keys.pop()))),
        (
            "a key became another",
            Some("do not add up"),
            Box::new(|keys, _| keys[0] = View::Account(b"account-1").key(Seq(7)).unwrap()),
        ),
        (
            "a key too many",
            Some("do not add up"),
            Box::new(|keys, _| keys.push(View::Account(b"account-1").key(Seq(7)).unwrap())),
        ),
        ("not a key", Some("none of ours"), Box::new(|keys, _| keys.push(vec![77, 1]))),
        (
            "a key from beyond the watermark",
            Some("none of ours"),
            Box::new(|keys, _| keys.push(View::Account(b"account-1").key(Seq(301)).unwrap())),
        ),
        ("a bent watermark", Some("checksum"), Box::new(|_, mark| mark[30] ^= 4)),
        ("an empty watermark", Some("too short"), Box::new(|_, mark| mark.clear())),
    ];
    for (what, why, change) in cases {
        let dir = tempfile::tempdir().unwrap();
        let (mut keys, mark) = sound(&test, 300);
        let mut mark = mark.encode();
        change(&mut keys, &mut mark);
        let mut store = MemStore::default();
        store.apply(keys.into_iter().collect(), mark).unwrap();
        let started = start_with(config(dir.path(), &test), opener_of(store));
        let state = wait_until_fed(&started.views);
        assert_eq!(state.set_aside, u64::from(why.is_some()), "{what}: {state:?}");
        let doubt = state.last_doubt.unwrap_or_default();
        assert!(doubt.contains(why.unwrap_or_default()), "{what}: {doubt}");
        assert_lists_are_right(&started.views, &test, Seq(351));
        assert!(started.proved.lock().is_empty());
    }
}

/// A store whose pages are nonsense, though its audit is not.
struct Liar(MemStore, fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>);

impl Store for Liar {
    fn watermark(&mut self) -> Result<Option<Vec<u8>>, Doubt> {
        self.0.watermark()
    }

    fn keys(&mut self, prefix: &[u8], after: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, Doubt> {
        let keys = self.0.keys(prefix, after, limit)?;
        Ok(if prefix.is_empty() { keys } else { (self.1)(keys) })
    }

    fn apply(&mut self, batch: Batch, watermark: Vec<u8>) -> Result<(), Doubt> {
        self.0.apply(batch, watermark)
    }
}

#[test]
fn a_page_of_nonsense_is_no_answer() {
    type Lie = fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>;
    let lies: [Lie; 4] = [
        |keys| keys.into_iter().rev().collect(),
        |keys| keys.into_iter().map(|key| key[1..].to_vec()).collect(),
        |_| vec![View::Account(b"account-2").key(Seq(2)).unwrap()],
        |_| vec![View::Account(b"account-1").key(Seq(0)).unwrap()],
    ];
    for lie in lies {
        let (dir, test, is_first) = (tempfile::tempdir().unwrap(), fed_log(), Arc::new(once()));
        let opener: Opener = Box::new(move |_| {
            let lie = if is_first() { lie } else { |keys| keys };
            Box::new(move || Ok(Box::new(Liar(MemStore::default(), lie)) as Box<dyn Store>)) as Open
        });
        let Started { views, .. } = start_with(config(dir.path(), &test), opener);
        wait_until_fed(&views);
        let (seqs, covered) = views.page(View::Account(b"account-1"), Seq(0), 100);
        assert_eq!((seqs, covered), (vec![], Seq(1)));
        wait_for(&views, |state| state.set_aside == 1 && state.behind == 0);
        assert_eq!(list(&views, View::Account(b"account-1"), 100).0.len(), 18);
    }
}

#[test]
fn a_store_of_another_ledger_is_set_aside() {
    let (dir, test) = (tempfile::tempdir().unwrap(), fed_log());
    let (keys, mark) = sound(&test, 300);
    let mut store = MemStore::default();
    store
        .apply(keys.into_iter().collect(), Watermark { ledger: LedgerId([8; 16]), ..mark }.encode())
        .unwrap();
    let started = start_with(config(dir.path(), &test), opener_of(store));
    let state = wait_for(&started.views, |state| state.set_aside == 1 && state.behind == 0);
    assert!(state.last_doubt.unwrap().contains("belongs to ledger 0808"));
    assert_lists_are_right(&started.views, &test, Seq(351));
}

#[test]
fn a_store_of_another_ledger_proves_nothing_even_when_it_is_ahead() {
    let (dir, test) = (tempfile::tempdir().unwrap(), fed_log());
    let (keys, mark) = sound(&test, 300);
    let mut store = MemStore::default();
    let mark = Watermark { ledger: LedgerId([8; 16]), next: Seq(9_999), ..mark };
    store.apply(keys.into_iter().collect(), mark.encode()).unwrap();
    let started = start_with(config(dir.path(), &test), opener_of(store));
    wait_for(&started.views, |state| state.set_aside == 1 && state.behind == 0);
    assert!(started.proved.lock().is_empty());
}

#[test]
fn a_store_is_not_called_again_after_a_panic() {
    use super::super::guard::Guarded;
    let calls = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&calls);
    let opener = FaultyStore::opener(move |call, _| {
        count.fetch_add(u64::from(call != Call::Drop), Ordering::Relaxed);
        assert!(call != Call::Keys, "a made-up panic");
        Ok(())
    });
    let wait = Duration::from_secs(20);
    let guarded = Guarded::open(opener("".into()), wait, wait, &|| true).unwrap();
    assert!(guarded.call("asking", wait, |store| store.watermark()).is_ok());
    let panicked = guarded.call("asking", wait, |store| store.keys(b"", b"", 1));
    assert_eq!(panicked, Err(Doubt::Panicked("a made-up panic".into())));
    for _ in 0..3 {
        assert_eq!(guarded.call("asking", wait, |store| store.watermark()), Err(Doubt::Gone));
    }
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert!(guarded.close(wait));
}
