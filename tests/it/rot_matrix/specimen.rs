//! The ledgers that are damaged: 64 KiB of log and more, in every state that a log may rest in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use order_ledger::disk::sim::{SECTOR_BYTES, SimDisk, Snapshot};
use order_ledger::{GroupPadding, Options, Order, Submission};

use crate::log_rules::forge;
use crate::rig::{all_orders, durable, large, order, settle, sim, small};

/// Where the witness is.
pub(super) const WITNESS: &str = "derived/tables/MANIFEST";

/// How a ledger came to rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    /// Closed: a seal behind the last group, and a witness that has seen it.
    Closed,
    /// Killed after an acknowledged group: nothing proves that one yet.
    Killed,
    /// Killed after a rotation: the segment before the last has no footer yet.
    Unsealed,
}

/// A ledger, and the truth about it.
pub(super) struct Specimen {
    pub(super) name: &'static str,
    pub(super) rest: Rest,
    pub(super) options: Options,
    pub(super) image: Snapshot,
    /// What was acknowledged, and what it was submitted as.
    pub(super) orders: Vec<Order>,
    pub(super) submissions: Vec<Submission>,
    /// All files and their content.
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// The content that a file had at some earlier moment.
    pub(super) older_files: Vec<(String, Vec<u8>)>,
    /// The content that a sector had at some earlier moment, with its offset.
    pub(super) older_sectors: Vec<(String, usize, Vec<u8>)>,
    /// The last segment, and where the last group with orders begins in it.
    pub(super) tail: (String, usize),
    /// The seq that each group with orders begins with.
    pub(super) group_seqs: Vec<u64>,
    /// The witness has seen everything below this seq.
    pub(super) witness_next: u64,
}

impl Specimen {
    pub(super) fn all() -> Vec<Specimen> {
        vec![
            Specimen::make("closed", Rest::Closed, GroupPadding::PowerSafeOverwrite),
            Specimen::make("killed", Rest::Killed, GroupPadding::PowerSafeOverwrite),
            Specimen::make("unsealed", Rest::Unsealed, GroupPadding::PowerSafeOverwrite),
            Specimen::make("closed, in blocks", Rest::Closed, GroupPadding::Block),
        ]
    }

    fn make(name: &'static str, rest: Rest, padding: GroupPadding) -> Specimen {
        let options = small().group_padding(padding);
        let (disk, host) = sim(28);
        let ledger = options.open_simulated(disk.as_disk(), host.as_host()).unwrap();
        let mut submissions = Vec::new();
        let mut past = Past::default();
        let segments = if rest == Rest::Unsealed { 4 } else { 3 };
        // Groups in the last segment: several, so that some lie between the witness and the last one.
        let mut groups_in_last = 0;
        for number in 0.. {
            let before = ledger.stats().unwrap().segments;
            if number % 3 == 2 {
                let batch: Vec<_> = (0..3).map(|index| order(100 + number * 10 + index)).collect();
                assert!(ledger.submit_many(&batch).iter().all(Result::is_ok));
                submissions.extend(batch);
            } else {
                let one = large(number, 2000 + 50 * usize::try_from(number).unwrap());
                ledger.submit(&one).unwrap();
                submissions.push(one);
            }
            past.look(&disk);
            let now = ledger.stats().unwrap().segments;
            groups_in_last = if before < now { 1 } else { groups_in_last + 1 };
            let wanted = if rest == Rest::Unsealed { 1 } else { 3 };
            if now == segments && groups_in_last == wanted {
                break;
            }
            ledger.tick();
            past.look(&disk);
            host.advance(Duration::from_millis(10));
        }
        let orders = all_orders(&ledger).unwrap();
        match rest {
            Rest::Closed => ledger.close().unwrap(),
            Rest::Killed | Rest::Unsealed => {
                disk.kill();
                drop(ledger);
            }
        }
        // What was never synced belongs to nobody: the content of LOCK, a file that was being made.
        settle(&disk);
        past.look(&disk);
        Specimen::examine(name, rest, options, &disk, orders, submissions, past)
    }

    fn examine(
        name: &'static str,
        rest: Rest,
        options: Options,
        disk: &SimDisk,
        orders: Vec<Order>,
        submissions: Vec<Submission>,
        past: Past,
    ) -> Specimen {
        let files = durable(disk, "").into_iter().filter(|(path, _)| !path.ends_with(".tmp"));
        let files: Vec<_> = files.collect();
        let log = files.iter().filter(|(path, _)| path.ends_with(".seg"));
        let log_bytes: usize = log.clone().map(|(_, bytes)| bytes.len()).sum();
        assert!(log_bytes >= 64 * 1024, "{name}: {log_bytes} bytes of log");
        let (path, content) = log.clone().next_back().unwrap();
        let last = forge::groups(content);
        // In blocks there is no room for a seal in a segment that is full: then the witness is the proof.
        let has_seal = last.last().unwrap().count == 0;
        assert!(has_seal == (rest == Rest::Closed) || name.contains("blocks"), "{name}");
        let tail = last.iter().rev().find(|group| group.count > 0).unwrap().offset;
        let groups = log.flat_map(|(_, content)| forge::groups(content));
        let group_seqs = groups.filter(|group| group.count > 0).map(|group| group.first_seq);
        let witness = &files.iter().find(|(path, _)| path == WITNESS).unwrap().1;
        let witness_next = forge::u64_at(witness, 28);
        let end = orders.len() as u64 + 1;
        // A closed ledger is proven to its end, the others are not.
        assert_eq!(witness_next == end, rest == Rest::Closed, "{name}: {witness_next} of {end}");
        let (older_files, older_sectors) = past.older_than(&files);
        Specimen {
            name,
            rest,
            options,
            image: disk.snapshot(),
            orders,
            submissions,
            tail: (path.clone(), tail),
            group_seqs: group_seqs.collect(),
            files,
            older_files,
            older_sectors,
            witness_next,
        }
    }

    pub(super) fn content(&self, path: &str) -> &[u8] {
        &self.files.iter().find(|(other, _)| other == path).unwrap().1
    }

    /// The segments of the log.
    pub(super) fn segments(&self) -> Vec<&(String, Vec<u8>)> {
        self.files.iter().filter(|(path, _)| path.ends_with(".seg")).collect()
    }
}

/// Every content that the files have had.
#[derive(Default)]
struct Past {
    seen: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Past {
    fn look(&mut self, disk: &SimDisk) {
        for (path, content) in durable(disk, "") {
            let seen = self.seen.entry(path).or_default();
            if seen.last() != Some(&content) {
                seen.push(content);
            }
        }
    }

    #[expect(clippy::type_complexity, reason = "files and sectors, each with its place")]
    fn older_than(
        self,
        files: &[(String, Vec<u8>)],
    ) -> (Vec<(String, Vec<u8>)>, Vec<(String, usize, Vec<u8>)>) {
        let (mut whole, mut sectors) = (Vec::new(), BTreeSet::new());
        for (path, now) in files {
            for then in self.seen.get(path).into_iter().flatten().filter(|then| *then != now) {
                whole.push((path.clone(), then.clone()));
                for (index, sector) in then.chunks(SECTOR_BYTES).enumerate() {
                    let offset = index * SECTOR_BYTES;
                    if now.get(offset..offset + sector.len()) != Some(sector) {
                        sectors.insert((path.clone(), offset, sector.to_vec()));
                    }
                }
            }
        }
        (whole, sectors.into_iter().collect())
    }
}
