//! sled's files replaced by anything.
#![no_main]

use order_ledger_fuzz::views_replaced::{self, Input};

libfuzzer_sys::fuzz_target!(init: views_replaced::init(), |input: Input| views_replaced::run(&input));
