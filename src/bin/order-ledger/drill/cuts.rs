//! The second half of a drill: power cuts of a simulated disk, looked at on the user's own one.
//!
//! - [`history`](super::history): writes to the simulated disk until its power goes off
//!
//! Always true: what a cut leaves follows from its seed alone; what was acknowledged before it is known
//! here and not read from what it left; a directory that showed something wrong is kept.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use order_ledger::disk::{Disk, Open};
use order_ledger::{Certainty, ErrorKind, Ledger, Options, Order, Reader, verify};

use super::content::{CLIENT, Content};
use super::history::{Fate, History, Known};
use super::kills::unsound;
use crate::args::Drill;
use crate::errors::Failure;
use crate::progress::{Progress, Unit};

/// Bytes of a file that are copied at a time.
const CHUNK_BYTES: usize = 256 * 1024;
/// One in so many of the orders that are known to be there is submitted again.
const REPLAYED_ONE_IN: usize = 4;
/// What is said about one image; more is counted.
const COMPLAINTS_SHOWN: usize = 3;
/// Longest wait for the views of an image to open.
const VIEWS_WAIT_MAX: Duration = Duration::from_secs(10);

/// What was done and found.
#[derive(Clone, Default, Debug)]
pub(crate) struct CutsFound {
    pub(crate) cuts: u64,
    pub(crate) images: u64,
    pub(crate) image_bytes: u64,
    /// Changes with every byte of every image: the same seeds give the same.
    pub(crate) images_checksum: u32,
    pub(crate) while_opening: u64,
    pub(crate) while_writing: u64,
    pub(crate) while_idle: u64,
    pub(crate) three_in_a_row: u64,
    pub(crate) sectors_lost: u64,
    pub(crate) sectors_torn: u64,
    pub(crate) names_lost: u64,
    pub(crate) torn_tails: u64,
    pub(crate) acknowledged: u64,
    pub(crate) found: u64,
    pub(crate) in_doubt: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) changed: u64,
    /// There, although its caller was told that it is not, or nobody submitted it.
    pub(crate) invented: u64,
    /// A group of which a part is there.
    pub(crate) halved: u64,
    /// Answers that no caller may get, before the cut.
    pub(crate) wrong_answers: u64,
    pub(crate) refused_opens: u64,
    pub(crate) unsound: u64,
    /// What was seen, with the seed, and the directory that was kept.
    pub(crate) complaints: Vec<String>,
}

impl CutsFound {
    pub(crate) fn violations(&self) -> u64 {
        let CutsFound { lost, doubled, changed, invented, halved, .. } = self;
        let CutsFound { wrong_answers, refused_opens, unsound, .. } = self;
        lost + doubled + changed + invented + halved + wrong_answers + refused_opens + unsound
    }

    pub(crate) fn rows(&self) -> [(&'static str, u64); 23] {
        [
            ("power_cuts", self.cuts),
            ("cut_while_opening", self.while_opening),
            ("cut_while_writing", self.while_writing),
            ("cut_while_idle", self.while_idle),
            ("cut_three_times_in_a_row", self.three_in_a_row),
            ("sectors_lost", self.sectors_lost),
            ("sectors_torn", self.sectors_torn),
            ("names_lost", self.names_lost),
            ("images_opened_on_this_disk", self.images),
            ("image_bytes", self.image_bytes),
            ("images_checksum", self.images_checksum.into()),
            ("torn_tails_cut", self.torn_tails),
            ("acknowledged", self.acknowledged),
            ("found", self.found),
            ("in_doubt", self.in_doubt),
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("changed", self.changed),
            ("invented", self.invented),
            ("halved_groups", self.halved),
            ("wrong_answers", self.wrong_answers),
            ("refused_to_open", self.refused_opens),
            ("unsound", self.unsound),
        ]
    }
}

pub(crate) fn run(args: &Drill, seed: u32, content: &Content) -> Result<CutsFound, Failure> {
    let progress = Progress::new(u64::from(args.power_cuts), Unit::Things, false);
    let mut found = CutsFound::default();
    for index in 0..args.power_cuts {
        one(args, seed.wrapping_add(index), content, &mut found)?;
        progress.set(u64::from(index) + 1);
    }
    Ok(found)
}

/// A history with this seed, and what it left, opened on the user's disk.
fn one(args: &Drill, seed: u32, content: &Content, found: &mut CutsFound) -> Result<(), Failure> {
    let history = History::run(seed, args.segment_mib, content);
    history.count(found);
    let before = found.violations();
    let mut complaints = history.complaints.clone();
    let dir = args.dir.join(format!("power-cut-{seed}"));
    // Left by a drill that was itself cut off, or by one that found something and was looked at.
    remove(&dir)?;
    write_out(&*history.disk.as_disk(), "", &dir, found)?;
    found.images += 1;
    look(&dir, &history.known, content, found, &mut complaints)?;
    found.wrong_answers += history.complaints.len() as u64;
    if found.violations() == before {
        return remove(&dir);
    }
    // What was opened has been changed by that: the image as the cut left it is the evidence.
    remove(&dir)?;
    write_out(&*history.disk.as_disk(), "", &dir, &mut CutsFound::default())?;
    let more = complaints.len().saturating_sub(COMPLAINTS_SHOWN);
    complaints.truncate(COMPLAINTS_SHOWN);
    if more > 0 {
        complaints.push(format!("and {more} more"));
    }
    let (place, words) = (dir.display(), complaints.join("; "));
    found.complaints.push(format!(
        "{words}\n  kept in {place}; again with --kills 0 --power-cuts 1 --seed {seed}"
    ));
    Ok(())
}

fn remove(dir: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::io(format!("removing {}", dir.display()), error))
        }
        _ => Ok(()),
    }
}

/// Writes what is on the simulated disk to a real directory, and makes it durable.
fn write_out(
    disk: &dyn Disk,
    inside: &str,
    to: &Path,
    found: &mut CutsFound,
) -> Result<(), Failure> {
    let failed = |error| Failure::io(format!("writing {}", to.display()), error);
    fs::create_dir(to).map_err(failed)?;
    let mut names = disk.list(inside).map_err(failed)?;
    names.sort_unstable();
    for name in names {
        let path = if inside.is_empty() { name.clone() } else { format!("{inside}/{name}") };
        let target: PathBuf = to.join(&name);
        match disk.list(&path) {
            Ok(_) => write_out(disk, &path, &target, found)?,
            Err(_) => copy_file(disk, &path, &target, found).map_err(failed)?,
        }
    }
    File::open(to).and_then(|dir| dir.sync_all()).map_err(failed)
}

fn copy_file(disk: &dyn Disk, path: &str, to: &Path, found: &mut CutsFound) -> io::Result<()> {
    let from = disk.open(path, Open::Read)?;
    let mut file = File::create_new(to)?;
    let mut sum = crc32fast::Hasher::new_with_initial(found.images_checksum);
    sum.update(path.as_bytes());
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = 0;
    loop {
        let read = from.read_at(&mut chunk, at)?;
        let part = chunk.get(..read).unwrap_or_default();
        if part.is_empty() {
            break;
        }
        file.write_all(part)?;
        sum.update(part);
        at += read as u64;
    }
    found.images_checksum = sum.finalize();
    found.image_bytes += at;
    file.sync_all()
}

/// Opens the image as a program would, and holds it against what is known.
fn look(
    dir: &Path,
    known: &[Known],
    content: &Content,
    found: &mut CutsFound,
    complaints: &mut Vec<String>,
) -> Result<(), Failure> {
    let ledger = match Options::new().segment_bytes(1024 * 1024).open(dir) {
        Ok(ledger) => ledger,
        // The user's own disk: no finding about the ledger.
        Err(error) if matches!(error.kind(), ErrorKind::DiskLow { .. } | ErrorKind::Io { .. }) => {
            return Err(error.into());
        }
        Err(error) => {
            found.refused_opens += 1;
            complaints.push(format!("opening refused: {error}"));
            return Ok(());
        }
    };
    found.torn_tails += u64::from(ledger.recovery_report().torn_bytes > 0);
    let orders = ledger.orders().collect::<order_ledger::Result<Vec<Order>>>()?;
    compare(&ledger, &orders, known, content, found, complaints)?;
    submit_again(&ledger, &orders, known, content, found, complaints)?;
    let orders = ledger.stats()?.orders;
    wait_for_views(&ledger)?;
    ledger.close()?;
    let seen = Reader::open(dir)?.orders().filter(Result::is_ok).count() as u64;
    let mut wrong: Vec<String> = unsound(&verify(dir)?).into_iter().collect();
    if seen != orders {
        wrong.push(format!("a reader sees {seen} of {orders} orders"));
    }
    found.unsound += u64::from(!wrong.is_empty());
    complaints.extend(wrong);
    Ok(())
}

/// Closing does not wait for sled to open, which would then still make files in a directory that is about
/// to be removed.
#[expect(clippy::disallowed_methods, reason = "the views tell nobody when they are open")]
fn wait_for_views(ledger: &Ledger) -> Result<(), Failure> {
    let began = Instant::now();
    while began.elapsed() < VIEWS_WAIT_MAX
        && ledger.stats()?.views.is_some_and(|views| views.phase == "opening")
    {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Every acknowledged order is there once, as it was; what nobody has is not.
fn compare(
    ledger: &Ledger,
    orders: &[Order],
    known: &[Known],
    content: &Content,
    found: &mut CutsFound,
    complaints: &mut Vec<String>,
) -> Result<(), Failure> {
    let mut there: HashMap<&[u8], Vec<&Order>> = HashMap::new();
    for order in orders {
        there.entry(&order.key).or_default().push(order);
    }
    let (mut doubts, mut doubts_there) = (0u64, 0u64);
    for Known { key, fate } in known {
        let copies = there.remove(key.as_bytes()).unwrap_or_default();
        let mut complain = |count: &mut u64, what: &str| {
            *count += 1;
            complaints.push(format!("{key}: {what}"));
        };
        if copies.len() > 1 {
            complain(&mut found.doubled, "there twice");
        }
        let order = copies.first().copied();
        match (fate, order) {
            (Fate::Acknowledged(receipt), Some(order)) => {
                found.found += 1;
                let same = order.receipt == *receipt
                    && order.payload == content.submission(key).payload()
                    && ledger.by_key(CLIENT, key)?.as_ref() == Some(order)
                    && ledger.get(order.id())?.as_ref() == Some(order);
                if !same {
                    complain(&mut found.changed, "not as it was acknowledged");
                }
            }
            (Fate::Acknowledged(_), None) => complain(&mut found.lost, "acknowledged and gone"),
            (Fate::Free, Some(_)) => {
                complain(&mut found.invented, "told not to be recorded, and there");
            }
            (Fate::Free, None) => {}
            (Fate::InDoubt, order) => {
                doubts += 1;
                doubts_there += u64::from(order.is_some());
            }
        }
    }
    found.in_doubt += doubts;
    if doubts_there != 0 && doubts_there != doubts {
        found.halved += 1;
        complaints.push(format!("{doubts_there} of the {doubts} orders of one group are there"));
    }
    if !there.is_empty() {
        found.invented += there.len() as u64;
        complaints.push(format!("{} orders that nobody submitted", there.len()));
    }
    Ok(())
}

/// The same keys again: what is there gives the same receipt, what is not is taken, once.
fn submit_again(
    ledger: &Ledger,
    orders: &[Order],
    known: &[Known],
    content: &Content,
    found: &mut CutsFound,
    complaints: &mut Vec<String>,
) -> Result<(), Failure> {
    let receipts: HashMap<&[u8], _> =
        orders.iter().map(|order| (order.key.as_slice(), order.receipt)).collect();
    let mut expected = receipts.len() as u64;
    for (index, Known { key, fate }) in known.iter().enumerate() {
        if matches!(fate, Fate::Acknowledged(_)) && !index.is_multiple_of(REPLAYED_ONE_IN) {
            continue;
        }
        let before = receipts.get(key.as_bytes());
        expected += u64::from(before.is_none());
        match ledger.submit(&content.submission(key)) {
            Ok(outcome) if before.is_none_or(|before| *before == outcome.receipt) => {}
            Ok(_) => {
                found.changed += 1;
                complaints.push(format!("{key}: another receipt when submitted again"));
            }
            Err(error) if matches!(error.certainty(), Certainty::Recorded(_)) => {
                found.changed += 1;
                complaints.push(format!("{key}: submitted again: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let orders = ledger.stats()?.orders;
    if orders != expected {
        found.doubled += orders.abs_diff(expected);
        complaints.push(format!("{orders} orders after submitting again, not {expected}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history that acknowledged something, what is looked for, and a place for what it left.
    struct Image {
        history: Vec<Known>,
        disk: order_ledger::disk::sim::SimDisk,
        content: Content,
        place: tempfile::TempDir,
    }

    impl Image {
        fn new() -> Image {
            let content = Content::new(None).unwrap();
            let is_full = |history: &History<'_>| {
                let known = history.known.iter();
                known.filter(|known| matches!(known.fate, Fate::Acknowledged(_))).count() > 20
                    && history.known.iter().all(|known| known.fate != Fate::InDoubt)
            };
            let history =
                (0..).map(|seed| History::run(seed, None, &content)).find(is_full).unwrap();
            let (known, disk) = (history.known.clone(), history.disk.clone());
            Image { history: known, disk, content, place: tempfile::tempdir().unwrap() }
        }

        fn look(&self, known: &[Known]) -> CutsFound {
            let (mut found, mut complaints) = (CutsFound::default(), Vec::new());
            let dir = self.place.path().join("image");
            remove(&dir).unwrap();
            write_out(&*self.disk.as_disk(), "", &dir, &mut found).unwrap();
            look(&dir, known, &self.content, &mut found, &mut complaints).unwrap();
            assert_eq!(complaints.is_empty(), found.violations() == 0, "{complaints:?}");
            found
        }

        fn acknowledged(&self) -> usize {
            self.history
                .iter()
                .position(|known| matches!(known.fate, Fate::Acknowledged(_)))
                .unwrap()
        }
    }

    #[test]
    fn what_is_as_it_was_acknowledged_is_no_violation() {
        let image = Image::new();
        let found = image.look(&image.history);
        assert_eq!(found.violations(), 0);
        assert!(found.found > 20 && found.image_bytes > 16 * 1024);
    }

    #[test]
    fn an_acknowledged_order_that_is_gone_is_lost() {
        let image = Image::new();
        let mut known = image.history.clone();
        let fate = known[image.acknowledged()].fate;
        known.push(Known { key: "never".into(), fate });
        assert_eq!(image.look(&known).lost, 1);
    }

    #[test]
    fn another_receipt_is_a_change() {
        let image = Image::new();
        let mut known = image.history.clone();
        let acknowledged: Vec<usize> = (0..known.len())
            .filter(|index| matches!(known[*index].fate, Fate::Acknowledged(_)))
            .collect();
        let (one, other) = (acknowledged[0], acknowledged[1]);
        known[one].fate = known[other].fate;
        assert_eq!(image.look(&known).changed, 1);
    }

    #[test]
    fn an_order_that_was_told_not_recorded_or_that_nobody_knows_is_invented() {
        let image = Image::new();
        let mut known = image.history.clone();
        let index = image.acknowledged();
        known[index].fate = Fate::Free;
        assert_eq!(image.look(&known).invented, 1);
        known.remove(index);
        assert!(image.look(&known).invented == 1);
    }

    #[test]
    fn a_part_of_a_group_in_doubt_is_half_a_group() {
        let image = Image::new();
        let mut known = image.history.clone();
        known[image.acknowledged()].fate = Fate::InDoubt;
        assert_eq!(image.look(&known).halved, 0);
        known.push(Known { key: "never".into(), fate: Fate::InDoubt });
        assert_eq!(image.look(&known).halved, 1);
    }

    #[test]
    fn an_image_that_does_not_open_is_a_violation() {
        let image = Image::new();
        image.disk.overwrite("LEDGER", 0, &[0; 64]).unwrap();
        assert_eq!(image.look(&image.history).refused_opens, 1);
    }
}
