//! Any bytes as the first segment of a ledger.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| order_ledger_fuzz::decode_segment::run(bytes));
