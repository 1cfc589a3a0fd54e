//! Runs of several segments: written, opened, and not taken for those of other segments.

use super::*;
use crate::disk::sim::SimDisk;

const LEDGER: LedgerId = LedgerId([9; 16]);

fn span(keys: u64) -> Span {
    Span {
        first: 5,
        last: 8,
        first_header_crc: 11,
        end_link: 12,
        first_seq: Seq(100),
        next_seq: Seq(100 + keys),
        keys,
    }
}

/// A disk, and the runs of the four parts of `span(keys)`: hashes spread evenly, seqs dealt out in turn.
fn parts(keys: u64) -> (SimDisk, Arc<Files>, Vec<Arc<Run>>) {
    let disk = SimDisk::new(1);
    for dir in ["derived", TABLES_DIR] {
        disk.as_disk().create_dir(dir).unwrap();
    }
    for dir in ["", "derived"] {
        disk.as_disk().sync_dir(dir).unwrap();
    }
    let files = Files::new(disk.as_disk());
    let mut runs = Vec::new();
    for part in 0..4 {
        let mut entries: Vec<_> =
            (part..keys).step_by(4).map(|n| (hash(n), Seq(100 + n))).collect();
        entries.sort_unstable();
        runs.push(part_of(&disk, &format!("part {part}"), &entries));
    }
    (disk, files, runs)
}

fn hash(n: u64) -> KeyHash {
    KeyHash(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A run as a segment has one, in a file of its own.
fn part_of(disk: &SimDisk, path: &str, entries: &[(KeyHash, Seq)]) -> Arc<Run> {
    let mut content = Vec::new();
    for (hash, seq) in entries {
        content.put_u64(hash.0).put_u32(u32::try_from(seq.0 - 100).unwrap());
    }
    let file = disk.as_disk().open(path, Open::CreateNew).unwrap();
    disk::write_all_at(&*file, &section::encode(7, SECTION_KEYS, &content), 0).unwrap();
    let at = SectionAt { kind: SECTION_KEYS, offset: 0, content_bytes: content.len() as u64 };
    let filter = filter::build(entries.iter().map(|(hash, _)| *hash));
    let keys = Section { segment: 5, file, blocks: Blocks::new(0), nonce: 7, at };
    Arc::new(Run::new(keys, filter, Seq(100), None))
}

fn merge(
    disk: &SimDisk,
    files: &Arc<Files>,
    runs: &[Arc<Run>],
    span: &Span,
    go_on: &dyn Fn() -> bool,
) -> Result<Run, SectionError> {
    let (blocks, disk) = (Blocks::new(0), disk.as_disk());
    let merge = Merge { disk: &*disk, files, blocks: &blocks, ledger: LEDGER, nonce: 77, go_on };
    merge.run(span, runs)
}

fn file_names(disk: &SimDisk) -> Vec<String> {
    disk.as_disk().list(TABLES_DIR).unwrap()
}

/// Sizes around those of one block and of one piece.
#[test]
fn a_merged_run_holds_the_keys_of_its_parts_and_comes_back() {
    for keys in [0u64, 1, 4, 340, 341, 342, 1363, 1364, 1365, 341 * 64 + 1] {
        let (disk, files, runs) = parts(keys);
        let run = merge(&disk, &files, &runs, &span(keys), &|| true).unwrap();
        let name = run.file.clone().unwrap();
        assert_eq!(file_names(&disk), [name.to_string()]);
        let file = files.file(name.path());
        assert_eq!(file.bytes().unwrap(), span(keys).file_bytes());
        let again = open(&file, &Blocks::new(0), LEDGER, &name, &span(keys)).unwrap();
        for run in [&run, &again] {
            let mut expected: Vec<_> = (0..keys).map(|n| (hash(n), Seq(100 + n))).collect();
            expected.sort_unstable();
            let entries: Vec<_> = run.entries().map(Result::unwrap).collect();
            assert!(entries == expected, "{keys} keys");
            for n in (0..keys).step_by(97) {
                assert!(run.may_hold(hash(n)));
                assert_eq!(run.get(hash(n)).unwrap(), [Seq(100 + n)]);
            }
        }
        let sums = (0..keys).map(|n| entry_sum(hash(n), Seq(100 + n)));
        let checked = check(&file, LEDGER, &name, &span(keys)).unwrap();
        assert_eq!(checked, Ok(sums.fold(0, u64::wrapping_add)));
    }
}

#[test]
fn a_run_of_anything_else_is_none() {
    let (disk, files, runs) = parts(900);
    let run = merge(&disk, &files, &runs, &span(900), &|| true).unwrap();
    let name = run.file.clone().unwrap();
    let file = files.file(name.path());
    let opens = |ledger, name: &Name, span: &Span| {
        open(&file, &Blocks::new(0), ledger, name, span).is_some()
    };
    assert!(opens(LEDGER, &name, &span(900)));
    assert!(!opens(LedgerId([8; 16]), &name, &span(900)), "another ledger");
    assert!(!opens(LEDGER, &Name { nonce: 78, ..name.clone() }, &span(900)), "another name");
    for other in [
        Span { first_header_crc: 10, ..span(900) },
        Span { end_link: 10, ..span(900) },
        Span { first_seq: Seq(99), ..span(900) },
        Span { next_seq: Seq(1001), ..span(900) },
        Span { keys: 899, ..span(900) },
        Span { last: 20, ..span(900) },
    ] {
        assert!(!opens(LEDGER, &name, &other), "{other:?}");
    }
    // Every bit of the header and of the filter is looked at when it is opened, every other when it is read.
    let path = name.path();
    let bytes = disk.read_durable(&path).unwrap();
    let filter_at = span(900).filter_at().offset;
    for bit in (0..8 * 4096).step_by(7).chain((filter_at * 8..bytes.len() as u64 * 8).step_by(97)) {
        disk.flip_bit(&path, bit).unwrap();
        assert!(!opens(LEDGER, &name, &span(900)), "bit {bit}");
        disk.flip_bit(&path, bit).unwrap();
    }
    disk.flip_bit(&path, 8 * 5000).unwrap();
    assert!(opens(LEDGER, &name, &span(900)));
    assert!(check(&file, LEDGER, &name, &span(900)).unwrap().is_err());
    assert!(run.entries().any(|entry| matches!(entry, Err(SectionError::Damaged { .. }))));
}

#[test]
fn parts_that_are_damaged_or_of_elsewhere_make_no_run() {
    let sorted = |n: u64| (hash(n), Seq(100 + n));
    for (what, bad) in [
        ("one too many", vec![sorted(0), sorted(1)]),
        ("none", Vec::new()),
        ("a seq of elsewhere", vec![(hash(0), Seq(500))]),
    ] {
        let (disk, files, mut runs) = parts(4);
        let mut bad = bad;
        bad.sort_unstable();
        runs[0] = part_of(&disk, "bad", &bad);
        let made = merge(&disk, &files, &runs, &span(4), &|| true);
        assert!(matches!(made, Err(SectionError::Damaged { .. })), "{what}");
        assert!(file_names(&disk).is_empty(), "{what}");
    }
    let (disk, files, mut runs) = parts(8);
    runs[1] = part_of(&disk, "unsorted", &[(KeyHash(9), Seq(101)), (KeyHash(3), Seq(105))]);
    assert!(merge(&disk, &files, &runs, &span(8), &|| true).is_err());
    let (disk, files, runs) = parts(2000);
    let file = disk.as_disk().open("part 2", Open::Write).unwrap();
    file.write_at(&[0xff], 20).unwrap();
    assert!(merge(&disk, &files, &runs, &span(2000), &|| true).is_err());
    assert!(file_names(&disk).is_empty());
}

#[test]
fn a_merge_that_is_called_off_leaves_nothing() {
    let (disk, files, runs) = parts(341 * 64 * 3);
    let left = std::cell::Cell::new(2);
    let go_on = || left.replace(left.get() - 1) > 0;
    let made = merge(&disk, &files, &runs, &span(341 * 64 * 3), &go_on);
    assert!(
        matches!(made, Err(SectionError::Io(error)) if error.kind() == io::ErrorKind::Interrupted)
    );
    assert!(file_names(&disk).is_empty());
}

#[test]
fn names_are_those_of_places_where_runs_are_made() {
    for (first, last) in [(1, 4), (5, 8), (1, 16), (17, 32), (1, 64), (1, 256), (257, 512)] {
        let name = Name { first, last, nonce: 0xab };
        assert_eq!(Name::parse(&name.to_string()), Some(name));
    }
    for (first, last) in [(1, 1), (1, 3), (2, 5), (1, 8), (5, 20), (1, 1024), (4, 1), (0, 3)] {
        assert!(!is_place(first, last), "{first} {last}");
        assert_eq!(Name::parse(&Name { first, last, nonce: 0 }.to_string()), None);
    }
    for other in [
        "MANIFEST",
        "1-4-ab.run",
        "0000000001-0000000004.run",
        "0000000001-0000000004-00000000000000AB.run",
        "0000000001-0000000004-00000000000000ab-.run",
        "0000000001-0000000004-00000000000000ab.run.tmp",
    ] {
        assert_eq!(Name::parse(other), None, "{other}");
    }
    assert!(!is_place(1, u64::MAX) && !is_place(u64::MAX, u64::MAX));
}

#[test]
fn what_is_not_in_use_is_removed_and_what_is_not_ours_stays() {
    let (disk, files, runs) = parts(4);
    let kept = merge(&disk, &files, &runs, &span(4), &|| true).unwrap().file.unwrap();
    let surplus = Name { nonce: 78, ..kept.clone() };
    for path in [
        surplus.path(),
        disk::aside("", &surplus.path()),
        disk::join(TABLES_DIR, "MANIFEST"),
        disk::join(TABLES_DIR, "notes.run"),
        disk::join(TABLES_DIR, "notes.tmp"),
    ] {
        disk.as_disk().open(&path, Open::CreateNew).unwrap();
    }
    assert_eq!(remove_others(&*disk.as_disk(), |name| *name == kept), 2);
    let mut left = file_names(&disk);
    left.sort();
    assert_eq!(left, [kept.to_string().as_str(), "MANIFEST", "notes.run", "notes.tmp"]);
}
