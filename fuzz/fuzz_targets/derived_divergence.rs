//! A sound log, and anything in the place of what is derived from it.
#![no_main]

use order_ledger_fuzz::derived_divergence::{self, Input};

libfuzzer_sys::fuzz_target!(|input: Input| derived_divergence::run(&input));
