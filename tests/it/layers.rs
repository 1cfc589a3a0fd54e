//! What the proof layers share: how much of a layer is run and by whom, and its one line of figures.
//!
//! - `ORDER_LEDGER_DEPTH=sample|gate|full`: how much. `sample` is for `cargo test` (unoptimised), `gate`
//!   for every change (the default of a release build), `full` for a release.
//! - `ORDER_LEDGER_SHARD=i/n`: the `i`-th (from 1) of `n` equal parts of a fixed matrix.
//! - `ORDER_LEDGER_CASE=c`: that one case of a fixed matrix, whatever the depth.
//! - `ORDER_LEDGER_SEED_FIRST`, `ORDER_LEDGER_SEEDS`: where a layer is cut by seeds.
//!
//! A layer ends with one line on stdout, `RESULT {...}`: integers that add up over shards.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much of a layer is run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Depth {
    Sample,
    Gate,
    Full,
}

impl Depth {
    pub(crate) fn from_env() -> Depth {
        match std::env::var("ORDER_LEDGER_DEPTH").as_deref() {
            Ok("sample") => Depth::Sample,
            Ok("gate") => Depth::Gate,
            Ok("full") => Depth::Full,
            Ok(other) => panic!("ORDER_LEDGER_DEPTH={other}"),
            Err(_) if cfg!(debug_assertions) => Depth::Sample,
            Err(_) => Depth::Gate,
        }
    }
}

/// A number from the environment.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Whether this is one case or one shard: then not every kind of thing need happen in it.
pub(crate) fn is_part() -> bool {
    ["ORDER_LEDGER_SHARD", "ORDER_LEDGER_CASE"].iter().any(|name| std::env::var_os(name).is_some())
}

/// Which cases of a fixed matrix this process runs, of those that its depth asks for.
pub(crate) fn is_mine(case: u64) -> bool {
    // Read once: it is asked for every case of millions.
    static SHARD: std::sync::LazyLock<(u64, u64)> = std::sync::LazyLock::new(shard);
    // Mixed, so that no shard gets all the cheap ones of a matrix with a period.
    let (index, count) = *SHARD;
    crate::rig::Random::new(case).below(count) == index
}

/// Which part this process runs, counted from 0, and of how many.
fn shard() -> (u64, u64) {
    let Ok(text) = std::env::var("ORDER_LEDGER_SHARD") else { return (0, 1) };
    let parsed = text.split_once('/').and_then(|(index, count)| {
        let (index, count): (u64, u64) = (index.parse().ok()?, count.parse().ok()?);
        (1..=count).contains(&index).then(|| (index - 1, count))
    });
    parsed.unwrap_or_else(|| panic!("ORDER_LEDGER_SHARD={text}"))
}

/// The line that the release run adds up: integers add, names that end in `_max` take the largest.
#[expect(clippy::print_stdout, reason = "the figures are the result")]
pub(crate) fn print_result<'a>(layer: &str, counts: impl IntoIterator<Item = (&'a str, u64)>) {
    let fields = counts.into_iter().map(|(name, count)| format!(",\"{name}\":{count}"));
    // On a line of its own, whatever the harness has begun.
    println!("\nRESULT {{\"layer\":\"{layer}\"{}}}", fields.collect::<String>());
}

/// Says what went wrong, and how to see it again.
#[expect(clippy::print_stderr, reason = "who runs a layer wants to see it at once, not at its end")]
pub(crate) fn complain(what: &str) {
    eprintln!("{what}");
}

/// Additive counts by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(BTreeMap<String, u64>);

impl Counts {
    pub(crate) fn add(&mut self, name: &str, count: u64) {
        match self.0.get_mut(name) {
            Some(sum) => *sum += count,
            None => drop(self.0.insert(name.to_owned(), count)),
        }
    }

    pub(crate) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// A count that goes on under another name.
    pub(crate) fn take(&mut self, name: &str) -> u64 {
        self.0.remove(name).unwrap_or(0)
    }

    pub(crate) fn merge(&mut self, other: &Counts) {
        for (name, count) in &other.0 {
            self.add(name, *count);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }

    /// The line that the release run adds up. Names with a space or a slash are for people only.
    pub(crate) fn print_result(&self, layer: &str) {
        print_result(layer, self.iter().filter(|(name, _)| !name.contains([' ', '/'])));
    }
}

/// Runs the numbers of `range` on all cores. Each thread has a `worker`, which does one number and
/// counts; a panic in it counts as `panics` and is told with `again`, the command that repeats it.
pub(crate) fn on_all_cores<W>(
    range: Range<u64>,
    step: u64,
    worker: impl Fn() -> W + Sync,
    work: impl Fn(&mut W, u64, &mut Counts) + Sync,
    again: impl Fn(u64) -> String + Sync,
) -> Counts {
    let next = AtomicU64::new(range.start);
    let total = Mutex::new(Counts::default());
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 8));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let (mut own, mut state) = (Counts::default(), worker());
                loop {
                    let start = next.fetch_add(step, Ordering::Relaxed);
                    if start >= range.end || own.get("panics") > 10 {
                        break;
                    }
                    for number in start..range.end.min(start.saturating_add(step)) {
                        let done =
                            catch_unwind(AssertUnwindSafe(|| work(&mut state, number, &mut own)));
                        if done.is_err() {
                            complain(&format!("a panic, see above; again: {}", again(number)));
                            own.add("panics", 1);
                            state = worker();
                        }
                    }
                }
                total.lock().unwrap().merge(&own);
            });
        }
    });
    total.into_inner().unwrap()
}
