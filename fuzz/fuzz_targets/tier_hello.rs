//! ClientHellos that are read before any handshake.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| refrain_fuzz::run("tier_hello", data));
