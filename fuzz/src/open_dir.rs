//! A valid ledger, then damage to any of its files.
//!
//! Oracle: an error; or every order that is shown is identical to what was built, none is shown that was
//! not built, and none is missing before the last one shown. A group is only written when the one before
//! it is durable: in front of a group whose header is still there, no order may be missing. A ledger that
//! was closed has its end witnessed: while the witness is untouched, nothing at all may be missing. Damage to what is derived
//! changes no answer. Never is a key that was built taken a second time while the log still shows its
//! order. A refusal changes nothing in the log; a second open finds the same.

use arbitrary::Arbitrary;
use order_ledger::disk::sim::{SimDisk, SimHost};
use order_ledger::{ErrorKind, How, Ledger};

use crate::damage::{Damage, Edit, damage};
use crate::format;
use crate::ledgers::{Built, segments};

#[derive(Arbitrary, Clone, Debug)]
pub struct Input {
    /// Which of the ledgers.
    pub shape: u8,
    pub edits: Vec<Edit>,
}

pub fn run(input: &Input) {
    let (built, disk) = Built::of(input.shape & !Built::WITH_STEPS);
    let before = segments(&disk).pop().expect("a ledger has a segment");
    let damage = damage(&disk, &input.edits);
    let proven = proven(&before, &segments(&disk).pop().unwrap_or_default());
    check(&built, &disk, &damage, proven);
}

/// How many orders the last segment still proves to have been durable, by the last header of a group in
/// it that nobody has touched.
fn proven(before: &[u8], now: &[u8]) -> usize {
    let kept = format::groups(before).filter(|group| group.header(before) == group.header(now));
    kept.map(|group| group.first_seq as usize - 1).max().unwrap_or(0)
}

fn check(built: &Built, disk: &SimDisk, damage: &Damage, proven: usize) {
    let host = SimHost::new(9);
    let log = |disk: &SimDisk| -> Vec<(String, Vec<u8>)> {
        let files = disk.files().into_iter().filter(|(path, _)| path.starts_with("wal/"));
        files.map(|(path, _)| (path.clone(), disk.read_durable(&path).expect("listed"))).collect()
    };
    let before = log(disk);
    let open = || built.options.open_simulated(disk.as_disk(), host.as_host());
    let ledger = match open() {
        Ok(ledger) => ledger,
        Err(error) => {
            let expected = match error.kind() {
                ErrorKind::Corrupt(_)
                | ErrorKind::LogLostData { .. }
                | ErrorKind::NewerFormat { .. }
                | ErrorKind::DurabilityMismatch { .. }
                | ErrorKind::NotALedger { .. } => true,
                ErrorKind::Io { .. } => damage.unreadable,
                _ => false,
            };
            assert!(expected, "{error}");
            assert!(
                damage.log || damage.witness,
                "damage to what is derived keeps it shut: {error}"
            );
            // What can't be read is met late: sections that were damaged may have been written again.
            let unchanged = damage.unreadable || log(disk) == before;
            assert!(unchanged, "the log has changed, and it was refused: {error}");
            let again = open().expect_err("refused before");
            assert_eq!(again.kind(), error.kind());
            return;
        }
    };
    let Some(shown) = look(built, &ledger, damage) else { return };
    assert!(shown >= proven, "{shown} orders, and a group behind {proven} of them is there");
    assert!(
        shown == built.orders.len() || damage.log,
        "{shown} of {} orders after damage to what is derived",
        built.orders.len()
    );
    assert!(
        shown == built.orders.len() || !built.closed || damage.witness,
        "{shown} of {} orders, and the witness kept silent",
        built.orders.len()
    );
    for (order, submission) in built.orders.iter().zip(&built.submissions).take(shown) {
        match ledger.submit(submission) {
            Ok(outcome) => {
                assert_eq!(outcome.how, How::Replayed, "order {} was taken twice", order.id());
                assert_eq!(outcome.receipt, order.receipt);
            }
            Err(error) => assert!(is_unreadable(error.kind(), damage), "{error}"),
        }
    }
    drop(ledger);
    match open() {
        Ok(ledger) => {
            let again = look(built, &ledger, damage);
            assert!(again.is_none_or(|again| again == shown), "{shown} orders, then {again:?}");
        }
        Err(error) => assert!(is_unreadable(error.kind(), damage), "{error}"),
    }
}

/// Holds everything that the ledger shows against what was built, and answers how many orders its log
/// claims to have. `None` when there is none that was built: the ledger is a new one.
fn look(built: &Built, ledger: &Ledger, damage: &Damage) -> Option<usize> {
    if ledger.recovery_report().created {
        // LEDGER and every group of the log are gone.
        assert!(damage.log);
        return None;
    }
    let claimed = ledger.stats().expect("the sizes of files").records as usize;
    assert!(claimed <= built.orders.len(), "{claimed} records, {} were built", built.orders.len());
    for (order, built) in ledger.orders().zip(&built.orders) {
        match order {
            Ok(order) => assert_eq!(order, *built),
            Err(error) => {
                assert!(is_unreadable(error.kind(), damage), "{error}");
                break;
            }
        }
    }
    for (index, order) in built.orders.iter().enumerate() {
        let found = ledger.get(order.id());
        let by_key = ledger.by_key(&order.client, &order.key);
        for (by, found) in [("id", found), ("key", by_key)] {
            match found {
                Ok(Some(found)) => assert_eq!(found, *order),
                Ok(None) => assert!(
                    index >= claimed,
                    "order {} of {claimed} is not found by its {by}\n{}",
                    order.id(),
                    ledger.recovery_report()
                ),
                Err(error) => assert!(is_unreadable(error.kind(), damage), "{error}"),
            }
        }
    }
    Some(claimed)
}

/// What may be said about a record that can't be read.
fn is_unreadable(kind: &ErrorKind, damage: &Damage) -> bool {
    match kind {
        ErrorKind::Corrupt(_) => damage.log,
        ErrorKind::Io { .. } => damage.unreadable,
        _ => false,
    }
}
