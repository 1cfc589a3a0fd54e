//! Opening a ledger of 100,000 orders in sealed segments and one open one, after kill -9 and after a
//! clean close. The files are in the page cache.

use std::time::Duration;

use criterion::{BatchSize, Criterion};
use order_ledger::{Ledger, Options};

mod support;

use support::{Dir, done};

const ORDERS: usize = 100_000;
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

fn main() {
    support::fill_if_asked();
    let dir = done(Dir::new("recovery"));
    let options = Options::new().segment_bytes(SEGMENT_BYTES);
    let killed = dir.join("killed");
    done(support::killed(&killed, SEGMENT_BYTES, ORDERS));
    let closed = dir.join("closed");
    done(support::copy(&killed, &closed));
    done(done(options.open(&closed)).close());

    let mut criterion = Criterion::default()
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_secs(1))
        .sample_size(10)
        .configure_from_args();
    let mut group = criterion.benchmark_group("open");
    let mut copies = 0;
    for (name, from) in [("after kill -9", &killed), ("after close", &closed)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    // Best effort: the views may still be closing there.
                    drop(std::fs::remove_dir_all(dir.join(&format!("copy-{copies}"))));
                    copies += 1;
                    let copy = dir.join(&format!("copy-{copies}"));
                    done(support::copy(from, &copy));
                    copy
                },
                // Closed outside the measured time, before the next copy is made.
                |copy| -> Ledger { done(options.open(&copy)) },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    criterion.final_summary();
}
