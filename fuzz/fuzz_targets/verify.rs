//! A damaged ledger, and what verification says about it.
#![no_main]

use order_ledger_fuzz::verify::{self, Input};

libfuzzer_sys::fuzz_target!(|input: Input| verify::run(&input));
