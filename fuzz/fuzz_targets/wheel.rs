//! Operations on the timer wheel against a set of deadlines.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refrain_fuzz::run("wheel", data));
