//! Operations on a cache against the reference model.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refrain_fuzz::run("operations", data));
