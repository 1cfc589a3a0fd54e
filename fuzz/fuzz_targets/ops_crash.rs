//! A program of submits, kills, power cuts and failing calls, against the model.
#![no_main]

use order_ledger_fuzz::ops_crash::{self, Input};

libfuzzer_sys::fuzz_target!(|input: Input| ops_crash::run(&input));
