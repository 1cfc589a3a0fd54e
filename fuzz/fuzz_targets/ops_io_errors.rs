//! A program under a schedule of errors, against the model.
#![no_main]

use order_ledger_fuzz::ops_io_errors::{self, Input};

libfuzzer_sys::fuzz_target!(|input: Input| ops_io_errors::run(&input));
