//! A damaged ledger, and what verification says about it.
//!
//! Oracle: opening the ledger and reading all of it. Whatever that trips over, verification has found, and
//! so it has whatever changes an answer; what nobody has touched is sound; no byte is changed; the same
//! ledger gets the same report. There is one thing that nobody can find: the end of a log that no witness
//! has seen, cut between two groups or in the middle of the last.
//!
//! There is no repair yet. When there is, it belongs here: it changes nothing without its flag, and loses
//! no record that verification calls whole.

use arbitrary::Arbitrary;
use order_ledger::disk::sim::{SimDisk, SimHost};
use order_ledger::{Error, ErrorKind, Order, Reader, Severity, Soundness, VerifyReport, verify_on};

use crate::damage::{Damage, Edit, damage};
use crate::ledgers::{Built, MANIFEST, files};

#[derive(Arbitrary, Clone, Debug)]
pub struct Input {
    /// Which of the ledgers.
    pub shape: u8,
    pub edits: Vec<Edit>,
}

pub fn run(input: &Input) {
    let (built, disk) = Built::of(input.shape & !Built::WITH_STEPS);
    let damage = damage(&disk, &input.edits);
    let before = files(&disk);
    let verified = verify(&disk);
    assert!(files(&disk) == before, "verification has changed a file");
    match (&verified, verify(&disk)) {
        (Ok(first), Ok(second)) => assert_eq!(*first, second, "another report"),
        (Err(first), Err(second)) => assert_eq!(first.kind(), second.kind()),
        (first, second) => panic!("{first:?}, then {second:?}"),
    }
    if !damage.any {
        let report = verified.as_ref().expect("nobody has touched it");
        assert_eq!(report.soundness(), Soundness::Sound, "{:?}", report.findings);
        assert_eq!(report.orders, built.orders.len() as u64);
    }
    let report = match &verified {
        Ok(report) => report,
        Err(error) => {
            let said = match error.kind() {
                ErrorKind::NotALedger { .. } | ErrorKind::NewerFormat { .. } => damage.log,
                ErrorKind::Io { .. } => damage.unreadable,
                _ => false,
            };
            assert!(said, "{error}");
            return;
        }
    };
    assert_eq!(report.findings_left_off, 0);
    let worst = report.findings.iter().map(|finding| finding.severity).max();
    if worst.is_some_and(|worst| worst > Severity::Note) {
        assert!(damage.any, "{:?}", report.findings);
        assert_ne!(report.soundness(), Soundness::Sound);
    }
    if report.soundness() == Soundness::Sound {
        let witnessed = built.closed && disk.read_durable(MANIFEST).is_ok();
        sound(&built, &disk, &damage, report, witnessed);
    } else if !damage.log && !damage.unreadable {
        // What is derived was damaged: no order is affected.
        assert!(report.findings.iter().all(|found| {
            // A witness that says more than there is can't be told from a log that lost it.
            found.severity <= Severity::Derived || damage.witness
        }));
    }
}

fn verify(disk: &SimDisk) -> Result<VerifyReport, Error> {
    verify_on(disk.as_disk(), &SimHost::new(3), &mut |_, _| {})
}

/// Verification calls it sound: then everything opens, reads, and is what was built.
fn sound(built: &Built, disk: &SimDisk, damage: &Damage, report: &VerifyReport, witnessed: bool) {
    let host = SimHost::new(4);
    let reader = Reader::open_on(disk.as_disk(), &host)
        .unwrap_or_else(|error| panic!("called sound, and a reader is refused: {error}"));
    let shown: Vec<Order> = reader
        .orders()
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("called sound, and not readable: {error}"));
    assert_eq!(report.orders, shown.len() as u64);
    let ledger = built
        .options
        .open_simulated(disk.as_disk(), host.as_host())
        .unwrap_or_else(|error| panic!("called sound, and refused: {error}"));
    let opened: Vec<Order> = ledger
        .orders()
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("called sound, and not readable: {error}"));
    assert!(opened == shown, "a reader shows {}, the writer {}", shown.len(), opened.len());
    assert_eq!(ledger.recovery_report().tables_rebuilt, 0, "called sound, and keys were damaged");
    assert!(built.orders.starts_with(&opened), "orders that were not built, and called sound");
    let lost = built.orders.len() - opened.len();
    assert!(
        lost == 0 || (damage.log && !witnessed),
        "{lost} orders are lost, and it is called sound"
    );
    for order in &built.orders[..opened.len()] {
        let found = ledger.by_key(&order.client, &order.key);
        let found = found.unwrap_or_else(|error| panic!("called sound, and not found: {error}"));
        assert_eq!(found.as_ref(), Some(order));
    }
}
