//! Records that a store hands out.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refrain_fuzz::run("tier_record", data));
