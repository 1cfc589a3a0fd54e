//! A valid ledger, then damage.
#![no_main]

use order_ledger_fuzz::open_dir::{self, Input};

libfuzzer_sys::fuzz_target!(|input: Input| open_dir::run(&input));
