//! L4, false alarms: whatever a power cut may leave of the last group, opening goes on by itself.
//!
//! The story: the most careful log among the peers refused to open after 36 of 80 power cuts in the
//! middle of a commit, because it judged record by record what one sync had covered as a group
//! (RELIABILITY F5). A ledger that refuses after every second power cut is repaired by hand, and hands
//! cut what was not torn.
//!
//! One seed is one image: a ledger with random options writes one last group; the disk is taken as it was
//! right before that write; then, many times, any part of the write arrives. Each sector of it is old,
//! new, or both with a border at some byte; in a ledger padded to blocks it may hold anything, for such
//! a device promises nothing about a sector that was being written. Old means:
//!
//! - *zeros*: written ahead, the usual case;
//! - *unwritten*: never allocated, reads as zeros;
//! - *reused*: what an earlier torn group left that the power cut while it was being cut (rule 24), so that
//!   bytes of several dead groups lie there, with the number and the link of the one that comes next;
//! - a *new segment*, whose first group this is.
//!
//! Payloads look like groups: pieces of the log itself, with the right nonce. The state after opening is
//! the one before the group, or the one with it; with it if all of it arrived, for then it may have been
//! acknowledged.
//!
//! `ORDER_LEDGER_SEEDS` images (of 200 tears each) from `ORDER_LEDGER_SEED_FIRST` on.

use std::sync::{Arc, Mutex};

use order_ledger::disk::sim::{SECTOR_BYTES, SimDisk, SimHost, Snapshot};
use order_ledger::{
    GroupPadding, How, Options, Order, Reader, Soundness, Submission, Views, verify_on,
};

use crate::layers::{Counts, Depth, number, on_all_cores};
use crate::rig::{Call, Hooked, Random, all_orders, order};

/// Tears per image.
const TEARS: u64 = 200;

#[test]
fn whatever_a_power_cut_leaves_of_the_last_group_is_cut_and_never_refused() {
    let first = number("ORDER_LEDGER_SEED_FIRST").unwrap_or(0);
    let seeds = number("ORDER_LEDGER_SEEDS").unwrap_or(match Depth::from_env() {
        Depth::Sample => 15,
        Depth::Gate => 250,
        Depth::Full => 5_000,
    });
    let work = |_: &mut (), seed, counts: &mut Counts| one_image(seed, counts);
    let mut counts = on_all_cores(first..first + seeds, 1, || (), work, again);
    for name in ["refusals", "wrong_states", "panics"] {
        counts.add(name, 0);
    }
    counts.print_result("L4");
    for name in ["refusals", "wrong_states", "panics"] {
        assert_eq!(counts.get(name), 0, "{name}, see above");
    }
    if seeds >= 200 {
        let kinds = ["zeros", "unwritten", "reused", "new_segment", "garbage", "lookalikes"];
        for name in kinds.into_iter().chain(["cut", "whole", "went_on", "all_subsets"]) {
            assert!(counts.get(name) > 0, "no case of {name}: this does not test what it says");
        }
    }
}

/// The command that runs one image again.
fn again(seed: u64) -> String {
    format!(
        "ORDER_LEDGER_SEED_FIRST={seed} ORDER_LEDGER_SEEDS=1 cargo test --release \
         --no-default-features --test it false_alarms:: -- --nocapture"
    )
}

/// The last write of a group: the disk right before it, and what it was going to write.
struct Last {
    before: Snapshot,
    path: String,
    offset: u64,
    new: Vec<u8>,
    old: Vec<u8>,
}

/// Remembers the disk before each write of a group.
struct Watch {
    disk: SimDisk,
    hooked: Arc<Hooked>,
    before: Arc<Mutex<Option<(Snapshot, Call)>>>,
}

impl Watch {
    fn new(disk: &SimDisk) -> Watch {
        let before = Arc::new(Mutex::new(None));
        let (seen, watched) = (Arc::clone(&before), disk.clone());
        let hook = move |call: &Call| {
            // The header of a segment is written at 0, under another name.
            if call.what == "write" && call.path.ends_with(".seg") {
                *seen.lock().unwrap() = Some((watched.snapshot(), call.clone()));
            }
        };
        let hooked = Hooked::new(disk.as_disk(), Arc::new(hook));
        Watch { disk: disk.clone(), hooked, before }
    }

    /// The last write, as it arrived whole.
    fn last(&self) -> Last {
        let (before, call) = self.before.lock().unwrap().take().unwrap();
        let start = usize::try_from(call.offset).unwrap();
        let end = start + usize::try_from(call.bytes).unwrap();
        let new = self.disk.read_durable(&call.path).unwrap()[start..end].to_vec();
        let then = SimDisk::new(0);
        then.restore(&before);
        let old = then.read_durable(&call.path).unwrap()[start..end].to_vec();
        Last { before, path: call.path, offset: call.offset, new, old }
    }
}

/// What lies where the group is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Space {
    Zeros,
    Unwritten,
    Reused,
}

struct Image {
    random: Random,
    host: SimHost,
    options: Options,
    padding: GroupPadding,
    truth: Vec<Order>,
    last: Last,
    batch: Vec<Submission>,
}

fn one_image(seed: u64, counts: &mut Counts) {
    let mut random = Random::new(seed ^ 0x0004_a1a7);
    let padding = random.pick(&[GroupPadding::PowerSafeOverwrite, GroupPadding::Block]);
    let options = Options::new()
        .segment_bytes(random.pick(&[16, 32, 64, 128]) * 1024)
        .group_padding(padding)
        .disk_reserve_bytes(0)
        .disk_free_min_bytes(0)
        .views(Views::Off);
    let space = random.pick(&[Space::Zeros, Space::Zeros, Space::Unwritten, Space::Reused]);
    let (disk, host) = (SimDisk::new(random.next()), SimHost::new(random.next()));
    let watch = Watch::new(&disk);
    let ledger = options.open_simulated(watch.hooked.clone(), host.as_host()).unwrap();
    let mut key = 0;
    for _ in 0..1 + random.below(5) {
        let some: Vec<_> = (0..1 + random.below(4))
            .map(|_| {
                key += 1;
                order(key)
            })
            .collect();
        assert!(ledger.submit_many(&some).iter().all(Result::is_ok));
        if random.chance(1, 3) {
            ledger.tick();
        }
    }
    let truth = all_orders(&ledger).unwrap();
    let likes = random.chance(1, 2);
    let batch = make_batch(&mut random, &disk, likes);
    let segments = ledger.stats().unwrap().segments;
    disk.kill();
    drop(ledger);
    match space {
        Space::Zeros => {}
        Space::Unwritten => make_unwritten(&disk),
        Space::Reused => leave_dead_groups(&mut random, &disk, &host, &options, &batch, &truth),
    }
    let watch = Watch::new(&disk);
    let ledger = options.open_simulated(watch.hooked.clone(), host.as_host()).unwrap();
    assert!(all_orders(&ledger).unwrap() == truth);
    assert!(ledger.submit_many(&batch).iter().all(Result::is_ok));
    let new_segment = ledger.stats().unwrap().segments > segments;
    let last = watch.last();
    disk.kill();
    drop(ledger);

    let mut image = Image { random, host, options, padding, truth, last, batch };
    let sectors = image.changed_sectors();
    let mut cases = 0;
    // All subsets when there are few, as the sample of a sampler.
    let all_subsets = sectors.len() <= 7;
    if all_subsets {
        for subset in 0..1_u64 << sectors.len() {
            let content = image.subset(&sectors, subset);
            image.judge(seed, &disk, &content, counts);
            cases += 1;
        }
        counts.add("all_subsets", cases);
    }
    while cases < TEARS {
        let (content, garbage) = image.tear(&sectors);
        image.judge(seed, &disk, &content, counts);
        counts.add("garbage", u64::from(garbage));
        cases += 1;
    }
    counts.add("images", 1);
    counts.add("groups", cases);
    counts.add("lookalikes", if likes { cases } else { 0 });
    counts.add("new_segment", if new_segment { cases } else { 0 });
    let space = match space {
        Space::Zeros => "zeros",
        Space::Unwritten => "unwritten",
        Space::Reused => "reused",
    };
    counts.add(space, cases);
}

/// 1 to 300 orders in one group. When they look like groups, their payloads are pieces of the log.
fn make_batch(random: &mut Random, disk: &SimDisk, likes: bool) -> Vec<Submission> {
    let count = match random.below(4) {
        0 => 1,
        1 => 1 + random.below(10),
        2 => 1 + random.below(60),
        _ => 1 + random.below(300),
    };
    let bytes_max = if count > 60 { 300 } else { 1500 };
    let log = disk.read_durable("wal/0000000001.seg").unwrap();
    let make = |number: u64| {
        let bytes = random.index(bytes_max);
        let payload = match likes {
            // From the groups on, and at the alignment of groups in the payload, more or less.
            true => {
                let start = 4096 + random.index(2048) / 8 * 8;
                log[start..log.len().min(start + bytes)].to_vec()
            }
            false => random.bytes(bytes),
        };
        Submission::new("web", format!("last {number}"), payload)
    };
    (0..count).map(make).collect()
}

/// Makes every block of zeros at the end of the segments a hole.
fn make_unwritten(disk: &SimDisk) {
    for (path, bytes) in disk.files().into_iter().filter(|(path, _)| path.ends_with(".seg")) {
        let content = disk.read_durable(&path).unwrap();
        let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        disk.truncate(&path, used as u64).unwrap();
        disk.truncate(&path, bytes).unwrap();
    }
}

/// Up to three times: a group is torn, and the power goes off while its remains are cut.
fn leave_dead_groups(
    random: &mut Random,
    disk: &SimDisk,
    host: &SimHost,
    options: &Options,
    batch: &[Submission],
    truth: &[Order],
) {
    for _ in 0..1 + random.below(3) {
        let watch = Watch::new(disk);
        let ledger = options.open_simulated(watch.hooked.clone(), host.as_host()).unwrap();
        assert!(all_orders(&ledger).unwrap() == truth);
        let some = 1 + random.index(batch.len());
        assert!(ledger.submit_many(&batch[..some]).iter().all(Result::is_ok));
        let last = watch.last();
        disk.restore(&last.before);
        drop(ledger);
        let mut content = last.new.clone();
        // Its first sector stays old, so that it is surely torn; of the others some are lost too.
        for (index, (new, old)) in
            content.chunks_mut(SECTOR_BYTES).zip(last.old.chunks(SECTOR_BYTES)).enumerate()
        {
            let first = new != old;
            if (first && index == first_changed(&last)) || random.chance(1, 4) {
                new.copy_from_slice(old);
            }
        }
        disk.overwrite(&last.path, last.offset, &content).unwrap();
        // Cut off in the middle of cutting: each sector of the remains is zeroed or not.
        disk.power_off_after(1 + random.below(40));
        drop(options.open_simulated(disk.as_disk(), host.as_host()));
        let mode = order_ledger::disk::sim::CrashMode::Random;
        disk.crash(order_ledger::disk::sim::Crash::new(mode, random.next()));
    }
}

fn first_changed(last: &Last) -> usize {
    let sectors = last.new.chunks(SECTOR_BYTES).zip(last.old.chunks(SECTOR_BYTES));
    sectors.into_iter().position(|(new, old)| new != old).unwrap()
}

impl Image {
    /// The sectors of the write that are not as they were: offsets within it.
    fn changed_sectors(&self) -> Vec<usize> {
        let starts = (0..self.last.new.len()).step_by(SECTOR_BYTES);
        let changed = |start: &usize| {
            self.last.new[*start..*start + SECTOR_BYTES]
                != self.last.old[*start..*start + SECTOR_BYTES]
        };
        starts.filter(changed).collect()
    }

    fn subset(&self, sectors: &[usize], subset: u64) -> Vec<u8> {
        let mut content = self.last.old.clone();
        let arrived = |(bit, start): (usize, &usize)| ((subset >> bit) & 1 == 1).then_some(*start);
        for start in sectors.iter().enumerate().filter_map(arrived) {
            let range = start..start + SECTOR_BYTES;
            content[range.clone()].copy_from_slice(&self.last.new[range]);
        }
        content
    }

    /// A random part of the write. Answers also whether a sector holds garbage.
    fn tear(&mut self, sectors: &[usize]) -> (Vec<u8>, bool) {
        let mut content = self.last.old.clone();
        let odds = 1 + self.random.below(15);
        let garbage = self.padding == GroupPadding::Block && self.random.chance(1, 3);
        let mut any_garbage = false;
        for start in sectors {
            let range = *start..*start + SECTOR_BYTES;
            let new = &self.last.new[range.clone()];
            let sector = &mut content[range];
            if self.random.chance(odds, 16) {
                sector.copy_from_slice(new);
            } else if self.random.chance(1, 4) {
                let border = self.random.index(SECTOR_BYTES);
                match self.random.chance(1, 2) {
                    true => sector[..border].copy_from_slice(&new[..border]),
                    false => sector[border..].copy_from_slice(&new[border..]),
                }
            }
            if garbage && self.random.chance(1, 8) {
                sector.copy_from_slice(&self.random.bytes(SECTOR_BYTES));
                any_garbage = true;
            }
        }
        (content, any_garbage)
    }

    /// Opens what a power cut left, in every way.
    fn judge(&mut self, seed: u64, disk: &SimDisk, content: &[u8], counts: &mut Counts) {
        disk.restore(&self.last.before);
        disk.overwrite(&self.last.path, self.last.offset, content).unwrap();
        let mut complain = |name: &str, what: String| {
            crate::layers::complain(&format!(
                "seed {seed}: {name}: {what}; again: {}",
                again(seed)
            ));
            counts.add(name, 1);
        };
        match verify_on(disk.as_disk(), &self.host, &mut |_, _| {}) {
            Ok(report) if report.soundness() == Soundness::Sound => {}
            Ok(report) => complain("refusals", format!("verify: {:?}", report.findings)),
            Err(error) => complain("refusals", format!("verify: {error}")),
        }
        let seen = Reader::open_on(disk.as_disk(), &self.host)
            .and_then(|reader| reader.orders().collect::<order_ledger::Result<Vec<_>>>());
        let seen = match seen {
            Ok(seen) => seen.len(),
            Err(error) => return complain("refusals", format!("reader: {error}")),
        };
        let ledger = match self.options.open_simulated(disk.as_disk(), self.host.as_host()) {
            Ok(ledger) => ledger,
            Err(error) => return complain("refusals", error.to_string()),
        };
        let found = match all_orders(&ledger) {
            Ok(found) => found,
            Err(error) => return complain("refusals", format!("reading: {error}")),
        };
        let (before, after) = (self.truth.len(), self.truth.len() + self.batch.len());
        let is_prefix = found.starts_with(&self.truth);
        let is_whole = found.len() == after;
        if !is_prefix || !(is_whole || found.len() == before) {
            return complain("wrong_states", format!("{} orders of {before}", found.len()));
        }
        if seen != found.len() {
            complain("wrong_states", format!("a reader saw {seen} of {}", found.len()));
        }
        if content == self.last.new && !is_whole {
            complain("wrong_states", "all of the group arrived, and it was cut".to_owned());
        }
        // It goes on from there: the orders of the group are taken now, or replayed, and stay.
        if self.random.chance(1, 8) {
            let how = if is_whole { How::Replayed } else { How::Fresh };
            let again = ledger.submit_many(&self.batch);
            if !again.iter().all(|result| result.as_ref().is_ok_and(|outcome| outcome.how == how)) {
                complain("wrong_states", format!("not all {how:?} in the retry"));
            }
            disk.crash(order_ledger::disk::sim::Crash::new(
                order_ledger::disk::sim::CrashMode::DropAll,
                self.random.next(),
            ));
            drop(ledger);
            let reopened = self.options.open_simulated(disk.as_disk(), self.host.as_host());
            match reopened.and_then(|ledger| all_orders(&ledger)) {
                Ok(orders) if orders.len() == after => {}
                other => complain("wrong_states", format!("after the retry: {other:?}")),
            }
            counts.add("went_on", 1);
        }
        counts.add(if is_whole { "whole" } else { "cut" }, 1);
    }
}
