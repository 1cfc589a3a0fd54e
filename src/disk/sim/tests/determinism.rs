//! The same seed and the same calls give the same disk.

use super::*;

#[test]
fn the_same_seed_and_the_same_calls_give_the_same_disk() {
    let run = |seed: u64| {
        let disk = SimDisk::new(seed);
        let mut random = Prng::new(seed);
        let mut reports = Vec::new();
        let mut answers = Vec::new();
        for round in 0..5 {
            let mounted = disk.as_disk();
            let fault = [Fault::Eio, Fault::ShortWrite, Fault::Enospc][random.index(3)];
            disk.fail_call(5 + random.below(20), fault);
            disk.power_off_after(10 + random.below(60));
            for step in 0..40 {
                let path = format!("{}", random.below(5));
                let file = mounted
                    .open(&path, Open::CreateNew)
                    .or_else(|_| mounted.open(&path, Open::Write));
                let Ok(file) = file else { continue };
                let bytes = vec![step; 1 + random.index(1500)];
                answers.push(write_all_at(&*file, &bytes, random.below(2000)).is_ok());
                if random.chance(1, 4) {
                    answers.push(file.sync().is_ok());
                }
                if random.chance(1, 8) {
                    answers.push(mounted.sync_dir("").is_ok());
                }
            }
            let mode = [CrashMode::Random, CrashMode::Ext4Like, CrashMode::Prefix][random.index(3)];
            reports.push(disk.crash(Crash::new(mode, seed + round).with_garbage()));
        }
        let contents: Vec<_> =
            disk.files().into_iter().map(|(path, _)| disk.read_durable(&path).unwrap()).collect();
        (disk.files(), contents, reports, answers, disk.io_calls(), disk.faults_hit())
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1).1, run(2).1);
}

#[test]
fn what_is_read_is_the_durable_bytes_with_the_pending_ones_over_them() {
    for seed in 0..200 {
        let mut random = Prng::new(seed);
        let disk = SimDisk::new(seed);
        let mounted = disk.as_disk();
        let file = mounted.open("f", Open::CreateNew).unwrap();
        mounted.sync_dir("").unwrap();
        for step in 0..30 {
            match random.below(6) {
                0 => file.sync().unwrap(),
                1 => file.set_bytes(random.below(3000)).unwrap(),
                _ => {
                    let bytes = vec![step % 3; random.index(1200)];
                    write_all_at(&*file, &bytes, random.below(2500)).unwrap();
                }
            }
            // Without lies, the cache hides nothing: dropping it, or keeping all, changes no byte.
            let before = content(&disk, "f");
            file.drop_cache().unwrap();
            assert_eq!(content(&disk, "f"), before, "seed {seed}");
            let copy = SimDisk::new(0);
            copy.restore(&disk.snapshot());
            copy.crash(Crash::new(CrashMode::KeepAll, 0));
            assert_eq!(content(&copy, "f"), before, "seed {seed}");
        }
    }
}

#[test]
fn the_random_numbers_are_those_of_the_reference() {
    let mut random = Prng::new(1_234_567);
    let expected = [
        6_457_827_717_110_365_317,
        3_203_168_211_198_807_973,
        9_817_491_932_198_370_423,
        4_593_380_528_125_082_431,
        16_408_922_859_458_223_821_u64,
    ];
    assert_eq!(expected.map(|_| random.next()), expected);
    assert!((0..1000).all(|_| random.below(7) < 7));
    assert_eq!((random.below(0), random.index(1)), (0, 0));
}
