//! The clocks and the random numbers of the simulated host.

use super::*;

#[test]
fn the_clocks_move_only_when_read_or_told() {
    let simulated = SimHost::new(5);
    let host = simulated.as_host();
    let (wall_ns, monotonic_ns) = (host.wall_ns(), host.monotonic_ns());
    assert_eq!(host.wall_ns(), wall_ns + 2_000);
    assert_eq!(host.monotonic_ns(), monotonic_ns + 2_000);
    host.sleep(Duration::from_secs(60));
    simulated.advance(Duration::from_secs(1));
    assert_eq!(host.monotonic_ns(), monotonic_ns + 61_000_003_000);
    // The wall clock jumps back; the other one does not.
    simulated.set_wall_ns(42);
    assert_eq!(host.wall_ns(), 1_042);
    assert!(host.monotonic_ns() > monotonic_ns);
    simulated.set_process_id(7);
    assert_eq!(host.process_id(), 7);
}

#[test]
fn randomness_follows_the_seed() {
    let draw = |seed| {
        let mut bytes = [0; 20];
        SimHost::new(seed).fill_random(&mut bytes);
        bytes
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn a_slow_call_takes_its_time_on_the_clock_it_was_given() {
    let (disk, mounted, file) = disk_with("f", b"content");
    let host = SimHost::new(1);
    disk.slow_call(2, Duration::from_secs(3), &host);
    let before = host.monotonic_ns();
    file.bytes().unwrap();
    let first = host.monotonic_ns();
    assert!(first - before < 1_000_000);
    mounted.free_bytes().unwrap();
    let second = host.monotonic_ns();
    assert!((3_000_000_000..3_001_000_000).contains(&(second - first)));
    file.bytes().unwrap();
    assert!(host.monotonic_ns() - second < 1_000_000, "it is over");
}

#[test]
fn a_digest_is_one_of_durable_names_sizes_and_bytes() {
    let (disk, mounted, file) = disk_with("f", b"content");
    let first = disk.digest("");
    write_all_at(&*file, b"C", 0).unwrap();
    let made = mounted.open("g", Open::CreateNew).unwrap();
    assert_eq!(disk.digest(""), first, "nothing of it is durable");
    file.sync().unwrap();
    let written = disk.digest("");
    mounted.sync_dir("").unwrap();
    let named = disk.digest("");
    file.set_bytes(9).unwrap();
    file.sync().unwrap();
    let longer = disk.digest("");
    let all = BTreeSet::from([first, written, named, longer]);
    assert_eq!(all.len(), 4);
    assert_eq!(disk.digest("g"), disk.digest("g"));
    assert_ne!(disk.digest("g"), longer);
    drop(made);
}

#[test]
fn handles_are_those_of_the_living_process() {
    let (disk, mounted, file) = disk_with("f", b"");
    let lock = mounted.lock("LOCK").unwrap();
    assert_eq!(disk.open_handles(), 2);
    drop(file);
    assert_eq!(disk.open_handles(), 1);
    disk.kill();
    assert_eq!(disk.open_handles(), 0);
    drop(lock);
    assert_eq!(disk.open_handles(), 0);
}
