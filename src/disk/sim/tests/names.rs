//! What a power cut leaves of names: files that were made, renamed and removed, and the directories they are in.

use super::*;

#[test]
fn a_name_vanishes_though_its_file_was_synced() {
    let disk = SimDisk::new(1);
    let mounted = disk.as_disk();
    let file = mounted.open("f", Open::CreateNew).unwrap();
    write_all_at(&*file, b"synced", 0).unwrap();
    sync(&*file).unwrap();
    let before = disk.snapshot();
    disk.crash(drop_all());
    assert!(!has(&disk, "f"));
    // ext4 hides the missing sync of the directory.
    disk.restore(&before);
    disk.crash(Crash::new(CrashMode::Ext4Like, 3));
    assert_eq!(content(&disk, "f"), b"synced");
    // With it, the name is safe.
    disk.restore(&before);
    disk.as_disk().sync_dir("").unwrap();
    disk.crash(drop_all());
    assert_eq!(content(&disk, "f"), b"synced");
}

#[test]
fn a_name_that_was_synced_may_lead_to_an_empty_file() {
    let disk = SimDisk::new(1);
    let mounted = disk.as_disk();
    let file = mounted.open("f", Open::CreateNew).unwrap();
    write_all_at(&*file, b"not synced", 0).unwrap();
    mounted.sync_dir("").unwrap();
    disk.crash(drop_all());
    assert_eq!(content(&disk, "f"), b"");
}

#[test]
fn a_directory_must_be_durable_in_its_parent_too() {
    let disk = SimDisk::new(1);
    let mounted = disk.as_disk();
    mounted.create_dir("d").unwrap();
    mounted.open("d/f", Open::CreateNew).unwrap();
    mounted.sync_dir("d").unwrap();
    let before = disk.snapshot();
    disk.crash(drop_all());
    assert_eq!(disk.as_disk().list("").unwrap(), Vec::<String>::new());
    disk.restore(&before);
    disk.as_disk().sync_dir("").unwrap();
    disk.crash(drop_all());
    assert!(has(&disk, "d/f"));
}

#[test]
fn an_unsynced_rename_or_removal_may_be_undone_and_is_never_half() {
    let disk = SimDisk::new(1);
    disk.write_durably("old", b"old").unwrap();
    disk.write_durably("new", b"new").unwrap();
    let mounted = disk.as_disk();
    mounted.rename("new", "old").unwrap();
    let look = |disk: &SimDisk| (has(disk, "new"), content(disk, "old"));
    let found = outcomes(&disk, random, look);
    let (undone, done) = ((true, b"old".to_vec()), (false, b"new".to_vec()));
    assert_eq!(found, BTreeSet::from([undone, done.clone()]));
    disk.as_disk().sync_dir("").unwrap();
    assert_eq!(outcomes(&disk, random, look), BTreeSet::from([done]));

    disk.as_disk().remove("old").unwrap();
    assert!(!has(&disk, "old"));
    let found = outcomes(&disk, random, |disk| has(disk, "old"));
    assert_eq!(found, BTreeSet::from([false, true]));
}

#[test]
fn a_rename_between_directories_needs_both_synced() {
    let disk = SimDisk::new(1);
    let mounted = disk.as_disk();
    mounted.create_dir("a").unwrap();
    mounted.create_dir("b").unwrap();
    mounted.open("a/f", Open::CreateNew).unwrap();
    mounted.sync_dir("a").unwrap();
    mounted.sync_dir("").unwrap();
    mounted.rename("a/f", "b/f").unwrap();
    mounted.sync_dir("b").unwrap();
    let look = |disk: &SimDisk| (has(disk, "a/f"), has(disk, "b/f"));
    assert_eq!(outcomes(&disk, random, look), BTreeSet::from([(true, false), (false, true)]));
    disk.as_disk().sync_dir("a").unwrap();
    assert_eq!(outcomes(&disk, random, look), BTreeSet::from([(false, true)]));
    // A removal of the new name that is durable must not bring back the old one.
    let mounted = disk.as_disk();
    mounted.rename("b/f", "a/f").unwrap();
    mounted.remove("a/f").unwrap();
    mounted.sync_dir("a").unwrap();
    assert_eq!(outcomes(&disk, random, look), BTreeSet::from([(false, false)]));
}

#[test]
fn names_survive_independently_and_in_order_of_each_name() {
    let disk = SimDisk::new(1);
    let mounted = disk.as_disk();
    mounted.open("x", Open::CreateNew).unwrap();
    mounted.open("y", Open::CreateNew).unwrap();
    mounted.rename("y", "z").unwrap();
    let found = outcomes(&disk, random, |disk| disk.as_disk().list("").unwrap().join(""));
    let expected = ["", "x", "y", "z", "xy", "xz"];
    assert_eq!(found, expected.iter().map(|names| (*names).to_owned()).collect());
    // The last without the first; but never a rename without what it renames.
    let adversarial = |seed| Crash::new(CrashMode::Adversarial, seed);
    let found = outcomes(&disk, adversarial, |disk| disk.as_disk().list("").unwrap().join(""));
    assert_eq!(found, ["", "xz", "z"].iter().map(|names| (*names).to_owned()).collect());
}

#[test]
fn a_file_that_was_renamed_twice_has_one_name_after_a_power_cut() {
    let disk = SimDisk::new(1);
    disk.write_durably("a", b"").unwrap();
    let mounted = disk.as_disk();
    mounted.rename("a", "b").unwrap();
    mounted.rename("b", "c").unwrap();
    let look = |disk: &SimDisk| disk.as_disk().list("").unwrap().join("");
    let expected = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(outcomes(&disk, random, look), expected(&["a", "b", "c"]));
    let adversarial = |seed| Crash::new(CrashMode::Adversarial, seed);
    assert_eq!(outcomes(&disk, adversarial, look), expected(&["a", "c"]));
}

#[test]
fn ext4_keeps_names_in_order_and_all_before_any_sync() {
    let (disk, mounted, file) = disk_with("f", b"");
    mounted.open("a", Open::CreateNew).unwrap();
    write_all_at(&*file, b"1", 0).unwrap();
    sync(&*file).unwrap();
    mounted.open("b", Open::CreateNew).unwrap();
    mounted.open("c", Open::CreateNew).unwrap();
    let ext4 = |seed| Crash::new(CrashMode::Ext4Like, seed);
    let found = outcomes(&disk, ext4, |disk| disk.as_disk().list("").unwrap().join(""));
    assert_eq!(found, ["af", "abf", "abcf"].iter().map(|names| (*names).to_owned()).collect());
}
