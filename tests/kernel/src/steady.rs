//! The process that nothing happens to: one program that opens, writes, reads, closes and opens again for
//! as long as the soak runs, and is measured. What grows in it grows in a program that uses the ledger.
//!
//! It is never killed, so it is its own oracle: every receipt of a life is held against the ledger when it
//! has been opened again. A life is always the same work, so that memory and descriptors at its end can
//! be compared.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use order_ledger::{How, Ledger, Options, Query, Receipt, Views};

use crate::orders::{self, Sizes};

const SUBMITTERS: u64 = 16;
const ORDERS_PER_OPENING: u64 = 1_500;
/// Openings of one ledger: then it is removed, and the next begun.
const OPENINGS: u64 = 4;

/// What is measured at the end of a life: one line on stdout, `life orders rss_kib fds`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life {
    pub orders: u64,
    pub rss_kib: u64,
    pub fds: u64,
}

impl Life {
    pub fn parse(line: &str) -> Option<Life> {
        let mut words = line.strip_prefix("life ")?.split(' ').map(str::parse);
        let mut next = || words.next()?.ok();
        Some(Life { orders: next()?, rss_kib: next()?, fds: next()? })
    }

    fn measure(orders: u64) -> io::Result<Life> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss_kib = rss.and_then(|rss| rss.trim().strip_suffix(" kB")?.trim().parse().ok());
        Ok(Life {
            orders,
            rss_kib: rss_kib.ok_or_else(|| io::Error::other("no VmRSS"))?,
            fds: std::fs::read_dir("/proc/self/fd")?.count() as u64,
        })
    }

    /// What grew between the lives of a soak, if anything. The first lives warm up: threads leave their
    /// stacks and arenas behind, and those are kept for the next.
    pub fn growth(lives: &[Life]) -> Option<String> {
        const WARM_UP: usize = 3;
        /// Noise of the allocator, as seen in soaks in which nothing grows.
        const RSS_KIB_SLACK: u64 = 16 * 1024;
        const FDS_SLACK: u64 = 4;
        let lives = lives.get(WARM_UP..)?;
        let third = lives.len() / 3;
        let most = |lives: &[Life], of: fn(&Life) -> u64| lives.iter().map(of).max();
        let grew = |of: fn(&Life) -> u64, slack: u64| {
            let early = most(lives.get(..third)?, of)?;
            let late = most(lives.get(lives.len() - third..)?, of)?;
            (late > early + early / 4 + slack).then_some((early, late))
        };
        if let Some((early, late)) = grew(|life| life.rss_kib, RSS_KIB_SLACK) {
            return Some(format!("memory grew from {early} to {late} KiB"));
        }
        let (early, late) = grew(|life| life.fds * 16, FDS_SLACK * 16)?;
        Some(format!("open files grew from {} to {}", early / 16, late / 16))
    }
}

/// Lives until its stdout is closed; returns the exit code.
pub fn run(dir: &Path) -> u8 {
    for life in 0.. {
        if let Err(what) = live(dir, life) {
            // On stdout as well: the parent makes it a violation with these words.
            eprintln!("WRONG steady: life {life}: {what}");
            println!("wrong life {life}: {what}");
            return 1;
        }
        let line = match Life::measure(OPENINGS * ORDERS_PER_OPENING) {
            Ok(Life { orders, rss_kib, fds }) => format!("life {orders} {rss_kib} {fds}\n"),
            Err(error) => {
                eprintln!("BROKEN steady: {error}");
                return 2;
            }
        };
        if io::stdout().write_all(line.as_bytes()).is_err() {
            // The parent has heard enough.
            return 0;
        }
    }
    0
}

fn options() -> Options {
    Options::new()
        .segment_bytes(1024 * 1024)
        .disk_free_min_bytes(1024 * 1024)
        .views(Views::On)
        .admission_wait(std::time::Duration::from_secs(10))
}

fn live(dir: &Path, life: u64) -> Result<(), String> {
    let dir = dir.join("orders.ledger");
    let mut receipts: Vec<Receipt> = Vec::new();
    for opening in 0..OPENINGS {
        let ledger = options().open(&dir).map_err(|error| format!("open: {error}"))?;
        hold_against(&ledger, life, &receipts)?;
        receipts.extend(submit(&ledger, life, opening * ORDERS_PER_OPENING)?);
        ledger.close().map_err(|error| format!("close: {error}"))?;
    }
    let ledger = options().open(&dir).map_err(|error| format!("open: {error}"))?;
    hold_against(&ledger, life, &receipts)?;
    drop(ledger);
    std::fs::remove_dir_all(&dir).map_err(|error| format!("removing the ledger: {error}"))
}

/// New orders from sixteen threads. Answers the receipts, in the order of the orders.
fn submit(ledger: &Ledger, life: u64, base: u64) -> Result<Vec<Receipt>, String> {
    let next = AtomicU64::new(base);
    let taken = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SUBMITTERS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= base + ORDERS_PER_OPENING {
                        return;
                    }
                    let result = ledger.submit(&orders::submission(life, index, Sizes::Small));
                    let mut taken = taken.lock().unwrap_or_else(|bad| bad.into_inner());
                    taken.push((index, result));
                }
            });
        }
    });
    let mut taken = taken.into_inner().unwrap_or_else(|bad| bad.into_inner());
    taken.sort_by_key(|(index, _)| *index);
    taken
        .into_iter()
        .map(|(index, result)| match result {
            Ok(outcome) if outcome.how == How::Fresh => Ok(outcome.receipt),
            other => Err(format!("order {index} of life {life}: {other:?}")),
        })
        .collect()
}

/// Everything that was acknowledged is there once, by the log, by key, and by a page of the views.
fn hold_against(ledger: &Ledger, life: u64, receipts: &[Receipt]) -> Result<(), String> {
    let mut count = 0;
    for order in ledger.orders() {
        let order = order.map_err(|error| format!("reading the log: {error}"))?;
        let index = orders::recognise(life, Sizes::Small, &order)?;
        let receipt = usize::try_from(index).ok().and_then(|index| receipts.get(index));
        if receipt != Some(&order.receipt) {
            return Err(format!("order {index} of life {life} has another receipt"));
        }
        count += 1;
    }
    if count != receipts.len() {
        return Err(format!("{count} orders in the log, {} acknowledged", receipts.len()));
    }
    for index in (0..receipts.len()).step_by(17) {
        let (client, key) = orders::name(index as u64);
        let found = ledger.by_key(client, key).map_err(|error| format!("by key: {error}"))?;
        if found.map(|order| order.receipt) != receipts.get(index).copied() {
            return Err(format!("order {index} of life {life} is not found by its key"));
        }
    }
    let (mut shown, mut after) = (0, None);
    loop {
        let query = Query::all().account("account-3").limit(1_000);
        let query = after.into_iter().fold(query, Query::after);
        let page = ledger.page(&query).map_err(|error| format!("a page: {error}"))?;
        shown += page.orders.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let wanted = (0..receipts.len()).filter(|index| index % 17 == 3).count();
    if shown != wanted {
        return Err(format!("{shown} orders of an account, {wanted} acknowledged"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lives(rss_kib: impl Fn(u64) -> u64, fds: impl Fn(u64) -> u64) -> Vec<Life> {
        (0..30).map(|n| Life { orders: 1, rss_kib: rss_kib(n), fds: fds(n) }).collect()
    }

    #[test]
    fn what_is_flat_passes_and_what_grows_does_not() {
        assert_eq!(Life::growth(&lives(|n| 60_000 + n % 3 * 4_000, |n| 9 + n % 2)), None);
        assert_eq!(Life::growth(&lives(|n| 20_000 * n.min(2), |_| 9)), None, "the warm-up");
        assert!(Life::growth(&lives(|n| 60_000 + n * 3_000, |_| 9)).is_some());
        assert!(Life::growth(&lives(|_| 60_000, |n| 9 + n)).is_some());
        assert_eq!(Life::growth(&lives(|n| n * 9_000, |_| 9)[..5]), None, "too few to tell");
    }

    #[test]
    fn a_life_comes_back_from_its_line() {
        let life = Life { orders: 6_000, rss_kib: 70_000, fds: 12 };
        assert_eq!(Life::parse("life 6000 70000 12"), Some(life));
        assert_eq!(Life::parse("life 6000"), None);
    }
}
