//! Calls of connections against a model of their states.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refrain_fuzz::run("connection", data));
