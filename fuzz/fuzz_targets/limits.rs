//! Sizes around every bound.
#![no_main]

use order_ledger_fuzz::limits::{self, Input};

libfuzzer_sys::fuzz_target!(|input: Input| limits::run(&input));
