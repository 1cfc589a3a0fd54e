//! Bugs that are planted between the ledger and the disk: the histories find them, and the shrinker
//! leaves nothing of a history that has nothing to do with it.

use std::io;
use std::sync::Arc;

use order_ledger::disk::sim::{Crash, CrashMode};
use order_ledger::disk::{Disk, DiskFile, DiskLock, Open};

use super::history::Mount;
use super::plan::{Plan, Step};
use super::{failure, shrink};

/// What is swallowed.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Bug {
    /// A file's sync answers Ok and does nothing, once the file has a name that counts.
    Syncs,
    /// The same for the names of a directory.
    Names,
    /// A sync that fails is taken for one that went well.
    Errors,
}

#[derive(Debug)]
struct Buggy {
    disk: Arc<dyn Disk>,
    bug: Bug,
}

#[derive(Debug)]
struct BuggyFile {
    file: Arc<dyn DiskFile>,
    bug: Bug,
    /// Whether it was opened by a name of the log.
    counts: bool,
}

fn swallows_syncs(disk: Arc<dyn Disk>) -> Arc<dyn Disk> {
    Arc::new(Buggy { disk, bug: Bug::Syncs })
}

fn swallows_names(disk: Arc<dyn Disk>) -> Arc<dyn Disk> {
    Arc::new(Buggy { disk, bug: Bug::Names })
}

fn swallows_errors(disk: Arc<dyn Disk>) -> Arc<dyn Disk> {
    Arc::new(Buggy { disk, bug: Bug::Errors })
}

impl Disk for Buggy {
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, how)?;
        Ok(Arc::new(BuggyFile { file, bug: self.bug, counts: path.ends_with(".seg") }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        if self.bug == Bug::Names && dir == "wal" { Ok(()) } else { self.disk.sync_dir(dir) }
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn DiskLock>> {
        self.disk.lock(path)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn is_in_place(&self) -> io::Result<bool> {
        self.disk.is_in_place()
    }

    fn display_path(&self) -> String {
        self.disk.display_path()
    }
}

impl DiskFile for BuggyFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(data, offset)
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.file.set_bytes(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        match (self.bug, self.counts) {
            (Bug::Syncs, true) => Ok(()),
            (Bug::Errors, true) => self.file.sync().or(Ok(())),
            _ => self.file.sync(),
        }
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.file.drop_cache()
    }
}

/// The first history that meets the bug, and what is left of it.
fn smallest(mount: Mount) -> (u64, Plan) {
    let (seed, plan, why) = (0..2000)
        .find_map(|seed| {
            let plan = Plan::of(seed);
            failure(&plan, mount).err().map(|why| (seed, plan, why))
        })
        .expect("2,000 histories do not meet the bug");
    let small = shrink(&plan, |plan| failure(plan, mount).is_err_and(|other| other.at == why.at));
    assert!(failure(&small, mount).is_err_and(|other| other.at == why.at));
    assert!(failure(&small, super::honest).is_ok(), "it is the bug that fails: {small:#?}");
    (seed, small)
}

fn is_cut(step: &Step) -> bool {
    matches!(step, Step::Cut(_))
}

#[test]
fn a_swallowed_sync_shrinks_to_an_order_and_a_power_cut() {
    let (seed, small) = smallest(swallows_syncs);
    let steps = &small.steps;
    // The power cut, and at most: an opening, an order, and the upkeep, whose witness notices as well.
    assert!(steps.len() <= 4, "seed {seed}: {steps:?}");
    assert_eq!(steps.iter().filter(|step| is_cut(step)).count(), 1, "{steps:?}");
    assert!(small.orders.len() <= 1, "{small:?}");
}

#[test]
fn swallowed_names_shrink_to_what_makes_a_file_and_a_power_cut() {
    let (seed, small) = smallest(swallows_names);
    let steps = &small.steps;
    assert!(steps.len() <= 5, "seed {seed}: {steps:?}");
    assert_eq!(steps.iter().filter(|step| is_cut(step)).count(), 1, "{steps:?}");
}

#[test]
fn a_swallowed_error_shrinks_to_the_call_that_fails() {
    let (seed, small) = smallest(swallows_errors);
    let steps = &small.steps;
    assert!(steps.len() <= 5, "seed {seed}: {steps:?}");
    let faults = steps.iter().filter(|step| step.is_fault()).count();
    assert!(faults <= 2, "{steps:?}");
}

#[test]
fn the_shrinker_drops_operations_then_faults_then_simplifies() {
    let mut plan = Plan::of(3);
    plan.steps.extend([
        Step::Open,
        Step::SubmitMany(vec![0, 1, 0]),
        Step::Tick(700),
        Step::Cut(Crash::new(CrashMode::Random, 9).with_stale_blocks()),
    ]);
    // Fails when somebody hands in order 1 after an opening, and there is any power cut.
    let small = shrink(&plan, |plan| {
        let place = |is: &dyn Fn(&Step) -> bool| plan.steps.iter().position(is);
        let open = place(&|step| *step == Step::Open);
        let order = plan
            .steps
            .iter()
            .rposition(|step| matches!(step, Step::SubmitMany(keys) if keys.contains(&1)));
        open.is_some() && open < order && place(&is_cut).is_some()
    });
    let [steps @ .., _] = &small.steps[..] else { panic!() };
    assert_eq!(steps.len(), 2, "{small:?}");
    assert!(small.steps.contains(&Step::Open));
    assert!(small.steps.contains(&Step::SubmitMany(vec![1])));
    assert!(small.steps.contains(&Step::Cut(Crash::new(CrashMode::DropAll, 0))), "{small:?}");
    assert_eq!((small.orders.len(), small.orders[0].bytes, small.orders[1].bytes), (2, 0, 0));
}

#[test]
fn a_plan_is_printed_as_rust() {
    let mut plan = Plan::of(3);
    plan.steps = vec![Step::Open, Step::SubmitMany(vec![0, 1]), Step::Kill];
    let text = super::as_rust(&plan);
    assert!(
        text.contains("steps: vec![\n        Open,\n        SubmitMany(vec![0,1,],),"),
        "{text}"
    );
}
